/* SPDX-License-Identifier: MIT */
/*
 * Every device that a machine can be built from: one constructor each, with all that it needs from outside. A constructor
 * places the device's regions on the buses and returns it in its power-on state; NULL with `err` on failure, and then nothing of
 * it is left. The machine owns the result and ends it with device->ops->destroy.
 *
 * Names and strings are borrowed and outlive the device; irq_line values are copied.
 *
 * Thread: constructors on the main thread, with no vCPU running. Handlers in vCPU threads, each device under its own mutex.
 */
#ifndef HW_DEVICES_H
#define HW_DEVICES_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "vmm/bucket.h"
#include "vmm/device.h"
#include "vmm/irq.h"
#include "vmm/msi.h"

struct blockdev;
struct boot_clock;
struct bus;
struct bus_region;
struct chardev;
struct err;
struct eventloop;
struct guest_mem;
struct netdev;
struct virtio_dev;

/* Where a device lives. Copied by constructors that keep it. */
struct device_env {
	struct bus *pio;
	struct bus *mmio;
	struct eventloop *loop; /* timers and input */
	struct machine_link link;
	const struct guest_mem *mem;
	struct msi_source msi;           /* vectors for MSI-X */
	struct doorbell_source doorbells;
};

/* hw/serial.c: a National Semiconductor PC16550D UART with 16-byte FIFOs, 8 ports. */
struct serial_config {
	const char *name; /* "serial0" */
	uint16_t iobase;  /* 0x3f8 */
	struct irq_line irq;
	struct chardev *chardev; /* borrowed; not NULL */
};
struct device *serial_create(const struct device_env *env, const struct serial_config *cfg, struct err *err);

/* hw/rtc.c: a Motorola MC146818 real-time clock with 128 bytes of CMOS memory, ports 0x70 and 0x71. */
struct rtc_config {
	struct irq_line irq;     /* ISA 8 */
	int64_t start_seconds;   /* what the clock shows at creation, seconds since 1970 in the guest's time base */
	uint64_t ram_below_4g;   /* bytes, for the memory size fields of CMOS */
	uint64_t ram_above_4g;
	uint8_t cpus;            /* for CMOS: at most 255 */
	uint16_t boot_order;     /* for CMOS: 4 bits a choice, the first in the lowest; 1 floppy, 2 disk, 3 CD, 4 network. 0: none */
	bool check_floppy;       /* for CMOS: whether firmware looks for a boot signature on floppies */
};
/* Changes the boot order in CMOS. */
void rtc_set_boot_order(struct device *dev, uint16_t order);
struct device *rtc_create(const struct device_env *env, const struct rtc_config *cfg, struct err *err);

/* hw/i8042.c: a keyboard controller, ports 0x60 and 0x64, with nothing plugged in: self-test, A20, and reset by command 0xfe. */
struct i8042_config {
	struct irq_line irq; /* ISA 1 */
};
struct device *i8042_create(const struct device_env *env, const struct i8042_config *cfg, struct err *err);

/* hw/reset_ctl.c: reset control register 0xcf9 (PIIX4, ICH) and system control port A 0x92 (PS/2). */
struct device *reset_ctl_create(const struct device_env *env, struct err *err);
/*
 * Takes register 0xcf9, with the ports 0xcf8 to 0xcfb around it, off the bus and returns it, for the PCI bus, whose configuration
 * address register is there: from now on its owner hands the accesses to 0xcf9 on. Borrowed; lives as long as the device.
 */
const struct bus_region *reset_ctl_take_rcr(struct device *dev);

/* hw/acpi_pm.c: the fixed hardware of ACPI 6.4, 4.8: PM1a event and control blocks, PM timer, GPE0; 16 ports from `iobase`. */
#define ACPI_PM_PORTS 16
#define ACPI_PM1_EVT 0 /* offsets from iobase */
#define ACPI_PM1_CNT 4
#define ACPI_PM_TMR 8
#define ACPI_GPE0 12
#define ACPI_PM_S5_SLP_TYP 5
struct acpi_pm_config {
	uint16_t iobase;
	struct irq_line sci;
};
struct device *acpi_pm_create(const struct device_env *env, const struct acpi_pm_config *cfg, struct err *err);
/* Presses the power button: PWRBTN_STS, and the SCI when the guest enabled it. Any thread. */
void acpi_pm_power_button(struct device *dev);

