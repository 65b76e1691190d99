/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * A copy is done by some coroutines, each with a buffer. One takes the next chunk, asks where it has data, reads that, looks for zeroes
 * in it and writes what is left. A hole is taken as a whole, however long it is. The writes of a chunk are all sent off before any is
 * waited for; in an ordered copy the chunks' turns come in the order of the disk, so that a format's file is laid out
 * in that order too, but nobody waits for another's write to end.
 *
 * For compression a chunk's clusters are packed on another thread (zip.c) before its turn.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/img.h"
#include "tools/img/zip.h"
#include "vmm/log.h"
#include "vmm/util.h"

/* A part of a chunk. */
struct piece {
	struct blk_req req;
	struct iovec iov;
	struct worker *worker;
};

struct worker {
	struct img *img;
	struct copy_job *job;
	struct co *co;
	uint8_t *buf, *pack_buf;
	uint64_t off, end; /* the chunk */
	uint64_t seq;
	struct piece *pieces;
	size_t n, max, waiting;
	bool asleep, hole, zero;
	int result;
	uint32_t cluster;
};

static uint64_t chunk_size(const struct copy_job *job)
{
	struct qcow2_info q;

	/* Short enough for several threads. */
	if (job->compress && qcow2_info(job->target, &q) == 0)
		return max_u64(q.cluster_size, IMG_CHUNK / 4);
	return IMG_CHUNK;
}

static const struct copy_source *source_at(const struct copy_job *job, uint64_t off)
{
	unsigned i = 0;

	while (i + 1 < job->n_sources && off >= job->sources[i].start + job->sources[i].size)
		i++;
	return &job->sources[i];
}

/* What the range begins with; a source's end ends it. */
static int status_at(struct worker *w, uint64_t off, uint64_t len, struct blk_status *st)
{
	const struct copy_source *s = source_at(w->job, off);
	unsigned depth;
	int rc;

	len = min_u64(len, s->start + s->size - off);
	if (off - s->start >= s->bd->size) {
		*st = (struct blk_status){ .len = len, .flags = BLK_ST_ZERO };
		return 0;
	}
	rc = img_status(w->img, s->bd, w->job->base, off - s->start, min_u64(len, s->bd->size - (off - s->start)), st, &depth);
	if (rc < 0 && w->job->salvage) {
		if (!w->img->args.quiet)
			fprintf(stderr, "kite-img: warning: error while reading the tables of offset %llu: %s\n", (unsigned long long)off,
				strerror(-rc));
		*st = (struct blk_status){ .len = min_u64(len, BLK_SECTOR), .flags = BLK_ST_ZERO | BLK_ST_ALLOCATED };
		return 0;
	}
	return rc < 0 ? err_set_errno(&w->img->err, rc, "%s: cannot read its tables at %llu", s->bd->name, (unsigned long long)off) : 0;
}

/* Sector by sector; what cannot be read becomes zero. */
static void read_salvage(struct worker *w, const struct copy_source *s, uint64_t off, uint8_t *buf, uint64_t len)
{
	for (uint64_t at = 0; at < len; at += BLK_SECTOR) {
		int rc = img_io(w->img, s->bd, BLK_READ, 0, off - s->start + at, buf + at, BLK_SECTOR);

		if (rc < 0) {
			if (!w->img->args.quiet)
				fprintf(stderr, "kite-img: warning: error while reading offset %llu: %s\n", (unsigned long long)(off + at),
					strerror(-rc));
			memset(buf + at, 0, BLK_SECTOR);
		}
	}
}

static int read_at(struct worker *w, uint64_t off, uint8_t *buf, uint64_t len)
{
	const struct copy_source *s = source_at(w->job, off);
	int rc = img_io(w->img, s->bd, BLK_READ, 0, off - s->start, buf, len);

	if (rc < 0 && w->job->salvage) {
		read_salvage(w, s, off, buf, len);
		return 0;
	}
	return rc < 0 ? err_set_errno(&w->img->err, rc, "%s: cannot read it at %llu", s->bd->name, (unsigned long long)off) : 0;
}

/* Pieces */

static void piece_done(struct blk_req *req, int result)
{
	struct worker *w = CONTAINER_OF(req, struct piece, req)->worker;

	if (result < 0 && w->result == 0)
		w->result = err_set_errno(&w->img->err, result, "%s: cannot write it at %llu", w->job->target->name, (unsigned long long)req->off);
	if (--w->waiting == 0 && w->asleep)
		co_wake(w->co);
}

