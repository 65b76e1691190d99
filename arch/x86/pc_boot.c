/* SPDX-License-Identifier: MIT */
#include "arch/x86/pc_boot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/machine_priv.h"
#include "arch/x86/pc_firmware.h"
#include "firmware/rom.h"
#include "hw/fw_cfg.h"
#include "hw/pci_regs.h"
#include "hw/virtio.h"
#include "vmm/config.h"
#include "vmm/endian.h"
#include "vmm/err.h"

#define NETWORK_ROM "pxe-virtio.rom"
#define NETWORK_ROM_PACKAGE "ipxe-qemu"
#define ORDER_NETWORK 4 /* a choice of CMOS's boot order */
#define ORDER_CHOICES 3

/* ---- what there is ---- */

static int check_index(const struct pc_boot *boot, const struct machine_boot *b, struct err *err)
{
	for (size_t i = 0; b->bootindex >= 0 && i < boot->n; i++)
		if (boot->devices[i].bootindex == b->bootindex)
			return err_set(err, -EBUSY, "'%s' and '%s' have the same bootindex, %d; give one of them another", boot->devices[i].name,
				       b->name, b->bootindex);
	return 0;
}

/* The device's node, as OpenFirmware names it by its class, and what is behind it. */
static void make_path(struct pc_boot_device *d, int devfn, const char *node, const char *unit)
{
	char function[8] = "";

	if (devfn & 7)
		snprintf(function, sizeof(function), ",%x", (unsigned)devfn & 7);
	snprintf(d->path, sizeof(d->path), "/pci@i0cf8/%s@%x%s/%s", node, (unsigned)devfn >> 3, function, unit);
}

int pc_boot_add(struct machine *m, const struct virtio_dev *virtio, const struct machine_boot *b, struct err *err)
{
	struct pc_boot *boot = &m->firmware->boot;
	const struct pci_dev *function = virtio_pci_function(virtio);
	struct pc_boot_device *d = &boot->devices[boot->n];

	if (check_index(boot, b, err) < 0)
		return err->code;
	if (boot->n == PC_BOOT_MAX)
		return err_set(err, -ENOSPC, "'%s': firmware can boot from at most %d devices", b->name, PC_BOOT_MAX);
	*d = (struct pc_boot_device){
		.bootindex = b->bootindex,
		.name = b->name,
		.network = virtio->id == VIRTIO_ID_NET,
		.romfile = b->romfile,
		.vendor = load_le16(function->config + PCI_VENDOR_ID),
		.device = load_le16(function->config + PCI_DEVICE_ID),
	};
	make_path(d, function->devfn, d->network ? "ethernet" : "scsi", b->unit);
	boot->n++;
	return 0;
}

/* ---- the order of devices ---- */

static int by_index(const void *a, const void *b)
{
	const struct pc_boot_device *x = *(const struct pc_boot_device *const *)a, *y = *(const struct pc_boot_device *const *)b;

	return x->bootindex < y->bootindex ? -1 : x->bootindex > y->bootindex;
}

/* The devices with a bootindex, a line each; with -boot strict=on, "HALT" ends them: nothing else is tried. */
static int tell_order(struct machine *m, struct err *err)
{
	const struct pc_boot *boot = &m->firmware->boot;
	const struct pc_boot_device *order[PC_BOOT_MAX];
	size_t n = 0, size = 0;
	char *text = NULL;
	FILE *f;
	int r;

	for (size_t i = 0; i < boot->n; i++)
		if (boot->devices[i].bootindex >= 0)
			order[n++] = &boot->devices[i];
	if (n == 0)
		return 0;
	qsort(order, n, sizeof(order[0]), by_index);
	f = open_memstream(&text, &size);
	if (!f)
		return err_set(err, -ENOMEM, "no memory for the boot order");
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s%s", i ? "\n" : "", order[i]->path);
	if (m->cfg->boot.strict)
		fputs("\nHALT", f);
	if (fclose(f) != 0)
		r = err_set(err, -ENOMEM, "no memory for the boot order");
	else
		r = fw_cfg_add_file(m->fw_cfg, "bootorder", text, size + 1, err); /* with its final zero */
	free(text);
	return r;
}

