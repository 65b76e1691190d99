/* SPDX-License-Identifier: MIT */
/*
 * virtio over PCI (4.1): the function on the bus, its capabilities, interrupts and doorbells. The registers are in virtio_pci_modern.c and
 * virtio_pci_legacy.c.
 *
 * BARs: 0 the legacy registers (I/O), 1 MSI-X, 4 the modern structures (64 bits). A transitional function has all of them (4.1.3).
 *
 * Doorbells are bound while the device is active, at the place of the interface that its driver speaks. When the guest moves that BAR, they
 * are unbound at the old place and bound at the new one. A write that comes in between finds the BAR on the bus, or nothing at all, so
 * every queue is rung once afterwards. A doorbell that cannot be bound (the guest put two BARs onto each other) is served by an exit.
 *
 * Bus mastering (PCI 3.0, 6.2.2): while it is off the device has no queues and sends no MSI. DRIVER_OK waits until it is on. Switched off
 * under an active device, as kernels do before they start another one in their place, it ends the device's work for good: what is in
 * flight is drained before the register's write returns, and the device needs a reset. Legacy drivers of the first years did not know the
 * bit, so the legacy interface sets it with the status.
 *
 * This relies on pci_set_intx, pci_msix_fire and pci_msix_enabled taking no lock under which a function's ops are called: they
 * are called with vdev->lock held, and the ops and `moved` take vdev->lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/pci_regs.h"
#include "hw/virtio_pci_priv.h"
#include "vmm/err.h"
#include "vmm/util.h"

/* Interrupts */

static void isr_raise(struct virtio_pci *s, uint8_t bit, bool intx)
{
	pthread_mutex_lock(&s->irq_lock);
	s->isr |= bit;
	if (intx)
		pci_set_intx(&s->pci, true);
	pthread_mutex_unlock(&s->irq_lock);
}

uint8_t virtio_pci_take_isr(struct virtio_pci *s)
{
	uint8_t isr;

	pthread_mutex_lock(&s->irq_lock);
	isr = s->isr;
	s->isr = 0;
	pci_set_intx(&s->pci, false);
	pthread_mutex_unlock(&s->irq_lock);
	return isr;
}

bool virtio_pci_msix_on(const struct virtio_pci *s)
{
	return pci_msix_enabled(&s->pci);
}

static void vector_fire(struct virtio_pci *s, const _Atomic uint16_t *vector)
{
	uint16_t v = atomic_load_explicit(vector, memory_order_relaxed);

	if (v != VIRTIO_NO_VECTOR)
		pci_msix_fire(&s->pci, v);
}

static void notify_queue(void *transport, unsigned q)
{
	struct virtio_pci *s = transport;

	if (virtio_pci_msix_on(s))
		vector_fire(s, &s->queue_vector[q]);
	else
		isr_raise(s, VIRTIO_PCI_ISR_QUEUE, true);
}

static int queue_irqfd(void *transport, unsigned q)
{
	struct virtio_pci *s = transport;
	uint16_t v = atomic_load_explicit(&s->queue_vector[q], memory_order_relaxed);

	return v == VIRTIO_NO_VECTOR ? -1 : pci_msix_fd(&s->pci, v);
}

static void irq_changed(struct virtio_pci *s)
{
	if (s->vdev->ops->irq_changed)
		s->vdev->ops->irq_changed(s->vdev);
}

static void msix_changed(struct pci_dev *pci)
{
	irq_changed(CONTAINER_OF(pci, struct virtio_pci, pci));
}

/* 4.1.4.5.1: the bit is set with MSI-X, too. */
static void notify_config(void *transport)
{
	struct virtio_pci *s = transport;
	bool msix = virtio_pci_msix_on(s);

	isr_raise(s, VIRTIO_PCI_ISR_CONFIG, !msix);
	if (msix)
		vector_fire(s, &s->config_vector);
}

static void vector_set(struct virtio_pci *s, _Atomic uint16_t *vector, uint16_t v)
{
	if (v != VIRTIO_NO_VECTOR && v >= s->vectors) {
		log_guest(&s->vdev->log, s->vdev->name, "there is no MSI-X vector %u", v);
		v = VIRTIO_NO_VECTOR;
	}
	/* The other side: vector_fire. The driver waits for no interrupt before it has read the register back. */
	atomic_store_explicit(vector, v, memory_order_relaxed);
}

