/* SPDX-License-Identifier: MIT */
/*
 * The registers of a virtio device, by PCI (modern, legacy, MSI-X, configuration window) or by MMIO, as the first byte says: each 12 bytes of the
 * input are an access of any width to one of them, plausible values in the right registers, bytes of memory where rings may be, or a turn of the
 * device's loop. Status bits keep their order, frozen registers stay, and all vectors are given back.
 */
#include <stdio.h>

#define FAKE_WITHOUT_CHECK
#include "tests/unit/fake_pci.h"

#include "hw/virtio.h"
#include "hw/virtio_mmio_regs.h"
#include "vmm/eventloop.h"

#define STEP 12
#define MAX_STEPS 400
#define MMIO UINT64_C(0xfeb00000)
#define RINGS 0x4000 /* of guest memory, from 0 on: what plausible addresses point to */
#define VECTORS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct target {
	struct fake_pci pci;
	struct virtio_dev *vdev;
	struct device *dev;
	const struct pci_dev *fn; /* NULL: MMIO */
	bool line;
};

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_virtio_regs: broken promise: %s\n", what);
	abort();
}

static void set_line(void *ctl, unsigned pin, bool level)
{
	struct target *t = ctl;

	(void)pin;
	require(t->line != level, "a line that changes");
	t->line = level;
}

static const struct irq_ops line_ops = { .set = set_line };

static void stop(void *opaque)
{
	eventloop_stop(opaque);
}

static void turn(struct eventloop *loop)
{
	struct event_work end = { .run = stop, .opaque = loop };

	eventloop_post(loop, &end);
	eventloop_run(loop);
}

/* Any register, by the BARs or the window of MMIO. */
static void access_any(struct target *t, const uint8_t *d)
{
	unsigned len = 1u << d[3] % 4;
	uint64_t base = MMIO, size = VIRTIO_MMIO_SIZE, at = load_le16(d + 1);
	struct bus *bus = t->pci.env.mmio;

	if (t->fn) {
		const struct pci_bar *bar = &t->fn->bars[d[0] >> 4 & 1 ? 4 : d[0] >> 5 & 1];

		if (!bar->used)
			return;
		base = bar->region.base;
		size = bar->region.size;
		bus = bar->kind == PCI_BAR_IO ? t->pci.env.pio : bus;
	}
	if (d[3] & 0x80)
		fake_bus_read(bus, base + at % size, len);
	else
		fake_bus_write(bus, base + at % size, load_le64(d + 4), len);
}

/* What a driver writes, at its place, with a value that may be one. */
static void access_plausible(struct target *t, const uint8_t *d)
{
	static const struct {
		uint8_t modern, mmio, len;
	} regs[] = {
		{ 8, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 4 }, { 12, VIRTIO_MMIO_DRIVER_FEATURES, 4 }, { 20, VIRTIO_MMIO_STATUS, 1 },
		{ 22, VIRTIO_MMIO_QUEUE_SEL, 2 }, { 24, VIRTIO_MMIO_QUEUE_NUM, 2 }, { 26, VIRTIO_MMIO_INTERRUPT_ACK, 2 },
		{ 28, VIRTIO_MMIO_QUEUE_READY, 2 }, { 32, VIRTIO_MMIO_QUEUE_DESC_LOW, 4 }, { 40, VIRTIO_MMIO_QUEUE_DRIVER_LOW, 4 },
		{ 48, VIRTIO_MMIO_QUEUE_DEVICE_LOW, 4 },
	};
	size_t i = d[1] % ARRAY_SIZE(regs);
	uint32_t v = i == 2 ? (1u << d[2] % 5) - 1 : i >= 7 ? load_le16(d + 4) % RINGS & ~15u : i == 1 ? load_le32(d + 4) : d[4] % 9;

	if (t->fn)
		fake_bus_write(t->pci.env.mmio, t->fn->bars[4].region.base + regs[i].modern, v, regs[i].len);
	else
		fake_bus_write(t->pci.env.mmio, MMIO + regs[i].mmio, v, 4);
}

static void step(struct target *t, const uint8_t *d)
{
	switch (d[0] % 8) {
	case 0:
	case 1:
		access_any(t, d);
		break;
	case 2:
	case 3:
		access_plausible(t, d);
		break;
	case 4:
		memcpy((uint8_t *)gm_map(t->pci.mem, 0, RINGS + 16) + load_le16(d + 1) % RINGS, d + 4, 8);
		break;
	case 5:
		if (t->fn)
			fake_ecam_write(&t->pci, (unsigned)t->fn->devfn, d[1], load_le32(d + 4), 1u << d[2] % 3);
		break;
	case 6:
		turn(t->pci.env.loop);
		break;
	default:
		if (d[1] < 16)
			t->dev->ops->reset(t->dev);
	}
	require(t->vdev->legacy || !(t->vdev->status & VIRTIO_STATUS_DRIVER_OK) || t->vdev->status & VIRTIO_STATUS_FEATURES_OK,
		"DRIVER_OK after FEATURES_OK");
	require(!t->vdev->active || t->vdev->started, "a device that works for a driver");
}

static void make(struct target *t, uint8_t kind)
{
	static const struct virtio_rng_config rng = { .name = "rng", .max_bytes = UINT64_MAX, .period_ms = 1 };
	struct virtio_pci_config cfg = { .devfn = PCI_ADDR_AUTO, .modern_only = kind & 2, .vectors = kind & 4 ? VECTORS : 0, .class_code = 0xff0000 };
	struct err err = ERR_INIT;

	fake_pci_init(&t->pci);
	log_set_level(LOG_LEVEL_NONE);
	t->pci.env.loop = eventloop_create(&err);
	t->vdev = virtio_rng_create(&t->pci.env, &rng, &err);
	if (kind & 1) {
		t->dev = virtio_pci_create(&t->pci.env, t->pci.bus, t->vdev, &cfg, &err);
		require(t->dev != NULL && pci_bus_assign(t->pci.bus, &err) == 0, "a device");
		t->fn = virtio_pci_function(t->vdev);
		fake_command(&t->pci, (unsigned)t->fn->devfn, 7);
	} else {
		t->dev = virtio_mmio_create(&t->pci.env, t->vdev, MMIO, (struct irq_line){ .ops = &line_ops, .ctl = t }, &err);
		require(t->dev != NULL, "a device");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct target t;

	if (!size)
		return 0;
	memset(&t, 0, sizeof(t));
	make(&t, data[0]);
	data++;
	size--;
	for (size_t n = 0; n < MAX_STEPS && size >= STEP; n++, data += STEP, size -= STEP)
		step(&t, data);
	t.dev->ops->reset(t.dev);
	require(!t.line && !t.vdev->active && !t.vdev->status, "a reset");
	t.dev->ops->destroy(t.dev);
	eventloop_destroy(t.pci.env.loop);
	fake_pci_fini(&t.pci);
	return 0;
}
