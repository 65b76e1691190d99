/* SPDX-License-Identifier: MIT */
/*
 * The virtio core (Virtual I/O Device Specification 1.2): what devices and transports agree on. A transport (PCI, MMIO) has the
 * registers; the core has the state machine that both share (section 3.1); a device has features, a configuration space and queues.
 *
 * Life of a device: reset → features offered and chosen → queues configured → DRIVER_OK: `activate` hands the queues over, with
 * interrupts and doorbells connected → `kick` whenever the driver rings → reset: `deactivate` takes them back. Queue registers are
 * frozen while a queue is enabled.
 *
 * Thread: registers in vCPU threads under the device's mutex; activate, kick and deactivate on the device's loop, the transport's
 * thread waiting (eventloop_call_sync) in activate and deactivate. deactivate returns with no request in flight.
 *
 * Lock order: the PCI bus's mutex → dev->transition → (the loop's thread) → dev->lock → a transport's interrupt lock. See hw/virtio.c.
 */
#ifndef HW_VIRTIO_H
#define HW_VIRTIO_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "hw/devices.h"
#include "hw/virtq.h"
#include "vmm/device.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"

struct err;
struct virtio_dev;

/* Section 5: device types. */
enum virtio_id { VIRTIO_ID_NET = 1, VIRTIO_ID_BLOCK = 2, VIRTIO_ID_CONSOLE = 3, VIRTIO_ID_RNG = 4, VIRTIO_ID_BALLOON = 5,
		 VIRTIO_ID_SCSI = 8 };

/* Section 6: feature bits of every device. */
#define VIRTIO_F_NOTIFY_ON_EMPTY (UINT64_C(1) << 24) /* legacy */
#define VIRTIO_F_ANY_LAYOUT (UINT64_C(1) << 27)      /* legacy */
#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1 (UINT64_C(1) << 32)

/* Section 2.1: device status. */
#define VIRTIO_STATUS_ACKNOWLEDGE 1
#define VIRTIO_STATUS_DRIVER 2
#define VIRTIO_STATUS_DRIVER_OK 4
#define VIRTIO_STATUS_FEATURES_OK 8
#define VIRTIO_STATUS_NEEDS_RESET 64
#define VIRTIO_STATUS_FAILED 128

#define VIRTIO_MAX_QUEUES 64
#define VIRTIO_NO_VECTOR 0xffff

struct virtio_dev_ops {
	/* Bits of the device's own that it offers (0 to 23, and from 50 on). */
	uint64_t (*features)(struct virtio_dev *dev);
	/* Its configuration space. `offset + len` is within config_size. The device locks itself. config_write NULL: read-only. */
	void (*config_read)(struct virtio_dev *dev, unsigned offset, uint8_t *buf, unsigned len);
	void (*config_write)(struct virtio_dev *dev, unsigned offset, const uint8_t *buf, unsigned len);
	/* Takes over the enabled queues of dev->queues (vq.cfg.size != 0). -errno: NEEDS_RESET. */
	int (*activate)(struct virtio_dev *dev, uint64_t features);
	/* The driver rang for queue `q`. */
	void (*kick)(struct virtio_dev *dev, unsigned q);
	/* Drains and gives the queues back. */
	void (*deactivate)(struct virtio_dev *dev);
	/*
	 * What queue_irqfd of the transport says may be different now; before the driver's next instruction. vCPU threads, under the transport's
	 * locks. NULL: nothing.
	 */
	void (*irq_changed)(struct virtio_dev *dev);
	/* As device_ops; main thread. NULL: nothing. */
	void (*quiesce)(struct virtio_dev *dev);
	void (*resume)(struct virtio_dev *dev);
	/* Frees what the device owns, itself included; it is not active. */
	void (*destroy)(struct virtio_dev *dev);
};

/* What a transport does for the core; on any thread. None of it may take dev->lock, which may be held. */
struct virtio_transport_ops {
	void (*notify_queue)(void *transport, unsigned q); /* an interrupt: used buffers in queue q */
	void (*notify_config)(void *transport);            /* an interrupt: the configuration, or NEEDS_RESET */
	/* An eventfd that is queue q's interrupt by itself, borrowed until irq_changed; -1: only notify_queue is. NULL: never. */
	int (*queue_irqfd)(void *transport, unsigned q);
	/* Under dev->lock: binds the doorbells of the enabled queues, or unbinds what is bound. NULL: nothing. */
	void (*doorbells)(void *transport, bool on);
	/* Under dev->lock, at the end of a reset: the transport's own registers, vectors and interrupt status. NULL: nothing. */
	void (*reset)(void *transport);
};

