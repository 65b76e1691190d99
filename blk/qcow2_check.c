/* SPDX-License-Identifier: MIT */
/*
 * Checking: every reference from the header on is followed and counted for each cluster of the file; then qcow2_repair.c holds the counts
 * against the refcounts. Memory is four bytes for each cluster of the file. Nothing here trusts an offset.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"
#include "vmm/err.h"

#define MAX_CLUSTERS (UINT64_C(1) << 31)

void checker_say(struct checker *c, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	if (!c->say)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	c->say(c->opaque, line);
}

bool checker_rt_ok(const struct qcow2 *q, uint64_t entry)
{
	uint64_t off = entry & ~RT_RESERVED;

	return !(entry & RT_RESERVED) && off % q->cluster_size == 0 && off < q->file_end;
}

static void count(struct checker *c, uint64_t off, uint64_t len, const char *what)
{
	struct qcow2 *q = c->q;
	uint64_t last;

	if (len == 0)
		return;
	if (!range_ok(off, len, c->n << q->cluster_bits)) {
		checker_say(c, "ERROR: %s at 0x%llx is past the end of the file", what, (unsigned long long)off);
		c->res->corruptions++;
		return;
	}
	last = (off + len - 1) >> q->cluster_bits;
	for (uint64_t i = off >> q->cluster_bits; i <= last; i++)
		if (c->refs[i] != UINT32_MAX)
			c->refs[i]++;
}

static bool misaligned(struct checker *c, uint64_t off, const char *what)
{
	if (off % c->q->cluster_size == 0)
		return false;
	checker_say(c, "ERROR: %s at 0x%llx is not at the beginning of a cluster", what, (unsigned long long)off);
	c->res->corruptions++;
	return true;
}

static void count_place(struct checker *c, uint64_t off)
{
	if (c->next && c->next != off)
		c->res->fragmented_clusters++;
	c->next = off + c->q->cluster_size;
}

static void check_compressed(struct checker *c, uint64_t *entry, bool active)
{
	uint64_t off;
	uint32_t len;

	if (*entry & ENTRY_COPIED) {
		checker_say(c, "ERROR: compressed cluster with the copied flag: 0x%llx", (unsigned long long)*entry);
		c->res->corruptions++;
		if (c->fix & QCOW2_FIX_ERRORS) {
			*entry &= ~ENTRY_COPIED;
			c->res->corruptions_fixed++;
		}
	}
	if (c->q->has_data_file) {
		checker_say(c, "ERROR: compressed cluster in an image with an external data file");
		c->res->corruptions++;
		return;
	}
	q_compressed_place(c->q, *entry, &off, &len);
	/* Its last sectors may be past the end of a file whose length is no whole cluster. */
	count(c, off, min_u64(len, max_u64(c->n << c->q->cluster_bits, off + 1) - off), "compressed data");
	if (!active)
		return;
	c->res->allocated_clusters++;
	c->res->compressed_clusters++;
	c->res->fragmented_clusters++; /* by definition */
}

static void check_entry(struct checker *c, uint64_t *entry, uint64_t *bitmap, bool active)
{
	const struct qcow2 *q = c->q;
	uint64_t off = *entry & ENTRY_OFFSET;
	bool host;

	if (*entry & ENTRY_COMPRESSED) {
		check_compressed(c, entry, active);
		return;
	}
	host = off || (q->has_data_file && (*entry & ENTRY_COPIED));
	if ((*entry & ENTRY_RESERVED) || (q->extended && (*entry & ENTRY_ZERO))) {
		checker_say(c, "ERROR: an L2 entry with reserved bits: 0x%llx", (unsigned long long)*entry);
		c->res->corruptions++;
	}
	if (q->extended && (((uint32_t)*bitmap & (*bitmap >> 32)) || (!host && (uint32_t)*bitmap))) {
		checker_say(c, "ERROR: an L2 entry with an impossible bitmap: 0x%llx", (unsigned long long)*bitmap);
		c->res->corruptions++;
		return;
	}
	if (!host)
		return;
	if (off % q->cluster_size) {
		checker_say(c, "ERROR: data cluster at 0x%llx is not at the beginning of a cluster", (unsigned long long)off);
		c->res->corruptions++;
		/* A cluster of zeroes needs no place. */
		if ((c->fix & QCOW2_FIX_ERRORS) && !q->extended && (*entry & ENTRY_ZERO)) {
			*entry = ENTRY_ZERO;
			c->res->corruptions_fixed++;
		}
		return;
	}
	if (active) {
		c->res->allocated_clusters++;
		count_place(c, off);
	}
	if (!q->has_data_file)
		count(c, off, q->cluster_size, "data cluster");
}

