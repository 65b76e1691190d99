/* SPDX-License-Identifier: MIT */
/* virtio-net: what is offered, the configuration space, transmitting, the link, limits. */
#include "tests/unit/fake_nic.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/suite.h"
#include "vmm/err.h"

static struct fake_nic t;
static int64_t fake_now; /* 0: the real time */

int64_t __real_now_ns(void);
int64_t __wrap_now_ns(void);
int64_t __wrap_now_ns(void)
{
	return fake_now ? fake_now : __real_now_ns();
}

static const uint8_t peer[6] = { 0x52, 0x54, 0, 1, 2, 3 };
static uint8_t frame[NETDEV_FRAME_MAX + 100];

static void setup(void)
{
	log_set_level(LOG_LEVEL_NONE);
	fake_now = 0;
	fake_nic_init(&t);
	fake_frame_fill(frame, sizeof(frame), peer, 1);
}

static void teardown(void)
{
	fake_nic_fini(&t);
}

static void start(void)
{
	fake_nic_create(&t);
	fake_nic_start(&t, FAKE_NIC_FEATURES);
}

/* Chains that came back on a transmit queue. */
static unsigned reap(unsigned pair)
{
	uint32_t head, len;
	unsigned n = 0;

	while (fake_ring_used(&t.v.ring[vnet_tx_index(pair)], &head, &len)) {
		ck_assert_uint_eq(len, 0);
		n++;
	}
	return n;
}

static void check_sent(unsigned i, const uint8_t *data, size_t len)
{
	ck_assert_uint_gt(t.n_sent, i);
	ck_assert_uint_eq(t.sent[i].len, t.net->hdr_size + len);
	ck_assert_mem_eq(t.sent[i].data + t.net->hdr_size, data, len);
}

/* What is offered */

#define OFFLOADS (VNET_F_CSUM | VNET_F_HOST_TSO4 | VNET_F_HOST_TSO6 | VNET_F_HOST_ECN | VNET_F_HOST_UFO | VNET_F_HOST_USO | VNET_GUEST_OFFLOADS)

START_TEST(offers_by_default)
{
	fake_nic_create(&t);
	ck_assert_uint_eq(virtio_offered(t.v.dev, false),
			  VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | OFFLOADS | VNET_F_MAC | VNET_F_MRG_RXBUF |
				  VNET_F_STATUS | VNET_F_CTRL_VQ | VNET_F_CTRL_RX | VNET_F_CTRL_VLAN | VNET_F_CTRL_RX_EXTRA |
				  VNET_F_CTRL_MAC_ADDR | VNET_F_CTRL_GUEST_OFFLOADS | VNET_F_GUEST_ANNOUNCE);
	/* Only legacy drivers know GSO, and have only 32 bits. */
	ck_assert_uint_eq(virtio_offered(t.v.dev, true) & (VNET_F_GSO | VNET_F_HOST_USO | VNET_F_CSUM), VNET_F_GSO | VNET_F_CSUM);
}
END_TEST

START_TEST(offers_what_the_back_end_can)
{
	fake_nic_create(&t);
	t.nd.caps = 0;
	ck_assert_uint_eq(virtio_offered(t.v.dev, true) & (OFFLOADS | VNET_F_GSO | VNET_F_CTRL_GUEST_OFFLOADS), 0);
	t.nd.caps = NETDEV_CSUM | NETDEV_TSO4; /* without headers nothing can be said of a frame */
	ck_assert_uint_eq(virtio_offered(t.v.dev, false) & OFFLOADS, 0);
	t.nd.caps = NETDEV_VNET | NETDEV_CSUM;
	ck_assert_uint_eq(virtio_offered(t.v.dev, false) & OFFLOADS, VNET_F_CSUM | VNET_F_GUEST_CSUM);
	t.nd.caps = NETDEV_VNET | NETDEV_CSUM | NETDEV_TSO4;
	ck_assert_uint_eq(virtio_offered(t.v.dev, false) & OFFLOADS,
			  VNET_F_CSUM | VNET_F_GUEST_CSUM | VNET_F_HOST_TSO4 | VNET_F_GUEST_TSO4);
}
END_TEST

