/* SPDX-License-Identifier: MIT */
/*
 * A qcow2 image from anybody: opened, looked at, checked, read, written to, repaired. The input is a list of places and bytes over a sound
 * image, so that header, tables, refcounts, snapshots and compressed data are reached; with a first byte of 0xff it is the file itself.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "blk/qcow2.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/iov.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define CAP (512u << 10)
#define SIZE (64u << 10)
#define BUF (64u << 10)
#define KINDS 8
#define FILES 3 /* at a time */

struct memory_file {
	struct blockdev bd;
	uint8_t *data;
	uint64_t high; /* all from here on is zero */
	bool open;
	struct blk_req *first, *last;
};

static struct {
	struct eventloop *loop;
	uint8_t *sound[KINDS];
	uint64_t sound_size[KINDS];
	uint8_t buf[BUF];
	struct memory_file files[FILES];
	uint8_t memory[FILES][CAP]; /* clearing what was used costs less than fresh memory each time */
} fz;

static int file_do(struct memory_file *f, const struct blk_req *req)
{
	struct iov_cursor c;

	if (req->op == BLK_FLUSH)
		return 0;
	if (req->off + req->len > CAP)
		return -ENOSPC;
	iov_cursor_init(&c, req->iov, req->op <= BLK_WRITE ? req->n : 0);
	if (req->op == BLK_WRITE)
		f->high = max_u64(f->high, req->off + req->len);
	if (req->op == BLK_READ)
		iov_cursor_write(&c, f->data + req->off, req->len);
	else if (req->op == BLK_WRITE)
		iov_cursor_read(&c, f->data + req->off, req->len);
	else if (req->op != BLK_STATUS)
		memset(f->data + req->off, 0, req->len);
	else
		*req->status = (struct blk_status){ .len = req->len, .flags = BLK_ST_ALLOCATED | BLK_ST_DATA };
	return 0;
}

static void file_submit(struct blockdev *bd, struct blk_req *req)
{
	struct memory_file *f = CONTAINER_OF(bd, struct memory_file, bd);

	req->next = NULL;
	if (f->first)
		f->last->next = req;
	else
		f->first = req;
	f->last = req;
}

static void file_drain(struct blockdev *bd)
{
	struct memory_file *f = CONTAINER_OF(bd, struct memory_file, bd);
	struct blk_req *req;

	while ((req = f->first)) {
		f->first = req->next;
		blockdev_complete(bd, req, file_do(f, req));
	}
}

static int file_truncate(struct blockdev *bd, uint64_t size, enum blk_prealloc prealloc)
{
	(void)bd, (void)prealloc;
	return size <= CAP ? 0 : -ENOSPC;
}

static void file_close(struct blockdev *bd)
{
	struct memory_file *f = CONTAINER_OF(bd, struct memory_file, bd);

	memset(f->data, 0, f->high);
	f->open = false;
}

static const struct blockdev_ops file_ops = {
	.format = "memory", .submit = file_submit, .drain = file_drain, .truncate = file_truncate, .close = file_close,
};

static struct memory_file *file_make(const uint8_t *data, uint64_t size)
{
	struct memory_file *f = fz.files;

	while (f->open)
		f++;
	*f = (struct memory_file){ .data = fz.memory[f - fz.files], .high = size, .open = true };
	if (size)
		memcpy(f->data, data, size);
	f->bd = (struct blockdev){ .ops = &file_ops, .name = strdup("fuzz"), .loop = fz.loop, .size = align_up(size, BLK_SECTOR),
				   .request_align = BLK_SECTOR, .physical_block = 512, .discard = true, .write_zeroes = true, .grows = true };
	return f;
}

static int no_child(void *opaque, enum qcow2_child which, const char *name, const char *format, struct blockdev **child, struct err *err)
{
	(void)opaque, (void)format;
	if (which == QCOW2_DATA_FILE) {
		*child = &file_make(NULL, 0)->bd;
		return 0;
	}
	*child = NULL;
	(void)name, (void)err;
	return 0;
}

