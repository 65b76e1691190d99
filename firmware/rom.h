/* SPDX-License-Identifier: MIT */
/*
 * Firmware images: the file of a BIOS or of an expansion ROM, found by name and read once. What the machine needs of it stays in memory, so that
 * a reset finds the same firmware, whatever becomes of the file.
 *
 * Thread: main.
 */
#ifndef FIRMWARE_ROM_H
#define FIRMWARE_ROM_H

#include <stddef.h>
#include <stdint.h>

struct err;

#define ROM_BIOS_UNIT (64u << 10) /* a BIOS is a multiple of this many bytes */
#define ROM_BIOS_MAX (16u << 20)  /* from 0xff000000: below it are KVM's own pages */
#define ROM_OPTION_MAX (16u << 20)

struct rom {
	uint8_t *data; /* whole pages of its own, what is behind the file's end zeroes; owned */
	size_t size;   /* of the file, bytes */
	size_t mapped; /* of the pages, bytes */
	char *path;    /* of the file; owned */
};

/* Where a name that is no path is looked for: `dirs` first, in order, then where distributions put firmware. */
struct rom_search {
	char *const *dirs; /* -L; borrowed */
	size_t n_dirs;
};

/*
 * Reads the BIOS `name`; NULL: SeaBIOS. 0, or with `err`: -ENOENT, and how to get it where it is the default; -EINVAL for a file that no BIOS is, by its
 * size; -errno. rom_fini is fine after a failure.
 */
int rom_open_bios(struct rom *rom, const char *name, const struct rom_search *search, struct err *err);
/* The same for an expansion ROM; `package` is what to install where the name is Kite's own choice, or NULL. */
int rom_open_option(struct rom *rom, const char *name, const char *package, const struct rom_search *search, struct err *err);
void rom_fini(struct rom *rom);

#endif
