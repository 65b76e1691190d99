/* SPDX-License-Identifier: MIT */
/* What the files of the command line share: the option table's rows, and the state of one parse. Included by vmm/cli*.c only. */
#ifndef VMM_CLI_PRIVATE_H
#define VMM_CLI_PRIVATE_H

#include <limits.h>

#include "vmm/cli.h"
#include "vmm/cli_props.h"

/* A -serial: the n-th is COMn. */
struct cli_port {
	char *chardev; /* NULL: -serial none */
};

/* A -device isa-serial; its port is settled when all options are known. */
struct cli_uart {
	char *id, *chardev;
	unsigned index;  /* UINT_MAX: not given */
	uint16_t iobase; /* 0: not given */
	unsigned irq;    /* 0: not given */
};

/* -m and -smp add up over all that are given, and are checked at the end. */
struct cli_mem {
	uint64_t size, maxmem; /* bytes; 0: not given */
	unsigned slots;
};

struct cli_smp {
	unsigned cpus, maxcpus, sockets, dies, clusters, cores, threads; /* 0: not given */
};

enum cli_interface { CLI_IF_VIRTIO, CLI_IF_NONE, CLI_IF_SCSI, CLI_IF_IDE };
enum cli_error_action { CLI_ERROR_AUTO, CLI_ERROR_REPORT, CLI_ERROR_IGNORE, CLI_ERROR_ENOSPC, CLI_ERROR_STOP };

/* What an image is said to stand on beside its own file: names of nodes, owned; NULL: as the image says. */
struct cli_below {
	char *backing, *data_file;
	bool no_backing;
	bool nested_backing, nested_data_file; /* written inside, and with this one's caching where they ask for none */
};

/* What a -drive says of the disk that is made of it; the file is in cfg->drives. */
struct cli_drive {
	size_t drive; /* in cfg->drives */
	enum cli_interface interface;
	bool cdrom;
	unsigned index;
	char *serial; /* NULL: none */
	enum cli_error_action rerror, werror;
	struct cli_below below;
};

enum cli_node_kind { CLI_NODE_FILE, CLI_NODE_FORMAT, CLI_NODE_THROTTLE };

/* A -blockdev: a file, or a format or a throttle over another one. cfg->drives gets those at the top when all are known. */
struct cli_node {
	enum cli_node_kind kind;
	char *name;
	char *format; /* FORMAT; NULL: found by its first bytes */
	char *child;  /* the name of the node below; NULL: a file */
	char *group;  /* a throttle's throttle-group */
	bool nested;  /* the node below was written inside this one, and takes over what it does not say itself */
	bool used;    /* it is below another, */
	bool shared;  /* and that is as a backing file, which any number may have */
	char *path;
	bool read_only, auto_read_only, direct, no_flush, discard, detect_zeroes, aio_threads, lock;
	struct config_qcow2 qcow2;
	struct cli_below below;
};

/* A device that says where on the PCI bus it is to be. */
#define CLI_MAX_PLACES (CONFIG_MAX_DISKS + CONFIG_MAX_VIRTIO_SERIALS + CONFIG_MAX_RNGS + CONFIG_MAX_NICS + CONFIG_MAX_SCSIS + \
			CONFIG_MAX_WATCHDOGS + 2)
struct cli_place {
	int addr; /* slot << 3 | function */
	bool multifunction;
};

/* What a -device virtio-blk leaves to be settled, beside its struct config_disk. */
struct cli_disk {
	enum cli_error_action rerror, werror;
	unsigned queues; /* 0: not given */
};

/* What -machine asks for, over all that are given; settled when all are known. */
struct cli_board {
	enum machine_type type;
	enum config_tristate acpi, pic, pit, rtc, serial, kernel_cmdline;
};

enum cli_bus { CLI_BUS_ANY, CLI_BUS_PCI, CLI_BUS_MMIO };

/* A -device that only some boards have a bus for: its name, and the other board's name for it. Not owned. */
struct cli_twin {
	const char *name, *twin;
};

/* A -device virtconsole or virtserialport; where it goes is settled when all options are known. */
#define CLI_MAX_VPORTS (2 * CONFIG_MAX_CHARDEVS)
struct cli_vport {
	char *id, *name, *chardev, *bus; /* NULL: not given */
	unsigned nr;                     /* UINT_MAX: not given */
	bool console;
};

