/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_frontend.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/util.h"

static size_t can_receive(void *opaque)
{
	struct fake_frontend *fe = opaque;

	return fe->room;
}

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
	struct fake_frontend *fe = opaque;

	ck_assert_uint_ge(fe->room, len);
	ck_assert_uint_gt(len, 0);
	fe->room -= len;
	if (fe->on_receive)
		fe->on_receive(fe, buf, len);
	else if (fe->in_len < FAKE_KEEP)
		memcpy(fe->in + fe->in_len, buf, min_u64(len, FAKE_KEEP - fe->in_len));
	fe->in_len += len;
}

static void writable(void *opaque)
{
	struct fake_frontend *fe = opaque;

	fe->writables++;
	if (fe->on_writable)
		fe->on_writable(fe);
}

static void event(void *opaque, enum chardev_event what)
{
	struct fake_frontend *fe = opaque;

	fe->opened += what == CHARDEV_OPENED;
	fe->closed += what == CHARDEV_CLOSED;
	fe->breaks += what == CHARDEV_BREAK;
}

const struct chardev_frontend fake_frontend_ops = {
	.can_receive = can_receive,
	.receive = receive,
	.writable = writable,
	.event = event,
};

/* After the end a few turns more, for what had become ready by then: on a busy machine that may be all the turns there are. */
#define LAST_TURNS 8
#define PATIENCE_S 60

struct watch {
	struct eventloop *loop;
	struct event_timer timer;
	struct event_work last;
	unsigned turns;
	bool (*done)(void *arg);
	void *arg;
	int64_t deadline;
	bool expired;
};

static void watch_last(void *opaque)
{
	struct watch *w = opaque;

	if (++w->turns == LAST_TURNS)
		eventloop_stop(w->loop);
	else
		eventloop_post(w->loop, &w->last);
}

static void watch_fire(void *opaque)
{
	struct watch *w = opaque;

	w->expired = now_ns() >= w->deadline;
	if (w->expired || (w->done && w->done(w->arg)))
		eventloop_post(w->loop, &w->last);
	else
		eventloop_arm(w->loop, &w->timer, w->done ? now_ns() + 500000 : w->deadline);
}

static void watch_start(struct watch *w, int64_t first_ns)
{
	w->timer = (struct event_timer){ .fire = watch_fire, .opaque = w };
	w->last = (struct event_work){ .run = watch_last, .opaque = w };
	eventloop_arm(w->loop, &w->timer, first_ns);
	ck_assert_int_eq(eventloop_run(w->loop), 0);
}

void fake_run_until(struct eventloop *loop, bool (*done)(void *arg), void *arg)
{
	struct watch w = { .loop = loop, .done = done, .arg = arg, .deadline = now_ns() + PATIENCE_S * NS_PER_SEC };

	watch_start(&w, 0);
	ck_assert_msg(!w.expired, "nothing happened for %d seconds", PATIENCE_S);
}

int64_t fake_run_for(struct eventloop *loop, int ms)
{
	struct watch w = { .loop = loop, .deadline = now_ns() + (int64_t)ms * 1000000 };
	struct timespec a, b;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	watch_start(&w, w.deadline);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	return (b.tv_sec - a.tv_sec) * NS_PER_SEC + b.tv_nsec - a.tv_nsec;
}

void fake_run_idle(struct eventloop *loop, int ms)
{
	int64_t limit = (int64_t)ms * 1000000 / 3, used = INT64_MAX;

	for (unsigned try = 0; try < 10 && used >= limit; try++)
		used = fake_run_for(loop, ms);
	ck_assert_msg(used < limit, "an idle loop used %jd us of the processor in %d ms", (intmax_t)used / 1000, ms);
}

struct input_goal {
	struct fake_frontend *fe;
	size_t len;
};

static bool input_reached(void *arg)
{
	struct input_goal *goal = arg;

	return goal->fe->in_len >= goal->len;
}

void fake_run_input(struct eventloop *loop, struct fake_frontend *fe, size_t len)
{
	struct input_goal goal = { fe, len };

	fake_run_until(loop, input_reached, &goal);
}

struct eventloop *fake_loop(void)
{
	struct err err = ERR_INIT;
	struct eventloop *loop = eventloop_create(&err);

	ck_assert_msg(loop != NULL, "%s", err.msg);
	return loop;
}

static int stderr_saved = -1, stderr_file = -1;

void fake_stderr_begin(void)
{
	fflush(stderr);
	stderr_saved = dup(STDERR_FILENO);
	stderr_file = memfd_create("stderr", 0);
	ck_assert_int_ge(stderr_file, 0);
	dup2(stderr_file, STDERR_FILENO);
}

char *fake_stderr_end(void)
{
	char *text = calloc(1, 65536);
	ssize_t n;

	fflush(stderr);
	dup2(stderr_saved, STDERR_FILENO);
	n = pread(stderr_file, text, 65535, 0);
	ck_assert_int_ge(n, 0);
	fd_close(&stderr_saved);
	fd_close(&stderr_file);
	return text;
}

unsigned fake_count(const char *text, const char *what)
{
	unsigned n = 0;

	while ((text = strstr(text, what))) {
		n++;
		text += strlen(what);
	}
	return n;
}

void fake_stream_fill(uint8_t *buf, size_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = fake_stream(at + i);
}

bool fake_stream_ok(const uint8_t *buf, size_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (buf[i] != fake_stream(at + i))
			return false;
	return true;
}
