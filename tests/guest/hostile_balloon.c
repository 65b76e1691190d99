/* SPDX-License-Identifier: MIT */
/*
 * A balloon that is given what no driver would: pages that are no memory, numbers without end, its own rings, ranges of everything. Memory
 * that was not given away stays as it is; what was, reads as zeroes.
 */
#include "victim.h"

#define F_STATS (UINT64_C(1) << 1)
#define F_POISON (UINT64_C(1) << 4)
#define F_REPORTING (UINT64_C(1) << 5)
#define FEATURES (F_STATS | F_POISON | F_REPORTING)
#define STATS_QUEUE 2
#define REPORT_QUEUE 3
#define MIB 1048576u
#define ROOM (32 * MIB)
#define LONG_MS 20000

static struct victim *v;
static struct virtq stats, reports;
static uint8_t *rings, *room;

static bool begin(void)
{
	if (!virtio_negotiate(&v->dev, FEATURES) || (v->dev.features & FEATURES) != FEATURES)
		return false;
	if (!virtq_setup_at(&v->vq, &v->dev, 0, virtq_max(&v->dev, 0), v->rings) ||
	    !virtq_setup_at(&stats, &v->dev, STATS_QUEUE, virtq_max(&v->dev, STATS_QUEUE), rings) ||
	    !virtq_setup_at(&reports, &v->dev, REPORT_QUEUE, virtq_max(&v->dev, REPORT_QUEUE), rings + 16384))
		return false;
	virtio_ready(&v->dev);
	return true;
}

static bool inflate(const volatile void *numbers, uint32_t len)
{
	struct buffer b = { numbers, len };

	return virtio_request(&v->vq, &b, 1, 0, NULL, LONG_MS);
}

static bool zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

static bool no_memory(void)
{
	static const uint32_t pages[] = {
		0xa0, 0xbf, 0xc0000, 0xe0000, 0xfeb00, 0xfec00, 0xfee00, 0xfffff, 0x80000000, 0xffffffff, 0x7fffffff, 0x100000,
	};
	bool ok = begin();

	memset(room, 0x5a, 65536);
	return ok && inflate(pages, sizeof(pages)) && room[0] == 0x5a && room[65535] == 0x5a;
}

static bool lengths(void)
{
	bool ok = begin();

	memset(v->data, 0xff, 4096);
	for (uint32_t len = 0; len < 20; len++)
		ok = ok && (len == 0 || inflate(v->data, len));
	return ok;
}

/* The same page, millions of times: from memory that is all the same number. */
static bool endless(void)
{
	uint32_t page = (uint32_t)((uintptr_t)(room + ROOM - 4096) >> 12), *numbers = (uint32_t *)room;
	bool ok = begin();

	for (size_t i = 0; i < 4 * MIB / 4; i++)
		numbers[i] = page;
	ok = ok && inflate(numbers, 4 * MIB) && numbers[0] == page && numbers[MIB - 1] == page;
	memset(room, 0, 4 * MIB);
	return ok;
}

static bool given(void)
{
	uint32_t *numbers = (uint32_t *)v->data, first = (uint32_t)((uintptr_t)room >> 12);
	bool ok = begin();

	memset(room, 0x5a, MIB);
	for (unsigned i = 0; i < 64; i++)
		numbers[i] = first + 2 * (63 - i);
	ok = ok && inflate(numbers, 256);
	for (unsigned i = 0; i < 128; i++)
		ok = ok && room[4096 * i] == (i & 1 ? 0x5a : 0) && room[4096 * i + 4095] == (i & 1 ? 0x5a : 0);
	return ok;
}

/* What stands in the rings is gone: whatever the device makes of that, it takes a reset. */
static bool own_rings(void)
{
	uint32_t *numbers = (uint32_t *)v->data;
	struct buffer b = { numbers, 32 };
	bool ok = begin();
	int head;

	for (unsigned i = 0; i < 8; i++)
		numbers[i] = (uint32_t)((uintptr_t)v->rings >> 12) + i;
	head = virtq_chain(&v->vq, &b, 1, 0);
	virtq_publish(&v->vq, (uint16_t)head);
	for (unsigned i = 0; i < 10; i++) {
		virtq_ring(&v->vq);
		delay_us(500);
	}
	return ok;
}

