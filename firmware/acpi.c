/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation: the tables are appended to one buffer that will stand at `base` in guest memory, each one after those
 * that it points to; so every pointer is known when it is written. Only the RSDP comes first, as the caller needs it there,
 * and is filled in last.
 *
 *	RSDP -> XSDT, RSDT -> FADT -> FACS, DSDT
 *	                   -> MADT, MCFG
 *
 * Hardware-reduced ACPI has no FACS, whose lock and waking vector serve what it does without.
 *
 * The RSDT and the 32-bit pointers of the FADT say the same as the XSDT and the 64-bit ones, for systems that know only ACPI 1.0.
 */
#include "firmware/acpi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/acpi_tables.h"
#include "firmware/blob.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define OEM_ID "KITE  "
#define TABLE_ALIGN 16
#define MAX_VIRTIO 256 /* names have two digits */
#define CMOS_CENTURY 0x32 /* the byte of CMOS memory where PC firmware keeps the century */

struct builder {
	const struct acpi_platform *platform;
	struct blob out;
	uint64_t base;
	struct acpi_fixup fixups[ACPI_MAX_FIXUPS];
	size_t n_fixups;
};

static struct acpi_header header(const char *signature, uint8_t revision)
{
	struct acpi_header h = { .revision = revision, .oem_revision = le32_of(1), .creator_revision = le32_of(1) };

	memcpy(h.signature, signature, sizeof(h.signature));
	memcpy(h.oem_id, OEM_ID, sizeof(h.oem_id));
	memcpy(h.oem_table_id, "KITE", 4);
	memcpy(h.oem_table_id + 4, signature, 4);
	memcpy(h.creator_id, "KITE", sizeof(h.creator_id));
	return h;
}

/* Appends the fixed part of a table, at an aligned address. Returns its offset. */
static size_t table_begin(struct builder *b, const void *fixed, size_t len)
{
	size_t off;

	blob_align(&b->out, b->base, TABLE_ALIGN);
	off = b->out.len;
	blob_put(&b->out, fixed, len);
	return off;
}

static void fixup(struct builder *b, enum acpi_fixup_kind kind, size_t at, size_t start, size_t size)
{
	if (b->n_fixups == ACPI_MAX_FIXUPS) {
		blob_fail(&b->out, -ENOSPC);
		return;
	}
	b->fixups[b->n_fixups++] = (struct acpi_fixup){ .kind = kind, .at = (uint32_t)at, .start = (uint32_t)start, .size = (uint32_t)size };
}

/* There is an address at `at`. */
static void fixup_pointer(struct builder *b, size_t at, size_t size)
{
	fixup(b, ACPI_FIXUP_POINTER, at, 0, size);
}

/* Makes [start, start + len) sum to zero by the byte at `at` in it, a zero until now. */
static void put_checksum(struct builder *b, size_t at, size_t start, size_t len)
{
	uint8_t sum = blob_checksum(&b->out, start, len);

	blob_set(&b->out, at, &sum, 1);
	fixup(b, ACPI_FIXUP_CHECKSUM, at, start, len);
}

/* The table that began at `off` is complete: stores its length and checksum. Returns its address. */
static uint64_t table_end(struct builder *b, size_t off)
{
	size_t len = b->out.len - off;
	le32 length = le32_of((uint32_t)len);

	blob_set(&b->out, off + offsetof(struct acpi_header, length), &length, sizeof(length));
	put_checksum(b, off + offsetof(struct acpi_header, checksum), off, len);
	return b->base + off;
}

static uint64_t build_facs(struct builder *b)
{
	struct acpi_facs facs = { .signature = "FACS", .length = le32_of(sizeof(facs)), .version = 2 };
	size_t off;

	blob_align(&b->out, b->base, ACPI_FACS_ALIGN);
	off = b->out.len;
	blob_put(&b->out, &facs, sizeof(facs));
	return b->base + off;
}

static uint64_t build_dsdt(struct builder *b)
{
	struct acpi_header h = header("DSDT", 2); /* from 2 on integers have 64 bits */
	size_t off = table_begin(b, &h, sizeof(h));

	acpi_dsdt_put(&b->out, b->platform);
	return table_end(b, off);
}

