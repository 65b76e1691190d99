/* SPDX-License-Identifier: MIT */
/*
 * 169.254.169.254, which is no address of the guest's network, so that libslirp can forward it nowhere. On the way in, port 80 of
 * it becomes an address that is (`inside`), where a guestfwd rule answers; on the way out it is itself again. A guest with a route to
 * 169.254.0.0/16 asks by ARP for it; that is answered here too.
 *
 * Thread: one.
 */
#ifndef USER_NET_NAT_H
#define USER_NET_NAT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAT_ARP_REPLY 42 /* bytes */

struct nat {
	bool on;
	struct in_addr inside;
	struct in_addr host; /* whose Ethernet address it has */
};

/* Frames with whole checksums. */
void nat_from_guest(const struct nat *nat, uint8_t *frame, size_t len);
void nat_to_guest(const struct nat *nat, uint8_t *frame, size_t len);
/* Whether the frame of the guest's asks for the address; then `reply` is what it is to get. */
bool nat_arp(const struct nat *nat, const uint8_t *frame, size_t len, uint8_t *reply);

#endif
