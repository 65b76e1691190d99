/* SPDX-License-Identifier: MIT */
#include "stack.h"

#define SHIFT 7               /* our window's */
#define WINDOW (0xffffu >> 1) /* times 128: 4 MiB, always */
#define HEADER sizeof(struct tcp)
#define SYN_HEADER (HEADER + 8)
#define MSS 1460
#define GSO_MAX (65535 - sizeof(struct ip) - HEADER)
#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_MSS 2
#define OPTION_SCALE 3

static uint8_t pattern[2 * TCP_PERIOD];

/* a <= b, of sequence numbers. */
static bool at_most(uint32_t a, uint32_t b)
{
	return (int32_t)(b - a) >= 0;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

void tcp_init(void)
{
	for (uint32_t i = 0; i < 2 * TCP_PERIOD; i++)
		pattern[i] = (uint8_t)(i * 167 + (i >> 8 & 0xff) * 13);
}

void tcp_listen(struct tcp_conn *t, uint16_t port, bool check, bool echo)
{
	*t = (struct tcp_conn){ .state = TCP_LISTEN, .port = port, .check = check, .echo = echo, .mss = 536 };
}

void tcp_close(struct tcp_conn *t)
{
	if (t->endless)
		t->end = t->max;
	t->endless = false;
	t->fin = true;
}

/* Sending */

static bool send_segment(struct stack *stack, uint8_t flags, uint32_t seq, const void *data, size_t len, size_t gso)
{
	struct tcp_conn *t = &stack->tcp;
	struct slot *slot = card_slot(&stack->card);
	size_t header = flags & TCP_SYN ? SYN_HEADER : HEADER;
	struct tcp *tcp;

	if (!slot)
		return false;
	tcp = stack_segment(slot);
	*tcp = (struct tcp){
		.from = t->port,
		.to = t->peer_port,
		.seq = be32(seq),
		.ack = be32(t->expected),
		.offset = (uint8_t)(header / 4 << 4),
		.flags = flags,
		.window = be16(flags & TCP_SYN ? 0xffff : WINDOW),
	};
	if (flags & TCP_SYN)
		memcpy(tcp + 1, (uint8_t[]){ OPTION_MSS, 4, MSS >> 8, MSS & 0xff, OPTION_SCALE, 3, SHIFT, OPTION_END }, 8);
	stack_send_segment(stack, slot, header, data, len, gso);
	t->ack_due = false;
	return true;
}

/* How much goes into the next segment; 0: nothing may be sent now. */
static uint32_t next_len(const struct stack *stack, uint32_t to)
{
	const struct tcp_conn *t = &stack->tcp;
	uint32_t limit = t->una + least(t->window, TCP_IN_FLIGHT);
	uint32_t most = stack->card.tso ? (uint32_t)(GSO_MAX / t->mss * t->mss) : t->mss;
	uint32_t len;

	if (!at_most(t->next, limit))
		return 0;
	len = least(least(limit - t->next, to - t->next), most);
	/* No small pieces while others are on their way, unless it is the last one. */
	if (len < t->mss && t->next + len != to && t->next != t->una)
		return 0;
	return len > t->mss ? len / t->mss * t->mss : len;
}

static void output_data(struct stack *stack, uint64_t now)
{
	struct tcp_conn *t = &stack->tcp;
	uint32_t len;

	for (;;) {
		uint32_t to = t->endless ? t->next + TCP_IN_FLIGHT : t->end;
		uint32_t at = (t->next - t->iss - 1) % TCP_PERIOD;

		len = at_most(to, t->next) ? 0 : next_len(stack, to);
		if (!len || !send_segment(stack, TCP_ACK | TCP_PSH, t->next, pattern + at, len, len > t->mss ? t->mss : 0))
			return;
		if (t->next == t->una)
			t->progress = now;
		t->next += len;
		if (at_most(t->max, t->next))
			t->max = t->next;
	}
}

static void go_back(struct tcp_conn *t, uint64_t now)
{
	t->recover = t->max;
	t->next = t->una;
	t->fin_sent = false;
	t->duplicates = 0;
	t->progress = now;
	t->resent++;
}

void tcp_output(struct stack *stack, uint64_t now)
{
	struct tcp_conn *t = &stack->tcp;

	if (t->state == TCP_SYN_SEEN && now - t->progress > stack->khz * TCP_RTO_MS) {
		send_segment(stack, TCP_SYN | TCP_ACK, t->iss, NULL, 0, 0);
		t->progress = now;
	}
	if (t->state != TCP_OPEN)
		return;
	if (t->una != t->max && now - t->progress > stack->khz * TCP_RTO_MS)
		go_back(t, now);
	output_data(stack, now);
	if (t->fin && !t->fin_sent && t->next == t->end && send_segment(stack, TCP_FIN | TCP_ACK, t->end, NULL, 0, 0)) {
		t->fin_sent = true;
		t->next = t->max = t->end + 1;
	}
	if (t->ack_due)
		send_segment(stack, TCP_ACK, t->next, NULL, 0, 0);
}

/* Receiving */

static void options(struct tcp_conn *t, const struct tcp *tcp, size_t header)
{
	const uint8_t *p = (const uint8_t *)(tcp + 1), *end = (const uint8_t *)tcp + header;

	t->mss = 536;
	t->shift = 0;
	while (p < end && *p != OPTION_END) {
		if (*p == OPTION_NOP) {
			p++;
			continue;
		}
		if (end - p < 2 || p[1] < 2 || p[1] > end - p)
			break;
		if (p[0] == OPTION_MSS && p[1] == 4)
			t->mss = (unsigned)(p[2] << 8 | p[3]);
		if (p[0] == OPTION_SCALE && p[1] == 3)
			t->shift = p[2] < 14 ? p[2] : 14;
		p += p[1];
	}
	t->mss = t->mss < MSS ? t->mss : MSS;
	if (t->mss < 64)
		t->mss = 64;
}

static void input_syn(struct stack *stack, const struct ip *ip, const struct tcp *tcp, size_t header, uint64_t now)
{
	struct tcp_conn *t = &stack->tcp;

	t->peer = ip->from;
	t->peer_port = tcp->from;
	t->iss = (uint32_t)now;
	t->una = t->iss;
	t->next = t->max = t->end = t->recover = t->iss + 1;
	t->expected = be32(tcp->seq) + 1;
	t->window = be16(tcp->window);
	t->progress = now;
	options(t, tcp, header);
	t->state = TCP_SYN_SEEN;
	send_segment(stack, TCP_SYN | TCP_ACK, t->iss, NULL, 0, 0);
}

static void input_ack(struct tcp_conn *t, const struct tcp *tcp, size_t len, uint64_t now)
{
	uint32_t ack = be32(tcp->ack), window = (uint32_t)be16(tcp->window) << t->shift;

	if (!at_most(t->una, ack) || !at_most(ack, t->max))
		return;
	if (ack != t->una) {
		t->acked += ack - t->una;
		t->una = ack;
		t->duplicates = 0;
		t->progress = now;
		if (!at_most(ack, t->next)) /* something of what was to be sent again had come after all */
			t->next = ack;
		if (t->fin && ack == t->end + 1)
			t->fin_sent = true;
	} else if (len == 0 && t->una != t->max && window == t->window && !(tcp->flags & TCP_FIN) && ++t->duplicates == 3 &&
		   at_most(t->recover, t->una)) {
		go_back(t, now);
	}
	t->window = window;
}

static void compare(struct tcp_conn *t, const uint8_t *p, size_t len)
{
	const uint8_t *want = pattern + t->received % TCP_PERIOD;

	for (size_t i = 0; i < len; i++)
		t->wrong += p[i] != want[i];
	t->received += len;
}

/* The bytes of the frame from `from` on, up to `end`; both count from the Ethernet header. */
static void input_bytes(struct tcp_conn *t, const struct frame *frame, size_t from, size_t end)
{
	size_t at = 0;

	if (!t->check) {
		t->received += end - from;
		return;
	}
	for (unsigned i = 0; i < frame->n && at < end; i++) {
		const uint8_t *p = i ? frame->part[i] : frame->at;
		size_t len = i ? frame->part_len[i] : frame->first;
		size_t a = from > at ? from - at : 0, b = end - at < len ? end - at : len;

		if (a < b)
			compare(t, p + a, b - a);
		at += len;
	}
}

static void input_data(struct tcp_conn *t, const struct frame *frame, const struct tcp *tcp, size_t from, size_t end, uint64_t now)
{
	uint32_t seq = be32(tcp->seq);
	bool fin = tcp->flags & TCP_FIN;

	if (end == from && !fin)
		return;
	t->ack_due = true;
	if (seq != t->expected) {
		uint32_t known = t->expected - seq;

		/* Lost before it, or here before; in part perhaps. */
		if (!at_most(seq, t->expected) || known >= end - from + fin)
			return;
		from += known;
	}
	if (end > from) {
		if (!t->received)
			t->first_at = now;
		t->last_at = now;
		input_bytes(t, frame, from, end);
		t->expected += (uint32_t)(end - from);
		if (t->echo)
			t->end += (uint32_t)(end - from);
	}
	if (fin && !t->peer_fin) {
		t->peer_fin = true;
		t->expected++;
		tcp_close(t);
	}
}

void tcp_input(struct stack *stack, const struct frame *frame, const struct ip *ip, uint64_t now)
{
	const struct tcp *tcp = (const struct tcp *)(ip + 1);
	struct tcp_conn *t = &stack->tcp;
	size_t header, from, end = sizeof(struct eth) + be16(ip->len);

	if (frame->first < sizeof(struct eth) + sizeof(*ip) + sizeof(*tcp))
		return;
	header = (size_t)(tcp->offset >> 4) * 4;
	from = sizeof(struct eth) + sizeof(*ip) + header;
	if (header < HEADER || from > frame->first || from > end || end > frame->len || tcp->to != t->port)
		return;
	if (t->state == TCP_LISTEN && (tcp->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		input_syn(stack, ip, tcp, header, now);
		return;
	}
	if (t->state == TCP_LISTEN || ip->from != t->peer || tcp->from != t->peer_port)
		return;
	if (tcp->flags & TCP_RST) {
		t->state = TCP_OVER;
		return;
	}
	if (!(tcp->flags & TCP_ACK) || (tcp->flags & TCP_SYN))
		return;
	if (t->state == TCP_SYN_SEEN) {
		if (be32(tcp->ack) != t->iss + 1)
			return;
		t->state = TCP_OPEN;
	}
	input_ack(t, tcp, end - from, now);
	input_data(t, frame, tcp, from, end, now);
	/* Both sides are done. What the peer does not hear of that is answered no more. */
	if (t->peer_fin && t->fin && t->una == t->end + 1) {
		send_segment(stack, TCP_ACK, t->next, NULL, 0, 0);
		t->state = TCP_OVER;
	}
}
