/* SPDX-License-Identifier: MIT */
#include "tests/unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/fake_import.h"
#include "vmm/endian.h"
#include "vmm/eventloop.h"
#include "vmm/util.h"

#define GRAIN 4096u
#define SECTORS 64u
#define FIRST (16 * 512u) /* grains in the file */
#define SECOND (32 * 512u)
#define FILE_SIZE (SECOND + GRAIN)

static struct eventloop *loop;
static unsigned n_asked;

static const char *const descriptor = "# Disk DescriptorFile\nversion=1\nCID=0123abcd\nparentCID=ffffffff\n"
				      "createType=\"monolithicSparse\"\n\nRW 64 SPARSE \"x.vmdk\"\n";

static void header(uint8_t *h, unsigned flags, uint64_t gd)
{
	memcpy(h, "KDMV", 4);
	store_le32(h + 4, 1);
	store_le32(h + 8, flags);
	store_le64(h + 12, SECTORS);
	store_le64(h + 20, GRAIN / 512);
	store_le32(h + 44, 512);
	store_le64(h + 56, gd);
}

/* Grains: the second, none, zeroes, the first. Sectors: 1 descriptor, 3 directory, 4 table. */
static struct fake_image *build(struct eventloop *l)
{
	static const uint32_t grains[4] = { SECOND / 512, 0, 1, FIRST / 512 };
	struct fake_image *im = fake_image_create(l, "image", FILE_SIZE);

	header(im->data, 1 | 4, 3);
	store_le64(im->data + 28, 1);
	store_le64(im->data + 36, 1);
	strcpy((char *)im->data + 512, descriptor);
	store_le32(im->data + 3 * 512, 4);
	for (int i = 0; i < 4; i++)
		store_le32(im->data + 4 * 512 + 4 * i, grains[i]);
	fake_image_mark(im, FIRST, GRAIN, 0x44);
	fake_image_mark(im, SECOND, GRAIN, 0x44);
	return im;
}

/* A packed grain at FIRST; header, directory and tables as above, the directory known only to the footer. */
static struct fake_image *build_stream(struct eventloop *l)
{
	static const unsigned flags = 1 | 1u << 16 | 1u << 17;
	struct fake_image *im = fake_image_create(l, "image", FILE_SIZE + 3 * 512), *plain = fake_image_create(l, "plain", GRAIN);
	uint8_t *end = im->data + FILE_SIZE;
	uLongf n = 2 * GRAIN;

	fake_image_mark(plain, 0, GRAIN, 0x55);
	header(im->data, flags, UINT64_MAX);
	store_le16(im->data + 77, 1);
	store_le32(im->data + 3 * 512, 4);
	store_le32(im->data + 4 * 512 + 4, FIRST / 512);
	ck_assert_int_eq(compress(im->data + FIRST + 12, &n, plain->data, GRAIN), Z_OK);
	store_le32(im->data + FIRST + 8, (uint32_t)n);
	fake_image_close(plain);
	store_le32(end + 12, 3);
	header(end + 512, flags, 3);
	store_le16(end + 512 + 77, 1);
	return im;
}

static struct fake_image *build_text(const char *lines)
{
	struct fake_image *im = fake_image_create(loop, "image", 4096);

	snprintf((char *)im->data, 4096, "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"custom\"\n%s", lines);
	return im;
}

static int child_open(void *opaque, const char *name, struct blockdev **child, struct err *err)
{
	struct fake_image *im;

	(void)opaque;
	n_asked++;
	if (!strcmp(name, "none"))
		return err_set(err, -ENOENT, "none: no such file");
	if (!strcmp(name, "sparse")) {
		*child = &build(loop)->bd;
		return 0;
	}
	im = fake_image_create(loop, name, 16 * 512);
	fake_image_mark(im, 0, 16 * 512, 0x66);
	*child = &im->bd;
	return 0;
}

static const struct import_config trusted = { .trusted = true, .open_child = child_open }, probed = { .open_child = child_open };

static void setup(void)
{
	loop = fake_loop();
}

static void teardown(void)
{
	eventloop_destroy(loop);
}

static struct blockdev *must_open(struct fake_image *image, const struct import_config *cfg)
{
	struct err err = ERR_INIT;
	struct blockdev *bd = vmdk_open(&image->bd, cfg, &err);

	ck_assert_msg(bd != NULL, "%s", err.msg);
	return bd;
}

static void must_refuse(struct fake_image *image, const struct import_config *cfg, const char *says)
{
	struct err err = ERR_INIT;

	ck_assert_ptr_null(vmdk_open(&image->bd, cfg, &err));
	ck_assert_msg(strstr(err.msg, says) != NULL, "%s", err.msg);
	fake_image_close(image);
}

