/* SPDX-License-Identifier: MIT */
/*
 * Commands of guestfwd=...-cmd:COMMAND. The helper's sandbox can start no program, so a process that is forked before it does that: it is told the
 * number of a rule, nothing else, and gets a connection to be the command's standard input and output. It ends with the helper.
 */
#ifndef USER_NET_SPAWN_H
#define USER_NET_SPAWN_H

#include "tools/user-net/config.h"

struct err;

/*
 * Forks it if there are such rules. *fd is the socket to it, or -1. In the child this does not return. The commands are split here, as a
 * shell does with words, quotes and backslashes; what is wrong with one is in `err`.
 */
int spawn_start(const struct config *cfg, int *fd, struct err *err);

/* Has rule `n` started with `conn`, which stays the caller's. 0 or -errno. */
int spawn_run(int fd, unsigned n, int conn);

/* Splits `text` into words, in one allocation to be freed; NULL: quotes that do not end, no word, or no memory. */
char **spawn_split(const char *text);

#endif
