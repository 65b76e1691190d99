/* SPDX-License-Identifier: MIT */
/* Descriptor tables, dispatch of traps to handlers, the report of one that nobody expected, and calls into ring 3. */
#include "rt.h"

#define VECTOR_UD 6
#define VECTOR_GP 13
#define RFLAGS_FIXED 0x2

struct gate {
	uint16_t offset0, selector;
	uint8_t ist, type;
	uint16_t offset1;
	uint32_t offset2, reserved;
} __attribute__((packed));

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3], reserved1, ist[7], reserved2;
	uint16_t reserved3, iomap;
	uint8_t io_allowed[65536 / 8 + 1]; /* all zero: ring 3 may use every port, also where IOPL is not virtualized */
} __attribute__((packed));

struct table_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

extern uint64_t gdt_tss[2], user_saved_rsp;
extern char trap_stubs[], user_return[], user_resume[], trap_fix_read[], trap_fix_write[], trap_fixed[];
void user_enter(void (*fn)(void *arg), void *arg, void *user_stack_end, struct tss *ts);
void trap_dispatch(struct trap_frame *frame);

static struct gate idt[256] __attribute__((aligned(16)));
static struct tss tss = { .iomap = offsetof(struct tss, io_allowed) };
static trap_handler *handlers[256];
static char user_stack[8192] __attribute__((aligned(16)));

static void gate_set(unsigned vector, const void *entry, uint8_t type)
{
	uint64_t a = (uintptr_t)entry;

	idt[vector] = (struct gate){
		.offset0 = (uint16_t)a, .selector = SEL_CODE0, .type = type,
		.offset1 = (uint16_t)(a >> 16), .offset2 = (uint32_t)(a >> 32),
	};
}

void trap_init_ap(void)
{
	struct table_pointer p = { sizeof(idt) - 1, (uintptr_t)idt };

	asm volatile("lidt %0" : : "m"(p));
}

void trap_init(void)
{
	uint64_t base = (uintptr_t)&tss, limit = sizeof(tss) - 1;

	for (unsigned v = 0; v < 256; v++)
		gate_set(v, trap_stubs + v * 16, 0x8e);
	trap_init_ap();
	tss.io_allowed[sizeof(tss.io_allowed) - 1] = 0xff;
	gdt_tss[0] = limit | (base & 0xffffff) << 16 | UINT64_C(0x89) << 40 | (base >> 24 & 0xff) << 56;
	gdt_tss[1] = base >> 32;
	asm volatile("ltr %w0" : : "r"(SEL_TSS));
}

void trap_set(unsigned vector, trap_handler *handler)
{
	handlers[vector] = handler;
	barrier();
}

void user_call(void (*fn)(void *arg), void *arg)
{
	user_enter(fn, arg, user_stack + sizeof(user_stack), &tss);
}

static _Noreturn void trap_report(const struct trap_frame *f)
{
	uint64_t cr2;

	asm volatile("mov %%cr2, %0" : "=r"(cr2));
	console_init();
	print("guest: trap %lu error 0x%lx at rip 0x%lx cs 0x%lx flags 0x%lx cr2 0x%lx cpu %u\n", f->vector, f->error, f->rip,
	      f->cs, f->rflags, cr2, lapic_id());
	print("guest: rax %lx rbx %lx rcx %lx rdx %lx rsi %lx rdi %lx rsp %lx rbp %lx\n", f->rax, f->rbx, f->rcx, f->rdx,
	      f->rsi, f->rdi, f->rsp, f->rbp);
	outb(EXIT_PORT, EXIT_TRAPPED);
	halt_forever();
}

void trap_dispatch(struct trap_frame *frame)
{
	if (handlers[frame->vector]) {
		handlers[frame->vector](frame);
		return;
	}
	if (frame->vector == VECTOR_GP && (frame->rip == (uintptr_t)trap_fix_read || frame->rip == (uintptr_t)trap_fix_write)) {
		frame->rip = (uintptr_t)trap_fixed;
		return;
	}
	if (frame->vector == VECTOR_UD && frame->rip == (uintptr_t)user_return) {
		frame->rip = (uintptr_t)user_resume;
		frame->cs = SEL_CODE0;
		frame->ss = SEL_DATA0;
		frame->rsp = user_saved_rsp;
		frame->rflags = RFLAGS_FIXED;
		return;
	}
	if (frame->vector == VEC_SPURIOUS || frame->vector == VEC_PIC + 7 || frame->vector == VEC_PIC + 15)
		return; /* spurious interrupts need no end-of-interrupt; the PICs' come as the lowest priority */
	trap_report(frame);
}
