/* SPDX-License-Identifier: MIT */
/*
 * The clock: each 6 bytes of the input write or read CMOS, let time pass, or reset and stop the machine. Whatever was written into it, the time
 * that it shows while it runs is a time, and a timer is armed for the future only, and not more often than it may fire.
 */
#define FAKE_WITHOUT_CHECK
#include "tests/unit/fake_hw.h"

#include "hw/rtc.c"
#include "vmm/endian.h"

#define INDEX RTC_PORT
#define DATA (RTC_PORT + 1)
#define STEP 6
#define MAX_STEPS 512
#define FASTEST_NS 122070 /* 8192 Hz */
#define START INT64_C(1709164790)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t get(struct fake_hw *hw, uint8_t reg)
{
	fake_outb(hw, INDEX, reg);
	return fake_inb(hw, DATA);
}

static unsigned number(uint8_t v, bool binary)
{
	return binary ? v : (v >> 4) * 10u + (v & 15);
}

/* Of a clock that runs and is not being written. */
static void check_time(struct fake_hw *hw)
{
	uint8_t a = get(hw, RTC_A), b = get(hw, RTC_B), hours = get(hw, RTC_HOURS);
	bool binary = b & RTC_B_BINARY, day = b & RTC_B_24H;
	unsigned h = number(day ? hours : hours & 0x7f, binary);

	if (b & RTC_B_SET || (a & RTC_A_DIVIDER) > RTC_A_DIVIDER_LAST_RUNNING)
		return;
	if (number(get(hw, RTC_SECONDS), binary) > 59 || number(get(hw, RTC_MINUTES), binary) > 59 || h > (day ? 23 : 12) || (!day && h < 1))
		abort();
	if (number(get(hw, RTC_MONTH), binary) - 1 > 11 || number(get(hw, RTC_DAY), binary) - 1 > 30 || number(get(hw, RTC_DAY_OF_WEEK), binary) - 1 > 6)
		abort();
}

static void pass(struct fake_hw *hw, int64_t ns)
{
	unsigned before = hw->loop.fired;

	fake_advance(&hw->loop, ns);
	if (hw->loop.fired - before > ns / FASTEST_NS + 2)
		abort();
}

static void step(struct fake_hw *hw, struct device *dev, const uint8_t *d)
{
	switch (d[0] % 8) {
	case 0:
	case 1:
		fake_outb(hw, INDEX, d[1] & 8 ? d[1] & 0x3f : d[1] & 0xf);
		fake_outb(hw, DATA, d[2]);
		break;
	case 2:
		fake_out(hw, (uint16_t)(INDEX - 1 + d[1] % 3), load_le16(d + 2), 1u << d[4] % 3);
		break;
	case 3:
		fake_in(hw, (uint16_t)(INDEX - 1 + d[1] % 3), 1u << d[4] % 3);
		break;
	case 4:
		pass(hw, (int64_t)load_le16(d + 1) * 5000);
		break;
	case 5: /* a host that was busy */
		fake_sleep(&hw->loop, (int64_t)load_le16(d + 1) * 1000000 * (d[3] % 100));
		break;
	case 6:
		check_time(hw);
		break;
	default:
		if (d[1] < 8)
			dev->ops->reset(dev);
		else if (d[1] < 16 && dev->ops->quiesce)
			dev->ops->quiesce(dev);
		else if (d[1] < 32 && dev->ops->resume)
			dev->ops->resume(dev);
		else
			rtc_set_boot_order(dev, load_le16(d + 2) & 0x444);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rtc_config cfg = { .start_seconds = START, .ram_below_4g = 128 * MIB };
	struct fake_irq irq = { .level = false };
	struct err err = ERR_INIT;
	struct device *dev;
	struct fake_hw hw;

	fake_hw_init(&hw);
	cfg.irq = fake_irq_line(&irq, 8);
	dev = rtc_create(&hw.env, &cfg, &err);
	for (size_t n = 0; n < MAX_STEPS && size >= STEP; n++, data += STEP, size -= STEP)
		step(&hw, dev, data);
	dev->ops->destroy(dev);
	if (fake_next_timer(&hw.loop))
		abort();
	bus_destroy(hw.env.pio);
	bus_destroy(hw.env.mmio);
	return 0;
}
