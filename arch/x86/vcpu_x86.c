/* SPDX-License-Identifier: MIT */
#include "arch/x86/vcpu_x86.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/msr.h"
#include "firmware/boot.h"
#include "vmm/arch.h"
#include "vmm/err.h"
#include "vmm/kvm.h"
#include "vmm/syscall_rules.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

SYSCALL_RULES(
	/* Reset, and going on after a stop */
	{ CALL(ioctl), ARG(1, KVM_SET_SREGS), .threads = THREAD_MAIN },
	{ CALL(ioctl), ARG(1, KVM_SET_REGS), .threads = THREAD_MAIN },
	{ CALL(ioctl), ARG(1, KVM_SET_DEBUGREGS), .threads = THREAD_MAIN },
	{ CALL(ioctl), ARG(1, KVM_SET_LAPIC), .threads = THREAD_MAIN },
	{ CALL(ioctl), ARG(1, KVM_SET_MP_STATE), .threads = THREAD_MAIN },
	{ CALL(ioctl), ARG(1, KVM_GET_MP_STATE), .threads = THREAD_MAIN },
	{ CALL(ioctl), ARG(1, KVM_SET_XSAVE), .threads = THREAD_MAIN },
	{ CALL(ioctl), ARG(1, KVM_SET_FPU), .threads = THREAD_MAIN, .rare = THREAD_ANY }, /* without XSAVE */
	{ CALL(ioctl), ARG(1, KVM_SET_XCRS), .threads = THREAD_MAIN },
	{ CALL(ioctl), ARG(1, KVM_SET_VCPU_EVENTS), .threads = THREAD_MAIN },
	{ CALL(ioctl), ARG(1, KVM_GET_NESTED_STATE), .threads = THREAD_MAIN, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, KVM_SET_NESTED_STATE), .threads = THREAD_MAIN, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, KVM_KVMCLOCK_CTRL), .threads = THREAD_MAIN, .rare = THREAD_MAIN },
);

/* Intel SDM volume 3, 2.5: control registers; 2.2.1: EFER. */
#define CR0_PE 0x1u
#define CR0_ET 0x10u
#define CR0_PG 0x80000000u
#define CR4_PAE 0x20u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u
#define RFLAGS_FIXED 0x2u /* bit 1 always reads 1 */

/* Segment types, Intel SDM volume 3, 3.4.5.1. */
#define SEG_CODE_RX_ACCESSED 0xb
#define SEG_DATA_RW_ACCESSED 0x3

struct arch_vcpu {
	/* Power-on state, as KVM made it. */
	struct kvm_sregs sregs;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp_state;
	uint64_t misc_enable; /* see msr.h */
	unsigned phys_bits;
	bool firmware; /* runs: registers stay as at power-on */
};

/*
 * All but the first vCPU, which is the boot processor, are made alike. A call for each of their registers would cost a start with many more than it
 * takes KVM to make them.
 */
#define FIRST_AP 1

/* Intel SDM volume 3, 11.4.6: the id is in the highest byte of the register at 0x20. It is all that tells them apart. */
static void power_on_copy(struct vcpu *vcpu, const struct arch_vcpu *from)
{
	const uint32_t id = vcpu->kvm_id << 24;

	vcpu->arch->sregs = from->sregs;
	vcpu->arch->lapic = from->lapic;
	memcpy(vcpu->arch->lapic.regs + 0x20, &id, sizeof(id));
	vcpu->arch->mp_state = from->mp_state;
}

int arch_vcpu_init(struct vcpu *vcpu, struct err *err)
{
	struct arch_vcpu *arch = calloc(1, sizeof(*arch));
	int r;

	if (!arch)
		return err_set(err, -ENOMEM, "no memory for vCPU %u", vcpu->index);
	vcpu->arch = arch;
	if (vcpu->index > FIRST_AP) {
		power_on_copy(vcpu, vcpu->vm->vcpus[FIRST_AP].arch);
		return 0;
	}
	r = kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &arch->sregs);
	if (r < 0)
		return err_set_errno(err, r, "vCPU %u: KVM_GET_SREGS", vcpu->index);
	r = kvm_ioctl(vcpu->fd, KVM_GET_LAPIC, &arch->lapic);
	if (r < 0)
		return err_set_errno(err, r, "vCPU %u: KVM_GET_LAPIC", vcpu->index);
	r = kvm_ioctl(vcpu->fd, KVM_GET_MP_STATE, &arch->mp_state);
	if (r < 0)
		return err_set_errno(err, r, "vCPU %u: KVM_GET_MP_STATE", vcpu->index);
	return 0;
}

void arch_vcpu_fini(struct vcpu *vcpu)
{
	free(vcpu->arch);
	vcpu->arch = NULL;
}

