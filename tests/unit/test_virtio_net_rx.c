/* SPDX-License-Identifier: MIT */
/* virtio-net: receiving. */
#include "tests/unit/fake_nic.h"

#include <string.h>
#include <unistd.h>

#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/iov.h"

static struct fake_nic t;
static const uint8_t peer[6] = { 0x52, 0x54, 0, 1, 2, 3 };
static uint8_t frame[NETDEV_FRAME_MAX + 100], got[NETDEV_FRAME_MAX + 100];
static const uint8_t zeroes[VNET_HDR_HASH];

static void setup(void)
{
	log_set_level(LOG_LEVEL_NONE);
	fake_nic_init(&t);
	fake_frame_fill(frame, sizeof(frame), peer, 1);
}

static void teardown(void)
{
	fake_nic_fini(&t);
}

static void start(void)
{
	fake_nic_create(&t);
	fake_nic_start(&t, FAKE_NIC_FEATURES);
}

static void start_unmerged(void)
{
	fake_nic_create(&t);
	fake_nic_start(&t, FAKE_NIC_FEATURES & ~VNET_F_MRG_RXBUF);
}

static void add(unsigned n, uint32_t len)
{
	while (n--)
		fake_nic_rx_add(&t, 0, len);
	fake_nic_kick(&t, 0);
}

static bool read_frame(size_t len)
{
	return fake_nic_read(&t, 0, zeroes, frame, len);
}

/* The driver has it, in `buffers` buffers. */
static void check_got(size_t len, unsigned buffers)
{
	size_t n = fake_nic_receive(&t, 0, got, sizeof(got));
	size_t hdr = t.net->hdr_size;

	ck_assert_uint_eq(n, hdr + len);
	ck_assert_mem_eq(got + hdr, frame, len);
	ck_assert_mem_eq(got, zeroes, VNET_HDR_LEGACY);
	if (hdr > VNET_HDR_LEGACY)
		ck_assert_uint_eq(load_le16(got + VNET_HDR_LEGACY), buffers);
}

static void check_none(void)
{
	ck_assert_uint_eq(fake_nic_receive(&t, 0, got, sizeof(got)), 0);
}

static bool needs_reset(void)
{
	return virtio_get_status(t.v.dev) & VIRTIO_STATUS_NEEDS_RESET;
}

START_TEST(one_buffer)
{
	start();
	ck_assert(!read_frame(60));
	add(4, 1536);
	ck_assert(read_frame(60));
	ck_assert_uint_eq(t.room, 2); /* the buffer, and the spill */
	check_got(60, 1);
	ck_assert(read_frame(1524));
	check_got(1524, 1);
	ck_assert_uint_eq(t.nd.stats.rx_frames, 2);
	ck_assert_uint_eq(t.nd.stats.rx_bytes, 1584);
	ck_assert(fake_nic_deliver(&t, 0, frame, 700));
	check_got(700, 1);
}
END_TEST

START_TEST(merged_buffers)
{
	start();
	add(100, 1536);
	/* The first long one by way of the spill, the next ones straight. */
	ck_assert(read_frame(5000));
	ck_assert_uint_eq(t.room, 2);
	check_got(5000, 4);
	ck_assert(read_frame(9000));
	ck_assert_uint_eq(t.room, 43);
	check_got(9000, 6);
	ck_assert(read_frame(3 * 1536 - 12));
	check_got(3 * 1536 - 12, 3);
	ck_assert(read_frame(65550));
	check_got(65550, 43);
	ck_assert_uint_eq(t.nd.stats.rx_dropped, 0);
	/* Buffers that room was made of and that were not used are for the next ones. */
	for (unsigned i = 0; i < 44; i++) {
		ck_assert(read_frame(100 + i));
		check_got(100 + i, 1);
	}
	ck_assert(!read_frame(100));
}
END_TEST

START_TEST(short_frames_again)
{
	start();
	add(200, 1536);
	ck_assert(read_frame(5000));
	for (unsigned i = 0; i < 65; i++)
		ck_assert(read_frame(100));
	ck_assert_uint_eq(t.room, 2);
}
END_TEST

START_TEST(more_buffers_than_entries)
{
	start();
	add(250, 300);
	ck_assert(read_frame(60000));
	ck_assert(read_frame(100));
	check_got(60000, 201);
	check_got(100, 1);
}
END_TEST

