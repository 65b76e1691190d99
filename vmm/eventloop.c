/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * What a loop has: descriptors, timers, work, and calls that somebody waits for. Its turns are in eventloop_run.c.
 *
 * Sleeping and waking. Everything that other threads touch is under `lock`, also the flag `asleep`. The loop's thread sets it
 * in the critical section in which it has found nothing to do, right before epoll; whoever adds something under the lock sees
 * either `asleep` and writes to the eventfd, or not, and then the loop has yet to look and will find it. The first one to see
 * `asleep` clears it, so a burst of posts costs one system call; posts to a busy loop cost none. As the mutex orders it all, there
 * is no lock-free ordering to reason about.
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
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/eventloop_priv.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES({ CALL(epoll_ctl), .threads = THREAD_ANY, .rare = THREAD_VCPU });

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

void eventloop_wake_send(struct eventloop *loop)
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

void eventloop_timer_unlink(struct event_timer *timer)
{
	timer->prev->next = timer->next;
	timer->next->prev = timer->prev;
}

void eventloop_arm(struct eventloop *loop, struct event_timer *timer, int64_t deadline_ns)
{
	bool wake = false;

	pthread_mutex_lock(&loop->lock);
	if (timer->armed)
		eventloop_timer_unlink(timer);
	timer->armed = true;
	timer->deadline_ns = deadline_ns;
	timer_insert(&loop->timers, timer);
	/* A sleeping loop needs to know only of a deadline sooner than the one it sleeps for. */
	if (loop->timers.next == timer)
		wake = wake_claim(loop);
	pthread_mutex_unlock(&loop->lock);
	if (wake)
		eventloop_wake_send(loop);
}

void eventloop_cancel(struct eventloop *loop, struct event_timer *timer)
{
	pthread_mutex_lock(&loop->lock);
	if (timer->armed)
		eventloop_timer_unlink(timer);
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

void eventloop_work_remove(struct eventloop *loop, struct event_work *work)
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
		eventloop_wake_send(loop);
}

void eventloop_cancel_work(struct eventloop *loop, struct event_work *work)
{
	pthread_mutex_lock(&loop->lock);
	if (work->queued)
		eventloop_work_remove(loop, work);
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
		eventloop_wake_send(loop);

	pthread_mutex_lock(&loop->lock);
	/* A loop that was stopped may leave the call on its queue. */
	while (!call->done && loop->running)
		pthread_cond_wait(&loop->sync_event, &loop->lock);
	if (!call->done)
		eventloop_work_remove(loop, &call->work);
	pthread_mutex_unlock(&loop->lock);
	return call->done;
}

void eventloop_call_sync(struct eventloop *loop, void (*fn)(void *arg), void *arg)
{
	struct sync_call call = { .work = { .run = sync_call_run, .opaque = &call }, .loop = loop, .fn = fn, .arg = arg };

	if (!sync_call_wait(loop, &call))
		fn(arg);
}

/* The end, and looking */

void eventloop_stop(struct eventloop *loop)
{
	bool wake;

	pthread_mutex_lock(&loop->lock);
	atomic_store_explicit(&loop->stop, true, memory_order_relaxed);
	wake = wake_claim(loop);
	pthread_mutex_unlock(&loop->lock);
	if (wake)
		eventloop_wake_send(loop);
}

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
