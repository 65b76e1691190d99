/* SPDX-License-Identifier: MIT */
/* -drive, -hda to -hdd and a bare disk image: a file, and what the disk made of it is like. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define NO_INDEX UINT_MAX
#define INDEX_MAX 255

enum drive_aio { AIO_IO_URING, AIO_THREADS, AIO_NATIVE };
enum drive_detect { DETECT_OFF, DETECT_ON, DETECT_UNMAP };

struct drive_opts {
	char *file, *format, *id, *serial;
	enum config_cache cache;
	bool direct, writeback, no_flush, read_only, auto_read_only;
	enum drive_aio aio;
	enum drive_detect detect_zeroes;
	unsigned discard; /* index in names_discard */
	unsigned lock;    /* index in names_lock */
	unsigned index;
	unsigned cdrom;   /* index in names_media */
	unsigned interface, rerror, werror; /* enum cli_interface, enum cli_error_action */
	bool snapshot;
	struct config_qcow2 qcow2;
	struct cli_below below;
	struct config_throttle throttle;
};

static const char *const names_if[] = { "virtio", "none", "scsi", "ide", NULL };
static const char *const names_cache[] = { "writeback", "none", "writethrough", "directsync", "unsafe", NULL };
static const char *const names_aio[] = { "io_uring", "threads", "native", NULL };
static const char *const names_detect[] = { "off", "on", "unmap", NULL };
static const char *const names_lock[] = { "auto", "on", "off", NULL };
const char *const cli_names_error[] = { "auto", "report", "ignore", "enospc", "stop", NULL };
static const char *const names_media[] = { "disk", "cdrom", NULL };
static const char *const names_file_driver[] = { "file", "host_device", NULL };
/* The odd ones mean unmap. */
static const char *const names_discard[] = { "ignore", "unmap", "off", "on", NULL };

static_assert(CONFIG_CACHE_NONE == 1 && CONFIG_CACHE_WRITETHROUGH == 2 && CONFIG_CACHE_DIRECTSYNC == 3 && CONFIG_CACHE_UNSAFE == 4,
	      "as names_cache");
static_assert(INDEX_MAX <= CLI_SCSI_TARGET_MAX, "with if=scsi it is a target");
static_assert(CLI_IF_NONE == 1 && CLI_IF_SCSI == 2 && CLI_IF_IDE == 3 && CLI_ERROR_STOP == 4, "as names_if, cli_names_error");

#define ROW(k, t, f, ...) { .key = k, .type = t, .offset = offsetof(struct drive_opts, f), ##__VA_ARGS__ }
/* A limit by its new and its old name, and its burst and the burst's length. */
#define LIMIT(n, old, i)                                                     \
	CLI_LIMIT_ROWS(struct drive_opts, throttle, "throttling." n, "-", i), \
	CLI_LIMIT_ROWS(struct drive_opts, throttle, old, "_", i)

