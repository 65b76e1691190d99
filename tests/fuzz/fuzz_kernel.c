/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a kernel file: opened, and loaded twice as at a reset, into a small machine. The two low bits of the file's last
 * byte give it an initrd and a command line, so that the seeds remain plain kernels.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "firmware/boot.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/util.h"

#define RAM (24 * MIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The entry state of a load that succeeded must make sense: this is what the first vCPU would get. */
static void check_entry(const struct guest_mem *gm, const struct boot_entry *e)
{
	if (!gm_map(gm, e->rip, 1) || !gm_map(gm, e->gdt_base, e->gdt_limit + 1u) || !gm_map(gm, e->rsp - 8, 8))
		abort();
	if (e->mode == BOOT_LONG64 && (!gm_map(gm, e->rsi, 4096) || !gm_map(gm, e->cr3, 4096)))
		abort();
	if (e->mode == BOOT_PROT32 && (!gm_map(gm, e->rbx, 56) || e->rip > UINT32_MAX))
		abort();
}

static void load(const char *path, uint8_t options)
{
	static const struct boot_map_entry map[] = {
		{ 0, 0x9fc00, BOOT_MAP_RAM },
		{ 0x9fc00, 0x60400, BOOT_MAP_RESERVED },
		{ MIB, RAM - MIB, BOOT_MAP_RAM },
	};
	const struct gm_range range = { .gpa = 0, .size = RAM };
	struct boot_platform platform = { .map = map, .map_n = ARRAY_SIZE(map), .rsdp = 0xe0000 };
	struct err err = ERR_INIT;
	struct boot_entry entry;
	struct boot *boot;

	boot = boot_open(path, options & 1 ? path : NULL, options & 2 ? "console=ttyS0" : NULL, &err);
	if (!boot != (err.code != 0))
		abort();
	if (!boot)
		return;
	platform.mem = gm_create(&range, 1, &err);
	for (int i = 0; platform.mem && i < 2; i++) {
		int rc = boot_load(boot, &platform, &entry, &err);

		if ((rc != 0) != (err.code != 0) || rc > 0)
			abort();
		if (rc)
			break;
		check_entry(platform.mem, &entry);
	}
	gm_destroy(platform.mem);
	boot_close(boot);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64];
	int fd;

	if (size == 0)
		return 0;
	fd = memfd_create("kernel", MFD_CLOEXEC);
	if (fd < 0 || write_full(fd, data, size))
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	load(path, data[size - 1]);
	close(fd);
	return 0;
}
