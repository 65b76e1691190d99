/* SPDX-License-Identifier: MIT */
/*
 * A thread that runs an event loop: where queues and back ends work (-object iothread).
 *
 * Thread: main.
 */
#ifndef VMM_IOTHREAD_H
#define VMM_IOTHREAD_H

#include <stdint.h>

struct err;
struct eventloop;
struct iothread;

/* How the loop looks for work before it sleeps: eventloop_set_polling, with the ranges and the defaults of QEMU's iothread. */
struct iothread_polling {
	uint64_t max_ns; /* up to IOTHREAD_POLL_NS_MAX; 0: never */
	unsigned grow;   /* 0: as 2 */
	unsigned shrink;
};
#define IOTHREAD_POLL_NS 32768
#define IOTHREAD_POLL_NS_MAX 1000000000

/*
 * Starts it. `name` is copied: "iothread0", the thread is named "IO " and that. `polling` NULL: the defaults. With one processor for all
 * threads there is never a look: it would keep the others from what it looks for. NULL with `err`.
 */
struct iothread *iothread_create(const char *name, const struct iothread_polling *polling, struct err *err);
/* Ends it; whatever used its loop is gone. NULL is fine. */
void iothread_destroy(struct iothread *iothread);
struct eventloop *iothread_loop(struct iothread *iothread);
int iothread_tid(const struct iothread *iothread);

#endif
