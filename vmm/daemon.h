/* SPDX-License-Identifier: MIT */
/*
 * -daemonize: a process in the background whose parent ends only when it is ready, or has failed; and -pidfile.
 *
 * Thread: main, daemon_start before there are others.
 */
#ifndef VMM_DAEMON_H
#define VMM_DAEMON_H

struct err;

struct daemon {
	int ready_fd; /* -1: not in the background, or ready */
	int null_fd;  /* the same: what its standard descriptors will be */
};
#define DAEMON_INIT { .ready_fd = -1, .null_fd = -1 }

/*
 * Forks. Returns 0 in the child, a session of its own that still has its parent's standard descriptors, so that what fails is seen. The
 * parent returns 1 with the exit status in `*status` once the child is ready or has ended. -errno with `err`.
 */
int daemon_start(struct daemon *daemon, int *status, struct err *err);
/* Lets the parent end; standard input, output and error are /dev/null from now on. Nothing when there is none. Also in the sandbox. */
void daemon_ready(struct daemon *daemon);

struct pidfile {
	const char *path; /* borrowed */
	int fd;           /* -1: there is none */
};
#define PIDFILE_INIT { .fd = -1 }

/*
 * Writes the process's number to `path` (NULL: nothing), and holds a lock on it as long as the process lives: -EBUSY when another has one.
 * 0 or -errno with `err`.
 */
int pidfile_create(struct pidfile *pidfile, const char *path, struct err *err);
/* Removes it. */
void pidfile_remove(struct pidfile *pidfile);

#endif
