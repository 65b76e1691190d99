/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's registers as the notes of an ELF core: NT_PRSTATUS as Linux writes it for a thread of x86-64 (struct elf_prstatus), which gdb reads,
 * and QEMU's own ("QEMU", type 0), by which crash finds where the kernel is.
 *
 * Pure functions.
 */
#ifndef ARCH_X86_CORE_NOTE_H
#define ARCH_X86_CORE_NOTE_H

#include <linux/kvm.h>
#include <stdint.h>

#define CORE_PRSTATUS_SIZE 336
#define CORE_QEMU_SIZE 440

/* `index` of the vCPU, whose thread id becomes index + 1. */
void core_note_prstatus(const struct kvm_regs *regs, const struct kvm_sregs *sregs, unsigned index, uint8_t out[CORE_PRSTATUS_SIZE]);
void core_note_qemu(const struct kvm_regs *regs, const struct kvm_sregs *sregs, uint64_t kernel_gs_base, uint8_t out[CORE_QEMU_SIZE]);

#endif
