/* SPDX-License-Identifier: MIT */
/*
 * Internal snapshots made, gone back to, and deleted. A snapshot is an L1 table, and a count on every cluster that can be reached through it.
 * Each of the three is one switch of the header (qcow2_switch.c) to other counts, another active L1 table and another table of snapshots.
 *
 * A new snapshot takes the L1 and L2 tables that were active, and the active side gets copies; so the copied flags in a snapshot's tables
 * mean nothing, as the specification has it, and those of tables that become active are put right then.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

#include "blk/qcow2_priv.h"
#include "vmm/err.h"

#define ID_MAX 65535

struct snap_job {
	const char *what;
	struct err *err;
};

static char *new_id(const struct qcow2 *q)
{
	unsigned long max = 0;
	char text[24];

	for (unsigned i = 0; i < q->n_snaps; i++)
		max = max_u64(max, strtoul(q->snaps[i].id, NULL, 10));
	snprintf(text, sizeof(text), "%lu", max + 1);
	return strdup(text);
}

static int create_switch(struct qswitch *s, const struct snapshot *snaps)
{
	struct qcow2 *q = s->q;
	int rc = qswitch_begin(s, q);

	if (rc == 0)
		rc = qswitch_walk(s, q->l1, q->h.l1_n, 1);
	if (rc == 0)
		rc = q_snapshots_write(s, snaps, q->n_snaps + 1);
	if (rc == 0)
		rc = qswitch_l1(s, q->l1, q->h.l1_n);
	return rc < 0 ? rc : qswitch_end(s);
}

static int create_steps(struct qcow2 *q, const struct snapshot *snap)
{
	struct snapshot *snaps = calloc(q->n_snaps + 1, sizeof(*snaps));
	struct qswitch s = { .q = q };
	int rc;

	if (!snaps)
		return -ENOMEM;
	if (q->n_snaps)
		memcpy(snaps, q->snaps, q->n_snaps * sizeof(*snaps));
	snaps[q->n_snaps] = *snap;
	rc = create_switch(&s, snaps);
	qswitch_fini(&s);
	if (rc < 0) {
		free(snaps);
		return rc;
	}
	free(q->snaps);
	q->snaps = snaps;
	q->n_snaps++;
	return 0;
}

static int create_co(struct qcow2 *q, void *arg)
{
	struct snap_job *job = arg;
	struct snapshot s = { .l1_off = q->h.l1_off, .l1_n = q->h.l1_n, .disk_size = q->h.size, .icount = UINT64_MAX };
	struct timeval now;
	int rc = -ENOMEM;

	if (q->n_snaps >= QCOW2_SNAPSHOTS_MAX)
		return err_set(job->err, -EFBIG, "%s: has 65536 snapshots already; delete some", q->bd.name);
	if (strlen(job->what) > ID_MAX)
		return err_set(job->err, -EINVAL, "%s: the snapshot's name is too long", q->bd.name);
	gettimeofday(&now, NULL);
	s.sec = (uint32_t)now.tv_sec;
	s.nsec = (uint32_t)now.tv_usec * 1000;
	s.id = new_id(q);
	s.name = strdup(job->what);
	if (s.id && s.name)
		rc = create_steps(q, &s);
	if (rc == 0)
		return 0;
	free(s.id);
	free(s.name);
	if (rc == -EOVERFLOW)
		return err_set(job->err, rc, "%s: cannot make the snapshot '%s': refcounts of %u bits have no room for one more", q->bd.name, job->what,
			       BIT(q->h.refcount_order));
	return err_set_errno(job->err, rc, "%s: cannot make the snapshot '%s'", q->bd.name, job->what);
}

/* A snapshot's own clusters go, and what it reaches is counted once less. */
static int delete_switch(struct qswitch *s, const struct snapshot *gone, const struct snapshot *rest)
{
	struct qcow2 *q = s->q;
	uint64_t *l1 = NULL;
	int rc = qswitch_begin(s, q);

	if (rc == 0)
		rc = q_l1_read(q, gone->l1_off, gone->l1_n, &l1);
	if (rc == 0)
		rc = qswitch_walk(s, l1, gone->l1_n, -1);
	if (rc == 0)
		rc = qswitch_count(s, gone->l1_off, (uint64_t)gone->l1_n * 8, -1);
	if (rc == 0)
		rc = q_snapshots_write(s, rest, q->n_snaps - 1);
	if (rc == 0)
		rc = qswitch_count(s, q->h.l1_off, (uint64_t)q->h.l1_n * 8, -1);
	if (rc == 0)
		rc = qswitch_l1(s, q->l1, q->h.l1_n);
	free(l1);
	return rc < 0 ? rc : qswitch_end(s);
}

