/* SPDX-License-Identifier: MIT */
/*
 * The bus's lookup against changes, step by step: before each of its atomic loads in turn, another vCPU changes the bus. Threads
 * (test_bus.c) would meet these moments too rarely.
 */
#include <check.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void before_load(void);

#undef atomic_load_explicit
#define atomic_load_explicit(p, order) (before_load(), *(p))

#include "vmm/bus.c"

#define LOW 0x100
#define HIGH 0x900
#define FIXED 0x500
#define NEIGHBOURS 9

static struct {
	unsigned countdown; /* loads until the change; 0: none */
	unsigned changes;   /* how many times the region moves at that moment */
	bool busy, happened;
	struct bus *bus;
	struct bus_region hop, fixed, neighbour[NEIGHBOURS];
	bool neighbours;
} step;

static void toggle_neighbours(void)
{
	struct err err = ERR_INIT;

	step.neighbours = !step.neighbours;
	for (unsigned i = 0; i < NEIGHBOURS; i++) {
		if (step.neighbours)
			ck_assert_int_eq(bus_add(step.bus, &step.neighbour[i], &err), 0);
		else
			bus_remove(step.bus, &step.neighbour[i]);
	}
}

static void before_load(void)
{
	struct err err = ERR_INIT;

	if (step.busy || !step.countdown || --step.countdown)
		return;
	step.busy = step.happened = true;
	for (unsigned i = 0; i < step.changes; i++) {
		ck_assert_int_eq(bus_move(step.bus, &step.hop, step.hop.base == LOW ? HIGH : LOW, &err), 0);
		toggle_neighbours();
	}
	step.busy = false;
}

/* Reads as the tag of its device plus the offset. */
static void tag_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	memset(buf, *(uint8_t *)dev + (uint8_t)offset, len);
}

static const struct bus_ops tag_ops = { .read = tag_read, .width = 1 };

static void setup(void)
{
	static uint8_t hop = 0x40, fixed = 0x80, other = 0x10;
	struct err err = ERR_INIT;

	memset(&step, 0, sizeof(step));
	step.bus = bus_create("memory", UINT64_MAX, &err);
	step.hop = (struct bus_region){ .name = "hop", .base = LOW, .size = 16, .ops = &tag_ops, .dev = &hop };
	step.fixed = (struct bus_region){ .name = "fixed", .base = FIXED, .size = 16, .ops = &tag_ops, .dev = &fixed };
	for (unsigned i = 0; i < NEIGHBOURS; i++) /* most of them below, so that the others change places */
		step.neighbour[i] = (struct bus_region){
			.name = "other", .base = i < 6 ? 8 * i : 0x1000 + 8 * i, .size = 4, .ops = &tag_ops, .dev = &other,
		};
	ck_assert_int_eq(bus_add(step.bus, &step.hop, &err), 0);
	ck_assert_int_eq(bus_add(step.bus, &step.fixed, &err), 0);
}

static void teardown(void)
{
	bus_destroy(step.bus);
}

/* One lookup with a change before its nth load. Returns whether the lookup got that far. */
static bool try_step(unsigned n, unsigned changes, uint64_t addr, bool *claimed, uint8_t *byte)
{
	step.countdown = n;
	step.changes = changes;
	step.happened = false;
	*claimed = bus_read(step.bus, addr, byte, 1);
	step.countdown = 0;
	return step.happened;
}

START_TEST(fixed_is_always_found)
{
	unsigned steps = 0;
	bool claimed;
	uint8_t byte;

	for (unsigned changes = 1; changes <= 3; changes++) {
		for (unsigned n = 1; try_step(n, changes, FIXED + 5, &claimed, &byte); n++, steps++) {
			ck_assert(claimed);
			ck_assert_uint_eq(byte, 0x85);
		}
	}
	ck_assert_uint_gt(steps, 20);
}
END_TEST

START_TEST(moved_is_found_whole)
{
	static const uint64_t place[] = { LOW, HIGH };
	bool claimed;
	uint8_t byte;

	for (unsigned changes = 1; changes <= 4; changes++) {
		for (unsigned p = 0; p < 2; p++) {
			uint64_t addr = place[p] + 7;

			for (unsigned n = 1; try_step(n, changes, addr, &claimed, &byte); n++) {
				ck_assert_uint_eq(byte, claimed ? 0x47 : 0xff);
				/* After the change, lookups know. */
				ck_assert_int_eq(bus_read(step.bus, addr, &byte, 1), step.hop.base == place[p]);
			}
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bus step by step");
	TCase *t = tcase_create("steps");
	SRunner *sr = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, fixed_is_always_found);
	tcase_add_test(t, moved_is_found_whole);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
