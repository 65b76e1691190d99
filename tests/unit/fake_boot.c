/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_boot.h"

#include <check.h>
#include <elf.h>
#include <lz4.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/util.h"

void fake_file_init(struct fake_file *f, const void *data, size_t len)
{
	f->fd = memfd_create("fake", MFD_CLOEXEC);
	ck_assert_int_ge(f->fd, 0);
	ck_assert_int_eq(write_full(f->fd, data, len), 0);
	snprintf(f->path, sizeof(f->path), "/proc/self/fd/%d", f->fd);
}

void fake_file_fini(struct fake_file *f)
{
	fd_close(&f->fd);
}

void fake_machine_init(struct fake_machine *m, uint64_t ram, uint64_t reserve)
{
	struct gm_range range = { .gpa = 0, .size = ram };
	struct err err = ERR_INIT;

	m->mem = gm_create(&range, 1, &err);
	ck_assert_msg(m->mem != NULL, "%s", err.msg);
	m->map[0] = (struct boot_map_entry){ 0, 0x9fc00, BOOT_MAP_RAM };
	m->map[1] = (struct boot_map_entry){ 0x9fc00, MIB - 0x9fc00, BOOT_MAP_RESERVED };
	m->map[2] = (struct boot_map_entry){ MIB, ram - MIB - reserve, BOOT_MAP_RAM };
	m->map[3] = (struct boot_map_entry){ ram - reserve, reserve, BOOT_MAP_ACPI };
	m->platform = (struct boot_platform){ .mem = m->mem, .map = m->map, .map_n = reserve ? 4 : 3, .rsdp = FAKE_RSDP };
}

void fake_machine_fini(struct fake_machine *m)
{
	gm_destroy(m->mem);
}

uint32_t fake_r32(const struct fake_machine *m, uint64_t gpa)
{
	uint8_t b[4];

	ck_assert_int_eq(gm_read(m->mem, gpa, b, sizeof(b)), 0);
	return load_le32(b);
}

uint64_t fake_r64(const struct fake_machine *m, uint64_t gpa)
{
	uint8_t b[8];

	ck_assert_int_eq(gm_read(m->mem, gpa, b, sizeof(b)), 0);
	return load_le64(b);
}

const char *fake_str(const struct fake_machine *m, uint64_t gpa)
{
	const char *s = gm_map(m->mem, gpa, 4096);

	ck_assert_ptr_nonnull(s);
	ck_assert_ptr_nonnull(memchr(s, 0, 4096));
	return s;
}

uint8_t fake_byte(uint64_t offset)
{
	return (uint8_t)(offset * 7 + offset / 253 + 1);
}

bool fake_placed(const struct fake_machine *m, uint64_t gpa, uint64_t offset, uint64_t len)
{
	const uint8_t *p = gm_map(m->mem, gpa, len);

	ck_assert_ptr_nonnull(p);
	for (uint64_t i = 0; i < len; i++)
		if (p[i] != fake_byte(offset + i))
			return false;
	return true;
}

static void put_phdr(uint8_t *buf, const struct fake_elf *e, size_t i, uint32_t type, const struct fake_segment *s)
{
	Elf64_Phdr p64 = { .p_type = type, .p_offset = s->offset, .p_vaddr = s->vaddr, .p_paddr = s->paddr, .p_filesz = s->filesz,
			   .p_memsz = s->memsz, .p_align = 4 };
	Elf32_Phdr p32 = { .p_type = type, .p_offset = (uint32_t)s->offset, .p_vaddr = (uint32_t)s->vaddr,
			   .p_paddr = (uint32_t)s->paddr, .p_filesz = (uint32_t)s->filesz, .p_memsz = (uint32_t)s->memsz,
			   .p_align = 4 };

	if (e->elf32)
		memcpy(buf + FAKE_ELF_PHDRS + i * sizeof(p32), &p32, sizeof(p32));
	else
		memcpy(buf + FAKE_ELF_PHDRS + i * sizeof(p64), &p64, sizeof(p64));
}

static void put_note(uint8_t *buf, const struct fake_elf *e)
{
	/* Another of Xen's notes comes first, of a length that needs padding. */
	static const uint8_t first[] = { 4, 0, 0, 0, 6, 0, 0, 0, 6, 0, 0, 0, 'X', 'e', 'n', 0, 'l', 'i', 'n', 'u', 'x', 0, 0, 0 };
	uint8_t *p = buf + FAKE_ELF_NOTE;
	struct fake_segment s = { .offset = FAKE_ELF_NOTE, .filesz = sizeof(first) + 16 + e->pvh_size };

	memcpy(p, first, sizeof(first));
	p += sizeof(first);
	store_le32(p, 4);
	store_le32(p + 4, e->pvh_size);
	store_le32(p + 8, 18);
	memcpy(p + 12, "Xen", 4);
	if (e->pvh_size == 8)
		store_le64(p + 16, e->pvh_entry);
	else
		store_le32(p + 16, (uint32_t)e->pvh_entry);
	put_phdr(buf, e, e->n, PT_NOTE, &s);
}

