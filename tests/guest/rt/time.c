/* SPDX-License-Identifier: MIT */
/* Time from PIT channel 2, which needs no interrupt, and from the TSC measured against it. */
#include "rt.h"

void pit_program(unsigned channel, unsigned mode, uint16_t count)
{
	outb(0x43, (uint8_t)(channel << 6 | 0x30 | mode << 1));
	outb((uint16_t)(0x40 + channel), (uint8_t)count);
	outb((uint16_t)(0x40 + channel), (uint8_t)(count >> 8));
}

uint16_t pit_read(unsigned channel)
{
	uint8_t lo;

	outb(0x43, (uint8_t)(channel << 6)); /* latch */
	lo = inb((uint16_t)(0x40 + channel));
	return (uint16_t)(inb((uint16_t)(0x40 + channel)) << 8 | lo);
}

/* TSC cycles until channel 2 has counted down 10 ms. A host that runs something else in between makes it more, never less. */
static uint64_t tsc_for_10_ms(void)
{
	uint64_t start = rdtsc();

	pit_program(2, 0, PIT_HZ / 100);
	while (!(inb(0x61) & 0x20))
		if (rdtsc() - start > UINT64_C(100000000000))
			test_abort("PIT channel 2 never reaches its terminal count: no time to measure by");
	return rdtsc() - start;
}

uint64_t tsc_khz(void)
{
	static uint64_t khz;
	uint64_t least = UINT64_MAX;

	if (khz)
		return khz;
	outb(0x61, (uint8_t)((inb(0x61) & ~0x02) | 0x01)); /* gate on, speaker off */
	/* On a busy host most tries are disturbed: ten were seen to be, and then all that is measured by the TSC is a fifth too long. */
	for (unsigned agree = 0, tries = 0; agree < 3 && tries < 100; tries++) {
		uint64_t t = tsc_for_10_ms();

		if (t < least - least / 100)
			agree = 0; /* the best so far was a disturbed one */
		else if (t < least + least / 100)
			agree++;
		least = t < least ? t : least;
	}
	khz = least / 10;
	return khz;
}

void delay_us(uint64_t us)
{
	uint64_t end = rdtsc() + tsc_khz() * us / 1000;

	while (rdtsc() < end)
		cpu_relax();
}

bool wait_count(volatile uint32_t *counter, uint32_t want, unsigned ms)
{
	uint64_t end = rdtsc() + tsc_khz() * ms;

	irq_enable();
	while (*counter < want && rdtsc() < end)
		cpu_relax();
	irq_disable();
	return *counter >= want;
}
