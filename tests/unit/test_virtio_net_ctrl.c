/* SPDX-License-Identifier: MIT */
/* virtio-net: the control queue and what is received because of it. */
#include "tests/unit/fake_nic.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/suite.h"
#include "vmm/err.h"

static struct fake_nic t;
static uint8_t got[4096];

static void setup(void)
{
	log_set_level(LOG_LEVEL_NONE);
	fake_nic_init(&t);
	t.nd.queues = t.cfg.queues = 4;
	t.cfg.mq = t.cfg.rss = t.cfg.hash = true;
	fake_nic_create(&t);
}

static void teardown(void)
{
	fake_nic_fini(&t);
}

static void start(void)
{
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	for (unsigned i = 0; i < 200; i++)
		fake_nic_rx_add(&t, 0, 1536);
	fake_nic_kick(&t, 0);
}

static void mode(uint8_t command, uint8_t on)
{
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_RX, command, &on, 1), VNET_CTRL_OK);
}

/* Whether a frame to this address is received. */
static bool receives(const uint8_t *to, int vlan)
{
	uint8_t frame[100];
	uint64_t dropped = t.nd.stats.rx_dropped;
	size_t n;

	fake_frame_fill(frame, sizeof(frame), to, 3);
	if (vlan >= 0) {
		frame[12] = 0x81;
		frame[13] = 0;
		frame[14] = (uint8_t)(0xe0 | vlan >> 8); /* with a priority */
		frame[15] = (uint8_t)vlan;
	}
	ck_assert(fake_nic_deliver(&t, 0, frame, sizeof(frame)));
	n = fake_nic_receive(&t, 0, got, sizeof(got));
	if (n) {
		ck_assert_uint_eq(n, 112);
		ck_assert_mem_eq(got + 12, frame, sizeof(frame));
	}
	ck_assert_uint_eq(t.nd.stats.rx_dropped, dropped + (n == 0));
	return n;
}

static const uint8_t own[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 }, other[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x57 };
static const uint8_t group[6] = { 1, 0, 0x5e, 0, 0, 1 }, broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static unsigned all(void)
{
	return (receives(own, -1) ? 1u : 0) | (receives(other, -1) ? 2u : 0) | (receives(group, -1) ? 4u : 0) |
	       (receives(broadcast, -1) ? 8u : 0);
}

START_TEST(receive_modes)
{
	start();
	ck_assert_uint_eq(all(), 15); /* promiscuous at first */
	mode(VNET_CTRL_RX_PROMISC, 0);
	ck_assert_uint_eq(all(), 1 | 8);
	mode(VNET_CTRL_RX_ALLMULTI, 1);
	ck_assert_uint_eq(all(), 1 | 4 | 8);
	mode(VNET_CTRL_RX_ALLUNI, 1);
	ck_assert_uint_eq(all(), 15);
	mode(VNET_CTRL_RX_NOMULTI, 1);
	ck_assert_uint_eq(all(), 1 | 2 | 8);
	mode(VNET_CTRL_RX_NOUNI, 1);
	ck_assert_uint_eq(all(), 8);
	mode(VNET_CTRL_RX_NOBCAST, 1);
	ck_assert_uint_eq(all(), 0);
	mode(VNET_CTRL_RX_PROMISC, 1);
	ck_assert_uint_eq(all(), 15);
	mode(VNET_CTRL_RX_PROMISC, 0);
	fake_virtio_reset(&t.v);
	start();
	ck_assert_uint_eq(all(), 15);
}
END_TEST

/* A table of so many addresses of each kind; the last byte counts. Returns its length. */
static size_t table(uint8_t *buf, uint32_t n_uni, uint32_t n_multi)
{
	uint8_t *p = buf;

	store_le32(p, n_uni);
	p += 4;
	for (uint32_t i = 0; i < n_uni; i++, p += 6)
		memcpy(p, (uint8_t[6]){ 2, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i }, 6);
	store_le32(p, n_multi);
	p += 4;
	for (uint32_t i = 0; i < n_multi; i++, p += 6)
		memcpy(p, (uint8_t[6]){ 3, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i }, 6);
	return (size_t)(p - buf);
}

static uint8_t set_table(uint32_t n_uni, uint32_t n_multi)
{
	static uint8_t buf[8192];
	size_t len = table(buf, n_uni, n_multi);

	return fake_nic_ctrl(&t, VNET_CTRL_MAC, VNET_CTRL_MAC_TABLE_SET, buf, len);
}

