/* SPDX-License-Identifier: MIT */
/*
 * Places for BARs, as firmware would give them: the same for the same devices.
 *
 * In each window the largest come first, so that each starts where the one before ended and no room is lost to alignment; equals go by
 * function and number. A 64-bit BAR goes below 4 GiB when all fits there, for guests that see no further, else above.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "hw/pci_priv.h"
#include "hw/pci_regs.h"
#include "vmm/endian.h"
#include "vmm/err.h"

#define MAX_BARS (PCI_FUNCTIONS * PCI_BARS)

struct room {
	uint64_t next, end;
};

struct placing {
	struct room io, mem32, mem64;
	size_t n;
	struct pci_bar *bars[MAX_BARS];
};

static int bar_compare(const void *a, const void *b)
{
	const struct pci_bar *x = *(struct pci_bar *const *)a, *y = *(struct pci_bar *const *)b;
	bool x64 = x->kind == PCI_BAR_MEM64, y64 = y->kind == PCI_BAR_MEM64;

	if (x64 != y64)
		return x64 - y64; /* those that have no choice first */
	if (x->region.size != y->region.size)
		return x->region.size < y->region.size ? 1 : -1;
	if (x->dev != y->dev)
		return x->dev->devfn - y->dev->devfn;
	return x < y ? -1 : 1; /* of one array */
}

static void collect(const struct pci_bus *bus, struct placing *p)
{
	for (unsigned devfn = 0; devfn < PCI_FUNCTIONS; devfn++) {
		struct pci_dev *dev = bus->functions[devfn];

		for (unsigned i = 0; dev && i < PCI_BARS; i++)
			if (dev->bars[i].used)
				p->bars[p->n++] = &dev->bars[i];
	}
	qsort(p->bars, p->n, sizeof(p->bars[0]), bar_compare);
}

static struct room room_of(const struct pci_window *w)
{
	return (struct room){ .next = w->base, .end = w->base + w->size };
}

static bool take(struct room *room, uint64_t size, uint64_t *base)
{
	uint64_t at;

	if (!add_u64(room->next, size - 1, &at))
		return false;
	at = align_down(at, size);
	if (at < room->next || at > room->end || size > room->end - at)
		return false;
	*base = at;
	room->next = at + size;
	return true;
}

static int place(struct placing *p, struct pci_bar *bar, struct err *err)
{
	struct pci_dev *dev = bar->dev;
	unsigned i = (unsigned)(bar - dev->bars);
	uint8_t *config = dev->config + PCI_BAR0 + 4 * i;
	uint64_t base;
	bool found;

	if (bar->kind == PCI_BAR_IO)
		found = take(&p->io, bar->region.size, &base);
	else
		found = take(&p->mem32, bar->region.size, &base) ||
			(bar->kind == PCI_BAR_MEM64 && take(&p->mem64, bar->region.size, &base));
	if (!found)
		return err_set(err, -ENOSPC, "%s: no room on the PCI bus for BAR %u of 0x%" PRIx64 " %s; use fewer devices",
			       dev->name, i, bar->region.size, bar->kind == PCI_BAR_IO ? "ports" : "bytes");
	if (bar->kind == PCI_BAR_MEM64)
		store_le64(config, base | (load_le32(config) & PCI_BAR_MEM_FLAGS));
	else
		store_le32(config, (uint32_t)base | (load_le32(config) & (bar->kind == PCI_BAR_IO ? PCI_BAR_IO_FLAGS : PCI_BAR_MEM_FLAGS)));
	return 0;
}

/* Decoding on, the interrupt line's number for guests without ACPI, and onto the buses. */
static void enable(struct pci_bus *bus, struct pci_dev *dev)
{
	uint16_t mask = load_le16(dev->wmask + PCI_COMMAND) & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	uint16_t old = load_le16(dev->config + PCI_COMMAND);

	pthread_mutex_lock(&dev->lock);
	pthread_mutex_lock(&bus->intx_lock);
	store_le16(dev->config + PCI_COMMAND, old | mask);
	if (dev->config[PCI_INTERRUPT_PIN])
		dev->config[PCI_INTERRUPT_LINE] = (uint8_t)bus->cfg.intx[((unsigned)dev->devfn >> 3) % 4].pin;
	pthread_mutex_unlock(&bus->intx_lock);
	pci_bars_update(dev);
	if (mask & ~old && dev->ops->command_changed)
		dev->ops->command_changed(dev, old | mask);
	pthread_mutex_unlock(&dev->lock);
}

unsigned pci_bus_intx_lines(struct pci_bus *bus)
{
	unsigned lines = 0;

	pthread_mutex_lock(&bus->lock);
	for (unsigned devfn = 0; devfn < PCI_FUNCTIONS; devfn++)
		if (bus->functions[devfn] && bus->functions[devfn]->config[PCI_INTERRUPT_PIN])
			lines |= BIT((devfn >> 3) % 4);
	pthread_mutex_unlock(&bus->lock);
	return lines;
}

int pci_bus_assign(struct pci_bus *bus, struct err *err)
{
	struct placing *p = malloc(sizeof(*p));
	int r = 0;

	if (!p)
		return err_set(err, -ENOMEM, "PCI bus: not enough memory on the host");
	p->n = 0;
	p->io = room_of(&bus->cfg.io);
	p->mem32 = room_of(&bus->cfg.mem32);
	p->mem64 = room_of(&bus->cfg.mem64);
	pthread_mutex_lock(&bus->lock);
	collect(bus, p);
	for (size_t i = 0; r == 0 && i < p->n; i++)
		r = place(p, p->bars[i], err);
	for (unsigned devfn = 0; r == 0 && devfn < PCI_FUNCTIONS; devfn++)
		if (bus->functions[devfn])
			enable(bus, bus->functions[devfn]);
	pthread_mutex_unlock(&bus->lock);
	free(p);
	return r;
}
