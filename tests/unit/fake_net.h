/* SPDX-License-Identifier: MIT */
/* A network card for tests of back ends: it has buffers of a size and number that tests choose, and keeps what arrives. */
#ifndef TESTS_UNIT_FAKE_NET_H
#define TESTS_UNIT_FAKE_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/netdev.h"

#define FAKE_NET_FRAMES 4096

struct fake_net {
	struct netdev *nd;
	unsigned pieces;      /* buffers that a frame is scattered over; 1 unless set */
	size_t room;          /* bytes that there are for a frame */
	unsigned buffers;     /* frames that may still come */
	unsigned n;           /* frames that came */
	struct {
		uint8_t *data; /* with the header */
		size_t len;
	} frames[FAKE_NET_FRAMES];
	unsigned flushes, readies, links;
	bool up;
	uint8_t buf[NETDEV_FRAME_MAX + NETDEV_HDR_MAX];
};

extern const struct netdev_frontend_ops fake_net_ops;

/* Attaches, sets the header's size and offloads, and turns reading on. */
void fake_net_start(struct fake_net *fake, struct netdev *nd, unsigned hdr_size, unsigned guest);
/* Closes it and frees what came. */
void fake_net_end(struct fake_net *fake);
/* Sends a frame of `len` bytes (without header), byte i of which is (uint8_t)(seed + i), in pieces; netdev_tx's result. */
int fake_net_send(struct fake_net *fake, size_t len, unsigned seed);
/* Runs the loop until `n` frames came, or fails. */
void fake_net_wait(struct fake_net *fake, unsigned n);
/* Whether frame `i` is one of fake_net_send's. */
bool fake_net_is(const struct fake_net *fake, unsigned i, size_t len, unsigned seed);

#endif
