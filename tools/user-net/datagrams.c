/* SPDX-License-Identifier: MIT */
/*
 * A few sockets at a time have a tray, into which recvmmsg reads as much as there is, when the library asks how long the next datagram is or for
 * the datagram itself. A tray belongs to a socket until it is empty. Without a free one, the socket is read from as ever. Datagrams have room for
 * 64 KiB each, of which memory is only what was ever used.
 *
 * One run of datagrams waits to be sent. Whatever is not its next one sends it: another socket, address or length, an option that is really changed,
 * the socket's end. The last of a run may be shorter. A kernel, or a network device on the way, that cannot cut runs up is told by an error;
 * then the run is sent one by one, and no more is tried on that socket.
 */
/* The functions must have the C library's names and no inline versions, which fortification has. */
#undef _FORTIFY_SOURCE
#include "tools/user-net/datagrams.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/util.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103 /* Linux 4.18 */
#endif

#define MAX_FDS 16384 /* as many as there can be: sandbox.c */
#define TRAYS 4
#define DATAGRAM_MAX 65536
#define RUN_MAX 64    /* the kernel's UDP_MAX_SEGMENTS of old */
#define RUN_BYTES 65000
#define RUN_EACH_MAX 1472

struct udp_socket {
	bool is_udp;
	bool no_runs;  /* they were refused */
	int rx_error;  /* for the next recvfrom; errno */
	int tx_error;  /* for the next sendto */
	int ttl, hops; /* IP_TTL and IPV6_UNICAST_HOPS as set last; 0: not */
};

struct tray {
	int fd;         /* while next < n */
	unsigned next, n;
	uint8_t *data;  /* DATAGRAMS_BATCH of DATAGRAM_MAX */
	struct mmsghdr msgs[DATAGRAMS_BATCH];
	struct iovec iov[DATAGRAMS_BATCH];
	struct sockaddr_storage from[DATAGRAMS_BATCH];
};

static struct {
	struct udp_socket sockets[MAX_FDS];
	struct tray trays[TRAYS];
	unsigned taken;

	/* The run. */
	bool hold;
	int fd;
	struct sockaddr_storage to;
	socklen_t to_len;
	unsigned n;      /* 0: none */
	size_t each, bytes;
	bool complete;   /* its last one is shorter */
	uint8_t data[RUN_BYTES];
} dg;

static struct udp_socket *udp_of(int fd)
{
	return fd >= 0 && fd < MAX_FDS && dg.sockets[fd].is_udp ? &dg.sockets[fd] : NULL;
}

static ssize_t sys_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
	return syscall(SYS_sendto, fd, buf, len, flags, to, to_len);
}

/* Receiving */

static struct tray *tray_of(int fd)
{
	for (unsigned i = 0; i < TRAYS; i++)
		if (dg.trays[i].next < dg.trays[i].n && dg.trays[i].fd == fd)
			return &dg.trays[i];
	return NULL;
}

static struct tray *tray_free(void)
{
	for (unsigned i = 0; i < TRAYS; i++) {
		struct tray *t = &dg.trays[i];

		if (t->next < t->n)
			continue;
		if (!t->data)
			t->data = malloc((size_t)DATAGRAMS_BATCH * DATAGRAM_MAX);
		return t->data ? t : NULL;
	}
	return NULL;
}

/* Reads what there is. NULL: nothing, or nowhere to put it. */
static struct tray *tray_fill(int fd, struct udp_socket *s)
{
	struct tray *t = tray_free();
	long n;

	if (!t || s->rx_error)
		return NULL;
	for (unsigned i = 0; i < DATAGRAMS_BATCH; i++) {
		t->iov[i] = (struct iovec){ t->data + (size_t)i * DATAGRAM_MAX, DATAGRAM_MAX };
		t->msgs[i] = (struct mmsghdr){ .msg_hdr = { .msg_name = &t->from[i], .msg_namelen = sizeof(t->from[i]), .msg_iov = &t->iov[i],
							    .msg_iovlen = 1 } };
	}
	n = syscall(SYS_recvmmsg, fd, t->msgs, DATAGRAMS_BATCH, MSG_DONTWAIT, NULL);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		s->rx_error = errno;
	if (n <= 0)
		return NULL;
	t->fd = fd;
	t->next = 0;
	t->n = (unsigned)n;
	return t;
}