static const struct prop_row drive_rows[] = {
	ROW("file", PROP_STRING, file, .min = 1),
	ROW("format", PROP_STRING, format),
	{ .key = "file.driver", .type = PROP_FIXED, .names = names_file_driver, .why = "only files and host devices are" },
	ROW("id", PROP_STRING, id),
	ROW("if", PROP_ENUM, interface, .names = names_if),
	ROW("index", PROP_UNSIGNED, index, .max = INDEX_MAX),
	ROW("media", PROP_ENUM, cdrom, .names = names_media),
	ROW("snapshot", PROP_BOOL, snapshot),
	{ .key = "copy-on-read", .type = PROP_FIXED, .names = prop_names_off, .why = "what is read from a backing file stays there" },
	ROW("cache", PROP_ENUM, cache, .names = names_cache),
	ROW("cache.direct", PROP_BOOL, direct),
	ROW("cache.writeback", PROP_BOOL, writeback),
	ROW("cache.no-flush", PROP_BOOL, no_flush),
	ROW("aio", PROP_ENUM, aio, .names = names_aio),
	ROW("readonly", PROP_BOOL, read_only),
	ROW("read-only", PROP_BOOL, read_only),
	ROW("auto-read-only", PROP_BOOL, auto_read_only),
	ROW("serial", PROP_STRING, serial, .max = CONFIG_MAX_SERIAL_NUMBER),
	ROW("discard", PROP_ENUM, discard, .names = names_discard),
	ROW("detect-zeroes", PROP_ENUM, detect_zeroes, .names = names_detect),
	ROW("werror", PROP_ENUM, werror, .names = cli_names_error),
	ROW("rerror", PROP_ENUM, rerror, .names = cli_names_error),
	ROW("file.locking", PROP_ENUM, lock, .names = names_lock),
	CLI_QCOW2_ROWS(struct drive_opts, qcow2, below),
	LIMIT("bps-total", "bps", CONFIG_BPS_TOTAL),
	LIMIT("bps-read", "bps_rd", CONFIG_BPS_READ),
	LIMIT("bps-write", "bps_wr", CONFIG_BPS_WRITE),
	LIMIT("iops-total", "iops", CONFIG_IOPS_TOTAL),
	LIMIT("iops-read", "iops_rd", CONFIG_IOPS_READ),
	LIMIT("iops-write", "iops_wr", CONFIG_IOPS_WRITE),
	ROW("throttling.iops-size", PROP_SIZE, throttle.iops_size, .max = CLI_LIMIT_MAX),
	ROW("iops_size", PROP_SIZE, throttle.iops_size, .max = CLI_LIMIT_MAX),
	ROW("throttling.group", PROP_STRING, throttle.group, .min = 1),
	ROW("group", PROP_STRING, throttle.group, .min = 1),
	{ .key = NULL },
};
/* A twin row would free a string twice only if props_fini did not clear it; it does. */
static const struct prop_table drive_props = { .rows = drive_rows };

int cli_drive_check_id(const struct cli *cli, const char *id, const char *key, const struct prop_ctx *ctx)
{
	bool twice = false;

	if (!cli_value_id(id))
		return err_set(ctx->err, -EINVAL,
			       "%s: property '%s': '%s' is not an identifier: a letter, then letters, digits, '-', '.' or '_'", ctx->what, key,
			       err_show(id).s);
	for (size_t i = 0; i < cli->cfg->n_drives; i++)
		twice |= !strcmp(cli->cfg->drives[i].id, id);
	for (size_t i = 0; i < cli->n_nodes; i++)
		twice |= cli->nodes[i].name && !strcmp(cli->nodes[i].name, id);
	if (twice)
		return err_set(ctx->err, -EEXIST, "%s: there is already a drive or node with the name '%s'; give this one another %s", ctx->what,
			       err_show(id).s, key);
	return 0;
}

int cli_drive_check_format(const char *format, const char *key, const struct prop_ctx *ctx)
{
	static const char *const known[] = { "raw", "qcow2", "vmdk", "vdi", "vpc", "vhdx" };
	static const char *const foreign[] = { "qcow", "qed", "luks", "parallels", "dmg", "cloop", "bochs" };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(format, known[i]))
			return 0;
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		if (!strcmp(format, foreign[i]))
			return err_set(ctx->err, -ENOTSUP, "%s: %s images are not supported; convert it: qemu-img convert -O qcow2", ctx->what,
				       format);
	return err_set(ctx->err, -EINVAL, "%s: property '%s': '%s' is not available; give qcow2, raw, vmdk, vdi, vpc or vhdx", ctx->what, key,
		       err_show(format).s);
}

static bool is_given(const struct prop_list *l, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < l->n; i++) {
		const char *k = l->items[i].key;

		/* Also as a flag turned off: nocache.direct. */
		if (!strcmp(k, key) || (!strncmp(k, "no", 2) && !strncmp(k + 2, key, len + 1)))
			return true;
	}
	return false;
}

