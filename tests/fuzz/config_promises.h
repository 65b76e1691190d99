/* SPDX-License-Identifier: MIT */
/*
 * What vmm/config.h promises of a configuration that cli_parse accepted, checked: every number in its range, every name that refers to
 * something found once, and what belongs to one device not another's as well. config_keep_promises aborts with a line that says which one
 * is broken.
 */
#ifndef TESTS_FUZZ_CONFIG_PROMISES_H
#define TESTS_FUZZ_CONFIG_PROMISES_H

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "vmm/config.h"

#define PROMISE_MAX_IDS 512

static void promise(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_options: broken promise: %s\n", what);
	abort();
}

static bool power_of_two(uint64_t v, uint64_t min, uint64_t max)
{
	return v >= min && v <= max && !(v & (v - 1));
}

static bool is_text(const char *s)
{
	return s && *s;
}

/* NULL, which stands for a default, or some text. */
static bool none_or_text(const char *s)
{
	return !s || *s;
}

static size_t strings(const char *s, const char *id)
{
	return s && id && !strcmp(s, id);
}

/* How many of the first `n` elements of an array have that text as their `member`. */
#define COUNT_IDS(array, n, member, id) ({                                   \
	size_t count_ = 0;                                                   \
	for (size_t i_ = 0; i_ < (n); i_++)                                  \
		count_ += strings((array)[i_].member, id);                   \
	count_;                                                              \
})

/* ---- chardevs and their users ---- */

static size_t chardev_users(const struct vm_config *cfg, const char *id)
{
	size_t n = COUNT_IDS(cfg->serials, cfg->n_serials, chardev, id) + COUNT_IDS(cfg->debugcons, cfg->n_debugcons, chardev, id) +
		   COUNT_IDS(cfg->monitors, cfg->n_monitors, chardev, id);

	for (size_t i = 0; i < cfg->n_virtio_serials; i++)
		n += COUNT_IDS(cfg->virtio_serials[i].ports, cfg->virtio_serials[i].n_ports, chardev, id);
	return n;
}

static bool has_chardev(const struct vm_config *cfg, const char *id)
{
	return is_text(id) && COUNT_IDS(cfg->chardevs, cfg->n_chardevs, id, id) == 1;
}

static void promise_chardev(const struct vm_config *cfg, const struct config_chardev *c)
{
	bool socket = c->backend == CHARDEV_SOCKET, inherited = c->fd != CONFIG_NO_FD;

	promise(c->id && *c->id && has_chardev(cfg, c->id), "a chardev's id");
	promise(c->mux || chardev_users(cfg, c->id) <= 1, "one front end of a chardev that is not multiplexed");
	promise(c->backend != CHARDEV_FILE || is_text(c->path), "a file's path");
	promise(socket || (!c->host && !c->port && !inherited && !c->server && !c->reconnect), "what only sockets have");
	promise(!socket || (c->path != NULL) + (c->port != NULL) + inherited == 1, "a socket's address, of one kind");
	promise(!socket || (none_or_text(c->path) && none_or_text(c->port)), "a socket's address");
	promise(!socket || !c->path || strlen(c->path) < sizeof(((struct sockaddr_un *)0)->sun_path), "a socket's path that fits");
	promise(!c->host || c->port, "a host with a port");
	promise(!inherited || c->fd <= INT_MAX, "a descriptor");
	promise(!c->reconnect || (!c->server && !inherited), "clients that connect again");
	promise(!c->wait || c->server, "wait without server");
}

