/* SPDX-License-Identifier: MIT */
/*
 * Registers of virtio devices over MMIO (Virtio 1.2, 4.2.2) written out of order, out of range, in every width, and while they are frozen.
 * What is refused reads back as it was, and a queue that works goes on working.
 */
#include "victim.h"

#define INTERRUPT_ACK_ALL 0xffffffff
#define SHM_LEN_LOW 0xb0
#define REGISTERS 0x100
#define SIZE 0x200

static uint64_t mmio;

static void reg(unsigned at, uint32_t v)
{
	write32(mmio + at, v);
}

static uint32_t reg_of(unsigned at)
{
	return read32(mmio + at);
}

static void address(unsigned at, uint64_t v)
{
	reg(at, (uint32_t)v);
	reg(at + 4, (uint32_t)(v >> 32));
}

static bool settle(struct victim *v)
{
	bool ok = virtio_negotiate(&v->dev, 0);

	reg(MMIO_QUEUE_SEL, v->queue);
	return ok;
}

/* ---- sizes and addresses ---- */

/* A size that is none: the queue cannot be had, or has the size that it had before. */
static bool sizes(struct victim *v)
{
	unsigned max = settle(v) ? reg_of(MMIO_QUEUE_NUM_MAX) : 0;
	const uint32_t bad[] = { 0, 3, max - 1, max + 1, max * 2, 0xffff, 0x10008, 0x80000000, 0xffffffff };
	bool ok = max != 0;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		reg(MMIO_QUEUE_NUM, bad[i]);
		ok = ok && reg_of(MMIO_QUEUE_NUM_MAX) == max;
	}
	return ok;
}

static bool refused(struct victim *v, unsigned at, uint64_t bad)
{
	bool ok = settle(v);

	reg(MMIO_QUEUE_NUM, 64);
	address(MMIO_QUEUE_DESC, (uintptr_t)v->rings);
	address(MMIO_QUEUE_DRIVER, (uintptr_t)v->rings + 16384);
	address(MMIO_QUEUE_DEVICE, (uintptr_t)v->rings + 24576);
	address(at, bad);
	reg(MMIO_QUEUE_READY, 1);
	ok = ok && reg_of(MMIO_QUEUE_READY) == 0;
	virtio_ready(&v->dev);
	reg(MMIO_QUEUE_NOTIFY, v->queue);
	return ok;
}

static bool addresses(struct victim *v)
{
	static const unsigned regs[] = { MMIO_QUEUE_DESC, MMIO_QUEUE_DRIVER, MMIO_QUEUE_DEVICE };
	const uint64_t bad[] = { (uintptr_t)v->rings + 1, ram_end() - 4, ram_end(), LAPIC, mmio, ~UINT64_C(15), ~UINT64_C(0), UINT64_C(1) << 63 };
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
	reg(MMIO_QUEUE_NUM, 64);
	address(MMIO_QUEUE_DESC, (uintptr_t)v->rings);
	address(MMIO_QUEUE_DRIVER, (uintptr_t)v->rings);
	address(MMIO_QUEUE_DEVICE, (uintptr_t)v->rings);
	reg(MMIO_QUEUE_READY, 1);
	virtio_ready(&v->dev);
	for (unsigned i = 1; i < 64; i++) {
		*(volatile uint16_t *)(v->rings + 2) = (uint16_t)i;
		reg(MMIO_QUEUE_NOTIFY, v->queue);
	}
	delay_us(2000);
	return ok;
}

/* ---- frozen ---- */

static bool frozen(struct victim *v)
{
	bool ok = victim_begin(v, 0) && victim_request(v);

	reg(MMIO_QUEUE_SEL, v->queue);
	reg(MMIO_QUEUE_NUM, 8);
	address(MMIO_QUEUE_DESC, (uintptr_t)v->data);
	address(MMIO_QUEUE_DRIVER, ~UINT64_C(0));
	address(MMIO_QUEUE_DEVICE, ram_end() - 4);
	reg(MMIO_QUEUE_READY, 0);
	ok = ok && reg_of(MMIO_QUEUE_READY) == 1;
	reg(MMIO_QUEUE_READY, 1);
	reg(MMIO_QUEUE_READY, 0xffffffff);
	return ok && reg_of(MMIO_QUEUE_READY) == 1 && victim_request(v);
}

