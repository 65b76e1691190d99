/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kvm.h"

START_TEST(text)
{
	struct err e = ERR_INIT;

	ck_assert(e.code == 0 && e.msg[0] == '\0');
	ck_assert_int_eq(err_set(&e, -EINVAL, "%s is %d", "it", 3), -EINVAL);
	ck_assert_int_eq(e.code, -EINVAL);
	ck_assert_str_eq(e.msg, "it is 3");
	ck_assert_int_eq(err_prefix(&e, "disk %u", 4u), -EINVAL);
	ck_assert_str_eq(e.msg, "disk 4: it is 3");
	ck_assert_int_eq(err_set_errno(&e, -ENOENT, "cannot open '%s'", "x"), -ENOENT);
	ck_assert_str_eq(e.msg, "cannot open 'x': No such file or directory");
	ck_assert_int_eq(err_set_errno(&e, -4000, "odd"), -4000);
	ck_assert_str_eq(e.msg, "odd: unknown error");
	errno = 7;
	err_set_errno(&e, -EIO, "x");
	ck_assert_str_eq(e.msg, "x: Input/output error");
}
END_TEST

/* Cut at the end, always terminated, nothing beyond it touched. */
START_TEST(long_text)
{
	struct {
		struct err e;
		char after[16];
	} s = { .e = ERR_INIT };
	char word[3 * ERR_MSG_MAX];

	memset(word, 'w', sizeof(word) - 1);
	word[sizeof(word) - 1] = '\0';
	memset(s.after, 0x55, sizeof(s.after));
	for (size_t cut = ERR_MSG_MAX - 8; cut < ERR_MSG_MAX + 8; cut++) {
		ck_assert_int_eq(err_set(&s.e, -EIO, "%.*s", (int)cut, word), -EIO);
		ck_assert_uint_eq(strlen(s.e.msg), cut < ERR_MSG_MAX ? cut : ERR_MSG_MAX - 1);
		ck_assert_int_eq(err_prefix(&s.e, "in front"), -EIO);
		ck_assert_uint_eq(strlen(s.e.msg), ERR_MSG_MAX - 1);
		ck_assert_int_eq(strncmp(s.e.msg, "in front: www", 13), 0);
		ck_assert_int_eq(err_set_errno(&s.e, -ENOENT, "%.*s", (int)cut, word), -ENOENT);
		ck_assert_uint_eq(strlen(s.e.msg), ERR_MSG_MAX - 1);
	}
	err_set(&s.e, -EIO, "%s", word);
	err_prefix(&s.e, "%s", word);
	ck_assert_uint_eq(strlen(s.e.msg), ERR_MSG_MAX - 1);
	for (size_t i = 0; i < sizeof(s.after); i++)
		ck_assert_int_eq(s.after[i], 0x55);
}
END_TEST

START_TEST(show)
{
	char word[3 * ERR_SHOW_MAX + 1];

	ck_assert_str_eq(err_show("").s, "");
	ck_assert_str_eq(err_show("plain text, \xc3\xa4").s, "plain text, \xc3\xa4");
	ck_assert_str_eq(err_show("a\nb\x1b[31m\x7f").s, "a?b?[31m?");
	memset(word, 'x', sizeof(word));
	word[ERR_SHOW_MAX] = '\0';
	ck_assert_str_eq(err_show(word).s, word);
	word[ERR_SHOW_MAX] = 'x';
	word[sizeof(word) - 1] = '\0';
	ck_assert_uint_eq(strlen(err_show(word).s), ERR_SHOW_MAX + 3);
	ck_assert_str_eq(err_show(word).s + ERR_SHOW_MAX, "...");
	/* The cut leaves characters whole: two bytes each, one byte off. */
	for (size_t i = 1; i + 2 < sizeof(word); i += 2)
		memcpy(word + i, "\xc3\xa4", 2);
	word[sizeof(word) - 2] = '\0';
	ck_assert_str_eq(err_show(word).s + ERR_SHOW_MAX - 3, "\xc3\xa4...");
	/* Nothing but continuation bytes: cut to nothing, not past the start. */
	memset(word, 0x80, sizeof(word) - 1);
	ck_assert_str_eq(err_show(word).s, "...");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("err");
	TCase *tc = tcase_create("err");

	tcase_add_test(tc, text);
	tcase_add_test(tc, long_text);
	tcase_add_test(tc, show);
	suite_add_tcase(suite, tc);
	return fake_run_tests(suite);
}
