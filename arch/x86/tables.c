/* SPDX-License-Identifier: MIT */
#include "arch/x86/tables.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "arch/x86/machine_smbios.h"
#include "arch/x86/memmap.h"
#include "arch/x86/topology.h"
#include "firmware/mptable.h"
#include "firmware/smbios.h"
#include "hw/fw_cfg.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"

#define MAX_ISA (3 + MAX_COM)
#define ACPI_ROOM (MEM_SMBIOS_START - MEM_ACPI_START)

/* The RTC has no device's IRQ but its own; the serial ports are those that the machine was given. */
static size_t isa_devices(const struct tables_config *cfg, struct acpi_isa_device isa[MAX_ISA])
{
	size_t n = 0;

	if (cfg->vm->board.rtc)
		isa[n++] = (struct acpi_isa_device){
			.name = "RTC0",
			.hid = "PNP0B00",
			.io = { { .base = 0x70, .len = 2 } },
			.irq = IRQ_RTC,
		};
	if (cfg->fw_cfg)
		isa[n++] = (struct acpi_isa_device){
			.name = "FWCF",
			.hid = "QEMU0002",
			.io = { { .base = FW_CFG_PORT, .len = FW_CFG_PORTS } },
			.irq = ACPI_NO_IRQ,
		};
	if (cfg->vm->pvpanic.used)
		isa[n++] = (struct acpi_isa_device){
			.name = "PEVT",
			.hid = "QEMU0001",
			.io = { { .base = cfg->vm->pvpanic.ioport, .len = 1 } },
			.irq = ACPI_NO_IRQ,
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

static void fill_apic_ids(const struct tables_config *cfg, uint32_t apic_ids[CONFIG_MAX_CPUS])
{
	for (unsigned i = 0; i < cfg->vm->smp.cpus; i++)
		apic_ids[i] = topology_apic_id(cfg->topology, i);
}

/* What the tables say beside what the board knows. */
struct acpi_rest {
	struct acpi_isa_device isa[MAX_ISA];
	uint32_t apic_ids[CONFIG_MAX_CPUS];
};

static struct acpi_platform platform_of(const struct tables_config *cfg, const struct acpi_platform *board, struct acpi_rest *rest)
{
	struct acpi_platform platform = *board;

	platform.apic_ids = rest->apic_ids;
	platform.n_cpus = cfg->vm->smp.cpus;
	platform.lapic_addr = MEM_LAPIC;
	platform.ioapic_addr = MEM_IOAPIC;
	platform.ioapic_id = 0;
	platform.reset_port = PORT_RESET;
	platform.reset_value = RESET_VALUE;
	platform.has_i8042 = false; /* it answers, but nothing is plugged in: no guest need look for a keyboard */
	platform.has_rtc = cfg->vm->board.rtc;
	platform.has_pic = cfg->vm->board.pic;
	platform.has_pit = cfg->vm->board.pit;
	platform.isa = rest->isa;
	platform.n_isa = isa_devices(cfg, rest->isa);
	fill_apic_ids(cfg, rest->apic_ids);
	return platform;
}

static int tables_write_acpi(const struct tables_config *cfg, const struct acpi_platform *board, struct guest_mem *mem, struct err *err)
{
	struct acpi_rest rest;
	const struct acpi_platform platform = platform_of(cfg, board, &rest);
	struct acpi_tables tables;
	int r = acpi_build(&platform, MEM_ACPI_START, ACPI_ROOM, &tables, err);

	if (r < 0)
		return r;
	r = gm_write(mem, MEM_ACPI_START, tables.data, tables.size);
	acpi_tables_free(&tables);
	return r < 0 ? err_set(err, r, "no memory at the place of the ACPI tables") : 0;
}

int tables_build_acpi(const struct tables_config *cfg, const struct acpi_platform *board, struct acpi_loader *out, struct err *err)
{
	struct acpi_rest rest;
	const struct acpi_platform platform = platform_of(cfg, board, &rest);

	return acpi_loader_build(out, &platform, ACPI_ROOM, err);
}

int tables_build_smbios(const struct tables_config *cfg, struct smbios_tables *out, struct err *err)
{
	struct smbios_platform platform = {
		.product = "Standard PC",
		.version = cfg->board,
		.sockets = cfg->topology->sockets,
		.cores = cfg->topology->cores,
		.threads = cfg->topology->threads,
		.ram_below_4g = cfg->ram_below_4g,
		.ram_above_4g = cfg->ram_above_4g,
		.cpu_signature = cfg->cpu_signature,
		.cpu_features = cfg->cpu_features,
		.firmware = cfg->firmware,
		.user = &cfg->vm->smbios,
		.oem = cfg->smbios->oem,
		.files = cfg->smbios->files,
		.n_files = cfg->vm->smbios.n_files,
	};

	memcpy(platform.uuid, cfg->vm->uuid, sizeof(platform.uuid));
	return smbios_build(&platform, MEM_SMBIOS_START, MEM_BIOS_ENTRY - MEM_SMBIOS_START, out, err);
}

static int tables_write_smbios(const struct tables_config *cfg, struct guest_mem *mem, struct err *err)
{
	struct smbios_tables tables;
	int r = tables_build_smbios(cfg, &tables, err);

	if (r < 0)
		return r;
	r = gm_write(mem, MEM_SMBIOS_START, tables.data, tables.size);
	smbios_tables_free(&tables);
	return r < 0 ? err_set(err, r, "no memory at the place of the SMBIOS tables") : 0;
}

/*
 * All the firmware that there is: a real-mode jump to f000:fff0 resets the machine. Linux restarts so with reboot=b, and by itself where
 * ACPI is hardware-reduced: it takes that for a sign of EFI, and finding none goes to the BIOS.
 */
static int tables_write_entry(struct guest_mem *mem, struct err *err)
{
	static const uint8_t code[] = {
		0xba, PORT_RESET & 0xff, PORT_RESET >> 8, /* mov dx, PORT_RESET */
		0x30, 0xc0,                               /* xor al, al */
		0xee,                                     /* out dx, al */
		0xb0, RESET_VALUE,                        /* mov al, RESET_VALUE */
		0xee,                                     /* out dx, al */
		0xf4,                                     /* hlt */
		0xeb, 0xfd,                               /* jmp to the hlt */
	};
	int r;

	static_assert(sizeof(code) <= MEM_BIOS_END - MEM_BIOS_ENTRY, "up to the end of the first MiB");
	r = gm_write(mem, MEM_BIOS_ENTRY, code, sizeof(code));
	return r < 0 ? err_set(err, r, "no memory at the place of the BIOS") : 0;
}

static int tables_write_common(const struct tables_config *cfg, struct guest_mem *mem, struct err *err)
{
	int r = tables_write_smbios(cfg, mem, err);

	return r < 0 ? r : tables_write_entry(mem, err);
}

int tables_write(const struct tables_config *cfg, const struct acpi_platform *acpi, struct guest_mem *mem, struct err *err)
{
	int r = tables_write_acpi(cfg, acpi, mem, err);

	return r < 0 ? r : tables_write_common(cfg, mem, err);
}

static uint32_t isa_irqs(const struct tables_config *cfg)
{
	uint32_t irqs = BIT(IRQ_KEYBOARD);

	if (cfg->vm->board.pit)
		irqs |= BIT(IRQ_PIT);
	if (cfg->vm->board.rtc)
		irqs |= BIT(IRQ_RTC);
	for (size_t i = 0; i < cfg->vm->n_serials; i++)
		irqs |= BIT(cfg->com_ports[cfg->vm->serials[i].index].irq);
	return irqs;
}

int tables_write_mp(const struct tables_config *cfg, const struct tables_mp *mp, struct guest_mem *mem, struct err *err)
{
	uint32_t apic_ids[CONFIG_MAX_CPUS];
	const unsigned last = cfg->vm->smp.cpus - 1;
	const struct mptable_platform platform = {
		.product = cfg->board,
		.apic_ids = apic_ids,
		.n_cpus = cfg->vm->smp.cpus,
		.cpu_signature = cfg->cpu_signature,
		.cpu_features = cfg->cpu_features,
		.lapic_addr = MEM_LAPIC,
		.ioapic_addr = MEM_IOAPIC,
		.ioapic_id = (uint8_t)(topology_apic_id(cfg->topology, last) + 1), /* APIC ids ascend */
		.isa_irqs = isa_irqs(cfg),
		.level_irqs = mp->level_irqs,
		.pci_pin = mp->pci_gsi,
		.has_pic = cfg->vm->board.pic,
	};
	struct mptable table;
	int r;

	fill_apic_ids(cfg, apic_ids);
	r = mptable_build(&platform, MEM_ACPI_START, MEM_SMBIOS_START - MEM_ACPI_START, &table, err);
	if (r < 0)
		return r;
	r = gm_write(mem, MEM_MP_POINTER, table.pointer, sizeof(table.pointer));
	if (r == 0)
		r = gm_write(mem, MEM_ACPI_START, table.data, table.size);
	mptable_free(&table);
	return r < 0 ? err_set(err, r, "no memory at the place of the MP tables") : tables_write_common(cfg, mem, err);
}
