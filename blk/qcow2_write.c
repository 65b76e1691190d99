/* SPDX-License-Identifier: MIT */
/*
 * Writes that are not just to clusters in place.
 *
 * A step deals with a run of clusters under one L2 slice that get host clusters next to each other: new ones, or those that were set
 * aside for them before. What of the outer two clusters is not overwritten, and has to be there once they are the image's, is read as a
 * guest would read it and goes out in the same write. In images with subclusters that is only what is left of a subcluster, unless the
 * old cluster is shared or compressed: then also all that it has. The entries follow when the write has ended.
 *
 * A cluster past all that was ever written of a regular file reads as zeroes already, so zeroes around the data are not written there.
 */
#include <errno.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"

#define UNLINKED_MAX 1024

struct run {
	uint64_t off, end; /* guest bytes to be written */
	uint64_t lo, hi;   /* with what is copied around them */
	uint64_t first;    /* guest offset of the first cluster */
	unsigned n;        /* clusters */
	uint64_t host;     /* of the first cluster */
	bool fresh;        /* new clusters */
	bool zeroed;       /* they read as zeroes */
	bool in_place;     /* no step is needed after all */
};

static bool reusable(const struct qcow2 *q, uint64_t entry)
{
	return q->has_data_file || (!(entry & ENTRY_COMPRESSED) && (entry & ENTRY_COPIED) && (entry & ENTRY_OFFSET));
}

static uint64_t host_of(const struct qcow2 *q, uint64_t entry, uint64_t guest)
{
	return q->has_data_file ? guest : entry & ENTRY_OFFSET;
}

static uint64_t sub_mask(const struct qcow2 *q, uint64_t from, uint64_t to)
{
	unsigned a = (unsigned)(from >> q->sub_bits), b = (unsigned)((to + BIT64(q->sub_bits) - 1) >> q->sub_bits);

	return (b >= 64 ? 0 : BIT64(b)) - BIT64(a);
}

/* How far around [off, end) in its cluster the copy reaches. */
static void copy_bounds(const struct qcow2 *q, uint64_t entry, uint64_t bitmap, bool keep_host, uint64_t *off, uint64_t *end)
{
	uint64_t cluster = align_down(*off, q->cluster_size), sub = BIT64(q->sub_bits);
	uint32_t alloc = (uint32_t)bitmap;

	*off = align_down(*off, sub);
	*end = align_up(*end, sub);
	if (keep_host || !q->extended)
		return;
	if (entry & ENTRY_COMPRESSED)
		alloc = UINT32_MAX;
	if (!alloc)
		return;
	*off = min_u64(*off, cluster + (uint64_t)__builtin_ctz(alloc) * sub);
	*end = max_u64(*end, cluster + (uint64_t)(SUBCLUSTERS - __builtin_clz(alloc)) * sub);
}

static bool is_in_place(const struct qcow2 *q, uint64_t entry, uint64_t bitmap, uint64_t from, uint64_t to)
{
	uint64_t mask = sub_mask(q, from & (q->cluster_size - 1), ((to - 1) & (q->cluster_size - 1)) + 1);

	if (!(entry & ENTRY_COPIED) || (entry & ENTRY_COMPRESSED))
		return false;
	return q->extended ? (bitmap & mask) == mask : !(entry & ENTRY_ZERO) && ((entry & ENTRY_OFFSET) || q->has_data_file);
}

/* A part of the file that one refcount block describes has no room for more next to each other, as the block is in it. */
static unsigned most(const struct qcow2 *q)
{
	return (unsigned)BIT64(q->rb_bits) - 1;
}

/* As many clusters from r->off on as one step can take. */
static int run_plan(struct qcow2 *q, struct run *r, uint64_t end)
{
	struct l2_ref ref;
	uint64_t entry, bitmap, lo, hi;
	int rc = q_l2_get(q, r->off, &ref);

	if (rc < 0)
		return rc;
	entry = l2_entry_get(q, &ref, ref.index, &bitmap);
	r->first = align_down(r->off, q->cluster_size);
	r->fresh = !reusable(q, entry);
	r->host = r->fresh ? 0 : host_of(q, entry, r->first);
	r->n = 0;
	if (!r->fresh && r->host % q->cluster_size)
		return q_corrupt(q, "the L2 entry 0x%llx makes no sense", (unsigned long long)entry);
	while (ref.index + r->n < ref.n && r->n < most(q) && r->first + ((uint64_t)r->n << q->cluster_bits) < end) {
		uint64_t guest = r->first + ((uint64_t)r->n << q->cluster_bits);

		entry = l2_entry_get(q, &ref, ref.index + r->n, &bitmap);
		lo = max_u64(guest, r->off);
		hi = min_u64(guest + q->cluster_size, end);
		if (is_in_place(q, entry, bitmap, lo, hi) || reusable(q, entry) == r->fresh ||
		    (!r->fresh && host_of(q, entry, guest) != r->host + (guest - r->first)))
			break;
		r->end = hi;
		copy_bounds(q, entry, bitmap, !r->fresh, &lo, &hi);
		if (r->n++ == 0)
			r->lo = lo;
		r->hi = hi;
	}
	r->in_place = r->n == 0;
	return 0;
}

