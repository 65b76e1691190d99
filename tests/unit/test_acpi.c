/* SPDX-License-Identifier: MIT */
/* Reads the tables as a system would, from the RSDP on; then iasl, ACPICA's compiler, judges them. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/acpi.h"
#include "firmware/acpi_tables.h"
#include "tests/unit/fake_firmware.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define BASE UINT64_C(0xe0010) /* a multiple of 16, not of 64 */

static const uint32_t four_cpus[] = { 0, 1, 4, 5 };
static const struct acpi_isa_device devices[] = {
	{ .name = "COM1", .hid = "PNP0501", .uid = 1, .io = { { 0x3f8, 8 } }, .irq = 4 },
	{ .name = "COM2", .hid = "PNP0501", .uid = 2, .io = { { 0x2f8, 8 } }, .irq = 3 },
	{ .name = "RTC", .hid = "PNP0B00", .io = { { 0x70, 2 } }, .irq = 8 },
	{ .name = "KBD", .hid = "PNP0303", .io = { { 0x60, 1 }, { 0x64, 1 } }, .irq = 1 },
	{ .name = "DBG", .hid = "KITE0001", .io = { { 0xf4, 4 } }, .irq = ACPI_NO_IRQ },
	{ .name = "NONE", .hid = "PNP0C02", .irq = ACPI_NO_IRQ },
};

static struct acpi_platform platform(void)
{
	return (struct acpi_platform){
		.apic_ids = four_cpus,
		.n_cpus = ARRAY_SIZE(four_cpus),
		.lapic_addr = 0xfee00000,
		.ioapic_addr = 0xfec00000,
		.ioapic_id = 7,
		.pm1_evt_port = 0x600,
		.pm1_cnt_port = 0x604,
		.pm_tmr_port = 0x608,
		.gpe0_port = 0x60c,
		.sci_irq = 9,
		.reset_port = 0xcf9,
		.reset_value = 6,
		.s5_slp_typ = 5,
		.has_i8042 = true,
		.has_rtc = true,
		.has_pic = true,
		.has_pit = true,
		.isa = devices,
		.n_isa = ARRAY_SIZE(devices),
	};
}

static const struct acpi_pci pci = {
	.ecam_base = 0xe0000000,
	.ecam_size = MIB,
	.mem32 = { { 0xc0000000, 0x20000000 } },
	.mem64 = { 8 * GIB, 64 * GIB },
	.gsi = 16,
};

static const struct acpi_reduced reduced = {
	.event_port = 0x600, .event_gsi = 9, .sleep_control_port = 0x604, .sleep_status_port = 0x605,
};
static const struct acpi_virtio_mmio virtio[] = { { 0xfeb00000, 0x200, 16 }, { 0xfeb00200, 0x200, 17 } };

/* Hardware-reduced, with nothing of a PC's that it can do without. */
static struct acpi_platform reduced_platform(void)
{
	struct acpi_platform p = platform();

	p.reduced = &reduced;
	p.has_i8042 = p.has_rtc = p.has_pic = p.has_pit = false;
	p.isa = devices;
	p.n_isa = 1;
	p.virtio = virtio;
	p.n_virtio = ARRAY_SIZE(virtio);
	return p;
}

static struct acpi_tables tables;
static struct err err;
static size_t n_tables = 2; /* in the XSDT */

static void build(const struct acpi_platform *p, uint64_t base)
{
	int r = acpi_build(p, base, MIB, &tables, &err);

	ck_assert_msg(r == 0, "acpi_build: %s", err.msg);
	ck_assert_uint_gt(tables.size, 0);
}

static void teardown(void)
{
	acpi_tables_free(&tables);
	ck_assert_ptr_null(tables.data);
}

/* What stands at guest address `addr`; all `len` bytes must be inside the tables. */
static const void *at(uint64_t base, uint64_t addr, uint64_t len)
{
	ck_assert_msg(addr >= base && range_ok(addr - base, len, tables.size), "address %#llx is outside",
		      (unsigned long long)addr);
	return tables.data + (addr - base);
}

