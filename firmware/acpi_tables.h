/* SPDX-License-Identifier: MIT */
/* The wire format of ACPI tables (ACPI 6.4, 5.2), and what the parts of firmware/acpi*.c share. Internal to them and tests. */
#ifndef FIRMWARE_ACPI_TABLES_H
#define FIRMWARE_ACPI_TABLES_H

#include <assert.h>
#include <stdint.h>

#include "vmm/endian.h"

struct acpi_platform;
struct blob;
struct err;

struct acpi_rsdp { /* 5.2.5.3 */
	uint8_t signature[8];
	uint8_t checksum; /* of the first 20 bytes, as in revision 1 */
	uint8_t oem_id[6];
	uint8_t revision;
	le32 rsdt;
	le32 length;
	le64 xsdt;
	uint8_t ext_checksum; /* of all */
	uint8_t reserved[3];
};
#define ACPI_RSDP_V1_LEN 20
static_assert(sizeof(struct acpi_rsdp) == 36, "RSDP");

struct acpi_header { /* 5.2.6 */
	uint8_t signature[4];
	le32 length;
	uint8_t revision;
	uint8_t checksum;
	uint8_t oem_id[6];
	uint8_t oem_table_id[8];
	le32 oem_revision;
	uint8_t creator_id[4];
	le32 creator_revision;
};
static_assert(sizeof(struct acpi_header) == 36, "table header");

struct acpi_gas { /* 5.2.3.2 */
	uint8_t space; /* ACPI_SPACE_* */
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access_size; /* ACPI_ACCESS_* */
	le64 address;
};
static_assert(sizeof(struct acpi_gas) == 12, "generic address structure");

enum { ACPI_SPACE_IO = 1 };
enum { ACPI_ACCESS_BYTE = 1, ACPI_ACCESS_WORD = 2, ACPI_ACCESS_DWORD = 3 };

struct acpi_fadt { /* 5.2.9 */
	struct acpi_header h;
	le32 facs;
	le32 dsdt;
	uint8_t reserved0;
	uint8_t pm_profile;
	le16 sci_int;
	le32 smi_cmd;
	uint8_t acpi_enable;
	uint8_t acpi_disable;
	uint8_t s4bios_req;
	uint8_t pstate_cnt;
	le32 pm1a_evt_blk;
	le32 pm1b_evt_blk;
	le32 pm1a_cnt_blk;
	le32 pm1b_cnt_blk;
	le32 pm2_cnt_blk;
	le32 pm_tmr_blk;
	le32 gpe0_blk;
	le32 gpe1_blk;
	uint8_t pm1_evt_len;
	uint8_t pm1_cnt_len;
	uint8_t pm2_cnt_len;
	uint8_t pm_tmr_len;
	uint8_t gpe0_blk_len;
	uint8_t gpe1_blk_len;
	uint8_t gpe1_base;
	uint8_t cst_cnt;
	le16 c2_latency;
	le16 c3_latency;
	le16 flush_size;
	le16 flush_stride;
	uint8_t duty_offset;
	uint8_t duty_width;
	uint8_t day_alarm;
	uint8_t month_alarm;
	uint8_t century;
	le16 iapc_boot_arch;
	uint8_t reserved1;
	le32 flags;
	struct acpi_gas reset_reg;
	uint8_t reset_value;
	le16 arm_boot_arch;
	uint8_t minor_revision;
	le64 x_facs;
	le64 x_dsdt;
	struct acpi_gas x_pm1a_evt_blk;
	struct acpi_gas x_pm1b_evt_blk;
	struct acpi_gas x_pm1a_cnt_blk;
	struct acpi_gas x_pm1b_cnt_blk;
	struct acpi_gas x_pm2_cnt_blk;
	struct acpi_gas x_pm_tmr_blk;
	struct acpi_gas x_gpe0_blk;
	struct acpi_gas x_gpe1_blk;
	struct acpi_gas sleep_control;
	struct acpi_gas sleep_status;
	uint8_t hypervisor_vendor[8];
};
static_assert(sizeof(struct acpi_fadt) == 276, "FADT of ACPI 6.4");
static_assert(offsetof(struct acpi_fadt, flags) == 112, "FADT flags");
static_assert(offsetof(struct acpi_fadt, x_facs) == 132, "FADT X_FIRMWARE_CTRL");

enum { /* FADT flags, table 5.10 */
	ACPI_FADT_WBINVD = 1 << 0,
	ACPI_FADT_PROC_C1 = 1 << 2,
	ACPI_FADT_PWR_BUTTON = 1 << 4, /* no fixed power button */
	ACPI_FADT_SLP_BUTTON = 1 << 5, /* no fixed sleep button */
	ACPI_FADT_FIX_RTC = 1 << 6,    /* the RTC has no bits in the PM1 registers */
	ACPI_FADT_TMR_VAL_EXT = 1 << 8,
	ACPI_FADT_RESET_REG_SUP = 1 << 10,
	ACPI_FADT_HW_REDUCED = 1 << 20,
};

