/* SPDX-License-Identifier: MIT */
/* The console device behind a driver that the tests play, with chardevs that do as they are told. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hw/devices.h"
#include "tests/unit/fake_virtio.h"
#include "vmm/chardev.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define KEEP 8192

struct chardev {
	const struct chardev_frontend *fe;
	void *opaque;
	bool connected;
	size_t room; /* of the next writes; SIZE_MAX: no limit */
	uint8_t out[KEEP];
	size_t n_out;
	unsigned accepts;
};

static void fake_attach(struct chardev *chr, const struct chardev_frontend *fe, void *opaque)
{
	ck_assert_ptr_null(chr->fe);
	chr->fe = fe;
	chr->opaque = opaque;
	if (chr->connected)
		fe->event(opaque, CHARDEV_OPENED);
	ck_assert_uint_eq(fe->can_receive(opaque), 0);
}

static void fake_detach(struct chardev *chr)
{
	ck_assert_ptr_nonnull(chr->fe);
	chr->fe = NULL;
}

static size_t fake_write(struct chardev *chr, const void *buf, size_t len)
{
	size_t n = min_u64(len, chr->room);

	for (size_t i = 0; i < n; i++)
		chr->out[(chr->n_out + i) % KEEP] = ((const uint8_t *)buf)[i];
	chr->n_out += n;
	if (chr->room != SIZE_MAX)
		chr->room -= n;
	return n;
}

static void fake_accept(struct chardev *chr)
{
	chr->accepts++;
}

#define chardev_attach fake_attach
#define chardev_detach fake_detach
#define chardev_write fake_write
#define chardev_accept_input fake_accept
#include "hw/virtio_console.c"
#include "hw/virtio_console_ctrl.c"
#include "hw/virtio_console_port.c"

#define AGENT "org.qemu.guest_agent.0"
#define CTRL_BUF 64
#define FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_CONSOLE_F_MULTIPORT)

static struct fake_virtio f;
static struct virtio_dev *dev;
static struct chardev hvc0, agent, hvc5;

static void add_port(unsigned nr, bool console, const char *name, struct chardev *chr)
{
	struct err err = ERR_INIT;
	struct virtio_console_port_config cfg = { .nr = nr, .console = console, .name = name, .chardev = chr };

	ck_assert_msg(virtio_console_add_port(dev, &cfg, &err) == 0, "%s", err.msg);
}

static void create(unsigned max_ports, uint16_t cols, uint16_t rows)
{
	struct err err = ERR_INIT;
	struct device_env env = { .loop = f.loop, .mem = f.mem };
	struct virtio_console_config cfg = { .name = "virtio-serial0", .max_ports = max_ports, .cols = cols, .rows = rows };

	dev = virtio_console_create(&env, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
	fake_virtio_attach(&f, dev);
	add_port(0, true, NULL, &hvc0);
}

static void begin(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	fake_virtio_init(&f);
	hvc0 = agent = hvc5 = (struct chardev){ .room = SIZE_MAX };
	hvc0.connected = true;
}

static void setup(void)
{
	begin();
	create(VIRTIO_CONSOLE_PORTS, 0, 0);
	add_port(1, false, AGENT, &agent);
	add_port(5, true, "five", &hvc5);
}

static void teardown(void)
{
	fake_virtio_reset(&f);
	dev->ops->destroy(dev);
	ck_assert_ptr_null(hvc0.fe);
	ck_assert_ptr_null(agent.fe);
	fake_virtio_fini(&f);
}

static void start(uint64_t features)
{
	ck_assert_uint_eq(fake_virtio_start(&f, features) & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET), VIRTIO_STATUS_DRIVER_OK);
	fake_virtio_turn(&f);
}

/* The buffer of a used element that has one descriptor. */
static uint8_t *take(unsigned q, uint32_t *len)
{
	struct virtq_desc d;
	uint32_t head;

	if (!fake_ring_used(&f.ring[q], &head, len))
		return NULL;
	ck_assert_int_eq(gm_read(f.mem, f.ring[q].cfg.desc + head * sizeof(d), &d, sizeof(d)), 0);
	return fake_mem(&f, le64_get(d.addr), le32_get(d.len));
}

static void give(unsigned q, uint32_t len, unsigned n)
{
	while (n--)
		fake_ring_add(&f.ring[q], &(struct fake_buf){ fake_alloc(&f, len ? len : 1, 16), len, true }, 1);
	fake_virtio_kick(&f, q);
}

static void send(unsigned q, const void *data, uint32_t len)
{
	fake_ring_add(&f.ring[q], &(struct fake_buf){ fake_alloc_data(&f, data, len), len, false }, 1);
	fake_virtio_kick(&f, q);
}

