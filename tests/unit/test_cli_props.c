/* SPDX-License-Identifier: MIT */
/* The property parser: each type in both forms, and that both mean the same. */
#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_props.h"
#include "vmm/err.h"
#include "vmm/util.h"

struct sample {
	char *name, *path;
	struct strv list;
	bool server, wait, node;
	unsigned index;
	uint16_t port;
	uint64_t big, size;
	unsigned color;
};

static const char *const colors[] = { "red", "green", "blue", NULL };
static const char *const switches[] = { "auto", "on", "off", NULL }; /* seen as colors */

#define ROW(k, t, f, ...) { .key = k, .type = t, .offset = offsetof(struct sample, f), __VA_ARGS__ }
static const struct prop_row rows[] = {
	ROW("name", PROP_STRING, name, .required = true),
	ROW("path", PROP_STRING, path, .min = 1, .max = 8),
	ROW("list", PROP_STRINGS, list),
	ROW("server", PROP_BOOL, server),
	ROW("wait", PROP_BOOL, wait),
	ROW("node", PROP_BOOL, node),
	ROW("index", PROP_UNSIGNED, index, .min = 1, .max = 64),
	ROW("port", PROP_U16, port, .max = UINT16_MAX),
	ROW("big", PROP_U64, big, .max = UINT64_MAX),
	ROW("cache.size", PROP_SIZE, size, .min = 4096, .max = GIB, .unit = MIB),
	ROW("color", PROP_ENUM, color, .names = colors),
	{ .key = "usb", .type = PROP_FIXED, .names = prop_names_off, .why = "there is none" },
	{ .key = "any", .type = PROP_FIXED },
	ROW("power", PROP_SWITCH, color, .names = switches),
	{ .key = NULL },
};
static const struct prop_table table = { .implied = "name", .rows = rows };

/* Reads `text` in its form into `s`. */
static int parse(const char *text, struct sample *s, struct strv *notes, struct err *err)
{
	struct prop_ctx ctx = { .what = "-x", .notes = notes, .err = err };
	struct prop_list l = { .items = NULL };
	int ret;

	*s = (struct sample){ .index = 7 };
	if (*text != '{')
		return props_parse(text, &table, s, &ctx);
	ret = prop_list_parse_json(&l, text, &ctx);
	if (ret == 0)
		ret = props_apply(&l, &table, s, &ctx);
	prop_list_fini(&l);
	return ret;
}

static void show(const struct sample *s, const struct strv *notes, char *out, size_t size)
{
	int n = snprintf(out, size, "name=%s path=%s server=%d wait=%d node=%d index=%u port=%u big=%ju size=%ju color=%s list=", s->name,
			 s->path ? s->path : "-", s->server, s->wait, s->node, s->index, s->port, (uintmax_t)s->big,
			 (uintmax_t)s->size, colors[s->color]);

	for (size_t i = 0; i < s->list.n; i++)
		n += snprintf(out + n, size - (size_t)n, "%s;", s->list.v[i]);
	for (size_t i = 0; i < notes->n; i++)
		n += snprintf(out + n, size - (size_t)n, " {%s}", notes->v[i]);
}

