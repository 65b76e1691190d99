/* SPDX-License-Identifier: MIT */
/*
 * What all back ends have in common: the way from the front end to the back end and back, with the checks that none of them should have to
 * make, and the counting.
 */
#include "net/netdev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/iov.h"
#include "vmm/util.h"

int netdev_init(struct netdev *nd, const struct netdev_ops *ops, const char *id, struct eventloop *loop, struct err *err)
{
	nd->id = strdup(id);
	if (!nd->id)
		return err_set_errno(err, -ENOMEM, "netdev '%s'", id);
	nd->ops = ops;
	nd->loop = loop;
	nd->queues = 1;
	nd->link_up = true;
	nd->offloads = (struct netdev_offloads){ .vnet_hdr_size = NETDEV_HDR_MIN };
	return 0;
}

void netdev_fini(struct netdev *nd)
{
	free(nd->id);
	nd->id = NULL;
}

void netdev_attach(struct netdev *nd, const struct netdev_frontend_ops *frontend, void *opaque)
{
	nd->frontend = frontend;
	nd->opaque = opaque;
}

/* Sending */

static bool frame_length_ok(const struct netdev *nd, size_t len)
{
	size_t hdr = nd->offloads.vnet_hdr_size;

	return len >= hdr + NETDEV_FRAME_MIN && len <= hdr + NETDEV_FRAME_MAX;
}

static void count_tx(struct netdev *nd, size_t len)
{
	nd->stats.tx_frames++;
	nd->stats.tx_bytes += len - nd->offloads.vnet_hdr_size;
}

int netdev_tx(struct netdev *nd, unsigned queue, const struct iovec *iov, size_t n, size_t len)
{
	uint64_t dropped = nd->stats.tx_dropped;
	int rc;

	if (!frame_length_ok(nd, len)) {
		nd->stats.tx_dropped++;
		return 0;
	}
	rc = nd->ops->tx(nd, queue, iov, n, len);
	if (rc == 0 && nd->stats.tx_dropped == dropped)
		count_tx(nd, len);
	return rc;
}

/* How many of the first frames are of a good length. */
static unsigned frames_good(const struct netdev *nd, const struct netdev_frame *frames, unsigned n)
{
	unsigned i = 0;

	while (i < n && frame_length_ok(nd, frames[i].len))
		i++;
	return i;
}

/* The frames are good ones. */
static unsigned tx_run(struct netdev *nd, unsigned queue, const struct netdev_frame *frames, unsigned n)
{
	uint64_t dropped = nd->stats.tx_dropped;
	unsigned taken = nd->ops->tx_many(nd, queue, frames, n);

	for (unsigned i = 0; i < taken; i++)
		count_tx(nd, frames[i].len);
	/* Those that were dropped are not known one by one; bytes are then a little high, frames are right. */
	nd->stats.tx_frames -= nd->stats.tx_dropped - dropped;
	return taken;
}

unsigned netdev_tx_many(struct netdev *nd, unsigned queue, const struct netdev_frame *frames, unsigned n)
{
	unsigned done = 0;

	while (done < n) {
		unsigned good, taken;

		if (!nd->ops->tx_many) {
			if (netdev_tx(nd, queue, frames[done].iov, frames[done].n, frames[done].len) == -EAGAIN)
				break;
			done++;
			continue;
		}
		good = frames_good(nd, frames + done, n - done);
		taken = good ? tx_run(nd, queue, frames + done, good) : 0;
		done += taken;
		if (taken < good)
			break;
		if (done < n) { /* what ended the run is no frame */
			nd->stats.tx_dropped++;
			done++;
		}
	}
	netdev_flush(nd, queue);
	return done;
}

void netdev_flush(struct netdev *nd, unsigned queue)
{
	if (nd->ops->flush)
		nd->ops->flush(nd, queue);
}

/* Settings */

void netdev_rx_enable(struct netdev *nd, bool on)
{
	if (nd->rx_on == on)
		return;
	nd->rx_on = on;
	nd->ops->rx_enable(nd, on);
}

void netdev_rx_more(struct netdev *nd, unsigned queue)
{
	if (nd->rx_on)
		nd->ops->rx_more(nd, queue);
}

void netdev_rx_hold(struct netdev *nd, bool on)
{
	if (nd->ops->rx_hold)
		nd->ops->rx_hold(nd, on);
}

int netdev_set_offloads(struct netdev *nd, const struct netdev_offloads *offloads)
{
	int rc;

	if (offloads->vnet_hdr_size < NETDEV_HDR_MIN || offloads->vnet_hdr_size > NETDEV_HDR_MAX || (offloads->guest & ~nd->caps))
		return -EINVAL;
	rc = nd->ops->set_offloads ? nd->ops->set_offloads(nd, offloads) : 0;
	if (rc == 0)
		nd->offloads = *offloads;
	return rc;
}

int netdev_set_queues(struct netdev *nd, unsigned queues)
{
	if (queues < 1 || queues > nd->queues)
		return -EINVAL;
	return nd->ops->set_queues ? nd->ops->set_queues(nd, queues) : 0;
}

static void close_on_loop(void *arg)
{
	struct netdev *nd = arg;

	netdev_rx_enable(nd, false);
	if (nd->rings)
		nd->rings->ops->close(nd->rings);
	nd->ops->close(nd);
}

void netdev_close(struct netdev *nd)
{
	if (nd)
		eventloop_call_sync(nd->loop, close_on_loop, nd);
}

/* Receiving */

unsigned netdev_rx_room(struct netdev *nd, unsigned queue, size_t want, struct iovec *iov)
{
	if (!nd->frontend || !nd->rx_on)
		return 0;
	return nd->frontend->rx_room(nd->opaque, queue, want, iov);
}

void netdev_rx_done(struct netdev *nd, unsigned queue, size_t len)
{
	if (!frame_length_ok(nd, len)) {
		nd->stats.rx_dropped++;
		return;
	}
	nd->stats.rx_frames++;
	nd->stats.rx_bytes += len - nd->offloads.vnet_hdr_size;
	nd->frontend->rx_done(nd->opaque, queue, len);
}

void netdev_rx_flush(struct netdev *nd, unsigned queue)
{
	if (nd->frontend)
		nd->frontend->rx_flush(nd->opaque, queue);
}

void netdev_tx_ready(struct netdev *nd, unsigned queue)
{
	if (nd->frontend)
		nd->frontend->tx_ready(nd->opaque, queue);
}

void netdev_link(struct netdev *nd, bool up)
{
	if (nd->link_up == up)
		return;
	nd->link_up = up;
	if (nd->frontend)
		nd->frontend->link(nd->opaque, up);
}

bool netdev_deliver(struct netdev *nd, unsigned queue, const void *hdr, const void *frame, size_t len)
{
	static const unsigned char zeroes[NETDEV_HDR_MAX];
	size_t hdr_size = nd->offloads.vnet_hdr_size;
	struct iovec iov[NETDEV_RX_IOV];
	struct iov_cursor to;
	unsigned n;

	if (!frame_length_ok(nd, hdr_size + len)) {
		nd->stats.rx_dropped++;
		return true;
	}
	n = netdev_rx_room(nd, queue, hdr_size + len, iov);
	if (n == 0)
		return false;
	iov_cursor_init(&to, iov, n);
	iov_cursor_write(&to, hdr ? hdr : zeroes, hdr_size);
	if (iov_cursor_write(&to, frame, len) == len)
		netdev_rx_done(nd, queue, hdr_size + len);
	else
		nd->stats.rx_dropped++;
	return true;
}
