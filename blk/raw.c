/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * A request gets a struct raw_io, which goes over its range in steps, one system call each, from `pos` to `end`. What a step has
 * moved advances `pos`, so a short result continues where it ended, and nothing is written twice.
 *
 * As a rule there is one step: the user's own buffers straight to the kernel. Others come about where
 *  - there are more than IOV_MAX buffers, or the kernel did less than it was asked: the next step is cut from the rest of the buffers;
 *  - O_DIRECT does not take the offset, length or buffers: pieces of at most BOUNCE_MAX go through a buffer of our own. A piece that
 *    covers a block in part is first read, then changed and written;
 *  - zeroes are to be written: fallocate for the whole blocks, or a page of zeroes many times over where it does not
 *    know how. What the file cannot do is remembered.
 *
 * A block that is read, changed and written must see no other write meanwhile. So while blocks are larger than sectors, writes
 * are kept in a list in order of arrival; one waits while an earlier one touches the same block and one of the two covers it in part.
 *
 * Bounce buffers are bounded in number, as a guest decides how many requests need one; the others wait for theirs in order.
 *
 * A failed fdatasync has lost data, and the kernel forgets that with the report. So through the page cache it never succeeds again.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blk/raw_io.h"
#include "blk/raw_priv.h"
#include "vmm/err.h"
#include "vmm/iov.h"
#include "vmm/log.h"
#include "vmm/uring.h"
#include "vmm/util.h"

#define BOUNCE_MAX (256 * KIB)
#define BOUNCES 64
#define ZERO_PAGE 4096
#define ZERO_VECS 256
#define HEAVY (128 * KIB) /* bytes that take longer to copy than to hand over to another thread */

static const uint8_t zero_page[ZERO_PAGE] __attribute__((aligned(ZERO_PAGE)));

static void step_done(struct uring_req *u, int64_t result)
{
	struct raw_io *io = CONTAINER_OF(u, struct raw_io, u);

	io->step(io, result);
}

void raw_io_submit(struct raw_io *io, enum uring_op op, void (*step)(struct raw_io *io, int64_t result))
{
	io->step = step;
	io->u.op = op;
	io->u.fd = io->raw->file.fd;
	io->u.dsync = io->raw->dsync;
	io->u.heavy = !io->raw->file.direct && op == URING_READV && io->end - io->pos >= HEAVY;
	io->u.done = step_done;
	uring_submit(io->raw->uring, &io->u);
}

/* The order of writes */

static bool covers_in_part(const struct raw_io *io)
{
	uint32_t align = io->raw->file.align;

	return io->req->off % align != 0 || io->req->len % align != 0;
}

static bool writes_conflict(const struct raw_io *a, const struct raw_io *b)
{
	uint32_t align = a->raw->file.align;

	if (!covers_in_part(a) && !covers_in_part(b))
		return false;
	return align_down(a->req->off, align) < align_up(b->last, align) && align_down(b->req->off, align) < align_up(a->last, align);
}

static bool write_may_start(const struct raw_io *io)
{
	for (const struct raw_io *w = io->w_prev; w; w = w->w_prev)
		if (writes_conflict(w, io))
			return false;
	return true;
}

static void write_enter(struct raw_io *io)
{
	struct raw *raw = io->raw;

	io->w_prev = raw->writes_last;
	io->w_next = NULL;
	if (raw->writes_last)
		raw->writes_last->w_next = io;
	else
		raw->writes_first = io;
	raw->writes_last = io;
}

/* Lets those go that waited for it. Starting one may end others, so the search begins anew. */
static void write_leave(struct raw_io *io)
{
	struct raw *raw = io->raw;
	struct raw_io *w;

	if (io->w_prev)
		io->w_prev->w_next = io->w_next;
	else
		raw->writes_first = io->w_next;
	if (io->w_next)
		io->w_next->w_prev = io->w_prev;
	else
		raw->writes_last = io->w_prev;
	for (w = raw->writes_first; w;) {
		if (w->started || !write_may_start(w)) {
			w = w->w_next;
			continue;
		}
		w->started = true;
		raw_io_next(w);
		w = raw->writes_first;
	}
}

