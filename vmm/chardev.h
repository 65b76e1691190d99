/* SPDX-License-Identifier: MIT */
/*
 * Character devices: a byte stream between a guest's device (the front end: a UART, a console port) and the host (the back
 * end: terminal, file, pty, socket), behind options that QEMU's users know.
 *
 * Output never blocks and never grows: it goes into a ring of CHARDEV_RING bytes which the loop thread drains. When the ring is
 * full chardev_write takes less than it was given, and the front end holds the rest back as a real UART would, until `writable`.
 * A reader that takes nothing for CHARDEV_STALL_NS while the ring is full is taken for gone: from then on output is counted
 * and dropped, so that a guest never waits for it, until the reader takes something again; unless the front end is patient. A back
 * end that nobody is connected to (socket without a client) drops output at once.
 *
 * Input is read from the host only as fast as the front end takes it (can_receive), so a paste of any size waits in the host's
 * pipe, not in our memory.
 *
 * Thread: create, attach, destroy and all front-end callbacks on the loop's thread; chardev_write and chardev_accept_input on
 * any. No chardev lock is held during callbacks, so a front end may lock itself in them, and may call chardev_write under its
 * own lock.
 */
#ifndef VMM_CHARDEV_H
#define VMM_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct chardev;
struct err;
struct eventloop;

#define CHARDEV_RING 65536
#define CHARDEV_STALL_NS INT64_C(500000000)

enum chardev_backend {
	CHARDEV_NULL,
	CHARDEV_STDIO,
	CHARDEV_FILE,
	CHARDEV_PTY,
	CHARDEV_SOCKET, /* Unix or TCP */
	CHARDEV_CALLBACK, /* the program that embeds Kite */
};

/* CHARDEV_CALLBACK: the other end, in the same process. On the loop's thread, and no chardev lock is held. */
struct chardev_callback {
	void (*output)(void *opaque, const char *id, const void *buf, size_t len);
	/* There is room again after a chardev_callback_input that took less than it was given. NULL: nobody wants to know. */
	void (*input_ready)(void *opaque, const char *id);
	void *opaque;
};

/* What -serial and -chardev give. Strings are borrowed during chardev_create only. */
struct chardev_config {
	const char *id; /* label for messages: "serial0" */
	enum chardev_backend backend;
	const char *path; /* file, socket: a Unix socket's */
	const char *host, *port; /* socket: TCP; host NULL or empty: any, for servers, else this one */
	bool inherited;   /* socket: `fd`, taken over: with `server` it listens, else it is connected */
	int fd;
	unsigned reconnect; /* socket client: seconds after which it tries again; 0: never */
	const struct chardev_callback *callback; /* callback: copied; NULL: there is none, which is refused */
	bool append;      /* file: keep what is there */
	bool server;      /* socket: listen, and accept again after a disconnect; else connect, at creation */
	bool wait;        /* socket server: creation waits for the first client */
	bool signal;      /* stdio: Ctrl-C and Ctrl-Z act on Kite, not on the guest */
	bool log;         /* `log_fd`, taken over also when creation fails, gets a copy of all output: a file, a pipe, a terminal */
	int log_fd;
	bool mux;         /* Ctrl-a escapes (vmm/chardev_mux.c) */
};

enum chardev_event {
	CHARDEV_OPENED, /* a peer connected; also sent on attach when one is there */
	CHARDEV_CLOSED, /* the peer is gone */
	CHARDEV_BREAK,  /* a serial break was asked for (Ctrl-a b) */
};

/* The front end's side. All functions but focus are required. */
struct chardev_frontend {
	bool takes_fds; /* descriptors that come through a Unix socket are kept for chardev_take_fd; else they are closed */
	bool patient; /* waits for a slow reader as long as it takes; nothing that the guest could do without stands still meanwhile */
	/* How many bytes `receive` may be given now; 0: none until chardev_accept_input. */
	size_t (*can_receive)(void *opaque);
	void (*receive)(void *opaque, const uint8_t *buf, size_t len);
	/* There is room again after a chardev_write that took less than it was given. */
	void (*writable)(void *opaque);
	void (*event)(void *opaque, enum chardev_event event);
	void (*focus)(void *opaque); /* of two front ends, it has the input from now on (Ctrl-a c) */
};

/* What the escapes of a multiplexed chardev ask of the machine. Called on the loop's thread. */
struct chardev_host {
	void (*quit)(void *opaque);      /* Ctrl-a x */
	void (*powerdown)(void *opaque); /* Ctrl-a p: the ACPI power button */
	void (*resume)(void *opaque);    /* Ctrl-a r: lets a machine go on that an I/O error stopped */
	void *opaque;
};

/*
 * Opens the back end. `host` may be NULL without mux, and is copied. NULL with `err` on failure. Says on stderr where a pty is
 * ("char device redirected to /dev/pts/3 (label serial0)") and that a waiting server waits.
 */
struct chardev *chardev_create(const struct chardev_config *cfg, const struct chardev_host *host, struct eventloop *loop,
			       struct err *err);
/* Writes out what the peer takes without waiting, restores the terminal, removes the socket file it made. NULL is fine. */
void chardev_destroy(struct chardev *chr);

/*
 * Connects the front end. Both are borrowed until chardev_detach. At most one at a time; with mux two, both of which write, while one has the
 * input: the first, until Ctrl-a c. The second gets no CHARDEV_OPENED for a peer that is there already.
 */
void chardev_attach(struct chardev *chr, const struct chardev_frontend *fe, void *opaque);
/* The only one. */
void chardev_detach(struct chardev *chr);
/* One of two, or the only one. */
void chardev_leave(struct chardev *chr, void *opaque);

/* Takes up to `len` bytes; returns how many. Never blocks. */
size_t chardev_write(struct chardev *chr, const void *buf, size_t len);
/* The front end has room for input again. */
void chardev_accept_input(struct chardev *chr);

/*
 * Input for a CHARDEV_CALLBACK, kept until the front end takes it: how many bytes found room, of CHARDEV_RING at most. Any thread. -EINVAL for
 * another back end.
 */
ssize_t chardev_callback_input(struct chardev *chr, const void *buf, size_t len);

#define CHARDEV_MAX_FDS 16
/*
 * The next descriptor that came with the peer's input and was not taken yet: the caller's from then on. -1: there is none. More than
 * CHARDEV_MAX_FDS at a time are closed, and so are those that are left when the peer goes. Loop thread.
 */
int chardev_take_fd(struct chardev *chr);

/* QEMU's description of it: "stdio", "pty:/dev/pts/3", "unix:/run/x,server=on", "file". Borrowed until destroy. */
const char *chardev_filename(const struct chardev *chr);
/* Whether a peer is there. */
bool chardev_connected(const struct chardev *chr);
/* Whether a front end is attached. Loop thread. */
bool chardev_attached(const struct chardev *chr);

#endif
