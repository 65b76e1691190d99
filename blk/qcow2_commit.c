/* SPDX-License-Identifier: MIT */
/*
 * A commit brings the metadata in memory to the disk, in an order in which every state in between is a good one. The disk may do writes in
 * any order until a flush, so:
 *
 *  1. Refcounts. In memory those of new clusters have risen, and none has fallen that is still needed on disk.
 *  2. A flush. It also covers the data that new clusters hold: entries are made when the data has been written.
 *  3. L1 and L2 entries, as they were when the commit began. Each refers to clusters that are on disk with their refcount; they may
 *     come in any order, as an L2 table is on disk in full before an L1 entry points at it, and sectors are whole.
 *  4. A flush, and then nothing on disk refers to clusters that were replaced before the commit began: their refcounts may fall.
 *
 * So a commit takes copies of L2 tables and L1 sectors at the beginning; requests go on while it runs. With lazy refcounts, step 1 is
 * left out, and the image is marked dirty instead: then whoever opens it next builds the refcounts anew.
 */
#include <errno.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"

#define L1_PER_SECTOR (BLK_SECTOR / 8)

bool q_metadata_dirty(const struct qcow2 *q)
{
	/* A commit that runs has what was dirty in its hands. */
	return q->l2.n_dirty || q->rb.n_dirty || q->l1_any_dirty || q->unlinked.n || q->unlinked_synced.n || q->commit_lock.owner;
}

struct l1_shadow {
	uint32_t *sectors;
	uint8_t *copy;
	uint32_t n;
};

static uint32_t l1_sectors(const struct qcow2 *q)
{
	return (q->h.l1_n + L1_PER_SECTOR - 1) / L1_PER_SECTOR;
}

static bool l1_is_dirty(const struct qcow2 *q, uint32_t sector)
{
	return q->l1_dirty[sector / 64] & BIT64(sector % 64);
}

static int l1_take(struct qcow2 *q, struct l1_shadow *s)
{
	uint32_t n = 0;

	*s = (struct l1_shadow){ .n = 0 };
	if (!q->l1_any_dirty)
		return 0;
	for (uint32_t i = 0; i < l1_sectors(q); i++)
		n += l1_is_dirty(q, i);
	s->sectors = malloc(n * sizeof(s->sectors[0]));
	s->copy = co_buf((size_t)n * BLK_SECTOR);
	if (!s->sectors || !s->copy) {
		free(s->sectors);
		free(s->copy);
		*s = (struct l1_shadow){ .n = 0 };
		return -ENOMEM;
	}
	memset(s->copy, 0, (size_t)n * BLK_SECTOR);
	for (uint32_t i = 0; i < l1_sectors(q); i++) {
		if (!l1_is_dirty(q, i))
			continue;
		for (uint32_t j = i * L1_PER_SECTOR; j < (i + 1) * L1_PER_SECTOR && j < q->h.l1_n; j++)
			put_be64(s->copy + (size_t)s->n * BLK_SECTOR + (j % L1_PER_SECTOR) * 8, q->l1[j]);
		s->sectors[s->n++] = i;
		q->l1_dirty[i / 64] &= ~BIT64(i % 64);
	}
	q->l1_any_dirty = false;
	return 0;
}

static int l1_write(struct qcow2 *q, const struct l1_shadow *s)
{
	struct co_gather g = { .pool = q->pool };

	for (uint32_t i = 0; i < s->n; i++) {
		struct iovec iov = { s->copy + (size_t)i * BLK_SECTOR, BLK_SECTOR };
		struct iov_cursor c;

		iov_cursor_init(&c, &iov, 1);
		co_gather_rw(&g, q->bd.file, BLK_WRITE, q->h.l1_off + (uint64_t)s->sectors[i] * BLK_SECTOR, &c, BLK_SECTOR);
	}
	return co_gather_wait(&g);
}

