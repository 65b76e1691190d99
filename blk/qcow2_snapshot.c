/* SPDX-License-Identifier: MIT */
/*
 * Internal snapshots. A snapshot is a copy of the L1 table, and a count on every cluster that can be reached through it. What changes the
 * set of snapshots runs alone, between two commits, in steps with flushes between them:
 *
 *  - create: the copy; COPIED taken away from everything that becomes shared; counts raised; then the table of snapshots with the new one.
 *  - apply: counts of the snapshot raised; then the header's L1 table changes to a copy of the snapshot's; then counts of the old one fall.
 *  - delete: the table without it; then counts fall, and what is no longer shared gets COPIED back.
 *
 * Every stop between two steps loses clusters at worst. An entry without COPIED whose cluster is not shared costs a copy, no more.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

#include "blk/qcow2_priv.h"
#include "vmm/err.h"

#define ENTRY_FIXED 40
#define EXTRA_KNOWN 24 /* VM state size, disk size, instruction count */
#define ID_MAX 65535

static void snapshot_fini(struct snapshot *s)
{
	free(s->id);
	free(s->name);
	free(s->extra);
}

void q_snapshots_free(struct snapshot *snaps, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		snapshot_fini(&snaps[i]);
	free(snaps);
}

static size_t extra_size(const struct snapshot *s)
{
	return (s->icount == UINT64_MAX && !s->extra_len ? 16 : EXTRA_KNOWN) + s->extra_len;
}

static size_t entry_size(const struct snapshot *s)
{
	return align_up(ENTRY_FIXED + extra_size(s) + strlen(s->id) + strlen(s->name), 8);
}

int q_snapshot_tables_size(const struct snapshot *snaps, unsigned n, uint64_t *bytes)
{
	*bytes = 0;
	for (unsigned i = 0; i < n; i++)
		*bytes += entry_size(&snaps[i]);
	return *bytes > MAX_SNAPSHOT_TABLE ? -EFBIG : 0;
}

/* Reads on through the table in pieces, as its length is in none of its fields. */
struct reader {
	struct qcow2 *q;
	uint64_t off, end;
};

static int take(struct reader *r, void *buf, size_t len)
{
	int rc = 0;

	if (len > r->end - r->off)
		return -EINVAL;
	if (buf && len)
		rc = co_pread(r->q->pool, r->q->bd.file, r->off, buf, len);
	r->off += len;
	return rc;
}

static int take_string(struct reader *r, char **out, size_t len)
{
	int rc;

	*out = malloc(len + 1);
	if (!*out)
		return -ENOMEM;
	rc = take(r, *out, len);
	if (rc < 0)
		return rc;
	(*out)[len] = 0;
	return strlen(*out) == len ? 0 : -EINVAL;
}

static int take_extra(struct reader *r, struct snapshot *s, uint32_t len)
{
	uint8_t known[EXTRA_KNOWN] = { 0 };
	uint32_t have = (uint32_t)min_u64(len, sizeof(known));
	int rc = take(r, known, have);

	s->icount = UINT64_MAX;
	s->disk_size = r->q->h.size;
	if (have >= 8)
		s->vm_state = get_be64(known);
	if (have >= 16)
		s->disk_size = get_be64(known + 8);
	if (have >= 24)
		s->icount = get_be64(known + 16);
	if (rc < 0 || len == have)
		return rc;
	s->extra_len = len - have;
	s->extra = malloc(s->extra_len);
	return s->extra ? take(r, s->extra, s->extra_len) : -ENOMEM;
}

static int take_snapshot(struct reader *r, struct snapshot *s)
{
	uint64_t start = r->off;
	uint8_t p[ENTRY_FIXED];
	uint32_t extra;
	int rc = take(r, p, sizeof(p));

	if (rc < 0)
		return rc;
	s->l1_off = get_be64(p);
	s->l1_n = get_be32(p + 8);
	s->sec = get_be32(p + 16);
	s->nsec = get_be32(p + 20);
	s->clock_ns = get_be64(p + 24);
	s->vm_state = get_be32(p + 32);
	extra = get_be32(p + 36);
	if (extra > MAX_SNAPSHOT_EXTRA || (uint64_t)s->l1_n * 8 > MAX_L1_BYTES)
		return -EFBIG;
	rc = take_extra(r, s, extra);
	if (rc == 0)
		rc = take_string(r, &s->id, get_be16(p + 12));
	if (rc == 0)
		rc = take_string(r, &s->name, get_be16(p + 14));
	return rc < 0 ? rc : take(r, NULL, min_u64(align_up(r->off - start, 8) - (r->off - start), r->end - r->off));
}

