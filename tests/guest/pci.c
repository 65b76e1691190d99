/* SPDX-License-Identifier: MIT */
/*
 * The PCI bus: enumeration by ports and by memory, accesses of every width, BARs sized, moved, switched off and put where something
 * else is. The tests of BARs take the first function that has a memory BAR; `bars=yes` on the command line says that there must be one.
 */
#include "rt.h"

#define ADDRESS 0xcf8
#define DATA 0xcfc
#define COMMAND 0x04
#define BAR0 0x10
#define NOBODY 0xffffffff
#define PROBE 0xd8000000 /* in the 32-bit window, nothing there */
#define MAX_FUNCTIONS 256

static uint64_t ecam; /* 0: none */

static void select(unsigned devfn, unsigned reg)
{
	outl(ADDRESS, 0x80000000 | devfn << 8 | (reg & 0xfc));
}

static uint32_t config_read(unsigned devfn, unsigned reg)
{
	select(devfn, reg);
	return inl(DATA);
}

static void config_write(unsigned devfn, unsigned reg, uint32_t v)
{
	select(devfn, reg);
	outl(DATA, v);
}

static uint64_t ecam_at(unsigned devfn, unsigned reg)
{
	return ecam + (devfn << 12) + reg;
}

struct mcfg {
	struct acpi_header header;
	uint64_t reserved, base;
	uint16_t segment;
	uint8_t first, last;
	uint32_t reserved1;
} __attribute__((packed));

static void find_ecam(void)
{
	const struct mcfg *mcfg = acpi_find("MCFG");

	if (!mcfg) {
		test_skip("MCFG", "this machine has none");
		return;
	}
	test(mcfg->header.length == sizeof(*mcfg) && acpi_sum(mcfg, sizeof(*mcfg)) == 0 && mcfg->first == 0, "MCFG");
	ecam = mcfg->base;
}

static unsigned functions;

static void test_enumeration(void)
{
	unsigned differ = 0;

	for (unsigned devfn = 0; devfn < MAX_FUNCTIONS; devfn++) {
		uint32_t id = config_read(devfn, 0);

		if (id != NOBODY) {
			functions++;
			print("pci: %02x.%x %04x:%04x class %06x\n", devfn >> 3, devfn & 7, id & 0xffff, id >> 16, config_read(devfn, 8) >> 8);
		}
		if (ecam && read32(ecam_at(devfn, 0)) != id)
			differ++;
		/* Where nobody is all is ones; looking at two of its registers is enough. */
		for (unsigned reg = 4; ecam && reg < (id == NOBODY ? 8 : 256); reg += 4)
			if (read32(ecam_at(devfn, reg)) != config_read(devfn, reg))
				differ++;
	}
	test(functions >= 2, "functions");
	test_equal(config_read(0, 0), 0x12378086, "the host bridge");
	test_equal(config_read(0, 8) >> 8, 0x060000, "its class");
	test_equal(config_read(8, 0), 0x70008086, "the ISA bridge");
	if (ecam)
		test_equal(differ, 0, "both ways agree");
}

static void test_nobody(void)
{
	test_equal(config_read(31 << 3 | 7, 0), NOBODY, "nobody");
	config_write(31 << 3 | 7, COMMAND, 7);
	test_equal(config_read(31 << 3 | 7, COMMAND), NOBODY, "nobody takes writes");
	outl(ADDRESS, 0x80010000);
	test_equal(inl(DATA), NOBODY, "bus 1");
	outl(ADDRESS, 0x00000000);
	test_equal(inl(DATA), NOBODY, "not enabled");
}

static void test_widths(void)
{
	select(0, 0);
	test(inb(DATA) == 0x86 && inb(DATA + 1) == 0x80 && inb(DATA + 2) == 0x37 && inb(DATA + 3) == 0x12, "bytes");
	test(inw(DATA) == 0x8086 && inw(DATA + 2) == 0x1237, "words");
	if (!vmm_is_qemu())
		test_equal(inw(DATA + 1), 0x3780, "a word at an odd port");
	test_equal(inl(ADDRESS), 0x80000000, "the address register");
	outb(ADDRESS, 0xff);
	outb(ADDRESS + 3, 0);
	outw(ADDRESS + 2, 0);
	test_equal(inl(ADDRESS), 0x80000000, "narrow writes do not reach it");
	outl(ADDRESS, 0x80000654);
	test(inb(0xcf9) != 0x06 && inl(ADDRESS) == 0x80000654, "4 bytes across the reset register are an address");
	outb(0xcf9, 0x02);
	test(inb(0xcf9) == 0x02 && inl(ADDRESS) == 0x80000654, "a byte there is the reset register's");
	outb(0xcf9, 0);
	if (!ecam || vmm_is_qemu())
		return;
	test_equal(read8(ecam + 1), 0x80, "ECAM, a byte");
	test_equal(read16(ecam + 2), 0x1237, "ECAM, a word");
	test_equal(read32(ecam + 1), config_read(0, 0) >> 8 | config_read(0, 4) << 24, "ECAM, 4 bytes, odd");
	test_equal(read64(ecam), config_read(0, 0) | (uint64_t)config_read(0, 4) << 32, "ECAM, 8 bytes");
	test_equal(read64(ecam_at(31 << 3, 0xffc)), ~UINT64_C(0), "ECAM, across two functions that are not there");
	write64(ecam, 0);
	test_equal(read32(ecam), 0x12378086, "ECAM, read-only");
}

