/* SPDX-License-Identifier: MIT */
#include "vmm/launch_scsi.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blk/blockdev.h"
#include "hw/pci.h"
#include "hw/scsi.h"
#include "hw/virtio.h"
#include "vmm/arch.h"
#include "vmm/cli_value.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/file_opener.h"
#include "vmm/launch_disks.h"

#define CLASS_SCSI UINT32_C(0x010000)

static_assert(SCSI_VENDOR_MAX == 8 && SCSI_PRODUCT_MAX == 16 && SCSI_VERSION_MAX == 4 && SCSI_SERIAL_MAX == 36 && SCSI_DEVICE_ID_MAX == 64,
	      "what the command line allows");

/* ---- bring-up ---- */

static struct scsi_unit *create_unit(const struct launch_scsi *s, const struct config_scsi_unit *unit, struct machine *machine, struct err *err)
{
	struct blockdev *bd = launch_disks_drive(s->disks, unit->drive);
	bool cache = unit->write_cache == CONFIG_AUTO ? !bd || bd->write_cache : unit->write_cache == CONFIG_ON;
	const struct scsi_config cfg = {
		.name = unit->id,
		.bd = bd,
		.target = unit->target,
		.lun = unit->lun,
		.vendor = unit->vendor,
		.product = unit->product,
		.version = unit->version,
		.serial = unit->serial,
		.device_id = unit->device_id ? unit->device_id : unit->serial ? unit->serial : unit->drive,
		.wwn = unit->wwn,
		.logical_block = (uint32_t)unit->logical_block,
		.physical_block = (uint32_t)unit->physical_block,
		.removable = unit->removable,
		.rotation_rate = (uint16_t)unit->rotation_rate,
		.write_cache = cache,
		.read_error = (enum virtio_blk_on_error)unit->rerror,
		.write_error = (enum virtio_blk_on_error)unit->werror,
		.link = machine_env(machine)->link,
	};

	return unit->cd ? scsi_cd_create(&cfg, err) : scsi_disk_create(&cfg, err);
}

static int add_units(struct launch_scsi *s, size_t adapter, struct machine *machine, struct err *err)
{
	for (size_t i = 0; i < s->cfg->n_scsi_units; i++) {
		struct scsi_unit *unit;

		if (s->cfg->scsi_units[i].scsi != adapter)
			continue;
		unit = create_unit(s, &s->cfg->scsi_units[i], machine, err);
		if (!unit)
			return err->code;
		if (virtio_scsi_add_unit(s->adapters[adapter], unit, err) < 0) {
			scsi_unit_destroy(unit);
			return err->code;
		}
		s->units[i] = unit;
	}
	return 0;
}

/* What may be booted from; firmware names units by target and LUN. */
static int tell_firmware(const struct launch_scsi *s, size_t adapter, struct machine *machine, struct err *err)
{
	for (size_t i = 0; i < s->cfg->n_scsi_units; i++) {
		const struct config_scsi_unit *unit = &s->cfg->scsi_units[i];
		char path[48];
		const struct machine_boot boot = { .name = unit->id, .unit = path, .bootindex = unit->bootindex };

		if (unit->scsi != adapter)
			continue;
		snprintf(path, sizeof(path), "channel@0/disk@%x,%x", unit->target, unit->lun);
		if (machine_boot_device(machine, s->adapters[adapter], &boot, err) < 0)
			return err->code;
	}
	return 0;
}

static int add_adapter(struct launch_scsi *s, size_t i, struct machine *machine, struct err *err)
{
	const struct config_scsi *scsi = &s->cfg->scsis[i];
	const struct virtio_scsi_config cfg = {
		.name = scsi->id,
		.loop = launch_disks_loop(s->disks, scsi->iothread, err),
		.queues = scsi->queues,
		.queue_size = (uint16_t)scsi->queue_size,
		.max_sectors = (uint32_t)scsi->max_sectors,
		.cmd_per_lun = (uint32_t)scsi->cmd_per_lun,
	};
	const struct virtio_pci_config pci = {
		.devfn = scsi->pci.addr == CONFIG_ADDR_AUTO ? PCI_ADDR_AUTO : scsi->pci.addr,
		.modern_only = scsi->pci.modern_only,
		.legacy_only = scsi->pci.legacy_only,
		.vectors = scsi->pci.vectors,
		.class_code = CLASS_SCSI,
	};

	if (!cfg.loop)
		return err->code;
	s->adapters[i] = virtio_scsi_create(machine_env(machine), &cfg, err);
	if (!s->adapters[i])
		return err->code;
	if (add_units(s, i, machine, err) < 0) {
		s->adapters[i]->ops->destroy(s->adapters[i]);
		return err->code;
	}
	if (machine_plug(machine, s->adapters[i], &pci, err) < 0)
		return err->code;
	return tell_firmware(s, i, machine, err);
}

int launch_scsi_add(struct launch_scsi *s, struct machine *machine, const struct vm_config *cfg, struct launch_disks *disks, bool fixed,
		    struct err *err)
{
	s->cfg = cfg;
	s->disks = disks;
	for (size_t i = 0; i < cfg->n_scsis; i++)
		if ((cfg->scsis[i].pci.addr != CONFIG_ADDR_AUTO) == fixed && add_adapter(s, i, machine, err) < 0)
			return err->code;
	return 0;
}

/* ---- trays and media ---- */

/* What is done on the adapter's loop. */
struct tray_call {
	int (*act)(struct tray_call *call);
	struct scsi_unit *unit;
	bool force;
	struct blockdev *bd; /* a medium to put in, or the one taken out */
	struct launch_scsi_tray tray;
	struct err *err;
	int result;
};

