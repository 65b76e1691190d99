/* SPDX-License-Identifier: MIT */
/*
 * Several frames to a tap by one system call: a ring of io_uring whose writes are done while they are handed over, or not at all. A call
 * for each costs a third of what a short frame costs in all: entering the kernel, the filter of system calls, looking up the file.
 *
 * Thread: the loop's; created and destroyed by whoever has the netdev.
 */
#ifndef NET_TAP_RING_H
#define NET_TAP_RING_H

#include "net/netdev.h"

#define TAP_RING_MAX 64 /* frames at once */

struct tap_ring;

/* NULL: this host has none to give, or no memory. */
struct tap_ring *tap_ring_create(void);
void tap_ring_destroy(struct tap_ring *ring);
/*
 * Writes up to TAP_RING_MAX frames to `fd`, in their order, and waits for that. results[i]: bytes or -errno,
 * -EOPNOTSUPP where the descriptor cannot be asked not to wait. Returns how many it has dealt with; fewer
 * than `n` when the kernel refuses: the others were not written, and the ring is of no more use.
 */
unsigned tap_ring_write(struct tap_ring *ring, int fd, const struct netdev_frame *frames, unsigned n, int *results);

#endif
