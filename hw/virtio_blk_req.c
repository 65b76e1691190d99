/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk's requests (Virtio 1.2, 5.2.6).
 *
 * A request is a chain of buffers in any layout (2.7.4): the header is the first 16 bytes of the readable part, the status the
 * last byte of the writable part, and the data what is left of either, however the driver cut it up. The chain's buffers are in the
 * request's own array, which is trimmed in place to the data. Header and range lists are copied once, and the copy is checked and used.
 *
 * A request goes through one or more block requests, one after the other: a range list through one for each range, a write
 * without a write cache through the write and a flush.
 *
 * A request that the host fails may be kept (werror=stop): as it is, at the block request that failed. That one is submitted again when the
 * machine goes on; those before it are done, and are not done again. What fails while the machine is already stopping is kept as well.
 *
 * Length used (2.7.8.2): bytes written from the start of the writable part without a gap, so a failed read reports none, and
 * whatever wrote all of it includes the status.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "hw/virtio_blk_priv.h"
#include "vmm/iov.h"
#include "vmm/log.h"
#include "vmm/util.h"

/* ---- the pool ---- */

struct vblk_req *vblk_req_take(struct vblk_queue *q)
{
	struct vblk_req *r = q->free;

	if (r) {
		q->free = r->next;
	} else {
		if (q->n_taken == q->n_reqs)
			return NULL;
		r = &q->reqs[q->n_taken];
		r->queue = q;
		r->iov = &q->iovs[(size_t)q->n_taken * q->max_buffers];
		q->n_taken++;
	}
	q->vblk->in_flight++;
	return r;
}

void vblk_req_free(struct vblk_req *r)
{
	struct vblk_queue *q = r->queue;

	r->next = q->free;
	q->free = r;
	q->vblk->in_flight--;
}

/* ---- the end ---- */

/* Answers the driver: `written` data bytes of the writable part are filled, from its start. */
static void vblk_req_end(struct vblk_req *r, enum vblk_status status, uint32_t written)
{
	struct vblk_queue *q = r->queue;
	struct virtio_dev *dev = &q->vblk->dev;

	*r->status = status;
	if (written == r->in_len - 1)
		written++;
	virtio_expect_more(dev, q->index);
	virtq_push(&dev->queues[q->index].vq, r->head, written);
	eventloop_post(dev->loop, &q->notify);
	vblk_req_free(r);
}

static const char *vblk_op_name(enum blk_op op)
{
	static const char *const names[] = {
		[BLK_READ] = "read", [BLK_WRITE] = "write", [BLK_FLUSH] = "flush", [BLK_DISCARD] = "discard", [BLK_WRITE_ZEROES] = "write of zeroes",
	};

	return names[op];
}

static void vblk_req_log(struct vblk_req *r, int result)
{
	struct vblk *b = r->queue->vblk;
	char text[64];

	log_guest(&b->dev.log, b->dev.name, "%s: %s of %" PRIu64 " bytes at %" PRIu64 " failed: %s", b->bd->name, vblk_op_name(r->blk.op),
		  r->blk.len, r->blk.off, strerror_r(-result, text, sizeof(text)));
}

/* Errors that trying again would not change: the request is wrong, or not allowed. */
static bool vblk_error_is_final(int result)
{
	return result == -EINVAL || result == -EPERM || result == -EROFS;
}

static bool vblk_error_stops(const struct vblk *b, enum virtio_blk_on_error action, int result)
{
	if (b->ending)
		return false;
	if (action == VIRTIO_BLK_ENOSPC)
		return result == -ENOSPC;
	return action == VIRTIO_BLK_STOP && !vblk_error_is_final(result);
}

/* Keeps the request and stops the machine. The first of a stop says why. */
static void vblk_req_keep(struct vblk_req *r, int result)
{
	struct vblk *b = r->queue->vblk;
	const struct blk_req *blk = &r->blk;
	char text[64];

	r->next = NULL;
	if (b->kept_first) {
		b->kept_last->next = r;
	} else {
		b->kept_first = r;
		log_error("%s: '%s': %s of %" PRIu64 " bytes at %" PRIu64 " failed: %s; the machine is stopped: %s, then let it go on with "
			  "Ctrl-a r at its terminal or kill -CONT %d",
			  b->dev.name, b->bd->name, vblk_op_name(blk->op), blk->len, blk->off, strerror_r(-result, text, sizeof(text)),
			  result == -ENOSPC ? "make room" : "see to the disk", (int)getpid());
	}
	b->kept_last = r;
	machine_request(&b->link, VM_REQUEST_IO_ERROR, 0);
}

