/* SPDX-License-Identifier: MIT */
/*
 * The bus: which functions are on it, and the two ways to their configuration spaces.
 *
 * Configuration mechanism 1 (PCI 3.0, 3.2.2.3.2) has its address register at 0xcf8 for accesses of just four bytes. Narrower ones belong
 * to whoever is at those ports: in the middle of it, at 0xcf9, is the reset control register, a byte. So the bus takes all four
 * ports and hands that byte on. The data register, 0xcfc to 0xcff, takes bytes, words and doublewords.
 *
 * ECAM has bus 0 at its base, 4 KiB a function. Other bus numbers, by either way, have nobody: all ones.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/pci_priv.h"
#include "hw/pci_regs.h"
#include "vmm/endian.h"
#include "vmm/err.h"

#define RCR_OFFSET 1 /* 0xcf9 */

#define ADDRESS_ENABLE BIT(31)
#define ADDRESS_BUS(a) ((a) >> 16 & 0xff)
#define ADDRESS_DEVFN(a) ((a) >> 8 & 0xff)
#define ADDRESS_REGISTER(a) ((a) & 0xfc)
#define ADDRESS_MASK 0x80fffffcu /* the others read as zeroes */

#define ECAM_DEVFN(offset) ((unsigned)((offset) >> 12) & 0xff)
#define ECAM_REGISTER(offset) ((unsigned)(offset) & (PCI_CONFIG_SIZE - 1))

/* ---- mechanism 1 ---- */

static void address_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct pci_bus *bus = dev;

	if (len == 4) {
		pthread_mutex_lock(&bus->lock);
		store_le32(buf, bus->address);
		pthread_mutex_unlock(&bus->lock);
	} else if (bus->rcr && pci_touches((unsigned)offset, len, RCR_OFFSET, 1)) {
		bus->rcr->ops->read(bus->rcr->dev, RCR_OFFSET, buf + (RCR_OFFSET - offset), 1);
	}
}

static void address_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct pci_bus *bus = dev;

	if (len == 4) {
		pthread_mutex_lock(&bus->lock);
		bus->address = load_le32(buf) & ADDRESS_MASK;
		pthread_mutex_unlock(&bus->lock);
	} else if (bus->rcr && pci_touches((unsigned)offset, len, RCR_OFFSET, 1)) {
		bus->rcr->ops->write(bus->rcr->dev, RCR_OFFSET, buf + (RCR_OFFSET - offset), 1);
	}
}

static const struct bus_ops address_ops = {
	.read = address_read,
	.write = address_write,
	.width = 4,
};

/* What the address register selects; false: nothing on this bus. */
static bool data_target(struct pci_bus *bus, uint64_t offset, unsigned *devfn, unsigned *reg)
{
	uint32_t address;

	pthread_mutex_lock(&bus->lock);
	address = bus->address;
	pthread_mutex_unlock(&bus->lock);
	*devfn = ADDRESS_DEVFN(address);
	*reg = ADDRESS_REGISTER(address) + (unsigned)offset;
	return address & ADDRESS_ENABLE && ADDRESS_BUS(address) == 0;
}

static void data_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	unsigned devfn, reg;

	if (data_target(dev, offset, &devfn, &reg))
		pci_config_read(dev, devfn, reg, buf, len);
}

static void data_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	unsigned devfn, reg;

	if (data_target(dev, offset, &devfn, &reg))
		pci_config_write(dev, devfn, reg, buf, len);
}

static const struct bus_ops data_ops = {
	.read = data_read,
	.write = data_write,
	.width = 4,
};

/* ---- ECAM ---- */

static void ecam_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	pci_config_read(dev, ECAM_DEVFN(offset), ECAM_REGISTER(offset), buf, len);
}

static void ecam_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	pci_config_write(dev, ECAM_DEVFN(offset), ECAM_REGISTER(offset), buf, len);
}

static const struct bus_ops ecam_ops = {
	.read = ecam_read,
	.write = ecam_write,
	.width = 4,
};

/* ---- functions ---- */

