/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_hw.h"
#include "tests/unit/suite.h"

#include "hw/serial.c"

#define COM 0x3f8
#define DATA (COM + SERIAL_RBR)
#define IER (COM + SERIAL_IER)
#define IIR (COM + SERIAL_IIR)
#define FCR (COM + SERIAL_FCR)
#define LCR (COM + SERIAL_LCR)
#define MCR (COM + SERIAL_MCR)
#define LSR (COM + SERIAL_LSR)
#define MSR (COM + SERIAL_MSR)
#define SCR (COM + SERIAL_SCR)

#define LSR_EMPTY (LSR_THRE | LSR_TEMT)
#define FIFO_1 FCR_ENABLE
#define FIFO_4 (FCR_ENABLE | 1 << FCR_TRIGGER_SHIFT)
#define FIFO_8 (FCR_ENABLE | 2 << FCR_TRIGGER_SHIFT)
#define FIFO_14 (FCR_ENABLE | 3 << FCR_TRIGGER_SHIFT)
#define CHAR_TIMES_4 (4 * INT64_C(1041667)) /* 10 bits at 9600 bit/s */

struct uart {
	struct fake_hw hw;
	struct chardev chr;
	struct fake_irq irq;
	struct device *dev;
};

static struct uart u;

static void setup(void)
{
	struct err err = ERR_INIT;
	struct serial_config cfg = { .name = "serial0", .iobase = COM, .chardev = &u.chr };

	memset(&u, 0, sizeof(u));
	fake_hw_init(&u.hw);
	u.chr.connected = true;
	u.chr.room = SIZE_MAX;
	cfg.irq = fake_irq_line(&u.irq, 4);
	u.dev = serial_create(&u.hw.env, &cfg, &err);
	ck_assert_msg(u.dev != NULL, "%s", err.msg);
}

static void teardown(void)
{
	fake_hw_fini(&u.hw, u.dev);
	ck_assert_ptr_null(u.chr.fe);
}

static uint8_t in(uint16_t port)
{
	return fake_inb(&u.hw, port);
}

static void out(uint16_t port, uint8_t v)
{
	fake_outb(&u.hw, port, v);
}

static size_t input(const char *text)
{
	return fake_input(&u.chr, text, strlen(text));
}

static void check_power_on(void)
{
	ck_assert_uint_eq(in(IER), 0);
	ck_assert_uint_eq(in(IIR), IIR_NONE);
	ck_assert_uint_eq(in(LCR), 0);
	ck_assert_uint_eq(in(MCR), 0);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY);
	ck_assert_uint_eq(in(MSR), MSR_CTS | MSR_DSR | MSR_DCD);
	ck_assert_uint_eq(in(SCR), 0);
	ck_assert(!u.irq.level);
	out(LCR, LCR_DLAB);
	ck_assert_uint_eq(in(DATA), 12);
	ck_assert_uint_eq(in(IER), 0);
	out(LCR, 0);
}

START_TEST(power_on_and_reset)
{
	check_power_on();
	out(FCR, FIFO_14);
	out(LCR, 0x1b | LCR_DLAB);
	out(DATA, 1);
	out(IER, 2);
	out(LCR, 0x1b);
	out(SCR, 0x77);
	out(MCR, MCR_OUT2 | MCR_RTS);
	out(IER, 0x0f);
	input("abcdef");
	in(DATA);
	u.chr.fe->event(u.chr.opaque, CHARDEV_BREAK);
	u.chr.room = 0;
	out(DATA, 'x');
	ck_assert(u.irq.level);
	u.dev->ops->reset(u.dev);
	ck_assert_ptr_null(fake_next_timer(&u.hw.loop));
	check_power_on();
}
END_TEST

