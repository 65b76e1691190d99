/* SPDX-License-Identifier: MIT */
/* The balloon behind a driver that the tests play. What becomes of memory is seen in it: what was given back reads as zeroes. */
#include <errno.h>
#include <sys/mman.h>

#include "tests/unit/fake_virtio.h"
#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/util.h"

/* Calls of the host's are counted, and may fail. Timers are the test's: at most one is armed. */
static unsigned madvises;
static int madvise_fail;
static int64_t fake_now;
static struct event_timer *armed;

static int fake_madvise(void *at, size_t len, int advice)
{
	ck_assert_int_eq(advice, MADV_DONTNEED);
	ck_assert_uint_eq((uintptr_t)at % 4096, 0);
	ck_assert_uint_eq(len % 4096, 0);
	madvises++;
	if (!madvise_fail)
		return madvise(at, len, advice);
	errno = madvise_fail;
	return -1;
}

static int64_t fake_now_ns(void)
{
	return fake_now;
}

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

#define madvise fake_madvise
#define now_ns fake_now_ns
#define eventloop_arm fake_arm
#define eventloop_cancel fake_cancel
#include "hw/virtio_balloon.c"
#undef madvise

#define ALL_FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_BALLOON_F_STATS_VQ | VIRTIO_BALLOON_F_PAGE_POISON | VIRTIO_BALLOON_F_PAGE_REPORTING)
#define INFLATE 0
#define DEFLATE 1
#define STATS 2
#define REPORT 3
#define AREA UINT64_C(0x400000) /* pages to play with, each filled with its number */
#define AREA_PAGES 1024

static struct fake_virtio f;
static struct virtio_dev *dev;

static uint8_t *page(unsigned n)
{
	return fake_mem(&f, AREA + 4096 * n, 4096);
}

static uint32_t pfn(unsigned n)
{
	return (uint32_t)(AREA / 4096 + n);
}

static bool gone(unsigned n)
{
	const uint8_t *p = page(n);

	return p[0] == 0 && p[2048] == 0 && p[4095] == 0;
}

static void fill(void)
{
	for (unsigned i = 0; i < AREA_PAGES; i++)
		memset(page(i), 1 + (int)(i % 255), 4096);
}

