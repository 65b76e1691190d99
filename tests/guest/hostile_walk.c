/* SPDX-License-Identifier: MIT */
/*
 * A random walk over everything that a guest can touch: ports, configuration space, BARs, registers of virtio devices and their rings, MSI-X
 * tables, fw_cfg's DMA; from two CPUs at once, for ms= milliseconds from seed=. Each CPU's steps follow from the seed, how they meet does not.
 * Afterwards every device must work after a reset, and memory that none was given be as it was.
 *
 * So that whatever happens to the guest itself is Kite's fault, nothing is asked of a device that may rightly overwrite us. Memory above what
 * the devices of victim.h have is cut into parts:
 *
 *   tables   descriptors and available rings: written by CPUs only, so that no device can put an address of its own making there
 *   used     used rings
 *   legacy   rings of the legacy interface, a slot for each queue, since there the used ring is where the page number and the size say
 *   data     to the end of RAM: all that devices may write to; what runs over leads out of memory. A piece for each device, because two that
 *            are told to use the same memory at the same time would be a race of the guest's, which the thread sanitizer takes for Kite's
 *
 * For the same reason queue addresses are always written whole, and some bits of some ports never: those that end the machine.
 */
#include "victim.h"

#define MIB (1u << 20)
#define MAX_QUEUES 8
#define SLOT 32768           /* of a queue, in each part */
#define AVAIL_AT 16384
#define INDIRECT_AT 20480    /* up to the slot's end */
#define PART (MAX_VICTIMS * MAX_QUEUES * SLOT)
#define CANARY MIB
#define LENGTH_MAX 65536     /* of what is in memory */
#define ECAM 0xe0000000
#define PM1_CNT 0x604        /* of fixed hardware; the sleep control register of a microvm, a byte */
#define FW_CFG 0x510
#define FW_CFG_DMA 0x514
#define IO_ELSEWHERE 0xd000  /* where I/O BARs are moved, and no other step writes */
#define SAVED 16             /* dwords of a function's header */

struct walker {
	uint64_t state;
	uint32_t steps;
};

struct target {
	struct victim *v;
	bool legacy;
	unsigned queues, window; /* window: the capability's offset (4.1.4.9); 0: none */
	uint64_t from;           /* its piece of the data */
	volatile uint16_t size[MAX_QUEUES];
	uint32_t saved[SAVED];
};

static struct target targets[MAX_VICTIMS];
static uint64_t canary, tables, used, legacy, data, end;
static uint64_t fw_cfg_data, piece; /* bytes of a device's data */
static uint64_t stop_at;
static volatile bool stop, other_done;
static volatile int pci_lock, legacy_lock, fw_cfg_lock;

/* ---- numbers ---- */

static uint32_t rnd(struct walker *w)
{
	w->state ^= w->state << 13;
	w->state ^= w->state >> 7;
	w->state ^= w->state << 17;
	return (uint32_t)(w->state >> 16);
}

static uint32_t below(struct walker *w, uint32_t n)
{
	return rnd(w) % n;
}

static bool one_in(struct walker *w, uint32_t n)
{
	return below(w, n) == 0;
}

/* Small, large, or near a power of two. */
static uint64_t number(struct walker *w)
{
	switch (below(w, 6)) {
	case 0: return 0;
	case 1: return ~UINT64_C(0) >> below(w, 64);
	case 2: return UINT64_C(1) << below(w, 64);
	case 3: return container_bits(rnd(w), rnd(w));
	default: return below(w, 256);
	}
}

/* Where there is no memory. The upper half's low bits are zero, as flags that say nothing where they are read as a descriptor's. */
static uint64_t nowhere(struct walker *w)
{
	return container_bits(one_in(w, 3) ? 0 : rnd(w) & 0xffff0000, (uint32_t)end + below(w, (uint32_t)-end));
}

static uint64_t within(struct walker *w, uint64_t from, uint64_t to)
{
	return from + (below(w, (uint32_t)(to - from)) & (one_in(w, 8) ? ~0u : ~15u));
}

