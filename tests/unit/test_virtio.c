/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_virtio.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hw/virtio_transport.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define QUEUES 3
#define OWN_FEATURES (BIT64(5) | BIT64(51))
#define ACK VIRTIO_STATUS_ACKNOWLEDGE
#define DRIVER VIRTIO_STATUS_DRIVER
#define FEATURES_OK VIRTIO_STATUS_FEATURES_OK
#define DRIVER_OK VIRTIO_STATUS_DRIVER_OK
#define NEEDS_RESET VIRTIO_STATUS_NEEDS_RESET
#define FAILED VIRTIO_STATUS_FAILED
#define MODERN (VIRTIO_F_VERSION_1 | BIT64(5))

/* A device that gives every chain back as it is. */
static struct echo {
	struct virtio_dev vdev;
	unsigned activated, deactivated, kicks[QUEUES];
	uint64_t features;
	bool active;    /* between activate and deactivate */
	int refuse;     /* what activate returns */
	uint8_t config[12];
} echo;

static struct fake_virtio f;

static uint64_t echo_features(struct virtio_dev *dev)
{
	(void)dev;
	return OWN_FEATURES | BIT64(28) | BIT64(40); /* the last two are not the device's to offer */
}

static void echo_config_read(struct virtio_dev *dev, unsigned offset, uint8_t *buf, unsigned len)
{
	ck_assert_uint_le(offset + len, dev->config_size);
	memcpy(buf, echo.config + offset, len);
}

static void echo_config_write(struct virtio_dev *dev, unsigned offset, const uint8_t *buf, unsigned len)
{
	ck_assert_uint_le(offset + len, dev->config_size);
	memcpy(echo.config + offset, buf, len);
}

static int echo_activate(struct virtio_dev *dev, uint64_t features)
{
	(void)dev;
	ck_assert(!echo.active);
	echo.activated++;
	echo.features = features;
	echo.active = echo.refuse == 0;
	return echo.refuse;
}

static void echo_kick(struct virtio_dev *dev, unsigned q)
{
	struct virtq *vq = &dev->queues[q].vq;
	struct virtq_chain chain;
	struct iovec iov[4];
	int rc;

	ck_assert(echo.active);
	ck_assert_uint_ne(vq->cfg.size, 0);
	echo.kicks[q]++;
	do {
		virtq_doorbell_off(vq);
		while ((rc = virtq_pop(vq, &chain, iov, ARRAY_SIZE(iov))) == 1)
			virtq_push(vq, chain.head, chain.in_len);
		if (rc < 0) {
			virtio_queue_broken(dev, q);
			return;
		}
	} while (virtq_doorbell_on(vq));
	virtio_notify(dev, q);
}

static void echo_deactivate(struct virtio_dev *dev)
{
	(void)dev;
	ck_assert(echo.active);
	echo.deactivated++;
	echo.active = false;
}

static void echo_destroy(struct virtio_dev *dev)
{
	virtio_dev_fini(dev);
}

static const struct virtio_dev_ops echo_ops = {
	.features = echo_features,
	.config_read = echo_config_read,
	.config_write = echo_config_write,
	.activate = echo_activate,
	.kick = echo_kick,
	.deactivate = echo_deactivate,
	.destroy = echo_destroy,
};

static void setup(void)
{
	static const uint16_t sizes[QUEUES] = { 16, 8, 4 };
	struct err err = ERR_INIT;

	fake_virtio_init(&f);
	memset(&echo, 0, sizeof(echo));
	echo.vdev = (struct virtio_dev){
		.ops = &echo_ops, .id = VIRTIO_ID_RNG, .name = "echo", .loop = f.loop, .mem = f.mem, .config_size = sizeof(echo.config),
	};
	ck_assert_int_eq(virtio_dev_init(&echo.vdev, sizes, QUEUES, &err), 0);
	fake_virtio_attach(&f, &echo.vdev);
}

static void teardown(void)
{
	virtio_set_status(&echo.vdev, 0);
	echo_destroy(&echo.vdev);
	fake_virtio_fini(&f);
}

static void check_status(uint8_t write, uint8_t reads)
{
	virtio_set_status(&echo.vdev, write);
	ck_assert_uint_eq(virtio_get_status(&echo.vdev), reads);
}

