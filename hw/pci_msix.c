/* SPDX-License-Identifier: MIT */
/*
 * MSI-X (PCI 3.0, 6.8.2): the vector table in the lower half of a BAR of its own, the pending bits in the upper half.
 *
 * A vector costs the host an eventfd and a route, so it is made when the guest first lets it through: enabled, and masked neither by
 * itself nor by the function's mask. From then on its message is brought up to date each time that it is let through, and whenever
 * the guest changes an entry that is. When the host has no more vectors, or the guest's message means nothing, the vector is silent;
 * it is tried again the next time.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "hw/pci_priv.h"
#include "hw/pci_regs.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/log.h"

#define ENTRY_CONTROL 12
#define CONTROL_MASKED BIT(0)
#define PBA_ALIGN 2048

struct msix_vector {
	uint8_t entry[PCI_MSIX_ENTRY_SIZE]; /* as the guest reads it */
	bool pending;
	bool live; /* let through, and its message stands in `msi` */
	struct msi msi;
};

struct pci_msix {
	struct pci_dev *dev;
	struct msi_source source;
	unsigned cap;   /* offset of the capability */
	uint64_t half;  /* bytes: of the table's half of the BAR */
	_Atomic bool enabled; /* written under lock; also read without it by pci_msix_enabled */
	struct log_limit log;

	pthread_mutex_t lock;
	bool masked; /* all of it: by its own bit, or because the function is no bus master */
	unsigned n;
	struct msix_vector vectors[];
};

static bool lets_through(const struct pci_msix *x, const struct msix_vector *v)
{
	return x->enabled && !x->masked && !(v->entry[ENTRY_CONTROL] & CONTROL_MASKED);
}

static int vector_set(struct pci_msix *x, struct msix_vector *v)
{
	int r = 0;

	if (!v->msi.ops)
		r = x->source.ops->alloc(x->source.ctl, &v->msi);
	if (r < 0) {
		v->msi = (struct msi){ .ops = NULL };
		return r;
	}
	return v->msi.ops->set(&v->msi, load_le64(v->entry), load_le32(v->entry + 8));
}

/* Follows a change of its entry or of the masks. */
static void vector_update(struct pci_msix *x, struct msix_vector *v)
{
	int r;

	v->live = false;
	if (!lets_through(x, v))
		return;
	r = vector_set(x, v);
	if (r < 0) {
		log_guest(&x->log, x->dev->name, "MSI-X vector %u stays silent: %s", (unsigned)(v - x->vectors), strerrordesc_np(-r));
		return;
	}
	v->live = true;
	if (v->pending) {
		v->pending = false;
		v->msi.ops->fire(&v->msi);
	}
}

/* Without the lock. */
static void tell_changed(const struct pci_msix *x)
{
	if (x->dev->ops->msix_changed)
		x->dev->ops->msix_changed(x->dev);
}

static void vector_free(struct msix_vector *v)
{
	if (v->msi.ops)
		v->msi.ops->free(&v->msi);
	v->msi = (struct msi){ .ops = NULL };
	v->live = v->pending = false;
}

/* ---- the BAR ---- */

static uint8_t pending_byte(const struct pci_msix *x, uint64_t offset)
{
	uint8_t byte = 0;

	for (unsigned bit = 0; bit < 8; bit++) {
		uint64_t n = offset * 8 + bit;

		if (n < x->n && x->vectors[n].pending)
			byte |= (uint8_t)BIT(bit);
	}
	return byte;
}

/* What is beyond the table and the pending bits reads as zeroes. */
static void msix_read(void *opaque, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct pci_msix *x = opaque;

	pthread_mutex_lock(&x->lock);
	for (unsigned i = 0; i < len; i++) {
		uint64_t at = offset + i;

		if (at >= x->half)
			buf[i] = pending_byte(x, at - x->half);
		else if (at / PCI_MSIX_ENTRY_SIZE < x->n)
			buf[i] = x->vectors[at / PCI_MSIX_ENTRY_SIZE].entry[at % PCI_MSIX_ENTRY_SIZE];
		else
			buf[i] = 0;
	}
	pthread_mutex_unlock(&x->lock);
}

static void entry_store(struct msix_vector *v, unsigned at, uint32_t value)
{
	if (at == 0)
		value &= ~3u; /* a message is an aligned doubleword */
	else if (at == ENTRY_CONTROL)
		value &= CONTROL_MASKED;
	store_le32(v->entry + at, value);
}

static void msix_write(void *opaque, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct pci_msix *x = opaque;
	uint64_t n = offset / PCI_MSIX_ENTRY_SIZE;
	struct msix_vector *v;
	uint8_t old[PCI_MSIX_ENTRY_SIZE];
	bool changed;

	if (offset >= x->half || n >= x->n)
		return; /* the pending bits are read-only */
	if ((len != 4 && len != 8) || offset % len) {
		log_guest(&x->log, x->dev->name, "a write of %u bytes to the MSI-X table; only aligned 4 and 8 exist", len);
		return;
	}
	pthread_mutex_lock(&x->lock);
	v = &x->vectors[n];
	memcpy(old, v->entry, sizeof(old));
	for (unsigned i = 0; i < len; i += 4)
		entry_store(v, (unsigned)(offset % PCI_MSIX_ENTRY_SIZE) + i, load_le32(buf + i));
	/* A message that failed is tried again, even the same. */
	changed = memcmp(old, v->entry, sizeof(old)) || !v->live;
	if (changed)
		vector_update(x, v);
	pthread_mutex_unlock(&x->lock);
	if (changed)
		tell_changed(x);
}

