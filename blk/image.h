/* SPDX-License-Identifier: MIT */
/*
 * Opening disk images by format, with all that they stand on: backing files to any depth, external data files.
 *
 * Which files are opened is decided by the user, not by the bytes of an image that a guest may have written. So an image whose format
 * was not given but found by its first bytes is opened only when it names no other file; the message says which option to type. A given
 * format is trusted, and so is the backing format that such an image's header gives for its backing file. Where the header gives none,
 * the backing file is looked at in turn, under the same rule. This is stricter than QEMU 7.2, which follows what it probed.
 *
 * What the user names instead of what the header says is opened as the user says, in its own struct image_config.
 *
 * Names of backing and data files are relative to the directory of the image that names them. "file:" in front is
 * dropped; other protocols and "json:" are refused by name.
 *
 * Thread: the main thread, or the loop's; opening and closing reads and writes, and waits for it.
 */
#ifndef BLK_IMAGE_H
#define BLK_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blk/blockdev.h"

struct err;
struct fdsets;

#define IMAGE_NAME_MAX 1024     /* bytes of a file name in an image, with the 0 */
#define IMAGE_CHAIN_MAX 200     /* images on top of each other */

/* Strings are borrowed during the call. Zero is the default everywhere. */
struct image_config {
	const char *path;
	const char *format;      /* "raw", "qcow2"; NULL: found by its first bytes */
	bool read_only;
	bool auto_read_only;     /* read-only when it cannot be opened for writing */
	bool no_lock;            /* -U: also when another process writes to it; then read_only */
	bool no_backing;         /* for info, check and unsafe rebase: do not open backing files; what is not here reads as zeroes */
	bool keep_bitmaps;       /* qcow2: it is not the disk that will be written to, so bitmaps stay as they are */
	bool detect_zeroes;
	enum blk_cache cache;
	enum blk_discard discard;
	const char *backing_path;   /* instead of what the header says; "" means none */
	const char *backing_format; /* of backing_path, or instead of the header's */
	const struct image_config *backing;   /* the same as a whole; always read-only. On one loop with this */
	const struct image_config *data_file; /* instead of the header's external data file; only its path and how to open it count */
	int lazy_refcounts;      /* qcow2: 1 on, -1 off, 0 as the image says */
	const char *snapshot;    /* qcow2: shows an internal snapshot, by id or name; read-only */
	bool repair;             /* qcow2: may open what is marked corrupt for writing, for check -r */
	uint64_t cache_size, l2_cache_size, refcount_cache_size; /* qcow2; bytes; 0: default */
	uint64_t l2_cache_entry_size;
	const struct blk_opener *opener; /* NULL: this thread. The same for all of a chain */
	const struct fdsets *fds; /* as struct blk_file_config, for names that the user gave, not for an image's */
	struct uring *uring;     /* borrowed; of the loop */
	struct eventloop *loop;
};

/* NULL with `err`. The chain belongs to what is returned. */
struct blockdev *image_open(const struct image_config *cfg, struct err *err);

/* The format that `path`'s first bytes have. `opener` may be NULL. 0 or -errno with `err`. */
int image_probe(const char *path, const struct blk_opener *opener, enum blk_format *format, struct err *err);

/* `name` as found in the image at `base`, as the path to open; 0 or -errno with `err` (unknown protocol, too long). */
int image_path_join(char out[IMAGE_NAME_MAX * 2], const char *base, const char *name, struct err *err);

/*
 * What [off, off + len) reads as through the chain from `top` down to, not including, `base` (NULL: all of it): `*status` of the layer that
 * decides, with ZERO also where a raw file below has a hole. `*depth`: 0 for `top` itself, counting down the chain. A part that nobody has
 * has no ALLOCATED, and the depth of the last layer. Waits. 0 or -errno.
 */
int image_status(struct blockdev *top, struct blockdev *base, uint64_t off, uint64_t len, struct blk_status *status, unsigned *depth);

#endif
