/* SPDX-License-Identifier: MIT */
/*
 * What CPUID tells the guest (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E): what KVM on this host supports, with
 * this VM's topology, -cpu's changes, and each vCPU's APIC id.
 *
 * Thread: main.
 */
#ifndef ARCH_X86_CPUID_H
#define ARCH_X86_CPUID_H

#include <linux/kvm.h>
#include <stdint.h>

#include "arch/x86/topology.h"

struct config_cpu;
struct err;
struct vcpu;

#define CPUID_MAX_ENTRIES 256

/* The VM's CPUID, but for the fields that hold an APIC id. */
struct cpuid_template {
	struct topology topology;
	unsigned phys_bits; /* width of a guest physical address */
	uint32_t n;
	struct kvm_cpuid_entry2 entries[CPUID_MAX_ENTRIES];
};

/* 0, or -errno with `err`: unknown feature (the message has a near one), or one that this host cannot give. `kvm_fd` is /dev/kvm. */
int cpuid_template_init(struct cpuid_template *template, int kvm_fd, const struct config_cpu *cpu,
			const struct topology *topology, struct err *err);

/* Gives a vCPU its CPUID. */
int cpuid_apply(struct vcpu *vcpu, const struct cpuid_template *template, uint32_t apic_id, struct err *err);

#endif
