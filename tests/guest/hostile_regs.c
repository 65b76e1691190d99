/* SPDX-License-Identifier: MIT */
/*
 * Registers of virtio devices written out of order, out of range, and while they are frozen, by each interface. What is refused reads
 * back as it was, and a queue that works goes on working.
 */
#include "victim.h"

static uint64_t common;
static uint16_t io;

static void reg16(unsigned reg, uint16_t v)
{
	write16(common + reg, v);
}

static void address(unsigned reg, uint64_t v)
{
	write32(common + reg, (uint32_t)v);
	write32(common + reg + 4, (uint32_t)(v >> 32));
}

static uint64_t address_of(unsigned reg)
{
	return container_bits(read32(common + reg + 4), read32(common + reg));
}

/* Features agreed on, no queue set up. */
static bool settle(struct victim *v)
{
	bool ok = virtio_negotiate(&v->dev, 0);

	reg16(COMMON_QUEUE_SELECT, (uint16_t)v->queue);
	return ok;
}

/* ---- sizes and addresses ---- */

static bool sizes(struct victim *v)
{
	unsigned max = settle(v) ? virtq_max(&v->dev, v->queue) : 0;
	const unsigned bad[] = { 0, 3, max - 1, max + 1, max * 2, 0xffff, 0x8000 };
	bool ok = max != 0;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		reg16(COMMON_QUEUE_SIZE, (uint16_t)bad[i]);
		ok = ok && read16(common + COMMON_QUEUE_SIZE) == max;
	}
	return ok;
}

/* Enables the queue with one of its addresses wrong. Whether it was refused. */
static bool refused(struct victim *v, unsigned reg, uint64_t bad)
{
	bool ok = settle(v);

	address(COMMON_QUEUE_DESC, (uintptr_t)v->rings);
	address(COMMON_QUEUE_DRIVER, (uintptr_t)v->rings + 16384);
	address(COMMON_QUEUE_DEVICE, (uintptr_t)v->rings + 24576);
	address(reg, bad);
	reg16(COMMON_QUEUE_ENABLE, 1);
	ok = ok && read16(common + COMMON_QUEUE_ENABLE) == 0;
	virtio_ready(&v->dev);
	virtq_ring(&v->vq);
	return ok;
}

static bool addresses(struct victim *v)
{
	static const unsigned regs[] = { COMMON_QUEUE_DESC, COMMON_QUEUE_DRIVER, COMMON_QUEUE_DEVICE };
	const uint64_t bad[] = { (uintptr_t)v->rings + 1, ram_end() - 4, ram_end(), LAPIC, ~UINT64_C(15), ~UINT64_C(0), UINT64_C(1) << 63 };
	bool ok = true;

	for (size_t r = 0; r < ARRAY_SIZE(regs); r++)
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
			ok = refused(v, regs[r], bad[i]) && ok;
	return ok;
}

/* All three rings in one place: the device overwrites its own descriptors. No more than that may happen. */
static bool rings_overlap(struct victim *v)
{
	bool ok = settle(v);

	memset(v->rings, 0, 8192);
	address(COMMON_QUEUE_DESC, (uintptr_t)v->rings);
	address(COMMON_QUEUE_DRIVER, (uintptr_t)v->rings);
	address(COMMON_QUEUE_DEVICE, (uintptr_t)v->rings);
	reg16(COMMON_QUEUE_ENABLE, 1);
	virtio_ready(&v->dev);
	for (unsigned i = 1; i < 64; i++) {
		*(volatile uint16_t *)(v->rings + 2) = (uint16_t)i;
		virtq_ring(&v->vq);
	}
	delay_us(2000);
	return ok;
}

