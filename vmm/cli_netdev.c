/* SPDX-License-Identifier: MIT */
/* -netdev: which types there are, and what is said of a tap. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define BRIDGE_DEFAULT "br0"
#define SCRIPT_DEFAULT "/etc/qemu-ifup"
#define DOWNSCRIPT_DEFAULT "/etc/qemu-ifdown"
#define POLL_US_MAX 1000000

static const char why_netmap[] = "Kite has taps for that";

int cli_netdev_fd(const char *text, const char *key, int *fd, const struct prop_ctx *ctx)
{
	uint64_t v;

	if (!cli_value_uint(text, &v) || v > INT_MAX)
		return err_set(ctx->err, -EINVAL, "%s: property '%s': expected the number of a descriptor that Kite inherits, got '%s'", ctx->what,
			       key, err_show(text).s);
	*fd = (int)v;
	return 0;
}

/* "3" or "3:4:5". */
static int parse_fds(const char *text, const char *key, int *fds, unsigned *n, const struct prop_ctx *ctx)
{
	char word[24];

	for (*n = 0; text; text = *text ? text + 1 : NULL) {
		size_t len = strcspn(text, ":");

		if (*n == CONFIG_MAX_NET_QUEUES)
			return err_set(ctx->err, -E2BIG, "%s: property '%s': more than %d descriptors", ctx->what, key, CONFIG_MAX_NET_QUEUES);
		snprintf(word, sizeof(word), "%.*s", (int)min_u64(len, sizeof(word)), text);
		if (cli_netdev_fd(word, key, &fds[*n], ctx) < 0)
			return ctx->err->code;
		for (unsigned i = 0; i < *n; i++)
			if (fds[i] == fds[*n])
				return err_set(ctx->err, -EINVAL, "%s: property '%s': descriptor %d is given twice", ctx->what, key, fds[i]);
		(*n)++;
		text += len;
		if (!*text)
			break;
	}
	return 0;
}

/* ---- tap ---- */

struct tap_opts {
	char *ifname, *fd, *fds, *script, *downscript, *br, *helper, *vhostfd, *vhostfds;
	unsigned queues; /* 0: not given */
	unsigned vnet_hdr, vhost, vhost_force; /* enum config_tristate */
	uint64_t sndbuf, poll_us;
};

#define ROW(k, t, s, f, ...) { .key = k, .type = t, .offset = offsetof(struct s, f), ##__VA_ARGS__ }

static const struct prop_row tap_rows[] = {
	ROW("ifname", PROP_STRING, tap_opts, ifname, .min = 1, .max = IFNAMSIZ - 1),
	ROW("fd", PROP_STRING, tap_opts, fd, .min = 1),
	ROW("fds", PROP_STRING, tap_opts, fds, .min = 1),
	ROW("queues", PROP_UNSIGNED, tap_opts, queues, .min = 1, .max = CONFIG_MAX_NET_QUEUES),
	ROW("script", PROP_STRING, tap_opts, script),
	ROW("downscript", PROP_STRING, tap_opts, downscript),
	ROW("br", PROP_STRING, tap_opts, br, .min = 1, .max = IFNAMSIZ - 1),
	ROW("helper", PROP_STRING, tap_opts, helper, .min = 1),
	ROW("vhost", PROP_SWITCH, tap_opts, vhost, .names = cli_names_tristate),
	ROW("vhostforce", PROP_SWITCH, tap_opts, vhost_force, .names = cli_names_tristate),
	ROW("vhostfd", PROP_STRING, tap_opts, vhostfd, .min = 1),
	ROW("vhostfds", PROP_STRING, tap_opts, vhostfds, .min = 1),
	ROW("sndbuf", PROP_SIZE, tap_opts, sndbuf, .max = INT_MAX),
	ROW("vnet_hdr", PROP_SWITCH, tap_opts, vnet_hdr, .names = cli_names_tristate),
	ROW("poll-us", PROP_U64, tap_opts, poll_us, .max = POLL_US_MAX),
	{ .key = NULL },
};
static const struct prop_table tap_props = { .rows = tap_rows };

static const struct prop_row bridge_rows[] = {
	ROW("br", PROP_STRING, tap_opts, br, .min = 1, .max = IFNAMSIZ - 1),
	ROW("helper", PROP_STRING, tap_opts, helper, .min = 1),
	{ .key = NULL },
};
static const struct prop_table bridge_props = { .rows = bridge_rows };

/* Where the tap comes from: `given` excludes those of the others. */
static int check_source(const struct tap_opts *o, const struct prop_ctx *ctx)
{
	const char *source = o->fd ? "fd" : o->fds ? "fds" : o->helper ? "helper" : o->br ? "br" : NULL;
	const struct {
		const char *key;
		bool given;
	} others[] = {
		{ "ifname", o->ifname }, { "script", o->script }, { "downscript", o->downscript }, { "vnet_hdr", o->vnet_hdr != CONFIG_AUTO },
		{ "queues", o->queues }, { "fds", o->fds && o->fd }, { "helper", o->helper && (o->fd || o->fds) },
		{ "br", o->br && (o->fd || o->fds) },
	};

	for (size_t i = 0; source && i < ARRAY_SIZE(others); i++)
		if (others[i].given)
			return err_set(ctx->err, -EINVAL, "%s: property '%s' does not go with '%s', which brings a tap that is made already; leave it out",
				       ctx->what, others[i].key, source);
	if (o->vhostfd && o->vhostfds)
		return err_set(ctx->err, -EINVAL, "%s: give vhostfd or vhostfds, not both", ctx->what);
	return 0;
}

