/* SPDX-License-Identifier: MIT */
#include "vmm/dump.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	/* By a worker of the main thread's, to a file or to somebody who reads */
	{ CALL(fcntl), .threads = THREAD_MAIN, .needs = NEEDS_FILES },
	{ CALL(fstat), .threads = THREAD_MAIN, .needs = NEEDS_FILES, .rare = THREAD_MAIN },
	{ CALL(newfstatat), .threads = THREAD_MAIN, .needs = NEEDS_FILES },
	{ CALL(lseek), .threads = THREAD_MAIN, .needs = NEEDS_FILES },
	{ CALL(ftruncate), .threads = THREAD_MAIN, .needs = NEEDS_FILES },
	{ CALL(write), .threads = THREAD_MAIN, .needs = NEEDS_FILES },
	{ CALL(poll), .threads = THREAD_MAIN, .needs = NEEDS_FILES },
);

#define PAGE 4096u
#define PIECE (64 * KIB) /* looked at and written at once */
#define PATIENCE_MS 100  /* between looks at `cancel` */

/* ---- notes ---- */

static size_t note_align(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

int dump_notes_add(struct dump_notes *notes, const char *name, uint32_t type, const void *desc, size_t len)
{
	const Elf64_Nhdr header = { .n_namesz = (uint32_t)strlen(name) + 1, .n_descsz = (uint32_t)len, .n_type = type };
	size_t size = sizeof(header) + note_align(header.n_namesz) + note_align(len);
	uint8_t *p = realloc(notes->data, notes->len + size);

	if (!p)
		return -ENOMEM;
	notes->data = p;
	p += notes->len;
	notes->len += size;
	memset(p, 0, size);
	memcpy(p, &header, sizeof(header));
	memcpy(p + sizeof(header), name, header.n_namesz);
	memcpy(p + sizeof(header) + note_align(header.n_namesz), desc, len);
	return 0;
}

void dump_notes_fini(struct dump_notes *notes)
{
	free(notes->data);
	*notes = (struct dump_notes){ .data = NULL };
}

/* ---- what is written ---- */

/* The part of a region that is wanted; false: nothing of it. */
static bool wanted(const struct dump *d, size_t i, struct gm_region *part)
{
	const struct gm_region *r = gm_region_at(d->mem, i);
	uint64_t end = r->gpa + r->size, last = UINT64_MAX;

	*part = *r;
	if (!d->length)
		return true;
	if (!add_u64(d->begin, d->length, &last))
		last = UINT64_MAX;
	part->gpa = max_u64(r->gpa, d->begin);
	end = min_u64(end, last);
	if (part->gpa >= end)
		return false;
	part->size = end - part->gpa;
	part->hva = r->hva + (part->gpa - r->gpa);
	return true;
}

uint64_t dump_total(const struct dump *d)
{
	struct gm_region part;
	uint64_t total = 0;

	for (size_t i = 0; i < gm_region_count(d->mem); i++)
		if (wanted(d, i, &part))
			total += part.size;
	return total;
}

/* The file as it grows. */
struct out {
	struct dump *dump;
	bool sparse;
	off_t hole; /* bytes of zeroes that are not written yet */
};

static int out_bytes(struct out *o, const uint8_t *p, uint64_t len)
{
	while (len > 0) {
		struct pollfd ready = { .fd = o->dump->fd, .events = POLLOUT };
		ssize_t n;

		if (atomic_load(&o->dump->cancel))
			return -ECANCELED;
		if (poll(&ready, 1, PATIENCE_MS) <= 0)
			continue;
		n = write(o->dump->fd, p, (size_t)len);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (n > 0) {
			p += n;
			len -= (uint64_t)n;
		}
	}
	return 0;
}

/* Makes the hole that there is to be. */
static int out_hole(struct out *o)
{
	off_t at;

	if (!o->hole)
		return 0;
	at = lseek(o->dump->fd, o->hole, SEEK_CUR);
	o->hole = 0;
	return at < 0 || ftruncate(o->dump->fd, at) < 0 ? -errno : 0;
}

static bool is_zero(const uint8_t *p, uint64_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, (size_t)len - 1) == 0;
}

