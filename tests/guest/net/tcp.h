/* SPDX-License-Identifier: MIT */
/*
 * One TCP connection (RFC 9293) that somebody else opens. It sends or receives in bulk, or echoes what it gets: byte n of what it sends is
 * tcp_pattern[n mod 64 Ki] (and what is echoed is the same, since that is what it wants to get). What is received is thrown away where it
 * lies, or first compared with the same pattern.
 *
 * There is no congestion control: what is between this guest and its host is one ring. The peer's window is kept, up to TCP_IN_FLIGHT. What is
 * lost is sent again from there on (go back N), after three acknowledgements of the same byte or TCP_RTO_MS. What comes out of order is dropped.
 */
#ifndef GUEST_NET_TCP_H
#define GUEST_NET_TCP_H

#include "rt.h"
#include "wire.h"

#define TCP_IN_FLIGHT (2u << 20)
#define TCP_RTO_MS 200
#define TCP_PERIOD 65536u

enum tcp_state { TCP_LISTEN, TCP_SYN_SEEN, TCP_OPEN, TCP_OVER };

struct tcp_conn {
	enum tcp_state state;         /* TCP_OVER: closed or reset; it listens again after tcp_listen */
	uint32_t peer;
	uint16_t port, peer_port;     /* as on the wire */
	unsigned mss, shift;          /* of the peer; the scale of its window */
	bool check, echo;
	/* Sending: una <= next <= max; `end` is where what may be sent ends. */
	uint32_t iss, una, next, max, end, window;
	bool endless;                 /* there is always more */
	bool fin, fin_sent;           /* a FIN is to follow `end` */
	unsigned duplicates;
	uint32_t recover;             /* what was sent when the last loss was found */
	uint64_t progress;            /* when something was acknowledged last, or the first in flight was sent */
	/* Receiving */
	uint32_t expected;
	bool ack_due, peer_fin;
	uint64_t received, wrong;     /* bytes; of them, such as differ from the pattern (with `check`) */
	uint64_t first_at, last_at;   /* when the first and the last came */
	uint64_t acked;               /* bytes and a FIN, that were sent and have arrived */
	uint64_t resent;              /* times that it went back */
};

struct stack;
struct frame;

/* Takes the next connection to `port`, as on the wire. */
void tcp_listen(struct tcp_conn *t, uint16_t port, bool check, bool echo);
void tcp_input(struct stack *stack, const struct frame *frame, const struct ip *ip, uint64_t now);
/* Sends what may be sent now, or an acknowledgement that is due. */
void tcp_output(struct stack *stack, uint64_t now);
/* Everything is sent after this, then a FIN. */
void tcp_close(struct tcp_conn *t);
/* Before anything else: makes the pattern. */
void tcp_init(void);

#endif
