/* SPDX-License-Identifier: MIT */
/*
 * virtio-net's receive queues (Virtio 1.2, 5.1.6.3 and 5.1.6.4).
 *
 * Theory of operation
 *
 * The back end asks for room, reads a frame into it and says how long it was. Room is guest memory as far as it goes, and then the
 * queue's spill:
 *
 *   chains taken from the ring, first to last          spill, of the host
 *   |<------------------ direct ---------------------->|<-------------->|
 *   |<- header, frame ------------------->|
 *
 * Any frame could be 64 KiB long, and almost all are short. With mergeable buffers room for 64 KiB means dozens of buffers, and the kernel
 * looks at each of them for every frame that it is asked for. So what the guest gives is at first one chain; what is longer lands in the
 * spill and is copied from there into further chains. One such frame, and the next VNET_WHOLE_FRAMES get their room in guest memory.
 *
 * A frame needs as many chains as its bytes do. With mergeable buffers it waits for them, in the chains that are there and the spill, while
 * the queue has no room for another; so nothing is lost when a driver is slow. It is dropped when it could never fit: all that the queue
 * can hold is there, or buffers do not merge. And it is dropped after VNET_HELD_NS: a driver that has given all that it ever will would
 * wait for it as it waits for the driver, and whoever can send it a long frame could cut it off for good. Chains that a frame has not used
 * are for the next one. The driver sees all chains of a frame at the same time: they are put one by one and published together.
 *
 * The doorbell of these queues is off while there are buffers.
 *
 * With steering (virtio_net_rss.c) the buffers that a frame belongs into are known when it is here: room is then all spill.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/virtio_net_priv.h"

#define VNET_SPILL (NETDEV_FRAME_MAX + NETDEV_HDR_MAX)
#define VNET_WHOLE_FRAMES 64
#define VNET_HELD_NS INT64_C(100000000)

static struct virtq *rx_vq(const struct vnet_rx *rx)
{
	return &rx->net->dev.queues[vnet_rx_index(rx->pair)].vq;
}

static void rx_held_too_long(void *opaque);

int vnet_rx_init(struct virtio_net *net, unsigned pair, unsigned size)
{
	struct vnet_rx *rx = &net->rx[pair];

	rx->net = net;
	rx->pair = pair;
	rx->size = size;
	rx->held_timer = (struct event_timer){ .fire = rx_held_too_long, .opaque = rx };
	/* A chain has at most as many buffers as the queue: behind a queue's worth of them there is place for another chain. */
	rx->iov_max = 2 * size;
	rx->bufs = calloc(size, sizeof(*rx->bufs));
	rx->iovs = calloc(rx->iov_max, sizeof(*rx->iovs));
	rx->spill = malloc(VNET_SPILL);
	return rx->bufs && rx->iovs && rx->spill ? 0 : -ENOMEM;
}

void vnet_rx_fini(struct vnet_rx *rx)
{
	free(rx->bufs);
	free(rx->iovs);
	free(rx->spill);
}

void vnet_rx_reset(struct vnet_rx *rx)
{
	eventloop_cancel(rx->net->dev.loop, &rx->held_timer);
	rx->first = rx->n = rx->iov_end = 0;
	rx->direct = rx->held = 0;
	rx->whole_left = 0;
	rx->wants_bell = rx->unflushed = false;
}

/* Chains */

static struct vnet_rx_buf *rx_buf(const struct vnet_rx *rx, unsigned i)
{
	return &rx->bufs[(rx->first + i) & (rx->size - 1)];
}

/* The entries of the chains that are there move to the front. */
static void rx_compact(struct vnet_rx *rx)
{
	unsigned from = rx->n ? rx_buf(rx, 0)->at : rx->iov_end;

	memmove(rx->iovs, rx->iovs + from, (rx->iov_end - from) * sizeof(*rx->iovs));
	rx->iov_end -= from;
	for (unsigned i = 0; i < rx->n; i++)
		rx_buf(rx, i)->at -= from;
}

static bool rx_broken(struct vnet_rx *rx, const char *why)
{
	virtq_break(rx_vq(rx), why);
	virtio_queue_broken(&rx->net->dev, vnet_rx_index(rx->pair));
	return false;
}

