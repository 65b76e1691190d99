/* SPDX-License-Identifier: MIT */
#include "vmm/launch_net.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/pci.h"
#include "hw/virtio.h"
#include "net/dgram.h"
#include "net/netdev.h"
#include "net/stream.h"
#include "net/unplugged.h"
#include "net/user.h"
#include "vmm/arch.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/iothread.h"
#include "vmm/launch_disks.h"
#include "vmm/launch_tap.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define COMMON_NAME "net"
#define CLASS_ETHERNET UINT32_C(0x020000)

struct launch_net {
	const struct vm_config *cfg;
	struct launch_disks *disks;
	struct iothread *common;                      /* NULL: not started */
	struct netdev *netdevs[CONFIG_MAX_NETDEVS];   /* as cfg->netdevs; NULL: one that was optional */
	struct launch_tap_down downs[CONFIG_MAX_NETDEVS]; /* of taps among them */
	struct virtio_dev *cards[CONFIG_MAX_NICS];    /* the same; the machine's. NULL: none */
	struct netdev *unplugged[CONFIG_MAX_NICS];    /* as cfg->nics; of those without a back end */
};

static_assert((int)CONFIG_NET_NONE == (int)NET_ADDR_NONE, "no address");
static_assert(CONFIG_MAX_NET_QUEUES == NETDEV_MAX_QUEUES && CONFIG_MAX_NET_QUEUES == VIRTIO_NET_MAX_PAIRS, "pairs of queues");

/* ---- threads ---- */

/* The loop of a card (NULL: of a back end that has none); NULL with `err` when the common thread cannot be started. */
static struct eventloop *loop_of(struct launch_net *net, const struct config_nic *nic, struct err *err)
{
	if (nic && nic->iothread)
		return launch_disks_loop(net->disks, nic->iothread, err);
	if (!net->common)
		net->common = iothread_create(COMMON_NAME, IOTHREAD_POLL_NS, err);
	return net->common ? iothread_loop(net->common) : NULL;
}

static const struct config_nic *nic_of(const struct vm_config *cfg, const struct config_netdev *netdev)
{
	for (size_t i = 0; i < cfg->n_nics; i++)
		if (cfg->nics[i].netdev && !strcmp(cfg->nics[i].netdev, netdev->id))
			return &cfg->nics[i];
	return NULL;
}

/* ---- back ends ---- */

static struct net_addr address(const struct config_net_addr *a)
{
	static const enum net_addr_type types[] = {
		[CONFIG_NET_NONE] = NET_ADDR_NONE,
		[CONFIG_NET_INET] = NET_ADDR_INET,
		[CONFIG_NET_UNIX] = NET_ADDR_UNIX,
		[CONFIG_NET_FD] = NET_ADDR_FD,
	};

	return (struct net_addr){
		.type = types[a->type],
		.path = a->path,
		.abstract = a->abstract,
		.host = a->host,
		.port = a->port,
		.ipv4 = a->ipv4,
		.ipv6 = a->ipv6,
		.fd = a->fd,
	};
}

static struct netdev *open_user(const struct config_netdev *n, struct eventloop *loop, struct err *err)
{
	const struct config_user_net *u = &n->user;
	const struct user_net_config cfg = {
		.id = n->id,
		.loop = loop,
		.helper = u->helper,
		.restricted = u->restrict_host,
		.no_ipv4 = !u->ipv4,
		.no_ipv6 = !u->ipv6,
		.net = u->net,
		.host = u->host,
		.dhcpstart = u->dhcpstart,
		.dns = u->dns,
		.ipv6_net = u->ipv6_net,
		.ipv6_host = u->ipv6_host,
		.ipv6_dns = u->ipv6_dns,
		.hostname = u->hostname,
		.domainname = u->domainname,
		.tftp = u->tftp,
		.bootfile = u->bootfile,
		.tftp_server_name = u->tftp_server_name,
		.metadata = u->metadata,
		.dnssearch = (const char *const *)u->dnssearch.v,
		.n_dnssearch = u->dnssearch.n,
		.hostfwd = (const char *const *)u->hostfwd.v,
		.n_hostfwd = u->hostfwd.n,
		.guestfwd = (const char *const *)u->guestfwd.v,
		.n_guestfwd = u->guestfwd.n,
	};

