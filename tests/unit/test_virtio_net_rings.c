/* SPDX-License-Identifier: MIT */
/* A network card whose data queues are served by somebody else: who gets what when, and where interrupts go. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hw/virtio.h"
#include "hw/virtio_net_regs.h"
#include "net/netdev.h"
#include "tests/unit/fake_virtio.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define PAIRS 2
#define CTRL (2 * PAIRS)
#define MODERN (VIRTIO_F_VERSION_1 | VNET_F_MAC | VNET_F_MRG_RXBUF | VNET_F_CTRL_VQ | VNET_F_STATUS)

/* ---- a back end with rings ---- */

static struct {
	struct netdev nd;
	struct netdev_rings rings;
	int fail_pair; /* cannot be started; -1: none */
	unsigned starts, stops, closes, calls;
	bool runs[PAIRS];
	struct netdev_ring ring[PAIRS][2];
	uint64_t features;
	uint16_t next; /* where they say they have come to */
	bool reading;
	unsigned queues;
} back;

static int back_tx(struct netdev *nd, unsigned queue, const struct iovec *iov, size_t n, size_t len)
{
	(void)nd;
	(void)queue;
	(void)iov;
	(void)n;
	(void)len;
	return 0;
}

static void back_rx_enable(struct netdev *nd, bool on)
{
	(void)nd;
	back.reading = on;
}

static void back_rx_more(struct netdev *nd, unsigned queue)
{
	(void)nd;
	(void)queue;
}

static int back_set_queues(struct netdev *nd, unsigned queues)
{
	(void)nd;
	back.queues = queues;
	return 0;
}

static void back_close(struct netdev *nd)
{
	netdev_fini(nd);
}

static const struct netdev_ops back_ops = {
	.type = "fake", .tx = back_tx, .rx_enable = back_rx_enable, .rx_more = back_rx_more, .set_queues = back_set_queues, .close = back_close,
};

static int rings_start(struct netdev_rings *rings, unsigned pair, const struct netdev_ring ring[2], uint64_t features)
{
	ck_assert_ptr_eq(rings, &back.rings);
	ck_assert_uint_lt(pair, PAIRS);
	ck_assert(!back.runs[pair]);
	if ((int)pair == back.fail_pair)
		return -ENODEV;
	memcpy(back.ring[pair], ring, sizeof(back.ring[pair]));
	back.features = features;
	back.runs[pair] = true;
	back.starts++;
	return 0;
}

static void rings_stop(struct netdev_rings *rings, unsigned pair, uint16_t next[2])
{
	ck_assert_ptr_eq(rings, &back.rings);
	ck_assert(back.runs[pair]);
	back.runs[pair] = false;
	next[0] = back.next;
	next[1] = (uint16_t)(back.next + 1);
	back.stops++;
}

static int rings_set_call(struct netdev_rings *rings, unsigned pair, unsigned ring, int call_fd)
{
	ck_assert_ptr_eq(rings, &back.rings);
	ck_assert(back.runs[pair]);
	back.ring[pair][ring].call_fd = call_fd;
	back.calls++;
	return 0;
}

static void rings_close(struct netdev_rings *rings)
{
	ck_assert_ptr_eq(rings, &back.rings);
	back.closes++;
}

static const struct netdev_rings_ops rings_ops = {
	.start = rings_start, .stop = rings_stop, .set_call = rings_set_call, .close = rings_close,
};

/* ---- the transport: the counting one, with eventfds ---- */

static struct virtio_transport_ops transport;
static int vector_fds[CTRL]; /* -1: masked */

static int queue_irqfd(void *t, unsigned q)
{
	(void)t;
	return q < CTRL ? vector_fds[q] : -1;
}

static struct fake_virtio f;
static struct virtio_dev *dev;
static struct err err;

