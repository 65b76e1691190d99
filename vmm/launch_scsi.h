/* SPDX-License-Identifier: MIT */
/*
 * The SCSI adapters of a machine with their disks and CD-ROM drives; and what its user does with trays and media.
 *
 * Thread: main. Nothing here may be called from an iothread: all of it may wait for one.
 */
#ifndef VMM_LAUNCH_SCSI_H
#define VMM_LAUNCH_SCSI_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/config.h"

struct err;
struct launch_disks;
struct machine;
struct scsi_unit;
struct virtio_dev;

/* Zero to begin with. Units are the adapters', and those the machine's. */
struct launch_scsi {
	const struct vm_config *cfg;
	struct launch_disks *disks; /* borrowed */
	struct virtio_dev *adapters[CONFIG_MAX_SCSIS];   /* as cfg->scsis */
	struct scsi_unit *units[CONFIG_MAX_SCSI_UNITS];  /* as cfg->scsi_units */
};

/*
 * As launch_virtio_add: once for the adapters with a place of their own on the PCI bus (`fixed`), once for the others. `disks` has the drives; it
 * outlives the machine. 0 or -errno with `err`.
 */
int launch_scsi_add(struct launch_scsi *scsi, struct machine *machine, const struct vm_config *cfg, struct launch_disks *disks, bool fixed,
		    struct err *err);

/*
 * Trays and media, by the id of a device or of its drive, as QEMU's eject, change, blockdev-open-tray and the like name them. 0 or -errno with
 * `err`: -ENOENT no such device, -ENOTSUP not removable, -EBUSY the guest holds the medium (it has been asked to let it go), or the tray
 * is not as it must be. `force` takes the medium from a guest that holds it.
 */
int launch_scsi_open_tray(struct launch_scsi *scsi, const char *id, bool force, struct err *err);
int launch_scsi_close_tray(struct launch_scsi *scsi, const char *id, struct err *err);
/* The tray is open: takes the medium out and closes its file; puts one in. */
int launch_scsi_remove_medium(struct launch_scsi *scsi, const char *id, struct err *err);
int launch_scsi_insert_medium(struct launch_scsi *scsi, const char *id, const struct config_image *image, struct err *err);
/* Opens the tray and takes the medium out; the tray stays open. */
int launch_scsi_eject(struct launch_scsi *scsi, const char *id, bool force, struct err *err);
/*
 * Another medium, and the tray closed. `format` NULL: raw for a CD-ROM drive, as at the start, else as the image looks. The old one is gone
 * also where the new one cannot be opened.
 */
int launch_scsi_change(struct launch_scsi *scsi, const char *id, const char *path, const char *format, bool force, struct err *err);

/* How a device is at the moment. */
struct launch_scsi_tray {
	bool open, locked, medium;
};
int launch_scsi_look(struct launch_scsi *scsi, const char *id, struct launch_scsi_tray *tray, struct err *err);

#endif
