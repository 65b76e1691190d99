/* SPDX-License-Identifier: MIT */
/*
 * The 16550A UART from the guest's side (PC16550D data sheet, section 8): registers, FIFOs, loopback, modem status, and its
 * interrupts through the PIC and the IOAPIC. Under test is COM1 itself, so results are kept until the console is back.
 */
#include "rt.h"

#define PATIENCE_MS 10000
#define RBR (COM1 + 0)
#define THR (COM1 + 0)
#define IER (COM1 + 1)
#define IIR (COM1 + 2)
#define FCR (COM1 + 2)
#define LCR (COM1 + 3)
#define MCR (COM1 + 4)
#define LSR (COM1 + 5)
#define MSR (COM1 + 6)
#define SCR (COM1 + 7)

#define IRQ 4
#define IIR_NONE 0x01
#define IIR_MODEM 0x00
#define IIR_THRE 0x02
#define IIR_DATA 0x04
#define IIR_LINE 0x06
#define IIR_TIMEOUT 0x0c
#define LSR_DR 0x01
#define LSR_OE 0x02
#define LSR_THRE 0x20
#define LSR_TEMT 0x40
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10

static struct {
	const char *name;
	uint32_t got, want;
} kept[64];
static size_t kept_n;

static void keep(uint32_t got, uint32_t want, const char *name)
{
	if (kept_n < ARRAY_SIZE(kept)) {
		kept[kept_n].name = name;
		kept[kept_n].got = got;
		kept[kept_n++].want = want;
	}
}

/* The console back, and what was kept on it. */
static void report(void)
{
	console_init();
	for (size_t i = 0; i < kept_n; i++)
		test_equal(kept[i].got, kept[i].want, kept[i].name);
	kept_n = 0;
}

/* Everything sent, FIFOs empty and off, no interrupts, nothing pending. */
static void quiet(void)
{
	while ((inb(LSR) & (LSR_THRE | LSR_TEMT)) != (LSR_THRE | LSR_TEMT))
		cpu_relax();
	outb(IER, 0);
	outb(LCR, 0x03);
	outb(FCR, 0x01);
	outb(FCR, 0x07);
	outb(FCR, 0x00);
	outb(MCR, MCR_OUT2);
	inb(RBR);
	inb(LSR);
	inb(MSR);
	inb(IIR);
}

static void test_registers(void)
{
	quiet();
	keep(inb(IIR), IIR_NONE, "IIR: nothing pending, no FIFOs");
	keep(inb(LSR), LSR_THRE | LSR_TEMT, "LSR: transmitter empty, no data");
	outb(SCR, 0x55);
	keep(inb(SCR), 0x55, "scratch register 0x55");
	outb(SCR, 0xaa);
	keep(inb(SCR), 0xaa, "scratch register 0xaa");
	outb(LCR, 0x1b);
	keep(inb(LCR), 0x1b, "LCR reads back");
	outb(LCR, 0x83);
	outb(RBR, 0x34);
	outb(IER, 0x12);
	keep(inb(RBR) | (uint32_t)inb(IER) << 8, 0x1234, "divisor latch reads back");
	outb(LCR, 0x03);
	keep(inb(IER), 0, "the divisor latch is not IER");
	outb(IER, 0x0c);
	keep(inb(IER), 0x0c, "IER reads back");
	outb(IER, 0xf0);
	keep(inb(IER), 0, "IER: upper bits are 0");
	outb(MCR, 0xef);
	keep(inb(MCR), 0x0f, "MCR: upper bits are 0");
	outb(LSR, 0x1e);
	keep(inb(LSR), LSR_THRE | LSR_TEMT, "LSR ignores writes");
	outb(FCR, 0x01);
	keep(inb(IIR) & 0xc0, 0xc0, "FIFO detection: a 16550A");
	outb(FCR, 0x00);
	keep(inb(IIR) & 0xc0, 0x00, "FIFOs off again");
	report();
}

