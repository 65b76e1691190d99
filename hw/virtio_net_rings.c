/* SPDX-License-Identifier: MIT */
/*
 * virtio-net whose data queues are served by somebody else (netdev.h: netdev_rings; the kernel's vhost-net).
 *
 * A started pair gets the queues' doorbell eventfds, which the loop then leaves alone, and for each queue an eventfd to interrupt with. That is the one
 * behind the queue's MSI-X vector while the vector lets interrupts through, so that the kernel does all of it by itself. Else, with a masked
 * vector, INTx or MMIO, it is one of our own, which the loop hands on to the transport; that knows what a masked vector is. irq_changed comes, in
 * a vCPU thread, whenever the guest changes that, and returns when the old eventfd is out of use: no interrupt follows a mask. One that was on
 * its way through our own arrives all the same, perhaps after others; interrupts may be one too many.
 *
 * Lock: `rings.lock` keeps starts and stops, on the loop, from changes of vectors; MSI-X's lock comes after it.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hw/virtio_net_priv.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define PAIR(q) ((q) / 2)
#define WHICH(q) ((q) % 2) /* 0 receives, as in the device's order of queues */

static void call_ready(void *opaque, uint32_t revents)
{
	struct vnet_call *call = opaque;
	struct virtio_dev *dev = &call->net->dev;
	uint64_t count;

	(void)revents;
	if (read(call->own.fd, &count, sizeof(count)) == sizeof(count) && dev->active)
		dev->transport_ops->notify_queue(dev->transport, call->q);
}

static int call_fd(const struct vnet_call *call)
{
	const struct virtio_dev *dev = &call->net->dev;
	int fd = dev->transport_ops->queue_irqfd ? dev->transport_ops->queue_irqfd(dev->transport, call->q) : -1;

	return fd >= 0 ? fd : call->own.fd;
}

int vnet_rings_init(struct virtio_net *net, struct err *err)
{
	struct vnet_rings *r = &net->rings;

	pthread_mutex_init(&r->lock, NULL);
	for (unsigned q = 0; q < ARRAY_SIZE(r->calls); q++)
		r->calls[q] = (struct vnet_call){
			.net = net,
			.q = q,
			.fd = -1,
			.own = { .fd = -1, .ready = call_ready, .opaque = &r->calls[q] },
		};
	for (unsigned q = 0; net->nd->rings && q < 2 * net->max_pairs; q++) {
		r->calls[q].own.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (r->calls[q].own.fd < 0)
			return err_set_errno(err, -errno, "%s: cannot create an eventfd", net->cfg.id);
	}
	return 0;
}

void vnet_rings_fini(struct virtio_net *net)
{
	for (unsigned q = 0; q < ARRAY_SIZE(net->rings.calls); q++)
		fd_close(&net->rings.calls[q].own.fd);
	pthread_mutex_destroy(&net->rings.lock);
}

/* Under the lock. */
static int pair_start(struct virtio_net *net, unsigned pair)
{
	struct vnet_call *calls = &net->rings.calls[2 * pair];
	struct netdev_ring ring[2];
	uint64_t one = 1;
	int rc = 0;

	for (unsigned i = 0; i < 2; i++) {
		const struct virtq *vq = &net->dev.queues[2 * pair + i].vq;

		/* virtq_init has checked the rings, and guest memory is the guest's to write: const is what we do ourselves. */
		ring[i] = (struct netdev_ring){
			.desc = (void *)(uintptr_t)vq->desc,
			.avail = vq->avail,
			.used = vq->used,
			.size = vq->cfg.size,
			.next = vq->next_avail,
			.kick_fd = net->dev.queues[2 * pair + i].bell.fd,
			.call_fd = call_fd(&calls[i]),
		};
	}
	for (unsigned i = 0; rc == 0 && i < 2; i++)
		rc = eventloop_add_fd(net->dev.loop, &calls[i].own, EPOLLIN);
	if (rc == 0)
		rc = net->nd->rings->ops->start(net->nd->rings, pair, ring, net->dev.chosen);
	for (unsigned i = 0; i < 2; i++) {
		if (rc < 0) {
			eventloop_del_fd(net->dev.loop, &calls[i].own);
			continue;
		}
		calls[i].fd = ring[i].call_fd;
		/* Of what was made available before nobody else tells. */
		(void)!write(ring[i].kick_fd, &one, sizeof(one));
	}
	return rc;
}

