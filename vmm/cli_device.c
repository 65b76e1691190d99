/* SPDX-License-Identifier: MIT */
/* -device: one row a driver. The properties come as a list, from key=value text or JSON; later from the control socket too. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_list.h"
#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

static const struct prop_row uart_rows[] = {
	{ .key = "chardev", .type = PROP_STRING, .offset = offsetof(struct cli_uart, chardev), .required = true },
	{ .key = "id", .type = PROP_STRING, .offset = offsetof(struct cli_uart, id) },
	{ .key = "index", .type = PROP_UNSIGNED, .offset = offsetof(struct cli_uart, index), .max = CONFIG_MAX_SERIALS - 1 },
	{ .key = "iobase", .type = PROP_U16, .offset = offsetof(struct cli_uart, iobase), .min = 1, .max = UINT16_MAX },
	{ .key = "irq", .type = PROP_UNSIGNED, .offset = offsetof(struct cli_uart, irq), .min = 1, .max = 15 },
	{ .key = NULL },
};

struct debug_exit_opts {
	char *id;
	struct config_debug_exit cfg;
};

static const struct prop_row debug_exit_rows[] = {
	{ .key = "id", .type = PROP_STRING, .offset = offsetof(struct debug_exit_opts, id) },
	{ .key = "iobase", .type = PROP_U16, .offset = offsetof(struct debug_exit_opts, cfg.iobase), .max = UINT16_MAX },
	{ .key = "iosize", .type = PROP_U16, .offset = offsetof(struct debug_exit_opts, cfg.iosize), .min = 1, .max = 8 },
	{ .key = NULL },
};

struct boot_timer_opts {
	char *id;
	uint16_t iobase;
};

static const struct prop_row boot_timer_rows[] = {
	{ .key = "id", .type = PROP_STRING, .offset = offsetof(struct boot_timer_opts, id) },
	{ .key = "iobase", .type = PROP_U16, .offset = offsetof(struct boot_timer_opts, iobase), .max = UINT16_MAX },
	{ .key = NULL },
};

struct testdev_opts {
	char *id;
};

static const struct prop_row testdev_rows[] = {
	{ .key = "id", .type = PROP_STRING, .offset = offsetof(struct testdev_opts, id) },
	{ .key = NULL },
};

static const struct prop_table uart_props = { .rows = uart_rows };
static const struct prop_table debug_exit_props = { .rows = debug_exit_rows };
static const struct prop_table boot_timer_props = { .rows = boot_timer_rows };
static const struct prop_table testdev_props = { .rows = testdev_rows };

int cli_device_add_id(struct cli *cli, const char *id, const struct prop_ctx *ctx)
{
	if (!id)
		return 0;
	if (!cli_value_id(id))
		return err_set(ctx->err, -EINVAL,
			       "%s: property 'id': '%s' is not an identifier: a letter, then letters, digits, '-', '.' or '_'", ctx->what,
			       err_show(id).s);
	if (strv_has(&cli->device_ids, id))
		return err_set(ctx->err, -EEXIST, "%s: there is already a device with the id '%s'", ctx->what, err_show(id).s);
	return strv_add(&cli->device_ids, id, ctx->err);
}

void cli_uart_fini(struct cli_uart *uart)
{
	props_fini(&uart_props, uart);
}

static int add_uart(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	struct cli_uart *uart = &cli->uarts[cli->n_uarts];

	if (cli->n_uarts == CONFIG_MAX_SERIALS)
		return err_set(ctx->err, -E2BIG, "%s: more than %d serial ports", ctx->what, CONFIG_MAX_SERIALS);
	uart->index = UINT32_MAX;
	/* Counted before it is filled, so that cli_parse frees it whatever happens. */
	cli->n_uarts++;
	if (props_apply(l, &uart_props, uart, ctx) < 0)
		return ctx->err->code;
	return cli_device_add_id(cli, uart->id, ctx);
}

