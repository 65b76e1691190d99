/* SPDX-License-Identifier: MIT */
/*
 * Limits of drives, and -object throttle-group: limits with a name, which -blockdev driver=throttle and -drive throttling.group= refer to.
 *
 * A limit of the object has two names, as in QEMU: x-iops-total, and iops-total in the object `limits`.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

static const char *const limit_names[CONFIG_LIMITS] = { "bps-total", "bps-read", "bps-write", "iops-total", "iops-read", "iops-write" };

struct group_opts {
	char *id;
	struct config_throttle throttle;
};

#define LIMIT(n, i)                                                              \
	CLI_LIMIT_ROWS(struct group_opts, throttle, "x-" n, "-", i),             \
	CLI_LIMIT_ROWS(struct group_opts, throttle, "limits." n, "-", i)
#define IOPS_SIZE(n) { .key = n, .type = PROP_SIZE, .offset = offsetof(struct group_opts, throttle.iops_size), .max = CLI_LIMIT_MAX }

static const struct prop_row group_rows[] = {
	{ .key = "id", .type = PROP_STRING, .offset = offsetof(struct group_opts, id), .required = true },
	LIMIT("bps-total", CONFIG_BPS_TOTAL),
	LIMIT("bps-read", CONFIG_BPS_READ),
	LIMIT("bps-write", CONFIG_BPS_WRITE),
	LIMIT("iops-total", CONFIG_IOPS_TOTAL),
	LIMIT("iops-read", CONFIG_IOPS_READ),
	LIMIT("iops-write", CONFIG_IOPS_WRITE),
	IOPS_SIZE("x-iops-size"),
	IOPS_SIZE("limits.iops-size"),
	{ .key = NULL },
};
static const struct prop_table group_props = { .rows = group_rows };

int cli_throttle_check(const struct config_throttle *t, const char *prefix, const struct prop_ctx *ctx)
{
	for (unsigned i = 0; i < CONFIG_LIMITS; i++) {
		const char *name = limit_names[i];
		unsigned total = i < CONFIG_IOPS_TOTAL ? CONFIG_BPS_TOTAL : CONFIG_IOPS_TOTAL;

		if (i != total && ((t->avg[i] && t->avg[total]) || (t->max[i] && t->max[total])))
			return err_set(ctx->err, -EINVAL, "%s: %s%s and %s%s cannot both be given", ctx->what, prefix, limit_names[total], prefix,
				       name);
		if (t->max[i] && !t->avg[i])
			return err_set(ctx->err, -EINVAL, "%s: %s%s-max needs %s%s", ctx->what, prefix, name, prefix, name);
		if (t->max[i] && t->max[i] < t->avg[i])
			return err_set(ctx->err, -EINVAL, "%s: %s%s-max is %" PRIu64 ", less than %s%s, %" PRIu64, ctx->what, prefix, name,
				       t->max[i], prefix, name, t->avg[i]);
		if (t->length[i] && !t->max[i])
			return err_set(ctx->err, -EINVAL, "%s: %s%s-max-length needs %s%s-max", ctx->what, prefix, name, prefix, name);
	}
	if (t->iops_size && !t->avg[CONFIG_IOPS_TOTAL] && !t->avg[CONFIG_IOPS_READ] && !t->avg[CONFIG_IOPS_WRITE])
		return err_set(ctx->err, -EINVAL, "%s: %siops-size needs %siops-total, %siops-read or %siops-write", ctx->what, prefix, prefix,
			       prefix, prefix);
	return 0;
}

bool cli_throttle_group_exists(const struct cli *cli, const char *id)
{
	for (size_t i = 0; i < cli->cfg->n_throttle_groups; i++)
		if (!strcmp(cli->cfg->throttle_groups[i].group, id))
			return true;
	return false;
}

int cli_throttle_group_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	struct vm_config *cfg = cli->cfg;
	struct group_opts o = { .id = NULL };
	int ret;

	if (cfg->n_throttle_groups == CONFIG_MAX_THROTTLE_GROUPS)
		return err_set(ctx->err, -E2BIG, "%s: more than %d of them", ctx->what, CONFIG_MAX_THROTTLE_GROUPS);
	ret = props_apply(l, &group_props, &o, ctx);
	if (ret == 0)
		ret = cli_throttle_check(&o.throttle, "x-", ctx);
	if (ret < 0) {
		props_fini(&group_props, &o);
		return ret;
	}
	o.throttle.group = o.id;
	cfg->throttle_groups[cfg->n_throttle_groups++] = o.throttle;
	return cli_object_check_id(cli, o.id, ctx);
}
