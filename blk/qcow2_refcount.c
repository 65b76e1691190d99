/* SPDX-License-Identifier: MIT */
/*
 * Refcounts, and the allocator that looks for zeroes in them.
 *
 * The clusters that a missing refcount block would describe are all free, so the block takes the first of them for itself, and
 * describes itself. It is on disk, and a flush behind it, before the refcount table points at it. The refcount table grows in the
 * same way, into clusters that only the new one covers, and the header's switch from one to the other is the write of one sector.
 *
 * `alloc_lock` is held while refcounts change or are searched.
 */
#include <errno.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"

uint64_t rc_load(const uint8_t *p, unsigned order, uint64_t i)
{
	switch (order) {
	case 3:
		return p[i];
	case 4:
		return get_be16(p + i * 2);
	case 5:
		return get_be32(p + i * 4);
	case 6:
		return get_be64(p + i * 8);
	default:
		return p[i >> (3 - order)] >> ((i << order) & 7) & (BIT(BIT(order)) - 1);
	}
}

void rc_store(uint8_t *p, unsigned order, uint64_t i, uint64_t v)
{
	unsigned shift, mask;

	switch (order) {
	case 3:
		p[i] = (uint8_t)v;
		break;
	case 4:
		put_be16(p + i * 2, (uint16_t)v);
		break;
	case 5:
		put_be32(p + i * 4, (uint32_t)v);
		break;
	case 6:
		put_be64(p + i * 8, v);
		break;
	default:
		shift = (i << order) & 7;
		mask = (BIT(BIT(order)) - 1) << shift;
		p[i >> (3 - order)] = (uint8_t)((p[i >> (3 - order)] & ~mask) | (unsigned)v << shift);
	}
}

/* A slice of a refcount block, and the part of it that is of interest. */
struct rc_slice {
	uint8_t *data; /* NULL: there is no block, all are 0 */
	uint64_t index, n; /* of the cluster in it, of entries */
};

static int slice_get(struct qcow2 *q, uint64_t cluster, struct rc_slice *s)
{
	uint64_t block = cluster >> q->rb_bits, in_block = cluster & (BIT64(q->rb_bits) - 1), off;
	unsigned slice_bits = (unsigned)__builtin_ctz(q->rb.entry_size) + 3 - q->h.refcount_order;

	*s = (struct rc_slice){ .index = in_block & (BIT64(slice_bits) - 1), .n = BIT64(slice_bits) };
	off = block < q->rt_n ? q->rt[block] & ~RT_RESERVED : 0;
	if (!off) {
		s->index = in_block;
		s->n = BIT64(q->rb_bits);
		return 0;
	}
	if (off % q->cluster_size || off >= q->file_end)
		return q_corrupt(q, "entry %llu of the refcount table, 0x%llx, is no refcount block", (unsigned long long)block, (unsigned long long)off);
	return table_get(q, &q->rb, off + (in_block >> slice_bits) * q->rb.entry_size, &s->data);
}

int rc_get(struct qcow2 *q, uint64_t cluster, uint64_t *v)
{
	struct rc_slice s;
	int rc = slice_get(q, cluster, &s);

	*v = rc == 0 && s.data ? rc_load(s.data, q->h.refcount_order, s.index) : 0;
	return rc;
}

/* A sector of the refcount table as it is in memory. */
static int rt_write(struct qcow2 *q, uint64_t block)
{
	uint8_t *buf = co_buf(BLK_SECTOR);
	uint64_t first = align_down(block, BLK_SECTOR / 8);
	int rc;

	if (!buf)
		return -ENOMEM;
	for (uint64_t i = 0; i < BLK_SECTOR / 8; i++)
		put_be64(buf + i * 8, q->rt[first + i]);
	rc = co_pwrite(q->pool, q->bd.file, q->h.rt_off + first * 8, buf, BLK_SECTOR);
	free(buf);
	return rc;
}

static void wrote_to(struct qcow2 *q, uint64_t end)
{
	q->file_end = max_u64(q->file_end, end);
}

/* The tables for a new refcount table: blocks of it first, then the table, from cluster `first` on. */
struct rt_growth {
	uint64_t first, blocks, table; /* clusters */
	uint64_t n;                    /* entries */
	uint64_t *rt;
};

