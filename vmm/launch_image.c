/* SPDX-License-Identifier: MIT */
#include "vmm/launch_image.h"

#include <assert.h>
#include <string.h>

#include "blk/blockdev.h"
#include "blk/image.h"
#include "blk/throttle.h"
#include "vmm/cli_value.h"
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

static struct blockdev *open_image(struct image_host *host, const struct config_image *image, struct err *err)
{
	struct image_config cfg = {
		.path = image->path,
		.format = image->format,
		.read_only = image->read_only,
		.auto_read_only = image->auto_read_only,
		.no_lock = !image->lock,
		.detect_zeroes = image->detect_zeroes,
		.cache = (enum blk_cache)image->cache,
		.discard = image->discard ? BLK_DISCARD_UNMAP : BLK_DISCARD_IGNORE,
		.loop = host->loop,
		.uring = uring_of(host, image->aio_threads, err),
	};

	return cfg.uring ? image_open(&cfg, err) : NULL;
}

/* What was found to be raw stays so: see blk/probe_guard.c. */
static void say_guarded(const struct config_drive *drive, const struct blockdev *bd)
{
	if (drive->image.format || bd->read_only || strcmp(bd->ops->format, "raw") != 0)
		return;
	log_warn("drive '%s': no format was given for '%s', and it looks like raw: the guest may not write to its first "
		 "sectors what looks like another format; give format=raw to allow it",
		 drive->id, cli_show(drive->image.path).s);
}

struct blockdev *launch_image_open(struct image_host *host, const struct config_drive *drive, struct throttle_group *group, struct err *err)
{
	struct blockdev *bd = open_image(host, &drive->image, err), *limited;

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
