/* SPDX-License-Identifier: MIT */
/* The PCI transport on a fake bus. */
#include "tests/unit/fake_virtio.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_virtio_pci.h"
#include "vmm/err.h"
#include "vmm/util.h"

#include "hw/virtio_pci.c"

/* Doorbells */

static struct doorbell bells[8];
static unsigned n_bells;
static int bind_error;

static int bell_bind(void *ctl, const struct doorbell *bell)
{
	(void)ctl;
	if (bind_error)
		return bind_error;
	ck_assert_uint_lt(n_bells, ARRAY_SIZE(bells));
	bells[n_bells++] = *bell;
	return 0;
}

static bool bell_same(const struct doorbell *a, const struct doorbell *b)
{
	return a->pio == b->pio && a->address == b->address && a->len == b->len && a->match == b->match && a->data == b->data &&
	       a->fd == b->fd;
}

static void bell_unbind(void *ctl, const struct doorbell *bell)
{
	unsigned i = 0;

	(void)ctl;
	while (i < n_bells && !bell_same(&bells[i], bell))
		i++;
	ck_assert_uint_lt(i, n_bells);
	bells[i] = bells[--n_bells];
}

static const struct doorbell_ops bell_ops = { .bind = bell_bind, .unbind = bell_unbind };

/* The device */

#define QUEUES 2
#define ALL 15
#define MODERN_BASE UINT64_C(0x380000000)
#define IO_BASE 0xc000

static struct fake_virtio f;
static struct virtio_dev vdev;
static struct device *dev;
static struct virtio_pci *s;
static struct device_env env = { .doorbells = { .ops = &bell_ops } };
static uint8_t config[10] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };
static unsigned kicks[QUEUES], activated, destroyed;
static uint64_t features;

static uint64_t dev_features(struct virtio_dev *d)
{
	(void)d;
	return BIT64(9);
}

static void dev_config_read(struct virtio_dev *d, unsigned offset, uint8_t *buf, unsigned len)
{
	ck_assert_uint_le(offset + len, d->config_size);
	memcpy(buf, config + offset, len);
}

static int dev_activate(struct virtio_dev *d, uint64_t chosen)
{
	(void)d;
	features = chosen;
	activated++;
	return 0;
}

static void dev_kick(struct virtio_dev *d, unsigned q)
{
	struct virtq_chain chain;
	struct iovec iov[2];

	kicks[q]++;
	while (virtq_pop(&d->queues[q].vq, &chain, iov, 2) == 1)
		virtq_push(&d->queues[q].vq, chain.head, 0);
	virtio_notify(d, q);
}

static void dev_deactivate(struct virtio_dev *d)
{
	(void)d;
	activated--;
}

static void dev_destroy(struct virtio_dev *d)
{
	destroyed++;
	virtio_dev_fini(d);
}

static const struct virtio_dev_ops dev_ops = {
	.features = dev_features,
	.config_read = dev_config_read,
	.activate = dev_activate,
	.kick = dev_kick,
	.deactivate = dev_deactivate,
	.destroy = dev_destroy,
};

