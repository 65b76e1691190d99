/* SPDX-License-Identifier: MIT */
/*
 * Dirty bitmaps in the image: listed, kept, and declared inconsistent where they would have to follow writes. The autoclear bit says that
 * they are consistent; without it, readers ignore them.
 */
#include <errno.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"
#include "vmm/err.h"

#define EXT_LEN 24
#define DIR_FIXED 24
#define MAX_DIR (64 * MIB)
#define NAME_MAX_LEN 1023

int q_bitmaps_read(struct qcow2 *q, uint8_t **dir, uint64_t *dir_off, uint64_t *dir_size, uint32_t *n)
{
	const struct qext *e = qheader_ext(&q->h, EXT_BITMAPS);
	int rc;

	*dir = NULL;
	*n = 0;
	*dir_off = *dir_size = 0;
	if (!e || !(q->h.autoclear & AUTOCLEAR_BITMAPS))
		return 0;
	if (e->len < EXT_LEN)
		return -EINVAL;
	*n = get_be32(e->data);
	*dir_size = get_be64(e->data + 8);
	*dir_off = get_be64(e->data + 16);
	if (*n == 0 || *n > QCOW2_BITMAPS_MAX || *dir_size > MAX_DIR || *dir_off % q->cluster_size ||
	    !range_ok(*dir_off, *dir_size, q->file_end) || *dir_size < (uint64_t)*n * DIR_FIXED)
		return -EINVAL;
	*dir = co_buf(*dir_size);
	rc = *dir ? co_pread(q->pool, q->bd.file, *dir_off, *dir, *dir_size) : -ENOMEM;
	if (rc < 0) {
		free(*dir);
		*dir = NULL;
	}
	return rc;
}

int bitmap_dir_next(const uint8_t *dir, uint64_t size, uint64_t *pos, struct bitmap_dir *b)
{
	const uint8_t *p = dir + *pos;
	uint64_t len;

	if (size - *pos < DIR_FIXED)
		return -EINVAL;
	*b = (struct bitmap_dir){
		.table_off = get_be64(p),
		.table_n = get_be32(p + 8),
		.flags = get_be32(p + 12),
		.type = p[16],
		.granularity_bits = p[17],
		.name_len = get_be16(p + 18),
		.extra_len = get_be32(p + 20),
	};
	len = align_up((uint64_t)DIR_FIXED + b->extra_len + b->name_len, 8);
	if (b->name_len == 0 || b->name_len > NAME_MAX_LEN || b->granularity_bits > 63 || len > size - *pos)
		return -EINVAL;
	b->name = (const char *)p + DIR_FIXED + b->extra_len;
	*pos += len;
	return 0;
}

int q_bitmaps_invalidate(struct qcow2 *q)
{
	int rc;

	if (!(q->h.autoclear & AUTOCLEAR_BITMAPS))
		return 0;
	q->h.autoclear &= ~AUTOCLEAR_BITMAPS;
	rc = q_header_write(q);
	return rc < 0 ? rc : co_pflush(q->pool, q->bd.file);
}

int q_bitmaps_open(struct qcow2 *q)
{
	uint64_t off, size, pos = 0;
	bool follow = false;
	struct bitmap_dir b;
	uint8_t *dir;
	uint32_t n;
	int rc = q_bitmaps_read(q, &dir, &off, &size, &n);

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		rc = bitmap_dir_next(dir, size, &pos, &b);
		follow |= rc == 0 && ((b.flags & QCOW2_BITMAP_AUTO) || (b.flags & QCOW2_BITMAP_IN_USE));
	}
	free(dir);
	if (rc == -EINVAL)
		follow = true; /* nonsense is not consistent */
	else if (rc < 0)
		return rc;
	return follow ? q_bitmaps_invalidate(q) : 0;
}

struct list_job {
	struct qcow2_bitmap_info *list;
};

static int list_co(struct qcow2 *q, void *arg)
{
	struct list_job *job = arg;
	uint64_t off, size, pos = 0;
	struct bitmap_dir b;
	uint8_t *dir;
	uint32_t n, i = 0;
	int rc = q_bitmaps_read(q, &dir, &off, &size, &n);

	if (rc == 0 && n) {
		job->list = calloc(n, sizeof(*job->list));
		rc = job->list ? 0 : -ENOMEM;
	}
	for (; i < n && rc == 0; i++) {
		struct qcow2_bitmap_info *info = &job->list[i];

		rc = bitmap_dir_next(dir, size, &pos, &b);
		if (rc < 0)
			break;
		info->granularity_bits = b.granularity_bits;
		info->granularity = b.granularity_bits < 32 ? BIT(b.granularity_bits) : 0;
		info->flags = b.flags & (QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO);
		info->name = strndup(b.name, b.name_len);
		rc = info->name ? 0 : -ENOMEM;
	}
	free(dir);
	if (rc < 0 && job->list) {
		qcow2_bitmaps_free(job->list, (int)i);
		job->list = NULL;
	}
	return rc < 0 ? rc : (int)n;
}

int qcow2_bitmaps(struct blockdev *bd, struct qcow2_bitmap_info **list, struct err *err)
{
	struct qcow2 *q = qcow2_of(bd);
	struct list_job job = { NULL };
	int rc;

	*list = NULL;
	if (!q)
		return err_set(err, -ENOTSUP, "%s: only qcow2 images have bitmaps", bd->name);
	rc = qcow2_run(q, list_co, &job);
	*list = job.list;
	return rc < 0 ? err_set_errno(err, rc, "%s: cannot read its bitmaps", bd->name) : rc;
}

void qcow2_bitmaps_free(struct qcow2_bitmap_info *list, int n)
{
	for (int i = 0; i < n; i++)
		free(list[i].name);
	free(list);
}