static void create(bool forced)
{
	struct virtio_net_config cfg;

	virtio_net_config_init(&cfg);
	back.rings.forced = forced;
	cfg.id = "net0";
	cfg.netdev = &back.nd;
	cfg.queues = PAIRS;
	cfg.mq = cfg.rss = cfg.hash = true;
	memcpy(cfg.mac, "\x52\x54\x00\x00\x00\x01", 6);
	dev = virtio_net_create(&(struct device_env){ .mem = f.mem, .loop = f.loop }, f.loop, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
	fake_virtio_attach(&f, dev);
	transport = *dev->transport_ops;
	transport.queue_irqfd = queue_irqfd;
	dev->transport_ops = &transport;
}

static void setup(void)
{
	err = (struct err)ERR_INIT;
	log_set_level(LOG_LEVEL_ERROR);
	memset(&back, 0, sizeof(back));
	fake_virtio_init(&f);
	ck_assert_int_eq(netdev_init(&back.nd, &back_ops, "n", f.loop, &err), 0);
	back.nd.queues = PAIRS;
	back.rings = (struct netdev_rings){ .ops = &rings_ops, .features = UINT64_MAX, .pairs = PAIRS };
	back.nd.rings = &back.rings;
	back.fail_pair = -1;
	for (unsigned q = 0; q < CTRL; q++)
		vector_fds[q] = -1;
}

static void teardown(void)
{
	if (dev->started)
		fake_virtio_reset(&f);
	dev->ops->destroy(dev);
	netdev_close(&back.nd);
	ck_assert_uint_eq(back.closes, 1);
	fake_virtio_fini(&f);
}

/* Whether somebody has rung and nobody has heard. */
static bool rung(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count);
}

START_TEST(hands_over)
{
	create(false);
	fake_virtio_start(&f, MODERN | VNET_F_MQ | VIRTIO_F_EVENT_IDX);
	ck_assert_uint_eq(back.starts, PAIRS);
	ck_assert(!back.reading);
	ck_assert(back.features & VIRTIO_F_EVENT_IDX);
	for (unsigned q = 0; q < CTRL; q++) {
		const struct netdev_ring *ring = &back.ring[q / 2][q % 2];
		const struct virtq_config *cfg = &f.ring[q].cfg;

		ck_assert_uint_eq(ring->size, cfg->size);
		ck_assert_uint_eq(ring->next, 0);
		ck_assert_ptr_eq(ring->desc, fake_mem(&f, cfg->desc, 16));
		ck_assert_ptr_eq(ring->avail, fake_mem(&f, cfg->avail, 16));
		ck_assert_ptr_eq(ring->used, fake_mem(&f, cfg->used, 16));
		/* The doorbell is theirs alone: it rang at the start, and stays as it is however often the loop turns. */
		fake_virtio_kick(&f, q);
		fake_virtio_turn(&f);
		ck_assert(rung(ring->kick_fd));
		ck_assert(!rung(ring->kick_fd));
		ck_assert_int_ge(ring->call_fd, 0);
	}
}
END_TEST

/* The control queue is still ours: here it asks for both pairs. */
START_TEST(controls)
{
	static const uint8_t command[] = { 4, 0, 2, 0 }; /* VIRTIO_NET_CTRL_MQ, VQ_PAIRS_SET, 2 pairs */
	struct fake_buf bufs[2];

	create(false);
	fake_virtio_start(&f, MODERN | VNET_F_MQ);
	ck_assert_uint_eq(back.queues, 1);
	bufs[0] = (struct fake_buf){ .gpa = fake_alloc_data(&f, command, sizeof(command)), .len = sizeof(command) };
	bufs[1] = (struct fake_buf){ .gpa = fake_alloc(&f, 1, 1), .len = 1, .writable = true };
	*(uint8_t *)fake_mem(&f, bufs[1].gpa, 1) = 0xff;
	fake_ring_add(&f.ring[CTRL], bufs, 2);
	fake_virtio_kick(&f, CTRL);
	ck_assert(fake_virtio_wait(&f, CTRL, 1, 5000));
	ck_assert_uint_eq(*(uint8_t *)fake_mem(&f, bufs[1].gpa, 1), 0);
	ck_assert_uint_eq(back.queues, 2);
	ck_assert_uint_eq(back.starts, PAIRS);
	ck_assert_uint_eq(back.stops, 0);
}
END_TEST

/* A driver without MQ uses one pair, and the control queue behind it. */
START_TEST(one_pair)
{
	create(false);
	fake_virtio_start(&f, MODERN);
	ck_assert_uint_eq(back.starts, 1);
	ck_assert(back.runs[0] && !back.runs[1]);
}
END_TEST

