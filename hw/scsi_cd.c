/* SPDX-License-Identifier: MIT */
/*
 * CD-ROM drives: MMC-6. The medium is one track of data, mode 1, in blocks of 2048 bytes, in one session: a CD-ROM, or a DVD-ROM where it
 * is too long for one. What the drive is like as such is in tables; the tray is in scsi_medium.c.
 */
#include <assert.h>
#include <string.h>

#include "hw/scsi_priv.h"
#include "vmm/util.h"

#define STANDARD_MMC_6 0x04e0

#define CD_BLOCKS_MAX 449850 /* 99:59:74 less the 150 blocks of the lead-in: what minutes, seconds and frames can tell */
#define LEAD_OUT 0xaa
#define DATA_TRACK 0x14 /* ADR 1: position; control 4: data */
#define PROFILE_CD_ROM 0x0008
#define PROFILE_DVD_ROM 0x0010
#define SPEED 8467 /* kB/s: 48 times that of a CD */

#define READ_TOC_MAX (4 + 4 * 11)

static uint16_t profile(const struct scsi_unit *unit)
{
	if (!scsi_ready(unit))
		return 0;
	return unit->blocks > CD_BLOCKS_MAX ? PROFILE_DVD_ROM : PROFILE_CD_ROM;
}

/* ---- table of contents: MMC-6, 6.25 ---- */

static void put_msf(uint8_t *out, uint64_t lba)
{
	uint64_t frames = min_u64(lba + 150, 256 * 60 * 75 - 1);

	out[0] = (uint8_t)(frames / 75 / 60);
	out[1] = (uint8_t)(frames / 75 % 60);
	out[2] = (uint8_t)(frames % 75);
}

static void put_address(uint8_t *out, uint64_t lba, bool msf)
{
	out[0] = 0;
	if (msf)
		put_msf(out + 1, lba);
	else
		store_be32(out, (uint32_t)min_u64(lba, UINT32_MAX));
}

static size_t put_track(uint8_t *out, uint8_t track, uint64_t lba, bool msf)
{
	out[1] = DATA_TRACK;
	out[2] = track;
	put_address(out + 4, lba, msf);
	return 8;
}

static size_t put_point(uint8_t *out, uint8_t point, uint8_t minute, uint8_t second, uint8_t frame)
{
	out[0] = 1; /* session */
	out[1] = DATA_TRACK;
	out[3] = point;
	out[8] = minute;
	out[9] = second;
	out[10] = frame;
	return 11;
}

/* The lead-in's Q channel. */
static size_t put_points(const struct scsi_unit *unit, uint8_t *out)
{
	uint8_t end[3], start[3];
	size_t n = 0;

	put_msf(end, unit->blocks);
	put_msf(start, 0);
	n += put_point(out + n, 0xa0, 1, 0, 0); /* the first track */
	n += put_point(out + n, 0xa1, 1, 0, 0); /* the last */
	n += put_point(out + n, 0xa2, end[0], end[1], end[2]);
	n += put_point(out + n, 1, start[0], start[1], start[2]);
	return n;
}

static void read_toc(struct scsi_req *req)
{
	const struct scsi_unit *unit = req->unit;
	const uint8_t *cdb = req->cdb;
	bool msf = cdb[1] & 2;
	/* Before there was a field for it, the format was in the control byte. */
	uint8_t data[READ_TOC_MAX] = { 0 }, format = cdb[2] & 0xf ? cdb[2] & 0xf : cdb[9] >> 6, start = cdb[6];
	size_t n = 4;

	data[2] = data[3] = 1;
	switch (format) {
	case 0:
		if (start > 1 && start != LEAD_OUT) {
			scsi_bad_field(req, 6);
			return;
		}
		if (start <= 1)
			n += put_track(data + n, 1, 0, msf);
		n += put_track(data + n, LEAD_OUT, unit->blocks, msf);
		break;
	case 1:
		n += put_track(data + n, 1, 0, msf);
		break;
	case 2:
		n += put_points(unit, data + n);
		break;
	default:
		scsi_bad_field(req, 2);
		return;
	}
	store_be16(data, (uint16_t)(n - 2));
	scsi_reply(req, data, n, load_be16(&cdb[7]));
}

/* ---- features: MMC-6, 5.3, 6.5 ---- */

