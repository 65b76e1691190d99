/* SPDX-License-Identifier: MIT */
/* CPUID templates from crafted hosts: what KVM would support on an Intel processor, an AMD one, and odd ones. */
#include "tests/unit/fake_kvm.h"

#include "arch/x86/cpuid.c"

#define INDEXED KVM_CPUID_FLAG_SIGNIFCANT_INDEX

static const struct kvm_cpuid_entry2 intel[] = {
	{ .function = 0, .eax = 0x1f, .ebx = 0x756e6547, .edx = 0x49656e69, .ecx = 0x6c65746e },
	{ .function = 1, .eax = 0x606a6, .ebx = 0x1b400800, .ecx = 0x76fa3203, .edx = 0x1f8bfbff },
	{ .function = 4, .index = 0, .flags = INDEXED, .eax = 0xfc004121, .ebx = 0x02c0003f },
	{ .function = 4, .index = 1, .flags = INDEXED, .eax = 0xfc004122, .ebx = 0x01c0003f },
	{ .function = 4, .index = 2, .flags = INDEXED, .eax = 0xfc004143 },
	{ .function = 4, .index = 3, .flags = INDEXED, .eax = 0xfc1fc163 },
	{ .function = 4, .index = 4, .flags = INDEXED, .eax = 0 },
	{ .function = 7, .index = 0, .flags = INDEXED, .eax = 2, .ebx = 0xf1bf27eb, .ecx = 0x4041f4, .edx = 0xfff14410 },
	{ .function = 7, .index = 1, .flags = INDEXED, .eax = 0x00201c30, .edx = 0x4110 },
	{ .function = 0xa, .eax = 0x07300402, .ecx = 0xf, .edx = 0x8604 },
	{ .function = 0xb, .index = 0, .flags = INDEXED, .eax = 1, .ebx = 2, .ecx = 0x100, .edx = 0x33 },
	{ .function = 0xd, .index = 0, .flags = INDEXED, .eax = 0x207 },
	{ .function = 0xd, .index = 1, .flags = INDEXED, .eax = 0x1f },
	{ .function = 0x1d, .index = 0, .flags = INDEXED, .eax = 1 },
	{ .function = 0x1e, .index = 0, .flags = INDEXED, .ebx = 0x4010 },
	{ .function = 0x1f, .index = 0, .flags = INDEXED, .eax = 1, .ebx = 2, .ecx = 0x100, .edx = 0x33 },
	{ .function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b },
	{ .function = 0x40000001, .eax = 0x01007efb },
	{ .function = 0x80000000, .eax = 0x80000008 },
	{ .function = 0x80000001, .ecx = 0x121, .edx = 0x2c100800 },
	{ .function = 0x80000008, .eax = 0x3934, .ebx = 0x200, .ecx = 0 },
};

static const struct kvm_cpuid_entry2 amd[] = {
	{ .function = 0, .eax = 0x10, .ebx = 0x68747541, .edx = 0x69746e65, .ecx = 0x444d4163 },
	{ .function = 1, .eax = 0xa20f10, .ebx = 0x0b180800, .ecx = 0x7ed8320b, .edx = 0x178bfbff },
	{ .function = 7, .index = 0, .flags = INDEXED, .ebx = 0x219c97a9 },
	{ .function = 0xb, .index = 0, .flags = INDEXED, .eax = 1, .ebx = 2, .ecx = 0x100 },
	{ .function = 0xd, .index = 0, .flags = INDEXED, .eax = 0x207 },
	{ .function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b },
	{ .function = 0x40000001, .eax = 0x01007efb },
	{ .function = 0x80000000, .eax = 0x80000023 },
	{ .function = 0x80000001, .ecx = 0x75c237ff & ~2u, .edx = 0x2fd3fbff },
	{ .function = 0x80000008, .eax = 0x3030, .ebx = 0x111ef657, .ecx = 0x501f },
	{ .function = 0x8000001d, .index = 0, .flags = INDEXED, .eax = 0x4121 },
	{ .function = 0x8000001d, .index = 2, .flags = INDEXED, .eax = 0x3c163 },
	{ .function = 0x8000001e, .eax = 0 },
	{ .function = 0x80000022, .eax = 1, .ebx = 6 },
	{ .function = 0x80000026, .index = 0, .flags = INDEXED, .ebx = 2 },
};

static const struct kvm_cpuid_entry2 bare[] = { { .function = 0, .eax = 1 }, { .function = 1, .ebx = 0x800 } };

static const struct kvm_cpuid_entry2 *host;
static size_t host_n;
static int host_error;
static bool host_deadline;
static struct kvm_cpuid_entry2 given[CPUID_MAX_ENTRIES]; /* to the vCPU */
static uint32_t given_n;