START_TEST(creation)
{
	struct virtio_dev dev = { .ops = &echo_ops, .name = "bad", .loop = f.loop, .mem = f.mem };
	static const uint16_t bad[] = { 0, 3, 2048 };
	uint16_t sizes[VIRTIO_MAX_QUEUES + 1];

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		sizes[i] = 16;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = ERR_INIT;
		uint16_t two[] = { 16, bad[i] };

		ck_assert_int_eq(virtio_dev_init(&dev, two, 2, &err), -EINVAL);
		ck_assert_ptr_nonnull(strstr(err.msg, "bad:"));
	}
	for (unsigned n = 0; n <= VIRTIO_MAX_QUEUES + 1; n += VIRTIO_MAX_QUEUES + 1) {
		struct err err = ERR_INIT;

		ck_assert_int_eq(virtio_dev_init(&dev, sizes, n, &err), -EINVAL);
	}
}
END_TEST

START_TEST(offers)
{
	uint64_t modern = OWN_FEATURES | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1;
	uint64_t legacy = BIT64(5) | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_ANY_LAYOUT;

	ck_assert_uint_eq(virtio_offered(&echo.vdev, false), modern);
	ck_assert_uint_eq(virtio_offered(&echo.vdev, true), legacy);
	ck_assert_uint_eq(virtio_offered_half(&echo.vdev, 0, false), (uint32_t)modern);
	ck_assert_uint_eq(virtio_offered_half(&echo.vdev, 1, false), modern >> 32);
	ck_assert_uint_eq(virtio_offered_half(&echo.vdev, 2, false), 0);
	ck_assert_uint_eq(virtio_offered_half(&echo.vdev, UINT32_MAX, false), 0);
}
END_TEST