static void create(uint64_t features)
{
	const struct virtio_balloon_config cfg = {
		.name = "balloon0", .deflate_on_oom = true, .page_poison = true, .page_reporting = true,
	};
	const struct device_env env = { .loop = f.loop, .mem = f.mem };
	struct err err = ERR_INIT;

	dev = virtio_balloon_create(&env, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
	fake_virtio_attach(&f, dev);
	ck_assert_uint_eq(fake_virtio_start(&f, features | VIRTIO_F_INDIRECT_DESC) & VIRTIO_STATUS_NEEDS_RESET, 0);
	fake_virtio_turn(&f);
	fill();
}

static void setup(void)
{
	log_set_level(LOG_LEVEL_NONE);
	fake_now = 1000;
	madvises = 0;
	madvise_fail = 0;
	armed = NULL;
	fake_virtio_init(&f);
}

static void teardown(void)
{
	fake_virtio_reset(&f);
	dev->ops->destroy(dev);
	ck_assert_ptr_null(armed);
	fake_virtio_fini(&f);
}

/* Page numbers in a buffer that takes them. */
static void inflate(const uint32_t *pages, unsigned n)
{
	uint64_t at = fake_alloc_data(&f, pages, n * 4);

	fake_ring_add(&f.ring[INFLATE], &(struct fake_buf){ at, n * 4, false }, 1);
	fake_virtio_kick(&f, INFLATE);
}

static bool answered(unsigned q)
{
	uint32_t head, len = 1;

	if (!fake_ring_used(&f.ring[q], &head, &len))
		return false;
	ck_assert_uint_eq(len, 0);
	return true;
}

START_TEST(inflates)
{
	const uint32_t pages[] = { pfn(9), pfn(3), pfn(4), pfn(2), pfn(9), pfn(20) };

	create(ALL_FEATURES);
	inflate(pages, ARRAY_SIZE(pages));
	ck_assert(answered(INFLATE));
	for (unsigned i = 0; i < AREA_PAGES; i++)
		ck_assert_int_eq(gone(i), i == 2 || i == 3 || i == 4 || i == 9 || i == 20);
	ck_assert_uint_eq(madvises, 3); /* neighbours together */
	ck_assert_uint_eq(atomic_load(&f.queue_interrupts[INFLATE]), 1);
	memset(page(3), 7, 4096); /* and it is memory as before */
	ck_assert_uint_eq(page(3)[4095], 7);
}
END_TEST

START_TEST(pages_that_are_none)
{
	const uint32_t pages[] = { pfn(5), 0xffffffff, 0x80000000, FAKE_LOW_SIZE >> 12, FAKE_HIGH >> 12, (FAKE_HIGH >> 12) - 1,
				   (FAKE_HIGH + FAKE_HIGH_SIZE) >> 12, (FAKE_LOW_SIZE >> 12) - 1 };
	const unsigned outside = (unsigned)(FAKE_LOW_SIZE - AREA) / 4096 - 1;

	create(ALL_FEATURES);
	memset(page(outside), 1, 4096);
	inflate(pages, ARRAY_SIZE(pages));
	ck_assert(answered(INFLATE));
	ck_assert(gone(5) && gone(outside));
	ck_assert_uint_eq(madvises, 3); /* those that are memory: 5, the last of the low, the first of the high */
	ck_assert(!(virtio_get_status(dev) & VIRTIO_STATUS_NEEDS_RESET));
}
END_TEST

/* Buffers that end in the middle of a number, and numbers that end in the middle of a chain. */
START_TEST(scattered_numbers)
{
	const uint32_t pages[] = { pfn(1), pfn(2), pfn(3) };
	uint64_t at = fake_alloc_data(&f, pages, sizeof(pages));
	struct fake_buf bufs[] = { { at, 3, false }, { at + 3, 0, false }, { at + 3, 6, false }, { at + 9, 2, false }, { AREA, 64, true } };

	create(ALL_FEATURES);
	fake_ring_add_indirect(&f.ring[INFLATE], &f, bufs, ARRAY_SIZE(bufs));
	fake_virtio_kick(&f, INFLATE);
	ck_assert(answered(INFLATE));
	ck_assert(!gone(0) && gone(1) && gone(2) && !gone(3));
}
END_TEST

/* hostile-inputs 3: as many numbers as there is memory for, in one chain. The loop sees to others in between. */
START_TEST(endless_numbers)
{
	struct fake_buf bufs[8];

	create(ALL_FEATURES);
	for (unsigned i = 0; i < 8; i++)
		bufs[i] = (struct fake_buf){ FAKE_HIGH, 1 << 16, false }; /* all of them page 0 */
	fake_ring_add_indirect(&f.ring[INFLATE], &f, bufs, 8);
	balloon_kick(dev, INFLATE);
	ck_assert_uint_eq(madvises, BALLOON_TURN_PAGES / BALLOON_BATCH);
	ck_assert(!answered(INFLATE));
	ck_assert(fake_virtio_wait(&f, INFLATE, 1, 5000));
	ck_assert_uint_eq(madvises, (8 << 16) / 4 / BALLOON_BATCH);
	/* A reset in the middle ends it. */
	fake_ring_add_indirect(&f.ring[INFLATE], &f, bufs, 8);
	balloon_kick(dev, INFLATE);
	madvises = 0;
	fake_virtio_reset(&f);
	fake_virtio_turn(&f);
	ck_assert_uint_eq(madvises, 0);
}
END_TEST

START_TEST(deflates)
{
	const uint32_t pages[] = { pfn(1), 0xffffffff };
	uint64_t at = fake_alloc_data(&f, pages, sizeof(pages));

	create(ALL_FEATURES);
	fake_ring_add(&f.ring[DEFLATE], &(struct fake_buf){ at, sizeof(pages), false }, 1);
	fake_ring_add(&f.ring[DEFLATE], &(struct fake_buf){ at, 0, true }, 1);
	fake_virtio_kick(&f, DEFLATE);
	ck_assert(answered(DEFLATE) && answered(DEFLATE));
	ck_assert_uint_eq(madvises, 0);
	ck_assert(!gone(1));
}
END_TEST

static void report(unsigned q, uint64_t gpa, uint32_t len)
{
	fake_ring_add(&f.ring[q], &(struct fake_buf){ gpa, len, true }, 1);
	fake_virtio_kick(&f, q);
}

START_TEST(reports)
{
	create(ALL_FEATURES);
	report(REPORT, AREA + 4096 * 8, 4096 * 8);
	ck_assert(answered(REPORT));
	for (unsigned i = 0; i < AREA_PAGES; i++)
		ck_assert_int_eq(gone(i), i >= 8 && i < 16);
	/* Of parts of pages, the whole ones. */
	report(REPORT, AREA + 4096 * 20 + 1, 4096 * 3);
	ck_assert(answered(REPORT));
	ck_assert(!gone(20) && gone(21) && gone(22) && !gone(23));
	report(REPORT, AREA + 4096 * 30 + 1, 4094);
	report(REPORT, AREA + 4096 * 30, 0);
	ck_assert(answered(REPORT) && answered(REPORT));
	ck_assert(!gone(30));
	/* What the driver reports must be writable: what is readable is not looked at. */
	fake_ring_add(&f.ring[REPORT], &(struct fake_buf){ AREA + 4096 * 40, 4096, false }, 1);
	fake_virtio_kick(&f, REPORT);
	ck_assert(answered(REPORT));
	ck_assert(!gone(40));
}
END_TEST

/* Where 5.5.2 says that the queue is. */
START_TEST(reports_at_the_end)
{
	create(ALL_FEATURES & ~VIRTIO_BALLOON_F_STATS_VQ);
	report(4, AREA, 4096);
	report(2, AREA + 8192, 4096);
	report(3, AREA + 16384, 4096); /* nobody's */
	ck_assert(answered(4) && answered(2) && answered(3));
	ck_assert(gone(0) && !gone(1) && gone(2) && !gone(4));
}
END_TEST

START_TEST(large_reports)
{
	create(ALL_FEATURES);
	report(REPORT, FAKE_HIGH, FAKE_HIGH_SIZE);
	ck_assert(answered(REPORT));
	for (unsigned i = 0; i < 64; i++)
		fake_ring_add(&f.ring[REPORT], &(struct fake_buf){ FAKE_HIGH, FAKE_HIGH_SIZE, true }, 1);
	madvises = 0;
	balloon_kick(dev, REPORT);
	ck_assert_uint_lt(madvises, 16);
	ck_assert(fake_virtio_wait(&f, REPORT, 64, 5000));
}
END_TEST

static void config_write(unsigned offset, uint32_t v, unsigned len)
{
	uint8_t buf[4];

	store_le32(buf, v);
	dev->ops->config_write(dev, offset, buf, len);
}

static uint32_t config_read(unsigned offset)
{
	uint8_t buf[4];

	dev->ops->config_read(dev, offset, buf, 4);
	return load_le32(buf);
}

START_TEST(poison_keeps_reported_pages)
{
	const uint32_t one = pfn(2);

	create(ALL_FEATURES);
	config_write(12, 0xaaaaaaaa, 4);
	ck_assert_uint_eq(config_read(12), 0xaaaaaaaa);
	report(REPORT, AREA, 4096);
	ck_assert(answered(REPORT));
	ck_assert(!gone(0));
	inflate(&one, 1); /* those in the balloon are the device's all the same */
	ck_assert(answered(INFLATE) && gone(2));
	config_write(12, 0, 4);
	report(REPORT, AREA, 4096);
	ck_assert(gone(0));
	config_write(12, 1, 4);
	fake_virtio_reset(&f);
	ck_assert_uint_eq(config_read(12), 0);
}
END_TEST

static unsigned changes;

static void changed(void *opaque)
{
	ck_assert_ptr_eq(opaque, &changes);
	changes++;
}

START_TEST(target_and_actual)
{
	create(ALL_FEATURES);
	changes = 0;
	virtio_balloon_observe(dev, changed, &changes);
	ck_assert_uint_eq(config_read(0), 0);
	virtio_balloon_set_target(dev, 5 * 4096 + 4095);
	ck_assert_uint_eq(config_read(0), 5);
	ck_assert_uint_eq(atomic_load(&f.config_interrupts), 1);
	virtio_balloon_set_target(dev, 5 * 4096);
	ck_assert_uint_eq(atomic_load(&f.config_interrupts), 1);
	config_write(0, 9, 4); /* not the driver's */
	config_write(8, 9, 4);
	ck_assert_uint_eq(config_read(0), 5);
	ck_assert_uint_eq(config_read(8), 0);
	ck_assert_uint_eq(changes, 0);
	config_write(4, 4, 4);
	ck_assert_uint_eq(virtio_balloon_held(dev), 4 * 4096);
	ck_assert_uint_eq(changes, 1);
	config_write(4, 4, 4);
	ck_assert_uint_eq(changes, 1);
	config_write(5, 1, 1); /* as legacy drivers do */
	ck_assert_uint_eq(virtio_balloon_held(dev), UINT64_C(0x104) * 4096);
	fake_virtio_reset(&f);
	ck_assert_uint_eq(virtio_balloon_held(dev), 0);
	ck_assert_uint_eq(config_read(0), 5); /* the next driver is asked for the same */
	ck_assert_uint_eq(changes, 3);
	virtio_balloon_set_target(dev, UINT64_MAX);
	ck_assert_uint_eq(config_read(0), UINT32_MAX);
}
END_TEST

struct stat_pair {
	uint16_t tag;
	uint64_t val;
};

static void give_stats(const struct stat_pair *pairs, unsigned n)
{
	struct virtio_balloon_stat_wire wire[128];
	uint64_t at;

	for (unsigned i = 0; i < n; i++) {
		store_le16(wire[i].tag, pairs[i].tag);
		store_le64(wire[i].val, pairs[i].val);
	}
	at = fake_alloc_data(&f, wire, n * 10);
	fake_ring_add(&f.ring[STATS], &(struct fake_buf){ at, n * 10, false }, 1);
	fake_virtio_kick(&f, STATS);
}

static void fire(void)
{
	struct event_timer *timer = armed;

	ck_assert_ptr_nonnull(timer);
	fake_now = timer->deadline_ns;
	armed = NULL;
	timer->fire(timer->opaque);
}

START_TEST(statistics)
{
	const struct stat_pair first[] = { { 4, 111 }, { 5, UINT64_MAX - 1 }, { 10, 5 }, { 0xffff, 6 } }, second[] = { { 0, 7 } };
	struct virtio_balloon_stats stats;

	create(ALL_FEATURES);
	virtio_balloon_stats(dev, &stats);
	ck_assert_uint_eq(stats.value[VIRTIO_BALLOON_FREE], VIRTIO_BALLOON_UNKNOWN);
	ck_assert_int_eq(stats.last_update, 0);
	give_stats(first, ARRAY_SIZE(first));
	ck_assert(!answered(STATS)); /* it is kept */
	virtio_balloon_stats(dev, &stats);
	ck_assert_uint_eq(stats.value[VIRTIO_BALLOON_FREE], 111);
	ck_assert_uint_eq(stats.value[VIRTIO_BALLOON_TOTAL], UINT64_MAX - 1);
	ck_assert_uint_eq(stats.value[VIRTIO_BALLOON_SWAP_IN], VIRTIO_BALLOON_UNKNOWN);
	ck_assert_int_ne(stats.last_update, 0);
	ck_assert_ptr_null(armed);
	virtio_balloon_set_polling(dev, 10);
	ck_assert_uint_eq(virtio_balloon_polling(dev), 10);
	ck_assert_ptr_nonnull(armed);
	ck_assert_int_eq(armed->deadline_ns, fake_now + 10 * NS_PER_SEC);
	fire();
	ck_assert(answered(STATS));
	ck_assert_ptr_nonnull(armed);
	fire(); /* the driver is slow */
	ck_assert(!answered(STATS));
	give_stats(second, 1);
	virtio_balloon_stats(dev, &stats);
	ck_assert_uint_eq(stats.value[VIRTIO_BALLOON_SWAP_IN], 7);
	ck_assert_uint_eq(stats.value[VIRTIO_BALLOON_FREE], VIRTIO_BALLOON_UNKNOWN);
	virtio_balloon_set_polling(dev, 0);
	ck_assert_ptr_null(armed);
	fake_virtio_reset(&f);
	virtio_balloon_stats(dev, &stats);
	ck_assert_uint_eq(stats.value[VIRTIO_BALLOON_SWAP_IN], VIRTIO_BALLOON_UNKNOWN);
}
END_TEST

/* One after the other without being asked, and far too many values in one. */
START_TEST(hostile_statistics)
{
	struct stat_pair many[128];
	struct virtio_balloon_stats stats;

	create(ALL_FEATURES);
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct stat_pair){ 4, i };
	give_stats(many, ARRAY_SIZE(many));
	virtio_balloon_stats(dev, &stats);
	ck_assert_uint_eq(stats.value[VIRTIO_BALLOON_FREE], BALLOON_MAX_STATS - 1);
	for (unsigned i = 0; i < 20; i++)
		give_stats(many + i, 1);
	for (unsigned i = 0; i < 20; i++)
		ck_assert(answered(STATS));
	ck_assert(!answered(STATS));
	virtio_balloon_stats(dev, &stats);
	ck_assert_uint_eq(stats.value[VIRTIO_BALLOON_FREE], 19);
	give_stats(many, 0);
	virtio_balloon_stats(dev, &stats);
	ck_assert_uint_eq(stats.value[VIRTIO_BALLOON_FREE], VIRTIO_BALLOON_UNKNOWN);
}
END_TEST

