/* SPDX-License-Identifier: MIT */
/*
 * What the fuzzers of import formats have in common: the input as a file in memory, and a look at all that the image says of itself. The
 * file checks that what reaches it is inside it.
 */
#ifndef TESTS_FUZZ_IMPORT_FUZZ_H
#define TESTS_FUZZ_IMPORT_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blk/import.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/iov.h"
#include "vmm/log.h"
#include "vmm/util.h"

struct memory_file {
	struct blockdev bd;
	const uint8_t *data;
	size_t len;
};

static inline void fuzz_require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz: broken promise: %s\n", what);
	abort();
}

static inline void memory_submit(struct blockdev *bd, struct blk_req *req)
{
	struct memory_file *f = CONTAINER_OF(bd, struct memory_file, bd);
	struct iov_cursor c;

	fuzz_require(req->op == BLK_READ, "an operation on a file that is only read");
	fuzz_require(range_ok(req->off, req->len, bd->size), "a read past the end");
	iov_cursor_init(&c, req->iov, req->n);
	if (req->off < f->len)
		iov_cursor_write(&c, f->data + req->off, min_u64(req->len, f->len - req->off));
	iov_cursor_fill(&c, 0, c.left);
	blockdev_complete(bd, req, 0);
}

static inline void memory_drain(struct blockdev *bd)
{
	(void)bd;
}

static inline void memory_close(struct blockdev *bd)
{
	free(CONTAINER_OF(bd, struct memory_file, bd));
}

static inline struct blockdev *memory_file(struct eventloop *loop, const uint8_t *data, size_t len)
{
	static const struct blockdev_ops ops = { .format = "raw", .submit = memory_submit, .drain = memory_drain, .close = memory_close };
	struct memory_file *f = calloc(1, sizeof(*f));

	f->bd = (struct blockdev){ .ops = &ops, .name = strdup("input"), .loop = loop, .size = align_up(len, BLK_SECTOR),
				   .request_align = BLK_SECTOR, .read_only = true };
	f->data = data;
	f->len = len;
	return &f->bd;
}

/* Reads at the ends, in the middle and across; and the first ranges of the map. */
static inline void fuzz_look(struct blockdev *bd)
{
	static uint8_t buf[192 * 1024];
	uint64_t off = 0;

	fuzz_require(bd->size % BLK_SECTOR == 0, "a size in sectors");
	for (int i = 0; i < 64 && off < bd->size; i++) {
		struct blk_status st = { .len = 0 };

		if (blockdev_status(bd, off, bd->size - off, &st) < 0)
			break;
		fuzz_require(st.len > 0 && st.len <= bd->size - off, "a range inside what was asked");
		fuzz_require(!(st.flags & BLK_ST_OFFSET) || range_ok(st.file_off, st.len, st.file->size), "a place inside the file");
		off += st.len;
	}
	for (int i = 0; i < 3; i++) {
		uint64_t len = min_u64(sizeof(buf), bd->size);
		uint64_t at = align_down((bd->size - len) / 2 * (unsigned)i, BLK_SECTOR);

		if (len)
			blockdev_do(bd, BLK_READ, 0, at, buf, len);
	}
}

typedef struct blockdev *import_open_fn(struct blockdev *file, const struct import_config *cfg, struct err *err);

static inline int fuzz_extent(void *opaque, const char *name, struct blockdev **child, struct err *err)
{
	(void)name;
	*child = memory_file(opaque, (const uint8_t *)"KDMV", 4);
	(void)err;
	return 0;
}

static inline void fuzz_import(import_open_fn *open, const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	struct eventloop *loop = eventloop_create(&err);
	struct import_config cfg = { .trusted = true, .open_child = fuzz_extent, .opaque = loop };
	struct blockdev *file = memory_file(loop, data, size), *bd;

	log_set_level(LOG_LEVEL_ERROR);
	bd = open(file, &cfg, &err);
	fuzz_require(bd || (err.code < 0 && err.msg[0]), "a message for what is refused");
	if (bd)
		fuzz_look(bd);
	blockdev_close(bd ? bd : file);
	eventloop_destroy(loop);
}

#endif
