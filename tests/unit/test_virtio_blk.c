/* SPDX-License-Identifier: MIT */
/* virtio-blk against a driver that can do anything (fake_virtio) and a disk that waits (fake_blockdev). */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/virtio_blk_priv.h"
#include "tests/unit/fake_blockdev.h"
#include "tests/unit/fake_virtio.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define DISK_SIZE (1 * MIB)
#define SECTORS (DISK_SIZE / BLK_SECTOR)
#define STATUS_UNTOUCHED 0x77
#define BASE (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VBLK_F_FLUSH | VBLK_F_SEG_MAX)
#define EVERYTHING (BASE | VBLK_F_DISCARD | VBLK_F_WRITE_ZEROES | VBLK_F_CONFIG_WCE)

static struct fake_virtio f;
static struct fake_blk disk;
static struct virtio_dev *dev;
static struct virtio_blk_config cfg;

static void setup(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	fake_virtio_init(&f);
	fake_blk_init(&disk, f.loop, DISK_SIZE);
	dev = NULL;
	cfg = (struct virtio_blk_config){
		.name = "virtio-disk0",
		.bd = &disk.bd,
		.serial = "S123",
		.queues = 1,
		.queue_size = 256,
		.write_cache = true,
		.config_wce = true,
		.discard = true,
		.write_zeroes = true,
	};
}

