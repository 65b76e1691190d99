/* SPDX-License-Identifier: MIT */
/*
 * Bitmaps added, removed, cleared, enabled, disabled and merged. A change writes what is new beside what is there: the bits, their table, the
 * directory; brings the refcounts of all that to the disk; and then moves the header over to the new directory. So at any instant the disk
 * has the old bitmaps or the new ones. What the old ones alone had is free after that.
 *
 * Source: docs/interop/qcow2.txt, "Bitmaps".
 */
#include <errno.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"
#include "vmm/err.h"

#define EXT_LEN 24
#define DIR_FIXED 24
#define DIR_FLAGS 12
#define NAME_MAX_LEN 1023
#define TYPE_DIRTY 1
#define TABLE_ONES UINT64_C(1)
#define BITS_MAX_BYTES (512 * MIB) /* QEMU's limit */
#define GRANULARITY_MIN_BITS 9
#define GRANULARITY_MAX_BITS 31

struct bits {
	uint8_t *data;
	uint64_t n, len; /* bits, bytes */
	unsigned granularity_bits;
};

/* A change under way. */
struct edit {
	const struct qcow2_bitmap_change *what;
	struct err *err;
	struct qcow2 *q;
	struct bits source;      /* MERGE */
	uint8_t *dir, *new_dir;
	uint64_t dir_off, dir_size, new_off, new_size;
	uint32_t n;
	struct bitmap_dir at;    /* the one that it is about, `at_pos` to `at_end` in `dir` */
	uint64_t at_pos, at_end;
	bool found;
	uint64_t table_off;      /* the new table, if it gets one */
	uint32_t table_n;
};

static int fail(struct edit *e, int rc, const char *text)
{
	return err_set(e->err, rc, "%s: bitmap '%s' %s", e->q->bd.name, e->what->name, text);
}

/* Bits */

static int bits_size(const struct qcow2 *q, unsigned granularity_bits, struct bits *b)
{
	uint64_t n = (q->bd.size >> granularity_bits) + ((q->bd.size & (BIT64(granularity_bits) - 1)) != 0);

	*b = (struct bits){ .n = n, .len = (n + 7) / 8, .granularity_bits = granularity_bits };
	return b->len > BITS_MAX_BYTES ? -EFBIG : 0;
}

static int bits_load(struct qcow2 *q, const struct bitmap_dir *d, struct bits *b)
{
	int rc = bits_size(q, d->granularity_bits, b);
	uint64_t room = q_clusters(q, b->len) << q->cluster_bits;
	uint8_t *table;

	if (rc < 0)
		return rc;
	if (d->table_n != q_clusters(q, b->len) || d->table_off % q->cluster_size || !range_ok(d->table_off, (uint64_t)d->table_n * 8, q->file_end))
		return -EINVAL;
	b->data = calloc(1, room + 1);
	table = co_buf((size_t)d->table_n * 8);
	rc = b->data && table ? co_pread(q->pool, q->bd.file, d->table_off, table, (size_t)d->table_n * 8) : -ENOMEM;
	for (uint32_t i = 0; i < d->table_n && rc == 0; i++) {
		uint64_t entry = get_be64(table + (size_t)i * 8), off = entry & ENTRY_OFFSET;
		uint8_t *to = b->data + ((uint64_t)i << q->cluster_bits);

		if (entry & ~(ENTRY_OFFSET | TABLE_ONES) || (off && ((entry & TABLE_ONES) || off % q->cluster_size || off >= q->file_end)))
			rc = -EINVAL;
		else if (off)
			rc = co_pread(q->pool, q->bd.file, off, to, q->cluster_size);
		else
			memset(to, entry & TABLE_ONES ? 0xff : 0, q->cluster_size);
	}
	free(table);
	if (rc < 0) {
		free(b->data);
		b->data = NULL;
	}
	return rc;
}

static void bits_merge(struct bits *to, const struct bits *from)
{
	for (uint64_t i = 0; i < from->n; i++) {
		uint64_t off = i << from->granularity_bits, first = off >> to->granularity_bits;
		uint64_t last = min_u64((off + BIT64(from->granularity_bits) - 1) >> to->granularity_bits, to->n - 1);

		if (i % 8 == 0 && !from->data[i / 8]) {
			i += 7;
			continue;
		}
		if (!(from->data[i / 8] & 1u << i % 8))
			continue;
		for (uint64_t k = first; k <= last; k++)
			to->data[k / 8] |= (uint8_t)(1u << k % 8);
	}
}

static bool all_bytes(const uint8_t *p, uint8_t byte, size_t len)
{
	return p[0] == byte && memcmp(p, p + 1, len - 1) == 0;
}

