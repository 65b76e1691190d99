/* SPDX-License-Identifier: MIT */
/*
 * A network back end that remembers what is sent and delivers what it is told, and the driver of a network card: on top of fake_virtio.h.
 *
 *	struct fake_nic t;
 *
 *	fake_nic_init(&t);
 *	t.cfg.mrg_rxbuf = false; t.nd.caps = ...         what the test changes
 *	fake_nic_create(&t);
 *	fake_nic_start(&t, FAKE_NIC_FEATURES);
 *	fake_nic_send(&t, 0, frame, len);                a frame behind a header of zeroes; turns the loop
 *	fake_nic_rx_add(&t, 0, 1536);                    a buffer to receive into
 *	fake_nic_deliver(&t, 0, frame, len);             from the back end, with a flush
 *	fake_nic_receive(&t, 0, buf, sizeof(buf));       what the driver found
 *	fake_nic_ctrl(&t, class, command, data, len);    a control command; its answer
 */
#ifndef TESTS_UNIT_FAKE_NIC_H
#define TESTS_UNIT_FAKE_NIC_H

#include "hw/virtio_net_priv.h"
#include "tests/unit/fake_virtio.h"

#define FAKE_NIC_SENT 2048
#define FAKE_NIC_CAPS (NETDEV_VNET | NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_TSO_ECN | NETDEV_USO | NETDEV_UFO)
/* What a modern driver chooses that can do everything but several queues and hashes. */
#define FAKE_NIC_FEATURES (VIRTIO_F_VERSION_1 | VNET_F_CSUM | VNET_F_GUEST_CSUM | VNET_F_MAC | VNET_F_MRG_RXBUF | VNET_F_STATUS | \
			   VNET_F_CTRL_VQ | VNET_F_CTRL_RX | VNET_F_CTRL_VLAN | VNET_F_CTRL_RX_EXTRA | VNET_F_CTRL_MAC_ADDR | \
			   VNET_F_GUEST_TSO4 | VNET_F_CTRL_GUEST_OFFLOADS | VNET_F_GUEST_ANNOUNCE)

struct fake_frame {
	unsigned queue;
	size_t len;
	uint8_t *data; /* with the header */
};

struct fake_nic {
	struct fake_virtio v;
	struct netdev nd;
	struct netdev_ops ops;
	struct virtio_net_config cfg;
	struct virtio_net *net; /* what was created, to look inside */
	struct fake_frame sent[FAKE_NIC_SENT];
	unsigned n_sent;
	unsigned takes;         /* frames that it takes before it says -EAGAIN */
	unsigned flushes, calls; /* of flush; of tx or tx_many */
	unsigned more[NETDEV_MAX_QUEUES];
	unsigned queues;
	unsigned n_offloads;    /* how often they were set */
	int settings_rc;        /* what set_offloads and set_queues answer */
	unsigned room;          /* entries of the last room */
	bool rx_on, closed;
	uint64_t rx_gpa[NETDEV_MAX_QUEUES][VIRTQ_SIZE_MAX]; /* of the buffer with this head */
};

void fake_nic_init(struct fake_nic *t);
void fake_nic_create(struct fake_nic *t);
void fake_nic_fini(struct fake_nic *t);
/* With tx_many in place of tx. */
void fake_nic_use_many(struct fake_nic *t);
void fake_nic_start(struct fake_nic *t, uint64_t features);
/* A legacy driver's start. */
void fake_nic_start_legacy(struct fake_nic *t, uint64_t features);
void fake_nic_forget_sent(struct fake_nic *t);

/* A transmit chain of one buffer with `hdr` and frame in it; not announced. */
uint16_t fake_nic_tx_add(struct fake_nic *t, unsigned pair, const void *frame, size_t len);
void fake_nic_send(struct fake_nic *t, unsigned pair, const void *frame, size_t len);
/* A buffer to receive into; not announced. */
uint16_t fake_nic_rx_add(struct fake_nic *t, unsigned pair, uint32_t len);
void fake_nic_kick(struct fake_nic *t, unsigned q);

/* A frame arrives. False: there is no room. */
bool fake_nic_deliver(struct fake_nic *t, unsigned pair, const void *frame, size_t len);
/* The same into room for the largest frame, as a tap does, behind the header `hdr` of the present size. */
bool fake_nic_read(struct fake_nic *t, unsigned pair, const void *hdr, const void *frame, size_t len);
/* Takes a frame with all its buffers, header included. 0: none. */
size_t fake_nic_receive(struct fake_nic *t, unsigned pair, uint8_t *buf, size_t max);

/* A command with `len` bytes of arguments; the answer. */
uint8_t fake_nic_ctrl(struct fake_nic *t, uint8_t class, uint8_t command, const void *data, size_t len);
uint16_t fake_nic_status(struct fake_nic *t);

/* A frame of `len` bytes with these addresses and a pattern. */
void fake_frame_fill(uint8_t *frame, size_t len, const uint8_t *to, uint8_t seed);

#endif
