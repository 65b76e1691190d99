/* SPDX-License-Identifier: MIT */
/*
 * PCI's level interrupts: two virtio-rng without MSI-X in slots 4 and 8, which share a line, driven by their legacy registers
 * (Virtio 1.2, 4.1.4.10). What a wire would do, and that a line which somebody still drives comes again after each EOI.
 */
#include "rt.h"

#define PATIENCE_MS 20000
#define LOOK_MS 30
#define DEVICES 2
#define GSI 16 /* (4 + pin A) mod 4, from 16 on */
#define VECTOR (VEC_IOAPIC + GSI)
#define COMMAND 0x04
#define COMMAND_INTX_DISABLE 0x400
#define QUEUE_MAX 1024
#define PAGE 4096
#define DATA_BYTES 16

#define REG_PFN 8
#define REG_QUEUE_SIZE 12
#define REG_QUEUE_SELECT 14
#define REG_NOTIFY 16
#define REG_STATUS 18
#define REG_ISR 19

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};
#define DESC_WRITE 2

static const unsigned slots[DEVICES] = { 4, 8 };

static struct rng {
	uint16_t io, size, sent;
	volatile uint16_t *avail, *used; /* flags, index, ... */
	struct desc *desc;
	uint8_t data[DATA_BYTES];
	uint8_t ring[QUEUE_MAX * 16 + 2 * PAGE + QUEUE_MAX * 10] __attribute__((aligned(PAGE)));
} rngs[DEVICES];

static volatile uint32_t interrupts, served[DEVICES], unclaimed;
static volatile bool serve[DEVICES];

static uint32_t config_read(unsigned slot, unsigned reg)
{
	outl(0xcf8, 0x80000000 | slot << 11 | reg);
	return inl(0xcfc);
}

static void config_write16(unsigned slot, unsigned reg, uint16_t v)
{
	outl(0xcf8, 0x80000000 | slot << 11 | reg);
	outw(0xcfc, v);
}

/* Reading takes the interrupt away. */
static bool claim(unsigned i)
{
	return inb(rngs[i].io + REG_ISR) & 1;
}

static void on_interrupt(struct trap_frame *frame)
{
	bool any = false, all = true;

	(void)frame;
	interrupts++;
	for (unsigned i = 0; i < DEVICES; i++) {
		all &= serve[i];
		if (serve[i] && claim(i)) {
			served[i]++;
			any = true;
		}
	}
	if (all && !any)
		unclaimed++;
	lapic_eoi();
}

static void serve_only(bool first, bool second)
{
	serve[0] = first;
	serve[1] = second;
	barrier();
}

static void start(unsigned i)
{
	struct rng *r = &rngs[i];
	unsigned avail;

	r->io = config_read(slots[i], 0x10) & 0xfffc;
	if (!r->io || config_read(slots[i], 0) != 0x10051af4)
		test_abort("there is no transitional virtio-rng in slot %u", slots[i]);
	outb(r->io + REG_STATUS, 0);
	outb(r->io + REG_STATUS, 3);
	outw(r->io + REG_QUEUE_SELECT, 0);
	r->size = inw(r->io + REG_QUEUE_SIZE);
	if (!r->size || r->size > QUEUE_MAX)
		test_abort("a queue of %u entries", r->size);
	avail = r->size * 16u;
	r->desc = (struct desc *)r->ring;
	r->avail = (volatile uint16_t *)(r->ring + avail);
	r->used = (volatile uint16_t *)(r->ring + ((avail + 6 + 2u * r->size + PAGE - 1) & ~(PAGE - 1u)));
	outl(r->io + REG_PFN, (uint32_t)((uintptr_t)r->ring / PAGE));
	outb(r->io + REG_STATUS, 7);
	r->desc[0] = (struct desc){ .addr = (uintptr_t)r->data, .len = DATA_BYTES, .flags = DESC_WRITE };
}

static void ask(unsigned i)
{
	struct rng *r = &rngs[i];

	r->avail[2 + r->sent % r->size] = 0;
	barrier();
	r->avail[1] = ++r->sent;
	barrier();
	outw(r->io + REG_NOTIFY, 0);
}

