/* SPDX-License-Identifier: MIT */
/* A byte that a guest writes when it has crashed. It may have no more than one instruction left, so the write is all there is to it. */
#include <errno.h>
#include <stdlib.h>

#include "hw/devices.h"
#include "hw/pci.h"
#include "vmm/bus.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define PVPANIC_BAR_SIZE 16 /* the least there is; the register is at 0 */

struct pvpanic {
	struct device dev;
	struct pci_dev pci;
	uint8_t events;
	struct machine_link link;
	struct bus *pio; /* NULL: on PCI */
	struct bus_region region;
	struct log_limit log;
};

static void pvpanic_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	const struct pvpanic *s = dev;

	for (unsigned i = 0; i < len; i++)
		buf[i] = offset + i == 0 ? s->events : 0;
}

static void pvpanic_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct pvpanic *s = dev;

	(void)len;
	if (offset)
		return;
	if (*buf & ~PVPANIC_EVENTS)
		log_guest(&s->log, s->dev.name, "events %#x are not known", *buf & ~PVPANIC_EVENTS);
	if (*buf & s->events & PVPANIC_PANICKED)
		machine_tell(&s->link, MACHINE_PANICKED);
	if (*buf & s->events & PVPANIC_CRASHLOADED)
		machine_tell(&s->link, MACHINE_CRASHLOADED);
}

static const struct bus_ops pvpanic_bus_ops = { .read = pvpanic_read, .write = pvpanic_write, .width = 1 };
static const struct pci_dev_ops pvpanic_pci_ops = { .config_written = NULL };

static void pvpanic_reset(struct device *dev)
{
	struct pvpanic *s = CONTAINER_OF(dev, struct pvpanic, dev);

	if (!s->pio)
		pci_dev_reset(&s->pci);
}

static void pvpanic_destroy(struct device *dev)
{
	struct pvpanic *s = CONTAINER_OF(dev, struct pvpanic, dev);

	if (s->pio)
		bus_remove(s->pio, &s->region);
	else
		pci_dev_remove(&s->pci);
	free(s);
}

static const struct device_ops pvpanic_ops = { .reset = pvpanic_reset, .destroy = pvpanic_destroy };

static int pvpanic_place(struct pvpanic *s, const struct device_env *env, struct pci_bus *bus, const struct pvpanic_config *cfg, struct err *err)
{
	static const struct pci_ids ids = {
		.vendor = 0x1b36, .device = 0x0011, .subsystem_vendor = 0x1af4, .subsystem = 0x1100, .class_code = 0x088000, .revision = 1,
	};

	if (bus) {
		pci_dev_init(&s->pci, s->dev.name, &pvpanic_pci_ops, &ids, false);
		pci_dev_set_bar(&s->pci, 0, PCI_BAR_MEM32, PVPANIC_BAR_SIZE, &pvpanic_bus_ops, s);
		return pci_dev_add(bus, &s->pci, cfg->devfn, err);
	}
	s->pio = env->pio;
	s->region = (struct bus_region){ .name = s->dev.name, .base = cfg->iobase, .size = 1, .ops = &pvpanic_bus_ops, .dev = s };
	return bus_add(s->pio, &s->region, err);
}

struct device *pvpanic_create(const struct device_env *env, struct pci_bus *bus, const struct pvpanic_config *cfg, struct err *err)
{
	struct pvpanic *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(err, -ENOMEM, "pvpanic: not enough memory on the host");
		return NULL;
	}
	s->dev = (struct device){ .ops = &pvpanic_ops, .name = bus ? "pvpanic-pci" : "pvpanic" };
	s->events = cfg->events & PVPANIC_EVENTS;
	s->link = env->link;
	s->log = (struct log_limit)LOG_LIMIT_INIT;
	if (pvpanic_place(s, env, bus, cfg, err) < 0) {
		if (bus)
			pci_dev_remove(&s->pci);
		free(s);
		return NULL;
	}
	return &s->dev;
}
