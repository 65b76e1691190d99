/* SPDX-License-Identifier: MIT */
/*
 * The tap back end against a socket pair: a datagram is a frame. What it asks of /dev/net/tun is answered here, so that no test needs
 * privileges.
 */
#include "net/tap.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/netdev.h"
#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/iov.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define MAX_QUEUES 8

static struct eventloop *loop;
static struct netdev *nd;
static int host[MAX_QUEUES]; /* the other ends */
static int given[MAX_QUEUES];
static unsigned n_pairs;

/* The kernel's side. */
static struct {
	bool gone;         /* the interface was deleted */
	bool full;         /* writes would wait */
	int set_if;        /* -errno of TUNSETIFF; */
	short needs;       /* it wants these flags */
	short flags;       /* TUNGETIFF says these */
	short asked;       /* TUNSETIFF was asked for these */
	unsigned offload, known; /* TUN_F_ */
	int hdr_size, sndbuf;
	bool attached[MAX_QUEUES];
	unsigned reads, writes;
	int write_errno;
	char name[IFNAMSIZ];
} k;

static int queue_of(int fd)
{
	for (unsigned i = 0; i < n_pairs; i++)
		if (given[i] == fd)
			return (int)i;
	return -1;
}

int __real_ioctl(int fd, unsigned long request, ...);
static int64_t fake_now; /* 0: the real one */

int64_t __real_now_ns(void);
int64_t __wrap_now_ns(void);
int64_t __wrap_now_ns(void)
{
	return fake_now ? fake_now : __real_now_ns();
}

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	int q = queue_of(fd);
	struct ifreq *ifr;
	unsigned long arg;
	va_list ap;

	va_start(ap, request);
	arg = va_arg(ap, unsigned long);
	va_end(ap);
	ifr = (struct ifreq *)arg;
	errno = 0;
	if (request == SIOCGIFMTU) {
		ifr->ifr_mtu = 1400;
		return 0;
	}
	if (q < 0) {
		errno = ENOTTY;
		return -1;
	}
	if (k.gone || (!k.attached[q] && request != TUNSETQUEUE && request != TUNSETIFF)) {
		errno = EBADFD;
		return -1;
	}
	switch (request) {
	case TUNGETIFF:
		ifr->ifr_flags = k.flags;
		memcpy(ifr->ifr_name, "tap7", 5);
		return 0;
	case TUNSETIFF:
		k.asked = ifr->ifr_flags;
		if (k.set_if || (ifr->ifr_flags & k.needs) != k.needs) {
			errno = k.set_if ? -k.set_if : EINVAL;
			return -1;
		}
		if (!ifr->ifr_name[0])
			memcpy(ifr->ifr_name, "tap9", 5);
		memcpy(k.name, ifr->ifr_name, IFNAMSIZ);
		k.attached[q] = true;
		return 0;
	case TUNSETOFFLOAD:
		if (arg & ~(unsigned long)k.known) {
			errno = EINVAL;
			return -1;
		}
		k.offload = (unsigned)arg;
		return 0;
	case TUNSETVNETHDRSZ:
		k.hdr_size = *(int *)arg;
		return 0;
	case TUNSETSNDBUF:
		k.sndbuf = *(int *)arg;
		return 0;
	case TUNSETQUEUE:
		k.attached[q] = ifr->ifr_flags & IFF_ATTACH_QUEUE;
		return 0;
	}
	return 0;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	static const char tun[] = "/dev/net/tun";

	if (strcmp(path, tun) != 0)
		return __real_open(path, flags);
	for (unsigned i = 0; i < n_pairs; i++)
		if (!k.attached[i])
			return given[i];
	errno = ENOENT;
	return -1;
}

static ssize_t refuse(void)
{
	errno = k.gone ? EBADFD : k.write_errno;
	return -1;
}

ssize_t __real_readv(int fd, const struct iovec *iov, int n);
ssize_t __wrap_readv(int fd, const struct iovec *iov, int n);
ssize_t __wrap_readv(int fd, const struct iovec *iov, int n)
{
	k.reads++;
	return k.gone ? refuse() : __real_readv(fd, iov, n);
}

