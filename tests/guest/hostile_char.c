/* SPDX-License-Identifier: MIT */
/*
 * Consoles and random numbers with sizes and messages that nobody needs: control messages of every length, kind and port, answers
 * wanted and never read, megabytes in one request. Nothing may grow for it; the runner looks.
 */
#include "victim.h"

#define F_MULTIPORT (UINT64_C(1) << 1)
#define CTRL_RX 2
#define CTRL_TX 3
#define MIB 1048576u
#define LONG_MS 20000

struct message {
	uint32_t id;
	uint16_t event, value;
};

static struct victim *v;
static struct virtq rx, tx; /* the control queues */
static uint8_t *rings;      /* theirs */

/* The console with its control queues. */
static bool begin(bool with_rx)
{
	unsigned size;

	if (!virtio_negotiate(&v->dev, F_MULTIPORT) || !(v->dev.features & F_MULTIPORT))
		return false;
	if (!virtq_setup_at(&v->vq, &v->dev, v->queue, virtq_max(&v->dev, v->queue), v->rings))
		return false;
	size = virtq_max(&v->dev, CTRL_TX);
	if (!virtq_setup_at(&tx, &v->dev, CTRL_TX, size, rings))
		return false;
	if (with_rx && !virtq_setup_at(&rx, &v->dev, CTRL_RX, size, rings + 16384))
		return false;
	virtio_ready(&v->dev);
	return true;
}

static bool say(const void *message, uint32_t len)
{
	struct buffer b = { message, len };

	return virtio_request(&tx, &b, 1, 0, NULL, LONG_MS);
}

static bool lengths(void)
{
	bool ok = begin(false);

	memset(v->data, 0, VICTIM_DATA);
	for (uint32_t len = 1; len < 20; len++)
		ok = ok && say(v->data, len);
	return ok && say(v->data, VICTIM_DATA) && say((void *)MIB, 64 * MIB);
}

static bool kinds(void)
{
	static const uint32_t ids[] = { 0, 1, 2, 30, 31, 32, 63, 64, 0x7fffffff, 0x80000000, 0xffffffff };
	bool ok = begin(false);

	for (unsigned event = 0; event < 12; event++)
		for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
			struct message m = { ids[i], (uint16_t)(event < 11 ? event : 0xffff), (uint16_t)(i & 1 ? 1 : 0xffff) };

			ok = ok && say(&m, sizeof(m));
		}
	return ok && victim_request(v);
}

/* Asks for everything, over and over, and gives no buffer for the answers. */
static bool unread(void)
{
	const struct message ready = { 0xffffffff, 0, 1 };
	bool ok = begin(true);

	for (unsigned i = 0; i < 500; i++) {
		const struct message port = { i % 3, 3, (uint16_t)(i & 1) }, open = { i % 3, 6, (uint16_t)(i & 1) };

		ok = ok && say(&ready, sizeof(ready)) && say(&port, sizeof(port)) && say(&open, sizeof(open));
	}
	return ok && rx.used->idx == 0 && victim_request(v);
}

/* Buffers of one byte, of none to write, and of a name too long for them. Any answer or none. */
static bool small_answers(void)
{
	const struct message ready = { 0xffffffff, 0, 1 }, port = { 1, 3, 1 };
	bool ok = begin(true);

	for (unsigned i = 0; i < rx.size; i++) {
		struct buffer b = { v->data + 64 * i, i % 16 };
		int head = virtq_chain(&rx, &b, i & 1, !(i & 1));

		if (head >= 0)
			virtq_publish(&rx, (uint16_t)head);
	}
	memset(v->data, 0x5a, VICTIM_DATA);
	virtq_ring(&rx);
	ok = ok && say(&ready, sizeof(ready)) && say(&port, sizeof(port));
	delay_us(2000);
	for (unsigned i = 0; i < rx.size; i++)
		for (unsigned n = i & 1 ? 0 : i % 16; n < 64; n++)
			ok = ok && v->data[64 * i + n] == 0x5a;
	return ok;
}

