/* SPDX-License-Identifier: MIT */
#include "vmm/eventloop_poll.h"

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/eventloop.h"
#include "vmm/util.h"

#define MAX_NS INT64_C(1000000000)

/* A source: `items` wait to be served. */
struct source {
	struct event_poll poll;
	atomic_int items;
	unsigned served, rested;
	bool item_at_rest; /* one comes just as the loop wants to sleep */
	void (*on_serve)(struct source *s);
};

static struct eventloop *loop;

static bool source_ready(void *opaque)
{
	struct source *s = opaque;

	return atomic_load(&s->items) > 0;
}

static void source_serve(void *opaque)
{
	struct source *s = opaque;

	atomic_fetch_sub(&s->items, 1);
	s->served++;
	if (s->on_serve)
		s->on_serve(s);
}

static bool source_rest(void *opaque)
{
	struct source *s = opaque;

	s->rested++;
	if (s->item_at_rest) {
		s->item_at_rest = false;
		atomic_fetch_add(&s->items, 1);
	}
	return source_ready(s);
}

static void source_init(struct source *s, int items)
{
	*s = (struct source){ .poll = { .ready = source_ready, .serve = source_serve, .rest = source_rest, .opaque = s } };
	atomic_init(&s->items, items);
}

static void setup(void)
{
	loop = fake_loop();
}

static void teardown(void)
{
	eventloop_destroy(loop);
}

/* What a window learns from how long the loop had slept, and from what looks find. */
START_TEST(window)
{
	struct poll_set set = { .max_ns = 32768 };
	struct source s;

	source_init(&s, 0);
	set.slept_ns = 8000;
	ck_assert(!poll_set_start(&set, &s.poll, false)); /* it was not what woke the loop */
	ck_assert_int_eq(poll_set_window(&set), 0);
	ck_assert(poll_set_start(&set, &s.poll, true));
	ck_assert_int_eq(poll_set_window(&set), 10000);
	set.slept_ns = 65536; /* half of that may be the waking */
	ck_assert(poll_set_start(&set, &s.poll, true));
	ck_assert_int_eq(poll_set_window(&set), 32768);
	set.slept_ns = -1; /* it did not sleep: nothing to learn */
	ck_assert(poll_set_start(&set, &s.poll, true));
	ck_assert_int_eq(poll_set_window(&set), 32768);
	/* Found after 3 us each time: it comes down to twice that, and at once to no less than the least. */
	for (int i = 0; i < 100; i++) {
		atomic_store(&s.items, 1);
		ck_assert(poll_set_serve(&set, 3000));
	}
	ck_assert_int_ge(poll_set_window(&set), 6000);
	ck_assert_int_lt(poll_set_window(&set), 6100);
	for (int i = 0; i < 100; i++) {
		atomic_store(&s.items, 1);
		ck_assert(poll_set_serve(&set, 0));
	}
	ck_assert_int_eq(poll_set_window(&set), 2000);
	set.slept_ns = 65537;
	ck_assert(!poll_set_start(&set, &s.poll, true));
	ck_assert(!s.poll.active && !set.first);
	ck_assert_int_eq(poll_set_window(&set), 0);
}
END_TEST

/* One that looks never find, though it wakes the loop soon after each: it is tried ever more seldom, once in 32 at last. */
START_TEST(in_vain)
{
	struct poll_set set = { .max_ns = 32768, .slept_ns = 20000 };
	unsigned tries = 0;
	struct source s;

	source_init(&s, 0);
	for (int i = 0; i < 2000; i++) {
		tries += poll_set_start(&set, &s.poll, true);
		ck_assert(!poll_set_serve(&set, 1000));
		ck_assert(!poll_set_rest(&set));
	}
	ck_assert_uint_ge(tries, 60);
	ck_assert_uint_le(tries, 75);
	/* A look that another source's waking ended is none that failed. */
	s.poll.wakings_left = 0;
	s.poll.hold_off = 0;
	s.poll.missed = false;
	ck_assert(poll_set_start(&set, &s.poll, true));
	ck_assert(!poll_set_rest(&set));
	ck_assert(poll_set_start(&set, &s.poll, false));
	ck_assert(poll_set_start(&set, &s.poll, true));
	ck_assert_uint_eq(s.poll.hold_off, 0);
	poll_set_stop(&set, &s.poll);
}
END_TEST

