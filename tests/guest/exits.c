/* SPDX-License-Identifier: MIT */
/*
 * What it costs a guest to leave KVM and come back, for tests/bench: in ring 3, where loops run at full speed also on hosts that interpret
 * guest kernels. Prints a line `exits: KIND COUNT CYCLES` for each of `batches=N` turns of every kind, kinds in turn:
 *
 *   in, out        4 bytes of pc-testdev's register at port 0xe0
 *   read, write    4 bytes of its memory at 0xff000000
 *   bell           a doorbell with nothing new behind it (ioeventfd)
 *   used           a request of one byte to virtio-rng, until it stands in the used ring, which is polled
 *   msi            the same, until its MSI has been taken
 *
 * `count=N` times each, of which `used` and `msi` a hundredth. With `floor=yes` doorbell, answer and MSI are those of tests/bench/floor.c,
 * which has no virtio: a byte for the address of a counter, one for a vector.
 */
#include "virtio.h"

#define ECHO_PORT 0xe0
#define TEST_MEMORY 0xff000000
#define VECTOR 0x70
#define MAX_DEVICES 8
#define FLOOR_BELL 0xfeb00050
#define FLOOR_ANSWER_PORT 0x510 /* where the counter of answers is */
#define FLOOR_VECTOR_PORT 0x514

static struct virtio rng;
static struct virtq queue;
static int head;
static volatile uint32_t answers, interrupts;
static volatile uint8_t data[64];
static bool is_floor;

struct batch {
	uint32_t count;
	uint64_t cycles;
};

static void on_msi(struct trap_frame *frame)
{
	(void)frame;
	interrupts++;
	lapic_eoi();
}

static void do_in(void *arg)
{
	struct batch *b = arg;

	for (uint32_t i = 0; i < b->count; i++)
		inl(ECHO_PORT);
}

static void do_out(void *arg)
{
	struct batch *b = arg;

	for (uint32_t i = 0; i < b->count; i++)
		outl(ECHO_PORT, i);
}

static void do_read(void *arg)
{
	struct batch *b = arg;

	for (uint32_t i = 0; i < b->count; i++)
		read32(TEST_MEMORY);
}

static void do_write(void *arg)
{
	struct batch *b = arg;

	for (uint32_t i = 0; i < b->count; i++)
		write32(TEST_MEMORY, i);
}

static void ring(void)
{
	if (is_floor)
		write32(FLOOR_BELL, 0);
	else
		virtq_ring(&queue);
}

static void do_bell(void *arg)
{
	struct batch *b = arg;

	for (uint32_t i = 0; i < b->count; i++)
		ring();
}

/* A request, and its answer as the used ring shows it. */
static void request(void)
{
	uint32_t before = answers;

	if (is_floor) {
		ring();
		while (answers == before)
			cpu_relax();
		return;
	}
	virtq_publish(&queue, (uint16_t)head);
	ring();
	while (virtq_poll(&queue, NULL) < 0)
		cpu_relax();
}

static void do_used(void *arg)
{
	struct batch *b = arg;

	for (uint32_t i = 0; i < b->count; i++)
		request();
}

static void do_msi(void *arg)
{
	struct batch *b = arg;

	for (uint32_t i = 0; i < b->count; i++) {
		uint32_t before = interrupts;

		request();
		while (interrupts == before)
			cpu_relax();
	}
}

/* In ring 3: looking for devices takes many instructions. */
static void open_rng(void *arg)
{
	struct virtio devs[MAX_DEVICES];
	struct buffer b = { data, 1 };
	size_t n = virtio_find(devs, MAX_DEVICES), i = 0;

	(void)arg;
	while (i < n && devs[i].type != VIRTIO_RNG)
		i++;
	if (i == n)
		test_abort("exits: there is no virtio-rng");
	rng = devs[i];
	if (!virtio_negotiate(&rng, 0) || !virtio_msix_on(&rng))
		test_abort("exits: virtio-rng has no MSI-X");
	virtio_msix_vector(&rng, 0, VECTOR, 0);
	if (virtio_set_vector(&rng, 0, 0) != 0 || !virtq_setup(&queue, &rng, 0, 0))
		test_abort("exits: virtio-rng cannot be set up");
	virtio_ready(&rng);
	head = virtq_chain(&queue, &b, 0, 1);
}

static void open_floor(void)
{
	outl(FLOOR_ANSWER_PORT, (uint32_t)(uintptr_t)&answers);
}

/* MSIs on or off. */
static void want_msi(bool on)
{
	if (is_floor)
		outl(FLOOR_VECTOR_PORT, on ? VECTOR : 0);
	else
		virtq_interrupts(&queue, on);
}

static const struct {
	const char *name;
	void (*run)(void *arg);
	uint32_t divisor;
} kinds[] = {
	{ "in", do_in, 1 }, { "out", do_out, 1 }, { "read", do_read, 1 }, { "write", do_write, 1 }, { "bell", do_bell, 1 },
	{ "used", do_used, 100 }, { "msi", do_msi, 100 },
};

static void run(unsigned kind, uint32_t count)
{
	struct batch b = { .count = count / kinds[kind].divisor };
	bool msi = kinds[kind].run == do_msi;
	uint64_t start;

	want_msi(msi);
	if (msi)
		irq_enable();
	start = rdtsc();
	user_call(kinds[kind].run, &b);
	b.cycles = rdtsc() - start;
	irq_disable();
	print("exits: %s %u %lu\n", kinds[kind].name, b.count, b.cycles);
}

void payload_main(void)
{
	uint32_t count = (uint32_t)arg_u64("count", 1000);

	is_floor = arg_is("floor", "yes");
	lapic_init();
	trap_set(VECTOR, on_msi);
	if (is_floor)
		open_floor();
	else
		user_call(open_rng, NULL);
	for (uint64_t n = arg_u64("batches", 1); n > 0; n--)
		for (unsigned kind = 0; kind < ARRAY_SIZE(kinds); kind++)
			run(kind, count);
	test(interrupts > 0, "MSIs were taken");
}
