/* SPDX-License-Identifier: MIT */
/* Time is the test's own: the clock moves to the next armed timer. */
#include "blk/throttle.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_disk.h"
#include "tests/unit/fake_frontend.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define TIMERS 16

static bool faking;
static int64_t clock_ns = NS_PER_SEC;
static struct event_timer *armed[TIMERS];
static unsigned n_fired;

int64_t __real_now_ns(void);
int64_t __wrap_now_ns(void);
int64_t __wrap_now_ns(void)
{
	return faking ? clock_ns : __real_now_ns();
}

static void forget(struct event_timer *timer)
{
	for (int i = 0; i < TIMERS; i++)
		if (armed[i] == timer)
			armed[i] = NULL;
}

void __real_eventloop_cancel(struct eventloop *l, struct event_timer *timer);
void __wrap_eventloop_cancel(struct eventloop *l, struct event_timer *timer);
void __wrap_eventloop_cancel(struct eventloop *l, struct event_timer *timer)
{
	if (!faking)
		__real_eventloop_cancel(l, timer);
	forget(timer);
}

void __real_eventloop_arm(struct eventloop *l, struct event_timer *timer, int64_t deadline);
void __wrap_eventloop_arm(struct eventloop *l, struct event_timer *timer, int64_t deadline);
void __wrap_eventloop_arm(struct eventloop *l, struct event_timer *timer, int64_t deadline)
{
	if (!faking) {
		__real_eventloop_arm(l, timer, deadline);
		return;
	}
	forget(timer);
	timer->deadline_ns = deadline;
	for (int i = 0; i < TIMERS; i++) {
		if (!armed[i]) {
			armed[i] = timer;
			return;
		}
	}
	ck_abort_msg("too many timers");
}

/* To the next timer, or to `end`. */
static bool clock_step(int64_t end)
{
	struct event_timer *next = NULL;

	for (int i = 0; i < TIMERS; i++)
		if (armed[i] && (!next || armed[i]->deadline_ns < next->deadline_ns))
			next = armed[i];
	if (!next || next->deadline_ns > end) {
		clock_ns = end;
		return false;
	}
	clock_ns = max_u64((uint64_t)clock_ns, (uint64_t)next->deadline_ns);
	forget(next);
	n_fired++;
	next->fire(next->opaque);
	return true;
}

static struct eventloop *loop;
static struct fake_disk disks[3];
static struct blockdev *bd[3];
static struct throttle_group *group;
static uint8_t *buf;

static void make(const struct throttle_config *cfg, unsigned n)
{
	struct err err = ERR_INIT;

	loop = fake_loop();
	faking = true;
	buf = calloc(1, FAKE_DISK_SIZE);
	group = throttle_group_create(cfg, &err);
	ck_assert_msg(group != NULL, "%s", err.msg);
	for (unsigned i = 0; i < n; i++) {
		fake_disk_init(&disks[i], loop);
		disks[i].bd.size = 1 << 30;
		disks[i].hold = true;
		bd[i] = throttle_create(&disks[i].bd, group, &err);
	}
}

static void finish(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		blockdev_close(bd[i]);
	for (int i = 0; i < TIMERS; i++)
		ck_assert_ptr_null(armed[i]);
	throttle_group_unref(group);
	eventloop_destroy(loop);
	free(buf);
}

/* A user that keeps `DEPTH` requests going, of sizes in turn. Zero-fill, as that needs no buffers; reads of none. */
#define DEPTH 32

struct load {
	unsigned dev;
	const uint64_t *sizes;
	unsigned n_sizes, next;
	uint64_t ops, bytes;
	bool stopped, mixed_ops;
	uint64_t reads;
	struct load_req {
		struct blk_req req;
		struct load *load;
	} reqs[DEPTH];
};

static void load_submit(struct load_req *r)
{
	static struct iovec sector;

	sector = (struct iovec){ buf, 512 };
	if (r->load->mixed_ops) {
		r->req.op = (r - r->load->reqs) & 1 ? BLK_READ : BLK_WRITE_ZEROES;
		r->req.iov = &sector;
		r->req.n = 1;
	}
	r->req.len = r->load->sizes[r->load->next++ % r->load->n_sizes];
	blockdev_submit(bd[r->load->dev], &r->req);
}

static void load_done(struct blk_req *req, int result)
{
	struct load_req *r = CONTAINER_OF(req, struct load_req, req);

	if (r->load->stopped)
		return;
	ck_assert_int_eq(result, 0);
	r->load->ops++;
	r->load->reads += req->op == BLK_READ;
	r->load->bytes += req->len;
	load_submit(r);
}