void virtio_pci_set_config_vector(struct virtio_pci *s, uint16_t vector)
{
	vector_set(s, &s->config_vector, vector);
}

void virtio_pci_set_queue_vector(struct virtio_pci *s, uint16_t vector)
{
	if (virtio_queue_at(s->vdev, s->r.queue_select)) {
		vector_set(s, &s->queue_vector[s->r.queue_select], vector);
		irq_changed(s);
	} else {
		log_guest(&s->vdev->log, s->vdev->name, "there is no queue %u", s->r.queue_select);
	}
}

uint16_t virtio_pci_config_vector(struct virtio_pci *s)
{
	return atomic_load_explicit(&s->config_vector, memory_order_relaxed);
}

uint16_t virtio_pci_queue_vector(struct virtio_pci *s)
{
	if (!virtio_queue_at(s->vdev, s->r.queue_select))
		return VIRTIO_NO_VECTOR;
	return atomic_load_explicit(&s->queue_vector[s->r.queue_select], memory_order_relaxed);
}

/* Doorbells: under vdev->lock */

static struct doorbell bell_at(const struct virtio_pci *s, enum virtio_pci_window w, unsigned q)
{
	struct doorbell bell = { .fd = s->vdev->queues[q].bell.fd };

	if (w == WINDOW_LEGACY) {
		bell.pio = true;
		bell.address = s->window[w].base + offsetof(struct virtio_pci_legacy, queue_notify);
		bell.len = sizeof(le16);
		bell.match = true;
		bell.data = q;
	} else {
		bell.address = s->window[w].base + VIRTIO_PCI_NOTIFY_AT + (uint64_t)VIRTIO_PCI_NOTIFY_MULTIPLIER * q;
	}
	return bell;
}

static void bells_unbind(struct virtio_pci *s)
{
	for (unsigned q = 0; q < s->vdev->n_queues; q++) {
		struct doorbell bell = bell_at(s, s->bound_in, q);

		if (s->bound[q])
			s->doorbells.ops->unbind(s->doorbells.ctl, &bell);
		s->bound[q] = false;
	}
}

static void bells_bind(struct virtio_pci *s)
{
	s->bound_in = s->vdev->legacy ? WINDOW_LEGACY : WINDOW_MODERN;
	if (!s->window[s->bound_in].mapped || !s->doorbells.ops)
		return;
	for (unsigned q = 0; q < s->vdev->n_queues; q++) {
		struct doorbell bell = bell_at(s, s->bound_in, q);

		if (s->vdev->queues[q].enabled)
			s->bound[q] = s->doorbells.ops->bind(s->doorbells.ctl, &bell) == 0;
	}
}

static void doorbells(void *transport, bool on)
{
	struct virtio_pci *s = transport;

	s->bells_on = on;
	if (on)
		bells_bind(s);
	else
		bells_unbind(s);
}

static void window_moved(struct pci_dev *pci, unsigned bar, bool mapped, uint64_t base)
{
	struct virtio_pci *s = CONTAINER_OF(pci, struct virtio_pci, pci);
	enum virtio_pci_window w = bar == VIRTIO_PCI_LEGACY_BAR ? WINDOW_LEGACY : WINDOW_MODERN;

	pthread_mutex_lock(&s->vdev->lock);
	if (s->bound_in == w)
		bells_unbind(s);
	s->window[w].mapped = mapped;
	s->window[w].base = base;
	if (s->bells_on && mapped && w == (s->vdev->legacy ? WINDOW_LEGACY : WINDOW_MODERN)) {
		bells_bind(s);
		virtio_kick_all(s->vdev);
	}
	pthread_mutex_unlock(&s->vdev->lock);
}

/* Under vdev->lock. */
static void transport_reset(void *transport)
{
	struct virtio_pci *s = transport;

	memset(&s->r, 0, sizeof(s->r));
	vector_set(s, &s->config_vector, VIRTIO_NO_VECTOR);
	for (unsigned q = 0; q < s->vdev->n_queues; q++)
		vector_set(s, &s->queue_vector[q], VIRTIO_NO_VECTOR);
	virtio_pci_take_isr(s);
}

