/* SPDX-License-Identifier: MIT */
/*
 * Codes and numbers of SCSI: SPC-4 (primary commands), SBC-3 (blocks), MMC-6 (CDs), SAM-5 (tasks). Fields are big-endian. Included by
 * hw/scsi*.c, hw/virtio_scsi*.c and their tests.
 */
#ifndef HW_SCSI_REGS_H
#define HW_SCSI_REGS_H

#include <stdint.h>

enum scsi_opcode {
	SCSI_TEST_UNIT_READY = 0x00,
	SCSI_REQUEST_SENSE = 0x03,
	SCSI_READ_6 = 0x08,
	SCSI_WRITE_6 = 0x0a,
	SCSI_INQUIRY = 0x12,
	SCSI_MODE_SELECT_6 = 0x15,
	SCSI_MODE_SENSE_6 = 0x1a,
	SCSI_START_STOP_UNIT = 0x1b,
	SCSI_PREVENT_ALLOW = 0x1e,
	SCSI_READ_CAPACITY_10 = 0x25,
	SCSI_READ_10 = 0x28,
	SCSI_WRITE_10 = 0x2a,
	SCSI_SEEK_10 = 0x2b,
	SCSI_WRITE_VERIFY_10 = 0x2e,
	SCSI_VERIFY_10 = 0x2f,
	SCSI_SYNCHRONIZE_CACHE_10 = 0x35,
	SCSI_WRITE_SAME_10 = 0x41,
	SCSI_UNMAP = 0x42,
	SCSI_READ_TOC = 0x43,
	SCSI_GET_CONFIGURATION = 0x46,
	SCSI_GET_EVENT_STATUS = 0x4a,
	SCSI_READ_DISC_INFORMATION = 0x51,
	SCSI_READ_TRACK_INFORMATION = 0x52,
	SCSI_MODE_SELECT_10 = 0x55,
	SCSI_MODE_SENSE_10 = 0x5a,
	SCSI_READ_16 = 0x88,
	SCSI_WRITE_16 = 0x8a,
	SCSI_WRITE_VERIFY_16 = 0x8e,
	SCSI_VERIFY_16 = 0x8f,
	SCSI_SYNCHRONIZE_CACHE_16 = 0x91,
	SCSI_WRITE_SAME_16 = 0x93,
	SCSI_SERVICE_ACTION_IN_16 = 0x9e,
	SCSI_REPORT_LUNS = 0xa0,
	SCSI_MAINTENANCE_IN = 0xa3,
	SCSI_READ_12 = 0xa8,
	SCSI_WRITE_12 = 0xaa,
	SCSI_READ_DISC_STRUCTURE = 0xad,
	SCSI_WRITE_VERIFY_12 = 0xae,
	SCSI_VERIFY_12 = 0xaf,
	SCSI_SET_CD_SPEED = 0xbb,
	SCSI_MECHANISM_STATUS = 0xbd,
	SCSI_READ_CD = 0xbe,
};

/* Service actions, the low five bits of byte 1. */
#define SCSI_SA_READ_CAPACITY_16 0x10
#define SCSI_SA_GET_LBA_STATUS 0x12
#define SCSI_SA_REPORT_OPCODES 0x0c

/* SAM-5, 5.3.1. */
enum scsi_status { SCSI_GOOD = 0x00, SCSI_CHECK_CONDITION = 0x02, SCSI_BUSY = 0x08, SCSI_TASK_SET_FULL = 0x28 };

