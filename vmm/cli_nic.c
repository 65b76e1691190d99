/* SPDX-License-Identifier: MIT */
/* Network cards: -device virtio-net-*, and the forms that make a card and its back end at once, -nic and -net. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define NOT_GIVEN UINT_MAX
#define VECTORS_MAX 2048
#define QUEUE_SIZE_DEFAULT 256
#define QUEUE_SIZE_MIN 64
#define QUEUE_SIZE_MAX 1024
#define MTU_MIN 68
#define MTU_MAX 65535

/*
 * FEATURE(property, bit of virtio 1.2, 5.1.3, on by default, the bit it is nothing without or -1). In this order, so that what hangs on
 * what hangs on another comes after it. mq is a tristate of its own.
 */
#define FEATURES                                  \
	FEATURE("csum", 0, true, -1)              \
	FEATURE("guest_csum", 1, true, -1)        \
	FEATURE("gso", 6, true, 0)                \
	FEATURE("host_tso4", 11, true, 0)         \
	FEATURE("host_tso6", 12, true, 0)         \
	FEATURE("host_ecn", 13, true, 0)          \
	FEATURE("host_ufo", 14, true, 0)          \
	FEATURE("host_uso", 56, true, 0)          \
	FEATURE("guest_tso4", 7, true, 1)         \
	FEATURE("guest_tso6", 8, true, 1)         \
	FEATURE("guest_ecn", 9, true, 1)          \
	FEATURE("guest_ufo", 10, true, 1)         \
	FEATURE("guest_uso4", 54, true, 1)        \
	FEATURE("guest_uso6", 55, true, 1)        \
	FEATURE("mrg_rxbuf", 15, true, -1)        \
	FEATURE("status", 16, true, -1)           \
	FEATURE("ctrl_vq", 17, true, -1)          \
	FEATURE("ctrl_rx", 18, true, 17)          \
	FEATURE("ctrl_vlan", 19, true, 17)        \
	FEATURE("ctrl_rx_extra", 20, true, 18)    \
	FEATURE("ctrl_mac_addr", 23, true, 17)    \
	FEATURE("ctrl_guest_offloads", 2, true, 17) \
	FEATURE("guest_announce", 21, true, 17)   \
	FEATURE("rss", 60, false, 17)             \
	FEATURE("hash", 57, false, 17)
#define BIT_CTRL_VQ 17
#define BIT_MQ 22

static const struct feature {
	unsigned bit;
	bool on;
	int needs;
} feature_table[] = {
#define FEATURE(n, b, o, d) { b, o, d },
	FEATURES
#undef FEATURE
};

struct nic_opts {
	char *id, *netdev, *iothread, *mac, *addr, *romfile;
	bool features[64]; /* by bit */
	unsigned mq;       /* enum config_tristate */
	unsigned rx_queue_size, tx_queue_size, host_mtu, speed, duplex, bootindex, vectors;
	unsigned disable_legacy; /* enum config_tristate */
	bool disable_modern, multifunction;
	struct config_net_limits limits;
};

static const char *const names_bus[] = { "pci.0", NULL };
static const char why_bus[] = "the only PCI bus is pci.0";
static const char why_fixed[] = "the device is made that way";
static const char *const names_duplex[] = { "unknown", "half", "full", NULL };
static const char *const names_tx[] = { "bh", "timer", NULL };

#define ROW(k, t, f, ...) { .key = k, .type = t, .offset = offsetof(struct nic_opts, f), ##__VA_ARGS__ }
#define FIXED(k, n) { .key = k, .type = PROP_FIXED, .names = n, .why = why_fixed }
#define FEATURE(n, b, o, d) ROW(n, PROP_BOOL, features[b]),