START_TEST(sparse)
{
	struct blockdev *bd = must_open(build(loop), &probed);
	struct vmdk_extent_info x;
	struct vmdk_info info;

	ck_assert_uint_eq(bd->size, SECTORS * 512);
	fake_image_expect(bd, 0, GRAIN, SECOND, 0x44);
	fake_image_expect_zero(bd, GRAIN, 2 * GRAIN);
	fake_image_expect(bd, 3 * GRAIN + 512, GRAIN - 512, FIRST + 512, 0x44);
	fake_image_expect_zero(bd, 4 * GRAIN, 4 * GRAIN);
	fake_image_expect_status(bd, 0, bd->size, GRAIN, BLK_ST_ALLOCATED | BLK_ST_DATA | BLK_ST_OFFSET);
	fake_image_expect_status(bd, GRAIN, bd->size - GRAIN, GRAIN, 0);
	fake_image_expect_status(bd, 2 * GRAIN, bd->size - 2 * GRAIN, GRAIN, BLK_ST_ALLOCATED | BLK_ST_ZERO);
	fake_image_expect_status(bd, 4 * GRAIN, 4 * GRAIN, 4 * GRAIN, 0);
	ck_assert(vmdk_info(bd, &info));
	ck_assert_uint_eq(info.cid, 0x0123abcd);
	ck_assert_str_eq(info.create_type, "monolithicSparse");
	vmdk_extent_info(bd, 0, &x);
	ck_assert_uint_eq(x.cluster_size, GRAIN);
	ck_assert_uint_eq(n_asked, 0);
	blockdev_close(bd);
}
END_TEST

/* The second directory, where the header says to use it; and no zero grains where it does not say so. */
START_TEST(flags)
{
	struct fake_image *image = build(loop);
	struct blockdev *bd;
	uint8_t buf[512];

	store_le32(image->data + 8, 1 | 2);
	store_le64(image->data + 48, 3);
	store_le64(image->data + 56, 15);
	bd = must_open(image, &probed);
	fake_image_expect(bd, 0, GRAIN, SECOND, 0x44);
	ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, 2 * GRAIN, buf, 512), 0); /* a grain at sector 1 then */
	ck_assert_int_eq(memcmp(buf, descriptor, strlen(descriptor)), 0);
	blockdev_close(bd);
}
END_TEST

START_TEST(stream)
{
	struct blockdev *bd = must_open(build_stream(loop), &probed);

	fake_image_expect_zero(bd, 0, GRAIN);
	fake_image_expect(bd, GRAIN, GRAIN, 0, 0x55);
	fake_image_expect(bd, GRAIN + 1024, 512, 1024, 0x55);
	fake_image_expect_zero(bd, 2 * GRAIN, GRAIN);
	fake_image_expect_status(bd, GRAIN, GRAIN, GRAIN, BLK_ST_ALLOCATED | BLK_ST_DATA | BLK_ST_COMPRESSED);
	blockdev_close(bd);
}
END_TEST

START_TEST(stream_broken)
{
	static const struct fake_patch patches[] = {
		{ FILE_SIZE + 12, 2, 4, "without its footer", false },
		{ FILE_SIZE + 512, 0, 4, "without its footer", false },
		{ FILE_SIZE + 512 + 56, UINT64_MAX, 8, "without its footer", false },
		{ FILE_SIZE + 512 + 77, 2, 2, "compression", false },
		{ FILE_SIZE + 512 + 20, 1u << 21, 8, "compression", false },
	};
	static const struct fake_patch at_reading[] = {
		{ FIRST + 8, 0, 4, NULL, false },
		{ FIRST + 8, UINT32_MAX, 4, NULL, false },
		{ FIRST + 8, 3, 4, NULL, false },
		{ FIRST + 12, 0xffff, 2, NULL, false },
		{ 4 * 512 + 4, UINT32_MAX, 4, NULL, false },
	};
	uint8_t buf[512];

	fake_image_refuse(loop, vmdk_open, build_stream, NULL, patches, ARRAY_SIZE(patches));
	for (size_t i = 0; i < ARRAY_SIZE(at_reading); i++) {
		struct fake_image *image = build_stream(loop);
		struct blockdev *bd;

		store_le(image->data + at_reading[i].off, at_reading[i].value, at_reading[i].size);
		bd = must_open(image, &probed);
		ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, GRAIN, buf, 512), -EIO);
		fake_image_expect_zero(bd, 0, GRAIN);
		blockdev_close(bd);
	}
}
END_TEST

