/* SPDX-License-Identifier: MIT */
/*
 * A loop's io_uring: asynchronous file I/O whose completions are events of the loop. Where the host forbids io_uring
 * (kernel.io_uring_disabled, seccomp), the same calls run on a small pool of threads, with the same results in the same thread.
 *
 * Requests are embedded in their users (no allocation), and are submitted in batches: those queued in one turn of the loop go to
 * the kernel with one system call at the end of the turn, or earlier when the ring is full. What does not fit waits in order.
 *
 * Errors of a request: `done` gets what the system call would return: bytes, or -errno. -EINTR and -EAGAIN never come out: they
 * are tried again here. Short results do come out.
 *
 * Thread: the loop's own. Another thread may take its place while nothing is in flight, as when a loop starts or ends.
 */
#ifndef VMM_URING_H
#define VMM_URING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct err;
struct eventloop;
struct uring;

enum uring_op { URING_READV, URING_WRITEV, URING_FSYNC, URING_FDATASYNC, URING_FALLOCATE };

struct uring_req {
	enum uring_op op;
	int fd;
	uint64_t off;
	const struct iovec *iov; /* READV, WRITEV; borrowed until done */
	unsigned n;              /* entries, at most IOV_MAX */
	uint64_t len;            /* FALLOCATE */
	int mode;                /* FALLOCATE: FALLOC_FL_... */
	bool dsync;              /* WRITEV: RWF_DSYNC */
	bool heavy;              /* a copy from or to the page cache that takes long: not in this thread, where another waits */
	void (*done)(struct uring_req *req, int64_t result); /* later, on the loop; never inside uring_submit */
	/* The uring's own: */
	struct uring_req *next;
	int64_t result;
	unsigned tries; /* how often it was tried again */
};

/* `force_threads`: the pool even where io_uring works (aio=threads). NULL with `err` only when neither can be had. */
struct uring *uring_create(struct eventloop *loop, bool force_threads, struct err *err);
/* With no request in flight: uring_drain first. */
void uring_destroy(struct uring *uring);
/* Threads that it may have are started anew, by the calling one: what belongs to threads is now theirs. Nothing in flight. 0 or -errno. */
int uring_renew(struct uring *uring);

void uring_submit(struct uring *uring, struct uring_req *req);
/* Runs completions until nothing is in flight. */
void uring_drain(struct uring *uring);
/* Whether the kernel's io_uring is at work, for messages. */
bool uring_is_native(const struct uring *uring);

#endif
