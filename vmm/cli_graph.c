/* SPDX-License-Identifier: MIT */
/*
 * The nodes of -blockdev, once all are known, put together into drives.
 *
 * QEMU builds a disk of a protocol node (file, host_device) and a format node over it; without a format node the file is raw, and a
 * raw node changes nothing. A throttle may be over either. So each chain becomes one struct config_image: read-only, unsafe caching
 * and zero detection when any layer asks for them; a raw image's discard when all do, others' when the format does. A node that was written
 * inside another one takes its settings over. There is at most one format and one throttle in a chain, and backing files have none of the latter.
 *
 * Chains at the top are drives, with the name of their top node; others are under them as backing files, which are only read. So a node may
 * be a backing file of many; each opens it for itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

static struct cli_node *find_node(struct cli *cli, const char *name)
{
	for (size_t i = 0; i < cli->n_nodes; i++)
		if (!strcmp(cli->nodes[i].name, name))
			return &cli->nodes[i];
	return NULL;
}

/* Who names a node: for messages. */
struct user {
	const char *kind, *name;
};

/* `user` has KEY=`name`, which is then no drive by itself. */
static int use_node(struct cli *cli, const struct user *user, const char *key, const char *name, bool shared, struct err *err)
{
	struct cli_node *below = find_node(cli, name);

	if (!below)
		return err_set(err, -ENOENT, "%s '%s' has %s=%s, but there is no node of that name; add -blockdev driver=file,node-name=%s,"
					     "filename=...",
			       user->kind, err_show(user->name).s, key, err_show(name).s, err_show(name).s);
	if (below->used && !(below->shared && shared) && !below->read_only)
		return err_set(err, -EBUSY, "%s '%s' has %s=%s, which is in use by another node; only what is read-only may be shared",
			       user->kind, err_show(user->name).s, key, err_show(name).s);
	below->shared = shared && (!below->used || below->shared);
	below->used = true;
	return 0;
}

static int use_below(struct cli *cli, const struct user *user, const struct cli_below *below, struct err *err)
{
	if (below->backing && use_node(cli, user, "backing", below->backing, true, err) < 0)
		return err->code;
	return below->data_file ? use_node(cli, user, "data-file", below->data_file, false, err) : 0;
}

static int link_nodes(struct cli *cli, struct err *err)
{
	for (size_t i = 0; i < cli->n_nodes; i++) {
		const struct cli_node *node = &cli->nodes[i];
		const struct user user = { "node", node->name };

		if (node->child && use_node(cli, &user, "file", node->child, false, err) < 0)
			return err_prefix(err, "-blockdev");
		if (use_below(cli, &user, &node->below, err) < 0)
			return err_prefix(err, "-blockdev");
	}
	for (size_t i = 0; i < cli->n_drives; i++) {
		const struct user user = { "drive", cli->cfg->drives[cli->drives[i].drive].id };

		if (use_below(cli, &user, &cli->drives[i].below, err) < 0)
			return err_prefix(err, "-drive");
	}
	return 0;
}

static bool is_raw(const struct cli_node *format)
{
	return !format || (format->format && !strcmp(format->format, "raw"));
}

