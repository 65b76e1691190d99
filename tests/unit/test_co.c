/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/suite.h"
#include "vmm/co.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define MAX 4
#define MANY 20

static struct co_pool *pool;
static char trace[256];

static void note(char c)
{
	size_t n = strlen(trace);

	trace[n] = c;
	trace[n + 1] = 0;
}

static void setup(void)
{
	struct err err = ERR_INIT;

	trace[0] = 0;
	pool = co_pool_create(MAX, &err);
	ck_assert_ptr_nonnull(pool);
}

static void teardown(void)
{
	co_pool_destroy(pool);
}

struct job {
	struct co_task task;
	char name;
	struct co *co;
	unsigned waits;
	struct co_mutex *mutex;
	struct co_queue *queue;
};

static void job_run(void *opaque)
{
	struct job *j = opaque;

	j->co = co_self(pool);
	ck_assert_ptr_nonnull(j->co);
	note(j->name);
	for (unsigned i = 0; i < j->waits; i++) {
		co_wait(pool);
		note(j->name);
	}
}

static void start(struct job *j, void (*run)(void *opaque))
{
	j->task = (struct co_task){ .run = run, .opaque = j };
	co_start(pool, &j->task);
}

START_TEST(test_runs_at_once_to_its_first_wait)
{
	struct job a = { .name = 'a', .waits = 2 }, b = { .name = 'b', .waits = 1 };

	ck_assert_ptr_null(co_self(pool));
	start(&a, job_run);
	start(&b, job_run);
	ck_assert_str_eq(trace, "ab");
	co_wake(b.co);
	co_wake(a.co);
	co_wake(a.co);
	ck_assert_str_eq(trace, "abbaa");
	ck_assert_ptr_null(co_self(pool));
}
END_TEST

/* More tasks than stacks: the rest waits in order, and stacks are used again. */
START_TEST(test_bounded)
{
	struct job jobs[MANY];

	for (unsigned i = 0; i < MANY; i++) {
		jobs[i] = (struct job){ .name = (char)('a' + i), .waits = 1 };
		start(&jobs[i], job_run);
	}
	ck_assert_str_eq(trace, "abcd");
	for (unsigned i = 0; i < MANY; i++)
		co_wake(jobs[i].co);
	ck_assert_uint_eq(strlen(trace), 2 * MANY);
	ck_assert_mem_eq(trace, "abcdae", 6);
}
END_TEST

static void starter_run(void *opaque)
{
	struct job *j = opaque;
	static struct job inner;

	inner = (struct job){ .name = 'i' };
	note('<');
	start(&inner, job_run);
	note('>');
	(void)j;
}

START_TEST(test_nothing_nests)
{
	struct job j = { .name = 's' };

	start(&j, starter_run);
	ck_assert_str_eq(trace, "<>i");
}
END_TEST

static void locker_run(void *opaque)
{
	struct job *j = opaque;

	co_lock(pool, j->mutex);
	j->co = co_self(pool);
	note(j->name);
	co_wait(pool);
	note(j->name);
	co_unlock(j->mutex);
	note('.');
}

START_TEST(test_mutex_in_order)
{
	struct co_mutex mutex = { NULL, { NULL, NULL } };
	struct job a = { .name = 'a', .mutex = &mutex }, b = { .name = 'b', .mutex = &mutex }, c = { .name = 'c', .mutex = &mutex };

	start(&a, locker_run);
	start(&b, locker_run);
	start(&c, locker_run);
	ck_assert_str_eq(trace, "a");
	co_wake(a.co);
	ck_assert_str_eq(trace, "aa.b");
	co_wake(b.co);
	co_wake(c.co);
	ck_assert_str_eq(trace, "aa.bb.cc.");
	ck_assert_ptr_null(mutex.owner);
}
END_TEST

static void waiter_run(void *opaque)
{
	struct job *j = opaque;

	co_queue_wait(pool, j->queue);
	note(j->name);
	co_queue_wait(pool, j->queue);
	note(j->name);
}

START_TEST(test_queue_wakes_all_once)
{
	struct co_queue queue = { NULL, NULL };
	struct job a = { .name = 'a', .queue = &queue }, b = { .name = 'b', .queue = &queue };

	start(&a, waiter_run);
	start(&b, waiter_run);
	co_queue_wake(&queue);
	ck_assert_str_eq(trace, "ab");
	co_queue_wake(&queue);
	ck_assert_str_eq(trace, "abab");
	ck_assert_ptr_null(queue.first);
}
END_TEST

/* What lies on a stack, and what registers hold, lasts over waits. */
static void deep(unsigned n, uint64_t *sum)
{
	volatile char room[256];

	memset((char *)room, (int)n, sizeof(room));
	if (n == 0)
		co_wait(pool);
	else
		deep(n - 1, sum);
	for (size_t i = 0; i < sizeof(room); i++)
		ck_assert_int_eq(room[i], (char)n);
	*sum += n;
}

static void deep_run(void *opaque)
{
	struct job *j = opaque;
	double x = 1.5 * (double)j->waits;
	uint64_t sum = 0;

	j->co = co_self(pool);
	deep(60, &sum);
	ck_assert_uint_eq(sum, 60 * 61 / 2);
	ck_assert(x == 1.5 * (double)j->waits);
	note(j->name);
}

START_TEST(test_stacks_are_their_own)
{
	struct job jobs[MAX];

	for (unsigned i = 0; i < MAX; i++) {
		jobs[i] = (struct job){ .name = (char)('a' + i), .waits = i };
		start(&jobs[i], deep_run);
	}
	for (unsigned i = MAX; i-- > 0;)
		co_wake(jobs[i].co);
	ck_assert_str_eq(trace, "dcba");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_runs_at_once_to_its_first_wait, test_bounded, test_nothing_nests, test_mutex_in_order, test_queue_wakes_all_once,
		test_stacks_are_their_own,
	};

	return suite_run("co", tests, ARRAY_SIZE(tests), setup, teardown);
}
