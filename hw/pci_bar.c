/* SPDX-License-Identifier: MIT */
/*
 * Base address registers (PCI 3.0, 6.2.5).
 *
 * A register's read-only bits tell its kind and size: what the guest reads after it wrote all ones. Where the BAR is follows from its
 * bytes and the command register. A BAR is off the bus when decoding is off; at address 0 and at the end of the address space, where
 * it is before it has an address and while it is sized; above the 64 Ki ports; and where RAM or another device is, which real
 * hardware would leave undefined: that is tried again when the BAR, or what stood there, moves.
 *
 * 64-bit BARs are written in two halves and stand at some third place in between. Nothing is lost: they go there, or nowhere, and on.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "hw/pci_priv.h"
#include "hw/pci_regs.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"

#define PORT_LAST 0xffff

static void bar_read(void *opaque, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct pci_bar *bar = opaque;

	if (!bar->ops->read)
		return;
	pthread_mutex_lock(&bar->dev->lock);
	bar->ops->read(bar->opaque, offset, buf, len);
	pthread_mutex_unlock(&bar->dev->lock);
}

static void bar_write(void *opaque, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct pci_bar *bar = opaque;

	if (!bar->ops->write)
		return;
	pthread_mutex_lock(&bar->dev->lock);
	bar->ops->write(bar->opaque, offset, buf, len);
	pthread_mutex_unlock(&bar->dev->lock);
}

void pci_dev_set_bar(struct pci_dev *dev, unsigned i, enum pci_bar_kind kind, uint64_t size, const struct bus_ops *ops, void *opaque)
{
	struct pci_bar *bar = &dev->bars[i];
	uint8_t *config = dev->config + PCI_BAR0 + 4 * i, *wmask = dev->wmask + PCI_BAR0 + 4 * i;
	uint64_t mask = ~(size - 1);

	assert(i < PCI_BARS && !bar->used && (kind != PCI_BAR_MEM64 || (i + 1 < PCI_BARS && !dev->bars[i + 1].used)));
	assert(size >= (kind == PCI_BAR_IO ? 4 : 16) && !(size & (size - 1)));
	bar->kind = kind;
	bar->used = true;
	bar->dev = dev;
	bar->ops = ops;
	bar->opaque = opaque;
	bar->locked = (struct bus_ops){ .read = bar_read, .write = bar_write, .width = ops->width };
	bar->region = (struct bus_region){ .name = dev->name, .size = size, .ops = &bar->locked, .dev = bar };
	store_le32(config, kind == PCI_BAR_IO ? PCI_BAR_FLAG_IO : kind == PCI_BAR_MEM64 ? PCI_BAR_FLAG_64 : 0);
	store_le32(wmask, (uint32_t)mask);
	if (kind == PCI_BAR_MEM64)
		store_le32(wmask + 4, (uint32_t)(mask >> 32));
	dev->wmask[PCI_COMMAND] |= kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
}

/* ---- where it should be ---- */

static uint64_t bar_address(const struct pci_dev *dev, unsigned i)
{
	const struct pci_bar *bar = &dev->bars[i];
	const uint8_t *config = dev->config + PCI_BAR0 + 4 * i;
	uint64_t address = bar->kind == PCI_BAR_MEM64 ? load_le64(config) : load_le32(config);

	return address & ~(uint64_t)(bar->kind == PCI_BAR_IO ? PCI_BAR_IO_FLAGS : PCI_BAR_MEM_FLAGS);
}

uint64_t pci_bar_wanted(const struct pci_dev *dev, unsigned i)
{
	const struct pci_bar *bar = &dev->bars[i];
	uint16_t command = load_le16(dev->config + PCI_COMMAND);
	uint64_t base = bar_address(dev, i), last = base + (bar->region.size - 1); /* aligned: no overflow */

	if (bar->kind == PCI_BAR_IO)
		return command & PCI_COMMAND_IO && last <= PORT_LAST ? base : 0;
	return command & PCI_COMMAND_MEMORY && last != UINT32_MAX && last != UINT64_MAX ? base : 0;
}

/* ---- onto the bus and off it ---- */

static struct bus *bar_bus(const struct pci_bus *bus, const struct pci_bar *bar)
{
	return bar->kind == PCI_BAR_IO ? bus->pio : bus->mmio;
}

static void bar_moved(struct pci_dev *dev, unsigned i, bool mapped, uint64_t base)
{
	if (dev->bars[i].moved)
		dev->bars[i].moved(dev, i, mapped, base);
}

static void bar_unmap(struct pci_dev *dev, unsigned i)
{
	struct pci_bar *bar = &dev->bars[i];

	bus_remove(bar_bus(dev->bus, bar), &bar->region);
	bar->mapped = false;
	bar_moved(dev, i, false, bar->region.base);
}

/* KVM serves RAM before any device sees an access; only doorbells would act there. */
static int check_ram(const struct pci_bus *bus, const struct pci_bar *bar, uint64_t base, struct err *err)
{
	uint64_t last = base + (bar->region.size - 1);

	if (bar->kind == PCI_BAR_IO || !bus->mem)
		return 0;
	for (size_t i = 0; i < gm_region_count(bus->mem); i++) {
		const struct gm_region *ram = gm_region_at(bus->mem, i);

		if (base <= ram->gpa + (ram->size - 1) && ram->gpa <= last)
			return err_set(err, -EEXIST, "%s: memory 0x%" PRIx64 "-0x%" PRIx64 " is RAM", bar->region.name, base, last);
	}
	return 0;
}

/* To `base`, not 0. On failure it is nowhere. */
static int bar_map(struct pci_dev *dev, unsigned i, uint64_t base, struct err *err)
{
	struct pci_bar *bar = &dev->bars[i];
	struct bus *space = bar_bus(dev->bus, bar);
	uint64_t old = bar->region.base;
	int r = check_ram(dev->bus, bar, base, err);

	if (r == 0 && bar->mapped) {
		r = bus_move(space, &bar->region, base, err);
		if (r == 0)
			bar_moved(dev, i, false, old);
	} else if (r == 0) {
		bar->region.base = base;
		r = bus_add(space, &bar->region, err);
	}
	if (r == 0) {
		bar->mapped = true;
		bar_moved(dev, i, true, base);
	} else if (bar->mapped) {
		bar_unmap(dev, i);
	}
	return r;
}

bool pci_bars_update(struct pci_dev *dev)
{
	bool freed = false;

	for (unsigned i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &dev->bars[i];
		struct err err = ERR_INIT;
		uint64_t base;

		if (!bar->used)
			continue;
		base = pci_bar_wanted(dev, i);
		if (bar->mapped ? bar->region.base == base : !base)
			continue;
		freed |= bar->mapped;
		if (!base)
			bar_unmap(dev, i);
		else if (bar_map(dev, i, base, &err) < 0)
			log_guest(&dev->bus->log, dev->name, "BAR %u stays off the bus: %s", i, err.msg);
	}
	return freed;
}

void pci_bars_retry(struct pci_bus *bus)
{
	for (unsigned devfn = 0; devfn < PCI_FUNCTIONS; devfn++) {
		struct pci_dev *dev = bus->functions[devfn];

		if (!dev)
			continue;
		pthread_mutex_lock(&dev->lock);
		for (unsigned i = 0; i < PCI_BARS; i++) {
			uint64_t base = dev->bars[i].used && !dev->bars[i].mapped ? pci_bar_wanted(dev, i) : 0;
			struct err err = ERR_INIT;

			if (base)
				bar_map(dev, i, base, &err);
		}
		pthread_mutex_unlock(&dev->lock);
	}
}