/* hw/acpi_ged.c: hardware-reduced ACPI (6.4, 4.1): the generic event device's selector and the sleep registers; 8 ports from `iobase`. */
#define ACPI_GED_PORTS 8
#define ACPI_GED_EVENT 0 /* offsets from iobase */
#define ACPI_GED_SLEEP_CONTROL 4
#define ACPI_GED_SLEEP_STATUS 5
#define ACPI_GED_POWER_BUTTON 1 /* an event */
#define ACPI_GED_S5_SLP_TYP 5
struct acpi_ged_config {
	uint16_t iobase;
	struct irq_line irq; /* level-triggered, active high */
};
struct device *acpi_ged_create(const struct device_env *env, const struct acpi_ged_config *cfg, struct err *err);
/* Presses the power button. Any thread. */
void acpi_ged_power_button(struct device *dev);

/* hw/debug_exit.c: isa-debug-exit. A write of v ends the process with status (v << 1) | 1. */
struct debug_exit_config {
	uint16_t iobase, iosize; /* iosize 1 to 8 */
};
struct device *debug_exit_create(const struct device_env *env, const struct debug_exit_config *cfg, struct err *err);

/* hw/boot_timer.c: isa-boot-timer, a port whose writes are logged with the time since Kite's start. */
struct boot_timer_config {
	uint16_t iobase;
	const struct boot_clock *clock; /* borrowed */
};
struct device *boot_timer_create(const struct device_env *env, const struct boot_timer_config *cfg, struct err *err);

/* hw/debugcon.c: isa-debugcon, a port for firmware's messages. */
struct debugcon_config {
	uint16_t iobase;
	uint8_t readback;        /* what the port reads as */
	struct chardev *chardev; /* borrowed; nobody else's */
};
struct device *debugcon_create(const struct device_env *env, const struct debugcon_config *cfg, struct err *err);

/*
 * hw/i6300esb.c: the watchdog of Intel's 6300ESB I/O controller hub (document 300641-004, chapter 23), a function of PCI. What becomes of a
 * guest that forgets it is not its own to say: MACHINE_WATCHDOG.
 */
struct pci_bus;
struct i6300esb_config {
	const char *name; /* "watchdog0" */
	int devfn;        /* or PCI_ADDR_AUTO */
};
struct device *i6300esb_create(const struct device_env *env, struct pci_bus *bus, const struct i6300esb_config *cfg, struct err *err);

/* hw/ib700.c: the watchdog of IB700 single-board computers: port 0x443 starts it for 30 - 2n seconds, 0x441 stops it. */
struct ib700_config {
	const char *name;
};
struct device *ib700_create(const struct device_env *env, const struct ib700_config *cfg, struct err *err);

/*
 * hw/pvpanic.c: a register by which a guest tells that it has crashed (QEMU's docs/specs/pvpanic.rst): a byte of I/O, or of a BAR. It reads
 * what is understood, of PVPANIC_EVENTS those that `events` allows.
 */
#define PVPANIC_PANICKED 1
#define PVPANIC_CRASHLOADED 2
#define PVPANIC_EVENTS (PVPANIC_PANICKED | PVPANIC_CRASHLOADED)
#define PVPANIC_PORT 0x505
struct pvpanic_config {
	uint8_t events;
	uint16_t iobase; /* without a bus */
	int devfn;       /* with one; or PCI_ADDR_AUTO */
};
/* `bus` NULL: at the port. */
struct device *pvpanic_create(const struct device_env *env, struct pci_bus *bus, const struct pvpanic_config *cfg, struct err *err);

