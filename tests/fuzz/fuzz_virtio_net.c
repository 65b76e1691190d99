/* SPDX-License-Identifier: MIT */
/*
 * A network card between a guest and a network that both do what they like: rings, frames, control commands, headers, resets; a back end
 * that is full, that goes away, that reads into its room. What reaches the back end is checked: buffers in guest memory that are as long as
 * the frame. Room is filled to its last byte, whatever the frame's length, so that the sanitizer sees it.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "hw/devices.h"
#include "hw/virtio_net_priv.h"
#include "tests/fuzz/virtio_guest.h"
#include "vmm/iov.h"

#define PAIRS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct netdev nd;
	const struct guest_mem *mem;
	unsigned takes;
	int settings_rc;
	uint8_t frame[NETDEV_FRAME_MAX + 100];
} fz;

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_virtio_net: broken promise: %s\n", what);
	abort();
}

static int net_tx(struct netdev *nd, unsigned queue, const struct iovec *iov, size_t n, size_t len)
{
	const uint8_t *base = gm_map(fz.mem, 0, GUEST_SIZE);
	volatile uint8_t sum = 0;

	if (fz.takes == 0)
		return -EAGAIN;
	fz.takes--;
	require(queue < PAIRS, "a queue");
	require(iov_size(iov, n) == len, "the buffers' length");
	require(len >= nd->offloads.vnet_hdr_size + NETDEV_FRAME_MIN && len <= nd->offloads.vnet_hdr_size + NETDEV_FRAME_MAX, "a frame's length");
	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = iov[i].iov_base;

		require(p >= base && range_ok((uint64_t)(p - base), iov[i].iov_len, GUEST_SIZE), "a buffer");
		sum += p[iov[i].iov_len - 1];
	}
	(void)sum;
	return 0;
}

static void net_rx_enable(struct netdev *nd, bool on)
{
	(void)nd;
	(void)on;
}

static void net_rx_more(struct netdev *nd, unsigned queue)
{
	(void)nd;
	require(queue < PAIRS, "a queue");
}

static int net_set_offloads(struct netdev *nd, const struct netdev_offloads *o)
{
	require(!(o->guest & ~nd->caps), "offloads that the back end has");
	return fz.settings_rc;
}

static int net_set_queues(struct netdev *nd, unsigned queues)
{
	(void)nd;
	require(queues >= 1 && queues <= PAIRS, "a number of queues");
	return fz.settings_rc;
}

static const struct netdev_ops net_ops = {
	.type = "fuzz",
	.tx = net_tx,
	.rx_enable = net_rx_enable,
	.rx_more = net_rx_more,
	.set_offloads = net_set_offloads,
	.set_queues = net_set_queues,
};

/* As a tap: reads into room for the largest frame. */
static void net_read(unsigned queue, size_t len)
{
	size_t want = NETDEV_FRAME_MAX + fz.nd.offloads.vnet_hdr_size;
	struct iovec iov[NETDEV_RX_IOV];
	unsigned n = netdev_rx_room(&fz.nd, queue, want, iov);

	if (n == 0)
		return;
	require(n <= NETDEV_RX_IOV && iov_size(iov, n) == want, "room for the largest frame");
	for (unsigned i = 0; i < n; i++)
		memset(iov[i].iov_base, (int)len, iov[i].iov_len);
	netdev_rx_done(&fz.nd, queue, len);
}

static void guest_command(struct guest *g)
{
	struct virtio_net *net = CONTAINER_OF(g->dev, struct virtio_net, dev);
	unsigned q = net->ctrl, len = guest_take(g) % 200;
	uint64_t data = GUEST_DATA + 0x10000;
	uint8_t *ring, *p = gm_map(g->mem, data, 256);
	struct virtq_desc d[2] = {
		{ le64_of(data), le32_of(len + 2), le16_of(VIRTQ_DESC_F_NEXT), le16_of(1) },
		{ le64_of(data + 255), le32_of(1), le16_of(VIRTQ_DESC_F_WRITE), le16_of(0) },
	};

	if (!q)
		return;
	ring = gm_map(g->mem, q * GUEST_RING, GUEST_RING);
	p[0] = (uint8_t)guest_take(g) % 7;
	p[1] = (uint8_t)guest_take(g) % 7;
	for (unsigned i = 0; i < len; i++)
		p[2 + i] = (uint8_t)guest_take(g);
	memcpy(ring, d, sizeof(d));
	store_le16(ring + 0x800 + VIRTQ_AVAIL_RING + 2 * (g->next[q]++ % 64), 0);
	store_le16(ring + 0x800 + VIRTQ_AVAIL_IDX, g->next[q]);
	if (g->dev->active)
		g->dev->ops->kick(g->dev, q);
}

