/* SPDX-License-Identifier: MIT */
/* Commands on blocks that disks and CD-ROM drives have in common: SBC-3, section 5, MMC-6, section 6. */
#include <errno.h>

#include "hw/scsi_priv.h"
#include "vmm/iov.h"
#include "vmm/util.h"

#define FUA 0x08          /* byte 1, of the longer commands */
#define PROTECT_MASK 0xe0 /* the same: protection information, which these media have not */

struct span {
	uint64_t lba, n;
	uint8_t flags; /* byte 1; 0 where the command has none */
};

/* Where READ, WRITE and the like say what they are about, by their length. */
static struct span span_of(const uint8_t *cdb)
{
	switch (cdb[0] >> 5) {
	case 0:
		return (struct span){ load_be24(&cdb[1]) & 0x1fffff, cdb[4] ? cdb[4] : 256, 0 };
	case 4:
		return (struct span){ load_be64(&cdb[2]), load_be32(&cdb[10]), cdb[1] };
	case 5:
		return (struct span){ load_be32(&cdb[2]), load_be32(&cdb[6]), cdb[1] };
	default:
		return (struct span){ load_be32(&cdb[2]), load_be16(&cdb[7]), cdb[1] };
	}
}

bool scsi_locate(struct scsi_req *req, uint64_t lba, uint64_t n, struct scsi_range *range)
{
	const struct scsi_unit *unit = req->unit;

	if (!range_ok(lba, n, unit->blocks)) {
		scsi_check(req, SCSI_LBA_OUT_OF_RANGE);
		return false;
	}
	/* Inside the medium, whose size in bytes is a number. */
	range->off = lba * unit->block;
	range->len = n * unit->block;
	return true;
}

bool scsi_writethrough(const struct scsi_unit *unit)
{
	return unit->bd->write_cache && !unit->wce;
}

/* Cuts `n` buffers, which have as many bytes, to the first `len`, and leaves out empty ones. Returns how many are left. */
static size_t cut(struct iovec *iov, size_t n, uint64_t len)
{
	size_t kept = 0;

	for (size_t i = 0; i < n && len; i++) {
		if (!iov[i].iov_len)
			continue;
		iov[kept] = iov[i];
		if (iov[kept].iov_len > len)
			iov[kept].iov_len = len;
		len -= iov[kept++].iov_len;
	}
	return kept;
}

/* The single range of a transfer. True: there is something to be transferred, and the buffers are cut to it. */
static bool transfer_range(struct scsi_req *req, enum blk_op op, const struct span *span)
{
	bool write = op == BLK_WRITE;

	if (span->flags & PROTECT_MASK) {
		scsi_bad_field(req, 1);
		return false;
	}
	if (!scsi_locate(req, span->lba, span->n, &req->ranges[0]))
		return false;
	if (req->ranges[0].len > (write ? req->out_len : req->in_len)) {
		scsi_overrun(req);
		return false;
	}
	req->op = op;
	req->will_move = (uint32_t)req->ranges[0].len;
	if (!req->will_move) {
		scsi_good(req);
		return false;
	}
	req->n_ranges = 1;
	if (write)
		req->n_out = cut(req->out, req->n_out, req->will_move);
	else
		req->n_in = cut(req->in, req->n_in, req->will_move);
	return true;
}

void scsi_read(struct scsi_req *req)
{
	struct span span = span_of(req->cdb);

	if (!transfer_range(req, BLK_READ, &span))
		return;
	/* SBC-3, 4.15.2: what is read is on the medium by then. */
	req->flush_before = (span.flags & FUA) && req->unit->bd->write_cache && !req->unit->bd->read_only;
	scsi_io_start(req);
}

/* Also WRITE AND VERIFY, whose BYTCHK (byte 1, bits 2 to 1) is 0: reading back is the host's business. */
void scsi_write(struct scsi_req *req)
{
	struct span span = span_of(req->cdb);
	uint8_t op = req->cdb[0];
	bool verify = op == SCSI_WRITE_VERIFY_10 || op == SCSI_WRITE_VERIFY_12 || op == SCSI_WRITE_VERIFY_16;

	if (verify && (span.flags & 0x06)) {
		scsi_bad_field(req, 1);
		return;
	}
	if (!transfer_range(req, BLK_WRITE, &span))
		return;
	req->flush_after = scsi_writethrough(req->unit) || (((span.flags & FUA) || verify) && req->unit->bd->write_cache);
	scsi_io_start(req);
}

void scsi_verify(struct scsi_req *req)
{
	struct span span = span_of(req->cdb);
	unsigned check = span.flags >> 1 & 3; /* 0: the medium only, 1: with data, 3: with one block */
	struct scsi_range range;
	uint64_t expected;
	int r;

	if ((span.flags & PROTECT_MASK) || check == 2) {
		scsi_bad_field(req, 1);
		return;
	}
	if (!scsi_locate(req, span.lba, span.n, &range))
		return;
	if (check == 0 || range.len == 0) {
		scsi_good(req);
		return;
	}
	expected = check == 3 ? req->unit->block : range.len;
	if (expected > req->out_len) {
		scsi_overrun(req);
		return;
	}
	req->will_move = (uint32_t)expected;
	r = scsi_bulk_verify(req, &range, check == 3);
	if (r == 0) {
		scsi_io_start(req);
		return;
	}
	req->status = SCSI_TASK_SET_FULL;
	scsi_end(req);
}

void scsi_seek(struct scsi_req *req)
{
	struct scsi_range range;

	if (scsi_locate(req, load_be32(&req->cdb[2]), 0, &range))
		scsi_good(req);
}

void scsi_synchronize_cache(struct scsi_req *req)
{
	struct span span = span_of(req->cdb);
	struct scsi_range range;

	/* A number of blocks of 0 means all to the end. IMMED may be answered at once, and need not be. */
	if (!scsi_locate(req, span.lba, span.n, &range))
		return;
	req->flush_after = true;
	scsi_io_start(req);
}

void scsi_read_capacity_10(struct scsi_req *req)
{
	const struct scsi_unit *unit = req->unit;
	uint8_t data[8];

	/* PMI, which would ask about delays beyond an address; without it the address has to be 0. */
	if (!(req->cdb[8] & 1) && load_be32(&req->cdb[2])) {
		scsi_bad_field(req, 2);
		return;
	}
	store_be32(&data[0], (uint32_t)min_u64(unit->blocks ? unit->blocks - 1 : 0, UINT32_MAX));
	store_be32(&data[4], unit->block);
	scsi_reply(req, data, sizeof(data), sizeof(data));
}
