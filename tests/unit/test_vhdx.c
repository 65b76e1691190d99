/* SPDX-License-Identifier: MIT */
#include "tests/unit/suite.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/fake_import.h"
#include "vmm/endian.h"
#include "vmm/eventloop.h"
#include "vmm/util.h"

#define HEADER(n) (0x10000u * (1 + (n)))
#define REGIONS(n) (0x10000u * (3 + (n)))
#define META 0x60000u
#define ITEMS (META + 0x1000)
#define BAT 0x80000u
#define BLOCK MIB
#define N_BLOCKS 5
#define FILE_SIZE (4 * MIB)

static struct eventloop *loop;

static const uint8_t guid_bat[16] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
static const uint8_t guid_meta[16] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };
static const uint8_t guid_items[3][16] = {
	{ 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b },
	{ 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8 },
	{ 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f },
};

static void seal(uint8_t *p, size_t len)
{
	uint32_t crc = UINT32_MAX;

	store_le32(p + 4, 0);
	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	store_le32(p + 4, ~crc);
}

/* All checksums but the older header's. */
static void fix(struct fake_image *image)
{
	seal(image->data + HEADER(1), 4096);
	seal(image->data + REGIONS(0), 65536);
}

static struct fake_image *build(struct eventloop *l)
{
	static const uint64_t bat[N_BLOCKS] = { 6 | 2 * MIB, 0, 2, 3, 6 | 1 * MIB };
	static const uint32_t item_len[3] = { 8, 8, 4 };
	struct fake_image *im = fake_image_create(l, "image", FILE_SIZE);
	uint8_t *d = im->data;

	memcpy(d, "vhdxfile", 8);
	for (int i = 0; i < 2; i++) {
		memcpy(d + HEADER(i), "head", 4);
		store_le64(d + HEADER(i) + 8, 5 + (unsigned)i);
		store_le16(d + HEADER(i) + 66, 1);
		d[HEADER(i) + 48] = (uint8_t)(i == 0); /* the older one had a log */
		seal(d + HEADER(i), 4096);
	}
	memcpy(d + REGIONS(0), "regi", 4);
	store_le32(d + REGIONS(0) + 8, 2);
	memcpy(d + REGIONS(0) + 16, guid_bat, 16);
	store_le64(d + REGIONS(0) + 32, BAT);
	store_le32(d + REGIONS(0) + 40, 0x10000);
	memcpy(d + REGIONS(0) + 48, guid_meta, 16);
	store_le64(d + REGIONS(0) + 64, META);
	store_le32(d + REGIONS(0) + 72, 0x10000);
	memcpy(d + META, "metadata", 8);
	store_le16(d + META + 10, 3);
	for (unsigned i = 0; i < 3; i++) {
		uint8_t *e = d + META + 32 * (i + 1);

		memcpy(e, guid_items[i], 16);
		store_le32(e + 16, 0x1000 + 8 * i);
		store_le32(e + 20, item_len[i]);
		store_le32(e + 24, 4);
	}
	store_le32(d + ITEMS, BLOCK);
	store_le64(d + ITEMS + 8, N_BLOCKS * BLOCK);
	store_le32(d + ITEMS + 16, 512);
	for (int i = 0; i < N_BLOCKS; i++)
		store_le64(d + BAT + 8 * i, bat[i]);
	fake_image_mark(im, 1 * MIB, MIB, 0x33);
	fake_image_mark(im, 2 * MIB, MIB, 0x33);
	fix(im);
	return im;
}

static void setup(void)
{
	loop = fake_loop();
}

static void teardown(void)
{
	eventloop_destroy(loop);
}

static struct blockdev *must_open(struct fake_image *image)
{
	struct err err = ERR_INIT;
	struct blockdev *bd = vhdx_open(&image->bd, NULL, &err);

	ck_assert_msg(bd != NULL, "%s", err.msg);
	return bd;
}

START_TEST(contents)
{
	struct blockdev *bd = must_open(build(loop));

	ck_assert_uint_eq(bd->size, N_BLOCKS * BLOCK);
	ck_assert_uint_eq(import_cluster_size(bd), BLOCK);
	fake_image_expect(bd, 0, BLOCK, 2 * MIB, 0x33);
	fake_image_expect_zero(bd, BLOCK, 3 * BLOCK);
	fake_image_expect(bd, 4 * BLOCK + 512, BLOCK - 512, MIB + 512, 0x33);
	fake_image_expect_status(bd, BLOCK, 4 * BLOCK, 3 * BLOCK, BLK_ST_ALLOCATED | BLK_ST_ZERO);
	fake_image_expect_status(bd, 512, BLOCK, BLOCK - 512, BLK_ST_ALLOCATED | BLK_ST_DATA | BLK_ST_OFFSET);
	blockdev_close(bd);
}
END_TEST

