/* SPDX-License-Identifier: MIT */
/* SCSI disks: every command, what it moves and says, and what it refuses. */
#include "tests/unit/fake_scsi.h"

#include "tests/unit/suite.h"

#define BLOCKS (DISK_SIZE / BLK_SECTOR)

/* ---- reads and writes ---- */

static const struct {
	uint8_t read, write, len;
} rw[] = {
	{ SCSI_READ_6, SCSI_WRITE_6, 6 },
	{ SCSI_READ_10, SCSI_WRITE_10, 10 },
	{ SCSI_READ_12, SCSI_WRITE_12, 12 },
	{ SCSI_READ_16, SCSI_WRITE_16, 16 },
};

static size_t rw_cdb(uint8_t *cdb, unsigned kind, bool write, uint64_t lba, uint32_t n)
{
	memset(cdb, 0, SCSI_CDB_MAX);
	cdb[0] = write ? rw[kind].write : rw[kind].read;
	switch (rw[kind].len) {
	case 6:
		store_be24(&cdb[1], (uint32_t)lba);
		cdb[4] = (uint8_t)n;
		break;
	case 10:
		store_be32(&cdb[2], (uint32_t)lba);
		store_be16(&cdb[7], (uint16_t)n);
		break;
	case 12:
		store_be32(&cdb[2], (uint32_t)lba);
		store_be32(&cdb[6], n);
		break;
	default:
		store_be64(&cdb[2], lba);
		store_be32(&cdb[10], n);
	}
	return rw[kind].len;
}

static int transfer(unsigned kind, bool write, uint64_t lba, uint32_t n, uint32_t buffer)
{
	uint8_t cdb[SCSI_CDB_MAX];

	return command(cdb, rw_cdb(cdb, kind, write, lba, n), write ? buffer : 0, write ? 0 : buffer);
}

START_TEST(test_read_write)
{
	start(scsi_disk_create);
	for (unsigned kind = 0; kind < ARRAY_SIZE(rw); kind++) {
		for (unsigned i = 0; i < 3 * BLK_SECTOR; i++)
			data_out[i] = (uint8_t)(i * 31 + kind);
		ck_assert_int_eq(transfer(kind, true, 10 + kind * 4, 3, 3 * BLK_SECTOR), SCSI_GOOD);
		ck_assert_uint_eq(task.req.moved, 3 * BLK_SECTOR);
		ck_assert_mem_eq(disk.data + (10 + kind * 4) * BLK_SECTOR, data_out, 3 * BLK_SECTOR);
		ck_assert_int_eq(transfer(kind, false, 10 + kind * 4, 3, 3 * BLK_SECTOR), SCSI_GOOD);
		ck_assert_uint_eq(task.req.moved, 3 * BLK_SECTOR);
		ck_assert_mem_eq(data_in, data_out, 3 * BLK_SECTOR);
		/* more buffers than data: the rest stays as it was, and the residual says how much that is */
		ck_assert_int_eq(transfer(kind, false, BLOCKS - 1, 1, 3 * BLK_SECTOR), SCSI_GOOD);
		ck_assert_uint_eq(task.req.moved, BLK_SECTOR);
		ck_assert_uint_eq(data_in[BLK_SECTOR], UNTOUCHED);
		/* fewer: nothing happens */
		disk.n_log = 0;
		transfer(kind, false, 0, 2, 2 * BLK_SECTOR - 1);
		ck_assert(task.req.overrun && task.req.moved == 0);
		transfer(kind, true, 0, 2, BLK_SECTOR);
		ck_assert(task.req.overrun);
		ck_assert_uint_eq(disk.n_log, 0);
	}
	/* READ (6) of 0 blocks is of 256, others of none */
	ck_assert_int_eq(transfer(0, false, 0, 0, 256 * BLK_SECTOR), SCSI_GOOD);
	ck_assert_uint_eq(task.req.moved, 256 * BLK_SECTOR);
	for (unsigned kind = 1; kind < ARRAY_SIZE(rw); kind++) {
		ck_assert_int_eq(transfer(kind, false, BLOCKS, 0, 512), SCSI_GOOD);
		ck_assert_uint_eq(task.req.moved, 0);
	}
}
END_TEST

