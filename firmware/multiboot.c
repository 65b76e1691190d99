/* SPDX-License-Identifier: MIT */
/*
 * Multiboot Specification, version 0.6.96, for kernels in ELF32 or with addresses in the header ("a.out kludge").
 *
 * Modules come from -initrd "FILE ARGS,FILE ARGS": a comma separates them, two commas stand for one in a name, and a module's
 * string is its whole text, file name first. They follow the kernel in memory, each on a page of its own, because early kernels
 * seldom map more than what is near them. The kernel's command line is its file name and what -append gives.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/boot_priv.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/util.h"

#define HEADER_MAGIC 0x1BADB002u
#define LOADER_MAGIC 0x2BADB002u
#define HEADER_PAGE_ALIGN 0x0001u /* modules on pages: they always are */
#define HEADER_MEMORY_INFO 0x0002u /* always given */
#define HEADER_VIDEO 0x0004u
#define HEADER_KLUDGE 0x10000u
#define HEADER_REQUIRED 0xffffu
#define HEADER_KNOWN (HEADER_PAGE_ALIGN | HEADER_MEMORY_INFO | HEADER_VIDEO)
#define HEADER_LEN 12        /* magic, flags, checksum */
#define HEADER_LEN_KLUDGE 32 /* and the five addresses */

#define INFO_MEMORY 0x001u
#define INFO_CMDLINE 0x004u
#define INFO_MODS 0x008u
#define INFO_MMAP 0x040u
#define INFO_LOADER_NAME 0x200u

#define PAGE UINT64_C(4096)
#define MAP_MAX 128

/* 3.1.1 to 3.1.3 */
struct mb_header {
	le32 magic, flags, checksum;
	le32 header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};
static_assert(sizeof(struct mb_header) == HEADER_LEN_KLUDGE, "Multiboot 3.1");

/* 3.3 */
struct mb_info {
	le32 flags;
	le32 mem_lower, mem_upper; /* KiB */
	le32 boot_device;
	le32 cmdline;
	le32 mods_count, mods_addr;
	le32 syms[4];
	le32 mmap_length, mmap_addr;
	le32 drives_length, drives_addr;
	le32 config_table;
	le32 boot_loader_name;
	le32 apm_table;
	le32 vbe[4];
	le32 framebuffer[8]; /* and color information */
};
static_assert(offsetof(struct mb_info, boot_loader_name) == 64, "Multiboot 3.3");

struct mb_module {
	le32 start, end, string, reserved;
};
static_assert(sizeof(struct mb_module) == 16, "Multiboot 3.3");

struct mb_mmap {
	le32 size; /* of what follows */
	le64 base, length;
	le32 type;
};
static_assert(sizeof(struct mb_mmap) == 24, "Multiboot 3.3");

/* The header's offset in the file, or -1. */
static long header_find(const struct boot *boot)
{
	for (size_t off = 0; off + HEADER_LEN <= boot->head_len; off += 4) {
		const uint8_t *p = boot->head + off;

		if (load_le32(p) == HEADER_MAGIC && load_le32(p) + load_le32(p + 4) + load_le32(p + 8) == 0)
			return (long)off;
	}
	return -1;
}

static int flags_check(const struct boot *boot, uint32_t flags, struct err *err)
{
	if (flags & HEADER_VIDEO)
		return err_set(err, -EINVAL, "%s: its multiboot header requires a video mode (flag bit 2), and Kite has no display",
			       boot->kernel.path);
	if (flags & HEADER_REQUIRED & ~HEADER_KNOWN)
		return err_set(err, -EINVAL, "%s: its multiboot header requires features that Kite does not know (flags %#x)",
			       boot->kernel.path, flags & HEADER_REQUIRED & ~HEADER_KNOWN);
	return 0;
}

/* 3.1.3: what is loaded from where, when the header says so itself. */
static int kludge_parse(struct boot *boot, uint64_t off, struct err *err)
{
	struct multiboot_info *mb = &boot->multiboot;
	uint32_t header, load, load_end, bss_end;
	struct mb_header h;

	if (!range_ok(off, HEADER_LEN_KLUDGE, boot->head_len))
		return err_set(err, -EINVAL, "%s: truncated: its multiboot header goes past the end", boot->kernel.path);
	memcpy(&h, boot->head + off, sizeof(h));
	header = le32_get(h.header_addr);
	load = le32_get(h.load_addr);
	load_end = le32_get(h.load_end_addr);
	bss_end = le32_get(h.bss_end_addr);
	mb->entry = le32_get(h.entry_addr);
	if (load > header || header - load > off)
		return err_set(err, -EINVAL, "%s: multiboot: load address %#x does not suit the header at %#x, %#jx in the file",
			       boot->kernel.path, load, header, (uintmax_t)off);
	mb->kludge = true;
	mb->offset = off - (header - load);
	mb->paddr = load;
	mb->filesz = load_end ? (uint64_t)load_end - load : boot->kernel.size - mb->offset;
	if (load_end && (load_end < load || !range_ok(mb->offset, mb->filesz, boot->kernel.size)))
		return err_set(err, -EINVAL, "%s: multiboot: truncated: data from %#x to %#x is not all in the file",
			       boot->kernel.path, load, load_end);
	mb->memsz = max_u64(mb->filesz, bss_end > load ? bss_end - load : 0);
	if (mb->entry < load || mb->entry - load >= mb->memsz)
		return err_set(err, -EINVAL, "%s: multiboot: the entry point %#x is not in what is loaded", boot->kernel.path,
			       mb->entry);
	return 0;
}

