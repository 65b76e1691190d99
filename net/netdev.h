/* SPDX-License-Identifier: MIT */
/*
 * A network back end as its front end (virtio-net) sees it: whole Ethernet frames, each behind a virtio_net_hdr, on one or several
 * pairs of queues, with a tap, a socket or a helper process behind it.
 *
 * Frames: `struct virtio_net_hdr` (Virtio 1.2, 5.1.6; offloads.vnet_hdr_size bytes: 10, 12 with num_buffers, 20 with a hash) and then the
 * frame, from the destination address on, without FCS. A back end without NETDEV_VNET in its caps ignores the header of what is sent to it,
 * and puts a header of zeroes before what it delivers. num_buffers and the hash are the front end's business.
 *
 * Sending: netdev_tx takes a frame at once or says -EAGAIN; then the front end keeps it (and its order), and tx_ready tells when to
 * go on. Nothing is dropped by being full, and nothing of the guest's is kept after netdev_tx returned. netdev_flush ends a batch. A back end
 * that gains from seeing several frames at once has tx_many too. What reaches a back end has NETDEV_FRAME_MIN to NETDEV_FRAME_MAX bytes
 * behind its header; its contents are the guest's and may change while they are read.
 *
 * Receiving without a copy: the back end asks for room (netdev_rx_room), reads a frame straight into it, and says how long it was
 * (netdev_rx_done). Without room it stops reading, so that the queue fills where the sender can see it, until rx_more. A back end that has a
 * frame in memory already calls netdev_deliver. netdev_rx_flush ends a batch: one interrupt for all of it. A back end does a
 * bounded number of frames (NETDEV_TURN) in one go, and lets the loop see to others before it goes on.
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
#define NETDEV_FRAME_MIN 14      /* bytes: the Ethernet header */
#define NETDEV_FRAME_MAX 65550   /* bytes with the Ethernet header, without the vnet header: 64 KiB of segments to be cut */
#define NETDEV_HDR_MIN 10        /* bytes of a vnet header */
#define NETDEV_HDR_MAX 20
#define NETDEV_RX_IOV 64         /* entries that rx_room fills at most; a front end joins or limits its buffers to these */
#define NETDEV_TURN 64           /* frames that a back end reads before others have their turn */

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

/* A frame to be sent, `len` bytes with its header in `n` buffers. */
struct netdev_frame {
	const struct iovec *iov;
	size_t n, len;
};

/* The front end's side; called on the loop, from back ends by the netdev_ functions of the same names, which count. */
struct netdev_frontend_ops {
	/*
	 * Fills `iov` (NETDEV_RX_IOV entries) with buffers for one frame of up to `want` bytes, header included, and returns how many
	 * entries, for `want` bytes in all; 0: no room now, and rx_more follows when there is. Called again before rx_done it gives room anew, in place
	 * of the other.
	 */
	unsigned (*rx_room)(void *opaque, unsigned queue, size_t want, struct iovec *iov);
	/* A frame of `len` bytes, header included, is in what rx_room gave last. */
	void (*rx_done)(void *opaque, unsigned queue, size_t len);
	/* The batch is over. */
	void (*rx_flush)(void *opaque, unsigned queue);
	/* After -EAGAIN: go on sending. */
	void (*tx_ready)(void *opaque, unsigned queue);
	/* The back end's own link: a peer came or went, the host's interface is gone. nd->link_up says which it is. */
	void (*link)(void *opaque, bool up);
};

struct netdev_ops {
	const char *type; /* "tap" */
	/* 0 or -EAGAIN. Other failures are the back end's: it drops the frame, counts it (stats.tx_dropped), and returns 0. */
	int (*tx)(struct netdev *nd, unsigned queue, const struct iovec *iov, size_t n, size_t len);
	/*
	 * Several frames at once: returns how many it has taken, from the first on; tx_ready follows when that is not all. NULL: `tx` is called
	 * for each.
	 */
	unsigned (*tx_many)(struct netdev *nd, unsigned queue, const struct netdev_frame *frames, unsigned n);
	/* End of a batch of tx. NULL: nothing. */
	void (*flush)(struct netdev *nd, unsigned queue);
	/* Reading starts, stops (when the front end is reset or paused), goes on after rx_room gave nothing. */
	void (*rx_enable)(struct netdev *nd, bool on);
	void (*rx_more)(struct netdev *nd, unsigned queue);
	/*
	 * The guest's memory is to stay as it is, until `on` is false: room that a frame is being read into is left alone. NULL: none is kept
	 * between turns of the loop. Whoever asks for room meanwhile gets none.
	 */
	void (*rx_hold)(struct netdev *nd, bool on);
	/* 0 or -errno. NULL: nothing to set. */
	int (*set_offloads)(struct netdev *nd, const struct netdev_offloads *offloads);
	/* How many pairs are in use, 1 to nd->queues. 0 or -errno. NULL: one only. */
	int (*set_queues)(struct netdev *nd, unsigned queues);
	/* Its end; reading is off. Frees itself. */
	void (*close)(struct netdev *nd);
};

