/* SPDX-License-Identifier: MIT */
/*
 * The qcow2 image format, versions 2 and 3, as a block device over the file that holds it.
 *
 * Source: QEMU, docs/interop/qcow2.txt. Limits are QEMU's: clusters of 512 bytes to 2 MiB, L1 tables up to 32 MiB, refcount tables up to
 * 8 MiB, 65,536 snapshots. Encrypted images are refused, and incompatible features that are not known by the name that the image
 * gives them.
 *
 * Whatever happens, and whatever order the disk writes in between flushes, an image on disk is at any instant one that can be opened as it
 * is; at worst clusters are lost (leaked) that `check` finds. The same holds after errors. blk/qcow2.c opens with how.
 *
 * Functions that take a struct blockdev take one of qcow2_open; others say -ENOTSUP. They wait for what is under way, do their work
 * and return when it is on disk. Thread: the device's loop, or the main thread while the loop does nothing for the device. Strings in
 * configurations are borrowed during the call; `err` is filled on failure, and the number returned too.
 */
#ifndef BLK_QCOW2_H
#define BLK_QCOW2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blk/blockdev.h"
#include "blk/image.h"

struct err;

#define QCOW2_SNAPSHOTS_MAX 65536
#define QCOW2_BITMAPS_MAX 65535
#define QCOW2_FORMAT_MAX 64 /* bytes of a format name, with the 0 */

enum qcow2_compression { QCOW2_ZLIB, QCOW2_ZSTD };

/* Opening */

enum qcow2_child { QCOW2_BACKING, QCOW2_DATA_FILE };

struct qcow2_open_config {
	bool read_only;
	bool no_backing, repair, detect_zeroes, keep_bitmaps; /* as struct image_config */
	bool writethrough;         /* every write is on disk when it is done */
	int lazy_refcounts;        /* as struct image_config */
	bool data_file;            /* open_child knows the data file without the header's name for it */
	enum blk_discard discard;
	const char *snapshot;
	uint64_t cache_size, l2_cache_size, refcount_cache_size, l2_cache_entry_size; /* bytes; 0: default */
	/*
	 * Opens another file that the header names: `format` may be "" (then none is given); for the data file it is "raw". Sets `*child`,
	 * which the image takes over; a backing file may be left out with NULL. 0 or -errno with `err`.
	 */
	int (*open_child)(void *opaque, enum qcow2_child which, const char *name, const char *format, struct blockdev **child, struct err *err);
	void *opaque;
};

/* Takes `file` over. NULL with `err`, and then `file` is the caller's. */
struct blockdev *qcow2_open(struct blockdev *file, const struct qcow2_open_config *cfg, struct err *err);

/* Whether `bd` is one, and whether its data are in another file. */
bool qcow2_is(const struct blockdev *bd);
bool qcow2_has_data_file(const struct blockdev *bd);

/* Making */

struct qcow2_create_config {
	uint64_t size;             /* bytes; rounded up to BLK_SECTOR */
	unsigned version;          /* 2 (compat=0.10) or 3 (1.1); 0: 3 */
	uint32_t cluster_size;     /* 0: 64 KiB */
	unsigned refcount_bits;    /* 0: 16 */
	bool lazy_refcounts, extended_l2;
	enum qcow2_compression compression;
	const char *backing_file, *backing_format; /* as the header shall say; NULL: none. Nobody opens it here. */
	const char *data_file;     /* as the header shall say; NULL: none */
	bool data_file_raw;
	enum blk_prealloc prealloc;
	struct blockdev *data;     /* borrowed; the open data file, with data_file */
};

/* Writes an empty image into `file`, which is borrowed, writable, and `grows` or is large enough. What was in it is lost. */
int qcow2_create(struct blockdev *file, const struct qcow2_create_config *cfg, struct err *err);

/* Bytes of a file that an image made so would take: with nothing allocated but metadata, and with `data` bytes of guest data. For measure. */
struct qcow2_measure {
	uint64_t required, fully_allocated;
};
int qcow2_measure(const struct qcow2_create_config *cfg, uint64_t data, struct qcow2_measure *out, struct err *err);

/* Looking */

struct qcow2_info {
	unsigned version;
	uint64_t size;
	uint32_t cluster_size;
	unsigned refcount_bits;
	enum qcow2_compression compression;
	bool lazy_refcounts, extended_l2, dirty, corrupt;
	bool has_data_file, data_file_raw;
	char backing_file[IMAGE_NAME_MAX], backing_format[QCOW2_FORMAT_MAX]; /* "" for none; as the header says */
	char data_file[IMAGE_NAME_MAX];
	unsigned n_snapshots, n_bitmaps;
	uint64_t vm_state_off; /* where in the image the state of a virtual machine begins: past the disk */
};

