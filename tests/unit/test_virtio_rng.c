/* SPDX-License-Identifier: MIT */
/* The entropy device behind a driver that the tests play. Time and the host's source of random numbers are the tests'. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "hw/devices.h"
#include "tests/unit/fake_virtio.h"
#include "vmm/err.h"
#include "vmm/util.h"

static int64_t fake_now;
static struct {
	size_t most; /* of one call; 0: SIZE_MAX */
	int fail;    /* errno of the next calls */
	int interrupts; /* EINTR so often first */
	size_t given, calls;
} source;

static int64_t fake_now_ns(void)
{
	return fake_now;
}

static ssize_t fake_getrandom(void *buf, size_t len, unsigned flags)
{
	ck_assert_uint_eq(flags, GRND_NONBLOCK);
	source.calls++;
	if (source.interrupts || source.fail) {
		errno = source.interrupts ? EINTR : source.fail;
		source.interrupts -= source.interrupts > 0;
		return -1;
	}
	len = min_u64(len, source.most ? source.most : SIZE_MAX);
	memset(buf, 0xa5, len);
	source.given += len;
	return (ssize_t)len;
}

/* Timers are the test's too: at most one is armed. */
static struct event_timer *armed;

static void fake_arm(struct eventloop *loop, struct event_timer *timer, int64_t deadline_ns)
{
	(void)loop;
	ck_assert(!armed || armed == timer);
	armed = timer;
	timer->deadline_ns = deadline_ns;
}

static void fake_cancel(struct eventloop *loop, struct event_timer *timer)
{
	(void)loop;
	if (armed == timer)
		armed = NULL;
}

#define now_ns fake_now_ns
#define getrandom fake_getrandom
#define eventloop_arm fake_arm
#define eventloop_cancel fake_cancel
#include "hw/virtio_rng.c"
#undef now_ns

#define MS INT64_C(1000000)

static struct fake_virtio f;
static struct virtio_dev *dev;

