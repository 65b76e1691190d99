/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_pci.h"

#define FN PCI_DEVFN(5, 0)
#define TABLE UINT64_C(0xd0000000)
#define ENABLE PCI_MSIX_CONTROL_ENABLE
#define MASK_ALL PCI_MSIX_CONTROL_MASK_ALL
#define VECTORS 5
#define PBA (TABLE + 2048)

static struct fake_pci pci;
static struct fake_fn *fn;
static unsigned cap;

static void add(unsigned vectors)
{
	fn = fake_fn_add(&pci, "thing", FN, vectors);
	cap = fake_config_read(&pci, FN, PCI_CAPABILITIES, 1);
	fake_bar_write(&pci, FN, FAKE_BAR_MSIX, TABLE);
	fake_command(&pci, FN, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void setup(void)
{
	fake_pci_init(&pci);
	add(VECTORS);
}

static void teardown(void)
{
	fake_fn_remove(fn);
	fake_pci_fini(&pci);
}

static void control(uint16_t v)
{
	fake_config_write(&pci, FN, cap + PCI_MSIX_CONTROL, v, 2);
}

static void mask(unsigned vector, bool masked)
{
	fake_bus_write(pci.env.mmio, TABLE + 16 * vector + 12, masked, 4);
}

static void message(unsigned vector, uint64_t address, uint32_t data)
{
	fake_bus_write(pci.env.mmio, TABLE + 16 * vector, address, 8);
	fake_bus_write(pci.env.mmio, TABLE + 16 * vector + 8, data, 4);
}

static uint64_t pending(void)
{
	return fake_bus_read(pci.env.mmio, PBA, 8);
}

START_TEST(capability)
{
	ck_assert_uint_eq(fake_config_read(&pci, FN, cap, 1), 0x11);
	ck_assert_uint_eq(fake_config_read(&pci, FN, cap + 2, 2), VECTORS - 1);
	ck_assert_uint_eq(fake_config_read(&pci, FN, cap + 4, 4), FAKE_BAR_MSIX);
	ck_assert_uint_eq(fake_config_read(&pci, FN, cap + 8, 4), 2048 | FAKE_BAR_MSIX);
	control(0xffff);
	ck_assert_uint_eq(fake_config_read(&pci, FN, cap + 2, 2), 0xc000 | (VECTORS - 1));
	ck_assert(pci_msix_enabled(&fn->pci));
	fake_config_write(&pci, FN, cap + 3, 0, 1); /* the upper byte alone */
	ck_assert(!pci_msix_enabled(&fn->pci));
}
END_TEST

START_TEST(table)
{
	for (unsigned i = 0; i < VECTORS; i++) {
		ck_assert_uint_eq(fake_bus_read(pci.env.mmio, TABLE + 16 * i, 8), 0);
		ck_assert_uint_eq(fake_bus_read(pci.env.mmio, TABLE + 16 * i + 8, 8), UINT64_C(1) << 32);
	}
	message(1, 0x1fee01003, 0x4041);
	ck_assert_uint_eq(fake_bus_read(pci.env.mmio, TABLE + 16, 8), 0x1fee01000);
	ck_assert_uint_eq(fake_bus_read(pci.env.mmio, TABLE + 24, 4), 0x4041);
	ck_assert_uint_eq(fake_bus_read(pci.env.mmio, TABLE + 25, 1), 0x40);
	fake_bus_write(pci.env.mmio, TABLE + 28, 0xfffffffe, 4);
	ck_assert_uint_eq(fake_bus_read(pci.env.mmio, TABLE + 28, 4), 0); /* one bit is there */
	fake_bus_write(pci.env.mmio, TABLE + 24, 0x1234567812345678, 8);
	ck_assert_uint_eq(fake_bus_read(pci.env.mmio, TABLE + 24, 8), 0x12345678);
	/* Narrow and misaligned writes change nothing. */
	fake_bus_write(pci.env.mmio, TABLE + 24, 0, 1);
	fake_bus_write(pci.env.mmio, TABLE + 24, 0, 2);
	fake_bus_write(pci.env.mmio, TABLE + 26, 0, 4);
	ck_assert_uint_eq(fake_bus_read(pci.env.mmio, TABLE + 24, 4), 0x12345678);
	/* What is beyond table and pending bits is empty, and takes nothing. */
	for (uint64_t at = TABLE + 16 * VECTORS; at < TABLE + 4096; at += 8) {
		fake_bus_write(pci.env.mmio, at, UINT64_MAX, 8);
		ck_assert_uint_eq(fake_bus_read(pci.env.mmio, at, 8), 0);
	}
	ck_assert(!bus_read(pci.env.mmio, TABLE + 4096, (uint8_t[1]){ 0 }, 1));
	ck_assert_uint_eq(pci.msis.allocs, 0);
}
END_TEST

START_TEST(fires)
{
	message(2, 0xfee01000, 0x31);
	control(ENABLE);
	ck_assert_uint_eq(pci.msis.allocs, 0);
	mask(2, false);
	ck_assert_uint_eq(pci.msis.allocs, 1); /* the others cost nothing */
	pci_msix_fire(&fn->pci, 2);
	ck_assert_uint_eq(pci.msis.fires, 1);
	ck_assert_uint_eq(pci.msis.address, 0xfee01000);
	ck_assert_uint_eq(pci.msis.data, 0x31);
	message(2, 0xfee02000, 0x32);
	pci_msix_fire(&fn->pci, 2);
	ck_assert_uint_eq(pci.msis.address, 0xfee02000);
	ck_assert_uint_eq(pci.msis.data, 0x32);
	ck_assert_uint_eq(pci.msis.allocs, 1);
	pci_msix_fire(&fn->pci, VECTORS);
	pci_msix_fire(&fn->pci, UINT32_MAX);
	ck_assert_uint_eq(pci.msis.fires, 2);
	control(0);
	pci_msix_fire(&fn->pci, 2);
	ck_assert_uint_eq(pci.msis.fires, 2);
	ck_assert_uint_eq(pending(), 0);
}
END_TEST

START_TEST(masks)
{
	message(0, 0xfee00000, 1);
	message(3, 0xfee00000, 4);
	control(ENABLE);
	pci_msix_fire(&fn->pci, 3);
	pci_msix_fire(&fn->pci, 3);
	pci_msix_fire(&fn->pci, 0);
	ck_assert_uint_eq(pending(), 9);
	ck_assert_uint_eq(pci.msis.fires, 0);
	fake_bus_write(pci.env.mmio, PBA, 0, 8); /* read-only */
	ck_assert_uint_eq(pending(), 9);
	mask(3, false);
	ck_assert_uint_eq(pci.msis.fires, 1); /* once, however often it came */
	ck_assert_uint_eq(pci.msis.data, 4);
	ck_assert_uint_eq(pending(), 1);
	mask(3, true);
	pci_msix_fire(&fn->pci, 3);
	ck_assert_uint_eq(pending(), 9);
	control(ENABLE | MASK_ALL);
	mask(3, false);
	mask(0, false);
	ck_assert_uint_eq(pci.msis.fires, 1);
	control(ENABLE);
	ck_assert_uint_eq(pci.msis.fires, 3);
	ck_assert_uint_eq(pending(), 0);
	/* 6.2.2: a message is the write of a bus master. */
	fake_command(&pci, FN, PCI_COMMAND_MEMORY);
	pci_msix_fire(&fn->pci, 3);
	ck_assert_uint_eq(pci.msis.fires, 3);
	ck_assert_uint_eq(pending(), 8);
	fake_command(&pci, FN, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ck_assert_uint_eq(pci.msis.fires, 4);
	ck_assert_uint_eq(pending(), 0);
	control(ENABLE | MASK_ALL);
	pci_msix_fire(&fn->pci, 0);
	ck_assert_uint_eq(pending(), 1);
	pci_dev_reset(&fn->pci);
	fake_bar_write(&pci, FN, FAKE_BAR_MSIX, TABLE);
	fake_command(&pci, FN, PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(pending(), 0);
	ck_assert_uint_eq(pci.msis.allocated, 0);
	ck_assert(!pci_msix_enabled(&fn->pci));
	ck_assert_uint_eq(fake_bus_read(pci.env.mmio, TABLE + 8, 8), UINT64_C(1) << 32);
	ck_assert_uint_eq(fake_bus_read(pci.env.mmio, TABLE, 8), 0);
}
END_TEST

/* No vectors on the host: silent, and as soon as there are, it works. */
START_TEST(no_room)
{
	pci.msis.room = 0;
	message(0, 0xfee00000, 1);
	control(ENABLE);
	mask(0, false);
	pci_msix_fire(&fn->pci, 0);
	ck_assert_uint_eq(pci.msis.fires, 0);
	pci.msis.room = 1;
	mask(0, false);
	pci_msix_fire(&fn->pci, 0);
	ck_assert_uint_eq(pci.msis.fires, 1);
	pci.msis.set_error = -EINVAL;
	message(0, 0, 1);
	pci_msix_fire(&fn->pci, 0);
	ck_assert_uint_eq(pci.msis.fires, 1);
	pci.msis.set_error = 0;
	message(0, 0xfee00000, 1);
	pci_msix_fire(&fn->pci, 0);
	ck_assert_uint_eq(pci.msis.fires, 2);
}
END_TEST

START_TEST(silences_intx)
{
	pci_set_intx(&fn->pci, true);
	ck_assert(pci.intx[1]);
	control(ENABLE);
	ck_assert(!pci.intx[1]);
	control(0);
	ck_assert(pci.intx[1]);
}
END_TEST

START_TEST(sizes)
{
	static const struct { unsigned vectors; uint64_t bar; } of[] = {
		{ 1, 4096 }, { 128, 4096 }, { 129, 8192 }, { 2048, 65536 },
	};
	struct pci_dev dev;
	struct err err = ERR_INIT;

	for (unsigned i = 0; i < ARRAY_SIZE(of); i++) {
		fake_fn_remove(fn);
		add(of[i].vectors);
		ck_assert_uint_eq(fn->pci.bars[FAKE_BAR_MSIX].region.size, of[i].bar);
		ck_assert_uint_eq(fake_config_read(&pci, FN, cap + 2, 2), of[i].vectors - 1);
		control(ENABLE);
		pci_msix_fire(&fn->pci, of[i].vectors - 1);
		ck_assert_uint_eq(fake_bus_read(pci.env.mmio, TABLE + of[i].bar / 2 + (of[i].vectors - 1) / 8, 1),
				  BIT((of[i].vectors - 1) % 8));
		mask(of[i].vectors - 1, false);
		ck_assert_uint_eq(pci.msis.fires, i + 1);
	}
	pci_dev_init(&dev, "bad", &fake_fn_ops, &(struct pci_ids){ 0 }, false);
	ck_assert_int_eq(pci_dev_add_msix(&dev, 0, 0, &pci.env.msi, &err), -EINVAL);
	ck_assert_int_eq(pci_dev_add_msix(&dev, 0, 2049, &pci.env.msi, &err), -EINVAL);
	ck_assert_msg(strstr(err.msg, "bad: vectors 2049") != NULL, "%s", err.msg);
	ck_assert(!pci_msix_enabled(&dev));
	pci_msix_fire(&dev, 0);
	pci_dev_remove(&dev);
}
END_TEST

/* Others fire while the guest masks, moves and disables. */
#define ROUNDS 3000
static _Atomic bool stop;

static void *firing(void *unused)
{
	(void)unused;
	while (!stop) {
		pci_msix_fire(&fn->pci, 0);
		pci_set_intx(&fn->pci, true);
		pci_set_intx(&fn->pci, false);
		pci_msix_enabled(&fn->pci);
	}
	return NULL;
}

START_TEST(races)
{
	pthread_t thread;

	stop = false;
	ck_assert_int_eq(pthread_create(&thread, NULL, firing, NULL), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		message(0, 0xfee00000 + 4096 * (i & 1), i);
		control(i & 2 ? ENABLE : i & 4 ? 0 : ENABLE | MASK_ALL);
		mask(0, i & 1);
		fake_command(&pci, FN, i & 16 ? PCI_COMMAND_MEMORY : PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
		if (i % 64 == 0) {
			pci_dev_reset(&fn->pci);
			fake_bar_write(&pci, FN, FAKE_BAR_MSIX, TABLE);
		}
	}
	stop = true;
	pthread_join(thread, NULL);
}
END_TEST

/* The eventfd of a vector is told of while it is let through, and whoever has it hears of a change. */
START_TEST(direct)
{
	unsigned before;

	ck_assert_int_eq(pci_msix_fd(&fn->pci, 1), -1);
	control(ENABLE);
	message(1, 0xfee00000, 0x41);
	ck_assert_int_eq(pci_msix_fd(&fn->pci, 1), -1);
	before = fn->msix_changes;
	mask(1, false);
	ck_assert_uint_gt(fn->msix_changes, before);
	ck_assert_int_ge(pci_msix_fd(&fn->pci, 1), FAKE_MSI_FD);
	ck_assert_int_eq(pci_msix_fd(&fn->pci, 0), -1);
	ck_assert_int_eq(pci_msix_fd(&fn->pci, VECTORS), -1);
	before = fn->msix_changes;
	mask(1, true);
	ck_assert_uint_gt(fn->msix_changes, before);
	ck_assert_int_eq(pci_msix_fd(&fn->pci, 1), -1);
	mask(1, false);
	before = fn->msix_changes;
	control(ENABLE | MASK_ALL);
	ck_assert_uint_gt(fn->msix_changes, before);
	ck_assert_int_eq(pci_msix_fd(&fn->pci, 1), -1);
	control(ENABLE);
	ck_assert_int_ge(pci_msix_fd(&fn->pci, 1), FAKE_MSI_FD);
	/* No bus master: no messages. */
	before = fn->msix_changes;
	fake_command(&pci, FN, PCI_COMMAND_MEMORY);
	ck_assert_uint_gt(fn->msix_changes, before);
	ck_assert_int_eq(pci_msix_fd(&fn->pci, 1), -1);
	/* The host has none left for it. */
	fake_command(&pci, FN, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	pci.msis.set_error = -EINVAL;
	message(1, 0xfee01000, 0x42);
	ck_assert_int_eq(pci_msix_fd(&fn->pci, 1), -1);
	control(0);
	ck_assert_int_eq(pci_msix_fd(&fn->pci, 1), -1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pci_msix");
	TCase *tc = tcase_create("msix");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, capability);
	tcase_add_test(tc, table);
	tcase_add_test(tc, fires);
	tcase_add_test(tc, masks);
	tcase_add_test(tc, direct);
	tcase_add_test(tc, no_room);
	tcase_add_test(tc, silences_intx);
	tcase_add_test(tc, sizes);
	tcase_add_test(tc, races);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
