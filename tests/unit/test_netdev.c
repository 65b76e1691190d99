/* SPDX-License-Identifier: MIT */
/* The way between front ends and back ends: lengths, counting, batches. */
#include "net/netdev.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/util.h"

static struct eventloop *loop;
static struct netdev nd;
static unsigned n_tx, n_flush, n_more, n_offloads, n_done, n_ready, n_link, room_size;
static int tx_rc, set_rc;
static bool rx_on, closed, drops;
static uint8_t room[NETDEV_FRAME_MAX + 100];
static size_t done_len;

/* The back end */

static int tx(struct netdev *d, unsigned queue, const struct iovec *iov, size_t n, size_t len)
{
	(void)queue;
	(void)iov;
	(void)n;
	(void)len;
	if (tx_rc == 0)
		n_tx++;
	d->stats.tx_dropped += drops;
	return tx_rc;
}

static unsigned takes;

static unsigned tx_many(struct netdev *d, unsigned queue, const struct netdev_frame *frames, unsigned n)
{
	(void)d;
	(void)queue;
	for (unsigned i = 0; i < n; i++)
		ck_assert_uint_ge(frames[i].len, 12 + 14);
	n_tx += n < takes ? n : takes;
	return n < takes ? n : takes;
}

static void flush(struct netdev *d, unsigned queue)
{
	(void)d;
	(void)queue;
	n_flush++;
}

static void rx_enable(struct netdev *d, bool on)
{
	(void)d;
	rx_on = on;
}

static void rx_more(struct netdev *d, unsigned queue)
{
	(void)d;
	(void)queue;
	n_more++;
}

static int set_offloads(struct netdev *d, const struct netdev_offloads *o)
{
	(void)d;
	(void)o;
	n_offloads++;
	return set_rc;
}

static void close_it(struct netdev *d)
{
	closed = true;
	netdev_fini(d);
}

static struct netdev_ops ops;

/* The front end */

static unsigned rx_room(void *opaque, unsigned queue, size_t want, struct iovec *iov)
{
	(void)queue;
	ck_assert_ptr_eq(opaque, &nd);
	if (room_size == 0)
		return 0;
	iov[0] = (struct iovec){ room, room_size < 20 ? room_size : 20 };
	iov[1] = (struct iovec){ room + 20, room_size < 20 ? 0 : (want < room_size ? want : room_size) - 20 };
	return 2;
}

static void rx_done(void *opaque, unsigned queue, size_t len)
{
	(void)opaque;
	(void)queue;
	n_done++;
	done_len = len;
}

static void rx_flush(void *opaque, unsigned queue)
{
	(void)opaque;
	(void)queue;
	n_flush++;
}

static void tx_ready(void *opaque, unsigned queue)
{
	(void)opaque;
	(void)queue;
	n_ready++;
}

static void link_changed(void *opaque, bool up)
{
	(void)opaque;
	ck_assert(nd.link_up == up);
	n_link++;
}

static const struct netdev_frontend_ops frontend = {
	.rx_room = rx_room, .rx_done = rx_done, .rx_flush = rx_flush, .tx_ready = tx_ready, .link = link_changed,
};

static void setup(void)
{
	struct err err = ERR_INIT;

	ops = (struct netdev_ops){ .type = "test", .tx = tx, .flush = flush, .rx_enable = rx_enable, .rx_more = rx_more,
				   .set_offloads = set_offloads, .close = close_it };
	n_tx = n_flush = n_more = n_offloads = n_done = n_ready = n_link = 0;
	tx_rc = set_rc = 0;
	rx_on = closed = drops = false;
	room_size = sizeof(room);
	memset(&nd, 0, sizeof(nd));
	loop = eventloop_create(&err);
	ck_assert_int_eq(netdev_init(&nd, &ops, "n0", loop, &err), 0);
	nd.caps = NETDEV_VNET | NETDEV_CSUM;
	ck_assert_int_eq(netdev_set_offloads(&nd, &(struct netdev_offloads){ .vnet_hdr_size = 12 }), 0);
	netdev_attach(&nd, &frontend, &nd);
	netdev_rx_enable(&nd, true);
}

