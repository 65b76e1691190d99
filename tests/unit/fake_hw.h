/* SPDX-License-Identifier: MIT */
/*
 * Fakes around a device under test: time that the test moves, an event loop of timers, a chardev, interrupt lines, and the
 * machine. A test includes this header first and then the device's .c file; calls to vmm's services are renamed to the fakes
 * below, so nothing clashes with the real ones in libkite.a. The bus is the real one.
 */
#ifndef TESTS_UNIT_FAKE_HW_H
#define TESTS_UNIT_FAKE_HW_H

#ifndef FAKE_WITHOUT_CHECK
#include <check.h>
#else /* a fuzzer: Check's macros need its runner */
#define ck_assert(x) ((x) ? (void)0 : abort())
#define ck_assert_ptr_null(p) ck_assert(!(p))
#define ck_assert_int_ne(a, b) ck_assert((a) != (b))
#endif
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hw/devices.h"
#include "vmm/bus.h"
#include "vmm/chardev.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/guest_mem.h"
#include "vmm/log.h"
#include "vmm/util.h"

/* Time: one clock for all that devices ask. */
#define FAKE_START_NS INT64_C(5000000000123)
static int64_t fake_now = FAKE_START_NS;

static inline int64_t fake_now_ns(void)
{
	return fake_now;
}

static inline int fake_clock_gettime(clockid_t clock, struct timespec *ts)
{
	(void)clock;
	ts->tv_sec = fake_now / NS_PER_SEC;
	ts->tv_nsec = fake_now % NS_PER_SEC;
	return 0;
}

/* The loop: armed timers, fired by fake_advance. */
#define FAKE_TIMERS 8
struct eventloop {
	struct event_timer *timer[FAKE_TIMERS];
	unsigned arms, fired;
};

static inline void fake_eventloop_cancel(struct eventloop *loop, struct event_timer *timer)
{
	timer->armed = false;
	for (unsigned i = 0; i < FAKE_TIMERS; i++)
		if (loop->timer[i] == timer)
			loop->timer[i] = NULL;
}

static inline void fake_eventloop_arm(struct eventloop *loop, struct event_timer *timer, int64_t deadline_ns)
{
	unsigned i = 0;

	fake_eventloop_cancel(loop, timer);
	while (i < FAKE_TIMERS - 1 && loop->timer[i])
		i++;
	ck_assert_ptr_null(loop->timer[i]);
	timer->deadline_ns = deadline_ns;
	timer->armed = true;
	loop->timer[i] = timer;
	loop->arms++;
}

static inline struct event_timer *fake_next_timer(struct eventloop *loop)
{
	struct event_timer *next = NULL;

	for (unsigned i = 0; i < FAKE_TIMERS; i++)
		if (loop->timer[i] && (!next || loop->timer[i]->deadline_ns < next->deadline_ns))
			next = loop->timer[i];
	return next;
}

/* Moves time on, firing timers on the way. */
static inline void fake_advance(struct eventloop *loop, int64_t ns)
{
	int64_t end = fake_now + ns;
	struct event_timer *t;

	while ((t = fake_next_timer(loop)) && t->deadline_ns <= end) {
		if (fake_now < t->deadline_ns)
			fake_now = t->deadline_ns;
		fake_eventloop_cancel(loop, t);
		loop->fired++;
		t->fire(t->opaque);
	}
	fake_now = end;
}

/* A host that is late: time passes, and only then do timers fire. */
static inline void fake_sleep(struct eventloop *loop, int64_t ns)
{
	fake_now += ns;
	fake_advance(loop, 0);
}

/* The chardev */
#define FAKE_CHR_MAX 4096
struct chardev {
	const struct chardev_frontend *fe;
	void *opaque;
	bool connected;
	size_t room; /* of the next writes; SIZE_MAX: no limit */
	uint8_t out[FAKE_CHR_MAX];
	size_t n_out;
	unsigned writes, accepts;
};

static inline bool fake_chardev_connected(const struct chardev *chr)
{
	return chr->connected;
}

static inline void fake_chardev_attach(struct chardev *chr, const struct chardev_frontend *fe, void *opaque)
{
	chr->fe = fe;
	chr->opaque = opaque;
	if (chr->connected)
		fe->event(opaque, CHARDEV_OPENED);
}

static inline void fake_chardev_detach(struct chardev *chr)
{
	chr->fe = NULL;
}

static inline size_t fake_chardev_write(struct chardev *chr, const void *buf, size_t len)
{
	size_t n = min_u64(len, min_u64(chr->room, FAKE_CHR_MAX - chr->n_out));

	memcpy(chr->out + chr->n_out, buf, n);
	chr->n_out += n;
	if (chr->room != SIZE_MAX)
		chr->room -= n;
	chr->writes++;
	return n;
}

static inline void fake_chardev_accept_input(struct chardev *chr)
{
	chr->accepts++;
}