/* After each so many blocks a bitmap's entry is in the table: here after 4,096. */
START_TEST(chunks)
{
	struct fake_image *image = build(loop);
	struct blockdev *bd;

	store_le64(image->data + ITEMS + 8, 5000 * BLOCK);
	store_le64(image->data + BAT + 8 * 4096, 6 | 1 * MIB); /* the bitmap's: not a block */
	store_le64(image->data + BAT + 8 * 4097, 6 | 2 * MIB);
	bd = must_open(image);
	fake_image_expect(bd, 4096 * BLOCK, BLOCK, 2 * MIB, 0x33);
	fake_image_expect_zero(bd, 4097 * BLOCK, BLOCK);
	blockdev_close(bd);
}
END_TEST

/* Large sectors halve nothing but the chunks' number. */
START_TEST(large_sectors)
{
	struct fake_image *image = build(loop);
	struct blockdev *bd;

	store_le32(image->data + ITEMS + 16, 4096);
	bd = must_open(image);
	fake_image_expect(bd, 0, BLOCK, 2 * MIB, 0x33);
	blockdev_close(bd);
}
END_TEST

START_TEST(second_copies)
{
	struct fake_image *image = build(loop);
	struct blockdev *bd;

	/* The newer header torn, the older without a log; the first region table torn. */
	image->data[HEADER(1) + 100] ^= 1;
	image->data[HEADER(0) + 48] = 0;
	seal(image->data + HEADER(0), 4096);
	memcpy(image->data + REGIONS(1), image->data + REGIONS(0), 65536);
	image->data[REGIONS(0) + 100] ^= 1;
	bd = must_open(image);
	fake_image_expect(bd, 0, BLOCK, 2 * MIB, 0x33);
	blockdev_close(bd);
}
END_TEST

/* The newer header counts, wherever it is. */
START_TEST(newer_header)
{
	struct fake_image *image = build(loop);
	uint8_t *h = image->data;

	h[HEADER(0) + 48] = 0;
	store_le64(h + HEADER(0) + 8, 9);
	seal(h + HEADER(0), 4096);
	h[HEADER(1) + 48] = 1;
	seal(h + HEADER(1), 4096);
	blockdev_close(must_open(image));
}
END_TEST

START_TEST(bad_blocks)
{
	static const uint64_t entries[] = { 6, 6 | 4 * MIB, 6 | UINT64_C(0xfffffffffff00000), 7 | 2 * MIB, 4, 5 };
	uint8_t buf[512];

	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		struct fake_image *image = build(loop);
		struct blockdev *bd;

		store_le64(image->data + BAT, entries[i]);
		bd = must_open(image);
		ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, 0, buf, 512), -EIO);
		fake_image_expect(bd, 4 * BLOCK, BLOCK, MIB, 0x33);
		blockdev_close(bd);
	}
}
END_TEST

START_TEST(refused)
{
	static const struct fake_patch patches[] = {
		{ 0, 0, 8, "not a VHDX", false },
		{ HEADER(1) + 66, 2, 2, "version 2", false },
		{ HEADER(1) + 48, 1, 1, "log holds changes", false },
		{ REGIONS(0) + 8, 3000, 4, "region tables", false },
		{ REGIONS(0) + 8, 1, 4, "missing", false },
		{ REGIONS(0) + 32, FILE_SIZE, 8, "outside", false },
		{ REGIONS(0) + 32, UINT64_MAX, 8, "outside", false },
		{ REGIONS(0) + 72, 512, 4, "missing", false },
		{ META, 0, 8, "something else", false },
		{ META + 10, 3000, 2, "3000 items", false },
		{ META + 10, 2, 2, "lacks", false },
		{ META + 32 + 16, 0x10000, 4, "outside its region", false },
		{ META + 32 + 16, UINT32_MAX, 4, "outside its region", false },
		{ META + 32 + 20, 4, 4, "outside its region", false },
		{ META + 32, 0, 8, "not known", false },
		{ ITEMS, 512, 4, "blocks of 512", false },
		{ ITEMS, 3 * MIB, 4, "blocks", false },
		{ ITEMS, 512 * MIB, 4, "blocks", false },
		{ ITEMS + 4, 2, 4, "differencing", false },
		{ ITEMS + 8, UINT64_MAX, 8, "cannot be", false },
		{ ITEMS + 8, 511, 8, "cannot be", false },
		{ ITEMS + 8, 9000 * BLOCK, 8, "too short", false },
		{ ITEMS + 16, 1024, 4, "sectors of 1024", false },
		{ ITEMS + 8, 0, 8, NULL, false },
	};

	fake_image_refuse(loop, vhdx_open, build, fix, patches, ARRAY_SIZE(patches));
}
END_TEST

START_TEST(torn)
{
	static const uint64_t where[] = { HEADER(1) + 8, REGIONS(0) + 20 };

	for (size_t i = 0; i < ARRAY_SIZE(where); i++) {
		struct fake_image *image = build(loop);
		struct err err = ERR_INIT;

		/* The other header has a log, the other table is empty. */
		image->data[where[i]] ^= 1;
		ck_assert_ptr_null(vhdx_open(&image->bd, NULL, &err));
		fake_image_close(image);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { contents, chunks, large_sectors, second_copies, newer_header, bad_blocks, refused, torn };

	return suite_run("vhdx", tests, ARRAY_SIZE(tests), setup, teardown);
}
