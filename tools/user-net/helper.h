/* SPDX-License-Identifier: MIT */
/*
 * kite-user-net: the process behind -netdev user. It owns a TCP/IP stack (libslirp), whose frames it exchanges with Kite, and whose connections are
 * its own sockets. One thread, one loop (stack.c); what it is told and tells is in net/user_proto.h.
 *
 * Set-up goes from what needs the host (sockets to forward, directories, the process for commands) to the sandbox (sandbox.c); only then are frames
 * looked at.
 */
#ifndef USER_NET_HELPER_H
#define USER_NET_HELPER_H

#include <poll.h>
#include <slirp/libslirp.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/user-net/config.h"
#include "tools/user-net/nat.h"
#include "tools/user-net/offload.h"
#include "tools/user-net/vm_link.h"
#include "tools/user-net/web.h"
#include "vmm/pace.h"

struct err;

#define HELPER_TIMERS 4

struct helper_timer {
	SlirpTimerCb cb; /* NULL: free */
	void *opaque;
	int64_t expire_ms;
	bool armed;
};

struct helper {
	struct config config;
	int control;
	struct vm_link link;
	struct offload offload;
	struct nat nat;
	struct web web;
	Slirp *slirp;
	struct helper_timer timers[HELPER_TIMERS];
	struct pollfd *fds; /* first the helper's own, then libslirp's, as of this turn */
	unsigned n_fds, max_fds;
	bool waiting;       /* of these, one has datagrams that were read already */
	struct pace pace;   /* on: sockets are looked at from look_ns on */
	int64_t look_ns;
	int64_t active_ns;  /* when something happened last */
	int64_t warned_ns;  /* the last warning, see control_warn */
	unsigned warnings;
	int tftp, metadata, spawn; /* descriptors, or -1 */
	struct sockaddr_storage forward_to[CONFIG_MAX_RULES + 1]; /* of guestfwd rules of kind TCP */
	int result;         /* not 0: the loop ends */
};

/* stack.c: creates libslirp and the forwards that were configured. 0, or -errno with `err`. */
int stack_init(struct helper *h, struct err *err);
/* Until Kite goes. 0, or -errno. */
int stack_run(struct helper *h);

/* forward.c */
int forward_setup(struct helper *h, struct err *err);
int forward_add(struct helper *h, const struct hostfwd *fwd, struct err *err);

/* control.c: a message came; its sender is gone: -EPIPE. */
int control_run(struct helper *h);
int control_send(struct helper *h, const char *kind, const char *text);
/* At most a few a second. */
void control_warn(struct helper *h, const char *text);

/* sandbox.c: before and after the set-up. 0, or -errno with `err`. */
int sandbox_begin(struct err *err);
int sandbox_enter(struct helper *h, struct err *err);

#endif
