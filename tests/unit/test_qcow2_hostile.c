/* SPDX-License-Identifier: MIT */
/* Headers and tables that somebody has made up: refused by name, or marked corrupt before anything is damaged. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/qcow2_model.h"
#include "tests/unit/suite.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define CLUSTER 4096u
#define L1 (3 * CLUSTER)
#define L2 (4 * CLUSTER)

static struct qm m;
static uint8_t *buf;

static void setup(void)
{
	static const struct qcow2_create_config create = { .size = 1 << 20, .cluster_size = CLUSTER };

	log_set_level(LOG_LEVEL_ERROR);
	ck_assert_int_eq(posix_memalign((void **)&buf, 4096, 1 << 20), 0);
	memset(buf, 0x11, 1 << 20);
	m.open = (struct qcow2_open_config){ .read_only = false };
	qm_init(&m, 1, &create);
	ck_assert_int_eq(qm_do(&m, BLK_WRITE, 0, 0, buf, 4 * CLUSTER), 0);
	qm_close(&m);
}

static void teardown(void)
{
	qm_fini(&m);
	free(buf);
}

static void put(uint64_t at, uint64_t value, unsigned len)
{
	uint64_t v = htobe64(value);

	memcpy(m.file->data + at, (uint8_t *)&v + 8 - len, len);
}

struct bad {
	uint32_t at, len;
	uint64_t value;
	const char *says;
};

static const struct bad headers[] = {
	{ 0, 4, 0x514649fa, "no qcow2 image" },
	{ 4, 4, 4, "version 4" },
	{ 20, 4, 8, "cluster size" },
	{ 20, 4, 22, "cluster size" },
	{ 24, 8, UINT64_MAX, "too large" },
	{ 24, 8, UINT64_C(1) << 40, "L1 table is too small" },
	{ 32, 4, 1, "encrypted (AES)" },
	{ 32, 4, 2, "encrypted (LUKS)" },
	{ 36, 4, 0xffffffff, "larger than 32 MiB" },
	{ 40, 8, L1 + 512, "L1 table is not inside" },
	{ 40, 8, UINT64_C(1) << 60, "L1 table is not inside" },
	{ 48, 8, UINT64_C(1) << 40, "refcount table is not inside" },
	{ 48, 8, 0, "refcount table is not inside" },
	{ 56, 4, 0xffffffff, "larger than 8 MiB" },
	{ 56, 4, 0, "refcount table is not inside" },
	{ 60, 4, 65537, "65537 snapshots" },
	{ 72, 8, BIT64(5), "not supported: bit 5" },
	{ 72, 8, BIT64(3), "contradict" },
	{ 72, 8, BIT64(4), "subclusters need" },
	{ 72, 8, BIT64(2), "does not name its external data file" },
	{ 88, 8, BIT64(1), "raw, but has none" },
	{ 96, 4, 7, "refcounts of 2^7" },
	{ 100, 4, 96, "cannot be 96 bytes long" },
	{ 100, 4, 0, "was the file cut off?" },
	{ 100, 4, 0xfffffff8, "bytes long" },
	{ 104, 1, 2, "compression type 2" },
	{ 8, 8, 16, "backing file's name is not inside" },
	{ 8, 8, UINT64_MAX, "backing file's name is not inside" },
	{ 116, 4, 0xffffffff, "extension is larger" },
	{ 72, 8, INT64_C(2), "marked corrupt" },
};

START_TEST(test_header)
{
	const struct bad *b = &headers[_i];
	struct err err = ERR_INIT;

	put(b->at, b->value, b->len);
	ck_assert_ptr_null(qcow2_open(&m.file->bd, &m.open, &err));
	ck_assert_msg(strstr(err.msg, b->says) != NULL, "'%s' does not say '%s'", err.msg, b->says);
}
END_TEST

/* The image's own name for a feature of tomorrow. */
START_TEST(test_feature_by_name)
{
	struct err err = ERR_INIT;

	put(72, BIT64(1) << 39, 8);
	for (uint32_t at = 112; at < CLUSTER - 48; at += 8)
		if (memcmp(m.file->data + at, "\x68\x03\xf8\x57", 4) == 0)
			memcpy(m.file->data + at + 8, "\0\x28time travel\0", 14);
	ck_assert_ptr_null(qcow2_open(&m.file->bd, &m.open, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "time travel"));
}
END_TEST

static bool is_corrupt(void)
{
	struct qcow2_info info;

	ck_assert_int_eq(qcow2_info(m.bd, &info), 0);
	return info.corrupt;
}