static int check_l2(struct checker *c, uint64_t off, bool active)
{
	struct qcow2 *q = c->q;
	uint8_t *buf = co_buf(q->cluster_size);
	bool changed = false;
	int rc = buf ? co_pread(q->pool, q->bd.file, off, buf, q->cluster_size) : -ENOMEM;

	if (rc < 0) {
		checker_say(c, "ERROR: cannot read the L2 table at 0x%llx: %s", (unsigned long long)off, strerror(-rc));
		c->res->check_errors++;
		free(buf);
		return rc == -ENOMEM ? rc : 0;
	}
	for (uint32_t i = 0; i < q->cluster_size; i += q->l2_entry) {
		uint64_t old = get_be64(buf + i), entry = old, bitmap = q->extended ? get_be64(buf + i + 8) : 0;

		check_entry(c, &entry, &bitmap, active);
		if (entry != old) {
			put_be64(buf + i, entry);
			changed = true;
		}
	}
	if (changed) {
		table_forget(&q->l2, off, q->cluster_size);
		rc = co_pwrite(q->pool, q->bd.file, off, buf, q->cluster_size);
	}
	free(buf);
	return rc;
}

static int check_l1(struct checker *c, const uint64_t *l1, uint32_t n, bool active)
{
	int rc = 0;

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		uint64_t off = l1[i] & ENTRY_OFFSET;

		if (!off)
			continue;
		if (l1[i] & L1_RESERVED) {
			checker_say(c, "ERROR: an L1 entry with reserved bits: 0x%llx", (unsigned long long)l1[i]);
			c->res->corruptions++;
		}
		if (misaligned(c, off, "L2 table"))
			continue;
		count(c, off, c->q->cluster_size, "L2 table");
		if (off < c->q->file_end)
			rc = check_l2(c, off, active);
	}
	return rc;
}

static int check_snapshots(struct checker *c)
{
	struct qcow2 *q = c->q;
	uint64_t bytes, *l1;
	int rc = 0;

	for (unsigned i = 0; i < q->n_snaps && rc == 0; i++) {
		const struct snapshot *s = &q->snaps[i];

		if (misaligned(c, s->l1_off, "a snapshot's L1 table"))
			continue;
		count(c, s->l1_off, (uint64_t)s->l1_n * 8, "a snapshot's L1 table");
		rc = q_l1_read(q, s->l1_off, s->l1_n, &l1);
		if (rc == -ENOMEM)
			return rc;
		if (rc < 0) {
			c->res->check_errors++;
			rc = 0;
			continue;
		}
		rc = check_l1(c, l1, s->l1_n, false);
		free(l1);
	}
	if (rc == 0 && q->n_snaps) {
		rc = q_snapshot_tables_size(q->snaps, q->n_snaps, &bytes);
		count(c, q->h.snap_off, bytes, "snapshot table");
	}
	return rc;
}

static int check_bitmap(struct checker *c, const struct bitmap_dir *b)
{
	struct qcow2 *q = c->q;
	uint64_t *table;
	int rc;

	if (misaligned(c, b->table_off, "bitmap table"))
		return 0;
	count(c, b->table_off, (uint64_t)b->table_n * 8, "bitmap table");
	rc = q_l1_read(q, b->table_off, b->table_n, &table);
	if (rc < 0) {
		c->res->check_errors++;
		return rc == -ENOMEM ? rc : 0;
	}
	for (uint32_t i = 0; i < b->table_n; i++) {
		uint64_t off = table[i] & ENTRY_OFFSET;

		if (off && !misaligned(c, off, "bitmap"))
			count(c, off, q->cluster_size, "bitmap");
	}
	free(table);
	return 0;
}

static int check_bitmaps(struct checker *c)
{
	uint64_t off, size, pos = 0;
	struct bitmap_dir b;
	uint8_t *dir;
	uint32_t n;
	int rc = q_bitmaps_read(c->q, &dir, &off, &size, &n);

	if (rc == -EINVAL) {
		checker_say(c, "ERROR: the bitmaps extension makes no sense");
		c->res->corruptions++;
		return 0;
	}
	if (rc < 0 || n == 0)
		return rc;
	count(c, off, size, "bitmap directory");
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		rc = bitmap_dir_next(dir, size, &pos, &b);
		if (rc == 0)
			rc = check_bitmap(c, &b);
		else
			c->res->corruptions++;
	}
	free(dir);
	return rc == -EINVAL ? 0 : rc;
}

static void check_refcount_table(struct checker *c)
{
	struct qcow2 *q = c->q;

	count(c, q->h.rt_off, (uint64_t)q->h.rt_clusters << q->cluster_bits, "refcount table");
	for (uint32_t i = 0; i < q->rt_n; i++) {
		uint64_t off = q->rt[i] & ~RT_RESERVED;

		if (!q->rt[i])
			continue;
		if (!checker_rt_ok(q, q->rt[i])) {
			checker_say(c, "ERROR: entry %u of the refcount table, 0x%llx, is no refcount block", i, (unsigned long long)q->rt[i]);
			c->res->corruptions++;
			c->rebuild = true;
			continue;
		}
		count(c, off, q->cluster_size, "refcount block");
	}
	for (uint32_t i = 0; i < q->rt_n; i++) {
		uint64_t cluster = q->rt[i] >> q->cluster_bits;

		if (q->rt[i] && checker_rt_ok(q, q->rt[i]) && c->refs[cluster] != 1) {
			checker_say(c, "ERROR: refcount block %u at 0x%llx is used by something else as well", i, (unsigned long long)q->rt[i]);
			c->res->corruptions++;
			c->rebuild = true;
		}
	}
}

