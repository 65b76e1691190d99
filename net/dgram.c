/* SPDX-License-Identifier: MIT */
/*
 * Datagrams come and go many at a time (recvmmsg, sendmmsg). What came is copied to the guest: one call for 16 small frames costs less than one
 * for each, straight into its buffers.
 *
 * A full socket is tried again after a moment, as a Unix socket that is not connected never says when its peer has room. A peer that takes
 * nothing for longer than that loses frames, and the guest goes on.
 *
 * Multicast brings a socket what it sent itself. So frames are sent from a second one, whose address then tells them apart; a guest that sees
 * its own neighbour solicitations would take its address for somebody else's.
 */
#include "net/dgram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/netdev.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(recvmmsg), .threads = THREAD_LOOP },
	{ CALL(sendmmsg), .threads = THREAD_LOOP },
	{ CALL(getsockopt), .threads = THREAD_LOOP, .rare = THREAD_ANY },
	{ CALL(unlink), .threads = THREAD_LOOP | THREAD_MAIN },
	{ CALL(newfstatat), .threads = THREAD_LOOP | THREAD_MAIN },
);

#define BATCH 16
#define TX_BATCH_IOV 128 /* entries of a batch's frames together */
#define RETRY_NS INT64_C(200000)
#define STALL_NS INT64_C(50000000) /* a peer that takes nothing for so long loses frames */

struct dgram_net {
	struct netdev nd;
	struct event_fd ev;
	struct event_timer retry;
	struct event_work resume;
	int tx_fd;                     /* the same as ev.fd, but for multicast */
	struct net_sockaddr to;        /* len 0: connected */
	struct net_sockaddr own;       /* of what comes back; len 0: nothing does */
	bool rx_on, no_room, tx_blocked;
	int64_t stalled_ns;            /* since when the peer takes nothing; 0: it does */
	char *path;                    /* a Unix socket's file, to be removed */
	uint8_t *in;                   /* BATCH frames */
	size_t in_len[BATCH];
	unsigned in_next, in_n;        /* those not delivered */
};

static struct dgram_net *dgram_of(struct netdev *nd)
{
	return CONTAINER_OF(nd, struct dgram_net, nd);
}

static void update_events(struct dgram_net *d)
{
	uint32_t events = d->rx_on && !d->no_room ? EPOLLIN : 0;

	if (d->ev.events != events)
		eventloop_mod_fd(d->nd.loop, &d->ev, events);
}

/* Receiving */

static bool is_own(const struct dgram_net *d, const struct sockaddr_storage *from)
{
	const struct sockaddr_in *a = (const struct sockaddr_in *)from, *own = (const struct sockaddr_in *)&d->own.addr;

	return d->own.len && from->ss_family == AF_INET && a->sin_port == own->sin_port && a->sin_addr.s_addr == own->sin_addr.s_addr;
}

/* Reads a batch. True when there may be more. */
static bool rx_read(struct dgram_net *d)
{
	struct sockaddr_storage from[BATCH];
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	int n;

	for (unsigned i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ d->in + i * NETDEV_FRAME_MAX, NETDEV_FRAME_MAX };
		msgs[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1, .msg_name = &from[i], .msg_namelen = sizeof(from[i]) };
		from[i].ss_family = AF_UNSPEC;
	}
	n = recvmmsg(d->ev.fd, msgs, BATCH, MSG_DONTWAIT, NULL);
	d->in_next = 0;
	d->in_n = n < 0 ? 0 : (unsigned)n;
	for (unsigned i = 0; i < d->in_n; i++) {
		bool whole = !(msgs[i].msg_hdr.msg_flags & MSG_TRUNC);

		d->in_len[i] = whole && !is_own(d, &from[i]) ? msgs[i].msg_len : 0;
	}
	/* An error is what a datagram sent earlier met, such as nobody at the port; reading it has cleared it. */
	return n == BATCH || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

static bool rx_deliver(struct dgram_net *d)
{
	for (; d->in_next < d->in_n; d->in_next++) {
		size_t len = d->in_len[d->in_next];

		if (len && !netdev_deliver(&d->nd, 0, NULL, d->in + d->in_next * NETDEV_FRAME_MAX, len))
			return false;
	}
	return true;
}

