/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation: an image's changes go into the image below while the drive is in use.
 *
 * All of it runs on the drive's loop, which serves no other request meanwhile. The image below is open for reading only; it is opened once more,
 * for writing and without locks, since ours would be in the way, and takes the place of the first. Only then the locks are taken, a writer's on the
 * image and readers' on what it stands on: where somebody else uses it, nothing has been written yet, and the drive stands on the new one as it
 * did on the old. In the end the writer's lock becomes a reader's again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blk/blockdev.h"
#include "blk/image.h"
#include "blk/qcow2.h"
#include "blk/throttle.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/launch_image.h"
#include "vmm/util.h"

#define PIECE (1u << 20)

/* ---- the image below ---- */

/* What the image's header names: `*base` with strings that are `path` and `q`'s. */
static int base_of_header(const struct config_drive *drive, struct blockdev *top, struct qcow2_info *q, char path[IMAGE_NAME_MAX * 2],
			  struct config_image *base, struct err *err)
{
	if (qcow2_info(top, q) < 0 || !q->backing_file[0])
		return err_set(err, -EINVAL, "the image has no other below it to commit to");
	if (image_path_join(path, drive->image.path, q->backing_file, err) < 0)
		return err->code;
	*base = (struct config_image){
		.path = path,
		.format = q->backing_format[0] ? q->backing_format : NULL,
		.cache = drive->image.cache,
		.discard = drive->image.discard,
		.aio_threads = drive->image.aio_threads,
		.lock = drive->image.lock,
	};
	return 0;
}

/* Opened for writing, without locks. NULL with `err`. */
static struct blockdev *base_open(struct image_host *host, const struct config_drive *drive, struct blockdev *top, struct err *err)
{
	char path[IMAGE_NAME_MAX * 2];
	struct config_image base;
	struct qcow2_info q;

	if (drive->snapshot)
		base = drive->image;
	else if (drive->image.backing)
		base = *drive->image.backing;
	else if (base_of_header(drive, top, &q, path, &base, err) < 0)
		return NULL;
	if (!base.format) {
		err_set(err, -EPERM, "the format of '%s' was not given, and so nothing is written to it; give it with format=", err_show(base.path).s);
		return NULL;
	}
	/* A -blockdev that is only below others is read-only by its nature. */
	base.read_only = base.auto_read_only = false;
	return launch_image_open_layers(host, &base, false, true, err);
}

static struct blockdev *file_of(struct blockdev *bd)
{
	return blockdev_file(bd) ? blockdev_file(bd) : bd;
}

static int lock_chain(struct blockdev *base, bool writer, struct err *err)
{
	for (struct blockdev *bd = base; bd; bd = blockdev_backing(bd))
		if (raw_set_lock(file_of(bd), writer && bd == base, err) < 0)
			return err->code;
	return 0;
}

/* ---- copying ---- */

static int copy_data(struct blockdev *top, struct blockdev *base, uint64_t off, uint64_t len, void *buf)
{
	int r = 0;

	while (r == 0 && len > 0) {
		uint64_t n = min_u64(len, PIECE);

		r = blockdev_do(top, BLK_READ, 0, off, buf, n);
		if (r == 0)
			r = blockdev_do(base, BLK_WRITE, 0, off, buf, n);
		off += n;
		len -= n;
	}
	return r;
}

static int copy_all(struct blockdev *top, struct blockdev *base, void *buf)
{
	int r = 0;

	for (uint64_t off = 0; r == 0 && off < top->size;) {
		struct blk_status st;

		r = blockdev_status(top, off, min_u64(top->size - off, UINT64_C(1) << 30), &st);
		if (r < 0)
			return r;
		if (st.flags & BLK_ST_ALLOCATED)
			r = st.flags & BLK_ST_ZERO ? blockdev_do(base, BLK_WRITE_ZEROES, BLK_REQ_UNMAP, off, NULL, st.len)
						   : copy_data(top, base, off, st.len, buf);
		off += st.len;
	}
	return r < 0 ? r : blockdev_do(base, BLK_FLUSH, 0, 0, NULL, 0);
}

static int copy(struct blockdev *top, struct blockdev *base, struct err *err)
{
	void *buf;
	int r = 0;

	if (base->size < top->size)
		r = qcow2_is(base) ? qcow2_resize(base, top->size, BLK_PREALLOC_OFF, err) : blockdev_truncate(base, top->size, BLK_PREALLOC_OFF);
	if (r == 0 && posix_memalign(&buf, 4096, PIECE) != 0)
		r = -ENOMEM;
	else if (r == 0) {
		r = copy_all(top, base, buf);
		free(buf);
	}
	if (r < 0 && !err->code)
		err_set_errno(err, r, "%s: not all could be written; the image above it still has it", base->name);
	return r;
}

int launch_image_commit(struct image_host *host, const struct config_drive *drive, struct blockdev *bd, struct err *err)
{
	struct blockdev *top = throttle_below(bd), *base, *old;
	struct err later = ERR_INIT;
	bool locks = drive->image.lock;
	int r;

	if (!qcow2_is(top) || !blockdev_backing(top))
		return err_set(err, -EINVAL, "the image has no other below it to commit to");
	if (top->read_only)
		return err_set(err, -EROFS, "the image can only be read, and so has no changes");
	blockdev_drain(bd);
	base = base_open(host, drive, top, err);
	if (!base)
		return err->code;
	r = qcow2_set_backing(top, base, &old);
	if (r < 0) {
		blockdev_close(base);
		return err_set_errno(err, r, "%s", top->name);
	}
	blockdev_close(old);
	if (locks)
		r = lock_chain(base, true, err);
	if (r == 0)
		r = copy(top, base, err);
	if (r == 0)
		r = qcow2_make_empty(top, err);
	if (locks && lock_chain(base, false, r < 0 ? &later : err) < 0 && r == 0)
		r = err->code;
	return r;
}
