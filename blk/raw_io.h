/* SPDX-License-Identifier: MIT */
/*
 * A request of a raw disk on its way, as blk/raw.c (reads, writes, flushes) and blk/raw_zero.c (zeroes, holes) share it. blk/raw.c
 * has the theory of operation. Thread: the disk's loop.
 */
#ifndef BLK_RAW_IO_H
#define BLK_RAW_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "blk/raw_priv.h"
#include "vmm/uring.h"

struct raw_io;

struct raw_list {
	struct raw_io *first, *last;
};

struct raw {
	struct blockdev bd;
	struct raw_file file;
	struct uring *uring; /* borrowed */
	bool dsync;          /* every write reaches the disk before it is done */
	bool no_flush;       /* cache=unsafe */
	bool unmap, detect_zeroes;
	bool no_punch, no_zero_range, no_stale_discard; /* the file cannot */
	bool order_writes;
	int flush_error;
	unsigned n_bounces;
	struct raw_list bounce_queue;
	struct raw_io *writes_first, *writes_last; /* with order_writes */
	struct raw_io *free;
};

struct raw_io {
	struct uring_req u;
	struct raw *raw;
	struct blk_req *req;
	void (*step)(struct raw_io *io, int64_t result);
	uint64_t pos;  /* bytes before it are done */
	uint64_t end;  /* of what the steps now go over */
	uint64_t last; /* of the request */
	bool zero;     /* what is written are zeroes, not the user's buffers */
	bool unmap;    /* zeroes may be holes */
	bool by_hand;  /* fallocate refused this range */
	bool sync;     /* fdatasync at the end */
	bool bouncing, started;
	struct iovec *vec; /* IOV_MAX of our own, or NULL */
	struct iovec one;
	uint8_t *bounce;
	uint64_t chunk_off;             /* the piece in `bounce`: where it goes, */
	size_t chunk_len, chunk_done;   /* how much of it, of that done */
	struct raw_io *link;            /* bounce_queue, free */
	struct raw_io *w_prev, *w_next; /* order_writes */
};

/* The next step: one call, and `step` when it is done. */
void raw_io_submit(struct raw_io *io, enum uring_op op, void (*step)(struct raw_io *io, int64_t result));
/* Chooses the next step, or ends the request. */
void raw_io_next(struct raw_io *io);
void raw_io_end(struct raw_io *io, int result);

/* Steps of a kind, from io->pos on. */
void raw_rw_start(struct raw_io *io);
void raw_zero_start(struct raw_io *io);
void raw_discard_start(struct raw_io *io);

/* blk/raw_size.c: the ops, and BLK_STATUS, which needs no wait. */
int raw_resize(struct blockdev *bd, uint64_t size);
int raw_truncate(struct blockdev *bd, uint64_t size, enum blk_prealloc prealloc);
int raw_status(struct raw *raw, const struct blk_req *req);

#endif