static int growth_plan(struct qcow2 *q, uint64_t block, struct rt_growth *g)
{
	uint64_t per_cluster = q->cluster_size / 8, per_block = BIT64(q->rb_bits);

	g->first = (uint64_t)q->rt_n << q->rb_bits;
	g->n = max_u64(block + 1, (uint64_t)q->rt_n + q->rt_n / 2);
	for (g->blocks = 1;; g->blocks++) {
		g->n = max_u64(g->n, q->rt_n + g->blocks);
		g->table = (g->n + per_cluster - 1) / per_cluster;
		if (g->blocks * per_block >= g->blocks + g->table)
			break;
	}
	g->n = g->table * per_cluster;
	if (g->table << q->cluster_bits > MAX_RT_BYTES) {
		g->table = MAX_RT_BYTES >> q->cluster_bits;
		g->n = g->table * per_cluster;
	}
	if (g->n <= block || g->n < q->rt_n + g->blocks)
		return -EFBIG;
	g->rt = calloc(g->n, 8);
	if (!g->rt)
		return -ENOMEM;
	memcpy(g->rt, q->rt, (size_t)q->rt_n * 8);
	for (uint64_t i = 0; i < g->blocks; i++)
		g->rt[q->rt_n + i] = (g->first + i) << q->cluster_bits;
	return 0;
}

static int growth_write(struct qcow2 *q, const struct rt_growth *g)
{
	size_t len = (g->blocks + g->table) << q->cluster_bits;
	uint8_t *buf = co_buf(len), *table;
	int rc;

	if (!buf)
		return -ENOMEM;
	memset(buf, 0, len);
	table = buf + (g->blocks << q->cluster_bits);
	for (uint64_t i = 0; i < g->blocks + g->table; i++)
		rc_store(buf + (i >> q->rb_bits << q->cluster_bits), q->h.refcount_order, i & (BIT64(q->rb_bits) - 1), 1);
	for (uint64_t i = 0; i < g->n; i++)
		put_be64(table + i * 8, g->rt[i]);
	wrote_to(q, (g->first << q->cluster_bits) + len);
	rc = co_pwrite(q->pool, q->bd.file, g->first << q->cluster_bits, buf, len);
	if (rc == 0)
		rc = co_pflush(q->pool, q->bd.file);
	free(buf);
	return rc;
}

static int rt_grow(struct qcow2 *q, uint64_t block)
{
	struct rt_growth g;
	uint64_t old_off = q->h.rt_off, old_n = q->h.rt_clusters, start = (uint64_t)q->rt_n << (q->rb_bits + q->cluster_bits), len;
	int rc = growth_plan(q, block, &g);

	if (rc < 0)
		return rc;
	len = (g.blocks + g.table) << q->cluster_bits;
	if (q_meta_hit(q, start, len))
		rc = q_corrupt(q, "metadata lies where refcounts say that all is free, at 0x%llx", (unsigned long long)start);
	else
		rc = co_room(q->bd.file, start + len);
	if (rc == 0)
		rc = growth_write(q, &g);
	if (rc == 0)
		rc = q_meta_add_bytes(q, start, len);
	if (rc == 0) {
		struct qpointers to;

		q_pointers_get(&q->h, &to);
		to.rt_off = (g.first + g.blocks) << q->cluster_bits;
		to.rt_clusters = (uint32_t)g.table;
		rc = q_header_switch(q, &to);
		if (rc < 0)
			q_meta_remove_bytes(q, start, len);
	}
	if (rc < 0) {
		free(g.rt);
		return rc;
	}
	free(q->rt);
	q->rt = g.rt;
	q->rt_n = (uint32_t)g.n;
	q_meta_remove_bytes(q, old_off, old_n << q->cluster_bits);
	return free_list_add(&q->unlinked_synced, old_off >> q->cluster_bits, old_n, q->next_seq);
}

