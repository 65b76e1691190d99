/* SPDX-License-Identifier: MIT */
/* Where the parts of a direct kernel boot go in guest memory, and the words for when they do not fit. */
#include <errno.h>
#include <string.h>

#include "firmware/boot_priv.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/util.h"

#define PAGE UINT64_C(4096)

uint64_t boot_ram_end(const struct boot_platform *platform, uint64_t base)
{
	for (size_t i = 0; i < platform->map_n; i++) {
		const struct boot_map_entry *e = &platform->map[i];

		if (e->type == BOOT_MAP_RAM && base >= e->base && base - e->base < e->size)
			return e->base + e->size;
	}
	return 0;
}

bool boot_is_ram(const struct boot_platform *platform, uint64_t base, uint64_t len)
{
	uint64_t end = boot_ram_end(platform, base);

	return end && len <= end - base && gm_map(platform->mem, base, len);
}

/* Bytes that are neither low memory nor offered to the kernel, such as tables at the top of RAM: -m must cover them too. */
static uint64_t low_ram_slack(const struct boot_platform *platform)
{
	uint64_t end = boot_ram_end(platform, MIB);
	uint64_t ram = gm_size(platform->mem);

	return end && end < ram ? ram - end : 0;
}

static bool has_high_ram(const struct boot_platform *platform)
{
	for (size_t i = 0; i < gm_region_count(platform->mem); i++)
		if (gm_region_at(platform->mem, i)->gpa >= 4 * GIB)
			return true;
	return false;
}

/* The -m, in MiB, with which RAM reaches `end`; 0 when none would do it, because the address is no RAM on any such machine. */
static uint64_t needed_mib(const struct boot_platform *platform, uint64_t end)
{
	uint64_t need = end + low_ram_slack(platform);

	if (has_high_ram(platform) || end > 3 * GIB || need <= gm_size(platform->mem))
		return 0;
	return (need + MIB - 1) / MIB;
}

int boot_check_place(const struct boot *boot, const struct boot_platform *platform, const char *what, uint64_t base,
		     uint64_t len, struct err *err)
{
	uint64_t end, mib;

	if (!add_u64(base, len, &end))
		return err_set(err, -EINVAL, "%s: its %s at %#jx goes past the last address", boot->kernel.path, what,
			       (uintmax_t)base);
	if (base < BOOT_LOW_END && end > BOOT_LOW_BASE)
		return err_set(err, -EINVAL, "%s: its %s wants addresses %#jx to %#jx; Kite needs %#jx to %#jx for itself",
			       boot->kernel.path, what, (uintmax_t)base, (uintmax_t)end, (uintmax_t)BOOT_LOW_BASE,
			       (uintmax_t)BOOT_LOW_END);
	if (boot_is_ram(platform, base, len))
		return 0;
	mib = needed_mib(platform, end);
	if (mib)
		return err_set(err, -ENOMEM, "%s: its %s needs memory up to %ju MiB, and the guest has %ju MiB; use -m %ju or more",
			       boot->kernel.path, what, (uintmax_t)((end + MIB - 1) / MIB),
			       (uintmax_t)(gm_size(platform->mem) / MIB), (uintmax_t)mib);
	return err_set(err, -ENOMEM, "%s: its %s wants addresses %#jx to %#jx, which are not all RAM on this machine",
		       boot->kernel.path, what, (uintmax_t)base, (uintmax_t)end);
}

int boot_check_elf(const struct boot *boot, const struct boot_platform *platform, const struct elf_image *img, struct err *err)
{
	for (size_t i = 0; i < img->n; i++) {
		int rc = boot_check_place(boot, platform, "ELF segment", img->segment[i].paddr, img->segment[i].memsz, err);

		if (rc)
			return rc;
	}
	return 0;
}

/* The highest page in [lo, hi) at which `size` bytes fit; 0: none. Nothing is placed at 0. */
static uint64_t highest(uint64_t lo, uint64_t hi, uint64_t size)
{
	uint64_t base;

	if (hi < size)
		return 0;
	base = align_down(hi - size, PAGE);
	return base >= lo ? base : 0;
}

static uint64_t find_high(const struct boot_platform *platform, uint64_t kernel_lo, uint64_t kernel_hi, uint64_t limit,
			  uint64_t size)
{
	uint64_t best = 0;

	for (size_t i = 0; i < platform->map_n; i++) {
		const struct boot_map_entry *e = &platform->map[i];
		uint64_t lo = max_u64(e->base, MIB), hi = min_u64(e->base + e->size, limit), at;

		if (e->type != BOOT_MAP_RAM || hi <= lo)
			continue;
		/* Above the kernel, else below it. */
		at = highest(max_u64(lo, kernel_hi), hi, size);
		if (!at)
			at = highest(lo, min_u64(hi, kernel_lo), size);
		if (at && boot_is_ram(platform, at, size))
			best = max_u64(best, at);
	}
	return best;
}

static int initrd_error(const struct boot_file *file, const struct boot_platform *platform, uint64_t kernel_lo,
			uint64_t kernel_hi, uint64_t limit, struct err *err)
{
	uint64_t mib = 0, end;

	if (add_u64(kernel_hi, align_up(min_u64(file->size, 4 * GIB), PAGE), &end) && end <= limit)
		mib = needed_mib(platform, end);
	if (mib)
		return err_set(err, -ENOMEM,
			       "%s: an initrd of %ju MiB does not fit beside a kernel of %ju MiB into %ju MiB of memory; "
			       "use -m %ju or more", file->path, (uintmax_t)((file->size + MIB - 1) / MIB),
			       (uintmax_t)((kernel_hi - kernel_lo + MIB - 1) / MIB), (uintmax_t)(gm_size(platform->mem) / MIB),
			       (uintmax_t)mib);
	return err_set(err, -EFBIG,
		       "%s: an initrd of %ju MiB does not fit: the kernel ends at %ju MiB, and its initrd must end at %ju MiB", file->path,
		       (uintmax_t)((file->size + MIB - 1) / MIB), (uintmax_t)(kernel_hi / MIB), (uintmax_t)(limit / MIB));
}