START_TEST(registers_read_back)
{
	for (unsigned v = 0; v < 256; v++) {
		out(LCR, v);
		ck_assert_uint_eq(in(LCR), v);
		out(LCR, 0);
		out(SCR, v);
		ck_assert_uint_eq(in(SCR), v);
		out(IER, v);
		ck_assert_uint_eq(in(IER), v & 0x0f);
		out(MCR, v);
		ck_assert_uint_eq(in(MCR), v & 0x1f);
		out(MCR, 0);
		out(LSR, v); /* read-only */
		ck_assert_uint_eq(in(LSR), LSR_EMPTY);
		in(MSR);
		out(MSR, v);
		ck_assert_uint_eq(in(MSR), MSR_CTS | MSR_DSR | MSR_DCD);
		out(LCR, LCR_DLAB);
		out(DATA, v);
		out(IER, ~v);
		ck_assert_uint_eq(in(DATA), v);
		ck_assert_uint_eq(in(IER), (uint8_t)~v);
		out(LCR, 0);
	}
	ck_assert_uint_eq(u.chr.n_out, 0);
}
END_TEST

START_TEST(detected_as_16550a)
{
	ck_assert_uint_eq(in(IIR) >> 6, 0);
	out(FCR, FCR_ENABLE);
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_NONE);
	out(LCR, LCR_DLAB);
	out(FCR, FCR_ENABLE | 0x20); /* a 16750's 64-byte FIFO */
	ck_assert_uint_eq(in(IIR) >> 5, 6);
	out(LCR, 0xbf); /* a 16650's enhanced registers */
	ck_assert_uint_ne(in(FCR), 0);
	out(LCR, 0);
	out(FCR, 0);
	ck_assert_uint_eq(in(IIR) >> 6, 0);
	/* Linux' loopback test */
	out(MCR, MCR_LOOP | 0x0a);
	ck_assert_uint_eq(in(MSR) & 0xf0, 0x90);
	out(MCR, 0);
}
END_TEST

START_TEST(writes_at_once)
{
	for (const char *p = "hello"; *p; p++) {
		out(DATA, *p);
		ck_assert_uint_eq(in(LSR), LSR_EMPTY);
	}
	ck_assert_uint_eq(u.chr.n_out, 5);
	ck_assert_mem_eq(u.chr.out, "hello", 5);
	ck_assert_uint_eq(u.chr.writes, 5);
	ck_assert_uint_eq(u.irq.rises, 0);
	ck_assert_uint_eq(u.hw.loop.arms, 0);
}
END_TEST

START_TEST(thre_interrupt)
{
	out(MCR, MCR_OUT2);
	out(IER, IER_THRI); /* turned on with THR empty */
	ck_assert(u.irq.level);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY); /* reading LSR does not clear it */
	ck_assert(u.irq.level);
	ck_assert_uint_eq(in(IIR), IIR_THRI); /* reading IIR does */
	ck_assert(!u.irq.level);
	ck_assert_uint_eq(in(IIR), IIR_NONE);
	out(IER, IER_THRI); /* not turned on: it was */
	ck_assert_uint_eq(in(IIR), IIR_NONE);
	out(DATA, 'a'); /* an edge for each byte, also when IIR was not read */
	ck_assert(u.irq.level);
	ck_assert_uint_eq(u.irq.rises, 2);
	out(DATA, 'b');
	ck_assert(u.irq.level);
	ck_assert_uint_eq(u.irq.rises, 3);
	/* Linux' test for UARTs that lose this interrupt */
	out(IER, 0);
	ck_assert(!u.irq.level);
	ck_assert_uint_eq(in(IIR), IIR_NONE);
	out(IER, IER_THRI);
	ck_assert_uint_eq(in(IIR), IIR_THRI);
	out(IER, 0);
	out(IER, IER_THRI);
	ck_assert_uint_eq(in(IIR), IIR_THRI);
}
END_TEST

START_TEST(out2_gates)
{
	out(IER, IER_THRI);
	ck_assert(!u.irq.level);
	out(MCR, MCR_OUT2);
	ck_assert(u.irq.level);
	out(MCR, MCR_OUT2 | MCR_LOOP); /* loopback makes OUT2 inactive */
	ck_assert(!u.irq.level);
	out(MCR, MCR_OUT2);
	ck_assert(u.irq.level);
	out(MCR, 0);
	ck_assert(!u.irq.level);
	ck_assert_uint_eq(u.irq.pin, 4);
}
END_TEST