/* Gives the device what it takes of `buf`, as a chardev does; returns how much. */
static inline size_t fake_input(struct chardev *chr, const void *buf, size_t len)
{
	size_t n = min_u64(len, chr->fe->can_receive(chr->opaque));

	if (n)
		chr->fe->receive(chr->opaque, buf, n);
	return n;
}

/* An interrupt line */
struct fake_irq {
	bool level;
	unsigned rises, pin;
};

static inline void fake_irq_set(void *ctl, unsigned pin, bool level)
{
	struct fake_irq *irq = ctl;

	ck_assert_int_ne(irq->level, level);
	irq->level = level;
	irq->pin = pin;
	irq->rises += level;
}

static const struct irq_ops fake_irq_ops = { .set = fake_irq_set };

static inline struct irq_line fake_irq_line(struct fake_irq *irq, unsigned pin)
{
	return (struct irq_line){ .ops = &fake_irq_ops, .ctl = irq, .pin = pin };
}

/* The machine: buses, loop, and what devices asked for */
struct fake_hw {
	struct device_env env;
	struct eventloop loop;
	unsigned requests;
	enum vm_request request;
	int status;
};

static inline void fake_request(void *machine, enum vm_request what, int status)
{
	struct fake_hw *hw = machine;

	hw->requests++;
	hw->request = what;
	hw->status = status;
}

static inline void fake_hw_init(struct fake_hw *hw)
{
	struct err err = ERR_INIT;

	memset(hw, 0, sizeof(*hw));
	fake_now = FAKE_START_NS;
	hw->env.pio = bus_create("I/O port", 0xffff, &err);
	hw->env.mmio = bus_create("memory", UINT64_MAX, &err);
	hw->env.loop = &hw->loop;
	hw->env.link = (struct machine_link){ .request = fake_request, .machine = hw };
	ck_assert(hw->env.pio && hw->env.mmio);
}

/* Destroys the device too, and checks that it left nothing behind. */
static inline void fake_hw_fini(struct fake_hw *hw, struct device *dev)
{
	uint8_t byte;

	dev->ops->destroy(dev);
	ck_assert_ptr_null(fake_next_timer(&hw->loop));
	for (unsigned port = 0; port <= 0xffff; port++)
		ck_assert(!bus_read(hw->env.pio, port, &byte, 1));
	bus_destroy(hw->env.pio);
	bus_destroy(hw->env.mmio);
}

/* Port accesses */
static inline uint32_t fake_in(struct fake_hw *hw, uint16_t port, unsigned len)
{
	uint8_t buf[4];
	uint32_t v = 0;

	bus_read(hw->env.pio, port, buf, len);
	memcpy(&v, buf, len);
	return v;
}

static inline void fake_out(struct fake_hw *hw, uint16_t port, uint32_t v, unsigned len)
{
	uint8_t buf[4];

	memcpy(buf, &v, sizeof(buf));
	bus_write(hw->env.pio, port, buf, len);
}

static inline uint8_t fake_inb(struct fake_hw *hw, uint16_t port)
{
	return fake_in(hw, port, 1);
}

static inline void fake_outb(struct fake_hw *hw, uint16_t port, uint8_t v)
{
	fake_out(hw, port, v, 1);
}

/* Every width at every offset, reads and writes of several values, from a little before the device to a little after it. */
static inline void fake_hostile_ports(struct fake_hw *hw, uint16_t base, unsigned size)
{
	static const uint32_t values[] = { 0, 0xffffffff, 0x5aa55aa5, 0x80808080, 0x01020304 };

	for (unsigned v = 0; v < ARRAY_SIZE(values); v++) {
		for (int port = (int)base - 4; port < (int)(base + size) + 4; port++) {
			for (unsigned len = 1; len <= 4; len *= 2) {
				if (port < 0 || port > 0xffff)
					continue;
				fake_in(hw, port, len);
				fake_out(hw, port, values[v], len);
				fake_in(hw, port, len);
			}
		}
	}
}

/* Pseudo-random accesses: the same in each run. */
static inline void fake_random_ports(struct fake_hw *hw, uint16_t base, unsigned size, unsigned n)
{
	uint32_t x = 2463534242;

	while (n--) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		if (x & 1)
			fake_out(hw, base + (x >> 8) % size, x >> 16, 1u << (x >> 1) % 3);
		else
			fake_in(hw, base + (x >> 8) % size, 1u << (x >> 1) % 3);
		fake_advance(&hw->loop, x % 1000000);
	}
}

#ifndef FAKE_WITHOUT_CHECK
static inline int fake_run_suite(Suite *suite)
{
	SRunner *sr = srunner_create(suite);
	int failed;

	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
#endif

#define now_ns fake_now_ns
#define clock_gettime fake_clock_gettime
#define eventloop_arm fake_eventloop_arm
#define eventloop_cancel fake_eventloop_cancel
#define chardev_connected fake_chardev_connected
#define chardev_attach fake_chardev_attach
#define chardev_detach fake_chardev_detach
#define chardev_write fake_chardev_write
#define chardev_accept_input fake_chardev_accept_input

#endif
