/* SPDX-License-Identifier: MIT */
/* Walks the structures as a system would; then dmidecode judges them. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/smbios.h"
#include "firmware/smbios_tables.h"
#include "tests/unit/fake_firmware.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define BASE UINT64_C(0xf0000)
#define MAX (64 * KIB)
#define UUID_TEXT "00112233-4455-6677-8899-aabbccddeeff"

static struct smbios_platform platform(void)
{
	return (struct smbios_platform){
		.product = "Standard PC",
		.version = "pc",
		.uuid = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff },
		.sockets = 2,
		.cores = 4,
		.threads = 2,
		.ram_below_4g = 3 * GIB,
		.ram_above_4g = 37 * GIB,
	};
}

static struct smbios_tables tables;
static struct err err;

static void build(const struct smbios_platform *p, uint64_t base)
{
	int r = smbios_build(p, base, MAX, &tables, &err);

	ck_assert_msg(r == 0, "smbios_build: %s", err.msg);
}

static void teardown(void)
{
	smbios_tables_free(&tables);
	ck_assert_ptr_null(tables.data);
}

static const struct smbios_entry64 *entry64(void)
{
	return (const struct smbios_entry64 *)tables.data;
}

/* The 32-bit entry point, found as systems do it: on multiples of 16. */
static const struct smbios_entry32 *entry32(void)
{
	for (size_t off = 0; off + sizeof(struct smbios_entry32) <= tables.size; off += 16)
		if (!memcmp(tables.data + off, "_SM_", 4))
			return (const struct smbios_entry32 *)(tables.data + off);
	ck_abort_msg("no _SM_");
	return NULL;
}

/* Structure number `n` of `type`, or NULL; `*count` is how many structures there are, `*max` the size of the largest. */
static const uint8_t *walk(unsigned type, unsigned n, unsigned *count, size_t *max)
{
	const uint8_t *found = NULL, *p = tables.data + (le64_get(entry64()->table_addr) - BASE);
	const uint8_t *end = tables.data + tables.size;
	uint8_t last = 0;

	*count = 0;
	*max = 0;
	while (p < end) {
		const uint8_t *start = p;

		ck_assert_int_ge(end - p, 4);
		ck_assert_uint_ge(p[1], 4);
		ck_assert_int_ge(end - p, p[1] + 2);
		ck_assert_uint_eq(load_le16(p + 2), *count); /* handles are unique */
		if (p[0] == type && n-- == 0)
			found = p;
		last = p[0];
		for (p += p[1]; p[0] || p[1]; p++)
			ck_assert_int_ge(end - p, 2);
		p += 2;
		++*count;
		if ((size_t)(p - start) > *max)
			*max = (size_t)(p - start);
	}
	ck_assert_uint_eq(last, 127);
	return found;
}

static const void *find(unsigned type, unsigned n)
{
	unsigned count;
	size_t max;

	return walk(type, n, &count, &max);
}

/* String `n` of a structure. */
static const char *string(const void *structure, uint8_t n)
{
	const char *s = (const char *)structure + ((const uint8_t *)structure)[1];

	ck_assert_uint_gt(n, 0);
	while (--n)
		s += strlen(s) + 1;
	ck_assert_uint_gt(strlen(s), 0);
	return s;
}