enum { /* IA-PC boot architecture flags, table 5.11 */
	ACPI_BOOT_LEGACY_DEVICES = 1 << 0,
	ACPI_BOOT_8042 = 1 << 1,
	ACPI_BOOT_NO_VGA = 1 << 2,
	ACPI_BOOT_NO_RTC = 1 << 5,
};

struct acpi_facs { /* 5.2.10; aligned to 64 bytes, no checksum */
	uint8_t signature[4];
	le32 length;
	le32 hardware_signature;
	le32 waking_vector;
	le32 global_lock;
	le32 flags;
	le64 x_waking_vector;
	uint8_t version;
	uint8_t reserved0[3];
	le32 ospm_flags;
	uint8_t reserved1[24];
};
#define ACPI_FACS_ALIGN 64
static_assert(sizeof(struct acpi_facs) == 64, "FACS");

struct acpi_madt { /* 5.2.12 */
	struct acpi_header h;
	le32 lapic_addr;
	le32 flags; /* ACPI_MADT_PCAT_COMPAT */
};
enum { ACPI_MADT_PCAT_COMPAT = 1 << 0 };
static_assert(sizeof(struct acpi_madt) == 44, "MADT");

enum acpi_madt_type { /* table 5.21 */
	ACPI_MADT_LAPIC = 0,
	ACPI_MADT_IOAPIC = 1,
	ACPI_MADT_OVERRIDE = 2,
	ACPI_MADT_LAPIC_NMI = 4,
	ACPI_MADT_X2APIC = 9,
	ACPI_MADT_X2APIC_NMI = 10,
};

struct acpi_madt_lapic { /* 5.2.12.2 */
	uint8_t type, length;
	uint8_t uid;
	uint8_t apic_id;
	le32 flags; /* ACPI_LAPIC_ENABLED */
};
enum { ACPI_LAPIC_ENABLED = 1 << 0 };
static_assert(sizeof(struct acpi_madt_lapic) == 8, "MADT local APIC");

struct acpi_madt_ioapic { /* 5.2.12.3 */
	uint8_t type, length;
	uint8_t id;
	uint8_t reserved;
	le32 address;
	le32 gsi_base;
};
static_assert(sizeof(struct acpi_madt_ioapic) == 12, "MADT I/O APIC");

struct acpi_madt_override { /* 5.2.12.5 */
	uint8_t type, length;
	uint8_t bus; /* 0: ISA */
	uint8_t source;
	le32 gsi;
	le16 flags; /* ACPI_INTI_* */
};
enum { ACPI_INTI_CONFORMS = 0, ACPI_INTI_ACTIVE_HIGH = 1, ACPI_INTI_LEVEL = 3 << 2 };
static_assert(sizeof(struct acpi_madt_override) == 10, "MADT interrupt source override");

struct acpi_madt_lapic_nmi { /* 5.2.12.7 */
	uint8_t type, length;
	uint8_t uid;
	le16 flags;
	uint8_t lint;
};
static_assert(sizeof(struct acpi_madt_lapic_nmi) == 6, "MADT local APIC NMI");

struct acpi_madt_x2apic { /* 5.2.12.12 */
	uint8_t type, length;
	le16 reserved;
	le32 apic_id;
	le32 flags;
	le32 uid;
};
static_assert(sizeof(struct acpi_madt_x2apic) == 16, "MADT local x2APIC");

struct acpi_madt_x2apic_nmi { /* 5.2.12.13 */
	uint8_t type, length;
	le16 flags;
	le32 uid;
	uint8_t lint;
	uint8_t reserved[3];
};
static_assert(sizeof(struct acpi_madt_x2apic_nmi) == 12, "MADT local x2APIC NMI");

struct acpi_mcfg { /* PCI Firmware Specification 3.3, 4.1.2 */
	struct acpi_header h;
	uint8_t reserved0[8];
	le64 base; /* of bus 0 */
	le16 segment;
	uint8_t first_bus, last_bus;
	uint8_t reserved1[4];
};
static_assert(sizeof(struct acpi_mcfg) == 60, "MCFG with one range");

/*
 * A CPU's _UID in the DSDT, and its UID in the MADT, is its APIC id: unique, and below 255 for exactly the CPUs whose MADT
 * entry has one byte for it, in which 255 means "all".
 */
#define ACPI_XAPIC_IDS 255 /* APIC ids from here on need an x2APIC entry (5.2.12.12) */
#define ACPI_MAX_CPUS 4096 /* CPU device names have three digits */

/* Appends the definition blocks of the DSDT, what follows its header. Errors stick in `out`. */
void acpi_dsdt_put(struct blob *out, const struct acpi_platform *platform);

#endif
