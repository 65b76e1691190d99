/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation: neighbouring segments with the same setting are one run, and each run that has something is one memory slot of KVM. A new setting
 * deletes the slots that are in no run of it and then adds those that are missing, so that what did not change is never away.
 *
 * Behind the slots a region of the memory bus takes what KVM hands out: writes to what is read-only, and all accesses where there is neither
 * ROM nor RAM. It works on the same bytes by the same registers; so data that another vCPU reads or writes while a slot is being exchanged is right, too.
 */
#include "arch/x86/shadow.h"

#include <assert.h>
#include <string.h>

#include "arch/x86/memmap.h"
#include "firmware/rom.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define SEGMENT_SIZE (16 * KIB)
#define SHADOW_SIZE (MEM_BIOS_END - MEM_SHADOW_START)
#define LAST_START UINT64_C(0xf0000) /* of the one segment of 64 KiB */
#define LOW_COPY_MAX (128 * KIB)

#define PAM_READ BIT(0)
#define PAM_WRITE BIT(1)

static uint64_t segment_start(unsigned i)
{
	return MEM_SHADOW_START + i * SEGMENT_SIZE;
}

static uint64_t segment_end(unsigned i)
{
	return i == SHADOW_SEGMENTS - 1 ? MEM_BIOS_END : segment_start(i + 1);
}
static_assert(MEM_SHADOW_START + (SHADOW_SEGMENTS - 1) * SEGMENT_SIZE == LAST_START, "segments of 16 KiB up to the last");

static unsigned segment_of(uint64_t gpa)
{
	return gpa >= LAST_START ? SHADOW_SEGMENTS - 1 : (unsigned)((gpa - MEM_SHADOW_START) / SEGMENT_SIZE);
}

/* The last segment is in the high half of PAM0, the others in the halves of PAM1 to PAM6. */
static unsigned setting(const uint8_t pam[SHADOW_PAMS], unsigned i)
{
	return i == SHADOW_SEGMENTS - 1 ? pam[0] >> 4 & 3 : pam[1 + i / 2] >> (4 * (i & 1)) & 3;
}

/* The ROM's byte at an address below 1 MiB; NULL: its low copy begins later. */
static uint8_t *rom_at(const struct rom *rom, uint64_t gpa)
{
	uint64_t copy = min_u64(rom->size, LOW_COPY_MAX);

	return MEM_BIOS_END - gpa <= copy ? rom->data + rom->size - (MEM_BIOS_END - gpa) : NULL;
}

static bool continues(const struct shadow_run *last, const struct shadow_run *run)
{
	if (run->read_only != last->read_only)
		return false;
	return last->hva ? run->hva == last->hva + last->size : !run->hva;
}

unsigned shadow_runs(const uint8_t pam[SHADOW_PAMS], uint8_t *ram, const struct rom *rom, struct shadow_run runs[SHADOW_SEGMENTS])
{
	unsigned n = 0;

	for (unsigned i = 0; i < SHADOW_SEGMENTS; i++) {
		uint64_t start = segment_start(i);
		unsigned how = setting(pam, i);
		struct shadow_run run = { .gpa = start, .size = segment_end(i) - start, .read_only = how != (PAM_READ | PAM_WRITE) };
		struct shadow_run *last = n ? &runs[n - 1] : NULL;

		run.hva = (how & PAM_READ) ? ram + (start - MEM_SHADOW_START) : rom_at(rom, start);
		if (last && continues(last, &run))
			last->size += run.size;
		else
			runs[n++] = run;
	}
	return n;
}

/* ---- KVM ---- */

static bool slot_is(const struct vm_slot *slot, const struct shadow_run *run)
{
	return slot->gpa == run->gpa && slot->size == run->size && slot->hva == run->hva && slot->read_only == run->read_only;
}

/* The slot that is the run already. */
static struct vm_slot *find_slot(struct shadow *s, const struct shadow_run *run)
{
	for (unsigned i = 0; i < SHADOW_SEGMENTS; i++)
		if (slot_is(&s->slots[i], run))
			return &s->slots[i];
	return NULL;
}

static int set_slot(struct shadow *s, struct vm_slot *slot, const struct vm_slot *now, struct err *err)
{
	int r = vm_set_slot(s->vm, VM_FIRST_SLOT + (unsigned)(slot - s->slots), slot, now, err);

	*slot = *now;
	if (r < 0)
		slot->size = 0;
	return r;
}