struct netdev_stats {
	uint64_t tx_frames, tx_bytes, rx_frames, rx_bytes, tx_dropped, rx_dropped; /* bytes without vnet headers; tx is from the guest */
};

/*
 * Rings that somebody else serves in the back end's place: the kernel's vhost-net. Frames then pass neither the front end nor the back end;
 * what is left to them is the control queue and the link.
 */
struct netdev_ring {
	void *desc, *avail, *used; /* host views of the rings, checked for their whole length */
	uint16_t size;
	uint16_t next;             /* the entry of the available ring that comes next */
	int kick_fd, call_fd;      /* eventfds: rung by the driver; raises the interrupt */
};

struct netdev_rings;

/* On the loop, but set_call. */
struct netdev_rings_ops {
	/* ring[0] receives, ring[1] sends. `features` are those that the driver chose. 0 or -errno, and then nothing of the pair runs. */
	int (*start)(struct netdev_rings *rings, unsigned pair, const struct netdev_ring ring[2], uint64_t features);
	/* Nothing touches the rings any more; `next` is where each has come to. */
	void (*stop)(struct netdev_rings *rings, unsigned pair, uint16_t next[2]);
	/* Another eventfd for interrupts from now on; when it returns, the old one is not written to any more. Any thread, while the pair runs. */
	int (*set_call)(struct netdev_rings *rings, unsigned pair, unsigned ring, int call_fd);
	void (*close)(struct netdev_rings *rings);
};

struct netdev_rings {
	const struct netdev_rings_ops *ops;
	uint64_t features; /* of virtio: what the driver may be offered of what is the rings' business */
	unsigned pairs;
	bool forced;       /* without it nothing is to work, rather than slowly */
};

/* Embedded in the back ends, and zeroed before netdev_init. */
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
	struct netdev_rings *rings; /* NULL: none; owned */
	/* netdev.c's: */
	bool rx_on;
};

/* For back ends, at their start and end: ops, a copy of the id, one queue, link up, offloads of none. -ENOMEM with `err`. */
int netdev_init(struct netdev *nd, const struct netdev_ops *ops, const char *id, struct eventloop *loop, struct err *err);
void netdev_fini(struct netdev *nd);

/* For the front end. One at a time; NULL ends it. */
void netdev_attach(struct netdev *nd, const struct netdev_frontend_ops *frontend, void *opaque);
/* 0 or -EAGAIN. A frame of a length that is no frame's is dropped and counted. */
int netdev_tx(struct netdev *nd, unsigned queue, const struct iovec *iov, size_t n, size_t len);
/* The same for several, with the flush. Returns how many are taken care of, from the first on; tx_ready follows when that is not all. */
unsigned netdev_tx_many(struct netdev *nd, unsigned queue, const struct netdev_frame *frames, unsigned n);
void netdev_flush(struct netdev *nd, unsigned queue);
void netdev_rx_enable(struct netdev *nd, bool on);
void netdev_rx_more(struct netdev *nd, unsigned queue);
void netdev_rx_hold(struct netdev *nd, bool on);
int netdev_set_offloads(struct netdev *nd, const struct netdev_offloads *offloads);
int netdev_set_queues(struct netdev *nd, unsigned queues);
/* Stops reading, closes, frees, on the device's loop if a thread runs it. NULL is fine. */
void netdev_close(struct netdev *nd);

/* For back ends: what the front end's functions of these names say. Without a front end, or with reading off, there is no room. */
unsigned netdev_rx_room(struct netdev *nd, unsigned queue, size_t want, struct iovec *iov);
void netdev_rx_done(struct netdev *nd, unsigned queue, size_t len);
void netdev_rx_flush(struct netdev *nd, unsigned queue);
void netdev_tx_ready(struct netdev *nd, unsigned queue);
/* Nothing when it is what it was. */
void netdev_link(struct netdev *nd, bool up);
/*
 * A frame in memory, without a vnet header; `hdr` of offloads.vnet_hdr_size bytes, or NULL for zeroes. False: no room, try after rx_more.
 * True also for a frame whose length is no frame's, which is dropped.
 */
bool netdev_deliver(struct netdev *nd, unsigned queue, const void *hdr, const void *frame, size_t len);

#endif
