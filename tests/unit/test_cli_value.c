/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_value.h"
#include "vmm/err.h"
#include "vmm/util.h"

/* What must stay in the result where a value is refused. */
#define UNTOUCHED 0x5a5a

static const struct {
	const char *text;
	bool ok;
	uint64_t value;
} uints[] = {
	{ "0", true, 0 },
	{ "42", true, 42 },
	{ "0x501", true, 0x501 },
	{ "0XfF", true, 0xff },
	{ "010", true, 8 },
	{ "18446744073709551615", true, UINT64_MAX },
	{ "0xffffffffffffffff", true, UINT64_MAX },
	{ "18446744073709551616", false, 0 },
	{ "0x10000000000000000", false, 0 },
	{ "", false, 0 },
	{ "0x", false, 0 },
	{ "08", false, 0 },
	{ "-1", false, 0 },
	{ "+1", false, 0 },
	{ " 1", false, 0 },
	{ "1 ", false, 0 },
	{ "1k", false, 0 },
	{ "0xg", false, 0 },
	{ "1\n", false, 0 },
};

START_TEST(test_uint)
{
	uint64_t v = UNTOUCHED;

	ck_assert_msg(cli_value_uint(uints[_i].text, &v) == uints[_i].ok, "%s", uints[_i].text);
	ck_assert_uint_eq(v, uints[_i].ok ? uints[_i].value : UNTOUCHED);
}
END_TEST

static const struct {
	const char *text;
	uint64_t unit;
	bool ok;
	uint64_t value;
} sizes[] = {
	{ "512", MIB, true, 512 * MIB },
	{ "512", 1, true, 512 },
	{ "512b", MIB, true, 512 },
	{ "524288k", MIB, true, 512 * MIB },
	{ "512M", 1, true, 512 * MIB },
	{ "512m", 1, true, 512 * MIB },
	{ "2G", MIB, true, 2 * GIB },
	{ "1T", MIB, true, 1024 * GIB },
	{ "1P", MIB, true, 1024 * 1024 * GIB },
	{ "15E", MIB, true, UINT64_C(15) << 60 },
	{ "1.5G", MIB, true, 1536 * MIB },
	{ "0.5", MIB, true, 512 * KIB },
	{ "0.000000001G", 1, true, 1 },
	{ "0x10", MIB, true, 16 * MIB },
	{ "010", 1, true, 10 },
	{ "0", MIB, true, 0 },
	{ "18446744073709551615b", MIB, true, UINT64_MAX },
	{ "16E", MIB, false, 0 },
	{ "18446744073709551615.9b", MIB, true, UINT64_MAX },
	{ "18446744073709551615k", MIB, false, 0 },
	{ "0xfffffffffffffff", MIB, false, 0 },
	{ "", MIB, false, 0 },
	{ "G", MIB, false, 0 },
	{ ".5G", MIB, false, 0 },
	{ "1.", MIB, false, 0 },
	{ "1.G", MIB, false, 0 },
	{ "1.0000000001G", MIB, false, 0 },
	{ "1.5.5", MIB, false, 0 },
	{ "1GB", MIB, false, 0 },
	{ "1 G", MIB, false, 0 },
	{ "-1G", MIB, false, 0 },
	{ "1x", MIB, false, 0 },
	{ "0x10M", MIB, false, 0 },
};

START_TEST(test_size)
{
	uint64_t v = UNTOUCHED;

	ck_assert_msg(cli_value_size(sizes[_i].text, sizes[_i].unit, &v) == sizes[_i].ok, "%s", sizes[_i].text);
	ck_assert_msg(v == (sizes[_i].ok ? sizes[_i].value : UNTOUCHED), "%s: %ju", sizes[_i].text, (uintmax_t)v);
}
END_TEST