static bool receives_nth(uint8_t first, uint8_t n)
{
	return receives((uint8_t[6]){ first, 0, 0, 0, 0, n }, -1);
}

START_TEST(mac_table)
{
	start();
	mode(VNET_CTRL_RX_PROMISC, 0);
	ck_assert_uint_eq(set_table(3, 2), VNET_CTRL_OK);
	ck_assert(receives_nth(2, 0) && receives_nth(2, 2) && !receives_nth(2, 3));
	ck_assert(receives_nth(3, 0) && receives_nth(3, 1) && !receives_nth(3, 2));
	ck_assert_uint_eq(all(), 1 | 8);
	/* What does not fit counts as all of its kind. */
	ck_assert_uint_eq(set_table(64, 0), VNET_CTRL_OK);
	ck_assert(receives_nth(2, 63) && !receives_nth(2, 64));
	ck_assert_uint_eq(set_table(65, 3), VNET_CTRL_OK);
	ck_assert(receives(other, -1) && !receives(group, -1) && receives_nth(3, 2));
	ck_assert_uint_eq(set_table(60, 5), VNET_CTRL_OK);
	ck_assert(!receives(other, -1) && receives(group, -1) && receives_nth(2, 59));
	ck_assert_uint_eq(set_table(0, 0), VNET_CTRL_OK);
	ck_assert_uint_eq(all(), 1 | 8);
}
END_TEST

START_TEST(mac_tables_that_lie)
{
	uint8_t buf[8192];
	size_t len = table(buf, 3, 2);

	start();
	mode(VNET_CTRL_RX_PROMISC, 0);
	ck_assert_uint_eq(set_table(1, 1), VNET_CTRL_OK);
	for (size_t n = 0; n < len; n++)
		ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MAC, VNET_CTRL_MAC_TABLE_SET, buf, n), VNET_CTRL_ERR);
	store_le32(buf, UINT32_MAX);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MAC, VNET_CTRL_MAC_TABLE_SET, buf, len), VNET_CTRL_ERR);
	store_le32(buf, 0x2aaaaaab); /* six times this is 2 modulo 2^32 */
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MAC, VNET_CTRL_MAC_TABLE_SET, buf, len), VNET_CTRL_ERR);
	/* The table from before is still there. */
	ck_assert(receives_nth(2, 0) && receives_nth(3, 0) && !receives_nth(2, 1));
	/* More than the table is fine. */
	len = table(buf, 2, 2);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MAC, VNET_CTRL_MAC_TABLE_SET, buf, len + 50), VNET_CTRL_OK);
	ck_assert(receives_nth(2, 1));
}
END_TEST

START_TEST(own_address)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 9, 9, 9 };
	uint8_t b[6];

	start();
	mode(VNET_CTRL_RX_PROMISC, 0);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MAC, VNET_CTRL_MAC_ADDR_SET, mac, 5), VNET_CTRL_ERR);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MAC, VNET_CTRL_MAC_ADDR_SET, mac, 6), VNET_CTRL_OK);
	ck_assert(receives(mac, -1) && !receives(own, -1));
	t.v.dev->ops->config_read(t.v.dev, 0, b, 6);
	ck_assert_mem_eq(b, mac, 6);
	fake_virtio_reset(&t.v);
	t.v.dev->ops->config_read(t.v.dev, 0, b, 6);
	ck_assert_mem_eq(b, own, 6);
}
END_TEST

START_TEST(vlans)
{
	le16 id;

	start();
	ck_assert(receives(own, 5)); /* promiscuous */
	mode(VNET_CTRL_RX_PROMISC, 0);
	ck_assert(!receives(own, 5) && receives(own, -1));
	id = le16_of(5);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_VLAN, VNET_CTRL_VLAN_ADD, &id, 2), VNET_CTRL_OK);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_VLAN, VNET_CTRL_VLAN_ADD, &id, 2), VNET_CTRL_OK);
	ck_assert(receives(own, 5) && !receives(own, 6) && !receives(other, 5) && receives(own, -1));
	ck_assert_uint_eq(t.net->filter.n_vlans, 1);
	id = le16_of(4095);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_VLAN, VNET_CTRL_VLAN_ADD, &id, 2), VNET_CTRL_OK);
	ck_assert(receives(own, 4095));
	id = le16_of(5);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_VLAN, VNET_CTRL_VLAN_DEL, &id, 2), VNET_CTRL_OK);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_VLAN, VNET_CTRL_VLAN_DEL, &id, 2), VNET_CTRL_OK);
	ck_assert(!receives(own, 5));
	ck_assert_uint_eq(t.net->filter.n_vlans, 1);
	for (unsigned bad = 4096; bad <= 65536; bad += 6144) {
		id = le16_of((uint16_t)(bad - 1 + (bad == 4096)));
		ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_VLAN, VNET_CTRL_VLAN_ADD, &id, 2), VNET_CTRL_ERR);
	}
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_VLAN, VNET_CTRL_VLAN_ADD, &id, 1), VNET_CTRL_ERR);
	/* Without the feature tags are no business of the card. */
	fake_nic_start(&t, FAKE_NIC_FEATURES & ~VNET_F_CTRL_VLAN);
	fake_nic_rx_add(&t, 0, 1536);
	fake_nic_kick(&t, 0);
	mode(VNET_CTRL_RX_PROMISC, 0);
	ck_assert(receives(own, 77));
}
END_TEST

