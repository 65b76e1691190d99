/* SPDX-License-Identifier: MIT */
#include "net/dgram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/netdev.h"
#include "tests/unit/fake_frontend.h"
#include "tests/unit/fake_net.h"
#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

static struct eventloop *loop;
static struct fake_net a, b;
static struct err err;
static char dir[] = "/tmp/kite-dgram-XXXXXX";
static char path[2][100];

static void setup(void)
{
	log_set_level(LOG_LEVEL_NONE);
	err = (struct err)ERR_INIT;
	loop = fake_loop();
	ck_assert_ptr_nonnull(mkdtemp(dir));
	for (int i = 0; i < 2; i++)
		snprintf(path[i], sizeof(path[i]), "%s/%d", dir, i);
}

static void teardown(void)
{
	ck_assert_int_eq(rmdir(dir), 0);
	eventloop_destroy(loop);
}

static struct netdev *try_open(struct net_addr local, struct net_addr remote)
{
	struct dgram_net_config cfg = { .id = "net0", .loop = loop, .local = local, .remote = remote };

	return dgram_net_open(&cfg, &err);
}

static struct netdev *open_at(struct net_addr local, struct net_addr remote)
{
	struct netdev *nd = try_open(local, remote);

	ck_assert_msg(nd != NULL, "%s", err.msg);
	return nd;
}

static const struct net_addr none = { .type = NET_ADDR_NONE };

static struct net_addr unix_addr(int i)
{
	return (struct net_addr){ .type = NET_ADDR_UNIX, .path = path[i] };
}

static struct net_addr fd_addr(int fd)
{
	return (struct net_addr){ .type = NET_ADDR_FD, .fd = fd };
}

static void frames_both_ways(size_t max)
{
	const size_t sizes[] = { 14, 60, 1514, 9014, max };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		ck_assert_int_eq(fake_net_send(&a, sizes[i], i), 0);
		fake_net_wait(&b, i + 1);
		ck_assert_int_eq(fake_net_send(&b, sizes[i], i + 100), 0);
		fake_net_wait(&a, i + 1);
		ck_assert(fake_net_is(&b, i, sizes[i], i));
		ck_assert(fake_net_is(&a, i, sizes[i], i + 100));
	}
}

START_TEST(unix_peers)
{
	fake_net_start(&a, open_at(unix_addr(0), unix_addr(1)), 12, 0);
	a.pieces = 3;
	ck_assert_int_eq(fake_net_send(&a, 60, 0), 0); /* nobody there yet */
	ck_assert_uint_eq(a.nd->stats.tx_dropped, 1);
	fake_net_start(&b, open_at(unix_addr(1), unix_addr(0)), 10, 0);
	b.pieces = 2;
	frames_both_ways(NETDEV_FRAME_MAX);
	fake_net_end(&b);
	fake_net_end(&a);
}
END_TEST

START_TEST(connected_descriptors)
{
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), 0);
	fake_net_start(&a, open_at(fd_addr(sv[0]), none), 12, 0);
	fake_net_start(&b, open_at(fd_addr(sv[1]), none), 12, 0);
	frames_both_ways(NETDEV_FRAME_MAX);
	fake_net_end(&b);
	ck_assert_int_eq(fake_net_send(&a, 60, 0), 0);
	fake_run_idle(loop, 50);
	fake_net_end(&a);
}
END_TEST

static const char *free_port(char *buf)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	close(fd);
	sprintf(buf, "%d", ntohs(sin.sin_port));
	return buf;
}

static struct net_addr inet_addr_of(const char *host, const char *port)
{
	return (struct net_addr){ .type = NET_ADDR_INET, .host = host, .port = port };
}

START_TEST(udp_peers)
{
	char p[2][10];

	free_port(p[0]);
	free_port(p[1]);
	fake_net_start(&a, open_at(inet_addr_of("127.0.0.1", p[0]), inet_addr_of("127.0.0.1", p[1])), 12, 0);
	ck_assert_int_eq(fake_net_send(&a, 60, 0), 0);
	fake_run_for(loop, 10); /* "connection refused" is nobody's error */
	fake_net_start(&b, open_at(inet_addr_of("127.0.0.1", p[1]), inet_addr_of("127.0.0.1", p[0])), 12, 0);
	frames_both_ways(65507);
	ck_assert_int_eq(fake_net_send(&a, NETDEV_FRAME_MAX, 0), 0); /* more than UDP takes */
	ck_assert_uint_ge(a.nd->stats.tx_dropped, 1);
	fake_net_end(&a);
	fake_net_end(&b);
}
END_TEST

