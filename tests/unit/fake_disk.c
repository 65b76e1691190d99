/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_disk.h"

#include <check.h>
#include <string.h>

#include "tests/unit/fake_frontend.h"
#include "vmm/iov.h"
#include "vmm/util.h"

static int disk_do(struct fake_disk *disk, const struct blk_req *req)
{
	struct iov_cursor c;

	if (disk->error)
		return disk->error;
	if (req->op == BLK_READ || req->op == BLK_WRITE)
		iov_cursor_init(&c, req->iov, req->n);
	if (req->op == BLK_READ)
		iov_cursor_write(&c, disk->data + req->off, req->len);
	else if (req->op == BLK_WRITE)
		iov_cursor_read(&c, disk->data + req->off, req->len);
	else if (req->op != BLK_FLUSH)
		memset(disk->data + req->off, 0, req->len);
	return 0;
}

void fake_disk_release(struct fake_disk *disk)
{
	struct blk_req *req = disk->held;

	ck_assert_ptr_nonnull(req);
	disk->held = req->next;
	if (!disk->held)
		disk->held_end = &disk->held;
	disk->n_held--;
	blockdev_complete(&disk->bd, req, disk_do(disk, req));
}

static void disk_release_all(void *opaque)
{
	struct fake_disk *disk = opaque;

	while (disk->held)
		fake_disk_release(disk);
}

static void disk_submit(struct blockdev *bd, struct blk_req *req)
{
	struct fake_disk *disk = CONTAINER_OF(bd, struct fake_disk, bd);

	disk->n_submitted++;
	if (disk->at_once) {
		blockdev_complete(bd, req, disk_do(disk, req));
		return;
	}
	req->next = NULL;
	*disk->held_end = req;
	disk->held_end = &req->next;
	disk->n_held++;
	if (!disk->hold)
		eventloop_post(bd->loop, &disk->work);
}

static void disk_drain(struct blockdev *bd)
{
	disk_release_all(CONTAINER_OF(bd, struct fake_disk, bd));
}

static int disk_resize(struct blockdev *bd, uint64_t size)
{
	(void)bd;
	return size <= FAKE_DISK_SIZE ? 0 : -28;
}

static void disk_close(struct blockdev *bd)
{
	struct fake_disk *disk = CONTAINER_OF(bd, struct fake_disk, bd);

	eventloop_cancel_work(bd->loop, &disk->work);
	disk->closed = true;
}

static const struct blockdev_ops disk_ops = {
	.format = "fake", .submit = disk_submit, .drain = disk_drain, .resize = disk_resize, .close = disk_close,
};

void fake_disk_init(struct fake_disk *disk, struct eventloop *loop)
{
	memset(disk, 0, sizeof(*disk));
	disk->bd = (struct blockdev){
		.ops = &disk_ops,
		.name = strdup("fake.img"),
		.loop = loop,
		.size = FAKE_DISK_SIZE,
		.request_align = BLK_SECTOR,
		.physical_block = BLK_SECTOR,
		.discard = true,
		.write_zeroes = true,
	};
	disk->held_end = &disk->held;
	disk->work = (struct event_work){ .run = disk_release_all, .opaque = disk };
}

static void fake_req_done(struct blk_req *req, int result)
{
	struct fake_req *r = CONTAINER_OF(req, struct fake_req, req);

	r->result = result;
	r->times++;
}

void fake_req_start(struct blockdev *bd, struct fake_req *r, enum blk_op op, void *buf, uint64_t len, uint64_t off)
{
	*r = (struct fake_req){ .iov = { buf, len } };
	r->req = (struct blk_req){ .op = op, .off = off, .len = len, .iov = &r->iov, .n = 1, .done = fake_req_done };
	blockdev_submit(bd, &r->req);
	ck_assert_uint_eq(r->times, 0); /* never inside */
}

static bool req_is_done(void *arg)
{
	return ((struct fake_req *)arg)->times > 0;
}

int fake_req_wait(struct blockdev *bd, struct fake_req *r)
{
	fake_run_until(bd->loop, req_is_done, r);
	ck_assert_uint_eq(r->times, 1);
	return r->result;
}

int fake_req_run(struct blockdev *bd, enum blk_op op, const void *buf, uint64_t len, uint64_t off)
{
	struct fake_req r;

	fake_req_start(bd, &r, op, (void *)buf, len, off);
	return fake_req_wait(bd, &r);
}
