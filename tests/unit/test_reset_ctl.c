/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_hw.h"

#include "hw/reset_ctl.c"

static struct fake_hw hw;
static struct device *dev;

static void setup(void)
{
	struct err err = ERR_INIT;

	fake_hw_init(&hw);
	dev = reset_ctl_create(&hw.env, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
}

static void teardown(void)
{
	fake_hw_fini(&hw, dev);
}

static void check_write(uint16_t port, uint8_t v, uint8_t reads, unsigned requests)
{
	fake_outb(&hw, port, v);
	ck_assert_uint_eq(fake_inb(&hw, port), reads);
	ck_assert_uint_eq(hw.requests, requests);
	ck_assert(!requests || hw.request == VM_REQUEST_RESET);
}

START_TEST(reset_control)
{
	ck_assert_uint_eq(fake_inb(&hw, 0xcf9), 0);
	check_write(0xcf9, 0x02, 0x02, 0); /* choose a hard reset */
	check_write(0xcf9, 0x06, 0x06, 1); /* and do it */
	check_write(0xcf9, 0x06, 0x06, 1); /* no edge */
	check_write(0xcf9, 0x00, 0x00, 1);
	check_write(0xcf9, 0x04, 0x04, 2); /* soft */
	check_write(0xcf9, 0xf1, 0x00, 2); /* reserved bits */
	check_write(0xcf9, 0x0e, 0x0e, 3); /* full, in one write */
	dev->ops->reset(dev);
	ck_assert_uint_eq(fake_inb(&hw, 0xcf9), 0);
}
END_TEST

START_TEST(port_a)
{
	ck_assert_uint_eq(fake_inb(&hw, 0x92), 0x02); /* A20 on */
	check_write(0x92, 0x00, 0x00, 0);
	check_write(0x92, 0x02, 0x02, 0);
	check_write(0x92, 0x03, 0x03, 1);
	check_write(0x92, 0x01, 0x01, 1);
	check_write(0x92, 0xfe, 0x02, 1);
	check_write(0x92, 0xff, 0x03, 2);
	dev->ops->reset(dev);
	ck_assert_uint_eq(fake_inb(&hw, 0x92), 0x02);
}
END_TEST

START_TEST(wide_and_hostile)
{
	fake_out(&hw, 0xcf8, 0x80000600, 4); /* a PCI configuration address, though there is no PCI bus */
	ck_assert_uint_eq(hw.requests, 0);
	ck_assert_uint_eq(fake_in(&hw, 0xcf8, 4), 0xffffffff);
	ck_assert_uint_eq(fake_in(&hw, 0xcf9, 1), 0);
	fake_out(&hw, 0xcf8, 0x0600, 2); /* two bytes are not */
	ck_assert_uint_eq(hw.requests, 1);
	ck_assert_uint_eq(fake_in(&hw, 0xcf8, 2), 0x06ff);
	ck_assert_uint_eq(fake_in(&hw, 0xcf9, 2), 0xff06);
	fake_hostile_ports(&hw, 0xcf9, 1);
	fake_hostile_ports(&hw, 0x92, 1);
	dev->ops->reset(dev);
	ck_assert_uint_eq(fake_in(&hw, 0xcf9, 1), 0);
}
END_TEST

START_TEST(ports_taken)
{
	struct err err = ERR_INIT;
	uint8_t byte;

	ck_assert_ptr_null(reset_ctl_create(&hw.env, &err));
	ck_assert_int_eq(err.code, -EEXIST);
	bus_remove(hw.env.pio, &CONTAINER_OF(dev, struct reset_ctl, dev)->rcr);
	ck_assert_ptr_null(reset_ctl_create(&hw.env, &err));
	ck_assert(!bus_read(hw.env.pio, 0xcf9, &byte, 1));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("reset_ctl");
	TCase *t = tcase_create("reset_ctl");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, reset_control);
	tcase_add_test(t, port_a);
	tcase_add_test(t, wide_and_hostile);
	tcase_add_test(t, ports_taken);
	return fake_run_suite(s);
}
