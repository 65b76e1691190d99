/* SPDX-License-Identifier: MIT */
/*
 * The names of CPU features and the CPUID bits behind them: what -cpu host,+NAME,-NAME may name.
 *
 * Names are QEMU's; where Linux shows another in /proc/cpuinfo, that is an alias. "_", "-" and "." count as the same character, so
 * that "sse4_1", "sse4-1" and "sse4.1" are one name. Properties of QEMU's -cpu that are not CPUID bits ("migratable", "pmu",
 * "l3-cache", "host-cache-info", "kvm") are not here.
 *
 * Thread: any; constant data.
 */
#ifndef ARCH_X86_CPUID_FEATURES_H
#define ARCH_X86_CPUID_FEATURES_H

#include <stddef.h>
#include <stdint.h>

enum cpuid_reg { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

struct cpuid_feature {
	const char *name;
	const char *alias; /* NULL: none */
	uint32_t leaf, subleaf;
	enum cpuid_reg reg;
	uint32_t mask; /* one bit; "kvmclock" is two, the old and the new MSRs */
};

/*
 * AMD's CPUs repeat these bits of leaf 1 EDX in leaf 0x80000001 EDX (APM volume 3, E.4.2), where they have no names of their own: a
 * change to one of them is a change in both places.
 */
#define CPUID_AMD_LEAF1_EDX_COPIES UINT32_C(0x0183f3ff)

/* NULL when there is no such feature. */
const struct cpuid_feature *cpuid_feature_find(const char *name);

/* The name, or alias, that was probably meant by an unknown one; NULL when none is near. */
const char *cpuid_feature_nearest(const char *name);

/* All of them, by leaf, register and bit. */
size_t cpuid_feature_count(void);
const struct cpuid_feature *cpuid_feature_at(size_t i); /* i < cpuid_feature_count() */

#endif
