/* SPDX-License-Identifier: MIT */
#include "vmm/bus.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/err.h"
#include "vmm/util.h"

/* A device that records its accesses as text, "r0/4 w8/2", and reads as the low byte of its offset. */
struct recorder {
	char log[256];
	uint8_t last_write[8];
	bool saw_ones;
};

static void rec(struct recorder *d, char what, uint64_t offset, unsigned len)
{
	size_t n = strlen(d->log);

	snprintf(d->log + n, sizeof(d->log) - n, "%s%c%x/%u", n ? " " : "", what, (unsigned)offset, len);
}

static void rec_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct recorder *d = dev;

	d->saw_ones = true;
	for (unsigned i = 0; i < len; i++) {
		d->saw_ones = d->saw_ones && buf[i] == 0xff;
		buf[i] = (uint8_t)(offset + i);
	}
	rec(d, 'r', offset, len);
}

static void rec_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct recorder *d = dev;

	memcpy(d->last_write, buf, len);
	rec(d, 'w', offset, len);
}

static const struct bus_ops rec1 = { .read = rec_read, .write = rec_write, .width = 1 };
static const struct bus_ops rec2 = { .read = rec_read, .write = rec_write, .width = 2 };
static const struct bus_ops rec4 = { .read = rec_read, .write = rec_write, .width = 4 };
static const struct bus_ops rec8 = { .read = rec_read, .write = rec_write, .width = 8 };
static const struct bus_ops none = { .width = 4 };

static struct bus *make_bus(void)
{
	struct err err = ERR_INIT;
	struct bus *bus = bus_create("I/O port", 0xffff, &err);

	ck_assert_ptr_nonnull(bus);
	return bus;
}

static void add(struct bus *bus, struct bus_region *r, const char *name, uint64_t base, uint64_t size, const struct bus_ops *ops,
		void *dev)
{
	struct err err = ERR_INIT;

	*r = (struct bus_region){ .name = name, .base = base, .size = size, .ops = ops, .dev = dev };
	ck_assert_msg(bus_add(bus, r, &err) == 0, "%s", err.msg);
}

static void check_read(struct bus *bus, struct recorder *d, uint64_t addr, unsigned len, const char *expected)
{
	uint8_t buf[8];

	d->log[0] = '\0';
	bus_read(bus, addr, buf, len);
	ck_assert_str_eq(d->log, expected);
}

START_TEST(unclaimed)
{
	struct bus *bus = make_bus();
	uint8_t buf[8] = { 0 };

	for (unsigned len = 1; len <= 8; len++) {
		memset(buf, 0, sizeof(buf));
		ck_assert(!bus_read(bus, 0x3f8, buf, len));
		for (unsigned i = 0; i < 8; i++)
			ck_assert_uint_eq(buf[i], i < len ? 0xff : 0);
		ck_assert(!bus_write(bus, 0x3f8, buf, len));
	}
	bus_destroy(bus);
	bus_destroy(NULL);
}
END_TEST

START_TEST(finds_the_owner)
{
	struct bus *bus = make_bus();
	struct recorder d[5] = { 0 };
	struct bus_region r[5];
	uint8_t buf[4];

	/* not in order, some adjacent, first and last address */
	add(bus, &r[2], "c", 0x100, 8, &rec4, &d[2]);
	add(bus, &r[0], "a", 0, 4, &rec4, &d[0]);
	add(bus, &r[4], "e", 0xfffc, 4, &rec4, &d[4]);
	add(bus, &r[3], "d", 0x108, 8, &rec4, &d[3]);
	add(bus, &r[1], "b", 4, 1, &rec4, &d[1]);
	for (unsigned addr = 0; addr < 0x10000; addr++) {
		bool claimed = bus_read(bus, addr, buf, 1), expected = false;

		for (unsigned i = 0; i < 5; i++) {
			if (addr >= r[i].base && addr - r[i].base < r[i].size) {
				expected = true;
				ck_assert_uint_eq(buf[0], addr - r[i].base);
				ck_assert(d[i].saw_ones);
			}
		}
		ck_assert_int_eq(claimed, expected);
	}
	ck_assert_str_eq(d[1].log, "r0/1");
	ck_assert_str_eq(d[4].log, "r0/1 r1/1 r2/1 r3/1");
	bus_destroy(bus);
}
END_TEST

