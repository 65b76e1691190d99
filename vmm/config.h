/* SPDX-License-Identifier: MIT */
/*
 * The configuration of a virtual machine: plain data, filled by the command line (vmm/cli.h), read by the bring-up
 * (vmm/launch.h). No descriptors, no objects. Strings and arrays are owned and freed by config_fini.
 *
 * Thread: one at a time.
 */
#ifndef VMM_CONFIG_H
#define VMM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/boot_clock.h"
#include "vmm/chardev.h"
#include "vmm/device.h"
#include "vmm/iothread.h"
#include "vmm/strv.h"

struct err;

#define CONFIG_MAX_CPUS 64
#define CONFIG_MAX_SERIALS 4
#define CONFIG_MAX_DATA_DIRS 16
#define CONFIG_MAX_FW_CFG 64
#define CONFIG_MAX_OEM_STRINGS 64
#define CONFIG_MAX_SMBIOS_FILES 16
#define CONFIG_MAX_CHARDEVS 32
#define CONFIG_MAX_CPU_FEATURES 128
#define CONFIG_MAX_DEBUG_EXITS 4
#define CONFIG_BOOT_TIMER_PORT 0x504
#define CONFIG_MAX_DEBUGCONS 4
#define CONFIG_MAX_DRIVES 64
#define CONFIG_MAX_DISKS 64
#define CONFIG_MAX_IOTHREADS 16
#define CONFIG_MAX_THROTTLE_GROUPS 64
#define CONFIG_MAX_VIRTIO_SERIALS 8
#define CONFIG_MAX_VPORTS 31 /* ports of one */
#define CONFIG_MAX_RNGS 8
#define CONFIG_MAX_SCSIS 8
#define CONFIG_MAX_SCSI_UNITS 64
#define CONFIG_MAX_MONITORS 8
#define CONFIG_MAX_FDS 64
#define CONFIG_MAX_NETDEVS 32
#define CONFIG_MAX_NICS 32
#define CONFIG_MAX_NET_QUEUES 8 /* pairs */
#define CONFIG_MAX_WATCHDOGS 4

#define CONFIG_MAX_VIRTIO_MMIO 32 /* virtio devices of a microvm */

#define CONFIG_MAX_SERIAL_NUMBER 20 /* bytes, of a disk */
#define CONFIG_NO_FD UINT32_MAX
#define CONFIG_ADDR_AUTO (-1)       /* a PCI function's place: the first that is free */

#define CONFIG_MIN_RAM (UINT64_C(64) << 20)
#define CONFIG_DEFAULT_RAM (UINT64_C(128) << 20)
#define CONFIG_MAX_RAM (UINT64_C(4) << 40) /* one KVM memory slot holds a little less than 8 TiB */

/* MACHINE_NONE has nothing, not even vCPUs. */
enum machine_type { MACHINE_PC, MACHINE_MICROVM, MACHINE_NONE };

/* What a board has that not every one must; a pc has all. */
struct config_board {
	bool acpi;           /* else MP tables */
	bool pic, pit, rtc;  /* 8259s that interrupts reach, 8254, MC146818 */
	bool serial;         /* there may be serial ports */
	bool kernel_cmdline; /* without ACPI: virtio transports are put on the kernel's command line */
};

/* -smp, complete and consistent after cli_parse: cpus == sockets * cores * threads, each at least 1. */
struct config_smp {
	unsigned cpus, sockets, cores, threads;
};

/* -cpu host,+name,-name: the changes in the order given; names are checked by arch/x86/cpuid.c. */
struct config_cpu_feature {
	char *name;
	bool on;
};

struct config_cpu {
	char *model; /* "host" or "max"; NULL: host */
	struct config_cpu_feature features[CONFIG_MAX_CPU_FEATURES];
	size_t n_features;
};

/* A -chardev, or the one that a -serial implies. The strings inside are owned. */
struct config_chardev {
	char *id, *path, *host, *port;
	char *logfile;      /* gets all output; NULL: none */
	bool logappend;     /* behind what is in it */
	unsigned fd;        /* socket: one that Kite was started with; CONFIG_NO_FD: none */
	unsigned reconnect; /* seconds; 0: never */
	enum chardev_backend backend;
	bool append, server, wait, signal, mux;
};

/* An ISA UART: -serial, or -device isa-serial. `index` 0 to 3 is COM1 to COM4. */
struct config_serial {
	char *id;      /* "serial0" */
	char *chardev; /* the id of a config_chardev */
	unsigned index;
};

