/* SPDX-License-Identifier: MIT */
/*
 * Compressed clusters. They are packed: each begins at the byte where the last one ended, if its host cluster still has room or the next
 * one is free, and every host cluster it touches counts it once. Bytes that share a sector with a neighbour make writes read
 * first, so they pass one at a time; compressing does not. qcow2_inflate.c reads them, qcow2_pack.c packs.
 *
 * Unpacking is libdeflate's, which takes half of zlib's time. What libdeflate does not take, zlib may: a stream that would go on past the
 * cluster.
 */
#include <errno.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "blk/qcow2_priv.h"

#define WINDOW_READ (-15) /* raw deflate of any window */

/* Whole streams only. */
static bool undeflate(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
	size_t used;
	bool ok;

	if (!d)
		return false;
	ok = libdeflate_deflate_decompress_ex(d, in, in_len, out, out_len, &used, NULL) == LIBDEFLATE_SUCCESS;
	libdeflate_free_decompressor(d);
	return ok;
}

static int unzlib(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	z_stream z = { .next_in = (uint8_t *)in, .avail_in = (unsigned)in_len, .next_out = out, .avail_out = (unsigned)out_len };
	int rc;

	if (undeflate(in, in_len, out, out_len))
		return 0;
	if (inflateInit2(&z, WINDOW_READ) != Z_OK)
		return -ENOMEM;
	rc = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	/* More may follow in the last sector; a stream that would go on is cut at a cluster. */
	return z.avail_out == 0 && (rc == Z_STREAM_END || rc == Z_BUF_ERROR || rc == Z_OK) ? 0 : -EIO;
}

static int unzstd(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	ZSTD_inBuffer src = { in, in_len, 0 };
	ZSTD_outBuffer dst = { out, out_len, 0 };
	ZSTD_DCtx *ctx = ZSTD_createDCtx();

	if (!ctx)
		return -ENOMEM;
	while (dst.pos < dst.size) {
		size_t in_before = src.pos, out_before = dst.pos, left = ZSTD_decompressStream(ctx, &dst, &src);

		if (ZSTD_isError(left) || (src.pos == in_before && dst.pos == out_before))
			break;
	}
	ZSTD_freeDCtx(ctx);
	return dst.pos == dst.size ? 0 : -EIO;
}

int q_inflate(const struct qcow2 *q, const uint8_t *in, size_t in_len, uint8_t *out)
{
	return (q->h.compression == QCOW2_ZSTD ? unzstd : unzlib)(in, in_len, out, q->cluster_size);
}

/* Room for `len` bytes where the last ended, or else in a new cluster. `alloc_lock` and `compress_lock` are held. */
static int place_find(struct qcow2 *q, uint32_t len, uint64_t *off)
{
	uint64_t at = q->compress_off, room = at ? q->cluster_size - (at & (q->cluster_size - 1)) : 0, more;
	int rc;

	if (at && len <= room) {
		rc = rc_change(q, at >> q->cluster_bits, 1, 1);
		if (rc == 0) {
			*off = at;
			return 0;
		}
		if (rc != -EOVERFLOW)
			return rc;
		at = 0;
	}
	rc = q_alloc_locked(q, 1, &more);
	if (rc < 0)
		return rc;
	*off = more;
	if (at && more == align_down(at, q->cluster_size) + q->cluster_size) {
		rc = rc_change(q, at >> q->cluster_bits, 1, 1);
		if (rc == 0)
			*off = at;
	}
	return 0;
}

static int place_get(struct qcow2 *q, uint32_t len, uint64_t *off)
{
	unsigned x = 62 - (q->cluster_bits - 8);
	int rc;

	co_lock(q->pool, &q->alloc_lock);
	rc = place_find(q, len, off);
	if (rc == 0) {
		q->compress_off = *off + len;
		if (q->compress_off % q->cluster_size == 0)
			q->compress_off = 0;
	}
	co_unlock(&q->alloc_lock);
	if (rc == 0 && *off + len > BIT64(x)) {
		q_free_now(q, *off, ((*off + len - 1) >> q->cluster_bits) - (*off >> q->cluster_bits) + 1);
		rc = -EFBIG;
	}
	return rc;
}

static int store(struct qcow2 *q, uint64_t guest, const uint8_t *packed, uint32_t len)
{
	unsigned x = 62 - (q->cluster_bits - 8);
	uint64_t off = 0, clusters = 0, entry, bitmap, old;
	struct l2_ref ref;
	int rc = q_l2_prepare(q, guest);

	if (rc < 0)
		return rc;
	co_lock(q->pool, &q->compress_lock);
	rc = place_get(q, len, &off);
	if (rc == 0) {
		clusters = ((off + len - 1) >> q->cluster_bits) - (off >> q->cluster_bits) + 1;
		if (q_meta_hit(q, off, len))
			rc = q_corrupt(q, "metadata lies where compressed data should go, at 0x%llx", (unsigned long long)off);
		q->file_end = max_u64(q->file_end, align_up(off + len, q->cluster_size));
		if (rc == 0)
			rc = co_pwrite(q->pool, q->bd.file, off, packed, len);
	}
	co_unlock(&q->compress_lock);
	if (rc == 0)
		rc = q_l2_get(q, guest, &ref);
	if (rc < 0) {
		if (clusters)
			q_free_now(q, off, clusters);
		return rc;
	}
	q_inflated_forget(q, off, len);
	old = l2_entry_get(q, &ref, ref.index, &bitmap);
	entry = ENTRY_COMPRESSED | off | ((off + len - 1) / BLK_SECTOR - off / BLK_SECTOR) << x;
	l2_entry_set(q, &ref, ref.index, entry, 0);
	q_free_entry(q, old);
	return 0;
}

/* Bytes of the packed cluster, which is `*packed`, or 0; `*owned` is to be freed. */
static int pack(const struct qcow2 *q, const struct blk_req *user, const uint8_t **packed, uint8_t **owned)
{
	struct iov_cursor c;
	uint8_t *plain;
	int rc;

	*owned = NULL;
	*packed = user->packed;
	if (user->packed)
		return user->packed_len < q->cluster_size ? (int)user->packed_len : -EINVAL;
	plain = co_buf(q->cluster_size);
	*owned = co_buf(q->cluster_size);
	rc = plain && *owned ? 0 : -ENOMEM;
	if (rc == 0 && !q_deflate)
		rc = -ENOTSUP;
	if (rc == 0) {
		iov_cursor_init(&c, user->iov, user->n);
		memset(plain + iov_cursor_read(&c, plain, user->len), 0, q->cluster_size - user->len);
		rc = q_deflate(q, plain, *owned);
	}
	free(plain);
	*packed = *owned;
	return rc;
}

int q_compressed_write(struct qcow2 *q, const struct blk_req *user)
{
	uint64_t off = user->off, len = user->len;
	const uint8_t *packed;
	struct qrange range;
	uint8_t *owned;
	int rc;

	if (off % q->cluster_size || len > q->cluster_size || (len < q->cluster_size && off + len != q->bd.size))
		return -EINVAL;
	if (q->has_data_file)
		return -ENOTSUP;
	if (q->corrupt)
		return -EIO;
	rc = pack(q, user, &packed, &owned);
	if (rc > 0) {
		q_range_enter(q, &range, off, off + q->cluster_size);
		rc = store(q, off, packed, (uint32_t)rc);
		q_range_leave(q, &range);
	} else if (rc == 0) {
		rc = q_write(q, off, user->iov, user->n, len);
	}
	free(owned);
	return rc;
}
