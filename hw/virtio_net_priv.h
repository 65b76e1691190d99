/* SPDX-License-Identifier: MIT */
/*
 * What the parts of virtio-net share: virtio_net.c is the device, virtio_net_tx.c and virtio_net_rx.c its queues, virtio_net_filter.c what it
 * receives, virtio_net_ctrl.c the control queue, virtio_net_limit.c the rates, virtio_net_rss.c hashes and receive-side scaling.
 *
 * Thread: everything on the device's loop, but for `config`, `mac` and what says so.
 */
#ifndef HW_VIRTIO_NET_PRIV_H
#define HW_VIRTIO_NET_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "hw/virtio.h"
#include "hw/virtio_net_regs.h"
#include "net/netdev.h"
#include "vmm/bucket.h"
#include "vmm/pace.h"

#define VNET_CTRL_QUEUE 64       /* entries */
#define VNET_FILTER_MACS 64      /* addresses in the table, of both kinds */
#define VNET_FILTER_VLANS 4096
#define VNET_FRAME_TOP 18        /* bytes of a frame that the filter looks at: addresses, type, VLAN tag */
#define VNET_TX_BATCH 64         /* frames that go to the back end at once */
#define VNET_TX_BATCH_BYTES (256 * KIB)

struct virtio_net;

/* What is received (5.1.6.5.1 to 5.1.6.5.3). */
struct vnet_filter {
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	bool uni_overflow, multi_overflow;
	uint8_t n_uni, n_multi;
	uint8_t macs[VNET_FILTER_MACS][6]; /* n_uni, then n_multi */
	unsigned n_vlans;
	bool vlans_on;                     /* the driver chose CTRL_VLAN */
	uint32_t vlans[VNET_FILTER_VLANS / 32];
};

/* A chain of a receive queue that waits for a frame. */
struct vnet_rx_buf {
	uint16_t head;
	uint16_t n;  /* entries from iovs[at] on */
	uint32_t at;
	uint32_t len; /* bytes */
};

struct vnet_rx {
	struct virtio_net *net;
	unsigned pair;
	unsigned size;             /* of the queue, a power of two */
	/* Chains taken from the ring, in order: a FIFO over `bufs`. Their entries stand one behind the other in `iovs`, up to `iov_end`. */
	struct vnet_rx_buf *bufs;
	unsigned first, n;
	struct iovec *iovs;
	unsigned iov_end, iov_max;
	uint8_t *spill;            /* where what is read goes behind what the guest's buffers take */
	size_t direct;             /* bytes of the last room that are guest memory; the spill is behind them */
	size_t held;               /* the length of a frame that waits for more buffers; 0: none */
	unsigned held_pair;        /* the queue whose buffers it waits for */
	struct event_timer held_timer; /* until it has waited long enough */
	unsigned whole_left;       /* so many frames more get room for the largest in guest memory: there was a long one lately */
	bool wants_bell;           /* the driver is asked to ring when there are buffers */
	bool unflushed;            /* the driver has yet to be told of a frame */
};

struct vnet_tx {
	struct virtio_net *net;
	unsigned pair;
	unsigned size;
	/* Taken from the ring and not sent yet; the entries of their buffers are in `iovs`. */
	struct netdev_frame frames[VNET_TX_BATCH];
	uint16_t heads[VNET_TX_BATCH];
	unsigned n;
	size_t bytes;
	struct iovec *iovs;
	unsigned iov_end, iov_max;
	bool blocked;              /* the back end is full: tx_ready follows */
	struct pace pace;          /* on: the doorbell is off, and the timer says when to look */
	struct event_timer defer_timer;
	struct event_work more;    /* goes on after others had their turn */
};

/* A direction's limits. */
struct vnet_limit {
	const struct virtio_net_limits *cfg;
	bool on;
	struct bucket bytes, frames;
	int64_t leaked_ns;
	struct event_timer timer;
};

/* Receive-side scaling and hash report (5.1.6.5.7), as the driver set it up. */
struct vnet_rss {
	bool steer, report;
	uint32_t types;
	uint16_t mask, unclassified;
	uint16_t table[VNET_RSS_TABLE];
	uint8_t key[VNET_RSS_KEY];
};

/* A data queue's interrupt while its ring is served elsewhere. */
struct vnet_call {
	struct virtio_net *net;
	unsigned q;
	struct event_fd own; /* the eventfd that the loop hands on; -1 without rings */
	int fd;              /* what is written to: own.fd, or the transport's; -1: nothing */
};

/* Data queues that are served elsewhere: virtio_net_rings.c. */
struct vnet_rings {
	bool on;          /* while active; the front end leaves the data queues alone */
	bool warned;
	unsigned pairs;   /* that there are */
	unsigned started; /* of them: all or, while the link is down, none; under the lock */
	pthread_mutex_t lock;
	struct vnet_call calls[2 * VIRTIO_NET_MAX_PAIRS];
};

struct virtio_net {
	struct virtio_dev dev;
	struct netdev *nd; /* borrowed */
	struct virtio_net_config cfg;
	unsigned max_pairs;
	struct vnet_rx *rx;
	struct vnet_tx *tx;

