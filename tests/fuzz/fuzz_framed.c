/* SPDX-License-Identifier: MIT */
/*
 * A peer of -netdev stream, or a helper that was broken into: the input is what it sends, cut into pieces, with the guest's buffers and reading as
 * the first bytes say. The guest's side must never get a frame of a length that none has, or be written to outside of its room.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/framed.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct target {
	struct netdev nd;
	struct framed framed;
	uint8_t *room;
	size_t room_len, limit; /* given last; at most */
	unsigned pieces, buffers;
	bool broken;
};

static unsigned rx_room(void *opaque, unsigned queue, size_t want, struct iovec *iov)
{
	struct target *t = opaque;
	size_t off = 0, piece;
	unsigned n = 0;

	(void)queue;
	if (t->buffers == 0)
		return 0;
	/* Memory of exactly that size: what is written behind it is seen. */
	free(t->room);
	t->room_len = min_u64(want, t->limit);
	t->room = malloc(t->room_len);
	piece = t->room_len / t->pieces + 1;
	for (; off < t->room_len; off += iov[n++].iov_len)
		iov[n] = (struct iovec){ t->room + off, min_u64(piece, t->room_len - off) };
	return n;
}

static void rx_done(void *opaque, unsigned queue, size_t len)
{
	struct target *t = opaque;

	(void)queue;
	if (len > t->room_len || len < t->nd.offloads.vnet_hdr_size + NETDEV_FRAME_MIN)
		abort();
	t->buffers--;
}

static void ignore(void *opaque, unsigned queue)
{
	(void)opaque;
	(void)queue;
}

static void link_changed(void *opaque, bool up)
{
	(void)opaque;
	(void)up;
}

static const struct netdev_frontend_ops front_end = {
	.rx_room = rx_room, .rx_done = rx_done, .rx_flush = ignore, .tx_ready = ignore, .link = link_changed,
};

static int tx(struct netdev *nd, unsigned queue, const struct iovec *iov, size_t n, size_t len)
{
	(void)nd;
	(void)queue;
	(void)iov;
	(void)n;
	(void)len;
	return 0;
}

static void rx_enable(struct netdev *nd, bool on)
{
	framed_rx_enable(&CONTAINER_OF(nd, struct target, nd)->framed, on);
}

static void rx_more(struct netdev *nd, unsigned queue)
{
	(void)queue;
	framed_rx_more(&CONTAINER_OF(nd, struct target, nd)->framed);
}

static void nd_close(struct netdev *nd)
{
	framed_fini(&CONTAINER_OF(nd, struct target, nd)->framed);
	netdev_fini(nd);
}

static const struct netdev_ops ops = { .type = "fuzz", .tx = tx, .rx_enable = rx_enable, .rx_more = rx_more, .close = nd_close };

static void broken(void *opaque, int rc)
{
	struct target *t = opaque;

	(void)rc;
	t->broken = true;
}

static void stop(void *opaque)
{
	eventloop_stop(opaque);
}

/* A turn of the loop, with all that is ready. */
static void turn(struct eventloop *loop)
{
	struct event_timer timer = { .fire = stop, .opaque = loop };

	eventloop_arm(loop, &timer, 0);
	eventloop_run(loop);
}

static void feed(struct target *t, int peer, const uint8_t *data, size_t size)
{
	while (size && !t->broken) {
		size_t len = min_u64(size, 1 + data[0] * (data[0] % 3 ? 1 : 97));
		ssize_t sent = send(peer, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		turn(t->nd.loop);
		if (sent > 0) {
			data += sent;
			size -= (size_t)sent;
		}
		if (size && data[0] % 16 == 1) {
			netdev_rx_enable(&t->nd, false);
			netdev_rx_enable(&t->nd, true);
		}
		t->buffers += 1 + (size ? data[0] % 4 : 0);
		t->limit = size && data[0] % 8 == 2 ? 100 : NETDEV_FRAME_MAX + NETDEV_HDR_MAX;
		netdev_rx_more(&t->nd, 0);
	}
	turn(t->nd.loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned hdrs[] = { 10, 12, 20 };
	struct target *t = calloc(1, sizeof(*t));
	struct err err = ERR_INIT;
	int sv[2];

	log_set_level(LOG_LEVEL_NONE);
	if (size < 3 || !t || netdev_init(&t->nd, &ops, "net0", eventloop_create(&err), &err) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv) < 0)
		goto out;
	t->pieces = 1 + data[0] % NETDEV_RX_IOV / 2;
	t->buffers = data[0] % 8;
	t->limit = NETDEV_FRAME_MAX + NETDEV_HDR_MAX;
	t->nd.caps = NETDEV_VNET | NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6;
	t->framed = (struct framed){ .nd = &t->nd, .broken = broken, .opaque = t, .vnet = data[1] & 1 };
	framed_init(&t->framed);
	framed_start(&t->framed, sv[0]);
	netdev_attach(&t->nd, &front_end, t);
	netdev_set_offloads(&t->nd, &(struct netdev_offloads){ .guest = data[2] & t->nd.caps, .vnet_hdr_size = hdrs[data[1] % 3] });
	netdev_rx_enable(&t->nd, true);
	feed(t, sv[1], data + 3, size - 3);
	netdev_attach(&t->nd, NULL, NULL);
	close(sv[1]);
	nd_close(&t->nd);
out:
	if (t) {
		eventloop_destroy(t->nd.loop);
		free(t->nd.id);
		free(t->room);
	}
	free(t);
	return 0;
}
