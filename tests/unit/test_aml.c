/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/aml.h"
#include "firmware/blob.h"
#include "vmm/util.h"

static struct blob out;
static struct aml aml;

static void setup(void)
{
	blob_init(&out, 4 * MIB);
	aml_init(&aml, &out);
}

static void teardown(void)
{
	blob_fini(&out);
}

static void expect(const uint8_t *want, size_t n)
{
	ck_assert_int_eq(aml_finish(&aml), 0);
	ck_assert_uint_eq(out.len, n);
	ck_assert_mem_eq(out.data, want, n);
}

#define EXPECT(...)                                          \
	do {                                                 \
		const uint8_t want_[] = { __VA_ARGS__ };     \
		expect(want_, sizeof(want_));                \
	} while (0)

START_TEST(integers)
{
	aml_int(&aml, 0);
	aml_int(&aml, 1);
	aml_int(&aml, 2);
	aml_int(&aml, 0xff);
	aml_int(&aml, 0x100);
	aml_int(&aml, 0xffff);
	aml_int(&aml, 0x10000);
	aml_int(&aml, UINT32_MAX);
	aml_int(&aml, UINT64_C(0x100000000));
	aml_int(&aml, UINT64_MAX);
	EXPECT(0x00, 0x01, 0x0a, 2, 0x0a, 0xff, 0x0b, 0, 1, 0x0b, 0xff, 0xff, 0x0c, 0, 0, 1, 0, 0x0c, 0xff, 0xff, 0xff, 0xff,
	       0x0e, 0, 0, 0, 0, 1, 0, 0, 0, 0x0e, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
}
END_TEST

START_TEST(paths)
{
	aml_name(&aml, "_HID");
	aml_name(&aml, "\\_SB");
	aml_name(&aml, "A");
	aml_name(&aml, "\\");
	aml_name(&aml, "^^X1");
	aml_name(&aml, "_SB.PCI0");
	aml_name(&aml, "\\A.B.C");
	EXPECT(8, '_', 'H', 'I', 'D', 8, '\\', '_', 'S', 'B', '_', 8, 'A', '_', '_', '_', 8, '\\', 0, 8, '^', '^', 'X', '1', '_', '_',
	       8, 0x2e, '_', 'S', 'B', '_', 'P', 'C', 'I', '0', 8, '\\', 0x2f, 3, 'A', '_', '_', '_', 'B', '_', '_', '_', 'C', '_',
	       '_', '_');
}
END_TEST

static const char *const bad_paths[] = { "", "1ABC", "abcd", "ABCDE", "A..B", "A.", ".A", "A.1", "A B", "A\\B", "A^" };

START_TEST(path_refused)
{
	aml_name(&aml, bad_paths[_i]);
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
}
END_TEST

START_TEST(strings)
{
	aml_string(&aml, "Hi~");
	EXPECT(0x0d, 'H', 'i', '~', 0);
	aml_string(&aml, "caf\xc3\xa9");
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
}
END_TEST

START_TEST(hardware_ids)
{
	aml_hid(&aml, "PNP0501");
	aml_hid(&aml, "PNP0000"); /* four bytes though a smaller integer would do */
	aml_hid(&aml, "ACPI0007");
	aml_hid(&aml, "pnp0501");
	EXPECT(0x0c, 0x41, 0xd0, 0x05, 0x01, 0x0c, 0x41, 0xd0, 0, 0, 0x0d, 'A', 'C', 'P', 'I', '0', '0', '0', '7', 0, 0x0d, 'p', 'n',
	       'p', '0', '5', '0', '1', 0);
}
END_TEST

START_TEST(nesting)
{
	aml_begin_scope(&aml, "\\_SB");
	aml_begin_device(&aml, "COM1");
	aml_name(&aml, "_UID");
	aml_int(&aml, 1);
	aml_end(&aml);
	aml_end(&aml);
	aml_name(&aml, "X");
	aml_begin_package(&aml, 2);
	aml_int(&aml, 5);
	aml_int(&aml, 0);
	aml_end(&aml);
	EXPECT(0x10, 19, '\\', '_', 'S', 'B', '_', 0x5b, 0x82, 11, 'C', 'O', 'M', '1', 8, '_', 'U', 'I', 'D', 1, 8, 'X', '_', '_', '_',
	       0x12, 5, 2, 0x0a, 5, 0);
}
END_TEST

START_TEST(resources)
{
	aml_begin_resources(&aml);
	aml_io(&aml, 0x3f8, 8);
	aml_irq(&aml, 4);
	aml_end(&aml);
	EXPECT(0x11, 16, 0x0a, 13, 0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8, 0x22, 0x10, 0, 0x79, 0);
}
END_TEST

START_TEST(resources_refused)
{
	switch (_i) {
	case 0:
		aml_io(&aml, 0x60, 1); /* outside a template */
		break;
	case 1:
		aml_irq(&aml, 4);
		break;
	case 2:
		aml_begin_resources(&aml);
		aml_io(&aml, 0, 256); /* the length has one byte */
		aml_end(&aml);
		break;
	case 3:
		aml_begin_resources(&aml);
		aml_io(&aml, 0xffff, 2);
		aml_end(&aml);
		break;
	case 4:
		aml_begin_resources(&aml);
		aml_irq(&aml, 16);
		aml_end(&aml);
		break;
	case 5:
		aml_begin_resources(&aml);
		aml_io(&aml, 0x60, 0);
		aml_end(&aml);
		break;
	}
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
}
END_TEST

/* The last length of each form of PkgLength and the first of the next; `total` counts the PkgLength itself. */
static const struct {
	size_t body;
	unsigned bytes;
} lengths[] = { { 0x3e, 1 }, { 0x3f, 2 }, { 0xffd, 2 }, { 0xffe, 3 }, { 0xffffc, 3 }, { 0xffffd, 4 }, { 0x180000, 4 } };

START_TEST(pkg_length)
{
	size_t body = lengths[_i].body, total = body + lengths[_i].bytes, got;
	char *s = malloc(body);
	const uint8_t *p;

	/* A scope named X (4 bytes) that holds one string (its opcode, its text, a zero). */
	memset(s, 'x', body);
	s[body - 4 - 2] = '\0';
	aml_begin_scope(&aml, "X");
	aml_string(&aml, s);
	aml_end(&aml);
	free(s);
	ck_assert_int_eq(aml_finish(&aml), 0);
	ck_assert_uint_eq(out.len, 1 + total);
	p = out.data + 1;
	ck_assert_uint_eq(p[0] >> 6, lengths[_i].bytes - 1);
	got = lengths[_i].bytes == 1 ? p[0] : p[0] & 0xf;
	for (unsigned i = 1; i < lengths[_i].bytes; i++)
		got |= (size_t)p[i] << (4 + 8 * (i - 1));
	ck_assert_uint_eq(got, total);
	if (lengths[_i].bytes > 1)
		ck_assert_uint_eq(p[0] & 0x30, 0);
	ck_assert_mem_eq(p + lengths[_i].bytes, "X___\x0dxx", 7);
}
END_TEST

START_TEST(pairing)
{
	if (_i == 0) {
		aml_end(&aml);
	} else if (_i == 1) {
		aml_begin_scope(&aml, "X");
	} else {
		for (unsigned i = 0; i <= AML_MAX_DEPTH; i++)
			aml_begin_scope(&aml, "X");
		for (unsigned i = 0; i <= AML_MAX_DEPTH; i++)
			aml_end(&aml);
	}
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
}
END_TEST

START_TEST(first_error_sticks)
{
	blob_fini(&out);
	blob_init(&out, 10);
	aml_name(&aml, "A"); /* 5 bytes */
	aml_begin_package(&aml, 1);
	aml_string(&aml, "too long");
	ck_assert_int_eq(out.error, -ENOSPC);
	aml_name(&aml, "bad name");
	aml_int(&aml, 0);
	aml_end(&aml);
	ck_assert_int_eq(aml_finish(&aml), -ENOSPC);
	ck_assert_uint_le(out.len, 10);
}
END_TEST

START_TEST(blob_edges)
{
	struct blob b;

	blob_init(&b, 16);
	blob_align(&b, 3, 8);
	ck_assert_uint_eq(b.len, 5);
	blob_put(&b, "abc", 3);
	blob_insert(&b, 5, "xy", 2);
	ck_assert_mem_eq(b.data + 5, "xyabc", 5);
	blob_set(&b, 9, "Z", 1);
	ck_assert_int_eq(b.data[9], 'Z');
	ck_assert_uint_eq(blob_checksum(&b, 5, 2), (uint8_t)-('x' + 'y'));
	ck_assert_uint_eq(blob_checksum(&b, 5, 6), 0);
	ck_assert_uint_eq(blob_checksum(&b, SIZE_MAX, 2), 0);
	blob_put(&b, "123456", 6);
	ck_assert_int_eq(b.error, 0);
	ck_assert_uint_eq(b.len, 16);
	blob_put(&b, "1", 1);
	ck_assert_int_eq(b.error, -ENOSPC);
	ck_assert_uint_eq(b.len, 16);
	blob_fini(&b);

	blob_init(&b, 16);
	blob_set(&b, 0, "x", 1);
	ck_assert_int_eq(b.error, -EINVAL);
	blob_fini(&b);

	blob_init(&b, 16);
	blob_insert(&b, 1, "x", 1);
	ck_assert_int_eq(b.error, -EINVAL);
	blob_fini(&b);
}
END_TEST

START_TEST(methods)
{
	aml_begin_method(&aml, "_EVT", 1);
	aml_begin_if_bits(&aml, "ESEL", 2);
	aml_notify(&aml, "\\_SB.PWRB", 0x80);
	aml_end(&aml);
	aml_end(&aml);
	EXPECT(0x14, 0x1d, '_', 'E', 'V', 'T', 0x09, 0xa0, 0x16, 0x7b, 'E', 'S', 'E', 'L', 0x0a, 2, 0x00, 0x86, '\\', 0x2e, '_', 'S', 'B', '_',
	       'P', 'W', 'R', 'B', 0x0a, 0x80);
}
END_TEST

START_TEST(method_arguments)
{
	aml_begin_method(&aml, "_EVT", 8);
	aml_end(&aml);
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
}
END_TEST

START_TEST(port_field)
{
	aml_port_field(&aml, "EVTR", "ESEL", 0x600, 4);
	aml_port_field(&aml, "REG", "F", 0xffff, 1);
	EXPECT(0x5b, 0x80, 'E', 'V', 'T', 'R', 1, 0x0b, 0, 6, 0x0a, 4, 0x5b, 0x81, 0x0b, 'E', 'V', 'T', 'R', 3, 'E', 'S', 'E', 'L', 32, 0x5b,
	       0x80, 'R', 'E', 'G', '_', 1, 0x0b, 0xff, 0xff, 1, 0x5b, 0x81, 0x0b, 'R', 'E', 'G', '_', 1, 'F', '_', '_', '_', 8);
}
END_TEST

static const struct {
	const char *field;
	uint16_t port;
	unsigned bytes;
} bad_fields[] = { { "ESEL", 0x600, 3 }, { "ESEL", 0x600, 8 }, { "ESEL", 0xfffd, 4 }, { "1", 0x600, 4 } };

START_TEST(bad_port_field)
{
	aml_port_field(&aml, "EVTR", bad_fields[_i].field, bad_fields[_i].port, bad_fields[_i].bytes);
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
}
END_TEST

START_TEST(interrupts)
{
	aml_begin_resources(&aml);
	aml_interrupt(&aml, 0x12345678, true);
	aml_interrupt(&aml, 9, false);
	aml_end(&aml);
	EXPECT(0x11, 0x17, 0x0a, 0x14, 0x89, 6, 0, 0x09, 1, 0x78, 0x56, 0x34, 0x12, 0x89, 6, 0, 0x01, 1, 9, 0, 0, 0, 0x79, 0);
}
END_TEST

START_TEST(interrupt_outside)
{
	aml_interrupt(&aml, 9, false);
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("aml");
	TCase *tc = tcase_create("aml");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, integers);
	tcase_add_test(tc, paths);
	tcase_add_loop_test(tc, path_refused, 0, ARRAY_SIZE(bad_paths));
	tcase_add_test(tc, strings);
	tcase_add_test(tc, hardware_ids);
	tcase_add_test(tc, nesting);
	tcase_add_test(tc, resources);
	tcase_add_loop_test(tc, resources_refused, 0, 6);
	tcase_add_loop_test(tc, pkg_length, 0, ARRAY_SIZE(lengths));
	tcase_add_loop_test(tc, pairing, 0, 3);
	tcase_add_test(tc, first_error_sticks);
	tcase_add_test(tc, blob_edges);
	tcase_add_test(tc, methods);
	tcase_add_test(tc, method_arguments);
	tcase_add_test(tc, port_field);
	tcase_add_loop_test(tc, bad_port_field, 0, ARRAY_SIZE(bad_fields));
	tcase_add_test(tc, interrupts);
	tcase_add_test(tc, interrupt_outside);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
