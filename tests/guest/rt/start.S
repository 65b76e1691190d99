/* SPDX-License-Identifier: MIT */
/*
 * From the boot loader to C, for the first CPU and for the others.
 *
 * The image is an ELF32 file with multiboot header, so that any multiboot 1 loader takes it; only this file and the
 * application processors' start run outside 64-bit mode. 64-bit code because KVM hosts that interpret guest kernels run nothing
 * else at full speed in ring 3, and because memory above 4 GiB and 8-byte accesses then need no tricks.
 *
 * Paging: 4 GiB one to one in 2 MiB pages, all of it open to ring 3. The descriptor table holds, in this order, null, ring 0
 * code, ring 0 data, ring 3 code, ring 3 data and the task state segment of the first CPU.
 */
#include "layout.h"

#define CR0_PE 0x1
#define CR0_PG 0x80000000
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define PTE_P_RW_US 0x7
#define PTE_LARGE 0x80

	.section .multiboot, "ax"
	.align 4
	.long 0x1badb002, 0x3, -(0x1badb002 + 0x3)	/* modules on pages, memory information */

	.text
	.code32
	.globl _start
_start:
	mov	%esp, entry_state + ENTRY_ESP
	mov	$boot_stack_end, %esp
	mov	%eax, entry_state + ENTRY_EAX
	mov	%ebx, entry_state + ENTRY_EBX
	pushf
	pop	%eax
	mov	%eax, entry_state + ENTRY_EFLAGS
	mov	%cr0, %eax
	mov	%eax, entry_state + ENTRY_CR0
	mov	%cr4, %eax
	mov	%eax, entry_state + ENTRY_CR4
	mov	%cs, %eax
	mov	%eax, entry_state + ENTRY_CS
	mov	%ds, %eax
	mov	%eax, entry_state + ENTRY_DS
	mov	$MSR_EFER, %ecx
	rdmsr
	mov	%eax, entry_state + ENTRY_EFER
	cld

	/* Page tables: four directories of 512 large pages, filled as one array. */
	mov	$page_pd, %edi
	mov	$(PTE_P_RW_US | PTE_LARGE), %eax
1:	mov	%eax, (%edi)
	add	$8, %edi
	add	$0x200000, %eax
	jnc	1b
	movl	$(page_pdpt + PTE_P_RW_US), page_pml4
	mov	$page_pdpt, %edi
	mov	$(page_pd + PTE_P_RW_US), %eax
	mov	$4, %ecx
2:	mov	%eax, (%edi)
	add	$8, %edi
	add	$0x1000, %eax
	loop	2b

	mov	$boot_stack_end, %esp
	mov	$first_64, %edi
	/* Into 64-bit mode at %edi with the stack at %esp; the first CPU and the others alike. */
enter_long_mode:
	mov	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	$page_pml4, %eax
	mov	%eax, %cr3
	mov	$MSR_EFER, %ecx
	rdmsr
	or	$EFER_LME, %eax
	wrmsr
	mov	%cr0, %eax
	or	$(CR0_PG | CR0_PE), %eax
	mov	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$SEL_CODE0, $1f
	.code64
1:	mov	$SEL_DATA0, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	%eax, %fs
	mov	%eax, %gs
	mov	%esp, %esp
	mov	%edi, %edi
	jmp	*%rdi

first_64:
	xor	%ebp, %ebp
	call	rt_main
	ud2

/*
 * Start of an application processor: copied to AP_START, entered in real mode at AP_START:0. Takes the next stack in line.
 */
	.globl ap_trampoline, ap_trampoline_end
	.code16
ap_trampoline:
	cli
	lgdtl	%cs:(ap_gdt_pointer - ap_trampoline)
	mov	$CR0_PE, %eax
	mov	%eax, %cr0
	ljmpl	$SEL_CODE32, $ap_32
	.align 4
ap_gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
ap_trampoline_end:

	.code32
ap_32:
	mov	$SEL_DATA0, %eax
	mov	%eax, %ds
	mov	%eax, %ss
	mov	$1, %eax
	lock xadd %eax, ap_next
	imul	$AP_STACK_SIZE, %eax, %edx
	lea	ap_stacks + AP_STACK_SIZE(%edx), %esp
	mov	$ap_64, %edi
	push	$0
	push	%eax
	jmp	enter_long_mode
	.code64
ap_64:
	pop	%rdi			/* the number of this one among the application processors, from 0 */
	xor	%ebp, %ebp
	call	ap_main
	ud2

	.data
	.align 16
	.globl gdt, gdt_tss
gdt:
	.quad	0
	.quad	0x00af9b000000ffff	/* SEL_CODE0 */
	.quad	0x00cf93000000ffff	/* SEL_DATA0 */
	.quad	0x00affb000000ffff	/* SEL_CODE3 */
	.quad	0x00cff3000000ffff	/* SEL_DATA3 */
	.quad	0x00cf9b000000ffff	/* SEL_CODE32 */
gdt_tss:
	.quad	0, 0			/* SEL_TSS */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.quad	gdt

	.globl entry_state, ap_next, page_pml4, page_pdpt
	.align 4
entry_state:
	.fill	ENTRY_SIZE, 1, 0
ap_next:
	.long	0

	.bss
	.align 4096
page_pml4:
	.skip	4096
page_pdpt:
	.skip	4096
page_pd:
	.skip	4 * 4096
	.align 16
boot_stack:
	.skip	16384
boot_stack_end:
ap_stacks:
	.skip	AP_STACK_SIZE * (MAX_CPUS - 1)

	.section .note.GNU-stack, "", @progbits
