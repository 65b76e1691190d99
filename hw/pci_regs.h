/* SPDX-License-Identifier: MIT */
/* The configuration header of a PCI function (PCI Local Bus Specification 3.0, chapter 6), and MSI-X (6.8.2). Offsets in bytes. */
#ifndef HW_PCI_REGS_H
#define HW_PCI_REGS_H

#include "vmm/util.h"

#define PCI_VENDOR_ID 0x00
#define PCI_DEVICE_ID 0x02
#define PCI_COMMAND 0x04
#define PCI_STATUS 0x06
#define PCI_REVISION 0x08 /* then three bytes of class code */
#define PCI_CACHE_LINE_SIZE 0x0c
#define PCI_HEADER_TYPE 0x0e
#define PCI_BAR0 0x10
#define PCI_BAR_END 0x28
#define PCI_SUBSYSTEM_VENDOR_ID 0x2c
#define PCI_SUBSYSTEM_ID 0x2e
#define PCI_CAPABILITIES 0x34
#define PCI_INTERRUPT_LINE 0x3c
#define PCI_INTERRUPT_PIN 0x3d
#define PCI_HEADER_END 0x40
#define PCI_CONVENTIONAL_SIZE 256

#define PCI_COMMAND_IO BIT(0)
#define PCI_COMMAND_MEMORY BIT(1)
#define PCI_COMMAND_MASTER BIT(2)
#define PCI_COMMAND_INTX_DISABLE BIT(10)

#define PCI_STATUS_INTERRUPT BIT(3)
#define PCI_STATUS_CAPABILITIES BIT(4)

#define PCI_HEADER_MULTI_FUNCTION BIT(7)

#define PCI_BAR_FLAG_IO BIT(0)
#define PCI_BAR_FLAG_64 BIT(2)
#define PCI_BAR_FLAG_PREFETCH BIT(3)
#define PCI_BAR_IO_FLAGS 0x3u
#define PCI_BAR_MEM_FLAGS 0xfu

#define PCI_CAP_ID_MSIX 0x11
#define PCI_MSIX_CAP_LEN 12
#define PCI_MSIX_CONTROL 2 /* offsets in the capability */
#define PCI_MSIX_TABLE 4
#define PCI_MSIX_PBA 8
#define PCI_MSIX_CONTROL_ENABLE BIT(15)
#define PCI_MSIX_CONTROL_MASK_ALL BIT(14)
#define PCI_MSIX_ENTRY_SIZE 16
#define PCI_MSIX_MAX_VECTORS 2048

#endif