static bool reported(void)
{
	struct buffer b = { room, ROOM };
	bool ok = begin();

	for (size_t i = 0; i < ROOM; i += 4096)
		room[i + 1] = 0x5a;
	ok = ok && virtio_request(&reports, &b, 0, 1, NULL, LONG_MS);
	for (size_t i = 0; i < ROOM; i += 4096)
		ok = ok && room[i + 1] == 0;
	return ok;
}

/* Parts of pages stay. */
static bool reported_parts(void)
{
	struct buffer b[2] = { { room + 100, 4096 }, { room + 8192 + 4095, 4098 } };
	bool ok = begin();

	memset(room, 0x5a, 32768);
	ok = ok && virtio_request(&reports, b, 0, 2, NULL, LONG_MS);
	return ok && room[100] == 0x5a && room[4195] == 0x5a && room[8192] == 0x5a && zero(room + 12288, 4096) && room[16384] == 0x5a;
}

static bool statistics(void)
{
	bool ok = begin();

	for (unsigned i = 0; i < 200; i++) {
		struct buffer b = { room, random32() % 65536 };
		int head;

		for (unsigned n = 0; n < 16; n++)
			((uint32_t *)room)[n] = random32();
		if (!b.len || !stats.n_free)
			continue;
		head = virtq_chain(&stats, &b, i & 1, !(i & 1));
		if (head >= 0)
			virtq_publish(&stats, (uint16_t)head);
		virtq_ring(&stats);
	}
	delay_us(1000);
	memset(room, 0, 65536);
	return ok;
}

static bool resets(void)
{
	struct buffer b = { room, ROOM };
	bool ok = true;

	for (unsigned n = 0; n < 20; n++) {
		ok = begin() && ok;
		for (unsigned i = 0; i < 8; i++)
			virtq_publish(&reports, (uint16_t)virtq_chain(&reports, &b, 0, 1));
		virtq_ring(&reports);
		virtio_reset(&v->dev);
		memset(room, 0x5a, 65536);
		delay_us(200);
		ok = ok && room[0] == 0x5a && room[65535] == 0x5a;
	}
	memset(room, 0, 65536);
	return ok;
}

static bool configuration(void)
{
	uint32_t asked;

	if (!begin() || v->dev.kind != VIRTIO_MODERN)
		return v->dev.kind != VIRTIO_MODERN;
	asked = (uint32_t)virtio_config(&v->dev, 0, 4);
	for (unsigned i = 0; i < 1000; i++) {
		uint32_t r = random32();

		write32(v->dev.config + (r & 12), random32());
		write8(v->dev.config + (r >> 4 & 15), (uint8_t)(r >> 8));
	}
	return virtio_config(&v->dev, 0, 4) == asked;
}

static const struct {
	const char *name;
	bool (*run)(void);
} attacks[] = {
	{ "pages that are no memory", no_memory },
	{ "lists of every length", lengths },
	{ "a million numbers in one request", endless },
	{ "every second page", given },
	{ "its own rings", own_rings },
	{ "a report of 32 MiB", reported },
	{ "reports of parts of pages", reported_parts },
	{ "statistics that mean nothing", statistics },
	{ "resets with reports in flight", resets },
	{ "the configuration written at random", configuration },
};

static void attack_all(void *arg)
{
	(void)arg;
	victims_start();
	rings = dma_alloc(32768, 4096);
	room = dma_alloc(ROOM, 4096);
	for (size_t i = 0; i < n_victims; i++)
		for (int legacy = 0; legacy < 2; legacy++) {
			v = &victims[i];
			if (v->dev.type != VIRTIO_BALLOON || !victim_interface(v, legacy))
				continue;
			for (size_t n = 0; n < ARRAY_SIZE(attacks); n++)
				victim_after(v, attacks[n].run(), attacks[n].name);
		}
}

void payload_main(void)
{
	tsc_khz();
	user_call(attack_all, NULL);
}
