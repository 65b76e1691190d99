/* SPDX-License-Identifier: MIT */
#include "arch/x86/core_note.h"

#include <elf.h>
#include <string.h>

#include "vmm/arch.h"
#include "vmm/dump.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/kvm.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

SYSCALL_RULES(
	/* A dump */
	{ CALL(ioctl), ARG(1, KVM_GET_REGS), .threads = THREAD_MAIN, .needs = NEEDS_FILES },
	{ CALL(ioctl), ARG(1, KVM_GET_SREGS), .threads = THREAD_MAIN, .needs = NEEDS_FILES },
	{ CALL(ioctl), ARG(1, KVM_GET_MSRS), .threads = THREAD_MAIN, .needs = NEEDS_FILES },
);

#define PRSTATUS_PID 32
#define PRSTATUS_REGS 112
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define QEMU_VERSION 1

void core_note_prstatus(const struct kvm_regs *r, const struct kvm_sregs *s, unsigned index, uint8_t out[CORE_PRSTATUS_SIZE])
{
	/* struct user_regs_struct */
	const uint64_t regs[] = {
		r->r15,		r->r14,	 r->r13,	  r->r12,	 r->rbp,	 r->rbx,	 r->r11,
		r->r10,		r->r9,	 r->r8,		  r->rax,	 r->rcx,	 r->rdx,	 r->rsi,
		r->rdi,		r->rax,	 r->rip,	  s->cs.selector, r->rflags,	 r->rsp,	 s->ss.selector,
		s->fs.base,	s->gs.base, s->ds.selector, s->es.selector, s->fs.selector, s->gs.selector,
	};

	memset(out, 0, CORE_PRSTATUS_SIZE);
	store_le32(out + PRSTATUS_PID, index + 1);
	for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
		store_le64(out + PRSTATUS_REGS + 8 * i, regs[i]);
}

static uint8_t *put64(uint8_t *p, uint64_t v)
{
	store_le64(p, v);
	return p + 8;
}

/* The flags are bits 8 to 23 of a descriptor's upper half, where they stand there. */
static uint8_t *put_segment(uint8_t *p, const struct kvm_segment *s)
{
	uint32_t flags = s->type << 8 | s->s << 12 | s->dpl << 13 | s->present << 15 | s->avl << 20 | s->l << 21 | s->db << 22 | s->g << 23;

	store_le32(p, s->selector);
	store_le32(p + 4, s->limit);
	store_le32(p + 8, flags);
	store_le32(p + 12, 0);
	return put64(p + 16, s->base);
}

static uint8_t *put_table(uint8_t *p, const struct kvm_dtable *t)
{
	const struct kvm_segment s = { .base = t->base, .limit = t->limit };

	return put_segment(p, &s);
}

void core_note_qemu(const struct kvm_regs *r, const struct kvm_sregs *s, uint64_t kernel_gs_base, uint8_t out[CORE_QEMU_SIZE])
{
	const uint64_t regs[] = {
		r->rax, r->rbx, r->rcx, r->rdx, r->rsi, r->rdi, r->rsp, r->rbp, r->r8,
		r->r9,	r->r10, r->r11, r->r12, r->r13, r->r14, r->r15, r->rip, r->rflags,
	};
	const struct kvm_segment *segments[] = { &s->cs, &s->ds, &s->es, &s->fs, &s->gs, &s->ss, &s->ldt, &s->tr };
	const uint64_t cr[] = { s->cr0, 0, s->cr2, s->cr3, s->cr4 };
	uint8_t *p = out + 8;

	memset(out, 0, CORE_QEMU_SIZE);
	store_le32(out, QEMU_VERSION);
	store_le32(out + 4, CORE_QEMU_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
		p = put64(p, regs[i]);
	for (size_t i = 0; i < ARRAY_SIZE(segments); i++)
		p = put_segment(p, segments[i]);
	p = put_table(p, &s->gdt);
	p = put_table(p, &s->idt);
	for (size_t i = 0; i < ARRAY_SIZE(cr); i++)
		p = put64(p, cr[i]);
	put64(p, kernel_gs_base);
}

static uint64_t read_kernel_gs_base(const struct vcpu *vcpu)
{
	union {
		struct kvm_msrs list;
		uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} msrs = { .room = { 0 } };

	msrs.list.nmsrs = 1;
	msrs.list.entries[0].index = MSR_KERNEL_GS_BASE;
	return kvm_ioctl(vcpu->fd, KVM_GET_MSRS, &msrs) == 1 ? msrs.list.entries[0].data : 0;
}

int arch_vcpu_core_notes(struct vcpu *vcpu, struct dump_notes *notes, struct err *err)
{
	uint8_t prstatus[CORE_PRSTATUS_SIZE], qemu[CORE_QEMU_SIZE];
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	int r = kvm_ioctl(vcpu->fd, KVM_GET_REGS, &regs);

	if (r >= 0)
		r = kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	if (r < 0)
		return err_set_errno(err, r, "vCPU %u: KVM does not give its registers", vcpu->index);
	core_note_prstatus(&regs, &sregs, vcpu->index, prstatus);
	core_note_qemu(&regs, &sregs, read_kernel_gs_base(vcpu), qemu);
	r = dump_notes_add(notes, "CORE", NT_PRSTATUS, prstatus, sizeof(prstatus));
	if (r == 0)
		r = dump_notes_add(notes, "QEMU", 0, qemu, sizeof(qemu));
	return r < 0 ? err_set(err, r, "no memory for the dump's notes") : 0;
}
