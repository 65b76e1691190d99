/* SPDX-License-Identifier: MIT */
/*
 * What the multiboot loader says (Multiboot Specification 0.6.96, 3.3), copied before anything else is written: the loader may
 * have put it wherever this image is not.
 */
#include "rt.h"

struct boot_info boot_info;

struct mbi {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr;
	uint32_t drives_length, drives_addr, config_table, loader_name;
};

struct mbi_module {
	uint32_t start, end, string, reserved;
};

struct mbi_map {
	uint32_t size; /* of the rest */
	uint64_t base, length;
	uint32_t type;
} __attribute__((packed));

static void copy_string(char *to, size_t size, uint32_t from)
{
	const char *s = (const char *)(uintptr_t)from;
	size_t i = 0;

	for (; s[i] && i < size - 1; i++)
		to[i] = s[i];
	to[i] = 0;
}

static void copy_map(const struct mbi *mbi)
{
	uint32_t at = 0;

	while (at < mbi->mmap_length && boot_info.map_n < BOOT_MAX_MAP) {
		const struct mbi_map *e = (const struct mbi_map *)(uintptr_t)(mbi->mmap_addr + at);

		boot_info.map[boot_info.map_n].base = e->base;
		boot_info.map[boot_info.map_n].size = e->length;
		boot_info.map[boot_info.map_n++].type = e->type;
		at += e->size + 4;
	}
}

void boot_info_read(void)
{
	const struct mbi *mbi = (const struct mbi *)(uintptr_t)entry_state.ebx;

	if (entry_state.eax != MBI_MAGIC)
		return;
	boot_info.flags = mbi->flags;
	boot_info.mem_lower = mbi->mem_lower;
	boot_info.mem_upper = mbi->mem_upper;
	if (mbi->flags & MBI_CMDLINE)
		copy_string(boot_info.cmdline, sizeof(boot_info.cmdline), mbi->cmdline);
	if (mbi->flags & MBI_LOADER)
		copy_string(boot_info.loader, sizeof(boot_info.loader), mbi->loader_name);
	if (mbi->flags & MBI_MMAP)
		copy_map(mbi);
	if (mbi->flags & MBI_MODS) {
		const struct mbi_module *m = (const struct mbi_module *)(uintptr_t)mbi->mods_addr;

		for (uint32_t i = 0; i < mbi->mods_count && i < BOOT_MAX_MODULES; i++, m++) {
			boot_info.modules[i].start = m->start;
			boot_info.modules[i].end = m->end;
			copy_string(boot_info.modules[i].string, sizeof(boot_info.modules[i].string), m->string);
			boot_info.modules_n++;
		}
	}
}

bool arg_get(const char *key, char *buf, size_t size)
{
	const char *s = boot_info.cmdline;
	size_t n = strlen(key);

	while (*s) {
		while (*s == ' ')
			s++;
		if (!strncmp(s, key, n) && s[n] == '=') {
			size_t i = 0;

			for (s += n + 1; *s && *s != ' ' && i < size - 1; i++)
				buf[i] = *s++;
			buf[i] = 0;
			return true;
		}
		while (*s && *s != ' ')
			s++;
	}
	return false;
}

bool arg_is(const char *key, const char *value)
{
	char buf[64];

	return arg_get(key, buf, sizeof(buf)) && strlen(buf) == strlen(value) && !strncmp(buf, value, sizeof(buf));
}

uint64_t arg_u64(const char *key, uint64_t otherwise)
{
	char buf[24];
	uint64_t v = 0;

	if (!arg_get(key, buf, sizeof(buf)))
		return otherwise;
	for (const char *s = buf; *s >= '0' && *s <= '9'; s++)
		v = v * 10 + (uint64_t)(*s - '0');
	return v;
}

bool vmm_is_qemu(void)
{
	return arg_is("vmm", "qemu");
}

__attribute__((weak)) void payload_early(void)
{
}

void rt_main(void);
void rt_main(void)
{
	boot_info_read();
	payload_early();
	console_init();
	trap_init();
	pic_init();
	ioapic_init();
	lapic_init();
	payload_main();
	test_done();
}
