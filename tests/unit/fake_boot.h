/* SPDX-License-Identifier: MIT */
/* For tests of the kernel loader: files in memory, a small machine, and crafted kernels. Failures abort the test. */
#ifndef TESTS_FAKE_BOOT_H
#define TESTS_FAKE_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firmware/boot.h"
#include "firmware/unpack.h"

/* A memfd, reachable by path. */
struct fake_file {
	int fd;
	char path[64];
};
void fake_file_init(struct fake_file *f, const void *data, size_t len);
void fake_file_fini(struct fake_file *f);

/* RAM from 0 to `ram`, with a map as a PC has it: low memory to 0x9fc00, then from 1 MiB up to `reserve` bytes below the end. */
struct fake_machine {
	struct guest_mem *mem;
	struct boot_map_entry map[4];
	struct boot_platform platform;
};
#define FAKE_RSDP 0xe0010
void fake_machine_init(struct fake_machine *m, uint64_t ram, uint64_t reserve);
void fake_machine_fini(struct fake_machine *m);
uint32_t fake_r32(const struct fake_machine *m, uint64_t gpa);
uint64_t fake_r64(const struct fake_machine *m, uint64_t gpa);
const char *fake_str(const struct fake_machine *m, uint64_t gpa);

struct fake_segment {
	uint64_t offset, vaddr, paddr, filesz, memsz;
};

/* An ELF file of `size` bytes: each byte of it that is no header is fake_byte() of its offset. */
struct fake_elf {
	bool elf32;
	uint16_t machine; /* 0: x86-64, or i386 for elf32 */
	uint64_t entry;
	const struct fake_segment *segment;
	size_t n;
	unsigned pvh_size; /* 4 or 8: a PVH note with such a descriptor; 0: none */
	uint64_t pvh_entry;
	size_t size;
};
#define FAKE_ELF_PHDRS 64    /* offset of the program headers */
#define FAKE_ELF_NOTE 0x400  /* of the note */
uint8_t fake_byte(uint64_t offset);
uint8_t *fake_elf(const struct fake_elf *e);
/* Whether guest memory holds the file's bytes from `offset` on. */
bool fake_placed(const struct fake_machine *m, uint64_t gpa, uint64_t offset, uint64_t len);

/* Packs as Linux's build does, without the appended size. Caller frees. */
uint8_t *fake_pack(enum unpack_format format, const uint8_t *data, size_t len, size_t *out);

#endif
