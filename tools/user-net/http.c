/* SPDX-License-Identifier: MIT */
#include "tools/user-net/http.h"

#include <string.h>
#include <strings.h>

#define BODY_MAX 4096

/* A line without its CRLF. */
struct line {
	const char *p;
	size_t len;
};

const char *http_reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 401:
		return "Unauthorized";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 413:
		return "Content Too Large";
	case 414:
		return "URI Too Long";
	case 431:
		return "Request Header Fields Too Large";
	case 501:
		return "Not Implemented";
	case 503:
		return "Service Unavailable";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Internal Server Error";
	}
}

/* Characters of a method or a field's name (RFC 9110, 5.6.2). */
static bool is_token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool line_is(struct line l, const char *text)
{
	return l.len == strlen(text) && strncasecmp(l.p, text, l.len) == 0;
}

/* Digits only, at most `max`. -1 when it is something else. */
static int32_t number(struct line l, int32_t max)
{
	int64_t v = 0;

	if (l.len == 0 || l.len > 9)
		return -1;
	for (size_t i = 0; i < l.len; i++) {
		if (l.p[i] < '0' || l.p[i] > '9')
			return -1;
		v = v * 10 + (l.p[i] - '0');
	}
	return v > max ? -1 : (int32_t)v;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The path of a target in origin form. 0 or -STATUS. */
static int decode_path(struct line target, char *path)
{
	size_t n = 0;

	if (target.len == 0 || target.p[0] != '/')
		return -400;
	for (size_t i = 0; i < target.len && target.p[i] != '?'; i++) {
		int c = (unsigned char)target.p[i];

		if (c == '%') {
			if (target.len - i < 3 || hex(target.p[i + 1]) < 0 || hex(target.p[i + 2]) < 0)
				return -400;
			c = hex(target.p[i + 1]) << 4 | hex(target.p[i + 2]);
			i += 2;
		} else if (c == '#') {
			return -400;
		}
		if (c < 0x20 || c == 0x7f)
			return -400;
		if (n == HTTP_PATH_MAX - 1)
			return -414;
		path[n++] = (char)c;
	}
	path[n] = '\0';
	return 0;
}

static int parse_method(struct line l, enum http_method *method)
{
	for (size_t i = 0; i < l.len; i++)
		if (!is_token_char(l.p[i]))
			return -400;
	/* Methods are case-sensitive. */
	if (l.len == 3 && memcmp(l.p, "GET", 3) == 0)
		*method = HTTP_GET;
	else if (l.len == 4 && memcmp(l.p, "HEAD", 4) == 0)
		*method = HTTP_HEAD;
	else if (l.len == 3 && memcmp(l.p, "PUT", 3) == 0)
		*method = HTTP_PUT;
	else
		return l.len ? -405 : -400;
	return 0;
}

/* METHOD TARGET HTTP/1.x */
static int parse_request_line(struct line l, struct http_request *req, bool *http11)
{
	const char *a = memchr(l.p, ' ', l.len), *b = a ? memchr(a + 1, ' ', l.len - (size_t)(a + 1 - l.p)) : NULL;
	struct line method, target, version;
	int rc;

	if (!b)
		return -400;
	method = (struct line){ l.p, (size_t)(a - l.p) };
	target = (struct line){ a + 1, (size_t)(b - a - 1) };
	version = (struct line){ b + 1, l.len - (size_t)(b + 1 - l.p) };
	if (version.len != 8 || memcmp(version.p, "HTTP/", 5) != 0)
		return -400;
	if (memcmp(version.p, "HTTP/1.", 7) != 0 || version.p[7] < '0' || version.p[7] > '9')
		return -505;
	*http11 = version.p[7] != '0';
	rc = parse_method(method, &req->method);
	return rc < 0 ? rc : decode_path(target, req->path);
}

/* What a request's fields say, apart from what is kept of them. */
struct fields {
	unsigned hosts, lengths;
	bool close, keep;
};

/* Items of a list between commas (RFC 9110, 5.6.1). */
static void parse_connection(struct line value, struct fields *f)
{
	size_t i = 0;

	while (i < value.len) {
		struct line item = { value.p + i, 0 };

		while (i < value.len && value.p[i] != ',')
			i++;
		item.len = (size_t)(value.p + i - item.p);
		i++;
		while (item.len && (*item.p == ' ' || *item.p == '\t')) {
			item.p++;
			item.len--;
		}
		while (item.len && (item.p[item.len - 1] == ' ' || item.p[item.len - 1] == '\t'))
			item.len--;
		f->close |= line_is(item, "close");
		f->keep |= line_is(item, "keep-alive");
	}
}

static int take_field(struct line name, struct line value, struct http_request *req, struct fields *f)
{
	if (line_is(name, "Host")) {
		f->hosts++;
	} else if (line_is(name, "Connection")) {
		parse_connection(value, f);
	} else if (line_is(name, "Content-Length")) {
		int32_t body = number(value, 999999999);

		if (body < 0 || f->lengths++)
			return -400;
		if (body > BODY_MAX)
			return -413;
		req->body = (uint32_t)body;
	} else if (line_is(name, "Transfer-Encoding")) {
		return -501;
	} else if (line_is(name, "X-Forwarded-For")) {
		req->forwarded = true;
	} else if (line_is(name, "X-aws-ec2-metadata-token-ttl-seconds")) {
		int32_t ttl = number(value, 999999999);

		req->ttl = ttl < 0 ? -2 : ttl;
	} else if (line_is(name, "X-aws-ec2-metadata-token")) {
		size_t len = value.len < HTTP_TOKEN_MAX ? value.len : HTTP_TOKEN_MAX;

		req->has_token = true;
		memcpy(req->token, value.p, len);
		req->token[len] = '\0';
		if (value.len > HTTP_TOKEN_MAX)
			req->token[0] = '\0';
	}
	return 0;
}

static int parse_field(struct line l, struct http_request *req, struct fields *f)
{
	struct line name = { l.p, 0 }, value;

	while (name.len < l.len && is_token_char(l.p[name.len]))
		name.len++;
	/* No space before the colon, and no line that goes on: both have let requests in through proxies (RFC 9112, 5.1 and 5.2). */
	if (name.len == 0 || name.len == l.len || l.p[name.len] != ':')
		return -400;
	value = (struct line){ l.p + name.len + 1, l.len - name.len - 1 };
	while (value.len && (*value.p == ' ' || *value.p == '\t')) {
		value.p++;
		value.len--;
	}
	while (value.len && (value.p[value.len - 1] == ' ' || value.p[value.len - 1] == '\t'))
		value.len--;
	for (size_t i = 0; i < value.len; i++)
		if (((unsigned char)value.p[i] < 0x20 && value.p[i] != '\t') || value.p[i] == 0x7f)
			return -400;
	return take_field(name, value, req, f);
}

/* The line at *p, which moves behind it. False: it does not end yet. */
static bool next_line(const char **p, const char *end, struct line *l)
{
	const char *nl = memchr(*p, '\n', (size_t)(end - *p));

	if (!nl)
		return false;
	*l = (struct line){ *p, (size_t)(nl - *p) };
	*p = nl + 1;
	return true;
}

/* Cuts the CR off. False: there is none, or one in the middle. */
static bool cut_cr(struct line *l)
{
	if (l->len == 0 || l->p[l->len - 1] != '\r')
		return false;
	l->len--;
	return !memchr(l->p, '\r', l->len);
}

int http_parse(const char *buf, size_t len, struct http_request *req)
{
	const char *p = buf, *end = buf + (len < HTTP_HEAD_MAX ? len : HTTP_HEAD_MAX);
	struct fields f = { 0 };
	bool http11 = false;
	struct line l;
	int rc = 0;

	*req = (struct http_request){ .ttl = -1 };
	for (unsigned i = 0; next_line(&p, end, &l); i++) {
		if (!cut_cr(&l))
			return -400;
		if (i == 0)
			rc = parse_request_line(l, req, &http11);
		else if (l.len)
			rc = parse_field(l, req, &f);
		else
			break;
		if (rc < 0)
			return rc;
	}
	if (p == buf || p[-1] != '\n' || p - buf < 4 || p[-3] != '\n')
		return len < HTTP_HEAD_MAX ? 0 : -431;
	if (f.hosts > 1 || (http11 && f.hosts != 1))
		return -400;
	req->keep_alive = !f.close && (http11 || f.keep);
	return (int)(p - buf);
}