	/* While active: */
	bool running;
	unsigned pairs;     /* in use */
	unsigned ctrl;      /* the control queue's index; 0: none */
	unsigned hdr_size;  /* bytes in front of a frame */
	bool mergeable;
	bool clear_flags;   /* the driver does not want to hear of checksums */
	uint64_t offloads;  /* VNET_GUEST_OFFLOADS that are on */
	bool link_up;       /* both the cable's and the back end's */
	struct vnet_filter filter;
	struct vnet_rss rss;
	struct vnet_limit tx_limit, rx_limit;
	struct event_work ctrl_more;
	struct vnet_rings rings;

	bool paused;        /* the machine is: nothing touches the guest's memory */
	bool cable;         /* as virtio_net_set_link says */
	_Atomic uint64_t mac; /* as a number; written by the loop, and by vCPU threads of legacy drivers; read by the filter */
	pthread_mutex_t lock; /* config: written by the loop, and the address by vCPU threads; read by vCPU threads */
	struct vnet_config config;
};

/* virtio_net.c */
/* Changes bits of the configuration's status and tells the driver, where that is something new. */
void vnet_set_status(struct virtio_net *net, uint16_t set, uint16_t clear);
void vnet_set_mac(struct virtio_net *net, const uint8_t *mac);
/* -EINVAL: more than there are, or none. -errno of the back end. */
int vnet_set_pairs(struct virtio_net *net, unsigned pairs);
/* What the driver now accepts unfinished: bits of VNET_GUEST_OFFLOADS. */
int vnet_set_offloads(struct virtio_net *net, uint64_t offloads);

/* virtio_net_tx.c */
int vnet_tx_init(struct virtio_net *net, unsigned pair, unsigned size);
void vnet_tx_fini(struct vnet_tx *tx);
void vnet_tx_reset(struct vnet_tx *tx);
/* Sends what there is, as far as the back end, the limits and the loop's other users allow. */
void vnet_tx_run(struct vnet_tx *tx);
void vnet_tx_ready(void *opaque, unsigned pair);

/* virtio_net_rx.c */
int vnet_rx_init(struct virtio_net *net, unsigned pair, unsigned size);
void vnet_rx_fini(struct vnet_rx *rx);
void vnet_rx_reset(struct vnet_rx *rx);
/* The driver has given buffers. */
void vnet_rx_kick(struct vnet_rx *rx);
/* The clock that a frame is waited for stands still, or goes on from the beginning. */
void vnet_rx_pause(struct vnet_rx *rx, bool on);
unsigned vnet_rx_room(void *opaque, unsigned pair, size_t want, struct iovec *iov);
void vnet_rx_done(void *opaque, unsigned pair, size_t len);
void vnet_rx_flush(void *opaque, unsigned pair);

/* virtio_net_filter.c */
void vnet_filter_reset(struct virtio_net *net, bool vlans_on);
/* Whether the frame that begins with these bytes is for the guest. */
bool vnet_filter_pass(const struct virtio_net *net, const uint8_t top[VNET_FRAME_TOP]);
/* Without looking: everything is. */
static inline bool vnet_filter_open(const struct virtio_net *net)
{
	return net->filter.promisc;
}

/* virtio_net_ctrl.c */
void vnet_ctrl_run(struct virtio_net *net);

/* virtio_net_rings.c */
int vnet_rings_init(struct virtio_net *net, struct err *err);
void vnet_rings_fini(struct virtio_net *net);
/* Hands the data queues over if the back end has somebody who takes them. -errno: they are to be, and are not. */
int vnet_rings_activate(struct virtio_net *net);
/* Nobody touches them any more. */
void vnet_rings_deactivate(struct virtio_net *net);
/* Follows net->link_up and net->paused. */
void vnet_rings_link(struct virtio_net *net);
void vnet_irq_changed(struct virtio_dev *dev);

/* virtio_net_limit.c */
void vnet_limit_init(struct vnet_limit *l, const struct virtio_net_limits *cfg, void (*go_on)(void *opaque), void *opaque);
/* Whether a frame may go now; else go_on is called when one may. */
bool vnet_limit_open(struct virtio_net *net, struct vnet_limit *l);
void vnet_limit_count(struct vnet_limit *l, size_t bytes);

/* virtio_net_rss.c */
struct vnet_hash {
	uint32_t value;
	enum vnet_hash_report report;
};
/* Of a frame of which `len` bytes are at hand: VNET_RSS_TOP of them, if it has so many. */
#define VNET_RSS_TOP 192
struct vnet_hash vnet_rss_hash(const struct vnet_rss *rss, const uint8_t *frame, size_t len);
/* The pair whose receive queue such a frame goes to. */
unsigned vnet_rss_pair(const struct virtio_net *net, struct vnet_hash hash);
/* The arguments of the commands; VNET_CTRL_OK or VNET_CTRL_ERR. */
struct iov_cursor;
uint8_t vnet_rss_config(struct virtio_net *net, struct iov_cursor *c);
uint8_t vnet_hash_config(struct virtio_net *net, struct iov_cursor *c);

#endif
