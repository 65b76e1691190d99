/* SPDX-License-Identifier: MIT */
/*
 * Control messages of the console device (virtio 1.2, 5.3.6.2).
 *
 *   driver                    device
 *   DEVICE_READY        →
 *                       ←     DEVICE_ADD for each port
 *   PORT_READY          →
 *                       ←     CONSOLE_PORT, PORT_NAME, RESIZE, PORT_OPEN as they apply
 *   PORT_OPEN           ⇄     PORT_OPEN
 *                       ←     DEVICE_REMOVE
 */
#include <string.h>

#include "hw/virtio_console_priv.h"

static const struct {
	uint16_t event, value;
} messages[CTRL_COUNT] = {
	[CTRL_REMOVE] = { CONSOLE_DEVICE_REMOVE, 1 },
	[CTRL_ADD] = { CONSOLE_DEVICE_ADD, 1 },
	[CTRL_CONSOLE] = { CONSOLE_CONSOLE_PORT, 1 },
	[CTRL_NAME] = { CONSOLE_PORT_NAME, 1 },
	[CTRL_RESIZE] = { CONSOLE_RESIZE, 0 },
	[CTRL_CLOSE] = { CONSOLE_PORT_OPEN, 0 },
	[CTRL_OPEN] = { CONSOLE_PORT_OPEN, 1 },
};

/* To the driver */

static void ctrl_post(struct virtio_console *vc, unsigned nr, enum console_ctrl what)
{
	vc->slots[nr].pending |= BIT(what);
}

/* What follows the message's header: NULL with `*len` 0 for nothing. */
static const void *ctrl_extra(const struct virtio_console *vc, unsigned nr, enum console_ctrl what,
			      struct console_resize_wire *size, size_t *len)
{
	*len = 0;
	if (what == CTRL_RESIZE) {
		/* Only this thread changes them. */
		*size = (struct console_resize_wire){ .cols = le16_of(vc->cols), .rows = le16_of(vc->rows) };
		*len = sizeof(*size);
		return size;
	}
	if (what == CTRL_NAME && vc->ports[nr]) {
		*len = strlen(vc->ports[nr]->name);
		return vc->ports[nr]->name;
	}
	return NULL;
}

/*
 * Spends one buffer on it; false when there is none. A driver that gives small buffers gets a name cut short, and no size; less than
 * the header is no buffer, and the message waits for another.
 */
static bool ctrl_send_one(struct virtio_console *vc, unsigned nr, enum console_ctrl what)
{
	struct console_ctrl_wire msg = {
		.id = le32_of(nr),
		.event = le16_of(messages[what].event),
		.value = le16_of(messages[what].value),
	};
	struct iovec iov[CONSOLE_PORT_QUEUE];
	struct console_resize_wire size;
	struct virtq_chain chain;
	struct iov_cursor at;
	size_t len, n = 0;
	const void *extra;
	bool whole;

	if (!console_pop(vc, CONSOLE_CTRL_RX, &chain, iov))
		return false;
	extra = ctrl_extra(vc, nr, what, &size, &len);
	whole = chain.in_len >= sizeof(msg) + len;
	if (!whole)
		log_guest(&vc->dev.log, vc->dev.name, "a control buffer of %u bytes, too small for a message of %zu", chain.in_len,
			  sizeof(msg) + len);
	if (chain.in_len >= sizeof(msg))
		vc->slots[nr].pending &= (uint8_t)~BIT(what);
	if (whole || (chain.in_len >= sizeof(msg) && what == CTRL_NAME)) {
		iov_cursor_init(&at, iov + chain.n_out, chain.n_in);
		n = iov_cursor_write(&at, &msg, sizeof(msg));
		if (len)
			n += iov_cursor_write(&at, extra, len);
	}
	console_push(vc, CONSOLE_CTRL_RX, &chain, n);
	return true;
}

void console_ctrl_send(struct virtio_console *vc)
{
	unsigned n = 0;

	if (!vc->multiport)
		return;
	for (unsigned nr = 0; nr < vc->max_ports; nr++)
		while (n < CONSOLE_TURN && vc->slots[nr].pending) {
			if (!ctrl_send_one(vc, nr, (enum console_ctrl)__builtin_ctz(vc->slots[nr].pending)))
				goto out;
			n++;
		}
out:
	if (n)
		virtio_notify(&vc->dev, CONSOLE_CTRL_RX);
	if (n == CONSOLE_TURN)
		console_again(vc, CONSOLE_CTRL_RX);
}

static void ctrl_announce(struct virtio_console *vc, unsigned nr)
{
	if (!vc->ports[nr] || vc->slots[nr].announced)
		return;
	vc->slots[nr].announced = true;
	ctrl_post(vc, nr, CTRL_ADD);
}

void console_ctrl_added(struct virtio_console *vc, unsigned nr)
{
	if (!vc->guest_ready)
		return;
	ctrl_announce(vc, nr);
	console_ctrl_send(vc);
}