/* hw/testdev.c: pc-testdev, what small test kernels expect of QEMU's: I/O echo ports, interrupt lines, test memory. */
#define TESTDEV_IRQS 24
struct testdev_config {
	struct irq_line irqs[TESTDEV_IRQS]; /* GSI 0 to 23 */
	const struct guest_mem *mem;        /* for the flush port, borrowed; NULL: it does nothing */
};
struct device *testdev_create(const struct device_env *env, const struct testdev_config *cfg, struct err *err);

/* hw/virtio_blk.c: a disk (Virtio 1.2, 5.2), for a transport of hw/virtio.h to take over. It works on the block device's loop. */
#define VIRTIO_BLK_MIN_QUEUE 4
#define VIRTIO_BLK_SERIAL_MAX 20
/* What becomes of a request that the host fails: QEMU's rerror= and werror=. */
enum virtio_blk_on_error {
	VIRTIO_BLK_REPORT, /* the driver is told */
	VIRTIO_BLK_IGNORE, /* the driver is told that all is well */
	VIRTIO_BLK_ENOSPC, /* as STOP where the host has no space left, else as REPORT */
	VIRTIO_BLK_STOP,   /* kept, and the machine stopped (VM_REQUEST_IO_ERROR); tried again when it goes on */
};
struct virtio_blk_config {
	const char *name;        /* "virtio-disk0" */
	struct blockdev *bd;     /* borrowed; nobody else's while the device is there */
	const char *serial;      /* at most VIRTIO_BLK_SERIAL_MAX bytes; NULL: none */
	unsigned queues;         /* 1 to VIRTIO_MAX_QUEUES */
	uint16_t queue_size;     /* a power of two, VIRTIO_BLK_MIN_QUEUE to VIRTQ_SIZE_MAX */
	uint32_t logical_block, physical_block; /* bytes, powers of two, 512 to 2 MiB; 0: 512, and the block device's hint */
	bool write_cache;        /* completed writes may wait for a flush; a driver that cannot flush gets none */
	bool config_wce;         /* the driver may switch that */
	bool discard, write_zeroes; /* offered if the block device can */
	enum virtio_blk_on_error read_error, write_error;
};
struct virtio_dev *virtio_blk_create(const struct device_env *env, const struct virtio_blk_config *cfg, struct err *err);

/*
 * hw/virtio_console.c: consoles and named ports (virtio 1.2, 5.3), to be put behind a transport (hw/virtio.h). It works on
 * env->loop, which must be that of its chardevs.
 */
#define VIRTIO_CONSOLE_PORTS 31
struct virtio_console_config {
	const char *name;    /* "virtio-serial0" */
	unsigned max_ports;  /* 1 to VIRTIO_CONSOLE_PORTS; 1: without F_MULTIPORT, port 0 only */
	uint16_t cols, rows; /* of the consoles; 0: F_SIZE is not offered */
};
struct virtio_dev *virtio_console_create(const struct device_env *env, const struct virtio_console_config *cfg, struct err *err);

struct virtio_console_port_config {
	unsigned nr;             /* 0 is always a console */
	bool console;            /* the guest gets an hvc; it counts as connected also while nobody is */
	const char *name;        /* copied; NULL: none */
	struct chardev *chardev; /* borrowed; NULL: nobody is ever there */
};
/*
 * Also while a driver is at work, which then hears of it. -ERANGE for `nr`, -EBUSY where there is a port, -EINVAL for port 0 that is
 * no console, -EEXIST for a name that another has, with `err`. The device's loop.
 */
int virtio_console_add_port(struct virtio_dev *dev, const struct virtio_console_port_config *cfg, struct err *err);
/* Nothing when there is none. */
void virtio_console_remove_port(struct virtio_dev *dev, unsigned nr);
/* Whether the driver has the port open; QEMU's users know it as VSERPORT_CHANGE. */
bool virtio_console_guest_open(const struct virtio_dev *dev, unsigned nr);
/* The terminal has a new size. Nothing when F_SIZE is not offered. */
void virtio_console_resize(struct virtio_dev *dev, uint16_t cols, uint16_t rows);