/* ---- BARs ---- */

struct bar {
	unsigned devfn, reg;
	bool wide;
	uint64_t base, size;
};

static uint64_t bar_get(const struct bar *b)
{
	uint64_t v = config_read(b->devfn, b->reg) & ~0xfu;

	return b->wide ? v | (uint64_t)config_read(b->devfn, b->reg + 4) << 32 : v;
}

static void bar_set(const struct bar *b, uint64_t v)
{
	config_write(b->devfn, b->reg, (uint32_t)v);
	if (b->wide)
		config_write(b->devfn, b->reg + 4, (uint32_t)(v >> 32));
}

static bool find_bar(struct bar *b)
{
	for (unsigned devfn = 0; devfn < MAX_FUNCTIONS; devfn++) {
		if (config_read(devfn, 0) == NOBODY || config_read(devfn, 12) >> 16 & 0x7f)
			continue;
		for (unsigned reg = BAR0; reg < BAR0 + 24; reg += 4) {
			uint32_t v = config_read(devfn, reg);
			bool wide = (v & 6) == 4;

			if (!(v & 1) && v & ~0xfu) {
				*b = (struct bar){ .devfn = devfn, .reg = reg, .wide = wide };
				b->base = bar_get(b);
				return true;
			}
			reg += wide && !(v & 1) ? 4 : 0;
		}
	}
	return false;
}

/* Something that differs from unclaimed memory, somewhere in the BAR. */
static bool answers(uint64_t base, uint64_t size)
{
	for (uint64_t at = 0; at < size && at < 0x8000; at += 4)
		if (read32(base + at) != NOBODY)
			return true;
	return false;
}

static void test_sizing(struct bar *b)
{
	uint32_t command = config_read(b->devfn, COMMAND) & 0xffff;
	uint64_t with, without;

	bar_set(b, ~UINT64_C(0));
	with = bar_get(b);
	bar_set(b, b->base);
	config_write(b->devfn, COMMAND, command & ~3u);
	bar_set(b, ~UINT64_C(0));
	without = bar_get(b);
	bar_set(b, b->base);
	config_write(b->devfn, COMMAND, command | 2);
	if (!b->wide)
		with |= 0xffffffff00000000, without |= 0xffffffff00000000;
	b->size = ~without + 1;
	print("pci: %02x.%x BAR at 0x%lx, 0x%lx bytes\n", b->devfn >> 3, b->devfn & 7, b->base, b->size);
	test_equal(with, without, "sized with decoding on and off");
	test(b->size >= 16 && !(b->size & (b->size - 1)) && !(b->base & (b->size - 1)), "a power of two, aligned");
	test_equal(bar_get(b), b->base, "its address again");
}

static void test_moving(const struct bar *b)
{
	uint32_t command = config_read(b->devfn, COMMAND) & 0xffff;

	test(answers(b->base, b->size), "it answers");
	bar_set(b, PROBE);
	test(answers(PROBE, b->size) && !answers(b->base, b->size), "moved");
	config_write(b->devfn, COMMAND, command & ~2u);
	test(!answers(PROBE, b->size), "decoding off");
	config_write(b->devfn, COMMAND, command);
	test(answers(PROBE, b->size), "and on");
	for (int i = 0; i < 200; i++)
		bar_set(b, i & 1 ? b->base : PROBE);
	test(answers(b->base, b->size) && !answers(PROBE, b->size), "moved 200 times");
}

static void test_overlap(const struct bar *b)
{
	static volatile uint32_t mine = 0x600df00d;
	uint32_t version = lapic_read(LAPIC_VERSION), entries = ioapic_read(1);
	const uint64_t ram = (uint64_t)(uintptr_t)&mine & ~(b->size - 1);

	bar_set(b, ram);
	test(ram == 0 || bar_get(b) == ram, "over RAM: the register says so");
	test_equal(mine, 0x600df00d, "over RAM: RAM wins");
	mine = 1;
	test_equal(mine, 1, "over RAM: RAM takes writes");
	mine = 0x600df00d;
	bar_set(b, LAPIC & ~(b->size - 1));
	test_equal(lapic_read(LAPIC_VERSION), version, "over the local APIC");
	bar_set(b, IOAPIC & ~(b->size - 1));
	test_equal(ioapic_read(1), entries, "over the IOAPIC");
	if (ecam && !vmm_is_qemu()) {
		bar_set(b, ecam & ~(b->size - 1));
		test_equal(read32(ecam), 0x12378086, "over ECAM");
	}
	bar_set(b, 0);
	test(!answers(PROBE, b->size), "at 0: nowhere");
	bar_set(b, b->base);
	test(answers(b->base, b->size), "back");
}

void payload_main(void)
{
	struct bar bar;

	find_ecam();
	test_enumeration();
	test_nobody();
	test_widths();
	lapic_init();
	if (vmm_is_qemu()) {
		test_skip("BARs", "QEMU reads unclaimed memory as zeroes");
	} else if (find_bar(&bar)) {
		test_sizing(&bar);
		test_moving(&bar);
		test_overlap(&bar);
	} else if (arg_is("bars", "yes")) {
		test(false, "a function with a memory BAR");
	} else {
		test_skip("BARs", "no function has one");
	}
}
