/* SPDX-License-Identifier: MIT */
/*
 * hostfwd and guestfwd. A guestfwd rule is a Unix socket to libslirp, whose name the gate knows: forward_open puts something else in the place
 * of the socket that libslirp is about to connect.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/user-net/gate.h"
#include "tools/user-net/helper.h"
#include "tools/user-net/spawn.h"
#include "vmm/err.h"
#include "vmm/util.h"

int forward_add(struct helper *h, const struct hostfwd *fwd, struct err *err)
{
	char addr[INET_ADDRSTRLEN];

	if (!h->config.ipv4)
		return err_set(err, -EINVAL, "hostfwd needs ipv4");
	errno = 0;
	if (slirp_add_hostfwd(h->slirp, fwd->udp, fwd->host, (int)fwd->host_port, fwd->guest, (int)fwd->guest_port) == 0)
		return 0;
	inet_ntop(AF_INET, &fwd->host, addr, sizeof(addr));
	if (errno == EADDRINUSE)
		return err_set(err, -EADDRINUSE, "hostfwd: %s port %u of %s is in use; choose another, or stop who has it", fwd->udp ? "UDP" : "TCP",
			       fwd->host_port, addr);
	return err_set_errno(err, errno ? -errno : -EINVAL, "hostfwd: cannot listen at %s port %u of %s", fwd->udp ? "UDP" : "TCP", fwd->host_port,
			     addr);
}

/* Something to be in the place of `fd`. */
static int replace(int with, int fd)
{
	int rc = with < 0 ? -errno : dup3(with, fd, O_CLOEXEC) < 0 ? -errno : 0;

	if (with >= 0)
		close(with);
	return rc;
}

static int open_tcp(const struct sockaddr_storage *to, int fd)
{
	int s = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = to->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

	/* Connecting goes on in the background; libslirp's socket cannot be written before, and fails if it does. */
	if (s >= 0 && syscall(SYS_connect, s, to, len) < 0 && errno != EINPROGRESS) {
		int rc = -errno;

		close(s);
		return rc;
	}
	return replace(s, fd);
}

static int open_unix(const char *path, int fd)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	strncpy(un.sun_path, path, sizeof(un.sun_path) - 1);
	return syscall(SYS_connect, fd, &un, sizeof(un)) < 0 ? -errno : 0;
}

static int forward_open(void *opaque, unsigned n, int fd)
{
	struct helper *h = opaque;
	const struct guestfwd *fwd = &h->config.guestfwd[n];
	int sv[2], rc;

	if (n >= h->config.n_guestfwd)
		return -ENOENT;
	if (fwd->kind == GUESTFWD_TCP)
		return open_tcp(&h->forward_to[n], fd);
	if (fwd->kind == GUESTFWD_UNIX)
		return open_unix(fwd->target, fd);
	/* A command's end may block: programs expect that of their standard input. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	fcntl(sv[0], F_SETFL, O_RDWR | O_NONBLOCK);
	if (fwd->kind == GUESTFWD_METADATA) {
		fcntl(sv[1], F_SETFL, O_RDWR | O_NONBLOCK);
		web_add(&h->web, sv[1]);
		return replace(sv[0], fd);
	}
	rc = spawn_run(h->spawn, n, sv[1]);
	close(sv[1]);
	if (rc < 0) {
		close(sv[0]);
		return rc;
	}
	return replace(sv[0], fd);
}

/* "HOST:PORT", with [] around an IPv6 address. Names are looked up now: nothing can be later. */
static int resolve(const char *target, struct sockaddr_storage *to, struct err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;
	const char *colon = strrchr(target, ':');
	char host[256];
	size_t len = colon ? (size_t)(colon - target) : 0;
	int rc;

	if (!colon || len >= sizeof(host))
		return err_set(err, -EINVAL, "guestfwd: '%s' is not HOST:PORT", target);
	if (len > 2 && target[0] == '[' && target[len - 1] == ']') {
		target++;
		len -= 2;
	}
	memcpy(host, target, len);
	host[len] = '\0';
	rc = getaddrinfo(host[0] ? host : "127.0.0.1", colon + 1, &hints, &list);
	if (rc != 0)
		return err_set(err, -EADDRNOTAVAIL, "guestfwd: cannot find '%s' port '%s': %s", host, colon + 1, gai_strerror(rc));
	memcpy(to, list->ai_addr, min_u64(list->ai_addrlen, sizeof(*to)));
	freeaddrinfo(list);
	return 0;
}

static int setup_guestfwd(struct helper *h, unsigned n, struct err *err)
{
	const struct guestfwd *fwd = &h->config.guestfwd[n];
	struct in_addr addr = fwd->addr;
	char name[32];
	int rc = 0;

	if (fwd->kind == GUESTFWD_TCP)
		rc = resolve(fwd->target, &h->forward_to[n], err);
	else if (fwd->kind == GUESTFWD_UNIX && strlen(fwd->target) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		rc = err_set(err, -ENAMETOOLONG, "guestfwd: the socket path '%s' is too long", fwd->target);
	if (rc < 0)
		return rc;
	snprintf(name, sizeof(name), GATE_UNIX "%u", n);
	if (slirp_add_unix(h->slirp, name, &addr, (int)fwd->port) < 0)
		return err_set(err, -EINVAL, "guestfwd: port %u of that address is forwarded already, or not possible", fwd->port);
	if (fwd->kind == GUESTFWD_METADATA)
		h->nat = (struct nat){ .on = true, .inside = fwd->addr, .host = h->config.host };
	return 0;
}

int forward_setup(struct helper *h, struct err *err)
{
	int rc = 0;

	gate_set_guestfwd(forward_open, h);
	for (unsigned i = 0; rc == 0 && i < h->config.n_guestfwd; i++)
		rc = setup_guestfwd(h, i, err);
	for (unsigned i = 0; rc == 0 && i < h->config.n_hostfwd; i++)
		rc = forward_add(h, &h->config.hostfwd[i], err);
	return rc;
}
