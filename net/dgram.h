/* SPDX-License-Identifier: MIT */
/*
 * -netdev dgram: one frame a datagram, over a Unix socket, UDP to one peer, UDP multicast (a segment that many share), or a descriptor.
 * Datagrams get lost where a peer is slow or not there, as frames do on a wire.
 */
#ifndef NET_DGRAM_H
#define NET_DGRAM_H

#include "net/netaddr.h"

struct err;
struct eventloop;
struct netdev;

/*
 * Plain data; strings are borrowed, and nothing of it is kept. As in QEMU:
 *   remote inet, a multicast group   `local` none, or a host: the interface that has this address (its port is ignored), or a descriptor
 *   remote inet or unix              `local` of the same kind: where this side receives, from anybody
 *   remote none                      `local` is a descriptor: a connected datagram socket
 */
struct dgram_net_config {
	const char *id;
	struct eventloop *loop;
	struct net_addr local, remote;
};

/* NULL with `err` filled. Main thread. */
struct netdev *dgram_net_open(const struct dgram_net_config *cfg, struct err *err);

#endif
