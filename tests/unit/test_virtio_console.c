/* SPDX-License-Identifier: MIT */
/* What ports, peers and control messages do; see fake_console.h. */
#include "tests/unit/fake_console.h"

START_TEST(offers)
{
	ck_assert_uint_eq(dev->n_queues, 64);
	ck_assert_uint_eq(dev->ops->features(dev), VIRTIO_CONSOLE_F_MULTIPORT | VIRTIO_CONSOLE_F_EMERG_WRITE);
	ck_assert_uint_eq(console_rx_queue(0), 0);
	ck_assert_uint_eq(console_rx_queue(1), 4);
	ck_assert_uint_eq(console_tx_queue(30), 63);
	for (unsigned q = 0; q < 64; q++)
		if (q != 2 && q != 3)
			ck_assert_uint_eq(q % 2 ? console_tx_queue(console_queue_port(q)) : console_rx_queue(console_queue_port(q)), q);
}
END_TEST

START_TEST(configuration)
{
	uint8_t all[12], part[3];

	dev->ops->config_read(dev, 0, all, 12);
	ck_assert_uint_eq(load_le16(all), 0);
	ck_assert_uint_eq(load_le32(all + 4), VIRTIO_CONSOLE_PORTS);
	ck_assert_uint_eq(load_le32(all + 8), 0);
	dev->ops->config_read(dev, 3, part, 3);
	ck_assert_mem_eq(part, all + 3, 3);
}
END_TEST

START_TEST(emergency_write)
{
	const uint8_t word[12] = { 1, 2, 3, 4, 5, 6, 7, 8, '!', 9, 9, 9 };

	dev->ops->config_write(dev, 8, word + 8, 4);
	dev->ops->config_write(dev, 8, word + 8, 1);
	dev->ops->config_write(dev, 0, word, 12);
	dev->ops->config_write(dev, 0, word, 8);
	dev->ops->config_write(dev, 9, word, 3);
	dev->ops->config_write(dev, 11, word, 1);
	check_out(&hvc0, "!!!");
	virtio_console_remove_port(dev, 0);
	dev->ops->config_write(dev, 8, word + 8, 4);
	ck_assert_uint_eq(hvc0.n_out, 0);
	check_out(&hvc5, "!"); /* the next console */
	virtio_console_remove_port(dev, 5);
	dev->ops->config_write(dev, 8, word + 8, 4);
}
END_TEST

START_TEST(ports_refused)
{
	static const struct {
		struct virtio_console_port_config cfg;
		int code;
	} bad[] = {
		{ { .nr = VIRTIO_CONSOLE_PORTS }, -ERANGE },
		{ { .nr = UINT32_MAX }, -ERANGE },
		{ { .nr = 1 }, -EBUSY },
		{ { .nr = 0, .console = true }, -EBUSY },
		{ { .nr = 2, .name = AGENT }, -EEXIST },
	};
	struct virtio_console_port_config zero = { .nr = 0 };
	struct virtio_console_config cfg = { .name = "v", .max_ports = VIRTIO_CONSOLE_PORTS + 1 };
	struct device_env env = { .loop = f.loop, .mem = f.mem };
	struct err err = ERR_INIT;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(virtio_console_add_port(dev, &bad[i].cfg, &err), bad[i].code);
		ck_assert_ptr_nonnull(strstr(err.msg, "virtio-serial0: "));
	}
	virtio_console_remove_port(dev, 0);
	virtio_console_remove_port(dev, 0);
	virtio_console_remove_port(dev, 1000);
	ck_assert_int_eq(virtio_console_add_port(dev, &zero, &err), -EINVAL);
	ck_assert_ptr_null(virtio_console_create(&env, &cfg, &err));
	cfg.max_ports = 0;
	ck_assert_ptr_null(virtio_console_create(&env, &cfg, &err));
	ck_assert_int_eq(err.code, -ERANGE);
}
END_TEST

/* A driver that does not know MULTIPORT: port 0 is open. */
START_TEST(single_console)
{
	start(VIRTIO_F_VERSION_1);
	ck_assert_uint_eq(type(&hvc0, "early"), 0);
	give(0, 16, 2);
	ck_assert_uint_eq(hvc0.accepts, 1);
	ck_assert_uint_eq(type(&hvc0, "hello"), 5);
	check_in(0, "hello");
	ck_assert_uint_eq(type(&hvc0, "0123456789abcdefXYZ"), 16);
	check_in(0, "0123456789abcdef");
	ck_assert_uint_eq(atomic_load(&f.queue_interrupts[0]), 2);
	ck_assert_uint_eq(type(&hvc0, "XYZ"), 0);
	ck_assert_uint_eq(hvc0.accepts, 1);
	give(0, 16, 1);
	ck_assert_uint_eq(hvc0.accepts, 2);
	send(1, "out", 3);
	check_out(&hvc0, "out");
	ck_assert_uint_eq(used(1), 1);
	ck_assert_uint_eq(atomic_load(&f.queue_interrupts[1]), 1);
	/* The control queues mean nothing, the other ports are not there. */
	give(CONSOLE_CTRL_RX, CTRL_BUF, 1);
	say(0, CONSOLE_DEVICE_READY, 1);
	ck_assert_uint_eq(used(CONSOLE_CTRL_RX), 0);
	give(console_rx_queue(5), 16, 1);
	ck_assert_uint_eq(type(&hvc5, "x"), 0);
}
END_TEST

