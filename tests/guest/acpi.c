/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables as a kernel walks them: checksums and lengths, FADT against the hardware it names, one MADT entry for each of
 * cpus=N, no duplicates.
 */
#include "rt.h"

static void test_rsdp(void)
{
	const struct acpi_rsdp *r = acpi_rsdp();

	if (!r)
		test_abort("no RSDP with a good checksum between 0xE0000 and 0xFFFFF");
	test(true, "RSDP at 0x%lx, revision %u", (uint64_t)(uintptr_t)r, r->revision);
	if (r->revision >= 2) {
		test_equal(r->length, sizeof(*r), "RSDP length");
		test_equal(acpi_sum(r, sizeof(*r)), 0, "RSDP extended checksum");
		test(r->xsdt, "RSDP names an XSDT");
	}
}

static void test_table(const struct acpi_header *t, bool checksum)
{
	char name[5] = { t->signature[0], t->signature[1], t->signature[2], t->signature[3], 0 };

	if (!test(t->length >= (checksum ? sizeof(*t) : 64) && t->length < 1u << 20, "%s: %u bytes", name, t->length))
		return;
	if (checksum)
		test_equal(acpi_sum(t, t->length), 0, name);
}

/* What is there instead of the PM registers. */
static void test_reduced(const struct acpi_fadt *f)
{
	uint16_t control = (uint16_t)f->sleep_control.address;

	test(!f->pm1a_evt && !f->pm1a_cnt && !f->pm_tmr && !f->gpe0 && !f->facs, "no fixed hardware");
	test(f->sleep_control.space == 1 && f->sleep_control.bits == 8 && control, "sleep control is port 0x%x", control);
	test(f->sleep_status.space == 1 && f->sleep_status.address, "sleep status is port 0x%lx", f->sleep_status.address);
	test_equal(inb((uint16_t)f->sleep_status.address) & 0x80, 0, "WAK_STS is clear");
	outb(control, 7 << 2 | 1 << 5); /* no such sleep */
	test_equal(inb(control) & 1 << 5, 0, "SLP_EN reads 0");
	outb(control, 0);
	test(!(f->boot_arch & 2), "no keyboard controller to look for");
	if (arg_is("rtc", "off"))
		test(f->boot_arch & 1 << 5 && !f->century, "no RTC to look for");
}

static void test_fixed(const struct acpi_fadt *f)
{
	uint32_t before;

	test(f->sci && f->sci < 24, "SCI is %u", f->sci);
	test(f->pm1_evt_len >= 4 && f->pm1_cnt_len >= 2 && f->pm_tmr_len == 4, "lengths of the PM registers");
	test(!f->smi_cmd ? inw((uint16_t)f->pm1a_cnt) & 1 : true, "SCI_EN set where there is no SMI command port");
	test(!(inw((uint16_t)f->pm1a_cnt) & 1 << 13), "SLP_EN reads 0");
	outw((uint16_t)(f->pm1a_evt + 2), 0x0100);
	test_equal(inw((uint16_t)(f->pm1a_evt + 2)) & 0x0100, 0x0100, "PM1a enable register holds PWRBTN_EN");
	outw((uint16_t)(f->pm1a_evt + 2), 0);
	outw((uint16_t)f->pm1a_evt, 0xffff);
	test_equal(inw((uint16_t)f->pm1a_evt) & 0x0100, 0, "PM1a status is clear");
	before = inl((uint16_t)f->pm_tmr);
	delay_us(100);
	test(inl((uint16_t)f->pm_tmr) != before, "the PM timer runs");
	if (f->header.length >= sizeof(*f)) {
		test(!f->x_pm1a_evt.address || f->x_pm1a_evt.address == f->pm1a_evt, "X_PM1a_EVT agrees");
		test(!f->x_pm1a_cnt.address || f->x_pm1a_cnt.address == f->pm1a_cnt, "X_PM1a_CNT agrees");
		test(!f->x_pm_tmr.address || f->x_pm_tmr.address == f->pm_tmr, "X_PM_TMR agrees");
	}
}

static void test_fadt(const struct acpi_fadt *f)
{
	const struct acpi_header *dsdt = (const void *)(uintptr_t)f->dsdt;

	if (!dsdt && f->header.length >= sizeof(*f))
		dsdt = (const void *)(uintptr_t)f->x_dsdt;
	if (test(dsdt, "FADT names a DSDT"))
		test_table(dsdt, true);
	if (f->facs) {
		test_table((const void *)(uintptr_t)f->facs, false);
		test(!(f->facs & 63), "FACS on 64 bytes");
	}
	test(acpi_s5() >= 0, "\\_S5 in the DSDT");
	if (f->flags & FADT_HW_REDUCED)
		test_reduced(f);
	else
		test_fixed(f);
	if (vmm_is_qemu() && f->header.length < 129) {
		test_skip("the reset register", "this machine of QEMU's has none");
		return;
	}
	test(f->flags & FADT_RESET_REG, "a reset register");
	test(f->reset.space == 1 && f->reset.address && f->reset.address < 0x10000 && f->reset.bits == 8,
	     "it is port 0x%lx, value 0x%x", f->reset.address, f->reset_value);
}

static void test_madt(const uint8_t *madt)
{
	uint32_t ids[MAX_CPUS], length, lapic, ioapics = 0;
	size_t n = acpi_cpus(ids, MAX_CPUS), want = arg_u64("cpus", 1);
	const uint8_t *e;
	bool twice = false, first = false, whole;

	memcpy(&length, madt + 4, 4);
	memcpy(&lapic, madt + 36, 4);
	test_equal(lapic, LAPIC, "MADT: local APIC address");
	test_equal(n, want, "MADT: enabled CPUs");
	for (size_t i = 0; i < n; i++) {
		first = first || ids[i] == lapic_id();
		for (size_t j = 0; j < i; j++)
			twice = twice || ids[i] == ids[j];
	}
	test(!twice, "MADT: no APIC id twice");
	test(first, "MADT: this CPU is in it");
	for (e = madt + 44; e + 2 <= madt + length && e[1] >= 2; e += e[1]) {
		uint32_t address;

		memcpy(&address, e + 4, 4);
		if (e[0] == 1 && address == IOAPIC)
			ioapics++;
	}
	whole = e == madt + length;
	test(whole, "MADT: entries end where the table ends");
	test_equal(ioapics, 1, "MADT: IOAPIC");
}

void payload_main(void)
{
	const struct acpi_header *t;
	const void *fadt, *madt;

	test_rsdp();
	for (size_t n = 0; (t = acpi_table(n)); n++)
		test_table(t, true);
	fadt = acpi_find("FACP");
	madt = acpi_find("APIC");
	if (test(fadt, "a FADT"))
		test_fadt(fadt);
	if (test(madt, "a MADT"))
		test_madt(madt);
}
