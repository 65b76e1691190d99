/* SPDX-License-Identifier: MIT */
/*
 * The DSDT: the CPUs, the devices on the ISA bus, the PCI bus, virtio devices in memory, and how to switch off. The power button is fixed
 * hardware that the FADT names, or in hardware-reduced ACPI an event of the generic event device.
 */
#include <stdio.h>

#include "firmware/acpi.h"
#include "firmware/acpi_tables.h"
#include "firmware/aml.h"

#define PCI_SLOTS 32
#define PCI_PINS 4
#define PCI_ANY_FUNCTION 0xffff
#define PCI_MECHANISM_1 0xcf8 /* its ports */
#define PCI_MECHANISM_1_LEN 8
#define STA_ALL 0xf /* present, enabled, shown, functioning (ACPI 6.4, 6.3.7) */

/* C000, C001 and so on: processor devices (5.2.12, 8.4). */
static void put_cpu(struct aml *aml, size_t index, uint32_t apic_id)
{
	char name[8];

	snprintf(name, sizeof(name), "C%03X", (unsigned)(index % ACPI_MAX_CPUS));
	aml_begin_device(aml, name);
	aml_name(aml, "_HID");
	aml_hid(aml, "ACPI0007");
	aml_name(aml, "_UID");
	aml_int(aml, apic_id);
	aml_end(aml);
}

static void put_isa_device(struct aml *aml, const struct acpi_isa_device *dev)
{
	aml_begin_device(aml, dev->name);
	aml_name(aml, "_HID");
	aml_hid(aml, dev->hid);
	aml_name(aml, "_UID");
	aml_int(aml, dev->uid);
	aml_name(aml, "_STA");
	aml_int(aml, STA_ALL);
	aml_name(aml, "_CRS");
	aml_begin_resources(aml);
	for (size_t i = 0; i < ACPI_MAX_IO && dev->io[i].len > 0; i++)
		aml_io(aml, dev->io[i].base, dev->io[i].len);
	if (dev->irq != ACPI_NO_IRQ)
		aml_irq(aml, dev->irq);
	aml_end(aml);
	aml_end(aml);
}

/* Every slot's four pins (6.2.13): whose address, which pin from 0, no link device, the GSI. */
static void put_prt(struct aml *aml, uint32_t gsi)
{
	aml_name(aml, "_PRT");
	aml_begin_package(aml, PCI_SLOTS * PCI_PINS);
	for (uint64_t slot = 0; slot < PCI_SLOTS; slot++) {
		for (uint32_t pin = 0; pin < PCI_PINS; pin++) {
			aml_begin_package(aml, 4);
			aml_int(aml, slot << 16 | PCI_ANY_FUNCTION);
			aml_int(aml, pin);
			aml_int(aml, 0);
			aml_int(aml, gsi + (slot + pin) % PCI_PINS);
			aml_end(aml);
		}
	}
	aml_end(aml);
}

static void put_pci(struct aml *aml, const struct acpi_pci *pci)
{
	aml_begin_device(aml, "PCI0");
	aml_name(aml, "_HID");
	aml_hid(aml, "PNP0A03");
	aml_name(aml, "_UID");
	aml_int(aml, 0);
	aml_name(aml, "_BBN");
	aml_int(aml, 0);
	aml_name(aml, "_CRS");
	aml_begin_resources(aml);
	aml_window(aml, AML_BUSES, 0, 1);
	aml_window(aml, AML_PORTS, 0, PCI_MECHANISM_1);
	aml_io(aml, PCI_MECHANISM_1, PCI_MECHANISM_1_LEN); /* the bridge's own */
	aml_window(aml, AML_PORTS, PCI_MECHANISM_1 + PCI_MECHANISM_1_LEN, 0x10000 - PCI_MECHANISM_1 - PCI_MECHANISM_1_LEN);
	for (unsigned i = 0; i < 2; i++)
		if (pci->mem32[i].size)
			aml_window(aml, AML_MEMORY, pci->mem32[i].base, pci->mem32[i].size);
	if (pci->mem64.size)
		aml_window(aml, AML_MEMORY, pci->mem64.base, pci->mem64.size);
	aml_end(aml);
	put_prt(aml, pci->gsi);
	aml_end(aml);
}

