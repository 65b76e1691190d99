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

/* A larger L1 table, elsewhere. Its clusters are next to each other, which the allocator for data does not do for so many. */
static int l1_grow(struct qcow2 *q, uint32_t n)
{
	struct qswitch s = { .q = q };
	uint64_t *l1;
	int rc;

	if (n <= q->h.l1_n)
		return 0;
	if ((uint64_t)n * 8 > MAX_L1_BYTES)
		return -EFBIG;
	l1 = calloc(n, 8);
	rc = l1 ? qswitch_begin(&s, q) : -ENOMEM;
	if (rc == 0) {
		memcpy(l1, q->l1, (size_t)q->h.l1_n * 8);
		rc = qswitch_count(&s, q->h.l1_off, (uint64_t)q->h.l1_n * 8, -1);
	}
	if (rc == 0)
		rc = qswitch_l1(&s, l1, n);
	if (rc == 0)
		rc = qswitch_end(&s);
	qswitch_fini(&s);
	free(l1);
	return rc;
}

static int size_write(struct qcow2 *q, uint64_t size)
{
	struct qpointers to;
	int rc = q_commit(q, true);

	q_pointers_get(&q->h, &to);
	to.size = size;
	return rc < 0 ? rc : q_header_switch(q, &to);
}

/*
 * What the image shows past its old end has to be zeroes: not the rest of its last cluster, nor a longer backing file; nor what else
 * is there of a shrinking that was interrupted, or of a virtual machine's state.
 */
static int grow_zeroes(struct qcow2 *q, uint64_t old, uint64_t size, uint64_t mapped)
{
	uint64_t end = align_up(old, q->cluster_size);
	int rc = end < min_u64(size, mapped) && !q->data_raw ? q_discard(q, end, min_u64(size, mapped) - end, true) : 0;

	if (rc < 0)
		return rc;
	if (q->bd.backing)
		end = max_u64(end, q->bd.backing->size);
	if (q->no_backing)
		end = size;
	end = min_u64(end, size);
	return end > old ? q_write_zeroes(q, old, end - old, false) : 0;
}

static int grow(struct qcow2 *q, uint64_t size, enum blk_prealloc prealloc)
{
	uint64_t span = q_l2_span(q), old = q->bd.size, mapped = q->h.l1_n * span;
	int rc;

	if (size / span + (size % span != 0) > UINT32_MAX)
		return -EFBIG;
	if (q->data_raw && prealloc == BLK_PREALLOC_OFF)
		prealloc = BLK_PREALLOC_METADATA; /* the map says that the data file is all there is */
	rc = l1_grow(q, (uint32_t)(size / span + (size % span != 0)));
	if (rc == 0 && q->has_data_file && q->data->size < size)
		rc = blockdev_truncate(q->data, size, prealloc == BLK_PREALLOC_METADATA ? BLK_PREALLOC_OFF : prealloc);
	if (rc == 0) {
		q->bd.size = size; /* nobody else is there to see it */
		rc = grow_zeroes(q, old, size, mapped);
	}
	if (rc == 0 && prealloc != BLK_PREALLOC_OFF)
		rc = q_preallocate(q, align_up(old, q->cluster_size), size, prealloc);
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
