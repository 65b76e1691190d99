/* SPDX-License-Identifier: MIT */
/* Disks: direct access block devices, SBC-3. What they share with CD-ROM drives is in scsi_block.c. */
#include <errno.h>
#include <string.h>

#include "hw/scsi_priv.h"
#include "vmm/iov.h"
#include "vmm/util.h"

#define STANDARD_SBC_3 0x04c0
#define DPOFUA 0x10 /* of the device-specific parameter: FUA is heeded */

/* ---- capacity ---- */

static void read_capacity_16(struct scsi_req *req)
{
	const struct scsi_unit *unit = req->unit;
	uint8_t data[32] = { 0 };

	if (!(req->cdb[14] & 1) && load_be64(&req->cdb[2])) {
		scsi_bad_field(req, 2);
		return;
	}
	store_be64(&data[0], unit->blocks ? unit->blocks - 1 : 0);
	store_be32(&data[8], unit->block);
	data[13] = (uint8_t)__builtin_ctz(unit->physical / unit->block);
	data[14] = unit->bd->discard ? 0x80 : 0; /* LBPME */
	scsi_reply(req, data, sizeof(data), load_be32(&req->cdb[10]));
}

/* The file is asked for nothing: all blocks are "mapped or unknown", which is always true. */
static void get_lba_status(struct scsi_req *req)
{
	const struct scsi_unit *unit = req->unit;
	uint64_t lba = load_be64(&req->cdb[2]);
	struct scsi_range range;
	uint8_t data[24] = { 0 };

	if (!scsi_locate(req, lba, 1, &range))
		return;
	store_be32(&data[0], sizeof(data) - 4);
	store_be64(&data[8], lba);
	store_be32(&data[16], (uint32_t)min_u64(unit->blocks - lba, UINT32_MAX));
	scsi_reply(req, data, sizeof(data), load_be32(&req->cdb[10]));
}

static void service_action_in(struct scsi_req *req)
{
	switch (req->cdb[1] & 0x1f) {
	case SCSI_SA_READ_CAPACITY_16:
		read_capacity_16(req);
		break;
	case SCSI_SA_GET_LBA_STATUS:
		get_lba_status(req);
		break;
	default:
		scsi_bad_field(req, 1);
		break;
	}
}

/* ---- blocks given back, and blocks all alike ---- */

static uint64_t max_blocks(const struct scsi_unit *unit)
{
	return SCSI_MAX_SPAN / unit->block;
}

/* The list of an UNMAP: everything is checked before anything is done. */
static void unmap(struct scsi_req *req)
{
	uint8_t data[8 + 16 * SCSI_MAX_RANGES];
	const uint8_t *cdb = req->cdb;
	size_t len = load_be16(&cdb[7]), n;

	if (!req->unit->bd->discard) {
		scsi_check(req, SCSI_INVALID_OPCODE);
		return;
	}
	if (cdb[1] & 1) { /* ANCHOR */
		scsi_bad_field(req, 1);
		return;
	}
	if (len == 0) {
		scsi_good(req);
		return;
	}
	if (len < 8) {
		scsi_check(req, SCSI_PARAMETER_LENGTH);
		return;
	}
	if (!scsi_take_parameters(req, data, min_u64(len, sizeof(data))))
		return;
	n = load_be16(&data[2]) / 16u; /* an incomplete one is left out */
	if (n > (len - 8) / 16) {
		scsi_check(req, SCSI_PARAMETER_LENGTH);
		return;
	}
	if (n > SCSI_MAX_RANGES) {
		scsi_bad_parameter(req, 2);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const uint8_t *d = &data[8 + 16 * i];
		uint32_t blocks = load_be32(&d[8]);
		struct scsi_range *range = &req->ranges[req->n_ranges];

		if (blocks > max_blocks(req->unit)) {
			scsi_bad_parameter(req, (unsigned)(8 + 16 * i + 8));
			return;
		}
		if (!scsi_locate(req, load_be64(d), blocks, range))
			return;
		if (blocks)
			req->n_ranges++;
	}
	req->op = BLK_DISCARD;
	req->will_move = req->moved;
	scsi_io_start(req);
}

static bool is_zero(const struct iovec *iov, size_t n, size_t len)
{
	struct iov_cursor c;
	uint8_t part[512];
	uint8_t bits = 0;

	iov_cursor_init(&c, iov, n);
	for (size_t got; len && bits == 0; len -= got) {
		got = iov_cursor_read(&c, part, min_u64(len, sizeof(part)));
		for (size_t i = 0; i < got; i++)
			bits |= part[i];
	}
	return bits == 0;
}