int fake_kvm_ioctl(int fd, unsigned long request, void *arg)
{
	struct kvm_cpuid2 *list = arg;

	ck_assert_int_ge(fd, 0);
	if (host_error)
		return host_error;
	if (request == KVM_GET_SUPPORTED_CPUID) {
		if (list->nent < host_n)
			return -E2BIG;
		memcpy(list->entries, host, host_n * sizeof(*host));
		list->nent = (uint32_t)host_n;
		return 0;
	}
	ck_assert_uint_eq(request, KVM_SET_CPUID2);
	given_n = list->nent;
	ck_assert_uint_le(given_n, CPUID_MAX_ENTRIES);
	memcpy(given, list->entries, given_n * sizeof(given[0]));
	return 0;
}

int fake_kvm_capability(int fd, int capability)
{
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(capability, KVM_CAP_TSC_DEADLINE_TIMER);
	return host_deadline;
}

static struct cpuid_template t;
static struct config_cpu cpu;
static struct err err;

#define HOST(entries) (host = (entries), host_n = ARRAY_SIZE(entries))

static int make(unsigned sockets, unsigned cores, unsigned threads)
{
	const struct topology topology = { sockets, cores, threads };

	return cpuid_template_init(&t, 5, &cpu, &topology, &err);
}

static void make_ok(unsigned sockets, unsigned cores, unsigned threads)
{
	ck_assert_msg(make(sockets, cores, threads) == 0, "%s", err.msg);
}

static void feature(const char *name, bool on)
{
	cpu.features[cpu.n_features++] = (struct config_cpu_feature){ .name = (char *)name, .on = on };
}

static const struct kvm_cpuid_entry2 *leaf(uint32_t function, uint32_t index)
{
	const struct kvm_cpuid_entry2 *e = entry_find(&t, function, index);

	ck_assert_msg(e != NULL, "no leaf %#x.%u", function, index);
	return e;
}

static const struct kvm_cpuid_entry2 *apply(uint32_t apic_id, uint32_t function, uint32_t index)
{
	struct vcpu vcpu = { .fd = 9, .index = 0 };

	ck_assert_int_eq(cpuid_apply(&vcpu, &t, apic_id, &err), 0);
	ck_assert_uint_eq(given_n, t.n);
	for (uint32_t i = 0; i < given_n; i++)
		if (given[i].function == function && given[i].index == index)
			return &given[i];
	ck_abort_msg("no leaf %#x.%u given", function, index);
	return NULL;
}

START_TEST(intel_one)
{
	HOST(intel);
	make_ok(1, 1, 1);
	ck_assert_uint_eq(t.phys_bits, 52);
	ck_assert_uint_eq(leaf(1, 0)->ebx, 0x00010800);
	ck_assert_uint_eq(leaf(1, 0)->edx & BIT(28), 0);
	ck_assert_uint_eq(leaf(1, 0)->ecx & (BIT(31) | BIT(21)), BIT(31) | BIT(21));
	ck_assert_uint_eq(leaf(1, 0)->ecx & BIT(24), intel[1].ecx & BIT(24));
	for (uint32_t i = 0; i < 4; i++)
		ck_assert_uint_eq(leaf(4, i)->eax >> 14, 0);
	ck_assert_uint_eq(leaf(0x80000001, 0)->ecx & BIT(1), 0);
	ck_assert_uint_eq(leaf(0x80000008, 0)->ecx, 0);
	ck_assert_ptr_null(entry_find(&t, 0x1f, 0));
}
END_TEST

START_TEST(intel_topology)
{
	HOST(intel);
	host_deadline = true;
	make_ok(2, 3, 2); /* 1 bit of threads, 2 of cores */
	ck_assert_uint_eq(leaf(1, 0)->ebx, 0x00080800);
	ck_assert_uint_ne(leaf(1, 0)->edx & BIT(28), 0);
	ck_assert_uint_ne(leaf(1, 0)->ecx & BIT(24), 0);
	ck_assert_uint_eq(leaf(4, 0)->eax, 0x0c004121 | 0x121); /* 4 core ids, 2 threads share */
	ck_assert_uint_eq(leaf(4, 2)->eax >> 14 & 0xfff, 1);
	ck_assert_uint_eq(leaf(4, 3)->eax >> 14 & 0xfff, 7);
	ck_assert_uint_eq(leaf(4, 3)->eax >> 26, 3);
	ck_assert_uint_eq(leaf(4, 4)->eax, 0);
	ck_assert_uint_eq(leaf(4, 0)->ebx, 0x02c0003f);
	ck_assert(leaf(0xb, 0)->eax == 1 && leaf(0xb, 0)->ebx == 2 && leaf(0xb, 0)->ecx == 0x100);
	ck_assert(leaf(0xb, 1)->eax == 3 && leaf(0xb, 1)->ebx == 6 && leaf(0xb, 1)->ecx == 0x201);
	ck_assert(leaf(0xb, 2)->eax == 0 && leaf(0xb, 2)->ebx == 0 && leaf(0xb, 2)->ecx == 2);
	ck_assert_uint_eq(leaf(0x80000008, 0)->ecx, 0); /* reserved on Intel */
	ck_assert_uint_eq(apply(13, 1, 0)->ebx, 0x0d080800);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_uint_eq(apply(13, 0xb, i)->edx, 13);
	ck_assert_uint_eq(leaf(1, 0)->ebx, 0x00080800); /* the template stays */
}
END_TEST

