/* SPDX-License-Identifier: MIT */
#include "blk/blockdev.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_disk.h"
#include "tests/unit/fake_frontend.h"
#include "vmm/util.h"

static struct eventloop *loop;
static struct fake_disk disk;
static uint8_t buf[FAKE_DISK_SIZE];

static void setup(void)
{
	loop = fake_loop();
	fake_disk_init(&disk, loop);
}

static void teardown(void)
{
	if (!disk.closed)
		blockdev_close(&disk.bd);
	eventloop_destroy(loop);
}

/* None of these reaches the back end. */
START_TEST(refused)
{
	static const struct {
		enum blk_op op;
		uint64_t off, len;
	} bad[] = {
		{ BLK_READ, FAKE_DISK_SIZE, 512 },
		{ BLK_READ, FAKE_DISK_SIZE - 512, 1024 },
		{ BLK_WRITE, UINT64_MAX - 511, 512 },
		{ BLK_WRITE, 0, FAKE_DISK_SIZE + 512 },
		{ BLK_READ, 1, 512 },
		{ BLK_READ, 512, 511 },
		{ BLK_DISCARD, UINT64_MAX - 511, 1024 },
		{ BLK_DISCARD, 512, UINT64_MAX - 511 },
		{ BLK_WRITE_ZEROES, FAKE_DISK_SIZE, 512 },
		{ BLK_WRITE_ZEROES, 0, 513 },
	};
	struct fake_req r;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_int_eq(fake_req_run(&disk.bd, bad[i].op, buf, bad[i].len, bad[i].off), -EINVAL);
	/* Buffers of another size than the request. */
	fake_req_start(&disk.bd, &r, BLK_READ, buf, 512, 0);
	blockdev_drain(&disk.bd);
	r.req.len = 1024;
	r.times = 0;
	blockdev_submit(&disk.bd, &r.req);
	ck_assert_int_eq(fake_req_wait(&disk.bd, &r), -EINVAL);
	ck_assert_int_eq(fake_req_run(&disk.bd, (enum blk_op)77, buf, 512, 0), -ENOTSUP);
	disk.bd.max_transfer = 4096; /* is for reads and writes */
	ck_assert_int_eq(fake_req_run(&disk.bd, BLK_DISCARD, NULL, 8192, 0), 0);
	disk.bd.request_align = 4096;
	ck_assert_int_eq(fake_req_run(&disk.bd, BLK_READ, buf, 512, 512), -EINVAL);
	disk.bd.write_zeroes = false;
	ck_assert_int_eq(fake_req_run(&disk.bd, BLK_WRITE_ZEROES, NULL, 4096, 0), -ENOTSUP);
	ck_assert_uint_eq(disk.n_submitted, 2); /* the good read and discard */
	ck_assert_uint_eq(disk.bd.in_flight, 0);
	ck_assert_uint_eq(disk.bd.stats.errors[BLK_READ], 6);
}
END_TEST

START_TEST(read_only)
{
	disk.bd.read_only = true;
	ck_assert_int_eq(fake_req_run(&disk.bd, BLK_WRITE, buf, 512, 0), -EROFS);
	ck_assert_int_eq(fake_req_run(&disk.bd, BLK_DISCARD, NULL, 512, 0), -EROFS);
	ck_assert_int_eq(fake_req_run(&disk.bd, BLK_WRITE_ZEROES, NULL, 512, 0), -EROFS);
	ck_assert_int_eq(blockdev_resize(&disk.bd, 512), -EROFS);
	ck_assert_uint_eq(disk.n_submitted, 0);
	ck_assert_int_eq(fake_req_run(&disk.bd, BLK_READ, buf, 512, 0), 0);
	ck_assert_int_eq(fake_req_run(&disk.bd, BLK_FLUSH, NULL, 0, 0), 0);
}
END_TEST

static uint64_t longest;

static void (*real_submit)(struct blockdev *bd, struct blk_req *req);

static void measuring_submit(struct blockdev *bd, struct blk_req *req)
{
	if (req->op == BLK_READ || req->op == BLK_WRITE)
		longest = max_u64(longest, req->len);
	real_submit(bd, req);
}