START_TEST(every_switch_works)
{
	static const struct {
		size_t at;
		uint64_t gone;
	} switches[] = {
		{ offsetof(struct virtio_net_config, csum), OFFLOADS & ~VNET_GUEST_OFFLOADS },
		{ offsetof(struct virtio_net_config, guest_csum), VNET_GUEST_OFFLOADS | VNET_F_CTRL_GUEST_OFFLOADS },
		{ offsetof(struct virtio_net_config, host_tso4), VNET_F_HOST_TSO4 },
		{ offsetof(struct virtio_net_config, host_tso6), VNET_F_HOST_TSO6 },
		{ offsetof(struct virtio_net_config, host_ecn), VNET_F_HOST_ECN },
		{ offsetof(struct virtio_net_config, host_ufo), VNET_F_HOST_UFO },
		{ offsetof(struct virtio_net_config, host_uso), VNET_F_HOST_USO },
		{ offsetof(struct virtio_net_config, guest_tso4), VNET_F_GUEST_TSO4 },
		{ offsetof(struct virtio_net_config, guest_tso6), VNET_F_GUEST_TSO6 },
		{ offsetof(struct virtio_net_config, guest_ecn), VNET_F_GUEST_ECN },
		{ offsetof(struct virtio_net_config, guest_ufo), VNET_F_GUEST_UFO },
		{ offsetof(struct virtio_net_config, guest_uso4), VNET_F_GUEST_USO4 | VNET_F_GUEST_USO6 },
		{ offsetof(struct virtio_net_config, guest_uso6), VNET_F_GUEST_USO4 | VNET_F_GUEST_USO6 },
		{ offsetof(struct virtio_net_config, mrg_rxbuf), VNET_F_MRG_RXBUF },
		{ offsetof(struct virtio_net_config, status), VNET_F_STATUS | VNET_F_GUEST_ANNOUNCE },
		{ offsetof(struct virtio_net_config, guest_announce), VNET_F_GUEST_ANNOUNCE },
		{ offsetof(struct virtio_net_config, ctrl_vq),
		  VNET_F_CTRL_VQ | VNET_F_CTRL_RX | VNET_F_CTRL_VLAN | VNET_F_CTRL_RX_EXTRA | VNET_F_CTRL_MAC_ADDR | VNET_F_MQ | VNET_F_RSS |
			  VNET_F_HASH_REPORT | VNET_F_CTRL_GUEST_OFFLOADS | VNET_F_GUEST_ANNOUNCE },
		{ offsetof(struct virtio_net_config, ctrl_rx), VNET_F_CTRL_RX | VNET_F_CTRL_RX_EXTRA },
		{ offsetof(struct virtio_net_config, ctrl_vlan), VNET_F_CTRL_VLAN },
		{ offsetof(struct virtio_net_config, ctrl_rx_extra), VNET_F_CTRL_RX_EXTRA },
		{ offsetof(struct virtio_net_config, ctrl_mac_addr), VNET_F_CTRL_MAC_ADDR },
		{ offsetof(struct virtio_net_config, ctrl_guest_offloads), VNET_F_CTRL_GUEST_OFFLOADS },
		{ offsetof(struct virtio_net_config, mq), VNET_F_MQ },
		{ offsetof(struct virtio_net_config, rss), VNET_F_RSS },
		{ offsetof(struct virtio_net_config, hash), VNET_F_HASH_REPORT },
	};
	uint64_t all;

	t.nd.queues = t.cfg.queues = 4;
	t.cfg.mq = t.cfg.rss = t.cfg.hash = true;
	t.cfg.mtu = 1400;
	t.cfg.speed = 10000;
	fake_nic_create(&t);
	all = virtio_offered(t.v.dev, false);
	ck_assert_uint_eq(~all & (VNET_F_MQ | VNET_F_RSS | VNET_F_HASH_REPORT | VNET_F_MTU | VNET_F_SPEED_DUPLEX), 0);
	for (size_t i = 0; i < ARRAY_SIZE(switches); i++) {
		bool *on = (bool *)((char *)&t.net->cfg + switches[i].at);

		ck_assert(*on);
		*on = false;
		ck_assert_msg((all & ~virtio_offered(t.v.dev, false)) == switches[i].gone, "switch %zu", i);
		*on = true;
	}
	t.net->cfg.mtu = 0;
	t.net->cfg.speed = VIRTIO_NET_SPEED_UNKNOWN;
	ck_assert_uint_eq(all & ~virtio_offered(t.v.dev, false), VNET_F_MTU | VNET_F_SPEED_DUPLEX);
	t.net->cfg.gso = false;
	ck_assert_uint_eq(virtio_offered(t.v.dev, true) & VNET_F_GSO, 0);
}
END_TEST

static void refused(const char *what)
{
	const struct device_env env = { .mem = t.v.mem, .loop = t.v.loop };
	struct err err = ERR_INIT;

	ck_assert_ptr_null(virtio_net_create(&env, t.v.loop, &t.cfg, &err));
	ck_assert_msg(strstr(err.msg, what) && strstr(err.msg, "net0"), "%s", err.msg);
}

START_TEST(refuses_what_cannot_be)
{
	const struct virtio_net_config good = t.cfg;

	t.cfg.queues = 0;
	refused("queues");
	t.cfg.queues = VIRTIO_NET_MAX_PAIRS + 1;
	refused("queues");
	t.cfg.queues = 2;
	refused("'n0' has 1");
	t.cfg = good;
	t.cfg.rx_queue_size = 100;
	refused("rx_queue_size");
	t.cfg = good;
	t.cfg.tx_queue_size = 2048;
	refused("tx_queue_size");
	t.cfg = good;
	t.cfg.tx_queue_size = 32;
	refused("tx_queue_size");
	t.cfg = good;
	t.cfg.mtu = 67;
	refused("host_mtu");
	t.cfg = good;
	t.cfg.mac[0] |= 1;
	refused("mac");
	memset(t.cfg.mac, 0, 6);
	refused("mac");
	t.cfg = good;
	t.cfg.tx.bytes.max = 5;
	refused("tx-bps");
	t.cfg = good;
}
END_TEST

