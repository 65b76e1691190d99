/* SPDX-License-Identifier: MIT */
#include "vmm/dynlib.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/util.h"

struct functions {
	void *before;
	size_t (*length)(const char *s);
	int (*compare)(const char *a, const char *b);
	void *behind;
};

static const struct dynlib_function wanted[] = {
	{ "strlen", offsetof(struct functions, length) },
	{ "strcmp", offsetof(struct functions, compare) },
};

START_TEST(fills_what_is_asked_for)
{
	const struct dynlib lib = { .file = "libc.so.6", .functions = wanted, .n = ARRAY_SIZE(wanted) };
	struct functions f = { .before = &f, .behind = &f };
	struct err err = ERR_INIT;

	ck_assert_msg(dynlib_load(&lib, &f, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(f.length("four"), 4);
	ck_assert_int_eq(f.compare("same", "same"), 0);
	ck_assert_ptr_eq(f.before, &f);
	ck_assert_ptr_eq(f.behind, &f);
}
END_TEST

START_TEST(no_such_library)
{
	const struct dynlib lib = { .file = "libkite-nobody.so.1", .functions = wanted, .n = ARRAY_SIZE(wanted) };
	struct functions f;
	struct err err = ERR_INIT;

	ck_assert_int_eq(dynlib_load(&lib, &f, &err), -ELIBACC);
	ck_assert_int_eq(err.code, -ELIBACC);
	ck_assert_msg(strstr(err.msg, "libkite-nobody.so.1") && strstr(err.msg, "installed"), "%s", err.msg);
}
END_TEST

START_TEST(no_such_function)
{
	static const struct dynlib_function nobody[] = { { "kite_nobody", 0 } };
	const struct dynlib lib = { .file = "libc.so.6", .functions = nobody, .n = 1 };
	struct functions f;
	struct err err = ERR_INIT;

	ck_assert_int_eq(dynlib_load(&lib, &f, &err), -ELIBACC);
	ck_assert_msg(strstr(err.msg, "kite_nobody") != NULL, "%s", err.msg);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { fills_what_is_asked_for, no_such_library, no_such_function };

	return suite_run("dynlib", tests, ARRAY_SIZE(tests), NULL, NULL);
}
