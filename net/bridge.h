/* SPDX-License-Identifier: MIT */
/*
 * A tap on a bridge, made by a privileged helper for those who may not make one: the protocol of qemu-bridge-helper. The helper is run as
 * `HELPER --use-vnet --fd=N --br=BRIDGE`, sends the descriptor of the tap over the Unix socket N, and ends with 0.
 *
 * Thread: main.
 */
#ifndef NET_BRIDGE_H
#define NET_BRIDGE_H

#include <stdbool.h>

struct err;

/*
 * The descriptor of a new tap on `bridge`, or -errno with `err`. `helper` is a path, or a command for the shell if there are blanks in it;
 * NULL: kite-bridge-helper where that is installed, or else QEMU's. `what` is who wants it, for messages: "netdev 'net0'".
 */
int bridge_open_tap(const char *what, const char *helper, const char *bridge, bool vnet_hdr, struct err *err);

#endif
