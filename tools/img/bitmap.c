/* SPDX-License-Identifier: MIT */
/* bitmap: actions on one bitmap of an image, in the order of the command line; and the copies that convert --bitmaps makes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tools/img/img.h"
#include "vmm/util.h"

#define GRANULARITY_MIN 4096
#define GRANULARITY_MAX 65536

/* Names of the options, in the order of enum qcow2_bitmap_op. */
static const char *const names[] = { "add", "remove", "clear", "enable", "disable", "merge" };

static uint32_t default_granularity(struct blockdev *bd)
{
	struct qcow2_info q;

	if (qcow2_info(bd, &q) < 0)
		return GRANULARITY_MAX;
	return (uint32_t)min_u64(GRANULARITY_MAX, max_u64(GRANULARITY_MIN, q.cluster_size));
}

static int action_run(struct img *img, struct blockdev *bd, struct blockdev *from, size_t *i)
{
	const struct img_args *a = &img->args;
	struct qcow2_bitmap_change change = { .op = QCOW2_BITMAP_ADD, .name = a->operands[1], .from = from };

	while (strcmp(names[change.op], a->actions.v[*i]) != 0)
		change.op++;
	++*i;
	if (change.op == QCOW2_BITMAP_MERGE)
		change.source = a->actions.v[(*i)++];
	change.granularity = a->has_granularity ? (uint32_t)min_u64(a->granularity, UINT32_MAX) : default_granularity(bd);
	return qcow2_bitmap_change(bd, &change, &img->err);
}

static int arguments_check(struct img *img)
{
	const struct img_args *a = &img->args;
	bool add = strv_has(&a->actions, "add"), merge = strv_has(&a->actions, "merge");

	if (!a->actions.n)
		return img_fail(img, -EINVAL, "bitmap wants something to do: --add, --remove, --clear, --enable, --disable or --merge");
	if (a->has_granularity && !add)
		return img_fail(img, -EINVAL, "-g is for --add");
	if (a->has_base && !merge)
		return img_fail(img, -EINVAL, "-b is for --merge");
	if (a->format2 && !a->has_base)
		return img_fail(img, -EINVAL, "-F is for -b");
	return 0;
}

int cmd_bitmap(struct img *img)
{
	const struct img_args *a = &img->args;
	struct blockdev *bd, *from = NULL;
	int rc = arguments_check(img);

	if (rc < 0)
		return 1;
	bd = img_open(img, &(struct img_open){ .path = a->operands[0], .format = a->format, .opts = a->image_opts, .write = true,
					       .no_backing = true, .keep_bitmaps = true });
	if (!bd)
		return 1;
	if (a->has_base) {
		from = img_open(img, &(struct img_open){ .path = a->base, .format = a->format2, .no_backing = true });
		rc = from ? 0 : img->err.code;
	}
	for (size_t i = 0; rc == 0 && i < a->actions.n;)
		rc = action_run(img, bd, from, &i);
	blockdev_close(from);
	blockdev_close(bd);
	return rc < 0;
}

/* convert --bitmaps */

int img_bitmaps_check(struct img *img, struct blockdev *from)
{
	struct qcow2_bitmap_info *list;
	int n = qcow2_bitmaps(from, &list, &img->err), rc = 0;

	for (int i = 0; i < n && rc == 0 && !img->args.skip_broken; i++)
		if (list[i].flags & QCOW2_BITMAP_IN_USE)
			rc = img_fail(img, -EUCLEAN, "%s: bitmap '%s' was not saved by the program that used it last; remove it (kite-img bitmap "
						     "--remove), or leave such out: --skip-broken-bitmaps", from->name, list[i].name);
	if (n > 0)
		qcow2_bitmaps_free(list, n);
	return n < 0 ? n : rc;
}

static int bitmap_copy(struct img *img, struct blockdev *from, struct blockdev *to, const struct qcow2_bitmap_info *b)
{
	struct qcow2_bitmap_change change = { .op = QCOW2_BITMAP_ADD, .name = b->name, .granularity = b->granularity,
					      .disabled = !(b->flags & QCOW2_BITMAP_AUTO), .from = from, .source = b->name };
	int rc = qcow2_bitmap_change(to, &change, &img->err);

	change.op = QCOW2_BITMAP_MERGE;
	return rc < 0 ? rc : qcow2_bitmap_change(to, &change, &img->err);
}

int img_bitmaps_copy(struct img *img, struct blockdev *from, struct blockdev *to)
{
	struct qcow2_bitmap_info *list;
	int n = qcow2_bitmaps(from, &list, &img->err), rc = 0;

	for (int i = 0; i < n && rc == 0; i++) {
		if (!(list[i].flags & QCOW2_BITMAP_IN_USE))
			rc = bitmap_copy(img, from, to, &list[i]);
		else if (!img->args.quiet)
			fprintf(stderr, "kite-img: warning: %s: bitmap '%s' is left out, as it was not saved\n", from->name, list[i].name);
	}
	if (n > 0)
		qcow2_bitmaps_free(list, n);
	return n < 0 ? n : rc;
}
