/* SPDX-License-Identifier: MIT */
/* -device virtio-scsi-*, scsi-hd and scsi-cd: what they are like. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define QUEUE_SIZE_DEFAULT 256
#define QUEUE_SIZE_MIN 4
#define QUEUE_SIZE_MAX 1024
#define QUEUES_MAX 62
#define MAX_SECTORS_DEFAULT 65535
#define CMD_PER_LUN_DEFAULT 128
#define BLOCK_MIN 512
#define BLOCK_MAX 32768
#define PHYSICAL_MAX (2 * MIB)
#define VENDOR_MAX 8
#define PRODUCT_MAX 16
#define VERSION_MAX 4
#define SERIAL_MAX 36
#define DEVICE_ID_MAX 64
#define NOT_GIVEN UINT_MAX

struct scsi_opts {
	char *id, *iothread;
	unsigned queues, queue_size;
	uint64_t max_sectors, cmd_per_lun;
	struct cli_pci_opts pci;
};

/* -device scsi-hd; scsi-cd has some of it. */
struct unit_opts {
	char *id, *drive, *bus, *serial, *vendor, *product, *version, *device_id;
	unsigned target, lun, bootindex, rotation_rate;
	uint64_t wwn, logical_block, physical_block;
	bool removable;
	unsigned write_cache;    /* enum config_tristate */
	unsigned rerror, werror; /* enum cli_error_action */
};

static const char *const names_channel[] = { "0", NULL };
static const char why_fixed[] = "the device is made that way";

static_assert(CONFIG_AUTO == 0 && CONFIG_ON == 1 && CONFIG_OFF == 2, "as cli_names_tristate");

#define ROW(k, t, s, f, ...) { .key = k, .type = t, .offset = offsetof(struct s, f), ##__VA_ARGS__ }
#define FIXED(k, n) { .key = k, .type = PROP_FIXED, .names = n, .why = why_fixed }

#define SCSI_ROWS                                                                                                      \
	ROW("id", PROP_STRING, scsi_opts, id),                                                                         \
	ROW("num_queues", PROP_UNSIGNED, scsi_opts, queues, .min = 1, .max = QUEUES_MAX),                              \
	ROW("virtqueue_size", PROP_UNSIGNED, scsi_opts, queue_size, .min = QUEUE_SIZE_MIN, .max = QUEUE_SIZE_MAX),     \
	ROW("max_sectors", PROP_U64, scsi_opts, max_sectors, .min = 1, .max = UINT32_MAX),                             \
	ROW("cmd_per_lun", PROP_U64, scsi_opts, cmd_per_lun, .min = 1, .max = UINT32_MAX),                             \
	ROW("iothread", PROP_STRING, scsi_opts, iothread, .min = 1),                                                   \
	FIXED("hotplug", prop_names_on),                                                                               \
	FIXED("param_change", prop_names_on),                                                                          \
	FIXED("seg_max_adjust", prop_names_on),                                                                        \
	FIXED("ioeventfd", prop_names_on),                                                                             \
	FIXED("event_idx", prop_names_on),                                                                             \
	FIXED("indirect_desc", prop_names_on),                                                                         \
	FIXED("any_layout", prop_names_on),                                                                            \
	FIXED("packed", prop_names_off),                                                                               \
	FIXED("iommu_platform", prop_names_off)

static const struct prop_row scsi_rows[] = { SCSI_ROWS, CLI_PCI_ROWS(struct scsi_opts, pci), { .key = NULL } };
static const struct prop_row scsi_mmio_rows[] = { SCSI_ROWS, { .key = NULL } };

#define UNIT_ROWS                                                                                      \
	ROW("id", PROP_STRING, unit_opts, id),                                                         \
	ROW("bus", PROP_STRING, unit_opts, bus, .min = 1),                                             \
	FIXED("channel", names_channel),                                                               \
	ROW("scsi-id", PROP_UNSIGNED, unit_opts, target, .max = CLI_SCSI_TARGET_MAX),                  \
	ROW("lun", PROP_UNSIGNED, unit_opts, lun, .max = CLI_SCSI_LUN_MAX),                            \
	ROW("serial", PROP_STRING, unit_opts, serial, .max = SERIAL_MAX),                              \
	ROW("vendor", PROP_STRING, unit_opts, vendor, .max = VENDOR_MAX),                              \
	ROW("product", PROP_STRING, unit_opts, product, .max = PRODUCT_MAX),                           \
	ROW("ver", PROP_STRING, unit_opts, version, .max = VERSION_MAX),                               \
	ROW("device_id", PROP_STRING, unit_opts, device_id, .max = DEVICE_ID_MAX),                     \
	ROW("wwn", PROP_U64, unit_opts, wwn, .max = UINT64_MAX),                                       \
	ROW("bootindex", PROP_UNSIGNED, unit_opts, bootindex, .max = INT_MAX),                         \
	ROW("rerror", PROP_ENUM, unit_opts, rerror, .names = cli_names_error),                         \
	ROW("werror", PROP_ENUM, unit_opts, werror, .names = cli_names_error),                         \
	FIXED("share-rw", prop_names_off)