/* What a NIC leaves to be settled, beside its struct config_nic. */
struct cli_nic {
	bool mac_set;
	enum config_tristate mq;
	bool hub; /* -net nic: its back end is that of -net */
};

/* What a -device scsi-hd or scsi-cd leaves to be settled, beside its struct config_scsi_unit. */
struct cli_scsi_unit {
	char *bus;            /* NULL: not given */
	unsigned target, lun; /* UINT_MAX: not given */
	enum cli_error_action rerror, werror;
};

/* One parse. */
struct cli {
	struct vm_config *cfg;
	enum cli_action action;
	struct strv notes; /* debug lines, held back until it is known whether they are wanted */
	struct cli_board board;
	struct cli_twin on_bus[CLI_BUS_MMIO + 1]; /* the first of each, by enum cli_bus */
	struct cli_mem mem;
	struct cli_smp smp;
	struct cli_port ports[CONFIG_MAX_SERIALS];
	size_t n_ports;
	struct cli_uart uarts[CONFIG_MAX_SERIALS];
	size_t n_uarts;
	struct strv device_ids;
	struct cli_drive drives[CONFIG_MAX_DRIVES];
	size_t n_drives;
	struct cli_node nodes[2 * CONFIG_MAX_DRIVES];
	size_t n_nodes;
	struct cli_disk disks[CONFIG_MAX_DISKS]; /* as cfg->disks */
	struct cli_vport vports[CLI_MAX_VPORTS];
	size_t n_vports;
	bool snapshot; /* -snapshot */
	bool display_none, monitor_none;
	bool dump_config;
	const char *config_file; /* -config; borrowed, NULL: none */
	const char *beside;      /* an option that -config does not go with; the same */
	struct cli_scsi_unit scsi_units[CONFIG_MAX_SCSI_UNITS]; /* as cfg->scsi_units */
	struct cli_place places[CLI_MAX_PLACES];
	size_t n_places;
	struct cli_nic nics[CONFIG_MAX_NICS]; /* as cfg->nics */
	bool net_given;                       /* somebody said what network there is to be, so there is none by default */
	char *hub;                            /* the id of the back end that -net made; NULL: none */
	unsigned n_auto_netdevs;              /* that got a name from Kite */
};

enum cli_option_kind {
	CLI_OPTION_CALL,   /* `handle` */
	CLI_OPTION_FLAG,   /* sets the bool at `offset` of struct vm_config */
	CLI_OPTION_STRING, /* sets the string at `offset` of struct vm_config */
	CLI_OPTION_PROPS,  /* `props`, stored in struct vm_config */
	CLI_OPTION_IGNORE, /* accepted with a debug line if the value is one of `names` (NULL: any), else refused because of `why` */
};

struct cli_option {
	const char *name; /* without dashes */
	bool takes_arg;
	enum cli_option_kind kind;
	int (*handle)(struct cli *cli, const char *arg, struct err *err);
	size_t offset;
	const struct prop_table *props;
	const char *const *names;
	const char *why;
	unsigned min; /* CLI_OPTION_STRING: the least length */
};

/* cli_options.c */
extern const struct cli_option cli_options[];
extern const size_t cli_n_options;
extern const char cli_options_help[];

/* Whether a value asks for help. */
bool cli_is_help(const char *arg);

/* cli_machine.c */
extern const struct prop_table cli_accel_props, cli_overcommit_props, cli_name_props;
int cli_machine(struct cli *cli, const char *arg, struct err *err);
int cli_no_acpi(struct cli *cli, const char *arg, struct err *err);
int cli_memory(struct cli *cli, const char *arg, struct err *err);
int cli_memory_finish(struct cli *cli, struct err *err);
int cli_global(struct cli *cli, const char *arg, struct err *err);
int cli_action_option(struct cli *cli, const char *arg, struct err *err);
int cli_rtc(struct cli *cli, const char *arg, struct err *err);
int cli_uuid(struct cli *cli, const char *arg, struct err *err);

/* cli_sandbox.c */
extern const struct prop_table cli_sandbox_props;
int cli_sandbox(struct cli *cli, const char *arg, struct err *err);
int cli_runas(struct cli *cli, const char *arg, struct err *err);
int cli_chroot(struct cli *cli, const char *arg, struct err *err);
int cli_run_with(struct cli *cli, const char *arg, struct err *err);

