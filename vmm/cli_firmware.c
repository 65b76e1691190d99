/* SPDX-License-Identifier: MIT */
/* -L, -boot, -fw_cfg: firmware, and what it is told. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

int cli_data_dir(struct cli *cli, const char *arg, struct err *err)
{
	struct vm_config *cfg = cli->cfg;

	if (!*arg)
		return err_set(err, -EINVAL, "-L: expected a directory");
	if (cfg->n_data_dirs == CONFIG_MAX_DATA_DIRS)
		return err_set(err, -E2BIG, "-L: more than %d directories", CONFIG_MAX_DATA_DIRS);
	return cli_set_string(&cfg->data_dirs[cfg->n_data_dirs++], arg, err);
}

/* ---- -boot ---- */

#define ORDER_CHOICES 3
#define TIME_MAX 0xffff /* ms */

struct boot_opts {
	char *order, *once, *reboot_timeout;
	bool menu, strict;
	unsigned splash_time; /* above TIME_MAX: not given */
};

static const struct prop_row boot_rows[] = {
	{ .key = "order", .type = PROP_STRING, .offset = offsetof(struct boot_opts, order), .min = 1 },
	{ .key = "once", .type = PROP_STRING, .offset = offsetof(struct boot_opts, once), .min = 1 },
	{ .key = "menu", .type = PROP_BOOL, .offset = offsetof(struct boot_opts, menu) },
	{ .key = "strict", .type = PROP_BOOL, .offset = offsetof(struct boot_opts, strict) },
	{ .key = "splash", .type = PROP_FIXED },
	{ .key = "splash-time", .type = PROP_UNSIGNED, .offset = offsetof(struct boot_opts, splash_time), .max = TIME_MAX },
	{ .key = "reboot-timeout", .type = PROP_STRING, .offset = offsetof(struct boot_opts, reboot_timeout) },
	{ .key = NULL },
};
static const struct prop_table boot_props = { .implied = "order", .rows = boot_rows };

/* QEMU's letters of drives. */
static const struct {
	char letter;
	uint16_t choice;
} choices[] = { { 'a', 1 }, { 'b', 1 }, { 'c', 2 }, { 'd', 3 }, { 'n', 4 } };

static int parse_order(const char *key, const char *letters, uint16_t *order, struct err *err)
{
	unsigned n = 0;

	*order = 0;
	for (const char *p = letters; *p; p++) {
		uint16_t choice = 0;

		for (size_t i = 0; i < ARRAY_SIZE(choices); i++)
			if (choices[i].letter == *p)
				choice = choices[i].choice;
		if (!choice)
			return err_set(err, -EINVAL, "-boot: property '%s': '%s' has a letter that is no drive; known: a, b (floppy), c (disk), d (CD), n (network)",
				       key, err_show(letters).s);
		if (strchr(p + 1, *p))
			return err_set(err, -EINVAL, "-boot: property '%s': '%s' names '%c' twice", key, err_show(letters).s, *p);
		if (n == ORDER_CHOICES)
			return err_set(err, -EINVAL, "-boot: property '%s': '%s' has more than %d drives", key, err_show(letters).s, ORDER_CHOICES);
		*order |= (uint16_t)(choice << (4 * n++));
	}
	return 0;
}

/* -1: never; a number too large counts as the largest, as with QEMU. */
static int parse_timeout(const char *text, struct config_boot *boot, struct err *err)
{
	uint64_t ms = 0;

	boot->reboot_timeout = -1;
	if (!strcmp(text, "-1"))
		return 0;
	if (!cli_value_uint(text, &ms))
		return err_set(err, -EINVAL, "-boot: property 'reboot-timeout': expected milliseconds, or -1 for never, got '%s'", err_show(text).s);
	boot->reboot_timeout = (int)min_u64(ms, TIME_MAX);
	return 0;
}

int cli_boot(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-boot", .notes = &cli->notes, .err = err };
	struct config_boot boot = cli->cfg->boot;
	struct boot_opts opts = { .menu = boot.menu, .strict = boot.strict, .splash_time = (unsigned)boot.splash_time };
	int ret = props_parse(arg, &boot_props, &opts, &ctx);

	if (ret == 0 && opts.order)
		ret = parse_order("order", opts.order, &boot.order, err);
	if (ret == 0 && opts.once)
		ret = parse_order("once", opts.once, &boot.once, err);
	if (ret == 0 && opts.reboot_timeout)
		ret = parse_timeout(opts.reboot_timeout, &boot, err);
	boot.menu = opts.menu;
	boot.strict = opts.strict;
	boot.splash_time = opts.splash_time > TIME_MAX ? -1 : (int)opts.splash_time;
	if (ret == 0)
		cli->cfg->boot = boot;
	props_fini(&boot_props, &opts);
	return ret;
}

/* ---- -fw_cfg ---- */

#define FW_CFG_NAME_MAX 55

static const struct prop_row fw_cfg_rows[] = {
	{ .key = "name", .type = PROP_STRING, .offset = offsetof(struct config_fw_cfg, name), .min = 1, .max = FW_CFG_NAME_MAX, .required = true },
	{ .key = "file", .type = PROP_STRING, .offset = offsetof(struct config_fw_cfg, file), .min = 1 },
	{ .key = "string", .type = PROP_STRING, .offset = offsetof(struct config_fw_cfg, string) },
	{ .key = NULL },
};
static const struct prop_table fw_cfg_props = { .implied = "name", .rows = fw_cfg_rows };

int cli_fw_cfg(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-fw_cfg", .notes = &cli->notes, .err = err };
	struct vm_config *cfg = cli->cfg;
	struct config_fw_cfg *item = &cfg->fw_cfg[cfg->n_fw_cfg];

	if (cfg->n_fw_cfg == CONFIG_MAX_FW_CFG)
		return err_set(err, -E2BIG, "-fw_cfg: more than %d items", CONFIG_MAX_FW_CFG);
	/* Counted before it is filled, so that config_fini frees it whatever happens. */
	cfg->n_fw_cfg++;
	if (props_parse(arg, &fw_cfg_props, item, &ctx) < 0)
		return err->code;
	if (!item->file == !item->string)
		return err_set(err, -EINVAL, "-fw_cfg: '%s' needs either file=FILE or string=TEXT", err_show(item->name).s);
	/* Other names are between the machine and its firmware: one that it has itself is refused when it is made. */
	if (strncmp(item->name, "opt/", 4) && strv_addf(&cli->notes, err, "-fw_cfg: the name '%s' should begin with opt/", err_show(item->name).s) < 0)
		return err->code;
	for (size_t i = 0; i + 1 < cfg->n_fw_cfg; i++)
		if (!strcmp(cfg->fw_cfg[i].name, item->name))
			return err_set(err, -EEXIST, "-fw_cfg: there is already an item '%s'", err_show(item->name).s);
	return 0;
}