static void l1_end(struct qcow2 *q, struct l1_shadow *s, bool written)
{
	for (uint32_t i = 0; i < s->n && !written; i++) {
		q->l1_dirty[s->sectors[i] / 64] |= BIT64(s->sectors[i] % 64);
		q->l1_any_dirty = true;
	}
	free(s->sectors);
	free(s->copy);
}

static int flush_files(struct qcow2 *q)
{
	int rc = q->data != q->bd.file ? co_pflush(q->pool, q->data) : 0;

	return rc < 0 ? rc : co_pflush(q->pool, q->bd.file);
}

/* Step 4 for what was unlinked before; `v` is emptied. */
static int frees_move(struct qcow2 *q, struct free_list *v, struct free_list *to)
{
	int rc = 0;

	for (size_t i = 0; i < v->n && rc == 0; i++)
		rc = free_list_add(to, v->v[i].cluster, v->v[i].n, q->next_seq);
	free_list_fini(v); /* without memory for the list, they are lost to the image until it is checked */
	return rc;
}

static int commit_tables(struct qcow2 *q, struct free_list *gone, bool flush)
{
	struct table_shadow l2;
	struct l1_shadow l1;
	bool written = false;
	int rc = table_shadow_take(&q->l2, &l2);

	if (rc < 0)
		return rc;
	rc = l1_take(q, &l1);
	if (rc == 0 && !q->lazy)
		rc = table_write_back(q, &q->rb);
	if (rc == 0)
		rc = flush_files(q);
	if (rc == 0)
		rc = table_shadow_write(q, &q->l2, &l2);
	if (rc == 0)
		rc = l1_write(q, &l1);
	written = rc == 0;
	table_shadow_end(&q->l2, &l2, written);
	l1_end(q, &l1, written);
	if (rc == 0 && (flush || gone->n))
		rc = co_pflush(q->pool, q->bd.file);
	return rc;
}

static int commit_locked(struct qcow2 *q, bool flush)
{
	struct free_list gone = q->unlinked;
	int rc;

	if (q->l2.n_dirty == 0 && !q->l1_any_dirty && gone.n == 0) {
		rc = q->lazy ? 0 : table_write_back(q, &q->rb);
		if (rc == 0 && flush)
			rc = flush_files(q);
	} else {
		q->unlinked = (struct free_list){ .n = 0 };
		rc = commit_tables(q, &gone, flush);
		frees_move(q, &gone, rc == 0 ? &q->unlinked_synced : &q->unlinked);
	}
	if (rc == 0 && q->unlinked_synced.n)
		rc = q_frees_apply(q);
	return rc;
}

int q_commit(struct qcow2 *q, bool flush)
{
	int rc;

	if (q->bd.read_only || q->corrupt)
		return flush && !q->bd.read_only ? flush_files(q) : 0;
	co_lock(q->pool, &q->commit_lock);
	rc = commit_locked(q, flush);
	co_unlock(&q->commit_lock);
	return rc;
}

int q_set_dirty(struct qcow2 *q)
{
	int rc;

	if (!q->lazy || (q->h.incompat & INCOMPAT_DIRTY))
		return 0;
	q->h.incompat |= INCOMPAT_DIRTY;
	rc = q_header_write(q);
	if (rc == 0)
		rc = co_pflush(q->pool, q->bd.file);
	if (rc < 0)
		q->h.incompat &= ~INCOMPAT_DIRTY;
	return rc;
}

int q_make_clean(struct qcow2 *q)
{
	int rc = q_commit(q, true);

	if (rc < 0 || q->corrupt || q->bd.read_only)
		return rc;
	if (q->rb.n_dirty) { /* also the refcounts that this commit let fall */
		rc = table_write_back(q, &q->rb);
		if (rc == 0)
			rc = co_pflush(q->pool, q->bd.file);
	}
	if (rc < 0 || !(q->h.incompat & INCOMPAT_DIRTY))
		return rc;
	q->h.incompat &= ~INCOMPAT_DIRTY;
	rc = q_header_write(q);
	if (rc < 0)
		q->h.incompat |= INCOMPAT_DIRTY;
	else
		rc = co_pflush(q->pool, q->bd.file);
	return rc;
}
