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
#include "vmm/config.h"
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

/* ---- what the user says instead ---- */

static char words[CONFIG_SMBIOS_TEXTS][16];
static struct config_smbios user;

/* Each text is its number: "t0", "t1", ... */
static struct smbios_platform user_platform(void)
{
	static const char *const oem[] = { "first", "second" };
	struct smbios_platform p = platform();

	memset(&user, 0, sizeof(user));
	for (int i = 0; i < CONFIG_SMBIOS_TEXTS; i++) {
		snprintf(words[i], sizeof(words[i]), "t%d", i);
		user.text[i] = words[i];
	}
	user.bios = user.board = user.bios_release_set = user.bios_uefi = true;
	user.bios_major = 3;
	user.bios_minor = 9;
	user.cpu_max_speed = 3500;
	user.cpu_speed = 2500;
	user.memory_speed = 2666;
	user.n_oem = 2;
	p.oem = oem;
	p.user = &user;
	return p;
}

static void assert_text(const void *structure, size_t at, enum config_smbios_text which)
{
	ck_assert_str_eq(string(structure, ((const uint8_t *)structure)[at]), words[which]);
}

START_TEST(user_texts)
{
	const struct smbios_platform p = user_platform();
	/* Where the strings' numbers are, DSP0134 7.1 to 7.5 and 7.18. */
	static const struct {
		uint8_t type, at;
		enum config_smbios_text which;
	} places[] = {
		{ 0, 0x04, CONFIG_SMBIOS_BIOS_VENDOR }, { 0, 0x05, CONFIG_SMBIOS_BIOS_VERSION }, { 0, 0x08, CONFIG_SMBIOS_BIOS_DATE },
		{ 1, 0x04, CONFIG_SMBIOS_SYSTEM_MANUFACTURER }, { 1, 0x05, CONFIG_SMBIOS_SYSTEM_PRODUCT }, { 1, 0x06, CONFIG_SMBIOS_SYSTEM_VERSION },
		{ 1, 0x07, CONFIG_SMBIOS_SYSTEM_SERIAL }, { 1, 0x19, CONFIG_SMBIOS_SYSTEM_SKU }, { 1, 0x1a, CONFIG_SMBIOS_SYSTEM_FAMILY },
		{ 2, 0x04, CONFIG_SMBIOS_BOARD_MANUFACTURER }, { 2, 0x05, CONFIG_SMBIOS_BOARD_PRODUCT }, { 2, 0x06, CONFIG_SMBIOS_BOARD_VERSION },
		{ 2, 0x07, CONFIG_SMBIOS_BOARD_SERIAL }, { 2, 0x08, CONFIG_SMBIOS_BOARD_ASSET }, { 2, 0x0a, CONFIG_SMBIOS_BOARD_LOCATION },
		{ 3, 0x04, CONFIG_SMBIOS_CHASSIS_MANUFACTURER }, { 3, 0x06, CONFIG_SMBIOS_CHASSIS_VERSION },
		{ 3, 0x07, CONFIG_SMBIOS_CHASSIS_SERIAL }, { 3, 0x08, CONFIG_SMBIOS_CHASSIS_ASSET }, { 3, 0x15, CONFIG_SMBIOS_CHASSIS_SKU },
		{ 4, 0x07, CONFIG_SMBIOS_CPU_MANUFACTURER }, { 4, 0x10, CONFIG_SMBIOS_CPU_VERSION }, { 4, 0x20, CONFIG_SMBIOS_CPU_SERIAL },
		{ 4, 0x21, CONFIG_SMBIOS_CPU_ASSET }, { 4, 0x22, CONFIG_SMBIOS_CPU_PART },
		{ 17, 0x11, CONFIG_SMBIOS_MEMORY_BANK }, { 17, 0x17, CONFIG_SMBIOS_MEMORY_MANUFACTURER }, { 17, 0x18, CONFIG_SMBIOS_MEMORY_SERIAL },
		{ 17, 0x19, CONFIG_SMBIOS_MEMORY_ASSET }, { 17, 0x1a, CONFIG_SMBIOS_MEMORY_PART },
	};
	const uint8_t *s;

	build(&p, BASE);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		assert_text(find(places[i].type, 0), places[i].at, places[i].which);
	s = find(0, 0);
	ck_assert_uint_eq(s[0x14], 3);
	ck_assert_uint_eq(s[0x15], 9);
	ck_assert_uint_eq(s[0x13], SMBIOS_BIOS_EXT1_VM | SMBIOS_BIOS_EXT1_UEFI);
	s = find(2, 0);
	ck_assert_uint_eq(load_le16(s + 0x0b), load_le16((const uint8_t *)find(3, 0) + 2)); /* its chassis */
	s = find(4, 1);
	ck_assert_str_eq(string(s, s[0x04]), "t20" "1");
	ck_assert_uint_eq(load_le16(s + 0x14), 3500);
	ck_assert_uint_eq(load_le16(s + 0x16), 2500);
	s = find(11, 0);
	ck_assert_uint_eq(s[4], 2);
	ck_assert_str_eq(string(s, 1), "first");
	ck_assert_str_eq(string(s, 2), "second");
	s = find(17, 1);
	ck_assert_str_eq(string(s, s[0x10]), "t26" "1");
	ck_assert_uint_eq(load_le16(s + 0x15), 2666);
}
END_TEST