/* `*made`: one was missing, so clusters that looked free may not be. */
static int block_ensure(struct qcow2 *q, uint64_t cluster, bool *made)
{
	uint64_t block = cluster >> q->rb_bits, off = block << (q->rb_bits + q->cluster_bits);
	uint8_t *buf;
	int rc;

	if (block < q->rt_n && (q->rt[block] & ~RT_RESERVED))
		return 0;
	*made = true;
	if (block >= q->rt_n) {
		rc = rt_grow(q, block);
		if (rc < 0 || (q->rt[block] & ~RT_RESERVED))
			return rc;
	}
	if (off >= MAX_HOST)
		return -EFBIG;
	if (meta_has(&q->meta, off >> q->cluster_bits))
		return q_corrupt(q, "metadata lies at 0x%llx, which has no refcount", (unsigned long long)off);
	buf = co_buf(q->cluster_size);
	if (!buf)
		return -ENOMEM;
	memset(buf, 0, q->cluster_size);
	rc_store(buf, q->h.refcount_order, 0, 1);
	rc = meta_add(&q->meta, off >> q->cluster_bits);
	if (rc == 0) {
		wrote_to(q, off + q->cluster_size);
		rc = co_pwrite(q->pool, q->bd.file, off, buf, q->cluster_size);
	}
	free(buf);
	if (rc == 0)
		rc = co_pflush(q->pool, q->bd.file);
	table_forget(&q->rb, off, q->cluster_size);
	if (rc == 0) {
		q->rt[block] = off;
		rc = rt_write(q, block);
		if (rc < 0)
			q->rt[block] = 0; /* tried again, it becomes the same */
	}
	if (rc < 0)
		meta_remove(&q->meta, off >> q->cluster_bits);
	return rc;
}

static int change_one(struct qcow2 *q, uint64_t cluster, int delta)
{
	struct rc_slice s;
	uint64_t v;
	int rc = slice_get(q, cluster, &s);

	if (rc < 0)
		return rc;
	v = s.data ? rc_load(s.data, q->h.refcount_order, s.index) : 0;
	if (delta < 0 && v == 0)
		return q_corrupt(q, "cluster 0x%llx is in use with a refcount of 0", (unsigned long long)(cluster << q->cluster_bits));
	if (delta > 0 && v == q->refcount_max)
		return -EOVERFLOW;
	v = v + (uint64_t)(int64_t)delta;
	rc_store(s.data, q->h.refcount_order, s.index, v);
	table_dirty(&q->rb, s.data);
	if (v == 0) {
		q->free_hint = min_u64(q->free_hint, cluster);
		q->free_next = min_u64(q->free_next, cluster);
		meta_remove(&q->meta, cluster);
		q_inflated_forget(q, cluster << q->cluster_bits, q->cluster_size);
		if (q->compress_off >> q->cluster_bits == cluster)
			q->compress_off = 0;
	}
	return 0;
}

int rc_change(struct qcow2 *q, uint64_t cluster, uint64_t n, int delta)
{
	int rc = q->corrupt ? -EIO : q_set_dirty(q);
	bool made = false;
	uint64_t i;

	for (i = 0; i < n && rc == 0; i++) {
		if (delta > 0)
			rc = block_ensure(q, cluster + i, &made);
		if (rc == 0)
			rc = change_one(q, cluster + i, delta);
	}
	if (rc < 0 && i > 0)
		for (i--; i-- > 0;)
			change_one(q, cluster + i, -delta);
	return rc;
}

int rc_set(struct qcow2 *q, uint64_t cluster, uint64_t v)
{
	struct rc_slice s;
	bool made;
	int rc = v ? block_ensure(q, cluster, &made) : 0;

	if (v > q->refcount_max)
		return -EOVERFLOW;
	if (rc == 0)
		rc = slice_get(q, cluster, &s);
	if (rc < 0 || !s.data)
		return rc;
	rc_store(s.data, q->h.refcount_order, s.index, v);
	table_dirty(&q->rb, s.data);
	if (v == 0)
		q->free_hint = q->free_next = min_u64(q->free_hint, cluster);
	return 0;
}

/* The first `n` free clusters next to each other. Several are not looked for in the holes that the last search has passed. */
static int search(struct qcow2 *q, uint64_t n, uint64_t *found)
{
	uint64_t at = n == 1 ? q->free_hint : q->free_next, run = 0;
	uint64_t limit = MAX_HOST >> q->cluster_bits; /* what a device has room for is for co_room to say: it may have become larger */

	while (run < n) {
		struct rc_slice s;
		int rc;

		if (at + n > limit)
			return -EFBIG;
		rc = slice_get(q, at, &s);
		if (rc < 0)
			return rc;
		if (!s.data) {
			uint64_t part = min_u64(n - run, s.n - s.index);

			at += part;
			run += part;
			continue;
		}
		for (; s.index < s.n && run < n; s.index++, at++)
			run = rc_load(s.data, q->h.refcount_order, s.index) ? 0 : run + 1;
	}
	*found = at - run;
	return 0;
}

