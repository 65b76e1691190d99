/* SPDX-License-Identifier: MIT */
/*
 * Shadow RAM, against a model of it: what the guest reads and writes at each address for each setting of the PAM registers, through KVM's slots, which
 * are played here, or the bus behind them.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/vm.h"

static int fake_set_slot(struct vm *vm, unsigned slot, const struct vm_slot *old, const struct vm_slot *now, struct err *err);
#define vm_set_slot fake_set_slot
#include "arch/x86/shadow.c"
#undef vm_set_slot

#define SLOTS 32
#define ROM_SIZE (256 * KIB)
#define RAM_BYTE(gpa) ((uint8_t)(0x40 + ((gpa) >> 14)))
#define ROM_BYTE(gpa) ((uint8_t)(0x80 + ((gpa) >> 14)))

static struct vm vm;
static struct vm_slot slots[SLOTS];
static unsigned changes, fail_at, requests;
static struct shadow shadow;
static struct rom rom;
static struct err err;

static int fake_set_slot(struct vm *v, unsigned slot, const struct vm_slot *old, const struct vm_slot *now, struct err *e)
{
	ck_assert_ptr_eq(v, &vm);
	ck_assert(slot >= VM_FIRST_SLOT && slot < SLOTS);
	ck_assert_uint_eq(slots[slot].size, old->size);
	ck_assert_uint_eq(slots[slot].gpa, old->gpa);
	if (++changes == fail_at)
		return err_set(e, -ENOSPC, "no slot");
	slots[slot] = (struct vm_slot){ .size = 0 };
	for (unsigned i = 0; i < SLOTS; i++)
		ck_assert_msg(slots[i].gpa + slots[i].size <= now->gpa || now->gpa + now->size <= slots[i].gpa || !slots[i].size,
			      "slots overlap at 0x%llx", (unsigned long long)now->gpa);
	slots[slot] = *now;
	return 0;
}

static void request(void *machine, enum vm_request what, int status)
{
	(void)machine;
	ck_assert_int_eq(what, VM_REQUEST_FAIL);
	ck_assert_int_eq(status, 1);
	requests++;
}

/* Memory and ROM have bytes that tell where they are from. */
static void fill(void)
{
	uint8_t *ram = gm_map(vm.mem, MEM_SHADOW_START, SHADOW_SIZE);

	for (uint64_t gpa = MEM_SHADOW_START; gpa < MEM_BIOS_END; gpa++) {
		ram[gpa - MEM_SHADOW_START] = RAM_BYTE(gpa);
		if (MEM_BIOS_END - gpa <= rom.size)
			rom.data[rom.size - (MEM_BIOS_END - gpa)] = ROM_BYTE(gpa);
	}
}

static void make(size_t rom_size)
{
	const struct gm_range ram = { .gpa = MEM_SHADOW_START, .size = MIB };
	const struct machine_link link = { .request = request };

	log_set_level(LOG_LEVEL_NONE);
	vm.mem = gm_create(&ram, 1, &err);
	vm.mmio = bus_create("memory", UINT64_MAX, &err);
	rom = (struct rom){ .data = aligned_alloc(4096, rom_size), .size = rom_size, .mapped = rom_size };
	fill();
	ck_assert_msg(shadow_init(&shadow, &vm, &rom, &link, &err) == 0, "%s", err.msg);
}

static void setup(void)
{
	make(ROM_SIZE);
}

static void teardown(void)
{
	uint8_t byte;

	shadow_fini(&shadow);
	ck_assert(!bus_read(vm.mmio, MEM_SHADOW_START, &byte, 1));
	bus_destroy(vm.mmio);
	gm_destroy(vm.mem);
	free(rom.data);
}

/* ---- the guest ---- */

static const struct vm_slot *slot_at(uint64_t gpa)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (gpa - slots[i].gpa < slots[i].size)
			return &slots[i];
	return NULL;
}

static uint8_t guest_read(uint64_t gpa)
{
	const struct vm_slot *slot = slot_at(gpa);
	uint8_t byte;

	if (slot)
		return ((const uint8_t *)slot->hva)[gpa - slot->gpa];
	ck_assert(bus_read(vm.mmio, gpa, &byte, 1));
	return byte;
}

static void guest_write(uint64_t gpa, uint8_t v)
{
	const struct vm_slot *slot = slot_at(gpa);

	if (slot && !slot->read_only)
		((uint8_t *)(uintptr_t)slot->hva)[gpa - slot->gpa] = v;
	else
		ck_assert(bus_write(vm.mmio, gpa, &v, 1));
}

/* What a setting makes of an address, from the data sheet's table. */
static unsigned pam_of(const uint8_t pam[7], uint64_t gpa)
{
	unsigned i = (unsigned)(gpa - 0xc0000) / 0x4000;

	return gpa >= 0xf0000 ? pam[0] >> 4 & 3 : (i & 1 ? pam[1 + i / 2] >> 4 : pam[1 + i / 2]) & 3;
}

