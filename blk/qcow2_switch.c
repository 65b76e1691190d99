/* SPDX-License-Identifier: MIT */
/*
 * Changes that touch many tables at once, and happen in the write of one sector.
 *
 * A count that passes between one and two changes two things: the refcount, and the COPIED flag of the entry that refers to the cluster. They
 * are in different sectors, so whichever comes first, a crash between them would leave an image with an error. But every table is found
 * by way of the header's first sector. So all tables that change get new clusters, the refcount blocks among them; nothing that is in
 * use is written to; and after a flush the header moves from the old set to the new one. Until then a crash, an error, a full disk or a
 * refcount that is too narrow changes nothing, and what was written lies in clusters that are free. After it there is nothing left to do.
 *
 * The cost is a copy of the refcounts (1 MiB for 32 GiB of image) and of L2 tables whose flags change. Runs alone, when all is settled.
 */
#include <errno.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"

#define MAX_CLUSTERS (UINT64_C(1) << 31)

int q_settle(struct qcow2 *q)
{
	int rc = q_commit(q, true);

	if (rc == 0)
		rc = table_write_back(q, &q->rb);
	return rc < 0 ? rc : co_pflush(q->pool, q->bd.file);
}

static bool is_used(const struct qswitch *s, uint64_t i)
{
	return s->used[i / 64] & BIT64(i % 64);
}

static void use(struct qswitch *s, uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n && i < s->n; i++)
		s->used[i / 64] |= BIT64(i % 64);
}

/* Room for the counts of at least `n` clusters. */
static int grow(struct qswitch *s, uint64_t n)
{
	uint64_t words = (n + 63) / 64, old = s->n / 64;
	uint64_t *refs, *used;

	if (n <= s->n)
		return 0;
	if (n > MAX_CLUSTERS)
		return -EFBIG;
	words = max_u64(words, old + old / 4);
	refs = realloc(s->refs, words * 64 * sizeof(*refs));
	if (!refs)
		return -ENOMEM;
	s->refs = refs;
	used = realloc(s->used, words * sizeof(*used));
	if (!used)
		return -ENOMEM;
	s->used = used;
	memset(s->refs + s->n, 0, (words * 64 - s->n) * sizeof(*refs));
	memset(s->used + old, 0, (words - old) * sizeof(*used));
	s->n = words * 64;
	return 0;
}

static int block_load(struct qswitch *s, uint64_t block, uint8_t *buf)
{
	struct qcow2 *q = s->q;
	uint64_t per = BIT64(q->rb_bits), first = block * per, off = q->rt[block] & ~RT_RESERVED;
	int rc;

	if (off == 0)
		return 0;
	if (off % q->cluster_size || off >= q->file_end)
		return q_corrupt(q, "entry %llu of the refcount table, 0x%llx, is no refcount block", (unsigned long long)block, (unsigned long long)off);
	rc = co_pread(q->pool, q->bd.file, off, buf, q->cluster_size);
	for (uint64_t i = 0; i < per && first + i < s->n && rc == 0; i++) {
		s->refs[first + i] = rc_load(buf, q->h.refcount_order, i);
		if (s->refs[first + i])
			use(s, first + i, 1);
	}
	return rc;
}

static void fields_init(struct qswitch *s, struct qcow2 *q)
{
	*s = (struct qswitch){ .q = q, .to = { .size = q->h.size, .l1_off = q->h.l1_off, .l1_n = q->h.l1_n, .rt_off = q->h.rt_off,
					       .rt_clusters = q->h.rt_clusters, .snap_off = q->h.snap_off, .n_snapshots = q->h.n_snapshots } };
}

int qswitch_begin(struct qswitch *s, struct qcow2 *q)
{
	uint8_t *buf = co_buf(q->cluster_size);
	int rc;

	fields_init(s, q);
	rc = buf ? q_settle(q) : -ENOMEM;
	if (rc == 0)
		rc = grow(s, (q->file_end >> q->cluster_bits) + 2); /* a compressed cluster may end in what the file does not have yet */
	for (uint64_t b = 0; b < q->rt_n && b << q->rb_bits < s->n && rc == 0; b++)
		rc = block_load(s, b, buf);
	free(buf);
	return rc;
}

