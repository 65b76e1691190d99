/* SPDX-License-Identifier: MIT */
#include "vmm/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdlib.h>

#include "vmm/arch.h"
#include "vmm/bus.h"
#include "vmm/err.h"
#include "vmm/exit_stats.h"
#include "vmm/guest_mem.h"
#include "vmm/log.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

SYSCALL_RULES(
	{ CALL(ioctl), ARG(1, KVM_SET_USER_MEMORY_REGION), .threads = THREAD_MAIN | THREAD_VCPU },
);

#define PIO_LAST UINT64_C(0xffff)

#if defined(__SANITIZE_THREAD__)
#define VM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define VM_TSAN 1
#endif
#endif

/*
 * From here on there is a guest, which the thread sanitizer cannot see: it writes to its memory when it likes, and may tell two devices to use the
 * same buffer. That is no mistake here, since whoever reads guest memory copies once and goes by the copy. Tests of rings have no guest, and there
 * the sanitizer does look at the order of what is read and written.
 */
static void share_with_guest(const struct gm_region *region)
{
#ifdef VM_TSAN
	void AnnotateBenignRaceSized(const char *file, int line, const volatile void *mem, size_t size, const char *what);

	AnnotateBenignRaceSized(__FILE__, __LINE__, region->hva, region->size, "guest memory");
#else
	(void)region;
#endif
}

static int slot_ioctl(struct vm *vm, unsigned id, const struct vm_slot *s)
{
	struct kvm_userspace_memory_region slot = {
		.slot = id,
		.flags = s->read_only ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = s->gpa,
		.memory_size = s->size,
		.userspace_addr = (uintptr_t)s->hva,
	};

	return kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot);
}

int vm_set_slot(struct vm *vm, unsigned id, const struct vm_slot *old, const struct vm_slot *now, struct err *err)
{
	const struct vm_slot nothing = { .gpa = old->gpa };
	int r = 0;

	/* KVM changes neither the size, nor the host memory, nor whether it may be written, of what is there. */
	if (old->size)
		r = slot_ioctl(vm, id, &nothing);
	if (r == 0 && now->size)
		r = slot_ioctl(vm, id, now);
	if (r < 0)
		return err_set_errno(err, r, "KVM refuses %" PRIu64 " KiB of memory at guest address 0x%" PRIx64, now->size / KIB, now->gpa);
	return 0;
}

/* One memory slot a region. */
static int vm_map_memory(struct vm *vm, const struct gm_range *unmapped, struct err *err)
{
	for (size_t i = 0; i < gm_region_count(vm->mem); i++) {
		const struct gm_region *region = gm_region_at(vm->mem, i);
		uint64_t skip = unmapped->gpa == region->gpa ? unmapped->size : 0;
		const struct vm_slot slot = { .gpa = region->gpa + skip, .size = region->size - skip, .hva = region->hva + skip };
		int r = slot_ioctl(vm, (unsigned)i, &slot);

		share_with_guest(region);
		if (r < 0)
			return err_set_errno(err, r, "KVM refuses %" PRIu64 " MiB of memory at guest address 0x%" PRIx64,
					     region->size / MIB, region->gpa);
	}
	return 0;
}

static int vm_create_kvm(struct vm *vm, const struct vm_params *params, struct err *err)
{
	int r = kvm_open(&vm->kvm, err);

	if (r < 0)
		return r;
	if (params->n_vcpus > (unsigned)vm->kvm.max_vcpus)
		return err_set(err, -EINVAL, "-smp %u: KVM on this host runs at most %d vCPUs in a VM", params->n_vcpus,
			       vm->kvm.max_vcpus);
	do
		r = kvm_ioctl(vm->kvm.fd, KVM_CREATE_VM, NULL);
	while (r == -EINTR);
	if (r < 0)
		return err_set_errno(err, r, "KVM cannot create a VM");
	vm->fd = r;
	irq_kvm_init(&vm->irqs, vm->fd);
	return 0;
}

static int vm_create_vcpus(struct vm *vm, const uint32_t *ids, unsigned n, struct err *err)
{
	vm->vcpus = calloc(n, sizeof(*vm->vcpus));
	if (!vm->vcpus)
		return err_set(err, -ENOMEM, "no memory for %u vCPUs", n);
	for (unsigned i = 0; i < n; i++) {
		int r = vcpu_create(&vm->vcpus[i], vm, i, ids[i], err);

		if (r < 0)
			return r;
		vm->n_vcpus++;
	}
	return 0;
}

static int vm_init(struct vm *vm, const struct vm_params *params, struct err *err)
{
	int r;

	r = vm_create_kvm(vm, params, err);
	if (r < 0)
		return r;
	vm->mem = gm_create(params->ram, params->n_ram, err);
	if (!vm->mem)
		return err->code;
	r = vm_map_memory(vm, &params->unmapped, err);
	if (r < 0)
		return r;
	vm->pio = bus_create("I/O port", PIO_LAST, err);
	if (!vm->pio)
		return err->code;
	vm->mmio = bus_create("memory", UINT64_MAX, err);
	if (!vm->mmio)
		return err->code;
	r = arch_vm_init(vm, err);
	if (r < 0)
		return r;
	return vm_create_vcpus(vm, params->vcpu_ids, params->n_vcpus, err);
}

struct vm *vm_create(const struct vm_params *params, struct err *err)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm) {
		err_set(err, -ENOMEM, "no memory for a VM");
		return NULL;
	}
	vm->kvm.fd = -1;
	vm->fd = -1;
	vm->loop = params->loop;
	vm->name = params->name;
	vm_run_init(vm, params->no_reboot);
	if (vm_init(vm, params, err) < 0) {
		vm_destroy(vm);
		return NULL;
	}
	return vm;
}

void vm_destroy(struct vm *vm)
{
	if (!vm)
		return;
	vm_stop(vm);
	for (unsigned i = 0; i < vm->n_vcpus; i++)
		vcpu_destroy(&vm->vcpus[i]);
	free(vm->vcpus);
	bus_destroy(vm->mmio);
	bus_destroy(vm->pio);
	if (vm->fd >= 0)
		irq_kvm_fini(&vm->irqs);
	fd_close(&vm->fd);
	gm_destroy(vm->mem);
	kvm_close(&vm->kvm);
	vm_run_fini(vm);
	free(vm);
}

void vm_set_machine(struct vm *vm, const struct vm_machine_ops *ops, void *machine)
{
	vm->machine_ops = ops;
	vm->machine = machine;
}

int vm_count_exits(struct vm *vm, struct err *err)
{
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		vm->vcpus[i].exits = exit_stats_create();
		if (!vm->vcpus[i].exits)
			return err_set(err, -ENOMEM, "no memory to count the exits of vCPU %u", i);
	}
	return 0;
}

void vm_log_exits(struct vm *vm)
{
	struct exit_stats *all = vm->vcpus[0].exits;

	for (unsigned i = 1; i < vm->n_vcpus; i++)
		exit_stats_add(all, vm->vcpus[i].exits);
	exit_stats_log(all, vm->pio, vm->mmio);
}