static void act_on_loop(void *arg)
{
	struct tray_call *call = arg;

	call->result = call->act(call);
}

static int act_open(struct tray_call *call)
{
	return scsi_tray_open(call->unit, call->force);
}

static int act_close(struct tray_call *call)
{
	return scsi_tray_close(call->unit);
}

static int act_take(struct tray_call *call)
{
	return scsi_medium_take(call->unit, &call->bd);
}

static int act_put(struct tray_call *call)
{
	return scsi_medium_put(call->unit, call->bd, call->err);
}

static int act_look(struct tray_call *call)
{
	call->tray = (struct launch_scsi_tray){ .open = call->unit->tray_open, .locked = call->unit->locked, .medium = call->unit->bd };
	return call->unit->removable ? 0 : -ENOTSUP;
}

/* The number of the unit that has that id, or whose drive has it; cfg->n_scsi_units: there is none. */
static size_t find_unit(const struct launch_scsi *s, const char *id)
{
	size_t n = s->cfg ? s->cfg->n_scsi_units : 0, i;

	for (i = 0; i < n; i++)
		if (!strcmp(s->cfg->scsi_units[i].id, id) || !strcmp(s->cfg->scsi_units[i].drive, id))
			break;
	return i;
}

/* Does `act` on the unit's loop; errors are put into words for a person. */
static int on_unit(struct launch_scsi *s, const char *id, struct tray_call *call)
{
	size_t i = find_unit(s, id);

	if (!s->cfg || i == s->cfg->n_scsi_units)
		return err_set(call->err, -ENOENT, "there is no device or drive '%s' with a medium that can be changed", err_show(id).s);
	call->unit = s->units[i];
	eventloop_call_sync(s->adapters[s->cfg->scsi_units[i].scsi]->loop, act_on_loop, call);
	if (call->result == 0 || call->err->code)
		return call->result;
	if (call->result == -ENOTSUP)
		return err_set(call->err, -ENOTSUP, "the medium of '%s' cannot be changed: the device is not removable", err_show(id).s);
	if (call->act == act_open)
		return err_set(call->err, -EBUSY, "the guest holds the medium of '%s'; it has been asked to let it go: try again, or use force",
			       err_show(id).s);
	return err_set(call->err, call->result, "the tray of '%s' is closed; open it first", err_show(id).s);
}

int launch_scsi_open_tray(struct launch_scsi *s, const char *id, bool force, struct err *err)
{
	return on_unit(s, id, &(struct tray_call){ .act = act_open, .force = force, .err = err });
}

int launch_scsi_close_tray(struct launch_scsi *s, const char *id, struct err *err)
{
	return on_unit(s, id, &(struct tray_call){ .act = act_close, .err = err });
}

int launch_scsi_remove_medium(struct launch_scsi *s, const char *id, struct err *err)
{
	int r = on_unit(s, id, &(struct tray_call){ .act = act_take, .err = err });

	if (r == 0)
		launch_disks_close_medium(s->disks, s->cfg->scsi_units[find_unit(s, id)].drive);
	return r;
}

int launch_scsi_insert_medium(struct launch_scsi *s, const char *id, const struct config_image *image, struct err *err)
{
	struct tray_call call = { .act = act_put, .err = err };
	struct launch_scsi_tray tray;
	const char *drive;

	if (launch_scsi_look(s, id, &tray, err) < 0)
		return err->code;
	if (!tray.open || tray.medium)
		return err_set(err, -EBUSY, "the tray of '%s' is %s", err_show(id).s, tray.open ? "not empty; remove the medium first" : "closed; open it first");
	drive = s->cfg->scsi_units[find_unit(s, id)].drive;
	call.bd = launch_disks_open_medium(s->disks, drive, image, err);
	if (!call.bd)
		return file_opener_explain(s->cfg->sandbox.on, err);
	if (on_unit(s, id, &call) < 0)
		launch_disks_close_medium(s->disks, drive);
	return call.result;
}

int launch_scsi_eject(struct launch_scsi *s, const char *id, bool force, struct err *err)
{
	int r = launch_scsi_open_tray(s, id, force, err);

	return r < 0 ? r : launch_scsi_remove_medium(s, id, err);
}

int launch_scsi_change(struct launch_scsi *s, const char *id, const char *path, const char *format, bool force, struct err *err)
{
	int r = launch_scsi_eject(s, id, force, err);
	const struct config_scsi_unit *unit;
	const struct config_drive *drive = NULL;
	struct config_image image;
	char *copies[2] = { NULL };

	if (r < 0)
		return r;
	unit = &s->cfg->scsi_units[find_unit(s, id)];
	for (size_t i = 0; i < s->cfg->n_drives; i++)
		if (!strcmp(s->cfg->drives[i].id, unit->drive))
			drive = &s->cfg->drives[i];
	assert(drive);
	image = drive->image;
	if (!format && unit->cd)
		format = "raw";
	r = cli_set_string(&copies[0], path, err);
	if (r == 0 && format)
		r = cli_set_string(&copies[1], format, err);
	image.path = copies[0];
	image.format = copies[1];
	image.backing = image.data_file = NULL;
	image.no_backing = false;
	if (r == 0)
		r = launch_scsi_insert_medium(s, id, &image, err);
	if (r == 0)
		r = launch_scsi_close_tray(s, id, err);
	free(copies[0]);
	free(copies[1]);
	return r;
}

int launch_scsi_look(struct launch_scsi *s, const char *id, struct launch_scsi_tray *tray, struct err *err)
{
	struct tray_call call = { .act = act_look, .err = err };
	int r = on_unit(s, id, &call);

	*tray = call.tray;
	return r;
}
