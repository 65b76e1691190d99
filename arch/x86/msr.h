/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers of a vCPU at power-on, and those that firmware sets before a kernel runs.
 *
 * Thread: main, the vCPU not running.
 */
#ifndef ARCH_X86_MSR_H
#define ARCH_X86_MSR_H

#include <stdint.h>

struct err;
struct vcpu;

/* Every register that a guest may have changed, to its power-on value. Registers that KVM does not have are passed over. */
int msr_reset(struct vcpu *vcpu, struct err *err);

/* IA32_MISC_ENABLE as firmware leaves it, the same on every vCPU: fast strings on. 0 where KVM does not have it. After the vCPU's CPUID. */
int msr_firmware_misc_enable(struct vcpu *vcpu, uint64_t *value, struct err *err);

/*
 * What firmware leaves behind: `misc_enable`, and memory types: write-back, uncached from the end of low RAM's range to 4 GiB and in the legacy
 * video window. `phys_bits` is the width of the guest's physical addresses, 36 to 52.
 */
int msr_set_firmware(struct vcpu *vcpu, unsigned phys_bits, uint64_t misc_enable, struct err *err);

#endif
