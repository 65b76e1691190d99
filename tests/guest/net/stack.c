/* SPDX-License-Identifier: MIT */
#include "stack.h"

#define ECHO_ID 0x4b6e
#define ECHO_BYTES 56         /* as ping's */
#define FROM_PORT 40000
#define TURN 64               /* frames, then what they led to is told */
#define IP_AT (sizeof(struct vnet_hdr) + sizeof(struct eth))
#define L4_AT (IP_AT + sizeof(struct ip))

static const uint8_t zeroes[2048];

/* Sending */

static void put_eth(const struct stack *stack, struct slot *slot, const uint8_t *to, uint16_t type)
{
	struct eth *eth = (struct eth *)(slot->headers + sizeof(struct vnet_hdr));

	memset(slot->headers, 0, sizeof(struct vnet_hdr));
	memcpy(eth->to, to, sizeof(eth->to));
	memcpy(eth->from, stack->card.mac, sizeof(eth->from));
	eth->type = be16(type);
}

/* `len`: of what is behind the header. To the gateway's card, whoever it is for. */
static struct ip *put_ip(const struct stack *stack, struct slot *slot, uint32_t to, uint8_t proto, size_t len)
{
	struct ip *ip = (struct ip *)(slot->headers + IP_AT);

	put_eth(stack, slot, stack->gateway_mac, ETH_IP);
	*ip = (struct ip){
		.version_len = 0x45,
		.len = be16((uint16_t)(sizeof(*ip) + len)),
		.fragment = be16(IP_DONT_FRAGMENT),
		.ttl = 64,
		.proto = proto,
		.from = stack->ip,
		.to = to,
	};
	ip->sum = (uint16_t)~sum_fold(sum_add(0, ip, sizeof(*ip)));
	return ip;
}

/* The checksum of UDP or TCP: the device's or, without such a one, our own. `header` is that of UDP or TCP, its sum at `off`. */
static void put_sum(const struct stack *stack, struct slot *slot, const struct ip *ip, size_t off, size_t header, const void *data, size_t len)
{
	struct vnet_hdr *hdr = (struct vnet_hdr *)slot->headers;
	uint16_t *field = (uint16_t *)(slot->headers + L4_AT + off);
	uint64_t sum = sum_pseudo(ip, header + len);

	*field = 0;
	if (stack->card.csum) {
		*field = sum_fold(sum);
		hdr->flags = VNET_NEEDS_CSUM;
		hdr->csum_start = L4_AT - sizeof(*hdr);
		hdr->csum_offset = (uint16_t)off;
		return;
	}
	sum = sum_add(sum, slot->headers + L4_AT, header);
	*field = (uint16_t)~sum_fold(sum_add(sum, data, len));
	if (*field == 0)
		*field = 0xffff;
}

