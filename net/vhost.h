/* SPDX-License-Identifier: MIT */
/*
 * vhost-net: the kernel moves frames between a tap and the guest's rings by itself; a doorbell wakes its thread, and it raises the
 * interrupt, both through eventfds that are KVM's (linux/vhost.h; Documentation of the ioctls is there).
 *
 * Thread: main, but for the ops.
 */
#ifndef NET_VHOST_H
#define NET_VHOST_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct guest_mem;
struct netdev;

struct vhost_config {
	const struct guest_mem *mem; /* borrowed until the netdev is closed */
	const int *fds;              /* open descriptors of /dev/vhost-net, one a pair of queues; taken over, also on failure */
	unsigned n_fds;              /* 0: opened here, one a pair of the tap */
	uint64_t poll_us;            /* for how long its thread looks for work before it sleeps; 0: not */
	bool forced;
};

/*
 * Gives the tap `nd` its rings (nd->rings), which netdev_close ends. 0, or -errno with `err`: no vhost-net, or not one that serves; the tap is as
 * it was.
 */
int vhost_attach(struct netdev *nd, const struct vhost_config *cfg, struct err *err);

#endif
