/* SPDX-License-Identifier: MIT */
#include "blk/co_io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/util.h"

#define BUF_ALIGN 4096
#define GATHER_MAX 32

void *co_buf(size_t len)
{
	void *buf;

	return posix_memalign(&buf, BUF_ALIGN, len ? len : 1) == 0 ? buf : NULL;
}

struct co_req {
	struct blk_req req;
	struct co *co;
	int result;
};

static void co_req_done(struct blk_req *req, int result)
{
	struct co_req *r = CONTAINER_OF(req, struct co_req, req);

	r->result = result;
	co_wake(r->co);
}

int co_blk(struct co_pool *pool, struct blockdev *bd, const struct blk_req *what)
{
	struct co_req r = { .req = *what, .co = co_self(pool) };

	r.req.done = co_req_done;
	blockdev_submit(bd, &r.req);
	co_wait(pool);
	return r.result;
}

static int rw(struct co_pool *pool, struct blockdev *bd, enum blk_op op, uint64_t off, void *buf, size_t len)
{
	struct iovec iov = { buf, len };
	struct blk_req what = { .op = op, .off = off, .len = len, .iov = &iov, .n = 1 };

	return co_blk(pool, bd, &what);
}

/* A range that the device takes, in a buffer of its own if `*buf` is NULL. */
static int read_aligned(struct co_pool *pool, struct blockdev *bd, uint64_t off, uint8_t *buf, size_t len)
{
	uint64_t end = align_down(bd->size, BLK_SECTOR);
	size_t have = off >= end ? 0 : min_u64(len, end - off);
	int rc = have ? rw(pool, bd, BLK_READ, off, buf, have) : 0;

	if (rc == 0)
		memset(buf + have, 0, len - have);
	return rc;
}

int co_pread(struct co_pool *pool, struct blockdev *bd, uint64_t off, void *buf, size_t len)
{
	uint64_t first = align_down(off, bd->request_align), end = align_up(off + len, bd->request_align);
	uint8_t *bounce;
	int rc;

	if (first == off && end == off + len)
		return read_aligned(pool, bd, off, buf, len);
	bounce = co_buf(end - first);
	if (!bounce)
		return -ENOMEM;
	rc = read_aligned(pool, bd, first, bounce, end - first);
	if (rc == 0)
		memcpy(buf, bounce + (off - first), len);
	free(bounce);
	return rc;
}

int co_pwrite(struct co_pool *pool, struct blockdev *bd, uint64_t off, const void *buf, size_t len)
{
	uint64_t align = bd->request_align, first = align_down(off, align), end = align_up(off + len, align);
	uint8_t *bounce;
	int rc = 0;

	if (first == off && end == off + len)
		return rw(pool, bd, BLK_WRITE, off, (void *)buf, len);
	bounce = co_buf(end - first);
	if (!bounce)
		return -ENOMEM;
	if (first < off)
		rc = read_aligned(pool, bd, first, bounce, align);
	if (rc == 0 && end > off + len && (end - align > first || first == off))
		rc = read_aligned(pool, bd, end - align, bounce + (end - align - first), align);
	memcpy(bounce + (off - first), buf, len);
	if (rc == 0)
		rc = rw(pool, bd, BLK_WRITE, first, bounce, end - first);
	free(bounce);
	return rc;
}

int co_pflush(struct co_pool *pool, struct blockdev *bd)
{
	struct blk_req what = { .op = BLK_FLUSH };

	return co_blk(pool, bd, &what);
}

struct gather_part {
	struct blk_req req;
	struct co_gather *g;
	struct iovec iov[];
};

static void part_done(struct blk_req *req, int result)
{
	struct gather_part *p = CONTAINER_OF(req, struct gather_part, req);
	struct co_gather *g = p->g;
	struct co *waiter = g->waiter;

	free(p);
	if (result < 0 && g->result == 0)
		g->result = result;
	g->pending--;
	g->waiter = NULL;
	if (waiter)
		co_wake(waiter);
}

static void gather_wait_one(struct co_gather *g)
{
	g->waiter = co_self(g->pool);
	co_wait(g->pool);
}

static size_t entries_for(const struct iov_cursor *c, size_t len)
{
	size_t n = 1, have = c->iov->iov_len - c->off;

	while (have < len && n < c->n)
		have += c->iov[n++].iov_len;
	return n;
}

void co_gather_rw(struct co_gather *g, struct blockdev *bd, enum blk_op op, uint64_t off, struct iov_cursor *c, size_t len)
{
	uint64_t end = align_down(bd->size, bd->request_align);
	size_t have = op != BLK_READ ? len : off >= end ? 0 : min_u64(len, end - off), n;
	struct gather_part *p;

	while (g->pending >= GATHER_MAX)
		gather_wait_one(g);
	if (have) {
		n = entries_for(c, have);
		p = malloc(sizeof(*p) + n * sizeof(p->iov[0]));
		if (!p) {
			g->result = g->result ? g->result : -ENOMEM;
			iov_cursor_skip(c, len);
			return;
		}
		n = iov_cursor_take(c, have, p->iov, n);
		p->g = g;
		p->req = (struct blk_req){ .op = op, .off = off, .len = have, .iov = p->iov, .n = n, .done = part_done };
		g->pending++;
		blockdev_submit(bd, &p->req);
	}
	if (len > have)
		iov_cursor_fill(c, 0, len - have);
}

int co_gather_wait(struct co_gather *g)
{
	while (g->pending)
		gather_wait_one(g);
	return g->result;
}
