/* SPDX-License-Identifier: MIT */
/*
 * A guest for fuzzing a virtio device: its input is a program of a few operations, among them writing whatever it likes over
 * its rings. Included by one fuzz target each.
 */
#ifndef TESTS_FUZZ_VIRTIO_GUEST_H
#define TESTS_FUZZ_VIRTIO_GUEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hw/virtio.h"
#include "hw/virtq_regs.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/util.h"

#define GUEST_SIZE (UINT64_C(1) << 20)
#define GUEST_RING UINT64_C(0x1000) /* bytes for each queue's rings: descriptors, available at 0x800, used at 0xa00 */
#define GUEST_DATA (GUEST_RING * VIRTIO_MAX_QUEUES)

struct guest {
	struct guest_mem *mem;
	struct eventloop *loop;
	struct virtio_dev *dev;
	const uint8_t *in;
	size_t left;
	uint16_t next[VIRTIO_MAX_QUEUES];
};

static void guest_interrupt(void *transport, unsigned q)
{
	(void)transport;
	(void)q;
}

static void guest_config_interrupt(void *transport)
{
	(void)transport;
}

static const struct virtio_transport_ops guest_transport = {
	.notify_queue = guest_interrupt,
	.notify_config = guest_config_interrupt,
};

/* Made once for all inputs. */
static void guest_init(struct guest *g)
{
	const struct gm_range range = { 0, GUEST_SIZE };
	struct err err = ERR_INIT;

	if (g->mem)
		return;
	log_set_level(LOG_LEVEL_ERROR);
	g->mem = gm_create(&range, 1, &err);
	g->loop = eventloop_create(&err);
	if (!g->mem || !g->loop)
		abort();
}

static unsigned guest_take(struct guest *g)
{
	if (!g->left)
		return 0;
	g->left--;
	return *g->in++;
}

static void guest_begin(struct guest *g, struct virtio_dev *dev, const uint8_t *in, size_t left)
{
	g->dev = dev;
	g->in = in;
	g->left = left;
	dev->transport_ops = &guest_transport;
	dev->transport = g;
}

static void guest_start(struct guest *g, uint64_t features)
{
	static const uint8_t steps[] = { 0, 1, 3, 11 };

	memset(gm_map(g->mem, 0, GUEST_DATA), 0, GUEST_DATA);
	memset(g->next, 0, sizeof(g->next));
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		if (steps[i] == 11)
			virtio_choose(g->dev, features & virtio_offered(g->dev, false));
		virtio_set_status(g->dev, steps[i]);
	}
	for (unsigned q = 0; q < g->dev->n_queues; q++) {
		struct virtio_queue *queue = &g->dev->queues[q];

		queue->set = (struct virtq_config){
			.size = queue->size_max,
			.desc = q * GUEST_RING,
			.avail = q * GUEST_RING + 0x800,
			.used = q * GUEST_RING + 0xa00,
		};
		queue->enabled = true;
	}
	virtio_set_status(g->dev, 15);
}

static void guest_turn_end(void *opaque)
{
	eventloop_stop(opaque);
}

static void guest_turn(struct guest *g)
{
	struct event_work end = { .run = guest_turn_end, .opaque = g->loop };

	eventloop_post(g->loop, &end);
	eventloop_run(g->loop);
}

/* A chain of one buffer of input bytes, as drivers make them, or nearly. */
static void guest_add(struct guest *g, unsigned q)
{
	uint8_t *ring = gm_map(g->mem, q * GUEST_RING, GUEST_RING);
	uint16_t size = g->dev->queues[q].size_max, at = g->next[q]++ % size;
	unsigned len = guest_take(g) % 32, flags = guest_take(g);
	uint64_t data = GUEST_DATA + 64 * (at % 128u);
	struct virtq_desc d = { le64_of(data), le32_of(len), le16_of(flags & 7), le16_of((uint16_t)((at + 1) % size)) };
	uint8_t *p = gm_map(g->mem, data, len);

	for (unsigned i = 0; i < len && !(flags & VIRTQ_DESC_F_WRITE); i++)
		p[i] = (uint8_t)guest_take(g);
	memcpy(ring + at * sizeof(d), &d, sizeof(d));
	if (flags & 0x80)
		return; /* not yet available */
	store_le16(ring + 0x800 + VIRTQ_AVAIL_RING + 2 * at, at);
	store_le16(ring + 0x800 + VIRTQ_AVAIL_IDX, load_le16(ring + 0x800 + VIRTQ_AVAIL_IDX) + 1);
}

static void guest_scribble(struct guest *g, unsigned q)
{
	unsigned at = guest_take(g) | guest_take(g) << 8, len = 1 + guest_take(g) % 16;
	uint8_t *ring = gm_map(g->mem, q * GUEST_RING, GUEST_RING);

	for (unsigned i = 0; i < len; i++)
		ring[(at + i) % GUEST_RING] = (uint8_t)guest_take(g);
}

static void guest_config(struct guest *g)
{
	unsigned offset = guest_take(g), len = 1 + guest_take(g) % 8;
	uint8_t buf[8] = { 0 };

	if (!range_ok(offset, len, g->dev->config_size))
		return;
	g->dev->ops->config_read(g->dev, offset, buf, len);
	if (g->dev->ops->config_write)
		g->dev->ops->config_write(g->dev, offset, buf, len);
}

/* What any device's guest can do; false for operations that are the target's own. `features` to choose from. */
static bool guest_step(struct guest *g, unsigned op, uint64_t features)
{
	unsigned q = guest_take(g) % g->dev->n_queues;

	switch (op) {
	case 0:
		if (g->dev->active)
			g->dev->ops->kick(g->dev, q);
		return true;
	case 1:
		guest_add(g, q);
		if (g->dev->active)
			g->dev->ops->kick(g->dev, q);
		return true;
	case 2:
		guest_scribble(g, q);
		return true;
	case 3:
		guest_config(g);
		return true;
	case 4:
		guest_turn(g);
		return true;
	case 5:
		virtio_set_status(g->dev, 0);
		guest_start(g, VIRTIO_F_VERSION_1 | (features & (UINT64_C(0x30000000) | guest_take(g))));
		return true;
	}
	return false;
}

static void guest_end(struct guest *g)
{
	virtio_set_status(g->dev, 0);
	g->dev->ops->destroy(g->dev);
}

#endif
