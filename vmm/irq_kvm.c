/* SPDX-License-Identifier: MIT */
#include "vmm/irq_kvm.h"

#include <assert.h>
#include <linux/kvm.h>

#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/syscall_rules.h"

SYSCALL_RULES(
	{ CALL(ioctl), ARG(1, KVM_IRQ_LINE), .threads = THREAD_ANY, .rare = THREAD_LOOP /* an MMIO disk of an iothread's */ },
);

static void irq_kvm_set(void *ctl, unsigned pin, bool level)
{
	struct irq_kvm *irqs = ctl;
	struct kvm_irq_level line = { .irq = pin, .level = level };
	int r = 0;

	/* The lock also orders the ioctls of different drivers of a pin. */
	pthread_mutex_lock(&irqs->lock);
	if (level ? irqs->drivers[pin]++ == 0 : --irqs->drivers[pin] == 0)
		r = kvm_ioctl(irqs->vm_fd, KVM_IRQ_LINE, &line);
	pthread_mutex_unlock(&irqs->lock);
	if (r < 0)
		log_error("interrupt line %u: KVM_IRQ_LINE failed with errno %d", pin, -r);
}

static const struct irq_ops irq_kvm_ops = { .set = irq_kvm_set };

void irq_kvm_init(struct irq_kvm *irqs, int vm_fd)
{
	*irqs = (struct irq_kvm){ .vm_fd = vm_fd, .lock = PTHREAD_MUTEX_INITIALIZER };
}

void irq_kvm_fini(struct irq_kvm *irqs)
{
	pthread_mutex_destroy(&irqs->lock);
}

struct irq_line irq_kvm_line(struct irq_kvm *irqs, unsigned pin)
{
	assert(pin < IRQ_KVM_PINS);
	return (struct irq_line){ .ops = &irq_kvm_ops, .ctl = irqs, .pin = pin };
}
