/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the PCI bus share. Internal to hw/pci*.c and their tests.
 *
 * Locks, outermost first:
 *   bus->lock       who is where: functions, configuration bytes, places of BARs
 *   dev->lock       one access to a function at a time, configuration or BAR; a device's handlers run under it
 *   msix->lock      a function's vectors: taken by table accesses and by whoever fires
 *   bus->intx_lock  levels of the interrupt lines; configuration bytes are written under it too, so it is enough to read them
 * A handler runs under dev->lock, so it never takes bus->lock; firing needs neither of these two.
 */
#ifndef HW_PCI_PRIV_H
#define HW_PCI_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "hw/pci.h"
#include "vmm/log.h"

#define PCI_FUNCTIONS 256
#define PCI_SLOTS 32
#define PCI_SLOT_FUNCTIONS 8
#define PCI_ADDRESS_PORT 0xcf8
#define PCI_DATA_PORT 0xcfc
#define PCI_BRIDGES 2

struct pci_bus {
	struct device dev;
	pthread_mutex_t lock, intx_lock;
	struct pci_bus_config cfg;
	struct bus *pio, *mmio;
	const struct guest_mem *mem; /* where no BAR may be; NULL: nowhere */
	const struct bus_region *rcr; /* the register inside mechanism 1's address port; NULL: none */
	uint32_t address; /* CONFIG_ADDRESS */
	struct pci_dev *functions[PCI_FUNCTIONS];
	unsigned intx_drivers[4]; /* functions that drive a line high */
	struct irq_line pirq[4];  /* where the ISA bridge routes the lines to; not connected: nowhere. Under intx_lock */
	struct bus_region address_port, data_port, ecam;
	struct log_limit log;
	struct pci_dev bridges[PCI_BRIDGES];
};

/* hw/pci_bridges.c: the host bridge at 00.0 and the ISA bridge at 01.0. */
int pci_bridges_add(struct pci_bus *bus, struct err *err);
void pci_bridges_reset(struct pci_bus *bus);

/* hw/pci_config.c: an access to the configuration space of a function, 1 to 4 bytes within an aligned 4; nobody there: all ones. */
void pci_config_read(struct pci_bus *bus, unsigned devfn, unsigned offset, uint8_t *buf, unsigned len);
void pci_config_write(struct pci_bus *bus, unsigned devfn, unsigned offset, const uint8_t *buf, unsigned len);

/* hw/pci_bar.c. Where a BAR is to be, by its bytes and the command register; 0: nowhere. Under bus->lock or bus->intx_lock. */
uint64_t pci_bar_wanted(const struct pci_dev *dev, unsigned bar);
/* The others under bus->lock and dev->lock. */
/* Puts every BAR where the configuration bytes say, or nowhere. Returns whether a place became free. */
bool pci_bars_update(struct pci_dev *dev);
/* A place became free: tries again what had to stay off the bus. Under bus->lock only. */
void pci_bars_retry(struct pci_bus *bus);

/* Line `line` is driven by any function, or by none any more. Under bus->intx_lock. */
void pci_intx_set(struct pci_bus *bus, unsigned line);

/* What the function drives onto its interrupt line follows from its state. Takes bus->intx_lock. */
void pci_intx_update(struct pci_dev *dev);

/* hw/pci_msix.c. Under dev->lock. */
void pci_msix_control_written(struct pci_dev *dev); /* its control word, or the command register */
unsigned pci_msix_capability(const struct pci_dev *dev); /* its offset */
void pci_msix_reset(struct pci_dev *dev);
void pci_msix_destroy(struct pci_dev *dev);

static inline bool pci_touches(unsigned offset, unsigned len, unsigned first, unsigned n)
{
	return offset < first + n && first < offset + len;
}

#endif
