/* SPDX-License-Identifier: MIT */
/*
 * A read asks for exactly the rest of the frame at hand, into the guest's buffers, and behind it for some of what follows, into `in`: for
 * the next length at least, so that a frame costs one system call, and while frames are small for as much as there is, so that many of them
 * do. A read that brought less than it asked for has emptied the socket, and no other is made to learn that.
 *
 * A guest's buffers stay those of the frame that is being read until it is complete, over several turns of the loop. When reading is turned
 * off they are gone, and the rest of the frame is read into nothing.
 */
#include "net/framed.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "vmm/endian.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(recvmsg), .threads = THREAD_LOOP, .rare = THREAD_LOOP },
	{ CALL(sendmsg), .threads = THREAD_LOOP, .rare = THREAD_LOOP }, /* none of the tests here has a driver behind it */
);

#define PREFIX_MAX (FRAMED_LENGTH + FRAMED_HDR)
#define IN_SIZE (64 * KIB)
#define OUT_SIZE (PREFIX_MAX + NETDEV_FRAME_MAX)
/* From here on a frame costs more to copy than a system call does. */
#define LARGE_FRAME (8 * KIB)
/* Bytes in one turn. */
#define TURN_BYTES (512 * KIB)

#define TX_IOV 256
#define TX_FRAMES 64

static size_t prefix_size(const struct framed *f)
{
	return FRAMED_LENGTH + (f->vnet ? FRAMED_HDR : 0);
}

static uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static void update_events(struct framed *f)
{
	uint32_t events = (f->rx_on && !f->rx_held && !f->no_room ? EPOLLIN : 0) | (f->tx_blocked ? EPOLLOUT : 0);

	if (f->ev.registered && f->ev.events != events)
		eventloop_mod_fd(f->nd->loop, &f->ev, events);
}

/* Receiving */

/* Whether the guest takes a frame that is unfinished as `hdr` says. */
static bool hdr_wanted(const struct framed *f, const uint8_t *hdr)
{
	unsigned guest = f->nd->offloads.guest, gso = hdr[1];

	if (hdr[0] && !(guest & NETDEV_CSUM))
		return false;
	if (gso & VIRTIO_NET_HDR_GSO_ECN && !(guest & NETDEV_TSO_ECN))
		return false;
	switch (gso & ~(unsigned)VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return guest & NETDEV_TSO4;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return guest & NETDEV_TSO6;
	default:
		return false;
	}
}

static void rx_drop(struct framed *f, size_t bytes)
{
	size_t buffered = min_u64(bytes, f->in_tail - f->in_head);

	f->nd->stats.rx_dropped++;
	f->in_head += buffered;
	f->skip = bytes - buffered;
}

/*
 * One read: into the `n` entries of `iov`, which has room for one more, and behind them into `in`, which is empty, or filled up to
 * `in_tail` when there are none. Returns the bytes, and in *drained whether the socket has no more; -EAGAIN, -EPIPE, -errno.
 */
static ssize_t rx_read(struct framed *f, struct iovec *iov, size_t n, size_t ahead, bool *drained)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n + 1 };
	size_t asked;
	ssize_t got;

	iov[n] = (struct iovec){ f->in + f->in_tail, ahead };
	asked = iov_size(iov, n + 1);
	do
		got = recvmsg(f->ev.fd, &msg, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	if (got == 0)
		return -EPIPE;
	*drained = (size_t)got < asked;
	return got;
}

/* The steps below return 1 when there may be more to do, 0 when the socket has no more, -ENOBUFS without room, or an error. */

static int read_result(ssize_t got, bool drained)
{
	if (got == -EAGAIN)
		return 0;
	return got < 0 ? (int)got : !drained;
}

/* How far a read may go beyond what is needed. */
static size_t read_ahead(const struct framed *f)
{
	return f->large ? prefix_size(f) : IN_SIZE - f->in_tail;
}

