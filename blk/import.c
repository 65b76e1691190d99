/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * A request runs in a coroutine: it asks the format where the next bytes are, reads them there and goes on, until it is done. The format
 * reads its tables through a small cache of pages, so a table of any size costs the same memory. Neighbouring pieces that are
 * neighbours in the file too are read as one.
 *
 * These formats could have come from libvmdk and libvhdi, which Debian has. They were decided against: both are alpha versions with
 * years between releases, bring a dozen libyal libraries each, know neither VHDX well nor VDI at all, and do blocking I/O of their own on
 * files that they open themselves, past Kite's locks. What is needed of the formats for reading is a few hundred lines.
 */
#include "blk/import.h"

#include <errno.h>
#include <libdeflate.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/co.h"
#include "vmm/err.h"
#include "vmm/iov.h"
#include "vmm/util.h"

#define REQUESTS 32 /* at a time */

struct task {
	struct co_task co;
	struct import *im;
	struct blk_req *req;
};

/* Reading from the files below */

struct below {
	struct blk_req req;
	struct co *co;
	int result;
};

static void below_done(struct blk_req *req, int result)
{
	struct below *b = CONTAINER_OF(req, struct below, req);

	b->result = result;
	co_wake(b->co);
}

/* `off` and `len` are sectors' multiples and inside the file. */
static int below_read(struct import *im, struct blockdev *file, uint64_t off, const struct iovec *iov, size_t n, uint64_t len)
{
	struct below b = { .req = { .op = BLK_READ, .off = off, .len = len, .iov = iov, .n = n, .done = below_done } };

	b.co = im->pool ? co_self(im->pool) : NULL;
	if (!b.co)
		return n == 1 ? blockdev_do(file, BLK_READ, 0, off, iov->iov_base, len) : -EINVAL;
	blockdev_submit(file, &b.req);
	co_wait(im->pool);
	return b.result;
}

static struct import_page *page_find(struct import *im, const struct blockdev *file, uint64_t off)
{
	for (unsigned i = 0; i < IMPORT_PAGES; i++)
		if (im->pages[i].data && im->pages[i].file == file && im->pages[i].off == off)
			return &im->pages[i];
	return NULL;
}

/* Reads a page and puts it in the place of the one not used for longest. Others run meanwhile, and may have done the same. */
static int page_load(struct import *im, struct blockdev *file, uint64_t off, struct import_page **out)
{
	size_t len = (size_t)min_u64(IMPORT_PAGE, file->size - off);
	struct import_page *page = &im->pages[0];
	uint8_t *data;
	int rc;

	if (posix_memalign((void **)&data, 4096, IMPORT_PAGE) != 0)
		return -ENOMEM;
	rc = below_read(im, file, off, &(struct iovec){ data, len }, 1, len);
	if (rc < 0) {
		free(data);
		return rc;
	}
	for (unsigned i = 1; i < IMPORT_PAGES && page->data; i++)
		if (!im->pages[i].data || im->clock - im->pages[i].used > im->clock - page->used)
			page = &im->pages[i];
	free(page->data);
	*page = (struct import_page){ .file = file, .off = off, .len = len, .data = data };
	*out = page;
	return 0;
}

int import_read(struct import *im, struct blockdev *file, uint64_t off, void *buf, size_t len)
{
	uint8_t *out = buf;

	if (!range_ok(off, len, file->size))
		return -ENODATA;
	while (len > 0) {
		uint64_t base = align_down(off, IMPORT_PAGE);
		struct import_page *page = page_find(im, file, base);
		size_t part;
		int rc = page ? 0 : page_load(im, file, base, &page);

		if (rc < 0)
			return rc;
		page->used = ++im->clock;
		part = (size_t)min_u64(len, page->len - (off - base));
		memcpy(out, page->data + (off - base), part);
		out += part;
		off += part;
		len -= part;
	}
	return 0;
}

uint64_t import_be(const void *p, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v = v << 8 | ((const uint8_t *)p)[i];
	return v;
}

/* Deflated grains */

static int grain_unpack(const uint8_t *in, uint32_t in_len, uint8_t *out, uint32_t out_len)
{
	struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
	enum libdeflate_result rc;
	size_t got;

	if (!d)
		return -ENOMEM;
	rc = libdeflate_zlib_decompress_ex(d, in, in_len, out, out_len, NULL, &got); /* bytes may follow */
	libdeflate_free_decompressor(d);
	if (rc != LIBDEFLATE_SUCCESS)
		return -EIO;
	/* A disk's last grain may hold less. */
	memset(out + got, 0, out_len - got);
	return 0;
}