START_TEST(frames_that_are_only_a_header)
{
	uint8_t frame[16] = { 0 };

	start();
	mode(VNET_CTRL_RX_PROMISC, 0);
	memcpy(frame, own, 6);
	frame[12] = 0x81; /* a tag that is not there: VLAN 0 */
	ck_assert(fake_nic_deliver(&t, 0, frame, 14));
	ck_assert_uint_eq(fake_nic_receive(&t, 0, got, sizeof(got)), 0);
	frame[12] = 8;
	ck_assert(fake_nic_deliver(&t, 0, frame, 14));
	ck_assert_uint_eq(fake_nic_receive(&t, 0, got, sizeof(got)), 26);
}
END_TEST

START_TEST(filter_reads_across_buffers)
{
	uint8_t frame[100];
	struct fake_buf bufs[9];

	fake_nic_start(&t, FAKE_NIC_FEATURES);
	mode(VNET_CTRL_RX_PROMISC, 0);
	for (unsigned i = 0; i < 8; i++)
		bufs[i] = (struct fake_buf){ FAKE_HIGH + i * 3, 3, true };
	bufs[8] = (struct fake_buf){ FAKE_HIGH + 24, 10, true };
	for (unsigned i = 0; i < 8; i++)
		fake_ring_add(&t.v.ring[0], bufs, 9);
	fake_nic_kick(&t, 0);
	fake_frame_fill(frame, sizeof(frame), other, 3);
	ck_assert(fake_nic_deliver(&t, 0, frame, 100));
	ck_assert_uint_eq(fake_ring_used_count(&t.v.ring[0]), 0);
	fake_frame_fill(frame, sizeof(frame), own, 3);
	ck_assert(fake_nic_deliver(&t, 0, frame, 100));
	ck_assert_uint_eq(fake_ring_used_count(&t.v.ring[0]), 4);
}
END_TEST

START_TEST(guest_offloads)
{
	le64 v = le64_of(VNET_F_GUEST_CSUM);

	start();
	ck_assert_uint_eq(t.nd.offloads.guest, NETDEV_CSUM | NETDEV_TSO4);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_GUEST_OFFLOADS, 0, &v, 8), VNET_CTRL_OK);
	ck_assert_uint_eq(t.nd.offloads.guest, NETDEV_CSUM);
	v = le64_of(0);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_GUEST_OFFLOADS, 0, &v, 8), VNET_CTRL_OK);
	ck_assert_uint_eq(t.nd.offloads.guest, 0);
	ck_assert(t.net->clear_flags);
	v = le64_of(VNET_F_GUEST_CSUM | VNET_F_GUEST_TSO4);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_GUEST_OFFLOADS, 0, &v, 8), VNET_CTRL_OK);
	ck_assert_uint_eq(t.nd.offloads.guest, NETDEV_CSUM | NETDEV_TSO4);
	/* Not negotiated, no offload of the guest's, too short, a back end that refuses. */
	v = le64_of(VNET_F_GUEST_CSUM | VNET_F_GUEST_TSO6);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_GUEST_OFFLOADS, 0, &v, 8), VNET_CTRL_ERR);
	v = le64_of(VNET_F_GUEST_CSUM | VNET_F_STATUS);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_GUEST_OFFLOADS, 0, &v, 8), VNET_CTRL_ERR);
	v = le64_of(0);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_GUEST_OFFLOADS, 0, &v, 7), VNET_CTRL_ERR);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_GUEST_OFFLOADS, 1, &v, 8), VNET_CTRL_ERR);
	t.settings_rc = -EIO;
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_GUEST_OFFLOADS, 0, &v, 8), VNET_CTRL_ERR);
	ck_assert_uint_eq(t.nd.offloads.guest, NETDEV_CSUM | NETDEV_TSO4);
}
END_TEST