/* Function 0's header says whether to look for others (6.2.1). */
static void slot_update(struct pci_bus *bus, unsigned slot)
{
	struct pci_dev *first = bus->functions[PCI_DEVFN(slot, 0)];
	bool others = false;

	for (unsigned fn = 1; fn < PCI_SLOT_FUNCTIONS; fn++)
		others |= bus->functions[PCI_DEVFN(slot, fn)] != NULL;
	if (!first)
		return;
	first->config[PCI_HEADER_TYPE] &= ~PCI_HEADER_MULTI_FUNCTION;
	if (others)
		first->config[PCI_HEADER_TYPE] |= PCI_HEADER_MULTI_FUNCTION;
}

/* A slot without any function, or -1. */
static int free_slot(const struct pci_bus *bus)
{
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		bool any = false;

		for (unsigned fn = 0; fn < PCI_SLOT_FUNCTIONS; fn++)
			any |= bus->functions[PCI_DEVFN(slot, fn)] != NULL;
		if (!any)
			return (int)slot;
	}
	return -1;
}

static int find_place(const struct pci_bus *bus, const struct pci_dev *dev, int *devfn, struct err *err)
{
	int slot;

	if (*devfn == PCI_ADDR_AUTO) {
		slot = free_slot(bus);
		if (slot < 0)
			return err_set(err, -ENOSPC, "%s: all %d slots of the PCI bus are taken; use fewer devices", dev->name,
				       PCI_SLOTS);
		*devfn = PCI_DEVFN(slot, 0);
		return 0;
	}
	if (*devfn < 0 || *devfn >= PCI_FUNCTIONS)
		return err_set(err, -EINVAL, "%s: the PCI bus has no slot %d; it has 00.0 to 1f.7", dev->name, *devfn / PCI_SLOT_FUNCTIONS);
	if (bus->functions[*devfn])
		return err_set(err, -EBUSY, "%s: PCI address %02x.%x is taken by %s; give one of them another 'addr'", dev->name,
			       (unsigned)*devfn >> 3, (unsigned)*devfn & 7, bus->functions[*devfn]->name);
	return 0;
}

int pci_dev_add(struct pci_bus *bus, struct pci_dev *dev, int devfn, struct err *err)
{
	int r;

	pthread_mutex_lock(&bus->lock);
	r = find_place(bus, dev, &devfn, err);
	if (r == 0) {
		for (unsigned i = 0; i < PCI_BARS; i++)
			if (dev->bars[i].used && dev->bars[i].prefetchable && dev->bars[i].kind != PCI_BAR_IO)
				dev->config[PCI_BAR0 + 4 * i] |= PCI_BAR_FLAG_PREFETCH;
		dev->bus = bus;
		dev->devfn = devfn;
		bus->functions[devfn] = dev;
		slot_update(bus, (unsigned)devfn >> 3);
	}
	pthread_mutex_unlock(&bus->lock);
	return r;
}

static void take_off(struct pci_bus *bus, struct pci_dev *dev)
{
	pci_dev_reset(dev); /* BARs off the buses, the interrupt line released */
	pthread_mutex_lock(&bus->lock);
	bus->functions[dev->devfn] = NULL;
	slot_update(bus, (unsigned)dev->devfn >> 3);
	pthread_mutex_unlock(&bus->lock);
	dev->bus = NULL;
	dev->devfn = PCI_ADDR_AUTO;
}

void pci_dev_remove(struct pci_dev *dev)
{
	if (dev->bus)
		take_off(dev->bus, dev);
	pci_msix_destroy(dev);
	pthread_mutex_destroy(&dev->lock);
}

/* ---- the bus ---- */

static void pci_bus_reset(struct device *dev)
{
	struct pci_bus *bus = CONTAINER_OF(dev, struct pci_bus, dev);

	pthread_mutex_lock(&bus->lock);
	bus->address = 0;
	pthread_mutex_unlock(&bus->lock);
	pci_bridges_reset(bus);
}

