/* SPDX-License-Identifier: MIT */
/*
 * ACPI, SMBIOS and MP tables of machines and with texts that the input makes up. What is built must hold together as a system reads it: sums
 * are zero, lengths end where the next thing begins, addresses are inside, and the loader's script names what there is. The first byte
 * chooses which.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/acpi.h"
#include "firmware/acpi_loader.h"
#include "firmware/mptable.h"
#include "firmware/smbios.h"
#include "vmm/config.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define MAX_CPUS 512
#define MAX_ISA 12
#define MAX_VIRTIO_MMIO 260
#define TEXT_MAX 300
#define SMBIOS_BASE 0xf0000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input, taken from the front; zeroes behind its end. */
struct input {
	const uint8_t *at;
	size_t left;
};

static uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t v = 0;

	for (; bytes && in->left; bytes--, in->left--)
		v = v << 8 | *in->at++;
	return v;
}

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_tables: broken promise: %s\n", what);
	abort();
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

static void check_error(const struct err *err)
{
	require(err->code < 0 && err->msg[0], "an error without words");
}

/* ---- ACPI ---- */

struct acpi_room {
	uint32_t cpus[MAX_CPUS];
	struct acpi_isa_device isa[MAX_ISA];
	char hid[MAX_ISA][12];
	struct acpi_virtio_mmio virtio[MAX_VIRTIO_MMIO];
	struct acpi_pci pci;
	struct acpi_reduced reduced;
};

static void take_isa(struct input *in, struct acpi_room *r, unsigned i)
{
	static const char *const names[] = { "COM1", "RTC", "KBD", "DBG", "C001", "" };
	static const char *const hids[] = { "PNP0501", "KITE0001", "pnp", "ACPI0013", "", "PNP0B0000" };
	struct acpi_isa_device *d = &r->isa[i];

	snprintf(d->name, sizeof(d->name), "%s", names[take(in, 1) % ARRAY_SIZE(names)]);
	if (take(in, 1) & 1)
		for (unsigned n = 0; n < 4; n++)
			d->name[n] = (char)take(in, 1);
	snprintf(r->hid[i], sizeof(r->hid[i]), "%s", hids[take(in, 1) % ARRAY_SIZE(hids)]);
	d->hid = r->hid[i];
	d->uid = (unsigned)take(in, 1) % 8 ? 0 : (unsigned)take(in, 4);
	for (unsigned n = 0; n < take(in, 1) % (ACPI_MAX_IO + 1); n++)
		d->io[n] = (struct acpi_io_range){ (uint16_t)take(in, 2), (uint16_t)take(in, 1) };
	d->irq = take(in, 1) % 4 ? (uint8_t)(take(in, 1) % 16) : (uint8_t)take(in, 1);
}

static void take_platform(struct input *in, struct acpi_room *r, struct acpi_platform *p)
{
	unsigned flags = (unsigned)take(in, 1);

	p->n_cpus = take(in, 1) % 8 ? take(in, 1) % 9 : take(in, 2) % MAX_CPUS;
	for (size_t i = 0; i < p->n_cpus; i++)
		r->cpus[i] = (uint32_t)i * (flags & 1 ? 3 : 1);
	p->apic_ids = r->cpus;
	p->lapic_addr = (uint32_t)take(in, 4);
	p->ioapic_addr = (uint32_t)take(in, 4);
	p->sci_irq = (uint8_t)(take(in, 1) % 16);
	p->pm1_evt_port = (uint16_t)take(in, 2);
	p->s5_slp_typ = (uint8_t)take(in, 1);
	p->has_i8042 = flags & 2;
	p->has_pic = flags & 4;
	p->has_pit = flags & 8;
	if (flags & 16) {
		r->reduced = (struct acpi_reduced){ .event_port = (uint16_t)take(in, 2), .event_gsi = (uint32_t)take(in, 1) };
		p->reduced = &r->reduced;
	}
	if (flags & 32) {
		r->pci = (struct acpi_pci){ .ecam_base = take(in, 4), .ecam_size = take(in, 3), .gsi = (uint32_t)take(in, 1) };
		r->pci.mem32[0] = (struct acpi_window){ take(in, 4), take(in, 4) };
		r->pci.mem64 = (struct acpi_window){ take(in, 8), take(in, 8) };
		p->pci = &r->pci;
	}
	p->isa = r->isa;
	p->n_isa = take(in, 1) % (MAX_ISA + 1);
	for (unsigned i = 0; i < p->n_isa; i++)
		take_isa(in, r, i);
	p->virtio = r->virtio;
	p->n_virtio = flags & 64 ? take(in, 2) % MAX_VIRTIO_MMIO : 0;
	for (size_t i = 0; i < p->n_virtio; i++)
		r->virtio[i] = (struct acpi_virtio_mmio){ (uint32_t)(0xfeb00000 + i * 512), 512, (uint32_t)take(in, 1) };
}

