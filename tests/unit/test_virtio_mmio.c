/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_virtio.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/virtio_mmio_regs.h"
#include "vmm/bus.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define BASE UINT64_C(0xd0000000)
#define QUEUES 2
#define ALL (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK)

static struct fake_virtio f;
static struct device_env env;
static struct device *dev;
static struct virtio_dev vdev;
static uint8_t config[6] = { 1, 2, 3, 4, 5, 6 };
static unsigned kicks[QUEUES], activated, destroyed;
static bool line;

/* Doorbells that are bound. */
static struct doorbell bells[8];
static unsigned n_bells;
static int bind_error;

static uint64_t dev_features(struct virtio_dev *d)
{
	(void)d;
	return BIT64(3);
}

static void dev_config_read(struct virtio_dev *d, unsigned offset, uint8_t *buf, unsigned len)
{
	ck_assert_uint_le(offset + len, d->config_size);
	memcpy(buf, config + offset, len);
}

static int dev_activate(struct virtio_dev *d, uint64_t features)
{
	(void)d;
	ck_assert_uint_eq(features, VIRTIO_F_VERSION_1 | BIT64(3));
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

static void irq_level(void *ctl, unsigned pin, bool level)
{
	(void)ctl;
	ck_assert_uint_eq(pin, 5);
	line = level;
}

static const struct irq_ops irq_ops = { .set = irq_level };

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

static uint32_t rd(unsigned reg)
{
	uint8_t buf[4];

	bus_read(env.mmio, BASE + reg, buf, 4);
	return load_le32(buf);
}

static void wr(unsigned reg, uint32_t v)
{
	uint8_t buf[4];

	store_le32(buf, v);
	bus_write(env.mmio, BASE + reg, buf, 4);
}

static void setup(void)
{
	static const uint16_t sizes[QUEUES] = { 16, 8 };
	struct err err = ERR_INIT;
	struct irq_line irq = { .ops = &irq_ops, .pin = 5 };

	fake_virtio_init(&f);
	memset(&vdev, 0, sizeof(vdev));
	vdev.ops = &dev_ops, vdev.id = VIRTIO_ID_BLOCK, vdev.name = "disk", vdev.loop = f.loop, vdev.mem = f.mem;
	vdev.config_size = sizeof(config);
	ck_assert_int_eq(virtio_dev_init(&vdev, sizes, QUEUES, &err), 0);
	env.mmio = bus_create("memory", UINT64_MAX, &err);
	env.doorbells.ops = &bell_ops;
	dev = virtio_mmio_create(&env, &vdev, BASE, irq, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
	f.dev = &vdev;
	n_bells = activated = destroyed = 0;
	bind_error = 0;
	memset(kicks, 0, sizeof(kicks));
}

static void teardown(void)
{
	dev->ops->destroy(dev);
	ck_assert_uint_eq(destroyed, 1);
	ck_assert_uint_eq(activated, 0);
	ck_assert_uint_eq(n_bells, 0);
	bus_destroy(env.mmio);
	fake_virtio_fini(&f);
}

static void queue_setup(unsigned q, uint16_t size)
{
	struct virtq_config *c = &f.ring[q].cfg;

	fake_ring_init(&f.ring[q], &f, size, false, false);
	wr(VIRTIO_MMIO_QUEUE_SEL, q);
	wr(VIRTIO_MMIO_QUEUE_NUM, size);
	wr(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)c->desc);
	wr(VIRTIO_MMIO_QUEUE_DESC_HIGH, c->desc >> 32);
	wr(VIRTIO_MMIO_QUEUE_DRIVER_LOW, (uint32_t)c->avail);
	wr(VIRTIO_MMIO_QUEUE_DRIVER_HIGH, c->avail >> 32);
	wr(VIRTIO_MMIO_QUEUE_DEVICE_LOW, (uint32_t)c->used);
	wr(VIRTIO_MMIO_QUEUE_DEVICE_HIGH, c->used >> 32);
	wr(VIRTIO_MMIO_QUEUE_READY, 1);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_QUEUE_READY), 1);
}

