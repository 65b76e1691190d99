/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_virtio.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/util.h"

#define SIZE 8
#define NEXT VIRTQ_DESC_F_NEXT
#define WRITE VIRTQ_DESC_F_WRITE
#define INDIRECT VIRTQ_DESC_F_INDIRECT

static struct fake_virtio f;
static struct fake_ring ring;
static struct virtq vq;
static struct virtq_chain chain;
static struct iovec iov[SIZE + 4];
static uint64_t data;

static void queue(uint16_t size, bool indirect, bool event_idx)
{
	fake_ring_init(&ring, &f, size, indirect, event_idx);
	ck_assert_int_eq(virtq_init(&vq, f.mem, &ring.cfg), 0);
}

static void setup(void)
{
	fake_virtio_init(&f);
	data = fake_alloc(&f, 0x10000, 4096);
	queue(SIZE, true, false);
}

static void teardown(void)
{
	fake_virtio_fini(&f);
}

static int pop(void)
{
	return virtq_pop(&vq, &chain, iov, ARRAY_SIZE(iov));
}

/* The queue is broken, for this reason, and stays so; no head is held for it. */
static void check_broken(const char *why, unsigned in_flight)
{
	uint16_t used = fake_ring_used_idx(&ring);

	ck_assert_int_eq(pop(), -EINVAL);
	ck_assert(vq.broken);
	ck_assert_msg(strstr(vq.why, why) != NULL, "%s", vq.why);
	ck_assert_uint_eq(vq.n_in_flight, in_flight);
	ck_assert_int_eq(pop(), -EINVAL);
	ck_assert(!virtq_doorbell_on(&vq));
	ck_assert(!virtq_should_interrupt(&vq));
	ck_assert_uint_eq(fake_ring_used_idx(&ring), used);
}

START_TEST(init_rules)
{
	struct virtq_config good = ring.cfg, cfg;
	struct virtq q;
	static const uint16_t bad_sizes[] = { 0, 3, 7, 1023, 2048, 0xffff };

	for (size_t i = 0; i < ARRAY_SIZE(bad_sizes); i++) {
		cfg = good;
		cfg.size = bad_sizes[i];
		ck_assert_int_eq(virtq_init(&q, f.mem, &cfg), -EINVAL);
	}
	for (unsigned size = 1; size <= VIRTQ_SIZE_MAX; size *= 2) {
		cfg = good;
		cfg.size = (uint16_t)size;
		ck_assert_int_eq(virtq_init(&q, f.mem, &cfg), 0);
	}
	cfg = good, cfg.desc += 8;
	ck_assert_int_eq(virtq_init(&q, f.mem, &cfg), -EINVAL);
	cfg = good, cfg.avail += 1;
	ck_assert_int_eq(virtq_init(&q, f.mem, &cfg), -EINVAL);
	cfg = good, cfg.used += 2;
	ck_assert_int_eq(virtq_init(&q, f.mem, &cfg), -EINVAL);
	cfg = good, cfg.desc = UINT64_MAX - 15;
	ck_assert_int_eq(virtq_init(&q, f.mem, &cfg), -EINVAL);
}
END_TEST

