/* SPDX-License-Identifier: MIT */
#include "vmm/guest_mem.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/util.h"

#define HUGE_PAGE (2 * MIB)

/* 16 MiB at 0, a hole, 8 MiB at 4 GiB plus a page that is not a multiple of 2 MiB. */
static const struct gm_range ranges[] = { { 0, 16 * MIB }, { 4 * GIB + 4096, 8 * MIB } };

static struct guest_mem *gm;
static struct err err;

static void setup(void)
{
	gm = gm_create(ranges, ARRAY_SIZE(ranges), &err);
	ck_assert_msg(gm != NULL, "%s", err.msg);
}

static void teardown(void)
{
	gm_destroy(gm);
}

static size_t resident(uint8_t *p, size_t len)
{
	size_t pages = len / 4096, n = 0;
	unsigned char *vec = malloc(pages);

	ck_assert_int_eq(mincore(p, len, vec), 0);
	for (size_t i = 0; i < pages; i++)
		n += vec[i] & 1;
	free(vec);
	return n;
}

START_TEST(regions)
{
	ck_assert_uint_eq(gm_region_count(gm), 2);
	ck_assert_uint_eq(gm_size(gm), 24 * MIB);
	for (size_t i = 0; i < 2; i++) {
		const struct gm_region *r = gm_region_at(gm, i);

		ck_assert_uint_eq(r->gpa, ranges[i].gpa);
		ck_assert_uint_eq(r->size, ranges[i].size);
		ck_assert_uint_eq((uintptr_t)r->hva % HUGE_PAGE, r->gpa % HUGE_PAGE);
		ck_assert_ptr_eq(gm_map(gm, r->gpa, r->size), r->hva);
		ck_assert_uint_eq(resident(r->hva, r->size), 0);
	}
	ck_assert_ptr_null(gm_region_at(gm, 2));
}
END_TEST

START_TEST(map_bounds)
{
	ck_assert_ptr_nonnull(gm_map(gm, 16 * MIB - 1, 1));
	ck_assert_ptr_nonnull(gm_map(gm, 5, 0));
	ck_assert_ptr_null(gm_map(gm, 16 * MIB - 1, 2));
	ck_assert_ptr_null(gm_map(gm, 16 * MIB, 1));
	ck_assert_ptr_null(gm_map(gm, 16 * MIB, 0));
	ck_assert_ptr_null(gm_map(gm, 15 * MIB, 4 * GIB));
	ck_assert_ptr_null(gm_map(gm, 4 * GIB, 4097));
	ck_assert_ptr_null(gm_map(gm, 4 * GIB + 4095, 2));
	ck_assert_ptr_nonnull(gm_map(gm, 4 * GIB + 4096 + 8 * MIB - 8, 8));
	ck_assert_ptr_null(gm_map(gm, 4 * GIB + 4096 + 8 * MIB - 8, 9));
	ck_assert_ptr_null(gm_map(gm, UINT64_MAX, 1));
	ck_assert_ptr_null(gm_map(gm, UINT64_MAX, UINT64_MAX));
	ck_assert_ptr_null(gm_map(gm, 4096, UINT64_MAX));
	ck_assert_ptr_null(gm_map(gm, 4096, UINT64_MAX - 4095));
}
END_TEST

START_TEST(copies)
{
	uint8_t in[16], out[16];

	memset(in, 0x5a, sizeof(in));
	ck_assert_int_eq(gm_write(gm, 4 * GIB + 8192, in, sizeof(in)), 0);
	ck_assert_int_eq(gm_read(gm, 4 * GIB + 8192, out, sizeof(out)), 0);
	ck_assert_mem_eq(in, out, sizeof(in));
	memset(out, 1, sizeof(out));
	ck_assert_int_eq(gm_read(gm, 16 * MIB - 8, out, sizeof(out)), -EFAULT);
	ck_assert_uint_eq(out[0], 1);
	ck_assert_int_eq(gm_write(gm, 16 * MIB - 8, in, sizeof(in)), -EFAULT);
	ck_assert_uint_eq(*(uint8_t *)gm_map(gm, 16 * MIB - 8, 1), 0);
	ck_assert_int_eq(gm_write(gm, 16 * MIB - 16, in, sizeof(in)), 0);
	ck_assert_int_eq(gm_read(gm, 0, NULL, 0), 0);
}
END_TEST

