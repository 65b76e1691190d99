/* SPDX-License-Identifier: MIT */
/*
 * A port of the console device: what goes between its chardev and its queues. See virtio_console.c.
 *
 * Who is there. A console's host end is always open, whoever looks at it, as QEMU's: what its chardev does with output that nobody
 * reads is the chardev's affair. Another port is open while a peer is connected, and the driver is told; what the guest writes to
 * a port that is closed at the host's end is dropped.
 *
 * Who waits. Linux's driver spins in the kernel until a console's output is taken, so a console's chardev gives up a reader that is
 * stuck. A port's writer sleeps, and a channel that loses bytes is no channel, so a port's waits.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/virtio_console_priv.h"
#include "vmm/chardev.h"
#include "vmm/err.h"

#define PORT_COPY 4096 /* bytes of output taken out of guest memory at once */

/* Output */

/* Gives the chardev what it takes of the held chain. True when it took all. */
static bool port_write(struct console_port *port)
{
	struct iov_cursor *at = &port->out.at;
	uint8_t buf[PORT_COPY];

	while (at->left) {
		struct iov_cursor look = *at;
		size_t n = iov_cursor_read(&look, buf, sizeof(buf));
		size_t taken = chardev_write(port->chr, buf, n);

		iov_cursor_skip(at, taken);
		if (taken < n)
			return false;
	}
	return true;
}

/* Has the next chain in `held`, with the cursor on its readable part. */
static bool port_next_out(struct virtio_console *vc, unsigned q, struct console_held *held)
{
	if (!held->valid && console_pop(vc, q, &held->chain, held->iov)) {
		held->valid = true;
		iov_cursor_init(&held->at, held->iov, held->chain.n_out);
	}
	return held->valid;
}

static void port_output(struct console_port *port)
{
	struct virtio_console *vc = port->vc;
	unsigned q = console_tx_queue(port->nr), n = 0;

	while (n < CONSOLE_TURN && port_next_out(vc, q, &port->out)) {
		if (port->host_open && !port_write(port))
			break; /* until port_writable */
		port->out.valid = false;
		console_push(vc, q, &port->out.chain, 0);
		n++;
	}
	if (n)
		virtio_notify(&vc->dev, q);
	if (n == CONSOLE_TURN)
		console_again(vc, q);
}

/* The driver writes to a port number without a port. */
static void discard_output(struct virtio_console *vc, unsigned q)
{
	struct iovec iov[CONSOLE_PORT_QUEUE];
	struct virtq_chain chain;
	unsigned n = 0;

	while (n < CONSOLE_TURN && console_pop(vc, q, &chain, iov)) {
		console_push(vc, q, &chain, 0);
		n++;
	}
	if (n)
		virtio_notify(&vc->dev, q);
	if (n == CONSOLE_TURN)
		console_again(vc, q);
}

void console_port_tx_kick(struct virtio_console *vc, unsigned nr)
{
	if (vc->ports[nr])
		port_output(vc->ports[nr]);
	else
		discard_output(vc, console_tx_queue(nr));
}

/* Input */

static bool port_takes_input(const struct console_port *port)
{
	const struct virtio_console *vc = port->vc;

	return vc->active && (vc->multiport ? vc->slots[port->nr].guest_open : port->nr == 0);
}

/* Room for input: that of one empty chain, taken now if there was none. */
static size_t port_room(struct console_port *port)
{
	struct virtio_console *vc = port->vc;
	struct console_held *in = &port->in;
	unsigned q = console_rx_queue(port->nr), useless = 0;

	if (!port_takes_input(port))
		return 0;
	while (!in->valid && useless < CONSOLE_TURN && console_pop(vc, q, &in->chain, in->iov)) {
		if (in->chain.in_len) {
			in->valid = true;
			iov_cursor_init(&in->at, in->iov + in->chain.n_out, in->chain.n_in);
			break;
		}
		log_guest(&vc->dev.log, vc->dev.name, "port %u: a receive buffer without room", port->nr);
		console_push(vc, q, &in->chain, 0);
		useless++;
	}
	if (useless)
		virtio_notify(&vc->dev, q);
	if (useless == CONSOLE_TURN)
		console_again(vc, q);
	return in->valid ? in->at.left : 0;
}

void console_port_rx_kick(struct virtio_console *vc, unsigned nr)
{
	struct console_port *port = vc->ports[nr];

	if (!port || !port->refused || port_room(port) == 0)
		return;
	port->refused = false;
	chardev_accept_input(port->chr);
}

/* The chardev's side */

static size_t port_can_receive(void *opaque)
{
	struct console_port *port = opaque;
	size_t room = port_room(port);

	port->refused = room == 0;
	return room;
}

static void port_receive(void *opaque, const uint8_t *buf, size_t len)
{
	struct console_port *port = opaque;
	struct virtio_console *vc = port->vc;
	unsigned q = console_rx_queue(port->nr);
	size_t n;

	if (!port->in.valid)
		return; /* reset meanwhile: these bytes went to the driver that was */
	n = iov_cursor_write(&port->in.at, buf, len);
	port->in.valid = false;
	console_push(vc, q, &port->in.chain, n);
	virtio_notify(&vc->dev, q);
}

static void port_writable(void *opaque)
{
	port_output(opaque);
}

static void port_event(void *opaque, enum chardev_event event)
{
	struct console_port *port = opaque;

	if (port->console || event == CHARDEV_BREAK)
		return;
	port->host_open = event == CHARDEV_OPENED;
	/* What it left unread goes with the peer. */
	if (!port->host_open)
		port_output(port);
	console_ctrl_host_open(port->vc, port->nr, port->host_open);
}

static const struct chardev_frontend console_frontend = {
	.can_receive = port_can_receive,
	.receive = port_receive,
	.writable = port_writable,
	.event = port_event,
};

static const struct chardev_frontend port_frontend = {
	.patient = true,
	.can_receive = port_can_receive,
	.receive = port_receive,
	.writable = port_writable,
	.event = port_event,
};

/* Life */

void console_port_forget(struct console_port *port)
{
	port->out.valid = port->in.valid = false;
}

void console_port_give_back(struct console_port *port)
{
	struct virtio_console *vc = port->vc;

	if (port->out.valid) {
		console_push(vc, console_tx_queue(port->nr), &port->out.chain, 0);
		virtio_notify(&vc->dev, console_tx_queue(port->nr));
	}
	if (port->in.valid) {
		console_push(vc, console_rx_queue(port->nr), &port->in.chain, 0);
		virtio_notify(&vc->dev, console_rx_queue(port->nr));
	}
	console_port_forget(port);
}

struct console_port *console_port_create(struct virtio_console *vc, const struct virtio_console_port_config *cfg, struct err *err)
{
	struct console_port *port = calloc(1, sizeof(*port));

	if (port) {
		port->vc = vc;
		port->nr = cfg->nr;
		port->console = cfg->console;
		port->chr = cfg->chardev;
		port->host_open = port->console && port->chr;
		port->name = cfg->name ? strdup(cfg->name) : NULL;
		if (!cfg->name || port->name)
			return port;
	}
	free(port);
	err_set_errno(err, -ENOMEM, "%s: port %u", vc->dev.name, cfg->nr);
	return NULL;
}

void console_port_attach(struct console_port *port)
{
	if (port->chr)
		chardev_attach(port->chr, port->console ? &console_frontend : &port_frontend, port);
}

void console_port_destroy(struct console_port *port)
{
	if (!port)
		return;
	if (port->chr)
		chardev_detach(port->chr);
	free(port->name);
	free(port);
}
