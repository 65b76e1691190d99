/* SPDX-License-Identifier: MIT */
/* What a person needs to see when a vCPU cannot go on: its registers, and the bytes that it was about to execute. */
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/arch.h"
#include "vmm/guest_mem.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

SYSCALL_RULES(
	/* KVM cannot go on with a vCPU. */
	{ CALL(ioctl), ARG(1, KVM_GET_REGS), .threads = THREAD_VCPU },
	{ CALL(ioctl), ARG(1, KVM_GET_SREGS), .threads = THREAD_VCPU },
	{ CALL(ioctl), ARG(1, KVM_TRANSLATE), .threads = THREAD_VCPU },
	/* info registers */
	{ CALL(ioctl), ARG(1, KVM_GET_REGS), .threads = THREAD_MAIN, .needs = NEEDS_FILES },
	{ CALL(ioctl), ARG(1, KVM_GET_SREGS), .threads = THREAD_MAIN, .needs = NEEDS_FILES },
	{ CALL(ioctl), ARG(1, KVM_TRANSLATE), .threads = THREAD_MAIN, .needs = NEEDS_FILES },
);

#define CODE_BYTES 16 /* the longest x86 instruction has 15 */

static void dump_segment(FILE *out, const char *name, const struct kvm_segment *s)
{
	fprintf(out, "  %s %04x base %016" PRIx64 " limit %08x type %x dpl %u%s%s%s\n", name, s->selector, (uint64_t)s->base, s->limit,
		  s->type, s->dpl, s->present ? "" : " absent", s->l ? " 64-bit" : "", s->db ? " 32-bit" : "");
}

static void dump_registers(FILE *out, const struct kvm_regs *r)
{
#define U(v) ((uint64_t)(v))
	fprintf(out, "  rip %016" PRIx64 " rflags %08" PRIx64 "\n", U(r->rip), U(r->rflags));
	fprintf(out, "  rax %016" PRIx64 " rbx %016" PRIx64 " rcx %016" PRIx64 " rdx %016" PRIx64 "\n", U(r->rax), U(r->rbx), U(r->rcx),
		  U(r->rdx));
	fprintf(out, "  rsi %016" PRIx64 " rdi %016" PRIx64 " rbp %016" PRIx64 " rsp %016" PRIx64 "\n", U(r->rsi), U(r->rdi), U(r->rbp),
		  U(r->rsp));
	fprintf(out, "  r8  %016" PRIx64 " r9  %016" PRIx64 " r10 %016" PRIx64 " r11 %016" PRIx64 "\n", U(r->r8), U(r->r9), U(r->r10),
		  U(r->r11));
	fprintf(out, "  r12 %016" PRIx64 " r13 %016" PRIx64 " r14 %016" PRIx64 " r15 %016" PRIx64 "\n", U(r->r12), U(r->r13), U(r->r14),
		  U(r->r15));
}

static void dump_special(FILE *out, const struct kvm_sregs *s)
{
	fprintf(out, "  cr0 %08" PRIx64 " cr2 %016" PRIx64 " cr3 %016" PRIx64 " cr4 %08" PRIx64 " efer %04" PRIx64 "\n", U(s->cr0), U(s->cr2),
		  U(s->cr3), U(s->cr4), U(s->efer));
	dump_segment(out, "cs", &s->cs);
	dump_segment(out, "ss", &s->ss);
	dump_segment(out, "ds", &s->ds);
	dump_segment(out, "es", &s->es);
	dump_segment(out, "fs", &s->fs);
	dump_segment(out, "gs", &s->gs);
	fprintf(out, "  gdt %016" PRIx64 " limit %04x  idt %016" PRIx64 " limit %04x\n", U(s->gdt.base), s->gdt.limit, U(s->idt.base),
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

static void dump_code(FILE *out, struct vcpu *vcpu, uint64_t address)
{
	char text[CODE_BYTES * 3 + 1] = "";
	uint8_t code[CODE_BYTES];
	size_t n = read_code(vcpu, address, code);

	for (size_t i = 0; i < n; i++)
		snprintf(text + 3 * i, sizeof(text) - 3 * i, " %02x", code[i]);
	fprintf(out, "  bytes at rip:%s\n", n ? text : " not in guest memory");
}

void arch_vcpu_print(struct vcpu *vcpu, FILE *out)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;

	if (kvm_ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 || kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0) {
		fprintf(out, "vCPU %u: its registers cannot be read\n", vcpu->index);
		return;
	}
	fprintf(out, "vCPU %u:\n", vcpu->index);
	dump_registers(out, &regs);
	dump_special(out, &sregs);
	dump_code(out, vcpu, sregs.cs.base + regs.rip);
}

void arch_vcpu_dump(struct vcpu *vcpu)
{
	char *text = NULL, *line, *rest = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return;
	arch_vcpu_print(vcpu, out);
	if (fclose(out) == 0)
		for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
			log_error("%s", line);
	free(text);
}
