/* SPDX-License-Identifier: MIT */
/*
 * Where the connection of -netdev stream comes from: a listening socket, which rests while there is a peer; a socket that connects, now and,
 * with reconnect, after every loss; or a descriptor that is connected already. What goes over it is net/framed.c's.
 */
#include "net/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/framed.h"
#include "net/netdev.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(accept4), .threads = THREAD_LOOP, .needs = NEEDS_PEERS },
	{ CALL(socket), ARG(0, AF_UNIX), .threads = THREAD_LOOP, .needs = NEEDS_PEERS },
	{ CALL(socket), ARG(0, AF_INET), .threads = THREAD_LOOP, .needs = NEEDS_PEERS },
	{ CALL(socket), ARG(0, AF_INET6), .threads = THREAD_LOOP, .needs = NEEDS_PEERS },
	{ CALL(connect), .threads = THREAD_LOOP, .needs = NEEDS_PEERS },
	{ CALL(getsockopt), .threads = THREAD_LOOP },
	{ CALL(setsockopt), ARGS(1, IPPROTO_TCP, 2, TCP_NODELAY), .threads = THREAD_LOOP, .needs = NEEDS_PEERS },
	/* The end of a listener: its file, if it is still its own */
	{ CALL(newfstatat), .threads = THREAD_LOOP | THREAD_MAIN },
	{ CALL(unlink), .threads = THREAD_LOOP | THREAD_MAIN },
);

#define CONNECT_TIMEOUT_MS 10000 /* at set-up, without reconnect */
/* After an accept that failed for want of descriptors or memory. */
#define ACCEPT_RETRY_NS NS_PER_SEC

struct stream_net {
	struct netdev nd;
	struct framed framed;
	char *text;               /* the address in words */
	struct event_fd source;   /* a server's listening socket, or a client's while it connects */
	struct event_timer retry; /* connects again, listens again */
	bool server;
	bool failed;          /* a client's last try, and it was said */
	uint32_t reconnect_ms;
	struct net_sockaddr to;
	char *path;           /* a server's socket file, to be removed */
	dev_t dev;
	ino_t ino;
};

static struct stream_net *stream_of(struct netdev *nd)
{
	return CONTAINER_OF(nd, struct stream_net, nd);
}

/* The peer */

static void stream_connected(struct stream_net *s, int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* fails for a Unix socket, which does not wait anyway */
	if (framed_start(&s->framed, fd) < 0) {
		log_warn("netdev %s: cannot watch the connection", s->nd.id);
		return;
	}
	s->failed = false;
	netdev_link(&s->nd, true);
}

static void retry_later(struct stream_net *s)
{
	if (s->reconnect_ms)
		eventloop_arm(s->nd.loop, &s->retry, now_ns() + (int64_t)s->reconnect_ms * 1000000);
}

static void stream_broken(void *opaque, int rc)
{
	struct stream_net *s = opaque;

	if (rc == -EPROTO)
		log_warn("netdev %s: the peer said that a frame has %u bytes, which none has; the connection is closed", s->nd.id,
			 s->framed.bad_length);
	else if (rc == -EPIPE)
		log_info("netdev %s: the peer has gone", s->nd.id);
	else
		log_warn("netdev %s: the connection broke: %s", s->nd.id, strerror(-rc));
	netdev_link(&s->nd, false);
	if (!s->server)
		retry_later(s);
	else if (s->source.fd >= 0)
		eventloop_mod_fd(s->nd.loop, &s->source, EPOLLIN);
}

/* A server */

static void accept_ready(void *opaque, uint32_t revents)
{
	struct stream_net *s = opaque;
	int fd = accept4(s->source.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)revents;
	if (fd < 0) {
		if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
			return;
		log_warn("netdev %s: cannot accept a connection: %s", s->nd.id, strerror(errno));
		eventloop_mod_fd(s->nd.loop, &s->source, 0);
		eventloop_arm(s->nd.loop, &s->retry, now_ns() + ACCEPT_RETRY_NS);
		return;
	}
	eventloop_mod_fd(s->nd.loop, &s->source, 0);
	stream_connected(s, fd);
	if (!framed_started(&s->framed))
		eventloop_mod_fd(s->nd.loop, &s->source, EPOLLIN);
}

