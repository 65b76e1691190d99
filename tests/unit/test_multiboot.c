/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/boot.h"
#include "tests/unit/fake_boot.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/util.h"

#define HEADER 0x800 /* of the multiboot header, in the file */
#define SIZE 0x4000
#define LOAD UINT64_C(0x200000)

static const struct fake_segment segments[] = {
	{ .offset = 0x1000, .vaddr = 0xc0200000, .paddr = LOAD, .filesz = 0x2000, .memsz = 0x2800 },
};
static const struct fake_elf elf32 = { .elf32 = true, .entry = 0xc0200010, .segment = segments, .n = 1, .size = SIZE };

static struct fake_machine m;
static struct fake_file kernel, mod[2];
static struct boot_entry entry;
static struct err err;
static uint8_t *data;

static void setup(void)
{
	uint8_t bytes[6000];

	fake_machine_init(&m, 16 * MIB, 64 * KIB);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = fake_byte(i);
	fake_file_init(&mod[0], bytes, 5000);
	fake_file_init(&mod[1], bytes + 1000, 4096);
	kernel.fd = -1;
	data = fake_elf(&elf32);
	err = (struct err)ERR_INIT;
}

static void teardown(void)
{
	fake_file_fini(&kernel);
	fake_file_fini(&mod[0]);
	fake_file_fini(&mod[1]);
	fake_machine_fini(&m);
	free(data);
}

static void use_elf(const struct fake_elf *e)
{
	free(data);
	data = fake_elf(e);
}

static void put_header(size_t at, uint32_t flags)
{
	store_le32(data + at, 0x1BADB002);
	store_le32(data + at + 4, flags);
	store_le32(data + at + 8, 0u - 0x1BADB002 - flags);
}

static void put_kludge(uint32_t flags, uint32_t header, uint32_t load, uint32_t load_end, uint32_t bss_end, uint32_t start)
{
	const uint32_t v[] = { header, load, load_end, bss_end, start };

	put_header(HEADER, flags | 0x10000);
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		store_le32(data + HEADER + 12 + 4 * i, v[i]);
}

static struct boot *open_kernel(const char *initrd, const char *append)
{
	fake_file_fini(&kernel);
	fake_file_init(&kernel, data, SIZE);
	return boot_open(kernel.path, initrd, append, &err);
}

static void load_ok(const char *initrd, const char *append)
{
	struct boot *boot = open_kernel(initrd, append);

	ck_assert_msg(boot != NULL, "%s", err.msg);
	ck_assert_msg(boot_load(boot, &m.platform, &entry, &err) == 0, "%s", err.msg);
	boot_close(boot);
	ck_assert_int_eq(entry.mode, BOOT_PROT32);
	ck_assert_uint_eq(entry.rax, 0x2BADB002);
}

static void has_words(const char *words)
{
	ck_assert_msg(strstr(err.msg, words) != NULL, "'%s' lacks '%s'", err.msg, words);
	err = (struct err)ERR_INIT;
}

static void refuse_open(const char *initrd, const char *words)
{
	ck_assert_ptr_null(open_kernel(initrd, NULL));
	has_words(words);
}

static void refuse_load(const char *initrd, const char *words)
{
	struct boot *boot = open_kernel(initrd, NULL);

	ck_assert_msg(boot != NULL, "%s", err.msg);
	ck_assert_int_lt(boot_load(boot, &m.platform, &entry, &err), 0);
	boot_close(boot);
	has_words(words);
}

