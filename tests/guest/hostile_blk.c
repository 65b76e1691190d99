/* SPDX-License-Identifier: MIT */
/*
 * Requests that a disk must refuse, and good ones in bad circumstances: numbers that wrap, ranges without end, buffers at odd addresses,
 * resets under load. The image is the bytes of tests/guest/run's text(), so what is read can be checked; read-only disks are written
 * to, and the runner looks at the file. odd=N is the length of the file of the disk "odd". With how=flood it keeps disks busy until the VMM is told to end.
 */
#include "victim.h"

#define SECTOR 512
#define READ_MS 20000

static struct victim *v;
static uint64_t sectors;
static uint64_t image; /* bytes of the file; the disk has the rest of its last sector as zeroes */

static uint8_t text_at(uint64_t i)
{
	return (uint8_t)(i * 7 + (i >> 8));
}

static bool is_text(const uint8_t *data, uint64_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (data[i] != (from + i < image ? text_at(from + i) : 0))
			return false;
	return true;
}

static bool read_only(void)
{
	return virtio_offered(&v->dev) & BLK_F_RO;
}

static int request(uint32_t type, uint64_t sector, uint32_t len)
{
	return blk_request(&v->vq, type, sector, v->data, len);
}

/* ---- positions and lengths ---- */

static bool positions(void)
{
	const uint64_t bad[] = { sectors, sectors + 1, UINT64_C(1) << 54, UINT64_C(1) << 55, (UINT64_C(1) << 55) - 1, UINT64_MAX, UINT64_MAX / 512,
				 UINT64_C(1) << 63 };
	bool ok = true;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ok = request(BLK_IN, bad[i], SECTOR) == BLK_IOERR && ok;
		ok = request(BLK_OUT, bad[i], SECTOR) == BLK_IOERR && ok;
	}
	ok = request(BLK_IN, sectors - 1, 2 * SECTOR) == BLK_IOERR && ok;
	return request(BLK_OUT, sectors - 1, 2 * SECTOR) == BLK_IOERR && ok;
}

static bool lengths(void)
{
	bool ok = true;

	for (uint32_t len = 1; len < 2048; len += 255)
		if (len % SECTOR)
			ok = request(BLK_IN, 0, len) == BLK_IOERR && request(BLK_OUT, 0, len) == BLK_IOERR && ok;
	return ok;
}

static bool last_sector(void)
{
	return request(BLK_IN, sectors - 1, SECTOR) == BLK_OK && is_text(v->data, (sectors - 1) * SECTOR, SECTOR);
}

/* Much of memory at once: more than the disk has. */
static bool huge(void)
{
	struct buffer b[3] = { { v->data, sizeof(struct blk_header) }, { (void *)0x100000, 0x04000000 }, { v->data + 64, 1 } };

	*(struct blk_header *)v->data = (struct blk_header){ .type = BLK_OUT };
	v->data[64] = 0xff;
	return virtio_request(&v->vq, b, 2, 1, NULL, READ_MS) && v->data[64] == BLK_IOERR;
}

static bool types(void)
{
	static const uint32_t bad[] = { 2, 3, 5, 6, 7, 9, 10, 12, 14, 15, 16, 0x80000000, 0x80000001, 0xffffffff };
	bool ok = true;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ok = request(bad[i], 0, SECTOR) == BLK_UNSUPP && ok;
	return ok;
}

/* Any bytes as a request. Answered or not, it goes on. */
static bool noise(void)
{
	struct buffer b[2] = { { v->data, 48 }, { v->data + 4096, 1024 } };

	for (unsigned i = 0; i < 300; i++) {
		for (unsigned at = 0; at < 48; at += 4)
			*(uint32_t *)(v->data + at) = random32() & (i & 1 ? 0xf : 0xffffffff);
		if (*(uint32_t *)v->data == BLK_OUT)
			*v->data = BLK_IN; /* what is on the disk is checked later */
		if (*(uint32_t *)v->data == BLK_DISCARD || *(uint32_t *)v->data == BLK_WRITE_ZEROES)
			*(uint64_t *)(v->data + 16) = ~UINT64_C(0);
		if (!virtio_request(&v->vq, b, 1, 1, NULL, READ_MS))
			return false;
	}
	return true;
}

/* ---- ranges ---- */

struct range {
	uint64_t sector;
	uint32_t n, flags;
};

static int ranges(uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	*(struct range *)v->data = (struct range){ sector, n, flags };
	return request(type, 0, sizeof(struct range));
}

