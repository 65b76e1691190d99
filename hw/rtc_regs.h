/* SPDX-License-Identifier: MIT */
/* Registers of the MC146818 real-time clock (Motorola data sheet, 1984), and the CMOS memory fields of PCs. */
#ifndef HW_RTC_REGS_H
#define HW_RTC_REGS_H

#include "vmm/util.h"

#define RTC_PORT 0x70
#define RTC_PORTS 2 /* index, data */
#define RTC_CMOS_SIZE 128
#define RTC_NMI_OFF BIT(7) /* in the index port, not part of the index */

#define RTC_SECONDS 0x00
#define RTC_SECONDS_ALARM 0x01
#define RTC_MINUTES 0x02
#define RTC_MINUTES_ALARM 0x03
#define RTC_HOURS 0x04
#define RTC_HOURS_ALARM 0x05
#define RTC_DAY_OF_WEEK 0x06 /* 1 is Sunday */
#define RTC_DAY 0x07
#define RTC_MONTH 0x08
#define RTC_YEAR 0x09
#define RTC_A 0x0a
#define RTC_B 0x0b
#define RTC_C 0x0c
#define RTC_D 0x0d
#define RTC_CENTURY 0x32 /* a PC's: the chip itself has none */

#define RTC_HOURS_PM 0x80  /* 12-hour mode */
#define RTC_ALARM_ANY 0xc0 /* this and above: "don't care" */

#define RTC_A_RATE 0x0f
#define RTC_A_DIVIDER 0x70
#define RTC_A_DIVIDER_LAST_RUNNING 0x20 /* 000, 001, 010: the clock runs; above: test modes and divider reset */
#define RTC_A_UIP 0x80
#define RTC_A_POWER_ON 0x26 /* 32768 Hz, periodic rate 1024 Hz */

#define RTC_B_24H 0x02
#define RTC_B_BINARY 0x04
#define RTC_B_SQWE 0x08
#define RTC_B_UIE 0x10
#define RTC_B_AIE 0x20
#define RTC_B_PIE 0x40
#define RTC_B_SET 0x80

#define RTC_C_UF 0x10 /* the flags stand at the place of their enable bits in B */
#define RTC_C_AF 0x20
#define RTC_C_PF 0x40
#define RTC_C_IRQF 0x80
#define RTC_C_FLAGS (RTC_C_UF | RTC_C_AF | RTC_C_PF)

#define RTC_D_VALID 0x80

/* CMOS memory size fields, little-endian, and the checksum over 0x10 to 0x2d, big-endian. */
#define CMOS_BASE_KIB 0x15
#define CMOS_EXT_KIB 0x17
#define CMOS_SUM_FIRST 0x10
#define CMOS_SUM_LAST 0x2d
#define CMOS_SUM 0x2e
#define CMOS_EXT_KIB_2 0x30
#define CMOS_ABOVE_16M 0x34 /* units of 64 KiB */
#define CMOS_ABOVE_4G 0x5b  /* units of 64 KiB, 3 bytes */

/* The rest of what PC firmware keeps here (Bochs' and QEMU's use of it). */
#define CMOS_EQUIPMENT 0x14
#define CMOS_EQUIPMENT_FPU 0x02
#define CMOS_BOOT_FLAG_1 0x38 /* bit 0: boot floppies without a signature; high half: third choice */
#define CMOS_BOOT_ANY_FLOPPY 0x01
#define CMOS_BOOT_FLAG_2 0x3d /* first and, in the high half, second choice */
#define CMOS_LAST_CPU 0x5f    /* how many processors, less 1 */

#endif
