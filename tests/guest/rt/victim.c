/* SPDX-License-Identifier: MIT */
/* See victim.h. */
#include "victim.h"

#define CANARY_BYTES 16384
#define RINGS_BYTES 32768 /* for 1,024 entries */
#define MAGIC UINT64_C(0x9e3779b97f4a7c15)
#define MMIO_FIRST 0xfeb00000u /* a microvm's transports */
#define MMIO_STEP 512
#define ANSWER_MS 20000   /* generous: hosts are busy */

struct victim victims[MAX_VICTIMS];
size_t n_victims;
static uint64_t *canaries[MAX_VICTIMS + 2];
static size_t n_canaries;

uint32_t random32(void)
{
	static uint64_t state = MAGIC;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

static void canary_place(void)
{
	uint64_t *c = canaries[n_canaries++] = dma_alloc(CANARY_BYTES, 4096);

	for (size_t i = 0; i < CANARY_BYTES / 8; i++)
		c[i] = (uintptr_t)&c[i] * MAGIC;
}

bool canaries_dead(void)
{
	bool dead = false;

	for (size_t n = 0; n < n_canaries; n++)
		for (size_t i = 0; i < CANARY_BYTES / 8; i++)
			if (canaries[n][i] != (uintptr_t)&canaries[n][i] * MAGIC) {
				if (!dead)
					print("memory changed at %lx\n", (uintptr_t)&canaries[n][i]);
				dead = true;
				canaries[n][i] = (uintptr_t)&canaries[n][i] * MAGIC;
			}
	return dead;
}

/* ---- one device ---- */

static void append(struct victim *v, const char *s)
{
	size_t n = strlen(v->name);

	while (*s && n + 1 < sizeof(v->name))
		v->name[n++] = *s++;
	v->name[n] = 0;
}

static void name_it(struct victim *v)
{
	char place[] = " 00.0";

	if (v->dev.kind == VIRTIO_MMIO)
		v->dev.devfn = (unsigned)(v->dev.mmio - MMIO_FIRST) / MMIO_STEP << 3;
	place[1] = (char)('0' + (v->dev.devfn >> 7));
	place[2] = "0123456789abcdef"[v->dev.devfn >> 3 & 15];
	place[4] = (char)('0' + (v->dev.devfn & 7));
	v->name[0] = 0;
	append(v, virtio_name(&v->dev));
	append(v, place);
	if (v->serial[0]) {
		append(v, " ");
		append(v, v->serial);
	}
	append(v, v->dev.kind == VIRTIO_LEGACY ? " legacy" : v->dev.kind == VIRTIO_MMIO ? " mmio" : " modern");
}

bool victim_interface(struct victim *v, bool legacy)
{
	if (legacy ? !v->has_legacy : v->modern.kind == VIRTIO_LEGACY)
		return false;
	virtio_reset(&v->dev);
	v->dev = legacy ? v->legacy : v->modern;
	name_it(v);
	return victim_begin(v, 0);
}

bool victim_begin(struct victim *v, uint64_t features)
{
	unsigned size;

	if (!virtio_negotiate(&v->dev, features))
		return false;
	size = virtq_max(&v->dev, v->queue);
	if (v->dev.kind != VIRTIO_LEGACY && size > VICTIM_SIZE)
		size = VICTIM_SIZE;
	if (!virtq_setup_at(&v->vq, &v->dev, v->queue, size, v->rings))
		return false;
	virtio_ready(&v->dev);
	return virtio_status(&v->dev) & VIRTIO_DRIVER_OK;
}

/* INQUIRY of unit 0:0. */
static bool scsi_request(struct victim *v)
{
	static const uint8_t cdb[6] = { 0x12, 0, 0, 0, 36, 0 };
	struct buffer b[3] = { { v->data, 51 }, { v->data + 64, 108 }, { v->data + 256, 36 } };

	memset(v->data, 0, 51);
	v->data[0] = 1;
	v->data[2] = 0x40;
	memcpy(v->data + 19, cdb, sizeof(cdb));
	v->data[64 + 11] = 0xff;
	return virtio_request(&v->vq, b, 1, 2, NULL, ANSWER_MS) && v->data[64 + 11] == 0;
}

bool victim_request(struct victim *v)
{
	static const char text[] = "proper\n";
	struct buffer b = { v->data, 64 };
	uint32_t len = 0;

	switch (v->dev.type) {
	case VIRTIO_BLK:
		return blk_request(&v->vq, BLK_IN, 0, v->data, 4096) == BLK_OK;
	case VIRTIO_RNG:
		return virtio_request(&v->vq, &b, 0, 1, &len, ANSWER_MS) && len > 0 && len <= 64;
	case VIRTIO_BALLOON: /* a page of its own */
		*(volatile uint32_t *)v->data = (uint32_t)((uintptr_t)(v->data + 8192) >> 12);
		b.len = 4;
		return virtio_request(&v->vq, &b, 1, 0, NULL, ANSWER_MS);
	case VIRTIO_NET: /* a frame to nobody, behind its header */
		return virtio_request(&v->vq, &b, 1, 0, NULL, ANSWER_MS);
	case VIRTIO_SCSI:
		return scsi_request(v);
	case VIRTIO_CONSOLE:
		b = (struct buffer){ text, sizeof(text) - 1 };
		return virtio_request(&v->vq, &b, 1, 0, NULL, ANSWER_MS);
	}
	return true;
}

bool victim_broken(const struct victim *v, unsigned ms)
{
	uint64_t end = rdtsc() + tsc_khz() * ms;

	while (!(virtio_status(&v->dev) & VIRTIO_NEEDS_RESET)) {
		if (rdtsc() > end)
			return false;
		delay_us(20);
	}
	return true;
}

bool victim_after(struct victim *v, bool ok, const char *what)
{
	bool again = victim_begin(v, 0) && victim_request(v), others = true;
	const char *who = "";

	for (size_t i = 0; i < n_victims; i++)
		if (&victims[i] != v && !victim_request(&victims[i])) {
			others = false;
			who = victims[i].name;
		}
	if (!others)
		return test(false, "%s: %s: then no answer from %s", v->name, what, who);
	if (!again)
		return test(false, "%s: %s: does not work after a reset", v->name, what);
	if (canaries_dead())
		return test(false, "%s: %s: memory was written", v->name, what);
	return test(ok, "%s: %s", v->name, what);
}

/* ---- all ---- */

static void victim_create(struct victim *v)
{
	v->modern = v->dev;
	v->has_legacy = virtio_as_legacy(&v->modern, &v->legacy);
	v->queue = v->dev.type == VIRTIO_SCSI ? 2 : v->dev.type == VIRTIO_CONSOLE || v->dev.type == VIRTIO_NET ? 1 : 0; /* requests, output, sending */
	v->rings = dma_alloc(RINGS_BYTES, 4096);
	v->data = dma_alloc(VICTIM_DATA, 4096);
	canary_place();
	/* A host that fails once is no reason: the next time it must work. */
	if (!victim_begin(v, 0) && !victim_begin(v, 0))
		test_abort("%s at %x does not start", virtio_name(&v->dev), v->dev.devfn);
	if (v->dev.type == VIRTIO_BLK && blk_request(&v->vq, BLK_GET_ID, 0, v->serial, 20) < 0)
		victim_begin(v, 0);
	name_it(v);
}

/* On PCI, or a microvm's, where the ports of PCI's configuration are around the reset register. */
static size_t find_devices(struct virtio *found)
{
	size_t n = 0;

	if (!arg_is("board", "microvm"))
		return virtio_find(found, MAX_VICTIMS);
	for (unsigned i = 0; i < 32 && n < MAX_VICTIMS; i++)
		n += virtio_at_mmio(MMIO_FIRST + i * MMIO_STEP, &found[n]);
	return n;
}

void victims_start(void)
{
	static struct virtio found[MAX_VICTIMS];
	size_t n = find_devices(found);

	canary_place();
	for (size_t i = 0; i < n; i++) {
		victims[i].dev = found[i];
		victim_create(&victims[i]);
		n_victims++;
	}
	if (!test(n && n == arg_u64("devices", n), "%lu devices at work", n))
		test_abort("the wrong number of devices");
}

struct victim *victim_disk(const char *serial)
{
	for (size_t i = 0; i < n_victims; i++)
		if (victims[i].dev.type == VIRTIO_BLK && !strncmp(victims[i].serial, serial, sizeof(victims[i].serial)))
			return &victims[i];
	return NULL;
}

struct victim *victim_of(unsigned type)
{
	for (size_t i = 0; i < n_victims; i++)
		if (victims[i].dev.type == type)
			return &victims[i];
	return NULL;
}
