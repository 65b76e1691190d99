/* SPDX-License-Identifier: MIT */
/*
 * Coroutines: straight-line code for paths that wait for I/O many times, such as an image format's metadata. A pool belongs to one
 * event loop and has its own bounded number of stacks; tasks for which there is none wait in order.
 *
 * Nothing nests: a task that is started or woken from inside a coroutine runs when that one next waits or ends. From outside, it runs
 * at once, up to its first wait. So between two waits a coroutine is alone, and needs no locks.
 *
 * Thread: the loop's own, for everything of a pool.
 */
#ifndef VMM_CO_H
#define VMM_CO_H

#include <stdbool.h>
#include <stddef.h>

struct co;
struct co_pool;
struct err;

/* Embedded in its user; not touched any more once `run` has begun. */
struct co_task {
	void (*run)(void *opaque);
	void *opaque;
	struct co_task *next; /* the pool's own */
};

/* `max` coroutines at a time. One stack is made at once, the others when they are needed. NULL with `err`. */
struct co_pool *co_pool_create(unsigned max, struct err *err);
/* With nothing running or waiting. NULL is fine. */
void co_pool_destroy(struct co_pool *pool);

/* `run` is called in a coroutine. It never fails: where a stack cannot be had, the task waits for another's to end. */
void co_start(struct co_pool *pool, struct co_task *task);

/* The one that runs now; NULL outside. */
struct co *co_self(const struct co_pool *pool);
/* Waits until co_wake. In a coroutine. */
void co_wait(struct co_pool *pool);
/* Of one that waits, once for each wait. */
void co_wake(struct co *co);

/* Those that wait for something, in order. Zero-initialized it is empty. */
struct co_queue {
	struct co *first, *last;
};

void co_queue_wait(struct co_pool *pool, struct co_queue *queue);
void co_queue_wake(struct co_queue *queue); /* all */

/* Passed on in order. Zero-initialized it is free. */
struct co_mutex {
	struct co *owner;
	struct co_queue queue;
};

void co_lock(struct co_pool *pool, struct co_mutex *mutex);
void co_unlock(struct co_mutex *mutex);

#endif