START_TEST(one_port_device)
{
	begin();
	create(1, 80, 25);
	ck_assert_uint_eq(dev->n_queues, 2);
	ck_assert_uint_eq(dev->ops->features(dev), VIRTIO_CONSOLE_F_SIZE | VIRTIO_CONSOLE_F_EMERG_WRITE);
	start(VIRTIO_F_VERSION_1 | VIRTIO_CONSOLE_F_SIZE);
	send(1, "x", 1);
	check_out(&hvc0, "x");
	virtio_console_resize(dev, 80, 25);
	ck_assert_uint_eq(atomic_load(&f.config_interrupts), 1); /* that there is a size */
	virtio_console_resize(dev, 132, 43);
	ck_assert_uint_eq(atomic_load(&f.config_interrupts), 2);
	teardown();
}
END_TEST

START_TEST(multiport_start)
{
	ready_all();
	say(0, CONSOLE_DEVICE_READY, 1); /* again: nothing to add */
	ck_assert_str_eq(heard(), "");
	/* A peer that is there already. */
	host(&agent, true);
	ck_assert_str_eq(heard(), "1:OPEN=1");
	fake_virtio_reset(&f);
	start_multiport();
	say(1, CONSOLE_PORT_READY, 1);
	ck_assert_str_eq(heard(), "1:NAME=1(" AGENT ") 1:OPEN=1");
}
END_TEST

START_TEST(host_open_and_close)
{
	start_multiport();
	host(&agent, true);
	host(&agent, false);
	ck_assert_str_eq(heard(), ""); /* not ready: nothing yet */
	say(1, CONSOLE_PORT_READY, 1);
	ck_assert_str_eq(heard(), "1:NAME=1(" AGENT ")");
	host(&agent, true);
	ck_assert_str_eq(heard(), "1:OPEN=1");
	host(&agent, false);
	host(&agent, true);
	ck_assert_str_eq(heard(), "1:OPEN=0 1:OPEN=1");
	host(&hvc0, false); /* a console is always there */
	say(0, CONSOLE_PORT_READY, 1);
	ck_assert_str_eq(heard(), "0:CONSOLE=1 0:OPEN=1");
	agent.fe->event(agent.opaque, CHARDEV_BREAK);
	ck_assert_str_eq(heard(), "");
}
END_TEST

/* What happened while the driver had no buffers is told in short. */
START_TEST(pending_messages)
{
	start(FEATURES);
	say(0, CONSOLE_DEVICE_READY, 1);
	for (unsigned i = 0; i < 200; i++) {
		say(1, CONSOLE_PORT_READY, 1);
		host(&agent, i % 2);
	}
	give(CONSOLE_CTRL_RX, CTRL_BUF, 2);
	ck_assert_str_eq(heard(), "0:ADD=1 1:ADD=1");
	give(CONSOLE_CTRL_RX, CTRL_BUF, 8);
	ck_assert_str_eq(heard(), "1:NAME=1(" AGENT ") 1:OPEN=0 1:OPEN=1 5:ADD=1");
}
END_TEST

START_TEST(small_control_buffers)
{
	start(FEATURES);
	give(CONSOLE_CTRL_RX, 4, 2);
	say(0, CONSOLE_DEVICE_READY, 1);
	ck_assert_str_eq(heard(), "- -");
	give(CONSOLE_CTRL_RX, 8, 3);
	ck_assert_str_eq(heard(), "0:ADD=1 1:ADD=1 5:ADD=1");
	give(CONSOLE_CTRL_RX, 11, 1);
	say(1, CONSOLE_PORT_READY, 1);
	ck_assert_str_eq(heard(), "1:NAME=1(org)");
}
END_TEST