/* A table with the signature, whole and with a good checksum. */
static const void *table_at(uint64_t base, uint64_t addr, const char *signature, uint32_t *len)
{
	const struct acpi_header *h = at(base, addr, sizeof(*h));

	*len = le32_get(h->length);
	ck_assert_mem_eq(h->signature, signature, 4);
	ck_assert_uint_ge(*len, sizeof(*h));
	at(base, addr, *len);
	ck_assert_uint_eq(fake_sum(h, *len), 0);
	ck_assert_mem_eq(h->oem_id, "KITE  ", 6);
	ck_assert_uint_eq(addr % 16, 0);
	return h;
}

static const struct acpi_rsdp *rsdp_of(uint64_t base)
{
	const struct acpi_rsdp *rsdp = at(base, base, sizeof(*rsdp));

	ck_assert_mem_eq(rsdp->signature, "RSD PTR ", 8);
	ck_assert_uint_eq(rsdp->revision, 2);
	ck_assert_uint_eq(le32_get(rsdp->length), 36);
	ck_assert_uint_eq(fake_sum(rsdp, 20), 0);
	ck_assert_uint_eq(fake_sum(rsdp, 36), 0);
	return rsdp;
}

/* Table `i` of the XSDT, where the RSDT must have the same. */
static const void *find(uint64_t base, size_t i, const char *signature, uint32_t *len)
{
	const struct acpi_rsdp *rsdp = rsdp_of(base);
	uint32_t xlen, rlen;
	const uint8_t *xsdt = table_at(base, le64_get(rsdp->xsdt), "XSDT", &xlen);
	const uint8_t *rsdt = table_at(base, le32_get(rsdp->rsdt), "RSDT", &rlen);

	ck_assert_uint_eq(xlen, 36 + n_tables * 8);
	ck_assert_uint_eq(rlen, 36 + n_tables * 4);
	ck_assert_uint_eq(load_le64(xsdt + 36 + 8 * i), load_le32(rsdt + 36 + 4 * i));
	return table_at(base, load_le64(xsdt + 36 + 8 * i), signature, len);
}

static void expect_gas(const struct acpi_gas *gas, uint8_t width, uint8_t access, le32 old, uint64_t port)
{
	ck_assert_uint_eq(gas->space, 1);
	ck_assert_uint_eq(gas->bit_width, width);
	ck_assert_uint_eq(gas->bit_offset, 0);
	ck_assert_uint_eq(gas->access_size, access);
	ck_assert_uint_eq(le64_get(gas->address), port);
	ck_assert_uint_eq(le32_get(old), port);
}

