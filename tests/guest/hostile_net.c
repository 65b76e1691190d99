/* SPDX-License-Identifier: MIT */
/*
 * A network card with frames, headers, buffers and commands that no driver gives: frames of every length from none to megabytes, headers
 * whose offsets lead outside the frame, buffers too small to receive into, control commands of every kind and length, resets with
 * everything under way. The other end of the wire sends each frame back.
 */
#include "victim.h"

#define F_MAC (UINT64_C(1) << 5)
#define F_MRG_RXBUF (UINT64_C(1) << 15)
#define F_CTRL (UINT64_C(0xbe0000)) /* CTRL_VQ, CTRL_RX, CTRL_VLAN, CTRL_RX_EXTRA, GUEST_ANNOUNCE, CTRL_MAC_ADDR */
#define F_OFFLOADS UINT64_C(0x7f87) /* checksums and segments, both ways, and their control */
#define RX 0
#define TX 1
#define MIB 1048576u
#define LONG_MS 20000

static struct victim *v;
static struct virtq rx, tx, ctrl;
static uint8_t *rings, *big; /* for the three queues; 2 MiB of memory */

static bool setup(struct virtq *q, unsigned index, unsigned nr)
{
	return virtq_setup_at(q, &v->dev, index, virtq_max(&v->dev, index), rings + nr * 32768);
}

static bool begin(uint64_t features)
{
	bool ok = virtio_negotiate(&v->dev, F_MAC | features) && setup(&rx, RX, 0) && setup(&tx, TX, 1);

	if (ok && (v->dev.features & (UINT64_C(1) << 17)))
		ok = setup(&ctrl, 2, 2);
	if (ok)
		virtio_ready(&v->dev);
	return ok;
}

/* One chain on the transmit queue comes back. */
static bool send(const void *data, uint32_t len)
{
	struct buffer b = { data, len };

	return virtio_request(&tx, &b, 1, 0, NULL, LONG_MS);
}

/* ---- transmitting ---- */

static bool lengths(void)
{
	static const uint32_t lens[] = { 0, 1, 9, 10, 11, 12, 13, 23, 24, 25, 26, 27, 64, 1526, 65549, 65560, 65561, 65562, 65563, 65564, 100000 };
	bool ok = begin(F_OFFLOADS);

	memset(big, 0, MIB);
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++)
		ok = ok && send(big, lens[i]);
	return ok && send((void *)(uintptr_t)MIB, 64 * MIB);
}

/* Flags, segment sizes and checksum offsets of all kinds, also where nothing was negotiated. */
static bool headers(void)
{
	bool ok = true;

	for (unsigned round = 0; round < 2; round++) {
		ok = ok && begin(round ? F_OFFLOADS | F_MRG_RXBUF : 0);
		for (unsigned i = 0; i < 300; i++) {
			uint32_t *w = (uint32_t *)v->data;

			for (unsigned n = 0; n < 32; n++)
				w[n] = random32();
			if (i & 1)
				v->data[0] = 1; /* a checksum is to be made, somewhere */
			if (i & 2)
				v->data[1] = (uint8_t)(i / 4 % 6); /* of segments of this kind */
			ok = ok && send(v->data, i & 4 ? 128 : 26 + i % 100);
		}
	}
	return ok;
}

/* Cut up as small as it goes. */
static bool many_buffers(void)
{
	struct buffer b[60];
	bool ok = begin(F_OFFLOADS);

	for (unsigned i = 0; i < ARRAY_SIZE(b); i++)
		b[i] = (struct buffer){ v->data + i, i % 3 };
	ok = ok && virtio_request(&tx, b, ARRAY_SIZE(b), 0, NULL, LONG_MS);
	/* With a part to be written, into which nothing may be. */
	b[0] = (struct buffer){ v->data, 100 };
	b[1] = (struct buffer){ v->data + 4096, 100 };
	memset(v->data + 4096, 0x5a, 100);
	ok = ok && virtio_request(&tx, b, 1, 1, NULL, LONG_MS);
	for (unsigned i = 0; i < 100; i++)
		ok = ok && v->data[4096 + i] == 0x5a;
	return ok;
}

