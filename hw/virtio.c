/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * Two mutexes and the loop's thread:
 *
 *  - `transition` is held by the vCPU thread that changes the status, from the first check to the end. So two of them cannot activate
 *    and reset at the same time. The loop's thread never takes it: its holder may be waiting for the loop.
 *  - `lock` guards the registers. It is held for short, never while waiting for the loop, so the loop's thread may take it.
 *
 * A vCPU's write of DRIVER_OK:  transition { lock { check; started = true } → call_sync: virtq_init, ops->activate, bells onto the loop
 *                               → lock { bind doorbells, ring each once } }
 * One that comes while the transport may not access memory (virtio_set_mastering) stops after the check, and goes on when it may.
 * A write of 0:                 transition { lock { unbind doorbells } → call_sync: bells off the loop, ops->deactivate
 *                               → lock { registers to power-on; status reads 0 from here } }
 *
 * `started` freezes the queue registers (no write to them after it is set under the lock), so the loop reads them without the lock.
 *
 * No interrupt follows a reset. virtio_notify runs on the loop and asks `active`, which only the loop's thread writes: after
 * deactivate it is false, and virtio_notify cannot be in the middle of something, being on the same thread. Changes of the
 * configuration come from any thread, and interrupt under the lock, with `started` checked.
 *
 * A kick is a write to a queue's eventfd, by KVM or by virtio_kick, at any time. One that comes during a reset stays in the eventfd and is
 * taken for one at the next activation, which rings each queue anyway. None is lost on the way to being bound: until then it is an
 * exit, and lands in the same eventfd.
 */
#include "hw/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hw/virtio_transport.h"
#include "vmm/err.h"
#include "vmm/util.h"

/* What the core offers for every device: section 6. */
#define CORE_FEATURES (VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
/* Bits that belong to device types: 0 to 23, and from 50 on. */
#define DEVICE_FEATURES ((BIT64(24) - 1) | ~(BIT64(50) - 1))

/* Creation */

static void queue_kick(void *opaque)
{
	struct virtio_queue *queue = opaque;
	struct virtio_dev *dev = queue->dev;

	dev->ops->kick(dev, (unsigned)(queue - dev->queues));
}

static void bell_ready(void *opaque, uint32_t revents)
{
	struct virtio_queue *queue = opaque;
	struct virtio_dev *dev = queue->dev;
	uint64_t count;

	(void)revents;
	/* How often it rang does not matter. */
	if (read(queue->bell.fd, &count, sizeof(count)) != sizeof(count))
		return;
	if (dev->poll_queues && !(dev->unpolled & BIT64(queue - dev->queues)))
		virtq_polled(&queue->vq, eventloop_poll_start(dev->loop, &queue->poll, true));
	queue_kick(queue);
}

static bool queue_has_more(void *opaque)
{
	const struct virtio_queue *queue = opaque;

	return virtq_has_more(&queue->vq);
}

static bool queue_rest(void *opaque)
{
	struct virtio_queue *queue = opaque;

	virtq_polled(&queue->vq, false);
	return virtq_doorbell_on(&queue->vq);
}

static void queue_reset(struct virtio_queue *queue)
{
	queue->enabled = false;
	queue->set = (struct virtq_config){ .size = queue->size_max };
}

int virtio_dev_init(struct virtio_dev *dev, const uint16_t *queue_sizes, unsigned n_queues, struct err *err)
{
	if (n_queues == 0 || n_queues > VIRTIO_MAX_QUEUES)
		return err_set(err, -EINVAL, "%s: %u queues, expected 1 to %d", dev->name, n_queues, VIRTIO_MAX_QUEUES);
	dev->queues = calloc(n_queues, sizeof(*dev->queues));
	if (!dev->queues)
		return err_set(err, -ENOMEM, "%s: not enough memory on the host", dev->name);
	pthread_mutex_init(&dev->transition, NULL);
	pthread_mutex_init(&dev->lock, NULL);
	dev->log = (struct log_limit)LOG_LIMIT_INIT;
	for (dev->n_queues = 0; dev->n_queues < n_queues; dev->n_queues++) {
		struct virtio_queue *queue = &dev->queues[dev->n_queues];
		uint16_t size = queue_sizes[dev->n_queues];
		int rc = 0;

		if (size == 0 || size > VIRTQ_SIZE_MAX || (size & (size - 1)))
			rc = err_set(err, -EINVAL, "%s: a queue of %u entries; give a power of two up to %d", dev->name, size,
				     VIRTQ_SIZE_MAX);
		queue->dev = dev;
		queue->size_max = size;
		queue->bell = (struct event_fd){ .fd = -1, .ready = bell_ready, .opaque = queue };
		queue->poll = (struct event_poll){ .ready = queue_has_more, .serve = queue_kick, .rest = queue_rest, .opaque = queue };
		queue_reset(queue);
		if (rc == 0)
			queue->bell.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (rc == 0 && queue->bell.fd < 0)
			rc = err_set_errno(err, -errno, "%s: cannot create an eventfd", dev->name);
		if (rc < 0) {
			virtio_dev_fini(dev);
			return rc;
		}
	}
	return 0;
}

