/* SPDX-License-Identifier: MIT */
/* What test_stream does not reach: frames with a virtio_net_hdr on the wire. */
#include "net/framed.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/fake_net.h"
#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/util.h"

static struct eventloop *loop;
static struct fake_net fake;
static struct netdev nd;
static struct framed framed;
static int peer, broken_rc;

static unsigned tx_many(struct netdev *n, unsigned queue, const struct netdev_frame *frames, unsigned count)
{
	(void)n;
	(void)queue;
	return framed_tx_many(&framed, frames, count);
}

static int tx(struct netdev *n, unsigned queue, const struct iovec *iov, size_t count, size_t len)
{
	const struct netdev_frame frame = { iov, count, len };

	return tx_many(n, queue, &frame, 1) ? 0 : -EAGAIN;
}

static void rx_enable(struct netdev *n, bool on)
{
	(void)n;
	framed_rx_enable(&framed, on);
}

static void rx_more(struct netdev *n, unsigned queue)
{
	(void)n;
	(void)queue;
	framed_rx_more(&framed);
}

static void rx_hold(struct netdev *n, bool on)
{
	(void)n;
	framed_rx_hold(&framed, on);
}

static void nd_close(struct netdev *n)
{
	framed_fini(&framed);
	netdev_fini(n);
}

static const struct netdev_ops ops = { .type = "test", .tx = tx, .tx_many = tx_many, .rx_enable = rx_enable, .rx_more = rx_more, .rx_hold = rx_hold, .close = nd_close };

static void broken(void *opaque, int rc)
{
	(void)opaque;
	broken_rc = rc;
}

static void setup(void)
{
	struct err err = ERR_INIT;
	int sv[2];

	loop = fake_loop();
	broken_rc = 0;
	memset(&nd, 0, sizeof(nd));
	memset(&framed, 0, sizeof(framed));
	ck_assert_int_eq(netdev_init(&nd, &ops, "net0", loop, &err), 0);
	nd.caps = NETDEV_VNET | NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6;
	framed.nd = &nd;
	framed.broken = broken;
	framed.vnet = true;
	ck_assert_int_eq(framed_init(&framed), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
	peer = sv[1];
	ck_assert_int_eq(framed_start(&framed, sv[0]), 0);
}

static void teardown(void)
{
	fake_net_end(&fake);
	close(peer);
	eventloop_destroy(loop);
}

/* On the wire: a length, a header of the kinds given, a frame of `len` bytes. */
static size_t put(uint8_t *p, unsigned flags, unsigned gso, size_t len)
{
	size_t wire = FRAMED_HDR + len;

	memset(p, 0, FRAMED_LENGTH + FRAMED_HDR);
	p[1] = (uint8_t)(wire >> 16);
	p[2] = (uint8_t)(wire >> 8);
	p[3] = (uint8_t)wire;
	p[4] = (uint8_t)flags;
	p[5] = (uint8_t)gso;
	p[8] = 0x34;
	for (size_t i = 0; i < len; i++)
		p[FRAMED_LENGTH + FRAMED_HDR + i] = (uint8_t)(i + (i >> 8));
	return FRAMED_LENGTH + wire;
}

START_TEST(headers_for_the_guest)
{
	static const unsigned sizes[] = { 10, 12, 20 };
	static uint8_t buf[100000];
	size_t len = put(buf, VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 40000);

	len += put(buf + len, VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 100);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (i)
			for (unsigned k = 0; k < 2; k++)
				free(fake.frames[k].data);
		fake_net_start(&fake, &nd, sizes[i], NETDEV_CSUM | NETDEV_TSO4);
		fake.pieces = 3;
		memset(fake.buf, 0xee, sizeof(fake.buf));
		ck_assert_int_eq(write(peer, buf, len), (ssize_t)len);
		fake_net_wait(&fake, 2);
		for (unsigned k = 0; k < 2; k++) {
			ck_assert(fake_net_is(&fake, k, k ? 100 : 40000, 0));
			ck_assert_uint_eq(fake.frames[k].data[0], VIRTIO_NET_HDR_F_NEEDS_CSUM);
			ck_assert_uint_eq(fake.frames[k].data[1], VIRTIO_NET_HDR_GSO_TCPV4);
			ck_assert_uint_eq(fake.frames[k].data[4], 0x34);
			for (unsigned b = 10; b < sizes[i]; b++)
				ck_assert_uint_eq(fake.frames[k].data[b], 0);
		}
	}
}
END_TEST

