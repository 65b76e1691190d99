/* SPDX-License-Identifier: MIT */
/*
 * The firmware's ROM and the shadow RAM under its low copy.
 *
 * The ROM ends at 4 GiB, and its last 128 KiB are also at 0xe0000, where a processor that has just been reset runs them in real mode. There is RAM
 * under 0xc0000 to 0xfffff, too; the host bridge's PAM registers (82441FX data sheet, 3.2.18) say for each of 13 segments whether reads and writes
 * go to it or to the ROM:
 *
 *   read enable   write enable
 *        0              0        ROM, writes lost
 *        0              1        ROM, writes to the RAM under it
 *        1              0        RAM, writes lost
 *        1              1        RAM
 *
 * Firmware copies itself to the RAM, runs there, and locks it at the end.
 *
 * Thread: shadow_init and shadow_fini on the main thread; shadow_set any, serialized by itself.
 */
#ifndef ARCH_X86_SHADOW_H
#define ARCH_X86_SHADOW_H

#include <pthread.h>
#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/device.h"
#include "vmm/vm.h"

struct err;
struct rom;

#define SHADOW_SEGMENTS 13
#define SHADOW_PAMS 7

/* What the guest finds in a run of segments. */
struct shadow_run {
	uint64_t gpa, size;
	uint8_t *hva;   /* NULL: nothing */
	bool read_only;
};

struct shadow {
	struct vm *vm;
	const struct rom *rom;
	struct machine_link link;
	uint8_t *ram; /* guest memory from MEM_SHADOW_START */
	pthread_mutex_t lock;
	uint8_t pam[SHADOW_PAMS];
	struct vm_slot slots[SHADOW_SEGMENTS]; /* as KVM has them; size 0: nothing */
	struct vm_slot top;
	struct bus_region low_region, top_region;
};

/* Puts the ROM into `vm`, whose RAM from MEM_SHADOW_START to MEM_BIOS_END is not mapped. `rom` is borrowed. 0 or -errno with `err`. */
int shadow_init(struct shadow *s, struct vm *vm, const struct rom *rom, const struct machine_link *link, struct err *err);
void shadow_fini(struct shadow *s);

/* The registers' new values: PAM0 to PAM6. Where KVM does not follow, the machine fails. */
void shadow_set(struct shadow *s, const uint8_t pam[SHADOW_PAMS]);

/* The runs that a setting makes: a pure function, for shadow_set and its test. `rom` may have any size that a BIOS can. */
unsigned shadow_runs(const uint8_t pam[SHADOW_PAMS], uint8_t *ram, const struct rom *rom, struct shadow_run runs[SHADOW_SEGMENTS]);

#endif
