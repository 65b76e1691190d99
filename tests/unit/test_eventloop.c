/* SPDX-License-Identifier: MIT */
#include "vmm/eventloop.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/util.h"

#define MS INT64_C(1000000)

static struct eventloop *loop;

static void setup(void)
{
	loop = fake_loop();
}

static void teardown(void)
{
	eventloop_destroy(loop);
}

static void stop_fire(void *opaque)
{
	(void)opaque;
	eventloop_stop(loop);
}

/* Timers */

static char order[64];
static size_t n_order;

struct tagged {
	struct event_timer timer;
	struct event_work work;
	char tag;
};

static void tagged_note(void *opaque)
{
	struct tagged *t = opaque;

	ck_assert_uint_lt(n_order, sizeof(order) - 1);
	order[n_order++] = t->tag;
}

static void tagged_init(struct tagged *t, char tag)
{
	*t = (struct tagged){ .tag = tag };
	t->timer.fire = t->work.run = tagged_note;
	t->timer.opaque = t->work.opaque = t;
}

START_TEST(timer_order)
{
	struct event_timer end = { .fire = stop_fire };
	struct tagged t[5];
	int64_t now = now_ns();

	for (int i = 0; i < 5; i++)
		tagged_init(&t[i], (char)('a' + i));
	eventloop_arm(loop, &t[0].timer, now + 5 * MS);
	eventloop_arm(loop, &t[1].timer, now + 2 * MS);
	eventloop_arm(loop, &t[2].timer, now + 9 * MS);
	eventloop_arm(loop, &t[3].timer, now + 2 * MS); /* as b, so after it */
	eventloop_arm(loop, &t[4].timer, now - 1);      /* the past */
	eventloop_arm(loop, &end, now + 20 * MS);
	eventloop_arm(loop, &t[2].timer, now + MS); /* moved to the front */
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_str_eq(order, "ecbda");
	ck_assert_int_ge(now_ns(), now + 20 * MS);
	ck_assert(!t[0].timer.armed && !end.armed);
}
END_TEST

static struct tagged victim;

static void cancel_victim(void *opaque)
{
	(void)opaque;
	eventloop_cancel(loop, &victim.timer);
	eventloop_cancel_work(loop, &victim.work);
}

START_TEST(timer_cancel)
{
	struct event_timer end = { .fire = stop_fire }, killer = { .fire = cancel_victim };
	struct tagged a;
	int64_t now = now_ns();

	tagged_init(&a, 'a');
	tagged_init(&victim, 'v');
	eventloop_cancel(loop, &a.timer); /* not armed: nothing happens */
	eventloop_arm(loop, &a.timer, now + MS);
	eventloop_cancel(loop, &a.timer);
	/* Both due in the same turn, so the victim is cancelled when it is on its way already. */
	eventloop_arm(loop, &killer, 0);
	eventloop_arm(loop, &victim.timer, 1);
	eventloop_arm(loop, &end, now + 5 * MS);
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_uint_eq(n_order, 0);
}
END_TEST

/* Fairness: none of these ever lets go, and each gets its turns. */

static struct {
	struct event_timer timer;
	struct event_work work;
	unsigned timers, works, fds;
} greedy;

static void greedy_check(void)
{
	if (greedy.timers > 100 && greedy.works > 100 && greedy.fds > 100)
		eventloop_stop(loop);
}

static void greedy_timer(void *opaque)
{
	(void)opaque;
	greedy.timers++;
	eventloop_arm(loop, &greedy.timer, 0);
	greedy_check();
}

static void greedy_work(void *opaque)
{
	(void)opaque;
	greedy.works++;
	eventloop_post(loop, &greedy.work);
	greedy_check();
}

static void greedy_fd(void *opaque, uint32_t revents)
{
	(void)opaque;
	ck_assert_uint_eq(revents, EPOLLIN);
	greedy.fds++;
	greedy_check();
}

