/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_pci.h"

#define FN PCI_DEVFN(5, 0)
#define DECODE (PCI_COMMAND_IO | PCI_COMMAND_MEMORY)

static struct fake_pci pci;
static struct fake_fn *fn;
static struct err err;

static void setup(void)
{
	fake_pci_init(&pci);
	fn = fake_fn_add(&pci, "thing", FN, 0);
}

static void teardown(void)
{
	fake_fn_remove(fn);
	fake_pci_fini(&pci);
}

/* ---- configuration space ---- */

START_TEST(both_ways_agree)
{
	for (unsigned devfn = 0; devfn < 256; devfn++)
		for (unsigned reg = 0; reg < 256; reg += 4)
			ck_assert_uint_eq(fake_config_read(&pci, devfn, reg, 4), fake_ecam_read(&pci, devfn, reg, 4));
	ck_assert_uint_eq(fake_config_read(&pci, 0, 0, 4), 0x12378086);
	ck_assert_uint_eq(fake_config_read(&pci, PCI_DEVFN(1, 0), 0, 4), 0x70008086);
	ck_assert_uint_eq(fake_config_read(&pci, FN, 0, 4), 0x56781234);
	ck_assert_uint_eq(fake_config_read(&pci, FN, 8, 4), 0x01800007);
	ck_assert_uint_eq(fake_config_read(&pci, FN, 0x2c, 4), 0xdef09abc);
	ck_assert_uint_eq(fake_config_read(&pci, FN, 0x3d, 1), 1);
}
END_TEST

START_TEST(nobody)
{
	fake_config_write(&pci, PCI_DEVFN(9, 0), 4, 7, 4);
	ck_assert_uint_eq(fake_config_read(&pci, PCI_DEVFN(9, 0), 0, 4), 0xffffffff);
	ck_assert_uint_eq(fake_config_read(&pci, PCI_DEVFN(5, 1), 0, 2), 0xffff);
	ck_assert_uint_eq(fake_ecam_read(&pci, PCI_DEVFN(31, 7), 0xff8, 8), UINT64_MAX);
	fake_bus_write(pci.env.pio, 0xcf8, 0x80010000 | FN << 8, 4); /* bus 1 */
	ck_assert_uint_eq(fake_bus_read(pci.env.pio, 0xcfc, 4), 0xffffffff);
	fake_bus_write(pci.env.pio, 0xcf8, FN << 8, 4); /* not enabled */
	ck_assert_uint_eq(fake_bus_read(pci.env.pio, 0xcfc, 4), 0xffffffff);
	fake_bus_write(pci.env.pio, 0xcfc, 0, 4);
}
END_TEST

START_TEST(widths)
{
	const uint64_t head = fake_ecam_read(&pci, FN, 0, 8);

	ck_assert_uint_eq(head & 0xffffffff, 0x56781234);
	for (unsigned reg = 0; reg < 8; reg++) {
		for (unsigned len = 1; len + reg <= 8; len++) {
			uint64_t want = head >> 8 * reg & (UINT64_MAX >> (64 - 8 * len));

			ck_assert_uint_eq(fake_ecam_read(&pci, FN, reg, len), want);
			if ((reg & 3) + len <= 4)
				ck_assert_uint_eq(fake_config_read(&pci, FN, reg, len), want);
		}
	}
	/* Across the data register's end there is nobody. */
	fake_select(&pci, FN, 0);
	ck_assert_uint_eq(fake_bus_read(pci.env.pio, 0xcfe, 4), 0xffff5678);
	/* Bytes of a register, one at a time. */
	fake_ecam_write(&pci, FN, PCI_BAR0 + 4 * FAKE_BAR_MEM32 + 3, 0xab, 1);
	fake_ecam_write(&pci, FN, PCI_BAR0 + 4 * FAKE_BAR_MEM32 + 1, 0xcdef, 2);
	ck_assert_uint_eq(fake_bar_read(&pci, FN, FAKE_BAR_MEM32), 0xabcde000);
	/* The last bytes of ECAM, and beyond. */
	ck_assert_uint_eq(fake_ecam_read(&pci, FN, 0xffe, 4), 0xffff0000);
	ck_assert(!bus_read(pci.env.mmio, FAKE_ECAM + PCI_ECAM_SIZE, (uint8_t[1]){ 0 }, 1));
}
END_TEST

