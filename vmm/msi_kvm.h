/* SPDX-License-Identifier: MIT */
/*
 * Message-signalled interrupts and doorbells in KVM (Documentation/virt/kvm/api.rst: KVM_SET_GSI_ROUTING, KVM_IRQFD, KVM_IOEVENTFD): what
 * stands behind vmm/msi.h in a machine.
 *
 * Thread: any, after msi_kvm_init.
 */
#ifndef VMM_MSI_KVM_H
#define VMM_MSI_KVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "vmm/msi.h"

struct err;

#define MSI_KVM_ROUTES 1024 /* vectors of all devices together */

struct msi_kvm {
	int vm_fd; /* borrowed */
	pthread_mutex_t lock;
	unsigned first_gsi; /* of the vectors; those below belong to interrupt lines */
	unsigned n_fixed;   /* routes of the lines, first in `table` */
	struct kvm_irq_routing *table; /* as KVM was told last */
	size_t table_size;             /* bytes */
	struct msi_kvm_route {
		bool used; /* somebody holds the vector */
		bool set;  /* and has said what it sends */
		bool known; /* KVM has a route for the number, of this holder or an earlier one */
		uint64_t address;
		uint32_t data;
	} routes[MSI_KVM_ROUTES];
};

/* `msis` is all zeroes. `fixed` are the routes of interrupt lines, copied; vectors get the numbers from `first_gsi` on. 0 or -ENOMEM with `err`. */
int msi_kvm_init(struct msi_kvm *msis, int vm_fd, const struct kvm_irq_routing_entry *fixed, unsigned n_fixed, unsigned first_gsi,
		 struct err *err);
/* Every vector has been freed. Fine for one that is all zeroes. */
void msi_kvm_fini(struct msi_kvm *msis);

/* For struct device_env. They outlive their users. */
struct msi_source msi_kvm_source(struct msi_kvm *msis);
struct doorbell_source msi_kvm_doorbells(struct msi_kvm *msis);

#endif
