/* SPDX-License-Identifier: MIT */
/*
 * A Motorola MC146818 real-time clock with 128 bytes of CMOS memory.
 *
 * Theory of operation
 *
 * Nothing ticks. Time is computed when somebody looks, from two numbers:
 *  - the divider: nanoseconds since the divider chain began to count, from the host's clock. Whole seconds of it are the chip's
 *    update cycles, and its 32768ths are what the periodic rates divide. Setting the time does not disturb it;
 *  - second_offset: added to the divider's seconds it gives the time of day, as seconds since 1970 in the guest's time base.
 *
 * While the guest holds the clock (SET, or the divider in reset) the time registers stand in `time` as bytes, as written; when it
 * lets go they are turned into second_offset. Values that are no time (a month of 0x55) count on as calendars do, and come back
 * as a valid date. Released from reset, the divider begins half a second before its first update, as the data sheet says.
 *
 * Register C's flags are computed too: `flags_upto` is the divider time up to which events are in `c`; rtc_sync() adds those that
 * came since. A timer is armed only for an interrupt that is enabled and whose flag is not yet set: an idle guest costs no
 * wake-up, and a guest that does not answer, or asks for 8192 Hz of a busy host, makes no backlog: missed periods are one.
 *
 * Update in progress (register A) shows in the last 244 us of a second, the time that the data sheet promises between UIP and the
 * update; the update itself takes no time. Who finds UIP clear has the 244 us for reading that they may count on.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hw/devices.h"
#include "hw/rtc_regs.h"
#include "vmm/bus.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"

#define UIP_NS 244141 /* 8 periods of 32768 Hz */
#define DIVIDER_HZ 32768
#define DAY_SECONDS 86400
#define ALARM_MAX_STEPS 400 /* hours, minutes and seconds to try within a day */

/* What the guest can see. */
struct rtc_regs {
	uint8_t index, a, b, c;
	uint8_t cmos[RTC_CMOS_SIZE]; /* alarm and memory; and the time registers while the clock is held */
};

struct rtc {
	struct device dev;
	pthread_mutex_t lock;
	struct rtc_regs r;
	int64_t divider_start_ns; /* host clock at divider 0 */
	int64_t second_offset;
	int64_t flags_upto; /* divider time */
	uint8_t weekday_offset; /* 0 to 6: what the guest set, against the calendar */
	struct irq_line irq;
	struct event_timer timer;
	bool paused;

	struct bus_region region;
	struct bus *pio;
	struct eventloop *loop;
};

/* A real clock goes on while the host sleeps: CLOCK_BOOTTIME. */
static int64_t host_clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

static bool divider_runs(const struct rtc *s)
{
	return (s->r.a & RTC_A_DIVIDER) <= RTC_A_DIVIDER_LAST_RUNNING;
}

/* The time registers are updated. */
static bool clock_runs(const struct rtc *s)
{
	return divider_runs(s) && !(s->r.b & RTC_B_SET);
}

static int64_t divider_ns(const struct rtc *s)
{
	return host_clock_ns() - s->divider_start_ns;
}

/* Calendar. Not gmtime_r: that reads the host's time zone files, and is a lock for all threads. */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* Days from 1970-01-01 to a proleptic Gregorian date; a `month` (from 1) or `day` that does not exist counts on. */
static int64_t days_of_date(int64_t year, int64_t month, int64_t day)
{
	static const uint16_t before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
	int64_t full;
	bool leap;

	year += floor_div(month - 1, 12);
	month -= 1 + 12 * floor_div(month - 1, 12);
	leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	full = year - 1; /* years since 0001-01-01, which was 719162 days before 1970 */
	return full * 365 + floor_div(full, 4) - floor_div(full, 100) + floor_div(full, 400) - 719162 + before[month] +
	       (leap && month >= 2) + day - 1;
}

struct date {
	int64_t year;
	unsigned month, day; /* from 1 */
};

static struct date date_of_days(int64_t days)
{
	struct date d = { .year = 1970 + floor_div(days * 400, 146097), .month = 1 }; /* 400 years; off by one at most */