START_TEST(fadt)
{
	struct acpi_platform p = platform();
	const struct acpi_fadt *f;
	const struct acpi_facs *facs;
	uint32_t len;

	build(&p, BASE);
	f = find(BASE, 0, "FACP", &len);
	ck_assert_uint_eq(len, 276);
	ck_assert_uint_eq(f->h.revision, 6);
	ck_assert_uint_eq(le16_get(f->sci_int), 9);
	ck_assert_uint_eq(le32_get(f->smi_cmd), 0);
	expect_gas(&f->x_pm1a_evt_blk, 32, 2, f->pm1a_evt_blk, 0x600);
	expect_gas(&f->x_pm1a_cnt_blk, 16, 2, f->pm1a_cnt_blk, 0x604);
	expect_gas(&f->x_pm_tmr_blk, 32, 3, f->pm_tmr_blk, 0x608);
	expect_gas(&f->x_gpe0_blk, 32, 1, f->gpe0_blk, 0x60c);
	expect_gas(&f->reset_reg, 8, 1, le32_of(0xcf9), 0xcf9);
	ck_assert_uint_eq(f->pm1_evt_len, 4);
	ck_assert_uint_eq(f->pm1_cnt_len, 2);
	ck_assert_uint_eq(f->pm_tmr_len, 4);
	ck_assert_uint_eq(f->gpe0_blk_len, 4);
	ck_assert_uint_eq(f->reset_value, 6);
	ck_assert_uint_eq(f->century, 0x32);
	/* WBINVD, PROC_C1, SLP_BUTTON, FIX_RTC, TMR_VAL_EXT, RESET_REG_SUP; not PWR_BUTTON, not HW_REDUCED_ACPI */
	ck_assert_uint_eq(le32_get(f->flags), 0x565);
	ck_assert_uint_eq(le16_get(f->iapc_boot_arch), 7);

	ck_assert_uint_eq(le64_get(f->x_facs), 0);
	ck_assert_uint_eq(le32_get(f->facs) % 64, 0);
	facs = at(BASE, le32_get(f->facs), 64);
	ck_assert_mem_eq(facs->signature, "FACS", 4);
	ck_assert_uint_eq(le32_get(facs->length), 64);
	ck_assert_uint_eq(le64_get(f->x_dsdt), le32_get(f->dsdt));
	table_at(BASE, le64_get(f->x_dsdt), "DSDT", &len);
}
END_TEST

START_TEST(fadt_without_i8042)
{
	struct acpi_platform p = platform();
	const struct acpi_fadt *f;
	uint32_t len;

	p.has_i8042 = false;
	build(&p, BASE);
	f = find(BASE, 0, "FACP", &len);
	ck_assert_uint_eq(le16_get(f->iapc_boot_arch), 5);
}
END_TEST

static void expect_port(const struct acpi_gas *gas, uint64_t port)
{
	ck_assert_uint_eq(gas->space, 1);
	ck_assert_uint_eq(gas->bit_width, 8);
	ck_assert_uint_eq(gas->access_size, 1);
	ck_assert_uint_eq(le64_get(gas->address), port);
}

START_TEST(fadt_reduced)
{
	struct acpi_platform p = reduced_platform();
	const struct acpi_fadt *f;
	uint32_t len;

	build(&p, BASE);
	f = find(BASE, 0, "FACP", &len);
	/* WBINVD, PROC_C1, PWR_BUTTON, SLP_BUTTON, FIX_RTC, RESET_REG_SUP, HW_REDUCED_ACPI */
	ck_assert_uint_eq(le32_get(f->flags), 0x100475);
	ck_assert_uint_eq(le16_get(f->iapc_boot_arch), 0x25); /* legacy devices, no VGA, no RTC */
	ck_assert_uint_eq(f->century, 0);
	expect_port(&f->sleep_control, 0x604);
	expect_port(&f->sleep_status, 0x605);
	expect_port(&f->reset_reg, 0xcf9);
	/* Nothing of the fixed hardware, nor its FACS. */
	ck_assert_uint_eq(le16_get(f->sci_int), 0);
	ck_assert_uint_eq(le32_get(f->pm1a_evt_blk) | le32_get(f->pm1a_cnt_blk) | le32_get(f->pm_tmr_blk) | le32_get(f->gpe0_blk), 0);
	ck_assert_uint_eq(le64_get(f->x_pm1a_evt_blk.address) | le64_get(f->x_pm1a_cnt_blk.address), 0);
	ck_assert_uint_eq(f->pm1_evt_len | f->pm1_cnt_len | f->pm_tmr_len | f->gpe0_blk_len, 0);
	ck_assert_uint_eq(le64_get(f->x_facs) | le32_get(f->facs), 0);
}
END_TEST