START_TEST(read_only)
{
	static uint8_t before[256];

	for (unsigned devfn = 0; devfn <= FN; devfn += FN) {
		for (unsigned reg = 0; reg < 256; reg++)
			before[reg] = (uint8_t)fake_config_read(&pci, devfn, reg, 1);
		for (unsigned reg = 0; reg < 256; reg += 4) {
			fake_config_write(&pci, devfn, reg, 0xffffffff, 4);
			fake_config_write(&pci, devfn, reg, 0, 4);
		}
		for (unsigned reg = 0; reg < 256; reg++)
			if (reg != PCI_COMMAND && reg != PCI_COMMAND + 1)
				ck_assert_uint_eq(before[reg], fake_config_read(&pci, devfn, reg, 1));
	}
	fake_command(&pci, FN, 0xffff);
	ck_assert_uint_eq(fake_config_read(&pci, FN, PCI_COMMAND, 2), 0x407);
}
END_TEST

START_TEST(address_register)
{
	fake_bus_write(pci.env.pio, 0xcf8, 0xffffffff, 4);
	ck_assert_uint_eq(fake_bus_read(pci.env.pio, 0xcf8, 4), 0x80fffffc);
	/* Narrow accesses do not reach it. */
	fake_bus_write(pci.env.pio, 0xcf8, 0, 1);
	fake_bus_write(pci.env.pio, 0xcfa, 0, 2);
	fake_bus_write(pci.env.pio, 0xcfb, 1, 1);
	ck_assert_uint_eq(fake_bus_read(pci.env.pio, 0xcf8, 4), 0x80fffffc);
	ck_assert_uint_eq(fake_bus_read(pci.env.pio, 0xcf8, 1), 0xff);
	ck_assert_uint_eq(fake_bus_read(pci.env.pio, 0xcfa, 2), 0xffff);
}
END_TEST

START_TEST(reset_register)
{
	fake_bus_write(pci.env.pio, 0xcf8, 0x0600, 4); /* four bytes: an address */
	ck_assert_uint_eq(pci.resets, 0);
	fake_bus_write(pci.env.pio, 0xcf9, 0x02, 1);
	ck_assert_uint_eq(fake_bus_read(pci.env.pio, 0xcf9, 1), 0x02);
	ck_assert_uint_eq(fake_bus_read(pci.env.pio, 0xcf8, 2), 0x02ff);
	ck_assert_uint_eq(pci.resets, 0);
	fake_bus_write(pci.env.pio, 0xcf9, 0x06, 1);
	ck_assert_uint_eq(pci.resets, 1);
	pci.reset_ctl->ops->reset(pci.reset_ctl);
	fake_bus_write(pci.env.pio, 0xcf8, 0x0600, 2);
	ck_assert_uint_eq(pci.resets, 2);
	ck_assert_uint_eq(fake_bus_read(pci.env.pio, 0xcf8, 4), 0x0600);
}
END_TEST

START_TEST(capabilities)
{
	static const uint8_t vendor[] = { 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 }, odd[] = { 0x55 };
	struct fake_fn *other = calloc(1, sizeof(*other));
	const struct pci_ids ids = { .vendor = 1 };
	unsigned first, second;

	pci_dev_init(&other->pci, "other", &fake_fn_ops, &ids, false);
	ck_assert(!(other->pci.config[PCI_STATUS] & PCI_STATUS_CAPABILITIES));
	first = pci_dev_add_capability(&other->pci, 9, odd, 3);
	second = pci_dev_add_capability(&other->pci, 9, vendor, 16);
	ck_assert_int_eq(pci_dev_add_capability(&other->pci, 0x10, (uint8_t[162]){ 0 }, 164), 0x54);
	ck_assert_int_eq(pci_dev_add(pci.bus, &other->pci, PCI_DEVFN(8, 0), &err), 0);
	ck_assert_uint_eq(first, 0x40);
	ck_assert_uint_eq(second, 0x44);
	ck_assert_uint_eq(fake_config_read(&pci, PCI_DEVFN(8, 0), PCI_STATUS, 2), PCI_STATUS_CAPABILITIES);
	ck_assert_uint_eq(fake_config_read(&pci, PCI_DEVFN(8, 0), PCI_CAPABILITIES, 1), 0x40);
	ck_assert_uint_eq(fake_config_read(&pci, PCI_DEVFN(8, 0), 0x40, 4), 0x554409);
	ck_assert_uint_eq(fake_config_read(&pci, PCI_DEVFN(8, 0), 0x44, 4), 0x01105409);
	ck_assert_uint_gt(other->config_reads, 0);
	fake_config_write(&pci, PCI_DEVFN(8, 0), 0x48, 0, 4);
	ck_assert_uint_eq(other->config_writes, 1);
	ck_assert_uint_eq(fake_config_read(&pci, PCI_DEVFN(8, 0), 0x48, 1), 2);
	fake_fn_remove(other);
}
END_TEST