/* Reads to have `want` bytes or more in `in`; `need` are enough to go on with. */
static int rx_fill(struct framed *f, size_t need, size_t want)
{
	size_t have = f->in_tail - f->in_head;
	bool drained = true;
	struct iovec iov;
	ssize_t got;

	if (f->in_head) {
		memmove(f->in, f->in + f->in_head, have);
		f->in_head = 0;
		f->in_tail = have;
	}
	got = rx_read(f, &iov, 0, f->large ? want - have : IN_SIZE - have, &drained);
	if (got > 0)
		f->in_tail += (size_t)got;
	if (got > 0 && f->in_tail >= need)
		return 1; /* there is something to do, if not to read */
	return read_result(got, drained);
}

static int rx_skip(struct framed *f)
{
	bool drained = true;
	struct iovec iov;
	ssize_t got;

	f->in_head = f->in_tail = 0;
	got = rx_read(f, &iov, 0, min_u64(f->skip, IN_SIZE), &drained);
	if (got > 0)
		f->skip -= (size_t)got;
	return read_result(got, drained);
}

/* Goes on with the frame that is on its way into the guest's buffers; `in` is empty. */
static int rx_direct(struct framed *f, size_t *bytes)
{
	struct iovec iov[NETDEV_RX_IOV + 1];
	size_t n = f->to.n, left = f->to.left, len;
	bool drained = true;
	ssize_t got;

	f->in_head = f->in_tail = 0;
	memcpy(iov, f->to.iov, n * sizeof(*iov));
	iov[0].iov_base = (char *)iov[0].iov_base + f->to.off;
	iov[0].iov_len -= f->to.off;
	got = rx_read(f, iov, n, read_ahead(f), &drained);
	if (got < 0 || (size_t)got < left) {
		if (got > 0)
			iov_cursor_skip(&f->to, (size_t)got);
		return read_result(got, drained);
	}
	f->in_tail = (size_t)got - left;
	len = f->to_len;
	f->to_len = 0;
	*bytes += len;
	netdev_rx_done(f->nd, 0, len);
	return f->in_tail ? 1 : !drained;
}

/* Cuts `iov` to `want` bytes. The entries, or 0 when it has less. */
static unsigned trim(struct iovec *iov, unsigned n, size_t want)
{
	for (unsigned i = 0; i < n; i++) {
		if (iov[i].iov_len >= want) {
			iov[i].iov_len = want;
			return i + 1;
		}
		want -= iov[i].iov_len;
	}
	return 0;
}

/* A frame of which `in` has the beginning: `hdr` is its header on the wire, `frame` bytes follow. */
static int rx_begin(struct framed *f, const uint8_t *hdr, size_t frame)
{
	static const uint8_t zeroes[NETDEV_HDR_MAX];
	size_t hdr_size = f->nd->offloads.vnet_hdr_size, have;
	unsigned n = netdev_rx_room(f->nd, 0, hdr_size + frame, f->room);

	if (n == 0)
		return -ENOBUFS;
	f->in_head += prefix_size(f);
	n = trim(f->room, n, hdr_size + frame);
	if (n == 0) {
		rx_drop(f, frame);
		return 1;
	}
	have = f->in_tail - f->in_head;
	iov_cursor_init(&f->to, f->room, n);
	if (hdr)
		iov_cursor_write(&f->to, hdr, min_u64(hdr_size, FRAMED_HDR));
	iov_cursor_write(&f->to, zeroes, hdr_size - (hdr ? min_u64(hdr_size, FRAMED_HDR) : 0));
	iov_cursor_write(&f->to, f->in + f->in_head, have);
	f->to_len = hdr_size + frame;
	return 1;
}

