/* SPDX-License-Identifier: MIT */
/* virtio over PCI: Virtual I/O Device Specification 1.2, section 4.1, and the legacy interface, 4.1.4.10. */
#ifndef HW_VIRTIO_PCI_REGS_H
#define HW_VIRTIO_PCI_REGS_H

#include <assert.h>
#include <stddef.h>

#include "vmm/endian.h"

#define VIRTIO_PCI_VENDOR 0x1af4
#define VIRTIO_PCI_DEVICE_MODERN 0x1040   /* + device type, 4.1.2 */
#define VIRTIO_PCI_SUBSYSTEM_MODERN 0x1100 /* 0x40 or higher, 4.1.2.1; Windows drivers are bound to this one */

#define PCI_CAP_ID_VENDOR 0x09

/* 4.1.4: a vendor capability that says where a structure is. `vndr` and `next` stand before it. */
struct virtio_pci_cap {
	uint8_t cap_len, cfg_type, bar, id, padding[2];
	le32 offset, length;
	le32 extra; /* NOTIFY: the multiplier; PCI_CFG: the data window; absent in the others */
};
static_assert(sizeof(struct virtio_pci_cap) == 18, "4.1.4");
#define VIRTIO_PCI_CAP_LEN 16
#define VIRTIO_PCI_CAP_LEN_EXTRA 20
/* Offsets in the capability, from `vndr` on. */
#define VIRTIO_PCI_CAP_BAR 4
#define VIRTIO_PCI_CAP_OFFSET 8
#define VIRTIO_PCI_CAP_LENGTH 12
#define VIRTIO_PCI_CAP_DATA 16

enum virtio_pci_cfg_type {
	VIRTIO_PCI_CAP_COMMON_CFG = 1,
	VIRTIO_PCI_CAP_NOTIFY_CFG = 2,
	VIRTIO_PCI_CAP_ISR_CFG = 3,
	VIRTIO_PCI_CAP_DEVICE_CFG = 4,
	VIRTIO_PCI_CAP_PCI_CFG = 5,
};

/* 4.1.4.3: the common configuration structure. */
struct virtio_pci_common {
	le32 device_feature_select, device_feature;
	le32 driver_feature_select, driver_feature;
	le16 config_msix_vector, num_queues;
	uint8_t device_status, config_generation;
	le16 queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
	le32 queue_desc[2], queue_driver[2], queue_device[2]; /* low and high half */
};
static_assert(sizeof(struct virtio_pci_common) == 56, "4.1.4.3");

/* 4.1.4.5 */
#define VIRTIO_PCI_ISR_QUEUE 1
#define VIRTIO_PCI_ISR_CONFIG 2

/* 4.1.4.10: the legacy header in I/O BAR 0. The vectors are there only while MSI-X is on; the configuration space follows. */
struct virtio_pci_legacy {
	le32 device_features, driver_features;
	le32 queue_pfn;
	le16 queue_size, queue_select, queue_notify;
	uint8_t device_status, isr;
	le16 config_msix_vector, queue_msix_vector;
};
static_assert(sizeof(struct virtio_pci_legacy) == 24, "4.1.4.10");
#define VIRTIO_PCI_LEGACY_CONFIG 20
#define VIRTIO_PCI_LEGACY_CONFIG_MSIX 24
#define VIRTIO_PCI_LEGACY_PAGE 4096 /* of queue_pfn, and the alignment of the used ring, 2.7.2 */

#endif
