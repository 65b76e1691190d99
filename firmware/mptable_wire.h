/* SPDX-License-Identifier: MIT */
/* The wire format of MultiProcessor Specification 1.4, chapter 4. Internal to firmware/mptable.c and its test. */
#ifndef FIRMWARE_MPTABLE_WIRE_H
#define FIRMWARE_MPTABLE_WIRE_H

#include <assert.h>
#include <stdint.h>

#include "vmm/endian.h"

struct mp_pointer { /* 4.1 */
	uint8_t signature[4]; /* "_MP_" */
	le32 table;
	uint8_t length; /* in 16 bytes */
	uint8_t spec_rev;
	uint8_t checksum;
	uint8_t default_type; /* feature 1; 0: there is a table */
	uint8_t imcr;         /* feature 2; bit 7 clear: virtual wire mode */
	uint8_t reserved[3];
};
static_assert(sizeof(struct mp_pointer) == 16, "MP floating pointer");

struct mp_header { /* 4.2 */
	uint8_t signature[4]; /* "PCMP" */
	le16 length;
	uint8_t spec_rev;
	uint8_t checksum;
	uint8_t oem_id[8];
	uint8_t product_id[12];
	le32 oem_table;
	le16 oem_size;
	le16 n_entries;
	le32 lapic_addr;
	le16 extended_length;
	uint8_t extended_checksum;
	uint8_t reserved;
};
static_assert(sizeof(struct mp_header) == 44, "MP configuration table header");

enum mp_type { MP_PROCESSOR = 0, MP_BUS = 1, MP_IOAPIC = 2, MP_IO_INTERRUPT = 3, MP_LOCAL_INTERRUPT = 4 }; /* table 4-3 */

struct mp_processor { /* 4.3.1 */
	uint8_t type;
	uint8_t apic_id;
	uint8_t apic_version;
	uint8_t flags; /* MP_CPU_* */
	le32 signature;
	le32 features;
	le32 reserved[2];
};
static_assert(sizeof(struct mp_processor) == 20, "MP processor entry");
enum { MP_CPU_ENABLED = 1, MP_CPU_BOOT = 2 };

struct mp_bus { /* 4.3.2 */
	uint8_t type;
	uint8_t id;
	uint8_t name[6];
};
static_assert(sizeof(struct mp_bus) == 8, "MP bus entry");

struct mp_ioapic { /* 4.3.3 */
	uint8_t type;
	uint8_t id;
	uint8_t version;
	uint8_t flags; /* MP_IOAPIC_ENABLED */
	le32 address;
};
static_assert(sizeof(struct mp_ioapic) == 8, "MP I/O APIC entry");
enum { MP_IOAPIC_ENABLED = 1 };

struct mp_interrupt { /* 4.3.4 and 4.3.5: of the bus's `irq` at pin `lint` of an I/O APIC, or of a local APIC */
	uint8_t type;
	uint8_t kind; /* MP_INT and on */
	le16 flags;   /* MP_CONFORMS, or polarity and trigger mode */
	uint8_t bus;
	uint8_t irq;
	uint8_t apic_id; /* MP_ALL_APICS for local APICs */
	uint8_t lint;
};
static_assert(sizeof(struct mp_interrupt) == 8, "MP interrupt assignment entry");
enum { MP_INT = 0, MP_NMI = 1, MP_EXTINT = 3 };
enum { MP_CONFORMS = 0, MP_HIGH_LEVEL = 1 | 3 << 2 };
#define MP_ALL_APICS 0xff

#endif