static void rx_run(struct dgram_net *d)
{
	bool more = true;

	if (!d->rx_on || d->no_room)
		return;
	d->no_room = !rx_deliver(d);
	for (unsigned i = 0; more && !d->no_room && i < NETDEV_TURN / BATCH; i++) {
		more = rx_read(d);
		d->no_room = !rx_deliver(d);
	}
	netdev_rx_flush(&d->nd, 0);
	update_events(d);
}

static void dgram_ready(void *opaque, uint32_t revents)
{
	struct dgram_net *d = opaque;
	int error;
	socklen_t len = sizeof(error);

	if (revents & EPOLLERR && !(revents & EPOLLIN)) /* clears it; nobody needs to know */
		getsockopt(d->ev.fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (revents & EPOLLHUP) { /* a Unix peer of a connected pair has closed */
		log_warn("netdev %s: the peer has closed the socket; the link is down", d->nd.id);
		eventloop_del_fd(d->nd.loop, &d->ev);
		netdev_link(&d->nd, false);
		return;
	}
	rx_run(d);
}

static void resume_run(void *opaque)
{
	rx_run(opaque);
}

/* Sending */

/* The frame without the guest's header. Returns the entries. */
static size_t frame_iov(size_t hdr_size, const struct netdev_frame *frame, struct iovec *iov)
{
	size_t n = 0;

	for (size_t i = 0; i < frame->n; i++) {
		size_t cut = min_u64(hdr_size, frame->iov[i].iov_len);

		hdr_size -= cut;
		if (frame->iov[i].iov_len > cut)
			iov[n++] = (struct iovec){ (char *)frame->iov[i].iov_base + cut, frame->iov[i].iov_len - cut };
	}
	return n;
}

/* One call for as many frames as fit. How many are dealt with; 0: the socket is full. */
static unsigned tx_batch(struct dgram_net *d, const struct netdev_frame *frames, unsigned n)
{
	struct mmsghdr msgs[BATCH];
	struct iovec iov[TX_BATCH_IOV];
	size_t n_iov = 0;
	unsigned count;
	int sent;

	for (count = 0; count < n && count < BATCH && n_iov + frames[count].n <= TX_BATCH_IOV; count++) {
		size_t entries = frame_iov(d->nd.offloads.vnet_hdr_size, &frames[count], iov + n_iov);

		msgs[count].msg_hdr = (struct msghdr){ .msg_iov = iov + n_iov, .msg_iovlen = entries, .msg_namelen = d->to.len };
		msgs[count].msg_hdr.msg_name = d->to.len ? &d->to.addr : NULL;
		n_iov += entries;
	}
	if (count == 0) { /* a frame in so many pieces is no driver's */
		d->nd.stats.tx_dropped++;
		return 1;
	}
	sent = sendmmsg(d->tx_fd, msgs, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent > 0)
		return (unsigned)sent;
	if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS))
		return 0;
	d->nd.stats.tx_dropped++; /* nobody there, or too long for this socket */
	return 1;
}

static unsigned dgram_tx_many(struct netdev *nd, unsigned queue, const struct netdev_frame *frames, unsigned n)
{
	struct dgram_net *d = dgram_of(nd);
	unsigned done = 0;

	(void)queue;
	if (!nd->link_up) {
		nd->stats.tx_dropped += n;
		return n;
	}
	while (done < n && !d->tx_blocked) {
		unsigned sent = tx_batch(d, frames + done, n - done);
		int64_t now = sent && !d->stalled_ns ? 0 : now_ns();

		done += sent;
		if (sent) {
			d->stalled_ns = 0;
		} else if (d->stalled_ns && now - d->stalled_ns > STALL_NS) {
			nd->stats.tx_dropped += n - done;
			return n;
		} else {
			d->stalled_ns = d->stalled_ns ? d->stalled_ns : now;
			d->tx_blocked = true;
			eventloop_arm(nd->loop, &d->retry, now + RETRY_NS);
		}
	}
	return done;
}

