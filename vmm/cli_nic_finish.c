/* SPDX-License-Identifier: MIT */
/* Network cards once all options are known: the default one, back ends, names, threads and addresses. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define BIT_MQ 22 /* VIRTIO_NET_F_MQ */

/* A card of -net nic and the back end of -net belong to each other. */
static int join_hub(struct cli *cli, struct err *err)
{
	struct vm_config *cfg = cli->cfg;
	unsigned n = 0;

	for (size_t i = 0; i < cfg->n_nics; i++) {
		if (!cli->nics[i].hub)
			continue;
		if (n++ && cli->hub)
			return err_set(err, -EINVAL, "-net nic: a second card for one back end: Kite has no hubs; give each its own with -nic TYPE, or with "
						     "-netdev");
		if (cli->hub && cli_set_string(&cfg->nics[i].netdev, cli->hub, err) < 0)
			return err->code;
	}
	if (cli->hub && n == 0)
		return err_set(err, -EINVAL, "-net: a back end without a card; add -net nic, or give -nic TYPE instead");
	return 0;
}

static int check_netdev(struct cli *cli, size_t i, struct err *err)
{
	struct vm_config *cfg = cli->cfg;
	struct config_nic *nic = &cfg->nics[i];
	const struct config_netdev *netdev = nic->netdev ? cli_netdev_find(cli, nic->netdev) : NULL;

	if (nic->netdev && !netdev)
		return err_set(err, -ENOENT, "network card '%s' names netdev '%s', which is not defined; add -netdev TYPE,id=%s",
			       err_show(nic->id).s, err_show(nic->netdev).s, err_show(nic->netdev).s);
	for (size_t j = 0; netdev && j < i; j++)
		if (cfg->nics[j].netdev && !strcmp(cfg->nics[j].netdev, nic->netdev))
			return err_set(err, -EBUSY, "netdev '%s' is used by two network cards, '%s' and '%s'; give each its own",
				       err_show(nic->netdev).s, err_show(cfg->nics[j].id).s, err_show(nic->id).s);
	/* A card has the queues of its back end: as QEMU, but for mq, which is on where there are several. */
	nic->queues = netdev && netdev->type == CONFIG_NETDEV_TAP && !(nic->features_off & BIT64(BIT_MQ)) ? netdev->tap.queues : 1;
	if (nic->queues == 1)
		nic->features_off |= BIT64(BIT_MQ);
	return 0;
}

/* The disk, or one of the first n_nics cards, with that bootindex; NULL: none. */
static const char *booted_at(const struct vm_config *cfg, int bootindex, size_t n_nics)
{
	for (size_t i = 0; i < cfg->n_disks; i++)
		if (cfg->disks[i].bootindex == bootindex)
			return cfg->disks[i].id;
	for (size_t i = 0; i < cfg->n_scsi_units; i++)
		if (cfg->scsi_units[i].bootindex == bootindex)
			return cfg->scsi_units[i].id;
	for (size_t i = 0; i < n_nics; i++)
		if (cfg->nics[i].bootindex == bootindex)
			return cfg->nics[i].id;
	return NULL;
}

static int check_rest(const struct vm_config *cfg, size_t i, struct err *err)
{
	const struct config_nic *nic = &cfg->nics[i];
	const char *other;
	bool found = !nic->iothread;

	for (size_t j = 0; j < cfg->n_iothreads && !found; j++)
		found = !strcmp(cfg->iothreads[j].id, nic->iothread);
	if (!found)
		return err_set(err, -ENOENT, "network card '%s' names iothread '%s', which is not defined; add -object iothread,id=%s",
			       err_show(nic->id).s, err_show(nic->iothread).s, err_show(nic->iothread).s);
	other = nic->bootindex >= 0 ? booted_at(cfg, nic->bootindex, i) : NULL;
	if (other)
		return err_set(err, -EBUSY, "'%s' and '%s' have the same bootindex, %d; give one of them another", err_show(other).s,
			       err_show(nic->id).s, nic->bootindex);
	return 0;
}

/* The first name of the kind that nobody has. */
static int settle_id(struct cli *cli, struct config_nic *nic, struct err *err)
{
	char name[32];

	for (unsigned n = 0; !nic->id; n++) {
		snprintf(name, sizeof(name), "virtio-net%u", n);
		if (strv_has(&cli->device_ids, name))
			continue;
		if (strv_add(&cli->device_ids, name, err) < 0 || cli_set_string(&nic->id, name, err) < 0)
			return err->code;
	}
	return 0;
}

static bool mac_taken(const struct cli *cli, size_t self, const uint8_t mac[6])
{
	for (size_t i = 0; i < cli->cfg->n_nics; i++)
		if ((i < self || cli->nics[i].mac_set) && i != self && !memcmp(cli->cfg->nics[i].mac, mac, 6))
			return true;
	return false;
}

/* FNV-1a: the same for the same machine and card on every host and in every version. */
static uint32_t hash(const uint8_t *data, size_t n, uint32_t h)
{
	while (n--)
		h = (h ^ *data++) * UINT32_C(16777619);
	return h;
}

/*
 * The address of a card that was given none. Machines with a UUID have one that follows from it and the card's place among the cards, so
 * that many on one network differ and a restart changes nothing; others QEMU's, 52:54:00:12:34:56 and up.
 */
static void settle_mac(const struct cli *cli, size_t i)
{
	const struct vm_config *cfg = cli->cfg;
	uint32_t tail = UINT32_C(0x123456);
	uint8_t place = (uint8_t)i, *mac = cli->cfg->nics[i].mac;

	if (cfg->uuid_set)
		tail = hash(&place, 1, hash(cfg->uuid, sizeof(cfg->uuid), UINT32_C(2166136261)));
	for (;; tail++) {
		const uint8_t candidate[6] = { 0x52, 0x54, 0x00, (uint8_t)(tail >> 16), (uint8_t)(tail >> 8), (uint8_t)tail };

		if (mac_taken(cli, i, candidate))
			continue;
		memcpy(mac, candidate, sizeof(candidate));
		return;
	}
}

int cli_nic_finish(struct cli *cli, struct err *err)
{
	struct vm_config *cfg = cli->cfg;

	/* As QEMU's: a pc has a network unless told otherwise, and a microvm has what it is told. */
	if (!cfg->nodefaults && !cli->net_given && cfg->machine == MACHINE_PC && cli_nic_add_default(cli, err) < 0)
		return err->code;
	if (join_hub(cli, err) < 0)
		return err->code;
	for (size_t i = 0; i < cfg->n_nics; i++)
		if (settle_id(cli, &cfg->nics[i], err) < 0 || check_netdev(cli, i, err) < 0 || check_rest(cfg, i, err) < 0)
			return err->code;
	for (size_t i = 0; i < cfg->n_nics; i++)
		if (!cli->nics[i].mac_set)
			settle_mac(cli, i);
	return 0;
}