/* cli_board.c */
extern const char *const cli_names_tristate[]; /* enum config_tristate */
/* Settles what the machine has. */
int cli_board_finish(struct cli *cli, struct err *err);
/* Whether it can have its devices, once all are known. */
int cli_board_check(const struct cli *cli, struct err *err);

/* cli_cpu.c */
int cli_cpu(struct cli *cli, const char *arg, struct err *err);
int cli_smp(struct cli *cli, const char *arg, struct err *err);
int cli_smp_finish(struct cli *cli, struct err *err);

/* cli_chardev.c */
int cli_chardev(struct cli *cli, const char *arg, struct err *err);
int cli_serial(struct cli *cli, const char *arg, struct err *err);

/* Errors start with `what`. */
int cli_serial_add(struct cli *cli, const char *arg, const char *what, struct err *err);

/*
 * A chardev of its own with the id `id`, by the short form of -serial and -qmp. `chardev:ID` is the caller's to see to.
 */
int cli_chardev_add_short(struct cli *cli, const char *arg, const char *id, const char *what, struct err *err);

/* cli_fds.c */
int cli_add_fd(struct cli *cli, const char *arg, struct err *err);

/* cli_monitor.c */
int cli_qmp(struct cli *cli, const char *arg, struct err *err);
int cli_qmp_pretty(struct cli *cli, const char *arg, struct err *err);
int cli_monitor(struct cli *cli, const char *arg, struct err *err);
/* The monitor behind a console with Ctrl-a keys. */
int cli_monitor_behind(struct cli *cli, const char *chardev, const char *what, struct err *err);
int cli_mon(struct cli *cli, const char *arg, struct err *err);

/* cli_device.c */
extern const char cli_device_help[];
int cli_device(struct cli *cli, const char *arg, struct err *err);
/* A -device whose properties are in `l`, whatever they were written in. Takes items out of `l`. */
int cli_device_add(struct cli *cli, struct prop_list *l, struct err *err);
void cli_uart_fini(struct cli_uart *uart);
/* Whether it is a network card of QEMU's that Kite has not. */
bool cli_device_is_other_nic(const char *name);
/* Notes the id of a device, if it has one (else NULL): it must be the only one of that name. */
int cli_device_add_id(struct cli *cli, const char *id, const struct prop_ctx *ctx);

/* cli_object.c */
int cli_object(struct cli *cli, const char *arg, struct err *err);
/* Whether the id of an object that is in the configuration is one, and its own: -EINVAL, -EEXIST with ctx->err. */
int cli_object_check_id(const struct cli *cli, const char *id, const struct prop_ctx *ctx);

/*
 * cli_throttle.c: limits, and -object throttle-group.
 *
 * The rows of one limit, for a table over `type`, whose struct config_throttle is the member `field`: `name`, its burst and the burst's
 * length, their words joined by `dash`.
 */
#define CLI_LIMIT_MAX UINT64_C(1000000000000000)
#define CLI_LIMIT_LENGTH_MAX 86400
#define CLI_LIMIT_ROWS(type_, field, name, dash, i)                                                                             \
	{ .key = name, .type = PROP_U64, .offset = offsetof(type_, field.avg[i]), .max = CLI_LIMIT_MAX },                       \
	{ .key = name dash "max", .type = PROP_U64, .offset = offsetof(type_, field.max[i]), .max = CLI_LIMIT_MAX },            \
	{ .key = name dash "max" dash "length", .type = PROP_U64, .offset = offsetof(type_, field.length[i]), .min = 1,         \
	  .max = CLI_LIMIT_LENGTH_MAX }
/* What contradicts itself: -EINVAL with ctx->err; `prefix` goes in front of the names of limits. */
int cli_throttle_check(const struct config_throttle *throttle, const char *prefix, const struct prop_ctx *ctx);
int cli_throttle_group_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
bool cli_throttle_group_exists(const struct cli *cli, const char *id);