/* ---- places of functions ---- */

START_TEST(slots)
{
	struct fake_fn *a = fake_fn_add(&pci, "a", PCI_ADDR_AUTO, 0), *b = fake_fn_add(&pci, "b", PCI_ADDR_AUTO, 0), *many[32], extra = { 0 };
	unsigned n = 0;

	ck_assert_int_eq(a->pci.devfn, PCI_DEVFN(2, 0));
	ck_assert_int_eq(b->pci.devfn, PCI_DEVFN(3, 0));
	pci_dev_init(&extra.pci, "extra", &fake_fn_ops, &(struct pci_ids){ 0 }, false);
	ck_assert_int_eq(pci_dev_add(pci.bus, &extra.pci, FN, &err), -EBUSY);
	ck_assert_msg(strstr(err.msg, "extra") && strstr(err.msg, "thing") && strstr(err.msg, "05.0"), "%s", err.msg);
	ck_assert_int_eq(pci_dev_add(pci.bus, &extra.pci, 256, &err), -EINVAL);
	ck_assert_int_eq(pci_dev_add(pci.bus, &extra.pci, -2, &err), -EINVAL);
	for (; n < 32 - 5; n++)
		many[n] = fake_fn_add(&pci, "many", PCI_ADDR_AUTO, 0);
	ck_assert_int_eq(pci_dev_add(pci.bus, &extra.pci, PCI_ADDR_AUTO, &err), -ENOSPC);
	pci_dev_remove(&extra.pci);
	while (n-- > 0)
		fake_fn_remove(many[n]);
	fake_fn_remove(a);
	ck_assert_uint_eq(fake_config_read(&pci, PCI_DEVFN(2, 0), 0, 4), 0xffffffff);
	a = fake_fn_add(&pci, "again", PCI_ADDR_AUTO, 0);
	ck_assert_int_eq(a->pci.devfn, PCI_DEVFN(2, 0));
	fake_fn_remove(a);
	fake_fn_remove(b);
}
END_TEST

START_TEST(multi_function)
{
	struct fake_fn *second = fake_fn_add(&pci, "second", FN + 3, 0);

	ck_assert_uint_eq(fake_config_read(&pci, FN, PCI_HEADER_TYPE, 1), 0x80);
	ck_assert_uint_eq(fake_config_read(&pci, FN + 3, PCI_HEADER_TYPE, 1), 0);
	pci_dev_reset(&fn->pci);
	ck_assert_uint_eq(fake_config_read(&pci, FN, PCI_HEADER_TYPE, 1), 0x80);
	fake_fn_remove(second);
	ck_assert_uint_eq(fake_config_read(&pci, FN, PCI_HEADER_TYPE, 1), 0);
}
END_TEST

/* ---- BARs ---- */

START_TEST(sizing)
{
	for (unsigned decode = 0; decode <= DECODE; decode += DECODE) {
		fake_command(&pci, FN, (uint16_t)decode);
		for (unsigned i = 0; i < PCI_BARS; i++)
			fake_bar_write(&pci, FN, i, 0xffffffff);
		ck_assert_uint_eq(fake_bar_read(&pci, FN, FAKE_BAR_IO), 0xffffffe1);
		ck_assert_uint_eq(fake_bar_read(&pci, FN, FAKE_BAR_MEM32), 0xfffff000);
		ck_assert_uint_eq(fake_bar_read(&pci, FN, FAKE_BAR_MSIX), 0); /* there is none */
		ck_assert_uint_eq(fake_bar_read(&pci, FN, 3), 0);
		ck_assert_uint_eq(fake_bar_read(&pci, FN, FAKE_BAR_MEM64), 0xffffc00c);
		ck_assert_uint_eq(fake_bar_read(&pci, FN, FAKE_BAR_MEM64 + 1), 0xffffffff);
		for (unsigned i = 0; i < PCI_BARS; i++)
			ck_assert(!fn->pci.bars[i].mapped);
	}
}
END_TEST

