/* SPDX-License-Identifier: MIT */
/* What the two halves of virtio-blk share: virtio_blk.c, the device, and virtio_blk_req.c, its requests. */
#ifndef HW_VIRTIO_BLK_PRIV_H
#define HW_VIRTIO_BLK_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "blk/blockdev.h"
#include "hw/virtio.h"
#include "hw/virtio_blk_regs.h"

/* Elements of one DISCARD or WRITE_ZEROES: what a request has room for. */
#define VBLK_MAX_RANGES 16
/* Sectors of one of them: 1 GiB, so that a guest's mkfs does not hold the disk up for long. */
#define VBLK_MAX_RANGE_SECTORS (UINT32_C(1) << 21)
/* Buffers of one request, header and status included; what 5.2.4 calls seg_max is two less. */
#define VBLK_MAX_BUFFERS 256

struct vblk;
struct vblk_queue;

/* A request from pop to push. */
struct vblk_req {
	struct blk_req blk; /* what of it is in flight below */
	struct vblk_queue *queue;
	struct vblk_req *next; /* in the queue's `free`, or the disk's kept ones */
	struct iovec *iov;     /* the queue's max_buffers entries, for good */
	uint8_t *status;       /* in guest memory */
	uint32_t in_len;       /* bytes of the writable part, status included */
	uint16_t head;
	bool flush_after;      /* the write is done when a flush after it is */
	uint8_t next_range, n_ranges;
	struct {
		uint64_t off, len; /* bytes; checked */
		unsigned flags;    /* BLK_REQ_... */
	} ranges[VBLK_MAX_RANGES];
};

struct vblk_queue {
	struct vblk *vblk;
	unsigned index;
	unsigned max_buffers;
	/* The pool: as many requests as the queue is long. The last one freed is taken first, and memory is touched by what was ever taken. */
	struct vblk_req *reqs, *free;
	unsigned n_reqs, n_taken;
	struct iovec *iovs;
	/* Posted to tell the driver of a turn's completions at once, and to go on where a kick's share was used up. */
	struct event_work notify, more;
};

struct vblk {
	struct virtio_dev dev;
	struct blockdev *bd; /* borrowed */
	struct vblk_queue *queues;
	unsigned n_queues;
	void *pools; /* of all queues */
	unsigned in_flight;        /* requests taken, over all queues */
	uint64_t capacity;         /* sectors of 512 bytes; the loop's copy of what config says */
	uint32_t block;            /* bytes: logical */
	bool discard, write_zeroes;
	bool config_wce, wce_default;
	enum virtio_blk_on_error read_error, write_error;
	struct machine_link link;
	/* What failed and is tried again when the machine goes on, in the order of failing. Counted in in_flight. */
	struct vblk_req *kept_first, *kept_last;
	bool ending; /* the driver is going: nothing is kept for it */
	char serial[VBLK_ID_BYTES]; /* padded with zeroes */

	/* Whether completed writes may be in a cache. Written under `lock` by vCPU threads (configuration) and by activation; read by the loop. */
	atomic_bool wce;
	pthread_mutex_t lock; /* config: the loop writes the capacity, vCPU threads read */
	struct vblk_config config;
};

/* Requests in flight, at most dev.queues' sizes. */
struct vblk_req *vblk_req_take(struct vblk_queue *q);
void vblk_req_free(struct vblk_req *r);

/* What was kept because of errors: submits it again, or forgets it, as a reset does. */
void vblk_retry_kept(struct vblk *b);
void vblk_drop_kept(struct vblk *b);

/*
 * Starts what the chain asks for, or ends it at once. `r->iov` holds the chain's buffers. 0, or -EINVAL with `*why` set (static text)
 * when the chain has no place for a status and so cannot be answered: the request is the caller's again.
 */
int vblk_req_start(struct vblk_req *r, const struct virtq_chain *chain, const char **why);

#endif