static void start(void)
{
	wr(VIRTIO_MMIO_STATUS, 0);
	wr(VIRTIO_MMIO_STATUS, 3);
	wr(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	wr(VIRTIO_MMIO_DRIVER_FEATURES, 8);
	wr(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	wr(VIRTIO_MMIO_DRIVER_FEATURES, 1);
	wr(VIRTIO_MMIO_STATUS, 3 | VIRTIO_STATUS_FEATURES_OK);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_STATUS), 3 | VIRTIO_STATUS_FEATURES_OK);
	queue_setup(0, 16);
	queue_setup(1, 4);
	wr(VIRTIO_MMIO_STATUS, ALL);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_STATUS), ALL);
	fake_virtio_turn(&f);
}

START_TEST(identity)
{
	ck_assert_uint_eq(rd(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_VERSION), 2);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_DEVICE_ID), 2);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_STATUS), 0);
	wr(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_DEVICE_FEATURES), (3u << 28) | 8);
	wr(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_DEVICE_FEATURES), 1);
	wr(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_DEVICE_FEATURES), 0);
	/* No shared memory (4.2.2.2). */
	wr(VIRTIO_MMIO_SHM_SEL, 0);
	for (unsigned reg = VIRTIO_MMIO_SHM_LEN_LOW; reg <= VIRTIO_MMIO_SHM_BASE_HIGH; reg += 4)
		ck_assert_uint_eq(rd(reg), UINT32_MAX);
	wr(VIRTIO_MMIO_MAGIC_VALUE, 0);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
}
END_TEST

START_TEST(queues)
{
	start();
	ck_assert_uint_eq(activated, 1);
	ck_assert_uint_eq(kicks[0], 1);
	ck_assert_uint_eq(vdev.queues[0].vq.cfg.size, 16);
	ck_assert_uint_eq(vdev.queues[1].vq.cfg.size, 4);
	ck_assert_uint_eq(vdev.queues[1].vq.cfg.desc, f.ring[1].cfg.desc);
	ck_assert_uint_eq(vdev.queues[1].vq.cfg.avail, f.ring[1].cfg.avail);
	ck_assert_uint_eq(vdev.queues[1].vq.cfg.used, f.ring[1].cfg.used);
	/* Frozen. */
	wr(VIRTIO_MMIO_QUEUE_SEL, 1);
	wr(VIRTIO_MMIO_QUEUE_DESC_LOW, 0x1000);
	wr(VIRTIO_MMIO_QUEUE_NUM, 8);
	wr(VIRTIO_MMIO_QUEUE_READY, 0);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_QUEUE_READY), 1);
	ck_assert_uint_eq(vdev.queues[1].set.desc, f.ring[1].cfg.desc);
	ck_assert_uint_eq(vdev.queues[1].set.size, 4);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_QUEUE_NUM_MAX), 8);
	/* Others do not exist. */
	wr(VIRTIO_MMIO_QUEUE_SEL, QUEUES);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_QUEUE_READY), 0);
	wr(VIRTIO_MMIO_QUEUE_NUM, 8);
	wr(VIRTIO_MMIO_QUEUE_DESC_LOW, 8);
	wr(VIRTIO_MMIO_QUEUE_READY, 1);
	wr(VIRTIO_MMIO_QUEUE_READY, 0);
	wr(VIRTIO_MMIO_QUEUE_NOTIFY, QUEUES);
	wr(VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	/* Before DRIVER_OK a queue may be given up. */
	wr(VIRTIO_MMIO_STATUS, 0);
	queue_setup(0, 8);
	wr(VIRTIO_MMIO_QUEUE_READY, 0);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_QUEUE_READY), 0);
	queue_setup(0, 4);
	/* Rings outside memory are refused. */
	wr(VIRTIO_MMIO_QUEUE_SEL, 1);
	wr(VIRTIO_MMIO_QUEUE_DESC_HIGH, 1);
	wr(VIRTIO_MMIO_QUEUE_READY, 1);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_QUEUE_READY), 0);
}
END_TEST