/* Configuration space in memory belongs to the board, not to the bus (PCI Firmware Specification 3.3, 4.1.2). */
static void put_ecam(struct aml *aml, const struct acpi_pci *pci)
{
	aml_begin_device(aml, "ECAM");
	aml_name(aml, "_HID");
	aml_hid(aml, "PNP0C02");
	aml_name(aml, "_UID");
	aml_string(aml, "ECAM");
	aml_name(aml, "_CRS");
	aml_begin_resources(aml);
	aml_memory(aml, (uint32_t)pci->ecam_base, (uint32_t)pci->ecam_size);
	aml_end(aml);
	aml_end(aml);
}

/* Linux's name for virtio over MMIO; there is no other in use. */
static void put_virtio(struct aml *aml, size_t index, const struct acpi_virtio_mmio *virtio)
{
	char name[8];

	snprintf(name, sizeof(name), "VR%02X", (unsigned)(index & 0xff));
	aml_begin_device(aml, name);
	aml_name(aml, "_HID");
	aml_hid(aml, "LNRO0005");
	aml_name(aml, "_UID");
	aml_int(aml, index);
	aml_name(aml, "_CCA"); /* its DMA is cache-coherent */
	aml_int(aml, 1);
	aml_name(aml, "_CRS");
	aml_begin_resources(aml);
	aml_memory(aml, virtio->base, virtio->size);
	aml_interrupt(aml, virtio->gsi, true);
	aml_end(aml);
	aml_end(aml);
}

#define EVENT_BYTES 4
#define EVENT_POWER_BUTTON 1
#define NOTIFY_PRESSED 0x80 /* of a button (5.6.6) */

/* The event device calls _EVT when its interrupt comes; reading the selector tells what happened and takes the interrupt back. */
static void put_events(struct aml *aml, const struct acpi_reduced *reduced)
{
	aml_begin_device(aml, "PWRB");
	aml_name(aml, "_HID");
	aml_hid(aml, "PNP0C0C");
	aml_name(aml, "_UID");
	aml_int(aml, 0);
	aml_end(aml);
	aml_begin_device(aml, "GED");
	aml_name(aml, "_HID");
	aml_hid(aml, "ACPI0013");
	aml_name(aml, "_UID");
	aml_int(aml, 0);
	aml_name(aml, "_CRS");
	aml_begin_resources(aml);
	aml_interrupt(aml, reduced->event_gsi, false);
	aml_end(aml);
	aml_port_field(aml, "EVTR", "ESEL", reduced->event_port, EVENT_BYTES);
	aml_begin_method(aml, "_EVT", 1);
	aml_begin_if_bits(aml, "ESEL", EVENT_POWER_BUTTON);
	aml_notify(aml, "\\_SB.PWRB", NOTIFY_PRESSED);
	aml_end(aml);
	aml_end(aml);
	aml_end(aml);
}

/* \_S5: the SLP_TYP values of soft-off for PM1a and PM1b, and two reserved (7.4.2). */
static void put_s5(struct aml *aml, uint8_t slp_typ)
{
	aml_name(aml, "\\_S5");
	aml_begin_package(aml, 4);
	aml_int(aml, slp_typ);
	aml_int(aml, slp_typ);
	aml_int(aml, 0);
	aml_int(aml, 0);
	aml_end(aml);
}

void acpi_dsdt_put(struct blob *out, const struct acpi_platform *platform)
{
	struct aml aml;

	aml_init(&aml, out);
	aml_begin_scope(&aml, "\\_SB");
	for (size_t i = 0; i < platform->n_cpus; i++)
		put_cpu(&aml, i, platform->apic_ids[i]);
	for (size_t i = 0; i < platform->n_isa; i++)
		put_isa_device(&aml, &platform->isa[i]);
	if (platform->pci) {
		put_pci(&aml, platform->pci);
		if (platform->pci->ecam_base)
			put_ecam(&aml, platform->pci);
	}
	for (size_t i = 0; i < platform->n_virtio; i++)
		put_virtio(&aml, i, &platform->virtio[i]);
	if (platform->reduced)
		put_events(&aml, platform->reduced);
	aml_end(&aml);
	put_s5(&aml, platform->s5_slp_typ);
	aml_finish(&aml); /* an error stays in `out` */
}
