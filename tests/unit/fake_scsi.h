/* SPDX-License-Identifier: MIT */
/*
 * A SCSI unit between an adapter that can ask for anything and a disk that waits (fake_blockdev), for the tests of hw/scsi*.c: one at a time,
 * in file scope, as the fixture of every test.
 */
#ifndef TESTS_UNIT_FAKE_SCSI_H
#define TESTS_UNIT_FAKE_SCSI_H

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "hw/scsi.h"
#include "tests/unit/fake_blockdev.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define DISK_SIZE (1 * MIB)
#define BUFFER (256 * KIB)
#define GUARD 64 /* bytes behind a buffer that nobody may touch */
#define UNTOUCHED 0x5a
#define PENDING 0xff

struct fake_task {
	struct scsi_req req;
	struct iovec out[3], in[3];
	unsigned done;
};

static struct eventloop *loop;
static struct fake_blk disk;
static struct scsi_unit *unit;
static struct scsi_config cfg;
static unsigned io_errors, changes;
static enum scsi_sense last_change;
static uint8_t data_in[BUFFER + GUARD], data_out[BUFFER + GUARD];
static struct fake_task task; /* of the last command */

static inline void fake_request(void *machine, enum vm_request what, int status)
{
	(void)machine;
	ck_assert(what == VM_REQUEST_IO_ERROR && status == 0);
	io_errors++;
}

static inline void fake_changed(void *adapter, struct scsi_unit *u, enum scsi_sense what)
{
	ck_assert(adapter == &disk && u == unit);
	changes++;
	last_change = what;
}

static inline size_t fake_luns(void *adapter, const struct scsi_req *req, uint8_t (*luns)[8], size_t max)
{
	(void)adapter;
	(void)req;
	ck_assert_uint_ge(max, 3);
	memset(luns, 0, 3 * 8);
	luns[1][1] = 3;
	luns[2][0] = 0x41;
	luns[2][1] = 0x2c;
	return 3;
}

static const struct scsi_adapter_ops fake_adapter = { .changed = fake_changed, .luns = fake_luns };

static inline void scsi_setup(void)
{
	struct err err = ERR_INIT;

	log_set_level(LOG_LEVEL_NONE);
	loop = eventloop_create(&err);
	ck_assert_ptr_nonnull(loop);
	fake_blk_init(&disk, loop, DISK_SIZE);
	cfg = (struct scsi_config){ .name = "unit", .bd = &disk.bd, .write_cache = true, .link = { .request = fake_request } };
	unit = NULL;
	io_errors = changes = 0;
}

static inline void scsi_teardown(void)
{
	scsi_unit_destroy(unit);
	fake_blk_fini(&disk);
	eventloop_destroy(loop);
}

static inline void turn_end(void *opaque)
{
	eventloop_stop(opaque);
}

static inline void turn(void)
{
	struct event_work end = { .run = turn_end, .opaque = loop };

	eventloop_post(loop, &end);
	ck_assert_int_eq(eventloop_run(loop), 0);
}

static inline void fake_task_done(struct scsi_req *req)
{
	CONTAINER_OF(req, struct fake_task, req)->done++;
}

/* Submits; the data buffers, in three pieces, one of them empty, are from the start of data_out and data_in. */
static inline void submit(struct fake_task *t, const void *cdb, size_t n, uint32_t out_len, uint32_t in_len)
{
	uint32_t out_cut = out_len > 7 ? 7 : out_len, in_cut = in_len > 5 ? 5 : in_len;

	ck_assert(out_len <= BUFFER && in_len <= BUFFER);
	memset(&t->req, 0, sizeof(t->req));
	memcpy(t->req.cdb, cdb, n);
	t->done = 0;
	t->req.unit = unit;
	t->req.done = fake_task_done;
	t->out[0] = (struct iovec){ data_out, out_cut };
	t->out[1] = (struct iovec){ data_out + out_cut, 0 };
	t->out[2] = (struct iovec){ data_out + out_cut, out_len - out_cut };
	t->in[0] = (struct iovec){ data_in, in_cut };
	t->in[1] = (struct iovec){ data_in + in_cut, 0 };
	t->in[2] = (struct iovec){ data_in + in_cut, in_len - in_cut };
	t->req.out = t->out;
	t->req.in = t->in;
	t->req.n_out = out_len ? 3 : 0;
	t->req.n_in = in_len ? 3 : 0;
	t->req.out_len = out_len;
	t->req.in_len = in_len;
	memset(data_in, UNTOUCHED, in_len + GUARD);
	scsi_submit(&t->req);
}

/* Lets the disk work until the task is done. Returns the status; nothing behind the data was touched. */
static inline int finish(struct fake_task *t)
{
	for (int i = 0; i < 10000 && !t->done; i++) {
		fake_blk_run(&disk, UINT_MAX);
		turn();
	}
	ck_assert_uint_eq(t->done, 1);
	ck_assert_uint_le(t->req.moved, t->req.in_len + t->req.out_len);
	for (unsigned i = 0; i < GUARD; i++)
		ck_assert_uint_eq(data_in[t->req.in_len + i], UNTOUCHED);
	ck_assert(t->req.status == SCSI_CHECK_CONDITION ? t->req.sense_len == SCSI_SENSE_MAX : t->req.sense_len == 0);
	return t->req.status;
}

static inline int command(const void *cdb, size_t n, uint32_t out_len, uint32_t in_len)
{
	submit(&task, cdb, n, out_len, in_len);
	return finish(&task);
}

#define CMD(out_len, in_len, ...) command((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }), out_len, in_len)

/* The sense code of the last command: SCSI_NO_SENSE where it was GOOD. */
static inline enum scsi_sense sense(void)
{
	const uint8_t *s = task.req.sense;

	if (task.req.status == SCSI_GOOD)
		return SCSI_NO_SENSE;
	ck_assert_int_eq(task.req.status, SCSI_CHECK_CONDITION);
	ck_assert_uint_eq(s[0], 0x70);
	ck_assert_uint_eq(s[7], SCSI_SENSE_MAX - 8);
	ck_assert_uint_eq(task.req.moved, 0);
	return (enum scsi_sense)(s[2] << 16 | s[12] << 8 | s[13]);
}

/* The byte that INVALID FIELD points at. */
static inline unsigned field(void)
{
	ck_assert(task.req.sense[15] & 0x80);
	return load_be16(&task.req.sense[16]);
}

#define GOOD(...) ck_assert_int_eq(CMD(__VA_ARGS__), SCSI_GOOD)
#define BAD(code, ...)                                         \
	do {                                                   \
		CMD(__VA_ARGS__);                              \
		ck_assert_uint_eq((unsigned)sense(), (unsigned)(code)); \
	} while (0)

static inline void start(struct scsi_unit *(*create)(const struct scsi_config *cfg, struct err *err))
{
	struct err err = ERR_INIT;

	unit = create(&cfg, &err);
	ck_assert_msg(unit != NULL, "%s", err.msg);
	scsi_unit_attach(unit, &fake_adapter, &disk);
	/* Power-on, which every test but one knows of. */
	BAD(SCSI_UA_POWER_ON, 0, 0, SCSI_TEST_UNIT_READY, 0, 0, 0, 0, 0);
}

#endif
