/* SPDX-License-Identifier: MIT */
/*
 * The set of host clusters that hold metadata: header, tables, refcount blocks, snapshots. Every write of guest data is held against it, so an
 * image whose L2 tables point at metadata cannot make a guest write there; and every new cluster is, so that wrong refcounts cannot
 * give metadata away. A hash table of cluster numbers.
 */
#include <errno.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"
#include "vmm/err.h"

static size_t slot_of(const struct meta_set *m, uint64_t cluster)
{
	return (size_t)(cluster * UINT64_C(0x9e3779b97f4a7c15) >> 20) & m->mask;
}

static void insert(struct meta_set *m, uint64_t key)
{
	size_t i = slot_of(m, key - 1);

	while (m->slots[i] && m->slots[i] != key)
		i = (i + 1) & m->mask;
	if (!m->slots[i])
		m->n++;
	m->slots[i] = key;
}

static int grow(struct meta_set *m)
{
	struct meta_set bigger = { .mask = m->slots ? m->mask * 2 + 1 : 255 };

	bigger.slots = calloc(bigger.mask + 1, sizeof(bigger.slots[0]));
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; m->slots && i <= m->mask; i++)
		if (m->slots[i])
			insert(&bigger, m->slots[i]);
	free(m->slots);
	*m = bigger;
	return 0;
}

int meta_add(struct meta_set *m, uint64_t cluster)
{
	if (!m->slots || m->n * 2 > m->mask) {
		int rc = grow(m);

		if (rc < 0)
			return rc;
	}
	insert(m, cluster + 1);
	return 0;
}

/* Moves up what would no longer be found behind the gap. */
void meta_remove(struct meta_set *m, uint64_t cluster)
{
	size_t i, j;

	if (!m->slots)
		return;
	for (i = slot_of(m, cluster); m->slots[i] != cluster + 1; i = (i + 1) & m->mask)
		if (!m->slots[i])
			return;
	m->n--;
	for (j = (i + 1) & m->mask; m->slots[j]; j = (j + 1) & m->mask) {
		size_t home = slot_of(m, m->slots[j] - 1);

		if (((j - home) & m->mask) >= ((j - i) & m->mask)) {
			m->slots[i] = m->slots[j];
			i = j;
		}
	}
	m->slots[i] = 0;
}

bool meta_has(const struct meta_set *m, uint64_t cluster)
{
	if (!m->slots)
		return false;
	for (size_t i = slot_of(m, cluster); m->slots[i]; i = (i + 1) & m->mask)
		if (m->slots[i] == cluster + 1)
			return true;
	return false;
}

void meta_fini(struct meta_set *m)
{
	free(m->slots);
	*m = (struct meta_set){ .n = 0 };
}

int q_meta_add_bytes(struct qcow2 *q, uint64_t off, uint64_t bytes)
{
	uint64_t first = off >> q->cluster_bits, n = q_clusters(q, bytes);
	int rc = 0;

	for (uint64_t i = 0; i < n && rc == 0; i++)
		rc = meta_add(&q->meta, first + i);
	return rc;
}

void q_meta_remove_bytes(struct qcow2 *q, uint64_t off, uint64_t bytes)
{
	for (uint64_t i = 0; i < q_clusters(q, bytes); i++)
		meta_remove(&q->meta, (off >> q->cluster_bits) + i);
}

bool q_meta_hit(const struct qcow2 *q, uint64_t off, uint64_t len)
{
	uint64_t last = (off + len - 1) >> q->cluster_bits;

	for (uint64_t i = off >> q->cluster_bits; i <= last; i++)
		if (meta_has(&q->meta, i))
			return true;
	return false;
}

/* The tables that an L1 or refcount table points at. What is nonsense there is met when it is used. */
static int add_entries(struct qcow2 *q, const uint64_t *entries, uint32_t n, uint64_t mask)
{
	int rc = 0;

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		uint64_t off = entries[i] & mask;

		if (off && off % q->cluster_size == 0 && off < q->file_end)
			rc = meta_add(&q->meta, off >> q->cluster_bits);
	}
	return rc;
}

int q_meta_load(struct qcow2 *q, struct err *err)
{
	uint64_t snap_bytes;
	int rc = meta_add(&q->meta, 0);

	if (rc == 0)
		rc = q_meta_add_bytes(q, q->h.l1_off, (uint64_t)q->h.l1_n * 8);
	if (rc == 0)
		rc = q_meta_add_bytes(q, q->h.rt_off, (uint64_t)q->h.rt_clusters << q->cluster_bits);
	if (rc == 0)
		rc = add_entries(q, q->rt, q->rt_n, ~RT_RESERVED);
	if (rc == 0)
		rc = add_entries(q, q->l1, q->h.l1_n, ENTRY_OFFSET);
	if (rc == 0 && q->n_snaps) {
		rc = q_snapshot_tables_size(q->snaps, q->n_snaps, &snap_bytes);
		if (rc == 0)
			rc = q_meta_add_bytes(q, q->h.snap_off, snap_bytes);
	}
	for (unsigned i = 0; i < q->n_snaps && rc == 0; i++)
		if (range_ok(q->snaps[i].l1_off, (uint64_t)q->snaps[i].l1_n * 8, q->file_end))
			rc = q_meta_add_bytes(q, q->snaps[i].l1_off, (uint64_t)q->snaps[i].l1_n * 8);
	return rc < 0 ? err_set_errno(err, rc, "%s", q->bd.name) : 0;
}