/* Longer than the back end takes: in pieces, over buffers cut anywhere, counted once, with the error of the piece that fails. */
START_TEST(pieces)
{
	static uint8_t back[FAKE_DISK_SIZE];
	static struct blockdev_ops ops;
	struct iovec cut[5] = { { buf, 700 }, { buf + 700, 0 }, { buf + 700, 5000 }, { buf + 5700, 1 }, { buf + 5701, 8192 - 5701 } };
	struct fake_req r;

	ops = *disk.bd.ops;
	real_submit = ops.submit;
	ops.submit = measuring_submit;
	disk.bd.ops = &ops;
	disk.at_once = _i & 1;
	disk.bd.max_transfer = _i & 2 ? 1536 : 1600; /* as far as whole sectors go */
	for (unsigned i = 0; i < 8192; i++)
		buf[i] = (uint8_t)(i * 7 + i / 256);
	fake_req_start(&disk.bd, &r, BLK_WRITE, buf, 512, 0);
	ck_assert_int_eq(fake_req_wait(&disk.bd, &r), 0);
	disk.n_submitted = 0;
	r.times = 0;
	r.req.len = 8192;
	r.req.off = 1024;
	r.req.iov = cut;
	r.req.n = 5;
	blockdev_submit(&disk.bd, &r.req);
	ck_assert_int_eq(fake_req_wait(&disk.bd, &r), 0);
	ck_assert_uint_eq(r.times, 1);
	ck_assert_uint_eq(disk.n_submitted, 6);
	ck_assert_uint_eq(longest, 1536);
	ck_assert_mem_eq(disk.data + 1024, buf, 8192);
	ck_assert_int_eq(fake_req_run(&disk.bd, BLK_READ, back, 8192, 1024), 0);
	ck_assert_mem_eq(back, buf, 8192);
	ck_assert(disk.bd.stats.ops[BLK_WRITE] == 2 && disk.bd.stats.bytes[BLK_WRITE] == 512 + 8192);
	ck_assert(disk.bd.stats.ops[BLK_READ] == 1 && disk.bd.in_flight == 0);
	/* A drain waits for all of it, and the error ends it. */
	disk.error = -EIO;
	disk.n_submitted = 0;
	fake_req_start(&disk.bd, &r, BLK_WRITE, buf, 8192, 0);
	blockdev_drain(&disk.bd);
	ck_assert(r.times == 1 && r.result == -EIO && disk.n_submitted == 1 && disk.bd.stats.errors[BLK_WRITE] == 1);
	disk.error = 0;
	fake_req_start(&disk.bd, &r, BLK_WRITE, buf, 8192, 0);
	blockdev_drain(&disk.bd);
	ck_assert(r.times == 1 && r.result == 0 && disk.n_submitted == 7);
}
END_TEST

START_TEST(nothing_to_do)
{
	ck_assert_int_eq(fake_req_run(&disk.bd, BLK_READ, NULL, 0, FAKE_DISK_SIZE), 0);
	ck_assert_int_eq(fake_req_run(&disk.bd, BLK_WRITE, NULL, 0, 0), 0);
	disk.bd.discard = false;
	ck_assert_int_eq(fake_req_run(&disk.bd, BLK_DISCARD, NULL, 512, 0), 0);
	ck_assert_uint_eq(disk.n_submitted, 0);
}
END_TEST

START_TEST(stats)
{
	for (int at_once = 0; at_once < 2; at_once++) {
		disk.at_once = at_once;
		ck_assert_int_eq(fake_req_run(&disk.bd, BLK_WRITE, buf, 1024, 512), 0);
		ck_assert_int_eq(fake_req_run(&disk.bd, BLK_FLUSH, NULL, 0, 0), 0);
		disk.error = -EIO;
		ck_assert_int_eq(fake_req_run(&disk.bd, BLK_WRITE, buf, 1024, 512), -EIO);
		disk.error = 0;
	}
	ck_assert_uint_eq(disk.bd.stats.ops[BLK_WRITE], 2);
	ck_assert_uint_eq(disk.bd.stats.bytes[BLK_WRITE], 2048);
	ck_assert_uint_eq(disk.bd.stats.errors[BLK_WRITE], 2);
	ck_assert_uint_gt(disk.bd.stats.ns[BLK_WRITE], 0);
	ck_assert_uint_eq(disk.bd.stats.ops[BLK_FLUSH], 2);
	ck_assert_uint_eq(disk.bd.stats.bytes[BLK_FLUSH], 0);
}
END_TEST

