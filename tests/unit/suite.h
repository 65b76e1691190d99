/* SPDX-License-Identifier: MIT */
/* main() of a unit test: one list of tests, Check's summary, a status. */
#ifndef TESTS_UNIT_SUITE_H
#define TESTS_UNIT_SUITE_H

#include <check.h>
#include <stddef.h>

#define SUITE_TEST_SECONDS 30 /* tests/unit/run makes more of them */

static inline int suite_run(const char *name, const TTest *const *tests, size_t n, void (*setup)(void), void (*teardown)(void))
{
	Suite *suite = suite_create(name);
	TCase *tests_case = tcase_create(name);
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tests_case, SUITE_TEST_SECONDS);
	tcase_add_checked_fixture(tests_case, setup, teardown);
	for (size_t i = 0; i < n; i++)
		tcase_add_test(tests_case, tests[i]);
	suite_add_tcase(suite, tests_case);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}

#endif