static int add_debug_exit(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	struct debug_exit_opts opts = { .cfg = { .iobase = 0x501, .iosize = 2 } };
	struct vm_config *cfg = cli->cfg;
	int ret;

	if (cfg->n_debug_exits == CONFIG_MAX_DEBUG_EXITS)
		return err_set(ctx->err, -E2BIG, "%s: more than %d of them", ctx->what, CONFIG_MAX_DEBUG_EXITS);
	ret = props_apply(l, &debug_exit_props, &opts, ctx);
	if (ret == 0 && !range_ok(opts.cfg.iobase, opts.cfg.iosize, UINT64_C(0x10000)))
		ret = err_set(ctx->err, -ERANGE, "%s: ports 0x%x to 0x%x end after the last one, 0xffff", ctx->what, opts.cfg.iobase,
			      opts.cfg.iobase + opts.cfg.iosize - 1);
	if (ret == 0)
		ret = cli_device_add_id(cli, opts.id, ctx);
	if (ret == 0)
		cfg->debug_exits[cfg->n_debug_exits++] = opts.cfg;
	props_fini(&debug_exit_props, &opts);
	return ret;
}

static int add_boot_timer(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	struct boot_timer_opts opts = { .iobase = CONFIG_BOOT_TIMER_PORT };
	int ret;

	if (cli->cfg->boot_timer)
		return err_set(ctx->err, -EEXIST, "%s: there can be only one", ctx->what);
	ret = props_apply(l, &boot_timer_props, &opts, ctx);
	if (ret == 0)
		ret = cli_device_add_id(cli, opts.id, ctx);
	if (ret == 0) {
		cli->cfg->boot_timer = true;
		cli->cfg->boot_timer_port = opts.iobase;
	}
	props_fini(&boot_timer_props, &opts);
	return ret;
}

static int add_testdev(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	struct testdev_opts opts = { .id = NULL };
	int ret;

	if (cli->cfg->testdev)
		return err_set(ctx->err, -EEXIST, "%s: there can be only one", ctx->what);
	ret = props_apply(l, &testdev_props, &opts, ctx);
	if (ret == 0)
		ret = cli_device_add_id(cli, opts.id, ctx);
	if (ret == 0)
		cli->cfg->testdev = true;
	props_fini(&testdev_props, &opts);
	return ret;
}

