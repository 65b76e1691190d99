/* SPDX-License-Identifier: MIT */
/*
 * Where things are: guest physical addresses and I/O ports. The machine `microvm` has no PCI, `pc` no virtio transports.
 *
 *   0x0000_0000  RAM, conventional 640 KiB
 *   0x000a_0000  legacy video window: nothing there
 *   0x000c_0000  RAM; from 0xe0000 the tables that the guest searches (ACPI, SMBIOS)
 *   0x0010_0000  RAM, to at most 3 GiB
 *   0xc000_0000  32-bit PCI window
 *   0xe000_0000  PCI configuration space (ECAM) of bus 0; room for 255 more
 *   0xf000_0000  more of the 32-bit PCI window, where SeaBIOS puts BARs; a microvm has nothing there, but:
 *   0xfeb0_0000  virtio transports of 512 bytes
 *   0xfec0_0000  IOAPIC
 *   0xfee0_0000  local APIC
 *   0xfeff_c000  KVM's own pages (identity map, task state segment)
 *   0xff00_0000  room for firmware, which ends at 4 GiB; a machine that enters a kernel directly has none
 *   0x1_0000_0000  RAM, what did not fit below
 *   above RAM    64-bit PCI window
 *
 * The MTRRs make all from 0xc000_0000 to 4 GiB uncached, and leave what is above write-back: a guest maps 64-bit BARs uncached itself,
 * and to KVM a device's memory is never cached.
 */
#ifndef ARCH_X86_MEMMAP_H
#define ARCH_X86_MEMMAP_H

#include "vmm/util.h"

#define MEM_VIDEO_START UINT64_C(0xa0000)
#define MEM_SHADOW_START UINT64_C(0xc0000)
#define MEM_EBDA_START UINT64_C(0x9fc00) /* the last KiB below the video window, as every BIOS reserves it */
#define MEM_ACPI_START UINT64_C(0xe0000)
#define MEM_MP_POINTER MEM_EBDA_START /* where MultiProcessor Specification 1.4, chapter 4 says; the table takes the place of ACPI's */
#define MEM_SMBIOS_START UINT64_C(0xf0000)
#define MEM_BIOS_ENTRY UINT64_C(0xffff0) /* 16 bytes: where a processor starts, and a system may jump to restart */
#define MEM_BIOS_END UINT64_C(0x100000)
#define MEM_LOW_MAX UINT64_C(0xc0000000) /* RAM below 4 GiB ends here at the latest */
#define MEM_HIGH_START UINT64_C(0x100000000)
#define MEM_PCI32_START MEM_LOW_MAX
#define MEM_PCI32_SIZE (MEM_ECAM - MEM_PCI32_START)
#define MEM_ECAM UINT64_C(0xe0000000) /* PCI_ECAM_SIZE */
#define MEM_PCI32_TOP_START UINT64_C(0xf0000000)
#define MEM_PCI32_TOP_SIZE (MEM_IOAPIC - MEM_PCI32_TOP_START)
#define MEM_PCI64_ALIGN GIB
#define MEM_PCI64_MAX (64 * GIB) /* at most */
#define MEM_VIRTIO 0xfeb00000u /* where QEMU has them too */
#define MEM_VIRTIO_SIZE 0x100000
#define MEM_VIRTIO_SLOT 0x200u
#define MEM_IOAPIC 0xfec00000u
#define MEM_IOAPIC_SIZE 0x1000
#define MEM_LAPIC 0xfee00000u
#define MEM_LAPIC_SIZE 0x100000 /* with the addresses of messages */
#define MEM_KVM_IDENTITY_MAP UINT64_C(0xfeffc000) /* 1 page, then 3 of the task state segment */
#define MEM_KVM_TSS UINT64_C(0xfeffd000)
#define MEM_KVM_SIZE 0x4000 /* both */

#define PORT_ACPI_PM 0x600
#define PORT_ACPI_GED 0x600 /* hardware-reduced */
#define PORT_RESET 0xcf9
#define PORT_PCI_START 0xc000 /* for BARs */
#define PORT_PCI_SIZE 0x4000
#define RESET_VALUE 0x06 /* hard reset, now */

#define IRQ_PIT 0
#define IRQ_KEYBOARD 1
#define IRQ_RTC 8
#define IRQ_SCI 9
#define IRQ_GED 9
#define IRQ_PCI 16 /* to 19: INTA to INTD, IOAPIC pins that no ISA device shares */
#define IRQ_PCI_LINES 4
#define IRQ_VIRTIO 16 /* to 23: IOAPIC pins that no ISA device has */
#define IRQ_VIRTIO_LINES 8
#define IOAPIC_PIT_PIN 2

#define MAX_COM 4

#endif
