/* SPDX-License-Identifier: MIT */
/*
 * A tap or macvtap interface of the host as a back end: frames with their virtio_net_hdr, one descriptor for each pair of queues.
 *
 * Thread: as net/netdev.h says.
 */
#ifndef NET_TAP_H
#define NET_TAP_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct eventloop;
struct netdev;

struct tap_config {
	const char *id;
	struct eventloop *loop;
	const char *ifname; /* of an interface to open, or to make where one may; NULL or "": the host chooses a name, tap%d */
	const int *fds;     /* open descriptors of /dev/net/tun or a macvtap instead, one for each pair; taken over, also on failure */
	unsigned n_fds;     /* 0: opened here */
	unsigned queues;    /* pairs, 1 to NETDEV_MAX_QUEUES; with fds it is n_fds */
	bool vnet_hdr;      /* want virtio_net_hdr, with all that hangs on it; as it is where descriptors are given */
	uint64_t sndbuf;    /* bytes that may be under way to the host's network before a guest has to wait; 0: no limit */
	bool batch;         /* several frames go by one call, where the host has io_uring and there is no sndbuf */
};

/* Not blocking, close-on-exec, and down if it is new: to bring it up is the caller's. NULL with `err`. */
struct netdev *tap_open(const struct tap_config *cfg, struct err *err);

/* The interface's name, as it was at the start. Borrowed until close. */
const char *tap_ifname(const struct netdev *nd);
/* The descriptor of a pair, for vhost; borrowed. */
int tap_fd(const struct netdev *nd, unsigned queue);
/* Leaves the descriptors to somebody else, as to vhost-net: nothing is read or written here from now on until it is called with false. */
void tap_hand_over(struct netdev *nd, bool on);
/* Notices that the interface is gone, which nothing tells while it is handed over. On the loop. */
void tap_check(struct netdev *nd);

#endif