static void load_start(struct load *l)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		l->reqs[i] = (struct load_req){ .req = { .op = BLK_WRITE_ZEROES, .done = load_done }, .load = l };
		load_submit(&l->reqs[i]);
	}
}

/* What still waits ends, without touching the disk, when it is closed. */
static void load_stop(struct load *l)
{
	l->stopped = true;
	disks[l->dev].error = -EIO;
}

/* What was admitted ends at once: the disk is infinitely fast. */
static void disks_serve(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		while (disks[i].held) {
			struct blk_req *req = disks[i].held;

			disks[i].held = req->next;
			if (!disks[i].held)
				disks[i].held_end = &disks[i].held;
			disks[i].n_held--;
			blockdev_complete(&disks[i].bd, req, 0);
		}
	}
}

static void run_seconds(unsigned n, int64_t s)
{
	int64_t end = clock_ns + s * NS_PER_SEC;

	do
		disks_serve(n);
	while (clock_step(end));
	disks_serve(n);
}

static void near(uint64_t have, double want)
{
	ck_assert_msg((double)have > want * 0.95 && (double)have < want * 1.05, "%llu instead of %.0f", (unsigned long long)have, want);
}

static const uint64_t mixed[] = { 4096, 1 << 20, 4096, 4096, 4096, 1 << 20 };

static const struct {
	struct throttle_config cfg;
	const uint64_t *sizes;
	unsigned n;
	double ops, bytes; /* a second; 0: whatever */
} rates[] = {
	{ { .limits[THROTTLE_IOPS_TOTAL] = { .avg = 100 } }, mixed, 1, 100, 0 },
	{ { .limits[THROTTLE_IOPS_WRITE] = { .avg = 5000 } }, mixed, 1, 5000, 0 },
	{ { .limits[THROTTLE_BPS_TOTAL] = { .avg = 50 << 20 } }, mixed, 6, 0, 50 << 20 },
	{ { .limits[THROTTLE_BPS_WRITE] = { .avg = 4 << 20 } }, mixed, 6, 0, 4 << 20 },
	{ { .limits[THROTTLE_BPS_WRITE] = { .avg = 10 << 20 }, .limits[THROTTLE_IOPS_WRITE] = { .avg = 200 } }, mixed, 1, 200, 0 },
	{ { .limits[THROTTLE_IOPS_TOTAL] = { .avg = 1000 }, .iops_size = 8192 }, mixed + 1, 1, 1000.0 / 128, 0 },
	/* 10 times as much for 2 of the 10 seconds: then the bucket is full of what was ahead. */
	{ { .limits[THROTTLE_IOPS_TOTAL] = { .avg = 100, .max = 1000, .max_length = 2 } }, mixed, 1, 300, 0 },
};

START_TEST(rate)
{
	static struct load l;

	make(&rates[_i].cfg, 1);
	l = (struct load){ .sizes = rates[_i].sizes, .n_sizes = rates[_i].n };
	load_start(&l);
	run_seconds(1, 10);
	if (rates[_i].ops > 0)
		near(l.ops, rates[_i].ops * 10);
	if (rates[_i].bytes > 0)
		near(l.bytes, rates[_i].bytes * 10);
	/* Nobody wakes up for nothing. */
	ck_assert_uint_le(n_fired, l.ops + 10);
	load_stop(&l);
	finish(1);
}
END_TEST

START_TEST(groups)
{
	static const struct throttle_config cfg = { .limits[THROTTLE_BPS_TOTAL] = { .avg = 30 << 20 } };
	static const uint64_t small[] = { 65536 };
	static struct load l[3];

	make(&cfg, 3);
	for (unsigned i = 0; i < 3; i++) {
		l[i] = (struct load){ .dev = i, .sizes = small, .n_sizes = 1 };
		load_start(&l[i]);
	}
	run_seconds(3, 10);
	near(l[0].bytes + l[1].bytes + l[2].bytes, 300 << 20);
	for (unsigned i = 0; i < 3; i++)
		near(l[i].bytes, 100 << 20); /* a fair share each */
	for (unsigned i = 0; i < 3; i++)
		load_stop(&l[i]);
	finish(3);
}
END_TEST

