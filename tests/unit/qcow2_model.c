/* SPDX-License-Identifier: MIT */
#include "tests/unit/qcow2_model.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_frontend.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define S BLK_SECTOR
#define SINCE_MAX 4096

static void fill(uint8_t *p, uint64_t sector, uint32_t version)
{
	uint64_t v = version ? (uint64_t)version << 32 | (uint32_t)sector : 0;

	for (unsigned i = 0; i < S / 8; i++)
		memcpy(p + i * 8, &v, 8);
}

/* The version of a sector, UINT32_MAX for a mixture or somebody else's. */
static uint32_t version_of(const uint8_t *p, uint64_t sector)
{
	uint64_t v;

	memcpy(&v, p, 8);
	if (memcmp(p, p + 8, S - 8) != 0 || (v && (uint32_t)v != (uint32_t)sector))
		return UINT32_MAX;
	return (uint32_t)(v >> 32);
}

static int open_child(void *opaque, enum qcow2_child which, const char *name, const char *format, struct blockdev **child, struct err *err)
{
	struct qm *m = opaque;

	(void)name, (void)format, (void)err;
	*child = which == QCOW2_BACKING ? &m->base->bd : &m->data->bd;
	return 0;
}

static void sector_set(struct qm_sector *s, uint32_t version)
{
	s->since = realloc(s->since, (s->n_since + 1) * sizeof(s->since[0]));
	s->since[s->n_since++] = version;
	ck_assert_uint_lt(s->n_since, SINCE_MAX);
}

void qm_open(struct qm *m)
{
	struct err err = ERR_INIT;

	m->open.open_child = open_child;
	m->open.opaque = m;
	m->bd = qcow2_open(&m->file->bd, &m->open, &err);
	ck_assert_msg(m->bd != NULL, "open: %s", err.msg);
	ck_assert_uint_eq(m->bd->size, m->size);
}

void qm_close(struct qm *m)
{
	blockdev_close(m->bd);
	m->bd = NULL;
}

static void base_make(struct qm *m)
{
	m->base = fake_file_create(m->loop, m->size);
	m->base->keep = true;
	m->base->bd.grows = false;
	m->base->bd.read_only = true;
	m->base_size = align_down(m->size * 2 / 3, S);
	m->base->bd.size = m->base_size;
	for (uint64_t i = 0; i < m->base_size / S; i++) {
		uint32_t v = i / 64 % 3 ? 1 : 0;

		fill(m->base->data + i * S, i, v);
		m->sectors[i].now = m->sectors[i].flushed = v;
	}
}

void qm_init(struct qm *m, uint64_t seed, const struct qcow2_create_config *create)
{
	struct err err = ERR_INIT;

	*m = (struct qm){ .create = *create, .seed = seed, .version = 1, .size = create->size };
	m->loop = fake_loop();
	m->file = fake_file_create(m->loop, QM_CAP);
	m->file->keep = true;
	m->file->seed = seed;
	m->sectors = calloc(m->size / S * 2, sizeof(m->sectors[0]));
	if (create->backing_file)
		base_make(m);
	if (create->data_file) {
		m->data = fake_file_create(m->loop, QM_CAP);
		m->data->keep = true;
		m->data->seed = seed + 1;
		m->create.data = &m->data->bd;
	}
	m->open.discard = BLK_DISCARD_UNMAP;
	ck_assert_msg(qcow2_create(&m->file->bd, &m->create, &err) == 0, "create: %s", err.msg);
	qm_open(m);
}

void qm_fini(struct qm *m)
{
	if (m->bd)
		qm_close(m);
	for (uint64_t i = 0; i < m->create.size / S * 2; i++)
		free(m->sectors[i].since);
	free(m->sectors);
	fake_file_free(m->file);
	fake_file_free(m->base);
	fake_file_free(m->data);
	eventloop_destroy(m->loop);
}

static void turn_end(void *opaque)
{
	eventloop_stop(opaque);
}

static void turn(struct qm *m)
{
	struct event_work end = { .run = turn_end, .opaque = m->loop };

	eventloop_post(m->loop, &end);
	eventloop_run(m->loop);
}

static void op_verify(struct qm_op *op)
{
	for (uint64_t i = 0; i < op->req.len / S; i++) {
		uint64_t sector = op->req.off / S + i;
		uint32_t v = version_of(op->buf + i * S, sector);

		ck_assert_msg(v == op->m->sectors[sector].now, "seed op %llu: sector %llu reads as version %u, not %u",
			      (unsigned long long)op->started, (unsigned long long)sector, v, op->m->sectors[sector].now);
	}
}

/* A flush covers what had ended when it was submitted: the numbers of that moment, kept in `buf`. */
static void flush_done(struct qm_op *op)
{
	const uint64_t *then = (const uint64_t *)(const void *)op->buf;

	for (uint64_t i = 0; i < op->req.len / S; i++) {
		struct qm_sector *s = &op->m->sectors[i];
		unsigned k;

		if (then[i] < s->base + 1)
			continue;
		k = (unsigned)(then[i] - s->base);
		s->flushed = s->since[k - 1];
		memmove(s->since, s->since + k, (s->n_since - k) * sizeof(s->since[0]));
		s->n_since -= k;
		s->base += k;
	}
}

