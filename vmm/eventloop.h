/* SPDX-License-Identifier: MIT */
/*
 * An event loop: epoll with descriptors, timers and work posted from other threads. An object, not the process's loop: main
 * has one, and an iothread is a thread that runs another.
 *
 * All structures below are embedded in their users, so that nothing here allocates after creation, and none of them may be
 * freed or moved while it is registered, armed or posted.
 *
 * Thread: everything on the loop's own thread (the one in eventloop_run, or before it starts), except what says "any thread".
 * An idle loop sleeps in epoll without a time-out: it wakes for events only.
 */
#ifndef VMM_EVENTLOOP_H
#define VMM_EVENTLOOP_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct eventloop;

struct eventloop *eventloop_create(struct err *err);
void eventloop_destroy(struct eventloop *loop);

/* Runs until eventloop_stop. Returns 0, or -errno when waiting failed. May be run again. */
int eventloop_run(struct eventloop *loop);
/* Makes eventloop_run return after the handler in progress. Any thread; before eventloop_run too, which then returns at once. */
void eventloop_stop(struct eventloop *loop);

/*
 * The loop inside somebody else's, instead of eventloop_run: the calling thread becomes the loop's, until eventloop_leave. The descriptor is
 * readable when there is something to do, and eventloop_dispatch does it without waiting. Only the thread that entered calls these.
 */
int eventloop_enter(struct eventloop *loop, struct err *err); /* the descriptor, which stays the loop's; or -errno with `err` */
int eventloop_dispatch(struct eventloop *loop);               /* 0; 1: eventloop_stop was called; or -errno */
void eventloop_leave(struct eventloop *loop);

/* A descriptor. `events` and `revents` are EPOLLIN, EPOLLOUT, EPOLLHUP...; level-triggered. */
struct event_fd {
	int fd;
	void (*ready)(void *opaque, uint32_t revents);
	void *opaque;
	/* The loop's own: */
	uint32_t events;
	bool registered;
};

/* 0 or -errno of epoll_ctl: -EPERM for a regular file, -EEXIST when registered already. fd, ready and opaque set before. */
int eventloop_add_fd(struct eventloop *loop, struct event_fd *ev, uint32_t events);
/* Changes the events; 0 waits for EPOLLERR and EPOLLHUP only. */
int eventloop_mod_fd(struct eventloop *loop, struct event_fd *ev, uint32_t events);
/* Also from inside any handler; an event already fetched for it is not delivered. Not registered: nothing happens. */
void eventloop_del_fd(struct eventloop *loop, struct event_fd *ev);

/* A one-shot timer. `deadline_ns` is CLOCK_MONOTONIC (now_ns()). Zero-initialize, then set fire and opaque. */
struct event_timer {
	void (*fire)(void *opaque);
	void *opaque;
	/* The loop's own: */
	int64_t deadline_ns;
	struct event_timer *prev, *next;
	bool armed;
};

/* Arms, or moves when armed. A deadline in the past fires on the next turn. Any thread. */
void eventloop_arm(struct eventloop *loop, struct event_timer *timer, int64_t deadline_ns);
/* Any thread; on other threads than the loop's, `fire` may be running when this returns. */
void eventloop_cancel(struct eventloop *loop, struct event_timer *timer);

/* Work for the loop's thread. Zero-initialize, then set run and opaque. */
struct event_work {
	void (*run)(void *opaque);
	void *opaque;
	/* The loop's own: */
	struct event_work *next;
	bool queued;
};

/*
 * Has `run` called once on the loop's thread, in order of posting. Posted again before it ran: still once. It may be posted
 * again from inside `run`. Any thread, also before eventloop_run. Costs a system call only when the loop may be asleep.
 */
void eventloop_post(struct eventloop *loop, struct event_work *work);
/* Takes it off the queue, if it is there. Any thread; on others than the loop's, `run` may be running when this returns. */
void eventloop_cancel_work(struct eventloop *loop, struct event_work *work);

/*
 * Work that takes the processor's time, for another thread: such as unpacking what is compressed. Zero-initialize, then set the functions and
 * opaque.
 */
struct event_job {
	void (*run)(void *opaque);  /* on another thread: nothing of the loop's may be touched */
	void (*done)(void *opaque); /* later, on the loop's */
	void *opaque;
	/* The loop's own: */
	struct event_job *next;
};

void eventloop_offload(struct eventloop *loop, struct event_job *job);
/* If jobs are under way: waits until some have ended, and calls their `done`. For back ends' drains. */
void eventloop_offload_drain(struct eventloop *loop);
/* Ends the threads that did it, with nothing under way; they come again when there is something to do. The loop's thread. */
void eventloop_offload_rest(struct eventloop *loop);

/*
 * A source that the loop can look at without a system call, such as a ring in memory. After one has been at work, a loop with a
 * longest look other than 0 looks at it for a while before it sleeps (eventloop_poll.c says how long), so that nobody need wake it. Timers
 * and work are as punctual as ever, but for a timer that another thread arms during a look: it may be late by the longest look.
 * Zero-initialize, then set the functions and opaque.
 */
struct event_poll {
	/* Whether there is something to serve. Cheap; called over and over. */
	bool (*ready)(void *opaque);
	void (*serve)(void *opaque);
	/* The loop no longer looks: from now on the source has to wake it. Returns true when there is something to serve already. */
	bool (*rest)(void *opaque);
	void *opaque;
	/* The loop's own, eventloop_poll.c: */
	int64_t window_ns;
	unsigned hold_off, wakings_left;
	bool missed;        /* the last look at it found nothing */
	bool missed_before; /* nor did one since the last that found something */
	struct event_poll *prev, *next;
	bool active;
};

/* The longest look, in nanoseconds: what QEMU calls poll-max-ns of an iothread. 0, as in a new loop: never. */
void eventloop_set_polling(struct eventloop *loop, int64_t max_ns);
/*
 * The source is at work, and with `woke` it is what woke the loop. Returns whether the loop looks at it from now on, until
 * `rest` or eventloop_poll_stop; else the source has to wake it as ever.
 */
bool eventloop_poll_start(struct eventloop *loop, struct event_poll *poll, bool woke);
/* Also from inside any handler; `rest` is not called. Not started: nothing happens. */
void eventloop_poll_stop(struct eventloop *loop, struct event_poll *poll);

/*
 * Runs fn(arg) on the loop's thread and waits for it; called on that thread, or while no thread runs the loop, it is a plain
 * call. Any thread that holds no lock which the loop's handlers take.
 */
void eventloop_call_sync(struct eventloop *loop, void (*fn)(void *arg), void *arg);

#endif
