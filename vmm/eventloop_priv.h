/* SPDX-License-Identifier: MIT */
/* The event loop's own: for eventloop.c, which says what has to be held where, and eventloop_run.c. */
#ifndef VMM_EVENTLOOP_PRIV_H
#define VMM_EVENTLOOP_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/epoll.h>

#include "vmm/eventloop.h"
#include "vmm/eventloop_offload.h"
#include "vmm/eventloop_poll.h"

#define EVENTS_PER_TURN 64

struct eventloop {
	int epfd;
	struct event_fd wake; /* the eventfd */
	struct event_fd alarm; /* the timerfd of a loop inside another; -1: it is not */
	bool no_pwait2;       /* a kernel before 5.11: time-outs in milliseconds */

	/* Set under the lock, so that the loop cannot fall asleep past it; also read between handlers without, relaxed. */
	atomic_bool stop;

	pthread_mutex_t lock;
	/* Under the lock: */
	struct event_timer timers; /* heads of rings: by deadline, */
	struct event_timer due;    /* and in the order in which they shall fire */
	struct event_work *work_first, **work_end;
	atomic_size_t n_work;      /* also read without, relaxed, by a loop that looks: the lock orders what matters */
	bool asleep;
	bool running;
	pthread_t thread;          /* while running */
	pthread_cond_t sync_event; /* a synchronous call is done, or the loop has stopped running */

	/* The loop's thread only: */
	struct epoll_event fetched[EVENTS_PER_TURN];
	int n_fetched;
	struct poll_set polls;
	unsigned looks; /* successful ones since epoll was asked */

	struct offload offload;
};

static inline bool eventloop_stopping(struct eventloop *loop)
{
	return atomic_load_explicit(&loop->stop, memory_order_relaxed);
}

/* Under the lock, from whichever of the two rings it is on. */
void eventloop_timer_unlink(struct event_timer *timer);
/* Under the lock. */
void eventloop_work_remove(struct eventloop *loop, struct event_work *work);
/* Without the lock. */
void eventloop_wake_send(struct eventloop *loop);

#endif