START_TEST(configuration_space)
{
	struct vnet_config c;

	t.nd.queues = t.cfg.queues = 3;
	t.cfg.mtu = 1400;
	t.cfg.speed = 2500;
	t.cfg.duplex = VIRTIO_NET_FULL;
	t.cfg.rss = true;
	start();
	t.v.dev->ops->config_read(t.v.dev, 0, (uint8_t *)&c, sizeof(c));
	ck_assert_mem_eq(c.mac, t.cfg.mac, 6);
	ck_assert_uint_eq(le16_get(c.status), VNET_S_LINK_UP);
	ck_assert_uint_eq(le16_get(c.max_virtqueue_pairs), 3);
	ck_assert_uint_eq(le16_get(c.mtu), 1400);
	ck_assert_uint_eq(le32_get(c.speed), 2500);
	ck_assert_uint_eq(c.duplex, 1);
	ck_assert_uint_eq(c.rss_max_key_size, 40);
	ck_assert_uint_eq(le16_get(c.rss_max_indirection_table_length), 128);
	ck_assert_uint_eq(le32_get(c.supported_hash_types), 0x1ff);
	for (unsigned len = 1; len <= 8; len++)
		for (unsigned at = 0; at + len <= sizeof(c); at++) {
			uint8_t b[8];

			t.v.dev->ops->config_read(t.v.dev, at, b, len);
			ck_assert_mem_eq(b, (uint8_t *)&c + at, len);
		}
}
END_TEST

START_TEST(address_is_written_by_legacy_drivers_only)
{
	static const uint8_t mac[6] = { 2, 3, 4, 5, 6, 7 }, junk[2] = { 9, 9 };
	uint8_t b[8];

	start();
	t.v.dev->ops->config_write(t.v.dev, 0, mac, 6);
	t.v.dev->ops->config_read(t.v.dev, 0, b, 6);
	ck_assert_mem_eq(b, t.cfg.mac, 6);

	fake_nic_start_legacy(&t, VNET_F_MAC | VNET_F_STATUS);
	for (unsigned i = 0; i < 5; i++)
		t.v.dev->ops->config_write(t.v.dev, i, mac + i, 1);
	t.v.dev->ops->config_write(t.v.dev, 5, junk, 2); /* across the end of the field */
	t.v.dev->ops->config_read(t.v.dev, 0, b, 8);
	ck_assert_mem_eq(b, mac, 5);
	ck_assert_uint_eq(b[5], 9);
	ck_assert_uint_eq(load_le16(b + 6), VNET_S_LINK_UP);
	fake_virtio_reset(&t.v);
	t.v.dev->ops->config_read(t.v.dev, 0, b, 6);
	ck_assert_mem_eq(b, t.cfg.mac, 6);
}
END_TEST

START_TEST(header_sizes)
{
	t.cfg.hash = true;
	fake_nic_create(&t);
	fake_nic_start(&t, VIRTIO_F_VERSION_1);
	ck_assert_uint_eq(t.nd.offloads.vnet_hdr_size, 12);
	fake_nic_start(&t, VIRTIO_F_VERSION_1 | VNET_F_MRG_RXBUF);
	ck_assert_uint_eq(t.nd.offloads.vnet_hdr_size, 12);
	fake_nic_start(&t, VIRTIO_F_VERSION_1 | VNET_F_CTRL_VQ | VNET_F_HASH_REPORT);
	ck_assert_uint_eq(t.nd.offloads.vnet_hdr_size, 20);
	fake_nic_start_legacy(&t, 0);
	ck_assert_uint_eq(t.nd.offloads.vnet_hdr_size, 10);
	fake_nic_start_legacy(&t, VNET_F_MRG_RXBUF);
	ck_assert_uint_eq(t.nd.offloads.vnet_hdr_size, 12);
}
END_TEST

START_TEST(offloads_at_the_start)
{
	fake_nic_create(&t);
	fake_nic_start(&t, VIRTIO_F_VERSION_1 | VNET_F_GUEST_TSO4); /* without a checksum there are no segments */
	ck_assert_uint_eq(t.nd.offloads.guest, 0);
	fake_nic_start(&t, VIRTIO_F_VERSION_1 | VNET_GUEST_OFFLOADS);
	ck_assert_uint_eq(t.nd.offloads.guest, FAKE_NIC_CAPS & ~NETDEV_VNET);
	fake_nic_start(&t, VIRTIO_F_VERSION_1 | VNET_F_GUEST_CSUM | VNET_F_GUEST_USO4 | VNET_F_GUEST_TSO6);
	ck_assert_uint_eq(t.nd.offloads.guest, NETDEV_CSUM | NETDEV_TSO6); /* USO is for both versions of IP or not at all */
}
END_TEST

START_TEST(a_back_end_that_refuses)
{
	fake_nic_create(&t);
	t.settings_rc = -EIO;
	ck_assert_uint_ne(fake_virtio_start(&t.v, FAKE_NIC_FEATURES) & VIRTIO_STATUS_NEEDS_RESET, 0);
	ck_assert(!t.rx_on);
	t.settings_rc = 0;
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	ck_assert(t.rx_on);
}
END_TEST

/* Transmitting */