/* Makes the grain at `map` the last unpacked one. */
static int grain_load(struct import *im, const struct import_map *map)
{
	uint64_t first = align_down(map->file_off, BLK_SECTOR), end;
	uint8_t *in, *out;
	int rc;

	if (im->grain && im->grain_file == map->file && im->grain_off == map->file_off && im->grain_len == map->grain)
		return 0;
	if (!range_ok(map->file_off, map->stored, map->file->size))
		return -EIO;
	end = min_u64(align_up(map->file_off + map->stored, BLK_SECTOR), map->file->size);
	in = malloc(end - first);
	out = malloc(map->grain);
	rc = in && out ? below_read(im, map->file, first, &(struct iovec){ in, end - first }, 1, end - first) : -ENOMEM;
	if (rc == 0)
		rc = grain_unpack(in + (map->file_off - first), map->stored, out, map->grain);
	free(in);
	if (rc < 0) {
		free(out);
		return rc;
	}
	free(im->grain);
	im->grain = out;
	im->grain_file = map->file;
	im->grain_off = map->file_off;
	im->grain_len = map->grain;
	return 0;
}

/* Requests */

static bool map_goes_on(const struct import_map *map, const struct import_map *next)
{
	if (map->kind != next->kind || map->kind == IMPORT_DEFLATED)
		return false;
	return map->kind != IMPORT_DATA || (map->file == next->file && map->file_off + map->len == next->file_off);
}

/* As the format's, but for as long a range as possible, and the data lies inside its file. */
static int map_range(struct import *im, uint64_t off, uint64_t len, struct import_map *map)
{
	int rc = im->ops->map(im, off, len, map);

	while (rc == 0 && map->len < len) {
		struct import_map next = { .kind = IMPORT_NONE };

		if (im->ops->map(im, off + map->len, len - map->len, &next) < 0 || !map_goes_on(map, &next))
			break;
		map->len += next.len;
	}
	if (rc == 0 && map->kind == IMPORT_DATA && (!range_ok(map->file_off, map->len, map->file->size) || map->file_off % BLK_SECTOR != 0)) {
		/* What begins inside may be read up to the end. */
		if (map->file_off % BLK_SECTOR != 0 || map->file_off >= map->file->size)
			return -EIO;
		map->len = map->file->size - map->file_off;
	}
	return rc;
}

static int read_data(struct import *im, const struct import_map *map, struct iov_cursor *c)
{
	uint64_t off = map->file_off, left = map->len;
	struct iovec *vec = malloc(IOV_MAX * sizeof(*vec));
	int rc = vec ? 0 : -ENOMEM;

	while (rc == 0 && left > 0) {
		uint64_t max = map->file->max_transfer ? map->file->max_transfer : UINT64_MAX, part = min_u64(left, max);
		size_t n = iov_cursor_take(c, part, vec, IOV_MAX);

		/* More pieces than a request may have: sector by sector they fit. */
		if (n == 0) {
			part = min_u64(left, BLK_SECTOR);
			n = iov_cursor_take(c, part, vec, IOV_MAX);
		}
		if (n == 0)
			rc = -EINVAL;
		else
			rc = below_read(im, map->file, off, vec, n, part);
		off += part;
		left -= part;
	}
	free(vec);
	return rc;
}

static int request_read(struct import *im, const struct blk_req *req)
{
	uint64_t off = req->off, end = req->off + req->len;
	struct iov_cursor c;

	iov_cursor_init(&c, req->iov, req->n);
	while (off < end) {
		struct import_map map = { .kind = IMPORT_NONE };
		int rc = map_range(im, off, end - off, &map);

		if (rc == 0 && map.kind == IMPORT_DATA) {
			rc = read_data(im, &map, &c);
		} else if (rc == 0 && map.kind == IMPORT_DEFLATED) {
			rc = grain_load(im, &map);
			if (rc == 0)
				iov_cursor_write(&c, im->grain + map.skip, map.len);
		} else if (rc == 0) {
			iov_cursor_fill(&c, 0, map.len);
		}
		if (rc < 0)
			return rc == -ENODATA ? -EIO : rc;
		off += map.len;
	}
	return 0;
}

