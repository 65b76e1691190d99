/* SPDX-License-Identifier: MIT */
/* Opening: header, tables, other files, and what has to be put right before the image may be written to. */
#include <errno.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"
#include "vmm/err.h"
#include "vmm/log.h"

#define SLICE_DEFAULT (4 * KIB)
#define L2_CACHE_DEFAULT (4 * MIB) /* of an image with clusters of 64 KiB: 32 GiB */
#define RC_CACHE_DEFAULT (256 * KIB)
#define CACHE_MAX (1 * GIB)

struct open_job {
	const struct qcow2_open_config *cfg;
	struct err *err;
};

static int header_load(struct qcow2 *q, void *arg)
{
	struct open_job *job = arg;
	struct err *err = job->err;
	const char *name = q->bd.name;
	uint8_t first[BLK_SECTOR] __attribute__((aligned(BLK_SECTOR))), *p = NULL;
	unsigned bits = 0;
	int rc = co_pread(q->pool, q->bd.file, 0, first, BLK_SECTOR);

	if (rc < 0)
		return err_set_errno(err, rc, "%s: cannot read its header", name);
	rc = qheader_probe(first, name, &bits, err);
	if (rc < 0)
		return rc;
	p = co_buf(BIT(bits));
	rc = p ? co_pread(q->pool, q->bd.file, 0, p, BIT(bits)) : -ENOMEM;
	if (rc < 0)
		err_set_errno(err, rc, "%s: cannot read its header", name);
	if (rc == 0)
		rc = qheader_parse(&q->h, p, BIT(bits), q->bd.file->size, name, err);
	free(p);
	return rc;
}

static void geometry(struct qcow2 *q)
{
	q->cluster_bits = q->h.cluster_bits;
	q->cluster_size = BIT(q->cluster_bits);
	q->extended = q->h.incompat & INCOMPAT_EXTENDED_L2;
	q->has_data_file = q->h.incompat & INCOMPAT_DATA_FILE;
	q->data_raw = q->h.autoclear & AUTOCLEAR_RAW_DATA;
	q->lazy = q->h.compat & COMPAT_LAZY;
	q->l2_entry = q->extended ? 16 : 8;
	q->l2_bits = q->cluster_bits - (q->extended ? 4 : 3);
	q->subs = q->extended ? SUBCLUSTERS : 1;
	q->sub_bits = q->cluster_bits - (q->extended ? 5 : 0);
	q->rb_bits = q->cluster_bits + 3 - q->h.refcount_order;
	q->refcount_max = q->h.refcount_order == 6 ? UINT64_MAX : BIT64(BIT(q->h.refcount_order)) - 1;
	q->file_end = align_up(q->bd.file->size, q->cluster_size);
	q->bd.size = align_down(q->h.size, BLK_SECTOR);
}

int q_l1_read(struct qcow2 *q, uint64_t off, uint32_t n, uint64_t **l1)
{
	uint64_t *t;
	int rc;

	*l1 = NULL;
	if ((uint64_t)n * 8 > MAX_L1_BYTES || off % q->cluster_size || !range_ok(off, (uint64_t)n * 8, q->file_end))
		return -EINVAL;
	t = co_buf((size_t)n * 8);
	if (!t)
		return -ENOMEM;
	rc = co_pread(q->pool, q->bd.file, off, t, (size_t)n * 8);
	if (rc < 0) {
		free(t);
		return rc;
	}
	for (uint32_t i = 0; i < n; i++)
		t[i] = be64toh(t[i]);
	*l1 = t;
	return 0;
}

void q_tables_free(struct qcow2 *q)
{
	free(q->l1);
	free(q->l1_dirty);
	free(q->rt);
	q->l1 = q->l1_dirty = q->rt = NULL;
	q->l1_any_dirty = false;
	q_snapshots_free(q->snaps, q->n_snaps);
	q->snaps = NULL;
	q->n_snaps = 0;
	meta_fini(&q->meta);
	table_cache_fini(&q->l2);
	table_cache_fini(&q->rb);
	q_inflated_forget(q, 0, UINT64_MAX);
}

static uint64_t choose(uint64_t asked, uint64_t fallback, uint64_t max)
{
	return min_u64(asked ? asked : fallback, max);
}

