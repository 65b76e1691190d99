/* SPDX-License-Identifier: MIT */
/*
 * Every CPU of the MADT starts (INIT, start-up IPIs), runs, counts without losing anything, and takes and sends interrupts, in
 * xAPIC and, where there, x2APIC mode. cpus=N says how many there must be.
 */
#include "rt.h"

#define VEC_COUNT 0x70
#define ROUNDS 100
#define PATIENCE_MS 20000

static volatile uint32_t counter, in_x2apic, ipis[MAX_CPUS];

static void count(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++)
		asm volatile("lock incl %0" : "+m"(counter) : : "memory");
}

static size_t cpu_self(void)
{
	uint32_t id = lapic_id();

	for (size_t cpu = 0; cpu < smp_count(); cpu++)
		if (smp_apic_id(cpu) == id)
			return cpu;
	test_abort("a CPU with APIC id %u that nobody started", id);
}

static void count_ipi(struct trap_frame *frame)
{
	(void)frame;
	ipis[cpu_self()]++;
	lapic_eoi();
}

static void send_to_first(void *arg)
{
	(void)arg;
	lapic_ipi(smp_apic_id(0), 0x4000 | VEC_COUNT);
}

static void to_x2apic(void *arg)
{
	(void)arg;
	lapic_x2apic();
	asm volatile("lock incl %0" : "+m"(in_x2apic) : : "memory");
}

static void test_counting(size_t cpus)
{
	uint64_t end = rdtsc() + tsc_khz() * PATIENCE_MS;

	counter = 0;
	for (size_t cpu = 1; cpu < cpus; cpu++)
		smp_call_async(cpu, count, NULL);
	count(NULL);
	while (counter < cpus * ROUNDS && rdtsc() < end)
		cpu_relax();
	test_equal(counter, cpus * ROUNDS, "all of them count at once");
	for (size_t cpu = 1; cpu < cpus; cpu++)
		smp_call(cpu, count, NULL);
	test_equal(counter, (2 * cpus - 1) * ROUNDS, "and one after the other");
}

static void test_ipis(size_t cpus, const char *mode)
{
	uint32_t all = 0;
	uint64_t end;

	memset((void *)ipis, 0, sizeof(ipis));
	for (size_t cpu = 1; cpu < cpus; cpu++)
		lapic_ipi(smp_apic_id(cpu), 0x4000 | VEC_COUNT);
	for (end = rdtsc() + tsc_khz() * PATIENCE_MS; all < cpus - 1 && rdtsc() < end;) {
		all = 0;
		for (size_t cpu = 1; cpu < cpus; cpu++)
			all += ipis[cpu] == 1;
	}
	test(all == cpus - 1, "%s: an interrupt to each, %u of %lu came once", mode, all, cpus - 1);
	lapic_ipi(0, 0xc4000 | VEC_COUNT); /* all but self */
	for (all = 0, end = rdtsc() + tsc_khz() * PATIENCE_MS; all < cpus - 1 && rdtsc() < end;) {
		all = 0;
		for (size_t cpu = 1; cpu < cpus; cpu++)
			all += ipis[cpu] == 2;
	}
	test(all == cpus - 1, "%s: one to all but self, %u of %lu came", mode, all, cpus - 1);
	for (size_t cpu = 1; cpu < cpus; cpu++)
		smp_call_async(cpu, send_to_first, NULL);
	wait_count(&ipis[0], 1, PATIENCE_MS);
	test(ipis[0] >= 1, "%s: interrupts to the first, %u taken", mode, ipis[0]);
}

void payload_main(void)
{
	size_t want = arg_u64("cpus", 1), cpus;

	trap_set(VEC_COUNT, count_ipi);
	smp_start();
	cpus = smp_count();
	test_equal(cpus, want, "CPUs that run");
	if (cpus == 1) {
		test(want == 1, "alone");
		return;
	}
	test_counting(cpus);
	test_ipis(cpus, "xAPIC");
	if (!(cpuid(1, 0).c & 1u << 21)) {
		test_skip("x2APIC mode", "the processor has none");
		return;
	}
	for (size_t cpu = 1; cpu < cpus; cpu++)
		smp_call_async(cpu, to_x2apic, NULL);
	for (uint64_t end = rdtsc() + tsc_khz() * PATIENCE_MS; in_x2apic < cpus - 1 && rdtsc() < end;)
		cpu_relax();
	lapic_x2apic();
	test_ipis(cpus, "x2APIC");
}
