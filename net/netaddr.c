/* SPDX-License-Identifier: MIT */
#include "net/netaddr.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/util.h"

const char *net_addr_text(const struct net_addr *addr, char *buf, size_t size)
{
	switch (addr->type) {
	case NET_ADDR_UNIX:
		snprintf(buf, size, "the socket '%s%s'", addr->abstract ? "@" : "", addr->path ? addr->path : "");
		break;
	case NET_ADDR_INET:
		snprintf(buf, size, "%s:%s", addr->host ? addr->host : "", addr->port ? addr->port : "");
		break;
	case NET_ADDR_FD:
		snprintf(buf, size, "descriptor %d", addr->fd);
		break;
	default:
		snprintf(buf, size, "no address");
	}
	return buf;
}

static int resolve_unix(const struct net_addr *addr, struct net_sockaddr *out, struct err *err)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&out->addr;
	size_t len = addr->path ? strlen(addr->path) : 0, max = sizeof(un->sun_path) - 1;

	if (!len)
		return err_set(err, -EINVAL, "the path of the socket is missing (path=SOCKET)");
	if (len > max)
		return err_set(err, -ENAMETOOLONG, "the socket path '%s' is %zu bytes long, and at most %zu are possible; use a shorter one",
			       addr->path, len, max);
	*un = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(un->sun_path + addr->abstract, addr->path, len);
	out->len = addr->abstract ? (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len) : sizeof(*un);
	return 0;
}

static int resolve_inet(const struct net_addr *addr, int socktype, bool listen_at, struct net_sockaddr *out, struct err *err)
{
	struct addrinfo hints = { .ai_socktype = socktype, .ai_flags = listen_at ? AI_PASSIVE : 0 }, *list;
	const char *host = addr->host && addr->host[0] ? addr->host : NULL;
	int rc;

	if (!addr->port || !addr->port[0])
		return err_set(err, -EINVAL, "the port is missing (port=NUMBER)");
	if (addr->ipv4 != addr->ipv6)
		hints.ai_family = addr->ipv4 ? AF_INET : AF_INET6;
	else if (!host && listen_at)
		hints.ai_family = AF_INET;
	rc = getaddrinfo(host, addr->port, &hints, &list);
	if (rc != 0)
		return err_set(err, rc == EAI_SYSTEM && errno ? -errno : -EADDRNOTAVAIL, "cannot find the address '%s:%s': %s",
			       host ? host : "", addr->port, gai_strerror(rc));
	memcpy(&out->addr, list->ai_addr, min_u64(list->ai_addrlen, sizeof(out->addr)));
	out->len = list->ai_addrlen;
	freeaddrinfo(list);
	return 0;
}

int net_addr_resolve(const struct net_addr *addr, int socktype, bool listen_at, struct net_sockaddr *out, struct err *err)
{
	memset(out, 0, sizeof(*out));
	switch (addr->type) {
	case NET_ADDR_UNIX:
		return resolve_unix(addr, out, err);
	case NET_ADDR_INET:
		return resolve_inet(addr, socktype, listen_at, out, err);
	default:
		return err_set(err, -EINVAL, "a Unix or an internet address is needed here");
	}
}

/* Removes a socket file that nobody answers at. 0, or -errno with `err` when it is something else. */
static int remove_stale(const struct net_sockaddr *at, int socktype, struct err *err)
{
	const char *path = ((const struct sockaddr_un *)&at->addr)->sun_path;
	struct stat st;
	int fd, rc;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_set_errno(err, -errno, "cannot look at '%s'", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST, "'%s' exists and is not a socket; use another path, or remove it", path);
	fd = socket(AF_UNIX, socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot create a socket");
	rc = connect(fd, (const struct sockaddr *)&at->addr, at->len) < 0 ? -errno : 0;
	fd_close(&fd);
	if (rc == -ENOENT)
		return 0;
	if (rc != -ECONNREFUSED)
		return err_set(err, -EADDRINUSE, "another process has the socket '%s'; use another path, or stop it", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set_errno(err, -errno, "cannot remove the stale socket '%s'", path);
	return 0;
}

static int bind_and_listen(int fd, const struct net_sockaddr *at, int socktype, const char *text, struct err *err)
{
	bool file = at->addr.ss_family == AF_UNIX && ((const struct sockaddr_un *)&at->addr)->sun_path[0];
	int rc = bind(fd, (const struct sockaddr *)&at->addr, at->len) < 0 ? -errno : 0;

	if (rc == -EADDRINUSE && file) {
		rc = remove_stale(at, socktype, err);
		if (rc < 0)
			return rc;
		rc = bind(fd, (const struct sockaddr *)&at->addr, at->len) < 0 ? -errno : 0;
	}
	if (rc == 0 && socktype == SOCK_STREAM && listen(fd, 1) < 0)
		rc = -errno;
	return rc < 0 ? err_set_errno(err, rc, "cannot receive at %s", text) : 0;
}

int net_addr_bind(const struct net_addr *addr, int socktype, struct err *err)
{
	struct net_sockaddr at;
	char text[200];
	int fd, on = 1, rc;

	rc = net_addr_resolve(addr, socktype, true, &at, err);
	if (rc < 0)
		return rc;
	fd = socket(at.addr.ss_family, socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot create a socket");
	if (at.addr.ss_family != AF_UNIX && socktype == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	rc = bind_and_listen(fd, &at, socktype, net_addr_text(addr, text, sizeof(text)), err);
	if (rc < 0) {
		fd_close(&fd);
		return rc;
	}
	return fd;
}

int net_addr_take_fd(const struct net_addr *addr, int socktype, struct err *err)
{
	int type = 0, flags;
	socklen_t len = sizeof(type);

	if (getsockopt(addr->fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return err_set_errno(err, -errno, "descriptor %d is no socket", addr->fd);
	if (type != socktype)
		return err_set(err, -EPROTOTYPE, "descriptor %d is not a %s socket", addr->fd, socktype == SOCK_STREAM ? "stream" : "datagram");
	flags = fcntl(addr->fd, F_GETFL);
	if (flags < 0 || fcntl(addr->fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(addr->fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_set_errno(err, -errno, "descriptor %d", addr->fd);
	return addr->fd;
}
