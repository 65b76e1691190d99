/* SPDX-License-Identifier: MIT */
#include "tools/user-net/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/suite.h"
#include "vmm/util.h"

static struct http_request req;

static void setup(void)
{
}

static void teardown(void)
{
}

/* Every beginning of it must ask for more; what follows must not be looked at. */
static int parse(const char *text)
{
	size_t len = strlen(text);
	int rc;

	for (size_t i = 0; i < len; i++) {
		/* Exactly so many bytes, for the address sanitizer. */
		char *part = malloc(i ? i : 1);

		memcpy(part, text, i);
		rc = http_parse(part, i, &req);
		free(part);
		if (rc != 0)
			return rc;
	}
	rc = http_parse(text, len, &req);
	if (rc > 0)
		ck_assert_int_eq(rc, (int)len);
	return rc;
}

START_TEST(good_requests)
{
	ck_assert_int_gt(parse("GET /latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\nUser-Agent: curl/7\r\nAccept: */*\r\n\r\n"), 0);
	ck_assert_int_eq(req.method, HTTP_GET);
	ck_assert_str_eq(req.path, "/latest/meta-data/");
	ck_assert(req.keep_alive && !req.has_token && !req.forwarded);
	ck_assert_int_eq(req.ttl, -1);
	ck_assert_int_gt(parse("PUT /latest/api/token HTTP/1.1\r\nhost:x\r\nX-AWS-EC2-metadata-token-TTL-seconds:\t 60 \r\ncontent-length: 12\r\n\r\n"), 0);
	ck_assert_int_eq(req.method, HTTP_PUT);
	ck_assert_int_eq(req.ttl, 60);
	ck_assert_uint_eq(req.body, 12);
	ck_assert_int_gt(parse("HEAD / HTTP/1.0\r\n\r\n"), 0);
	ck_assert_int_eq(req.method, HTTP_HEAD);
	ck_assert(!req.keep_alive);
	ck_assert_int_gt(parse("GET /a HTTP/1.0\r\nConnection: x , Keep-Alive\r\nX-aws-ec2-metadata-token: abc\r\nX-Forwarded-For: y\r\n\r\n"), 0);
	ck_assert(req.keep_alive && req.has_token && req.forwarded);
	ck_assert_str_eq(req.token, "abc");
	ck_assert_int_gt(parse("GET /a%20b%2Fc?d=%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 0);
	ck_assert_str_eq(req.path, "/a b/c");
	ck_assert(!req.keep_alive);
	ck_assert_int_gt(parse("PUT / HTTP/1.0\r\nX-aws-ec2-metadata-token-ttl-seconds: x\r\n\r\n"), 0);
	ck_assert_int_eq(req.ttl, -2);
}
END_TEST

START_TEST(bad_requests)
{
	static const struct {
		const char *text;
		int status;
	} bad[] = {
		{ "\r\n\r\n", 400 }, { "GET\r\n\r\n", 400 }, { "GET /\r\n\r\n", 400 }, { "GET / HTTP/1.1\n\n", 400 }, { "GET / HTTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 }, { " GET / HTTP/1.0\r\n\r\n", 400 }, { "GET  / HTTP/1.0\r\n\r\n", 400 },
		{ "GET / HTTP/1.0 \r\n\r\n", 400 }, { "GET / HTTP/2.0\r\n\r\n", 505 }, { "GET / HTTP/1.x\r\n\r\n", 505 }, { "GET / HTTX/1.0\r\n\r\n", 400 },
		{ "get / HTTP/1.0\r\n\r\n", 405 }, { "POST / HTTP/1.0\r\n\r\n", 405 }, { "G(T / HTTP/1.0\r\n\r\n", 400 },
		{ "GET x HTTP/1.0\r\n\r\n", 400 }, { "GET http://a/ HTTP/1.0\r\n\r\n", 400 }, { "GET * HTTP/1.0\r\n\r\n", 400 },
		{ "GET /%0 HTTP/1.0\r\n\r\n", 400 }, { "GET /%00 HTTP/1.0\r\n\r\n", 400 }, { "GET /%0a HTTP/1.0\r\n\r\n", 400 },
		{ "GET /% HTTP/1.0\r\n\r\n", 400 }, { "GET /#x HTTP/1.0\r\n\r\n", 400 }, { "GET /\x7f HTTP/1.0\r\n\r\n", 400 },
		{ "GET / HTTP/1.0\r\nA : b\r\n\r\n", 400 }, { "GET / HTTP/1.0\r\n: b\r\n\r\n", 400 }, { "GET / HTTP/1.0\r\nA\r\n\r\n", 400 },
		{ "GET / HTTP/1.0\r\nA: b\r\n c\r\n\r\n", 400 }, { "GET / HTTP/1.0\r\nA: b\rc\r\n\r\n", 400 }, { "GET / HTTP/1.0\r\nA: b\nB: c\r\n\r\n", 400 },
		{ "GET / HTTP/1.0\r\nA: \x01\r\n\r\n", 400 }, { "PUT / HTTP/1.0\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400 },
		{ "PUT / HTTP/1.0\r\nContent-Length: -1\r\n\r\n", 400 }, { "PUT / HTTP/1.0\r\nContent-Length: 1 2\r\n\r\n", 400 },
		{ "PUT / HTTP/1.0\r\nContent-Length: 99999999999999999999\r\n\r\n", 400 }, { "PUT / HTTP/1.0\r\nContent-Length: 5000\r\n\r\n", 413 },
		{ "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 501 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(parse(bad[i].text) == -bad[i].status, "%s: %d, wanted -%d", bad[i].text, parse(bad[i].text), bad[i].status);
}
END_TEST

START_TEST(lengths)
{
	char buf[HTTP_HEAD_MAX + 100];
	int n;

	/* The longest path, and one more. */
	for (int extra = 0; extra < 2; extra++) {
		n = sprintf(buf, "GET /");
		memset(buf + n, 'a', HTTP_PATH_MAX - 2 + (size_t)extra);
		strcpy(buf + n + HTTP_PATH_MAX - 2 + extra, " HTTP/1.0\r\n\r\n");
		if (extra)
			ck_assert_int_eq(http_parse(buf, strlen(buf), &req), -414);
		else
			ck_assert_int_gt(http_parse(buf, strlen(buf), &req), 0);
	}
	/* A head that does not end. */
	n = sprintf(buf, "GET / HTTP/1.0\r\nX: ");
	memset(buf + n, 'a', sizeof(buf) - (size_t)n);
	ck_assert_int_eq(http_parse(buf, HTTP_HEAD_MAX - 1, &req), 0);
	ck_assert_int_eq(http_parse(buf, HTTP_HEAD_MAX, &req), -431);
	ck_assert_int_eq(http_parse(buf, sizeof(buf), &req), -431);
	/* A token that is too long is none. */
	n = sprintf(buf, "GET / HTTP/1.0\r\nX-aws-ec2-metadata-token: ");
	memset(buf + n, 'a', HTTP_TOKEN_MAX + 1);
	strcpy(buf + n + HTTP_TOKEN_MAX + 1, "\r\n\r\n");
	ck_assert_int_gt(http_parse(buf, strlen(buf), &req), 0);
	ck_assert(req.has_token);
	ck_assert_str_eq(req.token, "");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { good_requests, bad_requests, lengths };

	return suite_run("usernet_http", tests, ARRAY_SIZE(tests), setup, teardown);
}
