/* SPDX-License-Identifier: MIT */
/*
 * The debug console of Bochs and QEMU, isa-debugcon: a port whose bytes go to a chardev, and which reads as a fixed byte, by which firmware knows
 * that it is there. What the chardev does not take at once is lost: firmware does not wait for who reads along.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/devices.h"
#include "vmm/bus.h"
#include "vmm/chardev.h"
#include "vmm/err.h"
#include "vmm/util.h"

struct debugcon {
	struct device dev;
	struct chardev *chardev; /* borrowed; has its own lock */
	uint8_t readback;
	struct bus_region region;
	struct bus *pio;
};

static void debugcon_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	const struct debugcon *s = dev;

	(void)offset, (void)len;
	*buf = s->readback;
}

static void debugcon_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct debugcon *s = dev;

	(void)offset;
	chardev_write(s->chardev, buf, len);
}

static const struct bus_ops debugcon_bus_ops = { .read = debugcon_read, .write = debugcon_write, .width = 1 };

/* Nobody writes to us. */
static size_t can_receive(void *opaque)
{
	(void)opaque;
	return 4096;
}

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
	(void)opaque, (void)buf, (void)len;
}

static void writable(void *opaque)
{
	(void)opaque;
}

static void event(void *opaque, enum chardev_event what)
{
	(void)opaque, (void)what;
}

static const struct chardev_frontend frontend = { .can_receive = can_receive, .receive = receive, .writable = writable, .event = event };

/* It has no state. */
static void debugcon_reset(struct device *dev)
{
	(void)dev;
}

static void debugcon_destroy(struct device *dev)
{
	struct debugcon *s = CONTAINER_OF(dev, struct debugcon, dev);

	bus_remove(s->pio, &s->region);
	chardev_detach(s->chardev);
	free(s);
}

static const struct device_ops debugcon_ops = { .reset = debugcon_reset, .destroy = debugcon_destroy };

struct device *debugcon_create(const struct device_env *env, const struct debugcon_config *cfg, struct err *err)
{
	struct debugcon *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(err, -ENOMEM, "isa-debugcon: not enough memory on the host");
		return NULL;
	}
	s->dev = (struct device){ .ops = &debugcon_ops, .name = "isa-debugcon" };
	s->chardev = cfg->chardev;
	s->readback = cfg->readback;
	s->pio = env->pio;
	s->region = (struct bus_region){
		.name = "isa-debugcon", .base = cfg->iobase, .size = 1, .ops = &debugcon_bus_ops, .dev = s,
	};
	if (bus_add(s->pio, &s->region, err) < 0) {
		free(s);
		return NULL;
	}
	chardev_attach(s->chardev, &frontend, s);
	return &s->dev;
}
