/* SPDX-License-Identifier: MIT */
/*
 * Serial ports, once all options are known: the default console, a port for every UART, a chardev for every port.
 *
 * The n-th -serial is COMn, also when it is none. A -device isa-serial that names its index or I/O base gets that port; then the
 * others get the lowest that are free.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"

/* The ports of a PC. */
static const struct {
	uint16_t iobase;
	unsigned irq;
} com[CONFIG_MAX_SERIALS] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };

/* What is on each port while they are given out. Strings are borrowed. */
struct placement {
	const char *id, *chardev; /* chardev NULL: free */
};

static bool monitor_has_terminal(const struct vm_config *cfg)
{
	for (size_t i = 0; i < cfg->n_monitors; i++)
		for (size_t k = 0; k < cfg->n_chardevs; k++)
			if (cfg->chardevs[k].backend == CHARDEV_STDIO && !strcmp(cfg->chardevs[k].id, cfg->monitors[i].chardev))
				return true;
	return false;
}

/*
 * Without -nodefaults and without any serial port asked for there is one: on the terminal, since there is no window to show it in,
 * or on nothing where -display none asked for silence and -nographic did not ask for the terminal.
 */
static int add_default(struct cli *cli, struct err *err)
{
	const struct vm_config *cfg = cli->cfg;
	const char *arg = "mon:stdio";

	if (cfg->nodefaults || !cfg->board.serial || cli->n_ports || cli->n_uarts)
		return 0;
	/* -monitor stdio has it, where QEMU's port would be in a window. */
	if ((cli->display_none || monitor_has_terminal(cfg)) && !cfg->nographic)
		arg = "null";
	else if (cli->monitor_none)
		arg = "stdio";
	return cli_serial_add(cli, arg, "the default serial port", err);
}

/* The port that a UART asks for; CONFIG_MAX_SERIALS: any. -EINVAL with `err` for what no PC has. */
static int wanted_port(const struct cli_uart *uart, struct err *err)
{
	unsigned port = uart->index == UINT32_MAX ? CONFIG_MAX_SERIALS : uart->index;

	if (uart->iobase) {
		unsigned at = 0;

		while (at < CONFIG_MAX_SERIALS && com[at].iobase != uart->iobase)
			at++;
		if (at == CONFIG_MAX_SERIALS)
			return err_set(err, -EINVAL, "-device isa-serial: iobase 0x%x is not 0x3f8, 0x2f8, 0x3e8 or 0x2e8", uart->iobase);
		if (port != CONFIG_MAX_SERIALS && port != at)
			return err_set(err, -EINVAL, "-device isa-serial: iobase 0x%x is that of index %u, not %u", uart->iobase, at, port);
		port = at;
	}
	if (uart->irq && port == CONFIG_MAX_SERIALS)
		return err_set(err, -EINVAL, "-device isa-serial: irq is given without index or iobase; leave it out");
	if (uart->irq && uart->irq != com[port].irq)
		return err_set(err, -EINVAL, "-device isa-serial: irq %u is not available for index %u; it has %u", uart->irq, port,
			       com[port].irq);
	return (int)port;
}

static int place_uart(const struct cli_uart *uart, unsigned port, struct placement *ports, struct err *err)
{
	if (port == CONFIG_MAX_SERIALS)
		for (port = 0; port < CONFIG_MAX_SERIALS && ports[port].chardev; port++)
			;
	if (port == CONFIG_MAX_SERIALS)
		return err_set(err, -E2BIG, "-device isa-serial: more than %d serial ports", CONFIG_MAX_SERIALS);
	if (ports[port].chardev)
		return err_set(err, -EBUSY, "-device isa-serial: index %u is already taken by the one on chardev '%s'", port,
			       err_show(ports[port].chardev).s);
	ports[port] = (struct placement){ .id = uart->id, .chardev = uart->chardev };
	return 0;
}

/* The UARTs that know their port (`fixed`), or those that do not. */
static int place_uarts(const struct cli *cli, bool fixed, struct placement *ports, struct err *err)
{
	for (size_t i = 0; i < cli->n_uarts; i++) {
		int port = wanted_port(&cli->uarts[i], err);

		if (port < 0)
			return port;
		if ((port != CONFIG_MAX_SERIALS) == fixed && place_uart(&cli->uarts[i], (unsigned)port, ports, err) < 0)
			return err->code;
	}
	return 0;
}

/* With isa-serial=off -serial none is all that makes sense. */
static int check_board(const struct vm_config *cfg, const struct placement *ports, struct err *err)
{
	for (unsigned i = 0; !cfg->board.serial && i < CONFIG_MAX_SERIALS; i++)
		if (ports[i].chardev)
			return err_set(err, -EINVAL, "there is a serial port on chardev '%s', but -machine says isa-serial=off; leave one of them out",
				       err_show(ports[i].chardev).s);
	return 0;
}

static int check_chardev(const struct vm_config *cfg, const char *id, struct err *err)
{
	bool found = false;

	for (size_t i = 0; i < cfg->n_chardevs; i++)
		found |= !strcmp(cfg->chardevs[i].id, id);
	if (!found)
		return err_set(err, -ENOENT, "a serial port names chardev '%s', which is not defined; add -chardev BACKEND,id=%s",
			       err_show(id).s, err_show(id).s);
	for (size_t i = 0; i < cfg->n_serials; i++)
		if (!strcmp(cfg->serials[i].chardev, id))
			return err_set(err, -EBUSY, "chardev '%s' is used by two serial ports, index %u and another; give each its own",
				       err_show(id).s, cfg->serials[i].index);
	return 0;
}

static int add_serial(struct cli *cli, unsigned index, const struct placement *place, struct err *err)
{
	struct vm_config *cfg = cli->cfg;
	struct config_serial *serial = &cfg->serials[cfg->n_serials];
	char name[16];

	if (check_chardev(cfg, place->chardev, err) < 0)
		return err->code;
	snprintf(name, sizeof(name), "serial%u", index);
	if (!place->id && strv_has(&cli->device_ids, name))
		return err_set(err, -EEXIST, "the id '%s' is the serial port's with index %u; give the other device another id", name, index);
	serial->index = index;
	/* Counted before it is filled, so that config_fini frees it whatever happens. */
	cfg->n_serials++;
	if (cli_set_string(&serial->chardev, place->chardev, err) < 0)
		return err->code;
	return cli_set_string(&serial->id, place->id ? place->id : name, err);
}

int cli_serial_finish(struct cli *cli, struct err *err)
{
	struct placement ports[CONFIG_MAX_SERIALS] = { { .id = NULL } };

	if (add_default(cli, err) < 0)
		return err->code;
	for (size_t i = 0; i < cli->n_ports; i++)
		ports[i].chardev = cli->ports[i].chardev;
	if (place_uarts(cli, true, ports, err) < 0 || place_uarts(cli, false, ports, err) < 0)
		return err->code;
	if (check_board(cli->cfg, ports, err) < 0)
		return err->code;
	for (unsigned i = 0; i < CONFIG_MAX_SERIALS; i++)
		if (ports[i].chardev && add_serial(cli, i, &ports[i], err) < 0)
			return err->code;
	return 0;
}
