/* SPDX-License-Identifier: MIT */
/*
 * A fake of hw/pci.h for a function under test. A test includes this header first and then the function's .c file; calls are renamed to
 * the fakes, so that nothing clashes with the real bus in libkite.a.
 */
#ifndef TESTS_UNIT_FAKE_VIRTIO_PCI_H
#define TESTS_UNIT_FAKE_VIRTIO_PCI_H

#include <check.h>
#include <string.h>

#include "hw/pci.h"
#include "hw/pci_regs.h"
#include "vmm/err.h"
#include "vmm/util.h"

static bool msix_on, intx_level;
static unsigned msix_vectors, fired[64], removed;
static struct pci_ids seen;
static int add_error;

static void fake_pci_dev_init(struct pci_dev *pci, const char *name, const struct pci_dev_ops *ops, const struct pci_ids *i, bool pin)
{
	ck_assert(pin);
	pci->name = name;
	pci->ops = ops;
	pci->next_cap = 0x40;
	seen = *i;
}

static void fake_pci_dev_set_bar(struct pci_dev *pci, unsigned bar, enum pci_bar_kind kind, uint64_t size, const struct bus_ops *ops,
				 void *opaque)
{
	ck_assert(size && !(size & (size - 1)) && !pci->bars[bar].used);
	pci->bars[bar] = (struct pci_bar){ .kind = kind, .used = true, .region = { .size = size, .ops = ops, .dev = opaque } };
}

static unsigned fake_pci_dev_add_capability(struct pci_dev *pci, uint8_t id, const void *body, unsigned len)
{
	unsigned at = pci->next_cap;

	pci->config[at] = id;
	memcpy(pci->config + at + 2, body, len - 2);
	pci->next_cap = (uint8_t)((at + len + 3) & ~3u);
	pci->config[at + 1] = pci->next_cap;
	return at;
}

static int fake_pci_dev_add_msix(struct pci_dev *pci, unsigned bar, unsigned vectors, const struct msi_source *source, struct err *err)
{
	(void)source;
	(void)err;
	ck_assert(!pci->bars[bar].used && bar == 1);
	msix_vectors = vectors;
	return 0;
}

static int fake_pci_dev_add(struct pci_bus *bus, struct pci_dev *pci, int devfn, struct err *err)
{
	(void)bus;
	(void)pci;
	return add_error ? err_set(err, add_error, "slot %d is taken", devfn) : 0;
}

static void fake_bar_move(struct pci_dev *pci, unsigned bar, bool mapped, uint64_t base)
{
	struct pci_bar *b = &pci->bars[bar];

	if (b->mapped) {
		b->mapped = false;
		b->moved(pci, bar, false, b->region.base);
	}
	b->region.base = base;
	b->mapped = mapped;
	if (mapped)
		b->moved(pci, bar, true, base);
}

static void fake_pci_dev_remove(struct pci_dev *pci)
{
	for (unsigned i = 0; i < PCI_BARS; i++)
		if (pci->bars[i].mapped)
			fake_bar_move(pci, i, false, 0);
	removed++;
}

static void fake_pci_dev_reset(struct pci_dev *pci)
{
	for (unsigned i = 0; i < PCI_BARS; i++)
		if (pci->bars[i].mapped)
			fake_bar_move(pci, i, false, 0);
	msix_on = false;
}

/* The guest writes the command register. */
static inline void fake_master(struct pci_dev *pci, bool on)
{
	pci->config[PCI_COMMAND] = on ? PCI_COMMAND_MASTER : 0;
	pci->ops->command_changed(pci, pci->config[PCI_COMMAND]);
}

static void fake_pci_dev_set_master(struct pci_dev *pci)
{
	pci->config[PCI_COMMAND] |= PCI_COMMAND_MASTER;
}

static void fake_pci_set_intx(struct pci_dev *pci, bool level)
{
	(void)pci;
	intx_level = level;
}

static bool fake_pci_msix_enabled(const struct pci_dev *pci)
{
	(void)pci;
	return msix_on;
}

static void fake_pci_msix_fire(struct pci_dev *pci, unsigned vector)
{
	(void)pci;
	ck_assert_uint_lt(vector, msix_vectors);
	fired[vector]++;
}

#define pci_dev_init fake_pci_dev_init
#define pci_dev_set_bar fake_pci_dev_set_bar
#define pci_dev_add_capability fake_pci_dev_add_capability
#define pci_dev_add_msix fake_pci_dev_add_msix
#define pci_dev_add fake_pci_dev_add
#define pci_dev_remove fake_pci_dev_remove
#define pci_dev_reset fake_pci_dev_reset
#define pci_dev_set_master fake_pci_dev_set_master
#define pci_set_intx fake_pci_set_intx
#define pci_msix_enabled fake_pci_msix_enabled
#define pci_msix_fire fake_pci_msix_fire

#endif