static int settle_vhost(const struct tap_opts *o, struct config_tap *tap, const struct prop_ctx *ctx)
{
	const char *text = o->vhostfds ? o->vhostfds : o->vhostfd, *key = o->vhostfds ? "vhostfds" : "vhostfd";

	if (text && parse_fds(text, key, tap->vhost_fds, &tap->n_vhost_fds, ctx) < 0)
		return ctx->err->code;
	tap->vhost_force = o->vhost_force == CONFIG_ON;
	/* Who gives the means wants the end, unless they say otherwise. */
	tap->vhost = o->vhost == CONFIG_AUTO ? text || tap->vhost_force : o->vhost == CONFIG_ON;
	if (!tap->vhost && (text || tap->vhost_force))
		return err_set(ctx->err, -EINVAL, "%s: vhost=off and '%s' contradict each other; leave one out", ctx->what,
			       text ? key : "vhostforce");
	if (tap->n_vhost_fds && tap->n_vhost_fds != tap->queues)
		return err_set(ctx->err, -EINVAL, "%s: property '%s': %u descriptors for %u queue pairs; give one for each", ctx->what, key,
			       tap->n_vhost_fds, tap->queues);
	return 0;
}

/* A script's path; NULL where none is to be run. */
static int settle_script(char **given, const char *by_default, bool wanted, char **out, const struct prop_ctx *ctx)
{
	if (!wanted || (*given && (!strcmp(*given, "no") || !**given)))
		return 0;
	if (!*given)
		return cli_set_string(out, by_default, ctx->err);
	*out = *given;
	*given = NULL;
	return 0;
}

static int settle_tap(struct tap_opts *o, bool bridge, struct config_tap *tap, const struct prop_ctx *ctx)
{
	bool own = !o->fd && !o->fds && !o->br && !o->helper && !bridge;

	if (check_source(o, ctx) < 0)
		return ctx->err->code;
	tap->queues = o->queues ? o->queues : 1;
	if ((o->fd || o->fds) && parse_fds(o->fd ? o->fd : o->fds, o->fd ? "fd" : "fds", tap->fds, &tap->n_fds, ctx) < 0)
		return ctx->err->code;
	if (o->fd && tap->n_fds > 1)
		return err_set(ctx->err, -EINVAL, "%s: property 'fd' is one descriptor; give several with fds=", ctx->what);
	if (tap->n_fds)
		tap->queues = tap->n_fds;
	tap->script_default = own && !o->script;
	if (settle_script(&o->script, SCRIPT_DEFAULT, own, &tap->script, ctx) < 0 ||
	    settle_script(&o->downscript, DOWNSCRIPT_DEFAULT, own, &tap->downscript, ctx) < 0 || settle_vhost(o, tap, ctx) < 0)
		return ctx->err->code;
	if ((bridge || o->helper) && !o->br && cli_set_string(&o->br, BRIDGE_DEFAULT, ctx->err) < 0)
		return ctx->err->code;
	tap->ifname = o->ifname;
	tap->bridge = o->br;
	tap->helper = o->helper;
	o->ifname = o->br = o->helper = NULL;
	tap->vnet_hdr = (enum config_tristate)o->vnet_hdr;
	tap->sndbuf = o->sndbuf;
	tap->poll_us = o->poll_us;
	return 0;
}

static int add_tap(struct config_netdev *netdev, const struct prop_list *l, const struct prop_ctx *ctx)
{
	struct tap_opts o = { .ifname = NULL };
	int ret = props_apply(l, &tap_props, &o, ctx);

	netdev->type = CONFIG_NETDEV_TAP;
	if (ret == 0)
		ret = settle_tap(&o, false, &netdev->tap, ctx);
	props_fini(&tap_props, &o);
	return ret;
}

static int add_bridge(struct config_netdev *netdev, const struct prop_list *l, const struct prop_ctx *ctx)
{
	struct tap_opts o = { .ifname = NULL };
	int ret = props_apply(l, &bridge_props, &o, ctx);

	netdev->type = CONFIG_NETDEV_TAP;
	if (ret == 0)
		ret = settle_tap(&o, true, &netdev->tap, ctx);
	props_fini(&tap_props, &o);
	return ret;
}

/* ---- all types ---- */