/* Every queue on the same rings. */
static bool rings_shared(struct victim *v)
{
	bool ok = settle(v);
	unsigned queues = virtio_queues(&v->dev);

	memset(v->rings, 0, 8192);
	for (unsigned q = 0; q < queues; q++) {
		reg16(COMMON_QUEUE_SELECT, (uint16_t)q);
		reg16(COMMON_QUEUE_SIZE, 32);
		address(COMMON_QUEUE_DESC, (uintptr_t)v->rings);
		address(COMMON_QUEUE_DRIVER, (uintptr_t)v->rings + 4096);
		address(COMMON_QUEUE_DEVICE, (uintptr_t)v->rings + 8192);
		reg16(COMMON_QUEUE_ENABLE, 1);
		ok = ok && read16(common + COMMON_QUEUE_ENABLE) == 1;
	}
	virtio_ready(&v->dev);
	for (unsigned i = 0; i < 32; i++) {
		*(volatile struct vring_desc *)(v->rings + 16 * i) = (struct vring_desc){ .addr = (uintptr_t)v->data, .len = 64, .flags = i & 1 ? DESC_WRITE : 0 };
		*(volatile uint16_t *)(v->rings + 4096 + 4 + 2 * i) = (uint16_t)i;
	}
	*(volatile uint16_t *)(v->rings + 4096 + 2) = 32;
	for (unsigned q = 0; q < queues; q++)
		write16(v->dev.notify + v->dev.notify_multiplier * q, (uint16_t)q);
	delay_us(2000);
	return ok;
}

/* ---- frozen ---- */

static bool frozen(struct victim *v)
{
	uint64_t desc = (uintptr_t)v->vq.desc;
	bool ok = victim_begin(v, 0) && victim_request(v);

	reg16(COMMON_QUEUE_SELECT, (uint16_t)v->queue);
	reg16(COMMON_QUEUE_SIZE, 8);
	reg16(COMMON_QUEUE_ENABLE, 0);
	address(COMMON_QUEUE_DESC, (uintptr_t)v->data);
	address(COMMON_QUEUE_DRIVER, ~UINT64_C(0));
	address(COMMON_QUEUE_DEVICE, ram_end() - 4);
	reg16(COMMON_QUEUE_ENABLE, 1);
	reg16(COMMON_QUEUE_ENABLE, 0xffff);
	ok = ok && read16(common + COMMON_QUEUE_SIZE) == v->vq.size && read16(common + COMMON_QUEUE_ENABLE) == 1;
	ok = ok && address_of(COMMON_QUEUE_DESC) == desc && address_of(COMMON_QUEUE_DRIVER) == (uintptr_t)v->vq.avail &&
	     address_of(COMMON_QUEUE_DEVICE) == (uintptr_t)v->vq.used;
	return ok && victim_request(v);
}

/* A queue that was not set up before DRIVER_OK is not to be had after it. */
static bool late_queue(struct victim *v)
{
	bool ok = virtio_negotiate(&v->dev, 0);

	virtio_ready(&v->dev);
	virtq_setup_at(&v->vq, &v->dev, v->queue, 8, v->rings);
	ok = ok && read16(common + COMMON_QUEUE_ENABLE) == 0;
	virtq_publish(&v->vq, 0);
	virtq_ring(&v->vq);
	delay_us(1000);
	return ok && v->vq.used->idx == 0;
}

/* ---- selectors ---- */

static bool selectors(struct victim *v)
{
	const unsigned bad[] = { virtio_queues(&v->dev), virtio_queues(&v->dev) + 1, 64, 0x8000, 0xffff };
	bool ok = victim_begin(v, 0);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		reg16(COMMON_QUEUE_SELECT, (uint16_t)bad[i]);
		ok = ok && read16(common + COMMON_QUEUE_SIZE) == 0;
		reg16(COMMON_QUEUE_SIZE, 16);
		reg16(COMMON_QUEUE_VECTOR, 0);
		address(COMMON_QUEUE_DESC, (uintptr_t)v->data);
		address(COMMON_QUEUE_DRIVER, (uintptr_t)v->data + 4096);
		address(COMMON_QUEUE_DEVICE, (uintptr_t)v->data + 8192);
		reg16(COMMON_QUEUE_ENABLE, 1);
		ok = ok && read16(common + COMMON_QUEUE_SIZE) == 0 && read16(common + COMMON_QUEUE_ENABLE) == 0;
		ok = ok && read16(common + COMMON_QUEUE_VECTOR) == VIRTIO_NO_VECTOR;
	}
	for (uint32_t half = 2; half; half = half < 0x80000000 ? half * 16 : 0) {
		write32(common + COMMON_DEVICE_FEATURE_SELECT, half);
		write32(common + COMMON_DRIVER_FEATURE_SELECT, half);
		write32(common + COMMON_DRIVER_FEATURE, 0xffffffff);
		ok = ok && read32(common + COMMON_DEVICE_FEATURE) == 0 && read32(common + COMMON_DRIVER_FEATURE) == 0;
	}
	return ok && victim_request(v);
}