/* The next chain that is in the ring; with `needed`, asks for the doorbell when there is none. */
static int rx_pop_chain(struct vnet_rx *rx, struct virtq_chain *chain, bool needed)
{
	struct virtq *vq = rx_vq(rx);
	struct iovec *iov = rx->iovs + rx->iov_end;
	int rc = virtq_pop(vq, chain, iov, rx->iov_max - rx->iov_end);

	if (rc == 0 && needed) {
		rx->wants_bell = true;
		if (virtq_doorbell_on(vq))
			rc = virtq_pop(vq, chain, iov, rx->iov_max - rx->iov_end);
	}
	if (rc > 0 && rx->wants_bell) {
		rx->wants_bell = false;
		virtq_doorbell_off(vq);
	}
	return rc;
}

/* Takes one more chain from the ring. False: none is there, or no place for it. */
static bool rx_pop(struct vnet_rx *rx, bool needed)
{
	struct virtq *vq = rx_vq(rx);
	struct virtq_chain chain;
	int rc;

	if (vq->cfg.size == 0 || vq->broken)
		return false;
	if (rx->iov_end > rx->size)
		rx_compact(rx);
	if (rx->iov_end > rx->size)
		return false;
	rc = rx_pop_chain(rx, &chain, needed);
	if (rc < 0)
		return rx_broken(rx, "a chain of more buffers than the queue has descriptors");
	if (rc == 0)
		return false;
	if (chain.n_out || chain.in_len < rx->net->hdr_size)
		return rx_broken(rx, chain.n_out ? "a readable buffer to receive into" : "a chain with no room for the header to receive into");
	*rx_buf(rx, rx->n++) =
		(struct vnet_rx_buf){ .head = chain.head, .n = (uint16_t)chain.n_in, .at = rx->iov_end, .len = chain.in_len };
	rx->iov_end += (unsigned)chain.n_in;
	return true;
}

/* Copies between `buf` and the chains, `off` bytes from their start; as much as is there. */
static void rx_copy(const struct vnet_rx *rx, size_t off, void *buf, size_t len, bool to_guest)
{
	uint8_t *p = buf;

	for (unsigned i = 0; i < rx->n && len; i++) {
		const struct vnet_rx_buf *b = rx_buf(rx, i);

		if (off >= b->len) {
			off -= b->len;
			continue;
		}
		for (unsigned k = 0; k < b->n && len; k++) {
			const struct iovec *v = &rx->iovs[b->at + k];
			size_t part = off < v->iov_len ? min_u64(v->iov_len - off, len) : 0;

			if (part) {
				uint8_t *guest = (uint8_t *)v->iov_base + off;

				memcpy(to_guest ? guest : p, to_guest ? p : guest, part);
				p += part;
				len -= part;
			}
			off -= part ? off : v->iov_len;
		}
	}
}

/* Room */

/* Whether a frame of the queue may come now. */
static bool rx_open(struct vnet_rx *rx)
{
	struct virtio_net *net = rx->net;

	return net->running && !net->paused && rx->pair < net->pairs && !rx->held && (!net->rx_limit.on || vnet_limit_open(net, &net->rx_limit));
}

/* Adds what chain `i` has for `want` bytes. Returns how many entries there are then. */
static unsigned room_add(struct vnet_rx *rx, unsigned i, size_t want, struct iovec *iov, unsigned n)
{
	const struct vnet_rx_buf *b = rx_buf(rx, i);

	for (unsigned k = 0; k < b->n && n < NETDEV_RX_IOV - 1 && rx->direct < want; k++) {
		struct iovec v = rx->iovs[b->at + k];

		v.iov_len = min_u64(v.iov_len, want - rx->direct);
		rx->direct += v.iov_len;
		iov[n++] = v;
	}
	return n;
}

unsigned vnet_rx_room(void *opaque, unsigned pair, size_t want, struct iovec *iov)
{
	struct virtio_net *net = opaque;
	struct vnet_rx *rx;
	unsigned n = 0, chains;

	if (pair >= net->max_pairs)
		return 0;
	rx = &net->rx[pair];
	if (!rx_open(rx))
		return 0;
	rx->direct = 0;
	want = min_u64(want, VNET_SPILL);
	if (net->link_up && !net->rss.steer) {
		if (rx->n == 0 && !rx_pop(rx, true))
			return 0;
		chains = net->mergeable && rx->whole_left ? rx->size : 1;
		for (unsigned i = 0; i < chains && n < NETDEV_RX_IOV - 1 && rx->direct < want && (i < rx->n || rx_pop(rx, false)); i++)
			n = room_add(rx, i, want, iov, n);
	}
	if (rx->direct < want)
		iov[n++] = (struct iovec){ .iov_base = rx->spill, .iov_len = want - rx->direct };
	return n;
}

