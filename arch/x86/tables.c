/* SPDX-License-Identifier: MIT */
#include "arch/x86/tables.h"

#include <stdio.h>
#include <string.h>

#include "arch/x86/memmap.h"
#include "arch/x86/topology.h"
#include "firmware/smbios.h"
#include "hw/devices.h"
#include "hw/pci.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"

#define MAX_ISA (1 + MAX_COM)

/* The RTC has no device's IRQ but its own; the serial ports are those that the machine was given. */
static size_t isa_devices(const struct tables_config *cfg, struct acpi_isa_device isa[MAX_ISA])
{
	size_t n = 0;

	isa[n++] = (struct acpi_isa_device){
		.name = "RTC0",
		.hid = "PNP0B00",
		.io = { { .base = 0x70, .len = 2 } },
		.irq = IRQ_RTC,
	};
	for (size_t i = 0; i < cfg->vm->n_serials; i++) {
		unsigned index = cfg->vm->serials[i].index;
		struct acpi_isa_device *dev = &isa[n++];

		*dev = (struct acpi_isa_device){
			.hid = "PNP0501",
			.uid = index + 1,
			.io = { { .base = cfg->com_ports[index].iobase, .len = 8 } },
			.irq = cfg->com_ports[index].irq,
		};
		snprintf(dev->name, sizeof(dev->name), "COM%u", (index + 1) % 10);
	}
	return n;
}

static int tables_write_acpi(const struct tables_config *cfg, struct guest_mem *mem, struct err *err)
{
	struct acpi_isa_device isa[MAX_ISA];
	uint32_t apic_ids[CONFIG_MAX_CPUS];
	const struct acpi_pci pci = {
		.ecam_base = MEM_ECAM,
		.ecam_size = PCI_ECAM_SIZE,
		.mem32 = { MEM_PCI32_START, MEM_PCI32_SIZE },
		.mem64 = cfg->pci64,
		.gsi = IRQ_PCI,
	};
	const struct acpi_platform platform = {
		.apic_ids = apic_ids,
		.n_cpus = cfg->vm->smp.cpus,
		.lapic_addr = MEM_LAPIC,
		.ioapic_addr = MEM_IOAPIC,
		.ioapic_id = 0,
		.pm1_evt_port = PORT_ACPI_PM + ACPI_PM1_EVT,
		.pm1_cnt_port = PORT_ACPI_PM + ACPI_PM1_CNT,
		.pm_tmr_port = PORT_ACPI_PM + ACPI_PM_TMR,
		.gpe0_port = PORT_ACPI_PM + ACPI_GPE0,
		.sci_irq = IRQ_SCI,
		.reset_port = PORT_RESET,
		.reset_value = RESET_VALUE,
		.s5_slp_typ = ACPI_PM_S5_SLP_TYP,
		.has_rtc = true,
		.has_pic = true,
		.has_pit = true,
		.has_i8042 = false, /* it answers, but nothing is plugged in: no guest need look for a keyboard */
		.pci = &pci,
		.isa = isa,
		.n_isa = isa_devices(cfg, isa),
	};
	struct acpi_tables tables;
	int r;

	for (unsigned i = 0; i < cfg->vm->smp.cpus; i++)
		apic_ids[i] = topology_apic_id(cfg->topology, i);
	r = acpi_build(&platform, MEM_ACPI_START, MEM_SMBIOS_START - MEM_ACPI_START, &tables, err);
	if (r < 0)
		return r;
	r = gm_write(mem, MEM_ACPI_START, tables.data, tables.size);
	acpi_tables_free(&tables);
	return r < 0 ? err_set(err, r, "no memory at the place of the ACPI tables") : 0;
}

static int tables_write_smbios(const struct tables_config *cfg, struct guest_mem *mem, struct err *err)
{
	struct smbios_platform platform = {
		.product = "Standard PC",
		.version = "pc",
		.sockets = cfg->topology->sockets,
		.cores = cfg->topology->cores,
		.threads = cfg->topology->threads,
		.ram_below_4g = cfg->ram_below_4g,
		.ram_above_4g = cfg->ram_above_4g,
	};
	struct smbios_tables tables;
	int r;

	memcpy(platform.uuid, cfg->vm->uuid, sizeof(platform.uuid));
	r = smbios_build(&platform, MEM_SMBIOS_START, MEM_BIOS_END - MEM_SMBIOS_START, &tables, err);
	if (r < 0)
		return r;
	r = gm_write(mem, MEM_SMBIOS_START, tables.data, tables.size);
	smbios_tables_free(&tables);
	return r < 0 ? err_set(err, r, "no memory at the place of the SMBIOS tables") : 0;
}

int tables_write(const struct tables_config *cfg, struct guest_mem *mem, struct err *err)
{
	int r = tables_write_acpi(cfg, mem, err);

	return r < 0 ? r : tables_write_smbios(cfg, mem, err);
}