START_TEST(multicast)
{
	char port[10];
	struct net_addr group = inet_addr_of("239.255.77.7", free_port(port)), iface = inet_addr_of("127.0.0.1", NULL);
	struct netdev *nd = try_open(iface, group);

	if (!nd) { /* a host without any such route */
		ck_assert_ptr_nonnull(strstr(err.msg, "route"));
		return;
	}
	fake_net_start(&a, nd, 12, 0);
	fake_net_start(&b, open_at(iface, group), 12, 0);
	frames_both_ways(1514);
	fake_run_for(loop, 20);
	ck_assert_uint_eq(a.n, 5); /* and none of its own */
	ck_assert_uint_eq(b.n, 5);
	fake_net_end(&a);
	fake_net_end(&b);
}
END_TEST

START_TEST(no_room)
{
	fake_net_start(&a, open_at(unix_addr(0), unix_addr(1)), 12, 0);
	fake_net_start(&b, open_at(unix_addr(1), unix_addr(0)), 12, 0);
	b.buffers = 2;
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(fake_net_send(&a, 100 + i, i), 0);
	fake_net_wait(&b, 2);
	fake_run_idle(loop, 50);
	for (unsigned i = 3; i <= 5; i++) {
		b.buffers = 1;
		netdev_rx_more(b.nd, 0);
		fake_net_wait(&b, i);
	}
	for (unsigned i = 0; i < 5; i++)
		ck_assert(fake_net_is(&b, i, 100 + i, i));
	b.room = 50;
	b.buffers = 10;
	netdev_rx_more(b.nd, 0);
	ck_assert_int_eq(fake_net_send(&a, 100, 0), 0);
	ck_assert_int_eq(fake_net_send(&a, 30, 1), 0);
	fake_net_wait(&b, 6);
	ck_assert(fake_net_is(&b, 5, 30, 1));
	ck_assert_uint_eq(b.nd->stats.rx_dropped, 1);
	fake_net_end(&a);
	fake_net_end(&b);
}
END_TEST

static bool a_ready(void *arg)
{
	(void)arg;
	return a.readies > 0;
}

/* A peer that is there and reads nothing: frames wait a little, then they are lost and the guest goes on. */
START_TEST(a_peer_that_does_not_read)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0), rc = 0;
	unsigned n = 0;

	strcpy(un.sun_path, path[1]);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	fake_net_start(&a, open_at(unix_addr(0), unix_addr(1)), 12, 0);
	while ((rc = fake_net_send(&a, 1514, 0)) == 0 && n < 100000)
		n++;
	ck_assert_int_eq(rc, -EAGAIN);
	while (rc == -EAGAIN) {
		a.readies = 0;
		fake_run_until(loop, a_ready, NULL);
		rc = fake_net_send(&a, 1514, 0);
	}
	ck_assert_uint_eq(a.nd->stats.tx_dropped, 1);
	ck_assert_uint_eq(a.nd->stats.tx_frames, n);
	fake_net_end(&a);
	close(fd);
	unlink(path[1]);
}
END_TEST

START_TEST(frames_that_are_too_long)
{
	static uint8_t buf[NETDEV_FRAME_MAX + 10];
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), 0);
	fake_net_start(&a, open_at(fd_addr(sv[0]), none), 12, 0);
	ck_assert_int_eq(send(sv[1], buf, NETDEV_FRAME_MAX + 1, 0), NETDEV_FRAME_MAX + 1);
	ck_assert_int_eq(send(sv[1], buf, 0, 0), 0);
	ck_assert_int_eq(send(sv[1], buf, 13, 0), 13);
	ck_assert_int_eq(send(sv[1], buf, 14, 0), 14);
	fake_net_wait(&a, 1);
	ck_assert_uint_eq(a.frames[0].len, 12 + 14);
	fake_net_end(&a);
	close(sv[1]);
}
END_TEST

static void refused(struct net_addr local, struct net_addr remote, const char *text)
{
	ck_assert_ptr_null(try_open(local, remote));
	ck_assert_msg(strstr(err.msg, text) != NULL, "'%s' does not say '%s'", err.msg, text);
	ck_assert(strncmp(err.msg, "netdev net0: ", 13) == 0);
}

START_TEST(bad_addresses)
{
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	refused(none, none, "remote.type=");
	refused(none, unix_addr(1), "same type");
	refused(unix_addr(0), inet_addr_of("127.0.0.1", "9"), "same type");
	refused(unix_addr(0), fd_addr(sv[0]), "remote cannot be a descriptor");
	refused(fd_addr(sv[0]), none, "is not a datagram socket");
	refused(inet_addr_of("127.0.0.1", "9"), inet_addr_of("127.0.0.1", NULL), "remote: the port is missing");
	refused(inet_addr_of("nonsense", "1"), inet_addr_of("239.1.1.1", "9"), "'nonsense' is no IPv4 address");
	close(sv[0]);
	close(sv[1]);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		unix_peers, connected_descriptors, udp_peers, multicast, no_room, a_peer_that_does_not_read, frames_that_are_too_long,
		bad_addresses,
	};

	return suite_run("dgram", tests, ARRAY_SIZE(tests), setup, teardown);
}