static int out_memory(struct out *o, const struct gm_region *part)
{
	for (uint64_t at = 0; at < part->size; at += PIECE) {
		const uint64_t len = min_u64(PIECE, part->size - at);
		int r = 0;

		if (o->sparse && is_zero(part->hva + at, len)) {
			if (atomic_load(&o->dump->cancel))
				return -ECANCELED;
			o->hole += (off_t)len;
		} else {
			r = out_hole(o);
			if (r == 0)
				r = out_bytes(o, part->hva + at, len);
		}
		if (r < 0)
			return r;
		atomic_fetch_add(&o->dump->completed, len);
	}
	return out_hole(o);
}

/* What `fd` is decides two things: whether there may be holes, and whether a write may keep us for ever. */
static int out_init(struct out *o, struct dump *d)
{
	int flags = fcntl(d->fd, F_GETFL);
	struct stat st;

	*o = (struct out){ .dump = d };
	if (flags < 0 || fstat(d->fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode))
		o->sparse = !(flags & O_APPEND) && lseek(d->fd, 0, SEEK_CUR) >= st.st_size;
	else if (fcntl(d->fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

/* ---- headers ---- */

struct headers {
	Elf64_Ehdr elf;
	Elf64_Phdr segments[1 + GM_MAX_REGIONS];
};

/* Fills them in, and returns where memory begins in the file. */
static uint64_t make_headers(const struct dump *d, struct headers *h)
{
	struct gm_region part;
	uint64_t at, memory;
	unsigned n = 1;

	memset(h, 0, sizeof(*h));
	for (size_t i = 0; i < gm_region_count(d->mem); i++)
		n += wanted(d, i, &part);
	at = sizeof(h->elf) + n * sizeof(h->segments[0]);
	h->segments[0] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = at, .p_filesz = d->notes->len, .p_memsz = d->notes->len, .p_align = 4 };
	at = memory = align_up(at + d->notes->len, PAGE);
	n = 1;
	for (size_t i = 0; i < gm_region_count(d->mem); i++) {
		if (!wanted(d, i, &part))
			continue;
		h->segments[n++] = (Elf64_Phdr){
			.p_type = PT_LOAD,
			.p_flags = PF_R | PF_W | PF_X,
			.p_offset = at,
			.p_vaddr = part.gpa,
			.p_paddr = part.gpa,
			.p_filesz = part.size,
			.p_memsz = part.size,
		};
		at += part.size;
	}
	memcpy(h->elf.e_ident, ELFMAG, SELFMAG);
	h->elf.e_ident[EI_CLASS] = ELFCLASS64;
	h->elf.e_ident[EI_DATA] = ELFDATA2LSB;
	h->elf.e_ident[EI_VERSION] = EV_CURRENT;
	h->elf.e_type = ET_CORE;
	h->elf.e_machine = EM_X86_64;
	h->elf.e_version = EV_CURRENT;
	h->elf.e_phoff = sizeof(h->elf);
	h->elf.e_ehsize = sizeof(h->elf);
	h->elf.e_phentsize = sizeof(h->segments[0]);
	h->elf.e_phnum = (uint16_t)n;
	return memory;
}

static int write_all(struct dump *d, struct out *o)
{
	static const uint8_t zeroes[PAGE];
	struct headers h;
	uint64_t memory = make_headers(d, &h), len = sizeof(h.elf) + h.elf.e_phnum * sizeof(h.segments[0]);
	struct gm_region part;
	int r = out_bytes(o, (const uint8_t *)&h, len);

	if (r == 0)
		r = out_bytes(o, d->notes->data, d->notes->len);
	if (r == 0)
		r = out_bytes(o, zeroes, memory - len - d->notes->len);
	for (size_t i = 0; r == 0 && i < gm_region_count(d->mem); i++)
		if (wanted(d, i, &part))
			r = out_memory(o, &part);
	return r;
}

int dump_write(struct dump *d, struct err *err)
{
	struct out o;
	int r = out_init(&o, d);

	if (r == 0)
		r = write_all(d, &o);
	if (r == -ECANCELED)
		return err_set(err, r, "the dump was given up");
	return r < 0 ? err_set_errno(err, r, "the dump cannot be written") : 0;
}
