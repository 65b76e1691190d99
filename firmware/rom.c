/* SPDX-License-Identifier: MIT */
#include "firmware/rom.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/util.h"

#define DEFAULT_BIOS "bios-256k.bin"
#define DEFAULT_BIOS_PACKAGE "seabios"
#define OPTION_UNIT 512 /* PCI Firmware Specification 3.3, 5.1.2: its length is in units of 512 bytes */
#define PAGE 4096

/* Debian and Ubuntu, Fedora, Arch; then what QEMU itself installs. */
static const char *const system_dirs[] = {
	"/usr/share/seabios",
	"/usr/lib/ipxe/qemu",
	"/usr/share/ipxe/qemu",
	"/usr/share/qemu",
	"/usr/share/qemu-kvm",
	"/usr/local/share/qemu",
};

/* O_NONBLOCK: a FIFO must not hang the open; it does nothing to the regular files that are let through. */
static int open_at(const char *dir, const char *name, char **path)
{
	int fd;

	if (asprintf(path, "%s%s%s", dir, *dir ? "/" : "", name) < 0) {
		*path = NULL;
		return -ENOMEM;
	}
	fd = open(*path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0)
		return fd;
	fd = -errno;
	free(*path);
	*path = NULL;
	return fd;
}

/* As it is, then in the directories. -ENOENT where it is in none; another error is of a file that is there. */
static int find(const char *name, const struct rom_search *search, char **path)
{
	int fd = open_at("", name, path);

	if (strchr(name, '/'))
		return fd;
	for (size_t i = 0; fd == -ENOENT && i < search->n_dirs; i++)
		fd = open_at(search->dirs[i], name, path);
	for (size_t i = 0; fd == -ENOENT && i < ARRAY_SIZE(system_dirs); i++)
		fd = open_at(system_dirs[i], name, path);
	return fd;
}

static int check_size(const struct rom *rom, const char *what, uint64_t size, size_t unit, size_t max, struct err *err)
{
	if (size > 0 && size <= max && size % unit == 0)
		return 0;
	return err_set(err, -EINVAL, "%s %s: its size, %ju bytes, is none that a ROM can have: a multiple of %zu, at most %zu MiB", what, rom->path,
		       (uintmax_t)size, unit, max >> 20);
}

static int read_file(struct rom *rom, const char *what, int fd, size_t unit, size_t max, struct err *err)
{
	struct stat st;
	int r;

	if (fstat(fd, &st))
		return err_set_errno(err, -errno, "cannot open %s %s", what, rom->path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s %s is not a regular file", what, rom->path);
	r = check_size(rom, what, (uint64_t)st.st_size, unit, max, err);
	if (r < 0)
		return r;
	rom->size = (size_t)st.st_size;
	rom->mapped = (size_t)align_up(rom->size, PAGE);
	rom->data = mmap(NULL, rom->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (rom->data == MAP_FAILED) {
		rom->data = NULL;
		return err_set_errno(err, -errno, "no memory for %s %s", what, rom->path);
	}
	r = pread_full(fd, rom->data, rom->size, 0);
	return r < 0 ? err_set_errno(err, r, "cannot read %s %s", what, rom->path) : 0;
}

static int not_found(const char *what, const char *name, const char *package, int code, struct err *err)
{
	if (code != -ENOENT)
		return err_set_errno(err, code, "cannot open %s %s", what, name);
	if (package)
		return err_set(err, code, "%s %s is missing: install the package %s, or give its directory with -L", what, name, package);
	return err_set(err, code, "there is no %s %s, neither here nor with the system's firmware; give a path, or its directory with -L", what, name);
}

static int rom_open(struct rom *rom, const char *what, const char *name, const char *package, const struct rom_search *search, size_t unit,
		    size_t max, struct err *err)
{
	int fd, r;

	*rom = (struct rom){ .data = NULL };
	fd = find(name, search, &rom->path);
	if (fd < 0)
		return not_found(what, name, package, fd, err);
	r = read_file(rom, what, fd, unit, max, err);
	fd_close(&fd);
	return r;
}

int rom_open_bios(struct rom *rom, const char *name, const struct rom_search *search, struct err *err)
{
	return rom_open(rom, "firmware", name ? name : DEFAULT_BIOS, name ? NULL : DEFAULT_BIOS_PACKAGE, search, ROM_BIOS_UNIT, ROM_BIOS_MAX, err);
}

int rom_open_option(struct rom *rom, const char *name, const char *package, const struct rom_search *search, struct err *err)
{
	return rom_open(rom, "expansion ROM", name, package, search, OPTION_UNIT, ROM_OPTION_MAX, err);
}

void rom_fini(struct rom *rom)
{
	if (rom->data)
		munmap(rom->data, rom->mapped);
	free(rom->path);
	*rom = (struct rom){ .data = NULL };
}
