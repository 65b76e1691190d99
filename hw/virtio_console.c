/* SPDX-License-Identifier: MIT */
/*
 * The console device: virtio 1.2, section 5.3.
 *
 * Theory of operation
 *
 * A port is a chardev at one end and a pair of queues at the other; nothing between them stores bytes. Output: a transmit chain stays with
 * the device until the chardev has taken all of it, so a reader that is slow slows the driver down, and what waits is bounded by
 * the queue. Input: the device takes one empty receive chain ahead of the bytes, and lets the chardev read no more than that has
 * room for; without a chain, or while the guest has the port closed, input waits where it comes from.
 *
 * Control messages to the driver need buffers that the driver may not have given. They are not queued: what the driver has yet to hear
 * about a port is a few bits, and a message is made of them and of the port's present state when there is a buffer
 * (virtio_console_ctrl.c). So a driver that asks without end and reads nothing makes nothing grow.
 *
 * Each visit to a queue serves a bounded number of chains; then the loop sees to its others.
 *
 * Without MULTIPORT there is port 0, always open to the guest.
 *
 * Everything runs on the device's loop, which is also that of the chardevs, and needs no lock; only the configuration space is
 * seen by vCPU threads.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/devices.h"
#include "hw/virtio_console_priv.h"
#include "vmm/chardev.h"
#include "vmm/err.h"

static struct virtio_console *console_of(struct virtio_dev *dev)
{
	return CONTAINER_OF(dev, struct virtio_console, dev);
}

/* Queues */

bool console_pop(struct virtio_console *vc, unsigned q, struct virtq_chain *chain, struct iovec *iov)
{
	struct virtq *vq = &vc->dev.queues[q].vq;
	int r;

	if (!vc->active || vq->cfg.size == 0 || vq->broken)
		return false;
	r = virtq_pop(vq, chain, iov, CONSOLE_PORT_QUEUE);
	if (r == 0 && virtq_doorbell_on(vq))
		r = virtq_pop(vq, chain, iov, CONSOLE_PORT_QUEUE);
	if (r > 0) {
		/* The next visit finds what comes meanwhile, until one finds nothing. */
		virtq_doorbell_off(vq);
		return true;
	}
	if (r == -E2BIG)
		virtq_break(vq, "a chain of more buffers than the queue has descriptors");
	if (r < 0)
		virtio_queue_broken(&vc->dev, q);
	return false;
}

void console_push(struct virtio_console *vc, unsigned q, const struct virtq_chain *chain, size_t written)
{
	virtq_push(&vc->dev.queues[q].vq, chain->head, (uint32_t)written);
}

void console_again(struct virtio_console *vc, unsigned q)
{
	vc->again |= BIT64(q);
	eventloop_post(vc->dev.loop, &vc->work);
}

static void console_kick(struct virtio_dev *dev, unsigned q)
{
	struct virtio_console *vc = console_of(dev);

	if (!vc->active)
		return;
	if (q == CONSOLE_CTRL_RX)
		console_ctrl_send(vc);
	else if (q == CONSOLE_CTRL_TX)
		console_ctrl_receive(vc);
	else if (q % 2 == 0)
		console_port_rx_kick(vc, console_queue_port(q));
	else
		console_port_tx_kick(vc, console_queue_port(q));
}

static void console_work(void *opaque)
{
	struct virtio_console *vc = opaque;
	uint64_t queues = vc->again;

	vc->again = 0;
	for (unsigned q = 0; q < vc->dev.n_queues; q++)
		if (queues & BIT64(q))
			console_kick(&vc->dev, q);
}

/* What the core asks */

static uint64_t console_features(struct virtio_dev *dev)
{
	const struct virtio_console *vc = console_of(dev);

	return VIRTIO_CONSOLE_F_EMERG_WRITE | (vc->max_ports > 1 ? VIRTIO_CONSOLE_F_MULTIPORT : 0) |
	       (vc->has_size ? VIRTIO_CONSOLE_F_SIZE : 0);
}

