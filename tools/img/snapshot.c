/* SPDX-License-Identifier: MIT */
/* snapshot: -l, -c, -a, -d; without any it lists. */
#include <errno.h>

#include "tools/img/img.h"

static int snapshot_change(struct img *img, struct blockdev *bd)
{
	const struct img_args *a = &img->args;
	int rc;

	if (!qcow2_is(bd))
		return img_fail(img, 1, "%s: images of format %s have no snapshots inside", bd->name, bd->ops->format);
	if (a->snap_create)
		rc = qcow2_snapshot_create(bd, a->snap_create, &img->err);
	else if (a->snap_apply)
		rc = qcow2_snapshot_apply(bd, img_snapshot_name(a->snap_apply), &img->err);
	else
		rc = qcow2_snapshot_delete(bd, img_snapshot_name(a->snap_delete), &img->err);
	return rc < 0;
}

int cmd_snapshot(struct img *img)
{
	const struct img_args *a = &img->args;
	int n = a->list + !!a->snap_create + !!a->snap_apply + !!a->snap_delete, status = 0;
	bool write = a->snap_create || a->snap_apply || a->snap_delete;
	struct blockdev *bd;

	if (n > 1)
		return img_fail(img, 1, "one of -l, -a, -c and -d at a time");
	bd = img_open(img, &(struct img_open){ .path = a->operands[0], .format = a->format, .opts = a->image_opts, .write = write,
					       .share = a->force_share && !write, .no_backing = true });
	if (!bd)
		return 1;
	if (write)
		status = snapshot_change(img, bd);
	else if (!a->quiet)
		img_snapshot_list_print(bd);
	blockdev_close(bd);
	return status;
}
