/* SPDX-License-Identifier: MIT */
/*
 * The machine `pc` with firmware: a BIOS from its reset vector on, its ROM and shadow RAM, and all that it is told through fw_cfg. SeaBIOS
 * (src/fw/paravirt.c) is who asks.
 *
 * Thread: main, with every vCPU paused.
 */
#ifndef ARCH_X86_PC_FIRMWARE_H
#define ARCH_X86_PC_FIRMWARE_H

#include "arch/x86/pc_boot.h"
#include "arch/x86/shadow.h"
#include "firmware/acpi.h"
#include "firmware/rom.h"

struct err;
struct machine;
struct vm_config;

struct pc_firmware {
	struct rom bios;
	struct shadow shadow;
	struct pc_boot boot;
	bool told; /* fw_cfg is complete */
};

/* Finds and reads the BIOS, before anything else is done. NULL with `err`. */
struct pc_firmware *pc_firmware_open(const struct vm_config *cfg, struct err *err);
/* Puts it into the machine's memory. 0 or -errno with `err`. */
int pc_firmware_map(struct machine *m, struct err *err);
/* All devices are there: fills fw_cfg, the first time; later it is a reset. `acpi` NULL: without such tables. 0 or -errno with `err`. */
int pc_firmware_tell(struct machine *m, const struct acpi_platform *acpi, struct err *err);
/* NULL is fine. */
void pc_firmware_close(struct pc_firmware *fw);

#endif
