/* SPDX-License-Identifier: MIT */
/* Numbers that assembly and C share. */
#ifndef RT_LAYOUT_H
#define RT_LAYOUT_H

#define SEL_CODE0 0x08
#define SEL_DATA0 0x10
#define SEL_CODE3 0x1b
#define SEL_DATA3 0x23
#define SEL_CODE32 0x28
#define SEL_TSS 0x30

#define MAX_CPUS 64
#define AP_STACK_SIZE 4096
#define AP_START 0x8000 /* where application processors begin, in the first MiB */

/* struct entry_state: the first CPU as the boot loader left it. */
#define ENTRY_EAX 0
#define ENTRY_EBX 4
#define ENTRY_ESP 8
#define ENTRY_EFLAGS 12
#define ENTRY_CR0 16
#define ENTRY_CR4 20
#define ENTRY_CS 24
#define ENTRY_DS 28
#define ENTRY_EFER 32
#define ENTRY_SIZE 36

#endif
