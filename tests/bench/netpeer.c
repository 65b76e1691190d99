/* SPDX-License-Identifier: MIT */
/*
 * The host's end of what tests/guest/netbench.c does: as much as goes, by as few calls as that takes.
 *
 *   netpeer tcp-send IP PORT MS      connects and sends the pattern for MS, closes, and waits for the other end to close: bytes sent
 *   netpeer tcp-recv IP PORT         connects and receives until the other end closes: bytes, from the first to the last
 *   netpeer tcp-check IP PORT        the same, and compares them with the pattern
 *   netpeer tcp-echo IP PORT BYTES   connects, sends so many, and compares what comes back
 *   netpeer udp-send IP PORT MS      datagrams of 22 bytes for MS: how many. 64 a call, which the kernel cuts (UDP_SEGMENT): a sender that is dearer
 *                                    than the receiver would be what is measured
 *   netpeer udp-recv PORT            says `ready`, then counts datagrams until none comes for 0.3 s, or none at all for 10: from the first to the last
 *
 * Prints `done N MICROSECONDS`. Status 1 with a message when something is wrong, a byte of the pattern above all.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PERIOD 65536u
#define CHUNK (4 * PERIOD)
#define BATCH 64
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103 /* Linux 4.18 */
#endif
#define UDP_BYTES 22
#define SECOND INT64_C(1000000)

static uint8_t pattern[PERIOD + CHUNK], got[CHUNK];

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec / 1000;
}

static void done(uint64_t n, int64_t us)
{
	printf("done %lu %ld\n", n, us);
}

static struct sockaddr_in address(const char *ip, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };

	if (inet_pton(AF_INET, ip, &a.sin_addr) != 1)
		errx(1, "%s is not an address", ip);
	return a;
}

static int dial(const char *ip, const char *port)
{
	struct sockaddr_in a = address(ip, port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		err(1, "%s:%s", ip, port);
	return fd;
}

/* Byte n of a stream is pattern[n mod PERIOD]. */
static void compare(uint64_t at, size_t len)
{
	if (memcmp(got, pattern + at % PERIOD, len) != 0)
		errx(1, "what came is not what was sent, within %zu bytes from byte %lu on", len, at);
}

static uint64_t receive(int fd, bool check, int64_t *us)
{
	int64_t first = 0, last = 0;
	uint64_t n = 0;
	ssize_t rc;

	while ((rc = recv(fd, got, sizeof(got), 0)) > 0) {
		last = now_us();
		if (!first)
			first = last;
		if (check)
			compare(n, (size_t)rc);
		n += (size_t)rc;
	}
	if (rc < 0)
		err(1, "recv");
	*us = last - first;
	return n;
}

static void tcp_recv(char **argv, bool check)
{
	int64_t us;
	uint64_t n = receive(dial(argv[0], argv[1]), check, &us);

	done(n, us);
}

static void tcp_send(char **argv)
{
	int fd = dial(argv[0], argv[1]);
	int64_t start = now_us(), end = start + atoll(argv[2]) * 1000, us, now = start;
	uint64_t n = 0;

	while (now < end) {
		ssize_t rc = send(fd, pattern + n % PERIOD, CHUNK, MSG_NOSIGNAL);

		if (rc < 0)
			err(1, "send");
		n += (size_t)rc;
		now = now_us();
	}
	shutdown(fd, SHUT_WR);
	receive(fd, false, &us);
	done(n, now_us() - start);
}

static void tcp_echo(char **argv)
{
	uint64_t bytes = (uint64_t)atoll(argv[2]), sent = 0, back = 0;
	int fd = dial(argv[0], argv[1]);
	int64_t start = now_us();

	while (back < bytes) {
		struct pollfd p = { .fd = fd, .events = (short)(POLLIN | (sent < bytes ? POLLOUT : 0)) };
		ssize_t rc;

		if (poll(&p, 1, 10000) <= 0)
			errx(1, "nothing within 10 s, after %lu of %lu bytes", back, bytes);
		if (p.revents & POLLIN) {
			rc = recv(fd, got, sizeof(got), 0);
			if (rc <= 0)
				errx(1, "closed after %lu of %lu bytes", back, bytes);
			compare(back, (size_t)rc);
			back += (size_t)rc;
		}
		if (p.revents & POLLOUT) {
			rc = send(fd, pattern + sent % PERIOD, bytes - sent < CHUNK ? bytes - sent : CHUNK, MSG_NOSIGNAL | MSG_DONTWAIT);
			if (rc < 0 && errno != EAGAIN)
				err(1, "send");
			sent += rc > 0 ? (size_t)rc : 0;
		}
	}
	done(back, now_us() - start);
}

static void udp_send(char **argv)
{
	struct sockaddr_in a = address(argv[0], argv[1]);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bytes = UDP_BYTES;
	int64_t start = now_us(), end = start + atoll(argv[2]) * 1000, now = start;
	uint64_t n = 0;

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		err(1, "%s:%s", argv[0], argv[1]);
	if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &bytes, sizeof(bytes)) < 0)
		err(1, "UDP_SEGMENT");
	while (now < end) {
		ssize_t rc = send(fd, pattern, BATCH * UDP_BYTES, 0);

		if (rc < 0 && errno != ENOBUFS && errno != ECONNREFUSED)
			err(1, "send");
		n += rc > 0 ? BATCH : 0;
		now = now_us();
	}
	done(n, now - start);
}

static void udp_recv(char **argv)
{
	struct sockaddr_in a = address("0.0.0.0", argv[0]);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), room = 4 << 20;
	int64_t first = 0, last = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct mmsghdr batch[BATCH];
	struct iovec iov[BATCH];
	uint64_t n = 0;

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		err(1, "port %s", argv[0]);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	for (unsigned i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ got + i * 2048, 2048 };
		batch[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &iov[i], .msg_iovlen = 1 } };
	}
	puts("ready");
	fflush(stdout);
	while (poll(&p, 1, n ? 300 : 10000) > 0) {
		int rc = recvmmsg(fd, batch, BATCH, MSG_DONTWAIT, NULL);

		if (rc <= 0)
			continue;
		last = now_us();
		if (!first)
			first = last;
		n += (unsigned)rc;
	}
	done(n, last - first);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	char **rest = argv + 2;

	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)((i % PERIOD) * 167 + (i % PERIOD >> 8) * 13);
	if (!strcmp(what, "tcp-send") && argc == 5)
		tcp_send(rest);
	else if ((!strcmp(what, "tcp-recv") || !strcmp(what, "tcp-check")) && argc == 4)
		tcp_recv(rest, !strcmp(what, "tcp-check"));
	else if (!strcmp(what, "tcp-echo") && argc == 5)
		tcp_echo(rest);
	else if (!strcmp(what, "udp-send") && argc == 5)
		udp_send(rest);
	else if (!strcmp(what, "udp-recv") && argc == 3)
		udp_recv(rest);
	else
		errx(1, "usage: see the top of tests/bench/netpeer.c");
	return 0;
}
