/* SPDX-License-Identifier: MIT */
/*
 * Kite with a host that fails: linked between Kite and the C library (ld --wrap), makes the call number KITE_FAULT, counted from 1 over
 * all the functions below, fail with an errno of its own kind. KITE_FAULT_NOTE names a file that then tells which call it was.
 * Without KITE_FAULT nothing fails.
 *
 * What is called as often as a guest wishes counts at the first, second, fourth, eighth... call of a function only, which are during start, run
 * and stop. With KITE_FAULT_RUNNING nothing counts before the guest runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
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
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;
static atomic_bool running; /* the first KVM_RUN was made */

long __real_syscall(long number, ...);

/* Open from the start: in the sandbox no file can be opened. */
static int note_fd = -1;

static __attribute__((constructor)) void note_open(void)
{
	const char *path = getenv("KITE_FAULT_NOTE");

	if (path)
		note_fd = (int)__real_syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void note(const char *what, unsigned long detail, long number)
{
	char text[96];
	int n = snprintf(text, sizeof(text), "%s %#lx call %ld\n", what, detail, number);

	(void)!write(note_fd, text, (size_t)n);
}

/* Whether this is the call that fails. */
static bool fails(const char *what, unsigned long detail)
{
	const char *which = getenv("KITE_FAULT");
	long number;

	if (!which || (!atomic_load(&running) && getenv("KITE_FAULT_RUNNING")))
		return false;
	number = atomic_fetch_add(&calls, 1) + 1;
	if (number != strtol(which, NULL, 10))
		return false;
	note(what, detail, number);
	return true;
}

/* The same for a function that is called often; `n` counts its calls. */
static bool fails_often(atomic_long *n, const char *what, unsigned long detail)
{
	long number = atomic_fetch_add(n, 1) + 1;

	return (number & (number - 1)) == 0 && fails(what, detail);
}

#define WRAP_OFTEN(type, name, detail, error, failure, params, args)                                                                   \
	type __real_##name params;                                                                                                     \
	type __wrap_##name params;                                                                                                     \
	type __wrap_##name params                                                                                                      \
	{                                                                                                                              \
		static atomic_long n_##name;                                                                                           \
                                                                                                                                       \
		if (fails_often(&n_##name, #name, (unsigned long)(detail))) {                                                          \
			errno = error;                                                                                                 \
			return failure;                                                                                                \
		}                                                                                                                      \
		return __real_##name args;                                                                                             \
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
WRAP(int, eventfd, n, EMFILE, -1, (unsigned n, int flags), (n, flags))
WRAP(int, signalfd, fd, EMFILE, -1, (int fd, const sigset_t *mask, int flags), (fd, mask, flags))
WRAP(int, socket, domain, EMFILE, -1, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, bind, fd, EACCES, -1, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
WRAP(int, listen, fd, EADDRINUSE, -1, (int fd, int n), (fd, n))
WRAP(int, pthread_create, 0, EAGAIN, EAGAIN, (pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg), (t, a, run, arg))

WRAP(int, statx, fd, EIO, -1, (int fd, const char *path, int flags, unsigned mask, struct statx *st), (fd, path, flags, mask, st))
WRAP(int, socketpair, domain, EMFILE, -1, (int domain, int type, int protocol, int sv[2]), (domain, type, protocol, sv))
WRAP(int, connect, fd, ECONNREFUSED, -1, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
WRAP(int, posix_memalign, n, ENOMEM, ENOMEM, (void **p, size_t align, size_t n), (p, align, n))
WRAP(void *, aligned_alloc, n, ENOMEM, NULL, (size_t align, size_t n), (align, n))
WRAP(void *, reallocarray, n * size, ENOMEM, NULL, (void *p, size_t n, size_t size), (p, n, size))
WRAP(int, ftruncate, fd, EIO, -1, (int fd, off_t size), (fd, size))
WRAP(off_t, lseek, fd, EIO, -1, (int fd, off_t off, int whence), (fd, off, whence))
WRAP(int, mprotect, n, ENOMEM, -1, (void *p, size_t n, int prot), (p, n, prot))
WRAP(int, io_uring_queue_init_params, n, ENOMEM, -ENOMEM, (unsigned n, struct io_uring *ring, struct io_uring_params *p), (n, ring, p))
WRAP_OFTEN(int, io_uring_submit_and_wait, n, EAGAIN, -EAGAIN, (struct io_uring *ring, unsigned n), (ring, n))
WRAP_OFTEN(int, io_uring_submit_and_get_events, 0, EAGAIN, -EAGAIN, (struct io_uring *ring), (ring))
WRAP_OFTEN(ssize_t, preadv2, fd, EIO, -1, (int fd, const struct iovec *v, int n, off_t off, int flags), (fd, v, n, off, flags))
WRAP_OFTEN(ssize_t, pwritev2, fd, EIO, -1, (int fd, const struct iovec *v, int n, off_t off, int flags), (fd, v, n, off, flags))
WRAP_OFTEN(ssize_t, pwrite, n, ENOSPC, -1, (int fd, const void *buf, size_t n, off_t off), (fd, buf, n, off))
WRAP_OFTEN(int, fdatasync, fd, EIO, -1, (int fd), (fd))
WRAP_OFTEN(ssize_t, readv, fd, EIO, -1, (int fd, const struct iovec *v, int n), (fd, v, n))
WRAP_OFTEN(ssize_t, writev, fd, EIO, -1, (int fd, const struct iovec *v, int n), (fd, v, n))
WRAP_OFTEN(ssize_t, getrandom, n, EINTR, -1, (void *buf, size_t n, unsigned flags), (buf, n, flags))
WRAP_OFTEN(ssize_t, sendmsg, fd, ENOBUFS, -1, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
WRAP_OFTEN(int, sendmmsg, fd, ENOBUFS, -1, (int fd, struct mmsghdr *m, unsigned n, int flags), (fd, m, n, flags))
WRAP_OFTEN(int, recvmmsg, fd, EIO, -1, (int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *t), (fd, m, n, flags, t))
WRAP_OFTEN(int, epoll_wait, n, EINTR, -1, (int ep, struct epoll_event *e, int n, int ms), (ep, e, n, ms))
WRAP_OFTEN(int, epoll_pwait2, n, EINTR, -1,
	   (int ep, struct epoll_event *e, int n, const struct timespec *t, const sigset_t *mask), (ep, e, n, t, mask))

unsigned __real_io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes, unsigned n);
unsigned __wrap_io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes, unsigned n);

/* A request that the kernel took and that failed. */
unsigned __wrap_io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes, unsigned n)
{
	static atomic_long n_completed;
	unsigned got = __real_io_uring_peek_batch_cqe(ring, cqes, n);

	for (unsigned i = 0; i < got; i++)
		if (cqes[i]->res >= 0 && fails_often(&n_completed, "completion", (unsigned long)cqes[i]->res))
			cqes[i]->res = -EIO;
	return got;
}

int __real_epoll_ctl(int ep, int op, int fd, struct epoll_event *e);
int __wrap_epoll_ctl(int ep, int op, int fd, struct epoll_event *e);

/* The kernel takes out whatever is in. */
int __wrap_epoll_ctl(int ep, int op, int fd, struct epoll_event *e)
{
	if (op != EPOLL_CTL_DEL && fails("epoll_ctl", (unsigned long)op)) {
		errno = ENOSPC;
		return -1;
	}
	return __real_epoll_ctl(ep, op, fd, e);
}

/* The sandbox's. What a thread is called, and which sets of capabilities there are, is nothing to fail for. */
int __real_prctl(int option, ...);
int __wrap_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);

int __wrap_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
	if (option == PR_SET_NO_NEW_PRIVS && fails("prctl", PR_SET_NO_NEW_PRIVS)) {
		errno = EINVAL;
		return -1;
	}
	return __real_prctl(option, a, b, c, d);
}

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	if (fails("syscall", (unsigned long)number)) {
		errno = EPERM;
		return -1;
	}
	return __real_syscall(number, a, b, c, d, e, f);
}

WRAP(int, setrlimit, resource, EPERM, -1, (int resource, const struct rlimit *limit), (resource, limit))

int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, void *arg);

int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
	/* KVM_RUN is called as often as a guest wishes: only the first calls are of interest. */
	static atomic_int runs;

	if (request == KVM_RUN) {
		atomic_store(&running, true);
		if (atomic_fetch_add(&runs, 1) >= 2)
			return __real_ioctl(fd, request, arg);
	}
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