static bool is_ordered(const struct raw_io *io)
{
	return io->raw->order_writes && io->req->op != BLK_READ && io->req->op != BLK_FLUSH;
}

/* The end */

static void io_put(struct raw_io *io)
{
	io->link = io->raw->free;
	io->raw->free = io;
}

static void bounce_put(struct raw_io *io)
{
	struct raw *raw = io->raw;
	struct raw_io *next;

	if (!io->bounce)
		return;
	free(io->bounce);
	io->bounce = NULL;
	raw->n_bounces--;
	next = raw->bounce_queue.first;
	if (next) {
		raw->bounce_queue.first = next->link;
		raw_io_next(next);
	}
}

void raw_io_end(struct raw_io *io, int result)
{
	struct raw *raw = io->raw;
	struct blk_req *req = io->req;

	bounce_put(io);
	free(io->vec);
	io->vec = NULL;
	if (is_ordered(io))
		write_leave(io);
	io_put(io);
	blockdev_complete(&raw->bd, req, result);
}

static void sync_done(struct raw_io *io, int64_t result)
{
	struct raw *raw = io->raw;

	if (result < 0 && !raw->file.direct && !raw->flush_error) {
		raw->flush_error = (int)result;
		log_error("%s: the host lost data that it had taken (%s): from now on every flush fails", raw->bd.name,
			  strerror((int)-result));
	}
	raw_io_end(io, result < 0 ? (int)result : 0);
}

static void io_flush(struct raw_io *io)
{
	struct raw *raw = io->raw;

	if (raw->no_flush || raw->flush_error)
		raw_io_end(io, raw->no_flush ? 0 : raw->flush_error);
	else
		raw_io_submit(io, URING_FDATASYNC, sync_done);
}

/* Reads and writes in the user's buffers */

/* How far `n` bytes bring a transfer: direct I/O cannot go on in the middle of a block. */
static uint64_t progress(const struct raw *raw, int64_t n)
{
	return raw->file.direct ? align_down((uint64_t)n, raw->file.align) : (uint64_t)n;
}

static void rw_done(struct raw_io *io, int64_t result)
{
	uint64_t n;

	if (result < 0) {
		raw_io_end(io, (int)result);
		return;
	}
	n = progress(io->raw, (int64_t)min_u64((uint64_t)result, io->end - io->pos));
	io->pos += n;
	if (io->req->op == BLK_READ && (result == 0 || n < (uint64_t)result)) {
		/* The file ends. Its last bytes, less than a block, are there already. */
		struct iov_cursor c;

		iov_cursor_init(&c, io->req->iov, io->req->n);
		iov_cursor_skip(&c, io->pos - io->req->off + ((uint64_t)result - n));
		iov_cursor_fill(&c, 0, c.left);
		io->pos = io->end;
	} else if (n == 0) {
		raw_io_end(io, -EIO);
		return;
	}
	raw_io_next(io);
}

/* Kernels of some years (6.0 and on) want whole blocks in each buffer, too, as those before did of its address. */
static bool direct_takes(const struct raw_file *f, uint64_t off, uint64_t len, const struct iovec *iov, size_t n)
{
	uintptr_t addresses = 0, lengths = 0;

	if (!f->direct)
		return true;
	if (off % f->align != 0 || len % f->align != 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		addresses |= (uintptr_t)iov[i].iov_base;
		lengths |= iov[i].iov_len;
	}
	return ((addresses | lengths) & (f->mem_align - 1)) == 0 && (lengths & (f->align - 1)) == 0;
}

static bool vec_get(struct raw_io *io)
{
	if (!io->vec)
		io->vec = malloc(IOV_MAX * sizeof(*io->vec));
	return io->vec != NULL;
}

