/* SPDX-License-Identifier: MIT */
/*
 * Taps from their configuration: descriptors that somebody hands over, a bridge helper's, or interfaces opened here, with their scripts.
 *
 * Thread: main.
 */
#ifndef VMM_LAUNCH_TAP_H
#define VMM_LAUNCH_TAP_H

#include <stdbool.h>
#include <sys/types.h>

struct config_netdev;
struct err;
struct eventloop;
struct guest_mem;
struct netdev;

/* Who will run the downscript. */
struct launch_tap_down {
	pid_t pid; /* 0: nobody */
	int fd;    /* it waits for this to be closed */
};

/* NULL with `err`. `quiet`: the downscript has no standard streams, as of a daemon. */
struct netdev *launch_tap_open(const struct config_netdev *cfg, struct eventloop *loop, bool quiet, struct launch_tap_down *down, struct err *err);
/*
 * Has vhost-net serve it, where vhost= asks for that. Without vhostforce= it may fail, which is a warning. `limited`: the card has limits, which
 * vhost-net cannot keep. 0 or -errno with `err`.
 */
int launch_tap_vhost(const struct config_netdev *cfg, struct netdev *nd, const struct guest_mem *mem, bool limited, struct err *err);
/* Runs the downscript, if there is one, and closes it. */
void launch_tap_close(const struct config_netdev *cfg, struct netdev *nd, struct launch_tap_down *down);

#endif