int q_snapshots_load(struct qcow2 *q, struct err *err)
{
	struct reader r = { .q = q, .off = q->h.snap_off, .end = min_u64(q->h.snap_off + MAX_SNAPSHOT_TABLE, q->file_end) };
	int rc = 0;

	for (unsigned i = 0; i < q->h.n_snapshots && rc == 0; i++) {
		if ((i & (i - 1)) == 0) { /* full: twice as many */
			struct snapshot *more = realloc(q->snaps, (i ? i * 2 : 1) * sizeof(*more));

			if (!more)
				return err_set_errno(err, -ENOMEM, "%s", q->bd.name);
			q->snaps = more;
		}
		q->snaps[i] = (struct snapshot){ .l1_off = 0 };
		q->n_snaps = i + 1;
		rc = take_snapshot(&r, &q->snaps[i]);
	}
	return rc < 0 ? err_set_errno(err, rc, "%s: cannot read its snapshot table", q->bd.name) : 0;
}

int q_snapshot_find(const struct qcow2 *q, const char *what)
{
	for (unsigned i = 0; i < q->n_snaps; i++)
		if (!strcmp(q->snaps[i].id, what))
			return (int)i;
	for (unsigned i = 0; i < q->n_snaps; i++)
		if (!strcmp(q->snaps[i].name, what))
			return (int)i;
	return -1;
}

static size_t put_snapshot(const struct snapshot *s, uint8_t *p)
{
	size_t extra = extra_size(s), id = strlen(s->id), name = strlen(s->name);

	put_be64(p, s->l1_off);
	put_be32(p + 8, s->l1_n);
	put_be16(p + 12, (uint16_t)id);
	put_be16(p + 14, (uint16_t)name);
	put_be32(p + 16, s->sec);
	put_be32(p + 20, s->nsec);
	put_be64(p + 24, s->clock_ns);
	put_be32(p + 32, s->vm_state > UINT32_MAX ? UINT32_MAX : (uint32_t)s->vm_state);
	put_be32(p + 36, (uint32_t)extra);
	put_be64(p + 40, s->vm_state);
	put_be64(p + 48, s->disk_size);
	if (extra >= EXTRA_KNOWN)
		put_be64(p + 56, s->icount);
	if (s->extra_len)
		memcpy(p + ENTRY_FIXED + EXTRA_KNOWN, s->extra, s->extra_len);
	memcpy(p + ENTRY_FIXED + extra, s->id, id);
	memcpy(p + ENTRY_FIXED + extra + id, s->name, name);
	return entry_size(s);
}