static int delete_steps(struct qcow2 *q, unsigned i)
{
	struct snapshot gone = q->snaps[i], *snaps = calloc(q->n_snaps, sizeof(*snaps));
	struct qswitch s = { .q = q };
	int rc;

	if (!snaps)
		return -ENOMEM;
	memcpy(snaps, q->snaps, i * sizeof(*snaps));
	memcpy(snaps + i, q->snaps + i + 1, (q->n_snaps - i - 1) * sizeof(*snaps));
	rc = delete_switch(&s, &gone, snaps);
	qswitch_fini(&s);
	if (rc < 0) {
		free(snaps);
		return rc;
	}
	free(q->snaps);
	q->snaps = snaps;
	q->n_snaps--;
	q_snapshot_fini(&gone);
	return 0;
}

static int delete_co(struct qcow2 *q, void *arg)
{
	struct snap_job *job = arg;
	int i = q_snapshot_find(q, job->what), rc;

	if (i < 0)
		return err_set(job->err, -ENOENT, "%s: has no snapshot '%s'", q->bd.name, job->what);
	rc = delete_steps(q, (unsigned)i);
	return rc < 0 ? err_set_errno(job->err, rc, "%s: cannot delete the snapshot '%s'", q->bd.name, job->what) : 0;
}

static int apply_switch(struct qswitch *s, const struct snapshot *snap)
{
	struct qcow2 *q = s->q;
	uint64_t *l1 = NULL;
	int rc = qswitch_begin(s, q);

	if (rc == 0 && (uint64_t)snap->l1_n << (q->l2_bits + q->cluster_bits) < snap->disk_size)
		rc = -EINVAL;
	if (rc == 0)
		rc = q_l1_read(q, snap->l1_off, snap->l1_n, &l1);
	if (rc == 0)
		rc = qswitch_walk(s, q->l1, q->h.l1_n, -1);
	if (rc == 0)
		rc = qswitch_count(s, q->h.l1_off, (uint64_t)q->h.l1_n * 8, -1);
	if (rc == 0)
		rc = qswitch_walk(s, l1, snap->l1_n, 1);
	if (rc == 0)
		rc = qswitch_l1(s, l1, snap->l1_n);
	free(l1);
	s->to.size = snap->disk_size;
	return rc < 0 ? rc : qswitch_end(s);
}

static int apply_co(struct qcow2 *q, void *arg)
{
	struct snap_job *job = arg;
	int i = q_snapshot_find(q, job->what), rc;
	struct qswitch s = { .q = q };

	if (i < 0)
		return err_set(job->err, -ENOENT, "%s: has no snapshot '%s'", q->bd.name, job->what);
	rc = q_bitmaps_invalidate(q);
	if (rc == 0)
		rc = apply_switch(&s, &q->snaps[i]);
	qswitch_fini(&s);
	if (rc < 0)
		return err_set_errno(job->err, rc, "%s: cannot go back to the snapshot '%s'", q->bd.name, job->what);
	q->bd.size = align_down(q->h.size, BLK_SECTOR);
	return 0;
}

static int snapshot_run(struct blockdev *bd, int (*fn)(struct qcow2 *q, void *arg), const char *what, struct err *err)
{
	struct qcow2 *q = qcow2_of(bd);
	struct snap_job job = { .what = what, .err = err };

	if (!q)
		return err_set(err, -ENOTSUP, "%s: only qcow2 images have snapshots", bd->name);
	if (bd->read_only)
		return err_set(err, -EROFS, "%s: is open read-only", bd->name);
	if (q->has_data_file)
		return err_set(err, -ENOTSUP, "%s: images with an external data file have no snapshots", bd->name);
	blockdev_drain(bd);
	if (q->corrupt)
		return err_set(err, -EIO, "%s: is corrupt; repair it: kite-img check -r all", bd->name);
	return qcow2_run(q, fn, &job);
}

int qcow2_snapshot_create(struct blockdev *bd, const char *name, struct err *err)
{
	return snapshot_run(bd, create_co, name, err);
}

int qcow2_snapshot_apply(struct blockdev *bd, const char *id_or_name, struct err *err)
{
	int rc = snapshot_run(bd, apply_co, id_or_name, err);

	if (rc == 0 && bd->resized)
		bd->resized(bd->resized_opaque);
	return rc;
}

int qcow2_snapshot_delete(struct blockdev *bd, const char *id_or_name, struct err *err)
{
	return snapshot_run(bd, delete_co, id_or_name, err);
}