/* Cuts entries off until `len` is what a direct transfer can be long. */
static size_t vec_trim(struct iovec *vec, size_t n, size_t len, uint64_t keep)
{
	size_t drop = len - keep;

	while (drop > 0 && n > 0) {
		size_t cut = min_u64(drop, vec[n - 1].iov_len);

		vec[n - 1].iov_len -= cut;
		drop -= cut;
		if (vec[n - 1].iov_len == 0)
			n--;
	}
	return n;
}

/* The next buffers from `pos` on into io->vec: as many as a call takes. Returns how many; `*len` gets their bytes. */
static size_t vec_fill(struct raw_io *io, uint64_t *len)
{
	uint64_t left = io->end - io->pos, keep;
	struct iov_cursor c;
	size_t n = 0;

	iov_cursor_init(&c, io->req->iov, io->req->n);
	if (!io->zero)
		iov_cursor_skip(&c, io->pos - io->req->off);
	for (*len = 0; *len < left && n < (io->zero ? ZERO_VECS : IOV_MAX); n++) {
		uint64_t part;

		if (io->zero) {
			part = min_u64(ZERO_PAGE, left - *len);
			io->vec[n] = (struct iovec){ (void *)zero_page, part };
		} else {
			while (c.off == c.iov->iov_len)
				c.iov++, c.off = 0;
			part = min_u64(c.iov->iov_len - c.off, left - *len);
			iov_cursor_take(&c, part, &io->vec[n], 1);
		}
		*len += part;
	}
	keep = progress(io->raw, (int64_t)*len);
	n = vec_trim(io->vec, n, *len, keep);
	*len = keep;
	return n;
}

static void bounce_start(struct raw_io *io);

void raw_rw_start(struct raw_io *io)
{
	const struct raw_file *f = &io->raw->file;
	const struct blk_req *req = io->req;
	uint64_t len = io->end - io->pos;

	io->u.off = io->pos;
	if (!io->zero && io->pos == req->off && req->n <= IOV_MAX) {
		io->u.iov = req->iov;
		io->u.n = (unsigned)req->n;
		io->bouncing = !direct_takes(f, io->pos, len, req->iov, req->n);
	} else {
		if (!vec_get(io)) {
			raw_io_end(io, -ENOMEM);
			return;
		}
		io->bouncing = f->direct && (io->pos % f->align != 0 || len % f->align != 0);
		if (!io->bouncing) {
			io->u.iov = io->vec;
			io->u.n = (unsigned)vec_fill(io, &len);
			io->bouncing = len == 0 || !direct_takes(f, io->pos, len, io->vec, io->u.n);
		}
	}
	if (io->bouncing)
		bounce_start(io);
	else
		raw_io_submit(io, req->op == BLK_READ ? URING_READV : URING_WRITEV, rw_done);
}

/* Reads and writes through a buffer of our own */

static void bounce_call(struct raw_io *io, enum uring_op op, void (*step)(struct raw_io *io, int64_t result))
{
	io->one = (struct iovec){ io->bounce + io->chunk_done, io->chunk_len - io->chunk_done };
	io->u.iov = &io->one;
	io->u.n = 1;
	io->u.off = io->chunk_off + io->chunk_done;
	raw_io_submit(io, op, step);
}

/* The part of the piece that the request is about, which ends at the returned offset. */
static uint64_t chunk_end(const struct raw_io *io)
{
	return min_u64(io->end, io->chunk_off + io->chunk_len);
}

static void bounce_written(struct raw_io *io, int64_t result)
{
	uint64_t n = result < 0 ? 0 : progress(io->raw, result);

	if (result < 0 || n == 0) {
		raw_io_end(io, result < 0 ? (int)result : -EIO);
		return;
	}
	io->chunk_done += n;
	if (io->chunk_done < io->chunk_len) {
		bounce_call(io, URING_WRITEV, bounce_written);
		return;
	}
	io->pos = chunk_end(io);
	raw_io_next(io);
}

