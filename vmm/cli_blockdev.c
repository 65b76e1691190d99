/* SPDX-License-Identifier: MIT */
/*
 * -blockdev: a graph of nodes, put together into drives.
 *
 * QEMU builds a disk of a protocol node (file, host_device) and a format node over it; without a format node the file is raw, and a
 * raw node changes nothing. A throttle may be over either. So each chain becomes one struct config_drive, with the name of its top node:
 * read-only, unsafe caching and zero detection when any layer asks for them, discard when all do. A node that was written inside another
 * one takes its settings over. There is at most one format and one throttle in a chain.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

enum node_aio { AIO_THREADS, AIO_IO_URING, AIO_NATIVE };
enum node_detect { DETECT_OFF, DETECT_ON, DETECT_UNMAP };

struct node_opts {
	char *name, *path, *child, *group, *format;
	bool read_only, auto_read_only, direct, no_flush;
	unsigned discard; /* the odd ones mean unmap */
	unsigned detect_zeroes, aio, lock;
};

static const char *const names_discard[] = { "ignore", "unmap", "off", "on", NULL };
static const char *const names_detect[] = { "off", "on", "unmap", NULL };
static const char *const names_aio[] = { "threads", "io_uring", "native", NULL };
static const char *const names_lock[] = { "auto", "on", "off", NULL };

#define ROW(k, t, f, ...) { .key = k, .type = t, .offset = offsetof(struct node_opts, f), ##__VA_ARGS__ }
#define ROWS_OF_ALL                                                                                                       \
	ROW("node-name", PROP_STRING, name), ROW("read-only", PROP_BOOL, read_only),                                      \
	ROW("auto-read-only", PROP_BOOL, auto_read_only), ROW("cache.direct", PROP_BOOL, direct),                         \
	ROW("cache.no-flush", PROP_BOOL, no_flush), ROW("discard", PROP_ENUM, discard, .names = names_discard),           \
	ROW("detect-zeroes", PROP_ENUM, detect_zeroes, .names = names_detect),                                            \
	{ .key = "force-share", .type = PROP_FIXED, .names = prop_names_off, .why = "a file that others write cannot be shared" }

static const struct prop_row file_rows[] = {
	ROWS_OF_ALL,
	ROW("filename", PROP_STRING, path, .min = 1, .required = true),
	ROW("aio", PROP_ENUM, aio, .names = names_aio),
	ROW("locking", PROP_ENUM, lock, .names = names_lock),
	{ .key = NULL },
};

static const struct prop_row raw_rows[] = {
	ROWS_OF_ALL,
	ROW("file", PROP_STRING, child, .min = 1, .required = true),
	{ .key = NULL },
};

static const struct prop_row throttle_rows[] = {
	ROWS_OF_ALL,
	ROW("file", PROP_STRING, child, .min = 1, .required = true),
	ROW("throttle-group", PROP_STRING, group, .min = 1, .required = true),
	{ .key = NULL },
};

static const struct prop_table file_props = { .rows = file_rows }, raw_props = { .rows = raw_rows }, throttle_props = { .rows = throttle_rows };

void cli_blockdev_fini(struct cli *cli)
{
	for (size_t i = 0; i < cli->n_nodes; i++) {
		free(cli->nodes[i].name);
		free(cli->nodes[i].format);
		free(cli->nodes[i].child);
		free(cli->nodes[i].path);
		free(cli->nodes[i].group);
	}
}

static struct cli_node *find_node(struct cli *cli, const char *name)
{
	for (size_t i = 0; i < cli->n_nodes; i++)
		if (!strcmp(cli->nodes[i].name, name))
			return &cli->nodes[i];
	return NULL;
}

/* Which table a driver has. -EINVAL with `err` for those that have none. */
static int find_driver(const char *driver, const struct prop_ctx *ctx, const struct prop_table **table)
{
	*table = &file_props;
	if (!driver)
		return err_set(ctx->err, -EINVAL, "%s: property 'driver' is missing: give driver=file, host_device, raw, qcow2 or throttle", ctx->what);
	if (!strcmp(driver, "file") || !strcmp(driver, "host_device"))
		return 0;
	*table = !strcmp(driver, "throttle") ? &throttle_props : &raw_props;
	if (*table == &throttle_props || cli_drive_check_format(driver, "driver", ctx) == 0)
		return 0;
	if (ctx->err->code == -ENOTSUP)
		return -ENOTSUP;
	return err_set(ctx->err, -EINVAL, "%s: driver '%s' is not available; use file, host_device, raw, qcow2 or throttle", ctx->what,
		       cli_show(driver).s);
}

