/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_nic.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/err.h"
#include "vmm/iov.h"
#include "vmm/util.h"

static struct fake_nic *net_of(struct netdev *nd)
{
	return CONTAINER_OF(nd, struct fake_nic, nd);
}

/* The back end */

static int take(struct fake_nic *t, unsigned queue, const struct iovec *iov, size_t n, size_t len)
{
	struct fake_frame *f = &t->sent[t->n_sent];
	struct iov_cursor c;

	if (t->takes == 0)
		return -EAGAIN;
	t->takes--;
	ck_assert_uint_lt(t->n_sent, FAKE_NIC_SENT);
	*f = (struct fake_frame){ .queue = queue, .len = len, .data = malloc(len) };
	iov_cursor_init(&c, iov, n);
	if (iov_cursor_read(&c, f->data, len) != len)
		ck_abort_msg("a frame shorter than its length");
	t->n_sent++;
	return 0;
}

static int fake_tx(struct netdev *nd, unsigned queue, const struct iovec *iov, size_t n, size_t len)
{
	net_of(nd)->calls++;
	return take(net_of(nd), queue, iov, n, len);
}

static unsigned fake_tx_many(struct netdev *nd, unsigned queue, const struct netdev_frame *frames, unsigned n)
{
	unsigned i = 0;

	net_of(nd)->calls++;
	while (i < n && take(net_of(nd), queue, frames[i].iov, frames[i].n, frames[i].len) == 0)
		i++;
	return i;
}

static void fake_flush(struct netdev *nd, unsigned queue)
{
	(void)queue;
	net_of(nd)->flushes++;
}

static void fake_rx_enable(struct netdev *nd, bool on)
{
	net_of(nd)->rx_on = on;
}

static void fake_rx_more(struct netdev *nd, unsigned queue)
{
	net_of(nd)->more[queue]++;
}

static int fake_set_offloads(struct netdev *nd, const struct netdev_offloads *offloads)
{
	(void)offloads;
	net_of(nd)->n_offloads++;
	return net_of(nd)->settings_rc;
}

static int fake_set_queues(struct netdev *nd, unsigned queues)
{
	if (net_of(nd)->settings_rc == 0)
		net_of(nd)->queues = queues;
	return net_of(nd)->settings_rc;
}

static void fake_close(struct netdev *nd)
{
	net_of(nd)->closed = true;
	netdev_fini(nd);
}

/* Life */

void fake_nic_init(struct fake_nic *t)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
	struct err err = ERR_INIT;

	memset(t, 0, sizeof(*t));
	fake_virtio_init(&t->v);
	t->ops = (struct netdev_ops){
		.type = "fake",
		.tx = fake_tx,
		.flush = fake_flush,
		.rx_enable = fake_rx_enable,
		.rx_more = fake_rx_more,
		.set_offloads = fake_set_offloads,
		.set_queues = fake_set_queues,
		.close = fake_close,
	};
	ck_assert_int_eq(netdev_init(&t->nd, &t->ops, "n0", t->v.loop, &err), 0);
	t->nd.caps = FAKE_NIC_CAPS;
	t->takes = UINT32_MAX;
	virtio_net_config_init(&t->cfg);
	t->cfg.id = "net0";
	t->cfg.netdev = &t->nd;
	memcpy(t->cfg.mac, mac, sizeof(mac));
}

void fake_nic_use_many(struct fake_nic *t)
{
	t->ops.tx_many = fake_tx_many;
}

void fake_nic_create(struct fake_nic *t)
{
	const struct device_env env = { .mem = t->v.mem, .loop = t->v.loop };
	struct err err = ERR_INIT;
	struct virtio_dev *dev = virtio_net_create(&env, t->v.loop, &t->cfg, &err);

	ck_assert_msg(dev != NULL, "%s", err.msg);
	t->net = CONTAINER_OF(dev, struct virtio_net, dev);
	fake_virtio_attach(&t->v, dev);
}

void fake_nic_forget_sent(struct fake_nic *t)
{
	while (t->n_sent)
		free(t->sent[--t->n_sent].data);
}

void fake_nic_fini(struct fake_nic *t)
{
	fake_nic_forget_sent(t);
	if (t->net) {
		fake_virtio_reset(&t->v);
		t->net->dev.ops->destroy(&t->net->dev);
	}
	netdev_close(&t->nd);
	fake_virtio_fini(&t->v);
}

void fake_nic_start(struct fake_nic *t, uint64_t features)
{
	uint8_t status = fake_virtio_start(&t->v, features);

	ck_assert_uint_eq(status & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET), VIRTIO_STATUS_DRIVER_OK);
	fake_virtio_turn(&t->v);
}

void fake_nic_start_legacy(struct fake_nic *t, uint64_t features)
{
	struct virtio_dev *dev = t->v.dev;

	virtio_set_status(dev, 0);
	pthread_mutex_lock(&dev->lock);
	dev->legacy = true;
	pthread_mutex_unlock(&dev->lock);
	virtio_set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	virtio_choose(dev, features);
	for (unsigned q = 0; q < dev->n_queues; q++)
		fake_virtio_setup_queue(&t->v, q, dev->queues[q].size_max);
	virtio_set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK);
	fake_virtio_turn(&t->v);
}

