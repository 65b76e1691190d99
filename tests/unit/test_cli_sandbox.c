/* SPDX-License-Identifier: MIT */
/* -sandbox, -runas, -chroot, -run-with. */
#include <string.h>

#include "tests/unit/fake_cli.h"
#include "tests/unit/suite.h"
#include "vmm/cli.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/util.h"

static struct vm_config cfg;
static struct err err;

static void setup(void)
{
	err = (struct err)ERR_INIT;
	config_init(&cfg);
	cfg.sandbox.on = true; /* also in a build with a sanitizer */
}

static void teardown(void)
{
	config_fini(&cfg);
}

static int parse(const char *line)
{
	struct fake_cli w;
	enum cli_action action;

	fake_cli_split(&w, "-kernel K", line);
	return cli_parse(w.n, w.v, &cfg, &action, &err);
}

static const struct {
	const char *line;
	bool on, log, namespaces;
	size_t files;
	const char *run_as, *chroot_dir;
} good[] = {
	{ "", true, false, false, 0, NULL, NULL },
	{ "-sandbox on", true, false, false, 0, NULL, NULL },
	{ "-sandbox off", false, false, false, 0, NULL, NULL },
	{ "-sandbox enable=on,log=on", true, true, false, 0, NULL, NULL },
	{ "-sandbox on,log", true, true, false, 0, NULL, NULL },
	{ "-sandbox on,namespaces=on", true, false, true, 0, NULL, NULL },
	{ "-sandbox on,files=/a,files=/b,,c", true, false, false, 2, NULL, NULL },
	/* libvirt's */
	{ "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", true, false, false, 0, NULL, NULL },
	{ "-sandbox on,obsolete=allow,elevateprivileges=children,spawn=allow,resourcecontrol=allow", true, false, false, 0, NULL, NULL },
	/* The last one counts, and alone. */
	{ "-sandbox on,log=on,files=/a -sandbox on", true, false, false, 0, NULL, NULL },
	{ "-sandbox off -sandbox on", true, false, false, 0, NULL, NULL },
	{ "-runas kite", true, false, false, 0, "kite", NULL },
	{ "-runas 1000:1000 -chroot /empty", true, false, false, 0, "1000:1000", "/empty" },
	{ "-run-with user=kite,chroot=/empty,async-teardown=on", true, false, false, 0, "kite", "/empty" },
	{ "-sandbox on,namespaces=on -chardev socket,id=c,path=S,server=on,wait=off", true, false, true, 0, NULL, NULL },
};

START_TEST(good_lines)
{
	const struct config_sandbox *s = &cfg.sandbox;

	ck_assert_msg(parse(good[_i].line) == 0, "%s: %s", good[_i].line, err.msg);
	ck_assert_int_eq(s->on, good[_i].on);
	ck_assert_int_eq(s->log, good[_i].log);
	ck_assert_int_eq(s->namespaces, good[_i].namespaces);
	ck_assert_uint_eq(s->files.n, good[_i].files);
	ck_assert_pstr_eq(cfg.run_as, good[_i].run_as);
	ck_assert_pstr_eq(cfg.chroot_dir, good[_i].chroot_dir);
}
END_TEST

static const struct {
	const char *line, *message;
} bad[] = {
	{ "-sandbox", "-sandbox: needs a value" },
	{ "-sandbox log=on", "-sandbox: property 'enable' is missing: give enable=" },
	{ "-sandbox maybe", "-sandbox: property 'enable'" },
	{ "-sandbox on,spawn=maybe", "-sandbox: property 'spawn'" },
	{ "-sandbox on,namespace=on", "did you mean 'namespaces'?" },
	{ "-runas ''", "-runas: expected a name" },
	{ "-chroot ''", "-chroot: expected a name" },
	{ "-sandbox off -runas kite", "-runas is part of the sandbox, which is off" },
	{ "-chroot /empty -sandbox off", "-chroot is part of the sandbox, which is off" },
	{ "-sandbox on,namespaces=on -runas kite", "leave out -runas, and start Kite as that user" },
	{ "-sandbox on,namespaces=on -chroot /empty", "leave out -chroot" },
	{ "-sandbox on,namespaces=on -chardev socket,id=c,path=S,reconnect=1 -serial chardev:c", "leave out the reconnect" },
};

START_TEST(bad_lines)
{
	ck_assert_int_lt(parse(bad[_i].line), 0);
	ck_assert_msg(strstr(err.msg, bad[_i].message), "%s: %s", bad[_i].line, err.msg);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cli_sandbox");
	TCase *tests = tcase_create("cli_sandbox");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, good_lines, 0, ARRAY_SIZE(good));
	tcase_add_loop_test(tests, bad_lines, 0, ARRAY_SIZE(bad));
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
