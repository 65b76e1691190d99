/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * A descriptor of /dev/net/tun (or of a macvtap) for each pair of queues; one read is one frame, and so is one write; several writes are
 * one call where the host has io_uring (tap_ring.h). Reads go straight into the front end's room. A turn reads NETDEV_TURN frames or
 * TAP_TURN_BYTES at most: epoll is level-triggered, and comes back after the loop has seen to others. Where short frames come one by one, a
 * descriptor leaves epoll and is looked at when several should be there (vmm/pace.h).
 *
 * What the host answers to a frame at once, an echo or the acknowledged stream's next segment, is there when the write returns. So after sending,
 * a descriptor is read without asking epoll, as long as that finds something: when it does not, not again for a number of times that doubles.
 *
 * A descriptor is in epoll while something is expected of it, and only then: EPOLLIN while reading is on and there is room, EPOLLOUT after
 * a write that would have waited (with sndbuf). With nothing to expect it is out of epoll, since one whose interface is gone reports
 * EPOLLERR for ever. When the interface is deleted, calls fail with EBADFD. So do those on a queue that is detached, but those are not
 * made. The link is then down for good, and the guest stays as it is.
 */
#include "net/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/netdev.h"
#include "net/tap_ring.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/iov.h"
#include "vmm/log.h"
#include "vmm/pace.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

/* Only the lab has taps. */
SYSCALL_RULES(
	{ CALL(readv), .threads = THREAD_LOOP, .rare = THREAD_ANY },
	{ CALL(writev), .threads = THREAD_LOOP, .rare = THREAD_ANY },
	/* What the driver has agreed to */
	{ CALL(ioctl), ARG(1, TUNSETVNETHDRSZ), .threads = THREAD_LOOP, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, TUNSETVNETLE), .threads = THREAD_LOOP, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, TUNSETOFFLOAD), .threads = THREAD_LOOP, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, TUNSETQUEUE), .threads = THREAD_LOOP, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, TUNGETIFF), .threads = THREAD_LOOP, .rare = THREAD_ANY }, /* whether it is still there */
);

/* Linux 6.2 */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define TAP_DEVICE "/dev/net/tun"
#define TAP_TURN_BYTES MIB
/* From so many frames on a ring is cheaper than a call for each. */
#define RING_FRAMES 3
/* So many times at most a descriptor is not read after sending. */
#define ANSWER_SKIP_MAX 255
/* Frames of this length on the average cost more to move than to be woken for. */
#define TAP_LONG_FRAME (4 * KIB)

struct tap;

struct tap_queue {
	struct tap *tap;
	unsigned index;
	struct event_fd ev;
	bool attached;
	bool starved; /* the front end has no room */
	bool full;    /* the host takes no more */
	struct pace pace;
	struct event_timer look; /* armed while `pace` is on */
	struct event_work answer; /* after sending */
	unsigned skip, skips_left; /* of the next times; how many of them are left */
};

struct tap {
	struct netdev nd;
	struct tap_queue queues[NETDEV_MAX_QUEUES];
	char ifname[IFNAMSIZ];
	struct tap_ring *ring; /* for several frames at once; NULL: none */
	unsigned uso, ufo; /* TUN_F_ bits that the host knows */
	bool reading;
	bool handed_over;
	bool gone;         /* the interface was deleted */
};

static struct tap *tap_of(const struct netdev *nd)
{
	return CONTAINER_OF(nd, struct tap, nd);
}

/* Events */

static void queue_watch(struct tap_queue *q)
{
	struct tap *tap = q->tap;
	struct eventloop *loop = tap->nd.loop;
	uint32_t events = 0;

	if (q->attached && !tap->gone && !tap->handed_over)
		events = (tap->reading && !q->starved && !q->pace.on ? EPOLLIN : 0) | (q->full ? EPOLLOUT : 0);
	if (events == 0)
		eventloop_del_fd(loop, &q->ev);
	else if (q->ev.registered)
		eventloop_mod_fd(loop, &q->ev, events);
	else
		eventloop_add_fd(loop, &q->ev, events);
}

static void tap_watch(struct tap *tap)
{
	for (unsigned i = 0; i < tap->nd.queues; i++)
		queue_watch(&tap->queues[i]);
}

/* Frames wake the loop again; nothing is read by a timer. */
static void queue_wake(struct tap_queue *q)
{
	eventloop_cancel(q->tap->nd.loop, &q->look);
	pace_end(&q->pace);
}

