/* SPDX-License-Identifier: MIT */
/* From guest offsets to host offsets: L1 and L2 lookups, L2 tables made and copied, and who may change which part of the map. */
#include <errno.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"

bool q_sub_type(const struct qcow2 *q, uint64_t entry, uint64_t bitmap, unsigned sub, enum qtype *type)
{
	bool host = (entry & ENTRY_OFFSET) || (q->has_data_file && (entry & ENTRY_COPIED));

	if (entry & ENTRY_COMPRESSED) {
		*type = Q_COMPRESSED;
		return !q->has_data_file;
	}
	if (!q->extended) {
		*type = entry & ENTRY_ZERO ? Q_ZERO : host ? Q_DATA : Q_UNALLOCATED;
		return !(entry & ENTRY_ZERO) || q->h.version >= 3;
	}
	if (bitmap & BIT64(sub + SUBCLUSTERS)) {
		*type = Q_ZERO;
		return !(bitmap & BIT64(sub));
	}
	*type = bitmap & BIT64(sub) ? Q_DATA : Q_UNALLOCATED;
	return host || *type == Q_UNALLOCATED;
}

void q_compressed_place(const struct qcow2 *q, uint64_t entry, uint64_t *off, uint32_t *len)
{
	unsigned x = 62 - (q->cluster_bits - 8);
	uint64_t place = entry & (BIT64(x) - 1) & (MAX_HOST - 1);
	uint64_t sectors = ((entry & (BIT64(62) - 1)) >> x) + 1;

	*off = place;
	*len = (uint32_t)(sectors * BLK_SECTOR - (place & (BLK_SECTOR - 1)));
}

uint64_t l2_entry_get(const struct qcow2 *q, const struct l2_ref *ref, unsigned i, uint64_t *bitmap)
{
	const uint8_t *p = ref->table + (size_t)i * q->l2_entry;

	*bitmap = q->extended ? get_be64(p + 8) : 0;
	return get_be64(p);
}

void l2_entry_set(struct qcow2 *q, const struct l2_ref *ref, unsigned i, uint64_t entry, uint64_t bitmap)
{
	uint8_t *p = ref->table + (size_t)i * q->l2_entry;

	put_be64(p, entry);
	if (q->extended)
		put_be64(p + 8, bitmap);
	table_dirty(&q->l2, ref->table);
}

void q_l1_set(struct qcow2 *q, uint32_t i, uint64_t entry)
{
	uint32_t sector = i / (BLK_SECTOR / 8);

	q->l1[i] = entry;
	q->l1_dirty[sector / 64] |= BIT64(sector % 64);
	q->l1_any_dirty = true;
}

static uint32_t l1_index(const struct qcow2 *q, uint64_t off)
{
	return (uint32_t)(off >> (q->l2_bits + q->cluster_bits));
}

/* Where the slice is that has the entry of `off`; 0: nowhere. `ref` gets all but the table. */
static int slice_place(struct qcow2 *q, uint64_t off, uint64_t *place, struct l2_ref *ref)
{
	uint64_t l1e = l1_index(q, off) < q->h.l1_n ? q->l1[l1_index(q, off)] : 0;
	uint64_t index = off >> q->cluster_bits & (BIT64(q->l2_bits) - 1);
	uint64_t at = index * q->l2_entry, l2 = l1e & ENTRY_OFFSET;

	*ref = (struct l2_ref){ .index = (unsigned)index, .n = (unsigned)BIT64(q->l2_bits) };
	*place = 0;
	if (!l2)
		return 0;
	if (l2 % q->cluster_size || l2 >= q->file_end)
		return -EUCLEAN;
	ref->n = q->l2.entry_size / q->l2_entry;
	ref->index &= ref->n - 1;
	*place = l2 + align_down(at, q->l2.entry_size);
	return 0;
}

int q_l2_get(struct qcow2 *q, uint64_t off, struct l2_ref *ref)
{
	uint64_t place, again;
	int rc;

	do {
		rc = slice_place(q, off, &place, ref);
		if (rc < 0)
			return q_corrupt(q, "entry %u of the L1 table, 0x%llx, is no L2 table", l1_index(q, off),
					 (unsigned long long)q->l1[l1_index(q, off)]);
		if (!place)
			return 0;
		rc = table_get(q, &q->l2, place, &ref->table);
		if (rc < 0)
			return rc;
		/* While it was read, the table may have got a copy that is now the active one. */
		rc = slice_place(q, off, &again, &(struct l2_ref){ .n = 0 });
	} while (rc < 0 || again != place);
	return 0;
}

/* One subcluster's or compressed cluster's part of the map. */
static bool map_sub(struct qcow2 *q, const struct l2_ref *ref, uint64_t off, unsigned i, struct qmap *m)
{
	uint64_t bitmap, entry = l2_entry_get(q, ref, i, &bitmap), in_cluster = off & (q->cluster_size - 1);
	uint64_t host = entry & ENTRY_OFFSET;

	m->entry = entry;
	if (!q_sub_type(q, entry, bitmap, (unsigned)(in_cluster >> q->sub_bits), &m->type))
		return false;
	m->len = m->type == Q_COMPRESSED ? q->cluster_size - in_cluster : BIT64(q->sub_bits) - (off & (BIT64(q->sub_bits) - 1));
	if (m->type == Q_COMPRESSED) {
		m->has_host = m->copied = false;
		return true;
	}
	m->has_host = host || (q->has_data_file && (entry & ENTRY_COPIED));
	m->copied = m->has_host && (entry & ENTRY_COPIED);
	m->host = host + in_cluster;
	if (m->has_host && (host % q->cluster_size || (q->has_data_file && host != off - in_cluster)))
		return false;
	return true;
}

