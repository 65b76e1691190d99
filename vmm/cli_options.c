/* SPDX-License-Identifier: MIT */
/* The option table, the text of -help made of the same rows, and the handlers that are too small for a file of their own. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

static const char *const names_none[] = { "none", NULL };

bool cli_is_help(const char *arg)
{
	return !strcmp(arg, "help") || !strcmp(arg, "?");
}

static int cli_help(struct cli *cli, const char *arg, struct err *err)
{
	(void)arg;
	(void)err;
	cli->action = CLI_HELP;
	return 0;
}

static int cli_version(struct cli *cli, const char *arg, struct err *err)
{
	(void)arg;
	(void)err;
	cli->action = CLI_VERSION;
	return 0;
}

static int cli_log_items(struct cli *cli, const char *arg, struct err *err)
{
	if (cli_is_help(arg)) {
		cli->action = CLI_LOG_HELP;
		return 0;
	}
	for (const char *end;; arg = end + 1) {
		char item[32];

		end = strchrnul(arg, ',');
		snprintf(item, sizeof(item), "%.*s", (int)min_u64((uint64_t)(end - arg), sizeof(item)), arg);
		if (!strcmp(item, "debug"))
			cli->cfg->debug_log = true;
		else if (!strcmp(item, "exits"))
			cli->cfg->count_exits = true;
		else
			return err_set(err, -EINVAL, "-d: unknown log item '%s'; known: debug, exits", err_show(item).s);
		if (!*end)
			return 0;
	}
}

static int cli_display(struct cli *cli, const char *arg, struct err *err)
{
	if (strcmp(arg, "none"))
		return err_set(err, -EINVAL, "-display: '%s' is not available: Kite has no display; give none", err_show(arg).s);
	cli->display_none = true;
	return 0;
}

static int cli_dump_config(struct cli *cli, const char *arg, struct err *err)
{
	(void)arg;
	(void)err;
	cli->dump_config = true;
	return 0;
}

static int cli_config(struct cli *cli, const char *arg, struct err *err)
{
	if (cli->config_file)
		return err_set(err, -EINVAL, "-config: only one file is the whole configuration");
	cli->config_file = arg;
	return 0;
}

static int cli_snapshot(struct cli *cli, const char *arg, struct err *err)
{
	(void)arg;
	(void)err;
	cli->snapshot = true;
	return 0;
}

#define GROUP(t)
#define OPTION(n, v, h, ...) { .name = n, .takes_arg = true, __VA_ARGS__ },
#define SWITCH(n, h, ...) { .name = n, __VA_ARGS__ },
#define HIDDEN(n, takes, ...) { .name = n, .takes_arg = takes, __VA_ARGS__ },
const struct cli_option cli_options[] = {
#include "vmm/cli_option_list.h"
};
#undef GROUP
#undef OPTION
#undef SWITCH
#undef HIDDEN

const size_t cli_n_options = ARRAY_SIZE(cli_options);

#define GROUP(t) "\n" t ":\n"
#define OPTION(n, v, h, ...) "  -" n " " v "\n          " h "\n"
#define SWITCH(n, h, ...) "  -" n "\n          " h "\n"
#define HIDDEN(n, takes, ...)
const char cli_options_help[] =
	"usage: kite [OPTION...] [DISK-IMAGE]\n"
	"\n"
	"Kite runs a virtual machine on KVM. Its options are those of QEMU.\n"
#include "vmm/cli_option_list.h"
	;
