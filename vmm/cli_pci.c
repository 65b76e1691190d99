/* SPDX-License-Identifier: MIT */
/*
 * Who is at which PCI address. A guest looks at a slot's function 0, and at the others only if that one says that there are any: so
 * multifunction=on belongs there, as in QEMU, and a function without one before it would never be found.
 */
#include <errno.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"

#define SLOT(addr) ((unsigned)(addr) >> 3)
#define FUNCTION(addr) ((unsigned)(addr) & 7)
#define SLOT_ISA_BRIDGE 1 /* has room for others, as QEMU's */

const char *const cli_names_pci_bus[] = { "pci.0", NULL };
const char cli_why_pci_bus[] = "the only PCI bus is pci.0";

int cli_pci_settle(struct cli *cli, const struct cli_pci_opts *o, bool modern, struct config_virtio_pci *pci, const struct prop_ctx *ctx)
{
	*pci = (struct config_virtio_pci){
		.addr = CONFIG_ADDR_AUTO,
		.vectors = o->vectors == CLI_VECTORS_AUTO ? -1 : (int)o->vectors,
		.modern_only = modern || o->disable_legacy == CONFIG_ON,
		.legacy_only = o->disable_modern,
	};
	if (pci->modern_only && pci->legacy_only)
		return err_set(ctx->err, -EINVAL, "%s: disable-modern=on leaves nothing of a device without the legacy interface; give neither",
			       ctx->what);
	if (o->addr && !cli_value_pci_addr(o->addr, &pci->addr))
		return err_set(ctx->err, -EINVAL, "%s: property 'addr': expected SLOT[.FUNCTION] in hexadecimal, to 1f.7, got '%s'", ctx->what,
			       err_show(o->addr).s);
	return cli_pci_place(cli, pci->addr, o->multifunction, ctx);
}

int cli_pci_place(struct cli *cli, int addr, bool multifunction, const struct prop_ctx *ctx)
{
	if (addr == CONFIG_ADDR_AUTO)
		return 0;
	if (cli->n_places == CLI_MAX_PLACES)
		return err_set(ctx->err, -E2BIG, "%s: more than %zu devices with an 'addr'", ctx->what, cli->n_places);
	cli->places[cli->n_places++] = (struct cli_place){ .addr = addr, .multifunction = multifunction };
	return 0;
}

static const struct cli_place *function_0(const struct cli *cli, unsigned slot)
{
	for (size_t i = 0; i < cli->n_places; i++)
		if (SLOT(cli->places[i].addr) == slot && FUNCTION(cli->places[i].addr) == 0)
			return &cli->places[i];
	return NULL;
}

int cli_pci_finish(struct cli *cli, struct err *err)
{
	for (size_t i = 0; i < cli->n_places; i++) {
		unsigned slot = SLOT(cli->places[i].addr), function = FUNCTION(cli->places[i].addr);
		const struct cli_place *first = function_0(cli, slot);

		if (function == 0 || slot == SLOT_ISA_BRIDGE)
			continue;
		if (slot == 0)
			return err_set(err, -EINVAL, "-device: PCI address 00.%x is not free: the host bridge at 00.0 is alone; give another 'addr'",
				       function);
		if (!first)
			return err_set(err, -EINVAL, "-device: no guest finds PCI address %02x.%x with nothing at %02x.0; put a device there with multifunction=on",
				       slot, function, slot);
		if (!first->multifunction)
			return err_set(err, -EINVAL, "-device: PCI address %02x.%x needs multifunction=on at the device at %02x.0", slot, function, slot);
	}
	return 0;
}
