/* SPDX-License-Identifier: MIT */
/* Reads that take more than one step: several parts of the map, tables that have to be loaded, compressed clusters, the backing file. */
#include <errno.h>

#include "blk/qcow2_priv.h"

/* Past the end of a shorter backing file there are zeroes. */
static void read_below(struct qcow2 *q, struct co_gather *g, uint64_t off, struct iov_cursor *c, size_t len)
{
	if (q->bd.backing)
		co_gather_rw(g, q->bd.backing, BLK_READ, off, c, len);
	else
		iov_cursor_fill(c, 0, len);
}

int q_read(struct qcow2 *q, uint64_t off, const struct iovec *iov, size_t n, uint64_t len)
{
	struct co_gather g = { .pool = q->pool };
	struct iov_cursor c;
	struct qmap m;
	int rc = 0, rc2;

	iov_cursor_init(&c, iov, n);
	for (; len > 0 && rc == 0 && g.result == 0; off += m.len, len -= m.len) {
		rc = q_map(q, off, len, &m);
		if (rc < 0)
			break;
		switch (m.type) {
		case Q_UNALLOCATED:
			read_below(q, &g, off, &c, m.len);
			break;
		case Q_ZERO:
			iov_cursor_fill(&c, 0, m.len);
			break;
		case Q_DATA:
			q_look_for_cut(q, m.host);
			co_gather_rw(&g, q->data, BLK_READ, m.host, &c, m.len);
			break;
		case Q_COMPRESSED:
			rc = q_compressed_read(q, &g, m.entry, (uint32_t)(off & (q->cluster_size - 1)), &c, m.len);
			break;
		}
	}
	rc2 = co_gather_wait(&g);
	return rc < 0 ? rc : rc2;
}

int q_read_buf(struct qcow2 *q, uint64_t off, void *buf, size_t len)
{
	struct iovec iov = { buf, len };

	return q_read(q, off, &iov, 1, len);
}

/* Holes of a raw backing file count as well; asking that costs no I/O. */
static int below_is_zero(struct qcow2 *q, uint64_t off, uint64_t len, bool *zero)
{
	struct blockdev *below = q->bd.backing;
	struct blk_status st = { .len = 0 };

	*zero = true;
	while (below && off < below->size && *zero && len > 0) {
		struct blk_req what = { .op = BLK_STATUS, .off = off, .len = min_u64(len, below->size - off), .status = &st };
		int rc = co_blk(q->pool, below, &what);

		if (rc < 0)
			return rc;
		*zero = (st.flags & BLK_ST_ZERO) || (!(st.flags & BLK_ST_ALLOCATED) && !below->backing);
		off += st.len;
		len -= min_u64(len, st.len);
	}
	return 0;
}

int q_is_zero(struct qcow2 *q, uint64_t off, uint64_t len, bool *zero)
{
	struct qmap m;
	int rc = 0;

	*zero = true;
	for (; len > 0 && *zero && rc == 0; off += m.len, len -= m.len) {
		rc = q_map(q, off, len, &m);
		if (rc < 0)
			break;
		if (m.type == Q_UNALLOCATED)
			rc = below_is_zero(q, off, m.len, zero);
		else
			*zero = m.type == Q_ZERO;
	}
	return rc;
}
