/* SPDX-License-Identifier: MIT */
#include "vmm/launch_virtio.h"

#include <assert.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "hw/pci.h"
#include "hw/virtio.h"
#include "vmm/arch.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/launch_disks.h"
#include "vmm/syscall_rules.h"

SYSCALL_RULES(
	{ CALL(ioctl), ARG(1, TIOCGWINSZ), .threads = THREAD_MAIN, .rare = THREAD_ANY }, /* SIGWINCH */
);

#define CLASS_COMMUNICATION UINT32_C(0x078000)
#define CLASS_OTHER UINT32_C(0x00ff00)
/* One for the configuration and one for all queues, which is what drivers settle for that do not get one for each of many. */
#define SERIAL_VECTORS 2

static_assert(CONFIG_MAX_VPORTS == VIRTIO_CONSOLE_PORTS, "port numbers");

/* Gives `virtio` to the machine, or ends it. */
static int add_device(struct machine *machine, struct virtio_dev *virtio, const struct config_virtio_pci *place, int vectors,
		      uint32_t class_code, struct err *err)
{
	const struct virtio_pci_config cfg = {
		.devfn = place->addr == CONFIG_ADDR_AUTO ? PCI_ADDR_AUTO : place->addr,
		.modern_only = place->modern_only,
		.legacy_only = place->legacy_only,
		.vectors = place->vectors < 0 ? vectors : place->vectors,
		.class_code = class_code,
	};

	return machine_plug(machine, virtio, &cfg, err);
}

/* cli_parse has checked that every name has its chardev. */
static size_t find_chardev(const struct vm_config *cfg, const char *id)
{
	size_t i = 0;

	while (i < cfg->n_chardevs && strcmp(cfg->chardevs[i].id, id))
		i++;
	assert(i < cfg->n_chardevs);
	return i;
}

static bool terminal_size(uint16_t *cols, uint16_t *rows)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
		return false;
	*cols = size.ws_col;
	*rows = size.ws_row;
	return true;
}

/*
 * Whether the console's size is that of the terminal: where port 0 is on it. Only for a device with one port, whose driver reads it from
 * the configuration space: in messages to a device with many, columns and rows change places between versions of Linux, and a wrong size is
 * worse than none.
 */
static bool has_terminal(const struct vm_config *cfg, const struct config_virtio_serial *serial)
{
	const char *chardev = serial->n_ports ? serial->ports[0].chardev : NULL;

	return serial->max_ports == 1 && chardev && cfg->chardevs[find_chardev(cfg, chardev)].backend == CHARDEV_STDIO;
}

static int add_serial(struct launch_virtio *v, struct machine *machine, const struct vm_config *cfg, const struct config_virtio_serial *serial,
		      struct chardev *const *chardevs, struct err *err)
{
	struct virtio_console_config console = { .name = serial->id, .max_ports = serial->max_ports };
	struct virtio_dev *virtio;
	bool follows = false;

	if (has_terminal(cfg, serial))
		follows = terminal_size(&console.cols, &console.rows);
	virtio = virtio_console_create(machine_env(machine), &console, err);
	if (!virtio)
		return err->code;
	for (size_t i = 0; i < serial->n_ports; i++) {
		const struct config_vport *p = &serial->ports[i];
		const struct virtio_console_port_config port = {
			.nr = p->nr,
			.console = p->console,
			.name = p->name,
			.chardev = p->chardev ? chardevs[find_chardev(cfg, p->chardev)] : NULL,
		};

		if (virtio_console_add_port(virtio, &port, err) < 0) {
			virtio->ops->destroy(virtio);
			return err->code;
		}
	}
	if (add_device(machine, virtio, &serial->pci, SERIAL_VECTORS, CLASS_COMMUNICATION, err) < 0)
		return err->code;
	if (follows)
		v->console = virtio;
	return 0;
}

static int add_rng(struct machine *machine, const struct vm_config *cfg, const struct config_virtio_rng *rng, struct err *err)
{
	struct virtio_rng_config config = { .name = rng->id, .max_bytes = rng->max_bytes, .period_ms = rng->period_ms };
	struct virtio_dev *virtio;

	for (size_t i = 0; rng->source && i < cfg->n_rng_sources; i++)
		if (!strcmp(cfg->rng_sources[i].id, rng->source))
			config.filename = cfg->rng_sources[i].filename;
	virtio = virtio_rng_create(machine_env(machine), &config, err);
	return virtio ? add_device(machine, virtio, &rng->pci, -1, CLASS_OTHER, err) : err->code;
}

static int add_balloon(struct launch_virtio *v, struct machine *machine, const struct config_balloon *balloon, struct launch_disks *disks,
		       struct err *err)
{
	const struct virtio_balloon_config config = {
		.name = balloon->id,
		.deflate_on_oom = balloon->deflate_on_oom,
		.page_reporting = balloon->free_page_reporting,
		.page_poison = balloon->page_poison,
	};
	struct device_env env = *machine_env(machine);
	struct virtio_dev *virtio;

	if (balloon->iothread)
		env.loop = launch_disks_loop(disks, balloon->iothread, err);
	virtio = virtio_balloon_create(&env, &config, err);
	if (!virtio || add_device(machine, virtio, &balloon->pci, -1, CLASS_OTHER, err) < 0)
		return err->code;
	v->balloon = virtio;
	return 0;
}

int launch_virtio_add(struct launch_virtio *v, struct machine *machine, const struct vm_config *cfg, struct chardev *const *chardevs,
		      struct launch_disks *disks, bool fixed, struct err *err)
{
	for (size_t i = 0; i < cfg->n_virtio_serials; i++) {
		const struct config_virtio_serial *serial = &cfg->virtio_serials[i];

		if ((serial->pci.addr != CONFIG_ADDR_AUTO) == fixed && add_serial(v, machine, cfg, serial, chardevs, err) < 0)
			return err->code;
	}
	for (size_t i = 0; i < cfg->n_rngs; i++)
		if ((cfg->rngs[i].pci.addr != CONFIG_ADDR_AUTO) == fixed && add_rng(machine, cfg, &cfg->rngs[i], err) < 0)
			return err->code;
	if (cfg->has_balloon && (cfg->balloon.pci.addr != CONFIG_ADDR_AUTO) == fixed && add_balloon(v, machine, &cfg->balloon, disks, err) < 0)
		return err->code;
	return 0;
}

void launch_virtio_resize(struct launch_virtio *v)
{
	uint16_t cols, rows;

	if (v->console && terminal_size(&cols, &rows))
		virtio_console_resize(v->console, cols, rows);
}