START_TEST(splits_by_width)
{
	struct bus *bus = make_bus();
	struct recorder d = { 0 };
	struct bus_region r1, r2, r4, r8;

	add(bus, &r1, "one", 0x10, 8, &rec1, &d);
	add(bus, &r2, "two", 0x20, 8, &rec2, &d);
	add(bus, &r4, "four", 0x30, 8, &rec4, &d);
	add(bus, &r8, "eight", 0x41, 16, &rec8, &d);
	check_read(bus, &d, 0x10, 4, "r0/1 r1/1 r2/1 r3/1");
	check_read(bus, &d, 0x20, 8, "r0/2 r2/2 r4/2 r6/2");
	check_read(bus, &d, 0x21, 4, "r1/1 r2/2 r4/1");
	check_read(bus, &d, 0x30, 2, "r0/2");
	check_read(bus, &d, 0x31, 4, "r1/3 r4/1");
	check_read(bus, &d, 0x33, 2, "r3/1 r4/1");
	check_read(bus, &d, 0x30, 8, "r0/4 r4/4");
	check_read(bus, &d, 0x41, 8, "r0/8"); /* multiples count from the region's base */
	check_read(bus, &d, 0x44, 8, "r3/5 r8/3");
	d.log[0] = '\0';
	bus_write(bus, 0x31, (const uint8_t[]){ 1, 2, 3, 4 }, 4);
	ck_assert_str_eq(d.log, "w1/3 w4/1");
	ck_assert_uint_eq(d.last_write[0], 4);
	bus_destroy(bus);
}
END_TEST

START_TEST(splits_at_ends)
{
	struct bus *bus = make_bus();
	struct recorder a = { 0 }, b = { 0 };
	struct bus_region ra, rb;
	uint8_t buf[8];

	add(bus, &ra, "a", 0x10, 3, &rec4, &a);
	add(bus, &rb, "b", 0x14, 4, &rec4, &b);
	/* 0x0e, 0x0f nobody; 0x10-0x12 a; 0x13 nobody; 0x14, 0x15 b */
	ck_assert(bus_read(bus, 0x0e, buf, 8));
	ck_assert_mem_eq(buf, ((uint8_t[]){ 0xff, 0xff, 0, 1, 2, 0xff, 0, 1 }), 8);
	ck_assert_str_eq(a.log, "r0/3");
	ck_assert_str_eq(b.log, "r0/2");
	ck_assert(bus_write(bus, 0x11, (const uint8_t[]){ 1, 2, 3, 4 }, 4));
	ck_assert_str_eq(a.log, "r0/3 w1/2");
	ck_assert_str_eq(b.log, "r0/2 w0/1");
	ck_assert_uint_eq(b.last_write[0], 4);
	ck_assert(bus_read(bus, 0x17, buf, 8));
	ck_assert_mem_eq(buf, ((uint8_t[]){ 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }), 8);
	bus_destroy(bus);
}
END_TEST

START_TEST(end_of_addresses)
{
	struct err err = ERR_INIT;
	struct bus *bus = bus_create("memory", UINT64_MAX, &err);
	struct recorder lo = { 0 }, hi = { 0 };
	struct bus_region rlo, rhi;
	uint8_t buf[8];

	add(bus, &rlo, "low", 0, 8, &rec8, &lo);
	add(bus, &rhi, "high", UINT64_MAX - 3, 4, &rec8, &hi);
	ck_assert(bus_read(bus, UINT64_MAX - 1, buf, 8)); /* does not go on at 0 */
	ck_assert_mem_eq(buf, ((uint8_t[]){ 2, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }), 8);
	ck_assert_str_eq(lo.log, "");
	bus_remove(bus, &rhi);
	ck_assert(!bus_write(bus, UINT64_MAX - 1, buf, 8)); /* the same from a gap */
	ck_assert_str_eq(lo.log, "");
	bus_destroy(bus);
}
END_TEST