/* Writes the table somewhere new, and then the header; the old one is free after that. */
static int table_write(struct qcow2 *q, const struct snapshot *snaps, unsigned n)
{
	uint64_t bytes, old_bytes, off = 0, old = q->h.snap_off;
	uint32_t old_n = q->h.n_snapshots;
	uint8_t *buf = NULL;
	size_t at = 0;
	int rc = q_snapshot_tables_size(snaps, n, &bytes);

	if (rc == 0)
		rc = q_snapshot_tables_size(q->snaps, q->n_snaps, &old_bytes);
	if (rc == 0 && bytes) {
		buf = co_buf(align_up(bytes, q->cluster_size));
		rc = buf ? q_alloc(q, q_clusters(q, bytes), &off) : -ENOMEM;
	}
	if (rc == 0 && bytes) {
		memset(buf, 0, align_up(bytes, q->cluster_size));
		for (unsigned i = 0; i < n; i++)
			at += put_snapshot(&snaps[i], buf + at);
		q->file_end = max_u64(q->file_end, off + align_up(bytes, q->cluster_size));
		rc = co_pwrite(q->pool, q->bd.file, off, buf, align_up(bytes, q->cluster_size));
		if (rc == 0)
			rc = q_meta_add_bytes(q, off, bytes);
	}
	free(buf);
	if (rc == 0)
		rc = table_write_back(q, &q->rb);
	if (rc == 0)
		rc = co_pflush(q->pool, q->bd.file);
	if (rc < 0) {
		if (off)
			q_free_now(q, off, q_clusters(q, bytes));
		return rc;
	}
	q->h.snap_off = off;
	q->h.n_snapshots = n;
	rc = q_header_write(q);
	if (rc == 0)
		rc = co_pflush(q->pool, q->bd.file);
	if (rc < 0) {
		q->h.snap_off = old;
		q->h.n_snapshots = old_n;
		return q_corrupt(q, "the snapshot table cannot be moved (error %d)", -rc);
	}
	if (old_n) {
		q_meta_remove_bytes(q, old, old_bytes);
		q_free_now(q, old, q_clusters(q, old_bytes));
	}
	return 0;
}

/* Walks over what an L1 table reaches */

#define WALK_UNSHARE 1u /* take COPIED away in the active tables */
#define WALK_MARK 2u    /* give COPIED to what has a refcount of 1 */

static int count_change(struct qcow2 *q, uint64_t off, uint64_t n, int delta)
{
	int rc;

	co_lock(q->pool, &q->alloc_lock);
	rc = rc_change(q, off >> q->cluster_bits, n, delta);
	co_unlock(&q->alloc_lock);
	return rc;
}

static int entry_visit(struct qcow2 *q, uint64_t *entry, int delta, unsigned flags)
{
	uint64_t off = *entry & ENTRY_OFFSET, v;
	uint32_t len = q->cluster_size;
	int rc = 0;

	if (*entry & ENTRY_COMPRESSED) {
		q_compressed_place(q, *entry, &off, &len);
		return delta ? count_change(q, off, ((off + len - 1) >> q->cluster_bits) - (off >> q->cluster_bits) + 1, delta) : 0;
	}
	if (!off)
		return 0;
	if (off % q->cluster_size)
		return q_corrupt(q, "the L2 entry 0x%llx makes no sense", (unsigned long long)*entry);
	if (delta)
		rc = count_change(q, off, 1, delta);
	if (flags & WALK_UNSHARE)
		*entry &= ~ENTRY_COPIED;
	if (rc == 0 && (flags & WALK_MARK)) {
		rc = rc_get(q, off >> q->cluster_bits, &v);
		*entry = (*entry & ~ENTRY_COPIED) | (v == 1 ? ENTRY_COPIED : 0);
	}
	return rc;
}

/* The table is read and written around the cache, which forgets it. */
static int l2_visit(struct qcow2 *q, uint64_t off, uint8_t *buf, int delta, unsigned flags)
{
	bool changed = false;
	int rc = co_pread(q->pool, q->bd.file, off, buf, q->cluster_size);

	for (uint32_t i = 0; i < q->cluster_size && rc == 0; i += q->l2_entry) {
		uint64_t old = get_be64(buf + i), entry = old;

		rc = entry_visit(q, &entry, delta, flags);
		if (entry != old) {
			put_be64(buf + i, entry);
			changed = true;
		}
	}
	if (rc < 0 || !changed)
		return rc;
	table_forget(&q->l2, off, q->cluster_size);
	return co_pwrite(q->pool, q->bd.file, off, buf, q->cluster_size);
}

/* With flags, `l1` is the active one, and its entries change too; they are not written here. */
static int walk(struct qcow2 *q, uint64_t *l1, uint32_t n, int delta, unsigned flags)
{
	uint8_t *buf = co_buf(q->cluster_size);
	int rc = buf ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		uint64_t off = l1[i] & ENTRY_OFFSET, old = l1[i];

		if (!off)
			continue;
		if (off % q->cluster_size || off >= q->file_end)
			rc = q_corrupt(q, "entry %u of an L1 table, 0x%llx, is no L2 table", i, (unsigned long long)old);
		else
			rc = l2_visit(q, off, buf, delta, flags);
		if (rc == 0)
			rc = entry_visit(q, &l1[i], delta, flags);
		if (flags && l1[i] != old)
			q_l1_set(q, i, l1[i]);
	}
	free(buf);
	return rc;
}

