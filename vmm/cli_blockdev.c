/* SPDX-License-Identifier: MIT */
/*
 * -blockdev: the nodes of a graph, as they are given. A node may be written inside another one, in place of its name; it then gets a name of
 * its own. vmm/cli_graph.c puts them together.
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
	char *name, *path, *child, *group;
	bool read_only, auto_read_only, direct, no_flush;
	unsigned discard; /* the odd ones mean unmap */
	unsigned detect_zeroes, aio, lock;
	struct config_qcow2 qcow2;
	struct cli_below below;
};

static const char *const names_discard[] = { "ignore", "unmap", "off", "on", NULL };
static const char *const names_detect[] = { "off", "on", "unmap", NULL };
static const char *const names_aio[] = { "threads", "io_uring", "native", NULL };
static const char *const names_lock[] = { "auto", "on", "off", NULL };
const char *const cli_names_overlap[] = { "none", "constant", "cached", "all", NULL };

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

/* raw, and what is only read */
static const struct prop_row format_rows[] = {
	ROWS_OF_ALL,
	ROW("file", PROP_STRING, child, .min = 1, .required = true),
	{ .key = NULL },
};

static const struct prop_row qcow2_rows[] = {
	ROWS_OF_ALL,
	ROW("file", PROP_STRING, child, .min = 1, .required = true),
	CLI_QCOW2_ROWS(struct node_opts, qcow2, below),
	{ .key = NULL },
};

static const struct prop_row throttle_rows[] = {
	ROWS_OF_ALL,
	ROW("file", PROP_STRING, child, .min = 1, .required = true),
	ROW("throttle-group", PROP_STRING, group, .min = 1, .required = true),
	{ .key = NULL },
};

static const struct prop_table file_props = { .rows = file_rows }, format_props = { .rows = format_rows }, qcow2_props = { .rows = qcow2_rows },
			       throttle_props = { .rows = throttle_rows };

/* What a driver is. */
struct driver {
	enum cli_node_kind kind;
	const struct prop_table *table;
};

void cli_below_fini(struct cli_below *below)
{
	free(below->backing);
	free(below->data_file);
}

void cli_blockdev_fini(struct cli *cli)
{
	for (size_t i = 0; i < cli->n_nodes; i++) {
		free(cli->nodes[i].name);
		free(cli->nodes[i].format);
		free(cli->nodes[i].child);
		free(cli->nodes[i].path);
		free(cli->nodes[i].group);
		cli_below_fini(&cli->nodes[i].below);
	}
}

static bool has_key(const struct prop_list *l, const char *key)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->items[i].key, key))
			return true;
	return false;
}

/* -EINVAL or -ENOTSUP with `err` for those that there are not. With `probe`, a node need not say what it is. */
static int find_driver(const struct prop_list *l, const char *name, bool probe, const struct prop_ctx *ctx, struct driver *driver)
{
	*driver = (struct driver){ CLI_NODE_FILE, &file_props };
	if (!name && probe && !has_key(l, "filename")) {
		*driver = (struct driver){ CLI_NODE_FORMAT, &qcow2_props };
		return 0;
	}
	if (!name && !probe)
		return err_set(ctx->err, -EINVAL, "%s: property 'driver' is missing: give driver=file, host_device, raw, qcow2 or throttle",
			       ctx->what);
	if (!name || !strcmp(name, "file") || !strcmp(name, "host_device"))
		return 0;
	if (!strcmp(name, "throttle")) {
		*driver = (struct driver){ CLI_NODE_THROTTLE, &throttle_props };
		return 0;
	}
	*driver = (struct driver){ CLI_NODE_FORMAT, !strcmp(name, "qcow2") ? &qcow2_props : &format_props };
	if (cli_drive_check_format(name, "driver", ctx) == 0)
		return 0;
	if (ctx->err->code == -ENOTSUP)
		return -ENOTSUP;
	return err_set(ctx->err, -EINVAL, "%s: driver '%s' is not available; use file, host_device, raw, qcow2 or throttle", ctx->what,
		       err_show(name).s);
}

int cli_qcow2_check(const struct config_qcow2 *q, const struct prop_ctx *ctx)
{
	if (q->l2_cache_entry_size & (q->l2_cache_entry_size - 1))
		return err_set(ctx->err, -EINVAL, "%s: property 'l2-cache-entry-size': not a power of two", ctx->what);
	if (q->cache_size && (q->l2_cache_size > q->cache_size || q->refcount_cache_size > q->cache_size))
		return err_set(ctx->err, -EINVAL, "%s: %s is more than cache-size, which is for both caches", ctx->what,
			       q->l2_cache_size > q->cache_size ? "l2-cache-size" : "refcount-cache-size");
	return 0;
}

/* Adds a node, whose name `o` has; `o`'s strings and `*format` become its own. */
static int store_node(struct cli *cli, struct node_opts *o, enum cli_node_kind kind, char **format, bool nested, const struct prop_ctx *ctx)
{
	struct cli_node *node = &cli->nodes[cli->n_nodes];

	if (cli->n_nodes == ARRAY_SIZE(cli->nodes))
		return err_set(ctx->err, -E2BIG, "%s: more than %zu nodes", ctx->what, ARRAY_SIZE(cli->nodes));
	if (o->detect_zeroes == DETECT_UNMAP && o->discard % 2 == 0)
		return err_set(ctx->err, -EINVAL, "%s: detect-zeroes=unmap needs discard=unmap", ctx->what);
	if (cli_qcow2_check(&o->qcow2, ctx) < 0)
		return ctx->err->code;
	if (o->aio == AIO_NATIVE && strv_addf(&cli->notes, ctx->err, "%s: aio=native is taken as io_uring", ctx->what) < 0)
		return ctx->err->code;
	*node = (struct cli_node){
		.kind = kind,
		.name = o->name,
		.format = *format,
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
		.qcow2 = o->qcow2,
		.below = o->below,
	};
	cli->n_nodes++;
	*format = o->name = o->child = o->path = o->group = o->below.backing = o->below.data_file = NULL;
	return 0;
}