static bool refuses_ranges(uint32_t type, uint64_t feature)
{
	int want = v->dev.features & feature ? BLK_IOERR : read_only() ? BLK_IOERR : BLK_UNSUPP;
	bool ok = true;

	ok = ranges(type, sectors, 1, 0) == want && ok;
	ok = ranges(type, sectors - 1, 2, 0) == want && ok;
	ok = ranges(type, 0, 0xffffffff, 0) == want && ok;
	ok = ranges(type, UINT64_MAX, 1, 0) == want && ok;
	ok = ranges(type, UINT64_MAX, 0xffffffff, 0) == want && ok;
	ok = ranges(type, UINT64_C(1) << 55, 8, 0) == want && ok;
	ok = ranges(type, 0, 8, 0xfffffffe) > BLK_OK && ok;
	for (uint32_t len = 0; len < 40; len += 7)
		ok = request(type, 0, len) == want && ok;
	return ok;
}

static bool wide_ranges(void)
{
	return refuses_ranges(BLK_DISCARD, BLK_F_DISCARD) && refuses_ranges(BLK_WRITE_ZEROES, BLK_F_WRITE_ZEROES);
}

/* Thousands of ranges in one request, none of which says anything, and then 64 KiB of them that do. */
static bool many_ranges(void)
{
	bool ok = true;

	memset(v->data, 0, VICTIM_DATA);
	ok = request(BLK_DISCARD, 0, VICTIM_DATA) > BLK_OK && ok;
	ok = request(BLK_WRITE_ZEROES, 0, VICTIM_DATA) > BLK_OK && ok;
	for (unsigned i = 0; i < VICTIM_DATA / sizeof(struct range); i++)
		((struct range *)v->data)[i] = (struct range){ 0, 0x7fffffff, 0 };
	return request(BLK_DISCARD, 0, VICTIM_DATA) > BLK_OK && ok;
}

/* ---- buffers ---- */

/* A read into buffers of odd lengths at odd addresses, header and status cut up, too. */
static bool odd_buffers(void)
{
	static struct blk_header h;
	struct buffer b[8] = {
		{ &h, 3 }, { (uint8_t *)&h + 3, 13 }, { v->data + 1, 511 }, { v->data + 4097, 1 }, { v->data + 8191, 1000 }, { v->data + 12289, 24 },
		{ v->data + 20001, 2560 }, { v->data + 30001, 1 },
	};
	uint64_t at = 3 * SECTOR;
	bool ok;

	h = (struct blk_header){ .type = BLK_IN, .sector = 3 };
	memset(v->data, 0, VICTIM_DATA);
	ok = virtio_request(&v->vq, b, 2, 6, NULL, READ_MS) && v->data[30001] == BLK_OK;
	for (unsigned i = 2; i < 7; at += b[i++].len)
		ok = ok && is_text((const uint8_t *)b[i].at, at, b[i].len);
	return ok && v->data[0] == 0 && v->data[512] == 0 && v->data[4096] == 0 && v->data[4098] == 0 && v->data[9191] == 0 && v->data[30002] == 0;
}

/* Every alignment of a sector within a page. */
static bool all_alignments(void)
{
	bool ok = true;

	for (unsigned at = 0; at < 64; at++)
		ok = blk_request(&v->vq, BLK_IN, at, v->data + at * 73, SECTOR) == BLK_OK && is_text(v->data + at * 73, at * SECTOR, SECTOR) && ok;
	return ok;
}

/* ---- resets ---- */

/* Fills the queue with reads. Not waited for. */
static void fill_queue(void)
{
	static struct blk_header h[VICTIM_SIZE * 4];
	unsigned n = v->vq.size / 3 < 64 ? v->vq.size / 3 : 64;

	for (unsigned i = 0; i < n; i++) {
		struct buffer b[3] = { { &h[i], 16 }, { v->data + 512 * i, 512 }, { v->data + 40000 + i, 1 } };
		int head;

		h[i] = (struct blk_header){ .type = i % 16 == 15 ? BLK_FLUSH : BLK_IN, .sector = i };
		head = virtq_chain(&v->vq, b, 1, 2);
		if (head >= 0)
			virtq_add(&v->vq, (uint16_t)head);
	}
	virtq_publish_idx(&v->vq);
	virtq_ring(&v->vq);
}

/* After a reset the buffers are the driver's again (2.4): nothing comes late. */
static bool reset_in_flight(void)
{
	bool ok = true;

	for (unsigned round = 0; round < 20; round++) {
		ok = victim_begin(v, 0) && ok;
		fill_queue();
		delay_us(random32() % 100);
		virtio_reset(&v->dev);
		memset(v->data, 0x5a, VICTIM_DATA);
		delay_us(300);
		for (unsigned i = 0; i < VICTIM_DATA; i++)
			ok = ok && v->data[i] == 0x5a;
		ok = ok && v->vq.used->idx <= v->vq.size;
	}
	return ok;
}

