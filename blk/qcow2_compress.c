/* SPDX-License-Identifier: MIT */
/*
 * Compressed clusters. They are packed: each begins at the byte where the last one ended, if its host cluster still has room or the next
 * one is free, and every host cluster it touches counts it once. Bytes that share a sector with a neighbour make writes read
 * first, so they pass one at a time; compressing does not. qcow2_inflate.c reads them, qcow2_pack.c packs.
 *
 * Unpacking zlib's is libdeflate's, which takes half of zlib's time. libzstd is loaded by an image whose clusters are packed with it.
 */
#include <errno.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "blk/qcow2_priv.h"
#include "vmm/dynlib.h"
#include "vmm/err.h"

struct q_zstd {
	__typeof__(ZSTD_createDCtx) *create;
	__typeof__(ZSTD_decompressStream) *decompress;
	__typeof__(ZSTD_freeDCtx) *free;
	__typeof__(ZSTD_isError) *is_error;
};

static const struct dynlib zstd_lib = {
	.file = "libzstd.so.1",
	.functions = (const struct dynlib_function[]){
		{ "ZSTD_createDCtx", offsetof(struct q_zstd, create) },
		{ "ZSTD_decompressStream", offsetof(struct q_zstd, decompress) },
		{ "ZSTD_freeDCtx", offsetof(struct q_zstd, free) },
		{ "ZSTD_isError", offsetof(struct q_zstd, is_error) },
	},
	.n = 4,
};

int q_inflate_prepare(struct qcow2 *q, struct err *err)
{
	if (q->h.compression != QCOW2_ZSTD)
		return 0;
	q->zstd = malloc(sizeof(*q->zstd));
	if (!q->zstd)
		return err_set_errno(err, -ENOMEM, "%s", q->bd.name);
	if (dynlib_load(&zstd_lib, q->zstd, err) < 0)
		return err_prefix(err, "%s: is compressed with zstd", q->bd.name);
	return 0;
}

void qcow2_preload(void)
{
	struct q_zstd zstd;
	struct err err = ERR_INIT;

	(void)dynlib_load(&zstd_lib, &zstd, &err); /* who then opens such an image is told */
}

/* 0 or -errno: -ENOSPC for a stream that goes on past `out_len`. `got` NULL: just so many bytes. What follows in the last sector is somebody else's. */
static int undeflate(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, size_t *got)
{
	struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
	enum libdeflate_result rc;
	size_t used;

	if (!d)
		return -ENOMEM;
	rc = libdeflate_deflate_decompress_ex(d, in, in_len, out, out_len, &used, got);
	libdeflate_free_decompressor(d);
	if (rc == LIBDEFLATE_INSUFFICIENT_SPACE)
		return -ENOSPC;
	return rc == LIBDEFLATE_SUCCESS ? 0 : -EIO;
}

/* A stream that goes on past the cluster, which no writer makes on purpose, is cut there, as QEMU does: up to so many clusters. */
#define OVERLONG 4

static int unzlib(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	int rc = undeflate(in, in_len, out, out_len, NULL);
	uint8_t *more;
	size_t got;

	if (rc != -ENOSPC)
		return rc;
	more = malloc(OVERLONG * out_len);
	if (!more)
		return -ENOMEM;
	rc = undeflate(in, in_len, more, OVERLONG * out_len, &got);
	if (rc == 0)
		memcpy(out, more, out_len);
	free(more);
	return rc == -ENOSPC ? -EIO : rc;
}

static int unzstd(const struct q_zstd *zstd, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	ZSTD_inBuffer src = { in, in_len, 0 };
	ZSTD_outBuffer dst = { out, out_len, 0 };
	ZSTD_DCtx *ctx = zstd->create();

	if (!ctx)
		return -ENOMEM;
	while (dst.pos < dst.size) {
		size_t in_before = src.pos, out_before = dst.pos, left = zstd->decompress(ctx, &dst, &src);

		if (zstd->is_error(left) || (src.pos == in_before && dst.pos == out_before))
			break;
	}
	zstd->free(ctx);
	return dst.pos == dst.size ? 0 : -EIO;
}

int q_inflate(const struct qcow2 *q, const uint8_t *in, size_t in_len, uint8_t *out)
{
	if (q->h.compression == QCOW2_ZSTD)
		return unzstd(q->zstd, in, in_len, out, q->cluster_size);
	return unzlib(in, in_len, out, q->cluster_size);
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
