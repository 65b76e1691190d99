/* SPDX-License-Identifier: MIT */
/*
 * Every clock and timer of the machine. A loaded or emulated host can be slow at any moment, so rates are compared with each
 * other with room to spare, and only what must never happen (an interrupt too early, a clock that steps back) is strict.
 */
#include "rt.h"

#define PATIENCE_MS 10000
#define PIT_IRQ 0
#define RTC_IRQ 8
#define PM_HZ 3579545
#define RTC_B_24H 0x02
#define RTC_B_UIE 0x10
#define RTC_B_AIE 0x20
#define RTC_B_PIE 0x40

static volatile uint32_t ticks, lapic_ticks;
static volatile uint32_t rtc_flags;
static volatile uint64_t lapic_when;

static void pit_pic(struct trap_frame *frame)
{
	(void)frame;
	ticks++;
	pic_eoi(PIT_IRQ);
}

static void pit_ioapic(struct trap_frame *frame)
{
	(void)frame;
	ticks++;
	lapic_eoi();
}

static void rtc_pic(struct trap_frame *frame)
{
	(void)frame;
	rtc_flags |= cmos_read(0x0c);
	ticks++;
	pic_eoi(RTC_IRQ);
}

static void rtc_ioapic(struct trap_frame *frame)
{
	(void)frame;
	rtc_flags |= cmos_read(0x0c);
	ticks++;
	lapic_eoi();
}

static void lapic_timer(struct trap_frame *frame)
{
	(void)frame;
	lapic_when = rdtsc();
	lapic_ticks++;
	lapic_eoi();
}

/* Waits, and returns how long it became, in ms. */
static uint32_t wait_ms(unsigned ms)
{
	static volatile uint32_t never;
	uint64_t start = rdtsc();

	wait_count(&never, 1, ms);
	return (uint32_t)((rdtsc() - start) / tsc_khz());
}

/*
 * Interrupts taken at a rate of `hz`: a slow host may lose half of them, or make up for some of before. One that did nothing for longer than
 * that spoils a try, not ten.
 */
static void test_rate(uint32_t hz, const char *name)
{
	uint32_t n = 0, want = 0;

	for (unsigned try = 0; try < 10; try++) {
		ticks = 0;
		want = wait_ms(300) * hz / 1000;
		n = ticks;
		if (n >= want / 2 && n <= want + want / 2)
			break;
	}
	test(n >= want / 2 && n <= want + want / 2, "%s: %u interrupts of %u", name, n, want);
}

static void test_pit_periodic(const char *name)
{
	pit_program(0, 2, PIT_HZ / 100);
	test_rate(100, name);
}

/* On a busy host an interrupt of the mode before can come late and spoil a try, but not five. */
static void test_pit_one_shot(void)
{
	for (unsigned try = 0; try < 5; try++) {
		pit_program(0, 0, 0xffff);
		wait_ms(1);
		ticks = 0;
		pit_program(0, 0, PIT_HZ / 200);
		wait_count(&ticks, 1, PATIENCE_MS);
		wait_ms(20);
		if (ticks == 1)
			break;
	}
	test_equal(ticks, 1, "PIT mode 0: one interrupt");
}

static void test_pit(void)
{
	unsigned pin = acpi_isa_pin(PIT_IRQ);
	uint16_t a, b;

	tsc_khz();
	test(true, "PIT channel 2 reaches its terminal count: TSC at %lu kHz", tsc_khz());
	trap_set(VEC_PIC + PIT_IRQ, pit_pic);
	pic_mask(PIT_IRQ, false);
	test_pit_periodic("PIT channel 0 through the PIC");
	a = pit_read(0);
	delay_us(50);
	b = pit_read(0);
	test(a != b, "its counter runs");

	test_pit_one_shot();
	ticks = 0;
	pit_program(0, 0, PIT_HZ / 100);
	irq_wait(); /* one that waits already ends it too: interrupts were off */
	test(ticks == 1, "HLT ends with the interrupt");
	pic_mask(PIT_IRQ, true);

	trap_set((unsigned)(VEC_IOAPIC + pin), pit_ioapic);
	ioapic_route(pin, (uint8_t)(VEC_IOAPIC + pin), false, false, lapic_id());
	test_pit_periodic("PIT channel 0 through the IOAPIC");
	ioapic_mask(pin);
	pit_program(0, 0, 1);
}

