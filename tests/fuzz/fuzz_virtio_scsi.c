/* SPDX-License-Identifier: MIT */
/*
 * A hostile virtio-scsi driver. The input is a script, as for fuzz_virtio_blk: descriptors, rings and request bytes anywhere in guest memory,
 * doorbells, resets, configuration, task management, and units that come, go and change meanwhile. The disk checks that what reaches it is
 * inside guest memory and the file; nothing may be in flight after a reset.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hw/virtio_scsi_priv.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/guest_mem.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define MEM_SIZE (64 * KIB)
#define DISK_SIZE (256 * KIB)
#define QUEUES 4
#define QUEUE_SIZE 16
#define DESC(q) (0x1000 + (q) * 0x1000)
#define AVAIL(q) (DESC(q) + 0x400)
#define USED(q) (DESC(q) + 0x800)
#define REQUEST 0x8000 /* where well-formed requests are */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct guest_mem *mem;
	struct eventloop *loop;
	struct virtio_dev *dev;
	struct scsi_unit *cd;
	bool removed;
	struct blockdev bds[2];
	struct blk_req *first, **last;
	bool fail;
} fz;

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_virtio_scsi: broken promise: %s\n", what);
	abort();
}

static struct vscsi *vscsi(void)
{
	return CONTAINER_OF(fz.dev, struct vscsi, dev);
}

static void disk_submit(struct blockdev *bd, struct blk_req *req)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < req->n; i++)
		sum += req->iov[i].iov_len;
	require(req->op == BLK_FLUSH || range_ok(req->off, req->len, DISK_SIZE), "a range of the file");
	require((req->op != BLK_READ && req->op != BLK_WRITE) || sum == req->len, "the buffers' length");
	req->layer = bd;
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
		if (req->op == BLK_READ)
			for (size_t i = 0; i < req->n; i++)
				memset(req->iov[i].iov_base, 0xaa, req->iov[i].iov_len);
		fz.fail = false;
		blockdev_complete(req->layer, req, result);
	}
}

static void disk_drain(struct blockdev *bd)
{
	(void)bd;
	disk_run(UINT32_MAX);
}

static const struct blockdev_ops disk_ops = { .format = "fuzz", .submit = disk_submit, .drain = disk_drain };

static void notify_queue(void *transport, unsigned q)
{
	(void)transport;
	require(q < QUEUES, "a queue");
}

static void notify_config(void *transport)
{
	(void)transport;
}

static const struct virtio_transport_ops transport_ops = { .notify_queue = notify_queue, .notify_config = notify_config };

static void stop(void *opaque)
{
	eventloop_stop(opaque);
}

static void turn(void)
{
	struct event_work end = { .run = stop, .opaque = fz.loop };

	for (int i = 0; i < 3; i++) {
		eventloop_post(fz.loop, &end);
		eventloop_run(fz.loop);
	}
}

static void require_idle(void)
{
	require(vscsi()->in_flight == 0 && !fz.first && !vscsi()->pending, "nothing in flight after a reset");
}

