/* SPDX-License-Identifier: MIT */
/* See virtio.h: devices on the PCI bus and over MMIO, their registers. The queues are in virtq.c. */
#include "virtio.h"

#define VENDOR 0x1af4
#define CAP_VENDOR 0x09
#define CAP_MSIX 0x11
#define DMA_FROM 0x1000000
#define MMIO_MAGIC_VALUE 0x74726976

/* ---- PCI ---- */

uint64_t pci_bar(unsigned devfn, unsigned bar)
{
	uint32_t v = pci_read(devfn, PCI_BAR0 + 4 * bar);

	if (v & 1)
		return v & ~3u;
	if ((v & 6) == 4)
		return container_bits(pci_read(devfn, PCI_BAR0 + 4 * bar + 4), v & ~0xfu);
	return v & ~0xfu;
}

unsigned pci_find_cap(unsigned devfn, uint8_t id, unsigned after)
{
	unsigned at = (after ? pci_read(devfn, after) >> 8 : pci_read(devfn, 0x34)) & 0xfc;

	for (unsigned i = 0; at && i < 48; i++) {
		uint32_t v = pci_read(devfn, at);

		if ((v & 0xff) == id)
			return at;
		at = v >> 8 & 0xfc;
	}
	return 0;
}

/* ---- memory ---- */

static uintptr_t dma_next = DMA_FROM;

uint64_t ram_end(void)
{
	uint64_t end = 0;

	for (size_t i = 0; i < boot_info.map_n; i++) {
		uint64_t top = boot_info.map[i].base + boot_info.map[i].size;

		if (boot_info.map[i].type == 1 && top > end && boot_info.map[i].base < 0xc0000000)
			end = top;
	}
	return end;
}

void *dma_alloc(size_t size, size_t align)
{
	uintptr_t at = (dma_next + align - 1) & ~(align - 1);

	if (at > ram_end() || size > ram_end() - at)
		test_abort("no memory for %lu bytes of buffers", size);
	dma_next = at + size;
	return memset((void *)at, 0, size);
}

uintptr_t dma_mark(void)
{
	return dma_next;
}

void dma_release(uintptr_t mark)
{
	dma_next = mark;
}

/* ---- finding ---- */

/* Notes where one of the structures of 4.1.4 is. */
static void take_capability(struct virtio *dev, unsigned cap)
{
	uint64_t at = pci_bar(dev->devfn, pci_read(dev->devfn, cap + 4) & 0xff) + pci_read(dev->devfn, cap + 8);
	uint32_t len = pci_read(dev->devfn, cap + 12);

	switch (pci_read(dev->devfn, cap) >> 24) {
	case 1:
		dev->common = at;
		break;
	case 2:
		dev->notify = at;
		dev->notify_len = len;
		dev->notify_multiplier = pci_read(dev->devfn, cap + 16);
		break;
	case 3:
		dev->isr = at;
		break;
	case 4:
		dev->config = at;
		dev->config_len = len;
		break;
	}
}

static void take_msix(struct virtio *dev)
{
	uint32_t table, pba;

	dev->msix = pci_find_cap(dev->devfn, CAP_MSIX, 0);
	if (!dev->msix)
		return;
	table = pci_read(dev->devfn, dev->msix + 4);
	pba = pci_read(dev->devfn, dev->msix + 8);
	dev->msix_vectors = (pci_read(dev->devfn, dev->msix) >> 16 & 0x7ff) + 1;
	dev->msix_table = pci_bar(dev->devfn, table & 7) + (table & ~7u);
	dev->msix_pba = pci_bar(dev->devfn, pba & 7) + (pba & ~7u);
}

