/* SPDX-License-Identifier: MIT */
/* What a person needs to see when a vCPU cannot go on: its registers, and the bytes that it was about to execute. */
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdio.h>

#include "vmm/arch.h"
#include "vmm/guest_mem.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

#define CODE_BYTES 16 /* the longest x86 instruction has 15 */

static void dump_segment(const char *name, const struct kvm_segment *s)
{
	log_error("  %s %04x base %016" PRIx64 " limit %08x type %x dpl %u%s%s%s", name, s->selector, (uint64_t)s->base, s->limit,
		  s->type, s->dpl, s->present ? "" : " absent", s->l ? " 64-bit" : "", s->db ? " 32-bit" : "");
}

static void dump_registers(const struct kvm_regs *r)
{
#define U(v) ((uint64_t)(v))
	log_error("  rip %016" PRIx64 " rflags %08" PRIx64, U(r->rip), U(r->rflags));
	log_error("  rax %016" PRIx64 " rbx %016" PRIx64 " rcx %016" PRIx64 " rdx %016" PRIx64, U(r->rax), U(r->rbx), U(r->rcx),
		  U(r->rdx));
	log_error("  rsi %016" PRIx64 " rdi %016" PRIx64 " rbp %016" PRIx64 " rsp %016" PRIx64, U(r->rsi), U(r->rdi), U(r->rbp),
		  U(r->rsp));
	log_error("  r8  %016" PRIx64 " r9  %016" PRIx64 " r10 %016" PRIx64 " r11 %016" PRIx64, U(r->r8), U(r->r9), U(r->r10),
		  U(r->r11));
	log_error("  r12 %016" PRIx64 " r13 %016" PRIx64 " r14 %016" PRIx64 " r15 %016" PRIx64, U(r->r12), U(r->r13), U(r->r14),
		  U(r->r15));
}

static void dump_special(const struct kvm_sregs *s)
{
	log_error("  cr0 %08" PRIx64 " cr2 %016" PRIx64 " cr3 %016" PRIx64 " cr4 %08" PRIx64 " efer %04" PRIx64, U(s->cr0), U(s->cr2),
		  U(s->cr3), U(s->cr4), U(s->efer));
	dump_segment("cs", &s->cs);
	dump_segment("ss", &s->ss);
	dump_segment("ds", &s->ds);
	dump_segment("es", &s->es);
	dump_segment("fs", &s->fs);
	dump_segment("gs", &s->gs);
	log_error("  gdt %016" PRIx64 " limit %04x  idt %016" PRIx64 " limit %04x", U(s->gdt.base), s->gdt.limit, U(s->idt.base),
		  s->idt.limit);
}
#undef U

/* Up to a page's end, through the guest's own page tables. */
static size_t read_code(struct vcpu *vcpu, uint64_t address, uint8_t *code)
{
	struct kvm_translation t = { .linear_address = address };
	size_t n = (size_t)min_u64(CODE_BYTES, 4096 - (address & 4095));

	if (kvm_ioctl(vcpu->fd, KVM_TRANSLATE, &t) < 0 || !t.valid)
		return 0;
	return gm_read(vcpu->vm->mem, t.physical_address, code, n) == 0 ? n : 0;
}

static void dump_code(struct vcpu *vcpu, uint64_t address)
{
	char text[CODE_BYTES * 3 + 1] = "";
	uint8_t code[CODE_BYTES];
	size_t n = read_code(vcpu, address, code);

	for (size_t i = 0; i < n; i++)
		snprintf(text + 3 * i, sizeof(text) - 3 * i, " %02x", code[i]);
	log_error("  bytes at rip:%s", n ? text : " not in guest memory");
}

void arch_vcpu_dump(struct vcpu *vcpu)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;

	if (kvm_ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 || kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0) {
		log_error("vCPU %u: its registers cannot be read", vcpu->index);
		return;
	}
	log_error("vCPU %u:", vcpu->index);
	dump_registers(&regs);
	dump_special(&sregs);
	dump_code(vcpu, sregs.cs.base + regs.rip);
}
