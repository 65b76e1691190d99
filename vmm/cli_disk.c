/* SPDX-License-Identifier: MIT */
/* -device virtio-blk-pci and virtio-blk-device, and once all options are known: which disk has which drive and thread. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define QUEUE_SIZE_DEFAULT 256
#define QUEUE_SIZE_MIN 4
#define QUEUE_SIZE_MAX 1024
#define QUEUES_MAX 64
#define BLOCK_MIN 512
#define BLOCK_MAX (2 * MIB)
#define VECTORS_AUTO UINT_MAX
#define VECTORS_MAX 2048
#define BOOTINDEX_MAX INT_MAX

/* -device virtio-blk-pci; virtio-blk-device leaves those of PCI as they are */
struct disk_opts {
	char *id, *drive, *serial, *iothread, *addr;
	unsigned queues, queue_size, vectors, bootindex;
	uint64_t logical_block, physical_block;
	unsigned write_cache;    /* enum config_tristate */
	unsigned disable_legacy; /* the same */
	bool disable_modern, multifunction, config_wce, discard, write_zeroes;
	unsigned rerror, werror; /* enum cli_error_action */
};

static const char *const names_bus[] = { "pci.0", NULL };
static const char why_bus[] = "the only PCI bus is pci.0";
static const char why_fixed[] = "the device is made that way";

static_assert(CONFIG_AUTO == 0 && CONFIG_ON == 1 && CONFIG_OFF == 2, "as cli_names_tristate");

#define ROW(k, t, f, ...) { .key = k, .type = t, .offset = offsetof(struct disk_opts, f), ##__VA_ARGS__ }
#define FIXED(k, n) { .key = k, .type = PROP_FIXED, .names = n, .why = why_fixed }

/* What a disk has on every bus. */
#define DISK_ROWS                                                                                              \
	ROW("drive", PROP_STRING, drive, .min = 1, .required = true),                                          \
	ROW("id", PROP_STRING, id),                                                                            \
	ROW("serial", PROP_STRING, serial, .max = CONFIG_MAX_SERIAL_NUMBER),                                   \
	ROW("num-queues", PROP_UNSIGNED, queues, .min = 1, .max = QUEUES_MAX),                                 \
	ROW("queue-size", PROP_UNSIGNED, queue_size, .min = QUEUE_SIZE_MIN, .max = QUEUE_SIZE_MAX),            \
	ROW("write-cache", PROP_ENUM, write_cache, .names = cli_names_tristate),                               \
	ROW("config-wce", PROP_BOOL, config_wce),                                                              \
	ROW("discard", PROP_BOOL, discard),                                                                    \
	ROW("write-zeroes", PROP_BOOL, write_zeroes),                                                          \
	ROW("logical_block_size", PROP_SIZE, logical_block, .min = BLOCK_MIN, .max = BLOCK_MAX),               \
	ROW("physical_block_size", PROP_SIZE, physical_block, .min = BLOCK_MIN, .max = BLOCK_MAX),             \
	ROW("iothread", PROP_STRING, iothread, .min = 1),                                                      \
	ROW("bootindex", PROP_UNSIGNED, bootindex, .max = BOOTINDEX_MAX),                                      \
	ROW("rerror", PROP_ENUM, rerror, .names = cli_names_error),                                            \
	ROW("werror", PROP_ENUM, werror, .names = cli_names_error),                                            \
	FIXED("scsi", prop_names_off),                                                                         \
	FIXED("ioeventfd", prop_names_on),                                                                     \
	FIXED("event_idx", prop_names_on),                                                                     \
	FIXED("indirect_desc", prop_names_on),                                                                 \
	FIXED("any_layout", prop_names_on),                                                                    \
	FIXED("seg-max-adjust", prop_names_on),                                                                \
	FIXED("request-merging", prop_names_on_off),                                                           \
	FIXED("packed", prop_names_off),                                                                       \
	FIXED("iommu_platform", prop_names_off),                                                               \
	FIXED("share-rw", prop_names_off)

