/* SPDX-License-Identifier: MIT */
/* Watchdogs and pvpanic, on fake ports, a fake loop and time, and a real PCI bus. */
#include "tests/unit/fake_hw.h"

#include "tests/unit/suite.h"
#include "hw/i6300esb.c"
#include "hw/ib700.c"
#include "hw/pvpanic.c"
#include "hw/pci_regs.h"

#define ECAM UINT64_C(0xe0000000)
#define SECOND NS_PER_SEC

static struct fake_hw hw;
static unsigned told[MACHINE_NEWS];
static struct device *dev, *bus_dev, *reset_ctl;
static struct pci_bus *bus;
static unsigned devfn;

static void hear(void *machine, enum machine_news news)
{
	ck_assert_ptr_eq(machine, &hw);
	told[news]++;
}

static void setup(void)
{
	struct pci_bus_config cfg = { .ecam_base = ECAM, .io = { 0xc000, 0x4000 }, .mem32 = { 0xc0000000, 0x20000000 } };
	struct err err = ERR_INIT;

	log_set_level(LOG_LEVEL_NONE);
	fake_hw_init(&hw);
	hw.env.link.tell = hear;
	memset(told, 0, sizeof(told));
	dev = NULL;
	reset_ctl = reset_ctl_create(&hw.env, &err);
	cfg.reset_ctl = reset_ctl;
	bus = pci_bus_create(&hw.env, &cfg, &err);
	ck_assert_msg(bus != NULL, "%s", err.msg);
	bus_dev = pci_bus_device(bus);
	devfn = PCI_DEVFN(5, 0);
}

static void teardown(void)
{
	dev->ops->destroy(dev);
	bus_dev->ops->destroy(bus_dev);
	fake_hw_fini(&hw, reset_ctl);
}

static uint32_t mem_read(uint64_t at, unsigned len)
{
	uint8_t buf[8] = { 0 };

	bus_read(hw.env.mmio, at, buf, len);
	return load_le32(buf);
}

static void mem_write(uint64_t at, uint32_t v, unsigned len)
{
	uint8_t buf[8];

	store_le32(buf, v);
	bus_write(hw.env.mmio, at, buf, len);
}

static uint64_t config(unsigned reg)
{
	return ECAM + (devfn << 12) + reg;
}

/* ---- pvpanic ---- */

START_TEST(pvpanic_port)
{
	const struct pvpanic_config cfg = { .events = PVPANIC_EVENTS, .iobase = PVPANIC_PORT };
	struct err err = ERR_INIT;

	dev = pvpanic_create(&hw.env, NULL, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
	ck_assert_ptr_null(pvpanic_create(&hw.env, NULL, &cfg, &err));
	ck_assert_uint_eq(fake_inb(&hw, PVPANIC_PORT), 3);
	fake_outb(&hw, PVPANIC_PORT, 0);
	fake_outb(&hw, PVPANIC_PORT, 0xfc);
	ck_assert(!told[MACHINE_PANICKED] && !told[MACHINE_CRASHLOADED]);
	fake_outb(&hw, PVPANIC_PORT, 1);
	ck_assert_uint_eq(told[MACHINE_PANICKED], 1);
	fake_outb(&hw, PVPANIC_PORT, 2);
	ck_assert_uint_eq(told[MACHINE_CRASHLOADED], 1);
	ck_assert_uint_eq(told[MACHINE_PANICKED], 1);
	dev->ops->reset(dev);
	fake_hostile_ports(&hw, PVPANIC_PORT, 1);
}
END_TEST

START_TEST(pvpanic_events)
{
	const struct pvpanic_config cfg = { .events = PVPANIC_CRASHLOADED, .iobase = PVPANIC_PORT };
	struct err err = ERR_INIT;

	dev = pvpanic_create(&hw.env, NULL, &cfg, &err);
	ck_assert_uint_eq(fake_inb(&hw, PVPANIC_PORT), 2);
	fake_outb(&hw, PVPANIC_PORT, 1);
	ck_assert(!told[MACHINE_PANICKED]);
}
END_TEST

START_TEST(pvpanic_pci)
{
	const struct pvpanic_config cfg = { .events = PVPANIC_EVENTS, .devfn = (int)devfn };
	struct err err = ERR_INIT;
	uint32_t at;

	dev = pvpanic_create(&hw.env, bus, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
	ck_assert_ptr_null(pvpanic_create(&hw.env, bus, &cfg, &err));
	ck_assert_int_eq(pci_bus_assign(bus, &err), 0);
	ck_assert_uint_eq(mem_read(config(0), 4), 0x00111b36);
	at = mem_read(config(PCI_BAR0), 4);
	ck_assert_uint_eq(mem_read(at, 1), 3);
	ck_assert_uint_eq(mem_read(at, 4), 3);
	mem_write(at + 1, 0xff, 1);
	ck_assert(!told[MACHINE_PANICKED]);
	mem_write(at, 1, 1);
	ck_assert_uint_eq(told[MACHINE_PANICKED], 1);
	dev->ops->reset(dev);
}
END_TEST

/* ---- ib700 ---- */

static void make_ib700(void)
{
	const struct ib700_config cfg = { .name = "watchdog0" };
	struct err err = ERR_INIT;

	dev = ib700_create(&hw.env, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
}

START_TEST(ib700_runs_out)
{
	make_ib700();
	fake_outb(&hw, IB700_START_PORT, 0);
	fake_advance(&hw.loop, 30 * SECOND - 1);
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 0);
	fake_outb(&hw, IB700_START_PORT, 0xf3); /* 24 */
	fake_advance(&hw.loop, 24 * SECOND - 1);
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 0);
	fake_advance(&hw.loop, 1);
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 1);
	fake_advance(&hw.loop, 100 * SECOND); /* once */
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 1);
	fake_outb(&hw, IB700_START_PORT, 15); /* at once */
	fake_advance(&hw.loop, 0);
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 2);
}
END_TEST

