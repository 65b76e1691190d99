/* SPDX-License-Identifier: MIT */
/* -chardev, and -serial's short form of it. What is connected to what is settled in cli_serial.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

static const char why_plain[] = "Kite speaks neither telnet nor TLS nor WebSocket on sockets";
#define RECONNECT_MAX 86400

#define CHARDEV_ROW(k, t, ...) { .key = #k, .type = t, .offset = offsetof(struct config_chardev, k), __VA_ARGS__ }
#define CHARDEV_COMMON                                                                         \
	CHARDEV_ROW(id, PROP_STRING, .required = true), CHARDEV_ROW(mux, PROP_BOOL),           \
	CHARDEV_ROW(logfile, PROP_STRING, .min = 1), CHARDEV_ROW(logappend, PROP_BOOL)

static const char *const names_off[] = { "off", NULL };
static const char *const names_switch[] = { "on", "off", NULL };

static const struct prop_row plain_rows[] = {
	CHARDEV_COMMON,
	{ .key = NULL },
};

static const struct prop_row stdio_rows[] = {
	CHARDEV_COMMON,
	CHARDEV_ROW(signal, PROP_BOOL),
	{ .key = NULL },
};

static const struct prop_row file_rows[] = {
	CHARDEV_COMMON,
	CHARDEV_ROW(path, PROP_STRING, .required = true, .min = 1),
	CHARDEV_ROW(append, PROP_BOOL),
	{ .key = NULL },
};

static const struct prop_row socket_rows[] = {
	CHARDEV_COMMON,
	CHARDEV_ROW(path, PROP_STRING, .min = 1, .max = SOCKET_PATH_MAX),
	CHARDEV_ROW(host, PROP_STRING),
	CHARDEV_ROW(port, PROP_STRING, .min = 1),
	CHARDEV_ROW(fd, PROP_UNSIGNED, .max = INT32_MAX),
	CHARDEV_ROW(server, PROP_BOOL),
	CHARDEV_ROW(wait, PROP_BOOL),
	CHARDEV_ROW(reconnect, PROP_UNSIGNED, .max = RECONNECT_MAX),
	{ .key = "nodelay", .type = PROP_FIXED, .names = names_switch, .why = "expected on or off" },
	{ .key = "telnet", .type = PROP_FIXED, .names = names_off, .why = why_plain },
	{ .key = "websocket", .type = PROP_FIXED, .names = names_off, .why = why_plain },
	{ .key = "tls-creds", .type = PROP_FIXED, .names = prop_names_none, .why = why_plain },
	{ .key = NULL },
};

struct backend {
	const char *name;
	enum chardev_backend backend;
	struct prop_table props;
};

static const struct backend backends[] = {
	{ "stdio", CHARDEV_STDIO, { .rows = stdio_rows } },
	{ "file", CHARDEV_FILE, { .rows = file_rows } },
	{ "pty", CHARDEV_PTY, { .rows = plain_rows } },
	{ "socket", CHARDEV_SOCKET, { .rows = socket_rows } },
	{ "null", CHARDEV_NULL, { .rows = plain_rows } },
	{ "callback", CHARDEV_CALLBACK, { .rows = plain_rows } },
};

static const struct backend *find_backend(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
		if (!strcmp(backends[i].name, name))
			return &backends[i];
	return NULL;
}

static bool is_given(const struct prop_list *l, const char *key)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->items[i].key, key))
			return true;
	return false;
}

/* One address, of one kind. */
static int check_socket(const struct config_chardev *chr, const struct prop_ctx *ctx)
{
	bool inherited = chr->fd != CONFIG_NO_FD;

	if (!!chr->path + (chr->host || chr->port) + inherited != 1)
		return err_set(ctx->err, -EINVAL, "%s: give one of path=FILE, [host=HOST,]port=PORT and fd=NUMBER", ctx->what);
	if (chr->host && !chr->port)
		return err_set(ctx->err, -EINVAL, "%s: property 'port' is missing beside host=%s", ctx->what, err_show(chr->host).s);
	if (chr->reconnect && (chr->server || inherited))
		return err_set(ctx->err, -EINVAL, "%s: property 'reconnect' is for clients, which have an address to connect to", ctx->what);
	return 0;
}

