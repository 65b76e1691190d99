/* SPDX-License-Identifier: MIT */
/*
 * bench: COUNT requests of a size, some at a time, step by step through the disk. All have one buffer, as qemu-img's have: what is measured is
 * the image and the host, not the processor's caches under megabytes that nobody looks at; and the figures compare.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/img.h"
#include "vmm/util.h"

#define COUNT_DEFAULT 75000
#define DEPTH_DEFAULT 64
#define SIZE_DEFAULT 4096

struct bench {
	struct blockdev *bd;
	uint64_t left, off, size, step, interval;
	uint64_t in_flight;
	bool write, drain;
	uint8_t *buf;
	int pattern;
	struct co_queue idle;   /* waits for the requests before a flush */
	struct co_queue flush;  /* waits for a flush */
	bool flushing;
};

/* Before every interval-th request; the first that comes there does it, the others wait. */
static int flush_if_due(struct img *img, struct bench *b)
{
	int rc;

	while (b->flushing)
		co_queue_wait(img->pool, &b->flush);
	if (!b->interval || b->left % b->interval != 0 || b->left == 0)
		return 0;
	b->flushing = b->drain;
	while (b->drain && b->in_flight > 0)
		co_queue_wait(img->pool, &b->idle);
	rc = img_io(img, b->bd, BLK_FLUSH, 0, 0, NULL, 0);
	b->flushing = false;
	co_queue_wake(&b->flush);
	return rc < 0 ? err_set_errno(&img->err, rc, "%s: cannot flush it", b->bd->name) : 0;
}

static int worker(struct img *img, void *opaque)
{
	struct bench *b = opaque;
	int rc = 0;

	while (rc == 0 && b->left > 0) {
		uint64_t off;

		rc = flush_if_due(img, b);
		if (rc < 0 || b->left == 0)
			break;
		off = b->off;
		b->left--;
		b->off += b->step;
		if (b->off + b->size > b->bd->size)
			b->off = b->bd->size - b->size ? b->off % (b->bd->size - b->size) : 0;
		b->in_flight++;
		rc = img_io_any(img, b->bd, b->write ? BLK_WRITE : BLK_READ, off, b->buf, b->size);
		if (--b->in_flight == 0)
			co_queue_wake(&b->idle);
		if (rc < 0)
			err_set_errno(&img->err, rc, "%s: request at %llu", b->bd->name, (unsigned long long)off);
	}
	if (rc < 0)
		b->left = 0;
	return rc;
}

static int bench_check(struct img *img, const struct bench *b, uint64_t depth)
{
	const struct img_args *a = &img->args;

	if (a->has_interval && !a->write)
		return img_fail(img, -EINVAL, "--flush-interval is for writes: with -w");
	if (a->has_interval && a->interval < depth)
		return img_fail(img, -EINVAL, "--flush-interval must not be less than the %llu requests that are sent at a time (-d)",
				(unsigned long long)depth);
	if (b->size == 0 || b->size > INT32_MAX)
		return img_fail(img, -EINVAL, "-s: requests of %llu bytes cannot be", (unsigned long long)b->size);
	if (a->aio && strcmp(a->aio, "threads") != 0 && strcmp(a->aio, "native") != 0 && strcmp(a->aio, "io_uring") != 0)
		return img_fail(img, -EINVAL, "-i is threads, native or io_uring, not '%s'", err_show(a->aio).s);
	return 0;
}

static int bench(struct img *img, struct bench *b, uint64_t depth)
{
	uint64_t count = b->left;
	int64_t start;
	int rc;

	if (b->bd->size < b->size || b->off > b->bd->size - b->size)
		return img_fail(img, -EINVAL, "%s: the disk has %llu bytes, less than a request at %llu needs", b->bd->name,
				(unsigned long long)b->bd->size, (unsigned long long)b->off);
	printf("Sending %llu %s requests, %llu bytes each, %llu in parallel (starting at offset %llu, step size %llu)\n",
		(unsigned long long)count, b->write ? "write" : "read", (unsigned long long)b->size, (unsigned long long)depth,
		(unsigned long long)b->off, (unsigned long long)b->step);
	if (b->interval)
		printf("Sending flush every %llu requests\n", (unsigned long long)b->interval);
	b->buf = img_buffer(b->size);
	if (!b->buf)
		return err_set_errno(&img->err, -ENOMEM, "no %llu bytes for requests", (unsigned long long)b->size);
	memset(b->buf, b->pattern, b->size);
	start = now_ns();
	rc = img_workers(img, (unsigned)min_u64(depth, count ? count : 1), worker, b);
	if (rc == 0)
		printf("Run completed in %.3f seconds.\n", (double)(now_ns() - start) / 1e9);
	free(b->buf);
	return rc;
}

int cmd_bench(struct img *img)
{
	const struct img_args *a = &img->args;
	uint64_t depth = a->depth ? a->depth : DEPTH_DEFAULT;
	struct bench b = {
		.left = a->count ? a->count : COUNT_DEFAULT,
		.off = a->offset,
		.size = a->has_size ? a->size : SIZE_DEFAULT,
		.interval = a->interval,
		.write = a->write,
		.drain = !a->no_drain,
		.pattern = (int)a->pattern,
	};
	int rc;

	b.step = a->has_step && a->step ? a->step : b.size;
	if (bench_check(img, &b, depth) < 0)
		return 1;
	b.bd = img_open(img, &(struct img_open){ .path = a->operands[0], .format = a->format, .opts = a->image_opts, .cache = a->cache,
						 .write = a->write, .share = a->force_share && !a->write });
	if (!b.bd)
		return 1;
	rc = bench(img, &b, depth);
	blockdev_close(b.bd);
	return rc < 0;
}