	return user_net_open(&cfg, err);
}

/* On its loop: an iothread that others share runs already. */
struct open_job {
	const struct config_netdev *n;
	struct eventloop *loop;
	bool quiet;
	struct launch_tap_down *down;
	struct err *err;
	struct netdev *nd; /* the result */
};

static struct netdev *open_netdev(const struct open_job *job)
{
	const struct config_netdev *n = job->n;
	struct eventloop *loop = job->loop;
	struct err *err = job->err;
	struct stream_net_config stream = { .id = n->id, .loop = loop };
	struct dgram_net_config dgram = { .id = n->id, .loop = loop };

	switch (n->type) {
	case CONFIG_NETDEV_TAP:
		return launch_tap_open(n, loop, job->quiet, job->down, err);
	case CONFIG_NETDEV_USER:
		return open_user(n, loop, err);
	case CONFIG_NETDEV_STREAM:
		stream.addr = address(&n->stream.addr);
		stream.server = n->stream.server;
		stream.reconnect_ms = (uint32_t)n->stream.reconnect_ms;
		return stream_net_open(&stream, err);
	case CONFIG_NETDEV_DGRAM:
		dgram.local = address(&n->dgram.local);
		dgram.remote = address(&n->dgram.remote);
		return dgram_net_open(&dgram, err);
	}
	assert(!"a type of back end");
	return NULL;
}

static void open_on_loop(void *arg)
{
	struct open_job *job = arg;

	job->nd = open_netdev(job);
}

static int open_one(struct launch_net *net, size_t i, struct err *err)
{
	const struct config_netdev *n = &net->cfg->netdevs[i];
	const struct config_nic *nic = nic_of(net->cfg, n);
	struct eventloop *loop = loop_of(net, nic, err);
	struct open_job job;

	if (!loop)
		return err->code;
	if (!nic)
		log_warn("netdev '%s' has no network card; add -device virtio-net-pci,netdev=%s", n->id, n->id);
	job = (struct open_job){ .n = n, .loop = loop, .quiet = net->cfg->daemonize, .down = &net->downs[i], .err = err };
	eventloop_call_sync(loop, open_on_loop, &job);
	net->netdevs[i] = job.nd;
	if (job.nd)
		return 0;
	if (!n->optional)
		return err->code;
	log_warn("%s; the machine has no network; give -nic none if it is to have none", err->msg);
	*err = (struct err)ERR_INIT;
	return 0;
}

static void close_one(const struct config_netdev *n, struct netdev *nd, struct launch_tap_down *down)
{
	if (nd && n->type == CONFIG_NETDEV_TAP)
		launch_tap_close(n, nd, down);
	else
		netdev_close(nd);
}

static int open_unplugged(struct launch_net *net, size_t i, struct err *err)
{
	const struct config_nic *nic = &net->cfg->nics[i];
	struct eventloop *loop;

	if (nic->netdev)
		return 0;
	loop = loop_of(net, nic, err);
	if (loop)
		net->unplugged[i] = unplugged_open(nic->id, loop, err);
	return net->unplugged[i] ? 0 : err->code;
}

struct launch_net *launch_net_open(const struct vm_config *cfg, struct launch_disks *disks, struct err *err)
{
	struct launch_net *net = calloc(1, sizeof(*net));
	int r = 0;

	if (!net) {
		err_set(err, -ENOMEM, "no memory for networks");
		return NULL;
	}
	net->cfg = cfg;
	net->disks = disks;
	for (size_t i = 0; r == 0 && i < cfg->n_netdevs; i++)
		r = open_one(net, i, err);
	for (size_t i = 0; r == 0 && i < cfg->n_nics; i++)
		r = open_unplugged(net, i, err);
	if (r < 0) {
		launch_net_close(net);
		return NULL;
	}
	return net;
}

int launch_net_ready(struct launch_net *net, struct err *err)
{
	for (size_t i = 0; i < net->cfg->n_netdevs; i++)
		if (net->netdevs[i] && net->cfg->netdevs[i].type == CONFIG_NETDEV_USER && user_net_wait(net->netdevs[i], err) < 0)
			return err->code;
	return 0;
}

