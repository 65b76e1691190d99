/* SPDX-License-Identifier: MIT */
/*
 * Threads for work that takes the CPU's time: compressing. A coroutine hands a function over and waits for it.
 *
 * Thread: the loop's; `fn` runs on another, and must not touch what belongs to the loop.
 */
#ifndef TOOLS_IMG_ZIP_H
#define TOOLS_IMG_ZIP_H

struct co_pool;
struct err;
struct eventloop;
struct zip;

/* As many threads as there are CPUs, at most 16. NULL with `err`. */
struct zip *zip_create(struct eventloop *loop, struct co_pool *pool, struct err *err);
/* With nothing to do. NULL is fine. */
void zip_destroy(struct zip *zip);
/* In a coroutine: returns when fn(arg) has. */
void zip_run(struct zip *zip, void (*fn)(void *arg), void *arg);

#endif
