/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_net.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_frontend.h"
#include "vmm/util.h"

static unsigned fake_room(void *opaque, unsigned queue, size_t want, struct iovec *iov)
{
	struct fake_net *fake = opaque;
	size_t size = min_u64(want, fake->room), piece, off = 0;
	unsigned n = 0;

	ck_assert_uint_eq(queue, 0);
	if (fake->buffers == 0)
		return 0;
	piece = size / fake->pieces + 1;
	while (off < size) {
		iov[n] = (struct iovec){ fake->buf + off, min_u64(piece, size - off) };
		off += iov[n++].iov_len;
	}
	return n;
}

static void fake_done(void *opaque, unsigned queue, size_t len)
{
	struct fake_net *fake = opaque;

	ck_assert_uint_eq(queue, 0);
	ck_assert_uint_lt(fake->n, FAKE_NET_FRAMES);
	ck_assert_uint_gt(fake->buffers, 0);
	fake->buffers--;
	fake->frames[fake->n].data = malloc(len);
	memcpy(fake->frames[fake->n].data, fake->buf, len);
	fake->frames[fake->n++].len = len;
	memset(fake->buf, 0xee, len);
}

static void fake_flush(void *opaque, unsigned queue)
{
	struct fake_net *fake = opaque;

	(void)queue;
	fake->flushes++;
}

static void fake_ready(void *opaque, unsigned queue)
{
	struct fake_net *fake = opaque;

	(void)queue;
	fake->readies++;
}

static void fake_link(void *opaque, bool up)
{
	struct fake_net *fake = opaque;

	fake->links++;
	fake->up = up;
}

const struct netdev_frontend_ops fake_net_ops = {
	.rx_room = fake_room,
	.rx_done = fake_done,
	.rx_flush = fake_flush,
	.tx_ready = fake_ready,
	.link = fake_link,
};

void fake_net_start(struct fake_net *fake, struct netdev *nd, unsigned hdr_size, unsigned guest)
{
	const struct netdev_offloads offloads = { .guest = guest, .vnet_hdr_size = hdr_size };

	memset(fake, 0, sizeof(*fake));
	fake->nd = nd;
	fake->pieces = 1;
	fake->room = sizeof(fake->buf);
	fake->buffers = UINT32_MAX;
	fake->up = nd->link_up;
	netdev_attach(nd, &fake_net_ops, fake);
	ck_assert_int_eq(netdev_set_offloads(nd, &offloads), 0);
	netdev_rx_enable(nd, true);
}

void fake_net_end(struct fake_net *fake)
{
	netdev_close(fake->nd);
	for (unsigned i = 0; i < fake->n; i++)
		free(fake->frames[i].data);
	fake->n = 0;
}

static uint8_t pattern(size_t i, unsigned seed)
{
	return (uint8_t)(seed + i + (i >> 8));
}

int fake_net_send(struct fake_net *fake, size_t len, unsigned seed)
{
	size_t hdr = fake->nd->offloads.vnet_hdr_size, total = hdr + len, piece = total / fake->pieces + 1, off = 0;
	uint8_t *data = calloc(1, total);
	struct iovec iov[400];
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < len; i++)
		data[hdr + i] = pattern(i, seed);
	while (off < total) {
		ck_assert_uint_lt(n, ARRAY_SIZE(iov));
		iov[n] = (struct iovec){ data + off, min_u64(piece, total - off) };
		off += iov[n++].iov_len;
	}
	rc = netdev_tx(fake->nd, 0, iov, n, total);
	memset(data, 0xdd, total); /* nothing of it is kept */
	free(data);
	return rc;
}

struct goal {
	struct fake_net *fake;
	unsigned n;
};

static bool reached(void *arg)
{
	struct goal *goal = arg;

	return goal->fake->n >= goal->n;
}

void fake_net_wait(struct fake_net *fake, unsigned n)
{
	struct goal goal = { fake, n };

	fake_run_until(fake->nd->loop, reached, &goal);
}

bool fake_net_is(const struct fake_net *fake, unsigned i, size_t len, unsigned seed)
{
	size_t hdr = fake->nd->offloads.vnet_hdr_size;

	if (i >= fake->n || fake->frames[i].len != hdr + len)
		return false;
	for (size_t k = 0; k < len; k++)
		if (fake->frames[i].data[hdr + k] != pattern(k, seed))
			return false;
	return true;
}
