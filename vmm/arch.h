/* SPDX-License-Identifier: MIT */
/*
 * What the KVM core asks of an architecture. Implemented in arch/x86.
 *
 * Thread: main, unless it says otherwise.
 */
#ifndef VMM_ARCH_H
#define VMM_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct boot;
struct chardev;
struct device;
struct device_env;
struct dump_notes;
struct err;
struct eventloop;
struct machine;
struct pci_seen;
struct vcpu;
struct virtio_dev;
struct virtio_pci_config;
struct vm;
struct vm_config;

/* The VM's interrupt controllers and timers in KVM, before its first vCPU. */
int arch_vm_init(struct vm *vm, struct err *err);

/* A vCPU's own data; KVM's state of a new vCPU is the power-on state. */
int arch_vcpu_init(struct vcpu *vcpu, struct err *err);
void arch_vcpu_fini(struct vcpu *vcpu);

/* Registers and the bytes at the instruction pointer, for a person. The vCPU's thread, or another while it is parked. */
void arch_vcpu_print(struct vcpu *vcpu, FILE *out);
/* The same on stderr. */
void arch_vcpu_dump(struct vcpu *vcpu);

/* Its registers, as notes of an ELF core; parked. 0 or -errno with `err`. */
int arch_vcpu_core_notes(struct vcpu *vcpu, struct dump_notes *notes, struct err *err);

/* The vCPU was stopped for any length of time, and is about to go on: so that its guest does not blame itself. */
void arch_vcpu_was_stopped(struct vcpu *vcpu);

/*
 * The machine, in two steps, so that whatever a user may have got wrong about memory, CPUs and kernel is found before a terminal
 * or a file is touched:
 *
 * machine_create makes the VM, its memory and vCPUs, loads the kernel (`boot`, borrowed; NULL: none) and places the devices that
 * every machine has. NULL with `err` and nothing left behind. `cfg` and `loop` are borrowed.
 */
struct machine *machine_create(const struct vm_config *cfg, struct boot *boot, struct eventloop *loop, struct err *err);
/*
 * Adds the devices of the configuration that need no bus; `serials` has a chardev for each of cfg->serials, `debugcons` for each of
 * cfg->debugcons, borrowed.
 */
int machine_add_devices(struct machine *machine, struct chardev *const *serials, struct chardev *const *debugcons, struct err *err);
/*
 * Adds watchdogs and pvpanic: first those with a place of their own (`fixed`), and when all devices have been added that have one, the others.
 * 0 or -errno with `err`.
 */
int machine_add_guards(struct machine *machine, bool fixed, struct err *err);
/* Ends the vCPU threads and everything else. NULL is fine. */
void machine_destroy(struct machine *machine);
struct vm *machine_vm(struct machine *machine);

/* The kernel's command line: -append and what the board adds to it. `*text` is to be freed by the caller. 0 or -errno with `err`. */
int machine_kernel_append(const struct vm_config *cfg, char **text, struct err *err);

/* For devices that are made outside: what they live in, and giving one to the machine. Before the machine starts. */
const struct device_env *machine_env(struct machine *machine);
/* The machine owns the device from then on, and has destroyed it when this fails. 0 or -errno with `err`. */
int machine_adopt(struct machine *machine, struct device *device, struct err *err);
/*
 * The same for a virtio device: puts the board's transport in front of it, of the PCI bus, as `pci` says, or MMIO. Devices of the
 * configuration only, each once.
 */
int machine_plug(struct machine *machine, struct virtio_dev *virtio, const struct virtio_pci_config *pci, struct err *err);
/*
 * For firmware: that it may boot from a device that has been plugged in. Without firmware this does nothing. 0, or with `err`: -EBUSY when
 * another has the same bootindex, -ENOSPC.
 */
struct machine_boot {
	const char *name;    /* the device's, for messages; lives as long as the machine */
	const char *unit;    /* what is behind it, as OpenFirmware names it: "disk@0,0", "channel@0/disk@1,0", "ethernet-phy@0" */
	int bootindex;       /* -1: none */
	const char *romfile; /* its expansion ROM; NULL: a network card's usual one where it may be booted from; "": none. Borrowed as `name` */
};
int machine_boot_device(struct machine *machine, const struct virtio_dev *virtio, const struct machine_boot *boot, struct err *err);
/* All devices are there: does what firmware would do for them. Then the machine can start. 0 or -errno with `err`. */
int machine_ready(struct machine *machine, struct err *err);

/* A non-maskable interrupt for every vCPU, running or not. 0 or -errno. */
int machine_inject_nmi(struct machine *machine);

/* What is on its PCI bus, as pci_bus_look tells (hw/pci.h). -ENODEV: it has none. */
int machine_look_pci(struct machine *machine, void (*seen)(void *opaque, const struct pci_seen *function), void *opaque);

/* Presses the ACPI power button. */
void machine_power_button(struct machine *machine);

/* The CPU features that -cpu knows, one a line, for `-cpu help`: text to be freed by the caller; NULL without memory. */
char *arch_cpu_help(void);

#endif
