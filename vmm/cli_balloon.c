/* SPDX-License-Identifier: MIT */
/* -device virtio-balloon-*. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

struct balloon_opts {
	char *id, *iothread;
	bool deflate_on_oom, free_page_reporting, page_poison;
	struct cli_pci_opts pci;
};

static const char why_fixed[] = "the device is made that way";
static const char why_hint[] = "hints are for migration, which Kite has not; free-page-reporting=on gives free memory back to the host";

#define ROW(k, t, f, ...) { .key = k, .type = t, .offset = offsetof(struct balloon_opts, f), ##__VA_ARGS__ }
#define FIXED(k, n, w) { .key = k, .type = PROP_FIXED, .names = n, .why = w }
#define BALLOON_ROWS                                                   \
	ROW("id", PROP_STRING, id),                                    \
	ROW("iothread", PROP_STRING, iothread, .min = 1),              \
	ROW("deflate-on-oom", PROP_BOOL, deflate_on_oom),              \
	ROW("free-page-reporting", PROP_BOOL, free_page_reporting),    \
	ROW("page-poison", PROP_BOOL, page_poison),                    \
	FIXED("free-page-hint", prop_names_off, why_hint),             \
	FIXED("ioeventfd", prop_names_on, why_fixed),                  \
	FIXED("event_idx", prop_names_on, why_fixed),                  \
	FIXED("indirect_desc", prop_names_on, why_fixed),              \
	FIXED("any_layout", prop_names_on, why_fixed),                 \
	FIXED("packed", prop_names_off, why_fixed),                    \
	FIXED("iommu_platform", prop_names_off, why_fixed)

static const struct prop_row balloon_rows[] = { BALLOON_ROWS, CLI_PCI_ROWS(struct balloon_opts, pci), { .key = NULL } };
static const struct prop_row balloon_mmio_rows[] = { BALLOON_ROWS, { .key = NULL } };
const struct prop_table cli_balloon_props = { .rows = balloon_rows }, cli_balloon_mmio_props = { .rows = balloon_mmio_rows };

static int add(struct cli *cli, const struct prop_list *l, const struct prop_table *props, bool modern, const struct prop_ctx *ctx)
{
	struct balloon_opts o = { .page_poison = true, .pci.vectors = CLI_VECTORS_AUTO };
	struct config_balloon *balloon = &cli->cfg->balloon;
	int ret;

	if (cli->cfg->has_balloon)
		return err_set(ctx->err, -EEXIST, "%s: there can be only one balloon", ctx->what);
	ret = props_apply(l, props, &o, ctx);
	if (ret == 0)
		ret = cli_pci_settle(cli, &o.pci, modern, &balloon->pci, ctx);
	if (ret == 0)
		ret = cli_device_add_id(cli, o.id, ctx);
	if (ret == 0) {
		balloon->id = o.id;
		balloon->iothread = o.iothread;
		balloon->deflate_on_oom = o.deflate_on_oom;
		balloon->free_page_reporting = o.free_page_reporting;
		balloon->page_poison = o.page_poison;
		cli->cfg->has_balloon = true;
		o.id = o.iothread = NULL;
	}
	props_fini(props, &o);
	return ret;
}

int cli_balloon_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add(cli, l, &cli_balloon_props, false, ctx);
}

int cli_balloon_add_mmio(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add(cli, l, &cli_balloon_mmio_props, false, ctx);
}

int cli_balloon_add_modern(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	return add(cli, l, &cli_balloon_props, true, ctx);
}

int cli_balloon_finish(struct cli *cli, struct err *err)
{
	struct config_balloon *balloon = &cli->cfg->balloon;
	bool found = !balloon->iothread;
	char name[32];

	if (!cli->cfg->has_balloon)
		return 0;
	for (size_t i = 0; i < cli->cfg->n_iothreads && !found; i++)
		found = !strcmp(cli->cfg->iothreads[i].id, balloon->iothread);
	if (!found)
		return err_set(err, -ENOENT, "-device virtio-balloon: there is no iothread '%s'; add -object iothread,id=%s",
			       err_show(balloon->iothread).s, err_show(balloon->iothread).s);
	for (unsigned n = 0; !balloon->id; n++) {
		snprintf(name, sizeof(name), "virtio-balloon%u", n);
		if (strv_has(&cli->device_ids, name))
			continue;
		if (strv_add(&cli->device_ids, name, err) < 0 || cli_set_string(&balloon->id, name, err) < 0)
			return err->code;
	}
	return 0;
}
