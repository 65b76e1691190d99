/* SPDX-License-Identifier: MIT */
/*
 * The legacy interface of virtio over PCI (virtio 0.9.5; 4.1.4.10 of 1.2): a header in I/O BAR 0 and the device's configuration behind it,
 * at 20, or at 24 while MSI-X is on. Everything is in the guest's byte order, which on x86 is little-endian.
 *
 * A queue is one block of guest memory, given by its page number: descriptors, the available ring, and on the next page boundary the
 * used ring. Writing 0 there gives the queue up; drivers do so only on their way out, and it resets the device, because there is no way
 * to take a single queue back from it.
 */
#include <string.h>

#include "hw/virtio_pci_priv.h"
#include "hw/virtq_regs.h"
#include "vmm/util.h"

#define FIELD(member, fn) { offsetof(struct virtio_pci_legacy, member), sizeof(((struct virtio_pci_legacy *)0)->member), fn }
#define AT(member) offsetof(struct virtio_pci_legacy, member)

static unsigned config_at(struct virtio_pci *s)
{
	return virtio_pci_msix_on(s) ? VIRTIO_PCI_LEGACY_CONFIG_MSIX : VIRTIO_PCI_LEGACY_CONFIG;
}

/* The registers as they read, but for the ISR, which reading clears. */
static void legacy_image(struct virtio_pci *s, struct virtio_pci_legacy *c)
{
	struct virtio_dev *vdev = s->vdev;
	const struct virtio_queue *queue = virtio_queue_at(vdev, s->r.queue_select);

	memset(c, 0, sizeof(*c));
	c->device_features = le32_of(virtio_offered_half(vdev, 0, true));
	c->driver_features = le32_of(virtio_chosen_half(vdev, 0));
	c->queue_select = le16_of(s->r.queue_select);
	c->device_status = vdev->status;
	c->config_msix_vector = le16_of(virtio_pci_config_vector(s));
	c->queue_msix_vector = le16_of(virtio_pci_queue_vector(s));
	if (!queue)
		return;
	c->queue_size = le16_of(queue->size_max);
	if (queue->enabled)
		c->queue_pfn = le32_of((uint32_t)(queue->set.desc / VIRTIO_PCI_LEGACY_PAGE));
}

static void write_features(struct virtio_pci *s, unsigned offset, uint32_t v)
{
	(void)offset;
	virtio_use_legacy(s->vdev);
	virtio_choose_half(s->vdev, 0, v);
}

/* 0 is served by legacy_write, without the lock. */
static void write_pfn(struct virtio_pci *s, unsigned offset, uint32_t pfn)
{
	struct virtio_queue *queue;
	uint64_t avail;

	(void)offset;
	if (pfn == 0)
		return;
	virtio_use_legacy(s->vdev);
	queue = virtio_queue_writable(s->vdev, s->r.queue_select);
	if (!queue)
		return;
	/* 2.7.2: the layout. */
	queue->set.size = queue->size_max;
	queue->set.desc = (uint64_t)pfn * VIRTIO_PCI_LEGACY_PAGE;
	avail = queue->set.desc + queue->set.size * sizeof(struct virtq_desc);
	queue->set.avail = avail;
	queue->set.used = align_up(avail + VIRTQ_AVAIL_RING + 2u * queue->set.size + 2, VIRTIO_PCI_LEGACY_PAGE);
	virtio_queue_enable(s->vdev, s->r.queue_select);
}

static void write_queue_select(struct virtio_pci *s, unsigned offset, uint32_t v)
{
	(void)offset;
	s->r.queue_select = (uint16_t)v;
}

static void write_config_vector(struct virtio_pci *s, unsigned offset, uint32_t v)
{
	(void)offset;
	virtio_pci_set_config_vector(s, (uint16_t)v);
}

static void write_queue_vector(struct virtio_pci *s, unsigned offset, uint32_t v)
{
	(void)offset;
	virtio_pci_set_queue_vector(s, (uint16_t)v);
}

/* What can be written, but for the doorbell and the status. The last two only while MSI-X is on. */
static const struct virtio_pci_field legacy_fields[] = {
	FIELD(driver_features, write_features),
	FIELD(queue_pfn, write_pfn),
	FIELD(queue_select, write_queue_select),
	FIELD(config_msix_vector, write_config_vector),
	FIELD(queue_msix_vector, write_queue_vector),
};
#define FIELDS_MSIX 2

static void legacy_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct virtio_pci *s = dev;
	unsigned config = config_at(s);
	struct virtio_pci_legacy c;

	if (offset >= config) {
		virtio_config_read(s->vdev, offset - config, buf, len);
		return;
	}
	/* Accesses have at most 4 bytes, aligned: they lie on one side. */
	pthread_mutex_lock(&s->vdev->lock);
	legacy_image(s, &c);
	pthread_mutex_unlock(&s->vdev->lock);
	if (virtio_pci_covers(offset, len, AT(isr)))
		c.isr = virtio_pci_take_isr(s);
	memcpy(buf, (const uint8_t *)&c + offset, len);
}

static void status_write(struct virtio_pci *s, uint8_t status)
{
	if (status) {
		pthread_mutex_lock(&s->vdev->lock);
		virtio_use_legacy(s->vdev);
		pthread_mutex_unlock(&s->vdev->lock);
	}
	if (status & VIRTIO_STATUS_DRIVER)
		virtio_pci_become_master(s);
	virtio_set_status(s->vdev, status);
}

static void legacy_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct virtio_pci *s = dev;
	unsigned config = config_at(s);
	struct virtio_pci_legacy c;
	const struct virtio_queue *queue;
	uint8_t *image = (uint8_t *)&c;
	bool give_up;

	if (offset >= config) {
		virtio_config_write(s->vdev, offset - config, buf, len);
		return;
	}
	pthread_mutex_lock(&s->vdev->lock);
	legacy_image(s, &c);
	virtio_pci_write_fields(s, legacy_fields, ARRAY_SIZE(legacy_fields) - (config == VIRTIO_PCI_LEGACY_CONFIG ? FIELDS_MSIX : 0),
				image, sizeof(c), (unsigned)offset, buf, len);
	queue = virtio_queue_at(s->vdev, s->r.queue_select);
	give_up = offset == AT(queue_pfn) && len == sizeof(c.queue_pfn) && load_le32(buf) == 0 && queue && queue->enabled;
	pthread_mutex_unlock(&s->vdev->lock);

	if (give_up)
		virtio_set_status(s->vdev, 0);
	if (offset == AT(queue_notify) && len >= sizeof(c.queue_notify))
		virtio_kick(s->vdev, load_le16(buf));
	if (virtio_pci_covers(offset, len, AT(device_status)))
		status_write(s, buf[AT(device_status) - offset]);
}

const struct bus_ops virtio_pci_legacy_ops = {
	.read = legacy_read,
	.write = legacy_write,
	.width = 4,
};
