/* SPDX-License-Identifier: MIT */
/* -netdev stream and dgram, and the older -netdev socket in their words. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define RECONNECT_MAX_MS UINT64_C(86400000)

/* An address as it is written, under a key such as "addr". */
struct addr_opts {
	unsigned type; /* index in names_type */
	char *host, *port, *path, *str;
	unsigned ipv4, ipv6; /* enum config_tristate */
	bool abstract;
};

struct stream_opts {
	bool server;
	uint64_t reconnect, reconnect_ms;
	struct addr_opts addr;
};

struct dgram_opts {
	struct addr_opts local, remote;
};

struct socket_opts {
	char *listen, *connect, *fd, *udp, *localaddr, *mcast;
};

static const char *const names_type[] = { "none", "inet", "unix", "fd", NULL };
static const char why_plain[] = "Kite connects as it is";

#define ROW(k, t, s, f, ...) { .key = k, .type = t, .offset = offsetof(struct s, f), ##__VA_ARGS__ }
#define FIXED(k, n) { .key = k, .type = PROP_FIXED, .names = n, .why = why_plain }
#define ADDR_ROWS(key, s, f)                                                              \
	ROW(key ".type", PROP_ENUM, s, f.type, .names = names_type),                      \
	ROW(key ".host", PROP_STRING, s, f.host),                                         \
	ROW(key ".port", PROP_STRING, s, f.port, .min = 1, .max = 31),                    \
	ROW(key ".ipv4", PROP_SWITCH, s, f.ipv4, .names = cli_names_tristate),            \
	ROW(key ".ipv6", PROP_SWITCH, s, f.ipv6, .names = cli_names_tristate),            \
	FIXED(key ".keep-alive", prop_names_off),                                         \
	FIXED(key ".mptcp", prop_names_off),                                              \
	FIXED(key ".numeric", prop_names_on_off),                                         \
	ROW(key ".path", PROP_STRING, s, f.path, .min = 1),                               \
	ROW(key ".abstract", PROP_BOOL, s, f.abstract),                                   \
	FIXED(key ".tight", prop_names_on),                                               \
	ROW(key ".str", PROP_STRING, s, f.str, .min = 1)

static const struct prop_row stream_rows[] = {
	ROW("server", PROP_BOOL, stream_opts, server),
	ROW("reconnect", PROP_U64, stream_opts, reconnect, .max = RECONNECT_MAX_MS / 1000),
	ROW("reconnect-ms", PROP_U64, stream_opts, reconnect_ms, .max = RECONNECT_MAX_MS),
	ADDR_ROWS("addr", stream_opts, addr),
	{ .key = NULL },
};
static const struct prop_row dgram_rows[] = {
	ADDR_ROWS("local", dgram_opts, local),
	ADDR_ROWS("remote", dgram_opts, remote),
	{ .key = NULL },
};
static const struct prop_row socket_rows[] = {
	ROW("listen", PROP_STRING, socket_opts, listen, .min = 1),
	ROW("connect", PROP_STRING, socket_opts, connect, .min = 1),
	ROW("fd", PROP_STRING, socket_opts, fd, .min = 1),
	ROW("udp", PROP_STRING, socket_opts, udp, .min = 1),
	ROW("mcast", PROP_STRING, socket_opts, mcast, .min = 1),
	ROW("localaddr", PROP_STRING, socket_opts, localaddr, .min = 1),
	{ .key = NULL },
};
static const struct prop_table stream_props = { .rows = stream_rows }, dgram_props = { .rows = dgram_rows };
static const struct prop_table socket_props = { .rows = socket_rows };