struct config_debug_exit {
	uint16_t iobase, iosize;
};

/* A -device isa-debugcon. */
struct config_debugcon {
	char *chardev; /* the id of a config_chardev, which nothing else uses */
	uint16_t iobase;
	uint8_t readback;
};

/* What a drive is held to, each 0: no limit. A `max` is a burst, held for `length` seconds. */
enum config_limit {
	CONFIG_BPS_TOTAL,
	CONFIG_BPS_READ,
	CONFIG_BPS_WRITE,
	CONFIG_IOPS_TOTAL,
	CONFIG_IOPS_READ,
	CONFIG_IOPS_WRITE,
	CONFIG_LIMITS,
};

struct config_throttle {
	char *group; /* its name; drives of one group share the limits. NULL: the drive's own */
	uint64_t avg[CONFIG_LIMITS], max[CONFIG_LIMITS], length[CONFIG_LIMITS]; /* a second, a second, seconds */
	uint64_t iops_size; /* bytes that count as one operation; 0: any number */
};

/* QEMU's cache modes; see enum blk_cache. */
enum config_cache {
	CONFIG_CACHE_WRITEBACK,
	CONFIG_CACHE_NONE,
	CONFIG_CACHE_WRITETHROUGH,
	CONFIG_CACHE_DIRECTSYNC,
	CONFIG_CACHE_UNSAFE,
};

enum config_tristate { CONFIG_AUTO, CONFIG_ON, CONFIG_OFF };

/* How a qcow2 image is opened. Sizes are bytes, 0 the default. */
struct config_qcow2 {
	uint64_t cache_size, l2_cache_size, l2_cache_entry_size, refcount_cache_size;
	enum config_tristate lazy_refcounts; /* AUTO: as the image says */
};

/* A disk image: a file, and what is in it. */
struct config_image {
	char *path;   /* NULL: none, which CD-ROM drives can do without */
	char *format; /* "raw", "qcow2"...; NULL: found by its first bytes, and guarded */
	bool read_only, auto_read_only;
	enum config_cache cache;
	bool discard, detect_zeroes;
	bool aio_threads; /* aio=threads */
	bool lock;
	struct config_qcow2 qcow2;
	/* Instead of what the image says that it stands on. Owned; NULL: that. */
	struct config_image *backing, *data_file;
	bool no_backing; /* and not what the image says either */
};

/* What a disk can be made of: -drive, or -blockdev with its layers put together. It is opened whether a disk uses it or not. */
struct config_drive {
	char *id; /* unique among drives */
	struct config_image image;
	bool node;     /* of -blockdev: `id` is its node-name */
	bool snapshot; /* the image is only read, and changes end with the machine */
	struct config_throttle throttle;
};

struct config_iothread {
	char *id;
	uint64_t poll_max_ns;
};

/* See enum virtio_blk_on_error. */
enum config_on_error { CONFIG_ERROR_REPORT, CONFIG_ERROR_IGNORE, CONFIG_ERROR_ENOSPC, CONFIG_ERROR_STOP };

/* A virtio-blk device. */
struct config_disk {
	char *id;       /* "virtio-disk0" */
	char *drive;    /* the id of a config_drive, which no other disk uses */
	char *serial;   /* NULL: none */
	char *iothread; /* the id of a config_iothread; NULL: the common one */
	unsigned queues, queue_size;
	uint64_t logical_block, physical_block; /* bytes; 0: as the file suggests */
	enum config_tristate write_cache;
	bool config_wce, discard, write_zeroes;
	enum config_on_error rerror, werror;
	bool modern_only, legacy_only;
	int vectors; /* MSI-X; -1: as many as it can use */
	int addr;    /* slot << 3 | function, or CONFIG_ADDR_AUTO */
	int bootindex; /* -1: none */
};

/* What virtio devices have as functions of PCI. */
struct config_virtio_pci {
	bool modern_only, legacy_only;
	int vectors; /* MSI-X; -1: as many as it can use */
	int addr;    /* slot << 3 | function, or CONFIG_ADDR_AUTO */
};

/* A -device virtconsole or virtserialport. */
struct config_vport {
	char *name;    /* as the guest sees it; NULL: none */
	char *chardev; /* the id of a config_chardev, which nothing else uses; NULL: nobody */
	unsigned nr;   /* unique, below max_ports; 0 is a console */
	bool console;
};