START_TEST(test_bool)
{
	static const char *const on[] = { "on", "yes", "true", "y" }, *const off[] = { "off", "no", "false", "n" };
	static const char *const bad[] = { "", "1", "0", "On", "onn", "o" };
	bool v;

	for (size_t i = 0; i < ARRAY_SIZE(on); i++) {
		v = false;
		ck_assert(cli_value_bool(on[i], &v) && v);
	}
	for (size_t i = 0; i < ARRAY_SIZE(off); i++) {
		v = true;
		ck_assert(cli_value_bool(off[i], &v) && !v);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert(!cli_value_bool(bad[i], &v));
}
END_TEST

static const struct {
	const char *text;
	bool ok;
	int64_t value;
} dates[] = {
	{ "1970-01-01", true, 0 },
	{ "2006-06-17T16:01:21", true, 1150560081 },
	{ "2000-02-29", true, 951782400 },
	{ "2024-02-29T23:59:59", true, 1709251199 },
	{ "9999-12-31T23:59:59", true, 253402300799 },
	{ "2023-02-29", false, 0 },
	{ "1969-12-31", false, 0 },
	{ "2024-13-01", false, 0 },
	{ "2024-00-01", false, 0 },
	{ "2024-01-32", false, 0 },
	{ "2024-01-01T24:00:00", false, 0 },
	{ "2024-01-01T00:60:00", false, 0 },
	{ "2024-01-01T00:00:60", false, 0 },
	{ "2024-01-01T00:00", false, 0 },
	{ "2024-01-01T", false, 0 },
	{ "2024-1-1", false, 0 },
	{ "2024-01-01 ", false, 0 },
	{ "2024-01-01Z", false, 0 },
	{ "", false, 0 },
	{ "T", false, 0 },
	{ "-024-01-01", false, 0 },
};

START_TEST(test_date)
{
	int64_t v = UNTOUCHED;

	/* The host's time zone has no say. */
	setenv("TZ", "America/New_York", 1);
	ck_assert_msg(cli_value_date(dates[_i].text, &v) == dates[_i].ok, "%s", dates[_i].text);
	ck_assert_int_eq(v, dates[_i].ok ? dates[_i].value : UNTOUCHED);
}
END_TEST

START_TEST(test_uuid)
{
	static const uint8_t expected[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	static const char *const bad[] = {
		"",
		"00112233-4455-6677-8899-aabbccddeef",
		"00112233-4455-6677-8899-aabbccddeeff0",
		"00112233445566778899aabbccddeeff",
		"00112233-4455-6677-8899-aabbccddeefg",
		"0011223-34455-6677-8899-aabbccddeeff",
		"{00112233-4455-6677-8899-aabbccddeeff}",
		"00112233-4455-6677-8899-aabbccddee-f",
	};
	uint8_t uuid[16] = { 1 }, kept[16] = { 1 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(!cli_value_uuid(bad[i], uuid), "%s", bad[i]);
	ck_assert_mem_eq(uuid, kept, 16);
	ck_assert(cli_value_uuid("00112233-4455-6677-8899-AABBccddeeff", uuid));
	ck_assert_mem_eq(uuid, expected, 16);
}
END_TEST

START_TEST(test_id)
{
	static const char *const good[] = { "a", "charserial0", "virtio-disk0", "a.b_c-9", "Z" };
	static const char *const bad[] = { "", "0a", "-a", "_a", "a b", "a,b", "a\n", "\xc3\xa4", "a\xc3\xa4" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		ck_assert_msg(cli_value_id(good[i]), "%s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(!cli_value_id(bad[i]), "%s", bad[i]);
}
END_TEST

START_TEST(test_near)
{
	char longer[100];

	ck_assert_int_eq(cli_near("kernel", "kernel"), 0);
	ck_assert_int_eq(cli_near("krenel", "kernel"), 1);
	ck_assert_int_eq(cli_near("sze", "size"), 1);
	ck_assert_int_eq(cli_near("kernels", "kernel"), 1);
	ck_assert_int_eq(cli_near("kermal", "kernel"), 2);
	ck_assert_int_eq(cli_near("drive", "device"), -1);
	ck_assert_int_eq(cli_near("S", "d"), -1);
	ck_assert_int_eq(cli_near("hda", "h"), -1);
	ck_assert_int_eq(cli_near("", "m"), -1);
	ck_assert_int_eq(cli_near("m", ""), -1);
	memset(longer, 'k', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_int_eq(cli_near(longer, "kernel"), -1);
	ck_assert_int_eq(cli_near("kernel", longer), -1);
	longer[32] = '\0';
	ck_assert_int_eq(cli_near(longer, longer), 0);
}
END_TEST

START_TEST(test_strv)
{
	struct strv s = { .v = NULL };
	struct err err = ERR_INIT;
	char text[16];

	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "%d", i);
		ck_assert_int_eq(strv_addf(&s, &err, "%d", i), 0);
		ck_assert(strv_has(&s, text));
	}
	ck_assert_uint_eq(s.n, 100);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(atoi(s.v[i]), i);
	ck_assert(!strv_has(&s, "100"));
	strv_fini(&s);
	ck_assert(!s.v && !s.n && !strv_has(&s, "1"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cli_value");
	TCase *tc = tcase_create("value");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(tc, test_uint, 0, ARRAY_SIZE(uints));
	tcase_add_loop_test(tc, test_size, 0, ARRAY_SIZE(sizes));
	tcase_add_test(tc, test_bool);
	tcase_add_loop_test(tc, test_date, 0, ARRAY_SIZE(dates));
	tcase_add_test(tc, test_uuid);
	tcase_add_test(tc, test_id);
	tcase_add_test(tc, test_near);
	tcase_add_test(tc, test_strv);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
