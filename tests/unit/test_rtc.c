/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_hw.h"

#include "hw/rtc.c"

#define INDEX 0x70
#define DATA 0x71
#define MS INT64_C(1000000)
#define US INT64_C(1000)

/* 2024-02-28 23:59:50 UTC, a Wednesday */
#define START INT64_C(1709164790)

static struct fake_hw hw;
static struct fake_irq irq;
static struct device *dev;

static void setup_with(int64_t start, uint64_t below, uint64_t above)
{
	struct err err = ERR_INIT;
	struct rtc_config cfg = { .start_seconds = start, .ram_below_4g = below, .ram_above_4g = above };

	fake_hw_init(&hw);
	memset(&irq, 0, sizeof(irq));
	cfg.irq = fake_irq_line(&irq, 8);
	dev = rtc_create(&hw.env, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
}

static void setup(void)
{
	setup_with(START, 128 * MIB, 0);
}

static void teardown(void)
{
	fake_hw_fini(&hw, dev);
}

static uint8_t get(uint8_t reg)
{
	fake_outb(&hw, INDEX, reg);
	return fake_inb(&hw, DATA);
}

static void put(uint8_t reg, uint8_t v)
{
	fake_outb(&hw, INDEX, reg);
	fake_outb(&hw, DATA, v);
}

static void advance(int64_t ns)
{
	fake_advance(&hw.loop, ns);
}

/* The registers as text: "20 24-02-28 3 23:59:50", century, date, weekday, time; in hexadecimal, which is how BCD reads. */
static void check_time(const char *expected)
{
	char text[64];

	snprintf(text, sizeof(text), "%02x %02x-%02x-%02x %x %02x:%02x:%02x", get(RTC_CENTURY), get(RTC_YEAR), get(RTC_MONTH),
		 get(RTC_DAY), get(RTC_DAY_OF_WEEK), get(RTC_HOURS), get(RTC_MINUTES), get(RTC_SECONDS));
	ck_assert_str_eq(text, expected);
}

/* As Linux' mc146818_set_time: SET, divider reset, registers, and back. */
static void set_time(const uint8_t regs[8])
{
	static const uint8_t reg[] = {
		RTC_CENTURY, RTC_YEAR, RTC_MONTH, RTC_DAY, RTC_DAY_OF_WEEK, RTC_HOURS, RTC_MINUTES, RTC_SECONDS,
	};
	uint8_t b = get(RTC_B), a = get(RTC_A) & ~RTC_A_UIP;

	put(RTC_B, b | RTC_B_SET);
	put(RTC_A, a | 0x70);
	for (unsigned i = 0; i < 8; i++)
		put(reg[i], regs[i]);
	put(RTC_B, b);
	put(RTC_A, a);
}

START_TEST(power_on)
{
	check_time("20 24-02-28 4 23:59:50");
	ck_assert_uint_eq(get(RTC_A), 0x26);
	ck_assert_uint_eq(get(RTC_B), 0x02);
	ck_assert_uint_eq(get(RTC_C), 0);
	ck_assert_uint_eq(get(RTC_D), 0x80);
	ck_assert_uint_eq(hw.loop.arms, 0);
}
END_TEST

START_TEST(goes_on)
{
	advance(10 * NS_PER_SEC - 1);
	check_time("20 24-02-28 4 23:59:59");
	advance(1);
	check_time("20 24-02-29 5 00:00:00"); /* leap year */
	advance(86400 * NS_PER_SEC);
	check_time("20 24-03-01 6 00:00:00");
	ck_assert_uint_eq(hw.loop.arms, 0);
}
END_TEST

START_TEST(index_port)
{
	fake_outb(&hw, INDEX, 0x80 | 0x40);
	ck_assert_uint_eq(fake_inb(&hw, INDEX), 0x40);
	fake_outb(&hw, DATA, 0x5a);
	ck_assert_uint_eq(get(0x40), 0x5a);
	fake_out(&hw, INDEX, 0xa541, 2); /* index and data in one access */
	ck_assert_uint_eq(get(0x41), 0xa5);
	ck_assert_uint_eq(fake_in(&hw, INDEX, 4), 0xffffa541);
}
END_TEST

START_TEST(cmos_memory)
{
	for (unsigned i = 0x0e; i < RTC_CMOS_SIZE; i++)
		if (i != RTC_CENTURY)
			put(i, i ^ 0x55);
	dev->ops->reset(dev);
	ck_assert_uint_eq(fake_inb(&hw, INDEX), 0);
	for (unsigned i = 0x0e; i < RTC_CMOS_SIZE; i++)
		if (i != RTC_CENTURY)
			ck_assert_uint_eq(get(i), i ^ 0x55);
	put(RTC_C, 0xff);
	put(RTC_D, 0);
	ck_assert_uint_eq(get(RTC_C), 0);
	ck_assert_uint_eq(get(RTC_D), 0x80);
}
END_TEST

static unsigned get16(uint8_t reg)
{
	return get(reg) | get(reg + 1) << 8;
}

static void check_memory(uint64_t below, uint64_t above, unsigned base, unsigned ext, unsigned ext16, unsigned high)
{
	unsigned sum = 0;

	setup_with(START, below, above);
	ck_assert_uint_eq(get16(0x15), base);
	ck_assert_uint_eq(get16(0x17), ext);
	ck_assert_uint_eq(get16(0x30), ext);
	ck_assert_uint_eq(get16(0x34), ext16);
	ck_assert_uint_eq(get16(0x5b) | get(0x5d) << 16, high);
	for (unsigned i = 0x10; i <= 0x2d; i++)
		sum += get(i);
	ck_assert_uint_eq(get(0x2e) << 8 | get(0x2f), sum);
	teardown();
}

START_TEST(memory_size)
{
	check_memory(512 * KIB, 0, 512, 0, 0, 0);
	check_memory(MIB, 0, 640, 0, 0, 0);
	check_memory(16 * MIB, 0, 640, 15 * 1024, 0, 0);
	check_memory(64 * MIB, 0, 640, 63 * 1024, 48 * 16, 0);
	check_memory(128 * MIB, 0, 640, 0xffff, 112 * 16, 0);
	check_memory(3 * GIB, 5 * GIB, 640, 0xffff, (3072 - 16) * 16, 5 * 1024 * 16);
	check_memory(4 * GIB, UINT64_MAX, 640, 0xffff, 4080 * 16, 0xffffff);
	check_memory(UINT64_MAX, 1 * GIB, 640, 0xffff, 0xffff, 0x4000);
}
END_TEST

START_TEST(formats)
{
	put(RTC_B, RTC_B_24H | RTC_B_BINARY);
	check_time("14 18-02-1c 4 17:3b:32");
	put(RTC_B, RTC_B_BINARY);
	check_time("14 18-02-1c 4 8b:3b:32"); /* 11 pm */
	put(RTC_B, 0);
	check_time("20 24-02-28 4 91:59:50");
	advance(10 * NS_PER_SEC);
	check_time("20 24-02-29 5 12:00:00"); /* 12 am */
	advance(3600 * NS_PER_SEC);
	check_time("20 24-02-29 5 01:00:00");
	advance(11 * 3600 * NS_PER_SEC);
	check_time("20 24-02-29 5 92:00:00"); /* 12 pm */
}
END_TEST

START_TEST(sets_time)
{
	advance(700 * MS);
	set_time((const uint8_t[]){ 0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x59 });
	check_time("19 99-12-31 6 23:59:59");
	advance(500 * MS - 1); /* the first update comes half a second after the divider starts */
	check_time("19 99-12-31 6 23:59:59");
	advance(1);
	check_time("20 00-01-01 7 00:00:00");
	advance(NS_PER_SEC);
	check_time("20 00-01-01 7 00:00:01");
	set_time((const uint8_t[]){ 0x21, 0x00, 0x02, 0x28, 1, 0x23, 0x59, 0x59 });
	advance(500 * MS);
	check_time("21 00-03-01 2 00:00:00"); /* 2100 is no leap year */
	/* In 12-hour mode */
	put(RTC_B, 0);
	set_time((const uint8_t[]){ 0x20, 0x24, 0x01, 0x01, 2, 0x12, 0x30, 0x00 });
	put(RTC_B, RTC_B_24H);
	check_time("20 24-01-01 2 00:30:00");
	put(RTC_B, 0);
	set_time((const uint8_t[]){ 0x20, 0x24, 0x01, 0x01, 2, 0x92, 0x30, 0x00 });
	put(RTC_B, RTC_B_24H);
	check_time("20 24-01-01 2 12:30:00");
	put(RTC_B, RTC_B_24H | RTC_B_BINARY);
	set_time((const uint8_t[]){ 20, 24, 6, 15, 7, 13, 14, 15 });
	put(RTC_B, RTC_B_24H);
	check_time("20 24-06-15 7 13:14:15");
}
END_TEST

START_TEST(set_bit_freezes)
{
	advance(300 * MS);
	put(RTC_B, RTC_B_24H | RTC_B_SET | RTC_B_UIE);
	ck_assert_uint_eq(get(RTC_B), RTC_B_24H | RTC_B_SET); /* SET clears UIE */
	advance(5 * NS_PER_SEC);
	check_time("20 24-02-28 4 23:59:50");
	ck_assert_uint_eq(get(RTC_C) & RTC_C_UF, 0);
	put(RTC_MINUTES, 0x30);
	put(RTC_B, RTC_B_24H);
	check_time("20 24-02-28 4 23:30:50");
	advance(700 * MS - 1); /* the divider was not disturbed */
	check_time("20 24-02-28 4 23:30:50");
	advance(1);
	check_time("20 24-02-28 4 23:30:51");
}
END_TEST

START_TEST(divider_stops)
{
	put(RTC_B, RTC_B_24H | RTC_B_PIE | RTC_B_UIE);
	put(RTC_A, 0x66);
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
	get(RTC_C);
	advance(5 * NS_PER_SEC);
	check_time("20 24-02-28 4 23:59:50");
	ck_assert_uint_eq(get(RTC_C), 0);
	put(RTC_A, 0x26);
	ck_assert_ptr_nonnull(fake_next_timer(&hw.loop));
	put(RTC_A, 0x36); /* a test mode */
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
}
END_TEST

START_TEST(writes_while_running)
{
	advance(200 * MS);
	put(RTC_HOURS, 0x12);
	put(RTC_YEAR, 0x25);
	check_time("20 25-02-28 4 12:59:50");
	advance(800 * MS);
	check_time("20 25-02-28 4 12:59:51");
	put(RTC_DAY_OF_WEEK, 7);
	check_time("20 25-02-28 7 12:59:51");
	put(RTC_HOURS, 0x23);
	advance(10 * NS_PER_SEC);
	check_time("20 25-03-01 1 00:00:01");
}
END_TEST

START_TEST(no_valid_date)
{
	/* Counts on as a calendar does: month 13 is January, day 0 the last of the month before. */
	set_time((const uint8_t[]){ 0x20, 0x24, 0x13, 0x00, 1, 0x00, 0x00, 0x00 });
	check_time("20 24-12-31 1 00:00:00");
	for (unsigned mode = 0; mode < 8; mode += 2) {
		put(RTC_B, mode);
		for (unsigned v = 0; v < 256; v++) {
			uint8_t b = v, c = 255 - v;

			set_time((const uint8_t[]){ b, b, b, b, b, b, b, b });
			advance(NS_PER_SEC);
			set_time((const uint8_t[]){ 0, 0, b, b, b, c, b, c });
			advance(NS_PER_SEC);
			ck_assert_uint_ge(get(RTC_MONTH), 1);
			ck_assert_uint_le(get(RTC_MONTH), 0x12);
			ck_assert_uint_ge(get(RTC_DAY), 1);
			ck_assert_uint_le(get(RTC_DAY), 0x31);
		}
	}
}
END_TEST

START_TEST(calendar)
{
	static const uint8_t length[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int64_t days = days_of_date(1600, 1, 1);

	ck_assert_int_eq(days_of_date(1970, 1, 1), 0);
	ck_assert_int_eq(days_of_date(2000, 3, 1), 11017);
	ck_assert_int_eq(days_of_date(2000, 15, 1), days_of_date(2001, 3, 1));
	ck_assert_int_eq(days_of_date(0, 0, 1), days_of_date(-1, 12, 1));
	for (int year = 1600; year <= 2400; year++) {
		bool leap = (year % 4 == 0 && year % 100) || year % 400 == 0;

		for (int month = 1; month <= 12; month++) {
			for (int day = 1; day <= length[month - 1] + (month == 2 && leap); day++, days++) {
				struct date d = date_of_days(days);

				ck_assert_int_eq(days_of_date(year, month, day), days);
				ck_assert(d.year == year && d.month == (unsigned)month && d.day == (unsigned)day);
			}
		}
	}
	ck_assert_uint_eq(weekday_of_days(0), 4);
	ck_assert_uint_eq(weekday_of_days(-5), 6);
}
END_TEST

START_TEST(before_1970)
{
	setup_with(-1, MIB, 0);
	check_time("19 69-12-31 4 23:59:59");
	advance(NS_PER_SEC);
	check_time("19 70-01-01 5 00:00:00");
	teardown();
	setup_with(INT64_C(-62167219201), MIB, 0); /* the last second before year 0 */
	check_time("99 99-12-31 6 23:59:59");
	teardown();
}
END_TEST

START_TEST(update_in_progress)
{
	ck_assert_uint_eq(get(RTC_A), 0x26);
	advance(NS_PER_SEC - 250 * US);
	ck_assert_uint_eq(get(RTC_A), 0x26);
	advance(10 * US);
	ck_assert_uint_eq(get(RTC_A), 0xa6);
	advance(239 * US);
	ck_assert_uint_eq(get(RTC_A), 0xa6);
	check_time("20 24-02-28 4 23:59:50");
	put(RTC_B, RTC_B_24H | RTC_B_SET); /* no update now */
	ck_assert_uint_eq(get(RTC_A), 0x26);
	put(RTC_B, RTC_B_24H);
	put(RTC_A, 0xa6); /* UIP is read-only */
	ck_assert_uint_eq(get(RTC_A), 0xa6);
	advance(US);
	ck_assert_uint_eq(get(RTC_A), 0x26);
	check_time("20 24-02-28 4 23:59:51");
}
END_TEST

START_TEST(update_interrupt)
{
	advance(400 * MS);
	put(RTC_B, RTC_B_24H | RTC_B_UIE);
	ck_assert(!irq.level);
	advance(600 * MS - 1);
	ck_assert(!irq.level);
	advance(1);
	ck_assert(irq.level);
	ck_assert_uint_eq(irq.pin, 8);
	ck_assert_ptr_null(fake_next_timer(&hw.loop)); /* not before the guest answers */
	advance(10 * NS_PER_SEC);
	ck_assert_uint_eq(get(RTC_C), RTC_C_IRQF | RTC_C_UF | RTC_C_PF | RTC_C_AF); /* it was midnight: the alarm's 00:00:00 */
	ck_assert(!irq.level);
	ck_assert_uint_eq(get(RTC_C), 0);
	advance(NS_PER_SEC);
	ck_assert(irq.level);
	ck_assert_uint_eq(irq.rises, 2);
	put(RTC_B, RTC_B_24H); /* disabled: the line falls, the flag stays */
	ck_assert(!irq.level);
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
	put(RTC_B, RTC_B_24H | RTC_B_UIE); /* enabled with the flag set */
	ck_assert(irq.level);
}
END_TEST

START_TEST(flags_without_interrupts)
{
	get(RTC_C);
	advance(NS_PER_SEC);
	ck_assert_uint_eq(get(RTC_C), RTC_C_UF | RTC_C_PF); /* no IRQF */
	ck_assert_uint_eq(get(RTC_C), 0);
	advance(976 * US);
	ck_assert_uint_eq(get(RTC_C), 0);
	advance(US);
	ck_assert_uint_eq(get(RTC_C), RTC_C_PF);
	put(RTC_A, 0x20); /* no periodic rate */
	advance(NS_PER_SEC / 2);
	ck_assert_uint_eq(get(RTC_C), 0);
	ck_assert_uint_eq(irq.rises, 0);
	ck_assert_uint_eq(hw.loop.arms, 0);
}
END_TEST

START_TEST(periodic_rates)
{
	static const unsigned hz[] = { 0, 256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2 };

	put(RTC_SECONDS_ALARM, 0x60); /* never */
	put(RTC_B, RTC_B_24H | RTC_B_PIE);
	for (unsigned rate = 0; rate < 16; rate++) {
		int64_t end;
		unsigned before;

		put(RTC_A, 0x20 | rate);
		get(RTC_C);
		before = irq.rises;
		end = fake_now + NS_PER_SEC;
		while (fake_next_timer(&hw.loop) && fake_next_timer(&hw.loop)->deadline_ns <= end) {
			advance(fake_next_timer(&hw.loop)->deadline_ns - fake_now);
			ck_assert(irq.level);
			ck_assert_uint_eq(get(RTC_C), RTC_C_IRQF | RTC_C_PF | (fake_now % NS_PER_SEC == 123 ? RTC_C_UF : 0));
		}
		advance(end - fake_now);
		ck_assert_uint_eq(irq.rises - before, hz[rate]);
	}
}
END_TEST

START_TEST(no_backlog)
{
	put(RTC_A, 0x23); /* 8192 Hz */
	put(RTC_B, RTC_B_24H | RTC_B_PIE);
	fake_sleep(&hw.loop, 10 * NS_PER_SEC); /* the host is late by 81920 periods */
	ck_assert_uint_eq(irq.rises, 1);
	ck_assert_uint_eq(hw.loop.fired, 1);
	ck_assert(get(RTC_C) & RTC_C_IRQF);
	fake_sleep(&hw.loop, 1);
	ck_assert_uint_eq(irq.rises, 1);
	fake_sleep(&hw.loop, 123 * US);
	ck_assert_uint_eq(irq.rises, 2);
	fake_sleep(&hw.loop, NS_PER_SEC); /* a guest that does not answer */
	ck_assert_uint_eq(hw.loop.fired, 2);
}
END_TEST

static void put_alarm(uint8_t hours, uint8_t minutes, uint8_t seconds)
{
	put(RTC_HOURS_ALARM, hours);
	put(RTC_MINUTES_ALARM, minutes);
	put(RTC_SECONDS_ALARM, seconds);
}

START_TEST(alarm_interrupt)
{
	put(RTC_B, RTC_B_24H | RTC_B_AIE);
	get(RTC_C);
	put_alarm(0x00, 0x00, 0x05); /* in 15 s, tomorrow */
	ck_assert_uint_eq(get(RTC_HOURS_ALARM), 0x00);
	ck_assert_uint_eq(get(RTC_SECONDS_ALARM), 0x05);
	ck_assert_int_eq(fake_next_timer(&hw.loop)->deadline_ns, fake_now + 15 * NS_PER_SEC);
	advance(15 * NS_PER_SEC - 1);
	ck_assert(!irq.level);
	advance(1);
	ck_assert(irq.level);
	ck_assert_uint_eq(get(RTC_C) & ~RTC_C_PF, RTC_C_IRQF | RTC_C_AF | RTC_C_UF);
	ck_assert_int_eq(fake_next_timer(&hw.loop)->deadline_ns, fake_now + 86400 * NS_PER_SEC);
	put_alarm(0xc0, 0xff, 0x05); /* each minute */
	ck_assert_int_eq(fake_next_timer(&hw.loop)->deadline_ns, fake_now + 60 * NS_PER_SEC);
	put_alarm(0xff, 0x59, 0xff); /* each second of a minute, in 59 minutes less 5 seconds */
	ck_assert_int_eq(fake_next_timer(&hw.loop)->deadline_ns, fake_now + (59 * 60 - 5) * NS_PER_SEC);
	put_alarm(0x00, 0x00, 0x04); /* the worst search: just over */
	ck_assert_int_eq(fake_next_timer(&hw.loop)->deadline_ns, fake_now + 86399 * NS_PER_SEC);
	put_alarm(0xff, 0xff, 0x60); /* never */
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
	put_alarm(0x24, 0x00, 0x00);
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
	advance(3 * 86400 * NS_PER_SEC);
	ck_assert(!irq.level);
	put_alarm(0xff, 0xff, 0xff);
	advance(NS_PER_SEC);
	ck_assert(irq.level);
	put(RTC_B, RTC_B_24H | RTC_B_AIE | RTC_B_SET);
	get(RTC_C);
	ck_assert_ptr_null(fake_next_timer(&hw.loop)); /* SET holds it */
	/* 12-hour mode */
	put(RTC_B, RTC_B_AIE);
	put(RTC_HOURS, 0x11);
	put_alarm(0x92, 0xff, 0xff);
	advance(3600 * NS_PER_SEC);
	ck_assert(irq.level);
}
END_TEST

START_TEST(alarm_flag_without_interrupt)
{
	put_alarm(0x23, 0x59, 0x55);
	get(RTC_C);
	advance(4 * NS_PER_SEC);
	ck_assert_uint_eq(get(RTC_C) & RTC_C_AF, 0);
	advance(2 * NS_PER_SEC); /* past it, when nobody looked */
	ck_assert_uint_eq(get(RTC_C) & RTC_C_AF, RTC_C_AF);
	ck_assert_uint_eq(get(RTC_C) & RTC_C_AF, 0);
	put(RTC_SECONDS, 0x54); /* set back before the alarm */
	advance(NS_PER_SEC);
	ck_assert_uint_eq(get(RTC_C) & RTC_C_AF, RTC_C_AF);
}
END_TEST

START_TEST(early_timer)
{
	put(RTC_B, RTC_B_24H | RTC_B_UIE);
	rtc_timer(CONTAINER_OF(dev, struct rtc, dev));
	ck_assert(!irq.level);
	advance(NS_PER_SEC);
	ck_assert(irq.level);
}
END_TEST

START_TEST(reset)
{
	put(RTC_B, 0x7f & ~RTC_B_BINARY);
	put(RTC_A, 0x2f);
	advance(NS_PER_SEC);
	ck_assert(irq.level);
	dev->ops->reset(dev);
	ck_assert(!irq.level);
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
	ck_assert_uint_eq(get(RTC_B), RTC_B_24H | 1); /* the modes stay */
	ck_assert_uint_eq(get(RTC_A), 0x2f);
	ck_assert_uint_eq(get(RTC_C), 0);
	check_time("20 24-02-28 4 23:59:51");
}
END_TEST

START_TEST(quiesce_and_resume)
{
	put(RTC_B, RTC_B_24H | RTC_B_UIE);
	dev->ops->quiesce(dev);
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
	get(RTC_C);
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
	rtc_timer(CONTAINER_OF(dev, struct rtc, dev)); /* was on its way */
	advance(10 * NS_PER_SEC);
	ck_assert(!irq.level);
	dev->ops->resume(dev);
	ck_assert(irq.level);
	check_time("20 24-02-29 5 00:00:00");
	get(RTC_C);
	ck_assert_ptr_nonnull(fake_next_timer(&hw.loop));
}
END_TEST

/* What firmware finds in CMOS: processors, equipment, and the boot order, which may change at a reset and nothing else does. */
START_TEST(firmware_fields)
{
	struct rtc_config cfg = { .ram_below_4g = 128 * MIB, .cpus = 4, .boot_order = 0x312, .check_floppy = true };
	struct err err = ERR_INIT;

	teardown();
	fake_hw_init(&hw);
	memset(&irq, 0, sizeof(irq));
	cfg.irq = fake_irq_line(&irq, 8);
	dev = rtc_create(&hw.env, &cfg, &err);
	ck_assert_ptr_nonnull(dev);
	ck_assert_uint_eq(get(0x5f), 3);
	ck_assert_uint_eq(get(0x14), 0x02);
	ck_assert_uint_eq(get(0x10), 0); /* no floppy drives */
	ck_assert_uint_eq(get(0x0f), 0);
	ck_assert_uint_eq(get(0x3d), 0x12);
	ck_assert_uint_eq(get(0x38), 0x30);
	put(0x38, 0x35);
	rtc_set_boot_order(dev, 0x241);
	ck_assert_uint_eq(get(0x3d), 0x41);
	ck_assert_uint_eq(get(0x38), 0x25);
	dev->ops->reset(dev);
	ck_assert_uint_eq(get(0x3d), 0x41);
}
END_TEST

START_TEST(ports_taken)
{
	struct err err = ERR_INIT;
	struct rtc_config cfg = { .start_seconds = 0 };

	ck_assert_ptr_null(rtc_create(&hw.env, &cfg, &err));
	ck_assert_int_eq(err.code, -EEXIST);
}
END_TEST

START_TEST(hostile)
{
	fake_hostile_ports(&hw, INDEX, RTC_PORTS);
	for (unsigned a = 0; a < 256; a++) {
		put(RTC_A, a);
		fake_random_ports(&hw, INDEX, RTC_PORTS, 50);
		put(RTC_B, a);
		fake_random_ports(&hw, INDEX, RTC_PORTS, 50);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rtc");
	TCase *t = tcase_create("rtc"), *bare = tcase_create("own set-up");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, power_on);
	tcase_add_test(t, goes_on);
	tcase_add_test(t, index_port);
	tcase_add_test(t, cmos_memory);
	tcase_add_test(t, firmware_fields);
	tcase_add_test(t, formats);
	tcase_add_test(t, sets_time);
	tcase_add_test(t, set_bit_freezes);
	tcase_add_test(t, divider_stops);
	tcase_add_test(t, writes_while_running);
	tcase_add_test(t, no_valid_date);
	tcase_add_test(t, update_in_progress);
	tcase_add_test(t, update_interrupt);
	tcase_add_test(t, flags_without_interrupts);
	tcase_add_test(t, periodic_rates);
	tcase_add_test(t, no_backlog);
	tcase_add_test(t, alarm_interrupt);
	tcase_add_test(t, alarm_flag_without_interrupt);
	tcase_add_test(t, early_timer);
	tcase_add_test(t, reset);
	tcase_add_test(t, quiesce_and_resume);
	tcase_add_test(t, ports_taken);
	tcase_add_test(t, hostile);
	suite_add_tcase(s, bare);
	tcase_add_test(bare, memory_size);
	tcase_add_test(bare, calendar);
	tcase_add_test(bare, before_1970);
	return fake_run_suite(s);
}
