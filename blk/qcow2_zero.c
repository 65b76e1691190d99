/* SPDX-License-Identifier: MIT */
/* Zeroes and discards: entries change, no data is written, where the format can say so. */
#include <errno.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"

#define UNLINKED_MAX 1024
#define ALL_ZERO (UINT64_C(0xffffffff) << SUBCLUSTERS)
#define ZERO_BUF (64 * KIB)

enum change { MAKE_ZERO, MAKE_ZERO_UNMAP, DISCARD, DISCARD_FULL };

static uint64_t slice_end(const struct qcow2 *q, uint64_t off)
{
	uint64_t span = (uint64_t)(q->l2.entry_size / q->l2_entry) << q->cluster_bits;

	return align_down(off, span) + span;
}

static int write_out(struct qcow2 *q, uint64_t off, uint64_t len)
{
	uint8_t *buf = co_buf(ZERO_BUF);
	int rc = buf ? 0 : -ENOMEM;

	if (buf)
		memset(buf, 0, ZERO_BUF);
	while (len > 0 && rc == 0) {
		struct iovec iov = { buf, min_u64(len, ZERO_BUF) };

		rc = q_write(q, off, &iov, 1, iov.iov_len);
		off += iov.iov_len;
		len -= iov.iov_len;
	}
	free(buf);
	return rc;
}

/* The entry that a cluster shall have; false: it takes data to say so. [from, to) is the part of the cluster. */
static bool entry_change(const struct qcow2 *q, enum change what, uint64_t *entry, uint64_t *bitmap, uint64_t from, uint64_t to)
{
	bool compressed = *entry & ENTRY_COMPRESSED, shared = !(*entry & ENTRY_COPIED), whole = to - from == q->cluster_size;
	bool unmap = what != MAKE_ZERO, nothing = !*entry && !*bitmap;

	if (what == DISCARD_FULL || (!q->bd.backing && unmap && whole && !q->no_backing)) {
		*entry = *bitmap = 0;
		return true;
	}
	if (nothing && !q->bd.backing && !q->no_backing)
		return true;
	if (q->h.version < 3) {
		if (what == DISCARD)
			return true;
		return false;
	}
	if (!q->extended) {
		*entry = (unmap || shared || compressed ? 0 : *entry & (ENTRY_OFFSET | ENTRY_COPIED)) | ENTRY_ZERO;
		return true;
	}
	if (whole) {
		*entry = unmap || shared || compressed ? 0 : *entry;
		*bitmap = ALL_ZERO;
	} else {
		uint64_t mask = BIT64((to + BIT64(q->sub_bits) - 1) >> q->sub_bits) - BIT64(from >> q->sub_bits);

		if (compressed)
			return false;
		*bitmap = (*bitmap & ~mask) | mask << SUBCLUSTERS;
	}
	return true;
}

/* Changes what it can under one slice; `*by_hand` gets where it stopped because of a cluster that needs data, or `end`. */
static int change_slice(struct qcow2 *q, enum change what, uint64_t off, uint64_t end, uint64_t *by_hand)
{
	struct l2_ref ref;
	int rc = q_l2_get(q, off, &ref);

	*by_hand = end;
	if (rc < 0 || (!ref.table && (what == DISCARD_FULL || (!q->bd.backing && !q->no_backing))))
		return rc; /* nothing there, and nothing below: zeroes */
	rc = q_l2_prepare(q, off);
	if (rc == 0)
		rc = q_l2_get(q, off, &ref);
	if (rc < 0)
		return rc;
	for (uint64_t at = off; at < end; at = align_down(at, q->cluster_size) + q->cluster_size) {
		unsigned i = ref.index + (unsigned)((at >> q->cluster_bits) - (off >> q->cluster_bits));
		uint64_t cluster = align_down(at, q->cluster_size), bitmap, entry = l2_entry_get(q, &ref, i, &bitmap);
		uint64_t new_entry = entry, new_bitmap = bitmap;

		if (!entry_change(q, what, &new_entry, &new_bitmap, at - cluster, min_u64(end, cluster + q->cluster_size) - cluster)) {
			*by_hand = at;
			return 0;
		}
		if (new_entry == entry && new_bitmap == bitmap)
			continue;
		l2_entry_set(q, &ref, i, new_entry, new_bitmap);
		if (((new_entry ^ entry) & ENTRY_OFFSET) || (entry & ENTRY_COMPRESSED))
			q_free_entry(q, entry);
	}
	return 0;
}

static int change(struct qcow2 *q, enum change what, uint64_t off, uint64_t end)
{
	int rc = 0;

	while (off < end && rc == 0) {
		uint64_t stop = min_u64(end, slice_end(q, off)), at;
		struct qrange range;

		if (q->corrupt)
			return -EIO;
		q_range_enter(q, &range, align_down(off, q->cluster_size), align_up(stop, q->cluster_size));
		rc = change_slice(q, what, off, stop, &at);
		q_range_leave(q, &range);
		off = at;
		if (rc == 0 && off < stop) {
			uint64_t part = min_u64(stop, align_down(off, q->cluster_size) + q->cluster_size);

			rc = write_out(q, off, min_u64(part, max_u64(q->bd.size, off)) - off);
			off = part;
		}
	}
	if (rc == 0 && q->unlinked.n > UNLINKED_MAX)
		rc = q_commit(q, false);
	return rc;
}

static int zero_part(struct qcow2 *q, uint64_t off, uint64_t len)
{
	bool zero;
	int rc = q_is_zero(q, off, len, &zero);

	return rc < 0 || zero ? rc : write_out(q, off, len);
}

static int data_file_do(struct qcow2 *q, enum blk_op op, unsigned flags, uint64_t off, uint64_t len)
{
	struct blk_req what = { .op = op, .flags = flags, .off = off, .len = len };

	return co_blk(q->pool, q->data, &what);
}

int q_write_zeroes(struct qcow2 *q, uint64_t off, uint64_t len, bool unmap)
{
	uint64_t sub = BIT64(q->sub_bits), end = off + len, first = align_up(off, sub), last = align_down(end, sub);
	int rc = 0;

	if (q->data_raw)
		return data_file_do(q, BLK_WRITE_ZEROES, unmap ? BLK_REQ_UNMAP : 0, off, len);
	if (end == q->bd.size)
		last = align_up(end, sub);
	if (first >= last)
		return zero_part(q, off, len);
	if (off < first)
		rc = zero_part(q, off, first - off);
	if (rc == 0)
		rc = change(q, unmap ? MAKE_ZERO_UNMAP : MAKE_ZERO, first, last);
	if (rc == 0 && last < end)
		rc = zero_part(q, last, end - last);
	return rc;
}

int q_discard(struct qcow2 *q, uint64_t off, uint64_t len, bool full)
{
	uint64_t end = off + len, first = align_up(off, q->cluster_size), last = align_down(end, q->cluster_size);
	int rc = 0;

	if (end == q->bd.size)
		last = align_up(end, q->cluster_size);
	if (first >= last)
		return 0;
	if (!q->data_raw || full)
		rc = change(q, full ? DISCARD_FULL : DISCARD, first, last);
	if (rc == 0 && q->has_data_file && first < q->data->size)
		rc = data_file_do(q, BLK_DISCARD, 0, first, min_u64(last, q->data->size) - first);
	return rc;
}