/* DRIVER(name, function, bus, the same device's name on the other bus, help) */
#define DRIVERS                                                                                                                \
	DRIVER("isa-serial", add_uart, ANY, NULL, "a serial port: chardev=ID[,id=ID][,index=0..3]")                            \
	DRIVER("virtio-blk-pci", cli_disk_add, PCI, "virtio-blk-device",                                                       \
	       "a disk: drive=ID[,id=ID][,addr=SLOT[.FUNCTION]][,serial=TEXT][,num-queues=N][,iothread=ID]...")                \
	DRIVER("virtio-blk-pci-transitional", cli_disk_add, PCI, "virtio-blk-device", "the same")                              \
	DRIVER("virtio-blk-pci-non-transitional", cli_disk_add_modern, PCI, "virtio-blk-device",                               \
	       "the same, for drivers of virtio 1.0 and later only")                                                           \
	DRIVER("virtio-blk-device", cli_disk_add_mmio, MMIO, "virtio-blk-pci", "the same on a microvm, over MMIO; no addr=")   \
	DRIVER("virtio-blk", cli_disk_add, ANY, NULL, "the same on the bus that the machine has")                              \
	DRIVER("virtio-serial-pci", cli_virtio_serial_add, PCI, "virtio-serial-device",                                        \
	       "a bus for virtio consoles and ports: [id=ID][,max_ports=1..31][,addr=SLOT]")                                   \
	DRIVER("virtio-serial-pci-transitional", cli_virtio_serial_add, PCI, "virtio-serial-device", "the same")               \
	DRIVER("virtio-serial-pci-non-transitional", cli_virtio_serial_add_modern, PCI, "virtio-serial-device",                \
	       "the same, for drivers of virtio 1.0 and later only")                                                           \
	DRIVER("virtio-serial-device", cli_virtio_serial_add_mmio, MMIO, "virtio-serial-pci", "the same on a microvm, over MMIO") \
	DRIVER("virtio-serial", cli_virtio_serial_add, ANY, NULL, "the same on the bus that the machine has")                  \
	DRIVER("virtconsole", cli_virtconsole_add, ANY, NULL, "a virtio console, hvc0 and on: [chardev=ID][,name=NAME][,nr=N][,bus=ID.0]") \
	DRIVER("virtserialport", cli_virtserialport_add, ANY, NULL, "a virtio port: [chardev=ID][,name=NAME][,nr=N][,bus=ID.0]")   \
	DRIVER("virtio-rng-pci", cli_virtio_rng_add, PCI, "virtio-rng-device",                                                 \
	       "random numbers: [rng=ID][,max-bytes=N][,period=MS][,id=ID][,addr=SLOT]")                                       \
	DRIVER("virtio-rng-pci-transitional", cli_virtio_rng_add, PCI, "virtio-rng-device", "the same")                        \
	DRIVER("virtio-rng-pci-non-transitional", cli_virtio_rng_add_modern, PCI, "virtio-rng-device",                         \
	       "the same, for drivers of virtio 1.0 and later only")                                                           \
	DRIVER("virtio-rng-device", cli_virtio_rng_add_mmio, MMIO, "virtio-rng-pci", "the same on a microvm, over MMIO")       \
	DRIVER("virtio-rng", cli_virtio_rng_add, ANY, NULL, "the same on the bus that the machine has")                        \
	DRIVER("virtio-net-pci", cli_nic_add, PCI, "virtio-net-device",                                                        \
	       "a network card: netdev=ID[,mac=MAC][,mq=on][,host_mtu=N][,iothread=ID][,addr=SLOT][,rx-bps=N,tx-bps=N...]...") \
	DRIVER("virtio-net-pci-transitional", cli_nic_add, PCI, "virtio-net-device", "the same")                               \
	DRIVER("virtio-net-pci-non-transitional", cli_nic_add_modern, PCI, "virtio-net-device",                                \
	       "the same, for drivers of virtio 1.0 and later only")                                                           \
	DRIVER("virtio-net-device", cli_nic_add_mmio, MMIO, "virtio-net-pci", "the same on a microvm, over MMIO")              \
	DRIVER("virtio-net", cli_nic_add, ANY, NULL, "the same on the bus that the machine has")                               \
	DRIVER("virtio-scsi-pci", cli_scsi_add, PCI, "virtio-scsi-device",                                                     \
	       "a SCSI adapter: [id=ID][,num_queues=N][,iothread=ID][,addr=SLOT]...")                                          \
	DRIVER("virtio-scsi-pci-transitional", cli_scsi_add, PCI, "virtio-scsi-device", "the same")                            \
	DRIVER("virtio-scsi-pci-non-transitional", cli_scsi_add_modern, PCI, "virtio-scsi-device",                             \
	       "the same, for drivers of virtio 1.0 and later only")                                                           \
	DRIVER("virtio-scsi-device", cli_scsi_add_mmio, MMIO, "virtio-scsi-pci", "the same on a microvm, over MMIO")           \
	DRIVER("virtio-scsi", cli_scsi_add, ANY, NULL, "the same on the bus that the machine has")                             \
	DRIVER("scsi-hd", cli_scsi_hd_add, ANY, NULL, "a SCSI disk: drive=ID[,bus=ID.0][,scsi-id=N][,lun=N][,serial=TEXT][,wwn=N]...") \
	DRIVER("scsi-cd", cli_scsi_cd_add, ANY, NULL, "a CD-ROM drive, without drive= an empty one: [drive=ID][,bus=ID.0][,scsi-id=N]...") \
	DRIVER("scsi-block", cli_scsi_block_add, ANY, NULL, "not available: use scsi-hd")                                      \
	DRIVER("virtio-balloon-pci", cli_balloon_add, PCI, "virtio-balloon-device",                                            \
	       "a memory balloon: [id=ID][,deflate-on-oom=on][,free-page-reporting=on][,iothread=ID][,addr=SLOT]")             \
	DRIVER("virtio-balloon-pci-transitional", cli_balloon_add, PCI, "virtio-balloon-device", "the same")                   \
	DRIVER("virtio-balloon-pci-non-transitional", cli_balloon_add_modern, PCI, "virtio-balloon-device",                    \
	       "the same, for drivers of virtio 1.0 and later only")                                                           \
	DRIVER("virtio-balloon-device", cli_balloon_add_mmio, MMIO, "virtio-balloon-pci", "the same on a microvm, over MMIO")  \
	DRIVER("virtio-balloon", cli_balloon_add, ANY, NULL, "the same on the bus that the machine has")                       \
	DRIVER("i6300esb", cli_i6300esb_add, PCI, "ib700", "a watchdog on PCI: [id=ID][,addr=SLOT]; see -action watchdog=")    \
	DRIVER("ib700", cli_ib700_add, ANY, NULL, "a watchdog at ports 0x441 and 0x443, which guests do not find by themselves") \
	DRIVER("pvpanic", cli_pvpanic_add, ANY, NULL, "tells of a guest that has crashed: [ioport=0x505]; see -action panic=") \
	DRIVER("pvpanic-pci", cli_pvpanic_pci_add, PCI, "pvpanic", "the same on PCI: [addr=SLOT]")                             \
	DRIVER("isa-debug-exit", add_debug_exit, ANY, NULL, "a port that ends Kite: [iobase=0x501][,iosize=2]; status is value * 2 + 1") \
	DRIVER("isa-boot-timer", add_boot_timer, ANY, NULL, "a port that logs a byte with the time since Kite's start: [iobase=0x504]")   \
	DRIVER("isa-debugcon", cli_debugcon_add, ANY, NULL,                                                                    \
	       "a port for firmware's messages: chardev=ID[,iobase=0xe9][,readback=0xe9]; SeaBIOS writes to 0x402")            \
	DRIVER("pc-testdev", add_testdev, ANY, NULL, "ports, interrupt lines and memory for small test kernels")

