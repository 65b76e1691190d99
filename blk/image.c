/* SPDX-License-Identifier: MIT */
#include "blk/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blk/import.h"
#include "blk/qcow2.h"
#include "vmm/err.h"
#include "vmm/fdset.h"
#include "vmm/log.h"
#include "vmm/util.h"

/* One image on the way down; those above it, to find loops. */
struct layer {
	const struct layer *above;
	const struct image_config *cfg;
	const char *path;
	bool named;   /* it is what `cfg` is of; else a header above named it, and `cfg` is of that image */
	bool trusted; /* its format was given */
	unsigned depth;
	dev_t dev;
	ino_t ino;
};

int image_path_join(char out[IMAGE_NAME_MAX * 2], const char *base, const char *name, struct err *err)
{
	const char *slash = strrchr(base, '/'), *colon = strchr(name, ':'), *first_slash = strchr(name, '/');
	int n;

	if (strncmp(name, "file:", 5) == 0) {
		name += 5;
	} else if (colon && (!first_slash || colon < first_slash)) {
		return err_set(err, -ENOTSUP, "%s: names '%s', but only plain files are supported, not the protocol '%.*s'", base, name,
			       (int)(colon - name), name);
	}
	if (name[0] == '/' || !slash)
		n = snprintf(out, IMAGE_NAME_MAX * 2, "%s", name);
	else
		n = snprintf(out, IMAGE_NAME_MAX * 2, "%.*s%s", (int)(slash - base + 1), base, name);
	if (n >= IMAGE_NAME_MAX * 2)
		return err_set(err, -ENAMETOOLONG, "%s: the path of '%s' is too long", base, name);
	return 0;
}

static int probe_fd(struct blockdev *file, enum blk_format *format, struct err *err)
{
	uint64_t len = min_u64(BLK_PROBE_BYTES, file->size);
	uint8_t *head;
	int rc = 0;

	if (posix_memalign((void **)&head, 4096, BLK_PROBE_BYTES) != 0)
		return err_set_errno(err, -ENOMEM, "%s", file->name);
	if (len)
		rc = blockdev_do(file, BLK_READ, 0, 0, head, len);
	if (rc == 0)
		*format = blk_probe(head, len);
	else
		err_set_errno(err, rc, "%s: cannot read its first bytes", file->name);
	free(head);
	return rc;
}

/* Takes `fd` over. */
static int probe_descriptor(int fd, const char *path, enum blk_format *format, struct err *err)
{
	uint8_t head[BLK_PROBE_BYTES];
	ssize_t len = pread(fd, head, sizeof(head), 0);

	if (len < 0)
		err_set_errno(err, -errno, "%s: cannot read its first bytes", path);
	else
		*format = blk_probe(head, (size_t)len);
	fd_close(&fd);
	return len < 0 ? err->code : 0;
}