static const struct {
	const char *name;
	int (*add)(struct config_netdev *netdev, const struct prop_list *l, const struct prop_ctx *ctx);
	const char *why; /* add NULL: what to use instead */
} types[] = {
	{ "tap", add_tap, NULL },
	{ "bridge", add_bridge, NULL },
	{ "user", cli_netdev_user, NULL },
	{ "stream", cli_netdev_stream, NULL },
	{ "dgram", cli_netdev_dgram, NULL },
	{ "socket", cli_netdev_socket, NULL },
	{ "hubport", NULL, "Kite has no hubs; put taps on a bridge of the host" },
	{ "passt", NULL, "start passt by itself, and use stream,addr.type=unix,addr.path=SOCKET" },
	{ "vde", NULL, "Kite has no VDE; use tap or stream" },
	{ "l2tpv3", NULL, "the host's kernel has L2TP tunnels (ip l2tp); bridge a tap to one" },
	{ "vhost-user", NULL, "Kite has no vhost-user yet; use tap with vhost=on" },
	{ "vhost-vdpa", NULL, "Kite has no vDPA; use tap with vhost=on" },
	{ "af-xdp", NULL, why_netmap },
	{ "netmap", NULL, why_netmap },
};

static int refuse_type(const char *type, const struct prop_ctx *ctx)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(types[i].name, type))
			return err_set(ctx->err, -EINVAL, "%s: type '%s' is not available: %s", ctx->what, type, types[i].why);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].add && cli_near(type, types[i].name) >= 0)
			return err_set(ctx->err, -EINVAL, "%s: unknown type '%s'; did you mean '%s'?", ctx->what, err_show(type).s, types[i].name);
	return err_set(ctx->err, -EINVAL, "%s: unknown type '%s'; known: tap, bridge, user, stream, dgram, socket", ctx->what, err_show(type).s);
}

struct config_netdev *cli_netdev_find(const struct cli *cli, const char *id)
{
	for (size_t i = 0; i < cli->cfg->n_netdevs; i++)
		if (cli->cfg->netdevs[i].id && !strcmp(cli->cfg->netdevs[i].id, id))
			return &cli->cfg->netdevs[i];
	return NULL;
}

/* The id that the user gave, or one that no user can give. */
static int take_id(struct cli *cli, struct prop_list *l, bool named, char **id, const struct prop_ctx *ctx)
{
	char name[24];

	if (prop_list_take(l, "id", id, ctx) < 0)
		return ctx->err->code;
	if (!*id && named)
		return err_set(ctx->err, -EINVAL, "%s: property 'id' is missing: give id=...", ctx->what);
	if (!*id) {
		snprintf(name, sizeof(name), "#net%u", cli->n_auto_netdevs++);
		return cli_set_string(id, name, ctx->err);
	}
	if (!cli_value_id(*id))
		return err_set(ctx->err, -EINVAL,
			       "%s: property 'id': '%s' is not an identifier: a letter, then letters, digits, '-', '.' or '_'", ctx->what,
			       err_show(*id).s);
	if (cli_netdev_find(cli, *id))
		return err_set(ctx->err, -EEXIST, "%s: there is already a network back end with the id '%s'", ctx->what, err_show(*id).s);
	return 0;
}

struct config_netdev *cli_netdev_add(struct cli *cli, const char *type, struct prop_list *l, bool named, const struct prop_ctx *ctx)
{
	struct vm_config *cfg = cli->cfg;
	struct config_netdev *netdev = &cfg->netdevs[cfg->n_netdevs];
	char *id = NULL;
	size_t i = 0;
	int ret;

	while (i < ARRAY_SIZE(types) && (!types[i].add || strcmp(types[i].name, type)))
		i++;
	if (i == ARRAY_SIZE(types)) {
		refuse_type(type, ctx);
		return NULL;
	}
	if (cfg->n_netdevs == CONFIG_MAX_NETDEVS) {
		err_set(ctx->err, -E2BIG, "%s: more than %d network back ends", ctx->what, CONFIG_MAX_NETDEVS);
		return NULL;
	}
	ret = take_id(cli, l, named, &id, ctx);
	/* Counted before it is filled, so that config_fini frees it whatever happens. */
	cfg->n_netdevs++;
	netdev->id = id;
	if (ret == 0)
		ret = types[i].add(netdev, l, ctx);
	return ret == 0 ? netdev : NULL;
}

int cli_netdev(struct cli *cli, const char *arg, struct err *err)
{
	char what[ERR_SHOW_MAX + 16] = "-netdev", *type = NULL;
	struct prop_ctx ctx = { .what = what, .notes = &cli->notes, .err = err };
	struct prop_list l = { .items = NULL };
	int ret = *arg == '{' ? prop_list_parse_json(&l, arg, &ctx) : prop_list_parse(&l, arg, "type", &ctx);

	cli->net_given = true;
	if (ret == 0)
		ret = prop_list_take(&l, "type", &type, &ctx);
	if (ret == 0 && !type)
		ret = err_set(err, -EINVAL, "-netdev: property 'type' is missing; known: tap, bridge, user, stream, dgram, socket");
	if (ret == 0) {
		snprintf(what, sizeof(what), "-netdev %s", err_show(type).s);
		ret = cli_netdev_add(cli, type, &l, true, &ctx) ? 0 : err->code;
	}
	free(type);
	prop_list_fini(&l);
	return ret;
}