START_TEST(no_handlers)
{
	struct bus *bus = make_bus();
	struct bus_region r;
	uint8_t buf[4] = { 0 };

	add(bus, &r, "none", 0x10, 4, &none, NULL);
	ck_assert(bus_read(bus, 0x10, buf, 4));
	ck_assert_mem_eq(buf, "\xff\xff\xff\xff", 4);
	ck_assert(bus_write(bus, 0x10, buf, 4));
	bus_destroy(bus);
}
END_TEST

static void check_refused(struct bus *bus, uint64_t base, uint64_t size, const struct bus_ops *ops, int code, const char *text)
{
	struct bus_region r = { .name = "newcomer", .base = base, .size = size, .ops = ops };
	struct err err = ERR_INIT;

	ck_assert_int_eq(bus_add(bus, &r, &err), code);
	ck_assert_int_eq(err.code, code);
	ck_assert_msg(strstr(err.msg, "newcomer") && strstr(err.msg, text), "%s", err.msg);
}

START_TEST(refuses)
{
	static const struct bus_ops wide = { .width = 16 }, odd = { .width = 3 }, zero = { .width = 0 };
	struct bus *bus = make_bus();
	struct bus_region r;
	struct err err = ERR_INIT;

	add(bus, &r, "com1", 0x3f8, 8, &rec1, NULL);
	check_refused(bus, 0x3f8, 8, &rec1, -EEXIST, "com1");
	check_refused(bus, 0x3f7, 2, &rec1, -EEXIST, "com1");
	check_refused(bus, 0x3ff, 1, &rec1, -EEXIST, "com1 (0x3f8-0x3ff)");
	check_refused(bus, 0, 0x10000, &rec1, -EEXIST, "com1");
	check_refused(bus, 0xffff, 2, &rec1, -ERANGE, "0xffff");
	check_refused(bus, 0x10000, 1, &rec1, -ERANGE, "0x10000");
	check_refused(bus, 8, UINT64_MAX, &rec1, -ERANGE, "fit");
	check_refused(bus, UINT64_MAX, UINT64_MAX, &rec1, -ERANGE, "fit");
	check_refused(bus, 0x10, 0, &rec1, -EINVAL, "size 0");
	check_refused(bus, 0x10, 1, &wide, -EINVAL, "16");
	check_refused(bus, 0x10, 1, &odd, -EINVAL, "3");
	check_refused(bus, 0x10, 1, &zero, -EINVAL, "0");
	ck_assert_int_eq(bus_add(bus, &r, &err), -EEXIST);
	bus_destroy(bus);
}
END_TEST

START_TEST(fills_up)
{
	struct bus *bus = make_bus();
	struct bus_region *r = calloc(BUS_MAX_REGIONS + 1, sizeof(*r));
	struct recorder d = { 0 };
	struct err err = ERR_INIT;
	uint8_t byte;

	for (unsigned i = 0; i < BUS_MAX_REGIONS; i++) /* down, so that each goes in front */
		add(bus, &r[i], "many", 2 * (BUS_MAX_REGIONS - i), 1, &rec1, &d);
	r[BUS_MAX_REGIONS] = (struct bus_region){ .name = "straw", .base = 1, .size = 1, .ops = &rec1 };
	ck_assert_int_eq(bus_add(bus, &r[BUS_MAX_REGIONS], &err), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(err.msg, "straw"));
	for (unsigned i = 0; i < BUS_MAX_REGIONS; i++) {
		ck_assert(bus_read(bus, r[i].base, &byte, 1));
		ck_assert(!bus_read(bus, r[i].base + 1, &byte, 1));
	}
	ck_assert_int_eq(bus_move(bus, &r[7], 1, &err), 0); /* moving works in a full bus */
	bus_remove(bus, &r[0]);
	ck_assert_int_eq(bus_add(bus, &r[BUS_MAX_REGIONS], &err), -EEXIST);
	r[BUS_MAX_REGIONS].base = 0;
	ck_assert_int_eq(bus_add(bus, &r[BUS_MAX_REGIONS], &err), 0);
	bus_destroy(bus);
	free(r);
}
END_TEST

