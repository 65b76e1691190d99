/* SPDX-License-Identifier: MIT */
/*
 * SMBIOS tables (DMTF DSP0134, version 3.0 entry point and the older 2.8 one beside it): types 0, 1, 3, 4, 16, 17, 19, 32, 127; where the user says so,
 * also 2, 11, and structures from files.
 *
 * Thread: any; a pure function of its arguments.
 */
#ifndef FIRMWARE_SMBIOS_H
#define FIRMWARE_SMBIOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

struct config_smbios;

#define SMBIOS_MAX_FILES 16

/* A structure as it is in the table, its strings included; checked by smbios_file_check. */
struct smbios_file {
	const uint8_t *data; /* borrowed */
	size_t size;
};

struct smbios_platform {
	const char *product;  /* "Standard PC"; type 1 and 3 strings */
	const char *version;  /* "pc" */
	uint8_t uuid[16];     /* in text order; stored with the first three fields swapped (DSP0134 7.2.1) */
	unsigned sockets, cores, threads; /* threads: per core */
	uint64_t ram_below_4g, ram_above_4g; /* bytes */
	uint32_t cpu_signature, cpu_features; /* CPUID leaf 1, EAX and EDX */
	bool firmware; /* that runs adds a type 0 of its own where there is none, with handle 0 */
	const struct config_smbios *user; /* what the user says instead; NULL: nothing. Borrowed */
	const char *const *oem; /* of user->n_oem OEM strings, their texts */
	const struct smbios_file *files;
	size_t n_files; /* at most SMBIOS_MAX_FILES */
};

/* Whether a file is one structure and its strings, complete. -EINVAL with `err`, which names `path`. */
int smbios_file_check(const struct smbios_file *file, const char *path, struct err *err);

/* Where in the tables the "_SM_" entry point, and the structures are; for firmware that puts them elsewhere. */
#define SMBIOS_ENTRY32_OFF 32
#define SMBIOS_ENTRY32_SIZE 31
#define SMBIOS_TABLE_OFF 64

struct smbios_tables {
	uint8_t *data; /* heap, freed by smbios_tables_free; the 64-bit entry point ("_SM3_") first, then "_SM_", each on 16 bytes */
	size_t size;
};

/*
 * As they must stand at `base`, a multiple of 16 between 0xF0000 and 0xFFFFF. 0, or with `err`: -ENOSPC beyond `max` bytes or
 * the end of that range, -EINVAL for sizes that SMBIOS cannot express, -ENOMEM.
 */
int smbios_build(const struct smbios_platform *platform, uint64_t base, size_t max, struct smbios_tables *out,
		 struct err *err);
void smbios_tables_free(struct smbios_tables *tables);

#endif