/* Entry number `n` of one type in the MADT; NULL when there are not so many. */
static const uint8_t *madt_entry(uint8_t type, unsigned n)
{
	uint32_t len, off;
	const uint8_t *madt = find(BASE, 1, "APIC", &len);

	for (off = sizeof(struct acpi_madt); off < len; off += madt[off + 1]) {
		ck_assert_uint_ge(madt[off + 1], 2);
		if (madt[off] == type && n-- == 0)
			return madt + off;
	}
	ck_assert_uint_eq(off, len);
	return NULL;
}

START_TEST(madt)
{
	static const uint8_t ioapic[] = { 1, 12, 7, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0 };
	static const uint8_t pit[] = { 2, 10, 0, 0, 2, 0, 0, 0, 0, 0 };
	static const uint8_t sci[] = { 2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0 };
	static const uint8_t nmi[] = { 4, 6, 0xff, 0, 0, 1 };
	struct acpi_platform p = platform();
	const struct acpi_madt *m;
	uint32_t len;

	build(&p, BASE);
	m = find(BASE, 1, "APIC", &len);
	ck_assert_uint_eq(le32_get(m->lapic_addr), 0xfee00000);
	ck_assert_uint_eq(le32_get(m->flags), 1);
	for (unsigned i = 0; i < ARRAY_SIZE(four_cpus); i++) {
		const uint8_t want[] = { 0, 8, (uint8_t)four_cpus[i], (uint8_t)four_cpus[i], 1, 0, 0, 0 };

		ck_assert_mem_eq(madt_entry(0, i), want, sizeof(want));
	}
	ck_assert_ptr_null(madt_entry(0, ARRAY_SIZE(four_cpus)));
	ck_assert_mem_eq(madt_entry(1, 0), ioapic, sizeof(ioapic));
	ck_assert_ptr_null(madt_entry(1, 1));
	ck_assert_mem_eq(madt_entry(2, 0), pit, sizeof(pit));
	ck_assert_mem_eq(madt_entry(2, 1), sci, sizeof(sci));
	ck_assert_ptr_null(madt_entry(2, 2));
	ck_assert_mem_eq(madt_entry(4, 0), nmi, sizeof(nmi));
	ck_assert_ptr_null(madt_entry(9, 0));
	ck_assert_ptr_null(madt_entry(10, 0));
}
END_TEST

START_TEST(madt_reduced)
{
	struct acpi_platform p = reduced_platform();
	const struct acpi_madt *m;
	uint32_t len;

	build(&p, BASE);
	m = find(BASE, 1, "APIC", &len);
	ck_assert_uint_eq(le32_get(m->flags), 0); /* no 8259s */
	ck_assert_ptr_null(madt_entry(2, 0));     /* neither PIT nor SCI */
	acpi_tables_free(&tables);
	p.has_pit = p.has_pic = true;
	build(&p, BASE);
	m = find(BASE, 1, "APIC", &len);
	ck_assert_uint_eq(le32_get(m->flags), 1);
	ck_assert_uint_eq(madt_entry(2, 0)[3], 0);
	ck_assert_ptr_null(madt_entry(2, 1));
}
END_TEST

START_TEST(madt_x2apic)
{
	static const uint32_t ids[] = { 254, 255, 0x12345 };
	static const uint8_t first[] = { 9, 16, 0, 0, 255, 0, 0, 0, 1, 0, 0, 0, 255, 0, 0, 0 };
	static const uint8_t second[] = { 9, 16, 0, 0, 0x45, 0x23, 1, 0, 1, 0, 0, 0, 0x45, 0x23, 1, 0 };
	static const uint8_t nmi[] = { 10, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0 };
	struct acpi_platform p = platform();

	p.apic_ids = ids;
	p.n_cpus = ARRAY_SIZE(ids);
	build(&p, BASE);
	ck_assert_uint_eq(madt_entry(0, 0)[3], 254);
	ck_assert_ptr_null(madt_entry(0, 1));
	ck_assert_mem_eq(madt_entry(9, 0), first, sizeof(first));
	ck_assert_mem_eq(madt_entry(9, 1), second, sizeof(second));
	ck_assert_ptr_null(madt_entry(9, 2));
	ck_assert_mem_eq(madt_entry(10, 0), nmi, sizeof(nmi));
}
END_TEST

