/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_hw.h"

#include "hw/i8042.c"

static struct fake_hw hw;
static struct fake_irq irq;
static struct device *dev;

static void setup(void)
{
	struct err err = ERR_INIT;
	struct i8042_config cfg;

	fake_hw_init(&hw);
	memset(&irq, 0, sizeof(irq));
	cfg.irq = fake_irq_line(&irq, 1);
	dev = i8042_create(&hw.env, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
}

static void teardown(void)
{
	fake_hw_fini(&hw, dev);
}

static void command(uint8_t v)
{
	fake_outb(&hw, 0x64, v);
}

static void data(uint8_t v)
{
	fake_outb(&hw, 0x60, v);
}

static uint8_t status(void)
{
	return fake_inb(&hw, 0x64);
}

/* The answer in the output buffer: `flags` beside OBF. */
static void check_answer(uint8_t byte, uint8_t flags)
{
	ck_assert_uint_eq(status() & 0xe3, STATUS_OBF | flags);
	ck_assert_uint_eq(fake_inb(&hw, 0x60), byte);
	ck_assert_uint_eq(status() & 0xe3, 0);
}

static void check_command(uint8_t cmd, uint8_t answer)
{
	command(cmd);
	check_answer(answer, 0);
}

static void check_power_on(void)
{
	ck_assert_uint_eq(status(), STATUS_SYS | STATUS_UNLOCKED);
	ck_assert(!irq.level);
	ck_assert_uint_eq(fake_inb(&hw, 0x60), 0);
	check_command(0x20, 0x64);
	check_command(0xd0, 0x03); /* A20 on, not in reset */
}

START_TEST(power_on_and_reset)
{
	check_power_on();
	command(0x60);
	data(0x01);
	command(0x7f);
	data(0x55);
	command(0xdd);
	data(0xff);
	ck_assert(irq.level);
	command(0xd1);
	dev->ops->reset(dev);
	check_power_on();
	check_command(0x3f, 0);
	ck_assert_uint_eq(hw.requests, 0);
}
END_TEST

START_TEST(answers)
{
	check_command(0xaa, 0x55);
	check_command(0xab, 0x00);
	check_command(0xa9, 0x01); /* no auxiliary port */
	check_command(0xa4, 0xf1); /* no password */
	check_command(0xc0, 0x80);
	check_command(0xe0, 0x00);
	/* These answer nothing. */
	for (unsigned cmd = 0; cmd < 256; cmd++) {
		if (cmd == 0xa7 || cmd == 0xa8 || cmd == 0xad || cmd == 0xae || cmd == 0xdd || cmd == 0xdf || cmd < 0x20) {
			command(cmd);
			ck_assert_uint_eq(status() & STATUS_OBF, 0);
		}
	}
	ck_assert_uint_eq(hw.requests, 0);
}
END_TEST

START_TEST(command_flag)
{
	command(0xad);
	ck_assert_uint_eq(status() & STATUS_COMMAND, STATUS_COMMAND);
	data(0);
	ck_assert_uint_eq(status() & STATUS_COMMAND, 0);
}
END_TEST

START_TEST(memory)
{
	for (unsigned i = 0; i < 32; i++) {
		command(0x60 + i);
		data(0xa0 + i);
	}
	for (unsigned i = 0; i < 32; i++)
		check_command(0x20 + i, 0xa0 + i);
	/* The command byte: interfaces, system flag */
	command(0x60);
	data(0x00);
	ck_assert_uint_eq(status() & STATUS_SYS, 0);
	command(0xad);
	command(0xa7);
	check_command(0x20, 0x30);
	command(0xa8);
	check_command(0x20, 0x10);
	command(0xae);
	check_command(0x20, 0x00);
	check_command(0xaa, 0x55);
	check_command(0x20, 0x04);
	ck_assert_uint_eq(status() & STATUS_SYS, STATUS_SYS);
}
END_TEST

START_TEST(no_keyboard)
{
	command(0xad);
	for (unsigned v = 0; v < 256; v++) {
		data(v);
		check_answer(0xfe, STATUS_TIMEOUT);
	}
	check_command(0x20, 0x64); /* a byte for the keyboard enabled its interface */
	command(0xd4);
	data(0xff);
	check_answer(0xfe, STATUS_TIMEOUT | STATUS_AUX);
}
END_TEST

START_TEST(loops)
{
	command(0xd2);
	data(0x1c);
	check_answer(0x1c, 0);
	command(0xd3); /* comes back, and not from the auxiliary port: there is none */
	data(0x5a);
	check_answer(0x5a, 0);
	/* A new command forgets one that waits for its data. */
	command(0xd2);
	check_command(0xaa, 0x55);
	data(0x11);
	check_answer(0xfe, STATUS_TIMEOUT);
}
END_TEST

START_TEST(interrupts)
{
	command(0x60);
	data(0x45);
	data(0xf2);
	ck_assert(irq.level);
	ck_assert_uint_eq(irq.pin, 1);
	data(0xf2); /* each byte is an edge, also over one that was not read */
	ck_assert_uint_eq(irq.rises, 2);
	status();
	ck_assert(irq.level);
	fake_inb(&hw, 0x60);
	ck_assert(!irq.level);
	command(0xd4); /* not the keyboard's interrupt */
	data(0xff);
	ck_assert(!irq.level);
	command(0x60);
	data(0x44);
	data(0xf2);
	ck_assert(!irq.level);
	command(0x60);
	data(0x45); /* enabled with a byte waiting */
	ck_assert(irq.level);
}
END_TEST

START_TEST(a20)
{
	command(0xdd);
	check_command(0xd0, 0x01);
	command(0xdf);
	check_command(0xd0, 0x03);
	command(0xd1);
	data(0x01);
	check_command(0xd0, 0x01);
	command(0xd1);
	data(0xff);
	check_command(0xd0, 0x03);
	data(0); /* a byte waits in the output buffer */
	command(0xd0);
	ck_assert_uint_eq(fake_inb(&hw, 0x60), 0x13);
	ck_assert_uint_eq(hw.requests, 0);
}
END_TEST

START_TEST(resets)
{
	unsigned n = 0;

	for (unsigned cmd = 0xf0; cmd <= 0xff; cmd++) {
		command(cmd);
		n += !(cmd & 1);
		ck_assert_uint_eq(hw.requests, n);
	}
	command(0xd1);
	data(0xfe);
	ck_assert_uint_eq(hw.requests, n + 1);
	ck_assert_int_eq(hw.request, VM_REQUEST_RESET);
}
END_TEST

START_TEST(wide_accesses)
{
	fake_out(&hw, 0x5f, 0xaaaaaaaa, 4); /* only 0x60 is ours */
	check_answer(0xfe, STATUS_TIMEOUT);
	fake_out(&hw, 0x64, 0xaa, 4);
	ck_assert_uint_eq(fake_in(&hw, 0x64, 4), 0xffffff00 | STATUS_OBF | STATUS_SYS | STATUS_COMMAND | STATUS_UNLOCKED);
	ck_assert_uint_eq(fake_in(&hw, 0x60, 4), 0xffffff55);
}
END_TEST

START_TEST(ports_taken)
{
	struct err err = ERR_INIT;
	struct i8042_config cfg = { 0 };
	uint8_t byte;

	ck_assert_ptr_null(i8042_create(&hw.env, &cfg, &err));
	ck_assert_int_eq(err.code, -EEXIST);
	/* only the second region is: the first is taken off again */
	bus_remove(hw.env.pio, &CONTAINER_OF(dev, struct i8042, dev)->data);
	ck_assert_ptr_null(i8042_create(&hw.env, &cfg, &err));
	ck_assert(!bus_read(hw.env.pio, 0x60, &byte, 1));
}
END_TEST

START_TEST(hostile)
{
	fake_hostile_ports(&hw, 0x60, 5);
	fake_random_ports(&hw, 0x60, 5, 20000);
	dev->ops->reset(dev);
	check_power_on();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("i8042");
	TCase *t = tcase_create("i8042");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, power_on_and_reset);
	tcase_add_test(t, answers);
	tcase_add_test(t, command_flag);
	tcase_add_test(t, memory);
	tcase_add_test(t, no_keyboard);
	tcase_add_test(t, loops);
	tcase_add_test(t, interrupts);
	tcase_add_test(t, a20);
	tcase_add_test(t, resets);
	tcase_add_test(t, wide_accesses);
	tcase_add_test(t, ports_taken);
	tcase_add_test(t, hostile);
	return fake_run_suite(s);
}