START_TEST(long_chains)
{
	struct fake_buf bufs[100];

	start_unmerged();
	for (unsigned i = 0; i < ARRAY_SIZE(bufs); i++)
		bufs[i] = (struct fake_buf){ FAKE_HIGH + i * 700, 700, true };
	t.v.ring[0].next_desc = 0;
	t.rx_gpa[0][fake_ring_add(&t.v.ring[0], bufs, ARRAY_SIZE(bufs))] = FAKE_HIGH;
	fake_nic_kick(&t, 0);
	ck_assert(read_frame(65550));
	check_got(65550, 1);
}
END_TEST

START_TEST(waits_for_buffers_and_loses_nothing)
{
	start();
	add(2, 1536);
	ck_assert(read_frame(5000)); /* needs four */
	check_none();
	ck_assert(!read_frame(60)); /* no room for another meanwhile */
	ck_assert(!fake_nic_deliver(&t, 0, frame, 60));
	t.more[0] = 0;
	add(1, 1536);
	check_none();
	ck_assert_uint_eq(t.more[0], 0);
	add(3, 1536);
	check_got(5000, 4);
	ck_assert_uint_ge(t.more[0], 1);
	ck_assert_uint_ge(atomic_load(&t.v.queue_interrupts[0]), 1);
	ck_assert(read_frame(60));
	check_got(60, 1);
	ck_assert_uint_eq(t.nd.stats.rx_dropped, 0);
}
END_TEST

/* A driver that gives few buffers, and a frame that is longer than all of them: it does not cut the driver off for good. */
START_TEST(waits_for_buffers_in_vain)
{
	start();
	add(4, 1536);
	ck_assert(read_frame(20000));
	ck_assert(!read_frame(60));
	t.more[0] = 0;
	for (unsigned i = 0; i < 2000 && !t.more[0]; i++) {
		usleep(1000);
		fake_virtio_turn(&t.v);
	}
	ck_assert_uint_eq(t.more[0], 1);
	ck_assert_uint_eq(t.nd.stats.rx_dropped, 1);
	ck_assert(read_frame(60));
	check_got(60, 1);
	/* The buffers that were kept for it are there for others. */
	ck_assert(read_frame(4000));
	check_got(4000, 3);
	/* One that gets its buffers is not dropped later. */
	add(1, 1536);
	ck_assert(read_frame(4000));
	add(2, 1536);
	check_got(4000, 3);
	ck_assert(!t.net->rx[0].held_timer.armed);
}
END_TEST

START_TEST(what_can_never_fit_is_dropped)
{
	start();
	add(256, 200); /* all that the queue can hold: 51,200 bytes */
	ck_assert(read_frame(60000));
	check_none();
	ck_assert_uint_eq(t.nd.stats.rx_dropped, 1);
	ck_assert(read_frame(51200 - 12));
	check_got(51200 - 12, 256);
}
END_TEST

START_TEST(full_then_recovery)
{
	unsigned delivered = 0, taken = 0;

	start();
	for (unsigned round = 0; round < 20; round++) {
		add(64, 1536);
		while (read_frame(60 + delivered % 1000))
			delivered++;
		ck_assert_uint_eq(fake_ring_used_flags(&t.v.ring[0]), 0); /* wants to hear of buffers */
		t.more[0] = 0;
		while (taken < delivered)
			check_got(60 + taken++ % 1000, 1);
		add(1, 1536);
		ck_assert_uint_eq(t.more[0], 1); /* reads on */
		ck_assert(read_frame(60 + delivered++ % 1000));
		check_got(60 + taken++ % 1000, 1);
	}
	ck_assert_uint_eq(delivered, 20 * 65);
	ck_assert_uint_eq(t.nd.stats.rx_dropped, 0);
}
END_TEST

START_TEST(doorbell_is_off_while_there_are_buffers)
{
	start();
	ck_assert(!read_frame(60));
	ck_assert_uint_eq(fake_ring_used_flags(&t.v.ring[0]), 0);
	add(10, 1536);
	ck_assert(read_frame(60));
	ck_assert_uint_eq(fake_ring_used_flags(&t.v.ring[0]), VIRTQ_USED_F_NO_NOTIFY);
}
END_TEST

START_TEST(unmerged_buffers)
{
	start_unmerged();
	add(2, 1536);
	ck_assert(read_frame(3000)); /* does not fit, and never will */
	check_none();
	ck_assert_uint_eq(t.nd.stats.rx_dropped, 1);
	ck_assert(read_frame(1524));
	check_got(1524, 1);
	ck_assert(read_frame(1525));
	check_none();
	ck_assert(read_frame(14));
	check_got(14, 1); /* 5.1.6.4.1: num_buffers is 1 without MRG_RXBUF too */
}
END_TEST