int q_alloc_locked(struct qcow2 *q, uint64_t n, uint64_t *off)
{
	uint64_t first = 0;
	bool made;
	int rc;

	do {
		rc = q->corrupt ? -EIO : search(q, n, &first);
		if (rc == 0)
			rc = co_room(q->bd.file, (first + n) << q->cluster_bits);
		if (rc < 0)
			return rc;
		made = false;
		for (uint64_t i = 0; i < n && rc == 0; i += BIT64(q->rb_bits))
			rc = block_ensure(q, first + i, &made);
		if (rc == 0)
			rc = block_ensure(q, first + n - 1, &made);
		if (rc < 0)
			return rc;
	} while (made);
	if (q_meta_hit(q, first << q->cluster_bits, n << q->cluster_bits))
		return q_corrupt(q, "metadata at 0x%llx has a refcount of 0", (unsigned long long)(first << q->cluster_bits));
	rc = rc_change(q, first, n, 1);
	if (rc < 0)
		return rc;
	if (n == 1 || first == q->free_hint)
		q->free_hint = first + n;
	q->free_next = max_u64(q->free_next, first + n);
	*off = first << q->cluster_bits;
	return 0;
}

int q_alloc(struct qcow2 *q, uint64_t n, uint64_t *off)
{
	int rc;

	co_lock(q->pool, &q->alloc_lock);
	rc = q_alloc_locked(q, n, off);
	co_unlock(&q->alloc_lock);
	return rc;
}

void q_free_now(struct qcow2 *q, uint64_t off, uint64_t n)
{
	co_lock(q->pool, &q->alloc_lock);
	rc_change(q, off >> q->cluster_bits, n, -1); /* what cannot be freed is lost to the image until it is checked */
	co_unlock(&q->alloc_lock);
}

int free_list_add(struct free_list *l, uint64_t cluster, uint64_t n, uint64_t seq)
{
	struct free_extent *last = l->n ? &l->v[l->n - 1] : NULL;

	if (last && last->cluster + last->n == cluster && last->seq == seq) {
		last->n += n;
		return 0;
	}
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct free_extent *v = realloc(l->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = (struct free_extent){ .cluster = cluster, .n = n, .seq = seq };
	return 0;
}

void free_list_fini(struct free_list *l)
{
	free(l->v);
	*l = (struct free_list){ .n = 0 };
}

/* Without memory for the list, the clusters are lost to the image until it is checked. */
void q_free_later(struct qcow2 *q, uint64_t off, uint64_t n)
{
	free_list_add(&q->unlinked, off >> q->cluster_bits, n, 0);
}

void q_free_entry(struct qcow2 *q, uint64_t entry)
{
	uint64_t off;
	uint32_t len;

	if (entry & ENTRY_COMPRESSED) {
		q_compressed_place(q, entry, &off, &len);
		q_free_later(q, off, ((off + len - 1) >> q->cluster_bits) - (off >> q->cluster_bits) + 1);
	} else if ((entry & ENTRY_OFFSET) && !q->has_data_file) {
		q_free_later(q, entry & ENTRY_OFFSET, 1);
	}
}

/* Gives the space back below while the refcount still keeps everybody else away. */
static int punch(struct qcow2 *q, uint64_t cluster)
{
	struct blk_req what = { .op = BLK_DISCARD, .off = cluster << q->cluster_bits, .len = q->cluster_size };
	uint64_t v;
	int rc = rc_get(q, cluster, &v);

	if (rc < 0 || v != 1 || !range_ok(what.off, what.len, q->bd.file->size))
		return rc;
	co_blk(q->pool, q->bd.file, &what); /* a hint */
	return 0;
}

static int apply_one(struct qcow2 *q, const struct free_extent *e)
{
	int rc = 0;

	for (uint64_t i = 0; i < e->n && rc == 0; i++) {
		if (q->discard)
			rc = punch(q, e->cluster + i);
		if (rc == 0)
			rc = rc_change(q, e->cluster + i, 1, -1);
	}
	return rc;
}

int q_frees_apply(struct qcow2 *q)
{
	struct free_list list = q->unlinked_synced;
	uint64_t oldest = q->active_first ? q->active_first->seq : UINT64_MAX;
	int rc = 0;

	q->unlinked_synced = (struct free_list){ .n = 0 };
	co_lock(q->pool, &q->alloc_lock);
	for (size_t i = 0; i < list.n; i++) {
		const struct free_extent *e = &list.v[i];

		if (e->seq > oldest)
			free_list_add(&q->unlinked_synced, e->cluster, e->n, e->seq);
		else if (rc == 0)
			rc = apply_one(q, e);
	}
	co_unlock(&q->alloc_lock);
	free_list_fini(&list);
	return rc;
}
