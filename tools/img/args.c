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

static bool takes_value(const struct img_option *row)
{
	return row->kind != ARG_FLAG && (row->kind != ARG_ACTION || row->value);
}

/* getopt's tables. */
static void parser_init(struct parser *p, const struct img_option *rows)
{
	size_t n_long = 0, n_short = 0;

	memset(p, 0, sizeof(*p));
	p->shorts[n_short++] = ':';
	for (int i = 0; i < OPTIONS_MAX && rows[i].kind != ARG_END; i++) {
		bool value = takes_value(&rows[i]);

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
			       row->letter ? "" : name + 1, err_show(text).s, row->kind == ARG_SIZE ? "size" : "number");
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
			return err_set(err, -EINVAL, "--output is human or json, not '%s'", err_show(text).s);
		*(bool *)at = !strcmp(text, "json");
		return 0;
	case ARG_ACTION:
		if (strv_add((struct strv *)at, row->name, err) < 0)
			return err->code;
		return text ? strv_add((struct strv *)at, text, err) : 0;
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

/* Of the long option that is meant, or NULL. */
static const char *option_near(const struct img_option *rows, const char *text)
{
	const char *best = NULL;
	char name[64];
	int least = -1;

	snprintf(name, sizeof(name), "%.*s", (int)min_u64(strcspn(text, "="), sizeof(name) - 1), text);
	for (int i = 0; rows[i].kind != ARG_END; i++) {
		int far = rows[i].name ? cli_near(name, rows[i].name) : -1;

		if (far >= 0 && (least < 0 || far < least)) {
			best = rows[i].name;
			least = far;
		}
	}
	return best;
}

static int unknown_option(const struct img_command *cmd, const char *text, struct err *err)
{
	const char *best = strncmp(text, "--", 2) == 0 ? option_near(cmd->options, text + 2) : NULL;

	if (best)
		return err_set(err, -EINVAL, "%s has no option '%s'; did you mean '--%s'?", cmd->name, err_show(text).s, best);
	return err_set(err, -EINVAL, "%s has no option '%s'; see kite-img %s --help", cmd->name, err_show(text).s, cmd->name);
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
			return err_set(err, -EINVAL, "option '%s' needs a value; see kite-img %s --help", err_show(argv[optind - 1]).s, cmd->name);
		if (!row && optopt > 0 && optopt < LONG_BASE)
			return err_set(err, -EINVAL, "%s has no option '-%c'; see kite-img %s --help", cmd->name, optopt, cmd->name);
		if (!row)
			return unknown_option(cmd, argv[optind - 1], err);
		if (store(args, row, optarg, err) < 0)
			return err->code;
	}
	args->operands = argv + optind;
	args->n_operands = argc - optind;
	if (args->object)
		/* Its kind only: the rest may be a password. */
		return err_set(err, -ENOTSUP, "--object %.*s: objects are for encrypted images, which kite-img neither reads nor makes",
			       (int)min_u64(strcspn(args->object, ",="), 40), args->object);
	if (args->help || strv_has(&args->options, "help") || strv_has(&args->options, "?"))
		return 0;
	if (args->n_operands < cmd->min || (cmd->max >= 0 && args->n_operands > cmd->max))
		return err_set(err, -EINVAL, "%s wants %s; see kite-img %s --help", cmd->name, cmd->wants, cmd->name);
	return 0;
}

void img_args_fini(struct img_args *args)
{
	strv_fini(&args->options);
	strv_fini(&args->actions);
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
		if (takes_value(o))
			printf("%s%s", o->letter ? " " : "=", o->value);
		printf("]");
	}
	printf(" %s\n    %s\n", cmd->operands, cmd->what);
}