	while (days < days_of_date(d.year, 1, 1))
		d.year--;
	while (days >= days_of_date(d.year + 1, 1, 1))
		d.year++;
	while (days >= days_of_date(d.year, d.month + 1, 1))
		d.month++;
	d.day = days - days_of_date(d.year, d.month, 1) + 1;
	return d;
}

/* 0 is Sunday; 1970-01-01 was a Thursday. */
static unsigned weekday_of_days(int64_t days)
{
	return (days % 7 + 7 + 4) % 7;
}

/* Register formats */

static uint8_t encode(const struct rtc *s, unsigned v)
{
	return s->r.b & RTC_B_BINARY ? v : v / 10 % 10 << 4 | v % 10;
}

static unsigned decode(const struct rtc *s, uint8_t v)
{
	return s->r.b & RTC_B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const struct rtc *s, unsigned hour)
{
	if (s->r.b & RTC_B_24H)
		return encode(s, hour);
	return encode(s, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? RTC_HOURS_PM : 0);
}

static unsigned decode_hour(const struct rtc *s, uint8_t v)
{
	if (s->r.b & RTC_B_24H)
		return decode(s, v);
	return decode(s, v & ~RTC_HOURS_PM) % 12 + (v & RTC_HOURS_PM ? 12 : 0);
}

/* Writes the running clock's time into the registers. */
static void time_to_regs(struct rtc *s)
{
	int64_t t = divider_ns(s) / NS_PER_SEC + s->second_offset;
	int64_t days = floor_div(t, DAY_SECONDS);
	unsigned of_day = t - days * DAY_SECONDS;
	struct date d = date_of_days(days);
	unsigned year = (d.year % 10000 + 10000) % 10000;

	s->r.cmos[RTC_SECONDS] = encode(s, of_day % 60);
	s->r.cmos[RTC_MINUTES] = encode(s, of_day / 60 % 60);
	s->r.cmos[RTC_HOURS] = encode_hour(s, of_day / 3600);
	s->r.cmos[RTC_DAY_OF_WEEK] = encode(s, (weekday_of_days(days) + s->weekday_offset) % 7 + 1);
	s->r.cmos[RTC_DAY] = encode(s, d.day);
	s->r.cmos[RTC_MONTH] = encode(s, d.month);
	s->r.cmos[RTC_YEAR] = encode(s, year % 100);
	s->r.cmos[RTC_CENTURY] = encode(s, year / 100);
}

/* The clock goes on from what the registers say. */
static void regs_to_time(struct rtc *s)
{
	const uint8_t *c = s->r.cmos;
	int64_t year = decode(s, c[RTC_CENTURY]) * 100 + decode(s, c[RTC_YEAR]);
	int64_t days = days_of_date(year, decode(s, c[RTC_MONTH]), decode(s, c[RTC_DAY]));
	int64_t t = days * DAY_SECONDS + decode_hour(s, c[RTC_HOURS]) * 3600 + decode(s, c[RTC_MINUTES]) * 60 +
		    decode(s, c[RTC_SECONDS]);

	s->second_offset = t - divider_ns(s) / NS_PER_SEC;
	/* The weekday is a counter of its own in the chip. + 6: registers count from 1 */
	s->weekday_offset = (decode(s, c[RTC_DAY_OF_WEEK]) + 6 + 7 - weekday_of_days(floor_div(t, DAY_SECONDS))) % 7;
}

/* Events: all in divider time */

/* 32768ths of a second, rounded down. */
static int64_t divider_ticks(int64_t ns)
{
	return ns / NS_PER_SEC * DIVIDER_HZ + ns % NS_PER_SEC * DIVIDER_HZ / NS_PER_SEC;
}

/* log2 of a period's length in ticks; -1: no periodic interrupt. Rates 1 and 2 are those of 8 and 9 (table 5). */
static int periodic_shift(const struct rtc *s)
{
	int rate = s->r.a & RTC_A_RATE;

	if (!rate)
		return -1;
	return rate <= 2 ? rate + 6 : rate - 1;
}

