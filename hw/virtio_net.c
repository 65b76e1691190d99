/* SPDX-License-Identifier: MIT */
/*
 * virtio-net (Virtio 1.2, section 5.1): the device. Its queues, its control queue and its filter are in virtio_net_*.c.
 *
 * Everything but the configuration space works on the back end's loop. Queues look for work as virtio-blk's do: a kick of a transmit queue
 * takes all there is, and the loop may look at the ring instead of being woken (poll_queues); receive queues are filled ahead by the driver,
 * and need no looking.
 *
 * What is offered follows from the user's switches and from what the back end can: checksums and segments that the guest leaves to the device are left
 * by the device to the back end, so without virtio_net_hdr there (NETDEV_VNET) there are none of them.
 *
 * A device may have more pairs of queues than its driver uses. The control queue is behind the last pair if several were negotiated, else
 * behind the first (5.1.2).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/virtio_net_priv.h"
#include "vmm/err.h"

static struct virtio_net *net_of(struct virtio_dev *dev)
{
	return CONTAINER_OF(dev, struct virtio_net, dev);
}

/* Features */

/* A switch of the user's, and what the back end must be able to do for it. */
struct feature {
	uint64_t bit;
	bool on;
	unsigned caps;
};

static uint64_t features_add(const struct virtio_net *net, const struct feature *list, size_t n)
{
	uint64_t f = 0;

	for (size_t i = 0; i < n; i++)
		if (list[i].on && (net->nd->caps & list[i].caps) == list[i].caps)
			f |= list[i].bit;
	return f;
}

static uint64_t features_offload(const struct virtio_net *net)
{
	const struct virtio_net_config *c = &net->cfg;
	const unsigned csum = NETDEV_VNET | NETDEV_CSUM;
	const struct feature list[] = {
		{ VNET_F_CSUM, c->csum, csum },
		{ VNET_F_GSO, c->gso && c->csum, csum | NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_TSO_ECN },
		{ VNET_F_HOST_TSO4, c->host_tso4 && c->csum, csum | NETDEV_TSO4 },
		{ VNET_F_HOST_TSO6, c->host_tso6 && c->csum, csum | NETDEV_TSO6 },
		{ VNET_F_HOST_ECN, c->host_ecn && c->csum && (c->host_tso4 || c->host_tso6), csum | NETDEV_TSO_ECN },
		{ VNET_F_HOST_UFO, c->host_ufo && c->csum, csum | NETDEV_UFO },
		{ VNET_F_HOST_USO, c->host_uso && c->csum, csum | NETDEV_USO },
		{ VNET_F_GUEST_CSUM, c->guest_csum, csum },
		{ VNET_F_GUEST_TSO4, c->guest_tso4 && c->guest_csum, csum | NETDEV_TSO4 },
		{ VNET_F_GUEST_TSO6, c->guest_tso6 && c->guest_csum, csum | NETDEV_TSO6 },
		{ VNET_F_GUEST_ECN, c->guest_ecn && c->guest_csum && (c->guest_tso4 || c->guest_tso6), csum | NETDEV_TSO_ECN },
		{ VNET_F_GUEST_UFO, c->guest_ufo && c->guest_csum, csum | NETDEV_UFO },
		{ VNET_F_GUEST_USO4, c->guest_uso4 && c->guest_uso6 && c->guest_csum, csum | NETDEV_USO },
		{ VNET_F_GUEST_USO6, c->guest_uso4 && c->guest_uso6 && c->guest_csum, csum | NETDEV_USO },
	};

	return features_add(net, list, ARRAY_SIZE(list));
}

