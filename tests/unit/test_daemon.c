/* SPDX-License-Identifier: MIT */
/* The background and the pidfile, in processes of their own. */
#include "vmm/daemon.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/util.h"

static char dir[] = "/tmp/kite-daemon-XXXXXX";
static char path[64];
static struct err err;

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/pid", dir);
	err = (struct err)ERR_INIT;
}

static void teardown(void)
{
	unlink(path);
	rmdir(dir);
}

/*
 * What the parent ends with of a daemon that ends with `status` (negative: by a signal), or is ready first. Then it writes to `out` whether it
 * is in the background: 'y'.
 */
static int parent_status(int status, bool ready, int out)
{
	pid_t parent = fork();
	int wait_status, result;

	if (parent == 0) {
		struct daemon daemon = DAEMON_INIT;

		if (daemon_start(&daemon, &result, &err) == 1)
			_exit(result);
		if (ready) {
			struct stat null, in;
			char said;

			daemon_ready(&daemon);
			said = stat("/dev/null", &null) == 0 && fstat(0, &in) == 0 && in.st_rdev == null.st_rdev && fstat(2, &in) == 0 &&
			       in.st_rdev == null.st_rdev && getsid(0) == getpid() ? 'y' : 'n';
			(void)!write(out, &said, 1);
		}
		if (status < 0)
			raise(-status);
		_exit(status);
	}
	ck_assert_int_eq(waitpid(parent, &wait_status, 0), parent);
	return WEXITSTATUS(wait_status);
}

START_TEST(parent_ends)
{
	int fds[2];
	char said;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(parent_status(3, true, fds[1]), 0);
	ck_assert_int_eq(read(fds[0], &said, 1), 1);
	ck_assert_int_eq(said, 'y');
	ck_assert_int_eq(parent_status(3, false, fds[1]), 3);
	ck_assert_int_eq(parent_status(-SIGKILL, false, fds[1]), 128 + SIGKILL);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(pidfile_is_held)
{
	struct pidfile mine = PIDFILE_INIT, other = PIDFILE_INIT;
	char text[16] = "";
	int fd;

	ck_assert_int_eq(pidfile_create(&mine, path, &err), 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 1);
	close(fd);
	ck_assert_int_eq(atoi(text), getpid());
	ck_assert_int_eq(text[strlen(text) - 1], '\n');
	ck_assert_int_eq(pidfile_create(&other, path, &err), -EBUSY);
	ck_assert(strstr(err.msg, "another process") != NULL);
	pidfile_remove(&mine);
	ck_assert_int_lt(access(path, F_OK), 0);
}
END_TEST

START_TEST(pidfile_left_behind)
{
	struct pidfile mine = PIDFILE_INIT;
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	struct stat st;

	/* Longer than what comes. */
	ck_assert_int_eq(write(fd, "12345678901234567890\n", 21), 21);
	close(fd);
	ck_assert_int_eq(pidfile_create(&mine, path, &err), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_le(st.st_size, 12);
	/* Replaced meanwhile: that one stays. */
	unlink(path);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	pidfile_remove(&mine);
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(pidfile_refused)
{
	struct pidfile mine = PIDFILE_INIT;

	ck_assert_int_eq(pidfile_create(&mine, NULL, &err), 0);
	ck_assert_int_eq(pidfile_create(&mine, "/nonexistent/pid", &err), -ENOENT);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(pidfile_create(&mine, path, &err), -EINVAL);
	pidfile_remove(&mine);
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { parent_ends, pidfile_is_held, pidfile_left_behind, pidfile_refused };

	return suite_run("daemon", tests, ARRAY_SIZE(tests), setup, teardown);
}