static int64_t periodic_next(const struct rtc *s, int64_t from)
{
	int shift = periodic_shift(s);
	int64_t tick = ((divider_ticks(from) >> shift) + 1) << shift;

	return tick / DIVIDER_HZ * NS_PER_SEC + (tick % DIVIDER_HZ * NS_PER_SEC + DIVIDER_HZ - 1) / DIVIDER_HZ;
}

static bool alarm_field(uint8_t alarm, uint8_t now)
{
	return alarm >= RTC_ALARM_ANY || alarm == now;
}

/* The next update after the one at divider second `from` that matches the alarm; INT64_MAX: never. */
static int64_t alarm_next(const struct rtc *s, int64_t from)
{
	int64_t t = from + s->second_offset + 1;
	const uint8_t *c = s->r.cmos;

	for (int i = 0; i < ALARM_MAX_STEPS; i++) {
		int64_t of_day = t - floor_div(t, DAY_SECONDS) * DAY_SECONDS;

		if (!alarm_field(c[RTC_HOURS_ALARM], encode_hour(s, of_day / 3600)))
			t += 3600 - of_day % 3600;
		else if (!alarm_field(c[RTC_MINUTES_ALARM], encode(s, of_day / 60 % 60)))
			t += 60 - of_day % 60;
		else if (!alarm_field(c[RTC_SECONDS_ALARM], encode(s, of_day % 60)))
			t++;
		else
			return t - s->second_offset;
	}
	return INT64_MAX;
}

/* Brings register C up to date, and the interrupt line with it. */
static void rtc_sync(struct rtc *s)
{
	int64_t now = divider_ns(s), then = s->flags_upto;
	int64_t second_now = now / NS_PER_SEC, second_then = then / NS_PER_SEC;

	s->flags_upto = now;
	if (divider_runs(s) && periodic_shift(s) >= 0 && periodic_next(s, then) <= now)
		s->r.c |= RTC_C_PF;
	if (clock_runs(s) && second_now > second_then) {
		s->r.c |= RTC_C_UF;
		if (!(s->r.c & RTC_C_AF) && alarm_next(s, second_then) <= second_now)
			s->r.c |= RTC_C_AF;
	}
	irq_set(&s->irq, s->r.b & s->r.c & RTC_C_FLAGS);
}

/* Arms the timer for the next enabled event whose flag is not set yet. Call after rtc_sync. */
static void rtc_arm(struct rtc *s)
{
	uint8_t wanted = s->r.b & ~s->r.c & RTC_C_FLAGS;
	int64_t now = s->flags_upto, second = now / NS_PER_SEC, next = INT64_MAX;

	if ((wanted & RTC_B_PIE) && divider_runs(s) && periodic_shift(s) >= 0)
		next = periodic_next(s, now);
	if ((wanted & RTC_B_UIE) && clock_runs(s))
		next = min_u64(next, (second + 1) * NS_PER_SEC);
	if ((wanted & RTC_B_AIE) && clock_runs(s)) {
		int64_t alarm = alarm_next(s, second);

		if (alarm != INT64_MAX)
			next = min_u64(next, alarm * NS_PER_SEC);
	}
	if (next == INT64_MAX || s->paused)
		eventloop_cancel(s->loop, &s->timer);
	else
		eventloop_arm(s->loop, &s->timer, now_ns() + (next - now));
}

static void rtc_timer(void *opaque)
{
	struct rtc *s = opaque;

	pthread_mutex_lock(&s->lock);
	if (!s->paused) {
		rtc_sync(s);
		rtc_arm(s);
	}
	pthread_mutex_unlock(&s->lock);
}

/* Registers */

static bool is_time_reg(uint8_t reg)
{
	return (reg <= RTC_YEAR && reg != RTC_SECONDS_ALARM && reg != RTC_MINUTES_ALARM && reg != RTC_HOURS_ALARM) ||
	       reg == RTC_CENTURY;
}