static void test_loopback(void)
{
	quiet();
	outb(MCR, MCR_LOOP | MCR_OUT2);
	outb(THR, 0x5a);
	keep(inb(LSR) & LSR_DR, LSR_DR, "loopback: data ready");
	keep(inb(RBR), 0x5a, "loopback: the byte sent");
	keep(inb(LSR) & LSR_DR, 0, "loopback: read once");
	outb(THR, 0x01);
	outb(THR, 0x02);
	keep(inb(LSR) & LSR_OE, LSR_OE, "loopback: overrun without FIFO");
	keep(inb(LSR) & LSR_OE, 0, "overrun is cleared by reading LSR");
	inb(RBR);
	inb(MSR);
	outb(MCR, MCR_LOOP | 0x01);
	keep(inb(MSR) & 0xf0, 0x20, "loopback: DTR is DSR");
	outb(MCR, MCR_LOOP | 0x02);
	keep(inb(MSR) & 0xf0, 0x10, "loopback: RTS is CTS");
	outb(MCR, MCR_LOOP | 0x04);
	keep(inb(MSR) & 0xf0, 0x40, "loopback: OUT1 is RI");
	outb(MCR, MCR_LOOP | 0x08);
	keep(inb(MSR) & 0xf0, 0x80, "loopback: OUT2 is DCD");
	report();
}

/* The modem status register's deltas, and the interrupt that they are; QEMU has neither in loopback. */
static void test_modem(void)
{
	quiet();
	outb(MCR, MCR_LOOP);
	inb(MSR);
	outb(MCR, MCR_LOOP | 0x01);
	keep(inb(MSR), 0x22, "modem: DSR and its delta");
	keep(inb(MSR), 0x20, "modem: reading takes the delta back");
	outb(MCR, MCR_LOOP | 0x02);
	keep(inb(MSR), 0x13, "modem: two deltas");
	outb(MCR, MCR_LOOP | 0x04);
	keep(inb(MSR), 0x41, "modem: no delta when RI rises");
	outb(MCR, MCR_LOOP | 0x08);
	keep(inb(MSR), 0x8c, "modem: one when it falls");
	outb(IER, 0x08);
	keep(inb(IIR), IIR_NONE, "modem: nothing pending");
	outb(MCR, MCR_LOOP | 0x01);
	keep(inb(IIR), IIR_MODEM, "modem: a delta is an interrupt");
	keep(inb(IIR), IIR_MODEM, "modem: reading IIR does not end it");
	inb(MSR);
	keep(inb(IIR), IIR_NONE, "modem: reading MSR does");
	report();
}

static void test_fifo(void)
{
	uint32_t bad = 0;

	quiet();
	outb(FCR, 0x07);
	outb(MCR, MCR_LOOP | MCR_OUT2);
	for (unsigned i = 0; i < 16; i++)
		outb(THR, (uint8_t)(0x80 + i));
	keep(inb(LSR) & (LSR_DR | LSR_OE), LSR_DR, "FIFO: 16 bytes without overrun");
	outb(THR, 0xff);
	keep(inb(LSR) & LSR_OE, LSR_OE, "FIFO: the 17th overruns");
	for (unsigned i = 0; i < 16; i++)
		bad += inb(RBR) != 0x80 + i;
	keep(bad, 0, "FIFO: 16 bytes in order");
	keep(inb(LSR) & LSR_DR, 0, "FIFO: empty after them");
	outb(THR, 1);
	outb(FCR, 0x03);
	keep(inb(LSR) & LSR_DR, 0, "FIFO: reset by FCR");
	report();
}