START_TEST(test_out_of_range)
{
	static const struct {
		uint64_t lba;
		uint32_t n;
	} bad[] = { { BLOCKS, 1 }, { BLOCKS - 1, 2 }, { BLOCKS + 1, 0 }, { UINT32_MAX, 1 }, { UINT64_MAX, 1 }, { UINT64_MAX, UINT32_MAX },
		    { UINT64_C(1) << 55, 1 }, { 0, UINT32_MAX } };

	start(scsi_disk_create);
	disk.n_log = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		for (unsigned write = 0; write < 2; write++) {
			transfer(3, write, bad[i].lba, bad[i].n, 4096);
			ck_assert_uint_eq((unsigned)sense(), SCSI_LBA_OUT_OF_RANGE);
		}
	transfer(1, false, BLOCKS, 1, 512);
	ck_assert_uint_eq((unsigned)sense(), SCSI_LBA_OUT_OF_RANGE);
	ck_assert_uint_eq(disk.n_log, 0);
	BAD(SCSI_LBA_OUT_OF_RANGE, 0, 0, SCSI_SEEK_10, 0, 0xff, 0, 0, 0, 0, 0, 0, 0);
	GOOD(0, 0, SCSI_SEEK_10, 0, 0, 0, 7, 0xff, 0, 0, 0, 0);
	BAD(SCSI_INVALID_FIELD, 0, 512, SCSI_READ_10, 0x20, 0, 0, 0, 0, 0, 0, 1, 0); /* RDPROTECT */
	ck_assert_uint_eq(field(), 1);
}
END_TEST

static void ops(const enum blk_op *expected, unsigned n)
{
	ck_assert_uint_eq(disk.n_log, n);
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(disk.log[i].op, expected[i]);
	disk.n_log = 0;
}

