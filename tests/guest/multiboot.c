/* SPDX-License-Identifier: MIT */
/*
 * What a multiboot 1 loader owes its kernel: machine state (3.2), information (3.3), command line, modules and memory map. The
 * runner says what to expect: mem=MIB modules=N; module strings and the command line are printed for it to compare.
 */
#include "rt.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define RAM 1
#define PTE_P_RW 3
#define PTE_LARGE 0x80

static void test_state(void)
{
	test_equal(entry_state.eax, MBI_MAGIC, "magic number in eax");
	test(entry_state.cr0 & 1, "protected mode");
	test(!(entry_state.cr0 & 0x80000000), "paging off");
	test(!(entry_state.eflags & 0x200), "interrupts off");
	test(!(entry_state.eflags & 0x20000), "no virtual 8086 mode");
	test_equal(entry_state.efer, 0, "not in long mode");
	write32(0x200000, 0x11111111);
	write32(0x300000, 0x22222222);
	test(read32(0x200000) == 0x11111111, "A20 open");
}

static void test_map(void)
{
	uint64_t want = arg_u64("mem", 128) * MIB, ram = 0, below = 0, one_mib = 0;
	bool overlap = false;

	test(boot_info.flags & MBI_MMAP, "a memory map");
	for (size_t i = 0; i < boot_info.map_n; i++) {
		uint64_t base = boot_info.map[i].base, end = base + boot_info.map[i].size;

		print("# map %lx-%lx type %u\n", base, end - 1, boot_info.map[i].type);
		for (size_t j = 0; j < i; j++)
			overlap = overlap || (base < boot_info.map[j].base + boot_info.map[j].size && boot_info.map[j].base < end);
		if (boot_info.map[i].type != RAM)
			continue;
		ram += end - base;
		if (end <= 4 * GIB)
			below += end - base;
		if (base <= MIB && end > MIB)
			one_mib = end;
	}
	test(!overlap, "no entry overlaps another");
	/* A little less than -m, for tables and the hole below 1 MiB. */
	test(ram <= want && ram + MIB >= want, "%lu KiB of RAM in all", ram / 1024);
	test(below <= 3 * GIB + 512 * MIB, "a hole below 4 GiB");
	test(boot_info.flags & MBI_MEM, "mem_lower and mem_upper");
	test(boot_info.mem_lower >= 512 && boot_info.mem_lower <= 640, "mem_lower is %u KiB", boot_info.mem_lower);
	/* mem_upper ends at the first hole at or above 1 MiB, or a little before. */
	test(boot_info.mem_upper * UINT64_C(1024) + MIB <= one_mib &&
	     boot_info.mem_upper * UINT64_C(1024) + 3 * MIB >= one_mib, "mem_upper is %u KiB", boot_info.mem_upper);
}

/* Writes at both ends of each range of RAM above this image, also above 4 GiB, and looks that no two are the same cell. */
static void test_memory(void)
{
	extern uint64_t page_pdpt[];
	static uint64_t pd[512] __attribute__((aligned(4096)));
	uint64_t cells[2 * BOOT_MAX_MAP];
	size_t n = 0;
	bool good = true;

	for (size_t i = 0; i < 512; i++)
		pd[i] = (4 * GIB + i * 2 * MIB) | PTE_P_RW | PTE_LARGE;
	page_pdpt[4] = (uintptr_t)pd | PTE_P_RW;
	for (size_t i = 0; i < boot_info.map_n; i++) {
		uint64_t base = boot_info.map[i].base, end = base + boot_info.map[i].size;

		if (boot_info.map[i].type != RAM || base < MIB)
			continue;
		if (base < 16 * MIB)
			base = 16 * MIB;
		if (end > 5 * GIB)
			end = 5 * GIB; /* as far as pages are mapped */
		if (base + 16 > end)
			continue;
		cells[n++] = base;
		cells[n++] = end - 8;
	}
	for (size_t i = 0; i < n; i++)
		write64(cells[i], ~cells[i]);
	for (size_t i = 0; i < n; i++)
		good = good && read64(cells[i]) == ~cells[i];
	test(n && good, "memory is where the map says (%lu cells)", n);
}

static void test_modules(void)
{
	bool apart = true, aligned = true;

	test_equal(boot_info.modules_n, arg_u64("modules", 0), "number of modules");
	for (size_t i = 0; i < boot_info.modules_n; i++) {
		uint32_t start = boot_info.modules[i].start, end = boot_info.modules[i].end, sum = 0;

		aligned = aligned && !(start & 0xfff);
		apart = apart && start >= (uintptr_t)image_end && end >= start;
		for (size_t j = 0; j < i; j++)
			apart = apart && (start >= boot_info.modules[j].end || end <= boot_info.modules[j].start);
		for (uint32_t a = start; a < end && end - start <= 65536; a++)
			sum += read8(a);
		print("module %lu: %u bytes sum %u string \"%s\"\n", i, end - start, sum, boot_info.modules[i].string);
	}
	test(apart, "modules overlap nothing");
	test(aligned, "modules are on pages, as the header asks");
}

void payload_main(void)
{
	print("cmdline: %s\nloader: %s\n", boot_info.cmdline, boot_info.loader);
	test(boot_info.flags & MBI_CMDLINE, "a command line");
	test_modules();
	test_state();
	test_map();
	test_memory();
}
