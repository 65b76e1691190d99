/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_hw.h"

#include "hw/debugcon.c"

static struct fake_hw hw;
static struct chardev chr;
static struct device *dev;

static void setup(void)
{
	const struct debugcon_config cfg = { .iobase = 0x402, .readback = 0xe9, .chardev = &chr };
	struct err err = ERR_INIT;

	fake_hw_init(&hw);
	chr = (struct chardev){ .room = SIZE_MAX, .connected = true };
	dev = debugcon_create(&hw.env, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
}

static void teardown(void)
{
	fake_hw_fini(&hw, dev);
	ck_assert_ptr_null(chr.fe);
}

START_TEST(bytes)
{
	ck_assert_uint_eq(fake_inb(&hw, 0x402), 0xe9);
	fake_outb(&hw, 0x402, 'o');
	fake_outb(&hw, 0x402, 'k');
	fake_out(&hw, 0x402, 0x3132, 2); /* the upper byte is another port's */
	dev->ops->reset(dev);
	fake_out(&hw, 0x400, 0x33000000 | '4' << 16, 4);
	ck_assert_uint_eq(chr.n_out, 4);
	ck_assert_mem_eq(chr.out, "ok24", 4);
}
END_TEST

/* A reader that does not read costs the guest nothing, and what is typed goes nowhere. */
START_TEST(no_reader)
{
	chr.room = 1;
	fake_outb(&hw, 0x402, 'a');
	fake_outb(&hw, 0x402, 'b');
	ck_assert_uint_eq(chr.n_out, 1);
	ck_assert_uint_eq(fake_input(&chr, "xyz", 3), 3);
	chr.fe->writable(chr.opaque);
	chr.fe->event(chr.opaque, CHARDEV_CLOSED);
	fake_hostile_ports(&hw, 0x402, 1);
	fake_random_ports(&hw, 0x402, 1, 1000);
}
END_TEST

START_TEST(taken)
{
	const struct debugcon_config cfg = { .iobase = 0x402, .chardev = &chr };
	struct err err = ERR_INIT;

	ck_assert_ptr_null(debugcon_create(&hw.env, &cfg, &err));
	ck_assert_int_eq(err.code, -EEXIST);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("debugcon");
	TCase *tc = tcase_create("debugcon");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, bytes);
	tcase_add_test(tc, no_reader);
	tcase_add_test(tc, taken);
	suite_add_tcase(s, tc);
	return fake_run_suite(s);
}