/* 1: an ELF file to be loaded as such. 0: left to PVH. */
static int elf_kernel_parse(struct boot *boot, struct err *err)
{
	int rc;

	if (!elf_is_elf(boot->head, boot->head_len))
		return err_set(err, -EINVAL,
			       "%s: has a multiboot header, but is no ELF file and states no load addresses (flag bit 16)",
			       boot->kernel.path);
	rc = boot_parse_elf(boot, err);
	if (rc)
		return rc;
	if (boot->elf.elf64 && boot->elf.has_pvh)
		return 0;
	if (boot->elf.elf64)
		return err_set(err, -EINVAL,
			       "%s: a 64-bit ELF file, and multiboot enters 32-bit ones; convert it: objcopy -O elf32-i386 %s NEW",
			       boot->kernel.path, boot->kernel.path);
	boot->multiboot.entry = (uint32_t)boot->elf.entry;
	return 1;
}

/* Cuts the next module's text off `*rest`: up to a comma that is not doubled. In place; NULL at the end. */
static char *module_next(char **rest)
{
	char *start = *rest, *to = start, *from = start;

	if (!start)
		return NULL;
	while (*from && (*from != ',' || from[1] == ',')) {
		from += *from == ',';
		*to++ = *from++;
	}
	*rest = *from ? from + 1 : NULL;
	*to = '\0';
	return start;
}

static int modules_open(struct boot *boot, struct err *err)
{
	char *copy, *rest, *text;
	int rc = 0;

	if (!boot->initrd)
		return 0;
	copy = strdup(boot->initrd);
	if (!copy)
		return err_set_errno(err, -ENOMEM, "-initrd");
	rest = copy;
	while (!rc && (text = module_next(&rest))) {
		char *path = strndup(text, strcspn(text, " "));

		if (!path)
			rc = err_set_errno(err, -ENOMEM, "-initrd");
		else if (!*path)
			rc = err_set(err, -EINVAL, "-initrd: a module without a file name in '%s'", boot->initrd);
		else
			rc = boot_add_module(boot, "module", path, text, err);
		free(path);
	}
	free(copy);
	return rc;
}

static int multiboot_open(struct boot *boot, struct err *err)
{
	long off = header_find(boot);
	uint32_t flags;
	int rc;

	if (off < 0)
		return 0;
	flags = load_le32(boot->head + off + 4);
	rc = flags & HEADER_KLUDGE ? kludge_parse(boot, (uint64_t)off, err) : elf_kernel_parse(boot, err);
	if (rc < 0 || (rc == 0 && !boot->multiboot.kludge))
		return rc;
	rc = flags_check(boot, flags, err);
	if (!rc)
		rc = boot_check_append(boot, BOOT_CMDLINE_MAX - strlen(boot->kernel.path) - 1, err);
	if (!rc)
		rc = modules_open(boot, err);
	return rc ? rc : 1;
}

/* Loads the kernel; `*end` is where it ends. */
static int kernel_load(const struct boot *boot, const struct boot_platform *platform, uint64_t *end, struct err *err)
{
	const struct multiboot_info *mb = &boot->multiboot;
	struct elf_source src = { .fd = boot->kernel.fd, .size = boot->kernel.size };
	int rc;

	if (!mb->kludge) {
		*end = boot->elf.hi;
		rc = boot_check_elf(boot, platform, &boot->elf, err);
		if (rc)
			return rc;
		return elf_load(&boot->elf, &src, platform->mem, err) ? err_prefix(err, "%s", boot->kernel.path) : 0;
	}
	*end = mb->paddr + mb->memsz;
	rc = boot_check_place(boot, platform, "image", mb->paddr, mb->memsz, err);
	if (rc)
		return rc;
	if (mb->memsz > mb->filesz)
		gm_fill(platform->mem, mb->paddr + mb->filesz, 0, mb->memsz - mb->filesz);
	return boot_file_read(&boot->kernel, gm_map(platform->mem, mb->paddr, mb->filesz), mb->filesz, mb->offset, err);
}

static int put_string(struct boot_low *low, const char *s, le32 *out, struct err *err)
{
	uint64_t gpa = 0;
	int rc = boot_low_put(low, s, strlen(s) + 1, 1, &gpa, err);

	*out = le32_of((uint32_t)gpa);
	return rc;
}

