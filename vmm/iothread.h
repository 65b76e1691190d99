/* SPDX-License-Identifier: MIT */
/*
 * A thread that runs an event loop: where queues and back ends work (-object iothread).
 *
 * Thread: main.
 */
#ifndef VMM_IOTHREAD_H
#define VMM_IOTHREAD_H

struct err;
struct eventloop;
struct iothread;

/* Starts it. `name` is copied: "iothread0", the thread is named "IO " and that. NULL with `err`. */
struct iothread *iothread_create(const char *name, struct err *err);
/* Ends it; whatever used its loop is gone. NULL is fine. */
void iothread_destroy(struct iothread *iothread);
struct eventloop *iothread_loop(struct iothread *iothread);
int iothread_tid(const struct iothread *iothread);

#endif