START_TEST(sends_a_frame_as_it_is)
{
	uint8_t hdr[VNET_HDR] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 0 };
	struct fake_buf bufs[4];
	uint64_t gpa;

	start();
	fake_nic_send(&t, 0, frame, 60);
	check_sent(0, frame, 60);
	ck_assert_uint_eq(reap(0), 1);
	ck_assert_uint_eq(t.flushes, 1);
	ck_assert_uint_eq(t.nd.stats.tx_frames, 1);
	ck_assert_uint_eq(t.nd.stats.tx_bytes, 60);

	/* In any layout: the header cut up, the frame with it, an empty buffer, an indirect table. */
	gpa = fake_alloc(&t.v, 12 + 1500, 1);
	memcpy(fake_mem(&t.v, gpa, 12), hdr, 12);
	memcpy(fake_mem(&t.v, gpa + 12, 1500), frame, 1500);
	bufs[0] = (struct fake_buf){ gpa, 3, false };
	bufs[1] = (struct fake_buf){ gpa + 3, 0, false };
	bufs[2] = (struct fake_buf){ gpa + 3, 20, false };
	bufs[3] = (struct fake_buf){ gpa + 23, 1489, false };
	fake_ring_add(&t.v.ring[1], bufs, 4);
	fake_nic_kick(&t, 1);
	check_sent(1, frame, 1500);
	ck_assert_mem_eq(t.sent[1].data, hdr, 12);
	fake_nic_start(&t, FAKE_NIC_FEATURES | VIRTIO_F_INDIRECT_DESC);
	fake_ring_add_indirect(&t.v.ring[1], &t.v, bufs, 4);
	fake_nic_kick(&t, 1);
	check_sent(2, frame, 1500);
	ck_assert_uint_eq(reap(0), 1);
}
END_TEST

START_TEST(lengths_that_are_no_frames)
{
	static const uint32_t lens[] = { 0, 1, 11, 12, 13, 25 };
	struct fake_buf big[2];
	uint64_t dropped = 0;

	start();
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		struct fake_buf buf = { fake_alloc(&t.v, 64, 16), lens[i], false };

		fake_ring_add(&t.v.ring[1], &buf, 1);
		fake_nic_kick(&t, 1);
		ck_assert_uint_eq(reap(0), 1);
		ck_assert_uint_eq(t.n_sent, 0);
		ck_assert_uint_eq(t.nd.stats.tx_dropped, ++dropped);
	}
	fake_nic_send(&t, 0, frame, 14);
	fake_nic_send(&t, 0, frame, 65550);
	ck_assert_uint_eq(t.n_sent, 2);
	check_sent(0, frame, 14);
	check_sent(1, frame, 65550);
	fake_nic_send(&t, 0, frame, 65551);
	ck_assert_uint_eq(t.n_sent, 2);
	ck_assert_uint_eq(t.nd.stats.tx_dropped, dropped + 1);
	/* 3 MiB, and with a writable part, which nothing is written to. */
	big[0] = (struct fake_buf){ FAKE_HIGH, 3 << 20, false };
	big[1] = (struct fake_buf){ FAKE_HIGH, 64, true };
	fake_ring_add(&t.v.ring[1], big, 2);
	fake_nic_kick(&t, 1);
	ck_assert_uint_eq(t.n_sent, 2);
	ck_assert_uint_eq(reap(0), 4);
	ck_assert_uint_eq(virtio_get_status(t.v.dev) & VIRTIO_STATUS_NEEDS_RESET, 0);
}
END_TEST

static void back_pressure(void)
{
	start();
	t.takes = 3;
	for (unsigned i = 0; i < 100; i++) {
		frame[20] = (uint8_t)i;
		fake_nic_tx_add(&t, 0, frame, 60 + i);
	}
	fake_nic_kick(&t, 1);
	ck_assert_uint_eq(t.n_sent, 3);
	ck_assert_uint_eq(reap(0), 3);
	/* It is full: nothing is tried again, not even when the driver rings. */
	t.calls = 0;
	fake_nic_kick(&t, 1);
	fake_virtio_turn(&t.v);
	ck_assert_uint_eq(t.calls, 0);
	t.takes = 70;
	netdev_tx_ready(&t.nd, 0);
	ck_assert_uint_eq(t.n_sent, 73);
	t.takes = UINT32_MAX;
	netdev_tx_ready(&t.nd, 0);
	ck_assert_uint_eq(t.n_sent, 100);
	ck_assert_uint_eq(reap(0), 97);
	for (unsigned i = 0; i < 100; i++) {
		frame[20] = (uint8_t)i;
		check_sent(i, frame, 60 + i);
	}
	ck_assert_uint_eq(t.nd.stats.tx_dropped, 0);
	ck_assert_uint_eq(t.nd.stats.tx_frames, 100);
	/* tx_ready without need */
	netdev_tx_ready(&t.nd, 0);
	netdev_tx_ready(&t.nd, 7);
	fake_nic_send(&t, 0, frame, 60);
	ck_assert_uint_eq(t.n_sent, 101);
}

START_TEST(a_full_back_end)
{
	back_pressure();
}
END_TEST

START_TEST(a_full_back_end_that_takes_many)
{
	fake_nic_use_many(&t);
	back_pressure();
}
END_TEST

