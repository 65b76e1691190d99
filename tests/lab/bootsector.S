# SPDX-License-Identifier: MIT
# A boot sector that says so on COM1, NAME and how often it has been booted (a count in CMOS memory, which a reset keeps), and then does what is typed:
#   r k p t   resets: port 0xcf9, keyboard controller, port 0x92, triple fault
#   d         prints the second sector of the disk, through the BIOS's INT 13h, up to its first zero
#   q         power off (ACPI, S5)
	.code16
	.globl _start
	.set COM1, 0x3f8
	.set COUNT, 0x40		# a byte of CMOS memory that no firmware uses
_start:
	cli
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	mov %dl, drive
	mov $COUNT, %al
	out %al, $0x70
	in $0x71, %al
	inc %al
	mov %al, %bl
	mov $COUNT, %al
	out %al, $0x70
	mov %bl, %al
	out %al, $0x71
	add $'0', %bl
	mov %bl, count
	mov $hello, %si
	call print
next:
	mov $COM1 + 5, %dx
1:	in %dx, %al
	test $1, %al
	jz 1b
	mov $COM1, %dx
	in %dx, %al
	cmp $'r', %al
	je reset_cf9
	cmp $'k', %al
	je reset_8042
	cmp $'p', %al
	je reset_92
	cmp $'t', %al
	je triple
	cmp $'d', %al
	je disk
	cmp $'q', %al
	je off
	jmp next
reset_cf9:
	mov $0xcf9, %dx
	mov $6, %al
	out %al, %dx
	hlt
reset_8042:
	mov $0xfe, %al
	out %al, $0x64
	hlt
reset_92:
	in $0x92, %al
	and $0xfe, %al
	out %al, $0x92
	or $1, %al
	out %al, $0x92
	hlt
triple:
	lidt no_idt
	int $0x30
off:
	mov $0x604, %dx
	mov $0x3400, %ax
	out %ax, %dx
	hlt
disk:
	mov $0x42, %ah
	mov drive, %dl
	mov $packet, %si
	int $0x13
	cli
	mov $0x8000, %si
	jnc 2f
	mov $bad, %si
2:	call print
	jmp next
print:
	lodsb
	test %al, %al
	jz 4f
	mov %al, %ah
	mov $COM1 + 5, %dx
3:	in %dx, %al
	test $0x20, %al
	jz 3b
	mov $COM1, %dx
	mov %ah, %al
	out %al, %dx
	jmp print
4:	ret
hello:	.ascii "\r\nBOOTED disk "
name:	.ascii "NAME"
	.ascii " time "
count:	.asciz "0\r\n"
bad:	.asciz "INT 13h failed\r\n"
drive:	.byte 0
no_idt:	.word 0
	.long 0
	.balign 4
packet:	.byte 16, 0
	.word 1, 0x8000, 0
	.quad 1
	.org 510
	.word 0xaa55
