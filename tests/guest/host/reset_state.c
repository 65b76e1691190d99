/* SPDX-License-Identifier: MIT */
/*
 * What does a reset forget? On a real KVM: makes a machine's vCPUs and interrupt controllers, notes all state that KVM tells, makes
 * every bit of it different that KVM lets one change, resets, and compares.
 *
 * Output: a line for each difference, then "reset-state: N registers, N changed, N not reset". Status 1 when any was not reset.
 */
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/cpuid.h"
#include "arch/x86/irqchip.h"
#include "arch/x86/vcpu_x86.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/guest_mem.h"
#include "vmm/kvm.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

#define MAX_MSRS 1024
#define N_VCPUS 4 /* those behind the second are made as it is */

struct msr_indices {
	uint32_t n, index[MAX_MSRS];
};

struct state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debug;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;
	struct kvm_lapic_state lapic;
	uint32_t xsave[1024]; /* struct kvm_xsave */
	struct kvm_xcrs xcrs;
	uint64_t msr[MAX_MSRS];
	bool has_msr[MAX_MSRS];
	struct irqchip chips;
};

struct counts {
	unsigned registers, changed, wrong;
};

static void need(int r, const char *what)
{
	if (r >= 0)
		return;
	printf("reset-state: %s failed: %s\n", what, strerrordesc_np(-r));
	exit(1);
}

static bool msr_access(const struct vcpu *vcpu, unsigned long request, uint32_t index, uint64_t *value)
{
	union { /* the list ends in an array of any length */
		struct kvm_msrs list;
		uint8_t space[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} one = { .list.nmsrs = 1 };
	bool ok;

	one.list.entries[0] = (struct kvm_msr_entry){ .index = index, .data = *value };
	ok = kvm_ioctl(vcpu->fd, request, &one) == 1;
	*value = one.list.entries[0].data;
	return ok;
}

static void state_read(struct state *s, const struct vcpu *vcpu, const struct msr_indices *msrs)
{
	struct err err = ERR_INIT;

	memset(s, 0, sizeof(*s));
	need(kvm_ioctl(vcpu->fd, KVM_GET_REGS, &s->regs), "KVM_GET_REGS");
	need(kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &s->sregs), "KVM_GET_SREGS");
	need(kvm_ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &s->debug), "KVM_GET_DEBUGREGS");
	need(kvm_ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &s->events), "KVM_GET_VCPU_EVENTS");
	need(kvm_ioctl(vcpu->fd, KVM_GET_MP_STATE, &s->mp_state), "KVM_GET_MP_STATE");
	need(kvm_ioctl(vcpu->fd, KVM_GET_LAPIC, &s->lapic), "KVM_GET_LAPIC");
	need(kvm_ioctl(vcpu->fd, KVM_GET_XSAVE, s->xsave), "KVM_GET_XSAVE");
	need(kvm_ioctl(vcpu->fd, KVM_GET_XCRS, &s->xcrs), "KVM_GET_XCRS");
	for (uint32_t i = 0; i < msrs->n; i++)
		s->has_msr[i] = msr_access(vcpu, KVM_GET_MSRS, msrs->index[i], &s->msr[i]);
	need(irqchip_init(&s->chips, vcpu->vm->fd, true, &err), err.msg);
}