/* ---- expansion ROMs ---- */

static bool order_has_network(uint16_t order)
{
	for (unsigned i = 0; i < ORDER_CHOICES; i++)
		if ((order >> (4 * i) & 0xf) == ORDER_NETWORK)
			return true;
	return false;
}

/* The ROM of a device; NULL: none. A network card has one unasked where it may be booted from. */
static const char *rom_of(const struct machine *m, const struct pc_boot_device *d)
{
	const struct config_boot *boot = &m->cfg->boot;

	if (d->romfile)
		return *d->romfile ? d->romfile : NULL;
	return d->network && (d->bootindex >= 0 || order_has_network(boot->order) || order_has_network(boot->once)) ? NETWORK_ROM : NULL;
}

static int tell_rom(struct machine *m, const struct pc_boot_device *d, const char *file, struct err *err)
{
	const struct rom_search search = { .dirs = m->cfg->data_dirs, .n_dirs = m->cfg->n_data_dirs };
	char name[FW_CFG_MAX_NAME + 1];
	struct rom rom;
	int r = rom_open_option(&rom, file, d->romfile ? NULL : NETWORK_ROM_PACKAGE, &search, err);

	snprintf(name, sizeof(name), "pci%04x,%04x.rom", d->vendor, d->device);
	if (r == 0)
		r = fw_cfg_add_file(m->fw_cfg, name, rom.data, rom.size, err);
	rom_fini(&rom);
	return r;
}

/* One of a kind has the ROM for all of them. */
static int tell_roms(struct machine *m, struct err *err)
{
	const struct pc_boot *boot = &m->firmware->boot;

	for (size_t i = 0; i < boot->n; i++) {
		const struct pc_boot_device *d = &boot->devices[i];
		const char *file = rom_of(m, d);

		for (size_t j = 0; file && j < i; j++) {
			const struct pc_boot_device *other = &boot->devices[j];
			const char *others = other->vendor == d->vendor && other->device == d->device ? rom_of(m, other) : NULL;

			if (others && strcmp(others, file))
				return err_set(err, -EINVAL, "'%s' and '%s' have different romfiles; devices of one kind share theirs", other->name, d->name);
			if (others)
				file = NULL;
		}
		if (file && tell_rom(m, d, file, err) < 0)
			return err->code;
	}
	return 0;
}

/* ---- -boot ---- */

static int tell_settings(struct machine *m, struct err *err)
{
	const struct config_boot *boot = &m->cfg->boot;
	const le16 menu = le16_of(boot->menu), wait = le16_of((uint16_t)boot->splash_time);
	const le32 fail = le32_of((uint32_t)boot->reboot_timeout);
	int r = fw_cfg_add_item(m->fw_cfg, FW_CFG_BOOT_MENU, &menu, sizeof(menu), err);

	if (r == 0 && boot->splash_time >= 0)
		r = fw_cfg_add_file(m->fw_cfg, "etc/boot-menu-wait", &wait, sizeof(wait), err);
	if (r == 0)
		r = fw_cfg_add_file(m->fw_cfg, "etc/boot-fail-wait", &fail, sizeof(fail), err);
	return r;
}

int pc_boot_tell(struct machine *m, struct err *err)
{
	int r = tell_settings(m, err);

	if (r == 0)
		r = tell_order(m, err);
	return r < 0 ? r : tell_roms(m, err);
}

uint16_t pc_boot_first_order(const struct machine *m)
{
	return m->cfg->boot.once ? m->cfg->boot.once : m->cfg->boot.order;
}

void pc_boot_reset(struct machine *m)
{
	struct pc_boot *boot = &m->firmware->boot;

	if (boot->once_done)
		return;
	boot->once_done = true;
	if (m->cfg->boot.once && m->rtc)
		rtc_set_boot_order(m->rtc, m->cfg->boot.order);
}