struct driver {
	const char *name;
	int (*add)(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
	enum cli_bus bus;
	const char *twin; /* of CLI_BUS_ANY: NULL */
};

#define DRIVER(n, f, b, t, h) { n, f, CLI_BUS_##b, t },
static const struct driver drivers[] = { DRIVERS };
#undef DRIVER
#define DRIVER(n, f, b, t, h) n "\n          " h "\n"
const char cli_device_help[] = DRIVERS;
#undef DRIVER

/* What the properties of a driver are, by the function that takes them; a driver without a row is one only to say that it is not available. */
static const struct {
	int (*add)(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
	const struct prop_table *props;
} driver_props[] = {
	{ add_uart, &uart_props },
	{ add_debug_exit, &debug_exit_props },
	{ add_testdev, &testdev_props },
	{ cli_disk_add, &cli_disk_props },
	{ cli_disk_add_modern, &cli_disk_props },
	{ cli_disk_add_mmio, &cli_disk_mmio_props },
	{ cli_virtio_serial_add, &cli_virtio_serial_props },
	{ cli_virtio_serial_add_modern, &cli_virtio_serial_props },
	{ cli_virtio_serial_add_mmio, &cli_virtio_serial_mmio_props },
	{ cli_virtconsole_add, &cli_vport_props },
	{ cli_virtserialport_add, &cli_vport_props },
	{ cli_virtio_rng_add, &cli_virtio_rng_props },
	{ cli_virtio_rng_add_modern, &cli_virtio_rng_props },
	{ cli_virtio_rng_add_mmio, &cli_virtio_rng_mmio_props },
	{ cli_nic_add, &cli_nic_props },
	{ cli_nic_add_modern, &cli_nic_props },
	{ cli_nic_add_mmio, &cli_nic_props },
	{ cli_scsi_add, &cli_scsi_props },
	{ cli_scsi_add_modern, &cli_scsi_props },
	{ cli_scsi_add_mmio, &cli_scsi_mmio_props },
	{ cli_scsi_hd_add, &cli_scsi_hd_props },
	{ cli_scsi_cd_add, &cli_scsi_cd_props },
	{ cli_balloon_add, &cli_balloon_props },
	{ cli_balloon_add_modern, &cli_balloon_props },
	{ cli_balloon_add_mmio, &cli_balloon_mmio_props },
	{ cli_i6300esb_add, &cli_i6300esb_props },
	{ cli_ib700_add, &cli_ib700_props },
	{ cli_pvpanic_add, &cli_pvpanic_props },
	{ cli_pvpanic_pci_add, &cli_pvpanic_pci_props },
	{ cli_debugcon_add, &cli_debugcon_props },
};

bool cli_device_at(size_t i, struct cli_listed *listed)
{
	if (i >= ARRAY_SIZE(drivers))
		return false;
	*listed = (struct cli_listed){ .name = drivers[i].name, .available = false };
	for (size_t k = 0; k < ARRAY_SIZE(driver_props); k++)
		if (driver_props[k].add == drivers[i].add) {
			listed->rows = driver_props[k].props->rows;
			listed->available = true;
		}
	return true;
}

/* Network cards of QEMU's that Kite has not: said with what to use instead. */
static const char *const other_nics[] = {
	"e1000", "e1000-82544gc", "e1000-82545em", "e1000e", "i82550", "i82551", "i82557b", "i82559er", "igb", "ne2k_isa", "ne2k_pci",
	"pcnet", "rocker", "rtl8139", "tulip", "usb-net", "vmxnet3",
};

bool cli_device_is_other_nic(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(other_nics); i++)
		if (!strcmp(other_nics[i], name))
			return true;
	return false;
}

static const struct driver *find_driver(const char *name, struct err *err)
{
	const char *near = NULL;
	int near_distance = 0;

	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (!strcmp(drivers[i].name, name))
			return &drivers[i];
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
		int d = cli_near(name, drivers[i].name);

		if (d >= 0 && (!near || d < near_distance)) {
			near = drivers[i].name;
			near_distance = d;
		}
	}
	if (cli_device_is_other_nic(name))
		err_set(err, -EINVAL, "-device %s: not available: Kite's network card is virtio-net-pci, for which every system has a driver", name);
	else if (near)
		err_set(err, -EINVAL, "-device: unknown device '%s'; did you mean '%s'?", err_show(name).s, near);
	else
		err_set(err, -EINVAL, "-device: unknown device '%s'; -device help lists those there are", err_show(name).s);
	return NULL;
}

