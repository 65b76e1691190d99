/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_import.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/endian.h"
#include "vmm/iov.h"
#include "vmm/util.h"

static void image_submit(struct blockdev *bd, struct blk_req *req)
{
	struct fake_image *image = CONTAINER_OF(bd, struct fake_image, bd);
	bool fails = image->error && req->off <= image->error_at && image->error_at - req->off < req->len;
	struct iov_cursor c;

	ck_assert_int_eq(req->op, BLK_READ);
	image->n_reads++;
	iov_cursor_init(&c, req->iov, req->n);
	iov_cursor_write(&c, image->data + req->off, req->len);
	blockdev_complete(bd, req, fails ? image->error : 0);
}

static void image_drain(struct blockdev *bd)
{
	(void)bd;
}

static void image_close(struct blockdev *bd)
{
	struct fake_image *image = CONTAINER_OF(bd, struct fake_image, bd);

	free(image->data);
	free(image);
}

static const struct blockdev_ops image_ops = { .format = "raw", .submit = image_submit, .drain = image_drain, .close = image_close };

struct fake_image *fake_image_create(struct eventloop *loop, const char *name, size_t size)
{
	struct fake_image *image = calloc(1, sizeof(*image));

	image->bd = (struct blockdev){ .ops = &image_ops, .name = strdup(name), .loop = loop, .size = size, .request_align = BLK_SECTOR,
				       .read_only = true };
	image->data = calloc(1, size);
	return image;
}

void fake_image_close(struct fake_image *image)
{
	blockdev_close(&image->bd);
}

void fake_be(uint8_t *p, uint64_t value, unsigned size)
{
	while (size--) {
		p[size] = (uint8_t)value;
		value >>= 8;
	}
}

static void sector_make(uint8_t *p, uint64_t off, uint8_t mark)
{
	memset(p, mark, BLK_SECTOR);
	store_le64(p, off);
}

void fake_image_mark(struct fake_image *image, uint64_t off, size_t len, uint8_t mark)
{
	for (size_t i = 0; i < len; i += BLK_SECTOR)
		sector_make(image->data + off + i, off + i, mark);
}

void fake_image_expect(struct blockdev *bd, uint64_t off, size_t len, uint64_t at, uint8_t mark)
{
	uint8_t *buf = malloc(len), sector[BLK_SECTOR];

	ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, off, buf, len), 0);
	for (size_t i = 0; i < len; i += BLK_SECTOR) {
		sector_make(sector, at + i, mark);
		ck_assert_mem_eq(buf + i, sector, BLK_SECTOR);
	}
	free(buf);
}

void fake_image_expect_zero(struct blockdev *bd, uint64_t off, size_t len)
{
	uint8_t *buf = malloc(len);

	memset(buf, 0xee, len);
	ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, off, buf, len), 0);
	for (size_t i = 0; i < len; i++)
		ck_assert_uint_eq(buf[i], 0);
	free(buf);
}

void fake_image_expect_status(struct blockdev *bd, uint64_t off, uint64_t ask, uint64_t len, unsigned flags)
{
	struct blk_status st = { .len = 0 };

	ck_assert_int_eq(blockdev_status(bd, off, ask, &st), 0);
	ck_assert_uint_eq(st.len, len);
	ck_assert_uint_eq(st.flags, flags);
}

void fake_image_refuse(struct eventloop *loop, fake_open_fn *open, struct fake_image *(*build)(struct eventloop *loop),
		       void (*fix)(struct fake_image *image), const struct fake_patch *patches, size_t n)
{
	static const struct import_config cfg = { .trusted = true };

	for (size_t i = 0; i < n; i++) {
		struct fake_image *image = build(loop);
		struct err err = ERR_INIT;
		struct blockdev *bd;

		if (patches[i].big)
			fake_be(image->data + patches[i].off, patches[i].value, patches[i].size);
		else
			store_le(image->data + patches[i].off, patches[i].value, patches[i].size);
		if (fix)
			fix(image);
		bd = open(&image->bd, &cfg, &err);
		if (patches[i].says) {
			ck_assert_msg(!bd, "patch %zu: opened", i);
			ck_assert_int_lt(err.code, 0);
			ck_assert_msg(strstr(err.msg, patches[i].says) && strstr(err.msg, "image"), "patch %zu: %s", i, err.msg);
			fake_image_close(image);
		} else {
			ck_assert_msg(bd != NULL, "patch %zu: %s", i, err.msg);
			blockdev_close(bd);
		}
	}
}