START_TEST(stalled_output_with_fifo)
{
	out(MCR, MCR_OUT2);
	out(FCR, FIFO_1);
	out(IER, IER_THRI);
	in(IIR);
	u.chr.room = 0;
	for (unsigned i = 0; i < 18; i++)
		out(DATA, 'a' + i); /* two more than fit are lost */
	ck_assert_uint_eq(in(LSR), 0);
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_NONE);
	ck_assert(!u.irq.level);
	out(IER, 0);
	out(IER, IER_THRI); /* not empty: no interrupt */
	ck_assert(!u.irq.level);
	u.chr.room = 6;
	u.chr.fe->writable(u.chr.opaque);
	ck_assert_uint_eq(in(LSR), 0);
	for (unsigned i = 0; i < 6; i++)
		out(DATA, 'A' + i); /* round the end of the ring */
	u.chr.room = SIZE_MAX;
	u.chr.fe->writable(u.chr.opaque);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY);
	ck_assert(u.irq.level);
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_THRI);
	ck_assert_uint_eq(u.chr.n_out, 22);
	ck_assert_mem_eq(u.chr.out, "abcdefghijklmnopABCDEF", 22);
	u.chr.fe->writable(u.chr.opaque); /* nothing to send: nothing happens */
	ck_assert(!u.irq.level);
	ck_assert_uint_eq(u.chr.n_out, 22);
}
END_TEST

START_TEST(stalled_output_without_fifo)
{
	u.chr.room = 0;
	out(DATA, 'a');
	ck_assert_uint_eq(in(LSR), 0);
	out(DATA, 'b'); /* lost: the guest did not look at THRE */
	u.chr.room = SIZE_MAX;
	u.chr.fe->writable(u.chr.opaque);
	out(DATA, 'c');
	ck_assert_mem_eq(u.chr.out, "ac", 2);
	ck_assert_uint_eq(u.chr.n_out, 2);
}
END_TEST

START_TEST(transmitter_clear_and_reset)
{
	out(MCR, MCR_OUT2);
	out(FCR, FIFO_1);
	out(IER, IER_THRI);
	in(IIR);
	u.chr.room = 0;
	out(DATA, 'a');
	out(FCR, FIFO_1 | FCR_CLEAR_TX);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY);
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_THRI);
	out(DATA, 'b');
	out(FCR, 0); /* turning the FIFOs off clears them */
	ck_assert_uint_eq(in(LSR), LSR_EMPTY);
	out(FCR, FIFO_1);
	out(DATA, 'c');
	u.chr.room = SIZE_MAX;
	u.dev->ops->reset(u.dev); /* what the chardev takes is not lost by a reboot */
	ck_assert_uint_eq(u.chr.n_out, 1);
	ck_assert_uint_eq(u.chr.out[0], 'c');
}
END_TEST

START_TEST(receives_without_fifo)
{
	out(MCR, MCR_OUT2);
	out(IER, IER_RDI);
	ck_assert_uint_eq(u.chr.fe->can_receive(u.chr.opaque), 1);
	ck_assert_uint_eq(input("xy"), 1);
	ck_assert_uint_eq(u.chr.fe->can_receive(u.chr.opaque), 0);
	ck_assert(u.irq.level);
	ck_assert_uint_eq(in(IIR), IIR_RDI);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY | LSR_DR);
	ck_assert_uint_eq(u.chr.accepts, 0);
	ck_assert_uint_eq(in(DATA), 'x');
	ck_assert_uint_eq(u.chr.accepts, 1);
	ck_assert(!u.irq.level);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY);
	ck_assert_uint_eq(in(DATA), 0);
	ck_assert_uint_eq(u.chr.accepts, 1);
	ck_assert_uint_eq(u.hw.loop.arms, 0);
}
END_TEST

