/* SPDX-License-Identifier: MIT */
/*
 * The rates of a virtio network card: bytes and frames a second, for each direction (vmm/bucket.h). What is over a limit is held back, not
 * dropped: transmit chains stay in the ring, and frames to be received where they come from, until a timer fires.
 */
#include "hw/virtio_net_priv.h"
#include "vmm/util.h"

void vnet_limit_init(struct vnet_limit *l, const struct virtio_net_limits *cfg, void (*go_on)(void *opaque), void *opaque)
{
	*l = (struct vnet_limit){ .cfg = cfg, .timer = { .fire = go_on, .opaque = opaque } };
	l->on = cfg->bytes.avg || cfg->frames.avg;
	l->leaked_ns = now_ns();
}

bool vnet_limit_open(struct virtio_net *net, struct vnet_limit *l)
{
	double bytes, frames, seconds;
	int64_t now, wait;

	if (!l->on)
		return true;
	if (l->timer.armed)
		return false;
	now = now_ns();
	seconds = (double)(now - l->leaked_ns) / NS_PER_SEC;
	l->leaked_ns = now;
	bucket_leak(&l->bytes, &l->cfg->bytes, seconds);
	bucket_leak(&l->frames, &l->cfg->frames, seconds);
	bytes = bucket_wait(&l->bytes, &l->cfg->bytes);
	frames = bucket_wait(&l->frames, &l->cfg->frames);
	wait = bucket_wait_ns(bytes > frames ? bytes : frames);
	if (wait)
		eventloop_arm(net->dev.loop, &l->timer, now + wait);
	return wait == 0;
}

void vnet_limit_count(struct vnet_limit *l, size_t bytes)
{
	if (!l->on)
		return;
	bucket_add(&l->bytes, (double)bytes);
	bucket_add(&l->frames, 1);
}
