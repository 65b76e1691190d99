/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that somebody else has opened and Kite is given: sets of -add-fd and add-fd, whose members differ in what they may do and stand
 * behind the name /dev/fdset/N; and those of getfd, each with a name.
 *
 * Thread: main.
 */
#ifndef VMM_FDSET_H
#define VMM_FDSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define FDSET_MAX 128 /* descriptors in all sets together, and as many with names */
#define FDSET_PATH "/dev/fdset/"
#define FDSET_NEW (-1)

struct fdset_fd {
	int64_t set;
	int fd;        /* owned */
	char *opaque;  /* what whoever gave it says of it; NULL: nothing */
};

struct fdset_named {
	char *name;
	int fd; /* owned */
};

/* All zeroes: empty. */
struct fdsets {
	struct fdset_fd fds[FDSET_MAX];
	size_t n_fds;
	struct fdset_named named[FDSET_MAX];
	size_t n_named;
};

void fdsets_fini(struct fdsets *sets);

/* Takes `fd` over when it succeeds. `set` is FDSET_NEW for the first number that is free. The number of the set, or -errno with `err`. */
int64_t fdsets_add(struct fdsets *sets, int64_t set, int fd, const char *opaque, struct err *err);
/* Closes one of a set, or with `fd` -1 all. -ENOENT with `err`. */
int fdsets_remove(struct fdsets *sets, int64_t set, int fd, struct err *err);

/* Whether `path` names a set. */
bool fdset_is_path(const char *path);
/* A copy of the set's descriptor that can do what `flags` (O_RDONLY, O_WRONLY, O_RDWR) says. -errno with `err`. */
int fdsets_open(const struct fdsets *sets, const char *path, int flags, struct err *err);

/* Takes `fd` over when it succeeds, in place of one that has the name already. 0 or -errno with `err`. */
int fdsets_name(struct fdsets *sets, const char *name, int fd, struct err *err);
/* Takes it out: the caller's. -1: there is none of that name. */
int fdsets_take(struct fdsets *sets, const char *name);

#endif
