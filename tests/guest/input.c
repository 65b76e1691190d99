/* SPDX-License-Identifier: MIT */
/*
 * Receives bytes=N on COM1 by interrupt, after saying "input: ready", and tells their number and a hash for the runner to
 * compare: nothing may be lost, doubled or turned around, however fast they are fed. delay=US rests between interrupts.
 */
#include "rt.h"

#define IRQ 4
#define IDLE_MS 20000

static volatile uint32_t bytes, hash, overruns;
static uint64_t rest;

static void receive(struct trap_frame *frame)
{
	uint8_t lsr;

	(void)frame;
	inb(COM1 + 2);
	while ((lsr = inb(COM1 + 5)) & 1) {
		overruns += (lsr & 2) != 0;
		hash = hash * 31 + inb(COM1);
		bytes++;
	}
	pic_eoi(IRQ);
}

void payload_main(void)
{
	uint32_t want = (uint32_t)arg_u64("bytes", 1000), had = 0;

	rest = arg_u64("delay", 0);
	tsc_khz();
	trap_set(VEC_PIC + IRQ, receive);
	print("input: ready\n");
	outb(COM1 + 2, 0x81); /* FIFOs on, trigger at 8 */
	outb(COM1 + 1, 0x01);
	pic_mask(IRQ, false);
	while (bytes < want) {
		if (!wait_count(&bytes, had + 1, IDLE_MS))
			break;
		had = bytes;
		if (rest)
			delay_us(rest);
	}
	outb(COM1 + 1, 0);
	print("input: %u bytes hash %u\n", bytes, hash);
	test_equal(bytes, want, "all bytes");
	test_equal(overruns, 0, "no overruns");
}