/* The clusters of a table, with what a failed change has allocated so far. */
static void table_free(struct qcow2 *q, const uint8_t *table, uint32_t n, uint64_t off)
{
	for (uint32_t i = 0; i < n; i++)
		if (get_be64(table + (size_t)i * 8) & ENTRY_OFFSET)
			q_free_now(q, get_be64(table + (size_t)i * 8) & ENTRY_OFFSET, 1);
	if (off) {
		q_meta_remove_bytes(q, off, (uint64_t)n * 8);
		q_free_now(q, off, q_clusters(q, (uint64_t)n * 8));
	}
}

/* Space for metadata, written. `len` is rounded up to clusters, and `p` has room for that. */
static int meta_write(struct qcow2 *q, const uint8_t *p, uint64_t len, uint64_t *off)
{
	uint64_t n = q_clusters(q, len), bytes = n << q->cluster_bits;
	int rc = n >= BIT64(q->rb_bits) ? -EFBIG : q_alloc(q, n, off);

	if (rc < 0) {
		*off = 0;
		return rc;
	}
	q->file_end = max_u64(q->file_end, *off + bytes);
	rc = co_pwrite(q->pool, q->bd.file, *off, p, bytes);
	if (rc == 0)
		rc = q_meta_add_bytes(q, *off, len);
	if (rc < 0) {
		q_free_now(q, *off, n);
		*off = 0;
	}
	return rc;
}

/* Bits and their table, with `b->data` NULL all clear. */
static int bits_store(struct edit *e, const struct bits *b)
{
	struct qcow2 *q = e->q;
	uint64_t n = q_clusters(q, b->len), table_bytes = align_up(n * 8, q->cluster_size), off;
	uint8_t *table = co_buf(table_bytes);
	int rc = table ? 0 : -ENOMEM;

	if (rc == 0)
		memset(table, 0, table_bytes);
	for (uint64_t i = 0; i < n && rc == 0 && b->data; i++) {
		const uint8_t *p = b->data + (i << q->cluster_bits);

		if (all_bytes(p, 0, q->cluster_size))
			continue;
		if (all_bytes(p, 0xff, q->cluster_size)) {
			put_be64(table + i * 8, TABLE_ONES);
			continue;
		}
		rc = meta_write(q, p, q->cluster_size, &off);
		if (rc == 0)
			put_be64(table + i * 8, off);
	}
	if (rc == 0)
		rc = meta_write(q, table, n * 8, &e->table_off);
	if (rc < 0 && table)
		table_free(q, table, (uint32_t)n, 0);
	e->table_n = (uint32_t)n;
	free(table);
	return rc;
}

/* The directory */

static int dir_load(struct edit *e)
{
	struct qcow2 *q = e->q;
	size_t name_len = strlen(e->what->name);
	uint64_t pos = 0;
	int rc;

	if (q->h.version < 3)
		return err_set(e->err, -ENOTSUP, "%s: images of version 2 (compat=0.10) have no bitmaps", q->bd.name);
	if (qheader_ext(&q->h, EXT_BITMAPS) && !(q->h.autoclear & AUTOCLEAR_BITMAPS))
		return err_set(e->err, -EUCLEAN, "%s: its bitmaps are lost, as a program that does not know them has written to it", q->bd.name);
	rc = q_bitmaps_read(q, &e->dir, &e->dir_off, &e->dir_size, &e->n);
	for (uint32_t i = 0; i < e->n && rc == 0; i++) {
		uint64_t start = pos;
		struct bitmap_dir b;

		rc = bitmap_dir_next(e->dir, e->dir_size, &pos, &b);
		if (rc == 0 && !e->found && b.name_len == name_len && !memcmp(b.name, e->what->name, name_len)) {
			e->at = b;
			e->at_pos = start;
			e->at_end = pos;
			e->found = true;
		}
	}
	if (rc < 0)
		return err_set_errno(e->err, rc, "%s: cannot read its bitmaps", q->bd.name);
	e->new_size = pos;
	return 0;
}

static unsigned flags_after(const struct edit *e)
{
	unsigned flags = e->found ? e->at.flags : 0;

	if (e->what->op == QCOW2_BITMAP_ENABLE || (e->what->op == QCOW2_BITMAP_ADD && !e->what->disabled))
		return flags | QCOW2_BITMAP_AUTO;
	return e->what->op == QCOW2_BITMAP_DISABLE ? flags & ~QCOW2_BITMAP_AUTO : flags;
}

