/* SPDX-License-Identifier: MIT */
/*
 * The run-time of the bare-metal payloads: 64-bit ring 0 with 4 GiB mapped one to one, interrupts off, both interrupt
 * controllers masked. A payload defines payload_main(); when that returns, the run ends with test_done().
 *
 * How a run ends, for tests/guest/run: "guest: N passed, N failed[, N skipped]" on COM1 and a byte to isa-debug-exit at 0xf4,
 * which makes the process status 33 (all passed), 35 (some failed) or 37 (an exception nobody expected).
 *
 * The command line is a list of words; "key=value" words are read with arg_get and arg_u64. The runner says vmm=kite or
 * vmm=qemu, for the few places where QEMU, or the firmware that it runs first, differs and the test would not hold.
 */
#ifndef RT_H
#define RT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_bits(hi, lo) ((uint64_t)(hi) << 32 | (lo))

void payload_main(void);
/* Optional: called first, with the devices as the VMM left them, no traps and no console. */
void payload_early(void);

/* Ports and memory ---------------------------------------- */

static inline void outb(uint16_t port, uint8_t v)
{
	asm volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void outw(uint16_t port, uint16_t v)
{
	asm volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t v)
{
	asm volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint16_t inw(uint16_t port)
{
	uint16_t v;

	asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t v;

	asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

/* One access of just this width: a plain mov, whatever the compiler thinks of the pointer. */
#define MMIO_ACCESS(bits, insn, reg)										\
	static inline uint##bits##_t read##bits(uint64_t addr)							\
	{													\
		uint##bits##_t v;										\
		asm volatile(insn " (%1), %0" : reg(v) : "r"(addr) : "memory");					\
		return v;											\
	}													\
	static inline void write##bits(uint64_t addr, uint##bits##_t v)						\
	{													\
		asm volatile(insn " %0, (%1)" : : "r"(v), "r"(addr) : "memory");				\
	}
MMIO_ACCESS(8, "movb", "=q")
MMIO_ACCESS(16, "movw", "=r")
MMIO_ACCESS(32, "movl", "=r")
MMIO_ACCESS(64, "movq", "=r")
#undef MMIO_ACCESS

/* The processor ---------------------------------------- */

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
	return container_bits(hi, lo);
}

static inline void wrmsr(uint32_t msr, uint64_t v)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

/* The same, false where the processor raises #GP. */
bool msr_try_read(uint32_t msr, uint64_t *value);
bool msr_try_write(uint32_t msr, uint64_t value);

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	asm volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return container_bits(hi, lo);
}

struct cpuid {
	uint32_t a, b, c, d;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t sub)
{
	struct cpuid r;

	asm volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub));
	return r;
}

static inline void irq_enable(void)
{
	asm volatile("sti" : : : "memory");
}

static inline void irq_disable(void)
{
	asm volatile("cli" : : : "memory");
}

/* Sleeps until an interrupt; interrupts are on while asleep and off after. */
static inline void irq_wait(void)
{
	asm volatile("sti; hlt; cli" : : : "memory");
}

static inline void cpu_relax(void)
{
	asm volatile("pause" : : : "memory");
}

static inline void barrier(void)
{
	asm volatile("" : : : "memory");
}

static inline _Noreturn void halt_forever(void)
{
	for (;;)
		asm volatile("cli; hlt" : : : "memory");
}

/* The first CPU as the boot loader left it (layout.h). */
struct entry_state {
	uint32_t eax, ebx, esp, eflags, cr0, cr4, cs, ds, efer;
};
extern struct entry_state entry_state;
extern char image_end[];

/* Freestanding C: the compiler calls these. */
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strncmp(const char *a, const char *b, size_t n);

/* Output and results ---------------------------------------- */

#define COM1 0x3f8

