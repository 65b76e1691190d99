/* SPDX-License-Identifier: MIT */
/*
 * The tables that a guest finds in memory, ACPI or MP, and SMBIOS: turns what the machine is into the plain descriptions that
 * firmware/acpi, firmware/mptable and firmware/smbios take, and puts the result where guests look.
 *
 * Also the one piece of firmware that guests jump to, MEM_BIOS_ENTRY: it resets the machine.
 *
 * Thread: main, no vCPU running.
 */
#ifndef ARCH_X86_TABLES_H
#define ARCH_X86_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "firmware/acpi.h"
#include "firmware/acpi_loader.h"
#include "firmware/smbios.h"

struct err;
struct guest_mem;
struct machine_smbios;
struct topology;
struct vm_config;

struct com_port {
	uint16_t iobase;
	uint8_t irq;
};

struct tables_config {
	const struct vm_config *vm;
	const struct topology *topology;
	const struct com_port *com_ports; /* by config_serial.index */
	const char *board; /* "pc" */
	uint64_t ram_below_4g, ram_above_4g;
	bool fw_cfg; /* there is that device */
	bool firmware; /* runs, and puts the tables into memory itself */
	uint32_t cpu_signature, cpu_features; /* CPUID leaf 1, EAX and EDX */
	const struct machine_smbios *smbios; /* the files of vm->smbios */
};

/*
 * ACPI at MEM_ACPI_START, its RSDP first; SMBIOS at MEM_SMBIOS_START. `acpi` is what only the board knows: fixed or reduced hardware, buses,
 * virtio transports; the rest follows from `cfg`. 0 or -errno with `err`.
 */
int tables_write(const struct tables_config *cfg, const struct acpi_platform *acpi, struct guest_mem *mem, struct err *err);

/* The same for firmware, which puts them into memory itself. The results are freed with acpi_loader_fini and smbios_tables_free. */
int tables_build_acpi(const struct tables_config *cfg, const struct acpi_platform *acpi, struct acpi_loader *out, struct err *err);
int tables_build_smbios(const struct tables_config *cfg, struct smbios_tables *out, struct err *err);

/* MP tables instead of ACPI's: the pointer at MEM_MP_POINTER, the configuration table at MEM_ACPI_START; and SMBIOS. The same results. */
struct tables_mp {
	uint32_t level_irqs; /* a bit for each IOAPIC pin: level-triggered, active high */
	unsigned pci_gsi;    /* of the first of the PCI bus's four lines; 0: there is no bus */
};
int tables_write_mp(const struct tables_config *cfg, const struct tables_mp *mp, struct guest_mem *mem, struct err *err);

#endif
