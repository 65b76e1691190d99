/* SPDX-License-Identifier: MIT */
/*
 * The socket back end: a Unix or TCP stream socket, listening for one client at a time (server=on) or connected, once or with
 * `reconnect` again and again; or one that was inherited as a descriptor.
 *
 * The end of a connection has two halves. A client that has only shut down its sending side still gets output. One that hung up
 * (EPOLLHUP, or a write that failed) gets none any more, and the next one may come, but what it sent before is still the
 * front end's: `echo halt | nc -U SOCK` must work with a guest that takes 16 bytes at a time. The front end hears of the end after
 * the last of it, as it would at a socket of its own. As EPOLLHUP cannot be turned off, such a connection is watched only
 * while the front end takes input. A new client replaces it. TCP does not tell the two halves apart before something is sent, so there the end of
 * input is the end.
 */
#include <errno.h>
#include <fcntl.h>
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
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(recvmsg), .threads = THREAD_MAIN },
	{ CALL(accept4), .threads = THREAD_MAIN },
	{ CALL(getsockopt), .threads = THREAD_MAIN },
	/* The end of a listener: its file, if it is still its own */
	{ CALL(newfstatat), .threads = THREAD_MAIN },
	{ CALL(unlink), .threads = THREAD_MAIN },
);

/* After an accept that failed for want of descriptors or memory. */
#define ACCEPT_RETRY_NS NS_PER_SEC

struct chardev_socket {
	struct chardev *chr;
	struct chardev_fd conn;
	bool hung_up;  /* conn takes no output */
	bool in_ended; /* conn gives no input */
	bool no_halves; /* its end of input is its end: TCP */
	int fds[CHARDEV_MAX_FDS]; /* that came with input and nobody took yet */
	unsigned n_fds;

	/* A client's, with reconnect: */
	unsigned reconnect; /* seconds; 0: never */
	bool failure_said;
	struct chardev_fd pending; /* a connection on its way */
	struct event_timer reconnect_timer;
	char *server_path;         /* Unix; else: */
	struct sockaddr_storage addr;
	int addr_len;

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

static void drop_fds(struct chardev_socket *sock)
{
	while (sock->n_fds > 0)
		fd_close(&sock->fds[--sock->n_fds]);
}

static void reconnect_later(struct chardev_socket *sock)
{
	if (sock->reconnect)
		eventloop_arm(sock->chr->loop, &sock->reconnect_timer, now_ns() + sock->reconnect * NS_PER_SEC);
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
	reconnect_later(sock);
	if (!more)
		chardev_set_connected(sock->chr, false);
}

static void keep_fds(struct chardev_socket *sock, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (sock->n_fds < CHARDEV_MAX_FDS)
				sock->fds[sock->n_fds++] = fd;
			else
				fd_close(&fd);
		}
	}
}