/* Whether the chain from `top` down ends in a file, with no layer twice. */
static int check_chain(struct cli *cli, const struct cli_node *top, struct err *err)
{
	const struct cli_node *format = NULL, *throttle = NULL;

	for (const struct cli_node *node = top; node->child; node = find_node(cli, node->child)) {
		bool is_throttle = node->kind == CLI_NODE_THROTTLE;
		const struct cli_node **seen = is_throttle ? &throttle : &format;

		if (*seen)
			return err_set(err, -EINVAL, "-blockdev: node '%s' is over '%s', which is a %s too; leave one of them out",
				       err_show((*seen)->name).s, err_show(node->name).s, is_throttle ? "throttle" : "format");
		*seen = node;
		if (is_throttle && !is_raw(format))
			return err_set(err, -EINVAL, "-blockdev: node '%s' is over '%s', which is a throttle; put the throttle over '%s'",
				       err_show(format->name).s, err_show(node->name).s, err_show(format->name).s);
		if (is_throttle && !cli_throttle_group_exists(cli, node->group))
			return err_set(err, -ENOENT, "-blockdev: node '%s' has throttle-group=%s, which is not defined; add "
						     "-object throttle-group,id=%s,x-iops-total=...",
				       err_show(node->name).s, err_show(node->group).s, err_show(node->group).s);
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
	const struct cli_node *format = top->kind == CLI_NODE_FORMAT ? top : NULL;

	for (const struct cli_node *node = top, *below; node->child; node = below) {
		below = find_node(cli, node->child);
		format = below->kind == CLI_NODE_FORMAT ? below : format;
		all.read_only |= below->read_only;
		all.no_flush |= below->no_flush;
		all.detect_zeroes |= below->detect_zeroes;
		all.auto_read_only = below->auto_read_only || (node->nested && all.auto_read_only);
		all.direct = below->direct || (node->nested && all.direct);
		if (below->kind == CLI_NODE_FORMAT || is_raw(format))
			all.discard = all.discard && (below->discard || node->nested);
		all.group = all.group ? all.group : below->group;
		all.aio_threads = below->aio_threads;
		all.lock = below->lock;
		all.path = below->path;
	}
	all.kind = format ? CLI_NODE_FORMAT : CLI_NODE_FILE;
	if (format) {
		all.format = format->format;
		all.qcow2 = format->qcow2;
		all.below = format->below;
	}
	return all;
}

/* With every chain known to end: whether the chains of backing files do. */
static int check_ring(struct cli *cli, const struct cli_node *top, struct err *err)
{
	const struct cli_node *node = top;

	for (size_t n = 0; node; n++) {
		const char *backing = merge_chain(cli, node).below.backing;

		if (n > cli->n_nodes)
			return err_set(err, -ELOOP, "-blockdev: node '%s' is its own backing file; leave out one backing=", err_show(top->name).s);
		node = backing ? find_node(cli, backing) : NULL;
	}
	return 0;
}

static int build_image(struct cli *cli, const struct cli_node *top, enum config_cache above, struct config_image *image, struct err *err);

/* Of a file under an image: a chain of its own. */
static int build_child(struct cli *cli, const char *name, enum config_cache above, struct config_image **image, struct err *err)
{
	struct cli_node *top = find_node(cli, name);

	if (merge_chain(cli, top).group)
		return err_set(err, -EINVAL, "-blockdev: node '%s' is a throttle, and under another image; put it over that", err_show(name).s);
	*image = calloc(1, sizeof(**image));
	if (!*image)
		return err_set_errno(err, -ENOMEM, "-blockdev");
	return build_image(cli, top, above, *image, err);
}

static int build_below(struct cli *cli, const struct cli_below *below, struct config_image *image, struct err *err)
{
	const enum config_cache none = CONFIG_CACHE_WRITEBACK, cache = image->cache;

	image->no_backing = below->no_backing;
	if (below->backing && build_child(cli, below->backing, below->nested_backing ? cache : none, &image->backing, err) < 0)
		return err->code;
	if (!below->data_file)
		return 0;
	if (build_child(cli, below->data_file, below->nested_data_file ? cache : none, &image->data_file, err) < 0)
		return err->code;
	if (!image->data_file->format || strcmp(image->data_file->format, "raw") != 0)
		return err_set(err, -EINVAL, "-blockdev: node '%s' cannot be a data file: it is not raw", err_show(below->data_file).s);
	return 0;
}

/* `above`: how the image that this one was written inside is cached; WRITEBACK: there is none. */
static int build_image(struct cli *cli, const struct cli_node *top, enum config_cache above, struct config_image *image, struct err *err)
{
	const struct cli_node all = merge_chain(cli, top);
	enum config_cache own = cache_mode(all.direct, all.no_flush);

	*image = (struct config_image){
		.read_only = all.read_only,
		.auto_read_only = all.auto_read_only,
		.cache = own == CONFIG_CACHE_WRITEBACK ? above : own,
		.discard = all.discard,
		.detect_zeroes = all.detect_zeroes,
		.aio_threads = all.aio_threads,
		.lock = all.lock,
		.qcow2 = all.qcow2,
	};
	if (cli_set_string(&image->path, all.path, err) < 0)
		return err->code;
	if (all.kind == CLI_NODE_FILE && cli_set_string(&image->format, "raw", err) < 0)
		return err->code;
	if (all.kind == CLI_NODE_FORMAT && all.format && cli_set_string(&image->format, all.format, err) < 0)
		return err->code;
	return build_below(cli, &all.below, image, err);
}

static int add_drive(struct cli *cli, const struct cli_node *top, struct err *err)
{
	const char *group = merge_chain(cli, top).group;
	struct vm_config *cfg = cli->cfg;
	struct config_drive *d = &cfg->drives[cfg->n_drives];

	if (cfg->n_drives == CONFIG_MAX_DRIVES)
		return err_set(err, -E2BIG, "-blockdev: more than %d drives", CONFIG_MAX_DRIVES);
	*d = (struct config_drive){ .node = true };
	/* Counted before its strings, so that config_fini frees them whatever happens. */
	cfg->n_drives++;
	if (cli_set_string(&d->id, top->name, err) < 0 || (group && cli_set_string(&d->throttle.group, group, err) < 0))
		return err->code;
	return build_image(cli, top, CONFIG_CACHE_WRITEBACK, &d->image, err);
}

/* -snapshot is of all that -drive made. */
static int apply_snapshot(struct cli *cli, struct err *err)
{
	if (!cli->snapshot)
		return 0;
	for (size_t i = 0; i < cli->n_nodes; i++)
		if (!cli->nodes[i].used)
			return err_set(err, -EINVAL, "-snapshot: does not work with -blockdev node '%s'; use -drive, or give it a qcow2 overlay: "
						     "kite-img create -f qcow2 -b FILE -F FORMAT",
				       err_show(cli->nodes[i].name).s);
	for (size_t i = 0; i < cli->n_drives; i++)
		cli->cfg->drives[cli->drives[i].drive].snapshot = true;
	return 0;
}

int cli_graph_finish(struct cli *cli, struct err *err)
{
	int ret = link_nodes(cli, err);

	if (ret == 0)
		ret = apply_snapshot(cli, err);
	/* All of them, so that nodes in a ring, of which none is at the top, are seen too. */
	for (size_t i = 0; ret == 0 && i < cli->n_nodes; i++)
		ret = check_chain(cli, &cli->nodes[i], err);
	for (size_t i = 0; ret == 0 && i < cli->n_nodes; i++)
		ret = check_ring(cli, &cli->nodes[i], err);
	for (size_t i = 0; ret == 0 && i < cli->n_drives; i++)
		ret = build_below(cli, &cli->drives[i].below, &cli->cfg->drives[cli->drives[i].drive].image, err);
	for (size_t i = 0; ret == 0 && i < cli->n_nodes; i++)
		if (!cli->nodes[i].used)
			ret = add_drive(cli, &cli->nodes[i], err);
	return ret;
}