static void create(void)
{
	const struct device_env env = { .loop = f.loop, .mem = f.mem };
	struct err err = ERR_INIT;

	dev = virtio_blk_create(&env, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
	fake_virtio_attach(&f, dev);
}

static void start(uint64_t features)
{
	create();
	ck_assert_uint_eq(fake_virtio_start(&f, features), 15);
}

static void teardown(void)
{
	if (dev) {
		fake_virtio_reset(&f);
		ck_assert_uint_eq(CONTAINER_OF(dev, struct vblk, dev)->in_flight, 0);
		dev->ops->destroy(dev);
	}
	fake_blk_fini(&disk);
	fake_virtio_fini(&f);
}

/* ---- requests ---- */

static struct vblk_header header(uint32_t type, uint64_t sector)
{
	return (struct vblk_header){ .type = le32_of(type), .sector = le64_of(sector) };
}

/* Kicks, lets the disk do everything, and takes the one used element: the status, and the length in `*used`. */
static int finish(uint64_t status_gpa, uint32_t *used)
{
	uint32_t head;

	fake_virtio_kick(&f, 0);
	while (fake_blk_run(&disk, UINT32_MAX))
		;
	fake_virtio_turn(&f);
	ck_assert(fake_ring_used(&f.ring[0], &head, used));
	ck_assert(!fake_ring_used(&f.ring[0], &head, &(uint32_t){ 0 }));
	return *(uint8_t *)fake_mem(&f, status_gpa, 1);
}

static uint64_t new_status(void)
{
	return fake_alloc_data(&f, &(uint8_t){ STATUS_UNTOUCHED }, 1);
}

/* A plain request: header, data, status. */
static int request(uint32_t type, uint64_t sector, uint64_t data, uint32_t len, uint32_t *used)
{
	struct vblk_header h = header(type, sector);
	uint64_t status = new_status();
	struct fake_buf bufs[3] = { { fake_alloc_data(&f, &h, sizeof(h)), sizeof(h), false } };
	unsigned n = 1;

	if (len)
		bufs[n++] = (struct fake_buf){ data, len, type == VBLK_T_IN || type == VBLK_T_GET_ID };
	bufs[n++] = (struct fake_buf){ status, 1, true };
	fake_ring_add(&f.ring[0], bufs, n);
	return finish(status, used);
}

static int simple(uint32_t type, uint64_t sector, uint32_t len)
{
	uint32_t used;

	return request(type, sector, fake_alloc(&f, len ? len : 1, 16), len, &used);
}

static int ranges(uint32_t type, const struct vblk_range *r, uint32_t bytes)
{
	uint32_t used;

	return request(type, 0, fake_alloc_data(&f, r, bytes), bytes, &used);
}

static struct vblk_range range(uint64_t sector, uint32_t n, uint32_t flags)
{
	return (struct vblk_range){ le64_of(sector), le32_of(n), le32_of(flags) };
}

/* ---- layouts ---- */

/* Cuts `len` bytes at `gpa` into buffers of at most `piece` bytes. */
static unsigned cut(struct fake_buf *out, uint64_t gpa, uint32_t len, uint32_t piece, bool writable)
{
	unsigned n = 0;

	while (len) {
		uint32_t now = (uint32_t)min_u64(len, piece);

		out[n++] = (struct fake_buf){ gpa, now, writable };
		gpa += now;
		len -= now;
	}
	return n;
}

static const uint32_t pieces[] = { 5000, 16, 17, 1024, 7, 15, 512, 513, 100, 1041 };

/* Readable bytes one after another, and writable ones with the status at the end, each side cut into pieces of its own. */
START_TEST(test_layouts)
{
	uint32_t out_piece = pieces[_i % ARRAY_SIZE(pieces)], in_piece = pieces[_i / ARRAY_SIZE(pieces)], used;
	struct { struct vblk_header h; uint8_t data[1024]; } out;
	struct fake_buf bufs[512];

	start(BASE);
	for (int indirect = 0; indirect < 2; indirect++) {
		uint64_t gpa, in = fake_alloc(&f, 1025, 1);
		unsigned n;

		/* a write of two sectors */
		out.h = header(VBLK_T_OUT, 3);
		for (unsigned i = 0; i < sizeof(out.data); i++)
			out.data[i] = (uint8_t)(i * 31 + _i + indirect);
		gpa = fake_alloc_data(&f, &out, sizeof(out));
		n = cut(bufs, gpa, sizeof(out), out_piece, false);
		bufs[n++] = (struct fake_buf){ new_status(), 1, true };
		if (indirect)
			fake_ring_add_indirect(&f.ring[0], &f, bufs, n);
		else
			fake_ring_add(&f.ring[0], bufs, n);
		ck_assert_int_eq(finish(bufs[n - 1].gpa, &used), VBLK_S_OK);
		ck_assert_uint_eq(used, 1);
		ck_assert_mem_eq(disk.data + 3 * BLK_SECTOR, out.data, sizeof(out.data));
		ck_assert_uint_eq(disk.data[5 * BLK_SECTOR], (uint8_t)(5 * BLK_SECTOR * 7 + 5));

		/* and read back, the status in the same buffer as the end of the data */
		out.h = header(VBLK_T_IN, 3);
		gpa = fake_alloc_data(&f, &out.h, sizeof(out.h));
		n = cut(bufs, gpa, sizeof(out.h), out_piece, false);
		n += cut(bufs + n, in, 1025, in_piece, true);
		if (indirect)
			fake_ring_add_indirect(&f.ring[0], &f, bufs, n);
		else
			fake_ring_add(&f.ring[0], bufs, n);
		ck_assert_int_eq(finish(in + 1024, &used), VBLK_S_OK);
		ck_assert_uint_eq(used, 1025);
		ck_assert_mem_eq(fake_mem(&f, in, 1024), out.data, 1024);
	}
}
END_TEST

START_TEST(test_get_id)
{
	static const uint32_t lens[] = { 0, 1, 3, 19, 20, 21, 64 };
	char padded[64];

	start(BASE);
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		uint64_t buf = fake_alloc(&f, 64, 16);
		uint32_t used, n = (uint32_t)min_u64(lens[i], 20);

		memset(fake_mem(&f, buf, 64), 'x', 64);
		memset(padded, 'x', 64);
		memset(padded, 0, n);
		memcpy(padded, "S123", min_u64(n, 4));
		ck_assert_int_eq(request(VBLK_T_GET_ID, 99, buf, lens[i], &used), VBLK_S_OK);
		ck_assert_mem_eq(fake_mem(&f, buf, 64), padded, 64);
		ck_assert_uint_eq(used, n == lens[i] ? n + 1 : n);
	}
	ck_assert_uint_eq(disk.n_log, 0);
}
END_TEST

START_TEST(test_flush)
{
	uint32_t used;

	start(BASE);
	ck_assert_int_eq(request(VBLK_T_FLUSH, UINT64_MAX, 0, 0, &used), VBLK_S_OK);
	ck_assert_uint_eq(used, 1);
	ck_assert_uint_eq(disk.n_log, 1);
	ck_assert_int_eq(disk.log[0].op, BLK_FLUSH);
	/* nothing to read or write is fine, and reaches nobody */
	ck_assert_int_eq(simple(VBLK_T_IN, 0, 0), VBLK_S_OK);
	ck_assert_int_eq(simple(VBLK_T_OUT, SECTORS, 0), VBLK_S_OK);
	ck_assert_uint_eq(disk.n_log, 1);
}
END_TEST

/* ---- what a driver gets wrong ---- */

