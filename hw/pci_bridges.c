/* SPDX-License-Identifier: MIT */
/*
 * The bridges that guests expect of the machine `pc`: a host bridge that answers like Intel's 82441FX (i440FX) and an ISA bridge like the
 * 82371SB (PIIX3). What they bridge is always on: their registers say so, and few can be written.
 *
 * There is no 82371AB power management function (8086:7113): the ACPI tables tell where the PM block is, and a guest that found that
 * function would look for the block, and for an SMBus, where its own registers say.
 */
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
#define PIIX_PIRQ_OFF 0x80 /* the lines go to the IOAPIC only */
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

static const struct pci_dev_ops host_ops = { .config_written = host_written };
static const struct pci_dev_ops isa_ops = { 0 };

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
	for (unsigned i = 0; i < PIIX_PIRQS; i++)
		isa->config[PIIX_PIRQ_A + i] = PIIX_PIRQ_OFF;
	isa->config[PIIX_DLC] = PIIX_DLC_PASSIVE_RELEASE;

	r = pci_dev_add(bus, host, PCI_DEVFN(0, 0), err);
	return r < 0 ? r : pci_dev_add(bus, isa, PCI_DEVFN(1, 0), err);
}

void pci_bridges_reset(struct pci_bus *bus)
{
	for (unsigned i = 0; i < PCI_BRIDGES; i++)
		pci_dev_reset(&bus->bridges[i]);
	pthread_mutex_lock(&bus->lock);
	pam_changed(&bus->bridges[0]);
	pthread_mutex_unlock(&bus->lock);
}