START_TEST(legacy_header)
{
	struct fake_buf bufs[2] = { { FAKE_HIGH, 10, true }, { FAKE_HIGH + 10, 1514, true } };

	fake_nic_create(&t);
	fake_nic_start_legacy(&t, VNET_F_MAC);
	for (unsigned i = 0; i < 2; i++)
		t.rx_gpa[0][fake_ring_add(&t.v.ring[0], bufs, 2)] = FAKE_HIGH;
	fake_nic_kick(&t, 0);
	ck_assert(read_frame(1514));
	check_got(1514, 0);
	ck_assert(read_frame(60));
	check_got(60, 0);
}
END_TEST

START_TEST(header_cut_up)
{
	struct fake_buf bufs[4] = { { FAKE_HIGH, 3, true }, { FAKE_HIGH + 3, 8, true }, { FAKE_HIGH + 11, 1, true }, { FAKE_HIGH + 12, 500, true } };

	start();
	t.rx_gpa[0][fake_ring_add(&t.v.ring[0], bufs, 4)] = FAKE_HIGH;
	fake_nic_kick(&t, 0);
	ck_assert(read_frame(400));
	check_got(400, 1);
}
END_TEST

START_TEST(lengths_that_are_no_frames)
{
	start();
	add(100, 1536);
	for (size_t len = 0; len < 14; len++) {
		ck_assert(fake_nic_deliver(&t, 0, frame, len));
		ck_assert(read_frame(len));
	}
	check_none();
	ck_assert_uint_eq(t.nd.stats.rx_dropped, 28);
	ck_assert(fake_nic_deliver(&t, 0, frame, 65551));
	ck_assert_uint_eq(t.nd.stats.rx_dropped, 29);
	ck_assert(read_frame(14));
	check_got(14, 1);
	ck_assert(fake_nic_deliver(&t, 0, frame, 65550));
	check_got(65550, 43);
}
END_TEST

START_TEST(chains_that_are_no_room)
{
	struct fake_buf readable[2] = { { FAKE_HIGH, 100, false }, { FAKE_HIGH, 2000, true } };
	struct fake_buf small = { FAKE_HIGH, 11, true }, none = { FAKE_HIGH, 0, true };

	start();
	fake_ring_add(&t.v.ring[0], readable, 2);
	fake_nic_kick(&t, 0);
	ck_assert(!read_frame(60));
	ck_assert(needs_reset());
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	fake_ring_add(&t.v.ring[0], &small, 1);
	fake_nic_kick(&t, 0);
	ck_assert(!read_frame(60));
	ck_assert(needs_reset());
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	fake_ring_add(&t.v.ring[0], &none, 1);
	fake_nic_kick(&t, 0);
	ck_assert(!read_frame(60));
	ck_assert(needs_reset());
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	fake_ring_put(&t.v.ring[0], 1000);
	fake_nic_kick(&t, 0);
	ck_assert(!read_frame(60));
	ck_assert(needs_reset());
	/* It breaks while a frame waits: that one is gone, the next driver starts anew. */
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	add(1, 1536);
	ck_assert(read_frame(5000));
	fake_ring_put(&t.v.ring[0], 1000);
	fake_nic_kick(&t, 0);
	ck_assert(needs_reset());
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	add(1, 1536);
	ck_assert(read_frame(70));
	check_got(70, 1);
}
END_TEST

START_TEST(flags_of_the_header)
{
	uint8_t hdr[VNET_HDR] = { VNET_HDR_F_DATA_VALID, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };

	start();
	add(4, 1536);
	ck_assert(fake_nic_read(&t, 0, hdr, frame, 60));
	ck_assert_uint_eq(fake_nic_receive(&t, 0, got, sizeof(got)), 72);
	ck_assert_uint_eq(got[0], VNET_HDR_F_DATA_VALID);
	fake_nic_start(&t, FAKE_NIC_FEATURES & ~(VNET_F_GUEST_CSUM | VNET_F_GUEST_TSO4));
	add(4, 1536);
	ck_assert(fake_nic_read(&t, 0, hdr, frame, 60));
	ck_assert_uint_eq(fake_nic_receive(&t, 0, got, sizeof(got)), 72);
	ck_assert_uint_eq(got[0], 0);
	/* Also on the long way. */
	ck_assert(fake_nic_read(&t, 0, hdr, frame, 2000));
	ck_assert_uint_eq(fake_nic_receive(&t, 0, got, sizeof(got)), 2012);
	ck_assert_uint_eq(got[0], 0);
}
END_TEST

