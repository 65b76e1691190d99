/* SPDX-License-Identifier: MIT */
/*
 * The x86/HVM direct boot ABI of Xen (docs/misc/pvh.pandoc; xen/include/public/arch-x86/hvm/start_info.h): an ELF file, 32- or
 * 64-bit, whose note XEN_ELFNOTE_PHYS32_ENTRY states where to enter it in 32-bit protected mode with paging off. EBX points at
 * hvm_start_info, which points at the command line, the initrd as the only module, the memory map and the RSDP.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "firmware/boot_priv.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define START_MAGIC 0x336ec578u
#define START_VERSION 1 /* with a memory map */
#define PVH_CMDLINE 2047 /* the ABI states no limit; Linux, its main user, keeps this much and cuts the rest off without a word */
#define MAP_MAX 128

struct start_info {
	le32 magic, version, flags, nr_modules;
	le64 modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
	le32 memmap_entries, reserved;
};
static_assert(sizeof(struct start_info) == 56, "start_info.h");

struct modlist_entry {
	le64 paddr, size, cmdline_paddr, reserved;
};
static_assert(sizeof(struct modlist_entry) == 32, "start_info.h");

struct memmap_entry {
	le64 addr, size;
	le32 type, reserved; /* types as those of ACPI */
};
static_assert(sizeof(struct memmap_entry) == 24, "start_info.h");

static int pvh_open(struct boot *boot, struct err *err)
{
	int rc;

	if (!elf_is_elf(boot->head, boot->head_len))
		return 0;
	rc = boot_parse_elf(boot, err);
	if (rc)
		return rc;
	if (!boot->elf.has_pvh)
		return 0;
	if (boot->elf.pvh_entry > UINT32_MAX || !elf_contains(&boot->elf, boot->elf.pvh_entry))
		return err_set(err, -EINVAL, "%s: ELF: the PVH entry point %#jx is in no loaded segment", boot->kernel.path,
			       (uintmax_t)boot->elf.pvh_entry);
	rc = boot_check_append(boot, PVH_CMDLINE, err);
	if (!rc)
		rc = boot_open_initrd(boot, err);
	return rc ? rc : 1;
}

static int put_memmap(struct boot_low *low, const struct boot_platform *platform, struct start_info *si, struct err *err)
{
	struct memmap_entry map[MAP_MAX] = { 0 };
	size_t n = min_u64(platform->map_n, MAP_MAX);
	uint64_t gpa = 0;
	int rc;

	for (size_t i = 0; i < n; i++) {
		map[i].addr = le64_of(platform->map[i].base);
		map[i].size = le64_of(platform->map[i].size);
		map[i].type = le32_of(platform->map[i].type);
	}
	rc = boot_low_put(low, map, n * sizeof(map[0]), 8, &gpa, err);
	si->memmap_paddr = le64_of(gpa);
	si->memmap_entries = le32_of((uint32_t)n);
	return rc;
}

static int put_modules(struct boot_low *low, const struct boot_span *initrd, struct start_info *si, struct err *err)
{
	struct modlist_entry mod = { .paddr = le64_of(initrd->base), .size = le64_of(initrd->size) };
	uint64_t gpa = 0;
	int rc;

	if (!initrd->size)
		return 0;
	rc = boot_low_put(low, &mod, sizeof(mod), 8, &gpa, err);
	si->modlist_paddr = le64_of(gpa);
	si->nr_modules = le32_of(1);
	return rc;
}

static int put_start_info(const struct boot *boot, const struct boot_platform *platform, const struct boot_span *initrd,
			  struct boot_entry *entry, struct err *err)
{
	struct start_info si = { .magic = le32_of(START_MAGIC), .version = le32_of(START_VERSION),
				 .rsdp_paddr = le64_of(platform->rsdp) };
	struct boot_low low;
	uint64_t cmdline = 0;
	int rc;

	rc = boot_low_init(&low, platform, err);
	if (!rc)
		rc = boot_low_cpu(&low, BOOT_PROT32, entry, err);
	if (!rc)
		rc = boot_low_put(&low, boot->append, strlen(boot->append) + 1, 16, &cmdline, err);
	if (!rc)
		rc = put_memmap(&low, platform, &si, err);
	if (!rc)
		rc = put_modules(&low, initrd, &si, err);
	if (rc)
		return rc;
	si.cmdline_paddr = le64_of(cmdline);
	return boot_low_put(&low, &si, sizeof(si), 8, &entry->rbx, err);
}

static int pvh_load(const struct boot *boot, const struct boot_platform *platform, struct boot_entry *entry, struct err *err)
{
	struct elf_source src = { .fd = boot->kernel.fd, .size = boot->kernel.size };
	struct boot_span initrd;
	int rc;

	rc = boot_check_elf(boot, platform, &boot->elf, err);
	if (rc)
		return rc;
	if (elf_load(&boot->elf, &src, platform->mem, err))
		return err_prefix(err, "%s", boot->kernel.path);
	rc = boot_place_initrd(boot, platform, boot->elf.lo, boot->elf.hi, UINT32_MAX, &initrd, err);
	if (rc)
		return rc;
	rc = put_start_info(boot, platform, &initrd, entry, err);
	entry->rip = boot->elf.pvh_entry;
	return rc;
}

const struct boot_format boot_format_pvh = { .name = "ELF with a PVH note", .open = pvh_open, .load = pvh_load };