/* Where a total holds up both directions, they share it.  */
START_TEST(reads_and_writes)
{
	static const struct throttle_config cfg = { .limits[THROTTLE_IOPS_TOTAL] = { .avg = 100 } };
	static const uint64_t sector[] = { 512 };
	static struct load l;

	make(&cfg, 1);
	l = (struct load){ .sizes = sector, .n_sizes = 1, .mixed_ops = true };
	load_start(&l);
	run_seconds(1, 10);
	near(l.ops, 1000);
	ck_assert_msg(l.reads > 450 && l.reads < 550, "%llu reads of %llu", (unsigned long long)l.reads, (unsigned long long)l.ops);
	ck_assert_uint_le(n_fired, 2 * l.ops + 10);
	load_stop(&l);
	finish(1);
}
END_TEST

/* Reads go on while writes wait; flushes do not count; a drain lets all go; then it is idle. */
START_TEST(directions_and_drain)
{
	static const struct throttle_config cfg = { .limits[THROTTLE_IOPS_WRITE] = { .avg = 10 } };
	struct fake_req w[20], r, f;

	make(&cfg, 1);
	for (unsigned i = 0; i < 20; i++)
		fake_req_start(bd[0], &w[i], BLK_WRITE, buf, 512, i * 512);
	ck_assert_uint_eq(disks[0].n_held, 2); /* one, and one within a tenth of a second's worth */
	fake_req_start(bd[0], &r, BLK_READ, buf, 512, 0);
	fake_req_start(bd[0], &f, BLK_FLUSH, NULL, 0, 0);
	ck_assert_uint_eq(disks[0].n_held, 4);
	clock_step(clock_ns + NS_PER_SEC);
	ck_assert_uint_eq(disks[0].n_held, 5);
	blockdev_drain(bd[0]);
	ck_assert_uint_eq(bd[0]->in_flight, 0);
	for (unsigned i = 0; i < 20; i++)
		ck_assert(w[i].times == 1 && w[i].result == 0);
	ck_assert(!clock_step(clock_ns + 1000 * NS_PER_SEC));
	finish(1);
}
END_TEST

START_TEST(closed_while_waiting)
{
	static const struct throttle_config cfg = { .limits[THROTTLE_IOPS_TOTAL] = { .avg = 1 } };
	struct fake_req w[2][4];

	make(&cfg, 2);
	for (unsigned i = 0; i < 8; i++)
		fake_req_start(bd[i & 1], &w[i & 1][i / 2], BLK_WRITE, buf, 512, 0);
	blockdev_close(bd[0]);
	ck_assert(disks[0].closed && w[0][3].times == 1);
	/* The other one goes on. */
	run_seconds(2, 20);
	ck_assert_uint_eq(w[1][3].times, 1);
	bd[0] = NULL;
	finish(2);
}
END_TEST

START_TEST(bad_configurations)
{
	static const struct {
		struct throttle_config cfg;
		const char *text;
	} bad[] = {
		{ { .limits[THROTTLE_BPS_READ] = { .max = 1 } }, "bps-read-max needs bps-read" },
		{ { .limits[THROTTLE_IOPS_TOTAL] = { .avg = 10, .max = 5 } }, "iops-total-max" },
		{ { .limits[THROTTLE_IOPS_TOTAL] = { .avg = 10, .max_length = 5 } }, "iops-total-max-length" },
		{ { .limits[THROTTLE_IOPS_TOTAL] = { .avg = 1 }, .limits[THROTTLE_IOPS_READ] = { .avg = 1 } }, "iops-total excludes" },
		{ { .limits[THROTTLE_BPS_TOTAL] = { .avg = 1 }, .limits[THROTTLE_BPS_WRITE] = { .avg = 1 } }, "bps-total excludes" },
		{ { .limits[THROTTLE_BPS_TOTAL] = { .avg = UINT64_MAX } }, "at most" },
		{ { .iops_size = 4096 }, "iops-size" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = ERR_INIT;

		ck_assert_ptr_null(throttle_group_create(&bad[i].cfg, &err));
		ck_assert_msg(strstr(err.msg, bad[i].text) != NULL, "%s", err.msg);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("throttle");
	TCase *tc = tcase_create("throttle");
	SRunner *sr = srunner_create(s);
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_loop_test(tc, rate, 0, ARRAY_SIZE(rates));
	tcase_add_test(tc, groups);
	tcase_add_test(tc, reads_and_writes);
	tcase_add_test(tc, directions_and_drain);
	tcase_add_test(tc, closed_while_waiting);
	tcase_add_test(tc, bad_configurations);
	tcase_set_timeout(tc, 30);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
