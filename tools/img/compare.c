/* SPDX-License-Identifier: MIT */
/* compare: 0 the same, 1 not, 2 an image cannot be opened, 3 its tables or 4 its data cannot be read. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/img.h"
#include "vmm/util.h"

#define DIFFER 1
#define CANNOT_OPEN 2
#define NO_TABLES 3
#define NO_DATA 4

struct compare {
	struct blockdev *bd[2];
	uint64_t size;       /* of the larger */
	uint64_t next, done;
	uint64_t found;      /* the first difference; UINT64_MAX: none yet */
	bool of_status;      /* strict: it is not in the contents */
	int status;
	uint64_t failed_at;
};

/* Both layers' ranges from `off` on, the shorter; past an end there is nothing. */
static int statuses(struct img *img, struct compare *c, uint64_t off, uint64_t len, struct blk_status st[2])
{
	for (int i = 0; i < 2; i++) {
		unsigned depth;
		int rc;

		st[i] = (struct blk_status){ .len = len, .flags = BLK_ST_ZERO };
		if (off >= c->bd[i]->size)
			continue;
		rc = img_status(img, c->bd[i], NULL, off, min_u64(len, c->bd[i]->size - off), &st[i], &depth);
		if (rc < 0)
			return err_set_errno(&img->err, rc, "%s: cannot read its tables at %llu", c->bd[i]->name, (unsigned long long)off);
	}
	st[0].len = st[1].len = min_u64(st[0].len, st[1].len);
	return 0;
}

static bool nothing(const struct blk_status *st)
{
	return (st->flags & BLK_ST_ZERO) || !(st->flags & BLK_ST_ALLOCATED);
}

static void differ(struct compare *c, uint64_t off, bool of_status)
{
	if (off < c->found) {
		c->found = off;
		c->of_status = of_status;
	}
}

static int data_compare(struct img *img, struct compare *c, uint64_t off, uint64_t len, const struct blk_status st[2], uint8_t *buf[2])
{
	for (int i = 0; i < 2; i++) {
		int rc = 0;

		if (nothing(&st[i]))
			memset(buf[i], 0, len);
		else
			rc = img_read_padded(img, c->bd[i], off, buf[i], len);
		if (rc < 0) {
			c->status = NO_DATA;
			return err_set_errno(&img->err, rc, "%s: cannot read it at %llu", c->bd[i]->name, (unsigned long long)off);
		}
	}
	if (memcmp(buf[0], buf[1], len) == 0)
		return 0;
	for (uint64_t at = 0; at < len; at += BLK_SECTOR)
		if (memcmp(buf[0] + at, buf[1] + at, min_u64(BLK_SECTOR, len - at)) != 0) {
			differ(c, off + at, false);
			break;
		}
	return 0;
}

static int chunk_compare(struct img *img, struct compare *c, uint64_t off, uint64_t end, uint8_t *buf[2])
{
	while (off < end && off < c->found) {
		struct blk_status st[2];
		int rc = statuses(img, c, off, end - off, st);

		if (rc < 0) {
			c->status = NO_TABLES;
			return rc;
		}
		if (img->args.strict && (st[0].flags & BLK_ST_ALLOCATED) != (st[1].flags & BLK_ST_ALLOCATED))
			differ(c, off, true);
		else if (!nothing(&st[0]) || !nothing(&st[1]))
			rc = data_compare(img, c, off, st[0].len, st, buf);
		if (rc < 0)
			return rc;
		off += st[0].len;
	}
	return 0;
}

static int worker(struct img *img, void *opaque)
{
	struct compare *c = opaque;
	uint8_t *buf[2] = { img_buffer(IMG_CHUNK), img_buffer(IMG_CHUNK) };
	int rc = buf[0] && buf[1] ? 0 : err_set_errno(&img->err, -ENOMEM, "cannot compare");

	while (rc == 0 && !c->status && c->next < min_u64(c->size, c->found)) {
		uint64_t off = c->next, end = min_u64(off + IMG_CHUNK, c->size);

		c->next = end;
		rc = chunk_compare(img, c, off, end, buf);
		c->done += end - off;
		img_progress(img, c->done, c->size);
	}
	free(buf[0]);
	free(buf[1]);
	return rc;
}

static int compare(struct img *img, struct compare *c)
{
	bool sizes = c->bd[0]->size != c->bd[1]->size;

	c->size = max_u64(c->bd[0]->size, c->bd[1]->size);
	c->found = UINT64_MAX;
	if (sizes && img->args.strict) {
		img_say(img, "Strict mode: Image size mismatch!\n");
		return DIFFER;
	}
	img_progress_start(img);
	if (img_workers(img, IMG_WORKERS / 2, worker, c) < 0)
		return c->status ? c->status : NO_DATA;
	img_progress_end(img);
	if (c->found != UINT64_MAX) {
		if (c->of_status)
			img_say(img, "Strict mode: Offset %llu block status mismatch!\n", (unsigned long long)c->found);
		else
			img_say(img, "Content mismatch at offset %llu!\n", (unsigned long long)c->found);
		return DIFFER;
	}
	if (sizes)
		img_say(img, "Warning: Image size mismatch!\n");
	img_say(img, "Images are identical.\n");
	return 0;
}

int cmd_compare(struct img *img)
{
	const struct img_args *a = &img->args;
	struct compare c = { .size = 0 };
	int status = CANNOT_OPEN;

	for (int i = 0; i < 2; i++) {
		const char *format = i ? a->format2 : a->format;

		c.bd[i] = img_open(img, &(struct img_open){ .path = a->operands[i], .format = format, .opts = a->image_opts,
							    .share = a->force_share, .cache = a->src_cache });
		if (!c.bd[i])
			break;
	}
	if (c.bd[1])
		status = compare(img, &c);
	blockdev_close(c.bd[0]);
	blockdev_close(c.bd[1]);
	return status;
}