#define FEATURE_PERSISTENT 1
#define FEATURE_CURRENT 2

struct feature {
	uint16_t code;
	uint8_t version, flags;
	uint16_t profile; /* 0: any medium; else current with that */
	uint8_t len;
	uint8_t data[8];
};

static const struct feature features[] = {
	{ 0x0000, 0, FEATURE_PERSISTENT | FEATURE_CURRENT, 0, 8, { 0, PROFILE_DVD_ROM, 0, 0, 0, PROFILE_CD_ROM, 0, 0 } }, /* profiles */
	{ 0x0001, 2, FEATURE_PERSISTENT | FEATURE_CURRENT, 0, 8, { 0, 0, 0, 1, 0, 0, 0, 0 } }, /* core: SCSI */
	{ 0x0002, 1, FEATURE_PERSISTENT | FEATURE_CURRENT, 0, 4, { 0 } },                      /* morphing: events are polled */
	{ 0x0003, 0, FEATURE_PERSISTENT | FEATURE_CURRENT, 0, 4, { 0x29 } },                   /* removable: a tray that locks and ejects */
	{ 0x0010, 0, 0, 1, 8, { 0, 0, SCSI_CD_BLOCK >> 8, 0, 0, 1, 0, 0 } },                   /* random reads */
	{ 0x001e, 2, 0, PROFILE_CD_ROM, 4, { 0 } },                                            /* CD */
	{ 0x001f, 1, 0, PROFILE_DVD_ROM, 4, { 1 } },                                           /* DVD */
	{ 0x0100, 0, FEATURE_PERSISTENT | FEATURE_CURRENT, 0, 0, { 0 } },                      /* power management */
	{ 0x0105, 0, FEATURE_PERSISTENT | FEATURE_CURRENT, 0, 4, { 0 } },                      /* time-outs */
};

static bool is_current(const struct feature *f, uint16_t now)
{
	if (f->flags & FEATURE_CURRENT)
		return true;
	return f->profile == 1 ? now != 0 : f->profile == now;
}

static size_t put_feature(uint8_t *out, const struct feature *f, uint16_t now)
{
	store_be16(out, f->code);
	out[2] = (uint8_t)(f->version << 2 | (f->flags & FEATURE_PERSISTENT ? 2 : 0) | (is_current(f, now) ? 1 : 0));
	out[3] = f->len;
	memcpy(out + 4, f->data, f->len);
	if (f->code == 0) {
		out[4 + 2] = now == PROFILE_DVD_ROM;
		out[4 + 6] = now == PROFILE_CD_ROM;
	}
	return 4u + f->len;
}

static void get_configuration(struct scsi_req *req)
{
	const uint8_t *cdb = req->cdb;
	uint8_t data[8 + sizeof(features)] = { 0 }, wanted = cdb[1] & 3;
	uint16_t now = profile(req->unit), start = load_be16(&cdb[2]);
	size_t n = 8;

	static_assert(sizeof(struct feature) >= 12, "room for each");
	if (wanted == 3) {
		scsi_bad_field(req, 1);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		const struct feature *f = &features[i];

		/* 0: all from `start` on; 1: of these the current ones; 2: that one. */
		if (wanted == 2 ? f->code == start : f->code >= start && (wanted == 0 || is_current(f, now)))
			n += put_feature(data + n, f, now);
	}
	store_be32(data, (uint32_t)(n - 4));
	store_be16(data + 6, now);
	scsi_reply(req, data, n, load_be16(&cdb[7]));
}

/* ---- the disc and its track ---- */

static void read_disc_information(struct scsi_req *req)
{
	uint8_t data[34] = { 0 };

	if (req->cdb[1] & 7) { /* resources for tracks, and for overwriting */
		scsi_bad_field(req, 1);
		return;
	}
	store_be16(data, sizeof(data) - 2);
	data[2] = 0x0e; /* complete, and so is its last session */
	data[3] = data[4] = data[5] = data[6] = 1; /* first track; sessions; the last one's tracks */
	data[7] = 0x20; /* for unrestricted use */
	memset(&data[16], 0xff, 8); /* nothing can be added: no lead-in, no lead-out */
	scsi_reply(req, data, sizeof(data), load_be16(&req->cdb[7]));
}

