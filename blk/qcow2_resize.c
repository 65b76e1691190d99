/* SPDX-License-Identifier: MIT */
/* What changes an image as a whole: its size, its backing file, and to be emptied. */
#include <errno.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"
#include "vmm/err.h"

struct change_job {
	uint64_t size;
	enum blk_prealloc prealloc;
	const char *file, *format;
	struct err *err;
};

/* A larger L1 table, elsewhere; on disk before the header points at it. */
int q_l1_grow(struct qcow2 *q, uint32_t n)
{
	uint64_t len = align_up((uint64_t)n * 8, q->cluster_size), off = 0, old_off = q->h.l1_off, *l1, *dirty;
	uint32_t old_n = q->h.l1_n;
	uint8_t *buf;
	int rc;

	if (n <= old_n)
		return 0;
	if ((uint64_t)n * 8 > MAX_L1_BYTES)
		return -EFBIG;
	buf = co_buf(len);
	l1 = calloc(n, 8);
	dirty = calloc(n / 4096 + 1, 8);
	rc = buf && l1 && dirty ? q_commit(q, true) : -ENOMEM;
	if (rc == 0)
		rc = q_alloc(q, len >> q->cluster_bits, &off);
	if (rc == 0) {
		memcpy(l1, q->l1, (size_t)old_n * 8);
		memset(buf, 0, len);
		for (uint32_t i = 0; i < old_n; i++)
			put_be64(buf + (size_t)i * 8, l1[i]);
		q->file_end = max_u64(q->file_end, off + len);
		rc = co_pwrite(q->pool, q->bd.file, off, buf, len);
		if (rc == 0)
			rc = q_meta_add_bytes(q, off, len);
		if (rc == 0)
			rc = table_write_back(q, &q->rb);
		if (rc == 0)
			rc = co_pflush(q->pool, q->bd.file);
		if (rc < 0)
			q_free_now(q, off, len >> q->cluster_bits);
	}
	free(buf);
	if (rc < 0) {
		free(l1);
		free(dirty);
		return rc;
	}
	q->h.l1_off = off;
	q->h.l1_n = n;
	rc = q_header_write(q);
	if (rc == 0)
		rc = co_pflush(q->pool, q->bd.file);
	if (rc < 0) {
		q->h.l1_off = old_off;
		q->h.l1_n = old_n;
		free(l1);
		free(dirty);
		return q_corrupt(q, "the L1 table cannot be moved (error %d)", -rc);
	}
	free(q->l1);
	free(q->l1_dirty);
	q->l1 = l1;
	q->l1_dirty = dirty;
	q_meta_remove_bytes(q, old_off, max_u64((uint64_t)old_n * 8, 1));
	if (old_n)
		q_free_now(q, old_off, q_clusters(q, (uint64_t)old_n * 8));
	return 0;
}

static int size_write(struct qcow2 *q, uint64_t size)
{
	uint64_t old = q->h.size;
	int rc = q_commit(q, true);

	if (rc < 0)
		return rc;
	q->h.size = size;
	rc = q_header_write(q);
	if (rc == 0)
		rc = co_pflush(q->pool, q->bd.file);
	if (rc < 0)
		q->h.size = old;
	return rc;
}

/* What the image shows past its old end has to be zeroes: not the rest of its last cluster, nor a longer backing file. */
static int grow_zeroes(struct qcow2 *q, uint64_t old, uint64_t size)
{
	uint64_t end = align_up(old, q->cluster_size);

	if (q->bd.backing)
		end = max_u64(end, q->bd.backing->size);
	if (q->no_backing)
		end = size;
	end = min_u64(end, size);
	return end > old ? q_write_zeroes(q, old, end - old, false) : 0;
}

static int grow(struct qcow2 *q, uint64_t size, enum blk_prealloc prealloc)
{
	uint64_t span = q_l2_span(q), old = q->bd.size, end;
	int rc;

	if (size / span + (size % span != 0) > UINT32_MAX)
		return -EFBIG;
	rc = q_l1_grow(q, (uint32_t)(size / span + (size % span != 0)));
	if (rc == 0 && q->has_data_file && q->data->size < size)
		rc = blockdev_truncate(q->data, size, prealloc == BLK_PREALLOC_METADATA ? BLK_PREALLOC_OFF : prealloc);
	if (rc == 0) {
		q->bd.size = size; /* nobody else is there to see it */
		rc = grow_zeroes(q, old, size);
	}
	if (rc == 0 && prealloc != BLK_PREALLOC_OFF) {
		rc = q_preallocate(q, align_up(old, q->cluster_size), size);
		end = q->file_end;
		if (rc == 0 && !q->has_data_file && q->bd.file->grows && end > q->bd.file->size)
			rc = blockdev_truncate(q->bd.file, end, prealloc == BLK_PREALLOC_METADATA ? BLK_PREALLOC_OFF : prealloc);
	}
	if (rc == 0)
		rc = size_write(q, size);
	if (rc < 0)
		q->bd.size = old;
	return rc;
}

static int shrink(struct qcow2 *q, uint64_t size)
{
	uint64_t first = align_up(size, q->cluster_size), old = q->bd.size;
	int rc = size_write(q, size);

	if (rc == 0 && first < old)
		rc = q_discard(q, first, old - first, true);
	if (rc == 0)
		rc = q_commit(q, true);
	if (rc == 0 && q->has_data_file && q->data->grows)
		rc = blockdev_truncate(q->data, size, BLK_PREALLOC_OFF);
	return rc;
}