/* Under the lock. */
static void pair_stop(struct virtio_net *net, unsigned pair)
{
	uint16_t next[2] = { net->dev.queues[2 * pair].vq.next_avail, net->dev.queues[2 * pair + 1].vq.next_avail };

	net->nd->rings->ops->stop(net->nd->rings, pair, next);
	for (unsigned i = 0; i < 2; i++) {
		struct vnet_call *call = &net->rings.calls[2 * pair + i];

		net->dev.queues[2 * pair + i].vq.next_avail = next[i];
		eventloop_del_fd(net->dev.loop, &call->own);
		call->fd = -1;
	}
}

static void rings_stop(struct virtio_net *net)
{
	pthread_mutex_lock(&net->rings.lock);
	while (net->rings.started)
		pair_stop(net, --net->rings.started);
	pthread_mutex_unlock(&net->rings.lock);
}

static int rings_start(struct virtio_net *net)
{
	struct vnet_rings *r = &net->rings;
	int rc = 0;

	pthread_mutex_lock(&r->lock);
	while (rc == 0 && r->started < r->pairs) {
		rc = pair_start(net, r->started);
		if (rc == 0)
			r->started++;
	}
	pthread_mutex_unlock(&r->lock);
	if (rc < 0)
		rings_stop(net);
	return rc;
}

/* Both queues of a pair are there, and of those before it. */
static unsigned usable_pairs(const struct virtio_net *net)
{
	unsigned most = net->ctrl ? net->ctrl / 2 : net->max_pairs, n = 0;

	while (n < most && net->dev.queues[2 * n].vq.cfg.size && net->dev.queues[2 * n + 1].vq.cfg.size)
		n++;
	return n;
}

/* The loop's own part in the data queues ends, or begins. */
static void bells_take(struct virtio_net *net, bool take)
{
	for (unsigned q = 0; q < 2 * net->rings.pairs; q++) {
		struct event_fd *bell = &net->dev.queues[q].bell;
		int rc = 0;

		if (!take)
			rc = eventloop_add_fd(net->dev.loop, bell, EPOLLIN);
		else
			eventloop_del_fd(net->dev.loop, bell);
		if (rc < 0)
			log_error("%s: queue %u has no doorbell: %s", net->cfg.id, q, strerror(-rc));
	}
}

int vnet_rings_activate(struct virtio_net *net)
{
	struct vnet_rings *r = &net->rings;
	int rc;

	r->pairs = net->nd->rings ? usable_pairs(net) : 0;
	if (r->pairs == 0)
		return 0;
	bells_take(net, true);
	rc = net->link_up && !net->paused ? rings_start(net) : 0;
	r->on = rc == 0;
	if (r->on)
		return 0;
	bells_take(net, false);
	if (net->nd->rings->forced)
		return rc;
	if (!r->warned)
		log_warn("netdev '%s': vhost-net does not take the rings: %s; Kite serves them itself", net->nd->id, strerror(-rc));
	r->warned = true;
	return 0;
}

void vnet_rings_deactivate(struct virtio_net *net)
{
	rings_stop(net);
	net->rings.on = false;
}

void vnet_rings_link(struct virtio_net *net)
{
	int rc;

	if (!net->rings.on)
		return;
	if (!net->link_up || net->paused) {
		rings_stop(net);
		return;
	}
	rc = rings_start(net);
	if (rc < 0)
		log_error("netdev '%s': vhost-net does not go on: %s", net->nd->id, strerror(-rc));
}

void vnet_irq_changed(struct virtio_dev *dev)
{
	struct virtio_net *net = CONTAINER_OF(dev, struct virtio_net, dev);
	struct vnet_rings *r = &net->rings;

	pthread_mutex_lock(&r->lock);
	for (unsigned q = 0; q < 2 * r->started; q++) {
		struct vnet_call *call = &r->calls[q];
		int fd = call_fd(call), rc;

		if (fd == call->fd)
			continue;
		rc = net->nd->rings->ops->set_call(net->nd->rings, PAIR(q), WHICH(q), fd);
		if (rc < 0)
			log_error("netdev '%s': vhost-net does not take an eventfd: %s", net->nd->id, strerror(-rc));
		else
			call->fd = fd;
	}
	pthread_mutex_unlock(&r->lock);
}