static const struct prop_row hd_rows[] = {
	UNIT_ROWS,
	ROW("drive", PROP_STRING, unit_opts, drive, .min = 1, .required = true),
	ROW("removable", PROP_BOOL, unit_opts, removable),
	ROW("rotation_rate", PROP_UNSIGNED, unit_opts, rotation_rate, .max = UINT16_MAX),
	ROW("write-cache", PROP_ENUM, unit_opts, write_cache, .names = cli_names_tristate),
	ROW("logical_block_size", PROP_SIZE, unit_opts, logical_block, .min = BLOCK_MIN, .max = BLOCK_MAX),
	ROW("physical_block_size", PROP_SIZE, unit_opts, physical_block, .min = BLOCK_MIN, .max = PHYSICAL_MAX),
	FIXED("dpofua", prop_names_on),
	{ .key = NULL },
};
static const struct prop_row cd_rows[] = {
	UNIT_ROWS,
	ROW("drive", PROP_STRING, unit_opts, drive, .min = 1),
	{ .key = NULL },
};

const struct prop_table cli_scsi_props = { .rows = scsi_rows }, cli_scsi_mmio_props = { .rows = scsi_mmio_rows };
const struct prop_table cli_scsi_hd_props = { .rows = hd_rows }, cli_scsi_cd_props = { .rows = cd_rows };

/* ---- adapters ---- */

static const struct scsi_opts scsi_defaults = {
	.queue_size = QUEUE_SIZE_DEFAULT,
	.max_sectors = MAX_SECTORS_DEFAULT,
	.cmd_per_lun = CMD_PER_LUN_DEFAULT,
	.pci.vectors = CLI_VECTORS_AUTO,
};

/* Moves the strings of `o` into the configuration. */
static void store_adapter(struct vm_config *cfg, struct scsi_opts *o, const struct config_virtio_pci *pci)
{
	cfg->scsis[cfg->n_scsis++] = (struct config_scsi){
		.id = o->id,
		.iothread = o->iothread,
		.queues = o->queues,
		.queue_size = o->queue_size,
		.max_sectors = o->max_sectors,
		.cmd_per_lun = o->cmd_per_lun,
		.pci = *pci,
	};
	o->id = o->iothread = NULL;
}

static int add_adapter(struct cli *cli, const struct prop_list *l, const struct prop_table *props, bool modern, const struct prop_ctx *ctx)
{
	struct scsi_opts o = scsi_defaults;
	struct config_virtio_pci pci;
	int ret;

	if (cli->cfg->n_scsis == CONFIG_MAX_SCSIS)
		return err_set(ctx->err, -E2BIG, "%s: more than %d of them", ctx->what, CONFIG_MAX_SCSIS);
	ret = props_apply(l, props, &o, ctx);
	if (ret == 0 && (o.queue_size & (o.queue_size - 1)))
		ret = err_set(ctx->err, -EINVAL, "%s: property 'virtqueue_size': %u is not a power of two", ctx->what, o.queue_size);
	if (ret == 0)
		ret = cli_pci_settle(cli, &o.pci, modern, &pci, ctx);
	if (ret == 0)
		ret = cli_device_add_id(cli, o.id, ctx);
	if (ret == 0)
		store_adapter(cli->cfg, &o, &pci);
	props_fini(props, &o);
	return ret;
}

int cli_scsi_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_adapter(cli, l, &cli_scsi_props, false, ctx);
}

int cli_scsi_add_mmio(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_adapter(cli, l, &cli_scsi_mmio_props, false, ctx);
}

int cli_scsi_add_modern(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_adapter(cli, l, &cli_scsi_props, true, ctx);
}

