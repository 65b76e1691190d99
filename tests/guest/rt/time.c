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

uint64_t tsc_khz(void)
{
	const unsigned count = PIT_HZ / 100; /* 10 ms */
	static uint64_t khz;
	uint64_t start;

	if (khz)
		return khz;
	outb(0x61, (uint8_t)((inb(0x61) & ~0x02) | 0x01)); /* gate on, speaker off */
	pit_program(2, 0, (uint16_t)count);
	start = rdtsc();
	while (!(inb(0x61) & 0x20))
		if (rdtsc() - start > UINT64_C(100000000000))
			test_abort("PIT channel 2 never reaches its terminal count: no time to measure by");
	khz = (rdtsc() - start) / 10;
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
