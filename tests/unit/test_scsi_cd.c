/* SPDX-License-Identifier: MIT */
/* CD-ROM drives: every command, and the tray with its media. */
#include "tests/unit/fake_scsi.h"

#include "tests/unit/suite.h"

#define BLOCKS (DISK_SIZE / 2048)

static void start_cd(void)
{
	disk.bd.read_only = true;
	start(scsi_cd_create);
}

static void start_empty(void)
{
	struct err err = ERR_INIT;

	disk.bd.read_only = true;
	cfg.bd = NULL;
	unit = scsi_cd_create(&cfg, &err);
	ck_assert_ptr_nonnull(unit);
	scsi_unit_attach(unit, &fake_adapter, &disk);
	BAD(SCSI_UA_POWER_ON, 0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 0);
}

START_TEST(test_read)
{
	disk.bd.size -= 512; /* blocks are whole */
	start_cd();
	GOOD(0, 4096, SCSI_READ_10, 0, 0, 0, 0, 3, 0, 0, 2, 0);
	ck_assert_mem_eq(data_in, disk.data + 3 * 2048, 4096);
	GOOD(0, 2048, SCSI_READ_12, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0);
	ck_assert_mem_eq(data_in, disk.data + 2048, 2048);
	GOOD(0, 8, SCSI_READ_CAPACITY_10, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	ck_assert(load_be32(data_in) == BLOCKS - 2 && load_be32(data_in + 4) == 2048);
	BAD(SCSI_LBA_OUT_OF_RANGE, 0, 2048, SCSI_READ_10, 0, 0, 0, 1, 0xff, 0, 0, 1, 0);
	BAD(SCSI_INVALID_OPCODE, 2048, 0, SCSI_WRITE_10, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	/* READ CD: user data */
	GOOD(0, 4096, SCSI_READ_CD, 0x08, 0, 0, 0, 3, 0, 0, 2, 0x10, 0, 0);
	ck_assert_uint_eq(task.req.moved, 4096);
	ck_assert_mem_eq(data_in, disk.data + 3 * 2048, 4096);
	GOOD(0, 4096, SCSI_READ_CD, 0, 0, 0, 0, 3, 0, 0, 2, 0, 0, 0);
	ck_assert_uint_eq(task.req.moved, 0);
	BAD(SCSI_WRONG_TRACK_MODE, 0, 4096, SCSI_READ_CD, 0x04, 0, 0, 0, 3, 0, 0, 2, 0x10, 0, 0);
	BAD(SCSI_INVALID_FIELD, 0, 4096, SCSI_READ_CD, 0, 0, 0, 0, 3, 0, 0, 2, 0xf8, 0, 0);
	ck_assert_uint_eq(field(), 9);
	BAD(SCSI_INVALID_FIELD, 0, 4096, SCSI_READ_CD, 0, 0, 0, 0, 3, 0, 0, 2, 0x10, 1, 0);
	BAD(SCSI_LBA_OUT_OF_RANGE, 0, 4096, SCSI_READ_CD, 0, 0, 0, 2, 3, 0, 0, 2, 0x10, 0, 0);
}
END_TEST

START_TEST(test_toc)
{
	static const uint8_t lba[] = { 0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 2, 0 };
	static const uint8_t msf[] = { 0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0, 0, 0x14, 0xaa, 0, 0, 0, 8, 62 };
	static const uint8_t session[] = { 0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0 };
	static const uint8_t raw[] = { 0, 46, 1, 1, 1, 0x14, 0, 0xa0, 0, 0, 0, 0, 1, 0, 0, 1, 0x14, 0, 0xa1, 0, 0, 0, 0, 1, 0, 0,
				       1, 0x14, 0, 0xa2, 0, 0, 0, 0, 0, 8, 62, 1, 0x14, 0, 1, 0, 0, 0, 0, 0, 2, 0 };

	start_cd();
	GOOD(0, 64, SCSI_READ_TOC, 0, 0, 0, 0, 0, 1, 0, 64, 0);
	ck_assert_uint_eq(task.req.moved, sizeof(lba));
	ck_assert_mem_eq(data_in, lba, sizeof(lba));
	GOOD(0, 64, SCSI_READ_TOC, 2, 0, 0, 0, 0, 0, 0, 64, 0);
	ck_assert_mem_eq(data_in, msf, sizeof(msf));
	GOOD(0, 64, SCSI_READ_TOC, 0, 0, 0, 0, 0, 0xaa, 0, 64, 0);
	ck_assert_uint_eq(task.req.moved, 12);
	GOOD(0, 64, SCSI_READ_TOC, 0, 1, 0, 0, 0, 0, 0, 64, 0);
	ck_assert_mem_eq(data_in, session, sizeof(session));
	GOOD(0, 64, SCSI_READ_TOC, 0, 0, 0, 0, 0, 0, 0, 64, 0x40); /* the format, as of old */
	ck_assert_mem_eq(data_in, session, sizeof(session));
	GOOD(0, 64, SCSI_READ_TOC, 2, 2, 0, 0, 0, 0, 0, 64, 0);
	ck_assert_uint_eq(task.req.moved, sizeof(raw));
	ck_assert_mem_eq(data_in, raw, sizeof(raw));
	GOOD(0, 64, SCSI_READ_TOC, 0, 0, 0, 0, 0, 0, 0, 4, 0);
	ck_assert_uint_eq(task.req.moved, 4);
	BAD(SCSI_INVALID_FIELD, 0, 64, SCSI_READ_TOC, 0, 0, 0, 0, 0, 2, 0, 64, 0);
	BAD(SCSI_INVALID_FIELD, 0, 64, SCSI_READ_TOC, 0, 5, 0, 0, 0, 0, 0, 64, 0);
}
END_TEST

/* The feature of that code in an answer of GET CONFIGURATION; NULL: it is not there. */
static const uint8_t *feature(uint16_t code)
{
	uint32_t end = load_be32(data_in) + 4, at = 8;

	ck_assert_uint_eq(end, task.req.moved);
	for (; at < end; at += 4u + data_in[at + 3])
		if (load_be16(&data_in[at]) == code)
			return &data_in[at];
	ck_assert_uint_eq(at, end);
	return NULL;
}

START_TEST(test_configuration)
{
	start_cd();
	GOOD(0, 512, SCSI_GET_CONFIGURATION, 0, 0, 0, 0, 0, 0, 2, 0, 0);
	ck_assert_uint_eq(load_be16(data_in + 6), 8);
	ck_assert(feature(0x1e)[2] & 1);
	ck_assert(!(feature(0x1f)[2] & 1));
	ck_assert_uint_eq(feature(0x03)[4], 0x29);
	ck_assert(feature(0)[6] == 0 && feature(0)[10] == 1);
	GOOD(0, 512, SCSI_GET_CONFIGURATION, 1, 0, 0x10, 0, 0, 0, 2, 0, 0); /* current ones from 10h on */
	ck_assert(feature(0x10) && feature(0x1e) && !feature(0x1f) && !feature(3));
	GOOD(0, 512, SCSI_GET_CONFIGURATION, 2, 0, 0x1f, 0, 0, 0, 2, 0, 0); /* that one */
	ck_assert(feature(0x1f) && !feature(0x100));
	GOOD(0, 512, SCSI_GET_CONFIGURATION, 2, 0, 0x77, 0, 0, 0, 2, 0, 0);
	ck_assert_uint_eq(task.req.moved, 8);
	GOOD(0, 512, SCSI_GET_CONFIGURATION, 0, 0, 0, 0, 0, 0, 0, 8, 0);
	ck_assert_uint_eq(task.req.moved, 8);
	BAD(SCSI_INVALID_FIELD, 0, 512, SCSI_GET_CONFIGURATION, 3, 0, 0, 0, 0, 0, 2, 0, 0);
	/* what is too long for a CD is a DVD */
	BAD(SCSI_INCOMPATIBLE_MEDIUM, 0, 4096, SCSI_READ_DISC_STRUCTURE, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0);
	unit->blocks = 450000;
	GOOD(0, 512, SCSI_GET_CONFIGURATION, 0, 0, 0, 0, 0, 0, 2, 0, 0);
	ck_assert_uint_eq(load_be16(data_in + 6), 0x10);
	ck_assert(feature(0x1f)[2] & 1);
	GOOD(0, 4096, SCSI_READ_DISC_STRUCTURE, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0);
	ck_assert_uint_eq(task.req.moved, 2052);
	ck_assert_uint_eq(load_be24(data_in + 13), 0x30000 + 450000 - 1);
	GOOD(0, 4096, SCSI_READ_DISC_STRUCTURE, 0, 0, 0, 0, 0, 0, 1, 16, 0, 0, 0);
	ck_assert_uint_eq(task.req.moved, 8);
	BAD(SCSI_INVALID_FIELD, 0, 4096, SCSI_READ_DISC_STRUCTURE, 0, 0, 0, 0, 0, 1, 0, 16, 0, 0, 0);
	BAD(SCSI_INVALID_FIELD, 0, 4096, SCSI_READ_DISC_STRUCTURE, 0, 0, 0, 0, 0, 0, 9, 16, 0, 0, 0);
}
END_TEST

START_TEST(test_disc)
{
	start_cd();
	GOOD(0, 64, SCSI_READ_DISC_INFORMATION, 0, 0, 0, 0, 0, 0, 0, 64, 0);
	ck_assert_uint_eq(task.req.moved, 34);
	ck_assert(load_be16(data_in) == 32 && data_in[2] == 0x0e && data_in[3] == 1 && data_in[6] == 1);
	BAD(SCSI_INVALID_FIELD, 0, 64, SCSI_READ_DISC_INFORMATION, 1, 0, 0, 0, 0, 0, 0, 64, 0);
	GOOD(0, 64, SCSI_READ_TRACK_INFORMATION, 1, 0, 0, 0, 1, 0, 0, 64, 0);
	ck_assert_uint_eq(task.req.moved, 36);
	ck_assert(data_in[2] == 1 && data_in[3] == 1 && data_in[5] == 4 && load_be32(data_in + 24) == BLOCKS);
	BAD(SCSI_INVALID_FIELD, 0, 64, SCSI_READ_TRACK_INFORMATION, 1, 0, 0, 0, 2, 0, 0, 64, 0);
	GOOD(0, 64, SCSI_READ_TRACK_INFORMATION, 0, 0, 0, 1, 0xff, 0, 0, 64, 0);
	BAD(SCSI_INVALID_FIELD, 0, 64, SCSI_READ_TRACK_INFORMATION, 0, 0, 0, 2, 0, 0, 0, 64, 0);
	GOOD(0, 64, SCSI_MECHANISM_STATUS, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	ck_assert(task.req.moved == 12 && data_in[5] == 1 && data_in[8] == 0x80);
	GOOD(0, 0, SCSI_SET_CD_SPEED, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0);
	GOOD(0, 64, SCSI_MODE_SENSE_10, 0, SCSI_MODE_CD_CAPABILITIES, 0, 0, 0, 0, 0, 64, 0);
	ck_assert(task.req.moved == 8 + 22 && load_be16(data_in + 6) == 0 && data_in[8] == 0x2a && data_in[8 + 6] == 0x29);
	GOOD(0, 255, SCSI_INQUIRY, 0, 0, 0, 255, 0);
	ck_assert(data_in[0] == 5 && data_in[1] == 0x80);
	ck_assert_mem_eq(data_in + 8, "KITE    KITE CD-ROM     1.0 ", 28);
	GOOD(0, 255, SCSI_INQUIRY, 1, 0, 0, 255, 0);
	ck_assert_mem_eq(data_in, ((uint8_t[]){ 5, 0, 0, 3, 0, 0x83, 0x86 }), 7);
	BAD(SCSI_INVALID_FIELD, 0, 255, SCSI_INQUIRY, 1, 0xb0, 0, 255, 0);
}
END_TEST

/* ---- tray and media ---- */

static void expect_event(uint8_t event, uint8_t state)
{
	GOOD(0, 8, SCSI_GET_EVENT_STATUS, 1, 0, 0, 0x10, 0, 0, 0, 8, 0);
	ck_assert_uint_eq(task.req.moved, 8);
	ck_assert_mem_eq(data_in, ((uint8_t[]){ 0, 6, 4, 0x10, event, state }), 6);
}

START_TEST(test_driver_tray)
{
	start_cd();
	expect_event(0, 2);
	GOOD(0, 0, SCSI_PREVENT_ALLOW, 0, 0, 0, 1, 0);
	BAD(SCSI_REMOVAL_PREVENTED, 0, 0, SCSI_START_STOP_UNIT, 0, 0, 0, 2, 0);
	GOOD(0, 64, SCSI_MODE_SENSE_10, 0, SCSI_MODE_CD_CAPABILITIES, 0, 0, 0, 0, 0, 64, 0);
	ck_assert_uint_eq(data_in[8 + 6], 0x2b);
	GOOD(0, 0, SCSI_PREVENT_ALLOW, 0, 0, 0, 0, 0);
	BAD(SCSI_INVALID_FIELD, 0, 0, SCSI_PREVENT_ALLOW, 0, 0, 0, 2, 0);
	GOOD(0, 0, SCSI_START_STOP_UNIT, 0, 0, 0, 2, 0);
	expect_event(3, 3);
	expect_event(0, 3);
	BAD(SCSI_TRAY_OPEN, 0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 0);
	BAD(SCSI_TRAY_OPEN, 0, 2048, SCSI_READ_10, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	GOOD(0, 18, SCSI_REQUEST_SENSE, 0, 0, 0, 18, 0);
	ck_assert(data_in[2] == 2 && data_in[12] == 0x3a && data_in[13] == 2);
	GOOD(0, 64, SCSI_MECHANISM_STATUS, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	ck_assert_uint_eq(data_in[1], 0x10);
	GOOD(0, 0, SCSI_START_STOP_UNIT, 0, 0, 0, 2, 0); /* it is open */
	GOOD(0, 0, SCSI_START_STOP_UNIT, 0, 0, 0, 3, 0);
	expect_event(2, 2);
	BAD(SCSI_UA_NEW_MEDIUM, 0, 2048, SCSI_READ_10, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	GOOD(0, 2048, SCSI_READ_10, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	ck_assert_uint_eq(changes, 0); /* the driver's own doing */
	/* event status: nobody asks for it but by polling; other classes have none */
	BAD(SCSI_INVALID_FIELD, 0, 8, SCSI_GET_EVENT_STATUS, 0, 0, 0, 0x10, 0, 0, 0, 8, 0);
	GOOD(0, 8, SCSI_GET_EVENT_STATUS, 1, 0, 0, 0x02, 0, 0, 0, 8, 0);
	ck_assert_uint_eq(task.req.moved, 4);
	ck_assert_uint_eq(data_in[2], 0x80);
}
END_TEST

START_TEST(test_user_tray)
{
	struct blockdev *bd;
	struct err err = ERR_INIT;

	start_cd();
	ck_assert_int_eq(scsi_medium_take(unit, &bd), -EBUSY);
	/* the guest holds it, and hears that somebody wants it */
	GOOD(0, 0, SCSI_PREVENT_ALLOW, 0, 0, 0, 1, 0);
	ck_assert_int_eq(scsi_tray_open(unit, false), -EBUSY);
	expect_event(1, 2);
	GOOD(0, 2048, SCSI_READ_10, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	/* by force, with a read under way, which has its data */
	submit(&task, (const uint8_t[]){ SCSI_READ_10, 0, 0, 0, 0, 1, 0, 0, 1, 0 }, 10, 0, 2048);
	ck_assert_int_eq(scsi_tray_open(unit, true), 0);
	ck_assert(changes == 1 && last_change == SCSI_UA_NEW_MEDIUM);
	ck_assert_uint_eq(task.done, 0);
	ck_assert_int_eq(scsi_medium_take(unit, &bd), 0);
	ck_assert_ptr_eq(bd, &disk.bd);
	ck_assert_uint_eq(task.done, 1);
	ck_assert_int_eq(task.req.status, SCSI_GOOD);
	ck_assert_mem_eq(data_in, disk.data + 2048, 2048);
	ck_assert_ptr_null(bd->resized);
	BAD(SCSI_UA_NEW_MEDIUM, 0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 0);
	BAD(SCSI_TRAY_OPEN, 0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 0);
	expect_event(3, 1);
	/* another one; what does not fit stays out */
	disk.bd.request_align = 4096;
	ck_assert_int_eq(scsi_medium_put(unit, &disk.bd, &err), -EINVAL);
	disk.bd.request_align = 512;
	disk.bd.size = DISK_SIZE / 2;
	ck_assert_int_eq(scsi_medium_put(unit, &disk.bd, &err), 0);
	ck_assert_int_eq(scsi_medium_put(unit, &disk.bd, &err), -EBUSY);
	ck_assert_int_eq(scsi_tray_close(unit), 0);
	ck_assert(changes == 2);
	expect_event(2, 2);
	BAD(SCSI_UA_NEW_MEDIUM, 0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 0);
	GOOD(0, 8, SCSI_READ_CAPACITY_10, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	ck_assert_uint_eq(load_be32(data_in), BLOCKS / 2 - 1);
	/* a lock does not outlive a reset */
	GOOD(0, 0, SCSI_PREVENT_ALLOW, 0, 0, 0, 1, 0);
	scsi_unit_reset(unit, SCSI_UA_POWER_ON);
	ck_assert_int_eq(scsi_tray_open(unit, false), 0);
}
END_TEST

START_TEST(test_empty)
{
	struct blockdev *bd = &disk.bd;
	struct err err = ERR_INIT;

	start_empty();
	BAD(SCSI_NO_MEDIUM, 0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 0);
	BAD(SCSI_NO_MEDIUM, 0, 8, SCSI_READ_CAPACITY_10, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	BAD(SCSI_NO_MEDIUM, 0, 64, SCSI_READ_TOC, 0, 0, 0, 0, 0, 0, 0, 64, 0);
	GOOD(0, 512, SCSI_GET_CONFIGURATION, 0, 0, 0, 0, 0, 0, 2, 0, 0);
	ck_assert_uint_eq(load_be16(data_in + 6), 0);
	GOOD(0, 64, SCSI_MODE_SENSE_10, 0, SCSI_MODE_ALL, 0, 0, 0, 0, 0, 64, 0);
	expect_event(0, 0);
	ck_assert_int_eq(scsi_medium_put(unit, &disk.bd, &err), -EBUSY);
	ck_assert_int_eq(scsi_tray_open(unit, false), 0);
	ck_assert_int_eq(scsi_medium_take(unit, &bd), 0);
	ck_assert_ptr_null(bd);
	ck_assert_int_eq(scsi_medium_put(unit, &disk.bd, &err), 0);
	ck_assert_int_eq(scsi_tray_close(unit), 0);
	BAD(SCSI_UA_NEW_MEDIUM, 0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 0);
	GOOD(0, 2048, SCSI_READ_10, 0, 0, 0, 0, 0, 0, 0, 1, 0);
}
END_TEST

START_TEST(test_fixed_disk)
{
	struct blockdev *bd;

	start(scsi_disk_create);
	ck_assert_int_eq(scsi_tray_open(unit, true), -ENOTSUP);
	ck_assert_int_eq(scsi_tray_close(unit), -ENOTSUP);
	ck_assert_int_eq(scsi_medium_take(unit, &bd), -ENOTSUP);
	ck_assert_int_eq(scsi_medium_put(unit, &disk.bd, &(struct err)ERR_INIT), -ENOTSUP);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { test_read,	test_toc,	  test_configuration, test_disc,
				       test_driver_tray, test_user_tray, test_empty,	      test_fixed_disk };

	return suite_run("scsi_cd", tests, ARRAY_SIZE(tests), scsi_setup, scsi_teardown);
}
