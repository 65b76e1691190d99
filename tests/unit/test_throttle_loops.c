/* SPDX-License-Identifier: MIT */
/*
 * Throttles in real time, on real loops in threads, over disks that take no time: rates over ten seconds, all cases in the same ten; and
 * groups over several loops, whose devices come and go.
 *
 * A loop that the host does not let run admits nothing, so each loop has a ticker that adds up by how much it came late: a rate is to be held
 * in the time that is left.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blk/blockdev.h"
#include "blk/throttle.h"
#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/iothread.h"
#include "vmm/util.h"

#define LOOPS 3
#define DEPTH 16
#define SECONDS 10
#define TICK_NS (NS_PER_SEC / 50)
#define LATE_NS (NS_PER_SEC / 20) /* less is what a throttle makes up for: a tenth of a second's worth */

/* ---- a disk that takes no time ---- */

static void null_submit(struct blockdev *bd, struct blk_req *req)
{
	blockdev_complete(bd, req, 0);
}

static void null_drain(struct blockdev *bd)
{
	(void)bd;
}

static void null_close(struct blockdev *bd)
{
	free(bd);
}

static const struct blockdev_ops null_ops = { .format = "null", .submit = null_submit, .drain = null_drain, .close = null_close };

static struct blockdev *null_create(struct eventloop *loop)
{
	struct blockdev *bd = calloc(1, sizeof(*bd));

	*bd = (struct blockdev){ .ops = &null_ops, .name = strdup("null"), .loop = loop, .size = UINT64_C(1) << 30, .request_align = 512,
				 .write_zeroes = true };
	return bd;
}

/* ---- loops ---- */

static struct loop {
	struct iothread *thread;
	struct eventloop *loop;
	struct event_timer ticker;
	int64_t next, late; /* the loop's */
} loops[LOOPS];

static void tick(void *opaque)
{
	struct loop *l = opaque;
	int64_t now = now_ns();

	if (now - l->next > LATE_NS)
		l->late += now - l->next;
	l->next = now + TICK_NS;
	eventloop_arm(l->loop, &l->ticker, l->next);
}

static void tick_first(void *opaque)
{
	struct loop *l = opaque;

	l->next = now_ns();
	tick(l);
}

static void tick_stop(void *opaque)
{
	struct loop *l = opaque;

	eventloop_cancel(l->loop, &l->ticker);
}

static void setup(void)
{
	for (unsigned i = 0; i < LOOPS; i++) {
		struct err err = ERR_INIT;
		struct loop *l = &loops[i];

		*l = (struct loop){ .thread = iothread_create("test", IOTHREAD_POLL_NS, &err) };
		l->loop = iothread_loop(l->thread);
		l->ticker = (struct event_timer){ .fire = tick, .opaque = l };
		eventloop_call_sync(l->loop, tick_first, l);
	}
}

static void teardown(void)
{
	for (unsigned i = 0; i < LOOPS; i++) {
		eventloop_call_sync(loops[i].loop, tick_stop, &loops[i]);
		iothread_destroy(loops[i].thread);
	}
}

/* ---- users ---- */

struct user {
	struct loop *loop;
	struct throttle_group *group;
	struct blockdev *bd;
	const uint64_t *sizes;
	unsigned n_sizes, next;
	uint64_t ops, bytes, seen;
	bool stopped;
	struct user_req {
		struct blk_req req;
		struct user *user;
	} reqs[DEPTH];
};

static void user_submit(struct user_req *r)
{
	struct user *u = r->user;

	r->req.len = u->sizes[u->next++ % u->n_sizes];
	blockdev_submit(u->bd, &r->req);
}

static void user_done(struct blk_req *req, int result)
{
	struct user_req *r = CONTAINER_OF(req, struct user_req, req);
	struct user *u = r->user;

	if (result < 0)
		abort();
	if (u->stopped)
		return;
	u->ops++;
	u->bytes += req->len;
	user_submit(r);
}

static void user_start(void *opaque)
{
	struct user *u = opaque;
	struct err err = ERR_INIT;

	u->bd = throttle_create(null_create(u->loop->loop), u->group, &err);
	u->stopped = false;
	for (unsigned i = 0; i < DEPTH; i++) {
		u->reqs[i] = (struct user_req){ .req = { .op = BLK_WRITE_ZEROES, .done = user_done }, .user = u };
		user_submit(&u->reqs[i]);
	}
}

/* What waits is let go when it is closed, and does not count. */
static void user_stop(void *opaque)
{
	struct user *u = opaque;

	u->stopped = true;
	blockdev_close(u->bd);
}

static void user_forget(void *opaque)
{
	((struct user *)opaque)->ops = 0;
}

static void on_loop(struct user *u, void (*fn)(void *opaque))
{
	eventloop_call_sync(u->loop->loop, fn, u);
}

static void user_look(void *opaque)
{
	struct user *u = opaque;

	u->seen = u->ops;
}

static uint64_t user_ops(struct user *u)
{
	on_loop(u, user_look);
	return u->seen;
}

/* ---- tests ---- */

