/* SPDX-License-Identifier: MIT */
/*
 * The firmware configuration device of QEMU's machines (QEMU, docs/specs/fw_cfg.rst): how firmware, and guests after it, learn what the machine
 * is. Items are bytes under a number; files are items with a name, listed in a directory, itself an item.
 *
 *   0x510  2 bytes, written: selects an item       0x511  1 byte, read: the item's next byte, zeroes behind its end
 *   0x514  8 bytes, big-endian, written in halves: the address of a DMA request, which is carried out when the second half comes
 *
 * Items are read-only for the guest, and complete before it starts.
 *
 * Thread: as hw/devices.h; the functions below on the main thread, no vCPU running.
 */
#ifndef HW_FW_CFG_H
#define HW_FW_CFG_H

#include <stddef.h>
#include <stdint.h>

struct device;
struct device_env;
struct err;

#define FW_CFG_PORT 0x510
#define FW_CFG_PORTS 12 /* with what is between */
#define FW_CFG_MAX_FILES 128
#define FW_CFG_MAX_NAME 55 /* bytes */

/* Items that are no files: what SeaBIOS and guests know by number. */
enum fw_cfg_key {
	FW_CFG_SIGNATURE = 0x00,
	FW_CFG_ID = 0x01,
	FW_CFG_UUID = 0x02,
	FW_CFG_RAM_SIZE = 0x03,    /* le64 */
	FW_CFG_NOGRAPHIC = 0x04,   /* le16: 1: the console is the first serial port */
	FW_CFG_CPUS = 0x05,        /* le16 */
	FW_CFG_BOOT_MENU = 0x0e,   /* le16 */
	FW_CFG_MAX_CPUS = 0x0f,    /* le16: the last APIC id, plus 1 */
	FW_CFG_FILE_DIR = 0x19,
	FW_CFG_FILE_FIRST = 0x20,
	FW_CFG_IRQ0_OVERRIDE = 0x8002, /* le32: 1: the timer is at IOAPIC pin 2 */
};

struct device *fw_cfg_create(const struct device_env *env, struct err *err);

/* Adds an item or a file; copies. 0, or with `err`: -EEXIST, -ENOSPC, -EINVAL for a name that is too long or empty, -ENOMEM. */
int fw_cfg_add_item(struct device *dev, uint16_t key, const void *data, size_t size, struct err *err);
int fw_cfg_add_file(struct device *dev, const char *name, const void *data, size_t size, struct err *err);
/* The content of a file and its size; NULL when there is none. Borrowed. */
const void *fw_cfg_file(const struct device *dev, const char *name, size_t *size);

#endif
