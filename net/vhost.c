/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * One descriptor of /dev/vhost-net for each pair of queues, each with a thread of the kernel's. All of them know the guest's memory from
 * the start; what a start adds are the rings, their eventfds, and the tap's descriptor, which makes it run. A stop takes that descriptor away,
 * which waits for the kernel's thread to let go of the rings, and asks how far they were.
 *
 * The kernel checks what it finds in the rings as Kite does; what is wrong makes it stop serving the queue, and say so on the error
 * eventfd, which is not looked at: the guest has only itself to blame.
 *
 * The tap's frames have a virtio_net_hdr of the size that the driver uses (netdev_set_offloads), which vhost-net hands through. A tap without headers
 * gets them from vhost-net (VHOST_NET_F_VIRTIO_NET_HDR).
 *
 * A tap that is served by the kernel does not tell when its interface is deleted. So the kernel's news of interfaces (rtnetlink) are
 * listened to meanwhile; they are rare, and each makes the tap look.
 */
#include "net/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/netdev.h"
#include "net/tap.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/guest_mem.h"
#include "vmm/log.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

/* Only the lab has taps. */
SYSCALL_RULES(
	{ CALL(ioctl), ARG(1, VHOST_SET_FEATURES), .threads = THREAD_LOOP, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, VHOST_SET_VRING_NUM), .threads = THREAD_LOOP, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, VHOST_SET_VRING_BASE), .threads = THREAD_LOOP, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, VHOST_GET_VRING_BASE), .threads = THREAD_LOOP, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, VHOST_SET_VRING_ADDR), .threads = THREAD_LOOP, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, VHOST_SET_VRING_KICK), .threads = THREAD_LOOP, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, VHOST_SET_VRING_CALL), .threads = THREAD_ANY, .rare = THREAD_ANY }, /* a vector that is masked, by a driver */
	{ CALL(ioctl), ARG(1, VHOST_SET_VRING_BUSYLOOP_TIMEOUT), .threads = THREAD_LOOP, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, VHOST_NET_SET_BACKEND), .threads = THREAD_LOOP, .rare = THREAD_ANY },
	{ CALL(recvfrom), .threads = THREAD_LOOP, .rare = THREAD_ANY }, /* news of the interface */
);

#define VHOST_DEVICE "/dev/vhost-net"

/* Features that are the rings' business: vhost-net has to know of them. */
#define RING_FEATURES                                                                                                                  \
	(BIT64(VIRTIO_NET_F_MRG_RXBUF) | BIT64(VIRTIO_RING_F_INDIRECT_DESC) | BIT64(VIRTIO_RING_F_EVENT_IDX) | BIT64(VIRTIO_F_VERSION_1) | \
	 BIT64(VIRTIO_F_NOTIFY_ON_EMPTY))
/* Those that Kite offers whatever the device is. */
#define NEEDED_FEATURES (BIT64(VIRTIO_RING_F_INDIRECT_DESC) | BIT64(VIRTIO_RING_F_EVENT_IDX) | BIT64(VIRTIO_F_VERSION_1))

struct vhost {
	struct netdev_rings rings;
	struct netdev *nd; /* a tap */
	int fds[NETDEV_MAX_QUEUES];
	unsigned running;  /* pairs, a bit each */
	struct event_fd news; /* rtnetlink; -1: not to be had, and then nobody notices */
	uint64_t poll_us;
};

static struct vhost *vhost_of(struct netdev_rings *rings)
{
	return CONTAINER_OF(rings, struct vhost, rings);
}

