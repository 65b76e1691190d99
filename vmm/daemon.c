/* SPDX-License-Identifier: MIT */
#include "vmm/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(dup2), .threads = THREAD_MAIN, .rare = THREAD_MAIN },
	/* The end of a pidfile, if it is still its own */
	{ CALL(newfstatat), .threads = THREAD_MAIN },
	{ CALL(unlink), .threads = THREAD_MAIN },
);

/* The exit status that the child's end means; for a signal, what a shell would say. */
static int status_of(int wait_status)
{
	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

static int wait_for_child(int fd, pid_t child)
{
	int wait_status = 0;
	ssize_t n;
	char ready;

	do
		n = read(fd, &ready, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return 0;
	while (waitpid(child, &wait_status, 0) < 0 && errno == EINTR)
		;
	return status_of(wait_status);
}

int daemon_start(struct daemon *daemon, int *status, struct err *err)
{
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set_errno(err, -errno, "-daemonize: no pipe");
	child = fork();
	if (child < 0) {
		int error = errno;

		close(fds[0]);
		close(fds[1]);
		return err_set_errno(err, -error, "-daemonize: no other process");
	}
	if (child > 0) {
		close(fds[1]);
		*status = wait_for_child(fds[0], child);
		close(fds[0]);
		return 1;
	}
	close(fds[0]);
	setsid();
	daemon->ready_fd = fds[1];
	daemon->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return daemon->null_fd < 0 ? err_set_errno(err, -errno, "-daemonize: cannot open /dev/null") : 0;
}

void daemon_ready(struct daemon *daemon)
{
	if (daemon->ready_fd < 0)
		return;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(daemon->null_fd, fd);
	fd_close(&daemon->null_fd);
	/* After that: whoever started it may wait for the end of what is written to its standard error. */
	(void)!write(daemon->ready_fd, "", 1);
	fd_close(&daemon->ready_fd);
}

/* Locks `fd`; -EAGAIN when it is not what has that name any more, because another process removed it as it ended. */
static int pidfile_lock(int fd, const char *path)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat is, was;

	if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
		return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
	if (fstat(fd, &was) < 0 || stat(path, &is) < 0 || was.st_ino != is.st_ino || was.st_dev != is.st_dev)
		return -EAGAIN;
	return 0;
}

static int pidfile_write(int fd, const char *path, struct err *err)
{
	char self[16] = "", text[20];
	int n;

	/* /proc is the host's also in a namespace of processes, where getpid knows only that. */
	if (readlink("/proc/self", self, sizeof(self) - 1) <= 0)
		snprintf(self, sizeof(self), "%d", getpid());
	n = snprintf(text, sizeof(text), "%s\n", self);
	if (ftruncate(fd, 0) < 0 || write(fd, text, (size_t)n) != n)
		return err_set_errno(err, -errno, "-pidfile: cannot write to '%s'", path);
	return 0;
}

int pidfile_create(struct pidfile *pidfile, const char *path, struct err *err)
{
	int fd, r;

	if (!path)
		return 0;
	do {
		struct stat st;

		fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);
		if (fd < 0)
			return err_set_errno(err, -errno, "-pidfile: cannot open '%s'", path);
		r = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? pidfile_lock(fd, path) : -EINVAL;
		if (r < 0)
			fd_close(&fd);
	} while (r == -EAGAIN);
	if (r == -EINVAL)
		return err_set(err, r, "-pidfile: '%s' is not a regular file; name one to write the process's number to", path);
	if (r == -EBUSY)
		return err_set(err, r, "-pidfile: '%s' belongs to another process that is running; end that, or name another file", path);
	if (r < 0)
		return err_set_errno(err, r, "-pidfile: cannot lock '%s'", path);
	*pidfile = (struct pidfile){ .path = path, .fd = fd };
	return pidfile_write(fd, path, err);
}

void pidfile_remove(struct pidfile *pidfile)
{
	struct stat is, was;

	if (pidfile->fd < 0)
		return;
	/* Another's file that has got its name meanwhile stays. */
	if (fstat(pidfile->fd, &was) == 0 && stat(pidfile->path, &is) == 0 && was.st_ino == is.st_ino && was.st_dev == is.st_dev)
		unlink(pidfile->path);
	fd_close(&pidfile->fd);
}