ssize_t __real_writev(int fd, const struct iovec *iov, int n);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int n);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int n)
{
	int q = queue_of(fd);

	if (q < 0) /* the log's */
		return __real_writev(fd, iov, n);
	k.writes++;
	if (k.gone || k.write_errno)
		return refuse();
	if (k.full) {
		errno = EAGAIN;
		return -1;
	}
	return __real_writev(fd, iov, n);
}

/* The front end */

static struct {
	uint8_t data[NETDEV_FRAME_MAX + 100];
	unsigned room; /* frames that it takes */
	unsigned got, flushes, ready, links;
	size_t len;
	unsigned queue;
} f;

static unsigned rx_room(void *opaque, unsigned queue, size_t want, struct iovec *iov)
{
	(void)opaque;
	(void)queue;
	if (f.room == 0)
		return 0;
	iov[0] = (struct iovec){ f.data, 5 };
	iov[1] = (struct iovec){ f.data + 5, want - 5 };
	return 2;
}

static void rx_done(void *opaque, unsigned queue, size_t len)
{
	(void)opaque;
	f.room--;
	f.got++;
	f.len = len;
	f.queue = queue;
}

static void rx_flush(void *opaque, unsigned queue)
{
	(void)opaque;
	(void)queue;
	f.flushes++;
}

static void tx_ready(void *opaque, unsigned queue)
{
	(void)opaque;
	(void)queue;
	f.ready++;
}

static void link_changed(void *opaque, bool up)
{
	(void)opaque;
	(void)up;
	f.links++;
}

static const struct netdev_frontend_ops frontend = {
	.rx_room = rx_room, .rx_done = rx_done, .rx_flush = rx_flush, .tx_ready = tx_ready, .link = link_changed,
};

static void pairs(unsigned n)
{
	while (n_pairs < n) {
		int sv[2];

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sv), 0);
		given[n_pairs] = sv[0];
		host[n_pairs] = sv[1];
		k.attached[n_pairs] = true;
		n_pairs++;
	}
}

static void setup(void)
{
	struct err err = ERR_INIT;

	log_set_level(LOG_LEVEL_NONE);
	fake_now = 0;
	memset(&k, 0, sizeof(k));
	memset(&f, 0, sizeof(f));
	k.known = 0x7f;
	k.flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	f.room = UINT32_MAX;
	loop = eventloop_create(&err);
	nd = NULL;
	n_pairs = 0;
}

static void teardown(void)
{
	netdev_close(nd);
	for (unsigned i = 0; i < n_pairs; i++)
		close(host[i]);
	eventloop_destroy(loop);
}

static void turn_end(void *opaque)
{
	eventloop_stop(opaque);
}

static void turn(void)
{
	struct event_work end = { .run = turn_end, .opaque = loop };

	eventloop_post(loop, &end);
	ck_assert_int_eq(eventloop_run(loop), 0);
}

static void start(void)
{
	netdev_attach(nd, &frontend, nd);
	ck_assert_int_eq(netdev_set_queues(nd, 1), 0);
	ck_assert_int_eq(netdev_set_offloads(nd, &(struct netdev_offloads){ .vnet_hdr_size = 12 }), 0);
	netdev_rx_enable(nd, true);
}

static struct netdev *open_fds(unsigned n, struct err *err)
{
	const struct tap_config cfg = { .id = "n0", .loop = loop, .fds = given, .n_fds = n };

	pairs(n);
	return tap_open(&cfg, err);
}

static void open_started(unsigned n)
{
	struct err err = ERR_INIT;

	nd = open_fds(n, &err);
	ck_assert_msg(nd != NULL, "%s", err.msg);
	start();
}

static void host_sends(unsigned queue, size_t len)
{
	static uint8_t buf[70000];

	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(i * 3);
	ck_assert_int_eq(send(host[queue], buf, len, 0), (ssize_t)len);
}

