/* SPDX-License-Identifier: MIT */
/*
 * Frames over a stream socket: each behind its length, 32 bits, big-endian, and optionally a virtio_net_hdr that the length counts. This is
 * what -netdev stream speaks with its peer, and -netdev user with its helper; both embed this.
 *
 * Sending takes nothing that the socket does not take: of a frame that went out in part, the rest is kept here, and the next one has to
 * wait. Receiving reads frames straight into the guest's buffers; what a read brings of the frames behind is kept here and copied.
 *
 * Thread: the netdev's loop, but init and fini on the main thread.
 */
#ifndef NET_FRAMED_H
#define NET_FRAMED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "net/netdev.h"
#include "vmm/eventloop.h"
#include "vmm/iov.h"

#define FRAMED_LENGTH 4 /* bytes of the length */
#define FRAMED_HDR 12   /* of the virtio_net_hdr behind it, where there is one: Virtio 1.2, 5.1.6, num_buffers zero */

struct framed {
	struct netdev *nd; /* borrowed */
	/*
	 * The connection is over, its descriptor closed: -EPIPE when the peer closed it, -EPROTO after a length that no frame has
	 * (in bad_length), or what a read failed with. On the loop, never from inside the functions below; framed_start may be called in it.
	 */
	void (*broken)(void *opaque, int rc);
	void *opaque;
	bool vnet; /* frames have a header on the wire */

	/* Its own: */
	struct event_fd ev;
	struct event_work resume; /* reading goes on in the loop's next turn */
	bool rx_on, rx_held, no_room, tx_blocked;
	uint32_t bad_length;

	uint8_t *in; /* read, not yet delivered: in_head to in_tail */
	size_t in_head, in_tail;
	size_t skip; /* bytes of a frame that go nowhere, not read yet */
	bool large;  /* the frames are: reading ahead only copies */
	struct iovec room[NETDEV_RX_IOV];
	struct iov_cursor to; /* what is free of the guest's buffers of the frame that is being read */
	size_t to_len;        /* its length with the guest's header; 0: none */

	uint8_t *out; /* the rest of a frame: out_head to out_tail */
	size_t out_head, out_tail;
};

/* `f` zeroed, with nd, broken, opaque and vnet set. 0 or -ENOMEM. */
int framed_init(struct framed *f);
void framed_fini(struct framed *f);

/* Speaks over `fd`, a stream socket without blocking, which is closed at the end. 0, or -errno with the descriptor closed. */
int framed_start(struct framed *f, int fd);
void framed_stop(struct framed *f);
bool framed_started(const struct framed *f);

/* What netdev_ops wants. Without a connection frames are dropped. */
unsigned framed_tx_many(struct framed *f, const struct netdev_frame *frames, unsigned n);
void framed_rx_enable(struct framed *f, bool on);
void framed_rx_more(struct framed *f);
void framed_rx_hold(struct framed *f, bool on);

#endif
