/* SPDX-License-Identifier: MIT */
/*
 * A split virtqueue (Virtual I/O Device Specification 1.2, section 2.7), the device's side.
 *
 * The driver is an attacker. Each descriptor is copied once and the copy checked: index below the size, chain no longer than the
 * queue, indirect tables only if negotiated, not nested, a multiple of 16 bytes, at most the queue's size of entries; readable
 * before writable; the sum of lengths in 32 bits; each buffer inside guest memory. The available index may not run ahead by more
 * than the size, and a head that is in flight may not come again. What breaks a rule breaks the queue: it returns nothing more until
 * it is reset, and its owner sets DEVICE_NEEDS_RESET.
 *
 * Thread: the loop that the queue's device works on; set-up while it is not activated.
 */
#ifndef HW_VIRTQ_H
#define HW_VIRTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct guest_mem;

#define VIRTQ_SIZE_MAX 1024

/* Set by the transport before activation, frozen then. */
struct virtq_config {
	uint16_t size;               /* a power of two, at most VIRTQ_SIZE_MAX */
	uint64_t desc, avail, used;  /* guest physical addresses */
	bool indirect, event_idx;    /* negotiated */
};

struct virtq {
	const struct guest_mem *mem;
	struct virtq_config cfg;
	const uint8_t *desc; /* host views, checked for their whole length */
	uint8_t *avail, *used;
	uint16_t next_avail;   /* the next entry to pop */
	uint16_t used_idx;     /* next to push */
	uint16_t signalled;    /* used_idx when the driver was last told */
	bool signalled_valid;
	bool broken;
	bool polled;           /* somebody looks at the ring: the driver need not ring */
	const char *why;       /* for the log: what broke it */
	uint8_t in_flight[VIRTQ_SIZE_MAX / 8];
	unsigned n_in_flight;
};

/* A request: the buffers of a chain, readable ones first. */
struct virtq_chain {
	uint16_t head;
	struct iovec *iov; /* as given to virtq_pop: n_out readable, then n_in writable */
	size_t n_out, n_in;
	uint32_t out_len, in_len; /* bytes */
};

/* 0, or -EINVAL: size, alignment (2.7: 16, 2, 4) or a ring outside guest memory. */
int virtq_init(struct virtq *vq, const struct guest_mem *mem, const struct virtq_config *cfg);

/*
 * Takes the next chain. 1: filled in. 0: there is none. -EINVAL: the queue is broken (see vq->why). -E2BIG: the chain has more than `max`
 * buffers; it has been taken and is in flight, with chain->head valid and nothing else: push it back with length 0, or break.
 */
int virtq_pop(struct virtq *vq, struct virtq_chain *chain, struct iovec *iov, size_t max);

/* Gives a chain back, `written` bytes of its writable part filled. */
void virtq_push(struct virtq *vq, uint16_t head, uint32_t written);
/* The same in two steps, for chains that the driver may only see together, or to tell it of many at once: each is put, and then all are published. */
void virtq_put(struct virtq *vq, uint16_t head, uint32_t written);
void virtq_publish(struct virtq *vq);

/* After pushes: whether the driver wants to be interrupted (2.7.7). Resets the question. */
bool virtq_should_interrupt(struct virtq *vq);

/* Whether there is something to pop. Looks at the ring and does nothing. */
bool virtq_has_more(const struct virtq *vq);

/*
 * Doorbells (2.7.10). virtq_doorbell_off while the device polls anyway; virtq_doorbell_on before it sleeps: returns true when there is more
 * to pop already, and then the device goes on. With `polled` set somebody looks at the ring on the device's behalf: virtq_doorbell_on then
 * only says whether there is more, until virtq_polled is called with false.
 */
void virtq_doorbell_off(struct virtq *vq);
bool virtq_doorbell_on(struct virtq *vq);
void virtq_polled(struct virtq *vq, bool on); /* with true the doorbell is off at once */

/* Marks it broken; `why` is static text. */
void virtq_break(struct virtq *vq, const char *why);

#endif
