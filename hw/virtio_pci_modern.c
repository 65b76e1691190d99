/* SPDX-License-Identifier: MIT */
/*
 * The modern interface of virtio over PCI (4.1.4): one memory BAR with a page each for the common configuration, the ISR byte, the
 * device's configuration and the doorbells.
 *
 * Fields are meant to be accessed in their own width. Other accesses do what they would do to memory: a read gives the bytes that it
 * covers, a write of a part of a field writes the field with the rest as it was.
 */
#include <string.h>

#include "hw/virtio_pci_priv.h"
#include "vmm/util.h"

#define FIELD(member, fn) { offsetof(struct virtio_pci_common, member), sizeof(((struct virtio_pci_common *)0)->member), fn }
#define STATUS_AT offsetof(struct virtio_pci_common, device_status)

/* The registers as they read. Reading has no side effects. */
static void common_image(struct virtio_pci *s, struct virtio_pci_common *c)
{
	struct virtio_dev *vdev = s->vdev;
	const struct virtio_queue *queue = virtio_queue_at(vdev, s->r.queue_select);

	memset(c, 0, sizeof(*c));
	c->device_feature_select = le32_of(s->r.offered_select);
	c->device_feature = le32_of(virtio_offered_half(vdev, s->r.offered_select, false));
	c->driver_feature_select = le32_of(s->r.chosen_select);
	c->driver_feature = le32_of(virtio_chosen_half(vdev, s->r.chosen_select));
	c->config_msix_vector = le16_of(virtio_pci_config_vector(s));
	c->num_queues = le16_of((uint16_t)vdev->n_queues);
	c->device_status = vdev->status;
	c->config_generation = vdev->generation;
	c->queue_select = le16_of(s->r.queue_select);
	c->queue_msix_vector = le16_of(virtio_pci_queue_vector(s));
	if (!queue)
		return; /* queue_size 0: there is none (4.1.4.3.1) */
	c->queue_size = le16_of(queue->set.size);
	c->queue_enable = le16_of(queue->enabled);
	c->queue_notify_off = le16_of(s->r.queue_select);
	store_le64(c->queue_desc, queue->set.desc);
	store_le64(c->queue_driver, queue->set.avail);
	store_le64(c->queue_device, queue->set.used);
}

static void write_offered_select(struct virtio_pci *s, unsigned offset, uint32_t v)
{
	(void)offset;
	s->r.offered_select = v;
}

static void write_chosen_select(struct virtio_pci *s, unsigned offset, uint32_t v)
{
	(void)offset;
	s->r.chosen_select = v;
}

static void write_chosen(struct virtio_pci *s, unsigned offset, uint32_t v)
{
	(void)offset;
	virtio_choose_half(s->vdev, s->r.chosen_select, v);
}

static void write_config_vector(struct virtio_pci *s, unsigned offset, uint32_t v)
{
	(void)offset;
	virtio_pci_set_config_vector(s, (uint16_t)v);
}

static void write_queue_select(struct virtio_pci *s, unsigned offset, uint32_t v)
{
	(void)offset;
	s->r.queue_select = (uint16_t)v;
}

static void write_queue_size(struct virtio_pci *s, unsigned offset, uint32_t v)
{
	(void)offset;
	virtio_queue_set_size(s->vdev, s->r.queue_select, v);
}

static void write_queue_vector(struct virtio_pci *s, unsigned offset, uint32_t v)
{
	(void)offset;
	virtio_pci_set_queue_vector(s, (uint16_t)v);
}

static void write_queue_enable(struct virtio_pci *s, unsigned offset, uint32_t v)
{
	(void)offset;
	if (v == 1)
		virtio_queue_enable(s->vdev, s->r.queue_select);
	else
		log_guest(&s->vdev->log, s->vdev->name, "queue_enable: %u written; only a reset disables a queue", v);
}

static void write_queue_address(struct virtio_pci *s, unsigned offset, uint32_t v)
{
	struct virtio_queue *queue = virtio_queue_writable(s->vdev, s->r.queue_select);
	unsigned at = offset - offsetof(struct virtio_pci_common, queue_desc);
	unsigned shift = at & 4 ? 32 : 0;
	uint64_t *address;

	if (!queue)
		return;
	address = at < 8 ? &queue->set.desc : at < 16 ? &queue->set.avail : &queue->set.used;
	*address = (*address & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)v << shift;
}

/* What can be written, but for the status, in the order of addresses. */
static const struct virtio_pci_field common_fields[] = {
	FIELD(device_feature_select, write_offered_select),
	FIELD(driver_feature_select, write_chosen_select),
	FIELD(driver_feature, write_chosen),
	FIELD(config_msix_vector, write_config_vector),
	FIELD(queue_select, write_queue_select),
	FIELD(queue_size, write_queue_size),
	FIELD(queue_msix_vector, write_queue_vector),
	FIELD(queue_enable, write_queue_enable),
	FIELD(queue_desc[0], write_queue_address),
	FIELD(queue_desc[1], write_queue_address),
	FIELD(queue_driver[0], write_queue_address),
	FIELD(queue_driver[1], write_queue_address),
	FIELD(queue_device[0], write_queue_address),
	FIELD(queue_device[1], write_queue_address),
};

static void common_read(struct virtio_pci *s, unsigned offset, uint8_t *buf, unsigned len)
{
	struct virtio_pci_common c;

	pthread_mutex_lock(&s->vdev->lock);
	common_image(s, &c);
	pthread_mutex_unlock(&s->vdev->lock);
	if (offset < sizeof(c))
		memcpy(buf, (const uint8_t *)&c + offset, min_u64(len, sizeof(c) - offset));
}

static void common_write(struct virtio_pci *s, unsigned offset, const uint8_t *buf, unsigned len)
{
	struct virtio_pci_common c;

	pthread_mutex_lock(&s->vdev->lock);
	common_image(s, &c);
	virtio_pci_write_fields(s, common_fields, ARRAY_SIZE(common_fields), (uint8_t *)&c, sizeof(c), offset, buf, len);
	pthread_mutex_unlock(&s->vdev->lock);
	if (virtio_pci_covers(offset, len, STATUS_AT))
		virtio_set_status(s->vdev, buf[STATUS_AT - offset]);
}

static void modern_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct virtio_pci *s = dev;
	unsigned at = offset % VIRTIO_PCI_PAGE;

	switch (offset - at) {
	case VIRTIO_PCI_COMMON_AT:
		common_read(s, at, buf, len);
		break;
	case VIRTIO_PCI_ISR_AT:
		if (at == 0)
			buf[0] = virtio_pci_take_isr(s);
		break;
	case VIRTIO_PCI_DEVICE_AT:
		virtio_config_read(s->vdev, at, buf, len);
		break;
	default: /* doorbells: nothing to read */
		break;
	}
}

static void modern_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct virtio_pci *s = dev;
	unsigned at = offset % VIRTIO_PCI_PAGE;

	switch (offset - at) {
	case VIRTIO_PCI_COMMON_AT:
		common_write(s, at, buf, len);
		break;
	case VIRTIO_PCI_DEVICE_AT:
		virtio_config_write(s->vdev, at, buf, len);
		break;
	case VIRTIO_PCI_NOTIFY_AT:
		virtio_kick(s->vdev, at / VIRTIO_PCI_NOTIFY_MULTIPLIER);
		break;
	default: /* the ISR byte */
		break;
	}
}

const struct bus_ops virtio_pci_modern_ops = {
	.read = modern_read,
	.write = modern_write,
	.width = 8,
};