static void promise_chardevs(const struct vm_config *cfg)
{
	unsigned ports = 0, terminals = 0;

	promise(cfg->n_serials <= CONFIG_MAX_SERIALS && cfg->n_chardevs <= CONFIG_MAX_CHARDEVS, "counts");
	promise(cfg->n_monitors <= CONFIG_MAX_MONITORS && cfg->n_debugcons <= CONFIG_MAX_DEBUGCONS, "counts");
	for (size_t i = 0; i < cfg->n_chardevs; i++) {
		promise_chardev(cfg, &cfg->chardevs[i]);
		terminals += cfg->chardevs[i].backend == CHARDEV_STDIO;
	}
	promise(terminals <= 1, "one user of the terminal");
	for (size_t i = 0; i < cfg->n_serials; i++) {
		const struct config_serial *s = &cfg->serials[i];

		promise(s->id && has_chardev(cfg, s->chardev) && s->index < CONFIG_MAX_SERIALS && !(ports & 1u << s->index), "a serial port");
		ports |= 1u << s->index;
	}
	promise(!ports || cfg->board.serial, "a board with serial ports");
	for (size_t i = 0; i < cfg->n_debugcons; i++)
		promise(has_chardev(cfg, cfg->debugcons[i].chardev) && cfg->debugcons[i].iobase, "a debug console");
	for (size_t i = 0; i < cfg->n_monitors; i++)
		promise(has_chardev(cfg, cfg->monitors[i].chardev), "a monitor");
}

/* ---- drives and disks ---- */

static void promise_image(const struct config_image *m, bool may_be_empty, unsigned depth)
{
	if (!m)
		return;
	promise(depth <= 3 * CONFIG_MAX_DRIVES, "images on top of each other end");
	promise(m->path ? *m->path != '\0' : may_be_empty, "an image's file");
	promise(m->cache <= CONFIG_CACHE_UNSAFE, "an image's cache mode");
	promise(!m->qcow2.cache_size || (m->qcow2.l2_cache_size <= m->qcow2.cache_size && m->qcow2.refcount_cache_size <= m->qcow2.cache_size),
		"caches that fit");
	promise(m->qcow2.lazy_refcounts <= CONFIG_OFF, "a tristate");
	promise(!m->data_file || strings(m->data_file->format, "raw"), "a raw data file");
	promise(!m->no_backing || !m->backing, "a backing file or none");
	promise_image(m->backing, false, depth + 1);
	promise_image(m->data_file, false, depth + 1);
}

static void promise_throttle(const struct config_throttle *t)
{
	promise(none_or_text(t->group), "a group's name");
	for (unsigned n = 0; n < CONFIG_LIMITS; n++) {
		promise(!t->max[n] || (t->avg[n] && t->max[n] >= t->avg[n]), "a burst above its limit");
		promise(!t->length[n] || t->max[n], "a burst's length without one");
	}
	promise(!t->iops_size || t->avg[CONFIG_IOPS_TOTAL] || t->avg[CONFIG_IOPS_READ] || t->avg[CONFIG_IOPS_WRITE], "a size of operations");
}

static bool has_iothread(const struct vm_config *cfg, const char *id)
{
	return !id || COUNT_IDS(cfg->iothreads, cfg->n_iothreads, id, id) == 1;
}

static size_t drive_users(const struct vm_config *cfg, const char *id)
{
	return COUNT_IDS(cfg->disks, cfg->n_disks, drive, id) + COUNT_IDS(cfg->scsi_units, cfg->n_scsi_units, drive, id);
}

static const struct config_drive *drive_of(const struct vm_config *cfg, const char *id)
{
	promise(COUNT_IDS(cfg->drives, cfg->n_drives, id, id) == 1, "one drive of a name");
	promise(drive_users(cfg, id) == 1, "one user of a drive");
	for (size_t i = 0;; i++)
		if (!strcmp(cfg->drives[i].id, id))
			return &cfg->drives[i];
}

static void promise_drives(const struct vm_config *cfg)
{
	promise(cfg->n_drives <= CONFIG_MAX_DRIVES && cfg->n_disks <= CONFIG_MAX_DISKS && cfg->n_iothreads <= CONFIG_MAX_IOTHREADS, "counts");
	promise(cfg->n_throttle_groups <= CONFIG_MAX_THROTTLE_GROUPS, "counts");
	for (size_t i = 0; i < cfg->n_drives; i++) {
		const struct config_drive *d = &cfg->drives[i];

		promise(is_text(d->id) && COUNT_IDS(cfg->drives, cfg->n_drives, id, d->id) == 1, "a drive's id");
		promise_image(&d->image, true, 0);
		promise_throttle(&d->throttle);
	}
	for (size_t i = 0; i < cfg->n_throttle_groups; i++) {
		const char *group = cfg->throttle_groups[i].group;

		promise(group && COUNT_IDS(cfg->throttle_groups, cfg->n_throttle_groups, group, group) == 1, "a throttle group");
		promise_throttle(&cfg->throttle_groups[i]);
	}
	for (size_t i = 0; i < cfg->n_iothreads; i++)
		promise(has_iothread(cfg, cfg->iothreads[i].id) && cfg->iothreads[i].poll_max_ns <= IOTHREAD_POLL_NS_MAX, "an iothread");
}

