/* SPDX-License-Identifier: MIT */
/* Drivers that break the rules: hostile-inputs 1, 3 and 8; see fake_console.h. */
#include "tests/unit/fake_console.h"

START_TEST(hostile_control)
{
	static const uint8_t junk[64] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	ready_all();
	for (uint32_t len = 1; len <= sizeof(junk); len++)
		send(CONSOLE_CTRL_TX, junk, len);
	for (unsigned event = 0; event < 12; event++) {
		say(31, event, 1);
		say(30, event, 1);
		say(UINT32_MAX, event, 0);
		say(0x80000001, event, 1);
	}
	say(1, CONSOLE_DEVICE_ADD, 1);
	say(1, CONSOLE_RESIZE, 1);
	say(1, CONSOLE_PORT_READY, 0);
	give(CONSOLE_CTRL_TX, 64, 3); /* nothing readable */
	ck_assert_str_eq(heard(), "");
	host(&agent, true); /* not ready */
	ck_assert_str_eq(heard(), "");
	ck_assert_uint_eq(used(CONSOLE_CTRL_TX), f.ring[CONSOLE_CTRL_TX].avail_idx);
	ck_assert(!(virtio_get_status(dev) & VIRTIO_STATUS_NEEDS_RESET));
}
END_TEST

/* One chain over and over, faster than any turn: the loop keeps its turns. */
START_TEST(flood_takes_turns)
{
	unsigned q = 5;

	start(FEATURES);
	for (unsigned i = 0; i < 128; i++)
		fake_ring_add(&f.ring[q], &(struct fake_buf){ 0x1000, 4096, false }, 1);
	console_kick(dev, q);
	ck_assert_uint_eq(used(q), CONSOLE_TURN);
	fake_virtio_turn(&f);
	ck_assert(fake_virtio_wait(&f, q, 128, 20000));
	for (unsigned i = 0; i < 128; i++)
		fake_ring_add(&f.ring[0], &(struct fake_buf){ 0x1000, 0, true }, 1);
	say(0, CONSOLE_PORT_OPEN, 1);
	hvc0.fe->can_receive(hvc0.opaque);
	ck_assert(fake_virtio_wait(&f, 0, 128, 20000)); /* receive buffers without room come back */
	ck_assert_uint_eq(hvc0.fe->can_receive(hvc0.opaque), 0);
}
END_TEST

static const struct {
	uint16_t flags, next;
	uint64_t addr;
	uint32_t len;
} bad_descs[] = {
	{ VIRTQ_DESC_F_NEXT, 0, 0x1000, 8 },
	{ VIRTQ_DESC_F_NEXT, 0xffff, 0x1000, 8 },
	{ 0, 0, UINT64_MAX, 8 },
	{ 0, 0, FAKE_LOW_SIZE - 1, 2 },
	{ 0, 0, 0x1000, UINT32_MAX },
	{ VIRTQ_DESC_F_INDIRECT, 0, 0x1000, 16 },
	{ VIRTQ_DESC_F_WRITE, 0, UINT64_MAX - 3, 8 },
};

/* Each of them on each kind of queue: that queue stops, the others go on, and a reset mends it. */
START_TEST(broken_rings)
{
	for (unsigned q = 0; q < 6; q++) {
		for (unsigned i = 0; i < ARRAY_SIZE(bad_descs); i++) {
			start(FEATURES);
			say(0, CONSOLE_DEVICE_READY, 1);
			say(0, CONSOLE_PORT_OPEN, 1);
			say(1, CONSOLE_PORT_OPEN, 1);
			hvc0.fe->can_receive(hvc0.opaque);
			agent.fe->can_receive(agent.opaque);
			fake_ring_desc(&f.ring[q], 1, bad_descs[i].addr, bad_descs[i].len, bad_descs[i].flags, bad_descs[i].next);
			f.ring[q].next_desc = 2;
			fake_ring_put(&f.ring[q], bad_descs[i].flags & VIRTQ_DESC_F_NEXT && !bad_descs[i].next ? 0 : 1);
			if (bad_descs[i].flags & VIRTQ_DESC_F_NEXT)
				fake_ring_desc(&f.ring[q], 0, 0x1000, 8, VIRTQ_DESC_F_NEXT, 0);
			fake_virtio_kick(&f, q);
			fake_virtio_kick(&f, q);
			ck_assert_uint_eq(virtio_get_status(dev) & VIRTIO_STATUS_NEEDS_RESET, VIRTIO_STATUS_NEEDS_RESET);
			ck_assert_uint_eq(atomic_exchange(&f.config_interrupts, 0), 1);
			hvc0.n_out = 0;
			if (q != 1) {
				send(1, "on", 2);
				check_out(&hvc0, "on");
			}
			type(&hvc0, "x");
			type(&agent, "x");
			fake_virtio_reset(&f);
		}
	}
}
END_TEST

/* The device takes no second chain while it holds one, so the same head again is the next request. */
START_TEST(head_again_while_held)
{
	ready_all();
	hvc0.room = 0;
	send(1, "held", 4);
	fake_ring_put(&f.ring[1], 0);
	fake_virtio_kick(&f, 1);
	hvc0.room = SIZE_MAX;
	hvc0.fe->writable(hvc0.opaque);
	check_out(&hvc0, "heldheld");
	ck_assert_uint_eq(used(1), 2);
}
END_TEST

/* Pseudo-random use, the same in each run; the sanitizers judge. */
START_TEST(random_use)
{
	uint32_t x = 2463534242;

	for (unsigned round = 0; round < 60; round++) {
		f.next_alloc = FAKE_ALLOC_START;
		start(round % 3 ? FEATURES : VIRTIO_F_VERSION_1);
		for (unsigned i = 0; i < 200; i++) {
			unsigned q;

			x ^= x << 13;
			x ^= x >> 17;
			x ^= x << 5;
			q = (x >> 8) % 8;
			switch (x % 8) {
			case 0:
				say((x >> 4) % 8, (x >> 16) % 9, (x >> 24) % 2);
				break;
			case 1:
				give(q, (x >> 12) % 100, 1);
				break;
			case 2:
				send(q, "0123456789abcdef", 1 + (x >> 12) % 16);
				break;
			case 3:
				type(&hvc0, "some input");
				type(&agent, "some input");
				break;
			case 4:
				hvc0.room = agent.room = (x >> 12) % 20;
				hvc0.fe->writable(hvc0.opaque);
				agent.fe->writable(agent.opaque);
				break;
			case 5:
				host(&agent, x >> 31);
				break;
			case 6:
				fake_ring_desc(&f.ring[q], (x >> 12) % 128, x, x >> 20, x % 4, x % 128);
				break;
			case 7:
				fake_virtio_turn(&f);
			}
		}
		fake_virtio_reset(&f);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_console_hostile");
	TCase *t = tcase_create("ports");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, hostile_control);
	tcase_add_test(t, flood_takes_turns);
	tcase_add_test(t, broken_rings);
	tcase_add_test(t, head_again_while_held);
	tcase_add_test(t, random_use);
	return run_tests(s);
}
