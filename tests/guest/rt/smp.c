/* SPDX-License-Identifier: MIT */
/*
 * The other CPUs: started with INIT and two start-up IPIs as the MultiProcessor Specification (B.4) describes, then asleep
 * until an interrupt on VEC_IPI, on which each takes the call in its mailbox.
 */
#include "rt.h"

#define PATIENCE_MS 20000

extern char ap_trampoline[], ap_trampoline_end[];
extern volatile uint32_t ap_next;
void ap_main(uint64_t number);

struct mailbox {
	void (*volatile fn)(void *arg);
	void *arg;
};

static struct mailbox mailboxes[MAX_CPUS];
static volatile uint32_t apic_ids[MAX_CPUS];
static volatile uint32_t ap_up;
static size_t cpus = 1;

static void ipi_wakeup(struct trap_frame *frame)
{
	(void)frame;
	lapic_eoi();
}

void ap_main(uint64_t number)
{
	size_t cpu = number + 1;
	struct mailbox *box = &mailboxes[cpu];

	trap_init_ap();
	lapic_init();
	apic_ids[cpu] = lapic_id();
	asm volatile("lock incl %0" : "+m"(ap_up) : : "memory");
	for (;;) {
		while (!box->fn)
			irq_wait();
		box->fn(box->arg);
		barrier();
		box->fn = NULL;
	}
}

static bool wait_up(uint32_t want, unsigned ms)
{
	uint64_t end = rdtsc() + tsc_khz() * ms;

	while (ap_up < want && rdtsc() < end)
		cpu_relax();
	return ap_up >= want;
}

size_t smp_start(void)
{
	uint32_t ids[MAX_CPUS], self = lapic_id();
	size_t n = acpi_cpus(ids, MAX_CPUS);

	memcpy((void *)AP_START, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	trap_set(VEC_IPI, ipi_wakeup);
	apic_ids[0] = self;
	for (size_t i = 0; i < n; i++) {
		if (ids[i] == self)
			continue;
		lapic_ipi(ids[i], 0x4500); /* INIT */
		delay_us(1000);
		lapic_ipi(ids[i], 0x4600 | AP_START >> 12);
		if (!wait_up((uint32_t)cpus, 20))
			lapic_ipi(ids[i], 0x4600 | AP_START >> 12);
		if (wait_up((uint32_t)cpus, PATIENCE_MS))
			cpus++;
	}
	return cpus - 1;
}

size_t smp_count(void)
{
	return cpus;
}

uint32_t smp_apic_id(size_t cpu)
{
	return apic_ids[cpu];
}

void smp_call_async(size_t cpu, void (*fn)(void *arg), void *arg)
{
	mailboxes[cpu].arg = arg;
	barrier();
	mailboxes[cpu].fn = fn;
	lapic_ipi(apic_ids[cpu], 0x4000 | VEC_IPI);
}

void smp_call(size_t cpu, void (*fn)(void *arg), void *arg)
{
	uint64_t end = rdtsc() + tsc_khz() * PATIENCE_MS;

	smp_call_async(cpu, fn, arg);
	while (mailboxes[cpu].fn)
		if (rdtsc() > end)
			test_abort("CPU %lu did not do what it was asked within %u ms", cpu, PATIENCE_MS);
}
