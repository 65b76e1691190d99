/* SPDX-License-Identifier: MIT */
/*
 * Walks argv, looks each option up in the table and does what its row says. What depends on several options waits for cli_finish.
 */
#include "vmm/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/config_json.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

static const struct cli_option *find_option(const char *name)
{
	for (size_t i = 0; i < cli_n_options; i++)
		if (!strcmp(cli_options[i].name, name))
			return &cli_options[i];
	return NULL;
}

static int refuse_unknown(const char *arg, const char *name, struct err *err)
{
	const char *best = NULL;
	int best_distance = 0;

	for (size_t i = 0; i < cli_n_options; i++) {
		int d = cli_near(name, cli_options[i].name);

		if (d >= 0 && (!best || d < best_distance)) {
			best = cli_options[i].name;
			best_distance = d;
		}
	}
	if (best)
		return err_set(err, -EINVAL, "%s: unknown option; did you mean -%s?", err_show(arg).s, best);
	return err_set(err, -EINVAL, "%s: unknown option; -help lists those there are", err_show(arg).s);
}

static int ignore_option(struct cli *cli, const struct cli_option *opt, const char *arg, struct err *err)
{
	if (opt->names) {
		const char *const *name = opt->names;

		while (*name && strcmp(*name, arg))
			name++;
		if (!*name)
			return err_set(err, -EINVAL, "-%s: '%s' is not available: %s; the only value is %s", opt->name,
				       err_show(arg).s, opt->why, opt->names[0]);
	}
	return strv_addf(&cli->notes, err, "-%s%s%s has no effect", opt->name, arg ? " " : "", arg ? err_show(arg).s : "");
}

static int set_string(struct vm_config *cfg, const struct cli_option *opt, const char *arg, struct err *err)
{
	if (strlen(arg) < opt->min)
		return err_set(err, -EINVAL, "-%s: the value is empty", opt->name);
	return cli_set_string((char **)((char *)cfg + opt->offset), arg, err);
}

static int parse_props(struct cli *cli, const struct cli_option *opt, const char *arg, struct err *err)
{
	char what[32] = "-";
	struct prop_ctx ctx = { .what = what, .notes = &cli->notes, .err = err };

	strncat(what, opt->name, sizeof(what) - 2);
	return props_parse(arg, opt->props, cli->cfg, &ctx);
}

static int do_option(struct cli *cli, const struct cli_option *opt, const char *arg, struct err *err)
{
	switch (opt->kind) {
	case CLI_OPTION_CALL:
		return opt->handle(cli, arg, err);
	case CLI_OPTION_FLAG:
		*(bool *)((char *)cli->cfg + opt->offset) = true;
		return 0;
	case CLI_OPTION_STRING:
		return set_string(cli->cfg, opt, arg, err);
	case CLI_OPTION_PROPS:
		return parse_props(cli, opt, arg, err);
	case CLI_OPTION_IGNORE:
		return ignore_option(cli, opt, arg, err);
	}
	return -EINVAL;
}

/* -config brings everything else. */
static bool goes_with_config(const char *name)
{
	static const char *const names[] = { "config", "dump-config", "S", "d", "display" };
	size_t i = 0;

	while (i < ARRAY_SIZE(names) && strcmp(names[i], name))
		i++;
	return i < ARRAY_SIZE(names);
}

/* Reads the option at `argv[*i]`, with its value, and leaves `*i` at the last word taken. */
static int take_option(struct cli *cli, int argc, char *const argv[], int *i, struct err *err)
{
	const char *word = argv[*i], *name = word, *arg = NULL;
	const struct cli_option *opt;

	if (*word != '-') {
		cli->beside = word;
		return cli_image(cli, word, err);
	}
	name += word[1] == '-' ? 2 : 1;
	opt = find_option(name);
	if (!opt)
		return refuse_unknown(word, name, err);
	if (!goes_with_config(opt->name))
		cli->beside = word;
	if (opt->takes_arg) {
		if (*i + 1 >= argc)
			return err_set(err, -EINVAL, "-%s: needs a value after it; see -help", opt->name);
		arg = argv[++*i];
	}
	return do_option(cli, opt, arg, err);
}

/* The configuration of -config, instead of what options would make. */
static int read_config(struct cli *cli, struct err *err)
{
	struct vm_config *cfg = cli->cfg;
	bool paused = cfg->paused, debug = cfg->debug_log;

	if (cli->beside)
		return err_set(err, -EINVAL, "-config: the file is the whole configuration; leave %s out, or change the file",
			       err_show(cli->beside).s);
	config_fini(cfg);
	config_init(cfg);
	if (config_read_file(cfg, cli->config_file, err) < 0)
		return err->code;
	cfg->paused |= paused;
	cfg->debug_log |= debug;
	return 0;
}

static void cli_fini(struct cli *cli)
{
	for (size_t i = 0; i < cli->n_ports; i++)
		free(cli->ports[i].chardev);
	for (size_t i = 0; i < cli->n_uarts; i++)
		cli_uart_fini(&cli->uarts[i]);
	for (size_t i = 0; i < cli->n_drives; i++) {
		free(cli->drives[i].serial);
		cli_below_fini(&cli->drives[i].below);
	}
	for (size_t i = 0; i < cli->cfg->n_scsi_units; i++)
		free(cli->scsi_units[i].bus);
	cli_blockdev_fini(cli);
	for (size_t i = 0; i < cli->n_vports; i++)
		cli_vport_fini(&cli->vports[i]);
	free(cli->hub);
	strv_fini(&cli->device_ids);
	strv_fini(&cli->notes);
}

int cli_parse(int argc, char *const argv[], struct vm_config *cfg, enum cli_action *action, struct err *err)
{
	struct cli *cli = sparse_alloc(sizeof(*cli)); /* 20 KiB, of which few options need most */
	int ret = 0;

	if (!cli)
		return err_set(err, -ENOMEM, "no memory to read the command line");
	cli->cfg = cfg;
	cli->action = CLI_RUN;
	for (int i = 1; i < argc && ret == 0 && cli->action == CLI_RUN; i++)
		ret = take_option(cli, argc, argv, &i, err);
	if (ret == 0 && cli->action == CLI_RUN)
		ret = cli->config_file ? read_config(cli, err) : cli_finish(cli, err);
	if (ret == 0) {
		*action = cli->action == CLI_RUN && cli->dump_config ? CLI_DUMP_CONFIG : cli->action;
		/* Held back until here, because -d may come last. */
		if (cfg->debug_log)
			log_set_level(LOG_LEVEL_DEBUG);
		for (size_t i = 0; i < cli->notes.n; i++)
			log_debug("%s", cli->notes.v[i]);
	}
	cli_fini(cli);
	sparse_free(cli, sizeof(*cli));
	return ret;
}
