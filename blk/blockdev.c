/* SPDX-License-Identifier: MIT */
#include "blk/blockdev.h"

#include <errno.h>
#include <stdlib.h>

#include "blk/split.h"
#include "vmm/iov.h"
#include "vmm/util.h"

static int request_check(const struct blockdev *bd, const struct blk_req *req)
{
	uint64_t align = bd->request_align ? bd->request_align : BLK_SECTOR;

	if (req->op == BLK_FLUSH)
		return 0;
	if (req->op > BLK_STATUS)
		return -ENOTSUP;
	if (req->op != BLK_READ && req->op != BLK_STATUS && bd->read_only)
		return -EROFS;
	if (req->op == BLK_STATUS && (req->len == 0 || !req->status))
		return -EINVAL;
	if (!range_ok(req->off, req->len, bd->grows && req->op == BLK_WRITE ? INT64_MAX : bd->size) || req->off % align != 0 || req->len % align != 0)
		return -EINVAL;
	if (req->op == BLK_WRITE_ZEROES && !bd->write_zeroes)
		return -ENOTSUP;
	if (req->op == BLK_READ || req->op == BLK_WRITE) {
		if (iov_size(req->iov, req->n) != req->len)
			return -EINVAL;
	}
	return 0;
}

/* What needs no back end. */
static bool request_is_void(const struct blockdev *bd, const struct blk_req *req)
{
	return req->op != BLK_FLUSH && (req->len == 0 || (req->op == BLK_DISCARD && !bd->discard));
}

static void request_account(struct blockdev *bd, const struct blk_req *req, int result)
{
	struct blockdev_stats *s = &bd->stats;

	if (req->op > BLK_WRITE_ZEROES || req->piece)
		return;
	if (result < 0) {
		s->errors[req->op]++;
		return;
	}
	s->ops[req->op]++;
	s->bytes[req->op] += req->op == BLK_FLUSH ? 0 : req->len;
	s->ns[req->op] += (uint64_t)(now_ns() - req->start_ns);
}

static void request_end(struct blockdev *bd, struct blk_req *req, int result)
{
	bd->in_flight--;
	request_account(bd, req, result);
	req->done(req, result);
}

/* Those that are there now: what their `done` submits waits for another turn. */
static void done_run(void *opaque)
{
	struct blockdev *bd = opaque;
	struct blk_req *last = bd->done_last, *req;

	while ((req = bd->done_first)) {
		bool end = req == last;

		bd->done_first = req->next;
		request_end(bd, req, req->result);
		if (end)
			break;
	}
	if (bd->done_first)
		eventloop_post(bd->loop, &bd->done_work);
}

static void done_later(struct blockdev *bd, struct blk_req *req, int result)
{
	req->result = result;
	req->next = NULL;
	if (bd->done_first) {
		bd->done_last->next = req;
	} else {
		bd->done_first = req;
		bd->done_work.run = done_run;
		bd->done_work.opaque = bd;
		eventloop_post(bd->loop, &bd->done_work);
	}
	bd->done_last = req;
}

void blockdev_submit(struct blockdev *bd, struct blk_req *req)
{
	int rc = request_check(bd, req);

	req->start_ns = now_ns();
	bd->in_flight++;
	if (rc == 0 && req->op == BLK_WRITE && bd->grows)
		bd->size = max_u64(bd->size, req->off + req->len);
	if (rc < 0 || request_is_void(bd, req)) {
		done_later(bd, req, rc);
		return;
	}
	bd->submitting++;
	if (bd->max_transfer && req->len > bd->max_transfer && (req->op == BLK_READ || req->op == BLK_WRITE))
		split_submit(bd, req);
	else
		bd->ops->submit(bd, req);
	bd->submitting--;
}

void blockdev_complete(struct blockdev *bd, struct blk_req *req, int result)
{
	if (bd->submitting)
		done_later(bd, req, result);
	else
		request_end(bd, req, result);
}

void blockdev_drain(struct blockdev *bd)
{
	while (bd->in_flight > 0) {
		bd->ops->drain(bd);
		done_run(bd);
	}
}

int blockdev_resize(struct blockdev *bd, uint64_t size)
{
	int rc;

	if (!bd->ops->resize)
		return -ENOTSUP;
	if (bd->read_only)
		return -EROFS;
	if (size % BLK_SECTOR != 0 || size > INT64_MAX)
		return -EINVAL;
	/* No request may be under way to what is about to be cut off. */
	blockdev_drain(bd);
	rc = bd->ops->resize(bd, size);
	if (rc < 0)
		return rc;
	bd->size = size;
	if (bd->resized)
		bd->resized(bd->resized_opaque);
	return 0;
}

int blockdev_truncate(struct blockdev *bd, uint64_t size, enum blk_prealloc prealloc)
{
	int rc;

	if (!bd->ops->truncate)
		return -ENOTSUP;
	if (bd->read_only)
		return -EROFS;
	if (size % BLK_SECTOR != 0 || size > INT64_MAX)
		return -EINVAL;
	rc = bd->ops->truncate(bd, size, prealloc);
	if (rc == 0)
		bd->size = size;
	return rc;
}

struct wait_req {
	struct blk_req req;
	bool done;
	int result;
};

static void wait_done(struct blk_req *req, int result)
{
	struct wait_req *w = CONTAINER_OF(req, struct wait_req, req);

	w->done = true;
	w->result = result;
}

static int request_wait(struct blockdev *bd, struct wait_req *w)
{
	w->req.done = wait_done;
	blockdev_submit(bd, &w->req);
	while (!w->done)
		blockdev_drain(bd);
	return w->result;
}

int blockdev_do(struct blockdev *bd, enum blk_op op, unsigned flags, uint64_t off, void *buf, uint64_t len)
{
	struct iovec iov = { buf, buf ? len : 0 };
	struct wait_req w = { .req = { .op = op, .flags = flags, .off = off, .len = len, .iov = &iov, .n = 1 } };

	return request_wait(bd, &w);
}

int blockdev_status(struct blockdev *bd, uint64_t off, uint64_t len, struct blk_status *status)
{
	struct wait_req w = { .req = { .op = BLK_STATUS, .off = off, .len = len, .status = status } };

	return request_wait(bd, &w);
}

struct blockdev *blockdev_file(const struct blockdev *bd)
{
	return bd->file;
}

struct blockdev *blockdev_backing(const struct blockdev *bd)
{
	return bd->backing;
}

static void close_on_loop(void *arg)
{
	struct blockdev *bd = arg;
	char *name = bd->name;

	blockdev_drain(bd);
	if (bd->loop)
		eventloop_cancel_work(bd->loop, &bd->done_work);
	bd->ops->close(bd);
	free(name);
}

void blockdev_close(struct blockdev *bd)
{
	if (!bd)
		return;
	if (bd->loop)
		eventloop_call_sync(bd->loop, close_on_loop, bd);
	else
		close_on_loop(bd);
}
