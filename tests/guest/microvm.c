/* SPDX-License-Identifier: MIT */
/*
 * A microvm without ACPI, as a kernel finds it: processors and interrupts in the MP tables, virtio transports on the command line, and a
 * random number device that works by them: its interrupt is level-triggered, goes down with the acknowledgement, and comes again.
 *
 *   cpus=N   devices=N on the command line   random=I: transport I is a random number device   cmdline=off: there must be none
 */
#include "rt.h"

#define MP_POINTER 0x9fc00
#define MAX_DEVICES 32
#define REG_MAGIC 0x00
#define REG_VERSION 0x04
#define REG_DEVICE_ID 0x08
#define REG_DRIVER_FEATURES 0x20
#define REG_DRIVER_FEATURES_SEL 0x24
#define REG_QUEUE_SEL 0x30
#define REG_QUEUE_NUM 0x38
#define REG_QUEUE_READY 0x44
#define REG_QUEUE_NOTIFY 0x50
#define REG_INTERRUPT_STATUS 0x60
#define REG_INTERRUPT_ACK 0x64
#define REG_STATUS 0x70
#define REG_QUEUE_DESC 0x80
#define REG_QUEUE_DRIVER 0x90
#define REG_QUEUE_DEVICE 0xa0
#define ID_RNG 4
#define QUEUE 8
#define BYTES 32

struct transport {
	uint32_t size, base, irq;
};

static struct transport devices[MAX_DEVICES];
static size_t n_devices;
static uint32_t level_pins; /* by the MP tables */

static uint32_t reg_read(const struct transport *t, uint32_t reg)
{
	return *(volatile uint32_t *)(uintptr_t)(t->base + reg);
}

static void reg_write(const struct transport *t, uint32_t reg, uint32_t v)
{
	*(volatile uint32_t *)(uintptr_t)(t->base + reg) = v;
}

/* A number in C's notation; leaves `*s` behind it. */
static uint32_t number(const char **s)
{
	uint32_t v = 0, base = 10;

	if ((*s)[0] == '0' && (*s)[1] == 'x') {
		base = 16;
		*s += 2;
	}
	for (;; ++*s) {
		char c = **s;

		if (c >= '0' && c <= '9')
			v = v * base + (uint32_t)(c - '0');
		else if (base == 16 && c >= 'a' && c <= 'f')
			v = v * base + (uint32_t)(c - 'a') + 10;
		else
			return v;
	}
}

static void find_devices(void)
{
	static const char key[] = "virtio_mmio.device=";

	for (const char *s = boot_info.cmdline; *s;) {
		struct transport *t = &devices[n_devices];

		if (strncmp(s, key, sizeof(key) - 1) || n_devices == MAX_DEVICES) {
			s++;
			continue;
		}
		s += sizeof(key) - 1;
		t->size = number(&s);
		s += *s == '@';
		t->base = number(&s);
		s += *s == ':';
		t->irq = number(&s);
		n_devices++;
	}
}

static void test_mp(void)
{
	const uint8_t *pointer = (const uint8_t *)MP_POINTER, *table, *e;
	uint32_t address, cpus = 0, boot = 0, ioapics = 0;
	uint16_t length, entries;

	test(!memcmp(pointer, "_MP_", 4) && !acpi_sum(pointer, 16), "MP pointer at 0x%x", MP_POINTER);
	memcpy(&address, pointer + 4, 4);
	table = (const uint8_t *)(uintptr_t)address;
	memcpy(&length, table + 4, 2);
	memcpy(&entries, table + 34, 2);
	if (!test(!memcmp(table, "PCMP", 4) && !acpi_sum(table, length), "MP table at 0x%x", address))
		return;
	e = table + 44;
	for (; entries > 0; entries--, e += e[0] == 0 ? 20 : 8) {
		if (e[0] == 0) {
			cpus += e[3] & 1;
			boot += (e[3] & 2) && e[1] == lapic_id();
		} else if (e[0] == 2) {
			memcpy(&address, e + 4, 4);
			ioapics += address == IOAPIC;
		} else if (e[0] == 3 && (e[2] & 15) == 13) {
			test_equal(e[5], e[7], "MP: a level-triggered interrupt has the number of its pin");
			level_pins |= 1u << e[7];
		}
	}
	test(e == table + length, "MP: entries end where the table ends");
	test_equal(cpus, arg_u64("cpus", 1), "MP: enabled CPUs");
	test_equal(boot, 1, "MP: this CPU is the boot processor");
	test_equal(ioapics, 1, "MP: IOAPIC");
}

