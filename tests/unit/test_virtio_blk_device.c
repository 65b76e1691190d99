/* SPDX-License-Identifier: MIT */
/* virtio-blk beyond single requests: the write cache, batches, resets, configuration. */
#include "tests/unit/fake_vblk.h"

/* ---- the write cache ---- */

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

/* ---- errors that stop the machine ---- */

/* Kicks, and lets the disk do all it has: how many requests are answered. */
static unsigned serve(void)
{
	uint32_t head, len;
	unsigned n = 0;

	fake_virtio_kick(&f, 0);
	while (fake_blk_run(&disk, UINT32_MAX))
		;
	fake_virtio_turn(&f);
	while (fake_ring_used(&f.ring[0], &head, &len))
		n++;
	return n;
}

static uint64_t queue_write(uint64_t sector)
{
	struct vblk_header h = header(VBLK_T_OUT, sector);
	uint64_t status = new_status();
	struct fake_buf bufs[3] = { { fake_alloc_data(&f, &h, sizeof(h)), sizeof(h), false }, { fake_alloc(&f, 512, 16), 512, false },
				    { status, 1, true } };

	fake_ring_add(&f.ring[0], bufs, 3);
	return status;
}

static uint8_t status_at(uint64_t gpa)
{
	return *(uint8_t *)fake_mem(&f, gpa, 1);
}

static bool logged_at(unsigned i, enum blk_op op, uint64_t off)
{
	return disk.log[i].op == op && disk.log[i].off == off;
}

/* Of three writes the second fails, again after the first time that the machine goes on: each is done once. */
START_TEST(test_stop)
{
	uint64_t status[3];

	cfg.write_error = _i ? VIRTIO_BLK_ENOSPC : VIRTIO_BLK_STOP;
	start(EVERYTHING);
	set_wce(0);
	for (unsigned i = 0; i < 3; i++)
		status[i] = queue_write(i);
	disk.fail = _i ? -ENOSPC : -EIO;
	disk.fail_after = 1;
	ck_assert_uint_eq(serve(), 2);
	ck_assert_uint_eq(io_errors, 1);
	ck_assert(status_at(status[0]) == VBLK_S_OK && status_at(status[1]) == STATUS_UNTOUCHED && status_at(status[2]) == VBLK_S_OK);
	ck_assert_uint_eq(disk.n_log, 5); /* with two flushes */
	disk.fail = -ENOSPC;
	disk.fail_after = 0;
	dev->ops->resume(dev);
	ck_assert_uint_eq(serve(), 0);
	ck_assert_uint_eq(io_errors, 2);
	ck_assert(disk.n_log == 6 && logged_at(5, BLK_WRITE, 512));
	/* Then the write succeeds, and the flush after it fails: that alone is done again. */
	disk.fail = _i ? -ENOSPC : -EIO;
	disk.fail_after = 1;
	dev->ops->resume(dev);
	ck_assert_uint_eq(serve(), 0);
	ck_assert(disk.n_log == 8 && logged_at(6, BLK_WRITE, 512) && disk.log[7].op == BLK_FLUSH);
	dev->ops->resume(dev);
	ck_assert_uint_eq(serve(), 1);
	ck_assert(disk.n_log == 9 && disk.log[8].op == BLK_FLUSH);
	ck_assert_uint_eq(status_at(status[1]), VBLK_S_OK);
	dev->ops->resume(dev);
	ck_assert_uint_eq(serve(), 0);
	ck_assert_uint_eq(disk.n_log, 9);
	ck_assert_uint_eq(io_errors, 3);
}
END_TEST

/* What is no reason to stop: other errors, other directions, requests that could never succeed. */
START_TEST(test_no_stop)
{
	static const struct {
		enum virtio_blk_on_error read, write;
		uint32_t type;
		int error;
		bool stops;
	} cases[] = {
		{ VIRTIO_BLK_REPORT, VIRTIO_BLK_ENOSPC, VBLK_T_OUT, -EIO, false },
		{ VIRTIO_BLK_REPORT, VIRTIO_BLK_ENOSPC, VBLK_T_FLUSH, -ENOSPC, true },
		{ VIRTIO_BLK_REPORT, VIRTIO_BLK_STOP, VBLK_T_IN, -EIO, false },
		{ VIRTIO_BLK_STOP, VIRTIO_BLK_REPORT, VBLK_T_IN, -EIO, true },
		{ VIRTIO_BLK_STOP, VIRTIO_BLK_REPORT, VBLK_T_OUT, -EIO, false },
		{ VIRTIO_BLK_STOP, VIRTIO_BLK_STOP, VBLK_T_OUT, -EPERM, false },
	};

	cfg.read_error = cases[_i].read;
	cfg.write_error = cases[_i].write;
	start(EVERYTHING);
	disk.fail = cases[_i].error;
	if (cases[_i].stops) {
		struct vblk_header h = header(cases[_i].type, 0);
		struct fake_buf bufs[2] = { { fake_alloc_data(&f, &h, sizeof(h)), sizeof(h), false }, { fake_alloc(&f, 513, 16), 513, true } };

		fake_ring_add(&f.ring[0], bufs, 2);
		ck_assert_uint_eq(serve(), 0);
		ck_assert_uint_eq(io_errors, 1);
		dev->ops->resume(dev);
		ck_assert_uint_eq(serve(), 1);
	} else {
		ck_assert_int_eq(simple(cases[_i].type, 0, 512), VBLK_S_IOERR);
		ck_assert_uint_eq(io_errors, 0);
	}
}
END_TEST

/* A reset forgets what was kept; what fails during it is not kept. The next driver starts with nothing. */
START_TEST(test_reset_while_stopped)
{
	cfg.write_error = VIRTIO_BLK_STOP;
	start(EVERYTHING);
	queue_write(0);
	queue_write(1);
	disk.fail = -EIO;
	disk.fail_after = 0;
	ck_assert_uint_eq(serve(), 1);
	ck_assert_uint_eq(CONTAINER_OF(dev, struct vblk, dev)->in_flight, 1);
	queue_write(2);
	fake_virtio_kick(&f, 0);
	disk.fail = -EIO;
	fake_virtio_reset(&f);
	ck_assert_uint_eq(CONTAINER_OF(dev, struct vblk, dev)->in_flight, 0);
	ck_assert_uint_eq(io_errors, 1);
	disk.n_log = 0;
	dev->ops->resume(dev);
	ck_assert_uint_eq(disk.n_log, 0);
	ck_assert_uint_eq(fake_virtio_start(&f, EVERYTHING), 15);
	dev->ops->resume(dev);
	ck_assert_int_eq(simple(VBLK_T_OUT, 0, 512), VBLK_S_OK);
	ck_assert_uint_eq(disk.n_log, 1);
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
	Suite *s = suite_create("virtio_blk_device");
	TCase *tc = tcase_create("virtio_blk_device");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_write_cache);
	tcase_add_test(tc, test_driver_without_flush);
	tcase_add_loop_test(tc, test_stop, 0, 2);
	tcase_add_loop_test(tc, test_no_stop, 0, 6);
	tcase_add_test(tc, test_reset_while_stopped);
	tcase_add_test(tc, test_batch);
	tcase_add_test(tc, test_reset_in_flight);
	tcase_add_test(tc, test_config);
	tcase_add_test(tc, test_features_off);
	tcase_add_test(tc, test_resize);
	tcase_add_test(tc, test_refused);
	suite_add_tcase(s, tc);
	return run_vblk_suite(s);
}
