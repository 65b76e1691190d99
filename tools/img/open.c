/* SPDX-License-Identifier: MIT */
/* Opening images as the command line names them. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/img.h"
#include "vmm/util.h"

int img_cache_parse(const char *text, enum blk_cache *cache, struct err *err)
{
	static const struct {
		const char *name;
		enum blk_cache cache;
	} modes[] = {
		{ "writeback", BLK_CACHE_WRITEBACK }, { "none", BLK_CACHE_NONE }, { "off", BLK_CACHE_NONE },
		{ "writethrough", BLK_CACHE_WRITETHROUGH }, { "directsync", BLK_CACHE_DIRECTSYNC }, { "unsafe", BLK_CACHE_UNSAFE },
	};

	for (size_t i = 0; text && i < ARRAY_SIZE(modes); i++)
		if (!strcmp(text, modes[i].name)) {
			*cache = modes[i].cache;
			return 0;
		}
	return text ? err_set(err, -EINVAL, "'%s' is no cache mode: writeback, none, writethrough, directsync or unsafe", err_show(text).s) : 0;
}

int img_prealloc_parse(const char *text, enum blk_prealloc *prealloc, struct err *err)
{
	static const char *const names[] = { "off", "metadata", "falloc", "full" };

	for (int i = 0; text && i < 4; i++)
		if (!strcmp(text, names[i])) {
			*prealloc = (enum blk_prealloc)i;
			return 0;
		}
	return text ? err_set(err, -EINVAL, "'%s' is no kind of preallocation: off, metadata, falloc or full", err_show(text).s) : 0;
}

int img_size_parse(const char *text, uint64_t *size, struct err *err)
{
	if (!cli_value_size(text, 1, size) || *size > INT64_MAX)
		return err_set(err, -EINVAL, "'%s' is not a size: a number of bytes, or with k, M, G, T, P or E after it", err_show(text).s);
	return 0;
}

int img_format_check(const char *format, const char *path, struct err *err)
{
	if (!strcmp(format, "raw") || !strcmp(format, "qcow2"))
		return 0;
	return err_set(err, -EINVAL, "%s: images of format '%s' cannot be made, only raw and qcow2", path, err_show(format).s);
}

void img_warn_probed(const char *path)
{
	fprintf(stderr, "kite-img: warning: %s: no format was given and it looks like raw; if it is, say so: -f raw\n", path);
}

const char *img_snapshot_name(const char *text)
{
	if (text && !strncmp(text, "snapshot.id=", 12))
		return text + 12;
	if (text && !strncmp(text, "snapshot.name=", 14))
		return text + 14;
	return text;
}

/* driver=...,file.filename=... */

struct image_opts {
	char *driver, *file_driver, *file_name, *name;
	bool read_only, force_share, file_locking;
	char *discard, *backing;
};

static const struct prop_row image_opts_rows[] = {
	{ .key = "driver", .type = PROP_STRING, .offset = offsetof(struct image_opts, driver) },
	{ .key = "file.driver", .type = PROP_STRING, .offset = offsetof(struct image_opts, file_driver) },
	{ .key = "file.filename", .type = PROP_STRING, .offset = offsetof(struct image_opts, file_name) },
	{ .key = "filename", .type = PROP_STRING, .offset = offsetof(struct image_opts, name) },
	{ .key = "read-only", .type = PROP_BOOL, .offset = offsetof(struct image_opts, read_only) },
	{ .key = "force-share", .type = PROP_BOOL, .offset = offsetof(struct image_opts, force_share) },
	{ .key = "backing.file.filename", .type = PROP_STRING, .offset = offsetof(struct image_opts, backing) },
	{ .key = "discard", .type = PROP_STRING, .offset = offsetof(struct image_opts, discard) },
	{ .key = NULL },
};
static const struct prop_table image_opts_table = { .rows = image_opts_rows };

static struct blockdev *open_config(struct img *img, const struct image_config *cfg)
{
	return image_open(cfg, &img->err);
}

static struct blockdev *open_by_opts(struct img *img, struct image_config *cfg)
{
	struct prop_ctx ctx = { .what = "--image-opts", .err = &img->err };
	struct image_opts o = { .driver = NULL };
	struct blockdev *bd = NULL;

