/* SPDX-License-Identifier: MIT */
/* What the files of virtio over PCI share. */
#ifndef HW_VIRTIO_PCI_PRIV_H
#define HW_VIRTIO_PCI_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "hw/pci.h"
#include "hw/virtio.h"
#include "hw/virtio_pci_regs.h"
#include "hw/virtio_transport.h"

#define VIRTIO_PCI_LEGACY_BAR 0
#define VIRTIO_PCI_MSIX_BAR 1
#define VIRTIO_PCI_MODERN_BAR 4

/* The modern BAR: a page for each structure. */
#define VIRTIO_PCI_PAGE 0x1000
#define VIRTIO_PCI_COMMON_AT 0x0000
#define VIRTIO_PCI_ISR_AT 0x1000
#define VIRTIO_PCI_DEVICE_AT 0x2000
#define VIRTIO_PCI_NOTIFY_AT 0x3000
#define VIRTIO_PCI_MODERN_SIZE 0x4000
#define VIRTIO_PCI_NOTIFY_MULTIPLIER 4 /* bytes: a doorbell of its own for each queue */

/* The two places where a driver may ring. Only those of the interface that it uses are bound. */
enum virtio_pci_window { WINDOW_MODERN, WINDOW_LEGACY, WINDOWS };

struct virtio_pci {
	struct device dev;
	struct pci_dev pci;
	struct virtio_dev *vdev; /* owned */
	struct doorbell_source doorbells;
	unsigned vectors;  /* 0: no MSI-X */
	unsigned cfg_cap;  /* where the capability of 4.1.4.9 is; 0: nowhere */

	/* Under vdev->lock: */
	struct {
		uint32_t offered_select, chosen_select;
		uint16_t queue_select;
	} r;
	struct {
		bool mapped;
		uint64_t base;
	} window[WINDOWS];
	bool bells_on;
	bool bound[VIRTIO_MAX_QUEUES];
	enum virtio_pci_window bound_in;

	/* Written under vdev->lock, read by whoever interrupts. */
	_Atomic uint16_t config_vector;
	_Atomic uint16_t queue_vector[VIRTIO_MAX_QUEUES];

	pthread_mutex_t irq_lock; /* after vdev->lock; the level of INTx follows `isr` under it */
	uint8_t isr;
};

/* The BARs' accesses. */
extern const struct bus_ops virtio_pci_modern_ops, virtio_pci_legacy_ops;

/* Reads, clears, and lowers INTx (4.1.4.5). Without vdev->lock. */
uint8_t virtio_pci_take_isr(struct virtio_pci *s);
bool virtio_pci_msix_on(const struct virtio_pci *s);
/* The vector registers; what does not exist becomes VIRTIO_NO_VECTOR (4.1.5.1.2.1). Under vdev->lock. */
void virtio_pci_set_config_vector(struct virtio_pci *s, uint16_t vector);
void virtio_pci_set_queue_vector(struct virtio_pci *s, uint16_t vector);
uint16_t virtio_pci_config_vector(struct virtio_pci *s);
uint16_t virtio_pci_queue_vector(struct virtio_pci *s);

/* For drivers that do not switch bus mastering on. From a BAR's handler, without vdev->lock. */
void virtio_pci_become_master(struct virtio_pci *s);

/* A register of a structure that is written field by field; see virtio_pci_write_fields. */
struct virtio_pci_field {
	uint8_t offset, len;
	void (*write)(struct virtio_pci *s, unsigned offset, uint32_t value);
};

/*
 * A write of `len` bytes at `offset` as writes of whole fields: bytes that it does not cover come from `image`, the registers as they
 * read. Under vdev->lock.
 */
void virtio_pci_write_fields(struct virtio_pci *s, const struct virtio_pci_field *fields, size_t n, uint8_t *image, size_t image_len,
			     unsigned offset, const uint8_t *buf, unsigned len);

/* Whether an access covers the byte at `at`. */
static inline bool virtio_pci_covers(uint64_t offset, unsigned len, unsigned at)
{
	return offset <= at && at < offset + len;
}

#endif
