/* SPDX-License-Identifier: MIT */
#include "card.h"

#define MAX_DEVICES 8
#define DATA_PART 32768u /* Linux has its data in pieces of this size */
#define WANTED (NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_MAC | NET_F_GUEST_TSO4 | NET_F_HOST_TSO4 | NET_F_MRG_RXBUF | VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX)
#define NEEDED (NET_F_MRG_RXBUF | NET_F_MAC | VIRTIO_F_INDIRECT | VIRTIO_F_VERSION_1)

static void find(struct card *card)
{
	struct virtio devs[MAX_DEVICES];
	size_t n = virtio_find(devs, MAX_DEVICES), i = 0;

	while (i < n && devs[i].type != VIRTIO_NET)
		i++;
	if (i == n)
		test_abort("there is no virtio network card");
	card->dev = devs[i];
}

static unsigned queue_size(const struct card *card, unsigned index)
{
	unsigned max = virtq_max(&card->dev, index);

	return max < CARD_BUFFERS ? max : CARD_BUFFERS;
}

void card_open(struct card *card)
{
	find(card);
	if (!virtio_negotiate(&card->dev, WANTED) || (card->dev.features & NEEDED) != NEEDED)
		test_abort("the network card lacks features: 0x%lx", card->dev.features);
	if (!virtq_setup(&card->rx, &card->dev, 0, queue_size(card, 0)) || !virtq_setup(&card->tx, &card->dev, 1, queue_size(card, 1)))
		test_abort("the network card cannot be set up");
	card->csum = card->dev.features & NET_F_CSUM;
	card->tso = card->csum && (card->dev.features & NET_F_HOST_TSO4);
	for (unsigned i = 0; i < sizeof(card->mac); i++)
		card->mac[i] = (uint8_t)virtio_config(&card->dev, i, 1);
	card->rx_buffers = dma_alloc((size_t)card->rx.size * CARD_RX_BYTES, 4096);
	card->slots = dma_alloc(card->tx.size * sizeof(*card->slots), 4096);
	for (unsigned i = 0; i < card->tx.size; i++)
		card->free[card->n_free++] = (uint16_t)i;
	virtio_ready(&card->dev);
	for (unsigned i = 0; i < card->rx.size; i++) {
		card->rx.desc[i].addr = (uintptr_t)(card->rx_buffers + (size_t)i * CARD_RX_BYTES);
		card->rx.desc[i].len = CARD_RX_BYTES;
		card->rx.desc[i].flags = DESC_WRITE;
		virtq_add(&card->rx, (uint16_t)i);
	}
	card_refill(card);
}

static const uint8_t *take(struct card *card, size_t *len)
{
	uint32_t got;
	int head = virtq_poll(&card->rx, &got);

	if (head < 0)
		return NULL;
	if (head >= card->rx.size || got > CARD_RX_BYTES)
		test_abort("the device returned buffer %d with %u bytes", head, got);
	*len = got;
	return card->rx_buffers + (size_t)head * CARD_RX_BYTES;
}

bool card_receive(struct card *card, struct frame *frame)
{
	size_t len;
	const uint8_t *buffer = take(card, &len);

	if (!buffer)
		return false;
	frame->hdr = (const struct vnet_hdr *)buffer;
	frame->at = buffer + sizeof(*frame->hdr);
	frame->n = frame->hdr->num_buffers;
	if (len < sizeof(*frame->hdr) + sizeof(struct eth) || frame->n == 0 || frame->n > CARD_PARTS)
		test_abort("a frame with %zu bytes in the first of %u buffers", len, frame->n);
	frame->first = frame->len = len - sizeof(*frame->hdr);
	frame->part[0] = buffer;
	for (unsigned i = 1; i < frame->n; i++) {
		frame->part[i] = take(card, &frame->part_len[i]);
		if (!frame->part[i])
			test_abort("%u of the %u buffers of a frame are missing", frame->n - i, frame->n);
		frame->len += frame->part_len[i];
	}
	return true;
}

void card_return(struct card *card, const struct frame *frame)
{
	for (unsigned i = 0; i < frame->n; i++)
		virtq_add(&card->rx, (uint16_t)((size_t)(frame->part[i] - card->rx_buffers) / CARD_RX_BYTES));
}

void card_refill(struct card *card)
{
	if (card->rx.kicked == card->rx.next_avail)
		return;
	virtq_publish_idx(&card->rx);
	card->rung += virtq_kick(&card->rx);
}

void card_reap(struct card *card)
{
	int head;

	while ((head = virtq_poll(&card->tx, NULL)) >= 0) {
		if (head >= card->tx.size || card->n_free == card->tx.size)
			test_abort("the device returned frame %d", head);
		card->free[card->n_free++] = (uint16_t)head;
	}
}

struct slot *card_slot(struct card *card)
{
	if (card->n_free == 0)
		card_reap(card);
	return card->n_free ? &card->slots[card->free[card->n_free - 1]] : NULL;
}

void card_send(struct card *card, struct slot *slot, size_t header_len, const void *data, size_t len)
{
	uint16_t head = card->free[--card->n_free];
	volatile struct vring_desc *desc = &card->tx.desc[head];
	uint16_t n = 1;

	if (len == 0) {
		desc->addr = (uintptr_t)slot->headers;
		desc->len = (uint32_t)header_len;
		desc->flags = 0;
	} else {
		slot->table[0] = (struct vring_desc){ .addr = (uintptr_t)slot->headers, .len = (uint32_t)header_len };
		for (const uint8_t *p = data; len; n++) {
			uint32_t part = len < DATA_PART ? (uint32_t)len : DATA_PART;

			slot->table[n - 1].flags = DESC_NEXT;
			slot->table[n - 1].next = n;
			slot->table[n] = (struct vring_desc){ .addr = (uintptr_t)p, .len = part };
			p += part;
			len -= part;
		}
		desc->addr = (uintptr_t)slot->table;
		desc->len = n * (uint32_t)sizeof(slot->table[0]);
		desc->flags = DESC_INDIRECT;
	}
	virtq_publish(&card->tx, head);
	card->rung += virtq_kick(&card->tx);
}
