/* SPDX-License-Identifier: MIT */
/*
 * Finds JSON objects in a stream of bytes that come in any pieces: where each begins and ends, within limits, and nothing of what is in
 * it. A peer is an attacker: an object longer than JSON_STREAM_MAX bytes or nested deeper than JSON_STREAM_DEPTH, and anything
 * but white space between objects, is an error; the rest of that line is skipped then, and the stream goes on.
 *
 * Thread: one at a time.
 */
#ifndef VMM_JSON_STREAM_H
#define VMM_JSON_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#define JSON_STREAM_MAX (1024u << 10)
#define JSON_STREAM_DEPTH 64

enum json_stream_result {
	JSON_STREAM_MORE,    /* all taken, no object is complete */
	JSON_STREAM_OBJECT,  /* one is complete: `text`, `len`, until the next call */
	JSON_STREAM_GARBAGE, /* not the start of an object */
	JSON_STREAM_LONG,
	JSON_STREAM_DEEP,
	JSON_STREAM_NOMEM,
};

struct json_stream {
	char *text; /* owned */
	size_t len, size;
	unsigned depth;
	bool string, escape; /* inside one; after a backslash in it */
	bool skip;           /* to the end of the line */
	bool complete;       /* `text` was given out */
};

/* Begins as all zeroes. Frees what it has, and is as new. */
void json_stream_reset(struct json_stream *s);

/* Takes bytes of `buf` up to the end of an object or an error, and says how many in `*taken`. */
enum json_stream_result json_stream_feed(struct json_stream *s, const char *buf, size_t len, size_t *taken);

#endif
