/* SPDX-License-Identifier: MIT */
/* See virtio.h: split virtqueues (2.7), the driver's side. */
#include "virtio.h"

#define LEGACY_PAGE 4096

static void select(const struct virtio *dev, unsigned index)
{
	if (dev->kind == VIRTIO_LEGACY)
		outw(dev->io + LEGACY_QUEUE_SELECT, (uint16_t)index);
	else if (dev->kind == VIRTIO_MMIO)
		write32(dev->mmio + MMIO_QUEUE_SEL, index);
	else
		write16(dev->common + COMMON_QUEUE_SELECT, (uint16_t)index);
}

unsigned virtq_max(const struct virtio *dev, unsigned index)
{
	select(dev, index);
	if (dev->kind == VIRTIO_LEGACY)
		return inw(dev->io + LEGACY_QUEUE_SIZE);
	return dev->kind == VIRTIO_MMIO ? read32(dev->mmio + MMIO_QUEUE_NUM_MAX) : read16(dev->common + COMMON_QUEUE_SIZE);
}

unsigned virtio_queues(const struct virtio *dev)
{
	unsigned n = 0;

	if (dev->kind == VIRTIO_MODERN)
		return read16(dev->common + COMMON_NUM_QUEUES);
	while (n < 128 && virtq_max(dev, n))
		n++;
	return n;
}

static void write_address(uint64_t reg, uint64_t v)
{
	write32(reg, (uint32_t)v);
	write32(reg + 4, (uint32_t)(v >> 32));
}

void virtq_tell(const struct virtq *vq, uint64_t desc, uint64_t avail, uint64_t used, unsigned size)
{
	const struct virtio *dev = vq->dev;

	select(dev, vq->index);
	if (dev->kind == VIRTIO_LEGACY) {
		outl(dev->io + LEGACY_QUEUE_PFN, (uint32_t)(desc / LEGACY_PAGE));
	} else if (dev->kind == VIRTIO_MMIO) {
		write32(dev->mmio + MMIO_QUEUE_NUM, size);
		write_address(dev->mmio + MMIO_QUEUE_DESC, desc);
		write_address(dev->mmio + MMIO_QUEUE_DRIVER, avail);
		write_address(dev->mmio + MMIO_QUEUE_DEVICE, used);
		write32(dev->mmio + MMIO_QUEUE_READY, 1);
	} else {
		write16(dev->common + COMMON_QUEUE_SIZE, (uint16_t)size);
		write_address(dev->common + COMMON_QUEUE_DESC, desc);
		write_address(dev->common + COMMON_QUEUE_DRIVER, avail);
		write_address(dev->common + COMMON_QUEUE_DEVICE, used);
		write16(dev->common + COMMON_QUEUE_ENABLE, 1);
	}
}

static size_t used_offset(unsigned size)
{
	return (size * sizeof(struct vring_desc) + 2u * (3 + size) + LEGACY_PAGE - 1) & ~(size_t)(LEGACY_PAGE - 1);
}

void virtq_interrupts(struct virtq *vq, bool on)
{
	vq->avail->flags = on ? 0 : AVAIL_NO_INTERRUPT;
	/* The next answer; or the one before the next, 65,535 away. */
	*vq->used_event = on ? vq->next_used : vq->next_used - 1;
}

void virtq_clear(struct virtq *vq)
{
	memset((void *)vq->desc, 0, VIRTQ_BYTES(vq->size));
	vq->next_avail = vq->next_used = vq->kicked = vq->free = 0;
	vq->n_free = vq->size;
	for (unsigned i = 0; i < vq->size; i++)
		vq->desc[i].next = (uint16_t)(i + 1);
	virtq_interrupts(vq, false);
}

static uint64_t bell_of(const struct virtio *dev)
{
	if (dev->kind == VIRTIO_LEGACY)
		return dev->io + LEGACY_QUEUE_NOTIFY;
	if (dev->kind == VIRTIO_MMIO)
		return dev->mmio + MMIO_QUEUE_NOTIFY;
	return dev->notify + dev->notify_multiplier * read16(dev->common + COMMON_QUEUE_NOTIFY_OFF);
}

bool virtq_setup(struct virtq *vq, const struct virtio *dev, unsigned index, unsigned size)
{
	unsigned max = virtq_max(dev, index);

	if (size == 0 || dev->kind == VIRTIO_LEGACY)
		size = max;
	return max && size <= max && virtq_setup_at(vq, dev, index, size, dma_alloc(VIRTQ_BYTES(size), LEGACY_PAGE));
}

