/* SPDX-License-Identifier: MIT */
#include "net/helper.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/util.h"

extern char **environ;

/* The directory that kite is in; false when /proc does not tell. */
static bool own_dir(char *dir, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", dir, size - 1);
	char *slash;

	if (n < 0)
		return false;
	dir[n] = '\0';
	slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
	return slash;
}

bool helper_find(const char *name, char *path, size_t size)
{
	static const char *const near[] = { "", "/../libexec/kite" }, *const installed[] = { "/usr/local/libexec/kite", "/usr/libexec/kite" };
	char dir[PATH_MAX];
	bool known = own_dir(dir, sizeof(dir));

	for (size_t i = 0; known && i < ARRAY_SIZE(near); i++)
		if (snprintf(path, size, "%s%s/%s", dir, near[i], name) < (int)size && access(path, X_OK) == 0)
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(installed); i++)
		if (snprintf(path, size, "%s/%s", installed[i], name) < (int)size && access(path, X_OK) == 0)
			return true;
	snprintf(path, size, "%s/%s", known ? dir : installed[0], name);
	return false;
}

/* What the program gets of this process's: `fd`, and signals as a shell would leave them. */
static int prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr, int fd, short flags)
{
	sigset_t all, none;
	int r = 0;

	sigfillset(&all);
	sigemptyset(&none);
	/* To its own number, too: that takes close-on-exec off. */
	if (fd >= 0)
		r = posix_spawn_file_actions_adddup2(actions, fd, HELPER_FD);
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(actions, fd >= 0 ? HELPER_FD + 1 : HELPER_FD);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attr, &all);
	if (r == 0)
		r = posix_spawnattr_setsigmask(attr, &none);
	return r ? r : posix_spawnattr_setflags(attr, (short)(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | flags));
}

static int start(const char *const argv[], int fd, short flags, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int r = posix_spawn_file_actions_init(&actions);

	if (r)
		return -r;
	r = posix_spawnattr_init(&attr);
	if (r == 0) {
		r = prepare(&actions, &attr, fd, flags);
		/* It writes to neither; char ** is tradition. */
		if (r == 0)
			r = posix_spawn(pid, argv[0], &actions, &attr, (char *const *)argv, environ);
		posix_spawnattr_destroy(&attr);
	}
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

int helper_start(const char *const argv[], int fd, pid_t *pid)
{
	return start(argv, fd, 0, pid);
}

int helper_start_session(const char *const argv[], int fd, pid_t *pid)
{
	return start(argv, fd, POSIX_SPAWN_SETSID, pid);
}

int helper_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