START_TEST(extents)
{
	struct blockdev *bd = must_open(build_text("RW 8 FLAT \"a\" 4\nRW 16 ZERO\n# a comment\nRDONLY 64 SPARSE \"sparse\"\n"
						   "RW 4 VMFS \"b\" 0\n"), &trusted);
	uint64_t at = 8 * 512;

	ck_assert_uint_eq(bd->size, (8 + 16 + 64 + 4) * 512);
	fake_image_expect(bd, 0, 8 * 512, 4 * 512, 0x66);
	fake_image_expect_zero(bd, at, 16 * 512);
	at += 16 * 512;
	fake_image_expect(bd, at, GRAIN, SECOND, 0x44);
	fake_image_expect(bd, at + 3 * GRAIN, GRAIN, FIRST, 0x44);
	at += 64 * 512;
	fake_image_expect(bd, at, 4 * 512, 0, 0x66);
	ck_assert(import_is_flat(bd, 0) && import_is_flat(bd, at) && !import_is_flat(bd, at - 512));
	blockdev_close(bd);
}
END_TEST

/* What a guest may have written on a raw disk opens no file. */
START_TEST(probed_opens_nothing)
{
	static const char *const lines[] = { "RW 8 FLAT \"a\" 0\n", "RW 64 SPARSE \"sparse\"\n", "RW 8 ZERO\nRW 8 VMFS \"a\" 0\n" };

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		must_refuse(build_text(lines[i]), &probed, "-f vmdk");
	ck_assert_uint_eq(n_asked, 0);
}
END_TEST

START_TEST(extents_refused)
{
	static const struct {
		const char *lines, *says;
	} bad[] = {
		{ "", "without extents" },
		{ "RW 0 ZERO\n", "0 sectors" },
		{ "RW 99999999999999999 ZERO\n", "cannot be" },
		{ "RW 8 FLAT\n", "without a file" },
		{ "RW 8 FLAT \"none\" 0\n", "no such file" },
		{ "RW 8 FLAT \"a\" 9\n", "shorter" },
		{ "RW 8 FLAT \"a\" 18446744073709551615\n", "shorter" },
		{ "RW 17 FLAT \"a\" 0\n", "shorter" },
		{ "RW 8 SPARSE \"a\"\n", "KDMV" },
		{ "RW 65 SPARSE \"sparse\"\n", "holds" },
		{ "RW 8 SESPARSE \"a\"\n", "SESPARSE" },
		{ "RW 8 ZERO\nparentFileNameHint=\"base\"\n", "parent" },
		{ "RW 8 ZERO\nparentCID=12345678\n", "parent" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		must_refuse(build_text(bad[i].lines), &trusted, bad[i].says);
}
END_TEST

START_TEST(too_many_extents)
{
	struct fake_image *im = fake_image_create(loop, "image", 1 << 17);
	char *p = (char *)im->data;

	p += sprintf(p, "version=1\ncreateType=\"custom\"\n");
	for (int i = 0; i < 5000; i++)
		p += sprintf(p, "RW 8 ZERO\n");
	must_refuse(im, &trusted, "more than");
}
END_TEST

START_TEST(refused)
{
	static const struct fake_patch patches[] = {
		{ 0, 0x44574f43, 4, "COWD", false },
		{ 0, 0, 4, "createType", false },
		{ 4, 9, 4, "version 9", false },
		{ 12, UINT64_MAX, 8, "sectors", false },
		{ 20, 0, 8, "grains", false },
		{ 20, 7, 8, "grains", false },
		{ 20, UINT64_C(1) << 40, 8, "grains", false },
		{ 44, 0, 4, "grain tables", false },
		{ 44, 513, 4, "grain tables", false },
		{ 56, 1 << 20, 8, "outside", false },
		{ 56, UINT64_C(1) << 60, 8, "outside", false },
		{ 28, 1 << 20, 8, "outside", false },
		{ 28, UINT64_MAX, 8, "outside", false },
		{ 512, 0, 8, "createType", false },
		{ 12, 100, 8, NULL, false },
	};

	fake_image_refuse(loop, vmdk_open, build, NULL, patches, ARRAY_SIZE(patches));
}
END_TEST

/* Tables and grains outside of the file. */
START_TEST(bad_places)
{
	static const struct fake_patch patches[] = {
		{ 3 * 512, 0xffffff, 4, NULL, false }, { 4 * 512, FILE_SIZE / 512, 4, NULL, false }, { 4 * 512, UINT32_MAX, 4, NULL, false },
	};
	uint8_t buf[512];

	for (size_t i = 0; i < ARRAY_SIZE(patches); i++) {
		struct fake_image *image = build(loop);
		struct blockdev *bd;

		store_le(image->data + patches[i].off, patches[i].value, patches[i].size);
		bd = must_open(image, &probed);
		ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, 0, buf, 512), -EIO);
		blockdev_close(bd);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { sparse, flags, stream, stream_broken, extents, probed_opens_nothing, extents_refused, too_many_extents,
				       refused, bad_places };

	return suite_run("vmdk", tests, ARRAY_SIZE(tests), setup, teardown);
}