int qcow2_info(struct blockdev *bd, struct qcow2_info *info);

struct qcow2_snapshot_info {
	char *id, *name;
	uint64_t vm_state_size;
	uint64_t disk_size;
	uint32_t date_sec, date_nsec;
	uint64_t vm_clock_ns;
	uint64_t icount; /* UINT64_MAX: not recorded */
};

/* `*list` is freed with qcow2_snapshots_free. Returns how many, or -errno. */
int qcow2_snapshots(struct blockdev *bd, struct qcow2_snapshot_info **list);
void qcow2_snapshots_free(struct qcow2_snapshot_info *list, int n);

/* By id, or else by name: the first that has it. */
int qcow2_snapshot_create(struct blockdev *bd, const char *name, struct err *err);
int qcow2_snapshot_apply(struct blockdev *bd, const char *id_or_name, struct err *err);
int qcow2_snapshot_delete(struct blockdev *bd, const char *id_or_name, struct err *err);

#define QCOW2_BITMAP_IN_USE 1u
#define QCOW2_BITMAP_AUTO 2u

struct qcow2_bitmap_info {
	char *name;
	uint32_t granularity; /* bytes; 0 where it does not fit: larger than 2 GiB */
	unsigned granularity_bits;
	unsigned flags;       /* QCOW2_BITMAP_... */
};

/* Only those of a consistent bitmaps extension. Returns how many, or -errno. */
int qcow2_bitmaps(struct blockdev *bd, struct qcow2_bitmap_info **list, struct err *err);
void qcow2_bitmaps_free(struct qcow2_bitmap_info *list, int n);

enum qcow2_bitmap_op {
	QCOW2_BITMAP_ADD,     /* all clear */
	QCOW2_BITMAP_REMOVE, QCOW2_BITMAP_CLEAR, QCOW2_BITMAP_ENABLE, QCOW2_BITMAP_DISABLE,
	QCOW2_BITMAP_MERGE,   /* what `source` has set is set as well */
};

struct qcow2_bitmap_change {
	enum qcow2_bitmap_op op;
	const char *name;
	uint32_t granularity;    /* ADD: bytes, a power of two from 512 to 2 GiB */
	bool disabled;           /* ADD */
	struct blockdev *from;   /* MERGE: the image that has `source`; NULL: the same. Borrowed */
	const char *source;
};

/* On disk when it returns. For images that were opened with keep_bitmaps, or that have none. */
int qcow2_bitmap_change(struct blockdev *bd, const struct qcow2_bitmap_change *what, struct err *err);

/* Checking */

#define QCOW2_FIX_LEAKS 1u
#define QCOW2_FIX_ERRORS 2u

struct qcow2_check_result {
	unsigned long corruptions, leaks, check_errors; /* found; check_errors: what could not be looked at */
	unsigned long corruptions_fixed, leaks_fixed;
	uint64_t image_end;   /* bytes: the end of the last cluster in use */
	uint64_t total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
};

/*
 * `fix` are QCOW2_FIX_...; with 0 nothing is written. After fixing, what is wrong still is in corruptions and leaks, as with qemu-img.
 * `say`, which may be NULL, gets a line of text for each finding. -errno only when the check itself failed.
 */
int qcow2_check(struct blockdev *bd, unsigned fix, void (*say)(void *opaque, const char *line), void *opaque,
		struct qcow2_check_result *result, struct err *err);

/*
 * Packs a cluster for a write with BLK_REQ_COMPRESSED, into a buffer of the same size. Returns bytes, 0 when it does not get smaller, or
 * -errno. Any thread, while the device is open.
 */
int qcow2_compress(const struct blockdev *bd, const void *cluster, void *out);

/*
 * Loads the libraries that images may need, so that they can also be opened by a process that has no access to such files any more. What is
 * not installed is missed by who needs it. An image that needs one loads it by itself when it is opened.
 */
void qcow2_preload(void);

/* Changing */

/* blockdev_resize does the same without preallocation. Shrinking gives up what is past the end. */
int qcow2_resize(struct blockdev *bd, uint64_t size, enum blk_prealloc prealloc, struct err *err);

/* Takes everything out that the image has, after a commit into its backing file. */
int qcow2_make_empty(struct blockdev *bd, struct err *err);

/* What the header says of the backing file. "" or NULL: none. Neither opens it nor touches data; the open backing file stays. */
int qcow2_change_backing(struct blockdev *bd, const char *backing_file, const char *backing_format, struct err *err);

/* Puts another device below, which the image takes over; the old one is the caller's again (may be NULL, as may be `backing`). */
int qcow2_set_backing(struct blockdev *bd, struct blockdev *backing, struct blockdev **old);

#endif
