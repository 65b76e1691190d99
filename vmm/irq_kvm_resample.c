/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * A line is an eventfd that KVM watches. A write to it raises the line, and KVM keeps it raised until the guest ends an interrupt of the line
 * (EOI). Then KVM lowers it, and says so through a second eventfd: it is for us to raise it again if a device still wants it (to sample the
 * level once more, hence the name). So:
 *
 *   the first device drives its end high    write                     any thread: one write, no ioctl, nothing of KVM's is waited for
 *   the last one lowers its end             only counted
 *   EOI, line lowered by KVM                acked_ready on the loop   driven still, or again: write; else nothing
 *
 * Nothing is lost: whoever drives the line before acked_ready looks is seen by it, whoever drives it after that writes; all under the
 * pin's lock. A write while KVM has the line raised already changes nothing there, and if the EOI comes between, acked_ready follows it.
 * A device that lowers and raises its end before the EOI has one interrupt for both, as a level should.
 *
 * What differs from wires: KVM hears nothing of a lowered end. When a driver takes the cause away before the interrupt was delivered (it
 * polls the status register, or has the pin masked), a wire would be low by then, while here the guest gets one interrupt that nobody claims,
 * and its EOI ends the matter. Drivers of shared lines expect such. It is the price of asserting without an ioctl, and of what devices inside the
 * kernel (vhost, VFIO) need: they can only write to an eventfd, and never lower anything. Where levels must be exact, and changes
 * are rare (ISA devices, the SCI), vmm/irq_kvm.c has KVM_IRQ_LINE. KVM keeps the level of either apart and ORs them.
 *
 * The wake-up at each EOI is one of the loop's thread, and there is none without an interrupt. A guest that ends interrupts without looking at the
 * device gets the next one as fast as the loop turns, and where loop and vCPU share a processor that can be before its next instruction:
 * it would never again do anything else. Real interrupt controllers take a moment, which lets such a guest go on slowly. So after STORM interrupts in
 * a row during which no device lowered its end, each further one is STORM_PAUSE_NS late.
 *
 * Reset: no EOI comes any more for what was raised, and there is no call to lower it but unbinding the eventfd. So lines that were raised
 * since they were bound are bound anew. Kernels before 5.11 do not empty the eventfd, and KVM takes what it finds in one at binding
 * for a request; so it is emptied in between.
 */
#include "vmm/irq_kvm_resample.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/kvm.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(ioctl), ARG(1, KVM_IRQFD), .threads = THREAD_MAIN }, /* reset */
	{ CALL(read), .threads = THREAD_MAIN },
	{ CALL(write), .threads = THREAD_ANY }, /* the line is raised */
);

#define STORM 1000
#define STORM_PAUSE_NS (NS_PER_SEC / 1000)

