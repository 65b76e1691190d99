/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_hw.h"

#include <pthread.h>

#include "hw/acpi_pm.c"

#define BASE 0x600
#define STS (BASE + 0)
#define EN (BASE + 2)
#define CNT (BASE + 4)
#define TMR (BASE + 8)
#define GPE_STS (BASE + 12)
#define GPE_EN (BASE + 14)

/* Half a turn of the 32-bit timer, rounded down. */
#define HALF_TURN_NS ((INT64_C(1) << 31) * NS_PER_SEC / PM_TIMER_HZ)

static struct fake_hw hw;
static struct fake_irq sci;
static struct device *dev;

static void setup(void)
{
	struct err err = ERR_INIT;
	struct acpi_pm_config cfg = { .iobase = BASE };

	fake_hw_init(&hw);
	memset(&sci, 0, sizeof(sci));
	cfg.sci = fake_irq_line(&sci, 9);
	dev = acpi_pm_create(&hw.env, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
}

static void teardown(void)
{
	fake_hw_fini(&hw, dev);
}

static uint16_t in16(uint16_t port)
{
	return fake_in(&hw, port, 2);
}

static void out16(uint16_t port, uint16_t v)
{
	fake_out(&hw, port, v, 2);
}

static void check_power_on(void)
{
	ck_assert_uint_eq(in16(STS), 0);
	ck_assert_uint_eq(in16(EN), 0);
	ck_assert_uint_eq(in16(CNT), PM1_CNT_SCI_EN);
	ck_assert_uint_eq(in16(BASE + 6), 0);
	ck_assert_uint_eq(fake_in(&hw, TMR, 4), 0);
	ck_assert_uint_eq(in16(GPE_STS), 0);
	ck_assert_uint_eq(in16(GPE_EN), 0);
	ck_assert(!sci.level);
}

START_TEST(power_on_and_reset)
{
	check_power_on();
	fake_advance(&hw.loop, 700 * NS_PER_SEC);
	out16(EN, 0xffff);
	out16(GPE_EN, 0xffff);
	out16(CNT, 0x1c02);
	acpi_pm_power_button(dev);
	ck_assert(sci.level);
	dev->ops->reset(dev);
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
	check_power_on();
}
END_TEST

START_TEST(power_button)
{
	acpi_pm_power_button(dev);
	ck_assert(!sci.level); /* not enabled */
	ck_assert_uint_eq(in16(STS), PM1_PWRBTN);
	out16(EN, PM1_PWRBTN);
	ck_assert(sci.level);
	ck_assert_uint_eq(sci.pin, 9);
	out16(STS, 0); /* writing zeroes clears nothing */
	out16(STS, (uint16_t)~PM1_PWRBTN);
	ck_assert(sci.level);
	out16(STS, PM1_PWRBTN);
	ck_assert(!sci.level);
	ck_assert_uint_eq(in16(STS), 0);
	acpi_pm_power_button(dev);
	acpi_pm_power_button(dev);
	ck_assert(sci.level);
	ck_assert_uint_eq(sci.rises, 2);
	out16(EN, 0);
	ck_assert(!sci.level);
	out16(EN, PM1_PWRBTN);
	fake_outb(&hw, STS + 1, PM1_PWRBTN >> 8); /* by bytes */
	ck_assert(!sci.level);
}
END_TEST

static void *press(void *arg)
{
	for (unsigned i = 0; i < 1000; i++)
		acpi_pm_power_button(dev);
	return arg;
}

START_TEST(power_button_from_a_thread)
{
	pthread_t t;

	out16(EN, PM1_PWRBTN);
	ck_assert_int_eq(pthread_create(&t, NULL, press, NULL), 0);
	for (unsigned i = 0; i < 1000; i++)
		out16(STS, PM1_PWRBTN);
	pthread_join(t, NULL);
	acpi_pm_power_button(dev);
	ck_assert(sci.level);
}
END_TEST

START_TEST(enable_bits)
{
	out16(EN, 0xffff);
	ck_assert_uint_eq(in16(EN), PM1_EN_MASK);
	fake_outb(&hw, EN, 0);
	ck_assert_uint_eq(in16(EN), PM1_EN_MASK & 0xff00);
	fake_out(&hw, STS, PM1_PWRBTN << 16, 4); /* status and enable in one access */
	ck_assert_uint_eq(in16(EN), PM1_PWRBTN);
	ck_assert_uint_eq(fake_in(&hw, STS, 4), PM1_PWRBTN << 16);
}
END_TEST

START_TEST(control)
{
	out16(CNT, 0xffff & ~PM1_CNT_SLP_EN);
	ck_assert_uint_eq(in16(CNT), PM1_CNT_SLP_TYP | PM1_CNT_BM_RLD | PM1_CNT_SCI_EN);
	out16(CNT, 0);
	ck_assert_uint_eq(in16(CNT), PM1_CNT_SCI_EN); /* cannot be left */
	ck_assert_uint_eq(hw.requests, 0);
}
END_TEST

START_TEST(soft_off)
{
	for (unsigned type = 0; type < 8; type++) {
		out16(CNT, type << 10 | PM1_CNT_SLP_EN);
		ck_assert_uint_eq(in16(CNT), type << 10 | PM1_CNT_SCI_EN); /* SLP_EN is write-only */
		ck_assert_uint_eq(hw.requests, type >= 5);
	}
	ck_assert_int_eq(hw.request, VM_REQUEST_POWEROFF);
	out16(CNT, 5 << 10); /* as ACPICA: first the type, then also the enable bit */
	ck_assert_uint_eq(hw.requests, 1);
	out16(CNT, 5 << 10 | PM1_CNT_SLP_EN);
	ck_assert_uint_eq(hw.requests, 2);
	fake_outb(&hw, CNT + 1, (5 << 10 | PM1_CNT_SLP_EN) >> 8);
	ck_assert_uint_eq(hw.requests, 3);
	fake_out(&hw, CNT, 5 << 10 | PM1_CNT_SLP_EN, 4);
	ck_assert_uint_eq(hw.requests, 4);
}
END_TEST

START_TEST(timer_counts)
{
	uint32_t v;

	fake_advance(&hw.loop, NS_PER_SEC);
	ck_assert_uint_eq(fake_in(&hw, TMR, 4), 3579545);
	fake_advance(&hw.loop, 1000000);
	ck_assert_uint_eq(fake_in(&hw, TMR, 4), 3579545 + 3579);
	fake_out(&hw, TMR, 0xffffffff, 4); /* read-only */
	v = fake_in(&hw, TMR, 4);
	ck_assert_uint_eq(v, 3579545 + 3579);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(fake_inb(&hw, TMR + i), (uint8_t)(v >> 8 * i));
	fake_advance(&hw.loop, 2 * HALF_TURN_NS); /* comes round */
	ck_assert_uint_le(fake_in(&hw, TMR, 4) - v, 2);
	fake_advance(&hw.loop, INT64_C(100) * 365 * 86400 * NS_PER_SEC); /* a century */
	fake_in(&hw, TMR, 4);
	ck_assert_uint_eq(hw.loop.arms, 0);
}
END_TEST

START_TEST(timer_carry)
{
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
	out16(EN, PM1_TMR);
	fake_advance(&hw.loop, HALF_TURN_NS - 1000);
	ck_assert(!sci.level);
	ck_assert_uint_eq(in16(STS), 0);
	fake_advance(&hw.loop, 2000);
	ck_assert(sci.level);
	ck_assert_uint_ge(fake_in(&hw, TMR, 4), 0x80000000);
	ck_assert_uint_eq(in16(STS), PM1_TMR);
	ck_assert_ptr_null(fake_next_timer(&hw.loop)); /* pending: nothing to wait for */
	out16(STS, PM1_TMR);
	ck_assert(!sci.level);
	fake_advance(&hw.loop, HALF_TURN_NS); /* the falling edge */
	ck_assert(sci.level);
	ck_assert_uint_lt(fake_in(&hw, TMR, 4), 0x80000000);
	ck_assert_uint_eq(hw.loop.fired, 2);
	out16(EN, 0);
	out16(STS, PM1_TMR);
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
	fake_advance(&hw.loop, 5 * HALF_TURN_NS); /* not enabled: the status is there without a host timer */
	ck_assert_uint_eq(hw.loop.fired, 2);
	ck_assert_uint_eq(in16(STS), PM1_TMR);
	out16(STS, PM1_TMR);
	ck_assert_uint_eq(in16(STS), 0);
	fake_advance(&hw.loop, HALF_TURN_NS);
	out16(STS, PM1_TMR); /* set and cleared in the same write */
	ck_assert_uint_eq(in16(STS), 0);
}
END_TEST

START_TEST(gpe0)
{
	struct acpi_pm *s = CONTAINER_OF(dev, struct acpi_pm, dev);

	out16(GPE_EN, 0xa55a);
	ck_assert_uint_eq(in16(GPE_EN), 0xa55a);
	fake_outb(&hw, GPE_EN, 0x01);
	ck_assert_uint_eq(fake_inb(&hw, GPE_EN), 0x01);
	ck_assert_uint_eq(fake_inb(&hw, GPE_EN + 1), 0xa5);
	/* No event source exists yet: set by hand. */
	s->r.gpe_sts = 0x8003;
	pm_update(s);
	ck_assert(sci.level);
	ck_assert_uint_eq(in16(GPE_STS), 0x8003);
	fake_outb(&hw, GPE_STS, 0x01);
	ck_assert(sci.level);
	fake_outb(&hw, GPE_STS + 1, 0x80);
	ck_assert(!sci.level); /* bit 1 is not enabled */
	ck_assert_uint_eq(in16(GPE_STS), 0x0002);
}
END_TEST

START_TEST(quiesce_and_resume)
{
	out16(EN, PM1_TMR);
	dev->ops->quiesce(dev);
	ck_assert_ptr_null(fake_next_timer(&hw.loop));
	dev->ops->resume(dev);
	ck_assert_ptr_nonnull(fake_next_timer(&hw.loop));
}
END_TEST

START_TEST(ports_taken)
{
	struct err err = ERR_INIT;
	struct acpi_pm_config cfg = { .iobase = BASE + 15 };

	ck_assert_ptr_null(acpi_pm_create(&hw.env, &cfg, &err));
	ck_assert_int_eq(err.code, -EEXIST);
}
END_TEST

START_TEST(hostile)
{
	fake_hostile_ports(&hw, BASE, ACPI_PM_PORTS);
	fake_random_ports(&hw, BASE, ACPI_PM_PORTS, 20000);
	dev->ops->reset(dev);
	check_power_on();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("acpi_pm");
	TCase *t = tcase_create("acpi_pm");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, power_on_and_reset);
	tcase_add_test(t, power_button);
	tcase_add_test(t, power_button_from_a_thread);
	tcase_add_test(t, enable_bits);
	tcase_add_test(t, control);
	tcase_add_test(t, soft_off);
	tcase_add_test(t, timer_counts);
	tcase_add_test(t, timer_carry);
	tcase_add_test(t, gpe0);
	tcase_add_test(t, quiesce_and_resume);
	tcase_add_test(t, ports_taken);
	tcase_add_test(t, hostile);
	return fake_run_suite(s);
}