/* The driver */

void fake_nic_kick(struct fake_nic *t, unsigned q)
{
	fake_virtio_kick(&t->v, q);
}

uint16_t fake_nic_tx_add(struct fake_nic *t, unsigned pair, const void *frame, size_t len)
{
	uint64_t gpa = fake_alloc(&t->v, t->net->hdr_size + len, 16);
	struct fake_buf buf = { gpa, (uint32_t)(t->net->hdr_size + len), false };

	memcpy(fake_mem(&t->v, gpa + t->net->hdr_size, len), frame, len);
	return fake_ring_add(&t->v.ring[vnet_tx_index(pair)], &buf, 1);
}

void fake_nic_send(struct fake_nic *t, unsigned pair, const void *frame, size_t len)
{
	fake_nic_tx_add(t, pair, frame, len);
	fake_nic_kick(t, vnet_tx_index(pair));
}

uint16_t fake_nic_rx_add(struct fake_nic *t, unsigned pair, uint32_t len)
{
	uint64_t gpa = fake_alloc(&t->v, len, 16);
	struct fake_buf buf = { gpa, len, true };
	uint16_t head;

	memset(fake_mem(&t->v, gpa, len), 0xee, len);
	head = fake_ring_add(&t->v.ring[vnet_rx_index(pair)], &buf, 1);
	t->rx_gpa[pair][head] = gpa;
	return head;
}

bool fake_nic_deliver(struct fake_nic *t, unsigned pair, const void *frame, size_t len)
{
	bool ok = netdev_deliver(&t->nd, pair, NULL, frame, len);

	netdev_rx_flush(&t->nd, pair);
	return ok;
}

bool fake_nic_read(struct fake_nic *t, unsigned pair, const void *hdr, const void *frame, size_t len)
{
	size_t hdr_size = t->nd.offloads.vnet_hdr_size, want = hdr_size + NETDEV_FRAME_MAX;
	struct iovec iov[NETDEV_RX_IOV];
	unsigned n = netdev_rx_room(&t->nd, pair, want, iov);
	struct iov_cursor c;

	t->room = n;
	if (n == 0)
		return false;
	ck_assert_uint_le(n, NETDEV_RX_IOV);
	ck_assert_uint_eq(iov_size(iov, n), want);
	iov_cursor_init(&c, iov, n);
	iov_cursor_write(&c, hdr, VNET_HDR_LEGACY);
	iov_cursor_skip(&c, hdr_size - VNET_HDR_LEGACY); /* as a tap does */
	iov_cursor_write(&c, frame, len);
	netdev_rx_done(&t->nd, pair, hdr_size + len);
	netdev_rx_flush(&t->nd, pair);
	return true;
}

size_t fake_nic_receive(struct fake_nic *t, unsigned pair, uint8_t *buf, size_t max)
{
	struct fake_ring *ring = &t->v.ring[vnet_rx_index(pair)];
	unsigned buffers = 1;
	size_t got = 0;

	for (unsigned i = 0; i < buffers; i++) {
		uint32_t head, len;

		if (!fake_ring_used(ring, &head, &len)) {
			ck_assert_uint_eq(i, 0); /* the driver sees all of a frame or nothing */
			return 0;
		}
		ck_assert_uint_le(got + len, max);
		memcpy(buf + got, fake_mem(&t->v, t->rx_gpa[pair][head], len), len);
		got += len;
		if (i == 0 && t->net->mergeable)
			buffers = load_le16(buf + VNET_HDR_LEGACY);
		ck_assert_uint_ge(buffers, 1);
	}
	return got;
}

uint8_t fake_nic_ctrl(struct fake_nic *t, uint8_t class, uint8_t command, const void *data, size_t len)
{
	unsigned q = t->net->ctrl;
	uint8_t head_bytes[2] = { class, command };
	uint64_t answer = fake_alloc(&t->v, 1, 1);
	struct fake_buf bufs[3] = { { fake_alloc_data(&t->v, head_bytes, 2), 2, false } };
	uint32_t head, used;
	unsigned n = 1;

	if (len)
		bufs[n++] = (struct fake_buf){ fake_alloc_data(&t->v, data, (uint32_t)len), (uint32_t)len, false };
	bufs[n++] = (struct fake_buf){ answer, 1, true };
	*(uint8_t *)fake_mem(&t->v, answer, 1) = 0xaa;
	fake_ring_add(&t->v.ring[q], bufs, n);
	fake_nic_kick(t, q);
	ck_assert(fake_ring_used(&t->v.ring[q], &head, &used));
	ck_assert_uint_eq(used, 1);
	return *(uint8_t *)fake_mem(&t->v, answer, 1);
}

uint16_t fake_nic_status(struct fake_nic *t)
{
	uint8_t b[2];

	t->v.dev->ops->config_read(t->v.dev, offsetof(struct vnet_config, status), b, 2);
	return load_le16(b);
}

void fake_frame_fill(uint8_t *frame, size_t len, const uint8_t *to, uint8_t seed)
{
	for (size_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(seed + i * 7 + i / 251);
	if (len >= 6)
		memcpy(frame, to, 6);
	if (len >= 14) {
		frame[12] = 8;
		frame[13] = 0;
	}
}