bool datagrams_waiting(int fd)
{
	return tray_of(fd);
}

bool datagrams_any(void)
{
	for (unsigned i = 0; i < TRAYS; i++)
		if (dg.trays[i].next < dg.trays[i].n)
			return true;
	return false;
}

unsigned datagrams_taken(void)
{
	unsigned n = dg.taken;

	dg.taken = 0;
	return n;
}

static ssize_t tray_take(struct tray *t, void *buf, size_t len, struct sockaddr *from, socklen_t *from_len)
{
	const struct mmsghdr *m = &t->msgs[t->next];
	const struct sockaddr_storage *addr = &t->from[t->next];

	len = min_u64(len, m->msg_len);
	memcpy(buf, t->iov[t->next].iov_base, len);
	if (from && from_len) {
		memcpy(from, addr, min_u64(*from_len, m->msg_hdr.msg_namelen));
		*from_len = m->msg_hdr.msg_namelen;
	}
	t->next++;
	dg.taken++;
	return (ssize_t)len;
}

ssize_t recvfrom(int fd, void *restrict buf, size_t len, int flags, struct sockaddr *restrict from, socklen_t *restrict from_len)
{
	struct udp_socket *s = flags & ~MSG_DONTWAIT ? NULL : udp_of(fd);
	struct tray *t = s ? tray_of(fd) : NULL;

	if (s && !t)
		t = tray_fill(fd, s);
	if (t)
		return tray_take(t, buf, len, from, from_len);
	if (s && s->rx_error) {
		errno = s->rx_error;
		s->rx_error = 0;
		return -1;
	}
	return syscall(SYS_recvfrom, fd, buf, len, flags, from, from_len);
}

/* How the library looks for errors before each datagram: those that came meanwhile are behind what waits. */
ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	if (flags & MSG_ERRQUEUE && tray_of(fd)) {
		errno = EAGAIN;
		return -1;
	}
	return syscall(SYS_recvmsg, fd, msg, flags);
}

int ioctl(int fd, unsigned long request, ...)
{
	struct udp_socket *s = request == FIONREAD ? udp_of(fd) : NULL;
	struct tray *t = s ? tray_of(fd) : NULL;
	void *arg;
	va_list ap;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (s && !t)
		t = tray_fill(fd, s);
	if (!t)
		return (int)syscall(SYS_ioctl, fd, request, arg);
	*(int *)arg = (int)t->msgs[t->next].msg_len;
	return 0;
}

/* Sending */

