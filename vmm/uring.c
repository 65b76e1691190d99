/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * A request moves through these lists, each first in, first out:
 *
 *   pending   submitted in this turn, or waiting for room
 *   (kernel)  in the ring, or with the pool of threads: `in_kernel` of them
 *   done      completed, `done` not yet called
 *   pending or `later`, when it has to be tried again: the first TRIES_AT_ONCE times at once, then a little later
 *
 * uring_submit only queues, and posts the work `flush` to the loop, which runs at the end of the turn and hands everything over in one
 * system call. Of many requests in a turn every SUBMIT_BATCH go ahead: a disk that completes in bursts then works on the first ones while the
 * rest of the burst is still taken from the guest, instead of both waiting for each other. (4 KiB at depth 32 on a virtio disk of the
 * host's: 1.2 times the requests of one call for all. Fewer than 4 bring no more, and cost more calls.) The last call of a turn also has
 * the kernel complete what it can, so what needed no waiting is delivered in the same turn. All else makes the ring's descriptor
 * readable, which wakes the loop.
 *
 * No more requests are in the kernel than the completion queue has entries, so that it cannot overflow.
 *
 * The ring interrupts nobody with completions (COOP_TASKRUN), where the kernel has that: they are run when this thread next enters
 * the kernel, or wake it from epoll. DEFER_TASKRUN would go further, but does not go with epoll: with it, work that waits for the thread
 * does not make the ring's descriptor readable.
 */
#include "vmm/uring.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"
#include "vmm/syscall_rules.h"
#include "vmm/uring_priv.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(io_uring_enter), .threads = THREAD_LOOP },
	/* A ring that is wanted late (a medium's) is none, but the threads that stand in for it. */
	{ CALL(io_uring_setup), .threads = THREAD_LOOP, .error = EPERM, .rare = THREAD_ANY },
	{ CALL(poll), .threads = THREAD_LOOP }, /* a drain that the kernel refuses */
);

#define SQ_ENTRIES 128
#define CQ_ENTRIES 1024
#define REAP_BATCH 64
#define SUBMIT_BATCH 4
#define TRIES_AT_ONCE 3
#define RETRY_NS INT64_C(1000000)

struct uring {
	struct eventloop *loop;
	struct event_fd ev; /* the ring, or the pool's eventfd */
	struct event_poll poll; /* looks at the ring's completions in its stead */
	struct event_work flush;
	struct event_timer retry;
	struct uring_list pending, later, done;
	unsigned in_flight; /* all that have not had their `done` */
	unsigned in_kernel;
	unsigned n_fresh;   /* since the last submission */
	struct uring_pool *pool; /* NULL: the ring */
	struct io_uring ring;
	bool open;
	bool complained; /* that the kernel refuses to take requests */
};

/* The ring */

/* What sqe_fill makes, and nothing else: the ring is not to be a way past a filter of system calls. */
static int ring_restrict(struct io_uring *ring)
{
	static const uint8_t ops[] = { IORING_OP_READ,	IORING_OP_READV, IORING_OP_WRITE, IORING_OP_WRITEV,
				       IORING_OP_FSYNC, IORING_OP_FALLOCATE };
	struct io_uring_restriction allowed[ARRAY_SIZE(ops) + 1] = {
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_ASYNC },
	};
	int rc;

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		allowed[1 + i] = (struct io_uring_restriction){ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = ops[i] };
	/* By number: liburing's own functions for these two are not in every shared library of it. */
	rc = io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_RESTRICTIONS, allowed, (unsigned)ARRAY_SIZE(allowed));
	return rc < 0 ? rc : io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