/* A -device virtio-serial-pci. */
struct config_virtio_serial {
	char *id; /* "virtio-serial0" */
	unsigned max_ports;
	struct config_virtio_pci pci;
	struct config_vport ports[CONFIG_MAX_VPORTS];
	size_t n_ports;
};

/* An -object rng-random or rng-builtin. */
struct config_rng_source {
	char *id;
	char *filename; /* NULL: rng-builtin */
};

/* A -device virtio-rng-pci. */
struct config_virtio_rng {
	char *id;           /* "virtio-rng0" */
	char *source;       /* the id of a config_rng_source; NULL: as rng-builtin */
	uint64_t max_bytes; /* each period; UINT64_MAX: no limit */
	uint32_t period_ms;
	struct config_virtio_pci pci;
};

/* A -device virtio-scsi-pci, or the one that stands there for drives without a -device. */
struct config_scsi {
	char *id;       /* "scsi0" */
	char *iothread; /* the id of a config_iothread; NULL: the common one */
	unsigned queues, queue_size;
	uint64_t max_sectors, cmd_per_lun;
	struct config_virtio_pci pci;
};

/* A -device scsi-hd or scsi-cd. */
struct config_scsi_unit {
	char *id;      /* "scsi0-0-0" */
	char *drive;   /* the id of a config_drive, which nothing else uses; that of a CD-ROM drive may be without a file: it is empty then */
	size_t scsi;   /* in scsis */
	bool cd;
	unsigned target, lun; /* scsi-id; the two are unique in an adapter */
	char *serial, *vendor, *product, *version, *device_id; /* NULL: the default, or none */
	uint64_t wwn;  /* 0: none */
	uint64_t logical_block, physical_block; /* bytes; 0: as the file suggests */
	bool removable;
	unsigned rotation_rate;
	enum config_tristate write_cache;
	enum config_on_error rerror, werror;
	int bootindex; /* -1: none */
};

/* A -device virtio-balloon. */
struct config_balloon {
	char *id;       /* "virtio-balloon0" */
	char *iothread; /* the id of a config_iothread; NULL: the main loop */
	bool deflate_on_oom, free_page_reporting, page_poison;
	struct config_virtio_pci pci;
};

/* The names of enum watchdog_action and panic_action, with NULL at the end. */
extern const char *const config_watchdog_actions[], *const config_panic_actions[];

/* A -device i6300esb or ib700. */
struct config_watchdog {
	char *id;
	bool ib700; /* at its ports */
	int addr;   /* else: slot << 3 | function, or CONFIG_ADDR_AUTO */
};

/* A -device pvpanic or pvpanic-pci. */
struct config_pvpanic {
	bool used;
	uint8_t events;  /* that are told to the guest */
	uint16_t ioport; /* pvpanic */
	int addr;        /* pvpanic-pci: slot << 3 | function, or CONFIG_ADDR_AUTO */
};

/* -add-fd: a descriptor that Kite was started with, in a set with the name /dev/fdset/SET. */
struct config_fd {
	unsigned fd, set;
	char *opaque; /* NULL: not given */
};

/* -qmp, -monitor, -mon. */
struct config_monitor {
	char *chardev; /* the id of a config_chardev, which nothing else uses */
	bool human; /* lines for people, not QMP */
	bool pretty;
};

/*
 * -boot. An order is up to three classes of devices, 4 bits each, the first in the lowest: 1 floppy, 2 disk, 3 CD, 4 network; as PC firmware keeps
 * it in CMOS. Devices with a bootindex come before.
 */
struct config_boot {
	uint16_t order, once; /* `once`: until the first reset; 0: not given */
	bool menu, strict;
	int splash_time;      /* how long the menu's key is waited for, ms; -1: as the firmware likes */
	int reboot_timeout;   /* ms until another try where nothing boots; -1: none */
};
#define CONFIG_BOOT_ORDER 0x312 /* disk, floppy, CD */

/* A -fw_cfg: a file of that name for the guest, made of a file or of text. */
struct config_fw_cfg {
	char *name, *file, *string; /* one of the last two is NULL */
};

