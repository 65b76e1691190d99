/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation: entries are appended in the order of their types, as 4.3 demands; the header, which counts them, is filled in last.
 * What is not PCI's is an interrupt of one ISA bus: systems take an ISA interrupt's number for its IOAPIC pin and for the number that drivers
 * ask for, also above 15, where nothing else gives a pin a number without PCI. A PCI bus is number 0, as its own numbering has it, and its
 * interrupts are named by slot and pin (appendix D).
 */
#include "firmware/mptable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/blob.h"
#include "firmware/mptable_wire.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define SPEC_REV 4
#define LAPIC_VERSION 0x14 /* integrated, as KVM's */
#define IOAPIC_VERSION 0x11
#define IOAPIC_PINS 24
#define PCI_BUS 0
#define PCI_SLOTS 32
#define PCI_PINS 4
#define PIT_PIN 2
#define ISA_IRQS 16
#define MAX_APIC_ID 254

/* The ISA bus comes after PCI's, whose number is not ours to choose. */
static uint8_t isa_bus(const struct mptable_platform *p)
{
	return p->pci_pin ? PCI_BUS + 1 : 0;
}

static void put_processors(struct blob *out, const struct mptable_platform *p)
{
	for (size_t i = 0; i < p->n_cpus; i++) {
		struct mp_processor cpu = {
			.type = MP_PROCESSOR,
			.apic_id = (uint8_t)p->apic_ids[i],
			.apic_version = LAPIC_VERSION,
			.flags = MP_CPU_ENABLED | (i == 0 ? MP_CPU_BOOT : 0),
			.signature = le32_of(p->cpu_signature),
			.features = le32_of(p->cpu_features),
		};

		blob_put(out, &cpu, sizeof(cpu));
	}
}

static void put_interrupt(struct blob *out, struct mp_interrupt entry)
{
	blob_put(out, &entry, sizeof(entry));
}

static unsigned put_io_interrupts(struct blob *out, const struct mptable_platform *p)
{
	unsigned n = 0;

	for (unsigned irq = 0; irq < IOAPIC_PINS; irq++) {
		bool level = p->level_irqs & BIT(irq);

		if (!level && !(p->isa_irqs & BIT(irq)))
			continue;
		put_interrupt(out, (struct mp_interrupt){
			.type = MP_IO_INTERRUPT,
			.kind = MP_INT,
			.flags = le16_of(level ? MP_HIGH_LEVEL : MP_CONFORMS),
			.bus = isa_bus(p),
			.irq = (uint8_t)irq,
			.apic_id = p->ioapic_id,
			.lint = irq == 0 ? PIT_PIN : (uint8_t)irq,
		});
		n++;
	}
	return n;
}

/* INTA to INTD of every slot: level-triggered and active low, as the bus has it. */
static unsigned put_pci_interrupts(struct blob *out, const struct mptable_platform *p)
{
	for (unsigned i = 0; p->pci_pin && i < PCI_SLOTS * PCI_PINS; i++) {
		unsigned slot = i / PCI_PINS, pin = i % PCI_PINS;

		put_interrupt(out, (struct mp_interrupt){
			.type = MP_IO_INTERRUPT,
			.kind = MP_INT,
			.flags = le16_of(MP_CONFORMS),
			.bus = PCI_BUS,
			.irq = (uint8_t)(slot << 2 | pin),
			.apic_id = p->ioapic_id,
			.lint = (uint8_t)(p->pci_pin + (slot + pin) % PCI_PINS),
		});
	}
	return p->pci_pin ? PCI_SLOTS * PCI_PINS : 0;
}

/* The 8259s at LINT0 and NMIs at LINT1 of every processor, as on PCs. */
static unsigned put_local_interrupts(struct blob *out, const struct mptable_platform *p)
{
	const struct mp_interrupt lint = { .type = MP_LOCAL_INTERRUPT, .flags = le16_of(MP_CONFORMS), .bus = isa_bus(p), .apic_id = MP_ALL_APICS };
	struct mp_interrupt extint = lint, nmi = lint;

	extint.kind = MP_EXTINT;
	extint.lint = 0;
	nmi.kind = MP_NMI;
	nmi.lint = 1;
	if (p->has_pic)
		put_interrupt(out, extint);
	put_interrupt(out, nmi);
	return p->has_pic ? 2 : 1;
}