static uint8_t rtc_get(struct rtc *s)
{
	uint8_t reg = s->r.index, v;

	if (is_time_reg(reg) && clock_runs(s))
		time_to_regs(s);
	switch (reg) {
	case RTC_A:
		if (clock_runs(s) && divider_ns(s) % NS_PER_SEC >= NS_PER_SEC - UIP_NS)
			return s->r.a | RTC_A_UIP;
		return s->r.a;
	case RTC_B:
		return s->r.b;
	case RTC_C:
		rtc_sync(s);
		v = s->r.c | (s->r.b & s->r.c & RTC_C_FLAGS ? RTC_C_IRQF : 0);
		s->r.c = 0;
		irq_set(&s->irq, false);
		if (s->r.b & RTC_C_FLAGS)
			rtc_arm(s);
		return v;
	case RTC_D:
		return RTC_D_VALID;
	default:
		return s->r.cmos[reg];
	}
}

/* Register A or B changes: `a` and `b` are the new values. */
static void rtc_control(struct rtc *s, uint8_t a, uint8_t b)
{
	bool divider_ran = divider_runs(s), clock_ran = clock_runs(s);

	rtc_sync(s);
	if (clock_ran)
		time_to_regs(s); /* in the old format, in case that the clock stops here */
	s->r.a = a;
	s->r.b = b;
	if (!divider_ran && divider_runs(s)) {
		s->divider_start_ns = host_clock_ns() - NS_PER_SEC / 2;
		s->flags_upto = NS_PER_SEC / 2;
	}
	if (!clock_ran && clock_runs(s))
		regs_to_time(s);
	rtc_sync(s);
	rtc_arm(s);
}

static void rtc_put(struct rtc *s, uint8_t v)
{
	uint8_t reg = s->r.index;

	if (reg == RTC_A) {
		rtc_control(s, v & ~RTC_A_UIP, s->r.b);
	} else if (reg == RTC_B) {
		rtc_control(s, s->r.a, v & RTC_B_SET ? v & ~RTC_B_UIE : v); /* SET clears UIE */
	} else if (reg == RTC_C || reg == RTC_D) {
		/* read-only */
	} else if (is_time_reg(reg) && clock_runs(s)) {
		rtc_sync(s);
		time_to_regs(s);
		s->r.cmos[reg] = v;
		regs_to_time(s);
		rtc_arm(s);
	} else if (reg <= RTC_HOURS_ALARM) {
		rtc_sync(s);
		s->r.cmos[reg] = v;
		rtc_arm(s);
	} else {
		s->r.cmos[reg] = v;
	}
}

static void rtc_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct rtc *s = dev;

	(void)len;
	pthread_mutex_lock(&s->lock);
	*buf = offset == 0 ? s->r.index : rtc_get(s);
	pthread_mutex_unlock(&s->lock);
}

static void rtc_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct rtc *s = dev;

	(void)len;
	pthread_mutex_lock(&s->lock);
	if (offset == 0)
		s->r.index = *buf & ~RTC_NMI_OFF;
	else
		rtc_put(s, *buf);
	pthread_mutex_unlock(&s->lock);
}

static const struct bus_ops rtc_bus_ops = {
	.read = rtc_read,
	.write = rtc_write,
	.width = 1,
};

/* Life cycle */

/* The RESET pin: interrupts off, flags clear. Time, CMOS and the mode bits are kept by the battery. */
static void rtc_reset(struct device *dev)
{
	struct rtc *s = CONTAINER_OF(dev, struct rtc, dev);

	pthread_mutex_lock(&s->lock);
	rtc_sync(s);
	s->r.index = 0;
	s->r.b &= ~(RTC_B_PIE | RTC_B_AIE | RTC_B_UIE | RTC_B_SQWE);
	s->r.c = 0;
	irq_set(&s->irq, false);
	eventloop_cancel(s->loop, &s->timer);
	pthread_mutex_unlock(&s->lock);
}

static void rtc_quiesce(struct device *dev)
{
	struct rtc *s = CONTAINER_OF(dev, struct rtc, dev);

	pthread_mutex_lock(&s->lock);
	s->paused = true;
	eventloop_cancel(s->loop, &s->timer);
	pthread_mutex_unlock(&s->lock);
}

static void rtc_resume(struct device *dev)
{
	struct rtc *s = CONTAINER_OF(dev, struct rtc, dev);

	pthread_mutex_lock(&s->lock);
	s->paused = false;
	rtc_sync(s);
	rtc_arm(s);
	pthread_mutex_unlock(&s->lock);
}

