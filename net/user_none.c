/* SPDX-License-Identifier: MIT */
/* What there is of user mode until its helper is there: a refusal. */
#include <errno.h>

#include "net/user.h"
#include "vmm/err.h"

struct netdev *user_net_open(const struct user_net_config *cfg, struct err *err)
{
	err_set(err, -ENOENT, "netdev '%s': there is no helper for user mode", cfg->id);
	return NULL;
}

int user_net_wait(struct netdev *nd, struct err *err)
{
	(void)nd;
	(void)err;
	return 0;
}