/* `cache_size` is for both, and L2 tables come first, as with QEMU. */
static int caches_make(struct qcow2 *q, const struct qcow2_open_config *cfg, struct err *err)
{
	uint64_t slice = cfg->l2_cache_entry_size ? cfg->l2_cache_entry_size : SLICE_DEFAULT;
	uint64_t need = ((uint64_t)q->h.l1_n << q->cluster_bits), l2, rc_size;
	int rc;

	if (slice < BLK_SECTOR || (slice & (slice - 1)))
		return err_set(err, -EINVAL, "%s: l2-cache-entry-size must be a power of two of at least 512", q->bd.name);
	if (cfg->cache_size && (cfg->l2_cache_size > cfg->cache_size || cfg->refcount_cache_size > cfg->cache_size))
		return err_set(err, -EINVAL, "%s: cache-size is less than one of the caches that it is for", q->bd.name);
	slice = min_u64(slice, q->cluster_size);
	rc_size = choose(cfg->refcount_cache_size, RC_CACHE_DEFAULT, CACHE_MAX);
	l2 = choose(cfg->l2_cache_size, cfg->cache_size ? cfg->cache_size - min_u64(cfg->cache_size / 2, rc_size) : L2_CACHE_DEFAULT, CACHE_MAX);
	if (!cfg->refcount_cache_size && cfg->cache_size)
		rc_size = min_u64(rc_size, cfg->cache_size - l2);
	rc = table_cache_init(&q->l2, min_u64(l2, max_u64(need, slice)), (uint32_t)slice);
	if (rc == 0)
		rc = table_cache_init(&q->rb, rc_size, (uint32_t)min_u64(SLICE_DEFAULT, q->cluster_size));
	return rc < 0 ? err_set_errno(err, rc, "%s: cannot make its caches", q->bd.name) : 0;
}

int q_tables_load(struct qcow2 *q, struct err *err)
{
	int rc = q_l1_read(q, q->h.l1_off, q->h.l1_n, &q->l1);

	if (rc < 0)
		return err_set_errno(err, rc, "%s: cannot read its L1 table", q->bd.name);
	q->l1_dirty = calloc(q->h.l1_n / 4096 + 1, 8);
	if (!q->l1_dirty)
		return err_set_errno(err, -ENOMEM, "%s", q->bd.name);
	q->rt_n = (uint32_t)(((uint64_t)q->h.rt_clusters << q->cluster_bits) / 8);
	rc = q_l1_read(q, q->h.rt_off, q->rt_n, &q->rt);
	if (rc < 0)
		return err_set_errno(err, rc, "%s: cannot read its refcount table", q->bd.name);
	return q_snapshots_load(q, err);
}

static int view_snapshot(struct qcow2 *q, const char *which, struct err *err)
{
	int i = q_snapshot_find(q, which), rc;
	const struct snapshot *s;
	uint64_t *l1;

	if (i < 0)
		return err_set(err, -ENOENT, "%s: has no snapshot '%s'", q->bd.name, which);
	s = &q->snaps[i];
	if ((uint64_t)s->l1_n << (q->l2_bits + q->cluster_bits) < s->disk_size)
		return err_set(err, -EINVAL, "%s: snapshot '%s' has a table that is too small for its disk", q->bd.name, which);
	rc = q_l1_read(q, s->l1_off, s->l1_n, &l1);
	if (rc < 0)
		return err_set_errno(err, rc, "%s: cannot read the table of snapshot '%s'", q->bd.name, which);
	free(q->l1);
	q->l1 = l1;
	q->h.l1_n = s->l1_n;
	q->bd.size = align_down(s->disk_size, BLK_SECTOR);
	q->snapshot_view = true;
	return 0;
}

static int tables_job(struct qcow2 *q, void *arg)
{
	struct open_job *job = arg;
	int rc = caches_make(q, job->cfg, job->err);

	if (rc == 0)
		rc = q_tables_load(q, job->err);
	if (rc == 0 && job->cfg->snapshot)
		rc = view_snapshot(q, job->cfg->snapshot, job->err);
	return rc;
}

static void say_repair(void *opaque, const char *line)
{
	log_debug("%s: %s", ((struct qcow2 *)opaque)->bd.name, line);
}