static const struct virtio_transport_ops transport_ops = {
	.notify_queue = notify_queue,
	.notify_config = notify_config,
	.queue_irqfd = queue_irqfd,
	.doorbells = doorbells,
	.reset = transport_reset,
};

/* Registers */

void virtio_pci_write_fields(struct virtio_pci *s, const struct virtio_pci_field *fields, size_t n, uint8_t *image, size_t image_len,
			     unsigned offset, const uint8_t *buf, unsigned len)
{
	if (offset >= image_len)
		return;
	memcpy(image + offset, buf, min_u64(len, image_len - offset));
	for (size_t i = 0; i < n; i++) {
		const struct virtio_pci_field *f = &fields[i];

		if (f->offset < offset + len && offset < (unsigned)f->offset + f->len)
			f->write(s, f->offset, (uint32_t)load_le(image + f->offset, f->len));
	}
}

/*
 * 4.1.4.9: the window of configuration space through which firmware reaches the modern BAR when it cannot map it. An access to its data
 * bytes is an access of `length` bytes at `offset`. What the rules of the section forbid reads as ones and writes nothing.
 */
static bool cfg_window(struct virtio_pci *s, unsigned offset, unsigned len, uint32_t *bar_offset, uint32_t *bar_len)
{
	const uint8_t *cap = s->pci.config + s->cfg_cap;
	unsigned data = s->cfg_cap + VIRTIO_PCI_CAP_DATA;

	*bar_offset = load_le32(cap + VIRTIO_PCI_CAP_OFFSET);
	*bar_len = load_le32(cap + VIRTIO_PCI_CAP_LENGTH);
	if (!s->cfg_cap || offset >= data + sizeof(le32) || data >= offset + len)
		return false;
	return cap[VIRTIO_PCI_CAP_BAR] == VIRTIO_PCI_MODERN_BAR && (*bar_len == 1 || *bar_len == 2 || *bar_len == 4) &&
	       *bar_offset % *bar_len == 0 && range_ok(*bar_offset, *bar_len, VIRTIO_PCI_MODERN_SIZE);
}

static void cfg_written(struct pci_dev *pci, unsigned offset, unsigned len)
{
	struct virtio_pci *s = CONTAINER_OF(pci, struct virtio_pci, pci);
	uint32_t bar_offset, bar_len;

	if (cfg_window(s, offset, len, &bar_offset, &bar_len))
		virtio_pci_modern_ops.write(s, bar_offset, pci->config + s->cfg_cap + VIRTIO_PCI_CAP_DATA, bar_len);
}

static void cfg_read(struct pci_dev *pci, unsigned offset, unsigned len)
{
	struct virtio_pci *s = CONTAINER_OF(pci, struct virtio_pci, pci);
	uint8_t *data = pci->config + s->cfg_cap + VIRTIO_PCI_CAP_DATA;
	uint32_t bar_offset, bar_len;

	if (!cfg_window(s, offset, len, &bar_offset, &bar_len))
		return;
	memset(data, 0xff, sizeof(le32));
	virtio_pci_modern_ops.read(s, bar_offset, data, bar_len);
}

static void command_changed(struct pci_dev *pci, uint16_t command)
{
	virtio_set_mastering(CONTAINER_OF(pci, struct virtio_pci, pci)->vdev, command & PCI_COMMAND_MASTER);
}

void virtio_pci_become_master(struct virtio_pci *s)
{
	if (load_le16(s->pci.config + PCI_COMMAND) & PCI_COMMAND_MASTER)
		return;
	pci_dev_set_master(&s->pci);
	virtio_set_mastering(s->vdev, true);
}

static const struct pci_dev_ops pci_ops = {
	.command_changed = command_changed,
	.msix_changed = msix_changed,
	.config_written = cfg_written,
	.config_read = cfg_read,
};

/* Creation and end */