static void console_config_read(struct virtio_dev *dev, unsigned offset, uint8_t *buf, unsigned len)
{
	struct virtio_console *vc = console_of(dev);
	struct console_config_wire wire = { .max_nr_ports = le32_of(vc->max_ports) };

	pthread_mutex_lock(&vc->lock);
	wire.cols = le16_of(vc->cols);
	wire.rows = le16_of(vc->rows);
	pthread_mutex_unlock(&vc->lock);
	memcpy(buf, (const uint8_t *)&wire + offset, len);
}

/* 5.3.4: the low byte of emerg_wr goes out, also before any negotiation. */
static void console_config_write(struct virtio_dev *dev, unsigned offset, const uint8_t *buf, unsigned len)
{
	struct virtio_console *vc = console_of(dev);
	const unsigned at = offsetof(struct console_config_wire, emerg_wr);

	if (offset > at || offset + len <= at)
		return;
	pthread_mutex_lock(&vc->lock);
	if (vc->emergency)
		chardev_write(vc->emergency, buf + (at - offset), 1);
	pthread_mutex_unlock(&vc->lock);
}

static int console_activate(struct virtio_dev *dev, uint64_t features)
{
	struct virtio_console *vc = console_of(dev);

	/* Every queue is rung once now. */
	vc->active = true;
	vc->multiport = features & VIRTIO_CONSOLE_F_MULTIPORT;
	/* Linux looks at the size when it is told that the configuration has changed, and not before. */
	if (!vc->multiport && (features & VIRTIO_CONSOLE_F_SIZE))
		virtio_config_changed(dev);
	return 0;
}

static void console_deactivate(struct virtio_dev *dev)
{
	struct virtio_console *vc = console_of(dev);

	vc->active = vc->multiport = vc->guest_ready = false;
	vc->again = 0;
	eventloop_cancel_work(dev->loop, &vc->work);
	memset(vc->slots, 0, sizeof(vc->slots));
	for (unsigned nr = 0; nr < vc->max_ports; nr++)
		if (vc->ports[nr])
			console_port_forget(vc->ports[nr]);
}

static void console_destroy(struct virtio_dev *dev)
{
	struct virtio_console *vc = console_of(dev);

	for (unsigned nr = 0; nr < vc->max_ports; nr++)
		console_port_destroy(vc->ports[nr]);
	eventloop_cancel_work(dev->loop, &vc->work);
	virtio_dev_fini(dev);
	pthread_mutex_destroy(&vc->lock);
	free(vc);
}

static const struct virtio_dev_ops console_ops = {
	.features = console_features,
	.config_read = console_config_read,
	.config_write = console_config_write,
	.activate = console_activate,
	.kick = console_kick,
	.deactivate = console_deactivate,
	.destroy = console_destroy,
};

/* For the machine */

struct virtio_dev *virtio_console_create(const struct device_env *env, const struct virtio_console_config *cfg, struct err *err)
{
	uint16_t sizes[2 * (VIRTIO_CONSOLE_PORTS + 1)];
	unsigned n_queues = cfg->max_ports > 1 ? 2 * (cfg->max_ports + 1) : 2;
	struct virtio_console *vc;

	if (cfg->max_ports < 1 || cfg->max_ports > VIRTIO_CONSOLE_PORTS) {
		err_set(err, -ERANGE, "%s: %u ports; give 1 to %d", cfg->name, cfg->max_ports, VIRTIO_CONSOLE_PORTS);
		return NULL;
	}
	vc = calloc(1, sizeof(*vc));
	if (!vc) {
		err_set_errno(err, -ENOMEM, "%s", cfg->name);
		return NULL;
	}
	vc->dev = (struct virtio_dev){
		.ops = &console_ops,
		.id = VIRTIO_ID_CONSOLE,
		.name = cfg->name,
		.loop = env->loop,
		.mem = env->mem,
		.config_size = sizeof(struct console_config_wire),
	};
	vc->max_ports = cfg->max_ports;
	vc->cols = cfg->cols;
	vc->rows = cfg->rows;
	vc->has_size = cfg->cols && cfg->rows;
	vc->work = (struct event_work){ .run = console_work, .opaque = vc };
	for (unsigned q = 0; q < n_queues; q++)
		sizes[q] = q == CONSOLE_CTRL_RX || q == CONSOLE_CTRL_TX ? CONSOLE_CTRL_QUEUE : CONSOLE_PORT_QUEUE;
	if (virtio_dev_init(&vc->dev, sizes, n_queues, err) < 0) {
		free(vc);
		return NULL;
	}
	pthread_mutex_init(&vc->lock, NULL);
	return &vc->dev;
}