/* cache=, as its three parts where they are given one by one. Flushes that are asked for by either part do happen. */
static enum config_cache cache_mode(const struct drive_opts *o, const struct prop_list *l)
{
	bool direct = o->cache == CONFIG_CACHE_NONE || o->cache == CONFIG_CACHE_DIRECTSYNC;
	bool writeback = o->cache != CONFIG_CACHE_WRITETHROUGH && o->cache != CONFIG_CACHE_DIRECTSYNC;
	bool no_flush = o->cache == CONFIG_CACHE_UNSAFE;

	if (is_given(l, "cache.direct"))
		direct = o->direct;
	if (is_given(l, "cache.writeback"))
		writeback = o->writeback;
	if (is_given(l, "cache.no-flush"))
		no_flush = o->no_flush;
	if (direct)
		return writeback ? CONFIG_CACHE_NONE : CONFIG_CACHE_DIRECTSYNC;
	if (!writeback)
		return CONFIG_CACHE_WRITETHROUGH;
	return no_flush ? CONFIG_CACHE_UNSAFE : CONFIG_CACHE_WRITEBACK;
}

/* Options of qcow2 in a drive that is said to be something else. */
static int check_qcow2(const struct drive_opts *o, const struct prop_list *l, const struct prop_ctx *ctx)
{
	static const char *const keys[] = { "cache-size", "l2-cache-size", "l2-cache-entry-size", "refcount-cache-size", "lazy-refcounts",
					    "backing", "data-file" };

	for (size_t i = 0; o->format && strcmp(o->format, "qcow2") != 0 && i < ARRAY_SIZE(keys); i++)
		if (is_given(l, keys[i]))
			return err_set(ctx->err, -EINVAL, "%s: property '%s' is for format=qcow2, not %s", ctx->what, keys[i], o->format);
	return cli_qcow2_check(&o->qcow2, ctx);
}

static int check_drive(const struct drive_opts *o, const struct prop_list *l, const struct prop_ctx *ctx)
{
	if (!o->file && !o->cdrom)
		return err_set(ctx->err, -EINVAL, "%s: property 'file' is missing: give file=...", ctx->what);
	if (o->interface == CLI_IF_IDE && !o->cdrom)
		return err_set(ctx->err, -EINVAL, "%s: property 'if': there is no IDE but for media=cdrom; give virtio or scsi, or leave it out",
			       ctx->what);
	if (o->format && cli_drive_check_format(o->format, "format", ctx) < 0)
		return ctx->err->code;
	if (check_qcow2(o, l, ctx) < 0)
		return ctx->err->code;
	if (o->detect_zeroes == DETECT_UNMAP && o->discard % 2 == 0)
		return err_set(ctx->err, -EINVAL, "%s: detect-zeroes=unmap needs discard=unmap", ctx->what);
	if (o->interface == CLI_IF_NONE && o->index != NO_INDEX)
		return err_set(ctx->err, -EINVAL, "%s: property 'index' is for if=virtio; a -device has its addr=", ctx->what);
	return cli_throttle_check(&o->throttle, "throttling.", ctx);
}

/* What is accepted, but stands for something else. */
static int note_drive(struct cli *cli, const struct drive_opts *o, enum config_cache cache, const struct prop_ctx *ctx)
{
	if (o->aio == AIO_NATIVE && strv_addf(&cli->notes, ctx->err, "%s: aio=native is taken as io_uring", ctx->what) < 0)
		return ctx->err->code;
	if (o->no_flush && cache != CONFIG_CACHE_UNSAFE &&
	    strv_addf(&cli->notes, ctx->err, "%s: cache.no-flush=on has no effect with this cache mode", ctx->what) < 0)
		return ctx->err->code;
	if (o->interface == CLI_IF_IDE)
		return strv_addf(&cli->notes, ctx->err, "%s: there is no IDE: the CD-ROM drive is one of virtio-scsi", ctx->what);
	return 0;
}

/* The lowest index without a disk. */
static unsigned free_index(const struct cli *cli)
{
	unsigned index = 0;

	for (size_t i = 0; i < cli->n_drives; i++)
		if (cli->drives[i].interface == CLI_IF_VIRTIO && cli->drives[i].index == index) {
			index++;
			i = SIZE_MAX;
		}
	return index;
}

