/* SPDX-License-Identifier: MIT */
/*
 * Loading from memory works in place: an unpacked kernel stands in guest memory near where its segments belong, so that most of
 * it is already there and little has to be moved. A segment is moved only while its destination covers no other segment that
 * still waits; where segments block each other in a circle, the file is copied aside first.
 */
#include "firmware/elf.h"

#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/util.h"

#define MAX_PROGRAM_HEADERS 512
#define MAX_NOTES (64 * KIB)
#define XEN_ELFNOTE_PHYS32_ENTRY 18 /* xen/include/public/elfnote.h */

static_assert(sizeof(Elf64_Ehdr) == 64 && sizeof(Elf32_Ehdr) == 52, "gABI: ELF header");
static_assert(sizeof(Elf64_Phdr) == 56 && sizeof(Elf32_Phdr) == 32, "gABI: program header");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the structures of <elf.h> are used as they lie in the file");

/* A program header of either class. */
struct phdr {
	uint32_t type;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

/* What of the ELF header is used. */
struct ehdr {
	bool elf64;
	uint16_t type, machine, phentsize, phnum;
	uint64_t entry, phoff;
};

bool elf_is_elf(const uint8_t *head, size_t len)
{
	return len >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0;
}

static int source_read(const struct elf_source *src, uint64_t off, void *buf, size_t len, const char *what, struct err *err)
{
	int rc;

	if (!range_ok(off, len, src->size))
		return err_set(err, -EINVAL, "ELF: truncated: the %s at %#jx+%#zx are outside the file's %ju bytes", what,
			       (uintmax_t)off, len, (uintmax_t)src->size);
	if (src->data) {
		memcpy(buf, src->data + off, len);
		return 0;
	}
	rc = pread_full(src->fd, buf, len, off);
	if (rc == -ENODATA)
		return err_set(err, rc, "the file became shorter while it was read");
	return rc ? err_set_errno(err, rc, "cannot read the %s", what) : 0;
}

static int ehdr_read(const struct elf_source *src, struct ehdr *h, struct err *err)
{
	uint8_t ident[EI_NIDENT];
	Elf64_Ehdr e64;
	Elf32_Ehdr e32;
	int rc;

	rc = source_read(src, 0, ident, sizeof(ident), "first bytes", err);
	if (rc)
		return rc;
	if (!elf_is_elf(ident, sizeof(ident)))
		return err_set(err, -EINVAL, "not an ELF file");
	if (ident[EI_DATA] != ELFDATA2LSB || ident[EI_VERSION] != EV_CURRENT)
		return err_set(err, -EINVAL, "ELF: not a little-endian file of version 1");
	if (ident[EI_CLASS] == ELFCLASS64) {
		rc = source_read(src, 0, &e64, sizeof(e64), "header's bytes", err);
		if (rc)
			return rc;
		*h = (struct ehdr){ .elf64 = true, .type = e64.e_type, .machine = e64.e_machine, .entry = e64.e_entry,
				    .phoff = e64.e_phoff, .phentsize = e64.e_phentsize, .phnum = e64.e_phnum };
	} else if (ident[EI_CLASS] == ELFCLASS32) {
		rc = source_read(src, 0, &e32, sizeof(e32), "header's bytes", err);
		if (rc)
			return rc;
		*h = (struct ehdr){ .elf64 = false, .type = e32.e_type, .machine = e32.e_machine, .entry = e32.e_entry,
				    .phoff = e32.e_phoff, .phentsize = e32.e_phentsize, .phnum = e32.e_phnum };
	} else {
		return err_set(err, -EINVAL, "ELF: class %u is neither 32-bit nor 64-bit", ident[EI_CLASS]);
	}
	return 0;
}

static int ehdr_check(const struct ehdr *h, struct err *err)
{
	size_t entsize = h->elf64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

	if (h->machine != EM_X86_64 && h->machine != EM_386)
		return err_set(err, -EINVAL, "ELF: machine %u is neither x86-64 (62) nor i386 (3)", h->machine);
	if (h->elf64 && h->machine != EM_X86_64)
		return err_set(err, -EINVAL, "ELF: a 64-bit file for i386");
	if (h->type != ET_EXEC && h->type != ET_DYN)
		return err_set(err, -EINVAL, "ELF: type %u is not an executable (an object file or a core dump?)", h->type);
	if (h->phnum == 0)
		return err_set(err, -EINVAL, "ELF: no program headers, nothing to load");
	if (h->phentsize != entsize || h->phnum > MAX_PROGRAM_HEADERS)
		return err_set(err, -EINVAL, "ELF: %u program headers of %u bytes, expected up to %d of %zu", h->phnum,
			       h->phentsize, MAX_PROGRAM_HEADERS, entsize);
	return 0;
}

static struct phdr phdr_get(const struct ehdr *h, const uint8_t *table, size_t i)
{
	Elf64_Phdr p64;
	Elf32_Phdr p32;