START_TEST(test_bad_ranges)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
	} bad[] = {
		{ 0, 1 }, { 0, 511 }, { 0, 513 }, { SECTORS, 512 }, { SECTORS - 1, 1024 }, { UINT64_MAX, 512 },
		{ UINT64_C(1) << 55, 512 }, { (UINT64_C(1) << 55) - 1, 512 }, { UINT64_MAX / 512, 1024 }, { SECTORS + 1, 0 },
	};
	uint32_t used;

	start(BASE);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		for (uint32_t type = VBLK_T_IN; type <= VBLK_T_OUT; type++) {
			uint64_t buf = fake_alloc(&f, bad[i].len + 1, 16);

			ck_assert_int_eq(request(type, bad[i].sector, buf, bad[i].len, &used), VBLK_S_IOERR);
			ck_assert_uint_eq(used, type == VBLK_T_IN && bad[i].len ? 0 : 1);
		}
	ck_assert_uint_eq(disk.n_log, 0);
	ck_assert_int_eq(simple(VBLK_T_OUT, SECTORS - 1, 512), VBLK_S_OK);
}
END_TEST

START_TEST(test_blocks)
{
	cfg.logical_block = 4096;
	disk.bd.size -= 512;
	start(BASE);
	ck_assert_int_eq(simple(VBLK_T_IN, 0, 512), VBLK_S_IOERR);
	ck_assert_int_eq(simple(VBLK_T_IN, 1, 4096), VBLK_S_IOERR);
	ck_assert_int_eq(simple(VBLK_T_IN, 8, 4096), VBLK_S_OK);
	/* The capacity is whole blocks. */
	ck_assert_int_eq(simple(VBLK_T_IN, SECTORS - 8, 4096), VBLK_S_IOERR);
	ck_assert_int_eq(simple(VBLK_T_IN, SECTORS - 16, 4096), VBLK_S_OK);
}
END_TEST

START_TEST(test_unknown_types)
{
	static const uint32_t types[] = { 2, 3, 5, 6, 7, 9, 10, 12, 14, 16, 0x80000000, 0x80000001, UINT32_MAX };

	start(EVERYTHING);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		ck_assert_int_eq(simple(types[i], 0, 512), VBLK_S_UNSUPP);
	ck_assert_uint_eq(disk.n_log, 0);
}
END_TEST

START_TEST(test_read_only)
{
	const struct vblk_range r = range(0, 8, 0);

	disk.bd.read_only = true;
	/* Not even when the driver does not look at the bit. */
	start(BASE);
	ck_assert(dev->ops->features(dev) & VBLK_F_RO);
	ck_assert(!(dev->ops->features(dev) & (VBLK_F_DISCARD | VBLK_F_WRITE_ZEROES)));
	ck_assert_int_eq(simple(VBLK_T_OUT, 0, 512), VBLK_S_IOERR);
	ck_assert_int_eq(ranges(VBLK_T_DISCARD, &r, sizeof(r)), VBLK_S_IOERR);
	ck_assert_int_eq(ranges(VBLK_T_WRITE_ZEROES, &r, sizeof(r)), VBLK_S_IOERR);
	ck_assert_int_eq(simple(VBLK_T_IN, 0, 512), VBLK_S_OK);
	ck_assert_int_eq(simple(VBLK_T_FLUSH, 0, 0), VBLK_S_OK);
}
END_TEST