static int set_firmware_msrs(struct vcpu *vcpu, struct err *err)
{
	return vcpu->arch->firmware ? 0 : msr_set_firmware(vcpu, vcpu->arch->phys_bits, vcpu->arch->misc_enable, err);
}

int vcpu_x86_setup(struct vcpu *vcpu, const struct cpuid_template *template, uint32_t apic_id, bool firmware, struct err *err)
{
	int r = cpuid_apply(vcpu, template, apic_id, err);

	vcpu->arch->phys_bits = template->phys_bits;
	vcpu->arch->firmware = firmware;
	if (r == 0 && vcpu->index == 0)
		r = msr_firmware_misc_enable(vcpu, &vcpu->arch->misc_enable, err);
	else
		vcpu->arch->misc_enable = vcpu->vm->vcpus[0].arch->misc_enable;
	return r < 0 ? r : set_firmware_msrs(vcpu, err);
}

/* FPU, SSE and everything else under XSAVE: an area whose header says "all in initial state". */
static int vcpu_x86_reset_fpu(struct vcpu *vcpu, struct err *err)
{
	struct kvm_fpu fpu = { .fcw = 0x37f, .mxcsr = 0x1f80 };
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = 1 } } };
	struct kvm_xsave xsave = { .region = { 0 } };
	int r;

	if (kvm_capability(vcpu->vm->kvm.fd, KVM_CAP_XSAVE)) {
		xsave.region[0] = 0x37f;
		xsave.region[6] = 0x1f80; /* MXCSR, Intel SDM volume 1, table 13-1 */
		r = kvm_ioctl(vcpu->fd, KVM_SET_XSAVE, &xsave);
	} else {
		r = kvm_ioctl(vcpu->fd, KVM_SET_FPU, &fpu);
	}
	if (r < 0)
		return err_set_errno(err, r, "vCPU %u: floating-point state", vcpu->index);
	if (kvm_capability(vcpu->vm->kvm.fd, KVM_CAP_XCRS)) {
		r = kvm_ioctl(vcpu->fd, KVM_SET_XCRS, &xcrs);
		/* Refused where the guest's CPUID has no XSAVE, and then there is nothing to reset. */
		if (r < 0 && r != -EINVAL)
			return err_set_errno(err, r, "vCPU %u: KVM_SET_XCRS", vcpu->index);
	}
	return 0;
}

/*
 * A guest that is a hypervisor itself may have been stopped inside its own guest, or in VMX operation, where KVM refuses the power-on
 * control registers. An empty nested state ends that.
 */
static int vcpu_x86_leave_nested(struct vcpu *vcpu, struct err *err)
{
	int size = kvm_capability(vcpu->vm->kvm.fd, KVM_CAP_NESTED_STATE);
	struct kvm_nested_state *state;
	int r;

	if (size < (int)sizeof(*state))
		return 0;
	state = calloc(1, (size_t)size);
	if (!state)
		return err_set(err, -ENOMEM, "no memory for the nested state of vCPU %u", vcpu->index);
	state->size = (uint32_t)size;
	r = kvm_ioctl(vcpu->fd, KVM_GET_NESTED_STATE, state);
	if (r == 0) {
		state->size = sizeof(*state);
		state->flags = state->format == KVM_STATE_NESTED_FORMAT_SVM ? KVM_STATE_NESTED_GIF_SET : 0;
		memset(&state->hdr, 0, sizeof(state->hdr));
		if (state->format == KVM_STATE_NESTED_FORMAT_VMX) {
			state->hdr.vmx.vmxon_pa = UINT64_MAX;
			state->hdr.vmx.vmcs12_pa = UINT64_MAX;
		}
		r = kvm_ioctl(vcpu->fd, KVM_SET_NESTED_STATE, state);
	}
	free(state);
	return r < 0 ? err_set_errno(err, r, "vCPU %u: nested state", vcpu->index) : 0;
}

/* Ends what a vCPU may be in the middle of: an event, system management mode, its own guest, an INIT or SIPI on its way. */
/*
 * Tells a guest that reads KVM's clock, whose watchdogs would else take the time for one that a task of its own has hogged the processor. Other
 * guests have no such page: -EINVAL.
 */
void arch_vcpu_was_stopped(struct vcpu *vcpu)
{
	kvm_ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, NULL);
}

