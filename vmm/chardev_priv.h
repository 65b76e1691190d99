/* SPDX-License-Identifier: MIT */
/*
 * What the files vmm/chardev_*.c share: the core (ring, flow control, front end) in chardev.c, descriptors that never wait in
 * chardev_fd.c, the back ends in a file each, and the escapes of a multiplexed chardev in chardev_mux.c.
 *
 * Thread: the loop's, except what says "under the lock" and chardev_write.
 */
#ifndef VMM_CHARDEV_PRIV_H
#define VMM_CHARDEV_PRIV_H

#include <pthread.h>
#include <sys/types.h>

#include "vmm/chardev.h"
#include "vmm/eventloop.h"

struct err;

#define CHARDEV_GATHER_NS (NS_PER_SEC / 1000) /* how long bytes wait for more */
#define CHARDEV_GATHER 512u /* bytes */

/* What a chardev is made from. chardev_create fills in the process's own descriptors. */
struct chardev_setup {
	const struct chardev_config *cfg;
	const struct chardev_host *host;
	struct eventloop *loop;
	int in, out; /* what CHARDEV_STDIO reads and writes; borrowed until destroy */
};

struct chardev *chardev_create_from(const struct chardev_setup *setup, struct err *err);

/* A back end. All but `unread` required. */
struct chardev_ops {
	/*
	 * Writes some of `buf` without waiting, and returns how much, not 0; -EAGAIN when the peer takes nothing now, and then the back
	 * end calls chardev_drain when it does; -ENOSPC, -EDQUOT or -EFBIG when `buf` is lost; another -errno when the peer is gone.
	 */
	ssize_t (*write)(struct chardev *chr, const uint8_t *buf, size_t len);
	/* How many bytes wait for the peer to read them, for telling a slow reader from none; negative when unknown. */
	int64_t (*unread)(struct chardev *chr);
	/* The front end began or ceased to take input: chr->reading changed. */
	void (*read_enable)(struct chardev *chr, bool on);
	void (*close)(struct chardev *chr);
	int (*take_fd)(struct chardev *chr); /* NULL: none ever come */
};

struct chardev_log;
struct chardev_mux;

struct chardev {
	const struct chardev_ops *ops;
	void *backend; /* the back end's own */
	struct eventloop *loop;
	char *id, *filename;
	struct chardev_mux *mux; /* NULL without */
	struct chardev_log *log; /* the same */

	/* The loop's thread only: */
	const struct chardev_frontend *fe;
	void *fe_opaque;
	bool reading;       /* input is wanted */
	bool loss_reported; /* a full disk was */
	int64_t unread;     /* ops->unread when the peer was last seen to take nothing */
	struct event_work drain_work, input_work;
	struct event_timer stall_timer, gather_timer;

	pthread_mutex_t lock;
	/* Under the lock: */
	bool connected;
	bool sink;             /* output goes nowhere, at once: the null back end */
	bool patient;          /* as the front end's */
	bool front_waits;      /* a chardev_write took less than it was given */
	int64_t waits_since;   /* front_waits: since then, or since the peer was last seen to take something */
	bool dropping;         /* the peer takes nothing */
	uint64_t dropped;      /* bytes, this time */
	bool gathering;        /* gather_timer is armed: it takes what comes */
	size_t ring_read, ring_used;
	uint8_t ring[CHARDEV_RING];
};

/* For back ends, in chardev.c */