static bool vectors(struct victim *v)
{
	const unsigned bad[] = { v->dev.msix_vectors, v->dev.msix_vectors + 1, 0x7ff, 0x8000, 0xfffe };
	bool ok = victim_begin(v, 0);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ok = ok && virtio_set_vector(&v->dev, (int)v->queue, (uint16_t)bad[i]) == VIRTIO_NO_VECTOR;
		ok = ok && virtio_set_vector(&v->dev, -1, (uint16_t)bad[i]) == VIRTIO_NO_VECTOR;
	}
	ok = ok && virtio_set_vector(&v->dev, (int)v->queue, 0) == 0;
	return ok && victim_request(v);
}

static bool bells(struct victim *v)
{
	bool ok = victim_begin(v, 0);

	for (unsigned at = 0; at < v->dev.notify_len + 64; at += 2)
		write16(v->dev.notify + at, 0xffff);
	for (unsigned i = 0; i < 300; i++)
		virtq_ring(&v->vq);
	return ok && victim_request(v);
}

/* ---- status and features ---- */

static bool status_back(struct victim *v)
{
	static const uint8_t steps[] = { VIRTIO_ACKNOWLEDGE, VIRTIO_DRIVER, VIRTIO_FEATURES_OK, VIRTIO_DRIVER_OK, 0x30, VIRTIO_NEEDS_RESET };
	bool ok = victim_begin(v, 0);
	uint8_t was = virtio_status(&v->dev);

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		virtio_set_status(&v->dev, steps[i]);
		ok = ok && virtio_status(&v->dev) == was;
	}
	ok = ok && victim_request(v);
	virtio_set_status(&v->dev, VIRTIO_FAILED);
	return ok && virtio_status(&v->dev) & VIRTIO_FAILED;
}

static bool status_early(struct victim *v)
{
	bool ok;

	virtio_reset(&v->dev);
	virtio_set_status(&v->dev, VIRTIO_DRIVER_OK);
	ok = !(virtio_status(&v->dev) & VIRTIO_DRIVER_OK);
	virtio_set_status(&v->dev, VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK); /* without VERSION_1 */
	ok = ok && !(virtio_status(&v->dev) & (VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK));
	virtio_choose(&v->dev, ~UINT64_C(0));
	virtio_set_status(&v->dev, VIRTIO_FEATURES_OK);
	ok = ok && !(virtio_status(&v->dev) & VIRTIO_FEATURES_OK);
	return ok && virtio_negotiate(&v->dev, 0);
}

static bool features_late(struct victim *v)
{
	bool ok = victim_begin(v, 0);
	uint32_t was;

	write32(common + COMMON_DRIVER_FEATURE_SELECT, 0);
	was = read32(common + COMMON_DRIVER_FEATURE);
	virtio_choose(&v->dev, ~UINT64_C(0));
	write32(common + COMMON_DRIVER_FEATURE_SELECT, 0);
	return ok && read32(common + COMMON_DRIVER_FEATURE) == was && victim_request(v);
}

/* All resets and activations, one on another. */
static bool resets(struct victim *v)
{
	bool ok = true;

	for (unsigned i = 0; i < 20; i++) {
		ok = victim_begin(v, 0) && ok;
		virtio_set_status(&v->dev, 0);
		virtq_ring(&v->vq);
		virtio_set_status(&v->dev, 0);
		ok = ok && virtio_status(&v->dev) == 0;
	}
	return ok;
}

