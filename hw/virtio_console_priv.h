/* SPDX-License-Identifier: MIT */
/* What the files of the console device share. Included by hw/virtio_console*.c only. Everything on the device's loop. */
#ifndef HW_VIRTIO_CONSOLE_PRIV_H
#define HW_VIRTIO_CONSOLE_PRIV_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "hw/virtio.h"
#include "hw/virtio_console_regs.h"
#include "vmm/iov.h"

struct chardev;

#define CONSOLE_PORT_QUEUE 128 /* descriptors of a port's queues, and so buffers of a chain */
#define CONSOLE_CTRL_QUEUE 32
#define CONSOLE_TURN 64        /* chains that one queue has served before the loop sees to others */

/* Messages to the driver that wait for a buffer, in the order in which they go out. The values are bits of console_slot.pending. */
enum console_ctrl {
	CTRL_REMOVE,
	CTRL_ADD,
	CTRL_CONSOLE,
	CTRL_NAME,
	CTRL_RESIZE,
	CTRL_CLOSE, /* before CTRL_OPEN: a peer that went and came back is seen to */
	CTRL_OPEN,
	CTRL_COUNT,
};

/* A chain that stays with the device. */
struct console_held {
	bool valid;
	struct virtq_chain chain;
	struct iov_cursor at; /* the part not used yet: of the readable or the writable buffers */
	struct iovec iov[CONSOLE_PORT_QUEUE];
};

struct console_port {
	struct virtio_console *vc;
	unsigned nr;
	bool console;
	char *name;           /* owned; NULL: none */
	struct chardev *chr;  /* borrowed; NULL: nobody */
	bool host_open;       /* somebody is at the other end */
	bool refused;         /* the chardev waits for chardev_accept_input */
	struct console_held out; /* a chain that the chardev has not taken whole */
	struct console_held in;  /* an empty one for the next input */
};

/* What a driver can see of a port number, with a port or without. */
struct console_slot {
	bool announced;  /* DEVICE_ADD went out, or waits to */
	bool ready;      /* the driver's PORT_READY */
	bool guest_open; /* the driver's PORT_OPEN */
	uint8_t pending; /* bits of enum console_ctrl */
};
static_assert(CTRL_COUNT <= 8, "console_slot.pending");

struct virtio_console {
	struct virtio_dev dev;
	unsigned max_ports;
	bool has_size;       /* F_SIZE is offered */
	bool active;
	bool multiport;      /* negotiated */
	bool guest_ready;    /* DEVICE_READY */
	struct console_port *ports[VIRTIO_CONSOLE_PORTS]; /* owned; NULL: none */
	struct console_slot slots[VIRTIO_CONSOLE_PORTS];
	uint64_t again;      /* queues, a bit each, that go on with `work` */
	struct event_work work;

	pthread_mutex_t lock; /* guards what vCPU threads see in the configuration space: */
	uint16_t cols, rows;
	struct chardev *emergency; /* where F_EMERG_WRITE goes: the first console's; borrowed; NULL: nowhere */
};
static_assert(2 * (VIRTIO_CONSOLE_PORTS + 1) <= 64, "virtio_console.again");
static_assert(2 * (VIRTIO_CONSOLE_PORTS + 1) <= VIRTIO_MAX_QUEUES, "a pair of queues for each port and for control");

/* virtio_console.c */
/* Takes the next chain. False when there is none, or the queue is not in use or broken. */
bool console_pop(struct virtio_console *vc, unsigned q, struct virtq_chain *chain, struct iovec *iov);
/* Gives one back without telling the driver yet. */
void console_push(struct virtio_console *vc, unsigned q, const struct virtq_chain *chain, size_t written);
/* Serves queue `q` again after the loop has seen to others. */
void console_again(struct virtio_console *vc, unsigned q);

/* virtio_console_port.c */
/* -ENOMEM with `err`. */
struct console_port *console_port_create(struct virtio_console *vc, const struct virtio_console_port_config *cfg, struct err *err);
/* Connects it to its chardev, once it is in vc->ports. */
void console_port_attach(struct console_port *port);
void console_port_destroy(struct console_port *port);
/* The driver rang for the receive or transmit queue of port number `nr`, which need not exist. */
void console_port_rx_kick(struct virtio_console *vc, unsigned nr);
void console_port_tx_kick(struct virtio_console *vc, unsigned nr);
/* Gives its chains back unused: it is removed under a driver. */
void console_port_give_back(struct console_port *port);
/* Forgets its chains: after a reset they are the driver's. */
void console_port_forget(struct console_port *port);

/* virtio_console_ctrl.c: messages go out as soon as the driver has buffers for them */
void console_ctrl_send(struct virtio_console *vc);
void console_ctrl_receive(struct virtio_console *vc);
void console_ctrl_added(struct virtio_console *vc, unsigned nr);
void console_ctrl_removed(struct virtio_console *vc, unsigned nr);
void console_ctrl_host_open(struct virtio_console *vc, unsigned nr, bool open);
void console_ctrl_resized(struct virtio_console *vc);

#endif
