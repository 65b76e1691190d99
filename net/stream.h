/* SPDX-License-Identifier: MIT */
/*
 * -netdev stream: frames over a connection, each behind its length in 32 bits, big-endian: what QEMU since 7.2, passt and other Kites
 * speak. One peer at a time. The link follows the peer; frames for nobody are dropped. A peer that says a length which no frame has is
 * dropped with a message; a server then waits for the next one.
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "net/netaddr.h"

struct err;
struct eventloop;
struct netdev;

/* Plain data; strings are borrowed, and nothing of it is kept. */
struct stream_net_config {
	const char *id;
	struct eventloop *loop;
	struct net_addr addr;       /* fd: a connected stream socket, or with `server` a listening one */
	bool server;
	/*
	 * A client tries again this many milliseconds after it lost its peer or found none; then a peer that is not there yet is no error of
	 * set-up. 0: once only.
	 */
	uint32_t reconnect_ms;
};

/* NULL with `err` filled. Main thread. */
struct netdev *stream_net_open(const struct stream_net_config *cfg, struct err *err);

#endif