START_TEST(amd_topology)
{
	HOST(amd);
	make_ok(2, 4, 2);
	ck_assert_uint_eq(t.phys_bits, 48);
	ck_assert_uint_ne(leaf(0x80000001, 0)->ecx & BIT(1), 0);
	ck_assert_uint_eq(leaf(0x80000008, 0)->ecx, 3 << 12 | 7);
	ck_assert_uint_eq(leaf(0x8000001d, 0)->eax, (0x4121 & 0x3fff) | 1 << 14);
	ck_assert_uint_eq(leaf(0x8000001d, 2)->eax, (0x3c163 & 0x3fff) | 7 << 14);
	ck_assert_ptr_null(entry_find(&t, 0x80000026, 0));
	ck_assert_uint_eq(apply(0xb, 0x8000001e, 0)->eax, 0xb);
	ck_assert_uint_eq(apply(0xb, 0x8000001e, 0)->ebx, 1 << 8 | 5);
	ck_assert_uint_eq(apply(0xb, 0x8000001e, 0)->ecx, 1); /* its node is its package */
	ck_assert_uint_eq(apply(0xb, 0xb, 1)->edx, 0xb);
	ck_assert_ptr_null(entry_find(&t, 4, 0));
}
END_TEST

START_TEST(amd_one)
{
	struct kvm_cpuid_entry2 legacy[ARRAY_SIZE(amd)];

	memcpy(legacy, amd, sizeof(amd));
	legacy[8].ecx |= BIT(1); /* the host's CmpLegacy */
	HOST(legacy);
	make_ok(1, 1, 1);
	ck_assert_uint_eq(leaf(0x80000001, 0)->ecx & BIT(1), 0);
	ck_assert_uint_eq(leaf(0x80000008, 0)->ecx, 0);
}
END_TEST

START_TEST(bare_host)
{
	HOST(bare);
	make_ok(1, 2, 1);
	ck_assert_uint_eq(t.phys_bits, 36);
	ck_assert_uint_eq(t.n, 2);
	ck_assert_uint_eq(leaf(1, 0)->ebx, 0x00020800);
}
END_TEST

START_TEST(tiles)
{
	struct kvm_cpuid_entry2 allowed[ARRAY_SIZE(intel)];

	HOST(intel);
	make_ok(1, 1, 1);
	ck_assert_uint_eq(leaf(7, 0)->edx, 0xfff14410 & ~(BIT(22) | BIT(24) | BIT(25)));
	ck_assert_uint_eq(leaf(7, 1)->eax, 0x00001c30);
	ck_assert_uint_eq(leaf(7, 1)->edx, 0x4010);
	ck_assert_ptr_null(entry_find(&t, 0x1d, 0));
	ck_assert_ptr_null(entry_find(&t, 0x1e, 0));
	memcpy(allowed, intel, sizeof(intel));
	allowed[11].eax |= BIT(17) | BIT(18);
	HOST(allowed);
	make_ok(1, 1, 1);
	ck_assert_uint_eq(leaf(7, 0)->edx, 0xfff14410);
	ck_assert_ptr_nonnull(entry_find(&t, 0x1d, 0));
}
END_TEST

START_TEST(features)
{
	HOST(intel);
	feature("avx512f", false);
	feature("sse4_2", false);
	feature("x2apic", false);
	feature("tsc-deadline", false);
	feature("fsgsbase", true);
	feature("sse4.2", true); /* taken back and given again: it is not there any more */
	ck_assert_int_eq(make(1, 1, 1), -ENOTSUP);
	cpu.n_features--;
	make_ok(1, 1, 1);
	ck_assert_uint_eq(leaf(7, 0)->ebx, 0xf1bf27eb & ~BIT(16));
	ck_assert_uint_eq(leaf(1, 0)->ecx & (BIT(20) | BIT(21) | BIT(24)), 0);
	feature("svm", false); /* what is not there can be left out */
	make_ok(1, 1, 1);
}
END_TEST