START_TEST(nobody_starves)
{
	struct event_fd ev = { .ready = greedy_fd };
	int p[2];

	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(write(p[1], "x", 1), 1);
	ev.fd = p[0];
	ck_assert_int_eq(eventloop_add_fd(loop, &ev, EPOLLIN), 0);
	greedy.timer.fire = greedy_timer;
	greedy.work.run = greedy_work;
	eventloop_arm(loop, &greedy.timer, 0);
	eventloop_post(loop, &greedy.work);
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_uint_lt(greedy.timers, 1000);
	ck_assert_uint_lt(greedy.works, 1000);
	eventloop_del_fd(loop, &ev);
	close(p[0]);
	close(p[1]);
}
END_TEST

/* Descriptors */

START_TEST(fd_errors)
{
	struct event_fd ev = { .ready = greedy_fd, .fd = memfd_create("file", 0) };
	int p[2];

	ck_assert_int_eq(eventloop_add_fd(loop, &ev, EPOLLIN), -EPERM);
	ck_assert(!ev.registered);
	close(ev.fd);
	ck_assert_int_eq(pipe(p), 0);
	ev.fd = p[0];
	ck_assert_int_eq(eventloop_mod_fd(loop, &ev, EPOLLIN), -ENOENT);
	eventloop_del_fd(loop, &ev);
	ck_assert_int_eq(eventloop_add_fd(loop, &ev, EPOLLIN), 0);
	ck_assert_int_eq(eventloop_add_fd(loop, &ev, EPOLLIN), -EEXIST);
	eventloop_del_fd(loop, &ev);
	ck_assert_int_eq(eventloop_add_fd(loop, &ev, EPOLLIN), 0);
	eventloop_del_fd(loop, &ev);
	close(p[0]);
	close(p[1]);
}
END_TEST

#define PAIRS 8

static struct event_fd *many[PAIRS];
static unsigned many_ran;

/* Deletes and frees every other one, whose events of the same turn have been fetched already. */
static void kill_others(void *opaque)
{
	many_ran++;
	for (int i = 0; i < PAIRS; i++) {
		if (!many[i] || many[i] == opaque)
			continue;
		eventloop_del_fd(loop, many[i]);
		close(many[i]->fd);
		free(many[i]);
		many[i] = NULL;
	}
}

static void kill_and_stop(void *opaque, uint32_t revents)
{
	(void)revents;
	kill_others(opaque);
	eventloop_stop(loop);
}

START_TEST(fd_deleted_during_dispatch)
{
	struct event_timer end = { .fire = stop_fire };
	int p[2];

	for (int i = 0; i < PAIRS; i++) {
		ck_assert_int_eq(pipe(p), 0);
		ck_assert_int_eq(write(p[1], "x", 1), 1);
		many[i] = calloc(1, sizeof(*many[i]));
		*many[i] = (struct event_fd){ .fd = p[0], .ready = kill_and_stop, .opaque = many[i] };
		ck_assert_int_eq(eventloop_add_fd(loop, many[i], EPOLLIN), 0);
	}
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_uint_eq(many_ran, 1);
	/* The survivor is delivered again, the others are not. */
	eventloop_arm(loop, &end, now_ns() + 20 * NS_PER_SEC);
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_uint_eq(many_ran, 2);
	for (int i = 0; i < PAIRS; i++) {
		if (many[i])
			eventloop_del_fd(loop, many[i]);
		free(many[i]);
	}
}
END_TEST

/* As above without the stop: the rest of the turn goes on over what was freed. */
static void kill_and_go_on(void *opaque, uint32_t revents)
{
	struct event_fd *self = opaque;

	(void)revents;
	kill_others(opaque);
	eventloop_mod_fd(loop, self, 0);
}

static void count_and_stop(void *opaque, uint32_t revents)
{
	(void)revents;
	++*(unsigned *)opaque;
	eventloop_stop(loop);
}

static struct event_fd quiet[2];
static unsigned quiet_ran;

