/* SPDX-License-Identifier: MIT */
/* The back end whose other end is in the same process. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/chardev_priv.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define MUCH 1000000

static struct eventloop *loop;
static struct fake_frontend fe;
static struct err err = ERR_INIT;
static struct chardev *chr;
static char out[4096];
static size_t n_out, fed, matched;
static unsigned ready;

static void output(void *opaque, const char *id, const void *buf, size_t len)
{
	ck_assert_ptr_eq(opaque, &ready);
	ck_assert_str_eq(id, "con");
	ck_assert_uint_lt(n_out + len, sizeof(out));
	memcpy(out + n_out, buf, len);
	n_out += len;
}

static void input_ready(void *opaque, const char *id)
{
	(void)opaque;
	ck_assert_str_eq(id, "con");
	ready++;
}

static const struct chardev_callback callback = { .output = output, .input_ready = input_ready, .opaque = &ready };

static struct chardev *create(const struct chardev_callback *cb)
{
	const struct chardev_config cfg = { .id = "con", .backend = CHARDEV_CALLBACK, .callback = cb };

	return chardev_create(&cfg, NULL, loop, &err);
}

static void setup(void)
{
	loop = fake_loop();
	fe.room = SIZE_MAX / 2;
	chr = create(&callback);
	ck_assert_ptr_nonnull(chr);
	chardev_attach(chr, &fake_frontend_ops, &fe);
}

static void teardown(void)
{
	chardev_destroy(chr);
	eventloop_destroy(loop);
}

START_TEST(both_ways)
{
	ck_assert_str_eq(chardev_filename(chr), "callback");
	ck_assert(chardev_connected(chr));
	ck_assert_uint_eq(chardev_write(chr, "hello", 5), 5);
	ck_assert_int_eq(chardev_callback_input(chr, "there", 5), 5);
	fake_run_input(loop, &fe, 5);
	ck_assert_mem_eq(fe.in, "there", 5);
	fake_run_for(loop, 5);
	ck_assert_mem_eq(out, "hello", 5);
	ck_assert_uint_eq(n_out, 5);
	ck_assert_uint_eq(ready, 0);
	/* What is in the ring is written out at the end. */
	ck_assert_uint_eq(chardev_write(chr, "!", 1), 1);
	chardev_destroy(chr);
	ck_assert_uint_eq(n_out, 6);
	chr = NULL;
}
END_TEST

/* What the front end has no room for waits, up to a ring, and whoever was turned away hears when there is room. */
START_TEST(room)
{
	static uint8_t much[2 * CHARDEV_RING];

	fe.room = 10;
	fake_stream_fill(much, 0, sizeof(much));
	ck_assert_int_eq(chardev_callback_input(chr, much, sizeof(much)), CHARDEV_RING);
	ck_assert_int_eq(chardev_callback_input(chr, much, 1), 0);
	fake_run_input(loop, &fe, 10);
	fake_run_for(loop, 20);
	ck_assert_uint_eq(fe.in_len, 10);
	ck_assert_uint_eq(ready, 0);
	ck_assert_int_eq(chardev_callback_input(chr, much + CHARDEV_RING, 100), 10);
	fe.room = SIZE_MAX / 2;
	chardev_accept_input(chr);
	fake_run_input(loop, &fe, CHARDEV_RING + 10);
	fake_run_for(loop, 5);
	ck_assert_uint_eq(ready, 1);
	ck_assert(fake_stream_ok(fe.in, 0, FAKE_KEEP));
}
END_TEST

/* A front end that stops taking input by itself, as a serial port does when its machine is paused. */
START_TEST(closed)
{
	fe.room = 0;
	ck_assert_int_eq(chardev_callback_input(chr, "abc", 3), 3);
	fake_run_for(loop, 20);
	ck_assert_uint_eq(fe.in_len, 0);
	fe.room = 100;
	chardev_accept_input(chr);
	fake_run_input(loop, &fe, 3);
	ck_assert_mem_eq(fe.in, "abc", 3);
}
END_TEST

static void match(struct fake_frontend *f, const uint8_t *buf, size_t len)
{
	(void)f;
	ck_assert(fake_stream_ok(buf, matched, len));
	matched += len;
}

static void *feeder(void *arg)
{
	uint8_t piece[777];

	while (fed < MUCH) {
		size_t n = min_u64(sizeof(piece), MUCH - fed);
		ssize_t taken;

		fake_stream_fill(piece, fed, n);
		taken = chardev_callback_input(chr, piece, n);
		ck_assert_int_ge(taken, 0);
		fed += (size_t)taken;
	}
	return arg;
}

static bool all_matched(void *arg)
{
	(void)arg;
	return matched == MUCH;
}

START_TEST(another_thread)
{
	pthread_t thread;

	fe.on_receive = match;
	pthread_create(&thread, NULL, feeder, NULL);
	fake_run_until(loop, all_matched, NULL);
	pthread_join(thread, NULL);
}
END_TEST

START_TEST(mistakes)
{
	const struct chardev_config null = { .id = "n", .backend = CHARDEV_NULL };
	struct chardev *other = chardev_create(&null, NULL, loop, &err);

	ck_assert_int_eq(chardev_callback_input(other, "x", 1), -EINVAL);
	chardev_destroy(other);
	ck_assert_ptr_null(create(NULL));
	ck_assert_str_eq(err.msg, "chardev con: a callback is for programs that have Kite inside (kite.h); use stdio, file, pty, socket or null");
	/* With input that nobody took. */
	chardev_detach(chr);
	ck_assert_int_eq(chardev_callback_input(chr, "x", 1), 1);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { both_ways, room, closed, another_thread, mistakes };

	return suite_run("chardev_callback", tests, ARRAY_SIZE(tests), setup, teardown);
}
