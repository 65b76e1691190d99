/* SPDX-License-Identifier: MIT */
/*
 * Bits: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E; Linux Documentation/virt/kvm/x86/cpuid.rst. Bits that only
 * show what the guest itself has set (osxsave, ospke) are left out: they are not for a user to choose.
 */
#include "arch/x86/cpuid_features.h"

#include <stdbool.h>
#include <string.h>

#include "vmm/util.h"

/* Name, alias, leaf, subleaf, register, mask. */
static const struct cpuid_feature features[] = {
	/* 1 ECX */
	{ "pni", "sse3", 1, 0, CPUID_ECX, BIT(0) },
	{ "pclmulqdq", "pclmuldq", 1, 0, CPUID_ECX, BIT(1) },
	{ "dtes64", NULL, 1, 0, CPUID_ECX, BIT(2) },
	{ "monitor", NULL, 1, 0, CPUID_ECX, BIT(3) },
	{ "ds-cpl", NULL, 1, 0, CPUID_ECX, BIT(4) },
	{ "vmx", NULL, 1, 0, CPUID_ECX, BIT(5) },
	{ "smx", NULL, 1, 0, CPUID_ECX, BIT(6) },
	{ "est", NULL, 1, 0, CPUID_ECX, BIT(7) },
	{ "tm2", NULL, 1, 0, CPUID_ECX, BIT(8) },
	{ "ssse3", NULL, 1, 0, CPUID_ECX, BIT(9) },
	{ "cid", NULL, 1, 0, CPUID_ECX, BIT(10) },
	{ "fma", NULL, 1, 0, CPUID_ECX, BIT(12) },
	{ "cx16", NULL, 1, 0, CPUID_ECX, BIT(13) },
	{ "xtpr", NULL, 1, 0, CPUID_ECX, BIT(14) },
	{ "pdcm", NULL, 1, 0, CPUID_ECX, BIT(15) },
	{ "pcid", NULL, 1, 0, CPUID_ECX, BIT(17) },
	{ "dca", NULL, 1, 0, CPUID_ECX, BIT(18) },
	{ "sse4.1", NULL, 1, 0, CPUID_ECX, BIT(19) },
	{ "sse4.2", NULL, 1, 0, CPUID_ECX, BIT(20) },
	{ "x2apic", NULL, 1, 0, CPUID_ECX, BIT(21) },
	{ "movbe", NULL, 1, 0, CPUID_ECX, BIT(22) },
	{ "popcnt", NULL, 1, 0, CPUID_ECX, BIT(23) },
	{ "tsc-deadline", "tsc_deadline_timer", 1, 0, CPUID_ECX, BIT(24) },
	{ "aes", NULL, 1, 0, CPUID_ECX, BIT(25) },
	{ "xsave", NULL, 1, 0, CPUID_ECX, BIT(26) },
	{ "avx", NULL, 1, 0, CPUID_ECX, BIT(28) },
	{ "f16c", NULL, 1, 0, CPUID_ECX, BIT(29) },
	{ "rdrand", NULL, 1, 0, CPUID_ECX, BIT(30) },
	{ "hypervisor", NULL, 1, 0, CPUID_ECX, BIT(31) },

	/* 1 EDX */
	{ "fpu", NULL, 1, 0, CPUID_EDX, BIT(0) },
	{ "vme", NULL, 1, 0, CPUID_EDX, BIT(1) },
	{ "de", NULL, 1, 0, CPUID_EDX, BIT(2) },
	{ "pse", NULL, 1, 0, CPUID_EDX, BIT(3) },
	{ "tsc", NULL, 1, 0, CPUID_EDX, BIT(4) },
	{ "msr", NULL, 1, 0, CPUID_EDX, BIT(5) },
	{ "pae", NULL, 1, 0, CPUID_EDX, BIT(6) },
	{ "mce", NULL, 1, 0, CPUID_EDX, BIT(7) },
	{ "cx8", NULL, 1, 0, CPUID_EDX, BIT(8) },
	{ "apic", NULL, 1, 0, CPUID_EDX, BIT(9) },
	{ "sep", NULL, 1, 0, CPUID_EDX, BIT(11) },
	{ "mtrr", NULL, 1, 0, CPUID_EDX, BIT(12) },
	{ "pge", NULL, 1, 0, CPUID_EDX, BIT(13) },
	{ "mca", NULL, 1, 0, CPUID_EDX, BIT(14) },
	{ "cmov", NULL, 1, 0, CPUID_EDX, BIT(15) },
	{ "pat", NULL, 1, 0, CPUID_EDX, BIT(16) },
	{ "pse36", NULL, 1, 0, CPUID_EDX, BIT(17) },
	{ "pn", NULL, 1, 0, CPUID_EDX, BIT(18) },
	{ "clflush", NULL, 1, 0, CPUID_EDX, BIT(19) },
	{ "ds", "dts", 1, 0, CPUID_EDX, BIT(21) },
	{ "acpi", NULL, 1, 0, CPUID_EDX, BIT(22) },
	{ "mmx", NULL, 1, 0, CPUID_EDX, BIT(23) },
	{ "fxsr", NULL, 1, 0, CPUID_EDX, BIT(24) },
	{ "sse", NULL, 1, 0, CPUID_EDX, BIT(25) },
	{ "sse2", NULL, 1, 0, CPUID_EDX, BIT(26) },
	{ "ss", NULL, 1, 0, CPUID_EDX, BIT(27) },
	{ "ht", NULL, 1, 0, CPUID_EDX, BIT(28) },
	{ "tm", NULL, 1, 0, CPUID_EDX, BIT(29) },
	{ "ia64", NULL, 1, 0, CPUID_EDX, BIT(30) },
	{ "pbe", NULL, 1, 0, CPUID_EDX, BIT(31) },

	/* 6 EAX */
	{ "arat", NULL, 6, 0, CPUID_EAX, BIT(2) },

	/* 7.0 EBX */
	{ "fsgsbase", NULL, 7, 0, CPUID_EBX, BIT(0) },
	{ "tsc-adjust", NULL, 7, 0, CPUID_EBX, BIT(1) },
	{ "sgx", NULL, 7, 0, CPUID_EBX, BIT(2) },
	{ "bmi1", NULL, 7, 0, CPUID_EBX, BIT(3) },
	{ "hle", NULL, 7, 0, CPUID_EBX, BIT(4) },
	{ "avx2", NULL, 7, 0, CPUID_EBX, BIT(5) },
	{ "fdp-excptn-only", NULL, 7, 0, CPUID_EBX, BIT(6) },
	{ "smep", NULL, 7, 0, CPUID_EBX, BIT(7) },
	{ "bmi2", NULL, 7, 0, CPUID_EBX, BIT(8) },
	{ "erms", NULL, 7, 0, CPUID_EBX, BIT(9) },
	{ "invpcid", NULL, 7, 0, CPUID_EBX, BIT(10) },
	{ "rtm", NULL, 7, 0, CPUID_EBX, BIT(11) },
	{ "zero-fcs-fds", NULL, 7, 0, CPUID_EBX, BIT(13) },
	{ "mpx", NULL, 7, 0, CPUID_EBX, BIT(14) },
	{ "avx512f", NULL, 7, 0, CPUID_EBX, BIT(16) },
	{ "avx512dq", NULL, 7, 0, CPUID_EBX, BIT(17) },
	{ "rdseed", NULL, 7, 0, CPUID_EBX, BIT(18) },
	{ "adx", NULL, 7, 0, CPUID_EBX, BIT(19) },
	{ "smap", NULL, 7, 0, CPUID_EBX, BIT(20) },
	{ "avx512ifma", NULL, 7, 0, CPUID_EBX, BIT(21) },
	{ "pcommit", NULL, 7, 0, CPUID_EBX, BIT(22) },
	{ "clflushopt", NULL, 7, 0, CPUID_EBX, BIT(23) },
	{ "clwb", NULL, 7, 0, CPUID_EBX, BIT(24) },
	{ "intel-pt", NULL, 7, 0, CPUID_EBX, BIT(25) },
	{ "avx512pf", NULL, 7, 0, CPUID_EBX, BIT(26) },
	{ "avx512er", NULL, 7, 0, CPUID_EBX, BIT(27) },
	{ "avx512cd", NULL, 7, 0, CPUID_EBX, BIT(28) },
	{ "sha-ni", NULL, 7, 0, CPUID_EBX, BIT(29) },
	{ "avx512bw", NULL, 7, 0, CPUID_EBX, BIT(30) },
	{ "avx512vl", NULL, 7, 0, CPUID_EBX, BIT(31) },

	/* 7.0 ECX */
	{ "avx512vbmi", NULL, 7, 0, CPUID_ECX, BIT(1) },
	{ "umip", NULL, 7, 0, CPUID_ECX, BIT(2) },
	{ "pku", NULL, 7, 0, CPUID_ECX, BIT(3) },
	{ "waitpkg", NULL, 7, 0, CPUID_ECX, BIT(5) },
	{ "avx512vbmi2", "avx512_vbmi2", 7, 0, CPUID_ECX, BIT(6) },
	{ "shstk", NULL, 7, 0, CPUID_ECX, BIT(7) },
	{ "gfni", NULL, 7, 0, CPUID_ECX, BIT(8) },
	{ "vaes", NULL, 7, 0, CPUID_ECX, BIT(9) },
	{ "vpclmulqdq", NULL, 7, 0, CPUID_ECX, BIT(10) },
	{ "avx512vnni", "avx512_vnni", 7, 0, CPUID_ECX, BIT(11) },
	{ "avx512bitalg", "avx512_bitalg", 7, 0, CPUID_ECX, BIT(12) },
	{ "avx512-vpopcntdq", NULL, 7, 0, CPUID_ECX, BIT(14) },
	{ "la57", NULL, 7, 0, CPUID_ECX, BIT(16) },
	{ "rdpid", NULL, 7, 0, CPUID_ECX, BIT(22) },
	{ "bus-lock-detect", NULL, 7, 0, CPUID_ECX, BIT(24) },
	{ "cldemote", NULL, 7, 0, CPUID_ECX, BIT(25) },
	{ "movdiri", NULL, 7, 0, CPUID_ECX, BIT(27) },
	{ "movdir64b", NULL, 7, 0, CPUID_ECX, BIT(28) },
	{ "sgxlc", "sgx_lc", 7, 0, CPUID_ECX, BIT(30) },
	{ "pks", NULL, 7, 0, CPUID_ECX, BIT(31) },

	/* 7.0 EDX */
	{ "avx512-4vnniw", NULL, 7, 0, CPUID_EDX, BIT(2) },
	{ "avx512-4fmaps", NULL, 7, 0, CPUID_EDX, BIT(3) },
	{ "fsrm", NULL, 7, 0, CPUID_EDX, BIT(4) },
	{ "avx512-vp2intersect", NULL, 7, 0, CPUID_EDX, BIT(8) },
	{ "md-clear", NULL, 7, 0, CPUID_EDX, BIT(10) },
	{ "serialize", NULL, 7, 0, CPUID_EDX, BIT(14) },
	{ "tsx-ldtrk", NULL, 7, 0, CPUID_EDX, BIT(16) },
	{ "arch-lbr", NULL, 7, 0, CPUID_EDX, BIT(19) },
	{ "ibt", NULL, 7, 0, CPUID_EDX, BIT(20) },
	{ "amx-bf16", NULL, 7, 0, CPUID_EDX, BIT(22) },
	{ "avx512-fp16", NULL, 7, 0, CPUID_EDX, BIT(23) },
	{ "amx-tile", NULL, 7, 0, CPUID_EDX, BIT(24) },
	{ "amx-int8", NULL, 7, 0, CPUID_EDX, BIT(25) },
	{ "spec-ctrl", NULL, 7, 0, CPUID_EDX, BIT(26) },
	{ "stibp", NULL, 7, 0, CPUID_EDX, BIT(27) },
	{ "flush-l1d", NULL, 7, 0, CPUID_EDX, BIT(28) },
	{ "arch-capabilities", NULL, 7, 0, CPUID_EDX, BIT(29) },
	{ "core-capability", NULL, 7, 0, CPUID_EDX, BIT(30) },
	{ "ssbd", NULL, 7, 0, CPUID_EDX, BIT(31) },

	/* 7.1 EAX */
	{ "sha512", NULL, 7, 1, CPUID_EAX, BIT(0) },
	{ "sm3", NULL, 7, 1, CPUID_EAX, BIT(1) },
	{ "sm4", NULL, 7, 1, CPUID_EAX, BIT(2) },
	{ "avx-vnni", NULL, 7, 1, CPUID_EAX, BIT(4) },
	{ "avx512-bf16", NULL, 7, 1, CPUID_EAX, BIT(5) },
	{ "lass", NULL, 7, 1, CPUID_EAX, BIT(6) },
	{ "cmpccxadd", NULL, 7, 1, CPUID_EAX, BIT(7) },
	{ "fzrm", NULL, 7, 1, CPUID_EAX, BIT(10) },
	{ "fsrs", NULL, 7, 1, CPUID_EAX, BIT(11) },
	{ "fsrc", NULL, 7, 1, CPUID_EAX, BIT(12) },
	{ "fred", NULL, 7, 1, CPUID_EAX, BIT(17) },
	{ "lkgs", NULL, 7, 1, CPUID_EAX, BIT(18) },
	{ "wrmsrns", NULL, 7, 1, CPUID_EAX, BIT(19) },
	{ "amx-fp16", NULL, 7, 1, CPUID_EAX, BIT(21) },
	{ "avx-ifma", NULL, 7, 1, CPUID_EAX, BIT(23) },
	{ "lam", NULL, 7, 1, CPUID_EAX, BIT(26) },
	{ "movrs", NULL, 7, 1, CPUID_EAX, BIT(31) },

	/* 7.1 EDX */
	{ "avx-vnni-int8", NULL, 7, 1, CPUID_EDX, BIT(4) },
	{ "avx-ne-convert", NULL, 7, 1, CPUID_EDX, BIT(5) },
	{ "amx-complex", NULL, 7, 1, CPUID_EDX, BIT(8) },
	{ "avx-vnni-int16", NULL, 7, 1, CPUID_EDX, BIT(10) },
	{ "prefetchiti", NULL, 7, 1, CPUID_EDX, BIT(14) },
	{ "avx10", NULL, 7, 1, CPUID_EDX, BIT(19) },

	/* 7.2 EDX */
	{ "intel-psfd", NULL, 7, 2, CPUID_EDX, BIT(0) },
	{ "ipred-ctrl", NULL, 7, 2, CPUID_EDX, BIT(1) },
	{ "rrsba-ctrl", NULL, 7, 2, CPUID_EDX, BIT(2) },
	{ "ddpd-u", NULL, 7, 2, CPUID_EDX, BIT(3) },
	{ "bhi-ctrl", NULL, 7, 2, CPUID_EDX, BIT(4) },
	{ "mcdt-no", NULL, 7, 2, CPUID_EDX, BIT(5) },

	/* 0xd.1 EAX */
	{ "xsaveopt", NULL, 0xd, 1, CPUID_EAX, BIT(0) },
	{ "xsavec", NULL, 0xd, 1, CPUID_EAX, BIT(1) },
	{ "xgetbv1", NULL, 0xd, 1, CPUID_EAX, BIT(2) },
	{ "xsaves", NULL, 0xd, 1, CPUID_EAX, BIT(3) },
	{ "xfd", NULL, 0xd, 1, CPUID_EAX, BIT(4) },

	/* 0x40000001 EAX */
	{ "kvmclock", NULL, 0x40000001, 0, CPUID_EAX, BIT(0) | BIT(3) },
	{ "kvm-nopiodelay", NULL, 0x40000001, 0, CPUID_EAX, BIT(1) },
	{ "kvm-mmu", NULL, 0x40000001, 0, CPUID_EAX, BIT(2) },
	{ "kvm-asyncpf", NULL, 0x40000001, 0, CPUID_EAX, BIT(4) },
	{ "kvm-steal-time", NULL, 0x40000001, 0, CPUID_EAX, BIT(5) },
	{ "kvm-pv-eoi", NULL, 0x40000001, 0, CPUID_EAX, BIT(6) },
	{ "kvm-pv-unhalt", NULL, 0x40000001, 0, CPUID_EAX, BIT(7) },
	{ "kvm-pv-tlb-flush", NULL, 0x40000001, 0, CPUID_EAX, BIT(9) },
	{ "kvm-asyncpf-vmexit", NULL, 0x40000001, 0, CPUID_EAX, BIT(10) },
	{ "kvm-pv-ipi", NULL, 0x40000001, 0, CPUID_EAX, BIT(11) },
	{ "kvm-poll-control", NULL, 0x40000001, 0, CPUID_EAX, BIT(12) },
	{ "kvm-pv-sched-yield", NULL, 0x40000001, 0, CPUID_EAX, BIT(13) },
	{ "kvm-asyncpf-int", NULL, 0x40000001, 0, CPUID_EAX, BIT(14) },
	{ "kvm-msi-ext-dest-id", NULL, 0x40000001, 0, CPUID_EAX, BIT(15) },
	{ "kvmclock-stable-bit", NULL, 0x40000001, 0, CPUID_EAX, BIT(24) },

	/* 0x40000001 EDX */
	{ "kvm-hint-dedicated", NULL, 0x40000001, 0, CPUID_EDX, BIT(0) },

	/* 0x80000001 ECX */
	{ "lahf-lm", NULL, 0x80000001, 0, CPUID_ECX, BIT(0) },
	{ "cmp-legacy", NULL, 0x80000001, 0, CPUID_ECX, BIT(1) },
	{ "svm", NULL, 0x80000001, 0, CPUID_ECX, BIT(2) },
	{ "extapic", NULL, 0x80000001, 0, CPUID_ECX, BIT(3) },
	{ "cr8legacy", "cr8_legacy", 0x80000001, 0, CPUID_ECX, BIT(4) },
	{ "abm", "lzcnt", 0x80000001, 0, CPUID_ECX, BIT(5) },
	{ "sse4a", NULL, 0x80000001, 0, CPUID_ECX, BIT(6) },
	{ "misalignsse", NULL, 0x80000001, 0, CPUID_ECX, BIT(7) },
	{ "3dnowprefetch", NULL, 0x80000001, 0, CPUID_ECX, BIT(8) },
	{ "osvw", NULL, 0x80000001, 0, CPUID_ECX, BIT(9) },
	{ "ibs", NULL, 0x80000001, 0, CPUID_ECX, BIT(10) },
	{ "xop", NULL, 0x80000001, 0, CPUID_ECX, BIT(11) },
	{ "skinit", NULL, 0x80000001, 0, CPUID_ECX, BIT(12) },
	{ "wdt", NULL, 0x80000001, 0, CPUID_ECX, BIT(13) },
	{ "lwp", NULL, 0x80000001, 0, CPUID_ECX, BIT(15) },
	{ "fma4", NULL, 0x80000001, 0, CPUID_ECX, BIT(16) },
	{ "tce", NULL, 0x80000001, 0, CPUID_ECX, BIT(17) },
	{ "nodeid-msr", NULL, 0x80000001, 0, CPUID_ECX, BIT(19) },
	{ "tbm", NULL, 0x80000001, 0, CPUID_ECX, BIT(21) },
	{ "topoext", NULL, 0x80000001, 0, CPUID_ECX, BIT(22) },
	{ "perfctr-core", NULL, 0x80000001, 0, CPUID_ECX, BIT(23) },
	{ "perfctr-nb", NULL, 0x80000001, 0, CPUID_ECX, BIT(24) },

	/* 0x80000001 EDX */
	{ "syscall", NULL, 0x80000001, 0, CPUID_EDX, BIT(11) },
	{ "nx", "xd", 0x80000001, 0, CPUID_EDX, BIT(20) },
	{ "mmxext", NULL, 0x80000001, 0, CPUID_EDX, BIT(22) },
	{ "fxsr-opt", "ffxsr", 0x80000001, 0, CPUID_EDX, BIT(25) },
	{ "pdpe1gb", NULL, 0x80000001, 0, CPUID_EDX, BIT(26) },
	{ "rdtscp", NULL, 0x80000001, 0, CPUID_EDX, BIT(27) },
	{ "lm", "i64", 0x80000001, 0, CPUID_EDX, BIT(29) },
	{ "3dnowext", NULL, 0x80000001, 0, CPUID_EDX, BIT(30) },
	{ "3dnow", NULL, 0x80000001, 0, CPUID_EDX, BIT(31) },

	/* 0x80000007 EBX */
	{ "overflow-recov", NULL, 0x80000007, 0, CPUID_EBX, BIT(0) },
	{ "succor", NULL, 0x80000007, 0, CPUID_EBX, BIT(1) },

	/* 0x80000007 EDX */
	{ "invtsc", "nonstop_tsc", 0x80000007, 0, CPUID_EDX, BIT(8) },

	/* 0x80000008 EBX */
	{ "clzero", NULL, 0x80000008, 0, CPUID_EBX, BIT(0) },
	{ "xsaveerptr", NULL, 0x80000008, 0, CPUID_EBX, BIT(2) },
	{ "wbnoinvd", NULL, 0x80000008, 0, CPUID_EBX, BIT(9) },
	{ "ibpb", NULL, 0x80000008, 0, CPUID_EBX, BIT(12) },
	{ "ibrs", NULL, 0x80000008, 0, CPUID_EBX, BIT(14) },
	{ "amd-stibp", NULL, 0x80000008, 0, CPUID_EBX, BIT(15) },
	{ "stibp-always-on", NULL, 0x80000008, 0, CPUID_EBX, BIT(17) },
	{ "amd-ssbd", NULL, 0x80000008, 0, CPUID_EBX, BIT(24) },
	{ "virt-ssbd", NULL, 0x80000008, 0, CPUID_EBX, BIT(25) },
	{ "amd-no-ssb", NULL, 0x80000008, 0, CPUID_EBX, BIT(26) },
	{ "amd-psfd", NULL, 0x80000008, 0, CPUID_EBX, BIT(28) },

	/* 0x8000000a EDX */
	{ "npt", NULL, 0x8000000a, 0, CPUID_EDX, BIT(0) },
	{ "lbrv", NULL, 0x8000000a, 0, CPUID_EDX, BIT(1) },
	{ "svm-lock", NULL, 0x8000000a, 0, CPUID_EDX, BIT(2) },
	{ "nrip-save", NULL, 0x8000000a, 0, CPUID_EDX, BIT(3) },
	{ "tsc-scale", NULL, 0x8000000a, 0, CPUID_EDX, BIT(4) },
	{ "vmcb-clean", NULL, 0x8000000a, 0, CPUID_EDX, BIT(5) },
	{ "flushbyasid", NULL, 0x8000000a, 0, CPUID_EDX, BIT(6) },
	{ "decodeassists", NULL, 0x8000000a, 0, CPUID_EDX, BIT(7) },
	{ "pause-filter", "pausefilter", 0x8000000a, 0, CPUID_EDX, BIT(10) },
	{ "pfthreshold", NULL, 0x8000000a, 0, CPUID_EDX, BIT(12) },
	{ "avic", NULL, 0x8000000a, 0, CPUID_EDX, BIT(13) },
	{ "v-vmsave-vmload", NULL, 0x8000000a, 0, CPUID_EDX, BIT(15) },
	{ "vgif", NULL, 0x8000000a, 0, CPUID_EDX, BIT(16) },
	{ "vnmi", NULL, 0x8000000a, 0, CPUID_EDX, BIT(25) },
	{ "svme-addr-chk", NULL, 0x8000000a, 0, CPUID_EDX, BIT(28) },

	/* 0x80000021 EAX */
	{ "no-nested-data-bp", NULL, 0x80000021, 0, CPUID_EAX, BIT(0) },
	{ "fs-gs-base-ns", NULL, 0x80000021, 0, CPUID_EAX, BIT(1) },
	{ "lfence-always-serializing", NULL, 0x80000021, 0, CPUID_EAX, BIT(2) },
	{ "verw-clear", NULL, 0x80000021, 0, CPUID_EAX, BIT(5) },
	{ "null-sel-clr-base", NULL, 0x80000021, 0, CPUID_EAX, BIT(6) },
	{ "auto-ibrs", NULL, 0x80000021, 0, CPUID_EAX, BIT(8) },
	{ "eraps", NULL, 0x80000021, 0, CPUID_EAX, BIT(24) },
	{ "sbpb", NULL, 0x80000021, 0, CPUID_EAX, BIT(27) },
	{ "ibpb-brtype", NULL, 0x80000021, 0, CPUID_EAX, BIT(28) },
	{ "srso-no", NULL, 0x80000021, 0, CPUID_EAX, BIT(29) },
	{ "srso-user-kernel-no", NULL, 0x80000021, 0, CPUID_EAX, BIT(30) },
};