/* Each ring may end with the last byte of a region, and not one field later. */
START_TEST(rings_at_the_end)
{
	static const struct { uint64_t desc, avail, used; bool event; int rc; } cases[] = {
		{ 16 * SIZE, 4 + 2 * SIZE, 4 + 8 * SIZE, false, 0 },
		{ 16 * SIZE - 16, 256, 256, false, -EINVAL },
		{ 256, 4 + 2 * SIZE - 2, 256, false, -EINVAL },
		{ 256, 256, 4 + 8 * SIZE - 4, false, -EINVAL },
		{ 256, 4 + 2 * SIZE, 256, true, -EINVAL },
		{ 256, 6 + 2 * SIZE, 4 + 8 * SIZE, true, -EINVAL },
		{ 256, 6 + 2 * SIZE, 8 + 8 * SIZE, true, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct virtq_config cfg = {
			.size = SIZE, .event_idx = cases[i].event,
			.desc = FAKE_LOW_SIZE - cases[i].desc,
			.avail = FAKE_LOW_SIZE - cases[i].avail,
			.used = FAKE_HIGH + FAKE_HIGH_SIZE - cases[i].used,
		};
		struct virtq q;

		ck_assert_int_eq(virtq_init(&q, f.mem, &cfg), cases[i].rc);
	}
}
END_TEST

START_TEST(pop_and_push)
{
	struct fake_buf bufs[] = { { data, 16, false }, { data + 100, 7, false }, { data + 4096, 512, true }, { data + 8192, 1, true } };
	uint32_t head, len;
	uint16_t first;

	ck_assert_int_eq(pop(), 0);
	first = fake_ring_add(&ring, bufs, 4);
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.head, first);
	ck_assert_uint_eq(chain.n_out, 2);
	ck_assert_uint_eq(chain.n_in, 2);
	ck_assert_uint_eq(chain.out_len, 23);
	ck_assert_uint_eq(chain.in_len, 513);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_ptr_eq(chain.iov[i].iov_base, fake_mem(&f, bufs[i].gpa, 1));
		ck_assert_uint_eq(chain.iov[i].iov_len, bufs[i].len);
	}
	ck_assert_uint_eq(vq.n_in_flight, 1);
	ck_assert_int_eq(pop(), 0);
	ck_assert(!fake_ring_used(&ring, &head, &len));
	virtq_push(&vq, chain.head, 513);
	ck_assert_uint_eq(vq.n_in_flight, 0);
	ck_assert(fake_ring_used(&ring, &head, &len));
	ck_assert_uint_eq(head, first);
	ck_assert_uint_eq(len, 513);
}
END_TEST

/* All indices wrap, chains complete out of order. */
START_TEST(wraps)
{
	struct fake_buf buf = { data, 64, true };
	uint32_t head, len;

	for (unsigned i = 0; i < 70000; i++) {
		uint16_t a = fake_ring_add(&ring, &buf, 1), b = fake_ring_add(&ring, &buf, 1);

		/* One assertion in all: Check takes long over hundreds of thousands. */
		if (pop() != 1 || chain.head != a || pop() != 1 || chain.head != b)
			ck_abort_msg("pop %u", i);
		virtq_push(&vq, b, i);
		virtq_push(&vq, a, ~i);
		if (!fake_ring_used(&ring, &head, &len) || head != b || len != i)
			ck_abort_msg("push %u", i);
		if (!fake_ring_used(&ring, &head, &len) || head != a || len != ~i)
			ck_abort_msg("push %u", i);
	}
	ck_assert_uint_eq(vq.n_in_flight, 0);
}
END_TEST

START_TEST(indirect_tables)
{
	struct fake_buf bufs[SIZE];
	uint64_t table = fake_alloc(&f, 3 * 16, 16);

	for (unsigned i = 0; i < SIZE; i++)
		bufs[i] = (struct fake_buf){ data + 64 * i, i + 1, i >= 3 };
	fake_ring_add_indirect(&ring, &f, bufs, SIZE);
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.n_out, 3);
	ck_assert_uint_eq(chain.n_in, SIZE - 3);
	ck_assert_uint_eq(chain.out_len, 6);

	/* Plain buffers and then a table, whose WRITE flag means nothing (2.7.5.3.2), in any order of its entries. */
	fake_desc_write(f.mem, table, 0, data, 1, NEXT, 2);
	fake_desc_write(f.mem, table, 2, data, 2, NEXT | WRITE, 1);
	fake_desc_write(f.mem, table, 1, data, 4, WRITE, 0);
	fake_ring_desc(&ring, 4, data, 8, NEXT, 5);
	fake_ring_desc(&ring, 5, table, 48, INDIRECT | WRITE, 0);
	fake_ring_put(&ring, 4);
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.out_len, 9);
	ck_assert_uint_eq(chain.in_len, 6);

	/* A table at any address. */
	fake_desc_write(f.mem, data + 4099, 0, data, 77, 0, 0);
	fake_ring_desc(&ring, 6, data + 4099, 16, INDIRECT, 0);
	fake_ring_put(&ring, 6);
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.out_len, 77);
}
END_TEST

