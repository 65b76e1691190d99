/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_hw.h"

#include "hw/debug_exit.c"

#define BASE 0xf4

static struct fake_hw hw;

static struct device *make(uint16_t base, uint16_t size, struct err *err)
{
	struct debug_exit_config cfg = { .iobase = base, .iosize = size };

	return debug_exit_create(&hw.env, &cfg, err);
}

static void setup(void)
{
	fake_hw_init(&hw);
}

static void check_exit(uint16_t size, unsigned at, uint32_t v, unsigned len, int status)
{
	struct err err = ERR_INIT;
	struct device *dev = make(BASE, size, &err);

	ck_assert_msg(dev != NULL, "%s", err.msg);
	hw.requests = 0;
	fake_out(&hw, BASE + at, v, len);
	ck_assert_uint_eq(hw.requests, 1);
	ck_assert_int_eq(hw.request, VM_REQUEST_EXIT);
	ck_assert_int_eq(hw.status, status);
	fake_out(&hw, BASE + at, 7, len); /* only the first counts */
	ck_assert_uint_eq(hw.requests, 1);
	dev->ops->reset(dev);
	fake_out(&hw, BASE + at, 7, 1);
	ck_assert_uint_eq(hw.requests, 2);
	ck_assert_int_eq(hw.status, 15);
	dev->ops->destroy(dev);
}

START_TEST(exits)
{
	check_exit(1, 0, 0, 1, 1);
	check_exit(1, 0, 0x10, 1, 0x21);
	check_exit(1, 0, 0xff, 1, 0x1ff);
	check_exit(1, 0, 0x12345678, 4, 0xf1); /* the lowest byte */
	check_exit(2, 0, 0x1234, 2, 0x2469);
	check_exit(2, 0, 0x12345678, 4, 0xacf1);
	check_exit(2, 1, 3, 1, 7);
	check_exit(3, 2, 3, 1, 7);
	check_exit(4, 0, 0, 4, 1);
	check_exit(4, 0, 0x12345678, 4, 0x2468acf1);
	check_exit(4, 0, 0xffffffff, 4, -1);
	check_exit(4, 2, 0x0102, 2, 0x0205);
	check_exit(4, 3, 2, 1, 5);
	check_exit(8, 4, 0x55, 4, 0xab);
}
END_TEST

START_TEST(reads_zero)
{
	struct err err = ERR_INIT;
	struct device *dev = make(BASE, 4, &err);

	for (unsigned len = 1; len <= 4; len *= 2)
		ck_assert_uint_eq(fake_in(&hw, BASE, len), 0);
	ck_assert_uint_eq(hw.requests, 0);
	fake_hostile_ports(&hw, BASE, 4);
	ck_assert_uint_eq(hw.requests, 1);
	fake_hw_fini(&hw, dev);
}
END_TEST

START_TEST(refuses)
{
	struct err err = ERR_INIT;
	struct device *dev;

	ck_assert_ptr_null(make(BASE, 0, &err));
	ck_assert_int_eq(err.code, -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.msg, "iosize=0"));
	ck_assert_ptr_null(make(BASE, 9, &err));
	ck_assert_int_eq(err.code, -EINVAL);
	ck_assert_ptr_null(make(0xffff, 2, &err));
	ck_assert_int_eq(err.code, -ERANGE);
	dev = make(0xffff, 1, &err);
	ck_assert_ptr_nonnull(dev);
	ck_assert_ptr_null(make(0xffff, 1, &err));
	ck_assert_int_eq(err.code, -EEXIST);
	fake_hw_fini(&hw, dev);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("debug_exit");
	TCase *t = tcase_create("debug_exit");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, exits);
	tcase_add_test(t, reads_zero);
	tcase_add_test(t, refuses);
	return fake_run_suite(s);
}
