/* SPDX-License-Identifier: MIT */
/*
 * isa-debug-exit: a guest's way to end the process with a status. A write of v to any of its ports exits with (v << 1) | 1,
 * which is never 0: that is for a guest that powers off. Reads return 0.
 *
 * Only the first write counts: a wide access to a narrow device arrives in pieces, of which the lowest is the one that was meant.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "hw/devices.h"
#include "vmm/bus.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define DEBUG_EXIT_MAX_SIZE 8

struct debug_exit {
	struct device dev;
	atomic_flag done; /* several vCPUs may write at once; cleared by reset */
	struct machine_link link;
	struct bus_region region;
	struct bus *pio;
};

static void debug_exit_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	(void)dev, (void)offset;
	memset(buf, 0, len);
}

static void debug_exit_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct debug_exit *s = dev;
	uint32_t v = load_le(buf, len);

	(void)offset;
	if (!atomic_flag_test_and_set(&s->done))
		machine_request(&s->link, VM_REQUEST_EXIT, (int)(v << 1 | 1));
}

static const struct bus_ops debug_exit_ops_by_width[] = {
	{ .read = debug_exit_read, .write = debug_exit_write, .width = 1 },
	{ .read = debug_exit_read, .write = debug_exit_write, .width = 2 },
	{ .read = debug_exit_read, .write = debug_exit_write, .width = 4 },
};

static void debug_exit_reset(struct device *dev)
{
	struct debug_exit *s = CONTAINER_OF(dev, struct debug_exit, dev);

	atomic_flag_clear(&s->done);
}

static void debug_exit_destroy(struct device *dev)
{
	struct debug_exit *s = CONTAINER_OF(dev, struct debug_exit, dev);

	bus_remove(s->pio, &s->region);
	free(s);
}

static const struct device_ops debug_exit_ops = {
	.reset = debug_exit_reset,
	.destroy = debug_exit_destroy,
};

struct device *debug_exit_create(const struct device_env *env, const struct debug_exit_config *cfg, struct err *err)
{
	struct debug_exit *s;

	if (cfg->iosize < 1 || cfg->iosize > DEBUG_EXIT_MAX_SIZE) {
		err_set(err, -EINVAL, "isa-debug-exit: iosize=%u; give 1 to %d", cfg->iosize, DEBUG_EXIT_MAX_SIZE);
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		err_set(err, -ENOMEM, "isa-debug-exit: not enough memory on the host");
		return NULL;
	}
	s->dev.ops = &debug_exit_ops;
	s->dev.name = "isa-debug-exit";
	s->link = env->link;
	s->pio = env->pio;
	s->region = (struct bus_region){
		.name = "isa-debug-exit",
		.base = cfg->iobase,
		.size = cfg->iosize,
		.ops = &debug_exit_ops_by_width[cfg->iosize >= 4 ? 2 : cfg->iosize >= 2 ? 1 : 0],
		.dev = s,
	};
	atomic_flag_clear(&s->done);
	if (bus_add(s->pio, &s->region, err) < 0) {
		free(s);
		return NULL;
	}
	return &s->dev;
}