/* ---- configuration ---- */

static bool config(struct victim *v)
{
	bool ok = victim_begin(v, 0);

	for (unsigned at = 0; at < 0x100 && v->dev.config; at++) {
		write8(v->dev.config + at, 0);
		write64(v->dev.config + at, 0);
		(void)read64(v->dev.config + at);
	}
	return ok && victim_request(v);
}

/* The window in configuration space (4.1.4.9), to places and with lengths that there are not. */
static bool window(struct victim *v)
{
	static const uint32_t bad[][3] = { /* BAR, offset, length */
		{ 4, 0x4000, 4 }, { 4, 0xfffffffc, 4 }, { 4, 0x3ffe, 4 }, { 4, 0, 3 }, { 4, 0, 8 }, { 4, 0, 0 }, { 4, 1, 2 }, { 4, 0, 0xffffffff },
		{ 0, 0, 4 }, { 1, 0, 4 }, { 5, 0, 4 }, { 6, 0, 4 }, { 255, 0, 4 },
	};
	unsigned cap = 0, devfn = v->dev.devfn;
	bool ok = victim_begin(v, 0);

	do
		cap = pci_find_cap(devfn, 0x09, cap);
	while (cap && pci_read(devfn, cap) >> 24 != 5);
	if (!cap)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		pci_write(devfn, cap + 4, bad[i][0]);
		pci_write(devfn, cap + 8, bad[i][1]);
		pci_write(devfn, cap + 12, bad[i][2]);
		pci_write(devfn, cap + 16, 0);
		(void)pci_read(devfn, cap + 16);
	}
	/* And where the status is: a read works. */
	pci_write(devfn, cap + 4, 4);
	pci_write(devfn, cap + 8, COMMON_STATUS);
	pci_write(devfn, cap + 12, 1);
	return ok && (pci_read(devfn, cap + 16) & 0xff) == virtio_status(&v->dev) && victim_request(v);
}

static const struct {
	const char *name;
	bool (*run)(struct victim *v);
} modern[] = {
	{ "queue sizes of 0, above the maximum, not a power of two", sizes },
	{ "rings misaligned and outside memory", addresses },
	{ "the three rings in one place", rings_overlap },
	{ "all queues on the same rings", rings_shared },
	{ "queue registers after DRIVER_OK", frozen },
	{ "a queue set up after DRIVER_OK", late_queue },
	{ "queues and feature words that there are not", selectors },
	{ "MSI-X vectors that there are not", vectors },
	{ "doorbells of no queue, and too many", bells },
	{ "the status backwards", status_back },
	{ "the status too early", status_early },
	{ "features after they were settled", features_late },
	{ "resets and activations in a row", resets },
	{ "the configuration written all over", config },
	{ "the window of configuration space", window },
};

/* ---- legacy ---- */

static bool legacy_frozen(struct victim *v)
{
	bool ok = victim_begin(v, 0) && victim_request(v);

	outw(io + LEGACY_QUEUE_SELECT, (uint16_t)v->queue);
	outl(io + LEGACY_QUEUE_PFN, (uint32_t)((uintptr_t)v->data >> 12));
	outl(io + LEGACY_QUEUE_PFN, 0xffffffff);
	outw(io + LEGACY_QUEUE_SIZE, 3);
	ok = ok && inl(io + LEGACY_QUEUE_PFN) == (uintptr_t)v->rings >> 12 && inw(io + LEGACY_QUEUE_SIZE) == v->vq.size;
	return ok && victim_request(v);
}

static bool legacy_addresses(struct victim *v)
{
	const uint32_t bad[] = { 0xffffffff, (uint32_t)(ram_end() >> 12), (uint32_t)(ram_end() >> 12) - 1, LAPIC >> 12, 0x80000000 };
	bool ok = virtio_negotiate(&v->dev, 0);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		outw(io + LEGACY_QUEUE_SELECT, (uint16_t)v->queue);
		outl(io + LEGACY_QUEUE_PFN, bad[i]);
		ok = ok && inl(io + LEGACY_QUEUE_PFN) == 0;
		outw(io + LEGACY_QUEUE_NOTIFY, (uint16_t)v->queue);
	}
	return ok;
}

