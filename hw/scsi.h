/* SPDX-License-Identifier: MIT */
/*
 * SCSI: the contract between an adapter (virtio-scsi) and logical units (disks, CD-ROM drives).
 *
 * An adapter turns what its driver asks for into a struct scsi_req and submits it to a unit. The unit serves it from its block device,
 * straight from and to the request's buffers, and calls `done`, once, with status, sense data and the bytes moved. What the driver says
 * in a command is checked here: the adapter need not know commands at all.
 *
 * A unit remembers what its driver must be told (unit attentions), runs requests in any order but for ordered tasks, and aborts what it
 * is told to: a request that is under way to the host ends first, then counts as aborted.
 *
 * Sources: SAM-5 (tasks), SPC-4, SBC-3, MMC-6.
 *
 * Thread: everything on the adapter's loop, which is that of all its units' block devices; create and destroy while it does nothing for
 * them.
 */
#ifndef HW_SCSI_H
#define HW_SCSI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "blk/blockdev.h"
#include "hw/devices.h"
#include "hw/scsi_regs.h"
#include "vmm/log.h"

struct err;
struct scsi_req;
struct scsi_type;
struct scsi_unit;

#define SCSI_CDB_MAX 32
#define SCSI_SENSE_MAX 18
#define SCSI_MAX_TARGETS 256
#define SCSI_MAX_LUNS 16384
#define SCSI_MAX_RANGES 64 /* block descriptors of an UNMAP */

#define SCSI_VENDOR_MAX 8
#define SCSI_PRODUCT_MAX 16
#define SCSI_VERSION_MAX 4
#define SCSI_SERIAL_MAX 36
#define SCSI_DEVICE_ID_MAX 64

enum scsi_attr { SCSI_SIMPLE, SCSI_ORDERED, SCSI_HEAD_OF_QUEUE };

/* Why a request ended without a status of its own. */
enum scsi_aborted { SCSI_NOT_ABORTED, SCSI_ABORTED_TASK, SCSI_ABORTED_BY_RESET };

struct scsi_range {
	uint64_t off, len; /* bytes; checked */
};

/* Blocks that go through a buffer: a pattern to be written, or data to be compared. scsi_bulk.c */
struct scsi_bulk;

struct scsi_req {
	/* The adapter's, set before scsi_submit: */
	struct scsi_unit *unit;
	unsigned target, lun;       /* which the unit may not be there for */
	uint8_t cdb[SCSI_CDB_MAX];  /* our copy; zeroes behind what the driver gave */
	enum scsi_attr attr;
	uint64_t tag;               /* the driver's name for it */
	/* Data buffers: borrowed until done; the arrays are cut to what is transferred. */
	struct iovec *out, *in;
	size_t n_out, n_in;
	uint32_t out_len, in_len;   /* bytes */
	/* The end, possibly inside scsi_submit. It may free the request; it submits none. */
	void (*done)(struct scsi_req *req);

	/* The result: */
	enum scsi_aborted aborted;  /* then nothing else counts */
	bool overrun;               /* the command asks for more data than there are buffers for; nothing else counts */
	uint8_t status;             /* enum scsi_status */
	uint8_t sense_len, sense[SCSI_SENSE_MAX];
	uint32_t moved;             /* bytes of data transferred, either way */

	/* The unit's: */
	struct scsi_req *prev, *next;
	enum { SCSI_REQ_WAITING, SCSI_REQ_RUNNING, SCSI_REQ_KEPT } state;
	struct blk_req blk;         /* what of it is in flight below */
	enum blk_op op;             /* what happens to the ranges, */
	unsigned op_flags;          /* BLK_REQ_..., */
	bool flush_before, flush_after;
	uint32_t will_move;         /* and `moved` when all is well */
	uint8_t next_range, n_ranges;
	struct scsi_range ranges[SCSI_MAX_RANGES];
	struct scsi_bulk *bulk;     /* owned; NULL: none */
};

/* What an adapter does for its units. */
struct scsi_adapter_ops {
	/* The driver should look again: UNIT ATTENTION code and qualifier. */
	void (*changed)(void *adapter, struct scsi_unit *unit, enum scsi_sense what);
	/* The LUNs (SAM-5, 4.7) that the addressee of `req` tells of, in order; how many, at most `max`. */
	size_t (*luns)(void *adapter, const struct scsi_req *req, uint8_t (*luns)[8], size_t max);
};

struct scsi_config {
	const char *name;          /* "scsi0-0-0"; borrowed */
	struct blockdev *bd;       /* borrowed; NULL: no medium, where it is removable */
	unsigned target, lun;
	const char *vendor, *product, *version, *serial, *device_id; /* copied; NULL: the default, or none */
	uint64_t wwn;              /* an NAA designator; 0: none */
	uint32_t logical_block, physical_block; /* bytes, powers of two; 0: as the medium is; ignored for a CD */
	bool removable;            /* of a disk; a CD always is */
	uint16_t rotation_rate;    /* 0: unknown, 1: does not rotate, else per minute */
	bool write_cache;          /* completed writes may wait for SYNCHRONIZE CACHE */
	enum virtio_blk_on_error read_error, write_error;
	struct machine_link link;  /* for werror=stop */
};