START_TEST(limits)
{
	struct acpi_platform p = platform();
	size_t size;

	build(&p, BASE);
	size = tables.size;
	acpi_tables_free(&tables);
	ck_assert_int_eq(acpi_build(&p, BASE, size, &tables, &err), 0);
	acpi_tables_free(&tables);
	for (size_t max = 0; max < size; max++) {
		ck_assert_int_eq(acpi_build(&p, BASE, max, &tables, &err), -ENOSPC);
		ck_assert_ptr_null(tables.data);
		ck_assert_ptr_nonnull(strstr(err.msg, "4 vCPUs"));
	}
	/* Nothing may need an address of more than 32 bits. */
	ck_assert_int_eq(acpi_build(&p, 4 * GIB - 1024, MIB, &tables, &err), -ENOSPC);
	ck_assert_int_eq(acpi_build(&p, 4 * GIB, MIB, &tables, &err), -ENOSPC);
	build(&p, 4 * GIB - align_up(size, 64) - 64);
	rsdp_of(4 * GIB - align_up(size, 64) - 64);
}
END_TEST

START_TEST(every_alignment)
{
	struct acpi_platform p = platform();

	for (uint64_t base = 0xe0000; base < 0xe0080; base += 16) {
		const struct acpi_fadt *f;
		uint32_t len;

		build(&p, base);
		f = find(base, 0, "FACP", &len);
		ck_assert_uint_eq(le32_get(f->facs) % 64, 0);
		find(base, 1, "APIC", &len);
		acpi_tables_free(&tables);
	}
}
END_TEST

static const struct {
	struct acpi_isa_device dev;
	const char *says;
} bad_devices[] = {
	{ { .name = "COM1", .hid = "PNP0501" }, "two ACPI devices have the name 'COM1'" },
	{ { .name = "C0FF", .hid = "PNP0501" }, "two ACPI devices have the name 'C0FF'" },
	{ { .name = "1COM", .hid = "PNP0501" }, "cannot express" },
	{ { .name = "com1", .hid = "PNP0501" }, "cannot express" },
	{ { .name = "COM9", .hid = "PNP\n" }, "cannot express" },
	{ { .name = "COM9", .hid = "PNP0501", .irq = 16 }, "cannot express" },
	{ { .name = "COM9", .hid = "PNP0501", .io = { { 0xffff, 8 } } }, "cannot express" },
	{ { .name = "COM9", .hid = "PNP0501", .io = { { 0x100, 300 } } }, "cannot express" },
};

START_TEST(bad_device)
{
	struct acpi_isa_device list[] = { devices[0], bad_devices[_i].dev };
	struct acpi_platform p = platform();

	p.isa = list;
	p.n_isa = ARRAY_SIZE(list);
	ck_assert_int_eq(acpi_build(&p, BASE, MIB, &tables, &err), -EINVAL);
	ck_assert_msg(strstr(err.msg, bad_devices[_i].says) != NULL, "%s", err.msg);
	ck_assert_ptr_null(tables.data);
}
END_TEST

START_TEST(cpu_counts)
{
	static uint32_t ids[ACPI_MAX_CPUS + 1];
	struct acpi_platform p = platform();

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		ids[i] = (uint32_t)i;
	p.apic_ids = ids;
	p.n_cpus = 0;
	ck_assert_int_eq(acpi_build(&p, BASE, MIB, &tables, &err), -EINVAL);
	p.n_cpus = ARRAY_SIZE(ids);
	ck_assert_int_eq(acpi_build(&p, BASE, MIB, &tables, &err), -EINVAL);
	p.n_cpus--;
	build(&p, BASE);
	ck_assert_ptr_nonnull(madt_entry(9, ACPI_MAX_CPUS - 256));
	ck_assert_ptr_null(madt_entry(9, ACPI_MAX_CPUS - 255));
}
END_TEST