/* From the best set-up to what every kernel takes that has the operations used here. */
static int ring_init(struct io_uring *ring)
{
	static const unsigned flags[] = {
		IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, /* 5.19 */
		IORING_SETUP_R_DISABLED, /* 5.10 */
		0,
	};
	int rc = -EINVAL;

	for (size_t i = 0; i < ARRAY_SIZE(flags) && rc == -EINVAL; i++) {
		struct io_uring_params p = {
			.flags = flags[i] | IORING_SETUP_CQSIZE,
			.cq_entries = CQ_ENTRIES,
		};

		rc = io_uring_queue_init_params(SQ_ENTRIES, ring, &p);
		if (rc == 0 && (flags[i] & IORING_SETUP_R_DISABLED)) {
			rc = ring_restrict(ring);
			if (rc < 0)
				io_uring_queue_exit(ring);
		}
	}
	return rc;
}

static int ring_open(struct uring *u)
{
	int rc = ring_init(&u->ring);

	if (rc < 0)
		return rc;
	u->open = true;
	u->ev.fd = u->ring.ring_fd;
	rc = eventloop_add_fd(u->loop, &u->ev, EPOLLIN);
	if (rc < 0) {
		io_uring_queue_exit(&u->ring);
		u->open = false;
	}
	return rc;
}

static void ring_close(struct uring *u)
{
	if (!u->open)
		return;
	eventloop_del_fd(u->loop, &u->ev);
	io_uring_queue_exit(&u->ring);
	u->open = false;
}

static void sqe_fill(const struct uring *u, struct io_uring_sqe *sqe, struct uring_req *req)
{
	switch (req->op) {
	case URING_READV:
		/* One buffer needs no array of them, which the kernel would copy. */
		if (req->n == 1 && req->iov->iov_len <= INT_MAX)
			io_uring_prep_read(sqe, req->fd, req->iov->iov_base, (unsigned)req->iov->iov_len, req->off);
		else
			io_uring_prep_readv(sqe, req->fd, req->iov, req->n, req->off);
		break;
	case URING_WRITEV:
		if (req->n == 1 && req->iov->iov_len <= INT_MAX)
			io_uring_prep_write(sqe, req->fd, req->iov->iov_base, (unsigned)req->iov->iov_len, req->off);
		else
			io_uring_prep_writev(sqe, req->fd, req->iov, req->n, req->off);
		sqe->rw_flags = req->dsync ? RWF_DSYNC : 0;
		break;
	case URING_FSYNC:
		io_uring_prep_fsync(sqe, req->fd, 0);
		break;
	case URING_FDATASYNC:
		io_uring_prep_fsync(sqe, req->fd, IORING_FSYNC_DATASYNC);
		break;
	case URING_FALLOCATE:
		io_uring_prep_fallocate(sqe, req->fd, req->mode, (off_t)req->off, (off_t)req->len);
		break;
	}
	if (req->heavy && u->in_flight > 1)
		sqe->flags |= IOSQE_ASYNC;
	io_uring_sqe_set_data(sqe, req);
}

/* What is in the submission queue to the kernel. Returns 0 or -errno. */
static int ring_enter(struct uring *u, unsigned wait)
{
	for (;;) {
		unsigned before = io_uring_sq_ready(&u->ring);
		int rc = wait ? io_uring_submit_and_wait(&u->ring, wait) : io_uring_submit_and_get_events(&u->ring);

		if (rc == -EINTR && !wait)
			continue;
		if (rc < 0)
			return rc;
		/* Kernels without SUBMIT_ALL stop at a request that they refuse: that one is completed, the others are left. */
		if (io_uring_sq_ready(&u->ring) == 0 || io_uring_sq_ready(&u->ring) == before)
			return 0;
	}
}

/* Returns how many it collected. */
static unsigned ring_collect(struct uring *u)
{
	unsigned total = 0, n;

	do {
		struct io_uring_cqe *cqes[REAP_BATCH];

		n = io_uring_peek_batch_cqe(&u->ring, cqes, REAP_BATCH);
		for (unsigned i = 0; i < n; i++) {
			struct uring_req *req = io_uring_cqe_get_data(cqes[i]);

			req->result = cqes[i]->res;
			uring_list_append(&u->done, req);
		}
		io_uring_cq_advance(&u->ring, n);
		u->in_kernel -= n;
		total += n;
	} while (n == REAP_BATCH && u->in_kernel > 0);
	return total;
}

