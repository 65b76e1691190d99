/* SPDX-License-Identifier: MIT */
/* The wire format of SMBIOS (DMTF DSP0134), at the lengths of version 3.0. Internal to firmware/smbios.c and its test. */
#ifndef FIRMWARE_SMBIOS_TABLES_H
#define FIRMWARE_SMBIOS_TABLES_H

#include <assert.h>
#include <stdint.h>

#include "vmm/endian.h"

struct smbios_entry64 { /* 5.2.2 */
	uint8_t anchor[5]; /* "_SM3_" */
	uint8_t checksum;  /* of all */
	uint8_t length;
	uint8_t major, minor, docrev;
	uint8_t revision;
	uint8_t reserved;
	le32 table_max_size;
	le64 table_addr;
};
static_assert(sizeof(struct smbios_entry64) == 24, "64-bit entry point");

struct smbios_entry32 { /* 5.2.1 */
	uint8_t anchor[4]; /* "_SM_" */
	uint8_t checksum;  /* of all */
	uint8_t length;
	uint8_t major, minor;
	le16 max_structure_size; /* with its strings */
	uint8_t revision;
	uint8_t formatted[5];
	uint8_t dmi_anchor[5]; /* "_DMI_" */
	uint8_t dmi_checksum;  /* from dmi_anchor on */
	le16 table_length;
	le32 table_addr;
	le16 n_structures;
	uint8_t bcd_revision;
};
static_assert(sizeof(struct smbios_entry32) == 31, "32-bit entry point");

struct smbios_header { /* 6.1.2 */
	uint8_t type;
	uint8_t length; /* without the strings */
	le16 handle;
};
static_assert(sizeof(struct smbios_header) == 4, "structure header");

struct smbios_type0 { /* 7.1: BIOS */
	struct smbios_header h;
	uint8_t vendor, version; /* these and the like: string numbers, 0 for none */
	le16 start_segment;
	uint8_t release_date;
	uint8_t rom_size;
	le64 characteristics;
	uint8_t ext[2];
	uint8_t bios_major, bios_minor, ec_major, ec_minor;
};
enum { SMBIOS_BIOS_NOT_SUPPORTED = 1 << 3 };    /* characteristics: see ext only */
enum { SMBIOS_BIOS_EXT0_ACPI = 1 << 0 };
enum { SMBIOS_BIOS_EXT1_UEFI = 1 << 3, SMBIOS_BIOS_EXT1_VM = 1 << 4 };
static_assert(sizeof(struct smbios_type0) == 0x18, "type 0");

struct smbios_type1 { /* 7.2: system */
	struct smbios_header h;
	uint8_t manufacturer, product, version, serial;
	uint8_t uuid[16];
	uint8_t wake_up;
	uint8_t sku, family;
};
enum { SMBIOS_WAKE_POWER_SWITCH = 6 };
static_assert(sizeof(struct smbios_type1) == 0x1b, "type 1");

struct smbios_type2 { /* 7.3: baseboard */
	struct smbios_header h;
	uint8_t manufacturer, product, version, serial, asset;
	uint8_t features, location;
	le16 chassis; /* handle */
	uint8_t type;
	uint8_t n_objects;
};
enum { SMBIOS_BOARD_HOSTING = 1 << 0 };
enum { SMBIOS_BOARD_MOTHERBOARD = 0x0a };
static_assert(sizeof(struct smbios_type2) == 0x0f, "type 2");

struct smbios_type3 { /* 7.4: chassis */
	struct smbios_header h;
	uint8_t manufacturer, type, version, serial, asset;
	uint8_t bootup_state, power_state, thermal_state, security;
	le32 oem;
	uint8_t height, power_cords, n_elements, element_length;
	uint8_t sku;
};
enum { SMBIOS_CHASSIS_OTHER = 1 };
enum { SMBIOS_STATE_UNKNOWN = 2, SMBIOS_STATE_SAFE = 3 };
static_assert(sizeof(struct smbios_type3) == 0x16, "type 3");

struct smbios_type4 { /* 7.5: processor */
	struct smbios_header h;
	uint8_t socket, type, family, manufacturer;
	le64 id;
	uint8_t version, voltage;
	le16 clock, max_speed, speed;
	uint8_t status, upgrade;
	le16 l1_cache, l2_cache, l3_cache;
	uint8_t serial, asset, part;
	uint8_t core_count, core_enabled, thread_count;
	le16 characteristics;
	le16 family2;
	le16 core_count2, core_enabled2, thread_count2;
};
enum { SMBIOS_CPU_CENTRAL = 3 };
enum { SMBIOS_CPU_OTHER = 1 };             /* family, upgrade */
enum { SMBIOS_CPU_POPULATED = 0x41 };      /* and enabled */
enum { SMBIOS_CPU_64BIT = 1 << 2, SMBIOS_CPU_MULTI_CORE = 1 << 3, SMBIOS_CPU_MULTI_THREAD = 1 << 4 };
#define SMBIOS_CPU_SEE_COUNT2 0xff         /* the count is in the 16-bit field only */
#define SMBIOS_CPU_MAX_COUNT 0xfffe
#define SMBIOS_NO_HANDLE 0xffff
static_assert(sizeof(struct smbios_type4) == 0x30, "type 4");

struct smbios_type11 { /* 7.12: OEM strings */
	struct smbios_header h;
	uint8_t count;
};
static_assert(sizeof(struct smbios_type11) == 0x05, "type 11");

struct smbios_type16 { /* 7.17: physical memory array */
	struct smbios_header h;
	uint8_t location, use, ecc;
	le32 max_capacity; /* KiB */
	le16 error_handle;
	le16 n_devices;
	le64 ext_max_capacity; /* bytes */
};
enum { SMBIOS_ARRAY_BOARD = 3, SMBIOS_ARRAY_SYSTEM = 3, SMBIOS_ECC_UNKNOWN = 2 };
#define SMBIOS_ARRAY_SEE_EXT UINT32_C(0x80000000)
#define SMBIOS_NO_ERROR_INFO 0xfffe
static_assert(sizeof(struct smbios_type16) == 0x17, "type 16");

struct smbios_type17 { /* 7.18: memory device */
	struct smbios_header h;
	le16 array, error_handle;
	le16 total_width, data_width;
	le16 size; /* MiB, below 0x7fff */
	uint8_t form_factor, device_set, locator, bank, type;
	le16 type_detail;
	le16 speed;
	uint8_t manufacturer, serial, asset, part, attributes;
	le32 ext_size;
	le16 configured_speed, min_voltage, max_voltage, voltage;
};
enum { SMBIOS_DIMM_FORM = 9, SMBIOS_DIMM_RAM = 7, SMBIOS_DIMM_DETAIL_OTHER = 1 << 1 };
#define SMBIOS_WIDTH_UNKNOWN 0xffff
static_assert(sizeof(struct smbios_type17) == 0x28, "type 17");

struct smbios_type19 { /* 7.20: memory array mapped address */
	struct smbios_header h;
	le32 start, end; /* KiB; `end` is the last one inside */
	le16 array;
	uint8_t partition_width;
	le64 ext_start, ext_end; /* bytes */
};
#define SMBIOS_MAPPED_SEE_EXT UINT32_MAX
static_assert(sizeof(struct smbios_type19) == 0x1f, "type 19");

struct smbios_type32 { /* 7.33: system boot information */
	struct smbios_header h;
	uint8_t reserved[6];
	uint8_t status; /* 0: no errors */
};
static_assert(sizeof(struct smbios_type32) == 0x0b, "type 32");

struct smbios_type127 { /* 7.45: end of table */
	struct smbios_header h;
};

#endif
