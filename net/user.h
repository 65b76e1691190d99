/* SPDX-License-Identifier: MIT */
/*
 * -netdev user: a network inside a helper process, kite-user-net, which needs no privilege: the guest's connections become sockets of the
 * helper. The TCP/IP stack (libslirp) and what it parses of a guest's frames never runs in the VMM; the helper shuts itself in before
 * the first frame. Its death is a warning and a link that is down.
 *
 * Strings have QEMU's form and are read by the helper, but for what user_net_check finds. What it makes of them is in
 * tools/user-net/config.c.
 */
#ifndef NET_USER_H
#define NET_USER_H

#include <stdbool.h>
#include <stddef.h>

struct err;
struct eventloop;
struct netdev;

#define USER_NET_MAX_RULES 256 /* hostfwd, guestfwd, dnssearch: each */
#define USER_NET_MAX_STRING 1024

/* Plain data; strings are borrowed, NULL is QEMU's default, and nothing of it is kept. */
struct user_net_config {
	const char *id;
	struct eventloop *loop;
	const char *helper;           /* path; NULL: next to kite, PREFIX/libexec/kite, $PATH */
	bool restricted;              /* restrict=on: the guest reaches the virtual host and forwarded ports only */
	bool no_ipv4, no_ipv6;
	const char *net;              /* "10.0.2.0/24", "10.0.2.0/255.255.255.0" or "10.0.2.0" */
	const char *host, *dhcpstart, *dns;
	const char *ipv6_net;         /* "fec0::/64", "fec0::" */
	const char *ipv6_host, *ipv6_dns;
	const char *hostname, *domainname;
	const char *tftp, *bootfile, *tftp_server_name;
	const char *metadata;         /* directory that answers http://169.254.169.254/ */
	const char *const *dnssearch; /* one domain each */
	size_t n_dnssearch;
	const char *const *hostfwd;   /* "tcp:127.0.0.1:2222-10.0.2.15:22", "udp::53-:53" */
	size_t n_hostfwd;
	const char *const *guestfwd;  /* "tcp:10.0.2.100:80-tcp:127.0.0.1:8080", "...-unix:PATH", "...-cmd:COMMAND" */
	size_t n_guestfwd;
	/*
	 * Called on the loop when the helper could not be set up and user_net_wait was not there to say so: the message names the netdev and the
	 * fault ("netdev net0: port 2222 is in use..."). NULL: it is logged as an error.
	 */
	void (*failed)(void *opaque, const struct err *why);
	void *opaque;
};

/*
 * Starts the helper and returns without waiting for it: the guest may run meanwhile, frames wait in the socket. Call it early, since the
 * helper sets itself up on another processor. NULL with `err` filled: no helper, no processes left. Main thread, whose end would
 * also end the helper.
 */
struct netdev *user_net_open(const struct user_net_config *cfg, struct err *err);

/*
 * Before the guest runs: waits until the helper has said how its set-up went, where that depends on the host (ports to forward, directories)
 * and so may fail by a user's mistake; returns at once elsewhere. 0, or -errno with `err` filled: close it then. Main thread.
 */
int user_net_wait(struct netdev *nd, struct err *err);

/*
 * Ports forwarded to the guest, while it runs: hostfwd_add, hostfwd_remove and info usernet of the monitor. `done` is called on the loop
 * with the text to show: an error, "", or what there is. One at a time: -EBUSY; -ENOTCONN when the helper is gone. `command` is
 * "hostfwd_add RULE", "hostfwd_remove RULE" or "info". On the netdev's loop.
 */
int user_net_command(struct netdev *nd, const char *command, void (*done)(void *opaque, bool ok, const char *text), void *opaque);

#endif
