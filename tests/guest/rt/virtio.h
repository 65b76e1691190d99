/* SPDX-License-Identifier: MIT */
/*
 * A driver for virtio devices (Virtio 1.2): over PCI as modern or as legacy device, over MMIO. For payloads that use devices, and for
 * those that misuse them: every register and ring field is in reach, and nothing is done behind the caller's back.
 *
 * Everything works in ring 3 as in ring 0 (user_call), where loops run at full speed also on hosts that interpret guest kernels. The
 * functions that a benchmark calls for each request are inline and neither print nor check.
 *
 * A request that is used over and over: virtq_chain once, then virtq_publish, virtq_kick and virtq_poll for each round. One that is
 * used once: virtio_request.
 */
#ifndef RT_VIRTIO_H
#define RT_VIRTIO_H

#include "rt.h"

/* PCI configuration space, mechanism 1 ---------------------------------------- */

static inline uint32_t pci_read(unsigned devfn, unsigned reg)
{
	outl(0xcf8, 0x80000000 | devfn << 8 | (reg & 0xfc));
	return inl(0xcfc);
}

static inline void pci_write(unsigned devfn, unsigned reg, uint32_t v)
{
	outl(0xcf8, 0x80000000 | devfn << 8 | (reg & 0xfc));
	outl(0xcfc, v);
}

#define PCI_COMMAND 0x04
#define PCI_COMMAND_IO 0x1
#define PCI_COMMAND_MEMORY 0x2
#define PCI_COMMAND_MASTER 0x4
#define PCI_BAR0 0x10

uint64_t pci_bar(unsigned devfn, unsigned bar); /* its address, without flags; 64-bit ones whole */
unsigned pci_find_cap(unsigned devfn, uint8_t id, unsigned after); /* after 0: the first; 0: none */

/* Memory for rings and buffers ---------------------------------------- */

/* Zeroed, `align` a power of two. From 16 MiB to the end of low RAM (below the PCI hole); aborts the run when there is no more. */
void *dma_alloc(size_t size, size_t align);
/* Gives back everything that was allocated after `mark`, a result of dma_mark. */
uintptr_t dma_mark(void);
void dma_release(uintptr_t mark);
uint64_t ram_end(void); /* where RAM below 4 GiB ends */

/* Devices ---------------------------------------- */

#define VIRTIO_NET 1
#define VIRTIO_BLK 2
#define VIRTIO_CONSOLE 3
#define VIRTIO_RNG 4
#define VIRTIO_BALLOON 5
#define VIRTIO_SCSI 8

#define VIRTIO_ACKNOWLEDGE 1
#define VIRTIO_DRIVER 2
#define VIRTIO_DRIVER_OK 4
#define VIRTIO_FEATURES_OK 8
#define VIRTIO_NEEDS_RESET 64
#define VIRTIO_FAILED 128

#define VIRTIO_F_INDIRECT (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1 (UINT64_C(1) << 32)
#define VIRTIO_NO_VECTOR 0xffff

/* Offsets in the modern common configuration (4.1.4.3), */
enum {
	COMMON_DEVICE_FEATURE_SELECT = 0, COMMON_DEVICE_FEATURE = 4, COMMON_DRIVER_FEATURE_SELECT = 8, COMMON_DRIVER_FEATURE = 12,
	COMMON_CONFIG_VECTOR = 16, COMMON_NUM_QUEUES = 18, COMMON_STATUS = 20, COMMON_GENERATION = 21, COMMON_QUEUE_SELECT = 22,
	COMMON_QUEUE_SIZE = 24, COMMON_QUEUE_VECTOR = 26, COMMON_QUEUE_ENABLE = 28, COMMON_QUEUE_NOTIFY_OFF = 30, COMMON_QUEUE_DESC = 32,
	COMMON_QUEUE_DRIVER = 40, COMMON_QUEUE_DEVICE = 48,
};
/* in the legacy registers (4.1.4.10), */
enum {
	LEGACY_DEVICE_FEATURES = 0, LEGACY_DRIVER_FEATURES = 4, LEGACY_QUEUE_PFN = 8, LEGACY_QUEUE_SIZE = 12, LEGACY_QUEUE_SELECT = 14,
	LEGACY_QUEUE_NOTIFY = 16, LEGACY_STATUS = 18, LEGACY_ISR = 19, LEGACY_CONFIG_VECTOR = 20, LEGACY_QUEUE_VECTOR = 22,
	LEGACY_CONFIG = 20, LEGACY_CONFIG_MSIX = 24,
};
/* and over MMIO (4.2.2). */
enum {
	MMIO_MAGIC = 0x00, MMIO_VERSION = 0x04, MMIO_DEVICE_ID = 0x08, MMIO_DEVICE_FEATURES = 0x10, MMIO_DEVICE_FEATURES_SEL = 0x14,
	MMIO_DRIVER_FEATURES = 0x20, MMIO_DRIVER_FEATURES_SEL = 0x24, MMIO_QUEUE_SEL = 0x30, MMIO_QUEUE_NUM_MAX = 0x34,
	MMIO_QUEUE_NUM = 0x38, MMIO_QUEUE_READY = 0x44, MMIO_QUEUE_NOTIFY = 0x50, MMIO_INTERRUPT_STATUS = 0x60, MMIO_INTERRUPT_ACK = 0x64,
	MMIO_STATUS = 0x70, MMIO_QUEUE_DESC = 0x80, MMIO_QUEUE_DRIVER = 0x90, MMIO_QUEUE_DEVICE = 0xa0, MMIO_CONFIG = 0x100,
};