START_TEST(link_down)
{
	start();
	add(4, 1536);
	virtio_net_set_link(t.v.dev, false);
	/* Frames are read and thrown away, so that none is old when the link is up again. */
	for (unsigned i = 0; i < 20; i++)
		ck_assert(read_frame(1000));
	check_none();
	ck_assert_uint_eq(t.nd.stats.rx_dropped, 20);
	virtio_net_set_link(t.v.dev, true);
	ck_assert(read_frame(60));
	check_got(60, 1);
}
END_TEST

START_TEST(one_interrupt_for_a_batch)
{
	struct iovec iov[NETDEV_RX_IOV];

	start();
	add(100, 1536);
	atomic_store(&t.v.queue_interrupts[0], 0);
	for (unsigned i = 0; i < 50; i++) {
		ck_assert_uint_gt(netdev_rx_room(&t.nd, 0, 100, iov), 0);
		netdev_rx_done(&t.nd, 0, 90);
	}
	ck_assert_uint_eq(atomic_load(&t.v.queue_interrupts[0]), 0);
	netdev_rx_flush(&t.nd, 0);
	netdev_rx_flush(&t.nd, 0);
	ck_assert_uint_eq(atomic_load(&t.v.queue_interrupts[0]), 1);
}
END_TEST

START_TEST(reset_with_a_frame_waiting)
{
	start();
	add(2, 1536);
	ck_assert(read_frame(5000));
	fake_virtio_reset(&t.v);
	ck_assert(!t.rx_on);
	ck_assert(!read_frame(60));
	ck_assert(!fake_nic_deliver(&t, 0, frame, 60));
	fake_nic_start(&t, FAKE_NIC_FEATURES);
	ck_assert(!read_frame(60));
	add(3, 1536);
	ck_assert(read_frame(60));
	check_got(60, 1);
	check_none();
	/* After the device is gone there is no front end. */
	fake_virtio_reset(&t.v);
	t.net->dev.ops->destroy(&t.net->dev);
	t.net = NULL;
	ck_assert(!fake_nic_deliver(&t, 0, frame, 60));
	netdev_rx_flush(&t.nd, 0);
	netdev_tx_ready(&t.nd, 0);
	netdev_link(&t.nd, false);
}
END_TEST

START_TEST(room_that_was_not_used)
{
	struct iovec iov[NETDEV_RX_IOV];

	start();
	add(1, 1536);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_uint_eq(netdev_rx_room(&t.nd, 0, 100, iov), 1);
	ck_assert(read_frame(60));
	check_got(60, 1);
	ck_assert_uint_eq(netdev_rx_room(&t.nd, 5, 100, iov), 0);
}
END_TEST

START_TEST(indices_wrap)
{
	unsigned sent = 0;

	start();
	for (unsigned round = 0; round < 300; round++) {
		t.v.next_alloc = UINT64_C(0x400000); /* the same buffers over and over */
		add(250, 600);
		for (unsigned i = 0; i < 250;) {
			size_t len = 14 + sent * 37 % 1900;
			unsigned n = (unsigned)((len + 12 + 599) / 600);

			if (i + n > 250)
				len = 20, n = 1;
			ck_assert(read_frame(len));
			check_got(len, n);
			i += n;
			sent++;
		}
		ck_assert(!read_frame(60));
	}
	ck_assert_uint_eq(t.nd.stats.rx_dropped, 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		one_buffer, merged_buffers, short_frames_again, more_buffers_than_entries, long_chains, waits_for_buffers_and_loses_nothing,
		waits_for_buffers_in_vain,
		what_can_never_fit_is_dropped, full_then_recovery, doorbell_is_off_while_there_are_buffers, unmerged_buffers, legacy_header,
		header_cut_up, lengths_that_are_no_frames, chains_that_are_no_room, flags_of_the_header, link_down, one_interrupt_for_a_batch,
		reset_with_a_frame_waiting, room_that_was_not_used, indices_wrap,
	};

	return suite_run("virtio_net_rx", tests, ARRAY_SIZE(tests), setup, teardown);
}