static void promise_blocks(uint64_t logical, uint64_t physical)
{
	promise(!logical || power_of_two(logical, 512, 2 << 20), "a disk's logical block");
	promise(!physical || power_of_two(physical, 512, 2 << 20), "a disk's physical block");
	promise(!logical || !physical || logical <= physical, "a logical block within a physical one");
}

static void promise_pci(const struct vm_config *cfg, bool modern, bool legacy, int vectors, int addr)
{
	promise(!modern || !legacy, "an interface that is left");
	promise(vectors >= -1 && vectors <= 2048, "a function's vectors");
	promise(addr == CONFIG_ADDR_AUTO || (addr >= 0 && addr < 256), "a function's address");
	promise(cfg->machine == MACHINE_PC || (!modern && !legacy && vectors == -1 && addr == CONFIG_ADDR_AUTO), "no PCI without a bus");
}

static void promise_errors(enum config_on_error rerror, enum config_on_error werror)
{
	promise(rerror <= CONFIG_ERROR_STOP && rerror != CONFIG_ERROR_ENOSPC && werror <= CONFIG_ERROR_STOP, "what errors do");
}

static void promise_disk(const struct vm_config *cfg, const struct config_disk *k)
{
	promise(is_text(drive_of(cfg, k->drive)->image.path), "a disk's file");
	promise(has_iothread(cfg, k->iothread), "a disk's thread");
	promise(k->queues >= 1 && power_of_two(k->queue_size, 2, 1024), "a disk's queues");
	promise(!k->serial || strlen(k->serial) <= CONFIG_MAX_SERIAL_NUMBER, "a disk's serial number");
	promise_blocks(k->logical_block, k->physical_block);
	promise_errors(k->rerror, k->werror);
	promise(k->write_cache <= CONFIG_OFF && k->bootindex >= -1, "a disk's cache and place");
	promise_pci(cfg, k->modern_only, k->legacy_only, k->vectors, k->addr);
}

/* ---- SCSI ---- */

static void promise_unit(const struct vm_config *cfg, const struct config_scsi_unit *u)
{
	const struct config_drive *drive = drive_of(cfg, u->drive);

	promise(u->scsi < cfg->n_scsis && u->target <= 255 && u->lun <= 16383, "a unit's place");
	for (size_t i = 0; i < cfg->n_scsi_units; i++) {
		const struct config_scsi_unit *other = &cfg->scsi_units[i];

		promise(other == u || other->scsi != u->scsi || other->target != u->target || other->lun != u->lun, "one unit in a place");
	}
	promise(u->cd ? drive->image.read_only : drive->image.path != NULL, "a unit's medium");
	promise(!u->cd || !drive->image.path || drive->image.format, "a CD's format");
	promise(!u->serial || strlen(u->serial) <= 36, "a unit's serial number");
	promise(!u->vendor || strlen(u->vendor) <= 8, "a unit's vendor");
	promise(!u->product || strlen(u->product) <= 16, "a unit's product");
	promise(!u->version || strlen(u->version) <= 4, "a unit's version");
	promise(u->rotation_rate <= UINT16_MAX && u->write_cache <= CONFIG_OFF && u->bootindex >= -1, "a unit");
	promise_blocks(u->logical_block, u->physical_block);
	promise_errors(u->rerror, u->werror);
}

