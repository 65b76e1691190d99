/* SPDX-License-Identifier: MIT */
/* virtio-net: hashes, against the vectors that Microsoft publishes for receive-side scaling, and where frames go because of them. */
#include "tests/unit/fake_nic.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/suite.h"
#include "vmm/err.h"

static struct fake_nic t;
static uint8_t got[70000];

static const uint8_t key[VNET_RSS_KEY] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
	0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

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

/* Frames */

struct maker {
	uint8_t data[256];
	size_t len;
};

static void put(struct maker *m, const void *data, size_t len)
{
	memcpy(m->data + m->len, data, len);
	m->len += len;
}

static void put16(struct maker *m, unsigned v)
{
	put(m, (uint8_t[2]){ (uint8_t)(v >> 8), (uint8_t)v }, 2);
}

static void put_ether(struct maker *m, unsigned type)
{
	put(m, "\x52\x54\0\1\2\3\x52\x54\0\4\5\6", 12);
	put16(m, type);
}

static void put_ports(struct maker *m, unsigned src, unsigned dst)
{
	put16(m, src);
	put16(m, dst);
	put(m, (uint8_t[16]){ 0 }, 16);
}

static void put_ipv4(struct maker *m, unsigned options, unsigned fragment, unsigned proto, const uint8_t *src, const uint8_t *dst)
{
	static const uint8_t zero[40];

	put(m, (uint8_t[2]){ (uint8_t)(0x45 + options), 0 }, 2);
	put16(m, 0);
	put16(m, 0);
	put16(m, fragment);
	put(m, (uint8_t[2]){ 64, (uint8_t)proto }, 2);
	put16(m, 0);
	put(m, src, 4);
	put(m, dst, 4);
	put(m, zero, 4u * options);
}

static void put_ipv6(struct maker *m, unsigned next, const uint8_t *src, const uint8_t *dst)
{
	put(m, "\x60\0\0\0\0\0", 6);
	put(m, (uint8_t[2]){ (uint8_t)next, 64 }, 2);
	put(m, src, 16);
	put(m, dst, 16);
}

static struct maker ipv4(unsigned proto, const uint8_t *src, const uint8_t *dst, unsigned sport, unsigned dport)
{
	struct maker m = { .len = 0 };

	put_ether(&m, 0x0800);
	put_ipv4(&m, 0, 0x4000, proto, src, dst);
	put_ports(&m, sport, dport);
	return m;
}

static struct vnet_hash hash_of(const struct maker *m, uint32_t types)
{
	struct vnet_rss rss = { .types = types };

	memcpy(rss.key, key, sizeof(key));
	return vnet_rss_hash(&rss, m->data, m->len);
}

static void check(const struct maker *m, uint32_t types, enum vnet_hash_report report, uint32_t value)
{
	struct vnet_hash h = hash_of(m, types);

	ck_assert_int_eq((int)h.report, (int)report);
	ck_assert_uint_eq(h.value, value);
}

static const uint8_t src4[4] = { 66, 9, 149, 187 }, dst4[4] = { 161, 142, 100, 80 };
static const uint8_t src6[16] = { 0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 7 };
static const uint8_t dst6[16] = { 0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1 };
static const uint8_t home6[16] = { 0x20, 0x01, 0x0d, 0xb8, 1 };

#define ALL VNET_HASH_TYPES

START_TEST(ipv4_vectors)
{
	struct maker m = ipv4(6, src4, dst4, 2794, 1766);

	check(&m, ALL, VNET_REPORT_TCPV4, 0x51ccc178);
	check(&m, VNET_HASH_IPV4, VNET_REPORT_IPV4, 0x323e8fc2);
	check(&m, VNET_HASH_UDPV4 | VNET_HASH_TCPV6, VNET_REPORT_NONE, 0);
	m = ipv4(17, src4, dst4, 2794, 1766);
	check(&m, ALL, VNET_REPORT_UDPV4, 0x51ccc178);
	m = ipv4(1, src4, dst4, 2794, 1766);
	check(&m, ALL, VNET_REPORT_IPV4, 0x323e8fc2);
	m = ipv4(6, (uint8_t[4]){ 199, 92, 111, 2 }, (uint8_t[4]){ 65, 69, 140, 83 }, 14230, 4739);
	check(&m, ALL, VNET_REPORT_TCPV4, 0xc626b0ea);
	check(&m, VNET_HASH_IPV4, VNET_REPORT_IPV4, 0xd718262a);
}
END_TEST