START_TEST(many_at_once)
{
	struct fake_buf bad = { fake_alloc(&t.v, 64, 16), 5, false };

	fake_nic_use_many(&t);
	start();
	for (unsigned i = 0; i < 20; i++) {
		fake_nic_tx_add(&t, 0, frame, 60);
		if (i == 9)
			fake_ring_add(&t.v.ring[1], &bad, 1);
	}
	fake_nic_kick(&t, 1);
	ck_assert_uint_eq(t.n_sent, 20);
	ck_assert_uint_eq(t.calls, 2);
	ck_assert_uint_eq(t.flushes, 1);
	ck_assert_uint_eq(reap(0), 21);
	ck_assert_uint_eq(t.nd.stats.tx_dropped, 1);
	ck_assert_uint_eq(t.nd.stats.tx_frames, 20);
}
END_TEST

START_TEST(one_interrupt_for_a_run_and_turns_for_others)
{
	unsigned sent;

	t.cfg.tx_queue_size = 1024;
	start();
	for (unsigned i = 0; i < 1000; i++)
		fake_nic_tx_add(&t, 0, frame, 60);
	atomic_store(&t.v.queue_interrupts[1], 0);
	fake_nic_kick(&t, 1);
	/* A share, and the rest in the next turns; each with an interrupt. */
	sent = t.n_sent;
	ck_assert_uint_lt(sent, 1000);
	for (unsigned i = 0; i < 10; i++)
		fake_virtio_turn(&t.v);
	ck_assert_uint_eq(t.n_sent, 1000);
	ck_assert_uint_le(atomic_load(&t.v.queue_interrupts[1]), 1000 / sent + 1);
	ck_assert_uint_eq(reap(0), 1000);
}
END_TEST

START_TEST(bytes_are_a_share_too)
{
	start();
	for (unsigned i = 0; i < 100; i++)
		fake_nic_tx_add(&t, 0, frame, 60000);
	fake_nic_kick(&t, 1);
	ck_assert_uint_lt(t.n_sent, 60);
	for (unsigned i = 0; i < 10; i++)
		fake_virtio_turn(&t.v);
	ck_assert_uint_eq(t.n_sent, 100);
}
END_TEST

START_TEST(doorbell_is_off_while_it_is_no_use)
{
	start();
	fake_nic_send(&t, 0, frame, 60);
	ck_assert_uint_eq(fake_ring_used_flags(&t.v.ring[1]), 0);
	t.takes = 0;
	fake_nic_send(&t, 0, frame, 60);
	ck_assert_uint_eq(fake_ring_used_flags(&t.v.ring[1]), VIRTQ_USED_F_NO_NOTIFY);
	t.takes = 5;
	netdev_tx_ready(&t.nd, 0);
	ck_assert_uint_eq(fake_ring_used_flags(&t.v.ring[1]), 0);
}
END_TEST

/* Single frames in quick succession, each with the doorbell; returns how many it took until the doorbell went off. */
static unsigned trickle(unsigned max)
{
	unsigned n = 0;

	while (n < max && !(fake_ring_used_flags(&t.v.ring[1]) & VIRTQ_USED_F_NO_NOTIFY)) {
		fake_now += 50000;
		fake_nic_send(&t, 0, frame, 60);
		ck_assert_uint_eq(t.n_sent, ++n);
	}
	fake_nic_forget_sent(&t);
	return n;
}

START_TEST(runs_are_deferred_while_that_gathers_frames)
{
	unsigned first;

	fake_now = INT64_C(1000000000000);
	start();
	first = trickle(100);
	ck_assert_uint_le(first, 20);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 6; i++)
			fake_nic_tx_add(&t, 0, frame, 60);
		fake_virtio_turn(&t.v);
		ck_assert_uint_eq(t.n_sent, 0);
		fake_now += 600000;
		fake_virtio_turn(&t.v);
		ck_assert_uint_eq(t.n_sent, 6);
		fake_nic_forget_sent(&t);
		ck_assert_uint_ne(fake_ring_used_flags(&t.v.ring[1]), 0);
	}
	/* The last ones: the frames are sent, and then the driver has to ring again. */
	fake_nic_tx_add(&t, 0, frame, 60);
	fake_now += 600000;
	fake_virtio_turn(&t.v);
	ck_assert_uint_eq(t.n_sent, 1);
	ck_assert_uint_eq(fake_ring_used_flags(&t.v.ring[1]), 0);
	ck_assert(!t.net->tx[0].defer_timer.armed);
	fake_nic_forget_sent(&t);
}
END_TEST

START_TEST(who_waits_for_an_answer_to_each_frame_is_not_slowed_down)
{
	unsigned before = 0, n;

	fake_now = INT64_C(1000000000000);
	start();
	/* Each time it is tried in vain it takes longer until it is tried again. */
	for (unsigned i = 0; i < 4; i++) {
		n = trickle(1000);
		ck_assert_uint_gt(n, before);
		before = n;
		fake_now += 600000;
		fake_virtio_turn(&t.v); /* found none, or one */
		ck_assert_uint_eq(fake_ring_used_flags(&t.v.ring[1]), 0);
	}
	/* Now and then a frame is no streak, and a reset forgets all. */
	for (unsigned i = 0; i < 100; i++) {
		fake_now += 1000000;
		fake_nic_send(&t, 0, frame, 60);
		ck_assert_uint_eq(fake_ring_used_flags(&t.v.ring[1]), 0);
	}
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	fake_nic_forget_sent(&t);
	ck_assert_uint_lt(trickle(100), 20);
	fake_virtio_reset(&t.v);
	ck_assert(!t.net->tx[0].defer_timer.armed);
}
END_TEST

