/* SPDX-License-Identifier: MIT */
#include "tools/user-net/offload.h"

#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>

#include "net/netdev.h"
#include "tests/unit/suite.h"
#include "tools/user-net/nat.h"
#include "vmm/endian.h"
#include "vmm/util.h"

#define ALL (NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6)
#define FRAME_ROOM 70000
#define SYN 0x02
#define FIN_PSH_ACK 0x19

static struct offload *off;
static uint8_t frame[FRAME_ROOM];

/* What was emitted. */
static struct {
	uint8_t hdr[OFFLOAD_HDR];
	uint8_t frame[FRAME_ROOM];
	size_t len;
} out[200];
static unsigned n_out;

static void setup(void)
{
	off = calloc(1, sizeof(*off));
	off->guest = ALL;
	n_out = 0;
}

static void teardown(void)
{
	free(off);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static unsigned get16(const uint8_t *p)
{
	return (unsigned)(p[0] << 8 | p[1]);
}

/* RFC 1071 as it is written. */
static unsigned sum(const uint8_t *p, size_t len, unsigned long s)
{
	for (size_t i = 0; i < len; i++)
		s += i % 2 ? p[i] : (unsigned)p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (unsigned)s;
}

static unsigned pseudo(const uint8_t *f, bool v6, size_t l4_len)
{
	const uint8_t *ip = f + 14;

	return v6 ? sum(ip + 8, 32, l4_len + ip[6]) : sum(ip + 12, 8, l4_len + ip[9]);
}

static bool l4_good(const uint8_t *f, bool v6)
{
	size_t hdr = v6 ? 40 : 20, len = v6 ? get16(f + 14 + 4) : get16(f + 14 + 2) - 20;

	return sum(f + 14 + hdr, len, pseudo(f, v6, len)) == 0xffff && (v6 || sum(f + 14, 20, 0) == 0xffff);
}

/* A frame with headers and a pattern; TCP with `opts` bytes of options, all NOP. Its length. */
static size_t make(bool v6, uint8_t proto, unsigned flags, size_t opts, size_t data)
{
	size_t ip = v6 ? 40 : 20, l4 = proto == 6 ? 20 + opts : 8, total = ip + l4 + data;
	uint8_t *p = frame + 14, *t = p + ip;

	memset(frame, 0, sizeof(frame));
	put16(frame + 12, v6 ? 0x86dd : 0x0800);
	if (v6) {
		p[0] = 0x60;
		put16(p + 4, (unsigned)(l4 + data));
		p[6] = proto;
		p[7] = 64;
		for (unsigned i = 8; i < 40; i++)
			p[i] = (uint8_t)i;
	} else {
		p[0] = 0x45;
		put16(p + 2, (unsigned)total);
		p[8] = 64;
		p[9] = proto;
		memcpy(p + 12, (const uint8_t[]){ 10, 0, 2, 15, 10, 0, 2, 2 }, 8);
		put16(p + 10, ~sum(p, 20, 0) & 0xffff);
	}
	put16(t, 1000);
	put16(t + 2, 2000);
	if (proto == 6) {
		put16(t + 4, 0xffff); /* a sequence number that wraps */
		put16(t + 6, 0xf000);
		t[12] = (uint8_t)((l4 / 4) << 4);
		t[13] = (uint8_t)flags;
		memset(t + 20, 1, opts);
	} else {
		put16(t + 4, (unsigned)(l4 + data));
	}
	for (size_t i = 0; i < data; i++)
		t[l4 + i] = (uint8_t)(i * 7 + (i >> 8));
	put16(t + (proto == 6 ? 16 : 6), ~sum(t, l4 + data, pseudo(frame, v6, l4 + data)) & 0xffff);
	return 14 + total;
}

static void emit(void *opaque, const uint8_t *hdr, const uint8_t *f, size_t len)
{
	(void)opaque;
	ck_assert_uint_lt(n_out, ARRAY_SIZE(out));
	memcpy(out[n_out].hdr, hdr, OFFLOAD_HDR);
	memcpy(out[n_out].frame, f, len);
	out[n_out++].len = len;
}

static const uint8_t plain[OFFLOAD_HDR];

START_TEST(sums)
{
	srandom(1);
	for (unsigned i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)random();
	memset(frame, 0xff, 300);
	for (size_t len = 0; len < 300; len++)
		for (unsigned at = 0; at < 4; at++)
			ck_assert_uint_eq(offload_fold(offload_sum(frame + at, len, 0)), sum(frame + at, len, 0));
	ck_assert_uint_eq(offload_fold(offload_sum(frame, sizeof(frame), 0)), sum(frame, sizeof(frame), 0));
}
END_TEST

/* Leaves the checksum to be made, as a guest does. Returns the header for it. */
static const uint8_t *undo_checksum(size_t start, size_t offset, bool v6, size_t len)
{
	static uint8_t wire[OFFLOAD_HDR];
	struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = (uint16_t)start, .csum_offset = (uint16_t)offset };

	put16(frame + start + offset, pseudo(frame, v6, len - start));
	memcpy(wire, &hdr, sizeof(hdr));
	return wire;
}

