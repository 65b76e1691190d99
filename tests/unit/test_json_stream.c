/* SPDX-License-Identifier: MIT */
#include "vmm/json_stream.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/suite.h"
#include "vmm/util.h"

static struct json_stream s;

static void setup(void)
{
	s = (struct json_stream){ .text = NULL };
}

static void teardown(void)
{
	json_stream_reset(&s);
}

/* Everything that comes out of `in`, given in pieces of `piece` bytes: objects in order, each after a '|', errors as a letter. */
static const char *run(const char *in, size_t piece)
{
	static char out[4096];
	size_t n = 0, len = strlen(in), taken;

	for (size_t at = 0; at < len; at += taken) {
		enum json_stream_result r = json_stream_feed(&s, in + at, min_u64(piece, len - at), &taken);

		ck_assert_uint_gt(taken, 0);
		if (r == JSON_STREAM_MORE) {
			ck_assert_uint_eq(taken, min_u64(piece, len - at));
			continue;
		}
		if (r == JSON_STREAM_OBJECT) {
			out[n++] = '|';
			memcpy(out + n, s.text, s.len);
			n += s.len;
		} else {
			out[n++] = "..GLDM"[r];
		}
	}
	out[n] = 0;
	return out;
}

START_TEST(objects)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "{}", "|{}" },
		{ " \r\n\t{}{}\n{\"a\":[1,{}]}", "|{}|{}|{\"a\":[1,{}]}" },
		{ "{\"a\":\"}\"}", "|{\"a\":\"}\"}" },
		{ "{\"a\":\"\\\"}\"}{}", "|{\"a\":\"\\\"}\"}|{}" },
		{ "{\"a\":\"\\\\\"}{}", "|{\"a\":\"\\\\\"}|{}" },
		{ "{\"a\":", "" },
		{ "x{}\n{}", "G|{}" },
		{ "x\n{}", "G|{}" },
		{ "[1]\n{}", "G|{}" },
		{ "\n\377{}\n{}", "G|{}" },
		{ "{]{}", "|{]|{}" }, /* for the parser to refuse */
		{ "{}x", "|{}G" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (size_t piece = 1; piece < 8; piece++) {
			ck_assert_str_eq(run(rows[i].in, piece), rows[i].out);
			json_stream_reset(&s);
		}
}
END_TEST

START_TEST(limits)
{
	size_t taken, len = JSON_STREAM_MAX + 10;
	char *text = malloc(len);

	memset(text, ' ', len);
	text[0] = '{';
	text[JSON_STREAM_MAX - 1] = '}';
	ck_assert_int_eq(json_stream_feed(&s, text, len, &taken), JSON_STREAM_OBJECT);
	ck_assert_uint_eq(taken, JSON_STREAM_MAX);
	text[JSON_STREAM_MAX - 1] = ' ';
	text[JSON_STREAM_MAX] = '}';
	text[JSON_STREAM_MAX + 5] = '\n';
	memcpy(text + JSON_STREAM_MAX + 7, "{}", 2);
	ck_assert_int_eq(json_stream_feed(&s, text, len, &taken), JSON_STREAM_LONG);
	ck_assert_uint_eq(taken, JSON_STREAM_MAX + 1);
	ck_assert_ptr_null(s.text);
	ck_assert_int_eq(json_stream_feed(&s, text + taken, len - taken, &taken), JSON_STREAM_OBJECT);
	ck_assert_uint_eq(s.len, 2);
	free(text);
}
END_TEST

START_TEST(depth)
{
	char text[2 * JSON_STREAM_DEPTH + 4];
	size_t taken;

	memset(text, '[', JSON_STREAM_DEPTH);
	text[0] = '{';
	memset(text + JSON_STREAM_DEPTH, ']', JSON_STREAM_DEPTH);
	ck_assert_int_eq(json_stream_feed(&s, text, 2 * JSON_STREAM_DEPTH, &taken), JSON_STREAM_OBJECT);
	text[JSON_STREAM_DEPTH] = '[';
	ck_assert_int_eq(json_stream_feed(&s, text, 2 * JSON_STREAM_DEPTH, &taken), JSON_STREAM_DEEP);
	ck_assert_str_eq(run("]]]\n{}", 3), "|{}");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { objects, limits, depth };

	return suite_run("json_stream", tests, ARRAY_SIZE(tests), setup, teardown);
}