/* Adds a node; `o`'s strings become its own. */
static int store_node(struct cli *cli, struct node_opts *o, bool nested, const struct prop_ctx *ctx)
{
	struct cli_node *node = &cli->nodes[cli->n_nodes];

	if (cli->n_nodes == ARRAY_SIZE(cli->nodes))
		return err_set(ctx->err, -E2BIG, "%s: more than %zu nodes", ctx->what, ARRAY_SIZE(cli->nodes));
	if (o->detect_zeroes == DETECT_UNMAP && o->discard % 2 == 0)
		return err_set(ctx->err, -EINVAL, "%s: detect-zeroes=unmap needs discard=unmap", ctx->what);
	if (o->aio == AIO_NATIVE && strv_addf(&cli->notes, ctx->err, "%s: aio=native is taken as io_uring", ctx->what) < 0)
		return ctx->err->code;
	*node = (struct cli_node){
		.name = o->name,
		.format = o->format,
		.child = o->child,
		.group = o->group,
		.nested = nested,
		.path = o->path,
		.read_only = o->read_only,
		.auto_read_only = o->auto_read_only,
		.direct = o->direct,
		.no_flush = o->no_flush,
		.discard = o->discard % 2 == 1,
		.detect_zeroes = o->detect_zeroes != DETECT_OFF,
		.aio_threads = o->aio == AIO_THREADS,
		.lock = strcmp(names_lock[o->lock], "off") != 0,
	};
	cli->n_nodes++;
	o->name = o->child = o->path = o->group = o->format = NULL;
	return 0;
}

/* Moves what is in `l` under "file." to `inner`, without that. */
static int split_nested(struct prop_list *l, struct prop_list *inner, const struct prop_ctx *ctx)
{
	size_t kept = 0;
	int ret = 0;

	for (size_t i = 0; i < l->n; i++) {
		struct prop_item *item = &l->items[i];

		if (strncmp(item->key, "file.", 5)) {
			l->items[kept++] = *item;
			continue;
		}
		if (ret == 0)
			ret = prop_list_add(inner, item->key + 5, item->text, item->form, item->in_array, ctx);
		free(item->key);
		free(item->text);
	}
	l->n = kept;
	return ret;
}

static int add_node(struct cli *cli, struct prop_list *l, bool inner, char **name, const struct prop_ctx *ctx);

/* The node written inside `o`, if there is one: it gets a name of its own. */
static int add_inner(struct cli *cli, struct prop_list *l, struct node_opts *o, bool *nested, const struct prop_ctx *ctx)
{
	struct prop_list below = { .items = NULL };
	int ret = split_nested(l, &below, ctx);

	*nested = below.n > 0;
	for (size_t i = 0; ret == 0 && *nested && i < l->n; i++)
		if (!strcmp(l->items[i].key, "file"))
			ret = err_set(ctx->err, -EINVAL, "%s: property 'file' is both a node's name and a node", ctx->what);
	if (ret == 0 && *nested)
		ret = add_node(cli, &below, true, &o->child, ctx);
	/* The table wants it given. */
	if (ret == 0 && *nested)
		ret = prop_list_add(l, "file", o->child, PROP_FORM_TEXT, false, ctx);
	prop_list_fini(&below);
	return ret;
}

/* Adds the node in `l`, `inner` when it is inside another one, and then `*name` gets a copy of its name. */
static int add_node(struct cli *cli, struct prop_list *l, bool inner, char **name, const struct prop_ctx *ctx)
{
	struct node_opts o = { .aio = AIO_IO_URING };
	const struct prop_table *table = &file_props;
	bool nested = false;
	char *driver, made_up[16];
	int ret = prop_list_take(l, "driver", &driver, ctx);

	if (ret == 0)
		ret = find_driver(driver, ctx, &table);
	if (ret == 0 && table == &raw_props)
		ret = cli_set_string(&o.format, driver, ctx->err);
	free(driver);
	if (ret < 0)
		return ret;
	if (table != &file_props)
		ret = add_inner(cli, l, &o, &nested, ctx);
	if (ret == 0)
		ret = props_apply(l, table, &o, ctx);
	if (ret == 0 && o.name)
		ret = cli_drive_check_id(cli, o.name, "node-name", ctx);
	else if (ret == 0 && !inner)
		ret = err_set(ctx->err, -EINVAL, "%s: property 'node-name' is missing: give node-name=...", ctx->what);
	snprintf(made_up, sizeof(made_up), "#block%zu", cli->n_nodes);
	if (ret == 0 && !o.name)
		ret = cli_set_string(&o.name, made_up, ctx->err);
	if (ret == 0 && name)
		ret = cli_set_string(name, o.name, ctx->err);
	if (ret == 0)
		ret = store_node(cli, &o, nested, ctx);
	free(o.format);
	props_fini(&file_props, &o);
	props_fini(&throttle_props, &o); /* and with it all that raw_props has */
	return ret;
}

int cli_blockdev(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-blockdev", .notes = &cli->notes, .err = err };
	struct prop_list l = { .items = NULL };
	int ret = *arg == '{' ? prop_list_parse_json(&l, arg, &ctx) : prop_list_parse(&l, arg, "driver", &ctx);

	if (ret == 0)
		ret = add_node(cli, &l, false, NULL, &ctx);
	prop_list_fini(&l);
	return ret;
}