START_TEST(overrun)
{
	out(IER, IER_RLSI);
	out(MCR, MCR_OUT2);
	u.chr.fe->receive(u.chr.opaque, (const uint8_t *)"ab", 2); /* without asking */
	ck_assert(u.irq.level);
	ck_assert_uint_eq(in(IIR), IIR_RLSI);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY | LSR_DR | LSR_OE);
	ck_assert(!u.irq.level);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY | LSR_DR);
	ck_assert_uint_eq(in(DATA), 'b'); /* RBR is overwritten */
	out(FCR, FIFO_14);
	u.chr.fe->receive(u.chr.opaque, (const uint8_t *)"0123456789abcdefg", 17);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY | LSR_DR | LSR_OE);
	for (const char *p = "0123456789abcdef"; *p; p++)
		ck_assert_uint_eq(in(DATA), *p); /* the FIFO keeps what it has */
	ck_assert_uint_eq(in(LSR), LSR_EMPTY);
}
END_TEST

START_TEST(trigger_levels)
{
	static const uint8_t fcr[] = { FIFO_1, FIFO_4, FIFO_8, FIFO_14 }, level[] = { 1, 4, 8, 14 };

	out(LCR, 3);
	out(MCR, MCR_OUT2);
	out(IER, IER_RDI);
	for (unsigned t = 0; t < 4; t++) {
		out(FCR, fcr[t] | FCR_CLEAR_RX);
		ck_assert_uint_eq(input("0123456789abcdefgh"), 16);
		ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_RDI);
		for (unsigned left = 15; left >= level[t]; left--) {
			in(DATA);
			ck_assert(u.irq.level);
			ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_RDI);
		}
		in(DATA); /* below the level: the interrupt goes */
		ck_assert(!u.irq.level);
		ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_NONE);
		if (level[t] == 1)
			continue;
		fake_advance(&u.hw.loop, CHAR_TIMES_4 - 2000);
		ck_assert(!u.irq.level);
		fake_advance(&u.hw.loop, 4000); /* and comes again as a time-out */
		ck_assert(u.irq.level);
		ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_CTI);
		while (in(LSR) & LSR_DR)
			in(DATA);
		ck_assert(!u.irq.level);
	}
}
END_TEST

START_TEST(time_out_ends_a_burst)
{
	out(MCR, MCR_OUT2);
	out(FCR, FIFO_8);
	out(IER, IER_RDI);
	input("a");
	ck_assert(u.irq.level); /* at once, and without a timer */
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_CTI);
	ck_assert_uint_eq(in(DATA), 'a');
	ck_assert(!u.irq.level);
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_NONE);
	ck_assert_uint_eq(u.hw.loop.arms, 0);
	input("1234567");
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_CTI);
	input("8"); /* at the trigger level */
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_RDI);
}
END_TEST

START_TEST(time_out_while_reading)
{
	unsigned arms;

	out(LCR, 3);
	out(MCR, MCR_OUT2);
	out(FCR, FIFO_14);
	out(IER, IER_RDI);
	input("abcdef");
	in(DATA);
	ck_assert(!u.irq.level);
	ck_assert_uint_eq(u.hw.loop.arms, 1);
	fake_advance(&u.hw.loop, CHAR_TIMES_4 / 2);
	in(DATA); /* starts the time anew, without arming anew */
	ck_assert_uint_eq(u.hw.loop.arms, 1);
	fake_advance(&u.hw.loop, CHAR_TIMES_4 - 2000);
	ck_assert(!u.irq.level);
	fake_advance(&u.hw.loop, 4000);
	ck_assert(u.irq.level);
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_CTI);
	for (unsigned i = 0; i < 4; i++)
		in(DATA);
	ck_assert(!u.irq.level);
	fake_advance(&u.hw.loop, NS_PER_SEC); /* a last time for nothing, then silence */
	ck_assert(!u.irq.level);
	arms = u.hw.loop.arms;
	fake_advance(&u.hw.loop, 100 * NS_PER_SEC);
	ck_assert_uint_eq(u.hw.loop.arms, arms);
}
END_TEST

START_TEST(time_out_needs_the_interrupt)
{
	out(FCR, FIFO_14);
	out(MCR, MCR_OUT2);
	input("abc");
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_NONE);
	in(DATA);
	ck_assert_uint_eq(u.hw.loop.arms, 0); /* a guest that polls costs no timer */
	out(IER, IER_RDI);
	ck_assert(u.irq.level); /* the rest has waited for long */
	in(DATA);
	out(IER, 0);
	fake_advance(&u.hw.loop, NS_PER_SEC);
	ck_assert(!u.irq.level);
	/* a new trigger level */
	out(IER, IER_RDI);
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_CTI);
	out(FCR, FIFO_1);
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_RDI);
}
END_TEST