static const struct prop_row disk_rows[] = {
	DISK_ROWS,
	ROW("addr", PROP_STRING, addr),
	ROW("multifunction", PROP_BOOL, multifunction),
	ROW("vectors", PROP_UNSIGNED, vectors, .max = VECTORS_MAX),
	ROW("disable-legacy", PROP_ENUM, disable_legacy, .names = cli_names_tristate),
	ROW("disable-modern", PROP_BOOL, disable_modern),
	{ .key = "bus", .type = PROP_FIXED, .names = names_bus, .why = why_bus },
	FIXED("ats", prop_names_off),
	{ .key = NULL },
};
static const struct prop_row disk_mmio_rows[] = { DISK_ROWS, { .key = NULL } };
const struct prop_table cli_disk_props = { .rows = disk_rows }, cli_disk_mmio_props = { .rows = disk_mmio_rows };

static bool is_power(uint64_t v)
{
	return (v & (v - 1)) == 0;
}

static int check_disk(const struct disk_opts *o, int *addr, const struct prop_ctx *ctx)
{
	uint64_t logical = o->logical_block ? o->logical_block : BLOCK_MIN;

	if (!is_power(o->queue_size))
		return err_set(ctx->err, -EINVAL, "%s: property 'queue-size': %u is not a power of two", ctx->what, o->queue_size);
	if (!is_power(o->logical_block) || !is_power(o->physical_block))
		return err_set(ctx->err, -EINVAL, "%s: property '%s': not a power of two", ctx->what,
			       is_power(o->logical_block) ? "physical_block_size" : "logical_block_size");
	if (o->physical_block && o->physical_block < logical)
		return err_set(ctx->err, -EINVAL, "%s: physical_block_size is less than logical_block_size, %llu bytes", ctx->what,
			       (unsigned long long)logical);
	if (o->disable_legacy == CONFIG_ON && o->disable_modern)
		return err_set(ctx->err, -EINVAL, "%s: disable-legacy=on and disable-modern=on leave nothing; give one of them", ctx->what);
	if (o->addr && !cli_value_pci_addr(o->addr, addr))
		return err_set(ctx->err, -EINVAL, "%s: property 'addr': expected SLOT[.FUNCTION] in hexadecimal, to 1f.7, got '%s'", ctx->what,
			       err_show(o->addr).s);
	return 0;
}

/* Moves the strings of `o` into the configuration. */
static void store_disk(struct cli *cli, struct disk_opts *o, int addr)
{
	struct vm_config *cfg = cli->cfg;

	cli->disks[cfg->n_disks] = (struct cli_disk){ .rerror = o->rerror, .werror = o->werror, .queues = o->queues };
	cfg->disks[cfg->n_disks++] = (struct config_disk){
		.id = o->id,
		.drive = o->drive,
		.serial = o->serial,
		.iothread = o->iothread,
		.queue_size = o->queue_size,
		.logical_block = o->logical_block,
		.physical_block = o->physical_block,
		.write_cache = o->write_cache,
		.config_wce = o->config_wce,
		.discard = o->discard,
		.write_zeroes = o->write_zeroes,
		.modern_only = o->disable_legacy == CONFIG_ON,
		.legacy_only = o->disable_modern,
		.vectors = o->vectors == VECTORS_AUTO ? -1 : (int)o->vectors,
		.addr = addr,
		.bootindex = o->bootindex > BOOTINDEX_MAX ? -1 : (int)o->bootindex,
	};
	o->id = o->drive = o->serial = o->iothread = NULL;
}

static const struct disk_opts disk_defaults = {
	.queue_size = QUEUE_SIZE_DEFAULT,
	.vectors = VECTORS_AUTO,
	.bootindex = UINT_MAX,
	.config_wce = true,
	.discard = true,
	.write_zeroes = true,
};

