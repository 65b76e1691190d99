/* SPDX-License-Identifier: MIT */
/*
 * A hostile virtio-blk driver. The input is a script of records, each a byte that says what and a few that say how: write
 * descriptors, rings and request bytes anywhere in guest memory, ring a doorbell, let the disk end some requests or fail one, reset, write
 * the configuration. The disk checks that what reaches it is inside guest memory and the file; nothing may be in flight after a reset.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blk/blockdev.h"
#include "hw/virtio.h"
#include "hw/virtio_blk_priv.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/guest_mem.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define MEM_SIZE (64 * KIB)
#define DISK_SIZE (256 * KIB)
#define QUEUES 2
#define QUEUE_SIZE 16
#define DESC(q) (0x1000 + (q) * 0x1000)
#define AVAIL(q) (DESC(q) + 0x400)
#define USED(q) (DESC(q) + 0x800)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct guest_mem *mem;
	struct eventloop *loop;
	struct virtio_dev *dev;
	struct blockdev bd;
	struct blk_req *first, **last;
	bool fail;
} fz;

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_virtio_blk: broken promise: %s\n", what);
	abort();
}

static void disk_submit(struct blockdev *bd, struct blk_req *req)
{
	const uint8_t *base = gm_map(fz.mem, 0, MEM_SIZE);
	uint64_t sum = 0;

	(void)bd;
	for (size_t i = 0; i < req->n; i++) {
		const uint8_t *p = req->iov[i].iov_base;

		require(req->iov[i].iov_len == 0 || (p >= base && range_ok((uint64_t)(p - base), req->iov[i].iov_len, MEM_SIZE)), "a buffer");
		sum += req->iov[i].iov_len;
	}
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
		if (req->op == BLK_READ)
			for (size_t i = 0; i < req->n; i++)
				memset(req->iov[i].iov_base, 0xaa, req->iov[i].iov_len);
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

/* Runs what is posted, and what that posts. */
static void turn(void)
{
	struct event_work end = { .run = stop, .opaque = fz.loop };

	for (int i = 0; i < 3; i++) {
		eventloop_post(fz.loop, &end);
		eventloop_run(fz.loop);
	}
}

static void start(uint64_t features)
{
	virtio_set_status(fz.dev, 0);
	require(CONTAINER_OF(fz.dev, struct vblk, dev)->in_flight == 0 && !fz.first, "nothing in flight after a reset");
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

/* A write failed and is kept. Nobody stops this guest, which is worse. */
static void on_request(void *machine, enum vm_request what, int status)
{
	(void)machine;
	require(what == VM_REQUEST_IO_ERROR && status == 0, "a request of the machine's");
}

static void setup(void)
{
	const struct gm_range ram = { 0, MEM_SIZE };
	struct virtio_blk_config cfg = { .name = "disk", .bd = &fz.bd, .queues = QUEUES, .queue_size = QUEUE_SIZE, .write_cache = true,
					 .config_wce = true, .discard = true, .write_zeroes = true, .write_error = VIRTIO_BLK_STOP };
	struct device_env env = { .link = { .request = on_request } };
	struct err err = ERR_INIT;

	log_set_level(LOG_LEVEL_NONE);
	fz.mem = gm_create(&ram, 1, &err);
	fz.loop = eventloop_create(&err);
	require(fz.mem && fz.loop, "memory and a loop");
	fz.last = &fz.first;
	fz.bd = (struct blockdev){ .ops = &disk_ops, .name = (char[]){ "fuzz" }, .loop = fz.loop, .size = DISK_SIZE, .request_align = 512,
				   .discard = true, .write_zeroes = true, .write_cache = true };
	env.loop = fz.loop;
	env.mem = fz.mem;
	fz.dev = virtio_blk_create(&env, &cfg, &err);
	require(fz.dev != NULL, err.msg);
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

static void kick(void *arg)
{
	unsigned q = *(unsigned *)arg;

	if (fz.dev->active)
		fz.dev->ops->kick(fz.dev, q);
}

static void step(struct script *s)
{
	uint8_t op = (uint8_t)take(s, 1), bytes[32];
	unsigned q = op >> 7, n;
	uint16_t idx;

	switch (op & 7) {
	case 0: /* a descriptor */
		n = take(s, 1) % QUEUE_SIZE;
		store_le64(bytes, take(s, 2));
		store_le32(bytes + 8, (uint32_t)take(s, 2));
		store_le16(bytes + 12, (uint16_t)take(s, 1));
		store_le16(bytes + 14, (uint16_t)take(s, 1) % (QUEUE_SIZE + 1));
		gm_write(fz.mem, DESC(q) + n * 16, bytes, 16);
		break;
	case 1: /* available */
		gm_read(fz.mem, AVAIL(q) + 2, bytes, 2);
		idx = load_le16(bytes);
		store_le16(bytes + 2, (uint16_t)take(s, 1));
		gm_write(fz.mem, AVAIL(q) + 4 + idx % QUEUE_SIZE * 2, bytes + 2, 2);
		store_le16(bytes, idx + 1);
		gm_write(fz.mem, AVAIL(q) + 2, bytes, 2);
		break;
	case 2: /* bytes anywhere */
		n = (unsigned)take(s, 2);
		for (unsigned i = 0; i < 16; i++)
			bytes[i] = (uint8_t)take(s, 1);
		gm_write(fz.mem, n, bytes, 16);
		break;
	case 3:
		eventloop_call_sync(fz.loop, kick, &q);
		turn();
		break;
	case 4:
		fz.fail = op & 8;
		disk_run(op >> 4);
		turn();
		if (op >> 4 == 15)
			fz.dev->ops->resume(fz.dev);
		break;
	case 5:
		start(BIT64(32) | take(s, 5));
		break;
	case 6:
		bytes[0] = (uint8_t)take(s, 1);
		fz.dev->ops->config_write(fz.dev, (op >> 3) % 60, bytes, 1);
		break;
	case 7: /* a header */
		store_le32(bytes, (uint32_t)take(s, 1));
		store_le32(bytes + 4, 0);
		store_le64(bytes + 8, take(s, op & 8 ? 8 : 2));
		gm_write(fz.mem, take(s, 2), bytes, 16);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = { data, size };

	if (!fz.mem)
		setup();
	gm_fill(fz.mem, 0, 0, MEM_SIZE);
	start(UINT64_MAX);
	while (s.left)
		step(&s);
	virtio_set_status(fz.dev, 0);
	require(CONTAINER_OF(fz.dev, struct vblk, dev)->in_flight == 0 && !fz.first, "nothing in flight at the end");
	return 0;
}