int cli_scsi_add_adapter(struct cli *cli, struct err *err)
{
	const struct config_virtio_pci pci = { .addr = CONFIG_ADDR_AUTO, .vectors = -1 };
	struct scsi_opts o = scsi_defaults;

	if (cli->cfg->n_scsis == CONFIG_MAX_SCSIS)
		return err_set(err, -E2BIG, "-drive: more than %d SCSI adapters", CONFIG_MAX_SCSIS);
	store_adapter(cli->cfg, &o, &pci);
	return 0;
}

/* ---- units ---- */

static const struct unit_opts unit_defaults = { .target = NOT_GIVEN, .lun = NOT_GIVEN, .bootindex = NOT_GIVEN };

static void store_unit(struct cli *cli, struct unit_opts *o, bool cd)
{
	struct vm_config *cfg = cli->cfg;

	cli->scsi_units[cfg->n_scsi_units] =
		(struct cli_scsi_unit){ .bus = o->bus, .target = o->target, .lun = o->lun, .rerror = o->rerror, .werror = o->werror };
	cfg->scsi_units[cfg->n_scsi_units++] = (struct config_scsi_unit){
		.id = o->id,
		.drive = o->drive,
		.cd = cd,
		.serial = o->serial,
		.vendor = o->vendor,
		.product = o->product,
		.version = o->version,
		.device_id = o->device_id,
		.wwn = o->wwn,
		.logical_block = o->logical_block,
		.physical_block = o->physical_block,
		.removable = o->removable || cd,
		.rotation_rate = o->rotation_rate,
		.write_cache = o->write_cache,
		.bootindex = o->bootindex > INT_MAX ? -1 : (int)o->bootindex,
	};
	*o = unit_defaults;
}

static int check_unit(const struct unit_opts *o, const struct prop_ctx *ctx)
{
	uint64_t logical = o->logical_block ? o->logical_block : BLOCK_MIN;

	if ((o->logical_block & (o->logical_block - 1)) || (o->physical_block & (o->physical_block - 1)))
		return err_set(ctx->err, -EINVAL, "%s: property '%s': not a power of two", ctx->what,
			       o->logical_block & (o->logical_block - 1) ? "logical_block_size" : "physical_block_size");
	if (o->physical_block && o->physical_block < logical)
		return err_set(ctx->err, -EINVAL, "%s: physical_block_size is less than logical_block_size, %llu bytes", ctx->what,
			       (unsigned long long)logical);
	return 0;
}

static int add_unit(struct cli *cli, const struct prop_list *l, const struct prop_table *props, bool cd, const struct prop_ctx *ctx)
{
	struct unit_opts o = unit_defaults;
	int ret;

	if (cli->cfg->n_scsi_units == CONFIG_MAX_SCSI_UNITS)
		return err_set(ctx->err, -E2BIG, "%s: more than %d SCSI disks and CD-ROM drives", ctx->what, CONFIG_MAX_SCSI_UNITS);
	ret = props_apply(l, props, &o, ctx);
	if (ret == 0)
		ret = check_unit(&o, ctx);
	if (ret == 0)
		ret = cli_device_add_id(cli, o.id, ctx);
	if (ret == 0)
		store_unit(cli, &o, cd);
	props_fini(props, &o);
	return ret;
}

int cli_scsi_hd_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_unit(cli, l, &cli_scsi_hd_props, false, ctx);
}

int cli_scsi_cd_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_unit(cli, l, &cli_scsi_cd_props, true, ctx);
}

int cli_scsi_block_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	(void)cli;
	(void)l;
	return err_set(ctx->err, -ENOTSUP, "%s: not available: it hands a guest's commands to a SCSI disk of the host; use scsi-hd over the host's disk",
		       ctx->what);
}

int cli_scsi_add_drive(struct cli *cli, const struct cli_drive *drive, struct err *err)
{
	struct unit_opts o = unit_defaults;

	if (cli->cfg->n_scsi_units == CONFIG_MAX_SCSI_UNITS)
		return err_set(err, -E2BIG, "-drive: more than %d SCSI disks and CD-ROM drives", CONFIG_MAX_SCSI_UNITS);
	if (cli_set_string(&o.drive, cli->cfg->drives[drive->drive].id, err) < 0)
		return err->code;
	if (drive->interface == CLI_IF_SCSI && drive->index <= CLI_SCSI_TARGET_MAX)
		o.target = drive->index;
	store_unit(cli, &o, drive->cdrom);
	return 0;
}