	if (props_parse(cfg->path, &image_opts_table, &o, &ctx) == 0) {
		bool file = o.driver && !strcmp(o.driver, "file");

		cfg->path = o.file_name ? o.file_name : o.name;
		cfg->format = file ? "raw" : o.driver;
		cfg->no_lock |= o.force_share && cfg->read_only;
		if (o.backing)
			cfg->backing_path = o.backing;
		if (!cfg->path)
			img_fail(img, 0, "--image-opts: no file is named; driver=qcow2,file.filename=FILE is what it looks like");
		else if (o.file_driver && strcmp(o.file_driver, "file") != 0)
			img_fail(img, 0, "--image-opts: file.driver=%s is not known, only file", err_show(o.file_driver).s);
		else
			bd = open_config(img, cfg);
	}
	props_fini(&image_opts_table, &o);
	return bd;
}

/* snapshot.id=ID,snapshot.name=NAME */

struct snapshot_opts {
	char *id, *name;
};

static const struct prop_row snapshot_rows[] = {
	{ .key = "snapshot.id", .type = PROP_STRING, .offset = offsetof(struct snapshot_opts, id) },
	{ .key = "snapshot.name", .type = PROP_STRING, .offset = offsetof(struct snapshot_opts, name) },
	{ .key = NULL },
};
static const struct prop_table snapshot_table = { .rows = snapshot_rows };

static char *snapshot_find(struct blockdev *bd, const struct snapshot_opts *want)
{
	struct qcow2_snapshot_info *list;
	int n = qcow2_snapshots(bd, &list);
	char *id = NULL;

	for (int i = 0; i < n && !id; i++)
		if ((!want->id || !strcmp(want->id, list[i].id)) && (!want->name || !strcmp(want->name, list[i].name)))
			id = strdup(list[i].id);
	if (n > 0)
		qcow2_snapshots_free(list, n);
	return id;
}

/* The id of the snapshot that is meant, to be freed; NULL with img->err. */
static char *snapshot_resolve(struct img *img, const struct img_open *o)
{
	struct prop_ctx ctx = { .what = "-l", .err = &img->err };
	struct snapshot_opts want = { .id = NULL };
	struct img_open plain = *o;
	struct blockdev *bd = NULL;
	char *id = NULL;

	plain.snapshot = NULL;
	plain.no_backing = true;
	if (props_parse(o->snapshot, &snapshot_table, &want, &ctx) == 0)
		bd = img_open(img, &plain);
	if (bd) {
		id = snapshot_find(bd, &want);
		if (!id)
			img_fail(img, 0, "%s: has no snapshot with %s", o->path, err_show(o->snapshot).s);
		blockdev_close(bd);
	}
	props_fini(&snapshot_table, &want);
	return id;
}

static struct blockdev *open_snapshot(struct img *img, const struct img_open *o)
{
	char *id = snapshot_resolve(img, o);
	struct img_open by_id = *o;
	struct blockdev *bd;

	if (!id)
		return NULL;
	by_id.snapshot = id;
	bd = img_open(img, &by_id);
	free(id);
	return bd;
}

struct blockdev *img_open(struct img *img, const struct img_open *o)
{
	struct image_config cfg = {
		.path = o->path,
		.format = o->format,
		.read_only = !o->write,
		.no_lock = o->share,
		.no_backing = o->no_backing,
		.repair = o->repair,
		.keep_bitmaps = o->keep_bitmaps,
		.snapshot = o->snapshot,
		.discard = o->unmap ? BLK_DISCARD_UNMAP : BLK_DISCARD_IGNORE,
		.backing_path = o->backing_path,
		.backing_format = o->backing_format,
		.uring = img->uring,
		.loop = img->loop,
	};

	if (o->snapshot && !strncmp(o->snapshot, "snapshot.", 9))
		return open_snapshot(img, o);
	if (img_cache_parse(o->cache, &cfg.cache, &img->err) < 0)
		return NULL;
	if (o->opts && o->format) {
		img_fail(img, 0, "--image-opts and a format do not go together: the options name the driver");
		return NULL;
	}
	return o->opts ? open_by_opts(img, &cfg) : open_config(img, &cfg);
}