static int ring_submit(struct uring *u)
{
	int rc = 0;

	while (rc == 0 && u->pending.first && u->in_kernel < CQ_ENTRIES) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

		if (!sqe) {
			rc = ring_enter(u, 0);
			if (rc == 0 && io_uring_sq_space_left(&u->ring) == 0)
				rc = -EAGAIN;
			continue;
		}
		sqe_fill(u, sqe, uring_list_pop(&u->pending));
		u->in_kernel++;
	}
	return rc < 0 ? rc : ring_enter(u, 0);
}

/* Both */

static void collect(struct uring *u)
{
	struct uring_list got = { NULL, NULL };

	if (!u->pool) {
		ring_collect(u);
		return;
	}
	pool_collect(u->pool, &got);
	for (const struct uring_req *req = got.first; req; req = req->next)
		u->in_kernel--;
	uring_list_move(&u->done, &got);
}

static void submit(struct uring *u)
{
	int rc;

	u->n_fresh = 0;

	if (u->pool) {
		for (const struct uring_req *req = u->pending.first; req; req = req->next)
			u->in_kernel++;
		pool_submit(u->pool, &u->pending);
		return;
	}
	rc = ring_submit(u);
	if (rc == 0)
		return;
	/* The kernel is short of memory, as a rule. What it has not taken stays in the queue. */
	if (rc != -EAGAIN && rc != -EBUSY && !u->complained) {
		u->complained = true;
		log_error("io_uring takes no requests, trying on: %s", strerror(-rc));
	}
	eventloop_arm(u->loop, &u->retry, now_ns() + RETRY_NS);
}

/* Whether it has to be tried again, and is queued for that. */
static bool try_again(struct uring *u, struct uring_req *req)
{
	if (req->result != -EINTR && req->result != -EAGAIN)
		return false;
	if (req->tries < TRIES_AT_ONCE) {
		req->tries++;
		uring_list_append(&u->pending, req);
		eventloop_post(u->loop, &u->flush);
	} else {
		uring_list_append(&u->later, req);
		if (!u->retry.armed)
			eventloop_arm(u->loop, &u->retry, now_ns() + RETRY_NS);
	}
	return true;
}

/* A callback may submit more, or drain. */
static void deliver(struct uring *u)
{
	struct uring_req *req;

	while ((req = uring_list_pop(&u->done))) {
		if (try_again(u, req))
			continue;
		u->in_flight--;
		req->done(req, req->result);
	}
	/* What had no room may have it now. */
	if (u->pending.first)
		eventloop_post(u->loop, &u->flush);
}

static void uring_serve(void *opaque)
{
	struct uring *u = opaque;

	collect(u);
	deliver(u);
}

static void uring_ready(void *opaque, uint32_t revents)
{
	struct uring *u = opaque;

	(void)revents;
	if (!u->pool)
		eventloop_poll_start(u->loop, &u->poll, true);
	uring_serve(u);
}

/* Completions, or work of the kernel's for this thread, which would become completions if it entered the kernel. */
static bool uring_has_more(void *opaque)
{
	struct uring *u = opaque;

	return u->in_kernel > 0 &&
	       (io_uring_cq_ready(&u->ring) > 0 || (__atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_TASKRUN));
}

/* The ring's descriptor wakes the loop anyway. */
static bool uring_rest(void *opaque)
{
	return uring_has_more(opaque);
}

static void uring_flush(void *opaque)
{
	struct uring *u = opaque;

	submit(u);
	if (u->pool)
		return;
	if (u->in_kernel > 0)
		eventloop_poll_start(u->loop, &u->poll, false);
	uring_serve(u);
}

static void uring_retry(void *opaque)
{
	struct uring *u = opaque;

	uring_list_move(&u->pending, &u->later);
	uring_flush(u);
}

