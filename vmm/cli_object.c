/* SPDX-License-Identifier: MIT */
/* -object: one row a type. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define NO_EFFECT(k) { .key = k, .type = PROP_FIXED }

static const struct prop_row iothread_rows[] = {
	{ .key = "id", .type = PROP_STRING, .offset = offsetof(struct config_iothread, id), .required = true },
	{ .key = "poll-max-ns", .type = PROP_U64, .offset = offsetof(struct config_iothread, poll_max_ns), .max = IOTHREAD_POLL_NS_MAX },
	NO_EFFECT("poll-grow"),
	NO_EFFECT("poll-shrink"),
	NO_EFFECT("aio-max-batch"),
	NO_EFFECT("thread-pool-min"),
	NO_EFFECT("thread-pool-max"),
	{ .key = NULL },
};
static const struct prop_table iothread_props = { .rows = iothread_rows };

int cli_object_check_id(const struct cli *cli, const char *id, const struct prop_ctx *ctx)
{
	const struct vm_config *cfg = cli->cfg;
	unsigned n = 0;

	if (!cli_value_id(id))
		return err_set(ctx->err, -EINVAL,
			       "%s: property 'id': '%s' is not an identifier: a letter, then letters, digits, '-', '.' or '_'", ctx->what,
			       err_show(id).s);
	for (size_t i = 0; i < cfg->n_iothreads; i++)
		n += !strcmp(cfg->iothreads[i].id, id);
	for (size_t i = 0; i < cfg->n_rng_sources; i++)
		n += !strcmp(cfg->rng_sources[i].id, id);
	for (size_t i = 0; i < cfg->n_throttle_groups; i++)
		n += !strcmp(cfg->throttle_groups[i].group, id);
	if (n > 1)
		return err_set(ctx->err, -EEXIST, "%s: there is already an object with the id '%s'", ctx->what, err_show(id).s);
	return 0;
}

static int add_iothread(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	struct vm_config *cfg = cli->cfg;
	struct config_iothread *t = &cfg->iothreads[cfg->n_iothreads];

	if (cfg->n_iothreads == CONFIG_MAX_IOTHREADS)
		return err_set(ctx->err, -E2BIG, "%s: more than %d of them", ctx->what, CONFIG_MAX_IOTHREADS);
	/* Counted before it is filled, so that config_fini frees it whatever happens. */
	cfg->n_iothreads++;
	t->poll_max_ns = IOTHREAD_POLL_NS;
	if (props_apply(l, &iothread_props, t, ctx) < 0)
		return ctx->err->code;
	return cli_object_check_id(cli, t->id, ctx);
}

/* What libvirt gives every machine for the keys of encrypted images, which there are none of. The file is not read. */
static const struct prop_row secret_rows[] = {
	{ .key = "id", .type = PROP_FIXED, .required = true },
	NO_EFFECT("format"),
	NO_EFFECT("file"),
	NO_EFFECT("data"),
	NO_EFFECT("keyid"),
	NO_EFFECT("iv"),
	{ .key = NULL },
};
static const struct prop_table secret_props = { .rows = secret_rows };

static int add_secret(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	/* Not as a note, which would show what is secret. */
	const struct prop_ctx silent = { .what = ctx->what, .err = ctx->err };

	(void)cli;
	return props_apply(l, &secret_props, NULL, &silent);
}

static const struct {
	const char *name;
	int (*add)(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
} types[] = {
	{ "iothread", add_iothread },
	{ "rng-random", cli_rng_random_add },
	{ "rng-builtin", cli_rng_builtin_add },
	{ "throttle-group", cli_throttle_group_add },
	{ "secret", add_secret },
};

static int add_object(struct cli *cli, struct prop_list *l, struct err *err)
{
	char what[48] = "-object", *type;
	struct prop_ctx ctx = { .what = what, .notes = &cli->notes, .err = err };
	int ret = -ENOENT;

	if (prop_list_take(l, "qom-type", &type, &ctx) < 0)
		return err->code;
	for (size_t i = 0; type && i < ARRAY_SIZE(types); i++) {
		if (strcmp(types[i].name, type))
			continue;
		snprintf(what, sizeof(what), "-object %s", types[i].name);
		ret = types[i].add(cli, l, &ctx);
		break;
	}
	if (ret == -ENOENT)
		ret = err_set(err, -EINVAL, "-object: type '%s' is not available; known: iothread, rng-random, rng-builtin, throttle-group, secret",
			      err_show(type ? type : "").s);
	free(type);
	return ret;
}

int cli_object(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-object", .notes = &cli->notes, .err = err };
	struct prop_list l = { .items = NULL };
	int ret = *arg == '{' ? prop_list_parse_json(&l, arg, &ctx) : prop_list_parse(&l, arg, "qom-type", &ctx);

	if (ret == 0)
		ret = add_object(cli, &l, err);
	prop_list_fini(&l);
	return ret;
}
