/* SPDX-License-Identifier: MIT */
/* Finding and starting kite-user-net. For user.c. */
#ifndef NET_USER_HELPER_H
#define NET_USER_HELPER_H

#include <sys/types.h>

struct err;
struct user_net_config;

/*
 * Starts the helper with `frames` and `control` as the descriptors that it expects; they stay the caller's. 0, or -errno with `err`, which
 * names the places where it was looked for.
 */
int user_helper_spawn(const struct user_net_config *cfg, int frames, int control, pid_t *pid, struct err *err);

#endif