START_TEST(interrupts)
{
	uint64_t one = 1;
	int vector = eventfd(0, EFD_NONBLOCK), own;

	create(false);
	fake_virtio_start(&f, MODERN | VNET_F_MQ);
	/* Nothing by itself: through the loop, to the transport. */
	own = back.ring[1][0].call_fd;
	ck_assert_uint_eq(f.queue_interrupts[2], 0);
	ck_assert_int_eq(write(own, &one, sizeof(one)), sizeof(one));
	fake_virtio_turn(&f);
	ck_assert_uint_eq(f.queue_interrupts[2], 1);
	ck_assert(!rung(own));
	/* A vector that lets interrupts through is written to directly, and only that queue's is changed. */
	vector_fds[2] = vector;
	dev->ops->irq_changed(dev);
	ck_assert_uint_eq(back.calls, 1);
	ck_assert_int_eq(back.ring[1][0].call_fd, vector);
	dev->ops->irq_changed(dev);
	ck_assert_uint_eq(back.calls, 1);
	/* What was on its way arrives. */
	ck_assert_int_eq(write(own, &one, sizeof(one)), sizeof(one));
	fake_virtio_turn(&f);
	ck_assert_uint_eq(f.queue_interrupts[2], 2);
	/* Masked. */
	vector_fds[2] = -1;
	dev->ops->irq_changed(dev);
	ck_assert_int_eq(back.ring[1][0].call_fd, own);
	/* Known before the start. */
	fake_virtio_reset(&f);
	vector_fds[0] = vector;
	fake_virtio_start(&f, MODERN | VNET_F_MQ);
	ck_assert_int_eq(back.ring[0][0].call_fd, vector);
	/* After the end nobody is asked. */
	fake_virtio_reset(&f);
	back.calls = 0;
	vector_fds[0] = -1;
	dev->ops->irq_changed(dev);
	ck_assert_uint_eq(back.calls, 0);
	close(vector);
}
END_TEST

START_TEST(again)
{
	create(false);
	fake_virtio_start(&f, MODERN | VNET_F_MQ);
	back.next = 17;
	fake_virtio_reset(&f);
	ck_assert_uint_eq(back.stops, PAIRS);
	ck_assert(!back.runs[0] && !back.runs[1]);
	fake_virtio_start(&f, MODERN);
	ck_assert(back.runs[0] && !back.runs[1]);
	ck_assert_uint_eq(back.ring[0][0].next, 0);
}
END_TEST

/* While the link is down nothing runs; then it goes on where it was. */
START_TEST(follows_link)
{
	create(false);
	fake_virtio_start(&f, MODERN | VNET_F_MQ);
	back.next = 1000;
	virtio_net_set_link(dev, false);
	ck_assert_uint_eq(back.stops, PAIRS);
	netdev_link(&back.nd, false);
	virtio_net_set_link(dev, true);
	ck_assert_uint_eq(back.starts, PAIRS);
	netdev_link(&back.nd, true);
	ck_assert_uint_eq(back.starts, 2 * PAIRS);
	ck_assert_uint_eq(back.ring[1][0].next, 1000);
	ck_assert_uint_eq(back.ring[1][1].next, 1001);
	/* Down at the start. */
	fake_virtio_reset(&f);
	netdev_link(&back.nd, false);
	fake_virtio_start(&f, MODERN);
	ck_assert(!back.runs[0]);
	netdev_link(&back.nd, true);
	ck_assert(back.runs[0]);
}
END_TEST

/* While the machine is stopped nobody touches the rings, whatever the link does; then they go on where they were, and are rung for. */
START_TEST(follows_pauses)
{
	create(false);
	fake_virtio_start(&f, MODERN | VNET_F_MQ);
	for (unsigned q = 0; q < CTRL; q++)
		rung(back.ring[q / 2][q % 2].kick_fd);
	back.next = 1000;
	dev->ops->quiesce(dev);
	ck_assert_uint_eq(back.stops, PAIRS);
	ck_assert(!back.runs[0] && !back.runs[1]);
	netdev_link(&back.nd, false);
	netdev_link(&back.nd, true);
	dev->ops->quiesce(dev);
	ck_assert_uint_eq(back.starts, PAIRS);
	dev->ops->resume(dev);
	ck_assert_uint_eq(back.starts, 2 * PAIRS);
	ck_assert_uint_eq(back.ring[1][0].next, 1000);
	for (unsigned q = 0; q < CTRL; q++)
		ck_assert(rung(back.ring[q / 2][q % 2].kick_fd));
	dev->ops->resume(dev);
	ck_assert_uint_eq(back.starts, 2 * PAIRS);
	/* A reset in between, and a machine that goes on without a driver. */
	dev->ops->quiesce(dev);
	fake_virtio_reset(&f);
	dev->ops->resume(dev);
	ck_assert_uint_eq(back.starts, 2 * PAIRS);
	ck_assert_uint_eq(back.stops, 2 * PAIRS);
	fake_virtio_start(&f, MODERN);
	ck_assert(back.runs[0]);
	/* With the link down there is nothing to go on with. */
	dev->ops->quiesce(dev);
	netdev_link(&back.nd, false);
	dev->ops->resume(dev);
	ck_assert(!back.runs[0]);
}
END_TEST