static bool late_queue(struct victim *v)
{
	bool ok = virtio_negotiate(&v->dev, 0);

	virtio_ready(&v->dev);
	virtq_setup_at(&v->vq, &v->dev, v->queue, 8, v->rings);
	ok = ok && reg_of(MMIO_QUEUE_READY) == 0;
	virtq_publish(&v->vq, 0);
	virtq_ring(&v->vq);
	delay_us(1000);
	return ok && v->vq.used->idx == 0;
}

/* ---- selectors ---- */

static bool selectors(struct victim *v)
{
	const uint32_t bad[] = { virtio_queues(&v->dev), virtio_queues(&v->dev) + 1, 64, 0xffff, 0x10000 + v->queue, 0xffffffff };
	bool ok = victim_begin(v, 0);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		reg(MMIO_QUEUE_SEL, bad[i]);
		ok = ok && reg_of(MMIO_QUEUE_NUM_MAX) == 0;
		reg(MMIO_QUEUE_NUM, 16);
		address(MMIO_QUEUE_DESC, (uintptr_t)v->data);
		address(MMIO_QUEUE_DRIVER, (uintptr_t)v->data + 4096);
		address(MMIO_QUEUE_DEVICE, (uintptr_t)v->data + 8192);
		reg(MMIO_QUEUE_READY, 1);
		ok = ok && reg_of(MMIO_QUEUE_READY) == 0;
		reg(MMIO_QUEUE_NOTIFY, bad[i]);
	}
	for (uint32_t half = 2; half; half = half < 0x80000000 ? half * 16 : 0) {
		reg(MMIO_DEVICE_FEATURES_SEL, half);
		reg(MMIO_DRIVER_FEATURES_SEL, half);
		reg(MMIO_DRIVER_FEATURES, 0xffffffff);
		ok = ok && reg_of(MMIO_DEVICE_FEATURES) == 0;
	}
	return ok && victim_request(v);
}

/* ---- status, features, interrupts ---- */

static bool status_back(struct victim *v)
{
	static const uint32_t steps[] = { VIRTIO_ACKNOWLEDGE, VIRTIO_DRIVER, VIRTIO_FEATURES_OK, VIRTIO_DRIVER_OK, 0x30, VIRTIO_NEEDS_RESET, 0x100, 0xffffff00 };
	bool ok = victim_begin(v, 0);
	uint8_t was = virtio_status(&v->dev);

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		reg(MMIO_STATUS, steps[i]);
		ok = ok && virtio_status(&v->dev) == was;
	}
	ok = ok && victim_request(v);
	reg(MMIO_STATUS, VIRTIO_FAILED);
	return ok && virtio_status(&v->dev) & VIRTIO_FAILED;
}

static bool status_early(struct victim *v)
{
	bool ok;

	virtio_reset(&v->dev);
	reg(MMIO_STATUS, VIRTIO_DRIVER_OK);
	ok = !(virtio_status(&v->dev) & VIRTIO_DRIVER_OK);
	reg(MMIO_STATUS, VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK); /* without VERSION_1 */
	ok = ok && !(virtio_status(&v->dev) & (VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK));
	virtio_choose(&v->dev, ~UINT64_C(0));
	reg(MMIO_STATUS, VIRTIO_FEATURES_OK);
	ok = ok && !(virtio_status(&v->dev) & VIRTIO_FEATURES_OK);
	return ok && virtio_negotiate(&v->dev, 0);
}