/* The next frame of which at least the length is in `in`. */
static int rx_next(struct framed *f, size_t *bytes)
{
	size_t have = f->in_tail - f->in_head, hdr_size = f->vnet ? FRAMED_HDR : 0, frame;
	uint8_t full[NETDEV_HDR_MAX] = { 0 };
	const uint8_t *p = f->in + f->in_head, *hdr = f->vnet ? p + FRAMED_LENGTH : NULL;
	uint32_t len = get_be32(p);

	if (len <= hdr_size || len > hdr_size + NETDEV_FRAME_MAX) {
		f->bad_length = len;
		return -EPROTO;
	}
	if (have < prefix_size(f))
		return rx_fill(f, prefix_size(f), prefix_size(f));
	frame = len - hdr_size;
	f->large = frame >= LARGE_FRAME;
	if (frame < NETDEV_FRAME_MIN || (hdr && !hdr_wanted(f, hdr))) {
		rx_drop(f, FRAMED_LENGTH + len);
		return 1;
	}
	if (have < FRAMED_LENGTH + len)
		return rx_begin(f, hdr, frame);
	if (hdr)
		memcpy(full, hdr, FRAMED_HDR);
	if (!netdev_deliver(f->nd, 0, full, p + FRAMED_LENGTH + hdr_size, frame))
		return -ENOBUFS;
	f->in_head += FRAMED_LENGTH + len;
	*bytes += len;
	return 1;
}

static int rx_step(struct framed *f, size_t *bytes)
{
	if (f->skip)
		return rx_skip(f);
	if (f->to_len)
		return rx_direct(f, bytes);
	if (f->in_tail - f->in_head < FRAMED_LENGTH)
		return rx_fill(f, FRAMED_LENGTH, prefix_size(f));
	return rx_next(f, bytes);
}

/* A turn's worth. 0 or the error that ends the connection. */
static int rx_run(struct framed *f)
{
	size_t bytes = 0;
	int rc = 1;

	if (!f->rx_on || f->rx_held || f->no_room)
		return 0;
	for (unsigned i = 0; rc > 0 && i < 4 * NETDEV_TURN && bytes < TURN_BYTES; i++)
		rc = rx_step(f, &bytes);
	if (rc == -ENOBUFS) {
		f->no_room = true;
		rc = 0;
	}
	if (rc > 0)
		eventloop_post(f->nd->loop, &f->resume);
	netdev_rx_flush(f->nd, 0);
	return rc < 0 ? rc : 0;
}

/* Sending */

/*
 * Appends the frame's own bytes, without the guest's header, which goes to `hdr` as far as the wire has it. Returns the entries; `iov` has room
 * for all of the frame's.
 */
static size_t frame_iov(const struct framed *f, const struct netdev_frame *frame, struct iovec *iov, uint8_t *hdr)
{
	size_t hdr_size = f->nd->offloads.vnet_hdr_size, n = 0;
	struct iov_cursor from;

	iov_cursor_init(&from, frame->iov, frame->n);
	if (f->vnet) {
		memset(hdr, 0, FRAMED_HDR);
		hdr_size -= iov_cursor_read(&from, hdr, NETDEV_HDR_MIN);
	}
	iov_cursor_skip(&from, hdr_size);
	for (size_t i = 0, off = from.off, left = from.left; i < from.n && left; i++, off = 0) {
		size_t len = min_u64(from.iov[i].iov_len - off, left);

		if (len)
			iov[n++] = (struct iovec){ (char *)from.iov[i].iov_base + off, len };
		left -= len;
	}
	return n;
}

static size_t wire_len(const struct framed *f, const struct netdev_frame *frame)
{
	return frame->len - f->nd->offloads.vnet_hdr_size + prefix_size(f);
}

/* Puts frames into `iov`, with a prefix each, as many as it holds. Returns how many; 0 when the first one alone is too scattered. */
static unsigned tx_gather(const struct framed *f, const struct netdev_frame *frames, unsigned n, struct iovec *iov, size_t *n_iov,
			  uint8_t (*prefix)[PREFIX_MAX])
{
	unsigned i;

	*n_iov = 0;
	for (i = 0; i < n && i < TX_FRAMES && *n_iov + 1 + frames[i].n <= TX_IOV; i++) {
		iov[(*n_iov)++] = (struct iovec){ prefix[i], prefix_size(f) };
		put_be32(prefix[i], (uint32_t)(wire_len(f, &frames[i]) - FRAMED_LENGTH));
		*n_iov += frame_iov(f, &frames[i], iov + *n_iov, prefix[i] + FRAMED_LENGTH);
	}
	return i;
}

