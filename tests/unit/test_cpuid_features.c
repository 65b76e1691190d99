/* SPDX-License-Identifier: MIT */
#include <asm/kvm_para.h>
#include <check.h>
#include <cpuid.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/cpuid_features.h"
#include "vmm/util.h"

static const struct {
	const char *name;
	uint32_t leaf, subleaf;
	enum cpuid_reg reg;
	uint32_t mask;
} known[] = {
	/* The compiler's and the kernel's own ideas of the bits. */
	{ "sse3", 1, 0, CPUID_ECX, bit_SSE3 },
	{ "pclmulqdq", 1, 0, CPUID_ECX, bit_PCLMUL },
	{ "ssse3", 1, 0, CPUID_ECX, bit_SSSE3 },
	{ "fma", 1, 0, CPUID_ECX, bit_FMA },
	{ "sse4.1", 1, 0, CPUID_ECX, bit_SSE4_1 },
	{ "sse4-2", 1, 0, CPUID_ECX, bit_SSE4_2 },
	{ "movbe", 1, 0, CPUID_ECX, bit_MOVBE },
	{ "popcnt", 1, 0, CPUID_ECX, bit_POPCNT },
	{ "aes", 1, 0, CPUID_ECX, bit_AES },
	{ "xsave", 1, 0, CPUID_ECX, bit_XSAVE },
	{ "avx", 1, 0, CPUID_ECX, bit_AVX },
	{ "f16c", 1, 0, CPUID_ECX, bit_F16C },
	{ "rdrand", 1, 0, CPUID_ECX, bit_RDRND },
	{ "cx8", 1, 0, CPUID_EDX, bit_CMPXCHG8B },
	{ "cmov", 1, 0, CPUID_EDX, bit_CMOV },
	{ "mmx", 1, 0, CPUID_EDX, bit_MMX },
	{ "sse2", 1, 0, CPUID_EDX, bit_SSE2 },
	{ "fsgsbase", 7, 0, CPUID_EBX, bit_FSGSBASE },
	{ "bmi1", 7, 0, CPUID_EBX, bit_BMI },
	{ "avx2", 7, 0, CPUID_EBX, bit_AVX2 },
	{ "bmi2", 7, 0, CPUID_EBX, bit_BMI2 },
	{ "rtm", 7, 0, CPUID_EBX, bit_RTM },
	{ "avx512f", 7, 0, CPUID_EBX, bit_AVX512F },
	{ "rdseed", 7, 0, CPUID_EBX, bit_RDSEED },
	{ "adx", 7, 0, CPUID_EBX, bit_ADX },
	{ "clwb", 7, 0, CPUID_EBX, bit_CLWB },
	{ "sha-ni", 7, 0, CPUID_EBX, bit_SHA },
	{ "avx512vbmi", 7, 0, CPUID_ECX, bit_AVX512VBMI },
	{ "gfni", 7, 0, CPUID_ECX, bit_GFNI },
	{ "vaes", 7, 0, CPUID_ECX, bit_VAES },
	{ "rdpid", 7, 0, CPUID_ECX, bit_RDPID },
	{ "waitpkg", 7, 0, CPUID_ECX, bit_WAITPKG },
	{ "serialize", 7, 0, CPUID_EDX, bit_SERIALIZE },
	{ "amx-tile", 7, 0, CPUID_EDX, BIT(24) },
	{ "avx-vnni", 7, 1, CPUID_EAX, bit_AVXVNNI },
	{ "avx512-bf16", 7, 1, CPUID_EAX, bit_AVX512BF16 },
	{ "xsaveopt", 0xd, 1, CPUID_EAX, bit_XSAVEOPT },
	{ "xsaves", 0xd, 1, CPUID_EAX, bit_XSAVES },
	{ "lahf_lm", 0x80000001, 0, CPUID_ECX, bit_LAHF_LM },
	{ "abm", 0x80000001, 0, CPUID_ECX, bit_ABM },
	{ "sse4a", 0x80000001, 0, CPUID_ECX, bit_SSE4a },
	{ "lm", 0x80000001, 0, CPUID_EDX, bit_LM },
	{ "3dnow", 0x80000001, 0, CPUID_EDX, bit_3DNOW },
	{ "clzero", 0x80000008, 0, CPUID_EBX, bit_CLZERO },
	{ "wbnoinvd", 0x80000008, 0, CPUID_EBX, bit_WBNOINVD },
	{ "kvmclock", KVM_CPUID_FEATURES, 0, CPUID_EAX, BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_CLOCKSOURCE2) },
	{ "kvm-nopiodelay", KVM_CPUID_FEATURES, 0, CPUID_EAX, BIT(KVM_FEATURE_NOP_IO_DELAY) },
	{ "kvm-mmu", KVM_CPUID_FEATURES, 0, CPUID_EAX, BIT(KVM_FEATURE_MMU_OP) },
	{ "kvm-asyncpf", KVM_CPUID_FEATURES, 0, CPUID_EAX, BIT(KVM_FEATURE_ASYNC_PF) },
	{ "kvm-steal-time", KVM_CPUID_FEATURES, 0, CPUID_EAX, BIT(KVM_FEATURE_STEAL_TIME) },
	{ "kvm-pv-eoi", KVM_CPUID_FEATURES, 0, CPUID_EAX, BIT(KVM_FEATURE_PV_EOI) },
	{ "kvm-pv-unhalt", KVM_CPUID_FEATURES, 0, CPUID_EAX, BIT(KVM_FEATURE_PV_UNHALT) },
	{ "kvm-pv-tlb-flush", KVM_CPUID_FEATURES, 0, CPUID_EAX, BIT(KVM_FEATURE_PV_TLB_FLUSH) },
	{ "kvm-asyncpf-vmexit", KVM_CPUID_FEATURES, 0, CPUID_EAX, BIT(KVM_FEATURE_ASYNC_PF_VMEXIT) },
	{ "kvm-pv-ipi", KVM_CPUID_FEATURES, 0, CPUID_EAX, BIT(KVM_FEATURE_PV_SEND_IPI) },
	{ "kvm-poll-control", KVM_CPUID_FEATURES, 0, CPUID_EAX, BIT(KVM_FEATURE_POLL_CONTROL) },
	{ "kvm-pv-sched-yield", KVM_CPUID_FEATURES, 0, CPUID_EAX, BIT(KVM_FEATURE_PV_SCHED_YIELD) },
	{ "kvm-asyncpf-int", KVM_CPUID_FEATURES, 0, CPUID_EAX, BIT(KVM_FEATURE_ASYNC_PF_INT) },
	{ "kvm-msi-ext-dest-id", KVM_CPUID_FEATURES, 0, CPUID_EAX, BIT(KVM_FEATURE_MSI_EXT_DEST_ID) },
	{ "kvmclock-stable-bit", KVM_CPUID_FEATURES, 0, CPUID_EAX, BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT) },
	{ "kvm-hint-dedicated", KVM_CPUID_FEATURES, 0, CPUID_EDX, BIT(KVM_HINTS_REALTIME) },
	/* What those headers do not have. */
	{ "hypervisor", 1, 0, CPUID_ECX, BIT(31) },
	{ "x2apic", 1, 0, CPUID_ECX, BIT(21) },
	{ "tsc-deadline", 1, 0, CPUID_ECX, BIT(24) },
	{ "tsc_deadline_timer", 1, 0, CPUID_ECX, BIT(24) },
	{ "tsc_adjust", 7, 0, CPUID_EBX, BIT(1) },
	{ "smap", 7, 0, CPUID_EBX, BIT(20) },
	{ "la57", 7, 0, CPUID_ECX, BIT(16) },
	{ "spec_ctrl", 7, 0, CPUID_EDX, BIT(26) },
	{ "arat", 6, 0, CPUID_EAX, BIT(2) },
	{ "svm", 0x80000001, 0, CPUID_ECX, BIT(2) },
	{ "nx", 0x80000001, 0, CPUID_EDX, BIT(20) },
	{ "invtsc", 0x80000007, 0, CPUID_EDX, BIT(8) },
	{ "npt", 0x8000000a, 0, CPUID_EDX, BIT(0) },
	{ "auto-ibrs", 0x80000021, 0, CPUID_EAX, BIT(8) },
	{ "ibpb", 0x80000008, 0, CPUID_EBX, BIT(12) },
	{ "rdtscp", 0x80000001, 0, CPUID_EDX, BIT(27) },
};

