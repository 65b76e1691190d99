/* SPDX-License-Identifier: MIT */
/*
 * Large segments between a guest and libslirp, which knows nothing of offloads.
 *
 * From the guest: checksums that it left out are made; TCP segments of up to 64 KiB go through as they are, since libslirp's sockets take
 * any length.
 *
 * To the guest: libslirp cuts TCP data into segments of what the guest said it takes (the MSS option of its SYN). A guest that takes large
 * segments to be cut by itself (TSO as a receiver) has the option raised on the way to libslirp, so that these come large, and each
 * gets a virtio_net_hdr with the segment size that the guest asked for: what an interface with receive offload would have handed over. A
 * guest that changes its mind gets them cut here. Datagrams longer than the guest's MTU are cut into IP fragments.
 *
 * Thread: one.
 */
#ifndef USER_NET_OFFLOAD_H
#define USER_NET_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OFFLOAD_HDR 12
#define OFFLOAD_MTU 1500  /* of the guest, for what is no TCP */
#define OFFLOAD_FLOWS 2048

struct offload_flow {
	uint32_t key; /* a hash of the addresses and ports; 0: none */
	uint16_t mss;
};

struct offload {
	unsigned guest; /* NETDEV_CSUM, NETDEV_TSO4, NETDEV_TSO6: what it takes unfinished */
	struct offload_flow flows[OFFLOAD_FLOWS];
};

/* A frame of the guest's, changed in place for libslirp. False: it is to be dropped. */
bool offload_from_guest(struct offload *off, const uint8_t *hdr, uint8_t *frame, size_t len);

typedef void offload_emit(void *opaque, const uint8_t *hdr, const uint8_t *frame, size_t len);

/* A frame of libslirp's: calls `emit` with a header and a frame, once or several times. `frame` may be changed. */
void offload_to_guest(struct offload *off, uint8_t *frame, size_t len, offload_emit *emit, void *opaque);

/*
 * The Internet checksum's sum (RFC 1071) of `len` bytes added to `sum`, not folded; `p` at an even place of what is summed.
 */
uint64_t offload_sum(const uint8_t *p, size_t len, uint64_t sum);
uint16_t offload_fold(uint64_t sum);
/* The checksum at `csum` after 16 bits of what it covers, at an even place, changed from `was` to `is`. RFC 1624. */
void offload_adjust(uint8_t *csum, uint16_t was, uint16_t is);

#endif
