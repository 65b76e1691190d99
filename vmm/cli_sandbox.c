/* SPDX-License-Identifier: MIT */
/*
 * -sandbox, -runas, -chroot, and -run-with, QEMU's newer name of the latter two. QEMU's sandbox denies what its user names; Kite's
 * denies all of that always, since nothing of Kite needs it, so `allow` changes nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"

static const char *const names_rule[] = { "deny", "allow", NULL };
static const char *const names_rule_children[] = { "deny", "allow", "children", NULL };

static const struct prop_row sandbox_rows[] = {
	{ .key = "enable", .type = PROP_BOOL, .offset = offsetof(struct config_sandbox, on), .required = true },
	{ .key = "log", .type = PROP_BOOL, .offset = offsetof(struct config_sandbox, log) },
	{ .key = "namespaces", .type = PROP_BOOL, .offset = offsetof(struct config_sandbox, namespaces) },
	{ .key = "files", .type = PROP_STRINGS, .offset = offsetof(struct config_sandbox, files), .min = 1 },
	{ .key = "obsolete", .type = PROP_FIXED, .names = names_rule, .why = "expected deny or allow" },
	{ .key = "elevateprivileges", .type = PROP_FIXED, .names = names_rule_children, .why = "expected deny, allow or children" },
	{ .key = "spawn", .type = PROP_FIXED, .names = names_rule, .why = "expected deny or allow" },
	{ .key = "resourcecontrol", .type = PROP_FIXED, .names = names_rule, .why = "expected deny or allow" },
	{ .key = NULL },
};
const struct prop_table cli_sandbox_props = { .implied = "enable", .rows = sandbox_rows };

int cli_sandbox(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-sandbox", .notes = &cli->notes, .err = err };
	struct config_sandbox *sandbox = &cli->cfg->sandbox;

	config_sandbox_fini(sandbox);
	return props_parse(arg, &cli_sandbox_props, sandbox, &ctx);
}

static int set_string(char **to, const char *arg, const char *what, struct err *err)
{
	if (!*arg)
		return err_set(err, -EINVAL, "%s: expected a name", what);
	return cli_set_string(to, arg, err);
}

int cli_runas(struct cli *cli, const char *arg, struct err *err)
{
	return set_string(&cli->cfg->run_as, arg, "-runas", err);
}

int cli_chroot(struct cli *cli, const char *arg, struct err *err)
{
	return set_string(&cli->cfg->chroot_dir, arg, "-chroot", err);
}

static const struct prop_row run_with_rows[] = {
	{ .key = "chroot", .type = PROP_STRING, .offset = offsetof(struct vm_config, chroot_dir), .min = 1 },
	{ .key = "user", .type = PROP_STRING, .offset = offsetof(struct vm_config, run_as), .min = 1 },
	{ .key = "async-teardown", .type = PROP_FIXED, .names = prop_names_on_off, .why = "expected on or off" },
	{ .key = NULL },
};
static const struct prop_table run_with_props = { .rows = run_with_rows };

int cli_run_with(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-run-with", .notes = &cli->notes, .err = err };

	return props_parse(arg, &run_with_props, cli->cfg, &ctx);
}