/* Faults of a chain: descriptors 0 to 3 and what they break. `table` marks an address that the test fills in. */
#define TABLE UINT64_C(0x7ab1e)
static const struct {
	const char *why;
	struct { uint64_t addr; uint32_t len; uint16_t flags, next; } d[4], t[3]; /* t: an indirect table */
} faults[] = {
	{ "longer than the queue, or a loop", { { 0, 8, NEXT, 0 } }, { } },
	{ "longer than the queue, or a loop", { { 0, 8, NEXT, 1 }, { 0, 8, NEXT, 2 }, { 0, 8, NEXT, 1 } }, { } },
	{ "longer than the queue, or a loop", { { 0, 0, NEXT, 1 }, { 0, 0, NEXT, 0 } }, { } },
	{ "outside its table", { { 0, 8, NEXT, SIZE } }, { } },
	{ "outside its table", { { 0, 8, NEXT, 0xffff } }, { } },
	{ "readable buffer after", { { 0, 8, NEXT | WRITE, 1 }, { 0, 8, 0, 0 } }, { } },
	{ "readable buffer after", { { 0, 0, NEXT | WRITE, 1 }, { 0, 8, 0, 0 } }, { } },
	{ "outside memory", { { FAKE_LOW_SIZE - 7, 8, 0, 0 } }, { } },
	{ "outside memory", { { FAKE_LOW_SIZE - 8, FAKE_HIGH, 0, 0 } }, { } },
	{ "outside memory", { { FAKE_HIGH - 1, 2, 0, 0 } }, { } },
	{ "outside memory", { { UINT64_MAX - 3, 8, 0, 0 } }, { } },
	{ "outside memory", { { UINT64_MAX, 1, 0, 0 } }, { } },
	{ "outside memory", { { 0, UINT32_MAX, 0, 0 } }, { } },
	{ "outside memory", { { 0, 8, NEXT, 1 }, { FAKE_LOW_SIZE, 1, WRITE, 0 } }, { } },
	{ "inside an indirect table", { { TABLE, 32, INDIRECT, 0 } }, { { TABLE, 16, INDIRECT, 0 } } },
	{ "with a next one", { { TABLE, 16, INDIRECT | NEXT, 1 }, { 0, 8, 0, 0 } }, { { 0, 8, 0, 0 } } },
	{ "multiple of 16", { { TABLE, 0, INDIRECT, 0 } }, { } },
	{ "multiple of 16", { { TABLE, 15, INDIRECT, 0 } }, { } },
	{ "multiple of 16", { { TABLE, 40, INDIRECT, 0 } }, { } },
	{ "more entries", { { TABLE, 16 * (SIZE + 1), INDIRECT, 0 } }, { } },
	{ "more entries", { { TABLE, 0xfffffff0, INDIRECT, 0 } }, { } },
	{ "indirect table outside memory", { { FAKE_LOW_SIZE - 8, 16, INDIRECT, 0 } }, { } },
	{ "indirect table outside memory", { { UINT64_MAX - 15, 32, INDIRECT, 0 } }, { } },
	{ "outside its table", { { TABLE, 32, INDIRECT, 0 } }, { { 0, 8, NEXT, 2 } } },
	{ "longer than the queue, or a loop", { { TABLE, 32, INDIRECT, 0 } }, { { 0, 8, NEXT, 1 }, { 0, 8, NEXT, 0 } } },
	{ "readable buffer after", { { 0, 8, NEXT | WRITE, 1 }, { TABLE, 16, INDIRECT, 0 } }, { { 0, 8, 0, 0 } } },
	{ "outside memory", { { TABLE, 16, INDIRECT, 0 } }, { { FAKE_LOW_SIZE, 1, 0, 0 } } },
};

