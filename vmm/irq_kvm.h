/* SPDX-License-Identifier: MIT */
/*
 * Interrupt lines into KVM's interrupt controllers. A pin is a GSI; several devices may drive it, and it is high while any
 * does.
 *
 * Thread: any.
 */
#ifndef VMM_IRQ_KVM_H
#define VMM_IRQ_KVM_H

#include <pthread.h>

#include "vmm/irq.h"

#define IRQ_KVM_PINS 24 /* of the IOAPIC */

struct irq_kvm {
	int vm_fd; /* borrowed */
	pthread_mutex_t lock;
	unsigned drivers[IRQ_KVM_PINS]; /* how many ends drive each pin high */
};

void irq_kvm_init(struct irq_kvm *irqs, int vm_fd);
void irq_kvm_fini(struct irq_kvm *irqs);

/* A device's end of GSI `pin` (below IRQ_KVM_PINS), low. `irqs` outlives it. */
struct irq_line irq_kvm_line(struct irq_kvm *irqs, unsigned pin);

#endif
