/* SPDX-License-Identifier: MIT */
/*
 * Compressed clusters, read. Each that is being read or was read lately has a slot: its bytes are read from the file, unpacked by a thread of
 * the loop's (eventloop_offload), and handed to all requests that wait for them. So a request of many clusters has them unpacked side by
 * side, and small reads of one cluster have it unpacked once. The slots are few, which bounds the memory; who finds none waits.
 *
 * What is unpacked is bounded by the cluster's size whatever the data say, and its input by the length in the entry, at most two
 * clusters.
 *
 * A slot goes by the entry that its cluster has in the L2 tables. When the bytes there become others, or somebody else's, the slot is
 * forgotten (q_inflated_forget), also one that is still on its way: whoever waits for it began before that and gets what it asked for,
 * but nobody finds it any more.
 */
#include <errno.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"
#include "vmm/eventloop.h"

#define SLOTS_MIN 4u
#define SLOTS_MAX 16u
#define SLOTS_BYTES (1 * MIB)

/* What a request wants of a cluster. */
struct reader {
	struct reader *next;
	struct co_gather *g;
	struct iov_cursor c;
	uint32_t skip;
	size_t len;
};

struct slot {
	struct qcow2 *q;
	uint64_t entry; /* 0: nobody finds it */
	uint64_t off;   /* in the file */
	uint32_t len;
	uint64_t used;
	bool loading;
	int result;
	uint8_t *data, *in; /* `data` as long as the slot is in use, `in` while it is loading */
	uint32_t in_skip;   /* what was read before `off`, for the file's alignment */
	struct reader *readers;
	struct iovec iov;
	struct blk_req req;
	struct event_job job;
};

struct inflater {
	unsigned n;
	uint64_t uses;
	struct co_queue wait; /* for a slot */
	struct slot slots[SLOTS_MAX];
};

static struct inflater *inflater_get(struct qcow2 *q)
{
	struct inflater *f = q->inflater;

	if (f)
		return f;
	f = q->inflater = calloc(1, sizeof(*f));
	if (f)
		f->n = (unsigned)max_u64(SLOTS_MIN, min_u64(SLOTS_MAX, SLOTS_BYTES >> q->cluster_bits));
	return f;
}

/* A slot with the entry; or else one that may be used for it; or NULL. */
static struct slot *slot_find(struct inflater *f, uint64_t entry)
{
	struct slot *best = NULL;

	for (unsigned i = 0; i < f->n; i++) {
		struct slot *s = &f->slots[i];

		if (s->entry == entry)
			return s;
		if (!s->loading && (!best || s->used < best->used))
			best = s;
	}
	return best;
}

static void slot_drop(struct slot *s)
{
	free(s->data);
	s->data = NULL;
	s->entry = 0;
	s->used = 0;
}

/* First all that is needed of the slot, as whoever is woken may use it for another cluster at once. */
static void slot_finish(struct slot *s, int result)
{
	struct reader *readers = s->readers, *next;
	struct inflater *f = s->q->inflater;

	free(s->in);
	s->in = NULL;
	for (struct reader *r = readers; r && result == 0; r = r->next)
		iov_cursor_write(&r->c, s->data + r->skip, r->len);
	s->readers = NULL;
	s->loading = false;
	if (result < 0 || !s->entry)
		slot_drop(s);
	for (struct reader *r = readers; r; r = next) {
		struct co_gather *g = r->g;

		next = r->next;
		free(r);
		co_gather_leave(g, result);
	}
	co_queue_wake(&f->wait);
}

static void slot_unpack(void *opaque)
{
	struct slot *s = opaque;

	s->result = q_inflate(s->q, s->in + s->in_skip, s->len, s->data);
}

static void slot_unpacked(void *opaque)
{
	struct slot *s = opaque;

	slot_finish(s, s->result);
}

