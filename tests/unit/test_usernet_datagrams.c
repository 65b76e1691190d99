/* SPDX-License-Identifier: MIT */
/* Functions of the C library that the module defines, on real sockets of the loopback interface. */
#include "tools/user-net/datagrams.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/suite.h"
#include "vmm/util.h"

static int a, b; /* sockets with addresses */
static struct sockaddr_in at_a, at_b;
static struct {
	int error;       /* sendmsg fails with this */
	unsigned calls;
} kernel;

ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	kernel.calls++;
	errno = kernel.error;
	return kernel.error ? -1 : __real_sendmsg(fd, msg, flags);
}

static int bound(struct sockaddr_in *at)
{
	socklen_t len = sizeof(*at);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	*at = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)at, len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)at, &len), 0);
	return fd;
}

static void setup(void)
{
	memset(&kernel, 0, sizeof(kernel));
	a = bound(&at_a);
	b = bound(&at_b);
	datagrams_taken();
}

static void teardown(void)
{
	datagrams_flush();
	close(a);
	close(b);
}

static ssize_t put(int fd, const struct sockaddr_in *to, unsigned seed, size_t len)
{
	uint8_t buf[2000];

	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(seed + i);
	return sendto(fd, buf, len, 0, (const struct sockaddr *)to, sizeof(*to));
}

/* The next one is that of `put`, from `from`. As libslirp takes them. */
static void take(int fd, const struct sockaddr_in *from, unsigned seed, size_t len)
{
	uint8_t buf[2000], want[2000], control[100];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct sockaddr_in source;
	socklen_t source_len = sizeof(source);
	int n = -1;

	ck_assert_int_eq(recvmsg(fd, &msg, MSG_ERRQUEUE), -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(ioctl(fd, FIONREAD, &n), 0);
	ck_assert_int_eq(n, (int)len);
	for (size_t i = 0; i < len; i++)
		want[i] = (uint8_t)(seed + i);
	ck_assert_int_eq(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&source, &source_len), (ssize_t)len);
	ck_assert_mem_eq(buf, want, len);
	ck_assert_uint_eq(source_len, sizeof(source));
	ck_assert_uint_eq(source.sin_port, from->sin_port);
	ck_assert_uint_eq(source.sin_addr.s_addr, from->sin_addr.s_addr);
}

static void nothing(int fd)
{
	uint8_t buf[10];

	ck_assert(!datagrams_waiting(fd));
	ck_assert_int_eq(recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL), -1);
	ck_assert_int_eq(errno, EAGAIN);
}

/* What the kernel has for `fd`. */
static bool kernel_has(int fd)
{
	uint8_t byte;

	return syscall(SYS_recvfrom, fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL) >= 0;
}

START_TEST(receives_by_the_batch)
{
	for (unsigned i = 0; i < DATAGRAMS_BATCH + 8; i++)
		put(a, &at_b, i, i * 37 % 1400);
	ck_assert(!datagrams_any());
	take(b, &at_a, 0, 0);
	ck_assert(datagrams_waiting(b) && datagrams_any() && !datagrams_waiting(a));
	for (unsigned i = 1; i < DATAGRAMS_BATCH; i++)
		take(b, &at_a, i, i * 37 % 1400);
	ck_assert(!datagrams_any());
	ck_assert_uint_eq(datagrams_taken(), DATAGRAMS_BATCH);
	for (unsigned i = DATAGRAMS_BATCH; i < DATAGRAMS_BATCH + 8; i++)
		take(b, &at_a, i, i * 37 % 1400);
	ck_assert_uint_eq(datagrams_taken(), 8);
	nothing(b);
	ck_assert_uint_eq(datagrams_taken(), 0);
}
END_TEST

START_TEST(a_buffer_that_is_too_small)
{
	struct sockaddr_in from;
	socklen_t len = 4;
	uint8_t buf[4] = { 0 };

	put(a, &at_b, 1, 100);
	put(a, &at_b, 2, 100);
	ck_assert_int_eq(recvfrom(b, buf, 3, 0, (struct sockaddr *)&from, &len), 3);
	ck_assert_uint_eq(buf[2], 3);
	ck_assert_uint_eq(buf[3], 0);
	ck_assert_uint_eq(len, sizeof(from)); /* as it would be */
	take(b, &at_a, 2, 100);
}
END_TEST