START_TEST(broken_chains)
{
	struct fake_buf buf = { data, 8, true };
	uint64_t table = fake_alloc(&f, 16 * (SIZE + 1), 16);
	uint16_t good;

	/* A good chain before it is in flight meanwhile, and can be given back after. */
	ring.next_desc = 6;
	good = fake_ring_add(&ring, &buf, 1);
	ck_assert_int_eq(pop(), 1);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t addr = faults[_i].d[i].addr;

		fake_ring_desc(&ring, i, addr == TABLE ? table : addr, faults[_i].d[i].len, faults[_i].d[i].flags, faults[_i].d[i].next);
	}
	for (unsigned i = 0; i < 3; i++) {
		uint64_t addr = faults[_i].t[i].addr;

		fake_desc_write(f.mem, table, i, addr == TABLE ? table : addr, faults[_i].t[i].len, faults[_i].t[i].flags,
				faults[_i].t[i].next);
	}
	fake_ring_put(&ring, 0);
	check_broken(faults[_i].why, 1);
	virtq_push(&vq, good, 8);
	ck_assert_uint_eq(vq.n_in_flight, 0);
	ck_assert_uint_eq(fake_ring_used_idx(&ring), 0);
}
END_TEST

START_TEST(indirect_not_negotiated)
{
	struct fake_buf buf = { data, 8, true };

	queue(SIZE, false, false);
	fake_ring_add_indirect(&ring, &f, &buf, 1);
	check_broken("not negotiated", 0);
}
END_TEST

START_TEST(four_gigabytes)
{
	/* 512 readable buffers of 8 MiB are 4 GiB, all of them the same memory; one byte less is fine. */
	static struct iovec many[1024];

	queue(1024, false, false);
	for (unsigned i = 0; i < 512; i++)
		fake_ring_desc(&ring, i, 0, i == 511 ? 0x7fffff : 0x800000, i == 511 ? 0 : NEXT, (uint16_t)(i + 1));
	fake_ring_put(&ring, 0);
	ck_assert_int_eq(virtq_pop(&vq, &chain, many, ARRAY_SIZE(many)), 1);
	ck_assert_uint_eq(chain.out_len, UINT32_MAX);
	virtq_push(&vq, 0, 0);
	fake_ring_desc(&ring, 511, 0, 0x800000, 0, 0);
	fake_ring_put(&ring, 0);
	ck_assert_int_eq(virtq_pop(&vq, &chain, many, ARRAY_SIZE(many)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vq.why, "4 GiB"));
}
END_TEST

START_TEST(zero_lengths)
{
	/* An empty buffer needs no valid address, and hands nothing on. */
	fake_ring_desc(&ring, 0, data, 16, NEXT, 1);
	fake_ring_desc(&ring, 1, UINT64_MAX, 0, NEXT, 2);
	fake_ring_desc(&ring, 2, data, 1, WRITE, 0);
	fake_ring_put(&ring, 0);
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.n_out, 1);
	ck_assert_uint_eq(chain.n_in, 1);
	fake_ring_desc(&ring, 3, 0, 0, 0, 0);
	fake_ring_put(&ring, 3);
	ck_assert_int_eq(pop(), 1);
	ck_assert_uint_eq(chain.n_out + chain.n_in, 0);
	ck_assert_uint_eq(chain.out_len + chain.in_len, 0);
}
END_TEST

START_TEST(bad_heads)
{
	static const uint16_t heads[] = { SIZE, SIZE + 1, 0x8000, 0xffff };

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		queue(SIZE, false, false);
		fake_ring_put(&ring, heads[i]);
		check_broken("outside the table", 0);
	}
}
END_TEST