/* SPC-4, 4.5: sense key, additional sense code and its qualifier, a byte each. */
enum scsi_sense {
	SCSI_NO_SENSE = 0x000000,
	SCSI_TRAY_OPEN = 0x023a02,              /* NOT READY: medium not present, tray open */
	SCSI_NO_MEDIUM = 0x023a01,              /* the same, tray closed */
	SCSI_READ_ERROR = 0x031100,             /* MEDIUM ERROR: unrecovered read error */
	SCSI_WRITE_ERROR = 0x030c00,
	SCSI_TARGET_FAILURE = 0x044400,         /* HARDWARE ERROR: internal target failure */
	SCSI_PARAMETER_LENGTH = 0x051a00,       /* ILLEGAL REQUEST: parameter list length error */
	SCSI_INVALID_OPCODE = 0x052000,
	SCSI_LBA_OUT_OF_RANGE = 0x052100,
	SCSI_INVALID_FIELD = 0x052400,          /* in the CDB */
	SCSI_NO_SUCH_LUN = 0x052500,
	SCSI_INVALID_PARAMETER = 0x052600,      /* in the parameter list */
	SCSI_NO_SAVING = 0x053900,
	SCSI_INCOMPATIBLE_MEDIUM = 0x053002,    /* cannot read medium: incompatible format */
	SCSI_REMOVAL_PREVENTED = 0x055302,
	SCSI_WRONG_TRACK_MODE = 0x056400,       /* illegal mode for this track */
	SCSI_UA_POWER_ON = 0x062900,            /* UNIT ATTENTION: power on, reset, or bus device reset occurred */
	SCSI_UA_LUN_RESET = 0x062903,           /* bus device reset function occurred */
	SCSI_UA_NEXUS_LOSS = 0x062907,
	SCSI_UA_NEW_MEDIUM = 0x062800,          /* not ready to ready change, medium may have changed */
	SCSI_UA_CAPACITY = 0x062a09,            /* capacity data has changed */
	SCSI_UA_LUNS = 0x063f0e,                /* reported LUNs data has changed */
	SCSI_WRITE_PROTECTED = 0x072700,        /* DATA PROTECT */
	SCSI_SPACE_FAILED = 0x072707,           /* the same: space allocation failed write protect */
	SCSI_INVALID_MESSAGE = 0x0b4900,        /* ABORTED COMMAND */
	SCSI_MISCOMPARE = 0x0e1d00,
};

#define SCSI_TYPE_DISK 0x00
#define SCSI_TYPE_CD 0x05
#define SCSI_TYPE_WELL_KNOWN 0x1e
#define SCSI_TYPE_NOBODY 0x7f /* qualifier 011b: no unit can be there */

/* Pages of vital product data. */
#define SCSI_VPD_SUPPORTED 0x00
#define SCSI_VPD_SERIAL 0x80
#define SCSI_VPD_IDENTIFICATION 0x83
#define SCSI_VPD_EXTENDED 0x86
#define SCSI_VPD_BLOCK_LIMITS 0xb0
#define SCSI_VPD_CHARACTERISTICS 0xb1
#define SCSI_VPD_PROVISIONING 0xb2

/* Mode pages. */
#define SCSI_MODE_ERROR_RECOVERY 0x01
#define SCSI_MODE_GEOMETRY 0x04
#define SCSI_MODE_CACHING 0x08
#define SCSI_MODE_CONTROL 0x0a
#define SCSI_MODE_TIMEOUT 0x1d
#define SCSI_MODE_CD_CAPABILITIES 0x2a
#define SCSI_MODE_ALL 0x3f

#define SCSI_CACHING_WCE 0x04 /* byte 2 */

static inline uint16_t load_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t load_be24(const uint8_t *p)
{
	return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static inline uint32_t load_be32(const uint8_t *p)
{
	return (uint32_t)load_be16(p) << 16 | load_be16(p + 2);
}

static inline uint64_t load_be64(const uint8_t *p)
{
	return (uint64_t)load_be32(p) << 32 | load_be32(p + 4);
}

static inline void store_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void store_be24(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 16);
	store_be16(p + 1, (uint16_t)v);
}

static inline void store_be32(uint8_t *p, uint32_t v)
{
	store_be16(p, (uint16_t)(v >> 16));
	store_be16(p + 2, (uint16_t)v);
}

static inline void store_be64(uint8_t *p, uint64_t v)
{
	store_be32(p, (uint32_t)(v >> 32));
	store_be32(p + 4, (uint32_t)v);
}

#endif