static int vhost_ioctl(int fd, unsigned long request, const void *arg)
{
	int r;

	do
		r = ioctl(fd, request, arg);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/* ---- the interface's end ---- */

static void news_ready(void *opaque, uint32_t revents)
{
	struct vhost *v = opaque;
	char buf[4096];

	(void)revents;
	/* What it says does not matter; and what overflowed is no worse. */
	while (recv(v->news.fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	tap_check(v->nd);
}

static void news_open(struct vhost *v)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };

	v->news = (struct event_fd){ .ready = news_ready, .opaque = v };
	v->news.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (v->news.fd >= 0 && bind(v->news.fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		fd_close(&v->news.fd);
}

/* ---- starting and stopping ---- */

/* From the first pair that runs to the last: the tap is left alone, but for its end. */
static void set_running(struct vhost *v, unsigned running)
{
	bool was = v->running, is = running;

	v->running = running;
	if (was == is)
		return;
	tap_hand_over(v->nd, is);
	if (!is)
		eventloop_del_fd(v->nd->loop, &v->news);
	else if (v->news.fd >= 0 && eventloop_add_fd(v->nd->loop, &v->news, EPOLLIN) < 0)
		log_warn("netdev '%s': nobody will notice that its interface is deleted", v->nd->id);
}

static int ring_set_backend(struct vhost *v, unsigned pair, unsigned ring, int fd)
{
	const struct vhost_vring_file file = { .index = ring, .fd = fd };

	return vhost_ioctl(v->fds[pair], VHOST_NET_SET_BACKEND, &file);
}

static int ring_set_up(struct vhost *v, unsigned pair, unsigned i, const struct netdev_ring *ring)
{
	const struct vhost_vring_state num = { .index = i, .num = ring->size }, base = { .index = i, .num = ring->next };
	const struct vhost_vring_state poll = { .index = i, .num = (unsigned)v->poll_us };
	const struct vhost_vring_addr addr = {
		.index = i,
		.desc_user_addr = (uintptr_t)ring->desc,
		.avail_user_addr = (uintptr_t)ring->avail,
		.used_user_addr = (uintptr_t)ring->used,
	};
	const struct vhost_vring_file kick = { .index = i, .fd = ring->kick_fd }, call = { .index = i, .fd = ring->call_fd };
	int fd = v->fds[pair], r;

	r = vhost_ioctl(fd, VHOST_SET_VRING_NUM, &num);
	if (r == 0)
		r = vhost_ioctl(fd, VHOST_SET_VRING_BASE, &base);
	if (r == 0)
		r = vhost_ioctl(fd, VHOST_SET_VRING_ADDR, &addr);
	if (r == 0)
		r = vhost_ioctl(fd, VHOST_SET_VRING_KICK, &kick);
	if (r == 0)
		r = vhost_ioctl(fd, VHOST_SET_VRING_CALL, &call);
	/* Kernels before 4.6 do not know it, and do without. */
	if (r == 0 && v->poll_us)
		(void)vhost_ioctl(fd, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, &poll);
	return r;
}

static int rings_start(struct netdev_rings *rings, unsigned pair, const struct netdev_ring ring[2], uint64_t features)
{
	struct vhost *v = vhost_of(rings);
	uint64_t chosen = features & RING_FEATURES & rings->features;
	int r;

	if (!(v->nd->caps & NETDEV_VNET))
		chosen |= BIT64(VHOST_NET_F_VIRTIO_NET_HDR);
	r = vhost_ioctl(v->fds[pair], VHOST_SET_FEATURES, &chosen);
	for (unsigned i = 0; r == 0 && i < 2; i++)
		r = ring_set_up(v, pair, i, &ring[i]);
	if (r < 0)
		return r;
	set_running(v, v->running | BIT(pair));
	for (unsigned i = 0; r == 0 && i < 2; i++)
		r = ring_set_backend(v, pair, i, tap_fd(v->nd, pair));
	if (r < 0)
		rings->ops->stop(rings, pair, (uint16_t[2]){ 0 });
	return r;
}

static void rings_stop(struct netdev_rings *rings, unsigned pair, uint16_t next[2])
{
	struct vhost *v = vhost_of(rings);

	for (unsigned i = 0; i < 2; i++) {
		struct vhost_vring_state base = { .index = i };
		const struct vhost_vring_file none = { .index = i, .fd = -1 };
		int r = ring_set_backend(v, pair, i, -1);

		if (r < 0)
			log_error("netdev '%s': vhost-net does not let go of a ring: %s", v->nd->id, strerror(-r));
		if (vhost_ioctl(v->fds[pair], VHOST_GET_VRING_BASE, &base) == 0)
			next[i] = (uint16_t)base.num;
		/* The eventfds are the device's own again. */
		(void)vhost_ioctl(v->fds[pair], VHOST_SET_VRING_KICK, &none);
		(void)vhost_ioctl(v->fds[pair], VHOST_SET_VRING_CALL, &none);
	}
	set_running(v, v->running & ~BIT(pair));
}

static int rings_set_call(struct netdev_rings *rings, unsigned pair, unsigned ring, int call_fd)
{
	const struct vhost_vring_file call = { .index = ring, .fd = call_fd };

	return vhost_ioctl(vhost_of(rings)->fds[pair], VHOST_SET_VRING_CALL, &call);
}

/* ---- creation and end ---- */

static void rings_close(struct netdev_rings *rings)
{
	struct vhost *v = vhost_of(rings);

	for (unsigned i = 0; i < rings->pairs; i++)
		fd_close(&v->fds[i]);
	fd_close(&v->news.fd);
	free(v);
}

static const struct netdev_rings_ops vhost_ops = {
	.start = rings_start,
	.stop = rings_stop,
	.set_call = rings_set_call,
	.close = rings_close,
};

static int set_memory(int fd, const struct guest_mem *mem)
{
	union {
		struct vhost_memory table;
		uint8_t space[sizeof(struct vhost_memory) + GM_MAX_REGIONS * sizeof(struct vhost_memory_region)];
	} u = { .table.nregions = (uint32_t)gm_region_count(mem) };

	for (size_t i = 0; i < u.table.nregions; i++) {
		const struct gm_region *region = gm_region_at(mem, i);

		u.table.regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = region->gpa,
			.memory_size = region->size,
			.userspace_addr = (uintptr_t)region->hva,
		};
	}
	return vhost_ioctl(fd, VHOST_SET_MEM_TABLE, &u.table);
}

/* The descriptor is there: makes it ours, and asks what it can. */
static int pair_set_up(struct vhost *v, unsigned pair, const struct guest_mem *mem, struct err *err)
{
	int fd = v->fds[pair], r;
	uint64_t features = 0;

	r = vhost_ioctl(fd, VHOST_SET_OWNER, NULL);
	if (r == -ENOTTY || r == -EBADF)
		return err_set(err, r, "netdev '%s': descriptor %d is no vhost-net", v->nd->id, fd);
	if (r == 0)
		r = vhost_ioctl(fd, VHOST_GET_FEATURES, &features);
	if (r == 0)
		r = set_memory(fd, mem);
	if (r < 0)
		return err_set_errno(err, r, "netdev '%s': cannot set vhost-net up", v->nd->id);
	if ((features & NEEDED_FEATURES) != NEEDED_FEATURES)
		return err_set(err, -ENOTSUP, "netdev '%s': this kernel's vhost-net is too old", v->nd->id);
	v->rings.features &= features;
	return 0;
}

static int open_pairs(struct vhost *v, const struct vhost_config *cfg, struct err *err)
{
	for (unsigned i = 0; i < v->rings.pairs; i++) {
		if (cfg->n_fds)
			(void)fcntl(v->fds[i], F_SETFD, FD_CLOEXEC);
		else
			v->fds[i] = open(VHOST_DEVICE, O_RDWR | O_CLOEXEC);
		if (v->fds[i] < 0)
			return err_set_errno(err, -errno, "netdev '%s': cannot open " VHOST_DEVICE, v->nd->id);
		if (pair_set_up(v, i, cfg->mem, err) < 0)
			return err->code;
	}
	return 0;
}

int vhost_attach(struct netdev *nd, const struct vhost_config *cfg, struct err *err)
{
	struct vhost *v = calloc(1, sizeof(*v));

	if (!v) {
		for (unsigned i = 0; i < cfg->n_fds; i++)
			close(cfg->fds[i]);
		return err_set(err, -ENOMEM, "netdev '%s': not enough memory on the host", nd->id);
	}
	v->rings = (struct netdev_rings){ .ops = &vhost_ops, .features = RING_FEATURES, .pairs = nd->queues, .forced = cfg->forced };
	v->nd = nd;
	v->poll_us = cfg->poll_us;
	news_open(v);
	for (unsigned i = 0; i < NETDEV_MAX_QUEUES; i++)
		v->fds[i] = i < cfg->n_fds ? cfg->fds[i] : -1;
	if (cfg->n_fds && cfg->n_fds != nd->queues)
		err_set(err, -EINVAL, "netdev '%s': %u descriptors of vhost-net for %u pairs of queues", nd->id, cfg->n_fds, nd->queues);
	else if (open_pairs(v, cfg, err) == 0) {
		nd->rings = &v->rings;
		return 0;
	}
	v->rings.pairs = (unsigned)max_u64(nd->queues, cfg->n_fds);
	rings_close(&v->rings);
	return err->code;
}
