/* SPDX-License-Identifier: MIT */
/*
 * CPUID as a guest of KVM needs it, and the topology that -smp asked for (cpus= sockets= cores= threads=), on every CPU.
 */
#include "rt.h"

#define KVM_FEATURE_CLOCKSOURCE 0
#define KVM_FEATURE_CLOCKSOURCE2 3
#define KVM_FEATURE_STABLE 24
#define MSR_KVM_SYSTEM_TIME_NEW 0x4b564d01

static unsigned cpus, sockets, cores, threads;

/* What a CPU says of itself. */
struct self {
	uint32_t lapic, leaf1, leafb, leafb_smt_shift, leafb_core_shift, leafb_smt, leafb_core, type0, type1, type2;
};
static struct self selves[MAX_CPUS];

static void look(void *arg)
{
	struct self *s = arg;
	struct cpuid r;

	s->lapic = lapic_id();
	s->leaf1 = cpuid(1, 0).b >> 24;
	r = cpuid(0xb, 0);
	s->leafb = r.d;
	s->leafb_smt_shift = r.a & 31;
	s->leafb_smt = r.b & 0xffff;
	s->type0 = r.c >> 8 & 0xff;
	r = cpuid(0xb, 1);
	s->leafb_core_shift = r.a & 31;
	s->leafb_core = r.b & 0xffff;
	s->type1 = r.c >> 8 & 0xff;
	r = cpuid(0xb, 2);
	s->type2 = r.c >> 8 & 0xff;
}

static unsigned distinct(unsigned shift)
{
	unsigned n = 0;

	for (unsigned i = 0; i < cpus; i++) {
		bool seen = false;

		for (unsigned j = 0; j < i; j++)
			seen = seen || selves[i].lapic >> shift == selves[j].lapic >> shift;
		n += !seen;
	}
	return n;
}

static void test_topology(void)
{
	const struct self *s = &selves[0];
	bool ids = true, same = true;
	struct cpuid r = cpuid(1, 0);

	test_equal(smp_count(), cpus, "CPUs that run");
	if (smp_count() != cpus)
		return;
	look(&selves[0]);
	for (unsigned i = 1; i < cpus; i++)
		smp_call(i, look, &selves[i]);
	for (unsigned i = 0; i < cpus; i++) {
		ids = ids && selves[i].leaf1 == selves[i].lapic;
		same = same && selves[i].leafb == selves[i].lapic && selves[i].leafb_core_shift == s->leafb_core_shift &&
		       selves[i].leafb_smt_shift == s->leafb_smt_shift;
	}
	test(ids, "leaf 1: APIC id of each CPU");
	if (cores * threads > 1) {
		test(r.d & 1u << 28, "leaf 1: HTT where a socket has more than one");
		test((r.b >> 16 & 0xff) >= cores * threads, "leaf 1: %u ids in a socket", r.b >> 16 & 0xff);
	}
	if (cpuid(0, 0).a < 0xb || !s->type0) {
		/* AMD's own processors before Zen 2 have none; KVM then still offers it when the VMM adds it. */
		test(vmm_is_qemu() && cpus == 1, "leaf 0xb");
		return;
	}
	test(same, "leaf 0xb: x2APIC id of each CPU, the same shifts everywhere");
	test(s->type0 == 1 && s->type1 == 2 && s->type2 == 0, "leaf 0xb: levels SMT, core, end");
	test_equal(s->leafb_smt, threads, "leaf 0xb: threads of a core");
	test_equal(s->leafb_core, cores * threads, "leaf 0xb: threads of a socket");
	test(1u << s->leafb_smt_shift >= threads && 1u << s->leafb_core_shift >= cores * threads, "leaf 0xb: shifts %u and %u",
	     s->leafb_smt_shift, s->leafb_core_shift);
	test_equal(distinct(s->leafb_core_shift), sockets, "sockets by APIC id");
	test_equal(distinct(s->leafb_smt_shift), sockets * cores, "cores by APIC id");
	test_equal(distinct(0), cpus, "threads by APIC id");
}

