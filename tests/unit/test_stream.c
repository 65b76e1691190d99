/* SPDX-License-Identifier: MIT */
#include "net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/framed.h"
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
static char dir[] = "/tmp/kite-stream-XXXXXX";
static char path[100];

static void setup(void)
{
	log_set_level(LOG_LEVEL_NONE);
	err = (struct err)ERR_INIT;
	loop = fake_loop();
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
}

static void teardown(void)
{
	ck_assert_int_eq(access(path, F_OK), -1);
	rmdir(dir);
	eventloop_destroy(loop);
}

static struct netdev *try_open(struct net_addr addr, bool server, uint32_t reconnect_ms)
{
	struct stream_net_config cfg = { .id = "net0", .loop = loop, .addr = addr, .server = server, .reconnect_ms = reconnect_ms };

	return stream_net_open(&cfg, &err);
}

static struct netdev *open_at(struct net_addr addr, bool server, uint32_t reconnect_ms)
{
	struct netdev *nd = try_open(addr, server, reconnect_ms);

	ck_assert_msg(nd != NULL, "%s", err.msg);
	return nd;
}

static struct net_addr unix_addr(void)
{
	return (struct net_addr){ .type = NET_ADDR_UNIX, .path = path };
}

/* A netdev, and the test at the other end. */
static int pair(struct fake_net *fake)
{
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
	fake_net_start(fake, open_at((struct net_addr){ .type = NET_ADDR_FD, .fd = sv[0] }, false, 0), 12, 0);
	return sv[1];
}

static bool both_up(void *arg)
{
	(void)arg;
	return a.up && b.up;
}

static bool a_up(void *arg)
{
	(void)arg;
	return a.up;
}

static bool a_down(void *arg)
{
	(void)arg;
	return !a.up;
}

static bool a_ready(void *arg)
{
	(void)arg;
	return a.readies > 0;
}

static const size_t sizes[] = { 14, 15, 60, 1514, 4096, 8192, 9014, 65535, NETDEV_FRAME_MAX };

static void frames_both_ways(void)
{
	fake_run_until(loop, both_up, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		ck_assert_int_eq(fake_net_send(&a, sizes[i], i), 0);
		fake_net_wait(&b, i + 1);
		ck_assert_int_eq(fake_net_send(&b, sizes[i], i + 100), 0);
		fake_net_wait(&a, i + 1);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		ck_assert(fake_net_is(&b, i, sizes[i], i));
		ck_assert(fake_net_is(&a, i, sizes[i], i + 100));
		for (unsigned k = 0; k < 12; k++)
			ck_assert_uint_eq(a.frames[i].data[k], 0);
	}
	ck_assert_uint_eq(a.nd->stats.tx_frames, ARRAY_SIZE(sizes));
	ck_assert_uint_eq(a.nd->stats.rx_frames, ARRAY_SIZE(sizes));
}

START_TEST(unix_server_and_client)
{
	struct stat st;

	fake_net_start(&a, open_at(unix_addr(), true, 0), 12, 0);
	ck_assert(!a.up);
	ck_assert_int_eq(fake_net_send(&a, 60, 0), 0); /* for nobody */
	ck_assert_uint_eq(a.nd->stats.tx_dropped, 1);
	fake_net_start(&b, open_at(unix_addr(), false, 0), 10, 0);
	ck_assert(b.up);
	frames_both_ways();
	ck_assert_int_eq(stat(path, &st), 0);
	fake_net_end(&b);
	fake_run_until(loop, a_down, NULL);
	fake_net_end(&a);
}
END_TEST

START_TEST(tcp_server_and_client)
{
	struct net_addr addr = { .type = NET_ADDR_INET, .host = "127.0.0.1", .ipv4 = true };
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	char port[10];
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	close(fd);
	snprintf(port, sizeof(port), "%d", ntohs(sin.sin_port));
	addr.port = port;
	fake_net_start(&a, open_at(addr, true, 0), 12, 0);
	addr.host = "localhost";
	fake_net_start(&b, open_at(addr, false, 0), 12, 0);
	frames_both_ways();
	ck_assert_ptr_null(try_open(addr, true, 0));
	ck_assert_ptr_nonnull(strstr(err.msg, "netdev net0: cannot receive at localhost:"));
	fake_net_end(&a);
	fake_net_end(&b);
}
END_TEST

