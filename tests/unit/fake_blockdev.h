/* SPDX-License-Identifier: MIT */
/*
 * A block device in memory that does nothing until it is told to: requests wait until the test runs them, in order, one by one or all,
 * and fails those it is told to fail. A back end under the real blk/blockdev.c.
 */
#ifndef TESTS_UNIT_FAKE_BLOCKDEV_H
#define TESTS_UNIT_FAKE_BLOCKDEV_H

#include "blk/blockdev.h"

#define FAKE_BLK_LOG 1024

struct fake_blk {
	struct blockdev bd;
	uint8_t *data; /* bd.size bytes; a discard fills with 0xdd */
	struct blk_req *first, *last;
	unsigned waiting;
	int fail;          /* -errno for the request after the next `fail_after`; 0: none */
	unsigned fail_after;
	unsigned drains;
	unsigned n_log;    /* every request that arrived */
	struct {
		enum blk_op op;
		unsigned flags;
		uint64_t off, len;
		size_t n;
	} log[FAKE_BLK_LOG];
};

/* Writable, with a cache, and able to do everything. */
void fake_blk_init(struct fake_blk *b, struct eventloop *loop, uint64_t size);
void fake_blk_fini(struct fake_blk *b);
/* Ends the oldest `n` of those that wait; returns how many there were. */
unsigned fake_blk_run(struct fake_blk *b, unsigned n);

#endif
