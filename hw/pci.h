/* SPDX-License-Identifier: MIT */
/*
 * The PCI bus (PCI Local Bus Specification 3.0) and the functions on it.
 *
 * A bus has 32 slots of 8 functions, reached by configuration mechanism 1 (ports 0xcf8, 0xcfc) and by ECAM (PCI Firmware
 * Specification 3.3, 4.1). A function embeds struct pci_dev, describes itself in its configuration space, and is placed by pci_dev_add.
 *
 * BARs are moved, sized and switched off by the guest at any time: an access that has begun finishes against the device, one that comes
 * later finds the new place. The bus forgets a place only after the new one is known.
 *
 * MSI-X (PCI 3.0, 6.8.2): the vector table and the pending bits live in a BAR of their own; a vector that is masked when it fires
 * becomes pending and fires when it is unmasked. INTx is a level, wired to the interrupt router's four lines by slot and pin:
 * (slot + pin - 1) mod 4.
 *
 * Thread: constructors and reset on the main thread with vCPUs paused; configuration and BAR accesses in vCPU threads, one at a time
 * for a function: its handlers and the ops below run under the function's mutex (configuration: the bus's mutex, too), so none of
 * them may access the function through a bus. pci_set_intx, pci_msix_enabled, pci_msix_fire and pci_msix_fd any thread, also from handlers.
 */
#ifndef HW_PCI_H
#define HW_PCI_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "hw/devices.h"
#include "vmm/bus.h"
#include "vmm/device.h"
#include "vmm/irq.h"
#include "vmm/msi.h"

struct err;
struct pci_bus;
struct pci_dev;

#define PCI_CONFIG_SIZE 4096 /* with ECAM; mechanism 1 reaches the first 256 bytes */
#define PCI_BARS 6
#define PCI_ADDR_AUTO (-1)
#define PCI_DEVFN(slot, fn) ((slot) << 3 | (fn))
#define PCI_ECAM_SIZE (UINT64_C(1) << 20) /* one bus */

struct pci_window {
	uint64_t base, size;
};

struct pci_bus_config {
	uint64_t ecam_base;          /* 0: none */
	struct pci_window io;        /* ports */
	struct pci_window mem32, mem64;
	struct irq_line intx[4];     /* router lines A to D */
	/*
	 * An end of an ISA interrupt, for the ISA bridge's router (82371SB, PIRQx route control), which puts lines A to D there for systems without an
	 * IOAPIC, as firmware tells it. NULL: there is none.
	 */
	struct irq_line (*isa_irq)(void *opaque, unsigned irq);
	void *isa_opaque;
	/*
	 * The host bridge's registers PAM0 to PAM6 (82441FX data sheet, 3.2.18) were written, or reset: shadow RAM is the machine's. vCPU
	 * threads and resets, under the bus's locks. NULL: nothing follows.
	 */
	void (*pam_changed)(void *opaque, const uint8_t pam[7]);
	void *pam_opaque;
	struct device *reset_ctl;    /* owns port 0xcf9 in the middle of mechanism 1's address register; see hw/reset_ctl.c */
};

/* The bus with its host bridge at 00.0 and the ISA bridge at 01.0. A device like others for the machine. NULL with `err`. */
struct pci_bus *pci_bus_create(const struct device_env *env, const struct pci_bus_config *cfg, struct err *err);
struct device *pci_bus_device(struct pci_bus *bus);

/*
 * Gives every BAR a place in the windows, as firmware does, and switches decoding on. For machines without firmware: after every reset,
 * before the kernel is entered. 0 or -ENOSPC with `err`.
 */
int pci_bus_assign(struct pci_bus *bus, struct err *err);
/* Which of cfg.intx its functions may drive, as bits. Any thread. */
unsigned pci_bus_intx_lines(struct pci_bus *bus);

/* A function as it is at a moment, for those who look at a machine that runs. */
struct pci_seen {
	const char *name;   /* the device's; borrowed as long as the machine lives */
	unsigned devfn;
	uint8_t header[64]; /* of its configuration space */
	struct {
		uint64_t size;    /* 0: there is none of that number */
		uint64_t address; /* 0: nowhere */
		bool io, is_64, prefetchable;
	} bars[6];
};

/*
 * Tells of every function, by ascending devfn. Takes no lock that is held while a handler runs, so the main thread may ask while vCPUs wait
 * for it.
 */
void pci_bus_look(struct pci_bus *bus, void (*seen)(void *opaque, const struct pci_seen *function), void *opaque);