START_TEST(names)
{
	struct bus_region r = { .name = "serial0", .base = 0x3f8, .size = 8, .ops = &none };
	struct err err = ERR_INIT;
	struct bus *bus = make_bus();
	char name[16] = "";

	ck_assert_int_eq(bus_add(bus, &r, &err), 0);
	ck_assert(!bus_name(bus, 0x3f7, name, sizeof(name)) && !bus_name(bus, 0x400, name, sizeof(name)));
	ck_assert(bus_name(bus, 0x3f8, name, sizeof(name)));
	ck_assert_str_eq(name, "serial0");
	ck_assert(bus_name(bus, 0x3ff, name, 4));
	ck_assert_str_eq(name, "ser");
	bus_remove(bus, &r);
	ck_assert(!bus_name(bus, 0x3f8, name, sizeof(name)));
	bus_destroy(bus);
}
END_TEST

START_TEST(removes_and_moves)
{
	struct bus *bus = make_bus();
	struct recorder a = { 0 }, b = { 0 };
	struct bus_region ra, rb, stranger = { .name = "stranger", .size = 1, .ops = &rec1 };
	struct err err = ERR_INIT;
	uint8_t byte;

	add(bus, &ra, "a", 0x10, 4, &rec1, &a);
	add(bus, &rb, "b", 0x20, 4, &rec1, &b);
	ck_assert_int_eq(bus_move(bus, &ra, 0x12, &err), 0); /* over its own old place */
	ck_assert_uint_eq(ra.base, 0x12);
	ck_assert(!bus_read(bus, 0x11, &byte, 1));
	ck_assert(bus_read(bus, 0x15, &byte, 1));
	ck_assert_uint_eq(byte, 3);
	ck_assert_int_eq(bus_move(bus, &ra, 0x30, &err), 0); /* past another */
	ck_assert(bus_read(bus, 0x33, &byte, 1));
	ck_assert(bus_read(bus, 0x23, &byte, 1));
	ck_assert_int_eq(bus_move(bus, &ra, 0x21, &err), -EEXIST);
	ck_assert_ptr_nonnull(strstr(err.msg, "b (0x20-0x23)"));
	ck_assert_int_eq(bus_move(bus, &ra, 0xfffd, &err), -ERANGE);
	ck_assert_uint_eq(ra.base, 0x30);
	ck_assert(bus_read(bus, 0x30, &byte, 1)); /* stayed */
	bus_remove(bus, &ra);
	ck_assert(!bus_read(bus, 0x30, &byte, 1));
	ck_assert(bus_read(bus, 0x20, &byte, 1));
	bus_remove(bus, &ra); /* twice does nothing */
	bus_remove(bus, &stranger);
	ck_assert_int_eq(bus_move(bus, &stranger, 0x50, &err), -ENOENT);
	bus_destroy(bus);
}
END_TEST

/*
 * Threads: readers hammer two addresses between which a region moves, and a fixed one behind them, while other regions come and
 * go. Each access must find the right device with the right offset, and the fixed region always.
 */
#define HOP_LOW 0x100
#define HOP_HIGH 0x900
#define HOP_SIZE 0x10
#define FIXED 0x500
#define CHURN_REGIONS 20
#define MOVES 20000

struct hammer {
	struct bus *bus;
	atomic_bool stop;
	_Atomic unsigned wrong, lookups, missed_fixed;
};

struct tagged {
	uint8_t tag;
};

static void tag_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	memset(buf, ((struct tagged *)dev)->tag + (uint8_t)offset, len);
}

static const struct bus_ops tag_ops = { .read = tag_read, .width = 1 };

static void *hammer_thread(void *arg)
{
	struct hammer *h = arg;
	uint8_t a, b, c;

	while (!atomic_load(&h->stop)) {
		bool low = bus_read(h->bus, HOP_LOW + 3, &a, 1);
		bool high = bus_read(h->bus, HOP_HIGH + 3, &b, 1);

		if ((low && a != 0x43) || (high && b != 0x43))
			atomic_fetch_add(&h->wrong, 1);
		if (!bus_read(h->bus, FIXED + 5, &c, 1) || c != 0x85)
			atomic_fetch_add(&h->missed_fixed, 1);
		atomic_fetch_add(&h->lookups, 1);
	}
	return NULL;
}