/* cli_drive.c: -drive and its short forms. */
extern const char *const cli_names_error[]; /* enum cli_error_action */
int cli_drive(struct cli *cli, const char *arg, struct err *err);
int cli_hda(struct cli *cli, const char *arg, struct err *err);
int cli_hdb(struct cli *cli, const char *arg, struct err *err);
int cli_hdc(struct cli *cli, const char *arg, struct err *err);
int cli_hdd(struct cli *cli, const char *arg, struct err *err);
int cli_cdrom(struct cli *cli, const char *arg, struct err *err);
/* A disk image without an option in front. */
int cli_image(struct cli *cli, const char *arg, struct err *err);
/* Whether drives can have that id: -EINVAL, -EEXIST with `err`. */
int cli_drive_check_id(const struct cli *cli, const char *id, const char *key, const struct prop_ctx *ctx);
/* Whether there is such an image format. -EINVAL, or -ENOTSUP for one that others have, with `err`. */
int cli_drive_check_format(const char *format, const char *key, const struct prop_ctx *ctx);

/*
 * cli_blockdev.c
 *
 * The rows of qcow2's options, for a table over `type`, with a struct config_qcow2 and a struct cli_below as members.
 */
#define CLI_CACHE_MAX (UINT64_C(1) << 30)
#define CLI_QCOW2_FIXED(k, n, w) { .key = k, .type = PROP_FIXED, .names = n, .why = w }
#define CLI_QCOW2_OVERLAP(k) CLI_QCOW2_FIXED("overlap-check." k, prop_names_on_off, "either it is checked or not")
#define CLI_QCOW2_SIZE(type_, k, field, least, most)                                                            \
	{ .key = k, .type = PROP_SIZE, .offset = offsetof(type_, field), .min = least, .max = most }
#define CLI_QCOW2_ROWS(type_, qcow2_, below_)											\
	CLI_QCOW2_SIZE(type_, "cache-size", qcow2_.cache_size, 4096, CLI_CACHE_MAX),						\
	CLI_QCOW2_SIZE(type_, "l2-cache-size", qcow2_.l2_cache_size, 4096, CLI_CACHE_MAX),					\
	CLI_QCOW2_SIZE(type_, "l2-cache-entry-size", qcow2_.l2_cache_entry_size, 512, 2097152),					\
	CLI_QCOW2_SIZE(type_, "refcount-cache-size", qcow2_.refcount_cache_size, 4096, CLI_CACHE_MAX),				\
	{ .key = "lazy-refcounts", .type = PROP_SWITCH, .offset = offsetof(type_, qcow2_.lazy_refcounts),			\
	  .names = cli_names_tristate },											\
	{ .key = "backing", .type = PROP_STRING, .offset = offsetof(type_, below_.backing), .min = 1 },				\
	{ .key = "data-file", .type = PROP_STRING, .offset = offsetof(type_, below_.data_file), .min = 1 },			\
	CLI_QCOW2_FIXED("cache-clean-interval", NULL, NULL),									\
	CLI_QCOW2_FIXED("pass-discard-request", prop_names_on_off, "either they pass or not"),					\
	CLI_QCOW2_FIXED("pass-discard-snapshot", prop_names_on_off, "either they pass or not"),					\
	CLI_QCOW2_FIXED("pass-discard-other", prop_names_on_off, "either they pass or not"),					\
	CLI_QCOW2_FIXED("discard-no-unref", prop_names_off, "what is discarded is given back"),					\
	CLI_QCOW2_FIXED("overlap-check", cli_names_overlap, "there are no others"),						\
	CLI_QCOW2_FIXED("overlap-check.template", cli_names_overlap, "there are no others"),					\
	CLI_QCOW2_OVERLAP("main-header"),											\
	CLI_QCOW2_OVERLAP("active-l1"),												\
	CLI_QCOW2_OVERLAP("active-l2"),												\
	CLI_QCOW2_OVERLAP("refcount-table"),											\
	CLI_QCOW2_OVERLAP("refcount-block"),											\
	CLI_QCOW2_OVERLAP("snapshot-table"),											\
	CLI_QCOW2_OVERLAP("inactive-l1"),											\
	CLI_QCOW2_OVERLAP("inactive-l2"),											\
	CLI_QCOW2_OVERLAP("bitmap-directory"),											\
	CLI_QCOW2_FIXED("encrypt.format", prop_names_none,									\
			"encrypted images are not supported; convert it: qemu-img convert -O qcow2"),				\
	CLI_QCOW2_FIXED("encrypt.key-secret", prop_names_none, "encrypted images are not supported")