/* A guest cluster that is where metadata is: the write is refused, the image marked, and the metadata untouched. */
START_TEST(test_writes_on_metadata)
{
	static const uint64_t places[] = { CLUSTER, 2 * CLUSTER, L1, L2 };
	uint8_t before[CLUSTER];

	put(L2, places[_i] | BIT64(63), 8);
	memcpy(before, m.file->data + L2, CLUSTER);
	qm_open(&m);
	ck_assert_int_eq(qm_do(&m, BLK_WRITE, 0, 0, buf, 512), -EIO);
	ck_assert(is_corrupt());
	ck_assert_int_eq(qm_do(&m, BLK_WRITE, 0, 2 * CLUSTER, buf, 512), -EIO);
	ck_assert_mem_eq(before, m.file->data + L2, CLUSTER);
	qm_close(&m);
	ck_assert_uint_eq(m.file->data[79] & 2, 2);
}
END_TEST

/* Refcounts that give metadata away. */
START_TEST(test_allocates_metadata)
{
	put(2 * CLUSTER + 4 * 2, 0, 2); /* the L2 table's */
	qm_open(&m);
	ck_assert_int_eq(qm_do(&m, BLK_WRITE, 0, 64 * CLUSTER, buf, CLUSTER), -EIO);
	ck_assert(is_corrupt());
}
END_TEST

static const struct bad entries[] = {
	{ L1, 8, BIT64(63) | (L2 + 512), "" },
	{ L1, 8, BIT64(63) | UINT64_C(0x40000000000), "" },
	{ L2, 8, BIT64(63) | (5 * CLUSTER + 512), "" },
};

START_TEST(test_reads_of_nonsense)
{
	put(entries[_i].at, entries[_i].value, entries[_i].len);
	qm_open(&m);
	ck_assert_int_eq(qm_do(&m, BLK_READ, 0, 0, buf, 512), -EIO);
	ck_assert(is_corrupt());
}
END_TEST

/* Compressed data that is none, or past the end. */
START_TEST(test_compressed_nonsense)
{
	put(L2, BIT64(62) | (_i ? UINT64_C(1) << 40 : 5 * CLUSTER), 8);
	qm_open(&m);
	ck_assert_int_eq(qm_do(&m, BLK_READ, 0, 0, buf, 512), -EIO);
	ck_assert_int_eq(qm_do(&m, BLK_READ, 0, CLUSTER, buf, 512), 0);
}
END_TEST

static void keep_line(void *opaque, enum log_level level, const char *text)
{
	unsigned *lines = opaque;

	*lines += level == LOG_LEVEL_WARN && strstr(text, "the file has been cut") && strstr(text, "0x100000");
}

/* Data behind the file's end reads as zeroes; the log says so, once. */
START_TEST(test_cut)
{
	unsigned lines = 0;
	struct log_sink sink = { .line = keep_line, .opaque = &lines, .level = LOG_LEVEL_WARN }, *before;

	put(L2, BIT64(63) | UINT64_C(0x100000), 8);
	qm_open(&m);
	before = log_use_sink(&sink);
	for (int i = 0; i < 3; i++) {
		memset(buf, 0xee, 512);
		ck_assert_int_eq(qm_do(&m, BLK_READ, 0, 0, buf, 512), 0);
		ck_assert(buf[0] == 0 && memcmp(buf, buf + 1, 511) == 0);
	}
	log_use_sink(before);
	ck_assert_uint_eq(lines, 1);
	ck_assert(!is_corrupt());
}
END_TEST

/* An L1 entry that says of no table that it is nobody else's. */
START_TEST(test_own_nothing)
{
	put(L1, BIT64(63), 8);
	qm_open(&m);
	ck_assert_int_eq(qm_do(&m, BLK_WRITE, 0, 0, buf, 512), 0);
	ck_assert_int_eq(qm_do(&m, BLK_DISCARD, 0, CLUSTER, NULL, 2 * CLUSTER), 0);
	ck_assert_int_eq(qm_do(&m, BLK_READ, 0, 0, buf, 4 * CLUSTER), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("qcow2_hostile");
	TCase *tests = tcase_create("qcow2_hostile");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tests, 30);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, test_header, 0, ARRAY_SIZE(headers));
	tcase_add_test(tests, test_feature_by_name);
	tcase_add_loop_test(tests, test_writes_on_metadata, 0, 4);
	tcase_add_test(tests, test_allocates_metadata);
	tcase_add_loop_test(tests, test_reads_of_nonsense, 0, ARRAY_SIZE(entries));
	tcase_add_loop_test(tests, test_compressed_nonsense, 0, 2);
	tcase_add_test(tests, test_cut);
	tcase_add_test(tests, test_own_nothing);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