/* Finds the node below each, which is then no drive by itself. */
static int link_nodes(struct cli *cli, struct err *err)
{
	for (size_t i = 0; i < cli->n_nodes; i++) {
		const struct cli_node *node = &cli->nodes[i];
		struct cli_node *below;

		if (!node->child)
			continue;
		below = find_node(cli, node->child);
		if (!below)
			return err_set(err, -ENOENT, "-blockdev: node '%s' has file=%s, but there is no node of that name; add -blockdev "
						     "driver=file,node-name=%s,filename=...",
				       cli_show(node->name).s, cli_show(node->child).s, cli_show(node->child).s);
		if (below->used)
			return err_set(err, -EBUSY, "-blockdev: node '%s' has file=%s, which is in use by another node", cli_show(node->name).s,
				       cli_show(node->child).s);
		below->used = true;
	}
	return 0;
}

/* Whether the chain from `top` down ends in a file, with no layer twice. */
static int check_chain(struct cli *cli, const struct cli_node *top, struct err *err)
{
	const struct cli_node *format = NULL, *throttle = NULL;

	for (const struct cli_node *node = top; node->child; node = find_node(cli, node->child)) {
		const struct cli_node **seen = node->group ? &throttle : &format;

		if (*seen)
			return err_set(err, -EINVAL, "-blockdev: node '%s' is over '%s', which is a %s too; leave one of them out",
				       cli_show((*seen)->name).s, cli_show(node->name).s, node->group ? "throttle" : "format");
		*seen = node;
		if (node->group && !cli_throttle_group_exists(cli, node->group))
			return err_set(err, -ENOENT, "-blockdev: node '%s' has throttle-group=%s, which is not defined; add "
						     "-object throttle-group,id=%s,x-iops-total=...",
				       cli_show(node->name).s, cli_show(node->group).s, cli_show(node->group).s);
	}
	return 0;
}

static enum config_cache cache_mode(bool direct, bool no_flush)
{
	if (direct)
		return CONFIG_CACHE_NONE; /* flushes are made: safer than asked for */
	return no_flush ? CONFIG_CACHE_UNSAFE : CONFIG_CACHE_WRITEBACK;
}

/* What the nodes from `top` down make together; its strings are borrowed. */
static struct cli_node merge_chain(struct cli *cli, const struct cli_node *top)
{
	struct cli_node all = *top;

	for (const struct cli_node *node = top; node->child;) {
		const struct cli_node *below = find_node(cli, node->child);

		all.read_only |= below->read_only;
		all.no_flush |= below->no_flush;
		all.detect_zeroes |= below->detect_zeroes;
		all.auto_read_only = below->auto_read_only || (node->nested && all.auto_read_only);
		all.direct = below->direct || (node->nested && all.direct);
		all.discard = all.discard && (below->discard || node->nested);
		all.group = all.group ? all.group : below->group;
		all.format = all.format ? all.format : below->format;
		all.aio_threads = below->aio_threads;
		all.lock = below->lock;
		all.path = below->path;
		node = below;
	}
	return all;
}

static int add_drive(struct cli *cli, const struct cli_node *top, struct err *err)
{
	const struct cli_node all = merge_chain(cli, top);
	struct vm_config *cfg = cli->cfg;
	struct config_drive *d = &cfg->drives[cfg->n_drives];

	if (cfg->n_drives == CONFIG_MAX_DRIVES)
		return err_set(err, -E2BIG, "-blockdev: more than %d drives", CONFIG_MAX_DRIVES);
	*d = (struct config_drive){
		.image = {
			.read_only = all.read_only,
			.auto_read_only = all.auto_read_only,
			.cache = cache_mode(all.direct, all.no_flush),
			.discard = all.discard,
			.detect_zeroes = all.detect_zeroes,
			.aio_threads = all.aio_threads,
			.lock = all.lock,
		},
	};
	/* Counted before its strings, so that config_fini frees them whatever happens. */
	cfg->n_drives++;
	if (cli_set_string(&d->id, top->name, err) < 0 || (all.group && cli_set_string(&d->throttle.group, all.group, err) < 0))
		return err->code;
	if (cli_set_string(&d->image.path, all.path, err) < 0)
		return err->code;
	return cli_set_string(&d->image.format, all.format ? all.format : "raw", err);
}

int cli_blockdev_finish(struct cli *cli, struct err *err)
{
	int ret = link_nodes(cli, err);

	/* All of them, so that nodes in a ring, of which none is at the top, are seen too. */
	for (size_t i = 0; ret == 0 && i < cli->n_nodes; i++)
		ret = check_chain(cli, &cli->nodes[i], err);
	for (size_t i = 0; ret == 0 && i < cli->n_nodes; i++)
		if (!cli->nodes[i].used)
			ret = add_drive(cli, &cli->nodes[i], err);
	return ret;
}