/* Tables one after the other, as the root table names them. */
static void check_acpi(const struct acpi_tables *t, uint64_t base)
{
	const uint8_t *rsdp = t->data, *xsdt;
	uint64_t at;
	uint32_t len;

	require(t->size >= 36 && !memcmp(rsdp, "RSD PTR ", 8) && !sum(rsdp, 20) && !sum(rsdp, 36), "the RSDP");
	at = load_le64(rsdp + 24) - base;
	require(range_ok(at, 36, t->size), "the XSDT inside");
	xsdt = t->data + at;
	len = load_le32(xsdt + 4);
	require(range_ok(at, len, t->size) && !sum(xsdt, len), "the XSDT");
	for (uint32_t i = 36; i + 8 <= len; i += 8) {
		uint64_t table = load_le64(xsdt + i) - base;

		require(range_ok(table, 36, t->size) && range_ok(table, load_le32(t->data + table + 4), t->size), "a table inside");
		require(!sum(t->data + table, load_le32(t->data + table + 4)), "a table's sum");
	}
	for (size_t i = 0; i < t->n_fixups; i++)
		require(range_ok(t->fixups[i].at, t->fixups[i].kind == ACPI_FIXUP_POINTER ? t->fixups[i].size : 1, t->size), "a correction inside");
}

static void check_script(const struct acpi_platform *p)
{
	struct acpi_loader loader;
	struct err err = ERR_INIT;

	if (acpi_loader_build(&loader, p, MIB, &err) < 0)
		check_error(&err);
	else
		for (size_t i = 0; i < loader.n; i++) {
			const struct acpi_loader_entry *e = &loader.script[i];
			size_t room = strcmp(e->pointer.dest, ACPI_LOADER_RSDP) ? loader.tables_size : loader.rsdp_size;

			if (le32_get(e->command) == ACPI_LOADER_ADD_POINTER)
				require(range_ok(le32_get(e->pointer.offset), e->pointer.size, room), "a pointer of the script");
			if (le32_get(e->command) == ACPI_LOADER_ADD_CHECKSUM)
				require(range_ok(le32_get(e->checksum.start), le32_get(e->checksum.length), room) &&
						le32_get(e->checksum.offset) < room, "a checksum of the script");
		}
	acpi_loader_fini(&loader);
}

static void fuzz_acpi(struct input *in)
{
	static struct acpi_room room;
	struct acpi_platform platform = { .n_cpus = 0 };
	struct acpi_tables tables;
	struct err err = ERR_INIT;
	uint64_t base = take(in, 4) & ~UINT64_C(15);

	memset(&room, 0, sizeof(room));
	take_platform(in, &room, &platform);
	if (acpi_build(&platform, base, take(in, 1) % 4 ? MIB : take(in, 2), &tables, &err) < 0) {
		check_error(&err);
	} else {
		check_acpi(&tables, base);
		acpi_tables_free(&tables);
	}
	check_script(&platform);
}

/* ---- SMBIOS ---- */

static char *take_text(struct input *in)
{
	size_t len = take(in, 1) % 8 ? take(in, 1) % 20 : take(in, 2) % TEXT_MAX;
	char *text = malloc(len + 1);

	if (!text)
		abort();
	for (size_t i = 0; i < len; i++)
		text[i] = (char)(in->left ? take(in, 1) : 'x');
	text[len] = '\0';
	return text;
}

static void check_smbios(const struct smbios_tables *t)
{
	const uint8_t *p = t->data + SMBIOS_TABLE_OFF, *end = t->data + t->size;
	uint8_t last = 0;

	require(t->size > SMBIOS_TABLE_OFF && !memcmp(t->data, "_SM3_", 5) && !sum(t->data, t->data[6]), "the entry point");
	require(!sum(t->data + SMBIOS_ENTRY32_OFF, SMBIOS_ENTRY32_SIZE), "the older entry point");
	while (p < end) {
		require(end - p >= 6 && p[1] >= 4 && end - p >= p[1] + 2, "a structure inside");
		last = p[0];
		for (p += p[1]; p[0] || p[1]; p++)
			require(end - p > 2, "strings that end");
		p += 2;
	}
	require(p == end && last == 127, "the end");
}