static int put_cmdline(struct boot_low *low, const struct boot *boot, struct mb_info *info, struct err *err)
{
	size_t path = strlen(boot->kernel.path), append = strlen(boot->append);
	char *s = malloc(path + append + 2);
	int rc;

	if (!s)
		return err_set_errno(err, -ENOMEM, "command line");
	memcpy(s, boot->kernel.path, path);
	s[path] = append ? ' ' : '\0';
	memcpy(s + path + 1, boot->append, append + 1);
	rc = put_string(low, s, &info->cmdline, err);
	free(s);
	return rc;
}

/* Reads the modules in behind `end`, and lists them. */
static int put_modules(struct boot_low *low, const struct boot *boot, const struct boot_platform *platform, uint64_t end,
		       struct mb_info *info, struct err *err)
{
	struct mb_module list[BOOT_MAX_MODULES] = { 0 };
	uint64_t gpa = 0;
	int rc = 0;

	/* A kernel that lies below 1 MiB leaves no room behind it. */
	end = max_u64(end, MIB);
	for (size_t i = 0; !rc && i < boot->n_modules; i++) {
		const struct boot_module *m = &boot->module[i];
		uint64_t at = align_up(end, PAGE), size = m->file.size;

		if (size > 4 * GIB || at + size > 4 * GIB || !boot_is_ram(platform, at, size))
			return err_set(err, -ENOMEM,
				       "%s: a module of %ju MiB does not fit behind the kernel at %ju MiB into %ju MiB of memory; "
				       "raise -m", m->file.path, (uintmax_t)((size + MIB - 1) / MIB), (uintmax_t)(at / MIB),
				       (uintmax_t)(gm_size(platform->mem) / MIB));
		end = at + size;
		list[i].start = le32_of((uint32_t)at);
		list[i].end = le32_of((uint32_t)end);
		rc = boot_file_read(&m->file, gm_map(platform->mem, at, size), size, 0, err);
		if (!rc)
			rc = put_string(low, m->text, &list[i].string, err);
	}
	if (!rc)
		rc = boot_low_put(low, list, boot->n_modules * sizeof(list[0]), 16, &gpa, err);
	info->mods_count = le32_of((uint32_t)boot->n_modules);
	info->mods_addr = le32_of((uint32_t)gpa);
	return rc;
}

static int put_mmap(struct boot_low *low, const struct boot_platform *platform, struct mb_info *info, struct err *err)
{
	struct mb_mmap map[MAP_MAX];
	size_t n = min_u64(platform->map_n, MAP_MAX);
	uint64_t gpa = 0;
	int rc;

	for (size_t i = 0; i < n; i++)
		map[i] = (struct mb_mmap){ le32_of(sizeof(map[i]) - sizeof(map[i].size)), le64_of(platform->map[i].base),
					   le64_of(platform->map[i].size), le32_of(platform->map[i].type) };
	rc = boot_low_put(low, map, n * sizeof(map[0]), 16, &gpa, err);
	info->mmap_addr = le32_of((uint32_t)gpa);
	info->mmap_length = le32_of((uint32_t)(n * sizeof(map[0])));
	return rc;
}

static int put_info(const struct boot *boot, const struct boot_platform *platform, uint64_t end, struct boot_entry *entry,
		    struct err *err)
{
	uint64_t upper = boot_ram_end(platform, MIB);
	struct mb_info info = {
		.flags = le32_of(INFO_MEMORY | INFO_CMDLINE | INFO_MODS | INFO_MMAP | INFO_LOADER_NAME),
		.mem_lower = le32_of((uint32_t)min_u64(boot_ram_end(platform, 0) / KIB, 640)),
		.mem_upper = le32_of((uint32_t)(upper ? min_u64((upper - MIB) / KIB, UINT32_MAX) : 0)),
	};
	struct boot_low low;
	int rc;

	rc = boot_low_init(&low, platform, err);
	if (!rc)
		rc = boot_low_cpu(&low, BOOT_PROT32, entry, err);
	if (!rc)
		rc = put_cmdline(&low, boot, &info, err);
	if (!rc)
		rc = put_string(&low, "kite", &info.boot_loader_name, err);
	if (!rc)
		rc = put_mmap(&low, platform, &info, err);
	if (!rc)
		rc = put_modules(&low, boot, platform, end, &info, err);
	return rc ? rc : boot_low_put(&low, &info, sizeof(info), 16, &entry->rbx, err);
}

static int multiboot_load(const struct boot *boot, const struct boot_platform *platform, struct boot_entry *entry,
			  struct err *err)
{
	uint64_t end = 0;
	int rc;

	rc = kernel_load(boot, platform, &end, err);
	if (!rc)
		rc = put_info(boot, platform, end, entry, err);
	entry->rip = boot->multiboot.entry;
	entry->rax = LOADER_MAGIC;
	return rc;
}

const struct boot_format boot_format_multiboot = { .name = "multiboot", .open = multiboot_open, .load = multiboot_load };