static void write_same(struct scsi_req *req)
{
	const struct scsi_unit *unit = req->unit;
	const uint8_t *cdb = req->cdb;
	bool ten = cdb[0] == SCSI_WRITE_SAME_10, unmaps = cdb[1] & 0x08, no_data = !ten && (cdb[1] & 0x01), zero;
	uint64_t lba = ten ? load_be32(&cdb[2]) : load_be64(&cdb[2]);
	uint32_t n = ten ? load_be16(&cdb[7]) : load_be32(&cdb[10]);
	struct scsi_range range;

	/* Protection information, ANCHOR, and of old the block's own address in it. */
	if ((cdb[1] & 0xf6) || (ten && (cdb[1] & 0x01)) || (unmaps && !unit->bd->discard)) {
		scsi_bad_field(req, 1);
		return;
	}
	if (n == 0 || n > max_blocks(unit)) { /* WSNZ */
		scsi_bad_field(req, ten ? 7 : 10);
		return;
	}
	if (!scsi_locate(req, lba, n, &range))
		return;
	if (!no_data && req->out_len < unit->block) {
		scsi_overrun(req);
		return;
	}
	req->will_move = no_data ? 0 : unit->block;
	req->flush_after = scsi_writethrough(unit);
	zero = no_data || is_zero(req->out, req->n_out, unit->block);
	if (zero && unit->bd->write_zeroes) {
		req->op = BLK_WRITE_ZEROES;
		req->op_flags = unmaps ? BLK_REQ_UNMAP : 0;
		req->ranges[req->n_ranges++] = range;
	} else if (scsi_bulk_write_same(req, &range, req->out, no_data ? 0 : req->n_out) < 0) {
		req->status = SCSI_TASK_SET_FULL;
		scsi_end(req);
		return;
	}
	scsi_io_start(req);
}

/* ---- pages ---- */

static size_t vpd_block_limits(const struct scsi_unit *unit, uint8_t *page)
{
	uint32_t granularity = unit->physical / unit->block;

	page[0] = 1; /* WSNZ: WRITE SAME of no blocks is not of all */
	store_be16(&page[2], (uint16_t)min_u64(granularity, UINT16_MAX));
	if (unit->bd && unit->bd->discard) {
		store_be32(&page[16], (uint32_t)max_blocks(unit));
		store_be32(&page[20], SCSI_MAX_RANGES);
		store_be32(&page[24], granularity);
		store_be32(&page[28], UINT32_C(1) << 31); /* aligned at 0 */
	}
	store_be64(&page[32], max_blocks(unit));
	return 0x3c;
}

static size_t vpd_characteristics(const struct scsi_unit *unit, uint8_t *page)
{
	store_be16(&page[0], unit->rotation_rate);
	return 0x3c;
}

static bool can_unmap(const struct scsi_unit *unit)
{
	return unit->bd && unit->bd->discard;
}

static size_t vpd_provisioning(const struct scsi_unit *unit, uint8_t *page)
{
	(void)unit;
	page[1] = 0xe0; /* UNMAP, and UNMAP in WRITE SAME 16 and 10 */
	page[2] = 2;    /* thin */
	return 4;
}

static const struct scsi_vpd_page disk_vpd[] = {
	{ SCSI_VPD_SERIAL, scsi_vpd_has_serial, scsi_vpd_serial },
	{ SCSI_VPD_IDENTIFICATION, NULL, scsi_vpd_identification },
	{ SCSI_VPD_EXTENDED, NULL, scsi_vpd_extended },
	{ SCSI_VPD_BLOCK_LIMITS, NULL, vpd_block_limits },
	{ SCSI_VPD_CHARACTERISTICS, NULL, vpd_characteristics },
	{ SCSI_VPD_PROVISIONING, can_unmap, vpd_provisioning },
};

static void mode_error_recovery(const struct scsi_unit *unit, uint8_t *page)
{
	(void)unit;
	page[2] = 0x80; /* AWRE: bad blocks are replaced, by the host */
}

/* For drivers that still want cylinders. */
static void mode_geometry(const struct scsi_unit *unit, uint8_t *page)
{
	const unsigned heads = 16, sectors = 63;

	store_be24(&page[2], (uint32_t)min_u64(unit->blocks / (heads * sectors), 0xffffff));
	page[5] = heads;
	store_be16(&page[20], unit->rotation_rate > 1 ? unit->rotation_rate : 0);
}

static void mode_caching(const struct scsi_unit *unit, uint8_t *page)
{
	page[2] = unit->wce ? SCSI_CACHING_WCE : 0;
}

static void mode_caching_changed(struct scsi_unit *unit, const uint8_t *page)
{
	unit->wce = page[2] & SCSI_CACHING_WCE;
}