START_TEST(bits)
{
	const struct cpuid_feature *f = cpuid_feature_find(known[_i].name);

	ck_assert_msg(f != NULL, "no '%s'", known[_i].name);
	ck_assert_uint_eq(f->leaf, known[_i].leaf);
	ck_assert_uint_eq(f->subleaf, known[_i].subleaf);
	ck_assert_int_eq(f->reg, known[_i].reg);
	ck_assert_uint_eq(f->mask, known[_i].mask);
}
END_TEST

START_TEST(spellings)
{
	const struct cpuid_feature *f = cpuid_feature_find("sse4.1");

	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_eq(cpuid_feature_find("sse4_1"), f);
	ck_assert_ptr_eq(cpuid_feature_find("sse4-1"), f);
	ck_assert_ptr_null(cpuid_feature_find("sse41"));
	ck_assert_ptr_null(cpuid_feature_find("sse4.1x"));
	ck_assert_ptr_null(cpuid_feature_find("sse4."));
	ck_assert_ptr_eq(cpuid_feature_find("xd"), cpuid_feature_find("nx"));
	ck_assert_ptr_eq(cpuid_feature_find("avx512_vnni"), cpuid_feature_find("avx512vnni"));
}
END_TEST

static const char *const unknown[] = { "", "-", "migratable", "pmu", "l3-cache", "host-cache-info", "kvm", "osxsave", "SSE2", "x" };