START_TEST(interrupts)
{
	struct fake_buf buf = { fake_alloc(&f, 64, 8), 64, true };

	start();
	ck_assert(!line);
	fake_ring_add(&f.ring[0], &buf, 1);
	wr(VIRTIO_MMIO_QUEUE_NOTIFY, 0); /* had it not been bound */
	fake_virtio_turn(&f);
	ck_assert_uint_eq(kicks[0], 2);
	ck_assert(line);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_QUEUE);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_CONFIG_GENERATION), 0);
	virtio_config_changed(&vdev);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_CONFIG_GENERATION), 1);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_QUEUE | VIRTIO_MMIO_INT_CONFIG);
	wr(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_QUEUE | 0xfffffffc);
	ck_assert(line);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	wr(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	ck_assert(!line);
	virtio_config_changed(&vdev);
	ck_assert(line);
	wr(VIRTIO_MMIO_STATUS, 0x100); /* no zero */
	ck_assert_uint_eq(rd(VIRTIO_MMIO_STATUS), ALL);
	wr(VIRTIO_MMIO_STATUS, 0);
	ck_assert(!line);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	virtio_config_changed(&vdev);
	ck_assert(!line);
}
END_TEST

START_TEST(doorbell_source)
{
	start();
	ck_assert_uint_eq(n_bells, 2);
	for (unsigned q = 0; q < 2; q++) {
		ck_assert(!bells[q].pio && bells[q].match && bells[q].data == q && bells[q].len == 4);
		ck_assert_uint_eq(bells[q].address, BASE + VIRTIO_MMIO_QUEUE_NOTIFY);
		ck_assert_int_eq(bells[q].fd, vdev.queues[q].bell.fd);
	}
	wr(VIRTIO_MMIO_STATUS, 0);
	ck_assert_uint_eq(n_bells, 0);
	bind_error = -EEXIST;
	start();
	wr(VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	fake_virtio_turn(&f);
	ck_assert_uint_eq(kicks[1], 3);
	/* The machine's reset is a driver's. */
	dev->ops->reset(dev);
	ck_assert_uint_eq(rd(VIRTIO_MMIO_STATUS), 0);
	ck_assert_uint_eq(activated, 0);
}
END_TEST

START_TEST(widths)
{
	uint8_t buf[8];

	/* The configuration takes all; its end is where it ends. */
	for (unsigned offset = 0; offset < 12; offset++) {
		for (unsigned len = 1; len <= 8; len++) {
			bus_read(env.mmio, BASE + VIRTIO_MMIO_CONFIG + offset, buf, len);
			for (unsigned i = 0; i < len; i++)
				ck_assert_uint_eq(buf[i], offset + i < sizeof(config) ? config[offset + i] : 0xff);
			bus_write(env.mmio, BASE + VIRTIO_MMIO_CONFIG + offset, buf, len); /* read-only */
		}
	}
	/* Registers do not. */
	for (unsigned offset = 0; offset < VIRTIO_MMIO_CONFIG; offset++) {
		for (unsigned len = 1; len <= 2; len++) {
			memset(buf, 0xff, sizeof(buf));
			bus_write(env.mmio, BASE + offset, buf, len);
			bus_read(env.mmio, BASE + offset, buf, len);
			ck_assert_uint_eq(buf[0], 0xff);
		}
	}
	ck_assert_uint_eq(rd(VIRTIO_MMIO_STATUS), 0);
	/* Every register written with ones, at every place. */
	for (unsigned reg = 0; reg < VIRTIO_MMIO_SIZE; reg += 4) {
		wr(reg, UINT32_MAX);
		(void)rd(reg);
	}
	/* All status bits at once, without features: the driver gave up, and neither FEATURES_OK nor DRIVER_OK holds. */
	ck_assert_uint_eq(rd(VIRTIO_MMIO_STATUS), VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FAILED);
}
END_TEST

START_TEST(place_taken)
{
	struct err err = ERR_INIT;
	struct virtio_dev other = { .ops = &dev_ops, .name = "other", .loop = f.loop, .mem = f.mem };
	uint16_t size = 4;

	ck_assert_int_eq(virtio_dev_init(&other, &size, 1, &err), 0);
	ck_assert_ptr_null(virtio_mmio_create(&env, &other, BASE + 0x100, (struct irq_line){ .ops = NULL }, &err));
	ck_assert_int_eq(err.code, -EEXIST);
	virtio_dev_fini(&other);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_mmio");
	TCase *t = tcase_create("virtio_mmio");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, identity);
	tcase_add_test(t, queues);
	tcase_add_test(t, interrupts);
	tcase_add_test(t, doorbell_source);
	tcase_add_test(t, widths);
	tcase_add_test(t, place_taken);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