/* Where a buffer may be, for a device whose data begins at `from`. */
static uint64_t buffer(struct walker *w, uint64_t from, bool write)
{
	if (one_in(w, 32))
		return nowhere(w);
	return !write && one_in(w, 8) ? within(w, tables, used - 4096) : within(w, from, from + piece - LENGTH_MAX);
}

/* As common requests have them; or any that fits, or that leads out of memory. */
static uint32_t length(struct walker *w)
{
	static const uint16_t common[] = { 1, 16, 51, 64, 108, 512, 1514, 4096, 60000 };
	uint32_t v = (uint32_t)number(w);

	if (!one_in(w, 24))
		return common[below(w, ARRAY_SIZE(common))];
	return v > LENGTH_MAX ? v | 0x80000000 : v;
}

static void lock(volatile int *l)
{
	while (__atomic_exchange_n(l, 1, __ATOMIC_ACQUIRE))
		cpu_relax();
}

static void unlock(volatile int *l)
{
	__atomic_store_n(l, 0, __ATOMIC_RELEASE);
}

static bool overlaps(uint32_t at, uint32_t len, uint32_t from, uint32_t to)
{
	return at < to && from < at + len;
}

/* ---- ports ---- */

static void port_access(struct walker *w, uint16_t port, unsigned width, bool write, uint32_t v)
{
	static uint8_t bytes[2][16];
	void *p = bytes[w->state & 1];
	uint64_t n = 3;

	if (write && width == 1)
		outb(port, (uint8_t)v);
	else if (write && width == 2)
		outw(port, (uint16_t)v);
	else if (write)
		outl(port, v);
	else if (width == 1)
		(void)inb(port);
	else if (width == 2)
		(void)inw(port);
	else if (v & 7)
		(void)inl(port);
	else
		asm volatile("rep insb" : "+D"(p), "+c"(n) : "d"(port) : "memory");
}