/* The character time follows divisor and format, and has a limit: a hostile divisor must not hide input for long. */
START_TEST(time_out_length)
{
	static const struct {
		uint16_t divisor;
		uint8_t lcr;
		int64_t ns;
	} cases[] = {
		{ 1, 0x03, 4 * 10 * INT64_C(8681) },
		{ 1, 0x0f, 4 * 12 * INT64_C(8681) },
		{ 1, 0x00, 4 * 7 * INT64_C(8681) },
		{ 0, 0x03, 4 * 10 * INT64_C(8681) },
		{ 0xffff, 0x0f, 100000000 },
	};

	out(MCR, MCR_OUT2);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		out(LCR, LCR_DLAB);
		out(DATA, cases[i].divisor & 0xff);
		out(IER, cases[i].divisor >> 8);
		out(LCR, cases[i].lcr);
		out(FCR, FIFO_14 | FCR_CLEAR_RX);
		out(IER, IER_RDI);
		input("ab");
		in(DATA);
		ck_assert(!u.irq.level);
		fake_advance(&u.hw.loop, cases[i].ns * 99 / 100);
		ck_assert(!u.irq.level);
		fake_advance(&u.hw.loop, cases[i].ns * 2 / 100);
		ck_assert(u.irq.level);
	}
}
END_TEST

START_TEST(input_waits_for_room)
{
	char got[101] = "", text[101];
	size_t sent = 0, n = 0;

	for (unsigned i = 0; i < 100; i++)
		text[i] = 'A' + i % 50;
	text[100] = '\0';
	out(FCR, FIFO_8);
	sent = input(text);
	ck_assert_uint_eq(sent, 16);
	while (n < 100) {
		unsigned before = u.chr.accepts;

		ck_assert(in(LSR) & LSR_DR);
		got[n++] = in(DATA);
		if (u.chr.accepts != before)
			sent += input(text + sent);
	}
	ck_assert_str_eq(got, text);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY);
	ck_assert_uint_le(u.chr.accepts, 100 / 8 + 1); /* not one per byte */
	/* Clearing the FIFO makes room, too. */
	input(text);
	sent = u.chr.accepts;
	out(FCR, FIFO_8 | FCR_CLEAR_RX);
	ck_assert_uint_eq(u.chr.accepts, sent + 1);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY);
	/* Without bit 0 the clear bits do nothing by themselves, but the FIFOs go off. */
	input("abc");
	out(FCR, FCR_CLEAR_RX);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY);
	ck_assert_uint_eq(in(IIR), IIR_NONE);
}
END_TEST

START_TEST(interrupt_priority)
{
	out(FCR, FIFO_1);
	out(MCR, MCR_OUT2);
	out(IER, 0x0f); /* THRE is pending now */
	u.chr.fe->event(u.chr.opaque, CHARDEV_CLOSED);
	input("a");
	u.chr.fe->event(u.chr.opaque, CHARDEV_BREAK);
	in(DATA); /* the break comes to the top */
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_RLSI);
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_RLSI);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY | LSR_DR | LSR_BI | LSR_FIFO_ERR);
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_RDI);
	ck_assert_uint_eq(in(DATA), 0);
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_THRI);
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_MSI);
	ck_assert(u.irq.level);
	ck_assert_uint_eq(in(MSR), MSR_DCTS | MSR_DDSR | MSR_DDCD);
	ck_assert_uint_eq(in(IIR), IIR_FIFOS | IIR_NONE);
	ck_assert(!u.irq.level);
	ck_assert_uint_eq(u.irq.rises, 1);
}
END_TEST