START_TEST(entry_points)
{
	struct smbios_platform p = platform();
	const struct smbios_entry64 *e;
	const struct smbios_entry32 *old;
	unsigned count;
	size_t max;

	build(&p, BASE);
	e = entry64();
	ck_assert_mem_eq(e->anchor, "_SM3_", 5);
	ck_assert_uint_eq(e->length, 24);
	ck_assert_uint_eq(fake_sum(e, 24), 0);
	ck_assert_uint_eq(e->major, 3);
	ck_assert_uint_eq(e->revision, 1);
	ck_assert_uint_eq(le64_get(e->table_addr) + le32_get(e->table_max_size), BASE + tables.size);
	walk(127, 0, &count, &max);
	old = entry32();
	ck_assert_uint_eq(old->length, 31);
	ck_assert_uint_eq(fake_sum(old, 31), 0);
	ck_assert_mem_eq(old->dmi_anchor, "_DMI_", 5);
	ck_assert_uint_eq(fake_sum(old->dmi_anchor, 15), 0);
	ck_assert_uint_eq(old->major, 2);
	ck_assert_uint_eq(old->minor, 8);
	ck_assert_uint_eq(old->bcd_revision, 0x28);
	ck_assert_uint_eq(le32_get(old->table_addr), le64_get(e->table_addr));
	ck_assert_uint_eq(le16_get(old->table_length), le32_get(e->table_max_size));
	ck_assert_uint_eq(le16_get(old->n_structures), count);
	ck_assert_uint_eq(le16_get(old->max_structure_size), max);
}
END_TEST

