/* SPDX-License-Identifier: MIT */
#include "net/tap_ring.h"

#include <errno.h>
#include <liburing.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "vmm/syscall_rules.h"
#include "vmm/util.h"

/* Only the lab has taps. */
SYSCALL_RULES({ CALL(io_uring_enter), .threads = THREAD_LOOP, .rare = THREAD_ANY });

struct tap_ring {
	struct io_uring uring;
};

/* Writes and nothing else: the ring is not to be a way past a filter of system calls. */
static int restrict_ring(int fd)
{
	struct io_uring_restriction allowed[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV },
	};
	int rc = io_uring_register((unsigned)fd, IORING_REGISTER_RESTRICTIONS, allowed, (unsigned)ARRAY_SIZE(allowed));

	return rc < 0 ? rc : io_uring_register((unsigned)fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

struct tap_ring *tap_ring_create(void)
{
	/* Linux 5.19, which also completes what can be at once. */
	struct io_uring_params p = { .flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN };
	struct tap_ring *ring = calloc(1, sizeof(*ring));

	if (!ring)
		return NULL;
	if (io_uring_queue_init_params(TAP_RING_MAX, &ring->uring, &p) < 0) {
		free(ring);
		return NULL;
	}
	if (restrict_ring(ring->uring.ring_fd) < 0) {
		tap_ring_destroy(ring);
		return NULL;
	}
	return ring;
}

void tap_ring_destroy(struct tap_ring *ring)
{
	if (!ring)
		return;
	io_uring_queue_exit(&ring->uring);
	free(ring);
}

static unsigned ring_fill(struct io_uring *uring, int fd, const struct netdev_frame *frames, unsigned n)
{
	unsigned i = 0;

	for (; i < n; i++) {
		const struct netdev_frame *frame = &frames[i];
		struct io_uring_sqe *sqe = io_uring_get_sqe(uring);

		if (!sqe)
			break;
		/* One buffer needs no array of them, which the kernel would copy. */
		if (frame->n == 1)
			io_uring_prep_write(sqe, fd, frame->iov->iov_base, (unsigned)frame->iov->iov_len, 0);
		else
			io_uring_prep_writev(sqe, fd, frame->iov, (unsigned)frame->n, 0);
		/* Else one that is full would be waited for: O_NONBLOCK is no matter of the ring's. */
		sqe->rw_flags = RWF_NOWAIT;
		io_uring_sqe_set_data64(sqe, i);
	}
	return i;
}

static void ring_collect(struct io_uring *uring, unsigned n, int *results)
{
	while (n) {
		struct io_uring_cqe *cqe;
		int rc = io_uring_wait_cqe(uring, &cqe);

		if (rc == -EINTR)
			continue;
		if (rc < 0) /* the kernel does not forget requests: there is no such error of a ring that is there */
			return;
		if (cqe->user_data < TAP_RING_MAX)
			results[cqe->user_data] = cqe->res;
		io_uring_cqe_seen(uring, cqe);
		n--;
	}
}

unsigned tap_ring_write(struct tap_ring *ring, int fd, const struct netdev_frame *frames, unsigned n, int *results)
{
	unsigned filled = ring_fill(&ring->uring, fd, frames, (unsigned)min_u64(n, TAP_RING_MAX));
	int rc = io_uring_submit_and_wait(&ring->uring, filled);
	unsigned taken = rc > 0 ? (unsigned)rc : 0;

	for (unsigned i = 0; i < taken; i++)
		results[i] = -EIO;
	ring_collect(&ring->uring, taken, results);
	return taken;
}