int qswitch_begin_counted(struct qswitch *s, struct qcow2 *q, const uint32_t *refs, uint64_t n)
{
	int rc;

	fields_init(s, q);
	s->counted = true;
	rc = grow(s, max_u64(n, 1));
	for (uint64_t i = 0; i < n && rc == 0; i++) {
		s->refs[i] = refs[i];
		if (refs[i] > q->refcount_max)
			rc = -EOVERFLOW;
		if (refs[i])
			use(s, i, 1);
	}
	return rc;
}

int qswitch_count(struct qswitch *s, uint64_t off, uint64_t len, int delta)
{
	struct qcow2 *q = s->q;
	uint64_t i, last;

	if (len == 0)
		return 0;
	if (!range_ok(off, len, s->n << q->cluster_bits))
		return q_corrupt(q, "something is stored at 0x%llx, past the end of the file", (unsigned long long)off);
	last = (off + len - 1) >> q->cluster_bits;
	for (i = off >> q->cluster_bits; i <= last; i++) {
		if (delta < 0 && s->refs[i] == 0)
			return q_corrupt(q, "cluster 0x%llx is in use with a refcount of 0", (unsigned long long)(i << q->cluster_bits));
		if (delta > 0 && s->refs[i] == q->refcount_max)
			return -EOVERFLOW;
		s->refs[i] += (uint64_t)(int64_t)delta;
	}
	return 0;
}

uint64_t qswitch_refs(const struct qswitch *s, uint64_t off)
{
	uint64_t i = off >> s->q->cluster_bits;

	return i < s->n ? s->refs[i] : 0;
}

int qswitch_alloc(struct qswitch *s, uint64_t n, uint64_t *off)
{
	struct qcow2 *q = s->q;
	uint64_t at = s->next, run = 0, limit = MAX_HOST >> q->cluster_bits;
	int rc = 0;

	while (run < n && rc == 0) {
		if (at >= limit)
			return -EFBIG;
		rc = grow(s, at + 1);
		if (rc == 0)
			run = is_used(s, at) || s->refs[at] || meta_has(&q->meta, at) ? 0 : run + 1;
		at++;
	}
	at -= run;
	if (rc == 0)
		rc = co_room(q->bd.file, (at + n) << q->cluster_bits);
	if (rc == 0)
		rc = free_list_add(&s->made, at, n, 0);
	if (rc == 0)
		rc = q_meta_add_bytes(q, at << q->cluster_bits, n << q->cluster_bits);
	if (rc < 0)
		return rc;
	use(s, at, n);
	for (uint64_t i = at; i < at + n; i++)
		s->refs[i] = 1;
	if (n == 1)
		s->next = at + 1;
	*off = at << q->cluster_bits;
	return 0;
}

int qswitch_write(struct qswitch *s, uint64_t off, const void *buf, size_t len)
{
	struct qcow2 *q = s->q;

	table_forget(&q->l2, off, len);
	table_forget(&q->rb, off, len);
	q->file_end = max_u64(q->file_end, align_up(off + len, q->cluster_size));
	return co_pwrite(q->pool, q->bd.file, off, buf, len);
}

int qswitch_walk(struct qswitch *s, const uint64_t *l1, uint32_t n, int delta)
{
	struct qcow2 *q = s->q;
	uint8_t *buf = co_buf(q->cluster_size);
	int rc = buf ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		uint64_t l2 = l1[i] & ENTRY_OFFSET, off;
		uint32_t len;

		if (!l2)
			continue;
		if (l2 % q->cluster_size || l2 >= q->file_end)
			rc = q_corrupt(q, "entry %u of an L1 table, 0x%llx, is no L2 table", i, (unsigned long long)l1[i]);
		else
			rc = co_pread(q->pool, q->bd.file, l2, buf, q->cluster_size);
		if (rc == 0)
			rc = qswitch_count(s, l2, q->cluster_size, delta);
		for (uint32_t k = 0; k < q->cluster_size && rc == 0; k += q->l2_entry) {
			uint64_t entry = get_be64(buf + k);

			off = entry & ENTRY_OFFSET;
			len = q->cluster_size;
			if (entry & ENTRY_COMPRESSED)
				q_compressed_place(q, entry, &off, &len);
			else if (!off)
				continue;
			else if (off % q->cluster_size)
				rc = q_corrupt(q, "the L2 entry 0x%llx makes no sense", (unsigned long long)entry);
			if (rc == 0)
				rc = qswitch_count(s, off, len, delta);
		}
	}
	free(buf);
	return rc;
}