static const struct prop_row nic_rows[] = {
	FEATURES
	ROW("id", PROP_STRING, id),
	ROW("netdev", PROP_STRING, netdev, .min = 1),
	ROW("mac", PROP_STRING, mac, .min = 1),
	ROW("iothread", PROP_STRING, iothread, .min = 1),
	ROW("mq", PROP_SWITCH, mq, .names = cli_names_tristate),
	ROW("rx_queue_size", PROP_UNSIGNED, rx_queue_size, .min = QUEUE_SIZE_MIN, .max = QUEUE_SIZE_MAX),
	ROW("tx_queue_size", PROP_UNSIGNED, tx_queue_size, .min = QUEUE_SIZE_MIN, .max = QUEUE_SIZE_MAX),
	ROW("host_mtu", PROP_UNSIGNED, host_mtu, .max = MTU_MAX),
	ROW("speed", PROP_UNSIGNED, speed, .max = INT_MAX),
	ROW("duplex", PROP_ENUM, duplex, .names = names_duplex),
	ROW("bootindex", PROP_UNSIGNED, bootindex, .max = INT_MAX),
	CLI_LIMIT_ROWS(struct nic_opts, limits, "rx-bps", "-", CONFIG_RX_BPS),
	CLI_LIMIT_ROWS(struct nic_opts, limits, "rx-pps", "-", CONFIG_RX_PPS),
	CLI_LIMIT_ROWS(struct nic_opts, limits, "tx-bps", "-", CONFIG_TX_BPS),
	CLI_LIMIT_ROWS(struct nic_opts, limits, "tx-pps", "-", CONFIG_TX_PPS),
	FIXED("tx", names_tx),
	FIXED("x-txtimer", NULL),
	FIXED("x-txburst", NULL),
	FIXED("ioeventfd", prop_names_on),
	FIXED("event_idx", prop_names_on),
	FIXED("indirect_desc", prop_names_on),
	FIXED("any_layout", prop_names_on),
	FIXED("packed", prop_names_off),
	FIXED("iommu_platform", prop_names_off),
	FIXED("failover", prop_names_off),
	FIXED("guest_rsc_ext", prop_names_off),
	/* Of PCI, the last ones: a device on MMIO has none of them. */
	ROW("addr", PROP_STRING, addr),
	ROW("multifunction", PROP_BOOL, multifunction),
	ROW("vectors", PROP_UNSIGNED, vectors, .max = VECTORS_MAX),
	ROW("disable-legacy", PROP_SWITCH, disable_legacy, .names = cli_names_tristate),
	ROW("disable-modern", PROP_BOOL, disable_modern),
	{ .key = "bus", .type = PROP_FIXED, .names = names_bus, .why = why_bus },
	FIXED("ats", prop_names_off),
	ROW("romfile", PROP_STRING, romfile),
	FIXED("rombar", NULL),
	{ .key = NULL },
};
#undef FEATURE
const struct prop_table cli_nic_props = { .rows = nic_rows };

static const char *const pci_keys[] = { "addr", "multifunction", "vectors", "disable-legacy", "disable-modern", "bus", "ats", "romfile", "rombar" };
static const char *const limit_names[CONFIG_NET_LIMITS] = { "rx-bps", "rx-pps", "tx-bps", "tx-pps" };

/* Six pairs of hexadecimal digits with ':' or '-' between them. */
static bool parse_mac(const char *s, uint8_t mac[6])
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < 12; i++) {
		const char *d;

		if (i && i % 2 == 0) {
			if (*s != ':' && *s != '-')
				return false;
			s++;
		}
		d = *s ? strchr(digits, *s | 0x20) : NULL;
		if (!d)
			return false;
		mac[i / 2] = (uint8_t)((i % 2 ? mac[i / 2] << 4 : 0) | (d - digits));
		s++;
	}
	return *s == '\0';
}

static int settle_mac(const char *text, uint8_t mac[6], const struct prop_ctx *ctx)
{
	static const uint8_t none[6];

	if (!parse_mac(text, mac))
		return err_set(ctx->err, -EINVAL, "%s: property 'mac': expected an address such as 52:54:00:12:34:56, got '%s'", ctx->what,
			       err_show(text).s);
	if ((mac[0] & 1) || !memcmp(mac, none, sizeof(none)))
		return err_set(ctx->err, -EINVAL, "%s: property 'mac': '%s' is %s; make the first byte even, 52 for one", ctx->what,
			       err_show(text).s, mac[0] & 1 ? "a group's address, not a card's" : "no card's address");
	return 0;
}