/* Frames */

/* The first bytes of what was read, wherever they are; zeroes behind its end. */
static void rx_peek(const struct vnet_rx *rx, size_t len, size_t off, uint8_t *buf, size_t n)
{
	size_t there = off < len ? min_u64(n, len - off) : 0;
	size_t guest = off < rx->direct ? min_u64(there, rx->direct - off) : 0;

	rx_copy(rx, off, buf, guest, false);
	if (guest < there)
		memcpy(buf + guest, rx->spill + (off + guest - rx->direct), there - guest);
	memset(buf + there, 0, n - there);
}

/* How many chains `len` bytes take; takes them from the ring. 0: there are not enough. */
static unsigned rx_gather(struct vnet_rx *rx, size_t len)
{
	size_t room = 0;
	unsigned n = 0;

	while (room < len) {
		if (n == rx->n && !rx_pop(rx, true))
			return 0;
		room += rx_buf(rx, n++)->len;
		if (!rx->net->mergeable)
			break;
	}
	return room >= len ? n : 0;
}

/* No more buffers can come before some of these are used. */
static bool rx_never(const struct vnet_rx *rx)
{
	const struct virtq *vq = rx_vq(rx);

	return !rx->net->mergeable || vq->broken || rx->n >= vq->cfg.size || rx->iov_end > rx->size;
}

/* What a frame's header has that the back end cannot know. */
static void rx_finish_header(struct vnet_rx *rx, unsigned chains, struct vnet_hash hash)
{
	const struct virtio_net *net = rx->net;
	const struct vnet_hdr tail = {
		.num_buffers = le16_of((uint16_t)chains),
		.hash_value = le32_of(hash.value),
		.hash_report = le16_of((uint16_t)hash.report),
	};
	uint8_t none = 0;

	if (net->hdr_size > VNET_HDR_LEGACY)
		rx_copy(rx, VNET_HDR_LEGACY, (void *)(uintptr_t)&tail.num_buffers, net->hdr_size - VNET_HDR_LEGACY, true);
	if (net->clear_flags)
		rx_copy(rx, offsetof(struct vnet_hdr, flags), &none, sizeof(none), true);
}

/* Gives `n` chains with a frame of `len` bytes to the driver. */
static void rx_give(struct vnet_rx *rx, unsigned n, size_t len)
{
	struct virtq *vq = rx_vq(rx);

	for (unsigned i = 0; i < n; i++) {
		const struct vnet_rx_buf *b = rx_buf(rx, i);
		size_t part = min_u64(len, b->len);

		virtq_put(vq, b->head, (uint32_t)part);
		len -= part;
	}
	virtq_publish(vq);
	rx->first = (rx->first + n) & (rx->size - 1);
	rx->n -= n;
	if (rx->n == 0)
		rx->iov_end = 0;
	rx->unflushed = true;
}

/*
 * A frame of `len` bytes, `direct` of them already in the first chains of `to` and the others at `spill`, goes to the driver. -EAGAIN: when there
 * are more buffers. Else it is done with, given or dropped.
 */
static int rx_pass(struct vnet_rx *to, const uint8_t *spill, size_t direct, size_t len, struct vnet_hash hash)
{
	unsigned n = rx_gather(to, len);

	if (n == 0) {
		if (!rx_never(to))
			return -EAGAIN;
		to->net->nd->stats.rx_dropped++;
		return 0;
	}
	if (len > direct)
		rx_copy(to, direct, (void *)(uintptr_t)spill, len - direct, true);
	rx_finish_header(to, n, hash);
	rx_give(to, n, len);
	return 0;
}

/* Frames are long or short for a while. */
static void rx_learn(struct vnet_rx *rx, size_t len)
{
	if (rx->direct && len > rx->direct)
		rx->whole_left = VNET_WHOLE_FRAMES;
	else if (rx->whole_left && len <= rx_buf(rx, 0)->len)
		rx->whole_left--;
}

/* The whole way of a frame that is short and for whoever asks: nearly all of them. */
static bool rx_pass_plain(struct vnet_rx *rx, size_t len)
{
	const struct virtio_net *net = rx->net;
	const struct vnet_rx_buf *b = rx_buf(rx, 0);
	struct iovec *v = &rx->iovs[b->at];

	if (len > rx->direct || len > b->len || v->iov_len < VNET_HDR || net->hdr_size != VNET_HDR)
		return false;
	store_le16((uint8_t *)v->iov_base + VNET_HDR_LEGACY, 1);
	if (net->clear_flags)
		*(uint8_t *)v->iov_base = 0;
	rx_give(rx, 1, len);
	return true;
}

