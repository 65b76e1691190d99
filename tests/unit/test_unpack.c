/* SPDX-License-Identifier: MIT */
#include "firmware/unpack.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_boot.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/util.h"

static const enum unpack_format all[] = { UNPACK_GZIP, UNPACK_ZSTD, UNPACK_LZ4, UNPACK_XZ, UNPACK_LZMA };

/* More than one lz4 block; half noise, half runs. Room behind it for a canary. */
#define LEN (8 * MIB + 70001)
#define CANARY 64

static uint8_t *data, *out;

static void setup(void)
{
	uint32_t x = 1;

	data = malloc(LEN);
	out = malloc(LEN + CANARY);
	for (size_t i = 0; i < LEN; i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (i >> 12) & 1 ? (uint8_t)(x >> 24) : (uint8_t)(i >> 8);
	}
}

static void teardown(void)
{
	free(data);
	free(out);
}

/* Unpacks into `cap` bytes and sees that nothing behind them was touched. */
static int try(enum unpack_format format, const uint8_t *packed, size_t len, size_t cap, size_t *got, struct err *err)
{
	int rc;

	memset(out + cap, 0xcc, CANARY);
	rc = unpack(format, packed, len, out, cap, got, err);
	for (size_t i = 0; i < CANARY; i++)
		ck_assert_uint_eq(out[cap + i], 0xcc);
	ck_assert_msg((rc == 0) == (err->code == 0), "%s: rc %d, '%s'", unpack_format_name(format), rc, err->msg);
	return rc;
}

static void refuse(enum unpack_format format, const uint8_t *packed, size_t len, size_t cap, const char *words)
{
	struct err err = ERR_INIT;
	size_t got;

	ck_assert_int_eq(try(format, packed, len, cap, &got, &err), -EINVAL);
	ck_assert_msg(strstr(err.msg, words) != NULL, "'%s' lacks '%s'", err.msg, words);
}

START_TEST(round_trip)
{
	enum unpack_format f = all[_i];
	struct err err = ERR_INIT;
	size_t len, got = 0;
	uint8_t *packed = fake_pack(f, data, LEN, &len);

	ck_assert_int_eq(unpack_detect(packed, len), f);
	ck_assert_msg(try(f, packed, len, LEN, &got, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(got, LEN);
	ck_assert_int_eq(memcmp(data, out, LEN), 0);
	free(packed);
}
END_TEST

START_TEST(more_than_room)
{
	enum unpack_format f = all[_i];
	size_t len;
	uint8_t *packed = fake_pack(f, data, LEN, &len);

	refuse(f, packed, len, LEN - 1, "room");
	refuse(f, packed, len, 100, "room");
	refuse(f, packed, len, 0, "");
	free(packed);
}
END_TEST

START_TEST(ends_early)
{
	enum unpack_format f = all[_i];
	struct err err;
	size_t len, got;
	uint8_t *packed = fake_pack(f, data, LEN, &len);
	const size_t cuts[] = { 0, 1, 4, 5, 6, 13, 20, len / 3, len / 2, len - 40, len - 1 };

	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		err = (struct err)ERR_INIT;
		got = 0;
		/* An lz4 frame has no end mark: cut between blocks, it is merely shorter. */
		if (try(f, packed, cuts[i], LEN, &got, &err) == 0)
			ck_assert_msg(got < LEN && (f == UNPACK_LZ4 || cuts[i] == 0), "%s cut to %zu", unpack_format_name(f), cuts[i]);
	}
	free(packed);
}
END_TEST

START_TEST(damaged)
{
	enum unpack_format f = all[_i];
	size_t len;
	uint8_t *packed = fake_pack(f, data, 100000, &len);
	uint32_t x = 7;

	for (int i = 0; i < 200; i++) {
		struct err err = ERR_INIT;
		size_t at = (x = x * 1664525 + 1013904223) % len, got = 0;
		int rc;

		packed[at] ^= 0x20;
		rc = try(f, packed, len, 100000, &got, &err);
		/* Those with a checksum must notice, but for bytes in the header that say nothing about the data. */
		if (rc == 0 && (f == UNPACK_XZ || (f == UNPACK_GZIP && at > 10)))
			ck_assert_int_eq(memcmp(data, out, 100000), 0);
		packed[at] ^= 0x20;
	}
	free(packed);
}
END_TEST

START_TEST(bomb)
{
	uint8_t *zeroes = calloc(1, 64 * MIB), *packed;
	size_t len;

	packed = fake_pack(all[_i], zeroes, 64 * MIB, &len);
	refuse(all[_i], packed, len, MIB, "room");
	free(packed);
	free(zeroes);
}
END_TEST

START_TEST(lz4_blocks)
{
	struct err err = ERR_INIT;
	size_t len, got = 0;
	uint8_t *packed = fake_pack(UNPACK_LZ4, data, 1000, &len), *twice = malloc(2 * len);

	/* Two files joined: the second's magic stands where a block's size would. */
	memcpy(twice, packed, len);
	memcpy(twice + len, packed, len);
	ck_assert_int_eq(try(UNPACK_LZ4, twice, 2 * len, 2000, &got, &err), 0);
	ck_assert_uint_eq(got, 2000);
	ck_assert_int_eq(memcmp(out + 1000, data, 1000), 0);
	store_le32(packed + 4, 0);
	refuse(UNPACK_LZ4, packed, len, 1000, "size is impossible");
	store_le32(packed + 4, 0x7fffffff);
	refuse(UNPACK_LZ4, packed, len, 1000, "size is impossible");
	store_le32(packed + 4, (uint32_t)len);
	refuse(UNPACK_LZ4, packed, len, 1000, "ends early");
	free(packed);
	free(twice);
}
END_TEST

/* A dictionary of nearly 4 GiB: the decoder would take that much memory. */
START_TEST(lzma_memory)
{
	size_t len;
	uint8_t *packed = fake_pack(UNPACK_LZMA, data, 1000, &len);

	store_le32(packed + 1, 0xc0000000);
	refuse(UNPACK_LZMA, packed, len, 1000, "wants 3072 MiB of memory");
	free(packed);
}
END_TEST

START_TEST(unknown)
{
	ck_assert_int_eq(unpack_detect((const uint8_t *)"BZh91AY", 7), UNPACK_UNKNOWN);
	ck_assert_int_eq(unpack_detect((const uint8_t *)"", 0), UNPACK_UNKNOWN);
	ck_assert_int_eq(unpack_detect((const uint8_t *)"\x28\xb5\x2f", 3), UNPACK_UNKNOWN);
	refuse(UNPACK_UNKNOWN, data, 100, 100, "does not know");
	refuse(UNPACK_GZIP, data, 100, 100, "corrupt");
	refuse(UNPACK_XZ, data, 100, 100, "corrupt");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("unpack");
	TCase *tc = tcase_create("unpack");
	SRunner *sr = srunner_create(s);
	int failed, n = ARRAY_SIZE(all);

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, round_trip, 0, n);
	tcase_add_loop_test(tc, more_than_room, 0, n);
	tcase_add_loop_test(tc, ends_early, 0, n);
	tcase_add_loop_test(tc, damaged, 0, n);
	tcase_add_loop_test(tc, bomb, 0, n);
	tcase_add_test(tc, lz4_blocks);
	tcase_add_test(tc, lzma_memory);
	tcase_add_test(tc, unknown);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