extern const char *const cli_names_overlap[];
int cli_blockdev(struct cli *cli, const char *arg, struct err *err);
/*
 * Takes the nodes out of `l` that are written inside it as its `backing` and `data-file`, and puts their names there instead. `below` gets what
 * props_apply does not see. `probe`: those inside need no driver, as in a -drive.
 */
int cli_blockdev_inner(struct cli *cli, struct prop_list *l, bool probe, struct cli_below *below, const struct prop_ctx *ctx);
/* What the two tables cannot tell: a power of two, a cache that is larger than both together. */
int cli_qcow2_check(const struct config_qcow2 *q, const struct prop_ctx *ctx);
void cli_below_fini(struct cli_below *below);
void cli_blockdev_fini(struct cli *cli);

/* cli_graph.c: puts the nodes together into cfg->drives, and under those of -drive. */
int cli_graph_finish(struct cli *cli, struct err *err);

/* cli_disk.c: -device virtio-blk, and which disk has which drive. */
extern const struct prop_table cli_disk_props, cli_disk_mmio_props;
int cli_disk_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_disk_add_mmio(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_disk_add_modern(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_disk_finish(struct cli *cli, struct err *err);
/* What becomes of errors, as the device says or else its drive. */
enum config_on_error cli_error_action(enum cli_error_action device, enum cli_error_action drive);

#define CLI_SCSI_TARGET_MAX 255
#define CLI_SCSI_LUN_MAX 16383
/* cli_scsi.c: adapters, disks and CD-ROM drives; cli_scsi_finish.c: what belongs to what. */
extern const struct prop_table cli_scsi_props, cli_scsi_mmio_props, cli_scsi_hd_props, cli_scsi_cd_props;
int cli_scsi_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_scsi_add_mmio(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_scsi_add_modern(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_scsi_hd_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_scsi_cd_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
/* A unit for a drive that is one by itself. */
int cli_scsi_add_drive(struct cli *cli, const struct cli_drive *drive, struct err *err);
/* An adapter with defaults, without a name: for those. */
int cli_scsi_add_adapter(struct cli *cli, struct err *err);
int cli_scsi_block_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
/* After cli_disk_finish. */
int cli_scsi_finish(struct cli *cli, struct err *err);

/* cli_virtio.c: consoles, ports and random numbers, and what belongs to what. */
extern const struct prop_table cli_virtio_serial_props, cli_virtio_serial_mmio_props, cli_vport_props, cli_virtio_rng_props,
	cli_virtio_rng_mmio_props;
int cli_virtio_serial_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_virtio_serial_add_mmio(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_virtio_serial_add_modern(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_virtconsole_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_virtserialport_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_virtio_rng_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_virtio_rng_add_mmio(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_virtio_rng_add_modern(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_rng_random_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_rng_builtin_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
/* After cli_serial_finish. */
int cli_virtio_finish(struct cli *cli, struct err *err);
void cli_vport_fini(struct cli_vport *port);

/* cli_balloon.c: -device virtio-balloon. */
extern const struct prop_table cli_balloon_props, cli_balloon_mmio_props;
int cli_balloon_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_balloon_add_mmio(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_balloon_add_modern(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
/* Names it, and finds its iothread. After all devices are known. */
int cli_balloon_finish(struct cli *cli, struct err *err);

/* cli_watchdog.c: watchdogs, pvpanic, and what becomes of what they tell. */
extern const struct prop_table cli_i6300esb_props, cli_ib700_props, cli_pvpanic_props, cli_pvpanic_pci_props;
int cli_i6300esb_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_ib700_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_pvpanic_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_pvpanic_pci_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_watchdog_action(struct cli *cli, const char *arg, struct err *err);
int cli_watchdog_finish(struct cli *cli, struct err *err);

/* cli_netdev.c: network back ends. */
int cli_netdev(struct cli *cli, const char *arg, struct err *err);
/*
 * Adds the back end `type` with the properties in `l`, which may have no `id` where `named` is false: then it gets one. NULL with ctx->err. The
 * result is the last of cfg->netdevs.
 */
struct config_netdev *cli_netdev_add(struct cli *cli, const char *type, struct prop_list *l, bool named, const struct prop_ctx *ctx);
/* The back end of that id; NULL: there is none. */
struct config_netdev *cli_netdev_find(const struct cli *cli, const char *id);
/* A number of a descriptor that Kite inherits. -EINVAL with ctx->err. */
int cli_netdev_fd(const char *text, const char *key, int *fd, const struct prop_ctx *ctx);

/* cli_netdev_user.c, cli_netdev_socket.c: fill `netdev`, but for its id. */
int cli_netdev_user(struct config_netdev *netdev, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_netdev_stream(struct config_netdev *netdev, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_netdev_dgram(struct config_netdev *netdev, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_netdev_socket(struct config_netdev *netdev, const struct prop_list *l, const struct prop_ctx *ctx);

/* cli_nic.c: -device virtio-net, -nic and -net, and what belongs to what. */
int cli_nic(struct cli *cli, const char *arg, struct err *err);
int cli_net(struct cli *cli, const char *arg, struct err *err);
extern const struct prop_table cli_nic_props;
int cli_nic_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_nic_add_mmio(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_nic_add_modern(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
/* The one that a machine has whose user said nothing of networks: on user mode. */
int cli_nic_add_default(struct cli *cli, struct err *err);
/* cli_nic_finish.c */
int cli_nic_finish(struct cli *cli, struct err *err);

/* cli_serial.c: which port has which UART, and which chardev. */
int cli_serial_finish(struct cli *cli, struct err *err);

/* cli_pci.c */
#define CLI_VECTORS_AUTO UINT_MAX
#define CLI_VECTORS_MAX 2048
/* What virtio devices are given as functions of PCI, for a table over `type`, of which this is the member `field`. */
struct cli_pci_opts {
	char *addr;
	unsigned vectors;        /* CLI_VECTORS_AUTO to begin with */
	unsigned disable_legacy; /* enum config_tristate */
	bool disable_modern, multifunction;
};
extern const char *const cli_names_pci_bus[];
extern const char cli_why_pci_bus[];
#define CLI_PCI_ROWS(type_, field)                                                                                             \
	{ .key = "addr", .type = PROP_STRING, .offset = offsetof(type_, field.addr) },                                         \
	{ .key = "vectors", .type = PROP_UNSIGNED, .offset = offsetof(type_, field.vectors), .max = CLI_VECTORS_MAX },         \
	{ .key = "disable-legacy", .type = PROP_ENUM, .offset = offsetof(type_, field.disable_legacy), .names = cli_names_tristate }, \
	{ .key = "disable-modern", .type = PROP_BOOL, .offset = offsetof(type_, field.disable_modern) },                       \
	{ .key = "multifunction", .type = PROP_BOOL, .offset = offsetof(type_, field.multifunction) },                         \
	{ .key = "bus", .type = PROP_FIXED, .names = cli_names_pci_bus, .why = cli_why_pci_bus },                              \
	{ .key = "ats", .type = PROP_FIXED, .names = prop_names_off, .why = "the device is made that way" }
/* Settles them; `modern`: the device has no legacy interface. -EINVAL with ctx->err. */
int cli_pci_settle(struct cli *cli, const struct cli_pci_opts *o, bool modern, struct config_virtio_pci *pci, const struct prop_ctx *ctx);
/* Notes where a device is to be, unless that is CONFIG_ADDR_AUTO. */
int cli_pci_place(struct cli *cli, int addr, bool multifunction, const struct prop_ctx *ctx);
/* Whether guests find all of them. -EINVAL with `err`. Two at one place are the bus's to refuse. */
int cli_pci_finish(struct cli *cli, struct err *err);

/* cli_debugcon.c: a port for firmware's messages. */
extern const struct prop_table cli_debugcon_props;
int cli_debugcon_add(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx);
int cli_debugcon(struct cli *cli, const char *arg, struct err *err);
/* After cli_virtio_finish. */
int cli_debugcon_finish(const struct cli *cli, struct err *err);

/* cli_firmware.c: firmware, and what it is told. */
int cli_data_dir(struct cli *cli, const char *arg, struct err *err);
int cli_boot(struct cli *cli, const char *arg, struct err *err);
int cli_fw_cfg(struct cli *cli, const char *arg, struct err *err);

/* cli_smbios.c */
int cli_smbios(struct cli *cli, const char *arg, struct err *err);

/* cli_finish.c */
int cli_finish(struct cli *cli, struct err *err);

#endif
