/* SPDX-License-Identifier: MIT */
/*
 * The PC's interrupt controllers and timer inside KVM: two 8259s, an IOAPIC, and an 8254 if wanted. GSI n is 8259 input n and IOAPIC pin
 * n, except that the PIT's GSI 0 is IOAPIC pin 2, as in the MADT.
 *
 * Thread: main, no vCPU running.
 */
#ifndef ARCH_X86_IRQCHIP_H
#define ARCH_X86_IRQCHIP_H

#include <linux/kvm.h>
#include <stdbool.h>

#include "vmm/irq_kvm.h"

struct err;

#define IRQCHIP_PIC_INPUTS 16
#define IRQCHIP_ROUTES (IRQCHIP_PIC_INPUTS + IRQ_KVM_PINS)
#define IRQCHIP_COUNT 3 /* KVM_IRQCHIP_PIC_MASTER, _PIC_SLAVE, _IOAPIC */

/* Their power-on state, as KVM made them. */
struct irqchip {
	int vm_fd; /* borrowed */
	bool has_pit;
	struct kvm_irqchip chips[IRQCHIP_COUNT];
	struct kvm_pit_state2 pit;
};

/* Reads the power-on state; the controllers exist and are wired, `pit` says whether with a timer, no vCPU has run. 0 or -errno with `err`. */
int irqchip_init(struct irqchip *irqchip, int vm_fd, bool pit, struct err *err);
/* Back to it. */
int irqchip_reset(const struct irqchip *irqchip, struct err *err);

/* Makes the interrupt controllers of a VM, before its first vCPU. */
int irqchip_create(int vm_fd, struct err *err);
/*
 * Adds the timer, if there is to be one, and sets the routes. KVM always has the 8259s at their ports; without `pic` no line leads to
 * them, so nothing ever comes from there.
 */
int irqchip_wire(int vm_fd, bool pic, bool pit, struct err *err);

/* How interrupt lines reach the controllers: GSIs below IRQ_KVM_PINS. */
struct irqchip_routes {
	unsigned n;
	struct kvm_irq_routing_entry entries[IRQCHIP_ROUTES];
};
void irqchip_routes(bool pic, struct irqchip_routes *routes);

#endif
