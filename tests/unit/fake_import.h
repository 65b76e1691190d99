/* SPDX-License-Identifier: MIT */
/* Images of other programs, put together in memory, for the tests of the import formats. */
#ifndef TESTS_FAKE_IMPORT_H
#define TESTS_FAKE_IMPORT_H

#include <stddef.h>
#include <stdint.h>

#include "blk/import.h"
#include "vmm/err.h"

/* A file that is only read. The image that is opened over it closes it. */
struct fake_image {
	struct blockdev bd;
	uint8_t *data;
	int error;        /* what reads of data end with, unless 0 */
	uint64_t error_at; /* those that touch this byte */
	unsigned n_reads;
};

typedef struct blockdev *fake_open_fn(struct blockdev *file, const struct import_config *cfg, struct err *err);

/* Zeroes. */
struct fake_image *fake_image_create(struct eventloop *loop, const char *name, size_t size);
void fake_image_close(struct fake_image *image);
void fake_be(uint8_t *p, uint64_t value, unsigned size);

/* Every 512-byte sector of a range says where it is and `mark`. */
void fake_image_mark(struct fake_image *image, uint64_t off, size_t len, uint8_t mark);
/* What the disk has at `off` is what fake_image_mark put at `at` of the file. */
void fake_image_expect(struct blockdev *bd, uint64_t off, size_t len, uint64_t at, uint8_t mark);
void fake_image_expect_zero(struct blockdev *bd, uint64_t off, size_t len);
/* The range's first part is `len` long and has these flags. */
void fake_image_expect_status(struct blockdev *bd, uint64_t off, uint64_t ask, uint64_t len, unsigned flags);

struct fake_patch {
	uint64_t off;
	uint64_t value;   /* little-endian, but for `big` */
	unsigned size;
	const char *says; /* a word of the message; NULL: it opens */
	bool big;
};

/* Opens what `build` makes with one change each time. `fix`, which may be NULL, sets checksums right. */
void fake_image_refuse(struct eventloop *loop, fake_open_fn *open, struct fake_image *(*build)(struct eventloop *loop),
		       void (*fix)(struct fake_image *image), const struct fake_patch *patches, size_t n);

#endif
