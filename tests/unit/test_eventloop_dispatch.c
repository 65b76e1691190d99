/* SPDX-License-Identifier: MIT */
/* A loop inside somebody else's: its descriptor is readable when there is something to do, and only then. */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/util.h"

#define MS INT64_C(1000000)
#define POSTS 2000

static struct eventloop *loop;
static struct err err = ERR_INIT;
static int fd;
static atomic_uint runs;
static int pipe_fds[2];

static void setup(void)
{
	loop = eventloop_create(&err);
	ck_assert_ptr_nonnull(loop);
	fd = eventloop_enter(loop, &err);
	ck_assert_msg(fd >= 0, "%s", err.msg);
	ck_assert_int_eq(pipe(pipe_fds), 0);
}

static void teardown(void)
{
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	eventloop_leave(loop);
	eventloop_destroy(loop);
}

static bool readable(int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

static void count(void *opaque)
{
	(void)opaque;
	runs++;
}

/* Until nothing is left to do at once; a few turns at most. */
static void settle(void)
{
	for (int i = 0; i < 10 && readable(0); i++)
		ck_assert_int_eq(eventloop_dispatch(loop), 0);
	ck_assert(!readable(0));
}

START_TEST(work)
{
	struct event_work w = { .run = count };

	settle();
	eventloop_post(loop, &w);
	ck_assert(readable(0));
	settle();
	ck_assert_uint_eq(runs, 1);
}
END_TEST

static void pipe_ready(void *opaque, uint32_t revents)
{
	char c;

	(void)opaque;
	(void)revents;
	ck_assert_int_eq(read(pipe_fds[0], &c, 1), 1);
	runs++;
}

START_TEST(descriptors)
{
	struct event_fd ev = { .fd = pipe_fds[0], .ready = pipe_ready };

	ck_assert_int_eq(eventloop_add_fd(loop, &ev, POLLIN), 0);
	settle();
	ck_assert_int_eq(write(pipe_fds[1], "ab", 2), 2);
	ck_assert(readable(0));
	settle();
	ck_assert_uint_eq(runs, 2);
	eventloop_del_fd(loop, &ev);
}
END_TEST

START_TEST(timers)
{
	struct event_timer soon = { .fire = count }, late = { .fire = count }, past = { .fire = count };

	settle();
	eventloop_arm(loop, &late, now_ns() + 3600 * NS_PER_SEC);
	eventloop_arm(loop, &soon, now_ns() + 50 * MS);
	settle();
	ck_assert_uint_eq(runs, 0);
	ck_assert(readable(20000));
	while (runs == 0) {
		ck_assert(readable(20000));
		ck_assert_int_eq(eventloop_dispatch(loop), 0);
	}
	settle();
	eventloop_arm(loop, &past, now_ns() - MS);
	ck_assert(readable(0));
	settle();
	ck_assert_uint_eq(runs, 2);
	/* One that is cancelled may wake the loop, and brings nothing. */
	eventloop_cancel(loop, &late);
	settle();
	ck_assert_uint_eq(runs, 2);
}
END_TEST

static struct event_work again;
static unsigned left;

static void post_again(void *opaque)
{
	(void)opaque;
	runs++;
	if (--left > 0)
		eventloop_post(loop, &again);
}

/* Work that makes work is left over by a turn, and the descriptor says so. */
START_TEST(leftovers)
{
	again.run = post_again;
	left = 5;
	eventloop_post(loop, &again);
	while (runs < 5) {
		ck_assert(readable(0));
		ck_assert_int_eq(eventloop_dispatch(loop), 0);
	}
	settle();
}
END_TEST

static void *poster(void *arg)
{
	struct event_work w = { .run = count };

	for (unsigned i = 0; i < POSTS; i++) {
		eventloop_post(loop, &w);
		while (runs <= i)
			usleep(10);
	}
	eventloop_call_sync(loop, count, NULL);
	return arg;
}

/* No post from another thread is missed, and a synchronous call is served. */
START_TEST(threads)
{
	pthread_t thread;

	pthread_create(&thread, NULL, poster, NULL);
	while (runs < POSTS + 1) {
		ck_assert_msg(readable(20000), "asleep at %u", runs);
		ck_assert_int_eq(eventloop_dispatch(loop), 0);
	}
	pthread_join(thread, NULL);
}
END_TEST

START_TEST(stop)
{
	struct event_work w = { .run = count };

	settle();
	eventloop_stop(loop);
	ck_assert(readable(0));
	eventloop_post(loop, &w);
	ck_assert_int_eq(eventloop_dispatch(loop), 1);
	ck_assert_int_eq(eventloop_dispatch(loop), 1);
	ck_assert_uint_eq(runs, 0);
	eventloop_leave(loop);
	/* And again, with what was left. */
	fd = eventloop_enter(loop, &err);
	ck_assert_int_ge(fd, 0);
	settle();
	ck_assert_uint_eq(runs, 1);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { work, descriptors, timers, leftovers, threads, stop };

	return suite_run("eventloop_dispatch", tests, ARRAY_SIZE(tests), setup, teardown);
}
