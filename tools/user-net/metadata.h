/* SPDX-License-Identifier: MIT */
/*
 * EC2-style metadata out of a directory: meta-data/..., user-data and what else is in it, at /VERSION/... where VERSION is `latest`, `1.0` or a date.
 * With a directory of the version's name, or `latest`, in it, that one is meant. What the service does by itself:
 *
 *   listings          of directories: a name a line, `/` behind directories. In public-keys, a directory N is listed as N=NAME, with the name in its
 *                     file `name`, else keyN
 *   instance-id       i-00000000, when meta-data has none, as guests take a service without one for a dead one
 *   IMDSv2 tokens     PUT /latest/api/token. Requests without a token are answered too; those with a wrong one are not
 *
 * Files stay beneath the directory (gate_open_beneath), whatever links there are. Thread: one.
 */
#ifndef USER_NET_METADATA_H
#define USER_NET_METADATA_H

#include <stddef.h>
#include <stdint.h>

#include "tools/user-net/http.h"

#define METADATA_TOKENS 64
#define METADATA_TEXT_MAX 16384 /* bytes of a listing */
#define METADATA_FILE_MAX (16 << 20)

struct metadata {
	int dir; /* descriptor */
	struct {
		char text[HTTP_TOKEN_MAX + 1];
		int64_t until_ns;
	} tokens[METADATA_TOKENS]; /* the latest ones */
	unsigned next_token;
};

struct metadata_answer {
	int status;
	int fd;       /* a file with the body, to be closed, or -1: `text` is the body */
	size_t len;
	int32_t ttl;  /* of a token: to be said in the answer; 0: none */
	char text[METADATA_TEXT_MAX];
};

void metadata_answer(struct metadata *md, const struct http_request *req, int64_t now_ns, struct metadata_answer *answer);

#endif
