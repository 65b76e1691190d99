/* SPDX-License-Identifier: MIT */
/*
 * Memory-mapped accesses of every width and by many instructions, aligned and not, across pages and region ends, claimed and
 * not, against pc-testdev's 64 KiB at 0xff000000.
 */
#include "rt.h"

#define MEM 0xff000000
#define MEM_SIZE 0x10000
#define NOBODY 0xe8000000

static void test_widths(uint64_t a, const char *name)
{
	write64(a, 0x8877665544332211);
	test(read64(a) == 0x8877665544332211, "%s: 8 bytes", name);
	test(read32(a) == 0x44332211 && read32(a + 4) == 0x88776655, "%s: read by 4", name);
	test(read16(a) == 0x2211 && read16(a + 6) == 0x8877, "%s: read by 2", name);
	test(read8(a) == 0x11 && read8(a + 7) == 0x88, "%s: read by 1", name);
	write32(a, 0xdeadbeef);
	write16(a + 4, 0xcafe);
	write8(a + 6, 0x5a);
	test(read64(a) == 0x885acafedeadbeef, "%s: written by 4, 2 and 1", name);
	test(read32(a + 1) == 0xfedeadbe && read16(a + 3) == 0xfede && read64(a) == 0x885acafedeadbeef,
	     "%s: misaligned inside", name);
}

/* Each of these is one decoded instruction in KVM and one or two exits. */
static void test_instructions(void)
{
	uint64_t a = MEM + 0x100;
	uint64_t v;

	write64(a, 0);
	write32(a, 0x80f00001);
	asm volatile("movzbl 3(%1), %k0" : "=r"(v) : "r"(a) : "memory");
	test_equal(v, 0x80, "movzx");
	asm volatile("movsbq 3(%1), %0" : "=r"(v) : "r"(a) : "memory");
	test_equal(v, ~UINT64_C(0x7f), "movsx");
	v = 0x55667788;
	asm volatile("xchg %k0, (%1)" : "+r"(v) : "r"(a) : "memory");
	test(v == 0x80f00001 && read32(a) == 0x55667788, "xchg");
	asm volatile("orl $0x11, (%0)" : : "r"(a) : "memory");
	test_equal(read32(a), 0x55667799, "or to memory");
	asm volatile("andw $0xff, (%0)" : : "r"(a) : "memory");
	test_equal(read32(a), 0x55660099, "and to memory");
	asm volatile("lock; addl $1, (%0)" : : "r"(a) : "memory");
	test_equal(read32(a), 0x5566009a, "lock add");
	asm volatile("movl $0x01020304, (%0)" : : "r"(a) : "memory");
	test_equal(read32(a), 0x01020304, "mov immediate");
	asm volatile("movq $-2, (%0)" : : "r"(a) : "memory");
	test_equal(read64(a), ~UINT64_C(1), "mov immediate, 8 bytes");
}

static void test_string(void)
{
	static uint8_t from[5000], to[5000];
	bool same = true;

	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i ^ i >> 5);
	memcpy((void *)(MEM + 0x200), from, 300);
	memcpy(to, (void *)(MEM + 0x200), 300);
	for (size_t i = 0; i < 300; i++)
		same = same && to[i] == from[i];
	test(same, "rep movsb to and from");
	memset((void *)(MEM + 0xfc0), 0xa5, 128);
	test(read64(MEM + 0xfc0) == 0xa5a5a5a5a5a5a5a5 && read64(MEM + 0x1038) == 0xa5a5a5a5a5a5a5a5 && !read8(MEM + 0x1040),
	     "rep stosb across a page");
}

static void test_crossing(void)
{
	uint64_t page = MEM + 0x2000, end = MEM + MEM_SIZE;

	write64(page - 8, 0);
	write64(page, 0);
	write32(page - 2, 0x44332211);
	test(read16(page - 2) == 0x2211 && read16(page) == 0x4433 && read32(page - 2) == 0x44332211, "4 bytes across a page");
	write64(page - 3, 0x8877665544332211);
	test(read64(page - 3) == 0x8877665544332211, "8 bytes across a page");

	write64(end - 8, 0x8877665544332211);
	test_equal(read64(end - 8), 0x8877665544332211, "the last 8 bytes");
	if (vmm_is_qemu()) {
		test_skip("accesses across the region's end", "QEMU's device decides");
		return;
	}
	test_equal(read32(end - 2), 0xffff8877, "4 bytes read across the end");
	test_equal(read64(end - 1), 0xffffffffffffff88, "8 bytes read, the first only inside");
	write64(end - 4, 0xaabbccdd01020304);
	test_equal(read64(end - 8), 0x0102030444332211, "8 bytes written across the end");
	write32(MEM - 2, 0xbeef0000);
	test_equal(read16(MEM), 0xbeef, "4 bytes written across the beginning");
	test_equal(read32(MEM - 2), 0xbeefffff, "4 bytes read across the beginning");
}

static void test_unclaimed(void)
{
	if (vmm_is_qemu()) {
		test_skip("unclaimed memory", "QEMU reads it as zeroes");
		return;
	}
	test_equal(read8(NOBODY), 0xff, "unclaimed memory, 1 byte");
	test_equal(read16(NOBODY + 1), 0xffff, "unclaimed memory, 2 bytes, odd");
	test_equal(read32(NOBODY), 0xffffffff, "unclaimed memory, 4 bytes");
	test_equal(read64(NOBODY), ~UINT64_C(0), "unclaimed memory, 8 bytes");
	write64(NOBODY, 0);
	write8(NOBODY + 3, 0);
	test_equal(read64(NOBODY), ~UINT64_C(0), "unclaimed memory takes writes and forgets them");
}

void payload_main(void)
{
	test_widths(MEM, "first bytes");
	test_widths(MEM + 0x1003, "odd address");
	test_widths(MEM + 0x8000, "middle");
	test_instructions();
	test_string();
	test_crossing();
	test_unclaimed();
}
