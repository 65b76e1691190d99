/* SPDX-License-Identifier: MIT */
#include "vmm/pace.h"

#include "tests/unit/suite.h"
#include "vmm/util.h"

static int64_t now;
static struct pace pace;

int64_t __wrap_now_ns(void);
int64_t __wrap_now_ns(void)
{
	return now;
}

static void setup(void)
{
	now = INT64_C(1000000000000);
	pace_reset(&pace);
}

static void teardown(void)
{
}

/* Runs of `n`, `gap` apart, until one is to be followed by a look, or `max` of them. Returns how many it took, and the time until the look. */
static unsigned runs(unsigned n, int64_t gap, unsigned max, int64_t *delay)
{
	unsigned i = 0;

	*delay = 0;
	while (i < max && *delay == 0) {
		now += gap;
		*delay = pace_next(&pace, n);
		i++;
	}
	return i;
}

START_TEST(a_streak_of_short_runs_leads_to_looks)
{
	int64_t delay;

	ck_assert_uint_le(runs(1, 30000, 100, &delay), 20);
	ck_assert(pace.on);
	/* The time that several take. */
	ck_assert_int_ge(delay, 4 * 30000);
	ck_assert_int_le(delay, PACE_MAX_NS);
	for (unsigned i = 0; i < 1000; i++) {
		now += delay;
		ck_assert_int_eq(pace_next(&pace, (unsigned)(delay / 30000)), delay);
	}
	ck_assert_int_eq(pace_next(&pace, 1), 0);
	ck_assert(!pace.on);
}
END_TEST

/* Two a run: the time that a frame takes is what counts. */
START_TEST(frames_count_and_not_runs)
{
	int64_t one, two;

	runs(1, 20000, 100, &one);
	pace_reset(&pace);
	runs(2, 40000, 100, &two);
	ck_assert_int_eq(one, two);
}
END_TEST

/* Several who wait for answers: each look finds enough of their frames, but over all they become fewer. */
START_TEST(as_many_as_before)
{
	unsigned looks[2] = { 0 };
	int64_t delay;

	for (unsigned fewer = 0; fewer < 2; fewer++) {
		pace_reset(&pace);
		runs(1, 10000, 100, &delay);
		do {
			now += delay;
			delay = pace_next(&pace, (unsigned)(delay / 10000) - (fewer ? 2 : 0));
			looks[fewer]++;
		} while (delay && looks[fewer] < 1000);
	}
	ck_assert_uint_eq(looks[0], 1000);
	ck_assert_uint_le(looks[1], 20);
	/* And it takes longer to be tried again. */
	ck_assert_uint_gt(runs(1, 10000, 100, &delay), 12);
}
END_TEST

START_TEST(delays_have_bounds)
{
	int64_t delay;

	runs(1, 1, 100, &delay);
	ck_assert_int_ge(delay, 1000); /* a look for nothing costs, too */
	pace_reset(&pace);
	runs(1, 149000, 100, &delay);
	ck_assert_int_eq(delay, PACE_MAX_NS);
}
END_TEST

START_TEST(slow_or_long_runs_are_no_streak)
{
	int64_t delay;

	ck_assert_uint_eq(runs(1, 1000000, 1000, &delay), 1000);
	ck_assert_uint_eq(runs(30, 10000, 1000, &delay), 1000);
	/* Nor are those that something else is between. */
	for (unsigned i = 0; i < 100; i++) {
		ck_assert_uint_eq(runs(1, 10000, 4, &delay), 4);
		now += 1000000;
	}
}
END_TEST

START_TEST(a_waking_for_nothing_says_nothing)
{
	int64_t delay;
	unsigned n = 0;

	do {
		now += 10000;
		ck_assert_int_eq(pace_next(&pace, 0), 0);
		n++;
	} while (runs(1, 10000, 1, &delay) && delay == 0 && n < 100);
	ck_assert_uint_le(n, 20);
}
END_TEST

/* Each look in vain makes the next one rarer; one that pays takes that back. */
START_TEST(looks_in_vain_become_rare)
{
	unsigned before = 0, n;
	int64_t delay;

	for (unsigned i = 0; i < 6; i++) {
		n = runs(1, 30000, 10000, &delay);
		ck_assert_uint_gt(n, before);
		before = n;
		now += delay;
		ck_assert_int_eq(pace_next(&pace, i % 4), 0);
	}
	for (unsigned i = 0; i < 10; i++) {
		runs(1, 30000, 10000, &delay);
		ck_assert_int_eq(pace_next(&pace, 1), 0);
	}
	ck_assert_uint_le(runs(1, 30000, 10000, &delay), 1024);
	for (unsigned i = 0; i < 20; i++) {
		now += delay;
		ck_assert_int_gt(pace_next(&pace, 10), 0);
	}
	ck_assert_int_eq(pace_next(&pace, 1), 0);
	ck_assert_uint_le(runs(1, 30000, 10000, &delay), 20);
}
END_TEST

START_TEST(ended_from_outside_it_starts_anew)
{
	int64_t delay;
	unsigned n = runs(1, 30000, 100, &delay);

	pace_end(&pace);
	ck_assert(!pace.on);
	ck_assert_uint_ge(runs(1, 30000, 100, &delay) + 1, n);
	ck_assert(pace.on);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_streak_of_short_runs_leads_to_looks, frames_count_and_not_runs, as_many_as_before, delays_have_bounds,
		slow_or_long_runs_are_no_streak, a_waking_for_nothing_says_nothing, looks_in_vain_become_rare, ended_from_outside_it_starts_anew,
	};

	return suite_run("pace", tests, sizeof(tests) / sizeof(tests[0]), setup, teardown);
}
