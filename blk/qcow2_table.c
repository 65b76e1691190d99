/* SPDX-License-Identifier: MIT */
/*
 * Caches of metadata tables: slices of L2 tables and of refcount blocks, by their place in the file, the least recently used going first.
 *
 * A slice that is being read, or whose copy is being written, stays where it is. A dirty one of a refcount block may be written at any time,
 * since refcounts only ever fall when nothing on disk needs them; a dirty one of an L2 table takes a commit (qcow2_commit.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "blk/qcow2_priv.h"

#define MIN_TABLES 16

int table_cache_init(struct table_cache *c, uint64_t bytes, uint32_t entry_size)
{
	uint64_t n = max_u64(bytes / entry_size, MIN_TABLES), hash = 64;

	while (hash < n * 2)
		hash *= 2;
	*c = (struct table_cache){ .entry_size = entry_size, .n = (unsigned)n, .hash_mask = (unsigned)(hash - 1) };
	c->lru.prev = c->lru.next = &c->lru;
	c->memory_size = n * entry_size;
	c->tables = calloc(n, sizeof(*c->tables));
	c->hash = calloc(hash, sizeof(struct table *));
	c->memory = mmap(NULL, c->memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->memory == MAP_FAILED)
		c->memory = NULL;
	if (!c->tables || !c->hash || !c->memory)
		return -ENOMEM;
	for (unsigned i = 0; i < c->n; i++) {
		struct table *t = &c->tables[i];

		t->data = c->memory + (size_t)i * entry_size;
		t->prev = &c->lru;
		t->next = c->lru.next;
		t->next->prev = t;
		c->lru.next = t;
	}
	return 0;
}

void table_cache_fini(struct table_cache *c)
{
	if (c->memory)
		munmap(c->memory, c->memory_size);
	free(c->tables);
	free(c->hash);
	*c = (struct table_cache){ .n = 0 };
}

static struct table **bucket(struct table_cache *c, uint64_t off)
{
	return &c->hash[(off / c->entry_size * UINT64_C(0x9e3779b97f4a7c15) >> 32) & c->hash_mask];
}

static struct table *lookup(struct table_cache *c, uint64_t off)
{
	struct table *t = *bucket(c, off);

	while (t && t->off != off)
		t = t->hash_next;
	return t;
}

static void unhash(struct table_cache *c, struct table *t)
{
	struct table **p = bucket(c, t->off);

	while (*p != t)
		p = &(*p)->hash_next;
	*p = t->hash_next;
	t->off = 0;
}

static void use(struct table_cache *c, struct table *t)
{
	if (c->lru.next == t)
		return;
	t->prev->next = t->next;
	t->next->prev = t->prev;
	t->prev = &c->lru;
	t->next = c->lru.next;
	t->next->prev = t;
	c->lru.next = t;
}

uint8_t *table_find(struct table_cache *c, uint64_t off)
{
	struct table *t = lookup(c, off);

	if (!t || t->loading)
		return NULL;
	use(c, t);
	return t->data;
}

static struct table *victim(struct table_cache *c)
{
	for (struct table *t = c->lru.prev; t != &c->lru; t = t->prev)
		if (!t->dirty && !t->loading && !t->writing)
			return t;
	return NULL;
}

/* Gets room: waits for others, or for a write. 0 when it is worth looking again. */
static int make_room(struct qcow2 *q, struct table_cache *c)
{
	if (c->n_dirty == 0) {
		co_queue_wait(q->pool, &c->wait);
		return 0;
	}
	return c == &q->l2 ? q_commit(q, false) : table_write_back(q, c);
}

int table_get(struct qcow2 *q, struct table_cache *c, uint64_t off, uint8_t **data)
{
	struct table *t;
	int rc;

	while ((t = lookup(c, off)) || !(t = victim(c))) {
		if (t && !t->loading) {
			use(c, t);
			*data = t->data;
			return 0;
		}
		if (t) {
			co_queue_wait(q->pool, &c->wait);
			continue;
		}
		rc = make_room(q, c);
		if (rc < 0)
			return rc;
	}
	if (t->off)
		unhash(c, t);
	t->off = off;
	t->hash_next = *bucket(c, off);
	*bucket(c, off) = t;
	t->loading = true;
	rc = co_pread(q->pool, q->bd.file, off, t->data, c->entry_size);
	t->loading = false;
	if (rc < 0)
		unhash(c, t);
	else
		use(c, t);
	co_queue_wake(&c->wait);
	*data = t->data;
	return rc;
}

void table_dirty(struct table_cache *c, const uint8_t *data)
{
	struct table *t = &c->tables[(size_t)(data - c->memory) / c->entry_size];

	if (!t->dirty)
		c->n_dirty++;
	t->dirty = true;
}

void table_forget(struct table_cache *c, uint64_t off, uint64_t len)
{
	for (uint64_t at = off; at < off + len; at += c->entry_size) {
		struct table *t = lookup(c, at);

		if (!t || t->loading || t->writing)
			continue;
		if (t->dirty)
			c->n_dirty--;
		t->dirty = false;
		unhash(c, t);
	}
}

int table_shadow_take(struct table_cache *c, struct table_shadow *s)
{
	*s = (struct table_shadow){ .n = 0 };
	if (c->n_dirty == 0)
		return 0;
	s->tables = malloc(c->n_dirty * sizeof(struct table *));
	s->copy = co_buf((size_t)c->n_dirty * c->entry_size);
	if (!s->tables || !s->copy) {
		free(s->tables);
		free(s->copy);
		*s = (struct table_shadow){ .n = 0 };
		return -ENOMEM;
	}
	for (unsigned i = 0; i < c->n; i++) {
		struct table *t = &c->tables[i];

		if (!t->dirty)
			continue;
		memcpy(s->copy + (size_t)s->n * c->entry_size, t->data, c->entry_size);
		s->tables[s->n++] = t;
		t->dirty = false;
		t->writing = true;
	}
	c->n_dirty = 0;
	return 0;
}

int table_shadow_write(struct qcow2 *q, struct table_cache *c, struct table_shadow *s)
{
	struct co_gather g = { .pool = q->pool };

	for (unsigned i = 0; i < s->n; i++) {
		struct iovec iov = { s->copy + (size_t)i * c->entry_size, c->entry_size };
		struct iov_cursor cur;

		iov_cursor_init(&cur, &iov, 1);
		co_gather_rw(&g, q->bd.file, BLK_WRITE, s->tables[i]->off, &cur, c->entry_size);
	}
	return co_gather_wait(&g);
}

void table_shadow_end(struct table_cache *c, struct table_shadow *s, bool written)
{
	for (unsigned i = 0; i < s->n; i++) {
		struct table *t = s->tables[i];

		t->writing = false;
		if (!written && !t->dirty) {
			t->dirty = true;
			c->n_dirty++;
		}
	}
	free(s->tables);
	free(s->copy);
	*s = (struct table_shadow){ .n = 0 };
	co_queue_wake(&c->wait);
}

static bool any_writing(const struct table_cache *c)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->tables[i].writing)
			return true;
	return false;
}

int table_write_back(struct qcow2 *q, struct table_cache *c)
{
	struct table_shadow s;
	int rc;

	/* A later copy must not be overtaken by an earlier one, and when this returns, all that was dirty before has been written. */
	while (any_writing(c))
		co_queue_wait(q->pool, &c->wait);
	rc = table_shadow_take(c, &s);
	if (rc < 0)
		return rc;
	rc = table_shadow_write(q, c, &s);
	table_shadow_end(c, &s, rc == 0);
	return rc;
}
