/* SPDX-License-Identifier: MIT */
#include "vmm/iothread.h"

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/eventloop.h"

struct seen {
	int tid;
	char name[16];
	sigset_t blocked;
};

static void look(void *arg)
{
	struct seen *s = arg;

	s->tid = gettid();
	pthread_getname_np(pthread_self(), s->name, sizeof(s->name));
	pthread_sigmask(SIG_SETMASK, NULL, &s->blocked);
}

START_TEST(runs)
{
	struct err err = ERR_INIT;
	struct iothread *t = iothread_create("iothread0", IOTHREAD_POLL_NS, &err);
	struct seen s = { 0 };

	ck_assert_msg(t != NULL, "%s", err.msg);
	/* From the beginning: a call is never made on this thread. */
	eventloop_call_sync(iothread_loop(t), look, &s);
	ck_assert_int_ne(s.tid, gettid());
	ck_assert_int_eq(s.tid, iothread_tid(t));
	ck_assert_str_eq(s.name, "IO iothread0");
	ck_assert(sigismember(&s.blocked, SIGTERM) && sigismember(&s.blocked, SIGINT));
	iothread_destroy(t);
	iothread_destroy(NULL);
}
END_TEST

START_TEST(long_name)
{
	struct err err = ERR_INIT;
	struct iothread *t = iothread_create("a-name-longer-than-the-kernel-keeps", IOTHREAD_POLL_NS, &err);
	struct seen s = { 0 };

	eventloop_call_sync(iothread_loop(t), look, &s);
	ck_assert_str_eq(s.name, "IO a-name-longe");
	iothread_destroy(t);
}
END_TEST

START_TEST(many)
{
	struct err err = ERR_INIT;

	for (int i = 0; i < 200; i++) {
		struct iothread *t[2] = { iothread_create("a", IOTHREAD_POLL_NS, &err), iothread_create("b", IOTHREAD_POLL_NS, &err) };
		struct seen s[2] = { { 0 }, { 0 } };

		for (int k = 0; k < 2; k++)
			eventloop_call_sync(iothread_loop(t[k]), look, &s[k]);
		ck_assert_int_ne(s[0].tid, s[1].tid);
		iothread_destroy(t[0]);
		iothread_destroy(t[1]);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("iothread");
	TCase *tc = tcase_create("iothread");
	SRunner *sr = srunner_create(s);
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_test(tc, runs);
	tcase_add_test(tc, long_name);
	tcase_add_test(tc, many);
	tcase_set_timeout(tc, 30);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