static void op_done(struct blk_req *req, int result)
{
	struct qm_op *op = CONTAINER_OF(req, struct qm_op, req);
	struct qm *m = op->m;
	bool all = req->op == BLK_FLUSH;

	ck_assert(op->active);
	op->result = result;
	if (result < 0) {
		ck_assert_msg(m->may_fail, "seed op %llu: op %d at 0x%llx + 0x%llx: %d", (unsigned long long)op->started, req->op,
			      (unsigned long long)req->off, (unsigned long long)req->len, result);
		m->errors++;
	}
	for (uint64_t i = 0; i < req->len / S && !all; i++) {
		struct qm_sector *s = &m->sectors[req->off / S + i];

		if (result == 0 && (req->op == BLK_WRITE || req->op == BLK_WRITE_ZEROES))
			s->now = op->version, s->done = s->base + s->n_since;
		else if (req->op != BLK_READ)
			s->now = UINT32_MAX - 1; /* unknown: to be read */
		s->busy = false;
	}
	if (result == 0 && req->op == BLK_READ)
		op_verify(op);
	if (result == 0 && req->op == BLK_FLUSH)
		flush_done(op);
	free(op->buf);
	op->buf = NULL;
	op->active = false;
}

/* After a discard or an error a sector may have any of its versions; the image says which. */
static void learn(struct qm *m, uint64_t sector)
{
	struct qm_sector *s = &m->sectors[sector];
	uint8_t buf[S] __attribute__((aligned(512)));
	bool known = false;
	uint32_t v;

	if (blockdev_do(m->bd, BLK_READ, 0, sector * S, buf, S) < 0)
		return;
	v = version_of(buf, sector);
	known = v == s->flushed;
	for (unsigned i = 0; i < s->n_since; i++)
		known |= s->since[i] == v;
	ck_assert_msg(known, "sector %llu has version %u out of nowhere", (unsigned long long)sector, v);
	s->now = v;
	sector_set(s, v);
	s->done = s->base + s->n_since;
}

static bool op_prepare(struct qm *m, struct qm_op *op, enum blk_op kind)
{
	uint64_t n = m->size / S, off = fake_random(&m->seed) % n, len = 1 + fake_random(&m->seed) % 40;
	uint32_t cluster = m->create.cluster_size;

	if (fake_random(&m->seed) % 4 == 0) /* whole clusters */
		off = align_down(off, cluster / S), len = align_up(len, cluster / S);
	if (op->req.flags & BLK_REQ_COMPRESSED)
		off = align_down(off, cluster / S), len = cluster / S;
	len = min_u64(len, n - off);
	for (uint64_t i = off; i < off + len; i++)
		if (m->sectors[i].busy)
			return false;
	for (uint64_t i = off; i < off + len; i++)
		if (m->sectors[i].now == UINT32_MAX - 1)
			return false;
	op->version = kind == BLK_WRITE ? ++m->version : 0;
	op->buf = calloc(len, S);
	for (uint64_t i = 0; i < len; i++) {
		struct qm_sector *s = &m->sectors[off + i];

		s->busy = true;
		if (kind == BLK_WRITE)
			fill(op->buf + i * S, off + i, op->version);
		if (kind != BLK_READ)
			sector_set(s, op->version);
	}
	op->req.off = off * S;
	op->req.len = len * S;
	/* Two buffers, cut anywhere. */
	op->iov[0] = (struct iovec){ op->buf, fake_random(&m->seed) % (len * S + 1) };
	op->iov[1] = (struct iovec){ op->buf + op->iov[0].iov_len, len * S - op->iov[0].iov_len };
	op->req.iov = op->iov;
	op->req.n = 2;
	return true;
}

static void flush_prepare(struct qm *m, struct qm_op *op)
{
	uint64_t *then = calloc(m->size / S, sizeof(*then));

	for (uint64_t i = 0; i < m->size / S; i++)
		then[i] = m->sectors[i].done;
	op->buf = (uint8_t *)then;
	op->req.len = m->size;
}

static void start(struct qm *m)
{
	static const enum blk_op kinds[] = { BLK_READ, BLK_READ, BLK_WRITE, BLK_WRITE, BLK_WRITE, BLK_WRITE, BLK_WRITE_ZEROES, BLK_DISCARD, BLK_FLUSH };
	enum blk_op kind = kinds[fake_random(&m->seed) % ARRAY_SIZE(kinds)];
	struct qm_op *op = NULL;

	for (unsigned i = 0; i < QM_DEPTH; i++)
		if (!m->ops[i].active)
			op = &m->ops[i];
	if (!op)
		return;
	*op = (struct qm_op){ .m = m, .started = ++m->n_ops };
	op->req.op = kind;
	op->req.done = op_done;
	if (kind == BLK_WRITE_ZEROES && fake_random(&m->seed) % 2)
		op->req.flags = BLK_REQ_UNMAP;
	if (kind == BLK_WRITE && !m->create.data_file && fake_random(&m->seed) % 8 == 0)
		op->req.flags = BLK_REQ_COMPRESSED;
	if (kind == BLK_FLUSH)
		flush_prepare(m, op);
	else if (!op_prepare(m, op, kind))
		return;
	op->active = true;
	blockdev_submit(m->bd, &op->req);
}