static void bounce_write(struct raw_io *io)
{
	uint8_t *p = io->bounce + (io->pos - io->chunk_off);
	size_t len = chunk_end(io) - io->pos;
	struct iov_cursor c;

	if (io->zero) {
		memset(p, 0, len);
	} else {
		iov_cursor_init(&c, io->req->iov, io->req->n);
		iov_cursor_skip(&c, io->pos - io->req->off);
		iov_cursor_read(&c, p, len);
	}
	io->chunk_done = 0;
	bounce_call(io, URING_WRITEV, bounce_written);
}

static void bounce_filled(struct raw_io *io, int64_t result)
{
	struct iov_cursor c;
	uint64_t n;

	if (result < 0) {
		raw_io_end(io, (int)result);
		return;
	}
	n = progress(io->raw, result);
	io->chunk_done += n;
	if (n > 0 && n == (uint64_t)result && io->chunk_done < io->chunk_len) {
		bounce_call(io, URING_READV, bounce_filled);
		return;
	}
	io->chunk_done += (uint64_t)result - n; /* the file ends in the middle of a block */
	memset(io->bounce + io->chunk_done, 0, io->chunk_len - io->chunk_done);
	if (io->req->op != BLK_READ) {
		bounce_write(io);
		return;
	}
	iov_cursor_init(&c, io->req->iov, io->req->n);
	iov_cursor_skip(&c, io->pos - io->req->off);
	iov_cursor_write(&c, io->bounce + (io->pos - io->chunk_off), chunk_end(io) - io->pos);
	io->pos = chunk_end(io);
	raw_io_next(io);
}

static bool bounce_get(struct raw_io *io)
{
	struct raw *raw = io->raw;
	size_t align = max_u64(raw->file.mem_align, ZERO_PAGE);
	void *buf;

	/* A block may be larger than a piece. */
	if (posix_memalign(&buf, align, max_u64(BOUNCE_MAX, raw->file.align)) != 0)
		return false;
	io->bounce = buf;
	raw->n_bounces++;
	return true;
}

static void bounce_start(struct raw_io *io)
{
	struct raw *raw = io->raw;
	uint32_t align = raw->file.align;

	if (!io->bounce && raw->n_bounces == BOUNCES) {
		io->link = NULL;
		if (raw->bounce_queue.first)
			raw->bounce_queue.last->link = io;
		else
			raw->bounce_queue.first = io;
		raw->bounce_queue.last = io;
		return;
	}
	if (!io->bounce && !bounce_get(io)) {
		raw_io_end(io, -ENOMEM);
		return;
	}
	io->chunk_off = align_down(io->pos, align);
	io->chunk_len = min_u64(align_up(io->end, align) - io->chunk_off, max_u64(BOUNCE_MAX, align));
	io->chunk_done = 0;
	if (io->req->op == BLK_READ || io->chunk_off < io->pos || io->chunk_off + io->chunk_len > io->end)
		bounce_call(io, URING_READV, bounce_filled);
	else
		bounce_write(io);
}

/* Requests */

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

/* The next step of a request, or its end. */
void raw_io_next(struct raw_io *io)
{
	if (io->req->op == BLK_FLUSH)
		io_flush(io);
	else if (io->req->op == BLK_DISCARD)
		raw_discard_start(io);
	else if (io->pos == io->last && io->sync)
		raw_io_submit(io, URING_FDATASYNC, sync_done);
	else if (io->pos == io->last)
		raw_io_end(io, 0);
	else if (io->bouncing && io->pos < io->end)
		bounce_start(io);
	else if (io->zero && (io->pos == io->end || io->pos == io->req->off))
		raw_zero_start(io);
	else
		raw_rw_start(io);
}

static struct raw_io *io_get(struct raw *raw)
{
	struct raw_io *io = raw->free;