static void console_find_emergency(struct virtio_console *vc)
{
	struct chardev *chr = NULL;

	for (unsigned nr = 0; nr < vc->max_ports && !chr; nr++)
		if (vc->ports[nr] && vc->ports[nr]->console)
			chr = vc->ports[nr]->chr;
	pthread_mutex_lock(&vc->lock);
	vc->emergency = chr;
	pthread_mutex_unlock(&vc->lock);
}

static int console_check_port(const struct virtio_console *vc, const struct virtio_console_port_config *cfg, struct err *err)
{
	const char *name = vc->dev.name;

	if (cfg->nr >= vc->max_ports)
		return err_set(err, -ERANGE, "%s: there is no port %u; the last one is %u", name, cfg->nr, vc->max_ports - 1);
	if (vc->ports[cfg->nr])
		return err_set(err, -EBUSY, "%s: there is already a port %u", name, cfg->nr);
	if (cfg->nr == 0 && !cfg->console)
		return err_set(err, -EINVAL, "%s: port 0 can only be a console", name);
	for (unsigned nr = 0; cfg->name && nr < vc->max_ports; nr++)
		if (vc->ports[nr] && vc->ports[nr]->name && strcmp(vc->ports[nr]->name, cfg->name) == 0)
			return err_set(err, -EEXIST, "%s: port %u already has the name '%s'", name, nr, cfg->name);
	return 0;
}

int virtio_console_add_port(struct virtio_dev *dev, const struct virtio_console_port_config *cfg, struct err *err)
{
	struct virtio_console *vc = console_of(dev);
	struct console_port *port;

	if (console_check_port(vc, cfg, err) < 0)
		return err->code;
	port = console_port_create(vc, cfg, err);
	if (!port)
		return err->code;
	vc->ports[cfg->nr] = port;
	console_port_attach(port);
	console_find_emergency(vc);
	console_ctrl_added(vc, cfg->nr);
	return 0;
}

void virtio_console_remove_port(struct virtio_dev *dev, unsigned nr)
{
	struct virtio_console *vc = console_of(dev);
	struct console_port *port = nr < vc->max_ports ? vc->ports[nr] : NULL;

	if (!port)
		return;
	vc->ports[nr] = NULL;
	console_find_emergency(vc);
	console_port_give_back(port);
	console_port_destroy(port);
	console_ctrl_removed(vc, nr);
}

bool virtio_console_guest_open(const struct virtio_dev *dev, unsigned nr)
{
	const struct virtio_console *vc = CONTAINER_OF(dev, const struct virtio_console, dev);

	return nr < vc->max_ports && vc->slots[nr].guest_open;
}

void virtio_console_resize(struct virtio_dev *dev, uint16_t cols, uint16_t rows)
{
	struct virtio_console *vc = console_of(dev);
	bool changed;

	pthread_mutex_lock(&vc->lock);
	changed = vc->has_size && (vc->cols != cols || vc->rows != rows);
	if (changed) {
		vc->cols = cols;
		vc->rows = rows;
	}
	pthread_mutex_unlock(&vc->lock);
	if (!changed || !vc->active || !virtio_has(dev, VIRTIO_CONSOLE_F_SIZE))
		return;
	virtio_config_changed(dev);
	console_ctrl_resized(vc);
}
