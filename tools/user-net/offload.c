/* SPDX-License-Identifier: MIT */
/*
 * Fields are read and written in network order with get16 and put16. `parse` checks every length against the frame's end before anything
 * behind a header is looked at; what it does not know (fragments, IPv6 extension headers, other protocols) goes through untouched.
 */
#include "tools/user-net/offload.h"

#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <string.h>

#include "net/netdev.h"
#include "vmm/endian.h"
#include "vmm/util.h"

#define ETH_HDR 14
#define ETH_IPV4 0x0800
#define ETH_IPV6 0x86dd
#define IP4_HDR 20
#define IP6_HDR 40
#define IP6_FRAGMENT_HDR 8
#define TCP_HDR 20
#define TCP_CSUM 16 /* offset of the checksum */
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_PSH 0x08
#define TCP_CWR 0x80
#define OPT_END 0
#define OPT_NOP 1
#define OPT_MSS 2

#define MSS_RAISED 32768 /* libslirp makes none larger */
#define MSS_LEAST 64
/* For flows that were forgotten. */
#define MSS_DEFAULT4 (OFFLOAD_MTU - IP4_HDR - TCP_HDR)
#define MSS_DEFAULT6 (OFFLOAD_MTU - IP6_HDR - TCP_HDR)
/* Nobody's segments are smaller than that for want of room, so such a frame needs no look (RFC 1122, 3.3.3: 576 bytes). */
#define SMALL_FRAME (ETH_HDR + 576)

struct packet {
	bool v6;
	uint8_t proto;
	uint8_t *ip, *l4; /* l4 NULL: a fragment or something unknown */
	size_t ip_hdr, l4_len; /* l4_len: its header and data */
	size_t l4_hdr; /* TCP only, else 0 */
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}

/* Checksums */

/*
 * In 32-bit words of the processor's order, as the sum does not mind: a sum of swapped words is the swapped sum. 2^32 words fit before a carry
 * is lost. Swapped back by offload_fold.
 */
uint64_t offload_sum(const uint8_t *p, size_t len, uint64_t sum)
{
	uint64_t a = 0, b = 0;
	uint32_t w[4];

	for (; len >= 16; p += 16, len -= 16) {
		memcpy(w, p, 16);
		sum += w[0];
		a += w[1];
		b += w[2];
		a += w[3];
	}
	sum += a + b;
	for (; len >= 2; p += 2, len -= 2) {
		uint16_t v;

		memcpy(&v, p, 2);
		sum += v;
	}
	if (len) {
		const uint8_t last[2] = { *p, 0 };
		uint16_t v;

		memcpy(&v, last, 2);
		sum += v;
	}
	return sum;
}

uint16_t offload_fold(uint64_t sum)
{
	sum = (sum >> 32) + (sum & UINT32_MAX);
	sum = (sum >> 32) + (sum & UINT32_MAX);
	sum = (sum >> 16) + (sum & UINT16_MAX);
	sum = (sum >> 16) + (sum & UINT16_MAX);
	return be16toh((uint16_t)sum);
}

void offload_adjust(uint8_t *csum, uint16_t was, uint16_t is)
{
	uint32_t sum = (uint16_t)~get16(csum);

	sum += (uint16_t)~was;
	sum += is;
	sum = (sum >> 16) + (sum & UINT16_MAX);
	sum = (sum >> 16) + (sum & UINT16_MAX);
	put16(csum, (uint16_t)~sum);
}

/* The pseudo header's part of TCP's checksum: what is in the field while the rest is left out (Virtio 1.2, 5.1.6.2). */
static uint64_t pseudo_sum(const struct packet *pkt, size_t l4_len)
{
	const uint8_t tail[4] = { 0, pkt->proto, (uint8_t)(l4_len >> 8), (uint8_t)l4_len };
	uint64_t sum = offload_sum(pkt->ip + (pkt->v6 ? 8 : 12), pkt->v6 ? 32 : 8, 0);

	return offload_sum(tail, sizeof(tail), sum);
}

/* Headers */

