/* SPDX-License-Identifier: MIT */
/*
 * Every virtio device at proper work, while a call of Kite's to its host fails (tests/guest/faults): a request may fail, a device may want a
 * reset, but not twice, and what is read is right. Then the machine is reset, and the same again, boots=N times in all.
 */
#include "victim.h"

#define RECORD 0x1800000 /* 24 MiB: no loader puts anything there, and no buffer of ours is so high */
#define MAGIC UINT64_C(0x6b697465776f726b)
#define ROUNDS 5
#define TRIES 3
#define BYTES 16384

static struct {
	uint64_t magic, boots;
} *const record = (void *)RECORD;

/* The disk's file as tests/guest/run makes it. */
static uint8_t byte_of(uint32_t i)
{
	return (uint8_t)(i * 7 + (i >> 8));
}

static bool right(const uint8_t *data, uint32_t from)
{
	for (uint32_t i = 0; i < BYTES; i++)
		if (data[i] != byte_of(from + i))
			return false;
	return true;
}

/* Reads, writes the same back, flushes. A flush that failed once fails for ever, as the data may be lost: it has to be said, no more. */
static bool disk_round(struct victim *v, unsigned round)
{
	uint64_t sector = round * 37 % 1000;
	int status = blk_request(&v->vq, BLK_IN, sector, v->data, BYTES);

	if (status == BLK_OK && !right(v->data, (uint32_t)sector * 512))
		test_abort("%s: read what is not there", v->name);
	if (status == BLK_OK && !(virtio_offered(&v->dev) & BLK_F_RO))
		status = blk_request(&v->vq, BLK_OUT, sector, v->data, BYTES);
	return status == BLK_OK && blk_request(&v->vq, BLK_FLUSH, 0, NULL, 0) >= 0;
}

static bool round_of(struct victim *v, unsigned round)
{
	return v->dev.type == VIRTIO_BLK ? disk_round(v, round) : victim_request(v);
}

/* Whether it worked, at once or after a reset of the device. */
static bool works(struct victim *v, unsigned round)
{
	for (unsigned i = 0; i < TRIES; i++) {
		if (virtio_status(&v->dev) & VIRTIO_NEEDS_RESET || i > 1)
			victim_begin(v, BLK_F_FLUSH);
		if (round_of(v, round))
			return true;
	}
	return false;
}

static void work(void *arg)
{
	(void)arg;
	victims_start();
	for (size_t i = 0; i < n_victims; i++) {
		bool ok = true;

		victim_begin(&victims[i], BLK_F_FLUSH);
		for (unsigned round = 0; round < ROUNDS && ok; round++)
			ok = works(&victims[i], round);
		test(ok, "%s: works", victims[i].name);
	}
}

void payload_main(void)
{
	tsc_khz();
	if (record->magic != MAGIC) {
		record->magic = MAGIC;
		record->boots = 0;
	}
	record->boots++;
	user_call(work, NULL);
	if (test_failures() || record->boots >= arg_u64("boots", 1))
		return;
	print("work: boot %lu\n", record->boots);
	outb(0xcf9, 6);
	halt_forever();
}