START_TEST(the_wire)
{
	static const uint8_t frame[] = { 0, 0, 0, 15, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 };
	uint8_t got[100];
	int peer = pair(&a);

	ck_assert_int_eq(fake_net_send(&a, 15, 5), 0);
	ck_assert_int_eq(read(peer, got, sizeof(got)), sizeof(frame));
	ck_assert_mem_eq(got, frame, sizeof(frame));
	for (size_t i = 0; i < sizeof(frame); i++) {
		ck_assert_uint_eq(a.n, 0);
		ck_assert_int_eq(write(peer, frame + i, 1), 1);
		fake_run_for(loop, 1);
	}
	fake_net_wait(&a, 1);
	ck_assert(fake_net_is(&a, 0, 15, 5));
	fake_net_end(&a);
	close(peer);
}
END_TEST

/* Frames as fake_net_send's, for the test's end of a connection. */
static size_t put_frame(uint8_t *p, size_t len, unsigned seed)
{
	p[0] = 0;
	p[1] = (uint8_t)(len >> 16);
	p[2] = (uint8_t)(len >> 8);
	p[3] = (uint8_t)len;
	for (size_t i = 0; i < len; i++)
		p[4 + i] = (uint8_t)(seed + i + (i >> 8));
	return 4 + len;
}

/* Writes, running the loop while the socket is full. */
static void put_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else {
			ck_assert_int_eq(errno, EAGAIN);
			fake_run_for(loop, 1);
		}
	}
}

START_TEST(any_cut)
{
	size_t total = 0, off = 0;
	uint8_t *all = malloc(ARRAY_SIZE(sizes) * 2 * 70000);
	int peer = pair(&a);
	unsigned n = 0;

	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
			total += put_frame(all + total, sizes[round ? ARRAY_SIZE(sizes) - 1 - i : i], n++);
	a.pieces = 7;
	srandom(1);
	while (off < total) {
		size_t len = min_u64((size_t)random() % (random() % 3 ? 40000 : 20) + 1, total - off);

		put_all(peer, all + off, len);
		off += len;
		fake_run_for(loop, 0);
	}
	fake_net_wait(&a, n);
	for (unsigned i = 0; i < n; i++)
		ck_assert(fake_net_is(&a, i, sizes[i < ARRAY_SIZE(sizes) ? i : n - 1 - i], i));
	free(all);
	fake_net_end(&a);
	close(peer);
}
END_TEST

START_TEST(no_room)
{
	uint8_t buf[20000];
	size_t len = 0;
	int peer = pair(&a);

	for (unsigned i = 0; i < 9; i++)
		len += put_frame(buf + len, i == 4 ? 10000 : 100, i);
	a.buffers = 2;
	put_all(peer, buf, len);
	fake_net_wait(&a, 2);
	fake_run_idle(loop, 50); /* and sleeps */
	ck_assert_uint_eq(a.n, 2);
	for (unsigned i = 3; i <= 9; i++) {
		a.buffers = 1;
		netdev_rx_more(a.nd, 0);
		fake_net_wait(&a, i);
	}
	for (unsigned i = 0; i < 9; i++)
		ck_assert(fake_net_is(&a, i, i == 4 ? 10000 : 100, i));
	fake_net_end(&a);
	close(peer);
}
END_TEST

START_TEST(frames_that_do_not_fit)
{
	uint8_t *buf = malloc(200000);
	size_t len = 0;
	int peer = pair(&a);

	a.room = 2000;
	for (unsigned i = 0; i < 6; i++)
		len += put_frame(buf + len, i % 2 ? 30000 : 1988, i);
	len += put_frame(buf + len, 13, 0); /* no frame */
	len += put_frame(buf + len, 14, 9);
	put_all(peer, buf, len);
	fake_net_wait(&a, 4);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(fake_net_is(&a, i, 1988, 2 * i));
	ck_assert(fake_net_is(&a, 3, 14, 9));
	ck_assert_uint_eq(a.nd->stats.rx_dropped, 4);
	free(buf);
	fake_net_end(&a);
	close(peer);
}
END_TEST