static int add_disk(struct cli *cli, const struct prop_list *l, const struct prop_table *props, unsigned disable_legacy,
		    const struct prop_ctx *ctx)
{
	struct disk_opts o = disk_defaults;
	int ret, addr = CONFIG_ADDR_AUTO;

	if (cli->cfg->n_disks == CONFIG_MAX_DISKS)
		return err_set(ctx->err, -E2BIG, "%s: more than %d disks", ctx->what, CONFIG_MAX_DISKS);
	o.disable_legacy = disable_legacy;
	ret = props_apply(l, props, &o, ctx);
	if (ret == 0)
		ret = check_disk(&o, &addr, ctx);
	if (ret == 0)
		ret = cli_pci_place(cli, addr, o.multifunction, ctx);
	if (ret == 0)
		ret = cli_device_add_id(cli, o.id, ctx);
	if (ret == 0)
		store_disk(cli, &o, addr);
	props_fini(props, &o);
	return ret;
}

int cli_disk_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_disk(cli, l, &cli_disk_props, CONFIG_AUTO, ctx);
}

int cli_disk_add_mmio(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_disk(cli, l, &cli_disk_mmio_props, CONFIG_AUTO, ctx);
}

int cli_disk_add_modern(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add_disk(cli, l, &cli_disk_props, CONFIG_ON, ctx);
}

/* ---- when all options are known ---- */

/* A disk for each -drive with if=virtio, by index. Those of -device are there already. */
static int add_drive_disks(struct cli *cli, struct err *err)
{
	struct vm_config *cfg = cli->cfg;

	for (unsigned done = 0, next = 0; done < cli->n_drives;) {
		const struct cli_drive *d = NULL;
		struct disk_opts o = disk_defaults;

		/* The lowest index that is left. */
		for (size_t i = 0; i < cli->n_drives; i++)
			if (cli->drives[i].interface == CLI_IF_VIRTIO && cli->drives[i].index >= next &&
			    (!d || cli->drives[i].index < d->index))
				d = &cli->drives[i];
		if (!d)
			break;
		next = d->index + 1;
		done++;
		if (cfg->n_disks == CONFIG_MAX_DISKS)
			return err_set(err, -E2BIG, "-drive: more than %d disks", CONFIG_MAX_DISKS);
		if (cli_set_string(&o.drive, cfg->drives[d->drive].id, err) < 0)
			return err->code;
		store_disk(cli, &o, CONFIG_ADDR_AUTO);
	}
	return 0;
}

/*
 * What becomes of errors, as the device says or else its drive. Where neither does, the guest is told of all, also of a full disk: QEMU, which
 * somebody manages, would stop there.
 */
enum config_on_error cli_error_action(enum cli_error_action device, enum cli_error_action drive)
{
	static const enum config_on_error actions[] = {
		[CLI_ERROR_AUTO] = CONFIG_ERROR_REPORT,	    [CLI_ERROR_REPORT] = CONFIG_ERROR_REPORT, [CLI_ERROR_IGNORE] = CONFIG_ERROR_IGNORE,
		[CLI_ERROR_ENOSPC] = CONFIG_ERROR_ENOSPC, [CLI_ERROR_STOP] = CONFIG_ERROR_STOP,
	};

	return actions[device != CLI_ERROR_AUTO ? device : drive];
}

/* What the -drive behind the disk says of it. */
static int inherit(struct cli *cli, struct config_disk *disk, const struct cli_disk *given, struct err *err)
{
	static const struct cli_drive none = { .serial = NULL };
	const struct cli_drive *d = &none;

	for (size_t i = 0; i < cli->n_drives; i++)
		if (!strcmp(cli->cfg->drives[cli->drives[i].drive].id, disk->drive))
			d = &cli->drives[i];
	if (!disk->serial && d->serial && cli_set_string(&disk->serial, d->serial, err) < 0)
		return err->code;
	disk->rerror = cli_error_action(given->rerror, d->rerror);
	disk->werror = cli_error_action(given->werror, d->werror);
	if (disk->rerror == CONFIG_ERROR_ENOSPC)
		return err_set(err, -EINVAL, "rerror of drive '%s': a read does not run out of space; use report, stop or ignore",
			       err_show(disk->drive).s);
	return 0;
}

