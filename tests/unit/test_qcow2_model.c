/* SPDX-License-Identifier: MIT */
/* Random requests, several at a time, against a model: every feature of the format, with reopens, snapshots, resizes and crashes between. */
#include <check.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/qcow2_model.h"
#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

/* In the environment, QCOW2_SEEDS says how many, from QCOW2_SEED on. */
#define SEEDS 1
#ifdef __SANITIZE_ADDRESS__
#define STEPS 150 /* each step costs several times as much */
#else
#define STEPS 400
#endif

static const struct qcow2_create_config configs[] = {
	{ .size = 2 << 20, .cluster_size = 65536 },
	{ .size = 1 << 20, .cluster_size = 4096, .backing_file = "base", .backing_format = "raw" },
	{ .size = 1 << 20, .cluster_size = 512, .version = 2 },
	{ .size = 1 << 20, .cluster_size = 4096, .version = 2, .backing_file = "base", .backing_format = "raw" },
	{ .size = 1 << 20, .cluster_size = 4096, .refcount_bits = 64, .compression = QCOW2_ZSTD },
	{ .size = 1 << 20, .cluster_size = 4096, .refcount_bits = 1 },
	{ .size = 2 << 20, .cluster_size = 16384, .extended_l2 = true },
	{ .size = 2 << 20, .cluster_size = 16384, .extended_l2 = true, .backing_file = "base", .backing_format = "raw" },
	{ .size = 1 << 20, .cluster_size = 4096, .lazy_refcounts = true },
	{ .size = 1 << 20, .cluster_size = 4096, .data_file = "data" },
	{ .size = 1 << 20, .cluster_size = 4096, .data_file = "data", .data_file_raw = true },
	{ .size = 1 << 20, .cluster_size = 4096, .refcount_bits = 4, .prealloc = BLK_PREALLOC_METADATA },
	{ .size = (1 << 20) - 1536, .cluster_size = 32768, .refcount_bits = 8 },
};

static struct qm m;

static unsigned first_seed(void)
{
	const char *s = getenv("QCOW2_SEED");

	return s ? (unsigned)atoi(s) : 0;
}

static unsigned seeds(void)
{
	const char *s = getenv("QCOW2_SEEDS");

	return first_seed() + (s ? (unsigned)atoi(s) : SEEDS);
}

/* Small caches, so that tables come and go. */
static void config(unsigned i, unsigned seed)
{
	m.open = (struct qcow2_open_config){ .read_only = false };
	qm_init(&m, seed * 1000 + i, &configs[i]);
	if (seed % 2) {
		qm_close(&m);
		m.open.l2_cache_size = m.open.refcount_cache_size = 1;
		m.open.l2_cache_entry_size = 512;
		qm_open(&m);
	}
}

START_TEST(test_requests)
{
	for (unsigned seed = first_seed(); seed < seeds(); seed++) {
		config((unsigned)_i, seed);
		for (unsigned i = 0; i < STEPS; i++) {
			qm_step(&m);
			if (i % 200 == 199) {
				qm_verify(&m);
				qm_check(&m, false);
				qm_close(&m);
				qm_open(&m);
				qm_check(&m, true);
				qm_verify(&m);
			}
		}
		qm_fini(&m);
	}
}
END_TEST

START_TEST(test_crashes)
{
	for (unsigned seed = first_seed(); seed < seeds(); seed++) {
		config((unsigned)_i, seed);
		for (unsigned i = 0; i < STEPS / 2; i++) {
			qm_step(&m);
			if (fake_random(&m.seed) % 4 == 0)
				qm_crash(&m);
		}
		qm_fini(&m);
	}
}
END_TEST

/* Errors anywhere: what a request says has happened has, and the image stays whole. */
START_TEST(test_errors)
{
	for (unsigned seed = first_seed(); seed < seeds(); seed++) {
		config((unsigned)_i, seed);
		m.may_fail = true;
		for (unsigned i = 0; i < STEPS; i++) {
			if (fake_random(&m.seed) % 20 == 0) {
				m.file->fail_ops = BIT(BLK_WRITE) | (fake_random(&m.seed) % 2 ? BIT(BLK_READ) | BIT(BLK_FLUSH) : 0);
				m.file->fail_after = (unsigned)(fake_random(&m.seed) % 6);
				m.file->fail_for = 1 + (unsigned)(fake_random(&m.seed) % 3);
				m.file->fail_with = fake_random(&m.seed) % 2 ? -5 : -28;
			}
			qm_step(&m);
			if (i % 50 == 49) {
				struct qcow2_info info;

				qm_settle(&m);
				m.file->fail_for = 0;
				qm_settle(&m);
				qcow2_info(m.bd, &info);
				if (info.corrupt) /* a header of which nobody knows whether it was written */
					break;
				qm_verify(&m);
				qm_check(&m, false);
				qm_crash(&m);
			}
		}
		m.file->fail_for = 0;
		qm_fini(&m);
	}
}
END_TEST