/* Sends frames of one size until -EAGAIN; then reads all of them at the other end. */
static void fill_and_drain(size_t size, unsigned pieces)
{
	int peer = pair(&a), rc = 0;
	uint8_t *want = malloc(size + 4), *got = malloc(size + 4);
	unsigned n = 0, end;

	a.pieces = pieces;
	while ((rc = fake_net_send(&a, size, n)) == 0 && n < 100000)
		n++;
	ck_assert_int_eq(rc, -EAGAIN);
	ck_assert_int_eq(fake_net_send(&a, size, n), -EAGAIN);
	fake_run_idle(loop, 30);
	ck_assert_uint_eq(a.readies, 0);
	end = n + 5;
	for (unsigned i = 0; i < end; i++) {
		size_t have = 0;

		while (have < size + 4) {
			ssize_t len = read(peer, got + have, size + 4 - have);

			if (len > 0) {
				have += (size_t)len;
				continue;
			}
			fake_run_until(loop, a_ready, NULL);
			a.readies = 0;
			while (n < end && fake_net_send(&a, size, n) == 0)
				n++;
		}
		put_frame(want, size, i);
		ck_assert_mem_eq(got, want, size + 4);
	}
	ck_assert_uint_eq(a.nd->stats.tx_frames, end);
	free(want);
	free(got);
	fake_net_end(&a);
	close(peer);
}

START_TEST(a_peer_that_does_not_read)
{
	fill_and_drain(60, 1);
	fill_and_drain(1514, 3);
	fill_and_drain(NETDEV_FRAME_MAX, 5);
	fill_and_drain(60000, 390); /* more pieces than one call takes */
}
END_TEST

START_TEST(reading_off_in_a_frame)
{
	uint8_t *buf = malloc(100000);
	size_t len = put_frame(buf, 50000, 1);
	int peer = pair(&a);

	len += put_frame(buf + len, 100, 2);
	put_all(peer, buf, 20000);
	fake_run_for(loop, 10);
	netdev_rx_enable(a.nd, false);
	fake_run_for(loop, 1);
	put_all(peer, buf + 20000, len - 20000);
	fake_run_idle(loop, 50);
	ck_assert_uint_eq(a.n, 0);
	netdev_rx_enable(a.nd, true);
	fake_net_wait(&a, 1);
	ck_assert(fake_net_is(&a, 0, 100, 2));
	free(buf);
	fake_net_end(&a);
	close(peer);
}
END_TEST

