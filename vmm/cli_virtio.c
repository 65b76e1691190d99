/* SPDX-License-Identifier: MIT */
/* -device virtio-serial-*, virtconsole, virtserialport and virtio-rng-*, and -object rng-*: what they are, and what belongs to what. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define NOT_GIVEN UINT_MAX
#define NAME_MAX_BYTES 255
#define RNG_PERIOD_MS 65536
#define RNG_DEFAULT_FILE "/dev/urandom"

struct serial_opts {
	char *id;
	unsigned max_ports;
	struct cli_pci_opts pci;
};

struct rng_opts {
	char *id, *rng;
	uint64_t max_bytes, period;
	struct cli_pci_opts pci;
};

static const char why_fixed[] = "the device is made that way";

#define ROW(k, t, s, f, ...) { .key = k, .type = t, .offset = offsetof(struct s, f), ##__VA_ARGS__ }
#define FIXED(k, n) { .key = k, .type = PROP_FIXED, .names = n, .why = why_fixed }
/* What they have on every bus. */
#define VIRTIO_ROWS                            \
	FIXED("ioeventfd", prop_names_on),     \
	FIXED("event_idx", prop_names_on),     \
	FIXED("indirect_desc", prop_names_on), \
	FIXED("any_layout", prop_names_on),    \
	FIXED("packed", prop_names_off),       \
	FIXED("iommu_platform", prop_names_off)
#define SERIAL_ROWS                                                                                 \
	ROW("id", PROP_STRING, serial_opts, id),                                                    \
	ROW("max_ports", PROP_UNSIGNED, serial_opts, max_ports, .min = 1, .max = CONFIG_MAX_VPORTS), \
	FIXED("emergency-write", prop_names_on),                                                    \
	VIRTIO_ROWS
#define RNG_ROWS                                                                          \
	ROW("id", PROP_STRING, rng_opts, id),                                             \
	ROW("rng", PROP_STRING, rng_opts, rng, .min = 1),                                 \
	ROW("max-bytes", PROP_U64, rng_opts, max_bytes, .min = 1, .max = INT64_MAX),      \
	ROW("period", PROP_U64, rng_opts, period, .min = 1, .max = UINT32_MAX),           \
	VIRTIO_ROWS

static const struct prop_row serial_rows[] = { SERIAL_ROWS, CLI_PCI_ROWS(struct serial_opts, pci), { .key = NULL } };
static const struct prop_row serial_mmio_rows[] = { SERIAL_ROWS, { .key = NULL } };

static const struct prop_row port_rows[] = {
	ROW("id", PROP_STRING, cli_vport, id),
	ROW("chardev", PROP_STRING, cli_vport, chardev, .min = 1),
	ROW("name", PROP_STRING, cli_vport, name, .max = NAME_MAX_BYTES),
	ROW("nr", PROP_UNSIGNED, cli_vport, nr, .max = CONFIG_MAX_VPORTS - 1),
	ROW("bus", PROP_STRING, cli_vport, bus, .min = 1),
	{ .key = NULL },
};

static const struct prop_row rng_rows[] = { RNG_ROWS, CLI_PCI_ROWS(struct rng_opts, pci), { .key = NULL } };
static const struct prop_row rng_mmio_rows[] = { RNG_ROWS, { .key = NULL } };

static const struct prop_row rng_random_rows[] = {
	ROW("id", PROP_STRING, config_rng_source, id, .required = true),
	ROW("filename", PROP_STRING, config_rng_source, filename, .min = 1),
	{ .key = NULL },
};

static const struct prop_row rng_builtin_rows[] = {
	ROW("id", PROP_STRING, config_rng_source, id, .required = true),
	{ .key = NULL },
};

const struct prop_table cli_virtio_serial_props = { .rows = serial_rows }, cli_virtio_serial_mmio_props = { .rows = serial_mmio_rows };
const struct prop_table cli_vport_props = { .rows = port_rows };
const struct prop_table cli_virtio_rng_props = { .rows = rng_rows }, cli_virtio_rng_mmio_props = { .rows = rng_mmio_rows };
static const struct prop_table rng_random_props = { .rows = rng_random_rows };
static const struct prop_table rng_builtin_props = { .rows = rng_builtin_rows };