static int run_link(struct qcow2 *q, const struct run *r)
{
	struct l2_ref ref;
	int rc = q_l2_get(q, r->first, &ref);

	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < r->n; i++) {
		uint64_t guest = r->first + ((uint64_t)i << q->cluster_bits), bitmap, lo = max_u64(r->lo, guest) - guest;
		uint64_t hi = min_u64(r->hi, guest + q->cluster_size) - guest, mask;
		uint64_t old = l2_entry_get(q, &ref, ref.index + i, &bitmap);

		if (q->extended) {
			mask = sub_mask(q, lo, hi);
			bitmap = old & ENTRY_COMPRESSED ? 0 : bitmap;
			bitmap = (bitmap & ~(mask << SUBCLUSTERS)) | mask;
		}
		l2_entry_set(q, &ref, ref.index + i, (r->host + ((uint64_t)i << q->cluster_bits)) | ENTRY_COPIED, bitmap);
		if (r->fresh)
			q_free_entry(q, old);
	}
	return 0;
}

/* What is copied, in front and behind. */
struct edges {
	uint8_t *head, *tail;
	size_t head_len, tail_len;
};

static int edge_read(struct qcow2 *q, const struct run *r, uint64_t off, uint64_t end, uint8_t **buf, size_t *len)
{
	bool zero = false;
	int rc = 0;

	*len = end - off;
	if (*len == 0)
		return 0;
	if (r->zeroed) {
		rc = q_is_zero(q, off, *len, &zero);
		if (rc < 0)
			return rc;
	}
	if (zero) {
		*len = 0;
		return 0;
	}
	*buf = co_buf(*len);
	if (!*buf)
		return -ENOMEM;
	return q_read_buf(q, off, *buf, *len);
}

static int run_write(struct qcow2 *q, const struct run *r, struct iov_cursor *c)
{
	struct co_gather g = { .pool = q->pool };
	struct edges e = { .head = NULL };
	struct iov_cursor all;
	struct iovec *iov;
	size_t n = c->n + 2, used = 0;
	int rc = edge_read(q, r, r->lo, r->off, &e.head, &e.head_len);

	if (rc == 0)
		rc = edge_read(q, r, r->end, r->hi, &e.tail, &e.tail_len);
	iov = rc == 0 ? malloc(n * sizeof(*iov)) : NULL;
	if (rc == 0 && !iov)
		rc = -ENOMEM;
	if (rc == 0) {
		if (e.head_len)
			iov[used++] = (struct iovec){ e.head, e.head_len };
		used += iov_cursor_take(c, r->end - r->off, iov + used, c->n);
		if (e.tail_len)
			iov[used++] = (struct iovec){ e.tail, e.tail_len };
		if (q->data == q->bd.file)
			q->file_end = max_u64(q->file_end, r->host + ((uint64_t)r->n << q->cluster_bits));
		iov_cursor_init(&all, iov, used);
		co_gather_rw(&g, q->data, BLK_WRITE, r->host + (r->off - e.head_len - r->first), &all, all.left);
		rc = co_gather_wait(&g);
	}
	free(iov);
	free(e.head);
	free(e.tail);
	return rc;
}

/* Some of [off, end), which is under one L2 slice and entered as a range. Returns how far it came, or -errno. */
static int64_t write_step(struct qcow2 *q, uint64_t off, uint64_t end, struct iov_cursor *c)
{
	struct run r = { .off = off };
	int rc = q_l2_prepare(q, off);

	if (rc == 0)
		rc = run_plan(q, &r, end);
	if (rc < 0 || r.in_place)
		return rc;
	if (r.fresh) {
		rc = q_alloc(q, r.n, &r.host);
		if (rc < 0)
			return rc;
		r.zeroed = q->bd.file->grows && r.host >= q->file_end;
	}
	if (q->data == q->bd.file && q_meta_hit(q, r.host, (uint64_t)r.n << q->cluster_bits))
		rc = q_corrupt(q, "guest offset 0x%llx is stored where metadata is", (unsigned long long)r.first);
	if (rc == 0)
		rc = run_write(q, &r, c);
	if (rc == 0)
		rc = run_link(q, &r);
	if (rc < 0 && r.fresh)
		q_free_now(q, r.host, r.n);
	return rc < 0 ? rc : (int64_t)(r.end - off);
}

static uint64_t slice_end(const struct qcow2 *q, uint64_t off)
{
	uint64_t span = (uint64_t)(q->l2.entry_size / q->l2_entry) << q->cluster_bits;

	return align_down(off, span) + span;
}

static int write_alloc(struct qcow2 *q, uint64_t *off, uint64_t *len, struct iov_cursor *c)
{
	uint64_t end = min_u64(*off + *len, slice_end(q, *off));
	struct qrange range;
	int64_t n;

	q_range_enter(q, &range, align_down(*off, q->cluster_size), align_up(end, q->cluster_size));
	n = write_step(q, *off, end, c);
	q_range_leave(q, &range);
	if (n < 0)
		return (int)n;
	*off += (uint64_t)n;
	*len -= (uint64_t)n;
	return 0;
}

