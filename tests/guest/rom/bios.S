/* SPDX-License-Identifier: MIT */
/*
 * A firmware image of 128 KiB, all of it a test: it starts at the reset vector, in real mode, as firmware does. What it tries, each step with a number:
 * shadow RAM under 0xc0000, 0xe0000 and itself by the host bridge's PAM registers (82441FX data sheet, 3.2.18), and fw_cfg by its ports and by
 * DMA. Then it resets the machine, and all of it must hold again from the start: its own RAM copy, which it spoiled, is not what runs.
 *
 * Ends through isa-debug-exit at 0xf4 with 16; a step that fails ends with 0x40 + its number.
 */
	.code16
	.globl _start
	.set PAM0, 0x59
	.set PAM1, 0x5a		/* low half: 0xc0000, high half: 0xc4000 */
	.set PAM5, 0x5e		/* low half: 0xe0000 */
	.set NONE, 0
	.set READ, 1
	.set WRITE, 2
	.set RUNS, 0x40		/* a byte of CMOS memory that no firmware uses: how often we ran */
	.set FILL, 0xe5		/* the ROM at 0xe0000 */

	.macro pam reg, value
	mov $0x80000000 | (\reg & 0xfc), %eax
	mov $0xcf8, %dx
	out %eax, %dx
	mov $0xcfc + (\reg & 3), %dx
	mov $\value, %al
	out %al, %dx
	.endm
	.macro put segment, value, at=0
	mov $\segment, %ax
	mov %ax, %ds
	movb $\value, \at
	.endm
	.macro want segment, value, at=0
	inc %bl
	mov $\segment, %ax
	mov %ax, %ds
	cmpb $\value, \at
	jne fail
	.endm

_start:	.fill 0x10000, 1, FILL
	.org 0x10000
start:
	cli
	cld
	xor %bx, %bx
	mov %bx, %ss
	mov $0x7000, %sp

	/* No ROM reaches 0xc0000. */
	pam PAM1, READ | WRITE
	put 0xc000, 0x5a
	want 0xc000, 0x5a
	pam PAM1, READ
	put 0xc000, 0xa5
	want 0xc000, 0x5a
	pam PAM1, WRITE
	want 0xc000, 0xff
	put 0xc000, 0x3c
	want 0xc000, 0xff
	pam PAM1, READ
	want 0xc000, 0x3c
	pam PAM1, NONE
	put 0xc000, 0x77
	want 0xc000, 0xff
	pam PAM1, READ | WRITE
	want 0xc000, 0x3c

	/* One write into two segments that differ. */
	pam PAM1, (READ | WRITE) << 4 | READ | WRITE
	put 0xc000, 0x11, 0x3fff
	put 0xc000, 0x22, 0x4000
	pam PAM1, READ << 4 | READ | WRITE
	mov $0xc000, %ax
	mov %ax, %ds
	movw $0xbeef, 0x3fff
	want 0xc000, 0xef, 0x3fff
	want 0xc000, 0x22, 0x4000

	/* The ROM's own bytes are at 0xe0000. */
	pam PAM5, NONE
	want 0xe000, FILL
	put 0xe000, 0x11
	want 0xe000, FILL
	pam PAM5, WRITE
	put 0xe000, 0x22
	want 0xe000, FILL
	pam PAM5, READ
	want 0xe000, 0x22
	pam PAM5, READ | WRITE
	put 0xe000, 0x33
	want 0xe000, 0x33
	pam PAM5, NONE
	want 0xe000, FILL

	/* We copy ourselves to the RAM under us, and go on there. */
	pam PAM0, WRITE << 4
	mov $0xf000, %ax
	mov %ax, %ds
	mov %ax, %es
	xor %si, %si
	xor %di, %di
	mov $0x4000, %cx
	rep movsl
	pam PAM0, READ << 4
	put 0xf000, 0x99, 0x8000
	want 0xf000, 0, 0x8000
	pam PAM0, (READ | WRITE) << 4
	put 0xf000, 0x99, 0x8000
	want 0xf000, 0x99, 0x8000

	/* fw_cfg: the signature by bytes, and by DMA to 0x620. */
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov $0x510, %dx
	out %ax, %dx
	mov $0x600, %di
	mov $0x511, %dx
	mov $4, %cx
	rep insb
	inc %bl
	cmpl $0x554d4551, 0x600	/* "QEMU" */
	jne fail
	movl $0x0a000000, 0x610	/* big-endian: select item 0, read */
	movl $0x04000000, 0x614
	movl $0, 0x618
	movl $0x20060000, 0x61c
	movl $0, 0x620
	mov $0x514, %dx
	xor %eax, %eax
	out %eax, %dx
	mov $0x518, %dx
	mov $0x10060000, %eax
	out %eax, %dx
	inc %bl
	cmpl $0x554d4551, 0x620
	jne fail
	inc %bl
	cmpl $0, 0x610
	jne fail

	/* Once more from the top, with 0x99 where the reset vector leads in RAM. */
	mov $RUNS, %al
	out %al, $0x70
	in $0x71, %al
	test %al, %al
	jnz done
	inc %al
	mov %al, %cl
	mov $RUNS, %al
	out %al, $0x70
	mov %cl, %al
	out %al, $0x71
	put 0xf000, 0x99, 0xfff0
	mov $0xcf9, %dx
	mov $6, %al
	out %al, %dx
	hlt
done:	mov $16, %al
	jmp end
fail:	mov %bl, %al
	add $0x40, %al
end:	out %al, $0xf4
	hlt

	.org 0x1fff0
	ljmp $0xf000, $start - 0x10000
	.org 0x20000