static uint64_t vnet_features(struct virtio_dev *dev)
{
	const struct virtio_net *net = net_of(dev);
	const struct virtio_net_config *c = &net->cfg;
	const struct netdev_rings *rings = net->nd->rings;
	uint64_t offload = features_offload(net);
	const struct feature list[] = {
		{ VNET_F_MAC, true, 0 },
		{ VNET_F_MRG_RXBUF, c->mrg_rxbuf && (!rings || (rings->features & VNET_F_MRG_RXBUF)), 0 },
		{ VNET_F_MTU, c->mtu != 0, 0 },
		{ VNET_F_STATUS, c->status, 0 },
		{ VNET_F_SPEED_DUPLEX, c->speed != VIRTIO_NET_SPEED_UNKNOWN || c->duplex != VIRTIO_NET_DUPLEX_UNKNOWN, 0 },
		{ VNET_F_CTRL_VQ, c->ctrl_vq, 0 },
		{ VNET_F_CTRL_RX, c->ctrl_vq && c->ctrl_rx, 0 },
		{ VNET_F_CTRL_VLAN, c->ctrl_vq && c->ctrl_vlan, 0 },
		{ VNET_F_CTRL_RX_EXTRA, c->ctrl_vq && c->ctrl_rx && c->ctrl_rx_extra, 0 },
		{ VNET_F_CTRL_MAC_ADDR, c->ctrl_vq && c->ctrl_mac_addr, 0 },
		{ VNET_F_CTRL_GUEST_OFFLOADS, c->ctrl_vq && c->ctrl_guest_offloads && (offload & VNET_GUEST_OFFLOADS), 0 },
		{ VNET_F_GUEST_ANNOUNCE, c->ctrl_vq && c->status && c->guest_announce, 0 },
		{ VNET_F_MQ, c->ctrl_vq && c->mq && net->max_pairs > 1, 0 },
		{ VNET_F_RSS, c->ctrl_vq && c->rss && !rings, 0 },
		{ VNET_F_HASH_REPORT, c->ctrl_vq && c->hash && !rings, 0 },
	};

	return offload | features_add(net, list, ARRAY_SIZE(list));
}

/* The configuration space */

static void vnet_init_config(struct virtio_net *net)
{
	const struct virtio_net_config *cfg = &net->cfg;
	struct vnet_config *c = &net->config;

	memcpy(c->mac, cfg->mac, sizeof(c->mac));
	c->status = le16_of(net->nd->link_up ? VNET_S_LINK_UP : 0);
	c->max_virtqueue_pairs = le16_of((uint16_t)net->max_pairs);
	c->mtu = le16_of(cfg->mtu);
	c->speed = le32_of(cfg->speed);
	c->duplex = (uint8_t)cfg->duplex;
	if (cfg->rss || cfg->hash) {
		c->rss_max_key_size = VNET_RSS_KEY;
		c->rss_max_indirection_table_length = le16_of(VNET_RSS_TABLE);
		c->supported_hash_types = le32_of(VNET_HASH_TYPES);
	}
}

static void vnet_config_read(struct virtio_dev *dev, unsigned offset, uint8_t *buf, unsigned len)
{
	struct virtio_net *net = net_of(dev);

	pthread_mutex_lock(&net->lock);
	memcpy(buf, (const uint8_t *)&net->config + offset, len);
	pthread_mutex_unlock(&net->lock);
}

/* Under the lock, or before there are threads. */
static void mac_publish(struct virtio_net *net)
{
	uint64_t v = 0;

	memcpy(&v, net->config.mac, sizeof(net->config.mac));
	atomic_store_explicit(&net->mac, v, memory_order_relaxed);
}

/* The address is the one writable field, and that only of the legacy interface without CTRL_MAC_ADDR (5.1.4.2). */
static void vnet_config_write(struct virtio_dev *dev, unsigned offset, const uint8_t *buf, unsigned len)
{
	struct virtio_net *net = net_of(dev);

	if (offset >= sizeof(net->config.mac) || !virtio_is_legacy(dev) || virtio_negotiated(dev, VNET_F_CTRL_MAC_ADDR))
		return;
	pthread_mutex_lock(&net->lock);
	memcpy(net->config.mac + offset, buf, min_u64(len, sizeof(net->config.mac) - offset));
	mac_publish(net);
	pthread_mutex_unlock(&net->lock);
}

void vnet_set_mac(struct virtio_net *net, const uint8_t *mac)
{
	pthread_mutex_lock(&net->lock);
	memcpy(net->config.mac, mac, sizeof(net->config.mac));
	mac_publish(net);
	pthread_mutex_unlock(&net->lock);
}

void vnet_set_status(struct virtio_net *net, uint16_t set, uint16_t clear)
{
	uint16_t old, now;

	pthread_mutex_lock(&net->lock);
	old = le16_get(net->config.status);
	now = (uint16_t)((old & ~clear) | set);
	net->config.status = le16_of(now);
	pthread_mutex_unlock(&net->lock);
	/* An acknowledgement is the driver's own doing. */
	if ((now & ~old) || ((now ^ old) & VNET_S_LINK_UP))
		virtio_config_changed(&net->dev);
}

/* The back end */

