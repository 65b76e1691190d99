/* SPDX-License-Identifier: MIT */
/* Threads and what they take along: the signals of nobody else, and where their log lines go. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/log.h"
#include "vmm/thread.h"
#include "vmm/util.h"

static char said[2][256];
static sigset_t mask;

static void line(void *opaque, enum log_level level, const char *text)
{
	char *to = said[(size_t)opaque];

	snprintf(to + strlen(to), sizeof(said[0]) - strlen(to), "%d:%s ", level, text);
}

static struct log_sink sinks[2] = {
	{ .line = line, .opaque = (void *)0, .level = LOG_LEVEL_INFO },
	{ .line = line, .opaque = (void *)1, .level = LOG_LEVEL_INFO },
};

static void *speak(void *arg)
{
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	log_warn("%s", (const char *)arg);
	log_debug("nobody wants to know");
	return NULL;
}

static void speak_on_a_thread(const char *text, const sigset_t *block)
{
	pthread_t thread;

	ck_assert_int_eq(thread_create(&thread, block, speak, (void *)text), 0);
	pthread_join(thread, NULL);
}

START_TEST(lines)
{
	struct log_limit limit = LOG_LIMIT_INIT;
	char *text;

	fake_stderr_begin();
	speak_on_a_thread("nobody's", NULL);
	ck_assert_ptr_null(log_use_sink(&sinks[0]));
	speak_on_a_thread("a", NULL);
	ck_assert_ptr_eq(log_use_sink(&sinks[1]), &sinks[0]);
	log_set_level(LOG_LEVEL_DEBUG);
	speak_on_a_thread("b", NULL);
	log_error("c");
	log_exactly("d %d", 1);
	log_guest(&limit, "disk", "e");
	ck_assert_ptr_eq(log_use_sink(NULL), &sinks[1]);
	log_debug("the process's level is as it was");
	log_exactly("f");
	text = fake_stderr_end();
	ck_assert_str_eq(text, "kite: warning: nobody's\nf\n");
	ck_assert_str_eq(said[0], "1:a ");
	ck_assert_str_eq(said[1], "1:b 3:nobody wants to know 0:c 2:d 1 1:disk: e ");
	free(text);
}
END_TEST

START_TEST(signals)
{
	sigset_t before, after, block;

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	log_use_sink(&sinks[0]);
	speak_on_a_thread("", NULL);
	ck_assert(sigismember(&mask, SIGTERM) && sigismember(&mask, SIGUSR1) && sigismember(&mask, SIGPIPE));
	sigemptyset(&block);
	sigaddset(&block, SIGTERM);
	speak_on_a_thread("", &block);
	ck_assert(sigismember(&mask, SIGTERM) && !sigismember(&mask, SIGUSR1));
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	ck_assert_mem_eq(&before, &after, 8); /* the kernel's part of it */
}
END_TEST

static void nothing(void)
{
}

int main(void)
{
	const TTest *const tests[] = { lines, signals };

	return suite_run("thread", tests, ARRAY_SIZE(tests), nothing, nothing);
}
