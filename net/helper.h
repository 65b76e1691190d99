/* SPDX-License-Identifier: MIT */
/*
 * Programs that Kite runs to set networks up: where they are, their start and their end.
 *
 * Thread: main.
 */
#ifndef NET_HELPER_H
#define NET_HELPER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define HELPER_FD 3 /* the number of the descriptor that a program gets */

/*
 * Where the program `name` of Kite's own is: next to kite, in ../libexec/kite from there, or in /usr/local/libexec/kite or /usr/libexec/kite.
 * False when there is none; `path` is then the first of those places.
 */
bool helper_find(const char *name, char *path, size_t size);

/*
 * Starts argv[0], a path, with the standard descriptors and, as HELPER_FD, `fd` (-1: none), and nothing else of this process. 0 and `*pid`, or
 * -errno, of exec too.
 */
int helper_start(const char *const argv[], int fd, pid_t *pid);
/* The same for one that stays: in a session of its own, where the terminal's keys do not reach it. */
int helper_start_session(const char *const argv[], int fd, pid_t *pid);
/* Waits for its end: its exit status, 128 and the number of the signal that killed it, or -errno. */
int helper_wait(pid_t pid);

#endif