/* An automatic name for a device without one: "virtio-disk0", where nobody has it. */
static int name_disk(struct cli *cli, struct config_disk *disk, struct err *err)
{
	struct prop_ctx ctx = { .what = "-drive", .err = err };
	char name[32];
	unsigned n = 0;

	if (disk->id)
		return 0;
	do
		snprintf(name, sizeof(name), "virtio-disk%u", n++);
	while (strv_has(&cli->device_ids, name));
	if (cli_device_add_id(cli, name, &ctx) < 0)
		return err->code;
	return cli_set_string(&disk->id, name, err);
}

static int check_drive_name(struct cli *cli, const struct config_disk *disk, struct err *err)
{
	const struct vm_config *cfg = cli->cfg;
	bool found = false;

	for (size_t i = 0; i < cfg->n_drives; i++)
		found |= !strcmp(cfg->drives[i].id, disk->drive);
	for (size_t i = 0; !found && i < cli->n_nodes; i++)
		if (!strcmp(cli->nodes[i].name, disk->drive))
			return err_set(err, -EBUSY, "drive '%s' is in use by another -blockdev node; name the one over it", err_show(disk->drive).s);
	if (!found)
		return err_set(err, -ENOENT, "a disk names drive '%s', which is not defined; add -drive if=none,id=%s,file=FILE",
			       err_show(disk->drive).s, err_show(disk->drive).s);
	for (const struct config_disk *other = cfg->disks; other < disk; other++) {
		if (strcmp(other->drive, disk->drive))
			continue;
		for (size_t i = 0; i < cli->n_drives; i++)
			if (cli->drives[i].interface == CLI_IF_VIRTIO && !strcmp(cfg->drives[cli->drives[i].drive].id, disk->drive))
				return err_set(err, -EBUSY,
					       "drive '%s' is used by a -device, but is a disk by itself already; add if=none to the -drive",
					       err_show(disk->drive).s);
		return err_set(err, -EBUSY, "drive '%s' is used by two disks; give each its own", err_show(disk->drive).s);
	}
	return 0;
}

static int check_rest(const struct vm_config *cfg, const struct config_disk *disk, struct err *err)
{
	bool found = !disk->iothread;

	for (size_t i = 0; i < cfg->n_iothreads; i++)
		found |= disk->iothread && !strcmp(cfg->iothreads[i].id, disk->iothread);
	if (!found)
		return err_set(err, -ENOENT, "disk '%s' names iothread '%s', which is not defined; add -object iothread,id=%s",
			       err_show(disk->id).s, err_show(disk->iothread).s, err_show(disk->iothread).s);
	for (const struct config_disk *other = cfg->disks; other < disk; other++) {
		if (disk->addr != CONFIG_ADDR_AUTO && other->addr == disk->addr)
			return err_set(err, -EBUSY, "disks '%s' and '%s' have the same addr; give one of them another", err_show(other->id).s,
				       err_show(disk->id).s);
		if (disk->bootindex >= 0 && other->bootindex == disk->bootindex)
			return err_set(err, -EBUSY, "disks '%s' and '%s' have the same bootindex, %d; give one of them another",
				       err_show(other->id).s, err_show(disk->id).s, disk->bootindex);
	}
	return 0;
}

int cli_disk_finish(struct cli *cli, struct err *err)
{
	struct vm_config *cfg = cli->cfg;

	if (add_drive_disks(cli, err) < 0)
		return err->code;
	for (size_t i = 0; i < cfg->n_disks; i++) {
		struct config_disk *disk = &cfg->disks[i];
		unsigned queues = cli->disks[i].queues;

		/* QEMU's default too: a queue a vCPU. */
		disk->queues = queues ? queues : (unsigned)min_u64(cfg->smp.cpus, QUEUES_MAX);
		if (check_drive_name(cli, disk, err) < 0 || inherit(cli, disk, &cli->disks[i], err) < 0 || name_disk(cli, disk, err) < 0 ||
		    check_rest(cfg, disk, err) < 0)
			return err->code;
	}
	return 0;
}
