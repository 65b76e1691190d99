/* SPDX-License-Identifier: MIT */
/* -add-fd: a descriptor that Kite was started with, for the name /dev/fdset/N. */
#include <errno.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"

static const struct prop_row add_fd_rows[] = {
	{ .key = "fd", .type = PROP_UNSIGNED, .offset = offsetof(struct config_fd, fd), .min = 3, .max = INT32_MAX, .required = true },
	{ .key = "set", .type = PROP_UNSIGNED, .offset = offsetof(struct config_fd, set), .max = INT32_MAX, .required = true },
	{ .key = "opaque", .type = PROP_STRING, .offset = offsetof(struct config_fd, opaque) },
	{ .key = NULL },
};
static const struct prop_table add_fd_props = { .rows = add_fd_rows };

int cli_add_fd(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-add-fd", .notes = &cli->notes, .err = err };
	struct vm_config *cfg = cli->cfg;

	if (cfg->n_fds == CONFIG_MAX_FDS)
		return err_set(err, -E2BIG, "-add-fd: more than %d descriptors", CONFIG_MAX_FDS);
	/* Counted before it is filled, so that config_fini frees it whatever happens. */
	return props_parse(arg, &add_fd_props, &cfg->fds[cfg->n_fds++], &ctx);
}