/* The same in both forms, or NULL where one has no way to say it; and what changes from the defaults. */
static const struct {
	const char *text, *json;
	const char *expected;
} good[] = {
	{ "n", "{\"name\":\"n\"}", "name=n" },
	{ "name=n", NULL, "name=n" },
	{ "a,,b", "{\"name\":\"a,b\"}", "name=a,b" },
	{ "name=,,", "{\"name\":\",\"}", "name=," },
	{ "name=", "{\"name\":\"\"}", "name=" },
	{ "name=a=b", "{\"name\":\"a=b\"}", "name=a=b" },
	{ "n,", NULL, "name=n" },
	{ "n,path=12345678", "{\"name\":\"n\",\"path\":\"12345678\"}", "path=12345678" },
	{ "n,server=on", "{\"name\":\"n\",\"server\":true}", "server=1" },
	{ "n,server=yes,server=off", "{\"name\":\"n\",\"server\":false}", "server=0" },
	{ "n,server,nowait", "{\"wait\":false,\"server\":true,\"name\":\"n\"}", "server=1 wait=0" },
	{ "n,wait=on,nowait", NULL, "wait=0" },
	{ "n,node", NULL, "node=1" },
	{ "n,node,nonode", NULL, "node=0" },
	{ "n,index=64", "{\"name\":\"n\",\"index\":64}", "index=64" },
	{ "n,index=0x10", "{\"name\":\"n\",\"index\":16}", "index=16" },
	{ "n,port=0xffff", "{\"name\":\"n\",\"port\":65535}", "port=65535" },
	{ "n,big=18446744073709551615", NULL, "big=18446744073709551615" },
	{ "n,big=9223372036854775807", "{\"name\":\"n\",\"big\":9223372036854775807}", "big=9223372036854775807" },
	{ "n,cache.size=2", "{\"name\":\"n\",\"cache\":{\"size\":2097152}}", "size=2097152" },
	{ "n,cache.size=4096b", "{\"name\":\"n\",\"cache.size\":4096}", "size=4096" },
	{ "n,color=blue", "{\"name\":\"n\",\"color\":\"blue\"}", "color=blue" },
	{ "n,power=on", "{\"name\":\"n\",\"power\":true}", "color=green" },
	{ "n,power", "{\"name\":\"n\",\"power\":\"on\"}", "color=green" },
	{ "n,nopower", "{\"name\":\"n\",\"power\":false}", "color=blue" },
	{ "n,power=on,power=auto", "{\"name\":\"n\",\"power\":\"auto\"}", "color=red" },
	{ "n,list=a,list=b,list=a", "{\"name\":\"n\",\"list\":[\"a\",\"b\",\"a\"]}", "list=a;b;a;" },
	{ "n,list=a", "{\"name\":\"n\",\"list\":\"a\"}", "list=a;" },
	{ "n", "{\"name\":\"n\",\"list\":[]}", "list=" },
	{ "n,usb=off", "{\"name\":\"n\",\"usb\":false}", "{-x: usb=off has no effect}" },
	{ "n,usb=no", "{\"name\":\"n\",\"usb\":\"no\"}", "{-x: usb=no has no effect}" },
	{ "n,nousb", NULL, "{-x: usb=off has no effect}" },
	{ "n,any=5", "{\"name\":\"n\",\"any\":5}", "{-x: any=5 has no effect}" },
};

static void read_good(const char *text, char *out, size_t size)
{
	struct strv notes = { .v = NULL };
	struct err err = ERR_INIT;
	struct sample s;
	int ret = parse(text, &s, &notes, &err);

	ck_assert_msg(ret == 0, "%s: %s", text, err.msg);
	show(&s, &notes, out, size);
	props_fini(&table, &s);
	strv_fini(&notes);
}

START_TEST(test_good)
{
	char from_text[512], from_json[512];
	const char *word = good[_i].expected;

	read_good(good[_i].text, from_text, sizeof(from_text));
	ck_assert_msg(strstr(from_text, word) != NULL, "%s: '%s' lacks '%s'", good[_i].text, from_text, word);
	if (good[_i].json) {
		read_good(good[_i].json, from_json, sizeof(from_json));
		ck_assert_str_eq(from_text, from_json);
	}
}
END_TEST