START_TEST(ipv4_with_options_fragments_and_tags)
{
	struct maker m = { .len = 0 };

	put_ether(&m, 0x8100);
	put16(&m, 5);
	put16(&m, 0x0800);
	put_ipv4(&m, 10, 0, 6, src4, dst4);
	put_ports(&m, 2794, 1766);
	check(&m, ALL, VNET_REPORT_TCPV4, 0x51ccc178);
	/* Ports of a fragment are none. */
	for (unsigned fragment = 1; fragment <= 0x2000; fragment += 0x1fff) {
		m.len = 0;
		put_ether(&m, 0x0800);
		put_ipv4(&m, 0, fragment, 6, src4, dst4);
		put_ports(&m, 2794, 1766);
		check(&m, ALL, VNET_REPORT_IPV4, 0x323e8fc2);
	}
}
END_TEST

START_TEST(ipv6_vectors)
{
	struct maker m = { .len = 0 };

	put_ether(&m, 0x86dd);
	put_ipv6(&m, 6, src6, dst6);
	put_ports(&m, 2794, 1766);
	check(&m, ALL, VNET_REPORT_TCPV6, 0x40207d3d);
	check(&m, VNET_HASH_IPV6, VNET_REPORT_IPV6, 0x2cc18cd5);
	check(&m, VNET_HASH_TCP_EX | VNET_HASH_IP_EX, VNET_REPORT_NONE, 0); /* those are for extension headers */
	m.data[14 + 6] = 17;
	check(&m, ALL, VNET_REPORT_UDPV6, 0x40207d3d);
}
END_TEST

START_TEST(ipv6_extension_headers)
{
	struct maker m = { .len = 0 }, plain = { .len = 0 };
	struct vnet_hash h;

	put_ether(&m, 0x86dd);
	put_ipv6(&m, 0, src6, dst6);
	put(&m, "\x3c\0\0\0\0\0\0\0", 8);               /* hop by hop, then destination options: */
	put(&m, "\x2b\2\0\0\xc9\x10", 6);               /* padding, a home address, */
	put(&m, home6, 16);
	put(&m, "\0\0", 2);
	put(&m, "\6\2\2\1\0\0\0\0", 8);                 /* and a routing header of type 2 */
	put(&m, src6, 16);
	put_ports(&m, 2794, 1766);
	put_ether(&plain, 0x86dd);
	put_ipv6(&plain, 6, home6, src6);
	put_ports(&plain, 2794, 1766);
	h = hash_of(&plain, VNET_HASH_TCPV6);
	check(&m, ALL, VNET_REPORT_TCPV6_EX, h.value);
	h = hash_of(&plain, VNET_HASH_IPV6);
	check(&m, VNET_HASH_IP_EX | VNET_HASH_TCPV6, VNET_REPORT_IPV6_EX, h.value);
	/* Without the kinds for them the headers are passed over. */
	check(&m, VNET_HASH_TCPV6, VNET_REPORT_TCPV6, 0x40207d3d);
	check(&m, VNET_HASH_IPV6, VNET_REPORT_IPV6, 0x2cc18cd5);
}
END_TEST

/* Every frame cut off anywhere, and with lengths that lead anywhere, is hashed in some way from bytes that are there (ASan looks). */
START_TEST(frames_that_lie)
{
	struct maker m = { .len = 0 };
	uint32_t seed = 1;

	put_ether(&m, 0x86dd);
	put_ipv6(&m, 60, src6, dst6);
	for (unsigned i = 0; i < 12; i++)
		put(&m, "\x3c\0\xc9\x10\xc9\xff\0\0", 8);
	put_ports(&m, 1, 2);
	for (size_t len = 0; len <= m.len; len++) {
		uint8_t *exact = malloc(len ? len : 1);
		struct vnet_rss rss = { .types = ALL };

		memcpy(exact, m.data, len);
		vnet_rss_hash(&rss, exact, len);
		for (unsigned round = 0; round < 300; round++) {
			seed = seed * 1103515245 + 12345;
			if (len > 14)
				exact[14 + (seed >> 8) % (len - 14)] = (uint8_t)(seed >> 24);
			vnet_rss_hash(&rss, exact, len);
		}
		free(exact);
	}
	m.data[14] = 0x40;
	check(&m, ALL, VNET_REPORT_NONE, 0);
}
END_TEST

/* The commands */

