/* SPDX-License-Identifier: MIT */
/*
 * Kite with a host that fails: linked between Kite and the C library (ld --wrap), makes the call number KITE_FAULT, counted from 1 over
 * all the functions below, fail with an errno of its own kind. KITE_FAULT_NOTE names a file that then tells which call it was.
 * Without KITE_FAULT nothing fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_long calls;

static void note(const char *what, unsigned long detail, long number)
{
	const char *path = getenv("KITE_FAULT_NOTE");
	char text[96];
	int fd, n;

	if (!path)
		return;
	n = snprintf(text, sizeof(text), "%s %#lx call %ld\n", what, detail, number);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd >= 0) {
		(void)!write(fd, text, (size_t)n);
		close(fd);
	}
}

/* Whether this is the call that fails. */
static bool fails(const char *what, unsigned long detail)
{
	const char *which = getenv("KITE_FAULT");
	long number;

	if (!which)
		return false;
	number = atomic_fetch_add(&calls, 1) + 1;
	if (number != strtol(which, NULL, 10))
		return false;
	note(what, detail, number);
	return true;
}

#define WRAP(type, name, detail, error, failure, params, args)                                                                         \
	type __real_##name params;                                                                                                     \
	type __wrap_##name params;                                                                                                     \
	type __wrap_##name params                                                                                                      \
	{                                                                                                                              \
		if (fails(#name, (unsigned long)(detail))) {                                                                           \
			errno = error;                                                                                                 \
			return failure;                                                                                                \
		}                                                                                                                      \
		return __real_##name args;                                                                                             \
	}

WRAP(void *, malloc, n, ENOMEM, NULL, (size_t n), (n))
WRAP(void *, calloc, n * size, ENOMEM, NULL, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, n, ENOMEM, NULL, (void *p, size_t n), (p, n))
WRAP(char *, strdup, 0, ENOMEM, NULL, (const char *s), (s))
WRAP(char *, strndup, n, ENOMEM, NULL, (const char *s, size_t n), (s, n))
WRAP(FILE *, open_memstream, 0, ENOMEM, NULL, (char **p, size_t *n), (p, n))
WRAP(void *, mmap, n, ENOMEM, MAP_FAILED, (void *at, size_t n, int prot, int flags, int fd, off_t off), (at, n, prot, flags, fd, off))
WRAP(int, fstat, fd, EIO, -1, (int fd, struct stat *st), (fd, st))
WRAP(ssize_t, pread, n, EIO, -1, (int fd, void *buf, size_t n, off_t off), (fd, buf, n, off))
WRAP(int, epoll_create1, flags, EMFILE, -1, (int flags), (flags))
WRAP(int, epoll_ctl, op, ENOSPC, -1, (int ep, int op, int fd, struct epoll_event *e), (ep, op, fd, e))
WRAP(int, eventfd, n, EMFILE, -1, (unsigned n, int flags), (n, flags))
WRAP(int, signalfd, fd, EMFILE, -1, (int fd, const sigset_t *mask, int flags), (fd, mask, flags))
WRAP(int, socket, domain, EMFILE, -1, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, bind, fd, EACCES, -1, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
WRAP(int, listen, fd, EADDRINUSE, -1, (int fd, int n), (fd, n))
WRAP(int, pthread_create, 0, EAGAIN, EAGAIN, (pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg), (t, a, run, arg))

int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, void *arg);

int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
	/* KVM_RUN is called as often as a guest wishes: only the first calls are of interest. */
	static atomic_int runs;

	if (request == KVM_RUN && atomic_fetch_add(&runs, 1) >= 2)
		return __real_ioctl(fd, request, arg);
	if (fails("ioctl", request & 0xffff)) {
		errno = EFAULT;
		return -1;
	}
	return __real_ioctl(fd, request, arg);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);

int __wrap_open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & O_CREAT)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	if (fails("open", 0)) {
		errno = EMFILE;
		return -1;
	}
	return __real_open(path, flags, mode);
}