START_TEST(guest_open_and_input)
{
	ready_all();
	give(4, 8, 2);
	host(&agent, true);
	ck_assert_uint_eq(type(&agent, "x"), 0); /* waits for the guest to open it */
	ck_assert_uint_eq(agent.accepts, 0);
	ck_assert(!virtio_console_guest_open(dev, 1));
	say(1, CONSOLE_PORT_OPEN, 1);
	ck_assert(virtio_console_guest_open(dev, 1));
	ck_assert_uint_eq(agent.accepts, 1);
	ck_assert_uint_eq(type(&agent, "x"), 1);
	check_in(4, "x");
	say(1, CONSOLE_PORT_OPEN, 0);
	ck_assert(!virtio_console_guest_open(dev, 1));
	ck_assert_uint_eq(type(&agent, "y"), 0);
	say(1, CONSOLE_PORT_OPEN, 1);
	ck_assert_uint_eq(type(&agent, "y"), 1);
	check_in(4, "y");
	ck_assert(!virtio_console_guest_open(dev, dev->n_queues));
}
END_TEST

START_TEST(output_held_until_writable)
{
	uint8_t big[6000];
	struct fake_buf bufs[2];

	ready_all();
	memset(big, 'a', sizeof(big));
	bufs[0] = (struct fake_buf){ fake_alloc_data(&f, big, sizeof(big)), sizeof(big), false };
	bufs[1] = (struct fake_buf){ fake_alloc_data(&f, "end", 3), 3, false };
	hvc0.room = 4500;
	fake_ring_add(&f.ring[1], bufs, 2);
	fake_virtio_kick(&f, 1);
	send(1, "next", 4);
	ck_assert_uint_eq(hvc0.n_out, 4500);
	ck_assert_uint_eq(used(1), 0);
	hvc0.room = 1000;
	hvc0.fe->writable(hvc0.opaque);
	ck_assert_uint_eq(used(1), 0);
	hvc0.room = 504;
	hvc0.fe->writable(hvc0.opaque);
	ck_assert_uint_eq(used(1), 1);
	ck_assert_uint_eq(atomic_load(&f.queue_interrupts[1]), 1);
	hvc0.room = SIZE_MAX;
	hvc0.fe->writable(hvc0.opaque);
	ck_assert_uint_eq(used(1), 2);
	ck_assert_uint_eq(hvc0.n_out, 6007);
	ck_assert_mem_eq(hvc0.out + 5999, "aendnext", 8);
	hvc0.fe->writable(hvc0.opaque);
	ck_assert_uint_eq(hvc0.n_out, 6007);
	/* A console gives up a reader that is stuck, a port does not. */
	ck_assert(!hvc0.fe->patient);
	ck_assert(agent.fe->patient);
}
END_TEST

START_TEST(output_dropped_when_host_closes)
{
	ready_all();
	send(5, "nobody", 6);
	ck_assert_uint_eq(agent.n_out, 0);
	ck_assert_uint_eq(used(5), 1);
	host(&agent, true);
	agent.room = 2;
	send(5, "held", 4);
	send(5, "behind", 6);
	ck_assert_uint_eq(used(5), 1);
	agent.room = SIZE_MAX;
	host(&agent, false);
	ck_assert_uint_eq(used(5), 3);
	check_out(&agent, "he");
	host(&agent, true);
	send(5, "new", 3);
	check_out(&agent, "new");
}
END_TEST

START_TEST(nobody_at_a_port)
{
	add_port(2, false, "lonely", NULL);
	start(FEATURES);
	give(CONSOLE_CTRL_RX, CTRL_BUF, 16);
	say(0, CONSOLE_DEVICE_READY, 1);
	say(2, CONSOLE_PORT_READY, 1);
	ck_assert_str_eq(heard(), "0:ADD=1 1:ADD=1 2:ADD=1 5:ADD=1 2:NAME=1(lonely)");
	say(2, CONSOLE_PORT_OPEN, 1);
	give(console_rx_queue(2), 16, 1);
	send(console_tx_queue(2), "x", 1);
	ck_assert_uint_eq(used(console_tx_queue(2)), 1);
	/* and no port at all */
	give(console_rx_queue(9), 16, 1);
	send(console_tx_queue(9), "x", 1);
	ck_assert_uint_eq(used(console_tx_queue(9)), 1);
	ck_assert_uint_eq(used(console_rx_queue(9)), 0);
}
END_TEST