static int check_index(const struct cli *cli, unsigned index, const struct prop_ctx *ctx)
{
	for (size_t i = 0; i < cli->n_drives; i++) {
		const struct cli_drive *other = &cli->drives[i];

		if (other->interface == CLI_IF_VIRTIO && other->index == index)
			return err_set(ctx->err, -EEXIST, "%s: index %u is already taken by '%s'; give index=%u or leave it out", ctx->what, index,
				       err_show(cli->cfg->drives[other->drive].image.path).s, free_index(cli));
	}
	return 0;
}

/* Without a word about it, CDs are of IDE, as in QEMU: the CD-ROM drives of this machine. */
static void settle_media(struct drive_opts *o, const struct prop_list *l)
{
	if (!o->cdrom)
		return;
	if (!is_given(l, "if"))
		o->interface = CLI_IF_IDE;
	o->read_only = true;
}

/* What is on a CD is a matter of its user's: no guest or download makes an image of another format of it. */
static int settle_format(struct drive_opts *o, struct err *err)
{
	return o->cdrom && o->file && !o->format ? cli_set_string(&o->format, "raw", err) : 0;
}

static const char *id_prefix(const struct drive_opts *o)
{
	if (o->interface == CLI_IF_SCSI)
		return o->cdrom ? "scsi0-cd" : "scsi0-hd";
	return o->interface == CLI_IF_IDE ? "ide1-cd" : names_if[o->interface];
}

/* "virtio0", "ide1-cd0", as QEMU names them, or a later number when somebody has that name. */
static int make_id(const struct cli *cli, const struct drive_opts *o, char **id, struct err *err)
{
	unsigned n = o->interface == CLI_IF_VIRTIO ? o->index : 0;
	struct err ignored = ERR_INIT;
	const struct prop_ctx ctx = { .what = "", .err = &ignored };
	char name[32];

	do
		snprintf(name, sizeof(name), "%s%u", id_prefix(o), n++);
	while (cli_drive_check_id(cli, name, "id", &ctx) < 0);
	return cli_set_string(id, name, err);
}

/* Moves the strings of `o` into the configuration. */
static void store_drive(struct cli *cli, struct drive_opts *o, enum config_cache cache)
{
	struct vm_config *cfg = cli->cfg;

	cli->drives[cli->n_drives++] = (struct cli_drive){
		.drive = cfg->n_drives,
		.interface = o->interface,
		.cdrom = o->cdrom,
		.index = o->index,
		.serial = o->serial,
		.rerror = o->rerror,
		.werror = o->werror,
		.below = o->below,
	};
	cfg->drives[cfg->n_drives++] = (struct config_drive){
		.id = o->id,
		.image = {
			.path = o->file,
			.format = o->format,
			.read_only = o->read_only,
			.auto_read_only = o->auto_read_only,
			.cache = cache,
			.discard = o->discard % 2 == 1,
			.detect_zeroes = o->detect_zeroes != DETECT_OFF,
			.aio_threads = o->aio == AIO_THREADS,
			.lock = strcmp(names_lock[o->lock], "off") != 0,
			.qcow2 = o->qcow2,
		},
		.snapshot = o->snapshot,
		.throttle = o->throttle,
	};
	o->id = o->file = o->format = o->serial = o->throttle.group = o->below.backing = o->below.data_file = NULL;
}

/* QEMU has two ways to write most: file.filename= is file=, and driver= is format=. */
static int take_layers(struct cli *cli, struct prop_list *l, struct drive_opts *o, const struct prop_ctx *ctx)
{
	static const struct {
		const char *name, *short_name;
	} twins[] = { { "file.filename", "file" }, { "driver", "format" } };

	for (size_t i = 0; i < ARRAY_SIZE(twins); i++) {
		bool both = is_given(l, twins[i].name) && is_given(l, twins[i].short_name);
		char *value;

		if (both)
			return err_set(ctx->err, -EINVAL, "%s: %s and %s are the same; leave one of them out", ctx->what, twins[i].short_name,
				       twins[i].name);
		if (prop_list_take(l, twins[i].name, &value, ctx) < 0)
			return ctx->err->code;
		if (value && prop_list_add(l, twins[i].short_name, value, PROP_FORM_TEXT, false, ctx) < 0) {
			free(value);
			return ctx->err->code;
		}
		free(value);
	}
	return cli_blockdev_inner(cli, l, true, &o->below, ctx);
}