static void tap_gone(struct tap *tap)
{
	if (tap->gone)
		return;
	tap->gone = true;
	for (unsigned i = 0; i < tap->nd.queues; i++)
		queue_wake(&tap->queues[i]);
	log_warn("netdev '%s': the interface %s is gone; the guest's link is down", tap->nd.id, tap->ifname);
	tap_watch(tap);
	netdev_link(&tap->nd, false);
}

/* Sending */

/* The frame without the header, for an interface that has none. */
static ssize_t tap_write_bare(struct tap_queue *q, const struct iovec *iov, size_t n)
{
	struct iovec part[NETDEV_RX_IOV];
	uint8_t frame[NETDEV_FRAME_MAX];
	struct iov_cursor c;
	size_t parts;

	iov_cursor_init(&c, iov, n);
	iov_cursor_skip(&c, q->tap->nd.offloads.vnet_hdr_size);
	parts = iov_cursor_take(&c, c.left, part, ARRAY_SIZE(part));
	if (parts)
		return writev(q->ev.fd, part, (int)parts);
	return write(q->ev.fd, frame, iov_cursor_read(&c, frame, sizeof(frame)));
}

static int tap_tx(struct netdev *nd, unsigned queue, const struct iovec *iov, size_t n, size_t len)
{
	struct tap *tap = tap_of(nd);
	struct tap_queue *q = &tap->queues[queue];
	ssize_t rc = -1;

	(void)len;
	errno = EBADFD;
	if (!tap->gone && q->attached) {
		do {
			rc = nd->caps & NETDEV_VNET ? writev(q->ev.fd, iov, (int)n) : tap_write_bare(q, iov, n);
		} while (rc < 0 && errno == EINTR);
	}
	if (rc >= 0)
		return 0;
	if (errno == EAGAIN) {
		q->full = true;
		queue_watch(q);
		return -EAGAIN;
	}
	nd->stats.tx_dropped++;
	if (errno == EBADFD && q->attached)
		tap_gone(tap);
	return 0;
}

/* What became of a frame that went by the ring. */
static void ring_sent(struct tap_queue *q, const struct netdev_frame *frame, int result)
{
	struct tap *tap = q->tap;
	struct netdev *nd = &tap->nd;

	if (result >= 0)
		return;
	/* Without sndbuf nothing is ever full: a descriptor that does not write at once, or cannot be asked to. A call each serves it better. */
	if (result == -EAGAIN || result == -EOPNOTSUPP) {
		tap_ring_destroy(tap->ring);
		tap->ring = NULL;
		result = tap_tx(nd, q->index, frame->iov, frame->n, frame->len);
		nd->stats.tx_dropped += result == -EAGAIN;
		return;
	}
	nd->stats.tx_dropped++;
	if (result == -EBADFD && q->attached)
		tap_gone(tap);
}

static unsigned tap_tx_many(struct netdev *nd, unsigned queue, const struct netdev_frame *frames, unsigned n)
{
	struct tap *tap = tap_of(nd);
	struct tap_queue *q = &tap->queues[queue];
	int results[TAP_RING_MAX];
	unsigned done = 0;

	while (tap->ring && n - done >= RING_FRAMES && q->attached && !tap->gone) {
		unsigned want = (unsigned)min_u64(n - done, TAP_RING_MAX);
		unsigned got = tap_ring_write(tap->ring, q->ev.fd, frames + done, want, results);

		if (got < want) {
			tap_ring_destroy(tap->ring);
			tap->ring = NULL;
		}
		for (unsigned i = 0; i < got; i++)
			ring_sent(q, &frames[done + i], results[i]);
		done += got;
	}
	while (done < n && tap_tx(nd, queue, frames[done].iov, frames[done].n, frames[done].len) == 0)
		done++;
	return done;
}

/* Receiving */

/* Reads one frame behind a header of zeroes, for an interface that has none. */
static ssize_t tap_read_bare(struct tap_queue *q, const struct iovec *iov, size_t n)
{
	static const uint8_t zeroes[NETDEV_HDR_MAX];
	size_t hdr_size = q->tap->nd.offloads.vnet_hdr_size;
	struct iovec part[NETDEV_RX_IOV];
	struct iov_cursor c;
	ssize_t rc;

	iov_cursor_init(&c, iov, n);
	iov_cursor_write(&c, zeroes, hdr_size);
	rc = readv(q->ev.fd, part, (int)iov_cursor_take(&c, c.left, part, ARRAY_SIZE(part)));
	return rc < 0 ? rc : rc + (ssize_t)hdr_size;
}