static void promise_scsi(const struct vm_config *cfg)
{
	promise(cfg->n_scsis <= CONFIG_MAX_SCSIS && cfg->n_scsi_units <= CONFIG_MAX_SCSI_UNITS, "counts");
	for (size_t i = 0; i < cfg->n_scsis; i++) {
		const struct config_scsi *s = &cfg->scsis[i];

		promise(has_iothread(cfg, s->iothread) && s->queues >= 1 && power_of_two(s->queue_size, 4, 1024), "an adapter's queues");
		promise(s->max_sectors && s->max_sectors <= UINT32_MAX && s->cmd_per_lun && s->cmd_per_lun <= UINT32_MAX, "an adapter's limits");
		promise_pci(cfg, s->pci.modern_only, s->pci.legacy_only, s->pci.vectors, s->pci.addr);
	}
	for (size_t i = 0; i < cfg->n_scsi_units; i++)
		promise_unit(cfg, &cfg->scsi_units[i]);
}

/* ---- virtio-serial and virtio-rng ---- */

static void promise_ports(const struct vm_config *cfg, const struct config_virtio_serial *s)
{
	uint32_t taken = 0;

	promise(s->max_ports >= 1 && s->max_ports <= CONFIG_MAX_VPORTS && s->n_ports <= s->max_ports, "how many ports");
	for (size_t i = 0; i < s->n_ports; i++) {
		const struct config_vport *p = &s->ports[i];

		promise(p->nr < s->max_ports && !(taken & UINT32_C(1) << p->nr), "a port's number");
		promise(p->nr || p->console, "port 0 a console");
		promise(!p->chardev || has_chardev(cfg, p->chardev), "a port's chardev");
		promise(!p->name || (strlen(p->name) <= 255 && COUNT_IDS(s->ports, s->n_ports, name, p->name) == 1), "a port's name");
		taken |= UINT32_C(1) << p->nr;
	}
}

static void promise_virtio(const struct vm_config *cfg)
{
	promise(cfg->n_virtio_serials <= CONFIG_MAX_VIRTIO_SERIALS && cfg->n_rngs <= CONFIG_MAX_RNGS && cfg->n_rng_sources <= CONFIG_MAX_RNGS,
		"counts");
	for (size_t i = 0; i < cfg->n_virtio_serials; i++) {
		const struct config_virtio_pci *pci = &cfg->virtio_serials[i].pci;

		promise_ports(cfg, &cfg->virtio_serials[i]);
		promise_pci(cfg, pci->modern_only, pci->legacy_only, pci->vectors, pci->addr);
	}
	for (size_t i = 0; i < cfg->n_rng_sources; i++)
		promise(is_text(cfg->rng_sources[i].id) && none_or_text(cfg->rng_sources[i].filename), "a source of random numbers");
	for (size_t i = 0; i < cfg->n_rngs; i++) {
		const struct config_virtio_rng *r = &cfg->rngs[i];

		promise(!r->source || COUNT_IDS(cfg->rng_sources, cfg->n_rng_sources, id, r->source) == 1, "an rng's source");
		promise(r->max_bytes && r->period_ms, "an rng's limit");
		promise_pci(cfg, r->pci.modern_only, r->pci.legacy_only, r->pci.vectors, r->pci.addr);
	}
	promise(cfg->machine == MACHINE_PC || config_virtio_devices(cfg) <= CONFIG_MAX_VIRTIO_MMIO, "transports of a microvm");
}

/* ---- network ---- */

static void promise_address(const struct config_net_addr *a)
{
	switch (a->type) {
	case CONFIG_NET_NONE:
		return;
	case CONFIG_NET_INET:
		promise(a->host && is_text(a->port) && !a->path && !(a->ipv4 && a->ipv6), "an Internet address");
		return;
	case CONFIG_NET_UNIX:
		promise(is_text(a->path) && strlen(a->path) < sizeof(((struct sockaddr_un *)0)->sun_path) && !a->host, "a socket's path");
		return;
	case CONFIG_NET_FD:
		promise(a->fd >= 0 && !a->host && !a->path, "a socket's descriptor");
		return;
	}
	promise(false, "a kind of address");
}