/* A chain without a place for the status, or without a header, or with too many buffers: the queue ends, the process does not. */
START_TEST(test_unanswerable)
{
	struct vblk_header h = header(VBLK_T_IN, 0);
	uint64_t head = fake_alloc_data(&f, &h, sizeof(h)), buf = fake_alloc(&f, 4096, 16);
	struct fake_buf bufs[300];
	uint32_t id, len;

	cfg.queues = 2;
	cfg.queue_size = 1024;
	start(EVERYTHING);
	switch (_i) {
	case 0: /* no status */
		bufs[0] = (struct fake_buf){ head, 16, false };
		fake_ring_add(&f.ring[0], bufs, 1);
		break;
	case 1: /* no header */
		bufs[0] = (struct fake_buf){ buf, 513, true };
		fake_ring_add(&f.ring[0], bufs, 1);
		break;
	case 2: /* a short one */
		bufs[0] = (struct fake_buf){ head, 15, false };
		bufs[1] = (struct fake_buf){ buf, 513, true };
		fake_ring_add(&f.ring[0], bufs, 2);
		break;
	case 3: /* empty writable buffers, where virtq lets them through */
		bufs[0] = (struct fake_buf){ head, 16, false };
		bufs[1] = (struct fake_buf){ buf, 0, true };
		fake_ring_add(&f.ring[0], bufs, 2);
		break;
	case 4: /* more buffers than seg_max */
		bufs[0] = (struct fake_buf){ head, 16, false };
		for (unsigned i = 1; i < 257; i++)
			bufs[i] = (struct fake_buf){ buf, 2, true };
		fake_ring_add(&f.ring[0], bufs, 257);
		break;
	case 5: /* a head that is in flight again */
		bufs[0] = (struct fake_buf){ head, 16, false };
		bufs[1] = (struct fake_buf){ buf, 513, true };
		fake_ring_put(&f.ring[0], fake_ring_add(&f.ring[0], bufs, 2));
		break;
	case 6: /* a loop */
		fake_ring_desc(&f.ring[0], 0, head, 16, 1, 0);
		fake_ring_put(&f.ring[0], 0);
		break;
	case 7: /* outside memory */
		bufs[0] = (struct fake_buf){ head, 16, false };
		bufs[1] = (struct fake_buf){ FAKE_LOW_SIZE - 512, 513, true };
		fake_ring_add(&f.ring[0], bufs, 2);
		break;
	case 8: /* the index too far ahead */
		fake_ring_avail_idx(&f.ring[0], 1025);
		break;
	}
	fake_virtio_kick(&f, 0);
	ck_assert(virtio_get_status(dev) & VIRTIO_STATUS_NEEDS_RESET);
	ck_assert(dev->queues[0].vq.broken);
	fake_virtio_kick(&f, 0);
	fake_blk_run(&disk, UINT32_MAX);
	fake_virtio_turn(&f);
	ck_assert(!fake_ring_used(&f.ring[0], &id, &len));
	/* The other queue works on. */
	bufs[0] = (struct fake_buf){ head, 16, false };
	bufs[1] = (struct fake_buf){ buf, 513, true };
	fake_ring_add(&f.ring[1], bufs, 2);
	fake_virtio_kick(&f, 1);
	ck_assert_uint_eq(fake_blk_run(&disk, 10), 1);
	ck_assert(fake_ring_used(&f.ring[1], &id, &len));
	/* And all is well after a reset. */
	ck_assert_uint_eq(fake_virtio_start(&f, BASE), 15);
	ck_assert_int_eq(simple(VBLK_T_IN, 0, 512), VBLK_S_OK);
}
END_TEST

/* The header is copied once: what the guest writes there later changes nothing. */
START_TEST(test_header_changes)
{
	struct vblk_header h = header(VBLK_T_OUT, 1), evil = header(VBLK_T_IN, UINT64_MAX);
	uint64_t hdr = fake_alloc_data(&f, &h, sizeof(h)), status = new_status();
	struct fake_buf bufs[3] = { { hdr, sizeof(h), false }, { fake_alloc(&f, 512, 16), 512, false }, { status, 1, true } };
	uint32_t used, head;

	start(BASE);
	fake_ring_add(&f.ring[0], bufs, 3);
	fake_virtio_kick(&f, 0);
	ck_assert_uint_eq(disk.waiting, 1);
	memcpy(fake_mem(&f, hdr, sizeof(evil)), &evil, sizeof(evil));
	fake_ring_desc(&f.ring[0], 1, UINT64_MAX, UINT32_MAX, 7, 0xffff);
	fake_blk_run(&disk, 1);
	ck_assert(fake_ring_used(&f.ring[0], &head, &used));
	ck_assert_uint_eq(used, 1);
	ck_assert_uint_eq(*(uint8_t *)fake_mem(&f, status, 1), VBLK_S_OK);
	ck_assert_uint_eq(disk.data[512], 0);
}
END_TEST

/* ---- discard and write zeroes ---- */