void console_init(void); /* 115200 8n1, FIFOs on, interrupts off; again after a payload has used the UART */
void console_write(const char *s, size_t n);
/* %d %u %x %c %s %p, with l, a width and 0; no more. */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Reports "ok N - name" or "not ok N - name". Returns `pass`. */
bool test(bool pass, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for got == want; says both when they differ. */
bool test_equal(uint64_t got, uint64_t want, const char *name);
void test_skip(const char *name, const char *why);
unsigned test_failures(void);
_Noreturn void test_done(void);
/* Ends the run at once as failed. */
_Noreturn void test_abort(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define EXIT_PORT 0xf4
#define EXIT_PASSED 0x10
#define EXIT_FAILED 0x11
#define EXIT_TRAPPED 0x12

/* The command line and what else the boot loader says ---------------------------------------- */

#define BOOT_MAX_MAP 32
#define BOOT_MAX_MODULES 8
#define BOOT_TEXT 1024

struct boot_info {
	uint32_t flags;              /* MBI_* */
	uint32_t mem_lower, mem_upper; /* KiB */
	char cmdline[BOOT_TEXT];
	char loader[64];
	size_t map_n;
	struct {
		uint64_t base, size;
		uint32_t type;
	} map[BOOT_MAX_MAP];
	size_t modules_n;
	struct {
		uint32_t start, end;
		char string[128];
	} modules[BOOT_MAX_MODULES];
};
#define MBI_MEM 0x1
#define MBI_CMDLINE 0x4
#define MBI_MODS 0x8
#define MBI_MMAP 0x40
#define MBI_LOADER 0x200
#define MBI_MAGIC 0x2badb002
extern struct boot_info boot_info;

void boot_info_read(void);
/* The value of the word "key=value", copied to `buf`; false without it. */
bool arg_get(const char *key, char *buf, size_t size);
bool arg_is(const char *key, const char *value);
uint64_t arg_u64(const char *key, uint64_t otherwise); /* decimal */
bool vmm_is_qemu(void);

/* Traps and interrupts ---------------------------------------- */

struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};
typedef void trap_handler(struct trap_frame *frame);

void trap_init(void);
void trap_init_ap(void);
/* NULL: unexpected again. A handler acknowledges its interrupt itself. */
void trap_set(unsigned vector, trap_handler *handler);
/*
 * Runs fn(arg) in ring 3 with access to all ports: the first CPU only, not nested. KVM hosts that interpret guest kernels run
 * loops there a thousand times faster. No privileged instructions; on such hosts no CLI and STI either.
 */
void user_call(void (*fn)(void *arg), void *arg);

/* Where interrupts come in: ISA interrupt n of the PICs, IOAPIC pin n, the local APIC's own. */
#define VEC_PIC 0x20
#define VEC_IOAPIC 0x40
#define VEC_LAPIC_TIMER 0x60
#define VEC_IPI 0x61
#define VEC_SPURIOUS 0xff

void pic_init(void);          /* vectors at VEC_PIC, all masked */
void pic_mask(unsigned irq, bool masked);
void pic_eoi(unsigned irq);
void ioapic_init(void);       /* every pin masked */
void ioapic_route(unsigned pin, uint8_t vector, bool level, bool low, uint32_t apic_id);
void ioapic_mask(unsigned pin);
uint64_t ioapic_entry(unsigned pin);
uint32_t ioapic_read(uint8_t reg);

#define IOAPIC 0xfec00000
#define LAPIC 0xfee00000
#define LAPIC_ID 0x20
#define LAPIC_VERSION 0x30
#define LAPIC_TPR 0x80
#define LAPIC_EOI 0xb0
#define LAPIC_SVR 0xf0
#define LAPIC_ISR 0x100
#define LAPIC_IRR 0x200
#define LAPIC_ICR 0x300
#define LAPIC_ICR_HIGH 0x310
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LVT_LINT0 0x350
#define LAPIC_LVT_LINT1 0x360
#define LAPIC_LVT_ERROR 0x370
#define LAPIC_TIMER_INIT 0x380
#define LAPIC_TIMER_NOW 0x390
#define LAPIC_TIMER_DIVIDE 0x3e0
#define LAPIC_MASKED 0x10000
#define MSR_APIC_BASE 0x1b
#define MSR_TSC_DEADLINE 0x6e0

/* Register access in the mode that this CPU is in: memory, or x2APIC's MSRs. */
uint32_t lapic_read(uint32_t reg);
void lapic_write(uint32_t reg, uint32_t v);
void lapic_init(void);        /* enabled by software, LINT0 taking the PIC's interrupts on the first CPU */
void lapic_x2apic(void);      /* switches this CPU */
uint32_t lapic_id(void);
void lapic_ipi(uint32_t apic_id, uint32_t command); /* low word of ICR */
void lapic_eoi(void);
bool lapic_bit(uint32_t bank, uint8_t vector);      /* LAPIC_ISR or LAPIC_IRR */

/* Time ---------------------------------------- */

#define PIT_HZ 1193182
uint64_t tsc_khz(void);       /* measured once against PIT channel 2 */
void delay_us(uint64_t us);
/* Waits with interrupts on until *counter >= want, at most `ms`. Returns whether it did. */
bool wait_count(volatile uint32_t *counter, uint32_t want, unsigned ms);
void pit_program(unsigned channel, unsigned mode, uint16_t count);
uint16_t pit_read(unsigned channel);

/* CMOS ---------------------------------------- */

static inline uint8_t cmos_read(uint8_t reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

static inline void cmos_write(uint8_t reg, uint8_t v)
{
	outb(0x70, reg);
	outb(0x71, v);
}

/* ACPI ---------------------------------------- */

struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision, creator, creator_revision;
} __attribute__((packed));

struct acpi_gas {
	uint8_t space, bits, offset, size;
	uint64_t address;
} __attribute__((packed));

struct acpi_fadt {
	struct acpi_header header;
	uint32_t facs, dsdt;
	uint8_t reserved0, profile;
	uint16_t sci;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios, pstate;
	uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base, cst;
	uint16_t c2_lat, c3_lat, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct acpi_gas reset;
	uint8_t reset_value;
	uint16_t arm;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct acpi_gas x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr, x_gpe0, x_gpe1;
	struct acpi_gas sleep_control, sleep_status; /* if HW_REDUCED is set */
} __attribute__((packed));
#define FADT_RESET_REG (1u << 10)
#define FADT_TMR_32 (1u << 8)
#define FADT_HW_REDUCED (1u << 20)

struct acpi_rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t checksum2, reserved[3];
} __attribute__((packed));

