/* SPDX-License-Identifier: MIT */
/*
 * A block device as its users (virtio-blk, later the image tool and jobs) see it: asynchronous requests on a range of bytes, with a
 * file, an image format or a throttle behind it.
 *
 * blockdev_submit checks every request against size, alignment and read-only before any back end sees it. `done` runs later on
 * the device's loop, exactly once, never inside blockdev_submit. Requests may complete in any order; a flush covers the writes that
 * completed before it was submitted.
 *
 * Cache modes as QEMU defines them: see enum blk_cache.
 *
 * Thread: everything on the device's loop, but create and close on the main thread while the loop does nothing for it.
 */
#ifndef BLK_BLOCKDEV_H
#define BLK_BLOCKDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/eventloop.h"

struct blockdev;
struct err;
struct fdsets;
struct uring;

enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD, BLK_WRITE_ZEROES, BLK_STATUS };

#define BLK_REQ_UNMAP 1u       /* WRITE_ZEROES: may give the space back */
#define BLK_REQ_COMPRESSED 2u  /* WRITE of one whole cluster (shorter only at the end of the disk), stored compressed where that saves space */
#define BLK_REQ_NO_FALLBACK 4u /* WRITE_ZEROES: -ENOTSUP rather than writing zeroes out */

#define BLK_SECTOR 512

/* What BLK_STATUS tells of the first bytes of its range, in this layer alone: what a backing file has there is asked of that. */
#define BLK_ST_ALLOCATED 1u  /* this layer decides what is read; otherwise its backing file, or zeroes */
#define BLK_ST_ZERO 2u       /* reads as zeroes */
#define BLK_ST_DATA 4u       /* takes space that is read; with ALLOCATED and not ZERO always */
#define BLK_ST_OFFSET 8u     /* `file` and `file_off` say where the bytes are, as they are */
#define BLK_ST_COMPRESSED 16u

struct blk_status {
	uint64_t len;   /* bytes, from the request's offset on, that this is true of; 1 to req->len */
	unsigned flags; /* BLK_ST_... */
	struct blockdev *file;
	uint64_t file_off;
};

struct blk_req {
	enum blk_op op;
	unsigned flags;          /* BLK_REQ_... */
	uint64_t off, len;       /* bytes; for READ and WRITE len is the size of iov */
	const struct iovec *iov; /* borrowed until done */
	size_t n;
	/* WRITE with COMPRESSED: the cluster as the format packs it, if the user did that. `packed_len` 0: it does not get smaller. */
	const void *packed;
	uint32_t packed_len;
	struct blk_status *status; /* STATUS: filled when it succeeds; borrowed until done */
	/* `result` is 0 or -errno: -EROFS, -EINVAL (range, alignment), -ENOTSUP, -EIO, -ENOSPC... */
	void (*done)(struct blk_req *req, int result);
	/* The layers' own: */
	struct blk_req *next;
	void *layer;
	int result;
	int64_t start_ns;
	bool piece; /* blk/split.c: of a longer one, which is what counts */
};

enum blk_cache {            /*            O_DIRECT  flush on each write  flushes reach the disk */
	BLK_CACHE_WRITEBACK,    /* default    no        no                   yes */
	BLK_CACHE_NONE,         /*            yes       no                   yes */
	BLK_CACHE_WRITETHROUGH, /*            no        yes                  yes */
	BLK_CACHE_DIRECTSYNC,   /*            yes       yes                  yes */
	BLK_CACHE_UNSAFE,       /*            no        no                   no  */
};

/* What truncating to a larger size does with the new part. */
enum blk_prealloc {
	BLK_PREALLOC_OFF,
	BLK_PREALLOC_METADATA, /* formats only: tables say where everything goes */
	BLK_PREALLOC_FALLOC,   /* space is taken */
	BLK_PREALLOC_FULL,     /* space is taken and written */
};

enum blk_discard { BLK_DISCARD_IGNORE, BLK_DISCARD_UNMAP };

struct blockdev_stats { /* completed, by what the user asked for */
	uint64_t ops[BLK_WRITE_ZEROES + 1], bytes[BLK_WRITE_ZEROES + 1], ns[BLK_WRITE_ZEROES + 1], errors[BLK_WRITE_ZEROES + 1];
};

/* A back end. */
struct blockdev_ops {
	const char *format; /* "raw" */
	/* The request has passed the checks. */
	void (*submit)(struct blockdev *bd, struct blk_req *req);
	/* Returns with nothing in flight. */
	void (*drain)(struct blockdev *bd);
	/* New size in bytes; 0 or -errno. NULL: -ENOTSUP. */
	int (*resize)(struct blockdev *bd, uint64_t size);
	/* As blockdev_truncate. NULL: -ENOTSUP. */
	int (*truncate)(struct blockdev *bd, uint64_t size, enum blk_prealloc prealloc);
	/* The back end's own end; nothing is in flight. */
	void (*close)(struct blockdev *bd);
};

