/* SPDX-License-Identifier: MIT */
/*
 * A network back end as its front end (virtio-net) sees it: whole Ethernet frames, each behind a virtio_net_hdr, on one or several
 * pairs of queues, with a tap, a socket or a helper process behind it.
 *
 * Frames: `struct virtio_net_hdr` (Virtio 1.2, 5.1.6; `vnet_hdr_size` bytes: 10, or 12 with num_buffers) and then the frame, from the
 * destination address on, without FCS. A back end without NETDEV_VNET in its caps ignores the header of what is sent to it, and puts a header of
 * zeroes before what it delivers. num_buffers is the front end's business.
 *
 * Sending: netdev_tx takes a frame at once or says -EAGAIN; then the front end keeps it (and its order), and `tx_ready` tells when to
 * go on. Nothing is dropped by being full, and nothing of the guest's is kept after netdev_tx returned. netdev_flush ends a batch.
 *
 * Receiving without a copy: the back end asks for room (`rx_room`), reads a frame straight into it, and says how long it was (`rx_done`). Without room
 * it stops reading, so that the queue fills where the sender can see it, until netdev_rx_more. A back end that has a frame in
 * memory already calls netdev_deliver. `rx_flush` ends a batch: one interrupt for all of it.
 *
 * Thread: everything on the device's loop, but create and close on the main thread while the loop does nothing for it.
 */
#ifndef NET_NETDEV_H
#define NET_NETDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct err;
struct eventloop;
struct netdev;

#define NETDEV_MAX_QUEUES 8      /* pairs */
#define NETDEV_FRAME_MAX 65550   /* bytes with the Ethernet header, without the vnet header: 64 KiB of segments to be cut */
#define NETDEV_RX_IOV 64         /* entries that rx_room fills at most; a front end joins or limits its buffers to these */

/* What a back end can: bits of netdev->caps. */
#define NETDEV_VNET 0x01u     /* reads and writes virtio_net_hdr: checksums may be left out, see the offloads */
#define NETDEV_CSUM 0x02u     /* takes frames whose checksum is still to be made */
#define NETDEV_TSO4 0x04u     /* takes TCP over IPv4 to be segmented */
#define NETDEV_TSO6 0x08u
#define NETDEV_TSO_ECN 0x10u
#define NETDEV_USO 0x20u      /* takes UDP to be segmented, IPv4 and IPv6 */
#define NETDEV_UFO 0x40u

/* What the guest accepts, as set by netdev_set_offloads; the same kinds. */
struct netdev_offloads {
	unsigned guest; /* NETDEV_CSUM | NETDEV_TSO4 ...: what may be delivered unfinished */
	unsigned vnet_hdr_size;
};

/* The front end's side; called on the loop. */
struct netdev_frontend_ops {
	/*
	 * Fills `iov` (NETDEV_RX_IOV entries) with the guest's buffers for one frame of up to `want` bytes, header included, and returns how many
	 * entries; 0: no room now (netdev_rx_more follows) or ever. May be less than `want`, when a guest has so little: a frame that
	 * does not fit is dropped. Called again before rx_done it gives the same.
	 */
	unsigned (*rx_room)(void *opaque, unsigned queue, size_t want, struct iovec *iov);
	/* A frame of `len` bytes, header included, is in what rx_room gave last. */
	void (*rx_done)(void *opaque, unsigned queue, size_t len);
	/* The batch is over. */
	void (*rx_flush)(void *opaque, unsigned queue);
	/* After -EAGAIN: go on sending. */
	void (*tx_ready)(void *opaque, unsigned queue);
	/* The back end's own link: a peer came or went, the host's interface is gone. */
	void (*link)(void *opaque, bool up);
};

struct netdev_ops {
	const char *type; /* "tap" */
	/* 0 or -EAGAIN. Other failures are the back end's: it drops the frame, counts it, and returns 0. */
	int (*tx)(struct netdev *nd, unsigned queue, const struct iovec *iov, size_t n, size_t len);
	/* End of a batch of tx. NULL: nothing. */
	void (*flush)(struct netdev *nd, unsigned queue);
	/* Reading starts, stops (when the front end is reset or paused), goes on after rx_room gave nothing. */
	void (*rx_enable)(struct netdev *nd, bool on);
	void (*rx_more)(struct netdev *nd, unsigned queue);
	/* 0 or -errno. NULL: nothing to set. */
	int (*set_offloads)(struct netdev *nd, const struct netdev_offloads *offloads);
	/* How many pairs are in use, 1 to nd->queues. 0 or -errno. NULL: one only. */
	int (*set_queues)(struct netdev *nd, unsigned queues);
	/* Its end; reading is off. Frees itself. */
	void (*close)(struct netdev *nd);
};

struct netdev_stats {
	uint64_t tx_frames, tx_bytes, rx_frames, rx_bytes, tx_dropped, rx_dropped; /* bytes without vnet headers */
};

/* Embedded in the back ends. */
struct netdev {
	const struct netdev_ops *ops;
	char *id;               /* -netdev id=; owned */
	struct eventloop *loop; /* borrowed */
	unsigned caps;          /* NETDEV_... */
	unsigned queues;        /* pairs it has, 1 to NETDEV_MAX_QUEUES */
	unsigned mtu;           /* of the host's side; 0: not known */
	bool link_up;
	struct netdev_offloads offloads;
	struct netdev_stats stats;
	/* Set by the front end at netdev_attach. */
	const struct netdev_frontend_ops *frontend;
	void *opaque;
};

/* For the front end. One at a time; NULL ends it. */
void netdev_attach(struct netdev *nd, const struct netdev_frontend_ops *frontend, void *opaque);
int netdev_tx(struct netdev *nd, unsigned queue, const struct iovec *iov, size_t n, size_t len);
void netdev_flush(struct netdev *nd, unsigned queue);
void netdev_rx_enable(struct netdev *nd, bool on);
void netdev_rx_more(struct netdev *nd, unsigned queue);
int netdev_set_offloads(struct netdev *nd, const struct netdev_offloads *offloads);
int netdev_set_queues(struct netdev *nd, unsigned queues);
/* Stops reading, closes, frees, on the device's loop if a thread runs it. NULL is fine. */
void netdev_close(struct netdev *nd);

/* For back ends: a frame in memory, without a vnet header; `hdr` of offloads.vnet_hdr_size bytes, or NULL for zeroes. False: no room, try after rx_more. */
bool netdev_deliver(struct netdev *nd, unsigned queue, const void *hdr, const void *frame, size_t len);
void netdev_link(struct netdev *nd, bool up);

#endif