static int piece_add(struct worker *w, enum blk_op op, unsigned flags, uint64_t off, uint8_t *data, uint64_t len)
{
	struct piece *last = w->n ? &w->pieces[w->n - 1] : NULL, *p;

	/* A piece goes on from the last one where it can. */
	if (last && last->req.op == op && last->req.flags == flags && last->req.off + last->req.len == off && !(flags & BLK_REQ_COMPRESSED) &&
	    (op == BLK_WRITE_ZEROES || (uint8_t *)last->iov.iov_base + last->req.len == data)) {
		last->req.len += len;
		last->iov.iov_len += data ? len : 0;
		return 0;
	}
	if (w->n == w->max) {
		size_t max = w->max ? 2 * w->max : 16;

		p = reallocarray(w->pieces, max, sizeof(*p));
		if (!p)
			return err_set_errno(&w->img->err, -ENOMEM, "cannot copy");
		w->pieces = p;
		w->max = max;
	}
	p = &w->pieces[w->n++];
	*p = (struct piece){ .req = { .op = op, .flags = flags, .off = off, .len = len, .n = 1, .done = piece_done }, .worker = w };
	p->iov = (struct iovec){ data, data ? len : 0 };
	return 0;
}

static int zero_add(struct worker *w, uint64_t off, uint64_t len)
{
	return w->job->target_zero ? 0 : piece_add(w, BLK_WRITE_ZEROES, BLK_REQ_UNMAP, off, NULL, len);
}

/* Data that was read: zeroes in it that are long enough become holes. */
static int data_add(struct worker *w, uint64_t off, uint8_t *data, uint64_t len)
{
	int rc = 0;

	while (rc == 0 && len > 0) {
		/* In steps of the disk's own grid, so that what is found does not depend on where chunks end. */
		uint64_t step = w->job->sparse, part = step ? min_u64(len, step - off % step) : len;
		bool zero = false;

		if (step && part == step)
			part = img_zero_run(data, align_down(len, step), step, &zero);
		else if (step)
			zero = img_is_zero(data, part);
		rc = zero ? zero_add(w, off, part) : piece_add(w, BLK_WRITE, 0, off, data, part);
		off += part;
		data += part;
		len -= part;
	}
	return rc;
}

/* Compression: whole clusters, where the target has nothing yet. */

static void pack(void *arg)
{
	struct worker *w = arg;
	uint8_t *out = w->pack_buf;

	for (size_t i = 0; i < w->n; i++) {
		struct blk_req *req = &w->pieces[i].req;
		int n = -1;

		if (!(req->flags & BLK_REQ_COMPRESSED))
			continue;
		if (req->len == w->cluster)
			n = qcow2_compress(w->job->target, w->pieces[i].iov.iov_base, out);
		if (n < 0)
			continue; /* the device does it, and says what is wrong */
		req->packed = out;
		req->packed_len = (uint32_t)n;
		out += w->cluster;
	}
}

static int clusters_add(struct worker *w)
{
	int rc = 0;

	for (uint64_t off = w->off; rc == 0 && off < w->end; off += w->cluster) {
		uint64_t len = min_u64(w->cluster, w->end - off);
		uint8_t *data = w->buf + (off - w->off);

		if (!w->job->sparse || !img_is_zero(data, len))
			rc = piece_add(w, BLK_WRITE, BLK_REQ_COMPRESSED, off, data, len);
		else if (!w->job->target_zero)
			rc = piece_add(w, BLK_WRITE_ZEROES, BLK_REQ_UNMAP, off, NULL, len);
	}
	if (rc == 0 && w->n > 0)
		zip_run(w->job->zip, pack, w);
	return rc;
}

/* Chunks */

/* One layer's data or zeroes from `off` on, read into the buffer and, without compression, made into pieces. */
static int range_take(struct worker *w, uint64_t off, const struct blk_status *st)
{
	const struct copy_job *job = w->job;
	uint8_t *data = w->buf + (off - w->off);
	int rc;

	if (job->has_base && !(st->flags & (BLK_ST_ALLOCATED | BLK_ST_ZERO)))
		return 0;
	if (((st->flags & BLK_ST_ZERO) || !(st->flags & BLK_ST_ALLOCATED)) && (job->sparse || job->compress)) {
		if (!job->compress)
			return zero_add(w, off, st->len);
		memset(data, 0, st->len);
		return 0;
	}
	rc = read_at(w, off, data, st->len);
	if (rc == 0 && !job->compress)
		rc = data_add(w, off, data, st->len);
	return rc;
}

/* With a base, clusters that the source has in part keep the base's other part: the chain reads it. */
static int chunk_read(struct worker *w)
{
	for (uint64_t off = w->off; off < w->end;) {
		struct blk_status st = { .len = 0 };
		int rc = status_at(w, off, w->end - off, &st);

		if (rc == 0 && w->job->compress && w->job->has_base && !(st.flags & BLK_ST_ALLOCATED)) {
			st.len = min_u64(st.len, w->cluster - off % w->cluster);
			st.flags = BLK_ST_ALLOCATED | BLK_ST_DATA;
		}
		if (rc == 0)
			rc = range_take(w, off, &st);
		if (rc < 0)
			return rc;
		off += st.len;
	}
	return w->job->compress ? clusters_add(w) : 0;
}