static int dgram_tx(struct netdev *nd, unsigned queue, const struct iovec *iov, size_t n, size_t len)
{
	const struct netdev_frame frame = { .iov = iov, .n = n, .len = len };

	return dgram_tx_many(nd, queue, &frame, 1) ? 0 : -EAGAIN;
}

static void retry_fire(void *opaque)
{
	struct dgram_net *d = opaque;

	d->tx_blocked = false;
	netdev_tx_ready(&d->nd, 0);
}

/* The netdev */

static void dgram_rx_enable(struct netdev *nd, bool on)
{
	struct dgram_net *d = dgram_of(nd);

	d->rx_on = on;
	d->no_room = false;
	if (on)
		eventloop_post(nd->loop, &d->resume);
	if (d->ev.registered)
		update_events(d);
}

static void dgram_rx_more(struct netdev *nd, unsigned queue)
{
	struct dgram_net *d = dgram_of(nd);

	(void)queue;
	if (!d->no_room)
		return;
	d->no_room = false;
	eventloop_post(nd->loop, &d->resume);
}

static void dgram_close(struct netdev *nd)
{
	struct dgram_net *d = dgram_of(nd);

	eventloop_cancel(nd->loop, &d->retry);
	eventloop_cancel_work(nd->loop, &d->resume);
	eventloop_del_fd(nd->loop, &d->ev);
	if (d->tx_fd != d->ev.fd)
		fd_close(&d->tx_fd);
	fd_close(&d->ev.fd);
	if (d->path)
		unlink(d->path);
	free(d->path);
	free(d->in);
	netdev_fini(nd);
	free(d);
}

static const struct netdev_ops dgram_ops = {
	.type = "dgram",
	.tx = dgram_tx,
	.tx_many = dgram_tx_many,
	.rx_enable = dgram_rx_enable,
	.rx_more = dgram_rx_more,
	.close = dgram_close,
};

/* The sockets */

static int setup_errno(struct err *err, const char *what)
{
	return err_set_errno(err, -errno, "cannot %s", what);
}

/* The interface that has the address `local`. */
static int multicast_interface(const struct net_addr *local, struct in_addr *iface, struct err *err)
{
	iface->s_addr = htonl(INADDR_ANY);
	if (local->type != NET_ADDR_INET || !local->host || !local->host[0])
		return 0;
	if (inet_pton(AF_INET, local->host, iface) != 1)
		return err_set(err, -EINVAL, "'%s' is no IPv4 address of an interface of this host", local->host);
	return 0;
}

static int multicast_receive(struct dgram_net *d, struct in_addr iface, struct err *err)
{
	const struct sockaddr_in *group = (const struct sockaddr_in *)&d->to.addr;
	struct ip_mreq join = { .imr_multiaddr = group->sin_addr, .imr_interface = iface };
	int on = 1;

	d->ev.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->ev.fd < 0)
		return setup_errno(err, "create a socket");
	if (setsockopt(d->ev.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(d->ev.fd, (const struct sockaddr *)group, sizeof(*group)) < 0)
		return setup_errno(err, "receive at the multicast address");
	if (setsockopt(d->ev.fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join)) < 0)
		return setup_errno(err, "join the multicast group (is there an interface with a route for it? say which with local.host=)");
	return 0;
}

static int multicast_send(struct dgram_net *d, struct in_addr iface, struct err *err)
{
	unsigned char loop = 1;

	d->tx_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->tx_fd < 0)
		return setup_errno(err, "create a socket");
	if (setsockopt(d->tx_fd, IPPROTO_IP, IP_MULTICAST_LOOP, &loop, sizeof(loop)) < 0 ||
	    (iface.s_addr != htonl(INADDR_ANY) && setsockopt(d->tx_fd, IPPROTO_IP, IP_MULTICAST_IF, &iface, sizeof(iface)) < 0))
		return setup_errno(err, "send at that interface");
	d->own.len = sizeof(d->own.addr);
	if (connect(d->tx_fd, (const struct sockaddr *)&d->to.addr, d->to.len) < 0 ||
	    getsockname(d->tx_fd, (struct sockaddr *)&d->own.addr, &d->own.len) < 0)
		return setup_errno(err, "send to the multicast group (is there a route for it?)");
	d->to.len = 0;
	return 0;
}

