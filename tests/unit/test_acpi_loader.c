/* SPDX-License-Identifier: MIT */
/* Does what the script says, as firmware would, and compares with the tables that are built for that place at once. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/acpi_loader.h"
#include "firmware/acpi_tables.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define ROOM (64 * KIB)
#define RSDP_AT UINT64_C(0xf5a00)
#define TABLES_AT UINT64_C(0x7fff000)

static const uint32_t apic_ids[] = { 0, 1, 4, 300 };
static const struct acpi_isa_device isa[] = { { .name = "COM1", .hid = "PNP0501", .uid = 1, .io = { { 0x3f8, 8 } }, .irq = 4 } };
static const struct acpi_pci pci = { .ecam_base = 0xe0000000, .ecam_size = 0x100000, .mem32 = { { 0xc0000000, 0x20000000 } }, .gsi = 16 };
static const struct acpi_reduced reduced = { .event_port = 0x600, .event_gsi = 9, .sleep_control_port = 0x604, .sleep_status_port = 0x605 };

static struct acpi_platform platform(void)
{
	return (struct acpi_platform){
		.apic_ids = apic_ids, .n_cpus = 4, .lapic_addr = 0xfee00000, .ioapic_addr = 0xfec00000, .pm1_evt_port = 0x600,
		.pm1_cnt_port = 0x604, .pm_tmr_port = 0x608, .gpe0_port = 0x60c, .sci_irq = 9, .reset_port = 0xcf9, .reset_value = 6,
		.s5_slp_typ = 5, .has_rtc = true, .has_pic = true, .has_pit = true, .pci = &pci, .isa = isa, .n_isa = 1,
	};
}

/* Where firmware put a file. */
struct loaded {
	const char *name;
	uint8_t *data;
	size_t size;
	uint64_t at;
	bool allocated;
};

static struct loaded files[2];

static struct loaded *file_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (!strcmp(files[i].name, name))
			return &files[i];
	ck_abort_msg("there is no file %s", name);
	return NULL;
}

static void run(const struct acpi_loader_entry *e)
{
	struct loaded *f;

	switch (le32_get(e->command)) {
	case ACPI_LOADER_ALLOCATE:
		f = file_of(e->allocate.file);
		f->allocated = true;
		ck_assert_uint_eq(f->at % le32_get(e->allocate.align), 0);
		ck_assert_uint_eq(e->allocate.zone, f->at < MIB ? ACPI_LOADER_ZONE_FSEG : ACPI_LOADER_ZONE_HIGH);
		break;
	case ACPI_LOADER_ADD_POINTER:
		f = file_of(e->pointer.dest);
		ck_assert(f->allocated && file_of(e->pointer.src)->allocated);
		ck_assert(range_ok(le32_get(e->pointer.offset), e->pointer.size, f->size));
		ck_assert_uint_lt(load_le(f->data + le32_get(e->pointer.offset), e->pointer.size), file_of(e->pointer.src)->size);
		store_le(f->data + le32_get(e->pointer.offset),
			 load_le(f->data + le32_get(e->pointer.offset), e->pointer.size) + file_of(e->pointer.src)->at, e->pointer.size);
		break;
	case ACPI_LOADER_ADD_CHECKSUM: {
		uint8_t sum = 0;

		f = file_of(e->checksum.file);
		ck_assert(f->allocated && range_ok(le32_get(e->checksum.start), le32_get(e->checksum.length), f->size));
		ck_assert_uint_ge(le32_get(e->checksum.offset), le32_get(e->checksum.start));
		for (uint32_t i = 0; i < le32_get(e->checksum.length); i++)
			sum = (uint8_t)(sum + f->data[le32_get(e->checksum.start) + i]);
		f->data[le32_get(e->checksum.offset)] -= sum;
		break;
	}
	default:
		ck_abort_msg("command %u", le32_get(e->command));
	}
}

/*
 * The RSDP is elsewhere than in tables built at once, so it is compared apart. `_i` 0: fixed hardware; 1: hardware-reduced, with neither FACS nor a bus.
 */
START_TEST(same_as_at_once)
{
	struct acpi_platform p = platform();
	struct acpi_loader loader;
	struct acpi_tables direct;
	struct err err = ERR_INIT;
	const struct acpi_rsdp *rsdp;

	if (_i == 1) {
		p.reduced = &reduced;
		p.pci = NULL;
	}
	ck_assert_msg(acpi_loader_build(&loader, &p, ROOM, &err) == 0, "%s", err.msg);
	ck_assert_msg(acpi_build(&p, TABLES_AT - 64, ROOM, &direct, &err) == 0, "%s", err.msg);
	files[0] = (struct loaded){ ACPI_LOADER_RSDP, loader.rsdp, loader.rsdp_size, RSDP_AT, false };
	files[1] = (struct loaded){ ACPI_LOADER_TABLES, loader.tables, loader.tables_size, TABLES_AT, false };
	for (size_t i = 0; i < loader.n; i++)
		run(&loader.script[i]);
	ck_assert_uint_eq(loader.rsdp_size, 36);
	ck_assert_mem_eq(loader.rsdp, direct.data, 36);
	ck_assert_uint_eq(loader.tables_size, direct.size - 64);
	ck_assert_mem_eq(loader.tables, direct.data + 64, loader.tables_size);
	rsdp = (const struct acpi_rsdp *)loader.rsdp;
	ck_assert_uint_gt(le32_get(rsdp->rsdt), TABLES_AT);
	ck_assert_uint_gt(le64_get(rsdp->xsdt), TABLES_AT);
	acpi_loader_fini(&loader);
	acpi_tables_free(&direct);
}
END_TEST

START_TEST(limits)
{
	struct acpi_platform p = platform();
	struct acpi_loader loader;
	struct err err = ERR_INIT;

	ck_assert_int_eq(acpi_loader_build(&loader, &p, 100, &err), -ENOSPC);
	acpi_loader_fini(&loader);
	p.n_cpus = 0;
	ck_assert_int_eq(acpi_loader_build(&loader, &p, ROOM, &err), -EINVAL);
	acpi_loader_fini(&loader);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("acpi_loader");
	TCase *tc = tcase_create("acpi_loader");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_loop_test(tc, same_as_at_once, 0, 2);
	tcase_add_test(tc, limits);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
