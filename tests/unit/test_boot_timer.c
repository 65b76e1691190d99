/* SPDX-License-Identifier: MIT */
/* isa-boot-timer and the clock behind it. */
#include "tests/unit/fake_hw.h"

#include <stdarg.h>

static char last[256];
static unsigned n_marks;
static int64_t fake_cpu;

static __attribute__((format(printf, 1, 2))) void fake_log(const char *fmt, ...)
{
	va_list ap;

	n_marks++;
	va_start(ap, fmt);
	vsnprintf(last, sizeof(last), fmt, ap);
	va_end(ap);
}

static int fake_cpu_clock(clockid_t clock, struct timespec *ts)
{
	ck_assert_int_eq(clock, CLOCK_PROCESS_CPUTIME_ID);
	ts->tv_sec = fake_cpu / NS_PER_SEC;
	ts->tv_nsec = fake_cpu % NS_PER_SEC;
	return 0;
}

#undef clock_gettime
#define clock_gettime fake_cpu_clock
#define log_info fake_log
#include "vmm/boot_clock.c"

#include "hw/boot_timer.c"

#define PORT 0x504

static struct fake_hw hw;
static struct boot_clock the_clock;

static void setup(void)
{
	fake_hw_init(&hw);
	fake_cpu = 1500000;
	boot_clock_start(&the_clock);
}

static struct device *make(uint16_t port, struct err *err)
{
	const struct boot_timer_config cfg = { .iobase = port, .clock = &the_clock };

	return boot_timer_create(&hw.env, &cfg, err);
}

START_TEST(clock_counts_from_exec)
{
	const struct boot_clock off = { .on = false };

	boot_clock_mark(&the_clock, "main");
	ck_assert_str_eq(last, "boot: 1.500 ms, CPU 1.500 ms: main");
	fake_now += 2 * NS_PER_SEC;
	fake_cpu += 250000;
	boot_clock_mark(&the_clock, "guest");
	ck_assert_str_eq(last, "boot: 2001.500 ms, CPU 1.750 ms: guest");
	n_marks = 0;
	boot_clock_mark(&off, "nothing");
	ck_assert_uint_eq(n_marks, 0);
}
END_TEST

START_TEST(marks)
{
	static const struct {
		uint8_t value;
		const char *text;
	} each[] = {
		{ 0x00, ": 0x00 firmware" }, { 0x1f, ": 0x1f firmware" }, { 0x20, ": 0x20 boot loader" }, { 0x40, ": 0x40 kernel" },
		{ 0x60, ": 0x60 user space" }, { 0x7f, ": 0x7f user space" }, { 0x80, ": 0x80 guest" }, { 0xff, ": 0xff guest" },
	};
	struct err err = ERR_INIT;
	struct device *dev = make(PORT, &err);

	ck_assert_ptr_nonnull(dev);
	fake_now += 1000000;
	for (unsigned i = 0; i < ARRAY_SIZE(each); i++) {
		n_marks = 0;
		fake_outb(&hw, PORT, each[i].value);
		ck_assert_uint_eq(n_marks, 1);
		ck_assert_msg(strstr(last, each[i].text) != NULL, "'%s'", last);
		ck_assert_ptr_nonnull(strstr(last, "boot: 2.500 ms"));
	}
	fake_out(&hw, PORT, 0x11223361, 4); /* one byte wide: its neighbours are not there */
	ck_assert_uint_eq(n_marks, 2);
	ck_assert_ptr_nonnull(strstr(last, "0x61 user space"));
	ck_assert_uint_eq(fake_inb(&hw, PORT), 0xff);
	fake_hw_fini(&hw, dev);
}
END_TEST

/* A guest that writes for ever, through resets, fills no log. */
START_TEST(bounded)
{
	struct err err = ERR_INIT;
	struct device *dev = make(PORT, &err);

	for (unsigned i = 0; i < BOOT_TIMER_MARKS - 1; i++)
		fake_outb(&hw, PORT, 0x40);
	ck_assert_ptr_null(strstr(last, "no more"));
	dev->ops->reset(dev);
	for (unsigned i = 0; i < 1000; i++)
		fake_outb(&hw, PORT, 0x40);
	ck_assert_uint_eq(n_marks, BOOT_TIMER_MARKS);
	ck_assert_ptr_nonnull(strstr(last, "0x40 kernel; no more are told"));
	fake_hostile_ports(&hw, PORT, 1);
	ck_assert_uint_eq(n_marks, BOOT_TIMER_MARKS);
	fake_hw_fini(&hw, dev);
}
END_TEST

START_TEST(refuses_a_taken_port)
{
	struct err err = ERR_INIT;
	struct device *dev = make(0xffff, &err);

	ck_assert_ptr_nonnull(dev);
	ck_assert_ptr_null(make(0xffff, &err));
	ck_assert_int_eq(err.code, -EEXIST);
	fake_hw_fini(&hw, dev);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("boot_timer");
	TCase *t = tcase_create("boot_timer");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, clock_counts_from_exec);
	tcase_add_test(t, marks);
	tcase_add_test(t, bounded);
	tcase_add_test(t, refuses_a_taken_port);
	return fake_run_suite(s);
}
