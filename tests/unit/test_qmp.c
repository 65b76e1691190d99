/* SPDX-License-Identifier: MIT */
/* The protocol over a real socket, with a client that behaves as well or as badly as a test wants. */
#include "vmm/qmp.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/util.h"

static struct eventloop *loop;
static struct chardev *chr;
static struct qmp *qmp;
static struct qmp_call *later; /* what "wait" left */
static int client = -1;
static char dir[] = "/tmp/kite-qmp-XXXXXX";
static char path[100];

/* ---- commands of the test's own ---- */

static int run_echo(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	(void)err;
	ck_assert_ptr_eq(qmp_opaque(call), &loop);
	*ret = json_deep_copy(args);
	return 0;
}

static int run_fail(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	static const int codes[] = { -EINVAL, -ENODEV, -ENXIO };

	(void)call;
	(void)ret;
	return err_set(err, codes[json_integer_value(json_object_get(args, "which"))], "no such thing: \377");
}

static int run_wait(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	(void)args;
	(void)ret;
	(void)err;
	later = call;
	return QMP_LATER;
}

static const char *const colours[] = { "red", "blue", NULL };
static const struct qmp_type colour = { .name = "Colour", .meta = QMP_ENUM, .values = colours };
static const struct qmp_type colour_list = { .name = "ColourList", .meta = QMP_ARRAY, .element = &colour, .max = 3 };
static const struct qmp_type inner = { .name = "Inner", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "deep", .type = &qmp_bool },
	{ 0 },
} };
static const struct qmp_type echo_args = { .name = "echo-arg", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "text", .type = &qmp_str, .optional = true },
	{ .name = "n", .type = &qmp_int, .optional = true },
	{ .name = "x", .type = &qmp_number, .optional = true },
	{ .name = "colours", .type = &colour_list, .optional = true },
	{ .name = "inner", .type = &inner, .optional = true, .features = (const char *const[]){ "shiny", NULL } },
	{ 0 },
} };
static const struct qmp_type fail_args = { .name = "fail-arg", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "which", .type = &qmp_int },
	{ 0 },
} };
static const struct qmp_type tick_data = { .name = "TICK-arg", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "data", .type = &qmp_str },
	{ 0 },
} };
static const struct qmp_command commands[] = {
	{ .name = "echo", .args = &echo_args, .ret = &qmp_any, .run = run_echo, .features = (const char *const[]){ "loud", NULL } },
	{ .name = "fail", .args = &fail_args, .run = run_fail },
	{ .name = "wait", .run = run_wait },
	{ .name = "secret", .run = run_wait, .human = true },
	{ 0 },
};
static const struct qmp_event events[] = {
	{ .name = "TICK", .data = &tick_data },
	{ .name = "TOCK" },
	{ 0 },
};
static const struct qmp_table tables[] = { { .commands = commands, .events = events } };

/* ---- the client ---- */

static void client_open(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	memcpy(a.sun_path, path, strlen(path));
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&a, sizeof(a)), 0);
}

static void say(const char *text)
{
	ck_assert_int_eq(send(client, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static char line[1 << 20];
static size_t line_len;

static bool line_came(void *arg)
{
	(void)arg;
	while (line_len < sizeof(line) - 1 && !(line_len >= 2 && line[line_len - 1] == '\n')) {
		ssize_t n = recv(client, line + line_len, 1, MSG_DONTWAIT);

		if (n != 1)
			return false;
		line_len++;
	}
	return true;
}

/* The next line; to be freed with json_decref. */
static json_t *hear(void)
{
	json_error_t why;
	json_t *value;

	line_len = 0;
	fake_run_until(loop, line_came, NULL);
	ck_assert_int_eq(line[line_len - 2], '\r');
	value = json_loadb(line, line_len, 0, &why);
	ck_assert_msg(value != NULL, "%s in %.*s", why.text, (int)line_len, line);
	return value;
}

static void expect(const char *text)
{
	json_t *value = hear(), *want = json_loads(text, 0, NULL);

	ck_assert_msg(json_equal(value, want), "%.*s instead of %s", (int)line_len, line, text);
	json_decref(value);
	json_decref(want);
}

static void expect_error(const char *class, const char *part)
{
	json_t *value = hear();
	const char *c = json_string_value(json_object_get(json_object_get(value, "error"), "class"));
	const char *desc = json_string_value(json_object_get(json_object_get(value, "error"), "desc"));

	ck_assert_msg(c && desc && !strcmp(c, class) && strstr(desc, part), "%.*s", (int)line_len, line);
	json_decref(value);
}

static void greeted(void)
{
	json_t *value = hear();

	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(json_object_get(json_object_get(value, "QMP"), "version"), "qemu"),
							    "major")), 7);
	json_decref(value);
}

