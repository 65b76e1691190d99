/* SPDX-License-Identifier: MIT */
/*
 * Level interrupts through eventfds (Documentation/virt/kvm/api.rst: KVM_IRQFD with KVM_IRQFD_FLAG_RESAMPLE): vmm/irq.h for lines that devices on
 * any thread drive often, PCI's INTx. vmm/irq_kvm_resample.c has the theory, and what is different from KVM_IRQ_LINE.
 *
 * Thread: irq_set and irq_resample_line any; the rest on the loop's thread, with every vCPU paused.
 */
#ifndef VMM_IRQ_KVM_RESAMPLE_H
#define VMM_IRQ_KVM_RESAMPLE_H

#include <pthread.h>
#include <stdbool.h>

#include "vmm/eventloop.h"
#include "vmm/irq.h"

#define IRQ_RESAMPLE_LINES 4

struct err;
struct irq_resample;

struct irq_resample_pin {
	struct irq_resample *irqs;
	unsigned gsi;
	int fd;                 /* written to: KVM raises the line. An irqfd; -1: not bound */
	struct event_fd acked;  /* KVM: the guest has ended an interrupt of the line, which is low now */
	struct event_timer pause; /* in a storm, until the next one */
	unsigned in_a_row;      /* interrupts since a device last lowered its end; under the lock */
	pthread_mutex_t lock;
	unsigned drivers;       /* how many ends drive it high; under the lock */
	bool raised;            /* since it was bound; under the lock */
};

struct irq_resample {
	int vm_fd;              /* borrowed */
	struct eventloop *loop; /* borrowed */
	unsigned n;
	struct irq_resample_pin pins[IRQ_RESAMPLE_LINES];
};

/* Lines for `n` GSIs from `first_gsi` on; `loop` hears of the ends of interrupts. */
void irq_resample_init(struct irq_resample *irqs, int vm_fd, struct eventloop *loop, unsigned first_gsi, unsigned n);
/*
 * Line `n` may be driven from now on. Apart from the rest, since it costs a start more than it should where no device has the line. 0, also
 * when it is bound already, or -errno with `err`.
 */
int irq_resample_bind(struct irq_resample *irqs, unsigned n, struct err *err);
/* No end is driven any more. Fine for one that is all zeroes. */
void irq_resample_fini(struct irq_resample *irqs);

/*
 * The machine's reset, after the devices' and before the interrupt controllers': takes back what was raised and not acknowledged. 0 or -errno
 * with `err`.
 */
int irq_resample_reset(struct irq_resample *irqs, struct err *err);

/* A device's end of line `n`, low. `irqs` outlives it. To be bound before it is driven. */
struct irq_line irq_resample_line(struct irq_resample *irqs, unsigned n);

#endif
