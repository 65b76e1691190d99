/* SPDX-License-Identifier: MIT */
/* Logical units: creation and end. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hw/scsi_priv.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define BLOCK_MAX UINT32_C(32768) /* what drivers take */

static bool is_power(uint64_t v, uint64_t min, uint64_t max)
{
	return v >= min && v <= max && !(v & (v - 1));
}

static int check_text(const struct scsi_config *cfg, const char *what, const char *text, size_t max, struct err *err)
{
	if (text && strlen(text) > max)
		return err_set(err, -EINVAL, "%s: %s '%.80s' is longer than %zu bytes", cfg->name, what, text, max);
	for (const char *p = text; p && *p; p++)
		if (*p < ' ' || *p > '~')
			return err_set(err, -EINVAL, "%s: %s has a character that is not printable ASCII, as SCSI wants it", cfg->name, what);
	return 0;
}

static int check(const struct scsi_type *type, const struct scsi_config *cfg, struct err *err)
{
	uint32_t block = cfg->logical_block ? cfg->logical_block : BLK_SECTOR;

	if (check_text(cfg, "vendor", cfg->vendor, SCSI_VENDOR_MAX, err) < 0 ||
	    check_text(cfg, "product", cfg->product, SCSI_PRODUCT_MAX, err) < 0 || check_text(cfg, "ver", cfg->version, SCSI_VERSION_MAX, err) < 0 ||
	    check_text(cfg, "serial", cfg->serial, SCSI_SERIAL_MAX, err) < 0 ||
	    check_text(cfg, "device_id", cfg->device_id, SCSI_DEVICE_ID_MAX, err) < 0)
		return err->code;
	if (cfg->target >= SCSI_MAX_TARGETS || cfg->lun >= SCSI_MAX_LUNS)
		return err_set(err, -EINVAL, "%s: scsi-id %u, lun %u: they go to %d and %d", cfg->name, cfg->target, cfg->lun, SCSI_MAX_TARGETS - 1,
			       SCSI_MAX_LUNS - 1);
	if (type->block)
		return 0;
	if (!is_power(block, BLK_SECTOR, BLOCK_MAX))
		return err_set(err, -EINVAL, "%s: logical_block_size %" PRIu32 " is not a power of two from 512 to %" PRIu32, cfg->name, block, BLOCK_MAX);
	if (cfg->physical_block && !is_power(cfg->physical_block, block, 2 * MIB))
		return err_set(err, -EINVAL, "%s: physical_block_size %" PRIu32 " is not a power of two from logical_block_size, %" PRIu32 ", to 2 MiB",
			       cfg->name, cfg->physical_block, block);
	return 0;
}

/* Text in a field of spaces. */
static void pad(char *field, size_t size, const char *text)
{
	memset(field, ' ', size);
	memcpy(field, text, strlen(text));
}

static void put(char *field, const char *text)
{
	if (text)
		memcpy(field, text, strlen(text));
}

struct scsi_unit *scsi_unit_create(const struct scsi_type *type, const struct scsi_config *cfg, struct err *err)
{
	struct scsi_unit *unit;

	if (check(type, cfg, err) < 0)
		return NULL;
	unit = calloc(1, sizeof(*unit));
	if (!unit) {
		err_set(err, -ENOMEM, "%s: no memory for a disk", cfg->name);
		return NULL;
	}
	unit->type = type;
	unit->name = cfg->name;
	unit->target = cfg->target;
	unit->lun = cfg->lun;
	unit->log = (struct log_limit)LOG_LIMIT_INIT;
	unit->block_given = cfg->logical_block;
	unit->physical_given = cfg->physical_block;
	unit->removable = cfg->removable || type->device_type == SCSI_TYPE_CD;
	unit->wce = unit->wce_default = type->writable && cfg->write_cache;
	unit->rotation_rate = cfg->rotation_rate;
	unit->wwn = cfg->wwn;
	unit->read_error = cfg->read_error;
	unit->write_error = cfg->write_error;
	unit->link = cfg->link;
	pad(unit->vendor, sizeof(unit->vendor), cfg->vendor ? cfg->vendor : "KITE");
	pad(unit->product, sizeof(unit->product), cfg->product ? cfg->product : type->device_type == SCSI_TYPE_CD ? "KITE CD-ROM" : "KITE HARDDISK");
	pad(unit->version, sizeof(unit->version), cfg->version ? cfg->version : "1.0");
	put(unit->serial, cfg->serial);
	put(unit->device_id, cfg->device_id ? cfg->device_id : cfg->serial ? cfg->serial : cfg->name);
	if (!cfg->bd && !unit->removable)
		err_set(err, -EINVAL, "%s: a disk without a medium, which is not removable", cfg->name);
	else if (scsi_medium_settle(unit, cfg->bd, err) == 0)
		return unit;
	free(unit);
	return NULL;
}

void scsi_unit_attach(struct scsi_unit *unit, const struct scsi_adapter_ops *ops, void *adapter)
{
	unit->adapter_ops = ops;
	unit->adapter = adapter;
	scsi_unit_reset(unit, SCSI_UA_POWER_ON);
}

void scsi_unit_destroy(struct scsi_unit *unit)
{
	if (!unit)
		return;
	if (unit->bd)
		unit->bd->resized = NULL;
	free(unit);
}