/* Puts the flags of a table that is to be active right; it moves if that changes it. */
static int l2_flags(struct qswitch *s, uint64_t *l2, uint8_t *buf)
{
	struct qcow2 *q = s->q;
	uint64_t old = *l2;
	bool changed = false;
	int rc = co_pread(q->pool, q->bd.file, old, buf, q->cluster_size);

	if (q->has_data_file)
		return rc;
	for (uint32_t k = 0; k < q->cluster_size && rc == 0; k += q->l2_entry) {
		uint64_t entry = get_be64(buf + k), off = entry & ENTRY_OFFSET, want = entry & ~ENTRY_COPIED;

		if ((entry & ENTRY_COMPRESSED) || !off)
			continue;
		if (qswitch_refs(s, off) == 1)
			want |= ENTRY_COPIED;
		changed |= want != entry;
		put_be64(buf + k, want);
	}
	if (rc < 0 || !changed)
		return rc;
	rc = qswitch_alloc(s, 1, l2);
	if (rc == 0)
		rc = qswitch_write(s, *l2, buf, q->cluster_size);
	return rc < 0 ? rc : qswitch_count(s, old, q->cluster_size, -1);
}

int qswitch_l1(struct qswitch *s, const uint64_t *l1, uint32_t n)
{
	struct qcow2 *q = s->q;
	size_t len = align_up((uint64_t)n * 8, q->cluster_size);
	uint8_t *buf = co_buf(len), *table = co_buf(q->cluster_size);
	int rc = buf && table ? 0 : -ENOMEM;

	s->to.l1_n = n;
	s->to.l1_off = 0;

	s->l1 = rc == 0 ? calloc(max_u64(n, 1), 8) : NULL;
	s->l1_dirty = calloc(n / 4096 + 1, 8);
	if (rc == 0 && (!s->l1 || !s->l1_dirty))
		rc = -ENOMEM;
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		uint64_t l2 = l1[i] & ENTRY_OFFSET;

		if (l2)
			rc = l2_flags(s, &l2, table);
		if (l2 && rc == 0)
			rc = meta_add(&q->meta, l2 >> q->cluster_bits);
		if (rc == 0)
			s->l1[i] = l2;
	}
	if (rc == 0 && n)
		rc = qswitch_alloc(s, len >> q->cluster_bits, &s->to.l1_off);
	if (rc == 0 && n) {
		memset(buf, 0, len);
		for (uint32_t i = 0; i < n; i++) {
			if (s->l1[i] && qswitch_refs(s, s->l1[i]) == 1)
				s->l1[i] |= ENTRY_COPIED;
			put_be64(buf + (size_t)i * 8, s->l1[i]);
		}
		rc = qswitch_write(s, s->to.l1_off, buf, len);
	}
	free(table);
	free(buf);
	return rc;
}

/* What the new refcount structures take, wherever they will be. */
static int refs_plan(const struct qswitch *s, uint64_t *table)
{
	const struct qcow2 *q = s->q;
	uint64_t last = s->n, per = BIT64(q->rb_bits), entries = q->cluster_size / 8, blocks = 1;

	while (last > 0 && !s->refs[last - 1] && !is_used(s, last - 1))
		last--;
	*table = s->counted ? 1 : q->h.rt_clusters;
	while (blocks * per < last + blocks + *table || *table * entries < blocks) {
		blocks = (last + blocks + *table + per - 1) / per;
		*table = max_u64(*table, (blocks + entries - 1) / entries);
	}
	return *table << q->cluster_bits > MAX_RT_BYTES ? -EFBIG : 0;
}

/* Gives a cluster to each block that has anything to count. A block may take one from a part that had nothing so far, so until none does. */
static int blocks_place(struct qswitch *s)
{
	const struct qcow2 *q = s->q;
	uint64_t per = BIT64(q->rb_bits);
	bool again = true;
	int rc = 0;

	while (again && rc == 0) {
		again = false;
		for (uint64_t b = 0; b < s->rt_n && b * per < s->n && rc == 0; b++) {
			bool any = false;

			for (uint64_t i = b * per; i < min_u64((b + 1) * per, s->n) && !any && !s->rt[b]; i++)
				any = s->refs[i];
			if (!any)
				continue;
			rc = qswitch_alloc(s, 1, &s->rt[b]);
			again = true;
		}
	}
	return rc;
}

