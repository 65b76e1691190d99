/* SPDX-License-Identifier: MIT */
/*
 * What filters (blk/throttle.c, blk/probe_guard.c) have in common: a block device over another, which it owns, with requests that
 * stand in below for those that came from above.
 *
 * Thread: the device's loop.
 */
#ifndef BLK_FILTER_H
#define BLK_FILTER_H

#include "blk/blockdev.h"

struct err;
struct filter;

/* A request below. */
struct filter_sub {
	struct blk_req req;
	struct filter *filter;
	struct blk_req *user;
	void *opaque; /* the filter's */
	struct filter_sub *next;
};

/* Embedded in the filters, first. */
struct filter {
	struct blockdev bd;
	struct blockdev *below;
	struct filter_sub *free;
};

/* Takes what `below` says of itself. 0 or -errno with `err`; then there is nothing to undo. */
int filter_init(struct filter *f, const struct blockdev_ops *ops, struct blockdev *below, struct err *err);
/* Closes `below`. */
void filter_fini(struct filter *f);

/* A copy of `req` for the device below, with `done` to be set by the caller. NULL: no memory. */
struct filter_sub *filter_sub_get(struct filter *f, struct blk_req *req);
void filter_sub_put(struct filter_sub *sub);

/* Passes `req` on as it is. */
void filter_forward(struct filter *f, struct blk_req *req);
/* As `ops->resize`. */
int filter_resize(struct blockdev *bd, uint64_t size);

#endif