/* A look in vain now and then is made up for by the others; two in a row are not. */
START_TEST(seldom_in_vain)
{
	struct poll_set set = { .max_ns = 32768, .slept_ns = 8000 };
	struct source s;

	source_init(&s, 0);
	ck_assert(poll_set_start(&set, &s.poll, true));
	for (int i = 0; i < 300; i++) {
		if (i % 2) {
			ck_assert(!poll_set_rest(&set));
			set.slept_ns = 10000;
			ck_assert(poll_set_start(&set, &s.poll, true));
			ck_assert_int_gt(poll_set_window(&set), 12500); /* the look and the sleep */
		} else {
			atomic_store(&s.items, 1);
			ck_assert(poll_set_serve(&set, 9000));
		}
	}
	ck_assert_uint_eq(s.poll.hold_off, 0);
	ck_assert(!poll_set_rest(&set));
	ck_assert(!poll_set_start(&set, &s.poll, true));
	ck_assert_uint_eq(s.poll.hold_off, 1);
}
END_TEST

START_TEST(never)
{
	struct poll_set set = { .slept_ns = 10 };
	struct source s;

	source_init(&s, 1);
	ck_assert(!poll_set_start(&set, &s.poll, true));
	ck_assert(!poll_set_serve(&set, 0));
	ck_assert_uint_eq(s.served, 0);
}
END_TEST

static struct poll_set walk_set;
static struct source walk[3];

static void stop_others(struct source *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(walk); i++)
		if (&walk[i] != s || s == &walk[1])
			poll_set_stop(&walk_set, &walk[i].poll);
}

/* Any of them may go while they are walked. */
START_TEST(stop_in_walk)
{
	for (size_t who = 0; who < ARRAY_SIZE(walk); who++) {
		walk_set = (struct poll_set){ .max_ns = 32768, .slept_ns = 1 };
		for (size_t i = 0; i < ARRAY_SIZE(walk); i++) {
			source_init(&walk[i], i == who);
			walk[i].on_serve = stop_others;
			ck_assert(poll_set_start(&walk_set, &walk[i].poll, true));
		}
		ck_assert(poll_set_serve(&walk_set, 0));
		ck_assert_uint_eq(walk[who].served, 1);
		poll_set_stop(&walk_set, &walk[who].poll);
		ck_assert_ptr_null(walk_set.first);
	}
}
END_TEST

/* With the loop ---------------------------------------- */

static struct source src;
static struct event_fd bell;
static unsigned rings;

static void bell_rang(void *opaque, uint32_t revents)
{
	uint64_t count;

	(void)opaque;
	(void)revents;
	ck_assert_int_eq(read(bell.fd, &count, sizeof(count)), sizeof(count));
	rings++;
	eventloop_poll_start(loop, &src.poll, true);
}

static void ring(void)
{
	uint64_t one = 1;

	ck_assert_int_eq(write(bell.fd, &one, sizeof(one)), sizeof(one));
}

static void bell_init(void)
{
	bell = (struct event_fd){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .ready = bell_rang };
	ck_assert_int_eq(eventloop_add_fd(loop, &bell, EPOLLIN), 0);
	rings = 0;
}

static void bell_fini(void)
{
	eventloop_del_fd(loop, &bell);
	fd_close(&bell.fd);
}

static void stop_at_zero(struct source *s)
{
	if (atomic_load(&s->items) == 0)
		eventloop_stop(loop);
}

/* Woken once, and from then on it looks: many items without a ring. The longest look makes sure that no busy machine is too slow. */
START_TEST(looks)
{
	source_init(&src, 0);
	src.on_serve = stop_at_zero;
	src.poll.window_ns = MAX_NS; /* as learnt */
	eventloop_set_polling(loop, MAX_NS);
	bell_init();
	atomic_store(&src.items, 1000);
	ring();
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_uint_eq(src.served, 1000);
	ck_assert_uint_eq(rings, 1);
	ck_assert_uint_eq(src.rested, 0);
	bell_fini();
}
END_TEST