START_TEST(identity)
{
	static const uint8_t uuid[] = { 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66,
					0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	struct smbios_platform p = platform();
	const struct smbios_type0 *bios;
	const struct smbios_type1 *sys;
	const struct smbios_type3 *chassis;

	build(&p, BASE);
	bios = find(0, 0);
	ck_assert_str_eq(string(bios, bios->vendor), "Kite");
	ck_assert_str_eq(string(bios, bios->version), KITE_VERSION);
	ck_assert_uint_eq(bios->ext[1] & 0x10, 0x10);
	sys = find(1, 0);
	ck_assert_str_eq(string(sys, sys->manufacturer), "Kite");
	ck_assert_str_eq(string(sys, sys->product), "Standard PC");
	ck_assert_str_eq(string(sys, sys->version), "pc");
	ck_assert_mem_eq(sys->uuid, uuid, 16);
	ck_assert_uint_eq(sys->wake_up, 6);
	chassis = find(3, 0);
	ck_assert_uint_eq(chassis->type, 1);
	ck_assert_str_eq(string(chassis, chassis->version), "pc");
	ck_assert_ptr_nonnull(find(32, 0));
	ck_assert_ptr_null(find(2, 0));
}
END_TEST

START_TEST(empty_strings)
{
	struct smbios_platform p = platform();
	const struct smbios_type1 *sys;

	p.product = "";
	p.version = "";
	build(&p, BASE);
	sys = find(1, 0);
	ck_assert_uint_eq(sys->product, 0);
	ck_assert_uint_eq(sys->version, 0);
	ck_assert_str_eq(string(sys, sys->manufacturer), "Kite");
	ck_assert_ptr_nonnull(find(4, 1));
}
END_TEST

START_TEST(processors)
{
	struct smbios_platform p = platform();
	const struct smbios_type4 *cpu;

	build(&p, BASE);
	cpu = find(4, 1);
	ck_assert_str_eq(string(cpu, cpu->socket), "CPU 1");
	ck_assert_uint_eq(cpu->core_count, 4);
	ck_assert_uint_eq(cpu->core_enabled, 4);
	ck_assert_uint_eq(cpu->thread_count, 8);
	ck_assert_uint_eq(le16_get(cpu->core_count2), 4);
	ck_assert_uint_eq(le16_get(cpu->thread_count2), 8);
	ck_assert_uint_eq(le16_get(cpu->characteristics), 0x1c);
	ck_assert_ptr_null(find(4, 2));
	smbios_tables_free(&tables);

	p.sockets = 1;
	p.cores = 300;
	p.threads = 1;
	build(&p, BASE);
	cpu = find(4, 0);
	ck_assert_uint_eq(cpu->core_count, 0xff);
	ck_assert_uint_eq(cpu->thread_count, 0xff);
	ck_assert_uint_eq(le16_get(cpu->core_count2), 300);
	ck_assert_uint_eq(le16_get(cpu->thread_count2), 300);
	ck_assert_uint_eq(le16_get(cpu->characteristics), 0x0c);
}
END_TEST

START_TEST(memory)
{
	static const uint16_t sizes[] = { 16384, 16384, 8192 };
	struct smbios_platform p = platform();
	const struct smbios_type16 *array;
	const struct smbios_type19 *r;

	build(&p, BASE);
	array = find(16, 0);
	ck_assert_uint_eq(le32_get(array->max_capacity), 40 * MIB);
	ck_assert_uint_eq(le16_get(array->n_devices), 3);
	for (unsigned i = 0; i < 3; i++) {
		const struct smbios_type17 *dimm = find(17, i);
		char name[16];

		snprintf(name, sizeof(name), "DIMM %u", i);
		ck_assert_str_eq(string(dimm, dimm->locator), name);
		ck_assert_uint_eq(le16_get(dimm->size), sizes[i]);
		ck_assert_mem_eq(&dimm->array, &array->h.handle, 2);
	}
	ck_assert_ptr_null(find(17, 3));
	r = find(19, 0);
	ck_assert_uint_eq(le32_get(r->start), 0);
	ck_assert_uint_eq(le32_get(r->end), 3 * MIB - 1);
	ck_assert_mem_eq(&r->array, &array->h.handle, 2);
	r = find(19, 1);
	ck_assert_uint_eq(le32_get(r->start), 4 * MIB);
	ck_assert_uint_eq(le32_get(r->end), 41 * MIB - 1);
	ck_assert_ptr_null(find(19, 2));
}
END_TEST

START_TEST(odd_memory)
{
	struct smbios_platform p = platform();
	const struct smbios_type16 *array;
	const struct smbios_type17 *dimm;
	const struct smbios_type19 *r;

	p.ram_below_4g = 64 * MIB + 4 * KIB; /* a memory device counts in MiB, a range in KiB */
	p.ram_above_4g = 0;
	build(&p, BASE);
	dimm = find(17, 0);
	ck_assert_uint_eq(le16_get(dimm->size), 65);
	ck_assert_ptr_null(find(17, 1));
	r = find(19, 0);
	ck_assert_uint_eq(le32_get(r->end), 64 * KIB + 3);
	ck_assert_ptr_null(find(19, 1));
	smbios_tables_free(&tables);

	p.ram_below_4g = 3 * GIB;
	p.ram_above_4g = 5 * 1024 * GIB; /* beyond 4 TiB KiB no longer fit 32 bits */
	build(&p, BASE);
	array = find(16, 0);
	ck_assert_uint_eq(le32_get(array->max_capacity), 0x80000000);
	ck_assert_uint_eq(le64_get(array->ext_max_capacity), 5123 * GIB);
	r = find(19, 1);
	ck_assert_uint_eq(le32_get(r->start), UINT32_MAX);
	ck_assert_uint_eq(le32_get(r->end), UINT32_MAX);
	ck_assert_uint_eq(le64_get(r->ext_start), 4 * GIB);
	ck_assert_uint_eq(le64_get(r->ext_end), 5124 * GIB - 1);
}
END_TEST

START_TEST(limits)
{
	struct smbios_platform p = platform();
	size_t size;

	build(&p, BASE);
	size = tables.size;
	smbios_tables_free(&tables);
	for (size_t max = 0; max < size; max++) {
		ck_assert_int_eq(smbios_build(&p, BASE, max, &tables, &err), -ENOSPC);
		ck_assert_ptr_null(tables.data);
	}
	ck_assert_int_eq(smbios_build(&p, BASE, size, &tables, &err), 0);
	smbios_tables_free(&tables);
	ck_assert_int_eq(smbios_build(&p, 0xffff0, MAX, &tables, &err), -ENOSPC);
	ck_assert_int_eq(smbios_build(&p, 0x100000, MAX, &tables, &err), -ENOSPC);
}
END_TEST

START_TEST(refused)
{
	struct smbios_platform p = platform();
	int want = -EINVAL;

	switch (_i) {
	case 0:
		p.sockets = 0;
		break;
	case 1:
		p.cores = UINT32_MAX;
		p.threads = UINT32_MAX;
		break;
	case 2:
		p.ram_below_4g = 0;
		p.ram_above_4g = 0;
		break;
	case 3:
		p.ram_above_4g = UINT64_MAX - 4096;
		break;
	case 4:
		p.ram_below_4g = 4 * GIB + 4096;
		break;
	case 5:
		p.ram_above_4g = UINT64_C(1) << 63;
		want = -ENOSPC;
		break;
	case 6:
		p.sockets = UINT32_MAX;
		want = -ENOSPC;
		break;
	}
	ck_assert_int_eq(smbios_build(&p, BASE, SIZE_MAX, &tables, &err), want);
	ck_assert_ptr_null(tables.data);
	ck_assert_int_eq(err.code, want);
}
END_TEST

static void dmidecode_has(const char *text, const char *want)
{
	ck_assert_msg(strstr(text, want) != NULL, "dmidecode does not say '%s':\n%s", want, text);
}

/*
 * dmidecode reads a dump: an entry point at offset 0, and whatever it points to at the offset that is its address. `_i` 0: through
 * the 64-bit entry point; 1: through the old one.
 */
START_TEST(dmidecode)
{
	struct smbios_platform p = platform();
	static char text[1 << 16];
	struct fake_dir dir;

	fake_need_program("dmidecode", "dmidecode");
	build(&p, BASE);
	fake_dir_make(&dir);
	fake_write("dump", BASE, tables.data, tables.size);
	if (_i == 0)
		fake_write("dump", 0, entry64(), sizeof(struct smbios_entry64));
	else
		fake_write("dump", 0, entry32(), sizeof(struct smbios_entry32));
	ck_assert_msg(fake_run("timeout 20 dmidecode --from-dump dump 2>&1", text, sizeof(text)) == 0, "%s", text);
	fake_dir_remove(&dir);

	dmidecode_has(text, _i == 0 ? "SMBIOS 3.0.0 present" : "SMBIOS 2.8 present");
	dmidecode_has(text, "Vendor: Kite");
	dmidecode_has(text, "System is a virtual machine");
	dmidecode_has(text, "Product Name: Standard PC");
	dmidecode_has(text, "UUID: " UUID_TEXT);
	dmidecode_has(text, "Wake-up Type: Power Switch");
	dmidecode_has(text, "Socket Designation: CPU 0");
	dmidecode_has(text, "Socket Designation: CPU 1");
	dmidecode_has(text, "Core Count: 4");
	dmidecode_has(text, "Thread Count: 8");
	dmidecode_has(text, "Maximum Capacity: 40 GB");
	dmidecode_has(text, "Size: 16 GB");
	dmidecode_has(text, "Size: 8 GB");
	dmidecode_has(text, "Range Size: 3 GB");
	dmidecode_has(text, "Range Size: 37 GB");
	dmidecode_has(text, "Status: No errors detected");
	dmidecode_has(text, "End Of Table");
	ck_assert_msg(!strcasestr(text, "invalid") && !strcasestr(text, "bad ") && !strcasestr(text, "<out of spec>") &&
			      !strcasestr(text, "wrong") && !strcasestr(text, "truncated"), "%s", text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("smbios");
	TCase *tc = tcase_create("smbios");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, entry_points);
	tcase_add_test(tc, identity);
	tcase_add_test(tc, empty_strings);
	tcase_add_test(tc, processors);
	tcase_add_test(tc, memory);
	tcase_add_test(tc, odd_memory);
	tcase_add_test(tc, limits);
	tcase_add_loop_test(tc, refused, 0, 7);
	tcase_add_loop_test(tc, dmidecode, 0, 2);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
