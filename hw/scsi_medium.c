/* SPDX-License-Identifier: MIT */
/*
 * Removable media: the tray, as the driver and the machine's user move it. START STOP UNIT and PREVENT ALLOW MEDIUM REMOVAL (SBC-3, 5.25,
 * 5.13), GET EVENT STATUS NOTIFICATION (MMC-6, 6.6).
 *
 * A medium in an open tray is there, but out of reach. The user may exchange it then; when the tray closes, the driver is told of a
 * new one, whether it is or not.
 */
#include <errno.h>
#include <inttypes.h>

#include "hw/scsi_priv.h"
#include "vmm/err.h"
#include "vmm/util.h"

/* MMC-6, table 355. */
enum media_event { MEDIA_NONE, MEDIA_EJECT_REQUEST, MEDIA_NEW, MEDIA_REMOVAL };

#define CLASS_MEDIA 4
#define NO_EVENT_AVAILABLE 0x80

static void changed(struct scsi_unit *unit, enum scsi_sense what)
{
	scsi_unit_attention(unit, what);
	if (unit->adapter_ops)
		unit->adapter_ops->changed(unit->adapter, unit, what);
}

/* ---- what is in it ---- */

/* On the loop: the file has another size. */
static void resized(void *opaque)
{
	struct scsi_unit *unit = opaque;

	unit->blocks = unit->bd->size / unit->block;
	changed(unit, SCSI_UA_CAPACITY);
}

int scsi_medium_settle(struct scsi_unit *unit, struct blockdev *bd, struct err *err)
{
	uint32_t align = bd ? (uint32_t)max_u64(bd->request_align, BLK_SECTOR) : BLK_SECTOR;
	uint32_t block = unit->type->block ? unit->type->block : unit->block_given ? unit->block_given : align;

	if (bd && block < align)
		return err_set(err, -EINVAL, "%s: blocks of %" PRIu32 " bytes are less than '%s' can do, %" PRIu32 " bytes", unit->name, block,
			       bd->name, align);
	if (unit->bd)
		unit->bd->resized = NULL;
	unit->bd = bd;
	unit->block = block;
	unit->blocks = bd ? bd->size / block : 0;
	unit->physical = (uint32_t)max_u64(unit->physical_given ? unit->physical_given : bd ? bd->physical_block : 0, block);
	if (bd) {
		bd->resized_opaque = unit;
		bd->resized = resized;
	}
	return 0;
}

/* ---- the driver ---- */

void scsi_start_stop(struct scsi_req *req)
{
	struct scsi_unit *unit = req->unit;
	uint8_t how = req->cdb[4];
	bool load = how & 2, start = how & 1;

	/* Power conditions, and a motor that starts and stops, make no difference here. */
	if ((how & 0xf0) || !load) {
		scsi_good(req);
		return;
	}
	if (!unit->removable) {
		scsi_bad_field(req, 4);
		return;
	}
	if (unit->locked && !start && !unit->tray_open) {
		scsi_check(req, SCSI_REMOVAL_PREVENTED);
		return;
	}
	if (start == unit->tray_open) {
		unit->tray_open = !start;
		unit->media_event = start ? (unit->bd ? MEDIA_NEW : MEDIA_NONE) : MEDIA_REMOVAL;
		if (start && unit->bd)
			scsi_unit_attention(unit, SCSI_UA_NEW_MEDIUM);
	}
	scsi_good(req);
}

void scsi_prevent_allow(struct scsi_req *req)
{
	uint8_t prevent = req->cdb[4] & 3;

	if (prevent > 1 || !req->unit->removable) {
		scsi_bad_field(req, 4);
		return;
	}
	req->unit->locked = prevent;
	scsi_good(req);
}

void scsi_event_status(struct scsi_req *req)
{
	struct scsi_unit *unit = req->unit;
	const uint8_t *cdb = req->cdb;
	size_t len = 4, allocated = load_be16(&cdb[7]);
	uint8_t data[8] = { 0 };

	if (!(cdb[1] & 1)) { /* not polled: asynchronous, as nobody does it */
		scsi_bad_field(req, 1);
		return;
	}
	data[2] = NO_EVENT_AVAILABLE;
	data[3] = 1 << CLASS_MEDIA;
	if (cdb[4] & 1 << CLASS_MEDIA) {
		len = 8;
		data[2] = CLASS_MEDIA;
		data[4] = unit->media_event;
		data[5] = (uint8_t)((unit->tray_open ? 1 : 0) | (unit->bd ? 2 : 0));
		if (allocated > 4)
			unit->media_event = MEDIA_NONE;
	}
	store_be16(&data[0], (uint16_t)(len - 2));
	scsi_reply(req, data, len, allocated);
}

/* ---- the user ---- */

int scsi_tray_open(struct scsi_unit *unit, bool force)
{
	if (!unit->removable)
		return -ENOTSUP;
	if (unit->tray_open)
		return 0;
	if (unit->locked && !force) {
		unit->media_event = MEDIA_EJECT_REQUEST;
		return -EBUSY;
	}
	unit->locked = false;
	unit->tray_open = true;
	unit->media_event = MEDIA_REMOVAL;
	changed(unit, SCSI_UA_NEW_MEDIUM);
	return 0;
}

int scsi_tray_close(struct scsi_unit *unit)
{
	if (!unit->removable)
		return -ENOTSUP;
	if (!unit->tray_open)
		return 0;
	unit->tray_open = false;
	unit->media_event = unit->bd ? MEDIA_NEW : MEDIA_NONE;
	if (unit->bd)
		changed(unit, SCSI_UA_NEW_MEDIUM);
	return 0;
}

int scsi_medium_take(struct scsi_unit *unit, struct blockdev **bd)
{
	struct scsi_req *next;

	*bd = NULL;
	if (!unit->removable)
		return -ENOTSUP;
	if (!unit->tray_open)
		return -EBUSY;
	unit->ending = true;
	for (struct scsi_req *req = unit->first; req; req = next) {
		next = req->next;
		if (req->state == SCSI_REQ_KEPT)
			scsi_check(req, SCSI_TRAY_OPEN);
	}
	/* What waits ends at once when it begins: there is no medium to be had. */
	while (unit->bd && unit->first)
		blockdev_drain(unit->bd);
	unit->ending = false;
	*bd = unit->bd;
	return scsi_medium_settle(unit, NULL, &(struct err)ERR_INIT);
}

int scsi_medium_put(struct scsi_unit *unit, struct blockdev *bd, struct err *err)
{
	if (!unit->removable)
		return err_set(err, -ENOTSUP, "%s: the medium cannot be exchanged", unit->name);
	if (!unit->tray_open || unit->bd)
		return err_set(err, -EBUSY, "%s: the tray is %s", unit->name, unit->tray_open ? "not empty" : "closed");
	return scsi_medium_settle(unit, bd, err);
}