/* Moves what is in `l` under "KEY." to `inner`, without that. */
static int split_inner(struct prop_list *l, const char *key, struct prop_list *inner, const struct prop_ctx *ctx)
{
	size_t kept = 0, len = strlen(key);
	int ret = 0;

	for (size_t i = 0; i < l->n; i++) {
		struct prop_item *item = &l->items[i];

		if (strncmp(item->key, key, len) || item->key[len] != '.') {
			l->items[kept++] = *item;
			continue;
		}
		if (ret == 0)
			ret = prop_list_add(inner, item->key + len + 1, item->text, item->form, item->in_array, ctx);
		free(item->key);
		free(item->text);
	}
	l->n = kept;
	return ret;
}

static int add_node(struct cli *cli, struct prop_list *l, bool inner, bool probe, char **name, const struct prop_ctx *ctx);

/* The node written inside `l` as its `key`, if there is one; `l` then has its name there. */
static int take_inner(struct cli *cli, struct prop_list *l, const char *key, bool probe, bool *taken, const struct prop_ctx *ctx)
{
	struct prop_list below = { .items = NULL };
	char *name = NULL;
	int ret = split_inner(l, key, &below, ctx);

	*taken = below.n > 0;
	if (ret == 0 && *taken && has_key(l, key))
		ret = err_set(ctx->err, -EINVAL, "%s: property '%s' is both a node's name and a node", ctx->what, key);
	if (ret == 0 && *taken)
		ret = add_node(cli, &below, true, probe, &name, ctx);
	if (ret == 0 && *taken)
		ret = prop_list_add(l, key, name, PROP_FORM_TEXT, false, ctx);
	free(name);
	prop_list_fini(&below);
	return ret;
}

/* Takes out `backing` that is null, or empty, which is how that is written where there is no null. The last one counts. */
static bool take_no_backing(struct prop_list *l)
{
	bool none = false;
	size_t kept = 0;

	for (size_t i = 0; i < l->n; i++) {
		struct prop_item *item = &l->items[i];

		if (strcmp(item->key, "backing") != 0) {
			l->items[kept++] = *item;
			continue;
		}
		none = !*item->text && (item->form == PROP_FORM_NULL || item->form == PROP_FORM_TEXT || item->form == PROP_FORM_STRING);
		if (!none) {
			l->items[kept++] = *item;
			continue;
		}
		free(item->key);
		free(item->text);
	}
	l->n = kept;
	return none;
}

int cli_blockdev_inner(struct cli *cli, struct prop_list *l, bool probe, struct cli_below *below, const struct prop_ctx *ctx)
{
	below->no_backing = take_no_backing(l);
	if (take_inner(cli, l, "backing", probe, &below->nested_backing, ctx) < 0)
		return ctx->err->code;
	return take_inner(cli, l, "data-file", probe, &below->nested_data_file, ctx);
}

/* Its own name, or one that nobody can give. */
static int name_node(struct cli *cli, struct node_opts *o, bool inner, const struct prop_ctx *ctx)
{
	char made_up[16];

	if (o->name)
		return cli_drive_check_id(cli, o->name, "node-name", ctx);
	if (!inner)
		return err_set(ctx->err, -EINVAL, "%s: property 'node-name' is missing: give node-name=...", ctx->what);
	snprintf(made_up, sizeof(made_up), "#block%zu", cli->n_nodes);
	return cli_set_string(&o->name, made_up, ctx->err);
}

/*
 * Adds the node in `l`. `inner`: it is inside another one, and may have no name; `probe`: it may have no driver; `*name` gets a copy of the
 * name it has then.
 */
static int add_node(struct cli *cli, struct prop_list *l, bool inner, bool probe, char **name, const struct prop_ctx *ctx)
{
	struct node_opts o = { .aio = AIO_IO_URING };
	struct driver driver = { CLI_NODE_FILE, &file_props };
	bool nested = false;
	char *format;
	int ret = prop_list_take(l, "driver", &format, ctx);

	if (ret == 0)
		ret = find_driver(l, format, probe, ctx, &driver);
	if (ret < 0 || driver.kind != CLI_NODE_FORMAT) {
		free(format);
		format = NULL;
	}
	if (ret == 0 && driver.kind != CLI_NODE_FILE)
		ret = take_inner(cli, l, "file", probe, &nested, ctx);
	if (ret == 0 && driver.table == &qcow2_props)
		ret = cli_blockdev_inner(cli, l, probe, &o.below, ctx);
	if (ret == 0)
		ret = props_apply(l, driver.table, &o, ctx);
	if (ret == 0)
		ret = name_node(cli, &o, inner, ctx);
	if (ret == 0 && name)
		ret = cli_set_string(name, o.name, ctx->err);
	if (ret == 0)
		ret = store_node(cli, &o, driver.kind, &format, nested, ctx);
	free(format);
	props_fini(driver.table, &o);
	return ret;
}

int cli_blockdev(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-blockdev", .notes = &cli->notes, .err = err };
	struct prop_list l = { .items = NULL };
	int ret = *arg == '{' ? prop_list_parse_json(&l, arg, &ctx) : prop_list_parse(&l, arg, "driver", &ctx);

	if (ret == 0)
		ret = add_node(cli, &l, false, false, NULL, &ctx);
	prop_list_fini(&l);
	return ret;
}