/* The image was not closed: with lazy refcounts they have to be built anew. */
static int clean_up(struct qcow2 *q, struct err *err)
{
	struct qcow2_check_result res;
	int rc = q_check(q, QCOW2_FIX_LEAKS | QCOW2_FIX_ERRORS, say_repair, q, &res);

	if (rc == 0 && (res.corruptions || res.check_errors))
		rc = -EIO;
	if (rc < 0)
		return err_set_errno(err, rc, "%s: was not closed, and its refcounts cannot be repaired; try kite-img check -r all", q->bd.name);
	log_warn("%s: was not closed; its refcounts were repaired", q->bd.name);
	q->h.incompat &= ~INCOMPAT_DIRTY;
	rc = q_header_write(q);
	if (rc == 0)
		rc = co_pflush(q->pool, q->bd.file);
	return rc < 0 ? err_set_errno(err, rc, "%s: cannot write its header", q->bd.name) : 0;
}

static int writable_job(struct qcow2 *q, void *arg)
{
	struct open_job *job = arg;
	uint64_t unknown = q->h.autoclear & ~(AUTOCLEAR_BITMAPS | AUTOCLEAR_RAW_DATA);
	int rc = q_meta_load(q, job->err);

	if (rc < 0 || job->cfg->repair)
		return rc;
	if (unknown) {
		q->h.autoclear &= ~unknown;
		rc = q_header_write(q);
	}
	if (rc == 0 && !job->cfg->keep_bitmaps)
		rc = q_bitmaps_open(q);
	if (rc < 0)
		return err_set_errno(job->err, rc, "%s: cannot write its header", q->bd.name);
	return q->h.incompat & INCOMPAT_DIRTY ? clean_up(q, job->err) : 0;
}

static int children_open(struct qcow2 *q, const struct qcow2_open_config *cfg, struct err *err)
{
	struct blockdev *child = NULL;
	int rc;

	q->data = q->bd.file;
	if (q->has_data_file) {
		if (!q->h.data_file[0] && !cfg->data_file)
			return err_set(err, -EINVAL, "%s: does not name its external data file", q->bd.name);
		rc = cfg->open_child(cfg->opaque, QCOW2_DATA_FILE, q->h.data_file, "raw", &child, err);
		if (rc < 0)
			return rc;
		q->data = child;
	}
	child = NULL;
	if (q->h.backing[0] && !cfg->no_backing) {
		rc = cfg->open_child(cfg->opaque, QCOW2_BACKING, q->h.backing, q->h.backing_format, &child, err);
		if (rc < 0)
			return rc;
		q->bd.backing = child;
	}
	q->no_backing = q->h.backing[0] && !q->bd.backing;
	return 0;
}

int q_open(struct qcow2 *q, const struct qcow2_open_config *cfg, struct err *err)
{
	struct open_job job = { .cfg = cfg, .err = err };
	bool read_only = cfg->read_only || q->bd.file->read_only || cfg->snapshot;
	int rc = qcow2_run(q, header_load, &job);

	if (rc < 0)
		return rc;
	geometry(q);
	if (!read_only && (q->h.incompat & INCOMPAT_CORRUPT) && !cfg->repair)
		return err_set(err, -EROFS, "%s: is marked corrupt and can only be opened read-only; repair it: kite-img check -r all", q->bd.name);
	if (cfg->lazy_refcounts > 0 && q->h.version < 3)
		return err_set(err, -EINVAL, "%s: lazy-refcounts=on needs version 3 (compat=1.1) of qcow2; kite-img convert makes it", q->bd.name);
	q->lazy = cfg->lazy_refcounts ? cfg->lazy_refcounts > 0 : q->lazy;
	rc = q_inflate_prepare(q, err);
	if (rc == 0)
		rc = children_open(q, cfg, err);
	if (rc == 0)
		rc = qcow2_run(q, tables_job, &job);
	if (rc < 0 || read_only)
		return rc;
	q->bd.read_only = false;
	q->bd.discard = q->discard = cfg->discard == BLK_DISCARD_UNMAP;
	q->bd.write_zeroes = true;
	q->writethrough = cfg->writethrough;
	q->bd.write_cache = !cfg->writethrough;
	q->detect_zeroes = cfg->detect_zeroes;
	rc = qcow2_run(q, writable_job, &job);
	if (rc < 0)
		q->bd.read_only = true;
	return rc;
}