static int server_open(struct stream_net *s, const struct stream_net_config *cfg, struct err *err)
{
	struct stat st;
	int rc;

	s->source.fd = cfg->addr.type == NET_ADDR_FD ? net_addr_take_fd(&cfg->addr, SOCK_STREAM, err) : net_addr_bind(&cfg->addr, SOCK_STREAM, err);
	if (s->source.fd < 0)
		return s->source.fd;
	if (cfg->addr.type == NET_ADDR_UNIX && !cfg->addr.abstract) {
		s->path = strdup(cfg->addr.path);
		if (!s->path) {
			unlink(cfg->addr.path); /* nobody would remember it */
			return err_set_errno(err, -ENOMEM, "cannot use the socket '%s'", cfg->addr.path);
		}
		if (lstat(s->path, &st) == 0) {
			s->dev = st.st_dev;
			s->ino = st.st_ino;
		}
	}
	s->source.ready = accept_ready;
	s->source.opaque = s;
	rc = eventloop_add_fd(s->nd.loop, &s->source, EPOLLIN);
	return rc < 0 ? err_set_errno(err, rc, "cannot watch %s", s->text) : 0;
}

/* Removes the socket file, if it is still the one that this server made. */
static void server_unlink(struct stream_net *s)
{
	struct stat st;

	if (s->path && lstat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->path);
	free(s->path);
}

/* A client */

static void connect_failed(struct stream_net *s, int rc)
{
	if (!s->failed)
		log_warn("netdev %s: cannot connect to %s: %s; trying again", s->nd.id, s->text, strerror(-rc));
	s->failed = true;
	retry_later(s);
}

static int connect_result(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? -errno : -error;
}

static void connect_ready(void *opaque, uint32_t revents)
{
	struct stream_net *s = opaque;
	int fd = s->source.fd, rc = connect_result(fd);

	(void)revents;
	eventloop_del_fd(s->nd.loop, &s->source);
	s->source.fd = -1;
	if (rc == 0) {
		stream_connected(s, fd);
		return;
	}
	fd_close(&fd);
	connect_failed(s, rc);
}

/* Starts to connect: *fd is the socket. 0, -EINPROGRESS, or -errno with *fd closed. */
static int connect_begin(const struct stream_net *s, int *fd)
{
	int rc;

	*fd = socket(s->to.addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0)
		return -errno;
	rc = connect(*fd, (const struct sockaddr *)&s->to.addr, s->to.len) < 0 ? -errno : 0;
	if (rc < 0 && rc != -EINPROGRESS)
		fd_close(fd);
	return rc;
}

static void client_connect(struct stream_net *s)
{
	int fd, rc = connect_begin(s, &fd);

	if (rc == 0) {
		stream_connected(s, fd);
		return;
	}
	if (rc == -EINPROGRESS) {
		s->source.fd = fd;
		s->source.ready = connect_ready;
		s->source.opaque = s;
		rc = eventloop_add_fd(s->nd.loop, &s->source, EPOLLOUT);
		if (rc == 0)
			return;
		fd_close(&s->source.fd);
	}
	connect_failed(s, rc);
}

static void retry_fire(void *opaque)
{
	struct stream_net *s = opaque;

	if (s->server)
		eventloop_mod_fd(s->nd.loop, &s->source, EPOLLIN);
	else
		client_connect(s);
}

/* Connects now, and waits for it: a peer that is not there is a user's mistake. */
static int client_connect_now(struct stream_net *s, struct err *err)
{
	struct pollfd poll_fd = { .events = POLLOUT };
	int fd, rc = connect_begin(s, &fd);

	if (rc == -EINPROGRESS) {
		poll_fd.fd = fd;
		rc = poll(&poll_fd, 1, CONNECT_TIMEOUT_MS);
		rc = rc < 0 ? -errno : rc == 0 ? -ETIMEDOUT : connect_result(fd);
		if (rc < 0)
			fd_close(&fd);
	}
	if (rc < 0)
		return err_set_errno(err, rc, "cannot connect to %s; start that side first, or use reconnect-ms=", s->text);
	stream_connected(s, fd);
	return 0;
}