struct virtio_queue {
	struct virtq vq;       /* while active; the device's loop */
	uint16_t size_max;     /* offered */
	struct virtq_config set; /* as the driver sets it up */
	bool enabled;
	struct event_fd bell;  /* the doorbell's eventfd, on the device's loop while active */
	struct event_poll poll; /* looks at the ring in its stead, with poll_queues */
	struct virtio_dev *dev;
};

/* Embedded in every virtio device. */
struct virtio_dev {
	const struct virtio_dev_ops *ops;
	enum virtio_id id;
	const char *name;          /* "virtio-disk0"; borrowed */
	struct eventloop *loop;    /* where it works; borrowed */
	const struct guest_mem *mem;
	unsigned config_size;      /* bytes */
	bool poll_queues;          /* a kick takes all there is, so the loop may look at the rings instead of being woken */
	uint64_t unpolled;         /* with poll_queues: a bit for each queue of which that is not true, as one that is kept filled */
	uint64_t legacy_only;      /* features that modern drivers are not offered */
	unsigned n_queues;
	struct virtio_queue *queues; /* n_queues, owned by the core */
	struct log_limit log;

	/* The core's: */
	pthread_mutex_t transition; /* one change of status at a time; never taken on the loop */
	pthread_mutex_t lock;
	const struct virtio_transport_ops *transport_ops;
	void *transport;
	uint64_t offered, chosen;
	uint8_t status;
	uint8_t generation; /* of the configuration, 2.5.2 */
	bool legacy;        /* the driver uses the legacy interface: VERSION_1 not chosen */
	bool started;       /* from the start of activation to the end of a reset: queues are frozen */
	bool active;        /* the device has the queues; written on its loop */
	bool barred;        /* the transport may not access memory: no queues for the device */
};

/* Set ops, id, name, loop, mem and config_size before. 0 or -errno with `err`. */
int virtio_dev_init(struct virtio_dev *dev, const uint16_t *queue_sizes, unsigned n_queues, struct err *err);
void virtio_dev_fini(struct virtio_dev *dev);

/* For transports; vCPU threads, without dev->lock held. */
void virtio_set_status(struct virtio_dev *dev, uint8_t status); /* 0 resets */
uint8_t virtio_get_status(struct virtio_dev *dev);
uint64_t virtio_offered(struct virtio_dev *dev, bool legacy);
void virtio_choose(struct virtio_dev *dev, uint64_t features); /* before FEATURES_OK; later writes are ignored */

/* For devices, on their loop. */
/* Interrupts the driver when it wants to be. Once after a batch of pushes. */
void virtio_notify(struct virtio_dev *dev, unsigned q);
/* With poll_queues: before pushes that the driver is likely to answer with more requests. */
void virtio_expect_more(struct virtio_dev *dev, unsigned q);
/* With poll_queues: nothing can be taken from the queue for a while, so it is no use to look at it. Doorbells stay as they are. */
void virtio_look_away(struct virtio_dev *dev, unsigned q);
/* The configuration changed: a new generation, and an interrupt. Any thread. */
void virtio_config_changed(struct virtio_dev *dev);
/* The queue is broken: logs vq.why, sets NEEDS_RESET, tells the driver. The device goes on with its other queues. */
void virtio_queue_broken(struct virtio_dev *dev, unsigned q);
/* Puts what the guest may not change any more: whether VERSION_1 etc. was chosen. */
static inline bool virtio_has(const struct virtio_dev *dev, uint64_t feature)
{
	return dev->chosen & feature;
}
/* For who holds no lock, as an access to configuration space, while a vCPU may reset the device: the feature, and the interface. */
bool virtio_negotiated(struct virtio_dev *dev, uint64_t feature);
bool virtio_is_legacy(struct virtio_dev *dev);

/* hw/virtio_pci.c: transitional unless `modern_only`. Takes `dev` over on success. */
struct virtio_pci_config {
	int devfn;         /* or PCI_ADDR_AUTO */
	bool modern_only;  /* disable-legacy=on */
	bool legacy_only;  /* disable-modern=on */
	int vectors;       /* MSI-X vectors; 0: none; -1: one a queue and one for configuration */
	uint32_t class_code;
};
struct pci_bus;
struct pci_dev;
struct device *virtio_pci_create(const struct device_env *env, struct pci_bus *bus, struct virtio_dev *dev,
				 const struct virtio_pci_config *cfg, struct err *err);

/* The function of a device that such a transport is in front of. */
const struct pci_dev *virtio_pci_function(const struct virtio_dev *dev);

/* hw/virtio_mmio.c: version 2 of section 4.2, 512 bytes at `base`. Takes `dev` over on success. */
struct device *virtio_mmio_create(const struct device_env *env, struct virtio_dev *dev, uint64_t base, struct irq_line irq,
				  struct err *err);

#endif