START_TEST(test_discard)
{
	struct vblk_range r[VBLK_MAX_RANGES + 1];

	start(EVERYTHING);
	r[0] = range(8, 4, 0);
	r[1] = range(100, 0, 0);
	r[2] = range(SECTORS - 1, 1, 0);
	ck_assert_int_eq(ranges(VBLK_T_DISCARD, r, 3 * sizeof(*r)), VBLK_S_OK);
	ck_assert_uint_eq(disk.n_log, 2);
	ck_assert_int_eq(disk.log[0].op, BLK_DISCARD);
	ck_assert_uint_eq(disk.log[0].off, 8 * 512);
	ck_assert_uint_eq(disk.log[0].len, 4 * 512);
	ck_assert_uint_eq(disk.log[1].off, (SECTORS - 1) * 512);
	ck_assert_uint_eq(disk.data[8 * 512], 0xdd);
	ck_assert_uint_ne(disk.data[8 * 512 - 1], 0xdd);
	/* none, too many, cut short, past the end, wrapping, too large */
	for (unsigned i = 0; i <= VBLK_MAX_RANGES; i++)
		r[i] = range(i, 1, 0);
	disk.n_log = 0;
	ck_assert_int_eq(simple(VBLK_T_DISCARD, 0, 0), VBLK_S_IOERR);
	ck_assert_int_eq(ranges(VBLK_T_DISCARD, r, sizeof(r)), VBLK_S_IOERR);
	ck_assert_int_eq(ranges(VBLK_T_DISCARD, r, 15), VBLK_S_IOERR);
	ck_assert_int_eq(ranges(VBLK_T_DISCARD, r, 33), VBLK_S_IOERR);
	r[1] = range(SECTORS - 1, 2, 0);
	ck_assert_int_eq(ranges(VBLK_T_DISCARD, r, 2 * sizeof(*r)), VBLK_S_IOERR);
	r[1] = range(UINT64_MAX, 2, 0);
	ck_assert_int_eq(ranges(VBLK_T_DISCARD, r, 2 * sizeof(*r)), VBLK_S_IOERR);
	r[1] = range(UINT64_C(1) << 55, 1, 0);
	ck_assert_int_eq(ranges(VBLK_T_DISCARD, r, 2 * sizeof(*r)), VBLK_S_IOERR);
	r[1] = range(0, UINT32_MAX, 0);
	ck_assert_int_eq(ranges(VBLK_T_DISCARD, r, 2 * sizeof(*r)), VBLK_S_IOERR);
	/* unmap and unknown flags, 5.2.6.2 */
	r[1] = range(0, 1, VBLK_RANGE_UNMAP);
	ck_assert_int_eq(ranges(VBLK_T_DISCARD, r, 2 * sizeof(*r)), VBLK_S_UNSUPP);
	r[1] = range(0, 1, 0x80000000);
	ck_assert_int_eq(ranges(VBLK_T_DISCARD, r, 2 * sizeof(*r)), VBLK_S_UNSUPP);
	/* All is checked before any is done. */
	ck_assert_uint_eq(disk.n_log, 0);
	ck_assert_int_eq(ranges(VBLK_T_DISCARD, r, sizeof(*r)), VBLK_S_OK);
	for (unsigned i = 0; i < VBLK_MAX_RANGES; i++)
		r[i] = range(i, 1, 0);
	disk.n_log = 0;
	ck_assert_int_eq(ranges(VBLK_T_DISCARD, r, VBLK_MAX_RANGES * sizeof(*r)), VBLK_S_OK);
	ck_assert_uint_eq(disk.n_log, VBLK_MAX_RANGES);
}
END_TEST

START_TEST(test_write_zeroes)
{
	struct vblk_range r[3] = { range(1, 1, 0), range(4, 2, VBLK_RANGE_UNMAP), range(6, 1, 2) };

	start(EVERYTHING);
	ck_assert_int_eq(ranges(VBLK_T_WRITE_ZEROES, r, sizeof(r)), VBLK_S_UNSUPP);
	ck_assert_uint_eq(disk.n_log, 0);
	ck_assert_int_eq(ranges(VBLK_T_WRITE_ZEROES, r, 2 * sizeof(*r)), VBLK_S_OK);
	ck_assert_uint_eq(disk.n_log, 2);
	ck_assert_uint_eq(disk.log[0].flags, 0);
	ck_assert_uint_eq(disk.log[1].flags, BLK_REQ_UNMAP);
	ck_assert_uint_eq(disk.data[4 * 512], 0);
	/* The first failure is the end. */
	disk.fail = -EIO;
	disk.n_log = 0;
	ck_assert_int_eq(ranges(VBLK_T_WRITE_ZEROES, r, 2 * sizeof(*r)), VBLK_S_IOERR);
	ck_assert_uint_eq(disk.n_log, 1);
	/* not negotiated */
	ck_assert_uint_eq(fake_virtio_start(&f, BASE), 15);
	ck_assert_int_eq(ranges(VBLK_T_WRITE_ZEROES, r, sizeof(*r)), VBLK_S_UNSUPP);
	ck_assert_int_eq(ranges(VBLK_T_DISCARD, r, sizeof(*r)), VBLK_S_UNSUPP);
}
END_TEST

/* ---- the write cache ---- */

static void set_wce(uint8_t value)
{
	dev->ops->config_write(dev, offsetof(struct vblk_config, writeback), &value, 1);
}

static uint8_t get_wce(void)
{
	uint8_t value;

	dev->ops->config_read(dev, offsetof(struct vblk_config, writeback), &value, 1);
	return value;
}