/* The run as one. False: it cannot be, and nothing was sent. */
static bool run_send_whole(void)
{
	union {
		struct cmsghdr hdr;
		uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
	} control = { .hdr = { .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(sizeof(uint16_t)) } };
	struct iovec iov = { dg.data, dg.bytes };
	struct msghdr msg = { .msg_name = &dg.to, .msg_namelen = dg.to_len, .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control.bytes) };
	uint16_t each = (uint16_t)dg.each;

	memcpy(CMSG_DATA(&control.hdr), &each, sizeof(each));
	if (sendmsg(dg.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	/* EIO: no checksum offload on the way; EINVAL, EMSGSIZE: longer than a packet there; others: an older kernel. */
	if (errno == EIO || errno == EINVAL || errno == EMSGSIZE || errno == EOPNOTSUPP || errno == ENOPROTOOPT)
		dg.sockets[dg.fd].no_runs = true;
	return false;
}

static void run_send(void)
{
	struct udp_socket *s = &dg.sockets[dg.fd];
	size_t sent = 0, n = dg.n;

	dg.n = 0;
	if (n == 0 || (n > 1 && run_send_whole()))
		return;
	for (size_t i = 0; i < n; i++) {
		size_t len = min_u64(dg.each, dg.bytes - sent);

		/* That there is no room now is nothing to know later. */
		if (sys_sendto(dg.fd, dg.data + sent, len, MSG_DONTWAIT, (struct sockaddr *)&dg.to, dg.to_len) < 0 && errno != EAGAIN &&
		    errno != ENOBUFS)
			s->tx_error = errno;
		sent += len;
	}
}

void datagrams_hold(void)
{
	dg.hold = true;
}

void datagrams_flush(void)
{
	run_send();
	dg.hold = false;
}

static bool run_takes(int fd, size_t len, const struct sockaddr *to, socklen_t to_len)
{
	return dg.n && dg.n < RUN_MAX && !dg.complete && fd == dg.fd && len <= dg.each && len <= RUN_BYTES - dg.bytes && to_len == dg.to_len &&
	       memcmp(to, &dg.to, to_len) == 0;
}

static void run_add(const void *buf, size_t len)
{
	memcpy(dg.data + dg.bytes, buf, len);
	dg.bytes += len;
	dg.complete = len < dg.each;
	dg.n++;
}

static void run_begin(int fd, const void *buf, size_t len, const struct sockaddr *to, socklen_t to_len)
{
	dg.fd = fd;
	memcpy(&dg.to, to, to_len);
	dg.to_len = to_len;
	dg.each = len;
	dg.bytes = 0;
	run_add(buf, len);
}

ssize_t sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
	struct udp_socket *s = udp_of(fd);

	if (s && s->tx_error) {
		errno = s->tx_error;
		s->tx_error = 0;
		return -1;
	}
	if (!dg.hold || !s || s->no_runs || flags || len == 0 || len > RUN_EACH_MAX || !to || to_len > sizeof(dg.to)) {
		run_send();
		return sys_sendto(fd, buf, len, flags, to, to_len);
	}
	if (run_takes(fd, len, to, to_len)) {
		run_add(buf, len);
	} else {
		run_send();
		run_begin(fd, buf, len, to, to_len);
	}
	return (ssize_t)len;
}

/* The sockets */

/* The library sets the time to live before each datagram. Where it is kept, or NULL: another option. */
static int *lifetime_of(struct udp_socket *s, int level, int name, socklen_t len)
{
	if (!s || len != sizeof(int))
		return NULL;
	if (level == IPPROTO_IP && name == IP_TTL)
		return &s->ttl;
	return level == IPPROTO_IPV6 && name == IPV6_UNICAST_HOPS ? &s->hops : NULL;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	int *kept = lifetime_of(udp_of(fd), level, name, len), want = 0, rc;

	if (kept)
		memcpy(&want, value, sizeof(want));
	if (kept && want && want == *kept)
		return 0;
	if (dg.n && dg.fd == fd)
		run_send();
	rc = (int)syscall(SYS_setsockopt, fd, level, name, value, len);
	if (kept)
		*kept = rc == 0 ? want : 0;
	return rc;
}

int socket(int domain, int type, int protocol)
{
	int fd = (int)syscall(SYS_socket, domain, type, protocol);

	if (fd >= 0 && fd < MAX_FDS)
		dg.sockets[fd] = (struct udp_socket){ .is_udp = (domain == AF_INET || domain == AF_INET6) && (type & 0xf) == SOCK_DGRAM &&
								(protocol == 0 || protocol == IPPROTO_UDP) };
	return fd;
}

int close(int fd)
{
	struct tray *t;

	if (udp_of(fd)) {
		if (dg.fd == fd)
			run_send();
		t = tray_of(fd);
		if (t)
			t->next = t->n;
		dg.sockets[fd] = (struct udp_socket){ .is_udp = false };
	}
	return (int)syscall(SYS_close, fd);
}