static void expect_at(struct bus *bus, uint64_t base, uint64_t size, bool there)
{
	unsigned reads = fn->reads;

	fn->mem[0] = 0x5a;
	ck_assert_int_eq(fake_bus_read(bus, base, 1) == 0x5a, there);
	fake_bus_read(bus, base + size - 1, 1);
	ck_assert_uint_eq(fn->reads, reads + (there ? 2 : 0));
	fake_bus_read(bus, base + size, 1);
	fake_bus_read(bus, base - 1, 1);
	ck_assert_uint_eq(fn->reads, reads + (there ? 2 : 0));
}

START_TEST(decoding)
{
	fake_bar_write(&pci, FN, FAKE_BAR_IO, 0xc100);
	fake_bar_write(&pci, FN, FAKE_BAR_MEM32, 0xd0000000);
	fake_bar_write(&pci, FN, FAKE_BAR_MEM64, 0x8000);
	fake_bar_write(&pci, FN, FAKE_BAR_MEM64 + 1, 0x40);
	ck_assert_uint_eq(fn->moves, 0);
	fake_command(&pci, FN, PCI_COMMAND_IO);
	expect_at(pci.env.pio, 0xc100, FAKE_IO_SIZE, true);
	expect_at(pci.env.mmio, 0xd0000000, FAKE_MEM32_SIZE, false);
	ck_assert_uint_eq(fn->command, PCI_COMMAND_IO);
	fake_command(&pci, FN, PCI_COMMAND_MEMORY);
	expect_at(pci.env.pio, 0xc100, FAKE_IO_SIZE, false);
	expect_at(pci.env.mmio, 0xd0000000, FAKE_MEM32_SIZE, true);
	expect_at(pci.env.mmio, 0x4000008000, FAKE_MEM64_SIZE, true);
	ck_assert_uint_eq(fn->place[FAKE_BAR_MEM64], 0x4000008000);
	ck_assert_uint_eq(fn->commands, 2);
	fake_command(&pci, FN, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ck_assert_uint_eq(fn->commands, 3);
	fake_command(&pci, FN, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	ck_assert_uint_eq(fn->commands, 3);
	fake_ecam_write(&pci, FN, PCI_COMMAND, 0, 1);
	expect_at(pci.env.mmio, 0xd0000000, FAKE_MEM32_SIZE, false);
	ck_assert_uint_eq(fn->place[FAKE_BAR_MEM64], 0);
}
END_TEST

START_TEST(moving)
{
	fake_command(&pci, FN, DECODE);
	fake_bar_write(&pci, FN, FAKE_BAR_MEM32, 0xd0000000);
	expect_at(pci.env.mmio, 0xd0000000, FAKE_MEM32_SIZE, true);
	fake_bar_write(&pci, FN, FAKE_BAR_MEM32, 0xd0001000);
	expect_at(pci.env.mmio, 0xd0001000, FAKE_MEM32_SIZE, true);
	ck_assert_uint_eq(fn->place[FAKE_BAR_MEM32], 0xd0001000);
	ck_assert_uint_eq(fn->moves, 3);
	fake_bar_write(&pci, FN, FAKE_BAR_MEM32, 0xd0001abc); /* the lowest bits are not there */
	ck_assert_uint_eq(fn->moves, 3);
	fake_bar_write(&pci, FN, FAKE_BAR_MEM32, 0);
	expect_at(pci.env.mmio, 0xd0001000, FAKE_MEM32_SIZE, false);
	/* Ports end at 0xffff: the BAR has more bits, and no port there. */
	fake_bar_write(&pci, FN, FAKE_BAR_IO, 0xffe0);
	ck_assert_uint_eq(fn->place[FAKE_BAR_IO], 0xffe0);
	fake_bar_write(&pci, FN, FAKE_BAR_IO, 0x1c100);
	ck_assert_uint_eq(fake_bar_read(&pci, FN, FAKE_BAR_IO), 0x1c101);
	ck_assert_uint_eq(fn->place[FAKE_BAR_IO], 0);
	ck_assert(!bus_read(pci.env.pio, 0xc100, (uint8_t[1]){ 0 }, 1));
}
END_TEST

START_TEST(overlaps)
{
	static const struct bus_ops none = { .width = 8 };
	struct bus_region apic = { .name = "APIC", .base = 0xfee00000, .size = 0x1000, .ops = &none };

	ck_assert_int_eq(bus_add(pci.env.mmio, &apic, &err), 0);
	fake_command(&pci, FN, DECODE);
	fake_bar_write(&pci, FN, FAKE_BAR_MEM32, 0xd0000000);
	for (unsigned i = 0; i < 4; i++) {
		/* RAM's last page, the APIC, ECAM, the BAR itself taken for another's place. */
		const uint32_t bad[] = { FAKE_RAM - 4096, 0xfee00000, FAKE_ECAM + 0x5000, 0x00400000 };

		fake_bar_write(&pci, FN, FAKE_BAR_MEM32, bad[i]);
		ck_assert_uint_eq(fn->place[FAKE_BAR_MEM32], 0);
		ck_assert_uint_eq(fake_bar_read(&pci, FN, FAKE_BAR_MEM32), bad[i]);
		fake_bar_write(&pci, FN, FAKE_BAR_MEM32, 0xd0000000);
		expect_at(pci.env.mmio, 0xd0000000, FAKE_MEM32_SIZE, true);
	}
	fake_bar_write(&pci, FN, FAKE_BAR_MEM32, FAKE_RAM);
	expect_at(pci.env.mmio, FAKE_RAM, FAKE_MEM32_SIZE, true);
	fake_bar_write(&pci, FN, FAKE_BAR_IO, 0xce0); /* up to 0xcff: configuration */
	ck_assert_uint_eq(fn->place[FAKE_BAR_IO], 0);
	ck_assert_uint_eq(fake_config_read(&pci, FN, 0, 4), 0x56781234);
	bus_remove(pci.env.mmio, &apic);
}
END_TEST

/* Two BARs change places while both decode. Whoever comes second is nowhere until the other has gone. */
START_TEST(swap)
{
	struct fake_fn *other = fake_fn_add(&pci, "other", PCI_DEVFN(6, 0), 0);

	fake_command(&pci, FN, DECODE);
	fake_command(&pci, PCI_DEVFN(6, 0), DECODE);
	fake_bar_write(&pci, FN, FAKE_BAR_MEM32, 0xd0000000);
	fake_bar_write(&pci, PCI_DEVFN(6, 0), FAKE_BAR_MEM32, 0xd0001000);
	fake_bar_write(&pci, PCI_DEVFN(6, 0), FAKE_BAR_MEM32, 0xd0000000);
	ck_assert_uint_eq(other->place[FAKE_BAR_MEM32], 0);
	expect_at(pci.env.mmio, 0xd0000000, FAKE_MEM32_SIZE, true);
	fake_bar_write(&pci, FN, FAKE_BAR_MEM32, 0xd0001000);
	ck_assert_uint_eq(fn->place[FAKE_BAR_MEM32], 0xd0001000);
	ck_assert_uint_eq(other->place[FAKE_BAR_MEM32], 0xd0000000);
	/* And a switch of the command register frees a place, too. */
	fake_bar_write(&pci, PCI_DEVFN(6, 0), FAKE_BAR_MEM32, 0xd0001000);
	ck_assert_uint_eq(other->place[FAKE_BAR_MEM32], 0);
	fake_command(&pci, FN, 0);
	ck_assert_uint_eq(other->place[FAKE_BAR_MEM32], 0xd0001000);
	fake_fn_remove(other);
}
END_TEST

START_TEST(assigned)
{
	struct fake_fn *other = fake_fn_add(&pci, "other", PCI_ADDR_AUTO, 4);
	const struct bus_region *a = &fn->pci.bars[FAKE_BAR_MEM64].region, *b = &other->pci.bars[FAKE_BAR_MEM64].region;

	ck_assert_int_eq(pci_bus_assign(pci.bus, &err), 0);
	for (unsigned i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *bar = &other->pci.bars[i];

		ck_assert_int_eq(bar->used, bar->mapped);
		if (!bar->used)
			continue;
		ck_assert_uint_eq(bar->region.base % bar->region.size, 0);
		ck_assert_uint_ge(bar->region.base, bar->kind == PCI_BAR_IO ? FAKE_IO : FAKE_MEM32);
	}
	/* 32-bit BARs first, then 64-bit ones, by slot; below 4 GiB as they fit. */
	ck_assert_uint_eq(other->place[FAKE_BAR_MEM32], FAKE_MEM32);
	ck_assert_uint_eq(fn->place[FAKE_BAR_MEM32], FAKE_MEM32 + 0x2000);
	ck_assert_uint_eq(b->base, FAKE_MEM32 + 0x4000);
	ck_assert_uint_eq(a->base, FAKE_MEM32 + 0x8000);
	ck_assert_uint_eq(fake_bar_read(&pci, FN, FAKE_BAR_MEM64), a->base | 0xc);
	ck_assert_uint_eq(fake_bar_read(&pci, FN, FAKE_BAR_IO), fn->place[FAKE_BAR_IO] | 1);
	ck_assert_uint_eq(fake_config_read(&pci, FN, PCI_COMMAND, 2), DECODE);
	ck_assert_uint_eq(fake_config_read(&pci, FN, PCI_INTERRUPT_LINE, 1), 16 + 5 % 4);
	/* The same after a reset. */
	pci_bus_device(pci.bus)->ops->reset(pci_bus_device(pci.bus));
	pci_dev_reset(&fn->pci);
	pci_dev_reset(&other->pci);
	ck_assert_uint_eq(fn->place[FAKE_BAR_IO], 0);
	ck_assert_uint_eq(fake_bar_read(&pci, FN, FAKE_BAR_MEM64), 0xc);
	ck_assert_uint_eq(fake_config_read(&pci, FN, PCI_COMMAND, 2), 0);
	ck_assert_int_eq(pci_bus_assign(pci.bus, &err), 0);
	ck_assert_uint_eq(a->base, FAKE_MEM32 + 0x8000);
	fake_fn_remove(other);
}
END_TEST

START_TEST(assign_large)
{
	struct fake_fn *big[3];
	const struct pci_ids ids = { .vendor = 1 };

	for (unsigned i = 0; i < 3; i++) {
		big[i] = calloc(1, sizeof(*big[i]));
		pci_dev_init(&big[i]->pci, "big", &fake_fn_ops, &ids, false);
		pci_dev_set_bar(&big[i]->pci, 0, i == 2 ? PCI_BAR_MEM32 : PCI_BAR_MEM64, 512 * MIB, &fake_fn_bus_ops, big[i]);
		big[i]->pci.bars[0].moved = fake_fn_moved;
	}
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pci_dev_add(pci.bus, &big[i]->pci, PCI_ADDR_AUTO, &err), 0);
	ck_assert_int_eq(pci_bus_assign(pci.bus, &err), 0);
	ck_assert_uint_eq(big[0]->place[0], FAKE_MEM64); /* the small one of 05.0 is below 4 GiB already */
	ck_assert_uint_eq(big[1]->place[0], FAKE_MEM64 + 512 * MIB);
	ck_assert_int_eq(pci_dev_add(pci.bus, &big[2]->pci, PCI_ADDR_AUTO, &err), 0);
	ck_assert_int_eq(pci_bus_assign(pci.bus, &err), -ENOSPC);
	ck_assert_msg(strstr(err.msg, "BAR") != NULL, "%s", err.msg);
	for (unsigned i = 0; i < 3; i++)
		fake_fn_remove(big[i]);
}
END_TEST

/* ---- interrupts ---- */

START_TEST(intx)
{
	struct fake_fn *other = fake_fn_add(&pci, "other", PCI_DEVFN(9, 2), 0); /* 5 and 9 share a line */
	struct fake_fn *third = fake_fn_add(&pci, "third", PCI_DEVFN(6, 0), 0);

	ck_assert_uint_eq(pci_bus_intx_lines(pci.bus), BIT(1) | BIT(2));
	pci_set_intx(&fn->pci, true);
	pci_set_intx(&fn->pci, true);
	ck_assert(pci.intx[1] && !pci.intx[2]);
	pci_set_intx(&other->pci, true);
	pci_set_intx(&fn->pci, false);
	ck_assert(pci.intx[1]);
	pci_set_intx(&third->pci, true);
	ck_assert(pci.intx[2]);
	ck_assert_uint_eq(fake_config_read(&pci, PCI_DEVFN(9, 2), PCI_STATUS, 2), PCI_STATUS_INTERRUPT);
	ck_assert_uint_eq(fake_config_read(&pci, FN, PCI_STATUS, 2), 0);
	fake_command(&pci, PCI_DEVFN(9, 2), PCI_COMMAND_INTX_DISABLE);
	ck_assert(!pci.intx[1]);
	ck_assert_uint_eq(fake_config_read(&pci, PCI_DEVFN(9, 2), PCI_STATUS, 1), PCI_STATUS_INTERRUPT);
	fake_command(&pci, PCI_DEVFN(9, 2), 0);
	ck_assert(pci.intx[1]);
	pci_dev_reset(&other->pci);
	ck_assert(!pci.intx[1]);
	fake_fn_remove(third);
	ck_assert(!pci.intx[2]);
	fake_fn_remove(other);
}
END_TEST

START_TEST(no_reset_register)
{
	struct err e = ERR_INIT;
	struct pci_bus *bus;
	struct pci_bus_config cfg = pci.cfg;

	/* Two buses do not fit; and nothing is left of the second. */
	cfg.reset_ctl = NULL;
	bus = pci_bus_create(&pci.env, &cfg, &e);
	ck_assert_ptr_null(bus);
	ck_assert_int_eq(e.code, -EEXIST);
	ck_assert_uint_eq(fake_config_read(&pci, FN, 0, 4), 0x56781234);
}
END_TEST

struct looks {
	unsigned n;
	struct pci_seen seen[8];
};

static void look(void *opaque, const struct pci_seen *seen)
{
	struct looks *l = opaque;

	ck_assert_uint_lt(l->n, ARRAY_SIZE(l->seen));
	l->seen[l->n++] = *seen;
}

/* Also while a vCPU is in a handler, and so holds the function's lock and the bus's. */
START_TEST(looked_at)
{
	struct looks l = { .n = 0 };
	const struct pci_seen *seen = &l.seen[2];

	fake_bar_write(&pci, FN, FAKE_BAR_IO, 0xc100);
	fake_bar_write(&pci, FN, FAKE_BAR_MEM32, 0xc0001000);
	fake_config_write(&pci, FN, PCI_COMMAND, PCI_COMMAND_IO, 2);
	pthread_mutex_lock(&pci.bus->lock);
	pthread_mutex_lock(&fn->pci.lock);
	pci_bus_look(pci.bus, look, &l);
	pthread_mutex_unlock(&fn->pci.lock);
	pthread_mutex_unlock(&pci.bus->lock);
	ck_assert_uint_eq(l.n, 3); /* with both bridges */
	ck_assert_uint_eq(l.seen[0].devfn, 0);
	ck_assert_uint_eq(seen->devfn, FN);
	ck_assert_str_eq(seen->name, "thing");
	ck_assert_uint_eq(load_le32(seen->header), 0x56781234);
	ck_assert(seen->bars[FAKE_BAR_IO].io && seen->bars[FAKE_BAR_IO].address == 0xc100 && seen->bars[FAKE_BAR_IO].size == FAKE_IO_SIZE);
	ck_assert_uint_eq(seen->bars[FAKE_BAR_MEM32].address, 0); /* memory is not decoded */
	ck_assert_uint_eq(seen->bars[FAKE_BAR_MEM32].size, FAKE_MEM32_SIZE);
	ck_assert(seen->bars[FAKE_BAR_MEM64].is_64 && seen->bars[FAKE_BAR_MEM64].prefetchable);
	ck_assert_uint_eq(seen->bars[3].size, 0);
	fake_config_write(&pci, FN, PCI_COMMAND, DECODE, 2);
	l.n = 0;
	pci_bus_look(pci.bus, look, &l);
	ck_assert_uint_eq(seen->bars[FAKE_BAR_MEM32].address, 0xc0001000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pci");
	TCase *tc = tcase_create("pci");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, both_ways_agree);
	tcase_add_test(tc, nobody);
	tcase_add_test(tc, widths);
	tcase_add_test(tc, read_only);
	tcase_add_test(tc, address_register);
	tcase_add_test(tc, reset_register);
	tcase_add_test(tc, capabilities);
	tcase_add_test(tc, slots);
	tcase_add_test(tc, multi_function);
	tcase_add_test(tc, sizing);
	tcase_add_test(tc, decoding);
	tcase_add_test(tc, moving);
	tcase_add_test(tc, overlaps);
	tcase_add_test(tc, swap);
	tcase_add_test(tc, assigned);
	tcase_add_test(tc, assign_large);
	tcase_add_test(tc, intx);
	tcase_add_test(tc, no_reset_register);
	tcase_add_test(tc, looked_at);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