static int client_open(struct stream_net *s, const struct stream_net_config *cfg, struct err *err)
{
	int rc;

	if (cfg->addr.type == NET_ADDR_FD) {
		rc = net_addr_take_fd(&cfg->addr, SOCK_STREAM, err);
		if (rc >= 0)
			stream_connected(s, rc);
		return rc < 0 ? rc : 0;
	}
	rc = net_addr_resolve(&cfg->addr, SOCK_STREAM, false, &s->to, err);
	if (rc < 0)
		return rc;
	if (!cfg->reconnect_ms)
		return client_connect_now(s, err);
	client_connect(s);
	return 0;
}

/* The netdev */

static int stream_tx(struct netdev *nd, unsigned queue, const struct iovec *iov, size_t n, size_t len)
{
	const struct netdev_frame frame = { .iov = iov, .n = n, .len = len };

	(void)queue;
	return framed_tx_many(&stream_of(nd)->framed, &frame, 1) ? 0 : -EAGAIN;
}

static unsigned stream_tx_many(struct netdev *nd, unsigned queue, const struct netdev_frame *frames, unsigned n)
{
	(void)queue;
	return framed_tx_many(&stream_of(nd)->framed, frames, n);
}

static void stream_rx_enable(struct netdev *nd, bool on)
{
	framed_rx_enable(&stream_of(nd)->framed, on);
}

static void stream_rx_more(struct netdev *nd, unsigned queue)
{
	(void)queue;
	framed_rx_more(&stream_of(nd)->framed);
}

static void stream_rx_hold(struct netdev *nd, bool on)
{
	framed_rx_hold(&stream_of(nd)->framed, on);
}

static void stream_close(struct netdev *nd)
{
	struct stream_net *s = stream_of(nd);

	eventloop_cancel(nd->loop, &s->retry);
	eventloop_del_fd(nd->loop, &s->source);
	fd_close(&s->source.fd);
	framed_fini(&s->framed);
	server_unlink(s);
	free(s->text);
	netdev_fini(nd);
	free(s);
}

static const struct netdev_ops stream_ops = {
	.type = "stream",
	.tx = stream_tx,
	.tx_many = stream_tx_many,
	.rx_enable = stream_rx_enable,
	.rx_more = stream_rx_more,
	.rx_hold = stream_rx_hold,
	.close = stream_close,
};

static struct stream_net *stream_new(const struct stream_net_config *cfg, struct err *err)
{
	struct stream_net *s = calloc(1, sizeof(*s));
	char text[200];

	if (!s || netdev_init(&s->nd, &stream_ops, cfg->id, cfg->loop, err) < 0) {
		free(s);
		err_set_errno(err, -ENOMEM, "the stream");
		return NULL;
	}
	s->nd.link_up = false;
	s->source.fd = -1;
	s->retry.fire = retry_fire;
	s->retry.opaque = s;
	s->server = cfg->server;
	s->reconnect_ms = cfg->server ? 0 : cfg->reconnect_ms;
	s->framed.nd = &s->nd;
	s->framed.broken = stream_broken;
	s->framed.opaque = s;
	s->text = strdup(net_addr_text(&cfg->addr, text, sizeof(text)));
	if (!s->text || framed_init(&s->framed) < 0) {
		stream_close(&s->nd);
		err_set_errno(err, -ENOMEM, "the stream");
		return NULL;
	}
	return s;
}

struct netdev *stream_net_open(const struct stream_net_config *cfg, struct err *err)
{
	struct stream_net *s = stream_new(cfg, err);
	int rc = 0;

	if (s)
		rc = cfg->server ? server_open(s, cfg, err) : client_open(s, cfg, err);
	if (s && rc == 0)
		return &s->nd;
	if (s)
		stream_close(&s->nd);
	err_prefix(err, "netdev %s", cfg->id);
	return NULL;
}