/* virtio-serial-pci */

static int add_serial(struct cli *cli, const struct prop_list *l, const struct prop_table *props, bool modern,
		         const struct prop_ctx *ctx)
{
	struct serial_opts o = { .max_ports = CONFIG_MAX_VPORTS, .pci.vectors = CLI_VECTORS_AUTO };
	struct vm_config *cfg = cli->cfg;
	struct config_virtio_serial *serial = &cfg->virtio_serials[cfg->n_virtio_serials];
	int ret;

	if (cfg->n_virtio_serials == CONFIG_MAX_VIRTIO_SERIALS)
		return err_set(ctx->err, -E2BIG, "%s: more than %d of them", ctx->what, CONFIG_MAX_VIRTIO_SERIALS);
	ret = props_apply(l, props, &o, ctx);
	if (ret == 0)
		ret = cli_pci_settle(cli, &o.pci, modern, &serial->pci, ctx);
	if (ret == 0)
		ret = cli_device_add_id(cli, o.id, ctx);
	if (ret == 0) {
		serial->id = o.id;
		serial->max_ports = o.max_ports;
		cfg->n_virtio_serials++;
		o.id = NULL;
	}
	props_fini(props, &o);
	return ret;
}

int cli_virtio_serial_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_serial(cli, l, &cli_virtio_serial_props, false, ctx);
}

int cli_virtio_serial_add_mmio(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_serial(cli, l, &cli_virtio_serial_mmio_props, false, ctx);
}

int cli_virtio_serial_add_modern(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_serial(cli, l, &cli_virtio_serial_props, true, ctx);
}

/* virtconsole, virtserialport */

static int add_port(struct cli *cli, const struct prop_list *l, bool console, const struct prop_ctx *ctx)
{
	struct cli_vport *port = &cli->vports[cli->n_vports];

	if (cli->n_vports == CLI_MAX_VPORTS)
		return err_set(ctx->err, -E2BIG, "%s: more than %d ports", ctx->what, CLI_MAX_VPORTS);
	*port = (struct cli_vport){ .nr = NOT_GIVEN, .console = console };
	/* Counted before it is filled, so that cli_parse frees it whatever happens. */
	cli->n_vports++;
	if (props_apply(l, &cli_vport_props, port, ctx) < 0)
		return ctx->err->code;
	return cli_device_add_id(cli, port->id, ctx);
}

int cli_virtconsole_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_port(cli, l, true, ctx);
}

int cli_virtserialport_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_port(cli, l, false, ctx);
}

void cli_vport_fini(struct cli_vport *port)
{
	props_fini(&cli_vport_props, port);
}

/* virtio-rng-pci and its sources */

static int add_source(struct cli *cli, const struct prop_list *l, const struct prop_table *props, const struct prop_ctx *ctx)
{
	struct vm_config *cfg = cli->cfg;
	struct config_rng_source *source = &cfg->rng_sources[cfg->n_rng_sources];

	if (cfg->n_rng_sources == CONFIG_MAX_RNGS)
		return err_set(ctx->err, -E2BIG, "%s: more than %d of them", ctx->what, CONFIG_MAX_RNGS);
	cfg->n_rng_sources++;
	if (props_apply(l, props, source, ctx) < 0)
		return ctx->err->code;
	if (props == &rng_random_props && !source->filename && cli_set_string(&source->filename, RNG_DEFAULT_FILE, ctx->err) < 0)
		return ctx->err->code;
	return cli_object_check_id(cli, source->id, ctx);
}

int cli_rng_random_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_source(cli, l, &rng_random_props, ctx);
}

int cli_rng_builtin_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_source(cli, l, &rng_builtin_props, ctx);
}

