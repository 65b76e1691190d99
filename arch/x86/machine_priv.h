/* SPDX-License-Identifier: MIT */
/*
 * What machine.c and the boards share. A board is a const table of functions; all that it adds to a machine it does in them.
 *
 * Thread: main, with every vCPU paused; but for `press`.
 */
#ifndef ARCH_X86_MACHINE_PRIV_H
#define ARCH_X86_MACHINE_PRIV_H

#include <stdio.h>

#include "arch/x86/cpuid.h"
#include "arch/x86/irqchip.h"
#include "arch/x86/machine_smbios.h"
#include "arch/x86/tables.h"
#include "arch/x86/topology.h"
#include "firmware/boot.h"
#include "hw/devices.h"
#include "hw/pci.h"
#include "vmm/arch.h"
#include "vmm/bus.h"
#include "vmm/irq_kvm_resample.h"
#include "vmm/msi_kvm.h"

#define MACHINE_MAX_DEVICES 256 /* more than any board has room for */
#define MACHINE_INSIDE_KVM 8

struct pc_firmware;
struct virtio_dev;
struct virtio_pci_config;

struct board_ops {
	const char *name; /* for SMBIOS */
	bool has_firmware; /* which runs when there is no kernel to enter */
	struct boot_map_entry reserved; /* in the guest's memory map, from MEM_LOW_MAX to MEM_KVM_IDENTITY_MAP; size 0: none */
	/* The board's own devices, with `button` among them; m->reset_ctl is there. 0 or -errno with `err`. */
	int (*add_devices)(struct machine *m, struct err *err);
	/* Puts ACPI and the like into memory: at the start and after each reset. 0 or -errno with `err`. */
	int (*write_tables)(struct machine *m, struct err *err);
	/* Puts a transport in front of a device. NULL with `err`; then `virtio` is still the caller's. */
	struct device *(*plug)(struct machine *m, struct virtio_dev *virtio, const struct virtio_pci_config *pci, struct err *err);
	/* What firmware does with the devices once all are there, and after each reset. NULL: nothing. 0 or -errno with `err`. */
	int (*settle)(struct machine *m, struct err *err);
	/* Presses the power button, m->button. Any thread. */
	void (*press)(struct device *button);
	/* Writes what the kernel's command line gets in addition to -append, a blank first. NULL: nothing. */
	void (*append)(const struct vm_config *cfg, FILE *to);
};

extern const struct board_ops board_pc, board_microvm;

struct machine {
	const struct vm_config *cfg; /* borrowed */
	const struct board_ops *board;
	struct vm *vm;
	struct boot *boot; /* borrowed; NULL: nothing to load */
	struct topology topology;
	uint64_t ram_below_4g, ram_above_4g;
	struct irqchip irqchip;
	struct cpuid_template cpuid;
	struct machine_smbios smbios;
	struct msi_kvm msis;
	struct device_env env;
	struct bus_region inside_kvm[MACHINE_INSIDE_KVM];
	struct device *devices[MACHINE_MAX_DEVICES]; /* in the order of creation */
	size_t n_devices;
	/* Some of them: */
	struct device *reset_ctl;
	struct device *button; /* NULL: there is no power button */
	struct device *rtc;    /* NULL: there is none */
	struct device *fw_cfg; /* NULL: there is none */

	/* board_pc.c */
	struct pc_firmware *firmware; /* NULL: a kernel is entered directly */
	struct pci_window pci64; /* size 0: none */
	struct pci_bus *pci;
	struct irq_resample intx; /* its lines */
	/* board_microvm.c */
	unsigned n_slots; /* in use */
};

/* Takes over what a constructor returned; NULL: returns err->code. */
int machine_add(struct machine *m, struct device *dev, const struct err *err);
/* An end of a GSI's line. */
struct irq_line machine_irq(struct machine *m, unsigned gsi);
/* What the tables say of every board. */
struct tables_config machine_tables(const struct machine *m);

#endif