void uring_submit(struct uring *u, struct uring_req *req)
{
	req->tries = 0;
	u->in_flight++;
	uring_list_append(&u->pending, req);
	/* Posting costs a lock, so only for the first one of a turn. */
	if (!u->pending.first->next)
		eventloop_post(u->loop, &u->flush);
	if (++u->n_fresh == SUBMIT_BATCH && !u->pool)
		submit(u);
}

static void drain_wait(struct uring *u)
{
	int rc = 0;

	if (u->in_kernel == 0)
		rc = -EAGAIN;
	else if (u->pool)
		pool_wait(u->pool);
	else
		rc = ring_enter(u, 1);
	if (rc < 0 && rc != -EINTR)
		poll(NULL, 0, 1);
}

void uring_drain(struct uring *u)
{
	while (u->in_flight > 0) {
		uring_list_move(&u->pending, &u->later);
		if (u->pending.first || (u->open && io_uring_sq_ready(&u->ring) > 0))
			submit(u);
		collect(u);
		if (u->done.first)
			deliver(u);
		else
			drain_wait(u);
	}
}

static int pool_open(struct uring *u, struct err *err)
{
	int rc;

	u->pool = pool_create(err);
	if (!u->pool)
		return err->code;
	u->ev.fd = pool_fd(u->pool);
	rc = eventloop_add_fd(u->loop, &u->ev, EPOLLIN);
	return rc < 0 ? err_set_errno(err, rc, "cannot watch the eventfd of the threads for file I/O") : 0;
}

/* On the loop's thread, if there is one: it alone may touch what the loop watches. */
struct open_call {
	struct uring *uring;
	bool threads;
	struct err *err;
	int rc;
};

static void open_on_loop(void *arg)
{
	struct open_call *call = arg;
	struct uring *u = call->uring;

	if (!call->threads) {
		call->rc = ring_open(u);
		/* Before 5.6 the ring lacks some of the operations. */
		if (call->rc == 0 && (u->ring.features & IORING_FEAT_RW_CUR_POS))
			return;
		ring_close(u);
		log_debug("file I/O by threads, as io_uring is not to be had: %s",
			  call->rc < 0 ? strerror(-call->rc) : "this kernel is too old");
	}
	call->rc = pool_open(u, call->err);
}

struct uring *uring_create(struct eventloop *loop, bool force_threads, struct err *err)
{
	struct uring *u = calloc(1, sizeof(*u));
	struct open_call call = { .uring = u, .threads = force_threads, .err = err };

	if (!u) {
		err_set_errno(err, -ENOMEM, "cannot set up file I/O");
		return NULL;
	}
	u->loop = loop;
	u->ev = (struct event_fd){ .fd = -1, .ready = uring_ready, .opaque = u };
	u->poll = (struct event_poll){ .ready = uring_has_more, .serve = uring_serve, .rest = uring_rest, .opaque = u };
	u->flush = (struct event_work){ .run = uring_flush, .opaque = u };
	u->retry = (struct event_timer){ .fire = uring_retry, .opaque = u };
	eventloop_call_sync(loop, open_on_loop, &call);
	if (call.rc == 0)
		return u;
	uring_destroy(u);
	return NULL;
}

static void close_on_loop(void *arg)
{
	struct uring *u = arg;

	assert(u->in_flight == 0);
	eventloop_cancel_work(u->loop, &u->flush);
	eventloop_cancel(u->loop, &u->retry);
	eventloop_poll_stop(u->loop, &u->poll);
	ring_close(u);
	eventloop_del_fd(u->loop, &u->ev);
}

void uring_destroy(struct uring *u)
{
	if (!u)
		return;
	eventloop_call_sync(u->loop, close_on_loop, u);
	pool_destroy(u->pool);
	free(u);
}

int uring_renew(struct uring *u)
{
	return u->pool ? pool_renew(u->pool) : 0;
}

bool uring_is_native(const struct uring *u)
{
	return !u->pool;
}