static int walk_all(struct checker *c)
{
	struct qcow2 *q = c->q;
	int rc;

	count(c, 0, q->cluster_size, "header");
	count(c, q->h.l1_off, (uint64_t)q->h.l1_n * 8, "L1 table");
	rc = check_l1(c, q->l1, q->h.l1_n, true);
	if (rc == 0)
		rc = check_snapshots(c);
	return rc < 0 ? rc : check_bitmaps(c);
}

/* One look at everything. */
static int look(struct checker *c)
{
	struct qcow2 *q = c->q;
	int rc;

	c->n = q->file_end >> q->cluster_bits;
	if (c->n > MAX_CLUSTERS)
		return -EFBIG;
	c->refs = calloc(c->n + 1, sizeof(c->refs[0]));
	if (!c->refs)
		return -ENOMEM;
	rc = walk_all(c);
	if (rc == 0)
		check_refcount_table(c);
	if (rc == 0 && c->rebuild && (c->fix & QCOW2_FIX_ERRORS)) {
		/* Counted again without the old structures, which are given up. */
		struct qcow2_check_result keep = *c->res;

		memset(c->refs, 0, c->n * sizeof(c->refs[0]));
		rc = walk_all(c);
		*c->res = keep;
		if (rc == 0)
			rc = repair_rebuild(c);
	} else if (rc == 0) {
		rc = repair_refcounts(c);
	}
	if (rc == 0)
		rc = repair_copied(c);
	for (uint64_t i = c->n; i-- > 0 && c->res->image_end == 0;)
		if (c->refs[i])
			c->res->image_end = (i + 1) << q->cluster_bits;
	free(c->refs);
	return rc;
}

static int settle(struct qcow2 *q)
{
	int rc = q_commit(q, true);

	if (rc == 0)
		rc = table_write_back(q, &q->rb);
	return rc < 0 ? rc : co_pflush(q->pool, q->bd.file);
}

int q_check(struct qcow2 *q, unsigned fix, void (*say)(void *opaque, const char *line), void *opaque, struct qcow2_check_result *res)
{
	struct checker c = { .q = q, .fix = fix, .say = say, .opaque = opaque, .res = res };
	unsigned long errors, leaks;
	int rc = 0;

	*res = (struct qcow2_check_result){ .total_clusters = q_clusters(q, q->bd.size) };
	if (!q->bd.read_only)
		rc = settle(q);
	if (rc == 0)
		rc = look(&c);
	if (rc < 0 || !fix || (!res->corruptions_fixed && !res->leaks_fixed))
		return rc;
	/* What is left is found by looking again. */
	rc = settle(q);
	errors = res->corruptions_fixed;
	leaks = res->leaks_fixed;
	*res = (struct qcow2_check_result){ .total_clusters = res->total_clusters };
	c = (struct checker){ .q = q, .say = say, .opaque = opaque, .res = res };
	if (rc == 0)
		rc = look(&c);
	res->corruptions_fixed = errors;
	res->leaks_fixed = leaks;
	return rc;
}

struct check_job {
	unsigned fix;
	void (*say)(void *opaque, const char *line);
	void *opaque;
	struct qcow2_check_result *res;
};

static int check_co(struct qcow2 *q, void *arg)
{
	struct check_job *job = arg;
	uint64_t marks = INCOMPAT_CORRUPT | INCOMPAT_DIRTY;
	int rc = q_check(q, job->fix, job->say, job->opaque, job->res);

	if (rc < 0 || !job->fix || job->res->corruptions || job->res->check_errors || !(q->h.incompat & marks) ||
	    !(job->fix & QCOW2_FIX_ERRORS))
		return rc;
	q->h.incompat &= ~marks;
	rc = q_header_write(q);
	return rc < 0 ? rc : co_pflush(q->pool, q->bd.file);
}

int qcow2_check(struct blockdev *bd, unsigned fix, void (*say)(void *opaque, const char *line), void *opaque,
		struct qcow2_check_result *result, struct err *err)
{
	struct check_job job = { .fix = fix, .say = say, .opaque = opaque, .res = result };
	struct qcow2 *q = qcow2_of(bd);
	int rc;

	if (!q)
		return err_set(err, -ENOTSUP, "%s: is no qcow2 image", bd->name);
	if (fix && bd->read_only)
		return err_set(err, -EROFS, "%s: is open read-only", bd->name);
	blockdev_drain(bd);
	rc = qcow2_run(q, check_co, &job);
	return rc < 0 ? err_set_errno(err, rc, "%s: cannot check it", bd->name) : 0;
}