/* Several buffers of one length, to receive into or, with a frame of so many, to send. */
static void guest_buffers(struct guest *g, unsigned q, bool writable)
{
	unsigned n = guest_take(g) % 80, len = guest_take(g) << 4 | (guest_take(g) & 15), chained = guest_take(g) & 31;
	uint8_t *ring = gm_map(g->mem, q * GUEST_RING, GUEST_RING);
	uint16_t head = 0;

	for (unsigned i = 0; i < n; i++) {
		uint16_t at = g->next[q]++ % 64;
		bool last = chained == 0 || i % (chained + 1) == chained || i == n - 1;
		struct virtq_desc d = { le64_of(GUEST_DATA + 0x20000 + at * 4096u), le32_of(len),
					le16_of((writable ? VIRTQ_DESC_F_WRITE : 0) | (last ? 0 : VIRTQ_DESC_F_NEXT)), le16_of((at + 1) % 64) };

		if (chained == 0 || i % (chained + 1) == 0)
			head = at;
		memcpy(ring + at * sizeof(d), &d, sizeof(d));
		if (!last)
			continue;
		store_le16(ring + 0x800 + VIRTQ_AVAIL_RING + 2 * (load_le16(ring + 0x800 + VIRTQ_AVAIL_IDX) % 64), head);
		store_le16(ring + 0x800 + VIRTQ_AVAIL_IDX, load_le16(ring + 0x800 + VIRTQ_AVAIL_IDX) + 1);
	}
	if (g->dev->active)
		g->dev->ops->kick(g->dev, q);
}

static uint64_t guest_number(struct guest *g, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | guest_take(g);
	return v;
}

static void step(struct guest *g, unsigned op)
{
	unsigned pair = guest_take(g) % PAIRS, value;

	switch (op) {
	case 6:
		net_read(pair, guest_number(g, 2) + (guest_take(g) & 31));
		break;
	case 7:
		value = (unsigned)guest_number(g, 2) + (guest_take(g) & 31);
		for (unsigned i = 0; i < 64; i++)
			fz.frame[i] = (uint8_t)guest_take(g);
		netdev_deliver(&fz.nd, pair, NULL, fz.frame, value);
		netdev_rx_flush(&fz.nd, pair);
		break;
	case 8:
		fz.takes = guest_take(g);
		netdev_tx_ready(&fz.nd, pair);
		break;
	case 9:
		guest_command(g);
		break;
	case 10:
		guest_buffers(g, vnet_rx_index(pair), true);
		break;
	case 11:
		guest_buffers(g, vnet_tx_index(pair), false);
		break;
	case 12:
		value = guest_take(g);
		fz.settings_rc = value & 4 ? -EIO : 0;
		if (value & 2)
			netdev_link(&fz.nd, value & 1);
		else
			virtio_net_set_link(g->dev, value & 1);
		break;
	case 13:
		virtio_net_announce(g->dev);
		break;
	case 14:
		virtio_set_status(g->dev, 0);
		guest_start(g, VIRTIO_F_VERSION_1 | guest_number(g, 8));
		break;
	}
}

static struct virtio_dev *create(struct guest *g)
{
	const struct device_env env = { .loop = g->loop, .mem = g->mem };
	struct virtio_net_config cfg;
	struct virtio_dev *dev;
	struct err err = ERR_INIT;

	fz.mem = g->mem;
	fz.takes = 5;
	fz.settings_rc = 0;
	fz.nd = (struct netdev){ .queues = 1 };
	if (netdev_init(&fz.nd, &net_ops, "fuzz", g->loop, &err) < 0)
		abort();
	fz.nd.caps = NETDEV_VNET | NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_TSO_ECN | NETDEV_USO | NETDEV_UFO;
	fz.nd.queues = PAIRS;
	virtio_net_config_init(&cfg);
	cfg.id = "net0";
	cfg.netdev = &fz.nd;
	memcpy(cfg.mac, "\x52\x54\0\1\2\3", 6);
	cfg.queues = PAIRS;
	cfg.rx_queue_size = cfg.tx_queue_size = 64;
	cfg.mq = cfg.rss = cfg.hash = true;
	dev = virtio_net_create(&env, g->loop, &cfg, &err);
	if (!dev)
		abort();
	return dev;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest g;

	guest_init(&g);
	log_set_level(LOG_LEVEL_NONE);
	guest_begin(&g, create(&g), data, size);
	guest_start(&g, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | guest_number(&g, 8));
	while (g.left) {
		unsigned op = guest_take(&g) % 15;

		if (!guest_step(&g, op, ~UINT64_C(0)))
			step(&g, op);
	}
	guest_end(&g);
	netdev_fini(&fz.nd);
	return 0;
}
