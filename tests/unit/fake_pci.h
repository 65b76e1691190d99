/* SPDX-License-Identifier: MIT */
/*
 * A PCI bus between a test and its functions: the real bus on real address buses, fake interrupt lines and vectors, a function with a
 * BAR of every kind. Use with CK_FORK or one test at a time.
 */
#ifndef TESTS_UNIT_FAKE_PCI_H
#define TESTS_UNIT_FAKE_PCI_H

#ifndef FAKE_WITHOUT_CHECK
#include <check.h>
#else /* a fuzzer: Check's macros need its runner */
#define ck_assert(x) ((x) ? (void)0 : abort())
#define ck_assert_msg(x, ...) ck_assert(x)
#define ck_assert_ptr_nonnull(p) ck_assert(p)
#define ck_assert_int_eq(a, b) ck_assert((a) == (b))
#define ck_assert_int_ne(a, b) ck_assert((a) != (b))
#define ck_assert_uint_eq(a, b) ck_assert((a) == (b))
#endif
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/pci.h"
#include "hw/pci_priv.h"
#include "hw/pci_regs.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define FAKE_ECAM UINT64_C(0xe0000000)
#define FAKE_IO UINT64_C(0xc000)
#define FAKE_MEM32 UINT64_C(0xc0000000)
#define FAKE_MEM64 UINT64_C(0x400000000)
#define FAKE_RAM (16 * MIB)

/* Vectors */
#define FAKE_MSIS 4096
#define FAKE_MSI_FD 100000 /* and its number; nobody opens so many */
struct fake_msis {
	unsigned allocated, allocs, sets, fires, room;
	int set_error;
	uint64_t address; /* of the last that fired */
	uint32_t data;
	struct { uint64_t address; uint32_t data; bool used; } of[FAKE_MSIS];
};

static inline int fake_msi_alloc(void *ctl, struct msi *msi);

static inline int fake_msi_set(struct msi *msi, uint64_t address, uint32_t data)
{
	struct fake_msis *m = msi->ctl;

	m->sets++;
	if (m->set_error)
		return m->set_error;
	m->of[msi->gsi].address = address;
	m->of[msi->gsi].data = data;
	return 0;
}

static inline void fake_msi_fire(struct msi *msi)
{
	struct fake_msis *m = msi->ctl;

	m->fires++;
	m->address = m->of[msi->gsi].address;
	m->data = m->of[msi->gsi].data;
}

static inline void fake_msi_free(struct msi *msi)
{
	struct fake_msis *m = msi->ctl;

	m->allocated--;
	m->of[msi->gsi].used = false;
}

static const struct msi_ops fake_msi_ops = {
	.alloc = fake_msi_alloc, .set = fake_msi_set, .fire = fake_msi_fire, .free = fake_msi_free,
};

static inline int fake_msi_alloc(void *ctl, struct msi *msi)
{
	struct fake_msis *m = ctl;
	int i = 0;

	if (m->allocated >= m->room)
		return -ENOSPC;
	while (m->of[i].used)
		i++;
	m->of[i].used = true;
	m->allocated++;
	m->allocs++;
	*msi = (struct msi){ .ops = &fake_msi_ops, .ctl = m, .gsi = i, .fd = FAKE_MSI_FD + i };
	return 0;
}

/* A function: device first, as real ones. */
struct fake_fn {
	struct device dev;
	struct pci_dev pci;
	uint8_t mem[4096];
	unsigned reads, writes, moves, commands, config_reads, config_writes, msix_changes;
	uint64_t place[PCI_BARS]; /* where `moved` said; 0: nowhere */
	uint16_t command;
};

static inline struct fake_fn *fake_fn_of(struct pci_dev *dev)
{
	return CONTAINER_OF(dev, struct fake_fn, pci);
}

static inline void fake_fn_read(void *opaque, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct fake_fn *fn = opaque;

	fn->reads++;
	memcpy(buf, fn->mem + offset % (sizeof(fn->mem) - 8), len);
}

static inline void fake_fn_write(void *opaque, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct fake_fn *fn = opaque;

	fn->writes++;
	memcpy(fn->mem + offset % (sizeof(fn->mem) - 8), buf, len);
}

static const struct bus_ops fake_fn_bus_ops = { .read = fake_fn_read, .write = fake_fn_write, .width = 8 };