START_TEST(not_features)
{
	ck_assert_ptr_null(cpuid_feature_find(unknown[_i]));
}
END_TEST

/* Every name leads to its own row, and no two rows have a bit in common. */
START_TEST(table)
{
	size_t n = cpuid_feature_count();

	ck_assert_uint_gt(n, 200);
	for (size_t i = 0; i < n; i++) {
		const struct cpuid_feature *f = cpuid_feature_at(i);

		ck_assert_ptr_eq(cpuid_feature_find(f->name), f);
		if (f->alias)
			ck_assert_ptr_eq(cpuid_feature_find(f->alias), f);
		ck_assert_msg(__builtin_popcount(f->mask) == 1 || !strcmp(f->name, "kvmclock"), "%s", f->name);
		if (i > 0) {
			const struct cpuid_feature *p = cpuid_feature_at(i - 1);
			uint64_t before = (uint64_t)p->leaf << 32 | p->subleaf << 8 | (unsigned)p->reg;
			uint64_t now = (uint64_t)f->leaf << 32 | f->subleaf << 8 | (unsigned)f->reg;

			ck_assert_msg(before < now || (before == now && __builtin_ctz(p->mask) < __builtin_ctz(f->mask)),
				      "%s after %s", f->name, p->name);
		}
		for (size_t j = 0; j < i; j++) {
			const struct cpuid_feature *g = cpuid_feature_at(j);

			ck_assert_msg(f->leaf != g->leaf || f->subleaf != g->subleaf || f->reg != g->reg || !(f->mask & g->mask),
				      "%s and %s share a bit", f->name, g->name);
		}
	}
}
END_TEST

/* The bits that AMD keeps twice are in leaf 1, and have no name of their own in leaf 0x80000001. */
START_TEST(amd_copies)
{
	uint32_t leaf1 = 0, ext = 0;

	for (size_t i = 0; i < cpuid_feature_count(); i++) {
		const struct cpuid_feature *f = cpuid_feature_at(i);

		if (f->reg == CPUID_EDX && f->leaf == 1)
			leaf1 |= f->mask;
		if (f->reg == CPUID_EDX && f->leaf == 0x80000001)
			ext |= f->mask;
	}
	ck_assert_uint_eq(CPUID_AMD_LEAF1_EDX_COPIES & ~leaf1, 0);
	ck_assert_uint_eq(CPUID_AMD_LEAF1_EDX_COPIES & ext, 0);
}
END_TEST

static const struct {
	const char *name, *nearest;
} slips[] = {
	{ "avx51f", "avx512f" },
	{ "x2apci", "x2apic" },
	{ "samp", "smap" }, /* four letters may have one slip, and a swap is one */
	{ "xapic2", "x2apic" },
	{ "tscdeadline", "tsc-deadline" },
	{ "hypervsor", "hypervisor" },
	{ "kvm-clock", "kvmclock" },
	{ "kvm_steal_tme", "kvm-steal-time" },
	{ "sse41", "sse4.1" },
	{ "SMAP", NULL },
	{ "", NULL },
	{ "zz", NULL },
	{ "something-else-entirely", NULL },
	{ "a-name-that-is-longer-than-any-feature-ever-was", NULL },
};

START_TEST(nearest)
{
	const char *got = cpuid_feature_nearest(slips[_i].name);

	if (slips[_i].nearest)
		ck_assert_str_eq(got ? got : "(none)", slips[_i].nearest);
	else
		ck_assert_msg(got == NULL, "'%s' for '%s'", got, slips[_i].name);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cpuid_features");
	TCase *tc = tcase_create("cpuid_features");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_loop_test(tc, bits, 0, ARRAY_SIZE(known));
	tcase_add_test(tc, spellings);
	tcase_add_loop_test(tc, not_features, 0, ARRAY_SIZE(unknown));
	tcase_add_test(tc, table);
	tcase_add_test(tc, amd_copies);
	tcase_add_loop_test(tc, nearest, 0, ARRAY_SIZE(slips));
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
