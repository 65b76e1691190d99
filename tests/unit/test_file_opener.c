/* SPDX-License-Identifier: MIT */
/* Files that one thread opens for another. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/file_opener.h"
#include "vmm/iothread.h"
#include "vmm/util.h"

static struct iothread *thread;
static int gate; /* the only thread that may open: its id */

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);

int __wrap_open(const char *path, int flags, ...)
{
	if (gate && gate != gettid()) {
		errno = EPERM;
		return -1;
	}
	return __real_open(path, flags);
}

struct job {
	const char *const *paths;
	size_t n;
	int fds[4];
	int tid;
};

static void work(void *arg, struct file_opener *opener)
{
	struct job *job = arg;

	job->tid = gettid();
	for (size_t i = 0; i < job->n; i++)
		job->fds[i] = file_opener_open(opener, job->paths[i], O_RDONLY | O_CLOEXEC);
}

START_TEST(files_are_opened_by_who_waits)
{
	static const char *const paths[] = { "/dev/null", "/no/such/file", "/dev/zero", "/dev" };
	struct job job = { .paths = paths, .n = ARRAY_SIZE(paths) };

	gate = gettid();
	file_opener_call(iothread_loop(thread), work, &job);
	gate = 0;
	ck_assert_int_eq(job.tid, iothread_tid(thread));
	ck_assert_int_ge(job.fds[0], 0);
	ck_assert_int_eq(job.fds[1], -ENOENT);
	ck_assert_int_ge(job.fds[2], 0);
	ck_assert_int_ge(job.fds[3], 0);
	for (size_t i = 0; i < ARRAY_SIZE(job.fds); i++)
		fd_close(&job.fds[i]);
}
END_TEST

START_TEST(nothing_to_open_is_a_plain_call)
{
	struct job job = { .n = 0 };

	for (int i = 0; i < 1000; i++) {
		job.tid = 0;
		file_opener_call(iothread_loop(thread), work, &job);
		ck_assert_int_eq(job.tid, iothread_tid(thread));
	}
}
END_TEST

START_TEST(the_sandbox_is_named_where_it_may_be_in_the_way)
{
	struct err err = ERR_INIT;

	err_set_errno(&err, -EACCES, "cannot make F");
	ck_assert_int_eq(file_opener_explain(false, &err), -EACCES);
	ck_assert_ptr_null(strstr(err.msg, "sandbox"));
	ck_assert_int_eq(file_opener_explain(true, &err), -EACCES);
	ck_assert_msg(!strncmp(err.msg, "cannot make F: Permission denied; the sandbox", 45) && strstr(err.msg, "files=DIR"), "%s", err.msg);
	err_set_errno(&err, -ENOENT, "cannot make F");
	ck_assert_int_eq(file_opener_explain(true, &err), -ENOENT);
	ck_assert_ptr_null(strstr(err.msg, "sandbox"));
}
END_TEST

static void setup(void)
{
	struct err err = ERR_INIT;

	thread = iothread_create("test", 0, &err);
	ck_assert_msg(thread, "%s", err.msg);
}

static void teardown(void)
{
	iothread_destroy(thread);
}

int main(void)
{
	const TTest *const tests[] = { files_are_opened_by_who_waits, nothing_to_open_is_a_plain_call, the_sandbox_is_named_where_it_may_be_in_the_way };

	return suite_run("file_opener", tests, ARRAY_SIZE(tests), setup, teardown);
}