static void rtc_destroy(struct device *dev)
{
	struct rtc *s = CONTAINER_OF(dev, struct rtc, dev);

	bus_remove(s->pio, &s->region);
	eventloop_cancel(s->loop, &s->timer);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static const struct device_ops rtc_ops = {
	.reset = rtc_reset,
	.quiesce = rtc_quiesce,
	.resume = rtc_resume,
	.destroy = rtc_destroy,
};

static void cmos_put16(struct rtc *s, unsigned at, uint64_t v)
{
	v = min_u64(v, UINT16_MAX);
	s->r.cmos[at] = v & 0xff;
	s->r.cmos[at + 1] = v >> 8;
}

static void cmos_memory_size(struct rtc *s, uint64_t below_4g, uint64_t above_4g)
{
	uint64_t ext_kib = below_4g > MIB ? (below_4g - MIB) / KIB : 0;
	uint64_t above_16m = below_4g > 16 * MIB ? (below_4g - 16 * MIB) / (64 * KIB) : 0;
	uint64_t high = min_u64(above_4g / (64 * KIB), 0xffffff);
	unsigned sum = 0;

	cmos_put16(s, CMOS_BASE_KIB, min_u64(below_4g / KIB, 640));
	cmos_put16(s, CMOS_EXT_KIB, ext_kib);
	cmos_put16(s, CMOS_EXT_KIB_2, ext_kib);
	cmos_put16(s, CMOS_ABOVE_16M, above_16m);
	s->r.cmos[CMOS_EQUIPMENT] = CMOS_EQUIPMENT_FPU;
	for (unsigned i = 0; i < 3; i++)
		s->r.cmos[CMOS_ABOVE_4G + i] = high >> (8 * i);
	for (unsigned i = CMOS_SUM_FIRST; i <= CMOS_SUM_LAST; i++)
		sum += s->r.cmos[i];
	s->r.cmos[CMOS_SUM] = sum >> 8;
	s->r.cmos[CMOS_SUM + 1] = sum & 0xff;
}

static void cmos_boot_order(struct rtc *s, uint16_t order)
{
	s->r.cmos[CMOS_BOOT_FLAG_2] = order & 0xff;
	s->r.cmos[CMOS_BOOT_FLAG_1] = (s->r.cmos[CMOS_BOOT_FLAG_1] & 0x0f) | (order >> 4 & 0xf0);
}

void rtc_set_boot_order(struct device *dev, uint16_t order)
{
	struct rtc *s = CONTAINER_OF(dev, struct rtc, dev);

	pthread_mutex_lock(&s->lock);
	cmos_boot_order(s, order);
	pthread_mutex_unlock(&s->lock);
}

struct device *rtc_create(const struct device_env *env, const struct rtc_config *cfg, struct err *err)
{
	struct rtc *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(err, -ENOMEM, "rtc: not enough memory on the host");
		return NULL;
	}
	s->dev.ops = &rtc_ops;
	s->dev.name = "rtc";
	s->irq = cfg->irq;
	s->loop = env->loop;
	s->pio = env->pio;
	s->timer.fire = rtc_timer;
	s->timer.opaque = s;
	s->r.a = RTC_A_POWER_ON;
	s->r.b = RTC_B_24H;
	s->divider_start_ns = host_clock_ns();
	s->second_offset = cfg->start_seconds;
	cmos_memory_size(s, cfg->ram_below_4g, cfg->ram_above_4g);
	s->r.cmos[CMOS_LAST_CPU] = cfg->cpus ? cfg->cpus - 1 : 0;
	s->r.cmos[CMOS_BOOT_FLAG_1] = cfg->check_floppy ? 0 : CMOS_BOOT_ANY_FLOPPY;
	cmos_boot_order(s, cfg->boot_order);
	s->region = (struct bus_region){
		.name = "rtc", .base = RTC_PORT, .size = RTC_PORTS, .ops = &rtc_bus_ops, .dev = s,
	};
	pthread_mutex_init(&s->lock, NULL);
	if (bus_add(s->pio, &s->region, err) < 0) {
		pthread_mutex_destroy(&s->lock);
		free(s);
		return NULL;
	}
	return &s->dev;
}
