/* SPDX-License-Identifier: MIT */
/*
 * Hashes of received frames, and receive-side scaling (Virtio 1.2, 5.1.6.4.3, 5.1.6.5.7): which receive queue a frame goes to is the driver's
 * choice, by a Toeplitz hash of its addresses and ports and a table.
 *
 * The hash of an input under a key: for each bit of the input that is set, from the first on, the 32 bits of the key that begin at that bit's
 * place are added modulo 2.
 *
 * Headers are the network's: each field is read only after its place is known to be in the frame, and chains of IPv6 extension headers
 * are followed for a bounded number.
 */
#include <string.h>

#include "hw/virtio_net_priv.h"
#include "vmm/iov.h"

#define ETHER_HEADER 14
#define ETHER_VLAN 0x8100
#define ETHER_QINQ 0x88a8
#define ETHER_IPV4 0x0800
#define ETHER_IPV6 0x86dd
#define PROTO_HOP_BY_HOP 0
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ROUTING 43
#define PROTO_FRAGMENT 44
#define PROTO_DESTINATION 60
#define IPV6_HEADER 40
#define IPV6_MAX_EXTENSIONS 8
#define OPTION_PAD1 0
#define OPTION_HOME_ADDRESS 201

/* Addresses and ports of a frame, as far as it has them. */
struct flow {
	unsigned version;     /* 4, 6; 0: not IP */
	unsigned addr_len;
	const uint8_t *src, *dst;
	const uint8_t *ports; /* NULL: there are none, or a fragment's */
	bool tcp;
	bool extended;        /* has IPv6 extension headers */
	/* What mobile IPv6 puts in the place of the addresses; else the same. */
	const uint8_t *home_src, *home_dst;
};

static unsigned be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void flow_ports(struct flow *f, unsigned proto, const uint8_t *p, size_t len)
{
	if ((proto != PROTO_TCP && proto != PROTO_UDP) || len < 4)
		return;
	f->ports = p;
	f->tcp = proto == PROTO_TCP;
}

static void flow_ipv4(struct flow *f, const uint8_t *p, size_t len)
{
	size_t header;

	if (len < 20 || p[0] >> 4 != 4)
		return;
	header = (p[0] & 15u) * 4;
	f->version = 4;
	f->addr_len = 4;
	f->src = f->home_src = p + 12;
	f->dst = f->home_dst = p + 16;
	if (header < 20 || header > len || (be16(p + 6) & 0x3fff)) /* more fragments, or not the first */
		return;
	flow_ports(f, p[9], p + header, len - header);
}

/* The home address option (RFC 6275, 6.3) of a destination options header. */
static void flow_home_address(struct flow *f, const uint8_t *p, size_t len)
{
	for (size_t at = 2; at + 2 <= len;) {
		if (p[at] == OPTION_PAD1) {
			at++;
			continue;
		}
		if (p[at] == OPTION_HOME_ADDRESS && p[at + 1] == 16 && at + 18 <= len)
			f->home_src = p + at + 2;
		at += 2u + p[at + 1];
	}
}

/* An extension header of `len` bytes. */
static void flow_extension(struct flow *f, unsigned proto, const uint8_t *p, size_t len)
{
	if (proto == PROTO_DESTINATION)
		flow_home_address(f, p, len);
	/* A routing header of type 2 with one address left (RFC 6275, 6.4). */
	if (proto == PROTO_ROUTING && len == 24 && p[2] == 2 && p[3] == 1)
		f->home_dst = p + 8;
}

static void flow_ipv6(struct flow *f, const uint8_t *p, size_t len)
{
	size_t at = IPV6_HEADER;
	unsigned proto;

	if (len < IPV6_HEADER || p[0] >> 4 != 6)
		return;
	f->version = 6;
	f->addr_len = 16;
	f->src = f->home_src = p + 8;
	f->dst = f->home_dst = p + 24;
	proto = p[6];
	for (unsigned i = 0; i < IPV6_MAX_EXTENSIONS; i++) {
		size_t size;

		f->extended |= proto == PROTO_FRAGMENT;
		if (proto != PROTO_HOP_BY_HOP && proto != PROTO_ROUTING && proto != PROTO_DESTINATION)
			break;
		f->extended = true;
		if (len - at < 8)
			return;
		size = (p[at + 1] + 1u) * 8;
		if (size > len - at)
			return;
		flow_extension(f, proto, p + at, size);
		proto = p[at];
		at += size;
	}
	flow_ports(f, proto, p + at, len - at);
}

static struct flow flow_of(const uint8_t *frame, size_t len)
{
	struct flow f = { .version = 0 };
	size_t at = ETHER_HEADER;
	unsigned type;

	if (len < at)
		return f;
	type = be16(frame + at - 2);
	for (unsigned tags = 0; tags < 2 && (type == ETHER_VLAN || type == ETHER_QINQ) && len >= at + 4; tags++) {
		at += 4;
		type = be16(frame + at - 2);
	}
	if (type == ETHER_IPV4)
		flow_ipv4(&f, frame + at, len - at);
	else if (type == ETHER_IPV6)
		flow_ipv6(&f, frame + at, len - at);
	return f;
}