static void entry_put(struct edit *e, uint8_t *p)
{
	size_t name_len = strlen(e->what->name);

	put_be64(p, e->table_off);
	put_be32(p + 8, e->table_n);
	put_be32(p + DIR_FLAGS, flags_after(e));
	p[16] = TYPE_DIRTY;
	p[17] = (uint8_t)__builtin_ctz(e->what->granularity);
	put_be16(p + 18, (uint16_t)name_len);
	put_be32(p + 20, 0);
	memcpy(p + DIR_FIXED, e->what->name, name_len);
}

/* The old one with the change in it. */
static int dir_build(struct edit *e)
{
	struct qcow2 *q = e->q;
	uint64_t old = e->new_size, add = align_up(DIR_FIXED + strlen(e->what->name), 8);
	uint8_t *p = co_buf(align_up(old + add, q->cluster_size));

	if (!p)
		return -ENOMEM;
	e->new_dir = p;
	memset(p, 0, align_up(old + add, q->cluster_size));
	if (old)
		memcpy(p, e->dir, old);
	switch (e->what->op) {
	case QCOW2_BITMAP_ADD:
		entry_put(e, p + old);
		e->new_size = old + add;
		e->n++;
		break;
	case QCOW2_BITMAP_REMOVE:
		memmove(p + e->at_pos, p + e->at_end, old - e->at_end);
		e->new_size = old - (e->at_end - e->at_pos);
		memset(p + e->new_size, 0, old - e->new_size);
		e->n--;
		break;
	default:
		put_be32(p + e->at_pos + DIR_FLAGS, flags_after(e));
		if (e->table_off) {
			put_be64(p + e->at_pos, e->table_off);
			put_be32(p + e->at_pos + 8, e->table_n);
		}
	}
	return e->n ? meta_write(q, p, e->new_size, &e->new_off) : 0;
}

/* The extension that says where the directory is; gone with the last bitmap. */
static int ext_change(struct edit *e, struct qheader *h)
{
	uint8_t *data = calloc(1, EXT_LEN);
	unsigned i = 0;

	if (!data)
		return -ENOMEM;
	put_be32(data, e->n);
	put_be64(data + 8, e->new_size);
	put_be64(data + 16, e->new_off);
	while (i < h->n_exts && h->exts[i].type != EXT_BITMAPS)
		i++;
	if (i == MAX_EXTS) {
		free(data);
		return -ENOSPC;
	}
	h->autoclear &= ~AUTOCLEAR_BITMAPS;
	if (e->n)
		h->autoclear |= AUTOCLEAR_BITMAPS;
	if (e->n) {
		h->exts[i] = (struct qext){ .type = EXT_BITMAPS, .len = EXT_LEN, .data = data };
		h->n_exts = i == h->n_exts ? i + 1 : h->n_exts;
		return 0;
	}
	free(data);
	if (i < h->n_exts) {
		memmove(&h->exts[i], &h->exts[i + 1], (h->n_exts - i - 1) * sizeof(h->exts[0]));
		h->n_exts--;
	}
	return 0;
}

/* Refcounts first, then the header; after that the image has the new ones. */
static int switch_over(struct edit *e)
{
	struct qcow2 *q = e->q;
	const struct qext *old = qheader_ext(&q->h, EXT_BITMAPS);
	uint8_t *old_data = old ? old->data : NULL;
	struct qheader *h = malloc(sizeof(*h));
	int rc = h ? q_commit(q, true) : -ENOMEM;

	if (rc == 0) {
		*h = q->h;
		rc = ext_change(e, h);
	}
	if (rc == 0) {
		rc = q_header_rewrite(q, h);
		if (rc == 0) {
			memcpy(q->h.exts, h->exts, sizeof(h->exts));
			q->h.n_exts = h->n_exts;
			q->h.autoclear = h->autoclear;
			free(old_data);
		} else if (e->n) {
			free((void *)qheader_ext(h, EXT_BITMAPS)->data);
		}
	}
	free(h);
	return rc;
}

/* What nobody refers to any more. Errors leak clusters, no more. */
static void old_free(struct edit *e)
{
	struct qcow2 *q = e->q;
	bool table = e->found && (e->what->op == QCOW2_BITMAP_REMOVE || e->table_off);
	uint64_t bytes = (uint64_t)e->at.table_n * 8;
	uint8_t *p = NULL;

	if (e->dir_off) {
		q_meta_remove_bytes(q, e->dir_off, e->dir_size);
		q_free_now(q, e->dir_off, q_clusters(q, e->dir_size));
	}
	if (table && e->at.table_off % q->cluster_size == 0 && range_ok(e->at.table_off, bytes, q->file_end) && bytes <= BITS_MAX_BYTES)
		p = co_buf(bytes);
	if (p && co_pread(q->pool, q->bd.file, e->at.table_off, p, bytes) == 0)
		table_free(q, p, e->at.table_n, e->at.table_off);
	free(p);
	q_commit(q, true);
}