static inline void fake_fn_moved(struct pci_dev *dev, unsigned bar, bool mapped, uint64_t base)
{
	struct fake_fn *fn = fake_fn_of(dev);

	fn->moves++;
	if (mapped)
		ck_assert_uint_eq(fn->place[bar], 0);
	else
		ck_assert_uint_eq(fn->place[bar], base);
	fn->place[bar] = mapped ? base : 0;
}

static inline void fake_fn_config_written(struct pci_dev *dev, unsigned offset, unsigned len)
{
	(void)offset, (void)len;
	fake_fn_of(dev)->config_writes++;
}

static inline void fake_fn_config_read(struct pci_dev *dev, unsigned offset, unsigned len)
{
	(void)offset, (void)len;
	fake_fn_of(dev)->config_reads++;
}

static inline void fake_fn_command(struct pci_dev *dev, uint16_t command)
{
	fake_fn_of(dev)->commands++;
	fake_fn_of(dev)->command = command;
}

static inline void fake_fn_msix_changed(struct pci_dev *dev)
{
	fake_fn_of(dev)->msix_changes++;
}

static const struct pci_dev_ops fake_fn_ops = {
	.msix_changed = fake_fn_msix_changed,
	.config_written = fake_fn_config_written, .config_read = fake_fn_config_read, .command_changed = fake_fn_command,
};

#define FAKE_BAR_IO 0      /* 32 ports */
#define FAKE_BAR_MEM32 1   /* 4 KiB */
#define FAKE_BAR_MSIX 2
#define FAKE_BAR_MEM64 4   /* 16 KiB, prefetchable; and 5 */
#define FAKE_IO_SIZE 32
#define FAKE_MEM32_SIZE 4096
#define FAKE_MEM64_SIZE 16384

struct fake_pci {
	struct device_env env;
	struct pci_bus_config cfg;
	struct pci_bus *bus;
	struct fake_msis msis;
	bool intx[4];
	unsigned resets;
	struct guest_mem *mem;
	struct device *reset_ctl;
};

static inline void fake_pci_irq(void *ctl, unsigned pin, bool level)
{
	struct fake_pci *p = ctl;

	ck_assert_int_ne(p->intx[pin - 16], level);
	p->intx[pin - 16] = level;
}

static const struct irq_ops fake_pci_irq_ops = { .set = fake_pci_irq };

static inline void fake_pci_request(void *machine, enum vm_request what, int status)
{
	struct fake_pci *p = machine;

	(void)status;
	p->resets += what == VM_REQUEST_RESET;
}

static inline void fake_pci_init(struct fake_pci *p)
{
	const struct gm_range ram = { .gpa = 0, .size = FAKE_RAM };
	struct err err = ERR_INIT;

	memset(p, 0, sizeof(*p));
	log_set_level(LOG_LEVEL_ERROR);
	p->msis.room = FAKE_MSIS;
	p->mem = gm_create(&ram, 1, &err);
	p->env.pio = bus_create("I/O port", 0xffff, &err);
	p->env.mmio = bus_create("memory", UINT64_MAX, &err);
	p->env.mem = p->mem;
	p->env.link = (struct machine_link){ .request = fake_pci_request, .machine = p };
	p->env.msi = (struct msi_source){ .ops = &fake_msi_ops, .ctl = &p->msis };
	p->reset_ctl = reset_ctl_create(&p->env, &err);
	p->cfg = (struct pci_bus_config){
		.ecam_base = FAKE_ECAM,
		.io = { FAKE_IO, 0x4000 },
		.mem32 = { FAKE_MEM32, 0x20000000 },
		.mem64 = { FAKE_MEM64, GIB },
		.reset_ctl = p->reset_ctl,
	};
	for (unsigned i = 0; i < 4; i++)
		p->cfg.intx[i] = (struct irq_line){ .ops = &fake_pci_irq_ops, .ctl = p, .pin = 16 + i };
	p->bus = pci_bus_create(&p->env, &p->cfg, &err);
	ck_assert_msg(p->mem && p->env.pio && p->env.mmio && p->reset_ctl && p->bus, "%s", err.msg);
}

static inline void fake_pci_fini(struct fake_pci *p)
{
	uint8_t byte;

	pci_bus_device(p->bus)->ops->destroy(pci_bus_device(p->bus));
	p->reset_ctl->ops->destroy(p->reset_ctl);
	for (unsigned port = 0; port <= 0xffff; port += 16)
		ck_assert(!bus_read(p->env.pio, port, &byte, 1));
	ck_assert(!bus_read(p->env.mmio, FAKE_ECAM, &byte, 1));
	ck_assert_uint_eq(p->msis.allocated, 0);
	bus_destroy(p->env.pio);
	bus_destroy(p->env.mmio);
	gm_destroy(p->mem);
}

