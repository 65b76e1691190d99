/* SPDX-License-Identifier: MIT */
#include "vmm/launch_image.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blk/blockdev.h"
#include "blk/image.h"
#include "blk/overlay.h"
#include "blk/throttle.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/uring.h"

static_assert((int)CONFIG_CACHE_WRITEBACK == (int)BLK_CACHE_WRITEBACK && (int)CONFIG_CACHE_NONE == (int)BLK_CACHE_NONE &&
		      (int)CONFIG_CACHE_WRITETHROUGH == (int)BLK_CACHE_WRITETHROUGH &&
		      (int)CONFIG_CACHE_DIRECTSYNC == (int)BLK_CACHE_DIRECTSYNC && (int)CONFIG_CACHE_UNSAFE == (int)BLK_CACHE_UNSAFE,
	      "the same order");

/* NULL with `err`. */
static struct uring *uring_of(struct image_host *host, bool threads, struct err *err)
{
	struct uring **uring = &host->urings[threads];

	if (!*uring)
		*uring = uring_create(host->loop, threads, err);
	return *uring;
}

/* A drive's image, and those that the user says it stands on, as blk/image.h takes them. */
struct layers {
	struct image_host *host;
	bool no_lock;
	struct image_config *v;
	size_t n;
};

static size_t layers_count(const struct config_image *image)
{
	return image ? 1 + layers_count(image->backing) + layers_count(image->data_file) : 0;
}

/* NULL with `err`. */
static struct image_config *layer_add(struct layers *l, const struct config_image *image, bool read_only, struct err *err)
{
	struct image_config *cfg = &l->v[l->n++];

	*cfg = (struct image_config){
		.path = image->path,
		.fds = l->host->fds,
		.format = image->format,
		.read_only = image->read_only || read_only,
		.auto_read_only = image->auto_read_only,
		.no_lock = !image->lock || l->no_lock,
		.no_backing = image->no_backing,
		.detect_zeroes = image->detect_zeroes,
		.cache = (enum blk_cache)image->cache,
		.discard = image->discard ? BLK_DISCARD_UNMAP : BLK_DISCARD_IGNORE,
		.lazy_refcounts = image->qcow2.lazy_refcounts == CONFIG_AUTO ? 0 : image->qcow2.lazy_refcounts == CONFIG_ON ? 1 : -1,
		.cache_size = image->qcow2.cache_size,
		.l2_cache_size = image->qcow2.l2_cache_size,
		.l2_cache_entry_size = image->qcow2.l2_cache_entry_size,
		.refcount_cache_size = image->qcow2.refcount_cache_size,
		.opener = l->host->opener,
		.loop = l->host->loop,
		.uring = uring_of(l->host, image->aio_threads, err),
	};
	if (!cfg->uring)
		return NULL;
	if (image->backing && !(cfg->backing = layer_add(l, image->backing, true, err)))
		return NULL;
	if (image->data_file && !(cfg->data_file = layer_add(l, image->data_file, read_only, err)))
		return NULL;
	return cfg;
}

struct blockdev *launch_image_open_layers(struct image_host *host, const struct config_image *image, bool read_only, bool no_lock,
					  struct err *err)
{
	struct layers l = { .host = host, .no_lock = no_lock, .v = calloc(layers_count(image), sizeof(*l.v)) };
	const struct image_config *cfg;
	struct blockdev *bd;

	if (!l.v) {
		err_set_errno(err, -ENOMEM, "%s", image->path);
		return NULL;
	}
	cfg = layer_add(&l, image, read_only, err);
	bd = cfg ? image_open(cfg, err) : NULL;
	free(l.v);
	return bd;
}

/* Takes `below` over, also when it fails. */
static struct blockdev *put_overlay(struct image_host *host, const struct config_image *image, struct blockdev *below, struct err *err)
{
	const struct overlay_config cfg = {
		.discard = image->discard,
		.detect_zeroes = image->detect_zeroes,
		.uring = uring_of(host, image->aio_threads, err),
		.loop = host->loop,
	};
	struct blockdev *bd = cfg.uring ? overlay_create(below, &cfg, err) : NULL;

	if (!bd)
		blockdev_close(below);
	return bd;
}

/* What was found to be raw stays so: see blk/probe_guard.c. */
static void say_guarded(const struct config_drive *drive, const struct blockdev *bd)
{
	if (drive->image.format || bd->read_only || strcmp(bd->ops->format, "raw") != 0)
		return;
	log_warn("drive '%s': no format was given for '%s', and it looks like raw: the guest may not write to its first "
		 "sectors what looks like another format; give format=raw to allow it",
		 drive->id, err_show(drive->image.path).s);
}

struct blockdev *launch_image_open(struct image_host *host, const struct config_drive *drive, struct throttle_group *group, struct err *err)
{
	bool overlay = drive->snapshot && !drive->image.read_only;
	struct blockdev *bd = launch_image_open_layers(host, &drive->image, overlay, false, err), *limited;

	if (bd && overlay)
		bd = put_overlay(host, &drive->image, bd, err);
	if (!bd) {
		err_prefix(err, "drive '%s'", drive->id);
		return NULL;
	}
	say_guarded(drive, bd);
	if (!group)
		return bd;
	limited = throttle_create(bd, group, err);
	if (!limited)
		blockdev_close(bd);
	return limited;
}