static void ask(struct blockdev *bd)
{
	struct qcow2_snapshot_info *snaps;
	struct qcow2_bitmap_info *bitmaps;
	struct qcow2_check_result res;
	struct qcow2_info info;
	struct blk_status st;
	struct err err = ERR_INIT;
	int n;

	qcow2_info(bd, &info);
	n = qcow2_snapshots(bd, &snaps);
	qcow2_snapshots_free(snaps, n < 0 ? 0 : n);
	n = qcow2_bitmaps(bd, &bitmaps, &err);
	qcow2_bitmaps_free(bitmaps, n < 0 ? 0 : n);
	qcow2_check(bd, 0, NULL, NULL, &res, &err);
	for (uint64_t off = 0; off < min_u64(bd->size, SIZE); off += BUF)
		blockdev_do(bd, BLK_READ, 0, off, fz.buf, min_u64(BUF, bd->size - off));
	if (bd->size > 2 * SIZE) /* and its end */
		blockdev_do(bd, BLK_READ, 0, align_down(bd->size - BUF, BLK_SECTOR), fz.buf, BUF);
	if (bd->size)
		blockdev_status(bd, 0, bd->size, &st);
}

static void change(struct blockdev *bd, unsigned what)
{
	uint64_t off = align_down(min_u64((uint64_t)what << 10, bd->size / 2), BLK_SECTOR), len = min_u64(8192, align_down(bd->size - off, BLK_SECTOR));
	struct qcow2_check_result res;
	struct err err = ERR_INIT;

	memset(fz.buf, 0x77, 8192);
	blockdev_do(bd, BLK_WRITE, 0, off, fz.buf, len);
	blockdev_do(bd, BLK_WRITE, BLK_REQ_COMPRESSED, 4096, fz.buf, 4096);
	blockdev_do(bd, BLK_WRITE_ZEROES, BLK_REQ_UNMAP, off / 2 & ~511ull, NULL, len);
	blockdev_do(bd, BLK_DISCARD, 0, 0, NULL, len);
	blockdev_do(bd, BLK_FLUSH, 0, 0, NULL, 0);
	if (what & 1)
		qcow2_snapshot_create(bd, "new", &err);
	if (what & 2)
		qcow2_snapshot_apply(bd, "1", &err);
	if (what & 4)
		qcow2_snapshot_delete(bd, "1", &err);
	if (what & 8)
		blockdev_resize(bd, SIZE / 2 + (uint64_t)what * 512);
	if (what & 16)
		qcow2_check(bd, QCOW2_FIX_LEAKS | QCOW2_FIX_ERRORS, NULL, NULL, &res, &err);
}

static void put_be(uint8_t *p, uint64_t v, unsigned len)
{
	while (len--) {
		p[len] = (uint8_t)v;
		v >>= 8;
	}
}

/* A bitmap in the last clusters of a sound image of clusters of 4096 bytes with refcounts of 16 bits. */
static void bitmap_make(uint8_t *p, uint64_t *size)
{
	static const uint8_t end[8];
	uint64_t dir = *size;
	uint8_t *ext = p + 112;

	while (memcmp(ext, end, 4) != 0)
		ext += 8 + (((uint64_t)ext[6] << 8 | ext[7]) + 7) / 8 * 8;
	put_be(ext, 0x23852875, 4);
	put_be(ext + 4, 24, 4);
	put_be(ext + 8, 1, 4);
	put_be(ext + 16, 32, 8);
	put_be(ext + 24, dir, 8);
	put_be(ext + 32, 0, 8);
	put_be(p + 8, 0, 8);
	p[95] |= 1;
	put_be(p + dir, dir + 4096, 8);
	put_be(p + dir + 8, 1, 4);
	put_be(p + dir + 12, 2, 4);
	put_be(p + dir + 16, 0x01100002, 4);
	memcpy(p + dir + 24, "b0", 2);
	put_be(p + dir + 4096, dir + 8192, 8);
	*size += 3 * 4096;
}

