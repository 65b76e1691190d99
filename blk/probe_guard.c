/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * `head` is what the first bytes of the disk are. Requests that change some of them, which are rare, pass one at a time; all others
 * go straight on. Such a request is checked as follows:
 *
 *  - Its data is copied first, as the guest can change its own buffers between a check and the write; the copy is what is written.
 *  - It may be cut short by a crash, and sectors are written in any order. So not only the head that it would make must be raw, but
 *    also every mixture of old and new sectors.
 *
 * When a write has failed or a discard was done, nobody knows what is on the disk, and the head is read again before the next one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blk/blockdev.h"
#include "blk/filter.h"
#include "vmm/err.h"
#include "vmm/iov.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define HEAD_SECTORS (BLK_PROBE_BYTES / BLK_SECTOR)
#define BUF_ALIGN 4096

struct guard {
	struct filter filter;
	struct log_limit limit;
	uint8_t *head; /* aligned for direct I/O, as are the others */
	uint8_t *next; /* what it becomes */
	uint8_t *data; /* the part of the request in the head, copied */
	size_t head_len;
	bool stale; /* `head` has to be read */
	bool busy;
	struct blk_req *first, *last; /* waiting */
	/* In progress, while busy: */
	struct blk_req *user;
	struct blk_req sub;
	struct iovec head_iov;
	struct iovec *iov;
};

static struct guard *guard_of(struct blockdev *bd)
{
	return CONTAINER_OF(bd, struct guard, filter.bd);
}

static size_t head_part(const struct guard *g, const struct blk_req *req)
{
	return min_u64(req->len, g->head_len - req->off);
}

/* Whether some mixture of old sectors and new ones has a format. */
static bool may_make_format(const struct guard *g, const struct blk_req *req)
{
	size_t first = req->off / BLK_SECTOR, end = (req->off + head_part(g, req) + BLK_SECTOR - 1) / BLK_SECTOR;
	uint8_t mix[BLK_PROBE_BYTES];

	for (unsigned set = 1; set < BIT(end - first); set++) {
		memcpy(mix, g->head, g->head_len);
		for (size_t i = first; i < end; i++)
			if (set & BIT(i - first))
				memcpy(mix + i * BLK_SECTOR, g->next + i * BLK_SECTOR, BLK_SECTOR);
		if (blk_probe(mix, g->head_len) != BLK_FORMAT_RAW)
			return true;
	}
	return false;
}

static void guard_run(struct guard *g);

static void guard_end(struct guard *g, int result)
{
	struct blk_req *user = g->user;

	free(g->iov);
	g->iov = NULL;
	g->user = NULL;
	g->busy = false;
	blockdev_complete(&g->filter.bd, user, result);
}

static void write_done(struct blk_req *sub, int result)
{
	struct guard *g = CONTAINER_OF(sub, struct guard, sub);

	if (result < 0 || sub->op == BLK_DISCARD)
		g->stale = true;
	else
		memcpy(g->head, g->next, g->head_len);
	guard_end(g, result);
	guard_run(g);
}

/* The request's data, with its first part replaced by the copy. */
static bool guard_take_data(struct guard *g, size_t part)
{
	const struct blk_req *user = g->user;
	struct iov_cursor c;
	size_t n = 1;

	g->iov = malloc((user->n + 1) * sizeof(*g->iov));
	if (!g->iov)
		return false;
	iov_cursor_init(&c, user->iov, user->n);
	iov_cursor_read(&c, g->data, part);
	g->iov[0] = (struct iovec){ g->data, part };
	if (c.left > 0)
		n += iov_cursor_take(&c, c.left, g->iov + 1, user->n);
	g->sub.iov = g->iov;
	g->sub.n = n;
	return true;
}

static void guard_write(struct guard *g)
{
	const struct blk_req *user = g->user;
	size_t part = head_part(g, user);

	g->sub = (struct blk_req){ .op = user->op, .flags = user->flags, .off = user->off, .len = user->len, .done = write_done };
	memcpy(g->next, g->head, g->head_len);
	if (user->op != BLK_WRITE) {
		memset(g->next + user->off, 0, part);
	} else if (!guard_take_data(g, part)) {
		guard_end(g, -ENOMEM);
		return;
	} else {
		memcpy(g->next + user->off, g->data, part);
	}
	if (may_make_format(g, user)) {
		log_guest(&g->limit, g->filter.bd.name,
			  "write refused: it would make this raw disk look like another image format; give format=raw to allow it");
		guard_end(g, -EPERM);
		return;
	}
	blockdev_submit(g->filter.below, &g->sub);
}

