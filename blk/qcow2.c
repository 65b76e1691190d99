/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * Most requests are to clusters that are there, through an L2 slice that is in memory: those go straight on to the file, in the turn
 * they came in, with the caller's own buffers (request_fast). All others run in a coroutine and look like plain code that reads and writes.
 * Everything is in one thread, so between two waits the state is consistent, and what has to hold over a wait is one of these:
 *
 *  - A range (q_range_enter) keeps others from changing the mapping of the same guest clusters: allocations, zeroes and discards. Reads
 *    and writes in place do not take one.
 *  - `alloc_lock`: refcounts are searched and changed. `l2_lock`: an L2 table is made or copied. `commit_lock`: a commit. `compress_lock`:
 *    compressed data is placed. No data I/O happens under any but the last. Order: range, compress, l2, commit, alloc, header.
 *  - What table_get returned is good until the next wait; it is asked for again after one.
 *
 * New data is written first, the entry made in memory after that, and memory brought to the disk by commits, whose order makes every
 * state on disk a good one; qcow2_commit.c has the argument. Refcounts rise when a cluster is allocated. They fall when
 *  - the entry's change is on disk and flushed, and
 *  - no request is under way any more that began before, and so may still read or write the old cluster (`seq`).
 * Until then the cluster waits in `unlinked` and `unlinked_synced`. So a crash, an error or a guest that races with itself cannot make
 * two owners of one cluster.
 *
 * What a file says is checked where it is used, and what cannot be is q_corrupt: the image is marked and takes no more writes. Offsets
 * may point anywhere inside the file, so each write of data is held against the set of metadata clusters (qcow2_meta.c).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"
#include "vmm/err.h"
#include "vmm/log.h"

#define COROUTINES 64

static const struct blockdev_ops qcow2_ops;

bool qcow2_is(const struct blockdev *bd)
{
	return bd->ops == &qcow2_ops;
}

bool qcow2_has_data_file(const struct blockdev *bd)
{
	return qcow2_is(bd) && CONTAINER_OF(bd, struct qcow2, bd)->has_data_file;
}

struct qcow2 *qcow2_of(struct blockdev *bd)
{
	return qcow2_is(bd) ? CONTAINER_OF(bd, struct qcow2, bd) : NULL;
}

/* Coroutines from outside */

static void children_drain(struct qcow2 *q)
{
	blockdev_drain(q->bd.file);
	if (q->data && q->data != q->bd.file)
		blockdev_drain(q->data);
	if (q->bd.backing)
		blockdev_drain(q->bd.backing);
	eventloop_offload_drain(q->bd.loop);
}

struct run {
	struct co_task task;
	struct qcow2 *q;
	int (*fn)(struct qcow2 *q, void *arg);
	void *arg;
	int result;
	bool done;
};

static void run_task(void *opaque)
{
	struct run *r = opaque;

	r->result = r->fn(r->q, r->arg);
	r->done = true;
}

int qcow2_run(struct qcow2 *q, int (*fn)(struct qcow2 *q, void *arg), void *arg)
{
	struct run r = { .q = q, .fn = fn, .arg = arg };

	r.task = (struct co_task){ .run = run_task, .opaque = &r };
	co_start(q->pool, &r.task);
	while (!r.done || q->background)
		children_drain(q);
	return r.result;
}

static void corrupt_mark(void *opaque)
{
	struct qcow2 *q = opaque;

	if (q_header_write(q) == 0)
		co_pflush(q->pool, q->bd.file);
	q->background--;
}

int q_corrupt(struct qcow2 *q, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (q->corrupt)
		return -EIO;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	q->corrupt = true;
	log_error("%s: the image is corrupt: %s%s", q->bd.name, text,
		  q->bd.read_only ? "" : "; it takes no more writes; repair it: kite-img check -r all");
	if (!q->bd.read_only && q->h.version >= 3 && !(q->h.incompat & INCOMPAT_CORRUPT)) {
		q->h.incompat |= INCOMPAT_CORRUPT;
		q->background++;
		q->corrupt_task = (struct co_task){ .run = corrupt_mark, .opaque = q };
		co_start(q->pool, &q->corrupt_task);
	}
	return -EIO;
}

void q_cut(struct qcow2 *q, uint64_t host)
{
	q->cut_known = true;
	log_warn("%s: the file has been cut: data that should be at 0x%llx is behind its end, and reads as zeroes; kite-img check says what is missing",
		 q->bd.name, (unsigned long long)host);
}

/* Requests */

static struct qreq *qreq_get(struct qcow2 *q, struct blk_req *user)
{
	struct qreq *r = q->free_reqs;

