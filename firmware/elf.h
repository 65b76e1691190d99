/* SPDX-License-Identifier: MIT */
/*
 * Reads the program headers of an ELF file (System V ABI; x86-64 and i386 supplements) and puts its segments into guest memory at
 * their physical addresses. The file is a stranger's: nothing in it is believed before it is checked against the file's size, and
 * what elf_parse returns is consistent (see struct elf_image). Whether the addresses are RAM is the caller's to check.
 *
 * Thread: one at a time per image.
 */
#ifndef FIRMWARE_ELF_H
#define FIRMWARE_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct guest_mem;

#define ELF_MAX_SEGMENTS 64
#define ELF_IDENT_LEN 4

/* The file: `data`, or, when it is NULL, the descriptor `fd`. Borrowed. */
struct elf_source {
	const uint8_t *data;
	int fd;
	uint64_t size; /* bytes */
};

struct elf_segment {
	uint64_t offset, filesz; /* in the file, inside it; filesz <= memsz */
	uint64_t paddr, vaddr;   /* neither wraps with memsz */
	uint64_t memsz;          /* not 0 */
};

/* Segments that are loaded, at least one, in the order of their offsets; their physical ranges do not overlap. */
struct elf_image {
	bool elf64;   /* else 32-bit */
	bool x86_64;  /* machine; else i386 */
	uint64_t entry;     /* physical address, inside a segment */
	bool has_pvh;
	uint64_t pvh_entry; /* physical address of note XEN_ELFNOTE_PHYS32_ENTRY, as in the file */
	uint64_t lo, hi;    /* physical extent of all segments */
	size_t n;
	struct elf_segment segment[ELF_MAX_SEGMENTS];
};

/* Whether the first bytes are those of any ELF file. */
bool elf_is_elf(const uint8_t *head, size_t len);

/*
 * Reads and checks the headers. -EINVAL with `err` for what is not a little-endian x86 executable, or is inconsistent or
 * truncated; -errno of a read that failed. Messages carry no file name.
 */
int elf_parse(const struct elf_source *src, struct elf_image *img, struct err *err);

/* Whether a segment holds the physical address. */
bool elf_contains(const struct elf_image *img, uint64_t paddr);

/*
 * Puts the segments in place and zeroes the rest of each. `src->data` may itself lie in `gm`, also where segments go to; what of
 * it no segment covers is left as it is. -EFAULT for a segment outside `gm`, -ENODATA when the file ended early, -errno of a read,
 * -ENOMEM, with `err`.
 */
int elf_load(const struct elf_image *img, const struct elf_source *src, struct guest_mem *gm, struct err *err);

#endif