/* An interrupt that the loop has yet to hand on when the machine stops comes when it goes on. */
START_TEST(keeps_interrupts)
{
	uint64_t one = 1;
	unsigned before;

	create(false);
	fake_virtio_start(&f, MODERN);
	before = f.queue_interrupts[0];
	ck_assert_int_eq(write(back.ring[0][0].call_fd, &one, sizeof(one)), sizeof(one));
	dev->ops->quiesce(dev);
	fake_virtio_turn(&f);
	ck_assert_uint_eq(f.queue_interrupts[0], before);
	dev->ops->resume(dev);
	fake_virtio_turn(&f);
	ck_assert_uint_eq(f.queue_interrupts[0], before + 1);
}
END_TEST

/* They do not take the second pair: then the card serves all of them itself. */
START_TEST(falls_back)
{
	create(false);
	back.fail_pair = 1;
	ck_assert_uint_eq(fake_virtio_start(&f, MODERN | VNET_F_MQ) & VIRTIO_STATUS_NEEDS_RESET, 0);
	ck_assert(!back.runs[0] && !back.runs[1] && back.reading);
	fake_virtio_kick(&f, 1);
	fake_virtio_turn(&f);
	ck_assert(!rung(dev->queues[1].bell.fd));
	dev->ops->irq_changed(dev);
	ck_assert_uint_eq(back.calls, 0);
}
END_TEST

START_TEST(forced)
{
	create(true);
	back.fail_pair = 0;
	fake_virtio_start(&f, MODERN);
	ck_assert_uint_ne(virtio_get_status(dev) & VIRTIO_STATUS_NEEDS_RESET, 0);
	ck_assert(!back.reading);
}
END_TEST

/* What rings cannot do is not offered. */
START_TEST(features)
{
	uint64_t bits;

	create(false);
	bits = dev->ops->features(dev);
	ck_assert(!(bits & (VNET_F_RSS | VNET_F_HASH_REPORT)));
	ck_assert(bits & VNET_F_MRG_RXBUF);
	back.rings.features = 0;
	ck_assert(!(dev->ops->features(dev) & VNET_F_MRG_RXBUF));
	back.nd.rings = NULL;
	bits = dev->ops->features(dev);
	back.nd.rings = &back.rings;
	ck_assert((bits & VNET_F_RSS) && (bits & VNET_F_MRG_RXBUF));
}
END_TEST

/* A guest that masks and unmasks while the card is started and reset, and its link goes up and down. */
static atomic_bool racing;

static void *mask_for_ever(void *arg)
{
	(void)arg;
	while (atomic_load(&racing))
		dev->ops->irq_changed(dev);
	return NULL;
}

static int racing_irqfd(void *t, unsigned q)
{
	static atomic_uint n;

	(void)t;
	return atomic_fetch_add(&n, 1) % 3 ? -1 : (int)(1000 + q);
}

START_TEST(races)
{
	pthread_t thread;

	create(false);
	transport.queue_irqfd = racing_irqfd;
	atomic_store(&racing, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, mask_for_ever, NULL), 0);
	for (unsigned i = 0; i < 200; i++) {
		fake_virtio_start(&f, MODERN | VNET_F_MQ);
		virtio_net_set_link(dev, i % 2);
		virtio_net_set_link(dev, true);
		fake_virtio_reset(&f);
	}
	atomic_store(&racing, false);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(back.starts, back.stops);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_net_rings");
	TCase *t = tcase_create("virtio_net_rings");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, hands_over);
	tcase_add_test(t, controls);
	tcase_add_test(t, follows_pauses);
	tcase_add_test(t, keeps_interrupts);
	tcase_add_test(t, one_pair);
	tcase_add_test(t, interrupts);
	tcase_add_test(t, again);
	tcase_add_test(t, follows_link);
	tcase_add_test(t, falls_back);
	tcase_add_test(t, forced);
	tcase_add_test(t, features);
	tcase_add_test(t, races);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