static bool parse4(struct packet *pkt, uint8_t *ip, size_t len)
{
	size_t total;

	if (len < IP4_HDR || ip[0] >> 4 != 4)
		return false;
	pkt->ip_hdr = (size_t)(ip[0] & 15) * 4;
	total = get16(ip + 2);
	if (pkt->ip_hdr < IP4_HDR || total < pkt->ip_hdr || total > len)
		return false;
	pkt->proto = ip[9];
	pkt->l4_len = total - pkt->ip_hdr;
	pkt->l4 = get16(ip + 6) & 0x3fff ? NULL : ip + pkt->ip_hdr;
	return true;
}

static bool parse6(struct packet *pkt, uint8_t *ip, size_t len)
{
	if (len < IP6_HDR || ip[0] >> 4 != 6 || get16(ip + 4) > len - IP6_HDR)
		return false;
	pkt->v6 = true;
	pkt->ip_hdr = IP6_HDR;
	pkt->proto = ip[6];
	pkt->l4_len = get16(ip + 4);
	pkt->l4 = ip + IP6_HDR;
	return true;
}

/* False: not IP, or not whole. */
static bool parse(struct packet *pkt, uint8_t *frame, size_t len)
{
	*pkt = (struct packet){ 0 };
	if (len < ETH_HDR)
		return false;
	pkt->ip = frame + ETH_HDR;
	if (!(get16(frame + 12) == ETH_IPV4 ? parse4(pkt, pkt->ip, len - ETH_HDR) :
	      get16(frame + 12) == ETH_IPV6 ? parse6(pkt, pkt->ip, len - ETH_HDR) : false))
		return false;
	if (pkt->proto == IPPROTO_TCP && pkt->l4) {
		if (pkt->l4_len < TCP_HDR)
			return false;
		pkt->l4_hdr = (size_t)(pkt->l4[12] >> 4) * 4;
		if (pkt->l4_hdr < TCP_HDR || pkt->l4_hdr > pkt->l4_len)
			return false;
	}
	return true;
}

/* Flows */

/* The same for both directions of a connection. FNV-1a; who makes two flows collide gets a wrong segment size in his own guest. */
static uint32_t flow_key(const struct packet *pkt, bool from_guest)
{
	size_t addr = pkt->v6 ? 16 : 4;
	const uint8_t *src = pkt->ip + (pkt->v6 ? 8 : 12), *dst = src + addr;
	const uint8_t *part[4] = { from_guest ? src : dst, from_guest ? dst : src, pkt->l4 + (from_guest ? 0 : 2), pkt->l4 + (from_guest ? 2 : 0) };
	const size_t size[4] = { addr, addr, 2, 2 };
	uint32_t hash = 2166136261u;

	for (unsigned i = 0; i < 4; i++)
		for (size_t k = 0; k < size[i]; k++)
			hash = (hash ^ part[i][k]) * 16777619u;
	return hash ? hash : 1;
}

static struct offload_flow *flow_at(struct offload *off, uint32_t key)
{
	return &off->flows[(key ^ key >> 16) % OFFLOAD_FLOWS];
}

static size_t flow_mss(struct offload *off, const struct packet *pkt)
{
	uint32_t key = flow_key(pkt, false);
	const struct offload_flow *flow = flow_at(off, key);

	return flow->key == key ? flow->mss : pkt->v6 ? MSS_DEFAULT6 : MSS_DEFAULT4;
}

static bool takes_large(const struct offload *off, bool v6)
{
	return off->guest & NETDEV_CSUM && off->guest & (v6 ? NETDEV_TSO6 : NETDEV_TSO4);
}

/* The MSS option's value, or NULL. */
static uint8_t *find_mss(const struct packet *pkt)
{
	uint8_t *p = pkt->l4 + TCP_HDR, *end = pkt->l4 + pkt->l4_hdr;

	while (p < end && *p != OPT_END) {
		size_t len = *p == OPT_NOP ? 1 : end - p < 2 ? 0 : p[1];

		if (len == 0 || len > (size_t)(end - p) || (*p != OPT_NOP && len < 2))
			return NULL;
		if (*p == OPT_MSS)
			return len == 4 ? p + 2 : NULL;
		p += len;
	}
	return NULL;
}

