/* SPDX-License-Identifier: MIT */
/* What firmware is told to boot from: a machine of devices that are only places on the bus, and a real fw_cfg. */
#include "tests/unit/fake_hw.h"

#include <unistd.h>

#include "arch/x86/machine_priv.h"
#include "arch/x86/pc_firmware.h"
#include "hw/fw_cfg.h"
#include "hw/pci_regs.h"
#include "hw/virtio.h"
#include "hw/virtio_pci_priv.h"
#include "tests/unit/fake_firmware.h"
#include "vmm/config.h"
#include "vmm/endian.h"

static struct fake_hw hw;
static struct vm_config cfg;
static struct pc_firmware firmware;
static struct machine m;
static struct virtio_pci functions[8];
static struct virtio_dev devices[8];
static unsigned n;
static struct fake_dir dir;
static char *dirs[] = { dir.path };
static struct err err;

static void setup(void)
{
	fake_hw_init(&hw);
	fake_dir_make(&dir);
	config_init(&cfg);
	cfg.data_dirs[0] = dirs[0];
	cfg.n_data_dirs = 1;
	memset(&firmware, 0, sizeof(firmware));
	m = (struct machine){ .cfg = &cfg, .firmware = &firmware, .fw_cfg = fw_cfg_create(&hw.env, &err) };
	ck_assert_ptr_nonnull(m.fw_cfg);
	n = 0;
}

static void teardown(void)
{
	fake_hw_fini(&hw, m.fw_cfg);
	cfg.n_data_dirs = 0;
	cfg.data_dirs[0] = NULL;
	config_fini(&cfg);
	fake_dir_remove(&dir);
}

/* A device in a place; the result of telling of it. */
static int add(enum virtio_id id, int devfn, uint16_t device, const char *unit, int bootindex, const char *romfile)
{
	static const char *const names[] = { "d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7" };
	const struct machine_boot boot = { .name = names[n], .unit = unit, .bootindex = bootindex, .romfile = romfile };

	functions[n].pci.devfn = devfn;
	store_le16(functions[n].pci.config + PCI_VENDOR_ID, 0x1af4);
	store_le16(functions[n].pci.config + PCI_DEVICE_ID, device);
	devices[n] = (struct virtio_dev){ .id = id, .transport = &functions[n] };
	return pc_boot_add(&m, &devices[n++], &boot, &err);
}

static void assert_file(const char *name, const char *want)
{
	size_t size;
	const char *text = fw_cfg_file(m.fw_cfg, name, &size);

	if (!want) {
		ck_assert_msg(!text, "there is a %s", name);
		return;
	}
	ck_assert_msg(text != NULL, "there is no %s", name);
	ck_assert_str_eq(text, want);
	ck_assert_uint_eq(size, strlen(want) + 1);
}

static void tell(void)
{
	ck_assert_msg(pc_boot_tell(&m, &err) == 0, "%s", err.msg);
}

/* As SeaBIOS makes them, src/boot.c: build_pci_path and its users. */
START_TEST(order)
{
	ck_assert_int_eq(add(VIRTIO_ID_BLOCK, PCI_DEVFN(4, 0), 0x1001, "disk@0,0", 3, NULL), 0);
	ck_assert_int_eq(add(VIRTIO_ID_BLOCK, PCI_DEVFN(5, 0), 0x1001, "disk@0,0", -1, NULL), 0);
	ck_assert_int_eq(add(VIRTIO_ID_NET, PCI_DEVFN(31, 7), 0x1000, "ethernet-phy@0", 0, ""), 0);
	ck_assert_int_eq(add((enum virtio_id)8, PCI_DEVFN(16, 1), 0x1004, "channel@0/disk@10,2", 2, NULL), 0);
	tell();
	assert_file("bootorder", "/pci@i0cf8/ethernet@1f,7/ethernet-phy@0\n/pci@i0cf8/scsi@10,1/channel@0/disk@10,2\n/pci@i0cf8/scsi@4/disk@0,0");
}
END_TEST

