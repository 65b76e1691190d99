/* SPDX-License-Identifier: MIT */
/* What the files of virtio-scsi share: virtio_scsi.c, the device, _req.c, its request queues, _ctrl.c, control and events. */
#ifndef HW_VIRTIO_SCSI_PRIV_H
#define HW_VIRTIO_SCSI_PRIV_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "hw/scsi.h"
#include "hw/virtio.h"
#include "hw/virtio_scsi_regs.h"

/* Buffers of one request, header and answer included; what 5.6.4 calls seg_max is two less. */
#define VSCSI_MAX_BUFFERS 256
/* Buffers of a control request or an event. */
#define VSCSI_CTRL_BUFFERS 32
#define VSCSI_MAX_UNITS 64
#define VSCSI_SENSE_SIZE_MAX 4096 /* what a driver may set */
#define VSCSI_CDB_SIZE_MAX 260    /* SPC-4, 4.2.5.1 */

struct vscsi;
struct vscsi_queue;

/* A request from pop to push. */
struct vscsi_req {
	struct scsi_req scsi;
	struct vscsi_queue *queue;
	struct vscsi_req *next; /* in the queue's `free` */
	struct iovec *iov;      /* the queue's max_buffers entries, for good */
	uint16_t head;
	struct iovec *in;       /* the writable part */
	/* The entry that the answer ends in, whose rest is data and has been cut off; NULL: it ends with one. */
	struct iovec *shared, shared_whole;
	size_t n_answer;        /* entries of `in` that have the answer */
};

struct vscsi_queue {
	struct vscsi *v;
	unsigned index; /* among dev.queues */
	unsigned max_buffers;
	/* The pool: as many requests as the queue is long. The last one freed is taken first, and memory is touched by what was ever taken. */
	struct vscsi_req *reqs, *free;
	unsigned n_reqs, n_taken;
	struct iovec *iovs;
	/* Posted to tell the driver of a turn's completions at once, and to go on where a kick's share was used up. */
	struct event_work notify, more;
};

/* A task management function that waits for requests to end. */
struct vscsi_pending {
	struct vscsi_pending *next; /* in `pending` or `free` */
	uint16_t head;
	uint8_t *response; /* in guest memory */
	unsigned target;
	int lun;           /* -1: all of the target */
	bool one_task;
	uint64_t id;
};

struct vscsi {
	struct virtio_dev dev;
	struct scsi_unit *units;   /* owned; by target and LUN */
	unsigned n_units;
	struct scsi_unit nobody, well_known;
	struct vscsi_queue *queues; /* as dev.queues; those of control and events have no pool */
	unsigned n_queues;
	unsigned in_flight;        /* requests taken, over all queues */
	bool active;
	bool events_missed;
	uint32_t sense_size, cdb_size; /* as they were at activation */
	struct vscsi_pending *tmfs;    /* the pool: the control queue's size */
	struct vscsi_pending *free, *pending;

	pthread_mutex_t lock; /* config: written by the driver's sizes and by resets, read by vCPU threads */
	struct vscsi_config config;
};

struct scsi_unit *vscsi_find(const struct vscsi *v, unsigned target, unsigned lun);
bool vscsi_has_target(const struct vscsi *v, unsigned target);
/* False: not an address of a unit here. */
bool vscsi_parse_lun(const uint8_t lun[8], unsigned *target, unsigned *n);
void vscsi_put_lun(uint8_t lun[8], unsigned target, unsigned n);

/* Take and start one chain. False: there is none, or the queue is broken. */
bool vscsi_req_pop(struct vscsi_queue *q);
bool vscsi_ctrl_pop(struct vscsi_queue *q);

/* A request has ended: functions that waited for it may have, too. */
void vscsi_ctrl_ended(struct vscsi *v);
/* Tells the driver, or that events were missed. */
void vscsi_event(struct vscsi *v, uint32_t event, const struct scsi_unit *unit, uint32_t reason);
/* The driver has given buffers for events. */
void vscsi_event_kick(struct vscsi *v);

#endif
