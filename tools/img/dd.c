/* SPDX-License-Identifier: MIT */
/* dd: blocks `skip` to `skip` + `count` of a disk into a new image. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/img.h"
#include "vmm/util.h"

struct dd {
	const char *in, *out;
	uint64_t bs, count, skip;
	bool has_count;
};

static int operand_parse(struct img *img, struct dd *dd, const char *text)
{
	static const char *const keys[] = { "if=", "of=", "bs=", "count=", "skip=" };
	uint64_t number = 0;
	size_t k = 0;

	while (k < ARRAY_SIZE(keys) && strncmp(text, keys[k], strlen(keys[k])) != 0)
		k++;
	if (k == ARRAY_SIZE(keys))
		return img_fail(img, -EINVAL, "dd has no operand '%s': if=, of=, bs=, count= and skip= are", err_show(text).s);
	text += strlen(keys[k]);
	if (k >= 2 && img_size_parse(text, &number, &img->err) < 0)
		return err_prefix(&img->err, "%.*s", (int)strlen(keys[k]) - 1, keys[k]);
	switch (k) {
	case 0:
		dd->in = text;
		break;
	case 1:
		dd->out = text;
		break;
	case 2:
		if (number == 0 || number > INT32_MAX)
			return img_fail(img, -EINVAL, "bs: blocks of %llu bytes cannot be", (unsigned long long)number);
		dd->bs = number;
		break;
	case 3:
		dd->count = number;
		dd->has_count = true;
		break;
	default:
		dd->skip = number;
	}
	return 0;
}

struct dd_copy {
	struct blockdev *from, *to;
	uint64_t off, size, next;
};

/* What is not at sectors' borders is read around. */
static int worker(struct img *img, void *opaque)
{
	struct dd_copy *c = opaque;
	uint8_t *buf = img_buffer(IMG_CHUNK);
	int rc = buf ? 0 : -ENOMEM;

	while (rc == 0 && c->next < c->size) {
		uint64_t at = c->next, len = min_u64(IMG_CHUNK, c->size - at);

		c->next += len;
		rc = img_io_any(img, c->from, BLK_READ, c->off + at, buf, len);
		memset(buf + len, 0, align_up(len, BLK_SECTOR) - len);
		if (rc == 0)
			rc = img_io(img, c->to, BLK_WRITE, 0, at, buf, align_up(len, BLK_SECTOR));
	}
	if (rc < 0)
		c->next = c->size;
	free(buf);
	return rc < 0 ? err_set_errno(&img->err, rc, "%s: cannot copy it to %s", c->from->name, c->to->name) : 0;
}

static int dd_run(struct img *img, const struct dd *dd, struct blockdev *from, const char *format)
{
	struct dd_copy c = { .from = from };
	struct img_create create;
	int rc;

	if (!mul_u64(dd->skip, dd->bs, &c.off) || c.off > from->size) {
		fprintf(stderr, "kite-img: warning: %s: it has no block %llu, so the output is empty\n", dd->in, (unsigned long long)dd->skip);
		c.off = from->size;
	}
	c.size = from->size - c.off;
	if (dd->has_count && dd->count <= c.size / dd->bs)
		c.size = dd->count * dd->bs;
	img_create_init(&create);
	create.size = c.size;
	rc = img_create_file(img, dd->out, format, &create);
	img_create_fini(&create);
	if (rc < 0)
		return rc;
	c.to = img_open(img, &(struct img_open){ .path = dd->out, .format = format, .write = true, .cache = "unsafe" });
	if (!c.to)
		return img->err.code;
	rc = img_workers(img, IMG_WORKERS, worker, &c);
	blockdev_close(c.to);
	return rc;
}

int cmd_dd(struct img *img)
{
	const struct img_args *a = &img->args;
	const char *format = a->out_format ? a->out_format : "raw";
	struct dd dd = { .bs = BLK_SECTOR };
	struct blockdev *from;
	int rc = 0;

	for (int i = 0; i < a->n_operands && rc == 0; i++)
		rc = operand_parse(img, &dd, a->operands[i]);
	if (rc == 0 && (!dd.in || !dd.out))
		rc = img_fail(img, -EINVAL, "dd wants if=FILE and of=FILE");
	if (rc < 0 || img_format_check(format, dd.out, &img->err) < 0)
		return 1;
	from = img_open(img, &(struct img_open){ .path = dd.in, .format = a->format, .opts = a->image_opts, .share = a->force_share });
	if (!from)
		return 1;
	rc = dd_run(img, &dd, from, format);
	blockdev_close(from);
	return rc < 0;
}