static bool is_multicast(const struct net_sockaddr *a)
{
	return a->addr.ss_family == AF_INET && IN_MULTICAST(ntohl(((const struct sockaddr_in *)&a->addr)->sin_addr.s_addr));
}

static int open_fd(struct dgram_net *d, const struct net_addr *local, struct err *err)
{
	d->ev.fd = net_addr_take_fd(local, SOCK_DGRAM, err);
	d->tx_fd = d->ev.fd;
	return d->ev.fd < 0 ? d->ev.fd : 0;
}

static int open_bound(struct dgram_net *d, const struct net_addr *local, struct err *err)
{
	d->ev.fd = net_addr_bind(local, SOCK_DGRAM, err);
	d->tx_fd = d->ev.fd;
	if (d->ev.fd < 0)
		return d->ev.fd;
	if (local->type != NET_ADDR_UNIX || local->abstract)
		return 0;
	d->path = strdup(local->path);
	if (d->path)
		return 0;
	unlink(local->path); /* nobody would remember it */
	return err_set_errno(err, -ENOMEM, "cannot use the socket '%s'", local->path);
}

static int open_multicast(struct dgram_net *d, const struct net_addr *local, struct err *err)
{
	struct in_addr iface;
	int rc;

	rc = multicast_interface(local, &iface, err);
	if (rc == 0)
		rc = multicast_receive(d, iface, err);
	return rc < 0 ? rc : multicast_send(d, iface, err);
}

static int open_sockets(struct dgram_net *d, const struct dgram_net_config *cfg, struct err *err)
{
	int rc;

	if (cfg->remote.type == NET_ADDR_NONE) {
		if (cfg->local.type != NET_ADDR_FD)
			return err_set(err, -EINVAL, "where to send to is missing (remote.type=)");
		return open_fd(d, &cfg->local, err);
	}
	if (cfg->remote.type == NET_ADDR_FD)
		return err_set(err, -EINVAL, "remote cannot be a descriptor; a connected one is local.type=fd without remote");
	rc = net_addr_resolve(&cfg->remote, SOCK_DGRAM, false, &d->to, err);
	if (rc < 0)
		return err_prefix(err, "remote");
	if (cfg->local.type == NET_ADDR_FD)
		return open_fd(d, &cfg->local, err);
	if (is_multicast(&d->to))
		return open_multicast(d, &cfg->local, err);
	if (cfg->local.type != cfg->remote.type)
		return err_set(err, -EINVAL, "local and remote must be of the same type; local is where this side receives");
	return open_bound(d, &cfg->local, err);
}

static int dgram_setup(struct dgram_net *d, const struct dgram_net_config *cfg, struct err *err)
{
	int rc;

	d->in = malloc((size_t)BATCH * NETDEV_FRAME_MAX);
	if (!d->in)
		return err_set_errno(err, -ENOMEM, "the datagrams");
	rc = open_sockets(d, cfg, err);
	if (rc < 0)
		return rc;
	rc = eventloop_add_fd(cfg->loop, &d->ev, 0);
	return rc < 0 ? err_set_errno(err, rc, "cannot watch the socket") : 0;
}

struct netdev *dgram_net_open(const struct dgram_net_config *cfg, struct err *err)
{
	struct dgram_net *d = calloc(1, sizeof(*d));

	if (!d || netdev_init(&d->nd, &dgram_ops, cfg->id, cfg->loop, err) < 0) {
		free(d);
		err_set_errno(err, -ENOMEM, "netdev %s", cfg->id);
		return NULL;
	}
	d->ev.fd = d->tx_fd = -1;
	d->ev.ready = dgram_ready;
	d->ev.opaque = d;
	d->retry.fire = retry_fire;
	d->retry.opaque = d;
	d->resume.run = resume_run;
	d->resume.opaque = d;
	if (dgram_setup(d, cfg, err) < 0) {
		dgram_close(&d->nd);
		err_prefix(err, "netdev %s", cfg->id);
		return NULL;
	}
	return &d->nd;
}
