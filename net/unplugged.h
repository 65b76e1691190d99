/* SPDX-License-Identifier: MIT */
/* A network card without a cable: a back end whose link is down, that takes frames and loses them. */
#ifndef NET_UNPLUGGED_H
#define NET_UNPLUGGED_H

struct err;
struct eventloop;
struct netdev;

/* NULL with `err`. Main thread. */
struct netdev *unplugged_open(const char *id, struct eventloop *loop, struct err *err);

#endif
