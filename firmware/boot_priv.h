/* SPDX-License-Identifier: MIT */
/*
 * Shared by the kernel formats of firmware/boot.h: the open files, and where things go in guest memory.
 *
 * A format is a const struct boot_format. Its `open` looks at the file's head and either takes the file or passes; its `load`
 * puts everything in place. The structures that a loader hands to the kernel (boot_params, start_info, page tables, GDT, command
 * line) all come from one window of low memory, which no kernel may be loaded over.
 *
 * Thread: as firmware/boot.h.
 */
#ifndef FIRMWARE_BOOT_PRIV_H
#define FIRMWARE_BOOT_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "firmware/boot.h"
#include "firmware/elf.h"

/*
 * The window for the loader's structures. Its end keeps clear of the extended BIOS data area and of the last pages below it,
 * where Linux's own decompressor puts a trampoline while it still runs on our page tables.
 */
#define BOOT_LOW_BASE UINT64_C(0x80000)
#define BOOT_LOW_END UINT64_C(0x9c000)

#define BOOT_HEAD 8192 /* Multiboot 0.6.96, 3.1: the header lies within the first 8192 bytes */
#define BOOT_CMDLINE_MAX 65535
#define BOOT_MAX_MODULES 64

/* A file that stays open, and what shows that somebody changed it. */
struct boot_file {
	char *path;
	int fd; /* -1: none */
	uint64_t size;
	struct timespec mtime;
};

struct boot_module {
	struct boot_file file;
	char *text; /* multiboot: the module's string */
};

/* From a bzImage's setup header (boot.rst, "The Real-Mode Kernel Header"), checked. For a plain vmlinux, what Kite assumes. */
#define LINUX_HEADER 0x1f1     /* where the header lies in the file and in boot_params, */
#define LINUX_HEADER_END 0x290 /* and where it ends at the latest */

struct linux_info {
	uint16_t version;      /* 0x020f: 2.15 */
	bool entry64;          /* XLF_KERNEL_64: can be entered at its load address + 0x200 */
	uint64_t kernel_off;   /* in the file: the protected-mode part */
	uint64_t kernel_size;
	uint64_t payload_off;  /* in the file */
	uint32_t payload_size; /* 0: none */
	uint64_t pref_address;
	uint32_t init_size;    /* 0: not known (before 2.10) */
	uint32_t initrd_max;   /* last byte that an initrd may use */
	uint8_t header[LINUX_HEADER_END - LINUX_HEADER]; /* as in the file, zero behind its end */
};

/* From a multiboot header, checked. */
struct multiboot_info {
	bool kludge; /* load by the addresses in the header, not as ELF */
	uint64_t offset;  /* in the file */
	uint64_t filesz;
	uint64_t paddr, memsz;
	uint32_t entry;
};

struct boot_format {
	const char *name;
	/* 1: takes the file, the rest of `boot` filled. 0: not its format. -errno with `err`. */
	int (*open)(struct boot *boot, struct err *err);
	int (*load)(const struct boot *boot, const struct boot_platform *platform, struct boot_entry *entry, struct err *err);
};

struct boot {
	const struct boot_format *format;
	struct boot_file kernel;
	char *append; /* never NULL */
	char *initrd; /* the text of -initrd, NULL: none */
	struct boot_module module[BOOT_MAX_MODULES]; /* Linux and PVH: the initrd */
	size_t n_modules;
	struct elf_image elf; /* multiboot, PVH, vmlinux */
	struct linux_info linux_info;
	struct multiboot_info multiboot;
	size_t head_len;
	uint8_t head[BOOT_HEAD];
};

extern const struct boot_format boot_format_bzimage;
extern const struct boot_format boot_format_multiboot;
extern const struct boot_format boot_format_pvh;
extern const struct boot_format boot_format_vmlinux;

/* boot.c: files */

/* Opens `path` as the next module. `what` for messages: "initrd", "module". `text` is copied, may be NULL. */
int boot_add_module(struct boot *boot, const char *what, const char *path, const char *text, struct err *err);
/* Opens the -initrd text as one file, if there is one: Linux and PVH. */
int boot_open_initrd(struct boot *boot, struct err *err);
/* Refuses a command line of more than `max` bytes. */
int boot_check_append(const struct boot *boot, uint64_t max, struct err *err);
/* pread of exactly `len` bytes, the error naming the file. */
int boot_file_read(const struct boot_file *file, void *buf, uint64_t len, uint64_t off, struct err *err);
/* elf_parse of the kernel file, the error naming it. */
int boot_parse_elf(struct boot *boot, struct err *err);
/* As it was when it was opened? -ESTALE with `err`. */
int boot_file_check(const struct boot_file *file, struct err *err);

/* boot_place.c: where things go */

/* Whether all of [base, base + len) is RAM, by the map and by guest memory. */
bool boot_is_ram(const struct boot_platform *platform, uint64_t base, uint64_t len);
/* The end of the RAM that begins at or before `base` and contains it; 0: not RAM. */
uint64_t boot_ram_end(const struct boot_platform *platform, uint64_t base);
/*
 * Refuses a place for a part of the kernel that is not RAM (-ENOMEM, with the -m that would help) or is the loader's window
 * (-EINVAL).
 */
int boot_check_place(const struct boot *boot, const struct boot_platform *platform, const char *what, uint64_t base,
		     uint64_t len, struct err *err);
/* The same for all segments of an ELF image. */
int boot_check_elf(const struct boot *boot, const struct boot_platform *platform, const struct elf_image *img, struct err *err);

/* A range of guest memory. */
struct boot_span {
	uint64_t base, size;
};

/*
 * Reads the initrd in as high as possible: page-aligned, last byte at most `last`, above 1 MiB, not over [kernel_lo, kernel_hi).
 * `*out` is all zero when there is none.
 */
int boot_place_initrd(const struct boot *boot, const struct boot_platform *platform, uint64_t kernel_lo, uint64_t kernel_hi,
		      uint64_t last, struct boot_span *out, struct err *err);

/* The loader's window, given out from the bottom up. */
struct boot_low {
	struct guest_mem *mem;
	uint64_t next;
};

int boot_low_init(struct boot_low *low, const struct boot_platform *platform, struct err *err);
/* `len` bytes on a multiple of `align`. -ENOSPC with `err`. */
int boot_low_alloc(struct boot_low *low, uint64_t len, uint64_t align, uint64_t *gpa, struct err *err);
/* The same, with the bytes written there. */
int boot_low_put(struct boot_low *low, const void *data, uint64_t len, uint64_t align, uint64_t *gpa, struct err *err);
/* Writes GDT and, for BOOT_LONG64, identity page tables for the first 4 GiB; gives a stack. Fills those fields of `entry`. */
int boot_low_cpu(struct boot_low *low, enum boot_mode mode, struct boot_entry *entry, struct err *err);

#endif