static void pci_bus_destroy(struct device *dev)
{
	struct pci_bus *bus = CONTAINER_OF(dev, struct pci_bus, dev);

	bus_remove(bus->pio, &bus->address_port);
	bus_remove(bus->pio, &bus->data_port);
	bus_remove(bus->mmio, &bus->ecam);
	for (unsigned i = PCI_BRIDGES; i-- > 0;)
		pci_dev_remove(&bus->bridges[i]);
	pthread_mutex_destroy(&bus->intx_lock);
	pthread_mutex_destroy(&bus->lock);
	free(bus);
}

static const struct device_ops pci_bus_ops = {
	.reset = pci_bus_reset,
	.destroy = pci_bus_destroy,
};

static int pci_bus_place(struct pci_bus *bus, struct err *err)
{
	int r;

	bus->address_port = (struct bus_region){
		.name = "PCI configuration address", .base = PCI_ADDRESS_PORT, .size = 4, .ops = &address_ops, .dev = bus,
	};
	bus->data_port = (struct bus_region){
		.name = "PCI configuration data", .base = PCI_DATA_PORT, .size = 4, .ops = &data_ops, .dev = bus,
	};
	bus->ecam = (struct bus_region){
		.name = "PCI ECAM", .base = bus->cfg.ecam_base, .size = PCI_ECAM_SIZE, .ops = &ecam_ops, .dev = bus,
	};
	r = bus_add(bus->pio, &bus->address_port, err);
	if (r == 0)
		r = bus_add(bus->pio, &bus->data_port, err);
	if (r == 0 && bus->cfg.ecam_base)
		r = bus_add(bus->mmio, &bus->ecam, err);
	return r < 0 ? r : pci_bridges_add(bus, err);
}

struct pci_bus *pci_bus_create(const struct device_env *env, const struct pci_bus_config *cfg, struct err *err)
{
	struct pci_bus *bus = calloc(1, sizeof(*bus));

	if (!bus) {
		err_set(err, -ENOMEM, "PCI bus: not enough memory on the host");
		return NULL;
	}
	bus->dev = (struct device){ .ops = &pci_bus_ops, .name = "PCI bus" };
	bus->cfg = *cfg;
	bus->pio = env->pio;
	bus->mmio = env->mmio;
	bus->mem = env->mem;
	bus->log = (struct log_limit)LOG_LIMIT_INIT;
	pthread_mutex_init(&bus->lock, NULL);
	pthread_mutex_init(&bus->intx_lock, NULL);
	if (cfg->reset_ctl)
		bus->rcr = reset_ctl_take_rcr(cfg->reset_ctl);
	if (pci_bus_place(bus, err) < 0) {
		pci_bus_destroy(&bus->dev);
		return NULL;
	}
	return bus;
}

struct device *pci_bus_device(struct pci_bus *bus)
{
	return &bus->dev;
}

/* ---- looking ---- */

static void dev_look(const struct pci_dev *dev, struct pci_seen *seen)
{
	*seen = (struct pci_seen){ .name = dev->name, .devfn = (unsigned)dev->devfn };
	memcpy(seen->header, dev->config, sizeof(seen->header));
	for (unsigned i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *bar = &dev->bars[i];

		if (!bar->used)
			continue;
		seen->bars[i].size = bar->region.size;
		seen->bars[i].address = pci_bar_wanted(dev, i);
		seen->bars[i].io = bar->kind == PCI_BAR_IO;
		seen->bars[i].is_64 = bar->kind == PCI_BAR_MEM64;
		seen->bars[i].prefetchable = bar->prefetchable;
	}
}

void pci_bus_look(struct pci_bus *bus, void (*seen)(void *opaque, const struct pci_seen *function), void *opaque)
{
	for (unsigned devfn = 0; devfn < PCI_FUNCTIONS; devfn++) {
		struct pci_seen one;

		if (!bus->functions[devfn])
			continue;
		pthread_mutex_lock(&bus->intx_lock);
		dev_look(bus->functions[devfn], &one);
		pthread_mutex_unlock(&bus->intx_lock);
		seen(opaque, &one);
	}
}