START_TEST(test_write_cache)
{
	const struct vblk_range r = range(0, 8, 0);

	start(EVERYTHING);
	ck_assert_uint_eq(get_wce(), 1);
	ck_assert_int_eq(simple(VBLK_T_OUT, 0, 512), VBLK_S_OK);
	ck_assert_uint_eq(disk.n_log, 1);
	/* off: every write is followed by a flush, and done when that is */
	set_wce(0);
	ck_assert_uint_eq(get_wce(), 0);
	disk.n_log = 0;
	ck_assert_int_eq(simple(VBLK_T_OUT, 0, 512), VBLK_S_OK);
	ck_assert_uint_eq(disk.n_log, 2);
	ck_assert_int_eq(disk.log[1].op, BLK_FLUSH);
	ck_assert_int_eq(ranges(VBLK_T_WRITE_ZEROES, &r, sizeof(r)), VBLK_S_OK);
	ck_assert_uint_eq(disk.n_log, 4);
	ck_assert_int_eq(simple(VBLK_T_IN, 0, 512), VBLK_S_OK);
	ck_assert_uint_eq(disk.n_log, 5);
	disk.fail = -EIO;
	disk.fail_after = 1;
	ck_assert_int_eq(simple(VBLK_T_OUT, 0, 512), VBLK_S_IOERR);
	/* a failed write is not flushed */
	disk.fail = -EIO;
	disk.fail_after = 0;
	disk.n_log = 0;
	ck_assert_int_eq(simple(VBLK_T_OUT, 0, 512), VBLK_S_IOERR);
	ck_assert_uint_eq(disk.n_log, 1);
	set_wce(1);
	ck_assert_int_eq(simple(VBLK_T_OUT, 0, 512), VBLK_S_OK);
	ck_assert_uint_eq(disk.n_log, 2);
	/* a file that flushes by itself */
	set_wce(0);
	disk.bd.write_cache = false;
	ck_assert_int_eq(simple(VBLK_T_OUT, 0, 512), VBLK_S_OK);
	ck_assert_uint_eq(disk.n_log, 3);
}
END_TEST

/* A driver that cannot flush depends on nothing that needs one. */
START_TEST(test_driver_without_flush)
{
	start(VIRTIO_F_VERSION_1);
	ck_assert_int_eq(simple(VBLK_T_OUT, 0, 512), VBLK_S_OK);
	ck_assert_uint_eq(disk.n_log, 2);
	/* The field is not there for it to change. */
	set_wce(1);
	ck_assert_uint_eq(get_wce(), 0);
	/* The next driver is another one. */
	ck_assert_uint_eq(fake_virtio_start(&f, EVERYTHING), 15);
	ck_assert_uint_eq(get_wce(), 1);
}
END_TEST

/* ---- the host's errors ---- */

START_TEST(test_host_errors)
{
	uint64_t buf = fake_alloc(&f, 512, 16);
	uint32_t used;

	start(EVERYTHING);
	disk.fail = -EIO;
	ck_assert_int_eq(request(VBLK_T_IN, 0, buf, 512, &used), VBLK_S_IOERR);
	ck_assert_uint_eq(used, 0);
	disk.fail = -ENOSPC;
	ck_assert_int_eq(request(VBLK_T_OUT, 0, buf, 512, &used), VBLK_S_IOERR);
	ck_assert_uint_eq(used, 1);
	disk.fail = -EIO;
	ck_assert_int_eq(simple(VBLK_T_FLUSH, 0, 0), VBLK_S_IOERR);
	disk.fail = -ENOTSUP;
	ck_assert_int_eq(simple(VBLK_T_FLUSH, 0, 0), VBLK_S_UNSUPP);
	ck_assert_int_eq(simple(VBLK_T_OUT, 0, 512), VBLK_S_OK);
}
END_TEST

START_TEST(test_ignored_errors)
{
	cfg.ignore_read_errors = _i & 1;
	cfg.ignore_write_errors = _i & 2;
	start(EVERYTHING);
	disk.fail = -EIO;
	ck_assert_int_eq(simple(VBLK_T_IN, 0, 512), cfg.ignore_read_errors ? VBLK_S_OK : VBLK_S_IOERR);
	disk.fail = -EIO;
	ck_assert_int_eq(simple(VBLK_T_OUT, 0, 512), cfg.ignore_write_errors ? VBLK_S_OK : VBLK_S_IOERR);
	disk.fail = -EIO;
	ck_assert_int_eq(simple(VBLK_T_FLUSH, 0, 0), cfg.ignore_write_errors ? VBLK_S_OK : VBLK_S_IOERR);
	/* What is wrong of the driver stays wrong. */
	ck_assert_int_eq(simple(VBLK_T_OUT, SECTORS, 512), VBLK_S_IOERR);
}
END_TEST

/* ---- batches, reset ---- */

/* One read of a sector, all buffers shared; returns the head. */
static uint16_t queue_read(unsigned q, uint64_t hdr, uint64_t buf)
{
	struct fake_buf bufs[2] = { { hdr, 16, false }, { buf, 513, true } };

	return fake_ring_add(&f.ring[q], bufs, 2);
}