/* An L1 table's entries as they are, in new clusters. */
static int l1_copy(struct qcow2 *q, const uint64_t *l1, uint32_t n, uint64_t *off)
{
	size_t len = align_up(max_u64((uint64_t)n * 8, 1), q->cluster_size);
	uint8_t *buf = co_buf(len);
	int rc = buf ? q_alloc(q, len >> q->cluster_bits, off) : -ENOMEM;

	if (rc == 0) {
		memset(buf, 0, len);
		for (uint32_t i = 0; i < n; i++)
			put_be64(buf + (size_t)i * 8, l1[i] & ~ENTRY_COPIED);
		q->file_end = max_u64(q->file_end, *off + len);
		rc = co_pwrite(q->pool, q->bd.file, *off, buf, len);
		if (rc == 0)
			rc = q_meta_add_bytes(q, *off, len);
		if (rc < 0)
			q_free_now(q, *off, len >> q->cluster_bits);
	}
	free(buf);
	return rc;
}

/* Everything in memory on disk, refcounts too, whatever is lazy. */
static int settle(struct qcow2 *q)
{
	int rc = q_commit(q, true);

	if (rc == 0)
		rc = table_write_back(q, &q->rb);
	return rc < 0 ? rc : co_pflush(q->pool, q->bd.file);
}

struct snap_job {
	const char *what;
	struct err *err;
};

static char *new_id(const struct qcow2 *q)
{
	unsigned long max = 0;
	char text[24];

	for (unsigned i = 0; i < q->n_snaps; i++)
		max = max_u64(max, strtoul(q->snaps[i].id, NULL, 10));
	snprintf(text, sizeof(text), "%lu", max + 1);
	return strdup(text);
}

static int create_steps(struct qcow2 *q, struct snapshot *s)
{
	struct snapshot *snaps = calloc(q->n_snaps + 1, sizeof(*snaps));
	int rc = snaps ? settle(q) : -ENOMEM;

	if (rc == 0)
		rc = l1_copy(q, q->l1, q->h.l1_n, &s->l1_off);
	if (rc < 0) {
		free(snaps);
		return rc;
	}
	rc = walk(q, q->l1, q->h.l1_n, 0, WALK_UNSHARE);
	if (rc == 0)
		rc = settle(q);
	if (rc == 0)
		rc = walk(q, q->l1, q->h.l1_n, 1, 0);
	if (rc == 0)
		rc = settle(q);
	if (q->n_snaps)
		memcpy(snaps, q->snaps, q->n_snaps * sizeof(*snaps));
	snaps[q->n_snaps] = *s;
	if (rc == 0)
		rc = table_write(q, snaps, q->n_snaps + 1);
	if (rc < 0) { /* counts that rose stay: a cluster too many is lost, never one too few */
		free(snaps);
		if (walk(q, q->l1, q->h.l1_n, 0, WALK_MARK) == 0)
			settle(q);
		return rc;
	}
	free(q->snaps);
	q->snaps = snaps;
	q->n_snaps++;
	return 0;
}

static int create_co(struct qcow2 *q, void *arg)
{
	struct snap_job *job = arg;
	struct snapshot s = { .l1_n = q->h.l1_n, .disk_size = q->h.size, .icount = UINT64_MAX };
	struct timeval now;
	int rc = -ENOMEM;

	if (q->n_snaps >= QCOW2_SNAPSHOTS_MAX)
		return err_set(job->err, -EFBIG, "%s: has 65536 snapshots already; delete some", q->bd.name);
	if (strlen(job->what) > ID_MAX)
		return err_set(job->err, -EINVAL, "%s: the snapshot's name is too long", q->bd.name);
	gettimeofday(&now, NULL);
	s.sec = (uint32_t)now.tv_sec;
	s.nsec = (uint32_t)now.tv_usec * 1000;
	s.id = new_id(q);
	s.name = strdup(job->what);
	if (s.id && s.name)
		rc = create_steps(q, &s);
	if (rc == 0)
		return 0;
	free(s.id);
	free(s.name);
	return err_set_errno(job->err, rc, "%s: cannot make the snapshot '%s'", q->bd.name, job->what);
}