static const struct {
	const char *text, *message;
} bad[] = {
	{ "", "-x: the value is empty" },
	{ "server=on", "-x: property 'name' is missing: give name=..." },
	{ "n,sze=1", "-x: unknown property 'sze'" },
	{ "n,colour=red", "unknown property 'colour'; did you mean 'color'?" },
	{ "n,pathh=a", "did you mean 'path'?" },
	{ "n,nopath", "-x: unknown property 'nopath'" },
	{ "n,nonsense", "-x: unknown property 'nonsense'" },
	{ "n,no", "-x: unknown property 'no'" },
	{ "n,=5", "-x: a property without a name at '=5'" },
	{ "n,,,=5", "without a name" },
	{ "n,path", "-x: property 'path': needs a value: path=..." },
	{ "n,path=", "-x: property 'path': may not be empty" },
	{ "n,path=123456789", "-x: property 'path': '123456789' is longer than 8 bytes" },
	{ "n,server=maybe", "-x: property 'server': expected on or off, got 'maybe'" },
	{ "n,server=", "expected on or off, got ''" },
	{ "n,index=0", "-x: property 'index': expected a number from 1 to 64, got '0'" },
	{ "n,index=65", "expected a number from 1 to 64, got '65'" },
	{ "n,index=-1", "expected a number from 1 to 64, got '-1'" },
	{ "n,index=1x", "expected a number from 1 to 64, got '1x'" },
	{ "n,index", "-x: property 'index': needs a value" },
	{ "n,port=65536", "expected a number from 0 to 65535, got '65536'" },
	{ "n,big=18446744073709551616", "got '18446744073709551616'" },
	{ "n,cache.size=big", "property 'cache.size': expected a size such as 512M or 2G, got 'big'" },
	{ "n,cache.size=4095b", "property 'cache.size': '4095b' is too little; the least is 4 KiB" },
	{ "n,cache.size=1025", "property 'cache.size': '1025' is too much; the most is 1 GiB" },
	{ "n,color=pink", "property 'color': 'pink' is not one of red, green, blue" },
	{ "n,color", "property 'color': needs a value" },
	{ "n,usb=on", "property 'usb': 'on' is not available: there is none" },
	{ "n,usb", "property 'usb': 'on' is not available: there is none" },
	{ "{", "-x: not a JSON object: " },
	{ "{}", "property 'name' is missing" },
	{ "{\"name\":\"n\"} x", "-x: not a JSON object: " },
	{ "{\"name\":\"n\",\"name\":\"n\"}", "-x: not a JSON object: duplicate object key" },
	{ "{\"name\":\"n\",\"cache\":{\"size\":4096},\"cache.size\":4096}", "property 'cache.size' is given twice" },
	{ "{\"name\":\"n\",\"\":4096}", "a property without a name" },
	{ "{\"name\":5}", "-x: property 'name': expected a string, got a number" },
	{ "{\"name\":true}", "expected a string, got true or false" },
	{ "{\"name\":null}", "expected a string, got null" },
	{ "{\"name\":1.5}", "expected a string, got a number with a fraction" },
	{ "{\"name\":[]}", "expected a string, got an array" },
	{ "{\"name\":[\"n\"]}", "expected a string, got an array" },
	{ "{\"name\":{}}", "expected a string, got an object" },
	{ "{\"name\":{\"a\":1}}", "unknown property 'name.a'" },
	{ "{\"name\":\"n\",\"server\":\"on\"}", "property 'server': expected true or false, got a string" },
	{ "{\"name\":\"n\",\"server\":1}", "property 'server': expected true or false, got a number" },
	{ "{\"name\":\"n\",\"index\":\"1\"}", "property 'index': expected a number, got a string" },
	{ "{\"name\":\"n\",\"index\":65}", "expected a number from 1 to 64, got '65'" },
	{ "{\"name\":\"n\",\"port\":-1}", "expected a number from 0 to 65535, got '-1'" },
	{ "{\"name\":\"n\",\"big\":9223372036854775808}", "not a JSON object: too big integer" },
	{ "{\"name\":\"n\",\"big\":1.0}", "expected a number, got a number with a fraction" },
	{ "{\"name\":\"n\",\"cache.size\":\"4k\"}", "expected a number of bytes, got a string" },
	{ "{\"name\":\"n\",\"cache.size\":2}", "'2' is too little; the least is 4 KiB" },
	{ "{\"name\":\"n\",\"color\":1}", "property 'color': expected a string, got a number" },
	{ "{\"name\":\"n\",\"list\":[1]}", "expected a string or an array of strings, got a number" },
	{ "{\"name\":\"n\",\"list\":[[\"a\"]]}", "property 'list': an array may not hold objects or arrays" },
	{ "{\"name\":\"n\",\"list\":[{}]}", "property 'list': an array may not hold objects or arrays" },
	{ "{\"name\":\"n\",\"usb\":null}", "property 'usb': expected a plain value, got null" },
	{ "{\"name\":\"n\",\"noserver\":true}", "unknown property 'noserver'" },
	{ "{\"name\":\"a\\u0000b\"}", "not a JSON object: " },
	{ "{\"name\":\"n\",\"a\\nb\":1}", "unknown property 'a?b'" },
	{ "{\"name\"\n\n:\n}", "not a JSON object: " },
	{ "n,a\nb=1", "unknown property 'a?b'" },
	{ "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}", "unknown property 'a.a.a.a.a.a.a.a'" },
	{ "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}", "JSON objects are nested deeper than 8" },
};

