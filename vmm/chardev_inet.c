/* SPDX-License-Identifier: MIT */
/* TCP sockets of chardevs: listening, and connecting. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/chardev_priv.h"
#include "vmm/err.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(socket), ARG(0, AF_INET), .threads = THREAD_MAIN, .needs = NEEDS_PEERS },
	{ CALL(socket), ARG(0, AF_INET6), .threads = THREAD_MAIN, .needs = NEEDS_PEERS },
	{ CALL(connect), .threads = THREAD_MAIN, .needs = NEEDS_PEERS },
	{ CALL(setsockopt), ARGS(1, IPPROTO_TCP, 2, TCP_NODELAY), .threads = THREAD_MAIN },
);

int chardev_resolve(const char *host, const char *port, bool passive, struct sockaddr_storage *addr, struct err *err)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0 };
	struct addrinfo *found;
	const char *node = host && *host ? host : NULL;
	int len, rc = getaddrinfo(node, port, &hints, &found);

	if (rc != 0)
		return err_set(err, -EHOSTUNREACH, "cannot find the address '%s:%s': %s", node ? node : "", port ? port : "",
			       rc == EAI_SYSTEM ? strerrordesc_np(errno) : gai_strerror(rc));
	len = (int)min_u64(found->ai_addrlen, sizeof(*addr));
	memcpy(addr, found->ai_addr, (size_t)len);
	freeaddrinfo(found);
	return len;
}

static int inet_socket(const struct sockaddr_storage *addr, int flags, struct err *err)
{
	int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), one = 1;

	if (fd < 0)
		return err_set_errno(err, -errno, "cannot create a socket");
	/* Consoles and monitors are a few bytes at a time, each of which somebody waits for. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

int chardev_listen_inet(const char *host, const char *port, struct err *err)
{
	struct sockaddr_storage addr;
	int len = chardev_resolve(host, port, true, &addr, err), one = 1, fd;

	if (len < 0)
		return len;
	fd = inet_socket(&addr, SOCK_NONBLOCK, err);
	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&addr, (socklen_t)len) < 0 || listen(fd, 1) < 0) {
		int rc = err_set_errno(err, -errno, "cannot listen at '%s:%s'", host ? host : "", port);

		fd_close(&fd);
		return rc;
	}
	return fd;
}

int chardev_connect_inet(const struct sockaddr_storage *addr, int len, bool wait, struct err *err)
{
	int fd = inet_socket(addr, wait ? 0 : SOCK_NONBLOCK, err);

	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)addr, (socklen_t)len) < 0 && (wait || errno != EINPROGRESS)) {
		int rc = err_set_errno(err, -errno, "cannot connect");

		fd_close(&fd);
		return rc;
	}
	return fd;
}