START_TEST(ib700_stops)
{
	make_ib700();
	fake_outb(&hw, IB700_START_PORT, 0);
	fake_outb(&hw, IB700_STOP_PORT, 0);
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
	fake_outb(&hw, IB700_START_PORT, 0);
	dev->ops->reset(dev);
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
	fake_hostile_ports(&hw, IB700_STOP_PORT, 3);
}
END_TEST

START_TEST(ib700_stands_still)
{
	make_ib700();
	fake_outb(&hw, IB700_START_PORT, 0);
	fake_advance(&hw.loop, 29 * SECOND);
	dev->ops->quiesce(dev);
	fake_advance(&hw.loop, 1000 * SECOND);
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 0);
	dev->ops->resume(dev);
	fake_advance(&hw.loop, SECOND - 1);
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 0);
	fake_advance(&hw.loop, 1);
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 1);
}
END_TEST

/* ---- i6300esb ---- */

static uint32_t esb_bar;

static void make_esb(void)
{
	const struct i6300esb_config cfg = { .name = "watchdog0", .devfn = (int)devfn };
	struct err err = ERR_INIT;

	dev = i6300esb_create(&hw.env, bus, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
	ck_assert_int_eq(pci_bus_assign(bus, &err), 0);
	ck_assert_uint_eq(mem_read(config(0), 4), 0x25ab8086);
	esb_bar = mem_read(config(PCI_BAR0), 4);
}

static void unlock(void)
{
	mem_write(esb_bar + ESB_RELOAD, ESB_UNLOCK1, 2);
	mem_write(esb_bar + ESB_RELOAD, ESB_UNLOCK2, 2);
}

static void esb_set(unsigned reg, uint32_t v)
{
	unlock();
	mem_write(esb_bar + reg, v, reg == ESB_RELOAD ? 2 : 4);
}

/* As Linux's driver does: half the time in each stage, no interrupt. */
static void esb_start(uint32_t seconds)
{
	mem_write(config(ESB_CONFIG), 3, 2);
	esb_set(ESB_PRELOAD1, seconds << 9);
	esb_set(ESB_PRELOAD2, seconds << 9);
	esb_set(ESB_RELOAD, ESB_RELOAD_RELOAD);
	mem_write(config(ESB_LOCK), ESB_LOCK_ENABLE, 1);
}

#define ESB_TIME(seconds) ((int64_t)(seconds) * 1024 * ESB_TICK_SLOW_NS)

START_TEST(esb_runs_out)
{
	make_esb();
	esb_start(30);
	fake_advance(&hw.loop, ESB_TIME(15));
	ck_assert_uint_eq(mem_read(esb_bar + ESB_STATUS, 4), ESB_STATUS_STAGE1);
	mem_write(esb_bar + ESB_STATUS, ESB_STATUS_STAGE1, 4);
	ck_assert_uint_eq(mem_read(esb_bar + ESB_STATUS, 4), 0);
	fake_advance(&hw.loop, ESB_TIME(15) - 1);
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 0);
	ck_assert_uint_eq(mem_read(esb_bar + ESB_RELOAD, 2), 0);
	fake_advance(&hw.loop, 1);
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 1);
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
	dev->ops->reset(dev);
	ck_assert_int_eq(pci_bus_assign(bus, &(struct err)ERR_INIT), 0);
	ck_assert_uint_eq(mem_read(esb_bar + ESB_RELOAD, 2), ESB_RELOAD_TIMEOUT);
	ck_assert_uint_eq(mem_read(config(ESB_LOCK), 1), 0);
	esb_set(ESB_RELOAD, ESB_RELOAD_TIMEOUT);
	ck_assert_uint_eq(mem_read(esb_bar + ESB_RELOAD, 2), 0);
}
END_TEST

