/* SPDX-License-Identifier: MIT */
/*
 * Every way to reset a PC, and the machine after it. Each boot marks a record in memory, which a reset keeps; then it turns
 * devices and processor inside out and resets. The next boot finds the record, and everything else as at power-on.
 *
 *   how=cf9|port92|i8042|triple|acpi   count=N resets (default 1)   from=ap: by the second CPU
 *   busy=yes: inside an interrupt handler, with other interrupts pending
 */
#include "rt.h"

#define RECORD 0x2000000 /* 32 MiB: no loader puts anything there */
#define MAGIC 0x6b697465726573ULL
#define PATTERN_WORDS 512
#define CMOS_SCRATCH 0x5b
#define MSR_KVM_SYSTEM_TIME_NEW 0x4b564d01
#define MSR_PAT 0x277
#define MSR_LSTAR 0xc0000082
#define MSR_SYSENTER_EIP 0x176
#define MSR_KERNEL_GS_BASE 0xc0000102
#define PAT_RESET 0x0007040600070406ULL
#define VEC_PENDING 0x71
#define VEC_BUSY 0x91 /* of a higher class than the timer's */

struct record {
	uint64_t magic;
	uint32_t boots;
	uint32_t seconds;               /* of the hour, by the RTC */
	volatile uint64_t ap_alive;     /* counted up by a CPU that should be gone */
	uint64_t pattern[PATTERN_WORDS];
};
static struct record *const record = (struct record *)RECORD;

/* What payload_early found. */
static struct {
	uint8_t ier, iir, lcr, mcr, pic1_irr, pic1_isr, pic2_isr, elcr1, elcr2, rtc_b, scratch;
	uint32_t lapic_tpr, lapic_timer_count, lapic_lvt[2], lapic_pending, ioapic_unmasked;
	uint64_t apic_base, kvmclock, pat, lstar, sysenter, gs_base, deadline, dr7;
} early;

static uint8_t pic_register(uint16_t port, uint8_t which)
{
	outb(port, which);
	return inb(port);
}

void payload_early(void)
{
	early.ier = inb(COM1 + 1);
	early.iir = inb(COM1 + 2);
	early.lcr = inb(COM1 + 3);
	early.mcr = inb(COM1 + 4);
	early.pic1_irr = pic_register(0x20, 0x0a);
	early.pic1_isr = pic_register(0x20, 0x0b);
	early.pic2_isr = pic_register(0xa0, 0x0b);
	early.elcr1 = inb(0x4d0);
	early.elcr2 = inb(0x4d1);
	early.rtc_b = cmos_read(0x0b);
	early.scratch = cmos_read(CMOS_SCRATCH);
	early.apic_base = rdmsr(MSR_APIC_BASE);
	early.lapic_tpr = lapic_read(LAPIC_TPR);
	early.lapic_timer_count = lapic_read(LAPIC_TIMER_INIT);
	early.lapic_lvt[0] = lapic_read(LAPIC_LVT_TIMER);
	early.lapic_lvt[1] = lapic_read(LAPIC_LVT_ERROR);
	for (uint32_t bank = 0; bank < 0x80; bank += 0x10)
		early.lapic_pending |= lapic_read(LAPIC_IRR + bank) | lapic_read(LAPIC_ISR + bank);
	for (unsigned pin = 0; pin < 24; pin++)
		early.ioapic_unmasked += !(ioapic_entry(pin) & 0x10000);
	asm volatile("mov %%dr7, %0" : "=r"(early.dr7));
}

/* MSRs that not every processor has: after traps are set up. */
static void read_msrs(void)
{
	msr_try_read(MSR_KVM_SYSTEM_TIME_NEW, &early.kvmclock);
	msr_try_read(MSR_PAT, &early.pat);
	msr_try_read(MSR_LSTAR, &early.lstar);
	msr_try_read(MSR_SYSENTER_EIP, &early.sysenter);
	msr_try_read(MSR_KERNEL_GS_BASE, &early.gs_base);
	if (cpuid(1, 0).c & 1u << 24)
		msr_try_read(MSR_TSC_DEADLINE, &early.deadline);
}