static void teardown(void)
{
	netdev_close(&nd);
	ck_assert(closed && !rx_on);
	eventloop_destroy(loop);
}

START_TEST(a_new_one)
{
	ck_assert_str_eq(nd.id, "n0");
	ck_assert_uint_eq(nd.queues, 1);
	ck_assert(nd.link_up);
	netdev_close(NULL);
}
END_TEST

START_TEST(lengths_of_frames_sent)
{
	static const size_t bad[] = { 0, 12, 25, 12 + 65551, SIZE_MAX }, good[] = { 26, 12 + 1500, 12 + 65550 };
	struct iovec iov = { room, 26 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_int_eq(netdev_tx(&nd, 0, &iov, 1, bad[i]), 0);
	ck_assert_uint_eq(n_tx, 0);
	ck_assert_uint_eq(nd.stats.tx_dropped, ARRAY_SIZE(bad));
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		ck_assert_int_eq(netdev_tx(&nd, 0, &iov, 1, good[i]), 0);
	ck_assert_uint_eq(n_tx, 3);
	ck_assert_uint_eq(nd.stats.tx_frames, 3);
	ck_assert_uint_eq(nd.stats.tx_bytes, 14 + 1500 + 65550);
}
END_TEST

START_TEST(counts_of_frames_sent)
{
	struct iovec iov = { room, 26 };

	tx_rc = -EAGAIN;
	ck_assert_int_eq(netdev_tx(&nd, 0, &iov, 1, 26), -EAGAIN);
	ck_assert_uint_eq(nd.stats.tx_frames, 0);
	tx_rc = 0;
	drops = true;
	ck_assert_int_eq(netdev_tx(&nd, 0, &iov, 1, 26), 0);
	ck_assert_uint_eq(nd.stats.tx_frames, 0);
	ck_assert_uint_eq(nd.stats.tx_dropped, 1);
}
END_TEST

START_TEST(many)
{
	struct iovec iov = { room, 26 };
	struct netdev_frame f[5] = { { &iov, 1, 26 }, { &iov, 1, 3 }, { &iov, 1, 30 }, { &iov, 1, 40 }, { &iov, 1, 70000 } };

	/* One by one. */
	ck_assert_uint_eq(netdev_tx_many(&nd, 0, f, 5), 5);
	ck_assert_uint_eq(n_tx, 3);
	ck_assert_uint_eq(n_flush, 1);
	ck_assert_uint_eq(nd.stats.tx_dropped, 2);
	tx_rc = -EAGAIN;
	ck_assert_uint_eq(netdev_tx_many(&nd, 0, f, 5), 0);
	ck_assert_uint_eq(netdev_tx_many(&nd, 0, f + 1, 4), 1);
	/* Together. */
	ops.tx_many = tx_many;
	takes = 100;
	n_tx = 0;
	ck_assert_uint_eq(netdev_tx_many(&nd, 0, f, 5), 5);
	ck_assert_uint_eq(n_tx, 3);
	takes = 1;
	ck_assert_uint_eq(netdev_tx_many(&nd, 0, f, 5), 3); /* the first, the bad one, and one of two */
	takes = 0;
	ck_assert_uint_eq(netdev_tx_many(&nd, 0, f, 5), 0);
	ck_assert_uint_eq(nd.stats.tx_frames, 3 + 3 + 2);
	ck_assert_uint_eq(nd.stats.tx_bytes, 2 * (14 + 18 + 28) + 14 + 18);
}
END_TEST

START_TEST(settings)
{
	static const unsigned bad[] = { 0, 9, 21 };
	struct netdev_offloads o = { .guest = NETDEV_CSUM, .vnet_hdr_size = 12 };

	n_offloads = 0;
	ck_assert_int_eq(netdev_set_offloads(&nd, &o), 0);
	ck_assert_uint_eq(nd.offloads.guest, NETDEV_CSUM);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_int_eq(netdev_set_offloads(&nd, &(struct netdev_offloads){ .vnet_hdr_size = bad[i] }), -EINVAL);
	o.guest = NETDEV_TSO4; /* which it cannot */
	ck_assert_int_eq(netdev_set_offloads(&nd, &o), -EINVAL);
	o.guest = 0;
	set_rc = -EIO;
	ck_assert_int_eq(netdev_set_offloads(&nd, &o), -EIO);
	ck_assert_uint_eq(nd.offloads.guest, NETDEV_CSUM);
	ck_assert_uint_eq(n_offloads, 2);
	ck_assert_int_eq(netdev_set_queues(&nd, 1), 0);
	ck_assert_int_eq(netdev_set_queues(&nd, 0), -EINVAL);
	ck_assert_int_eq(netdev_set_queues(&nd, 2), -EINVAL);
}
END_TEST

START_TEST(delivers)
{
	uint8_t frame[200], hdr[12];

	memset(frame, 7, sizeof(frame));
	memset(hdr, 9, sizeof(hdr));
	memset(room, 0xee, sizeof(room));
	ck_assert(netdev_deliver(&nd, 0, NULL, frame, 200));
	ck_assert_uint_eq(done_len, 212);
	ck_assert_uint_eq(room[11], 0);
	ck_assert_mem_eq(room + 12, frame, 200);
	ck_assert(netdev_deliver(&nd, 0, hdr, frame, 14));
	ck_assert_mem_eq(room, hdr, 12);
	ck_assert(netdev_deliver(&nd, 0, NULL, frame, 13));
	ck_assert(netdev_deliver(&nd, 0, NULL, frame, 0));
	ck_assert_uint_eq(nd.stats.rx_dropped, 2);
	ck_assert_uint_eq(nd.stats.rx_frames, 2);
	ck_assert_uint_eq(nd.stats.rx_bytes, 214);
	room_size = 100; /* less than it needs, against the rules: it does not run over */
	ck_assert(netdev_deliver(&nd, 0, NULL, frame, 200));
	ck_assert_uint_eq(nd.stats.rx_dropped, 3);
	room_size = 0;
	ck_assert(!netdev_deliver(&nd, 0, NULL, frame, 200));
	ck_assert_uint_eq(n_done, 2);
}
END_TEST

START_TEST(nobody_there)
{
	struct iovec iov[NETDEV_RX_IOV];

	netdev_rx_enable(&nd, false);
	ck_assert(!rx_on);
	ck_assert_uint_eq(netdev_rx_room(&nd, 0, 100, iov), 0);
	netdev_rx_more(&nd, 0);
	ck_assert_uint_eq(n_more, 0);
	netdev_rx_enable(&nd, true);
	netdev_rx_more(&nd, 0);
	ck_assert_uint_eq(n_more, 1);
	netdev_attach(&nd, NULL, NULL);
	ck_assert_uint_eq(netdev_rx_room(&nd, 0, 100, iov), 0);
	netdev_rx_flush(&nd, 0);
	netdev_tx_ready(&nd, 0);
	netdev_link(&nd, false);
	ck_assert_uint_eq(n_link + n_ready + n_flush, 0);
}
END_TEST

START_TEST(the_link)
{
	netdev_link(&nd, true);
	ck_assert_uint_eq(n_link, 0);
	netdev_link(&nd, false);
	netdev_link(&nd, false);
	netdev_link(&nd, true);
	ck_assert_uint_eq(n_link, 2);
}
END_TEST

START_TEST(lengths_of_frames_received)
{
	struct iovec iov[NETDEV_RX_IOV];

	ck_assert_uint_eq(netdev_rx_room(&nd, 0, 100, iov), 2);
	netdev_rx_done(&nd, 0, 25);
	netdev_rx_done(&nd, 0, 0);
	netdev_rx_done(&nd, 0, 12 + 65551);
	ck_assert_uint_eq(n_done, 0);
	ck_assert_uint_eq(nd.stats.rx_dropped, 3);
	netdev_rx_done(&nd, 0, 26);
	ck_assert_uint_eq(n_done, 1);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_new_one, lengths_of_frames_sent, counts_of_frames_sent, many, settings, delivers, nobody_there, the_link,
		lengths_of_frames_received,
	};

	return suite_run("netdev", tests, ARRAY_SIZE(tests), setup, teardown);
}