/* Texts of -smbios type=N, by the structure that has them. */
enum config_smbios_text {
	CONFIG_SMBIOS_BIOS_VENDOR, /* type 0 */
	CONFIG_SMBIOS_BIOS_VERSION,
	CONFIG_SMBIOS_BIOS_DATE,
	CONFIG_SMBIOS_SYSTEM_MANUFACTURER, /* type 1 */
	CONFIG_SMBIOS_SYSTEM_PRODUCT,
	CONFIG_SMBIOS_SYSTEM_VERSION,
	CONFIG_SMBIOS_SYSTEM_SERIAL,
	CONFIG_SMBIOS_SYSTEM_SKU,
	CONFIG_SMBIOS_SYSTEM_FAMILY,
	CONFIG_SMBIOS_BOARD_MANUFACTURER, /* type 2 */
	CONFIG_SMBIOS_BOARD_PRODUCT,
	CONFIG_SMBIOS_BOARD_VERSION,
	CONFIG_SMBIOS_BOARD_SERIAL,
	CONFIG_SMBIOS_BOARD_ASSET,
	CONFIG_SMBIOS_BOARD_LOCATION,
	CONFIG_SMBIOS_CHASSIS_MANUFACTURER, /* type 3 */
	CONFIG_SMBIOS_CHASSIS_VERSION,
	CONFIG_SMBIOS_CHASSIS_SERIAL,
	CONFIG_SMBIOS_CHASSIS_ASSET,
	CONFIG_SMBIOS_CHASSIS_SKU,
	CONFIG_SMBIOS_CPU_SOCKET, /* type 4; a number follows */
	CONFIG_SMBIOS_CPU_MANUFACTURER,
	CONFIG_SMBIOS_CPU_VERSION,
	CONFIG_SMBIOS_CPU_SERIAL,
	CONFIG_SMBIOS_CPU_ASSET,
	CONFIG_SMBIOS_CPU_PART,
	CONFIG_SMBIOS_MEMORY_LOCATOR, /* type 17; a number follows */
	CONFIG_SMBIOS_MEMORY_BANK,
	CONFIG_SMBIOS_MEMORY_MANUFACTURER,
	CONFIG_SMBIOS_MEMORY_SERIAL,
	CONFIG_SMBIOS_MEMORY_ASSET,
	CONFIG_SMBIOS_MEMORY_PART,
	CONFIG_SMBIOS_TEXTS,
};

/* -smbios. What was not given is NULL, 0 or false, and Kite's own is used. */
struct config_smbios {
	bool bios, board; /* there are such structures: types 0 and 2 */
	char *text[CONFIG_SMBIOS_TEXTS];
	bool bios_release_set, bios_uefi;
	uint8_t bios_major, bios_minor;
	uint16_t cpu_max_speed, cpu_speed; /* MHz */
	uint64_t cpu_id;
	uint16_t memory_speed; /* MT/s */
	struct config_oem_string {
		char *text, *path; /* one of them: itself, or a file that has it */
	} oem[CONFIG_MAX_OEM_STRINGS]; /* type 11 */
	size_t n_oem;
	char *files[CONFIG_MAX_SMBIOS_FILES]; /* each a structure of any type, in place of Kite's own of that type */
	size_t n_files;
};

/* A -netdev tap or bridge; and a tap that somebody else has opened. */
struct config_tap {
	char *ifname;               /* NULL: the host chooses */
	int fds[CONFIG_MAX_NET_QUEUES]; /* inherited descriptors, one a queue pair */
	unsigned n_fds;             /* 0: Kite opens the tap itself */
	char *bridge, *helper;      /* a bridge helper opens it: the bridge, the program (NULL: Kite's own). `bridge` NULL: none does */
	char *script, *downscript;  /* run when it is there and before it goes; NULL: none */
	bool script_default;        /* `script` is QEMU's default, and is run only where there is one */
	unsigned queues;            /* pairs */
	uint64_t sndbuf;            /* bytes; 0: no limit */
	enum config_tristate vnet_hdr;
	bool vhost, vhost_force;
	int vhost_fds[CONFIG_MAX_NET_QUEUES];
	unsigned n_vhost_fds;       /* 0: Kite opens /dev/vhost-net */
	uint64_t poll_us;           /* vhost's busy polling; 0: none */
};

/* A -netdev user: text as the helper program reads it, NULL: its default. */
struct config_user_net {
	char *net, *host, *dns, *dhcpstart; /* NET[/BITS], and IPv4 addresses */
	char *hostname, *domainname;
	char *tftp, *bootfile, *tftp_server_name;
	char *ipv6_net, *ipv6_host, *ipv6_dns; /* PREFIX[/BITS], and IPv6 addresses */
	char *helper;                       /* the helper program; NULL: where it is installed */
	char *metadata;                     /* a directory that the guest sees at 169.254.169.254; NULL: none */
	bool ipv4, ipv6, restrict_host;
	struct strv dnssearch, hostfwd, guestfwd;
};