static struct acpi_gas io_gas(uint16_t port, uint8_t bits, uint8_t access)
{
	return (struct acpi_gas){ .space = ACPI_SPACE_IO, .bit_width = bits, .access_size = access, .address = le64_of(port) };
}

#define FADT_FLAGS (ACPI_FADT_WBINVD | ACPI_FADT_PROC_C1 | ACPI_FADT_SLP_BUTTON | ACPI_FADT_FIX_RTC | ACPI_FADT_RESET_REG_SUP)

/* The fixed hardware blocks, in both the old and the extended form. */
static void fadt_blocks(struct acpi_fadt *fadt, const struct acpi_platform *p)
{
	fadt->flags = le32_of(FADT_FLAGS | ACPI_FADT_TMR_VAL_EXT);
	fadt->sci_int = le16_of(p->sci_irq);
	fadt->pm1a_evt_blk = le32_of(p->pm1_evt_port);
	fadt->pm1_evt_len = 4;
	fadt->x_pm1a_evt_blk = io_gas(p->pm1_evt_port, 32, ACPI_ACCESS_WORD);
	fadt->pm1a_cnt_blk = le32_of(p->pm1_cnt_port);
	fadt->pm1_cnt_len = 2;
	fadt->x_pm1a_cnt_blk = io_gas(p->pm1_cnt_port, 16, ACPI_ACCESS_WORD);
	fadt->pm_tmr_blk = le32_of(p->pm_tmr_port);
	fadt->pm_tmr_len = 4;
	fadt->x_pm_tmr_blk = io_gas(p->pm_tmr_port, 32, ACPI_ACCESS_DWORD);
	fadt->gpe0_blk = le32_of(p->gpe0_port);
	fadt->gpe0_blk_len = 4;
	fadt->x_gpe0_blk = io_gas(p->gpe0_port, 32, ACPI_ACCESS_BYTE);
}

/* What takes the place of the fixed hardware. */
static void fadt_reduced(struct acpi_fadt *fadt, const struct acpi_reduced *reduced)
{
	fadt->sleep_control = io_gas(reduced->sleep_control_port, 8, ACPI_ACCESS_BYTE);
	fadt->sleep_status = io_gas(reduced->sleep_status_port, 8, ACPI_ACCESS_BYTE);
	fadt->flags = le32_of(FADT_FLAGS | ACPI_FADT_PWR_BUTTON | ACPI_FADT_HW_REDUCED);
}

static uint64_t build_fadt(struct builder *b, uint64_t facs, uint64_t dsdt)
{
	const struct acpi_platform *p = b->platform;
	uint16_t boot_arch = ACPI_BOOT_LEGACY_DEVICES | ACPI_BOOT_NO_VGA | (p->has_i8042 ? ACPI_BOOT_8042 : 0) |
			     (p->has_rtc ? 0 : ACPI_BOOT_NO_RTC);
	struct acpi_fadt fadt = {
		.h = header("FACP", 6),
		.minor_revision = 4,
		.facs = le32_of((uint32_t)facs), /* the tables are below 4 GiB; with x_facs as well Linux lists it twice */
		.dsdt = le32_of((uint32_t)dsdt),
		.x_dsdt = le64_of(dsdt),
		.c2_latency = le16_of(0xfff), /* above 100 and 1000: neither C2 nor C3 */
		.c3_latency = le16_of(0xfff),
		.century = p->has_rtc ? CMOS_CENTURY : 0,
		.iapc_boot_arch = le16_of(boot_arch),
		.reset_reg = io_gas(p->reset_port, 8, ACPI_ACCESS_BYTE),
		.reset_value = p->reset_value,
		.hypervisor_vendor = "Kite",
	};

	size_t off;

	if (p->reduced)
		fadt_reduced(&fadt, p->reduced);
	else
		fadt_blocks(&fadt, p);
	off = table_begin(b, &fadt, sizeof(fadt));
	if (facs)
		fixup_pointer(b, off + offsetof(struct acpi_fadt, facs), 4);
	fixup_pointer(b, off + offsetof(struct acpi_fadt, dsdt), 4);
	fixup_pointer(b, off + offsetof(struct acpi_fadt, x_dsdt), 8);
	return table_end(b, off);
}

