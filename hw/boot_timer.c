/* SPDX-License-Identifier: MIT */
/*
 * isa-boot-timer: a byte that the guest writes to its port is logged with the time since Kite was started. The values stand for what
 * wrote them, by the ranges of Cloud Hypervisor's debug port (docs/debug-port.md there):
 *
 *   0x00-0x1f firmware   0x20-0x3f boot loader   0x40-0x5f kernel   0x60-0x7f user space   0x80-0xff whatever the guest says
 *
 * It has a port of its own, since Linux writes to that one, 0x80, to pass the time. Reads are all ones. At most BOOT_TIMER_MARKS are
 * logged in the life of the process, so that a guest cannot fill a log.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "hw/devices.h"
#include "vmm/boot_clock.h"
#include "vmm/bus.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define BOOT_TIMER_MARKS 64

struct boot_timer {
	struct device dev;
	const struct boot_clock *clock;
	_Atomic unsigned marks; /* several vCPUs may write at once; a reset does not make them more */
	struct bus_region region;
	struct bus *pio;
};

static const char *const ranges[] = {
	"firmware", "boot loader", "kernel", "user space", "guest", "guest", "guest", "guest",
};

static void boot_timer_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct boot_timer *s = dev;
	unsigned done = atomic_load(&s->marks);
	char what[32];

	(void)offset, (void)len;
	do
		if (done == BOOT_TIMER_MARKS)
			return;
	while (!atomic_compare_exchange_weak(&s->marks, &done, done + 1));
	snprintf(what, sizeof(what), "0x%02x %s%s", *buf, ranges[*buf / 0x20], done + 1 == BOOT_TIMER_MARKS ? "; no more are told" : "");
	boot_clock_mark(s->clock, what);
}

static const struct bus_ops boot_timer_bus_ops = { .write = boot_timer_write, .width = 1 };

static void boot_timer_reset(struct device *dev)
{
	(void)dev;
}

static void boot_timer_destroy(struct device *dev)
{
	struct boot_timer *s = CONTAINER_OF(dev, struct boot_timer, dev);

	bus_remove(s->pio, &s->region);
	free(s);
}

static const struct device_ops boot_timer_ops = {
	.reset = boot_timer_reset,
	.destroy = boot_timer_destroy,
};

struct device *boot_timer_create(const struct device_env *env, const struct boot_timer_config *cfg, struct err *err)
{
	struct boot_timer *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(err, -ENOMEM, "isa-boot-timer: not enough memory on the host");
		return NULL;
	}
	s->dev.ops = &boot_timer_ops;
	s->dev.name = "isa-boot-timer";
	s->clock = cfg->clock;
	s->pio = env->pio;
	s->region = (struct bus_region){
		.name = "isa-boot-timer", .base = cfg->iobase, .size = 1, .ops = &boot_timer_bus_ops, .dev = s,
	};
	if (bus_add(s->pio, &s->region, err) < 0) {
		free(s);
		return NULL;
	}
	return &s->dev;
}
