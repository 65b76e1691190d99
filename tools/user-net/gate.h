/* SPDX-License-Identifier: MIT */
/*
 * What libslirp asks of the host by name passes here, and not the C library: this program defines connect, open, fopen and stat itself, and
 * the library, as any shared object, calls the program's. So that
 *
 *   a TFTP client's path cannot leave the directory, whatever it says and whatever links are in there, and names regular files only;
 *   a connection to a "Unix socket" of the name GATE_UNIX N becomes what guestfwd rule N says, without any socket in a file system;
 *   a resolv.conf that the sandbox hides after it was replaced is one that did not change, and the name server known last stays in use.
 *
 * Other files can be opened until gate_shut. Thread: one.
 */
#ifndef USER_NET_GATE_H
#define USER_NET_GATE_H

#define GATE_TFTP "/kite-tftp" /* libslirp's tftp_path */
#define GATE_UNIX "kite-guestfwd:"

/* The TFTP directory, or -1. */
void gate_set_tftp(int dir_fd);
/*
 * Who answers for guestfwd rule `n`: puts the other end of the connection, or the connection itself, in place of `fd`, which is a stream socket.
 * 0 or -errno.
 */
void gate_set_guestfwd(int (*open_rule)(void *opaque, unsigned n, int fd), void *opaque);
void gate_shut(void);

/*
 * Opens `path` below `dir_fd` for reading: -ENOENT also for what is not there for others to see (links out of it, special files).
 * With `directory`, a directory. A descriptor or -errno.
 */
int gate_open_beneath(int dir_fd, const char *path, int directory);

#endif
