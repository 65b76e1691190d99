/* SPDX-License-Identifier: MIT */
/*
 * The bridges that guests expect of the machine `pc`: a host bridge that answers like Intel's 82441FX (i440FX) and an ISA bridge like the
 * 82371SB (PIIX3). What they bridge is always on: their registers say so, and few can be written: shadow RAM, and where the ISA bridge
 * routes PCI interrupts for systems that use the 8259s.
 *
 * There is no 82371AB power management function (8086:7113): the ACPI tables tell where the PM block is, and a guest that found that
 * function would look for the block, and for an SMBus, where its own registers say.
 */
#include <string.h>

#include "hw/pci_priv.h"
#include "hw/pci_regs.h"
#include "vmm/endian.h"

#define VENDOR_INTEL 0x8086
#define DEVICE_82441FX 0x1237
#define DEVICE_82371SB_ISA 0x7000
#define CLASS_HOST_BRIDGE 0x060000
#define CLASS_ISA_BRIDGE 0x060100

/* 82441FX */
#define PMC_PAM0 0x59 /* to 0x5f: shadow RAM, which firmware unlocks here; without firmware it is plain RAM in any case */
#define PMC_PAMS 7
#define PMC_PAM_MASK 0x33
#define PMC_SMRAM 0x72
#define PMC_SMRAM_NONE 0x12 /* locked, not open */

/* 82371SB */
#define PIIX_PIRQ_A 0x60
#define PIIX_PIRQS 4
#define PIIX_PIRQ_OFF 0x80 /* the line goes to the IOAPIC only */
#define PIIX_PIRQ_IRQ 0x0f
#define PIIX_PIRQ_IRQS 0xdef8u /* a bit for each ISA interrupt that a line can go to: 3 to 7, 9 to 12, 14, 15 */
#define PIIX_DLC 0x82
#define PIIX_DLC_PASSIVE_RELEASE 0x02

/* QEMU's, by which firmware knows that it runs on such a machine, and has fw_cfg. */
#define SUBSYSTEM_VENDOR 0x1af4
#define SUBSYSTEM 0x1100

static void pam_changed(struct pci_dev *host)
{
	const struct pci_bus_config *cfg = &host->bus->cfg;

	if (cfg->pam_changed)
		cfg->pam_changed(cfg->pam_opaque, host->config + PMC_PAM0);
}

static void host_written(struct pci_dev *host, unsigned offset, unsigned len)
{
	if (pci_touches(offset, len, PMC_PAM0, PMC_PAMS))
		pam_changed(host);
}

void pci_intx_set(struct pci_bus *bus, unsigned line)
{
	bool level = bus->intx_drivers[line] > 0;

	irq_set(&bus->cfg.intx[line], level);
	irq_set(&bus->pirq[line], level);
}

/* Firmware knows boards by the 82441FX on which slot 1's INTA is PIRQA: a line, which has the slot's number modulo 4, is one further here. */
static unsigned pirq_of(unsigned line)
{
	return (line + PIIX_PIRQS - 1) % PIIX_PIRQS;
}

/* The lines go where the router's registers say. */
static void pirq_update(struct pci_bus *bus)
{
	pthread_mutex_lock(&bus->intx_lock);
	for (unsigned i = 0; i < PIIX_PIRQS; i++) {
		uint8_t route = bus->bridges[1].config[PIIX_PIRQ_A + pirq_of(i)];
		unsigned irq = route & PIIX_PIRQ_IRQ;
		bool on = !(route & PIIX_PIRQ_OFF) && PIIX_PIRQ_IRQS & BIT(irq) && bus->cfg.isa_irq;

		irq_set(&bus->pirq[i], false);
		bus->pirq[i] = on ? bus->cfg.isa_irq(bus->cfg.isa_opaque, irq) : (struct irq_line){ .ops = NULL };
		pci_intx_set(bus, i);
	}
	pthread_mutex_unlock(&bus->intx_lock);
}

static void isa_written(struct pci_dev *isa, unsigned offset, unsigned len)
{
	if (pci_touches(offset, len, PIIX_PIRQ_A, PIIX_PIRQS))
		pirq_update(isa->bus);
}

static const struct pci_dev_ops host_ops = { .config_written = host_written };
static const struct pci_dev_ops isa_ops = { .config_written = isa_written };

static void bridge_init(struct pci_dev *dev, const char *name, const struct pci_dev_ops *ops, uint16_t device, uint32_t class_code, uint8_t revision)
{
	const struct pci_ids ids = {
		.vendor = VENDOR_INTEL,
		.device = device,
		.subsystem_vendor = SUBSYSTEM_VENDOR,
		.subsystem = SUBSYSTEM,
		.class_code = class_code,
		.revision = revision,
	};

	pci_dev_init(dev, name, ops, &ids, false);
	store_le16(dev->config + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	store_le16(dev->wmask + PCI_COMMAND, 0);
	dev->wmask[PCI_CACHE_LINE_SIZE] = 0;
}

int pci_bridges_add(struct pci_bus *bus, struct err *err)
{
	struct pci_dev *host = &bus->bridges[0], *isa = &bus->bridges[1];
	int r;

	bridge_init(host, "host bridge", &host_ops, DEVICE_82441FX, CLASS_HOST_BRIDGE, 2);
	for (unsigned i = 0; i < PMC_PAMS; i++)
		host->wmask[PMC_PAM0 + i] = PMC_PAM_MASK;
	host->config[PMC_SMRAM] = PMC_SMRAM_NONE;

	bridge_init(isa, "ISA bridge", &isa_ops, DEVICE_82371SB_ISA, CLASS_ISA_BRIDGE, 0);
	isa->config[PCI_COMMAND] |= PCI_COMMAND_IO;
	for (unsigned i = 0; i < PIIX_PIRQS; i++) {
		isa->config[PIIX_PIRQ_A + i] = PIIX_PIRQ_OFF;
		isa->wmask[PIIX_PIRQ_A + i] = PIIX_PIRQ_OFF | PIIX_PIRQ_IRQ;
	}
	isa->config[PIIX_DLC] = PIIX_DLC_PASSIVE_RELEASE;

	r = pci_dev_add(bus, host, PCI_DEVFN(0, 0), err);
	return r < 0 ? r : pci_dev_add(bus, isa, PCI_DEVFN(1, 0), err);
}

void pci_bridges_reset(struct pci_bus *bus)
{
	for (unsigned i = 0; i < PCI_BRIDGES; i++)
		pci_dev_reset(&bus->bridges[i]);
	pthread_mutex_lock(&bus->lock);
	memset(bus->bridges[1].config + PIIX_PIRQ_A, PIIX_PIRQ_OFF, PIIX_PIRQS);
	pirq_update(bus);
	pam_changed(&bus->bridges[0]);
	pthread_mutex_unlock(&bus->lock);
}
