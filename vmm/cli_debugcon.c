/* SPDX-License-Identifier: MIT */
/* -device isa-debugcon, and -debugcon. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"

#define DEFAULT_PORT 0xe9 /* Bochs's; SeaBIOS writes to 0x402 */
#define READBACK 0xe9

struct debugcon_opts {
	char *id, *chardev;
	uint16_t iobase, readback;
};

static const struct prop_row rows[] = {
	{ .key = "id", .type = PROP_STRING, .offset = offsetof(struct debugcon_opts, id) },
	{ .key = "chardev", .type = PROP_STRING, .offset = offsetof(struct debugcon_opts, chardev), .required = true },
	{ .key = "iobase", .type = PROP_U16, .offset = offsetof(struct debugcon_opts, iobase), .min = 1, .max = UINT16_MAX },
	{ .key = "readback", .type = PROP_U16, .offset = offsetof(struct debugcon_opts, readback), .max = UINT8_MAX },
	{ .key = NULL },
};
const struct prop_table cli_debugcon_props = { .rows = rows };

static int add(struct cli *cli, const char *chardev, uint16_t iobase, uint8_t readback, const char *what, struct err *err)
{
	struct vm_config *cfg = cli->cfg;
	struct config_debugcon *con = &cfg->debugcons[cfg->n_debugcons];

	if (cfg->n_debugcons == CONFIG_MAX_DEBUGCONS)
		return err_set(err, -E2BIG, "%s: more than %d of them", what, CONFIG_MAX_DEBUGCONS);
	/* Counted before it is filled, so that config_fini frees it whatever happens. */
	cfg->n_debugcons++;
	con->iobase = iobase;
	con->readback = readback;
	return cli_set_string(&con->chardev, chardev, err);
}

int cli_debugcon_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	struct debugcon_opts opts = { .iobase = DEFAULT_PORT, .readback = READBACK };
	int ret = props_apply(l, &cli_debugcon_props, &opts, ctx);

	if (ret == 0)
		ret = cli_device_add_id(cli, opts.id, ctx);
	if (ret == 0)
		ret = add(cli, opts.chardev, opts.iobase, (uint8_t)opts.readback, ctx->what, ctx->err);
	props_fini(&cli_debugcon_props, &opts);
	return ret;
}

int cli_debugcon(struct cli *cli, const char *arg, struct err *err)
{
	char id[24];

	if (!strcmp(arg, "none"))
		return 0;
	if (!strncmp(arg, "chardev:", 8))
		return add(cli, arg + 8, DEFAULT_PORT, READBACK, "-debugcon", err);
	snprintf(id, sizeof(id), "debugcon%zu", cli->cfg->n_debugcons);
	if (cli_chardev_add_short(cli, arg, id, "-debugcon", err) < 0)
		return err->code;
	return add(cli, id, DEFAULT_PORT, READBACK, "-debugcon", err);
}

/* Who has the chardev beside the debug console with that number; NULL: nobody. */
static const char *other_user(const struct vm_config *cfg, const char *id, size_t except)
{
	for (size_t i = 0; i < cfg->n_serials; i++)
		if (!strcmp(cfg->serials[i].chardev, id))
			return cfg->serials[i].id;
	for (size_t i = 0; i < cfg->n_virtio_serials; i++)
		for (size_t j = 0; j < cfg->virtio_serials[i].n_ports; j++)
			if (cfg->virtio_serials[i].ports[j].chardev && !strcmp(cfg->virtio_serials[i].ports[j].chardev, id))
				return cfg->virtio_serials[i].id;
	for (size_t i = 0; i < cfg->n_monitors; i++)
		if (!strcmp(cfg->monitors[i].chardev, id))
			return "a monitor";
	for (size_t i = 0; i < except; i++)
		if (!strcmp(cfg->debugcons[i].chardev, id))
			return "isa-debugcon";
	return NULL;
}

int cli_debugcon_finish(const struct cli *cli, struct err *err)
{
	const struct vm_config *cfg = cli->cfg;

	for (size_t i = 0; i < cfg->n_debugcons; i++) {
		const char *id = cfg->debugcons[i].chardev, *user = other_user(cfg, id, i);
		bool found = false;

		for (size_t j = 0; j < cfg->n_chardevs; j++)
			found |= !strcmp(cfg->chardevs[j].id, id);
		if (!found)
			return err_set(err, -ENOENT, "-device isa-debugcon names chardev '%s', which is not defined; add -chardev BACKEND,id=%s",
				       err_show(id).s, err_show(id).s);
		if (user)
			return err_set(err, -EBUSY, "-device isa-debugcon: chardev '%s' is already used by '%s'; give each its own", err_show(id).s,
				       err_show(user).s);
	}
	return 0;
}