	if (io)
		raw->free = io->link;
	else
		io = malloc(sizeof(*io));
	if (io)
		*io = (struct raw_io){ .raw = raw };
	return io;
}

static void raw_submit(struct blockdev *bd, struct blk_req *req)
{
	struct raw *raw = CONTAINER_OF(bd, struct raw, bd);
	struct raw_io *io;

	if (req->op == BLK_STATUS) {
		blockdev_complete(bd, req, raw_status(raw, req));
		return;
	}
	io = io_get(raw);
	if (!io) {
		blockdev_complete(bd, req, -ENOMEM);
		return;
	}
	io->req = req;
	io->pos = req->off;
	io->end = io->last = req->op == BLK_FLUSH ? req->off : req->off + req->len;
	if (req->op == BLK_WRITE_ZEROES) {
		io->zero = true;
		io->unmap = raw->unmap && (req->flags & BLK_REQ_UNMAP);
	} else if (req->op == BLK_WRITE && raw->detect_zeroes && all_zero(req->iov, req->n)) {
		io->zero = true;
		io->unmap = raw->unmap;
	}
	if (is_ordered(io)) {
		write_enter(io);
		if (!write_may_start(io))
			return;
	}
	io->started = true;
	raw_io_next(io);
}

static void raw_drain(struct blockdev *bd)
{
	struct raw *raw = CONTAINER_OF(bd, struct raw, bd);

	uring_drain(raw->uring);
}

static void raw_close(struct blockdev *bd)
{
	struct raw *raw = CONTAINER_OF(bd, struct raw, bd);
	struct raw_io *io;

	while ((io = raw->free)) {
		raw->free = io->link;
		free(io);
	}
	raw_file_close(&raw->file);
	free(raw);
}

static const struct blockdev_ops raw_ops = {
	.format = "raw",
	.submit = raw_submit,
	.drain = raw_drain,
	.resize = raw_resize,
	.truncate = raw_truncate,
	.close = raw_close,
};

int raw_set_lock(struct blockdev *bd, bool writer, struct err *err)
{
	struct raw *raw = CONTAINER_OF(bd, struct raw, bd);
	int r;

	raw_unlock(raw->file.fd);
	r = raw_lock(raw->file.fd, bd->name, !writer, err);
	if (r < 0)
		raw_unlock(raw->file.fd);
	return r;
}

struct blockdev *raw_open(const struct blk_file_config *cfg, struct err *err)
{
	struct raw *raw = calloc(1, sizeof(*raw));
	char *name = strdup(cfg->path);

	if (!raw || !name) {
		err_set_errno(err, -ENOMEM, "%s: cannot open it", cfg->path);
		goto fail;
	}
	if (raw_file_open(&raw->file, cfg, err) < 0)
		goto fail;
	raw->uring = cfg->uring;
	raw->dsync = cfg->cache == BLK_CACHE_WRITETHROUGH || cfg->cache == BLK_CACHE_DIRECTSYNC;
	raw->no_flush = cfg->cache == BLK_CACHE_UNSAFE;
	raw->unmap = cfg->discard == BLK_DISCARD_UNMAP;
	raw->detect_zeroes = cfg->detect_zeroes;
	raw->order_writes = raw->file.direct && raw->file.align > BLK_SECTOR;
	raw->bd = (struct blockdev){
		.ops = &raw_ops,
		.name = name,
		.loop = cfg->loop,
		.size = raw->file.size,
		.request_align = BLK_SECTOR,
		.physical_block = raw->file.physical,
		.read_only = raw->file.read_only,
		.discard = raw->unmap && !raw->file.read_only,
		.write_zeroes = !raw->file.read_only,
		.write_cache = !raw->dsync,
		.grows = cfg->grows && !raw->file.block_device && !raw->file.read_only,
	};
	return &raw->bd;
fail:
	free(name);
	free(raw);
	return NULL;
}