/* The processor's id is CPUID's, unless the user has another. */
START_TEST(processor_id)
{
	struct smbios_platform p = platform();

	p.cpu_signature = 0x806f8;
	p.cpu_features = 0x1f8bfbff;
	build(&p, BASE);
	ck_assert_uint_eq(load_le64((const uint8_t *)find(4, 0) + 8), 0x1f8bfbff000806f8);
	smbios_tables_free(&tables);
	memset(&user, 0, sizeof(user));
	user.cpu_id = 0x1122334455667788;
	p.user = &user;
	build(&p, BASE);
	ck_assert_uint_eq(load_le64((const uint8_t *)find(4, 0) + 8), 0x1122334455667788);
}
END_TEST

/* Firmware that runs puts its own type 0 in front, with handle 0, unless the user has one. */
START_TEST(for_firmware)
{
	struct smbios_platform p = platform();

	p.firmware = true;
	smbios_tables_free(&tables);
	ck_assert_int_eq(smbios_build(&p, BASE, MAX, &tables, &err), 0);
	ck_assert_uint_eq(tables.data[SMBIOS_TABLE_OFF], 1);
	ck_assert_uint_eq(load_le16(tables.data + SMBIOS_TABLE_OFF + 2), 1);
	ck_assert_mem_eq(tables.data + SMBIOS_ENTRY32_OFF, "_SM_", 4);
	ck_assert_uint_eq(SMBIOS_ENTRY32_SIZE, sizeof(struct smbios_entry32));
	smbios_tables_free(&tables);
	p = user_platform();
	p.firmware = true;
	ck_assert_int_eq(smbios_build(&p, BASE, MAX, &tables, &err), 0);
	ck_assert_uint_eq(tables.data[SMBIOS_TABLE_OFF], 0);
}
END_TEST

/* A structure from a file takes the place of all of its type, and keeps its handle for itself. */
START_TEST(files)
{
	static const uint8_t chassis[] = { 3, 5, 2, 0, 0xaa, 'x', 0, 0 }, oem[] = { 200, 4, 1, 0, 0, 0 };
	const struct smbios_file list[] = { { chassis, sizeof(chassis) }, { oem, sizeof(oem) } };
	struct smbios_platform p = platform();
	const uint8_t *s;
	uint16_t handles[64];
	unsigned n = 0;

	p.files = list;
	p.n_files = 2;
	build(&p, BASE);
	for (s = tables.data + SMBIOS_TABLE_OFF; s < tables.data + tables.size; s += 2) {
		ck_assert_uint_lt(n, ARRAY_SIZE(handles));
		handles[n] = load_le16(s + 2);
		for (unsigned i = 0; i < n; i++)
			ck_assert_uint_ne(handles[i], handles[n]);
		n++;
		if (s[0] == 3)
			ck_assert_uint_eq(s[4], 0xaa);
		for (s += s[1]; s[0] || s[1]; s++)
			;
	}
	ck_assert_uint_eq(le16_get(entry32()->n_structures), n);
}
END_TEST

START_TEST(bad_files)
{
	static const struct {
		uint8_t data[12];
		size_t size;
		const char *says;
	} bad[] = {
		{ { 0 }, 0, "too short" },
		{ { 3, 4, 0 }, 3, "too short" },
		{ { 3, 3, 0, 0, 0, 0 }, 6, "too short" },
		{ { 3, 4, 0, 0, 0 }, 5, "too short" },
		{ { 3, 200, 0, 0, 0, 0 }, 6, "too short" },
		{ { 127, 4, 0, 0, 0, 0 }, 6, "type 127" },
		{ { 3, 4, 0, 0, 'a', 0 }, 6, "does not end" },
		{ { 3, 4, 0, 0, 'a', 'b', 'c' }, 7, "does not end" },
		{ { 3, 4, 0, 0, 0, 0, 0 }, 7, "does not end" },
		{ { 3, 4, 0, 0, 'a', 0, 0, 1, 0, 0 }, 10, "does not end" },
	};
	static const uint8_t good[] = { 3, 4, 0, 0, 'a', 0, 'b', 0, 0 };
	const struct smbios_file ok = { good, sizeof(good) };

	ck_assert_int_eq(smbios_file_check(&ok, "F", &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t *copy = malloc(bad[i].size + 1); /* exactly as large, for the sanitizer */
		const struct smbios_file file = { copy, bad[i].size };

		memcpy(copy, bad[i].data, bad[i].size);
		ck_assert_int_eq(smbios_file_check(&file, "F", &err), -EINVAL);
		ck_assert_msg(strstr(err.msg, bad[i].says) && strstr(err.msg, "F"), "%zu: %s", i, err.msg);
		free(copy);
	}
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
	tcase_add_test(tc, user_texts);
	tcase_add_test(tc, processor_id);
	tcase_add_test(tc, for_firmware);
	tcase_add_test(tc, files);
	tcase_add_test(tc, bad_files);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
