/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * Being woken costs the one who wakes a system call or an exit, and the sleeper tens of microseconds on an idle processor: more than a fast
 * disk takes for a request. So before a loop sleeps it looks at its sources for a while, as long as that has paid lately.
 *
 * How long is learnt for each source, from the times when it woke the loop: had the loop slept for no longer than the longest look, then
 * looking would have found it, and the window grows; if it had slept for longer, looking was a waste, and the window shrinks (to nothing,
 * unless told otherwise). With one window for all of a loop, a disk slower than the longest look would keep it at nothing, although
 * the driver follows up each completion at once. The windows of sources that woke nobody are left as they are.
 *
 * A source is looked at only between being at work and the next sleep: an idle one costs nothing.
 */
#include "vmm/eventloop_poll.h"

#include "vmm/eventloop.h"
#include "vmm/util.h"

#define WINDOW_MIN INT64_C(4000)

int64_t poll_set_window(const struct poll_set *set)
{
	int64_t window = 0;

	for (const struct event_poll *p = set->first; p; p = p->next)
		window = p->window_ns > window ? p->window_ns : window;
	return window;
}

bool poll_set_serve(struct poll_set *set)
{
	bool any = false;

	/* `next` and not the element itself says where the walk is: what is served may be taken out, it or another. */
	for (struct event_poll *p = set->first; p; p = set->next) {
		set->next = p->next;
		if (p->ready(p->opaque)) {
			any = true;
			p->serve(p->opaque);
		}
	}
	return any;
}

bool poll_set_rest(struct poll_set *set)
{
	struct event_poll *p;
	bool any = false;

	while ((p = set->first)) {
		poll_set_stop(set, p);
		if (p->rest(p->opaque)) {
			any = true;
			p->serve(p->opaque);
			/* It may have been started again, and then goes on being looked at. */
			break;
		}
	}
	return any;
}

static void window_learn(const struct poll_set *set, struct event_poll *poll)
{
	const struct event_poll_limits *l = &set->limits;

	if (set->slept_ns < 0)
		return;
	if (set->slept_ns > l->max_ns)
		poll->window_ns = l->shrink ? poll->window_ns / l->shrink : 0;
	else if (set->slept_ns > poll->window_ns)
		poll->window_ns = (int64_t)min_u64((uint64_t)l->max_ns, poll->window_ns ? (uint64_t)poll->window_ns * l->grow : WINDOW_MIN);
}

bool poll_set_start(struct poll_set *set, struct event_poll *poll, bool woke)
{
	if (set->limits.max_ns == 0)
		return false;
	if (woke)
		window_learn(set, poll);
	if (poll->window_ns == 0)
		poll_set_stop(set, poll);
	if (poll->window_ns == 0 || poll->active)
		return poll->active;
	poll->active = true;
	poll->prev = NULL;
	poll->next = set->first;
	if (set->first)
		set->first->prev = poll;
	set->first = poll;
	return true;
}

void poll_set_stop(struct poll_set *set, struct event_poll *poll)
{
	if (!poll->active)
		return;
	poll->active = false;
	if (set->next == poll)
		set->next = poll->next;
	if (poll->prev)
		poll->prev->next = poll->next;
	else
		set->first = poll->next;
	if (poll->next)
		poll->next->prev = poll->prev;
}
