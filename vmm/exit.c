/* SPDX-License-Identifier: MIT */
#include "vmm/exit.h"

#include <inttypes.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/arch.h"
#include "vmm/bus.h"
#include "vmm/exit_stats.h"
#include "vmm/log.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

static enum exit_action exit_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	struct bus *pio = vcpu->vm->pio;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	/* A string instruction brings up to a page of accesses to the same port. */
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			bus_write(pio, run->io.port, data, run->io.size);
		else
			bus_read(pio, run->io.port, data, run->io.size);
	}
	return EXIT_CONTINUE;
}

static enum exit_action exit_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (run->mmio.is_write)
		bus_write(vcpu->vm->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	else
		bus_read(vcpu->vm->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	return EXIT_CONTINUE;
}

static enum exit_action exit_nothing(struct vcpu *vcpu)
{
	(void)vcpu;
	return EXIT_CONTINUE;
}

static enum exit_action exit_shutdown(struct vcpu *vcpu)
{
	vm_triple_fault(vcpu->vm, vcpu->index);
	return EXIT_HALT;
}

/* The vCPU cannot go on: what a person needs to see why, then status 1. */
static enum exit_action exit_fail(struct vcpu *vcpu)
{
	arch_vcpu_dump(vcpu);
	vm_request(vcpu->vm, VM_REQUEST_FAIL, 1);
	return EXIT_HALT;
}

static enum exit_action exit_fail_entry(struct vcpu *vcpu)
{
	log_error("vCPU %u: the processor refused to enter the guest, hardware reason 0x%llx", vcpu->index,
		  (unsigned long long)vcpu->run->fail_entry.hardware_entry_failure_reason);
	return exit_fail(vcpu);
}

static enum exit_action exit_internal_error(struct vcpu *vcpu)
{
	static const char *const what[] = {
		[KVM_INTERNAL_ERROR_EMULATION] = "it cannot emulate the guest's instruction",
		[KVM_INTERNAL_ERROR_SIMUL_EX] = "an exception during the delivery of another",
		[KVM_INTERNAL_ERROR_DELIVERY_EV] = "an exit during the delivery of an event",
		[KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = "an exit that it did not expect",
	};
	uint32_t sub = vcpu->run->internal.suberror;

	log_error("vCPU %u: KVM internal error %u: %s", vcpu->index, sub,
		  sub < ARRAY_SIZE(what) && what[sub] ? what[sub] : "no description");
	return exit_fail(vcpu);
}

static enum exit_action exit_unknown(struct vcpu *vcpu)
{
	log_error("vCPU %u: KVM gave up on the guest, hardware exit reason 0x%llx", vcpu->index,
		  (unsigned long long)vcpu->run->hw.hardware_exit_reason);
	return exit_fail(vcpu);
}

static enum exit_action exit_system_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_request(vcpu->vm, VM_REQUEST_POWEROFF, 0);
		return EXIT_HALT;
	case KVM_SYSTEM_EVENT_RESET:
		vm_request(vcpu->vm, VM_REQUEST_RESET, 0);
		return EXIT_HALT;
	default:
		log_error("vCPU %u: the guest reported a crash, KVM system event %u", vcpu->index,
			  vcpu->run->system_event.type);
		return exit_fail(vcpu);
	}
}

/*
 * Every reason that KVM can give a VM set up as ours, and the names of the others. A reason without a handler is one that was
 * never enabled: it ends the guest with its name.
 */
static const struct {
	const char *name;
	enum exit_action (*handle)(struct vcpu *vcpu);
} exit_table[] = {
#define EXIT(reason, handler) [KVM_EXIT_##reason] = { .name = "KVM_EXIT_" #reason, .handle = handler }
	EXIT(UNKNOWN, exit_unknown),
	EXIT(EXCEPTION, NULL),
	EXIT(IO, exit_io),
	EXIT(HYPERCALL, NULL),
	EXIT(DEBUG, NULL),
	EXIT(HLT, NULL), /* with KVM's interrupt controllers HLT stays in the kernel */
	EXIT(MMIO, exit_mmio),
	EXIT(IRQ_WINDOW_OPEN, NULL),
	EXIT(SHUTDOWN, exit_shutdown),
	EXIT(FAIL_ENTRY, exit_fail_entry),
	EXIT(INTR, exit_nothing),
	EXIT(SET_TPR, NULL),
	EXIT(TPR_ACCESS, NULL),
	EXIT(NMI, NULL),
	EXIT(INTERNAL_ERROR, exit_internal_error),
	EXIT(SYSTEM_EVENT, exit_system_event),
	EXIT(IOAPIC_EOI, NULL),
	EXIT(HYPERV, NULL),
	EXIT(X86_RDMSR, NULL),
	EXIT(X86_WRMSR, NULL),
	EXIT(DIRTY_RING_FULL, NULL),
	EXIT(X86_BUS_LOCK, NULL),
	EXIT(XEN, NULL),
#undef EXIT
};

const char *exit_reason_name(unsigned reason)
{
	if (reason >= ARRAY_SIZE(exit_table) || !exit_table[reason].name)
		return "unknown";
	return exit_table[reason].name;
}

static enum exit_action exit_handle(struct vcpu *vcpu)
{
	unsigned reason = vcpu->run->exit_reason;

	if (reason < ARRAY_SIZE(exit_table) && exit_table[reason].handle)
		return exit_table[reason].handle(vcpu);
	log_error("vCPU %u: KVM exit %u (%s) has no handler", vcpu->index, reason, exit_reason_name(reason));
	return exit_fail(vcpu);
}

/* What the exit is counted as. */
static struct exit_key exit_key(const struct kvm_run *run)
{
	if (run->exit_reason == KVM_EXIT_IO)
		return (struct exit_key){
			.kind = run->io.direction == KVM_EXIT_IO_OUT ? EXIT_KIND_OUT : EXIT_KIND_IN, .addr = run->io.port, .width = run->io.size,
		};
	if (run->exit_reason == KVM_EXIT_MMIO)
		return (struct exit_key){
			.kind = run->mmio.is_write ? EXIT_KIND_MMIO_WRITE : EXIT_KIND_MMIO_READ, .addr = run->mmio.phys_addr, .width = run->mmio.len,
		};
	return (struct exit_key){ .kind = EXIT_KIND_REASON, .addr = run->exit_reason };
}

/* Not inlined: the way without it stays short. */
static __attribute__((noinline)) enum exit_action exit_handle_counted(struct vcpu *vcpu)
{
	struct exit_key key = exit_key(vcpu->run);
	int64_t start = now_ns();
	enum exit_action action = exit_handle(vcpu);

	exit_stats_count(vcpu->exits, &key, now_ns() - start);
	return action;
}

enum exit_action exit_dispatch(struct vcpu *vcpu)
{
	return vcpu->exits ? exit_handle_counted(vcpu) : exit_handle(vcpu);
}

void exit_interrupted(struct vcpu *vcpu)
{
	if (vcpu->exits)
		exit_stats_count(vcpu->exits, &(struct exit_key){ .kind = EXIT_KIND_REASON, .addr = KVM_EXIT_INTR }, 0);
}