static int add_rng(struct cli *cli, const struct prop_list *l, const struct prop_table *props, bool modern, const struct prop_ctx *ctx)
{
	struct rng_opts o = { .max_bytes = UINT64_MAX, .period = RNG_PERIOD_MS, .pci.vectors = CLI_VECTORS_AUTO };
	struct vm_config *cfg = cli->cfg;
	struct config_virtio_rng *rng = &cfg->rngs[cfg->n_rngs];
	int ret;

	if (cfg->n_rngs == CONFIG_MAX_RNGS)
		return err_set(ctx->err, -E2BIG, "%s: more than %d of them", ctx->what, CONFIG_MAX_RNGS);
	ret = props_apply(l, props, &o, ctx);
	if (ret == 0)
		ret = cli_pci_settle(cli, &o.pci, modern, &rng->pci, ctx);
	if (ret == 0)
		ret = cli_device_add_id(cli, o.id, ctx);
	if (ret == 0) {
		rng->id = o.id;
		rng->source = o.rng;
		rng->max_bytes = o.max_bytes;
		rng->period_ms = (uint32_t)o.period;
		cfg->n_rngs++;
		o.id = o.rng = NULL;
	}
	props_fini(props, &o);
	return ret;
}

int cli_virtio_rng_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_rng(cli, l, &cli_virtio_rng_props, false, ctx);
}

int cli_virtio_rng_add_mmio(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_rng(cli, l, &cli_virtio_rng_mmio_props, false, ctx);
}

int cli_virtio_rng_add_modern(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_rng(cli, l, &cli_virtio_rng_props, true, ctx);
}

/* Once all options are known: sources, buses, numbers, chardevs */

/* A device without an id gets the first name of its kind that nobody has. */
static int settle_id(struct cli *cli, char **id, const char *kind, struct err *err)
{
	char name[32];

	for (unsigned n = 0; !*id; n++) {
		snprintf(name, sizeof(name), "%s%u", kind, n);
		if (strv_has(&cli->device_ids, name))
			continue;
		if (strv_add(&cli->device_ids, name, err) < 0 || cli_set_string(id, name, err) < 0)
			return err->code;
	}
	return 0;
}

static int settle_ids(struct cli *cli, struct err *err)
{
	struct vm_config *cfg = cli->cfg;

	for (size_t i = 0; i < cfg->n_virtio_serials; i++)
		if (settle_id(cli, &cfg->virtio_serials[i].id, "virtio-serial", err) < 0)
			return err->code;
	for (size_t i = 0; i < cfg->n_rngs; i++)
		if (settle_id(cli, &cfg->rngs[i].id, "virtio-rng", err) < 0)
			return err->code;
	return 0;
}

static int check_sources(const struct vm_config *cfg, struct err *err)
{
	for (size_t i = 0; i < cfg->n_rngs; i++) {
		const char *want = cfg->rngs[i].source;
		bool found = !want;

		for (size_t j = 0; j < cfg->n_rng_sources && !found; j++)
			found = !strcmp(cfg->rng_sources[j].id, want);
		if (!found)
			return err_set(err, -ENOENT, "-device virtio-rng: there is no rng object '%s'; add -object rng-random,id=%s",
				       err_show(want).s, err_show(want).s);
	}
	return 0;
}

static const char *port_driver(const struct cli_vport *port)
{
	return port->console ? "virtconsole" : "virtserialport";
}

static struct config_vport *port_at(struct config_virtio_serial *serial, unsigned nr)
{
	for (size_t i = 0; i < serial->n_ports; i++)
		if (serial->ports[i].nr == nr)
			return &serial->ports[i];
	return NULL;
}

/* The lowest number that is free: 0 is kept for a console. max_ports: none. */
static unsigned free_number(struct config_virtio_serial *serial, bool console)
{
	unsigned nr = console ? 0 : 1;

	while (nr < serial->max_ports && port_at(serial, nr))
		nr++;
	return nr;
}

/* The device that bus=ID.0 names, or else the first that has a number free. */
static struct config_virtio_serial *find_bus(struct vm_config *cfg, const struct cli_vport *port, struct err *err)
{
	const char *what = port_driver(port);
	char name[PROP_MAX_KEY];