/* As much as is alike in the slice. */
static bool map_in_slice(struct qcow2 *q, const struct l2_ref *ref, uint64_t off, uint64_t len, struct qmap *m)
{
	unsigned i = ref->index;
	struct qmap next;

	if (!ref->table) {
		*m = (struct qmap){ .type = Q_UNALLOCATED };
		m->len = min_u64(len, ((uint64_t)(ref->n - i) << q->cluster_bits) - (off & (q->cluster_size - 1)));
		return true;
	}
	if (!map_sub(q, ref, off, i, m))
		return false;
	while (m->len < len && m->type != Q_COMPRESSED) {
		i = ref->index + (unsigned)(((off & (q->cluster_size - 1)) + m->len) >> q->cluster_bits);
		if (i >= ref->n || !map_sub(q, ref, off + m->len, i, &next) || next.type != m->type)
			break;
		if (next.has_host != m->has_host || (m->has_host && (next.host != m->host + m->len || next.copied != m->copied)))
			break;
		m->len += next.len;
	}
	m->len = min_u64(m->len, len);
	return true;
}

bool q_map_try(struct qcow2 *q, uint64_t off, uint64_t len, struct qmap *m)
{
	struct l2_ref ref;
	uint64_t place;

	if (slice_place(q, off, &place, &ref) < 0)
		return false;
	if (place && !(ref.table = table_find(&q->l2, place)))
		return false;
	return map_in_slice(q, &ref, off, len, m);
}

int q_map(struct qcow2 *q, uint64_t off, uint64_t len, struct qmap *m)
{
	struct l2_ref ref;
	int rc = q_l2_get(q, off, &ref);

	if (rc < 0)
		return rc;
	if (!map_in_slice(q, &ref, off, len, m))
		return q_corrupt(q, "the L2 entry 0x%llx of guest offset 0x%llx makes no sense", (unsigned long long)m->entry, (unsigned long long)off);
	return 0;
}

/* A copy of the L2 table, or an empty one, in a new cluster and on its way to the disk. */
static int l2_make(struct qcow2 *q, uint64_t old, uint64_t *off)
{
	uint8_t *buf = co_buf(q->cluster_size);
	int rc;

	if (!buf)
		return -ENOMEM;
	memset(buf, 0, q->cluster_size);
	rc = q_alloc(q, 1, off);
	if (rc < 0) {
		free(buf);
		return rc;
	}
	/* One that belongs to somebody else as well is never changed, so the disk has all of it. */
	if (old)
		rc = co_pread(q->pool, q->bd.file, old, buf, q->cluster_size);
	if (rc == 0)
		rc = meta_add(&q->meta, *off >> q->cluster_bits);
	if (rc == 0) {
		table_forget(&q->l2, *off, q->cluster_size);
		q->file_end = max_u64(q->file_end, *off + q->cluster_size);
		rc = co_pwrite(q->pool, q->bd.file, *off, buf, q->cluster_size);
		if (rc < 0)
			meta_remove(&q->meta, *off >> q->cluster_bits);
	}
	free(buf);
	if (rc < 0)
		q_free_now(q, *off, 1);
	return rc;
}

int q_l2_prepare(struct qcow2 *q, uint64_t off)
{
	uint32_t i = l1_index(q, off);
	uint64_t old, l2;
	int rc = 0;

	if (i >= q->h.l1_n)
		return -EFBIG;
	if (q->l1[i] & ENTRY_COPIED)
		return 0;
	co_lock(q->pool, &q->l2_lock);
	if (!(q->l1[i] & ENTRY_COPIED)) {
		old = q->l1[i] & ENTRY_OFFSET;
		if (old % q->cluster_size || old >= q->file_end)
			rc = q_corrupt(q, "entry %u of the L1 table, 0x%llx, is no L2 table", i, (unsigned long long)q->l1[i]);
		else
			rc = l2_make(q, old, &l2);
		if (rc == 0) {
			q_l1_set(q, i, l2 | ENTRY_COPIED);
			if (old)
				q_free_later(q, old, 1);
		}
	}
	co_unlock(&q->l2_lock);
	return rc;
}

void q_range_enter(struct qcow2 *q, struct qrange *r, uint64_t off, uint64_t end)
{
	struct qrange *other;

again:
	for (other = q->ranges; other; other = other->next)
		if (other->off < end && off < other->end) {
			co_queue_wait(q->pool, &other->wait);
			goto again;
		}
	*r = (struct qrange){ .off = off, .end = end, .next = q->ranges };
	if (r->next)
		r->next->prev = r;
	q->ranges = r;
}

void q_range_leave(struct qcow2 *q, struct qrange *r)
{
	if (r->prev)
		r->prev->next = r->next;
	else
		q->ranges = r->next;
	if (r->next)
		r->next->prev = r->prev;
	co_queue_wake(&r->wait);
}
