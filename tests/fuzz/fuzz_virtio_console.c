/* SPDX-License-Identifier: MIT */
/* The console device between a guest and peers that both do what they like. Counts what must stay within bounds. */
#include <stddef.h>
#include <stdint.h>

#include "hw/devices.h"
#include "tests/fuzz/virtio_guest.h"
#include "vmm/chardev.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct chardev {
	const struct chardev_frontend *fe;
	void *opaque;
	size_t room;
};

static void fuzz_attach(struct chardev *chr, const struct chardev_frontend *fe, void *opaque)
{
	chr->fe = fe;
	chr->opaque = opaque;
	fe->can_receive(opaque);
}

static void fuzz_detach(struct chardev *chr)
{
	chr->fe = NULL;
}

static size_t fuzz_write(struct chardev *chr, const void *buf, size_t len)
{
	size_t n = min_u64(len, chr->room);
	volatile uint8_t last = 0;

	for (size_t i = 0; i < n; i++)
		last = ((const uint8_t *)buf)[i];
	(void)last;
	chr->room -= n;
	return n;
}

static void fuzz_accept(struct chardev *chr)
{
	(void)chr;
}

#define chardev_attach fuzz_attach
#define chardev_detach fuzz_detach
#define chardev_write fuzz_write
#define chardev_accept_input fuzz_accept
#include "hw/virtio_console.c"
#include "hw/virtio_console_ctrl.c"
#include "hw/virtio_console_port.c"

static struct chardev chardevs[4];

static void add_port(struct virtio_dev *dev, unsigned nr)
{
	struct virtio_console_port_config cfg = {
		.nr = nr,
		.console = nr == 0 || nr == 3,
		.name = nr ? "a.port" : NULL,
		.chardev = &chardevs[nr],
	};
	struct err err = ERR_INIT;

	if (nr > 1)
		cfg.name = NULL;
	virtio_console_add_port(dev, &cfg, &err);
}

static void peer(struct guest *g, unsigned op)
{
	unsigned nr = guest_take(g) % 4, value = guest_take(g);
	struct chardev *chr = &chardevs[nr];
	static const uint8_t bytes[256];
	size_t n;

	if (!chr->fe) {
		if (op == 9)
			add_port(g->dev, nr);
		return;
	}
	switch (op) {
	case 6:
		chr->room = value;
		chr->fe->writable(chr->opaque);
		break;
	case 7:
		n = min_u64(chr->fe->can_receive(chr->opaque), value);
		if (n)
			chr->fe->receive(chr->opaque, bytes, n);
		break;
	case 8:
		chr->fe->event(chr->opaque, value % 3);
		break;
	case 9:
		virtio_console_remove_port(g->dev, nr);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest g;
	struct virtio_console_config cfg = { .name = "console", .max_ports = 4, .cols = 80, .rows = 25 };
	struct device_env env = { .loop = NULL };
	struct err err = ERR_INIT;
	struct virtio_dev *dev;

	guest_init(&g);
	env.loop = g.loop;
	env.mem = g.mem;
	dev = virtio_console_create(&env, &cfg, &err);
	if (!dev)
		abort();
	for (unsigned nr = 0; nr < 4; nr++) {
		chardevs[nr] = (struct chardev){ .room = 8 };
		add_port(dev, nr);
	}
	guest_begin(&g, dev, data, size);
	guest_start(&g, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_CONSOLE_F_MULTIPORT | VIRTIO_CONSOLE_F_SIZE);
	while (g.left) {
		unsigned op = guest_take(&g) % 10;

		if (!guest_step(&g, op, ~UINT64_C(0)))
			peer(&g, op);
	}
	guest_end(&g);
	return 0;
}
