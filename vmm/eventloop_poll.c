/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * Being woken costs the one who wakes a system call or an exit, and the sleeper tens of microseconds on an idle processor: more than a fast
 * disk takes for a request. So before a loop sleeps it looks at its sources for a while, where that has paid lately.
 *
 * How long is learnt for each source; 0 is not at all.
 *
 *  - One that woke the loop after a sleep of up to twice the longest look is worth a try: without the sleep and the waking it may well have
 *    come in time. The window becomes a quarter more than the sleep.
 *  - What a look finds brings the window down to about twice the time that it took.
 *  - A source that wakes the loop right after a look at it has found nothing was looked at for nothing. Once is no reason: some requests take
 *    longer than others. After a second time in a row it is left alone for a number of wakings, which doubles with each failure. There are such
 *    that cannot be found: a file system that completes direct writes in a worker on this processor does so only once the loop sleeps.
 *
 * With one window for all of a loop, a disk slower than the longest look would keep it at nothing, although the driver follows up each
 * completion at once. A source is looked at only between being at work and the next sleep: an idle one costs nothing.
 */
#include "vmm/eventloop_poll.h"

#include "vmm/eventloop.h"
#include "vmm/util.h"

#define WINDOW_MIN UINT64_C(2000)
#define HOLD_OFF_MAX 31

int64_t poll_set_window(const struct poll_set *set)
{
	int64_t window = 0;

	for (const struct event_poll *p = set->first; p; p = p->next)
		window = p->window_ns > window ? p->window_ns : window;
	return window;
}

/* Found after this long: the window comes down to what is needed, twice that, but for the least. */
static void window_trim(const struct poll_set *set, struct event_poll *poll, int64_t waited_ns)
{
	int64_t window = poll->window_ns - poll->window_ns / 8 + waited_ns / 4;

	poll->window_ns = (int64_t)min_u64(max_u64((uint64_t)window, WINDOW_MIN), (uint64_t)set->max_ns);
	poll->hold_off /= 2;
	poll->missed_before = false;
}

bool poll_set_serve(struct poll_set *set, int64_t waited_ns)
{
	bool any = false;

	/* `next` and not the element itself says where the walk is: what is served may be taken out, it or another. */
	for (struct event_poll *p = set->first; p; p = set->next) {
		set->next = p->next;
		if (p->ready(p->opaque)) {
			any = true;
			window_trim(set, p, waited_ns);
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
		p->missed = true;
		if (p->rest(p->opaque)) {
			any = true;
			p->missed = false;
			p->serve(p->opaque);
			/* It may have been started again, and then goes on being looked at. */
			break;
		}
	}
	return any;
}

static void window_learn(const struct poll_set *set, struct event_poll *poll)
{
	bool missed = poll->missed;
	uint64_t max = (uint64_t)set->max_ns;

	poll->missed = false;
	if (set->slept_ns < 0)
		return;
	if (missed && !poll->missed_before) {
		uint64_t waited = (uint64_t)poll->window_ns + (uint64_t)set->slept_ns;

		poll->missed_before = true;
		poll->window_ns = (int64_t)min_u64(waited + waited / 4, max);
	} else if (missed) {
		poll->hold_off = (unsigned)min_u64(2 * poll->hold_off + 1, HOLD_OFF_MAX);
		poll->wakings_left = poll->hold_off;
		poll->window_ns = 0;
	} else if (poll->wakings_left > 0) {
		poll->wakings_left--;
	} else if ((uint64_t)set->slept_ns <= 2 * max) {
		uint64_t window = max_u64((uint64_t)set->slept_ns + (uint64_t)set->slept_ns / 4, WINDOW_MIN);

		poll->window_ns = (int64_t)min_u64(max_u64(window, (uint64_t)poll->window_ns), max);
	} else {
		poll->window_ns = 0;
	}
}

bool poll_set_start(struct poll_set *set, struct event_poll *poll, bool woke)
{
	if (set->max_ns == 0)
		return false;
	if (woke)
		window_learn(set, poll);
	else
		poll->missed = false;
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
