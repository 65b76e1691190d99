/* SPDX-License-Identifier: MIT */
#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/fake_import.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define BLOCK 2048u
#define TABLE 1536u
#define SIZE 8192u
#define FIRST (4 * 512u)  /* a block with its bitmap */
#define SECOND (9 * 512u)
#define FILE_SIZE (SECOND + 512 + BLOCK + 512)

static struct eventloop *loop;

static void sum(uint8_t *p, size_t len, size_t at)
{
	uint32_t total = 0;

	memset(p + at, 0, 4);
	for (size_t i = 0; i < len; i++)
		total += p[i];
	fake_be(p + at, ~total, 4);
}

static void fix(struct fake_image *image)
{
	if (!memcmp(image->data, "conectix", 8))
		sum(image->data, 512, 64);
	sum(image->data + 512, 1024, 36);
}

static void footer(uint8_t *p, unsigned type, const char *creator)
{
	memcpy(p, "conectix", 8);
	fake_be(p + 16, type == 2 ? UINT64_MAX : 512, 8);
	memcpy(p + 28, creator, 4);
	fake_be(p + 40, SIZE, 8);
	fake_be(p + 48, SIZE, 8);
	fake_be(p + 56, 2, 2);
	p[58] = 2;
	p[59] = 3; /* 12 sectors */
	fake_be(p + 60, type, 4);
	sum(p, 512, 64);
}

static struct fake_image *build(struct eventloop *l)
{
	struct fake_image *im = fake_image_create(l, "image", FILE_SIZE);
	uint8_t *h = im->data + 512;

	footer(im->data, 3, "win ");
	memcpy(h, "cxsparse", 8);
	fake_be(h + 8, UINT64_MAX, 8);
	fake_be(h + 16, TABLE, 8);
	fake_be(h + 28, 4, 4);
	fake_be(h + 32, BLOCK, 4);
	sum(h, 1024, 36);
	memset(im->data + TABLE, 0xff, 512);
	fake_be(im->data + TABLE, FIRST / 512, 4);
	fake_be(im->data + TABLE + 8, SECOND / 512, 4);
	fake_image_mark(im, FIRST + 512, BLOCK, 0x11);
	fake_image_mark(im, SECOND + 512, BLOCK, 0x11);
	footer(im->data + FILE_SIZE - 512, 3, "win ");
	return im;
}

static struct fake_image *build_fixed(struct eventloop *l)
{
	struct fake_image *im = fake_image_create(l, "image", SIZE + 512);

	fake_image_mark(im, 0, SIZE, 0x22);
	footer(im->data + SIZE, 2, "win ");
	return im;
}

static void setup(void)
{
	loop = fake_loop();
	log_set_level(LOG_LEVEL_ERROR);
}

static void teardown(void)
{
	eventloop_destroy(loop);
}

static struct blockdev *must_open(struct fake_image *image)
{
	struct err err = ERR_INIT;
	struct blockdev *bd = vpc_open(&image->bd, NULL, &err);

	ck_assert_msg(bd != NULL, "%s", err.msg);
	return bd;
}

START_TEST(dynamic)
{
	struct blockdev *bd = must_open(build(loop));

	ck_assert_uint_eq(bd->size, SIZE);
	ck_assert_uint_eq(import_cluster_size(bd), BLOCK);
	fake_image_expect(bd, 0, BLOCK, FIRST + 512, 0x11);
	fake_image_expect_zero(bd, BLOCK, BLOCK);
	fake_image_expect(bd, 2 * BLOCK + 512, 1024, SECOND + 1024, 0x11);
	fake_image_expect_zero(bd, 3 * BLOCK, BLOCK);
	fake_image_expect_status(bd, 512, SIZE - 512, BLOCK - 512, BLK_ST_ALLOCATED | BLK_ST_DATA | BLK_ST_OFFSET);
	fake_image_expect_status(bd, BLOCK, SIZE - BLOCK, BLOCK, BLK_ST_ALLOCATED | BLK_ST_ZERO);
	blockdev_close(bd);
}
END_TEST