START_TEST(info)
{
	char cmdline[128];
	uint64_t mbi, map;

	put_header(HEADER, 3);
	load_ok(NULL, "a b");
	ck_assert_uint_eq(entry.rip, LOAD + 0x10);
	ck_assert(fake_placed(&m, LOAD, 0x1000, 0x2000));
	mbi = entry.rbx;
	ck_assert_uint_eq(fake_r32(&m, mbi), 0x24d);
	ck_assert_uint_eq(fake_r32(&m, mbi + 4), 639);
	ck_assert_uint_eq(fake_r32(&m, mbi + 8), (15 * MIB - 64 * KIB) / KIB);
	snprintf(cmdline, sizeof(cmdline), "%s a b", kernel.path);
	ck_assert_str_eq(fake_str(&m, fake_r32(&m, mbi + 16)), cmdline);
	ck_assert_uint_eq(fake_r32(&m, mbi + 20), 0);
	ck_assert_str_eq(fake_str(&m, fake_r32(&m, mbi + 64)), "kite");
	ck_assert_uint_eq(fake_r32(&m, mbi + 44), 4 * 24);
	map = fake_r32(&m, mbi + 48);
	for (uint64_t i = 0; i < 4; i++, map += 24) {
		ck_assert_uint_eq(fake_r32(&m, map), 20);
		ck_assert_uint_eq(fake_r64(&m, map + 4), m.map[i].base);
		ck_assert_uint_eq(fake_r64(&m, map + 12), m.map[i].size);
		ck_assert_uint_eq(fake_r32(&m, map + 20), m.map[i].type);
	}
	/* Nothing appended: no trailing space. */
	load_ok(NULL, NULL);
	ck_assert_str_eq(fake_str(&m, fake_r32(&m, entry.rbx + 16)), kernel.path);
}
END_TEST

START_TEST(modules)
{
	char initrd[256], text[128];
	uint64_t list, start;

	put_header(HEADER, 1);
	snprintf(initrd, sizeof(initrd), "%s one x=1,,2,%s", mod[0].path, mod[1].path);
	load_ok(initrd, NULL);
	ck_assert_uint_eq(fake_r32(&m, entry.rbx + 20), 2);
	list = fake_r32(&m, entry.rbx + 24);
	start = fake_r32(&m, list);
	/* Behind the kernel's last page. */
	ck_assert_uint_eq(start, LOAD + 0x3000);
	ck_assert_uint_eq(fake_r32(&m, list + 4), start + 5000);
	ck_assert(fake_placed(&m, start, 0, 5000));
	snprintf(text, sizeof(text), "%s one x=1,2", mod[0].path);
	ck_assert_str_eq(fake_str(&m, fake_r32(&m, list + 8)), text);
	ck_assert_uint_eq(fake_r32(&m, list + 12), 0);
	ck_assert_uint_eq(fake_r32(&m, list + 16), start + 8192);
	ck_assert_uint_eq(fake_r32(&m, list + 20), start + 8192 + 4096);
	ck_assert(fake_placed(&m, start + 8192, 1000, 4096));
	ck_assert_str_eq(fake_str(&m, fake_r32(&m, list + 24)), mod[1].path);
}
END_TEST

START_TEST(bad_modules)
{
	char many[70 * 64] = "";
	struct fake_file large;
	uint8_t *big = calloc(1, 14 * MIB);

	put_header(HEADER, 0);
	refuse_open("/nonexistent/m", "cannot open module /nonexistent/m: No such file");
	refuse_open("", "without a file name");
	refuse_open(",/x", "without a file name");
	for (int i = 0; i < 65; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), "%s%s", i ? "," : "", mod[0].path);
	refuse_open(many, "more than 64 modules");
	fake_file_init(&large, big, 14 * MIB);
	refuse_load(large.path, "a module of 14 MiB does not fit behind the kernel at 2 MiB into 16 MiB of memory; raise -m");
	fake_file_fini(&large);
	free(big);
}
END_TEST

START_TEST(kludge)
{
	uint32_t base = 0x300000;

	/* The file from 0x400 on, to 0x3000, and memory behind it; with garbage there before. */
	gm_fill(m.mem, MIB, 0xaa, 10 * MIB);
	put_kludge(0, base + 0x400, base, base + 0x2c00, base + 0x8000, base + 0x1234);
	memset(data, 0, 4); /* not ELF */
	load_ok(NULL, NULL);
	ck_assert_uint_eq(entry.rip, base + 0x1234);
	ck_assert(fake_placed(&m, base + 0x420, HEADER + 0x20, 0x2c00 - 0x420));
	for (uint64_t a = base + 0x2c00; a < base + 0x8000; a += 8)
		ck_assert_uint_eq(fake_r64(&m, a), 0);
	ck_assert_uint_eq(fake_r32(&m, base + 0x8000), 0xaaaaaaaa);
	/* All of the file, no bss. */
	put_kludge(0, base + HEADER, base, 0, 0, base);
	load_ok(NULL, NULL);
	ck_assert(fake_placed(&m, base + 0x1000, 0x1000, SIZE - 0x1000));
	ck_assert_uint_eq(fake_r32(&m, base + SIZE), 0);
}
END_TEST