static void create(const char *filename, uint64_t max_bytes, uint32_t period_ms)
{
	struct err err = ERR_INIT;
	struct device_env env = { .loop = f.loop, .mem = f.mem };
	struct virtio_rng_config cfg = { .name = "virtio-rng0", .filename = filename, .max_bytes = max_bytes, .period_ms = period_ms };

	dev = virtio_rng_create(&env, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
	fake_virtio_attach(&f, dev);
	ck_assert_uint_eq(fake_virtio_start(&f, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC) & VIRTIO_STATUS_NEEDS_RESET, 0);
	fake_virtio_turn(&f);
}

static void setup(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	fake_now = 1000 * MS;
	memset(&source, 0, sizeof(source));
	armed = NULL;
	fake_virtio_init(&f);
}

static void teardown(void)
{
	fake_virtio_reset(&f);
	ck_assert_ptr_null(armed);
	dev->ops->destroy(dev);
	fake_virtio_fini(&f);
}

static void ask(uint32_t len)
{
	fake_ring_add(&f.ring[0], &(struct fake_buf){ 0x400000, len, true }, 1);
	fake_virtio_kick(&f, 0);
}

/* The length of the next answer; -1: there is none. */
static int64_t answer(void)
{
	uint32_t head, len;

	return fake_ring_used(&f.ring[0], &head, &len) ? (int64_t)len : -1;
}

/* Time passes, and the timer fires if it is due. */
static void pass(int64_t ns)
{
	struct event_timer *timer = armed;

	fake_now += ns;
	if (!timer || timer->deadline_ns > fake_now)
		return;
	armed = NULL;
	timer->fire(timer->opaque);
}

START_TEST(answers)
{
	create(NULL, UINT64_MAX, 65536);
	ask(100);
	ck_assert_int_eq(answer(), 100);
	ck_assert_uint_eq(*(uint8_t *)fake_mem(&f, 0x400000 + 99, 1), 0xa5);
	ck_assert_uint_eq(*(uint8_t *)fake_mem(&f, 0x400000 + 100, 1), 0);
	ck_assert_uint_eq(atomic_load(&f.queue_interrupts[0]), 1);
	source.interrupts = 3;
	source.most = 33; /* as large reads may be cut short */
	ask(100);
	ck_assert_int_eq(answer(), 33);
	ck_assert_ptr_null(armed);
}
END_TEST

START_TEST(scattered)
{
	struct fake_buf bufs[] = { { 0x1000, 16, false }, { 0x400000, 10, true }, { 0x410000, 0, true }, { 0x420000, 20, true } };

	create(NULL, UINT64_MAX, 65536);
	fake_ring_add_indirect(&f.ring[0], &f, bufs, ARRAY_SIZE(bufs));
	fake_virtio_kick(&f, 0);
	ck_assert_int_eq(answer(), 30);
	ck_assert_uint_eq(*(uint8_t *)fake_mem(&f, 0x400000 + 9, 1), 0xa5);
	ck_assert_uint_eq(*(uint8_t *)fake_mem(&f, 0x400000 + 10, 1), 0);
	ck_assert_uint_eq(*(uint8_t *)fake_mem(&f, 0x420000 + 19, 1), 0xa5);
	ck_assert_uint_eq(*(uint8_t *)fake_mem(&f, 0x1000, 1), 0);
}
END_TEST

/* hostile-inputs 3: nothing is as large as the guest says. */
START_TEST(huge_requests)
{
	struct fake_buf bufs[8];

	create(NULL, UINT64_MAX, 65536);
	ask(FAKE_LOW_SIZE - 0x400000);
	ck_assert_int_eq(answer(), RNG_PIECE);
	ck_assert_uint_eq(*(uint8_t *)fake_mem(&f, 0x400000 + RNG_PIECE, 1), 0);
	for (unsigned i = 0; i < 8; i++)
		bufs[i] = (struct fake_buf){ FAKE_HIGH, FAKE_HIGH_SIZE, true };
	fake_ring_add_indirect(&f.ring[0], &f, bufs, 8);
	fake_virtio_kick(&f, 0);
	ck_assert_int_eq(answer(), RNG_PIECE);
	/* Eight at once: a turn each. */
	for (unsigned i = 0; i < 8; i++)
		fake_ring_add(&f.ring[0], &(struct fake_buf){ FAKE_HIGH, FAKE_HIGH_SIZE, true }, 1);
	source.given = 0;
	rng_kick(dev, 0);
	ck_assert_uint_eq(source.given, RNG_PIECE);
	ck_assert(fake_virtio_wait(&f, 0, 8, 20000));
	ck_assert_uint_eq(source.given, 8 * RNG_PIECE);
	/* 4 GiB, which memory does not have */
	ask(UINT32_MAX);
	ck_assert(virtio_get_status(dev) & VIRTIO_STATUS_NEEDS_RESET);
}
END_TEST

START_TEST(no_room)
{
	create(NULL, UINT64_MAX, 65536);
	ask(0);
	ck_assert_int_eq(answer(), 0);
	fake_ring_add(&f.ring[0], &(struct fake_buf){ 0x1000, 100, false }, 1);
	fake_virtio_kick(&f, 0);
	ck_assert_int_eq(answer(), 0);
	ck_assert_uint_eq(source.calls, 0);
	ck_assert(!(virtio_get_status(dev) & VIRTIO_STATUS_NEEDS_RESET));
}
END_TEST

START_TEST(rate_limit)
{
	create(NULL, 100, 1000);
	ask(60);
	ck_assert_int_eq(answer(), 60);
	ck_assert_ptr_null(armed);
	ask(60);
	ck_assert_int_eq(answer(), 40); /* what is left is an answer, too */
	ck_assert_ptr_null(armed);      /* nobody waits */
	pass(300 * MS);
	ask(60);
	ask(10);
	ck_assert_int_eq(answer(), -1);
	ck_assert_ptr_nonnull(armed);
	pass(699 * MS);
	fake_virtio_kick(&f, 0);
	ck_assert_int_eq(answer(), -1);
	pass(1 * MS);
	ck_assert_int_eq(answer(), 60);
	ck_assert_int_eq(answer(), 10);
	ck_assert_ptr_null(armed);
	/* An idle time saves nothing up. */
	pass(100000 * MS);
	ask(1000);
	ck_assert_int_eq(answer(), 100);
	ask(1);
	ck_assert_int_eq(answer(), -1);
	ck_assert_ptr_nonnull(armed); /* which the teardown's reset ends */
}
END_TEST

START_TEST(source_not_ready)
{
	create(NULL, UINT64_MAX, 1000);
	source.fail = EAGAIN;
	ask(8);
	ask(8);
	ck_assert_int_eq(answer(), -1);
	pass(RNG_RETRY_NS);
	ck_assert_int_eq(answer(), -1);
	source.fail = EIO;
	pass(RNG_RETRY_NS);
	ck_assert_int_eq(answer(), -1);
	source.fail = 0;
	pass(RNG_RETRY_NS);
	ck_assert_int_eq(answer(), 8);
	ck_assert_int_eq(answer(), 8);
	ck_assert_ptr_null(armed);
}
END_TEST

START_TEST(reset_while_waiting)
{
	create(NULL, 1, 1000);
	ask(8);
	ck_assert_int_eq(answer(), 1);
	ask(8);
	ck_assert_ptr_nonnull(armed);
	fake_virtio_reset(&f);
	ck_assert_ptr_null(armed);
	fake_virtio_start(&f, VIRTIO_F_VERSION_1);
	fake_virtio_turn(&f);
	ask(8);
	ck_assert_int_eq(answer(), -1); /* the limit is the host's, and a reset is no way around it */
	pass(1000 * MS);
	ck_assert_int_eq(answer(), 1);
}
END_TEST

START_TEST(files)
{
	static const char *const bad[] = { "/dev/no-such", "/proc/self/status", "/" };
	struct device_env env = { .loop = f.loop, .mem = f.mem };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct virtio_rng_config cfg = { .name = "virtio-rng0", .filename = bad[i], .max_bytes = UINT64_MAX, .period_ms = 1 };
		struct err err = ERR_INIT;

		ck_assert_ptr_null(virtio_rng_create(&env, &cfg, &err));
		ck_assert_ptr_nonnull(strstr(err.msg, bad[i]));
		ck_assert_ptr_nonnull(strstr(err.msg, "virtio-rng0: "));
	}
	create("/dev/urandom", UINT64_MAX, 1000);
	ask(4096);
	ck_assert_int_eq(answer(), 4096);
	ck_assert_uint_eq(source.calls, 0);
	ck_assert(memcmp(fake_mem(&f, 0x400000, 64), fake_mem(&f, 0x400040, 64), 64) != 0);
}
END_TEST