void virtio_dev_fini(struct virtio_dev *dev)
{
	for (unsigned q = 0; q < dev->n_queues; q++)
		fd_close(&dev->queues[q].bell.fd);
	free(dev->queues);
	dev->queues = NULL;
	dev->n_queues = 0;
	pthread_mutex_destroy(&dev->lock);
	pthread_mutex_destroy(&dev->transition);
}

/* Features */

uint64_t virtio_offered(struct virtio_dev *dev, bool legacy)
{
	uint64_t features = (dev->ops->features(dev) & DEVICE_FEATURES) | CORE_FEATURES;

	/* Legacy: 32 bits, and devices here take buffers of any layout (6.3: not offered to modern drivers, for whom it is a rule). */
	return legacy ? (uint32_t)(features | VIRTIO_F_ANY_LAYOUT) : (features & ~dev->legacy_only) | VIRTIO_F_VERSION_1;
}

static void choose_locked(struct virtio_dev *dev, uint64_t features)
{
	if (dev->started || (dev->status & VIRTIO_STATUS_FEATURES_OK)) {
		if (features != dev->chosen)
			log_guest(&dev->log, dev->name, "features chosen again after they were settled; ignored");
		return;
	}
	dev->chosen = dev->legacy ? features & virtio_offered(dev, true) : features;
}

void virtio_choose(struct virtio_dev *dev, uint64_t features)
{
	pthread_mutex_lock(&dev->lock);
	choose_locked(dev, features);
	pthread_mutex_unlock(&dev->lock);
}

uint32_t virtio_offered_half(struct virtio_dev *dev, uint32_t select, bool legacy)
{
	return select < 2 ? (uint32_t)(virtio_offered(dev, legacy) >> (32 * select)) : 0;
}

uint32_t virtio_chosen_half(struct virtio_dev *dev, uint32_t select)
{
	return select < 2 ? (uint32_t)(dev->chosen >> (32 * select)) : 0;
}

void virtio_choose_half(struct virtio_dev *dev, uint32_t select, uint32_t bits)
{
	uint64_t mask;

	if (select >= 2) {
		if (bits)
			log_guest(&dev->log, dev->name, "features beyond bit 63 do not exist; ignored");
		return;
	}
	mask = UINT64_C(0xffffffff) << (32 * select);
	choose_locked(dev, (dev->chosen & ~mask) | (uint64_t)bits << (32 * select));
}

void virtio_use_legacy(struct virtio_dev *dev)
{
	if (!(dev->status & VIRTIO_STATUS_FEATURES_OK))
		dev->legacy = true;
}

/* 2.2.2, 6.1: only what is offered, and VERSION_1, without which nothing here means what it says. */
static bool features_acceptable(struct virtio_dev *dev)
{
	uint64_t unknown = dev->chosen & ~virtio_offered(dev, false);

	if (unknown)
		log_guest(&dev->log, dev->name, "the driver chose features that are not offered (0x%jx); refused", (uintmax_t)unknown);
	else if (!(dev->chosen & VIRTIO_F_VERSION_1))
		log_guest(&dev->log, dev->name, "the driver did not choose VERSION_1; refused");
	return !unknown && (dev->chosen & VIRTIO_F_VERSION_1);
}

/* Activation and its end */

struct transition_call {
	struct virtio_dev *dev;
	int rc;
};

