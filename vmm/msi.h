/* SPDX-License-Identifier: MIT */
/*
 * Message-signalled interrupts and doorbells as devices see them; what stands behind (KVM's routes, irqfd and ioeventfd, or a
 * test) is in the ops. Part of struct device_env.
 *
 * Thread: msi_fire any; the rest the vCPU threads and the main thread, one at a time for one object (the device's mutex).
 */
#ifndef VMM_MSI_H
#define VMM_MSI_H

#include <stdbool.h>
#include <stdint.h>

struct msi_ops;

/* One vector. Embedded in its user. */
struct msi {
	const struct msi_ops *ops; /* NULL: not allocated */
	void *ctl;
	int gsi; /* KVM's number of the route */
	int fd;  /* an eventfd bound to it: writing to it raises the interrupt, from any thread or from the kernel */
};

struct msi_ops {
	/* Fills `msi` with a vector that sends nothing yet. 0, -ENOSPC when there are no more, or another -errno. */
	int (*alloc)(void *ctl, struct msi *msi);
	/* What it sends from now on: an address and data as the guest wrote them into its MSI-X table. 0 or -errno. */
	int (*set)(struct msi *msi, uint64_t address, uint32_t data);
	void (*fire)(struct msi *msi);
	void (*free)(struct msi *msi);
};

/* Where MSIs of a machine come from. */
struct msi_source {
	const struct msi_ops *ops;
	void *ctl;
};

/*
 * Doorbells: a guest's write to an address that should only wake a thread. `fd`, an eventfd, is written to by the kernel,
 * without an exit to Kite, and the write does not reach the bus. With `len` 0 any width matches; with `match` only the value `data`.
 */
struct doorbell {
	bool pio; /* else memory */
	uint64_t address;
	uint32_t len; /* 0, 1, 2, 4 or 8 */
	bool match;
	uint64_t data;
	int fd; /* borrowed */
};

struct doorbell_ops {
	int (*bind)(void *ctl, const struct doorbell *bell); /* 0 or -errno; -EEXIST: there is one already */
	void (*unbind)(void *ctl, const struct doorbell *bell); /* the same values */
};

struct doorbell_source {
	const struct doorbell_ops *ops;
	void *ctl;
};

#endif