static const uint8_t caching_changeable[20] = { [2] = SCSI_CACHING_WCE };

static const struct scsi_mode_page disk_pages[] = {
	{ SCSI_MODE_ERROR_RECOVERY, 10, mode_error_recovery, NULL, NULL },
	{ SCSI_MODE_GEOMETRY, 22, mode_geometry, NULL, NULL },
	{ SCSI_MODE_CACHING, 18, mode_caching, caching_changeable, mode_caching_changed },
	{ SCSI_MODE_CONTROL, 10, scsi_mode_control, NULL, NULL },
};

static const struct scsi_command disk_commands[] = {
	{ SCSI_READ_10, SCSI_MEDIUM, scsi_read },
	{ SCSI_WRITE_10, SCSI_MEDIUM | SCSI_WRITES, scsi_write },
	{ SCSI_READ_16, SCSI_MEDIUM, scsi_read },
	{ SCSI_WRITE_16, SCSI_MEDIUM | SCSI_WRITES, scsi_write },
	{ SCSI_TEST_UNIT_READY, SCSI_MEDIUM, scsi_test_unit_ready },
	{ SCSI_REQUEST_SENSE, SCSI_ANYTIME, scsi_request_sense },
	{ SCSI_READ_6, SCSI_MEDIUM, scsi_read },
	{ SCSI_WRITE_6, SCSI_MEDIUM | SCSI_WRITES, scsi_write },
	{ SCSI_INQUIRY, SCSI_ANYTIME, scsi_inquiry },
	{ SCSI_MODE_SELECT_6, 0, scsi_mode_select },
	{ SCSI_MODE_SENSE_6, 0, scsi_mode_sense },
	{ SCSI_START_STOP_UNIT, 0, scsi_start_stop },
	{ SCSI_PREVENT_ALLOW, 0, scsi_prevent_allow },
	{ SCSI_READ_CAPACITY_10, SCSI_MEDIUM, scsi_read_capacity_10 },
	{ SCSI_SEEK_10, SCSI_MEDIUM, scsi_seek },
	{ SCSI_WRITE_VERIFY_10, SCSI_MEDIUM | SCSI_WRITES, scsi_write },
	{ SCSI_VERIFY_10, SCSI_MEDIUM, scsi_verify },
	{ SCSI_SYNCHRONIZE_CACHE_10, SCSI_MEDIUM, scsi_synchronize_cache },
	{ SCSI_WRITE_SAME_10, SCSI_MEDIUM | SCSI_WRITES, write_same },
	{ SCSI_UNMAP, SCSI_MEDIUM | SCSI_WRITES, unmap },
	{ SCSI_MODE_SELECT_10, 0, scsi_mode_select },
	{ SCSI_MODE_SENSE_10, 0, scsi_mode_sense },
	{ SCSI_WRITE_VERIFY_16, SCSI_MEDIUM | SCSI_WRITES, scsi_write },
	{ SCSI_VERIFY_16, SCSI_MEDIUM, scsi_verify },
	{ SCSI_SYNCHRONIZE_CACHE_16, SCSI_MEDIUM, scsi_synchronize_cache },
	{ SCSI_WRITE_SAME_16, SCSI_MEDIUM | SCSI_WRITES, write_same },
	{ SCSI_SERVICE_ACTION_IN_16, SCSI_MEDIUM, service_action_in },
	{ SCSI_REPORT_LUNS, SCSI_ANYTIME, scsi_report_luns },
	{ SCSI_READ_12, SCSI_MEDIUM, scsi_read },
	{ SCSI_WRITE_12, SCSI_MEDIUM | SCSI_WRITES, scsi_write },
	{ SCSI_WRITE_VERIFY_12, SCSI_MEDIUM | SCSI_WRITES, scsi_write },
	{ SCSI_VERIFY_12, SCSI_MEDIUM, scsi_verify },
	{ 0 },
};

static const struct scsi_type disk_type = {
	.device_type = SCSI_TYPE_DISK,
	.standard = STANDARD_SBC_3,
	.commands = disk_commands,
	.pages = disk_pages,
	.n_pages = ARRAY_SIZE(disk_pages),
	.vpd = disk_vpd,
	.n_vpd = ARRAY_SIZE(disk_vpd),
	.device_specific = DPOFUA,
	.block_descriptor = true,
	.writable = true,
	.no_such_command = SCSI_INVALID_OPCODE,
};

struct scsi_unit *scsi_disk_create(const struct scsi_config *cfg, struct err *err)
{
	return scsi_unit_create(&disk_type, cfg, err);
}