START_TEST(host_refuses)
{
	const uint32_t pages[] = { pfn(1), pfn(3) };

	create(ALL_FEATURES);
	madvise_fail = EINVAL;
	inflate(pages, 2);
	ck_assert(answered(INFLATE));
	ck_assert_uint_eq(madvises, 2);
	ck_assert(!gone(1));
}
END_TEST

START_TEST(broken_ring)
{
	create(ALL_FEATURES);
	fake_ring_desc(&f.ring[INFLATE], 0, 0x1000, 8, VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT, 0);
	fake_ring_put(&f.ring[INFLATE], 0);
	fake_virtio_kick(&f, INFLATE);
	ck_assert(virtio_get_status(dev) & VIRTIO_STATUS_NEEDS_RESET);
	report(REPORT, AREA, 4096); /* the others go on */
	ck_assert(answered(REPORT) && gone(0));
}
END_TEST

/* The pages that the rings are in, as the driver of a hostile guest gives them away. */
START_TEST(gives_its_rings_away)
{
	uint32_t pages[3];

	create(ALL_FEATURES);
	pages[0] = (uint32_t)(f.ring[INFLATE].cfg.desc >> 12);
	pages[1] = (uint32_t)(f.ring[INFLATE].cfg.avail >> 12);
	pages[2] = (uint32_t)(f.ring[INFLATE].cfg.used >> 12);
	inflate(pages, 3);
	for (unsigned i = 0; i < 10; i++)
		fake_virtio_kick(&f, INFLATE);
	fake_virtio_reset(&f);
	fake_virtio_start(&f, ALL_FEATURES);
	fake_virtio_turn(&f);
	inflate(&(uint32_t){ pfn(7) }, 1);
	ck_assert(answered(INFLATE) && gone(7));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		inflates, pages_that_are_none, scattered_numbers, endless_numbers, deflates, reports, reports_at_the_end, large_reports,
		poison_keeps_reported_pages, target_and_actual, statistics, hostile_statistics, host_refuses, broken_ring,
		gives_its_rings_away,
	};

	return suite_run("virtio_balloon", tests, ARRAY_SIZE(tests), setup, teardown);
}