START_TEST(fill)
{
	uint8_t *p = gm_map(gm, 0, 16 * MIB), any = 0;

	ck_assert_int_eq(gm_fill(gm, 0, 0xee, 16 * MIB), 0);
	ck_assert_uint_eq(p[16 * MIB - 1], 0xee);
	/* Ragged ends inside, and whole huge pages between. */
	ck_assert_int_eq(gm_fill(gm, MIB + 3, 0, 9 * MIB), 0);
	ck_assert_uint_eq(p[MIB + 2], 0xee);
	for (size_t i = MIB + 3; i < 10 * MIB + 3; i++)
		any |= p[i];
	ck_assert_uint_eq(any, 0);
	ck_assert_uint_eq(p[10 * MIB + 3], 0xee);
	/* A piece within one huge page, and none. */
	ck_assert_int_eq(gm_fill(gm, 12 * MIB + 1, 0, 2), 0);
	ck_assert_int_eq(gm_fill(gm, 13 * MIB, 0, 0), 0);
	ck_assert_uint_eq(p[12 * MIB], 0xee);
	ck_assert_uint_eq(p[12 * MIB + 1] | p[12 * MIB + 2], 0);
	ck_assert_uint_eq(p[12 * MIB + 3], 0xee);
	ck_assert_uint_eq(p[13 * MIB], 0xee);
	ck_assert_int_eq(gm_fill(gm, 15 * MIB, 0, 2 * MIB), -EFAULT);
	ck_assert_uint_eq(p[15 * MIB], 0xee);
}
END_TEST

START_TEST(zeroing_gives_memory_back)
{
	uint8_t *p = gm_map(gm, 0, 16 * MIB);

	gm_fill(gm, 0, 0xee, 16 * MIB);
	gm_fill(gm, 0, 0, 16 * MIB);
	ck_assert_uint_eq(resident(p, 16 * MIB), 0);
}
END_TEST

/* The kernel looks at the page's protection for us: no signal to catch. */
START_TEST(guards)
{
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	for (size_t i = 0; i < 2; i++) {
		const struct gm_region *r = gm_region_at(gm, i);

		ck_assert_int_eq(write(fd[1], r->hva, 1), 1);
		ck_assert_int_eq(write(fd[1], r->hva - 1, 1), -1);
		ck_assert_int_eq(errno, EFAULT);
		ck_assert_int_eq(write(fd[1], r->hva + r->size, 1), -1);
		ck_assert_int_eq(errno, EFAULT);
	}
	close(fd[0]);
	close(fd[1]);
}
END_TEST

static long address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long pages = -1;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%ld", &pages), 1);
	fclose(f);
	return pages;
}

/* What is reserved to align a region is all given back: at once, and in the end. */
START_TEST(address_space_is_given_back)
{
	long before = address_space();

	for (int i = 0; i < 64; i++) {
		setup();
		ck_assert_int_lt(address_space() - before, (24 * MIB + 512 * KIB) / 4096);
		teardown();
	}
	ck_assert_int_lt(address_space() - before, 512 * KIB / 4096);
}
END_TEST

static void refused(const struct gm_range *r, size_t n, int code, const char *words)
{
	struct err e = ERR_INIT;

	ck_assert_ptr_null(gm_create(r, n, &e));
	ck_assert_int_eq(e.code, code);
	ck_assert_msg(strstr(e.msg, words) != NULL, "'%s' lacks '%s'", e.msg, words);
}

START_TEST(bad_ranges)
{
	struct gm_range many[GM_MAX_REGIONS + 1];

	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct gm_range){ i * MIB, 4096 };
	refused(many, ARRAY_SIZE(many), -EINVAL, "9 ranges");
	refused(many, 0, -EINVAL, "0 ranges");
	refused((struct gm_range[]){ { 1, 4096 } }, 1, -EINVAL, "whole pages");
	refused((struct gm_range[]){ { 0, 4097 } }, 1, -EINVAL, "whole pages");
	refused((struct gm_range[]){ { 0, 0 } }, 1, -EINVAL, "empty");
	refused((struct gm_range[]){ { 0, 8192 }, { 4096, 4096 } }, 2, -EINVAL, "overlaps");
	refused((struct gm_range[]){ { 8192, 4096 }, { 0, 4096 } }, 2, -EINVAL, "order");
	refused((struct gm_range[]){ { 0 - UINT64_C(4096), 8192 } }, 1, -EINVAL, "last address");
	ck_assert_ptr_nonnull(gm = gm_create(many, GM_MAX_REGIONS, &err));
	gm_destroy(gm);
	gm_destroy(NULL);
}
END_TEST

START_TEST(too_much)
{
	refused((struct gm_range[]){ { 0, BIT64(47) } }, 1, -ENOMEM,
		"cannot map 131072 GiB of guest memory: Cannot allocate memory; lower -m");
	refused((struct gm_range[]){ { 0, 4096 }, { MIB, BIT64(62) } }, 2, -ENOMEM, "MiB of guest memory");
	refused((struct gm_range[]){ { 0, 0 - UINT64_C(4096) } }, 1, -ENOMEM, "lower -m");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("guest_mem");
	TCase *tc = tcase_create("memory"), *bad = tcase_create("refused");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, regions);
	tcase_add_test(tc, map_bounds);
	tcase_add_test(tc, copies);
	tcase_add_test(tc, fill);
	tcase_add_test(tc, zeroing_gives_memory_back);
	tcase_add_test(tc, guards);
	suite_add_tcase(s, tc);
	tcase_add_test(bad, bad_ranges);
	tcase_add_test(bad, too_much);
	tcase_add_test(bad, address_space_is_given_back);
	suite_add_tcase(s, bad);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
