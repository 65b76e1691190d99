/* SPDX-License-Identifier: MIT */
/*
 * rebase: another backing file for an image. The safe way first writes into the image what the old backing file has and the new one has
 * not, where the image shows the backing file; with -u only the name changes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/img.h"
#include "vmm/util.h"

struct rebase {
	struct blockdev *top, *old, *new_base; /* old and new_base: NULL for none */
	uint64_t next, done;
};

static bool shows_zero(struct img *img, struct blockdev *bd, uint64_t off, uint64_t *len)
{
	struct blk_status st;
	unsigned depth;

	if (!bd || off >= bd->size)
		return true;
	if (img_status(img, bd, NULL, off, min_u64(*len, bd->size - off), &st, &depth) < 0)
		return false;
	*len = st.len;
	return st.flags & BLK_ST_ZERO;
}

static int base_read(struct img *img, struct blockdev *bd, uint64_t off, uint8_t *buf, uint64_t len)
{
	int rc;

	if (!bd) {
		memset(buf, 0, len);
		return 0;
	}
	rc = img_read_padded(img, bd, off, buf, len);
	return rc < 0 ? err_set_errno(&img->err, rc, "%s: cannot read it at %llu", bd->name, (unsigned long long)off) : 0;
}

/* Writes from `old` what differs in [off, off + len), in whole sectors. */
static int differences_write(struct img *img, struct rebase *r, uint64_t off, uint64_t len, const uint8_t *old, const uint8_t *new_data)
{
	uint64_t at = 0;

	while (at < len) {
		uint64_t end = at;
		int rc;

		while (end < len && memcmp(old + end, new_data + end, BLK_SECTOR) != 0)
			end += BLK_SECTOR;
		if (end > at) {
			rc = img_io(img, r->top, BLK_WRITE, 0, off + at, (void *)(old + at), end - at);
			if (rc < 0)
				return err_set_errno(&img->err, rc, "%s: cannot write it at %llu", r->top->name, (unsigned long long)(off + at));
		}
		at = end + BLK_SECTOR;
	}
	return 0;
}

static int range_rebase(struct img *img, struct rebase *r, uint64_t off, uint64_t len, uint8_t *buf[2])
{
	uint64_t old_len = len, new_len = len;
	bool zeroes = shows_zero(img, r->old, off, &old_len) && shows_zero(img, r->new_base, off, &new_len);
	int rc;

	if (zeroes && old_len == len && new_len == len)
		return 0;
	rc = base_read(img, r->old, off, buf[0], len);
	if (rc == 0)
		rc = base_read(img, r->new_base, off, buf[1], len);
	return rc < 0 ? rc : differences_write(img, r, off, len, buf[0], buf[1]);
}

static int worker(struct img *img, void *opaque)
{
	struct rebase *r = opaque;
	uint8_t *buf[2] = { img_buffer(IMG_CHUNK), img_buffer(IMG_CHUNK) };
	int rc = buf[0] && buf[1] ? 0 : err_set_errno(&img->err, -ENOMEM, "cannot rebase");

	while (rc == 0 && r->next < r->top->size) {
		uint64_t off = r->next, end = min_u64(off + IMG_CHUNK, r->top->size);

		r->next = end;
		while (rc == 0 && off < end) {
			struct blk_status st;
			unsigned depth;

			/* The top alone: what lies below it is what changes. */
			rc = img_status(img, r->top, blockdev_backing(r->top), off, end - off, &st, &depth);
			if (rc < 0)
				err_set_errno(&img->err, rc, "%s: cannot read its tables at %llu", r->top->name, (unsigned long long)off);
			else if (!(st.flags & BLK_ST_ALLOCATED))
				rc = range_rebase(img, r, off, st.len, buf);
			off += st.len;
		}
		r->done += IMG_CHUNK;
		img_progress(img, min_u64(r->done, r->top->size), r->top->size);
	}
	if (rc < 0)
		r->next = UINT64_MAX; /* the others stop */
	free(buf[0]);
	free(buf[1]);
	return rc;
}

static int data_rebase(struct img *img, struct blockdev *top, const char *base, const char *format)
{
	struct rebase r = { .top = top, .old = blockdev_backing(top) };
	char path[IMAGE_NAME_MAX * 2];
	int rc;

	if (base[0]) {
		if (image_path_join(path, top->name, base, &img->err) < 0)
			return img->err.code;
		r.new_base = img_open(img, &(struct img_open){ .path = path, .format = format, .cache = img->args.src_cache });
		if (!r.new_base)
			return err_prefix(&img->err, "the new backing file");
	}
	img_progress_start(img);
	rc = img_workers(img, 4, worker, &r);
	if (rc == 0)
		rc = blockdev_do(top, BLK_FLUSH, 0, 0, NULL, 0);
	if (rc == 0)
		img_progress_end(img);
	blockdev_close(r.new_base);
	return rc;
}

static int rebase(struct img *img, struct blockdev *top)
{
	const struct img_args *a = &img->args;
	const char *base = a->has_base ? a->base : "";
	int rc = 0;

	if (!qcow2_is(top))
		return img_fail(img, -ENOTSUP, "%s: images of format %s have no backing file", top->name, top->ops->format);
	if (base[0] && !a->format2)
		return img_fail(img, -EINVAL, "-b: a backing file needs its format: -F raw, -F qcow2");
	if (!a->unsafe)
		rc = data_rebase(img, top, base, a->format2);
	return rc < 0 ? rc : qcow2_change_backing(top, base, base[0] ? a->format2 : NULL, &img->err);
}

int cmd_rebase(struct img *img)
{
	const struct img_args *a = &img->args;
	struct blockdev *top;
	int rc;

	if (!a->has_base && !a->unsafe)
		return img_fail(img, 1, "rebase wants a backing file (-b FILE, or -b '' for none)");
	top = img_open(img, &(struct img_open){ .path = a->operands[0], .format = a->format, .opts = a->image_opts, .write = true,
						.cache = a->cache, .no_backing = a->unsafe });
	if (!top)
		return 1;
	rc = rebase(img, top);
	blockdev_close(top);
	return rc < 0;
}
