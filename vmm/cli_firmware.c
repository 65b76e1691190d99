/* SPDX-License-Identifier: MIT */
/* -L, -boot, -fw_cfg: firmware, and what it is told. */
#include <errno.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"

int cli_data_dir(struct cli *cli, const char *arg, struct err *err)
{
	struct vm_config *cfg = cli->cfg;

	if (!*arg)
		return err_set(err, -EINVAL, "-L: expected a directory");
	if (cfg->n_data_dirs == CONFIG_MAX_DATA_DIRS)
		return err_set(err, -E2BIG, "-L: more than %d directories", CONFIG_MAX_DATA_DIRS);
	return cli_set_string(&cfg->data_dirs[cfg->n_data_dirs++], arg, err);
}