/* All queues of a port number that has no port, and of the second. */
static bool every_queue(void)
{
	struct buffer b = { v->data, 512 };
	struct virtq q;
	bool ok = true;

	for (unsigned n = 0; n < virtio_queues(&v->dev); n++) {
		int head;

		ok = virtio_negotiate(&v->dev, F_MULTIPORT) && virtq_setup_at(&q, &v->dev, n, virtq_max(&v->dev, n), v->rings) && ok;
		virtio_ready(&v->dev);
		for (unsigned i = 0; i < 8; i++) {
			head = virtq_chain(&q, &b, i & 1, 1);
			if (head >= 0)
				virtq_publish(&q, (uint16_t)head);
		}
		virtq_ring(&q);
		delay_us(100);
	}
	return ok;
}

/* Megabytes of output in a request, by way of many buffers. */
static bool long_output(void)
{
	struct buffer b[32];
	bool ok = victim_begin(v, 0);

	for (unsigned i = 0; i < ARRAY_SIZE(b); i++)
		b[i] = (struct buffer){ (void *)(uintptr_t)MIB, 2 * MIB };
	return ok && virtio_request(&v->vq, b, ARRAY_SIZE(b), 0, NULL, LONG_MS);
}

static const struct {
	const char *name;
	bool (*run)(void);
} console[] = {
	{ "control messages of every length, to 64 MiB", lengths },
	{ "control messages of every kind, for every port", kinds },
	{ "questions without end, and no buffers for the answers", unread },
	{ "buffers too small for the answers", small_answers },
	{ "every queue by itself", every_queue },
	{ "64 MiB of output in one request", long_output },
};

/* ---- random numbers ---- */

static uint8_t *room; /* 32 MiB */
#define ROOM (32 * MIB)

static bool rng_huge(void)
{
	struct buffer b = { room, ROOM };
	uint32_t len = 0;
	bool ok = virtio_request(&v->vq, &b, 0, 1, &len, LONG_MS) && len && len <= ROOM;

	for (uint32_t i = len; i < ROOM && i < len + 100000; i++)
		ok = ok && !room[i];
	memset(room, 0, len);
	return ok;
}

static bool rng_many(void)
{
	struct buffer b = { room, 2 * MIB };
	bool ok = true;

	for (unsigned i = 0; i < v->vq.size; i++) {
		int head = virtq_chain(&v->vq, &b, 0, 1);

		ok = ok && head >= 0;
		virtq_publish(&v->vq, (uint16_t)head);
	}
	virtq_ring(&v->vq);
	for (unsigned i = 0; i < v->vq.size; i++)
		ok = ok && virtq_wait(&v->vq, NULL, LONG_MS) >= 0;
	memset(room, 0, 2 * MIB);
	return ok;
}

static bool rng_readable(void)
{
	struct buffer b[2] = { { v->data, 64 }, { v->data + 64, 1 } };
	uint32_t len = 9;
	bool ok = virtio_request(&v->vq, b, 1, 0, &len, LONG_MS) && len == 0;

	return ok && virtio_request(&v->vq, b, 1, 1, &len, LONG_MS) && len == 1;
}

static bool rng_reset(void)
{
	bool ok = true;

	for (unsigned n = 0; n < 20; n++) {
		struct buffer b = { v->data, VICTIM_DATA };
		int head;

		ok = victim_begin(v, 0) && ok;
		head = virtq_chain(&v->vq, &b, 0, 1);
		virtq_publish(&v->vq, (uint16_t)head);
		virtq_ring(&v->vq);
		virtio_reset(&v->dev);
		memset(v->data, 0x5a, VICTIM_DATA);
		delay_us(200);
		for (unsigned i = 0; i < VICTIM_DATA; i++)
			ok = ok && v->data[i] == 0x5a;
	}
	return ok;
}

static const struct {
	const char *name;
	bool (*run)(void);
} rng[] = {
	{ "32 MiB in one request", rng_huge },
	{ "2 MiB in each request there can be", rng_many },
	{ "nothing to write", rng_readable },
	{ "resets with requests in flight", rng_reset },
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
			if (!victim_interface(v, legacy))
				continue;
			for (size_t n = 0; v->dev.type == VIRTIO_CONSOLE && n < ARRAY_SIZE(console); n++)
				victim_after(v, console[n].run(), console[n].name);
			for (size_t n = 0; v->dev.type == VIRTIO_RNG && n < ARRAY_SIZE(rng); n++)
				victim_after(v, victim_begin(v, 0) && rng[n].run(), rng[n].name);
		}
}

void payload_main(void)
{
	tsc_khz();
	user_call(attack_all, NULL);
}
