/* SPDX-License-Identifier: MIT */
/*
 * A file in memory under an image format, as bad as a real one may be: requests end in any order, writes since the last flush may or may not be
 * there after a crash, sector by sector, and any request can be made to fail.
 */
#ifndef TESTS_UNIT_FAKE_FILE_H
#define TESTS_UNIT_FAKE_FILE_H

#include "blk/blockdev.h"

struct fake_log {
	uint64_t off, len;
	uint8_t *data;         /* NULL: zeroes */
	uint64_t completed_at; /* UINT64_MAX: not yet */
};

struct fake_pending;

struct fake_file {
	struct blockdev bd;
	uint8_t *data, *durable; /* as read; what is safe */
	uint64_t cap;            /* writes past it: -ENOSPC */
	uint64_t durable_size, truncated;
	struct fake_pending *first, **last;
	unsigned waiting;
	uint64_t clock;
	struct fake_log *log;
	size_t n_log, log_cap;
	uint64_t seed;
	bool in_order;
	/* Fails the request that comes after `fail_after` others of the kinds in `fail_ops` (bits of enum blk_op); `fail_for` of them. */
	unsigned fail_ops, fail_after, fail_for;
	int fail_with;
	unsigned n_ops[BLK_STATUS + 1];
	bool keep; /* closing does not free the contents */
};

struct fake_file *fake_file_create(struct eventloop *loop, uint64_t cap);
/* As it may be found after a crash now. A new file of its own. */
struct fake_file *fake_file_crash(struct fake_file *f, uint64_t *seed);
void fake_file_free(struct fake_file *f);
/* Ends one request; false: there was none. */
bool fake_file_step(struct fake_file *f);

uint64_t fake_random(uint64_t *seed);

#endif
