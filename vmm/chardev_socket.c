/* SPDX-License-Identifier: MIT */
/*
 * The socket back end: a Unix stream socket, listening for one client at a time (server=on) or connected once.
 *
 * The end of a connection has two halves. A client that has only shut down its sending side still gets output. One that hung up
 * (EPOLLHUP, or a write that failed) gets none any more, and the next one may come, but what it sent before is still the
 * front end's: `echo halt | nc -U SOCK` must work with a guest that takes 16 bytes at a time. The front end hears of the end after
 * the last of it, as it would at a socket of its own. As EPOLLHUP cannot be turned off, such a connection is watched only
 * while the front end takes input. A new client replaces it.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/chardev_priv.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

/* After an accept that failed for want of descriptors or memory. */
#define ACCEPT_RETRY_NS NS_PER_SEC

struct chardev_socket {
	struct chardev *chr;
	struct chardev_fd conn;
	bool hung_up;  /* conn takes no output */
	bool in_ended; /* conn gives no input */

	/* A server's: */
	struct chardev_fd listener;
	struct event_timer accept_timer;
	bool accept_failed; /* and was reported */
	char *path;
	dev_t dev; /* the socket file that is ours to remove */
	ino_t ino;
};

/* Waits for what matters at the connection's present state. */
static void conn_update(struct chardev_socket *sock)
{
	uint32_t events = chardev_fd_wanted(&sock->conn) & EPOLLOUT;

	if (sock->chr->reading && !sock->in_ended)
		events |= EPOLLIN;
	if (sock->hung_up)
		events &= EPOLLIN;
	else
		events |= EPOLLHUP;
	chardev_fd_want(&sock->conn, events);
}

static bool conn_has_input(const struct chardev_socket *sock)
{
	int n;

	return !sock->in_ended && ioctl(sock->conn.fd, FIONREAD, &n) == 0 && n > 0;
}

static void conn_hung_up(struct chardev_socket *sock)
{
	bool more = conn_has_input(sock);

	sock->hung_up = true;
	if (sock->in_ended)
		chardev_fd_fini(&sock->conn);
	else
		conn_update(sock);
	chardev_fd_want(&sock->listener, EPOLLIN);
	if (!more)
		chardev_set_connected(sock->chr, false);
}

static void conn_read(struct chardev_socket *sock)
{
	ssize_t n = chardev_fd_pull(&sock->conn, sock->chr);

	if (n > 0 || n == -EAGAIN)
		return;
	sock->in_ended = true;
	if (n < 0 || sock->hung_up)
		conn_hung_up(sock);
	else
		conn_update(sock);
}

static void conn_ready(void *opaque, uint32_t revents)
{
	struct chardev_socket *sock = opaque;
	bool gone = revents & (EPOLLHUP | EPOLLERR);

	if (revents & EPOLLIN) {
		conn_read(sock);
	} else if (gone) {
		conn_hung_up(sock);
		chardev_drain(sock->chr); /* nowhere, if there is input left: nobody shall wait for the peer to read */
	}
	/* Gone and readable: the input first; at its end, EPOLLHUP comes without EPOLLIN. */
	if ((revents & EPOLLOUT) && !gone && !sock->hung_up)
		chardev_fd_drain(&sock->conn, sock->chr);
}

static void conn_start(struct chardev_socket *sock, int fd)
{
	/* What is left of a client that hung up. */
	chardev_set_connected(sock->chr, false);
	chardev_fd_fini(&sock->conn);
	chardev_fd_init(&sock->conn, sock->chr->loop, fd, CHARDEV_FD_SOCKET, conn_ready, sock);
	sock->hung_up = sock->in_ended = false;
	chardev_fd_want(&sock->listener, 0);
	conn_update(sock);
	chardev_set_connected(sock->chr, true);
}

