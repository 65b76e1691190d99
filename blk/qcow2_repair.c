/* SPDX-License-Identifier: MIT */
/* What a check has found of refcounts and of the copied flags that depend on them, and mending both. */
#include <errno.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"

#define L1_PER_SECTOR (BLK_SECTOR / 8)

static int refcount_of(struct checker *c, uint64_t cluster, uint64_t *v)
{
	const struct qcow2 *q = c->q;
	uint64_t block = cluster >> q->rb_bits;

	*v = 0;
	if (block >= q->rt_n || !q->rt[block] || !checker_rt_ok(q, q->rt[block]))
		return 0;
	return rc_get(c->q, cluster, v);
}

static int compare_one(struct checker *c, uint64_t i)
{
	uint64_t have, found = c->refs[i];
	unsigned long *n, *fixed;
	bool leak, mend;
	int rc = refcount_of(c, i, &have);

	if (rc < 0) {
		checker_say(c, "ERROR: cannot read the refcount of cluster %llu", (unsigned long long)i);
		c->res->check_errors++;
		return rc == -ENOMEM ? rc : 0;
	}
	if (have == found)
		return 0;
	leak = have > found;
	mend = c->fix & (leak ? QCOW2_FIX_LEAKS : QCOW2_FIX_ERRORS);
	n = leak ? &c->res->leaks : &c->res->corruptions;
	fixed = leak ? &c->res->leaks_fixed : &c->res->corruptions_fixed;
	checker_say(c, "%s cluster %llu refcount=%llu reference=%llu", mend ? "Repairing" : leak ? "Leaked" : "ERROR", (unsigned long long)i,
		    (unsigned long long)have, (unsigned long long)found);
	++*n;
	if (!mend)
		return 0;
	rc = rc_set(c->q, i, found);
	if (rc == 0)
		++*fixed;
	else
		c->res->check_errors++;
	return rc == -ENOMEM ? rc : 0;
}

/*
 * Clusters that are used with no refcount are dealt with first, and those of blocks that are missing take part in it: a block that is made
 * takes the first cluster of its part of the file, so that must not be in use. Where it is, everything is built anew.
 */
static bool block_would_hit(struct checker *c)
{
	const struct qcow2 *q = c->q;

	for (uint64_t i = 0; i < c->n; i += BIT64(q->rb_bits)) {
		uint64_t block = i >> q->rb_bits;
		bool used = false;

		if (block < q->rt_n && q->rt[block])
			continue;
		for (uint64_t j = i; j < c->n && j < i + BIT64(q->rb_bits) && !used; j++)
			used = c->refs[j];
		if (used)
			return true;
	}
	return false;
}

int repair_refcounts(struct checker *c)
{
	int rc = 0;

	if ((c->fix & QCOW2_FIX_ERRORS) && block_would_hit(c)) {
		c->res->corruptions++;
		for (uint32_t i = 0; i < c->q->rt_n; i++) /* given up */
			if (c->q->rt[i] && checker_rt_ok(c->q, c->q->rt[i]))
				c->refs[c->q->rt[i] >> c->q->cluster_bits]--;
		for (uint64_t i = 0; i < c->q->h.rt_clusters; i++)
			c->refs[(c->q->h.rt_off >> c->q->cluster_bits) + i]--;
		return repair_rebuild(c);
	}
	for (uint64_t i = 0; i < c->n && rc == 0; i++)
		rc = compare_one(c, i);
	return rc;
}

static int rebuild_write(struct checker *c, uint64_t blocks, uint64_t table, uint64_t *rt)
{
	struct qcow2 *q = c->q;
	uint64_t total = c->n + blocks + table, per = BIT64(q->rb_bits);
	size_t len = (blocks + table) << q->cluster_bits;
	uint8_t *buf = co_buf(len);
	int rc = 0;

	if (!buf)
		return -ENOMEM;
	memset(buf, 0, len);
	for (uint64_t i = 0; i < total && rc == 0; i++) {
		uint64_t v = i < c->n ? c->refs[i] : 1;

		if (v > q->refcount_max)
			rc = -EOVERFLOW;
		rc_store(buf + (i / per << q->cluster_bits), q->h.refcount_order, i % per, v);
	}
	for (uint64_t i = 0; i < blocks; i++) {
		rt[i] = (c->n + i) << q->cluster_bits;
		put_be64(buf + (blocks << q->cluster_bits) + i * 8, rt[i]);
	}
	if (rc == 0)
		rc = co_pwrite(q->pool, q->bd.file, c->n << q->cluster_bits, buf, len);
	if (rc == 0)
		rc = co_pflush(q->pool, q->bd.file);
	free(buf);
	return rc;
}

