/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_virtio.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/util.h"

/* The transport */

static void notify_queue(void *transport, unsigned q)
{
	struct fake_virtio *f = transport;

	atomic_fetch_add(&f->queue_interrupts[q], 1);
}

static void notify_config(void *transport)
{
	struct fake_virtio *f = transport;

	atomic_fetch_add(&f->config_interrupts, 1);
}

static void doorbells(void *transport, bool on)
{
	struct fake_virtio *f = transport;

	atomic_store(&f->doorbells, on);
}

static void transport_reset(void *transport)
{
	struct fake_virtio *f = transport;

	atomic_fetch_add(&f->transport_resets, 1);
}

static const struct virtio_transport_ops fake_transport_ops = {
	.notify_queue = notify_queue,
	.notify_config = notify_config,
	.doorbells = doorbells,
	.reset = transport_reset,
};

/* Life */

void fake_virtio_init(struct fake_virtio *f)
{
	const struct gm_range ranges[] = { { 0, FAKE_LOW_SIZE }, { FAKE_HIGH, FAKE_HIGH_SIZE } };
	struct err err = ERR_INIT;

	memset(f, 0, sizeof(*f));
	f->mem = gm_create(ranges, ARRAY_SIZE(ranges), &err);
	ck_assert_msg(f->mem != NULL, "%s", err.msg);
	f->loop = eventloop_create(&err);
	ck_assert_msg(f->loop != NULL, "%s", err.msg);
	f->next_alloc = FAKE_ALLOC_START;
}

void fake_virtio_fini(struct fake_virtio *f)
{
	eventloop_destroy(f->loop);
	gm_destroy(f->mem);
}

void fake_virtio_attach(struct fake_virtio *f, struct virtio_dev *dev)
{
	f->dev = dev;
	dev->transport_ops = &fake_transport_ops;
	dev->transport = f;
}

/* Memory */

uint64_t fake_alloc(struct fake_virtio *f, uint64_t len, uint64_t align)
{
	uint64_t gpa = align_up(f->next_alloc, align);

	ck_assert_uint_le(gpa + len, FAKE_LOW_SIZE);
	f->next_alloc = gpa + len;
	memset(fake_mem(f, gpa, len), 0, len);
	return gpa;
}

uint64_t fake_alloc_data(struct fake_virtio *f, const void *data, uint32_t len)
{
	uint64_t gpa = fake_alloc(f, len, 16);

	memcpy(fake_mem(f, gpa, len), data, len);
	return gpa;
}

void *fake_mem(struct fake_virtio *f, uint64_t gpa, uint64_t len)
{
	void *p = gm_map(f->mem, gpa, len);

	ck_assert_ptr_nonnull(p);
	return p;
}

/* The driver */