static int remove_slots(struct shadow *s, const struct shadow_run *runs, unsigned n, struct err *err)
{
	static const struct vm_slot nothing;

	for (unsigned i = 0; i < SHADOW_SEGMENTS; i++) {
		struct vm_slot *slot = &s->slots[i];
		bool stays = false;

		for (unsigned j = 0; j < n; j++)
			stays |= slot_is(slot, &runs[j]);
		if (slot->size && !stays && set_slot(s, slot, &nothing, err) < 0)
			return err->code;
	}
	return 0;
}

static int add_run(struct shadow *s, const struct shadow_run *run, struct err *err)
{
	const struct vm_slot now = { .gpa = run->gpa, .size = run->size, .hva = run->hva, .read_only = run->read_only };
	unsigned i = 0;

	if (!run->hva || find_slot(s, run))
		return 0;
	while (s->slots[i].size)
		i++; /* there are as many slots as there can be runs */
	return set_slot(s, &s->slots[i], &now, err);
}

static int apply(struct shadow *s, struct err *err)
{
	struct shadow_run runs[SHADOW_SEGMENTS];
	unsigned n = shadow_runs(s->pam, s->ram, s->rom, runs);
	int r = remove_slots(s, runs, n, err);

	for (unsigned i = 0; r == 0 && i < n; i++)
		r = add_run(s, &runs[i], err);
	return r;
}

void shadow_set(struct shadow *s, const uint8_t pam[SHADOW_PAMS])
{
	struct err err = ERR_INIT;
	int r = 0;

	pthread_mutex_lock(&s->lock);
	if (memcmp(s->pam, pam, SHADOW_PAMS)) {
		memcpy(s->pam, pam, SHADOW_PAMS);
		r = apply(s, &err);
	}
	pthread_mutex_unlock(&s->lock);
	if (r < 0) {
		log_error("shadow RAM: %s", err.msg);
		machine_request(&s->link, VM_REQUEST_FAIL, 1);
	}
}

/* ---- what KVM hands out ---- */

static void low_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct shadow *s = dev;
	unsigned how;

	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < len; i++) {
		uint64_t gpa = MEM_SHADOW_START + offset + i;
		const uint8_t *rom = rom_at(s->rom, gpa);

		how = setting(s->pam, segment_of(gpa));
		if (how & PAM_READ)
			buf[i] = s->ram[offset + i];
		else if (rom)
			buf[i] = *rom;
	}
	pthread_mutex_unlock(&s->lock);
}

static void low_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct shadow *s = dev;

	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < len; i++)
		if (setting(s->pam, segment_of(MEM_SHADOW_START + offset + i)) & PAM_WRITE)
			s->ram[offset + i] = buf[i];
	pthread_mutex_unlock(&s->lock);
}

static const struct bus_ops low_ops = { .read = low_read, .write = low_write, .width = 8 };
static const struct bus_ops top_ops = { .width = 8 }; /* its slot is never away, and writes are lost */

/* ---- life cycle ---- */

static int map_top(struct shadow *s, struct err *err)
{
	const struct vm_slot nothing = { .size = 0 };

	s->top = (struct vm_slot){ .gpa = 4 * GIB - s->rom->size, .size = s->rom->size, .hva = s->rom->data, .read_only = true };
	return vm_set_slot(s->vm, VM_FIRST_SLOT + SHADOW_SEGMENTS, &nothing, &s->top, err);
}

int shadow_init(struct shadow *s, struct vm *vm, const struct rom *rom, const struct machine_link *link, struct err *err)
{
	int r;

	*s = (struct shadow){ .vm = vm, .rom = rom, .link = *link, .ram = gm_map(vm->mem, MEM_SHADOW_START, SHADOW_SIZE) };
	pthread_mutex_init(&s->lock, NULL);
	s->low_region = (struct bus_region){
		.name = "shadow RAM", .base = MEM_SHADOW_START, .size = SHADOW_SIZE, .ops = &low_ops, .dev = s,
	};
	s->top_region = (struct bus_region){
		.name = "firmware", .base = 4 * GIB - rom->size, .size = rom->size, .ops = &top_ops, .dev = s,
	};
	r = bus_add(vm->mmio, &s->low_region, err);
	if (r == 0)
		r = bus_add(vm->mmio, &s->top_region, err);
	if (r == 0)
		r = map_top(s, err);
	return r < 0 ? r : apply(s, err);
}

void shadow_fini(struct shadow *s)
{
	if (!s->vm)
		return;
	bus_remove(s->vm->mmio, &s->top_region);
	bus_remove(s->vm->mmio, &s->low_region);
	pthread_mutex_destroy(&s->lock);
	s->vm = NULL;
}
