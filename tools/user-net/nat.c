/* SPDX-License-Identifier: MIT */
#include "tools/user-net/nat.h"

#include <string.h>

#include "tools/user-net/offload.h"

#define METADATA_ADDR 0xa9fea9feu /* 169.254.169.254 */
#define HTTP_PORT 80

#define ETH_HDR 14
#define IP_SRC 12
#define IP_DST 16
#define TCP_CSUM 16

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* The TCP header of an IPv4 frame that has one whole, or NULL. */
static uint8_t *find_tcp(uint8_t *frame, size_t len)
{
	uint8_t *ip = frame + ETH_HDR;
	size_t hdr;

	if (len < ETH_HDR + 20 || get16(frame + 12) != 0x0800 || ip[0] >> 4 != 4 || ip[9] != IPPROTO_TCP || get16(ip + 6) & 0x3fff)
		return NULL;
	hdr = (size_t)(ip[0] & 15) * 4;
	return hdr >= 20 && len - ETH_HDR >= hdr + 20 ? ip + hdr : NULL;
}

/* The address is part of the IP header's checksum and, by the pseudo header, of TCP's. */
static void change(uint8_t *ip, uint8_t *tcp, unsigned at, uint32_t to)
{
	for (unsigned i = 0; i < 4; i += 2) {
		uint16_t was = get16(ip + at + i), is = (uint16_t)(to >> (16 - 8 * i));

		offload_adjust(ip + 10, was, is);
		offload_adjust(tcp + TCP_CSUM, was, is);
	}
	put32(ip + at, to);
}

void nat_from_guest(const struct nat *nat, uint8_t *frame, size_t len)
{
	uint8_t *tcp = nat->on ? find_tcp(frame, len) : NULL;

	if (tcp && get32(frame + ETH_HDR + IP_DST) == METADATA_ADDR && get16(tcp + 2) == HTTP_PORT)
		change(frame + ETH_HDR, tcp, IP_DST, ntohl(nat->inside.s_addr));
}

void nat_to_guest(const struct nat *nat, uint8_t *frame, size_t len)
{
	uint8_t *tcp = nat->on ? find_tcp(frame, len) : NULL;

	if (tcp && get32(frame + ETH_HDR + IP_SRC) == ntohl(nat->inside.s_addr) && get16(tcp) == HTTP_PORT)
		change(frame + ETH_HDR, tcp, IP_SRC, METADATA_ADDR);
}

/* RFC 826: a request for IPv4 over Ethernet. */
bool nat_arp(const struct nat *nat, const uint8_t *frame, size_t len, uint8_t *reply)
{
	static const uint8_t request[] = { 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1 };
	const uint8_t *arp = frame + ETH_HDR;
	uint32_t host = ntohl(nat->host.s_addr);

	if (!nat->on || len < NAT_ARP_REPLY || memcmp(frame + 12, request, sizeof(request)) != 0 || get32(arp + 24) != METADATA_ADDR)
		return false;
	memcpy(reply, frame + 6, 6);
	reply[6] = 0x52; /* as libslirp makes them: 52:55 and the IP address */
	reply[7] = 0x55;
	put32(reply + 8, host);
	memcpy(reply + 12, request, sizeof(request));
	reply[ETH_HDR + 7] = 2;
	memcpy(reply + ETH_HDR + 8, reply + 6, 6);
	put32(reply + ETH_HDR + 14, METADATA_ADDR);
	memcpy(reply + ETH_HDR + 18, arp + 8, 10);
	return true;
}