static int check_limits(const struct config_net_limits *t, const struct prop_ctx *ctx)
{
	for (unsigned i = 0; i < CONFIG_NET_LIMITS; i++) {
		const char *name = limit_names[i];

		if (t->max[i] && !t->avg[i])
			return err_set(ctx->err, -EINVAL, "%s: %s-max needs %s", ctx->what, name, name);
		if (t->max[i] && t->max[i] < t->avg[i])
			return err_set(ctx->err, -EINVAL, "%s: %s-max is %" PRIu64 ", less than %s, %" PRIu64, ctx->what, name, t->max[i], name,
				       t->avg[i]);
		if (t->length[i] && !t->max[i])
			return err_set(ctx->err, -EINVAL, "%s: %s-max-length needs %s-max", ctx->what, name, name);
	}
	return 0;
}

static bool is_power(unsigned v)
{
	return (v & (v - 1)) == 0;
}

static int check_nic(const struct nic_opts *o, int *addr, const struct prop_ctx *ctx)
{
	if (!is_power(o->rx_queue_size) || !is_power(o->tx_queue_size))
		return err_set(ctx->err, -EINVAL, "%s: property '%s': not a power of two", ctx->what,
			       is_power(o->rx_queue_size) ? "tx_queue_size" : "rx_queue_size");
	if (o->host_mtu && o->host_mtu < MTU_MIN)
		return err_set(ctx->err, -EINVAL, "%s: property 'host_mtu': expected %d to %d, or 0 for none, got %u", ctx->what, MTU_MIN, MTU_MAX,
			       o->host_mtu);
	if (o->disable_legacy == CONFIG_ON && o->disable_modern)
		return err_set(ctx->err, -EINVAL, "%s: disable-legacy=on and disable-modern=on leave nothing; give one of them", ctx->what);
	if (o->mq == CONFIG_ON && !o->features[BIT_CTRL_VQ])
		return err_set(ctx->err, -EINVAL, "%s: mq=on needs ctrl_vq=on: the guest asks for queues on it", ctx->what);
	if (o->addr && !cli_value_pci_addr(o->addr, addr))
		return err_set(ctx->err, -EINVAL, "%s: property 'addr': expected SLOT[.FUNCTION] in hexadecimal, to 1f.7, got '%s'", ctx->what,
			       err_show(o->addr).s);
	return check_limits(&o->limits, ctx);
}

static uint64_t features_off(const struct nic_opts *o)
{
	uint64_t off = 0;

	for (size_t i = 0; i < ARRAY_SIZE(feature_table); i++) {
		const struct feature *f = &feature_table[i];

		if (!o->features[f->bit] || (f->needs >= 0 && (off & BIT64(f->needs))))
			off |= BIT64(f->bit);
	}
	if (o->mq == CONFIG_OFF || (off & BIT64(BIT_CTRL_VQ)))
		off |= BIT64(BIT_MQ);
	return off;
}

/* Moves the strings of `o` into the configuration. */
static struct config_nic *store_nic(struct cli *cli, struct nic_opts *o, const uint8_t mac[6], int addr)
{
	struct vm_config *cfg = cli->cfg;
	struct config_nic *nic = &cfg->nics[cfg->n_nics];

	cli->nics[cfg->n_nics++] = (struct cli_nic){ .mac_set = o->mac, .mq = (enum config_tristate)o->mq };
	*nic = (struct config_nic){
		.id = o->id,
		.netdev = o->netdev,
		.iothread = o->iothread,
		.romfile = o->romfile,
		.rx_queue_size = o->rx_queue_size,
		.tx_queue_size = o->tx_queue_size,
		.host_mtu = o->host_mtu,
		.speed = o->speed == NOT_GIVEN ? UINT32_MAX : o->speed,
		.duplex = (enum config_duplex)o->duplex,
		.features_off = features_off(o),
		.limits = o->limits,
		.pci = {
			.modern_only = o->disable_legacy == CONFIG_ON,
			.legacy_only = o->disable_modern,
			.vectors = o->vectors == NOT_GIVEN ? -1 : (int)o->vectors,
			.addr = addr,
		},
		.bootindex = o->bootindex == NOT_GIVEN ? -1 : (int)o->bootindex,
	};
	memcpy(nic->mac, mac, sizeof(nic->mac));
	o->id = o->netdev = o->iothread = o->romfile = NULL;
	return nic;
}