START_TEST(lookups_race_moves)
{
	struct hammer h = { .bus = make_bus() };
	struct tagged hop = { 0x40 }, fixed = { 0x80 }, churn = { 0x10 };
	struct bus_region rhop, rfixed, rchurn[CHURN_REGIONS];
	struct err err = ERR_INIT;
	pthread_t thread[2];

	add(h.bus, &rhop, "hop", HOP_LOW, HOP_SIZE, &tag_ops, &hop);
	add(h.bus, &rfixed, "fixed", FIXED, HOP_SIZE, &tag_ops, &fixed);
	for (unsigned i = 0; i < CHURN_REGIONS; i++) /* on both sides of all others */
		rchurn[i] = (struct bus_region){
			.name = "churn", .base = 0x20 * i + (i & 1 ? 0x1000 : 0x10), .size = 4, .ops = &tag_ops, .dev = &churn,
		};
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, hammer_thread, &h), 0);
	for (unsigned i = 0; i < MOVES || atomic_load(&h.lookups) < MOVES; i++) {
		struct bus_region *r = &rchurn[i % CHURN_REGIONS];

		ck_assert_int_eq(bus_move(h.bus, &rhop, i & 1 ? HOP_LOW : HOP_HIGH, &err), 0);
		if (i / CHURN_REGIONS & 1)
			bus_remove(h.bus, r);
		else
			ck_assert_msg(bus_add(h.bus, r, &err) == 0, "%s", err.msg);
	}
	atomic_store(&h.stop, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(h.wrong, 0);
	ck_assert_uint_eq(h.missed_fixed, 0);
	bus_destroy(h.bus);
}
END_TEST

/* bus_move is one step: a reader that reads at once over both places finds the region in exactly one of them. */
static void count_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	(void)dev, (void)offset;
	memset(buf, 1, len);
}

static const struct bus_ops count_ops = { .read = count_read, .width = 8 };

static void *neither_thread(void *arg)
{
	struct hammer *h = arg;
	uint8_t buf[2];

	while (!atomic_load(&h->stop)) {
		/* Addresses 0x10 and 0x11: the region always covers 0x11, at its first or second byte. */
		bus_read(h->bus, 0x11, buf, 1);
		if (buf[0] != 1)
			atomic_fetch_add(&h->wrong, 1);
		atomic_fetch_add(&h->lookups, 1);
	}
	return NULL;
}

START_TEST(move_is_one_step)
{
	struct hammer h = { .bus = make_bus() };
	struct bus_region r;
	struct err err = ERR_INIT;
	pthread_t thread;

	add(h.bus, &r, "r", 0x10, 2, &count_ops, NULL);
	ck_assert_int_eq(pthread_create(&thread, NULL, neither_thread, &h), 0);
	for (unsigned i = 0; i < MOVES || atomic_load(&h.lookups) < MOVES; i++)
		ck_assert_int_eq(bus_move(h.bus, &r, 0x10 + (i & 1), &err), 0);
	atomic_store(&h.stop, true);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(h.wrong, 0);
	bus_destroy(h.bus);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bus");
	TCase *rules = tcase_create("rules"), *threads = tcase_create("threads");
	SRunner *sr = srunner_create(s);
	int failed;

	suite_add_tcase(s, rules);
	tcase_add_test(rules, unclaimed);
	tcase_add_test(rules, finds_the_owner);
	tcase_add_test(rules, splits_by_width);
	tcase_add_test(rules, splits_at_ends);
	tcase_add_test(rules, end_of_addresses);
	tcase_add_test(rules, no_handlers);
	tcase_add_test(rules, refuses);
	tcase_add_test(rules, fills_up);
	tcase_add_test(rules, names);
	tcase_add_test(rules, removes_and_moves);
	suite_add_tcase(s, threads);
	tcase_set_timeout(threads, 60);
	tcase_add_test(threads, lookups_race_moves);
	tcase_add_test(threads, move_is_one_step);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
