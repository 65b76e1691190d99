/* SPDX-License-Identifier: MIT */
/*
 * Interrupt lines, levels, as devices see them. A device owns its end of a line and sets its level; what stands behind (KVM's
 * interrupt controllers, or a test) is in the ops. Several devices may hold ends of the same line: it is high while any of
 * them drives it high (wired OR). Behind it is KVM_IRQ_LINE (vmm/irq_kvm.h), or for PCI an eventfd (vmm/irq_kvm_resample.h).
 *
 * Thread: irq_set on one `struct irq_line` by one thread at a time (the device's mutex); different ends of a line freely.
 */
#ifndef VMM_IRQ_H
#define VMM_IRQ_H

#include <stdbool.h>

struct irq_ops {
	/* One end of line `pin` changed to `level`. Called only on changes. */
	void (*set)(void *ctl, unsigned pin, bool level);
};

/* A device's end of an interrupt line. Embedded in the device; `ctl` is borrowed and outlives it. */
struct irq_line {
	const struct irq_ops *ops; /* NULL: not connected, irq_set does nothing */
	void *ctl;
	unsigned pin;
	bool level; /* what this end drives now */
};

static inline void irq_set(struct irq_line *line, bool level)
{
	if (!line->ops || line->level == level)
		return;
	line->level = level;
	line->ops->set(line->ctl, line->pin, level);
}

#endif