enum virtio_kind { VIRTIO_MODERN, VIRTIO_LEGACY, VIRTIO_MMIO };

struct virtio {
	enum virtio_kind kind;
	unsigned type;                 /* VIRTIO_BLK, ... */
	unsigned devfn;                /* PCI */
	uint64_t common, notify, isr, config; /* modern: addresses; config 0: none */
	uint32_t notify_multiplier, config_len, notify_len;
	uint16_t io;                   /* the legacy registers; 0: none */
	uint64_t mmio;
	unsigned msix;                 /* the capability's offset; 0: none */
	uint64_t msix_table, msix_pba; /* addresses */
	unsigned msix_vectors;
	uint64_t features;             /* negotiated */
};

/* The functions on bus 0 that are virtio devices: modern ones where they can be, else legacy. With bus mastering on. At most `max`. */
size_t virtio_find(struct virtio *devs, size_t max);
/* The same device by its legacy registers; false: it has none. */
bool virtio_as_legacy(const struct virtio *dev, struct virtio *legacy);
/* The device whose registers are at `base`; false: there is none. */
bool virtio_at_mmio(uint64_t base, struct virtio *dev);
const char *virtio_name(const struct virtio *dev);

void virtio_reset(struct virtio *dev); /* returns when the status reads 0 */
uint8_t virtio_status(const struct virtio *dev);
void virtio_set_status(const struct virtio *dev, uint8_t status);
uint64_t virtio_offered(const struct virtio *dev);
/* Writes the driver's features and nothing else. */
void virtio_choose(const struct virtio *dev, uint64_t features);
/* Reset, ACKNOWLEDGE, DRIVER, what is both wanted and offered (and VERSION_1), FEATURES_OK. False: the device refused. */
bool virtio_negotiate(struct virtio *dev, uint64_t wanted);
void virtio_ready(const struct virtio *dev); /* DRIVER_OK */
unsigned virtio_queues(const struct virtio *dev); /* legacy and MMIO: those with a size, counted */
/* Of the device's configuration, `len` 1, 2, 4 or (as two reads) 8 bytes. */
uint64_t virtio_config(const struct virtio *dev, unsigned offset, unsigned len);

/* MSI-X on, every vector masked and without a message; false: the device has none. virtio_vector then gives one a LAPIC vector. */
bool virtio_msix_on(const struct virtio *dev);
void virtio_msix_vector(const struct virtio *dev, unsigned n, uint8_t vector, uint32_t apic_id);
/* The vector of queue `q` as it reads after the write; q -1: of configuration changes. */
uint16_t virtio_set_vector(const struct virtio *dev, int q, uint16_t vector);

/* Queues ---------------------------------------- */

#define DESC_NEXT 1
#define DESC_WRITE 2
#define DESC_INDIRECT 4
#define AVAIL_NO_INTERRUPT 1
#define USED_NO_NOTIFY 1

struct vring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct vring_avail {
	uint16_t flags, idx, ring[]; /* then used_event */
};

struct vring_used {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} ring[]; /* then avail_event */
};

struct virtq {
	const struct virtio *dev;
	uint16_t index, size, mask; /* of the queue; entries, a power of two */
	volatile struct vring_desc *desc;
	volatile struct vring_avail *avail;
	volatile struct vring_used *used;
	volatile uint16_t *used_event, *avail_event; /* behind the rings, the driver's and the device's */
	void *header;                   /* 32 bytes behind that, for blk_request */
	uint16_t next_avail, next_used; /* counts, modulo 65,536 */
	uint16_t kicked;                /* next_avail at the last virtq_kick */
	uint16_t free, n_free;          /* descriptors that no chain has */
	bool event_idx;
	uint64_t bell;                  /* where to ring: address or port */
};

struct buffer {
	const volatile void *at;
	uint32_t len;
};

/*
 * Sets up queue `index` with `size` entries, 0 for as many as the device has (and always with legacy devices), and enables it. Rings
 * come from dma_alloc. Interrupts are asked not to come. Between virtio_negotiate and virtio_ready. False: there is no such queue.
 */