/* A peer came or went. Output in the ring for one that went is dropped. */
void chardev_set_connected(struct chardev *chr, bool connected);
/* The peer may take output again. */
void chardev_drain(struct chardev *chr);
/* How many bytes of input may be given to chardev_input now. */
size_t chardev_input_room(struct chardev *chr);
void chardev_input(struct chardev *chr, const uint8_t *buf, size_t len);
/* Sets chr->filename. 0, or -ENOMEM with `err`. */
int chardev_set_filename(struct chardev *chr, struct err *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Appends to the ring; returns how much found room. Under the lock. */
size_t chardev_ring_put(struct chardev *chr, const void *buf, size_t len);
size_t chardev_ring_room(const struct chardev *chr);

/*
 * A descriptor of a back end and how to use it without ever waiting. In chardev_fd.c. Terminals and pipes are often shared with
 * other processes (a shell, the other end of a pipeline), and O_NONBLOCK belongs to what is shared, so it may not be set there:
 */
enum chardev_fd_kind {
	CHARDEV_FD_NONBLOCK, /* our own open file description, with O_NONBLOCK */
	CHARDEV_FD_SOCKET,   /* "do not wait" is a flag of each call */
	CHARDEV_FD_SHARED,   /* neither: ask poll first, and write little */
	CHARDEV_FD_DIRECT,   /* epoll does not take it, as it never waits: regular files, /dev/null */
};

struct chardev_fd {
	int fd; /* owned; -1: none */
	enum chardev_fd_kind kind;
	size_t piece; /* CHARDEV_FD_SHARED: how much a write may be after poll said yes */
	struct eventloop *loop;
	struct event_fd ev;
	struct event_work turn; /* CHARDEV_FD_DIRECT: stands for epoll */
};

/* Takes `fd` over. `ready` as in struct event_fd. Nothing is waited for yet. */
void chardev_fd_init(struct chardev_fd *f, struct eventloop *loop, int fd, enum chardev_fd_kind kind,
		     void (*ready)(void *opaque, uint32_t revents), void *opaque);
/*
 * As chardev_fd_init, for a descriptor that others share (it stays theirs): finds out what it is, and gets a description of its
 * own where it can. `flags`: O_RDONLY or O_WRONLY. 0 or -errno.
 */
int chardev_fd_share(struct chardev_fd *f, struct eventloop *loop, int fd, int flags,
		     void (*ready)(void *opaque, uint32_t revents), void *opaque);
/* Closes it. Fine when it is closed already, or was only set to all zeroes with fd -1. */
void chardev_fd_fini(struct chardev_fd *f);
/* Waits for these events from now on; 0 for nothing, not even EPOLLHUP. */
void chardev_fd_want(struct chardev_fd *f, uint32_t events);
uint32_t chardev_fd_wanted(const struct chardev_fd *f);
/* Bytes, 0 at the end of input, or -errno. */
ssize_t chardev_fd_read(struct chardev_fd *f, void *buf, size_t len);
/* Bytes or -errno; -EAGAIN also waits for EPOLLOUT. */
ssize_t chardev_fd_write(struct chardev_fd *f, const void *buf, size_t len);
/* Bytes that wait in the kernel for the peer to read them; negative when unknown. */
int64_t chardev_fd_unread(const struct chardev_fd *f);
/* EPOLLOUT came: waits for it no longer, and writes on. */
void chardev_fd_drain(struct chardev_fd *f, struct chardev *chr);
/* Reads as much as the front end takes, one portion, and hands it over. As chardev_fd_read; -EAGAIN also when it takes none. */
ssize_t chardev_fd_pull(struct chardev_fd *f, struct chardev *chr);

/* Back ends: open fills in ops, backend and filename, and says whether a peer is there. 0, or -errno with `err`. */
int chardev_null_open(struct chardev *chr, const struct chardev_setup *setup, struct err *err);
int chardev_stdio_open(struct chardev *chr, const struct chardev_setup *setup, struct err *err);
int chardev_file_open(struct chardev *chr, const struct chardev_setup *setup, struct err *err);
int chardev_pty_open(struct chardev *chr, const struct chardev_setup *setup, struct err *err);
int chardev_socket_open(struct chardev *chr, const struct chardev_setup *setup, struct err *err);
int chardev_callback_open(struct chardev *chr, const struct chardev_setup *setup, struct err *err);
/* In chardev_listen.c: a listening Unix socket at `path`, close-on-exec and non-blocking. The descriptor, or -errno with `err`. */
int chardev_listen(const char *path, struct err *err);
/* A connection to the one at `path`. */
int chardev_connect(const char *path, struct err *err);
/* In chardev_inet.c: the same for TCP; names are looked up, which may wait for the network. */
int chardev_listen_inet(const char *host, const char *port, struct err *err);
struct sockaddr_storage;
/* The address of `host`: its length, or -errno with `err`. */
int chardev_resolve(const char *host, const char *port, bool passive, struct sockaddr_storage *addr, struct err *err);
/* A socket that is connected, or with `wait` false is about to be: writable then, with SO_ERROR. */
int chardev_connect_inet(const struct sockaddr_storage *addr, int len, bool wait, struct err *err);

/* A front end that waits may go on: there is room again, in the log. */
void chardev_made_room(struct chardev *chr);

/* In chardev_log.c. Takes `fd` over, also when it fails. NULL with `err`. */
struct chardev_log *chardev_log_create(struct chardev *chr, int fd, struct err *err);
void chardev_log_destroy(struct chardev_log *log);
/* Under the lock: how much may be put, and putting it; whether it is full, and loses from now on what does not fit. */
size_t chardev_log_room(const struct chardev_log *log);
void chardev_log_put(struct chardev_log *log, const uint8_t *buf, size_t len);
bool chardev_log_stalled(struct chardev_log *log);

/* Escapes; in chardev_mux.c. */
struct chardev_mux *chardev_mux_create(const struct chardev_host *host);
void chardev_mux_destroy(struct chardev_mux *mux);
/* How much input may come. It outlasts a front end that takes none, so that the escapes still work. */
size_t chardev_mux_room(const struct chardev_mux *mux);
void chardev_mux_input(struct chardev *chr, const uint8_t *buf, size_t len);
/* The front end beside chr->fe, without the input. */
void chardev_mux_add(struct chardev *chr, const struct chardev_frontend *fe, void *opaque);
/* It is the one of `opaque`, or becomes chr->fe in its place: one is left. False: there is no second. */
bool chardev_mux_leave(struct chardev *chr, const void *opaque);
void chardev_mux_tell(struct chardev_mux *mux, enum chardev_event event);
void chardev_mux_tell_writable(struct chardev_mux *mux);
/* Hands the front end what it takes of the input held back. */
void chardev_mux_flush(struct chardev *chr);
/* Output on its way into the ring; as chardev_ring_put, under the lock. */
size_t chardev_mux_put(struct chardev *chr, const uint8_t *buf, size_t len);

#endif
