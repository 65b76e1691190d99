/* SPDX-License-Identifier: MIT */
/* The loop, coroutines and requests. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "blk/import.h"
#include "tools/img/img.h"
#include "vmm/eventloop.h"
#include "vmm/uring.h"
#include "vmm/util.h"

#define COROUTINES 128

int img_init(struct img *img)
{
	img->loop = eventloop_create(&img->err);
	if (img->loop)
		img->uring = uring_create(img->loop, img->args.aio && !strcmp(img->args.aio, "threads"), &img->err);
	if (img->uring)
		img->pool = co_pool_create(COROUTINES, &img->err);
	return img->pool ? 0 : img->err.code;
}

void img_fini(struct img *img)
{
	co_pool_destroy(img->pool);
	if (img->uring)
		uring_destroy(img->uring);
	if (img->loop)
		eventloop_destroy(img->loop);
}

struct crew {
	struct img *img;
	int (*fn)(struct img *img, void *opaque);
	void *opaque;
	unsigned left;
	int result;
};

static void crew_member(void *opaque)
{
	struct crew *crew = opaque;
	int rc = crew->fn(crew->img, crew->opaque);

	if (rc < 0 && crew->result >= 0)
		crew->result = rc;
	else if (crew->result == 0)
		crew->result = rc;
	if (--crew->left == 0)
		eventloop_stop(crew->img->loop);
}

int img_workers(struct img *img, unsigned n, int (*fn)(struct img *img, void *opaque), void *opaque)
{
	struct crew crew = { .img = img, .fn = fn, .opaque = opaque, .left = n };
	struct co_task *tasks = calloc(n, sizeof(*tasks));

	if (!tasks)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		tasks[i] = (struct co_task){ .run = crew_member, .opaque = &crew };
		co_start(img->pool, &tasks[i]);
	}
	/* Once, also when all have ended: that stopped the loop. */
	eventloop_run(img->loop);
	free(tasks);
	return crew.result;
}

int img_run(struct img *img, int (*fn)(struct img *img, void *opaque), void *opaque)
{
	return img_workers(img, 1, fn, opaque);
}

struct io {
	struct blk_req req;
	struct iovec iov;
	struct co *co;
	int result;
};

static void io_done(struct blk_req *req, int result)
{
	struct io *io = CONTAINER_OF(req, struct io, req);

	io->result = result;
	co_wake(io->co);
}

static int io_wait(struct img *img, struct blockdev *bd, struct io *io)
{
	io->co = co_self(img->pool);
	io->req.done = io_done;
	blockdev_submit(bd, &io->req);
	co_wait(img->pool);
	return io->result;
}

int img_io(struct img *img, struct blockdev *bd, enum blk_op op, unsigned flags, uint64_t off, void *buf, uint64_t len)
{
	struct io io = { .iov = { buf, buf ? len : 0 } };

	io.req = (struct blk_req){ .op = op, .flags = flags, .off = off, .len = len, .iov = &io.iov, .n = 1 };
	return io_wait(img, bd, &io);
}

int img_io_any(struct img *img, struct blockdev *bd, enum blk_op op, uint64_t off, void *buf, uint64_t len)
{
	uint64_t first = align_down(off, BLK_SECTOR), end = align_up(off + len, BLK_SECTOR);
	uint8_t *whole;
	int rc;

	if (first == off && end == off + len)
		return img_io(img, bd, op, 0, off, buf, len);
	whole = img_buffer(end - first);
	if (!whole)
		return -ENOMEM;
	/* Two neighbours may both have a part of a sector. */
	if (op == BLK_WRITE)
		co_lock(img->pool, &img->partial);
	rc = img_io(img, bd, BLK_READ, 0, first, whole, end - first);
	if (rc == 0 && op == BLK_READ) {
		memcpy(buf, whole + (off - first), len);
	} else if (rc == 0) {
		memcpy(whole + (off - first), buf, len);
		rc = img_io(img, bd, BLK_WRITE, 0, first, whole, end - first);
	}
	if (op == BLK_WRITE)
		co_unlock(&img->partial);
	free(whole);
	return rc;
}

int img_read_padded(struct img *img, struct blockdev *bd, uint64_t off, void *buf, uint64_t len)
{
	uint64_t have = off < bd->size ? min_u64(len, bd->size - off) : 0;

	memset((char *)buf + have, 0, len - have);
	return have ? img_io(img, bd, BLK_READ, 0, off, buf, have) : 0;
}

static int status_one(struct img *img, struct blockdev *bd, uint64_t off, uint64_t len, struct blk_status *st)
{
	struct io io = { .req = { .op = BLK_STATUS, .off = off, .len = len, .status = st } };

	return io_wait(img, bd, &io);
}

/* Whether a format's file is mostly holes: preallocated, and not yet written to. */
static bool is_sparse(const struct blockdev *file)
{
	struct stat st;

	return stat(file->name, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_blocks * 512 < (uint64_t)st.st_size / 2;
}

/*
 * ZERO also where the file that holds the bytes has a hole. As holes inside a cluster are not worth the questions, that is asked only where
 * the file is the disk itself, or is mostly holes.
 */
static int look_below(struct img *img, struct blockdev *bd, uint64_t off, struct blk_status *st)
{
	struct blk_status below;
	int rc;

	if ((st->flags & (BLK_ST_OFFSET | BLK_ST_ZERO | BLK_ST_DATA)) != (BLK_ST_OFFSET | BLK_ST_DATA) || st->file == bd)
		return 0;
	if (import_is(bd) ? !import_is_flat(bd, off) : !is_sparse(st->file))
		return 0;
	if (st->file_off >= st->file->size) {
		st->flags |= BLK_ST_ZERO;
		return 0;
	}
	rc = status_one(img, st->file, st->file_off, min_u64(st->len, st->file->size - st->file_off), &below);
	if (rc < 0)
		return rc;
	st->flags |= below.flags & BLK_ST_ZERO;
	st->len = min_u64(st->len, below.len);
	return 0;
}

int img_status(struct img *img, struct blockdev *top, struct blockdev *base, uint64_t off, uint64_t len, struct blk_status *st,
	       unsigned *depth)
{
	struct blockdev *bd = top;

	for (*depth = 0;; ++*depth) {
		struct blockdev *below = blockdev_backing(bd);
		int rc = status_one(img, bd, off, len, st);

		if (rc < 0)
			return rc;
		len = st->len;
		if (st->flags & BLK_ST_ALLOCATED)
			return look_below(img, bd, off, st);
		/* Nobody has it; or only a file below that ends before, which this layer then shows as zeroes. */
		if (!below || (below != base && off >= below->size))
			st->flags |= BLK_ST_ZERO;
		if (!below || below == base || off >= below->size)
			return 0;
		len = min_u64(len, below->size - off);
		bd = below;
	}
}

void *img_buffer(size_t len)
{
	void *buf;

	return posix_memalign(&buf, 4096, len) == 0 ? buf : NULL;
}
