/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * The other side of everything here is the driver, on another CPU, and it may be malicious.
 *
 *  - A field that the driver writes is loaded once into a local variable, and only that is checked and used. A descriptor is copied
 *    whole. The host views of the rings are checked for their whole length in virtq_init, so an index below the size is enough later.
 *  - avail->idx is loaded with acquire: descriptors and ring entries written before it are seen (2.7.13.3.1). used->idx is stored
 *    with release, after the element it covers (2.7.14).
 *  - Asking "does the driver want to know?" after publishing, and "is there more?" after asking to be told, are each a store
 *    followed by a load that may not overtake it: the driver does the same the other way round, and were both loads early, both sides
 *    would sleep (2.7.10, 2.7.7). The store is then an atomic exchange, which is a full barrier, and the load sequentially consistent.
 *    For used->idx that exchange writes again what is there.
 *
 * A chain is bounded by a count of descriptors, not by looking for loops. A head is marked as in flight when it is handed out, and only
 * then: what broke the queue is owed to nobody.
 */
#include "hw/virtq.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "hw/virtq_regs.h"
#include "vmm/guest_mem.h"
#include "vmm/util.h"

static uint16_t ring_load(const uint8_t *p, memory_order order)
{
	return le16toh(atomic_load_explicit((const _Atomic uint16_t *)(const void *)p, order));
}

static void ring_store(uint8_t *p, uint16_t v, memory_order order)
{
	atomic_store_explicit((_Atomic uint16_t *)(void *)p, htole16(v), order);
}

/* A store that no later load overtakes. */
static void ring_store_full(uint8_t *p, uint16_t v)
{
	atomic_exchange_explicit((_Atomic uint16_t *)(void *)p, htole16(v), memory_order_seq_cst);
}

/* Where the driver writes after which used index it wants an interrupt, */
static const uint8_t *used_event(const struct virtq *vq)
{
	return vq->avail + VIRTQ_AVAIL_RING + 2u * vq->cfg.size;
}

/* and the device after which available index it wants the doorbell. */
static uint8_t *avail_event(const struct virtq *vq)
{
	return vq->used + VIRTQ_USED_RING + (size_t)VIRTQ_USED_ELEM * vq->cfg.size;
}

int virtq_init(struct virtq *vq, const struct guest_mem *mem, const struct virtq_config *cfg)
{
	unsigned event = cfg->event_idx ? 2 : 0;
	uint64_t size = cfg->size;

	memset(vq, 0, sizeof(*vq));
	if (size == 0 || size > VIRTQ_SIZE_MAX || (size & (size - 1)))
		return -EINVAL;
	if (cfg->desc % VIRTQ_DESC_ALIGN || cfg->avail % VIRTQ_AVAIL_ALIGN || cfg->used % VIRTQ_USED_ALIGN)
		return -EINVAL;
	vq->desc = gm_map(mem, cfg->desc, size * sizeof(struct virtq_desc));
	vq->avail = gm_map(mem, cfg->avail, VIRTQ_AVAIL_RING + 2 * size + event);
	vq->used = gm_map(mem, cfg->used, VIRTQ_USED_RING + VIRTQ_USED_ELEM * size + event);
	if (!vq->desc || !vq->avail || !vq->used)
		return -EINVAL;
	vq->mem = mem;
	vq->cfg = *cfg;
	vq->signalled_valid = true;
	return 0;
}

void virtq_break(struct virtq *vq, const char *why)
{
	if (vq->broken)
		return;
	vq->broken = true;
	vq->why = why;
}

static int chain_bad(struct virtq *vq, const char *why)
{
	virtq_break(vq, why);
	return -EINVAL;
}

static bool in_flight_test(const struct virtq *vq, uint16_t head)
{
	return vq->in_flight[head / 8] & BIT(head % 8);
}

/* The device's own copy of descriptor `i`. The fence keeps the compiler from going back to the original. */
static struct virtq_desc desc_copy(const uint8_t *table, unsigned i)
{
	struct virtq_desc d;

	memcpy(&d, table + i * sizeof(d), sizeof(d));
	atomic_signal_fence(memory_order_seq_cst);
	return d;
}

/* Where a walk along a chain is. */
struct chain_walk {
	const uint8_t *table;
	unsigned entries; /* of the table */
	unsigned next;
	unsigned left;    /* buffers that the chain may still have */
	uint64_t bytes;   /* so far */
	bool indirect;
	bool writable;    /* the writable buffers have begun */
};