/* A card with the properties in `l`. NULL with ctx->err. */
static struct config_nic *add_nic(struct cli *cli, const struct prop_list *l, bool modern, const struct prop_ctx *ctx)
{
	struct nic_opts o = {
		.rx_queue_size = QUEUE_SIZE_DEFAULT, .tx_queue_size = QUEUE_SIZE_DEFAULT, .speed = NOT_GIVEN,
		.bootindex = NOT_GIVEN,		     .vectors = NOT_GIVEN,		  .disable_legacy = modern ? CONFIG_ON : CONFIG_AUTO,
	};
	struct config_nic *nic = NULL;
	int addr = CONFIG_ADDR_AUTO;
	uint8_t mac[6] = { 0 };

	cli->net_given = true;
	for (size_t i = 0; i < ARRAY_SIZE(feature_table); i++)
		o.features[feature_table[i].bit] = feature_table[i].on;
	if (cli->cfg->n_nics == CONFIG_MAX_NICS)
		err_set(ctx->err, -E2BIG, "%s: more than %d network cards", ctx->what, CONFIG_MAX_NICS);
	else if (props_apply(l, &cli_nic_props, &o, ctx) == 0 && check_nic(&o, &addr, ctx) == 0 && (!o.mac || settle_mac(o.mac, mac, ctx) == 0) &&
		 cli_pci_place(cli, addr, o.multifunction, ctx) == 0 && cli_device_add_id(cli, o.id, ctx) == 0)
		nic = store_nic(cli, &o, mac, addr);
	props_fini(&cli_nic_props, &o);
	return nic;
}

int cli_nic_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_nic(cli, l, false, ctx) ? 0 : ctx->err->code;
}

int cli_nic_add_modern(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_nic(cli, l, true, ctx) ? 0 : ctx->err->code;
}

int cli_nic_add_mmio(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	for (size_t i = 0; i < l->n; i++)
		for (size_t k = 0; k < ARRAY_SIZE(pci_keys); k++)
			if (!strcmp(l->items[i].key, pci_keys[k]))
				return err_set(ctx->err, -EINVAL, "%s: property '%s' is one of PCI, which the device is not on; leave it out", ctx->what,
					       pci_keys[k]);
	return add_nic(cli, l, false, ctx) ? 0 : ctx->err->code;
}

int cli_nic_add_default(struct cli *cli, struct err *err)
{
	const struct prop_ctx ctx = { .what = "the default network card", .notes = &cli->notes, .err = err };
	struct prop_list none = { .items = NULL };
	struct config_netdev *netdev = cli_netdev_add(cli, "user", &none, false, &ctx);
	struct config_nic *nic = netdev ? add_nic(cli, &none, false, &ctx) : NULL;

	if (!nic)
		return err->code;
	netdev->optional = true;
	return cli_set_string(&nic->netdev, netdev->id, err);
}

/* ---- -nic and -net ---- */

static int check_model(const char *model, const char *what, struct err *err)
{
	static const char *const known[] = { "virtio", "virtio-net", "virtio-net-pci", "virtio-net-device", "virtio-net-pci-transitional" };

	for (size_t i = 0; model && i < ARRAY_SIZE(known); i++)
		if (!strcmp(model, known[i]))
			return 0;
	if (!model)
		return 0;
	return err_set(err, -EINVAL, "%s: property 'model': '%s' is not available: %s; use virtio-net-pci, for which every system has a driver", what,
		       err_show(model).s, cli_device_is_other_nic(model) ? "Kite has no such card" : "it is no network card that Kite knows");
}

/* What of a -nic or -net is the card's, moved into a list of its own. The keys are QEMU's of the form, and those of the device. */
static int split_list(struct prop_list *l, const char *const (*keys)[2], size_t n, struct prop_list *nic, const struct prop_ctx *ctx)
{
	for (size_t i = 0; i < n; i++) {
		char *value;

		if (prop_list_take(l, keys[i][0], &value, ctx) < 0)
			return ctx->err->code;
		if (value && prop_list_add(nic, keys[i][1], value, PROP_FORM_TEXT, false, ctx) < 0) {
			free(value);
			return ctx->err->code;
		}
		free(value);
	}
	return 0;
}

/* The model is checked, and leaves no trace: there is one. */
static int take_model(struct prop_list *l, const struct prop_ctx *ctx)
{
	char *model;
	int ret = prop_list_take(l, "model", &model, ctx);

	if (ret == 0)
		ret = check_model(model, ctx->what, ctx->err);
	free(model);
	return ret;
}