	if (h->elf64) {
		memcpy(&p64, table + i * sizeof(p64), sizeof(p64));
		return (struct phdr){ p64.p_type, p64.p_offset, p64.p_vaddr, p64.p_paddr, p64.p_filesz, p64.p_memsz, p64.p_align };
	}
	memcpy(&p32, table + i * sizeof(p32), sizeof(p32));
	return (struct phdr){ p32.p_type, p32.p_offset, p32.p_vaddr, p32.p_paddr, p32.p_filesz, p32.p_memsz, p32.p_align };
}

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a_len && b_len && a < b + b_len && b < a + a_len;
}

/* Checks a PT_LOAD and adds it, in the order of offsets. */
static int segment_add(struct elf_image *img, const struct phdr *p, size_t index, uint64_t file_size, struct err *err)
{
	struct elf_segment *s = img->segment;
	uint64_t end, vend;
	size_t at;

	if (p->filesz > p->memsz)
		return err_set(err, -EINVAL, "ELF: segment %zu has more bytes in the file (%#jx) than in memory (%#jx)", index,
			       (uintmax_t)p->filesz, (uintmax_t)p->memsz);
	if (!range_ok(p->offset, p->filesz, file_size))
		return err_set(err, -EINVAL, "ELF: truncated: segment %zu at %#jx+%#jx is outside the file's %ju bytes", index,
			       (uintmax_t)p->offset, (uintmax_t)p->filesz, (uintmax_t)file_size);
	/* A virtual range may end with the last address, so its last byte is what must not wrap. */
	if (!add_u64(p->paddr, p->memsz, &end) || !add_u64(p->vaddr, p->memsz - 1, &vend))
		return err_set(err, -EINVAL, "ELF: segment %zu goes past the last address", index);
	if (img->n == ELF_MAX_SEGMENTS)
		return err_set(err, -EINVAL, "ELF: more than %d segments", ELF_MAX_SEGMENTS);
	for (size_t i = 0; i < img->n; i++)
		if (overlap(s[i].paddr, s[i].memsz, p->paddr, p->memsz))
			return err_set(err, -EINVAL, "ELF: segment %zu at physical %#jx overlaps another", index,
				       (uintmax_t)p->paddr);
	for (at = img->n; at > 0 && s[at - 1].offset > p->offset; at--)
		s[at] = s[at - 1];
	s[at] = (struct elf_segment){ p->offset, p->filesz, p->paddr, p->vaddr, p->memsz };
	img->n++;
	img->lo = min_u64(img->lo, p->paddr);
	img->hi = max_u64(img->hi, end);
	return 0;
}