/*
 * hw/virtio_rng.c: an entropy source (virtio 1.2, 5.4), to be put behind a transport. At most `max_bytes` are given in each period;
 * a request that finds none left waits for the next.
 */
struct virtio_rng_config {
	const char *name;      /* "virtio-rng0" */
	const char *filename;  /* a character device such as /dev/urandom; NULL: getrandom(2) */
	uint64_t max_bytes;    /* UINT64_MAX: no limit; not 0 */
	uint32_t period_ms;    /* not 0 */
};
struct virtio_dev *virtio_rng_create(const struct device_env *env, const struct virtio_rng_config *cfg, struct err *err);

/*
 * hw/virtio_balloon.c: a memory balloon (Virtio 1.2, 5.5), to be put behind a transport. Pages that the driver puts into it, and those that it
 * reports as free, are given back to the host. It works on env->loop.
 */
struct virtio_balloon_config {
	const char *name;      /* "virtio-balloon0" */
	bool deflate_on_oom;   /* the driver may take pages back by itself */
	bool page_reporting;   /* the driver tells of free pages */
	bool page_poison;      /* the driver may say what it fills free pages with; those are then left alone */
};
struct virtio_dev *virtio_balloon_create(const struct device_env *env, const struct virtio_balloon_config *cfg, struct err *err);

/* For a monitor; any thread. */
/* How many bytes the balloon is to hold; and holds, as the driver says. Whole pages of 4 KiB. */
void virtio_balloon_set_target(struct virtio_dev *dev, uint64_t bytes);
uint64_t virtio_balloon_held(struct virtio_dev *dev);
/* `changed` is called when virtio_balloon_held may be another, on any thread, under a lock of the device's; NULL: nobody is. */
void virtio_balloon_observe(struct virtio_dev *dev, void (*changed)(void *opaque), void *opaque);
/* What the driver tells of its memory (5.5.6.4), by tag: bytes, or counts for the first four and the last two. */
enum virtio_balloon_stat {
	VIRTIO_BALLOON_SWAP_IN, VIRTIO_BALLOON_SWAP_OUT, VIRTIO_BALLOON_MAJOR_FAULTS, VIRTIO_BALLOON_MINOR_FAULTS,
	VIRTIO_BALLOON_FREE, VIRTIO_BALLOON_TOTAL, VIRTIO_BALLOON_AVAILABLE, VIRTIO_BALLOON_CACHES,
	VIRTIO_BALLOON_HTLB_ALLOCS, VIRTIO_BALLOON_HTLB_FAILURES,
	VIRTIO_BALLOON_STATS,
};
#define VIRTIO_BALLOON_UNKNOWN UINT64_MAX
struct virtio_balloon_stats {
	uint64_t value[VIRTIO_BALLOON_STATS]; /* VIRTIO_BALLOON_UNKNOWN: not told */
	int64_t last_update;                  /* seconds since 1970; 0: never */
};
void virtio_balloon_stats(struct virtio_dev *dev, struct virtio_balloon_stats *stats);
/* How often they are asked for, in seconds; 0: never, as at first. */
uint32_t virtio_balloon_polling(struct virtio_dev *dev);
void virtio_balloon_set_polling(struct virtio_dev *dev, uint32_t seconds);

/*
 * hw/virtio_net.c: a network card (Virtio 1.2, 5.1), to be put behind a transport. The switches are QEMU's properties of these names: what is off, or
 * what the back end cannot, is not offered.
 */