/* Opening */

START_TEST(descriptors)
{
	open_started(1);
	ck_assert_uint_eq(nd->caps, NETDEV_VNET | NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_TSO_ECN | NETDEV_USO | NETDEV_UFO);
	ck_assert_uint_eq(nd->queues, 1);
	ck_assert_uint_eq(nd->mtu, 1400);
	ck_assert_str_eq(tap_ifname(nd), "tap7");
	ck_assert_int_eq(tap_fd(nd, 0), given[0]);
	ck_assert_int_eq(tap_fd(nd, 1), -1);
	ck_assert_int_eq(k.hdr_size, 12);
	ck_assert_int_ne(fcntl(given[0], F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_ne(fcntl(given[0], F_GETFD) & FD_CLOEXEC, 0);
}
END_TEST

START_TEST(hosts_that_know_less)
{
	struct err err = ERR_INIT;

	k.known = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	nd = open_fds(1, &err);
	ck_assert_uint_eq(nd->caps, NETDEV_VNET | NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_TSO_ECN);
	netdev_close(nd);
	close(host[0]);
	n_pairs = 0;
	k.flags = IFF_TAP | IFF_NO_PI;
	nd = open_fds(1, &err);
	ck_assert_uint_eq(nd->caps, 0);
}
END_TEST

START_TEST(descriptors_that_are_no_taps)
{
	const struct tap_config cfg = { .id = "n0", .loop = loop, .fds = given, .n_fds = 1 };
	struct err err = ERR_INIT;

	k.flags = IFF_TUN | IFF_NO_PI;
	ck_assert_ptr_null(open_fds(1, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "not a tap"));
	ck_assert_int_eq(fcntl(given[0], F_GETFD), -1); /* closed */
	k.flags = IFF_TAP; /* with packet information */
	ck_assert_ptr_null(open_fds(2, &err));
	given[0] = __real_open("/dev/null", O_RDONLY);
	n_pairs = 0;
	ck_assert_ptr_null(tap_open(&cfg, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "is not a tap or macvtap"));
	given[0] = 999;
	ck_assert_ptr_null(tap_open(&cfg, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "999"));
}
END_TEST

START_TEST(by_name)
{
	struct tap_config cfg = { .id = "n0", .loop = loop, .ifname = "tap3", .queues = 2, .vnet_hdr = true, .sndbuf = 5000 };
	struct err err = ERR_INIT;

	pairs(2);
	memset(k.attached, 0, sizeof(k.attached));
	nd = tap_open(&cfg, &err);
	ck_assert_msg(nd != NULL, "%s", err.msg);
	ck_assert_str_eq(tap_ifname(nd), "tap3");
	ck_assert_int_eq(k.asked, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
	ck_assert_int_eq(k.sndbuf, 5000);
	ck_assert_uint_eq(nd->queues, 2);
}
END_TEST

START_TEST(a_new_one)
{
	struct tap_config cfg = { .id = "n0", .loop = loop, .queues = 1 };
	struct err err = ERR_INIT;

	pairs(1);
	k.attached[0] = false;
	nd = tap_open(&cfg, &err);
	ck_assert_msg(nd != NULL, "%s", err.msg);
	ck_assert_str_eq(tap_ifname(nd), "tap9");
	ck_assert_int_eq(k.asked, IFF_TAP | IFF_NO_PI);
	ck_assert_uint_eq(nd->caps, 0);
}
END_TEST

START_TEST(one_queue_of_an_interface_for_several)
{
	struct tap_config cfg = { .id = "n0", .loop = loop, .ifname = "tap3", .queues = 1 };
	struct err err = ERR_INIT;

	pairs(1);
	k.attached[0] = false;
	k.needs = IFF_MULTI_QUEUE;
	nd = tap_open(&cfg, &err);
	ck_assert_msg(nd != NULL, "%s", err.msg);
}
END_TEST

START_TEST(mistakes)
{
	static const struct {
		int code;
		const char *say;
	} cases[] = { { -EPERM, "ip tuntap add tap3" }, { -EBUSY, "in use" }, { -EINVAL, "other flags" }, { -ENOMEM, "cannot open" } };
	struct tap_config cfg = { .id = "n0", .loop = loop, .ifname = "tap3", .queues = 1 };
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		n_pairs = 0;
		pairs(1);
		k.attached[0] = false;
		k.set_if = cases[i].code;
		ck_assert_ptr_null(tap_open(&cfg, &err));
		ck_assert_msg(strstr(err.msg, cases[i].say) && strstr(err.msg, "tap3"), "%s", err.msg);
	}
	cfg.ifname = "a-name-that-is-too-long";
	ck_assert_ptr_null(tap_open(&cfg, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "longer than 15"));
	cfg.ifname = "tap3";
	cfg.queues = 9;
	ck_assert_ptr_null(tap_open(&cfg, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "1 to 8"));
	cfg.queues = 1;
	k.attached[0] = true;
	ck_assert_ptr_null(tap_open(&cfg, &err)); /* none left: as where there is no /dev/net/tun */
	ck_assert_ptr_nonnull(strstr(err.msg, "modprobe tun"));
}
END_TEST

/* Frames */

static int send_frame(size_t len)
{
	static uint8_t buf[70000];
	struct iovec iov[3] = { { buf, 12 }, { buf + 12, 10 }, { buf + 22, len - 10 } };

	for (size_t i = 0; i < len + 12; i++)
		buf[i] = (uint8_t)(i * 5);
	return netdev_tx(nd, 0, iov, 3, 12 + len);
}

START_TEST(sends)
{
	uint8_t buf[70000];

	open_started(1);
	ck_assert_int_eq(send_frame(60), 0);
	ck_assert_int_eq(recv(host[0], buf, sizeof(buf), 0), 72);
	ck_assert_uint_eq(buf[71], (uint8_t)(71 * 5));
	ck_assert_int_eq(send_frame(65000), 0);
	ck_assert_int_eq(recv(host[0], buf, sizeof(buf), 0), 65012);
	ck_assert_uint_eq(nd->stats.tx_frames, 2);
}
END_TEST

START_TEST(sends_without_headers)
{
	struct iovec iov[200];
	uint8_t buf[3000], out[3000];

	k.flags = IFF_TAP | IFF_NO_PI;
	open_started(1);
	ck_assert_int_eq(send_frame(60), 0);
	ck_assert_int_eq(recv(host[0], buf, sizeof(buf), 0), 60);
	ck_assert_uint_eq(buf[0], 60);
	/* In more pieces than it has entries for. */
	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 11);
	for (unsigned i = 0; i < 200; i++)
		iov[i] = (struct iovec){ out + i * 15, 15 };
	ck_assert_int_eq(netdev_tx(nd, 0, iov, 100, 1500), 0);
	ck_assert_int_eq(recv(host[0], buf, sizeof(buf), 0), 1488);
	ck_assert_mem_eq(buf, out + 12, 1488);
}
END_TEST

START_TEST(a_host_that_is_full)
{
	open_started(1);
	k.full = true;
	ck_assert_int_eq(send_frame(60), -EAGAIN);
	k.full = false;
	turn(); /* the socket is writable */
	ck_assert_uint_eq(f.ready, 1);
	turn();
	ck_assert_uint_eq(f.ready, 1);
	ck_assert_int_eq(send_frame(60), 0);
	/* A reset: nobody waits any more. */
	k.full = true;
	ck_assert_int_eq(send_frame(60), -EAGAIN);
	netdev_rx_enable(nd, false);
	turn();
	ck_assert_uint_eq(f.ready, 1);
}
END_TEST

START_TEST(frames_that_the_host_refuses)
{
	static const int errors[] = { EINVAL, EIO, ENOMEM };

	open_started(1);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		k.write_errno = errors[i];
		ck_assert_int_eq(send_frame(60), 0);
		ck_assert_uint_eq(nd->stats.tx_dropped, i + 1);
	}
	ck_assert(nd->link_up);
	ck_assert_uint_eq(nd->stats.tx_frames, 0);
}
END_TEST

