/* SPDX-License-Identifier: MIT */
/* virtio-blk's requests: every one, in every layout, and everything that a driver can get wrong. */
#include "tests/unit/fake_vblk.h"

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
	cfg.write_error = VIRTIO_BLK_IGNORE; /* no reason to say that it was written */
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
	cfg.read_error = _i & 1 ? VIRTIO_BLK_IGNORE : VIRTIO_BLK_REPORT;
	cfg.write_error = _i & 2 ? VIRTIO_BLK_IGNORE : VIRTIO_BLK_REPORT;
	start(EVERYTHING);
	disk.fail = -EIO;
	ck_assert_int_eq(simple(VBLK_T_IN, 0, 512), _i & 1 ? VBLK_S_OK : VBLK_S_IOERR);
	disk.fail = -EIO;
	ck_assert_int_eq(simple(VBLK_T_OUT, 0, 512), _i & 2 ? VBLK_S_OK : VBLK_S_IOERR);
	disk.fail = -EIO;
	ck_assert_int_eq(simple(VBLK_T_FLUSH, 0, 0), _i & 2 ? VBLK_S_OK : VBLK_S_IOERR);
	/* What is wrong of the driver stays wrong. */
	ck_assert_int_eq(simple(VBLK_T_OUT, SECTORS, 512), VBLK_S_IOERR);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_blk");
	TCase *tc = tcase_create("virtio_blk");

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
	tcase_add_test(tc, test_host_errors);
	tcase_add_loop_test(tc, test_ignored_errors, 0, 4);
	suite_add_tcase(s, tc);
	return run_vblk_suite(s);
}
