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
	if (cfg->kernel)
		return 0;
	if (cfg->append)
		return err_set(err, -EINVAL, "-append only allowed with -kernel");
	if (cfg->initrd)
		return err_set(err, -EINVAL, "-initrd only allowed with -kernel");
	if (cfg->n_drives)
		return err_set(err, -EINVAL, "there is no firmware yet that boots from a disk: give a kernel with -kernel FILE");
	return err_set(err, -EINVAL, "there is nothing to boot: give a kernel with -kernel FILE, or see -help");
}

/* In the background there is no terminal. */
static int check_daemon(const struct vm_config *cfg, struct err *err)
{
	for (size_t i = 0; cfg->daemonize && i < cfg->n_chardevs; i++)
		if (cfg->chardevs[i].backend == CHARDEV_STDIO)
			return err_set(err, -EINVAL, "-daemonize leaves no terminal for chardev '%s'; give -serial, -qmp and the like something else: "
						     "file:FILE, unix:PATH,server=on, pty or none",
				       cli_show(cfg->chardevs[i].id).s);
	return 0;
}

int cli_finish(struct cli *cli, struct err *err)
{
	struct vm_config *cfg = cli->cfg;

	if (cli_board_finish(cli, err) < 0 || check_boot(cfg, err) < 0 || cli_memory_finish(cli, err) < 0 || cli_smp_finish(cli, err) < 0)
		return err->code;
	if (!cfg->cpu.model && cli_set_string(&cfg->cpu.model, "host", err) < 0)
		return err->code;
	if (cli_graph_finish(cli, err) < 0 || cli_disk_finish(cli, err) < 0)
		return err->code;
	if (cli_balloon_finish(cli, err) < 0 || cli_watchdog_finish(cli, err) < 0)
		return err->code;
	if (cli_pci_finish(cli, err) < 0 || cli_serial_finish(cli, err) < 0)
		return err->code;
	if (cli_virtio_finish(cli, err) < 0 || cli_nic_finish(cli, err) < 0)
		return err->code;
	if (cli_monitor_finish(cli, err) < 0)
		return err->code;
	if (check_daemon(cfg, err) < 0)
		return err->code;
	return cli_board_check(cli, err);
}