/* One note: gABI 5, "Note Section". Sizes are 32-bit, so sums in 64 bits cannot wrap. Returns the offset of the next one. */
static uint64_t note_look(struct elf_image *img, const uint8_t *notes, uint64_t off, uint64_t len, uint64_t align)
{
	uint64_t namesz = load_le32(notes + off), descsz = load_le32(notes + off + 4);
	uint32_t type = load_le32(notes + off + 8);
	uint64_t name = off + 12, desc = align_up(name + namesz, align);

	if (desc + descsz > len)
		return len;
	if (type == XEN_ELFNOTE_PHYS32_ENTRY && namesz == 4 && memcmp(notes + name, "Xen", 4) == 0 &&
	    (descsz == 4 || descsz == 8)) {
		img->pvh_entry = descsz == 8 ? load_le64(notes + desc) : load_le32(notes + desc);
		img->has_pvh = true;
	}
	return align_up(desc + descsz, align);
}

static int notes_read(const struct elf_source *src, struct elf_image *img, const struct phdr *p, struct err *err)
{
	/* Notes that are longer are not a kernel's; its own come first. */
	uint64_t len = min_u64(p->filesz, MAX_NOTES), off = 0;
	uint8_t *notes;
	int rc;

	if (len < 12)
		return 0;
	notes = malloc(len);
	if (!notes)
		return err_set_errno(err, -ENOMEM, "ELF notes");
	rc = source_read(src, p->offset, notes, len, "notes", err);
	while (!rc && !img->has_pvh && range_ok(off, 12, len))
		off = note_look(img, notes, off, len, p->align == 8 ? 8 : 4);
	free(notes);
	return rc;
}

/* Linux states a physical entry; other kernels a virtual one, which lies in a segment by its virtual addresses only. */
static int entry_resolve(struct elf_image *img, uint64_t entry, struct err *err)
{
	img->entry = entry;
	if (elf_contains(img, entry))
		return 0;
	for (size_t i = 0; i < img->n; i++) {
		const struct elf_segment *s = &img->segment[i];

		if (entry - s->vaddr < s->memsz && entry >= s->vaddr) {
			img->entry = entry - s->vaddr + s->paddr;
			return 0;
		}
	}
	return err_set(err, -EINVAL, "ELF: the entry point %#jx is in no loaded segment", (uintmax_t)entry);
}

static int phdrs_parse(const struct elf_source *src, const struct ehdr *h, const uint8_t *table, struct elf_image *img,
		       struct err *err)
{
	for (size_t i = 0; i < h->phnum; i++) {
		struct phdr p = phdr_get(h, table, i);
		int rc = 0;

		if (p.type == PT_LOAD && p.memsz)
			rc = segment_add(img, &p, i, src->size, err);
		else if (p.type == PT_NOTE && !img->has_pvh)
			rc = notes_read(src, img, &p, err);
		if (rc)
			return rc;
	}
	if (img->n == 0)
		return err_set(err, -EINVAL, "ELF: no segment to load");
	return entry_resolve(img, h->entry, err);
}

int elf_parse(const struct elf_source *src, struct elf_image *img, struct err *err)
{
	struct ehdr h = { 0 };
	uint8_t *table;
	size_t len;
	int rc;

	memset(img, 0, sizeof(*img));
	img->lo = UINT64_MAX;
	rc = ehdr_read(src, &h, err);
	if (!rc)
		rc = ehdr_check(&h, err);
	if (rc)
		return rc;
	img->elf64 = h.elf64;
	img->x86_64 = h.machine == EM_X86_64;
	len = (size_t)h.phnum * h.phentsize;
	table = malloc(len);
	if (!table)
		return err_set_errno(err, -ENOMEM, "ELF program headers");
	rc = source_read(src, h.phoff, table, len, "program headers", err);
	if (!rc)
		rc = phdrs_parse(src, &h, table, img, err);
	free(table);
	return rc;
}

bool elf_contains(const struct elf_image *img, uint64_t paddr)
{
	for (size_t i = 0; i < img->n; i++)
		if (paddr >= img->segment[i].paddr && paddr - img->segment[i].paddr < img->segment[i].memsz)
			return true;
	return false;
}