static void create(const struct virtio_pci_config *cfg)
{
	static const uint16_t sizes[QUEUES] = { 16, 256 };
	struct err err = ERR_INIT;

	memset(&vdev, 0, sizeof(vdev));
	vdev.ops = &dev_ops, vdev.id = VIRTIO_ID_BLOCK, vdev.name = "disk", vdev.loop = f.loop, vdev.mem = f.mem;
	vdev.config_size = sizeof(config);
	ck_assert_int_eq(virtio_dev_init(&vdev, sizes, QUEUES, &err), 0);
	dev = virtio_pci_create(&env, NULL, &vdev, cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
	f.dev = &vdev;
	s = CONTAINER_OF(dev, struct virtio_pci, dev);
	if (!cfg->legacy_only)
		fake_bar_move(&s->pci, 4, true, MODERN_BASE);
	if (!cfg->modern_only)
		fake_bar_move(&s->pci, 0, true, IO_BASE);
}

static void destroy(void)
{
	dev->ops->destroy(dev);
	ck_assert_uint_eq(activated, 0);
	ck_assert_uint_eq(n_bells, 0);
}

static const struct virtio_pci_config transitional = { .devfn = PCI_ADDR_AUTO, .vectors = -1, .class_code = 0x010000 };

static void setup(void)
{
	fake_virtio_init(&f);
	create(&transitional);
}

static void teardown(void)
{
	destroy();
	fake_virtio_fini(&f);
}

/* Accesses to a BAR, of one piece. */
static uint64_t rd(unsigned bar, unsigned at, unsigned len)
{
	uint8_t buf[8];

	memset(buf, 0xff, sizeof(buf));
	s->pci.bars[bar].region.ops->read(s, at, buf, len);
	return load_le(buf, len);
}

static void wr(unsigned bar, unsigned at, uint64_t v, unsigned len)
{
	uint8_t buf[8];

	store_le(buf, v, 8);
	s->pci.bars[bar].region.ops->write(s, at, buf, len);
}

#define C(member) offsetof(struct virtio_pci_common, member), sizeof(((struct virtio_pci_common *)0)->member)
#define L(member) offsetof(struct virtio_pci_legacy, member), sizeof(((struct virtio_pci_legacy *)0)->member)
#define MODERN(member) (rd)(4, C(member))
#define LEGACY(member) (rd)(0, L(member))

static void wr_reg(unsigned bar, unsigned at, unsigned len, uint64_t v)
{
	wr(bar, at, v, len);
}

#define MODERN_SET(member, v) wr_reg(4, C(member), v)
#define LEGACY_SET(member, v) wr_reg(0, L(member), v)

static void modern_queue(unsigned q, uint16_t size)
{
	struct virtq_config *c = &f.ring[q].cfg;

	fake_ring_init(&f.ring[q], &f, size, false, false);
	MODERN_SET(queue_select, q);
	MODERN_SET(queue_size, size);
	MODERN_SET(queue_msix_vector, q + 1);
	MODERN_SET(queue_desc[0], c->desc);
	MODERN_SET(queue_desc[1], c->desc >> 32);
	wr(4, offsetof(struct virtio_pci_common, queue_driver), c->avail, 8); /* in one piece */
	MODERN_SET(queue_device[0], c->used);
	MODERN_SET(queue_device[1], c->used >> 32);
	MODERN_SET(queue_enable, 1);
	ck_assert_uint_eq(MODERN(queue_enable), 1);
}

static void modern_start(void)
{
	fake_master(&s->pci, true);
	MODERN_SET(device_status, 0);
	MODERN_SET(device_status, 3);
	MODERN_SET(driver_feature_select, 0);
	MODERN_SET(driver_feature, BIT(9));
	MODERN_SET(driver_feature_select, 1);
	MODERN_SET(driver_feature, 1);
	MODERN_SET(device_status, 11);
	ck_assert_uint_eq(MODERN(device_status), 11);
	MODERN_SET(config_msix_vector, 0);
	modern_queue(0, 8);
	modern_queue(1, 256);
	MODERN_SET(device_status, ALL);
	ck_assert_uint_eq(MODERN(device_status), ALL);
	fake_virtio_turn(&f);
}

START_TEST(identity)
{
	static const struct { struct virtio_pci_config cfg; uint16_t device, subsystem; uint8_t revision; bool io, mem; } cases[] = {
		{ { .vectors = -1, .class_code = 0x010000 }, 0x1001, 2, 0, true, true },
		{ { .vectors = 0, .class_code = 0x010000, .modern_only = true }, 0x1042, 0x1100, 1, false, true },
		{ { .vectors = 4, .class_code = 0x010000, .legacy_only = true }, 0x1001, 2, 0, true, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		destroy();
		msix_vectors = 0;
		create(&cases[i].cfg);
		ck_assert(seen.vendor == 0x1af4 && seen.subsystem_vendor == 0x1af4 && seen.class_code == 0x010000);
		ck_assert_uint_eq(seen.device, cases[i].device);
		ck_assert_uint_eq(seen.subsystem, cases[i].subsystem);
		ck_assert_uint_eq(seen.revision, cases[i].revision);
		ck_assert(s->pci.bars[0].used == cases[i].io && s->pci.bars[4].used == cases[i].mem);
		ck_assert_int_eq(msix_vectors, cases[i].cfg.vectors < 0 ? QUEUES + 1 : cases[i].cfg.vectors);
		if (cases[i].io)
			ck_assert_uint_eq(s->pci.bars[0].region.size, 64); /* 24 + 10, rounded up */
	}
}
END_TEST

START_TEST(refusals)
{
	static const struct virtio_pci_config bad[] = {
		{ .modern_only = true, .legacy_only = true }, { .vectors = -2 }, { .vectors = 2049 },
	};
	unsigned before = destroyed;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = ERR_INIT;

		ck_assert_ptr_null(virtio_pci_create(&env, NULL, &vdev, &bad[i], &err));
		ck_assert_int_eq(err.code, -EINVAL);
	}
	destroy();
	add_error = -EBUSY;
	{
		static const uint16_t size = 16;
		struct err err = ERR_INIT;

		ck_assert_int_eq(virtio_dev_init(&vdev, &size, 1, &err), 0);
		removed = 0;
		ck_assert_ptr_null(virtio_pci_create(&env, NULL, &vdev, &transitional, &err));
		ck_assert_int_eq(err.code, -EBUSY);
		ck_assert_uint_eq(removed, 1);
		virtio_dev_fini(&vdev);
	}
	add_error = 0;
	ck_assert_uint_eq(destroyed, before + 1); /* not taken over on failure */
	create(&transitional);
}
END_TEST

/* The capabilities as a driver finds them (4.1.4). */
START_TEST(capabilities)
{
	static const uint32_t want[6][2] = { { 0, 0 }, { 0, 56 }, { 0x3000, 4 * QUEUES }, { 0x1000, 1 }, { 0x2000, sizeof(config) }, { 0, 0 } };
	unsigned found = 0;

	for (unsigned at = 0x40; at != s->pci.next_cap; at = s->pci.config[at + 1]) {
		const uint8_t *cap = s->pci.config + at;
		unsigned type = cap[3];

		ck_assert_uint_eq(cap[0], 9);
		ck_assert(type >= 1 && type <= 5 && !(found & BIT(type)));
		found |= BIT(type);
		ck_assert_uint_eq(cap[2], type == 2 || type == 5 ? 20 : 16);
		ck_assert_uint_eq(cap[4], type == 5 ? 0 : 4);
		ck_assert_uint_eq(load_le32(cap + 8), want[type][0]);
		ck_assert_uint_eq(load_le32(cap + 12), want[type][1]);
		if (type == 2)
			ck_assert_uint_eq(load_le32(cap + 16), 4);
	}
	ck_assert_uint_eq(found, 0x3e);
}
END_TEST

START_TEST(modern_registers)
{
	ck_assert_uint_eq(MODERN(num_queues), QUEUES);
	ck_assert_uint_eq(MODERN(config_msix_vector), VIRTIO_NO_VECTOR);
	ck_assert_uint_eq(MODERN(device_feature), BIT(9) | BIT(28) | BIT(29));
	MODERN_SET(device_feature_select, 1);
	ck_assert_uint_eq(MODERN(device_feature), 1);
	MODERN_SET(device_feature_select, 2);
	ck_assert_uint_eq(MODERN(device_feature), 0);
	MODERN_SET(queue_select, 1);
	ck_assert_uint_eq(MODERN(queue_size), 256);
	ck_assert_uint_eq(MODERN(queue_notify_off), 1);
	/* A driver may make it smaller. */
	MODERN_SET(queue_size, 64);
	ck_assert_uint_eq(MODERN(queue_size), 64);
	for (unsigned i = 0; i < 4; i++)
		MODERN_SET(queue_size, ((const unsigned[]){ 0, 48, 512, 0xffff })[i]);
	ck_assert_uint_eq(MODERN(queue_size), 64);
	/* Vectors that do not exist. */
	MODERN_SET(queue_msix_vector, 2);
	ck_assert_uint_eq(MODERN(queue_msix_vector), 2);
	MODERN_SET(queue_msix_vector, QUEUES + 1);
	ck_assert_uint_eq(MODERN(queue_msix_vector), VIRTIO_NO_VECTOR);
	MODERN_SET(config_msix_vector, 0x800);
	ck_assert_uint_eq(MODERN(config_msix_vector), VIRTIO_NO_VECTOR);
	/* Queues that do not exist. */
	for (unsigned i = 0; i < 3; i++) {
		MODERN_SET(queue_select, ((const unsigned[]){ QUEUES, 64, 0xffff })[i]);
		ck_assert_uint_eq(MODERN(queue_size), 0);
		MODERN_SET(queue_size, 16);
		MODERN_SET(queue_msix_vector, 1);
		MODERN_SET(queue_desc[0], 4096);
		MODERN_SET(queue_enable, 1);
		ck_assert_uint_eq(MODERN(queue_enable), 0);
		ck_assert_uint_eq(MODERN(queue_msix_vector), VIRTIO_NO_VECTOR);
		ck_assert_uint_eq(MODERN(queue_desc[0]), 0);
	}
	/* A part of a field leaves the rest of it. */
	MODERN_SET(queue_select, 0);
	MODERN_SET(queue_desc[0], 0x11223344);
	wr(4, offsetof(struct virtio_pci_common, queue_desc) + 1, 0xaa, 1);
	ck_assert_uint_eq(MODERN(queue_desc[0]), 0x1122aa44);
	ck_assert_uint_eq(rd(4, offsetof(struct virtio_pci_common, queue_desc) + 2, 2), 0x1122);
	/* Misaligned rings. */
	MODERN_SET(queue_enable, 1);
	ck_assert_uint_eq(MODERN(queue_enable), 0);
	/* Everything beyond the structures. */
	ck_assert_uint_eq(rd(4, 56, 8), UINT64_MAX);
	ck_assert_uint_eq(rd(4, 0x1001, 1), 0xff);
	ck_assert_uint_eq(rd(4, 0x3000, 4), UINT32_MAX);
}
END_TEST

START_TEST(modern_life)
{
	modern_start();
	ck_assert_uint_eq(activated, 1);
	ck_assert_uint_eq(features, VIRTIO_F_VERSION_1 | BIT64(9));
	ck_assert_uint_eq(vdev.queues[0].vq.cfg.size, 8);
	ck_assert_uint_eq(vdev.queues[1].vq.cfg.avail, f.ring[1].cfg.avail);
	/* Frozen (CVE-2026-5747). */
	MODERN_SET(queue_size, 16);
	MODERN_SET(queue_desc[0], 0);
	MODERN_SET(queue_enable, 0);
	ck_assert_uint_eq(MODERN(queue_size), 256);
	ck_assert_uint_eq(MODERN(queue_desc[0]), (uint32_t)f.ring[1].cfg.desc);
	ck_assert_uint_eq(MODERN(queue_enable), 1);
	ck_assert_uint_eq(MODERN(config_generation), 0);
	virtio_config_changed(&vdev);
	ck_assert_uint_eq(MODERN(config_generation), 1);
	/* A doorbell that reaches the bus. */
	wr(4, 0x3004, 1, 2);
	fake_virtio_turn(&f);
	ck_assert_uint_eq(kicks[1], 2);
	wr(4, 0x3000 + 4 * QUEUES, 1, 2);
	wr(4, 0x3ffc, 1, 2);
	/* And the end. */
	MODERN_SET(device_status, 0);
	ck_assert_uint_eq(MODERN(device_status), 0);
	ck_assert_uint_eq(activated, 0);
	ck_assert_uint_eq(MODERN(config_msix_vector), VIRTIO_NO_VECTOR);
	ck_assert_uint_eq(MODERN(queue_msix_vector), VIRTIO_NO_VECTOR);
	ck_assert_uint_eq(MODERN(queue_select), 0);
	ck_assert_uint_eq(MODERN(queue_size), 16);
	ck_assert_uint_eq(MODERN(queue_enable), 0);
}
END_TEST

static void serve(unsigned q)
{
	struct fake_buf buf = { 0x8000, 64, true };

	fake_ring_add(&f.ring[q], &buf, 1);
	fake_virtio_kick(&f, q);
}

START_TEST(interrupts)
{
	modern_start();
	serve(0);
	ck_assert(intx_level);
	virtio_config_changed(&vdev);
	ck_assert_uint_eq(rd(4, 0x1000, 1), 3);
	ck_assert(!intx_level);
	ck_assert_uint_eq(rd(4, 0x1000, 1), 0);
	virtio_config_changed(&vdev);
	ck_assert(intx_level);
	ck_assert_uint_eq(LEGACY(isr), 2);
	ck_assert(!intx_level);
	msix_on = true;
	serve(1);
	serve(0);
	serve(0);
	virtio_config_changed(&vdev);
	ck_assert(!intx_level && fired[0] == 1 && fired[1] == 2 && fired[2] == 1);
	ck_assert_uint_eq(rd(4, 0x1000, 1), 2); /* 4.1.4.5.1 */
	MODERN_SET(queue_msix_vector, VIRTIO_NO_VECTOR);
	serve(1);
	ck_assert(!intx_level && fired[2] == 1);
	MODERN_SET(device_status, 0);
	virtio_config_changed(&vdev);
	ck_assert_uint_eq(fired[0], 1);
	ck_assert_uint_eq(rd(4, 0x1000, 1), 0);
}
END_TEST

START_TEST(doorbells_follow)
{
	unsigned before;

	ck_assert_uint_eq(n_bells, 0);
	modern_start();
	ck_assert_uint_eq(n_bells, 2);
	for (unsigned q = 0; q < 2; q++) {
		ck_assert(!bells[q].pio && !bells[q].match && bells[q].len == 0);
		ck_assert_uint_eq(bells[q].address, MODERN_BASE + 0x3000 + 4 * q);
		ck_assert_int_eq(bells[q].fd, vdev.queues[q].bell.fd);
	}
	before = kicks[1];
	fake_bar_move(&s->pci, 4, true, 0xe0000000);
	ck_assert_uint_eq(n_bells, 2);
	ck_assert_uint_eq(bells[0].address, 0xe0003000);
	fake_virtio_turn(&f);
	ck_assert_uint_eq(kicks[1], before + 1); /* rung once, for what came in between */
	/* The other interface's BAR does not matter; switched off, there are none. */
	fake_bar_move(&s->pci, 0, true, 0xd000);
	ck_assert_uint_eq(n_bells, 2);
	fake_bar_move(&s->pci, 4, false, 0);
	ck_assert_uint_eq(n_bells, 0);
	/* A place where they cannot be bound is served by exits. */
	bind_error = -EEXIST;
	fake_bar_move(&s->pci, 4, true, MODERN_BASE);
	ck_assert_uint_eq(n_bells, 0);
	bind_error = 0;
	MODERN_SET(device_status, 0);
	ck_assert_uint_eq(n_bells, 0);
	fake_bar_move(&s->pci, 4, true, 0xe0000000);
	ck_assert_uint_eq(n_bells, 0);
	modern_start();
	ck_assert_uint_eq(bells[0].address, 0xe0003000);
	dev->ops->reset(dev);
	ck_assert_uint_eq(n_bells, 0);
	ck_assert_uint_eq(activated, 0);
}
END_TEST

/* 6.2.2 of PCI 3.0: without bus mastering there is nothing that the device may do in memory. */
START_TEST(mastering)
{
	modern_start();
	fake_master(&s->pci, false);
	ck_assert_uint_eq(activated, 0);
	ck_assert_uint_eq(n_bells, 0);
	ck_assert_uint_eq(MODERN(device_status), ALL | VIRTIO_STATUS_NEEDS_RESET);
	serve(1);
	ck_assert_uint_eq(fake_ring_used_count(&f.ring[1]), 0);
	/* It does not come back by itself: */
	fake_master(&s->pci, true);
	ck_assert_uint_eq(activated, 0);
	modern_start();
	ck_assert_uint_eq(activated, 1);
	/* Switched off while nothing is active; DRIVER_OK waits for it, and finds what was made available meanwhile. */
	MODERN_SET(device_status, 0);
	fake_master(&s->pci, false);
	MODERN_SET(device_status, 3);
	MODERN_SET(driver_feature_select, 1);
	MODERN_SET(driver_feature, 1);
	MODERN_SET(device_status, 11);
	modern_queue(0, 8);
	MODERN_SET(device_status, ALL);
	serve(0);
	ck_assert_uint_eq(MODERN(device_status), ALL);
	ck_assert_uint_eq(activated, 0);
	ck_assert_uint_eq(fake_ring_used_count(&f.ring[0]), 0);
	fake_master(&s->pci, true);
	fake_virtio_turn(&f);
	ck_assert_uint_eq(activated, 1);
	ck_assert_uint_eq(n_bells, 1);
	ck_assert_uint_eq(fake_ring_used_count(&f.ring[0]), 1);
	ck_assert_uint_eq(MODERN(device_status), ALL);
	/* Reset while it waits. */
	MODERN_SET(device_status, 0);
	dev->ops->reset(dev);
	ck_assert_uint_eq(activated, 0);
}
END_TEST

/* A legacy ring at `pfn`: what the driver lays out there (2.7.2). */
static void legacy_queue(unsigned q, uint32_t pfn, uint16_t size)
{
	f.ring[q] = (struct fake_ring){ .mem = f.mem };
	f.ring[q].cfg.size = size;
	f.ring[q].cfg.desc = (uint64_t)pfn << 12;
	f.ring[q].cfg.avail = f.ring[q].cfg.desc + 16u * size;
	f.ring[q].cfg.used = ((uint64_t)pfn << 12) + (size == 16 ? 4096 : 8192);
	LEGACY_SET(queue_select, q);
	ck_assert_uint_eq(LEGACY(queue_size), size);
	ck_assert_uint_eq(LEGACY(queue_pfn), 0);
	LEGACY_SET(queue_pfn, pfn);
	ck_assert_uint_eq(LEGACY(queue_pfn), pfn);
	ck_assert_uint_eq(vdev.queues[q].set.avail, f.ring[q].cfg.avail);
	ck_assert_uint_eq(vdev.queues[q].set.used, f.ring[q].cfg.used);
}

/* As Linux 3.2 does it: the disk's partitions are read before DRIVER_OK. */
START_TEST(legacy_life)
{
	LEGACY_SET(device_status, 0);
	LEGACY_SET(device_status, 1);
	ck_assert_uint_eq(s->pci.config[PCI_COMMAND], 0);
	LEGACY_SET(device_status, 3);
	ck_assert_uint_eq(s->pci.config[PCI_COMMAND], PCI_COMMAND_MASTER); /* it does not know the bit */
	ck_assert_uint_eq(LEGACY(device_features), BIT(9) | BIT(27) | BIT(28) | BIT(29));
	LEGACY_SET(driver_features, BIT(9) | BIT(10));
	ck_assert_uint_eq(LEGACY(driver_features), BIT(9));
	legacy_queue(0, 0x100, 16);
	legacy_queue(1, 0x200, 256);
	LEGACY_SET(queue_size, 8);
	ck_assert_uint_eq(LEGACY(queue_size), 256);
	ck_assert_uint_eq(n_bells, 0);
	fake_ring_add(&f.ring[1], &(struct fake_buf){ 0x8000, 64, true }, 1);
	LEGACY_SET(queue_notify, 1);
	fake_virtio_turn(&f);
	ck_assert_uint_eq(activated, 1);
	ck_assert_uint_eq(fake_ring_used_count(&f.ring[1]), 1);
	ck_assert(intx_level);
	ck_assert_uint_eq(LEGACY(isr), 1);
	ck_assert(!intx_level);
	ck_assert_uint_eq(features, BIT64(9));
	LEGACY_SET(device_status, 7);
	ck_assert_uint_eq(LEGACY(device_status), 7);
	ck_assert_uint_eq(activated, 1);
	ck_assert_uint_eq(n_bells, 2);
	for (unsigned q = 0; q < 2; q++) {
		ck_assert(bells[q].pio && bells[q].match && bells[q].data == q && bells[q].len == 2);
		ck_assert_uint_eq(bells[q].address, IO_BASE + 16);
	}
	fake_bar_move(&s->pci, 0, true, 0xd000);
	ck_assert_uint_eq(bells[0].address, 0xd010);
	/* The address is frozen, 0 gives everything up. */
	LEGACY_SET(queue_pfn, 0x300);
	ck_assert_uint_eq(LEGACY(queue_pfn), 0x200);
	LEGACY_SET(queue_pfn, 0);
	ck_assert_uint_eq(activated, 0);
	ck_assert_uint_eq(LEGACY(device_status), 0);
	ck_assert_uint_eq(n_bells, 0);
	/* A ring that is not in memory. */
	LEGACY_SET(queue_pfn, 0xfffff);
	ck_assert_uint_eq(LEGACY(queue_pfn), 0);
	LEGACY_SET(queue_pfn, 0xfff); /* the last page: no room */
	ck_assert_uint_eq(LEGACY(queue_pfn), 0);
	LEGACY_SET(queue_select, 0xffff);
	ck_assert_uint_eq(LEGACY(queue_size), 0);
	LEGACY_SET(queue_pfn, 0x100);
	LEGACY_SET(queue_pfn, 0);
}
END_TEST

START_TEST(legacy_layout)
{
	/* The configuration is at 20, or at 24 with MSI-X. */
	for (unsigned i = 0; i < sizeof(config); i++)
		ck_assert_uint_eq(rd(0, 20 + i, 1), config[i]);
	ck_assert_uint_eq(rd(0, 30, 2), 0xffff);
	ck_assert_uint_eq(rd(0, 28, 4), 0xffff0a09);
	msix_on = true;
	ck_assert_uint_eq(rd(0, 24, 4), 0x04030201);
	ck_assert_uint_eq(LEGACY(config_msix_vector), VIRTIO_NO_VECTOR);
	LEGACY_SET(config_msix_vector, 1);
	ck_assert_uint_eq(LEGACY(config_msix_vector), 1);
	LEGACY_SET(queue_msix_vector, 2);
	ck_assert_uint_eq(LEGACY(queue_msix_vector), 2);
	LEGACY_SET(queue_msix_vector, 3);
	ck_assert_uint_eq(LEGACY(queue_msix_vector), VIRTIO_NO_VECTOR);
	msix_on = false;
	wr(0, 20, 2, 2);
	ck_assert_uint_eq(atomic_load(&s->config_vector), 1);
	/* Every access there is, then a reset. */
	for (unsigned at = 0; at < 64; at++)
		for (unsigned len = 1; len <= 4 && at % 4 + len <= 4; len++) {
			wr(0, at, UINT32_MAX, len);
			(void)rd(0, at, len);
		}
	LEGACY_SET(device_status, 0);
	ck_assert_uint_eq(LEGACY(device_status), 0);
}
END_TEST

/* 4.1.4.9 */
static void cfg_set(uint8_t bar, uint32_t offset, uint32_t length)
{
	s->pci.config[s->cfg_cap + 4] = bar;
	store_le32(s->pci.config + s->cfg_cap + 8, offset);
	store_le32(s->pci.config + s->cfg_cap + 12, length);
	s->pci.ops->config_written(&s->pci, s->cfg_cap + 12, 4);
}

static uint32_t cfg_get(void)
{
	store_le32(s->pci.config + s->cfg_cap + 16, 0x5a5a5a5a);
	s->pci.ops->config_read(&s->pci, s->cfg_cap + 16, 4);
	return load_le32(s->pci.config + s->cfg_cap + 16);
}

static void cfg_put(uint32_t v)
{
	store_le32(s->pci.config + s->cfg_cap + 16, v);
	s->pci.ops->config_written(&s->pci, s->cfg_cap + 16, 4);
}

START_TEST(config_window)
{
	static const struct { uint8_t bar; uint32_t offset, length; } bad[] = {
		{ 4, 0, 0 }, { 4, 0, 3 }, { 4, 0, 8 }, { 4, 1, 2 }, { 4, 2, 4 }, { 4, 0x4000, 4 }, { 4, 0xfffffffc, 4 }, { 4, 0, 0xffffffff },
		{ 0, 0, 4 }, { 1, 0, 4 }, { 5, 0, 4 }, { 255, 0, 4 },
	};

	cfg_set(4, offsetof(struct virtio_pci_common, num_queues), 2);
	ck_assert_uint_eq(cfg_get(), 0xffff0000 | QUEUES);
	cfg_set(4, 0x2000 + 8, 4);
	ck_assert_uint_eq(cfg_get(), 0xffff0a09);
	cfg_set(4, offsetof(struct virtio_pci_common, device_status), 1);
	cfg_put(3);
	ck_assert_uint_eq(MODERN(device_status), 3);
	ck_assert_uint_eq(cfg_get() & 0xff, 3);
	cfg_put(0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cfg_set(bad[i].bar, bad[i].offset, bad[i].length);
		ck_assert_uint_eq(cfg_get(), 0x5a5a5a5a);
		cfg_put(0xffffffff);
		ck_assert_uint_eq(MODERN(device_status), 0);
	}
	/* Only its data bytes act; the doorbell works through it. */
	modern_start();
	cfg_set(4, 0x3004, 2);
	s->pci.ops->config_written(&s->pci, s->cfg_cap + 8, 4);
	s->pci.ops->config_written(&s->pci, s->cfg_cap + 20, 4);
	fake_virtio_turn(&f);
	ck_assert_uint_eq(kicks[1], 1);
	cfg_put(1);
	fake_virtio_turn(&f);
	ck_assert_uint_eq(kicks[1], 2);
	dev->ops->reset(dev);
	ck_assert_uint_eq(load_le32(s->pci.config + s->cfg_cap + 8), 0);
}
END_TEST

START_TEST(hostile_modern)
{
	for (unsigned at = 0; at < 0x4000; at += at < 64 ? 1 : 61)
		for (unsigned len = 1; len <= 8 && at % 8 + len <= 8; len++) {
			wr(4, at, UINT64_MAX, len);
			(void)rd(4, at, len);
			wr(4, at, 0x0102010201020102, len);
		}
	modern_start();
	for (unsigned at = 0; at < 64; at++)
		wr(4, at, 0x55, 1);
	MODERN_SET(device_status, 0);
	ck_assert_uint_eq(MODERN(device_status), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio_pci");
	TCase *t = tcase_create("virtio_pci");
	SRunner *sr;
	int failed;

	suite_add_tcase(suite, t);
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, identity);
	tcase_add_test(t, refusals);
	tcase_add_test(t, capabilities);
	tcase_add_test(t, modern_registers);
	tcase_add_test(t, modern_life);
	tcase_add_test(t, interrupts);
	tcase_add_test(t, doorbells_follow);
	tcase_add_test(t, mastering);
	tcase_add_test(t, legacy_life);
	tcase_add_test(t, legacy_layout);
	tcase_add_test(t, config_window);
	tcase_add_test(t, hostile_modern);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