bool virtq_setup(struct virtq *vq, const struct virtio *dev, unsigned index, unsigned size);
/* The same with rings at `rings`, of VIRTQ_BYTES(size), aligned to 4096. */
bool virtq_setup_at(struct virtq *vq, const struct virtio *dev, unsigned index, unsigned size, void *rings);
#define VIRTQ_BYTES(size) ((((size) * 18u + 6 + 4095) & ~4095u) + (size) * 8u + 64)
/* The largest size of queue `index`; 0: there is none. */
unsigned virtq_max(const struct virtio *dev, unsigned index);
/* Rings as they were after virtq_setup; the device is reset. */
void virtq_clear(struct virtq *vq);
/* Writes the queue's size and addresses to the device, and enables it. */
void virtq_tell(const struct virtq *vq, uint64_t desc, uint64_t avail, uint64_t used, unsigned size);
/* Interrupts wanted, or not. */
void virtq_interrupts(struct virtq *vq, bool on);

/* A chain of `out` readable and then `in` writable buffers, not yet made available. Its head, -1 without room. */
int virtq_chain(struct virtq *vq, const struct buffer *buffers, unsigned out, unsigned in);
/* The same by way of an indirect table, which is the caller's: out + in entries, aligned to 16. */
int virtq_chain_indirect(struct virtq *vq, volatile struct vring_desc *table, const struct buffer *buffers, unsigned out, unsigned in);
/* Takes a chain apart. */
void virtq_free(struct virtq *vq, unsigned head);
/* One chain from begin to end, and its descriptors free again. False: no answer within `ms`. */
bool virtio_request(struct virtq *vq, const struct buffer *buffers, unsigned out, unsigned in, uint32_t *len, unsigned ms);
/* Waits for an answer. Its head, -1 when there is none within `ms`. */
int virtq_wait(struct virtq *vq, uint32_t *len, unsigned ms);

/* No load before this is done after it, no store after it before it: for flags that are read after an index is written. */
static inline void full_barrier(void)
{
	asm volatile("lock; orl $0, -4(%%rsp)" : : : "memory", "cc");
}

/* Puts a head into the available ring. The device sees it with virtq_publish_idx, or at once by virtq_publish. */
static inline void virtq_add(struct virtq *vq, uint16_t head)
{
	vq->avail->ring[vq->next_avail & vq->mask] = head;
	vq->next_avail++;
}

static inline void virtq_publish_idx(struct virtq *vq)
{
	barrier(); /* x86 keeps stores in order */
	vq->avail->idx = vq->next_avail;
}

static inline void virtq_publish(struct virtq *vq, uint16_t head)
{
	virtq_add(vq, head);
	virtq_publish_idx(vq);
}

/* Rings, whether the device wants it or not. */
static inline void virtq_ring(const struct virtq *vq)
{
	if (vq->dev->kind == VIRTIO_LEGACY)
		outw((uint16_t)vq->bell, vq->index);
	else if (vq->dev->kind == VIRTIO_MMIO)
		write32(vq->bell, vq->index);
	else
		write16(vq->bell, vq->index);
}

/* Rings if the device asked for it since the last time. Returns whether it did. */
static inline bool virtq_kick(struct virtq *vq)
{
	uint16_t old = vq->kicked, now = vq->next_avail, event;
	bool wanted;

	vq->kicked = now;
	full_barrier();
	if (vq->event_idx) {
		event = *vq->avail_event;
		wanted = (uint16_t)(now - event - 1) < (uint16_t)(now - old);
	} else {
		wanted = now != old && !(vq->used->flags & USED_NO_NOTIFY);
	}
	if (wanted)
		virtq_ring(vq);
	return wanted;
}

/* The head of the next answer, its length in *len unless that is NULL; -1: none yet. The chain stays as it is. */
static inline int virtq_poll(struct virtq *vq, uint32_t *len)
{
	unsigned at = vq->next_used & vq->mask;

	if (vq->used->idx == vq->next_used)
		return -1;
	barrier(); /* x86 keeps loads in order */
	vq->next_used++;
	if (len)
		*len = vq->used->ring[at].len;
	return (int)vq->used->ring[at].id;
}

/* Block devices ---------------------------------------- */

#define BLK_IN 0
#define BLK_OUT 1
#define BLK_FLUSH 4
#define BLK_GET_ID 8
#define BLK_DISCARD 11
#define BLK_WRITE_ZEROES 13
#define BLK_OK 0
#define BLK_IOERR 1
#define BLK_UNSUPP 2
#define BLK_F_RO (UINT64_C(1) << 5)
#define BLK_F_FLUSH (UINT64_C(1) << 9)
#define BLK_F_CONFIG_WCE (UINT64_C(1) << 11)
#define BLK_F_MQ (UINT64_C(1) << 12)
#define BLK_F_DISCARD (UINT64_C(1) << 13)
#define BLK_F_WRITE_ZEROES (UINT64_C(1) << 14)
#define BLK_CONFIG_CAPACITY 0 /* 8 bytes: sectors */

struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

/* One request; `data` of `len` bytes is written to the disk for BLK_OUT and ranges, else filled. The status, or -1: no answer. */
int blk_request(struct virtq *vq, uint32_t type, uint64_t sector, void *data, uint32_t len);

#endif