static int add_pair(struct cli *cli, const char *type, struct prop_list *l, const struct prop_ctx *ctx)
{
	static const char *const keys[][2] = { { "mac", "mac" }, { "macaddr", "mac" }, { "addr", "addr" } };
	struct prop_list of_nic = { .items = NULL };
	struct config_netdev *netdev;
	struct config_nic *nic;
	int ret = take_model(l, ctx);

	if (ret == 0)
		ret = split_list(l, keys, ARRAY_SIZE(keys), &of_nic, ctx);
	if (ret == 0) {
		netdev = cli_netdev_add(cli, type, l, false, ctx);
		nic = netdev ? add_nic(cli, &of_nic, false, ctx) : NULL;
		ret = nic ? cli_set_string(&nic->netdev, netdev->id, ctx->err) : ctx->err->code;
	}
	prop_list_fini(&of_nic);
	return ret;
}

/* -net nic: its own -netdev, or the back end of the other -net. */
static int add_hub_nic(struct cli *cli, struct prop_list *l, const struct prop_ctx *ctx)
{
	static const char *const keys[][2] = { { "macaddr", "mac" }, { "addr", "addr" }, { "vectors", "vectors" }, { "netdev", "netdev" },
					       { "name", "id" } };
	struct prop_list of_nic = { .items = NULL };
	struct config_nic *nic = NULL;
	int ret = take_model(l, ctx);

	if (ret == 0)
		ret = split_list(l, keys, ARRAY_SIZE(keys), &of_nic, ctx);
	if (ret == 0 && l->n)
		ret = err_set(ctx->err, -EINVAL, "%s: unknown property '%s'; known: macaddr, model, netdev, name, addr, vectors", ctx->what,
			      err_show(l->items[0].key).s);
	if (ret == 0) {
		nic = add_nic(cli, &of_nic, false, ctx);
		ret = nic ? 0 : ctx->err->code;
	}
	if (nic)
		cli->nics[cli->cfg->n_nics - 1].hub = !nic->netdev;
	prop_list_fini(&of_nic);
	return ret;
}

static int add_hub_netdev(struct cli *cli, const char *type, struct prop_list *l, const struct prop_ctx *ctx)
{
	struct config_netdev *netdev;

	if (cli->hub)
		return err_set(ctx->err, -EINVAL, "%s: a second back end: Kite has no hubs; give each card its own with -nic TYPE, or with -netdev",
			       ctx->what);
	netdev = cli_netdev_add(cli, type, l, false, ctx);
	return netdev ? cli_set_string(&cli->hub, netdev->id, ctx->err) : ctx->err->code;
}

static int add_either(struct cli *cli, const char *option, const char *arg, bool pair, struct err *err)
{
	char what[ERR_SHOW_MAX + 16], *type = NULL;
	struct prop_ctx ctx = { .what = what, .notes = &cli->notes, .err = err };
	struct prop_list l = { .items = NULL };
	int ret;

	snprintf(what, sizeof(what), "%s", option);
	ret = prop_list_parse(&l, arg, "type", &ctx);
	cli->net_given = true;
	if (ret == 0)
		ret = prop_list_take(&l, "type", &type, &ctx);
	if (ret == 0 && !type)
		ret = err_set(err, -EINVAL, "%s: the type is missing; give none, user, tap, bridge, stream, dgram%s", option, pair ? "" : " or nic");
	if (ret == 0 && strcmp(type, "none")) {
		snprintf(what, sizeof(what), "%s %s", option, err_show(type).s);
		ret = pair ? add_pair(cli, type, &l, &ctx) : !strcmp(type, "nic") ? add_hub_nic(cli, &l, &ctx) : add_hub_netdev(cli, type, &l, &ctx);
	} else if (ret == 0 && l.n) {
		ret = err_set(err, -EINVAL, "%s none: takes no properties", option);
	}
	free(type);
	prop_list_fini(&l);
	return ret;
}

int cli_nic(struct cli *cli, const char *arg, struct err *err)
{
	return add_either(cli, "-nic", arg, true, err);
}

int cli_net(struct cli *cli, const char *arg, struct err *err)
{
	return add_either(cli, "-net", arg, false, err);
}
