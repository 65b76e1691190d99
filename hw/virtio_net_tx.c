/* SPDX-License-Identifier: MIT */
/*
 * virtio-net's transmit queues (Virtio 1.2, 5.1.6.2).
 *
 * Theory of operation
 *
 * A frame goes to the back end out of the guest's own buffers, its virtio_net_hdr in front: the back end was told how long that header is,
 * and what is in it is checked by whoever acts on it, which is the host's kernel. So nothing is copied here, and a chain is given back when
 * the back end has taken its bytes.
 *
 * Frames are taken from the ring by the batch. What the back end does not take stays at the front of the batch and keeps its place; nothing more is
 * popped, and the driver is not asked to ring, until tx_ready. A run sends VNET_RUN_FRAMES or VNET_RUN_BYTES at most, and posts the rest as work
 * behind whatever else the loop has to do. The driver is interrupted once a run.
 *
 * When the ring is empty, the driver is asked to ring again: for it that is an exit, and for the loop a waking. In a stream of frames that come
 * one by one the doorbell stays off instead, and the loop comes back by itself a few frames later (tx_defer, vmm/pace.h).
 *
 * With the link down, and on queues that the driver has not put to use, frames are taken and dropped, as by a card without a cable.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/virtio_net_priv.h"

#define VNET_RUN_FRAMES 256
#define VNET_RUN_BYTES (2 * MIB)

static struct virtq *tx_vq(struct vnet_tx *tx)
{
	return &tx->net->dev.queues[vnet_tx_index(tx->pair)].vq;
}

static void tx_go_on(void *opaque)
{
	vnet_tx_run(opaque);
}

int vnet_tx_init(struct virtio_net *net, unsigned pair, unsigned size)
{
	struct vnet_tx *tx = &net->tx[pair];

	tx->net = net;
	tx->pair = pair;
	tx->size = size;
	tx->more = (struct event_work){ .run = tx_go_on, .opaque = tx };
	tx->defer_timer = (struct event_timer){ .fire = tx_go_on, .opaque = tx };
	pace_reset(&tx->pace);
	/* A chain has at most as many buffers as the queue: with what is pending from before, one always fits into an empty batch. */
	tx->iov_max = 2 * size;
	tx->iovs = calloc(tx->iov_max, sizeof(*tx->iovs));
	return tx->iovs ? 0 : -ENOMEM;
}

void vnet_tx_fini(struct vnet_tx *tx)
{
	free(tx->iovs);
}

void vnet_tx_reset(struct vnet_tx *tx)
{
	eventloop_cancel_work(tx->net->dev.loop, &tx->more);
	eventloop_cancel(tx->net->dev.loop, &tx->defer_timer);
	pace_reset(&tx->pace);
	tx->n = tx->iov_end = 0;
	tx->bytes = 0;
	tx->blocked = false;
}

/* The batch: from the ring */

static bool tx_fits(const struct vnet_tx *tx)
{
	return tx->n < VNET_TX_BATCH && tx->bytes < VNET_TX_BATCH_BYTES && tx->iov_end + tx->size <= tx->iov_max;
}

/* Takes one frame. False: there is none. */
static bool tx_pop(struct vnet_tx *tx)
{
	struct virtio_dev *dev = &tx->net->dev;
	struct iovec *iov = tx->iovs + tx->iov_end;
	struct virtq_chain chain;
	int rc = virtq_pop(tx_vq(tx), &chain, iov, tx->iov_max - tx->iov_end);

	if (rc == -E2BIG)
		virtq_break(tx_vq(tx), "a chain of more buffers than the queue has descriptors");
	if (rc < 0)
		virtio_queue_broken(dev, vnet_tx_index(tx->pair));
	if (rc <= 0)
		return false;
	/* A length that is no frame's is dropped and counted by netdev_tx. */
	if (chain.out_len < tx->net->hdr_size + NETDEV_FRAME_MIN)
		log_guest(&dev->log, dev->name, "a frame of %u bytes with its header; dropped", chain.out_len);
	tx->frames[tx->n] = (struct netdev_frame){ .iov = iov, .n = chain.n_out, .len = chain.out_len };
	tx->heads[tx->n++] = chain.head;
	tx->bytes += chain.out_len;
	tx->iov_end += (unsigned)chain.n_out;
	return true;
}

