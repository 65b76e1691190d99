/* SPDX-License-Identifier: MIT */
/*
 * Image formats of other programs, read-only, so that kite-img can convert what people have: VMDK, VDI, VHDX and VHD ("vpc"). A format
 * says where a range of the disk is in its files (struct import_ops); blk/import.c does the rest: requests, block status, tables read a
 * page at a time, deflated grains.
 *
 * A file is not trusted: every number in it is checked before it is used, tables are never held whole, and what does not fit its
 * file reads as an I/O error.
 *
 * Thread: the device's loop; opening waits for its reads.
 */
#ifndef BLK_IMPORT_H
#define BLK_IMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blk/blockdev.h"

struct co_pool;
struct err;
struct import;

/* Opening, for blk/image.c */

struct import_config {
	bool trusted; /* the user said what format it is; otherwise no other file is opened */
	/* Opens a file that the image names, for reading; VMDK extents. 0 or -errno with `err`. */
	int (*open_child)(void *opaque, const char *name, struct blockdev **child, struct err *err);
	void *opaque;
};

/* Each takes `file` over. NULL with `err`, and then `file` is the caller's. `cfg` may be NULL but for vmdk_open. */
struct blockdev *vmdk_open(struct blockdev *file, const struct import_config *cfg, struct err *err);
struct blockdev *vdi_open(struct blockdev *file, const struct import_config *cfg, struct err *err);
struct blockdev *vhdx_open(struct blockdev *file, const struct import_config *cfg, struct err *err);
struct blockdev *vpc_open(struct blockdev *file, const struct import_config *cfg, struct err *err);

/* Looking, for kite-img info */

bool import_is(const struct blockdev *bd);
/* Whether the disk at `off` lies in its file as a raw disk would. `bd` is one of these. */
bool import_is_flat(const struct blockdev *bd, uint64_t off);
/* Bytes in one piece of the image; 0: it has none, or `bd` is none of these. */
uint32_t import_cluster_size(const struct blockdev *bd);

#define VMDK_TYPE_MAX 32
struct vmdk_info {
	uint32_t cid, parent_cid;
	char create_type[VMDK_TYPE_MAX];
	unsigned n_extents;
};
struct vmdk_extent_info {
	const char *file;      /* borrowed */
	uint64_t size;         /* bytes */
	uint32_t cluster_size; /* 0: flat */
	const char *type;      /* of its line in the descriptor; "": it has none */
	bool compressed;
};
/* False: not a VMDK. */
bool vmdk_info(const struct blockdev *bd, struct vmdk_info *info);
void vmdk_extent_info(const struct blockdev *bd, unsigned n, struct vmdk_extent_info *info);

/* For the formats */

enum import_kind {
	IMPORT_NONE,     /* the image has nothing there, a parent might: zeroes */
	IMPORT_ZERO,     /* it says: zeroes */
	IMPORT_DATA,
	IMPORT_DEFLATED, /* a piece of `grain` bytes as a zlib stream */
};

struct import_map {
	enum import_kind kind;
	uint64_t len;          /* bytes that this is true of, 1 to what was asked for */
	struct blockdev *file; /* DATA, DEFLATED */
	uint64_t file_off;     /* DATA: where it is, a multiple of BLK_SECTOR; DEFLATED: where the stream begins */
	uint32_t stored, grain, skip; /* DEFLATED: bytes of the stream, of what comes out, of that before the asked offset */
};

struct import_ops {
	const char *format;
	/* What is at `off`; `len` > 0 bytes lie inside the disk. In a coroutine. 0 or -errno. */
	int (*map)(struct import *im, uint64_t off, uint64_t len, struct import_map *map);
	/* The n-th file beside the first, for draining and closing; NULL ends. May be NULL. */
	struct blockdev *(*child)(struct import *im, unsigned n);
	/* NULL: nowhere. */
	bool (*flat)(struct import *im, uint64_t off);
	void (*fini)(struct import *im);
};

#define IMPORT_PAGE 65536u
#define IMPORT_PAGES 64u
#define IMPORT_GRAIN_MAX (16u << 20)

struct import_page {
	struct blockdev *file;
	uint64_t off;
	size_t len;
	unsigned used; /* when last */
	uint8_t *data;
};

/* Embedded in the formats, first. Zero to begin with. */
struct import {
	struct blockdev bd;
	const struct import_ops *ops;
	uint32_t cluster_size;
	struct co_pool *pool;
	unsigned running, clock;
	struct import_page pages[IMPORT_PAGES];
	/* The last unpacked grain. */
	struct blockdev *grain_file;
	uint64_t grain_off;
	uint32_t grain_len;
	uint8_t *grain;
};

/*
 * Makes the device whole: `size` in bytes, rounded up to a sector. 0 and `file` is taken over, or -errno with `err`: then the caller
 * frees what is its own. Before it import_read works already.
 */
int import_init(struct import *im, const struct import_ops *ops, struct blockdev *file, uint64_t size, struct err *err);

/* Reads from anywhere in a file, through the page cache; -ENODATA past its end. Outside of coroutines it drains. */
int import_read(struct import *im, struct blockdev *file, uint64_t off, void *buf, size_t len);
/* Frees the pages of a device that import_init has not seen. */
void import_forget(struct import *im);

/* `size` bytes of a big-endian number. */
uint64_t import_be(const void *p, unsigned size);

#endif
