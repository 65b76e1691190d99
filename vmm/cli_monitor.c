/* SPDX-License-Identifier: MIT */
/* Monitors: -qmp, and -mon over a chardev. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

enum mode { CONTROL, READLINE };
static const char *const names_mode[] = { "control", "readline", NULL };

static int add_monitor(struct cli *cli, const char *chardev, enum mode mode, bool pretty, const char *what, struct err *err)
{
	struct vm_config *cfg = cli->cfg;

	if (cfg->n_monitors == CONFIG_MAX_MONITORS)
		return err_set(err, -E2BIG, "%s: more than %d monitors", what, CONFIG_MAX_MONITORS);
	cfg->monitors[cfg->n_monitors].pretty = pretty;
	cfg->monitors[cfg->n_monitors].human = mode == READLINE;
	return cli_set_string(&cfg->monitors[cfg->n_monitors++].chardev, chardev, err);
}

static int add_short(struct cli *cli, const char *arg, enum mode mode, bool pretty, const char *what, struct err *err)
{
	char id[32];

	if (!strcmp(arg, "none"))
		return 0;
	if (!strncmp(arg, "chardev:", 8))
		return add_monitor(cli, arg + 8, mode, pretty, what, err);
	snprintf(id, sizeof(id), "compat_monitor%zu", cli->cfg->n_monitors);
	if (!strncmp(arg, "mon:", 4))
		return err_set(err, -EINVAL, "%s: '%s' is not available: mon: is for serial consoles", what, err_show(arg).s);
	if (cli_chardev_add_short(cli, arg, id, what, err) < 0)
		return err->code;
	return add_monitor(cli, id, mode, pretty, what, err);
}

int cli_qmp(struct cli *cli, const char *arg, struct err *err)
{
	return add_short(cli, arg, CONTROL, false, "-qmp", err);
}

int cli_qmp_pretty(struct cli *cli, const char *arg, struct err *err)
{
	return add_short(cli, arg, CONTROL, true, "-qmp-pretty", err);
}

int cli_monitor_behind(struct cli *cli, const char *chardev, const char *what, struct err *err)
{
	return add_monitor(cli, chardev, READLINE, false, what, err);
}

int cli_monitor(struct cli *cli, const char *arg, struct err *err)
{
	if (!strcmp(arg, "none"))
		cli->monitor_none = true;
	return add_short(cli, arg, READLINE, false, "-monitor", err);
}

struct mon_opts {
	char *id, *chardev;
	enum mode mode;
	bool pretty;
};

static const struct prop_row mon_rows[] = {
	{ .key = "chardev", .type = PROP_STRING, .offset = offsetof(struct mon_opts, chardev), .required = true, .min = 1 },
	{ .key = "id", .type = PROP_STRING, .offset = offsetof(struct mon_opts, id) },
	{ .key = "mode", .type = PROP_ENUM, .offset = offsetof(struct mon_opts, mode), .names = names_mode },
	{ .key = "pretty", .type = PROP_BOOL, .offset = offsetof(struct mon_opts, pretty) },
	{ .key = NULL },
};
static const struct prop_table mon_props = { .implied = "chardev", .rows = mon_rows };

int cli_mon(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-mon", .notes = &cli->notes, .err = err };
	struct mon_opts opts = { .mode = READLINE };
	int ret = props_parse(arg, &mon_props, &opts, &ctx);

	if (ret == 0)
		ret = add_monitor(cli, opts.chardev, opts.mode, opts.pretty, "-mon", err);
	props_fini(&mon_props, &opts);
	return ret;
}
