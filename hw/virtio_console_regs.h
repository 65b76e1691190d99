/* SPDX-License-Identifier: MIT */
/* The console device of the Virtual I/O Device Specification 1.2, section 5.3: features, queues, configuration and messages. */
#ifndef HW_VIRTIO_CONSOLE_REGS_H
#define HW_VIRTIO_CONSOLE_REGS_H

#include <assert.h>
#include <stddef.h>

#include "vmm/endian.h"
#include "vmm/util.h"

#define VIRTIO_CONSOLE_F_SIZE BIT64(0)
#define VIRTIO_CONSOLE_F_MULTIPORT BIT64(1)
#define VIRTIO_CONSOLE_F_EMERG_WRITE BIT64(2)

/* 5.3.2: port 0 has queues 0 and 1, the control queues are 2 and 3, port n > 0 has 2n + 2 and 2n + 3. */
#define CONSOLE_CTRL_RX 2 /* device to driver */
#define CONSOLE_CTRL_TX 3 /* driver to device */

static inline unsigned console_rx_queue(unsigned port)
{
	return port ? 2 * port + 2 : 0;
}

static inline unsigned console_tx_queue(unsigned port)
{
	return console_rx_queue(port) + 1;
}

/* Of a queue that is not a control queue. */
static inline unsigned console_queue_port(unsigned q)
{
	return q < CONSOLE_CTRL_RX ? 0 : (q - 2) / 2;
}

/* 5.3.4 */
struct console_config_wire {
	le16 cols, rows;   /* with F_SIZE */
	le32 max_nr_ports; /* with F_MULTIPORT */
	le32 emerg_wr;     /* with F_EMERG_WRITE; write-only */
};
static_assert(sizeof(struct console_config_wire) == 12, "5.3.4");
static_assert(offsetof(struct console_config_wire, emerg_wr) == 8, "5.3.4");

/* 5.3.6.2 */
struct console_ctrl_wire {
	le32 id; /* of the port */
	le16 event;
	le16 value;
};
static_assert(sizeof(struct console_ctrl_wire) == 8, "5.3.6.2");

enum console_event {
	CONSOLE_DEVICE_READY = 0, /* from the driver */
	CONSOLE_DEVICE_ADD = 1,   /* to the driver */
	CONSOLE_DEVICE_REMOVE = 2, /* to the driver */
	CONSOLE_PORT_READY = 3,   /* from the driver */
	CONSOLE_CONSOLE_PORT = 4, /* to the driver */
	CONSOLE_RESIZE = 5,       /* to the driver, followed by struct console_resize_wire */
	CONSOLE_PORT_OPEN = 6,    /* both ways */
	CONSOLE_PORT_NAME = 7,    /* to the driver, followed by the name without a terminator */
};

struct console_resize_wire {
	le16 cols, rows;
};
static_assert(sizeof(struct console_resize_wire) == 4, "5.3.6.2");

#endif
