/* SPDX-License-Identifier: MIT */
/*
 * Port accesses of every width, aligned and not, claimed and not, against pc-testdev: four bytes of memory at 0xe0 (any width)
 * and the same four at 0xe8 (byte by byte behind wider accesses).
 */
#include "rt.h"

#define ECHO 0xe0
#define ECHO_BYTES 0xe8
#define NOBODY 0x5000

static void test_echo(uint16_t base, const char *name)
{
	outl(base, 0x12345678);
	test(inl(base) == 0x12345678, "%s: 4 bytes written and read", name);
	test(inw(base) == 0x5678 && inw((uint16_t)(base + 2)) == 0x1234, "%s: read by 2", name);
	test(inb(base) == 0x78 && inb((uint16_t)(base + 1)) == 0x56 && inb((uint16_t)(base + 2)) == 0x34 &&
	     inb((uint16_t)(base + 3)) == 0x12, "%s: read by 1", name);
	outw((uint16_t)(base + 2), 0xabcd);
	test(inl(base) == 0xabcd5678, "%s: 2 bytes written in the middle", name);
	outb((uint16_t)(base + 1), 0xee);
	test(inl(base) == 0xabcdee78, "%s: 1 byte written in the middle", name);
	outb(base, 0x01);
	outb((uint16_t)(base + 3), 0x04);
	test(inl(base) == 0x04cdee01, "%s: first and last byte", name);
}

static void test_misaligned(void)
{
	if (vmm_is_qemu()) {
		test_skip("accesses at odd ports", "QEMU's TCG reads zeroes there");
		return;
	}
	outl(ECHO_BYTES, 0x44332211);
	test_equal(inw(ECHO_BYTES + 1), 0x3322, "2 bytes read at an odd port");
	outw(ECHO_BYTES + 1, 0xbbaa);
	test_equal(inl(ECHO_BYTES), 0x44bbaa11, "2 bytes written at an odd port");
}

/* Kite's rule (vmm/bus.h): what is inside goes to the device, what is outside to nobody. */
static void test_crossing(void)
{
	if (vmm_is_qemu()) {
		test_skip("accesses across a region's end", "QEMU gives them to the device whole");
		return;
	}
	outl(ECHO_BYTES, 0x44332211);
	test_equal(inw(ECHO_BYTES + 3), 0xff44, "2 bytes read across the end");
	test_equal(inl(ECHO_BYTES + 2), 0xffff4433, "4 bytes read across the end");
	test_equal(inl(ECHO_BYTES + 3), 0xffffff44, "4 bytes read, the first only inside");
	outl(ECHO_BYTES + 3, 0xddccbbaa);
	test_equal(inl(ECHO_BYTES), 0xaa332211, "4 bytes written, the first only inside");
	outl(ECHO_BYTES - 4 + 2, 0xddccffff); /* 0xe4 to 0xe7 is the flush register, which takes 4 bytes only */
	test_equal(inl(ECHO_BYTES), 0xaa33ddcc, "4 bytes written across the beginning");
}

static void test_unclaimed(void)
{
	test_equal(inb(NOBODY), 0xff, "unclaimed port, 1 byte");
	test_equal(inw(NOBODY), 0xffff, "unclaimed port, 2 bytes");
	test_equal(inl(NOBODY), 0xffffffff, "unclaimed port, 4 bytes");
	if (!vmm_is_qemu())
		test_equal(inw(NOBODY + 1), 0xffff, "unclaimed odd port, 2 bytes");
	outb(NOBODY, 0);
	outw(NOBODY + 1, 0);
	outl(NOBODY + 3, 0);
	test_equal(inl(NOBODY), 0xffffffff, "unclaimed ports take writes and forget them");
	test_equal(inb(0xffff), 0xff, "the last port");
	inw(0xffff); /* goes past the end of the port space: any answer will do */
	inl(0xfffd);
	outl(0xffff, 0);
	test(true, "accesses past the last port");
}

/* Reads every port of the ISA range and a sample of the others, in every width: whoever is there must answer. */
static void sweep(void *arg)
{
	(void)arg;
	for (unsigned port = 0; port < 0x10000; port += port < 0x400 ? 1 : 0x3b) {
		inb((uint16_t)port);
		inw((uint16_t)port);
		inl((uint16_t)port);
	}
}

void payload_main(void)
{
	test_echo(ECHO, "echo port");
	test_echo(ECHO_BYTES, "byte echo port");
	test_misaligned();
	test_crossing();
	test_unclaimed();
	if (vmm_is_qemu()) {
		test_skip("a read of every width at every port", "QEMU's TCG does not survive it");
		return;
	}
	user_call(sweep, NULL);
	console_init();
	test(true, "a read of every width at every port");
}