/* A machine that is stopped: nothing is taken from the rings and nothing put into them. */
START_TEST(pauses)
{
	static const uint8_t promisc[] = { 0, 0 };
	uint8_t got[200];
	uint16_t used;

	start();
	fake_nic_rx_add(&t, 0, 1536);
	fake_nic_rx_add(&t, 0, 1536);
	fake_nic_kick(&t, 0);
	ck_assert(fake_nic_deliver(&t, 0, frame, 60));
	fake_nic_send(&t, 0, frame, 60);
	ck_assert_uint_eq(t.n_sent, 1);
	t.v.dev->ops->quiesce(t.v.dev);
	used = t.net->dev.queues[0].vq.used_idx;
	fake_nic_send(&t, 0, frame, 70);
	fake_nic_send(&t, 0, frame, 80);
	ck_assert_uint_eq(t.n_sent, 1);
	ck_assert(!fake_nic_deliver(&t, 0, frame, 90));
	virtio_net_set_link(t.v.dev, false);
	virtio_net_set_link(t.v.dev, true);
	fake_virtio_turn(&t.v);
	ck_assert_uint_eq(t.n_sent, 1);
	ck_assert_uint_eq(t.net->dev.queues[0].vq.used_idx, used);
	t.more[0] = 0;
	t.v.dev->ops->resume(t.v.dev);
	ck_assert_uint_eq(t.n_sent, 3);
	ck_assert_uint_eq(t.sent[2].len, t.net->hdr_size + 80);
	ck_assert_uint_ge(t.more[0], 1); /* the back end hears that there is room */
	ck_assert(fake_nic_deliver(&t, 0, frame, 90));
	ck_assert_uint_eq(fake_nic_receive(&t, 0, got, sizeof(got)), t.net->hdr_size + 60);
	ck_assert_uint_eq(fake_nic_receive(&t, 0, got, sizeof(got)), t.net->hdr_size + 90);
	ck_assert_uint_eq(fake_nic_ctrl(&t, 0, 0, promisc, 1), 0);
	t.v.dev->ops->resume(t.v.dev); /* nothing */
	fake_nic_send(&t, 0, frame, 60);
	ck_assert_uint_eq(t.n_sent, 4);
}
END_TEST

/* Frames of its driver's do not keep a loop busy that looks at the ring meanwhile. */
START_TEST(a_pause_while_the_loop_looks)
{
	eventloop_set_polling(t.v.loop, 1000000000);
	start();
	for (unsigned i = 0; i < 20; i++)
		fake_nic_send(&t, 0, frame, 60);
	t.v.dev->ops->quiesce(t.v.dev);
	for (unsigned i = 0; i < 3; i++) {
		fake_nic_send(&t, 0, frame, 60);
		ck_assert(!t.net->dev.queues[1].poll.active);
	}
	ck_assert_uint_eq(t.n_sent, 20);
	t.v.dev->ops->resume(t.v.dev);
	ck_assert_uint_eq(t.n_sent, 23);
}
END_TEST

START_TEST(a_loop_that_looks_does_not_spin)
{
	eventloop_set_polling(t.v.loop, 1000000000);
	start();
	for (unsigned i = 0; i < 20; i++)
		fake_nic_send(&t, 0, frame, 60);
	ck_assert_uint_eq(t.n_sent, 20);
	t.takes = 0;
	fake_nic_send(&t, 0, frame, 60);
	fake_nic_tx_add(&t, 0, frame, 60);
	ck_assert(!t.v.dev->queues[1].poll.active);
	t.takes = 5;
	netdev_tx_ready(&t.nd, 0);
	ck_assert_uint_eq(t.n_sent, 22);
	/* Receive queues always have something; nobody looks at them. */
	fake_nic_rx_add(&t, 0, 2000);
	fake_nic_kick(&t, 0);
	ck_assert(!t.v.dev->queues[0].poll.active);
	eventloop_set_polling(t.v.loop, 0);
}
END_TEST

START_TEST(broken_rings)
{
	start();
	fake_ring_put(&t.v.ring[1], 300);
	fake_nic_kick(&t, 1);
	ck_assert_uint_ne(virtio_get_status(t.v.dev) & VIRTIO_STATUS_NEEDS_RESET, 0);
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	/* The chains before the bad one are sent. */
	fake_nic_tx_add(&t, 0, frame, 60);
	fake_ring_put(&t.v.ring[1], 300);
	fake_nic_kick(&t, 1);
	ck_assert_uint_eq(t.n_sent, 1);
	ck_assert_uint_ne(virtio_get_status(t.v.dev) & VIRTIO_STATUS_NEEDS_RESET, 0);
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	fake_nic_send(&t, 0, frame, 60);
	ck_assert_uint_eq(t.n_sent, 2);
}
END_TEST