/* What is no file is for raw_open to refuse: it is not opened here, as a FIFO would wait for its writer. */
int image_probe(const char *path, const struct blk_opener *opener, enum blk_format *format, struct err *err)
{
	struct stat st;
	int fd;

	*format = BLK_FORMAT_RAW;
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return 0;
	fd = blk_open(opener, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_set_errno(err, fd, "%s: cannot open it", path);
	return probe_descriptor(fd, path, format, err);
}

/* The user has named a descriptor that somebody opened for us. */
static bool is_given(const struct layer *l)
{
	return l->named && l->cfg->fds && fdset_is_path(l->path);
}

static int layer_probe(const struct layer *l, enum blk_format *format, struct err *err)
{
	int fd;

	if (!is_given(l))
		return image_probe(l->path, l->cfg->opener, format, err);
	fd = fdsets_open(l->cfg->fds, l->path, O_RDONLY, err);
	return fd < 0 ? fd : probe_descriptor(fd, l->path, format, err);
}

static int layer_stat(const struct layer *l, struct stat *st, struct err *err)
{
	int fd, r;

	if (!is_given(l))
		return stat(l->path, st) < 0 ? err_set_errno(err, -errno, "%s: cannot open it", l->path) : 0;
	fd = fdsets_open(l->cfg->fds, l->path, O_RDONLY, err);
	if (fd < 0)
		return fd;
	r = fstat(fd, st) < 0 ? err_set_errno(err, -errno, "%s: cannot look at it", l->path) : 0;
	fd_close(&fd);
	return r;
}

static struct blockdev *layer_open(struct layer *l, const char *format, bool read_only, struct err *err);

static int check_loop(struct layer *l, struct err *err)
{
	struct stat st;

	if (layer_stat(l, &st, err) < 0)
		return err->code;
	l->dev = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
	l->ino = S_ISBLK(st.st_mode) ? 0 : st.st_ino;
	if (l->depth >= IMAGE_CHAIN_MAX)
		return err_set(err, -ELOOP, "%s: has more than %d images above it", l->path, IMAGE_CHAIN_MAX);
	for (const struct layer *a = l->above; a; a = a->above)
		if (a->dev == l->dev && a->ino == l->ino)
			return err_set(err, -ELOOP, "%s: is its own backing file, by way of '%s'", l->path, l->above->path);
	return 0;
}

static struct blockdev *file_open(const struct layer *l, bool read_only, bool grows, struct err *err)
{
	const struct image_config *top = l->cfg;
	struct blk_file_config cfg = {
		.path = l->path,
		.opener = top->opener,
		.fds = l->named ? top->fds : NULL,
		.read_only = read_only,
		.auto_read_only = top->auto_read_only && l->named,
		.cache = top->cache,
		.discard = top->discard,
		.detect_zeroes = top->detect_zeroes && !grows,
		.lock = !top->no_lock,
		.grows = grows,
		.uring = top->uring,
		.loop = top->loop,
	};

	return raw_open(&cfg, err);
}

struct child_opener {
	const struct layer *parent;
	bool read_only;
};

static int named_data_file(const struct layer *parent, bool read_only, struct blockdev **child, struct err *err)
{
	const struct image_config *cfg = parent->cfg->data_file;
	struct layer l = { .above = parent, .cfg = cfg, .path = cfg->path, .named = true, .depth = parent->depth + 1 };

	if (check_loop(&l, err) < 0)
		return err->code;
	*child = file_open(&l, read_only, true, err);
	return *child ? 0 : err->code;
}

static int child_open(void *opaque, enum qcow2_child which, const char *name, const char *format, struct blockdev **child, struct err *err)
{
	struct child_opener *o = opaque;
	const struct layer *parent = o->parent;
	char path[IMAGE_NAME_MAX * 2];
	struct layer l = { .above = parent, .cfg = parent->cfg, .path = path, .depth = parent->depth + 1, .trusted = true };
	const char *what = which == QCOW2_BACKING ? "backing" : "external data";
	int rc;

	if (which == QCOW2_DATA_FILE && parent->named && parent->cfg->data_file)
		return named_data_file(parent, o->read_only, child, err);
	rc = image_path_join(path, parent->path, name, err);
	if (rc < 0)
		return rc;
	if (!parent->trusted)
		return err_set(err, -EPERM, "%s: looks like a qcow2 image with the %s file '%s', but its format was not given; if it is to be trusted, give "
					    "format=qcow2 (-f qcow2)", parent->path, what, name);
	rc = check_loop(&l, err);
	if (rc < 0)
		return rc;
	if (which == QCOW2_DATA_FILE) {
		*child = file_open(&l, o->read_only, true, err);
		return *child ? 0 : err->code;
	}
	if (parent->named && parent->cfg->backing_format)
		format = parent->cfg->backing_format;
	*child = layer_open(&l, *format ? format : NULL, true, err);
	return *child ? 0 : err->code;
}

/* Whether the user says what is below `l`. */
static bool overrides_backing(const struct layer *l)
{
	return l->named && (l->cfg->backing || (l->cfg->backing_path && *l->cfg->backing_path));
}

static int override_backing(const struct layer *top, struct blockdev *bd, struct err *err)
{
	const struct image_config *named = top->cfg->backing;
	struct layer l = { .above = top, .cfg = named ? named : top->cfg, .named = named, .depth = top->depth + 1,
			   .path = named ? named->path : top->cfg->backing_path };
	struct blockdev *below, *old;

	if (check_loop(&l, err) < 0)
		return err->code;
	below = layer_open(&l, named ? named->format : top->cfg->backing_format, true, err);
	return below ? qcow2_set_backing(bd, below, &old) : err->code;
}

static struct blockdev *qcow2_layer(struct layer *l, struct blockdev *file, struct err *err)
{
	const struct image_config *top = l->cfg;
	struct child_opener opener = { .parent = l, .read_only = file->read_only };
	bool first = l->named;
	struct qcow2_open_config cfg = {
		.read_only = file->read_only,
		.no_backing = first && (top->no_backing || top->backing_path || top->backing),
		.repair = first && top->repair,
		.lazy_refcounts = first ? top->lazy_refcounts : 0,
		.data_file = first && top->data_file,
		.keep_bitmaps = first && top->keep_bitmaps,
		.detect_zeroes = top->detect_zeroes,
		.writethrough = top->cache == BLK_CACHE_WRITETHROUGH || top->cache == BLK_CACHE_DIRECTSYNC,
		.discard = top->discard,
		.snapshot = first ? top->snapshot : NULL,
		.cache_size = top->cache_size,
		.l2_cache_size = top->l2_cache_size,
		.refcount_cache_size = top->refcount_cache_size,
		.l2_cache_entry_size = top->l2_cache_entry_size,
		.open_child = child_open,
		.opaque = &opener,
	};
	struct blockdev *bd = qcow2_open(file, &cfg, err);

	if (!bd) {
		blockdev_close(file);
		return NULL;
	}
	if (first && top->data_file && !qcow2_has_data_file(bd))
		err_set(err, -EINVAL, "%s: has no external data file; leave data-file= out", l->path);
	else if (!overrides_backing(l) || override_backing(l, bd, err) == 0)
		return bd;
	blockdev_close(bd);
	return NULL;
}

static struct blockdev *raw_layer(const struct layer *l, struct blockdev *file, struct err *err)
{
	struct blockdev *guard;

	if (l->cfg->snapshot && l->named) {
		err_set(err, -ENOTSUP, "%s: is raw, and has no snapshots", l->path);
		blockdev_close(file);
		return NULL;
	}
	if (l->trusted || file->read_only)
		return file;
	guard = probe_guard_create(file, err);
	if (!guard)
		blockdev_close(file);
	return guard;
}

/* Formats of other programs, which are only read. */

static const struct {
	const char *format;
	struct blockdev *(*open)(struct blockdev *file, const struct import_config *cfg, struct err *err);
} imports[] = { { "vmdk", vmdk_open }, { "vdi", vdi_open }, { "vhdx", vhdx_open }, { "vpc", vpc_open } };

static int extent_open(void *opaque, const char *name, struct blockdev **child, struct err *err)
{
	const struct layer *parent = opaque;
	char path[IMAGE_NAME_MAX * 2];
	struct layer l = { .above = parent, .cfg = parent->cfg, .path = path, .depth = parent->depth + 1, .trusted = true };

	if (image_path_join(path, parent->path, name, err) < 0 || check_loop(&l, err) < 0)
		return err->code;
	*child = file_open(&l, true, false, err);
	return *child ? 0 : err->code;
}

static bool is_import(const char *format)
{
	for (size_t i = 0; i < ARRAY_SIZE(imports); i++)
		if (!strcmp(imports[i].format, format))
			return true;
	return false;
}

static struct blockdev *import_layer(struct layer *l, const char *format, struct blockdev *file, struct err *err)
{
	struct import_config cfg = { .trusted = l->trusted, .open_child = extent_open, .opaque = l };
	struct blockdev *bd = NULL;

	if (l->cfg->snapshot && l->named)
		err_set(err, -ENOTSUP, "%s: is of format %s, and has no snapshots", l->path, format);
	else
		for (size_t i = 0; i < ARRAY_SIZE(imports) && !bd && err->code == 0; i++)
			if (!strcmp(imports[i].format, format))
				bd = imports[i].open(file, &cfg, err);
	if (!bd)
		blockdev_close(file);
	return bd;
}

static struct blockdev *unknown_format(const struct layer *l, const char *format, struct err *err)
{
	err_set(err, -ENOTSUP, "%s: %s the format '%s', which is not supported; convert it: qemu-img convert -O qcow2", l->path,
		l->trusted ? "is given" : "looks like", format);
	return NULL;
}

static struct blockdev *layer_open(struct layer *l, const char *format, bool read_only, struct err *err)
{
	enum blk_format found = BLK_FORMAT_RAW;
	struct blockdev *file;

	l->trusted = format != NULL;
	if (!format) {
		if (layer_probe(l, &found, err) < 0)
			return NULL;
		format = blk_format_name(found);
	}
	if (strcmp(format, "raw") && strcmp(format, "qcow2") && !is_import(format))
		return unknown_format(l, format, err);
	if (is_import(format) && !read_only && !l->cfg->auto_read_only) {
		err_set(err, -EROFS, "%s: images of format %s can only be read; give readonly=on or snapshot=on, or convert it: kite-img convert "
				     "-O qcow2", l->path, format);
		return NULL;
	}
	if (strcmp(format, "qcow2") != 0 && (overrides_backing(l) || (l->named && l->cfg->data_file))) {
		err_set(err, -EINVAL, "%s: is of format %s, which has no backing or data file", l->path, format);
		return NULL;
	}
	file = file_open(l, read_only || is_import(format), !strcmp(format, "qcow2"), err);
	if (!file)
		return NULL;
	/* Before the file was locked, it may have become another. */
	if (!l->trusted && (probe_fd(file, &found, err) < 0 || strcmp(format, blk_format_name(found)))) {
		if (err->code == 0)
			err_set(err, -EBUSY, "%s: changes while it is opened; give its format", l->path);
		blockdev_close(file);
		return NULL;
	}
	if (is_import(format))
		return import_layer(l, format, file, err);
	return !strcmp(format, "raw") ? raw_layer(l, file, err) : qcow2_layer(l, file, err);
}

struct open_call {
	const struct image_config *cfg;
	struct err *err;
	struct blockdev *bd;
};

static void open_on_loop(void *arg)
{
	struct open_call *call = arg;
	const struct image_config *cfg = call->cfg;
	struct layer top = { .cfg = cfg, .path = cfg->path, .named = true };
	bool read_only = cfg->read_only || cfg->snapshot;

	if (check_loop(&top, call->err) == 0)
		call->bd = layer_open(&top, cfg->format, read_only, call->err);
}

struct blockdev *image_open(const struct image_config *cfg, struct err *err)
{
	struct open_call call = { .cfg = cfg, .err = err };

	eventloop_call_sync(cfg->loop, open_on_loop, &call);
	return call.bd;
}

/* ZERO where the file that holds the bytes has a hole. */
static int look_below(struct blk_status *st)
{
	struct blk_status below;
	int rc;

	if (!(st->flags & BLK_ST_OFFSET) || (st->flags & BLK_ST_ZERO) || !(st->flags & BLK_ST_DATA))
		return 0;
	if (st->file_off >= st->file->size) {
		st->flags |= BLK_ST_ZERO;
		return 0;
	}
	rc = blockdev_status(st->file, st->file_off, min_u64(st->len, st->file->size - st->file_off), &below);
	if (rc < 0)
		return rc;
	if (below.flags & BLK_ST_ZERO)
		st->flags |= BLK_ST_ZERO;
	st->len = min_u64(st->len, below.len);
	return 0;
}

int image_status(struct blockdev *top, struct blockdev *base, uint64_t off, uint64_t len, struct blk_status *status, unsigned *depth)
{
	struct blockdev *bd = top;

	for (*depth = 0;; ++*depth) {
		struct blockdev *below = blockdev_backing(bd);
		int rc = blockdev_status(bd, off, len, status);

		if (rc < 0)
			return rc;
		len = status->len;
		if (status->flags & BLK_ST_ALLOCATED)
			return status->file == bd ? 0 : look_below(status);
		if (!below || below == base)
			return 0;
		if (off >= below->size) { /* shorter: zeroes, decided by its end */
			status->flags = BLK_ST_ALLOCATED | BLK_ST_ZERO;
			++*depth;
			return 0;
		}
		len = min_u64(len, below->size - off);
		bd = below;
	}
}