static void assert_refused(const char *text, int code, const char *message)
{
	struct strv notes = { .v = NULL };
	struct err err = ERR_INIT;
	struct sample s;
	int ret = parse(text, &s, &notes, &err);

	ck_assert_msg(ret < 0, "%.100s was accepted", text);
	ck_assert_int_eq(ret, err.code);
	if (code)
		ck_assert_int_eq(ret, code);
	ck_assert_msg(strstr(err.msg, message), "%.100s: '%s' lacks '%s'", text, err.msg, message);
	ck_assert_ptr_null(strchr(err.msg, '\n'));
	props_fini(&table, &s);
	strv_fini(&notes);
}

START_TEST(test_bad)
{
	assert_refused(bad[_i].text, 0, bad[_i].message);
}
END_TEST

/* One past each limit, and at it. */
START_TEST(test_limits)
{
	static char text[PROP_MAX_TEXT + 64];
	struct strv notes = { .v = NULL };
	struct err err = ERR_INIT;
	struct sample s;
	int n;

	memset(text, 'n', PROP_MAX_TEXT);
	ck_assert_int_eq(parse(text, &s, &notes, &err), 0);
	ck_assert_uint_eq(strlen(s.name), PROP_MAX_TEXT);
	props_fini(&table, &s);
	text[PROP_MAX_TEXT] = 'n';
	assert_refused(text, -E2BIG, "longer than 65536 bytes");
	text[0] = '{';
	assert_refused(text, -E2BIG, "longer than 65536 bytes");

	n = sprintf(text, "n");
	for (int i = 1; i < PROP_MAX_ITEMS; i++)
		n += sprintf(text + n, ",index=%d", i % 64 + 1);
	ck_assert_int_eq(parse(text, &s, &notes, &err), 0);
	props_fini(&table, &s);
	sprintf(text + n, ",index=1");
	assert_refused(text, -E2BIG, "more than 256 properties");
	n = sprintf(text, "{\"name\":\"n\",\"list\":[\"a\"");
	for (int i = 2; i < PROP_MAX_ITEMS; i++)
		n += sprintf(text + n, ",\"a\"");
	sprintf(text + n, "]}");
	ck_assert_int_eq(parse(text, &s, &notes, &err), 0);
	ck_assert_uint_eq(s.list.n, PROP_MAX_ITEMS - 1);
	props_fini(&table, &s);
	sprintf(text + n, ",\"a\"]}");
	assert_refused(text, -E2BIG, "more than 256 properties");

	n = sprintf(text, "n,");
	memset(text + n, 'k', PROP_MAX_KEY);
	strcpy(text + n + PROP_MAX_KEY - 1, "=1");
	assert_refused(text, -EINVAL, "unknown property 'kkk");
	text[n + PROP_MAX_KEY - 1] = 'k';
	strcpy(text + n + PROP_MAX_KEY, "=1");
	assert_refused(text, -E2BIG, "is too long");
	n = sprintf(text, "{\"outer\":{\"");
	memset(text + n, 'k', PROP_MAX_KEY - 6);
	strcpy(text + n + PROP_MAX_KEY - 6 - 1, "\":1}}");
	assert_refused(text, -EINVAL, "unknown property 'outer.kkk");
	memset(text + n, 'k', PROP_MAX_KEY - 6);
	strcpy(text + n + PROP_MAX_KEY - 6, "\":1}}");
	assert_refused(text, -E2BIG, "is too long");
	strv_fini(&notes);
}
END_TEST