/* All queues go on: what they waited for is there, or does not matter any more. */
static void vnet_wake(struct virtio_net *net)
{
	for (unsigned i = 0; net->running && !net->rings.on && i < net->pairs; i++) {
		net->tx[i].blocked = false;
		vnet_tx_run(&net->tx[i]);
		vnet_rx_kick(&net->rx[i]);
	}
}

static void vnet_update_link(struct virtio_net *net)
{
	bool was_up = net->link_up;

	net->link_up = net->cable && net->nd->link_up;
	if (net->link_up != was_up) {
		vnet_wake(net);
		vnet_rings_link(net);
	}
	vnet_set_status(net, net->link_up ? VNET_S_LINK_UP : 0, net->link_up ? 0 : VNET_S_LINK_UP);
}

static void vnet_backend_link(void *opaque, bool up)
{
	(void)up;
	vnet_update_link(opaque);
}

static const struct netdev_frontend_ops frontend = {
	.rx_room = vnet_rx_room,
	.rx_done = vnet_rx_done,
	.rx_flush = vnet_rx_flush,
	.tx_ready = vnet_tx_ready,
	.link = vnet_backend_link,
};

int vnet_set_pairs(struct virtio_net *net, unsigned pairs)
{
	int rc;

	if (pairs < 1 || pairs > net->max_pairs)
		return -EINVAL;
	rc = netdev_set_queues(net->nd, pairs);
	if (rc < 0)
		return rc;
	net->pairs = pairs;
	/* Queues that nobody served meanwhile. */
	vnet_wake(net);
	return 0;
}

int vnet_set_offloads(struct virtio_net *net, uint64_t offloads)
{
	static const struct {
		uint64_t bits;
		unsigned cap;
	} map[] = {
		{ VNET_F_GUEST_CSUM, NETDEV_CSUM },    { VNET_F_GUEST_TSO4, NETDEV_TSO4 }, { VNET_F_GUEST_TSO6, NETDEV_TSO6 },
		{ VNET_F_GUEST_ECN, NETDEV_TSO_ECN }, { VNET_F_GUEST_UFO, NETDEV_UFO },	  { VNET_F_GUEST_USO4 | VNET_F_GUEST_USO6, NETDEV_USO },
	};
	struct netdev_offloads to = { .vnet_hdr_size = net->hdr_size };
	int rc;

	/* Without a checksum to be made there is nothing to be cut, either. */
	for (size_t i = 0; (offloads & VNET_F_GUEST_CSUM) && i < ARRAY_SIZE(map); i++)
		if ((offloads & map[i].bits) == map[i].bits)
			to.guest |= map[i].cap;
	rc = netdev_set_offloads(net->nd, &to);
	if (rc < 0)
		return rc;
	net->offloads = offloads;
	net->clear_flags = !(offloads & VNET_F_GUEST_CSUM);
	return 0;
}

/* Timers of the limits */

static void tx_limit_over(void *opaque)
{
	struct virtio_net *net = opaque;

	for (unsigned i = 0; i < net->max_pairs; i++)
		vnet_tx_run(&net->tx[i]);
}

static void rx_limit_over(void *opaque)
{
	struct virtio_net *net = opaque;

	for (unsigned i = 0; i < net->pairs; i++)
		netdev_rx_more(net->nd, i);
}

/* Life */

static void vnet_kick(struct virtio_dev *dev, unsigned q)
{
	struct virtio_net *net = net_of(dev);

	if (net->paused) {
		virtio_look_away(dev, q); /* there will be as much when it goes on */
		return;
	}
	/* Without MQ the control queue is where another pair would be. */
	if (net->ctrl && q >= net->ctrl) {
		if (q == net->ctrl)
			vnet_ctrl_run(net);
	} else if (q / 2 < net->max_pairs) {
		if (q == vnet_tx_index(q / 2))
			vnet_tx_run(&net->tx[q / 2]);
		else
			vnet_rx_kick(&net->rx[q / 2]);
	}
}

static void vnet_ctrl_go_on(void *opaque)
{
	vnet_ctrl_run(opaque);
}

static unsigned header_size(const struct virtio_dev *dev, uint64_t features)
{
	if (features & VNET_F_HASH_REPORT)
		return VNET_HDR_HASH;
	return dev->legacy && !(features & VNET_F_MRG_RXBUF) ? VNET_HDR_LEGACY : VNET_HDR;
}