/* More sockets than can be read ahead of. */
START_TEST(many_sockets)
{
	struct sockaddr_in at[10];
	int fds[10];

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = bound(&at[i]);
		for (unsigned k = 0; k < 3; k++)
			put(a, &at[i], 10 * i + k, 50 + i);
	}
	for (unsigned k = 0; k < 3; k++)
		for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
			take(fds[i], &at_a, 10 * i + k, 50 + i);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		nothing(fds[i]);
		close(fds[i]);
	}
	ck_assert(!datagrams_any());
}
END_TEST

START_TEST(a_socket_that_is_closed)
{
	struct sockaddr_in at;
	int old = b, fd;

	for (unsigned i = 0; i < 5; i++)
		put(a, &at_b, i, 20);
	take(b, &at_a, 0, 20);
	ck_assert(datagrams_waiting(b));
	close(b);
	ck_assert(!datagrams_any());
	fd = b = bound(&at);
	ck_assert_int_eq(fd, old); /* its number again */
	nothing(b);
	put(a, &at, 9, 30);
	take(b, &at_a, 9, 30);
}
END_TEST

START_TEST(errors_while_receiving)
{
	struct sockaddr_in gone = at_b;
	uint8_t buf[10];
	int n = -1;

	close(b);
	ck_assert_int_eq(connect(a, (struct sockaddr *)&gone, sizeof(gone)), 0);
	ck_assert_int_eq(send(a, "x", 1, 0), 1);
	/* Asking for the length does not lose it. */
	ck_assert_int_eq(ioctl(a, FIONREAD, &n), 0);
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(recvfrom(a, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL), -1);
	ck_assert_int_eq(errno, ECONNREFUSED);
	nothing(a);
	b = bound(&at_b);
}
END_TEST

START_TEST(sends_runs)
{
	static const size_t sizes[] = { 22, 22, 22, 7, 22, 22, 1400, 1400, 100, 1, 1, 1, 1 };

	datagrams_hold();
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		ck_assert_int_eq(put(a, &at_b, i, sizes[i]), (ssize_t)sizes[i]);
	datagrams_flush();
	/* 22 22 22 7, 22 22, 1400 1400 100, 1 1 1 1 */
	ck_assert_uint_eq(kernel.calls, 4);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		take(b, &at_a, i, sizes[i]);
	nothing(b);
}
END_TEST

START_TEST(a_long_run)
{
	datagrams_hold();
	for (unsigned i = 0; i < 200; i++)
		put(a, &at_b, i, 50);
	datagrams_flush();
	ck_assert_uint_eq(kernel.calls, 4);
	kernel.calls = 0;
	for (unsigned i = 0; i < 200; i++)
		take(b, &at_a, i, 50);
	datagrams_hold();
	for (unsigned i = 0; i < 60; i++)
		put(a, &at_b, i, 1472);
	datagrams_flush();
	ck_assert_uint_eq(kernel.calls, 2); /* by bytes */
	for (unsigned i = 0; i < 60; i++)
		take(b, &at_a, i, 1472);
}
END_TEST