static void sound_make(unsigned kind)
{
	const struct qcow2_create_config configs[KINDS] = {
		{ .size = SIZE, .cluster_size = 4096 }, { .size = SIZE, .cluster_size = 512, .version = 2 },
		{ .size = SIZE, .cluster_size = 16384, .extended_l2 = true, .compression = QCOW2_ZSTD },
		{ .size = SIZE, .cluster_size = 4096, .lazy_refcounts = true }, { .size = SIZE, .cluster_size = 1024, .refcount_bits = 1 },
		{ .size = SIZE, .cluster_size = 512, .refcount_bits = 64, .backing_file = "base", .backing_format = "raw" },
		{ .size = SIZE, .cluster_size = 4096, .data_file = "data" }, { .size = SIZE, .cluster_size = 4096, .backing_file = "base" },
	};
	struct qcow2_open_config cfg = { .open_child = no_child, .discard = BLK_DISCARD_UNMAP };
	struct qcow2_create_config create = configs[kind];
	struct memory_file *f = file_make(NULL, 0), *data = create.data_file ? file_make(NULL, 0) : NULL;
	struct err err = ERR_INIT;
	struct blockdev *bd;

	create.data = data ? &data->bd : NULL;
	if (qcow2_create(&f->bd, &create, &err) < 0)
		abort();
	if (data)
		blockdev_close(&data->bd);
	bd = qcow2_open(&f->bd, &cfg, &err);
	if (!bd)
		abort();
	change(bd, 1 | 64);
	blockdev_do(bd, BLK_WRITE, 0, 20 << 10, fz.buf, 4096);
	qcow2_snapshot_create(bd, "s", &err);
	blockdev_do(bd, BLK_WRITE, BLK_REQ_COMPRESSED, 32 << 10, fz.buf, kind == 2 ? 16384 : 4096);
	blockdev_do(bd, BLK_FLUSH, 0, 0, NULL, 0);
	fz.sound[kind] = calloc(1, CAP);
	fz.sound_size[kind] = f->bd.size;
	memcpy(fz.sound[kind], f->data, CAP);
	blockdev_close(bd);
	if (kind == KINDS - 1)
		bitmap_make(fz.sound[kind], &fz.sound_size[kind]);
}

static void setup(void)
{
	struct err err = ERR_INIT;

	log_set_level(LOG_LEVEL_NONE);
	fz.loop = eventloop_create(&err);
	for (unsigned i = 0; i < KINDS; i++)
		sound_make(i);
}

/* Changes of up to eight bytes: place (3 bytes), value (8 bytes), length. */
static struct memory_file *file_from(const uint8_t *p, size_t size)
{
	struct memory_file *f;
	unsigned kind;

	if (size && p[0] == 0xff)
		return file_make(p + 1, min_u64(size - 1, CAP));
	kind = size ? p[0] % KINDS : 0;
	f = file_make(fz.sound[kind], fz.sound_size[kind]);
	for (p++, size -= size != 0; size >= 12; p += 12, size -= 12) {
		uint32_t at = ((uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2]) % (uint32_t)(fz.sound_size[kind] - 8);

		memcpy(f->data + at, p + 3, p[11] % 9u);
	}
	return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned what = size > 1 ? data[size - 1] : 0;
	struct qcow2_open_config cfg = { .open_child = no_child, .discard = BLK_DISCARD_UNMAP, .read_only = what & 128, .repair = what & 64 };
	struct memory_file *f;
	struct err err = ERR_INIT;
	struct blockdev *bd;

	if (!fz.loop)
		setup();
	f = file_from(data, size);
	bd = qcow2_open(&f->bd, &cfg, &err);
	if (!bd) {
		blockdev_close(&f->bd);
		return 0;
	}
	ask(bd);
	if (!bd->read_only)
		change(bd, what);
	ask(bd);
	blockdev_close(bd);
	return 0;
}
