/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/boot.h"
#include "tests/unit/fake_boot.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/util.h"

static const struct fake_segment segments[] = {
	{ .offset = 0x1000, .vaddr = 0xffffffff81000000, .paddr = 0x1000000, .filesz = 0x3000, .memsz = 0x8000 },
};
static const struct fake_elf vmlinux = { .entry = 0x1000000, .segment = segments, .n = 1, .size = 0x4000, .pvh_size = 4,
					 .pvh_entry = 0x1000850 };

static struct fake_machine m;
static struct fake_file kernel, initrd;
static struct boot_entry entry;
static struct err err;

static void setup(void)
{
	uint8_t data[5000];

	fake_machine_init(&m, 64 * MIB, 64 * KIB);
	kernel.fd = -1;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = fake_byte(i);
	fake_file_init(&initrd, data, sizeof(data));
	err = (struct err)ERR_INIT;
}

static void teardown(void)
{
	fake_file_fini(&kernel);
	fake_file_fini(&initrd);
	fake_machine_fini(&m);
}

static struct boot *open_elf(const struct fake_elf *e, const char *with_initrd, const char *append)
{
	uint8_t *elf = fake_elf(e);

	fake_file_fini(&kernel);
	fake_file_init(&kernel, elf, e->size);
	free(elf);
	return boot_open(kernel.path, with_initrd, append, &err);
}

static void load_ok(const struct fake_elf *e, const char *with_initrd, const char *append)
{
	struct boot *boot = open_elf(e, with_initrd, append);

	ck_assert_msg(boot != NULL, "%s", err.msg);
	ck_assert_msg(boot_load(boot, &m.platform, &entry, &err) == 0, "%s", err.msg);
	boot_close(boot);
}

static void refuse_open(const struct fake_elf *e, const char *append, const char *words)
{
	ck_assert_ptr_null(open_elf(e, NULL, append));
	ck_assert_msg(strstr(err.msg, words) != NULL, "'%s' lacks '%s'", err.msg, words);
}

START_TEST(start_info)
{
	uint64_t si, map, mod;

	load_ok(&vmlinux, initrd.path, "console=hvc0");
	ck_assert_int_eq(entry.mode, BOOT_PROT32);
	ck_assert_uint_eq(entry.rip, 0x1000850);
	ck_assert_uint_eq(entry.rax | entry.rsi | entry.cr3, 0);
	ck_assert(fake_placed(&m, 0x1000000, 0x1000, 0x3000));
	si = entry.rbx;
	ck_assert(si >= 0x1000 && si < 0x9f000);
	ck_assert_uint_eq(fake_r32(&m, si), 0x336ec578);
	ck_assert_uint_eq(fake_r32(&m, si + 4), 1);
	ck_assert_uint_eq(fake_r32(&m, si + 8), 0);
	ck_assert_uint_eq(fake_r32(&m, si + 12), 1);
	ck_assert_str_eq(fake_str(&m, fake_r64(&m, si + 24)), "console=hvc0");
	ck_assert_uint_eq(fake_r64(&m, si + 32), FAKE_RSDP);
	mod = fake_r64(&m, si + 16);
	ck_assert_uint_eq(fake_r64(&m, mod + 8), 5000);
	ck_assert(fake_placed(&m, fake_r64(&m, mod), 0, 5000));
	ck_assert_uint_eq(fake_r64(&m, mod) % 4096, 0);
	map = fake_r64(&m, si + 40);
	ck_assert_uint_eq(fake_r32(&m, si + 48), 4);
	for (uint64_t i = 0; i < 4; i++) {
		ck_assert_uint_eq(fake_r64(&m, map + i * 24), m.map[i].base);
		ck_assert_uint_eq(fake_r64(&m, map + i * 24 + 8), m.map[i].size);
		ck_assert_uint_eq(fake_r64(&m, map + i * 24 + 16), m.map[i].type);
	}
}
END_TEST

START_TEST(segments_of_the_gdt)
{
	load_ok(&vmlinux, NULL, NULL);
	ck_assert_uint_eq(entry.gdt_limit, 23);
	ck_assert_uint_eq(fake_r64(&m, entry.gdt_base + 8), 0x00cf9b000000ffff);
	ck_assert_uint_eq(fake_r64(&m, entry.gdt_base + 16), 0x00cf93000000ffff);
	/* No initrd: no module. */
	ck_assert_uint_eq(fake_r32(&m, entry.rbx + 12), 0);
	ck_assert_uint_eq(fake_r64(&m, entry.rbx + 16), 0);
	ck_assert_str_eq(fake_str(&m, fake_r64(&m, entry.rbx + 24)), "");
}
END_TEST

START_TEST(elf32)
{
	const struct fake_segment s = { 0x1000, 0x100000, 0x100000, 0x1000, 0x1000 };
	struct fake_elf e = { .elf32 = true, .entry = 0x100000, .segment = &s, .n = 1, .size = 0x4000, .pvh_size = 4,
			      .pvh_entry = 0x100010 };

	load_ok(&e, NULL, NULL);
	ck_assert_uint_eq(entry.rip, 0x100010);
	ck_assert_int_eq(entry.mode, BOOT_PROT32);
}
END_TEST

START_TEST(refused)
{
	struct fake_elf e = vmlinux;
	char line[2049];
	struct boot *boot;

	memset(line, 'x', 2048);
	line[2048] = '\0';
	refuse_open(&e, line, "takes at most 2047");
	e.pvh_entry = 0x1008000;
	refuse_open(&e, NULL, "PVH entry point 0x1008000 is in no loaded segment");
	e.pvh_size = 8;
	e.pvh_entry = 0x101000850;
	refuse_open(&e, NULL, "PVH entry point 0x101000850");
	fake_machine_fini(&m);
	fake_machine_init(&m, 16 * MIB, 0);
	boot = open_elf(&vmlinux, NULL, NULL);
	ck_assert_int_lt(boot_load(boot, &m.platform, &entry, &err), 0);
	ck_assert_msg(strstr(err.msg, "use -m 17 or more"), "%s", err.msg);
	boot_close(boot);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pvh");
	TCase *tc = tcase_create("pvh");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, start_info);
	tcase_add_test(tc, segments_of_the_gdt);
	tcase_add_test(tc, elf32);
	tcase_add_test(tc, refused);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