static void accept_ready(void *opaque, uint32_t revents)
{
	struct chardev_socket *sock = opaque;
	int fd = accept4(sock->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)revents;
	if (fd >= 0) {
		sock->accept_failed = false;
		conn_start(sock, fd);
		return;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	/* The client still waits, so the listener stays ready: trying again at once would be a spin. */
	if (!sock->accept_failed)
		log_warn("%s: cannot accept a client at '%s': %s; trying again every second", sock->chr->id, sock->path,
			 strerrordesc_np(errno));
	sock->accept_failed = true;
	chardev_fd_want(&sock->listener, 0);
	eventloop_arm(sock->chr->loop, &sock->accept_timer, now_ns() + ACCEPT_RETRY_NS);
}

static void accept_again(void *opaque)
{
	struct chardev_socket *sock = opaque;

	chardev_fd_want(&sock->listener, EPOLLIN);
}

static ssize_t socket_write(struct chardev *chr, const uint8_t *buf, size_t len)
{
	struct chardev_socket *sock = chr->backend;
	ssize_t n;

	if (sock->hung_up)
		return (ssize_t)len;
	n = chardev_fd_write(&sock->conn, buf, len);
	if (n >= 0 || n == -EAGAIN)
		return n;
	conn_hung_up(sock);
	return chardev_connected(chr) ? (ssize_t)len : n;
}

static int64_t socket_unread(struct chardev *chr)
{
	struct chardev_socket *sock = chr->backend;

	return chardev_fd_unread(&sock->conn);
}

static void socket_read_enable(struct chardev *chr, bool on)
{
	(void)on;
	conn_update(chr->backend);
}

static void socket_release(struct chardev_socket *sock)
{
	struct stat st;

	chardev_fd_fini(&sock->conn);
	if (sock->path) {
		eventloop_cancel(sock->chr->loop, &sock->accept_timer);
		chardev_fd_fini(&sock->listener);
		/* Unless somebody put another in its place. */
		if (lstat(sock->path, &st) == 0 && st.st_dev == sock->dev && st.st_ino == sock->ino)
			unlink(sock->path);
	}
	free(sock->path);
	free(sock);
}

static void socket_close(struct chardev *chr)
{
	socket_release(chr->backend);
}

static const struct chardev_ops socket_ops = {
	.write = socket_write,
	.unread = socket_unread,
	.read_enable = socket_read_enable,
	.close = socket_close,
};

static int server_open(struct chardev_socket *sock, const struct chardev_config *cfg, struct err *err)
{
	int fd = chardev_listen(cfg->path, err);
	struct stat st;

	if (fd < 0)
		return fd;
	chardev_fd_init(&sock->listener, sock->chr->loop, fd, CHARDEV_FD_NONBLOCK, accept_ready, sock);
	sock->accept_timer = (struct event_timer){ .fire = accept_again, .opaque = sock };
	sock->path = strdup(cfg->path);
	if (!sock->path || lstat(cfg->path, &st) < 0) {
		int code = sock->path ? -errno : -ENOMEM;

		chardev_fd_fini(&sock->listener);
		unlink(cfg->path);
		return err_set_errno(err, code, "cannot use the socket '%s'", cfg->path);
	}
	sock->dev = st.st_dev;
	sock->ino = st.st_ino;
	return chardev_set_filename(sock->chr, err, "unix:%s,server=on", cfg->path);
}

/*
 * Waits until a client connects or a signal asks Kite to end: one that is handled interrupts poll, one that is blocked (main reads
 * them from a signalfd, later) shows on `signals`, and stays pending as it is not read from it.
 */
static int wait_for_client(struct chardev_socket *sock, int signals)
{
	struct pollfd p[2] = { { .fd = sock->listener.fd, .events = POLLIN }, { .fd = signals, .events = POLLIN } };

	while (sock->conn.fd < 0) {
		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			return -errno;
		if (p[1].revents)
			return -EINTR;
		accept_ready(sock, EPOLLIN);
		/* Creation does not try again: the warning has said why, and Kite is not running yet. */
		if (sock->accept_failed)
			return -ECONNABORTED;
	}
	return 0;
}

static int server_wait(struct chardev_socket *sock, struct err *err)
{
	sigset_t ending;
	int signals, rc;

	sigemptyset(&ending);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGHUP);
	signals = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		return err_set_errno(err, -errno, "cannot wait for a client at '%s'", sock->path);
	log_info("waiting for connection on: %s", sock->chr->filename);
	rc = wait_for_client(sock, signals);
	fd_close(&signals);
	return rc < 0 ? err_set_errno(err, rc, "no client has connected to '%s'", sock->path) : 0;
}

static int client_open(struct chardev_socket *sock, const struct chardev_config *cfg, struct err *err)
{
	int fd = chardev_connect(cfg->path, err);

	if (fd < 0)
		return fd;
	conn_start(sock, fd);
	return chardev_set_filename(sock->chr, err, "unix:%s", cfg->path);
}

int chardev_socket_open(struct chardev *chr, const struct chardev_setup *setup, struct err *err)
{
	const struct chardev_config *cfg = setup->cfg;
	struct chardev_socket *sock = calloc(1, sizeof(*sock));
	int rc;

	if (!sock)
		return err_set_errno(err, -ENOMEM, "cannot open a socket");
	sock->chr = chr;
	sock->conn.fd = sock->listener.fd = -1;
	rc = cfg->server ? server_open(sock, cfg, err) : client_open(sock, cfg, err);
	if (rc == 0 && cfg->server && cfg->wait)
		rc = server_wait(sock, err);
	if (rc < 0) {
		socket_release(sock);
		return rc;
	}
	if (sock->conn.fd < 0)
		chardev_fd_want(&sock->listener, EPOLLIN);
	chr->backend = sock;
	chr->ops = &socket_ops;
	return 0;
}