/* The bytes sent, 0 when the socket is full, or -errno. */
static ssize_t tx_send(const struct framed *f, struct iovec *iov, size_t n)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t sent;

	do
		sent = sendmsg(f->ev.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	return sent;
}

static void tx_block(struct framed *f)
{
	f->tx_blocked = true;
	update_events(f);
}

/* A frame in too many pieces for one call: by way of `out`, which is empty. */
static void tx_copied(struct framed *f, const struct netdev_frame *frame)
{
	struct iov_cursor from;
	struct iovec iov;
	ssize_t sent;

	iov_cursor_init(&from, frame->iov, frame->n);
	memset(f->out, 0, PREFIX_MAX);
	put_be32(f->out, (uint32_t)(wire_len(f, frame) - FRAMED_LENGTH));
	if (f->vnet)
		iov_cursor_read(&from, f->out + FRAMED_LENGTH, NETDEV_HDR_MIN);
	iov_cursor_skip(&from, f->nd->offloads.vnet_hdr_size - (f->vnet ? NETDEV_HDR_MIN : 0));
	f->out_head = 0;
	f->out_tail = prefix_size(f);
	f->out_tail += iov_cursor_read(&from, f->out + f->out_tail, wire_len(f, frame) - prefix_size(f));
	iov = (struct iovec){ f->out, f->out_tail };
	sent = tx_send(f, &iov, 1);
	if (sent >= 0)
		f->out_head = (size_t)sent;
	if (sent < 0 || f->out_head == f->out_tail)
		f->out_head = f->out_tail = 0;
	else
		tx_block(f);
}

/* Keeps what is left behind `skip` bytes of a frame whose entries begin at `iov`. */
static void tx_keep(struct framed *f, const struct iovec *iov, size_t n, size_t skip, size_t len)
{
	struct iov_cursor from;

	iov_cursor_init(&from, iov, n);
	iov_cursor_skip(&from, skip);
	f->out_head = 0;
	f->out_tail = iov_cursor_read(&from, f->out, len - skip);
}

/* How many of `n` frames are dealt with when `sent` bytes of them went out. */
static unsigned tx_account(struct framed *f, const struct netdev_frame *frames, unsigned n, const struct iovec *iov, size_t n_iov, size_t sent)
{
	size_t start = 0;

	for (unsigned i = 0; i < n; i++) {
		size_t len = wire_len(f, &frames[i]);
		struct iov_cursor from;

		if (sent - start >= len) {
			start += len;
			continue;
		}
		tx_block(f);
		if (sent == start)
			return i;
		iov_cursor_init(&from, iov, n_iov);
		iov_cursor_skip(&from, start);
		/* Frames begin at entries of their own. */
		tx_keep(f, from.iov, from.n, sent - start, len);
		return i + 1;
	}
	return n;
}

unsigned framed_tx_many(struct framed *f, const struct netdev_frame *frames, unsigned n)
{
	uint8_t prefix[TX_FRAMES][PREFIX_MAX];
	struct iovec iov[TX_IOV];
	unsigned done = 0;

	if (f->ev.fd < 0) {
		f->nd->stats.tx_dropped += n;
		return n;
	}
	while (done < n && !f->tx_blocked) {
		size_t n_iov;
		unsigned batch = tx_gather(f, frames + done, n - done, iov, &n_iov, prefix);
		ssize_t sent;

		if (batch == 0) {
			tx_copied(f, &frames[done++]);
			continue;
		}
		sent = tx_send(f, iov, n_iov);
		if (sent < 0) { /* reading finds out too, and says so */
			f->nd->stats.tx_dropped += batch;
			done += batch;
			continue;
		}
		done += tx_account(f, frames + done, batch, iov, n_iov, (size_t)sent);
	}
	return done;
}