START_TEST(strict)
{
	cfg.boot.strict = true;
	ck_assert_int_eq(add(VIRTIO_ID_BLOCK, PCI_DEVFN(4, 0), 0x1001, "disk@0,0", 1, NULL), 0);
	tell();
	assert_file("bootorder", "/pci@i0cf8/scsi@4/disk@0,0\nHALT");
}
END_TEST

START_TEST(no_order)
{
	ck_assert_int_eq(add(VIRTIO_ID_BLOCK, PCI_DEVFN(4, 0), 0x1001, "disk@0,0", -1, NULL), 0);
	ck_assert_int_eq(add(VIRTIO_ID_BLOCK, PCI_DEVFN(5, 0), 0x1001, "disk@0,0", -1, NULL), 0);
	tell();
	assert_file("bootorder", NULL);
}
END_TEST

START_TEST(same_index)
{
	ck_assert_int_eq(add(VIRTIO_ID_BLOCK, PCI_DEVFN(4, 0), 0x1001, "disk@0,0", 1, NULL), 0);
	ck_assert_int_eq(add(VIRTIO_ID_NET, PCI_DEVFN(5, 0), 0x1000, "ethernet-phy@0", 1, NULL), -EBUSY);
	ck_assert_str_eq(err.msg, "'d0' and 'd1' have the same bootindex, 1; give one of them another");
}
END_TEST

START_TEST(too_many)
{
	for (unsigned i = 0; i < PC_BOOT_MAX; i++) {
		n = 0;
		ck_assert_int_eq(add(VIRTIO_ID_BLOCK, PCI_DEVFN(4, 0), 0x1001, "disk@0,0", -1, NULL), 0);
	}
	n = 0;
	ck_assert_int_eq(add(VIRTIO_ID_BLOCK, PCI_DEVFN(4, 0), 0x1001, "disk@0,0", -1, NULL), -ENOSPC);
}
END_TEST

/* ---- ROMs ---- */

static void make_rom(const char *name, const char *text)
{
	fake_write(name, 0, text, strlen(text) + 1);
	ck_assert_int_eq(truncate(name, 1024), 0);
}

static void assert_rom(const char *name, const char *want)
{
	size_t size;
	const char *text = fw_cfg_file(m.fw_cfg, name, &size);

	ck_assert_msg(!text == !want, "%s: %s", name, text ? text : "none");
	if (want) {
		ck_assert_str_eq(text, want);
		ck_assert_uint_eq(size, 1024);
	}
}

/* A network card has a ROM only where it may be booted from: `_i` 0: nowhere; 1 and 2: by its class; 3: by its bootindex. */
START_TEST(usual_rom)
{
	make_rom("pxe-virtio.rom", "usual");
	cfg.boot.order = _i == 1 ? 0x42 : 0x312;
	cfg.boot.once = _i == 2 ? 0x400 : 0;
	ck_assert_int_eq(add(VIRTIO_ID_NET, PCI_DEVFN(4, 0), 0x1000, "ethernet-phy@0", _i == 3 ? 5 : -1, NULL), 0);
	ck_assert_int_eq(add(VIRTIO_ID_BLOCK, PCI_DEVFN(5, 0), 0x1001, "disk@0,0", 6, NULL), 0);
	tell();
	assert_rom("pci1af4,1000.rom", _i ? "usual" : NULL);
	assert_rom("pci1af4,1001.rom", NULL);
}
END_TEST

