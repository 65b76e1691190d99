/* SPDX-License-Identifier: MIT */
/* Reads the MP tables as a system would: checksums, entries in the order of their types, every one once. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/mptable.h"
#include "firmware/mptable_wire.h"
#include "tests/unit/fake_firmware.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define BASE 0xe0000

static const uint32_t cpus[] = { 0, 1, 4, 5 };
static struct mptable table;
static struct err err;

static struct mptable_platform platform(void)
{
	return (struct mptable_platform){
		.product = "microvm",
		.apic_ids = cpus,
		.n_cpus = ARRAY_SIZE(cpus),
		.cpu_signature = 0x000806f8,
		.cpu_features = 0x1f8bfbff,
		.lapic_addr = 0xfee00000,
		.ioapic_addr = 0xfec00000,
		.ioapic_id = 6,
		.isa_irqs = BIT(0) | BIT(1) | BIT(4),
		.level_irqs = BIT(9) | BIT(23),
		.has_pic = true,
	};
}

static void build(const struct mptable_platform *p)
{
	ck_assert_msg(mptable_build(p, BASE, 4096, &table, &err) == 0, "%s", err.msg);
}

static void teardown(void)
{
	mptable_free(&table);
	ck_assert_ptr_null(table.data);
}

START_TEST(pointer)
{
	static const uint8_t want[] = { '_', 'M', 'P', '_', 0, 0, 0x0e, 0, 1, 4 };
	struct mptable_platform p = platform();

	build(&p);
	ck_assert_mem_eq(table.pointer, want, sizeof(want));
	ck_assert_uint_eq(fake_sum(table.pointer, 16), 0);
	for (unsigned i = 11; i < 16; i++) /* a table, virtual wire mode, reserved */
		ck_assert_uint_eq(table.pointer[i], 0);
}
END_TEST

START_TEST(header)
{
	struct mptable_platform p = platform();

	build(&p);
	ck_assert_mem_eq(table.data, "PCMP", 4);
	ck_assert_uint_eq(load_le16(table.data + 4), table.size);
	ck_assert_uint_eq(table.data[6], 4);
	ck_assert_uint_eq(fake_sum(table.data, table.size), 0);
	ck_assert_mem_eq(table.data + 8, "KITE    microvm     ", 20);
	ck_assert_uint_eq(load_le16(table.data + 34), 4 + 1 + 1 + 5 + 2);
	ck_assert_uint_eq(load_le32(table.data + 36), 0xfee00000);
	ck_assert_uint_eq(table.size, 44 + 4 * 20 + 9 * 8);
}
END_TEST

START_TEST(entries)
{
	static const uint8_t want[] = {
		0, 0, 0x14, 3, 0xf8, 6, 8, 0, 0xff, 0xfb, 0x8b, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, /* the boot processor */
		0, 1, 0x14, 1, 0xf8, 6, 8, 0, 0xff, 0xfb, 0x8b, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 4, 0x14, 1, 0xf8, 6, 8, 0, 0xff, 0xfb, 0x8b, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 5, 0x14, 1, 0xf8, 6, 8, 0, 0xff, 0xfb, 0x8b, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0,
		1, 0, 'I', 'S', 'A', ' ', ' ', ' ',
		2, 6, 0x11, 1, 0, 0, 0xc0, 0xfe,
		3, 0, 0, 0, 0, 0, 6, 2, /* the PIT is at pin 2 */
		3, 0, 0, 0, 0, 1, 6, 1,
		3, 0, 0, 0, 0, 4, 6, 4,
		3, 0, 0x0d, 0, 0, 9, 6, 9, /* level-triggered, active high */
		3, 0, 0x0d, 0, 0, 23, 6, 23,
		4, 3, 0, 0, 0, 0, 0xff, 0, /* the 8259s, at LINT0 */
		4, 1, 0, 0, 0, 0, 0xff, 1, /* NMI, at LINT1 */
	};
	struct mptable_platform p = platform();

	build(&p);
	ck_assert_uint_eq(table.size, 44 + sizeof(want));
	ck_assert_mem_eq(table.data + 44, want, sizeof(want));
}
END_TEST

START_TEST(without_pic)
{
	static const uint8_t want[] = { 3, 0, 0x0d, 0, 0, 23, 6, 23, 4, 1, 0, 0, 0, 0, 0xff, 1 };
	struct mptable_platform p = platform();

	p.has_pic = false;
	build(&p);
	ck_assert_mem_eq(table.data + table.size - sizeof(want), want, sizeof(want));
	ck_assert_uint_eq(load_le16(table.data + 34), 12);
}
END_TEST

/* PCI is bus 0 and ISA the next; every pin of every slot has an entry, in turn on the four pins. */
START_TEST(pci)
{
	static const uint8_t buses[] = { 1, 0, 'P', 'C', 'I', ' ', ' ', ' ', 1, 1, 'I', 'S', 'A', ' ', ' ', ' ' };
	static const uint8_t isa[] = { 3, 0, 0, 0, 1, 0, 6, 2 };
	struct mptable_platform p = platform();
	const uint8_t *at;

	p.product = "a product's long name";
	p.pci_pin = 16;
	p.level_irqs = 0;
	build(&p);
	ck_assert_mem_eq(table.data + 8, "KITE    a product's ", 20);
	ck_assert_uint_eq(fake_sum(table.data, table.size), 0);
	ck_assert_uint_eq(load_le16(table.data + 34), 4 + 2 + 1 + 128 + 3 + 2);
	at = table.data + 44 + 4 * 20;
	ck_assert_mem_eq(at, buses, sizeof(buses));
	at += 3 * 8;
	for (unsigned slot = 0; slot < 32; slot++)
		for (unsigned pin = 0; pin < 4; pin++, at += 8) {
			const uint8_t want[] = { 3, 0, 0, 0, 0, (uint8_t)(slot << 2 | pin), 6, (uint8_t)(16 + (slot + pin) % 4) };

			ck_assert_mem_eq(at, want, sizeof(want));
		}
	ck_assert_mem_eq(at, isa, sizeof(isa));
	p.pci_pin = 15;
	mptable_free(&table);
	ck_assert_int_eq(mptable_build(&p, BASE, 4096, &table, &err), -EINVAL);
	p.pci_pin = 21;
	ck_assert_int_eq(mptable_build(&p, BASE, 4096, &table, &err), -EINVAL);
}
END_TEST

START_TEST(limits)
{
	struct mptable_platform p = platform();
	size_t size;

	build(&p);
	size = table.size;
	mptable_free(&table);
	for (size_t max = 0; max < size; max++)
		ck_assert_int_eq(mptable_build(&p, BASE, max, &table, &err), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(err.msg, "4 vCPUs"));
	ck_assert_int_eq(mptable_build(&p, BASE, size, &table, &err), 0);
}
END_TEST

START_TEST(impossible)
{
	static const uint32_t high[] = { 0, 255 };
	struct mptable_platform bad[6];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = platform();
	bad[0].n_cpus = 0;
	bad[1].apic_ids = high;
	bad[1].n_cpus = ARRAY_SIZE(high);
	bad[2].ioapic_id = 5;
	bad[3].isa_irqs = BIT(16);
	bad[4].level_irqs = BIT(24);
	bad[5].level_irqs = BIT(2);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(mptable_build(&bad[i], BASE, 4096, &table, &err), -EINVAL);
		ck_assert_ptr_null(table.data);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mptable");
	TCase *tc = tcase_create("mptable");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, pointer);
	tcase_add_test(tc, header);
	tcase_add_test(tc, entries);
	tcase_add_test(tc, without_pic);
	tcase_add_test(tc, pci);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, impossible);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