START_TEST(feature_errors)
{
	HOST(intel);
	feature("svm", true);
	ck_assert_int_eq(make(1, 1, 1), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(err.msg, "'svm'"));
	cpu.n_features = 0;
	feature("clzero", true); /* a leaf has it, but not this host */
	ck_assert_int_eq(make(1, 1, 1), -ENOTSUP);
	cpu.n_features = 0;
	feature("v-vmsave-vmload", true); /* not even the leaf */
	ck_assert_int_eq(make(1, 1, 1), -ENOTSUP);
	cpu.n_features = 0;
	feature("avx512ff", false);
	ck_assert_int_eq(make(1, 1, 1), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.msg, "did you mean 'avx512f'?"));
	cpu.n_features = 0;
	feature("qqqq", true);
	ck_assert_int_eq(make(1, 1, 1), -EINVAL);
	ck_assert_ptr_null(strstr(err.msg, "did you mean"));
	ck_assert_ptr_nonnull(strstr(err.msg, "'qqqq'"));
	cpu.n_features = 0;
	host_error = -E2BIG;
	ck_assert_int_eq(make(1, 1, 1), -E2BIG);
	ck_assert_ptr_nonnull(strstr(err.msg, "KVM_GET_SUPPORTED_CPUID"));
}
END_TEST

START_TEST(copies)
{
	HOST(amd);
	feature("mmx", false);
	feature("apic", false);
	feature("htt", false);
	cpu.n_features--;
	make_ok(1, 1, 1);
	ck_assert_uint_eq(leaf(1, 0)->edx & (BIT(23) | BIT(9)), 0);
	ck_assert_uint_eq(leaf(0x80000001, 0)->edx, 0x2fd3fbff & ~(BIT(23) | BIT(9)));
	cpu.n_features = 0;
	feature("sep", false); /* bit 11 is SYSCALL over there */
	make_ok(1, 1, 1);
	ck_assert_uint_eq(leaf(1, 0)->edx & BIT(11), 0);
	ck_assert_uint_eq(leaf(0x80000001, 0)->edx, 0x2fd3fbff);
}
END_TEST

START_TEST(properties)
{
	HOST(intel);
	feature("migratable", false);
	feature("pmu", true);
	feature("kvm", true);
	make_ok(1, 1, 1);
	ck_assert(entry_find(&t, 0xa, 0) && entry_find(&t, 0x40000001, 0));
	feature("pmu", false);
	feature("kvm", false);
	make_ok(1, 1, 1);
	ck_assert_ptr_null(entry_find(&t, 0xa, 0));
	ck_assert_uint_eq(leaf(1, 0)->ecx & BIT(15), 0);
	ck_assert_ptr_null(entry_find(&t, 0x40000000, 0));
	ck_assert_ptr_null(entry_find(&t, 0x40000001, 0));
	ck_assert_uint_ne(leaf(1, 0)->ecx & BIT(31), 0);
	HOST(amd);
	make_ok(1, 1, 1);
	ck_assert_ptr_null(entry_find(&t, 0x80000022, 0));
	ck_assert_uint_eq(leaf(0x80000001, 0)->ecx & (BIT(23) | BIT(24) | BIT(28)), 0);
}
END_TEST

START_TEST(apply_error)
{
	struct vcpu vcpu = { .fd = 9, .index = 6 };

	HOST(intel);
	make_ok(1, 1, 1);
	host_error = -EINVAL;
	ck_assert_int_eq(cpuid_apply(&vcpu, &t, 0, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.msg, "vCPU 6"));
}
END_TEST

START_TEST(help)
{
	char *text = arch_cpu_help();

	ck_assert(strstr(text, "avx512f") && strstr(text, "host") && strstr(text, "migratable"));
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cpuid");
	TCase *tc = tcase_create("cpuid");

	tcase_add_test(tc, intel_one);
	tcase_add_test(tc, intel_topology);
	tcase_add_test(tc, amd_topology);
	tcase_add_test(tc, amd_one);
	tcase_add_test(tc, bare_host);
	tcase_add_test(tc, tiles);
	tcase_add_test(tc, features);
	tcase_add_test(tc, feature_errors);
	tcase_add_test(tc, copies);
	tcase_add_test(tc, properties);
	tcase_add_test(tc, apply_error);
	tcase_add_test(tc, help);
	suite_add_tcase(suite, tc);
	return fake_run_tests(suite);
}
