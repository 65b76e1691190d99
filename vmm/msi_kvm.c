/* SPDX-License-Identifier: MIT */
/*
 * KVM knows all routes of a VM as one table, which is replaced as a whole: the interrupt lines' and ours. So it is sent only when a vector's
 * message really changes. A vector that was freed stays in it, which hurts nobody while its number has no eventfd; whoever gets the
 * number next has the old route taken away first.
 *
 * A vector's eventfd is bound to its number once, before there is a route: until then raising it does nothing.
 */
#include "vmm/msi_kvm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	/* Vectors are a driver's to set up, and go with a reset. */
	{ CALL(ioctl), ARG(1, KVM_SET_GSI_ROUTING), .threads = THREAD_VCPU, .rare = THREAD_VCPU },
	{ CALL(ioctl), ARG(1, KVM_IRQFD), .threads = THREAD_MAIN | THREAD_VCPU },
	{ CALL(eventfd2), .threads = THREAD_VCPU },
	{ CALL(write), .threads = THREAD_ANY },
	/* Doorbells follow a BAR. */
	{ CALL(ioctl), ARG(1, KVM_IOEVENTFD), .threads = THREAD_MAIN | THREAD_VCPU },
);

/* Where x86 processors take messages (Intel SDM volume 3, 11.11.1). A write elsewhere is none. */
#define MSI_ADDRESS UINT64_C(0xfee00000)
#define MSI_ADDRESS_MASK UINT64_C(0xfff00000)

int msi_kvm_init(struct msi_kvm *msis, int vm_fd, const struct kvm_irq_routing_entry *fixed, unsigned n_fixed, unsigned first_gsi,
		 struct err *err)
{
	size_t size = sizeof(struct kvm_irq_routing) + (n_fixed + MSI_KVM_ROUTES) * sizeof(struct kvm_irq_routing_entry);
	struct kvm_irq_routing *table = sparse_alloc(size);

	if (!table)
		return err_set(err, -ENOMEM, "interrupt routes: not enough memory on the host");
	msis->vm_fd = vm_fd;
	pthread_mutex_init(&msis->lock, NULL);
	msis->first_gsi = first_gsi;
	msis->n_fixed = n_fixed;
	msis->table = table;
	msis->table_size = size;
	memcpy(table->entries, fixed, n_fixed * sizeof(fixed[0]));
	return 0;
}

void msi_kvm_fini(struct msi_kvm *msis)
{
	if (!msis->table)
		return;
	sparse_free(msis->table, msis->table_size);
	msis->table = NULL;
	pthread_mutex_destroy(&msis->lock);
}

/* ---- vectors ---- */

/* Under the lock. */
static int routes_send(struct msi_kvm *msis)
{
	struct kvm_irq_routing *table = msis->table;

	int r;

	table->nr = msis->n_fixed;
	for (unsigned i = 0; i < MSI_KVM_ROUTES; i++) {
		const struct msi_kvm_route *route = &msis->routes[i];

		if (!route->set)
			continue;
		table->entries[table->nr++] = (struct kvm_irq_routing_entry){
			.gsi = msis->first_gsi + i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = {
				.address_lo = (uint32_t)route->address,
				.address_hi = (uint32_t)(route->address >> 32),
				.data = route->data,
			},
		};
	}
	r = kvm_ioctl(msis->vm_fd, KVM_SET_GSI_ROUTING, table);
	for (unsigned i = 0; r >= 0 && i < MSI_KVM_ROUTES; i++)
		msis->routes[i].known = msis->routes[i].set;
	return r;
}

static int irqfd(const struct msi_kvm *msis, const struct msi *msi, uint32_t flags)
{
	struct kvm_irqfd arg = { .fd = (uint32_t)msi->fd, .gsi = (uint32_t)msi->gsi, .flags = flags };

	return kvm_ioctl(msis->vm_fd, KVM_IRQFD, &arg);
}

static struct msi_kvm_route *route_of(struct msi_kvm *msis, const struct msi *msi)
{
	return &msis->routes[(unsigned)msi->gsi - msis->first_gsi];
}

/* The number of a free route, now taken, or -errno. */
static int route_take(struct msi_kvm *msis)
{
	unsigned i = 0;
	int r = 0;

	pthread_mutex_lock(&msis->lock);
	while (i < MSI_KVM_ROUTES && msis->routes[i].used)
		i++;
	if (i == MSI_KVM_ROUTES)
		r = -ENOSPC;
	else if (msis->routes[i].known)
		r = routes_send(msis);
	if (r >= 0)
		msis->routes[i].used = true;
	pthread_mutex_unlock(&msis->lock);
	return r < 0 ? r : (int)i;
}