static void promise_tap(const struct config_tap *t)
{
	promise(t->queues >= 1 && t->queues <= CONFIG_MAX_NET_QUEUES, "a tap's queues");
	promise(!t->n_fds || t->n_fds == t->queues, "a tap's descriptors");
	promise(!t->n_vhost_fds || (t->n_vhost_fds == t->queues && t->vhost), "vhost's descriptors");
	promise(!t->vhost_force || t->vhost, "vhost");
	for (unsigned i = 0; i < t->n_fds; i++)
		promise(t->fds[i] >= 0, "a tap's descriptor");
	promise(!t->n_fds || (!t->bridge && !t->ifname), "a tap that is opened once");
	promise(!t->helper || t->bridge, "a helper's bridge");
	promise((!t->script && !t->downscript) || (!t->n_fds && !t->bridge), "scripts for a tap of ours");
	promise(none_or_text(t->ifname) && none_or_text(t->bridge) && none_or_text(t->script) && none_or_text(t->helper), "a tap's names");
	promise(t->vnet_hdr <= CONFIG_OFF && t->sndbuf <= INT_MAX, "a tap");
}

static void promise_user(const struct config_user_net *u)
{
	const char *const texts[] = { u->net, u->host, u->dns, u->dhcpstart, u->hostname, u->domainname, u->tftp, u->bootfile,
				      u->tftp_server_name, u->ipv6_net, u->ipv6_host, u->ipv6_dns, u->helper, u->metadata };
	const struct strv *const lists[] = { &u->dnssearch, &u->hostfwd, &u->guestfwd };

	promise(u->ipv4 || u->ipv6, "a protocol that is left");
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		promise(none_or_text(texts[i]), "a text of a user network");
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		for (size_t j = 0; j < lists[i]->n; j++)
			promise(is_text(lists[i]->v[j]), "a rule of a user network");
}

static void promise_netdev(const struct config_netdev *n)
{
	const struct config_net_addr *local = &n->dgram.local, *remote = &n->dgram.remote;

	switch (n->type) {
	case CONFIG_NETDEV_TAP:
		promise_tap(&n->tap);
		return;
	case CONFIG_NETDEV_USER:
		promise_user(&n->user);
		return;
	case CONFIG_NETDEV_STREAM:
		promise_address(&n->stream.addr);
		promise(n->stream.addr.type != CONFIG_NET_NONE, "a stream's address");
		promise(!n->stream.reconnect_ms || (!n->stream.server && n->stream.addr.type != CONFIG_NET_FD), "clients that connect again");
		return;
	case CONFIG_NETDEV_DGRAM:
		promise_address(local);
		promise_address(remote);
		promise(local->type == CONFIG_NET_FD || remote->type != CONFIG_NET_NONE, "the other side of datagrams");
		promise(remote->type != CONFIG_NET_FD && (remote->type != CONFIG_NET_UNIX || local->type == CONFIG_NET_UNIX), "two sides");
		return;
	}
	promise(false, "a kind of network");
}

static void promise_nic(const struct vm_config *cfg, const struct config_nic *nic)
{
	const struct config_netdev *netdev = NULL;

	for (size_t i = 0; i < cfg->n_netdevs; i++)
		if (strings(cfg->netdevs[i].id, nic->netdev))
			netdev = &cfg->netdevs[i];
	promise(!nic->netdev || (netdev && COUNT_IDS(cfg->nics, cfg->n_nics, netdev, nic->netdev) == 1), "a card's back end, which is its own");
	promise(has_iothread(cfg, nic->iothread), "a card's thread");
	promise(!(nic->mac[0] & 1) && memcmp(nic->mac, (uint8_t[6]){ 0 }, 6), "a card's address");
	promise(nic->queues >= 1 && nic->queues <= CONFIG_MAX_NET_QUEUES, "a card's queues");
	promise(nic->queues == 1 || (netdev && netdev->type == CONFIG_NETDEV_TAP && netdev->tap.queues == nic->queues), "queues of the back end");
	promise(nic->queues > 1 || (nic->features_off & UINT64_C(1) << 22), "no MQ with one queue");
	promise(power_of_two(nic->rx_queue_size, 64, 1024) && power_of_two(nic->tx_queue_size, 64, 1024), "a card's rings");
	promise(!nic->host_mtu || (nic->host_mtu >= 68 && nic->host_mtu <= 65535), "a card's MTU");
	promise(nic->duplex <= CONFIG_DUPLEX_FULL && nic->bootindex >= -1, "a card");
	for (unsigned i = 0; i < CONFIG_NET_LIMITS; i++)
		promise((!nic->limits.max[i] || (nic->limits.avg[i] && nic->limits.max[i] >= nic->limits.avg[i])) &&
				(!nic->limits.length[i] || nic->limits.max[i]),
			"a card's limits");
	promise_pci(cfg, nic->pci.modern_only, nic->pci.legacy_only, nic->pci.vectors, nic->pci.addr);
}