/* ---- receiving ---- */

static bool give(const void *at, uint32_t len, bool writable)
{
	struct buffer b = { at, len };
	int head = virtq_chain(&rx, &b, writable ? 0 : 1, writable ? 1 : 0);

	if (head < 0)
		return false;
	virtq_publish(&rx, (uint16_t)head);
	virtq_ring(&rx);
	return true;
}

/* Sends frames until something is received or the device is broken: the other end sends them back. */
static bool provoke(bool want_broken)
{
	for (unsigned i = 0; i < 1000; i++) {
		if (want_broken ? (virtio_status(&v->dev) & VIRTIO_NEEDS_RESET) != 0 : rx.used->idx != rx.next_used)
			return true;
		if (!want_broken || rx.used->idx == 0)
			send(v->data, 100);
		delay_us(20000);
	}
	return false;
}

static bool bad_buffers(void)
{
	static const uint32_t small[] = { 0, 1, 9 };
	bool ok = true;

	for (size_t i = 0; i < ARRAY_SIZE(small); i++)
		ok = begin(0) && give(big, small[i], true) && provoke(true) && ok;
	return begin(F_MRG_RXBUF) && give(big, 2000, false) && provoke(true) && ok;
}

/* Takes one buffer back. */
static bool take(void)
{
	int head = virtq_wait(&rx, NULL, LONG_MS);

	if (head >= 0)
		virtq_free(&rx, (unsigned)head);
	return head >= 0;
}

static bool full_then_recovery(void)
{
	bool ok = begin(F_MRG_RXBUF);

	memset(v->data, 0, 200);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 4; i++)
			ok = ok && give(big + 2048 * i, 2048, true);
		for (unsigned i = 0; i < 40; i++)
			ok = ok && send(v->data, 100);
		for (unsigned i = 0; i < 4; i++)
			ok = ok && take();
		ok = ok && rx.used->idx == rx.next_used;
	}
	/* What is under way comes, and then a new one. */
	for (unsigned i = 0; ok && i < 16; i++)
		ok = give(big + 2048 * i, 2048, true);
	return ok && provoke(false);
}

#define LONG_FRAME 5000

/* A frame that was received, header and all. Its length, 0 when none came in time. */
static uint32_t receive(uint8_t *frame, unsigned ms)
{
	uint32_t total = 0;

	for (unsigned i = 0, n = 1; i < n; i++) {
		uint32_t len;
		int head = virtq_wait(&rx, &len, ms);

		if (head < 0 || len > 600 || total + len > VICTIM_DATA)
			return 0;
		memcpy(frame + total, (void *)(uintptr_t)rx.desc[head].addr, len);
		total += len;
		if (i == 0)
			n = frame[10] | frame[11] << 8;
	}
	return total;
}

static bool merged(void)
{
	uint8_t *frame = big + MIB;
	uint32_t total = 0;
	bool ok = begin(F_MRG_RXBUF);

	if (!ok || !(v->dev.features & F_MRG_RXBUF))
		return false;
	memset(v->data, 0, 12);
	for (unsigned i = 12; i < LONG_FRAME; i++)
		v->data[i] = (uint8_t)(i * 7);
	for (unsigned i = 0; i < 60; i++)
		ok = ok && give(big + 1024 * i, 600, true);
	/* Short ones from before may be under way, and as long as they are the wire may have no room for it. */
	for (unsigned i = 0; ok && total != LONG_FRAME && i < 20; i++) {
		ok = send(v->data, LONG_FRAME);
		while (total != LONG_FRAME && (total = receive(frame, 1000)))
			;
	}
	return ok && total == LONG_FRAME && !memcmp(frame + 12, v->data + 12, LONG_FRAME - 12);
}

/* ---- the control queue ---- */

static uint8_t command(const void *data, uint32_t len)
{
	volatile uint8_t *answer = v->data + VICTIM_DATA - 64;
	struct buffer b[2] = { { data, len }, { answer, 1 } };

	*answer = 0xaa;
	return virtio_request(&ctrl, b, 1, 1, NULL, LONG_MS) ? *answer : 0xbb;
}

