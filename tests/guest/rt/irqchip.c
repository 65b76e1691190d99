/* SPDX-License-Identifier: MIT */
/* The interrupt controllers: two 8259A, the IOAPIC, the local APIC of each CPU in its two access modes. */
#include "rt.h"

#define PIC1 0x20
#define PIC2 0xa0
#define IOAPIC_PINS 24
#define APIC_BASE_X2 0x400
#define APIC_BASE_BSP 0x100

void pic_init(void)
{
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
	outb(PIC1, 0x11);
	outb(PIC1 + 1, VEC_PIC);
	outb(PIC1 + 1, 0x04);
	outb(PIC1 + 1, 0x01);
	outb(PIC2, 0x11);
	outb(PIC2 + 1, VEC_PIC + 8);
	outb(PIC2 + 1, 0x02);
	outb(PIC2 + 1, 0x01);
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
}

static void pic_mask_one(uint16_t port, unsigned bit, bool masked)
{
	uint8_t m = inb(port + 1);

	outb(port + 1, masked ? m | 1u << bit : m & ~(1u << bit));
}

void pic_mask(unsigned irq, bool masked)
{
	if (irq >= 8)
		pic_mask_one(PIC2, irq - 8, masked);
	if (irq < 8 || !masked)
		pic_mask_one(PIC1, irq < 8 ? irq : 2, masked);
}

void pic_eoi(unsigned irq)
{
	if (irq >= 8)
		outb(PIC2, 0x20);
	outb(PIC1, 0x20);
}

uint32_t ioapic_read(uint8_t reg)
{
	write32(IOAPIC, reg);
	return read32(IOAPIC + 0x10);
}

static void ioapic_write(uint8_t reg, uint32_t v)
{
	write32(IOAPIC, reg);
	write32(IOAPIC + 0x10, v);
}

uint64_t ioapic_entry(unsigned pin)
{
	return container_bits(ioapic_read((uint8_t)(0x11 + 2 * pin)), ioapic_read((uint8_t)(0x10 + 2 * pin)));
}

void ioapic_mask(unsigned pin)
{
	ioapic_write((uint8_t)(0x10 + 2 * pin), 0x10000);
}

void ioapic_init(void)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		ioapic_mask(pin);
}

void ioapic_route(unsigned pin, uint8_t vector, bool level, bool low, uint32_t apic_id)
{
	ioapic_write((uint8_t)(0x11 + 2 * pin), apic_id << 24);
	ioapic_write((uint8_t)(0x10 + 2 * pin), vector | (low ? 0x2000u : 0) | (level ? 0x8000u : 0));
}

static bool x2apic_on(void)
{
	return rdmsr(MSR_APIC_BASE) & APIC_BASE_X2;
}

uint32_t lapic_read(uint32_t reg)
{
	return x2apic_on() ? (uint32_t)rdmsr(0x800 + (reg >> 4)) : read32(LAPIC + reg);
}

void lapic_write(uint32_t reg, uint32_t v)
{
	if (x2apic_on())
		wrmsr(0x800 + (reg >> 4), v);
	else
		write32(LAPIC + reg, v);
}

void lapic_init(void)
{
	bool first = rdmsr(MSR_APIC_BASE) & APIC_BASE_BSP;

	lapic_write(LAPIC_TPR, 0);
	lapic_write(LAPIC_LVT_TIMER, LAPIC_MASKED);
	lapic_write(LAPIC_LVT_LINT1, LAPIC_MASKED);
	lapic_write(LAPIC_LVT_ERROR, LAPIC_MASKED);
	lapic_write(LAPIC_SVR, 0x100 | VEC_SPURIOUS);
	lapic_write(LAPIC_LVT_LINT0, first ? 0x700 : LAPIC_MASKED); /* ExtINT */
}

void lapic_x2apic(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2);
}

uint32_t lapic_id(void)
{
	return x2apic_on() ? (uint32_t)rdmsr(0x802) : read32(LAPIC + LAPIC_ID) >> 24;
}

void lapic_ipi(uint32_t apic_id, uint32_t command)
{
	if (x2apic_on()) {
		wrmsr(0x830, container_bits(apic_id, command));
		return;
	}
	write32(LAPIC + LAPIC_ICR_HIGH, apic_id << 24);
	write32(LAPIC + LAPIC_ICR, command);
	while (read32(LAPIC + LAPIC_ICR) & 0x1000)
		cpu_relax();
}

void lapic_eoi(void)
{
	lapic_write(LAPIC_EOI, 0);
}

bool lapic_bit(uint32_t bank, uint8_t vector)
{
	return lapic_read(bank + (uint32_t)(vector / 32) * 16) >> (vector % 32) & 1;
}