#define SNAPS 4

static void snapshots_step(uint32_t *saved[SNAPS], uint64_t *sizes)
{
	unsigned i = (unsigned)(fake_random(&m.seed) % SNAPS);
	struct err err = ERR_INIT;
	char name[8];

	snprintf(name, sizeof(name), "s%u", i);
	qm_settle(&m);
	if (!saved[i]) {
		if (qcow2_snapshot_create(m.bd, name, &err) == -EOVERFLOW && m.create.refcount_bits)
			return; /* compressed clusters have used them up */
		ck_assert_msg(err.code == 0, "%s", err.msg);
		saved[i] = qm_versions(&m);
		sizes[i] = m.size;
	} else if (fake_random(&m.seed) % 2) {
		ck_assert_msg(qcow2_snapshot_apply(m.bd, name, &err) == 0, "%s", err.msg);
		qm_set_versions(&m, saved[i], sizes[i]);
	} else {
		ck_assert_msg(qcow2_snapshot_delete(m.bd, name, &err) == 0, "%s", err.msg);
		free(saved[i]);
		saved[i] = NULL;
	}
	qm_check(&m, !m.create.refcount_bits);
	qm_verify(&m);
}

START_TEST(test_snapshots)
{
	/* Refcounts that are too narrow for compressed clusters in four snapshots are no use. */
	if (configs[_i].data_file || configs[_i].refcount_bits == 1 || configs[_i].refcount_bits == 4)
		return;
	for (unsigned seed = first_seed(); seed < seeds(); seed++) {
		uint32_t *saved[SNAPS] = { NULL };
		uint64_t sizes[SNAPS];

		config((unsigned)_i, seed);
		for (unsigned i = 0; i < STEPS; i++) {
			qm_step(&m);
			if (fake_random(&m.seed) % 40 == 0)
				snapshots_step(saved, sizes);
			if (fake_random(&m.seed) % 40 == 0)
				qm_crash(&m);
		}
		for (unsigned i = 0; i < SNAPS; i++) { /* each shows what it was */
			struct qcow2_open_config keep = m.open;
			char name[8];

			if (!saved[i])
				continue;
			qm_settle(&m);
			qm_close(&m);
			snprintf(name, sizeof(name), "s%u", i);
			m.open.snapshot = name;
			qm_set_versions(&m, saved[i], sizes[i]);
			qm_open(&m);
			qm_verify(&m);
			qm_close(&m);
			m.open = keep;
			m.bd = NULL;
			free(saved[i]);
			for (unsigned k = i + 1; k < SNAPS; k++)
				free(saved[k]);
			break;
		}
		qm_fini(&m);
	}
}
END_TEST

START_TEST(test_resizes)
{
	for (unsigned seed = first_seed(); seed < seeds(); seed++) {
		config((unsigned)_i, seed);
		for (unsigned i = 0; i < STEPS; i++) {
			uint64_t size = align_down(m.create.size / 2 + fake_random(&m.seed) % m.create.size, BLK_SECTOR), old;

			qm_step(&m);
			if (fake_random(&m.seed) % 60)
				continue;
			qm_settle(&m);
			old = m.size;
			ck_assert_int_eq(blockdev_resize(m.bd, size), 0);
			for (uint64_t s = old / BLK_SECTOR; s < size / BLK_SECTOR; s++)
				m.sectors[s].now = 0;
			qm_set_versions(&m, NULL, size);
			qm_verify(&m);
			qm_check(&m, true);
			qm_close(&m);
			qm_open(&m);
			qm_verify(&m);
		}
		qm_fini(&m);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("qcow2_model");
	TCase *tests = tcase_create("qcow2_model");
	SRunner *runner = srunner_create(suite);
	int failed;

	mallopt(M_MMAP_THRESHOLD, 1 << 20); /* large files in memory come as zeroes, and are not cleared */
	log_set_level(LOG_LEVEL_ERROR);
	tcase_set_timeout(tests, 600);
	tcase_add_loop_test(tests, test_requests, 0, ARRAY_SIZE(configs));
	tcase_add_loop_test(tests, test_crashes, 0, ARRAY_SIZE(configs));
	tcase_add_loop_test(tests, test_errors, 0, ARRAY_SIZE(configs));
	tcase_add_loop_test(tests, test_snapshots, 0, ARRAY_SIZE(configs));
	tcase_add_loop_test(tests, test_resizes, 0, ARRAY_SIZE(configs));
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
