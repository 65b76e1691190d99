/* SPDX-License-Identifier: MIT */
/*
 * Packing of clusters: zlib, as readers know a window of 4 KiB and libdeflate has one of 32 KiB only; and zstd. Apart from what unpacks, since
 * a guest's writes are never stored compressed: what only packs is half of libzstd, and no part of `kite`, which does not refer to this file.
 */
#include <errno.h>
#include <zlib.h>
#include <zstd.h>

#include "blk/qcow2_priv.h"

#define WINDOW_WRITE (-12) /* raw deflate that all readers take */
#define MEM_LEVEL 9

static int zlib(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	z_stream z = { .next_in = (uint8_t *)in, .avail_in = (unsigned)in_len, .next_out = out, .avail_out = (unsigned)out_len };
	int rc;

	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_WRITE, MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	rc = deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return rc == Z_STREAM_END ? (int)(out_len - z.avail_out) : rc == Z_OK || rc == Z_BUF_ERROR ? 0 : -EIO;
}

int q_deflate(const struct qcow2 *q, const uint8_t *in, uint8_t *out)
{
	size_t n;

	if (q->h.compression != QCOW2_ZSTD)
		return zlib(in, q->cluster_size, out, q->cluster_size - 1);
	n = ZSTD_compress(out, q->cluster_size - 1, in, q->cluster_size, ZSTD_CLEVEL_DEFAULT);
	return ZSTD_isError(n) ? 0 : (int)n;
}

int qcow2_compress(const struct blockdev *bd, const void *cluster, void *out)
{
	return q_deflate(CONTAINER_OF(bd, struct qcow2, bd), cluster, out);
}