static void promise_network(const struct vm_config *cfg)
{
	promise(cfg->n_netdevs <= CONFIG_MAX_NETDEVS && cfg->n_nics <= CONFIG_MAX_NICS, "counts");
	for (size_t i = 0; i < cfg->n_netdevs; i++) {
		promise(is_text(cfg->netdevs[i].id) && COUNT_IDS(cfg->netdevs, cfg->n_netdevs, id, cfg->netdevs[i].id) == 1, "a back end's id");
		promise_netdev(&cfg->netdevs[i]);
	}
	for (size_t i = 0; i < cfg->n_nics; i++)
		promise_nic(cfg, &cfg->nics[i]);
}

/* ---- what firmware is told ---- */

static void promise_order(uint16_t order)
{
	for (; order; order >>= 4)
		promise((order & 15) >= 1 && (order & 15) <= 4, "a boot order");
}

static void promise_firmware(const struct vm_config *cfg)
{
	const struct config_smbios *smbios = &cfg->smbios;

	promise(cfg->n_data_dirs <= CONFIG_MAX_DATA_DIRS && cfg->n_fw_cfg <= CONFIG_MAX_FW_CFG, "counts");
	promise(smbios->n_oem <= CONFIG_MAX_OEM_STRINGS && smbios->n_files <= CONFIG_MAX_SMBIOS_FILES, "counts");
	promise(cfg->boot.order && cfg->boot.order <= 0x444 && cfg->boot.once <= 0x444, "boot orders");
	promise_order(cfg->boot.order);
	promise_order(cfg->boot.once);
	promise(cfg->boot.splash_time >= -1 && cfg->boot.splash_time <= 0xffff, "a splash time");
	promise(cfg->boot.reboot_timeout >= -1 && cfg->boot.reboot_timeout <= 0xffff, "a time until another try");
	for (size_t i = 0; i < cfg->n_data_dirs; i++)
		promise(is_text(cfg->data_dirs[i]), "a directory of firmware");
	for (size_t i = 0; i < cfg->n_fw_cfg; i++) {
		const struct config_fw_cfg *f = &cfg->fw_cfg[i];

		promise(is_text(f->name) && strlen(f->name) <= 55 && COUNT_IDS(cfg->fw_cfg, cfg->n_fw_cfg, name, f->name) == 1, "a name of fw_cfg");
		promise(!f->file != !f->string && none_or_text(f->file), "an item of fw_cfg");
	}
	for (size_t i = 0; i < smbios->n_oem; i++)
		promise(!smbios->oem[i].text != !smbios->oem[i].path, "an OEM string");
	for (size_t i = 0; i < smbios->n_files; i++)
		promise(is_text(smbios->files[i]), "a file of SMBIOS");
}

/* ---- across devices ---- */

struct promised {
	const char *ids[PROMISE_MAX_IDS];
	int boot[PROMISE_MAX_IDS];
	size_t n;
};

static void promise_device(struct promised *all, const char *id, int bootindex)
{
	promise(is_text(id), "a device's id");
	for (size_t i = 0; i < all->n; i++)
		promise(strcmp(all->ids[i], id) && (bootindex < 0 || all->boot[i] != bootindex), "one device of a name and of a bootindex");
	promise(all->n < PROMISE_MAX_IDS, "how many devices");
	all->ids[all->n] = id;
	all->boot[all->n++] = bootindex;
}

