/* SPDX-License-Identifier: MIT */
/*
 * virtio over MMIO, version 2 (4.2): 256 bytes of 32-bit registers, the device's configuration behind them, and one level-triggered
 * interrupt line, high while any bit of InterruptStatus is set.
 *
 * Registers are accessed with 32 bits, aligned (4.2.2.2); anything else reads as ones or is dropped, with a line in the log. The
 * configuration takes every width. The doorbell is one register for all queues, told apart by the value.
 *
 * Locks: registers under vdev->lock; InterruptStatus and the line under irq_lock, which comes after it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/virtio_mmio_regs.h"
#include "hw/virtio_transport.h"
#include "vmm/bus.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/util.h"

struct virtio_mmio {
	struct device dev;
	struct virtio_dev *vdev; /* owned */
	struct bus *mmio;
	struct bus_region region;
	struct doorbell_source doorbells;

	/* Under vdev->lock: */
	struct {
		uint32_t offered_select, chosen_select, queue_select;
	} r;
	bool bound[VIRTIO_MAX_QUEUES];

	pthread_mutex_t irq_lock;
	uint32_t interrupt_status;
	struct irq_line irq;
};

/* Interrupts */

static void interrupt_set(struct virtio_mmio *s, uint32_t clear, uint32_t set)
{
	pthread_mutex_lock(&s->irq_lock);
	s->interrupt_status = (s->interrupt_status & ~clear) | set;
	irq_set(&s->irq, s->interrupt_status != 0);
	pthread_mutex_unlock(&s->irq_lock);
}

static uint32_t interrupt_status(struct virtio_mmio *s)
{
	uint32_t v;

	pthread_mutex_lock(&s->irq_lock);
	v = s->interrupt_status;
	pthread_mutex_unlock(&s->irq_lock);
	return v;
}

static void notify_queue(void *transport, unsigned q)
{
	(void)q;
	interrupt_set(transport, 0, VIRTIO_MMIO_INT_QUEUE);
}

static void notify_config(void *transport)
{
	interrupt_set(transport, 0, VIRTIO_MMIO_INT_CONFIG);
}

/* Doorbells: under vdev->lock. One that cannot be bound is served by an exit. */
static void doorbells(void *transport, bool on)
{
	struct virtio_mmio *s = transport;

	for (unsigned q = 0; s->doorbells.ops && q < s->vdev->n_queues; q++) {
		struct doorbell bell = {
			.address = s->region.base + VIRTIO_MMIO_QUEUE_NOTIFY,
			.len = sizeof(le32),
			.match = true,
			.data = q,
			.fd = s->vdev->queues[q].bell.fd,
		};

		if (!on && s->bound[q])
			s->doorbells.ops->unbind(s->doorbells.ctl, &bell);
		s->bound[q] = on && s->vdev->queues[q].enabled && s->doorbells.ops->bind(s->doorbells.ctl, &bell) == 0;
	}
}

static void transport_reset(void *transport)
{
	struct virtio_mmio *s = transport;

	memset(&s->r, 0, sizeof(s->r));
	interrupt_set(s, ~0u, 0);
}

static const struct virtio_transport_ops transport_ops = {
	.notify_queue = notify_queue,
	.notify_config = notify_config,
	.doorbells = doorbells,
	.reset = transport_reset,
};

/* Registers: under vdev->lock */

static uint32_t queue_reg(struct virtio_mmio *s, unsigned reg)
{
	const struct virtio_queue *queue = virtio_queue_at(s->vdev, s->r.queue_select);

	if (!queue)
		return 0;
	return reg == VIRTIO_MMIO_QUEUE_NUM_MAX ? queue->size_max : queue->enabled;
}

/* Write-only registers and gaps read as 0. */
static uint32_t reg_read(struct virtio_mmio *s, unsigned reg)
{
	switch (reg) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return VIRTIO_MMIO_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VIRTIO_MMIO_VERSION_2;
	case VIRTIO_MMIO_DEVICE_ID:
		return s->vdev->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VIRTIO_MMIO_VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return virtio_offered_half(s->vdev, s->r.offered_select, false);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
	case VIRTIO_MMIO_QUEUE_READY:
		return queue_reg(s, reg);
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return interrupt_status(s);
	case VIRTIO_MMIO_STATUS:
		return s->vdev->status;
	case VIRTIO_MMIO_SHM_LEN_LOW: /* there is no shared memory: length and base of all ones (4.2.2.2) */
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return s->vdev->generation;
	default:
		return 0;
	}
}

static void write_queue_ready(struct virtio_mmio *s, uint32_t v)
{
	struct virtio_queue *queue = virtio_queue_at(s->vdev, s->r.queue_select);

	if (v == 1) {
		virtio_queue_enable(s->vdev, s->r.queue_select);
	} else if (v != 0 || !queue || s->vdev->started) {
		/*
		 * 4.2.2.2 lets a driver stop one queue by writing 0 and reading it back. A device here has its queues as a whole and gives them
		 * back by a reset (2.6.1 leaves resetting a single queue to a feature, RING_RESET, which is not offered). So it reads back 1,
		 * the truth: the queue is in use. Linux writes 0 only after a reset, when it reads 0 already.
		 */
		log_guest(&s->vdev->log, s->vdev->name, "QueueReady of queue %u: %u written; refused", s->r.queue_select, v);
	} else {
		queue->enabled = false;
	}
}