static bool legacy_selectors(struct victim *v)
{
	bool ok = victim_begin(v, 0);

	for (unsigned q = 0x40; q < 0x10000; q += 0x7fbf) {
		outw(io + LEGACY_QUEUE_SELECT, (uint16_t)q);
		outl(io + LEGACY_QUEUE_PFN, (uint32_t)((uintptr_t)v->data >> 12));
		ok = ok && inw(io + LEGACY_QUEUE_SIZE) == 0 && inl(io + LEGACY_QUEUE_PFN) == 0;
		outw(io + LEGACY_QUEUE_NOTIFY, (uint16_t)q);
	}
	outl(io + LEGACY_DRIVER_FEATURES, 0xffffffff);
	return ok && victim_request(v);
}

/* Started by its doorbell (3.1.2), given up by page 0, begun anew. */
static bool legacy_early(struct victim *v)
{
	bool ok = virtio_negotiate(&v->dev, 0) && virtq_setup_at(&v->vq, &v->dev, v->queue, virtq_max(&v->dev, v->queue), v->rings);

	ok = ok && victim_request(v);
	outw(io + LEGACY_QUEUE_SELECT, (uint16_t)v->queue);
	outl(io + LEGACY_QUEUE_PFN, 0);
	return ok && inl(io + LEGACY_QUEUE_PFN) == 0 && virtio_status(&v->dev) == 0;
}

static bool legacy_status(struct victim *v)
{
	bool ok = victim_begin(v, 0);

	outb(io + LEGACY_STATUS, VIRTIO_ACKNOWLEDGE);
	outb(io + LEGACY_STATUS, VIRTIO_DRIVER);
	outb(io + LEGACY_STATUS, VIRTIO_NEEDS_RESET | 0x30);
	return ok && virtio_status(&v->dev) == (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK) && victim_request(v);
}

/* The driver of one interface on the other's registers. */
static bool legacy_mixed(struct victim *v)
{
	bool ok = victim_begin(v, 0);

	common = v->modern.common;
	reg16(COMMON_QUEUE_SELECT, (uint16_t)v->queue);
	reg16(COMMON_QUEUE_SIZE, 8);
	address(COMMON_QUEUE_DESC, 0);
	reg16(COMMON_QUEUE_ENABLE, 1);
	write8(common + COMMON_STATUS, 0x0f);
	write16(v->modern.notify + v->modern.notify_multiplier * v->queue, (uint16_t)v->queue);
	ok = ok && victim_request(v);
	write8(common + COMMON_STATUS, 0);
	return ok && inb(io + LEGACY_STATUS) == 0;
}

static const struct {
	const char *name;
	bool (*run)(struct victim *v);
} legacy[] = {
	{ "queue registers after DRIVER_OK", legacy_frozen },
	{ "rings outside memory", legacy_addresses },
	{ "queues that there are not", legacy_selectors },
	{ "a doorbell before DRIVER_OK, and page 0", legacy_early },
	{ "the status backwards", legacy_status },
	{ "both interfaces at once", legacy_mixed },
};

static void all(void *arg)
{
	(void)arg;
	victims_start();
	for (size_t i = 0; i < n_victims; i++) {
		struct victim *v = &victims[i];

		common = v->modern.common;
		for (size_t n = 0; n < ARRAY_SIZE(modern) && victim_interface(v, false); n++)
			victim_after(v, modern[n].run(v), modern[n].name);
		io = v->legacy.io;
		for (size_t n = 0; n < ARRAY_SIZE(legacy) && victim_interface(v, true); n++)
			victim_after(v, legacy[n].run(v), legacy[n].name);
	}
}

void payload_main(void)
{
	tsc_khz();
	user_call(all, NULL);
}
