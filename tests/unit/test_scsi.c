/* SPDX-License-Identifier: MIT */
/* SCSI units: their task sets, sense data, errors of the host's, aborts; and whatever a driver may send. */
#include "tests/unit/fake_scsi.h"

#include "tests/unit/suite.h"

static const uint8_t read_cdb[10] = { SCSI_READ_10, 0, 0, 0, 0, 0, 0, 0, 1, 0 };
static const uint8_t write_cdb[10] = { SCSI_WRITE_10, 0, 0, 0, 0, 0, 0, 0, 1, 0 };

/* ---- unit attentions and sense ---- */

START_TEST(test_attentions)
{
	start(scsi_disk_create);
	scsi_unit_attention(unit, SCSI_UA_LUNS);
	scsi_unit_attention(unit, SCSI_UA_NEW_MEDIUM);
	/* some commands do not care, and leave it */
	GOOD(0, 96, SCSI_INQUIRY, 0, 0, 0, 96, 0);
	GOOD(0, 96, SCSI_REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 96, 0, 0);
	/* one at a time, the weightier first, before even an unknown command is looked at */
	BAD(SCSI_UA_NEW_MEDIUM, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	/* REQUEST SENSE takes it, as data */
	GOOD(0, 18, SCSI_REQUEST_SENSE, 0, 0, 0, 18, 0);
	ck_assert_uint_eq(task.req.moved, 18);
	ck_assert(data_in[0] == 0x70 && data_in[2] == 6 && data_in[12] == 0x3f && data_in[13] == 0x0e);
	GOOD(0, 18, SCSI_REQUEST_SENSE, 1, 0, 0, 18, 0);
	ck_assert_uint_eq(task.req.moved, 8);
	ck_assert(data_in[0] == 0x72 && data_in[1] == 0);
	GOOD(0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 0);
	/* a power-on covers the others */
	scsi_unit_attention(unit, SCSI_UA_LUNS);
	scsi_unit_attention(unit, SCSI_UA_POWER_ON);
	BAD(SCSI_UA_POWER_ON, 0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 0);
	GOOD(0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 0);
}
END_TEST

START_TEST(test_luns)
{
	start(scsi_disk_create);
	GOOD(0, 64, SCSI_REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	ck_assert_uint_eq(task.req.moved, 8 + 24);
	ck_assert_uint_eq(load_be32(data_in), 24);
	ck_assert(data_in[8 + 8 + 1] == 3 && data_in[8 + 16] == 0x41);
	GOOD(0, 64, SCSI_REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0);
	ck_assert_uint_eq(task.req.moved, 16);
	GOOD(0, 64, SCSI_REPORT_LUNS, 0, 1, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	ck_assert_uint_eq(load_be32(data_in), 0);
	BAD(SCSI_INVALID_FIELD, 0, 64, SCSI_REPORT_LUNS, 0, 3, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	BAD(SCSI_INVALID_FIELD, 0, 64, SCSI_REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0);
}
END_TEST

START_TEST(test_nobody)
{
	struct scsi_unit nobody;

	scsi_nobody_init(&nobody, false);
	nobody.adapter_ops = &fake_adapter;
	nobody.adapter = &disk;
	unit = &nobody;
	GOOD(0, 96, SCSI_INQUIRY, 0, 0, 0, 96, 0);
	ck_assert_uint_eq(data_in[0], 0x7f);
	BAD(SCSI_INVALID_FIELD, 0, 96, SCSI_INQUIRY, 1, 0, 0, 96, 0);
	GOOD(0, 64, SCSI_REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	BAD(SCSI_NO_SUCH_LUN, 0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 0);
	BAD(SCSI_NO_SUCH_LUN, 0, 512, SCSI_READ_10, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	GOOD(0, 18, SCSI_REQUEST_SENSE, 0, 0, 0, 18, 0);
	ck_assert(data_in[2] == 5 && data_in[12] == 0x25);
	scsi_nobody_init(&nobody, true);
	nobody.adapter_ops = &fake_adapter;
	nobody.adapter = &disk;
	GOOD(0, 96, SCSI_INQUIRY, 0, 0, 0, 96, 0);
	ck_assert_uint_eq(data_in[0], 0x1e);
	GOOD(0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 0);
	BAD(SCSI_INVALID_OPCODE, 0, 512, SCSI_READ_10, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	unit = NULL;
}
END_TEST

/* ---- order ---- */

static struct fake_task tasks[8];

static void add(unsigned i, enum scsi_attr attr)
{
	struct fake_task *t = &tasks[i];

	memset(t, 0, sizeof(*t));
	memcpy(t->req.cdb, write_cdb, sizeof(write_cdb));
	t->out[0] = (struct iovec){ data_out, 512 };
	t->req.out = t->out;
	t->req.n_out = 1;
	t->req.out_len = 512;
	t->req.unit = unit;
	t->req.done = fake_task_done;
	t->req.attr = attr;
	t->req.tag = i;
	t->req.cdb[5] = (uint8_t)i; /* its block says who it is */
	scsi_submit(&t->req);
}

static unsigned done_mask(void)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(tasks); i++) {
		ck_assert_uint_le(tasks[i].done, 1);
		mask |= tasks[i].done << i;
	}
	return mask;
}

START_TEST(test_ordered)
{
	memset(tasks, 0, sizeof(tasks));
	start(scsi_disk_create);
	add(0, SCSI_SIMPLE);
	add(1, SCSI_SIMPLE);
	add(2, SCSI_ORDERED);
	add(3, SCSI_SIMPLE);
	add(4, SCSI_HEAD_OF_QUEUE);
	add(5, SCSI_ORDERED);
	add(6, SCSI_SIMPLE);
	ck_assert_uint_eq(disk.waiting, 3); /* 0, 1, 4 */
	fake_blk_run(&disk, 1);
	ck_assert_uint_eq(done_mask(), 0x01);
	ck_assert_uint_eq(disk.waiting, 2);
	fake_blk_run(&disk, 1); /* 1: 2 begins */
	ck_assert_uint_eq(done_mask(), 0x03);
	ck_assert_uint_eq(disk.waiting, 2);
	fake_blk_run(&disk, 2); /* 4 and 2: 3 begins, 5 waits for it */
	ck_assert_uint_eq(done_mask(), 0x17);
	ck_assert_uint_eq(disk.waiting, 1);
	fake_blk_run(&disk, 1);
	ck_assert_uint_eq(done_mask(), 0x1f);
	ck_assert_uint_eq(disk.waiting, 1); /* 5 */
	fake_blk_run(&disk, 1);
	ck_assert_uint_eq(done_mask(), 0x3f);
	fake_blk_run(&disk, 1);
	ck_assert_uint_eq(done_mask(), 0x7f);
	ck_assert(!unit->first && !unit->n_waiting && !unit->n_ordered);
}
END_TEST

static bool has_tag(const struct scsi_req *req, const void *arg)
{
	return req->tag == *(const uint64_t *)arg;
}

START_TEST(test_abort)
{
	uint64_t tag = 2;

	memset(tasks, 0, sizeof(tasks));
	start(scsi_disk_create);
	add(0, SCSI_SIMPLE);
	add(1, SCSI_ORDERED);
	add(2, SCSI_SIMPLE);
	add(3, SCSI_SIMPLE);
	/* nobody has begun it: it ends at once */
	scsi_abort(unit, SCSI_ABORTED_TASK, has_tag, &tag);
	ck_assert_uint_eq(done_mask(), 0x04);
	ck_assert_int_eq(tasks[2].req.aborted, SCSI_ABORTED_TASK);
	ck_assert(!scsi_in_flight(unit, has_tag, &tag));
	/* the host has begun 0: it ends when the host is done */
	scsi_abort(unit, SCSI_ABORTED_BY_RESET, NULL, NULL);
	ck_assert_uint_eq(done_mask(), 0x0e);
	tag = 0;
	ck_assert(scsi_in_flight(unit, has_tag, &tag));
	fake_blk_run(&disk, 1);
	ck_assert_uint_eq(done_mask(), 0x0f);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(tasks[i].req.aborted, i == 2 ? SCSI_ABORTED_TASK : SCSI_ABORTED_BY_RESET);
	ck_assert_uint_eq(disk.n_log, 1);
	/* one that aborts what others wait for lets those go on */
	add(0, SCSI_SIMPLE);
	add(1, SCSI_ORDERED);
	add(2, SCSI_SIMPLE);
	tag = 1;
	scsi_abort(unit, SCSI_ABORTED_TASK, has_tag, &tag);
	ck_assert_uint_eq(disk.waiting, 2);
	add(3, SCSI_ORDERED);
	scsi_unit_drain(unit);
	ck_assert_uint_eq(done_mask(), 0x0f);
	ck_assert_ptr_null(disk.first);
}
END_TEST

/* ---- errors of the host's ---- */

START_TEST(test_errors)
{
	static const struct {
		int result;
		enum scsi_sense read, write;
	} errors[] = {
		{ -EIO, SCSI_READ_ERROR, SCSI_WRITE_ERROR },
		{ -ENOSPC, SCSI_SPACE_FAILED, SCSI_SPACE_FAILED },
		{ -EPERM, SCSI_WRITE_PROTECTED, SCSI_WRITE_PROTECTED },
		{ -ENOMEM, SCSI_TARGET_FAILURE, SCSI_TARGET_FAILURE },
	};

	start(scsi_disk_create);
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		disk.fail = errors[i].result;
		command(read_cdb, 10, 0, 512);
		ck_assert_uint_eq((unsigned)sense(), errors[i].read);
		disk.fail = errors[i].result;
		command(write_cdb, 10, 512, 0);
		ck_assert_uint_eq((unsigned)sense(), errors[i].write);
	}
	/* a flush that fails is a write that failed */
	disk.fail = -EIO;
	disk.fail_after = 1;
	BAD(SCSI_WRITE_ERROR, 512, 0, SCSI_WRITE_10, 8, 0, 0, 0, 0, 0, 0, 1, 0);
	unit->write_error = unit->read_error = VIRTIO_BLK_IGNORE;
	disk.fail = -EIO;
	ck_assert_int_eq(command(write_cdb, 10, 512, 0), SCSI_GOOD);
	ck_assert_uint_eq(io_errors, 0);
}
END_TEST

START_TEST(test_kept)
{
	cfg.write_error = VIRTIO_BLK_STOP;
	memset(tasks, 0, sizeof(tasks));
	start(scsi_disk_create);
	memset(data_out, 0x33, 512);
	disk.fail = -EIO;
	add(1, SCSI_SIMPLE);
	fake_blk_run(&disk, 1);
	ck_assert_uint_eq(io_errors, 1);
	ck_assert_uint_eq(done_mask(), 0);
	turn();
	ck_assert_uint_eq(disk.waiting, 0);
	scsi_unit_retry(unit);
	ck_assert_uint_eq(disk.waiting, 1);
	fake_blk_run(&disk, 1);
	ck_assert_uint_eq(done_mask(), 0x02);
	ck_assert_int_eq(tasks[1].req.status, SCSI_GOOD);
	ck_assert_mem_eq(disk.data + 512, data_out, 512);
	/* what is kept ends when it is aborted */
	disk.fail = -EIO;
	add(2, SCSI_SIMPLE);
	fake_blk_run(&disk, 1);
	scsi_abort(unit, SCSI_ABORTED_BY_RESET, NULL, NULL);
	ck_assert_uint_eq(done_mask(), 0x06);
	/* and nothing is kept for a driver that goes */
	disk.fail = -EIO;
	add(3, SCSI_SIMPLE);
	scsi_unit_drain(unit);
	ck_assert_uint_eq(done_mask(), 0x0e);
	ck_assert_uint_eq(io_errors, 2);
	/* the disk is full: kept where that is what stops */
	unit->write_error = VIRTIO_BLK_ENOSPC;
	disk.fail = -EIO;
	add(4, SCSI_SIMPLE);
	fake_blk_run(&disk, 1);
	disk.fail = -ENOSPC;
	add(5, SCSI_SIMPLE);
	fake_blk_run(&disk, 1);
	ck_assert_uint_eq(done_mask(), 0x1e);
	ck_assert_uint_eq(io_errors, 3);
	scsi_unit_drain(unit);
}
END_TEST

START_TEST(test_many_in_buffers)
{
	static struct fake_task many[12];
	static const uint8_t same[10] = { SCSI_WRITE_SAME_10, 0, 0, 0, 0, 0, 0, 0, 4, 0 };
	unsigned full = 0;

	start(scsi_disk_create);
	memset(data_out, 0x77, 512);
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		submit(&many[i], same, sizeof(same), 512, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++) {
		full += many[i].done && many[i].req.status == SCSI_TASK_SET_FULL;
		finish(&many[i]);
	}
	ck_assert_uint_eq(full, 4);
	ck_assert_uint_eq(unit->n_bulk, 0);
}
END_TEST

/* ---- whatever a driver may send ---- */

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

static void storm(struct scsi_unit *(*create)(const struct scsi_config *cfg, struct err *err), bool medium)
{
	uint32_t random = 1;

	if (!medium)
		cfg.bd = NULL;
	unit = create(&cfg, &(struct err)ERR_INIT);
	ck_assert_ptr_nonnull(unit);
	scsi_unit_attach(unit, &fake_adapter, &disk);
	for (unsigned round = 0; round < 12; round++)
		for (unsigned op = 0; op < 256; op++) {
			uint8_t cdb[SCSI_CDB_MAX] = { (uint8_t)op };
			uint32_t out = round & 1 ? next_random(&random) % 2000 : 0, in = round & 2 ? next_random(&random) % 2000 : 0;

			/* few bits, or all of them; small numbers are the interesting ones */
			for (unsigned i = 1; i < sizeof(cdb); i++)
				cdb[i] = (uint8_t)(next_random(&random) & (round < 4 ? 0x03 : round < 8 ? next_random(&random) & 0xff : 0xff));
			for (unsigned i = 0; i < out; i++)
				data_out[i] = (uint8_t)(next_random(&random) & (round & 4 ? 0xff : 1));
			disk.n_log = 0;
			command(cdb, sizeof(cdb), out, in);
			ck_assert_uint_ne(task.req.status, PENDING);
		}
	ck_assert(!unit->first && !unit->n_bulk && !unit->n_waiting);
}

START_TEST(test_storm_disk)
{
	storm(scsi_disk_create, true);
}
END_TEST

START_TEST(test_storm_removable)
{
	cfg.removable = true;
	storm(scsi_disk_create, true);
}
END_TEST

START_TEST(test_storm_no_disk)
{
	cfg.removable = true;
	storm(scsi_disk_create, false);
}
END_TEST

START_TEST(test_storm_cd)
{
	disk.bd.read_only = true;
	storm(scsi_cd_create, true);
}
END_TEST

START_TEST(test_storm_no_cd)
{
	storm(scsi_cd_create, false);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { test_attentions, test_luns,		 test_nobody,	  test_ordered,		test_abort,   test_errors,
				       test_kept,	test_many_in_buffers, test_storm_disk, test_storm_removable, test_storm_no_disk,
				       test_storm_cd,	test_storm_no_cd };

	return suite_run("scsi", tests, ARRAY_SIZE(tests), scsi_setup, scsi_teardown);
}