/* Deep nesting is refused by depth, not by the end of the stack. */
START_TEST(test_deep_json)
{
	static char text[PROP_MAX_TEXT + 1];

	for (size_t i = 0; i + 5 < sizeof(text); i += 5)
		memcpy(text + i, "{\"a\":", 5);
	assert_refused(text, 0, "not a JSON object");
	memset(text, '[', PROP_MAX_TEXT);
	text[0] = '{';
	assert_refused(text, 0, "not a JSON object");
}
END_TEST

START_TEST(test_json_value)
{
	struct err err = ERR_INIT;
	struct prop_ctx ctx = { .what = "device_add", .err = &err };
	struct prop_list l = { .items = NULL };
	json_t *array = json_array(), *object = json_pack("{s:s, s:i, s:b}", "name", "n", "index", 3, "usb", 0);
	struct sample s = { .index = 0 };

	ck_assert_int_eq(prop_list_from_json(&l, array, &ctx), -EINVAL);
	ck_assert_str_eq(err.msg, "device_add: expected a JSON object");
	/* Without a place for notes there are none. */
	ck_assert_int_eq(prop_list_from_json(&l, object, &ctx), 0);
	ck_assert_int_eq(props_apply(&l, &table, &s, &ctx), 0);
	ck_assert_uint_eq(s.index, 3);
	props_fini(&table, &s);
	prop_list_fini(&l);
	json_decref(array);
	json_decref(object);
}
END_TEST

START_TEST(test_take)
{
	struct err err = ERR_INIT;
	struct prop_ctx ctx = { .what = "-x", .err = &err };
	struct prop_list l = { .items = NULL };
	char *value;

	ck_assert_int_eq(prop_list_parse(&l, "first,id=a,driver=second,path=b", "driver", &ctx), 0);
	ck_assert_int_eq(prop_list_take(&l, "driver", &value, &ctx), 0);
	ck_assert_str_eq(value, "second");
	free(value);
	ck_assert_uint_eq(l.n, 2);
	ck_assert_str_eq(l.items[0].key, "id");
	ck_assert_str_eq(l.items[1].key, "path");
	ck_assert_int_eq(prop_list_take(&l, "driver", &value, &ctx), 0);
	ck_assert_ptr_null(value);
	prop_list_fini(&l);

	ck_assert_int_eq(prop_list_parse_json(&l, "{\"driver\":5}", &ctx), 0);
	ck_assert_int_eq(prop_list_take(&l, "driver", &value, &ctx), -EINVAL);
	ck_assert_ptr_null(value);
	ck_assert_str_eq(err.msg, "-x: property 'driver': expected a string");
	prop_list_fini(&l);
	ck_assert_int_eq(prop_list_parse_json(&l, "{\"driver\":[\"a\",\"b\"]}", &ctx), 0);
	ck_assert_int_eq(prop_list_take(&l, "driver", &value, &ctx), -EINVAL);
	prop_list_fini(&l);
	ck_assert_int_eq(prop_list_parse(&l, "id=a,driver", NULL, &ctx), 0);
	ck_assert_int_eq(prop_list_take(&l, "driver", &value, &ctx), -EINVAL);
	prop_list_fini(&l);
}
END_TEST

/* A table short enough is listed where no name is near. */
START_TEST(test_known_listed)
{
	static const struct prop_row few[] = { { .key = "one", .type = PROP_FIXED }, { .key = "two", .type = PROP_FIXED }, { .key = NULL } };
	static const struct prop_table small = { .rows = few };
	struct err err = ERR_INIT;
	struct prop_ctx ctx = { .what = "-x", .err = &err };

	ck_assert_int_eq(props_parse("something=1", &small, NULL, &ctx), -EINVAL);
	ck_assert_str_eq(err.msg, "-x: unknown property 'something'; known: one, two");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cli_props");
	TCase *tc = tcase_create("props");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(tc, test_good, 0, ARRAY_SIZE(good));
	tcase_add_loop_test(tc, test_bad, 0, ARRAY_SIZE(bad));
	tcase_add_test(tc, test_limits);
	tcase_add_test(tc, test_deep_json);
	tcase_add_test(tc, test_json_value);
	tcase_add_test(tc, test_take);
	tcase_add_test(tc, test_known_listed);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
