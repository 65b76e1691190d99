/* SPDX-License-Identifier: MIT */
/* What is left when the last option is read: defaults, and checks across options. */
#include <errno.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"

static int check_boot(const struct vm_config *cfg, struct err *err)
{
	if (cfg->machine == MACHINE_NONE && !cfg->kernel)
		return 0;
	if (cfg->machine == MACHINE_NONE)
		return err_set(err, -EINVAL, "the machine none runs nothing: leave -kernel out, or use the machine pc");
	if (cfg->kernel && cfg->bios)
		return err_set(err, -EINVAL, "-bios: a kernel given with -kernel is entered directly, without firmware; leave one of them out");
	if (cfg->kernel)
		return 0;
	if (cfg->append)
		return err_set(err, -EINVAL, "-append only allowed with -kernel");
	if (cfg->initrd)
		return err_set(err, -EINVAL, "-initrd only allowed with -kernel");
	if (cfg->machine == MACHINE_MICROVM)
		return err_set(err, -EINVAL, "a microvm has no firmware that boots from a disk: give a kernel with -kernel FILE, or use -machine pc");
	return 0;
}

int cli_finish(struct cli *cli, struct err *err)
{
	struct vm_config *cfg = cli->cfg;

	if (cli_board_finish(cli, err) < 0 || check_boot(cfg, err) < 0 || cli_memory_finish(cli, err) < 0 || cli_smp_finish(cli, err) < 0)
		return err->code;
	if (!cfg->cpu.model && cli_set_string(&cfg->cpu.model, "host", err) < 0)
		return err->code;
	if (cli_graph_finish(cli, err) < 0 || cli_disk_finish(cli, err) < 0 || cli_scsi_finish(cli, err) < 0)
		return err->code;
	if (cli_balloon_finish(cli, err) < 0 || cli_watchdog_finish(cli, err) < 0)
		return err->code;
	if (cli_pci_finish(cli, err) < 0 || cli_serial_finish(cli, err) < 0)
		return err->code;
	if (cli_virtio_finish(cli, err) < 0 || cli_nic_finish(cli, err) < 0 || cli_debugcon_finish(cli, err) < 0)
		return err->code;
	if (config_check_monitors(cfg, err) < 0 || config_check_daemon(cfg, err) < 0 || config_check_sandbox(cfg, err) < 0)
		return err->code;
	return cli_board_check(cli, err);
}