static void say(unsigned id, unsigned event, unsigned value)
{
	struct console_ctrl_wire msg = { le32_of(id), le16_of((uint16_t)event), le16_of((uint16_t)value) };

	send(CONSOLE_CTRL_TX, &msg, sizeof(msg));
}

/* The control messages that have come, in words. */
static const char *heard(void)
{
	static const char *const words[] = { "READY", "ADD", "REMOVE", "PREADY", "CONSOLE", "RESIZE", "OPEN", "NAME" };
	static char text[4096];
	size_t n = 0;
	uint32_t len;
	uint8_t *p;

	text[0] = '\0';
	while ((p = take(CONSOLE_CTRL_RX, &len))) {
		if (len == 0) {
			n += (size_t)sprintf(text + n, "%s-", n ? " " : "");
			continue;
		}
		ck_assert_uint_ge(len, 8);
		n += (size_t)sprintf(text + n, "%s%u:%s=%u", n ? " " : "", load_le32(p), words[load_le16(p + 4)], load_le16(p + 6));
		if (load_le16(p + 4) == CONSOLE_RESIZE)
			n += (size_t)sprintf(text + n, "(%ux%u)", load_le16(p + 8), load_le16(p + 10));
		else if (len > 8)
			n += (size_t)sprintf(text + n, "(%.*s)", (int)len - 8, p + 8);
	}
	return text;
}

/* Linux's driver from its probe to ports in use. */
static void start_multiport(void)
{
	start(FEATURES);
	give(CONSOLE_CTRL_RX, CTRL_BUF, 16);
	say(UINT32_MAX, CONSOLE_DEVICE_READY, 1);
	ck_assert_str_eq(heard(), "0:ADD=1 1:ADD=1 5:ADD=1");
}

static void ready_all(void)
{
	start_multiport();
	say(0, CONSOLE_PORT_READY, 1);
	say(1, CONSOLE_PORT_READY, 1);
	say(5, CONSOLE_PORT_READY, 1);
	ck_assert_str_eq(heard(), "0:CONSOLE=1 0:OPEN=1 1:NAME=1(" AGENT ") 5:CONSOLE=1 5:NAME=1(five) 5:OPEN=1");
	give(CONSOLE_CTRL_RX, CTRL_BUF, 16);
}

static void host(struct chardev *chr, bool open)
{
	chr->connected = open;
	chr->fe->event(chr->opaque, open ? CHARDEV_OPENED : CHARDEV_CLOSED);
}

/* Gives the device what it takes of `len` bytes, as a chardev does. */
static size_t input(struct chardev *chr, const char *data, size_t len)
{
	size_t n = min_u64(len, chr->fe->can_receive(chr->opaque));

	if (n)
		chr->fe->receive(chr->opaque, (const uint8_t *)data, n);
	return n;
}

static size_t type(struct chardev *chr, const char *text)
{
	return input(chr, text, strlen(text));
}

static void check_out(struct chardev *chr, const char *text)
{
	ck_assert_uint_eq(chr->n_out, strlen(text));
	ck_assert_mem_eq(chr->out, text, strlen(text));
	chr->n_out = 0;
}

static void check_in(unsigned q, const char *text)
{
	uint32_t len;
	uint8_t *p = take(q, &len);

	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq(len, strlen(text));
	ck_assert_mem_eq(p, text, len);
}

static unsigned used(unsigned q)
{
	return fake_ring_used_count(&f.ring[q]);
}

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
	ck_assert_uint_eq(atomic_load(&f.config_interrupts), 0);
	virtio_console_resize(dev, 132, 43);
	ck_assert_uint_eq(atomic_load(&f.config_interrupts), 1);
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

/* hostile-inputs 1, 3, 8 */

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
	ck_assert(fake_virtio_wait(&f, q, 128, 1000));
	for (unsigned i = 0; i < 128; i++)
		fake_ring_add(&f.ring[0], &(struct fake_buf){ 0x1000, 0, true }, 1);
	say(0, CONSOLE_PORT_OPEN, 1);
	hvc0.fe->can_receive(hvc0.opaque);
	ck_assert(fake_virtio_wait(&f, 0, 128, 1000)); /* receive buffers without room come back */
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
	Suite *s = suite_create("virtio_console");
	TCase *t = tcase_create("ports"), *own = tcase_create("own device");
	SRunner *sr;
	int failed;

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
	tcase_add_test(t, hostile_control);
	tcase_add_test(t, flood_takes_turns);
	tcase_add_test(t, broken_rings);
	tcase_add_test(t, head_again_while_held);
	tcase_add_test(t, random_use);
	tcase_add_test(own, one_port_device);
	tcase_add_test(own, resize_messages);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