/* 2.7.5.3: the walk goes on in an indirect table. */
static int walk_indirect(struct virtq *vq, struct chain_walk *w, const struct virtq_desc *d)
{
	uint32_t len = le32_get(d->len);

	if (!vq->cfg.indirect)
		return chain_bad(vq, "an indirect descriptor, which was not negotiated");
	if (w->indirect)
		return chain_bad(vq, "an indirect descriptor inside an indirect table");
	if (le16_get(d->flags) & VIRTQ_DESC_F_NEXT)
		return chain_bad(vq, "an indirect descriptor with a next one");
	if (len == 0 || len % sizeof(*d))
		return chain_bad(vq, "an indirect table whose length is not a multiple of 16");
	if (len / sizeof(*d) > vq->cfg.size)
		return chain_bad(vq, "an indirect table with more entries than the queue");
	w->table = gm_map(vq->mem, le64_get(d->addr), len);
	if (!w->table)
		return chain_bad(vq, "an indirect table outside memory");
	w->entries = (unsigned)(len / sizeof(*d));
	w->next = 0;
	w->indirect = true;
	return 0;
}

/* One buffer. Empty ones count for the order and the length of the chain, and then there is nothing to hand on. */
static int walk_buffer(struct virtq *vq, struct chain_walk *w, const struct virtq_desc *d, struct virtq_chain *chain, size_t max)
{
	bool writable = le16_get(d->flags) & VIRTQ_DESC_F_WRITE;
	uint32_t len = le32_get(d->len);
	void *host;

	if (w->left-- == 0)
		return chain_bad(vq, "a chain longer than the queue, or a loop");
	if (!writable && w->writable)
		return chain_bad(vq, "a readable buffer after a writable one");
	w->writable = writable;
	if (len == 0)
		return 0;
	w->bytes += len;
	if (w->bytes > UINT32_MAX)
		return chain_bad(vq, "a chain of 4 GiB or more");
	if (chain->n_out + chain->n_in == max)
		return -E2BIG;
	host = gm_map(vq->mem, le64_get(d->addr), len);
	if (!host)
		return chain_bad(vq, "a buffer outside memory");
	chain->iov[chain->n_out + chain->n_in] = (struct iovec){ .iov_base = host, .iov_len = len };
	if (writable) {
		chain->n_in++;
		chain->in_len += len;
	} else {
		chain->n_out++;
		chain->out_len += len;
	}
	return 0;
}

static int chain_walk(struct virtq *vq, struct virtq_chain *chain, size_t max)
{
	struct chain_walk w = { .table = vq->desc, .entries = vq->cfg.size, .next = chain->head, .left = vq->cfg.size };
	unsigned flags;
	int rc;

	do {
		struct virtq_desc d;

		if (w.next >= w.entries)
			return chain_bad(vq, "a next descriptor outside its table");
		d = desc_copy(w.table, w.next);
		flags = le16_get(d.flags);
		if (flags & VIRTQ_DESC_F_INDIRECT) {
			rc = walk_indirect(vq, &w, &d);
			flags = VIRTQ_DESC_F_NEXT; /* to the table's first */
		} else {
			rc = walk_buffer(vq, &w, &d, chain, max);
			w.next = le16_get(d.next);
		}
		if (rc)
			return rc;
	} while (flags & VIRTQ_DESC_F_NEXT);
	return 0;
}

/* The next head, or what virtq_pop returns instead. */
static int pop_head(struct virtq *vq, uint16_t *head)
{
	uint16_t mask = vq->cfg.size - 1;
	uint16_t ahead;

	if (vq->broken)
		return -EINVAL;
	/* Pairs with the driver's barrier before it writes idx. */
	ahead = ring_load(vq->avail + VIRTQ_AVAIL_IDX, memory_order_acquire) - vq->next_avail;
	if (ahead == 0)
		return 0;
	if (ahead > vq->cfg.size)
		return chain_bad(vq, "the available index ran ahead by more than the queue's size");
	*head = ring_load(vq->avail + VIRTQ_AVAIL_RING + 2u * (vq->next_avail & mask), memory_order_relaxed);
	if (*head >= vq->cfg.size)
		return chain_bad(vq, "an available descriptor outside the table");
	if (in_flight_test(vq, *head))
		return chain_bad(vq, "a descriptor made available again while it is in use");
	return 1;
}