static void read_track_information(struct scsi_req *req)
{
	const struct scsi_unit *unit = req->unit;
	uint32_t which = load_be32(&req->cdb[2]);
	uint8_t data[36] = { 0 }, by = req->cdb[1] & 3;

	if (by == 3 || (by == 0 ? which >= unit->blocks : which != 1)) {
		scsi_bad_field(req, by == 3 ? 1 : 2);
		return;
	}
	store_be16(data, sizeof(data) - 2);
	data[2] = data[3] = 1; /* track and session */
	data[5] = 4;           /* data, */
	data[6] = 1;           /* mode 1 */
	store_be32(&data[24], (uint32_t)min_u64(unit->blocks, UINT32_MAX));
	scsi_reply(req, data, sizeof(data), load_be16(&req->cdb[7]));
}

/* Physical format, copyright and manufacturing information of a DVD: MMC-6, 6.22. */
static void read_disc_structure(struct scsi_req *req)
{
	const struct scsi_unit *unit = req->unit;
	uint8_t data[4 + 2048] = { 0 }, format = req->cdb[7];
	size_t n;

	if ((req->cdb[1] & 0xf) || profile(unit) != PROFILE_DVD_ROM) {
		scsi_check(req, SCSI_INCOMPATIBLE_MEDIUM);
		return;
	}
	if (req->cdb[6]) { /* layer */
		scsi_bad_field(req, 6);
		return;
	}
	switch (format) {
	case 0:
		data[4] = 0x01; /* DVD-ROM, version 1 */
		data[5] = 0x0f; /* 12 cm; no rate given */
		data[6] = 0x01; /* one layer, embossed */
		store_be24(&data[9], 0x30000);
		store_be24(&data[13], (uint32_t)min_u64(0x30000 + unit->blocks - 1, 0xffffff));
		n = sizeof(data);
		break;
	case 1:
		n = 4 + 4;
		break;
	case 4:
		n = sizeof(data);
		break;
	default:
		scsi_bad_field(req, 7);
		return;
	}
	store_be16(data, (uint16_t)(n - 2));
	scsi_reply(req, data, n, load_be16(&req->cdb[8]));
}

static void mechanism_status(struct scsi_req *req)
{
	uint8_t data[12] = { 0 };

	data[1] = req->unit->tray_open ? 0x10 : 0;
	data[5] = 1; /* slot, */
	store_be16(&data[6], 4);
	data[8] = req->unit->bd ? 0x80 : 0; /* and whether there is a disc in it */
	scsi_reply(req, data, sizeof(data), load_be16(&req->cdb[8]));
}

/* READ CD, of user data alone: the rest of a sector is not in the image. MMC-6, 6.19. */
static void read_cd(struct scsi_req *req)
{
	uint8_t *cdb = req->cdb, sector = cdb[1] >> 2 & 7, fields = cdb[9] & 0xfe;
	uint32_t lba = load_be32(&cdb[2]), n = load_be24(&cdb[6]);
	struct scsi_range range;

	if (sector != 0 && sector != 2) { /* neither any nor mode 1 */
		scsi_check(req, SCSI_WRONG_TRACK_MODE);
	} else if ((fields && fields != 0x10) || (cdb[10] & 7)) {
		scsi_bad_field(req, fields && fields != 0x10 ? 9 : 10);
	} else if (!fields) {
		if (scsi_locate(req, lba, n, &range))
			scsi_good(req);
	} else {
		/* The same as READ (12) of these blocks. */
		memset(cdb, 0, SCSI_CDB_MAX);
		cdb[0] = SCSI_READ_12;
		store_be32(&cdb[2], lba);
		store_be32(&cdb[6], n);
		scsi_read(req);
	}
}

static void set_cd_speed(struct scsi_req *req)
{
	scsi_good(req); /* as fast as the host can, always */
}

/* ---- pages ---- */

static const struct scsi_vpd_page cd_vpd[] = {
	{ SCSI_VPD_SERIAL, scsi_vpd_has_serial, scsi_vpd_serial },
	{ SCSI_VPD_IDENTIFICATION, NULL, scsi_vpd_identification },
	{ SCSI_VPD_EXTENDED, NULL, scsi_vpd_extended },
};

static void mode_error_recovery(const struct scsi_unit *unit, uint8_t *page)
{
	(void)unit;
	(void)page;
}