static void put_cpu(struct builder *b, uint32_t apic_id)
{
	struct acpi_madt_lapic lapic = {
		.type = ACPI_MADT_LAPIC,
		.length = sizeof(lapic),
		.uid = (uint8_t)apic_id,
		.apic_id = (uint8_t)apic_id,
		.flags = le32_of(ACPI_LAPIC_ENABLED),
	};
	struct acpi_madt_x2apic x2apic = {
		.type = ACPI_MADT_X2APIC,
		.length = sizeof(x2apic),
		.apic_id = le32_of(apic_id),
		.flags = le32_of(ACPI_LAPIC_ENABLED),
		.uid = le32_of(apic_id),
	};

	if (apic_id < ACPI_XAPIC_IDS)
		blob_put(&b->out, &lapic, sizeof(lapic));
	else
		blob_put(&b->out, &x2apic, sizeof(x2apic));
}

static void put_override(struct builder *b, uint8_t source, uint32_t gsi, uint16_t flags)
{
	struct acpi_madt_override o = {
		.type = ACPI_MADT_OVERRIDE,
		.length = sizeof(o),
		.source = source,
		.gsi = le32_of(gsi),
		.flags = le16_of(flags),
	};

	blob_put(&b->out, &o, sizeof(o));
}

/* NMIs arrive at LINT1 of every CPU, as on PCs. */
static void put_nmis(struct builder *b, bool any_x2apic)
{
	struct acpi_madt_lapic_nmi nmi = { .type = ACPI_MADT_LAPIC_NMI, .length = sizeof(nmi), .uid = 0xff, .lint = 1 };
	struct acpi_madt_x2apic_nmi x2nmi = {
		.type = ACPI_MADT_X2APIC_NMI,
		.length = sizeof(x2nmi),
		.uid = le32_of(UINT32_MAX),
		.lint = 1,
	};

	blob_put(&b->out, &nmi, sizeof(nmi));
	if (any_x2apic)
		blob_put(&b->out, &x2nmi, sizeof(x2nmi));
}

static uint64_t build_madt(struct builder *b)
{
	const struct acpi_platform *p = b->platform;
	struct acpi_madt madt = {
		.h = header("APIC", 5),
		.lapic_addr = le32_of(p->lapic_addr),
		.flags = le32_of(p->has_pic ? ACPI_MADT_PCAT_COMPAT : 0),
	};
	struct acpi_madt_ioapic ioapic = {
		.type = ACPI_MADT_IOAPIC,
		.length = sizeof(ioapic),
		.id = p->ioapic_id,
		.address = le32_of(p->ioapic_addr),
	};
	size_t off = table_begin(b, &madt, sizeof(madt));
	bool any_x2apic = false;

	for (size_t i = 0; i < p->n_cpus; i++) {
		put_cpu(b, p->apic_ids[i]);
		any_x2apic |= p->apic_ids[i] >= ACPI_XAPIC_IDS;
	}
	blob_put(&b->out, &ioapic, sizeof(ioapic));
	if (p->has_pit)
		put_override(b, 0, 2, ACPI_INTI_CONFORMS); /* behind pin 2 */
	if (!p->reduced)
		put_override(b, p->sci_irq, p->sci_irq, ACPI_INTI_ACTIVE_HIGH | ACPI_INTI_LEVEL);
	put_nmis(b, any_x2apic);
	return table_end(b, off);
}

static uint64_t build_mcfg(struct builder *b)
{
	struct acpi_mcfg mcfg = { .h = header("MCFG", 1), .base = le64_of(b->platform->pci->ecam_base) };

	return table_end(b, table_begin(b, &mcfg, sizeof(mcfg)));
}

/* The RSDT (`width` 4) or XSDT (8): a header and addresses. */
static uint64_t build_sdt(struct builder *b, const char *signature, unsigned width, const uint64_t *tables, size_t n)
{
	struct acpi_header h = header(signature, 1);
	size_t off = table_begin(b, &h, sizeof(h));

	for (size_t i = 0; i < n; i++) {
		le64 addr = le64_of(tables[i]);

		fixup_pointer(b, b->out.len, width);
		blob_put(&b->out, &addr, width); /* little-endian: the low half comes first */
	}
	return table_end(b, off);
}