/* Whichever comes first silences the other, whose event has been fetched. */
static void quiet_ready(void *opaque, uint32_t revents)
{
	(void)opaque;
	(void)revents;
	quiet_ran++;
	eventloop_mod_fd(loop, &quiet[0], 0);
	eventloop_mod_fd(loop, &quiet[1], 0);
}

START_TEST(fd_silenced_during_dispatch)
{
	int p[2];

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(pipe(p), 0);
		ck_assert_int_eq(write(p[1], "x", 1), 1);
		quiet[i] = (struct event_fd){ .fd = p[0], .ready = quiet_ready };
		ck_assert_int_eq(eventloop_add_fd(loop, &quiet[i], EPOLLIN), 0);
	}
	fake_run_for(loop, 5);
	ck_assert_uint_eq(quiet_ran, 1);
	eventloop_mod_fd(loop, &quiet[1], EPOLLIN);
	fake_run_for(loop, 5);
	ck_assert_uint_eq(quiet_ran, 2);
	eventloop_del_fd(loop, &quiet[0]);
	eventloop_del_fd(loop, &quiet[1]);
}
END_TEST

START_TEST(fd_freed_in_the_middle_of_a_turn)
{
	struct event_fd later = { 0 };
	unsigned later_ran = 0;
	int p[2];

	for (int i = 0; i < PAIRS; i++) {
		ck_assert_int_eq(pipe(p), 0);
		ck_assert_int_eq(write(p[1], "x", 1), 1);
		many[i] = calloc(1, sizeof(*many[i]));
		*many[i] = (struct event_fd){ .fd = p[0], .ready = kill_and_go_on, .opaque = many[i] };
		ck_assert_int_eq(eventloop_add_fd(loop, many[i], EPOLLIN), 0);
	}
	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(write(p[1], "x", 1), 1);
	later = (struct event_fd){ .fd = p[0], .ready = count_and_stop, .opaque = &later_ran };
	ck_assert_int_eq(eventloop_add_fd(loop, &later, EPOLLIN), 0);
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_uint_eq(many_ran, 1);
	ck_assert_uint_eq(later_ran, 1);
	eventloop_del_fd(loop, &later);
	for (int i = 0; i < PAIRS; i++) {
		if (many[i])
			eventloop_del_fd(loop, many[i]);
		free(many[i]);
	}
}
END_TEST

/* Work */

static void post_b_and_self(void *opaque)
{
	struct tagged *t = opaque;

	tagged_note(t);
	if (n_order < 4)
		eventloop_post(loop, &t->work);
}

START_TEST(work_order)
{
	struct event_work end = { .run = stop_fire };
	struct tagged a, b, c;

	tagged_init(&a, 'a');
	tagged_init(&b, 'b');
	tagged_init(&c, 'c');
	eventloop_post(loop, &b.work);
	eventloop_post(loop, &a.work);
	eventloop_post(loop, &b.work); /* queued already */
	eventloop_post(loop, &c.work);
	eventloop_post(loop, &end);
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_str_eq(order, "bac");
	a.work.run = post_b_and_self;
	eventloop_post(loop, &a.work);
	fake_run_for(loop, 5);
	ck_assert_str_eq(order, "baca");
}
END_TEST

START_TEST(work_cancelled)
{
	struct event_work killer = { .run = cancel_victim };
	struct tagged a, b;

	tagged_init(&a, 'a');
	tagged_init(&b, 'b');
	tagged_init(&victim, 'v');
	eventloop_cancel_work(loop, &victim.work);
	eventloop_post(loop, &a.work);
	eventloop_post(loop, &victim.work);
	eventloop_cancel_work(loop, &victim.work); /* the last one: the end of the queue moves back */
	eventloop_post(loop, &killer);
	eventloop_post(loop, &victim.work);
	eventloop_post(loop, &b.work);
	fake_run_for(loop, 5);
	ck_assert_str_eq(order, "ab");
	eventloop_post(loop, &victim.work);
	fake_run_for(loop, 5);
	ck_assert_str_eq(order, "abv");
}
END_TEST