START_TEST(own_rom)
{
	make_rom("pxe-virtio.rom", "usual");
	make_rom("mine.rom", "mine");
	cfg.boot.order = 4;
	ck_assert_int_eq(add(VIRTIO_ID_NET, PCI_DEVFN(4, 0), 0x1000, "ethernet-phy@0", -1, ""), 0); /* none, but its kind has one */
	ck_assert_int_eq(add(VIRTIO_ID_NET, PCI_DEVFN(5, 0), 0x1000, "ethernet-phy@0", -1, "mine.rom"), 0);
	ck_assert_int_eq(add(VIRTIO_ID_NET, PCI_DEVFN(6, 0), 0x1000, "ethernet-phy@0", -1, "mine.rom"), 0);
	ck_assert_int_eq(add(VIRTIO_ID_NET, PCI_DEVFN(7, 0), 0x1041, "ethernet-phy@0", -1, NULL), 0);
	tell();
	assert_rom("pci1af4,1000.rom", "mine");
	assert_rom("pci1af4,1041.rom", "usual");
}
END_TEST

START_TEST(rom_errors)
{
	make_rom("a.rom", "a");
	make_rom("b.rom", "b");
	ck_assert_int_eq(add(VIRTIO_ID_NET, PCI_DEVFN(4, 0), 0x1000, "ethernet-phy@0", -1, "a.rom"), 0);
	ck_assert_int_eq(add(VIRTIO_ID_NET, PCI_DEVFN(5, 0), 0x1000, "ethernet-phy@0", -1, "b.rom"), 0);
	ck_assert_int_eq(pc_boot_tell(&m, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.msg, "'d0' and 'd1' have different romfiles"));
}
END_TEST

START_TEST(rom_missing)
{
	ck_assert_int_eq(add(VIRTIO_ID_NET, PCI_DEVFN(4, 0), 0x1000, "ethernet-phy@0", -1, "nosuch.rom"), 0);
	ck_assert_int_eq(pc_boot_tell(&m, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.msg, "nosuch.rom"));
}
END_TEST

/* ---- settings ---- */

START_TEST(settings)
{
	size_t size;
	const void *data;

	tell();
	ck_assert_ptr_null(fw_cfg_file(m.fw_cfg, "etc/boot-menu-wait", &size));
	data = fw_cfg_file(m.fw_cfg, "etc/boot-fail-wait", &size);
	ck_assert(data && size == 4);
	ck_assert_uint_eq(load_le32(data), UINT32_MAX);
}
END_TEST

START_TEST(menu)
{
	size_t size;
	const void *data;

	cfg.boot.menu = true;
	cfg.boot.splash_time = 5000;
	cfg.boot.reboot_timeout = 7000;
	tell();
	fake_out(&hw, FW_CFG_PORT, FW_CFG_BOOT_MENU, 2);
	ck_assert_uint_eq(fake_inb(&hw, FW_CFG_PORT + 1), 1);
	data = fw_cfg_file(m.fw_cfg, "etc/boot-menu-wait", &size);
	ck_assert(data && size == 2 && load_le16(data) == 5000);
	data = fw_cfg_file(m.fw_cfg, "etc/boot-fail-wait", &size);
	ck_assert(data && size == 4 && load_le32(data) == 7000);
}
END_TEST

START_TEST(once)
{
	ck_assert_uint_eq(pc_boot_first_order(&m), 0x312);
	cfg.boot.once = 4;
	cfg.boot.order = 2;
	ck_assert_uint_eq(pc_boot_first_order(&m), 4);
	pc_boot_reset(&m); /* without a clock there is no CMOS to tell */
	ck_assert(firmware.boot.once_done);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pc_boot");
	TCase *tc = tcase_create("pc_boot");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, order);
	tcase_add_test(tc, strict);
	tcase_add_test(tc, no_order);
	tcase_add_test(tc, same_index);
	tcase_add_test(tc, too_many);
	tcase_add_loop_test(tc, usual_rom, 0, 4);
	tcase_add_test(tc, own_rom);
	tcase_add_test(tc, rom_errors);
	tcase_add_test(tc, rom_missing);
	tcase_add_test(tc, settings);
	tcase_add_test(tc, menu);
	tcase_add_test(tc, once);
	suite_add_tcase(s, tc);
	return fake_run_suite(s);
}
