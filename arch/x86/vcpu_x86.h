/* SPDX-License-Identifier: MIT */
/*
 * An x86 vCPU's state: set up, entered at a kernel, and returned to power-on.
 *
 * Thread: main, the vCPU not running.
 */
#ifndef ARCH_X86_VCPU_X86_H
#define ARCH_X86_VCPU_X86_H

#include <stdbool.h>

#include "arch/x86/cpuid.h"

struct boot_entry;
struct err;
struct vcpu;

/*
 * Gives the vCPU its CPUID, and unless `firmware` runs and does so itself, the registers that firmware would have set (MTRRs). Once, before it
 * runs. `template` is the VM's CPUID, `apic_id` this vCPU's.
 */
int vcpu_x86_setup(struct vcpu *vcpu, const struct cpuid_template *template, uint32_t apic_id, bool firmware, struct err *err);

/* All state to power-on: the first vCPU at the reset vector, the others waiting for INIT and SIPI. Then as vcpu_x86_setup. */
int vcpu_x86_reset(struct vcpu *vcpu, struct err *err);

/* Puts a vCPU in its power-on state at a kernel's entry. */
int vcpu_x86_enter_kernel(struct vcpu *vcpu, const struct boot_entry *entry, struct err *err);

#endif