static uint32_t rtc_seconds(void)
{
	uint8_t m = cmos_read(2), s = cmos_read(0);

	return ((m >> 4) * 10u + (m & 15)) * 60 + (s >> 4) * 10u + (s & 15);
}

static void test_processor(void)
{
	test_equal(entry_state.eflags & 0x200, 0, "interrupts off");
	test_equal(entry_state.cr0 & 0x8000000f, 1, "CR0: protected mode, no paging, nothing else");
	test_equal(entry_state.cr4, 0, "CR4");
	test_equal(entry_state.efer, 0, "EFER");
	test_equal(early.apic_base & 0xfffffd00, LAPIC | 0x900, "APIC base: on, first CPU, not x2APIC");
	test_equal(early.lapic_tpr, 0, "local APIC: TPR");
	test_equal(early.lapic_timer_count, 0, "local APIC: timer");
	test_equal(early.lapic_lvt[0], LAPIC_MASKED, "local APIC: timer entry");
	test_equal(early.lapic_lvt[1], LAPIC_MASKED, "local APIC: error entry");
	test_equal(early.lapic_pending, 0, "local APIC: nothing pending or in service");
	test_equal(early.lstar, 0, "LSTAR");
	test_equal(early.gs_base, 0, "KERNEL_GS_BASE");
	test_equal(early.deadline, 0, "TSC deadline");
	if (vmm_is_qemu()) {
		test_skip("more of the processor", "firmware has run");
		return;
	}
	test_equal(early.kvmclock, 0, "kvmclock");
	test_equal(early.dr7, 0x400, "DR7");
	test_equal(early.pat, PAT_RESET, "PAT");
	test_equal(early.sysenter, 0, "SYSENTER_EIP");
}

static void test_devices(void)
{
	uint32_t now = rtc_seconds();
	const struct acpi_fadt *fadt = acpi_find("FACP");

	test_equal(early.ier, 0, "UART: no interrupts enabled");
	test_equal(early.ioapic_unmasked, 0, "IOAPIC: every pin masked");
	test_equal(early.pic1_isr | early.pic2_isr, 0, "PICs: nothing in service");
	test_equal(early.rtc_b & 0x70, 0, "RTC: no interrupts enabled");
	test_equal(early.scratch, 0xa5, "RTC: memory kept");
	test((now + 3600 - record->seconds) % 3600 < 600, "RTC: time went on (%u s)", (now + 3600 - record->seconds) % 3600);
	if (fadt && fadt->pm1a_evt)
		test_equal(inw((uint16_t)(fadt->pm1a_evt + 2)), 0, "PM1a: nothing enabled");
	if (vmm_is_qemu()) {
		test_skip("more of the devices", "firmware has run");
		return;
	}
	test_equal(early.iir, 0x01, "UART: IIR");
	test_equal(early.lcr, 0, "UART: LCR");
	test_equal(early.mcr, 0, "UART: MCR");
	test_equal(early.elcr1 | early.elcr2, 0, "PICs: every interrupt edge-triggered");
	test_equal(early.pic1_irr & 0x01, 0, "PIT: no interrupt waiting");
}

static void test_memory(void)
{
	uint64_t bad = 0, alive = record->ap_alive;

	for (size_t i = 0; i < PATTERN_WORDS; i++)
		bad += record->pattern[i] != MAGIC * (i + 1);
	test_equal(bad, 0, "memory kept");
	delay_us(20000);
	test_equal(record->ap_alive, alive, "the other CPUs stopped");
}

static void spin(void *arg)
{
	(void)arg;
	lapic_x2apic();
	for (;;)
		record->ap_alive++;
}

static void ignore_pit(struct trap_frame *frame)
{
	(void)frame;
	pic_eoi(0);
}

static void ignore_lapic(struct trap_frame *frame)
{
	(void)frame;
	lapic_eoi();
}