int boot_place_initrd(const struct boot *boot, const struct boot_platform *platform, uint64_t kernel_lo, uint64_t kernel_hi,
		      uint64_t last, struct boot_span *out, struct err *err)
{
	uint64_t limit = min_u64(last, 4 * GIB - 1) + 1;
	const struct boot_file *file;
	uint64_t at;

	*out = (struct boot_span){ 0 };
	if (boot->n_modules == 0)
		return 0;
	file = &boot->module[0].file;
	at = find_high(platform, kernel_lo, kernel_hi, limit, file->size);
	if (!at)
		return initrd_error(file, platform, kernel_lo, kernel_hi, limit, err);
	*out = (struct boot_span){ .base = at, .size = file->size };
	return boot_file_read(file, gm_map(platform->mem, at, file->size), file->size, 0, err);
}

int boot_low_init(struct boot_low *low, const struct boot_platform *platform, struct err *err)
{
	*low = (struct boot_low){ .mem = platform->mem, .next = BOOT_LOW_BASE };
	if (!boot_is_ram(platform, BOOT_LOW_BASE, BOOT_LOW_END - BOOT_LOW_BASE))
		return err_set(err, -ENOMEM, "kernel boot: the machine has no RAM at %#jx to %#jx", (uintmax_t)BOOT_LOW_BASE,
			       (uintmax_t)BOOT_LOW_END);
	return 0;
}

int boot_low_alloc(struct boot_low *low, uint64_t len, uint64_t align, uint64_t *gpa, struct err *err)
{
	uint64_t at = align_up(low->next, align);

	if (at > BOOT_LOW_END || len > BOOT_LOW_END - at)
		return err_set(err, -ENOSPC, "kernel boot: command lines and modules need more than the %ju KiB there are for them",
			       (uintmax_t)((BOOT_LOW_END - BOOT_LOW_BASE) / KIB));
	low->next = at + len;
	*gpa = at;
	return 0;
}

int boot_low_put(struct boot_low *low, const void *data, uint64_t len, uint64_t align, uint64_t *gpa, struct err *err)
{
	int rc = boot_low_alloc(low, len, align, gpa, err);

	if (!rc)
		gm_write(low->mem, *gpa, data, len);
	return rc;
}

/* Intel SDM volume 3, 3.4.5: flat segments, present, ring 0, already marked as accessed. */
#define GDT_CODE64 UINT64_C(0x00af9b000000ffff)
#define GDT_CODE32 UINT64_C(0x00cf9b000000ffff)
#define GDT_DATA UINT64_C(0x00cf93000000ffff)

static const uint64_t gdt_long64[] = { 0, 0, GDT_CODE64, GDT_DATA };
static const uint64_t gdt_prot32[] = { 0, GDT_CODE32, GDT_DATA };

/* Intel SDM volume 3, 4.5: one level 4 entry, four of level 3, 4 * 512 pages of 2 MiB. Present, writable, accessed, dirty. */
#define PTE_TABLE UINT64_C(0x23)
#define PTE_PAGE_2M UINT64_C(0xe3)

static int put_page_tables(struct boot_low *low, uint64_t *cr3, struct err *err)
{
	uint64_t table[512] = { 0 }, base = 0;
	int rc = boot_low_alloc(low, 6 * PAGE, PAGE, &base, err);

	if (rc)
		return rc;
	table[0] = (base + PAGE) | PTE_TABLE;
	gm_write(low->mem, base, table, sizeof(table));
	for (uint64_t i = 0; i < 4; i++)
		table[i] = (base + (2 + i) * PAGE) | PTE_TABLE;
	gm_write(low->mem, base + PAGE, table, sizeof(table));
	for (uint64_t i = 0; i < 4; i++) {
		for (uint64_t j = 0; j < ARRAY_SIZE(table); j++)
			table[j] = (i * GIB + j * 2 * MIB) | PTE_PAGE_2M;
		gm_write(low->mem, base + (2 + i) * PAGE, table, sizeof(table));
	}
	*cr3 = base;
	return 0;
}

int boot_low_cpu(struct boot_low *low, enum boot_mode mode, struct boot_entry *entry, struct err *err)
{
	const uint64_t *gdt = mode == BOOT_LONG64 ? gdt_long64 : gdt_prot32;
	size_t len = mode == BOOT_LONG64 ? sizeof(gdt_long64) : sizeof(gdt_prot32);
	uint64_t stack = 0;
	int rc;

	entry->mode = mode;
	entry->gdt_limit = (uint16_t)(len - 1);
	rc = boot_low_put(low, gdt, len, 16, &entry->gdt_base, err);
	if (!rc && mode == BOOT_LONG64)
		rc = put_page_tables(low, &entry->cr3, err);
	/* The protocols promise none, but a kernel that calls before it sets one up does no harm with it. */
	if (!rc)
		rc = boot_low_alloc(low, PAGE, PAGE, &stack, err);
	if (!rc)
		entry->rsp = stack + PAGE;
	return rc;
}