static bool interrupts(struct victim *v)
{
	bool ok = victim_begin(v, 0);

	for (uint32_t i = 1; i; i <<= 1)
		reg(MMIO_INTERRUPT_ACK, i);
	virtq_interrupts(&v->vq, true);
	ok = ok && victim_request(v);
	/* The answer is in the ring before the interrupt is raised. */
	for (uint64_t end = rdtsc() + tsc_khz() * 20000; !(reg_of(MMIO_INTERRUPT_STATUS) & 1) && rdtsc() < end;)
		cpu_relax();
	ok = ok && reg_of(MMIO_INTERRUPT_STATUS) & 1;
	reg(MMIO_INTERRUPT_ACK, INTERRUPT_ACK_ALL);
	ok = ok && reg_of(MMIO_INTERRUPT_STATUS) == 0;
	virtq_interrupts(&v->vq, false);
	return ok && victim_request(v);
}

static bool bells(struct victim *v)
{
	bool ok = victim_begin(v, 0);

	for (unsigned i = 0; i < 300; i++)
		reg(MMIO_QUEUE_NOTIFY, i & 1 ? v->queue : random32());
	return ok && victim_request(v);
}

static bool resets(struct victim *v)
{
	bool ok = true;

	for (unsigned i = 0; i < 20; i++) {
		ok = victim_begin(v, 0) && ok;
		reg(MMIO_STATUS, 0);
		reg(MMIO_QUEUE_NOTIFY, v->queue);
		reg(MMIO_STATUS, 0);
		ok = ok && virtio_status(&v->dev) == 0;
	}
	return ok;
}

/* ---- widths ---- */

/* Registers have 32 bits; other accesses are dropped, and change nothing of a queue at work. */
static bool widths(struct victim *v)
{
	bool ok = victim_begin(v, 0);
	uint8_t status = virtio_status(&v->dev);

	for (unsigned at = 0; at < REGISTERS; at++) {
		(void)read8(mmio + at);
		(void)read16(mmio + at);
		(void)read32(mmio + at);
		(void)read64(mmio + at);
		write8(mmio + at, 0xff);
		write16(mmio + at, 0);
		if (at % 4 && at + 4 <= REGISTERS) {
			write32(mmio + at, 0);
			ok = ok && read32(mmio + at) == 0xffffffff;
		}
	}
	return ok && virtio_status(&v->dev) == status && reg_of(SHM_LEN_LOW) == 0xffffffff && victim_request(v);
}

/* Configuration in every width, and across the end into the next transport. */
static bool config(struct victim *v)
{
	bool ok = victim_begin(v, 0);

	for (unsigned at = MMIO_CONFIG; at < SIZE; at++) {
		(void)read64(mmio + at);
		if (at < SIZE - 8)
			write64(mmio + at, 0);
		write8(mmio + at, 0xff);
	}
	(void)read64(mmio + SIZE - 4);
	write64(mmio + SIZE - 4, 0);
	return ok && victim_request(v);
}

static const struct {
	const char *name;
	bool (*run)(struct victim *v);
} attacks[] = {
	{ "queue sizes of 0, above the maximum, not a power of two", sizes },
	{ "rings misaligned and outside memory", addresses },
	{ "the three rings in one place", rings_overlap },
	{ "queue registers after DRIVER_OK", frozen },
	{ "a queue set up after DRIVER_OK", late_queue },
	{ "queues and feature words that there are not", selectors },
	{ "the status backwards", status_back },
	{ "the status too early", status_early },
	{ "interrupts acknowledged that there were not", interrupts },
	{ "doorbells of no queue, and too many", bells },
	{ "resets and activations in a row", resets },
	{ "registers in other widths and misaligned", widths },
	{ "the configuration written all over, and past its end", config },
};

static void all(void *arg)
{
	(void)arg;
	victims_start();
	for (size_t i = 0; i < n_victims; i++) {
		mmio = victims[i].modern.mmio;
		for (size_t n = 0; n < ARRAY_SIZE(attacks) && victim_interface(&victims[i], false); n++)
			victim_after(&victims[i], attacks[n].run(&victims[i]), attacks[n].name);
	}
}

void payload_main(void)
{
	tsc_khz();
	user_call(all, NULL);
}