START_TEST(reset_with_frames_waiting)
{
	start();
	t.takes = 0;
	for (unsigned i = 0; i < 100; i++)
		fake_nic_tx_add(&t, 0, frame, 60);
	fake_nic_kick(&t, 1);
	fake_virtio_reset(&t.v);
	ck_assert(!t.rx_on);
	t.takes = UINT32_MAX;
	netdev_tx_ready(&t.nd, 0);
	ck_assert_uint_eq(t.n_sent, 0);
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	fake_nic_send(&t, 0, frame, 100);
	ck_assert_uint_eq(t.n_sent, 1);
	check_sent(0, frame, 100);
	/* And with work posted. */
	for (unsigned i = 0; i < 250; i++)
		fake_nic_tx_add(&t, 0, frame, 60000 / 8);
	fake_nic_kick(&t, 1);
	fake_virtio_reset(&t.v);
	fake_virtio_turn(&t.v);
}
END_TEST

/* The link */

START_TEST(cable)
{
	unsigned before;

	start();
	before = atomic_load(&t.v.config_interrupts);
	virtio_net_set_link(t.v.dev, false);
	ck_assert_uint_eq(fake_nic_status(&t), 0);
	ck_assert_uint_eq(atomic_load(&t.v.config_interrupts), before + 1);
	fake_nic_send(&t, 0, frame, 60);
	ck_assert_uint_eq(t.n_sent, 0);
	ck_assert_uint_eq(reap(0), 1);
	ck_assert_uint_eq(t.nd.stats.tx_dropped, 1);
	virtio_net_set_link(t.v.dev, false);
	ck_assert_uint_eq(atomic_load(&t.v.config_interrupts), before + 1);
	virtio_net_set_link(t.v.dev, true);
	ck_assert_uint_eq(fake_nic_status(&t), VNET_S_LINK_UP);
	ck_assert_uint_eq(atomic_load(&t.v.config_interrupts), before + 2);
	fake_nic_send(&t, 0, frame, 60);
	ck_assert_uint_eq(t.n_sent, 1);
	/* The back end's link and the cable have both to be there. */
	netdev_link(&t.nd, false);
	ck_assert_uint_eq(fake_nic_status(&t), 0);
	virtio_net_set_link(t.v.dev, false);
	netdev_link(&t.nd, true);
	ck_assert_uint_eq(fake_nic_status(&t), 0);
	virtio_net_set_link(t.v.dev, true);
	ck_assert_uint_eq(fake_nic_status(&t), VNET_S_LINK_UP);
	/* A reset does not plug it in. */
	virtio_net_set_link(t.v.dev, false);
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	fake_nic_send(&t, 0, frame, 60);
	ck_assert_uint_eq(t.n_sent, 1);
}
END_TEST

START_TEST(what_waits_goes_with_the_link)
{
	start();
	t.takes = 0;
	fake_nic_send(&t, 0, frame, 60);
	ck_assert_uint_eq(reap(0), 0);
	netdev_link(&t.nd, false); /* there will be no tx_ready */
	ck_assert_uint_eq(reap(0), 1);
	t.takes = UINT32_MAX;
	netdev_link(&t.nd, true);
	fake_nic_send(&t, 0, frame, 60);
	ck_assert_uint_eq(t.n_sent, 1);
}
END_TEST

START_TEST(announce)
{
	start();
	ck_assert(virtio_net_announce(t.v.dev));
	ck_assert_uint_eq(fake_nic_status(&t), VNET_S_LINK_UP | VNET_S_ANNOUNCE);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_ANNOUNCE, VNET_CTRL_ANNOUNCE_ACK, NULL, 0), VNET_CTRL_OK);
	ck_assert_uint_eq(fake_nic_status(&t), VNET_S_LINK_UP);
	ck_assert(virtio_net_announce(t.v.dev));
	fake_virtio_reset(&t.v);
	ck_assert_uint_eq(fake_nic_status(&t), VNET_S_LINK_UP);
	ck_assert(!virtio_net_announce(t.v.dev));
	fake_nic_start(&t, FAKE_NIC_FEATURES & ~VNET_F_GUEST_ANNOUNCE);
	ck_assert(!virtio_net_announce(t.v.dev));
}
END_TEST

/* Several queues */

START_TEST(pairs_are_used_when_they_are_set)
{
	le16 n = le16_of(3);

	t.nd.queues = t.cfg.queues = 4;
	t.cfg.mq = true;
	fake_nic_create(&t);
	fake_nic_start(&t, FAKE_NIC_FEATURES | VNET_F_MQ);
	ck_assert_uint_eq(t.net->ctrl, 8);
	ck_assert_uint_eq(t.queues, 1);
	fake_nic_send(&t, 2, frame, 60);
	ck_assert_uint_eq(t.n_sent, 0);
	ck_assert_uint_eq(reap(2), 1);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MQ, VNET_CTRL_MQ_PAIRS_SET, &n, 2), VNET_CTRL_OK);
	ck_assert_uint_eq(t.queues, 3);
	for (unsigned i = 0; i < 4; i++) {
		fake_nic_send(&t, i, frame, 60 + i);
		ck_assert_uint_eq(reap(i), 1);
	}
	ck_assert_uint_eq(t.n_sent, 3);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(t.sent[i].queue, i);
	/* After a reset there is one again, and without MQ the control queue is where another pair was. */
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	ck_assert_uint_eq(t.queues, 1);
	ck_assert_uint_eq(t.net->ctrl, 2);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MQ, VNET_CTRL_MQ_PAIRS_SET, &n, 2), VNET_CTRL_ERR);
	fake_nic_kick(&t, 3);
	fake_nic_kick(&t, 8);
	fake_nic_send(&t, 0, frame, 60);
	ck_assert_uint_eq(t.n_sent, 4);
}
END_TEST

