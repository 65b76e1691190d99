/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_file.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/iov.h"
#include "vmm/util.h"

struct fake_pending {
	struct blk_req *req;
	struct fake_pending *next;
	uint64_t submitted_at;
};

uint64_t fake_random(uint64_t *seed)
{
	uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static struct fake_file *file_of(struct blockdev *bd)
{
	return CONTAINER_OF(bd, struct fake_file, bd);
}

static void log_add(struct fake_file *f, const struct blk_req *req)
{
	struct fake_log *l;
	struct iov_cursor c;

	if (f->n_log == f->log_cap) {
		f->log_cap = f->log_cap ? f->log_cap * 2 : 64;
		f->log = realloc(f->log, f->log_cap * sizeof(*f->log));
	}
	l = &f->log[f->n_log++];
	*l = (struct fake_log){ .off = req->off, .len = req->len, .completed_at = UINT64_MAX };
	if (req->op == BLK_WRITE) {
		l->data = malloc(req->len);
		iov_cursor_init(&c, req->iov, req->n);
		iov_cursor_read(&c, l->data, req->len);
	}
}

static bool is_change(const struct blk_req *req)
{
	return req->op == BLK_WRITE || req->op == BLK_WRITE_ZEROES || req->op == BLK_DISCARD;
}

static void file_submit(struct blockdev *bd, struct blk_req *req)
{
	struct fake_file *f = file_of(bd);
	struct fake_pending *p = calloc(1, sizeof(*p));

	p->req = req;
	p->submitted_at = ++f->clock;
	if (is_change(req) && req->off + req->len <= f->cap)
		log_add(f, req);
	*f->last = p;
	f->last = &p->next;
	f->waiting++;
	f->n_ops[req->op]++;
}

/* The oldest entry of this request that has not ended. */
static struct fake_log *log_of(struct fake_file *f, const struct blk_req *req)
{
	for (size_t i = 0; i < f->n_log; i++)
		if (f->log[i].completed_at == UINT64_MAX && f->log[i].off == req->off && f->log[i].len == req->len)
			return &f->log[i];
	return NULL;
}

static void log_apply(const struct fake_log *l, uint8_t *to, uint64_t from, uint64_t len)
{
	if (l->data)
		memcpy(to + l->off + from, l->data + from, len);
	else
		memset(to + l->off + from, 0, len);
}

static void flush(struct fake_file *f, uint64_t submitted_at)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->n_log; i++) {
		struct fake_log *l = &f->log[i];

		if (l->completed_at > submitted_at) {
			f->log[kept++] = *l;
			continue;
		}
		log_apply(l, f->durable, 0, l->len);
		f->durable_size = max_u64(f->durable_size, l->off + l->len);
		free(l->data);
	}
	f->n_log = kept;
	f->durable_size = max_u64(f->durable_size, f->truncated);
}

static int change(struct fake_file *f, const struct blk_req *req)
{
	struct fake_log *l;

	if (req->off + req->len > f->cap)
		return -ENOSPC;
	l = log_of(f, req);
	if (!l)
		ck_abort_msg("a request that nobody submitted");
	l->completed_at = ++f->clock;
	log_apply(l, f->data, 0, l->len);
	f->high = max_u64(f->high, l->off + l->len);
	return 0;
}

/* What failed may have been done in part. */
static int do_fail(struct fake_file *f, const struct blk_req *req)
{
	struct fake_log *l = is_change(req) ? log_of(f, req) : NULL;

	if (l) {
		l->completed_at = ++f->clock;
		l->len = fake_random(&f->seed) % (l->len / BLK_SECTOR + 1) * BLK_SECTOR;
		log_apply(l, f->data, 0, l->len);
		f->high = max_u64(f->high, l->off + l->len);
	}
	return f->fail_with;
}

static bool should_fail(struct fake_file *f, const struct blk_req *req)
{
	if (!(f->fail_ops & BIT(req->op)) || !f->fail_for)
		return false;
	if (f->fail_after) {
		f->fail_after--;
		return false;
	}
	f->fail_for--;
	return true;
}

static int file_do(struct fake_file *f, struct fake_pending *p)
{
	struct blk_req *req = p->req;
	struct iov_cursor c;

	if (should_fail(f, req))
		return do_fail(f, req);
	switch (req->op) {
	case BLK_READ:
		iov_cursor_init(&c, req->iov, req->n);
		iov_cursor_write(&c, f->data + req->off, req->len);
		return 0;
	case BLK_FLUSH:
		flush(f, p->submitted_at);
		return 0;
	case BLK_STATUS:
		*req->status = (struct blk_status){ .len = req->len, .flags = BLK_ST_ALLOCATED | BLK_ST_DATA | BLK_ST_OFFSET,
						    .file = &f->bd, .file_off = req->off };
		return 0;
	default:
		return change(f, req);
	}
}