static void test_device(const struct transport *t, size_t i)
{
	test_equal(t->size, 512, "size");
	test_equal(reg_read(t, REG_MAGIC), 0x74726976, "magic value");
	test_equal(reg_read(t, REG_VERSION), 2, "version");
	test(reg_read(t, REG_DEVICE_ID), "transport %lu at 0x%x has device type %u", i, t->base, reg_read(t, REG_DEVICE_ID));
	test(t->irq < 24 && level_pins >> t->irq & 1, "interrupt %u is level-triggered in the MP tables", t->irq);
}

static const struct transport *rng;
static volatile uint32_t interrupts, empty; /* empty: came when InterruptStatus was 0 */

static void rng_interrupt(struct trap_frame *frame)
{
	uint32_t status = reg_read(rng, REG_INTERRUPT_STATUS);

	(void)frame;
	reg_write(rng, REG_INTERRUPT_ACK, status);
	if (status)
		interrupts++;
	else
		empty++;
	lapic_eoi();
}

static struct {
	struct {
		uint64_t address;
		uint32_t len;
		uint16_t flags, next;
	} desc[QUEUE];
	volatile uint16_t avail_flags, avail_idx, avail_ring[QUEUE], unused;
	volatile uint16_t used_flags __attribute__((aligned(4))), used_idx;
	struct {
		uint32_t id, len;
	} used_ring[QUEUE];
} ring __attribute__((aligned(16)));

static void set_address(uint32_t reg, const volatile void *p)
{
	reg_write(rng, reg, (uint32_t)(uintptr_t)p);
	reg_write(rng, reg + 4, 0);
}

static void test_random(void)
{
	static uint8_t bytes[2][BYTES];
	bool any = false;

	trap_set(VEC_IOAPIC, rng_interrupt);
	ioapic_route(rng->irq, VEC_IOAPIC, true, false, lapic_id());
	reg_write(rng, REG_STATUS, 0);
	reg_write(rng, REG_STATUS, 3);
	reg_write(rng, REG_DRIVER_FEATURES_SEL, 1);
	reg_write(rng, REG_DRIVER_FEATURES, 1); /* VERSION_1 */
	reg_write(rng, REG_STATUS, 11);
	test_equal(reg_read(rng, REG_STATUS), 11, "FEATURES_OK");
	reg_write(rng, REG_QUEUE_SEL, 0);
	reg_write(rng, REG_QUEUE_NUM, QUEUE);
	set_address(REG_QUEUE_DESC, ring.desc);
	set_address(REG_QUEUE_DRIVER, &ring.avail_flags);
	set_address(REG_QUEUE_DEVICE, &ring.used_flags);
	reg_write(rng, REG_QUEUE_READY, 1);
	reg_write(rng, REG_STATUS, 15);
	for (unsigned i = 0; i < 2; i++) {
		ring.desc[i].address = (uintptr_t)bytes[i];
		ring.desc[i].len = BYTES;
		ring.desc[i].flags = 2; /* the device writes */
		ring.avail_ring[i] = (uint16_t)i;
		barrier();
		ring.avail_idx++;
		barrier();
		reg_write(rng, REG_QUEUE_NOTIFY, 0);
		test(wait_count(&interrupts, i + 1, 20000), "interrupt %u comes", i + 1);
		test_equal(ring.used_idx, i + 1, "used index");
		test_equal(ring.used_ring[i].len, BYTES, "bytes written");
		test_equal(reg_read(rng, REG_INTERRUPT_STATUS), 0, "InterruptStatus after the acknowledgement");
	}
	for (unsigned i = 0; i < BYTES; i++)
		any = any || bytes[0][i] != bytes[1][i];
	test(any, "the bytes differ");
	delay_us(10000);
	test_equal(reg_read(rng, REG_INTERRUPT_STATUS), 0, "nothing more is pending");
	print("microvm: %u interrupts, %u of them with nothing to do\n", interrupts + empty, empty);
	test(empty < 10, "the interrupt goes down with the acknowledgement");
	reg_write(rng, REG_STATUS, 0);
}

void payload_main(void)
{
	test(!acpi_rsdp(), "no ACPI");
	test_mp();
	find_devices();
	test_equal(n_devices, arg_is("cmdline", "off") ? 0 : arg_u64("devices", 0), "transports on the command line");
	for (size_t i = 0; i < n_devices; i++)
		test_device(&devices[i], i);
	if (arg_u64("random", MAX_DEVICES) >= n_devices)
		return;
	rng = &devices[arg_u64("random", 0)];
	if (test_equal(reg_read(rng, REG_DEVICE_ID), ID_RNG, "a random number device"))
		test_random();
}