static bool send_arp(struct stack *stack, uint16_t op, const uint8_t *to_mac, uint32_t to_ip)
{
	static const uint8_t everybody[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	struct slot *slot = card_slot(&stack->card);
	struct arp *arp;

	if (!slot)
		return false;
	put_eth(stack, slot, op == ARP_REQUEST ? everybody : to_mac, ETH_ARP);
	arp = (struct arp *)(slot->headers + IP_AT);
	*arp = (struct arp){ .hw = be16(1), .proto = be16(ETH_IP), .hw_len = 6, .proto_len = 4, .op = be16(op), .from_ip = stack->ip, .to_ip = to_ip };
	memcpy(arp->from_mac, stack->card.mac, 6);
	if (op == ARP_REPLY)
		memcpy(arp->to_mac, to_mac, 6);
	card_send(&stack->card, slot, IP_AT + sizeof(*arp), NULL, 0);
	return true;
}

static bool send_echo(struct stack *stack, uint32_t to, uint8_t type, uint16_t id, uint16_t seq)
{
	struct slot *slot = card_slot(&stack->card);
	struct icmp *icmp;

	if (!slot)
		return false;
	put_ip(stack, slot, to, IP_ICMP, sizeof(*icmp) + ECHO_BYTES);
	icmp = (struct icmp *)(slot->headers + L4_AT);
	*icmp = (struct icmp){ .type = type, .id = id, .seq = seq };
	icmp->sum = (uint16_t)~sum_fold(sum_add(0, icmp, sizeof(*icmp))); /* what follows is zeroes */
	card_send(&stack->card, slot, L4_AT + sizeof(*icmp), zeroes, ECHO_BYTES);
	return true;
}

bool stack_echo(struct stack *stack, uint16_t number)
{
	return send_echo(stack, stack->gateway, ICMP_ECHO, be16(ECHO_ID), be16(number));
}

bool stack_datagram(struct stack *stack, uint16_t port, size_t len)
{
	struct slot *slot = card_slot(&stack->card);
	struct udp *udp;
	struct ip *ip;

	if (!slot || len > CARD_HEADERS - L4_AT - sizeof(*udp))
		return false;
	ip = put_ip(stack, slot, stack->gateway, IP_UDP, sizeof(*udp) + len);
	udp = (struct udp *)(slot->headers + L4_AT);
	*udp = (struct udp){ .from = be16(FROM_PORT), .to = be16(port), .len = be16((uint16_t)(sizeof(*udp) + len)) };
	memset(udp + 1, 0, len);
	put_sum(stack, slot, ip, offsetof(struct udp, sum), sizeof(*udp) + len, NULL, 0);
	card_send(&stack->card, slot, L4_AT + sizeof(*udp) + len, NULL, 0);
	return true;
}

struct tcp *stack_segment(struct slot *slot)
{
	return (struct tcp *)(slot->headers + L4_AT);
}

void stack_send_segment(struct stack *stack, struct slot *slot, size_t tcp_header, const void *data, size_t len, size_t gso)
{
	struct ip *ip = put_ip(stack, slot, stack->tcp.peer, IP_TCP, tcp_header + len);
	struct vnet_hdr *hdr = (struct vnet_hdr *)slot->headers;

	put_sum(stack, slot, ip, offsetof(struct tcp, sum), tcp_header, data, len);
	if (gso) {
		hdr->gso_type = VNET_GSO_TCP4;
		hdr->gso_size = (uint16_t)gso;
		hdr->hdr_len = (uint16_t)(L4_AT - sizeof(*hdr) + tcp_header);
	}
	card_send(&stack->card, slot, L4_AT + tcp_header, data, len);
}

/* Receiving */

static void input_arp(struct stack *stack, const struct frame *frame)
{
	const struct arp *arp = (const struct arp *)(frame->at + sizeof(struct eth));

	if (frame->first < sizeof(struct eth) + sizeof(*arp) || arp->to_ip != stack->ip)
		return;
	if (arp->from_ip == stack->gateway) {
		memcpy(stack->gateway_mac, arp->from_mac, 6);
		stack->resolved = true;
	}
	if (arp->op == be16(ARP_REQUEST))
		send_arp(stack, ARP_REPLY, arp->from_mac, arp->from_ip);
}

static void input_icmp(struct stack *stack, const struct frame *frame, const struct ip *ip)
{
	const struct icmp *icmp = (const struct icmp *)(ip + 1);

	if (frame->first < sizeof(struct eth) + sizeof(*ip) + sizeof(*icmp))
		return;
	if (icmp->type == ICMP_ECHO && be16(ip->len) == sizeof(*ip) + sizeof(*icmp) + ECHO_BYTES)
		send_echo(stack, ip->from, ICMP_ECHO_REPLY, icmp->id, icmp->seq);
	else if (icmp->type == ICMP_ECHO_REPLY && icmp->id == be16(ECHO_ID) && ip->from == stack->gateway)
		stack->echo_reply = be16(icmp->seq);
}

/* Whether what is behind the IP header has the right sum, or the device vouches for it, or leaves it out for one that it trusts. */
static bool sum_right(const struct stack *stack, const struct frame *frame, const struct ip *ip)
{
	size_t len = be16(ip->len) - sizeof(*ip), end = sizeof(struct eth) + be16(ip->len), at = frame->first;
	uint64_t sum = sum_pseudo(ip, len);

	if ((stack->card.dev.features & NET_F_GUEST_CSUM) && (frame->hdr->flags & (VNET_NEEDS_CSUM | VNET_DATA_VALID)))
		return true;
	sum = sum_add(sum, ip + 1, (end < at ? end : at) - sizeof(struct eth) - sizeof(*ip));
	for (unsigned i = 1; i < frame->n && at < end; i++) {
		size_t part = end - at < frame->part_len[i] ? end - at : frame->part_len[i];

		sum = sum_add(sum, frame->part[i], part);
		at += part;
	}
	return sum_fold(sum) == 0xffff;
}

static void input_udp(struct stack *stack, const struct frame *frame, const struct ip *ip)
{
	const struct udp *udp = (const struct udp *)(ip + 1);

	if (frame->first >= sizeof(struct eth) + sizeof(*ip) + sizeof(*udp) && udp->to == stack->port && (!udp->sum || sum_right(stack, frame, ip)))
		stack->datagrams++;
}

static void input(struct stack *stack, const struct frame *frame, uint64_t now)
{
	const struct eth *eth = (const struct eth *)frame->at;
	const struct ip *ip = (const struct ip *)(eth + 1);

	if (eth->type == be16(ETH_ARP))
		input_arp(stack, frame);
	if (eth->type != be16(ETH_IP) || frame->first < sizeof(*eth) + sizeof(*ip) || ip->version_len != 0x45 || ip->to != stack->ip)
		return;
	if (be16(ip->len) < sizeof(*ip) || sizeof(*eth) + be16(ip->len) > frame->len)
		return;
	if (ip->proto == IP_UDP)
		input_udp(stack, frame, ip);
	else if (ip->proto == IP_ICMP)
		input_icmp(stack, frame, ip);
	else if (ip->proto == IP_TCP && sum_right(stack, frame, ip))
		tcp_input(stack, frame, ip, now);
}

uint64_t stack_poll(struct stack *stack)
{
	struct card *card = &stack->card;
	uint64_t now = rdtsc();
	struct frame frame;

	for (unsigned i = 0; i < TURN && card_receive(card, &frame); i++) {
		input(stack, &frame, now);
		card_return(card, &frame);
	}
	card_refill(card);
	tcp_output(stack, now);
	return now;
}

void stack_open(struct stack *stack, uint32_t ip, uint32_t gateway, uint16_t port)
{
	*stack = (struct stack){ .ip = ip, .gateway = gateway, .port = be16(port), .khz = tsc_khz() };
	tcp_init();
	card_open(&stack->card);
	tcp_listen(&stack->tcp, 0, false, false);
	for (unsigned i = 0; i < 50 && !stack->resolved; i++) {
		uint64_t end = rdtsc() + stack->khz * 200;

		send_arp(stack, ARP_REQUEST, NULL, gateway);
		while (!stack->resolved && stack_poll(stack) < end)
			cpu_relax();
	}
	if (!stack->resolved)
		test_abort("the gateway does not answer");
}