static void virtio_pci_reset(struct device *dev)
{
	struct virtio_pci *s = CONTAINER_OF(dev, struct virtio_pci, dev);

	virtio_set_status(s->vdev, 0);
	pci_dev_reset(&s->pci);
	virtio_set_mastering(s->vdev, false);
	if (s->cfg_cap) {
		s->pci.config[s->cfg_cap + VIRTIO_PCI_CAP_BAR] = 0;
		memset(s->pci.config + s->cfg_cap + VIRTIO_PCI_CAP_OFFSET, 0, VIRTIO_PCI_CAP_LEN_EXTRA - VIRTIO_PCI_CAP_OFFSET);
	}
}

static void virtio_pci_quiesce(struct device *dev)
{
	struct virtio_dev *vdev = CONTAINER_OF(dev, struct virtio_pci, dev)->vdev;

	if (vdev->ops->quiesce)
		vdev->ops->quiesce(vdev);
}

static void virtio_pci_resume(struct device *dev)
{
	struct virtio_dev *vdev = CONTAINER_OF(dev, struct virtio_pci, dev)->vdev;

	if (vdev->ops->resume)
		vdev->ops->resume(vdev);
}

/* All but the virtio_dev. */
static void virtio_pci_free(struct virtio_pci *s)
{
	pci_dev_remove(&s->pci);
	pthread_mutex_destroy(&s->irq_lock);
	free(s);
}

static void virtio_pci_destroy(struct device *dev)
{
	struct virtio_pci *s = CONTAINER_OF(dev, struct virtio_pci, dev);
	struct virtio_dev *vdev = s->vdev;

	virtio_set_status(vdev, 0);
	virtio_pci_free(s); /* still with vdev's lock, for `moved` */
	vdev->ops->destroy(vdev);
}

static const struct device_ops device_ops = {
	.reset = virtio_pci_reset,
	.quiesce = virtio_pci_quiesce,
	.resume = virtio_pci_resume,
	.destroy = virtio_pci_destroy,
};

/* 4.1.2.3: device ids from before the scheme of modern ones. */
static uint16_t transitional_id(enum virtio_id id)
{
	switch (id) {
	case VIRTIO_ID_NET: return 0x1000;
	case VIRTIO_ID_BLOCK: return 0x1001;
	case VIRTIO_ID_BALLOON: return 0x1002;
	case VIRTIO_ID_CONSOLE: return 0x1003;
	case VIRTIO_ID_SCSI: return 0x1004;
	case VIRTIO_ID_RNG: return 0x1005;
	}
	return 0;
}

static unsigned add_cap(struct virtio_pci *s, enum virtio_pci_cfg_type type, uint32_t offset, uint32_t length, unsigned cap_len,
			uint32_t extra)
{
	struct virtio_pci_cap cap = {
		.cap_len = (uint8_t)cap_len,
		.cfg_type = (uint8_t)type,
		.bar = type == VIRTIO_PCI_CAP_PCI_CFG ? 0 : VIRTIO_PCI_MODERN_BAR,
		.offset = le32_of(offset),
		.length = le32_of(length),
		.extra = le32_of(extra),
	};

	return pci_dev_add_capability(&s->pci, PCI_CAP_ID_VENDOR, &cap, cap_len);
}

static void add_modern(struct virtio_pci *s)
{
	const struct virtio_dev *vdev = s->vdev;
	uint8_t *mask;

	pci_dev_set_bar(&s->pci, VIRTIO_PCI_MODERN_BAR, PCI_BAR_MEM64, VIRTIO_PCI_MODERN_SIZE, &virtio_pci_modern_ops, s);
	s->pci.bars[VIRTIO_PCI_MODERN_BAR].prefetchable = true;
	s->pci.bars[VIRTIO_PCI_MODERN_BAR].moved = window_moved;
	add_cap(s, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_COMMON_AT, sizeof(struct virtio_pci_common), VIRTIO_PCI_CAP_LEN, 0);
	add_cap(s, VIRTIO_PCI_CAP_ISR_CFG, VIRTIO_PCI_ISR_AT, 1, VIRTIO_PCI_CAP_LEN, 0);
	if (vdev->config_size)
		add_cap(s, VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_PCI_DEVICE_AT, vdev->config_size, VIRTIO_PCI_CAP_LEN, 0);
	add_cap(s, VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_PCI_NOTIFY_AT, VIRTIO_PCI_NOTIFY_MULTIPLIER * vdev->n_queues,
		VIRTIO_PCI_CAP_LEN_EXTRA, VIRTIO_PCI_NOTIFY_MULTIPLIER);
	s->cfg_cap = add_cap(s, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, VIRTIO_PCI_CAP_LEN_EXTRA, 0);
	mask = s->pci.wmask + s->cfg_cap;
	mask[VIRTIO_PCI_CAP_BAR] = 0xff;
	memset(mask + VIRTIO_PCI_CAP_OFFSET, 0xff, VIRTIO_PCI_CAP_LEN_EXTRA - VIRTIO_PCI_CAP_OFFSET);
}

