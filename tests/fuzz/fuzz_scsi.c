/* SPDX-License-Identifier: MIT */
/*
 * SCSI units and a driver that says anything: commands with any bytes and lengths, parameters, aborts, resets, a disk that fails, trays
 * that move and media that are changed meanwhile. The disk checks that what reaches it is inside the request's buffers and the file; every
 * request ends once, and moves no more than it has room for.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hw/scsi.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define DISK_SIZE (256 * KIB)
#define TASKS 16
#define BUFFER 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct task {
	struct scsi_req req;
	struct iovec out[2], in[2];
	uint8_t out_data[BUFFER], in_data[BUFFER];
	bool busy;
};

static struct {
	struct eventloop *loop;
	struct blockdev bd;
	struct blk_req *first, **last;
	bool fail;
	struct scsi_unit *unit;
	struct task tasks[TASKS];
} fz;

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_scsi: broken promise: %s\n", what);
	abort();
}

static void disk_submit(struct blockdev *bd, struct blk_req *req)
{
	uint64_t sum = 0;

	(void)bd;
	for (size_t i = 0; i < req->n; i++)
		sum += req->iov[i].iov_len;
	require(req->op == BLK_FLUSH || range_ok(req->off, req->len, DISK_SIZE), "a range of the file");
	require((req->op != BLK_READ && req->op != BLK_WRITE) || sum == req->len, "the buffers' length");
	req->next = NULL;
	*fz.last = req;
	fz.last = &req->next;
}

static void disk_run(unsigned n)
{
	while (fz.first && n--) {
		struct blk_req *req = fz.first;
		int result = fz.fail ? -EIO : 0;

		fz.first = req->next;
		if (!fz.first)
			fz.last = &fz.first;
		/* The sanitizer looks at whose memory it is. */
		for (size_t i = 0; i < req->n; i++)
			if (req->op == BLK_READ)
				memset(req->iov[i].iov_base, 0, req->iov[i].iov_len);
		fz.fail = false;
		blockdev_complete(&fz.bd, req, result);
	}
}

static void disk_drain(struct blockdev *bd)
{
	(void)bd;
	disk_run(UINT32_MAX);
}

static const struct blockdev_ops disk_ops = { .format = "fuzz", .submit = disk_submit, .drain = disk_drain };

static void stop(void *opaque)
{
	eventloop_stop(opaque);
}

static void turn(void)
{
	struct event_work end = { .run = stop, .opaque = fz.loop };

	for (int i = 0; i < 2; i++) {
		eventloop_post(fz.loop, &end);
		eventloop_run(fz.loop);
	}
}

static void done(struct scsi_req *req)
{
	struct task *t = CONTAINER_OF(req, struct task, req);

	require(t->busy, "a request ends once");
	require(req->moved <= req->in_len + req->out_len, "no more is moved than there is room for");
	require(req->aborted || req->overrun || (req->status == SCSI_CHECK_CONDITION) == (req->sense_len != 0), "sense data come with their status");
	t->busy = false;
}

static void changed(void *adapter, struct scsi_unit *unit, enum scsi_sense what)
{
	(void)adapter;
	require(unit == fz.unit && what >> 16 == 6, "an event");
}

static size_t luns(void *adapter, const struct scsi_req *req, uint8_t (*out)[8], size_t max)
{
	(void)adapter;
	(void)req;
	memset(out, 0, 8 * max);
	return max;
}

static const struct scsi_adapter_ops adapter = { .changed = changed, .luns = luns };

static void on_request(void *machine, enum vm_request what, int status)
{
	(void)machine;
	require(what == VM_REQUEST_IO_ERROR && status == 0, "a request of the machine's");
}

static void create(uint8_t how)
{
	struct scsi_config cfg = { .name = "unit", .bd = how & 2 ? NULL : &fz.bd, .removable = how & 6, .write_cache = how & 8, .serial = "S",
				   .wwn = 5, .logical_block = how & 16 ? 4096 : 512, .write_error = how & 32 ? VIRTIO_BLK_STOP : VIRTIO_BLK_REPORT,
				   .link = { .request = on_request } };
	struct err err = ERR_INIT;

	fz.bd = (struct blockdev){ .ops = &disk_ops, .name = (char[]){ "fuzz" }, .loop = fz.loop, .size = DISK_SIZE, .request_align = 512,
				   .discard = !(how & 64), .write_zeroes = !(how & 128), .write_cache = true, .read_only = how & 1 };
	fz.first = NULL;
	fz.last = &fz.first;
	fz.fail = false;
	fz.unit = how & 1 ? scsi_cd_create(&cfg, &err) : scsi_disk_create(&cfg, &err);
	require(fz.unit != NULL, err.msg);
	scsi_unit_attach(fz.unit, &adapter, NULL);
}