START_TEST(bad_kludge)
{
	uint32_t base = 0x300000;

	put_kludge(0, base, base + 4, 0, 0, base);
	refuse_open(NULL, "does not suit the header");
	put_kludge(0, base + HEADER + 1, base, 0, 0, base);
	refuse_open(NULL, "does not suit the header");
	put_kludge(0, base, base, base - 1, 0, base);
	refuse_open(NULL, "not all in the file");
	put_kludge(0, base, base, base + SIZE - HEADER + 1, 0, base);
	refuse_open(NULL, "not all in the file");
	put_kludge(0, base, base, 0, 0, base - 1);
	refuse_open(NULL, "entry point 0x2fffff");
	put_kludge(0, base, base, 0, 0, base + SIZE);
	refuse_open(NULL, "entry point");
	put_kludge(0, base, base, 0, 0xf0000000, base);
	refuse_load(NULL, "its image");
	put_kludge(0, 0xfffff000, 0xfffff000, 0, 0, 0xfffff000);
	refuse_load(NULL, "its image");
	put_kludge(0, 0x80000, 0x80000, 0, 0, 0x80000);
	refuse_load(NULL, "for itself");
	/* A header at the very end of where headers may lie. */
	memset(data + HEADER, 0, 12);
	put_header(8192 - 12, 0x10000);
	refuse_open(NULL, "header goes past the end");
	/* One byte further is none. */
	memset(data + 8180, 0, 12);
	put_header(8184, 0x10000);
	refuse_open(NULL, "neither a multiboot header");
}
END_TEST

START_TEST(flags)
{
	put_header(HEADER, 4);
	refuse_open(NULL, "requires a video mode (flag bit 2)");
	put_header(HEADER, 0x8010 | 3);
	refuse_open(NULL, "does not know (flags 0x8010)");
	/* Bits from 16 on are optional. */
	put_header(HEADER, 0xfffe0003);
	load_ok(NULL, NULL);
	/* A wrong checksum: no header, and then no kernel. */
	data[HEADER + 8]++;
	refuse_open(NULL, "neither a multiboot header");
	put_header(HEADER + 2, 0);
	refuse_open(NULL, "neither a multiboot header");
}
END_TEST

START_TEST(elf_kinds)
{
	struct fake_elf e = elf32;

	e.elf32 = false;
	use_elf(&e);
	put_header(HEADER, 0);
	refuse_open(NULL, "objcopy -O elf32-i386");
	/* With a PVH note there is another way in. */
	e.pvh_size = 4;
	e.pvh_entry = LOAD;
	use_elf(&e);
	put_header(HEADER, 0);
	fake_file_init(&kernel, data, SIZE);
	struct boot *boot = boot_open(kernel.path, NULL, NULL, &err);
	ck_assert_msg(boot != NULL, "%s", err.msg);
	ck_assert_int_eq(boot_load(boot, &m.platform, &entry, &err), 0);
	ck_assert_uint_eq(entry.rip, LOAD);
	ck_assert_uint_eq(entry.rax, 0);
	boot_close(boot);
	use_elf(&elf32);
	put_header(HEADER, 0);
	data[0] = 0;
	refuse_open(NULL, "is no ELF file");
	use_elf(&elf32);
	put_header(HEADER, 0);
	store_le32(data + 24, 0);
	refuse_open(NULL, "entry point");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("multiboot");
	TCase *tc = tcase_create("multiboot");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, info);
	tcase_add_test(tc, modules);
	tcase_add_test(tc, bad_modules);
	tcase_add_test(tc, kludge);
	tcase_add_test(tc, bad_kludge);
	tcase_add_test(tc, flags);
	tcase_add_test(tc, elf_kinds);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
