/* SPDX-License-Identifier: MIT */
/*
 * A guest's virtio driver for tests: real guest memory, rings in it, and a transport that counts interrupts. Uses the real event
 * loop, which the test turns itself (fake_virtio_turn) unless a thread of its own runs it.
 *
 *	struct fake_virtio f;
 *
 *	fake_virtio_init(&f);
 *	dev = ... created with f.mem and f.loop ...
 *	fake_virtio_attach(&f, dev);
 *	fake_virtio_start(&f, VIRTIO_F_VERSION_1 | ...);  reset, features, all queues at their offered size, DRIVER_OK
 *	fake_ring_add(&f.ring[0], bufs, n);               a chain, made available
 *	fake_virtio_kick(&f, 0);                          the doorbell; also turns the loop once
 *	fake_virtio_wait(&f, 0, 1, 1000);                 until one used element is there
 *	fake_ring_used(&f.ring[0], &head, &len);
 *
 * What a driver must not do is done with fake_ring_desc, fake_ring_put and fake_ring_avail_idx, which write what they are told.
 */
#ifndef TESTS_UNIT_FAKE_VIRTIO_H
#define TESTS_UNIT_FAKE_VIRTIO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hw/virtio.h"
#include "hw/virtq.h"
#include "hw/virtq_regs.h"
#include "vmm/guest_mem.h"

/* Guest memory: two regions with a hole between them. */
#define FAKE_LOW_SIZE UINT64_C(0x1000000)
#define FAKE_HIGH UINT64_C(0x2000000)
#define FAKE_HIGH_SIZE UINT64_C(0x1000000)
#define FAKE_ALLOC_START UINT64_C(0x10000)

/* The driver's side of a queue. */
struct fake_ring {
	const struct guest_mem *mem;
	struct virtq_config cfg;
	uint16_t next_desc; /* descriptors are taken in turn; a test frees none */
	uint16_t avail_idx, used_idx;
};

struct fake_virtio {
	struct guest_mem *mem;
	struct eventloop *loop;
	struct virtio_dev *dev; /* borrowed */
	uint64_t next_alloc;
	struct fake_ring ring[VIRTIO_MAX_QUEUES];
	atomic_uint queue_interrupts[VIRTIO_MAX_QUEUES];
	atomic_uint config_interrupts;
	atomic_uint transport_resets;
	atomic_bool doorbells;
};

struct fake_buf {
	uint64_t gpa;
	uint32_t len;
	bool writable;
};

void fake_virtio_init(struct fake_virtio *f);
void fake_virtio_fini(struct fake_virtio *f); /* after the device */
/* Puts the counting transport on `dev`. */
void fake_virtio_attach(struct fake_virtio *f, struct virtio_dev *dev);

/* `len` bytes of guest memory, zeroed, aligned to `align` (a power of two); never given back. */
uint64_t fake_alloc(struct fake_virtio *f, uint64_t len, uint64_t align);
/* The same, and `data` in it. */
uint64_t fake_alloc_data(struct fake_virtio *f, const void *data, uint32_t len);
void *fake_mem(struct fake_virtio *f, uint64_t gpa, uint64_t len); /* a pointer; ends the test when it is not memory */

/* Driver's start: returns the status at the end. `features` as the driver chooses them. */
uint8_t fake_virtio_start(struct fake_virtio *f, uint64_t features);
/* The parts of it. */
void fake_virtio_negotiate(struct fake_virtio *f, uint64_t features); /* to FEATURES_OK */
void fake_virtio_setup_queue(struct fake_virtio *f, unsigned q, uint16_t size);
void fake_virtio_reset(struct fake_virtio *f);
/* Rings the doorbell, and turns the loop once when no thread runs it. */
void fake_virtio_kick(struct fake_virtio *f, unsigned q);
/* One turn of the loop: descriptors that are ready, timers that are due, posted work. */
void fake_virtio_turn(struct fake_virtio *f);
/* Turns the loop until queue q has `n` used elements that fake_ring_used has not taken. False after `ms`. */
bool fake_virtio_wait(struct fake_virtio *f, unsigned q, unsigned n, unsigned ms);

/* A ring in fresh guest memory, without a device: for virtq_init(&vq, f.mem, &ring.cfg). */
void fake_ring_init(struct fake_ring *ring, struct fake_virtio *f, uint16_t size, bool indirect, bool event_idx);
/* A chain of `n` buffers, made available. Returns the head. */
uint16_t fake_ring_add(struct fake_ring *ring, const struct fake_buf *bufs, unsigned n);
/* The same in an indirect table. */
uint16_t fake_ring_add_indirect(struct fake_ring *ring, struct fake_virtio *f, const struct fake_buf *bufs, unsigned n);
/* Used elements that have not been taken; and takes one. */
unsigned fake_ring_used_count(const struct fake_ring *ring);
bool fake_ring_used(struct fake_ring *ring, uint32_t *head, uint32_t *len);

/* Whatever a driver can write. */
void fake_desc_write(const struct guest_mem *mem, uint64_t table, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next);
void fake_ring_desc(struct fake_ring *ring, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next);
void fake_ring_put(struct fake_ring *ring, uint16_t head); /* the next available entry, published */
void fake_ring_avail_idx(struct fake_ring *ring, uint16_t idx);
void fake_ring_avail_flags(struct fake_ring *ring, uint16_t flags);
void fake_ring_used_event(struct fake_ring *ring, uint16_t idx);
uint16_t fake_ring_used_flags(const struct fake_ring *ring);
uint16_t fake_ring_used_idx(const struct fake_ring *ring); /* as the device published it */
uint16_t fake_ring_avail_event(const struct fake_ring *ring);

#endif
