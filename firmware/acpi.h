/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables (ACPI 6.4) from a plain description of the platform: RSDP, XSDT, FADT, FACS, MADT, MCFG, DSDT. What a guest is told here
 * must be what the board built; this module knows no device.
 *
 * Thread: any; a pure function of its arguments.
 */
#ifndef FIRMWARE_ACPI_H
#define FIRMWARE_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define ACPI_MAX_IO 4
#define ACPI_NO_IRQ 0xff

struct acpi_io_range {
	uint16_t base, len; /* ports, at most 255 */
};

/* A device on the ISA bus that the DSDT names. */
struct acpi_isa_device {
	char name[5];    /* 4 characters, unique, not C and three hex digits: "COM1" */
	const char *hid; /* EISA id "PNP0501" or ACPI id */
	unsigned uid;
	struct acpi_io_range io[ACPI_MAX_IO]; /* up to the first len 0 */
	uint8_t irq; /* ISA interrupt, edge-triggered, active high; ACPI_NO_IRQ: none */
};

struct acpi_window {
	uint64_t base, size; /* bytes; size 0: none */
};

/*
 * The PCI bus. INTA to INTD are four GSIs in a row, level-triggered and active low, as PCI's are without saying; function pins are wired to
 * them by slot: (slot + pin - 1) mod 4. All I/O ports but 0xcf8 to 0xcff are the bus's.
 */
struct acpi_pci {
	uint64_t ecam_base, ecam_size; /* of bus 0; 0: none. Below 4 GiB */
	struct acpi_window mem32[2], mem64;
	uint32_t gsi; /* of INTA */
};

/* A virtio device behind registers in memory. Its interrupt is level-triggered and active high, and may be others' too. */
struct acpi_virtio_mmio {
	uint32_t base, size; /* bytes */
	uint32_t gsi;
};

/*
 * Hardware-reduced ACPI (4.1): sleep registers (4.8.3.7), and a generic event device (5.6.9) whose one event is the power button, a
 * control method device (4.8.2.2.1.2).
 */
struct acpi_reduced {
	uint16_t event_port; /* 4 ports: bit 0 is the power button; a read clears */
	uint32_t event_gsi;  /* level-triggered, active high, while an event is pending */
	uint16_t sleep_control_port, sleep_status_port; /* a port each */
};

struct acpi_platform {
	const uint32_t *apic_ids; /* one per vCPU, unique; below 255: MADT local APIC entries, others: x2APIC entries */
	size_t n_cpus;
	uint32_t lapic_addr;
	uint32_t ioapic_addr;
	uint8_t ioapic_id;
	const struct acpi_reduced *reduced; /* NULL: fixed hardware, the next five */
	uint16_t pm1_evt_port; /* 4 ports: status, enable */
	uint16_t pm1_cnt_port; /* 2 ports */
	uint16_t pm_tmr_port;  /* 4 ports */
	uint16_t gpe0_port;    /* 4 ports: 2 bytes of status, 2 of enable */
	uint8_t sci_irq;       /* level-triggered, active high */
	uint16_t reset_port;
	uint8_t reset_value;
	uint8_t s5_slp_typ;    /* SLP_TYP of soft-off */
	bool has_i8042, has_rtc; /* IA-PC boot architecture flags, 5.2.9.3 */
	bool has_pic, has_pit; /* two 8259s; an 8254 behind IOAPIC pin 2 */
	const struct acpi_pci *pci; /* NULL: none */
	const struct acpi_isa_device *isa;
	size_t n_isa;
	const struct acpi_virtio_mmio *virtio;
	size_t n_virtio; /* at most 256 */
};

/* What changes when the tables are moved: offsets in their bytes. */
enum acpi_fixup_kind {
	ACPI_FIXUP_POINTER, /* `size` bytes, 4 or 8: the address of a table */
	ACPI_FIXUP_CHECKSUM, /* a byte that makes `size` bytes from `start` on sum to zero */
};
struct acpi_fixup {
	enum acpi_fixup_kind kind;
	uint32_t at, start, size;
};
#define ACPI_MAX_FIXUPS 32

/* The tables, as they must stand at `base` in guest memory. The RSDP comes first. */
struct acpi_tables {
	uint8_t *data; /* heap, the caller frees with acpi_tables_free */
	size_t size;
	struct acpi_fixup fixups[ACPI_MAX_FIXUPS]; /* in an order that fits: a table's pointers before its checksum */
	size_t n_fixups;
};

/*
 * `base` is a multiple of 16. 0, or with `err`: -ENOSPC when they need more than `max` bytes or would end above 4 GiB, -EINVAL
 * for a description that ACPI cannot express, -ENOMEM.
 */
int acpi_build(const struct acpi_platform *platform, uint64_t base, size_t max, struct acpi_tables *out, struct err *err);
void acpi_tables_free(struct acpi_tables *tables);

#endif
