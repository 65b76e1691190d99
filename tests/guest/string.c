/* SPDX-License-Identifier: MIT */
/*
 * String I/O: INS and OUTS with REP in both directions, with counts of 0, across pages and beyond what KVM takes in one exit,
 * against pc-testdev's four bytes at 0xe0 and the console.
 */
#include "rt.h"

#define ECHO 0xe0
#define COUNT 3000

static uint8_t buffer[COUNT * 4 + 64];
#define AT(n) ((uint64_t)(uintptr_t)buffer + (uint64_t)(n))

/* Each returns the address register after the instruction, or 0 when the count is not used up. */
#define STRING_IO(name, insn, constraint, qualifier)								\
	static uint64_t name(uint16_t port, qualifier void *p, uint64_t n, bool down)				\
	{													\
		uint64_t count = n;										\
														\
		if (down)											\
			asm volatile("std; rep " insn "; cld" : constraint(p), "+c"(count) : "d"(port) : "memory");	\
		else												\
			asm volatile("rep " insn : constraint(p), "+c"(count) : "d"(port) : "memory");		\
		return count ? 0 : (uintptr_t)p;								\
	}
STRING_IO(in8, "insb", "+D", )
STRING_IO(in16, "insw", "+D", )
STRING_IO(in32, "insl", "+D", )
STRING_IO(out8, "outsb", "+S", const)
STRING_IO(out16, "outsw", "+S", const)
STRING_IO(out32, "outsl", "+S", const)

static bool filled(const uint8_t *p, size_t n, const uint8_t *pattern, size_t width)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != pattern[i % width])
			return false;
	return true;
}

static void test_in(void)
{
	static const uint8_t pattern[4] = { 0x11, 0x22, 0x33, 0x44 }, ones = 0xff;

	outl(ECHO, 0x44332211);
	memset(buffer, 0, sizeof(buffer));
	test(in8(ECHO, buffer, COUNT, false) == AT(COUNT) && filled(buffer, COUNT, pattern, 1) && !buffer[COUNT],
	     "%u times insb", COUNT);
	memset(buffer, 0, sizeof(buffer));
	test(in16(ECHO, buffer, COUNT, false) == AT(COUNT * 2) && filled(buffer, COUNT * 2, pattern, 2) &&
	     !buffer[COUNT * 2], "%u times insw", COUNT);
	memset(buffer, 0, sizeof(buffer));
	test(in32(ECHO, buffer, COUNT, false) == AT(COUNT * 4) && filled(buffer, COUNT * 4, pattern, 4) &&
	     !buffer[COUNT * 4], "%u times insl", COUNT);
	memset(buffer, 0, sizeof(buffer));
	test(in8(ECHO, buffer + 99, 100, true) == AT(-1) && filled(buffer, 100, pattern, 1) && !buffer[100],
	     "insb downwards");
	memset(buffer, 0, sizeof(buffer));
	test(in32(ECHO, buffer + 99 * 4, 100, true) == AT(-4) && filled(buffer, 400, pattern, 4) && !buffer[400],
	     "insl downwards");
	memset(buffer, 0, sizeof(buffer));
	test(in8(ECHO, buffer, 0, false) == AT(0) && !buffer[0], "insb with count 0");
	test(in8(0x5000, buffer, 300, false) == AT(300) && filled(buffer, 300, &ones, 1), "insb from an unclaimed port");
}

static void test_out(void)
{
	for (size_t i = 0; i < sizeof(buffer); i++)
		buffer[i] = (uint8_t)(i * 7 + (i >> 8));
	outl(ECHO, 0);
	test(out8(ECHO, buffer, COUNT, false) == AT(COUNT) && inb(ECHO) == buffer[COUNT - 1], "%u times outsb", COUNT);
	test(out16(ECHO, buffer, COUNT, false) == AT(COUNT * 2) && inb(ECHO) == buffer[COUNT * 2 - 2] &&
	     inb(ECHO + 1) == buffer[COUNT * 2 - 1], "%u times outsw", COUNT);
	test(out32(ECHO, buffer, COUNT, false) == AT(COUNT * 4) && !memcmp(&(uint32_t){ inl(ECHO) },
	     buffer + COUNT * 4 - 4, 4), "%u times outsl", COUNT);
	test(out8(ECHO, buffer + 99, 100, true) == AT(-1) && inb(ECHO) == buffer[0], "outsb downwards");
	outl(ECHO, 0x5a5a5a5a);
	test(out8(ECHO, buffer, 0, false) == AT(0) && inl(ECHO) == 0x5a5a5a5a, "outsb with count 0");
	test(out8(0x5000, buffer, 300, false) == AT(300), "outsb to an unclaimed port");
}

/* The runner looks for this line. */
static void test_console(void)
{
	static const char text[] = "string: every good boy deserves fudge, in one instruction\n";

	while (!(inb(COM1 + 5) & 0x40))
		cpu_relax();
	out8(COM1, text, sizeof(text) - 1, false);
}

void payload_main(void)
{
	test_console();
	test_in();
	test_out();
}
