/* SPDX-License-Identifier: MIT */
/*
 * A virtio-blk device between a driver that can do anything (fake_virtio) and a disk that waits (fake_blockdev), for its tests: one at
 * a time, in file scope, as the fixture of every test.
 */
#ifndef TESTS_UNIT_FAKE_VBLK_H
#define TESTS_UNIT_FAKE_VBLK_H

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
static unsigned io_errors; /* how often the machine was asked to stop */

static inline void fake_request(void *machine, enum vm_request what, int status)
{
	(void)machine;
	ck_assert(what == VM_REQUEST_IO_ERROR && status == 0);
	io_errors++;
}

static inline void setup(void)
{
	log_set_level(LOG_LEVEL_NONE);
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

static inline void create(void)
{
	const struct device_env env = { .loop = f.loop, .mem = f.mem, .link = { .request = fake_request } };
	struct err err = ERR_INIT;

	dev = virtio_blk_create(&env, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
	fake_virtio_attach(&f, dev);
}

static inline void start(uint64_t features)
{
	create();
	ck_assert_uint_eq(fake_virtio_start(&f, features), 15);
}

static inline void teardown(void)
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

static inline struct vblk_header header(uint32_t type, uint64_t sector)
{
	return (struct vblk_header){ .type = le32_of(type), .sector = le64_of(sector) };
}

/* Kicks, lets the disk do everything, and takes the one used element: the status, and the length in `*used`. */
static inline int finish(uint64_t status_gpa, uint32_t *used)
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

static inline uint64_t new_status(void)
{
	return fake_alloc_data(&f, &(uint8_t){ STATUS_UNTOUCHED }, 1);
}

/* A plain request: header, data, status. */
static inline int request(uint32_t type, uint64_t sector, uint64_t data, uint32_t len, uint32_t *used)
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

static inline int simple(uint32_t type, uint64_t sector, uint32_t len)
{
	uint32_t used;

	return request(type, sector, fake_alloc(&f, len ? len : 1, 16), len, &used);
}

static inline int ranges(uint32_t type, const struct vblk_range *r, uint32_t bytes)
{
	uint32_t used;

	return request(type, 0, fake_alloc_data(&f, r, bytes), bytes, &used);
}

static inline struct vblk_range range(uint64_t sector, uint32_t n, uint32_t flags)
{
	return (struct vblk_range){ le64_of(sector), le32_of(n), le32_of(flags) };
}

/* ---- the write cache ---- */

static inline void set_wce(uint8_t value)
{
	dev->ops->config_write(dev, offsetof(struct vblk_config, writeback), &value, 1);
}

static inline uint8_t get_wce(void)
{
	uint8_t value;

	dev->ops->config_read(dev, offsetof(struct vblk_config, writeback), &value, 1);
	return value;
}

static inline int run_vblk_suite(Suite *s)
{
	SRunner *sr = srunner_create(s);
	int failed;

	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}

#endif