/* Changes everything; what KVM refuses stays as it is. */
static void state_spoil(const struct state *fresh, const struct vcpu *vcpu, const struct msr_indices *msrs)
{
	static const uint64_t tries[] = { ~UINT64_C(0), 0x1111, 1, 2, 8, 0x501, 0x1000, 0 };
	struct state s = *fresh;

	for (size_t i = 0; i < sizeof(s.regs) / 8; i++)
		((uint64_t *)&s.regs)[i] = 0x1000 + i;
	s.regs.rflags = 0x246;
	s.sregs.cs.selector = 0x30;
	s.sregs.ds.base = 0x5000;
	s.sregs.gdt.base = 0x6000;
	s.sregs.idt.limit = 0x77;
	s.sregs.cr2 = 0x1234;
	s.sregs.cr8 = 5;
	s.sregs.cr4 |= 0x200; /* OSFXSR */
	s.debug.db[1] = 0x4444;
	s.debug.dr7 = 0x401;
	s.events.nmi.masked = 1;
	s.events.nmi.pending = 1;
	s.events.interrupt.injected = 1;
	s.events.interrupt.nr = 0x55;
	s.mp_state.mp_state = KVM_MP_STATE_HALTED;
	s.lapic.regs[0x80] = 0x20;  /* task priority */
	s.lapic.regs[0xf1] = 1;     /* software enable */
	s.lapic.regs[0x200] = 0x40; /* a request */
	s.lapic.regs[0x320] = 0x33; /* timer vector, not masked */
	s.lapic.regs[0x322] = 0;
	for (size_t i = 0; i < 104; i++)
		s.xsave[40 + i] = 0x01010101;
	s.xsave[0] = 0x27f;
	s.xsave[128] = 3; /* x87 and SSE state in use */
	for (uint32_t i = 0; i < msrs->n; i++) {
		for (size_t k = 0; k < ARRAY_SIZE(tries) && s.has_msr[i]; k++) {
			uint64_t v = tries[k];

			if (msrs->index[i] == 0x1a0) /* IA32_MISC_ENABLE: a guest cannot write the bits 7, 11, 12 */
				v = (v & ~UINT64_C(0x1880)) | (fresh->msr[i] & 0x1880);

			if (v != fresh->msr[i] && msr_access(vcpu, KVM_SET_MSRS, msrs->index[i], &v))
				break;
		}
	}
	kvm_ioctl(vcpu->fd, KVM_SET_SREGS, &s.sregs);
	kvm_ioctl(vcpu->fd, KVM_SET_REGS, &s.regs);
	kvm_ioctl(vcpu->fd, KVM_SET_DEBUGREGS, &s.debug);
	kvm_ioctl(vcpu->fd, KVM_SET_LAPIC, &s.lapic);
	kvm_ioctl(vcpu->fd, KVM_SET_XSAVE, s.xsave);
	s.xcrs.xcrs[0].value = 7;
	kvm_ioctl(vcpu->fd, KVM_SET_XCRS, &s.xcrs);
	kvm_ioctl(vcpu->fd, KVM_SET_MP_STATE, &s.mp_state);
	kvm_ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &s.events);
	s.chips.chips[0].chip.pic.imr = 0x5a;
	s.chips.chips[1].chip.pic.irq_base = 0x70;
	for (unsigned i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		s.chips.chips[2].chip.ioapic.redirtbl[i].fields.vector = (uint8_t)(0x30 + i);
	for (unsigned i = 0; i < 3; i++)
		s.chips.pit.channels[i] = (struct kvm_pit_channel_state){ .count = 0x4321, .mode = 2, .gate = 1, .rw_mode = 3 };
	for (unsigned i = 0; i < IRQCHIP_COUNT; i++)
		kvm_ioctl(vcpu->vm->fd, KVM_SET_IRQCHIP, &s.chips.chips[i]);
	kvm_ioctl(vcpu->vm->fd, KVM_SET_PIT2, &s.chips.pit);
}

static void compare(struct counts *c, unsigned vcpu, const char *what, size_t at, uint64_t fresh, uint64_t spoilt, uint64_t after)
{
	c->registers++;
	c->changed += spoilt != fresh;
	if (after == fresh)
		return;
	c->wrong++;
	printf("not reset: vCPU %u %s 0x%zx: %#llx at power-on, %#llx after the guest, %#llx after reset\n", vcpu, what, at,
	       (unsigned long long)fresh, (unsigned long long)spoilt, (unsigned long long)after);
}

static void compare_bytes(struct counts *c, unsigned vcpu, const char *what, const void *fresh, const void *spoilt, const void *after,
			  size_t n)
{
	for (size_t i = 0; i < n; i++)
		compare(c, vcpu, what, i, ((const uint8_t *)fresh)[i], ((const uint8_t *)spoilt)[i], ((const uint8_t *)after)[i]);
}

/* What runs by itself, or is not the guest's to change. */
static bool msr_left_out(uint32_t index)
{
	switch (index) {
	case 0x10:  /* time-stamp counter */
	case 0xe7:  /* MPERF, APERF */
	case 0xe8:
	case 0x34:  /* SMI count: no guest writes it */
	case 0x8b:  /* microcode revision, nor this */
	case 0x9e:  /* SMBASE: outside SMM, nor this */
	case 0x10a: /* ARCH_CAPABILITIES, nor this */
	case 0x345: /* PERF_CAPABILITIES, nor this */
	case 0xce:  /* PLATFORM_INFO, nor this */
	case 0x4b564d07: /* ASYNC_PF_ACK: write only */
		return true;
	default:
		return (index >= 0x40000000 && index < 0x40000200) || /* Hyper-V's: not in the guest's CPUID, so not to be written */
		       (index >= 0x480 && index <= 0x492);            /* what VMX can do: no guest writes it */
	}
}