START_TEST(test_caches)
{
	start(scsi_disk_create);
	disk.n_log = 0;
	GOOD(512, 0, SCSI_WRITE_10, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	ops((enum blk_op[]){ BLK_WRITE }, 1);
	GOOD(512, 0, SCSI_WRITE_10, 0x08, 0, 0, 0, 0, 0, 0, 1, 0); /* FUA */
	ops((enum blk_op[]){ BLK_WRITE, BLK_FLUSH }, 2);
	GOOD(0, 512, SCSI_READ_10, 0x08, 0, 0, 0, 0, 0, 0, 1, 0);
	ops((enum blk_op[]){ BLK_FLUSH, BLK_READ }, 2);
	GOOD(512, 0, SCSI_WRITE_VERIFY_10, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	ops((enum blk_op[]){ BLK_WRITE, BLK_FLUSH }, 2);
	BAD(SCSI_INVALID_FIELD, 512, 0, SCSI_WRITE_VERIFY_10, 2, 0, 0, 0, 0, 0, 0, 1, 0);
	GOOD(0, 0, SCSI_SYNCHRONIZE_CACHE_10, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	GOOD(0, 0, SCSI_SYNCHRONIZE_CACHE_16, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	ops((enum blk_op[]){ BLK_FLUSH, BLK_FLUSH }, 2);
	BAD(SCSI_LBA_OUT_OF_RANGE, 0, 0, SCSI_SYNCHRONIZE_CACHE_10, 0, 0, 0, 8, 0, 0, 0, 1, 0);
	/* the switch: MODE SELECT (10) of the caching page as MODE SENSE gives it, without WCE */
	GOOD(0, 255, SCSI_MODE_SENSE_10, 8, SCSI_MODE_CACHING, 0, 0, 0, 0, 0, 255, 0);
	ck_assert_uint_eq(task.req.moved, 8 + 20);
	ck_assert_uint_eq(data_in[8 + 2], SCSI_CACHING_WCE);
	memcpy(data_out, data_in, 28);
	memset(data_out, 0, 8);
	data_out[8 + 2] = 0;
	GOOD(28, 0, SCSI_MODE_SELECT_10, 0x10, 0, 0, 0, 0, 0, 0, 28, 0);
	disk.n_log = 0;
	GOOD(512, 0, SCSI_WRITE_10, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	ops((enum blk_op[]){ BLK_WRITE, BLK_FLUSH }, 2);
	GOOD(0, 255, SCSI_MODE_SENSE_6, 8, SCSI_MODE_CACHING, 0, 255, 0);
	ck_assert_uint_eq(data_in[4 + 2], 0);
	GOOD(0, 255, SCSI_MODE_SENSE_6, 8, 0x80 | SCSI_MODE_CACHING, 0, 255, 0); /* default */
	ck_assert_uint_eq(data_in[4 + 2], SCSI_CACHING_WCE);
	/* a reset switches it back */
	scsi_unit_reset(unit, SCSI_UA_LUN_RESET);
	BAD(SCSI_UA_LUN_RESET, 0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 0);
	disk.n_log = 0;
	GOOD(512, 0, SCSI_WRITE_10, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	ops((enum blk_op[]){ BLK_WRITE }, 1);
}
END_TEST

START_TEST(test_read_only)
{
	disk.bd.read_only = true;
	start(scsi_disk_create);
	disk.n_log = 0;
	BAD(SCSI_WRITE_PROTECTED, 512, 0, SCSI_WRITE_10, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	BAD(SCSI_WRITE_PROTECTED, 512, 0, SCSI_WRITE_6, 0, 0, 0, 1, 0);
	BAD(SCSI_WRITE_PROTECTED, 512, 0, SCSI_WRITE_SAME_10, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	BAD(SCSI_WRITE_PROTECTED, 24, 0, SCSI_UNMAP, 0, 0, 0, 0, 0, 0, 0, 24, 0);
	ck_assert_uint_eq(disk.n_log, 0);
	GOOD(0, 512, SCSI_READ_10, 8, 0, 0, 0, 0, 0, 0, 1, 0);
	GOOD(0, 255, SCSI_MODE_SENSE_6, 0, SCSI_MODE_ALL, 0, 255, 0);
	ck_assert_uint_eq(data_in[2], 0x90);
	ck_assert_uint_eq(data_in[3], 8);
	ck_assert_uint_eq(load_be32(&data_in[4]), BLOCKS);
	ck_assert_uint_eq(load_be24(&data_in[9]), BLK_SECTOR);
}
END_TEST

/* ---- all alike, and nothing ---- */

START_TEST(test_write_same)
{
	start(scsi_disk_create);
	disk.n_log = 0;
	memset(data_out, 0, 512);
	GOOD(512, 0, SCSI_WRITE_SAME_10, 0, 0, 0, 0, 4, 0, 0, 100, 0);
	ck_assert_uint_eq(task.req.moved, 512);
	ops((enum blk_op[]){ BLK_WRITE_ZEROES }, 1);
	ck_assert(disk.log[0].off == 4 * 512 && disk.log[0].len == 100 * 512 && disk.log[0].flags == 0);
	GOOD(512, 0, SCSI_WRITE_SAME_16, 8, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 100, 0, 0); /* UNMAP */
	ck_assert_uint_eq(disk.log[0].flags, BLK_REQ_UNMAP);
	GOOD(0, 0, SCSI_WRITE_SAME_16, 1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 100, 0, 0); /* NDOB */
	disk.n_log = 0;
	/* a pattern, in steps */
	for (unsigned i = 0; i < 512; i++)
		data_out[i] = (uint8_t)(i * 3 + 1);
	GOOD(512, 0, SCSI_WRITE_SAME_10, 0, 0, 0, 0, 1, 0, 0x04, 0x01, 0);
	ck_assert_uint_eq(disk.n_log, 3);
	for (unsigned i = 0; i < 1025; i++)
		ck_assert_mem_eq(disk.data + (1 + i) * 512, data_out, 512);
	ck_assert_mem_ne(disk.data, data_out, 512);
	ck_assert_mem_ne(disk.data + 1026 * 512, data_out, 512);
	/* zeroes where the disk does not know how */
	disk.bd.write_zeroes = false;
	memset(data_out, 0, 512);
	GOOD(512, 0, SCSI_WRITE_SAME_10, 0, 0, 0, 0, 1, 0, 0, 2, 0);
	ck_assert_uint_eq(disk.data[512], 0);
	ck_assert_uint_eq(unit->n_bulk, 0);
	/* what is wrong */
	disk.n_log = 0;
	BAD(SCSI_INVALID_FIELD, 512, 0, SCSI_WRITE_SAME_10, 0, 0, 0, 0, 1, 0, 0, 0, 0);  /* no blocks */
	BAD(SCSI_INVALID_FIELD, 512, 0, SCSI_WRITE_SAME_10, 0x10, 0, 0, 0, 1, 0, 0, 1, 0); /* ANCHOR */
	BAD(SCSI_INVALID_FIELD, 512, 0, SCSI_WRITE_SAME_10, 0x01, 0, 0, 0, 1, 0, 0, 1, 0);
	BAD(SCSI_LBA_OUT_OF_RANGE, 512, 0, SCSI_WRITE_SAME_10, 0, 0, 0, 8, 0, 0, 0, 1, 0);
	BAD(SCSI_INVALID_FIELD, 512, 0, SCSI_WRITE_SAME_16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0);
	CMD(511, 0, SCSI_WRITE_SAME_10, 0, 0, 0, 0, 1, 0, 0, 1, 0);
	ck_assert(task.req.overrun);
	disk.bd.discard = false;
	BAD(SCSI_INVALID_FIELD, 512, 0, SCSI_WRITE_SAME_10, 8, 0, 0, 0, 1, 0, 0, 1, 0);
	ck_assert_uint_eq(disk.n_log, 0);
}
END_TEST

static void unmap_list(unsigned n, uint16_t bytes, uint64_t lba, uint32_t blocks)
{
	memset(data_out, 0, 8 + n * 16);
	store_be16(&data_out[0], (uint16_t)(bytes + 6));
	store_be16(&data_out[2], bytes);
	for (unsigned i = 0; i < n; i++) {
		store_be64(&data_out[8 + i * 16], lba + i * blocks);
		store_be32(&data_out[8 + i * 16 + 8], blocks);
	}
}

START_TEST(test_unmap)
{
	start(scsi_disk_create);
	disk.n_log = 0;
	unmap_list(3, 48, 16, 8);
	GOOD(56, 0, SCSI_UNMAP, 0, 0, 0, 0, 0, 0, 0, 56, 0);
	ck_assert_uint_eq(disk.n_log, 3);
	ck_assert_uint_eq(task.req.moved, 56);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(disk.log[i].op == BLK_DISCARD && disk.log[i].off == (16 + i * 8) * 512 && disk.log[i].len == 8 * 512);
	GOOD(0, 0, SCSI_UNMAP, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	unmap_list(2, 20, 0, 1); /* the second is not whole */
	disk.n_log = 0;
	GOOD(40, 0, SCSI_UNMAP, 0, 0, 0, 0, 0, 0, 0, 40, 0);
	ck_assert_uint_eq(disk.n_log, 1);
	unmap_list(1, 16, 0, 0); /* of no blocks */
	GOOD(24, 0, SCSI_UNMAP, 0, 0, 0, 0, 0, 0, 0, 24, 0);
	unmap_list(SCSI_MAX_RANGES, SCSI_MAX_RANGES * 16, 0, 1);
	GOOD(8 + SCSI_MAX_RANGES * 16, 0, SCSI_UNMAP, 0, 0, 0, 0, 0, 0, 4, 8, 0);
	ck_assert_uint_eq(disk.n_log, 1 + SCSI_MAX_RANGES);
	/* all is checked before anything is done */
	disk.n_log = 0;
	unmap_list(2, 32, BLOCKS - 1, 1);
	BAD(SCSI_LBA_OUT_OF_RANGE, 40, 0, SCSI_UNMAP, 0, 0, 0, 0, 0, 0, 0, 40, 0);
	unmap_list(1, 16, UINT64_MAX, 2);
	BAD(SCSI_LBA_OUT_OF_RANGE, 24, 0, SCSI_UNMAP, 0, 0, 0, 0, 0, 0, 0, 24, 0);
	unmap_list(1, 16, 0, UINT32_MAX);
	BAD(SCSI_INVALID_PARAMETER, 24, 0, SCSI_UNMAP, 0, 0, 0, 0, 0, 0, 0, 24, 0);
	ck_assert_uint_eq(field(), 16);
	unmap_list(SCSI_MAX_RANGES + 1, (SCSI_MAX_RANGES + 1) * 16, 0, 1);
	BAD(SCSI_INVALID_PARAMETER, 8 + 65 * 16, 0, SCSI_UNMAP, 0, 0, 0, 0, 0, 0, 4, 24, 0);
	unmap_list(1, 32, 0, 1);
	BAD(SCSI_PARAMETER_LENGTH, 24, 0, SCSI_UNMAP, 0, 0, 0, 0, 0, 0, 0, 24, 0);
	BAD(SCSI_PARAMETER_LENGTH, 7, 0, SCSI_UNMAP, 0, 0, 0, 0, 0, 0, 0, 7, 0);
	BAD(SCSI_INVALID_FIELD, 24, 0, SCSI_UNMAP, 1, 0, 0, 0, 0, 0, 0, 24, 0);
	CMD(23, 0, SCSI_UNMAP, 0, 0, 0, 0, 0, 0, 0, 24, 0);
	ck_assert(task.req.overrun);
	disk.bd.discard = false;
	BAD(SCSI_INVALID_OPCODE, 24, 0, SCSI_UNMAP, 0, 0, 0, 0, 0, 0, 0, 24, 0);
	ck_assert_uint_eq(disk.n_log, 0);
}
END_TEST

START_TEST(test_verify)
{
	start(scsi_disk_create);
	disk.n_log = 0;
	GOOD(0, 0, SCSI_VERIFY_10, 0, 0, 0, 0, 0, 0, 4, 0, 0);
	BAD(SCSI_LBA_OUT_OF_RANGE, 0, 0, SCSI_VERIFY_10, 0, 0, 0, 8, 0, 0, 0, 1, 0);
	BAD(SCSI_INVALID_FIELD, 0, 0, SCSI_VERIFY_10, 4, 0, 0, 0, 0, 0, 0, 1, 0);
	ck_assert_uint_eq(disk.n_log, 0);
	memcpy(data_out, disk.data + 512, 4 * 512);
	GOOD(4 * 512, 0, SCSI_VERIFY_10, 2, 0, 0, 0, 1, 0, 0, 4, 0);
	data_out[4 * 512 - 1] ^= 1;
	BAD(SCSI_MISCOMPARE, 4 * 512, 0, SCSI_VERIFY_16, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0);
	CMD(4 * 512 - 1, 0, SCSI_VERIFY_10, 2, 0, 0, 0, 1, 0, 0, 4, 0);
	ck_assert(task.req.overrun);
	/* one block against many */
	memset(disk.data, 7, DISK_SIZE);
	memset(data_out, 7, 512);
	GOOD(512, 0, SCSI_VERIFY_12, 6, 0, 0, 0, 0, 0, 0, 4, 4, 0, 0);
	disk.data[1027 * 512 + 3] = 8;
	BAD(SCSI_MISCOMPARE, 512, 0, SCSI_VERIFY_12, 6, 0, 0, 0, 0, 0, 0, 4, 4, 0, 0);
	ck_assert_uint_eq(unit->n_bulk, 0);
}
END_TEST

/* ---- what it is ---- */

START_TEST(test_capacity)
{
	cfg.logical_block = 4096;
	disk.bd.size -= 512; /* blocks are whole */
	start(scsi_disk_create);
	GOOD(0, 8, SCSI_READ_CAPACITY_10, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	ck_assert_uint_eq(load_be32(data_in), DISK_SIZE / 4096 - 2);
	ck_assert_uint_eq(load_be32(data_in + 4), 4096);
	BAD(SCSI_INVALID_FIELD, 0, 8, SCSI_READ_CAPACITY_10, 0, 0, 0, 0, 1, 0, 0, 0, 0);
	GOOD(0, 64, SCSI_SERVICE_ACTION_IN_16, SCSI_SA_READ_CAPACITY_16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0);
	ck_assert_uint_eq(task.req.moved, 32);
	ck_assert_uint_eq(load_be64(data_in), DISK_SIZE / 4096 - 2);
	ck_assert_uint_eq(load_be32(data_in + 8), 4096);
	ck_assert(data_in[13] == 0 && data_in[14] == 0x80);
	GOOD(0, 64, SCSI_SERVICE_ACTION_IN_16, SCSI_SA_GET_LBA_STATUS, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 64, 0, 0);
	ck_assert_uint_eq(task.req.moved, 24);
	ck_assert(load_be32(data_in) == 20 && load_be64(data_in + 8) == 3 && load_be32(data_in + 16) == DISK_SIZE / 4096 - 4);
	BAD(SCSI_LBA_OUT_OF_RANGE, 0, 64, SCSI_SERVICE_ACTION_IN_16, SCSI_SA_GET_LBA_STATUS, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 64, 0, 0);
	BAD(SCSI_INVALID_FIELD, 0, 64, SCSI_SERVICE_ACTION_IN_16, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	/* the file grows */
	disk.bd.resized(disk.bd.resized_opaque);
	ck_assert(changes == 1 && last_change == SCSI_UA_CAPACITY);
	BAD(SCSI_UA_CAPACITY, 0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 0);
}
END_TEST

START_TEST(test_inquiry)
{
	cfg.serial = "S-1";
	cfg.wwn = UINT64_C(0x5000c50012345678);
	cfg.rotation_rate = 7200;
	cfg.vendor = "V";
	start(scsi_disk_create);
	GOOD(0, 255, SCSI_INQUIRY, 0, 0, 0, 255, 0);
	ck_assert_uint_eq(task.req.moved, 96);
	ck_assert(data_in[0] == 0 && data_in[1] == 0 && data_in[2] == 6 && (data_in[3] & 0xf) == 2 && data_in[4] == 91 && data_in[7] == 2);
	ck_assert_mem_eq(data_in + 8, "V       KITE HARDDISK   1.0 ", 28);
	GOOD(0, 255, SCSI_INQUIRY, 0, 0, 0, 36, 0);
	ck_assert_uint_eq(task.req.moved, 36);
	/* the answer is cut to what was asked for; where there is no room for that, it is an overrun */
	CMD(0, 20, SCSI_INQUIRY, 0, 0, 0, 36, 0);
	ck_assert(task.req.overrun);
	GOOD(0, 255, SCSI_INQUIRY, 1, 0, 0, 255, 0);
	ck_assert_uint_eq(task.req.moved, 4 + 7);
	ck_assert_mem_eq(data_in, ((uint8_t[]){ 0, 0, 0, 7, 0, 0x80, 0x83, 0x86, 0xb0, 0xb1, 0xb2 }), 11);
	GOOD(0, 255, SCSI_INQUIRY, 1, 0x80, 0, 255, 0);
	ck_assert_mem_eq(data_in, ((uint8_t[]){ 0, 0x80, 0, 3, 'S', '-', '1' }), 7);
	GOOD(0, 255, SCSI_INQUIRY, 1, 0x83, 0, 255, 0);
	ck_assert_uint_eq(load_be16(data_in + 2), 4 + 24 + 3 + 12);
	ck_assert_mem_eq(data_in + 4, ((uint8_t[]){ 2, 1, 0, 27 }), 4);
	ck_assert_mem_eq(data_in + 8, "V       KITE HARDDISK   S-1\x01\x03\0\x08\x50\0\xc5\0\x12\x34\x56\x78", 39);
	GOOD(0, 255, SCSI_INQUIRY, 1, 0xb0, 0, 255, 0);
	ck_assert_uint_eq(task.req.moved, 64);
	ck_assert_uint_eq(load_be32(data_in + 20), GIB / 512);
	ck_assert_uint_eq(load_be32(data_in + 24), SCSI_MAX_RANGES);
	ck_assert_uint_eq(load_be32(data_in + 28), 8);
	ck_assert_uint_eq(load_be64(data_in + 36), GIB / 512);
	GOOD(0, 255, SCSI_INQUIRY, 1, 0xb1, 0, 255, 0);
	ck_assert_uint_eq(load_be16(data_in + 4), 7200);
	GOOD(0, 255, SCSI_INQUIRY, 1, 0xb2, 0, 255, 0);
	ck_assert(data_in[5] == 0xe0 && data_in[6] == 2);
	BAD(SCSI_INVALID_FIELD, 0, 255, SCSI_INQUIRY, 1, 0xb3, 0, 255, 0);
	BAD(SCSI_INVALID_FIELD, 0, 255, SCSI_INQUIRY, 0, 0x80, 0, 255, 0);
	BAD(SCSI_INVALID_FIELD, 0, 255, SCSI_INQUIRY, 2, 0, 0, 255, 0);
	ck_assert_uint_eq(field(), 1);
	disk.bd.discard = false;
	BAD(SCSI_INVALID_FIELD, 0, 255, SCSI_INQUIRY, 1, 0xb2, 0, 255, 0);
}
END_TEST

/* ---- mode parameters ---- */

START_TEST(test_mode_sense)
{
	start(scsi_disk_create);
	GOOD(0, 255, SCSI_MODE_SENSE_6, 0, SCSI_MODE_ALL, 0, 255, 0);
	ck_assert_uint_eq(task.req.moved, 4 + 8 + 12 + 24 + 20 + 12);
	ck_assert_uint_eq(data_in[0], task.req.moved - 1);
	ck_assert_uint_eq(data_in[2], 0x10);
	GOOD(0, 255, SCSI_MODE_SENSE_10, 8, SCSI_MODE_ALL, 0xff, 0, 0, 0, 0, 255, 0);
	ck_assert_uint_eq(load_be16(data_in), task.req.moved - 2);
	ck_assert_uint_eq(load_be16(data_in + 6), 0);
	GOOD(0, 255, SCSI_MODE_SENSE_6, 8, 0x40 | SCSI_MODE_CACHING, 0, 255, 0); /* changeable: one bit */
	for (unsigned i = 2; i < 20; i++)
		ck_assert_uint_eq(data_in[4 + i], i == 2 ? SCSI_CACHING_WCE : 0);
	BAD(SCSI_NO_SAVING, 0, 255, SCSI_MODE_SENSE_6, 8, 0xc0 | SCSI_MODE_CACHING, 0, 255, 0);
	BAD(SCSI_INVALID_FIELD, 0, 255, SCSI_MODE_SENSE_6, 8, 0x2a, 0, 255, 0);
	ck_assert_uint_eq(field(), 2);
	BAD(SCSI_INVALID_FIELD, 0, 255, SCSI_MODE_SENSE_6, 8, SCSI_MODE_CACHING, 1, 255, 0);
	ck_assert_uint_eq(field(), 3);
	GOOD(0, 255, SCSI_MODE_SENSE_6, 8, SCSI_MODE_CACHING, 0, 4, 0);
	ck_assert_uint_eq(task.req.moved, 4);
}
END_TEST

static void caching_list(uint8_t wce)
{
	memset(data_out, 0, 64);
	data_out[4] = SCSI_MODE_CACHING;
	data_out[5] = 18;
	data_out[6] = wce;
}

START_TEST(test_mode_select)
{
	start(scsi_disk_create);
	caching_list(0);
	GOOD(24, 0, SCSI_MODE_SELECT_6, 0x10, 0, 0, 24, 0);
	ck_assert(!unit->wce);
	GOOD(0, 0, SCSI_MODE_SELECT_6, 0x10, 0, 0, 0, 0);
	/* with a block descriptor, as it is */
	memset(data_out, 0, 64);
	data_out[3] = 8;
	store_be32(&data_out[4], BLOCKS);
	store_be24(&data_out[9], 512);
	data_out[12] = SCSI_MODE_CACHING;
	data_out[13] = 18;
	data_out[14] = SCSI_CACHING_WCE;
	GOOD(32, 0, SCSI_MODE_SELECT_6, 0x10, 0, 0, 32, 0);
	ck_assert(unit->wce);
	store_be24(&data_out[9], 4096);
	BAD(SCSI_INVALID_PARAMETER, 32, 0, SCSI_MODE_SELECT_6, 0x10, 0, 0, 32, 0);
	/* nothing is changed unless all is right */
	caching_list(0);
	data_out[24] = SCSI_MODE_CONTROL;
	data_out[25] = 10;
	BAD(SCSI_INVALID_PARAMETER, 36, 0, SCSI_MODE_SELECT_6, 0x10, 0, 0, 36, 0);
	ck_assert_uint_eq(field(), 24 + 3);
	ck_assert(unit->wce);
	caching_list(SCSI_CACHING_WCE | 1);
	BAD(SCSI_INVALID_PARAMETER, 24, 0, SCSI_MODE_SELECT_6, 0x10, 0, 0, 24, 0);
	caching_list(0);
	data_out[5] = 17;
	BAD(SCSI_INVALID_PARAMETER, 24, 0, SCSI_MODE_SELECT_6, 0x10, 0, 0, 24, 0);
	caching_list(0);
	BAD(SCSI_PARAMETER_LENGTH, 23, 0, SCSI_MODE_SELECT_6, 0x10, 0, 0, 23, 0);
	BAD(SCSI_PARAMETER_LENGTH, 3, 0, SCSI_MODE_SELECT_6, 0x10, 0, 0, 3, 0);
	BAD(SCSI_INVALID_FIELD, 24, 0, SCSI_MODE_SELECT_6, 0x11, 0, 0, 24, 0); /* to be saved */
	BAD(SCSI_INVALID_FIELD, 24, 0, SCSI_MODE_SELECT_6, 0, 0, 0, 24, 0);
	data_out[3] = 255;
	BAD(SCSI_PARAMETER_LENGTH, 24, 0, SCSI_MODE_SELECT_6, 0x10, 0, 0, 24, 0);
	BAD(SCSI_PARAMETER_LENGTH, 600, 0, SCSI_MODE_SELECT_10, 0x10, 0, 0, 0, 0, 0, 2, 0x58, 0);
	CMD(23, 0, SCSI_MODE_SELECT_6, 0x10, 0, 0, 24, 0);
	ck_assert(task.req.overrun);
	ck_assert(unit->wce);
}
END_TEST

START_TEST(test_refused)
{
	/* FORMAT UNIT, RESERVE, RELEASE, PERSISTENT RESERVE IN and OUT, COMPARE AND WRITE, EXTENDED COPY, ATA PASS-THROUGH, vendors' */
	static const uint8_t none[] = { 0x04, 0x16, 0x17, 0x5e, 0x5f, 0x89, 0x83, 0x85, 0xa1, 0xc0, 0xff, SCSI_READ_TOC };

	start(scsi_disk_create);
	for (unsigned i = 0; i < ARRAY_SIZE(none); i++)
		BAD(SCSI_INVALID_OPCODE, 0, 64, none[i], 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0);
	GOOD(0, 0, SCSI_START_STOP_UNIT, 0, 0, 0, 0, 0);
	GOOD(0, 0, SCSI_START_STOP_UNIT, 0, 0, 0, 0x31, 0);
	BAD(SCSI_INVALID_FIELD, 0, 0, SCSI_START_STOP_UNIT, 0, 0, 0, 2, 0);
	BAD(SCSI_INVALID_FIELD, 0, 0, SCSI_PREVENT_ALLOW, 0, 0, 0, 1, 0);
	BAD(SCSI_INVALID_FIELD, 0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 4); /* NACA */
	ck_assert_uint_eq(field(), 5);
}
END_TEST

START_TEST(test_creation)
{
	struct err err = ERR_INIT;
	static const uint32_t blocks[][2] = { { 511, 0 }, { 65536, 0 }, { 768, 0 }, { 4096, 512 }, { 0, 1000 } };

	for (unsigned i = 0; i < ARRAY_SIZE(blocks); i++) {
		cfg.logical_block = blocks[i][0];
		cfg.physical_block = blocks[i][1];
		ck_assert_ptr_null(scsi_disk_create(&cfg, &err));
		ck_assert_ptr_nonnull(strstr(err.msg, "block_size"));
	}
	cfg.logical_block = 512;
	cfg.physical_block = 0;
	disk.bd.request_align = 4096;
	ck_assert_ptr_null(scsi_disk_create(&cfg, &err));
	disk.bd.request_align = 512;
	cfg.serial = "0123456789012345678901234567890123456";
	ck_assert_ptr_null(scsi_disk_create(&cfg, &err));
	cfg.serial = "a\n";
	ck_assert_ptr_null(scsi_disk_create(&cfg, &err));
	cfg.serial = NULL;
	cfg.target = SCSI_MAX_TARGETS;
	ck_assert_ptr_null(scsi_disk_create(&cfg, &err));
	cfg.target = 0;
	cfg.bd = NULL;
	ck_assert_ptr_null(scsi_disk_create(&cfg, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "without a medium"));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { test_read_write, test_out_of_range, test_caches,     test_read_only, test_write_same, test_unmap,   test_verify,
				       test_capacity,   test_inquiry,      test_mode_sense, test_mode_select, test_refused,  test_creation };

	return suite_run("scsi_disk", tests, ARRAY_SIZE(tests), scsi_setup, scsi_teardown);
}