static int request_status(struct import *im, const struct blk_req *req)
{
	struct import_map map = { .kind = IMPORT_NONE };
	struct blk_status *st = req->status;
	int rc = map_range(im, req->off, req->len, &map);

	if (rc < 0)
		return rc == -ENODATA ? -EIO : rc;
	*st = (struct blk_status){ .len = map.len };
	if (map.kind == IMPORT_ZERO)
		st->flags = BLK_ST_ALLOCATED | BLK_ST_ZERO;
	else if (map.kind == IMPORT_DEFLATED)
		st->flags = BLK_ST_ALLOCATED | BLK_ST_DATA | BLK_ST_COMPRESSED;
	else if (map.kind == IMPORT_DATA)
		*st = (struct blk_status){ map.len, BLK_ST_ALLOCATED | BLK_ST_DATA | BLK_ST_OFFSET, map.file, map.file_off };
	return 0;
}

static void request_run(void *opaque)
{
	struct task *task = opaque;
	struct import *im = task->im;
	struct blk_req *req = task->req;
	int rc = 0;

	free(task);
	if (req->op == BLK_READ)
		rc = request_read(im, req);
	else if (req->op == BLK_STATUS)
		rc = request_status(im, req);
	im->running--;
	blockdev_complete(&im->bd, req, rc);
}

static void import_submit(struct blockdev *bd, struct blk_req *req)
{
	struct import *im = CONTAINER_OF(bd, struct import, bd);
	struct task *task = malloc(sizeof(*task));

	if (!task) {
		blockdev_complete(bd, req, -ENOMEM);
		return;
	}
	*task = (struct task){ .co = { .run = request_run, .opaque = task }, .im = im, .req = req };
	im->running++;
	co_start(im->pool, &task->co);
}

static void import_drain(struct blockdev *bd)
{
	struct import *im = CONTAINER_OF(bd, struct import, bd);
	struct blockdev *child;

	while (im->running > 0) {
		blockdev_drain(bd->file);
		for (unsigned n = 0; im->ops->child && (child = im->ops->child(im, n)); n++)
			blockdev_drain(child);
	}
}

void import_forget(struct import *im)
{
	for (unsigned i = 0; i < IMPORT_PAGES; i++) {
		free(im->pages[i].data);
		im->pages[i].data = NULL;
	}
	free(im->grain);
	im->grain = NULL;
}

static void import_close(struct blockdev *bd)
{
	struct import *im = CONTAINER_OF(bd, struct import, bd);
	struct blockdev *child;

	for (unsigned n = 0; im->ops->child && (child = im->ops->child(im, n)); n++)
		blockdev_close(child);
	blockdev_close(bd->file);
	co_pool_destroy(im->pool);
	import_forget(im);
	im->ops->fini(im);
	free(im);
}

/* blockdev.h wants the name in the table, so there is one for each format. */
#define BD_OPS(name) { .format = name, .submit = import_submit, .drain = import_drain, .close = import_close }
static const struct blockdev_ops bd_ops[] = { BD_OPS("vmdk"), BD_OPS("vdi"), BD_OPS("vhdx"), BD_OPS("vpc") };

static const struct blockdev_ops *ops_find(const char *format)
{
	for (size_t i = 0; i < ARRAY_SIZE(bd_ops); i++)
		if (!strcmp(bd_ops[i].format, format))
			return &bd_ops[i];
	return NULL;
}

int import_init(struct import *im, const struct import_ops *ops, struct blockdev *file, uint64_t size, struct err *err)
{
	char *name;

	if (size > INT64_MAX - BLK_SECTOR)
		return err_set(err, -EFBIG, "%s: a disk of %llu bytes is larger than files can be", file->name, (unsigned long long)size);
	im->pool = co_pool_create(REQUESTS, err);
	if (!im->pool)
		return err->code;
	name = strdup(file->name);
	if (!name) {
		co_pool_destroy(im->pool);
		im->pool = NULL;
		return err_set_errno(err, -ENOMEM, "%s: cannot open it", file->name);
	}
	im->ops = ops;
	im->bd = (struct blockdev){
		.ops = ops_find(ops->format),
		.name = name,
		.loop = file->loop,
		.size = align_up(size, BLK_SECTOR),
		.request_align = BLK_SECTOR,
		.physical_block = file->physical_block,
		.read_only = true,
		.file = file,
	};
	return 0;
}

bool import_is(const struct blockdev *bd)
{
	for (size_t i = 0; i < ARRAY_SIZE(bd_ops); i++)
		if (bd->ops == &bd_ops[i])
			return true;
	return false;
}

bool import_is_flat(const struct blockdev *bd, uint64_t off)
{
	struct import *im = CONTAINER_OF(bd, struct import, bd);

	return im->ops->flat && im->ops->flat(im, off);
}

uint32_t import_cluster_size(const struct blockdev *bd)
{
	return import_is(bd) ? CONTAINER_OF(bd, struct import, bd)->cluster_size : 0;
}
