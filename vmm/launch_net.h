/* SPDX-License-Identifier: MIT */
/*
 * The network of a machine: opens the back ends, each on the loop of its card, and makes the cards. Those whose card names no iothread
 * share one thread, which exists only if there are any.
 *
 * Thread: main.
 */
#ifndef VMM_LAUNCH_NET_H
#define VMM_LAUNCH_NET_H

#include <stdbool.h>

struct err;
struct eventloop;
struct launch_disks;
struct launch_net;
struct machine;
struct netdev;
struct vm_config;

/* Opens the back ends. `disks` has the iothreads; both are borrowed. NULL with `err` and nothing left behind. */
struct launch_net *launch_net_open(const struct vm_config *cfg, struct launch_disks *disks, struct err *err);
/* As launch_virtio_add: those with a place of their own (`fixed`), then the others. */
int launch_net_add(struct launch_net *net, struct machine *machine, bool fixed, struct err *err);
/* Before the guest runs: what was started and not waited for is there, or has failed. 0 or -errno with `err`. */
int launch_net_ready(struct launch_net *net, struct err *err);
/* As launch_disks_on_threads, for the common thread. */
int launch_net_on_thread(struct launch_net *net, int (*fn)(void *opaque, const char *iothread, struct eventloop *loop, struct err *err),
			 void *opaque, struct err *err);
/* Plugs the cable of a card in or out, by the id of the card or of its back end. -ENODEV: there is none. Once the cards are there. */
int launch_net_set_link(struct launch_net *net, const char *id, bool up);
/* The back end of that id, borrowed; NULL: there is none. */
struct netdev *launch_net_netdev(const struct launch_net *net, const char *id);
/* After the machine, before the disks. NULL is fine. */
void launch_net_close(struct launch_net *net);

#endif