static int delete_steps(struct qcow2 *q, unsigned i)
{
	struct snapshot gone = q->snaps[i], *snaps = calloc(q->n_snaps, sizeof(*snaps));
	uint64_t *l1 = NULL;
	int rc = snaps ? settle(q) : -ENOMEM;

	if (rc == 0)
		rc = q_l1_read(q, gone.l1_off, gone.l1_n, &l1);
	if (rc == 0) {
		memcpy(snaps, q->snaps, i * sizeof(*snaps));
		memcpy(snaps + i, q->snaps + i + 1, (q->n_snaps - i - 1) * sizeof(*snaps));
		rc = table_write(q, snaps, q->n_snaps - 1);
	}
	if (rc < 0) {
		free(l1);
		free(snaps);
		return rc;
	}
	free(q->snaps);
	q->snaps = snaps;
	q->n_snaps--;
	rc = walk(q, l1, gone.l1_n, -1, 0);
	if (rc == 0) {
		uint64_t bytes = max_u64((uint64_t)gone.l1_n * 8, 1);

		q_meta_remove_bytes(q, gone.l1_off, bytes);
		q_free_now(q, gone.l1_off, q_clusters(q, bytes));
		rc = settle(q);
	}
	if (rc == 0)
		rc = walk(q, q->l1, q->h.l1_n, 0, WALK_MARK);
	if (rc == 0)
		rc = settle(q);
	snapshot_fini(&gone);
	free(l1);
	return rc;
}

static int delete_co(struct qcow2 *q, void *arg)
{
	struct snap_job *job = arg;
	int i = q_snapshot_find(q, job->what), rc;

	if (i < 0)
		return err_set(job->err, -ENOENT, "%s: has no snapshot '%s'", q->bd.name, job->what);
	rc = delete_steps(q, (unsigned)i);
	return rc < 0 ? err_set_errno(job->err, rc, "%s: cannot delete the snapshot '%s'", q->bd.name, job->what) : 0;
}

/* The header's L1 table becomes `l1`, whose copy is at `off`. */
static int l1_switch(struct qcow2 *q, uint64_t *l1, uint32_t n, uint64_t off, uint64_t size)
{
	uint64_t *dirty = calloc(n / 4096 + 1, 8);
	struct qheader old = q->h;
	int rc;

	if (!dirty)
		return -ENOMEM;
	q->h.l1_off = off;
	q->h.l1_n = n;
	q->h.size = size;
	rc = q_header_write(q);
	if (rc == 0)
		rc = co_pflush(q->pool, q->bd.file);
	if (rc < 0) {
		q->h.l1_off = old.l1_off;
		q->h.l1_n = old.l1_n;
		q->h.size = old.size;
		free(dirty);
		return q_corrupt(q, "the L1 table cannot be moved (error %d)", -rc);
	}
	q->l1 = l1;
	free(q->l1_dirty);
	q->l1_dirty = dirty;
	q->l1_any_dirty = false;
	q->bd.size = align_down(size, BLK_SECTOR);
	return 0;
}

