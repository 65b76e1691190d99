/* SPDX-License-Identifier: MIT */
#include "vmm/iov.h"

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static char a[4], b[1], c[6];
static const struct iovec vec[] = { { NULL, 0 }, { a, 4 }, { NULL, 0 }, { b, 1 }, { c, 6 }, { NULL, 0 } };

static struct iov_cursor at(size_t skip)
{
	struct iov_cursor cur;

	iov_cursor_init(&cur, vec, 6);
	ck_assert_uint_eq(iov_cursor_skip(&cur, skip), skip);
	return cur;
}

static void content(const char *text)
{
	memcpy(a, text, 4);
	memcpy(b, text + 4, 1);
	memcpy(c, text + 5, 6);
}

static void expect(const char *text)
{
	ck_assert_mem_eq(a, text, 4);
	ck_assert_mem_eq(b, text + 4, 1);
	ck_assert_mem_eq(c, text + 5, 6);
}

START_TEST(sizes)
{
	struct iovec wrap[] = { { NULL, SIZE_MAX }, { NULL, 2 } };

	ck_assert_uint_eq(iov_size(vec, 6), 11);
	ck_assert_uint_eq(iov_size(NULL, 0), 0);
	ck_assert_uint_eq(iov_size(wrap, 2), SIZE_MAX);
	ck_assert_uint_eq(at(3).left, 8);
}
END_TEST

/* Every position and length: no byte too many, none too few. */
START_TEST(copies)
{
	for (size_t pos = 0; pos <= 11; pos++) {
		for (size_t len = 0; len <= 13; len++) {
			size_t n = len < 11 - pos ? len : 11 - pos;
			char want[12] = "abcdefghijk", buf[16];
			struct iov_cursor cur = at(pos);

			content(want);
			memset(buf, '#', sizeof(buf));
			ck_assert_uint_eq(iov_cursor_read(&cur, buf, len), n);
			ck_assert_mem_eq(buf, want + pos, n);
			ck_assert_int_eq(buf[n], '#');
			ck_assert_uint_eq(cur.left, 11 - pos - n);
			/* It stands at what comes next. */
			ck_assert(n == 0 || !cur.left || cur.off < cur.iov->iov_len);

			cur = at(pos);
			memcpy(want + pos, "0123456789ABC", n);
			ck_assert_uint_eq(iov_cursor_write(&cur, "0123456789ABC", len), n);
			expect(want);
			ck_assert_uint_eq(cur.left, 11 - pos - n);

			cur = at(pos);
			memset(want + pos, 'z', n);
			ck_assert_uint_eq(iov_cursor_fill(&cur, 'z', len), n);
			expect(want);

			cur = at(pos);
			ck_assert_uint_eq(iov_cursor_skip(&cur, len), n);
			ck_assert_uint_eq(cur.left, 11 - pos - n);
		}
	}
}
END_TEST

START_TEST(take)
{
	struct iov_cursor cur = at(2), before;
	struct iovec out[8];

	before = cur;
	ck_assert_uint_eq(iov_cursor_take(&cur, 10, out, 8), 0); /* 9 are left */
	ck_assert_uint_eq(iov_cursor_take(&cur, 0, out, 8), 0);
	ck_assert_uint_eq(iov_cursor_take(&cur, 4, out, 2), 0);
	ck_assert_mem_eq(&cur, &before, sizeof(cur));
	ck_assert_uint_eq(iov_cursor_take(&cur, 4, out, 3), 3);
	ck_assert(out[0].iov_base == a + 2 && out[0].iov_len == 2);
	ck_assert(out[1].iov_base == b && out[1].iov_len == 1);
	ck_assert(out[2].iov_base == c && out[2].iov_len == 1);
	ck_assert_uint_eq(iov_cursor_take(&cur, 5, out, 1), 1);
	ck_assert(out[0].iov_base == c + 1 && out[0].iov_len == 5);
	ck_assert_uint_eq(cur.left, 0);
	ck_assert_uint_eq(iov_cursor_take(&cur, 1, out, 8), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("iov");
	TCase *tc = tcase_create("iov");
	SRunner *sr = srunner_create(s);
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_test(tc, sizes);
	tcase_add_test(tc, copies);
	tcase_add_test(tc, take);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
