/* SPDX-License-Identifier: MIT */
/* Zeroes and holes in a raw disk, by fallocate where the file can and by writing where it cannot. */
#include <errno.h>
#include <linux/falloc.h>

#include "blk/raw_io.h"
#include "vmm/util.h"

#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define ZERO (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)

static bool means_unsupported(int64_t result)
{
	return result == -EOPNOTSUPP || result == -ENOSYS || result == -ENODEV;
}

/* 0 when there is none. */
static int zero_mode(const struct raw_io *io)
{
	const struct raw *raw = io->raw;

	if (io->by_hand)
		return 0;
	if (io->unmap && !raw->no_punch)
		return PUNCH;
	return raw->no_zero_range ? 0 : ZERO;
}

static void zero_done(struct raw_io *io, int64_t result)
{
	struct raw *raw = io->raw;

	if (result == 0) {
		io->sync = raw->dsync;
		io->pos = io->end;
		raw_io_next(io);
	} else if (means_unsupported(result)) {
		if (io->u.mode == PUNCH)
			raw->no_punch = true;
		else
			raw->no_zero_range = true;
		raw_zero_start(io);
	} else if (result == -EINVAL || result == -EPERM || result == -ETXTBSY) {
		io->by_hand = true;
		raw_zero_start(io);
	} else {
		raw_io_end(io, (int)result);
	}
}

/* Chooses the next part of a range that shall be zero: whole blocks by fallocate, what is before and after them by writing. */
void raw_zero_start(struct raw_io *io)
{
	uint32_t block = io->raw->file.logical;
	uint64_t first = min_u64(align_up(io->pos, block), io->last), end = align_down(io->last, block);
	int mode = zero_mode(io);

	if (!mode || first >= end) {
		io->end = io->last;
	} else if (first > io->pos) {
		io->end = first;
	} else {
		io->end = end;
		io->u.mode = mode;
		io->u.off = io->pos;
		io->u.len = end - io->pos;
		raw_io_submit(io, URING_FALLOCATE, zero_done);
		return;
	}
	raw_rw_start(io);
}

/* Block devices up to 6.11 discard, without a promise of zeroes, where the flag says that old data may show. */
static int discard_mode(const struct raw *raw)
{
	if (raw->file.block_device && !raw->no_stale_discard)
		return PUNCH | FALLOC_FL_NO_HIDE_STALE;
	return raw->no_punch ? 0 : PUNCH;
}

static void discard_done(struct raw_io *io, int64_t result)
{
	struct raw *raw = io->raw;

	if (!means_unsupported(result)) {
		raw_io_end(io, (int)result);
		return;
	}
	if (io->u.mode == PUNCH)
		raw->no_punch = true;
	else
		raw->no_stale_discard = true;
	raw_discard_start(io);
}

void raw_discard_start(struct raw_io *io)
{
	struct raw *raw = io->raw;
	uint64_t first = align_up(io->pos, raw->file.logical), end = align_down(io->last, raw->file.logical);

	io->u.mode = discard_mode(raw);
	if (!io->u.mode || first >= end) {
		raw_io_end(io, 0); /* a hint not taken */
		return;
	}
	io->u.off = first;
	io->u.len = end - first;
	raw_io_submit(io, URING_FALLOCATE, discard_done);
}
