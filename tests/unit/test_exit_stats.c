/* SPDX-License-Identifier: MIT */
/* -d exits: what is counted where, in what order and with which names it is told, and that a guest cannot make it grow. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/suite.h"
#include "vmm/bus.h"
#include "vmm/err.h"
#include "vmm/exit.h"
#include "vmm/util.h"

static char lines[80][256];
static unsigned n_lines;

static __attribute__((format(printf, 1, 2))) void fake_log(const char *fmt, ...)
{
	va_list ap;

	ck_assert_uint_lt(n_lines, ARRAY_SIZE(lines));
	va_start(ap, fmt);
	vsnprintf(lines[n_lines++], sizeof(lines[0]), fmt, ap);
	va_end(ap);
}

#define log_info fake_log
#include "vmm/exit_stats.c"
#undef log_info

static struct exit_stats *stats;
static struct bus *pio, *mmio;
static const struct bus_ops ops = { .width = 4 };
static struct bus_region com1 = { .name = "serial0", .base = 0x3f8, .size = 8, .ops = &ops };
static struct bus_region ecam = { .name = "PCI configuration", .base = 0xe0000000, .size = 0x100000, .ops = &ops };

static void setup(void)
{
	struct err err = ERR_INIT;

	n_lines = 0;
	stats = exit_stats_create();
	pio = bus_create("I/O port", 0xffff, &err);
	mmio = bus_create("memory", UINT64_MAX, &err);
	ck_assert(stats && pio && mmio);
	ck_assert_int_eq(bus_add(pio, &com1, &err), 0);
	ck_assert_int_eq(bus_add(mmio, &ecam, &err), 0);
}

static void teardown(void)
{
	bus_remove(pio, &com1);
	bus_remove(mmio, &ecam);
	bus_destroy(pio);
	bus_destroy(mmio);
	free(stats);
}

static void count(struct exit_stats *s, unsigned n, enum exit_kind kind, uint64_t addr, uint32_t width)
{
	const struct exit_key key = { .kind = kind, .addr = addr, .width = width };

	while (n--)
		exit_stats_count(s, &key, 2000);
}

/* A line has these words, in this order. */
static void check_line(unsigned n, const char *numbers, const char *what)
{
	ck_assert_uint_lt(n, n_lines);
	ck_assert_msg(strstr(lines[n], numbers) && strstr(lines[n], what) > strstr(lines[n], numbers), "line %u: '%s'", n, lines[n]);
}

START_TEST(histogram)
{
	count(stats, 50, EXIT_KIND_OUT, 0x3f8, 1);
	count(stats, 30, EXIT_KIND_IN, 0x3fd, 1);
	count(stats, 8, EXIT_KIND_IN, 0x3fd, 4);
	count(stats, 6, EXIT_KIND_MMIO_READ, 0xe0008000, 4);
	count(stats, 3, EXIT_KIND_MMIO_WRITE, 0x3f8, 8);
	count(stats, 3, EXIT_KIND_REASON, 10, 0); /* KVM_EXIT_INTR */
	exit_stats_log(stats, pio, mmio);
	ck_assert_uint_eq(n_lines, 7);
	check_line(0, "100 in all, 0.200 ms", "share");
	check_line(1, " 50  50.0 %     2.00 us", "out 1 0x3f8 serial0");
	check_line(2, " 30  30.0 %", "in 1 0x3fd serial0");
	check_line(3, " 8   8.0 %", "in 4 0x3fd serial0");
	check_line(4, " 6   6.0 %", "read 4 0xe0008000 PCI configuration");
	check_line(5, " 3   3.0 %", "exit KVM_EXIT_INTR");
	check_line(6, " 3   3.0 %", "write 8 0x3f8 nothing");
}
END_TEST

START_TEST(of_several_vcpus)
{
	struct exit_stats *other = exit_stats_create();

	ck_assert_ptr_nonnull(other);
	count(stats, 2, EXIT_KIND_OUT, 0x80, 1);
	count(other, 3, EXIT_KIND_OUT, 0x80, 1);
	count(other, 1, EXIT_KIND_IN, 0x80, 1);
	exit_stats_add(stats, other);
	free(other);
	exit_stats_log(stats, pio, mmio);
	ck_assert_uint_eq(n_lines, 3);
	check_line(0, "6 in all, 0.012 ms", "share");
	check_line(1, " 5  83.3 %     2.00 us", "out 1 0x80 nothing");
	check_line(2, " 1  16.7 %     2.00 us", "in 1 0x80 nothing");
}
END_TEST

/* The sum stays right however many addresses there are, and so does the number of lines. */
START_TEST(many_addresses)
{
	struct exit_stats *other = exit_stats_create();

	ck_assert_ptr_nonnull(other);
	count(stats, 3, EXIT_KIND_OUT, 0x3f8, 1);
	for (uint64_t i = 0; i < 4 * EXIT_STATS_ROWS; i++) {
		count(stats, 1, EXIT_KIND_MMIO_READ, i * 0x100000001, 4);
		count(other, 1, EXIT_KIND_MMIO_WRITE, UINT64_MAX - i, 8);
	}
	ck_assert(stats->used > EXIT_STATS_ROWS / 2 && stats->used < EXIT_STATS_ROWS);
	exit_stats_add(stats, other);
	ck_assert_uint_lt(stats->used, EXIT_STATS_ROWS);
	free(other);
	exit_stats_log(stats, pio, mmio);
	ck_assert_uint_eq(n_lines, 2 + SHOWN);
	check_line(0, "8195 in all, 16.390 ms", "share");
	check_line(1, " 3   0.0 %", "out 1 0x3f8 serial0");
	check_line(1 + SHOWN, " 8145 ", "others");
}
END_TEST

START_TEST(nothing_counted)
{
	exit_stats_log(stats, pio, mmio);
	ck_assert_uint_eq(n_lines, 1);
	check_line(0, "0 in all, 0.000 ms", "share");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { histogram, of_several_vcpus, many_addresses, nothing_counted };

	return suite_run("exit_stats", tests, ARRAY_SIZE(tests), setup, teardown);
}