static bool take_function(struct virtio *dev, unsigned devfn)
{
	uint32_t id = pci_read(devfn, 0);
	uint16_t device = (uint16_t)(id >> 16);

	if ((id & 0xffff) != VENDOR || device < 0x1000 || device > 0x107f)
		return false;
	*dev = (struct virtio){ .devfn = devfn, .kind = VIRTIO_LEGACY };
	dev->type = device >= 0x1040 ? device - 0x1040u : pci_read(devfn, 0x2c) >> 16;
	for (unsigned cap = pci_find_cap(devfn, CAP_VENDOR, 0); cap; cap = pci_find_cap(devfn, CAP_VENDOR, cap))
		take_capability(dev, cap);
	if (dev->common && dev->notify)
		dev->kind = VIRTIO_MODERN;
	if (device < 0x1040 && pci_read(devfn, PCI_BAR0) & 1)
		dev->io = (uint16_t)pci_bar(devfn, 0);
	take_msix(dev);
	pci_write(devfn, PCI_COMMAND, (pci_read(devfn, PCI_COMMAND) & 0xffff) | PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	return true;
}

size_t virtio_find(struct virtio *devs, size_t max)
{
	size_t n = 0;

	for (unsigned devfn = 0; devfn < 256 && n < max; devfn++)
		n += take_function(&devs[n], devfn);
	return n;
}

bool virtio_as_legacy(const struct virtio *dev, struct virtio *legacy)
{
	*legacy = *dev;
	legacy->kind = VIRTIO_LEGACY;
	return dev->kind != VIRTIO_MMIO && dev->io;
}

bool virtio_at_mmio(uint64_t base, struct virtio *dev)
{
	*dev = (struct virtio){ .kind = VIRTIO_MMIO, .mmio = base, .config = base + MMIO_CONFIG };
	if (read32(base + MMIO_MAGIC) != MMIO_MAGIC_VALUE || read32(base + MMIO_VERSION) != 2)
		return false;
	dev->type = read32(base + MMIO_DEVICE_ID);
	return dev->type != 0;
}

const char *virtio_name(const struct virtio *dev)
{
	switch (dev->type) {
	case VIRTIO_NET: return "net";
	case VIRTIO_BLK: return "blk";
	case VIRTIO_CONSOLE: return "console";
	case VIRTIO_RNG: return "rng";
	case VIRTIO_BALLOON: return "balloon";
	case VIRTIO_SCSI: return "scsi";
	}
	return "virtio";
}

/* ---- status and features ---- */

uint8_t virtio_status(const struct virtio *dev)
{
	if (dev->kind == VIRTIO_LEGACY)
		return inb(dev->io + LEGACY_STATUS);
	return dev->kind == VIRTIO_MMIO ? (uint8_t)read32(dev->mmio + MMIO_STATUS) : read8(dev->common + COMMON_STATUS);
}

void virtio_set_status(const struct virtio *dev, uint8_t status)
{
	if (dev->kind == VIRTIO_LEGACY)
		outb(dev->io + LEGACY_STATUS, status);
	else if (dev->kind == VIRTIO_MMIO)
		write32(dev->mmio + MMIO_STATUS, status);
	else
		write8(dev->common + COMMON_STATUS, status);
}

void virtio_reset(struct virtio *dev)
{
	virtio_set_status(dev, 0);
	while (virtio_status(dev))
		cpu_relax();
	dev->features = 0;
}

static uint32_t offered_half(const struct virtio *dev, uint32_t half)
{
	if (dev->kind == VIRTIO_MMIO) {
		write32(dev->mmio + MMIO_DEVICE_FEATURES_SEL, half);
		return read32(dev->mmio + MMIO_DEVICE_FEATURES);
	}
	write32(dev->common + COMMON_DEVICE_FEATURE_SELECT, half);
	return read32(dev->common + COMMON_DEVICE_FEATURE);
}

uint64_t virtio_offered(const struct virtio *dev)
{
	if (dev->kind == VIRTIO_LEGACY)
		return inl(dev->io + LEGACY_DEVICE_FEATURES);
	return container_bits(offered_half(dev, 1), offered_half(dev, 0));
}

void virtio_choose(const struct virtio *dev, uint64_t features)
{
	if (dev->kind == VIRTIO_LEGACY) {
		outl(dev->io + LEGACY_DRIVER_FEATURES, (uint32_t)features);
		return;
	}
	for (uint32_t half = 0; half < 2; half++) {
		uint32_t v = (uint32_t)(features >> 32 * half);

		if (dev->kind == VIRTIO_MMIO) {
			write32(dev->mmio + MMIO_DRIVER_FEATURES_SEL, half);
			write32(dev->mmio + MMIO_DRIVER_FEATURES, v);
		} else {
			write32(dev->common + COMMON_DRIVER_FEATURE_SELECT, half);
			write32(dev->common + COMMON_DRIVER_FEATURE, v);
		}
	}
}

bool virtio_negotiate(struct virtio *dev, uint64_t wanted)
{
	virtio_reset(dev);
	virtio_set_status(dev, VIRTIO_ACKNOWLEDGE);
	virtio_set_status(dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	dev->features = virtio_offered(dev) & (wanted | VIRTIO_F_VERSION_1);
	virtio_choose(dev, dev->features);
	if (dev->kind == VIRTIO_LEGACY)
		return true;
	virtio_set_status(dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	return virtio_status(dev) & VIRTIO_FEATURES_OK;
}

void virtio_ready(const struct virtio *dev)
{
	virtio_set_status(dev, virtio_status(dev) | VIRTIO_DRIVER_OK);
}

/* ---- configuration and interrupts ---- */

static uint32_t config_part(const struct virtio *dev, unsigned offset, unsigned len)
{
	uint16_t port = dev->io + (uint16_t)offset;

	if (dev->kind != VIRTIO_LEGACY)
		return len == 1 ? read8(dev->config + offset) : len == 2 ? read16(dev->config + offset) : read32(dev->config + offset);
	port += dev->msix && pci_read(dev->devfn, dev->msix) >> 31 ? LEGACY_CONFIG_MSIX : LEGACY_CONFIG;
	return len == 1 ? inb(port) : len == 2 ? inw(port) : inl(port);
}

uint64_t virtio_config(const struct virtio *dev, unsigned offset, unsigned len)
{
	if (len == 8)
		return container_bits(config_part(dev, offset + 4, 4), config_part(dev, offset, 4));
	return config_part(dev, offset, len);
}

bool virtio_msix_on(const struct virtio *dev)
{
	if (!dev->msix)
		return false;
	for (unsigned n = 0; n < dev->msix_vectors; n++)
		write32(dev->msix_table + 16 * n + 12, 1);
	pci_write(dev->devfn, dev->msix, 0x80000000);
	return true;
}

void virtio_msix_vector(const struct virtio *dev, unsigned n, uint8_t vector, uint32_t apic_id)
{
	uint64_t entry = dev->msix_table + 16 * n;

	write32(entry, LAPIC | apic_id << 12);
	write32(entry + 4, 0);
	write32(entry + 8, vector);
	write32(entry + 12, 0);
}

uint16_t virtio_set_vector(const struct virtio *dev, int q, uint16_t vector)
{
	if (dev->kind == VIRTIO_LEGACY) {
		uint16_t port = dev->io + (q < 0 ? LEGACY_CONFIG_VECTOR : LEGACY_QUEUE_VECTOR);

		if (q >= 0)
			outw(dev->io + LEGACY_QUEUE_SELECT, (uint16_t)q);
		outw(port, vector);
		return inw(port);
	}
	if (q >= 0)
		write16(dev->common + COMMON_QUEUE_SELECT, (uint16_t)q);
	write16(dev->common + (q < 0 ? COMMON_CONFIG_VECTOR : COMMON_QUEUE_VECTOR), vector);
	return read16(dev->common + (q < 0 ? COMMON_CONFIG_VECTOR : COMMON_QUEUE_VECTOR));
}
