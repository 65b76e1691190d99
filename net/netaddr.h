/* SPDX-License-Identifier: MIT */
/*
 * Addresses of sockets, as QEMU's SocketAddress says them: a Unix path, a host and port, or a descriptor that somebody handed over.
 * Names are resolved where the address is used (a DNS query may take its time: addresses in digits need none).
 */
#ifndef NET_NETADDR_H
#define NET_NETADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct err;

enum net_addr_type { NET_ADDR_NONE, NET_ADDR_UNIX, NET_ADDR_INET, NET_ADDR_FD };

/* Plain data; strings are borrowed. */
struct net_addr {
	enum net_addr_type type;
	const char *path;      /* unix; with `abstract`, the name without its leading zero byte */
	bool abstract;
	const char *host;      /* inet: a name or digits; "" or NULL: any address to listen at, this host to connect to */
	const char *port;      /* inet: digits or a service's name */
	bool ipv4, ipv6;       /* inet: only these; both false is both */
	int fd;                /* fd: the number; it belongs to the netdev once that is open */
};

/* An address as sockets take it. */
struct net_sockaddr {
	struct sockaddr_storage addr;
	socklen_t len;
};

/*
 * Fills `out` with the first address that `addr` (unix or inet) stands for; `listen` decides what no host means. 0, or -errno with `err`
 * saying what of the address was wrong. May ask DNS.
 */
int net_addr_resolve(const struct net_addr *addr, int socktype, bool listen, struct net_sockaddr *out, struct err *err);

/*
 * A socket of that type that listens at `addr` (stream) or is bound to it (dgram), without blocking. A Unix socket's file that nobody
 * answers at is replaced. The descriptor, or -errno with `err`.
 */
int net_addr_bind(const struct net_addr *addr, int socktype, struct err *err);

/* For NET_ADDR_FD: checks that it is a socket of that type, and makes it close on exec and not block. The descriptor, or -errno with `err`. */
int net_addr_take_fd(const struct net_addr *addr, int socktype, struct err *err);

/* The address in words, for messages: "the socket '/run/p'", "127.0.0.1:1234", "descriptor 5". Cut when too long; returns buf. */
const char *net_addr_text(const struct net_addr *addr, char *buf, size_t size);

#endif