/* Ports whose writes are left to others, or end the run: COM1, pc-testdev, isa-debug-exit, what has its own steps. */
static bool forbidden(uint16_t port, unsigned width)
{
	static const struct {
		uint16_t from, to;
	} ranges[] = {
		{ COM1, COM1 + 8 }, { 0xe0, 0xf8 }, { 0x2000, 0x2020 }, { 0xcf8, 0xcf9 }, { 0xcfa, 0xd00 }, { FW_CFG_DMA, FW_CFG_DMA + 8 },
		{ IO_ELSEWHERE, IO_ELSEWHERE + 256 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		if (overlaps(port, width, ranges[i].from, ranges[i].to))
			return true;
	for (size_t i = 0; i < n_victims; i++)
		if (targets[i].v->has_legacy && overlaps(port, width, targets[i].v->legacy.io, targets[i].v->legacy.io + 256u))
			return true;
	return port + width > 0x10000;
}

/* Without what resets or switches off: lines of the 8042, port 92h and CF9h; SLP_EN. */
static uint8_t tame(uint16_t port, uint8_t v)
{
	switch (port) {
	case 0x60: return v | 1;
	case 0x64: return v >= 0xf0 ? v & 0x7f : v;
	case 0x92: return v & 0xfe;
	case 0xcf9: return v & 0xfb;
	case PM1_CNT:
	case PM1_CNT + 1: return v & 0xdf;
	}
	return v;
}

static void ports(struct walker *w)
{
	static const struct {
		uint16_t from, count;
	} known[] = {
		{ 0x20, 2 }, { 0x40, 4 }, { 0x60, 5 }, { 0x70, 2 }, { 0x80, 1 }, { 0x92, 1 }, { 0xa0, 2 }, { 0x2f8, 8 }, { 0x3f8, 8 }, { 0x4d0, 2 },
		{ FW_CFG, 12 }, { 0x600, 16 }, { 0xcf9, 1 }, { 0, 0x1000 },
	};
	size_t which = below(w, ARRAY_SIZE(known) + 1);
	uint16_t port = which < ARRAY_SIZE(known) ? known[which].from + (uint16_t)below(w, known[which].count) : (uint16_t)rnd(w);
	unsigned width = 1u << below(w, 3);
	bool write = one_in(w, 2);
	uint32_t v = (uint32_t)number(w), tamed = 0;

	if (write && forbidden(port, width))
		return;
	for (unsigned i = 0; i < width; i++)
		tamed |= (uint32_t)tame((uint16_t)(port + i), (uint8_t)(v >> 8 * i)) << 8 * i;
	port_access(w, port, width, write, tamed);
}

static uint64_t swap64(uint64_t v)
{
	return __builtin_bswap64(v);
}

/* A DMA request of fw_cfg's, into the data or nowhere. */
static void fw_cfg(struct walker *w)
{
	volatile uint8_t *page = (void *)(used - 4096); /* the tables' last */
	uint64_t at = one_in(w, 16) ? nowhere(w) : (uintptr_t)page;

	lock(&fw_cfg_lock);
	*(volatile uint32_t *)page = __builtin_bswap32((one_in(w, 8) ? rnd(w) : below(w, 32)) | (below(w, 32) << 16));
	*(volatile uint32_t *)(page + 4) = __builtin_bswap32(length(w));
	*(volatile uint64_t *)(page + 8) = swap64(buffer(w, fw_cfg_data, true));
	outl(FW_CFG_DMA, __builtin_bswap32((uint32_t)(at >> 32)));
	outl(FW_CFG_DMA + 4, __builtin_bswap32((uint32_t)at));
	unlock(&fw_cfg_lock);
}

/* ---- configuration space ---- */

static void config_access(struct walker *w, unsigned devfn, unsigned reg, unsigned width, bool write, uint32_t v)
{
	if (one_in(w, 3)) {
		uint64_t at = ECAM + (devfn << 12) + reg;

		if (!write)
			(void)(width == 1 ? read8(at) : width == 2 ? read16(at) : read32(at));
		else if (width == 1)
			write8(at, (uint8_t)v);
		else if (width == 2)
			write16(at, (uint16_t)v);
		else
			write32(at, v);
		return;
	}
	lock(&pci_lock);
	outl(0xcf8, 0x80000000 | (one_in(w, 64) ? rnd(w) & 0xff0000 : 0) | devfn << 8 | (reg & 0xfc));
	port_access(w, (uint16_t)(0xcfc + (reg & 3)), width, write, v | 1);
	unlock(&pci_lock);
}

static void config_restore(const struct target *t)
{
	lock(&pci_lock);
	for (unsigned i = 4; i < SAVED; i++)
		pci_write(t->v->modern.devfn, 4 * i, t->saved[i]);
	pci_write(t->v->modern.devfn, PCI_COMMAND, t->saved[1] & 0xffff);
	unlock(&pci_lock);
}

static void poke(struct walker *w, struct target *t);

/* A write that may lead the registers elsewhere or switch them off; others go on meanwhile. */
static void config_upset(struct walker *w, struct target *t, unsigned reg, unsigned width, uint32_t v)
{
	unsigned devfn = t->v->modern.devfn;

	if (t->v->has_legacy && overlaps(reg, width, PCI_BAR0, PCI_BAR0 + 4)) {
		lock(&pci_lock);
		pci_write(devfn, PCI_BAR0, IO_ELSEWHERE | 1);
		unlock(&pci_lock);
	} else {
		config_access(w, devfn, reg, width, true, v);
	}
	for (unsigned i = below(w, 6); i; i--)
		poke(w, &targets[below(w, (uint32_t)n_victims)]);
	config_restore(t);
}

static void config(struct walker *w)
{
	struct target *t = &targets[below(w, (uint32_t)n_victims)];
	bool other = one_in(w, 8), write = one_in(w, 2);
	unsigned devfn = other ? below(w, 256) : t->v->modern.devfn, width = 1u << below(w, 3), reg = below(w, 257 - width);
	uint32_t v = (uint32_t)number(w);

	if (!write || (other && devfn < 16 && reg >= 0x60)) {
		config_access(w, devfn, reg, width, write, v);
		return;
	}
	if (other || (t->window && overlaps(reg, width, t->window + 16, t->window + 20)))
		return;
	if (reg < 4 * SAVED)
		config_upset(w, t, reg, width, v);
	else
		config_access(w, devfn, reg, width, true, v);
}

/* The registers onto other things that are there. */
static void move(struct walker *w)
{
	struct target *t = &targets[below(w, (uint32_t)n_victims)], *other = &targets[below(w, (uint32_t)n_victims)];
	const uint64_t places[] = {
		0, data, end - 0x4000, end, LAPIC, IOAPIC & ~0x3fffu, ECAM, other->v->modern.common & ~UINT64_C(0x3fff), 0xfffffffffffc0000,
		UINT64_C(1) << 52, 0xffffc000, 0xd8000000,
	};
	uint64_t at = places[below(w, ARRAY_SIZE(places))];

	if (t->v->modern.kind != VIRTIO_MODERN)
		return;
	lock(&pci_lock);
	pci_write(t->v->modern.devfn, PCI_BAR0 + 16, (uint32_t)at);
	pci_write(t->v->modern.devfn, PCI_BAR0 + 20, (uint32_t)(at >> 32));
	unlock(&pci_lock);
	for (unsigned i = below(w, 8); i; i--)
		poke(w, one_in(w, 2) ? t : other);
	config_restore(t);
}

/* ---- registers ---- */

static void memory_access(struct walker *w, uint64_t at, unsigned width, uint64_t v)
{
	bool write = one_in(w, 2);

	switch (width | (write ? 16 : 0)) {
	case 1: (void)read8(at); break;
	case 2: (void)read16(at); break;
	case 4: (void)read32(at); break;
	case 8: (void)read64(at); break;
	case 17: write8(at, (uint8_t)v); break;
	case 18: write16(at, (uint16_t)v); break;
	case 20: write32(at, (uint32_t)v); break;
	case 24: write64(at, v); break;
	}
}

static void poke_legacy(struct walker *w, const struct target *t)
{
	unsigned width = 1u << below(w, 3), at = below(w, 64);

	if (!overlaps(at, width, LEGACY_QUEUE_PFN, LEGACY_QUEUE_NOTIFY))
		port_access(w, (uint16_t)(t->v->legacy.io + at), width, one_in(w, 2), (uint32_t)number(w));
}

/* Any register in any width; queue addresses only as a whole. */
static void poke(struct walker *w, struct target *t)
{
	const struct virtio *dev = &t->v->modern;
	unsigned width = 1u << below(w, 4);
	bool mmio = dev->kind == VIRTIO_MMIO;
	uint32_t at = below(w, mmio ? 0x204 : one_in(w, 3) ? 0x4004 : 64);

	if (t->legacy && one_in(w, 2)) {
		poke_legacy(w, t);
		return;
	}
	if (dev->kind == VIRTIO_LEGACY)
		return;
	if (mmio) {
		if (!overlaps(at, width, MMIO_QUEUE_DESC, MMIO_QUEUE_DEVICE + 8))
			memory_access(w, dev->mmio + at, width, number(w));
		return;
	}
	if (one_in(w, 4) && dev->config) {
		memory_access(w, dev->config + below(w, dev->config_len + 8), width, number(w));
		return;
	}
	if (!overlaps(at, width, COMMON_QUEUE_DESC, COMMON_QUEUE_DEVICE + 8) &&
	    !(t->legacy && overlaps(at, width, COMMON_QUEUE_SIZE, COMMON_QUEUE_SIZE + 2)))
		memory_access(w, dev->common + at, width, number(w));
}

/* Messages to nobody, or an interrupt that waits for ever: never what starts or stops a CPU. */
static void msix(struct walker *w)
{
	const struct virtio *dev = &targets[below(w, (uint32_t)n_victims)].v->modern;
	uint64_t entry;

	if (!dev->msix)
		return;
	entry = dev->msix_table + 16 * below(w, dev->msix_vectors + 2);
	switch (below(w, 6)) {
	case 0: write32(entry, one_in(w, 4) ? LAPIC : rnd(w) & 0x0fffffff); break;
	case 1: write32(entry + 4, one_in(w, 4) ? rnd(w) : 0); break;
	case 2: write32(entry + 8, 0x20 + below(w, 0xd0)); break;
	case 3: write32(entry + 12, rnd(w)); break;
	case 4: (void)read64(entry + below(w, 16)); break;
	case 5: memory_access(w, dev->msix_pba + below(w, 16), 8, number(w)); break;
	}
}

/* ---- rings ---- */

struct rings {
	volatile struct vring_desc *desc, *indirect;
	volatile struct vring_avail *avail;
	uint64_t used;
};

static struct rings rings_of(const struct target *t, unsigned q)
{
	uint64_t slot = SLOT * ((uint64_t)(t - targets) * MAX_QUEUES + q);
	struct rings r = { .desc = (void *)(tables + slot), .avail = (void *)(tables + slot + AVAIL_AT), .indirect = (void *)(tables + slot + INDIRECT_AT) };

	r.used = used + slot;
	if (t->legacy) {
		r.desc = (void *)(legacy + slot);
		r.avail = (void *)(legacy + slot + t->size[q] * 16u);
	}
	return r;
}

static void tell(struct walker *w, struct target *t, unsigned q)
{
	struct rings r = rings_of(t, q);
	struct virtq vq = { .dev = &t->v->dev, .index = (uint16_t)q };
	unsigned size = 1u << below(w, 11);

	if (t->legacy) {
		lock(&legacy_lock);
		virtq_tell(&vq, one_in(w, 32) ? nowhere(w) & 0xfffff000 : (uintptr_t)r.desc, 0, 0, 0);
		unlock(&legacy_lock);
		return;
	}
	t->size[q] = (uint16_t)size;
	virtq_tell(&vq, one_in(w, 32) ? nowhere(w) : (uintptr_t)r.desc, one_in(w, 32) ? nowhere(w) : (uintptr_t)r.avail,
		   one_in(w, 32) ? nowhere(w) : r.used, one_in(w, 16) ? below(w, 2000) : size);
	if (t->v->dev.msix && one_in(w, 4))
		virtio_set_vector(&t->v->dev, (int)q, (uint16_t)below(w, 6));
}

/* A driver's start, which the other CPU may disturb. */
static void begin(struct walker *w, struct target *t)
{
	const struct virtio *dev = &t->v->dev;
	uint64_t features = virtio_offered(dev);

	if (one_in(w, 2))
		features &= container_bits(rnd(w) | 1, rnd(w));
	virtio_set_status(dev, 0);
	virtio_set_status(dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	virtio_choose(dev, features);
	virtio_set_status(dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	for (unsigned q = 0; q < t->queues; q++) {
		rings_of(t, q).avail->idx = 0;
		if (!one_in(w, 16))
			tell(w, t, q);
	}
	virtio_set_status(dev, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
}

/* The beginning of a request as its device knows it; the first words are what it goes by. */
static void header(struct walker *w, const struct target *t, uint64_t at)
{
	static const uint8_t blk[] = { BLK_IN, BLK_OUT, BLK_FLUSH, BLK_GET_ID, BLK_DISCARD, BLK_WRITE_ZEROES, 9 };
	static const uint8_t scsi[] = { 0x00, 0x03, 0x12, 0x1a, 0x25, 0x28, 0x2a, 0x35, 0x3b, 0x41, 0x42, 0x5a, 0x88, 0x8a, 0x93, 0x9e, 0xa0 };
	uint8_t bytes[64];

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = one_in(w, 8) ? (uint8_t)rnd(w) : 0;
	if (t->v->dev.type == VIRTIO_BLK) {
		memset(bytes, 0, 16);
		bytes[0] = blk[below(w, sizeof(blk))];
		bytes[8] = (uint8_t)rnd(w);
		bytes[9] = one_in(w, 4) ? (uint8_t)rnd(w) : 0;
		bytes[14] = one_in(w, 32) ? 0x80 : 0;
	} else if (t->v->dev.type == VIRTIO_SCSI) {
		memset(bytes, 0, 8);
		bytes[0] = 1;
		bytes[1] = one_in(w, 16) ? (uint8_t)rnd(w) : 0;
		bytes[2] = 0x40;
		bytes[3] = (uint8_t)below(w, 2);
		bytes[19] = scsi[below(w, sizeof(scsi))];
	} else if (t->v->dev.type == VIRTIO_NET) {
		bytes[0] = (uint8_t)below(w, 8);
		bytes[1] = (uint8_t)below(w, 6);
	}
	memcpy((void *)at, bytes, sizeof(bytes));
}

/* A chain of descriptors from `first` on; mostly one that makes sense. */
static void chain(struct walker *w, const struct target *t, volatile struct vring_desc *d, unsigned first, unsigned size)
{
	unsigned n = 1 + below(w, 5), out = below(w, n + 1);

	for (unsigned i = 0; i < n; i++) {
		unsigned at = (first + i) % size;
		bool write = i >= out;
		struct vring_desc desc = { .addr = buffer(w, t->from, write), .len = length(w), .flags = write ? DESC_WRITE : 0 };

		if (i == 0 && !write) {
			desc.addr = within(w, t->from, t->from + piece - LENGTH_MAX) & ~UINT64_C(15);
			desc.len = t->v->dev.type == VIRTIO_BLK ? 16 : t->v->dev.type == VIRTIO_SCSI ? 51 : desc.len;
			header(w, t, desc.addr);
		}
		if (i + 1 < n || one_in(w, 64))
			desc.flags |= DESC_NEXT;
		desc.next = (uint16_t)(one_in(w, 64) ? rnd(w) : (first + i + 1) % size);
		d[at] = desc;
	}
}

static void submit(struct walker *w, struct target *t)
{
	unsigned q = below(w, t->queues), size = t->size[q] ? t->size[q] : 1, head = below(w, size);
	struct rings r = rings_of(t, q);
	struct virtq bell = { .dev = &t->v->dev, .index = (uint16_t)q };

	if (one_in(w, 4) && !t->legacy) {
		unsigned n = 1 + below(w, 64);

		chain(w, t, r.indirect, 0, n);
		r.desc[head] = (struct vring_desc){ .addr = (uintptr_t)r.indirect, .len = one_in(w, 16) ? (uint32_t)number(w) : 16 * n, .flags = DESC_INDIRECT };
	} else {
		chain(w, t, r.desc, head, size);
	}
	for (unsigned n = 1 + below(w, 3); n; n--) {
		r.avail->ring[r.avail->idx % size] = (uint16_t)(one_in(w, 64) ? rnd(w) : head);
		barrier();
		r.avail->idx = one_in(w, 128) ? (uint16_t)rnd(w) : r.avail->idx + 1;
	}
	if (t->legacy)
		bell.bell = t->v->legacy.io + LEGACY_QUEUE_NOTIFY;
	else if (t->v->dev.kind == VIRTIO_MMIO)
		bell.bell = t->v->dev.mmio + MMIO_QUEUE_NOTIFY;
	else
		bell.bell = t->v->dev.notify + t->v->dev.notify_multiplier * q;
	virtq_ring(&bell);
}

/* ---- the walk ---- */

static void step(struct walker *w)
{
	struct target *t = &targets[below(w, (uint32_t)n_victims)];
	bool pci = t->v->modern.kind != VIRTIO_MMIO;
	uint32_t what = below(w, 100);

	w->steps++;
	if (what < 50)
		submit(w, t);
	else if (what < 56 || virtio_status(&t->v->dev) & VIRTIO_NEEDS_RESET)
		begin(w, t);
	else if (what < 74)
		poke(w, t);
	else if (what < 84)
		ports(w);
	else if (what < 90 && pci)
		config(w);
	else if (what < 96 && pci)
		msix(w);
	else if (what < 98)
		fw_cfg(w);
	else if (pci)
		move(w);
}

static struct walker walkers[2];

static void walk_other(void *arg)
{
	(void)arg;
	while (!stop)
		step(&walkers[1]);
	other_done = true;
}

static void walk(void *arg)
{
	(void)arg;
	while (rdtsc() < stop_at || walkers[1].steps < 100)
		step(&walkers[0]);
	stop = true;
}

static void target_create(struct target *t, struct victim *v, struct walker *w)
{
	unsigned cap = 0;

	t->v = v;
	t->legacy = v->has_legacy && one_in(w, 3);
	victim_interface(v, t->legacy || v->modern.kind == VIRTIO_LEGACY);
	t->queues = virtio_queues(&v->dev);
	t->queues = t->queues > MAX_QUEUES ? MAX_QUEUES : t->queues;
	for (unsigned q = 0; q < t->queues; q++)
		t->size[q] = (uint16_t)virtq_max(&v->dev, q);
	if (v->modern.kind == VIRTIO_MMIO)
		return;
	for (unsigned i = 0; i < SAVED; i++)
		t->saved[i] = pci_read(v->modern.devfn, 4 * i);
	do
		cap = pci_find_cap(v->modern.devfn, 0x09, cap);
	while (cap && pci_read(v->modern.devfn, cap) >> 24 != 5);
	t->window = cap;
}

static void prepare(void *arg)
{
	struct walker w = { .state = walkers[0].state };

	(void)arg;
	victims_start();
	for (size_t i = 0; i < n_victims; i++)
		target_create(&targets[i], &victims[i], &w);
	canary = (uintptr_t)dma_alloc(CANARY, MIB);
	memset((void *)canary, 0x5a, CANARY);
	tables = canary + CANARY;
	used = tables + PART + 4096;
	legacy = used + PART;
	data = legacy + PART;
	end = ram_end();
	if (data + 8 * MIB > end)
		test_abort("too little memory");
	piece = ((end - data) / (n_victims + 1)) & ~UINT64_C(4095);
	for (size_t i = 0; i < n_victims; i++)
		targets[i].from = data + piece * i;
	fw_cfg_data = data + piece * n_victims;
	memset((void *)tables, 0, data - tables);
}

static bool canary_lives(void)
{
	for (unsigned i = 0; i < CANARY; i++)
		if (((uint8_t *)canary)[i] != 0x5a)
			return false;
	return true;
}

static void judge(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < n_victims; i++) {
		const struct virtio *dev = &victims[i].modern;

		if (dev->kind == VIRTIO_MMIO)
			continue;
		config_restore(&targets[i]);
		if (dev->msix)
			pci_write(dev->devfn, dev->msix, 0);
	}
	console_init();
	print("walk: %u and %u steps\n", walkers[0].steps, walkers[1].steps);
	for (size_t i = 0; i < n_victims; i++)
		victim_begin(&victims[i], 0);
	for (size_t i = 0; i < n_victims; i++)
		victim_after(&victims[i], canary_lives(), "a random walk");
}

void payload_main(void)
{
	uint64_t seed = arg_u64("seed", 1);

	tsc_khz();
	if (!test(smp_start() >= 1, "a second CPU"))
		return;
	for (unsigned i = 0; i < 2; i++)
		walkers[i].state = (seed * 2 + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
	user_call(prepare, NULL);
	stop_at = rdtsc() + tsc_khz() * arg_u64("ms", 3000);
	smp_call_async(1, walk_other, NULL);
	user_call(walk, NULL);
	while (!other_done)
		cpu_relax();
	user_call(judge, NULL);
}