static int queues_hand_over(struct virtio_dev *dev)
{
	for (unsigned q = 0; q < dev->n_queues; q++) {
		struct virtio_queue *queue = &dev->queues[q];
		int rc;

		if (!queue->enabled) {
			memset(&queue->vq, 0, sizeof(queue->vq));
			continue;
		}
		queue->set.indirect = virtio_has(dev, VIRTIO_F_INDIRECT_DESC);
		queue->set.event_idx = virtio_has(dev, VIRTIO_F_EVENT_IDX);
		rc = virtq_init(&queue->vq, dev->mem, &queue->set);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void polls_stop(struct virtio_dev *dev)
{
	for (unsigned q = 0; q < dev->n_queues; q++)
		eventloop_poll_stop(dev->loop, &dev->queues[q].poll);
}

static void bells_detach(struct virtio_dev *dev)
{
	for (unsigned q = 0; q < dev->n_queues; q++)
		eventloop_del_fd(dev->loop, &dev->queues[q].bell);
	polls_stop(dev);
}

static int bells_attach(struct virtio_dev *dev)
{
	for (unsigned q = 0; q < dev->n_queues; q++) {
		int rc = dev->queues[q].enabled ? eventloop_add_fd(dev->loop, &dev->queues[q].bell, EPOLLIN) : 0;

		if (rc < 0) {
			bells_detach(dev);
			return rc;
		}
	}
	return 0;
}

static void set_active(struct virtio_dev *dev, bool active)
{
	pthread_mutex_lock(&dev->lock);
	dev->active = active;
	pthread_mutex_unlock(&dev->lock);
}

static void activate_on_loop(void *arg)
{
	struct transition_call *call = arg;
	struct virtio_dev *dev = call->dev;

	call->rc = queues_hand_over(dev);
	if (call->rc == 0)
		call->rc = bells_attach(dev);
	if (call->rc < 0)
		return;
	set_active(dev, true); /* the device may notify from inside activate */
	call->rc = dev->ops->activate(dev, dev->chosen);
	if (call->rc < 0) {
		set_active(dev, false);
		bells_detach(dev);
	}
}

static void deactivate_on_loop(void *arg)
{
	struct transition_call *call = arg;
	struct virtio_dev *dev = call->dev;

	if (!dev->active)
		return;
	bells_detach(dev);
	dev->ops->deactivate(dev);
	polls_stop(dev); /* what it completed may have begun new looks */
	set_active(dev, false);
}

/* Under the lock. 2.1.2: with an interrupt, if the driver is at work. */
static void needs_reset(struct virtio_dev *dev)
{
	if (!dev->started || (dev->status & VIRTIO_STATUS_NEEDS_RESET))
		return;
	dev->status |= VIRTIO_STATUS_NEEDS_RESET;
	dev->transport_ops->notify_config(dev->transport);
}

void virtio_kick_all(struct virtio_dev *dev)
{
	uint64_t one = 1;

	/* A write can fail only when the counter is at its maximum, and then it rings anyway. */
	for (unsigned q = 0; q < dev->n_queues; q++)
		if (dev->queues[q].enabled)
			(void)!write(dev->queues[q].bell.fd, &one, sizeof(one));
}

/* With `transition` held, `started` set. */
static void dev_activate(struct virtio_dev *dev)
{
	struct transition_call call = { .dev = dev };

	eventloop_call_sync(dev->loop, activate_on_loop, &call);
	pthread_mutex_lock(&dev->lock);
	if (call.rc < 0) {
		log_guest(&dev->log, dev->name, "cannot start: %s", strerror(-call.rc));
		needs_reset(dev);
	} else {
		if (dev->transport_ops->doorbells)
			dev->transport_ops->doorbells(dev->transport, true);
		/* Buffers that were made available before are not announced again. */
		virtio_kick_all(dev);
	}
	pthread_mutex_unlock(&dev->lock);
}

/* With `transition` held, `started` set. Afterwards nothing is at work. */
static void dev_deactivate(struct virtio_dev *dev)
{
	struct transition_call call = { .dev = dev };

	pthread_mutex_lock(&dev->lock);
	if (dev->transport_ops->doorbells)
		dev->transport_ops->doorbells(dev->transport, false);
	pthread_mutex_unlock(&dev->lock);
	eventloop_call_sync(dev->loop, deactivate_on_loop, &call);
}

/* With `transition` held. Status reads 0 only when nothing is at work any more (2.4). */
static void dev_reset(struct virtio_dev *dev)
{
	if (dev->started)
		dev_deactivate(dev);
	pthread_mutex_lock(&dev->lock);
	for (unsigned q = 0; q < dev->n_queues; q++)
		queue_reset(&dev->queues[q]);
	dev->status = 0;
	dev->chosen = 0;
	dev->legacy = false;
	dev->started = false;
	if (dev->transport_ops->reset)
		dev->transport_ops->reset(dev->transport);
	pthread_mutex_unlock(&dev->lock);
}

void virtio_set_mastering(struct virtio_dev *dev, bool on)
{
	bool start, stop;

	pthread_mutex_lock(&dev->transition);
	pthread_mutex_lock(&dev->lock);
	dev->barred = !on;
	start = on && dev->started && !dev->active && !(dev->status & VIRTIO_STATUS_NEEDS_RESET);
	stop = !on && dev->active;
	pthread_mutex_unlock(&dev->lock);
	if (start)
		dev_activate(dev);
	if (stop) {
		dev_deactivate(dev);
		pthread_mutex_lock(&dev->lock);
		log_guest(&dev->log, dev->name, "bus mastering was switched off while the device was in use; it needs a reset");
		needs_reset(dev);
		pthread_mutex_unlock(&dev->lock);
	}
	pthread_mutex_unlock(&dev->transition);
}

/* Status */

/* Under the lock. The bits that the driver newly gets of those it wrote (2.1.1, 3.1.1). */
static uint8_t status_accept(struct virtio_dev *dev, uint8_t written)
{
	uint8_t fresh = written & ~dev->status & ~VIRTIO_STATUS_NEEDS_RESET;

	/* Some legacy drivers write the last bit only. */
	if (!dev->legacy && (dev->status & ~written & ~VIRTIO_STATUS_NEEDS_RESET))
		log_guest(&dev->log, dev->name, "status 0x%02x written over 0x%02x: only a reset clears bits", written, dev->status);
	fresh &= VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FEATURES_OK |
		 VIRTIO_STATUS_FAILED;
	if (dev->legacy)
		return fresh & ~VIRTIO_STATUS_FEATURES_OK; /* it has none */
	if ((fresh & VIRTIO_STATUS_FEATURES_OK) && !features_acceptable(dev))
		fresh &= ~VIRTIO_STATUS_FEATURES_OK;
	if ((fresh & VIRTIO_STATUS_DRIVER_OK) && !((dev->status | fresh) & VIRTIO_STATUS_FEATURES_OK)) {
		log_guest(&dev->log, dev->name, "DRIVER_OK before FEATURES_OK; refused");
		fresh &= ~VIRTIO_STATUS_DRIVER_OK;
	}
	return fresh;
}

/* With `transition` held. */
static void status_write(struct virtio_dev *dev, uint8_t written)
{
	bool start;
	uint8_t fresh;

	pthread_mutex_lock(&dev->lock);
	fresh = status_accept(dev, written);
	start = (fresh & VIRTIO_STATUS_DRIVER_OK) && !dev->started;
	dev->status |= fresh;
	dev->started |= start;
	start = start && !dev->barred;
	pthread_mutex_unlock(&dev->lock);
	if (start)
		dev_activate(dev);
}

void virtio_set_status(struct virtio_dev *dev, uint8_t status)
{
	pthread_mutex_lock(&dev->transition);
	if (status)
		status_write(dev, status);
	else
		dev_reset(dev);
	pthread_mutex_unlock(&dev->transition);
}

uint8_t virtio_get_status(struct virtio_dev *dev)
{
	uint8_t status;

	pthread_mutex_lock(&dev->lock);
	status = dev->status;
	pthread_mutex_unlock(&dev->lock);
	return status;
}

/* Queue registers */

struct virtio_queue *virtio_queue_at(struct virtio_dev *dev, unsigned q)
{
	return q < dev->n_queues ? &dev->queues[q] : NULL;
}

struct virtio_queue *virtio_queue_writable(struct virtio_dev *dev, unsigned q)
{
	struct virtio_queue *queue = virtio_queue_at(dev, q);

	if (queue && !queue->enabled && !dev->started)
		return queue;
	if (!queue)
		log_guest(&dev->log, dev->name, "there is no queue %u", q);
	else
		log_guest(&dev->log, dev->name, "queue %u cannot be changed while it is in use", q);
	return NULL;
}

void virtio_queue_set_size(struct virtio_dev *dev, unsigned q, uint32_t size)
{
	struct virtio_queue *queue = virtio_queue_writable(dev, q);

	if (!queue)
		return;
	if (size == 0 || size > queue->size_max || (size & (size - 1)))
		log_guest(&dev->log, dev->name, "queue %u: size %u refused; a power of two up to %u is allowed", q, size, queue->size_max);
	else
		queue->set.size = (uint16_t)size;
}

void virtio_queue_enable(struct virtio_dev *dev, unsigned q)
{
	struct virtio_queue *queue = virtio_queue_writable(dev, q);
	struct virtq probe;

	if (!queue)
		return;
	queue->set.event_idx = virtio_has(dev, VIRTIO_F_EVENT_IDX);
	if (virtq_init(&probe, dev->mem, &queue->set) < 0) {
		log_guest(&dev->log, dev->name, "queue %u: rings at 0x%jx, 0x%jx, 0x%jx are misaligned or outside memory", q,
			  (uintmax_t)queue->set.desc, (uintmax_t)queue->set.avail, (uintmax_t)queue->set.used);
		return;
	}
	queue->enabled = true;
}

/* Doorbells */

/* A legacy driver that uses a queue before DRIVER_OK (3.1.2), as Linux did until 3.18 to read partition tables. */
static void legacy_start(struct virtio_dev *dev)
{
	bool start;

	pthread_mutex_lock(&dev->transition);
	pthread_mutex_lock(&dev->lock);
	start = dev->legacy && !dev->started && (dev->status & VIRTIO_STATUS_DRIVER);
	dev->started |= start;
	start = start && !dev->barred;
	pthread_mutex_unlock(&dev->lock);
	if (start)
		dev_activate(dev);
	pthread_mutex_unlock(&dev->transition);
}

void virtio_kick(struct virtio_dev *dev, unsigned q)
{
	struct virtio_queue *queue;
	uint64_t one = 1;
	bool early;

	pthread_mutex_lock(&dev->lock);
	queue = virtio_queue_at(dev, q);
	if (!queue || !queue->enabled) {
		log_guest(&dev->log, dev->name, "doorbell of queue %u, which is not in use", q);
		queue = NULL;
	}
	early = queue && dev->legacy && !dev->started;
	pthread_mutex_unlock(&dev->lock);
	if (!queue)
		return;
	if (early)
		legacy_start(dev); /* which rings all queues */
	else
		(void)!write(queue->bell.fd, &one, sizeof(one));
}

bool virtio_negotiated(struct virtio_dev *dev, uint64_t feature)
{
	bool has;

	pthread_mutex_lock(&dev->lock);
	has = virtio_has(dev, feature);
	pthread_mutex_unlock(&dev->lock);
	return has;
}

bool virtio_is_legacy(struct virtio_dev *dev)
{
	bool legacy;

	pthread_mutex_lock(&dev->lock);
	legacy = dev->legacy;
	pthread_mutex_unlock(&dev->lock);
	return legacy;
}

/* Configuration space */

void virtio_config_read(struct virtio_dev *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	if (offset < dev->config_size)
		dev->ops->config_read(dev, (unsigned)offset, buf, (unsigned)min_u64(len, dev->config_size - offset));
}

void virtio_config_write(struct virtio_dev *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	if (offset < dev->config_size && dev->ops->config_write)
		dev->ops->config_write(dev, (unsigned)offset, buf, (unsigned)min_u64(len, dev->config_size - offset));
}

/* For devices */

void virtio_notify(struct virtio_dev *dev, unsigned q)
{
	if (dev->active && virtq_should_interrupt(&dev->queues[q].vq))
		dev->transport_ops->notify_queue(dev->transport, q);
}

void virtio_expect_more(struct virtio_dev *dev, unsigned q)
{
	struct virtio_queue *queue = &dev->queues[q];

	if (dev->active && !queue->poll.active)
		virtq_polled(&queue->vq, eventloop_poll_start(dev->loop, &queue->poll, false));
}

void virtio_look_away(struct virtio_dev *dev, unsigned q)
{
	struct virtio_queue *queue = &dev->queues[q];

	eventloop_poll_stop(dev->loop, &queue->poll);
	queue->vq.polled = false;
}

void virtio_config_changed(struct virtio_dev *dev)
{
	pthread_mutex_lock(&dev->lock);
	dev->generation++;
	if (dev->started)
		dev->transport_ops->notify_config(dev->transport);
	pthread_mutex_unlock(&dev->lock);
}

void virtio_queue_broken(struct virtio_dev *dev, unsigned q)
{
	const struct virtq *vq = &dev->queues[q].vq;

	log_guest(&dev->log, dev->name, "queue %u stopped: %s", q, vq->why ? vq->why : "it is broken");
	pthread_mutex_lock(&dev->lock);
	needs_reset(dev);
	pthread_mutex_unlock(&dev->lock);
}
