/* SPDX-License-Identifier: MIT */
#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/fake_disk.h"
#include "tests/unit/fake_frontend.h"
#include "tests/unit/fake_import.h"
#include "vmm/endian.h"
#include "vmm/eventloop.h"
#include "vmm/util.h"

#define BLOCK 4096u
#define MAP 512u
#define DATA 1024u

static struct eventloop *loop;
static struct blockdev *bd;
static struct fake_image *image;

/* Four blocks: the second place, nothing, the first place, zeroes. The disk ends in the last. */
static struct fake_image *build(struct eventloop *l)
{
	static const uint32_t map[4] = { 1, 0xffffffff, 0, 0xfffffffe };
	struct fake_image *im = fake_image_create(l, "image", DATA + 2 * BLOCK);
	uint8_t *h = im->data;

	store_le32(h + 0x40, 0xbeda107f);
	store_le32(h + 0x44, 0x10001);
	store_le32(h + 0x4c, 1);
	store_le32(h + 0x154, MAP);
	store_le32(h + 0x158, DATA);
	store_le32(h + 0x168, 512);
	store_le64(h + 0x170, 4 * BLOCK - 600);
	store_le32(h + 0x178, BLOCK);
	store_le32(h + 0x180, 4);
	for (int i = 0; i < 4; i++)
		store_le32(im->data + MAP + 4 * i, map[i]);
	fake_image_mark(im, DATA, 2 * BLOCK, 0x5a);
	return im;
}

static void setup(void)
{
	struct err err = ERR_INIT;

	loop = fake_loop();
	image = build(loop);
	bd = vdi_open(&image->bd, NULL, &err);
	ck_assert_msg(bd != NULL, "%s", err.msg);
}

static void teardown(void)
{
	blockdev_close(bd);
	eventloop_destroy(loop);
}

START_TEST(contents)
{
	ck_assert_uint_eq(bd->size, 4 * BLOCK - 512);
	ck_assert_uint_eq(import_cluster_size(bd), BLOCK);
	ck_assert(bd->read_only && import_is(bd) && !import_is_flat(bd, 0));
	fake_image_expect(bd, 0, BLOCK, DATA + BLOCK, 0x5a);
	fake_image_expect(bd, 1024, 512, DATA + BLOCK + 1024, 0x5a);
	fake_image_expect_zero(bd, BLOCK, BLOCK);
	fake_image_expect(bd, 2 * BLOCK, BLOCK, DATA, 0x5a);
	fake_image_expect_zero(bd, 3 * BLOCK, BLOCK - 512);
	ck_assert_int_eq(fake_req_run(bd, BLK_READ, NULL, 0, 0), 0);
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, image->data, 512, 0), -EROFS);
}
END_TEST

START_TEST(status)
{
	unsigned data = BLK_ST_ALLOCATED | BLK_ST_DATA | BLK_ST_OFFSET;

	fake_image_expect_status(bd, 512, bd->size - 512, BLOCK - 512, data);
	fake_image_expect_status(bd, BLOCK, 512, 512, BLK_ST_ALLOCATED | BLK_ST_ZERO);
	fake_image_expect_status(bd, 2 * BLOCK, 2 * BLOCK - 512, BLOCK, data);
	fake_image_expect_status(bd, 3 * BLOCK, BLOCK - 512, BLOCK - 512, BLK_ST_ALLOCATED | BLK_ST_ZERO);
}
END_TEST

/* More requests than coroutines, all at once, ended by the loop. */
START_TEST(many)
{
	static struct fake_req r[100];
	static uint8_t buf[100][512];

	for (int i = 0; i < 100; i++)
		fake_req_start(bd, &r[i], BLK_READ, buf[i], 512, (uint64_t)(i % 8) * 512);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(fake_req_wait(bd, &r[i]), 0);
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(load_le64(buf[i]), DATA + BLOCK + (uint64_t)(i % 8) * 512);
}
END_TEST

/* The map is read once, not for each request. */
START_TEST(tables_are_kept)
{
	unsigned before = image->n_reads;

	for (int i = 0; i < 50; i++)
		fake_image_expect_zero(bd, BLOCK, 512);
	ck_assert_uint_le(image->n_reads, before + 1);
}
END_TEST