static void route_release(struct msi_kvm *msis, const struct msi *msi)
{
	struct msi_kvm_route *route = route_of(msis, msi);

	pthread_mutex_lock(&msis->lock);
	route->used = route->set = false;
	pthread_mutex_unlock(&msis->lock);
}

static const struct msi_ops msi_kvm_ops;

static int msi_kvm_alloc(void *ctl, struct msi *msi)
{
	struct msi_kvm *msis = ctl;
	int r = route_take(msis);

	if (r < 0)
		return r;
	*msi = (struct msi){ .ops = &msi_kvm_ops, .ctl = msis, .gsi = (int)msis->first_gsi + r };
	msi->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = msi->fd < 0 ? -errno : irqfd(msis, msi, 0);
	if (r < 0) {
		fd_close(&msi->fd);
		route_release(msis, msi);
		*msi = (struct msi){ .ops = NULL, .fd = -1 };
	}
	return r < 0 ? r : 0;
}

static int msi_kvm_set(struct msi *msi, uint64_t address, uint32_t data)
{
	struct msi_kvm *msis = msi->ctl;
	struct msi_kvm_route *route = route_of(msis, msi), old;
	int r = 0;

	if ((address & MSI_ADDRESS_MASK) != MSI_ADDRESS)
		return -EINVAL;
	pthread_mutex_lock(&msis->lock);
	old = *route;
	if (!old.set || old.address != address || old.data != data) {
		*route = (struct msi_kvm_route){ .used = true, .set = true, .known = old.known, .address = address, .data = data };
		r = routes_send(msis);
		if (r < 0)
			*route = old; /* or no other vector could ever be set */
	}
	pthread_mutex_unlock(&msis->lock);
	return r < 0 ? r : 0;
}

static void msi_kvm_fire(struct msi *msi)
{
	uint64_t one = 1;
	ssize_t r;

	do
		r = write(msi->fd, &one, sizeof(one));
	while (r < 0 && errno == EINTR);
	/* EAGAIN: the counter is full, so it is raised already. */
}

static void msi_kvm_free(struct msi *msi)
{
	struct msi_kvm *msis = msi->ctl;
	int r = irqfd(msis, msi, KVM_IRQFD_FLAG_DEASSIGN);

	if (r < 0)
		log_error("interrupt %d: KVM_IRQFD does not let go of it: errno %d", msi->gsi, -r);
	fd_close(&msi->fd);
	route_release(msis, msi);
	*msi = (struct msi){ .ops = NULL, .fd = -1 };
}

static const struct msi_ops msi_kvm_ops = {
	.alloc = msi_kvm_alloc,
	.set = msi_kvm_set,
	.fire = msi_kvm_fire,
	.free = msi_kvm_free,
};

struct msi_source msi_kvm_source(struct msi_kvm *msis)
{
	return (struct msi_source){ .ops = &msi_kvm_ops, .ctl = msis };
}

/* ---- doorbells ---- */

static int ioeventfd(const struct msi_kvm *msis, const struct doorbell *bell, uint32_t flags)
{
	struct kvm_ioeventfd arg = {
		.datamatch = bell->match ? bell->data : 0,
		.addr = bell->address,
		.len = bell->len,
		.fd = bell->fd,
		.flags = flags | (bell->pio ? KVM_IOEVENTFD_FLAG_PIO : 0) | (bell->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0),
	};

	return kvm_ioctl(msis->vm_fd, KVM_IOEVENTFD, &arg);
}

static int msi_kvm_bind(void *ctl, const struct doorbell *bell)
{
	int r = ioeventfd(ctl, bell, 0);

	return r < 0 ? r : 0;
}

static void msi_kvm_unbind(void *ctl, const struct doorbell *bell)
{
	int r = ioeventfd(ctl, bell, KVM_IOEVENTFD_FLAG_DEASSIGN);

	if (r < 0)
		log_error("doorbell 0x%" PRIx64 ": KVM_IOEVENTFD does not let go of it: errno %d", bell->address, -r);
}

static const struct doorbell_ops msi_kvm_doorbell_ops = {
	.bind = msi_kvm_bind,
	.unbind = msi_kvm_unbind,
};

struct doorbell_source msi_kvm_doorbells(struct msi_kvm *msis)
{
	return (struct doorbell_source){ .ops = &msi_kvm_doorbell_ops, .ctl = msis };
}