/* Fills `chr` from the list, with the defaults of its back end. `chr` is to be freed also after a failure. */
static int fill_chardev(struct config_chardev *chr, const struct backend *b, const struct prop_list *l,
			const struct prop_ctx *ctx)
{
	bool wait_given = is_given(l, "wait") || is_given(l, "nowait");

	*chr = (struct config_chardev){ .backend = b->backend, .fd = CONFIG_NO_FD, .signal = b->backend == CHARDEV_STDIO };
	if (props_apply(l, &b->props, chr, ctx) < 0)
		return ctx->err->code;
	if (!cli_value_id(chr->id))
		return err_set(ctx->err, -EINVAL,
			       "%s: property 'id': '%s' is not an identifier: a letter, then letters, digits, '-', '.' or '_'", ctx->what,
			       err_show(chr->id).s);
	if (!chr->server && wait_given)
		return err_set(ctx->err, -EINVAL, "%s: property 'wait' is for server=on only", ctx->what);
	if (chr->server && !wait_given)
		chr->wait = true;
	return b->backend == CHARDEV_SOCKET ? check_socket(chr, ctx) : 0;
}

/* Adds `chr` to the configuration, which owns its strings from then on. */
static int add_chardev(struct cli *cli, const struct config_chardev *chr, const char *what, struct err *err)
{
	struct vm_config *cfg = cli->cfg;

	if (cfg->n_chardevs == CONFIG_MAX_CHARDEVS)
		return err_set(err, -E2BIG, "%s: more than %d character devices", what, CONFIG_MAX_CHARDEVS);
	for (size_t i = 0; i < cfg->n_chardevs; i++) {
		const struct config_chardev *other = &cfg->chardevs[i];

		if (!strcmp(other->id, chr->id))
			return err_set(err, -EEXIST, "%s: there is already a chardev with the id '%s'; give that one another id", what,
				       err_show(chr->id).s);
		if (other->backend == CHARDEV_STDIO && chr->backend == CHARDEV_STDIO)
			return err_set(err, -EBUSY, "%s: stdio is already used by chardev '%s'; only one can have it", what,
				       err_show(other->id).s);
	}
	cfg->chardevs[cfg->n_chardevs++] = *chr;
	return 0;
}

static int make_chardev(struct cli *cli, const struct backend *b, const struct prop_list *l, bool mon, const struct prop_ctx *ctx)
{
	struct config_chardev chr;
	int ret = fill_chardev(&chr, b, l, ctx);

	if (mon) {
		/* As a console with Ctrl-a keys it has another way out than Ctrl-C, which the guest then gets. */
		chr.mux = true;
		chr.signal = false;
	}
	if (ret == 0)
		ret = add_chardev(cli, &chr, ctx->what, ctx->err);
	if (ret < 0) {
		free(chr.id);
		free(chr.path);
		free(chr.host);
		free(chr.logfile);
		free(chr.port);
	}
	return ret;
}

int cli_chardev(struct cli *cli, const char *arg, struct err *err)
{
	char what[32] = "-chardev";
	struct prop_ctx ctx = { .what = what, .notes = &cli->notes, .err = err };
	struct prop_list l = { .items = NULL };
	const struct backend *b = NULL;
	char *name = NULL;
	int ret = prop_list_parse(&l, arg, "backend", &ctx);

	if (ret == 0)
		ret = prop_list_take(&l, "backend", &name, &ctx);
	if (ret == 0) {
		b = name ? find_backend(name) : NULL;
		if (!b)
			ret = err_set(err, -EINVAL, "-chardev: back end '%s' is not available; use stdio, file, pty, socket or null",
				      err_show(name ? name : "").s);
	}
	if (ret == 0) {
		snprintf(what, sizeof(what), "-chardev %s", b->name);
		ret = make_chardev(cli, b, &l, false, &ctx);
	}
	free(name);
	prop_list_fini(&l);
	return ret;
}

