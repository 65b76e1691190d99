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
 * Sleeping and waking. Everything that other threads touch is under `lock`, also the flag `asleep`. The loop's thread sets it
 * in the critical section in which it has found nothing to do, right before epoll; whoever adds something under the lock sees
 * either `asleep` and writes to the eventfd, or not, and then the loop has yet to look and will find it. The first one to see
 * `asleep` clears it, so a burst of posts costs one system call; posts to a busy loop cost none. As the mutex orders it all, there
 * is no lock-free ordering to reason about.
 *
 * Looking instead of sleeping. When there is nothing to do, a turn begins with a look at the sources that were at work lately
 * (eventloop_poll.c). While that finds something there is no need to ask epoll, so only every LOOKS_PER_WAIT-th turn does, for the sake of
 * the other descriptors. During a look the loop counts as awake, so it watches the number of work items itself.
 *
 * Inside another loop. eventloop_dispatch takes a turn that does not wait and then leaves the loop asleep, as before epoll: from then on
 * whoever adds something writes to the eventfd, which makes the epoll descriptor readable. What time alone brings has a
 * timerfd, and what a bounded turn left over is a write of our own to the eventfd.
 *
 * Deletion. Events that epoll has handed over stay in `fetched` until they are delivered. eventloop_del_fd blanks those of its
 * descriptor there, so that nothing refers to a struct event_fd any more when it returns, and its owner may free it.
 */
#include "vmm/eventloop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/eventloop_offload.h"
#include "vmm/eventloop_poll.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

/* Beside reading and writing, which all threads do. */
SYSCALL_RULES({ CALL(epoll_wait), .threads = THREAD_MAIN | THREAD_LOOP, .rare = THREAD_ANY }, /* kernels before 5.11 */
	      { CALL(epoll_pwait2), .threads = THREAD_MAIN | THREAD_LOOP }, { CALL(epoll_ctl), .threads = THREAD_ANY, .rare = THREAD_VCPU });

#define EVENTS_PER_TURN 64
#define LOOKS_PER_WAIT 16
#define WAIT_FOREVER INT64_C(-1)

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

static void wake_drain(void *opaque, uint32_t revents)
{
	struct eventloop *loop = opaque;
	uint64_t count;

	(void)revents;
	/* Only its having been written matters. */
	(void)!read(loop->wake.fd, &count, sizeof(count));
}

/* Under the lock, after adding something. Returns whether wake_send is due once the lock is released. */
static bool wake_claim(struct eventloop *loop)
{
	bool asleep = loop->asleep;

	loop->asleep = false;
	return asleep;
}

static void wake_send(struct eventloop *loop)
{
	uint64_t one = 1;

	/* It can fail only when the counter is at its maximum, and then the loop wakes as well. */
	(void)!write(loop->wake.fd, &one, sizeof(one));
}

static int loop_open(struct eventloop *loop, struct err *err)
{
	int rc;

	loop->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epfd < 0)
		return err_set_errno(err, -errno, "cannot create an epoll descriptor for an event loop");
	loop->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake.fd < 0)
		return err_set_errno(err, -errno, "cannot create an eventfd for an event loop");
	loop->wake.ready = wake_drain;
	loop->wake.opaque = loop;
	rc = eventloop_add_fd(loop, &loop->wake, EPOLLIN);
	if (rc < 0)
		return err_set_errno(err, rc, "cannot watch the eventfd of an event loop");
	return 0;
}

struct eventloop *eventloop_create(struct err *err)
{
	struct eventloop *loop = calloc(1, sizeof(*loop));

	if (!loop) {
		err_set_errno(err, -ENOMEM, "cannot create an event loop");
		return NULL;
	}
	loop->epfd = loop->wake.fd = loop->alarm.fd = -1;
	loop->timers.prev = loop->timers.next = &loop->timers;
	loop->due.prev = loop->due.next = &loop->due;
	loop->work_end = &loop->work_first;
	atomic_init(&loop->stop, false);
	atomic_init(&loop->n_work, 0);
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->sync_event, NULL);
	offload_init(&loop->offload, loop);
	if (loop_open(loop, err) < 0) {
		eventloop_destroy(loop);
		return NULL;
	}
	return loop;
}