/* Embedded in the back ends. */
struct blockdev {
	const struct blockdev_ops *ops;
	char *name;              /* the file, for messages; owned */
	struct eventloop *loop;  /* borrowed */
	uint64_t size;           /* bytes */
	uint32_t request_align;  /* bytes that offset and length must be multiples of: 512 as a rule */
	uint32_t physical_block; /* bytes; a hint for the guest */
	uint64_t max_transfer;   /* bytes of one READ or WRITE that `submit` takes, at least request_align; 0: any. Longer ones come in pieces */
	bool read_only;
	bool discard, write_zeroes; /* it can */
	bool write_cache;           /* completed writes may need a flush */
	bool grows;                 /* a format's file: a write past `size` makes it longer, what is between reads as zeroes */
	/* Of image formats, owned by them; for others NULL. Through blockdev_file and blockdev_backing. */
	struct blockdev *file, *backing;
	unsigned in_flight;
	struct blockdev_stats stats;
	/* Called on the loop after a resize; NULL or set by the user of the device. */
	void (*resized)(void *opaque);
	void *resized_opaque;
	/* blockdev.c's own; zero to begin with: */
	unsigned submitting;                 /* calls of `submit` in progress */
	struct blk_req *done_first, *done_last; /* ended in one, `done` on the next turn */
	struct event_work done_work;
};

/*
 * A DISCARD of a device that cannot do that succeeds and does nothing: it is a hint. Its ranges and those of WRITE_ZEROES are
 * checked like any other's.
 */
void blockdev_submit(struct blockdev *bd, struct blk_req *req);
void blockdev_drain(struct blockdev *bd);
int blockdev_resize(struct blockdev *bd, uint64_t size);
/*
 * For formats, of their own files: the length of a file, at once and without waiting for requests; none may be under way past a new
 * end that is smaller. `prealloc` says what the new part is; not METADATA. 0 or -errno.
 */
int blockdev_truncate(struct blockdev *bd, uint64_t size, enum blk_prealloc prealloc);
/* A request from beginning to end on the device's own thread, for tools: it drains. 0 or -errno. `buf` is NULL where the operation has none. */
int blockdev_do(struct blockdev *bd, enum blk_op op, unsigned flags, uint64_t off, void *buf, uint64_t len);
int blockdev_status(struct blockdev *bd, uint64_t off, uint64_t len, struct blk_status *status);
/* The file that holds a format's image; what shows where an image has nothing. Borrowed; NULL where there is none. */
struct blockdev *blockdev_file(const struct blockdev *bd);
struct blockdev *blockdev_backing(const struct blockdev *bd);
/* Drains, closes, frees, on the device's loop if a thread runs it. NULL is fine. */
void blockdev_close(struct blockdev *bd);

/* For back ends: ends a request, from the loop, possibly inside `submit` (then `done` is called on the next turn). */
void blockdev_complete(struct blockdev *bd, struct blk_req *req, int result);

/* Who opens files in the stead of a thread that may not: a descriptor or -errno, as open(2) with `flags`, which create nothing. */
struct blk_opener {
	int (*open)(void *opaque, const char *path, int flags);
	void *opaque;
};

/* open(2), where `opener` is NULL. */
int blk_open(const struct blk_opener *opener, const char *path, int flags);

/* What a file is opened as. Strings are borrowed during the call. */
struct blk_file_config {
	const char *path;
	const struct blk_opener *opener; /* borrowed during the call; NULL: this thread */
	const struct fdsets *fds; /* behind paths that name a set of descriptors (vmm/fdset.h); borrowed during the call. NULL: there are none */
	bool read_only;
	bool auto_read_only; /* read-only when it cannot be opened for writing */
	enum blk_cache cache;
	enum blk_discard discard;
	bool detect_zeroes;
	bool lock;           /* OFD locks as below; off only for -U style use */
	bool grows;          /* as struct blockdev: it is a format's, and not a disk by itself */
	struct uring *uring; /* borrowed; of the loop */
	struct eventloop *loop;
};

/*
 * blk/raw.c: a regular file or block device as it is. Takes an OFD lock: shared for reading, exclusive for writing; -EBUSY
 * with a message that names the process that holds it. NULL with `err`.
 */
struct blockdev *raw_open(const struct blk_file_config *cfg, struct err *err);
/* Other locks in place of those that it has, if any: a writer's or a reader's. 0, or -EBUSY and the like with `err`, and then it has none. */
int raw_set_lock(struct blockdev *bd, bool writer, struct err *err);

/* blk/probe.c: what an image's first bytes say it is. Needs no more than BLK_PROBE_BYTES of them. */
#define BLK_PROBE_BYTES 2048
enum blk_format { BLK_FORMAT_RAW, BLK_FORMAT_QCOW2, BLK_FORMAT_QCOW, BLK_FORMAT_VMDK, BLK_FORMAT_VDI, BLK_FORMAT_VPC, BLK_FORMAT_VHDX,
		  BLK_FORMAT_QED, BLK_FORMAT_LUKS, BLK_FORMAT_PARALLELS, BLK_FORMAT_DMG };
enum blk_format blk_probe(const uint8_t *head, size_t len);
const char *blk_format_name(enum blk_format format);

/*
 * blk/probe_guard.c: a filter over a raw device whose format was not given but found to be raw: a write to the first sectors that would
 * make the file probe as another format fails with -EPERM (GHSA-jmr4-g2hv-mjj6). Takes `below` over. NULL with `err`, and then
 * `below` is the caller's.
 */
struct blockdev *probe_guard_create(struct blockdev *below, struct err *err);

#endif
