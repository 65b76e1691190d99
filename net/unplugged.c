/* SPDX-License-Identifier: MIT */
#include "net/unplugged.h"

#include <errno.h>
#include <stdlib.h>

#include "net/netdev.h"
#include "vmm/err.h"

static int unplugged_tx(struct netdev *nd, unsigned queue, const struct iovec *iov, size_t n, size_t len)
{
	(void)queue;
	(void)iov;
	(void)n;
	(void)len;
	nd->stats.tx_dropped++;
	return 0;
}

static void unplugged_rx_enable(struct netdev *nd, bool on)
{
	(void)nd;
	(void)on;
}

static void unplugged_rx_more(struct netdev *nd, unsigned queue)
{
	(void)nd;
	(void)queue;
}

static void unplugged_close(struct netdev *nd)
{
	netdev_fini(nd);
	free(nd);
}

static const struct netdev_ops unplugged_ops = {
	.type = "none",
	.tx = unplugged_tx,
	.rx_enable = unplugged_rx_enable,
	.rx_more = unplugged_rx_more,
	.close = unplugged_close,
};

struct netdev *unplugged_open(const char *id, struct eventloop *loop, struct err *err)
{
	struct netdev *nd = calloc(1, sizeof(*nd));

	if (!nd) {
		err_set(err, -ENOMEM, "network card '%s': not enough memory on the host", id);
		return NULL;
	}
	if (netdev_init(nd, &unplugged_ops, id, loop, err) < 0) {
		free(nd);
		return NULL;
	}
	nd->link_up = false;
	return nd;
}
