/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_hw.h"

#include "hw/acpi_ged.c"

#define BASE 0x600
#define EVENT (BASE + 0)
#define CONTROL (BASE + 4)
#define STATUS (BASE + 5)

static struct fake_hw hw;
static struct fake_irq irq;
static struct device *dev;

static void setup(void)
{
	struct err err = ERR_INIT;
	struct acpi_ged_config cfg = { .iobase = BASE };

	fake_hw_init(&hw);
	memset(&irq, 0, sizeof(irq));
	cfg.irq = fake_irq_line(&irq, 9);
	dev = acpi_ged_create(&hw.env, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
}

static void teardown(void)
{
	fake_hw_fini(&hw, dev);
}

START_TEST(power_button)
{
	ck_assert_uint_eq(fake_in(&hw, EVENT, 4), 0);
	ck_assert(!irq.level);
	acpi_ged_power_button(dev);
	ck_assert(irq.level);
	ck_assert_uint_eq(irq.pin, 9);
	acpi_ged_power_button(dev);
	fake_out(&hw, EVENT, 0xffffffff, 4); /* nothing can be written away, nor made up */
	ck_assert(irq.level);
	ck_assert_uint_eq(fake_in(&hw, EVENT, 4), 1);
	ck_assert(!irq.level);
	ck_assert_uint_eq(fake_in(&hw, EVENT, 4), 0);
	acpi_ged_power_button(dev);
	ck_assert(irq.level);
	ck_assert_uint_eq(irq.rises, 2);
}
END_TEST

/* A read of other bytes leaves the event alone. */
START_TEST(event_bytes)
{
	acpi_ged_power_button(dev);
	ck_assert_uint_eq(fake_inb(&hw, EVENT + 1), 0);
	ck_assert_uint_eq(fake_in(&hw, EVENT + 2, 2), 0);
	ck_assert_uint_eq(fake_in(&hw, CONTROL, 4), 0);
	ck_assert(irq.level);
	ck_assert_uint_eq(fake_inb(&hw, EVENT), 1);
	ck_assert(!irq.level);
}
END_TEST

START_TEST(soft_off)
{
	fake_outb(&hw, CONTROL, 5 << 2); /* without SLP_EN */
	ck_assert_uint_eq(hw.requests, 0);
	ck_assert_uint_eq(fake_inb(&hw, CONTROL), 5 << 2);
	fake_outb(&hw, CONTROL, 0xff & ~(2 << 2)); /* the bits around it are reserved */
	ck_assert_uint_eq(hw.requests, 1);
	ck_assert_int_eq(hw.request, VM_REQUEST_POWEROFF);
	ck_assert_uint_eq(fake_inb(&hw, CONTROL), 5 << 2); /* SLP_EN is write-only */
	for (unsigned type = 0; type < 8; type++)
		if (type != 5)
			fake_outb(&hw, CONTROL, (uint8_t)(type << 2 | 0x20));
	ck_assert_uint_eq(hw.requests, 1);
}
END_TEST

START_TEST(status)
{
	ck_assert_uint_eq(fake_inb(&hw, STATUS), 0);
	fake_outb(&hw, STATUS, 0xff);
	ck_assert_uint_eq(fake_inb(&hw, STATUS), 0);
	ck_assert_uint_eq(hw.requests, 0);
}
END_TEST

START_TEST(reset)
{
	acpi_ged_power_button(dev);
	fake_outb(&hw, CONTROL, 3 << 2);
	dev->ops->reset(dev);
	ck_assert(!irq.level);
	ck_assert_uint_eq(fake_in(&hw, EVENT, 4), 0);
	ck_assert_uint_eq(fake_inb(&hw, CONTROL), 0);
}
END_TEST

START_TEST(hostile)
{
	acpi_ged_power_button(dev);
	fake_hostile_ports(&hw, BASE, ACPI_GED_PORTS);
	fake_random_ports(&hw, BASE, ACPI_GED_PORTS, 20000);
	dev->ops->reset(dev);
	ck_assert(!irq.level);
}
END_TEST

START_TEST(port_taken)
{
	const struct acpi_ged_config cfg = { .iobase = BASE + 4 };
	struct err err = ERR_INIT;

	ck_assert_ptr_null(acpi_ged_create(&hw.env, &cfg, &err));
	ck_assert_int_eq(err.code, -EEXIST);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("acpi_ged");
	TCase *tc = tcase_create("acpi_ged");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, power_button);
	tcase_add_test(tc, event_bytes);
	tcase_add_test(tc, soft_off);
	tcase_add_test(tc, status);
	tcase_add_test(tc, reset);
	tcase_add_test(tc, hostile);
	tcase_add_test(tc, port_taken);
	suite_add_tcase(suite, tc);
	return fake_run_suite(suite);
}
