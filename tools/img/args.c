/* SPDX-License-Identifier: MIT */
/* Command lines, by the tables of options that commands.c has. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/img.h"
#include "vmm/util.h"

#define OPTIONS_MAX 40
#define LONG_BASE 1000 /* values of long options: this and the row */

struct parser {
	struct option longs[OPTIONS_MAX + 1];
	char shorts[2 * OPTIONS_MAX + 4];
};

/* getopt's tables. */
static void parser_init(struct parser *p, const struct img_option *rows)
{
	size_t n_long = 0, n_short = 0;

	memset(p, 0, sizeof(*p));
	p->shorts[n_short++] = ':';
	for (int i = 0; i < OPTIONS_MAX && rows[i].kind != ARG_END; i++) {
		bool value = rows[i].kind != ARG_FLAG;

		if (rows[i].letter) {
			p->shorts[n_short++] = rows[i].letter;
			if (value)
				p->shorts[n_short++] = ':';
		}
		if (rows[i].name)
			p->longs[n_long++] = (struct option){ rows[i].name, value ? required_argument : no_argument, NULL, LONG_BASE + i };
	}
}

static int number_parse(const struct img_option *row, const char *text, uint64_t *out, struct err *err)
{
	const char *name = row->name ? row->name : "";

	if (row->kind == ARG_SIZE ? !cli_value_size(text, 1, out) || *out > INT64_MAX : !cli_value_uint(text, out))
		return err_set(err, -EINVAL, "%s%c%s: '%s' is not a %s", row->letter ? "-" : "--", row->letter ? row->letter : name[0],
			       row->letter ? "" : name + 1, cli_show(text).s, row->kind == ARG_SIZE ? "size" : "number");
	if (row->max && (*out < row->min || *out > row->max))
		return err_set(err, -EINVAL, "%s%c%s: %llu is not between %llu and %llu", row->letter ? "-" : "--",
			       row->letter ? row->letter : name[0], row->letter ? "" : name + 1, (unsigned long long)*out,
			       (unsigned long long)row->min, (unsigned long long)row->max);
	return 0;
}

static int store(struct img_args *args, const struct img_option *row, const char *text, struct err *err)
{
	char *at = (char *)args + row->offset;

	if (row->has_offset)
		*(bool *)((char *)args + row->has_offset) = true;
	switch (row->kind) {
	case ARG_FLAG:
		*(bool *)at = true;
		return 0;
	case ARG_TEXT:
		*(const char **)at = text;
		return 0;
	case ARG_TEXTS:
		return strv_add((struct strv *)at, text, err);
	case ARG_SIZE:
	case ARG_NUMBER:
		return number_parse(row, text, (uint64_t *)at, err);
	case ARG_OUTPUT:
		if (strcmp(text, "human") != 0 && strcmp(text, "json") != 0)
			return err_set(err, -EINVAL, "--output is human or json, not '%s'", cli_show(text).s);
		*(bool *)at = !strcmp(text, "json");
		return 0;
	case ARG_END:
		break;
	}
	return -EINVAL;
}

static const struct img_option *row_find(const struct img_option *rows, int c)
{
	for (int i = 0; rows[i].kind != ARG_END; i++)
		if (c == LONG_BASE + i || (c < LONG_BASE && rows[i].letter == c))
			return &rows[i];
	return NULL;
}

int img_args_parse(const struct img_command *cmd, int argc, char **argv, struct img_args *args, struct err *err)
{
	struct parser p;
	int c;

	parser_init(&p, cmd->options);
	opterr = 0;
	optind = 0;
	while ((c = getopt_long(argc, argv, p.shorts, p.longs, NULL)) != -1) {
		const struct img_option *row = row_find(cmd->options, c);

		if (c == ':')
			return err_set(err, -EINVAL, "option '%s' needs a value; see kite-img %s --help", cli_show(argv[optind - 1]).s, cmd->name);
		if (!row && optopt > 0 && optopt < LONG_BASE)
			return err_set(err, -EINVAL, "%s has no option '-%c'; see kite-img %s --help", cmd->name, optopt, cmd->name);
		if (!row)
			return err_set(err, -EINVAL, "%s has no option '%s'; see kite-img %s --help", cmd->name, cli_show(argv[optind - 1]).s,
				       cmd->name);
		if (store(args, row, optarg, err) < 0)
			return err->code;
	}
	args->operands = argv + optind;
	args->n_operands = argc - optind;
	if (args->object)
		return err_set(err, -ENOTSUP, "--object: kite-img has no objects (encrypted images are not supported)");
	if (args->help || strv_has(&args->options, "help") || strv_has(&args->options, "?"))
		return 0;
	if (args->n_operands < cmd->min || (cmd->max >= 0 && args->n_operands > cmd->max))
		return err_set(err, -EINVAL, "%s wants %s; see kite-img %s --help", cmd->name, cmd->wants, cmd->name);
	return 0;
}

void img_args_fini(struct img_args *args)
{
	strv_fini(&args->options);
}

void img_command_help(const struct img_command *cmd)
{
	printf("kite-img %s", cmd->name);
	for (const struct img_option *o = cmd->options; o->kind != ARG_END; o++) {
		printf(" [");
		if (o->letter)
			printf("-%c%s", o->letter, o->name ? "|" : "");
		if (o->name)
			printf("--%s", o->name);
		if (o->kind != ARG_FLAG)
			printf("%s%s", o->letter ? " " : "=", o->value);
		printf("]");
	}
	printf(" %s\n    %s\n", cmd->operands, cmd->what);
}