static void head_read(struct blk_req *sub, int result)
{
	struct guard *g = CONTAINER_OF(sub, struct guard, sub);

	g->stale = result < 0;
	if (!g->user)
		return; /* the first time */
	if (result < 0)
		guard_end(g, result);
	else
		guard_write(g);
	guard_run(g);
}

static void head_start_read(struct guard *g)
{
	size_t len = align_up(g->head_len, g->filter.bd.request_align);

	g->head_iov = (struct iovec){ g->head, len };
	g->sub = (struct blk_req){ .op = BLK_READ, .len = len, .iov = &g->head_iov, .n = 1, .done = head_read };
	blockdev_submit(g->filter.below, &g->sub);
}

/* Starts what waits, as long as nothing is in progress. */
static void guard_run(struct guard *g)
{
	while (!g->busy && g->first) {
		g->user = g->first;
		g->first = g->user->next;
		g->busy = true;
		if (g->stale)
			head_start_read(g);
		else
			guard_write(g);
	}
}

static void guard_submit(struct blockdev *bd, struct blk_req *req)
{
	struct guard *g = guard_of(bd);

	if (req->op == BLK_READ || req->op == BLK_FLUSH || req->op == BLK_STATUS || req->off >= g->head_len) {
		filter_forward(&g->filter, req);
		return;
	}
	req->next = NULL;
	if (g->first)
		g->last->next = req;
	else
		g->first = req;
	g->last = req;
	guard_run(g);
}

/* What waits is started as soon as that below ends. */
static void guard_drain(struct blockdev *bd)
{
	blockdev_drain(guard_of(bd)->filter.below);
}

static void head_set_len(struct guard *g)
{
	g->head_len = min_u64(BLK_PROBE_BYTES, g->filter.below->size);
	g->stale = g->head_len > 0;
}

static int guard_resize(struct blockdev *bd, uint64_t size)
{
	int rc = filter_resize(bd, size);

	head_set_len(guard_of(bd));
	return rc;
}

static void guard_close(struct blockdev *bd)
{
	struct guard *g = guard_of(bd);

	filter_fini(&g->filter);
	free(g->head);
	pthread_mutex_destroy(&g->limit.lock);
	free(g);
}

static const struct blockdev_ops guard_ops = {
	.format = "raw",
	.submit = guard_submit,
	.drain = guard_drain,
	.resize = guard_resize,
	.close = guard_close,
};

static void first_read(void *arg)
{
	struct guard *g = arg;

	if (!g->stale)
		return;
	head_start_read(g);
	blockdev_drain(g->filter.below);
}

struct blockdev *probe_guard_create(struct blockdev *below, struct err *err)
{
	struct guard *g = calloc(1, sizeof(*g));
	size_t size = align_up(BLK_PROBE_BYTES, max_u64(BUF_ALIGN, below->request_align));
	void *bufs = NULL;

	if (!g || posix_memalign(&bufs, BUF_ALIGN, 3 * size) != 0) {
		err_set_errno(err, -ENOMEM, "%s", below->name);
		goto fail;
	}
	if (filter_init(&g->filter, &guard_ops, below, err) < 0)
		goto fail;
	memset(bufs, 0, 3 * size);
	g->head = bufs;
	g->next = g->head + size;
	g->data = g->next + size;
	pthread_mutex_init(&g->limit.lock, NULL);
	head_set_len(g);
	eventloop_call_sync(below->loop, first_read, g);
	if (!g->stale)
		return &g->filter.bd;
	err_set(err, -EIO, "%s: cannot read its first bytes", below->name);
	free(g->filter.bd.name);
	pthread_mutex_destroy(&g->limit.lock);
fail:
	free(bufs);
	free(g);
	return NULL;
}