/* While there is always something to serve, descriptors, timers and work have their turn. */
static unsigned fired;

static void fire(void *opaque)
{
	(void)opaque;
	if (++fired == 2 && rings)
		eventloop_stop(loop);
}

static void endless(struct source *s)
{
	atomic_store(&s->items, 1);
	if (s->served == 100)
		ring();
	if (rings && fired == 2)
		eventloop_stop(loop);
}

START_TEST(nobody_starves)
{
	struct event_timer timer = { .fire = fire };
	struct event_work work = { .run = fire };

	source_init(&src, 1);
	src.on_serve = endless;
	src.poll.window_ns = MAX_NS;
	fired = 0;
	eventloop_set_polling(loop, MAX_NS);
	bell_init();
	ck_assert(eventloop_poll_start(loop, &src.poll, false));
	eventloop_arm(loop, &timer, now_ns() + 2000000);
	eventloop_post(loop, &work);
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_uint_eq(fired, 2);
	ck_assert_uint_eq(rings, 1);
	bell_fini();
}
END_TEST

/* Work from another thread ends a look. */
static void *post_thread(void *arg)
{
	usleep(20000);
	eventloop_post(loop, arg);
	return NULL;
}

static void stop_work(void *opaque)
{
	(void)opaque;
	eventloop_stop(loop);
}

START_TEST(work_in_a_look)
{
	struct event_work work = { .run = stop_work };
	pthread_t thread;

	source_init(&src, 0);
	src.poll.window_ns = INT64_C(60000000000);
	eventloop_set_polling(loop, src.poll.window_ns);
	ck_assert(eventloop_poll_start(loop, &src.poll, false));
	ck_assert_int_eq(pthread_create(&thread, NULL, post_thread, &work), 0);
	ck_assert_int_eq(eventloop_run(loop), 0);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(src.rested, 0);
	eventloop_poll_stop(loop, &src.poll);
}
END_TEST

/* A timer ends one too, and then the loop rests: what comes at that moment is served, and nobody rings. */
START_TEST(rest)
{
	struct event_timer timer = { .fire = stop_work };

	source_init(&src, 0);
	src.poll.window_ns = 1000;
	src.item_at_rest = true;
	eventloop_set_polling(loop, MAX_NS);
	ck_assert(eventloop_poll_start(loop, &src.poll, false));
	eventloop_arm(loop, &timer, now_ns() + 200000000);
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_uint_eq(src.rested, 1);
	ck_assert_uint_eq(src.served, 1);
	ck_assert(!src.poll.active && !src.poll.missed); /* looked at for nothing it was not */
}
END_TEST

static void ring_in_handler(int signal)
{
	uint64_t one = 1;

	(void)signal;
	if (write(bell.fd, &one, sizeof(one)) != sizeof(one))
		_exit(1);
}

static void rang_enough(void *opaque, uint32_t revents)
{
	bell_rang(opaque, revents);
	eventloop_stop(loop);
}

/* io_uring's completions interrupt the sleep before they can be seen. That it was a long one is not forgotten over this. */
START_TEST(interrupted)
{
	struct sigaction act = { .sa_handler = ring_in_handler }, old;
	struct itimerval in = { .it_value.tv_usec = 900000 };

	source_init(&src, 0);
	eventloop_set_polling(loop, MAX_NS);
	bell_init();
	bell.ready = rang_enough;
	ck_assert_int_eq(sigaction(SIGALRM, &act, &old), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &in, NULL), 0);
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_int_eq(sigaction(SIGALRM, &old, NULL), 0);
#ifndef __SANITIZE_THREAD__ /* which puts handlers off until after the call that they interrupt */
	ck_assert_int_gt(src.poll.window_ns, 20000000);
#endif
	eventloop_poll_stop(loop, &src.poll);
	bell_fini();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { window, in_vain, seldom_in_vain, never, stop_in_walk, looks, nobody_starves, work_in_a_look, rest, interrupted };

	return suite_run("eventloop_poll", tests, ARRAY_SIZE(tests), setup, teardown);
}