static int vnet_activate(struct virtio_dev *dev, uint64_t features)
{
	struct virtio_net *net = net_of(dev);
	bool many = features & (VNET_F_MQ | VNET_F_RSS);
	int rc;

	net->pairs = 1;
	net->ctrl = (features & VNET_F_CTRL_VQ) ? 2 * (many ? net->max_pairs : 1) : 0;
	net->hdr_size = header_size(dev, features);
	net->mergeable = features & VNET_F_MRG_RXBUF;
	net->rss = (struct vnet_rss){ .report = features & VNET_F_HASH_REPORT };
	vnet_filter_reset(net, features & VNET_F_CTRL_VLAN);
	rc = netdev_set_queues(net->nd, 1);
	if (rc == 0)
		rc = vnet_set_offloads(net, features & VNET_GUEST_OFFLOADS);
	if (rc < 0)
		return rc;
	net->link_up = net->cable && net->nd->link_up;
	rc = vnet_rings_activate(net);
	if (rc < 0)
		return rc;
	net->running = true;
	netdev_rx_enable(net->nd, !net->rings.on);
	return 0;
}

static void vnet_deactivate(struct virtio_dev *dev)
{
	struct virtio_net *net = net_of(dev);

	net->running = false;
	vnet_rings_deactivate(net);
	netdev_rx_enable(net->nd, false);
	eventloop_cancel_work(dev->loop, &net->ctrl_more);
	eventloop_cancel(dev->loop, &net->tx_limit.timer);
	eventloop_cancel(dev->loop, &net->rx_limit.timer);
	for (unsigned i = 0; i < net->max_pairs; i++) {
		vnet_rx_reset(&net->rx[i]);
		vnet_tx_reset(&net->tx[i]);
	}
	/* The next driver finds what the user configured, and nothing to acknowledge. */
	vnet_set_mac(net, net->cfg.mac);
	vnet_set_status(net, 0, VNET_S_ANNOUNCE);
}

/* The machine stops: from here on nothing changes in the guest's memory. Frames wait where they are. */
static void quiesce_on_loop(void *arg)
{
	struct virtio_net *net = arg;

	net->paused = true;
	netdev_rx_hold(net->nd, true);
	vnet_rings_link(net);
	for (unsigned i = 0; i < net->max_pairs; i++)
		vnet_rx_pause(&net->rx[i], true);
	for (unsigned q = 0; q < net->dev.n_queues; q++)
		virtio_look_away(&net->dev, q);
}

static void vnet_quiesce(struct virtio_dev *dev)
{
	eventloop_call_sync(dev->loop, quiesce_on_loop, net_of(dev));
}

static void resume_on_loop(void *arg)
{
	struct virtio_net *net = arg;

	net->paused = false;
	netdev_rx_hold(net->nd, false);
	vnet_rings_link(net);
	for (unsigned i = 0; i < net->max_pairs; i++)
		vnet_rx_pause(&net->rx[i], false);
	/* All that was put off. */
	for (unsigned q = 0; net->running && q < net->dev.n_queues; q++)
		if (!net->rings.on || q == net->ctrl)
			vnet_kick(&net->dev, q);
}

static void vnet_resume(struct virtio_dev *dev)
{
	if (net_of(dev)->paused)
		eventloop_call_sync(dev->loop, resume_on_loop, net_of(dev));
}

static void vnet_free(struct virtio_net *net)
{
	for (unsigned i = 0; i < net->max_pairs; i++) {
		if (net->rx)
			vnet_rx_fini(&net->rx[i]);
		if (net->tx)
			vnet_tx_fini(&net->tx[i]);
	}
	free(net->rx);
	free(net->tx);
	vnet_rings_fini(net);
	pthread_mutex_destroy(&net->lock);
	free(net);
}

static void detach_on_loop(void *arg)
{
	netdev_attach(arg, NULL, NULL);
}

static void vnet_destroy(struct virtio_dev *dev)
{
	struct virtio_net *net = net_of(dev);

	eventloop_call_sync(dev->loop, detach_on_loop, net->nd);
	virtio_dev_fini(dev);
	vnet_free(net);
}

static const struct virtio_dev_ops vnet_ops = {
	.features = vnet_features,
	.config_read = vnet_config_read,
	.config_write = vnet_config_write,
	.activate = vnet_activate,
	.kick = vnet_kick,
	.deactivate = vnet_deactivate,
	.irq_changed = vnet_irq_changed,
	.quiesce = vnet_quiesce,
	.resume = vnet_resume,
	.destroy = vnet_destroy,
};

/* Creation */

