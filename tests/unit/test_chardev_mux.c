/* SPDX-License-Identifier: MIT */
/* The Ctrl-a escapes, over pipes in the place of standard input and output. */
#include "vmm/chardev.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/chardev_priv.h"
#include "vmm/err.h"
#include "vmm/util.h"

static struct eventloop *loop;
static struct fake_frontend fe;
static struct chardev *chr;
static int in[2], out[2];
static unsigned quits, powerdowns, resumes;
static char said[8192];

static void on_quit(void *opaque)
{
	(void)opaque;
	quits++;
}

static void on_powerdown(void *opaque)
{
	(void)opaque;
	powerdowns++;
}

static void on_resume(void *opaque)
{
	(void)opaque;
	resumes++;
}

static void setup(void)
{
	const struct chardev_host host = { .quit = on_quit, .powerdown = on_powerdown, .resume = on_resume };
	struct chardev_config cfg = { .id = "serial0", .backend = CHARDEV_STDIO, .mux = true };
	struct chardev_setup s = { .cfg = &cfg, .host = &host };
	struct err err = ERR_INIT;

	s.loop = loop = fake_loop();
	fe.room = SIZE_MAX / 2;
	ck_assert_int_eq(pipe(in), 0);
	ck_assert_int_eq(pipe(out), 0);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	s.in = in[0];
	s.out = out[1];
	chr = chardev_create_from(&s, &err);
	ck_assert_msg(chr != NULL, "%s", err.msg);
	chardev_attach(chr, &fake_frontend_ops, &fe);
}

static unsigned focused;

static void on_focus(void *opaque)
{
	(void)opaque;
	focused++;
}

static void teardown(void)
{
	chardev_destroy(chr);
	eventloop_destroy(loop);
}

/* Types it, and notes in `said` what comes out. */
static void type(const char *text, size_t len)
{
	ssize_t n;

	ck_assert_int_eq(write(in[1], text, len), (ssize_t)len);
	fake_run_for(loop, 5);
	n = read(out[0], said, sizeof(said) - 1);
	said[n > 0 ? n : 0] = 0;
}

static void expect_input(const char *text, size_t len)
{
	ck_assert_uint_eq(fe.in_len, len);
	ck_assert_mem_eq(fe.in, text, len);
}

START_TEST(quit)
{
	type("ab\1xcd", 6);
	ck_assert_uint_eq(quits, 1);
	expect_input("abcd", 4);
	ck_assert_ptr_nonnull(strstr(said, "kite: terminated"));
}
END_TEST

START_TEST(powerdown_and_break)
{
	type("\1p\1b\1b\1r", 8);
	ck_assert_uint_eq(resumes, 1);
	ck_assert_uint_eq(powerdowns, 1);
	ck_assert_uint_eq(fe.breaks, 2);
	ck_assert_uint_eq(fe.in_len, 0);
}
END_TEST

START_TEST(split_across_reads)
{
	type("a\1", 2);
	expect_input("a", 1);
	type("p", 1);
	ck_assert_uint_eq(powerdowns, 1);
	type("\1", 1);
	type("\1", 1);
	type("p", 1);
	ck_assert_uint_eq(powerdowns, 1);
	expect_input("a\1p", 3);
}
END_TEST

START_TEST(escape_itself_and_unknown)
{
	type("x\1\1y\1qz\1\1\1p", 11);
	expect_input("x\1yz\1", 5);
	ck_assert_uint_eq(powerdowns, 1);
	ck_assert_uint_eq(quits, 0);
}
END_TEST

START_TEST(help)
{
	static const char *const keys[] = { "Ctrl-a h ", "Ctrl-a x ", "Ctrl-a p ", "Ctrl-a b ", "Ctrl-a t ", "Ctrl-a Ctrl-a " };

	for (int i = 0; i < 2; i++) {
		type(i ? "\1?" : "\1h", 2);
		for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
			ck_assert_msg(strstr(said, keys[k]) != NULL, "%s in: %s", keys[k], said);
	}
	ck_assert_uint_eq(fe.in_len, 0);
}
END_TEST

START_TEST(escapes_work_while_the_guest_hangs)
{
	fe.room = 0;
	type("hello\1p\1x", 9);
	ck_assert_uint_eq(powerdowns, 1);
	ck_assert_uint_eq(quits, 1);
	ck_assert_uint_eq(fe.in_len, 0);
	fe.room = 3;
	chardev_accept_input(chr);
	fake_run_input(loop, &fe, 3);
	fe.room = 100;
	chardev_accept_input(chr);
	fake_run_input(loop, &fe, 5);
	expect_input("hello", 5);
	/* Nor is a front end needed. */
	chardev_detach(chr);
	type("z\1p", 3);
	ck_assert_uint_eq(powerdowns, 2);
	chardev_attach(chr, &fake_frontend_ops, &fe);
	expect_input("helloz", 6);
}
END_TEST

