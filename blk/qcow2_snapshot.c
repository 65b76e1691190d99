/* SPDX-License-Identifier: MIT */
/* The table of internal snapshots: read, written, listed. qcow2_snapshot_ops.c makes and deletes them. */
#include <errno.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"
#include "vmm/err.h"

#define ENTRY_FIXED 40
#define EXTRA_KNOWN 24 /* VM state size, disk size, instruction count */

void q_snapshot_fini(struct snapshot *s)
{
	free(s->id);
	free(s->name);
	free(s->extra);
}

void q_snapshots_free(struct snapshot *snaps, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		q_snapshot_fini(&snaps[i]);
	free(snaps);
}

static size_t extra_size(const struct snapshot *s)
{
	return (s->icount == UINT64_MAX && !s->extra_len ? 16 : EXTRA_KNOWN) + s->extra_len;
}

static size_t entry_size(const struct snapshot *s)
{
	return align_up(ENTRY_FIXED + extra_size(s) + strlen(s->id) + strlen(s->name), 8);
}

int q_snapshot_tables_size(const struct snapshot *snaps, unsigned n, uint64_t *bytes)
{
	*bytes = 0;
	for (unsigned i = 0; i < n; i++)
		*bytes += entry_size(&snaps[i]);
	return *bytes > MAX_SNAPSHOT_TABLE ? -EFBIG : 0;
}

/* Reads on through the table in pieces, as its length is in none of its fields. */
struct reader {
	struct qcow2 *q;
	uint64_t off, end;
};

static int take(struct reader *r, void *buf, size_t len)
{
	int rc = 0;

	if (len > r->end - r->off)
		return -EINVAL;
	if (buf && len)
		rc = co_pread(r->q->pool, r->q->bd.file, r->off, buf, len);
	r->off += len;
	return rc;
}

static int take_string(struct reader *r, char **out, size_t len)
{
	int rc;

	*out = malloc(len + 1);
	if (!*out)
		return -ENOMEM;
	rc = take(r, *out, len);
	if (rc < 0)
		return rc;
	(*out)[len] = 0;
	return strlen(*out) == len ? 0 : -EINVAL;
}

static int take_extra(struct reader *r, struct snapshot *s, uint32_t len)
{
	uint8_t known[EXTRA_KNOWN] = { 0 };
	uint32_t have = (uint32_t)min_u64(len, sizeof(known));
	int rc = take(r, known, have);

	s->icount = UINT64_MAX;
	s->disk_size = r->q->h.size;
	if (have >= 8)
		s->vm_state = get_be64(known);
	if (have >= 16)
		s->disk_size = get_be64(known + 8);
	if (have >= 24)
		s->icount = get_be64(known + 16);
	if (rc < 0 || len == have)
		return rc;
	s->extra_len = len - have;
	s->extra = malloc(s->extra_len);
	return s->extra ? take(r, s->extra, s->extra_len) : -ENOMEM;
}

static int take_snapshot(struct reader *r, struct snapshot *s)
{
	uint64_t start = r->off;
	uint8_t p[ENTRY_FIXED];
	uint32_t extra;
	int rc = take(r, p, sizeof(p));

	if (rc < 0)
		return rc;
	s->l1_off = get_be64(p);
	s->l1_n = get_be32(p + 8);
	s->sec = get_be32(p + 16);
	s->nsec = get_be32(p + 20);
	s->clock_ns = get_be64(p + 24);
	s->vm_state = get_be32(p + 32);
	extra = get_be32(p + 36);
	if (extra > MAX_SNAPSHOT_EXTRA || (uint64_t)s->l1_n * 8 > MAX_L1_BYTES)
		return -EFBIG;
	rc = take_extra(r, s, extra);
	if (rc == 0)
		rc = take_string(r, &s->id, get_be16(p + 12));
	if (rc == 0)
		rc = take_string(r, &s->name, get_be16(p + 14));
	return rc < 0 ? rc : take(r, NULL, min_u64(align_up(r->off - start, 8) - (r->off - start), r->end - r->off));
}

int q_snapshots_load(struct qcow2 *q, struct err *err)
{
	struct reader r = { .q = q, .off = q->h.snap_off, .end = min_u64(q->h.snap_off + MAX_SNAPSHOT_TABLE, q->file_end) };
	int rc = 0;

	for (unsigned i = 0; i < q->h.n_snapshots && rc == 0; i++) {
		if ((i & (i - 1)) == 0) { /* full: twice as many */
			struct snapshot *more = realloc(q->snaps, (i ? i * 2 : 1) * sizeof(*more));

			if (!more)
				return err_set_errno(err, -ENOMEM, "%s", q->bd.name);
			q->snaps = more;
		}
		q->snaps[i] = (struct snapshot){ .l1_off = 0 };
		q->n_snaps = i + 1;
		rc = take_snapshot(&r, &q->snaps[i]);
	}
	return rc < 0 ? err_set_errno(err, rc, "%s: cannot read its snapshot table", q->bd.name) : 0;
}