void vblk_retry_kept(struct vblk *b)
{
	struct vblk_req *r = b->kept_first, *next;

	for (b->kept_first = b->kept_last = NULL; r; r = next) {
		next = r->next;
		blockdev_submit(b->bd, &r->blk);
	}
}

void vblk_drop_kept(struct vblk *b)
{
	struct vblk_req *r = b->kept_first, *next;

	for (b->kept_first = b->kept_last = NULL; r; r = next) {
		next = r->next;
		vblk_req_free(r);
	}
}

/* Submits the next block request of `r`; false when there is none left. */
static bool vblk_req_next(struct vblk_req *r)
{
	struct blk_req *blk = &r->blk;

	if (r->next_range < r->n_ranges) {
		blk->off = r->ranges[r->next_range].off;
		blk->len = r->ranges[r->next_range].len;
		blk->flags = r->ranges[r->next_range].flags;
		r->next_range++;
	} else if (r->flush_after) {
		r->flush_after = false;
		blk->op = BLK_FLUSH;
		blk->flags = 0;
		blk->off = blk->len = 0;
		blk->iov = NULL;
		blk->n = 0;
	} else {
		return false;
	}
	blockdev_submit(r->queue->vblk->bd, blk);
	return true;
}

static void vblk_req_done(struct blk_req *blk, int result)
{
	struct vblk_req *r = CONTAINER_OF(blk, struct vblk_req, blk);
	const struct vblk *b = r->queue->vblk;
	bool read = blk->op == BLK_READ;
	enum virtio_blk_on_error action = read ? b->read_error : b->write_error;

	if (result == -ENOTSUP) {
		vblk_req_end(r, VBLK_S_UNSUPP, 0);
		return;
	}
	if (result < 0) {
		if (vblk_error_stops(b, action, result)) {
			vblk_req_keep(r, result);
			return;
		}
		vblk_req_log(r, result);
		if (action != VIRTIO_BLK_IGNORE) {
			vblk_req_end(r, VBLK_S_IOERR, 0);
			return;
		}
	}
	if (vblk_req_next(r))
		return;
	vblk_req_end(r, VBLK_S_OK, read && result == 0 ? r->in_len - 1 : 0);
}

/* ---- the kinds ---- */

/* What is left of the readable part behind `c`, as buffers at the start of which `*iov` points: in place. */
static size_t vblk_rest(const struct iov_cursor *c, struct iovec *base, size_t n, struct iovec **iov)
{
	size_t skip = n - c->n;

	*iov = &base[skip];
	if (c->n && c->off) {
		base[skip].iov_base = (uint8_t *)base[skip].iov_base + c->off;
		base[skip].iov_len -= c->off;
	}
	return c->n;
}

static bool vblk_range_ok(const struct vblk *b, uint64_t sector, uint64_t bytes, uint64_t *off)
{
	return mul_u64(sector, BLK_SECTOR, off) && *off % b->block == 0 && bytes % b->block == 0 &&
	       range_ok(*off, bytes, b->capacity * BLK_SECTOR);
}

/* Whether writes are to be on stable storage when they complete, and are not so anyway. */
static bool vblk_writethrough(const struct vblk *b)
{
	return b->bd->write_cache && !atomic_load_explicit(&b->wce, memory_order_acquire);
}

static void vblk_read_write(struct vblk_req *r, bool write, uint64_t sector, struct iovec *iov, size_t n, uint32_t len)
{
	struct vblk *b = r->queue->vblk;
	struct blk_req *blk = &r->blk;

	blk->op = write ? BLK_WRITE : BLK_READ;
	if ((write && b->bd->read_only) || !vblk_range_ok(b, sector, len, &blk->off)) {
		vblk_req_end(r, VBLK_S_IOERR, 0);
		return;
	}
	if (len == 0) {
		vblk_req_end(r, VBLK_S_OK, 0);
		return;
	}
	blk->len = len;
	blk->iov = iov;
	blk->n = n;
	r->flush_after = write && vblk_writethrough(b);
	blockdev_submit(b->bd, blk);
}

static void vblk_get_id(struct vblk_req *r, struct iovec *iov, size_t n)
{
	struct iov_cursor c;

	iov_cursor_init(&c, iov, n);
	vblk_req_end(r, VBLK_S_OK, (uint32_t)iov_cursor_write(&c, r->queue->vblk->serial, VBLK_ID_BYTES));
}

/* Copies and checks the range list at `c`: everything, before anything is done. */
static enum vblk_status vblk_take_ranges(struct vblk_req *r, struct iov_cursor *c, bool discard)
{
	const struct vblk *b = r->queue->vblk;
	size_t n = c->left / sizeof(struct vblk_range);
	struct vblk_range range;
	bool bad = false;

