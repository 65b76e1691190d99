/* SPDX-License-Identifier: MIT */
/*
 * What firmware boots from: the devices' order (`bootorder` of fw_cfg, in the paths of OpenFirmware that SeaBIOS makes too, src/boot.c), the classes' order
 * (-boot order=, in CMOS), and the expansion ROMs of network cards.
 *
 * Expansion ROMs are files of fw_cfg named by the functions they are for, which SeaBIOS prefers to those in a BAR: it copies them in one DMA, where
 * each word of a BAR would be an exit.
 *
 * Thread: main, with every vCPU paused.
 */
#ifndef ARCH_X86_PC_BOOT_H
#define ARCH_X86_PC_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/config.h"

#define PC_BOOT_MAX (CONFIG_MAX_DISKS + CONFIG_MAX_SCSI_UNITS + CONFIG_MAX_NICS)

struct err;
struct machine;
struct machine_boot;
struct virtio_dev;

struct pc_boot_device {
	int bootindex;    /* -1: none */
	char path[96];    /* "/pci@i0cf8/scsi@4/disk@0,0" */
	const char *name; /* borrowed */
	bool network;
	const char *romfile; /* NULL: none, or the usual one of a network card; borrowed */
	uint16_t vendor, device; /* PCI */
};

struct pc_boot {
	struct pc_boot_device devices[PC_BOOT_MAX];
	size_t n;
	bool once_done; /* -boot once= has had its turn */
};

/* As machine_boot_device of vmm/arch.h. */
int pc_boot_add(struct machine *m, const struct virtio_dev *virtio, const struct machine_boot *boot, struct err *err);
/* Fills fw_cfg. 0 or -errno with `err`. */
int pc_boot_tell(struct machine *m, struct err *err);
/* The classes' order for the first start, in CMOS's form; and the machine is being reset, so that what was for once is over. */
uint16_t pc_boot_first_order(const struct machine *m);
void pc_boot_reset(struct machine *m);

#endif