START_TEST(pairs)
{
	static const uint16_t bad[] = { 0, 5, 0x8000, 0xffff };
	le16 n;

	fake_nic_start(&t, FAKE_NIC_FEATURES | VNET_F_MQ);
	for (unsigned i = 1; i <= 4; i++) {
		n = le16_of((uint16_t)i);
		ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MQ, VNET_CTRL_MQ_PAIRS_SET, &n, 2), VNET_CTRL_OK);
		ck_assert_uint_eq(t.queues, i);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		n = le16_of(bad[i]);
		ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MQ, VNET_CTRL_MQ_PAIRS_SET, &n, 2), VNET_CTRL_ERR);
	}
	n = le16_of(2);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MQ, VNET_CTRL_MQ_PAIRS_SET, &n, 1), VNET_CTRL_ERR);
	t.settings_rc = -EIO;
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MQ, VNET_CTRL_MQ_PAIRS_SET, &n, 2), VNET_CTRL_ERR);
	ck_assert_uint_eq(t.net->pairs, 4);
}
END_TEST

START_TEST(commands_without_their_feature)
{
	static const struct {
		uint8_t class, command;
		uint64_t feature;
	} commands[] = {
		{ VNET_CTRL_RX, VNET_CTRL_RX_PROMISC, VNET_F_CTRL_RX },
		{ VNET_CTRL_RX, VNET_CTRL_RX_ALLMULTI, VNET_F_CTRL_RX },
		{ VNET_CTRL_RX, VNET_CTRL_RX_ALLUNI, VNET_F_CTRL_RX_EXTRA },
		{ VNET_CTRL_RX, VNET_CTRL_RX_NOBCAST, VNET_F_CTRL_RX_EXTRA },
		{ VNET_CTRL_MAC, VNET_CTRL_MAC_TABLE_SET, VNET_F_CTRL_RX },
		{ VNET_CTRL_MAC, VNET_CTRL_MAC_ADDR_SET, VNET_F_CTRL_MAC_ADDR },
		{ VNET_CTRL_VLAN, VNET_CTRL_VLAN_ADD, VNET_F_CTRL_VLAN },
		{ VNET_CTRL_ANNOUNCE, VNET_CTRL_ANNOUNCE_ACK, VNET_F_GUEST_ANNOUNCE },
		{ VNET_CTRL_GUEST_OFFLOADS, VNET_CTRL_GUEST_OFFLOADS_SET, VNET_F_CTRL_GUEST_OFFLOADS },
	};
	static const uint8_t zero[64];

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		fake_nic_start(&t, FAKE_NIC_FEATURES);
		ck_assert_uint_eq(fake_nic_ctrl(&t, commands[i].class, commands[i].command, zero, sizeof(zero)), VNET_CTRL_OK);
		fake_nic_start(&t, FAKE_NIC_FEATURES & ~commands[i].feature);
		ck_assert_uint_eq(fake_nic_ctrl(&t, commands[i].class, commands[i].command, zero, sizeof(zero)), VNET_CTRL_ERR);
	}
}
END_TEST

START_TEST(every_class_and_command)
{
	static const uint8_t zero[64];
	unsigned ok = 0;

	fake_nic_start(&t, FAKE_NIC_FEATURES | VNET_F_MQ | VNET_F_RSS | VNET_F_HASH_REPORT);
	for (unsigned class = 0; class < 16; class++)
		for (unsigned command = 0; command < 256; command += command < 16 ? 1 : 60)
			ok += fake_nic_ctrl(&t, (uint8_t)class, (uint8_t)command, zero, class == 4 && command == 0 ? 1 : 64) == VNET_CTRL_OK;
	ck_assert_uint_eq(ok, 6 + 2 + 2 + 1 + 1 + 1); /* RSS for no queue is refused, so is a number of queues that is cut short */
	ck_assert_uint_eq(fake_nic_ctrl(&t, 255, 255, zero, 64), VNET_CTRL_ERR);
}
END_TEST

static bool needs_reset(void)
{
	return virtio_get_status(t.v.dev) & VIRTIO_STATUS_NEEDS_RESET;
}

/* One command in these buffers. Returns whether it was answered. */
static bool raw(const struct fake_buf *bufs, unsigned n)
{
	fake_ring_add(&t.v.ring[2], bufs, n);
	fake_nic_kick(&t, 2);
	return fake_ring_used_count(&t.v.ring[2]);
}

