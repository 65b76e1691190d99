/* SPDX-License-Identifier: MIT */
/*
 * The sources that an event loop looks at before it sleeps, and for how long: the part of vmm/eventloop.c that decides. Its users
 * call eventloop_poll_start and eventloop_poll_stop.
 *
 * Thread: the loop's.
 */
#ifndef VMM_EVENTLOOP_POLL_H
#define VMM_EVENTLOOP_POLL_H

#include <stdbool.h>
#include <stdint.h>

struct event_poll;

struct poll_set {
	struct event_poll *first;   /* those looked at now */
	struct event_poll *next;    /* to be looked at next, while a walk is under way */
	int64_t max_ns;             /* longest look; 0: never look */
	int64_t slept_ns;           /* how long the loop was without anything to do before this turn; -1: it was not */
};

/* How long to look, in nanoseconds; 0: not at all. */
int64_t poll_set_window(const struct poll_set *set);
/* Looks at each once, `waited_ns` after the look began, and serves those that have something. Whether there was one. */
bool poll_set_serve(struct poll_set *set, int64_t waited_ns);
/* The loop goes to sleep: each is asked to wake it, and is looked at no more. Whether one had something after all; it is served. */
bool poll_set_rest(struct poll_set *set);
/* A source is at work; see eventloop_poll_start. */
bool poll_set_start(struct poll_set *set, struct event_poll *poll, bool woke);
void poll_set_stop(struct poll_set *set, struct event_poll *poll);

#endif