/* More table than the cache has pages, there and back. */
START_TEST(large_table)
{
	enum { ENTRIES = 80 * IMPORT_PAGE / 4 };
	struct fake_image *im = fake_image_create(loop, "image", 512 + ENTRIES * 4 + 1024);
	struct err err = ERR_INIT;
	struct blockdev *large;

	memcpy(im->data, image->data, 512);
	store_le32(im->data + 0x158, 512 + ENTRIES * 4);
	store_le64(im->data + 0x170, (uint64_t)ENTRIES * 512);
	store_le32(im->data + 0x178, 512);
	store_le32(im->data + 0x180, ENTRIES);
	memset(im->data + 512, 0xff, ENTRIES * 4);
	for (unsigned i = 0; i < 80; i++)
		store_le32(im->data + 512 + i * IMPORT_PAGE, i % 2);
	fake_image_mark(im, 512 + ENTRIES * 4, 1024, 0x77);
	large = vdi_open(&im->bd, NULL, &err);
	ck_assert_msg(large != NULL, "%s", err.msg);
	for (unsigned n = 0; n < 160; n++) {
		unsigned i = n < 80 ? n : 159 - n;

		fake_image_expect(large, (uint64_t)i * IMPORT_PAGE / 4 * 512, 512, 512 + ENTRIES * 4 + i % 2 * 512, 0x77);
		fake_image_expect_zero(large, ((uint64_t)i * IMPORT_PAGE / 4 + 1) * 512, 512);
	}
	blockdev_close(large);
}
END_TEST

START_TEST(errors)
{
	uint8_t buf[BLOCK];

	image->error = -EIO;
	image->error_at = DATA + BLOCK + 512;
	ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, 0, buf, BLOCK), -EIO);
	image->error = 0;
	ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, 0, buf, BLOCK), 0);
}
END_TEST

/* Blocks past the file's end, or past what there are: errors, and nothing else is touched. */
START_TEST(bad_blocks)
{
	static const uint32_t places[] = { 2, 3, 4, 0x7fffffff, 0xfffffffd };
	uint8_t buf[BLOCK];

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct err err = ERR_INIT;

		blockdev_close(bd);
		image = build(loop);
		store_le32(image->data + MAP, places[i]);
		bd = vdi_open(&image->bd, NULL, &err);
		ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, 0, buf, BLOCK), -EIO);
		fake_image_expect(bd, 2 * BLOCK, BLOCK, DATA, 0x5a);
	}
}
END_TEST

START_TEST(refused)
{
	static const struct fake_patch patches[] = {
		{ 0x40, 0, 4, "not a VDI", false },
		{ 0x44, 0x20001, 4, "version 2.1", false },
		{ 0x4c, 4, 4, "stands on another", false },
		{ 0x4c, 0, 4, "stands on another", false },
		{ 0x1a8, 1, 1, "stands on another", false },
		{ 0x1b8, 1, 1, "stands on another", false },
		{ 0x168, 4096, 4, "sectors", false },
		{ 0x178, 0, 4, "blocks", false },
		{ 0x178, 3 * 512, 4, "blocks", false },
		{ 0x178, 0x80000000, 4, "blocks", false },
		{ 0x17c, 100, 4, "blocks", false },
		{ 0x154, 100, 4, "whole sectors", false },
		{ 0x158, 100, 4, "whole sectors", false },
		{ 0x154, 0xfffffe00, 4, "ends before", false },
		{ 0x180, 3, 4, "hold less", false },
		{ 0x180, 0xffffffff, 4, "ends before", false },
		{ 0x170, UINT64_MAX, 8, "hold less", false },
		{ 0x4c, 2, 4, NULL, false },
		{ 0x170, 0, 8, NULL, false },
	};

	fake_image_refuse(loop, vdi_open, build, NULL, patches, ARRAY_SIZE(patches));
}
END_TEST

START_TEST(truncated)
{
	static const size_t sizes[] = { 0, 512, 1024 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct fake_image *im = build(loop);
		struct err err = ERR_INIT;

		im->bd.size = sizes[i];
		if (sizes[i] == 1024) {
			struct blockdev *short_bd = vdi_open(&im->bd, NULL, &err);
			uint8_t buf[512];

			ck_assert_int_eq(blockdev_do(short_bd, BLK_READ, 0, 0, buf, 512), -EIO);
			blockdev_close(short_bd);
			continue;
		}
		ck_assert_ptr_null(vdi_open(&im->bd, NULL, &err));
		ck_assert_ptr_nonnull(strstr(err.msg, "image"));
		fake_image_close(im);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { contents, status, many, tables_are_kept, large_table, errors, bad_blocks, refused, truncated };

	return suite_run("vdi", tests, ARRAY_SIZE(tests), setup, teardown);
}