static bool broken_in_flight(void)
{
	bool ok = victim_begin(v, 0);

	fill_queue();
	virtq_publish(&v->vq, 0xffff);
	virtq_ring(&v->vq);
	return victim_broken(v, READ_MS) && ok;
}

/* ---- read-only ---- */

static bool writes_refused(void)
{
	bool ok = true;

	if (!read_only())
		return request(BLK_IN, 8, SECTOR) == BLK_OK && request(BLK_OUT, 8, SECTOR) == BLK_OK;
	memset(v->data, 0xee, 4096);
	for (unsigned at = 0; at < 16; at++)
		ok = request(BLK_OUT, at, SECTOR) == BLK_IOERR && ok;
	ok = ranges(BLK_DISCARD, 0, 8, 0) > BLK_OK && ok;
	ok = ranges(BLK_WRITE_ZEROES, 0, 8, 1) > BLK_OK && ok;
	return request(BLK_FLUSH, 0, 0) == BLK_OK && ok;
}

/* GHSA-jmr4-g2hv-mjj6: a head that would make the file another image to who opens it next; only where the format was probed. */
static bool head_of_format(void)
{
	static const char *const heads[] = { "QFI\xfb\0\0\0\3", "KDMV\1", "# Disk DescriptorFile\nversion=1\n", "vhdxfile" };
	bool probed = v == victim_disk("probed"), ok = true;

	if (!probed && v != victim_disk("raw"))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		memset(v->data, 0, 4096);
		memcpy(v->data, heads[i], i ? strlen(heads[i]) : 8);
		ok = request(BLK_OUT, 0, i & 1 ? SECTOR : 4096) == (probed ? BLK_IOERR : BLK_OK) && ok;
		if (probed)
			ok = request(BLK_IN, 0, 4096) == BLK_OK && is_text(v->data, 0, 4096) && ok;
	}
	for (unsigned i = 0; i < 4096; i++)
		v->data[i] = text_at(i);
	return request(BLK_OUT, 0, 4096) == BLK_OK && ok;
}

static const struct {
	const char *name;
	bool (*run)(void);
} attacks[] = {
	{ "positions past the end and past 64 bits", positions },
	{ "lengths that are not of sectors", lengths },
	{ "the last sector", last_sector },
	{ "more data than the disk has", huge },
	{ "types that there are not", types },
	{ "noise for requests", noise },
	{ "ranges past the end and past 64 bits", wide_ranges },
	{ "thousands of ranges", many_ranges },
	{ "buffers of odd lengths at odd addresses", odd_buffers },
	{ "a sector at every alignment", all_alignments },
	{ "resets with requests in flight", reset_in_flight },
	{ "a queue broken with requests in flight", broken_in_flight },
	{ "writes, and to a read-only disk", writes_refused },
	{ "heads of image formats", head_of_format },
};

static void attack_all(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < n_victims; i++)
		for (int legacy = 0; legacy < 2; legacy++) {
			v = &victims[i];
			if (v->dev.type != VIRTIO_BLK || !victim_interface(v, legacy))
				continue;
			sectors = virtio_config(&v->dev, BLK_CONFIG_CAPACITY, 8);
			image = v == victim_disk("odd") ? arg_u64("odd", 0) : sectors * SECTOR;
			for (size_t n = 0; n < ARRAY_SIZE(attacks); n++) {
				victim_begin(v, BLK_F_DISCARD | BLK_F_WRITE_ZEROES | BLK_F_FLUSH);
				victim_after(v, attacks[n].run(), attacks[n].name);
			}
		}
}

/* Requests without end on all disks, for a VMM that is to end under them. */
static void flood(void *arg)
{
	(void)arg;
	print("hostile: flooding\n");
	for (;;)
		for (size_t i = 0; i < n_victims; i++) {
			v = &victims[i];
			if (v->dev.type != VIRTIO_BLK)
				continue;
			fill_queue();
			while (virtq_poll(&v->vq, NULL) >= 0)
				;
			if (random32() % 4 == 0)
				victim_begin(v, 0);
		}
}

static void start(void *arg)
{
	(void)arg;
	victims_start();
}

void payload_main(void)
{
	tsc_khz();
	user_call(start, NULL);
	user_call(arg_is("how", "flood") ? flood : attack_all, NULL);
}