#define VIRTIO_NET_MAX_PAIRS 8
#define VIRTIO_NET_MIN_QUEUE 64
#define VIRTIO_NET_MIN_MTU 68
#define VIRTIO_NET_SPEED_UNKNOWN 0xffffffffu
enum virtio_net_duplex { VIRTIO_NET_HALF = 0, VIRTIO_NET_FULL = 1, VIRTIO_NET_DUPLEX_UNKNOWN = 0xff };
/* Limits of one direction: they hold frames back, and drop none. */
struct virtio_net_limits {
	struct throttle_limit bytes, frames; /* a second; all zeroes: none */
};
struct virtio_net_config {
	const char *id;        /* "net0", for messages */
	struct netdev *netdev; /* borrowed; nobody else's while the device is there */
	uint8_t mac[6];
	unsigned queues;       /* pairs, 1 to VIRTIO_NET_MAX_PAIRS, and not more than the back end has */
	uint16_t rx_queue_size, tx_queue_size; /* powers of two, VIRTIO_NET_MIN_QUEUE to VIRTQ_SIZE_MAX */
	uint16_t mtu;          /* QEMU's host_mtu: told to the driver; 0: none */
	uint32_t speed;        /* Mbit/s, told with duplex; VIRTIO_NET_SPEED_UNKNOWN */
	enum virtio_net_duplex duplex;
	bool csum, guest_csum, gso;
	bool host_tso4, host_tso6, host_ecn, host_ufo, host_uso;
	bool guest_tso4, guest_tso6, guest_ecn, guest_ufo, guest_uso4, guest_uso6;
	bool mrg_rxbuf, status, guest_announce;
	bool ctrl_vq, ctrl_rx, ctrl_vlan, ctrl_rx_extra, ctrl_mac_addr, ctrl_guest_offloads;
	bool mq;               /* offered where there are several pairs */
	bool rss, hash;        /* receive-side scaling, hash report */
	struct virtio_net_limits tx, rx; /* tx: from the guest */
};
/* QEMU's defaults for everything but id, netdev and mac: one pair, queues of 256. */
void virtio_net_config_init(struct virtio_net_config *cfg);
/* `loop` is that of cfg->netdev. */
struct virtio_dev *virtio_net_create(const struct device_env *env, struct eventloop *loop, const struct virtio_net_config *cfg,
				     struct err *err);

/* For a monitor; the main thread. */
/* The cable, as set_link of QEMU: while it is out nothing goes through. Also the back end's own link has to be up. */
void virtio_net_set_link(struct virtio_dev *dev, bool up);
/* Has the driver announce itself to the network, as after a migration. False: it cannot. */
bool virtio_net_announce(struct virtio_dev *dev);
struct virtio_net_state {
	uint8_t mac[6];
	bool link_up, promisc, allmulti, alluni, nomulti, nouni, nobcast;
	bool uni_overflow, multi_overflow; /* the driver's table is too long: everything of the kind is received */
	unsigned n_unicast, n_multicast, n_vlans; /* entries of the filters */
	unsigned pairs;    /* in use; 0: no driver is at work */
	uint64_t features; /* chosen */
};
void virtio_net_query(struct virtio_dev *dev, struct virtio_net_state *state);

/*
 * hw/virtio_scsi.c: a SCSI adapter (virtio 1.2, 5.6), to be put behind a transport; its units are of hw/scsi.h.
 */
#define VIRTIO_SCSI_MAX_QUEUES 62
#define VIRTIO_SCSI_MIN_QUEUE 4
struct scsi_unit;
struct virtio_scsi_config {
	const char *name;       /* "scsi0" */
	struct eventloop *loop; /* borrowed; that of its units' block devices */
	unsigned queues;        /* for requests: 1 to VIRTIO_SCSI_MAX_QUEUES */
	uint16_t queue_size;    /* a power of two, VIRTIO_SCSI_MIN_QUEUE to VIRTQ_SIZE_MAX */
	uint32_t max_sectors, cmd_per_lun; /* hints for the driver */
};
struct virtio_dev *virtio_scsi_create(const struct device_env *env, const struct virtio_scsi_config *cfg, struct err *err);
/*
 * Takes the unit over; a driver at work hears of it. -EBUSY: its place is taken, -E2BIG, with `err`, and it is still the caller's. The loop, or
 * before it works for the device.
 */
int virtio_scsi_add_unit(struct virtio_dev *dev, struct scsi_unit *unit, struct err *err);
/* Gives it back, with nothing in flight. The loop. */
void virtio_scsi_remove_unit(struct virtio_dev *dev, struct scsi_unit *unit);

#endif