/* Takes the next chunk; a hole at once with all that follows it. 1, 0 when there is none, or -errno. */
static int chunk_take(struct worker *w, uint64_t size)
{
	struct copy_job *job = w->job;
	struct blk_status st = { .len = 0 };
	int rc = 0;

	w->n = 0;
	co_lock(w->img->pool, &job->taking);
	if (job->next < job->size) {
		w->off = job->next;
		w->end = min_u64(align_down(w->off, size) + size, job->size);
		rc = status_at(w, w->off, job->size - w->off, &st);
		w->hole = rc == 0 && job->sparse && (!(st.flags & BLK_ST_ALLOCATED) || (st.flags & BLK_ST_ZERO)) && st.len >= w->end - w->off;
		w->zero = (st.flags & BLK_ST_ZERO) || !job->has_base;
		if (w->hole)
			w->end = max_u64(w->end, w->off + st.len == job->size ? job->size : align_down(w->off + st.len, size));
		if (rc == 0) {
			w->seq = job->turns_given++;
			job->next = w->end;
			rc = 1;
		}
	}
	co_unlock(&job->taking);
	return rc;
}

static void turn_wait(struct worker *w)
{
	while (w->job->turn_now != w->seq)
		co_queue_wait(w->img->pool, &w->job->turns);
}

static void turn_pass(struct worker *w)
{
	w->job->turn_now++;
	co_queue_wake(&w->job->turns);
}

static int chunk_write(struct worker *w)
{
	w->waiting = w->n + 1; /* one more, so that none ends it all before the last was sent */
	w->asleep = false;
	for (size_t i = 0; i < w->n; i++) {
		w->pieces[i].req.iov = &w->pieces[i].iov;
		blockdev_submit(w->job->target, &w->pieces[i].req);
	}
	if (w->job->ordered)
		turn_pass(w);
	if (--w->waiting > 0) {
		w->asleep = true;
		co_wait(w->img->pool);
	}
	return w->result;
}

static void wake(void *opaque)
{
	struct worker *w = opaque;

	co_wake(w->co);
}

/* Waits until as much time has passed as what is done may take. */
static void rate_wait(struct worker *w)
{
	const struct copy_job *job = w->job;
	int64_t until = job->start_ns + (int64_t)((double)job->done / (double)job->rate * 1e9);
	struct event_timer timer = { .fire = wake, .opaque = w };

	if (until <= now_ns())
		return;
	eventloop_arm(w->img->loop, &timer, until);
	co_wait(w->img->pool);
}

static int chunks(struct worker *w, uint64_t size)
{
	int rc;

	while (!w->job->failed && (rc = chunk_take(w, size)) != 0) {
		if (rc < 0)
			return rc;
		rc = !w->hole ? chunk_read(w) : w->zero ? zero_add(w, w->off, w->end - w->off) : 0;
		if (w->job->ordered)
			turn_wait(w);
		if (rc == 0)
			rc = chunk_write(w);
		else if (w->job->ordered)
			turn_pass(w);
		if (rc < 0)
			return rc;
		w->job->done += w->end - w->off;
		img_progress(w->img, w->job->done, w->job->size);
		if (w->job->rate)
			rate_wait(w);
	}
	return 0;
}

static int worker_run(struct img *img, void *opaque)
{
	struct copy_job *job = opaque;
	struct worker w = { .img = img, .job = job, .co = co_self(img->pool), .cluster = job->cluster };
	uint64_t size = job->chunk;
	int rc;

	w.buf = img_buffer(size);
	w.pack_buf = job->compress ? img_buffer(size) : NULL;
	if (!w.buf || (job->compress && !w.pack_buf))
		rc = err_set_errno(&img->err, -ENOMEM, "cannot copy");
	else
		rc = chunks(&w, size);
	if (rc < 0)
		job->failed = true;
	free(w.pieces);
	free(w.buf);
	free(w.pack_buf);
	return rc;
}

int img_copy(struct img *img, struct copy_job *job)
{
	struct qcow2_info q;
	int rc;

	job->chunk = chunk_size(job);
	if (job->compress) {
		rc = qcow2_info(job->target, &q);
		if (rc < 0)
			return err_set_errno(&img->err, rc, "%s: cannot be compressed into", job->target->name);
		job->cluster = q.cluster_size;
		job->zip = zip_create(img->loop, img->pool, &img->err);
		if (!job->zip)
			return img->err.code;
	}
	job->start_ns = now_ns();
	rc = img_workers(img, job->workers ? job->workers : IMG_WORKERS, worker_run, job);
	zip_destroy(job->zip);
	job->zip = NULL;
	if (rc == 0) {
		rc = blockdev_do(job->target, BLK_FLUSH, 0, 0, NULL, 0);
		if (rc < 0)
			err_set_errno(&img->err, rc, "%s: cannot flush it", job->target->name);
	}
	return rc;
}