static bool commands(void)
{
	bool ok = begin(F_CTRL | F_OFFLOADS);

	if (!ok || !(v->dev.features & (UINT64_C(1) << 17)))
		return false;
	for (unsigned class = 0; class < 8; class++)
		for (unsigned cmd = 0; cmd < 8; cmd++)
			for (uint32_t len = 1; len < 24; len++) {
				memset(v->data, (uint8_t)(random32() & 1 ? 0xff : 0), 64);
				v->data[0] = (uint8_t)class;
				v->data[1] = (uint8_t)cmd;
				ok = ok && command(v->data, len) <= 1;
			}
	/* 64 MiB of addresses, as many as it says, and more. */
	for (unsigned i = 0; i < 3; i++) {
		static const uint32_t entries[] = { 64 * MIB / 6 - 4, 0xffffffff, 0x2aaaaaab };
		uint8_t head[6] = { 1, 0 };
		volatile uint8_t *answer = v->data + VICTIM_DATA - 64;
		struct buffer b[3] = { { head, sizeof(head) }, { (void *)(uintptr_t)MIB, 64 * MIB }, { answer, 1 } };

		for (unsigned n = 0; n < 4; n++)
			head[2 + n] = (uint8_t)(entries[i] >> (8 * n));
		*answer = 0xaa;
		ok = ok && virtio_request(&ctrl, b, 2, 1, NULL, LONG_MS) && *answer <= 1;
	}
	return ok;
}

static bool command_without_answer(void)
{
	struct buffer b = { v->data, 3 };
	int head;

	if (!begin(F_CTRL))
		return false;
	head = virtq_chain(&ctrl, &b, 1, 0);
	virtq_publish(&ctrl, (uint16_t)head);
	virtq_ring(&ctrl);
	return victim_broken(v, LONG_MS);
}

/* ---- everything ---- */

/* Nothing is written after a reset has returned. */
static bool resets(void)
{
	bool ok = true;

	for (unsigned n = 0; n < 20; n++) {
		ok = begin(F_MRG_RXBUF | F_OFFLOADS) && ok;
		for (unsigned i = 0; i < rx.size / 2; i++)
			give(big + 4096 * i, 4096, true);
		memset(v->data, 0, 100);
		for (unsigned i = 0; i < tx.size; i++) {
			struct buffer b = { v->data, 80 + i % 20 };

			virtq_publish(&tx, (uint16_t)virtq_chain(&tx, &b, 1, 0));
		}
		virtq_ring(&tx);
		virtio_reset(&v->dev);
		memset(big, 0x5a, 4096 * 32);
		delay_us(2000);
		for (unsigned i = 0; i < 4096 * 32; i++)
			ok = ok && big[i] == 0x5a;
	}
	return ok;
}

/* Rings of queues that are not there, or not set up. */
static bool other_queues(void)
{
	bool ok = begin(F_CTRL);

	for (unsigned i = 0; i < 70; i++) {
		struct virtq other = tx;

		other.index = (uint16_t)(i < 66 ? i : 0xffff - i);
		virtq_ring(&other);
	}
	return ok && send(v->data, 100);
}

static const struct {
	const char *name;
	bool (*run)(void);
} attacks[] = {
	{ "frames of every length, to 64 MiB", lengths },
	{ "headers with any flags, sizes and offsets", headers },
	{ "frames in many buffers, and in some to be written", many_buffers },
	{ "buffers that nothing can be received into", bad_buffers },
	{ "a receive queue that is full, and then is not", full_then_recovery },
	{ "a frame in nine buffers", merged },
	{ "commands of every kind and length, to 64 MiB", commands },
	{ "a command without a place for the answer", command_without_answer },
	{ "resets with frames under way", resets },
	{ "queues that are not there", other_queues },
};

static void attack_all(void *arg)
{
	(void)arg;
	victims_start();
	rings = dma_alloc(3 * 32768, 4096);
	big = dma_alloc(2 * MIB, 4096);
	v = victim_of(VIRTIO_NET);
	if (!v)
		test_abort("there is no network card");
	for (int legacy = 0; legacy < 2; legacy++) {
		if (!victim_interface(v, legacy))
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
