/* SPDX-License-Identifier: MIT */
/* resize: SIZE, +SIZE or -SIZE. */
#include <errno.h>
#include <string.h>

#include "tools/img/img.h"
#include "vmm/util.h"

static int size_wanted(struct img *img, uint64_t now, uint64_t *size)
{
	const char *text = img->args.operands[1];
	bool more = *text == '+', less = *text == '-';

	if (img_size_parse(text + (more || less), size, &img->err) < 0)
		return img->err.code;
	if (less && *size > now)
		return img_fail(img, -EINVAL, "%s is more than the disk has", text);
	*size = more ? now + *size : less ? now - *size : *size;
	*size = align_up(*size, BLK_SECTOR);
	if (*size == 0 || *size > INT64_MAX)
		return img_fail(img, -EINVAL, "a disk of %llu bytes cannot be", (unsigned long long)*size);
	return 0;
}

static int resize(struct img *img, struct blockdev *bd)
{
	enum blk_prealloc prealloc = BLK_PREALLOC_OFF;
	uint64_t size;
	int rc;

	if (img_prealloc_parse(img->args.prealloc, &prealloc, &img->err) < 0 || size_wanted(img, bd->size, &size) < 0)
		return 1;
	if (size <= bd->size && prealloc != BLK_PREALLOC_OFF)
		return img_fail(img, 1, "preallocation is for disks that become larger");
	if (size < bd->size && !img->args.shrink)
		return img_fail(img, 1, "%s would become smaller, and what is past %llu bytes would be lost; if that is what you want, add --shrink",
				bd->name, (unsigned long long)size);
	if (qcow2_is(bd)) {
		rc = qcow2_resize(bd, size, prealloc, &img->err);
	} else {
		rc = blockdev_truncate(bd, size, prealloc);
		if (rc < 0)
			err_set_errno(&img->err, rc, "%s: cannot give it %llu bytes", bd->name, (unsigned long long)size);
	}
	if (rc < 0)
		return 1;
	img_say(img, "Image resized.\n");
	return 0;
}

int cmd_resize(struct img *img)
{
	const struct img_args *a = &img->args;
	struct blockdev *bd = img_open(img, &(struct img_open){ .path = a->operands[0], .format = a->format, .opts = a->image_opts,
								.write = true });
	int status;

	if (!bd)
		return 1;
	if (!a->format && !a->image_opts && !strcmp(bd->ops->format, "raw"))
		img_warn_probed(a->operands[0]);
	status = resize(img, bd);
	blockdev_close(bd);
	return status;
}
