/* SPDX-License-Identifier: MIT */
/* What the specification asks of a program that writes to images with features that it does not use itself, and bits that it keeps. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blk/qcow2.h"
#include "tests/unit/fake_file.h"
#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define CLUSTER 4096u
#define SIZE (1u << 20)
#define CAP (16u << 20)
#define EXT_UNKNOWN 0x6b697465u
#define EXT_BITMAPS 0x23852875u

static struct eventloop *loop;
static struct fake_file *file, *data, *base;
static struct blockdev *bd;
static struct qcow2_open_config cfg;
static uint8_t *buf, *disk;

static int open_child(void *opaque, enum qcow2_child which, const char *name, const char *format, struct blockdev **child, struct err *err)
{
	(void)opaque, (void)name, (void)format, (void)err;
	*child = which == QCOW2_BACKING ? &base->bd : &data->bd;
	return 0;
}

static void setup(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	loop = fake_loop();
	file = fake_file_create(loop, CAP);
	data = fake_file_create(loop, CAP);
	base = fake_file_create(loop, CAP);
	file->keep = data->keep = base->keep = true;
	base->bd.size = SIZE;
	memset(base->data, 0xba, SIZE);
	cfg = (struct qcow2_open_config){ .open_child = open_child };
	ck_assert_int_eq(posix_memalign((void **)&buf, 4096, CAP), 0);
	disk = calloc(1, CAP);
	bd = NULL;
}

static void teardown(void)
{
	blockdev_close(bd);
	fake_file_free(file);
	fake_file_free(data);
	fake_file_free(base);
	eventloop_destroy(loop);
	free(buf);
	free(disk);
}

static void create(struct qcow2_create_config c)
{
	struct err err = ERR_INIT;

	c.size = c.size ? c.size : SIZE;
	c.cluster_size = c.cluster_size ? c.cluster_size : CLUSTER;
	c.data = c.data_file ? &data->bd : NULL;
	ck_assert_msg(qcow2_create(&file->bd, &c, &err) == 0, "%s", err.msg);
}

static void reopen(void)
{
	struct err err = ERR_INIT;

	blockdev_close(bd);
	bd = qcow2_open(&file->bd, &cfg, &err);
	ck_assert_msg(bd != NULL, "%s", err.msg);
}

static void shut(void)
{
	blockdev_close(bd);
	bd = NULL;
}

static int put(uint64_t off, int byte, uint64_t len)
{
	int rc;

	memset(buf, byte, len);
	rc = blockdev_do(bd, BLK_WRITE, 0, off, buf, len);
	if (rc == 0)
		memset(disk + off, byte, len);
	return rc;
}

static void same(void)
{
	ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, 0, buf, bd->size), 0);
	for (uint64_t i = 0; i < bd->size; i++)
		if (buf[i] != disk[i])
			ck_abort_msg("byte 0x%llx is 0x%x, not 0x%x", (unsigned long long)i, buf[i], disk[i]);
}

static void say(void *opaque, const char *line)
{
	snprintf(opaque, 256, "%s", line);
}

static void sound(bool tidy)
{
	struct qcow2_check_result res;
	struct err err = ERR_INIT;
	char text[256] = "";

	ck_assert_msg(qcow2_check(bd, 0, say, text, &res, &err) == 0, "%s", err.msg);
	ck_assert_msg(res.corruptions + res.check_errors == 0 && (!tidy || !res.leaks), "%s", text);
}

static uint64_t field(unsigned at, unsigned len)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < len; i++)
		v = v << 8 | file->data[at + i];
	return v;
}

static void field_set(uint64_t at, uint64_t value, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		file->data[at + i] = file->durable[at + i] = (uint8_t)(value >> (8 * (len - 1 - i)));
}

/* Where the data of an extension is; 0: it is not there. */
static unsigned ext_find(uint32_t type)
{
	for (unsigned at = (unsigned)field(100, 4); field(at, 4) != 0; at += 8 + (unsigned)align_up(field(at + 4, 4), 8))
		if (field(at, 4) == type)
			return at + 8;
	return 0;
}