static bool rx_wanted(const struct vnet_rx *rx, size_t len)
{
	const struct virtio_net *net = rx->net;
	uint8_t top[VNET_FRAME_TOP];

	if (!net->link_up)
		return false;
	if (vnet_filter_open(net))
		return true;
	rx_peek(rx, len, net->hdr_size, top, sizeof(top));
	return vnet_filter_pass(net, top);
}

static struct vnet_hash rx_hash(const struct vnet_rx *rx, size_t len)
{
	const struct virtio_net *net = rx->net;
	uint8_t top[VNET_RSS_TOP];
	size_t n = min_u64(len - net->hdr_size, sizeof(top));

	rx_peek(rx, len, net->hdr_size, top, n);
	return vnet_rss_hash(&net->rss, top, n);
}

/* As rx_pass, to the queue that steering says. */
static int rx_steer(struct vnet_rx *rx, size_t len)
{
	struct virtio_net *net = rx->net;
	struct vnet_hash hash = { .report = VNET_REPORT_NONE };
	unsigned pair = rx->pair;

	if (net->rss.types)
		hash = rx_hash(rx, len);
	if (net->rss.steer && rx->direct == 0)
		pair = vnet_rss_pair(net, hash);
	if (!net->rss.report)
		hash = (struct vnet_hash){ .report = VNET_REPORT_NONE };
	rx->held_pair = pair;
	return rx_pass(&net->rx[pair], rx->spill, rx->direct, len, hash);
}

void vnet_rx_done(void *opaque, unsigned pair, size_t len)
{
	struct virtio_net *net = opaque;
	struct vnet_rx *rx = &net->rx[pair];

	if (!rx_wanted(rx, len)) {
		net->nd->stats.rx_dropped++;
		return;
	}
	vnet_limit_count(&net->rx_limit, len);
	if (rx->n)
		rx_learn(rx, len);
	if (rx->n && !net->rss.steer && !net->rss.report && rx_pass_plain(rx, len))
		return;
	if (rx_steer(rx, len) == -EAGAIN) {
		rx->held = len;
		eventloop_arm(net->dev.loop, &rx->held_timer, now_ns() + VNET_HELD_NS);
	}
}

void vnet_rx_flush(void *opaque, unsigned pair)
{
	struct virtio_net *net = opaque;

	/* Steering may have put the batch's frames anywhere. */
	for (unsigned i = net->rss.steer ? 0 : pair; i < (net->rss.steer ? net->pairs : pair + 1); i++) {
		if (!net->rx[i].unflushed)
			continue;
		net->rx[i].unflushed = false;
		virtio_notify(&net->dev, vnet_rx_index(i));
	}
}

/* Frames that waited for buffers of `to`. */
static void rx_pass_held(struct virtio_net *net, const struct vnet_rx *to)
{
	for (unsigned i = 0; i < net->pairs; i++) {
		struct vnet_rx *rx = &net->rx[i];
		size_t len = rx->held;

		if (len == 0 || rx->held_pair != to->pair)
			continue;
		if (rx_steer(rx, len) == -EAGAIN)
			continue;
		rx->held = 0;
		eventloop_cancel(net->dev.loop, &rx->held_timer);
		vnet_rx_flush(net, i);
	}
}

static void rx_held_too_long(void *opaque)
{
	struct vnet_rx *rx = opaque;
	struct virtio_net *net = rx->net;

	if (!rx->held)
		return;
	log_guest(&net->dev.log, net->dev.name, "a frame of %zu bytes has waited in vain for buffers; dropped", rx->held);
	net->nd->stats.rx_dropped++;
	rx->held = 0;
	netdev_rx_more(net->nd, rx->pair);
}

void vnet_rx_kick(struct vnet_rx *rx)
{
	struct virtio_net *net = rx->net;

	if (!net->running || net->paused)
		return;
	rx_pass_held(net, rx);
	for (unsigned i = 0; i < net->pairs; i++)
		if ((i == rx->pair || net->rss.steer) && !net->rx[i].held)
			netdev_rx_more(net->nd, i);
}

void vnet_rx_pause(struct vnet_rx *rx, bool on)
{
	if (on)
		eventloop_cancel(rx->net->dev.loop, &rx->held_timer);
	else if (rx->held)
		eventloop_arm(rx->net->dev.loop, &rx->held_timer, now_ns() + VNET_HELD_NS);
}