/* As chardev_fd_pull, and takes descriptors. */
static ssize_t conn_pull_with_fds(struct chardev_socket *sock)
{
	uint8_t buf[4096];
	char control[CMSG_SPACE(CHARDEV_MAX_FDS * sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov = { .iov_base = buf, .iov_len = min_u64(chardev_input_room(sock->chr), sizeof(buf)) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t n;

	if (iov.iov_len == 0) {
		chardev_input(sock->chr, buf, 0);
		return -EAGAIN;
	}
	do
		n = recvmsg(sock->conn.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	keep_fds(sock, &msg);
	if (n > 0)
		chardev_input(sock->chr, buf, (size_t)n);
	return n;
}

static int socket_take_fd(struct chardev *chr)
{
	struct chardev_socket *sock = chr->backend;
	int fd;

	if (sock->n_fds == 0)
		return -1;
	fd = sock->fds[0];
	memmove(sock->fds, sock->fds + 1, --sock->n_fds * sizeof(sock->fds[0]));
	return fd;
}

static void conn_read(struct chardev_socket *sock)
{
	bool with_fds = sock->chr->fe && sock->chr->fe->takes_fds;
	ssize_t n = with_fds ? conn_pull_with_fds(sock) : chardev_fd_pull(&sock->conn, sock->chr);

	if (n > 0 || n == -EAGAIN)
		return;
	sock->in_ended = true;
	if (n < 0 || sock->hung_up || sock->no_halves)
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
	int domain = AF_UNIX;
	socklen_t len = sizeof(domain);

	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
	sock->no_halves = domain != AF_UNIX;
	/* What is left of a client that hung up. */
	chardev_set_connected(sock->chr, false);
	chardev_fd_fini(&sock->conn);
	drop_fds(sock);
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
		log_warn("%s: cannot accept a client at '%s': %s; trying again every second", sock->chr->id, sock->chr->filename,
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
	chardev_fd_fini(&sock->pending);
	drop_fds(sock);
	eventloop_cancel(sock->chr->loop, &sock->reconnect_timer);
	eventloop_cancel(sock->chr->loop, &sock->accept_timer);
	chardev_fd_fini(&sock->listener);
	/* Unless somebody put another in its place. */
	if (sock->path && lstat(sock->path, &st) == 0 && st.st_dev == sock->dev && st.st_ino == sock->ino)
		unlink(sock->path);
	free(sock->server_path);
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
	.take_fd = socket_take_fd,
};

/* Whether an inherited descriptor is a stream socket that does, or does not, listen. */
static int check_inherited(int fd, bool listens, struct err *err)
{
	int type, accepts = 0;
	socklen_t len = sizeof(type), len2 = sizeof(accepts);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return err_set_errno(err, -errno, "descriptor %d is not an open socket", fd);
	if (type != SOCK_STREAM)
		return err_set(err, -EINVAL, "descriptor %d is not a stream socket", fd);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &len2) == 0 && (accepts != 0) != listens)
		return err_set(err, -EINVAL, "descriptor %d is a socket that %s; give server=%s", fd, accepts ? "listens" : "does not listen",
			       accepts ? "on" : "off");
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fd;
}

static int server_listen(const struct chardev_config *cfg, struct err *err)
{
	int fd;

	if (!cfg->inherited)
		return cfg->path ? chardev_listen(cfg->path, err) : chardev_listen_inet(cfg->host, cfg->port, err);
	fd = check_inherited(cfg->fd, true, err);
	if (fd >= 0)
		fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static int server_open(struct chardev_socket *sock, const struct chardev_config *cfg, struct err *err)
{
	int fd = server_listen(cfg, err);
	struct stat st;

	if (fd < 0)
		return fd;
	chardev_fd_init(&sock->listener, sock->chr->loop, fd, CHARDEV_FD_NONBLOCK, accept_ready, sock);
	if (cfg->inherited)
		return chardev_set_filename(sock->chr, err, "unix:,server=on");
	if (!cfg->path)
		return chardev_set_filename(sock->chr, err, "tcp:%s:%s,server=on", cfg->host ? cfg->host : "", cfg->port);
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
		return err_set_errno(err, -errno, "cannot wait for a client at '%s'", sock->chr->filename);
	log_info("waiting for connection on: %s", sock->chr->filename);
	rc = wait_for_client(sock, signals);
	fd_close(&signals);
	return rc < 0 ? err_set_errno(err, rc, "no client has connected to '%s'", sock->chr->filename) : 0;
}

/* ---- a client that tries again ---- */

static void connect_failed(struct chardev_socket *sock, int error)
{
	if (!sock->failure_said)
		log_warn("%s: cannot connect to '%s': %s; trying again every %u s", sock->chr->id, sock->chr->filename, strerrordesc_np(-error),
			 sock->reconnect);
	sock->failure_said = true;
	reconnect_later(sock);
}

static void connect_ready(void *opaque, uint32_t revents)
{
	struct chardev_socket *sock = opaque;
	int error = 0, fd = sock->pending.fd;
	socklen_t len = sizeof(error);

	(void)revents;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error) {
		chardev_fd_fini(&sock->pending);
		connect_failed(sock, -error);
		return;
	}
	chardev_fd_want(&sock->pending, 0);
	sock->pending.fd = -1;
	sock->failure_said = false;
	conn_start(sock, fd);
}

static void connect_again(void *opaque)
{
	struct chardev_socket *sock = opaque;
	struct err err = ERR_INIT;
	int fd = sock->server_path ? chardev_connect(sock->server_path, &err) :
				     chardev_connect_inet(&sock->addr, sock->addr_len, false, &err);

	if (fd < 0) {
		connect_failed(sock, fd);
	} else if (sock->server_path) {
		sock->failure_said = false;
		conn_start(sock, fd);
	} else {
		chardev_fd_init(&sock->pending, sock->chr->loop, fd, CHARDEV_FD_NONBLOCK, connect_ready, sock);
		chardev_fd_want(&sock->pending, EPOLLOUT);
	}
}

static int client_prepare(struct chardev_socket *sock, const struct chardev_config *cfg, struct err *err)
{
	sock->reconnect = cfg->inherited ? 0 : cfg->reconnect;
	if (cfg->inherited)
		return chardev_set_filename(sock->chr, err, "unix:");
	if (!cfg->path) {
		sock->addr_len = chardev_resolve(cfg->host, cfg->port, false, &sock->addr, err);
		return sock->addr_len < 0 ? sock->addr_len :
					    chardev_set_filename(sock->chr, err, "tcp:%s:%s", cfg->host ? cfg->host : "", cfg->port);
	}
	sock->server_path = strdup(cfg->path);
	if (!sock->server_path)
		return err_set_errno(err, -ENOMEM, "cannot use the socket '%s'", cfg->path);
	return chardev_set_filename(sock->chr, err, "unix:%s", cfg->path);
}

static int client_open(struct chardev_socket *sock, const struct chardev_config *cfg, struct err *err)
{
	int fd, rc = client_prepare(sock, cfg, err);

	if (rc < 0)
		return rc;
	if (sock->reconnect) {
		connect_again(sock);
		return 0;
	}
	if (cfg->inherited)
		fd = check_inherited(cfg->fd, false, err);
	else
		fd = cfg->path ? chardev_connect(cfg->path, err) : chardev_connect_inet(&sock->addr, sock->addr_len, true, err);
	if (fd < 0)
		return cfg->inherited || cfg->path ? fd : err_prefix(err, "'%s:%s'", cfg->host ? cfg->host : "", cfg->port);
	conn_start(sock, fd);
	return 0;
}

int chardev_socket_open(struct chardev *chr, const struct chardev_setup *setup, struct err *err)
{
	const struct chardev_config *cfg = setup->cfg;
	struct chardev_socket *sock = calloc(1, sizeof(*sock));
	int rc;

	if (!sock)
		return err_set_errno(err, -ENOMEM, "cannot open a socket");
	sock->chr = chr;
	sock->conn.fd = sock->listener.fd = sock->pending.fd = -1;
	sock->accept_timer = (struct event_timer){ .fire = accept_again, .opaque = sock };
	sock->reconnect_timer = (struct event_timer){ .fire = connect_again, .opaque = sock };
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