START_TEST(headers_that_the_guest_does_not_take)
{
	static const struct {
		unsigned guest, flags, gso;
		bool taken;
	} cases[] = {
		{ 0, 0, 0, true }, { 0, 1, 0, false }, { 0, 2, 0, false }, { NETDEV_CSUM, 1, 0, true }, { NETDEV_CSUM, 2, 0, true },
		{ NETDEV_CSUM, 1, VIRTIO_NET_HDR_GSO_TCPV4, false }, { NETDEV_CSUM | NETDEV_TSO6, 1, VIRTIO_NET_HDR_GSO_TCPV4, false },
		{ NETDEV_CSUM | NETDEV_TSO4, 1, VIRTIO_NET_HDR_GSO_TCPV6, false }, { NETDEV_CSUM | NETDEV_TSO6, 1, VIRTIO_NET_HDR_GSO_TCPV6, true },
		{ NETDEV_CSUM | NETDEV_TSO4, 1, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, false },
		{ NETDEV_CSUM | NETDEV_TSO4, 1, VIRTIO_NET_HDR_GSO_UDP, false }, { NETDEV_CSUM | NETDEV_TSO4, 1, 77, false },
	};
	static uint8_t buf[40000];

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		/* In memory already, and coming in pieces. */
		size_t len = put(buf, cases[i].flags, cases[i].gso, 100);
		unsigned n = cases[i].taken ? 3 : 1;

		len += put(buf + len, cases[i].flags, cases[i].gso, 20000);
		len += put(buf + len, 0, 0, 77);
		fake_net_start(&fake, &nd, 12, cases[i].guest);
		nd.stats.rx_dropped = 0;
		ck_assert_int_eq(write(peer, buf, 5000), 5000);
		fake_run_for(loop, 0);
		ck_assert_int_eq(write(peer, buf + 5000, len - 5000), (ssize_t)(len - 5000));
		fake_net_wait(&fake, n);
		ck_assert_uint_eq(fake.frames[n - 1].len, 12 + 77);
		ck_assert_uint_eq(nd.stats.rx_dropped, 3 - n);
		if (i + 1 < ARRAY_SIZE(cases))
			for (unsigned k = 0; k < fake.n; k++)
				free(fake.frames[k].data);
	}
}
END_TEST

START_TEST(headers_from_the_guest)
{
	static const unsigned sizes[] = { 10, 12, 20 };
	uint8_t frame[20 + 60], got[200];

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (unsigned pieces = 0; pieces < 2; pieces++) {
			/* The header may be cut anywhere. */
			size_t cut = pieces ? 5 : sizes[i], total = sizes[i] + 60;
			struct iovec iov[2] = { { frame, cut }, { frame + cut, total - cut } };

			fake_net_start(&fake, &nd, sizes[i], 0);
			for (unsigned k = 0; k < sizeof(frame); k++)
				frame[k] = (uint8_t)(k + 1);
			ck_assert_int_eq(netdev_tx(&nd, 0, iov, 2, total), 0);
			ck_assert_int_eq(read(peer, got, sizeof(got)), 4 + 12 + 60);
			ck_assert_uint_eq(got[3], 72);
			ck_assert_mem_eq(got + 4, frame, 10);
			ck_assert_uint_eq(got[14] | got[15], 0); /* num_buffers is nobody's business */
			ck_assert_mem_eq(got + 16, frame + sizes[i], 60);
		}
	}
}
END_TEST

/* In more pieces than one call takes: by way of a copy. */
START_TEST(a_scattered_frame)
{
	static uint8_t got[70000];

	fake_net_start(&fake, &nd, 12, 0);
	fake.pieces = 390;
	ck_assert_int_eq(fake_net_send(&fake, 3000, 5), 0);
	ck_assert_int_eq(read(peer, got, sizeof(got)), 16 + 3000);
	for (unsigned i = 0; i < 3000; i++)
		ck_assert_uint_eq(got[16 + i], (uint8_t)(5 + i + (i >> 8)));
	for (unsigned i = 4; i < 16; i++)
		ck_assert_uint_eq(got[i], 0);
}
END_TEST

/* Held in the middle of a frame: the guest's buffers stay as they are, and then the frame is completed. */
START_TEST(held)
{
	static uint8_t buf[FRAMED_LENGTH + FRAMED_HDR + 9000];
	static const uint8_t untouched[9000];
	size_t n = put(buf, 0, 0, 9000);

	fake_net_start(&fake, &nd, 12, 0);
	memset(fake.buf, 0, sizeof(fake.buf));
	ck_assert_int_eq(send(peer, buf, 3000, 0), 3000);
	fake_run_for(loop, 5);
	netdev_rx_hold(&nd, true);
	framed_rx_enable(&framed, true); /* looks */
	ck_assert_int_eq(send(peer, buf + 3000, n - 3000, 0), (ssize_t)(n - 3000));
	fake_run_idle(loop, 50); /* nor does it turn for nothing */
	ck_assert_uint_eq(fake.n, 0);
	ck_assert_mem_eq(fake.buf + 12 + 3000, untouched, 9000 - 3000);
	netdev_rx_hold(&nd, false);
	fake_net_wait(&fake, 1);
	ck_assert_uint_eq(fake.frames[0].len, 12 + 9000);
	ck_assert_mem_eq(fake.frames[0].data + 12, buf + FRAMED_LENGTH + FRAMED_HDR, 9000);
}
END_TEST

START_TEST(lengths_without_a_frame)
{
	static const uint8_t bad[4] = { 0, 0, 0, 12 }; /* a header and nothing */

	fake_net_start(&fake, &nd, 12, 0);
	ck_assert_int_eq(write(peer, bad, 4), 4);
	fake_run_for(loop, 20);
	ck_assert_int_eq(broken_rc, -EPROTO);
	ck_assert(!framed_started(&framed));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		headers_for_the_guest, headers_that_the_guest_does_not_take, headers_from_the_guest, a_scattered_frame, held, lengths_without_a_frame,
	};

	return suite_run("framed", tests, ARRAY_SIZE(tests), setup, teardown);
}