/* Fills the batch. Returns whether the limits allow more. */
static bool tx_gather(struct vnet_tx *tx)
{
	struct vnet_limit *limit = &tx->net->tx_limit;

	while (tx_fits(tx)) {
		if (limit->on && !vnet_limit_open(tx->net, limit))
			return false;
		if (!tx_pop(tx))
			break;
		vnet_limit_count(limit, tx->frames[tx->n - 1].len);
	}
	return true;
}

/* The batch: to the back end */

/* What was not taken moves to the front, its buffers with it. */
static void tx_keep(struct vnet_tx *tx, unsigned done)
{
	unsigned at = (unsigned)(tx->frames[done].iov - tx->iovs);

	tx->n -= done;
	memmove(tx->heads, tx->heads + done, tx->n * sizeof(*tx->heads));
	memmove(tx->frames, tx->frames + done, tx->n * sizeof(*tx->frames));
	memmove(tx->iovs, tx->iovs + at, (tx->iov_end - at) * sizeof(*tx->iovs));
	tx->iov_end -= at;
	for (unsigned i = 0; i < tx->n; i++)
		tx->frames[i].iov -= at;
}

/* Returns how many frames are done with. */
static unsigned tx_send(struct vnet_tx *tx)
{
	struct virtio_net *net = tx->net;
	struct virtq *vq = tx_vq(tx);
	unsigned done = tx->n;

	if (net->link_up && tx->pair < net->pairs)
		done = netdev_tx_many(net->nd, tx->pair, tx->frames, tx->n);
	else
		net->nd->stats.tx_dropped += tx->n;
	if (done)
		virtio_expect_more(&net->dev, vnet_tx_index(tx->pair));
	for (unsigned i = 0; i < done; i++) {
		tx->bytes -= tx->frames[i].len;
		virtq_put(vq, tx->heads[i], 0);
	}
	virtq_publish(vq);
	if (done < tx->n) {
		tx_keep(tx, done);
		tx->blocked = true;
	} else {
		tx->n = tx->iov_end = 0;
	}
	return done;
}

/* The ring is empty. Whether the loop comes back to it by itself, instead of being rung for. */
static bool tx_defer(struct vnet_tx *tx, unsigned frames)
{
	int64_t delay = pace_next(&tx->pace, frames);

	if (delay)
		eventloop_arm(tx->net->dev.loop, &tx->defer_timer, now_ns() + delay);
	return delay;
}

/* Runs */

/*
 * One batch. Returns whether there may be more to send now; else the back end, a timer or the driver's doorbell says when to go on.
 */
static bool tx_step(struct vnet_tx *tx, unsigned *frames, size_t *bytes)
{
	struct virtq *vq = tx_vq(tx);
	bool open;

	virtq_doorbell_off(vq);
	open = tx_gather(tx);
	*bytes += tx->bytes;
	if (tx->n)
		*frames += tx_send(tx);
	else if (open && !vq->broken)
		return !tx_defer(tx, vq->polled ? 0 : *frames) && virtq_doorbell_on(vq);
	return open && !tx->blocked && !vq->broken;
}

void vnet_tx_run(struct vnet_tx *tx)
{
	struct virtio_net *net = tx->net;
	unsigned frames = 0;
	size_t bytes = 0;
	bool more = true;

	if (!net->running || net->paused || tx->blocked || tx_vq(tx)->cfg.size == 0)
		return;
	while (more && frames < VNET_RUN_FRAMES && bytes < VNET_RUN_BYTES)
		more = tx_step(tx, &frames, &bytes);
	if (frames)
		virtio_notify(&net->dev, vnet_tx_index(tx->pair));
	if (more)
		eventloop_post(net->dev.loop, &tx->more);
	else if (tx->blocked || tx->net->tx_limit.timer.armed)
		virtio_look_away(&net->dev, vnet_tx_index(tx->pair));
}

void vnet_tx_ready(void *opaque, unsigned pair)
{
	struct virtio_net *net = opaque;

	if (pair >= net->max_pairs || !net->tx[pair].blocked)
		return;
	net->tx[pair].blocked = false;
	vnet_tx_run(&net->tx[pair]);
}