/* Takes a table apart with iasl, and puts it together again: the result must be the same but for who made it. */
static void iasl_table(const char *name, const void *table, uint32_t len)
{
	static const char summary[] = "0 Errors, 0 Warnings, 0 Remarks";
	static uint8_t again[1 << 20];
	static char output[1 << 16];
	char command[160], file[16];
	bool is_dsdt = !strcmp(name, "dsdt");
	size_t n;

	snprintf(file, sizeof(file), "%s.dat", name);
	fake_write(file, 0, table, len);
	snprintf(command, sizeof(command), "timeout 60 iasl -d %s.dat 2>&1", name);
	ck_assert_msg(fake_run(command, output, sizeof(output)) == 0, "iasl -d of %s:\n%s", name, output);
	ck_assert_msg(!strcasestr(output, "error") && !strcasestr(output, "warning") && !strcasestr(output, "invalid"),
		      "iasl -d of %s:\n%s", name, output);
	snprintf(command, sizeof(command), "grep -inE 'error|warning|invalid|unknown|incorrect' %s.dsl", name);
	ck_assert_msg(fake_run(command, output, sizeof(output)) == 1, "iasl -d of %s wrote:\n%s", name, output);
	snprintf(command, sizeof(command), "timeout 60 iasl -on -tc -p again-%s %s.dsl 2>&1", name, name);
	ck_assert_msg(fake_run(command, output, sizeof(output)) == 0, "iasl -tc of %s:\n%s", name, output);
	ck_assert_msg(strstr(output, is_dsdt ? summary : "0 Errors, 0 Warnings") != NULL, "iasl -tc of %s:\n%s", name, output);

	snprintf(command, sizeof(command), "again-%s.aml", name);
	n = fake_read(command, again, sizeof(again));
	ck_assert_uint_eq(n, len);
	ck_assert_mem_eq(again, table, 8); /* signature and length */
	ck_assert_mem_eq(again + sizeof(struct acpi_header), (const uint8_t *)table + sizeof(struct acpi_header),
			 len - sizeof(struct acpi_header));
}

START_TEST(mcfg)
{
	struct acpi_platform p = platform();
	struct acpi_pci no_ecam = pci;
	const struct acpi_mcfg *m;
	uint32_t len;

	p.pci = &pci;
	n_tables = 3;
	build(&p, BASE);
	m = find(BASE, 2, "MCFG", &len);
	ck_assert_uint_eq(len, 60);
	ck_assert_uint_eq(le64_get(m->base), 0xe0000000);
	ck_assert_uint_eq(le16_get(m->segment), 0);
	ck_assert_uint_eq(m->first_bus, 0);
	ck_assert_uint_eq(m->last_bus, 0);
	acpi_tables_free(&tables);
	no_ecam.ecam_base = 0;
	p.pci = &no_ecam;
	n_tables = 2;
	build(&p, BASE);
	find(BASE, 1, "APIC", &len);
}
END_TEST

static void iasl_all(void)
{
	const struct acpi_rsdp *rsdp = rsdp_of(BASE);
	const struct acpi_fadt *f;
	struct fake_dir dir;
	const void *t;
	uint32_t len;

	fake_need_program("iasl", "acpica-tools");
	fake_dir_make(&dir);
	f = find(BASE, 0, "FACP", &len);
	iasl_table("facp", f, len);
	t = find(BASE, 1, "APIC", &len);
	iasl_table("apic", t, len);
	if (n_tables == 3) {
		t = find(BASE, 2, "MCFG", &len);
		iasl_table("mcfg", t, len);
	}
	t = table_at(BASE, le64_get(f->x_dsdt), "DSDT", &len);
	iasl_table("dsdt", t, len);
	if (le32_get(f->facs))
		iasl_table("facs", at(BASE, le32_get(f->facs), 64), 64);
	t = table_at(BASE, le64_get(rsdp->xsdt), "XSDT", &len);
	iasl_table("xsdt", t, len);
	t = table_at(BASE, le32_get(rsdp->rsdt), "RSDT", &len);
	iasl_table("rsdt", t, len);
	fake_dir_remove(&dir);
}