static void mode_timeout(const struct scsi_unit *unit, uint8_t *page)
{
	(void)unit;
	(void)page;
}

static void mode_capabilities(const struct scsi_unit *unit, uint8_t *page)
{
	page[2] = 0x0b; /* reads CD-R, CD-RW, DVD-ROM */
	page[4] = 0x30; /* data in mode 2, both forms */
	page[6] = (uint8_t)(0x29 | (unit->locked ? 2 : 0)); /* a tray that locks and ejects */
	store_be16(&page[8], SPEED);
	store_be16(&page[12], 2048); /* KiB of buffer */
	store_be16(&page[14], SPEED);
}

static const struct scsi_mode_page cd_pages[] = {
	{ SCSI_MODE_ERROR_RECOVERY, 10, mode_error_recovery, NULL, NULL },
	{ SCSI_MODE_CONTROL, 10, scsi_mode_control, NULL, NULL },
	{ SCSI_MODE_TIMEOUT, 8, mode_timeout, NULL, NULL },
	{ SCSI_MODE_CD_CAPABILITIES, 20, mode_capabilities, NULL, NULL },
};

static const struct scsi_command cd_commands[] = {
	{ SCSI_READ_10, SCSI_MEDIUM, scsi_read },
	{ SCSI_TEST_UNIT_READY, SCSI_MEDIUM, scsi_test_unit_ready },
	{ SCSI_REQUEST_SENSE, SCSI_ANYTIME, scsi_request_sense },
	{ SCSI_READ_6, SCSI_MEDIUM, scsi_read },
	{ SCSI_INQUIRY, SCSI_ANYTIME, scsi_inquiry },
	{ SCSI_MODE_SELECT_6, 0, scsi_mode_select },
	{ SCSI_MODE_SENSE_6, 0, scsi_mode_sense },
	{ SCSI_START_STOP_UNIT, 0, scsi_start_stop },
	{ SCSI_PREVENT_ALLOW, 0, scsi_prevent_allow },
	{ SCSI_READ_CAPACITY_10, SCSI_MEDIUM, scsi_read_capacity_10 },
	{ SCSI_SEEK_10, SCSI_MEDIUM, scsi_seek },
	{ SCSI_VERIFY_10, SCSI_MEDIUM, scsi_verify },
	{ SCSI_SYNCHRONIZE_CACHE_10, SCSI_MEDIUM, scsi_synchronize_cache },
	{ SCSI_READ_TOC, SCSI_MEDIUM, read_toc },
	{ SCSI_GET_CONFIGURATION, SCSI_ANYTIME, get_configuration },
	{ SCSI_GET_EVENT_STATUS, SCSI_ANYTIME, scsi_event_status },
	{ SCSI_READ_DISC_INFORMATION, SCSI_MEDIUM, read_disc_information },
	{ SCSI_READ_TRACK_INFORMATION, SCSI_MEDIUM, read_track_information },
	{ SCSI_MODE_SELECT_10, 0, scsi_mode_select },
	{ SCSI_MODE_SENSE_10, 0, scsi_mode_sense },
	{ SCSI_REPORT_LUNS, SCSI_ANYTIME, scsi_report_luns },
	{ SCSI_READ_12, SCSI_MEDIUM, scsi_read },
	{ SCSI_READ_DISC_STRUCTURE, SCSI_MEDIUM, read_disc_structure },
	{ SCSI_SET_CD_SPEED, SCSI_MEDIUM, set_cd_speed },
	{ SCSI_MECHANISM_STATUS, 0, mechanism_status },
	{ SCSI_READ_CD, SCSI_MEDIUM, read_cd },
	{ 0 },
};

static const struct scsi_type cd_type = {
	.device_type = SCSI_TYPE_CD,
	.standard = STANDARD_MMC_6,
	.commands = cd_commands,
	.pages = cd_pages,
	.n_pages = ARRAY_SIZE(cd_pages),
	.vpd = cd_vpd,
	.n_vpd = ARRAY_SIZE(cd_vpd),
	.block = SCSI_CD_BLOCK,
	.no_such_command = SCSI_INVALID_OPCODE,
};

struct scsi_unit *scsi_cd_create(const struct scsi_config *cfg, struct err *err)
{
	return scsi_unit_create(&cd_type, cfg, err);
}