static void check_all(const uint8_t pam[7])
{
	const uint8_t *ram = gm_map(vm.mem, MEM_SHADOW_START, SHADOW_SIZE);

	shadow_set(&shadow, pam);
	fill();
	for (uint64_t start = 0xc0000; start < 0x100000; start += 0x4000)
		for (unsigned end = 0; end < 2; end++) {
			uint64_t gpa = end ? start + 0x3fff : start;
			unsigned how = pam_of(pam, gpa);
			uint8_t want = how & 1 ? RAM_BYTE(gpa) : gpa >= 0x100000 - min_u64(rom.size, 0x20000) ? ROM_BYTE(gpa) : 0xff;

			ck_assert_msg(guest_read(gpa) == want, "0x%llx, pam %u: 0x%x", (unsigned long long)gpa, how, guest_read(gpa));
			guest_write(gpa, 0x11);
			ck_assert_uint_eq(ram[gpa - 0xc0000], how & 2 ? 0x11 : RAM_BYTE(gpa));
			ck_assert_uint_eq(guest_read(gpa), how == 3 ? 0x11 : want);
		}
}

/* The ROM at the reset vector, in both places, and writes to it lost. */
START_TEST(power_on)
{
	static const uint8_t zero[7];

	check_all(zero);
	ck_assert_uint_eq(slots[VM_FIRST_SLOT + SHADOW_SEGMENTS].gpa, 0xfffc0000);
	ck_assert(slots[VM_FIRST_SLOT + SHADOW_SEGMENTS].read_only);
	ck_assert_uint_eq(guest_read(0xfffffff0), ROM_BYTE(0xffff0));
	guest_write(0xfffffff0, 0);
	ck_assert_uint_eq(guest_read(0xfffffff0), ROM_BYTE(0xffff0));
}
END_TEST

/* As SeaBIOS does: all open, then what it used locked; then a reset. */
START_TEST(as_firmware_does)
{
	static const uint8_t open[7] = { 0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33 }, locked[7] = { 0x10, 0x11, 0x11, 0x33, 0x33, 0x33, 0x31 };
	static const uint8_t zero[7];
	unsigned before;

	check_all(open);
	before = changes;
	check_all(open); /* nothing to do */
	ck_assert_uint_eq(changes, before);
	check_all(locked);
	check_all(zero);
}
END_TEST

/* Every setting of each segment beside every other of its neighbours, and many more. */
START_TEST(any_setting)
{
	uint8_t pam[7];
	uint32_t x = 2463534242;

	for (unsigned n = 0; n < 600; n++) {
		for (unsigned i = 0; i < 7; i++) {
			x ^= x << 13;
			x ^= x >> 17;
			x ^= x << 5;
			pam[i] = (uint8_t)(x >> 9) & 0x33;
		}
		check_all(pam);
	}
}
END_TEST

/* A ROM smaller than its low copy could be. */
START_TEST(small_rom)
{
	static const uint8_t zero[7], half[7] = { 0x10, 0x03, 0x30, 0x21, 0x12, 0x13, 0x02 };

	teardown();
	memset(slots, 0, sizeof(slots));
	make(64 * KIB);
	check_all(zero);
	check_all(half);
}
END_TEST

/* Data is right also while a slot is being exchanged: the bus answers as the slot did. */
START_TEST(between_slots)
{
	static const uint8_t mixed[7] = { 0x30, 0x33, 0x11, 0x22, 0x00, 0x33, 0x21 };
	uint8_t want[64], byte;

	shadow_set(&shadow, mixed);
	for (unsigned i = 0; i < 64; i++)
		want[i] = guest_read(0xc0000 + i * 0x1000);
	for (unsigned i = 0; i < 64; i++) {
		ck_assert(bus_read(vm.mmio, 0xc0000 + i * 0x1000, &byte, 1));
		ck_assert_uint_eq(byte, want[i]);
	}
	/* Eight bytes across a border of segments. */
	{
		uint8_t buf[8];

		ck_assert(bus_read(vm.mmio, 0xcfffc, buf, 8));
		ck_assert_uint_eq(buf[3], guest_read(0xcffff));
		ck_assert_uint_eq(buf[4], guest_read(0xd0000));
	}
}
END_TEST

START_TEST(kvm_refuses)
{
	static const uint8_t open[7] = { 0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33 };

	fail_at = changes + 2;
	shadow_set(&shadow, open);
	ck_assert_uint_eq(requests, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("shadow");
	TCase *tc = tcase_create("shadow");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, power_on);
	tcase_add_test(tc, as_firmware_does);
	tcase_add_test(tc, any_setting);
	tcase_add_test(tc, small_rom);
	tcase_add_test(tc, between_slots);
	tcase_add_test(tc, kvm_refuses);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
