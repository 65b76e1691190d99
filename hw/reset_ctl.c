/* SPDX-License-Identifier: MIT */
/*
 * Two one-byte registers that reset a PC:
 *  0xcf9  reset control register (82371AB PIIX4 data sheet, 4.3.2; Intel ICH: bit 3, full reset): a write that raises bit 2 resets
 *  0x92   system control port A of the PS/2: a write that raises bit 0 resets; bit 1 is A20, which reads back and gates nothing
 *
 * A soft reset (bit 1 of 0xcf9 clear, or port 0x92) would keep the devices' state; here every reset is one of the whole machine.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "hw/devices.h"
#include "vmm/bus.h"
#include "vmm/err.h"
#include "vmm/util.h"

/* The ports around register 0xcf9. */
#define RCR_BASE 0xcf8
#define RCR_PORTS 4
#define RCR_OFFSET 1
#define RCR_HARD BIT(1)
#define RCR_RESET_CPU BIT(2)
#define RCR_FULL BIT(3)

#define PORT_A_PORT 0x92
#define PORT_A_RESET BIT(0)
#define PORT_A_A20 BIT(1)

/* What the guest can see. */
struct reset_ctl_regs {
	uint8_t rcr, port_a;
};

struct reset_ctl {
	struct device dev;
	pthread_mutex_t lock;
	struct reset_ctl_regs r;

	struct machine_link link;
	struct bus_region rcr, port_a;
	struct bus *pio;
};

/* Stores the register's bits in `mask`; when bit `trigger` rises, resets the machine. */
static void reset_ctl_store(struct reset_ctl *s, uint8_t *reg, uint8_t v, uint8_t mask, uint8_t trigger)
{
	bool rises;

	pthread_mutex_lock(&s->lock);
	rises = v & ~*reg & trigger;
	*reg = v & mask;
	pthread_mutex_unlock(&s->lock);
	if (rises)
		machine_request(&s->link, VM_REQUEST_RESET, 0);
}

static void reset_ctl_load(struct reset_ctl *s, const uint8_t *reg, uint8_t *buf)
{
	pthread_mutex_lock(&s->lock);
	*buf = *reg;
	pthread_mutex_unlock(&s->lock);
}

/* Four bytes at 0xcf8 are a configuration address, also where there is no PCI bus to take it: not meant for the register in it. */
static bool rcr_touched(uint64_t offset, unsigned len)
{
	return len < RCR_PORTS && offset <= RCR_OFFSET && offset + len > RCR_OFFSET;
}

static void rcr_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct reset_ctl *s = dev;

	if (rcr_touched(offset, len))
		reset_ctl_load(s, &s->r.rcr, buf + (RCR_OFFSET - offset));
}

static void rcr_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct reset_ctl *s = dev;

	if (rcr_touched(offset, len))
		reset_ctl_store(s, &s->r.rcr, buf[RCR_OFFSET - offset], RCR_HARD | RCR_RESET_CPU | RCR_FULL, RCR_RESET_CPU);
}

static void port_a_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct reset_ctl *s = dev;

	(void)offset, (void)len;
	reset_ctl_load(s, &s->r.port_a, buf);
}

static void port_a_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct reset_ctl *s = dev;

	(void)offset, (void)len;
	reset_ctl_store(s, &s->r.port_a, *buf, PORT_A_RESET | PORT_A_A20, PORT_A_RESET);
}

static const struct bus_ops rcr_ops = {
	.read = rcr_read,
	.write = rcr_write,
	.width = RCR_PORTS,
};

static const struct bus_ops port_a_ops = {
	.read = port_a_read,
	.write = port_a_write,
	.width = 1,
};

static void reset_ctl_reset(struct device *dev)
{
	struct reset_ctl *s = CONTAINER_OF(dev, struct reset_ctl, dev);

	pthread_mutex_lock(&s->lock);
	s->r = (struct reset_ctl_regs){ .port_a = PORT_A_A20 };
	pthread_mutex_unlock(&s->lock);
}

static void reset_ctl_destroy(struct device *dev)
{
	struct reset_ctl *s = CONTAINER_OF(dev, struct reset_ctl, dev);

	bus_remove(s->pio, &s->port_a);
	bus_remove(s->pio, &s->rcr);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

const struct bus_region *reset_ctl_take_rcr(struct device *dev)
{
	struct reset_ctl *s = CONTAINER_OF(dev, struct reset_ctl, dev);

	bus_remove(s->pio, &s->rcr);
	return &s->rcr;
}

static const struct device_ops reset_ctl_ops = {
	.reset = reset_ctl_reset,
	.destroy = reset_ctl_destroy,
};

struct device *reset_ctl_create(const struct device_env *env, struct err *err)
{
	struct reset_ctl *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(err, -ENOMEM, "reset control: not enough memory on the host");
		return NULL;
	}
	s->dev.ops = &reset_ctl_ops;
	s->dev.name = "reset control";
	s->link = env->link;
	s->pio = env->pio;
	s->rcr = (struct bus_region){
		.name = "reset control register", .base = RCR_BASE, .size = RCR_PORTS, .ops = &rcr_ops, .dev = s,
	};
	s->port_a = (struct bus_region){
		.name = "system control port A", .base = PORT_A_PORT, .size = 1, .ops = &port_a_ops, .dev = s,
	};
	pthread_mutex_init(&s->lock, NULL);
	reset_ctl_reset(&s->dev);
	if (bus_add(s->pio, &s->rcr, err) < 0)
		goto fail;
	if (bus_add(s->pio, &s->port_a, err) < 0)
		goto fail_rcr;
	return &s->dev;

fail_rcr:
	bus_remove(s->pio, &s->rcr);
fail:
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}
