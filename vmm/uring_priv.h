/* SPDX-License-Identifier: MIT */
/*
 * What vmm/uring.c and vmm/uring_pool.c share: lists of requests, and the pool of threads that stands in for a ring.
 *
 * Thread: the loop's own; the pool's threads see a request only between pool_submit and pool_collect.
 */
#ifndef VMM_URING_PRIV_H
#define VMM_URING_PRIV_H

#include <stdbool.h>

#include "vmm/uring.h"

struct err;

/* First in, first out, linked through req->next. Zero-initialized it is empty. */
struct uring_list {
	struct uring_req *first, *last;
};

static inline void uring_list_append(struct uring_list *list, struct uring_req *req)
{
	req->next = NULL;
	if (list->first)
		list->last->next = req;
	else
		list->first = req;
	list->last = req;
}

static inline struct uring_req *uring_list_pop(struct uring_list *list)
{
	struct uring_req *req = list->first;

	if (req)
		list->first = req->next;
	return req;
}

/* Moves all of `from` to the end of `to`. */
static inline void uring_list_move(struct uring_list *to, struct uring_list *from)
{
	if (!from->first)
		return;
	if (to->first)
		to->last->next = from->first;
	else
		to->first = from->first;
	to->last = from->last;
	from->first = NULL;
}

struct uring_pool;

struct uring_pool *pool_create(struct err *err);
/* With no request in it. */
void pool_destroy(struct uring_pool *pool);
/* New threads in place of those there are, with nothing under way. 0, or -errno and the pool has none. */
int pool_renew(struct uring_pool *pool);
/* Readable when there is something to collect. */
int pool_fd(const struct uring_pool *pool);
/* Takes all requests of `list`. */
void pool_submit(struct uring_pool *pool, struct uring_list *list);
/* Appends what is done to `list`, with `result` set. */
void pool_collect(struct uring_pool *pool, struct uring_list *list);
/* Waits until there is something to collect. */
void pool_wait(struct uring_pool *pool);

#endif
