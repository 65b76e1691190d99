/* SPDX-License-Identifier: MIT */
/*
 * Taps from a bridge helper, and the programs that Kite runs. The helper is this program under another name: it sends a pipe instead of a
 * tap, and what it was asked for through that.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/bridge.h"
#include "net/helper.h"
#include "vmm/err.h"

static char dir[] = "/tmp/kite-bridge-XXXXXX";
static struct err err;

static void setup(void)
{
	err = (struct err)ERR_INIT;
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

/* This program by another name, which says what it is to do. */
static const char *helper(const char *name)
{
	static char path[64];
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	ck_assert_int_gt(n, 0);
	self[n] = '\0';
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	ck_assert_int_eq(symlink(self, path), 0);
	return path;
}

static void send_fd(int socket, int fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { .buf = { 0 } };
	struct iovec iov = { .iov_base = (char[]){ 0 }, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	if (sendmsg(socket, &msg, 0) != 1)
		exit(9);
}

/* As a helper. */
static int be_helper(const char *name, int argc, char **argv)
{
	char said[512] = "";
	int p[2], fd = -1;
	sigset_t blocked;

	for (int i = 1; i < argc; i++) {
		strncat(said, argv[i], sizeof(said) - strlen(said) - 2);
		strcat(said, " ");
		if (!strncmp(argv[i], "--fd=", 5))
			fd = atoi(argv[i] + 5);
	}
	/* Nothing else of the starter's is here, and no signal is blocked. */
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	for (int other = 3; other < 64; other++)
		if (other != fd && fcntl(other, F_GETFD) >= 0)
			strcat(said, "LEAK ");
	if (sigismember(&blocked, SIGTERM))
		strcat(said, "BLOCKED ");
	if (!strcmp(name, "helper-fails"))
		return 3;
	if (!strcmp(name, "helper-silent"))
		return 0;
	if (!strcmp(name, "helper-bare"))
		return write(fd, "x", 1) == 1 ? 0 : 9;
	if (!strcmp(name, "helper-killed"))
		raise(SIGKILL);
	if (pipe(p) < 0 || write(p[1], said, strlen(said)) < 0)
		return 9;
	send_fd(fd, p[0]);
	return strcmp(name, "helper-late") ? 0 : 4;
}

static void read_said(int fd, char *out, size_t size)
{
	ssize_t n = read(fd, out, size - 1);

	ck_assert_int_ge(n, 0);
	out[n] = '\0';
	ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	close(fd);
}

START_TEST(gives)
{
	char said[512];
	sigset_t term;
	int fd, leak = open("/dev/null", O_RDONLY);

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	fd = bridge_open_tap("netdev 'n'", helper("helper-good"), "br7", true, &err);
	ck_assert_msg(fd >= 0, "%s", err.msg);
	read_said(fd, said, sizeof(said));
	ck_assert_str_eq(said, "--use-vnet --fd=3 --br=br7 ");
	fd = bridge_open_tap("netdev 'n'", helper("helper-plain"), "br0", false, &err);
	ck_assert_msg(fd >= 0, "%s", err.msg);
	read_said(fd, said, sizeof(said));
	ck_assert_str_eq(said, "--fd=3 --br=br0 ");
	close(leak);
}
END_TEST

START_TEST(command)
{
	char line[128], said[512];
	int fd;

	snprintf(line, sizeof(line), "%s --extra", helper("helper-shell"));
	fd = bridge_open_tap("netdev 'n'", line, "br1", true, &err);
	ck_assert_msg(fd >= 0, "%s", err.msg);
	read_said(fd, said, sizeof(said));
	ck_assert_str_eq(said, "--extra --use-vnet --fd=3 --br=br1 ");
}
END_TEST

static const struct {
	const char *name, *words;
} bad[] = {
	{ "helper-fails", "has made no tap on 'br0' (status 3)" }, { "helper-silent", "has made no tap on 'br0' (status 0)" },
	{ "helper-bare", "has made no tap" },			   { "helper-late", "(status 4)" },
	{ "helper-killed", "(status 137)" },
};

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

START_TEST(refuses)
{
	unsigned before = open_fds();

	ck_assert_int_lt(bridge_open_tap("netdev 'n'", helper(bad[_i].name), "br0", true, &err), 0);
	ck_assert_msg(strstr(err.msg, bad[_i].words) != NULL, "%s", err.msg);
	ck_assert_int_eq(strncmp(err.msg, "netdev 'n': ", 12), 0);
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

START_TEST(missing)
{
	unsigned before = open_fds();

	ck_assert_int_eq(bridge_open_tap("netdev 'n'", "/nonexistent/helper", "br0", true, &err), -ENOENT);
	ck_assert_msg(strstr(err.msg, "cannot run the bridge helper '/nonexistent/helper'") != NULL, "%s", err.msg);
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

START_TEST(finds)
{
	char self[PATH_MAX], path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	ck_assert_int_gt(n, 0);
	self[n] = '\0';
	/* The neighbour that is certainly there is this program itself. */
	ck_assert(helper_find(strrchr(self, '/') + 1, path, sizeof(path)));
	ck_assert_str_eq(path, self);
	ck_assert(!helper_find("kite-no-such-helper", path, sizeof(path)));
	ck_assert_ptr_nonnull(strstr(path, "/kite-no-such-helper"));
}
END_TEST

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	Suite *s = suite_create("bridge");
	TCase *t = tcase_create("bridge");
	SRunner *sr;
	int failed;

	if (!strncmp(name, "helper-", 7))
		return be_helper(name, argc, argv);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, gives);
	tcase_add_test(t, command);
	tcase_add_loop_test(t, refuses, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(t, missing);
	tcase_add_test(t, finds);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