uint8_t *fake_elf(const struct fake_elf *e)
{
	uint16_t phnum = (uint16_t)(e->n + !!e->pvh_size);
	Elf64_Ehdr h64 = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_EXEC,
			   .e_machine = e->machine ? e->machine : EM_X86_64, .e_entry = e->entry, .e_phoff = FAKE_ELF_PHDRS,
			   .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = phnum };
	Elf32_Ehdr h32 = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_EXEC,
			   .e_machine = e->machine ? e->machine : EM_386, .e_entry = (uint32_t)e->entry, .e_phoff = FAKE_ELF_PHDRS,
			   .e_phentsize = sizeof(Elf32_Phdr), .e_phnum = phnum };
	uint8_t *buf = malloc(e->size);

	ck_assert_ptr_nonnull(buf);
	for (size_t i = 0; i < e->size; i++)
		buf[i] = fake_byte(i);
	memcpy(buf, e->elf32 ? (void *)&h32 : (void *)&h64, e->elf32 ? sizeof(h32) : sizeof(h64));
	for (size_t i = 0; i < e->n; i++)
		put_phdr(buf, e, i, PT_LOAD, &e->segment[i]);
	if (e->pvh_size)
		put_note(buf, e);
	return buf;
}

static size_t pack_gzip(const uint8_t *data, size_t len, uint8_t *out, size_t cap)
{
	z_stream z = { 0 };

	ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (Bytef *)data;
	z.avail_in = (uInt)len;
	z.next_out = out;
	z.avail_out = (uInt)cap;
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return cap - z.avail_out;
}

static size_t pack_lz4(const uint8_t *data, size_t len, uint8_t *out, size_t cap)
{
	size_t pos = 4;

	store_le32(out, 0x184C2102);
	for (size_t off = 0; off < len; off += 8 * MIB) {
		int n = (int)min_u64(len - off, 8 * MIB);

		n = LZ4_compress_default((const char *)data + off, (char *)out + pos + 4, n, (int)(cap - pos - 4));
		ck_assert_int_gt(n, 0);
		store_le32(out + pos, (uint32_t)n);
		pos += 4 + (size_t)n;
	}
	return pos;
}

/* xz as Linux's build calls it: x86 filter, LZMA2, CRC32. */
static size_t pack_lzma(enum unpack_format format, const uint8_t *data, size_t len, uint8_t *out, size_t cap)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_options_lzma opt;
	lzma_filter filters[] = { { LZMA_FILTER_X86, NULL }, { LZMA_FILTER_LZMA2, &opt }, { LZMA_VLI_UNKNOWN, NULL } };

	ck_assert(!lzma_lzma_preset(&opt, 1));
	if (format == UNPACK_XZ)
		ck_assert_int_eq(lzma_stream_encoder(&s, filters, LZMA_CHECK_CRC32), LZMA_OK);
	else
		ck_assert_int_eq(lzma_alone_encoder(&s, &opt), LZMA_OK);
	s.next_in = data;
	s.avail_in = len;
	s.next_out = out;
	s.avail_out = cap;
	ck_assert_int_eq(lzma_code(&s, LZMA_FINISH), LZMA_STREAM_END);
	lzma_end(&s);
	return cap - s.avail_out;
}

uint8_t *fake_pack(enum unpack_format format, const uint8_t *data, size_t len, size_t *out)
{
	size_t cap = len + len / 8 + 65536;
	uint8_t *buf = malloc(cap);

	ck_assert_ptr_nonnull(buf);
	switch (format) {
	case UNPACK_GZIP:
		*out = pack_gzip(data, len, buf, cap);
		break;
	case UNPACK_ZSTD:
		*out = ZSTD_compress(buf, cap, data, len, 1);
		ck_assert(!ZSTD_isError(*out));
		break;
	case UNPACK_LZ4:
		*out = pack_lz4(data, len, buf, cap);
		break;
	case UNPACK_XZ:
	case UNPACK_LZMA:
		*out = pack_lzma(format, data, len, buf, cap);
		break;
	case UNPACK_UNKNOWN:
		memcpy(buf, data, len);
		*out = len;
	}
	return buf;
}