/* As much as possible that a reset has to undo. */
static void disturb(void)
{
	const struct acpi_fadt *fadt = acpi_find("FACP");

	trap_set(VEC_PIC, ignore_pit);
	trap_set(VEC_PENDING, ignore_lapic);
	pit_program(0, 2, 1193);
	pic_mask(0, false);
	outb(0x4d1, 0x0e);
	ioapic_route(9, VEC_PENDING, true, true, lapic_id());
	outb(COM1 + 3, 0x1b);
	outb(COM1 + 4, 0x1f);
	outb(COM1, 'x');
	outb(COM1 + 1, 0x0d);
	cmos_write(CMOS_SCRATCH, 0xa5);
	cmos_write(0x0b, cmos_read(0x0b) | 0x70);
	if (fadt && fadt->pm1a_evt)
		outw((uint16_t)(fadt->pm1a_evt + 2), 0x0120);
	msr_try_write(MSR_KVM_SYSTEM_TIME_NEW, (RECORD + 0x10000) | 1);
	msr_try_write(MSR_PAT, 0);
	msr_try_write(MSR_LSTAR, 0x123456);
	msr_try_write(MSR_SYSENTER_EIP, 0x123456);
	msr_try_write(MSR_KERNEL_GS_BASE, 0x123456);
	asm volatile("mov %0, %%dr7" : : "r"(UINT64_C(0x401)));
	lapic_write(LAPIC_TPR, 0x20);
	lapic_write(LAPIC_LVT_TIMER, VEC_PENDING | 0x20000);
	lapic_write(LAPIC_TIMER_INIT, 100000);
	if (cpuid(1, 0).c & 1u << 21)
		lapic_x2apic();
}

static void pull(void *arg)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none;

	(void)arg;
	if (arg_is("how", "cf9")) {
		outb(0xcf9, 0x02);
		outb(0xcf9, 0x06);
	} else if (arg_is("how", "port92")) {
		outb(0x92, inb(0x92) & 0xfe);
		outb(0x92, inb(0x92) | 0x01);
	} else if (arg_is("how", "i8042")) {
		outb(0x64, 0xfe);
	} else if (arg_is("how", "triple")) {
		asm volatile("lidt %0; ud2" : : "m"(none));
	} else if (arg_is("how", "acpi")) {
		const struct acpi_fadt *fadt = acpi_find("FACP");

		outb((uint16_t)fadt->reset.address, fadt->reset_value);
	} else {
		test_abort("how= one of cf9, port92, i8042, triple, acpi");
	}
	for (;;)
		cpu_relax(); /* the other CPUs may run a little longer; this one should not come here */
}

static void pull_busy(struct trap_frame *frame)
{
	(void)frame;
	lapic_ipi(lapic_id(), 0x4000 | VEC_PENDING);
	pull(NULL);
}

static _Noreturn void reset(void)
{
	bool from_ap = arg_is("from", "ap");

	if (smp_start() && !from_ap)
		smp_call_async(smp_count() - 1, spin, NULL);
	disturb();
	if (arg_is("busy", "yes")) {
		trap_set(VEC_BUSY, pull_busy);
		lapic_ipi(lapic_id(), 0x4000 | VEC_BUSY);
		irq_enable();
	} else if (from_ap) {
		smp_call_async(1, pull, NULL);
	} else {
		pull(NULL);
	}
	delay_us(20000000);
	console_init();
	test_abort("still running 20 s after the reset");
}

void payload_main(void)
{
	uint64_t want = arg_u64("count", 1);

	read_msrs();
	if (record->magic == MAGIC) {
		print("reset: boot %u\n", record->boots + 1);
		test_processor();
		test_memory();
		test_devices();
		if (record->boots >= want || test_failures()) {
			record->magic = 0;
			return;
		}
	} else {
		print("reset: first boot\n");
		record->boots = 0;
		for (size_t i = 0; i < PATTERN_WORDS; i++)
			record->pattern[i] = MAGIC * (i + 1);
	}
	record->magic = MAGIC;
	record->boots++;
	record->ap_alive = 0;
	record->seconds = rtc_seconds();
	reset();
}