int q_snapshot_find(const struct qcow2 *q, const char *what)
{
	for (unsigned i = 0; i < q->n_snaps; i++)
		if (!strcmp(q->snaps[i].id, what))
			return (int)i;
	for (unsigned i = 0; i < q->n_snaps; i++)
		if (!strcmp(q->snaps[i].name, what))
			return (int)i;
	return -1;
}

static size_t put_snapshot(const struct snapshot *s, uint8_t *p)
{
	size_t extra = extra_size(s), id = strlen(s->id), name = strlen(s->name);

	put_be64(p, s->l1_off);
	put_be32(p + 8, s->l1_n);
	put_be16(p + 12, (uint16_t)id);
	put_be16(p + 14, (uint16_t)name);
	put_be32(p + 16, s->sec);
	put_be32(p + 20, s->nsec);
	put_be64(p + 24, s->clock_ns);
	put_be32(p + 32, s->vm_state > UINT32_MAX ? UINT32_MAX : (uint32_t)s->vm_state);
	put_be32(p + 36, (uint32_t)extra);
	put_be64(p + 40, s->vm_state);
	put_be64(p + 48, s->disk_size);
	if (extra >= EXTRA_KNOWN)
		put_be64(p + 56, s->icount);
	if (s->extra_len)
		memcpy(p + ENTRY_FIXED + EXTRA_KNOWN, s->extra, s->extra_len);
	memcpy(p + ENTRY_FIXED + extra, s->id, id);
	memcpy(p + ENTRY_FIXED + extra + id, s->name, name);
	return entry_size(s);
}

int q_snapshots_write(struct qswitch *s, const struct snapshot *snaps, unsigned n)
{
	struct qcow2 *q = s->q;
	uint64_t bytes, old_bytes, len;
	uint8_t *buf;
	size_t at = 0;
	int rc = q_snapshot_tables_size(snaps, n, &bytes);

	if (rc == 0)
		rc = q_snapshot_tables_size(q->snaps, q->n_snaps, &old_bytes);
	if (rc == 0 && q->n_snaps)
		rc = qswitch_count(s, q->h.snap_off, old_bytes, -1);
	s->to.snap_off = 0;
	s->to.n_snapshots = n;
	if (rc < 0 || n == 0)
		return rc;
	len = align_up(bytes, q->cluster_size);
	buf = co_buf(len);
	rc = buf ? qswitch_alloc(s, len >> q->cluster_bits, &s->to.snap_off) : -ENOMEM;
	if (rc == 0) {
		memset(buf, 0, len);
		for (unsigned i = 0; i < n; i++)
			at += put_snapshot(&snaps[i], buf + at);
		rc = qswitch_write(s, s->to.snap_off, buf, len);
	}
	free(buf);
	return rc;
}

int qcow2_snapshots(struct blockdev *bd, struct qcow2_snapshot_info **list)
{
	struct qcow2 *q = qcow2_of(bd);
	struct qcow2_snapshot_info *l;

	*list = NULL;
	if (!q)
		return -ENOTSUP;
	if (q->n_snaps == 0)
		return 0;
	l = calloc(q->n_snaps, sizeof(*l));
	for (unsigned i = 0; l && i < q->n_snaps; i++) {
		const struct snapshot *s = &q->snaps[i];

		l[i] = (struct qcow2_snapshot_info){ .id = strdup(s->id), .name = strdup(s->name), .vm_state_size = s->vm_state,
						     .disk_size = s->disk_size, .date_sec = s->sec, .date_nsec = s->nsec,
						     .vm_clock_ns = s->clock_ns, .icount = s->icount };
		if (!l[i].id || !l[i].name) {
			qcow2_snapshots_free(l, (int)i + 1);
			l = NULL;
		}
	}
	*list = l;
	return l ? (int)q->n_snaps : -ENOMEM;
}

void qcow2_snapshots_free(struct qcow2_snapshot_info *list, int n)
{
	for (int i = 0; i < n; i++) {
		free(list[i].id);
		free(list[i].name);
	}
	free(list);
}