void console_ctrl_removed(struct virtio_console *vc, unsigned nr)
{
	struct console_slot *slot = &vc->slots[nr];
	/* A driver that has not read of the port need not read of its end, but may have yet to read of that of its predecessor. */
	unsigned unread = slot->pending & BIT(CTRL_ADD);
	unsigned removes = slot->announced && !unread ? BIT(CTRL_REMOVE) : slot->pending & BIT(CTRL_REMOVE);

	*slot = (struct console_slot){ .pending = (uint8_t)removes };
	console_ctrl_send(vc);
}

void console_ctrl_host_open(struct virtio_console *vc, unsigned nr, bool open)
{
	struct console_slot *slot = &vc->slots[nr];

	if (!slot->ready)
		return; /* it hears of it when it is */
	slot->pending &= (uint8_t)~BIT(CTRL_OPEN);
	ctrl_post(vc, nr, open ? CTRL_OPEN : CTRL_CLOSE);
	console_ctrl_send(vc);
}

void console_ctrl_resized(struct virtio_console *vc)
{
	for (unsigned nr = 0; nr < vc->max_ports; nr++)
		if (vc->slots[nr].ready && vc->ports[nr] && vc->ports[nr]->console)
			ctrl_post(vc, nr, CTRL_RESIZE);
	console_ctrl_send(vc);
}

/* From the driver */

static void ctrl_device_ready(struct virtio_console *vc, unsigned value)
{
	if (!value) {
		log_guest(&vc->dev.log, vc->dev.name, "the driver says that it cannot use the device");
		return;
	}
	vc->guest_ready = true;
	for (unsigned nr = 0; nr < vc->max_ports; nr++)
		ctrl_announce(vc, nr);
}

static void ctrl_port_ready(struct virtio_console *vc, unsigned nr, unsigned value)
{
	const struct console_port *port = vc->ports[nr];

	vc->slots[nr].ready = value;
	if (!value) {
		log_guest(&vc->dev.log, vc->dev.name, "the driver says that it cannot use port %u", nr);
		return;
	}
	if (port->console)
		ctrl_post(vc, nr, CTRL_CONSOLE);
	if (port->name)
		ctrl_post(vc, nr, CTRL_NAME);
	if (port->console && virtio_has(&vc->dev, VIRTIO_CONSOLE_F_SIZE))
		ctrl_post(vc, nr, CTRL_RESIZE);
	if (port->host_open)
		ctrl_post(vc, nr, CTRL_OPEN);
}

static void ctrl_port_open(struct virtio_console *vc, unsigned nr, unsigned value)
{
	bool open = value != 0;

	if (vc->slots[nr].guest_open != open)
		log_debug("%s: the guest has %s port %u", vc->dev.name, open ? "opened" : "closed", nr);
	vc->slots[nr].guest_open = open;
	if (open)
		console_port_rx_kick(vc, nr);
}

static void ctrl_handle(struct virtio_console *vc, const struct console_ctrl_wire *msg)
{
	unsigned id = le32_get(msg->id), event = le16_get(msg->event), value = le16_get(msg->value);

	if (event == CONSOLE_DEVICE_READY) {
		ctrl_device_ready(vc, value);
		return;
	}
	if (event != CONSOLE_PORT_READY && event != CONSOLE_PORT_OPEN) {
		log_guest(&vc->dev.log, vc->dev.name, "a control message of the unknown kind %u", event);
		return;
	}
	if (id >= vc->max_ports || !vc->ports[id]) {
		log_guest(&vc->dev.log, vc->dev.name, "a control message for port %u, which does not exist", id);
		return;
	}
	if (event == CONSOLE_PORT_READY)
		ctrl_port_ready(vc, id, value);
	else
		ctrl_port_open(vc, id, value);
}

void console_ctrl_receive(struct virtio_console *vc)
{
	struct iovec iov[CONSOLE_PORT_QUEUE];
	struct console_ctrl_wire msg;
	struct virtq_chain chain;
	struct iov_cursor at;
	unsigned n = 0;

	if (!vc->multiport)
		return;
	while (n < CONSOLE_TURN && console_pop(vc, CONSOLE_CTRL_TX, &chain, iov)) {
		iov_cursor_init(&at, iov, chain.n_out);
		if (iov_cursor_read(&at, &msg, sizeof(msg)) == sizeof(msg))
			ctrl_handle(vc, &msg);
		else
			log_guest(&vc->dev.log, vc->dev.name, "a control message of %u bytes; they have 8", chain.out_len);
		console_push(vc, CONSOLE_CTRL_TX, &chain, 0);
		n++;
	}
	if (n)
		virtio_notify(&vc->dev, CONSOLE_CTRL_TX);
	if (n == CONSOLE_TURN)
		console_again(vc, CONSOLE_CTRL_TX);
	console_ctrl_send(vc);
}