START_TEST(iasl)
{
	struct acpi_platform p = platform();

	build(&p, BASE);
	iasl_all();
}
END_TEST

START_TEST(iasl_pci)
{
	struct acpi_platform p = platform();
	struct acpi_pci small = pci;

	p.pci = &pci;
	n_tables = 3;
	build(&p, BASE);
	iasl_all();
	acpi_tables_free(&tables);
	small.mem64.size = 0;
	p.pci = &small;
	build(&p, BASE);
	iasl_all();
	n_tables = 2;
}
END_TEST

START_TEST(iasl_reduced)
{
	struct acpi_platform p = reduced_platform();

	build(&p, BASE);
	iasl_all();
}
END_TEST

START_TEST(iasl_many_cpus)
{
	static uint32_t ids[300];
	struct acpi_platform p = platform();

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		ids[i] = (uint32_t)(i * 3);
	p.apic_ids = ids;
	p.n_cpus = ARRAY_SIZE(ids);
	build(&p, BASE);
	iasl_all();
}
END_TEST

/* The entries of _PRT: every pin of every slot, once, at (slot + pin) mod 4 from INTA's GSI. */
static void check_prt(const char *text)
{
	for (unsigned slot = 0; slot < 32; slot++) {
		for (unsigned pin = 0; pin < 4; pin++) {
			char field[4][32]; /* 0 and 1 are the words Zero and One */

			text = strstr(text + 1, "Package (0x04)");
			ck_assert_ptr_nonnull(text);
			ck_assert_int_eq(sscanf(text, "Package (0x04) { %31[^,], %31[^,], %31[^,], %31s", field[0], field[1], field[2],
						field[3]), 4);
			ck_assert_uint_eq(strtoul(field[0], NULL, 0), slot << 16 | 0xffff);
			ck_assert_uint_eq(!strcmp(field[1], "One") ? 1 : strtoul(field[1], NULL, 0), pin);
			ck_assert_str_eq(field[2], "Zero");
			ck_assert_uint_eq(strtoul(field[3], NULL, 0), 16 + (slot + pin) % 4);
		}
	}
}

/* The DSDT in the words of the disassembler. */
static void disassemble(char *text, size_t size)
{
	struct fake_dir dir;
	const struct acpi_fadt *f;
	const void *t;
	uint32_t len;

	fake_need_program("iasl", "acpica-tools");
	f = find(BASE, 0, "FACP", &len);
	t = table_at(BASE, le64_get(f->x_dsdt), "DSDT", &len);
	fake_dir_make(&dir);
	fake_write("dsdt.dat", 0, t, len);
	ck_assert_int_eq(fake_run("timeout 60 iasl -d dsdt.dat 2>&1", text, size), 0);
	text[fake_read("dsdt.dsl", text, size - 1)] = '\0';
	fake_dir_remove(&dir);
}