START_TEST(test_batch)
{
	struct vblk_header h = header(VBLK_T_IN, 0);
	uint64_t hdr = fake_alloc_data(&f, &h, sizeof(h)), buf = fake_alloc(&f, 513, 16);
	uint32_t head, len;

	start(BASE);
	/* more rounds than the pool is long */
	for (unsigned round = 0; round < 8; round++) {
		unsigned before;

		disk.n_log = 0;
		for (unsigned i = 0; i < 128; i++)
			queue_read(0, hdr, buf);
		fake_virtio_kick(&f, 0);
		ck_assert_uint_eq(disk.waiting, 128);
		ck_assert_uint_eq(fake_ring_used_flags(&f.ring[0]) & 1, 0);
		before = atomic_load(&f.queue_interrupts[0]);
		ck_assert_uint_eq(fake_blk_run(&disk, 100), 100);
		ck_assert_uint_eq(atomic_load(&f.queue_interrupts[0]), before);
		fake_virtio_turn(&f);
		ck_assert_uint_eq(atomic_load(&f.queue_interrupts[0]), before + 1);
		ck_assert_uint_eq(fake_ring_used_count(&f.ring[0]), 100);
		fake_blk_run(&disk, 28);
		fake_virtio_turn(&f);
		while (fake_ring_used(&f.ring[0], &head, &len))
			ck_assert_uint_eq(len, 513);
	}
}
END_TEST

START_TEST(test_reset_in_flight)
{
	struct vblk_header h = header(VBLK_T_OUT, 0);
	struct vblk_range r[2] = { range(1, 1, 0), range(4, 2, 0) };
	struct vblk_header hd = header(VBLK_T_DISCARD, 0);
	struct fake_buf bufs[3] = { { 0, 16, false }, { 0, 512, false }, { new_status(), 1, true } };

	start(EVERYTHING);
	set_wce(0);
	for (unsigned round = 0; round < 3; round++) {
		bufs[0].gpa = fake_alloc_data(&f, &h, sizeof(h));
		bufs[1] = (struct fake_buf){ fake_alloc(&f, 512, 16), 512, false };
		fake_ring_add(&f.ring[0], bufs, 3);
		bufs[0].gpa = fake_alloc_data(&f, &hd, sizeof(hd));
		bufs[1] = (struct fake_buf){ fake_alloc_data(&f, r, sizeof(r)), sizeof(r), false };
		fake_ring_add(&f.ring[0], bufs, 3);
		fake_virtio_kick(&f, 0);
		ck_assert_uint_eq(disk.waiting, 2);
		disk.n_log = 0;
		fake_virtio_reset(&f);
		/* All parts of both have been waited for. */
		ck_assert_uint_eq(disk.waiting, 0);
		ck_assert_uint_eq(CONTAINER_OF(dev, struct vblk, dev)->in_flight, 0);
		fake_virtio_turn(&f);
		ck_assert_uint_eq(fake_virtio_start(&f, EVERYTHING), 15);
	}
	ck_assert_int_eq(simple(VBLK_T_OUT, 0, 512), VBLK_S_OK);
}
END_TEST

/* ---- configuration ---- */

START_TEST(test_config)
{
	struct vblk_config c;
	uint8_t byte, wild[60];

	cfg.queues = 3;
	cfg.logical_block = 1024;
	create();
	ck_assert_uint_eq(dev->config_size, sizeof(c));
	dev->ops->config_read(dev, 0, (uint8_t *)&c, sizeof(c));
	ck_assert_uint_eq(le64_get(c.capacity), SECTORS);
	ck_assert_uint_eq(le32_get(c.seg_max), 254);
	ck_assert_uint_eq(le16_get(c.cylinders), SECTORS / (16 * 63));
	ck_assert_uint_eq(le32_get(c.blk_size), 1024);
	ck_assert_uint_eq(c.physical_block_exp, 2);
	ck_assert_uint_eq(le16_get(c.min_io_size), 4);
	ck_assert_uint_eq(c.writeback, 1);
	ck_assert_uint_eq(le16_get(c.num_queues), 3);
	ck_assert_uint_eq(le32_get(c.max_discard_seg), VBLK_MAX_RANGES);
	ck_assert_uint_eq(le32_get(c.discard_sector_alignment), 8);
	ck_assert_uint_eq(c.write_zeroes_may_unmap, 1);
	ck_assert_uint_eq(dev->ops->features(dev), VBLK_F_SEG_MAX | VBLK_F_GEOMETRY | VBLK_F_BLK_SIZE | VBLK_F_FLUSH | VBLK_F_TOPOLOGY |
							   VBLK_F_CONFIG_WCE | VBLK_F_MQ | VBLK_F_DISCARD | VBLK_F_WRITE_ZEROES);
	for (unsigned i = 0; i < sizeof(c); i++) {
		dev->ops->config_read(dev, i, &byte, 1);
		ck_assert_uint_eq(byte, ((uint8_t *)&c)[i]);
	}
	/* Whatever is written, only the switch changes. */
	ck_assert_uint_eq(fake_virtio_start(&f, EVERYTHING), 15);
	memset(wild, 0xfe, sizeof(wild));
	for (unsigned off = 0; off < sizeof(c); off++)
		for (unsigned len = 1; off + len <= sizeof(c); len++)
			dev->ops->config_write(dev, off, wild, len);
	c.writeback = 0;
	dev->ops->config_read(dev, 0, wild, sizeof(wild));
	ck_assert_mem_eq(wild, &c, sizeof(c));
}
END_TEST

