/* SPDX-License-Identifier: MIT */
/*
 * Heads of HTTP/1.0 and 1.1 requests (RFC 9112), as much as a metadata service needs: strict, of bounded length, and without memory of its own.
 * A pure function.
 */
#ifndef USER_NET_HTTP_H
#define USER_NET_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEAD_MAX 8192 /* bytes of a request's head */
#define HTTP_PATH_MAX 1024
#define HTTP_TOKEN_MAX 64

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_PUT };

struct http_request {
	enum http_method method;
	char path[HTTP_PATH_MAX]; /* begins with '/', decoded, without the query; no zero bytes inside */
	bool keep_alive;
	uint32_t body;  /* Content-Length: bytes that follow the head */
	bool has_token; /* X-aws-ec2-metadata-token; cut, and so no token of ours, when it is longer than one */
	char token[HTTP_TOKEN_MAX + 1];
	int32_t ttl;    /* X-aws-ec2-metadata-token-ttl-seconds; -1: none, -2: no number */
	bool forwarded; /* X-Forwarded-For: by a proxy, which has no business here */
};

/* Bytes of the head, its empty line included; 0: it has not all come yet; or -STATUS: the answer to give before closing the connection. */
int http_parse(const char *buf, size_t len, struct http_request *req);

const char *http_reason(int status);

#endif
