/* SPDX-License-Identifier: MIT */
/*
 * As much of an internet host as a measurement needs: an address and a gateway through which everything goes, ARP, echo both ways, UDP and one
 * TCP connection. Polled: stack_poll does what there is to do, and nothing waits.
 */
#ifndef GUEST_NET_STACK_H
#define GUEST_NET_STACK_H

#include "card.h"
#include "tcp.h"

struct stack {
	struct card card;
	uint32_t ip, gateway;         /* as on the wire */
	uint8_t gateway_mac[6];
	bool resolved;
	uint64_t khz;
	uint16_t port;                /* that UDP is counted on and TCP listens on */
	uint64_t datagrams;           /* for that port, so far */
	uint32_t echo_reply;          /* the number of the last one that came */
	struct tcp_conn tcp;
};

/* Waits until the gateway has told its address, which takes a frame to come and one to go; aborts the run after 10 s. */
void stack_open(struct stack *stack, uint32_t ip, uint32_t gateway, uint16_t port);
/* Takes the frames that are there, and has TCP send. Returns the time, of rdtsc. */
uint64_t stack_poll(struct stack *stack);
/* An echo request to the gateway. False: no slot. */
bool stack_echo(struct stack *stack, uint16_t number);
/* A datagram of `len` zeroes to the gateway's `port`. False: no slot. */
bool stack_datagram(struct stack *stack, uint16_t port, size_t len);

/*
 * For TCP: a segment with its header at stack_segment(slot), without ports' addresses and checksum yet, and `len` of `data`; in packets of `gso` bytes
 * of data each if that is not 0.
 */
struct tcp *stack_segment(struct slot *slot);
void stack_send_segment(struct stack *stack, struct slot *slot, size_t tcp_header, const void *data, size_t len, size_t gso);

#endif