/* One frame. Returns its length, 0 when there is none or nowhere to put it. */
static size_t tap_read(struct tap_queue *q)
{
	struct netdev *nd = &q->tap->nd;
	struct iovec iov[NETDEV_RX_IOV];
	unsigned n = netdev_rx_room(nd, q->index, NETDEV_FRAME_MAX + nd->offloads.vnet_hdr_size, iov);
	ssize_t rc;

	if (n == 0) {
		q->starved = true;
		queue_wake(q);
		queue_watch(q);
		return 0;
	}
	do {
		rc = nd->caps & NETDEV_VNET ? readv(q->ev.fd, iov, (int)n) : tap_read_bare(q, iov, n);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0 && errno == EBADFD)
		tap_gone(q->tap);
	if (rc <= 0)
		return 0;
	netdev_rx_done(nd, q->index, (size_t)rc);
	return (size_t)rc;
}

/* All is read. How the next frames are come by. */
static void queue_rest(struct tap_queue *q, unsigned frames, size_t bytes)
{
	int64_t delay = 0;

	if (q->starved || q->tap->gone)
		return;
	if (bytes > (size_t)frames * TAP_LONG_FRAME)
		pace_end(&q->pace);
	else
		delay = pace_next(&q->pace, frames);
	if (delay)
		eventloop_arm(q->tap->nd.loop, &q->look, now_ns() + delay);
	queue_watch(q);
}

/* Returns how many frames it has read; `asked` for by the descriptor or the time. */
static unsigned queue_read(struct tap_queue *q, bool asked)
{
	unsigned frames = 0;
	size_t bytes = 0, len = 1;

	while (frames < NETDEV_TURN && bytes < TAP_TURN_BYTES && (len = tap_read(q)) > 0) {
		frames++;
		bytes += len;
	}
	if (frames)
		netdev_rx_flush(&q->tap->nd, q->index);
	if (len == 0 && asked)
		queue_rest(q, frames, bytes);
	else if (q->pace.on) /* at once, but not before others */
		eventloop_arm(q->tap->nd.loop, &q->look, 0);
	return frames;
}

/* Frames were sent. Is there an answer? */
static void tap_flush(struct netdev *nd, unsigned queue)
{
	struct tap_queue *q = &tap_of(nd)->queues[queue];

	if (q->skips_left)
		q->skips_left--;
	else if (!q->pace.on)
		eventloop_post(nd->loop, &q->answer);
}

static void tap_answer(void *opaque)
{
	struct tap_queue *q = opaque;
	bool expected = q->attached && q->tap->reading && !q->starved && !q->pace.on && !q->tap->gone && !q->tap->handed_over;

	q->skip = expected && queue_read(q, false) ? 0 : (unsigned)min_u64(2 * q->skip + 1, ANSWER_SKIP_MAX);
	q->skips_left = q->skip;
}

static void tap_look(void *opaque)
{
	queue_read(opaque, true);
}

static void tap_ready(void *opaque, uint32_t revents)
{
	struct tap_queue *q = opaque;

	if (revents & EPOLLOUT) {
		q->full = false;
		queue_watch(q);
		netdev_tx_ready(&q->tap->nd, q->index);
	}
	if (!(revents & (EPOLLIN | EPOLLERR | EPOLLHUP)) || q->starved || !q->tap->reading)
		return;
	queue_read(q, true);
}

static void tap_rx_enable(struct netdev *nd, bool on)
{
	struct tap *tap = tap_of(nd);

	tap->reading = on;
	for (unsigned i = 0; i < nd->queues; i++) {
		tap->queues[i].starved = false;
		queue_wake(&tap->queues[i]);
		/* What waits to be written is the front end's, and after a reset nobody's. */
		tap->queues[i].full &= on;
	}
	tap_watch(tap);
}

static void tap_rx_more(struct netdev *nd, unsigned queue)
{
	struct tap_queue *q = &tap_of(nd)->queues[queue];

	if (!q->starved)
		return;
	q->starved = false;
	queue_watch(q);
}

/* Settings */