START_TEST(head_twice_in_flight)
{
	struct fake_buf buf = { data, 8, true };
	uint16_t head = fake_ring_add(&ring, &buf, 1);

	ck_assert_int_eq(pop(), 1);
	fake_ring_put(&ring, head);
	check_broken("while it is in use", 1);

	/* After it was given back it is an ordinary head. */
	queue(SIZE, false, false);
	head = fake_ring_add(&ring, &buf, 1);
	ck_assert_int_eq(pop(), 1);
	virtq_push(&vq, head, 0);
	fake_ring_put(&ring, head);
	ck_assert_int_eq(pop(), 1);
}
END_TEST

START_TEST(index_jumps)
{
	static const uint16_t jumps[] = { SIZE + 1, 0x100, 0x8000, 0xffff };

	for (size_t i = 0; i < ARRAY_SIZE(jumps); i++) {
		queue(SIZE, false, false);
		fake_ring_avail_idx(&ring, jumps[i]);
		check_broken("ran ahead", 0);
	}
	/* The whole ring at once is allowed: here, entries of zeroes, so that the second is descriptor 0 again. */
	queue(SIZE, false, false);
	fake_ring_avail_idx(&ring, SIZE);
	ck_assert_int_eq(pop(), 1);
	check_broken("while it is in use", 1);
	/* Backwards is far ahead. */
	queue(SIZE, false, false);
	fake_ring_avail_idx(&ring, 1);
	ck_assert_int_eq(pop(), 1);
	fake_ring_avail_idx(&ring, 0);
	check_broken("ran ahead", 1);
}
END_TEST

START_TEST(too_big)
{
	struct fake_buf bufs[4] = { { data, 8, false }, { data, 8, false }, { data, 8, true }, { data, 8, true } };
	uint16_t head = fake_ring_add(&ring, bufs, 4), next = fake_ring_add(&ring, bufs, 3);
	uint32_t used, len;

	iov[3].iov_base = &head;
	ck_assert_int_eq(virtq_pop(&vq, &chain, iov, 3), -E2BIG);
	ck_assert_ptr_eq(iov[3].iov_base, &head); /* not written past its end */
	ck_assert(!vq.broken);
	ck_assert_uint_eq(chain.head, head);
	ck_assert_uint_eq(vq.n_in_flight, 1);
	virtq_push(&vq, chain.head, 0);
	ck_assert(fake_ring_used(&ring, &used, &len) && used == head && len == 0);
	/* The queue goes on, and exactly `max` fit. */
	ck_assert_int_eq(virtq_pop(&vq, &chain, iov, 3), 1);
	ck_assert_uint_eq(chain.head, next);
}
END_TEST

START_TEST(interrupt_flag)
{
	struct fake_buf buf = { data, 8, true };

	for (unsigned i = 0; i < 4; i++) {
		fake_ring_avail_flags(&ring, i & 1 ? VIRTQ_AVAIL_F_NO_INTERRUPT : 0);
		fake_ring_add(&ring, &buf, 1);
		ck_assert_int_eq(pop(), 1);
		ck_assert(!virtq_should_interrupt(&vq)); /* nothing new */
		virtq_push(&vq, chain.head, 8);
		ck_assert_int_eq(virtq_should_interrupt(&vq), !(i & 1));
		ck_assert(!virtq_should_interrupt(&vq));
	}
}
END_TEST

static void serve(unsigned n)
{
	struct fake_buf buf = { data, 8, true };

	while (n--) {
		fake_ring_add(&ring, &buf, 1);
		if (pop() != 1)
			ck_abort_msg("pop");
		virtq_push(&vq, chain.head, 8);
	}
}