/* A back end that ends requests inside submit, and a user that submits in `done`: neither nests, and others get their turn. */
static unsigned again_left, depth;

static void again_done(struct blk_req *req, int result)
{
	ck_assert_int_eq(result, 0);
	ck_assert_uint_eq(depth, 0);
	depth++;
	if (again_left > 0) {
		again_left--;
		blockdev_submit(&disk.bd, req);
	}
	depth--;
}

START_TEST(resubmit)
{
	struct iovec iov = { buf, 512 };
	struct blk_req req = { .op = BLK_READ, .len = 512, .iov = &iov, .n = 1, .done = again_done };

	disk.at_once = true;
	again_left = 100000;
	blockdev_submit(&disk.bd, &req);
	ck_assert_uint_eq(again_left, 100000);
	fake_run_for(loop, 5);
	ck_assert_uint_lt(again_left, 100000);
	blockdev_drain(&disk.bd);
	ck_assert_uint_eq(again_left, 0);
	ck_assert_uint_eq(disk.bd.in_flight, 0);
}
END_TEST

START_TEST(drain)
{
	struct fake_req r[3];

	disk.hold = true;
	fake_req_start(&disk.bd, &r[0], BLK_READ, buf, 512, 0);
	fake_req_start(&disk.bd, &r[1], BLK_READ, buf, 512, 1); /* bad */
	disk.at_once = true;
	fake_req_start(&disk.bd, &r[2], BLK_READ, buf, 512, 0);
	ck_assert_uint_eq(disk.bd.in_flight, 3);
	blockdev_drain(&disk.bd);
	ck_assert_uint_eq(disk.bd.in_flight, 0);
	ck_assert(r[0].times == 1 && r[1].times == 1 && r[2].times == 1);
	ck_assert(r[0].result == 0 && r[1].result == -EINVAL && r[2].result == 0);
	fake_run_for(loop, 5);
	ck_assert(r[0].times == 1 && r[1].times == 1 && r[2].times == 1);
}
END_TEST

static unsigned n_resized;

static void note_resized(void *opaque)
{
	(void)opaque;
	n_resized++;
}

START_TEST(resize)
{
	struct fake_req r;

	disk.bd.resized = note_resized;
	disk.hold = true;
	fake_req_start(&disk.bd, &r, BLK_READ, buf, 512, FAKE_DISK_SIZE - 512);
	ck_assert_int_eq(blockdev_resize(&disk.bd, 4096), 0);
	ck_assert_uint_eq(r.times, 1); /* before the cut */
	ck_assert_uint_eq(disk.bd.size, 4096);
	ck_assert_uint_eq(n_resized, 1);
	ck_assert_int_eq(fake_req_run(&disk.bd, BLK_READ, buf, 512, 4096), -EINVAL);
	ck_assert_int_eq(blockdev_resize(&disk.bd, 4097), -EINVAL);
	ck_assert_int_eq(blockdev_resize(&disk.bd, UINT64_MAX - 511), -EINVAL);
	ck_assert_int_eq(blockdev_resize(&disk.bd, 2 * FAKE_DISK_SIZE), -ENOSPC);
	ck_assert_uint_eq(disk.bd.size, 4096);
	ck_assert_uint_eq(n_resized, 1);
}
END_TEST

START_TEST(close_drains)
{
	struct fake_req r;

	disk.hold = true;
	fake_req_start(&disk.bd, &r, BLK_READ, buf, 512, 0);
	blockdev_close(&disk.bd);
	ck_assert_uint_eq(r.times, 1);
	ck_assert(disk.closed);
	blockdev_close(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("blockdev");
	TCase *tc = tcase_create("blockdev");
	SRunner *sr = srunner_create(s);
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, read_only);
	tcase_add_loop_test(tc, pieces, 0, 4);
	tcase_add_test(tc, nothing_to_do);
	tcase_add_test(tc, stats);
	tcase_add_test(tc, resubmit);
	tcase_add_test(tc, drain);
	tcase_add_test(tc, resize);
	tcase_add_test(tc, close_drains);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
