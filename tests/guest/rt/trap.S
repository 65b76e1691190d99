/* SPDX-License-Identifier: MIT */
/* Interrupt and exception entry: 256 stubs of 16 bytes and one common path to trap_dispatch; the way into ring 3 and back. */
#include "layout.h"

	.text
	.code64
	.globl trap_stubs
	.align 16
trap_stubs:
	vector = 0
	.rept	256
	.align 16
	/* The processor pushes an error code for these only. */
	.if	!(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
	push	$0
	.endif
	push	$vector
	jmp	trap_common
	vector = vector + 1
	.endr

trap_common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rbx
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, %rdi
	mov	%rsp, %rbx
	and	$-16, %rsp
	cld
	call	trap_dispatch
	mov	%rbx, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

/*
 * void user_enter(fn, arg, user_stack_end, struct tss *): saves this context, runs fn(arg) in ring 3. Back by an invalid
 * instruction, which trap_dispatch knows by its address: hosts that interpret ring 0 may support neither INT nor SYSCALL.
 */
	.globl user_enter, user_return, user_resume, user_saved_rsp
user_enter:
	pushfq
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, user_saved_rsp
	mov	%rsp, 4(%rcx)		/* rsp[0]: interrupts in ring 3 go on below */
	lea	user_return(%rip), %rax
	mov	%rax, -8(%rdx)
	sub	$8, %rdx
	mov	%rdi, %rax
	mov	%rsi, %rdi
	push	$SEL_DATA3
	push	%rdx
	pushfq
	orq	$0x3000, (%rsp)		/* IOPL 3 */
	push	$SEL_CODE3
	push	%rax
	iretq
user_return:
	ud2
user_resume:				/* in ring 0, %rsp as saved */
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	popfq
	ret

/* bool msr_try_read(uint32_t msr, uint64_t *value), bool msr_try_write(uint32_t msr, uint64_t value): false after #GP. */
	.globl msr_try_read, msr_try_write, trap_fix_read, trap_fix_write, trap_fixed
msr_try_read:
	mov	%edi, %ecx
trap_fix_read:
	rdmsr
	shl	$32, %rdx
	or	%rdx, %rax
	mov	%rax, (%rsi)
	mov	$1, %eax
	ret
msr_try_write:
	mov	%edi, %ecx
	mov	%esi, %eax
	shr	$32, %rsi
	mov	%esi, %edx
trap_fix_write:
	wrmsr
	mov	$1, %eax
	ret
trap_fixed:
	xor	%eax, %eax
	ret

	.bss
	.align 8
user_saved_rsp:
	.skip	8

	.section .note.GNU-stack, "", @progbits