int q_write(struct qcow2 *q, uint64_t off, const struct iovec *iov, size_t n, uint64_t len)
{
	struct co_gather g = { .pool = q->pool };
	struct iov_cursor c;
	struct qmap m;
	int rc = 0, rc2;

	iov_cursor_init(&c, iov, n);
	while (len > 0 && rc == 0 && g.result == 0) {
		if (q->corrupt) {
			rc = -EIO;
			break;
		}
		rc = q_map(q, off, len, &m);
		if (rc < 0)
			break;
		if (m.type != Q_DATA || !m.copied) {
			rc = write_alloc(q, &off, &len, &c);
			continue;
		}
		if (q->data == q->bd.file && q_meta_hit(q, m.host, m.len)) {
			rc = q_corrupt(q, "guest offset 0x%llx is stored where metadata is", (unsigned long long)off);
			break;
		}
		if (q->data == q->bd.file)
			q->file_end = max_u64(q->file_end, align_up(m.host + m.len, q->cluster_size));
		co_gather_rw(&g, q->data, BLK_WRITE, m.host, &c, m.len);
		off += m.len;
		len -= m.len;
	}
	rc2 = co_gather_wait(&g);
	rc = rc < 0 ? rc : rc2;
	if (rc == 0 && q->unlinked.n > UNLINKED_MAX)
		rc = q_commit(q, false);
	return rc;
}

/* The file has to be as long as its entries say before they are written. A device has whatever was there. */
static int space_make(struct qcow2 *q, uint64_t off, uint64_t len, enum blk_prealloc prealloc)
{
	struct blk_req zero = { .op = BLK_WRITE_ZEROES, .off = off, .len = len };

	if (!q->data->grows) {
		zero.len = min_u64(len, q->data->size - min_u64(off, q->data->size));
		return co_blk(q->pool, q->data, &zero);
	}
	if (q->has_data_file || off + len <= q->data->size)
		return 0;
	return blockdev_truncate(q->data, align_up(off + len, max_u64(q->data->physical_block, BLK_SECTOR)),
				 prealloc == BLK_PREALLOC_METADATA ? BLK_PREALLOC_OFF : prealloc);
}

static int preallocate_step(struct qcow2 *q, uint64_t *off, uint64_t end, enum blk_prealloc prealloc)
{
	struct run r = { .off = *off };
	struct l2_ref ref;
	uint64_t entry, bitmap;
	int rc = q_l2_prepare(q, *off);

	if (rc == 0)
		rc = q_l2_get(q, *off, &ref);
	if (rc < 0)
		return rc;
	r.first = *off;
	for (r.n = 0; ref.index + r.n < ref.n && r.n < most(q) && r.first + ((uint64_t)r.n << q->cluster_bits) < end; r.n++) {
		entry = l2_entry_get(q, &ref, ref.index + r.n, &bitmap);
		if (entry || bitmap)
			break;
	}
	if (r.n == 0) {
		*off += q->cluster_size;
		return 0;
	}
	r.host = r.first;
	if (!q->has_data_file)
		rc = q_alloc(q, r.n, &r.host);
	if (rc < 0)
		return rc;
	if (!q->has_data_file || !q->data_raw)
		rc = space_make(q, r.host, (uint64_t)r.n << q->cluster_bits, prealloc);
	if (rc == 0)
		rc = q_l2_get(q, r.first, &ref);
	for (unsigned i = 0; i < r.n && rc == 0; i++)
		l2_entry_set(q, &ref, ref.index + i, (r.host + ((uint64_t)i << q->cluster_bits)) | ENTRY_COPIED, 0);
	if (rc < 0 && !q->has_data_file)
		q_free_now(q, r.host, r.n);
	if (rc == 0 && !q->has_data_file)
		q->file_end = max_u64(q->file_end, r.host + ((uint64_t)r.n << q->cluster_bits));
	*off = r.first + ((uint64_t)r.n << q->cluster_bits);
	return rc;
}

/* What was used before would show its old contents, so clusters come from the end of the file, if that is where it can grow. */
int q_preallocate(struct qcow2 *q, uint64_t off, uint64_t end, enum blk_prealloc prealloc)
{
	uint64_t hint = q->free_hint;
	int rc = 0;

	if (q->bd.file->grows)
		q->free_hint = q->free_next = max_u64(q->free_next, q_clusters(q, q->file_end));
	off = align_down(off, q->cluster_size);
	while (off < end && rc == 0) {
		struct qrange range;
		uint64_t at = off, stop = min_u64(end, slice_end(q, off));

		q_range_enter(q, &range, at, align_up(stop, q->cluster_size));
		rc = preallocate_step(q, &off, stop, prealloc);
		q_range_leave(q, &range);
	}
	q->free_hint = min_u64(q->free_hint, hint);
	return rc;
}