static int add_drive(struct cli *cli, struct prop_list *l, const struct prop_ctx *ctx)
{
	struct drive_opts o = { .index = NO_INDEX, .interface = CLI_IF_VIRTIO };
	int ret = 0;

	if (cli->cfg->n_drives == CONFIG_MAX_DRIVES)
		return err_set(ctx->err, -E2BIG, "%s: more than %d of them", ctx->what, CONFIG_MAX_DRIVES);
	ret = take_layers(cli, l, &o, ctx);
	if (ret == 0)
		ret = props_apply(l, &drive_props, &o, ctx);
	settle_media(&o, l);
	if (ret == 0)
		ret = check_drive(&o, l, ctx);
	if (ret == 0)
		ret = settle_format(&o, ctx->err);
	if (ret == 0 && o.interface == CLI_IF_VIRTIO) {
		if (o.index == NO_INDEX)
			o.index = free_index(cli);
		ret = check_index(cli, o.index, ctx);
	}
	if (ret == 0)
		ret = o.id ? cli_drive_check_id(cli, o.id, "id", ctx) : make_id(cli, &o, &o.id, ctx->err);
	if (ret == 0)
		ret = note_drive(cli, &o, cache_mode(&o, l), ctx);
	if (ret == 0)
		store_drive(cli, &o, cache_mode(&o, l));
	props_fini(&drive_props, &o);
	return ret;
}

int cli_drive(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-drive", .notes = &cli->notes, .err = err };
	struct prop_list l = { .items = NULL };
	int ret = prop_list_parse(&l, arg, NULL, &ctx);

	if (ret == 0)
		ret = add_drive(cli, &l, &ctx);
	prop_list_fini(&l);
	return ret;
}

/* A file's name alone. */
static int add_file(struct cli *cli, const char *path, const char *key, const char *value, const char *what, struct err *err)
{
	struct prop_ctx ctx = { .what = what, .notes = &cli->notes, .err = err };
	struct prop_list l = { .items = NULL };
	int ret;

	if (!*path)
		return err_set(err, -EINVAL, "%s: the name of a disk image is empty", what);
	ret = prop_list_add(&l, "file", path, PROP_FORM_TEXT, false, &ctx);
	if (ret == 0)
		ret = prop_list_add(&l, key, value, PROP_FORM_TEXT, false, &ctx);
	if (ret == 0)
		ret = add_drive(cli, &l, &ctx);
	prop_list_fini(&l);
	return ret;
}

int cli_hda(struct cli *cli, const char *arg, struct err *err)
{
	return add_file(cli, arg, "index", "0", "-hda", err);
}

int cli_hdb(struct cli *cli, const char *arg, struct err *err)
{
	return add_file(cli, arg, "index", "1", "-hdb", err);
}

int cli_hdc(struct cli *cli, const char *arg, struct err *err)
{
	return add_file(cli, arg, "index", "2", "-hdc", err);
}

int cli_hdd(struct cli *cli, const char *arg, struct err *err)
{
	return add_file(cli, arg, "index", "3", "-hdd", err);
}

int cli_cdrom(struct cli *cli, const char *arg, struct err *err)
{
	return add_file(cli, arg, "media", "cdrom", "-cdrom", err);
}

int cli_image(struct cli *cli, const char *arg, struct err *err)
{
	char what[ERR_SHOW_MAX + 8];

	snprintf(what, sizeof(what), "'%s'", err_show(arg).s);
	return add_file(cli, arg, "index", "0", what, err);
}