/* Changes 16 bits of what TCP's checksum covers, at any place. */
static void put16_in_tcp(const struct packet *pkt, uint8_t *p, uint16_t v)
{
	uint16_t was = get16(p);
	bool odd = (p - pkt->l4) & 1;

	/* At an odd place the bytes are halves of two words, and the sum's bytes are swapped. */
	offload_adjust(pkt->l4 + TCP_CSUM, odd ? (uint16_t)(was << 8 | was >> 8) : was, odd ? (uint16_t)(v << 8 | v >> 8) : v);
	put16(p, v);
}

/* Keeps a flow's MSS, and raises it. `partial`: the checksum field holds the pseudo header's sum, without the options. */
static void see_mss(struct offload *off, const struct packet *pkt, bool partial)
{
	uint8_t *mss = find_mss(pkt);
	uint32_t key = flow_key(pkt, true);
	struct offload_flow *flow = flow_at(off, key);

	if (!mss || get16(mss) < MSS_LEAST)
		return;
	*flow = (struct offload_flow){ .key = key, .mss = get16(mss) };
	if (get16(mss) >= MSS_RAISED || !takes_large(off, pkt->v6))
		return;
	if (partial)
		put16(mss, MSS_RAISED);
	else
		put16_in_tcp(pkt, mss, MSS_RAISED);
}

static bool make_checksum(uint8_t *frame, size_t len, size_t start, size_t offset)
{
	uint16_t csum;

	if (start > len || offset > len - start || len - start - offset < 2)
		return false;
	csum = (uint16_t)~offload_fold(offload_sum(frame + start, len - start, 0));
	put16(frame + start + offset, csum ? csum : UINT16_MAX); /* zero is "none" to UDP, and the same as ones */
	return true;
}

bool offload_from_guest(struct offload *off, const uint8_t *hdr, uint8_t *frame, size_t len)
{
	bool partial = hdr[0] & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	unsigned gso = hdr[1] & ~(unsigned)VIRTIO_NET_HDR_GSO_ECN;
	struct packet pkt;

	if (gso != VIRTIO_NET_HDR_GSO_NONE && gso != VIRTIO_NET_HDR_GSO_TCPV4 && gso != VIRTIO_NET_HDR_GSO_TCPV6)
		return false;
	if (parse(&pkt, frame, len)) {
		/* A frame may be padded, and the padding is no part of the sum. */
		len = (size_t)(pkt.ip - frame) + pkt.ip_hdr + pkt.l4_len;
		if (pkt.l4_hdr && pkt.l4[13] & TCP_SYN)
			see_mss(off, &pkt, partial);
	}
	return !partial || make_checksum(frame, len, load_le16(hdr + 6), load_le16(hdr + 8));
}

/* To the guest */

static void emit_large(struct packet *pkt, const uint8_t *frame, size_t len, size_t mss, offload_emit *emit, void *opaque)
{
	size_t start = (size_t)(pkt->l4 - frame), headers = start + pkt->l4_hdr;
	struct virtio_net_hdr hdr = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = pkt->v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = htole16((uint16_t)headers),
		.gso_size = htole16((uint16_t)mss),
		.csum_start = htole16((uint16_t)start),
		.csum_offset = htole16(TCP_CSUM),
	};
	uint8_t wire[OFFLOAD_HDR] = { 0 };

	put16(pkt->l4 + TCP_CSUM, offload_fold(pseudo_sum(pkt, pkt->l4_len)));
	memcpy(wire, &hdr, sizeof(hdr));
	emit(opaque, wire, frame, len);
}

static void set_ip_len(const struct packet *pkt, uint8_t *ip, size_t l4_len)
{
	if (pkt->v6) {
		put16(ip + 4, (uint16_t)l4_len);
		return;
	}
	put16(ip + 2, (uint16_t)(pkt->ip_hdr + l4_len));
	put16(ip + 10, 0);
	put16(ip + 10, (uint16_t)~offload_fold(offload_sum(ip, pkt->ip_hdr, 0)));
}