static void ext_add(uint32_t type, const void *p, unsigned len)
{
	unsigned at = (unsigned)field(100, 4);

	while (field(at, 4) != 0)
		at += 8 + (unsigned)align_up(field(at + 4, 4), 8);
	field_set(at, type, 4);
	field_set(at + 4, len, 4);
	for (unsigned i = 0; i < len; i++)
		field_set(at + 8 + i, ((const uint8_t *)p)[i], 1);
}

/* Extensions, header fields and feature bits of tomorrow live through everything that writes to the header. */
START_TEST(test_unknown_is_kept)
{
	static const uint8_t mine[13] = "something new";
	struct err err = ERR_INIT;

	create((struct qcow2_create_config){ .lazy_refcounts = true, .backing_file = "base", .backing_format = "raw" });
	memmove(file->data + 120, file->data + 112, 3000); /* eight bytes more of header; the name is what is moved on */
	memcpy(file->durable, file->data, CLUSTER);
	field_set(100, 120, 4);
	field_set(112, UINT64_C(0x1122334455667788), 8);
	field_set(8, 0, 8); /* no backing file for now */
	memset(file->data + 1000, 0, CLUSTER - 1000);
	memcpy(file->durable, file->data, CLUSTER);
	ext_add(EXT_UNKNOWN, mine, sizeof(mine));
	field_set(80, field(80, 8) | BIT64(40), 8); /* compatible */
	field_set(88, BIT64(50), 8);                /* autoclear */
	cfg.read_only = true;
	reopen();
	shut();
	ck_assert_uint_eq(field(88, 8), BIT64(50)); /* not touched by a reader */
	cfg.read_only = false;
	reopen();
	ck_assert_uint_eq(field(88, 8), 0);
	ck_assert_int_eq(put(0, 1, 3 * CLUSTER), 0);
	ck_assert_msg(qcow2_snapshot_create(bd, "s", &err) == 0, "%s", err.msg);
	ck_assert_int_eq(blockdev_resize(bd, 2 * SIZE), 0);
	ck_assert_msg(qcow2_change_backing(bd, "another", "qcow2", &err) == 0, "%s", err.msg);
	ck_assert_msg(qcow2_change_backing(bd, "a name that is longer", NULL, &err) == 0, "%s", err.msg);
	ck_assert_msg(qcow2_change_backing(bd, NULL, NULL, &err) == 0, "%s", err.msg);
	reopen();
	ck_assert_int_eq(put(CLUSTER, 2, 512), 0);
	shut();
	ck_assert_uint_eq(field(100, 4), 120);
	ck_assert_uint_eq(field(112, 8), UINT64_C(0x1122334455667788));
	ck_assert_uint_eq(field(80, 8), BIT64(40) | 1);
	ck_assert_uint_ne(ext_find(EXT_UNKNOWN), 0);
	ck_assert_uint_eq(field(ext_find(EXT_UNKNOWN) - 4, 4), sizeof(mine));
	ck_assert_mem_eq(file->data + ext_find(EXT_UNKNOWN), mine, sizeof(mine));
	ck_assert_uint_ne(ext_find(0x6803f857), 0); /* the names of features */
	reopen();
	sound(true);
}
END_TEST

/* A directory of three bitmaps: one follows writes, one does not, one was never saved; in clusters with refcounts. */
#define DIR_OFF (8 * CLUSTER)

