/* SPDX-License-Identifier: MIT */
/*
 * How a SCSI request uses its block device: through one or more block requests, one after the other. A flush first where data are to be
 * read from the medium itself (FUA), then its ranges, or steps through a buffer (scsi_bulk.c), then a flush where what was written is
 * to be on the medium.
 *
 * A request that the host fails may be kept (werror=stop): as it is, at the block request that failed, which is submitted again when the
 * machine goes on. What fails while the machine is already stopping is kept as well.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "hw/scsi_priv.h"
#include "vmm/util.h"

static const char *op_name(enum blk_op op)
{
	static const char *const names[] = {
		[BLK_READ] = "read", [BLK_WRITE] = "write", [BLK_FLUSH] = "flush", [BLK_DISCARD] = "discard", [BLK_WRITE_ZEROES] = "write of zeroes",
	};

	return names[op];
}

/* What the driver is told of an error of the host's. */
static enum scsi_sense sense_of(const struct blk_req *blk, int result)
{
	switch (result) {
	case -ENOSPC:
	case -EDQUOT:
		return SCSI_SPACE_FAILED;
	case -EPERM:
	case -EROFS:
		return SCSI_WRITE_PROTECTED;
	case -EIO:
		return blk->op == BLK_READ ? SCSI_READ_ERROR : SCSI_WRITE_ERROR;
	default:
		return SCSI_TARGET_FAILURE;
	}
}

/* Errors that trying again would not change: the request is wrong, or not allowed. */
static bool is_final(int result)
{
	return result == -EINVAL || result == -EPERM || result == -EROFS || result == -ENOTSUP;
}

static bool stops(const struct scsi_unit *unit, enum virtio_blk_on_error action, int result)
{
	if (unit->ending)
		return false;
	if (action == VIRTIO_BLK_ENOSPC)
		return result == -ENOSPC;
	return action == VIRTIO_BLK_STOP && !is_final(result);
}

/* Keeps the request and stops the machine. The first of a stop says why. */
static void keep(struct scsi_req *req, int result)
{
	struct scsi_unit *unit = req->unit;
	const struct blk_req *blk = &req->blk;
	bool first = true;
	char text[64];

	for (const struct scsi_req *r = unit->first; r; r = r->next)
		first &= r->state != SCSI_REQ_KEPT;
	req->state = SCSI_REQ_KEPT;
	if (first)
		log_error("%s: '%s': %s of %" PRIu64 " bytes at %" PRIu64 " failed: %s; the machine is stopped: %s, then let it go on with "
			  "Ctrl-a r at its terminal or kill -CONT %d",
			  unit->name, unit->bd->name, op_name(blk->op), blk->len, blk->off, strerror_r(-result, text, sizeof(text)),
			  result == -ENOSPC ? "make room" : "see to the disk", (int)getpid());
	machine_request(&unit->link, VM_REQUEST_IO_ERROR, 0);
}

static void flush(struct scsi_req *req)
{
	struct blk_req *blk = &req->blk;

	blk->op = BLK_FLUSH;
	blk->flags = 0;
	blk->off = blk->len = 0;
	blk->iov = NULL;
	blk->n = 0;
	blockdev_submit(req->unit->bd, blk);
}

static void submit_range(struct scsi_req *req, const struct scsi_range *range)
{
	struct blk_req *blk = &req->blk;

	blk->op = req->op;
	blk->flags = req->op_flags;
	blk->off = range->off;
	blk->len = range->len;
	blk->iov = req->op == BLK_READ ? req->in : req->op == BLK_WRITE ? req->out : NULL;
	blk->n = req->op == BLK_READ ? req->n_in : req->op == BLK_WRITE ? req->n_out : 0;
	blockdev_submit(req->unit->bd, blk);
}

/* Submits the next block request; false when there is none left. */
static bool next(struct scsi_req *req)
{
	if (req->flush_before) {
		req->flush_before = false;
		flush(req);
	} else if (req->bulk && scsi_bulk_next(req)) {
		return true;
	} else if (req->next_range < req->n_ranges) {
		submit_range(req, &req->ranges[req->next_range++]);
	} else if (req->flush_after) {
		req->flush_after = false;
		flush(req);
	} else {
		return false;
	}
	return true;
}

static void step(struct scsi_req *req)
{
	if (next(req))
		return;
	req->moved = req->will_move;
	scsi_good(req);
}

static void io_done(struct blk_req *blk, int result)
{
	struct scsi_req *req = CONTAINER_OF(blk, struct scsi_req, blk);
	struct scsi_unit *unit = req->unit;
	enum virtio_blk_on_error action = blk->op == BLK_READ ? unit->read_error : unit->write_error;
	char text[64];

	if (req->aborted) {
		scsi_end(req);
		return;
	}
	if (result < 0) {
		if (stops(unit, action, result)) {
			keep(req, result);
			return;
		}
		log_guest(&unit->log, unit->name, "%s: %s of %" PRIu64 " bytes at %" PRIu64 " failed: %s", unit->bd->name, op_name(blk->op),
			  blk->len, blk->off, strerror_r(-result, text, sizeof(text)));
		if (action != VIRTIO_BLK_IGNORE) {
			scsi_check(req, sense_of(blk, result));
			return;
		}
	}
	if (req->bulk && !scsi_bulk_done(req)) {
		scsi_check(req, SCSI_MISCOMPARE);
		return;
	}
	step(req);
}

void scsi_io_start(struct scsi_req *req)
{
	req->blk = (struct blk_req){ .done = io_done };
	step(req);
}

void scsi_io_retry(struct scsi_req *req)
{
	req->state = SCSI_REQ_RUNNING;
	blockdev_submit(req->unit->bd, &req->blk);
}