enum config_net_address { CONFIG_NET_NONE, CONFIG_NET_INET, CONFIG_NET_UNIX, CONFIG_NET_FD };

/* The other end of a socket, or this one. */
struct config_net_addr {
	enum config_net_address type;
	char *host, *port; /* CONFIG_NET_INET */
	bool ipv4, ipv6;   /* what `host` may be looked up as: only these, and both false is both */
	char *path;        /* CONFIG_NET_UNIX */
	bool abstract;     /* not in the file system */
	int fd;            /* CONFIG_NET_FD: inherited */
};

enum config_netdev_type { CONFIG_NETDEV_TAP, CONFIG_NETDEV_USER, CONFIG_NETDEV_STREAM, CONFIG_NETDEV_DGRAM };

/* A -netdev, or what -nic or -net make of it. It is opened whether a NIC uses it or not. */
struct config_netdev {
	char *id; /* unique among network back ends */
	enum config_netdev_type type;
	bool optional; /* nobody asked for it: a machine without it is better than none */
	struct config_tap tap;
	struct config_user_net user;
	struct {
		bool server;
		uint64_t reconnect_ms; /* 0: never again */
		struct config_net_addr addr;
	} stream;
	struct {
		struct config_net_addr local, remote;
	} dgram;
};

/* What a NIC is held to, each 0: no limit; bytes and packets a second, as the guest sends (tx) and receives (rx) them. */
enum config_net_limit { CONFIG_RX_BPS, CONFIG_RX_PPS, CONFIG_TX_BPS, CONFIG_TX_PPS, CONFIG_NET_LIMITS };

struct config_net_limits {
	uint64_t avg[CONFIG_NET_LIMITS], max[CONFIG_NET_LIMITS], length[CONFIG_NET_LIMITS]; /* as struct config_throttle */
};

enum config_duplex { CONFIG_DUPLEX_UNKNOWN, CONFIG_DUPLEX_HALF, CONFIG_DUPLEX_FULL };

/* A virtio-net device. */
struct config_nic {
	char *id;       /* "virtio-net0" */
	char *netdev;   /* the id of a config_netdev, which no other NIC uses; NULL: there is no cable */
	char *iothread; /* the id of a config_iothread; NULL: the common one */
	uint8_t mac[6];
	unsigned queues; /* pairs */
	unsigned rx_queue_size, tx_queue_size;
	unsigned host_mtu;      /* 0: not told to the guest */
	uint32_t speed;         /* Mbit/s; UINT32_MAX: not told */
	enum config_duplex duplex;
	uint64_t features_off;  /* VIRTIO_NET_F_... (virtio 1.2, 5.1.3) that are not offered, as BIT64 */
	struct config_net_limits limits;
	struct config_virtio_pci pci;
	int bootindex; /* -1: none */
	char *romfile; /* the expansion ROM; NULL: the usual one where it may be booted from; "": none */
};

/* -sandbox. */
struct config_sandbox {
	bool on, log, namespaces;
	struct strv files; /* directories that a monitor may name files of, beside those of the images */
};

enum rtc_base { RTC_BASE_UTC, RTC_BASE_LOCALTIME, RTC_BASE_DATE };

struct vm_config {
	char *name;             /* NULL: not given */
	char *process_name;     /* -name process=: what ps shows; NULL: not given */
	bool debug_threads;     /* accepted; the threads are always named */
	uint8_t uuid[16];       /* in text order */
	bool uuid_set;
	enum machine_type machine;
	struct config_board board;
	uint64_t ram_size;      /* bytes, a multiple of 8 KiB, CONFIG_MIN_RAM to CONFIG_MAX_RAM */
	struct config_smp smp;
	struct config_cpu cpu;
	char *kernel, *initrd, *append; /* NULL: not given */
	char *bios;             /* the firmware, which runs without a kernel; NULL: SeaBIOS */
	struct config_boot boot;
	bool nodefaults, nographic, no_reboot, no_shutdown;
	bool daemonize;
	char *pidfile;          /* NULL: not given */
	bool paused;            /* -S: somebody starts it later */
	enum rtc_base rtc_base;
	int64_t rtc_date;       /* RTC_BASE_DATE: seconds since the epoch at start */
	struct config_sandbox sandbox;
	char *run_as, *chroot_dir; /* NULL: not given */
	struct config_balloon balloon;
	bool has_balloon;
	struct config_pvpanic pvpanic, pvpanic_pci;
	enum watchdog_action watchdog_action;
	enum panic_action panic_action;
	bool testdev;           /* -device pc-testdev */
	bool debug_log;         /* -d debug */
	bool count_exits;       /* -d exits */
	bool boot_timer;        /* -device isa-boot-timer, at this port */
	uint16_t boot_timer_port;
	struct boot_clock clock; /* started by main if there is a boot timer */