static void write_queue_address(struct virtio_mmio *s, unsigned reg, uint32_t v)
{
	struct virtio_queue *queue = virtio_queue_writable(s->vdev, s->r.queue_select);
	unsigned shift = reg & 4 ? 32 : 0;
	uint64_t *address;

	if (!queue)
		return;
	address = reg < VIRTIO_MMIO_QUEUE_DRIVER_LOW ? &queue->set.desc :
		  reg < VIRTIO_MMIO_QUEUE_DEVICE_LOW ? &queue->set.avail : &queue->set.used;
	*address = (*address & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)v << shift;
}

/* Read-only registers, SHMSel and gaps: nothing. */
static void reg_write(struct virtio_mmio *s, unsigned reg, uint32_t v)
{
	switch (reg) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		s->r.offered_select = v;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		virtio_choose_half(s->vdev, s->r.chosen_select, v);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		s->r.chosen_select = v;
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		s->r.queue_select = v;
		break;
	case VIRTIO_MMIO_QUEUE_NUM:
		virtio_queue_set_size(s->vdev, s->r.queue_select, v);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		write_queue_ready(s, v);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		interrupt_set(s, v, 0);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
	case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
	case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
	case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
	case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
		write_queue_address(s, reg, v);
		break;
	default:
		break;
	}
}

static bool reg_access_ok(struct virtio_mmio *s, uint64_t offset, unsigned len)
{
	if (len == sizeof(le32) && offset % sizeof(le32) == 0)
		return true;
	log_guest(&s->vdev->log, s->vdev->name, "access of %u bytes at 0x%jx; registers have 4", len, (uintmax_t)offset);
	return false;
}

static void mmio_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct virtio_mmio *s = dev;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		virtio_config_read(s->vdev, offset - VIRTIO_MMIO_CONFIG, buf, len);
		return;
	}
	if (!reg_access_ok(s, offset, len))
		return;
	pthread_mutex_lock(&s->vdev->lock);
	store_le32(buf, reg_read(s, (unsigned)offset));
	pthread_mutex_unlock(&s->vdev->lock);
}

static void mmio_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct virtio_mmio *s = dev;
	uint32_t v;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		virtio_config_write(s->vdev, offset - VIRTIO_MMIO_CONFIG, buf, len);
		return;
	}
	if (!reg_access_ok(s, offset, len))
		return;
	v = load_le32(buf);
	if (offset == VIRTIO_MMIO_STATUS) {
		/* Only a whole zero resets; the bits above the eighth do not exist. */
		if (v == 0 || (uint8_t)v)
			virtio_set_status(s->vdev, (uint8_t)v);
		return;
	}
	if (offset == VIRTIO_MMIO_QUEUE_NOTIFY) {
		virtio_kick(s->vdev, v);
		return;
	}
	pthread_mutex_lock(&s->vdev->lock);
	reg_write(s, (unsigned)offset, v);
	pthread_mutex_unlock(&s->vdev->lock);
}

static const struct bus_ops mmio_ops = {
	.read = mmio_read,
	.write = mmio_write,
	.width = 4,
};

/* Creation and end */

static void virtio_mmio_reset(struct device *dev)
{
	virtio_set_status(CONTAINER_OF(dev, struct virtio_mmio, dev)->vdev, 0);
}

static void virtio_mmio_destroy(struct device *dev)
{
	struct virtio_mmio *s = CONTAINER_OF(dev, struct virtio_mmio, dev);

	bus_remove(s->mmio, &s->region);
	virtio_set_status(s->vdev, 0);
	s->vdev->ops->destroy(s->vdev);
	pthread_mutex_destroy(&s->irq_lock);
	free(s);
}

static void virtio_mmio_quiesce(struct device *dev)
{
	struct virtio_dev *vdev = CONTAINER_OF(dev, struct virtio_mmio, dev)->vdev;

	if (vdev->ops->quiesce)
		vdev->ops->quiesce(vdev);
}

static void virtio_mmio_resume(struct device *dev)
{
	struct virtio_dev *vdev = CONTAINER_OF(dev, struct virtio_mmio, dev)->vdev;

	if (vdev->ops->resume)
		vdev->ops->resume(vdev);
}

static const struct device_ops device_ops = {
	.reset = virtio_mmio_reset,
	.quiesce = virtio_mmio_quiesce,
	.resume = virtio_mmio_resume,
	.destroy = virtio_mmio_destroy,
};

struct device *virtio_mmio_create(const struct device_env *env, struct virtio_dev *vdev, uint64_t base, struct irq_line irq,
				  struct err *err)
{
	struct virtio_mmio *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(err, -ENOMEM, "%s: not enough memory on the host", vdev->name);
		return NULL;
	}
	s->dev = (struct device){ .ops = &device_ops, .name = vdev->name };
	s->vdev = vdev;
	s->mmio = env->mmio;
	s->doorbells = env->doorbells;
	s->irq = irq;
	s->region = (struct bus_region){
		.name = vdev->name, .base = base, .size = VIRTIO_MMIO_SIZE, .ops = &mmio_ops, .dev = s,
	};
	pthread_mutex_init(&s->irq_lock, NULL);
	vdev->transport_ops = &transport_ops;
	vdev->transport = s;
	if (bus_add(s->mmio, &s->region, err) < 0) {
		pthread_mutex_destroy(&s->irq_lock);
		free(s);
		return NULL;
	}
	return &s->dev;
}