bool virtq_setup_at(struct virtq *vq, const struct virtio *dev, unsigned index, unsigned size, void *rings_at)
{
	unsigned max = virtq_max(dev, index);
	uint8_t *rings = rings_at;

	if (max == 0 || size > max)
		return false;
	*vq = (struct virtq){ .dev = dev, .index = (uint16_t)index, .size = (uint16_t)size, .mask = (uint16_t)(size - 1) };
	vq->desc = (void *)rings;
	vq->avail = (void *)(rings + size * sizeof(struct vring_desc));
	vq->used = (void *)(rings + used_offset(size));
	vq->used_event = &vq->avail->ring[size];
	vq->avail_event = (void *)&vq->used->ring[size];
	vq->header = rings + VIRTQ_BYTES(size) - 48;
	vq->event_idx = dev->features & VIRTIO_F_EVENT_IDX;
	vq->bell = bell_of(dev);
	virtq_clear(vq);
	virtq_tell(vq, (uintptr_t)vq->desc, (uintptr_t)vq->avail, (uintptr_t)vq->used, size);
	return true;
}

int virtq_chain(struct virtq *vq, const struct buffer *buffers, unsigned out, unsigned in)
{
	unsigned head = vq->free, at = head, last = head;

	if (out + in == 0 || out + in > vq->n_free)
		return -1;
	for (unsigned i = 0; i < out + in; i++) {
		last = at;
		vq->desc[at].addr = (uintptr_t)buffers[i].at;
		vq->desc[at].len = buffers[i].len;
		vq->desc[at].flags = (uint16_t)((i < out ? 0 : DESC_WRITE) | DESC_NEXT);
		at = vq->desc[at].next;
	}
	vq->desc[last].flags &= (uint16_t)~DESC_NEXT;
	vq->free = (uint16_t)at;
	vq->n_free -= (uint16_t)(out + in);
	return (int)head;
}

int virtq_chain_indirect(struct virtq *vq, volatile struct vring_desc *table, const struct buffer *buffers, unsigned out, unsigned in)
{
	unsigned n = out + in, head = vq->free;

	if (n == 0 || vq->n_free == 0)
		return -1;
	for (unsigned i = 0; i < n; i++) {
		table[i].addr = (uintptr_t)buffers[i].at;
		table[i].len = buffers[i].len;
		table[i].flags = (uint16_t)((i < out ? 0 : DESC_WRITE) | (i + 1 < n ? DESC_NEXT : 0));
		table[i].next = (uint16_t)(i + 1);
	}
	vq->free = vq->desc[head].next;
	vq->n_free--;
	vq->desc[head].addr = (uintptr_t)table;
	vq->desc[head].len = n * (uint32_t)sizeof(*table);
	vq->desc[head].flags = DESC_INDIRECT;
	return (int)head;
}

void virtq_free(struct virtq *vq, unsigned head)
{
	unsigned last = head, n = 1;

	for (; vq->desc[last].flags & DESC_NEXT; n++)
		last = vq->desc[last].next;
	vq->desc[last].next = vq->free;
	vq->free = (uint16_t)head;
	vq->n_free += (uint16_t)n;
}

int virtq_wait(struct virtq *vq, uint32_t *len, unsigned ms)
{
	uint64_t end = rdtsc() + tsc_khz() * ms;
	int head;

	while ((head = virtq_poll(vq, len)) < 0 && rdtsc() < end)
		cpu_relax();
	return head;
}

bool virtio_request(struct virtq *vq, const struct buffer *buffers, unsigned out, unsigned in, uint32_t *len, unsigned ms)
{
	int head = virtq_chain(vq, buffers, out, in);

	if (head < 0)
		return false;
	virtq_publish(vq, (uint16_t)head);
	virtq_kick(vq);
	if (virtq_wait(vq, len, ms) != head)
		return false;
	virtq_free(vq, (unsigned)head);
	return true;
}

/* Header and status are the queue's own memory, not the stack's: sanitizers of the VMM then see each device use its own. */
int blk_request(struct virtq *vq, uint32_t type, uint64_t sector, void *data, uint32_t len)
{
	bool out = type == BLK_OUT || type == BLK_DISCARD || type == BLK_WRITE_ZEROES;
	struct blk_header *header = vq->header;
	volatile uint8_t *status = (uint8_t *)(header + 1);
	struct buffer b[3] = { { header, sizeof(*header) } };
	unsigned n = 1;

	*header = (struct blk_header){ .type = type, .sector = sector };
	*status = 0xff;
	if (len)
		b[n++] = (struct buffer){ data, len };
	b[n++] = (struct buffer){ status, 1 };
	if (!virtio_request(vq, b, out ? n - 1 : 1, out ? 1 : n - 1, NULL, 20000))
		return -1;
	return *status;
}