static void start(uint64_t features)
{
	virtio_set_status(fz.dev, 0);
	require_idle();
	turn();
	virtio_set_status(fz.dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	virtio_choose(fz.dev, features & virtio_offered(fz.dev, false));
	virtio_set_status(fz.dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
	for (unsigned q = 0; q < QUEUES; q++) {
		fz.dev->queues[q].set = (struct virtq_config){
			.size = QUEUE_SIZE,
			.desc = DESC(q),
			.avail = AVAIL(q),
			.used = USED(q),
			.indirect = virtio_has(fz.dev, VIRTIO_F_INDIRECT_DESC),
			.event_idx = virtio_has(fz.dev, VIRTIO_F_EVENT_IDX),
		};
		fz.dev->queues[q].enabled = true;
		gm_fill(fz.mem, AVAIL(q), 0, 0x400);
		gm_fill(fz.mem, USED(q), 0, 0x400);
	}
	virtio_set_status(fz.dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
}

static void on_request(void *machine, enum vm_request what, int status)
{
	(void)machine;
	require(what == VM_REQUEST_IO_ERROR && status == 0, "a request of the machine's");
}

static void setup(void)
{
	const struct gm_range ram = { 0, MEM_SIZE };
	struct virtio_scsi_config cfg = { .name = "scsi0", .queues = QUEUES - 2, .queue_size = QUEUE_SIZE };
	struct scsi_config unit = { .name = "unit", .write_cache = true, .write_error = VIRTIO_BLK_STOP, .link = { .request = on_request } };
	struct device_env env = { .link = { .request = on_request } };
	struct err err = ERR_INIT;

	log_set_level(LOG_LEVEL_NONE);
	fz.mem = gm_create(&ram, 1, &err);
	fz.loop = eventloop_create(&err);
	require(fz.mem && fz.loop, "memory and a loop");
	fz.last = &fz.first;
	for (unsigned i = 0; i < 2; i++)
		fz.bds[i] = (struct blockdev){ .ops = &disk_ops, .name = (char[]){ "fuzz" }, .loop = fz.loop, .size = DISK_SIZE, .request_align = 512,
					       .discard = true, .write_zeroes = true, .write_cache = true, .read_only = i };
	env.mem = fz.mem;
	cfg.loop = fz.loop;
	fz.dev = virtio_scsi_create(&env, &cfg, &err);
	require(fz.dev != NULL, err.msg);
	unit.bd = &fz.bds[0];
	require(virtio_scsi_add_unit(fz.dev, scsi_disk_create(&unit, &err), &err) == 0, err.msg);
	unit.bd = &fz.bds[1];
	unit.lun = 1;
	fz.cd = scsi_cd_create(&unit, &err);
	require(virtio_scsi_add_unit(fz.dev, fz.cd, &err) == 0, err.msg);
	fz.dev->transport_ops = &transport_ops;
}

struct script {
	const uint8_t *p;
	size_t left;
};

static uint64_t take(struct script *s, unsigned n)
{
	uint64_t v = 0;

	for (; n && s->left; n--, s->left--)
		v = v << 8 | *s->p++;
	return v;
}

static void make_available(unsigned q, uint16_t head)
{
	uint8_t bytes[4];
	uint16_t idx;

	gm_read(fz.mem, AVAIL(q) + 2, bytes, 2);
	idx = load_le16(bytes);
	store_le16(bytes, head);
	gm_write(fz.mem, AVAIL(q) + 4 + idx % QUEUE_SIZE * 2, bytes, 2);
	store_le16(bytes, idx + 1);
	gm_write(fz.mem, AVAIL(q) + 2, bytes, 2);
}

static void put_desc(unsigned q, unsigned n, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	uint8_t bytes[16];

	store_le64(bytes, addr);
	store_le32(bytes + 8, len);
	store_le16(bytes + 12, flags);
	store_le16(bytes + 14, next);
	gm_write(fz.mem, DESC(q) + n * 16, bytes, 16);
}

/* A request of three buffers that is right but for its command. */
static void put_request(struct script *s, unsigned q)
{
	unsigned slot = take(s, 1) % 5, lun = take(s, 1), len = (unsigned)take(s, 2) % 0x800;
	uint64_t at = REQUEST + slot * 0x1000;
	uint8_t head[19 + 32] = { 1, 0, 0x40, lun & 3 };
	bool write = lun & 0x80;

	head[8] = (uint8_t)slot;
	head[16] = lun >> 4 & 3;
	for (unsigned i = 0; i < 16; i++)
		head[19 + i] = (uint8_t)take(s, 1);
	gm_write(fz.mem, at, head, sizeof(head));
	put_desc(q, slot * 3, at, sizeof(head), 1, (uint16_t)(slot * 3 + 1));
	put_desc(q, slot * 3 + 1, at + (write ? 0x400 : 0x100), write ? len : 108, write ? 1 : 3, (uint16_t)(slot * 3 + 2));
	put_desc(q, slot * 3 + 2, at + (write ? 0x100 : 0x400), write ? 108 : len, 2, 0);
	make_available(q, (uint16_t)(slot * 3));
}

static void put_tmf(struct script *s)
{
	uint8_t tmf[24] = { 0 };
	unsigned slot = take(s, 1) % 8;
	uint64_t at = 0xf000 + slot * 64;

	tmf[0] = take(s, 1) & 3;
	tmf[4] = (uint8_t)take(s, 1) % 9;
	tmf[8] = 1;
	tmf[10] = 0x40;
	tmf[11] = take(s, 1) & 3;
	tmf[16] = take(s, 1) & 7;
	gm_write(fz.mem, at, tmf, sizeof(tmf));
	put_desc(0, slot * 2, at, sizeof(tmf), 1, (uint16_t)(slot * 2 + 1));
	put_desc(0, slot * 2 + 1, at + 32, 8, 2, 0);
	make_available(0, (uint16_t)(slot * 2));
}

static void kick(void *arg)
{
	unsigned q = *(unsigned *)arg;

	if (fz.dev->active)
		fz.dev->ops->kick(fz.dev, q);
}

static void units(unsigned how)
{
	struct err err = ERR_INIT;
	struct blockdev *bd;

	switch (how & 7) {
	case 0:
		if (!fz.removed)
			virtio_scsi_remove_unit(fz.dev, fz.cd);
		else
			virtio_scsi_add_unit(fz.dev, fz.cd, &err);
		fz.removed = !fz.removed;
		break;
	case 1:
		scsi_tray_open(fz.cd, how & 8);
		break;
	case 2:
		scsi_tray_close(fz.cd);
		break;
	case 3:
		scsi_medium_take(fz.cd, &bd);
		break;
	case 4:
		scsi_medium_put(fz.cd, &fz.bds[1], &err);
		break;
	default:
		fz.bds[0].resized(fz.bds[0].resized_opaque);
		break;
	}
}

static void step(struct script *s)
{
	uint8_t op = (uint8_t)take(s, 1), bytes[32];
	unsigned q = op >> 6, n;

	switch (op & 15) {
	case 0: /* a descriptor */
		n = (unsigned)take(s, 1) % QUEUE_SIZE;
		store_le64(bytes, take(s, 2));
		put_desc(q, n, load_le64(bytes), (uint32_t)take(s, 2), (uint16_t)take(s, 1), (uint16_t)(take(s, 1) % (QUEUE_SIZE + 1)));
		break;
	case 1:
		make_available(q, (uint16_t)take(s, 1));
		break;
	case 2: /* bytes anywhere */
		n = (unsigned)take(s, 2);
		for (unsigned i = 0; i < 16; i++)
			bytes[i] = (uint8_t)take(s, 1);
		gm_write(fz.mem, n, bytes, 16);
		break;
	case 3:
	case 4:
		eventloop_call_sync(fz.loop, kick, &q);
		turn();
		break;
	case 5:
		fz.fail = op & 16;
		disk_run(op >> 5);
		turn();
		if (op >> 5 == 7)
			fz.dev->ops->resume(fz.dev);
		break;
	case 6:
		start(BIT64(32) | take(s, 5));
		break;
	case 7:
		bytes[0] = (uint8_t)take(s, 1);
		fz.dev->ops->config_write(fz.dev, 20 + (op >> 4) % 8, bytes, 1);
		break;
	case 8:
		units(op >> 4);
		break;
	case 9:
	case 10:
		put_tmf(s);
		break;
	default:
		put_request(s, 2 + (q & 1));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = { data, size };
	struct err err = ERR_INIT;

	if (!fz.mem)
		setup();
	gm_fill(fz.mem, 0, 0, MEM_SIZE);
	start(UINT64_MAX);
	while (s.left)
		step(&s);
	virtio_set_status(fz.dev, 0);
	require_idle();
	if (fz.removed)
		require(virtio_scsi_add_unit(fz.dev, fz.cd, &err) == 0, err.msg);
	fz.removed = false;
	scsi_tray_open(fz.cd, true);
	scsi_medium_put(fz.cd, &fz.bds[1], &err);
	scsi_tray_close(fz.cd);
	turn();
	return 0;
}