static void bitmaps_make(void)
{
	uint8_t ext[24] = { 0 };
	uint64_t at = DIR_OFF, table = DIR_OFF + CLUSTER;

	create((struct qcow2_create_config){ .version = 3 });
	file->bd.size = max_u64(file->bd.size, 16 * CLUSTER);
	for (unsigned i = 0; i < 3; i++, at += 32, table += CLUSTER) {
		field_set(at, table, 8);
		field_set(at + 8, 1, 4);
		field_set(at + 12, i == 0 ? 2 : i == 1 ? 0 : 1, 4);
		field_set(at + 16, 1, 1);
		field_set(at + 17, 16, 1);
		field_set(at + 18, 2, 2);
		field_set(at + 24, 0x6230 + i, 2);
	}
	for (unsigned i = 0; i < 8; i++) {
		ext[8 + i] = (uint8_t)((uint64_t)(3 * 32) >> (56 - 8 * i));
		ext[16 + i] = (uint8_t)((uint64_t)DIR_OFF >> (56 - 8 * i));
	}
	ext[3] = 3;
	ext_add(EXT_BITMAPS, ext, sizeof(ext));
	field_set(88, 1, 8);
	for (unsigned i = 8; i < 12; i++)
		field_set(2 * CLUSTER + i * 2, 1, 2);
	file->high = max_u64(file->high, 16 * CLUSTER);
	file->durable_size = max_u64(file->durable_size, 16 * CLUSTER);
}

static unsigned bitmap_flags(unsigned i)
{
	return (unsigned)field(DIR_OFF + i * 32 + 12, 4);
}

START_TEST(test_bitmaps)
{
	struct qcow2_bitmap_info *list;
	struct err err = ERR_INIT;

	bitmaps_make();
	cfg.read_only = true;
	reopen();
	sound(true);
	ck_assert_int_eq(qcow2_bitmaps(bd, &list, &err), 3);
	ck_assert_str_eq(list[1].name, "b1");
	ck_assert_uint_eq(list[0].granularity, 65536);
	ck_assert_uint_eq(list[0].flags, QCOW2_BITMAP_AUTO);
	qcow2_bitmaps_free(list, 3);
	shut();
	ck_assert_uint_eq(bitmap_flags(0), 2); /* nobody writes */
	cfg.read_only = false;
	reopen();
	ck_assert_uint_eq(bitmap_flags(0), 3); /* cannot follow, and says so */
	ck_assert_uint_eq(bitmap_flags(1), 0); /* need not */
	ck_assert_uint_eq(bitmap_flags(2), 1);
	ck_assert_int_eq(put(0, 1, 64 * CLUSTER), 0);
	sound(true);
	ck_assert_uint_eq(field(88, 8), 1);
	/* Another length, another disk: none of them fits any more. */
	ck_assert_int_eq(blockdev_resize(bd, 2 * SIZE), 0);
	ck_assert_uint_eq(bitmap_flags(1), 1);
	ck_assert_uint_eq(field(88, 8), 1);
	sound(true);
	shut();
	ck_assert_uint_ne(ext_find(EXT_BITMAPS), 0);
}
END_TEST

/* A directory that makes no sense is given up by the autoclear bit, before the image is written to. */
START_TEST(test_bitmaps_nonsense)
{
	bitmaps_make();
	if (_i == 0)
		field_set(DIR_OFF + 18, 5000, 2);
	else
		field_set(ext_find(EXT_BITMAPS) + 16, UINT64_C(1) << 50, 8);
	reopen();
	ck_assert_uint_eq(field(88, 8), 0);
	ck_assert_int_eq(put(0, 1, 512), 0);
}
END_TEST

static int snapshots_make(void)
{
	struct err err = ERR_INIT;
	char name[16];
	int n, rc;

	for (n = 0; n < 20; n++) {
		snprintf(name, sizeof(name), "s%d", n);
		rc = qcow2_snapshot_create(bd, name, &err);
		if (rc == -EOVERFLOW)
			return n;
		ck_assert_msg(rc == 0, "%s", err.msg);
	}
	return n;
}

