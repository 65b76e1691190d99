/* SPDX-License-Identifier: MIT */
/*
 * A client of QMP: one connection, requests one after another, and a limit on how long an answer may take. The other end is not trusted: what it
 * sends is bounded by vmm/json_stream.h.
 *
 * Thread: one.
 */
#ifndef TOOLS_CTL_CLIENT_H
#define TOOLS_CTL_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/json_stream.h"

struct err;

struct client {
	const char *address; /* for messages; borrowed */
	int fd;
	int64_t timeout_ns;  /* for a whole answer; 0: none */
	struct json_stream stream;
	char buf[16384];
	size_t at, n;
	unsigned long id;
	/* What comes between answers. Borrowed; NULL: dropped. */
	void (*event)(void *opaque, const json_t *event);
	void *opaque;
};

/*
 * Connects to `address`, the path of a Unix socket or tcp:HOST:PORT, and makes ready for commands; `greeting` gets what the other end
 * began with, to be released. 0, or -errno with `err`: -ETIMEDOUT where nothing came.
 */
int client_open(struct client *c, const char *address, int64_t timeout_ns, json_t **greeting, struct err *err);
void client_close(struct client *c);

/* The next object, to be released by the caller. NULL with `err`: -ETIMEDOUT, -EPIPE where the other end has closed, -EPROTO. */
json_t *client_receive(struct client *c, struct err *err);
/* Sends one object, on one line. */
int client_send(struct client *c, const json_t *object, struct err *err);

/*
 * Runs a command and waits for its answer. `args` may be NULL; its reference is taken. 0 with `*result`, to be released; -EREMOTE: the
 * machine refused, `err` has its words.
 */
int client_execute(struct client *c, const char *command, json_t *args, json_t **result, struct err *err);

#endif
