/* SPDX-License-Identifier: MIT */
/*
 * The tables that a guest finds in memory, ACPI and SMBIOS: turns what the machine is into the plain descriptions that
 * firmware/acpi and firmware/smbios take, and puts the result where guests look.
 *
 * Thread: main, no vCPU running.
 */
#ifndef ARCH_X86_TABLES_H
#define ARCH_X86_TABLES_H

#include <stdint.h>

#include "firmware/acpi.h"

struct err;
struct guest_mem;
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
	uint64_t ram_below_4g, ram_above_4g;
	struct acpi_window pci64;
};

/* ACPI at MEM_ACPI_START, its RSDP first; SMBIOS at MEM_SMBIOS_START. 0 or -errno with `err`. */
int tables_write(const struct tables_config *cfg, struct guest_mem *mem, struct err *err);

#endif