START_TEST(what_ends_a_run)
{
	struct sockaddr_in at_c;
	int c = bound(&at_c), ttl = 33;

	datagrams_hold();
	put(a, &at_b, 0, 10);
	ck_assert(!kernel_has(b));
	put(a, &at_c, 1, 10); /* another address */
	ck_assert(kernel_has(b) && !kernel_has(c));
	put(b, &at_c, 2, 10); /* another socket */
	ck_assert(kernel_has(c));
	ck_assert_int_eq(setsockopt(b, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)), 0); /* another time to live */
	put(b, &at_c, 3, 10);
	ck_assert_int_eq(setsockopt(b, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)), 0); /* the same */
	put(b, &at_c, 4, 10);
	ck_assert_uint_eq(kernel.calls, 0);
	put(b, &at_c, 5, 1500); /* too long to be held */
	ck_assert_uint_eq(kernel.calls, 1);
	put(b, &at_a, 6, 10);
	close(b); /* its end */
	ck_assert(kernel_has(a));
	put(c, &at_a, 7, 0); /* an empty one is not held */
	datagrams_flush();
	put(c, &at_a, 8, 10); /* nor are any now */
	take(c, &at_a, 1, 10);
	for (unsigned i = 2; i < 5; i++)
		take(c, &at_b, i, 10);
	take(c, &at_b, 5, 1500);
	take(a, &at_b, 6, 10);
	take(a, &at_c, 7, 0);
	take(a, &at_c, 8, 10);
	close(c);
	b = bound(&at_b);
}
END_TEST

START_TEST(options_are_set)
{
	int ttl = 7, got = 0, six = socket(AF_INET6, SOCK_DGRAM, 0);
	socklen_t len = sizeof(got);

	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(setsockopt(a, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)), 0);
		ck_assert_int_eq(getsockopt(a, IPPROTO_IP, IP_TTL, &got, &len), 0);
		ck_assert_int_eq(got, 7);
	}
	ttl = 1000;
	ck_assert_int_eq(setsockopt(a, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)), -1);
	ck_assert_int_eq(setsockopt(a, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)), -1);
	for (unsigned i = 0; six >= 0 && i < 2; i++) {
		ttl = 9;
		ck_assert_int_eq(setsockopt(six, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &ttl, sizeof(ttl)), 0);
		ck_assert_int_eq(getsockopt(six, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &got, &len), 0);
		ck_assert_int_eq(got, 9);
	}
	if (six >= 0)
		close(six);
}
END_TEST

/* A kernel or a device that cannot cut runs up. */
START_TEST(runs_that_are_refused)
{
	kernel.error = EIO;
	for (unsigned round = 0; round < 2; round++) {
		datagrams_hold();
		for (unsigned i = 0; i < 10; i++)
			ck_assert_int_eq(put(a, &at_b, i, i == 9 ? 5 : 20), i == 9 ? 5 : 20);
		datagrams_flush();
		for (unsigned i = 0; i < 10; i++)
			take(b, &at_a, i, i == 9 ? 5 : 20);
	}
	ck_assert_uint_eq(kernel.calls, 1);
}
END_TEST

START_TEST(errors_while_sending)
{
	const struct sockaddr_in nowhere = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }; /* port 0 */

	datagrams_hold();
	ck_assert_int_eq(put(a, &nowhere, 0, 10), 10);
	datagrams_flush();
	ck_assert_int_eq(put(a, &at_b, 0, 10), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(put(a, &at_b, 0, 10), 10); /* once */
	take(b, &at_a, 0, 10);
}
END_TEST

/* Other sockets are none of this module's business. */
START_TEST(streams)
{
	int sv[2], n = 0;
	char buf[10];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	datagrams_hold();
	ck_assert_int_eq(sendto(sv[0], "abcdef", 6, 0, NULL, 0), 6);
	ck_assert_int_eq(ioctl(sv[1], FIONREAD, &n), 0);
	ck_assert_int_eq(n, 6);
	ck_assert_int_eq(recvfrom(sv[1], buf, 3, 0, NULL, NULL), 3);
	ck_assert_int_eq(recvfrom(sv[1], buf, 10, 0, NULL, NULL), 3);
	ck_assert_int_eq(recvfrom(sv[1], buf, 10, MSG_DONTWAIT, NULL, NULL), -1);
	ck_assert_uint_eq(datagrams_taken(), 0);
	close(sv[0]);
	close(sv[1]);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		receives_by_the_batch, a_buffer_that_is_too_small, many_sockets, a_socket_that_is_closed, errors_while_receiving, sends_runs,
		a_long_run, what_ends_a_run, options_are_set, runs_that_are_refused, errors_while_sending, streams,
	};

	return suite_run("usernet_datagrams", tests, ARRAY_SIZE(tests), setup, teardown);
}
