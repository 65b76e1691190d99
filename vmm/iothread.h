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

/*
 * For how long the loop looks for work before it sleeps, at most: eventloop_set_polling; poll-max-ns of QEMU's iothread, whose default is 32768.
 * A request to a fast disk of a virtual machine, where Kite often runs, takes 30 to 40 us.
 */
#define IOTHREAD_POLL_NS 50000
#define IOTHREAD_POLL_NS_MAX 1000000000

/*
 * Starts it. `name` is copied: "iothread0", the thread is named "IO " and that. `poll_max_ns` is up to IOTHREAD_POLL_NS_MAX, 0: never
 * look. With one processor for all threads there is never a look: it would keep the others from what it looks for. NULL with `err`.
 */
struct iothread *iothread_create(const char *name, uint64_t poll_max_ns, struct err *err);
/* Ends it; whatever used its loop is gone. NULL is fine. */
void iothread_destroy(struct iothread *iothread);
struct eventloop *iothread_loop(struct iothread *iothread);
int iothread_tid(const struct iothread *iothread);

#endif