static void fuzz_smbios(struct input *in)
{
	static struct config_smbios user;
	const char *oem[CONFIG_MAX_OEM_STRINGS];
	struct smbios_platform p = { .product = "p", .version = "v", .sockets = 1, .cores = 1, .threads = 1, .user = &user, .oem = oem };
	struct smbios_tables tables;
	struct err err = ERR_INIT;
	unsigned flags = (unsigned)take(in, 1);

	memset(&user, 0, sizeof(user));
	p.sockets = 1 + (unsigned)take(in, 1) % 70;
	p.cores = 1 + (unsigned)take(in, flags & 1 ? 2 : 1);
	p.threads = 1 + (unsigned)take(in, flags & 2 ? 2 : 1) % 300;
	p.ram_below_4g = (1 + take(in, 1)) * 13 * MIB;
	p.ram_above_4g = take(in, 5);
	p.firmware = flags & 4;
	user.bios = flags & 8;
	user.board = flags & 16;
	for (unsigned i = (unsigned)take(in, 1) % 8; i; i--) {
		unsigned at = (unsigned)take(in, 1) % CONFIG_SMBIOS_TEXTS;

		free(user.text[at]);
		user.text[at] = take_text(in);
	}
	user.n_oem = take(in, 1) % 6;
	for (size_t i = 0; i < user.n_oem; i++)
		oem[i] = user.oem[i].text = take_text(in);
	if (smbios_build(&p, SMBIOS_BASE, flags & 32 ? take(in, 2) : 64 * KIB, &tables, &err) < 0) {
		check_error(&err);
	} else {
		check_smbios(&tables);
		smbios_tables_free(&tables);
	}
	for (unsigned i = 0; i < CONFIG_SMBIOS_TEXTS; i++)
		free(user.text[i]);
	for (size_t i = 0; i < user.n_oem; i++)
		free(user.oem[i].text);
}

/* A structure from a file, which need not be one; what is taken must not spoil the table. */
static void fuzz_smbios_file(struct input *in)
{
	struct smbios_file file = { .data = in->at, .size = in->left };
	struct smbios_platform p = { .product = "p", .version = "v", .sockets = 1, .cores = 1, .threads = 1, .ram_below_4g = MIB, .files = &file, .n_files = 1 };
	struct smbios_tables tables;
	struct err err = ERR_INIT;

	if (smbios_file_check(&file, "FILE", &err) < 0 || smbios_build(&p, SMBIOS_BASE, 64 * KIB, &tables, &err) < 0) {
		check_error(&err);
		return;
	}
	check_smbios(&tables);
	smbios_tables_free(&tables);
}

/* ---- MP ---- */

static void fuzz_mptable(struct input *in)
{
	uint32_t ids[300];
	static const char *const products[] = { "", "microvm", "more than twelve characters" };
	struct mptable_platform p = {
		.product = products[take(in, 1) % ARRAY_SIZE(products)],
		.apic_ids = ids,
		.n_cpus = take(in, 2) % ARRAY_SIZE(ids),
		.lapic_addr = (uint32_t)take(in, 4),
	};
	struct mptable table;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < p.n_cpus; i++)
		ids[i] = (uint32_t)i;
	p.ioapic_id = (uint8_t)take(in, 1);
	p.isa_irqs = (uint32_t)take(in, 4);
	p.level_irqs = (uint32_t)take(in, 4);
	p.has_pic = take(in, 1) & 1;
	p.pci_pin = take(in, 1) & 1 ? 16 + (unsigned)take(in, 1) % 5 : 0;
	if (mptable_build(&p, (uint32_t)take(in, 4) & ~3u, take(in, 1) % 4 ? 64 * KIB : take(in, 2), &table, &err) < 0) {
		check_error(&err);
		return;
	}
	require(!sum(table.pointer, sizeof(table.pointer)) && !memcmp(table.pointer, "_MP_", 4), "the MP pointer");
	require(table.size >= 44 && load_le16(table.data + 4) == table.size && !sum(table.data, table.size), "the MP table");
	mptable_free(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(struct input *in) = { fuzz_acpi, fuzz_smbios, fuzz_smbios_file, fuzz_mptable };
	struct input in = { data, size };

	if (size)
		kinds[take(&in, 1) % ARRAY_SIZE(kinds)](&in);
	return 0;
}
