/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * A turn of the loop waits in epoll, and then serves each kind of source once, in bounded portions, so that none starves
 * another:
 *
 *  1. at most EVENTS_PER_TURN descriptors. Epoll moves what it has reported to the end of its list, so with more of them ready
 *     they take turns;
 *  2. the timers that were due when epoll returned. They move to the list `due` before the first one fires, so a timer that
 *     is armed again for the past waits for the next turn;
 *  3. the work that was queued when this step began.
 *
 * Looking instead of sleeping. When there is nothing to do, a turn begins with a look at the sources that were at work lately
 * (eventloop_poll.c). While that finds something there is no need to ask epoll, so only every LOOKS_PER_WAIT-th turn does, for the sake of
 * the other descriptors. During a look the loop counts as awake, so it watches the number of work items itself.
 *
 * Inside another loop. eventloop_dispatch takes a turn that does not wait and then leaves the loop asleep, as before epoll: from then on
 * whoever adds something writes to the eventfd, which makes the epoll descriptor readable. What time alone brings has a
 * timerfd, and what a bounded turn left over is a write of our own to the eventfd.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/eventloop_priv.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(epoll_wait), .threads = THREAD_MAIN | THREAD_LOOP, .rare = THREAD_ANY }, /* kernels before 5.11 */
	{ CALL(epoll_pwait2), .threads = THREAD_MAIN | THREAD_LOOP },
);

#define LOOKS_PER_WAIT 16
#define WAIT_FOREVER INT64_C(-1)

static int64_t time_until(int64_t deadline_ns)
{
	int64_t now = now_ns();

	return deadline_ns > now ? deadline_ns - now : 0;
}

/* How long epoll may wait, in nanoseconds. When that is at all, others know from here on that the loop may be asleep. */
static int64_t loop_fall_asleep(struct eventloop *loop)
{
	int64_t wait = WAIT_FOREVER;

	pthread_mutex_lock(&loop->lock);
	if (loop->work_first || loop->due.next != &loop->due || eventloop_stopping(loop))
		wait = 0;
	else if (loop->timers.next != &loop->timers)
		wait = time_until(loop->timers.next->deadline_ns);
	loop->asleep = wait != 0;
	pthread_mutex_unlock(&loop->lock);
	return wait;
}

/* Awake again: nobody needs to wake us, and the timers whose time has come are due. */
static void loop_wake_up(struct eventloop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->asleep = false;
	if (loop->timers.next != &loop->timers) {
		int64_t now = now_ns();
		struct event_timer *timer;

		while ((timer = loop->timers.next) != &loop->timers && timer->deadline_ns <= now) {
			eventloop_timer_unlink(timer);
			timer->prev = loop->due.prev;
			timer->next = &loop->due;
			timer->prev->next = timer;
			loop->due.prev = timer;
		}
	}
	pthread_mutex_unlock(&loop->lock);
}

static int loop_epoll(struct eventloop *loop, int64_t wait)
{
	struct timespec ts = { .tv_sec = wait / NS_PER_SEC, .tv_nsec = wait % NS_PER_SEC };
	int64_t ms;

	if (!loop->no_pwait2) {
		int n = epoll_pwait2(loop->epfd, loop->fetched, EVENTS_PER_TURN, wait == WAIT_FOREVER ? NULL : &ts, NULL);

		if (n >= 0 || errno != ENOSYS)
			return n;
		loop->no_pwait2 = true;
	}
	/* Rounded up: too late by less than a millisecond, instead of turning until the time has come. */
	ms = wait == WAIT_FOREVER ? -1 : wait / 1000000 + (wait % 1000000 != 0);
	return epoll_wait(loop->epfd, loop->fetched, EVENTS_PER_TURN, ms > 3600000 ? 3600000 : (int)ms);
}

static void loop_serve_fds(struct eventloop *loop)
{
	for (int i = 0; i < loop->n_fetched && !eventloop_stopping(loop); i++) {
		struct event_fd *ev = loop->fetched[i].data.ptr;
		uint32_t revents;

		if (!ev)
			continue;
		loop->fetched[i].data.ptr = NULL;
		/* An earlier handler of this turn may have asked for other events since. */
		revents = loop->fetched[i].events & (ev->events | EPOLLERR | EPOLLHUP);
		if (revents)
			ev->ready(ev->opaque, revents);
	}
	/* What a stop left behind is reported again: the descriptors are level-triggered. */
	loop->n_fetched = 0;
}

static void loop_fire_timers(struct eventloop *loop)
{
	while (!eventloop_stopping(loop)) {
		struct event_timer *timer;
		void (*fire)(void *opaque);
		void *opaque;

		pthread_mutex_lock(&loop->lock);
		timer = loop->due.next;
		if (timer == &loop->due) {
			pthread_mutex_unlock(&loop->lock);
			return;
		}
		eventloop_timer_unlink(timer);
		timer->armed = false;
		fire = timer->fire;
		opaque = timer->opaque;
		pthread_mutex_unlock(&loop->lock);
		fire(opaque);
	}
}

static void loop_run_work(struct eventloop *loop)
{
	size_t left;

	pthread_mutex_lock(&loop->lock);
	left = loop->n_work;
	while (left-- > 0 && loop->work_first && !eventloop_stopping(loop)) {
		struct event_work *work = loop->work_first;
		void (*run)(void *opaque) = work->run;
		void *opaque = work->opaque;

		eventloop_work_remove(loop, work);
		pthread_mutex_unlock(&loop->lock);
		run(opaque);
		pthread_mutex_lock(&loop->lock);
	}
	pthread_mutex_unlock(&loop->lock);
}