static void negotiated(void)
{
	client_open();
	greeted();
	say("{\"execute\":\"qmp_capabilities\"}");
	expect("{\"return\":{}}");
}

static void setup(void)
{
	struct err err = ERR_INIT;
	struct chardev_config cfg = { .id = "mon0", .backend = CHARDEV_SOCKET, .path = path, .server = true };

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/qmp", dir);
	loop = fake_loop();
	chr = chardev_create(&cfg, NULL, loop, &err);
	ck_assert_msg(chr != NULL, "%s", err.msg);
	qmp = qmp_create(loop, tables, ARRAY_SIZE(tables), &loop, &err);
	ck_assert_ptr_nonnull(qmp);
	ck_assert_int_eq(qmp_add_monitor(qmp, chr, false, &err), 0);
	later = NULL;
}

static void teardown(void)
{
	qmp_destroy(qmp);
	chardev_destroy(chr);
	eventloop_destroy(loop);
	close(client);
	rmdir(dir);
}

START_TEST(negotiation)
{
	client_open();
	greeted();
	say("{\"execute\":\"echo\",\"id\":1}");
	expect_error("CommandNotFound", "negotiation");
	qmp_event(qmp, "TOCK", NULL); /* not yet */
	say("{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}");
	expect_error("GenericError", "oob");
	say("{\"execute\":\"qmp_capabilities\",\"id\":{\"a\":[1]}}");
	expect("{\"return\":{},\"id\":{\"a\":[1]}}");
	say("{\"execute\":\"qmp_capabilities\"}");
	expect_error("CommandNotFound", "already");
	say("{\"execute\":\"echo\",\"arguments\":{\"text\":\"\\u00e4\"}}");
	expect("{\"return\":{\"text\":\"\\u00e4\"}}");
}
END_TEST

START_TEST(refused)
{
	static const struct {
		const char *request, *class, *part;
	} rows[] = {
		{ "{\"execute\":\"nothing\"}", "CommandNotFound", "nothing" },
		{ "{\"execute\":1}", "GenericError", "execute" },
		{ "{\"exec-oob\":\"echo\"}", "GenericError", "exec-oob" },
		{ "{}", "GenericError", "execute" },
		{ "[1]\n", "GenericError", "object" },
		{ "{\"a\":1,\"a\":2}", "GenericError", "duplicate" },
		{ "{\"execute\":\"echo\",\"arguments\":[]}", "GenericError", "arguments" },
		{ "{\"execute\":\"echo\",\"more\":1}", "GenericError", "more" },
		{ "{\"execute\":\"echo\",\"arguments\":{\"y\":1}}", "GenericError", "'y'" },
		{ "{\"execute\":\"echo\",\"arguments\":{\"text\":1}}", "GenericError", "string" },
		{ "{\"execute\":\"echo\",\"arguments\":{\"n\":1.5}}", "GenericError", "integer" },
		{ "{\"execute\":\"echo\",\"arguments\":{\"n\":99999999999999999999}}", "GenericError", "too big" },
		{ "{\"execute\":\"echo\",\"arguments\":{\"colours\":[\"green\"]}}", "GenericError", "green" },
		{ "{\"execute\":\"echo\",\"arguments\":{\"colours\":[\"red\",\"red\",\"red\",\"red\"]}}", "GenericError", "at most 3" },
		{ "{\"execute\":\"echo\",\"arguments\":{\"inner\":{}}}", "GenericError", "'deep'" },
		{ "{\"execute\":\"echo\",\"arguments\":{\"inner\":{\"deep\":true,\"more\":0}}}", "GenericError", "'more'" },
		{ "{\"execute\":\"fail\"}", "GenericError", "'which'" },
		{ "{\"execute\":\"fail\",\"arguments\":{\"which\":0}}", "GenericError", "such thing: ?" },
		{ "{\"execute\":\"fail\",\"arguments\":{\"which\":1}}", "DeviceNotFound", "such thing" },
		{ "{\"execute\":\"fail\",\"arguments\":{\"which\":2}}", "DeviceNotActive", "such thing" },
		{ "{\"execute\":\"\\ud800\"}", "GenericError", "invalid Unicode" },
		{ "\377\n", "GenericError", "object" },
	};

	negotiated();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		say(rows[i].request);
		expect_error(rows[i].class, rows[i].part);
	}
	say("{]");
	expect_error("GenericError", "JSON parse error");
	say("{\"execute\":\"echo\"}");
	expect("{\"return\":{}}");
}
END_TEST