static void slot_read(struct blk_req *req, int result)
{
	struct slot *s = CONTAINER_OF(req, struct slot, req);

	if (result < 0) {
		slot_finish(s, result);
		return;
	}
	s->job = (struct event_job){ .run = slot_unpack, .done = slot_unpacked, .opaque = s };
	eventloop_offload(s->q->bd.loop, &s->job);
}

/* The sectors that have the bytes; past the file's last one there are zeroes. */
static int slot_load(struct qcow2 *q, struct slot *s, uint64_t entry, uint64_t off, uint32_t len)
{
	struct blockdev *file = q->bd.file;
	uint64_t first = align_down(off, file->request_align), end = align_up(off + len, file->request_align);
	uint64_t have = min_u64(end, align_down(file->size, file->request_align));

	if (!s->data)
		s->data = co_buf(q->cluster_size);
	s->in = co_buf(end - first);
	if (!s->data || !s->in || have <= first) {
		int rc = s->data && s->in ? -EIO : -ENOMEM;

		free(s->in);
		s->in = NULL;
		slot_drop(s);
		return rc;
	}
	memset(s->in + (have - first), 0, end - have);
	s->q = q;
	s->entry = entry;
	s->off = off;
	s->len = len;
	s->in_skip = (uint32_t)(off - first);
	s->loading = true;
	s->iov = (struct iovec){ s->in, have - first };
	s->req = (struct blk_req){ .op = BLK_READ, .off = first, .len = have - first, .iov = &s->iov, .n = 1, .done = slot_read };
	blockdev_submit(file, &s->req);
	return 0;
}

/* The slot of `entry`, with its cluster there or on its way; NULL when there is none to be had. */
static int slot_get(struct qcow2 *q, struct inflater *f, uint64_t entry, struct slot **slot)
{
	struct slot *s = slot_find(f, entry);
	uint64_t off;
	uint32_t len;
	int rc = 0;

	*slot = s;
	if (s && s->entry != entry) {
		q_compressed_place(q, entry, &off, &len);
		if (off >= q->file_end)
			return q_corrupt(q, "a compressed cluster at 0x%llx is past the end", (unsigned long long)off);
		rc = slot_load(q, s, entry, off, len);
	}
	if (s && rc == 0)
		s->used = ++f->uses;
	return rc;
}

int q_compressed_read(struct qcow2 *q, struct co_gather *g, uint64_t entry, uint32_t skip, struct iov_cursor *c, size_t len)
{
	struct inflater *f = inflater_get(q);
	struct reader *r = malloc(sizeof(*r));
	struct slot *s = NULL;
	int rc = f && r ? 0 : -ENOMEM;

	if (rc == 0)
		co_gather_enter(g);
	while (rc == 0 && (rc = slot_get(q, f, entry, &s)) == 0 && !s)
		co_queue_wait(q->pool, &f->wait);
	if (rc < 0 || !s->loading) {
		if (rc == 0)
			iov_cursor_write(c, s->data + skip, len);
		if (f && r)
			co_gather_leave(g, rc);
		free(r);
		return rc;
	}
	*r = (struct reader){ .next = s->readers, .g = g, .c = *c, .skip = skip, .len = len };
	s->readers = r;
	iov_cursor_skip(c, len);
	return 0;
}

void q_inflated_forget(struct qcow2 *q, uint64_t off, uint64_t len)
{
	struct inflater *f = q->inflater;

	for (unsigned i = 0; f && i < f->n; i++) {
		struct slot *s = &f->slots[i];

		if (!s->entry || s->off >= off + len || off >= s->off + s->len)
			continue;
		if (s->loading)
			s->entry = 0;
		else
			slot_drop(s);
	}
}

void q_inflater_free(struct qcow2 *q)
{
	for (unsigned i = 0; q->inflater && i < q->inflater->n; i++)
		slot_drop(&q->inflater->slots[i]);
	free(q->inflater);
	q->inflater = NULL;
}
