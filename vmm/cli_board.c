/* SPDX-License-Identifier: MIT */
/*
 * What the machine has, once all -machine and -device are known: defaults, and what one board has and the other has not.
 *
 * The defaults of a microvm are QEMU's, but for its clock: without ACPI, which alone can say that there is none, systems look for an
 * MC146818 and wait for it.
 */
#include <errno.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

const char *const cli_names_tristate[] = { "auto", "on", "off", NULL };

/* A pc has all that a microvm may have, and can go without ACPI only. */
static int settle_pc(const struct cli_board *b, struct vm_config *cfg, struct err *err)
{
	const struct {
		const char *key;
		enum config_tristate given;
	} others[] = {
		{ "pic", b->pic }, { "pit", b->pit }, { "rtc", b->rtc }, { "isa-serial", b->serial },
		{ "auto-kernel-cmdline", b->kernel_cmdline },
	};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (others[i].given != CONFIG_AUTO)
			return err_set(err, -EINVAL, "-machine: property '%s' is one of microvm, not of pc; leave it out", others[i].key);
	cfg->board = (struct config_board){ .acpi = b->acpi != CONFIG_OFF, .pic = true, .pit = true, .rtc = true, .serial = true };
	return 0;
}

static void settle_microvm(const struct cli_board *b, struct vm_config *cfg)
{
	bool acpi = b->acpi != CONFIG_OFF;

	cfg->board = (struct config_board){
		.acpi = acpi,
		.pic = b->pic != CONFIG_OFF,
		.pit = b->pit != CONFIG_OFF,
		.rtc = b->rtc == CONFIG_ON || (b->rtc == CONFIG_AUTO && !acpi),
		.serial = b->serial != CONFIG_OFF,
		.kernel_cmdline = b->kernel_cmdline != CONFIG_OFF,
	};
}

int cli_board_finish(struct cli *cli, struct err *err)
{
	cli->cfg->machine = cli->board.type;
	if (cli->board.type == MACHINE_NONE) {
		cli->cfg->board = (struct config_board){ .acpi = false };
		return 0;
	}
	if (cli->board.type == MACHINE_PC)
		return settle_pc(&cli->board, cli->cfg, err);
	settle_microvm(&cli->board, cli->cfg);
	return 0;
}

static bool asks_for_pci(bool modern_only, bool legacy_only, int vectors, int addr)
{
	return modern_only || legacy_only || vectors != -1 || addr != CONFIG_ADDR_AUTO;
}

/* Devices by their short names, virtio-blk, go on either bus, but the properties of one are not those of the other. */
static int check_properties(const struct vm_config *cfg, struct err *err)
{
	const char *name = NULL;

	for (size_t i = 0; i < cfg->n_disks; i++)
		if (asks_for_pci(cfg->disks[i].modern_only, cfg->disks[i].legacy_only, cfg->disks[i].vectors, cfg->disks[i].addr))
			name = cfg->disks[i].id;
	for (size_t i = 0; i < cfg->n_virtio_serials + cfg->n_rngs; i++) {
		bool is_serial = i < cfg->n_virtio_serials;
		const struct config_virtio_rng *rng = is_serial ? NULL : &cfg->rngs[i - cfg->n_virtio_serials];
		const struct config_virtio_pci *pci = is_serial ? &cfg->virtio_serials[i].pci : &rng->pci;

		if (asks_for_pci(pci->modern_only, pci->legacy_only, pci->vectors, pci->addr))
			name = is_serial ? cfg->virtio_serials[i].id : rng->id;
	}
	for (size_t i = 0; i < cfg->n_nics; i++)
		if (asks_for_pci(cfg->nics[i].pci.modern_only, cfg->nics[i].pci.legacy_only, cfg->nics[i].pci.vectors, cfg->nics[i].pci.addr))
			name = cfg->nics[i].id;
	for (size_t i = 0; i < cfg->n_scsis; i++)
		if (asks_for_pci(cfg->scsis[i].pci.modern_only, cfg->scsis[i].pci.legacy_only, cfg->scsis[i].pci.vectors, cfg->scsis[i].pci.addr))
			name = cfg->scsis[i].id;
	if (cfg->has_balloon && asks_for_pci(cfg->balloon.pci.modern_only, cfg->balloon.pci.legacy_only, cfg->balloon.pci.vectors, cfg->balloon.pci.addr))
		name = cfg->balloon.id;
	if (!name)
		return 0;
	return err_set(err, -EINVAL, "device '%s': addr, vectors, disable-legacy and disable-modern are properties of PCI, which the machine "
				     "microvm has not; leave them out", err_show(name).s);
}

static int check_none(const struct vm_config *cfg, struct err *err)
{
	if (config_virtio_devices(cfg) + cfg->n_debug_exits + cfg->n_watchdogs > 0 || cfg->testdev || cfg->pvpanic.used || cfg->pvpanic_pci.used)
		return err_set(err, -EINVAL, "the machine none has no room for devices; leave them out, or use the machine pc");
	return 0;
}

int cli_board_check(const struct cli *cli, struct err *err)
{
	const struct vm_config *cfg = cli->cfg;
	bool pc = cfg->machine == MACHINE_PC;
	const struct cli_twin *wrong = &cli->on_bus[pc ? CLI_BUS_MMIO : CLI_BUS_PCI];

	if (cfg->machine == MACHINE_NONE)
		return check_none(cfg, err);
	if (wrong->name)
		return err_set(err, -EINVAL, "-device %s: the machine %s; use %s", wrong->name,
			       pc ? "pc has its virtio devices on PCI" : "microvm has no PCI bus", wrong->twin);
	if (pc)
		return 0;
	if (config_virtio_devices(cfg) > CONFIG_MAX_VIRTIO_MMIO)
		return err_set(err, -E2BIG, "the machine microvm has room for %d virtio devices, not %zu; leave some out, or use the machine pc",
			       CONFIG_MAX_VIRTIO_MMIO, config_virtio_devices(cfg));
	return check_properties(cfg, err);
}