void eventloop_destroy(struct eventloop *loop)
{
	if (!loop)
		return;
	assert(!loop->running);
	offload_fini(&loop->offload);
	fd_close(&loop->alarm.fd);
	fd_close(&loop->wake.fd);
	fd_close(&loop->epfd);
	pthread_cond_destroy(&loop->sync_event);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

struct offload *eventloop_offload_of(struct eventloop *loop)
{
	return &loop->offload;
}

/* Descriptors */

static int fd_control(struct eventloop *loop, int op, struct event_fd *ev, uint32_t events)
{
	struct epoll_event ee = { .events = events, .data.ptr = ev };

	if (epoll_ctl(loop->epfd, op, ev->fd, &ee) < 0)
		return -errno;
	ev->events = events;
	return 0;
}

int eventloop_add_fd(struct eventloop *loop, struct event_fd *ev, uint32_t events)
{
	int rc;

	if (ev->registered)
		return -EEXIST;
	rc = fd_control(loop, EPOLL_CTL_ADD, ev, events);
	ev->registered = rc == 0;
	return rc;
}

int eventloop_mod_fd(struct eventloop *loop, struct event_fd *ev, uint32_t events)
{
	if (!ev->registered)
		return -ENOENT;
	return ev->events == events ? 0 : fd_control(loop, EPOLL_CTL_MOD, ev, events);
}

void eventloop_del_fd(struct eventloop *loop, struct event_fd *ev)
{
	if (!ev->registered)
		return;
	epoll_ctl(loop->epfd, EPOLL_CTL_DEL, ev->fd, NULL);
	ev->registered = false;
	for (int i = 0; i < loop->n_fetched; i++)
		if (loop->fetched[i].data.ptr == ev)
			loop->fetched[i].data.ptr = NULL;
}

/* Timers */

/* Under the lock. Among equal deadlines the one armed first fires first. */
static void timer_insert(struct event_timer *head, struct event_timer *timer)
{
	struct event_timer *prev = head->prev;

	/* Most timers are set for later than those already there. */
	while (prev != head && prev->deadline_ns > timer->deadline_ns)
		prev = prev->prev;
	timer->prev = prev;
	timer->next = prev->next;
	prev->next->prev = timer;
	prev->next = timer;
}

/* Under the lock, from whichever of the two rings it is on. */
static void timer_unlink(struct event_timer *timer)
{
	timer->prev->next = timer->next;
	timer->next->prev = timer->prev;
}

void eventloop_arm(struct eventloop *loop, struct event_timer *timer, int64_t deadline_ns)
{
	bool wake = false;

	pthread_mutex_lock(&loop->lock);
	if (timer->armed)
		timer_unlink(timer);
	timer->armed = true;
	timer->deadline_ns = deadline_ns;
	timer_insert(&loop->timers, timer);
	/* A sleeping loop needs to know only of a deadline sooner than the one it sleeps for. */
	if (loop->timers.next == timer)
		wake = wake_claim(loop);
	pthread_mutex_unlock(&loop->lock);
	if (wake)
		wake_send(loop);
}

void eventloop_cancel(struct eventloop *loop, struct event_timer *timer)
{
	pthread_mutex_lock(&loop->lock);
	if (timer->armed)
		timer_unlink(timer);
	timer->armed = false;
	pthread_mutex_unlock(&loop->lock);
}

/* Work */

/* Under the lock. */
static void work_append(struct eventloop *loop, struct event_work *work)
{
	work->queued = true;
	work->next = NULL;
	*loop->work_end = work;
	loop->work_end = &work->next;
	atomic_store_explicit(&loop->n_work, loop->n_work + 1, memory_order_relaxed);
}

/* Under the lock. */
static void work_remove(struct eventloop *loop, struct event_work *work)
{
	struct event_work **p = &loop->work_first;

	while (*p != work)
		p = &(*p)->next;
	*p = work->next;
	if (!*p)
		loop->work_end = p;
	work->queued = false;
	atomic_store_explicit(&loop->n_work, loop->n_work - 1, memory_order_relaxed);
}

void eventloop_post(struct eventloop *loop, struct event_work *work)
{
	bool wake = false;

	pthread_mutex_lock(&loop->lock);
	if (!work->queued) {
		work_append(loop, work);
		wake = wake_claim(loop);
	}
	pthread_mutex_unlock(&loop->lock);
	if (wake)
		wake_send(loop);
}

void eventloop_cancel_work(struct eventloop *loop, struct event_work *work)
{
	pthread_mutex_lock(&loop->lock);
	if (work->queued)
		work_remove(loop, work);
	pthread_mutex_unlock(&loop->lock);
}

/* On the stack of the thread that waits. */
struct sync_call {
	struct event_work work;
	struct eventloop *loop;
	void (*fn)(void *arg);
	void *arg;
	bool done; /* under the loop's lock */
};

static void sync_call_run(void *opaque)
{
	struct sync_call *call = opaque;
	struct eventloop *loop = call->loop;

	call->fn(call->arg);
	pthread_mutex_lock(&loop->lock);
	call->done = true; /* from the unlock on, `call` may be gone */
	pthread_cond_broadcast(&loop->sync_event);
	pthread_mutex_unlock(&loop->lock);
}

/* Returns whether the loop has made the call; else nobody runs it, and the call is off its queue. */
static bool sync_call_wait(struct eventloop *loop, struct sync_call *call)
{
	bool wake;

	pthread_mutex_lock(&loop->lock);
	if (!loop->running || pthread_equal(loop->thread, pthread_self())) {
		pthread_mutex_unlock(&loop->lock);
		return false;
	}
	work_append(loop, &call->work);
	wake = wake_claim(loop);
	pthread_mutex_unlock(&loop->lock);
	if (wake)
		wake_send(loop);

	pthread_mutex_lock(&loop->lock);
	/* A loop that was stopped may leave the call on its queue. */
	while (!call->done && loop->running)
		pthread_cond_wait(&loop->sync_event, &loop->lock);
	if (!call->done)
		work_remove(loop, &call->work);
	pthread_mutex_unlock(&loop->lock);
	return call->done;
}

void eventloop_call_sync(struct eventloop *loop, void (*fn)(void *arg), void *arg)
{
	struct sync_call call = { .work = { .run = sync_call_run, .opaque = &call }, .loop = loop, .fn = fn, .arg = arg };

	if (!sync_call_wait(loop, &call))
		fn(arg);
}

/* The loop */

static bool loop_stopping(struct eventloop *loop)
{
	return atomic_load_explicit(&loop->stop, memory_order_relaxed);
}

void eventloop_stop(struct eventloop *loop)
{
	bool wake;

	pthread_mutex_lock(&loop->lock);
	atomic_store_explicit(&loop->stop, true, memory_order_relaxed);
	wake = wake_claim(loop);
	pthread_mutex_unlock(&loop->lock);
	if (wake)
		wake_send(loop);
}

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
	if (loop->work_first || loop->due.next != &loop->due || loop_stopping(loop))
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
			timer_unlink(timer);
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
	for (int i = 0; i < loop->n_fetched && !loop_stopping(loop); i++) {
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
	while (!loop_stopping(loop)) {
		struct event_timer *timer;
		void (*fire)(void *opaque);
		void *opaque;

		pthread_mutex_lock(&loop->lock);
		timer = loop->due.next;
		if (timer == &loop->due) {
			pthread_mutex_unlock(&loop->lock);
			return;
		}
		timer_unlink(timer);
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
	while (left-- > 0 && loop->work_first && !loop_stopping(loop)) {
		struct event_work *work = loop->work_first;
		void (*run)(void *opaque) = work->run;
		void *opaque = work->opaque;

		work_remove(loop, work);
		pthread_mutex_unlock(&loop->lock);
		run(opaque);
		pthread_mutex_lock(&loop->lock);
	}
	pthread_mutex_unlock(&loop->lock);
}

/* Polling */

void eventloop_set_polling(struct eventloop *loop, int64_t max_ns)
{
	loop->polls.max_ns = max_ns;
}

bool eventloop_poll_start(struct eventloop *loop, struct event_poll *poll, bool woke)
{
	return poll_set_start(&loop->polls, poll, woke);
}

void eventloop_poll_stop(struct eventloop *loop, struct event_poll *poll)
{
	poll_set_stop(&loop->polls, poll);
}

static bool loop_has_work(struct eventloop *loop)
{
	return atomic_load_explicit(&loop->n_work, memory_order_relaxed) > 0 || loop_stopping(loop);
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
	while (rc == 0 && !loop_stopping(loop))
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
		wake_send(loop);
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
	return loop_stopping(loop);
}

void eventloop_leave(struct eventloop *loop)
{
	loop_end(loop);
	eventloop_del_fd(loop, &loop->alarm);
	fd_close(&loop->alarm.fd);
}