/* The one that has no room is refused and changes nothing; what is there goes on. */
START_TEST(test_refcount_overflow)
{
	static const int fit[] = { 0, 2, 14, 20, 20, 20, 20 };
	struct err err = ERR_INIT;

	create((struct qcow2_create_config){ .refcount_bits = BIT(_i) });
	reopen();
	ck_assert_int_eq(put(0, 7, 20 * CLUSTER), 0);
	ck_assert_int_eq(put(40 * CLUSTER, 0x55, CLUSTER), 0);
	ck_assert_int_eq(blockdev_do(bd, BLK_WRITE, BLK_REQ_COMPRESSED, 60 * CLUSTER, memset(buf, 9, CLUSTER), CLUSTER), 0);
	memset(disk + 60 * CLUSTER, 9, CLUSTER);
	ck_assert_int_eq(blockdev_do(bd, BLK_FLUSH, 0, 0, NULL, 0), 0);
	ck_assert_int_eq(snapshots_make(), fit[_i]);
	sound(true);
	same();
	ck_assert_int_eq(put(CLUSTER, 8, 3 * CLUSTER), 0);
	if (fit[_i]) {
		ck_assert_int_eq(qcow2_snapshot_delete(bd, "s1", &err), 0);
		ck_assert_int_eq(qcow2_snapshot_create(bd, "again", &err), 0);
		sound(true);
	}
	reopen();
	same();
	sound(true);
}
END_TEST

/* The dirty bit is there from the first write on, until the image is closed; whoever opens it for writing mends it. */
START_TEST(test_lazy)
{
	struct fake_file *crashed, *keep;
	struct qcow2_info info;
	uint64_t seed = 4;

	create((struct qcow2_create_config){ .lazy_refcounts = true });
	reopen();
	ck_assert_uint_eq(field(72, 8) & 1, 0);
	ck_assert_int_eq(put(0, 1, 30 * CLUSTER), 0);
	ck_assert_int_eq(blockdev_do(bd, BLK_FLUSH, 0, 0, NULL, 0), 0);
	ck_assert_uint_eq(field(72, 8) & 1, 1);
	crashed = fake_file_crash(file, &seed);
	shut();
	ck_assert_uint_eq(field(72, 8) & 1, 0);
	keep = file;
	file = crashed;
	file->keep = true;
	cfg.read_only = true;
	reopen();
	same();
	ck_assert_int_eq(qcow2_info(bd, &info), 0);
	ck_assert(info.dirty);
	cfg.read_only = false;
	reopen();
	ck_assert_uint_eq(field(72, 8) & 1, 0);
	sound(true);
	same();
	shut();
	fake_file_free(crashed);
	file = keep;
}
END_TEST

START_TEST(test_corrupt)
{
	struct qcow2_check_result res;
	struct err err = ERR_INIT;

	create((struct qcow2_create_config){ .version = 3 });
	field_set(72, 2, 8);
	ck_assert_ptr_null(qcow2_open(&file->bd, &cfg, &err));
	cfg.read_only = true;
	reopen();
	cfg.read_only = false;
	cfg.repair = true;
	reopen();
	ck_assert_int_eq(qcow2_check(bd, QCOW2_FIX_ERRORS, NULL, NULL, &res, &err), 0);
	shut();
	ck_assert_uint_eq(field(72, 8), 0);
}
END_TEST

/* A device: all of it is there from the beginning, full of something else, and it never gets longer. */
START_TEST(test_device)
{
	enum blk_prealloc prealloc = _i % 2 ? BLK_PREALLOC_METADATA : BLK_PREALLOC_OFF;
	struct err err = ERR_INIT;
	uint64_t off;
	int rc = 0;

	file->bd.grows = false;
	file->bd.size = 2 * SIZE;
	memset(file->data, 0xee, CAP);
	create((struct qcow2_create_config){ .version = _i < 2 ? 2 : 3, .extended_l2 = _i >= 4, .cluster_size = _i >= 4 ? 16384 : 0, .prealloc = prealloc });
	reopen();
	same();
	sound(true);
	ck_assert_int_eq(put(SIZE / 2, 3, 5 * 512), 0);
	ck_assert_int_eq(put(SIZE / 4 + 512, 4, 3 * CLUSTER), 0);
	same();
	ck_assert_msg(qcow2_snapshot_create(bd, "one", &err) == 0, "%s", err.msg);
	ck_assert_int_eq(blockdev_do(bd, BLK_WRITE_ZEROES, BLK_REQ_UNMAP, 0, NULL, SIZE / 2), 0);
	memset(disk, 0, SIZE / 2);
	same();
	for (unsigned k = 0; k < 3 && rc == 0; k++) { /* until it is full */
		char name[4] = { 'f', (char)('0' + k) };

		for (off = 0; off < SIZE && rc == 0; off += 16 * CLUSTER)
			rc = put(off, (int)(k + 10), 16 * CLUSTER);
		if (rc == 0)
			rc = qcow2_snapshot_create(bd, name, &err);
	}
	ck_assert_int_eq(rc, -ENOSPC);
	ck_assert_uint_eq(file->bd.size, 2 * SIZE);
	sound(false);
	for (off = 0; off < SIZE; off += 16 * CLUSTER) /* the one that failed may be there in part */
		if (blockdev_do(bd, BLK_READ, 0, off, buf, 16 * CLUSTER) == 0 && memcmp(buf, disk + off, 16 * CLUSTER) != 0)
			memcpy(disk + off, buf, 16 * CLUSTER);
	/* What is given up can be used again. */
	ck_assert_msg(qcow2_snapshot_apply(bd, "one", &err) == 0, "%s", err.msg);
	ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, 0, disk, SIZE), 0);
	ck_assert_int_eq(put(0, 77, 16 * CLUSTER), 0);
	reopen();
	same();
	sound(false);
}
END_TEST