static void promise_names(const struct vm_config *cfg)
{
	struct promised all = { .n = 0 };

	for (size_t i = 0; i < cfg->n_serials; i++)
		promise_device(&all, cfg->serials[i].id, -1);
	for (size_t i = 0; i < cfg->n_disks; i++)
		promise_device(&all, cfg->disks[i].id, cfg->disks[i].bootindex);
	for (size_t i = 0; i < cfg->n_scsis; i++)
		promise_device(&all, cfg->scsis[i].id, -1);
	for (size_t i = 0; i < cfg->n_scsi_units; i++)
		promise_device(&all, cfg->scsi_units[i].id, cfg->scsi_units[i].bootindex);
	for (size_t i = 0; i < cfg->n_nics; i++)
		promise_device(&all, cfg->nics[i].id, cfg->nics[i].bootindex);
	for (size_t i = 0; i < cfg->n_virtio_serials; i++)
		promise_device(&all, cfg->virtio_serials[i].id, -1);
	for (size_t i = 0; i < cfg->n_rngs; i++)
		promise_device(&all, cfg->rngs[i].id, -1);
}

static void promise_sandbox(const struct vm_config *cfg)
{
	const struct config_sandbox *s = &cfg->sandbox;
	bool moves = cfg->run_as || cfg->chroot_dir;

	promise(none_or_text(cfg->run_as) && none_or_text(cfg->chroot_dir), "a user, a directory");
	promise(s->on || !moves, "a sandbox that is on for -runas and -chroot");
	promise(!s->on || !s->namespaces || (!moves && !config_reconnects(cfg)), "namespaces without what is out of their reach");
	for (size_t i = 0; i < s->files.n; i++)
		promise(is_text(s->files.v[i]), "directories with names");
}

static void promise_machine(const struct vm_config *cfg)
{
	const struct config_smp *smp = &cfg->smp;
	const struct config_board *b = &cfg->board;

	promise(none_or_text(cfg->kernel), "a kernel, or the firmware's disks");
	promise(cfg->kernel ? !cfg->bios : !cfg->append && !cfg->initrd && cfg->machine != MACHINE_MICROVM, "what is started");
	promise(cfg->machine != MACHINE_PC || (b->pic && b->pit && b->rtc && b->serial && !b->kernel_cmdline), "a pc's board");
	promise(cfg->ram_size >= CONFIG_MIN_RAM && cfg->ram_size <= CONFIG_MAX_RAM && cfg->ram_size % 8192 == 0, "ram_size");
	promise(smp->cpus >= 1 && smp->cpus <= CONFIG_MAX_CPUS, "cpus");
	promise(smp->cpus == smp->sockets * smp->cores * smp->threads, "topology");
	promise(strings(cfg->cpu.model, "host") || strings(cfg->cpu.model, "max"), "cpu model");
	promise(cfg->cpu.n_features <= CONFIG_MAX_CPU_FEATURES && cfg->n_debug_exits <= CONFIG_MAX_DEBUG_EXITS, "counts");
	for (size_t i = 0; i < cfg->cpu.n_features; i++)
		promise(is_text(cfg->cpu.features[i].name), "a feature's name");
	for (size_t i = 0; i < cfg->n_debug_exits; i++)
		promise(cfg->debug_exits[i].iosize >= 1 && cfg->debug_exits[i].iobase + cfg->debug_exits[i].iosize <= 0x10000, "debug exit");
	promise(cfg->rtc_base <= RTC_BASE_DATE, "the clock's base");
}

static void config_keep_promises(const struct vm_config *cfg)
{
	promise_machine(cfg);
	promise_sandbox(cfg);
	promise_chardevs(cfg);
	promise_drives(cfg);
	for (size_t i = 0; i < cfg->n_disks; i++)
		promise_disk(cfg, &cfg->disks[i]);
	promise_scsi(cfg);
	promise_virtio(cfg);
	promise_network(cfg);
	promise_firmware(cfg);
	promise_names(cfg);
}

#endif