static unsigned rtc_seconds(void)
{
	uint8_t v, again = cmos_read(0);

	do {
		v = again;
		again = cmos_read(0);
	} while (v != again || cmos_read(0x0a) & 0x80);
	return (cmos_read(0x0b) & 4) ? v : (v >> 4) * 10u + (v & 15);
}

/*
 * ms from one update-ended interrupt to the next; *before and *after: the clock's second between the two, and after them. The first can be late:
 * of an update whose flag stood before its interrupt was enabled, or because the host was busy; and so can the second. Then those after them
 * are looked at.
 */
static uint32_t rtc_update_period(uint8_t b, unsigned *before, unsigned *after)
{
	uint64_t start = 0;

	cmos_read(0x0c);
	ticks = rtc_flags = 0;
	cmos_write(0x0b, b | RTC_B_UIE);
	wait_count(&ticks, 1, PATIENCE_MS);
	for (unsigned try = 0; try < 10; try++) {
		uint64_t first = rdtsc();

		*before = rtc_seconds();
		ticks = 0;
		wait_count(&ticks, 1, PATIENCE_MS);
		start = (rdtsc() - first) / tsc_khz();
		*after = rtc_seconds();
		if (ticks == 1 && start > 700 && start < 1500 && *after == (*before + 1) % 60)
			break;
	}
	return (uint32_t)start;
}

static void test_rtc(void)
{
	uint8_t b = cmos_read(0x0b) & ~(RTC_B_PIE | RTC_B_AIE | RTC_B_UIE);
	unsigned pin = acpi_isa_pin(RTC_IRQ), before, after;
	uint32_t ms;

	test(cmos_read(0x0d) & 0x80, "RTC: register D says that time and memory are valid");
	cmos_write(0x0a, 0x2a); /* the divider runs; rate 10 is 64 Hz, which a busy host can keep up with */
	cmos_write(0x0b, b);
	cmos_read(0x0c);
	trap_set(VEC_PIC + RTC_IRQ, rtc_pic);
	pic_mask(RTC_IRQ, false);
	rtc_flags = 0;
	cmos_write(0x0b, b | RTC_B_PIE);
	test_rate(64, "RTC: periodic");
	cmos_write(0x0b, b);
	test((rtc_flags & 0xc0) == 0xc0, "RTC: register C says IRQF and PF (0x%x)", rtc_flags);

	ms = rtc_update_period(b, &before, &after);
	test(ms > 700 && ms < 1500, "RTC: update interrupts %u ms apart", ms);
	test((rtc_flags & 0x90) == 0x90, "RTC: register C says IRQF and UF (0x%x)", rtc_flags);
	test_equal(after, (before + 1) % 60, "RTC: the second after");
	cmos_write(0x0b, b);
	pic_mask(RTC_IRQ, true);

	/* An alarm at every second ("don't care" in all three), through the IOAPIC. */
	trap_set((unsigned)(VEC_IOAPIC + pin), rtc_ioapic);
	ioapic_route(pin, (uint8_t)(VEC_IOAPIC + pin), false, false, lapic_id());
	cmos_read(0x0c);
	ticks = rtc_flags = 0;
	cmos_write(0x01, 0xff);
	cmos_write(0x03, 0xff);
	cmos_write(0x05, 0xff);
	cmos_write(0x0b, b | RTC_B_AIE);
	wait_count(&ticks, 1, PATIENCE_MS);
	cmos_write(0x0b, b);
	test(ticks >= 1 && (rtc_flags & 0xa0) == 0xa0, "RTC: alarm, register C 0x%x", rtc_flags);
	ioapic_mask(pin);
}

