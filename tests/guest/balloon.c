/* SPDX-License-Identifier: MIT */
/* Memory goes back to the host: SIZE is touched, and given away with reports or by the balloon (how=). The runner looks at each line. */
#include "virtio.h"

#define MIB 1048576u
#define SIZE (64 * MIB)
#define F_STATS (UINT64_C(1) << 1)
#define F_REPORTING (UINT64_C(1) << 5)
#define LOOK_MS 20000 /* for the runner, who types a byte */
#define WAIT_MS 20000

static uint8_t *room;
static uint32_t numbers[1024];

static void touch(void)
{
	for (size_t i = 0; i < SIZE; i += 4096)
		room[i] = 1;
}

static bool report(struct virtio *dev)
{
	struct buffer b = { room, SIZE };
	struct virtq vq;

	if (!virtq_setup(&vq, dev, dev->features & F_STATS ? 3 : 2, 0))
		return false;
	virtio_ready(dev);
	return virtio_request(&vq, &b, 0, 1, NULL, WAIT_MS);
}

static bool inflate(struct virtio *dev)
{
	struct buffer b = { numbers, sizeof(numbers) };
	struct virtq vq;
	bool ok = virtq_setup(&vq, dev, 0, 0);

	virtio_ready(dev);
	for (size_t page = 0; ok && page < SIZE / 4096; page += ARRAY_SIZE(numbers)) {
		for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
			numbers[i] = (uint32_t)(((uintptr_t)room >> 12) + page + i);
		ok = virtio_request(&vq, &b, 1, 0, NULL, WAIT_MS);
	}
	return ok;
}

static void wait_for_runner(void)
{
	uint64_t end = rdtsc() + tsc_khz() * LOOK_MS;

	while (!(inb(COM1 + 5) & 1))
		if (rdtsc() > end)
			test_abort("nobody says that the host's memory was looked at");
	inb(COM1);
}

static void run(void *arg)
{
	static struct virtio dev;
	bool by_reports = arg_is("how", "report"), ok;

	(void)arg;
	room = dma_alloc(SIZE, 2 * MIB);
	test(virtio_find(&dev, 1) == 1 && dev.type == VIRTIO_BALLOON, "a balloon");
	if (!virtio_negotiate(&dev, by_reports ? F_STATS | F_REPORTING : F_STATS))
		test(false, "it takes its features");
	touch();
	print("balloon: touched\n");
	wait_for_runner();
	test(by_reports ? report(&dev) : inflate(&dev), "it answers");
	print("balloon: given\n");
	wait_for_runner();
	ok = true;
	for (size_t i = 0; i < SIZE; i += 4096)
		ok = ok && room[i] == 0;
	test(ok, "what was given away reads as zeroes");
	touch();
	ok = true;
	for (size_t i = 0; i < SIZE; i += 4096)
		ok = ok && room[i] == 1;
	test(ok, "and is memory again");
}

void payload_main(void)
{
	tsc_khz();
	user_call(run, NULL);
}