static void test_vendor_topology(void)
{
	struct cpuid r = cpuid(0, 0);
	bool amd = r.b == 0x68747541 || r.b == 0x6f677948; /* "Auth", "Hygo" */

	if (amd && cpuid(0x80000000, 0).a >= 0x80000008)
		test((cpuid(0x80000008, 0).c & 0xff) + 1 == cores * threads, "leaf 0x80000008: threads of a socket");
	if (amd && cpuid(0x80000000, 0).a >= 0x8000001e && cpuid(0x80000001, 0).c & 1u << 22) {
		r = cpuid(0x8000001e, 0);
		test_equal(r.a, lapic_id(), "leaf 0x8000001e: APIC id");
		test_equal((r.b >> 8 & 0xff) + 1, threads, "leaf 0x8000001e: threads of a core");
	}
	if (!amd && cpuid(0, 0).a >= 4 && cpuid(4, 0).a & 31) {
		r = cpuid(4, 0);
		test((r.a >> 26) + 1 >= cores, "leaf 4: cores of a socket");
		test((r.a >> 14 & 0xfff) + 1 >= threads, "leaf 4: threads that share the first cache");
	}
}

/* One reading of the paravirtual clock, as the KVM documentation (x86/msr) lays it out. */
struct pvclock {
	uint32_t version, pad;
	uint64_t tsc, system_time;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
} __attribute__((aligned(64)));

static uint64_t pvclock_ns(const volatile struct pvclock *c)
{
	uint64_t delta = rdtsc() - c->tsc;
	__extension__ unsigned __int128 product;

	delta = c->shift >= 0 ? delta << c->shift : delta >> -c->shift;
	product = (__extension__ (unsigned __int128)delta) * c->mul;
	return c->system_time + (uint64_t)(product >> 32);
}

static void test_kvmclock(uint32_t features)
{
	static volatile struct pvclock clock;
	uint64_t a, b, start, us;

	test(features & 1u << KVM_FEATURE_CLOCKSOURCE2, "kvmclock");
	if (!(features & 1u << KVM_FEATURE_CLOCKSOURCE2))
		return;
	test(msr_try_write(MSR_KVM_SYSTEM_TIME_NEW, (uintptr_t)&clock | 1), "kvmclock: its MSR");
	test(clock.version && !(clock.version & 1) && clock.mul, "kvmclock: filled in");
	/* A host that runs something else between the two clocks' readings spoils one try, not twenty. */
	for (unsigned try = 0; try < 20; try++) {
		start = rdtsc();
		a = pvclock_ns(&clock);
		delay_us(100000);
		us = (rdtsc() - start) * 1000 / tsc_khz();
		b = (pvclock_ns(&clock) - a) / 1000;
		if (b > us * 9 / 10 && b < us * 11 / 10)
			break;
	}
	test(b > us * 9 / 10 && b < us * 11 / 10, "kvmclock: %lu us, the TSC says %lu us", b, us);
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, 0);
}

static void test_kvm(void)
{
	struct cpuid r = cpuid(0x40000000, 0);
	uint32_t signature[3] = { r.b, r.c, r.d };

	if (!memcmp(signature, "TCGTCGTCGTCG", 12)) {
		test_skip("KVM's leaves", "not under KVM");
		return;
	}
	test(!memcmp(signature, "KVMKVMKVM\0\0\0", 12), "leaf 0x40000000: KVM's signature");
	test(r.a >= 0x40000001, "leaf 0x40000000: its last leaf is 0x%x", r.a);
	test_kvmclock(cpuid(0x40000001, 0).a);
	test(cpuid(1, 0).c & 1u << 21, "x2APIC");
	test(cpuid(1, 0).c & 1u << 24 || vmm_is_qemu(), "TSC deadline timer");
}

void payload_main(void)
{
	cpus = (unsigned)arg_u64("cpus", 1);
	sockets = (unsigned)arg_u64("sockets", cpus);
	cores = (unsigned)arg_u64("cores", 1);
	threads = (unsigned)arg_u64("threads", 1);
	if (cpus > MAX_CPUS)
		test_abort("cpus=%u: at most %u", cpus, MAX_CPUS);
	test(cpuid(1, 0).c & 1u << 31, "the hypervisor bit");
	test_kvm();
	smp_start();
	test_topology();
	test_vendor_topology();
}