/* The socket has room again. */
static void tx_resume(struct framed *f)
{
	struct iovec iov = { f->out + f->out_head, f->out_tail - f->out_head };
	ssize_t sent = iov.iov_len ? tx_send(f, &iov, 1) : 0;

	if (sent > 0)
		f->out_head += (size_t)sent;
	if (sent < 0)
		f->out_head = f->out_tail = 0;
	if (f->out_head != f->out_tail)
		return;
	f->out_head = f->out_tail = 0;
	f->tx_blocked = false;
	update_events(f);
	netdev_tx_ready(f->nd, 0);
}

/* The connection */

static void framed_end(struct framed *f, int rc)
{
	framed_stop(f);
	f->broken(f->opaque, rc);
}

static void resume_run(void *opaque)
{
	struct framed *f = opaque;
	int rc = f->ev.fd < 0 ? 0 : rx_run(f);

	if (rc < 0)
		framed_end(f, rc);
	else
		update_events(f);
}

static void framed_ready(void *opaque, uint32_t revents)
{
	struct framed *f = opaque;
	int rc;

	if (revents & EPOLLOUT)
		tx_resume(f);
	if (f->ev.fd < 0)
		return;
	rc = rx_run(f);
	/* What nobody takes is lost with the connection. */
	if (rc == 0 && revents & (EPOLLHUP | EPOLLERR) && (!f->rx_on || f->rx_held || f->no_room))
		rc = -EPIPE;
	if (rc < 0)
		framed_end(f, rc);
	else
		update_events(f);
}

int framed_init(struct framed *f)
{
	f->ev.fd = -1;
	f->ev.ready = framed_ready;
	f->ev.opaque = f;
	f->resume.run = resume_run;
	f->resume.opaque = f;
	f->in = malloc(IN_SIZE);
	f->out = malloc(OUT_SIZE);
	if (f->in && f->out)
		return 0;
	framed_fini(f);
	return -ENOMEM;
}

void framed_fini(struct framed *f)
{
	f->tx_blocked = false; /* no news for a front end that is on its way out */
	framed_stop(f);
	free(f->in);
	free(f->out);
	f->in = f->out = NULL;
}

int framed_start(struct framed *f, int fd)
{
	int rc;

	f->ev.fd = fd;
	f->in_head = f->in_tail = f->skip = f->to_len = 0;
	f->out_head = f->out_tail = 0;
	f->tx_blocked = f->no_room = f->large = false;
	rc = eventloop_add_fd(f->nd->loop, &f->ev, f->rx_on && !f->rx_held ? EPOLLIN : 0);
	if (rc < 0)
		fd_close(&f->ev.fd);
	return rc;
}

void framed_stop(struct framed *f)
{
	bool blocked = f->tx_blocked;

	if (f->ev.fd < 0)
		return;
	eventloop_del_fd(f->nd->loop, &f->ev);
	eventloop_cancel_work(f->nd->loop, &f->resume);
	fd_close(&f->ev.fd);
	f->to_len = 0;
	f->tx_blocked = false;
	if (blocked) /* what waited is dropped with the rest */
		netdev_tx_ready(f->nd, 0);
}

bool framed_started(const struct framed *f)
{
	return f->ev.fd >= 0;
}

void framed_rx_enable(struct framed *f, bool on)
{
	f->rx_on = on;
	f->no_room = false;
	if (!on && f->to_len) {
		rx_drop(f, f->to.left);
		f->to_len = 0;
	}
	update_events(f);
	if (on && f->ev.fd >= 0)
		eventloop_post(f->nd->loop, &f->resume);
}

void framed_rx_more(struct framed *f)
{
	if (!f->no_room)
		return;
	f->no_room = false;
	eventloop_post(f->nd->loop, &f->resume);
}

void framed_rx_hold(struct framed *f, bool on)
{
	f->rx_held = on;
	update_events(f);
	if (!on && f->ev.fd >= 0)
		eventloop_post(f->nd->loop, &f->resume);
}
