/* SPDX-License-Identifier: MIT */
/*
 * The small devices of a board, at their ports: 8042, reset registers, both kinds of ACPI hardware, debug console and exit. Each 6 bytes of the
 * input are an access of any width, the power button, or a reset. What a register asks of the machine is one of the things that it can ask.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hw/devices.h"
#include "vmm/bus.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define PM 0x600
#define GED 0x700
#define EXIT 0xf4
#define EXIT_PORTS 8
#define STEP 6
#define MAX_STEPS 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { I8042, RESET_CTL, ACPI_PM, ACPI_GED, DEBUG_EXIT, DEVICES };

struct board {
	struct device_env env;
	struct device *dev[DEVICES];
	bool lines[DEVICES];
};

static void request(void *machine, enum vm_request what, int status)
{
	(void)machine;
	if (what != VM_REQUEST_RESET && what != VM_REQUEST_POWEROFF && what != VM_REQUEST_EXIT)
		abort();
	if (status && what != VM_REQUEST_EXIT)
		abort();
}

static void irq_set_line(void *ctl, unsigned pin, bool level)
{
	struct board *b = ctl;

	if (b->lines[pin] == level)
		abort();
	b->lines[pin] = level;
}

static const struct irq_ops irqs = { .set = irq_set_line };

static struct irq_line line(struct board *b, unsigned pin)
{
	return (struct irq_line){ .ops = &irqs, .ctl = b, .pin = pin };
}

static void make(struct board *b)
{
	struct err err = ERR_INIT;

	log_set_level(LOG_LEVEL_NONE);
	b->env.pio = bus_create("I/O port", 0xffff, &err);
	b->env.loop = eventloop_create(&err);
	b->env.link = (struct machine_link){ .request = request, .machine = b };
	b->dev[I8042] = i8042_create(&b->env, &(struct i8042_config){ .irq = line(b, I8042) }, &err);
	b->dev[RESET_CTL] = reset_ctl_create(&b->env, &err);
	b->dev[ACPI_PM] = acpi_pm_create(&b->env, &(struct acpi_pm_config){ .iobase = PM, .sci = line(b, ACPI_PM) }, &err);
	b->dev[ACPI_GED] = acpi_ged_create(&b->env, &(struct acpi_ged_config){ .iobase = GED, .irq = line(b, ACPI_GED) }, &err);
	b->dev[DEBUG_EXIT] = debug_exit_create(&b->env, &(struct debug_exit_config){ .iobase = EXIT, .iosize = EXIT_PORTS }, &err);
	for (unsigned i = 0; i < DEVICES; i++)
		if (!b->dev[i])
			abort();
}

static void step(struct board *b, const uint8_t *d)
{
	static const struct {
		uint16_t from, count;
	} ports[] = { { 0x5e, 8 }, { 0x90, 4 }, { 0xcf7, 5 }, { PM - 2, ACPI_PM_PORTS + 4 }, { GED - 2, ACPI_GED_PORTS + 4 }, { EXIT - 2, EXIT_PORTS + 4 } };
	size_t which = d[0] / 16 % ARRAY_SIZE(ports);
	uint16_t port = (uint16_t)(ports[which].from + d[1] % ports[which].count);
	struct device *dev = b->dev[d[1] % DEVICES];
	uint8_t buf[4];

	switch (d[0] % 8) {
	case 0:
	case 1:
	case 2:
		bus_read(b->env.pio, port, buf, 1u << (d[0] >> 3) % 3);
		break;
	case 3:
	case 4:
	case 5:
		bus_write(b->env.pio, port, d + 2, 1u << (d[0] >> 3) % 3);
		break;
	case 6:
		if (d[1] & 1)
			acpi_pm_power_button(b->dev[ACPI_PM]);
		else
			acpi_ged_power_button(b->dev[ACPI_GED]);
		break;
	default:
		if (d[2] < 64)
			dev->ops->reset(dev);
		else if (d[2] < 128 && dev->ops->quiesce)
			dev->ops->quiesce(dev);
		else if (dev->ops->resume)
			dev->ops->resume(dev);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct board b = { .dev = { NULL } };

	make(&b);
	for (size_t n = 0; n < MAX_STEPS && size >= STEP; n++, data += STEP, size -= STEP)
		step(&b, data);
	for (unsigned i = 0; i < DEVICES; i++) {
		b.dev[i]->ops->reset(b.dev[i]);
		if (b.lines[i])
			abort(); /* nobody can lower it any more */
		b.dev[i]->ops->destroy(b.dev[i]);
	}
	bus_destroy(b.env.pio);
	eventloop_destroy(b.env.loop);
	return 0;
}