static unsigned tun_offloads(const struct tap *tap, unsigned guest)
{
	unsigned f = 0;

	if (!(guest & NETDEV_CSUM))
		return 0;
	f |= TUN_F_CSUM;
	f |= guest & NETDEV_TSO4 ? TUN_F_TSO4 : 0;
	f |= guest & NETDEV_TSO6 ? TUN_F_TSO6 : 0;
	f |= (guest & NETDEV_TSO_ECN) && (guest & (NETDEV_TSO4 | NETDEV_TSO6)) ? TUN_F_TSO_ECN : 0;
	f |= guest & NETDEV_UFO ? tap->ufo : 0;
	f |= guest & NETDEV_USO ? tap->uso : 0;
	return f;
}

static int queue_set_offloads(struct tap_queue *q, const struct netdev_offloads *offloads)
{
	int size = (int)offloads->vnet_hdr_size, little = 1;

	if (ioctl(q->ev.fd, TUNSETVNETHDRSZ, &size) < 0)
		return -errno;
	/* Not there on kernels that know one byte order only: their own, which is that of all guests here. */
	ioctl(q->ev.fd, TUNSETVNETLE, &little);
	if (ioctl(q->ev.fd, TUNSETOFFLOAD, tun_offloads(q->tap, offloads->guest)) < 0)
		return -errno;
	return 0;
}

static int tap_set_offloads(struct netdev *nd, const struct netdev_offloads *offloads)
{
	struct tap *tap = tap_of(nd);

	if (!(nd->caps & NETDEV_VNET))
		return 0;
	for (unsigned i = 0; i < nd->queues && !tap->gone; i++) {
		int rc = tap->queues[i].attached ? queue_set_offloads(&tap->queues[i], offloads) : 0;

		if (rc == -EBADFD)
			tap_gone(tap);
		else if (rc < 0)
			return rc;
	}
	return 0;
}

static int queue_attach(struct tap_queue *q, bool on)
{
	struct netdev *nd = &q->tap->nd;
	struct ifreq ifr = { .ifr_flags = (short)(on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE) };

	if (q->attached == on)
		return 0;
	if (ioctl(q->ev.fd, TUNSETQUEUE, &ifr) < 0)
		return -errno;
	q->attached = on;
	queue_wake(q);
	queue_watch(q);
	return on && (nd->caps & NETDEV_VNET) ? queue_set_offloads(q, &nd->offloads) : 0;
}

static int tap_set_queues(struct netdev *nd, unsigned queues)
{
	struct tap *tap = tap_of(nd);

	for (unsigned i = 0; i < nd->queues && nd->queues > 1 && !tap->gone; i++) {
		int rc = queue_attach(&tap->queues[i], i < queues);

		if (rc == -EBADFD)
			tap_gone(tap);
		else if (rc < 0)
			return rc;
	}
	return 0;
}

static void tap_close(struct netdev *nd)
{
	struct tap *tap = tap_of(nd);

	for (unsigned i = 0; i < NETDEV_MAX_QUEUES; i++) {
		eventloop_del_fd(nd->loop, &tap->queues[i].ev);
		eventloop_cancel(nd->loop, &tap->queues[i].look);
		eventloop_cancel_work(nd->loop, &tap->queues[i].answer);
		fd_close(&tap->queues[i].ev.fd);
	}
	tap_ring_destroy(tap->ring);
	netdev_fini(nd);
	free(tap);
}

static const struct netdev_ops tap_ops = {
	.type = "tap",
	.tx = tap_tx,
	.tx_many = tap_tx_many,
	.flush = tap_flush,
	.rx_enable = tap_rx_enable,
	.rx_more = tap_rx_more,
	.set_offloads = tap_set_offloads,
	.set_queues = tap_set_queues,
	.close = tap_close,
};

/* Opening */

static int open_fail(const struct tap *tap, const char *ifname, int code, struct err *err)
{
	const char *id = tap->nd.id;
	const char *name = *ifname ? ifname : "a new one";

	switch (code) {
	case -EPERM:
		return err_set(err, code, "netdev '%s': no permission for tap interface %s; have it made first: ip tuntap add %s mode tap user %s",
			       id, name, *ifname ? ifname : "tap0", "USER");
	case -EBUSY:
		return err_set(err, code, "netdev '%s': tap interface %s is in use by another process, or has as many queues as it may", id, name);
	case -EINVAL:
		return err_set(err, code, "netdev '%s': %s is not a tap interface, or was made with other flags (multi_queue, vnet_hdr, pi)", id,
			       name);
	default:
		return err_set_errno(err, code, "netdev '%s': cannot open tap interface %s", id, name);
	}
}