START_TEST(stop_leaves_the_rest)
{
	struct event_work end = { .run = stop_fire };
	struct tagged a, b;

	tagged_init(&a, 'a');
	tagged_init(&b, 'b');
	eventloop_stop(loop);
	eventloop_post(loop, &a.work);
	ck_assert_int_eq(eventloop_run(loop), 0); /* at once */
	ck_assert_uint_eq(n_order, 0);
	eventloop_post(loop, &end);
	eventloop_post(loop, &b.work);
	ck_assert_int_eq(eventloop_run(loop), 0);
	ck_assert_str_eq(order, "a");
	fake_run_for(loop, 5);
	ck_assert_str_eq(order, "ab");
}
END_TEST

START_TEST(an_idle_loop_sleeps)
{
	fake_run_idle(loop, 100);
}
END_TEST

/* Threads */

#define THREADS 4
#define ROUNDS 5000

struct poster {
	pthread_t thread;
	struct event_work work;
	struct event_timer timer;
	atomic_uint asked;
	unsigned seen, runs, fired; /* the loop's thread */
};

static void poster_run(void *opaque)
{
	struct poster *p = opaque;

	p->seen = atomic_load_explicit(&p->asked, memory_order_relaxed);
	p->runs++;
}

static void poster_fire(void *opaque)
{
	((struct poster *)opaque)->fired++;
}

static void *poster_main(void *opaque)
{
	struct poster *p = opaque;

	for (unsigned i = 1; i <= ROUNDS; i++) {
		atomic_store_explicit(&p->asked, i, memory_order_relaxed);
		eventloop_post(loop, &p->work);
		eventloop_arm(loop, &p->timer, now_ns() + (i % 3) * 1000);
		if (i % 7 == 0)
			eventloop_cancel(loop, &p->timer);
		if (i % 11 == 0)
			eventloop_cancel_work(loop, &p->work);
		if (i % 500 == 0)
			usleep(1000); /* the loop falls asleep */
	}
	eventloop_post(loop, &p->work);
	eventloop_arm(loop, &p->timer, now_ns());
	return NULL;
}

static bool all_seen(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < THREADS; i++)
		if (p[i].seen != ROUNDS || !p[i].fired || p[i].timer.armed)
			return false;
	return true;
}

START_TEST(posts_and_timers_from_threads)
{
	struct poster p[THREADS] = { 0 };

	for (int i = 0; i < THREADS; i++) {
		p[i].work = (struct event_work){ .run = poster_run, .opaque = &p[i] };
		p[i].timer = (struct event_timer){ .fire = poster_fire, .opaque = &p[i] };
		pthread_create(&p[i].thread, NULL, poster_main, &p[i]);
	}
	for (int i = 0; i < THREADS; i++)
		while (atomic_load(&p[i].asked) < ROUNDS)
			fake_run_for(loop, 1);
	for (int i = 0; i < THREADS; i++)
		pthread_join(p[i].thread, NULL);
	fake_run_until(loop, all_seen, p);
	for (int i = 0; i < THREADS; i++)
		ck_assert_uint_le(p[i].runs, ROUNDS + 1);
}
END_TEST

static void *late_post(void *opaque)
{
	usleep(20000);
	eventloop_post(loop, opaque);
	return NULL;
}

static void *late_arm(void *opaque)
{
	usleep(20000);
	eventloop_arm(loop, opaque, now_ns());
	return NULL;
}