START_TEST(add_and_remove_at_run_time)
{
	static struct chardev late;

	late = (struct chardev){ .room = 1, .connected = true };
	ready_all();
	add_port(7, false, "late", &late);
	say(7, CONSOLE_PORT_READY, 1);
	say(7, CONSOLE_PORT_OPEN, 1);
	ck_assert_str_eq(heard(), "7:ADD=1 7:NAME=1(late) 7:OPEN=1");
	send(console_tx_queue(7), "held", 4);
	give(console_rx_queue(7), 16, 1);
	late.fe->can_receive(late.opaque);
	virtio_console_remove_port(dev, 7);
	ck_assert_ptr_null(late.fe);
	ck_assert_str_eq(heard(), "7:REMOVE=1");
	ck_assert_uint_eq(used(console_tx_queue(7)), 1);
	ck_assert_uint_eq(used(console_rx_queue(7)), 1);
	ck_assert(!virtio_console_guest_open(dev, 7));
	/* Gone before the driver heard of it: not a word. Removed and back: both. */
	while (f.ring[CONSOLE_CTRL_RX].avail_idx != f.ring[CONSOLE_CTRL_RX].used_idx) {
		say(0, CONSOLE_PORT_READY, 1);
		heard();
	}
	give(CONSOLE_CTRL_RX, CTRL_BUF, 4);
	while (*heard())
		;
	fake_virtio_reset(&f);
	start(FEATURES);
	say(0, CONSOLE_DEVICE_READY, 1);
	add_port(7, false, "late", &late);
	virtio_console_remove_port(dev, 7);
	give(CONSOLE_CTRL_RX, CTRL_BUF, 3);
	ck_assert_str_eq(heard(), "0:ADD=1 1:ADD=1 5:ADD=1");
	virtio_console_remove_port(dev, 1);
	add_port(1, false, AGENT, &agent);
	virtio_console_remove_port(dev, 1);
	add_port(1, false, AGENT, &agent);
	give(CONSOLE_CTRL_RX, CTRL_BUF, 3);
	ck_assert_str_eq(heard(), "1:REMOVE=1 1:ADD=1");
}
END_TEST

START_TEST(resize_messages)
{
	begin();
	create(4, 80, 25);
	add_port(1, false, AGENT, &agent);
	start(FEATURES | VIRTIO_CONSOLE_F_SIZE);
	give(CONSOLE_CTRL_RX, CTRL_BUF, 16);
	say(0, CONSOLE_DEVICE_READY, 1);
	say(0, CONSOLE_PORT_READY, 1);
	say(1, CONSOLE_PORT_READY, 1);
	ck_assert_str_eq(heard(), "0:ADD=1 1:ADD=1 0:CONSOLE=1 0:RESIZE=0(80x25) 0:OPEN=1 1:NAME=1(" AGENT ")");
	virtio_console_resize(dev, 132, 43);
	ck_assert_str_eq(heard(), "0:RESIZE=0(132x43)");
	teardown();
}
END_TEST

START_TEST(reset_forgets)
{
	ready_all();
	hvc0.room = 1;
	send(1, "held", 4);
	give(0, 16, 1);
	say(0, CONSOLE_PORT_OPEN, 1);
	ck_assert_uint_eq(hvc0.fe->can_receive(hvc0.opaque), 16);
	fake_virtio_reset(&f);
	ck_assert_uint_eq(hvc0.fe->can_receive(hvc0.opaque), 0);
	hvc0.fe->receive(hvc0.opaque, (const uint8_t *)"x", 1); /* was on its way */
	hvc0.room = SIZE_MAX;
	hvc0.fe->writable(hvc0.opaque);
	host(&agent, true);
	host(&agent, false);
	ck_assert_uint_eq(hvc0.n_out, 1);
	ck_assert(!virtio_console_guest_open(dev, 0));
	start(VIRTIO_F_VERSION_1);
	send(1, "again", 5);
	ck_assert_uint_eq(used(1), 1);
	ck_assert_mem_eq(hvc0.out, "hagain", 6);
	give(0, 16, 1);
	ck_assert_uint_eq(type(&hvc0, "in"), 2);
	check_in(0, "in");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_console");
	TCase *t = tcase_create("ports"), *own = tcase_create("own device");

	suite_add_tcase(s, t);
	suite_add_tcase(s, own);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, offers);
	tcase_add_test(t, configuration);
	tcase_add_test(t, emergency_write);
	tcase_add_test(t, ports_refused);
	tcase_add_test(t, single_console);
	tcase_add_test(t, multiport_start);
	tcase_add_test(t, host_open_and_close);
	tcase_add_test(t, pending_messages);
	tcase_add_test(t, small_control_buffers);
	tcase_add_test(t, guest_open_and_input);
	tcase_add_test(t, output_held_until_writable);
	tcase_add_test(t, output_dropped_when_host_closes);
	tcase_add_test(t, nobody_at_a_port);
	tcase_add_test(t, add_and_remove_at_run_time);
	tcase_add_test(t, reset_forgets);
	tcase_add_test(own, one_port_device);
	tcase_add_test(own, resize_messages);
	return run_tests(s);
}