START_TEST(fixed)
{
	struct blockdev *bd = must_open(build_fixed(loop));

	ck_assert_uint_eq(bd->size, SIZE);
	ck_assert(import_is_flat(bd, 0));
	fake_image_expect(bd, 0, SIZE, 0, 0x22);
	blockdev_close(bd);
}
END_TEST

/* Who made it decides between the size field and the geometry. */
START_TEST(sizes)
{
	static const struct {
		const char *creator;
		uint64_t size;
	} makers[] = { { "win ", SIZE }, { "qem2", SIZE }, { "d2v ", SIZE }, { "CTXS", SIZE }, { "tap\0", SIZE },
		       { "vpc ", 12 * 512 }, { "qemu", 12 * 512 }, { "what", 12 * 512 } };

	for (size_t i = 0; i < ARRAY_SIZE(makers); i++) {
		struct fake_image *image = build_fixed(loop);
		struct blockdev *bd;

		footer(image->data + SIZE, 2, makers[i].creator);
		bd = must_open(image);
		ck_assert_uint_eq(bd->size, makers[i].size);
		blockdev_close(bd);
	}
}
END_TEST

/* The largest geometry stands for all that are larger. */
START_TEST(largest_geometry)
{
	struct fake_image *image = build_fixed(loop);
	uint8_t *f = image->data + SIZE;
	struct blockdev *bd;

	footer(f, 2, "vpc ");
	fake_be(f + 56, 65535, 2);
	f[58] = 16;
	f[59] = 255;
	bd = must_open(image);
	ck_assert_uint_eq(bd->size, SIZE);
	blockdev_close(bd);
}
END_TEST

START_TEST(bad_blocks)
{
	static const uint32_t places[] = { FILE_SIZE / 512, 0x10000, 0xfffffffe };
	uint8_t buf[512];

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct fake_image *image = build(loop);
		struct blockdev *bd;

		fake_be(image->data + TABLE, places[i], 4);
		bd = must_open(image);
		ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, 0, buf, 512), -EIO);
		fake_image_expect_zero(bd, BLOCK, BLOCK);
		blockdev_close(bd);
	}
}
END_TEST

START_TEST(refused)
{
	static const struct fake_patch patches[] = {
		{ 0, 0, 4, "not a VHD", true },
		{ 60, 4, 4, "differencing", true },
		{ 60, 5, 4, "type 5", true },
		{ 48, UINT64_MAX, 8, "2040 GiB", true },
		{ 16, FILE_SIZE, 8, "cannot read", true },
		{ 16, UINT64_MAX, 8, "cannot read", true },
		{ 512, 0, 4, "something else", true },
		{ 512 + 32, 0, 4, "blocks of 0", true },
		{ 512 + 32, 1000, 4, "blocks of 1000", true },
		{ 512 + 32, 0x80000000, 4, "blocks", true },
		{ 512 + 28, 3, 4, "hold less", true },
		{ 512 + 28, 0xffffffff, 4, "ends before", true },
		{ 512 + 16, UINT64_MAX, 8, "ends before", true },
		{ 100, 1, 1, NULL, true },
	};
	static const struct fake_patch fixed_patches[] = { { SIZE + 48, SIZE + 512, 8, "the file has", true }, { SIZE, 0, 1, "not a VHD", true } };

	fake_image_refuse(loop, vpc_open, build, fix, patches, ARRAY_SIZE(patches));
	fake_image_refuse(loop, vpc_open, build_fixed, NULL, fixed_patches, ARRAY_SIZE(fixed_patches));
	for (size_t size = 0; size <= 512; size += 512) {
		struct fake_image *image = build(loop);
		struct err err = ERR_INIT;

		image->bd.size = size;
		ck_assert_ptr_null(vpc_open(&image->bd, NULL, &err));
		fake_image_close(image);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { dynamic, fixed, sizes, largest_geometry, bad_blocks, refused };

	return suite_run("vpc", tests, ARRAY_SIZE(tests), setup, teardown);
}