START_TEST(interrupt_event)
{
	queue(SIZE, false, true);
	fake_ring_avail_flags(&ring, VIRTQ_AVAIL_F_NO_INTERRUPT); /* means nothing now (2.7.7) */
	fake_ring_used_event(&ring, 0);
	serve(1);
	ck_assert(virtq_should_interrupt(&vq));
	serve(1);
	ck_assert(!virtq_should_interrupt(&vq));
	fake_ring_used_event(&ring, 4); /* after the fifth */
	serve(2);
	ck_assert(!virtq_should_interrupt(&vq));
	serve(1);
	ck_assert(virtq_should_interrupt(&vq));
	fake_ring_used_event(&ring, 6);
	serve(SIZE); /* a batch that passes it */
	ck_assert(virtq_should_interrupt(&vq));
	/* Over the end of the index. */
	serve(65530 - 13);
	(void)virtq_should_interrupt(&vq);
	fake_ring_used_event(&ring, 2);
	serve(8);
	ck_assert_uint_eq(vq.used_idx, 2);
	ck_assert(!virtq_should_interrupt(&vq));
	serve(1);
	ck_assert(virtq_should_interrupt(&vq));
	/* A whole turn of the index without asking: it cannot be known what was passed, so the driver is told. */
	serve(65536);
	ck_assert(virtq_should_interrupt(&vq));
	ck_assert(!virtq_should_interrupt(&vq));
}
END_TEST

START_TEST(doorbell_flag)
{
	struct fake_buf buf = { data, 8, true };

	virtq_doorbell_off(&vq);
	ck_assert_uint_eq(fake_ring_used_flags(&ring), VIRTQ_USED_F_NO_NOTIFY);
	ck_assert(!virtq_doorbell_on(&vq));
	ck_assert_uint_eq(fake_ring_used_flags(&ring), 0);
	virtq_doorbell_off(&vq);
	fake_ring_add(&ring, &buf, 1);
	ck_assert(virtq_doorbell_on(&vq));
	ck_assert_int_eq(pop(), 1);
	ck_assert(!virtq_doorbell_on(&vq));
}
END_TEST

START_TEST(doorbell_event)
{
	struct fake_buf buf = { data, 8, true };

	queue(SIZE, false, true);
	virtq_doorbell_off(&vq);
	ck_assert_uint_eq(fake_ring_used_flags(&ring), 0); /* 2.7.10: not used with event indices */
	fake_ring_add(&ring, &buf, 1);
	fake_ring_add(&ring, &buf, 1);
	ck_assert_int_eq(pop(), 1);
	ck_assert(virtq_doorbell_on(&vq));
	ck_assert_uint_eq(fake_ring_avail_event(&ring), 1);
	ck_assert_int_eq(pop(), 1);
	ck_assert(!virtq_doorbell_on(&vq));
	ck_assert_uint_eq(fake_ring_avail_event(&ring), 2);
}
END_TEST

/* While somebody looks at the ring the driver is not asked to ring, and the answer is right all the same. */
START_TEST(doorbell_polled)
{
	struct fake_buf buf = { data, 8, true };

	for (int event_idx = 0; event_idx < 2; event_idx++) {
		queue(SIZE, false, event_idx);
		virtq_doorbell_off(&vq);
		virtq_polled(&vq, true);
		ck_assert(!virtq_has_more(&vq));
		ck_assert(!virtq_doorbell_on(&vq));
		ck_assert_uint_eq(fake_ring_used_flags(&ring), event_idx ? 0 : VIRTQ_USED_F_NO_NOTIFY);
		fake_ring_add(&ring, &buf, 1);
		ck_assert(virtq_has_more(&vq));
		ck_assert(virtq_doorbell_on(&vq));
		ck_assert_int_eq(pop(), 1);
		ck_assert(!virtq_doorbell_on(&vq));
		ck_assert_uint_eq(fake_ring_avail_event(&ring), event_idx ? 65535 : 0); /* passed already */
		virtq_polled(&vq, false);
		ck_assert(!virtq_doorbell_on(&vq));
		ck_assert_uint_eq(fake_ring_used_flags(&ring), 0);
		ck_assert_uint_eq(fake_ring_avail_event(&ring), event_idx ? 1 : 0);
		fake_ring_add(&ring, &buf, 1);
		virtq_break(&vq, "test");
		ck_assert(!virtq_has_more(&vq));
	}
}
END_TEST