START_TEST(lengths_that_no_frame_has)
{
	static const uint8_t bad[][4] = { { 0, 0, 0, 0 }, { 0xff, 0xff, 0xff, 0xff }, { 0, 1, 0, 15 }, { 0x80, 0, 0, 60 } };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	uint8_t good[100];
	char c;

	strcpy(un.sun_path, path);
	fake_net_start(&a, open_at(unix_addr(), true, 0), 12, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		ck_assert_int_eq(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
		fake_run_until(loop, a_up, NULL);
		put_all(fd, good, put_frame(good, 60, i));
		ck_assert_int_eq(write(fd, bad[i], 4), 4);
		fake_run_until(loop, a_down, NULL);
		ck_assert_int_eq(read(fd, &c, 1), 0);
		close(fd);
		ck_assert_uint_eq(a.n, i + 1);
		ck_assert(fake_net_is(&a, i, 60, i));
	}
	fake_net_end(&a);
}
END_TEST

START_TEST(one_peer_at_a_time)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd[2];
	uint8_t good[100];

	strcpy(un.sun_path, path);
	fake_net_start(&a, open_at(unix_addr(), true, 0), 12, 0);
	for (unsigned i = 0; i < 2; i++) {
		fd[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		ck_assert_int_eq(connect(fd[i], (struct sockaddr *)&un, sizeof(un)), 0);
	}
	put_all(fd[1], good, put_frame(good, 60, 9));
	fake_run_until(loop, a_up, NULL);
	fake_run_for(loop, 20);
	ck_assert_uint_eq(a.n, 0);
	close(fd[0]);
	fake_net_wait(&a, 1);
	ck_assert_uint_eq(a.links, 3);
	close(fd[1]);
	fake_run_until(loop, a_down, NULL);
	fake_net_end(&a);
}
END_TEST

START_TEST(reconnect)
{
	fake_net_start(&a, open_at(unix_addr(), false, 20), 12, 0);
	fake_run_for(loop, 50);
	ck_assert(!a.up);
	for (unsigned i = 0; i < 2; i++) {
		fake_net_start(&b, open_at(unix_addr(), true, 0), 12, 0);
		fake_run_until(loop, both_up, NULL);
		ck_assert_int_eq(fake_net_send(&b, 60, i), 0);
		fake_net_wait(&a, i + 1);
		fake_net_end(&b);
		fake_run_until(loop, a_down, NULL);
	}
	fake_net_end(&a);
}
END_TEST

/* A peer that goes while the guest waits to send must not keep it waiting. */
START_TEST(a_full_peer_goes)
{
	int peer = pair(&a);

	while (fake_net_send(&a, 1514, 0) == 0)
		;
	a.readies = 0;
	close(peer);
	fake_run_until(loop, a_down, NULL);
	ck_assert_uint_ge(a.readies, 1);
	ck_assert_int_eq(fake_net_send(&a, 1514, 0), 0);
	ck_assert_uint_ge(a.nd->stats.tx_dropped, 1);
	fake_net_end(&a);
}
END_TEST

/* Without room, and with the peer gone: the loop must not spin on a hang-up that it cannot turn off. */
START_TEST(a_peer_goes_without_room)
{
	uint8_t buf[200];
	int peer = pair(&a);

	a.buffers = 0;
	put_all(peer, buf, put_frame(buf, 100, 0));
	fake_run_for(loop, 10);
	close(peer);
	fake_run_until(loop, a_down, NULL);
	fake_run_idle(loop, 50);
	fake_net_end(&a);
}
END_TEST

static void refused(struct net_addr addr, bool server, const char *text)
{
	ck_assert_ptr_null(try_open(addr, server, 0));
	ck_assert_msg(strstr(err.msg, text) != NULL, "'%s' does not say '%s'", err.msg, text);
	ck_assert(strncmp(err.msg, "netdev net0: ", 13) == 0);
}

START_TEST(bad_addresses)
{
	char longer[300];
	int fd = open("/dev/null", O_RDONLY), dgram = socket(AF_UNIX, SOCK_DGRAM, 0), plain;

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	refused((struct net_addr){ .type = NET_ADDR_UNIX, .path = longer }, true, "at most 107");
	refused((struct net_addr){ .type = NET_ADDR_UNIX }, true, "path");
	refused((struct net_addr){ .type = NET_ADDR_NONE }, true, "address is needed");
	refused(unix_addr(), false, "cannot connect to the socket");
	refused((struct net_addr){ .type = NET_ADDR_INET, .host = "127.0.0.1" }, true, "port is missing");
	refused((struct net_addr){ .type = NET_ADDR_INET, .host = "127.0.0.1", .port = "99999x" }, true, "cannot find the address");
	refused((struct net_addr){ .type = NET_ADDR_FD, .fd = fd }, false, "is no socket");
	refused((struct net_addr){ .type = NET_ADDR_FD, .fd = dgram }, false, "is not a stream socket");
	close(fd);
	close(dgram);
	plain = open(path, O_CREAT | O_WRONLY, 0600);
	close(plain);
	refused(unix_addr(), true, "is not a socket");
	unlink(path);
}
END_TEST

START_TEST(stale_sockets)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(un.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	close(fd);
	fake_net_start(&a, open_at(unix_addr(), true, 0), 12, 0);
	refused(unix_addr(), true, "another process has the socket");
	fake_net_end(&a);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		unix_server_and_client, tcp_server_and_client, the_wire, any_cut, no_room, frames_that_do_not_fit, a_peer_that_does_not_read,
		reading_off_in_a_frame, lengths_that_no_frame_has, one_peer_at_a_time, reconnect, a_full_peer_goes, a_peer_goes_without_room,
		bad_addresses, stale_sockets,
	};

	return suite_run("stream", tests, ARRAY_SIZE(tests), setup, teardown);
}