START_TEST(test_features_off)
{
	cfg.config_wce = cfg.discard = cfg.write_zeroes = false;
	cfg.write_cache = false;
	cfg.queue_size = 4;
	create();
	ck_assert_uint_eq(dev->ops->features(dev),
			  VBLK_F_SEG_MAX | VBLK_F_GEOMETRY | VBLK_F_BLK_SIZE | VBLK_F_FLUSH | VBLK_F_TOPOLOGY);
	ck_assert_uint_eq(CONTAINER_OF(dev, struct vblk, dev)->config.seg_max.b[0], 2);
	ck_assert_uint_eq(get_wce(), 0);
}
END_TEST

START_TEST(test_resize)
{
	uint8_t generation;

	start(BASE);
	generation = dev->generation;
	disk.bd.size = DISK_SIZE / 2;
	disk.bd.resized(disk.bd.resized_opaque);
	ck_assert_uint_eq(atomic_load(&f.config_interrupts), 1);
	ck_assert_uint_ne(dev->generation, generation);
	ck_assert_uint_eq(le64_get(CONTAINER_OF(dev, struct vblk, dev)->config.capacity), SECTORS / 2);
	ck_assert_int_eq(simple(VBLK_T_IN, SECTORS / 2, 512), VBLK_S_IOERR);
	ck_assert_int_eq(simple(VBLK_T_IN, SECTORS / 2 - 1, 512), VBLK_S_OK);
}
END_TEST

START_TEST(test_refused)
{
	const struct device_env env = { .loop = f.loop, .mem = f.mem };
	const struct virtio_blk_config good = cfg;
	struct err err = ERR_INIT;

#define REFUSED(field, value, words)                                    \
	do {                                                            \
		cfg = good;                                             \
		cfg.field = value;                                      \
		ck_assert_ptr_null(virtio_blk_create(&env, &cfg, &err)); \
		ck_assert_ptr_nonnull(strstr(err.msg, words));          \
	} while (0)
	REFUSED(queue_size, 0, "queue-size 0 ");
	REFUSED(queue_size, 2, "queue-size 2 ");
	REFUSED(queue_size, 100, "queue-size 100 ");
	REFUSED(queue_size, 2048, "queue-size 2048 ");
	REFUSED(queues, 0, "num-queues 0 ");
	REFUSED(queues, 65, "num-queues 65 ");
	REFUSED(logical_block, 256, "logical_block_size 256");
	REFUSED(logical_block, 1000, "logical_block_size 1000");
	REFUSED(physical_block, 256, "physical_block_size 256");
	REFUSED(physical_block, 4 * MIB, "physical_block_size");
	disk.bd.request_align = 4096;
	REFUSED(logical_block, 512, "logical_block_size 512 is less than 'disk.img' can do, 4096 bytes");
	REFUSED(serial, "123456789012345678901", "serial number");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_blk");
	TCase *tc = tcase_create("virtio_blk");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_layouts, 0, ARRAY_SIZE(pieces) * ARRAY_SIZE(pieces));
	tcase_add_test(tc, test_get_id);
	tcase_add_test(tc, test_flush);
	tcase_add_test(tc, test_bad_ranges);
	tcase_add_test(tc, test_blocks);
	tcase_add_test(tc, test_unknown_types);
	tcase_add_test(tc, test_read_only);
	tcase_add_loop_test(tc, test_unanswerable, 0, 9);
	tcase_add_test(tc, test_header_changes);
	tcase_add_test(tc, test_discard);
	tcase_add_test(tc, test_write_zeroes);
	tcase_add_test(tc, test_write_cache);
	tcase_add_test(tc, test_driver_without_flush);
	tcase_add_test(tc, test_host_errors);
	tcase_add_loop_test(tc, test_ignored_errors, 0, 4);
	tcase_add_test(tc, test_batch);
	tcase_add_test(tc, test_reset_in_flight);
	tcase_add_test(tc, test_config);
	tcase_add_test(tc, test_features_off);
	tcase_add_test(tc, test_resize);
	tcase_add_test(tc, test_refused);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