START_TEST(receives)
{
	open_started(1);
	host_sends(0, 100);
	host_sends(0, 12 + 1500);
	turn();
	ck_assert_uint_eq(f.got, 2);
	ck_assert_uint_eq(f.len, 1512);
	ck_assert_uint_eq(f.data[1511], (uint8_t)(1511 * 3));
	ck_assert_uint_eq(f.flushes, 1);
	host_sends(0, 5); /* no frame */
	turn();
	ck_assert_uint_eq(f.got, 2);
	ck_assert_uint_eq(nd->stats.rx_dropped, 1);
}
END_TEST

static void open_batching(void)
{
	struct err err = ERR_INIT;
	const struct tap_config cfg = { .id = "n0", .loop = loop, .fds = given, .n_fds = 1, .batch = true };

	pairs(1);
	nd = tap_open(&cfg, &err);
	ck_assert_msg(nd != NULL, "%s", err.msg);
	start();
}

/* Frames of a buffer and of two, each with its number. Returns how many were taken. */
static unsigned send_many(unsigned n)
{
	static uint8_t data[256][72];
	struct netdev_frame frames[256];
	struct iovec iov[256][2];

	ck_assert_uint_le(n, 256);
	for (unsigned i = 0; i < n; i++) {
		memset(data[i], (int)i, sizeof(data[i]));
		iov[i][0] = (struct iovec){ data[i], i % 2 ? 12 : 72 };
		iov[i][1] = (struct iovec){ data[i] + 12, 60 };
		frames[i] = (struct netdev_frame){ .iov = iov[i], .n = 1 + i % 2, .len = 72 };
	}
	return netdev_tx_many(nd, 0, frames, n);
}