static uint32_t toeplitz(const uint8_t *key, const uint8_t *input, size_t len)
{
	uint64_t window = (uint64_t)key[0] << 56 | (uint64_t)key[1] << 48 | (uint64_t)key[2] << 40 | (uint64_t)key[3] << 32;
	uint32_t hash = 0;

	for (size_t i = 0; i < len; i++) {
		window |= (uint64_t)key[i + 4] << 24;
		for (unsigned bit = 8; bit-- > 0; window <<= 1)
			if (input[i] & BIT(bit))
				hash ^= (uint32_t)(window >> 32);
	}
	return hash;
}

/* What to hash of the frame: the first of the kinds that is both enabled and there. Those with home addresses are for extension headers. */
struct kind {
	uint32_t type;
	enum vnet_hash_report report;
	unsigned version;
	enum { ADDRESSES, TCP, UDP } what;
	bool home;
};

static const struct kind kinds[] = {
	{ VNET_HASH_TCPV4, VNET_REPORT_TCPV4, 4, TCP, false },	   { VNET_HASH_UDPV4, VNET_REPORT_UDPV4, 4, UDP, false },
	{ VNET_HASH_IPV4, VNET_REPORT_IPV4, 4, ADDRESSES, false }, { VNET_HASH_TCP_EX, VNET_REPORT_TCPV6_EX, 6, TCP, true },
	{ VNET_HASH_UDP_EX, VNET_REPORT_UDPV6_EX, 6, UDP, true },  { VNET_HASH_IP_EX, VNET_REPORT_IPV6_EX, 6, ADDRESSES, true },
	{ VNET_HASH_TCPV6, VNET_REPORT_TCPV6, 6, TCP, false },	   { VNET_HASH_UDPV6, VNET_REPORT_UDPV6, 6, UDP, false },
	{ VNET_HASH_IPV6, VNET_REPORT_IPV6, 6, ADDRESSES, false },
};

static bool kind_applies(const struct kind *k, const struct flow *f, uint32_t types)
{
	if (!(types & k->type) || f->version != k->version || (k->home && !f->extended))
		return false;
	return k->what == ADDRESSES || (f->ports && f->tcp == (k->what == TCP));
}

struct vnet_hash vnet_rss_hash(const struct vnet_rss *rss, const uint8_t *frame, size_t len)
{
	struct flow f = flow_of(frame, len);
	uint8_t input[16 + 16 + 4];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct kind *k = &kinds[i];

		if (!kind_applies(k, &f, rss->types))
			continue;
		memcpy(input, k->home ? f.home_src : f.src, f.addr_len);
		memcpy(input + f.addr_len, k->home ? f.home_dst : f.dst, f.addr_len);
		n = 2u * f.addr_len;
		if (k->what != ADDRESSES) {
			memcpy(input + n, f.ports, 4);
			n += 4;
		}
		return (struct vnet_hash){ .value = toeplitz(rss->key, input, n), .report = k->report };
	}
	return (struct vnet_hash){ .report = VNET_REPORT_NONE };
}

unsigned vnet_rss_pair(const struct virtio_net *net, struct vnet_hash hash)
{
	const struct vnet_rss *rss = &net->rss;
	unsigned queue = hash.report == VNET_REPORT_NONE ? rss->unclassified : rss->table[hash.value & rss->mask];

	return queue < net->pairs ? queue : 0;
}

/* The commands */

static bool take(struct iov_cursor *c, void *buf, size_t len)
{
	return iov_cursor_read(c, buf, len) == len;
}

/* The key, with its length in front. What it is short of is zeroes. */
static bool take_key(struct iov_cursor *c, uint8_t key[VNET_RSS_KEY])
{
	uint8_t len;

	memset(key, 0, VNET_RSS_KEY);
	return take(c, &len, sizeof(len)) && len <= VNET_RSS_KEY && take(c, key, len);
}

uint8_t vnet_rss_config(struct virtio_net *net, struct iov_cursor *c)
{
	struct vnet_rss rss = { .steer = true, .report = net->rss.report };
	le32 types;
	le16 v;

	if (!take(c, &types, sizeof(types)) || !take(c, &v, sizeof(v)))
		return VNET_CTRL_ERR;
	rss.types = le32_get(types);
	rss.mask = le16_get(v);
	if ((rss.types & ~VNET_HASH_TYPES) || rss.mask >= VNET_RSS_TABLE || (rss.mask & (rss.mask + 1u)))
		return VNET_CTRL_ERR;
	if (!take(c, &v, sizeof(v)))
		return VNET_CTRL_ERR;
	rss.unclassified = le16_get(v);
	for (unsigned i = 0; i <= rss.mask; i++) {
		if (!take(c, &v, sizeof(v)))
			return VNET_CTRL_ERR;
		rss.table[i] = le16_get(v);
	}
	if (!take(c, &v, sizeof(v)) || !take_key(c, rss.key) || vnet_set_pairs(net, le16_get(v)) < 0)
		return VNET_CTRL_ERR;
	net->rss = rss;
	return VNET_CTRL_OK;
}

uint8_t vnet_hash_config(struct virtio_net *net, struct iov_cursor *c)
{
	struct vnet_rss rss = net->rss;
	uint8_t reserved[8];
	le32 types;

	if (!take(c, &types, sizeof(types)) || !take(c, reserved, sizeof(reserved)) || !take_key(c, rss.key))
		return VNET_CTRL_ERR;
	rss.types = le32_get(types);
	if (rss.types & ~VNET_HASH_TYPES)
		return VNET_CTRL_ERR;
	net->rss = rss;
	return VNET_CTRL_OK;
}