void fake_virtio_negotiate(struct fake_virtio *f, uint64_t features)
{
	virtio_set_status(f->dev, 0);
	virtio_set_status(f->dev, VIRTIO_STATUS_ACKNOWLEDGE);
	virtio_set_status(f->dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	virtio_choose(f->dev, features);
	virtio_set_status(f->dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
}

void fake_virtio_setup_queue(struct fake_virtio *f, unsigned q, uint16_t size)
{
	fake_ring_init(&f->ring[q], f, size, virtio_has(f->dev, VIRTIO_F_INDIRECT_DESC), virtio_has(f->dev, VIRTIO_F_EVENT_IDX));
	pthread_mutex_lock(&f->dev->lock);
	f->dev->queues[q].set = f->ring[q].cfg;
	f->dev->queues[q].enabled = true;
	pthread_mutex_unlock(&f->dev->lock);
}

uint8_t fake_virtio_start(struct fake_virtio *f, uint64_t features)
{
	fake_virtio_negotiate(f, features);
	for (unsigned q = 0; q < f->dev->n_queues; q++)
		fake_virtio_setup_queue(f, q, f->dev->queues[q].size_max);
	virtio_set_status(f->dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
					  VIRTIO_STATUS_DRIVER_OK);
	return virtio_get_status(f->dev);
}

void fake_virtio_reset(struct fake_virtio *f)
{
	virtio_set_status(f->dev, 0);
}

static void turn_end(void *opaque)
{
	eventloop_stop(opaque);
}

void fake_virtio_turn(struct fake_virtio *f)
{
	struct event_work end = { .run = turn_end, .opaque = f->loop };

	/* Posted work is the last thing in a turn. */
	eventloop_post(f->loop, &end);
	ck_assert_int_eq(eventloop_run(f->loop), 0);
}

void fake_virtio_kick(struct fake_virtio *f, unsigned q)
{
	uint64_t one = 1;

	ck_assert_int_eq(write(f->dev->queues[q].bell.fd, &one, sizeof(one)), sizeof(one));
	fake_virtio_turn(f);
}

bool fake_virtio_wait(struct fake_virtio *f, unsigned q, unsigned n, unsigned ms)
{
	int64_t end = now_ns() + ms * INT64_C(1000000);

	while (fake_ring_used_count(&f->ring[q]) < n) {
		if (now_ns() > end)
			return false;
		fake_virtio_turn(f);
		usleep(50);
	}
	return true;
}

/* Rings */

/* A 16-bit ring field that the device looks at, too. */
static _Atomic uint16_t *field(const struct fake_ring *ring, uint64_t gpa)
{
	void *p = gm_map(ring->mem, gpa, 2);

	if (!p) /* no assertion on the way: Check takes long over hundreds of thousands */
		ck_abort_msg("a ring outside memory");
	return p;
}

static uint64_t used_event_gpa(const struct fake_ring *ring)
{
	return ring->cfg.avail + VIRTQ_AVAIL_RING + 2u * ring->cfg.size;
}

static uint64_t avail_event_gpa(const struct fake_ring *ring)
{
	return ring->cfg.used + VIRTQ_USED_RING + (uint64_t)VIRTQ_USED_ELEM * ring->cfg.size;
}

void fake_ring_init(struct fake_ring *ring, struct fake_virtio *f, uint16_t size, bool indirect, bool event_idx)
{
	*ring = (struct fake_ring){ .mem = f->mem };
	ring->cfg = (struct virtq_config){
		.size = size,
		.desc = fake_alloc(f, size * sizeof(struct virtq_desc), VIRTQ_DESC_ALIGN),
		.avail = fake_alloc(f, VIRTQ_AVAIL_RING + 2u * size + 2, VIRTQ_AVAIL_ALIGN),
		.used = fake_alloc(f, VIRTQ_USED_RING + (uint64_t)VIRTQ_USED_ELEM * size + 2, VIRTQ_USED_ALIGN),
		.indirect = indirect,
		.event_idx = event_idx,
	};
}

void fake_desc_write(const struct guest_mem *mem, uint64_t table, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	struct virtq_desc d = { le64_of(addr), le32_of(len), le16_of(flags), le16_of(next) };

	if (gm_write(mem, table + i * sizeof(d), &d, sizeof(d)))
		ck_abort_msg("a descriptor outside memory");
}

void fake_ring_desc(struct fake_ring *ring, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	fake_desc_write(ring->mem, ring->cfg.desc, i, addr, len, flags, next);
}

void fake_ring_avail_idx(struct fake_ring *ring, uint16_t idx)
{
	ring->avail_idx = idx;
	atomic_store(field(ring, ring->cfg.avail + VIRTQ_AVAIL_IDX), htole16(idx));
}

void fake_ring_put(struct fake_ring *ring, uint16_t head)
{
	uint64_t slot = ring->cfg.avail + VIRTQ_AVAIL_RING + 2u * (ring->avail_idx & (ring->cfg.size - 1u));

	atomic_store_explicit(field(ring, slot), htole16(head), memory_order_relaxed);
	fake_ring_avail_idx(ring, ring->avail_idx + 1);
}

uint16_t fake_ring_add(struct fake_ring *ring, const struct fake_buf *bufs, unsigned n)
{
	uint16_t mask = ring->cfg.size - 1, head = ring->next_desc & mask;

	for (unsigned i = 0; i < n; i++) {
		uint16_t at = ring->next_desc++ & mask;
		uint16_t flags = (bufs[i].writable ? VIRTQ_DESC_F_WRITE : 0) | (i + 1 < n ? VIRTQ_DESC_F_NEXT : 0);

		fake_ring_desc(ring, at, bufs[i].gpa, bufs[i].len, flags, (at + 1) & mask);
	}
	fake_ring_put(ring, head);
	return head;
}

uint16_t fake_ring_add_indirect(struct fake_ring *ring, struct fake_virtio *f, const struct fake_buf *bufs, unsigned n)
{
	uint64_t table = fake_alloc(f, n * sizeof(struct virtq_desc), 16);
	uint16_t head = ring->next_desc++ & (ring->cfg.size - 1);

	for (unsigned i = 0; i < n; i++)
		fake_desc_write(ring->mem, table, i, bufs[i].gpa, bufs[i].len,
				(bufs[i].writable ? VIRTQ_DESC_F_WRITE : 0) | (i + 1 < n ? VIRTQ_DESC_F_NEXT : 0), i + 1);
	fake_ring_desc(ring, head, table, n * sizeof(struct virtq_desc), VIRTQ_DESC_F_INDIRECT, 0);
	fake_ring_put(ring, head);
	return head;
}

uint16_t fake_ring_used_idx(const struct fake_ring *ring)
{
	return le16toh(atomic_load(field(ring, ring->cfg.used + VIRTQ_USED_IDX)));
}

unsigned fake_ring_used_count(const struct fake_ring *ring)
{
	return (uint16_t)(fake_ring_used_idx(ring) - ring->used_idx);
}

bool fake_ring_used(struct fake_ring *ring, uint32_t *head, uint32_t *len)
{
	uint64_t gpa = ring->cfg.used + VIRTQ_USED_RING + (uint64_t)VIRTQ_USED_ELEM * (ring->used_idx & (ring->cfg.size - 1u));
	const uint8_t *elem;

	if (!fake_ring_used_count(ring))
		return false;
	elem = gm_map(ring->mem, gpa, VIRTQ_USED_ELEM);
	*head = load_le32(elem);
	*len = load_le32(elem + 4);
	ring->used_idx++;
	return true;
}

void fake_ring_avail_flags(struct fake_ring *ring, uint16_t flags)
{
	atomic_store(field(ring, ring->cfg.avail + VIRTQ_AVAIL_FLAGS), htole16(flags));
}

void fake_ring_used_event(struct fake_ring *ring, uint16_t idx)
{
	atomic_store(field(ring, used_event_gpa(ring)), htole16(idx));
}

uint16_t fake_ring_used_flags(const struct fake_ring *ring)
{
	return le16toh(atomic_load(field(ring, ring->cfg.used + VIRTQ_USED_FLAGS)));
}

uint16_t fake_ring_avail_event(const struct fake_ring *ring)
{
	return le16toh(atomic_load(field(ring, avail_event_gpa(ring))));
}