/* The keys of one type do not go with another. */
static int check_keys(const struct addr_opts *o, const char *key, const struct prop_ctx *ctx)
{
	const struct {
		const char *name;
		unsigned type;
		bool given, needed;
	} parts[] = {
		{ "host", CONFIG_NET_INET, o->host, true },
		{ "port", CONFIG_NET_INET, o->port, true },
		{ "ipv4", CONFIG_NET_INET, o->ipv4, false },
		{ "ipv6", CONFIG_NET_INET, o->ipv6, false },
		{ "path", CONFIG_NET_UNIX, o->path, true },
		{ "abstract", CONFIG_NET_UNIX, o->abstract, false },
		{ "str", CONFIG_NET_FD, o->str, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (parts[i].given && parts[i].type != o->type)
			return err_set(ctx->err, -EINVAL, "%s: property '%s.%s' needs %s.type=%s", ctx->what, key, parts[i].name, key,
				       names_type[parts[i].type]);
		if (!parts[i].given && parts[i].needed && parts[i].type == o->type)
			return err_set(ctx->err, -EINVAL, "%s: property '%s.%s' is missing: %s.type=%s needs it", ctx->what, key, parts[i].name,
				       key, names_type[o->type]);
	}
	if (o->ipv4 == CONFIG_OFF && o->ipv6 == CONFIG_OFF)
		return err_set(ctx->err, -EINVAL, "%s: %s.ipv4=off and %s.ipv6=off leave nothing; give one of them", ctx->what, key, key);
	if (o->path && strlen(o->path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return err_set(ctx->err, -EINVAL, "%s: property '%s.path': '%s' is too long for a socket's path", ctx->what, key,
			       err_show(o->path).s);
	return 0;
}

/* Moves the strings. */
static int settle_addr(struct addr_opts *o, const char *key, struct config_net_addr *addr, const struct prop_ctx *ctx)
{
	if (check_keys(o, key, ctx) < 0)
		return ctx->err->code;
	*addr = (struct config_net_addr){
		.type = (enum config_net_address)o->type,
		.host = o->host,
		.port = o->port,
		.path = o->path,
		.abstract = o->abstract,
		.ipv4 = o->ipv4 != CONFIG_OFF && (o->ipv4 == CONFIG_ON || o->ipv6 == CONFIG_OFF),
		.ipv6 = o->ipv6 != CONFIG_OFF && (o->ipv6 == CONFIG_ON || o->ipv4 == CONFIG_OFF),
		.fd = -1,
	};
	if (addr->ipv4 && addr->ipv6)
		addr->ipv4 = addr->ipv6 = false;
	o->host = o->port = o->path = NULL;
	return o->str ? cli_netdev_fd(o->str, key, &addr->fd, ctx) : 0;
}

static int settle_stream(struct config_netdev *netdev, struct stream_opts *o, const struct prop_ctx *ctx)
{
	netdev->stream.server = o->server;
	netdev->stream.reconnect_ms = o->reconnect ? o->reconnect * 1000 : o->reconnect_ms;
	if (o->reconnect && o->reconnect_ms)
		return err_set(ctx->err, -EINVAL, "%s: give reconnect or reconnect-ms, not both", ctx->what);
	if (netdev->stream.reconnect_ms && (o->server || o->addr.type == CONFIG_NET_FD))
		return err_set(ctx->err, -EINVAL, "%s: property 'reconnect': only a client that has an address can connect again; leave it out",
			       ctx->what);
	if (o->addr.type == CONFIG_NET_NONE)
		return err_set(ctx->err, -EINVAL, "%s: property 'addr.type' is missing: give addr.type=inet, unix or fd", ctx->what);
	return settle_addr(&o->addr, "addr", &netdev->stream.addr, ctx);
}

int cli_netdev_stream(struct config_netdev *netdev, const struct prop_list *l, const struct prop_ctx *ctx)
{
	struct stream_opts o = { .server = false };
	int ret = props_apply(l, &stream_props, &o, ctx);

	netdev->type = CONFIG_NETDEV_STREAM;
	if (ret == 0)
		ret = settle_stream(netdev, &o, ctx);
	props_fini(&stream_props, &o);
	return ret;
}

/* Which sides there have to be, as net/dgram.h says. */
static int settle_dgram(struct config_netdev *netdev, struct dgram_opts *o, const struct prop_ctx *ctx)
{
	unsigned local = o->local.type, remote = o->remote.type;

	if (remote == CONFIG_NET_FD)
		return err_set(ctx->err, -EINVAL, "%s: property 'remote.type': a descriptor is this side's; give it as local.type=fd", ctx->what);
	if (remote == CONFIG_NET_NONE && local != CONFIG_NET_FD)
		return err_set(ctx->err, -EINVAL, "%s: property 'remote.type' is missing: give the other side, or a connected socket as local.type=fd",
			       ctx->what);
	if (remote == CONFIG_NET_UNIX && local != CONFIG_NET_UNIX)
		return err_set(ctx->err, -EINVAL, "%s: remote.type=unix needs local.type=unix: the path at which this side receives", ctx->what);
	if (remote == CONFIG_NET_INET && local == CONFIG_NET_UNIX)
		return err_set(ctx->err, -EINVAL, "%s: local.type=unix does not go with remote.type=inet", ctx->what);
	if (settle_addr(&o->local, "local", &netdev->dgram.local, ctx) < 0)
		return ctx->err->code;
	return settle_addr(&o->remote, "remote", &netdev->dgram.remote, ctx);
}

int cli_netdev_dgram(struct config_netdev *netdev, const struct prop_list *l, const struct prop_ctx *ctx)
{
	struct dgram_opts o = { .local.type = CONFIG_NET_NONE };
	int ret = props_apply(l, &dgram_props, &o, ctx);

	netdev->type = CONFIG_NETDEV_DGRAM;
	if (ret == 0)
		ret = settle_dgram(netdev, &o, ctx);
	props_fini(&dgram_props, &o);
	return ret;
}

/* ---- -netdev socket ---- */

/* "HOST:PORT", "[V6]:PORT" or ":PORT", cut in place at the last colon. */
static int cut_host_port(char *text, const char *key, struct addr_opts *out, const struct prop_ctx *ctx)
{
	char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;

	if (!colon || !colon[1])
		return err_set(ctx->err, -EINVAL, "%s: property '%s': expected HOST:PORT, got '%s'", ctx->what, key, err_show(text).s);
	*colon = '\0';
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text[len - 1] = '\0';
		text++;
	}
	out->type = CONFIG_NET_INET;
	if (cli_set_string(&out->host, text, ctx->err) < 0)
		return ctx->err->code;
	return cli_set_string(&out->port, colon + 1, ctx->err);
}

static int settle_socket_stream(struct config_netdev *netdev, struct socket_opts *o, const struct prop_ctx *ctx)
{
	struct stream_opts s = { .server = o->listen, .addr.type = CONFIG_NET_FD };
	int ret = 0;

	netdev->type = CONFIG_NETDEV_STREAM;
	if (o->fd) {
		s.addr.str = o->fd;
		o->fd = NULL;
	} else {
		ret = cut_host_port(o->listen ? o->listen : o->connect, o->listen ? "listen" : "connect", &s.addr, ctx);
	}
	if (ret == 0)
		ret = settle_stream(netdev, &s, ctx);
	props_fini(&stream_props, &s);
	return ret;
}

static int settle_socket_dgram(struct config_netdev *netdev, struct socket_opts *o, const struct prop_ctx *ctx)
{
	struct dgram_opts d = { .local.type = CONFIG_NET_NONE };
	int ret = cut_host_port(o->udp ? o->udp : o->mcast, o->udp ? "udp" : "mcast", &d.remote, ctx);

	netdev->type = CONFIG_NETDEV_DGRAM;
	if (ret == 0 && o->udp && !o->localaddr)
		ret = err_set(ctx->err, -EINVAL, "%s: udp= needs localaddr=HOST:PORT, where this side receives", ctx->what);
	if (ret == 0 && o->udp)
		ret = cut_host_port(o->localaddr, "localaddr", &d.local, ctx);
	if (ret == 0 && o->mcast && o->localaddr) {
		/* The address of an interface; there is no port to it. */
		d.local.type = CONFIG_NET_INET;
		d.local.host = o->localaddr;
		o->localaddr = NULL;
		ret = cli_set_string(&d.local.port, "0", ctx->err);
	}
	if (ret == 0)
		ret = settle_dgram(netdev, &d, ctx);
	props_fini(&dgram_props, &d);
	return ret;
}

int cli_netdev_socket(struct config_netdev *netdev, const struct prop_list *l, const struct prop_ctx *ctx)
{
	struct socket_opts o = { .listen = NULL };
	int ret = props_apply(l, &socket_props, &o, ctx);

	if (ret == 0 && !!o.listen + !!o.connect + !!o.fd + !!o.udp + !!o.mcast != 1)
		ret = err_set(ctx->err, -EINVAL, "%s: give one of listen, connect, fd, udp and mcast", ctx->what);
	if (ret == 0 && o.localaddr && !o.udp && !o.mcast)
		ret = err_set(ctx->err, -EINVAL, "%s: property 'localaddr' needs udp or mcast", ctx->what);
	if (ret == 0)
		ret = o.udp || o.mcast ? settle_socket_dgram(netdev, &o, ctx) : settle_socket_stream(netdev, &o, ctx);
	props_fini(&socket_props, &o);
	return ret;
}