void virtio_net_config_init(struct virtio_net_config *cfg)
{
	*cfg = (struct virtio_net_config){
		.queues = 1, .rx_queue_size = 256, .tx_queue_size = 256,
		.speed = VIRTIO_NET_SPEED_UNKNOWN, .duplex = VIRTIO_NET_DUPLEX_UNKNOWN,
		.csum = true, .guest_csum = true, .gso = true,
		.host_tso4 = true, .host_tso6 = true, .host_ecn = true, .host_ufo = true, .host_uso = true,
		.guest_tso4 = true, .guest_tso6 = true, .guest_ecn = true, .guest_ufo = true, .guest_uso4 = true, .guest_uso6 = true,
		.mrg_rxbuf = true, .status = true, .guest_announce = true,
		.ctrl_vq = true, .ctrl_rx = true, .ctrl_vlan = true, .ctrl_rx_extra = true, .ctrl_mac_addr = true, .ctrl_guest_offloads = true,
	};
}

static bool queue_size_ok(unsigned size)
{
	return size >= VIRTIO_NET_MIN_QUEUE && size <= VIRTQ_SIZE_MAX && !(size & (size - 1));
}

static int vnet_check(const struct virtio_net_config *cfg, struct err *err)
{
	bool zero = true;

	if (cfg->queues < 1 || cfg->queues > VIRTIO_NET_MAX_PAIRS)
		return err_set(err, -EINVAL, "%s: %u queues are not from 1 to %u", cfg->id, cfg->queues, VIRTIO_NET_MAX_PAIRS);
	if (cfg->queues > cfg->netdev->queues)
		return err_set(err, -EINVAL, "%s: %u queues, but netdev '%s' has %u; give it queues=%u", cfg->id, cfg->queues, cfg->netdev->id,
			       cfg->netdev->queues, cfg->queues);
	if (!queue_size_ok(cfg->rx_queue_size))
		return err_set(err, -EINVAL, "%s: rx_queue_size %u is not a power of two from %u to %u", cfg->id, cfg->rx_queue_size,
			       VIRTIO_NET_MIN_QUEUE, VIRTQ_SIZE_MAX);
	if (!queue_size_ok(cfg->tx_queue_size))
		return err_set(err, -EINVAL, "%s: tx_queue_size %u is not a power of two from %u to %u", cfg->id, cfg->tx_queue_size,
			       VIRTIO_NET_MIN_QUEUE, VIRTQ_SIZE_MAX);
	if (cfg->mtu && cfg->mtu < VIRTIO_NET_MIN_MTU)
		return err_set(err, -EINVAL, "%s: host_mtu %u is not from %u to 65535, nor 0", cfg->id, cfg->mtu, VIRTIO_NET_MIN_MTU);
	for (size_t i = 0; i < sizeof(cfg->mac); i++)
		zero = zero && cfg->mac[i] == 0;
	if (zero || (cfg->mac[0] & 1))
		return err_set(err, -EINVAL, "%s: mac %02x:%02x:%02x:%02x:%02x:%02x is not the address of one card", cfg->id, cfg->mac[0],
			       cfg->mac[1], cfg->mac[2], cfg->mac[3], cfg->mac[4], cfg->mac[5]);
	if (throttle_limit_check(&cfg->tx.bytes, "tx-bps", err) < 0 || throttle_limit_check(&cfg->tx.frames, "tx-pps", err) < 0 ||
	    throttle_limit_check(&cfg->rx.bytes, "rx-bps", err) < 0 || throttle_limit_check(&cfg->rx.frames, "rx-pps", err) < 0)
		return err_prefix(err, "%s", cfg->id);
	return 0;
}

static int vnet_init_queues(struct virtio_net *net)
{
	net->rx = calloc(net->max_pairs, sizeof(*net->rx));
	net->tx = calloc(net->max_pairs, sizeof(*net->tx));
	if (!net->rx || !net->tx)
		return -ENOMEM;
	for (unsigned i = 0; i < net->max_pairs; i++)
		if (vnet_rx_init(net, i, net->cfg.rx_queue_size) < 0 || vnet_tx_init(net, i, net->cfg.tx_queue_size) < 0)
			return -ENOMEM;
	return 0;
}

