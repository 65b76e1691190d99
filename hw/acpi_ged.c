/* SPDX-License-Identifier: MIT */
/*
 * What a machine with hardware-reduced ACPI has instead of fixed hardware (ACPI 6.4, 4.1), 8 ports:
 *
 *   0  event selector, 4 bytes: bit 0 is the power button; a read clears what it returns. The DSDT's _EVT reads it (5.6.9)
 *   4  sleep control register (4.8.3.7): bits 2 to 4 SLP_TYP, bit 5 SLP_EN, write-only
 *   5  sleep status register: bit 7 WAK_STS, which stays 0, since the only sleep is soft-off
 *
 * The interrupt is level-triggered, high while an event is pending: an event that comes while another is served is never lost.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "hw/devices.h"
#include "vmm/bus.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define EVENT_BYTES 4

#define SLEEP_TYP_SHIFT 2
#define SLEEP_TYP (7 << SLEEP_TYP_SHIFT)
#define SLEEP_EN BIT(5)

/* What the guest can see. */
struct ged_regs {
	uint32_t events;
	uint8_t sleep_control;
};

struct acpi_ged {
	struct device dev;
	pthread_mutex_t lock;
	struct ged_regs r;
	struct irq_line irq;
	struct log_limit log;

	struct machine_link link;
	struct bus_region region;
	struct bus *pio;
};

/* Under the lock. */
static void ged_set_events(struct acpi_ged *s, uint32_t events)
{
	s->r.events = events;
	irq_set(&s->irq, events != 0);
}

static void ged_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct acpi_ged *s = dev;
	uint8_t image[ACPI_GED_PORTS] = { 0 };

	pthread_mutex_lock(&s->lock);
	store_le32(image + ACPI_GED_EVENT, s->r.events);
	image[ACPI_GED_SLEEP_CONTROL] = s->r.sleep_control;
	memcpy(buf, image + offset, len);
	if (offset < ACPI_GED_EVENT + EVENT_BYTES) {
		/* Only what was read is gone. */
		memset(image + offset, 0, len);
		ged_set_events(s, load_le32(image + ACPI_GED_EVENT));
	}
	pthread_mutex_unlock(&s->lock);
}

static void ged_sleep(struct acpi_ged *s, uint8_t v)
{
	unsigned type = (v & SLEEP_TYP) >> SLEEP_TYP_SHIFT;

	s->r.sleep_control = v & SLEEP_TYP;
	if (!(v & SLEEP_EN))
		return;
	if (type == ACPI_GED_S5_SLP_TYP)
		machine_request(&s->link, VM_REQUEST_POWEROFF, 0);
	else
		log_guest(&s->log, s->dev.name, "sleep type %u does not exist; only soft-off (%d) does", type, ACPI_GED_S5_SLP_TYP);
}

/* Everything but the sleep control register is read-only, or cleared already. */
static void ged_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct acpi_ged *s = dev;

	if (offset > ACPI_GED_SLEEP_CONTROL || offset + len <= ACPI_GED_SLEEP_CONTROL)
		return;
	pthread_mutex_lock(&s->lock);
	ged_sleep(s, buf[ACPI_GED_SLEEP_CONTROL - offset]);
	pthread_mutex_unlock(&s->lock);
}

static const struct bus_ops ged_bus_ops = {
	.read = ged_read,
	.write = ged_write,
	.width = 4,
};

void acpi_ged_power_button(struct device *dev)
{
	struct acpi_ged *s = CONTAINER_OF(dev, struct acpi_ged, dev);

	pthread_mutex_lock(&s->lock);
	ged_set_events(s, s->r.events | ACPI_GED_POWER_BUTTON);
	pthread_mutex_unlock(&s->lock);
}

static void ged_reset(struct device *dev)
{
	struct acpi_ged *s = CONTAINER_OF(dev, struct acpi_ged, dev);

	pthread_mutex_lock(&s->lock);
	s->r.sleep_control = 0;
	ged_set_events(s, 0);
	pthread_mutex_unlock(&s->lock);
}

static void ged_destroy(struct device *dev)
{
	struct acpi_ged *s = CONTAINER_OF(dev, struct acpi_ged, dev);

	bus_remove(s->pio, &s->region);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static const struct device_ops ged_ops = {
	.reset = ged_reset,
	.destroy = ged_destroy,
};

struct device *acpi_ged_create(const struct device_env *env, const struct acpi_ged_config *cfg, struct err *err)
{
	struct acpi_ged *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(err, -ENOMEM, "acpi events: not enough memory on the host");
		return NULL;
	}
	s->dev = (struct device){ .ops = &ged_ops, .name = "acpi events" };
	s->irq = cfg->irq;
	s->link = env->link;
	s->pio = env->pio;
	s->log = (struct log_limit)LOG_LIMIT_INIT;
	s->region = (struct bus_region){
		.name = s->dev.name, .base = cfg->iobase, .size = ACPI_GED_PORTS, .ops = &ged_bus_ops, .dev = s,
	};
	pthread_mutex_init(&s->lock, NULL);
	if (bus_add(s->pio, &s->region, err) < 0) {
		pthread_mutex_destroy(&s->lock);
		free(s);
		return NULL;
	}
	return &s->dev;
}
