/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation: the tables are built for address 0, so that each pointer in them is an offset. The RSDP, which guests search for
 * below 1 MiB, becomes a file of its own; the rest, from the first aligned offset behind it, the other. Every pointer leads into the second file, so
 * it is lowered by where that begins, and the firmware adds where it put it.
 */
#include "firmware/acpi_loader.h"

#include <errno.h>
#include <string.h>

#include "firmware/acpi_tables.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define RSDP_ALIGN 16
#define TABLES_ALIGN ACPI_FACS_ALIGN /* the largest of any table */
#define TABLES_OFF 64                /* where the first table is */
static_assert(TABLES_OFF >= sizeof(struct acpi_rsdp) && TABLES_OFF % TABLES_ALIGN == 0, "tables begin aligned behind the RSDP");

static struct acpi_loader_entry *add(struct acpi_loader *l, enum acpi_loader_command command)
{
	struct acpi_loader_entry *e = &l->script[l->n++]; /* there is room for every fixup */

	*e = (struct acpi_loader_entry){ .command = le32_of(command) };
	return e;
}

static void add_allocate(struct acpi_loader *l, const char *file, uint32_t align, uint8_t zone)
{
	struct acpi_loader_entry *e = add(l, ACPI_LOADER_ALLOCATE);

	strcpy(e->allocate.file, file);
	e->allocate.align = le32_of(align);
	e->allocate.zone = zone;
}

/* Whose file a byte of the tables is in, and its offset there. */
static const char *file_of(uint32_t at, uint32_t *offset)
{
	*offset = at < TABLES_OFF ? at : at - TABLES_OFF;
	return at < TABLES_OFF ? ACPI_LOADER_RSDP : ACPI_LOADER_TABLES;
}

static void add_pointer(struct acpi_loader *l, const struct acpi_fixup *fixup)
{
	struct acpi_loader_entry *e = add(l, ACPI_LOADER_ADD_POINTER);
	uint8_t *p = l->built.data + fixup->at;
	uint32_t offset;

	store_le(p, load_le(p, fixup->size) - TABLES_OFF, fixup->size);
	strcpy(e->pointer.dest, file_of(fixup->at, &offset));
	strcpy(e->pointer.src, ACPI_LOADER_TABLES);
	e->pointer.offset = le32_of(offset);
	e->pointer.size = (uint8_t)fixup->size;
}

static void add_checksum(struct acpi_loader *l, const struct acpi_fixup *fixup)
{
	struct acpi_loader_entry *e = add(l, ACPI_LOADER_ADD_CHECKSUM);
	uint32_t offset, start;

	strcpy(e->checksum.file, file_of(fixup->at, &offset));
	file_of(fixup->start, &start);
	e->checksum.offset = le32_of(offset);
	e->checksum.start = le32_of(start);
	e->checksum.length = le32_of(fixup->size);
}

int acpi_loader_build(struct acpi_loader *l, const struct acpi_platform *platform, size_t max, struct err *err)
{
	int r;

	*l = (struct acpi_loader){ .n = 0 };
	r = acpi_build(platform, 0, max, &l->built, err);
	if (r < 0)
		return r;
	l->rsdp = l->built.data;
	l->rsdp_size = sizeof(struct acpi_rsdp);
	l->tables = l->built.data + TABLES_OFF;
	l->tables_size = l->built.size - TABLES_OFF;
	add_allocate(l, ACPI_LOADER_RSDP, RSDP_ALIGN, ACPI_LOADER_ZONE_FSEG);
	add_allocate(l, ACPI_LOADER_TABLES, TABLES_ALIGN, ACPI_LOADER_ZONE_HIGH);
	for (size_t i = 0; i < l->built.n_fixups; i++) {
		if (l->built.fixups[i].kind == ACPI_FIXUP_POINTER)
			add_pointer(l, &l->built.fixups[i]);
		else
			add_checksum(l, &l->built.fixups[i]);
	}
	return 0;
}

void acpi_loader_fini(struct acpi_loader *l)
{
	acpi_tables_free(&l->built);
	*l = (struct acpi_loader){ .n = 0 };
}