/* A logical unit; embedded nowhere. Its fields are for hw/scsi*.c; an adapter reads target and lun, and has `next` for itself. */
struct scsi_unit {
	const struct scsi_type *type;
	const char *name;
	unsigned target, lun;
	struct scsi_unit *next;             /* the adapter's */
	const struct scsi_adapter_ops *adapter_ops;
	void *adapter;
	struct log_limit log;

	struct blockdev *bd;                /* NULL: no medium */
	uint32_t block, physical;           /* bytes */
	uint32_t block_given, physical_given;
	uint64_t blocks;
	bool removable, tray_open, locked;  /* locked: the driver prevents removal */
	uint8_t media_event;                /* for GET EVENT STATUS NOTIFICATION */
	bool wce, wce_default;
	uint16_t rotation_rate;
	uint64_t wwn;
	enum virtio_blk_on_error read_error, write_error;
	struct machine_link link;
	char vendor[SCSI_VENDOR_MAX], product[SCSI_PRODUCT_MAX], version[SCSI_VERSION_MAX]; /* padded with spaces */
	char serial[SCSI_SERIAL_MAX + 1], device_id[SCSI_DEVICE_ID_MAX + 1];

	uint32_t attentions;                /* a bit each, scsi.c */
	struct scsi_req *first, *last;      /* in the order of arrival, until done */
	unsigned n_waiting, n_ordered;      /* ordered: waiting or running */
	unsigned n_bulk;
	bool starting;                      /* somebody further up starts what waits */
	bool ending;                        /* the driver or the medium is going: nothing is kept */
};

/* hw/scsi_disk.c, hw/scsi_cd.c. NULL with `err`. The owner ends it with scsi_unit_destroy, with no request in flight. */
struct scsi_unit *scsi_disk_create(const struct scsi_config *cfg, struct err *err);
struct scsi_unit *scsi_cd_create(const struct scsi_config *cfg, struct err *err);
void scsi_unit_destroy(struct scsi_unit *unit);

/*
 * hw/scsi_nobody.c: what answers for units that are not there, in a target that is, and for the REPORT LUNS well-known unit. `unit` is the
 * adapter's own storage.
 */
void scsi_nobody_init(struct scsi_unit *unit, bool well_known);

/* Connects a unit to its adapter: it tells the driver of its power-on first. */
void scsi_unit_attach(struct scsi_unit *unit, const struct scsi_adapter_ops *ops, void *adapter);

void scsi_submit(struct scsi_req *req);

/* Aborts the requests of which `match` is true (NULL: all). Those that nobody has begun, or that are kept, are done at once. */
void scsi_abort(struct scsi_unit *unit, enum scsi_aborted how, bool (*match)(const struct scsi_req *req, const void *arg), const void *arg);
/* Whether one is in flight of which `match` is true. */
bool scsi_in_flight(const struct scsi_unit *unit, bool (*match)(const struct scsi_req *req, const void *arg), const void *arg);

/* The state after a reset of the unit, which `what` tells the driver of: SCSI_UA_... Requests are not touched. */
void scsi_unit_reset(struct scsi_unit *unit, enum scsi_sense what);
/* Returns with nothing in flight; what waits or is kept is aborted. */
void scsi_unit_drain(struct scsi_unit *unit);
/* Submits what failed and was kept (werror=stop) again. */
void scsi_unit_retry(struct scsi_unit *unit);
/* Tells the driver with the next command. */
void scsi_unit_attention(struct scsi_unit *unit, enum scsi_sense what);

/*
 * The medium, for the user of the machine (QEMU's eject, blockdev-open-tray, blockdev-change-medium). -ENOTSUP: the unit is not removable.
 *
 * Opens the tray. Where the driver prevents that, without `force`: -EBUSY, and the driver is asked to let it go.
 */
int scsi_tray_open(struct scsi_unit *unit, bool force);
/* Closes it: with a medium in it, the driver hears of a new one. */
int scsi_tray_close(struct scsi_unit *unit);
/* Takes the medium out, which is the caller's to close then; nothing is in flight on it. -EBUSY: the tray is closed. `*bd` NULL: empty. */
int scsi_medium_take(struct scsi_unit *unit, struct blockdev **bd);
/* Puts one in. -EBUSY: the tray is closed, or not empty; -EINVAL with `err`: it does not fit the unit. */
int scsi_medium_put(struct scsi_unit *unit, struct blockdev *bd, struct err *err);

#endif