/* Looking */

static bool loop_has_work(struct eventloop *loop)
{
	return atomic_load_explicit(&loop->n_work, memory_order_relaxed) > 0 || eventloop_stopping(loop);
}

/* When a look that begins at `now` has to end. */
static int64_t look_end(struct eventloop *loop, int64_t now)
{
	int64_t end = now + poll_set_window(&loop->polls);

	pthread_mutex_lock(&loop->lock);
	if (loop->due.next != &loop->due)
		end = now;
	else if (loop->timers.next != &loop->timers && loop->timers.next->deadline_ns < end)
		end = loop->timers.next->deadline_ns;
	pthread_mutex_unlock(&loop->lock);
	return end;
}

/* Whether there is something to do in this turn without sleep. What was found at the polled sources is served. */
static bool loop_look(struct eventloop *loop, int64_t *start)
{
	int64_t now, end;

	if (poll_set_serve(&loop->polls, 0) || loop_has_work(loop))
		return true;
	*start = now = now_ns();
	for (end = look_end(loop, now); now < end; now = now_ns()) {
		cpu_relax();
		if (poll_set_serve(&loop->polls, now - *start) || loop_has_work(loop))
			return true;
	}
	return poll_set_rest(&loop->polls);
}

/* As loop_epoll, after a look where there is something to look at. */
static int loop_wait(struct eventloop *loop)
{
	int64_t start = 0, wait;
	int n;

	loop->polls.slept_ns = -1;
	if (loop->polls.first && loop_look(loop, &start)) {
		if (++loop->looks < LOOKS_PER_WAIT)
			return 0;
		loop->looks = 0;
		return loop_epoll(loop, 0);
	}
	if (loop->polls.max_ns && !start)
		start = now_ns();
	wait = loop_fall_asleep(loop);
	n = loop_epoll(loop, wait);
	/* io_uring's work for this thread ends the sleep with EINTR, and has run now: what it completed is there. */
	if (n < 0 && errno == EINTR && wait)
		n = loop_epoll(loop, 0);
	if (start && wait)
		loop->polls.slept_ns = now_ns() - start;
	loop->looks = 0;
	return n;
}

/* The turn */

/* What `n` descriptors, the time and others have brought. */
static void loop_serve(struct eventloop *loop, int n)
{
	loop->n_fetched = n < 0 ? 0 : n;
	loop_wake_up(loop);
	loop_serve_fds(loop);
	loop_fire_timers(loop);
	loop_run_work(loop);
}

static int loop_turn(struct eventloop *loop)
{
	int n = loop_wait(loop);

	if (n < 0 && errno != EINTR) {
		n = -errno;
		loop_wake_up(loop);
		return n;
	}
	loop_serve(loop, n);
	return 0;
}

static void loop_begin(struct eventloop *loop)
{
	pthread_mutex_lock(&loop->lock);
	assert(!loop->running);
	loop->running = true;
	loop->thread = pthread_self();
	pthread_mutex_unlock(&loop->lock);
}

static void loop_end(struct eventloop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->running = false;
	loop->asleep = false;
	atomic_store_explicit(&loop->stop, false, memory_order_relaxed);
	pthread_cond_broadcast(&loop->sync_event);
	pthread_mutex_unlock(&loop->lock);
}

int eventloop_run(struct eventloop *loop)
{
	int rc = 0;

	loop_begin(loop);
	while (rc == 0 && !eventloop_stopping(loop))
		rc = loop_turn(loop);
	loop_end(loop);
	return rc;
}

/* Inside another loop */

static void alarm_drain(void *opaque, uint32_t revents)
{
	struct eventloop *loop = opaque;
	uint64_t count;

	(void)revents;
	(void)!read(loop->alarm.fd, &count, sizeof(count));
}

/* The other loop may sleep, until the epoll descriptor says otherwise. */
static void loop_rest(struct eventloop *loop)
{
	int64_t wait = loop_fall_asleep(loop);
	struct itimerspec at = { .it_value = { 0 } };

	if (wait == 0) {
		eventloop_wake_send(loop);
		return;
	}
	if (wait != WAIT_FOREVER)
		at.it_value = (struct timespec){ .tv_sec = wait / NS_PER_SEC, .tv_nsec = wait % NS_PER_SEC };
	timerfd_settime(loop->alarm.fd, 0, &at, NULL);
}

int eventloop_enter(struct eventloop *loop, struct err *err)
{
	int rc;

	loop->alarm.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->alarm.fd < 0)
		return err_set_errno(err, -errno, "cannot create a timerfd for an event loop");
	loop->alarm.ready = alarm_drain;
	loop->alarm.opaque = loop;
	rc = eventloop_add_fd(loop, &loop->alarm, EPOLLIN);
	if (rc < 0) {
		fd_close(&loop->alarm.fd);
		return err_set_errno(err, rc, "cannot watch the timerfd of an event loop");
	}
	loop_begin(loop);
	loop_rest(loop);
	return loop->epfd;
}

int eventloop_dispatch(struct eventloop *loop)
{
	int n = loop_epoll(loop, 0);

	if (n < 0 && errno != EINTR)
		return -errno;
	loop_serve(loop, n);
	loop_rest(loop);
	return eventloop_stopping(loop);
}

void eventloop_leave(struct eventloop *loop)
{
	loop_end(loop);
	eventloop_del_fd(loop, &loop->alarm);
	fd_close(&loop->alarm.fd);
}