static void test_identification(void)
{
	uint64_t end;
	uint8_t iir;

	quiet();
	outb(FCR, 0x87); /* trigger at 8 */
	outb(MCR, MCR_LOOP | MCR_OUT2);
	outb(IER, 0x01);
	for (unsigned i = 0; i < 8; i++)
		outb(THR, 1);
	keep(inb(IIR), 0xc0 | IIR_DATA, "eight bytes, the trigger level: received data");
	for (unsigned i = 0; i < 8; i++)
		inb(RBR);
	keep(inb(IIR), 0xc0 | IIR_NONE, "nothing after reading them");
	outb(THR, 1);
	end = rdtsc() + tsc_khz() * PATIENCE_MS;
	do
		iir = inb(IIR);
	while (iir == (0xc0 | IIR_NONE) && rdtsc() < end);
	keep(iir, 0xc0 | IIR_TIMEOUT, "one byte, below it: character timeout");
	inb(RBR);
	keep(inb(IIR), 0xc0 | IIR_NONE, "nothing after reading it");
	outb(IER, 0x02);
	keep(inb(IIR), 0xc0 | IIR_THRE, "enabling it with an empty transmitter: THRE");
	keep(inb(IIR), 0xc0 | IIR_NONE, "reading IIR takes THRE back");
	inb(MSR);
	outb(IER, 0x07);
	outb(FCR, 0x07);
	for (unsigned i = 0; i < 17; i++)
		outb(THR, 1);
	keep(inb(IIR), 0xc0 | IIR_LINE, "line status (overrun) comes first");
	inb(LSR);
	keep(inb(IIR), 0xc0 | IIR_DATA, "then received data");
	outb(FCR, 0x03);
	keep(inb(IIR), 0xc0 | IIR_THRE, "then THRE");
	keep(inb(IIR), 0xc0 | IIR_NONE, "then nothing");
	report();
}

static volatile uint32_t taken, taken_iir;

static void take_pic(struct trap_frame *frame)
{
	(void)frame;
	taken_iir = inb(IIR);
	if ((taken_iir & 0x0f) == IIR_DATA)
		inb(RBR);
	taken++;
	pic_eoi(IRQ);
}

static void take_ioapic(struct trap_frame *frame)
{
	(void)frame;
	taken_iir = inb(IIR);
	if ((taken_iir & 0x0f) == IIR_DATA)
		inb(RBR);
	taken++;
	lapic_eoi();
}

static void test_interrupts(bool ioapic)
{
	quiet();
	taken = 0;
	outb(IER, 0x02);
	wait_count(&taken, 1, PATIENCE_MS);
	keep(taken, 1, ioapic ? "IOAPIC: THRE on enabling it" : "PIC: THRE on enabling it");
	keep(taken_iir, IIR_THRE, "and IIR says so");
	outb(THR, '\r'); /* leaves, and the transmitter is empty again */
	wait_count(&taken, 2, PATIENCE_MS);
	keep(taken, 2, "THRE once a byte has gone");
	outb(IER, 0x01);
	/* In loopback OUT2, which gates the interrupt on PCs, is off for some: it has to come once loopback ends, not before for all. */
	outb(MCR, MCR_OUT2 | MCR_LOOP);
	outb(THR, 0x33);
	outb(MCR, MCR_OUT2);
	wait_count(&taken, 3, PATIENCE_MS);
	keep(taken, 3, "received data");
	keep(taken_iir, IIR_DATA, "and IIR says so");
	wait_count(&taken, 4, 20);
	keep(taken, 3, "and no more");
	report();
}

void payload_main(void)
{
	tsc_khz();
	test_registers();
	test_loopback();
	if (vmm_is_qemu())
		test_skip("modem status deltas", "QEMU has none in loopback");
	else
		test_modem();
	test_fifo();
	test_identification();
	trap_set(VEC_PIC + IRQ, take_pic);
	pic_mask(IRQ, false);
	test_interrupts(false);
	pic_mask(IRQ, true);
	trap_set(VEC_IOAPIC + IRQ, take_ioapic);
	ioapic_route(IRQ, VEC_IOAPIC + IRQ, false, false, lapic_id());
	test_interrupts(true);
}