/* A driver and a device in two threads, each sleeping when it is told it may: neither sleeps for ever. */
#define REQUESTS 10000
static atomic_bool rung, interrupted;
static atomic_uint lost;

static bool wait_for(atomic_bool *flag)
{
	for (int64_t end = now_ns() + 20 * NS_PER_SEC; now_ns() < end; sched_yield())
		if (atomic_exchange(flag, false))
			return true;
	atomic_fetch_add(&lost, 1);
	return false;
}

static void *device_thread(void *arg)
{
	static struct iovec buffers[4];
	struct virtq_chain c;

	(void)arg;
	for (unsigned served = 0; served < REQUESTS;) {
		while (virtq_pop(&vq, &c, buffers, ARRAY_SIZE(buffers)) == 1) {
			virtq_push(&vq, c.head, c.in_len);
			served++;
		}
		if (virtq_should_interrupt(&vq))
			atomic_store(&interrupted, true);
		if (served < REQUESTS && !virtq_doorbell_on(&vq) && !wait_for(&rung))
			break;
	}
	return NULL;
}

/* The driver's question before it rings (2.7.13.4.1). */
static bool wants_kick(uint16_t old)
{
	if (ring.cfg.event_idx)
		return (uint16_t)(ring.avail_idx - fake_ring_avail_event(&ring) - 1) < (uint16_t)(ring.avail_idx - old);
	return !(fake_ring_used_flags(&ring) & VIRTQ_USED_F_NO_NOTIFY);
}

START_TEST(no_lost_wakeup)
{
	struct fake_buf buf = { data, 8, true };
	unsigned added = 0, done = 0;
	uint32_t head, len;
	pthread_t thread;

	queue(SIZE, false, _i);
	ck_assert_int_eq(pthread_create(&thread, NULL, device_thread, NULL), 0);
	while (done < REQUESTS) {
		uint16_t old = ring.avail_idx;

		while (added < REQUESTS && added - done < SIZE - 1) {
			fake_ring_add(&ring, &buf, 1);
			added++;
		}
		if (ring.avail_idx != old && wants_kick(old))
			atomic_store(&rung, true);
		while (fake_ring_used(&ring, &head, &len)) {
			ck_assert_uint_eq(len, 8);
			done++;
		}
		if (_i) {
			fake_ring_used_event(&ring, ring.used_idx);
			/* Asleep only with something on the way. */
			if (added > done && !fake_ring_used_count(&ring) && !wait_for(&interrupted))
				break;
		}
		ck_assert(atomic_load(&lost) == 0);
	}
	pthread_join(thread, NULL);
	ck_assert_uint_eq(done, REQUESTS);
	ck_assert_uint_eq(lost, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtq");
	TCase *t = tcase_create("virtq");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, init_rules);
	tcase_add_test(t, rings_at_the_end);
	tcase_add_test(t, pop_and_push);
	tcase_add_test(t, wraps);
	tcase_add_test(t, indirect_tables);
	tcase_add_loop_test(t, broken_chains, 0, ARRAY_SIZE(faults));
	tcase_add_test(t, indirect_not_negotiated);
	tcase_add_test(t, four_gigabytes);
	tcase_add_test(t, zero_lengths);
	tcase_add_test(t, bad_heads);
	tcase_add_test(t, head_twice_in_flight);
	tcase_add_test(t, index_jumps);
	tcase_add_test(t, too_big);
	tcase_add_test(t, interrupt_flag);
	tcase_add_test(t, interrupt_event);
	tcase_add_test(t, doorbell_flag);
	tcase_add_test(t, doorbell_event);
	tcase_add_test(t, doorbell_polled);
	tcase_add_loop_test(t, no_lost_wakeup, 0, 2);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