START_TEST(esb_is_fed)
{
	make_esb();
	esb_start(10);
	for (unsigned i = 0; i < 20; i++) {
		fake_advance(&hw.loop, ESB_TIME(10) - 1);
		esb_set(ESB_RELOAD, ESB_RELOAD_RELOAD);
	}
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 0);
	/* Not without the sequence, nor with half of it, nor twice with one. */
	fake_advance(&hw.loop, ESB_TIME(9));
	mem_write(esb_bar + ESB_RELOAD, ESB_RELOAD_RELOAD, 2);
	mem_write(esb_bar + ESB_RELOAD, ESB_UNLOCK1, 2);
	mem_write(esb_bar + ESB_RELOAD, ESB_RELOAD_RELOAD, 2);
	mem_write(esb_bar + ESB_RELOAD, ESB_UNLOCK2, 2);
	mem_write(esb_bar + ESB_RELOAD, ESB_RELOAD_RELOAD, 2);
	unlock();
	mem_write(esb_bar + ESB_PRELOAD1, 0xfffff, 4);
	mem_write(esb_bar + ESB_RELOAD, ESB_RELOAD_RELOAD, 2);
	fake_advance(&hw.loop, ESB_TIME(1));
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 1);
}
END_TEST

START_TEST(esb_modes)
{
	make_esb();
	/* Microseconds, and nothing at the end. */
	mem_write(config(ESB_CONFIG), ESB_CONFIG_FAST | ESB_CONFIG_OUTPUT_OFF | 0xffd8, 2);
	ck_assert_uint_eq(mem_read(config(ESB_CONFIG), 2), ESB_CONFIG_FAST | ESB_CONFIG_OUTPUT_OFF);
	mem_write(config(ESB_LOCK), ESB_LOCK_ENABLE, 1);
	fake_advance(&hw.loop, 0xfffff * ESB_TICK_FAST_NS);
	ck_assert_uint_eq(mem_read(esb_bar + ESB_STATUS, 4), ESB_STATUS_STAGE1);
	fake_advance(&hw.loop, 0xfffff * ESB_TICK_FAST_NS);
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 0);
	/* Free-running, and as often as it can be: that is bounded. */
	mem_write(config(ESB_LOCK), 0, 1);
	esb_set(ESB_PRELOAD1, 0);
	mem_write(config(ESB_CONFIG), ESB_CONFIG_FAST, 2);
	mem_write(config(ESB_LOCK), ESB_LOCK_ENABLE | ESB_LOCK_FREE_RUN, 1);
	hw.loop.fired = 0;
	fake_advance(&hw.loop, SECOND);
	ck_assert_uint_le(hw.loop.fired, 1000);
	ck_assert_uint_ge(hw.loop.fired, 900);
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 0);
	mem_write(config(ESB_LOCK), 0, 1);
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
}
END_TEST

START_TEST(esb_locks)
{
	make_esb();
	esb_start(2);
	mem_write(config(ESB_LOCK), ESB_LOCK_ENABLE | ESB_LOCK_LOCK, 1);
	mem_write(config(ESB_LOCK), 0, 1);
	ck_assert_uint_eq(mem_read(config(ESB_LOCK), 1), ESB_LOCK_ENABLE | ESB_LOCK_LOCK);
	mem_write(config(ESB_LOCK), ESB_LOCK_FREE_RUN, 4);
	ck_assert_uint_eq(mem_read(config(ESB_LOCK), 1), ESB_LOCK_ENABLE | ESB_LOCK_LOCK);
	fake_advance(&hw.loop, ESB_TIME(2));
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 1);
}
END_TEST

START_TEST(esb_stands_still)
{
	make_esb();
	esb_start(10);
	fake_advance(&hw.loop, ESB_TIME(9));
	dev->ops->quiesce(dev);
	fake_advance(&hw.loop, ESB_TIME(100));
	dev->ops->resume(dev);
	fake_advance(&hw.loop, ESB_TIME(1) - 1);
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 0);
	fake_advance(&hw.loop, 1);
	ck_assert_uint_eq(told[MACHINE_WATCHDOG], 1);
}
END_TEST

/* Every register in every width, with time passing. */
START_TEST(esb_random)
{
	uint32_t x = 2463534242;

	make_esb();
	for (unsigned n = 0; n < 50000; n++) {
		unsigned len;

		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		len = 1u << (x >> 1) % 3;
		if (x & 0x100)
			mem_write(config(0x60 + (x >> 9) % 16), x >> 13, len);
		else if (x & 0x200)
			mem_write(esb_bar + (x >> 10) % 16, x & 0x400 ? ESB_UNLOCK1 + (x >> 11 & 6) : x >> 12, len);
		else
			mem_read(esb_bar + (x >> 10) % 16, len);
		fake_advance(&hw.loop, x % 10000000);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		pvpanic_port, pvpanic_events, pvpanic_pci, ib700_runs_out, ib700_stops, ib700_stands_still,
		esb_runs_out, esb_is_fed, esb_modes, esb_locks, esb_stands_still, esb_random,
	};

	return suite_run("guards", tests, ARRAY_SIZE(tests), setup, teardown);
}
