/* SPDX-License-Identifier: MIT */
/*
 * Configuration space: the bytes of a function, and what follows when the guest writes them.
 *
 * A function's bytes are data; `wmask` has the bits that the guest may write. Only three things depend on them: where the BARs are, what
 * the interrupt line gets, and MSI-X. After a write each of these is brought up to date from the bytes, whichever bytes were written and
 * in pieces of whatever size.
 */
#include <assert.h>
#include <string.h>

#include "hw/pci_priv.h"
#include "hw/pci_regs.h"
#include "vmm/endian.h"

#define COMMAND_SWITCHES (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

void pci_dev_init(struct pci_dev *dev, const char *name, const struct pci_dev_ops *ops, const struct pci_ids *ids, bool intx)
{
	uint8_t *c = dev->config;

	memset(dev, 0, sizeof(*dev));
	dev->ops = ops;
	dev->name = name;
	dev->devfn = PCI_ADDR_AUTO;
	pthread_mutex_init(&dev->lock, NULL);
	store_le16(c + PCI_VENDOR_ID, ids->vendor);
	store_le16(c + PCI_DEVICE_ID, ids->device);
	store_le32(c + PCI_REVISION, ids->class_code << 8 | ids->revision);
	store_le16(c + PCI_SUBSYSTEM_VENDOR_ID, ids->subsystem_vendor);
	store_le16(c + PCI_SUBSYSTEM_ID, ids->subsystem);
	store_le16(dev->wmask + PCI_COMMAND, PCI_COMMAND_MASTER);
	dev->wmask[PCI_CACHE_LINE_SIZE] = 0xff;
	if (intx) {
		c[PCI_INTERRUPT_PIN] = 1;
		dev->wmask[PCI_INTERRUPT_LINE] = 0xff;
		store_le16(dev->wmask + PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	}
	dev->next_cap = PCI_HEADER_END;
	dev->last_link = c + PCI_CAPABILITIES;
}

unsigned pci_dev_add_capability(struct pci_dev *dev, uint8_t id, const void *body, unsigned len)
{
	unsigned at = dev->next_cap;

	/* next_cap is 0 when the last one ended at 256. */
	assert(at >= PCI_HEADER_END && len >= 2 && at + len <= PCI_CONVENTIONAL_SIZE);
	dev->config[at] = id;
	dev->config[at + 1] = 0;
	memcpy(dev->config + at + 2, body, len - 2);
	*dev->last_link = (uint8_t)at;
	dev->last_link = &dev->config[at + 1];
	dev->next_cap = (uint8_t)align_up(at + len, 4);
	dev->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
	return at;
}

/* ---- interrupt pins ---- */

static bool intx_wanted(const struct pci_dev *dev)
{
	uint16_t command = load_le16(dev->config + PCI_COMMAND);

	return dev->intx_level && dev->config[PCI_INTERRUPT_PIN] && !(command & PCI_COMMAND_INTX_DISABLE) && !pci_msix_enabled(dev);
}

/* Under bus->intx_lock. */
static void intx_drive(struct pci_dev *dev, bool level)
{
	struct pci_bus *bus = dev->bus;
	unsigned line = ((unsigned)dev->devfn >> 3) % 4; /* pin A: (slot + 1 - 1) mod 4 */

	if (dev->intx_driven == level)
		return;
	dev->intx_driven = level;
	bus->intx_drivers[line] += level ? 1 : -1u;
	pci_intx_set(bus, line);
}

void pci_intx_update(struct pci_dev *dev)
{
	if (!dev->bus)
		return;
	pthread_mutex_lock(&dev->bus->intx_lock);
	intx_drive(dev, intx_wanted(dev));
	pthread_mutex_unlock(&dev->bus->intx_lock);
}

void pci_set_intx(struct pci_dev *dev, bool level)
{
	struct pci_bus *bus = dev->bus;

	if (!bus)
		return;
	pthread_mutex_lock(&bus->intx_lock);
	dev->intx_level = level;
	intx_drive(dev, intx_wanted(dev));
	pthread_mutex_unlock(&bus->intx_lock);
}

/* ---- accesses ---- */

/* The status bit shows what the device wants, whether or not it gets through (6.2.3). */
static void refresh_status(struct pci_dev *dev)
{
	pthread_mutex_lock(&dev->bus->intx_lock);
	dev->config[PCI_STATUS] &= ~PCI_STATUS_INTERRUPT;
	if (dev->intx_level)
		dev->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
	pthread_mutex_unlock(&dev->bus->intx_lock);
}

void pci_config_read(struct pci_bus *bus, unsigned devfn, unsigned offset, uint8_t *buf, unsigned len)
{
	struct pci_dev *dev;

	pthread_mutex_lock(&bus->lock);
	dev = bus->functions[devfn];
	if (dev) {
		pthread_mutex_lock(&dev->lock);
		if (pci_touches(offset, len, PCI_STATUS, 1))
			refresh_status(dev);
		if (offset >= PCI_HEADER_END && dev->ops->config_read)
			dev->ops->config_read(dev, offset, len);
		memcpy(buf, dev->config + offset, len);
		pthread_mutex_unlock(&dev->lock);
	}
	pthread_mutex_unlock(&bus->lock);
}

static void store(struct pci_dev *dev, unsigned offset, const uint8_t *buf, unsigned len)
{
	pthread_mutex_lock(&dev->bus->intx_lock);
	for (unsigned i = 0; i < len; i++) {
		uint8_t mask = dev->wmask[offset + i];

		dev->config[offset + i] = (dev->config[offset + i] & ~mask) | (buf[i] & mask);
	}
	pthread_mutex_unlock(&dev->bus->intx_lock);
}

/* Returns whether a place on a bus became free. */
static bool write_function(struct pci_dev *dev, unsigned offset, const uint8_t *buf, unsigned len)
{
	uint16_t old = load_le16(dev->config + PCI_COMMAND), command;
	bool freed = false;

	store(dev, offset, buf, len);
	command = load_le16(dev->config + PCI_COMMAND);
	if (command != old || pci_touches(offset, len, PCI_BAR0, PCI_BAR_END - PCI_BAR0))
		freed = pci_bars_update(dev);
	if ((command ^ old) & PCI_COMMAND_INTX_DISABLE)
		pci_intx_update(dev);
	if ((command ^ old) & COMMAND_SWITCHES && dev->ops->command_changed)
		dev->ops->command_changed(dev, command);
	if (dev->msix && (pci_touches(offset, len, pci_msix_capability(dev) + PCI_MSIX_CONTROL, 2) || (command ^ old) & PCI_COMMAND_MASTER))
		pci_msix_control_written(dev);
	if (offset >= PCI_HEADER_END && dev->ops->config_written)
		dev->ops->config_written(dev, offset, len);
	return freed;
}

void pci_config_write(struct pci_bus *bus, unsigned devfn, unsigned offset, const uint8_t *buf, unsigned len)
{
	struct pci_dev *dev;
	bool freed;

	pthread_mutex_lock(&bus->lock);
	dev = bus->functions[devfn];
	if (dev) {
		pthread_mutex_lock(&dev->lock);
		freed = write_function(dev, offset, buf, len);
		pthread_mutex_unlock(&dev->lock);
		if (freed)
			pci_bars_retry(bus);
	}
	pthread_mutex_unlock(&bus->lock);
}

void pci_dev_set_master(struct pci_dev *dev)
{
	pthread_mutex_lock(&dev->bus->intx_lock);
	dev->config[PCI_COMMAND] |= PCI_COMMAND_MASTER;
	pthread_mutex_unlock(&dev->bus->intx_lock);
	if (dev->msix)
		pci_msix_control_written(dev);
}

/* ---- reset ---- */

static void reset_bytes(struct pci_dev *dev)
{
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
		dev->config[i] &= ~dev->wmask[i];
	dev->intx_level = false;
}

void pci_dev_reset(struct pci_dev *dev)
{
	struct pci_bus *bus = dev->bus;

	if (!bus) {
		reset_bytes(dev);
		return;
	}
	pthread_mutex_lock(&bus->lock);
	pthread_mutex_lock(&dev->lock);
	pthread_mutex_lock(&bus->intx_lock);
	reset_bytes(dev);
	pthread_mutex_unlock(&bus->intx_lock);
	pci_bars_update(dev);
	if (dev->msix)
		pci_msix_reset(dev);
	pci_intx_update(dev);
	pthread_mutex_unlock(&dev->lock);
	pthread_mutex_unlock(&bus->lock);
}
