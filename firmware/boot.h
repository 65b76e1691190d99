/* SPDX-License-Identifier: MIT */
/*
 * Direct kernel boot (-kernel): puts a kernel, its initrd and command line into guest memory as a boot loader would, and says
 * in which state the first vCPU enters it. Formats, tried in this order:
 *
 *   Linux bzImage   Documentation/arch/x86/boot.rst; 64-bit protocol. The payload is unpacked here when it is gzip, zstd, lz4,
 *                   xz or lzma, and vmlinux entered; otherwise the kernel's own 64-bit entry
 *   multiboot 1     the Multiboot Specification 0.6.96; -initrd "a args,b" are its modules
 *   ELF with a PVH  note: the x86/HVM direct boot ABI of Xen (docs/misc/pvh.pandoc), 32-bit entry
 *   ELF64 without   entered as vmlinux in 64-bit mode with boot_params
 *
 * Kernel and initrd are files of strangers: everything in them is checked against the file's size and guest memory.
 *
 * Files stay open from boot_open to boot_close, because every reset of the machine loads them again.
 *
 * Thread: main, with every vCPU paused.
 */
#ifndef FIRMWARE_BOOT_H
#define FIRMWARE_BOOT_H

#include <stddef.h>
#include <stdint.h>

struct boot;
struct err;
struct guest_mem;

enum boot_map_type { /* ACPI 6.4, table 15.5: address range types */
	BOOT_MAP_RAM = 1,
	BOOT_MAP_RESERVED = 2,
	BOOT_MAP_ACPI = 3,
};

struct boot_map_entry {
	uint64_t base, size; /* bytes */
	enum boot_map_type type;
};

/* What the loaded system is told of the machine. Borrowed during boot_load. */
struct boot_platform {
	struct guest_mem *mem;
	const struct boot_map_entry *map; /* ascending */
	size_t map_n;                     /* at most 128 (E820_MAX_ENTRIES_ZEROPAGE) */
	uint64_t rsdp;                    /* guest physical address; 0: none */
};

enum boot_mode {
	BOOT_LONG64, /* long mode, paging on: cr3; flat segments cs 0x10, ds = es = ss 0x18 */
	BOOT_PROT32, /* protected mode, paging off; flat segments cs 0x08 (32-bit code), others 0x10 */
};

/* The first vCPU at the entry. Interrupts off. Registers not named are 0. */
struct boot_entry {
	enum boot_mode mode;
	uint64_t rip, rsp;
	uint64_t rax, rbx, rsi;
	uint64_t cr3;       /* BOOT_LONG64 */
	uint64_t gdt_base;  /* in guest memory, written by the loader, holds the selectors above */
	uint16_t gdt_limit; /* bytes - 1 */
};

/*
 * Opens and identifies the files, before any VM exists. `kernel` is required, `initrd` and `append` may be NULL; strings are
 * copied. NULL with `err`: not found, no permission, not a regular file, not a kernel, truncated, initrd or command line given
 * to a format that takes none, command line longer than the kernel's own limit.
 */
struct boot *boot_open(const char *kernel, const char *initrd, const char *append, struct err *err);
void boot_close(struct boot *boot);

/*
 * Loads. 0, or -errno with `err`: does not fit guest memory (the message says how much is needed and which -m), corrupt
 * payload, read error. On failure guest memory holds part of the load and must not be run.
 */
int boot_load(struct boot *boot, const struct boot_platform *platform, struct boot_entry *entry, struct err *err);

#endif