int virtq_pop(struct virtq *vq, struct virtq_chain *chain, struct iovec *iov, size_t max)
{
	uint16_t head;
	int rc;

	rc = pop_head(vq, &head);
	if (rc != 1)
		return rc;
	*chain = (struct virtq_chain){ .head = head, .iov = iov };
	rc = chain_walk(vq, chain, max);
	if (rc && rc != -E2BIG)
		return rc;
	vq->next_avail++;
	vq->in_flight[head / 8] |= BIT(head % 8);
	vq->n_in_flight++;
	return rc ? rc : 1;
}

void virtq_put(struct virtq *vq, uint16_t head, uint32_t written)
{
	uint8_t *elem;

	assert(head < vq->cfg.size && in_flight_test(vq, head));
	vq->in_flight[head / 8] &= ~BIT(head % 8);
	vq->n_in_flight--;
	/* A broken queue's rings are left alone; whoever still works on a chain of it gives it back all the same. */
	if (vq->broken)
		return;
	elem = vq->used + VIRTQ_USED_RING + (size_t)VIRTQ_USED_ELEM * (vq->used_idx & (vq->cfg.size - 1u));
	store_le32(elem, head);
	store_le32(elem + 4, written);
	vq->used_idx++;
	/* 65,536 pushes since the driver was told: their number is not to be seen from the indices any more. */
	if (vq->used_idx == vq->signalled)
		vq->signalled_valid = false;
}

void virtq_publish(struct virtq *vq)
{
	/* Pairs with the driver's barrier after it reads idx. */
	if (!vq->broken)
		ring_store(vq->used + VIRTQ_USED_IDX, vq->used_idx, memory_order_release);
}

void virtq_push(struct virtq *vq, uint16_t head, uint32_t written)
{
	virtq_put(vq, head, written);
	virtq_publish(vq);
}

bool virtq_should_interrupt(struct virtq *vq)
{
	uint16_t old = vq->signalled, now = vq->used_idx, event;
	bool valid = vq->signalled_valid;

	if (vq->broken || (valid && old == now))
		return false;
	vq->signalled = now;
	vq->signalled_valid = true;
	/* Pairs with the driver's barrier between its writing used_event or flags and reading used->idx. */
	ring_store_full(vq->used + VIRTQ_USED_IDX, now);
	if (!vq->cfg.event_idx)
		return !(ring_load(vq->avail + VIRTQ_AVAIL_FLAGS, memory_order_seq_cst) & VIRTQ_AVAIL_F_NO_INTERRUPT);
	event = ring_load(used_event(vq), memory_order_seq_cst);
	/* Whether `event` is one of the entries old to now - 1, modulo 65,536. */
	return !valid || (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

bool virtq_has_more(const struct virtq *vq)
{
	return !vq->broken && ring_load(vq->avail + VIRTQ_AVAIL_IDX, memory_order_relaxed) != vq->next_avail;
}

void virtq_polled(struct virtq *vq, bool on)
{
	/* An event index that was passed already asks for no more rings; the flag does it otherwise. */
	if (on && !vq->polled && !vq->broken && vq->cfg.event_idx)
		ring_store(avail_event(vq), vq->next_avail - 1, memory_order_relaxed);
	else if (on && !vq->polled)
		virtq_doorbell_off(vq);
	vq->polled = on;
}

void virtq_doorbell_off(struct virtq *vq)
{
	/* With event indices there is nothing to do: the doorbell rings once, when the index that was asked for is passed. */
	if (!vq->broken && !vq->cfg.event_idx)
		ring_store(vq->used + VIRTQ_USED_FLAGS, VIRTQ_USED_F_NO_NOTIFY, memory_order_relaxed);
}

bool virtq_doorbell_on(struct virtq *vq)
{
	if (vq->broken || vq->polled)
		return virtq_has_more(vq);
	/* Pairs with the driver's barrier between its writing avail->idx and reading avail_event or flags. */
	if (vq->cfg.event_idx)
		ring_store_full(avail_event(vq), vq->next_avail);
	else
		ring_store_full(vq->used + VIRTQ_USED_FLAGS, 0);
	return ring_load(vq->avail + VIRTQ_AVAIL_IDX, memory_order_seq_cst) != vq->next_avail;
}