static int resize_co(struct qcow2 *q, void *arg)
{
	const struct change_job *job = arg;
	int rc = q_bitmaps_invalidate(q);

	if (rc == 0 && job->size > q->bd.size)
		rc = grow(q, job->size, job->prealloc);
	else if (rc == 0 && job->size < q->bd.size)
		rc = shrink(q, job->size);
	if (rc == 0)
		q->bd.size = job->size;
	return rc;
}

static struct qcow2 *writable(struct blockdev *bd, struct err *err)
{
	struct qcow2 *q = qcow2_of(bd);

	if (!q)
		err_set(err, -ENOTSUP, "%s: is no qcow2 image", bd->name);
	else if (bd->read_only)
		err_set(err, -EROFS, "%s: is open read-only", bd->name);
	else if (q->corrupt)
		err_set(err, -EIO, "%s: is corrupt; repair it: kite-img check -r all", bd->name);
	else
		return q;
	return NULL;
}

int qcow2_resize(struct blockdev *bd, uint64_t size, enum blk_prealloc prealloc, struct err *err)
{
	struct change_job job = { .size = size, .prealloc = prealloc };
	struct qcow2 *q = writable(bd, err);
	int rc;

	if (!q)
		return err->code;
	if (size % BLK_SECTOR || size > INT64_MAX)
		return err_set(err, -EINVAL, "%s: its size must be a multiple of 512 bytes", bd->name);
	if (q->n_snaps && q->h.version < 3)
		return err_set(err, -ENOTSUP, "%s: images of version 2 with snapshots cannot be resized", bd->name);
	if (prealloc != BLK_PREALLOC_OFF && q->h.backing[0] && !q->extended)
		return err_set(err, -ENOTSUP, "%s: preallocation with a backing file needs extended L2 entries", bd->name);
	blockdev_drain(bd);
	rc = qcow2_run(q, resize_co, &job);
	return rc < 0 ? err_set_errno(err, rc, "%s: cannot resize it", bd->name) : 0;
}

static int empty_co(struct qcow2 *q, void *arg)
{
	int rc = q_discard(q, 0, q->bd.size, true);

	(void)arg;
	if (rc == 0)
		rc = q_commit(q, true);
	return rc < 0 ? rc : q_make_clean(q);
}

int qcow2_make_empty(struct blockdev *bd, struct err *err)
{
	struct qcow2 *q = writable(bd, err);
	int rc;

	if (!q)
		return err->code;
	blockdev_drain(bd);
	rc = qcow2_run(q, empty_co, NULL);
	return rc < 0 ? err_set_errno(err, rc, "%s: cannot empty it", bd->name) : 0;
}

static int backing_co(struct qcow2 *q, void *arg)
{
	const struct change_job *job = arg;
	struct qheader h = q->h;
	int rc;

	strcpy(h.backing, job->file);
	strcpy(h.backing_format, job->format);
	rc = q_commit(q, true);
	if (rc == 0)
		rc = q_header_rewrite(q, &h);
	if (rc == 0) {
		strcpy(q->h.backing, h.backing);
		strcpy(q->h.backing_format, h.backing_format);
	}
	return rc;
}

int qcow2_change_backing(struct blockdev *bd, const char *file, const char *format, struct err *err)
{
	struct change_job job = { .file = file ? file : "", .format = file && *file && format ? format : "" };
	struct qcow2 *q = writable(bd, err);
	int rc;

	if (!q)
		return err->code;
	if (strlen(job.file) >= IMAGE_NAME_MAX || strlen(job.format) >= QCOW2_FORMAT_MAX)
		return err_set(err, -ENAMETOOLONG, "%s: the backing file's name is too long; at most 1023 bytes are possible", bd->name);
	if (*job.file && q->data_raw)
		return err_set(err, -EINVAL, "%s: a backing file and data_file_raw cannot be used together", bd->name);
	blockdev_drain(bd);
	rc = qcow2_run(q, backing_co, &job);
	if (rc == 0)
		q->no_backing = *job.file && !bd->backing;
	return rc < 0 ? err_set_errno(err, rc, "%s: cannot change its header", bd->name) : 0;
}

int qcow2_set_backing(struct blockdev *bd, struct blockdev *backing, struct blockdev **old)
{
	struct qcow2 *q = qcow2_of(bd);

	if (!q)
		return -ENOTSUP;
	blockdev_drain(bd);
	*old = bd->backing;
	bd->backing = backing;
	q->no_backing = q->h.backing[0] && !backing;
	return 0;
}

int qcow2_info(struct blockdev *bd, struct qcow2_info *info)
{
	struct qcow2 *q = qcow2_of(bd);
	const struct qext *e;

	if (!q)
		return -ENOTSUP;
	*info = (struct qcow2_info){
		.version = q->h.version,
		.size = bd->size,
		.cluster_size = q->cluster_size,
		.refcount_bits = BIT(q->h.refcount_order),
		.compression = (enum qcow2_compression)q->h.compression,
		.lazy_refcounts = q->h.compat & COMPAT_LAZY,
		.extended_l2 = q->extended,
		.dirty = q->h.incompat & INCOMPAT_DIRTY,
		.corrupt = q->corrupt || (q->h.incompat & INCOMPAT_CORRUPT),
		.has_data_file = q->has_data_file,
		.data_file_raw = q->data_raw,
		.n_snapshots = q->n_snaps,
		.vm_state_off = align_up(bd->size, q_l2_span(q)),
	};
	strcpy(info->backing_file, q->h.backing);
	strcpy(info->backing_format, q->h.backing_format);
	strcpy(info->data_file, q->h.data_file);
	e = qheader_ext(&q->h, EXT_BITMAPS);
	if (e && e->len >= 4 && (q->h.autoclear & AUTOCLEAR_BITMAPS))
		info->n_bitmaps = get_be32(e->data);
	return 0;
}
