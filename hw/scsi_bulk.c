/* SPDX-License-Identifier: MIT */
/*
 * Blocks that go through a buffer of ours, in steps of its size: WRITE SAME's block, which is written over and over, and VERIFY's data,
 * which are compared with what the medium has. A unit has few such requests at a time, whatever the driver does; more are told
 * to come again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/scsi_priv.h"
#include "vmm/iov.h"
#include "vmm/util.h"

#define BUFFER_MAX (256 * KIB) /* or a block, where that is more */
#define BUFFER_ALIGN 4096
#define UNIT_MAX 8

struct scsi_bulk {
	uint8_t *buffer;
	size_t size;              /* of the buffer: whole blocks */
	uint64_t at, end;         /* bytes of the medium */
	bool verify, same_block;
	bool under_way;           /* a step is */
	struct iov_cursor expected; /* verify: what is left to compare with */
	struct iovec step;
};

static int bulk_new(struct scsi_req *req, const struct scsi_range *range, struct scsi_bulk **out)
{
	struct scsi_unit *unit = req->unit;
	size_t size = (size_t)min_u64(max_u64(align_down(BUFFER_MAX, unit->block), unit->block), range->len);
	struct scsi_bulk *b;

	if (unit->n_bulk == UNIT_MAX)
		return -EBUSY;
	b = calloc(1, sizeof(*b));
	if (b)
		b->buffer = aligned_alloc(BUFFER_ALIGN, align_up(size, BUFFER_ALIGN));
	if (!b || !b->buffer) {
		free(b);
		return -ENOMEM;
	}
	b->size = size;
	b->at = range->off;
	b->end = range->off + range->len;
	unit->n_bulk++;
	*out = req->bulk = b;
	return 0;
}

int scsi_bulk_write_same(struct scsi_req *req, const struct scsi_range *range, struct iovec *data, size_t n)
{
	size_t block = req->unit->block;
	struct iov_cursor c;
	struct scsi_bulk *b;
	int r = bulk_new(req, range, &b);

	if (r < 0)
		return r;
	iov_cursor_init(&c, data, n);
	memset(b->buffer, 0, block);
	iov_cursor_read(&c, b->buffer, block);
	for (size_t filled = block; filled < b->size; filled += min_u64(filled, b->size - filled))
		memcpy(b->buffer + filled, b->buffer, min_u64(filled, b->size - filled));
	return 0;
}

int scsi_bulk_verify(struct scsi_req *req, const struct scsi_range *range, bool same_block)
{
	struct scsi_bulk *b;
	int r = bulk_new(req, range, &b);

	if (r < 0)
		return r;
	b->verify = true;
	b->same_block = same_block;
	iov_cursor_init(&b->expected, req->out, req->n_out);
	return 0;
}

bool scsi_bulk_next(struct scsi_req *req)
{
	struct scsi_bulk *b = req->bulk;
	struct blk_req *blk = &req->blk;

	if (b->at == b->end)
		return false;
	b->step = (struct iovec){ b->buffer, min_u64(b->size, b->end - b->at) };
	b->under_way = true;
	blk->op = b->verify ? BLK_READ : BLK_WRITE;
	blk->flags = 0;
	blk->off = b->at;
	blk->len = b->step.iov_len;
	blk->iov = &b->step;
	blk->n = 1;
	b->at += blk->len;
	blockdev_submit(req->unit->bd, blk);
	return true;
}

/* Whether the next `len` bytes of what the driver gave are those. */
static bool compare(struct iov_cursor *c, const uint8_t *data, size_t len)
{
	uint8_t part[512];

	while (len) {
		size_t n = iov_cursor_read(c, part, min_u64(len, sizeof(part)));

		if (n == 0 || memcmp(part, data, n))
			return false;
		data += n;
		len -= n;
	}
	return true;
}

bool scsi_bulk_done(struct scsi_req *req)
{
	struct scsi_bulk *b = req->bulk;
	size_t block = req->unit->block;
	bool same = true;

	if (!b->under_way || !b->verify)
		return true;
	b->under_way = false;
	if (!b->same_block)
		return compare(&b->expected, b->buffer, b->step.iov_len);
	for (size_t at = 0; same && at < b->step.iov_len; at += block) {
		iov_cursor_init(&b->expected, req->out, req->n_out);
		same = compare(&b->expected, b->buffer + at, block);
	}
	return same;
}

void scsi_bulk_free(struct scsi_req *req)
{
	if (!req->bulk)
		return;
	req->unit->n_bulk--;
	free(req->bulk->buffer);
	free(req->bulk);
	req->bulk = NULL;
}