/* Its answer is there, whether or not an interrupt says so. */
static bool answered(unsigned i)
{
	for (unsigned ms = 0; ms < PATIENCE_MS; ms++) {
		if (rngs[i].used[1] == rngs[i].sent)
			return true;
		delay_us(1000);
	}
	return false;
}

/* Interrupts on for a while: how many came. */
static uint32_t look(void)
{
	uint32_t before = interrupts;

	wait_count(&interrupts, before + 0x7fffffff, LOOK_MS);
	return interrupts - before;
}

/*
 * No more of them come. Where kernels are interpreted, KVM may deliver one of a line twice, with KVM_IRQ_LINE too, and a busy host lowers a line
 * late; a line that stays up does not give in for seconds.
 */
static uint32_t restless(void)
{
	uint32_t n = look();

	for (unsigned try = 0; n && try < 200; try++)
		n = look();
	return n;
}

static void test_one(void)
{
	serve_only(true, true);
	ask(0);
	test(wait_count(&served[0], 1, PATIENCE_MS) && answered(0), "an interrupt");
	test_equal(restless(), 0, "further ones, once it was claimed");
}

static void test_shared(void)
{
	uint32_t before;

	serve_only(true, false);
	ask(0);
	ask(1);
	test(answered(0) && answered(1), "two answers with interrupts off");
	test(wait_count(&served[0], 2, PATIENCE_MS), "one device is served");
	before = interrupts;
	test(wait_count(&interrupts, before + 1, PATIENCE_MS), "the line comes again for the other one");
	serve_only(true, true);
	test(wait_count(&served[1], 1, PATIENCE_MS), "which is served then");
	test_equal(restless(), 0, "interrupts after that");
}

static void test_unserved(void)
{
	uint32_t before = interrupts;

	serve_only(false, false);
	ask(1);
	test(wait_count(&interrupts, before + 5, PATIENCE_MS), "an interrupt that nobody serves comes again and again");
	serve_only(true, true);
	test(wait_count(&served[1], 2, PATIENCE_MS), "until somebody does");
	test_equal(restless(), 0, "interrupts after that");
}

/* Taken away before it was delivered: at most one comes that nobody claims. */
static void test_polled(void)
{
	uint32_t before = unclaimed;

	serve_only(true, true);
	ask(0);
	test(answered(0) && claim(0), "served with interrupts off");
	look();
	test(unclaimed - before <= 1, "%u interrupts that nobody claims", unclaimed - before);
	test_equal(restless(), 0, "interrupts after that");
}

static void test_disabled(void)
{
	uint32_t command = config_read(slots[0], COMMAND) & 0xffff, have = served[0];

	config_write16(slots[0], COMMAND, (uint16_t)(command | COMMAND_INTX_DISABLE));
	ask(0);
	test(answered(0) && look() == 0, "no interrupt while INTx is disabled");
	test(config_read(slots[0], COMMAND) & 0x80000, "the status register shows it");
	config_write16(slots[0], COMMAND, (uint16_t)command);
	test(wait_count(&served[0], have + 1, PATIENCE_MS), "it comes when INTx is enabled");
}

static void test_many(void)
{
	uint32_t have[DEVICES] = { served[0], served[1] };
	unsigned rounds = (unsigned)arg_u64("rounds", 200);
	bool all = true;

	for (unsigned n = 1; n <= rounds && all; n++) {
		ask(0);
		if (n % 3)
			ask(1);
		all = answered(0) && answered(1) && wait_count(&served[0], have[0] + n, PATIENCE_MS) &&
		      wait_count(&served[1], have[1] + n - n / 3, PATIENCE_MS);
	}
	test(all, "%u rounds without a lost interrupt", rounds);
	print("intx: %u interrupts, %u of them unclaimed\n", interrupts, unclaimed);
}

void payload_main(void)
{
	trap_set(VECTOR, on_interrupt);
	for (unsigned i = 0; i < DEVICES; i++)
		start(i);
	ioapic_route(GSI, VECTOR, true, true, lapic_id());
	test_one();
	test_shared();
	test_unserved();
	test_polled();
	test_disabled();
	test_many();
}