START_TEST(checksums_are_made)
{
	for (int v6 = 0; v6 < 2; v6++) {
		size_t start = v6 ? 54 : 34, len = make(v6, 6, 0x10, 12, 50001);

		ck_assert(offload_from_guest(off, undo_checksum(start, 16, v6, len), frame, len));
		ck_assert(l4_good(frame, v6));
		len = make(v6, 17, 0, 0, 33);
		ck_assert(offload_from_guest(off, undo_checksum(start, 6, v6, len), frame, len + 5)); /* padded */
		ck_assert(l4_good(frame, v6));
	}
}
END_TEST

START_TEST(headers_that_point_outside)
{
	size_t len = make(false, 6, 0x10, 0, 100);
	uint8_t hdr[OFFLOAD_HDR] = { VIRTIO_NET_HDR_F_NEEDS_CSUM };

	for (unsigned start = 0; start < 65536; start += 13) {
		hdr[6] = (uint8_t)start;
		hdr[7] = (uint8_t)(start >> 8);
		for (unsigned offset = 0; offset < 65536; offset += 1009) {
			hdr[8] = (uint8_t)offset;
			hdr[9] = (uint8_t)(offset >> 8);
			ck_assert_int_eq(offload_from_guest(off, hdr, frame, len), start + offset + 2 <= len);
			len = make(false, 6, 0x10, 0, 100);
		}
	}
	hdr[0] = 0;
	hdr[1] = VIRTIO_NET_HDR_GSO_UDP;
	ck_assert(!offload_from_guest(off, hdr, frame, len));
	hdr[1] = 5;
	ck_assert(!offload_from_guest(off, hdr, frame, len));
	hdr[1] = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN;
	ck_assert(offload_from_guest(off, hdr, frame, len));
}
END_TEST

/* A SYN with the MSS option at `at` of its options. */
static size_t make_syn(bool v6, size_t at, unsigned mss)
{
	size_t len = make(v6, 6, SYN, 12, 0), tcp = v6 ? 54 : 34;
	uint8_t *opt = frame + tcp + 20 + at;

	opt[0] = 2;
	opt[1] = 4;
	put16(opt + 2, mss);
	put16(frame + tcp + 16, 0);
	put16(frame + tcp + 16, ~sum(frame + tcp, 32, pseudo(frame, v6, 32)) & 0xffff);
	return len;
}

START_TEST(mss_is_raised)
{
	for (int v6 = 0; v6 < 2; v6++) {
		for (size_t at = 0; at <= 8; at++) {
			size_t len = make_syn(v6, at, 1460), tcp = v6 ? 54 : 34;

			ck_assert(offload_from_guest(off, plain, frame, len));
			ck_assert_uint_eq(get16(frame + tcp + 20 + at + 2), 32768);
			ck_assert(l4_good(frame, v6));
			len = make_syn(v6, at, 1460);
			ck_assert(offload_from_guest(off, undo_checksum(tcp, 16, v6, len), frame, len));
			ck_assert_uint_eq(get16(frame + tcp + 20 + at + 2), 32768);
			ck_assert(l4_good(frame, v6));
			off->guest = v6 ? NETDEV_CSUM | NETDEV_TSO4 : NETDEV_CSUM | NETDEV_TSO6;
			len = make_syn(v6, at, 1460);
			ck_assert(offload_from_guest(off, plain, frame, len));
			ck_assert_uint_eq(get16(frame + tcp + 20 + at + 2), 1460);
			off->guest = ALL;
		}
	}
}
END_TEST

/* Another direction's frame, of the same connection. */
static void turn_round(bool v6)
{
	uint8_t *ip = frame + 14, *tcp = ip + (v6 ? 40 : 20), tmp[16];
	size_t addr = v6 ? 16 : 4;
	uint8_t *src = ip + (v6 ? 8 : 12);

	memcpy(tmp, src, addr);
	memcpy(src, src + addr, addr);
	memcpy(src + addr, tmp, addr);
	memcpy(tmp, tcp, 2);
	memcpy(tcp, tcp + 2, 2);
	memcpy(tcp + 2, tmp, 2);
}

