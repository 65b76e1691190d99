/* SPDX-License-Identifier: MIT */
/* SCSI, once all options are known: which unit is on which adapter, where, and has which drive. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define NOT_GIVEN UINT_MAX
#define NO_ADAPTER SIZE_MAX
#define QUEUES_MAX 62

/* ---- adapters ---- */

/* Disks and CD-ROM drives that a -drive is by itself, on an adapter that is there for them if there is no other. */
static int add_drives(struct cli *cli, struct err *err)
{
	for (size_t i = 0; i < cli->n_drives; i++) {
		const struct cli_drive *drive = &cli->drives[i];

		if (drive->interface != CLI_IF_SCSI && drive->interface != CLI_IF_IDE)
			continue;
		if (!cli->cfg->n_scsis && cli_scsi_add_adapter(cli, err) < 0)
			return err->code;
		if (cli_scsi_add_drive(cli, drive, err) < 0)
			return err->code;
	}
	return 0;
}

/* An automatic name for a device without one: `prefix` and a number, where nobody has it. */
static int name_device(struct cli *cli, char **id, const char *prefix, struct err *err)
{
	struct prop_ctx ctx = { .what = "-device", .err = err };
	char name[32];
	unsigned n = 0;

	if (*id)
		return 0;
	do
		snprintf(name, sizeof(name), "%s%u", prefix, n++);
	while (strv_has(&cli->device_ids, name));
	if (cli_device_add_id(cli, name, &ctx) < 0)
		return err->code;
	return cli_set_string(id, name, err);
}

static bool has_iothread(const struct vm_config *cfg, const char *id)
{
	for (size_t i = 0; i < cfg->n_iothreads; i++)
		if (!strcmp(cfg->iothreads[i].id, id))
			return true;
	return false;
}

static int finish_adapters(struct cli *cli, struct err *err)
{
	struct vm_config *cfg = cli->cfg;

	for (size_t i = 0; i < cfg->n_scsis; i++) {
		struct config_scsi *scsi = &cfg->scsis[i];

		if (name_device(cli, &scsi->id, "scsi", err) < 0)
			return err->code;
		/* QEMU's default too: a queue a vCPU. */
		if (!scsi->queues)
			scsi->queues = (unsigned)min_u64(cfg->smp.cpus, QUEUES_MAX);
		if (scsi->iothread && !has_iothread(cfg, scsi->iothread))
			return err_set(err, -ENOENT, "adapter '%s' names iothread '%s', which is not defined; add -object iothread,id=%s",
				       err_show(scsi->id).s, err_show(scsi->iothread).s, err_show(scsi->iothread).s);
	}
	return 0;
}

/* ---- places ---- */

/* The adapter that bus=ID.0 names; for scsi.N, which is QEMU's for those without an id, the N-th. */
static size_t find_bus(const struct vm_config *cfg, const char *bus)
{
	size_t len = strlen(bus);

	for (size_t i = 0; i < cfg->n_scsis; i++) {
		char number[32];

		if (len > 2 && !strcmp(bus + len - 2, ".0") && strlen(cfg->scsis[i].id) == len - 2 && !memcmp(cfg->scsis[i].id, bus, len - 2))
			return i;
		snprintf(number, sizeof(number), "scsi.%zu", i);
		if (!strcmp(bus, number))
			return i;
	}
	return NO_ADAPTER;
}

static int choose_adapter(struct cli *cli, size_t i, struct err *err)
{
	struct config_scsi_unit *unit = &cli->cfg->scsi_units[i];
	const char *what = unit->cd ? "scsi-cd" : "scsi-hd", *bus = cli->scsi_units[i].bus;

	if (!cli->cfg->n_scsis)
		return err_set(err, -ENOENT, "-device %s: there is no SCSI adapter; add -device virtio-scsi-pci before it, or virtio-scsi-device on a microvm",
			       what);
	unit->scsi = bus ? find_bus(cli->cfg, bus) : 0;
	if (unit->scsi == NO_ADAPTER)
		return err_set(err, -ENOENT, "-device %s: there is no bus '%s'; it is the id of a -device virtio-scsi and '.0'", what, err_show(bus).s);
	return 0;
}

/* Whether one of the units that have their place, those with `placed`, is there. */
static bool is_taken(const struct vm_config *cfg, const bool *placed, size_t scsi, unsigned target, unsigned lun)
{
	for (size_t i = 0; i < cfg->n_scsi_units; i++) {
		const struct config_scsi_unit *unit = &cfg->scsi_units[i];

		if (placed[i] && unit->scsi == scsi && unit->target == target && unit->lun == lun)
			return true;
	}
	return false;
}