START_TEST(layouts)
{
	static const uint8_t promisc_off[3] = { 0, 0, 0 };
	uint64_t cmd, answer;
	struct fake_buf bufs[6];
	uint32_t head, len;

	start();
	cmd = fake_alloc_data(&t.v, promisc_off, 3);
	answer = fake_alloc(&t.v, 4, 1);
	memset(fake_mem(&t.v, answer, 4), 0xaa, 4);
	bufs[0] = (struct fake_buf){ cmd, 1, false };
	bufs[1] = (struct fake_buf){ cmd + 1, 0, false };
	bufs[2] = (struct fake_buf){ cmd + 1, 2, false };
	bufs[3] = (struct fake_buf){ answer, 0, true };
	bufs[4] = (struct fake_buf){ answer + 1, 3, true };
	ck_assert(raw(bufs, 5));
	ck_assert(fake_ring_used(&t.v.ring[2], &head, &len));
	ck_assert_mem_eq(fake_mem(&t.v, answer, 4), "\xaa\x00\xaa\xaa", 4);
	ck_assert_uint_eq(len, 1);
	ck_assert(!t.net->filter.promisc);
}
END_TEST

START_TEST(chains_that_are_no_commands)
{
	uint64_t m;
	struct fake_buf bufs[70];

	fake_nic_start(&t, FAKE_NIC_FEATURES);
	m = fake_alloc(&t.v, 16, 16);
	/* Nothing to read, one byte: an error for an answer. */
	bufs[0] = (struct fake_buf){ m + 8, 1, true };
	*(uint8_t *)fake_mem(&t.v, m + 8, 1) = 0xaa;
	ck_assert(raw(bufs, 1));
	ck_assert_uint_eq(*(uint8_t *)fake_mem(&t.v, m + 8, 1), VNET_CTRL_ERR);
	bufs[1] = bufs[0];
	bufs[0] = (struct fake_buf){ m, 1, false };
	*(uint8_t *)fake_mem(&t.v, m + 8, 1) = 0xaa;
	ck_assert(raw(bufs, 2));
	ck_assert_uint_eq(*(uint8_t *)fake_mem(&t.v, m + 8, 1), VNET_CTRL_ERR);
	ck_assert(!needs_reset());
	/* No place for the answer. */
	bufs[0] = (struct fake_buf){ m, 3, false };
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	ck_assert(!raw(bufs, 1));
	ck_assert(needs_reset());
	/* Too many buffers. */
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	for (unsigned i = 0; i < 69; i++)
		bufs[i] = (struct fake_buf){ m, 1, false };
	bufs[69] = (struct fake_buf){ m + 8, 1, true };
	ck_assert(!raw(bufs, 70));
	ck_assert(needs_reset());
	/* A command of 16 MiB. */
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	bufs[0] = (struct fake_buf){ FAKE_HIGH, FAKE_HIGH_SIZE, false };
	bufs[1] = (struct fake_buf){ m + 8, 1, true };
	memset(fake_mem(&t.v, FAKE_HIGH, 3), 1, 3);
	ck_assert(raw(bufs, 2));
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	fake_ring_put(&t.v.ring[2], 60000);
	fake_nic_kick(&t, 2);
	ck_assert(needs_reset());
}
END_TEST

START_TEST(many_commands_leave_turns_to_others)
{
	struct fake_buf bufs[2];
	uint64_t m;

	fake_nic_start(&t, FAKE_NIC_FEATURES);
	m = fake_alloc(&t.v, 16, 16);
	bufs[0] = (struct fake_buf){ m, 3, false };
	bufs[1] = (struct fake_buf){ m + 8, 1, true };
	for (unsigned i = 0; i < 120; i++)
		fake_ring_add(&t.v.ring[2], bufs, 2);
	atomic_store(&t.v.queue_interrupts[2], 0);
	fake_nic_kick(&t, 2);
	ck_assert_uint_eq(fake_ring_used_count(&t.v.ring[2]), 64);
	fake_virtio_turn(&t.v);
	fake_virtio_turn(&t.v);
	ck_assert_uint_eq(fake_ring_used_count(&t.v.ring[2]), 120);
	ck_assert_uint_eq(atomic_load(&t.v.queue_interrupts[2]), 2);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		receive_modes, mac_table, mac_tables_that_lie, own_address, vlans, frames_that_are_only_a_header, filter_reads_across_buffers,
		guest_offloads, pairs, commands_without_their_feature, every_class_and_command, layouts, chains_that_are_no_commands,
		many_commands_leave_turns_to_others,
	};

	return suite_run("virtio_net_ctrl", tests, ARRAY_SIZE(tests), setup, teardown);
}
