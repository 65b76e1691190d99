/* SPDX-License-Identifier: MIT */
#include "vmm/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdlib.h>

#include "vmm/arch.h"
#include "vmm/bus.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/log.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

#define PIO_LAST UINT64_C(0xffff)

static void vm_serve(void *opaque);

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
	vm->no_reboot = params->no_reboot;
	vm->request_work = (struct event_work){ .run = vm_serve, .opaque = vm };
	atomic_init(&vm->goal, VCPU_PAUSE);
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->changed, NULL);
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
	/* A vCPU may have asked for something when the loop had already ended: the loop may outlive us. */
	eventloop_cancel_work(vm->loop, &vm->request_work);
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
	pthread_cond_destroy(&vm->changed);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}

void vm_set_machine(struct vm *vm, const struct vm_machine_ops *ops, void *machine)
{
	vm->machine_ops = ops;
	vm->machine = machine;
}

static void vm_set_goal(struct vm *vm, enum vcpu_goal goal)
{
	/* Pairs with the load in vcpu_run: see there. */
	atomic_store(&vm->goal, goal);
	pthread_cond_broadcast(&vm->changed);
}

int vm_start(struct vm *vm, struct err *err)
{
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		int r;

		pthread_mutex_lock(&vm->lock);
		vm->running_threads++;
		pthread_mutex_unlock(&vm->lock);
		r = vcpu_start(&vm->vcpus[i], err);
		if (r < 0) {
			vm->running_threads--; /* this one never existed; the others park without looking at it */
			vm_stop(vm);
			return r;
		}
	}
	return 0;
}

static void vm_kick_all(struct vm *vm)
{
	for (unsigned i = 0; i < vm->n_vcpus; i++)
		vcpu_kick(&vm->vcpus[i]);
}

void vm_stop(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm_set_goal(vm, VCPU_QUIT);
	pthread_mutex_unlock(&vm->lock);
	vm_kick_all(vm);
	for (unsigned i = 0; i < vm->n_vcpus; i++)
		vcpu_join(&vm->vcpus[i]);
	vm->running_threads = 0;
}

/* Every vCPU parked. */
static void vm_halt(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm_set_goal(vm, VCPU_PAUSE);
	pthread_mutex_unlock(&vm->lock);
	vm_kick_all(vm);
	pthread_mutex_lock(&vm->lock);
	while (vm->parked < vm->running_threads)
		pthread_cond_wait(&vm->changed, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
}

/*
 * As vm_halt without waiting: whether every vCPU is parked. If not, the last one to park posts request_work again. The loop must not
 * wait for vCPUs, since one of them may be waiting for the loop (eventloop_call_sync, from the register of a device that works on it).
 */
static bool vm_try_halt(struct vm *vm)
{
	bool halted;

	pthread_mutex_lock(&vm->lock);
	vm_set_goal(vm, VCPU_PAUSE);
	halted = vm->parked == vm->running_threads;
	vm->serve_when_parked = !halted;
	pthread_mutex_unlock(&vm->lock);
	if (!halted)
		vm_kick_all(vm);
	return halted;
}

void vm_vcpu_parked(struct vm *vm)
{
	vm->parked++;
	pthread_cond_broadcast(&vm->changed);
	if (vm->serve_when_parked && vm->parked == vm->running_threads) {
		vm->serve_when_parked = false;
		eventloop_post(vm->loop, &vm->request_work);
	}
}

/* Lets the vCPUs go, if that is what the main thread last wanted. */
static void vm_release(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	/* A request made meanwhile has set the goal to pause, and is about to be served. */
	if (vm->state == VM_RUNNING && vm->request == VM_REQUEST_NONE)
		vm_set_goal(vm, VCPU_RUN);
	pthread_mutex_unlock(&vm->lock);
}

/* With every vCPU parked. */
static void vm_stopped(struct vm *vm, enum vm_state why)
{
	bool ran = vm->state == VM_RUNNING;

	vm->state = why;
	if (ran && vm->machine_ops->quiesce)
		vm->machine_ops->quiesce(vm->machine);
}

void vm_pause(struct vm *vm)
{
	vm_halt(vm);
	vm_stopped(vm, VM_PAUSED);
}

void vm_resume(struct vm *vm)
{
	bool stopped = vm->state == VM_PAUSED || vm->state == VM_IO_ERROR;

	if (vm->state == VM_ENDED)
		return;
	vm->state = VM_RUNNING;
	for (unsigned i = 0; stopped && i < vm->n_vcpus; i++)
		arch_vcpu_was_stopped(&vm->vcpus[i]);
	if (stopped && vm->machine_ops->resume)
		vm->machine_ops->resume(vm->machine);
	vm_release(vm);
}

void vm_request(struct vm *vm, enum vm_request what, int status)
{
	pthread_mutex_lock(&vm->lock);
	if (what > vm->request) {
		vm->request = what;
		vm->request_status = status;
	}
	if (atomic_load(&vm->goal) == VCPU_RUN)
		vm_set_goal(vm, VCPU_PAUSE);
	pthread_mutex_unlock(&vm->lock);
	eventloop_post(vm->loop, &vm->request_work);
}

void vm_triple_fault(struct vm *vm, unsigned vcpu_index)
{
	bool say;

	pthread_mutex_lock(&vm->lock);
	say = !vm->triple_fault_said;
	vm->triple_fault_said = true;
	pthread_mutex_unlock(&vm->lock);
	if (say)
		log_info("vCPU %u: triple fault: the guest is %s", vcpu_index,
			 vm->no_reboot ? "ended (-no-reboot)" : "reset; further ones are not reported");
	vm_request(vm, VM_REQUEST_RESET, 0);
}

static void vm_finish(struct vm *vm, int status)
{
	vm->state = VM_ENDED;
	vm->exit_status = status;
	eventloop_stop(vm->loop);
}

static void vm_reset(struct vm *vm)
{
	struct err err = ERR_INIT;

	if (vm->no_reboot) {
		vm_finish(vm, 0);
		return;
	}
	if (vm->machine_ops->reset(vm->machine, &err) < 0) {
		log_error("reset: %s", err.msg);
		vm_finish(vm, 1);
		return;
	}
	vm_release(vm);
}

/* The main thread's end of vm_request. */
static void vm_serve(void *opaque)
{
	struct vm *vm = opaque;
	enum vm_request request;
	int status;

	if (!vm_try_halt(vm))
		return;
	pthread_mutex_lock(&vm->lock);
	request = vm->request;
	status = vm->request_status;
	vm->request = VM_REQUEST_NONE;
	pthread_mutex_unlock(&vm->lock);

	switch (request) {
	case VM_REQUEST_NONE:
		vm_release(vm);
		break;
	case VM_REQUEST_IO_ERROR:
		/* A disk may find out only when the machine has been stopped already, or ended. */
		if (vm->state == VM_RUNNING)
			vm_stopped(vm, VM_IO_ERROR);
		break;
	case VM_REQUEST_RESET:
		vm_reset(vm);
		break;
	case VM_REQUEST_POWEROFF:
		vm_finish(vm, 0);
		break;
	case VM_REQUEST_EXIT:
		vm_finish(vm, status);
		break;
	case VM_REQUEST_FAIL:
		vm_finish(vm, 1);
		break;
	}
}