	/* How many there are in the lists, which come last: whoever finds that a list is empty has not touched its pages. */
	size_t n_data_dirs, n_fw_cfg, n_chardevs, n_serials, n_monitors, n_fds, n_debug_exits, n_debugcons, n_drives, n_disks;
	size_t n_iothreads, n_throttle_groups, n_virtio_serials, n_rng_sources, n_rngs, n_netdevs, n_nics, n_scsis, n_scsi_units;
	size_t n_watchdogs;

	struct config_smbios smbios;
	char *data_dirs[CONFIG_MAX_DATA_DIRS]; /* -L: where firmware is looked for first */
	struct config_fw_cfg fw_cfg[CONFIG_MAX_FW_CFG];
	struct config_chardev chardevs[CONFIG_MAX_CHARDEVS];
	struct config_serial serials[CONFIG_MAX_SERIALS];
	struct config_monitor monitors[CONFIG_MAX_MONITORS];
	struct config_fd fds[CONFIG_MAX_FDS];
	struct config_debug_exit debug_exits[CONFIG_MAX_DEBUG_EXITS];
	struct config_debugcon debugcons[CONFIG_MAX_DEBUGCONS];
	struct config_drive drives[CONFIG_MAX_DRIVES];
	struct config_disk disks[CONFIG_MAX_DISKS];
	struct config_iothread iothreads[CONFIG_MAX_IOTHREADS];
	struct config_throttle throttle_groups[CONFIG_MAX_THROTTLE_GROUPS]; /* -object throttle-group; `group` is the id */
	struct config_virtio_serial virtio_serials[CONFIG_MAX_VIRTIO_SERIALS];
	struct config_rng_source rng_sources[CONFIG_MAX_RNGS];
	struct config_virtio_rng rngs[CONFIG_MAX_RNGS];
	struct config_netdev netdevs[CONFIG_MAX_NETDEVS];
	struct config_nic nics[CONFIG_MAX_NICS];
	struct config_scsi scsis[CONFIG_MAX_SCSIS];
	struct config_scsi_unit scsi_units[CONFIG_MAX_SCSI_UNITS];
	struct config_watchdog watchdogs[CONFIG_MAX_WATCHDOGS];
};

/* Defaults: machine pc, 128 MiB, one vCPU, -cpu host, nothing else. Free with config_fini, which leaves zeroes. */
void config_init(struct vm_config *cfg);
void config_fini(struct vm_config *cfg);
/* The same for one on the heap, of which only what is used takes memory. NULL without memory; config_destroy takes NULL. */
struct vm_config *config_create(void);
void config_destroy(struct vm_config *cfg);
/* Frees the model and the features, and leaves zeroes. */
void config_cpu_fini(struct config_cpu *cpu);
/* The same for one of a kind. */
void config_image_fini(struct config_image *image);
void config_drive_fini(struct config_drive *drive);
void config_disk_fini(struct config_disk *disk);
void config_netdev_fini(struct config_netdev *netdev);
void config_nic_fini(struct config_nic *nic);
void config_sandbox_fini(struct config_sandbox *sandbox);

void config_scsi_unit_fini(struct config_scsi_unit *unit);

/* The iothread of whatever uses the drive; NULL: the common one. Borrowed. */
const char *config_drive_iothread(const struct vm_config *cfg, const char *drive);

/* Whether a socket of its is to be connected again after its peer has gone. */
bool config_reconnects(const struct vm_config *cfg);
/* Whether every monitor has a chardev to itself, or, one for people, shares a mux with something else. 0 or -errno with `err`. */
int config_check_monitors(const struct vm_config *cfg, struct err *err);
/* Whether nothing needs the terminal that -daemonize takes away. The same. */
int config_check_daemon(const struct vm_config *cfg, struct err *err);
/* Whether what is asked of the sandbox goes together. The same. */
int config_check_sandbox(const struct vm_config *cfg, struct err *err);

/* How many virtio devices it describes. */
size_t config_virtio_devices(const struct vm_config *cfg);

#endif