START_TEST(dsdt_text)
{
	static const char *const want[] = {
		"Scope (\\_SB)",
		"Device (C000)",
		"Device (C003)",
		"Name (_HID, \"ACPI0007\" /* Processor Device */)",
		"Device (COM2)",
		"Name (_HID, EisaId (\"PNP0501\")",
		"Name (_STA, 0x0F)",
		"0x02F8,             // Range Minimum",
		"0x02F8,             // Range Maximum",
		"IRQNoFlags ()\n                    {3}",
		"Name (_HID, \"KITE0001\")",
		"Name (\\_S5, Package (0x04)",
		"Device (PCI0)",
		"Name (_HID, EisaId (\"PNP0A03\")",
		"WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,\n"
		"                    0x0000,             // Granularity\n"
		"                    0x0000,             // Range Minimum\n"
		"                    0x0000,             // Range Maximum\n"
		"                    0x0000,             // Translation Offset\n"
		"                    0x0001,             // Length",
		"WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,",
		"0x0CF7,             // Range Maximum",
		"0x0CF8,             // Range Minimum",
		"0x0D00,             // Range Minimum",
		"0xF300,             // Length",
		"DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,",
		"0xDFFFFFFF,         // Range Maximum",
		"QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,",
		"0x00000011FFFFFFFF, // Range Maximum",
		"0x0000001000000000, // Length",
		"Name (_PRT, Package (0x80)",
		("Memory32Fixed (ReadWrite,\n                    0xE0000000,         // Address Base\n"
		"                    0x00100000,         // Address Length"),
	};
	struct acpi_platform p = platform();
	static char text[1 << 18];

	p.pci = &pci;
	n_tables = 3;
	build(&p, BASE);
	disassemble(text, sizeof(text));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		ck_assert_msg(strstr(text, want[i]) != NULL, "no %s in:\n%s", want[i], text);
	ck_assert_ptr_null(strstr(text, "C004"));
	check_prt(strstr(text, "_PRT"));
	/* The last CPU has its APIC id, as in the MADT. */
	ck_assert_mem_eq(strstr(strstr(text, "Device (C003)"), "_UID"), "_UID, 0x05)", 11);
}
END_TEST

START_TEST(dsdt_reduced)
{
	static const char *const want[] = {
		"Device (VR01)\n        {\n            Name (_HID, \"LNRO0005\")",
		"Name (_UID, One)",
		"0xFEB00200,         // Address Base\n                    0x00000200,         // Address Length",
		"Interrupt (ResourceConsumer, Level, ActiveHigh, Shared, ,, )\n                {\n                    0x00000011,",
		"Device (PWRB)",
		"EisaId (\"PNP0C0C\")",
		"Device (GED)",
		"Name (_HID, \"ACPI0013\"",
		"Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive, ,, )\n                {\n                    0x00000009,",
		"OperationRegion (EVTR, SystemIO, 0x0600, 0x04)",
		"Field (EVTR, DWordAcc, NoLock, Preserve)",
		"ESEL,   32",
		"Method (_EVT, 1, Serialized)",
		"If ((ESEL & One))",
		"Notify (\\_SB.PWRB, 0x80)",
	};
	struct acpi_platform p = reduced_platform();
	static char text[1 << 18];
	const char *from = text;

	build(&p, BASE);
	disassemble(text, sizeof(text));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		from = strstr(from, want[i]);
		ck_assert_msg(from != NULL, "no %s in its place in:\n%s", want[i], text);
	}
	ck_assert_ptr_null(strstr(text, "VR02"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("acpi");
	TCase *tc = tcase_create("tables"), *judge = tcase_create("iasl");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, fadt);
	tcase_add_test(tc, fadt_without_i8042);
	tcase_add_test(tc, fadt_reduced);
	tcase_add_test(tc, madt);
	tcase_add_test(tc, madt_reduced);
	tcase_add_test(tc, madt_x2apic);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, every_alignment);
	tcase_add_loop_test(tc, bad_device, 0, ARRAY_SIZE(bad_devices));
	tcase_add_test(tc, cpu_counts);
	tcase_add_test(tc, mcfg);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(judge, NULL, teardown);
	tcase_set_timeout(judge, 100);
	tcase_add_test(judge, iasl);
	tcase_add_test(judge, iasl_pci);
	tcase_add_test(judge, iasl_reduced);
	tcase_add_test(judge, iasl_many_cpus);
	tcase_add_test(judge, dsdt_text);
	tcase_add_test(judge, dsdt_reduced);
	suite_add_tcase(s, judge);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
