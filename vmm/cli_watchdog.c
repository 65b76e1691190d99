/* SPDX-License-Identifier: MIT */
/* -device i6300esb, ib700, pvpanic and pvpanic-pci, and -watchdog-action. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hw/devices.h"
#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

struct guard_opts {
	char *id, *addr;
	bool multifunction;
	uint16_t ioport;
	unsigned events;
};

#define ROW(k, t, f, ...) { .key = k, .type = t, .offset = offsetof(struct guard_opts, f), ##__VA_ARGS__ }
#define ID_ROW ROW("id", PROP_STRING, id)
#define EVENTS_ROW ROW("events", PROP_UNSIGNED, events, .max = PVPANIC_EVENTS)
#define PLACE_ROWS                                                                                               \
	ROW("addr", PROP_STRING, addr), ROW("multifunction", PROP_BOOL, multifunction),                          \
	{ .key = "bus", .type = PROP_FIXED, .names = cli_names_pci_bus, .why = cli_why_pci_bus }

static const struct prop_row pci_rows[] = { ID_ROW, PLACE_ROWS, { .key = NULL } };
static const struct prop_row ib700_rows[] = { ID_ROW, { .key = NULL } };
static const struct prop_row pvpanic_rows[] = {
	ID_ROW, EVENTS_ROW, ROW("ioport", PROP_U16, ioport, .min = 1, .max = UINT16_MAX), { .key = NULL },
};
static const struct prop_row pvpanic_pci_rows[] = { ID_ROW, EVENTS_ROW, PLACE_ROWS, { .key = NULL } };
const struct prop_table cli_i6300esb_props = { .rows = pci_rows }, cli_ib700_props = { .rows = ib700_rows };
const struct prop_table cli_pvpanic_props = { .rows = pvpanic_rows }, cli_pvpanic_pci_props = { .rows = pvpanic_pci_rows };

/* Reads the properties; where it is to be, in `*addr`. */
static int apply(struct cli *cli, const struct prop_list *l, const struct prop_table *props, struct guard_opts *o, int *addr,
		 const struct prop_ctx *ctx)
{
	*addr = CONFIG_ADDR_AUTO;
	if (props_apply(l, props, o, ctx) < 0)
		return ctx->err->code;
	if (o->addr && !cli_value_pci_addr(o->addr, addr))
		return err_set(ctx->err, -EINVAL, "%s: property 'addr': expected SLOT[.FUNCTION] in hexadecimal, to 1f.7, got '%s'", ctx->what,
			       err_show(o->addr).s);
	if (cli_pci_place(cli, *addr, o->multifunction, ctx) < 0)
		return ctx->err->code;
	return cli_device_add_id(cli, o->id, ctx);
}

static int add_watchdog(struct cli *cli, const struct prop_list *l, bool ib700, const struct prop_ctx *ctx)
{
	const struct prop_table *props = ib700 ? &cli_ib700_props : &cli_i6300esb_props;
	struct guard_opts o = { .id = NULL };
	struct vm_config *cfg = cli->cfg;
	int ret, addr;

	if (cfg->n_watchdogs == CONFIG_MAX_WATCHDOGS)
		return err_set(ctx->err, -E2BIG, "%s: more than %d watchdogs", ctx->what, CONFIG_MAX_WATCHDOGS);
	for (size_t i = 0; i < cfg->n_watchdogs; i++)
		if (ib700 && cfg->watchdogs[i].ib700)
			return err_set(ctx->err, -EEXIST, "%s: there can be only one", ctx->what);
	ret = apply(cli, l, props, &o, &addr, ctx);
	if (ret == 0) {
		cfg->watchdogs[cfg->n_watchdogs++] = (struct config_watchdog){ .id = o.id, .ib700 = ib700, .addr = addr };
		o.id = NULL;
	}
	props_fini(props, &o);
	return ret;
}

int cli_i6300esb_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_watchdog(cli, l, false, ctx);
}

int cli_ib700_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_watchdog(cli, l, true, ctx);
}

static int add_pvpanic(struct cli *cli, const struct prop_list *l, const struct prop_table *props, struct config_pvpanic *pvpanic,
		       const struct prop_ctx *ctx)
{
	struct guard_opts o = { .ioport = PVPANIC_PORT, .events = PVPANIC_EVENTS };
	int ret, addr;

	if (pvpanic->used)
		return err_set(ctx->err, -EEXIST, "%s: there can be only one", ctx->what);
	ret = apply(cli, l, props, &o, &addr, ctx);
	if (ret == 0)
		*pvpanic = (struct config_pvpanic){ .used = true, .events = (uint8_t)o.events, .ioport = o.ioport, .addr = addr };
	props_fini(props, &o);
	return ret;
}

int cli_pvpanic_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_pvpanic(cli, l, &cli_pvpanic_props, &cli->cfg->pvpanic, ctx);
}

int cli_pvpanic_pci_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_pvpanic(cli, l, &cli_pvpanic_pci_props, &cli->cfg->pvpanic_pci, ctx);
}

int cli_watchdog_action(struct cli *cli, const char *arg, struct err *err)
{
	for (unsigned i = 0; config_watchdog_actions[i]; i++)
		if (!strcmp(config_watchdog_actions[i], arg)) {
			cli->cfg->watchdog_action = (enum watchdog_action)i;
			return 0;
		}
	return err_set(err, -EINVAL, "-watchdog-action: unknown action '%s'; known: reset, shutdown, poweroff, inject-nmi, pause, debug, none",
		       err_show(arg).s);
}

int cli_watchdog_finish(struct cli *cli, struct err *err)
{
	char name[32];

	for (size_t i = 0; i < cli->cfg->n_watchdogs; i++)
		for (unsigned n = 0; !cli->cfg->watchdogs[i].id; n++) {
			snprintf(name, sizeof(name), "watchdog%u", n);
			if (strv_has(&cli->device_ids, name))
				continue;
			if (strv_add(&cli->device_ids, name, err) < 0 || cli_set_string(&cli->cfg->watchdogs[i].id, name, err) < 0)
				return err->code;
		}
	return 0;
}