	if (n == 0 || n > VBLK_MAX_RANGES || c->left % sizeof(range) != 0)
		return VBLK_S_IOERR;
	while (n--) {
		uint64_t len, off;
		uint32_t flags;

		iov_cursor_read(c, &range, sizeof(range));
		len = (uint64_t)le32_get(range.num_sectors) * BLK_SECTOR;
		flags = le32_get(range.flags);
		/* 5.2.6.2: unknown flags, and unmap with DISCARD, whatever else is wrong. */
		if (flags & ~(discard ? 0 : VBLK_RANGE_UNMAP))
			return VBLK_S_UNSUPP;
		if (len > (uint64_t)VBLK_MAX_RANGE_SECTORS * BLK_SECTOR || !vblk_range_ok(b, le64_get(range.sector), len, &off))
			bad = true;
		else if (len) {
			r->ranges[r->n_ranges].off = off;
			r->ranges[r->n_ranges].len = len;
			r->ranges[r->n_ranges++].flags = flags ? BLK_REQ_UNMAP : 0;
		}
	}
	return bad ? VBLK_S_IOERR : VBLK_S_OK;
}

static void vblk_discard_zero(struct vblk_req *r, struct iov_cursor *c, bool discard)
{
	struct vblk *b = r->queue->vblk;
	enum vblk_status status = VBLK_S_UNSUPP;

	r->blk.op = discard ? BLK_DISCARD : BLK_WRITE_ZEROES;
	if (b->bd->read_only)
		status = VBLK_S_IOERR;
	else if (virtio_has(&b->dev, discard ? VBLK_F_DISCARD : VBLK_F_WRITE_ZEROES))
		status = vblk_take_ranges(r, c, discard);
	if (status != VBLK_S_OK) {
		vblk_req_end(r, status, 0);
		return;
	}
	r->flush_after = !discard && vblk_writethrough(b);
	if (!vblk_req_next(r))
		vblk_req_end(r, VBLK_S_OK, 0);
}

static void vblk_flush(struct vblk_req *r)
{
	r->blk.op = BLK_FLUSH;
	r->blk.off = r->blk.len = 0;
	blockdev_submit(r->queue->vblk->bd, &r->blk);
}

/* ---- the start ---- */

/* Cuts the status byte off the end of `n` writable buffers, and returns how many are left. The last is not empty. */
static size_t vblk_take_status(struct vblk_req *r, struct iovec *in, size_t n)
{
	while (in[n - 1].iov_len == 0)
		n--;
	r->status = (uint8_t *)in[n - 1].iov_base + --in[n - 1].iov_len;
	return in[n - 1].iov_len ? n : n - 1;
}

int vblk_req_start(struct vblk_req *r, const struct virtq_chain *chain, const char **why)
{
	struct iovec *in = chain->iov + chain->n_out, *out;
	struct vblk_header header;
	struct iov_cursor c;
	size_t n_in, n_out;

	if (chain->in_len == 0 || chain->out_len < sizeof(header)) {
		*why = chain->in_len == 0 ? "a request without a status byte" : "a request without a header";
		return -EINVAL;
	}
	r->blk = (struct blk_req){ .done = vblk_req_done };
	r->head = chain->head;
	r->in_len = chain->in_len;
	r->flush_after = false;
	r->next_range = r->n_ranges = 0;
	n_in = vblk_take_status(r, in, chain->n_in);
	iov_cursor_init(&c, chain->iov, chain->n_out);
	iov_cursor_read(&c, &header, sizeof(header));

	switch (le32_get(header.type)) {
	case VBLK_T_IN:
		vblk_read_write(r, false, le64_get(header.sector), in, n_in, r->in_len - 1);
		break;
	case VBLK_T_OUT:
		n_out = vblk_rest(&c, chain->iov, chain->n_out, &out);
		vblk_read_write(r, true, le64_get(header.sector), out, n_out, chain->out_len - (uint32_t)sizeof(header));
		break;
	case VBLK_T_FLUSH:
		vblk_flush(r);
		break;
	case VBLK_T_GET_ID:
		vblk_get_id(r, in, n_in);
		break;
	case VBLK_T_DISCARD:
		vblk_discard_zero(r, &c, true);
		break;
	case VBLK_T_WRITE_ZEROES:
		vblk_discard_zero(r, &c, false);
		break;
	default:
		vblk_req_end(r, VBLK_S_UNSUPP, 0);
		break;
	}
	return 0;
}
