/* SPDX-License-Identifier: MIT */
#include "arch/x86/irqchip.h"

#include <string.h>

#include "arch/x86/memmap.h"
#include "vmm/err.h"
#include "vmm/kvm.h"
#include "vmm/syscall_rules.h"

SYSCALL_RULES(
	{ CALL(ioctl), ARG(1, KVM_SET_IRQCHIP), .threads = THREAD_MAIN }, /* reset */
	{ CALL(ioctl), ARG(1, KVM_SET_PIT2), .threads = THREAD_MAIN },
);

#define PIC_SLAVE_FIRST 8

static void route_add(struct irqchip_routes *routes, unsigned gsi, unsigned chip, unsigned pin)
{
	routes->entries[routes->n++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

/* KVM's default routes GSI 0 to IOAPIC pin 0; a PC wires the PIT to pin 2. */
void irqchip_routes(bool pic, struct irqchip_routes *routes)
{
	routes->n = 0;
	for (unsigned gsi = 0; pic && gsi < IRQCHIP_PIC_INPUTS; gsi++) {
		if (gsi < PIC_SLAVE_FIRST)
			route_add(routes, gsi, KVM_IRQCHIP_PIC_MASTER, gsi);
		else
			route_add(routes, gsi, KVM_IRQCHIP_PIC_SLAVE, gsi - PIC_SLAVE_FIRST);
	}
	for (unsigned gsi = 0; gsi < IRQ_KVM_PINS; gsi++) {
		if (gsi == IRQ_PIT)
			route_add(routes, gsi, KVM_IRQCHIP_IOAPIC, IOAPIC_PIT_PIN);
		else if (gsi != IOAPIC_PIT_PIN)
			route_add(routes, gsi, KVM_IRQCHIP_IOAPIC, gsi);
	}
}

static int irqchip_route(int vm_fd, bool pic, struct err *err)
{
	union { /* the list ends in an array of any length */
		struct kvm_irq_routing list;
		uint8_t space[sizeof(struct kvm_irq_routing) + IRQCHIP_ROUTES * sizeof(struct kvm_irq_routing_entry)];
	} table = { .list = { .nr = 0 } };
	struct irqchip_routes routes;
	int r;

	irqchip_routes(pic, &routes);
	table.list.nr = routes.n;
	memcpy(table.list.entries, routes.entries, routes.n * sizeof(routes.entries[0]));
	r = kvm_ioctl(vm_fd, KVM_SET_GSI_ROUTING, &table.list);
	return r < 0 ? err_set_errno(err, r, "KVM refuses the interrupt routing") : 0;
}

int irqchip_create(int vm_fd, struct err *err)
{
	uint64_t identity_map = MEM_KVM_IDENTITY_MAP;
	int r;

	/* Intel processors need both in order to run real mode; they may not move once a vCPU exists. */
	r = kvm_ioctl(vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	if (r < 0)
		return err_set_errno(err, r, "KVM_SET_IDENTITY_MAP_ADDR");
	r = kvm_ioctl(vm_fd, KVM_SET_TSS_ADDR, (void *)(uintptr_t)MEM_KVM_TSS);
	if (r < 0)
		return err_set_errno(err, r, "KVM_SET_TSS_ADDR");
	r = kvm_ioctl(vm_fd, KVM_CREATE_IRQCHIP, NULL);
	if (r < 0)
		return err_set_errno(err, r, "KVM cannot create the interrupt controllers");
	return 0;
}

int irqchip_wire(int vm_fd, bool pic, bool pit, struct err *err)
{
	struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY }; /* KVM answers port 0x61 too */
	int r = pit ? kvm_ioctl(vm_fd, KVM_CREATE_PIT2, &config) : 0;

	if (r < 0)
		return err_set_errno(err, r, "KVM cannot create the interval timer");
	return irqchip_route(vm_fd, pic, err);
}

int irqchip_init(struct irqchip *irqchip, int vm_fd, bool pit, struct err *err)
{
	int r;

	irqchip->vm_fd = vm_fd;
	irqchip->has_pit = pit;
	for (unsigned i = 0; i < IRQCHIP_COUNT; i++) {
		irqchip->chips[i].chip_id = i;
		r = kvm_ioctl(vm_fd, KVM_GET_IRQCHIP, &irqchip->chips[i]);
		if (r < 0)
			return err_set_errno(err, r, "KVM_GET_IRQCHIP");
	}
	r = pit ? kvm_ioctl(vm_fd, KVM_GET_PIT2, &irqchip->pit) : 0;
	return r < 0 ? err_set_errno(err, r, "KVM_GET_PIT2") : 0;
}

int irqchip_reset(const struct irqchip *irqchip, struct err *err)
{
	struct irqchip copy = *irqchip; /* the ioctls take no const */
	/* The timer first: while it runs, a tick may raise its line in controllers that were just reset. */
	int r = copy.has_pit ? kvm_ioctl(irqchip->vm_fd, KVM_SET_PIT2, &copy.pit) : 0;

	if (r < 0)
		return err_set_errno(err, r, "KVM_SET_PIT2");
	for (unsigned i = 0; i < IRQCHIP_COUNT; i++) {
		r = kvm_ioctl(irqchip->vm_fd, KVM_SET_IRQCHIP, &copy.chips[i]);
		if (r < 0)
			return err_set_errno(err, r, "KVM_SET_IRQCHIP");
	}
	return 0;
}
