/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/eventloop.h"
#include "vmm/util.h"

#define JOBS 200

static struct eventloop *loop;
static bool no_threads;
static atomic_uint n_run;
static unsigned n_done;
static atomic_bool elsewhere, signals_open;
static pthread_t home;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	return no_threads ? EAGAIN : __real_pthread_create(thread, attr, start, arg);
}

static void setup(void)
{
	loop = fake_loop();
	home = pthread_self();
	no_threads = false;
}

static void teardown(void)
{
	eventloop_destroy(loop);
}

static void job_run(void *opaque)
{
	sigset_t blocked;

	(void)opaque;
	elsewhere = !pthread_equal(pthread_self(), home);
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	signals_open = !sigismember(&blocked, SIGTERM);
	atomic_fetch_add(&n_run, 1);
}

static void job_done(void *opaque)
{
	(void)opaque;
	ck_assert(pthread_equal(pthread_self(), home));
	if (++n_done == JOBS)
		eventloop_stop(loop);
}

static void jobs_start(struct event_job *jobs, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		jobs[i] = (struct event_job){ .run = job_run, .done = job_done };
		eventloop_offload(loop, &jobs[i]);
	}
}

START_TEST(test_elsewhere_and_back)
{
	static struct event_job jobs[JOBS];

	jobs_start(jobs, JOBS);
	ck_assert_uint_eq(n_done, 0);
	eventloop_run(loop);
	ck_assert_uint_eq(atomic_load(&n_run), JOBS);
	ck_assert(elsewhere);
	ck_assert(!signals_open);
}
END_TEST

START_TEST(test_drain)
{
	static struct event_job jobs[JOBS];

	eventloop_offload_drain(loop);
	jobs_start(jobs, JOBS - 1);
	while (n_done < JOBS - 1)
		eventloop_offload_drain(loop);
	/* What the drain has done is not done again by the loop. */
	jobs_start(&jobs[JOBS - 1], 1);
	eventloop_run(loop);
	ck_assert_uint_eq(n_done, JOBS);
}
END_TEST

static void drain_inside(void *opaque)
{
	(void)opaque;
	n_done++;
	while (n_done < 2)
		eventloop_offload_drain(loop);
}

START_TEST(test_drain_inside_done)
{
	static struct event_job a, b;

	a = (struct event_job){ .run = job_run, .done = drain_inside };
	b = (struct event_job){ .run = job_run, .done = job_done };
	eventloop_offload(loop, &a);
	eventloop_offload(loop, &b);
	while (n_done < 2)
		eventloop_offload_drain(loop);
	ck_assert_uint_eq(atomic_load(&n_run), 2);
}
END_TEST

START_TEST(test_no_thread_to_be_had)
{
	static struct event_job jobs[JOBS];

	no_threads = true;
	jobs_start(jobs, JOBS);
	ck_assert_uint_eq(n_done, 0);
	eventloop_run(loop);
	ck_assert_uint_eq(n_done, JOBS);
	ck_assert(!elsewhere);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { test_elsewhere_and_back, test_drain, test_drain_inside_done, test_no_thread_to_be_had };

	return suite_run("eventloop_offload", tests, ARRAY_SIZE(tests), setup, teardown);
}