static int check(struct edit *e)
{
	const struct qcow2_bitmap_change *w = e->what;
	size_t len = strlen(w->name);

	if (len == 0 || len > NAME_MAX_LEN)
		return err_set(e->err, -EINVAL, "%s: the name of a bitmap has 1 to %d bytes", e->q->bd.name, NAME_MAX_LEN);
	if (w->op != QCOW2_BITMAP_ADD)
		return !e->found ? fail(e, -ENOENT, "is not there") : (e->at.flags & QCOW2_BITMAP_IN_USE) && w->op != QCOW2_BITMAP_REMOVE ?
		       fail(e, -EUCLEAN, "was not saved by the program that used it last, and can only be removed") : 0;
	if (e->found)
		return fail(e, -EEXIST, "is there already");
	if (e->n == QCOW2_BITMAPS_MAX)
		return err_set(e->err, -E2BIG, "%s: has %d bitmaps already, no more can be", e->q->bd.name, QCOW2_BITMAPS_MAX);
	if ((w->granularity & (w->granularity - 1)) != 0 || w->granularity < BIT(GRANULARITY_MIN_BITS) ||
	    w->granularity > BIT(GRANULARITY_MAX_BITS))
		return fail(e, -EINVAL, "needs a granularity that is a power of two from 512 to 2G");
	return 0;
}

static int bits_change(struct edit *e)
{
	struct bits b = { .data = NULL };
	int rc = 0;

	switch (e->what->op) {
	case QCOW2_BITMAP_ADD:
	case QCOW2_BITMAP_CLEAR:
		rc = bits_size(e->q, e->found ? e->at.granularity_bits : (unsigned)__builtin_ctz(e->what->granularity), &b);
		break;
	case QCOW2_BITMAP_MERGE:
		rc = bits_load(e->q, &e->at, &b);
		if (rc == 0 && b.n)
			bits_merge(&b, &e->source);
		break;
	default:
		return 0;
	}
	if (rc == 0)
		rc = bits_store(e, &b);
	free(b.data);
	return rc;
}

static int edit_co(struct qcow2 *q, void *arg)
{
	struct edit *e = arg;
	int rc = dir_load(e);

	if (rc == 0)
		rc = check(e);
	if (rc < 0)
		return rc;
	rc = bits_change(e);
	if (rc == 0)
		rc = dir_build(e);
	if (rc == 0)
		rc = switch_over(e);
	if (rc == 0)
		old_free(e);
	(void)q;
	return rc;
}

static int source_co(struct qcow2 *q, void *arg)
{
	struct edit *e = arg;
	int rc = dir_load(e);

	if (rc == 0)
		rc = check(e);
	return rc < 0 ? rc : bits_load(q, &e->at, &e->source);
}

/* From this image or another: read before anything changes. */
static int source_load(struct blockdev *bd, const struct qcow2_bitmap_change *w, struct bits *source, struct err *err)
{
	struct blockdev *from = w->from ? w->from : bd;
	const struct qcow2_bitmap_change what = { .op = QCOW2_BITMAP_MERGE, .name = w->source };
	struct edit e = { .what = &what, .err = err, .q = qcow2_of(from) };
	int rc;

	if (!e.q)
		return err_set(err, -ENOTSUP, "%s: only qcow2 images have bitmaps", from->name);
	if (from->size != bd->size)
		return err_set(err, -EINVAL, "%s and %s: their sizes differ, so that bitmaps of one say nothing of the other", from->name, bd->name);
	rc = qcow2_run(e.q, source_co, &e);
	free(e.dir);
	*source = e.source;
	if (rc < 0 && err->code == 0)
		err_set_errno(err, rc, "%s: cannot read its bitmap '%s'", from->name, w->source);
	return rc;
}

int qcow2_bitmap_change(struct blockdev *bd, const struct qcow2_bitmap_change *what, struct err *err)
{
	struct edit e = { .what = what, .err = err, .q = qcow2_of(bd) };
	int rc = 0;

	if (!e.q)
		return err_set(err, -ENOTSUP, "%s: only qcow2 images have bitmaps", bd->name);
	if (bd->read_only)
		return err_set(err, -EROFS, "%s: is read-only", bd->name);
	if (what->op == QCOW2_BITMAP_MERGE)
		rc = source_load(bd, what, &e.source, err);
	if (rc == 0)
		rc = qcow2_run(e.q, edit_co, &e);
	if (rc < 0 && err->code == 0)
		err_set_errno(err, rc, "%s: cannot change its bitmap '%s'", bd->name, what->name);
	free(e.source.data);
	free(e.dir);
	free(e.new_dir);
	return rc;
}