/* With BARs of every kind and `vectors` MSI-X vectors (0: none). */
static inline struct fake_fn *fake_fn_add(struct fake_pci *p, const char *name, int devfn, unsigned vectors)
{
	static const struct pci_ids ids = {
		.vendor = 0x1234, .device = 0x5678, .subsystem_vendor = 0x9abc, .subsystem = 0xdef0, .class_code = 0x018000, .revision = 7,
	};
	struct fake_fn *fn = calloc(1, sizeof(*fn));
	struct err err = ERR_INIT;

	ck_assert_ptr_nonnull(fn);
	pci_dev_init(&fn->pci, name, &fake_fn_ops, &ids, true);
	pci_dev_set_bar(&fn->pci, FAKE_BAR_IO, PCI_BAR_IO, FAKE_IO_SIZE, &fake_fn_bus_ops, fn);
	pci_dev_set_bar(&fn->pci, FAKE_BAR_MEM32, PCI_BAR_MEM32, FAKE_MEM32_SIZE, &fake_fn_bus_ops, fn);
	pci_dev_set_bar(&fn->pci, FAKE_BAR_MEM64, PCI_BAR_MEM64, FAKE_MEM64_SIZE, &fake_fn_bus_ops, fn);
	fn->pci.bars[FAKE_BAR_MEM64].prefetchable = true;
	for (unsigned i = 0; i < PCI_BARS; i++)
		fn->pci.bars[i].moved = fake_fn_moved;
	if (vectors)
		ck_assert_int_eq(pci_dev_add_msix(&fn->pci, FAKE_BAR_MSIX, vectors, &p->env.msi, &err), 0);
	ck_assert_msg(pci_dev_add(p->bus, &fn->pci, devfn, &err) == 0, "%s", err.msg);
	return fn;
}

static inline void fake_fn_remove(struct fake_fn *fn)
{
	pci_dev_remove(&fn->pci);
	for (unsigned i = 0; i < PCI_BARS; i++)
		ck_assert_uint_eq(fn->place[i], 0);
	free(fn);
}

/* Accesses */
static inline uint64_t fake_bus_read(struct bus *bus, uint64_t at, unsigned len)
{
	uint8_t buf[8] = { 0 };

	bus_read(bus, at, buf, len);
	return load_le64(buf);
}

static inline void fake_bus_write(struct bus *bus, uint64_t at, uint64_t v, unsigned len)
{
	uint8_t buf[8];

	store_le64(buf, v);
	bus_write(bus, at, buf, len);
}

static inline void fake_select(struct fake_pci *p, unsigned devfn, unsigned reg)
{
	fake_bus_write(p->env.pio, 0xcf8, 0x80000000u | devfn << 8 | (reg & 0xfc), 4);
}

/* Through mechanism 1 */
static inline uint32_t fake_config_read(struct fake_pci *p, unsigned devfn, unsigned reg, unsigned len)
{
	fake_select(p, devfn, reg);
	return (uint32_t)fake_bus_read(p->env.pio, 0xcfc + (reg & 3), len);
}

static inline void fake_config_write(struct fake_pci *p, unsigned devfn, unsigned reg, uint32_t v, unsigned len)
{
	fake_select(p, devfn, reg);
	fake_bus_write(p->env.pio, 0xcfc + (reg & 3), v, len);
}

/* Through ECAM */
static inline uint64_t fake_ecam_read(struct fake_pci *p, unsigned devfn, unsigned reg, unsigned len)
{
	return fake_bus_read(p->env.mmio, FAKE_ECAM + (devfn << 12) + reg, len);
}

static inline void fake_ecam_write(struct fake_pci *p, unsigned devfn, unsigned reg, uint64_t v, unsigned len)
{
	fake_bus_write(p->env.mmio, FAKE_ECAM + (devfn << 12) + reg, v, len);
}

static inline void fake_command(struct fake_pci *p, unsigned devfn, uint16_t v)
{
	fake_config_write(p, devfn, PCI_COMMAND, v, 2);
}

static inline void fake_bar_write(struct fake_pci *p, unsigned devfn, unsigned bar, uint32_t v)
{
	fake_config_write(p, devfn, PCI_BAR0 + 4 * bar, v, 4);
}

static inline uint32_t fake_bar_read(struct fake_pci *p, unsigned devfn, unsigned bar)
{
	return fake_config_read(p, devfn, PCI_BAR0 + 4 * bar, 4);
}

#endif