struct pci_ids {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* 24 bits: class, subclass, interface */
	uint8_t revision;
};

enum pci_bar_kind { PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

struct pci_bar {
	enum pci_bar_kind kind;
	bool prefetchable;
	struct bus_region region; /* size a power of two; base where it is now; its handlers lock, then call `ops` */
	bool used, mapped;
	struct pci_dev *dev;
	const struct bus_ops *ops; /* the device's */
	void *opaque;
	struct bus_ops locked;
	/* The BAR came to, or went from, `base`; for doorbells, which follow it. NULL: nothing. Under both mutexes. */
	void (*moved)(struct pci_dev *dev, unsigned bar, bool mapped, uint64_t base);
};

struct pci_dev_ops {
	/* A write to the function's own configuration bytes (capabilities) has been stored. NULL: nothing. */
	void (*config_written)(struct pci_dev *dev, unsigned offset, unsigned len);
	/* A read of them is about to happen: refresh dev->config. NULL: nothing. */
	void (*config_read)(struct pci_dev *dev, unsigned offset, unsigned len);
	/* Bus master or decoding was switched. NULL: nothing. */
	void (*command_changed)(struct pci_dev *dev, uint16_t command);
	/* MSI-X vectors were masked, let through or given other messages. NULL: nothing. */
	void (*msix_changed)(struct pci_dev *dev);
};

struct pci_msix;

/* The first member of every function's device struct is `struct device`, this one follows it. */
struct pci_dev {
	const struct pci_dev_ops *ops;
	const char *name; /* "virtio-disk0" */
	struct pci_bus *bus;  /* NULL: on none */
	int devfn;
	pthread_mutex_t lock; /* see above; the bus's own */
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t wmask[PCI_CONFIG_SIZE]; /* bits that the guest may write */
	struct pci_bar bars[PCI_BARS];
	uint8_t next_cap;     /* where the next capability goes */
	uint8_t *last_link;   /* the byte that points to it */
	struct pci_msix *msix; /* NULL: none */
	bool intx_level;       /* what the device wants */
	bool intx_driven;      /* what the line gets: not while INTx is disabled or MSI-X enabled */
};

/* Fills in the header. `intx` gives it pin A. */
void pci_dev_init(struct pci_dev *dev, const char *name, const struct pci_dev_ops *ops, const struct pci_ids *ids, bool intx);
/* Before pci_dev_add. `size` is a power of two, at least 4 for I/O and 16 for memory; 64-bit BARs take two numbers. */
void pci_dev_set_bar(struct pci_dev *dev, unsigned bar, enum pci_bar_kind kind, uint64_t size, const struct bus_ops *ops, void *opaque);
/* Appends a capability of `len` bytes (the first two, id and link, included) and returns its offset. Content from `body`, len - 2 bytes. */
unsigned pci_dev_add_capability(struct pci_dev *dev, uint8_t id, const void *body, unsigned len);
/* MSI-X with `vectors` (1 to 2048) in memory BAR `bar`. 0 or -errno with `err`. */
int pci_dev_add_msix(struct pci_dev *dev, unsigned bar, unsigned vectors, const struct msi_source *source, struct err *err);

/*
 * Puts it on the bus at `devfn`, or in the first free slot for PCI_ADDR_AUTO. -EBUSY with both names when the place is taken, -ENOSPC
 * when the bus is full.
 */
int pci_dev_add(struct pci_bus *bus, struct pci_dev *dev, int devfn, struct err *err);
/* Off the buses, vectors freed. Fine when it was never added. */
void pci_dev_remove(struct pci_dev *dev);
/* Header, BARs, MSI-X and INTx to power-on: all that the guest may write becomes zero, in capabilities too. */
void pci_dev_reset(struct pci_dev *dev);

/*
 * Sets the bus master bit as if the guest had, without command_changed: for drivers that forget it. From a BAR's handler.
 * While the bit is not set, MSI-X messages wait (6.2.2); to leave memory alone is the device's business.
 */
void pci_dev_set_master(struct pci_dev *dev);
void pci_set_intx(struct pci_dev *dev, bool level);
bool pci_msix_enabled(const struct pci_dev *dev);
/* Nothing when MSI-X is off or the vector does not exist. */
void pci_msix_fire(struct pci_dev *dev, unsigned vector);
/* The eventfd that fires the vector by itself, until msix_changed says otherwise; -1: there is none, or it is masked. Any thread. */
int pci_msix_fd(struct pci_dev *dev, unsigned vector);

#endif