static void test_pm_timer(void)
{
	const struct acpi_fadt *fadt = acpi_find("FACP");
	uint32_t mask, last, now, back = 0, ms = 0;
	uint64_t start;
	uint16_t port;

	if (fadt && fadt->flags & FADT_HW_REDUCED) {
		test_skip("the PM timer", "hardware-reduced ACPI has none");
		return;
	}
	if (!fadt || !fadt->pm_tmr) {
		test(false, "a PM timer in the FADT");
		return;
	}
	port = (uint16_t)fadt->pm_tmr;
	mask = fadt->flags & FADT_TMR_32 ? 0xffffffff : 0xffffff;
	last = inl(port);
	for (unsigned i = 0; i < 1000; i++, last = now) {
		now = inl(port);
		back += ((now - last) & mask) > mask / 2;
	}
	test_equal(back, 0, "PM timer: never steps back");
	/* A host that is busy between the two clocks' readings spoils one try, not twenty. */
	for (unsigned try = 0; try < 20; try++) {
		last = inl(port);
		start = rdtsc();
		delay_us(300000);
		now = inl(port);
		start = (rdtsc() - start) * 1000 / tsc_khz(); /* us */
		ms = ((now - last) & mask) / (PM_HZ / 1000);
		if (ms * 1000 > start * 9 / 10 && ms * 1000 < start * 11 / 10)
			break;
	}
	test(ms * 1000 > start * 9 / 10 && ms * 1000 < start * 11 / 10, "PM timer: %u ms, the TSC says %lu us", ms, start);
}

static void test_lapic(void)
{
	uint32_t a = 0, b = 0;

	trap_set(VEC_LAPIC_TIMER, lapic_timer);
	lapic_write(LAPIC_TIMER_DIVIDE, 0x0b); /* by 1 */
	lapic_write(LAPIC_LVT_TIMER, VEC_LAPIC_TIMER);
	for (unsigned try = 0; try < 10; try++) { /* it may run out before it is read */
		lapic_write(LAPIC_TIMER_INIT, 0);
		wait_ms(1);
		lapic_ticks = 0;
		lapic_write(LAPIC_TIMER_INIT, 10000000);
		a = lapic_read(LAPIC_TIMER_NOW);
		b = lapic_read(LAPIC_TIMER_NOW);
		if (b < a)
			break;
	}
	test(b < a && a <= 10000000, "local APIC timer counts down");
	wait_count(&lapic_ticks, 1, PATIENCE_MS);
	wait_ms(30);
	test_equal(lapic_ticks, 1, "local APIC timer, one shot: one interrupt");
	test_equal(lapic_read(LAPIC_TIMER_NOW), 0, "and it stands at 0");

	lapic_ticks = 0;
	lapic_write(LAPIC_LVT_TIMER, VEC_LAPIC_TIMER | 0x20000);
	lapic_write(LAPIC_TIMER_INIT, 5000000);
	test(wait_count(&lapic_ticks, 3, PATIENCE_MS), "periodic: again and again");
	lapic_write(LAPIC_LVT_TIMER, LAPIC_MASKED);
	lapic_write(LAPIC_TIMER_INIT, 0);
	wait_ms(1); /* one may be on its way */
}

static void test_deadline(void)
{
	uint64_t when;

	if (!(cpuid(1, 0).c & 1u << 24)) {
		test_skip("TSC deadline", "the processor has none");
		return;
	}
	lapic_write(LAPIC_LVT_TIMER, VEC_LAPIC_TIMER | 0x40000);
	asm volatile("mfence" : : : "memory");
	lapic_ticks = 0;
	when = rdtsc() + tsc_khz() * 10;
	wrmsr(MSR_TSC_DEADLINE, when);
	test(wait_count(&lapic_ticks, 1, PATIENCE_MS), "TSC deadline: an interrupt");
	/* KVM waits by its own measure of the TSC's rate, which is a little wrong on some hosts: 5 percent. */
	test(lapic_when + tsc_khz() / 2 >= when, "TSC deadline: not before its time");
	test_equal(rdmsr(MSR_TSC_DEADLINE), 0, "TSC deadline: disarmed by it");
	wrmsr(MSR_TSC_DEADLINE, rdtsc() - 1);
	test(wait_count(&lapic_ticks, 2, PATIENCE_MS), "TSC deadline: one in the past comes at once");
	for (unsigned try = 0; try < 10; try++) { /* it may come before it is disarmed */
		lapic_ticks = 0;
		wrmsr(MSR_TSC_DEADLINE, rdtsc() + tsc_khz() * 20);
		wrmsr(MSR_TSC_DEADLINE, 0);
		wait_ms(40);
		if (lapic_ticks == 0)
			break;
	}
	test_equal(lapic_ticks, 0, "TSC deadline: 0 disarms");
	lapic_write(LAPIC_LVT_TIMER, LAPIC_MASKED);
}

void payload_main(void)
{
	test_pit();
	test_rtc();
	test_pm_timer();
	test_lapic();
	test_deadline();
}