static void host_gets(unsigned from, unsigned n)
{
	uint8_t buf[100];

	for (unsigned i = from; i < from + n; i++) {
		ck_assert_int_eq(recv(host[0], buf, sizeof(buf), 0), 72);
		ck_assert_uint_eq(buf[0], (uint8_t)i);
		ck_assert_uint_eq(buf[71], (uint8_t)i);
	}
}

START_TEST(sends_several)
{
	open_batching();
	ck_assert_uint_eq(send_many(2), 2);
	ck_assert_uint_eq(k.writes, 2); /* too few for a ring */
	host_gets(0, 2);
	ck_assert_uint_eq(send_many(150), 150);
	host_gets(0, 150);
	ck_assert_uint_eq(nd->stats.tx_frames, 152);
	ck_assert_uint_eq(nd->stats.tx_bytes, 152 * 60);
	if (k.writes == 152)
		fprintf(stderr, "tap: this host has no io_uring\n");
	else
		ck_assert_uint_eq(k.writes, 2);
}
END_TEST

/* A descriptor that is full all the same, or writes later: the ring is given up, and what is not taken then is lost and counted. */
START_TEST(a_ring_that_does_not_write)
{
	int small = 1;
	uint64_t sent;
	unsigned n;

	open_batching();
	ck_assert_int_eq(setsockopt(given[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	n = send_many(200);
	sent = nd->stats.tx_frames;
	ck_assert_uint_gt(sent, 0);
	ck_assert_uint_lt(sent, 200);
	ck_assert_uint_gt(k.writes, 0);
	host_gets(0, (unsigned)sent);
	ck_assert_uint_le(sent + nd->stats.tx_dropped, n);
	k.writes = 0;
	ck_assert_uint_eq(send_many(3), 3);
	ck_assert_uint_eq(k.writes, 3);
	host_gets(0, 3);
}
END_TEST

static struct {
	struct event_fd bell;
	struct event_work end;
	bool answered;
} driver;

/* A driver's frame, and what the host says to it while it is sent. */
static void driver_sends(void *opaque, uint32_t revents)
{
	uint8_t frame[72] = { 0 };
	const struct netdev_frame one = { .iov = &(struct iovec){ frame, sizeof(frame) }, .n = 1, .len = sizeof(frame) };
	uint64_t count;

	(void)opaque;
	(void)revents;
	ck_assert_int_eq(read(driver.bell.fd, &count, sizeof(count)), sizeof(count));
	ck_assert_uint_eq(netdev_tx_many(nd, 0, &one, 1), 1);
	if (driver.answered)
		host_sends(0, 100);
	eventloop_post(loop, &driver.end);
}

static void exchange(unsigned n, bool answered)
{
	uint8_t buf[100];
	uint64_t one = 1;

	driver.answered = answered;
	for (unsigned i = 0; i < n; i++) {
		ck_assert_int_eq(write(driver.bell.fd, &one, sizeof(one)), sizeof(one));
		ck_assert_int_eq(eventloop_run(loop), 0);
		ck_assert_int_eq(recv(host[0], buf, sizeof(buf), 0), 72);
	}
}

/* What is there when a frame was sent is read in the same turn, before epoll is asked. Without answers that is tried ever less often. */
START_TEST(answers)
{
	open_started(1);
	driver.bell = (struct event_fd){ .fd = eventfd(0, EFD_CLOEXEC), .ready = driver_sends };
	driver.end = (struct event_work){ .run = turn_end, .opaque = loop };
	ck_assert_int_eq(eventloop_add_fd(loop, &driver.bell, EPOLLIN), 0);
	exchange(3, true);
	ck_assert_uint_eq(f.got, 3);
	ck_assert_uint_eq(f.flushes, 3);
	ck_assert_uint_eq(k.reads, 6); /* the one that finds no more included */
	exchange(20, false);           /* tried at the first, third, seventh and fifteenth */
	ck_assert_uint_eq(k.reads, 10);
	exchange(10, false);
	exchange(2, true); /* the first is the one after 15 */
	ck_assert_uint_eq(f.got, 5);
	ck_assert_uint_eq(k.reads, 14);
	eventloop_del_fd(loop, &driver.bell);
	close(driver.bell.fd);
}
END_TEST

START_TEST(receives_without_headers)
{
	k.flags = IFF_TAP | IFF_NO_PI;
	open_started(1);
	memset(f.data, 0xee, 100);
	host_sends(0, 60);
	turn();
	ck_assert_uint_eq(f.len, 72);
	ck_assert_uint_eq(f.data[0] | f.data[11], 0);
	ck_assert_uint_eq(f.data[12 + 59], (uint8_t)(59 * 3));
}
END_TEST

START_TEST(no_room_then_room)
{
	open_started(1);
	f.room = 2;
	for (unsigned i = 0; i < 5; i++)
		host_sends(0, 100);
	turn();
	ck_assert_uint_eq(f.got, 2);
	k.reads = 0;
	for (unsigned i = 0; i < 10; i++)
		turn();
	ck_assert_uint_eq(k.reads, 0); /* it does not try again and again */
	f.room = 10;
	netdev_rx_more(nd, 0);
	netdev_rx_more(nd, 0);
	turn();
	ck_assert_uint_eq(f.got, 5);
	netdev_rx_enable(nd, false);
	host_sends(0, 100);
	turn();
	ck_assert_uint_eq(f.got, 5);
	netdev_rx_enable(nd, true);
	turn();
	ck_assert_uint_eq(f.got, 6);
}
END_TEST

START_TEST(a_flood_takes_its_share)
{
	open_started(1);
	for (unsigned i = 0; i < 100; i++)
		host_sends(0, 100);
	turn();
	ck_assert_uint_eq(f.got, NETDEV_TURN);
	turn();
	ck_assert_uint_eq(f.got, 100);
}
END_TEST

/* Single frames in quick succession until nobody is woken any more. Returns how many. */
static unsigned trickle(unsigned max)
{
	unsigned n = 0, before = f.got;

	do {
		fake_now += 50000;
		host_sends(0, 100);
		turn();
		n++;
	} while (n < max && f.got == before + n);
	return n;
}

START_TEST(frames_that_come_one_by_one)
{
	unsigned flushes;

	fake_now = INT64_C(1000000000000);
	open_started(1);
	ck_assert_uint_le(trickle(100), 20);
	f.got = 0;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 6 - !round; i++)
			host_sends(0, 100);
		turn();
		ck_assert_uint_eq(f.got, round * 6);
		fake_now += 600000;
		flushes = f.flushes;
		turn();
		ck_assert_uint_eq(f.got, (round + 1) * 6);
		ck_assert_uint_eq(f.flushes, flushes + 1);
	}
	/* Too few: they wake again. */
	host_sends(0, 100);
	fake_now += 600000;
	turn();
	ck_assert_uint_eq(f.got, 19);
	fake_now += 1000000;
	host_sends(0, 100);
	turn();
	ck_assert_uint_eq(f.got, 20);
}
END_TEST

/* More than a turn takes, when it looks: the rest comes in the next turns, without a wait. */
START_TEST(a_flood_after_a_trickle)
{
	fake_now = INT64_C(1000000000000);
	open_started(1);
	trickle(100);
	f.got = 0;
	for (unsigned i = 0; i < 2 * NETDEV_TURN - 1; i++)
		host_sends(0, 100);
	fake_now += 600000;
	turn();
	ck_assert_uint_eq(f.got, NETDEV_TURN);
	turn();
	ck_assert_uint_eq(f.got, 2 * NETDEV_TURN);
}
END_TEST

START_TEST(a_trickle_that_ends)
{
	fake_now = INT64_C(1000000000000);
	open_started(1);
	/* Long frames are worth a waking. */
	for (unsigned i = 0; i < 50; i++) {
		fake_now += 50000;
		host_sends(0, 20000);
		turn();
		ck_assert_uint_eq(f.got, i + 1);
	}
	/* Turned off and on, it is as it was. */
	trickle(100);
	netdev_rx_enable(nd, false);
	f.got = 0;
	fake_now += 600000;
	turn();
	ck_assert_uint_eq(f.got, 0);
	netdev_rx_enable(nd, true);
	turn();
	ck_assert_uint_eq(f.got, 1);
	/* Without room nobody looks, either. */
	trickle(100);
	f.room = 0;
	fake_now += 600000;
	turn();
	k.reads = 0;
	fake_now += 600000;
	turn();
	ck_assert_uint_eq(k.reads, 0);
	f.room = UINT32_MAX;
	f.got = 0;
	netdev_rx_more(nd, 0);
	turn();
	ck_assert_uint_eq(f.got, 1);
	/* And the interface goes while nobody listens. */
	trickle(100);
	k.gone = true;
	fake_now += 600000;
	turn();
	ck_assert(!nd->link_up);
}
END_TEST

START_TEST(an_interface_that_goes)
{
	open_started(2);
	ck_assert_int_eq(netdev_set_queues(nd, 2), 0);
	k.gone = true;
	host_sends(0, 100);
	turn();
	ck_assert(!nd->link_up);
	ck_assert_uint_eq(f.links, 1);
	k.reads = 0;
	host_sends(1, 100);
	for (unsigned i = 0; i < 10; i++)
		turn();
	ck_assert_uint_eq(k.reads, 0);
	ck_assert_int_eq(send_frame(60), 0);
	ck_assert_uint_eq(nd->stats.tx_dropped, 1);
	/* A guest that restarts finds a card whose link is down. */
	netdev_rx_enable(nd, false);
	start();
	turn();
	ck_assert_uint_eq(k.reads, 0);
	ck_assert_uint_eq(f.links, 1);
}
END_TEST

START_TEST(an_interface_that_goes_while_sending)
{
	open_started(1);
	k.gone = true;
	ck_assert_int_eq(send_frame(60), 0);
	ck_assert(!nd->link_up);
	k.writes = 0;
	ck_assert_int_eq(send_frame(60), 0);
	ck_assert_uint_eq(k.writes, 0);
}
END_TEST

START_TEST(an_interface_that_is_gone_at_the_start)
{
	struct err err = ERR_INIT;

	nd = open_fds(1, &err);
	k.gone = true;
	start();
	ck_assert(!nd->link_up);
}
END_TEST

START_TEST(several_queues)
{
	static const struct iovec iov = { f.data, 100 };

	open_started(4);
	ck_assert(k.attached[0] && !k.attached[1] && !k.attached[3]);
	host_sends(2, 100);
	turn();
	ck_assert_uint_eq(f.got, 0);
	ck_assert_int_eq(netdev_set_offloads(nd, &(struct netdev_offloads){ .vnet_hdr_size = 12, .guest = NETDEV_CSUM }), 0);
	k.offload = 0;
	ck_assert_int_eq(netdev_set_queues(nd, 3), 0);
	ck_assert_uint_eq(k.offload, TUN_F_CSUM); /* again, as a macvtap keeps them for each queue */
	ck_assert(k.attached[2] && !k.attached[3]);
	turn();
	ck_assert_uint_eq(f.got, 1);
	ck_assert_uint_eq(f.queue, 2);
	ck_assert_int_eq(netdev_tx(nd, 1, &iov, 1, 100), 0);
	ck_assert_int_eq(recv(host[1], f.data, 200, 0), 100);
	ck_assert_int_eq(netdev_tx(nd, 3, &iov, 1, 100), 0); /* not in use: dropped, and the link stays */
	ck_assert(nd->link_up);
	ck_assert_uint_eq(nd->stats.tx_dropped, 1);
	ck_assert_int_eq(netdev_set_queues(nd, 1), 0);
	ck_assert(!k.attached[1]);
}
END_TEST

START_TEST(offloads)
{
	static const struct {
		unsigned guest, tun;
	} cases[] = {
		{ 0, 0 },
		{ NETDEV_CSUM, TUN_F_CSUM },
		{ NETDEV_TSO4, 0 },
		{ NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO_ECN, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN },
		{ NETDEV_CSUM | NETDEV_TSO_ECN, TUN_F_CSUM },
		{ NETDEV_CSUM | NETDEV_TSO6, TUN_F_CSUM | TUN_F_TSO6 },
		{ NETDEV_CSUM | NETDEV_UFO, TUN_F_CSUM | TUN_F_UFO },
		{ NETDEV_CSUM | NETDEV_USO, TUN_F_CSUM | 0x60 },
	};

	open_started(1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct netdev_offloads o = { .guest = cases[i].guest, .vnet_hdr_size = 10 };

		ck_assert_int_eq(netdev_set_offloads(nd, &o), 0);
		ck_assert_uint_eq(k.offload, cases[i].tun);
		ck_assert_int_eq(k.hdr_size, 10);
	}
	k.known = 0;
	ck_assert_int_eq(netdev_set_offloads(nd, &(struct netdev_offloads){ .guest = NETDEV_CSUM, .vnet_hdr_size = 12 }), -EINVAL);
}
END_TEST

START_TEST(handed_over)
{
	open_started(1);
	tap_hand_over(nd, true);
	host_sends(0, 100);
	turn();
	ck_assert_uint_eq(k.reads, 0);
	tap_hand_over(nd, false);
	turn();
	ck_assert_uint_eq(f.got, 1);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		descriptors, hosts_that_know_less, descriptors_that_are_no_taps, by_name, a_new_one, one_queue_of_an_interface_for_several,
		mistakes, sends, sends_several, a_ring_that_does_not_write, sends_without_headers, a_host_that_is_full, frames_that_the_host_refuses, receives, answers, receives_without_headers,
		no_room_then_room, a_flood_takes_its_share, frames_that_come_one_by_one, a_flood_after_a_trickle, a_trickle_that_ends,
		an_interface_that_goes, an_interface_that_goes_while_sending, an_interface_that_is_gone_at_the_start, several_queues, offloads, handed_over,
	};

	return suite_run("tap", tests, ARRAY_SIZE(tests), setup, teardown);
}