static char fold(char c)
{
	return c == '_' || c == '.' ? '-' : c;
}

static bool same_name(const char *a, const char *b)
{
	for (; *a && fold(*a) == fold(*b); a++, b++)
		;
	return *a == *b;
}

const struct cpuid_feature *cpuid_feature_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		if (same_name(name, features[i].name) || (features[i].alias && same_name(name, features[i].alias)))
			return &features[i];
	return NULL;
}

#define NEAR_MAX_LEN 32 /* longer than any name here */

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/*
 * How many characters must be inserted, removed, replaced or swapped with their neighbour to make `a` into `b` (the distance of
 * Damerau and Levenshtein, each character touched once). Neither is longer than NEAR_MAX_LEN.
 */
static unsigned edit_distance(const char *a, const char *b)
{
	unsigned row[3][NEAR_MAX_LEN + 1]; /* two rows back, one back, this one */
	size_t la = strlen(a), lb = strlen(b);

	for (size_t j = 0; j <= lb; j++)
		row[2][j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		memmove(row[0], row[1], sizeof(row[0]) * 2);
		row[2][0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned other = fold(a[i - 1]) != fold(b[j - 1]);

			row[2][j] = min3(row[1][j] + 1, row[2][j - 1] + 1, row[1][j - 1] + other);
			if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]) &&
			    row[0][j - 2] + 1 < row[2][j])
				row[2][j] = row[0][j - 2] + 1;
		}
	}
	return row[2][lb];
}

const char *cpuid_feature_nearest(const char *name)
{
	size_t len = strnlen(name, NEAR_MAX_LEN + 1);
	/* One slip in three letters, at most three: "xx" is near to nothing. */
	unsigned best = (unsigned)min_u64(len / 3, 3) + 1;
	const char *nearest = NULL;

	if (len > NEAR_MAX_LEN)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		const char *const names[] = { features[i].name, features[i].alias };

		for (size_t k = 0; k < ARRAY_SIZE(names) && names[k]; k++) {
			unsigned d = edit_distance(name, names[k]);

			if (d < best) {
				best = d;
				nearest = names[k];
			}
		}
	}
	return nearest;
}

size_t cpuid_feature_count(void)
{
	return ARRAY_SIZE(features);
}

const struct cpuid_feature *cpuid_feature_at(size_t i)
{
	return &features[i];
}