/* Limits */

START_TEST(limits_hold_back_and_lose_nothing)
{
	t.cfg.tx.frames.avg = 100; /* a burst of 10 */
	fake_now = INT64_C(1000000000000);
	start();
	for (unsigned i = 0; i < 60; i++)
		fake_nic_tx_add(&t, 0, frame, 60);
	fake_nic_kick(&t, 1);
	ck_assert_uint_eq(t.n_sent, 11);
	fake_nic_kick(&t, 1);
	ck_assert_uint_eq(t.n_sent, 11);
	fake_now += NS_PER_SEC / 4; /* enough for another burst */
	fake_virtio_turn(&t.v);
	fake_virtio_turn(&t.v);
	ck_assert_uint_eq(t.n_sent, 22);
	for (unsigned i = 0; i < 30; i++) {
		fake_now += NS_PER_SEC / 50;
		fake_virtio_turn(&t.v);
		fake_virtio_turn(&t.v);
		ck_assert_uint_le(t.n_sent, 22 + 2 * (i + 1) + 1);
	}
	ck_assert_uint_eq(t.n_sent, 60);
	ck_assert_uint_eq(reap(0), 60);
	ck_assert_uint_eq(t.nd.stats.tx_dropped, 0);
	/* A reset forgets the timer. */
	for (unsigned i = 0; i < 60; i++)
		fake_nic_tx_add(&t, 0, frame, 60);
	fake_nic_kick(&t, 1);
	ck_assert(t.net->tx_limit.timer.armed);
	fake_virtio_reset(&t.v);
	ck_assert(!t.net->tx_limit.timer.armed);
}
END_TEST

START_TEST(limits_of_bytes)
{
	t.cfg.tx.bytes = (struct throttle_limit){ .avg = 10000, .max = 20000, .max_length = 2 };
	fake_now = INT64_C(1000000000000);
	start();
	for (unsigned i = 0; i < 100; i++)
		fake_nic_tx_add(&t, 0, frame, 988); /* 1000 with the header */
	fake_nic_kick(&t, 1);
	ck_assert_uint_eq(t.n_sent, 3); /* a tenth of a second of the burst's rate, and the one that goes over */
	for (unsigned i = 0; i < 100; i++) {
		fake_now += NS_PER_SEC / 10;
		fake_virtio_turn(&t.v);
		fake_virtio_turn(&t.v);
	}
	ck_assert_uint_eq(t.n_sent, 100);
}
END_TEST

START_TEST(limits_of_receiving)
{
	unsigned n = 0;

	t.cfg.rx.frames.avg = 100;
	fake_now = INT64_C(1000000000000);
	start();
	for (unsigned i = 0; i < 100; i++)
		fake_nic_rx_add(&t, 0, 2000);
	fake_nic_kick(&t, 0);
	while (fake_nic_deliver(&t, 0, frame, 100))
		n++;
	ck_assert_uint_eq(n, 11);
	t.more[0] = 0;
	fake_now += NS_PER_SEC / 10;
	fake_virtio_turn(&t.v);
	fake_virtio_turn(&t.v);
	ck_assert_uint_ge(t.more[0], 1);
	while (fake_nic_deliver(&t, 0, frame, 100))
		n++;
	ck_assert_uint_ge(n, 20);
	ck_assert_uint_le(n, 22);
}
END_TEST

START_TEST(query)
{
	struct virtio_net_state s;

	start();
	virtio_net_query(t.v.dev, &s);
	ck_assert_mem_eq(s.mac, t.cfg.mac, 6);
	ck_assert(s.link_up && s.promisc && !s.allmulti);
	ck_assert_uint_eq(s.pairs, 1);
	ck_assert_uint_eq(s.features, FAKE_NIC_FEATURES);
	fake_virtio_reset(&t.v);
	virtio_net_query(t.v.dev, &s);
	ck_assert_uint_eq(s.pairs, 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		offers_by_default, offers_what_the_back_end_can, every_switch_works, refuses_what_cannot_be, configuration_space,
		address_is_written_by_legacy_drivers_only, header_sizes, offloads_at_the_start, a_back_end_that_refuses,
		sends_a_frame_as_it_is, lengths_that_are_no_frames, a_full_back_end, a_full_back_end_that_takes_many, many_at_once,
		one_interrupt_for_a_run_and_turns_for_others, bytes_are_a_share_too, doorbell_is_off_while_it_is_no_use,
		pauses, a_pause_while_the_loop_looks, runs_are_deferred_while_that_gathers_frames, who_waits_for_an_answer_to_each_frame_is_not_slowed_down,
		a_loop_that_looks_does_not_spin, broken_rings, reset_with_frames_waiting, cable, what_waits_goes_with_the_link, announce,
		pairs_are_used_when_they_are_set, limits_hold_back_and_lose_nothing, limits_of_bytes, limits_of_receiving, query,
	};

	return suite_run("virtio_net", tests, ARRAY_SIZE(tests), setup, teardown);
}