struct netdev *launch_net_netdev(const struct launch_net *net, const char *id)
{
	for (size_t i = 0; i < net->cfg->n_netdevs; i++)
		if (!strcmp(net->cfg->netdevs[i].id, id))
			return net->netdevs[i];
	return NULL;
}

struct thread_call {
	int (*fn)(void *opaque, const char *iothread, struct eventloop *loop, struct err *err);
	void *opaque;
	struct eventloop *loop;
	struct err *err;
	int result;
};

static void call_on_thread(void *arg)
{
	struct thread_call *call = arg;

	call->result = call->fn(call->opaque, NULL, call->loop, call->err);
}

int launch_net_on_thread(struct launch_net *net, int (*fn)(void *opaque, const char *iothread, struct eventloop *loop, struct err *err),
			 void *opaque, struct err *err)
{
	struct thread_call call = { .fn = fn, .opaque = opaque, .err = err };

	if (!net->common)
		return 0;
	call.loop = iothread_loop(net->common);
	eventloop_call_sync(call.loop, call_on_thread, &call);
	return call.result;
}

int launch_net_set_link(struct launch_net *net, const char *id, bool up)
{
	int r = -ENODEV;

	for (size_t i = 0; i < net->cfg->n_nics; i++) {
		const struct config_nic *nic = &net->cfg->nics[i];

		if (!net->cards[i] || (strcmp(nic->id, id) && (!nic->netdev || strcmp(nic->netdev, id))))
			continue;
		virtio_net_set_link(net->cards[i], up);
		r = 0;
	}
	return r;
}

void launch_net_close(struct launch_net *net)
{
	if (!net)
		return;
	for (size_t i = net->cfg->n_nics; i-- > 0;)
		netdev_close(net->unplugged[i]);
	for (size_t i = net->cfg->n_netdevs; i-- > 0;)
		close_one(&net->cfg->netdevs[i], net->netdevs[i], &net->downs[i]);
	iothread_destroy(net->common);
	free(net);
}

/* ---- cards ---- */