static void add_legacy(struct virtio_pci *s)
{
	uint64_t size = 32;

	while (size < VIRTIO_PCI_LEGACY_CONFIG_MSIX + s->vdev->config_size)
		size *= 2;
	pci_dev_set_bar(&s->pci, VIRTIO_PCI_LEGACY_BAR, PCI_BAR_IO, size, &virtio_pci_legacy_ops, s);
	s->pci.bars[VIRTIO_PCI_LEGACY_BAR].moved = window_moved;
}

static void add_identity(struct virtio_pci *s, const struct virtio_pci_config *cfg)
{
	uint16_t type = (uint16_t)s->vdev->id;
	struct pci_ids ids = {
		.vendor = VIRTIO_PCI_VENDOR,
		.device = cfg->modern_only ? VIRTIO_PCI_DEVICE_MODERN + type : transitional_id(s->vdev->id),
		.subsystem_vendor = VIRTIO_PCI_VENDOR,
		.subsystem = cfg->modern_only ? VIRTIO_PCI_SUBSYSTEM_MODERN : type,
		.class_code = cfg->class_code,
		.revision = cfg->modern_only ? 1 : 0,
	};

	pci_dev_init(&s->pci, s->vdev->name, &pci_ops, &ids, true);
}

static int check_config(const struct virtio_dev *vdev, const struct virtio_pci_config *cfg, struct err *err)
{
	if (cfg->modern_only && cfg->legacy_only)
		return err_set(err, -EINVAL, "%s: disable-legacy and disable-modern leave nothing; drop one of them", vdev->name);
	if (cfg->vectors < -1 || cfg->vectors > 2048)
		return err_set(err, -EINVAL, "%s: %d MSI-X vectors; give 0 to 2048", vdev->name, cfg->vectors);
	if (!cfg->modern_only && !transitional_id(vdev->id))
		return err_set(err, -EINVAL, "%s: has no legacy interface; add disable-legacy=on", vdev->name);
	return 0;
}

struct device *virtio_pci_create(const struct device_env *env, struct pci_bus *bus, struct virtio_dev *vdev,
				 const struct virtio_pci_config *cfg, struct err *err)
{
	struct virtio_pci *s;
	int rc = check_config(vdev, cfg, err);

	if (rc < 0)
		return NULL;
	s = calloc(1, sizeof(*s));
	if (!s) {
		err_set(err, -ENOMEM, "%s: not enough memory on the host", vdev->name);
		return NULL;
	}
	s->dev = (struct device){ .ops = &device_ops, .name = vdev->name };
	s->vdev = vdev;
	s->doorbells = env->doorbells;
	s->vectors = cfg->vectors < 0 ? vdev->n_queues + 1 : (unsigned)cfg->vectors;
	pthread_mutex_init(&s->irq_lock, NULL);
	add_identity(s, cfg);
	if (s->vectors)
		rc = pci_dev_add_msix(&s->pci, VIRTIO_PCI_MSIX_BAR, s->vectors, &env->msi, err);
	if (!cfg->legacy_only)
		add_modern(s);
	if (!cfg->modern_only)
		add_legacy(s);
	vdev->transport_ops = &transport_ops;
	vdev->transport = s;
	vdev->barred = true;
	transport_reset(s);
	if (rc == 0)
		rc = pci_dev_add(bus, &s->pci, cfg->devfn, err);
	if (rc < 0) {
		virtio_pci_free(s);
		return NULL;
	}
	return &s->dev;
}

const struct pci_dev *virtio_pci_function(const struct virtio_dev *dev)
{
	const struct virtio_pci *s = dev->transport;

	return &s->pci;
}
