/* SPDX-License-Identifier: MIT */
#include "vmm/json_stream.h"

#include <stdlib.h>

#include "vmm/util.h"

#define FIRST_SIZE 512

void json_stream_reset(struct json_stream *s)
{
	free(s->text);
	*s = (struct json_stream){ .text = NULL };
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static enum json_stream_result append(struct json_stream *s, char c)
{
	if (s->len == JSON_STREAM_MAX)
		return JSON_STREAM_LONG;
	if (s->len == s->size) {
		size_t size = s->size ? 2 * s->size : FIRST_SIZE;
		char *text = realloc(s->text, size);

		if (!text)
			return JSON_STREAM_NOMEM;
		s->text = text;
		s->size = size;
	}
	s->text[s->len++] = c;
	return JSON_STREAM_MORE;
}

/* A byte of an object. */
static enum json_stream_result inside(struct json_stream *s, char c)
{
	enum json_stream_result r = append(s, c);

	if (r != JSON_STREAM_MORE)
		return r;
	if (s->string) {
		if (s->escape)
			s->escape = false;
		else if (c == '\\')
			s->escape = true;
		else if (c == '"')
			s->string = false;
		return r;
	}
	if (c == '"') {
		s->string = true;
	} else if (c == '{' || c == '[') {
		if (++s->depth > JSON_STREAM_DEPTH)
			return JSON_STREAM_DEEP;
	} else if ((c == '}' || c == ']') && --s->depth == 0) {
		s->complete = true;
		return JSON_STREAM_OBJECT;
	}
	return r;
}

enum json_stream_result json_stream_feed(struct json_stream *s, const char *buf, size_t len, size_t *taken)
{
	if (s->complete) {
		s->complete = false;
		s->len = 0;
	}
	for (size_t i = 0; i < len; i++) {
		enum json_stream_result r = JSON_STREAM_MORE;

		*taken = i + 1;
		if (s->skip)
			s->skip = buf[i] != '\n';
		else if (s->depth > 0 || buf[i] == '{')
			r = inside(s, buf[i]);
		else if (!is_space(buf[i]))
			r = JSON_STREAM_GARBAGE;
		if (r == JSON_STREAM_OBJECT)
			return r;
		if (r != JSON_STREAM_MORE) {
			json_stream_reset(s);
			s->skip = buf[i] != '\n';
			return r;
		}
	}
	*taken = len;
	return JSON_STREAM_MORE;
}
