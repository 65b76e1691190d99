/* SPDX-License-Identifier: MIT */
/* Finding and reading firmware images, and other files whole. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "firmware/rom.h"
#include "tests/unit/fake_firmware.h"
#include "vmm/err.h"
#include "vmm/file_load.h"
#include "vmm/util.h"

static struct fake_dir dir;
static struct rom rom;
static struct err err;

static void setup(void)
{
	fake_dir_make(&dir);
}

static void teardown(void)
{
	rom_fini(&rom);
	fake_dir_remove(&dir);
}

static void make(const char *name, size_t size)
{
	fake_write(name, 0, "", 0);
	ck_assert_int_eq(truncate(name, (off_t)size), 0);
	if (size)
		fake_write(name, size - 1, "E", 1);
}

START_TEST(found)
{
	char *dirs[] = { dir.path };
	const struct rom_search none = { .n_dirs = 0 }, search = { .dirs = dirs, .n_dirs = 1 };

	make("my.bin", 128 * KIB);
	ck_assert_msg(rom_open_bios(&rom, "my.bin", &none, &err) == 0, "%s", err.msg); /* here */
	ck_assert_uint_eq(rom.size, 128 * KIB);
	ck_assert_uint_eq(rom.mapped, 128 * KIB);
	ck_assert_uint_eq(rom.data[128 * KIB - 1], 'E');
	ck_assert_uint_eq((uintptr_t)rom.data % 4096, 0);
	rom_fini(&rom);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rom_open_bios(&rom, "my.bin", &none, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.msg, "there is no firmware my.bin"));
	ck_assert_int_eq(rom_open_bios(&rom, "./my.bin", &search, &err), -ENOENT); /* a path is where it says */
	ck_assert_msg(rom_open_bios(&rom, "my.bin", &search, &err) == 0, "%s", err.msg);
	rom_fini(&rom);
	ck_assert_int_eq(chdir(dir.path), 0);
}
END_TEST

/* An expansion ROM of a length that is no whole page is zeroes behind it. */
START_TEST(option)
{
	const struct rom_search none = { .n_dirs = 0 };

	make("o.rom", 5 * 512);
	ck_assert_msg(rom_open_option(&rom, "o.rom", NULL, &none, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(rom.size, 2560);
	ck_assert_uint_eq(rom.mapped, 4096);
	ck_assert_uint_eq(rom.data[2560], 0);
	rom_fini(&rom);
	ck_assert_int_eq(rom_open_option(&rom, "gone.rom", "ipxe-qemu", &none, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.msg, "install the package ipxe-qemu"));
}
END_TEST

START_TEST(bad)
{
	const struct rom_search none = { .n_dirs = 0 };
	static const size_t sizes[] = { 0, 1, 65535, 65537, 16 * MIB + 64 * KIB };
	static const size_t option_sizes[] = { 0, 511, 513 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		unlink("b");
		make("b", sizes[i]);
		ck_assert_int_eq(rom_open_bios(&rom, "b", &none, &err), -EINVAL);
		ck_assert_msg(strstr(err.msg, "firmware b: its size") != NULL, "%s", err.msg);
		ck_assert_ptr_null(rom.data);
		rom_fini(&rom);
	}
	for (size_t i = 0; i < ARRAY_SIZE(option_sizes); i++) {
		unlink("b");
		make("b", option_sizes[i]);
		ck_assert_int_eq(rom_open_option(&rom, "b", NULL, &none, &err), -EINVAL);
		rom_fini(&rom);
	}
	unlink("b");
	ck_assert_int_eq(mkfifo("b", 0600), 0);
	ck_assert_int_eq(rom_open_bios(&rom, "b", &none, &err), -EINVAL); /* and does not hang */
	rom_fini(&rom);
	ck_assert_int_eq(rom_open_bios(&rom, ".", &none, &err), -EINVAL);
}
END_TEST

START_TEST(whole_files)
{
	uint8_t *data;
	size_t size;

	make("f", 1000);
	ck_assert_int_eq(file_load("-x", "f", 1000, &data, &size, &err), 0);
	ck_assert_uint_eq(size, 1000);
	ck_assert_uint_eq(data[999], 'E');
	free(data);
	ck_assert_int_eq(file_load("-x", "f", 999, &data, &size, &err), -E2BIG);
	ck_assert_ptr_null(data);
	ck_assert_ptr_nonnull(strstr(err.msg, "-x: f has 1000 bytes"));
	make("e", 0);
	ck_assert_int_eq(file_load("-x", "e", 10, &data, &size, &err), 0);
	ck_assert_uint_eq(size, 0);
	ck_assert_ptr_nonnull(data);
	free(data);
	ck_assert_int_eq(file_load("-x", "gone", 10, &data, &size, &err), -ENOENT);
	ck_assert_int_eq(file_load("-x", ".", 10, &data, &size, &err), -EINVAL);
	ck_assert_int_eq(mkfifo("p", 0600), 0);
	ck_assert_int_eq(file_load("-x", "p", 10, &data, &size, &err), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rom");
	TCase *tc = tcase_create("rom");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, found);
	tcase_add_test(tc, option);
	tcase_add_test(tc, bad);
	tcase_add_test(tc, whole_files);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
