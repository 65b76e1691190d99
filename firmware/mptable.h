/* SPDX-License-Identifier: MIT */
/*
 * The tables of Intel's MultiProcessor Specification 1.4 from a plain description: processors, the IOAPIC, and which interrupt arrives
 * where. For systems that find no ACPI, which would otherwise use one processor and two 8259s.
 *
 * Thread: any; a pure function of its arguments.
 */
#ifndef FIRMWARE_MPTABLE_H
#define FIRMWARE_MPTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define MPTABLE_POINTER_SIZE 16

struct mptable_platform {
	const char *product; /* "microvm"; borrowed, up to 12 characters of it */
	const uint32_t *apic_ids; /* one per vCPU, unique, the first is the boot processor's; below 255 */
	size_t n_cpus;
	uint32_t cpu_signature, cpu_features; /* CPUID leaf 1, EAX and EDX */
	uint32_t lapic_addr;
	uint32_t ioapic_addr;
	uint8_t ioapic_id; /* no processor's */
	uint32_t isa_irqs;   /* a bit for each ISA interrupt: edge-triggered, active high, on the pin of its number; 0 is on pin 2 */
	uint32_t level_irqs; /* a bit for each pin: level-triggered, active high; not below 3 */
	unsigned pci_pin;    /* INTA to INTD of slot s are on the pins from here on, (s + pin) mod 4; 16 to 20. 0: there is no PCI bus */
	bool has_pic;        /* two 8259s, whose interrupt goes to LINT0 of every processor */
};

/* Both as they must stand in guest memory. */
struct mptable {
	uint8_t pointer[MPTABLE_POINTER_SIZE]; /* the floating pointer structure, where systems search for it (chapter 4) */
	uint8_t *data;                         /* the configuration table; heap, the caller frees with mptable_free */
	size_t size;
};

/*
 * `base` is where the configuration table will stand, a multiple of 4 below 4 GiB. 0, or with `err`: -ENOSPC when it needs more than `max`
 * bytes, -EINVAL for what the specification cannot express, -ENOMEM.
 */
int mptable_build(const struct mptable_platform *platform, uint32_t base, size_t max, struct mptable *out, struct err *err);
void mptable_free(struct mptable *table);

#endif