int cli_device_add(struct cli *cli, struct prop_list *l, struct err *err)
{
	char what[48] = "-device";
	struct prop_ctx ctx = { .what = what, .notes = &cli->notes, .err = err };
	const struct driver *driver;
	char *name;

	if (prop_list_take(l, "driver", &name, &ctx) < 0)
		return err->code;
	if (!name)
		return err_set(err, -EINVAL, "-device: property 'driver' is missing; -device help lists those there are");
	driver = find_driver(name, err);
	free(name);
	if (!driver)
		return err->code;
	snprintf(what, sizeof(what), "-device %s", driver->name);
	if (!cli->on_bus[driver->bus].name)
		cli->on_bus[driver->bus] = (struct cli_twin){ driver->name, driver->twin };
	return driver->add(cli, l, &ctx);
}

int cli_device(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-device", .notes = &cli->notes, .err = err };
	struct prop_list l = { .items = NULL };
	int ret;

	if (cli_is_help(arg)) {
		cli->action = CLI_DEVICE_HELP;
		return 0;
	}
	ret = *arg == '{' ? prop_list_parse_json(&l, arg, &ctx) : prop_list_parse(&l, arg, "driver", &ctx);
	if (ret == 0)
		ret = cli_device_add(cli, &l, err);
	prop_list_fini(&l);
	return ret;
}