	for (size_t i = 0; i < cfg->n_virtio_serials; i++) {
		struct config_virtio_serial *serial = &cfg->virtio_serials[i];

		snprintf(name, sizeof(name), "%s.0", serial->id);
		if (port->bus ? !strcmp(name, port->bus) : free_number(serial, port->console) < serial->max_ports)
			return serial;
	}
	if (port->bus)
		err_set(err, -ENOENT, "-device %s: there is no bus '%s'; it is the id of a -device virtio-serial and '.0'", what,
			err_show(port->bus).s);
	else if (cfg->n_virtio_serials)
		err_set(err, -ENOSPC, "-device %s: no virtio-serial device has a port number free; raise max_ports or add another", what);
	else
		err_set(err, -ENOENT, "-device %s: there is no device to put it on; add -device virtio-serial", what);
	return NULL;
}

static int check_place(struct config_virtio_serial *serial, const struct cli_vport *port, unsigned nr, struct err *err)
{
	const char *what = port_driver(port);

	if (nr >= serial->max_ports)
		return err_set(err, port->nr == NOT_GIVEN ? -ENOSPC : -ERANGE, "-device %s: port %u does not fit on '%s', which has max_ports=%u",
			       what, nr, err_show(serial->id).s, serial->max_ports);
	if (nr == 0 && !port->console)
		return err_set(err, -EINVAL, "-device %s: port number 0 is for a virtconsole; give nr=1 or more, or leave it out", what);
	if (port_at(serial, nr))
		return err_set(err, -EBUSY, "-device %s: '%s' already has a port with nr=%u", what, err_show(serial->id).s, nr);
	for (size_t i = 0; port->name && i < serial->n_ports; i++)
		if (serial->ports[i].name && !strcmp(serial->ports[i].name, port->name))
			return err_set(err, -EEXIST, "-device %s: '%s' already has a port with the name '%s'", what, err_show(serial->id).s,
				       err_show(port->name).s);
	return 0;
}

/* A chardev has one front end. */
static int check_chardev(const struct vm_config *cfg, const struct cli_vport *port, struct err *err)
{
	const char *id = port->chardev, *user = NULL;
	bool found = !id;

	for (size_t i = 0; id && i < cfg->n_chardevs; i++)
		found |= !strcmp(cfg->chardevs[i].id, id);
	if (!found)
		return err_set(err, -ENOENT, "-device %s names chardev '%s', which is not defined; add -chardev BACKEND,id=%s",
			       port_driver(port), err_show(id).s, err_show(id).s);
	for (size_t i = 0; id && i < cfg->n_serials; i++)
		if (!strcmp(cfg->serials[i].chardev, id))
			user = cfg->serials[i].id;
	for (size_t i = 0; id && i < cfg->n_virtio_serials; i++)
		for (size_t j = 0; j < cfg->virtio_serials[i].n_ports; j++)
			if (cfg->virtio_serials[i].ports[j].chardev && !strcmp(cfg->virtio_serials[i].ports[j].chardev, id))
				user = cfg->virtio_serials[i].id;
	if (user)
		return err_set(err, -EBUSY, "-device %s: chardev '%s' is already used by '%s'; give each its own", port_driver(port),
			       err_show(id).s, err_show(user).s);
	return 0;
}

static int place_port(struct vm_config *cfg, struct cli_vport *port, struct err *err)
{
	struct config_virtio_serial *serial = find_bus(cfg, port, err);
	unsigned nr;

	if (!serial)
		return err->code;
	nr = port->nr == NOT_GIVEN ? free_number(serial, port->console) : port->nr;
	if (check_place(serial, port, nr, err) < 0 || check_chardev(cfg, port, err) < 0)
		return err->code;
	serial->ports[serial->n_ports++] = (struct config_vport){
		.name = port->name,
		.chardev = port->chardev,
		.nr = nr,
		.console = port->console,
	};
	port->name = port->chardev = NULL;
	return 0;
}

int cli_virtio_finish(struct cli *cli, struct err *err)
{
	if (settle_ids(cli, err) < 0 || check_sources(cli->cfg, err) < 0)
		return err->code;
	/* Those that ask for a number come first, so that no other happens to have it. */
	for (int fixed = 1; fixed >= 0; fixed--)
		for (size_t i = 0; i < cli->n_vports; i++)
			if ((cli->vports[i].nr != NOT_GIVEN) == fixed && place_port(cli->cfg, &cli->vports[i], err) < 0)
				return err->code;
	return 0;
}