START_TEST(threads_wake_a_sleeping_loop)
{
	struct event_timer far = { .fire = stop_fire }, end = { .fire = stop_fire };
	struct event_work work = { .run = stop_fire };
	int64_t start = now_ns();
	pthread_t thread;

	pthread_create(&thread, NULL, late_post, &work);
	ck_assert_int_eq(eventloop_run(loop), 0);
	pthread_join(thread, NULL);
	eventloop_arm(loop, &far, start + 100 * NS_PER_SEC);
	pthread_create(&thread, NULL, late_arm, &end);
	ck_assert_int_eq(eventloop_run(loop), 0);
	pthread_join(thread, NULL);
	ck_assert_int_lt(now_ns() - start, 90 * NS_PER_SEC);
	eventloop_cancel(loop, &far);
}
END_TEST

static pthread_t sync_seen;
static unsigned sync_calls;

static void sync_note(void *arg)
{
	sync_seen = pthread_self();
	++*(unsigned *)arg;
}

static void *sync_thread(void *opaque)
{
	for (int i = 0; i < 1000; i++) {
		unsigned before = sync_calls;

		eventloop_call_sync(loop, sync_note, &sync_calls);
		ck_assert_uint_eq(sync_calls, before + 1);
		ck_assert(!pthread_equal(sync_seen, pthread_self()));
	}
	eventloop_stop(loop);
	return opaque;
}

static void start_sync_thread(void *opaque)
{
	pthread_create(opaque, NULL, sync_thread, NULL);
}

START_TEST(call_sync_from_a_thread)
{
	pthread_t thread;
	/* From the loop, so that it runs when the thread makes its first call. */
	struct event_work start = { .run = start_sync_thread, .opaque = &thread };

	eventloop_post(loop, &start);
	ck_assert_int_eq(eventloop_run(loop), 0);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(sync_calls, 1000);
}
END_TEST

static void sync_inside(void *opaque)
{
	eventloop_call_sync(loop, sync_note, opaque);
	eventloop_stop(loop);
}

START_TEST(call_sync_is_a_plain_call)
{
	struct event_work work = { .run = sync_inside, .opaque = &sync_calls };

	eventloop_call_sync(loop, sync_note, &sync_calls); /* nobody runs it */
	ck_assert_uint_eq(sync_calls, 1);
	eventloop_post(loop, &work);
	ck_assert_int_eq(eventloop_run(loop), 0); /* the loop's own thread */
	ck_assert_uint_eq(sync_calls, 2);
}
END_TEST

#define CALLS 200

static atomic_uint caller_count;

static void caller_note(void *arg)
{
	(void)arg;
	atomic_fetch_add(&caller_count, 1);
}

static void *caller_main(void *opaque)
{
	for (int i = 0; i < CALLS; i++)
		eventloop_call_sync(loop, caller_note, NULL);
	return opaque;
}

/* Slow enough for the other thread to queue its next call, which then stays there. */
static void slow_stop(void *opaque)
{
	usleep(1000);
	stop_fire(opaque);
}

/* A call that a stopping loop leaves on its queue is neither lost nor made twice, and the caller does not hang. */
START_TEST(call_sync_while_the_loop_stops)
{
	pthread_t thread;

	pthread_create(&thread, NULL, caller_main, NULL);
	while (atomic_load(&caller_count) < CALLS / 2) {
		struct event_work end = { .run = slow_stop };

		eventloop_post(loop, &end);
		ck_assert_int_eq(eventloop_run(loop), 0);
	}
	/* Nobody runs it any more, from anywhere in a call on. */
	pthread_join(thread, NULL);
	ck_assert_uint_eq(atomic_load(&caller_count), CALLS);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		timer_order, timer_cancel, nobody_starves, fd_errors, fd_deleted_during_dispatch, fd_silenced_during_dispatch,
		fd_freed_in_the_middle_of_a_turn, work_order, work_cancelled, stop_leaves_the_rest, an_idle_loop_sleeps,
		posts_and_timers_from_threads, threads_wake_a_sleeping_loop, call_sync_from_a_thread, call_sync_is_a_plain_call,
		call_sync_while_the_loop_stops,
	};

	return suite_run("eventloop", tests, ARRAY_SIZE(tests), setup, teardown);
}