bool fake_file_step(struct fake_file *f)
{
	unsigned skip = f->waiting && !f->in_order ? (unsigned)(fake_random(&f->seed) % f->waiting) : 0;
	struct fake_pending **at = &f->first, *p;
	struct blk_req *req;
	int result;

	if (!f->first)
		return false;
	while (skip--)
		at = &(*at)->next;
	p = *at;
	*at = p->next;
	if (f->last == &p->next)
		f->last = at;
	f->waiting--;
	result = file_do(f, p);
	req = p->req;
	free(p);
	if (f->stepped)
		f->stepped(f->opaque);
	blockdev_complete(&f->bd, req, result);
	return true;
}

static void file_drain(struct blockdev *bd)
{
	while (fake_file_step(file_of(bd)))
		;
}

static int file_truncate(struct blockdev *bd, uint64_t size, enum blk_prealloc prealloc)
{
	struct fake_file *f = file_of(bd);

	(void)prealloc;
	if (size > f->cap || (!bd->grows && size > bd->size)) /* a device is as large as it is */
		return -ENOSPC;
	f->truncated = size;
	if (size < bd->size) {
		memset(f->data + size, 0, f->cap - size);
		memset(f->durable + size, 0, f->cap - size);
	}
	return 0;
}

static int file_resize(struct blockdev *bd, uint64_t size)
{
	return file_truncate(bd, size, BLK_PREALLOC_OFF);
}

static void file_close(struct blockdev *bd)
{
	struct fake_file *f = file_of(bd);

	/* blockdev.c frees the name. */
	bd->name = f->keep ? strdup("fake.qcow2") : NULL;
	if (!f->keep)
		fake_file_free(f);
}

static const struct blockdev_ops file_ops = {
	.format = "fake", .submit = file_submit, .drain = file_drain, .resize = file_resize, .truncate = file_truncate, .close = file_close,
};

struct fake_file *fake_file_create(struct eventloop *loop, uint64_t cap)
{
	struct fake_file *f = calloc(1, sizeof(*f));

	f->cap = cap;
	f->data = calloc(1, cap);
	f->durable = calloc(1, cap);
	f->last = &f->first;
	f->seed = 1;
	f->bd = (struct blockdev){
		.ops = &file_ops,
		.name = strdup("fake.qcow2"),
		.loop = loop,
		.request_align = BLK_SECTOR,
		.physical_block = BLK_SECTOR,
		.discard = true,
		.write_zeroes = true,
		.write_cache = true,
		.grows = true,
	};
	return f;
}

unsigned fake_file_unflushed(const struct fake_file *f)
{
	uint64_t n = 0;

	for (size_t i = 0; i < f->n_log; i++)
		n += f->log[i].len / BLK_SECTOR;
	return (unsigned)n;
}

struct fake_file *fake_file_after(const struct fake_file *f, bool (*kept)(void *opaque, unsigned sector), void *opaque)
{
	struct fake_file *c = fake_file_create(f->bd.loop, f->cap);
	unsigned n = 0;

	c->bd.grows = f->bd.grows;
	memcpy(c->data, f->durable, max_u64(f->high, f->durable_size));
	c->bd.size = f->bd.grows ? f->durable_size : f->bd.size;
	for (size_t i = 0; i < f->n_log; i++) {
		const struct fake_log *l = &f->log[i];

		for (uint64_t at = 0; at < l->len; at += BLK_SECTOR) {
			if (!kept(opaque, n++))
				continue;
			log_apply(l, c->data, at, BLK_SECTOR);
			c->bd.size = max_u64(c->bd.size, l->off + at + BLK_SECTOR);
		}
	}
	c->high = max_u64(f->high, f->durable_size);
	memcpy(c->durable, c->data, c->high);
	c->durable_size = c->bd.size;
	return c;
}

struct choice {
	uint64_t *seed;
	unsigned style; /* all, none, some writes, some sectors */
	const struct fake_file *f;
	size_t write;
	unsigned left;
	bool whole;
};

static bool choose(void *opaque, unsigned sector)
{
	struct choice *c = opaque;

	(void)sector;
	while (c->left == 0) {
		c->left = (unsigned)(c->f->log[c->write++].len / BLK_SECTOR);
		c->whole = c->style == 0 || (c->style == 2 && (fake_random(c->seed) & 1));
	}
	c->left--;
	return c->whole || (c->style == 3 && (fake_random(c->seed) & 1));
}

struct fake_file *fake_file_crash(struct fake_file *f, uint64_t *seed)
{
	struct choice c = { .seed = seed, .style = (unsigned)(fake_random(seed) % 4), .f = f };

	return fake_file_after(f, choose, &c);
}

void fake_file_free(struct fake_file *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n_log; i++)
		free(f->log[i].data);
	free(f->log);
	free(f->bd.name);
	free(f->data);
	free(f->durable);
	free(f);
}