struct script {
	const uint8_t *p;
	size_t left;
};

static unsigned take(struct script *s)
{
	if (!s->left)
		return 0;
	s->left--;
	return *s->p++;
}

static void command(struct script *s, uint8_t op)
{
	struct task *t = &fz.tasks[op >> 4];
	unsigned n = take(s) % (SCSI_CDB_MAX + 1), pick = take(s), out = 0, in = 0, data;

	if (t->busy)
		return;
	memset(&t->req, 0, sizeof(t->req));
	for (unsigned i = 0; i < n; i++)
		t->req.cdb[i] = (uint8_t)take(s);
	if (pick & 1)
		out = take(s) << 5 | (pick >> 3);
	else
		in = take(s) << 5 | (pick >> 3);
	for (data = 0; data < out && data < 64 && s->left; data++)
		t->out_data[data] = (uint8_t)take(s);
	memset(t->out_data + data, 0, out - data);
	t->out[0] = (struct iovec){ t->out_data, out / 2 };
	t->out[1] = (struct iovec){ t->out_data + out / 2, out - out / 2 };
	t->in[0] = (struct iovec){ t->in_data, in / 3 };
	t->in[1] = (struct iovec){ t->in_data + in / 3, in - in / 3 };
	t->req.out = t->out;
	t->req.in = t->in;
	t->req.n_out = t->req.n_in = 2;
	t->req.out_len = out;
	t->req.in_len = in;
	t->req.attr = (enum scsi_attr)((pick >> 1 & 3) % 3);
	t->req.tag = op >> 4;
	t->req.unit = fz.unit;
	t->req.done = done;
	t->busy = true;
	scsi_submit(&t->req);
}

static bool match(const struct scsi_req *req, const void *arg)
{
	return req->tag == *(const uint64_t *)arg;
}

static void tray(uint8_t op)
{
	struct err err = ERR_INIT;
	struct blockdev *bd;

	switch (op >> 4) {
	case 0:
	case 1:
		scsi_tray_open(fz.unit, op >> 4);
		break;
	case 2:
		scsi_tray_close(fz.unit);
		break;
	case 3:
		if (scsi_medium_take(fz.unit, &bd) == 0 && bd)
			require(bd == &fz.bd && !fz.first, "a medium that is taken out has nothing in flight");
		break;
	default:
		scsi_medium_put(fz.unit, &fz.bd, &err);
		break;
	}
}

static void step(struct script *s)
{
	static const enum scsi_sense resets[] = { SCSI_UA_POWER_ON, SCSI_UA_LUN_RESET, SCSI_UA_NEXUS_LOSS, SCSI_UA_LUNS };
	uint8_t op = (uint8_t)take(s);
	uint64_t tag = op >> 4;

	switch (op & 7) {
	case 3:
		fz.fail = op & 8;
		disk_run(op >> 4);
		turn();
		break;
	case 4:
		scsi_abort(fz.unit, op & 8 ? SCSI_ABORTED_TASK : SCSI_ABORTED_BY_RESET, tag == 15 ? NULL : match, &tag);
		break;
	case 5:
		scsi_unit_reset(fz.unit, resets[op >> 4 & 3]);
		break;
	case 6:
		tray(op);
		break;
	case 7:
		if (op >> 4 == 0)
			scsi_unit_drain(fz.unit);
		else
			scsi_unit_retry(fz.unit);
		break;
	default:
		command(s, op);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = { data, size };
	struct err err = ERR_INIT;

	if (!fz.loop) {
		log_set_level(LOG_LEVEL_NONE);
		fz.loop = eventloop_create(&err);
		require(fz.loop != NULL, err.msg);
	}
	create((uint8_t)take(&s));
	while (s.left)
		step(&s);
	scsi_unit_drain(fz.unit);
	turn();
	for (unsigned i = 0; i < TASKS; i++)
		require(!fz.tasks[i].busy, "every request ends");
	scsi_unit_destroy(fz.unit);
	return 0;
}