/* Gives a unit its place: what was asked for, and else the first that is free. There are more than units. */
static int place(struct cli *cli, size_t i, bool *placed, struct err *err)
{
	struct config_scsi_unit *unit = &cli->cfg->scsi_units[i];
	const struct cli_scsi_unit *given = &cli->scsi_units[i];

	unit->target = given->target == NOT_GIVEN ? 0 : given->target;
	unit->lun = given->lun == NOT_GIVEN ? 0 : given->lun;
	while (is_taken(cli->cfg, placed, unit->scsi, unit->target, unit->lun)) {
		if (given->target == NOT_GIVEN)
			unit->target++;
		else if (given->lun == NOT_GIVEN)
			unit->lun++;
		else
			return err_set(err, -EBUSY, "two SCSI devices are at scsi-id=%u,lun=%u of '%s'; give one of them another place",
				       unit->target, unit->lun, err_show(cli->cfg->scsis[unit->scsi].id).s);
	}
	placed[i] = true;
	return 0;
}

/* Those that say more of their place come first. */
static int place_all(struct cli *cli, struct err *err)
{
	bool placed[CONFIG_MAX_SCSI_UNITS] = { false };

	for (int said = 2; said >= 0; said--)
		for (size_t i = 0; i < cli->cfg->n_scsi_units; i++) {
			const struct cli_scsi_unit *given = &cli->scsi_units[i];

			if ((given->target != NOT_GIVEN) + (given->lun != NOT_GIVEN) == said && place(cli, i, placed, err) < 0)
				return err->code;
		}
	return 0;
}

/* "scsi0-2-0": adapter, target, LUN. */
static int name_unit(struct cli *cli, struct config_scsi_unit *unit, struct err *err)
{
	struct prop_ctx ctx = { .what = unit->cd ? "-device scsi-cd" : "-device scsi-hd", .err = err };
	char name[256];

	if (unit->id)
		return 0;
	snprintf(name, sizeof(name), "%.200s-%u-%u", cli->cfg->scsis[unit->scsi].id, unit->target, unit->lun);
	if (cli_device_add_id(cli, name, &ctx) < 0)
		return err->code;
	return cli_set_string(&unit->id, name, err);
}

/* ---- drives ---- */

/* An empty CD-ROM drive has a drive as well: what is put into it later is opened as that. */
static int add_empty(struct cli *cli, struct config_scsi_unit *unit, struct err *err)
{
	struct vm_config *cfg = cli->cfg;
	struct config_drive *drive = &cfg->drives[cfg->n_drives];
	struct err ignored = ERR_INIT;
	const struct prop_ctx ctx = { .what = "", .err = &ignored };
	char name[32];
	unsigned n = 0;

	if (cfg->n_drives == CONFIG_MAX_DRIVES)
		return err_set(err, -E2BIG, "-device scsi-cd: more than %d drives", CONFIG_MAX_DRIVES);
	do
		snprintf(name, sizeof(name), "cd%u", n++);
	while (cli_drive_check_id(cli, name, "id", &ctx) < 0);
	*drive = (struct config_drive){ .image = { .read_only = true, .lock = true } };
	cfg->n_drives++;
	if (cli_set_string(&drive->id, name, err) < 0)
		return err->code;
	return cli_set_string(&unit->drive, name, err);
}

static struct config_drive *find_drive(struct cli *cli, const char *id)
{
	for (size_t i = 0; i < cli->cfg->n_drives; i++)
		if (!strcmp(cli->cfg->drives[i].id, id))
			return &cli->cfg->drives[i];
	return NULL;
}

static int check_users(struct cli *cli, const struct config_scsi_unit *unit, struct err *err)
{
	const struct vm_config *cfg = cli->cfg;
	bool twice = false;

	for (size_t i = 0; i < cfg->n_disks; i++)
		twice |= !strcmp(cfg->disks[i].drive, unit->drive);
	for (const struct config_scsi_unit *other = cfg->scsi_units; other < unit; other++)
		twice |= !strcmp(other->drive, unit->drive);
	if (!twice)
		return 0;
	for (size_t i = 0; i < cli->n_drives; i++)
		if (cli->drives[i].interface != CLI_IF_NONE && !strcmp(cfg->drives[cli->drives[i].drive].id, unit->drive))
			return err_set(err, -EBUSY, "drive '%s' is used by a -device, but is a disk by itself already; add if=none to the -drive",
				       err_show(unit->drive).s);
	return err_set(err, -EBUSY, "drive '%s' is used by two disks; give each its own", err_show(unit->drive).s);
}