static const uint64_t small[] = { 4096 }, large[] = { 1 << 20 }, mixed[] = { 4096, 1 << 20 };

#define BPS (UINT64_C(16) << 20)
#define IOPS 200

static const struct {
	const char *name;
	enum throttle_kind kind;
	const uint64_t *sizes;
	unsigned n_sizes;
	unsigned users; /* on as many loops */
} cases[] = {
	{ "iops, 4 KiB", THROTTLE_IOPS_TOTAL, small, 1, 1 },
	{ "iops, 1 MiB", THROTTLE_IOPS_WRITE, large, 1, 1 },
	{ "iops, mixed", THROTTLE_IOPS_TOTAL, mixed, 2, 1 },
	{ "bps, 4 KiB", THROTTLE_BPS_TOTAL, small, 1, 1 },
	{ "bps, 1 MiB", THROTTLE_BPS_WRITE, large, 1, 1 },
	{ "bps, mixed", THROTTLE_BPS_TOTAL, mixed, 2, 1 },
	{ "a group's iops, mixed", THROTTLE_IOPS_TOTAL, mixed, 2, LOOPS },
	{ "a group's bps, mixed", THROTTLE_BPS_TOTAL, mixed, 2, LOOPS },
};

static struct user users[ARRAY_SIZE(cases)][LOOPS];

static void check_rate(size_t c, double seconds, double late)
{
	bool iops = cases[c].kind >= THROTTLE_IOPS_TOTAL;
	double limit = iops ? IOPS : BPS, have = 0;

	for (unsigned i = 0; i < cases[c].users; i++)
		have += iops ? (double)users[c][i].ops : (double)users[c][i].bytes;
	ck_assert_msg(have / seconds < limit * 1.05 && have > limit * 0.95 * (seconds - late), "%s: %.4f of the limit; %.3f of %.3f seconds lost",
		      cases[c].name, have / seconds / limit, late, seconds);
}

START_TEST(rates)
{
	struct timespec ten = { .tv_sec = SECONDS };
	struct throttle_group *groups[ARRAY_SIZE(cases)];
	int64_t start[ARRAY_SIZE(cases)], end[ARRAY_SIZE(cases)];
	double late = 0;

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		struct throttle_config cfg = { .iops_size = 0 };
		struct err err = ERR_INIT;

		cfg.limits[cases[c].kind].avg = cases[c].kind >= THROTTLE_IOPS_TOTAL ? IOPS : BPS;
		groups[c] = throttle_group_create(&cfg, &err);
		start[c] = now_ns();
		for (unsigned i = 0; i < cases[c].users; i++) {
			users[c][i] = (struct user){ .loop = &loops[(c + i) % LOOPS], .group = groups[c], .sizes = cases[c].sizes,
						     .n_sizes = cases[c].n_sizes };
			on_loop(&users[c][i], user_start);
		}
	}
	while (nanosleep(&ten, &ten) < 0)
		;
	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		for (unsigned i = 0; i < cases[c].users; i++)
			on_loop(&users[c][i], user_stop);
		end[c] = now_ns();
		throttle_group_unref(groups[c]);
	}
	for (unsigned i = 0; i < LOOPS; i++)
		late += (double)loops[i].late / NS_PER_SEC;
	for (size_t c = 0; c < ARRAY_SIZE(cases); c++)
		check_rate(c, (double)(end[c] - start[c]) / NS_PER_SEC, late);
}
END_TEST

/* Devices of a group on three loops come, go, and get other limits, while all have requests waiting: nobody is left behind. */
START_TEST(coming_and_going)
{
	struct throttle_config cfg = { .limits[THROTTLE_IOPS_TOTAL] = { .avg = 20000 } };
	struct timespec moment = { .tv_nsec = 2000000 };
	struct err err = ERR_INIT;
	struct throttle_group *group = throttle_group_create(&cfg, &err);
	struct user *u = users[0];

	for (unsigned i = 0; i < LOOPS; i++) {
		u[i] = (struct user){ .loop = &loops[i], .group = group, .sizes = small, .n_sizes = 1 };
		on_loop(&u[i], user_start);
	}
	for (unsigned round = 0; round < 150; round++) {
		struct user *who = &u[round % LOOPS];

		nanosleep(&moment, NULL);
		on_loop(who, user_stop);
		cfg.limits[THROTTLE_IOPS_TOTAL].avg = 10000 + round * 100;
		ck_assert_int_eq(throttle_group_set(group, &cfg, &err), 0);
		on_loop(who, user_start);
	}
	for (unsigned i = 0; i < LOOPS; i++)
		on_loop(&u[i], user_forget);
	/* A busy machine may take its time, but not for ever. */
	for (unsigned i = 0; i < LOOPS; i++) {
		for (unsigned try = 0; try < 10000 && user_ops(&u[i]) == 0; try++)
			nanosleep(&moment, NULL);
		on_loop(&u[i], user_stop);
		ck_assert_uint_gt(u[i].ops, 0);
	}
	throttle_group_unref(group);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { rates, coming_and_going };

	return suite_run("throttle_loops", tests, ARRAY_SIZE(tests), setup, teardown);
}
