/* SPDX-License-Identifier: MIT */
/*
 * Reads and writes that are longer than a back end takes at once (max_transfer): pieces of at most that, one after the other, each with its
 * own part of the user's buffers. The first that fails ends it. Filters have the limit of what is below them, so the splitting is
 * done once, at the top.
 *
 * The pieces are the device's requests like others, but for the statistics, which count what the user asked for; and the user's request
 * counts as in flight from the first piece to the last, so a drain waits for all of them.
 */
#include "blk/split.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/iov.h"
#include "vmm/util.h"

struct split {
	struct blk_req piece;
	struct blockdev *bd;
	struct blk_req *user;
	uint64_t done;            /* bytes */
	struct iov_cursor cursor; /* over the user's buffers, behind the piece's */
	struct iovec iov[];       /* the piece's; as many as the user's */
};

static void piece_done(struct blk_req *piece, int result);

static void piece_submit(struct split *s)
{
	uint64_t limit = align_down(s->bd->max_transfer, max_u64(s->bd->request_align, BLK_SECTOR));
	uint64_t len = min_u64(s->user->len - s->done, limit);

	s->piece = (struct blk_req){
		.op = s->user->op,
		.flags = s->user->flags,
		.off = s->user->off + s->done,
		.len = len,
		.iov = s->iov,
		.n = iov_cursor_take(&s->cursor, len, s->iov, s->user->n),
		.done = piece_done,
		.piece = true,
	};
	blockdev_submit(s->bd, &s->piece);
}

static void piece_done(struct blk_req *piece, int result)
{
	struct split *s = CONTAINER_OF(piece, struct split, piece);
	struct blockdev *bd = s->bd;
	struct blk_req *user = s->user;

	s->done += piece->len;
	if (result == 0 && s->done < user->len) {
		piece_submit(s);
		return;
	}
	free(s);
	blockdev_complete(bd, user, result);
}

void split_submit(struct blockdev *bd, struct blk_req *req)
{
	struct split *s = malloc(sizeof(*s) + req->n * sizeof(s->iov[0]));

	if (!s) {
		blockdev_complete(bd, req, -ENOMEM);
		return;
	}
	s->bd = bd;
	s->user = req;
	s->done = 0;
	iov_cursor_init(&s->cursor, req->iov, req->n);
	piece_submit(s);
}
