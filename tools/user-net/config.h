/* SPDX-License-Identifier: MIT */
/*
 * The helper's configuration: what its arguments say, checked and complete. Strings are borrowed from the arguments. Forms and defaults are
 * QEMU's (-netdev user).
 */
#ifndef USER_NET_CONFIG_H
#define USER_NET_CONFIG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

struct err;

#define CONFIG_MAX_RULES 256

/* A port of the host that leads to the guest. */
struct hostfwd {
	bool udp;
	struct in_addr host, guest; /* guest 0: the first address that DHCP gives */
	unsigned host_port, guest_port;
};

/* An address and port in the guest's network that leads out of it. */
enum guestfwd_kind { GUESTFWD_TCP, GUESTFWD_UNIX, GUESTFWD_CMD, GUESTFWD_METADATA };

struct guestfwd {
	struct in_addr addr;
	unsigned port;
	enum guestfwd_kind kind;
	const char *target; /* "HOST:PORT", a path, a command */
};

struct config {
	bool restricted, ipv4, ipv6;
	struct in_addr net, mask, host, dhcpstart, dns;
	struct in6_addr net6, host6, dns6;
	unsigned prefix6;
	const char *hostname, *domainname, *tftp, *bootfile, *tftp_server_name, *metadata;
	const char *dnssearch[CONFIG_MAX_RULES + 1]; /* NULL at its end */
	size_t n_dnssearch;
	struct hostfwd hostfwd[CONFIG_MAX_RULES];
	size_t n_hostfwd;
	struct guestfwd guestfwd[CONFIG_MAX_RULES + 1]; /* one more for the metadata */
	size_t n_guestfwd;
};

/* `args` are KEY=VALUE. 0, or -errno with `err` naming the key and what was wrong with its value. */
int config_parse(struct config *cfg, char *const *args, int n, struct err *err);

/* "[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT"; with `remove`, up to the minus. */
int config_hostfwd(struct hostfwd *fwd, const char *text, bool remove, struct err *err);

/* "[tcp]:SERVER:PORT-tcp:HOST:PORT", "...-unix:PATH", "...-cmd:COMMAND". */
int config_guestfwd(struct guestfwd *fwd, const char *text, struct err *err);

#endif
