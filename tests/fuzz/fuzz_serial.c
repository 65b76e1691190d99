/* SPDX-License-Identifier: MIT */
/*
 * A UART between a hostile guest and a peer that does anything: each 6 bytes of the input are an access to its ports, input, room for output, time
 * that passes, or a reset. It never takes more than it said it would, and its interrupt line changes only when it changes.
 */
#define FAKE_WITHOUT_CHECK
#include "tests/unit/fake_hw.h"

#include "hw/serial.c"
#include "vmm/endian.h"

#define COM 0x3f8
#define STEP 6
#define MAX_STEPS 512
#define INPUT_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void input(struct chardev *chr, const uint8_t *d)
{
	uint8_t bytes[INPUT_MAX];
	size_t n = d[1] % INPUT_MAX;

	memset(bytes, d[2], sizeof(bytes));
	if (chr->fe->can_receive(chr->opaque) > SERIAL_FIFO)
		abort();
	fake_input(chr, bytes, n);
}

static void peer(struct chardev *chr, const uint8_t *d)
{
	static const enum chardev_event events[] = { CHARDEV_OPENED, CHARDEV_CLOSED, CHARDEV_BREAK };
	enum chardev_event event = events[d[1] % ARRAY_SIZE(events)];

	if (event != CHARDEV_BREAK)
		chr->connected = event == CHARDEV_OPENED;
	chr->fe->event(chr->opaque, event);
}

static void step(struct fake_hw *hw, struct device *dev, struct chardev *chr, const uint8_t *d)
{
	uint16_t port = (uint16_t)(COM - 2 + d[1] % 12);
	unsigned len = 1u << d[2] % 3;

	chr->n_out = 0;
	switch (d[0] % 12) {
	case 0:
	case 1:
	case 2:
		fake_in(hw, port, len);
		break;
	case 3:
	case 4:
	case 5:
		fake_out(hw, port, load_le16(d + 3) | (uint32_t)d[5] << 16, len);
		break;
	case 6:
		input(chr, d);
		break;
	case 7:
		chr->room = d[1] == 255 ? SIZE_MAX : d[1];
		chr->fe->writable(chr->opaque);
		break;
	case 8:
		fake_advance(&hw->loop, (int64_t)load_le16(d + 1) * 10000);
		break;
	case 9:
		fake_sleep(&hw->loop, (int64_t)load_le16(d + 1) * 100000);
		break;
	case 10:
		peer(chr, d);
		break;
	default:
		if (d[1] < 16)
			dev->ops->reset(dev);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct serial_config cfg = { .name = "serial0", .iobase = COM };
	struct chardev chr = { .connected = true, .room = SIZE_MAX };
	struct fake_irq irq = { .level = false };
	struct err err = ERR_INIT;
	struct device *dev;
	struct fake_hw hw;

	fake_hw_init(&hw);
	cfg.irq = fake_irq_line(&irq, 4);
	cfg.chardev = &chr;
	dev = serial_create(&hw.env, &cfg, &err);
	for (size_t n = 0; n < MAX_STEPS && size >= STEP; n++, data += STEP, size -= STEP)
		step(&hw, dev, &chr, data);
	dev->ops->reset(dev);
	if (irq.level || fake_in(&hw, COM + SERIAL_IER, 1))
		abort();
	dev->ops->destroy(dev);
	bus_destroy(hw.env.pio);
	bus_destroy(hw.env.mmio);
	return chr.fe ? abort(), 0 : 0;
}