	if (r)
		q->free_reqs = r->next;
	else
		r = malloc(sizeof(*r));
	if (r)
		*r = (struct qreq){ .q = q, .user = user, .seq = q->next_seq++ };
	return r;
}

void qreq_enter(struct qcow2 *q, struct qreq *r)
{
	r->prev = q->active_last;
	r->next = NULL;
	if (q->active_last)
		q->active_last->next = r;
	else
		q->active_first = r;
	q->active_last = r;
}

void qreq_leave(struct qcow2 *q, struct qreq *r)
{
	if (r->prev)
		r->prev->next = r->next;
	else
		q->active_first = r->next;
	if (r->next)
		r->next->prev = r->prev;
	else
		q->active_last = r->prev;
}

/* A flush looks at no cluster, so nobody has to wait for its end before one is given away. */
static bool uses_clusters(const struct blk_req *user)
{
	return user->op != BLK_FLUSH;
}

static void qreq_end(struct qreq *r, int result)
{
	struct qcow2 *q = r->q;
	struct blk_req *user = r->user;

	if (uses_clusters(user))
		qreq_leave(q, r);
	r->next = q->free_reqs;
	q->free_reqs = r;
	blockdev_complete(&q->bd, user, result);
}

static void fast_done(struct blk_req *sub, int result)
{
	qreq_end(CONTAINER_OF(sub, struct qreq, sub), result);
}

static bool forward(struct qreq *r, struct blockdev *to, uint64_t off)
{
	const struct blk_req *user = r->user;

	if (user->op == BLK_READ && !range_ok(off, user->len, to->size))
		return false;
	r->sub = (struct blk_req){ .op = user->op, .off = off, .len = user->len, .iov = user->iov, .n = user->n, .done = fast_done };
	blockdev_submit(to, &r->sub);
	return true;
}

static bool fast_read(struct qreq *r)
{
	struct qcow2 *q = r->q;
	const struct blk_req *user = r->user;
	struct iov_cursor c;
	struct qmap m;

	if (!q_map_try(q, user->off, user->len, &m) || m.len != user->len || m.type == Q_COMPRESSED)
		return false;
	if (m.type == Q_DATA) {
		q_look_for_cut(q, m.host);
		return forward(r, q->data, m.host);
	}
	if (m.type == Q_UNALLOCATED && q->bd.backing)
		return forward(r, q->bd.backing, user->off);
	iov_cursor_init(&c, user->iov, user->n);
	iov_cursor_fill(&c, 0, user->len);
	qreq_end(r, 0);
	return true;
}

static bool fast_write(struct qreq *r)
{
	struct qcow2 *q = r->q;
	const struct blk_req *user = r->user;
	struct qmap m;

	if (q->corrupt || q->detect_zeroes || (user->flags & BLK_REQ_COMPRESSED) || !q_map_try(q, user->off, user->len, &m) ||
	    m.len != user->len || m.type != Q_DATA || !m.copied)
		return false;
	if (q->data == q->bd.file) {
		if (q_meta_hit(q, m.host, m.len))
			return false;
		q->file_end = max_u64(q->file_end, align_up(m.host + m.len, q->cluster_size));
	}
	return forward(r, q->data, m.host);
}

static bool request_fast(struct qreq *r)
{
	switch (r->user->op) {
	case BLK_READ:
		return fast_read(r);
	case BLK_WRITE:
		return fast_write(r);
	case BLK_FLUSH:
		return !q_metadata_dirty(r->q) && !r->q->has_data_file && forward(r, r->q->bd.file, 0);
	default:
		return false;
	}
}

static bool all_zero(const struct iovec *iov, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = iov[i].iov_base;
		size_t len = iov[i].iov_len;

		if (len > 0 && (p[0] != 0 || memcmp(p, p + 1, len - 1) != 0))
			return false;
	}
	return true;
}

static int do_write(struct qcow2 *q, const struct blk_req *user)
{
	if (user->flags & BLK_REQ_COMPRESSED)
		return q_compressed_write(q, user);
	if (q->detect_zeroes && all_zero(user->iov, user->n))
		return q_write_zeroes(q, user->off, user->len, q->discard);
	return q_write(q, user->off, user->iov, user->n, user->len);
}

static int do_status(struct qcow2 *q, const struct blk_req *user)
{
	struct blk_status *st = user->status;
	struct qmap m;
	int rc = q_map(q, user->off, user->len, &m);

	if (rc < 0)
		return rc;
	*st = (struct blk_status){ .len = m.len };
	if (m.type != Q_UNALLOCATED)
		st->flags = BLK_ST_ALLOCATED | (m.type == Q_ZERO ? BLK_ST_ZERO : BLK_ST_DATA);
	if (m.type == Q_COMPRESSED)
		st->flags |= BLK_ST_COMPRESSED;
	if (m.has_host && m.type != Q_UNALLOCATED) {
		st->flags |= BLK_ST_OFFSET;
		st->file = q->data;
		st->file_off = m.host;
	}
	return 0;
}

