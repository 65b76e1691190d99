/* SPDX-License-Identifier: MIT */
/*
 * What is on the wire: Ethernet, ARP (RFC 826), IPv4 (RFC 791), ICMP (RFC 792), UDP (RFC 768) and TCP (RFC 9293), their checksums (RFC 1071),
 * and the header that virtio-net puts in front (Virtio 1.2, 5.1.6). Fields of more than a byte are big-endian, but virtio's.
 */
#ifndef GUEST_NET_WIRE_H
#define GUEST_NET_WIRE_H

#include "rt.h"

struct vnet_hdr {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
#define VNET_NEEDS_CSUM 1
#define VNET_DATA_VALID 2
#define VNET_GSO_TCP4 1

struct eth {
	uint8_t to[6], from[6];
	uint16_t type;
} __attribute__((packed));
#define ETH_ARP 0x0806
#define ETH_IP 0x0800

struct arp {
	uint16_t hw, proto;
	uint8_t hw_len, proto_len;
	uint16_t op;
	uint8_t from_mac[6];
	uint32_t from_ip;
	uint8_t to_mac[6];
	uint32_t to_ip;
} __attribute__((packed));
#define ARP_REQUEST 1
#define ARP_REPLY 2

struct ip {
	uint8_t version_len, tos;
	uint16_t len, id, fragment;
	uint8_t ttl, proto;
	uint16_t sum;
	uint32_t from, to;
} __attribute__((packed));
#define IP_ICMP 1
#define IP_TCP 6
#define IP_UDP 17
#define IP_DONT_FRAGMENT 0x4000

struct icmp {
	uint8_t type, code;
	uint16_t sum, id, seq;
} __attribute__((packed));
#define ICMP_ECHO 8
#define ICMP_ECHO_REPLY 0

struct udp {
	uint16_t from, to, len, sum;
} __attribute__((packed));

struct tcp {
	uint16_t from, to;
	uint32_t seq, ack;
	uint8_t offset, flags; /* offset: words in the upper half */
	uint16_t window, sum, urgent;
} __attribute__((packed));
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10

static inline uint16_t be16(uint16_t v)
{
	return __builtin_bswap16(v);
}

static inline uint32_t be32(uint32_t v)
{
	return __builtin_bswap32(v);
}

/* Adds `n` bytes to a sum, as 16-bit words in the order of memory; only the last piece of several may be of an odd length. */
static inline uint64_t sum_add(uint64_t sum, const void *p, size_t n)
{
	const uint8_t *b = p;
	uint32_t word;
	uint16_t half = 0;

	for (; n >= 4; n -= 4, b += 4) {
		__builtin_memcpy(&word, b, 4);
		sum += word;
	}
	if (n >= 2) {
		__builtin_memcpy(&half, b, 2);
		sum += half;
		b += 2;
	}
	return n & 1 ? sum + *b : sum;
}

static inline uint16_t sum_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Of the pseudo header; `len` is that of the header of UDP or TCP and all behind it. */
static inline uint64_t sum_pseudo(const struct ip *ip, size_t len)
{
	return sum_add(0, &ip->from, 8) + be16(ip->proto) + be16((uint16_t)len);
}

#endif