static int apply_steps(struct qcow2 *q, const struct snapshot *s)
{
	uint64_t *l1 = NULL, *old = q->l1, old_off = q->h.l1_off, off = 0;
	uint32_t old_n = q->h.l1_n;
	int rc = settle(q);

	if (rc == 0 && (uint64_t)s->l1_n << (q->l2_bits + q->cluster_bits) < s->disk_size)
		rc = -EINVAL;
	if (rc == 0)
		rc = q_l1_read(q, s->l1_off, s->l1_n, &l1);
	if (rc == 0)
		rc = walk(q, l1, s->l1_n, 1, 0);
	if (rc == 0)
		rc = l1_copy(q, l1, s->l1_n, &off);
	if (rc == 0)
		rc = settle(q);
	if (rc == 0) {
		for (uint32_t i = 0; i < s->l1_n; i++)
			l1[i] &= ~ENTRY_COPIED;
		rc = l1_switch(q, l1, s->l1_n, off, s->disk_size);
	}
	if (rc < 0) {
		free(l1);
		return rc;
	}
	rc = walk(q, old, old_n, -1, 0);
	free(old);
	if (rc == 0 && old_n) {
		q_meta_remove_bytes(q, old_off, (uint64_t)old_n * 8);
		q_free_now(q, old_off, q_clusters(q, (uint64_t)old_n * 8));
	}
	if (rc == 0)
		rc = settle(q);
	if (rc == 0)
		rc = walk(q, q->l1, q->h.l1_n, 0, WALK_MARK);
	return rc < 0 ? rc : settle(q);
}

static int apply_co(struct qcow2 *q, void *arg)
{
	struct snap_job *job = arg;
	int i = q_snapshot_find(q, job->what), rc;

	if (i < 0)
		return err_set(job->err, -ENOENT, "%s: has no snapshot '%s'", q->bd.name, job->what);
	rc = q_bitmaps_invalidate(q);
	if (rc == 0)
		rc = apply_steps(q, &q->snaps[i]);
	return rc < 0 ? err_set_errno(job->err, rc, "%s: cannot go back to the snapshot '%s'", q->bd.name, job->what) : 0;
}

static int snapshot_run(struct blockdev *bd, int (*fn)(struct qcow2 *q, void *arg), const char *what, struct err *err)
{
	struct qcow2 *q = qcow2_of(bd);
	struct snap_job job = { .what = what, .err = err };

	if (!q)
		return err_set(err, -ENOTSUP, "%s: only qcow2 images have snapshots", bd->name);
	if (bd->read_only)
		return err_set(err, -EROFS, "%s: is open read-only", bd->name);
	if (q->has_data_file)
		return err_set(err, -ENOTSUP, "%s: images with an external data file have no snapshots", bd->name);
	blockdev_drain(bd);
	if (q->corrupt)
		return err_set(err, -EIO, "%s: is corrupt; repair it: kite-img check -r all", bd->name);
	return qcow2_run(q, fn, &job);
}

int qcow2_snapshot_create(struct blockdev *bd, const char *name, struct err *err)
{
	return snapshot_run(bd, create_co, name, err);
}

int qcow2_snapshot_apply(struct blockdev *bd, const char *id_or_name, struct err *err)
{
	int rc = snapshot_run(bd, apply_co, id_or_name, err);

	if (rc == 0 && bd->resized)
		bd->resized(bd->resized_opaque);
	return rc;
}

int qcow2_snapshot_delete(struct blockdev *bd, const char *id_or_name, struct err *err)
{
	return snapshot_run(bd, delete_co, id_or_name, err);
}

int qcow2_snapshots(struct blockdev *bd, struct qcow2_snapshot_info **list)
{
	struct qcow2 *q = qcow2_of(bd);
	struct qcow2_snapshot_info *l;

	*list = NULL;
	if (!q)
		return -ENOTSUP;
	if (q->n_snaps == 0)
		return 0;
	l = calloc(q->n_snaps, sizeof(*l));
	for (unsigned i = 0; l && i < q->n_snaps; i++) {
		const struct snapshot *s = &q->snaps[i];

		l[i] = (struct qcow2_snapshot_info){ .id = strdup(s->id), .name = strdup(s->name), .vm_state_size = s->vm_state,
						     .disk_size = s->disk_size, .date_sec = s->sec, .date_nsec = s->nsec,
						     .vm_clock_ns = s->clock_ns, .icount = s->icount };
		if (!l[i].id || !l[i].name) {
			qcow2_snapshots_free(l, (int)i + 1);
			l = NULL;
		}
	}
	*list = l;
	return l ? (int)q->n_snaps : -ENOMEM;
}

void qcow2_snapshots_free(struct qcow2_snapshot_info *list, int n)
{
	for (int i = 0; i < n; i++) {
		free(list[i].id);
		free(list[i].name);
	}
	free(list);
}