static int vnet_init(struct virtio_net *net, const struct device_env *env, struct eventloop *loop, struct err *err)
{
	const struct virtio_net_config *cfg = &net->cfg;
	uint16_t sizes[2 * VIRTIO_NET_MAX_PAIRS + 1];
	unsigned n = 0;

	if (vnet_init_queues(net) < 0)
		return err_set(err, -ENOMEM, "%s: not enough memory for %u pairs of queues", cfg->id, cfg->queues);
	for (unsigned i = 0; i < net->max_pairs; i++) {
		net->dev.unpolled |= BIT64(n);
		sizes[n++] = cfg->rx_queue_size;
		sizes[n++] = cfg->tx_queue_size;
	}
	if (cfg->ctrl_vq) {
		net->dev.unpolled |= BIT64(n);
		sizes[n++] = VNET_CTRL_QUEUE;
	}
	vnet_init_config(net);
	mac_publish(net);
	vnet_limit_init(&net->tx_limit, &net->cfg.tx, tx_limit_over, net);
	vnet_limit_init(&net->rx_limit, &net->cfg.rx, rx_limit_over, net);
	net->ctrl_more = (struct event_work){ .run = vnet_ctrl_go_on, .opaque = net };
	net->dev.ops = &vnet_ops;
	net->dev.id = VIRTIO_ID_NET;
	net->dev.name = net->cfg.id;
	net->dev.loop = loop;
	net->dev.mem = env->mem;
	net->dev.config_size = sizeof(net->config);
	net->dev.poll_queues = true;
	net->dev.legacy_only = VNET_F_GSO;
	return virtio_dev_init(&net->dev, sizes, n, err);
}

struct virtio_dev *virtio_net_create(const struct device_env *env, struct eventloop *loop, const struct virtio_net_config *cfg,
				     struct err *err)
{
	struct virtio_net *net;

	if (vnet_check(cfg, err) < 0)
		return NULL;
	net = calloc(1, sizeof(*net));
	if (!net) {
		err_set_errno(err, -ENOMEM, "%s", cfg->id);
		return NULL;
	}
	net->cfg = *cfg;
	net->nd = cfg->netdev;
	net->max_pairs = cfg->queues;
	net->cable = true;
	pthread_mutex_init(&net->lock, NULL);
	if (vnet_rings_init(net, err) < 0 || vnet_init(net, env, loop, err) < 0) {
		vnet_free(net);
		return NULL;
	}
	netdev_attach(net->nd, &frontend, net);
	return &net->dev;
}

/* For a monitor */

struct link_call {
	struct virtio_net *net;
	bool up;
};

static void set_link_on_loop(void *arg)
{
	const struct link_call *call = arg;

	call->net->cable = call->up;
	vnet_update_link(call->net);
}

void virtio_net_set_link(struct virtio_dev *dev, bool up)
{
	struct link_call call = { .net = net_of(dev), .up = up };

	eventloop_call_sync(dev->loop, set_link_on_loop, &call);
}

static void announce_on_loop(void *arg)
{
	struct link_call *call = arg;

	call->up = call->net->running && virtio_has(&call->net->dev, VNET_F_GUEST_ANNOUNCE);
	if (call->up)
		vnet_set_status(call->net, VNET_S_ANNOUNCE, 0);
}

bool virtio_net_announce(struct virtio_dev *dev)
{
	struct link_call call = { .net = net_of(dev) };

	eventloop_call_sync(dev->loop, announce_on_loop, &call);
	return call.up;
}

struct query_call {
	struct virtio_net *net;
	struct virtio_net_state *state;
};

static void query_on_loop(void *arg)
{
	const struct query_call *call = arg;
	struct virtio_net *net = call->net;
	const struct vnet_filter *f = &net->filter;

	*call->state = (struct virtio_net_state){
		.link_up = net->cable && net->nd->link_up,
		.promisc = f->promisc,
		.allmulti = f->allmulti,
		.alluni = f->alluni,
		.nomulti = f->nomulti,
		.nouni = f->nouni,
		.nobcast = f->nobcast,
		.uni_overflow = f->uni_overflow,
		.multi_overflow = f->multi_overflow,
		.n_unicast = f->n_uni,
		.n_multicast = f->n_multi,
		.n_vlans = f->n_vlans,
		.pairs = net->running ? net->pairs : 0,
		.features = net->running ? net->dev.chosen : 0,
	};
	pthread_mutex_lock(&net->lock);
	memcpy(call->state->mac, net->config.mac, sizeof(net->config.mac));
	pthread_mutex_unlock(&net->lock);
}

void virtio_net_query(struct virtio_dev *dev, struct virtio_net_state *state)
{
	struct query_call call = { .net = net_of(dev), .state = state };

	eventloop_call_sync(dev->loop, query_on_loop, &call);
}