static void fill_rsdp(struct builder *b, uint64_t rsdt, uint64_t xsdt)
{
	struct acpi_rsdp rsdp = {
		.oem_id = OEM_ID,
		.revision = 2,
		.rsdt = le32_of((uint32_t)rsdt),
		.length = le32_of(sizeof(rsdp)),
		.xsdt = le64_of(xsdt),
	};

	memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
	blob_set(&b->out, 0, &rsdp, sizeof(rsdp));
	fixup_pointer(b, offsetof(struct acpi_rsdp, rsdt), 4);
	fixup_pointer(b, offsetof(struct acpi_rsdp, xsdt), 8);
	put_checksum(b, offsetof(struct acpi_rsdp, checksum), 0, ACPI_RSDP_V1_LEN);
	put_checksum(b, offsetof(struct acpi_rsdp, ext_checksum), 0, sizeof(rsdp));
}

static void build_all(struct builder *b)
{
	struct acpi_rsdp room = { .revision = 0 };
	uint64_t tables[3], facs = 0, dsdt, rsdt, xsdt;
	size_t n = 0;

	blob_put(&b->out, &room, sizeof(room));
	blob_align(&b->out, b->base, ACPI_FACS_ALIGN); /* the first table is at the same offset in all */
	if (!b->platform->reduced)
		facs = build_facs(b);
	dsdt = build_dsdt(b);
	tables[n++] = build_fadt(b, facs, dsdt);
	tables[n++] = build_madt(b);
	if (b->platform->pci && b->platform->pci->ecam_base)
		tables[n++] = build_mcfg(b);
	rsdt = build_sdt(b, "RSDT", 4, tables, n);
	xsdt = build_sdt(b, "XSDT", 8, tables, n);
	fill_rsdp(b, rsdt, xsdt);
}

static bool is_cpu_name(const char *name)
{
	return name[0] == 'C' && strspn(name + 1, "0123456789ABCDEF") == 3;
}

static int check(const struct acpi_platform *p, struct err *err)
{
	if (p->n_cpus == 0 || p->n_cpus > ACPI_MAX_CPUS)
		return err_set(err, -EINVAL, "the ACPI tables can describe 1 to %d vCPUs, not %zu", ACPI_MAX_CPUS, p->n_cpus);
	if (p->n_virtio > MAX_VIRTIO)
		return err_set(err, -EINVAL, "the ACPI tables can describe %d virtio devices, not %zu", MAX_VIRTIO, p->n_virtio);
	for (size_t i = 0; i < p->n_isa; i++) {
		bool taken = is_cpu_name(p->isa[i].name);

		for (size_t j = 0; j < i; j++)
			taken |= !strcmp(p->isa[i].name, p->isa[j].name);
		if (taken)
			return err_set(err, -EINVAL, "two ACPI devices have the name '%s'", p->isa[i].name);
	}
	return 0;
}

int acpi_build(const struct acpi_platform *platform, uint64_t base, size_t max, struct acpi_tables *out, struct err *err)
{
	uint64_t room = base < 4 * GIB ? 4 * GIB - base : 0; /* the RSDT's addresses have 32 bits */
	struct builder b = { .platform = platform, .base = base };
	int r = check(platform, err);

	*out = (struct acpi_tables){ .data = NULL };
	if (r < 0)
		return r;
	blob_init(&b.out, (size_t)min_u64(max, room));
	build_all(&b);
	r = b.out.error;
	if (!r) {
		*out = (struct acpi_tables){ .data = b.out.data, .size = b.out.len, .n_fixups = b.n_fixups };
		memcpy(out->fixups, b.fixups, sizeof(b.fixups));
		return 0;
	}
	blob_fini(&b.out);
	if (r == -ENOSPC)
		return err_set(err, r, "the ACPI tables of %zu vCPUs do not fit the %zu bytes kept for them: use fewer vCPUs",
			       platform->n_cpus, max);
	if (r == -EINVAL)
		return err_set(err, r, "an ACPI device has a name, id, port range or interrupt that ACPI cannot express");
	return err_set_errno(err, r, "cannot build the ACPI tables");
}

void acpi_tables_free(struct acpi_tables *tables)
{
	free(tables->data);
	*tables = (struct acpi_tables){ .data = NULL };
}
