/* SPDX-License-Identifier: MIT */
/*
 * Consoles, random numbers and the balloon of a machine: makes the devices that the configuration asks for and gives them to the machine.
 *
 * Thread: main.
 */
#ifndef VMM_LAUNCH_VIRTIO_H
#define VMM_LAUNCH_VIRTIO_H

#include <stdbool.h>

struct chardev;
struct err;
struct launch_disks;
struct machine;
struct virtio_dev;
struct vm_config;

/* What is left to do while the machine runs. Zero to begin with. */
struct launch_virtio {
	struct virtio_dev *console; /* the one whose size is the terminal's; the machine's. NULL: none */
	struct virtio_dev *balloon; /* the machine's; NULL: none */
};

/*
 * Two calls: one for the devices with a place of their own on the PCI bus (`fixed`), before anything takes the first that is free,
 * and one for the others. `chardevs` are those of cfg->chardevs, borrowed; they outlive the machine.
 * `disks` has the iothreads. 0 or -errno with `err`.
 */
int launch_virtio_add(struct launch_virtio *virtio, struct machine *machine, const struct vm_config *cfg, struct chardev *const *chardevs,
		      struct launch_disks *disks, bool fixed, struct err *err);
/* The terminal's size may have changed. */
void launch_virtio_resize(struct launch_virtio *virtio);

#endif