START_TEST(break_in_fifo)
{
	out(FCR, FIFO_8);
	input("a");
	u.chr.fe->event(u.chr.opaque, CHARDEV_BREAK);
	input("b");
	/* There is an error in the FIFO, but not at the top. */
	ck_assert_uint_eq(in(LSR), LSR_EMPTY | LSR_DR | LSR_FIFO_ERR);
	ck_assert_uint_eq(in(DATA), 'a');
	ck_assert_uint_eq(in(LSR), LSR_EMPTY | LSR_DR | LSR_FIFO_ERR | LSR_BI);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY | LSR_DR);
	ck_assert_uint_eq(in(DATA), 0);
	ck_assert_uint_eq(in(DATA), 'b');
	ck_assert_uint_eq(in(LSR), LSR_EMPTY);
	/* Without FIFOs there is no bit 7. */
	out(FCR, 0);
	u.chr.fe->event(u.chr.opaque, CHARDEV_BREAK);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY | LSR_DR | LSR_BI);
}
END_TEST

START_TEST(modem_lines)
{
	out(MCR, MCR_OUT2);
	out(IER, IER_MSI);
	ck_assert_uint_eq(in(MSR), MSR_CTS | MSR_DSR | MSR_DCD);
	u.chr.fe->event(u.chr.opaque, CHARDEV_CLOSED);
	ck_assert(u.irq.level);
	ck_assert_uint_eq(in(IIR), IIR_MSI);
	ck_assert_uint_eq(in(MSR), MSR_DCTS | MSR_DDSR | MSR_DDCD);
	ck_assert(!u.irq.level);
	ck_assert_uint_eq(in(MSR), 0);
	u.chr.fe->event(u.chr.opaque, CHARDEV_OPENED);
	ck_assert(u.irq.level);
	ck_assert_uint_eq(in(MSR), 0xb0 | MSR_DCTS | MSR_DDSR | MSR_DDCD);
	u.chr.fe->event(u.chr.opaque, CHARDEV_OPENED); /* no change */
	ck_assert_uint_eq(in(MSR), 0xb0);
}
END_TEST

START_TEST(loopback)
{
	out(FCR, FIFO_4);
	in(MSR);
	out(MCR, MCR_LOOP | MCR_OUT1);
	ck_assert_uint_eq(in(MSR), MSR_RI | MSR_DCTS | MSR_DDSR | MSR_DDCD);
	out(MCR, MCR_LOOP);
	ck_assert_uint_eq(in(MSR), MSR_TERI); /* the trailing edge */
	out(MCR, MCR_LOOP | MCR_DTR);
	ck_assert_uint_eq(in(MSR), MSR_DSR | MSR_DDSR);
	out(MCR, MCR_LOOP | MCR_RTS | MCR_OUT2);
	ck_assert_uint_eq(in(MSR), MSR_CTS | MSR_DCD | MSR_DCTS | MSR_DDSR | MSR_DDCD);
	ck_assert_uint_eq(input("outside"), 0); /* waits: nothing is lost */
	u.chr.fe->event(u.chr.opaque, CHARDEV_BREAK);
	for (unsigned i = 0; i < 17; i++) /* one more than fits */
		out(DATA, 'a' + i);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY | LSR_DR | LSR_OE);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_uint_eq(in(DATA), 'a' + i);
	ck_assert_uint_eq(u.chr.n_out, 0);
	out(LCR, LCR_BREAK | 3);
	ck_assert_uint_eq(in(LSR), LSR_EMPTY | LSR_DR | LSR_BI | LSR_FIFO_ERR);
	ck_assert_uint_eq(in(DATA), 0);
	out(LCR, 3);
	ck_assert_uint_eq(u.chr.accepts, 0);
	out(MCR, 0);
	ck_assert_uint_eq(u.chr.accepts, 1);
	ck_assert_uint_eq(input("out"), 3);
	out(LCR, LCR_BREAK | 3); /* outside of loopback nobody hears it */
	ck_assert_uint_eq(in(LSR), LSR_EMPTY | LSR_DR);
}
END_TEST

START_TEST(loopback_interrupts_read_in_iir)
{
	out(IER, 0x0f);
	out(MCR, MCR_LOOP | MCR_OUT2);
	in(MSR);
	in(IIR);
	out(DATA, 'x');
	ck_assert_uint_eq(in(IIR), IIR_RDI);
	ck_assert_uint_eq(in(DATA), 'x');
	ck_assert_uint_eq(in(IIR), IIR_THRI);
	ck_assert_uint_eq(u.irq.rises, 0);
}
END_TEST

