/* SPDX-License-Identifier: MIT */
/*
 * A driver for one virtio network card that is polled: nothing here waits, and no interrupt comes. Works in ring 3. It takes the features that
 * Linux does and that matter to frames: mergeable buffers, checksums, TSO4 both ways, event index, indirect descriptors.
 */
#ifndef GUEST_NET_CARD_H
#define GUEST_NET_CARD_H

#include "virtio.h"
#include "wire.h"

#define CARD_BUFFERS 256    /* at most, in a queue */
#define CARD_RX_BYTES 4096  /* of a receive buffer: what Linux comes to with long frames */
#define CARD_PARTS 24       /* of the longest frame: 64 KiB and headers in such buffers */
#define CARD_HEADERS 128

#define NET_F_CSUM (UINT64_C(1) << 0)
#define NET_F_GUEST_CSUM (UINT64_C(1) << 1)
#define NET_F_MAC (UINT64_C(1) << 5)
#define NET_F_GUEST_TSO4 (UINT64_C(1) << 7)
#define NET_F_HOST_TSO4 (UINT64_C(1) << 11)
#define NET_F_MRG_RXBUF (UINT64_C(1) << 15)

/* A frame that was received: it lies in `n` buffers, of which the first begins with the header. */
struct frame {
	const struct vnet_hdr *hdr;
	const uint8_t *at;            /* the Ethernet header, in the first buffer */
	size_t first, len;            /* bytes from there on in the first buffer, and in all of them */
	unsigned n;
	const uint8_t *part[CARD_PARTS]; /* of the other buffers, from 1 on */
	size_t part_len[CARD_PARTS];
};

/* A frame to be sent: its headers, virtio's first, and where its data is. */
struct slot {
	uint8_t headers[CARD_HEADERS];
	struct vring_desc table[3];
};

struct card {
	struct virtio dev;
	struct virtq rx, tx;
	uint8_t mac[6];
	bool csum, tso;
	uint8_t *rx_buffers;
	struct slot *slots;           /* slot n belongs to descriptor n */
	uint16_t free[CARD_BUFFERS];
	unsigned n_free;
	uint64_t rung;                /* how often the device was */
};

/* Aborts the run when there is no card, or one that lacks what cannot be done without: version 1 and mergeable buffers. */
void card_open(struct card *card);
/* The next frame, until card_return; false: none is there. A broken one ends the run. */
bool card_receive(struct card *card, struct frame *frame);
/* Its buffers are for others again, after card_refill. */
void card_return(struct card *card, const struct frame *frame);
void card_refill(struct card *card);
/* NULL: all are on their way. To be sent then. */
struct slot *card_slot(struct card *card);
/* Sends `header_len` bytes of slot->headers and `len` of `data`, which stays as it is until they are sent. Rings if the device wants it. */
void card_send(struct card *card, struct slot *slot, size_t header_len, const void *data, size_t len);
/* Takes back what was sent. */
void card_reap(struct card *card);
static inline bool card_idle(const struct card *card)
{
	return card->n_free == card->tx.size;
}

#endif