/* The data file has what a guest sees at any time, whatever the map says. */
START_TEST(test_raw_data_file)
{
	create((struct qcow2_create_config){ .data_file = "data", .data_file_raw = true });
	cfg.discard = BLK_DISCARD_UNMAP;
	reopen();
	ck_assert_int_eq(put(0, 1, 10 * CLUSTER), 0);
	ck_assert_int_eq(put(100 * CLUSTER + 512, 2, 1024), 0);
	ck_assert_int_eq(blockdev_do(bd, BLK_WRITE_ZEROES, 0, CLUSTER + 512, NULL, 3 * CLUSTER), 0);
	memset(disk + CLUSTER + 512, 0, 3 * CLUSTER);
	ck_assert_int_eq(blockdev_do(bd, BLK_WRITE_ZEROES, BLK_REQ_UNMAP, 5 * CLUSTER, NULL, CLUSTER), 0);
	memset(disk + 5 * CLUSTER, 0, CLUSTER);
	ck_assert_mem_eq(data->data, disk, SIZE);
	same();
	ck_assert_int_eq(blockdev_do(bd, BLK_DISCARD, 0, 0, NULL, CLUSTER), 0);
	ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, 0, disk, CLUSTER), 0);
	ck_assert_mem_eq(data->data, disk, SIZE);
	ck_assert_int_eq(blockdev_resize(bd, 2 * SIZE), 0);
	ck_assert_int_eq(put(2 * SIZE - CLUSTER, 9, CLUSTER), 0);
	ck_assert_mem_eq(data->data, disk, 2 * SIZE);
	ck_assert_uint_eq(field(88, 8), 2);
	reopen();
	same();
	sound(true);
	ck_assert_int_eq(blockdev_do(bd, BLK_WRITE, BLK_REQ_COMPRESSED, 0, buf, CLUSTER), -ENOTSUP);
}
END_TEST

/* Zeroes that are written allocate nothing, or keep nothing. */
START_TEST(test_detect_zeroes)
{
	struct blk_status st;
	uint64_t before;

	create((struct qcow2_create_config){ .extended_l2 = _i, .cluster_size = _i ? 16384 : CLUSTER });
	cfg.detect_zeroes = true;
	cfg.discard = BLK_DISCARD_UNMAP;
	reopen();
	before = file->bd.size;
	ck_assert_int_eq(put(0, 0, SIZE), 0);
	ck_assert_uint_eq(file->bd.size, before);
	ck_assert_int_eq(put(0, 5, 32768), 0);
	ck_assert_int_eq(put(0, 0, 16384), 0);
	ck_assert_int_eq(put(16384 + 512, 0, 1024), 0);
	same();
	ck_assert_int_eq(blockdev_status(bd, 0, 16384, &st), 0);
	ck_assert_uint_eq(st.len, 16384);
	ck_assert_uint_eq(st.flags & (BLK_ST_DATA | BLK_ST_OFFSET), 0);
	ck_assert_int_eq(blockdev_do(bd, BLK_FLUSH, 0, 0, NULL, 0), 0);
	reopen();
	same();
	sound(true);
}
END_TEST