START_TEST(not_connected)
{
	struct err err = ERR_INIT;
	struct chardev chr = { .connected = false };
	struct serial_config cfg = { .name = "serial1", .iobase = 0x2f8, .chardev = &chr };
	struct device *dev;

	dev = serial_create(&u.hw.env, &cfg, &err); /* no interrupt line either */
	ck_assert_ptr_nonnull(dev);
	ck_assert_uint_eq(in(0x2f8 + SERIAL_MSR), 0);
	out(0x2f8 + SERIAL_MCR, MCR_OUT2);
	out(0x2f8 + SERIAL_IER, 0x0f);
	dev->ops->destroy(dev);
	/* The ports are taken. */
	cfg.iobase = COM + 7;
	ck_assert_ptr_null(serial_create(&u.hw.env, &cfg, &err));
	ck_assert_int_eq(err.code, -EEXIST);
	ck_assert_ptr_nonnull(strstr(err.msg, "serial1"));
	ck_assert_ptr_null(chr.fe);
}
END_TEST

START_TEST(quiesce_and_resume)
{
	out(MCR, MCR_OUT2);
	out(FCR, FIFO_14);
	out(IER, IER_RDI);
	input("abc");
	in(DATA);
	u.dev->ops->quiesce(u.dev);
	ck_assert_ptr_null(fake_next_timer(&u.hw.loop));
	ck_assert_uint_eq(input("d"), 0);
	fake_advance(&u.hw.loop, NS_PER_SEC);
	ck_assert(!u.irq.level);
	u.dev->ops->resume(u.dev);
	ck_assert_uint_eq(u.chr.accepts, 1);
	fake_advance(&u.hw.loop, NS_PER_SEC);
	ck_assert(u.irq.level);
	ck_assert_uint_eq(input("d"), 1);
	u.dev->ops->quiesce(u.dev); /* with the time-out pending: no timer afterwards */
	u.dev->ops->resume(u.dev);
	ck_assert_ptr_null(fake_next_timer(&u.hw.loop));
}
END_TEST

START_TEST(wide_accesses)
{
	fake_out(&u.hw, COM + SERIAL_SCR - 1, 0x7700, 2); /* MSR, SCR */
	ck_assert_uint_eq(fake_in(&u.hw, COM + SERIAL_LCR, 4), 0xb0600000);
	ck_assert_uint_eq(fake_in(&u.hw, COM + SERIAL_SCR, 4), 0xffffff77);
}
END_TEST

START_TEST(hostile)
{
	u.chr.room = 100;
	fake_hostile_ports(&u.hw, COM, SERIAL_PORTS);
	for (unsigned round = 0; round < 200; round++) {
		fake_random_ports(&u.hw, COM, SERIAL_PORTS, 100);
		input("some input for it, longer than any FIFO");
		u.chr.fe->event(u.chr.opaque, round % 3);
		u.chr.room = round % 5 ? 10 : 0;
		u.chr.n_out = 0;
		u.chr.fe->writable(u.chr.opaque);
	}
	u.dev->ops->reset(u.dev);
	u.chr.fe->event(u.chr.opaque, CHARDEV_OPENED);
	in(MSR);
	check_power_on();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		power_on_and_reset, registers_read_back, detected_as_16550a, writes_at_once, thre_interrupt, out2_gates,
		stalled_output_with_fifo, stalled_output_without_fifo, transmitter_clear_and_reset, receives_without_fifo, overrun,
		trigger_levels, time_out_ends_a_burst, time_out_while_reading, time_out_needs_the_interrupt, time_out_length,
		input_waits_for_room, interrupt_priority, break_in_fifo, modem_lines, loopback, loopback_interrupts_read_in_iir,
		not_connected, quiesce_and_resume, wide_accesses, hostile,
	};

	return suite_run("serial", tests, sizeof(tests) / sizeof(tests[0]), setup, teardown);
}