/* A device that has nothing yet, and one that ends: a pipe stands in for it. */
START_TEST(slow_file)
{
	struct virtio_rng *rng;
	int fds[2];

	create("/dev/urandom", UINT64_MAX, 1000);
	rng = rng_of(dev);
	ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
	close(rng->source.fd);
	rng->source.fd = fds[0];
	ask(8);
	ck_assert_int_eq(answer(), -1);
	ck_assert_ptr_null(armed); /* no need to look again and again */
	ck_assert_int_eq(write(fds[1], "abc", 3), 3);
	ck_assert(fake_virtio_wait(&f, 0, 1, 20000));
	ck_assert_int_eq(answer(), 3);
	ask(8);
	close(fds[1]);
	fake_virtio_turn(&f);
	ck_assert_int_eq(answer(), -1);
	ck_assert_ptr_nonnull(armed);
}
END_TEST

START_TEST(broken_ring)
{
	create(NULL, UINT64_MAX, 1000);
	fake_ring_desc(&f.ring[0], 0, 0x1000, 8, VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT, 0);
	fake_ring_put(&f.ring[0], 0);
	fake_virtio_kick(&f, 0);
	ck_assert(virtio_get_status(dev) & VIRTIO_STATUS_NEEDS_RESET);
	fake_virtio_kick(&f, 0);
	ck_assert_uint_eq(atomic_load(&f.config_interrupts), 1);
	fake_virtio_reset(&f);
	fake_virtio_start(&f, VIRTIO_F_VERSION_1);
	ask(8);
	ck_assert_int_eq(answer(), 8);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_rng");
	TCase *t = tcase_create("virtio_rng");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, answers);
	tcase_add_test(t, scattered);
	tcase_add_test(t, huge_requests);
	tcase_add_test(t, no_room);
	tcase_add_test(t, rate_limit);
	tcase_add_test(t, source_not_ready);
	tcase_add_test(t, reset_while_waiting);
	tcase_add_test(t, files);
	tcase_add_test(t, slow_file);
	tcase_add_test(t, broken_ring);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