static bool idle(const struct qm *m)
{
	for (unsigned i = 0; i < QM_DEPTH; i++)
		if (m->ops[i].active)
			return false;
	return true;
}

static void step_files(struct qm *m)
{
	turn(m);
	fake_file_step(m->file);
	if (m->base)
		fake_file_step(m->base);
	if (m->data)
		fake_file_step(m->data);
}

void qm_step(struct qm *m)
{
	start(m);
	step_files(m);
	if (m->n_ops % 50 == 0)
		qm_settle(m);
}

void qm_settle(struct qm *m)
{
	while (!idle(m))
		step_files(m);
	for (uint64_t i = 0; i < m->size / S; i++)
		if (m->sectors[i].now == UINT32_MAX - 1)
			learn(m, i);
}

int qm_do(struct qm *m, enum blk_op op, unsigned flags, uint64_t off, void *buf, uint64_t len)
{
	return blockdev_do(m->bd, op, flags, off, buf, len);
}

void qm_verify(struct qm *m)
{
	uint8_t *buf = malloc(m->size);

	qm_settle(m);
	ck_assert_int_eq(blockdev_do(m->bd, BLK_READ, 0, 0, buf, m->size), 0);
	for (uint64_t i = 0; i < m->size / S; i++) {
		uint32_t v = version_of(buf + i * S, i);

		ck_assert_msg(v == m->sectors[i].now, "sector %llu reads as version %u, not %u", (unsigned long long)i, v, m->sectors[i].now);
	}
	free(buf);
}

static void say(void *opaque, const char *line)
{
	char *first = opaque;

	if (!*first)
		snprintf(first, 256, "%s", line);
}

static void check_bd(struct blockdev *bd, bool tidy, const char *when)
{
	struct qcow2_check_result res;
	struct err err = ERR_INIT;
	char first[256] = "";

	ck_assert_msg(qcow2_check(bd, 0, say, first, &res, &err) == 0, "%s: check: %s", when, err.msg);
	ck_assert_msg(res.corruptions == 0 && res.check_errors == 0, "%s: %lu corruptions: %s", when, res.corruptions, first);
	ck_assert_msg(!tidy || res.leaks == 0, "%s: %lu leaks: %s", when, res.leaks, first);
}

void qm_check(struct qm *m, bool tidy)
{
	qm_settle(m);
	check_bd(m->bd, tidy, "check");
}

static void crash_verify(struct qm *m, struct blockdev *bd)
{
	uint8_t *buf = malloc(m->size);

	ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, 0, buf, m->size), 0);
	for (uint64_t i = 0; i < m->size / S; i++) {
		const struct qm_sector *s = &m->sectors[i];
		uint32_t v = version_of(buf + i * S, i);
		bool fine = v == s->flushed;

		for (unsigned k = 0; k < s->n_since && !fine; k++)
			fine = s->since[k] == v;
		ck_assert_msg(fine, "after a crash at op %llu sector %llu has version %u; flushed was %u, now is %u", (unsigned long long)m->n_ops,
			      (unsigned long long)i, v, s->flushed, s->now);
	}
	free(buf);
}

void qm_crash(struct qm *m)
{
	struct qm after = { .loop = m->loop, .base = m->base };
	struct fake_file *file = fake_file_crash(m->file, &m->seed), *data = m->data ? fake_file_crash(m->data, &m->seed) : NULL;
	struct qcow2_open_config cfg = { .read_only = true, .open_child = open_child, .opaque = &after };
	struct err err = ERR_INIT;
	struct blockdev *bd;

	after.data = data;
	if (m->create.lazy_refcounts) /* then opening repairs */
		cfg.read_only = false;
	bd = qcow2_open(&file->bd, &cfg, &err);
	ck_assert_msg(bd != NULL, "after a crash: %s", err.msg);
	check_bd(bd, false, "after a crash");
	crash_verify(m, bd);
	blockdev_close(bd);
}

uint32_t *qm_versions(const struct qm *m)
{
	uint32_t *v = calloc(m->size / S, sizeof(*v));

	for (uint64_t i = 0; i < m->size / S; i++)
		v[i] = m->sectors[i].now;
	return v;
}

void qm_set_versions(struct qm *m, const uint32_t *v, uint64_t size)
{
	m->size = size;
	for (uint64_t i = 0; i < size / S; i++) {
		m->sectors[i].now = m->sectors[i].flushed = v ? v[i] : m->sectors[i].now;
		m->sectors[i].base += m->sectors[i].n_since;
		m->sectors[i].n_since = 0;
	}
}
