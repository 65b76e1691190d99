/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_blockdev.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/util.h"

static struct fake_blk *fake_of(struct blockdev *bd)
{
	return CONTAINER_OF(bd, struct fake_blk, bd);
}

static void fake_submit(struct blockdev *bd, struct blk_req *req)
{
	struct fake_blk *b = fake_of(bd);

	ck_assert_uint_lt(b->n_log, FAKE_BLK_LOG);
	b->log[b->n_log].op = req->op;
	b->log[b->n_log].flags = req->flags;
	b->log[b->n_log].off = req->off;
	b->log[b->n_log].len = req->len;
	b->log[b->n_log++].n = req->n;
	req->next = NULL;
	if (b->first)
		b->last->next = req;
	else
		b->first = req;
	b->last = req;
	b->waiting++;
}

static void fake_copy(struct fake_blk *b, const struct blk_req *req)
{
	uint8_t *p = b->data + req->off;
	uint64_t sum = 0;

	ck_assert(range_ok(req->off, req->len, b->bd.size));
	for (size_t i = 0; i < req->n; i++) {
		/* Data and nothing else: an entry behind the header, empty and at an odd address, costs direct I/O a copy. */
		ck_assert_uint_gt(req->iov[i].iov_len, 0);
		if (req->op == BLK_READ)
			memcpy(req->iov[i].iov_base, p + sum, req->iov[i].iov_len);
		else
			memcpy(p + sum, req->iov[i].iov_base, req->iov[i].iov_len);
		sum += req->iov[i].iov_len;
	}
	ck_assert_uint_eq(sum, req->len);
}

static void fake_do(struct fake_blk *b, const struct blk_req *req)
{
	switch (req->op) {
	case BLK_READ:
	case BLK_WRITE:
		fake_copy(b, req);
		break;
	case BLK_DISCARD:
		memset(b->data + req->off, 0xdd, req->len);
		break;
	case BLK_WRITE_ZEROES:
		memset(b->data + req->off, 0, req->len);
		break;
	case BLK_FLUSH:
	case BLK_STATUS:
		break;
	}
}

unsigned fake_blk_run(struct fake_blk *b, unsigned n)
{
	unsigned done = 0;

	for (; b->first && done < n; done++) {
		struct blk_req *req = b->first;
		int result = 0;

		b->first = req->next;
		b->waiting--;
		if (b->fail && b->fail_after-- == 0) {
			result = b->fail;
			b->fail = 0;
			b->fail_after = 0;
		} else {
			fake_do(b, req);
		}
		blockdev_complete(&b->bd, req, result);
	}
	return done;
}

static void fake_drain(struct blockdev *bd)
{
	struct fake_blk *b = fake_of(bd);

	b->drains++;
	while (fake_blk_run(b, 1))
		;
}

static void fake_close(struct blockdev *bd)
{
	(void)bd;
}

static const struct blockdev_ops fake_ops = { .format = "fake", .submit = fake_submit, .drain = fake_drain, .close = fake_close };

void fake_blk_init(struct fake_blk *b, struct eventloop *loop, uint64_t size)
{
	memset(b, 0, sizeof(*b));
	b->data = malloc(size + 1);
	ck_assert_ptr_nonnull(b->data);
	for (uint64_t i = 0; i < size; i++)
		b->data[i] = (uint8_t)(i * 7 + i / 512);
	b->bd = (struct blockdev){
		.ops = &fake_ops,
		.loop = loop,
		.size = size,
		.request_align = BLK_SECTOR,
		.physical_block = 4096,
		.discard = true,
		.write_zeroes = true,
		.write_cache = true,
	};
	b->bd.name = strdup("disk.img");
}

void fake_blk_fini(struct fake_blk *b)
{
	ck_assert_ptr_null(b->first);
	free(b->bd.name);
	free(b->data);
}
