/* SPDX-License-Identifier: MIT */
/* Changes of bitmaps that are cut off anywhere, by an error or a crash: the image has the old bitmaps or the new ones, and is sound. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/qcow2_model.h"
#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define CLUSTER 4096u
#define STEPS 200u

static struct qm m;

static void setup(void)
{
	static const struct qcow2_create_config create = { .size = 1 << 20, .cluster_size = CLUSTER };

	log_set_level(LOG_LEVEL_ERROR);
	qm_init(&m, 1, &create);
	m.open.keep_bitmaps = true;
	m.file->in_order = true;
	qm_close(&m);
	qm_open(&m);
}

static void teardown(void)
{
	qm_fini(&m);
}

static int change(enum qcow2_bitmap_op op, const char *name, const char *source)
{
	const struct qcow2_bitmap_change c = { .op = op, .name = name, .granularity = 4096, .source = source };
	struct err err = ERR_INIT;
	int rc = qcow2_bitmap_change(m.bd, &c, &err);

	ck_assert_int_eq(rc < 0, err.code != 0);
	return rc;
}

/* As "a+ b" : those that are enabled have a plus. */
static void names(struct blockdev *bd, char out[64])
{
	struct qcow2_bitmap_info *list;
	struct err err = ERR_INIT;
	int n = qcow2_bitmaps(bd, &list, &err);

	ck_assert_msg(n >= 0, "%s", err.msg);
	out[0] = 0;
	for (int i = 0; i < n; i++) {
		strcat(out, i ? " " : "");
		strcat(out, list[i].name);
		strcat(out, list[i].flags & QCOW2_BITMAP_AUTO ? "+" : "");
	}
	qcow2_bitmaps_free(list, n);
}

static void is(const char *want)
{
	char got[64];

	names(m.bd, got);
	ck_assert_str_eq(got, want);
}

static void sound(struct blockdev *bd, bool tidy)
{
	struct qcow2_check_result r = { .corruptions = 0 };
	struct err err = ERR_INIT;

	ck_assert_msg(qcow2_check(bd, 0, NULL, NULL, &r, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(r.corruptions + r.check_errors, 0);
	if (tidy)
		ck_assert_uint_eq(r.leaks, 0);
}

START_TEST(test_all)
{
	ck_assert_int_eq(change(QCOW2_BITMAP_REMOVE, "a", NULL), -ENOENT);
	ck_assert_int_eq(change(QCOW2_BITMAP_ADD, "a", NULL), 0);
	ck_assert_int_eq(change(QCOW2_BITMAP_ADD, "a", NULL), -EEXIST);
	ck_assert_int_eq(change(QCOW2_BITMAP_ADD, "b", NULL), 0);
	is("a+ b+");
	ck_assert_int_eq(change(QCOW2_BITMAP_DISABLE, "a", NULL), 0);
	ck_assert_int_eq(change(QCOW2_BITMAP_MERGE, "a", "b"), 0);
	ck_assert_int_eq(change(QCOW2_BITMAP_MERGE, "a", "a"), 0);
	ck_assert_int_eq(change(QCOW2_BITMAP_CLEAR, "b", NULL), 0);
	is("a b+");
	qm_close(&m);
	qm_open(&m);
	is("a b+");
	sound(m.bd, true);
	ck_assert_int_eq(change(QCOW2_BITMAP_REMOVE, "a", NULL), 0);
	ck_assert_int_eq(change(QCOW2_BITMAP_REMOVE, "b", NULL), 0);
	is("");
	sound(m.bd, true);
}
END_TEST

/* Whoever opens it to write to the disk cannot follow the bitmaps. */
START_TEST(test_written_by_others)
{
	struct qcow2_info info;
	char got[64];

	ck_assert_int_eq(change(QCOW2_BITMAP_ADD, "a", NULL), 0);
	qm_close(&m);
	m.open.keep_bitmaps = false;
	qm_open(&m);
	qm_close(&m);
	m.open.keep_bitmaps = true;
	qm_open(&m);
	names(m.bd, got);
	/* Either way it may not be used as it is. */
	ck_assert_int_lt(change(QCOW2_BITMAP_CLEAR, "a", NULL), 0);
	ck_assert_int_eq(qcow2_info(m.bd, &info), 0);
	sound(m.bd, false);
}
END_TEST

struct step {
	enum qcow2_bitmap_op op;
	const char *name, *source, *before, *after;
};

static const struct step steps[] = {
	{ QCOW2_BITMAP_ADD, "c", NULL, "a+ b", "a+ b c+" },
	{ QCOW2_BITMAP_REMOVE, "a", NULL, "a+ b", "b" },
	{ QCOW2_BITMAP_ENABLE, "b", NULL, "a+ b", "a+ b+" },
	{ QCOW2_BITMAP_CLEAR, "a", NULL, "a+ b", "a+ b" },
	{ QCOW2_BITMAP_MERGE, "a", "b", "a+ b", "a+ b" },
};

static void two(void)
{
	ck_assert_int_eq(change(QCOW2_BITMAP_ADD, "a", NULL), 0);
	ck_assert_int_eq(change(QCOW2_BITMAP_ADD, "b", NULL), 0);
	ck_assert_int_eq(change(QCOW2_BITMAP_DISABLE, "b", NULL), 0);
}

/* As it is found after a crash in this moment, whichever writes since the last flush are there. */
static void crash_is(const struct step *s, uint64_t seed)
{
	struct qcow2_open_config cfg = m.open;
	struct fake_file *found = fake_file_crash(m.file, &seed);
	struct err err = ERR_INIT;
	struct blockdev *bd;
	char got[64];

	cfg.read_only = true;
	bd = qcow2_open(&found->bd, &cfg, &err);
	ck_assert_msg(bd != NULL, "%s", err.msg);
	names(bd, got);
	ck_assert_msg(!strcmp(got, s->before) || !strcmp(got, s->after), "'%s' is neither '%s' nor '%s'", got, s->before, s->after);
	sound(bd, false);
	blockdev_close(bd);
}

/* An error at each write or flush in turn. The image that is left is used on. */
START_TEST(test_cut_off)
{
	const struct step *s = &steps[_i];
	unsigned n = 0;
	int rc = -EIO;

	for (; n < STEPS && rc < 0; n++) {
		teardown();
		setup();
		two();
		is(s->before);
		m.file->fail_ops = 1u << BLK_WRITE | 1u << BLK_FLUSH;
		m.file->fail_after = n;
		m.file->fail_for = 1000;
		m.file->fail_with = -EIO;
		rc = change(s->op, s->name, s->source);
		m.file->fail_for = m.file->fail_ops = 0;
		for (uint64_t seed = 1; seed <= 8; seed++)
			crash_is(s, seed * 77 + n);
	}
	ck_assert_uint_gt(n, 5);
	ck_assert_int_eq(rc, 0);
	is(s->after);
	sound(m.bd, true);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("qcow2_bitmap");
	TCase *tests = tcase_create("qcow2_bitmap");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tests, 60);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, test_all);
	tcase_add_test(tests, test_written_by_others);
	tcase_add_loop_test(tests, test_cut_off, 0, ARRAY_SIZE(steps));
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