/* Under the lock. */
static void pin_raise(struct irq_resample_pin *p)
{
	uint64_t one = 1;
	ssize_t n;

	p->raised = true;
	do
		n = write(p->fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
	/* EAGAIN: the counter is full, which no kernel lets happen that empties it; KVM was told at every write before. */
}

static void irq_resample_set(void *ctl, unsigned pin, bool level)
{
	struct irq_resample *irqs = ctl;
	struct irq_resample_pin *p = &irqs->pins[pin];

	pthread_mutex_lock(&p->lock);
	if (!level) {
		p->drivers--;
		p->in_a_row = 0;
	} else if (p->drivers++ == 0) {
		pin_raise(p);
	}
	pthread_mutex_unlock(&p->lock);
}

static const struct irq_ops irq_resample_ops = { .set = irq_resample_set };

static void acked_ready(void *opaque, uint32_t revents)
{
	struct irq_resample_pin *p = opaque;
	uint64_t count;

	(void)revents;
	if (read(p->acked.fd, &count, sizeof(count)) != sizeof(count))
		return;
	pthread_mutex_lock(&p->lock);
	if (p->drivers && p->in_a_row++ < STORM)
		pin_raise(p);
	else if (p->drivers)
		eventloop_arm(p->irqs->loop, &p->pause, now_ns() + STORM_PAUSE_NS);
	pthread_mutex_unlock(&p->lock);
}

static void pause_over(void *opaque)
{
	struct irq_resample_pin *p = opaque;

	pthread_mutex_lock(&p->lock);
	if (p->drivers)
		pin_raise(p);
	pthread_mutex_unlock(&p->lock);
}

static int pin_irqfd(const struct irq_resample_pin *p, uint32_t flags)
{
	struct kvm_irqfd arg = {
		.fd = (uint32_t)p->fd,
		.gsi = p->gsi,
		.flags = flags,
		.resamplefd = (uint32_t)p->acked.fd,
	};
	int r = kvm_ioctl(p->irqs->vm_fd, KVM_IRQFD, &arg);

	return r < 0 ? r : 0;
}

void irq_resample_init(struct irq_resample *irqs, int vm_fd, struct eventloop *loop, unsigned first_gsi, unsigned n)
{
	assert(n <= IRQ_RESAMPLE_LINES);
	*irqs = (struct irq_resample){ .vm_fd = vm_fd, .loop = loop, .n = n };
	for (unsigned i = 0; i < n; i++) {
		struct irq_resample_pin *p = &irqs->pins[i];

		*p = (struct irq_resample_pin){ .irqs = irqs, .gsi = first_gsi + i, .fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER };
		p->acked = (struct event_fd){ .fd = -1, .ready = acked_ready, .opaque = p };
		p->pause = (struct event_timer){ .fire = pause_over, .opaque = p };
	}
}

static void pin_unbind(struct irq_resample_pin *p)
{
	if (p->acked.fd >= 0)
		eventloop_del_fd(p->irqs->loop, &p->acked);
	fd_close(&p->acked.fd);
	fd_close(&p->fd); /* and KVM lets go of it */
}

static int pin_bind(struct irq_resample_pin *p)
{
	int r;

	p->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->fd < 0)
		return -errno;
	p->acked.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->acked.fd < 0)
		return -errno;
	r = eventloop_add_fd(p->irqs->loop, &p->acked, EPOLLIN);
	return r < 0 ? r : pin_irqfd(p, KVM_IRQFD_FLAG_RESAMPLE);
}

int irq_resample_bind(struct irq_resample *irqs, unsigned n, struct err *err)
{
	struct irq_resample_pin *p = &irqs->pins[n];
	int r;

	assert(n < irqs->n);
	if (p->fd >= 0)
		return 0;
	r = pin_bind(p);
	if (r == 0)
		return 0;
	pin_unbind(p);
	return err_set_errno(err, r, "interrupt line %u: KVM cannot drive it by an eventfd", p->gsi);
}

void irq_resample_fini(struct irq_resample *irqs)
{
	while (irqs->n > 0) {
		struct irq_resample_pin *p = &irqs->pins[--irqs->n];

		eventloop_cancel(irqs->loop, &p->pause);
		pin_unbind(p);
		pthread_mutex_destroy(&p->lock);
	}
}

/* Devices at work on other threads may drive it meanwhile: what is driven at the end is raised. */
static int pin_reset(struct irq_resample_pin *p)
{
	uint64_t count;
	int r = 0;

	eventloop_cancel(p->irqs->loop, &p->pause);
	pthread_mutex_lock(&p->lock);
	p->in_a_row = 0;
	if (p->raised) {
		r = pin_irqfd(p, KVM_IRQFD_FLAG_DEASSIGN); /* with it KVM lowers the line */
		(void)!read(p->fd, &count, sizeof(count));
		(void)!read(p->acked.fd, &count, sizeof(count));
		p->raised = false;
		if (r == 0)
			r = pin_irqfd(p, KVM_IRQFD_FLAG_RESAMPLE);
	}
	if (r == 0 && p->drivers)
		pin_raise(p);
	pthread_mutex_unlock(&p->lock);
	return r;
}

int irq_resample_reset(struct irq_resample *irqs, struct err *err)
{
	for (unsigned i = 0; i < irqs->n; i++) {
		int r = pin_reset(&irqs->pins[i]);

		if (r < 0)
			return err_set_errno(err, r, "interrupt line %u: KVM does not lower it", irqs->pins[i].gsi);
	}
	return 0;
}

struct irq_line irq_resample_line(struct irq_resample *irqs, unsigned n)
{
	assert(n < irqs->n);
	return (struct irq_line){ .ops = &irq_resample_ops, .ctl = irqs, .pin = n };
}