/* What the -drive says of the unit. */
static int inherit(struct cli *cli, size_t i, struct err *err)
{
	static const struct cli_drive none = { .serial = NULL };
	struct config_scsi_unit *unit = &cli->cfg->scsi_units[i];
	const struct cli_scsi_unit *given = &cli->scsi_units[i];
	const struct cli_drive *d = &none;

	for (size_t j = 0; j < cli->n_drives; j++)
		if (!strcmp(cli->cfg->drives[cli->drives[j].drive].id, unit->drive))
			d = &cli->drives[j];
	if (!unit->serial && d->serial && cli_set_string(&unit->serial, d->serial, err) < 0)
		return err->code;
	unit->rerror = cli_error_action(given->rerror, d->rerror);
	unit->werror = cli_error_action(given->werror, d->werror);
	if (unit->rerror == CONFIG_ERROR_ENOSPC)
		return err_set(err, -EINVAL, "rerror of drive '%s': a read does not run out of space; use report, stop or ignore",
			       err_show(unit->drive).s);
	return 0;
}

static int finish_drive(struct cli *cli, size_t i, struct err *err)
{
	struct config_scsi_unit *unit = &cli->cfg->scsi_units[i];
	struct config_drive *drive;

	if (!unit->drive && add_empty(cli, unit, err) < 0)
		return err->code;
	drive = find_drive(cli, unit->drive);
	if (!drive)
		return err_set(err, -ENOENT, "a disk names drive '%s', which is not defined; add -drive if=none,id=%s,file=FILE",
			       err_show(unit->drive).s, err_show(unit->drive).s);
	if (check_users(cli, unit, err) < 0 || inherit(cli, i, err) < 0)
		return err->code;
	if (!unit->cd)
		return 0;
	/* Whatever the file looks like, it is a CD: see blk/probe.c about formats that nobody named. */
	drive->image.read_only = true;
	return drive->image.path && !drive->image.format ? cli_set_string(&drive->image.format, "raw", err) : 0;
}

/* Without a file there is only a CD-ROM drive to be made of it. */
static int check_empty(const struct vm_config *cfg, struct err *err)
{
	for (size_t i = 0; i < cfg->n_drives; i++) {
		bool cd = false;

		for (size_t j = 0; j < cfg->n_scsi_units; j++)
			cd |= cfg->scsi_units[j].cd && !strcmp(cfg->scsi_units[j].drive, cfg->drives[i].id);
		for (size_t j = 0; !cd && !cfg->drives[i].image.path && j < cfg->n_disks + cfg->n_scsi_units; j++)
			if (!strcmp(j < cfg->n_disks ? cfg->disks[j].drive : cfg->scsi_units[j - cfg->n_disks].drive, cfg->drives[i].id))
				return err_set(err, -EINVAL, "drive '%s' is a disk without a file; give file=..., or use a scsi-cd",
					       err_show(cfg->drives[i].id).s);
	}
	return 0;
}

static int check_bootindex(const struct vm_config *cfg, const struct config_scsi_unit *unit, struct err *err)
{
	const char *other = NULL;

	for (size_t i = 0; unit->bootindex >= 0 && i < cfg->n_disks; i++)
		if (cfg->disks[i].bootindex == unit->bootindex)
			other = cfg->disks[i].id;
	for (const struct config_scsi_unit *u = cfg->scsi_units; unit->bootindex >= 0 && u < unit; u++)
		if (u->bootindex == unit->bootindex)
			other = u->id;
	if (!other)
		return 0;
	return err_set(err, -EBUSY, "disks '%s' and '%s' have the same bootindex, %d; give one of them another", err_show(other).s,
		       err_show(unit->id).s, unit->bootindex);
}

int cli_scsi_finish(struct cli *cli, struct err *err)
{
	struct vm_config *cfg = cli->cfg;

	if (add_drives(cli, err) < 0 || finish_adapters(cli, err) < 0)
		return err->code;
	for (size_t i = 0; i < cfg->n_scsi_units; i++)
		if (choose_adapter(cli, i, err) < 0)
			return err->code;
	if (place_all(cli, err) < 0)
		return err->code;
	/* One after the other: each looks at those before it, whose drives are known. */
	for (size_t i = 0; i < cfg->n_scsi_units; i++)
		if (name_unit(cli, &cfg->scsi_units[i], err) < 0 || finish_drive(cli, i, err) < 0 ||
		    check_bootindex(cfg, &cfg->scsi_units[i], err) < 0)
			return err->code;
	return check_empty(cfg, err);
}