static void build_table(struct blob *out, const struct mptable_platform *p)
{
	const struct mp_bus pci = { .type = MP_BUS, .id = PCI_BUS, .name = "PCI   " };
	const struct mp_bus isa = { .type = MP_BUS, .id = isa_bus(p), .name = "ISA   " };
	const struct mp_ioapic ioapic = {
		.type = MP_IOAPIC,
		.id = p->ioapic_id,
		.version = IOAPIC_VERSION,
		.flags = MP_IOAPIC_ENABLED,
		.address = le32_of(p->ioapic_addr),
	};
	struct mp_header h = { .spec_rev = SPEC_REV, .lapic_addr = le32_of(p->lapic_addr) };
	size_t n = p->n_cpus + 2;
	uint8_t sum;

	memcpy(h.signature, "PCMP", sizeof(h.signature));
	memcpy(h.oem_id, "KITE    ", sizeof(h.oem_id));
	memset(h.product_id, ' ', sizeof(h.product_id));
	memcpy(h.product_id, p->product, min_u64(strlen(p->product), sizeof(h.product_id)));
	blob_put(out, &h, sizeof(h));
	put_processors(out, p);
	if (p->pci_pin) {
		blob_put(out, &pci, sizeof(pci));
		n++;
	}
	blob_put(out, &isa, sizeof(isa));
	blob_put(out, &ioapic, sizeof(ioapic));
	n += put_pci_interrupts(out, p);
	n += put_io_interrupts(out, p);
	n += put_local_interrupts(out, p);
	h.n_entries = le16_of((uint16_t)n);
	h.length = le16_of((uint16_t)out->len);
	blob_set(out, 0, &h, sizeof(h));
	sum = blob_checksum(out, 0, out->len);
	blob_set(out, offsetof(struct mp_header, checksum), &sum, 1);
}

static void build_pointer(uint8_t to[MPTABLE_POINTER_SIZE], uint32_t table)
{
	struct mp_pointer pointer = { .table = le32_of(table), .length = sizeof(pointer) / 16, .spec_rev = SPEC_REV };
	uint8_t sum = 0;

	memcpy(pointer.signature, "_MP_", sizeof(pointer.signature));
	memcpy(to, &pointer, sizeof(pointer));
	for (size_t i = 0; i < sizeof(pointer); i++)
		sum += to[i];
	to[offsetof(struct mp_pointer, checksum)] = (uint8_t)-sum;
}

static int check(const struct mptable_platform *p, struct err *err)
{
	if (p->n_cpus == 0)
		return err_set(err, -EINVAL, "an MP table needs a vCPU");
	for (size_t i = 0; i < p->n_cpus; i++)
		if (p->apic_ids[i] > MAX_APIC_ID || p->apic_ids[i] == p->ioapic_id)
			return err_set(err, -EINVAL, "an MP table cannot have the APIC id %u: use fewer sockets, cores or threads",
				       p->apic_ids[i]);
	if ((p->isa_irqs & ~(BIT(ISA_IRQS) - 1)) || (p->level_irqs & ~(BIT(IOAPIC_PINS) - 1)) || (p->level_irqs & (BIT(PIT_PIN + 1) - 1)) ||
	    (p->isa_irqs & BIT(PIT_PIN)) || (p->pci_pin && (p->pci_pin < ISA_IRQS || p->pci_pin + PCI_PINS > IOAPIC_PINS)))
		return err_set(err, -EINVAL, "an MP table cannot have the interrupts 0x%x, 0x%x and PCI's from %u on", p->isa_irqs,
			       p->level_irqs, p->pci_pin);
	return 0;
}

int mptable_build(const struct mptable_platform *platform, uint32_t base, size_t max, struct mptable *out, struct err *err)
{
	struct blob blob;
	int r = check(platform, err);

	*out = (struct mptable){ .data = NULL };
	if (r < 0)
		return r;
	blob_init(&blob, (size_t)min_u64(max, UINT16_MAX)); /* its length has 16 bits */
	build_table(&blob, platform);
	if (blob.error) {
		r = blob.error;
		blob_fini(&blob);
		if (r == -ENOSPC)
			return err_set(err, r, "the MP table of %zu vCPUs does not fit the %zu bytes kept for it: use fewer vCPUs",
				       platform->n_cpus, max);
		return err_set_errno(err, r, "cannot build the MP table");
	}
	out->data = blob.data;
	out->size = blob.len;
	build_pointer(out->pointer, base);
	return 0;
}

void mptable_free(struct mptable *table)
{
	free(table->data);
	*table = (struct mptable){ .data = NULL };
}