static int request_do(struct qcow2 *q, const struct blk_req *user)
{
	int rc;

	switch (user->op) {
	case BLK_READ:
		return q_read(q, user->off, user->iov, user->n, user->len);
	case BLK_FLUSH:
		return q_commit(q, true);
	case BLK_STATUS:
		return do_status(q, user);
	case BLK_WRITE:
		rc = do_write(q, user);
		break;
	case BLK_WRITE_ZEROES:
		if (q->h.version < 3 && (user->flags & BLK_REQ_NO_FALLBACK))
			return -ENOTSUP;
		rc = q_write_zeroes(q, user->off, user->len, q->discard && (user->flags & BLK_REQ_UNMAP));
		break;
	default:
		rc = q_discard(q, user->off, user->len, false);
		break;
	}
	return rc == 0 && q->writethrough ? q_commit(q, true) : rc;
}

static void request_task(void *opaque)
{
	struct qreq *r = opaque;

	qreq_end(r, request_do(r->q, r->user));
}

static void qcow2_submit(struct blockdev *bd, struct blk_req *req)
{
	struct qcow2 *q = qcow2_of(bd);
	struct qreq *r = qreq_get(q, req);

	if (!r) {
		blockdev_complete(bd, req, -ENOMEM);
		return;
	}
	if (uses_clusters(req))
		qreq_enter(q, r);
	if (request_fast(r))
		return;
	r->task = (struct co_task){ .run = request_task, .opaque = r };
	co_start(q->pool, &r->task);
}

static void qcow2_drain(struct blockdev *bd)
{
	children_drain(qcow2_of(bd));
}

static int qcow2_resize_op(struct blockdev *bd, uint64_t size)
{
	struct err err = ERR_INIT;

	return qcow2_resize(bd, size, BLK_PREALLOC_OFF, &err);
}

static int clean_co(struct qcow2 *q, void *arg)
{
	(void)arg;
	return q_make_clean(q);
}

static void q_free(struct qcow2 *q)
{
	struct qreq *r;

	while ((r = q->free_reqs)) {
		q->free_reqs = r->next;
		free(r);
	}
	q_tables_free(q);
	free_list_fini(&q->unlinked);
	free_list_fini(&q->unlinked_synced);
	qheader_fini(&q->h);
	co_pool_destroy(q->pool);
	q_inflater_free(q);
	free(q->zstd);
	free(q);
}

static int clean(struct qcow2 *q)
{
	int rc = q->bd.read_only ? 0 : qcow2_run(q, clean_co, NULL);

	if (rc < 0)
		log_error("%s: cannot write its metadata (%s); it is consistent, but what was not flushed may be lost", q->bd.name,
			  strerror(-rc));
	return rc;
}

int qcow2_release(struct blockdev *bd)
{
	struct qcow2 *q = qcow2_of(bd);
	int rc;

	blockdev_drain(bd);
	rc = clean(q);
	free(bd->name);
	q_free(q);
	return rc;
}

static void qcow2_close(struct blockdev *bd)
{
	struct qcow2 *q = qcow2_of(bd);

	clean(q);
	if (q->data != bd->file)
		blockdev_close(q->data);
	blockdev_close(bd->backing);
	blockdev_close(bd->file);
	q_free(q);
}

static const struct blockdev_ops qcow2_ops = {
	.format = "qcow2",
	.submit = qcow2_submit,
	.drain = qcow2_drain,
	.resize = qcow2_resize_op,
	.close = qcow2_close,
};

struct blockdev *qcow2_open(struct blockdev *file, const struct qcow2_open_config *cfg, struct err *err)
{
	struct qcow2 *q = calloc(1, sizeof(*q));

	if (!q) {
		err_set_errno(err, -ENOMEM, "%s", file->name);
		return NULL;
	}
	q->pool = co_pool_create(COROUTINES, err);
	q->bd = (struct blockdev){
		.ops = &qcow2_ops,
		.name = q->pool ? strdup(file->name) : NULL,
		.loop = file->loop,
		.request_align = BLK_SECTOR,
		.physical_block = file->physical_block,
		.read_only = true,
		.file = file,
	};
	if (q->bd.name && q_open(q, cfg, err) == 0)
		return &q->bd;
	if (q->pool && !q->bd.name)
		err_set_errno(err, -ENOMEM, "%s", file->name);
	if (q->data && q->data != file)
		blockdev_close(q->data);
	blockdev_close(q->bd.backing);
	free(q->bd.name);
	q_free(q);
	return NULL;
}