START_TEST(the_usual_way)
{
	check_status(ACK, ACK);
	check_status(ACK | DRIVER, ACK | DRIVER);
	virtio_choose(&echo.vdev, MODERN);
	check_status(ACK | DRIVER | FEATURES_OK, ACK | DRIVER | FEATURES_OK);
	fake_virtio_setup_queue(&f, 0, 16);
	fake_virtio_setup_queue(&f, 2, 2);
	ck_assert_uint_eq(echo.activated, 0);
	check_status(ACK | DRIVER | FEATURES_OK | DRIVER_OK, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	ck_assert_uint_eq(echo.activated, 1);
	ck_assert_uint_eq(echo.features, MODERN);
	ck_assert(atomic_load(&f.doorbells));
	ck_assert_uint_eq(echo.vdev.queues[0].vq.cfg.size, 16);
	ck_assert_uint_eq(echo.vdev.queues[1].vq.cfg.size, 0);
	ck_assert_uint_eq(echo.vdev.queues[2].vq.cfg.size, 2);
	/* Each enabled queue is rung once, not from inside activate. */
	ck_assert_uint_eq(echo.kicks[0] + echo.kicks[2], 0);
	fake_virtio_turn(&f);
	ck_assert(echo.kicks[0] == 1 && echo.kicks[1] == 0 && echo.kicks[2] == 1);
	/* Again means nothing. */
	check_status(ACK | DRIVER | FEATURES_OK | DRIVER_OK, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	ck_assert_uint_eq(echo.activated, 1);
	check_status(0, 0);
	ck_assert_uint_eq(echo.deactivated, 1);
	ck_assert(!atomic_load(&f.doorbells));
	ck_assert_uint_eq(atomic_load(&f.transport_resets), 1);
	ck_assert(!echo.vdev.queues[0].enabled);
	ck_assert_uint_eq(echo.vdev.queues[2].set.size, 4);
	ck_assert_uint_eq(echo.vdev.queues[2].set.desc, 0);
	ck_assert_uint_eq(echo.vdev.chosen, 0);
	/* And a second life. */
	fake_virtio_start(&f, MODERN);
	ck_assert_uint_eq(echo.activated, 2);
}
END_TEST

START_TEST(features_refused)
{
	static const uint64_t bad[] = {
		0, BIT64(5), /* no VERSION_1 */
		VIRTIO_F_VERSION_1 | BIT64(6), VIRTIO_F_VERSION_1 | BIT64(33), VIRTIO_F_VERSION_1 | BIT64(63),
		VIRTIO_F_VERSION_1 | BIT64(40), VIRTIO_F_VERSION_1 | VIRTIO_F_ANY_LAYOUT, VIRTIO_F_VERSION_1 | VIRTIO_F_NOTIFY_ON_EMPTY,
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fake_virtio_negotiate(&f, bad[i]);
		ck_assert_uint_eq(virtio_get_status(&echo.vdev), ACK | DRIVER);
		/* The driver may choose again (2.2.2), or go on and be refused. */
		check_status(ACK | DRIVER | FEATURES_OK | DRIVER_OK, ACK | DRIVER);
		ck_assert_uint_eq(echo.activated, 0);
	}
	virtio_choose(&echo.vdev, MODERN);
	check_status(ACK | DRIVER | FEATURES_OK, ACK | DRIVER | FEATURES_OK);
	/* Settled. */
	virtio_choose(&echo.vdev, VIRTIO_F_VERSION_1);
	ck_assert_uint_eq(echo.vdev.chosen, MODERN);
	virtio_choose_half(&echo.vdev, 0, 0);
	ck_assert_uint_eq(echo.vdev.chosen, MODERN);
}
END_TEST

START_TEST(halves)
{
	virtio_choose_half(&echo.vdev, 0, 0x20);
	virtio_choose_half(&echo.vdev, 1, 1);
	virtio_choose_half(&echo.vdev, 2, 0xffffffff);
	ck_assert_uint_eq(echo.vdev.chosen, MODERN);
	ck_assert_uint_eq(virtio_chosen_half(&echo.vdev, 0), 0x20);
	ck_assert_uint_eq(virtio_chosen_half(&echo.vdev, 1), 1);
	ck_assert_uint_eq(virtio_chosen_half(&echo.vdev, 2), 0);
}
END_TEST

START_TEST(status_rules)
{
	/* DRIVER_OK before FEATURES_OK. */
	check_status(ACK | DRIVER, ACK | DRIVER);
	check_status(ACK | DRIVER | DRIVER_OK, ACK | DRIVER);
	ck_assert_uint_eq(echo.activated, 0);
	/* Backwards. */
	check_status(ACK, ACK | DRIVER);
	check_status(FAILED, ACK | DRIVER | FAILED);
	check_status(0, 0);
	/* Bits that do not exist, and the device's own. */
	check_status(0x30, 0);
	check_status(NEEDS_RESET | ACK, ACK);
	/* Both in one write. */
	check_status(0, 0);
	virtio_choose(&echo.vdev, MODERN);
	check_status(ACK | DRIVER | FEATURES_OK | DRIVER_OK, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	ck_assert_uint_eq(echo.activated, 1);
}
END_TEST

START_TEST(activation_fails)
{
	uint8_t all = ACK | DRIVER | FEATURES_OK | DRIVER_OK;

	echo.refuse = -EIO;
	ck_assert_uint_eq(fake_virtio_start(&f, MODERN), all | NEEDS_RESET);
	ck_assert_uint_eq(atomic_load(&f.config_interrupts), 1);
	ck_assert(!atomic_load(&f.doorbells));
	fake_virtio_kick(&f, 0);
	ck_assert_uint_eq(echo.kicks[0], 0);
	/* NEEDS_RESET stays whatever is written, until the reset. */
	check_status(all, all | NEEDS_RESET);
	check_status(0, 0);
	ck_assert_uint_eq(echo.deactivated, 0);
	echo.refuse = 0;
	ck_assert_uint_eq(fake_virtio_start(&f, MODERN), all);
}
END_TEST

START_TEST(queue_registers_freeze)
{
	struct virtio_dev *dev = &echo.vdev;
	struct virtq_config before;

	fake_virtio_negotiate(&f, MODERN);
	ck_assert_ptr_nonnull(virtio_queue_writable(dev, 0));
	ck_assert_ptr_null(virtio_queue_writable(dev, QUEUES));
	ck_assert_ptr_null(virtio_queue_writable(dev, 0xffff));
	/* Sizes: a smaller power of two. */
	virtio_queue_set_size(dev, 0, 8);
	ck_assert_uint_eq(dev->queues[0].set.size, 8);
	for (unsigned i = 0; i < 5; i++)
		virtio_queue_set_size(dev, 0, ((const unsigned[]){ 0, 3, 32, 0x10008, 0xffff })[i]);
	ck_assert_uint_eq(dev->queues[0].set.size, 8);
	/* Nothing set up: at address 0 all three rings are valid memory, so spoil one. */
	dev->queues[0].set.used = FAKE_LOW_SIZE - 4;
	virtio_queue_enable(dev, 0);
	ck_assert(!dev->queues[0].enabled);
	dev->queues[0].set.used = 2;
	virtio_queue_enable(dev, 0);
	ck_assert(!dev->queues[0].enabled);
	virtio_queue_enable(dev, QUEUES);
	fake_virtio_setup_queue(&f, 0, 8);
	before = dev->queues[0].set;
	ck_assert_ptr_null(virtio_queue_writable(dev, 0));
	virtio_queue_set_size(dev, 0, 4);
	virtio_queue_enable(dev, 0);
	ck_assert_int_eq(memcmp(&before, &dev->queues[0].set, sizeof(before)), 0);
	/* After DRIVER_OK the others are frozen, too. */
	ck_assert_ptr_nonnull(virtio_queue_writable(dev, 1));
	check_status(ACK | DRIVER | FEATURES_OK | DRIVER_OK, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	ck_assert_ptr_null(virtio_queue_writable(dev, 1));
	virtio_queue_enable(dev, 1);
	ck_assert(!dev->queues[1].enabled);
}
END_TEST

START_TEST(traffic)
{
	struct fake_buf buf = { fake_alloc(&f, 64, 8), 64, true };
	uint32_t head, len;

	fake_virtio_start(&f, MODERN | VIRTIO_F_INDIRECT_DESC);
	fake_virtio_turn(&f);
	for (unsigned i = 0; i < 100; i++) {
		unsigned q = i % QUEUES;

		if (i & 1)
			fake_ring_add_indirect(&f.ring[q], &f, &buf, 1);
		else
			fake_ring_add(&f.ring[q], &buf, 1);
		fake_virtio_kick(&f, q);
		ck_assert(fake_virtio_wait(&f, q, 1, 20000));
		ck_assert(fake_ring_used(&f.ring[q], &head, &len) && len == 64);
	}
	ck_assert_uint_eq(atomic_load(&f.queue_interrupts[0]), 34);
	fake_ring_avail_flags(&f.ring[0], VIRTQ_AVAIL_F_NO_INTERRUPT);
	fake_ring_add(&f.ring[0], &buf, 1);
	fake_virtio_kick(&f, 0);
	ck_assert_uint_eq(fake_ring_used_count(&f.ring[0]), 1);
	ck_assert_uint_eq(atomic_load(&f.queue_interrupts[0]), 34);
}
END_TEST

START_TEST(broken_queue)
{
	struct fake_buf buf = { fake_alloc(&f, 64, 8), 64, true };
	uint8_t all = ACK | DRIVER | FEATURES_OK | DRIVER_OK;

	fake_virtio_start(&f, MODERN);
	fake_ring_put(&f.ring[0], 99);
	fake_virtio_kick(&f, 0);
	ck_assert_uint_eq(virtio_get_status(&echo.vdev), all | NEEDS_RESET);
	ck_assert_uint_eq(atomic_load(&f.config_interrupts), 1);
	fake_virtio_kick(&f, 0);
	ck_assert_uint_eq(atomic_load(&f.config_interrupts), 1); /* said once */
	/* Other queues go on. */
	fake_ring_add(&f.ring[1], &buf, 1);
	fake_virtio_kick(&f, 1);
	ck_assert_uint_eq(fake_ring_used_count(&f.ring[1]), 1);
	/* A reset heals. */
	ck_assert_uint_eq(fake_virtio_start(&f, MODERN), all);
	fake_ring_add(&f.ring[0], &buf, 1);
	fake_virtio_kick(&f, 0);
	ck_assert_uint_eq(fake_ring_used_count(&f.ring[0]), 1);
}
END_TEST

START_TEST(silence_after_reset)
{
	fake_virtio_start(&f, MODERN);
	fake_virtio_turn(&f);
	virtio_config_changed(&echo.vdev);
	ck_assert_uint_eq(atomic_load(&f.config_interrupts), 1);
	ck_assert_uint_eq(echo.vdev.generation, 1);
	check_status(0, 0);
	virtio_config_changed(&echo.vdev);
	ck_assert_uint_eq(echo.vdev.generation, 2);
	virtio_notify(&echo.vdev, 0);
	echo.vdev.queues[0].vq.used_idx++;
	virtio_notify(&echo.vdev, 0);
	virtio_queue_broken(&echo.vdev, 0);
	fake_virtio_kick(&f, 0);
	ck_assert_uint_eq(atomic_load(&f.config_interrupts), 1);
	ck_assert_uint_eq(atomic_load(&f.queue_interrupts[0]), 0);
	ck_assert_uint_eq(virtio_get_status(&echo.vdev), 0);
}
END_TEST

START_TEST(legacy_driver)
{
	struct fake_buf buf = { fake_alloc(&f, 64, 8), 64, true };

	virtio_use_legacy(&echo.vdev);
	check_status(ACK, ACK);
	check_status(ACK | DRIVER, ACK | DRIVER);
	/* What is not offered to it is dropped: there is no FEATURES_OK to refuse. */
	virtio_choose(&echo.vdev, BIT64(5) | BIT64(6) | BIT64(32));
	ck_assert_uint_eq(echo.vdev.chosen, BIT64(5));
	check_status(ACK | DRIVER | FEATURES_OK, ACK | DRIVER);
	fake_virtio_setup_queue(&f, 0, 16);
	/* A doorbell before DRIVER_OK starts it, and serves the queue. */
	virtio_kick(&echo.vdev, 1);
	ck_assert_uint_eq(echo.activated, 0);
	fake_ring_add(&f.ring[0], &buf, 1);
	virtio_kick(&echo.vdev, 0);
	ck_assert_uint_eq(echo.activated, 1);
	fake_virtio_turn(&f);
	ck_assert_uint_eq(fake_ring_used_count(&f.ring[0]), 1);
	ck_assert_uint_eq(atomic_load(&f.queue_interrupts[0]), 1);
	check_status(ACK | DRIVER | DRIVER_OK, ACK | DRIVER | DRIVER_OK);
	ck_assert_uint_eq(echo.activated, 1);
	/* iPXE writes the last bits only. */
	check_status(DRIVER_OK, ACK | DRIVER | DRIVER_OK);
	check_status(0, 0);
	ck_assert_uint_eq(echo.deactivated, 1);
	ck_assert(!echo.vdev.legacy);
}
END_TEST

START_TEST(early_modern_kick)
{
	fake_virtio_negotiate(&f, MODERN);
	fake_virtio_setup_queue(&f, 0, 16);
	virtio_kick(&echo.vdev, 0);
	virtio_kick(&echo.vdev, QUEUES);
	virtio_kick(&echo.vdev, UINT32_MAX);
	fake_virtio_turn(&f);
	ck_assert_uint_eq(echo.activated, 0);
	ck_assert_uint_eq(echo.kicks[0], 0);
	virtio_use_legacy(&echo.vdev); /* too late */
	ck_assert(!echo.vdev.legacy);
}
END_TEST

START_TEST(config_bounds)
{
	uint8_t buf[8];

	for (unsigned i = 0; i < sizeof(echo.config); i++)
		echo.config[i] = (uint8_t)i;
	for (uint64_t offset = 0; offset < 32; offset++) {
		for (unsigned len = 1; len <= 8; len++) {
			memset(buf, 0xff, sizeof(buf));
			virtio_config_read(&echo.vdev, offset, buf, len);
			for (unsigned i = 0; i < len; i++)
				ck_assert_uint_eq(buf[i], offset + i < sizeof(echo.config) ? offset + i : 0xff);
			virtio_config_write(&echo.vdev, offset, buf, len);
		}
	}
	virtio_config_read(&echo.vdev, UINT64_MAX, buf, 8);
	virtio_config_write(&echo.vdev, UINT64_MAX - 3, buf, 8);
	for (unsigned i = 0; i < sizeof(echo.config); i++)
		ck_assert_uint_eq(echo.config[i], i);
}
END_TEST

/*
 * Two vCPUs start and reset the device, a third rings, a fourth changes the configuration, while a thread runs the loop. Rules that the
 * echo device checks on the way: no kick while it is not active, no second activation.
 */
#define STRESS_MS 1500
static atomic_bool stress_end, stress_begun;

static void *stress_loop(void *arg)
{
	(void)arg;
	ck_assert_int_eq(eventloop_run(f.loop), 0);
	return NULL;
}

static void stress_begins(void *arg)
{
	(void)arg;
	atomic_store(&stress_begun, true);
}

static void *stress_status(void *arg)
{
	struct virtio_dev *dev = &echo.vdev;
	bool legacy = arg != NULL;

	while (!atomic_load(&stress_end)) {
		virtio_set_status(dev, 0);
		if (legacy) {
			pthread_mutex_lock(&dev->lock);
			virtio_use_legacy(dev);
			pthread_mutex_unlock(&dev->lock);
		}
		virtio_set_status(dev, ACK | DRIVER);
		virtio_choose(dev, MODERN);
		virtio_set_status(dev, ACK | DRIVER | FEATURES_OK);
		for (unsigned q = 0; q < QUEUES; q++) {
			struct virtio_queue *queue;

			pthread_mutex_lock(&dev->lock);
			queue = virtio_queue_writable(dev, q);
			if (queue)
				queue->set = f.ring[q].cfg;
			virtio_queue_enable(dev, q);
			pthread_mutex_unlock(&dev->lock);
		}
		virtio_set_status(dev, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
		virtio_kick(dev, 0);
		(void)virtio_get_status(dev);
	}
	return NULL;
}

static void *stress_kick(void *arg)
{
	(void)arg;
	for (unsigned i = 0; !atomic_load(&stress_end); i++)
		virtio_kick(&echo.vdev, i % (QUEUES + 1));
	return NULL;
}

static void *stress_config(void *arg)
{
	uint8_t buf[4];

	(void)arg;
	while (!atomic_load(&stress_end)) {
		virtio_config_changed(&echo.vdev);
		virtio_config_read(&echo.vdev, 0, buf, sizeof(buf));
	}
	return NULL;
}

static void stress_look(void *arg)
{
	*(unsigned *)arg = echo.activated;
}

START_TEST(races)
{
	struct event_work begins = { .run = stress_begins };
	pthread_t loop, t[5];
	unsigned activated = 0;

	for (unsigned q = 0; q < QUEUES; q++)
		fake_ring_init(&f.ring[q], &f, 4, false, false);
	atomic_store(&stress_end, false);
	atomic_store(&stress_begun, false);
	eventloop_post(f.loop, &begins);
	pthread_create(&loop, NULL, stress_loop, NULL);
	/* Until it runs, a call for it is made where it is: here that would be beside it. */
	while (!atomic_load(&stress_begun))
		usleep(100);
	pthread_create(&t[0], NULL, stress_status, NULL);
	pthread_create(&t[1], NULL, stress_status, &f);
	pthread_create(&t[2], NULL, stress_kick, NULL);
	pthread_create(&t[3], NULL, stress_kick, NULL);
	pthread_create(&t[4], NULL, stress_config, NULL);
	usleep(STRESS_MS * 1000);
	for (int64_t end = now_ns() + 60 * NS_PER_SEC; activated <= 10 && now_ns() < end;)
		eventloop_call_sync(f.loop, stress_look, &activated);
	atomic_store(&stress_end, true);
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	virtio_set_status(&echo.vdev, 0);
	ck_assert_uint_eq(virtio_get_status(&echo.vdev), 0);
	eventloop_stop(f.loop);
	pthread_join(loop, NULL);
	ck_assert_uint_gt(echo.activated, 10);
	ck_assert_uint_eq(echo.activated, echo.deactivated);
	ck_assert(!echo.active);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio");
	TCase *t = tcase_create("virtio");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, creation);
	tcase_add_test(t, offers);
	tcase_add_test(t, the_usual_way);
	tcase_add_test(t, features_refused);
	tcase_add_test(t, halves);
	tcase_add_test(t, status_rules);
	tcase_add_test(t, activation_fails);
	tcase_add_test(t, queue_registers_freeze);
	tcase_add_test(t, traffic);
	tcase_add_test(t, broken_queue);
	tcase_add_test(t, silence_after_reset);
	tcase_add_test(t, legacy_driver);
	tcase_add_test(t, early_modern_kick);
	tcase_add_test(t, config_bounds);
	tcase_add_test(t, races);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