static size_t rss_args(uint8_t *buf, uint32_t types, unsigned entries, unsigned unclassified, unsigned pairs)
{
	uint8_t *p = buf;

	store_le32(p, types);
	store_le16(p + 4, (uint16_t)(entries - 1));
	store_le16(p + 6, (uint16_t)unclassified);
	p += 8;
	for (unsigned i = 0; i < entries; i++, p += 2)
		store_le16(p, (uint16_t)(i % 4));
	store_le16(p, (uint16_t)pairs);
	p[2] = VNET_RSS_KEY;
	memcpy(p + 3, key, sizeof(key));
	return (size_t)(p + 3 + sizeof(key) - buf);
}

#define FEATURES (FAKE_NIC_FEATURES | VNET_F_MQ | VNET_F_RSS | VNET_F_HASH_REPORT)

static uint8_t rss_config(const uint8_t *buf, size_t len)
{
	return fake_nic_ctrl(&t, VNET_CTRL_MQ, VNET_CTRL_MQ_RSS_CONFIG, buf, len);
}

START_TEST(steers_by_hash)
{
	uint8_t buf[512];
	struct maker m = ipv4(6, src4, dst4, 2794, 1766); /* ...8: entry 0 of 4, 8 of 128 */

	fake_nic_start(&t, FEATURES);
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned n = 0; n < 20; n++)
			fake_nic_rx_add(&t, i, 1536);
		fake_nic_kick(&t, vnet_rx_index(i));
	}
	/* Before it is set up frames stay where they come, unhashed. */
	ck_assert(fake_nic_deliver(&t, 0, m.data, m.len));
	ck_assert_uint_eq(fake_nic_receive(&t, 0, got, sizeof(got)), m.len + 20);
	ck_assert_uint_eq(load_le16(got + 16), VNET_REPORT_NONE);
	ck_assert_uint_eq(rss_config(buf, rss_args(buf, VNET_HASH_TCPV4, 128, 3, 4)), VNET_CTRL_OK);
	for (unsigned port = 1; port < 40; port++) {
		struct vnet_hash h;
		unsigned to;

		m = ipv4(6, src4, dst4, 2794, port);
		h = hash_of(&m, ALL);
		to = h.value % 4;
		ck_assert(fake_nic_deliver(&t, port % 3, m.data, m.len));
		ck_assert_uint_eq(fake_nic_receive(&t, to, got, sizeof(got)), m.len + 20);
		ck_assert_mem_eq(got + 20, m.data, m.len);
		ck_assert_uint_eq(load_le32(got + 12), h.value);
		ck_assert_uint_eq(load_le16(got + 16), VNET_REPORT_TCPV4);
		ck_assert_uint_ge(atomic_load(&t.v.queue_interrupts[vnet_rx_index(to)]), 1);
		fake_nic_rx_add(&t, to, 1536);
		fake_nic_kick(&t, vnet_rx_index(to));
	}
	/* What has no hash goes to its own queue. */
	m = ipv4(17, src4, dst4, 1, 2);
	ck_assert(fake_nic_deliver(&t, 0, m.data, m.len));
	ck_assert_uint_eq(fake_nic_receive(&t, 3, got, sizeof(got)), m.len + 20);
	ck_assert_uint_eq(load_le16(got + 16), VNET_REPORT_NONE);
}
END_TEST

START_TEST(steered_frames_wait_for_their_queue)
{
	uint8_t buf[512];
	struct maker m = ipv4(17, src4, dst4, 1, 2);

	fake_nic_start(&t, FEATURES);
	ck_assert_uint_eq(rss_config(buf, rss_args(buf, VNET_HASH_TCPV4, 128, 3, 4)), VNET_CTRL_OK);
	ck_assert(fake_nic_deliver(&t, 0, m.data, m.len));
	ck_assert(!fake_nic_deliver(&t, 0, m.data, m.len)); /* one waits */
	ck_assert(fake_nic_deliver(&t, 1, m.data, m.len));
	t.more[0] = t.more[1] = 0;
	fake_nic_rx_add(&t, 3, 1536);
	fake_nic_kick(&t, vnet_rx_index(3));
	ck_assert_uint_eq(fake_nic_receive(&t, 3, got, sizeof(got)), m.len + 20);
	ck_assert_mem_eq(got + 20, m.data, m.len);
	ck_assert_uint_ge(t.more[0], 1);
	fake_nic_rx_add(&t, 3, 1536);
	fake_nic_kick(&t, vnet_rx_index(3));
	ck_assert_uint_eq(fake_nic_receive(&t, 3, got, sizeof(got)), m.len + 20);
	ck_assert_uint_ge(t.more[1], 1);
	ck_assert_uint_eq(t.nd.stats.rx_dropped, 0);
}
END_TEST