/* elf_load has seen that guest memory holds the segment. */
static int segment_load(const struct elf_segment *s, const struct elf_source *src, struct guest_mem *gm, struct err *err)
{
	uint8_t *to = gm_map(gm, s->paddr, s->memsz);
	int rc;

	if (src->data && to != src->data + s->offset) {
		memmove(to, src->data + s->offset, s->filesz);
	} else if (!src->data) {
		rc = pread_full(src->fd, to, s->filesz, s->offset);
		if (rc == -ENODATA)
			return err_set(err, rc, "the file became shorter while it was read");
		if (rc)
			return err_set_errno(err, rc, "cannot read");
	}
	if (s->memsz > s->filesz)
		gm_fill(gm, s->paddr + s->filesz, 0, s->memsz - s->filesz);
	return 0;
}

/* Whether segment `i` can be put in place without covering the bytes of another one that is not yet. */
static bool segment_free(const struct elf_image *img, const struct elf_source *src, const struct guest_mem *gm, size_t i,
			 uint64_t waiting)
{
	const struct elf_segment *s = &img->segment[i];
	const uint8_t *to = gm_map(gm, s->paddr, s->memsz);

	for (size_t j = 0; j < img->n; j++) {
		const struct elf_segment *o = &img->segment[j];

		if (j != i && (waiting & BIT64(j)) &&
		    overlap((uintptr_t)to, s->memsz, (uintptr_t)(src->data + o->offset), o->filesz))
			return false;
	}
	return true;
}

/* Loads what can be loaded in place. Returns the set of segments that wait for each other, 0 when all is done. */
static int load_in_place(const struct elf_image *img, const struct elf_source *src, struct guest_mem *gm, uint64_t *waiting,
			 struct err *err)
{
	bool progress = true;

	*waiting = img->n == 64 ? UINT64_MAX : BIT64(img->n) - 1;
	while (*waiting && progress) {
		progress = false;
		for (size_t i = 0; i < img->n; i++) {
			int rc;

			if (!(*waiting & BIT64(i)) || !segment_free(img, src, gm, i, *waiting))
				continue;
			rc = segment_load(&img->segment[i], src, gm, err);
			if (rc)
				return rc;
			*waiting &= ~BIT64(i);
			progress = true;
		}
	}
	return 0;
}
static_assert(ELF_MAX_SEGMENTS <= 64, "a set of segments is a 64-bit mask");

static int load_set(const struct elf_image *img, const struct elf_source *src, struct guest_mem *gm, uint64_t set,
		    struct err *err)
{
	for (size_t i = 0; i < img->n; i++) {
		int rc = set & BIT64(i) ? segment_load(&img->segment[i], src, gm, err) : 0;

		if (rc)
			return rc;
	}
	return 0;
}

int elf_load(const struct elf_image *img, const struct elf_source *src, struct guest_mem *gm, struct err *err)
{
	struct elf_source aside = *src;
	uint64_t waiting = 0;
	uint8_t *copy;
	int rc;

	for (size_t i = 0; i < img->n; i++)
		if (!gm_map(gm, img->segment[i].paddr, img->segment[i].memsz))
			return err_set(err, -EFAULT, "ELF: a segment at %#jx+%#jx is outside guest memory",
				       (uintmax_t)img->segment[i].paddr, (uintmax_t)img->segment[i].memsz);
	if (!src->data)
		return load_set(img, src, gm, UINT64_MAX, err);
	rc = load_in_place(img, src, gm, &waiting, err);
	if (rc || !waiting)
		return rc;
	copy = mmap(NULL, src->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (copy == MAP_FAILED)
		return err_set_errno(err, -errno, "ELF: no memory to load from");
	memcpy(copy, src->data, src->size);
	aside.data = copy;
	rc = load_set(img, &aside, gm, waiting, err);
	munmap(copy, src->size);
	return rc;
}