/* Many in one piece: one after the other, and none while one waits for its reply. */
START_TEST(in_order)
{
	struct err ok = ERR_INIT, bad = ERR_INIT;

	negotiated();
	say("{\"execute\":\"echo\",\"id\":1}{\"execute\":\"wait\",\"id\":2}\n{\"execute\":\"echo\",\"id\":3}{\"execute\":\"wait\",\"id\":4}");
	expect("{\"return\":{},\"id\":1}");
	fake_run_for(loop, 20);
	line_len = 0;
	ck_assert(!line_came(NULL) && line_len == 0 && later);
	qmp_call_done(later, json_integer(5), &ok);
	expect("{\"return\":5,\"id\":2}");
	expect("{\"return\":{},\"id\":3}");
	err_set(&bad, -EIO, "broken");
	qmp_call_done(later, NULL, &bad);
	expect_error("GenericError", "broken");
	/* Byte by byte. */
	for (const char *c = "{\"execute\":\"echo\",\"id\":\"x\"}"; *c; c++) {
		say((char[]){ *c, 0 });
		fake_run_for(loop, 0);
	}
	expect("{\"return\":{},\"id\":\"x\"}");
}
END_TEST

/* The peer goes while a command works, another comes: the reply goes nowhere. */
START_TEST(gone)
{
	struct err ok = ERR_INIT;
	struct qmp_call *old;

	negotiated();
	say("{\"execute\":\"wait\",\"id\":1}");
	while (!later)
		fake_run_for(loop, 1);
	old = later;
	close(client);
	negotiated();
	ck_assert_ptr_null(qmp_monitor_of(old));
	qmp_call_done(old, json_integer(1), &ok);
	say("{\"execute\":\"wait\"}");
	later = NULL;
	while (!later)
		fake_run_for(loop, 1);
	close(client);
	fake_run_for(loop, 10);
	client_open();
	greeted();
	/* and that one is never answered: qmp_destroy's to free */
}
END_TEST

/* A client that does not read: events are bounded, the loop goes on, what was missed is said, and the next command works. */
START_TEST(reads_nothing)
{
	char *said;
	size_t n = 0;
	char big[1001];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	negotiated();
	for (; n < 5000; n++)
		qmp_event(qmp, "TICK", json_pack("{s:s}", "data", big));
	say("{\"execute\":\"echo\",\"id\":1}");
	fake_run_for(loop, 20);
	fake_stderr_begin();
	for (;;) {
		json_t *value = hear();
		bool reply = json_object_get(value, "return");

		if (!reply) {
			ck_assert_str_eq(json_string_value(json_object_get(value, "event")), "TICK");
			ck_assert(json_is_integer(json_object_get(json_object_get(value, "timestamp"), "microseconds")));
			ck_assert_uint_gt(n, 0);
			n--;
		}
		json_decref(value);
		if (reply)
			break;
	}
	ck_assert_uint_gt(n, 1000); /* were dropped */
	said = fake_stderr_end();
	ck_assert_uint_eq(fake_count(said, "missed"), 1);
	free(said);
}
END_TEST

/* Every type that is named has its entry; commands for people are not there. */
START_TEST(schema)
{
	json_t *reply, *list, *names = json_object(), *entry, *member;
	size_t i, k;

	negotiated();
	say("{\"execute\":\"query-qmp-schema\"}");
	reply = hear();
	list = json_object_get(reply, "return");
	ck_assert_uint_gt(json_array_size(list), 10);
	json_array_foreach(list, i, entry) {
		const char *name = json_string_value(json_object_get(entry, "name"));

		ck_assert_msg(!json_object_get(names, name), "%s twice", name);
		json_object_set(names, name, entry);
	}
	json_array_foreach(list, i, entry) {
		static const char *const keys[] = { "arg-type", "ret-type", "element-type" };
		json_t *members = json_object_get(entry, "members");

		for (k = 0; k < ARRAY_SIZE(keys); k++)
			if (json_object_get(entry, keys[k]))
				ck_assert_ptr_nonnull(json_object_get(names, json_string_value(json_object_get(entry, keys[k]))));
		json_array_foreach(members, k, member)
			if (json_object_get(member, "type"))
				ck_assert_ptr_nonnull(json_object_get(names, json_string_value(json_object_get(member, "type"))));
	}
	entry = json_object_get(names, "echo");
	ck_assert_str_eq(json_string_value(json_array_get(json_object_get(entry, "features"), 0)), "loud");
	ck_assert_ptr_nonnull(json_object_get(names, "TICK"));
	ck_assert_ptr_null(json_object_get(names, "secret"));
	json_decref(reply);
	json_decref(names);
	say("{\"execute\":\"query-commands\"}");
	reply = hear();
	ck_assert_uint_eq(json_array_size(json_object_get(reply, "return")), 7);
	json_decref(reply);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { negotiation, refused, in_order, gone, reads_nothing, schema };

	return suite_run("qmp", tests, ARRAY_SIZE(tests), setup, teardown);
}
