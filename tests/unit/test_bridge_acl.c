/* SPDX-License-Identifier: MIT */
/* Who may have a tap on which bridge. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/bridge_acl.h"

static char dir[] = "/tmp/kite-acl-XXXXXX";

static void setup(void)
{
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

/* "DIR" in the text is the directory. */
static const char *put(const char *name, const char *text)
{
	static char path[8][128];
	static unsigned n;
	char *out = path[n++ % 8];
	FILE *f;

	snprintf(out, sizeof(path[0]), "%s/%s", dir, name);
	f = fopen(out, "w");
	ck_assert_ptr_nonnull(f);
	for (const char *p = text; *p; p++)
		if (!strncmp(p, "DIR", 3)) {
			fputs(dir, f);
			p += 2;
		} else {
			fputc(*p, f);
		}
	fclose(f);
	return out;
}

static int ask(const char *path, const char *bridge, struct bridge_acl *acl)
{
	*acl = (struct bridge_acl){ .bridge = bridge };
	return bridge_acl_read(acl, path, getuid());
}

static const struct {
	const char *text, *bridge;
	bool allowed;
} rules[] = {
	{ "", "br0", false },
	{ "allow br0\n", "br0", true },
	{ "allow br0", "br0", true },
	{ "  allow\tbr0   # a comment\r\n", "br0", true },
	{ "# allow br0\n", "br0", false },
	{ "allow br0\n", "br00", false },
	{ "allow br00\n", "br0", false },
	{ "allow all\n", "anything", true },
	{ "allow all\ndeny br0\n", "br0", false },
	{ "deny br0\nallow all\n", "br0", false },
	{ "deny br0\nallow all\n", "br1", true },
	{ "deny all\nallow br0\n", "br0", false },
	{ "include DIR/more\n", "br0", true },
	{ "include DIR/more\ndeny br0\n", "br0", false },
	{ "include DIR/missing\nallow br1\n", "br1", true },
};

START_TEST(decides)
{
	struct bridge_acl acl;

	put("more", "allow br0\n");
	ck_assert_msg(ask(put("acl", rules[_i].text), rules[_i].bridge, &acl) == 0, "%s", acl.why);
	ck_assert_msg((acl.allowed && !acl.denied) == rules[_i].allowed, "%s: %d %d", rules[_i].text, acl.allowed, acl.denied);
}
END_TEST

static const struct {
	const char *text;
	int code;
	const char *words;
} bad[] = {
	{ "allow\n", -EINVAL, "acl:1: expected" },
	{ "allow br0 br1\n", -EINVAL, "acl:1: expected" },
	{ "\nallwo br0\n", -EINVAL, "acl:2: expected allow, deny or include" },
	{ "include more\n", -EINVAL, "from the root" },
	{ "include DIR/acl\n", -ELOOP, "include each other" },
	{ "include DIR\n", -EINVAL, "no regular file" },
	{ "include DIR/bad\n", -EINVAL, "bad:1" },
};

START_TEST(refuses)
{
	struct bridge_acl acl;

	put("bad", "nonsense");
	ck_assert_int_eq(ask(put("acl", bad[_i].text), "br0", &acl), bad[_i].code);
	ck_assert_msg(strstr(acl.why, bad[_i].words) != NULL, "%s", acl.why);
}
END_TEST

START_TEST(not_root)
{
	struct bridge_acl acl = { .bridge = "br0" };
	const char *path = put("acl", "allow br0\n");

	ck_assert_int_eq(bridge_acl_read(&acl, path, getuid() + 1), -EPERM);
	ck_assert_int_eq(chmod(path, 0666), 0);
	ck_assert_int_eq(ask(path, "br0", &acl), -EPERM);
	ck_assert(!acl.allowed);
	ck_assert_int_eq(ask("/nonexistent/acl", "br0", &acl), -ENOENT);
}
END_TEST

START_TEST(long_line)
{
	static char text[6000];
	struct bridge_acl acl;

	memset(text, 'x', sizeof(text) - 1);
	memcpy(text, "allow ", 6);
	ck_assert_int_eq(ask(put("acl", text), "br0", &acl), -E2BIG);
	/* So many files that none is left for the last. */
	text[0] = '\0';
	for (unsigned i = 0; i < BRIDGE_ACL_FILES; i++)
		strcat(text, "include DIR/m\n");
	put("m", "");
	ck_assert_int_eq(ask(put("acl", text), "br0", &acl), -ELOOP);
}
END_TEST

START_TEST(names)
{
	static const char *const good[] = { "br0", "virbr-1.x_y", "a", "123456789012345" };
	static const char *const wrong[] = { "", ".", "..", "a/b", "a b", "1234567890123456", "br0\n", "%d", "b\xc3\xa4" };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ck_assert_msg(bridge_acl_name_ok(good[i]), "%s", good[i]);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_msg(!bridge_acl_name_ok(wrong[i]), "%s", wrong[i]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bridge_acl");
	TCase *t = tcase_create("bridge_acl");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, decides, 0, sizeof(rules) / sizeof(rules[0]));
	tcase_add_loop_test(t, refuses, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(t, not_root);
	tcase_add_test(t, long_line);
	tcase_add_test(t, names);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