static int vcpu_x86_quiesce(struct vcpu *vcpu, struct err *err)
{
	struct kvm_vcpu_events events = { .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
						   KVM_VCPUEVENT_VALID_SHADOW };
	struct kvm_mp_state mp_state;
	int r;

	if (kvm_capability(vcpu->vm->kvm.fd, KVM_CAP_X86_SMM))
		events.flags |= KVM_VCPUEVENT_VALID_SMM;
	r = kvm_ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	if (r < 0)
		return err_set_errno(err, r, "vCPU %u: KVM_SET_VCPU_EVENTS", vcpu->index);
	r = vcpu_x86_leave_nested(vcpu, err);
	if (r < 0)
		return r;
	/* Asked for the state, KVM first accepts the INIT and SIPI that wait. A SIPI accepted later would start an old guest's code. */
	r = kvm_ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp_state);
	return r < 0 ? err_set_errno(err, r, "vCPU %u: KVM_GET_MP_STATE", vcpu->index) : 0;
}

static int vcpu_x86_reset_registers(struct vcpu *vcpu, struct err *err)
{
	/* EDX at power-on is the processor's signature; nothing reads it there. */
	struct kvm_regs regs = { .rip = 0xfff0, .rflags = RFLAGS_FIXED, .rdx = 0x600 };
	struct kvm_debugregs debug = { .dr6 = 0xffff0ff0, .dr7 = 0x400 };
	const struct {
		unsigned long request;
		void *state;
		const char *name;
	} steps[] = {
		{ KVM_SET_SREGS, &vcpu->arch->sregs, "KVM_SET_SREGS" },
		{ KVM_SET_REGS, &regs, "KVM_SET_REGS" },
		{ KVM_SET_DEBUGREGS, &debug, "KVM_SET_DEBUGREGS" },
		/* After the special registers, whose APIC base takes the APIC out of x2APIC mode. */
		{ KVM_SET_LAPIC, &vcpu->arch->lapic, "KVM_SET_LAPIC" },
		{ KVM_SET_MP_STATE, &vcpu->arch->mp_state, "KVM_SET_MP_STATE" },
	};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		int r = kvm_ioctl(vcpu->fd, steps[i].request, steps[i].state);

		if (r < 0)
			return err_set_errno(err, r, "vCPU %u: %s", vcpu->index, steps[i].name);
	}
	return 0;
}

int vcpu_x86_reset(struct vcpu *vcpu, struct err *err)
{
	int r = vcpu_x86_quiesce(vcpu, err);

	if (r == 0)
		r = vcpu_x86_reset_registers(vcpu, err);
	if (r == 0)
		r = vcpu_x86_reset_fpu(vcpu, err);
	if (r == 0)
		r = msr_reset(vcpu, err);
	if (r == 0)
		r = set_firmware_msrs(vcpu, err);
	return r;
}

static struct kvm_segment segment_flat(uint16_t selector, uint8_t type, bool long_mode)
{
	return (struct kvm_segment){
		.base = 0,
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
		.l = long_mode,
		.db = !long_mode,
	};
}

static void sregs_flat_segments(struct kvm_sregs *sregs, uint16_t code, uint16_t data, bool long_mode)
{
	struct kvm_segment ds = segment_flat(data, SEG_DATA_RW_ACCESSED, false);

	sregs->cs = segment_flat(code, SEG_CODE_RX_ACCESSED, long_mode);
	sregs->ds = ds;
	sregs->es = ds;
	sregs->fs = ds;
	sregs->gs = ds;
	sregs->ss = ds;
}

int vcpu_x86_enter_kernel(struct vcpu *vcpu, const struct boot_entry *entry, struct err *err)
{
	struct kvm_sregs sregs = vcpu->arch->sregs;
	struct kvm_regs regs = {
		.rip = entry->rip,
		.rsp = entry->rsp,
		.rax = entry->rax,
		.rbx = entry->rbx,
		.rsi = entry->rsi,
		.rflags = RFLAGS_FIXED,
	};
	int r;

	sregs.gdt.base = entry->gdt_base;
	sregs.gdt.limit = entry->gdt_limit;
	if (entry->mode == BOOT_LONG64) {
		sregs_flat_segments(&sregs, 0x10, 0x18, true);
		sregs.cr0 = CR0_PE | CR0_ET | CR0_PG;
		sregs.cr3 = entry->cr3;
		sregs.cr4 = CR4_PAE;
		sregs.efer = EFER_LME | EFER_LMA;
	} else {
		sregs_flat_segments(&sregs, 0x08, 0x10, false);
		sregs.cr0 = CR0_PE | CR0_ET;
	}
	r = kvm_ioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
	if (r < 0)
		return err_set_errno(err, r, "vCPU %u: KVM_SET_SREGS", vcpu->index);
	r = kvm_ioctl(vcpu->fd, KVM_SET_REGS, &regs);
	return r < 0 ? err_set_errno(err, r, "vCPU %u: KVM_SET_REGS", vcpu->index) : 0;
}
