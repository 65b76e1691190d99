/* SPDX-License-Identifier: MIT */
/*
 * The metadata's HTTP server: connections are stream sockets that libslirp has the other end of. A bounded number of them; the one that was
 * quiet for longest makes room for a new one.
 *
 * Thread: one.
 */
#ifndef USER_NET_WEB_H
#define USER_NET_WEB_H

#include <poll.h>
#include <stdint.h>

#include "tools/user-net/http.h"
#include "tools/user-net/metadata.h"

#define WEB_CONNECTIONS 32

struct web_connection {
	int fd;               /* -1: free */
	int64_t used_ns;
	bool closing;         /* after what is to be sent */
	char in[HTTP_HEAD_MAX];
	size_t in_len;
	uint32_t skip;        /* bytes of a request's body to come */
	char out[METADATA_TEXT_MAX + 512];
	size_t out_head, out_len;
	int file;             /* whose `left` bytes follow, or -1 */
	uint64_t left;
};

struct web {
	struct metadata metadata;
	struct web_connection connections[WEB_CONNECTIONS];
};

/* `dir` is a descriptor of the tree, which stays the caller's. */
void web_init(struct web *web, int dir);
void web_fini(struct web *web);

/* Takes `fd`, which does not block. */
void web_add(struct web *web, int fd);

/* What to wait for: one entry of `fds`, which has WEB_CONNECTIONS, for each connection that there is. Returns how many. */
unsigned web_fill(const struct web *web, struct pollfd *fds);
/* What happened at them: the same entries. */
void web_run(struct web *web, const struct pollfd *fds, unsigned n);

#endif
