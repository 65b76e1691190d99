/* SPDX-License-Identifier: MIT */
/*
 * Soft-off as an operating system does it: sleep type from \_S5, then SLP_EN into PM1a_CNT, or with hardware-reduced ACPI into the sleep
 * control register. The process ends with status 0.
 */
#include "rt.h"

static void off(void *arg)
{
	const struct acpi_fadt *fadt = acpi_find("FACP");
	int type = acpi_s5();

	(void)arg;
	if (!fadt || type < 0)
		test_abort("no FADT, or no \\_S5 in the DSDT");
	if (fadt->smi_cmd && fadt->acpi_enable) {
		outb((uint16_t)fadt->smi_cmd, fadt->acpi_enable);
		delay_us(1000);
	}
	if (fadt->flags & FADT_HW_REDUCED) {
		print("poweroff: sleep type %d to port 0x%lx\n", type, fadt->sleep_control.address);
		outb((uint16_t)fadt->sleep_control.address, (uint8_t)(type << 2 | 1 << 5));
		delay_us(10000000);
		test_abort("still running 10 s after SLP_EN");
	}
	print("poweroff: sleep type %d to port 0x%x\n", type, fadt->pm1a_cnt);
	outw((uint16_t)fadt->pm1a_cnt, (uint16_t)(1 | type << 10 | 1 << 13));
	delay_us(10000000);
	test_abort("still running 10 s after SLP_EN");
}

void payload_main(void)
{
	if (arg_is("from", "ap")) {
		if (!smp_start())
			test_abort("no other CPU answered");
		smp_call_async(1, off, NULL);
		halt_forever();
	}
	off(NULL);
}