static void state_compare(struct counts *c, unsigned vcpu, const struct state *fresh, const struct state *spoilt,
			  const struct state *after, const struct msr_indices *msrs)
{
#define FIELD(f) compare_bytes(c, vcpu, #f, &fresh->f, &spoilt->f, &after->f, sizeof(fresh->f))
	FIELD(sregs);
	FIELD(debug);
	FIELD(events);
	FIELD(mp_state);
	FIELD(lapic);
	FIELD(xcrs);
	FIELD(chips.chips[0].chip.pic);
	FIELD(chips.chips[1].chip.pic);
	FIELD(chips.chips[2].chip.ioapic);
#undef FIELD
	for (size_t i = 0; i < sizeof(fresh->regs) / 8; i++)
		compare(c, vcpu, "regs", i * 8, ((const uint64_t *)&fresh->regs)[i], ((const uint64_t *)&spoilt->regs)[i],
			((const uint64_t *)&after->regs)[i]);
	compare(c, vcpu, "XSAVE: states in use", 512, fresh->xsave[128], spoilt->xsave[128], after->xsave[128]);
	for (unsigned i = 0; i < 3; i++) {
		struct kvm_pit_channel_state f = fresh->chips.pit.channels[i], s = spoilt->chips.pit.channels[i],
					     a = after->chips.pit.channels[i];

		f.count_load_time = s.count_load_time = a.count_load_time = 0; /* the host's clock */
		compare_bytes(c, vcpu, "PIT", &f, &s, &a, sizeof(f));
	}
	for (uint32_t i = 0; i < msrs->n; i++)
		if (fresh->has_msr[i] && !msr_left_out(msrs->index[i]))
			compare(c, vcpu, "MSR", msrs->index[i], fresh->msr[i], spoilt->msr[i], after->msr[i]);
}

static void indices_read(struct msr_indices *msrs, int kvm_fd)
{
	union {
		struct kvm_msr_list list;
		uint32_t space[MAX_MSRS + 1];
	} all = { .list.nmsrs = MAX_MSRS - 200 };

	need(kvm_ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, &all.list), "KVM_GET_MSR_INDEX_LIST");
	msrs->n = all.list.nmsrs;
	memcpy(msrs->index, all.list.indices, msrs->n * sizeof(msrs->index[0]));
	/* MTRRs and the banks of machine checks are not in the list. */
	for (uint32_t i = 0x200; i <= 0x20f; i++)
		msrs->index[msrs->n++] = i;
	for (uint32_t i = 0x250; i <= 0x26f; i++)
		msrs->index[msrs->n++] = i;
	for (uint32_t i = 0x400; i < 0x480; i++)
		msrs->index[msrs->n++] = i;
	msrs->index[msrs->n++] = 0x277;
	msrs->index[msrs->n++] = 0x2ff;
}

int main(void)
{
	static struct state fresh[N_VCPUS], spoilt[N_VCPUS], after[N_VCPUS];
	static struct cpuid_template cpuid;
	static struct msr_indices msrs;
	const struct topology topology = { 1, N_VCPUS, 1 };
	const struct gm_range ram = { 0, 2 * MIB };
	const uint32_t ids[N_VCPUS] = { 0, 1, 2, 200 };
	const struct config_cpu cpu = { .n_features = 0 };
	struct err err = ERR_INIT;
	struct eventloop *loop = eventloop_create(&err);
	const struct vm_params params = { .ram = &ram, .n_ram = 1, .vcpu_ids = ids, .n_vcpus = N_VCPUS, .loop = loop };
	struct vm *vm = vm_create(&params, &err);
	struct counts counts = { 0 };

	need(vm ? 0 : err.code, err.msg);
	need(cpuid_template_init(&cpuid, vm->kvm.fd, &cpu, &topology, &err), err.msg);
	need(irqchip_wire(vm->fd, true, true, &err), err.msg);
	indices_read(&msrs, vm->kvm.fd);
	for (unsigned i = 0; i < N_VCPUS; i++)
		need(vcpu_x86_setup(&vm->vcpus[i], &cpuid, ids[i], false, &err), err.msg);
	for (unsigned i = 0; i < N_VCPUS; i++)
		state_read(&fresh[i], &vm->vcpus[i], &msrs);
	for (unsigned i = 0; i < N_VCPUS; i++)
		state_spoil(&fresh[i], &vm->vcpus[i], &msrs);
	for (unsigned i = 0; i < N_VCPUS; i++)
		state_read(&spoilt[i], &vm->vcpus[i], &msrs);
	need(irqchip_reset(&fresh[0].chips, &err), err.msg);
	for (unsigned i = 0; i < N_VCPUS; i++)
		need(vcpu_x86_reset(&vm->vcpus[i], &err), err.msg);
	for (unsigned i = 0; i < N_VCPUS; i++)
		state_read(&after[i], &vm->vcpus[i], &msrs);
	for (unsigned i = 0; i < N_VCPUS; i++)
		state_compare(&counts, i, &fresh[i], &spoilt[i], &after[i], &msrs);
	printf("reset-state: %u registers, %u changed, %u not reset\n", counts.registers, counts.changed, counts.wrong);
	vm_destroy(vm);
	eventloop_destroy(loop);
	return counts.wrong ? 1 : 0;
}
