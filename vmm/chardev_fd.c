/* SPDX-License-Identifier: MIT */
/* Descriptors of chardev back ends, and how to read and write each kind without waiting: see vmm/chardev_priv.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/chardev_priv.h"
#include "vmm/log.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	/* What the guest writes goes out at once from its own thread, if there is room. */
	{ CALL(write), .threads = THREAD_ANY },
	{ CALL(sendto), .threads = THREAD_ANY, .rare = THREAD_LOOP | THREAD_VCPU },
	{ CALL(poll), .threads = THREAD_ANY },
	{ CALL(read), .threads = THREAD_MAIN },
	{ CALL(recvfrom), .threads = THREAD_MAIN },
	{ CALL(ioctl), ARG(1, FIONREAD), .threads = THREAD_ANY, .rare = THREAD_ANY }, /* a reader that does not read */
	{ CALL(ioctl), ARG(1, SIOCOUTQ), .threads = THREAD_ANY, .rare = THREAD_ANY },
);

/* The most that one event brings in. The next source's turn comes after it. */
#define READ_PORTION 4096
/* A terminal that polls as writable may have room for few bytes more than one; 64 has been found harmless with each of them. */
#define TTY_PIECE 64

/* CHARDEV_FD_DIRECT: ready as long as it is wanted, a turn of the loop at a time. */
static void direct_turn(void *opaque)
{
	struct chardev_fd *f = opaque;

	/* Before `ready`, which may change its mind or close it. */
	eventloop_post(f->loop, &f->turn);
	f->ev.ready(f->ev.opaque, f->ev.events & (EPOLLIN | EPOLLOUT));
}

void chardev_fd_init(struct chardev_fd *f, struct eventloop *loop, int fd, enum chardev_fd_kind kind,
		     void (*ready)(void *opaque, uint32_t revents), void *opaque)
{
	*f = (struct chardev_fd){
		.fd = fd,
		.kind = kind,
		.piece = PIPE_BUF,
		.loop = loop,
		.ev = { .fd = fd, .ready = ready, .opaque = opaque },
		.turn = { .run = direct_turn, .opaque = f },
	};
}

/* A description of our own for the terminal or pipe behind `fd`, or -errno: it may belong to another user. */
static int reopen(int fd, int flags)
{
	char path[64];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return own < 0 ? -errno : own;
}

int chardev_fd_share(struct chardev_fd *f, struct eventloop *loop, int fd, int flags,
		     void (*ready)(void *opaque, uint32_t revents), void *opaque)
{
	enum chardev_fd_kind kind = CHARDEV_FD_SHARED;
	bool tty = isatty(fd);
	struct stat st;
	int own = -1;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISSOCK(st.st_mode))
		kind = CHARDEV_FD_SOCKET;
	else if (S_ISREG(st.st_mode))
		kind = CHARDEV_FD_DIRECT; /* not opened anew: that would lose the offset and O_APPEND */
	else if (S_ISFIFO(st.st_mode) || tty)
		own = reopen(fd, flags);
	if (own >= 0) {
		kind = CHARDEV_FD_NONBLOCK;
	} else {
		own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (own < 0)
			return -errno;
	}
	chardev_fd_init(f, loop, own, kind, ready, opaque);
	if (tty)
		f->piece = TTY_PIECE;
	return 0;
}

void chardev_fd_fini(struct chardev_fd *f)
{
	if (f->fd < 0)
		return;
	chardev_fd_want(f, 0);
	fd_close(&f->fd);
}

uint32_t chardev_fd_wanted(const struct chardev_fd *f)
{
	return f->ev.events;
}

static void want_direct(struct chardev_fd *f, uint32_t events)
{
	f->ev.events = events;
	if (events & (EPOLLIN | EPOLLOUT))
		eventloop_post(f->loop, &f->turn);
	else
		eventloop_cancel_work(f->loop, &f->turn);
}

void chardev_fd_want(struct chardev_fd *f, uint32_t events)
{
	int rc;

	if (f->fd < 0 || events == f->ev.events)
		return;
	if (f->kind == CHARDEV_FD_DIRECT) {
		want_direct(f, events);
		return;
	}
	if (!events) {
		eventloop_del_fd(f->loop, &f->ev);
		f->ev.events = 0;
		return;
	}
	rc = f->ev.registered ? eventloop_mod_fd(f->loop, &f->ev, events) : eventloop_add_fd(f->loop, &f->ev, events);
	if (rc == -EPERM) {
		f->kind = CHARDEV_FD_DIRECT;
		want_direct(f, events);
	} else if (rc < 0) {
		log_error("cannot wait for input and output of a chardev: %s", strerrordesc_np(-rc));
	}
}

/* CHARDEV_FD_SHARED: another process may get in between this and the call that follows; that window is the price of sharing. */
static bool ready_now(const struct chardev_fd *f, short events)
{
	struct pollfd p = { .fd = f->fd, .events = events };

	return poll(&p, 1, 0) > 0;
}

ssize_t chardev_fd_read(struct chardev_fd *f, void *buf, size_t len)
{
	ssize_t n;

	if (f->fd < 0)
		return -EBADF;
	if (f->kind == CHARDEV_FD_SHARED && !ready_now(f, POLLIN))
		return -EAGAIN;
	do {
		n = f->kind == CHARDEV_FD_SOCKET ? recv(f->fd, buf, len, MSG_DONTWAIT) : read(f->fd, buf, len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t write_some(struct chardev_fd *f, const void *buf, size_t len)
{
	ssize_t n;

	if (f->kind == CHARDEV_FD_SHARED) {
		if (!ready_now(f, POLLOUT))
			return -EAGAIN;
		len = min_u64(len, f->piece);
	}
	do {
		n = f->kind == CHARDEV_FD_SOCKET ? send(f->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL) : write(f->fd, buf, len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t chardev_fd_write(struct chardev_fd *f, const void *buf, size_t len)
{
	ssize_t n;

	if (f->fd < 0)
		return -EPIPE;
	n = write_some(f, buf, len);
	if (n != 0 && n != -EAGAIN)
		return n;
	chardev_fd_want(f, f->ev.events | EPOLLOUT);
	return -EAGAIN;
}

int64_t chardev_fd_unread(const struct chardev_fd *f)
{
	int n;

	/* SIOCOUTQ is TIOCOUTQ too; a pipe knows FIONREAD at both ends. */
	if (f->fd >= 0 && (ioctl(f->fd, SIOCOUTQ, &n) == 0 || ioctl(f->fd, FIONREAD, &n) == 0))
		return n;
	return -1;
}

void chardev_fd_drain(struct chardev_fd *f, struct chardev *chr)
{
	chardev_fd_want(f, f->ev.events & ~(uint32_t)EPOLLOUT);
	chardev_drain(chr);
}

ssize_t chardev_fd_pull(struct chardev_fd *f, struct chardev *chr)
{
	uint8_t buf[READ_PORTION];
	size_t room = chardev_input_room(chr);
	ssize_t n;

	if (!room) {
		/* It changed its mind on its own: have `reading` follow. */
		chardev_input(chr, buf, 0);
		return -EAGAIN;
	}
	n = chardev_fd_read(f, buf, min_u64(room, sizeof(buf)));
	if (n > 0)
		chardev_input(chr, buf, (size_t)n);
	return n;
}