/* Cuts a TCP segment. */
static void emit_segments(const struct packet *pkt, const uint8_t *frame, size_t mss, offload_emit *emit, void *opaque)
{
	size_t start = (size_t)(pkt->l4 - frame), headers = start + pkt->l4_hdr, left = pkt->l4_len - pkt->l4_hdr, off = 0;
	static const uint8_t none[OFFLOAD_HDR];
	uint8_t piece[ETH_HDR + 60 + 60 + UINT16_MAX];
	uint32_t seq = get32(pkt->l4 + 4);
	uint8_t flags = pkt->l4[13];

	while (left) {
		size_t data = min_u64(left, mss), l4_len = pkt->l4_hdr + data;
		uint8_t *tcp = piece + start;

		memcpy(piece, frame, headers);
		memcpy(piece + headers, frame + headers + off, data);
		left -= data;
		set_ip_len(pkt, piece + ETH_HDR, l4_len);
		put32(tcp + 4, seq + (uint32_t)off);
		tcp[13] = (uint8_t)(flags & ~((left ? TCP_FIN | TCP_PSH : 0) | (off ? TCP_CWR : 0)));
		put16(tcp + TCP_CSUM, 0);
		put16(tcp + TCP_CSUM, (uint16_t)~offload_fold(offload_sum(tcp, l4_len, pseudo_sum(pkt, l4_len))));
		emit(opaque, none, piece, headers + data);
		off += data;
	}
}

/* RFC 791, 3.2; RFC 8200, 4.5. */
static void emit_fragments(const struct packet *pkt, const uint8_t *frame, offload_emit *emit, void *opaque)
{
	size_t extra = pkt->v6 ? IP6_FRAGMENT_HDR : 0, headers = ETH_HDR + pkt->ip_hdr + extra, off = 0;
	size_t room = (OFFLOAD_MTU - pkt->ip_hdr - extra) & ~(size_t)7;
	const uint8_t *data = pkt->ip + pkt->ip_hdr;
	static const uint8_t none[OFFLOAD_HDR];
	uint8_t piece[ETH_HDR + OFFLOAD_MTU];
	/* libslirp gives no identification to IPv6; the checksum of UDP tells two datagrams apart well enough. */
	uint32_t id = pkt->l4_len >= 8 ? get32(data + 4) : 0;

	memcpy(piece, frame, ETH_HDR + pkt->ip_hdr);
	while (off < pkt->l4_len) {
		size_t len = min_u64(pkt->l4_len - off, room);
		bool more = off + len < pkt->l4_len;
		uint8_t *fragment = piece + ETH_HDR + IP6_HDR;

		if (pkt->v6) {
			piece[ETH_HDR + 6] = IPPROTO_FRAGMENT;
			fragment[0] = pkt->proto;
			fragment[1] = 0;
			put16(fragment + 2, (uint16_t)(off | more));
			put32(fragment + 4, id);
		} else {
			put16(piece + ETH_HDR + 6, (uint16_t)(off / 8 | (more ? 0x2000 : 0)));
		}
		set_ip_len(pkt, piece + ETH_HDR, extra + len);
		memcpy(piece + headers, data + off, len);
		emit(opaque, none, piece, headers + len);
		off += len;
	}
}

void offload_to_guest(struct offload *off, uint8_t *frame, size_t len, offload_emit *emit, void *opaque)
{
	/* libslirp's checksums are right, and nothing between it and the guest changes a byte. */
	const uint8_t finished[OFFLOAD_HDR] = { off->guest & NETDEV_CSUM ? VIRTIO_NET_HDR_F_DATA_VALID : 0 };
	struct packet pkt;

	if (len <= SMALL_FRAME || !parse(&pkt, frame, len)) {
		emit(opaque, finished, frame, len);
		return;
	}
	if (pkt.l4_hdr) {
		size_t mss = flow_mss(off, &pkt);

		if (pkt.l4_len - pkt.l4_hdr <= mss)
			emit(opaque, finished, frame, len);
		else if (takes_large(off, pkt.v6))
			emit_large(&pkt, frame, len, mss, emit, opaque);
		else
			emit_segments(&pkt, frame, mss, emit, opaque);
	} else if (len > ETH_HDR + OFFLOAD_MTU && pkt.l4) {
		emit_fragments(&pkt, frame, emit, opaque);
	} else {
		emit(opaque, finished, frame, len);
	}
}