static size_t available_bytes(int fd)
{
	int n = 0;

	ck_assert_int_eq(ioctl(fd, FIONREAD, &n), 0);
	return (size_t)n;
}

/* More than is held back waits in the pipe, and comes in order. */
START_TEST(a_long_paste)
{
	static uint8_t text[20000];
	static uint8_t want[20000];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = want[i] = (uint8_t)('a' + i % 23);
	fe.room = 0;
	type((char *)text, sizeof(text));
	fake_run_idle(loop, 100);
	ck_assert_uint_gt(available_bytes(in[0]), sizeof(text) - 2048);
	while (fe.in_len < sizeof(text)) {
		fe.room = 7 + fe.in_len % 100;
		chardev_accept_input(chr);
		fake_run_for(loop, 1);
	}
	ck_assert_mem_eq(fe.in, want, sizeof(want));
}
END_TEST

static void say(const char *text)
{
	ck_assert_uint_eq(chardev_write(chr, text, strlen(text)), strlen(text));
}

START_TEST(time_stamps)
{
	unsigned h, m, s, ms;
	char rest[64];

	say("half a ");
	type("\1t", 2);
	say("line\nab");
	say("c\n\nlast\n");
	type("", 0);
	ck_assert_str_ne(said, "");
	ck_assert_int_eq(sscanf(said, "line\n[%u:%u:%u.%u] %63s", &h, &m, &s, &ms, rest), 5);
	ck_assert_uint_eq(h + m, 0);
	ck_assert_str_eq(rest, "abc");
	ck_assert_uint_eq(fake_count(said, "] "), 3);
	ck_assert_uint_eq(fake_count(said, "] abc\n["), 1);
	ck_assert_uint_eq(fake_count(said, "] \n["), 1);
	ck_assert_uint_eq(fake_count(said, "] last\n"), 1);
	type("\1t", 2);
	say("plain\n");
	type("", 0);
	ck_assert_str_eq(said, "plain\n");
}
END_TEST

/* The ring fills up in the middle of lines: no byte of the guest's is lost or doubled. */
START_TEST(time_stamps_with_a_full_ring)
{
	static char all[1 << 20];
	size_t n_all = 0, guest = 0, seen = 0;
	char line[8];

	type("\1t", 2);
	for (unsigned i = 0; i < 20000;) {
		size_t n;
		ssize_t got;

		snprintf(line, sizeof(line), "%05u\n", i);
		n = chardev_write(chr, line + guest, 6 - guest);
		guest += n;
		if (guest == 6) {
			guest = 0;
			i++;
			continue;
		}
		fake_run_for(loop, 2);
		got = read(out[0], all + n_all, sizeof(all) - n_all);
		n_all += got > 0 ? (size_t)got : 0;
	}
	for (int i = 0; i < 20; i++) {
		ssize_t got;

		fake_run_for(loop, 2);
		got = read(out[0], all + n_all, sizeof(all) - n_all);
		n_all += got > 0 ? (size_t)got : 0;
	}
	for (char *l = all; l < all + n_all; l = strchr(l, '\n') + 1) {
		char *text = *l == '[' ? strstr(l, "] ") + 2 : l;

		snprintf(line, sizeof(line), "%05zu\n", seen++);
		ck_assert_mem_eq(text, line, 6);
		ck_assert(seen == 1 || *l == '[');
	}
	ck_assert_uint_eq(seen, 20000);
}
END_TEST

/* Two front ends: both write, the input is for one of them. */
START_TEST(two_front_ends)
{
	static struct fake_frontend second = { .room = SIZE_MAX / 2 };
	struct chardev_frontend ops = fake_frontend_ops;
	unsigned opened = fe.opened;

	ops.focus = on_focus;
	chardev_attach(chr, &ops, &second);
	ck_assert_uint_eq(second.opened, 0);
	type("a\1cb", 4);
	ck_assert_uint_eq(focused, 1);
	expect_input("a", 1);
	ck_assert_uint_eq(second.in_len, 1);
	ck_assert_int_eq(second.in[0], 'b');
	type("\1cc", 3);
	expect_input("ac", 2);
	ck_assert_uint_eq(focused, 1);
	ck_assert_uint_eq(fe.opened, opened);
	type("\1c", 2);
	chardev_leave(chr, &second);
	type("d", 1);
	expect_input("acd", 3);
	type("\1ce", 3);
	expect_input("acde", 4);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		quit, powerdown_and_break, split_across_reads, escape_itself_and_unknown, help, escapes_work_while_the_guest_hangs,
		a_long_paste, time_stamps, time_stamps_with_a_full_ring,
		two_front_ends,
	};

	return suite_run("chardev_mux", tests, ARRAY_SIZE(tests), setup, teardown);
}