START_TEST(large_segments)
{
	for (int v6 = 0; v6 < 2; v6++) {
		size_t tcp = v6 ? 54 : 34, len = make_syn(v6, 0, 1000);
		struct virtio_net_hdr hdr;

		n_out = 0;
		ck_assert(offload_from_guest(off, plain, frame, len));
		len = make(v6, 6, FIN_PSH_ACK, 12, 30000);
		turn_round(v6);
		offload_to_guest(off, frame, len, emit, NULL);
		ck_assert_uint_eq(n_out, 1);
		ck_assert_uint_eq(out[0].len, len);
		memcpy(&hdr, out[0].hdr, sizeof(hdr));
		ck_assert_uint_eq(hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
		ck_assert_uint_eq(hdr.gso_type, v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4);
		ck_assert_uint_eq(hdr.gso_size, 1000);
		ck_assert_uint_eq(hdr.hdr_len, tcp + 32);
		ck_assert_uint_eq(hdr.csum_start, tcp);
		ck_assert_uint_eq(hdr.csum_offset, 16);
		ck_assert_uint_eq(get16(out[0].frame + tcp + 16), pseudo(frame, v6, len - tcp));
		len = make(v6, 6, FIN_PSH_ACK, 12, 1000); /* no larger than the MSS */
		turn_round(v6);
		offload_to_guest(off, frame, len, emit, NULL);
		ck_assert_uint_eq(n_out, 2);
		ck_assert_uint_eq(out[1].hdr[0], VIRTIO_NET_HDR_F_DATA_VALID);
		ck_assert_uint_eq(out[1].hdr[1], VIRTIO_NET_HDR_GSO_NONE);
	}
}
END_TEST

START_TEST(segments_are_cut)
{
	for (int v6 = 0; v6 < 2; v6++) {
		size_t tcp = v6 ? 54 : 34, len = make_syn(v6, 0, 999), got = 0;
		uint8_t data[30000];

		n_out = 0;
		off->guest = ALL;
		ck_assert(offload_from_guest(off, plain, frame, len));
		off->guest = 0;
		len = make(v6, 6, FIN_PSH_ACK, 12, 30000);
		turn_round(v6);
		memcpy(data, frame + tcp + 32, sizeof(data));
		offload_to_guest(off, frame, len, emit, NULL);
		ck_assert_uint_eq(n_out, 31);
		for (unsigned i = 0; i < n_out; i++) {
			const uint8_t *f = out[i].frame;
			size_t size = out[i].len - tcp - 32;

			ck_assert_mem_eq(out[i].hdr, plain, OFFLOAD_HDR);
			ck_assert(l4_good(f, v6));
			ck_assert_uint_eq((uint32_t)(get16(f + tcp + 4) << 16 | get16(f + tcp + 6)), (uint32_t)(0xfffff000u + got));
			ck_assert_uint_eq(f[tcp + 13], i == 30 ? FIN_PSH_ACK : 0x10);
			ck_assert_uint_eq(size, i == 30 ? 30 : 999);
			ck_assert_mem_eq(f + tcp + 32, data + got, size);
			got += size;
		}
		ck_assert_uint_eq(got, 30000);
	}
}
END_TEST

START_TEST(forgotten_flows)
{
	size_t len = make(false, 6, FIN_PSH_ACK, 0, 3000);

	offload_to_guest(off, frame, len, emit, NULL);
	ck_assert_uint_eq(load_le16(out[0].hdr + 4), 1460);
	len = make(false, 6, FIN_PSH_ACK, 0, 1460);
	offload_to_guest(off, frame, len, emit, NULL);
	ck_assert_uint_eq(out[1].hdr[1], VIRTIO_NET_HDR_GSO_NONE);
}
END_TEST

START_TEST(fragments)
{
	for (int v6 = 0; v6 < 2; v6++) {
		size_t hdr = 14 + (v6 ? 48 : 20), len = make(v6, 17, 0, 0, 9001), got = 0;
		uint8_t datagram[9009];

		n_out = 0;
		memcpy(datagram, frame + (v6 ? 54 : 34), sizeof(datagram));
		offload_to_guest(off, frame, len, emit, NULL);
		ck_assert_uint_eq(n_out, 7);
		for (unsigned i = 0; i < n_out; i++) {
			const uint8_t *f = out[i].frame;
			size_t size = out[i].len - hdr;
			unsigned at = v6 ? get16(f + 14 + 40 + 2) & ~7u : (get16(f + 14 + 6) & 0x1fff) * 8;
			bool more = v6 ? f[14 + 43] & 1 : f[14 + 6] & 0x20;

			ck_assert_uint_le(out[i].len, 14 + 1500);
			ck_assert_uint_eq(at, got);
			ck_assert_int_eq(more, i + 1 < n_out);
			ck_assert_uint_eq(v6 ? get16(f + 18) + 40 : get16(f + 16), out[i].len - 14);
			ck_assert(v6 ? f[14 + 6] == 44 && f[14 + 40] == 17 : sum(f + 14, 20, 0) == 0xffff);
			ck_assert_mem_eq(f + hdr, datagram + got, size);
			got += size;
		}
		ck_assert_uint_eq(got, sizeof(datagram));
	}
}
END_TEST

/* Whatever a guest sends: no access outside of the frame (the address sanitizer looks). */
START_TEST(any_frame)
{
	srandom(7);
	for (unsigned i = 0; i < 60000; i++) {
		bool v6 = random() % 2;
		size_t len = make(v6, random() % 2 ? 6 : 17, (unsigned)random() % 64, (size_t)(random() % 11) * 4, (size_t)random() % 100);
		size_t cut = (size_t)random() % (len + 1);
		uint8_t hdr[OFFLOAD_HDR], *copy;

		for (unsigned k = 0; k < (unsigned)random() % 6; k++)
			frame[12 + random() % 80] = (uint8_t)random();
		for (unsigned k = 0; k < OFFLOAD_HDR; k++)
			hdr[k] = random() % 3 ? 0 : (uint8_t)random();
		copy = malloc(cut ? cut : 1);
		memcpy(copy, frame, cut);
		off->guest = (unsigned)random() & ALL;
		offload_from_guest(off, hdr, copy, cut);
		n_out = 0;
		offload_to_guest(off, copy, cut, emit, NULL);
		free(copy);
	}
}
END_TEST

START_TEST(metadata_address)
{
	const struct nat nat = { .on = true, .inside.s_addr = htonl(0x0a0002fe), .host.s_addr = htonl(0x0a000202) }, none = { .on = false };
	size_t len = make(false, 6, SYN, 0, 11);
	uint8_t before[200];

	memcpy(frame + 30, (const uint8_t[]){ 169, 254, 169, 254 }, 4);
	put16(frame + 36, 80);
	put16(frame + 24, 0);
	put16(frame + 24, ~sum(frame + 14, 20, 0) & 0xffff);
	put16(frame + 50, 0);
	put16(frame + 50, ~sum(frame + 34, 31, pseudo(frame, false, 31)) & 0xffff);
	memcpy(before, frame, len);
	nat_from_guest(&none, frame, len);
	ck_assert_mem_eq(frame, before, len);
	nat_from_guest(&nat, frame, len);
	ck_assert_mem_eq(frame + 30, ((const uint8_t[]){ 10, 0, 2, 254 }), 4);
	ck_assert(l4_good(frame, false));
	turn_round(false);
	nat_to_guest(&nat, frame, len);
	ck_assert_mem_eq(frame + 26, ((const uint8_t[]){ 169, 254, 169, 254 }), 4);
	ck_assert(l4_good(frame, false));
	/* Other ports and addresses are left alone, and frames that are cut off. */
	memcpy(frame, before, len);
	put16(frame + 36, 81);
	nat_from_guest(&nat, frame, len);
	ck_assert_mem_eq(frame + 30, ((const uint8_t[]){ 169, 254, 169, 254 }), 4);
	for (size_t cut = 0; cut < 54; cut++) {
		uint8_t *copy = malloc(cut ? cut : 1);

		memcpy(copy, before, cut);
		nat_from_guest(&nat, copy, cut);
		ck_assert_mem_eq(copy, before, cut);
		free(copy);
	}
}
END_TEST

START_TEST(metadata_arp)
{
	const struct nat nat = { .on = true, .inside.s_addr = htonl(0x0a0002fe), .host.s_addr = htonl(0x0a000202) };
	static const uint8_t request[42] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
					     2, 0, 0, 0, 0, 1, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 169, 254, 169, 254 };
	static const uint8_t wanted[42] = { 2, 0, 0, 0, 0, 1, 0x52, 0x55, 10, 0, 2, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2,
					    0x52, 0x55, 10, 0, 2, 2, 169, 254, 169, 254, 2, 0, 0, 0, 0, 1, 10, 0, 2, 15 };
	uint8_t reply[NAT_ARP_REPLY], other[42];

	ck_assert(nat_arp(&nat, request, sizeof(request), reply));
	ck_assert_mem_eq(reply, wanted, sizeof(wanted));
	ck_assert(!nat_arp(&nat, request, 41, reply));
	memcpy(other, request, sizeof(other));
	other[41] = 1;
	ck_assert(!nat_arp(&nat, other, sizeof(other), reply));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		sums, checksums_are_made, headers_that_point_outside, mss_is_raised, large_segments, segments_are_cut, forgotten_flows, fragments,
		any_frame, metadata_address, metadata_arp,
	};

	return suite_run("usernet_offload", tests, ARRAY_SIZE(tests), setup, teardown);
}
