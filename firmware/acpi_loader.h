/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables for firmware that allocates their place itself: two files, and the script that says how to put them into memory and what to correct
 * there (the linker/loader of QEMU and SeaBIOS:
 * QEMU, hw/acpi/bios-linker-loader.c; SeaBIOS, src/fw/romfile_loader.h).
 *
 * Thread: any; pure functions of their arguments.
 */
#ifndef FIRMWARE_ACPI_LOADER_H
#define FIRMWARE_ACPI_LOADER_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "firmware/acpi.h"
#include "vmm/endian.h"

struct err;

#define ACPI_LOADER_RSDP "etc/acpi/rsdp"
#define ACPI_LOADER_TABLES "etc/acpi/tables"
#define ACPI_LOADER_SCRIPT "etc/table-loader"

enum acpi_loader_command {
	ACPI_LOADER_ALLOCATE = 1,
	ACPI_LOADER_ADD_POINTER = 2,
	ACPI_LOADER_ADD_CHECKSUM = 3,
};
enum { ACPI_LOADER_ZONE_HIGH = 1, ACPI_LOADER_ZONE_FSEG = 2 };
#define ACPI_LOADER_NAME 56

/* One command; its unused rest is zeroes. */
struct acpi_loader_entry {
	le32 command;
	union {
		struct { /* loads `file` somewhere in `zone` */
			char file[ACPI_LOADER_NAME];
			le32 align;
			uint8_t zone;
		} allocate;
		struct { /* adds the address of `src` to the `size` bytes at `offset` of `dest` */
			char dest[ACPI_LOADER_NAME], src[ACPI_LOADER_NAME];
			le32 offset;
			uint8_t size;
		} pointer;
		struct { /* corrects the byte at `offset` of `file` so that `length` bytes from `start` on sum to zero */
			char file[ACPI_LOADER_NAME];
			le32 offset, start, length;
		} checksum;
		uint8_t room[124];
	};
};
static_assert(sizeof(struct acpi_loader_entry) == 128, "a command of the linker/loader");

#define ACPI_LOADER_MAX (2 + ACPI_MAX_FIXUPS)

struct acpi_loader {
	struct acpi_tables built; /* at address 0: the RSDP, and from `tables` on the rest; owned */
	uint8_t *rsdp, *tables;   /* the files, inside `built` */
	size_t rsdp_size, tables_size;
	struct acpi_loader_entry script[ACPI_LOADER_MAX];
	size_t n;
};

/* `max` bytes at most. 0, or the errors of acpi_build. acpi_loader_fini is fine after a failure. */
int acpi_loader_build(struct acpi_loader *loader, const struct acpi_platform *platform, size_t max, struct err *err);
void acpi_loader_fini(struct acpi_loader *loader);

#endif