/* TUNSETIFF. Returns 0 or -errno; the name is in `ifr` then. */
static int tun_set_if(int fd, struct ifreq *ifr, short flags)
{
	ifr->ifr_flags = flags;
	return ioctl(fd, TUNSETIFF, ifr) < 0 ? -errno : 0;
}

/* Opens queue `i`. The first may give the interface its name. */
static int queue_open(struct tap *tap, unsigned i, const struct tap_config *cfg, struct err *err)
{
	const char *name = i ? tap->ifname : cfg->ifname ? cfg->ifname : "";
	short flags = (short)(IFF_TAP | IFF_NO_PI | (cfg->vnet_hdr ? IFF_VNET_HDR : 0) | (tap->nd.queues > 1 ? IFF_MULTI_QUEUE : 0));
	struct tap_queue *q = &tap->queues[i];
	struct ifreq ifr = { .ifr_flags = 0 };
	int rc;

	q->ev.fd = open(TAP_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (q->ev.fd < 0)
		return err_set_errno(err, -errno, "netdev '%s': cannot open " TAP_DEVICE "%s", tap->nd.id,
				     errno == ENOENT ? " (modprobe tun)" : "");
	memcpy(ifr.ifr_name, name, strlen(name));
	rc = tun_set_if(q->ev.fd, &ifr, flags);
	/* One that was made for several queues has to be opened as such, also for one. */
	if (rc == -EINVAL && *name && !(flags & IFF_MULTI_QUEUE))
		rc = tun_set_if(q->ev.fd, &ifr, (short)(flags | IFF_MULTI_QUEUE));
	if (rc < 0)
		return open_fail(tap, name, rc, err);
	memcpy(tap->ifname, ifr.ifr_name, sizeof(tap->ifname));
	tap->ifname[sizeof(tap->ifname) - 1] = 0;
	q->attached = true;
	return 0;
}

/* A descriptor that the user gave. What it is follows from the first. */
static int queue_adopt(struct tap *tap, unsigned i, bool *vnet_hdr, struct err *err)
{
	struct tap_queue *q = &tap->queues[i];
	struct ifreq ifr = { .ifr_flags = 0 };
	int flags = fcntl(q->ev.fd, F_GETFL);
	bool has;

	if (flags < 0 || fcntl(q->ev.fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(q->ev.fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_set_errno(err, -errno, "netdev '%s': file descriptor %d", tap->nd.id, q->ev.fd);
	if (ioctl(q->ev.fd, TUNGETIFF, &ifr) < 0)
		return err_set(err, -EINVAL, "netdev '%s': file descriptor %d is not a tap or macvtap interface's", tap->nd.id, q->ev.fd);
	if (!(ifr.ifr_flags & IFF_TAP) || !(ifr.ifr_flags & IFF_NO_PI))
		return err_set(err, -EINVAL, "netdev '%s': file descriptor %d is of an interface that is not a tap without packet information",
			       tap->nd.id, q->ev.fd);
	has = ifr.ifr_flags & IFF_VNET_HDR;
	if (i && has != *vnet_hdr)
		return err_set(err, -EINVAL, "netdev '%s': of the file descriptors some have a vnet header and some have not", tap->nd.id);
	*vnet_hdr = has;
	memcpy(tap->ifname, ifr.ifr_name, sizeof(tap->ifname));
	tap->ifname[sizeof(tap->ifname) - 1] = 0;
	q->attached = true;
	return 0;
}

/* What the host can do with headers: found by trying. */
static void tap_probe(struct tap *tap, bool vnet_hdr)
{
	int fd = tap->queues[0].ev.fd;

	if (!vnet_hdr)
		return;
	tap->nd.caps = NETDEV_VNET;
	if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM) == 0)
		tap->nd.caps |= NETDEV_CSUM;
	if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN) == 0)
		tap->nd.caps |= NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_TSO_ECN;
	if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_UFO) == 0) {
		tap->nd.caps |= NETDEV_UFO;
		tap->ufo = TUN_F_UFO;
	}
	if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6) == 0) {
		tap->nd.caps |= NETDEV_USO;
		tap->uso = TUN_F_USO4 | TUN_F_USO6;
	}
	ioctl(fd, TUNSETOFFLOAD, 0);
}