const struct acpi_rsdp *acpi_rsdp(void);
/* The nth table, from 0, of XSDT or else RSDT; NULL past the end. */
const struct acpi_header *acpi_table(size_t n);
/* The first with this signature; NULL: none. */
const void *acpi_find(const char *signature);
uint8_t acpi_sum(const void *p, size_t n);
/* APIC ids of the enabled CPUs in the MADT, at most `max`; returns how many. */
size_t acpi_cpus(uint32_t *ids, size_t max);
/* The IOAPIC pin of an ISA interrupt, after the MADT's overrides. */
unsigned acpi_isa_pin(unsigned irq);
/* The sleep type of S5 from the DSDT's \_S5 package; -1: none. */
int acpi_s5(void);

/* Other CPUs ---------------------------------------- */

/* Starts every other CPU of the MADT. Returns how many answered. */
size_t smp_start(void);
size_t smp_count(void);                /* CPUs that run, the first included */
uint32_t smp_apic_id(size_t cpu);      /* 0 is the first */
/* Runs fn(arg) on `cpu` (not 0) with interrupts off there; returns when it has. */
void smp_call(size_t cpu, void (*fn)(void *arg), void *arg);
/* The same without waiting. */
void smp_call_async(size_t cpu, void (*fn)(void *arg), void *arg);

#endif