/* The device's switches by the bits of virtio 1.2, 5.1.3. */
static void set_features(struct virtio_net_config *cfg, uint64_t off)
{
	const struct {
		bool *on;
		unsigned bit;
	} switches[] = {
		{ &cfg->csum, 0 },	   { &cfg->guest_csum, 1 },  { &cfg->ctrl_guest_offloads, 2 }, { &cfg->gso, 6 },
		{ &cfg->guest_tso4, 7 },   { &cfg->guest_tso6, 8 },  { &cfg->guest_ecn, 9 },	       { &cfg->guest_ufo, 10 },
		{ &cfg->host_tso4, 11 },   { &cfg->host_tso6, 12 },  { &cfg->host_ecn, 13 },	       { &cfg->host_ufo, 14 },
		{ &cfg->mrg_rxbuf, 15 },   { &cfg->status, 16 },     { &cfg->ctrl_vq, 17 },	       { &cfg->ctrl_rx, 18 },
		{ &cfg->ctrl_vlan, 19 },   { &cfg->ctrl_rx_extra, 20 }, { &cfg->guest_announce, 21 },   { &cfg->mq, 22 },
		{ &cfg->ctrl_mac_addr, 23 }, { &cfg->guest_uso4, 54 }, { &cfg->guest_uso6, 55 },       { &cfg->host_uso, 56 },
		{ &cfg->hash, 57 },	   { &cfg->rss, 60 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(switches); i++)
		*switches[i].on = !(off & BIT64(switches[i].bit));
}

static struct throttle_limit limit(const struct config_net_limits *l, enum config_net_limit i)
{
	return (struct throttle_limit){ .avg = l->avg[i], .max = l->max[i], .max_length = (uint32_t)l->length[i] };
}

static bool has_limits(const struct config_net_limits *l)
{
	for (unsigned i = 0; i < CONFIG_NET_LIMITS; i++)
		if (l->avg[i])
			return true;
	return false;
}

/* What of a back end waits until there is a machine. */
static int finish_netdev(const struct launch_net *net, const struct config_nic *nic, struct netdev *nd, struct machine *machine, struct err *err)
{
	for (size_t i = 0; i < net->cfg->n_netdevs; i++)
		if (net->netdevs[i] == nd && net->cfg->netdevs[i].type == CONFIG_NETDEV_TAP)
			return launch_tap_vhost(&net->cfg->netdevs[i], nd, machine_env(machine)->mem, has_limits(&nic->limits), err);
	return 0;
}

/* On the back end's loop, which may tell of its link at any time: it has no card, or one that is whole. */
struct plug_job {
	struct machine *machine;
	const struct virtio_net_config *cfg;
	const struct virtio_pci_config *pci;
	struct err *err;
	struct virtio_dev *virtio; /* the result; also where it was made and not plugged */
	int ret;                   /* 0 or -errno with `err` */
};

static void plug_on_loop(void *arg)
{
	struct plug_job *job = arg;

	job->virtio = virtio_net_create(machine_env(job->machine), job->cfg->netdev->loop, job->cfg, job->err);
	job->ret = job->virtio ? machine_plug(job->machine, job->virtio, job->pci, job->err) : job->err->code;
}

static int add_nic(struct launch_net *net, size_t i, struct machine *machine, struct err *err)
{
	static const enum virtio_net_duplex duplexes[] = {
		[CONFIG_DUPLEX_UNKNOWN] = VIRTIO_NET_DUPLEX_UNKNOWN,
		[CONFIG_DUPLEX_HALF] = VIRTIO_NET_HALF,
		[CONFIG_DUPLEX_FULL] = VIRTIO_NET_FULL,
	};
	const struct config_nic *nic = &net->cfg->nics[i];
	const struct virtio_pci_config pci = {
		.devfn = nic->pci.addr == CONFIG_ADDR_AUTO ? PCI_ADDR_AUTO : nic->pci.addr,
		.modern_only = nic->pci.modern_only,
		.legacy_only = nic->pci.legacy_only,
		.vectors = nic->pci.vectors,
		.class_code = CLASS_ETHERNET,
	};
	const struct machine_boot boot = { .name = nic->id, .unit = "ethernet-phy@0", .bootindex = nic->bootindex, .romfile = nic->romfile };
	struct netdev *nd = nic->netdev ? launch_net_netdev(net, nic->netdev) : net->unplugged[i];
	struct virtio_net_config cfg;
	struct plug_job job = { .machine = machine, .cfg = &cfg, .pci = &pci, .err = err };

	if (!nd)
		return 0; /* the default one, whose back end is not there */
	if (finish_netdev(net, nic, nd, machine, err) < 0)
		return err->code;
	virtio_net_config_init(&cfg);
	cfg.id = nic->id;
	cfg.netdev = nd;
	memcpy(cfg.mac, nic->mac, sizeof(cfg.mac));
	/* A tap of somebody else's may have fewer. */
	cfg.queues = (unsigned)min_u64(nic->queues, nd->queues);
	cfg.rx_queue_size = (uint16_t)nic->rx_queue_size;
	cfg.tx_queue_size = (uint16_t)nic->tx_queue_size;
	cfg.mtu = (uint16_t)nic->host_mtu;
	cfg.speed = nic->speed;
	cfg.duplex = duplexes[nic->duplex];
	set_features(&cfg, nic->features_off);
	cfg.rx = (struct virtio_net_limits){ .bytes = limit(&nic->limits, CONFIG_RX_BPS), .frames = limit(&nic->limits, CONFIG_RX_PPS) };
	cfg.tx = (struct virtio_net_limits){ .bytes = limit(&nic->limits, CONFIG_TX_BPS), .frames = limit(&nic->limits, CONFIG_TX_PPS) };
	eventloop_call_sync(nd->loop, plug_on_loop, &job);
	net->cards[i] = job.virtio;
	return job.ret < 0 ? job.ret : machine_boot_device(machine, job.virtio, &boot, err);
}

int launch_net_add(struct launch_net *net, struct machine *machine, bool fixed, struct err *err)
{
	for (size_t i = 0; i < net->cfg->n_nics; i++)
		if ((net->cfg->nics[i].pci.addr != CONFIG_ADDR_AUTO) == fixed && add_nic(net, i, machine, err) < 0)
			return err->code;
	return 0;
}