static const struct bus_ops msix_ops = {
	.read = msix_read,
	.write = msix_write,
	.width = 8,
};

/* ---- the capability ---- */

int pci_dev_add_msix(struct pci_dev *dev, unsigned bar, unsigned vectors, const struct msi_source *source, struct err *err)
{
	uint8_t body[PCI_MSIX_CAP_LEN - 2] = { 0 };
	struct pci_msix *x;

	if (vectors == 0 || vectors > PCI_MSIX_MAX_VECTORS)
		return err_set(err, -EINVAL, "%s: vectors %u: MSI-X has 1 to %d", dev->name, vectors, PCI_MSIX_MAX_VECTORS);
	x = calloc(1, sizeof(*x) + vectors * sizeof(x->vectors[0]));
	if (!x)
		return err_set(err, -ENOMEM, "%s: not enough memory on the host for %u vectors", dev->name, vectors);
	x->dev = dev;
	x->source = *source;
	x->n = vectors;
	x->log = (struct log_limit)LOG_LIMIT_INIT;
	for (x->half = PBA_ALIGN; x->half < vectors * PCI_MSIX_ENTRY_SIZE;)
		x->half *= 2;
	for (unsigned i = 0; i < vectors; i++)
		x->vectors[i].entry[ENTRY_CONTROL] = CONTROL_MASKED;
	pthread_mutex_init(&x->lock, NULL);
	store_le16(body + PCI_MSIX_CONTROL - 2, (uint16_t)(vectors - 1));
	store_le32(body + PCI_MSIX_TABLE - 2, bar);
	store_le32(body + PCI_MSIX_PBA - 2, (uint32_t)x->half | bar);
	x->cap = pci_dev_add_capability(dev, PCI_CAP_ID_MSIX, body, PCI_MSIX_CAP_LEN);
	store_le16(dev->wmask + x->cap + PCI_MSIX_CONTROL, PCI_MSIX_CONTROL_ENABLE | PCI_MSIX_CONTROL_MASK_ALL);
	pci_dev_set_bar(dev, bar, PCI_BAR_MEM32, 2 * x->half, &msix_ops, x);
	dev->msix = x;
	return 0;
}

unsigned pci_msix_capability(const struct pci_dev *dev)
{
	return dev->msix->cap;
}

/* Under dev->lock, which keeps the control word still. */
void pci_msix_control_written(struct pci_dev *dev)
{
	struct pci_msix *x = dev->msix;
	uint16_t control = load_le16(dev->config + x->cap + PCI_MSIX_CONTROL);
	bool master = load_le16(dev->config + PCI_COMMAND) & PCI_COMMAND_MASTER;
	/* A message is a write to memory, which only a bus master may do (6.2.2): until it may, messages are pending. */
	bool enabled = control & PCI_MSIX_CONTROL_ENABLE, masked = control & PCI_MSIX_CONTROL_MASK_ALL || !master, changed;

	pthread_mutex_lock(&x->lock);
	changed = x->enabled != enabled || x->masked != masked;
	if (changed) {
		x->enabled = enabled;
		x->masked = masked;
		for (unsigned i = 0; i < x->n; i++)
			vector_update(x, &x->vectors[i]);
	}
	pthread_mutex_unlock(&x->lock);
	pci_intx_update(dev);
	if (changed)
		tell_changed(x);
}

void pci_msix_reset(struct pci_dev *dev)
{
	struct pci_msix *x = dev->msix;

	pthread_mutex_lock(&x->lock);
	x->enabled = x->masked = false;
	for (unsigned i = 0; i < x->n; i++) {
		struct msix_vector *v = &x->vectors[i];

		vector_free(v);
		memset(v->entry, 0, sizeof(v->entry));
		v->entry[ENTRY_CONTROL] = CONTROL_MASKED;
	}
	pthread_mutex_unlock(&x->lock);
}

void pci_msix_destroy(struct pci_dev *dev)
{
	struct pci_msix *x = dev->msix;

	if (!x)
		return;
	dev->msix = NULL;
	for (unsigned i = 0; i < x->n; i++)
		vector_free(&x->vectors[i]);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

bool pci_msix_enabled(const struct pci_dev *dev)
{
	return dev->msix && atomic_load(&dev->msix->enabled);
}

void pci_msix_fire(struct pci_dev *dev, unsigned vector)
{
	struct pci_msix *x = dev->msix;
	struct msix_vector *v;

	if (!x || vector >= x->n)
		return;
	pthread_mutex_lock(&x->lock);
	v = &x->vectors[vector];
	if (x->enabled) {
		if (!lets_through(x, v))
			v->pending = true;
		else if (v->live)
			v->msi.ops->fire(&v->msi);
	}
	pthread_mutex_unlock(&x->lock);
}

int pci_msix_fd(struct pci_dev *dev, unsigned vector)
{
	struct pci_msix *x = dev->msix;
	int fd = -1;

	if (!x || vector >= x->n)
		return -1;
	pthread_mutex_lock(&x->lock);
	if (lets_through(x, &x->vectors[vector]) && x->vectors[vector].live)
		fd = x->vectors[vector].msi.fd;
	pthread_mutex_unlock(&x->lock);
	return fd;
}