static void tap_get_mtu(struct tap *tap)
{
	struct ifreq ifr = { .ifr_mtu = 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(ifr.ifr_name, tap->ifname, sizeof(ifr.ifr_name));
	if (fd >= 0 && ioctl(fd, SIOCGIFMTU, &ifr) == 0 && ifr.ifr_mtu > 0)
		tap->nd.mtu = (unsigned)ifr.ifr_mtu;
	fd_close(&fd);
}

static int tap_set_sndbuf(struct tap *tap, uint64_t sndbuf)
{
	int value = sndbuf && sndbuf < INT_MAX ? (int)sndbuf : INT_MAX;

	for (unsigned i = 0; i < tap->nd.queues; i++)
		if (ioctl(tap->queues[i].ev.fd, TUNSETSNDBUF, &value) < 0)
			return -errno;
	return 0;
}

static int tap_open_queues(struct tap *tap, const struct tap_config *cfg, struct err *err)
{
	bool vnet_hdr = cfg->vnet_hdr;
	int rc = 0;

	if (!cfg->n_fds && cfg->ifname && strlen(cfg->ifname) >= IFNAMSIZ)
		return err_set(err, -EINVAL, "netdev '%s': ifname '%s' is longer than %d characters", cfg->id, cfg->ifname, IFNAMSIZ - 1);
	for (unsigned i = 0; i < tap->nd.queues && rc == 0; i++)
		rc = cfg->n_fds ? queue_adopt(tap, i, &vnet_hdr, err) : queue_open(tap, i, cfg, err);
	if (rc < 0)
		return rc;
	tap_probe(tap, vnet_hdr);
	tap_get_mtu(tap);
	rc = tap_set_sndbuf(tap, cfg->sndbuf);
	/* Without the user having asked for one, it may well stay as it is. */
	if (rc < 0 && cfg->sndbuf)
		return err_set_errno(err, rc, "netdev '%s': cannot set sndbuf to %llu", cfg->id, (unsigned long long)cfg->sndbuf);
	return 0;
}

static struct tap *tap_create(const struct tap_config *cfg, unsigned queues, struct err *err)
{
	struct tap *tap;

	if (queues < 1 || queues > NETDEV_MAX_QUEUES) {
		err_set(err, -EINVAL, "netdev '%s': %u queues are not from 1 to %d", cfg->id, queues, NETDEV_MAX_QUEUES);
		return NULL;
	}
	tap = calloc(1, sizeof(*tap));
	if (!tap)
		err_set_errno(err, -ENOMEM, "netdev '%s'", cfg->id);
	if (!tap || netdev_init(&tap->nd, &tap_ops, cfg->id, cfg->loop, err) < 0) {
		free(tap);
		return NULL;
	}
	tap->nd.queues = queues;
	return tap;
}

struct netdev *tap_open(const struct tap_config *cfg, struct err *err)
{
	struct tap *tap = tap_create(cfg, cfg->n_fds ? cfg->n_fds : cfg->queues, err);

	if (!tap) {
		for (unsigned i = 0; i < cfg->n_fds; i++)
			close(cfg->fds[i]);
		return NULL;
	}
	for (unsigned i = 0; i < NETDEV_MAX_QUEUES; i++) {
		struct tap_queue *q = &tap->queues[i];

		*q = (struct tap_queue){ .tap = tap, .index = i };
		q->ev = (struct event_fd){ .fd = i < cfg->n_fds ? cfg->fds[i] : -1, .ready = tap_ready, .opaque = q };
		q->look = (struct event_timer){ .fire = tap_look, .opaque = q };
		q->answer = (struct event_work){ .run = tap_answer, .opaque = q };
		pace_reset(&q->pace);
	}
	if (tap_open_queues(tap, cfg, err) < 0) {
		tap_close(&tap->nd);
		return NULL;
	}
	if (cfg->batch && !cfg->sndbuf && (tap->nd.caps & NETDEV_VNET))
		tap->ring = tap_ring_create();
	return &tap->nd;
}

const char *tap_ifname(const struct netdev *nd)
{
	return tap_of(nd)->ifname;
}

int tap_fd(const struct netdev *nd, unsigned queue)
{
	return queue < nd->queues ? tap_of(nd)->queues[queue].ev.fd : -1;
}

void tap_hand_over(struct netdev *nd, bool on)
{
	struct tap *tap = tap_of(nd);

	tap->handed_over = on;
	for (unsigned i = 0; i < nd->queues; i++)
		queue_wake(&tap->queues[i]);
	tap_watch(tap);
}

void tap_check(struct netdev *nd)
{
	struct ifreq ifr;

	if (ioctl(tap_of(nd)->queues[0].ev.fd, TUNGETIFF, &ifr) < 0 && errno == EBADFD)
		tap_gone(tap_of(nd));
}