/* After a commit: nothing is left but what is below, whatever kind of cluster it was. */
START_TEST(test_make_empty)
{
	struct qcow2_check_result res;
	struct err err = ERR_INIT;

	create((struct qcow2_create_config){ .backing_file = "base", .backing_format = "raw", .extended_l2 = _i == 1, .version = _i == 2 ? 2 : 3,
					     .cluster_size = _i == 1 ? 16384 : CLUSTER, .size = SIZE - 512 });
	cfg.discard = BLK_DISCARD_UNMAP;
	reopen();
	ck_assert_int_eq(put(0, 1, SIZE / 4), 0);
	ck_assert_int_eq(put(SIZE - 1024, 2, 512), 0);
	ck_assert_int_eq(blockdev_do(bd, BLK_WRITE, BLK_REQ_COMPRESSED, SIZE / 2, memset(buf, 9, 16384), _i == 1 ? 16384 : CLUSTER), 0);
	ck_assert_int_eq(blockdev_do(bd, BLK_WRITE_ZEROES, 0, SIZE / 2 + 65536, NULL, 65536 + 512), 0);
	ck_assert_int_eq(qcow2_make_empty(bd, &err), 0);
	memset(disk, 0xba, SIZE);
	same();
	sound(true);
	ck_assert_int_eq(qcow2_check(bd, 0, NULL, NULL, &res, &err), 0);
	ck_assert_uint_eq(res.allocated_clusters, 0);
	reopen();
	same();
}
END_TEST

/* Entries past the end, of a shrinking that was interrupted or of a machine's state, are not seen when the disk grows again. */
START_TEST(test_grow_over_old_data)
{
	create((struct qcow2_create_config){ .extended_l2 = _i, .cluster_size = _i ? 16384 : CLUSTER });
	reopen();
	ck_assert_int_eq(put(0, 1, SIZE), 0);
	shut();
	field_set(24, SIZE / 2, 8);
	reopen();
	ck_assert_uint_eq(bd->size, SIZE / 2);
	ck_assert_int_eq(blockdev_resize(bd, SIZE), 0);
	memset(disk + SIZE / 2, 0, SIZE / 2);
	same();
	sound(true);
}
END_TEST

/* Runs of new clusters are longer than what one refcount block describes. */
START_TEST(test_narrow_refcount_blocks)
{
	create((struct qcow2_create_config){ .cluster_size = 512, .refcount_bits = 64, .prealloc = _i ? BLK_PREALLOC_METADATA : BLK_PREALLOC_OFF });
	reopen();
	ck_assert_int_eq(put(0, 3, SIZE), 0);
	ck_assert_int_eq(blockdev_resize(bd, 4 * SIZE), 0); /* an L1 table of more clusters than a block has */
	ck_assert_int_eq(put(3 * SIZE, 4, SIZE / 2), 0);
	same();
	sound(true);
	ck_assert_uint_lt(file->bd.size, 3 * SIZE);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("qcow2_features");
	TCase *tests = tcase_create("qcow2_features");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tests, 60);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, test_unknown_is_kept);
	tcase_add_test(tests, test_bitmaps);
	tcase_add_loop_test(tests, test_bitmaps_nonsense, 0, 2);
	tcase_add_loop_test(tests, test_refcount_overflow, 0, 7);
	tcase_add_test(tests, test_lazy);
	tcase_add_test(tests, test_corrupt);
	tcase_add_loop_test(tests, test_device, 0, 6);
	tcase_add_test(tests, test_raw_data_file);
	tcase_add_loop_test(tests, test_detect_zeroes, 0, 2);
	tcase_add_loop_test(tests, test_make_empty, 0, 3);
	tcase_add_loop_test(tests, test_grow_over_old_data, 0, 2);
	tcase_add_loop_test(tests, test_narrow_refcount_blocks, 0, 2);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