START_TEST(reports_without_steering)
{
	uint8_t buf[64] = { 0 };
	struct maker m = ipv4(6, src4, dst4, 2794, 1766);

	fake_nic_start(&t, FAKE_NIC_FEATURES | VNET_F_HASH_REPORT);
	store_le32(buf, VNET_HASH_TCPV4);
	buf[12] = VNET_RSS_KEY;
	memcpy(buf + 13, key, sizeof(key));
	for (size_t len = 0; len < 13 + sizeof(key); len++)
		ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MQ, VNET_CTRL_MQ_HASH_CONFIG, buf, len), VNET_CTRL_ERR);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MQ, VNET_CTRL_MQ_HASH_CONFIG, buf, 13 + sizeof(key)), VNET_CTRL_OK);
	fake_nic_rx_add(&t, 0, 1536);
	fake_nic_kick(&t, 0);
	ck_assert(fake_nic_deliver(&t, 0, m.data, m.len));
	ck_assert_uint_eq(fake_nic_receive(&t, 0, got, sizeof(got)), m.len + 20);
	ck_assert_uint_eq(load_le32(got + 12), 0x51ccc178);
	ck_assert_uint_eq(load_le16(got + 16), VNET_REPORT_TCPV4);
	store_le32(buf, 0x200);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MQ, VNET_CTRL_MQ_HASH_CONFIG, buf, 13 + sizeof(key)), VNET_CTRL_ERR);
	buf[12] = VNET_RSS_KEY + 1;
	store_le32(buf, VNET_HASH_TCPV4);
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MQ, VNET_CTRL_MQ_HASH_CONFIG, buf, sizeof(buf)), VNET_CTRL_ERR);
}
END_TEST

START_TEST(configurations_that_are_refused)
{
	uint8_t buf[1024] = { 0 };
	size_t len;

	fake_nic_start(&t, FEATURES);
	len = rss_args(buf, ALL, 128, 0, 4);
	for (size_t n = 0; n < len; n++)
		ck_assert_uint_eq(rss_config(buf, n), VNET_CTRL_ERR);
	ck_assert_uint_eq(t.queues, 1);
	ck_assert(!t.net->rss.steer);
	rss_args(buf, 0x200, 128, 0, 4);
	ck_assert_uint_eq(rss_config(buf, len), VNET_CTRL_ERR);
	rss_args(buf, ALL, 256, 0, 4);
	ck_assert_uint_eq(rss_config(buf, sizeof(buf)), VNET_CTRL_ERR);
	rss_args(buf, ALL, 3, 0, 4);
	ck_assert_uint_eq(rss_config(buf, sizeof(buf)), VNET_CTRL_ERR);
	store_le16(buf + 4, 0xffff);
	ck_assert_uint_eq(rss_config(buf, sizeof(buf)), VNET_CTRL_ERR);
	rss_args(buf, ALL, 128, 0, 5);
	ck_assert_uint_eq(rss_config(buf, sizeof(buf)), VNET_CTRL_ERR);
	/* Queues that are not there: the first. */
	rss_args(buf, ALL, 128, 0xffff, 2);
	ck_assert_uint_eq(rss_config(buf, sizeof(buf)), VNET_CTRL_OK);
	ck_assert_uint_eq(vnet_rss_pair(t.net, (struct vnet_hash){ .report = VNET_REPORT_NONE }), 0);
	ck_assert_uint_eq(vnet_rss_pair(t.net, (struct vnet_hash){ .value = 3, .report = VNET_REPORT_IPV4 }), 0);
	ck_assert_uint_eq(vnet_rss_pair(t.net, (struct vnet_hash){ .value = 129, .report = VNET_REPORT_IPV4 }), 1);
	/* A number of queues switches it off again. */
	ck_assert_uint_eq(fake_nic_ctrl(&t, VNET_CTRL_MQ, VNET_CTRL_MQ_PAIRS_SET, (uint8_t[2]){ 2, 0 }, 2), VNET_CTRL_OK);
	ck_assert(!t.net->rss.steer);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		ipv4_vectors, ipv4_with_options_fragments_and_tags, ipv6_vectors, ipv6_extension_headers, frames_that_lie, steers_by_hash,
		steered_frames_wait_for_their_queue, reports_without_steering, configurations_that_are_refused,
	};

	return suite_run("virtio_net_rss", tests, ARRAY_SIZE(tests), setup, teardown);
}
