/* SPDX-License-Identifier: MIT */
/* What every unit tells of itself: INQUIRY and vital product data, REQUEST SENSE, REPORT LUNS. SPC-4, sections 6.6, 6.33, 6.39, 7.8. */
#include <string.h>

#include "hw/scsi_priv.h"
#include "vmm/util.h"

#define INQUIRY_BYTES 96
#define VERSION_SPC_4 0x06
#define STANDARD_SAM_5 0x00a0
#define STANDARD_SPC_4 0x0460
#define REPORT_MAX 65 /* LUNs that one answer has room for: more than there can be */

static void standard_data(struct scsi_req *req, size_t allocated)
{
	const struct scsi_unit *unit = req->unit;
	uint8_t data[INQUIRY_BYTES] = { unit->type->device_type };

	data[1] = unit->removable ? 0x80 : 0;
	data[2] = VERSION_SPC_4;
	data[3] = 0x10 | 2; /* hierarchical addresses; the format of these data */
	data[4] = INQUIRY_BYTES - 5;
	data[7] = 0x02; /* commands queue */
	memcpy(&data[8], unit->vendor, sizeof(unit->vendor));
	memcpy(&data[16], unit->product, sizeof(unit->product));
	memcpy(&data[32], unit->version, sizeof(unit->version));
	store_be16(&data[58], STANDARD_SAM_5);
	store_be16(&data[60], STANDARD_SPC_4);
	store_be16(&data[62], unit->type->standard);
	scsi_reply(req, data, sizeof(data), allocated);
}

static size_t supported_pages(const struct scsi_unit *unit, uint8_t *page)
{
	size_t n = 0;

	page[n++] = SCSI_VPD_SUPPORTED;
	for (size_t i = 0; i < unit->type->n_vpd; i++)
		if (!unit->type->vpd[i].there || unit->type->vpd[i].there(unit))
			page[n++] = unit->type->vpd[i].code;
	return n;
}

static void product_data(struct scsi_req *req, uint8_t code, size_t allocated)
{
	const struct scsi_unit *unit = req->unit;
	uint8_t data[4 + SCSI_VPD_MAX] = { unit->type->device_type, code };
	const struct scsi_vpd_page *page = NULL;
	size_t len;

	for (size_t i = 0; i < unit->type->n_vpd; i++)
		if (unit->type->vpd[i].code == code && (!unit->type->vpd[i].there || unit->type->vpd[i].there(unit)))
			page = &unit->type->vpd[i];
	if (!page && (code != SCSI_VPD_SUPPORTED || !unit->type->n_vpd)) {
		scsi_bad_field(req, 2);
		return;
	}
	len = page ? page->fill(unit, &data[4]) : supported_pages(unit, &data[4]);
	store_be16(&data[2], (uint16_t)len);
	scsi_reply(req, data, 4 + len, allocated);
}

void scsi_inquiry(struct scsi_req *req)
{
	const uint8_t *cdb = req->cdb;
	size_t allocated = load_be16(&cdb[3]);

	if (cdb[1] & ~1u) /* CMDDT, of old */
		scsi_bad_field(req, 1);
	else if (cdb[1] & 1)
		product_data(req, cdb[2], allocated);
	else if (cdb[2])
		scsi_bad_field(req, 2);
	else
		standard_data(req, allocated);
}

/* ---- pages that disks and CD-ROM drives have ---- */

bool scsi_vpd_has_serial(const struct scsi_unit *unit)
{
	return unit->serial[0];
}

size_t scsi_vpd_serial(const struct scsi_unit *unit, uint8_t *page)
{
	size_t len = strlen(unit->serial);

	memcpy(page, unit->serial, len);
	return len;
}

/* 7.8.6: who it is, worldwide if its user said so, and by vendor, product and name. */
size_t scsi_vpd_identification(const struct scsi_unit *unit, uint8_t *page)
{
	size_t len = strlen(unit->device_id), n = 0;

	page[n++] = 2; /* ASCII */
	page[n++] = 1; /* of the unit; by vendor */
	n++;
	page[n++] = (uint8_t)(SCSI_VENDOR_MAX + SCSI_PRODUCT_MAX + len);
	memcpy(&page[n], unit->vendor, SCSI_VENDOR_MAX);
	memcpy(&page[n + SCSI_VENDOR_MAX], unit->product, SCSI_PRODUCT_MAX);
	n += SCSI_VENDOR_MAX + SCSI_PRODUCT_MAX;
	memcpy(&page[n], unit->device_id, len);
	n += len;
	if (unit->wwn) {
		page[n++] = 1; /* binary */
		page[n++] = 3; /* NAA */
		n++;
		page[n++] = 8;
		store_be64(&page[n], unit->wwn);
		n += 8;
	}
	return n;
}

size_t scsi_vpd_extended(const struct scsi_unit *unit, uint8_t *page)
{
	(void)unit;
	page[1] = 0x07; /* head of queue, ordered and simple tasks */
	page[2] = 0x01; /* SYNCHRONIZE CACHE is about a volatile cache */
	return 0x3c;
}

/* ---- the others ---- */

void scsi_request_sense(struct scsi_req *req)
{
	struct scsi_unit *unit = req->unit;
	enum scsi_sense sense = scsi_take_attention(unit);
	uint8_t data[SCSI_SENSE_MAX];
	size_t len;

	if (sense == SCSI_NO_SENSE && unit->type->device_type == SCSI_TYPE_NOBODY)
		sense = SCSI_NO_SUCH_LUN;
	else if (sense == SCSI_NO_SENSE && unit->removable && !scsi_ready(unit))
		sense = scsi_not_ready(unit);
	len = scsi_build_sense(data, sense, req->cdb[1] & 1);
	scsi_reply(req, data, len, req->cdb[4]);
}

void scsi_test_unit_ready(struct scsi_req *req)
{
	scsi_good(req);
}

void scsi_report_luns(struct scsi_req *req)
{
	uint8_t data[8 + REPORT_MAX * 8] = { 0 }, (*luns)[8] = (uint8_t(*)[8])(data + 8);
	struct scsi_unit *unit = req->unit;
	uint8_t select = req->cdb[2];
	size_t n = 0, allocated = load_be32(&req->cdb[6]);

	/* 6.33: 1 asks for well-known units only, of which a target has none. */
	if (select > 2) {
		scsi_bad_field(req, 2);
		return;
	}
	if (allocated < 16) {
		scsi_bad_field(req, 6);
		return;
	}
	if (select != 1)
		n = unit->adapter_ops->luns(unit->adapter, req, luns, REPORT_MAX);
	store_be32(data, (uint32_t)(n * 8));
	scsi_reply(req, data, 8 + n * 8, allocated);
}
