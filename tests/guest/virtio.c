/* SPDX-License-Identifier: MIT */
/*
 * Every virtio device there is, used as it is meant to be: features negotiated, queues set up, one proper request, by each interface that
 * it has, with chains in the ring and in an indirect table. `devices=N` on the command line says how many there must be.
 */
#include "virtio.h"

#define MAX_DEVICES 32
#define PORT0_OUT 1

static bool request_blk(struct virtio *dev, struct virtq *vq)
{
	uint8_t *sector = dma_alloc(4096, 4096);
	char id[20] = "";
	bool ok;

	if (!virtq_setup(vq, dev, 0, 0))
		return false;
	virtio_ready(dev);
	ok = blk_request(vq, BLK_IN, 0, sector, virtio_config(dev, BLK_CONFIG_CAPACITY, 8) >= 8 ? 4096 : 512) == BLK_OK;
	return blk_request(vq, BLK_GET_ID, 0, id, sizeof(id)) == BLK_OK && ok;
}

static bool request_rng(struct virtio *dev, struct virtq *vq)
{
	uint8_t *bytes = dma_alloc(64, 64);
	struct buffer b = { bytes, 64 };
	uint32_t len = 0;
	unsigned zeroes = 0;

	if (!virtq_setup(vq, dev, 0, 0))
		return false;
	virtio_ready(dev);
	if (!virtio_request(vq, &b, 0, 1, &len, 20000) || len == 0 || len > 64)
		return false;
	for (uint32_t i = 0; i < len; i++)
		zeroes += !bytes[i];
	return len < 8 || zeroes < len / 2;
}

static bool request_console(struct virtio *dev, struct virtq *vq)
{
	static const char text[] = "console: port 0 says hello\n";
	struct buffer b = { text, sizeof(text) - 1 };

	if (!virtq_setup(vq, dev, PORT0_OUT, 0))
		return false;
	virtio_ready(dev);
	return virtio_request(vq, &b, 1, 0, NULL, 20000);
}

static bool request(struct virtio *dev, struct virtq *vq)
{
	switch (dev->type) {
	case VIRTIO_BLK: return request_blk(dev, vq);
	case VIRTIO_RNG: return request_rng(dev, vq);
	case VIRTIO_CONSOLE: return request_console(dev, vq);
	}
	return true;
}

/* An empty flush, or some bytes, by an indirect table. */
static bool request_indirect(struct virtq *vq)
{
	volatile struct vring_desc *table = dma_alloc(4 * sizeof(*table), 16);
	static struct blk_header flush = { .type = BLK_FLUSH };
	static volatile uint8_t bytes[16];
	struct buffer b[2] = { { &flush, sizeof(flush) }, { bytes, 1 } };
	unsigned type = vq->dev->type;
	int head = virtq_chain_indirect(vq, table, type == VIRTIO_RNG ? b + 1 : b, type != VIRTIO_RNG, type != VIRTIO_CONSOLE);

	if (head < 0)
		return false;
	virtq_publish(vq, (uint16_t)head);
	virtq_kick(vq);
	return virtq_wait(vq, NULL, 20000) == head;
}

static void use(struct virtio *dev, const char *how)
{
	uintptr_t mark = dma_mark();
	uint64_t wanted = VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX;
	struct virtq vq;
	bool ok = virtio_negotiate(dev, wanted);

	test(ok, "%s %02x.%x %s: features 0x%lx of 0x%lx", virtio_name(dev), dev->devfn >> 3, dev->devfn & 7, how,
	     dev->features, virtio_offered(dev));
	ok = request(dev, &vq);
	test(ok, "%s %02x.%x %s: a request", virtio_name(dev), dev->devfn >> 3, dev->devfn & 7, how);
	if (ok && dev->features & VIRTIO_F_INDIRECT)
		test(request_indirect(&vq), "%s %02x.%x %s: an indirect one", virtio_name(dev), dev->devfn >> 3, dev->devfn & 7, how);
	virtio_negotiate(dev, 0);
	test(request(dev, &vq), "%s %02x.%x %s: without features", virtio_name(dev), dev->devfn >> 3, dev->devfn & 7, how);
	virtio_reset(dev);
	dma_release(mark);
}

static struct virtio devices[MAX_DEVICES];

static void use_all(void *arg)
{
	size_t n = virtio_find(devices, MAX_DEVICES);
	struct virtio legacy;

	(void)arg;
	test_equal(n, arg_u64("devices", n), "virtio devices on the bus");
	for (size_t i = 0; i < n; i++) {
		if (devices[i].kind == VIRTIO_MODERN)
			use(&devices[i], "modern");
		if (virtio_as_legacy(&devices[i], &legacy))
			use(&legacy, "legacy");
	}
}

void payload_main(void)
{
	tsc_khz();
	user_call(use_all, NULL);
}