static int blocks_write(struct qswitch *s, uint8_t *buf)
{
	const struct qcow2 *q = s->q;
	uint64_t per = BIT64(q->rb_bits);
	int rc = 0;

	for (uint64_t b = 0; b < s->rt_n && rc == 0; b++) {
		if (!s->rt[b])
			continue;
		memset(buf, 0, q->cluster_size);
		for (uint64_t i = 0; i < per && b * per + i < s->n; i++)
			rc_store(buf, q->h.refcount_order, i, s->refs[b * per + i]);
		rc = qswitch_write(s, s->rt[b], buf, q->cluster_size);
	}
	return rc;
}

/* Neither written to nor counted: the structures that are given up. */
static int old_refs_leave(struct qswitch *s)
{
	struct qcow2 *q = s->q;
	int rc = 0;

	use(s, q->h.rt_off >> q->cluster_bits, q->h.rt_clusters);
	if (!s->counted)
		rc = qswitch_count(s, q->h.rt_off, (uint64_t)q->h.rt_clusters << q->cluster_bits, -1);
	for (uint64_t b = 0; b < q->rt_n && rc == 0; b++) {
		uint64_t off = q->rt[b] & ~RT_RESERVED;

		if (!off || !checker_rt_ok(q, q->rt[b]))
			continue;
		use(s, off >> q->cluster_bits, 1);
		if (!s->counted)
			rc = qswitch_count(s, off, q->cluster_size, -1);
	}
	return rc;
}

static int refs_write(struct qswitch *s)
{
	struct qcow2 *q = s->q;
	uint64_t table = 0;
	uint8_t *buf;
	size_t len;
	int rc = old_refs_leave(s);

	if (rc == 0)
		rc = refs_plan(s, &table);
	if (rc < 0)
		return rc;
	len = table << q->cluster_bits;
	s->rt_n = (uint32_t)(len / 8);
	s->rt = calloc(s->rt_n, 8);
	buf = co_buf(len);
	rc = s->rt && buf ? qswitch_alloc(s, table, &s->to.rt_off) : -ENOMEM;
	s->to.rt_clusters = (uint32_t)table;
	if (rc == 0)
		rc = blocks_place(s);
	if (rc == 0)
		rc = blocks_write(s, buf);
	if (rc == 0) {
		for (uint32_t b = 0; b < s->rt_n; b++)
			put_be64(buf + (size_t)b * 8, s->rt[b]);
		rc = qswitch_write(s, s->to.rt_off, buf, len);
	}
	free(buf);
	return rc < 0 ? rc : co_pflush(q->pool, q->bd.file);
}

/* Memory follows the disk. Nothing here can fail. */
static void take_over(struct qswitch *s)
{
	struct qcow2 *q = s->q;

	for (uint64_t b = 0; b < q->rt_n; b++)
		if (q->rt[b] && checker_rt_ok(q, q->rt[b]))
			table_forget(&q->rb, q->rt[b] & ~RT_RESERVED, q->cluster_size);
	free(q->rt);
	q->rt = s->rt;
	q->rt_n = s->rt_n;
	s->rt = NULL;
	if (s->l1) {
		free(q->l1);
		free(q->l1_dirty);
		q->l1 = s->l1;
		q->l1_dirty = s->l1_dirty;
		q->l1_any_dirty = false;
		s->l1 = s->l1_dirty = NULL;
	}
	for (uint64_t i = 0; i < s->n; i++)
		if (!s->refs[i])
			meta_remove(&q->meta, i);
	q->free_hint = q->free_next = q->compress_off = 0;
	q_inflated_forget(q, 0, UINT64_MAX);
}

int qswitch_end(struct qswitch *s)
{
	int rc = refs_write(s);

	if (rc == 0)
		rc = q_header_switch(s->q, &s->to);
	if (rc == 0)
		take_over(s);
	s->done = rc == 0;
	return rc;
}

void qswitch_fini(struct qswitch *s)
{
	/* What was taken for it goes back. */
	for (size_t i = 0; i < s->made.n && !s->done; i++)
		for (uint64_t k = 0; k < s->made.v[i].n; k++)
			meta_remove(&s->q->meta, s->made.v[i].cluster + k);
	free_list_fini(&s->made);
	free(s->refs);
	free(s->used);
	free(s->rt);
	free(s->l1);
	free(s->l1_dirty);
}