int repair_rebuild(struct checker *c)
{
	struct qcow2 *q = c->q;
	uint64_t per = BIT64(q->rb_bits), entries = q->cluster_size / 8, blocks = 1, table = 1, *rt;
	int rc;

	while (blocks * per < c->n + blocks + table || table * entries < blocks) {
		blocks = (c->n + blocks + table + per - 1) / per;
		table = (blocks + entries - 1) / entries;
	}
	if (table << q->cluster_bits > MAX_RT_BYTES || blocks << q->cluster_bits > GIB)
		return -EFBIG;
	rt = calloc(table * entries, 8);
	if (!rt)
		return -ENOMEM;
	checker_say(c, "Rebuilding the refcount structures");
	rc = rebuild_write(c, blocks, table, rt);
	if (rc == 0) {
		q->h.rt_off = (c->n + blocks) << q->cluster_bits;
		q->h.rt_clusters = (uint32_t)table;
		rc = q_header_write(q);
	}
	if (rc == 0)
		rc = co_pflush(q->pool, q->bd.file);
	if (rc < 0) {
		free(rt);
		return rc;
	}
	for (uint64_t i = 0; i < q->rt_n; i++)
		if (q->rt[i] && checker_rt_ok(q, q->rt[i]))
			table_forget(&q->rb, q->rt[i], q->cluster_size);
	free(q->rt);
	q->rt = rt;
	q->rt_n = (uint32_t)(table * entries);
	q->file_end = max_u64(q->file_end, (c->n + blocks + table) << q->cluster_bits);
	q->free_hint = q->free_next = 0;
	c->res->corruptions_fixed = max_u64(c->res->corruptions, 1);
	for (uint64_t i = 0; i < blocks + table && rc == 0; i++)
		rc = meta_add(&q->meta, c->n + i);
	return rc;
}

/* Whether an entry's flag is wrong; corrected in `*entry` if that may be. */
static int copied_check(struct checker *c, uint64_t *entry, const char *what)
{
	struct qcow2 *q = c->q;
	uint64_t off = *entry & ENTRY_OFFSET, refs = 1;
	bool mend = c->fix & QCOW2_FIX_ERRORS;
	int rc = 0;

	if ((*entry & ENTRY_COMPRESSED) || !off || off % q->cluster_size)
		return 0;
	if (!q->has_data_file || what[0] == 'L')
		rc = refcount_of(c, off >> q->cluster_bits, &refs);
	if (rc < 0 || (refs == 1) == !!(*entry & ENTRY_COPIED))
		return rc;
	checker_say(c, "%s OFLAG_COPIED %s: entry=%llx refcount=%llu", mend ? "Repairing" : "ERROR", what, (unsigned long long)*entry,
		    (unsigned long long)refs);
	c->res->corruptions++;
	if (mend) {
		*entry ^= ENTRY_COPIED;
		c->res->corruptions_fixed++;
	}
	return 0;
}

static int copied_l2(struct checker *c, uint64_t off, uint8_t *buf)
{
	struct qcow2 *q = c->q;
	bool changed = false;
	int rc = co_pread(q->pool, q->bd.file, off, buf, q->cluster_size);

	if (rc < 0)
		return 0; /* has been counted */
	for (uint32_t i = 0; i < q->cluster_size && rc == 0; i += q->l2_entry) {
		uint64_t old = get_be64(buf + i), entry = old;

		rc = copied_check(c, &entry, "data cluster");
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

int repair_copied(struct checker *c)
{
	struct qcow2 *q = c->q;
	uint8_t *buf = co_buf(q->cluster_size);
	int rc = buf ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < q->h.l1_n && rc == 0 && !q->snapshot_view; i++) {
		uint64_t off = q->l1[i] & ENTRY_OFFSET, entry = q->l1[i];

		if (!off || off % q->cluster_size || off >= q->file_end)
			continue;
		rc = copied_check(c, &entry, "L2 cluster");
		if (rc == 0 && entry != q->l1[i])
			q_l1_set(q, i, entry);
		if (rc == 0)
			rc = copied_l2(c, off, buf);
	}
	free(buf);
	return rc;
}
