/* SPDX-License-Identifier: MIT */
/* What kite-bridge-helper may call once it has begun: in a child each, which says how far it got. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bridge-helper/filter.h"

/* The wait status of a child that does it behind the filter; 0: and that said it was all right. */
static int inside(int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || filter_enter() < 0)
			_exit(99);
		_exit(fn());
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static int its_work(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	char byte;
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC), s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	void *memory = malloc(1 << 20);

	if (fd < 0 || read(fd, &byte, 1) != 1 || s < 0 || !memory)
		return 1;
	if (ioctl(s, SIOCGIFMTU, &ifr) < 0 || if_nametoindex("lo") == 0)
		return 2;
	/* No tap, but the call is made. */
	if (ioctl(fd, TUNSETIFF, &ifr) == 0 || errno == EPERM)
		return 3;
	free(memory);
	close(fd);
	close(s);
	return 0;
}

static int write_file(void)
{
	return open("/dev/null", O_WRONLY | O_CLOEXEC) < 0;
}

static int create_file(void)
{
	return open("/tmp/kite-bridge-filter", O_RDONLY | O_CREAT | O_CLOEXEC, 0600) < 0;
}

static int other_ioctl(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };

	return ioctl(0, SIOCSIFADDR, &ifr) < 0;
}

static int other_socket(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0) < 0;
}

static int write_elsewhere(void)
{
	return write(STDOUT_FILENO, "", 1) < 0;
}

static int execute(void)
{
	return execl("/bin/true", "true", NULL);
}

static int new_process(void)
{
	return fork() < 0;
}

static int executable_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}

START_TEST(test_work)
{
	ck_assert_int_eq(inside(its_work), 0);
}
END_TEST

START_TEST(test_others)
{
	static int (*const others[])(void) = { write_file, create_file, other_ioctl, other_socket, write_elsewhere, execute, new_process, executable_memory };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		int status = inside(others[i]);

		ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "call %zu: %#x", i, (unsigned)status);
	}
}
END_TEST

#include "suite.h"

int main(void)
{
	const TTest *const tests[] = { test_work, test_others };

	return suite_run("bridge_filter", tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}
