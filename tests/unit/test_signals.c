/* SPDX-License-Identifier: MIT */
/* The process's signals, each in a child of its own. */
#include "tests/unit/fake_kvm.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/eventloop.h"
#include "vmm/signals.h"

#define QUIT 42

static struct eventloop *loop;

static void quit(void *opaque)
{
	(void)opaque;
	eventloop_stop(loop);
}

static int resumed = -1;

static void resume(void *opaque)
{
	(void)opaque;
	(void)!write(resumed, "c", 1);
}

static int window = -1;

static void resized(void *opaque)
{
	(void)opaque;
	(void)!write(window, "w", 1);
}

static const struct signals_ops signals_ops = { .quit = quit, .resume = resume, .resized = resized };

static void *thread(void *opaque)
{
	(void)opaque;
	for (;;)
		pause();
	return NULL;
}

static void child_run(int ready)
{
	const struct rlimit no_core = { 0, 0 };
	struct signals signals;
	struct err err = ERR_INIT;
	pthread_t t;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_CORE, &no_core);
	loop = eventloop_create(&err);
	if (!loop || signals_init(&signals, loop, &signals_ops, NULL, &err) < 0 || pthread_create(&t, NULL, thread, NULL) != 0)
		_exit(1);
	(void)!write(ready, "r", 1);
	eventloop_run(loop);
	signals_fini(&signals);
	eventloop_destroy(loop);
	_exit(QUIT);
}

/* A child that serves its signals in a process group of its own, as a shell's job. */
static pid_t child_start(void (*prepare)(void))
{
	char c;
	int p[2];
	pid_t pid;

	ck_assert_int_eq(pipe(p), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		setpgid(0, 0);
		if (prepare)
			prepare();
		child_run(p[1]);
	}
	setpgid(pid, pid);
	ck_assert_int_eq(read(p[0], &c, 1), 1);
	close(p[0]);
	close(p[1]);
	return pid;
}

static int child_status(pid_t pid, int options)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, options), pid);
	return status;
}

START_TEST(ends)
{
	static const int ending[] = { SIGINT, SIGTERM, SIGHUP };
	pid_t pid = child_start(NULL);
	int status;

	kill(pid, ending[_i]);
	status = child_status(pid, 0);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == QUIT);
}
END_TEST

/* Sent from outside, with no instruction that could fail again. */
START_TEST(crashes)
{
	static const int deadly[] = { SIGABRT, SIGQUIT, SIGSEGV, SIGBUS, SIGILL, SIGFPE };
	pid_t pid = child_start(NULL);
	int status;

	kill(pid, deadly[_i]);
	status = child_status(pid, 0);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == deadly[_i]);
}
END_TEST

static void ignore(void)
{
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTSTP, SIG_IGN);
}

START_TEST(ignored_stay_ignored)
{
	pid_t pid = child_start(ignore);
	int status;

	kill(pid, SIGHUP);
	kill(pid, SIGINT);
	kill(pid, SIGTSTP);
	kill(pid, SIGPIPE);
	usleep(50000);
	ck_assert_int_eq(waitpid(pid, &status, WNOHANG | WUNTRACED), 0);
	kill(pid, SIGTERM);
	status = child_status(pid, 0);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == QUIT);
}
END_TEST

/* Ctrl-Z and fg, twice. */
START_TEST(stops_and_goes_on)
{
	int status, p[2], w[2];
	pid_t pid;
	char c;

	ck_assert_int_eq(pipe(p), 0);
	resumed = p[1];
	ck_assert_int_eq(pipe(w), 0);
	window = w[1];
	pid = child_start(NULL);
	for (unsigned i = 0; i < 2; i++) {
		kill(pid, SIGTSTP);
		status = child_status(pid, WUNTRACED);
		ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTSTP);
		kill(pid, SIGCONT);
		ck_assert(WIFCONTINUED(child_status(pid, WCONTINUED)));
		ck_assert_int_eq(read(p[0], &c, 1), 1);
	}
	/* The terminal's size may have changed meanwhile. */
	ck_assert_int_eq(read(w[0], &c, 1), 1);
	ck_assert_int_eq(read(w[0], &c, 1), 1);
	kill(pid, SIGWINCH);
	ck_assert_int_eq(read(w[0], &c, 1), 1);
	/* It need not have been stopped. */
	kill(pid, SIGCONT);
	ck_assert_int_eq(read(p[0], &c, 1), 1);
	kill(pid, SIGTERM);
	status = child_status(pid, 0);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == QUIT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("signals");
	TCase *tc = tcase_create("signals");

	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(tc, ends, 0, 3);
	tcase_add_loop_test(tc, crashes, 0, 6);
	tcase_add_test(tc, ignored_stay_ignored);
	tcase_add_test(tc, stops_and_goes_on);
	suite_add_tcase(suite, tc);
	return fake_run_tests(suite);
}