/* [HOST]:PORT[,PROPERTY=VALUE...]; an IPv6 address in brackets. */
static int parse_tcp(const char *arg, struct prop_list *l, const struct prop_ctx *ctx)
{
	size_t len = strcspn(arg, ",");
	const char *colon = memrchr(arg, ':', len);
	char host[256], port[64];
	size_t host_len = colon ? (size_t)(colon - arg) : 0, port_len = colon ? len - host_len - 1 : 0;

	if (host_len >= 2 && *arg == '[' && colon[-1] == ']') {
		arg++;
		len--;
		host_len -= 2;
	}
	if (port_len == 0 || port_len >= sizeof(port) || host_len >= sizeof(host))
		return err_set(ctx->err, -EINVAL, "%s: tcp: needs [HOST]:PORT, got '%s'", ctx->what, err_show(arg).s);
	snprintf(host, sizeof(host), "%.*s", (int)host_len, arg);
	snprintf(port, sizeof(port), "%.*s", (int)port_len, colon + 1);
	if (colon[1 + port_len] == ',' && prop_list_parse(l, colon + 2 + port_len, NULL, ctx) < 0)
		return ctx->err->code;
	if (prop_list_add(l, "host", host, PROP_FORM_TEXT, false, ctx) < 0)
		return ctx->err->code;
	return prop_list_add(l, "port", port, PROP_FORM_TEXT, false, ctx);
}

/* Reads the short form into `l`: which back end it is, or NULL with `err`. */
static const struct backend *parse_short(const char *arg, struct prop_list *l, const struct prop_ctx *ctx)
{
	if (!strcmp(arg, "stdio") || !strcmp(arg, "pty") || !strcmp(arg, "null"))
		return find_backend(arg);
	/* All that follows is the file's name, commas too; a socket's can be followed by properties. */
	if (!strncmp(arg, "file:", 5))
		return prop_list_add(l, "path", arg + 5, PROP_FORM_TEXT, false, ctx) < 0 ? NULL : find_backend("file");
	if (!strncmp(arg, "unix:", 5) || !strncmp(arg, "tcp:", 4)) {
		if (*arg == 'u' ? prop_list_parse(l, arg + 5, "path", ctx) < 0 : parse_tcp(arg + 4, l, ctx) < 0)
			return NULL;
		if (!is_given(l, "id"))
			return find_backend("socket");
		err_set(ctx->err, -EINVAL, "%s: property 'id' is not taken here; use -chardev socket,id=... and -serial chardev:ID",
			ctx->what);
		return NULL;
	}
	err_set(ctx->err, -EINVAL,
		"%s: '%s' is not available; use [mon:]stdio, pty, null, none, file:FILE, unix:PATH[,server=on], tcp:[HOST]:PORT[,server=on] or chardev:ID", ctx->what,
		err_show(arg).s);
	return NULL;
}

/* Makes the chardev `id` of a short form. */
static int make_short(struct cli *cli, const char *arg, const char *id, const struct prop_ctx *ctx)
{
	struct prop_list l = { .items = NULL };
	bool mon = !strncmp(arg, "mon:", 4);
	const struct backend *b = parse_short(mon ? arg + 4 : arg, &l, ctx);
	int ret = b ? prop_list_add(&l, "id", id, PROP_FORM_TEXT, false, ctx) : ctx->err->code;

	if (ret == 0)
		ret = make_chardev(cli, b, &l, mon, ctx);
	if (ret == 0 && mon)
		ret = cli_monitor_behind(cli, id, ctx->what, ctx->err);
	prop_list_fini(&l);
	return ret;
}

int cli_chardev_add_short(struct cli *cli, const char *arg, const char *id, const char *what, struct err *err)
{
	const struct prop_ctx ctx = { .what = what, .notes = &cli->notes, .err = err };

	return make_short(cli, arg, id, &ctx);
}

int cli_serial_add(struct cli *cli, const char *arg, const char *what, struct err *err)
{
	struct cli_port *port = &cli->ports[cli->n_ports];
	const char *chardev = NULL;
	char id[16];

	if (cli->n_ports == CONFIG_MAX_SERIALS)
		return err_set(err, -E2BIG, "%s: more than %d serial ports", what, CONFIG_MAX_SERIALS);
	snprintf(id, sizeof(id), "serial%zu", cli->n_ports);
	if (!strncmp(arg, "chardev:", 8)) {
		chardev = arg + 8;
	} else if (strcmp(arg, "none")) {
		if (cli_chardev_add_short(cli, arg, id, what, err) < 0)
			return err->code;
		chardev = id;
	}
	if (chardev && cli_set_string(&port->chardev, chardev, err) < 0)
		return err->code;
	cli->n_ports++;
	return 0;
}

int cli_serial(struct cli *cli, const char *arg, struct err *err)
{
	return cli_serial_add(cli, arg, "-serial", err);
}
