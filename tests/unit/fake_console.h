/* SPDX-License-Identifier: MIT */
/*
 * The console device behind a driver that the tests play, with chardevs that do as they are told. Includes the device's own files, so
 * each test program includes this once.
 */
#ifndef TESTS_UNIT_FAKE_CONSOLE_H
#define TESTS_UNIT_FAKE_CONSOLE_H

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

static inline void fake_attach(struct chardev *chr, const struct chardev_frontend *fe, void *opaque)
{
	ck_assert_ptr_null(chr->fe);
	chr->fe = fe;
	chr->opaque = opaque;
	if (chr->connected)
		fe->event(opaque, CHARDEV_OPENED);
	ck_assert_uint_eq(fe->can_receive(opaque), 0);
}

static inline void fake_detach(struct chardev *chr)
{
	ck_assert_ptr_nonnull(chr->fe);
	chr->fe = NULL;
}

static inline size_t fake_write(struct chardev *chr, const void *buf, size_t len)
{
	size_t n = min_u64(len, chr->room);

	for (size_t i = 0; i < n; i++)
		chr->out[(chr->n_out + i) % KEEP] = ((const uint8_t *)buf)[i];
	chr->n_out += n;
	if (chr->room != SIZE_MAX)
		chr->room -= n;
	return n;
}

static inline void fake_accept(struct chardev *chr)
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

static inline void add_port(unsigned nr, bool console, const char *name, struct chardev *chr)
{
	struct err err = ERR_INIT;
	struct virtio_console_port_config cfg = { .nr = nr, .console = console, .name = name, .chardev = chr };

	ck_assert_msg(virtio_console_add_port(dev, &cfg, &err) == 0, "%s", err.msg);
}

static inline void create(unsigned max_ports, uint16_t cols, uint16_t rows)
{
	struct err err = ERR_INIT;
	struct device_env env = { .loop = f.loop, .mem = f.mem };
	struct virtio_console_config cfg = { .name = "virtio-serial0", .max_ports = max_ports, .cols = cols, .rows = rows };

	dev = virtio_console_create(&env, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
	fake_virtio_attach(&f, dev);
	add_port(0, true, NULL, &hvc0);
}

static inline void begin(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	fake_virtio_init(&f);
	hvc0 = agent = hvc5 = (struct chardev){ .room = SIZE_MAX };
	hvc0.connected = true;
}

static inline void setup(void)
{
	begin();
	create(VIRTIO_CONSOLE_PORTS, 0, 0);
	add_port(1, false, AGENT, &agent);
	add_port(5, true, "five", &hvc5);
}

static inline void teardown(void)
{
	fake_virtio_reset(&f);
	dev->ops->destroy(dev);
	ck_assert_ptr_null(hvc0.fe);
	ck_assert_ptr_null(agent.fe);
	fake_virtio_fini(&f);
}

static inline void start(uint64_t features)
{
	ck_assert_uint_eq(fake_virtio_start(&f, features) & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET), VIRTIO_STATUS_DRIVER_OK);
	fake_virtio_turn(&f);
}

/* The buffer of a used element that has one descriptor. */
static inline uint8_t *take(unsigned q, uint32_t *len)
{
	struct virtq_desc d;
	uint32_t head;

	if (!fake_ring_used(&f.ring[q], &head, len))
		return NULL;
	ck_assert_int_eq(gm_read(f.mem, f.ring[q].cfg.desc + head * sizeof(d), &d, sizeof(d)), 0);
	return fake_mem(&f, le64_get(d.addr), le32_get(d.len));
}

static inline void give(unsigned q, uint32_t len, unsigned n)
{
	while (n--)
		fake_ring_add(&f.ring[q], &(struct fake_buf){ fake_alloc(&f, len ? len : 1, 16), len, true }, 1);
	fake_virtio_kick(&f, q);
}

static inline void send(unsigned q, const void *data, uint32_t len)
{
	fake_ring_add(&f.ring[q], &(struct fake_buf){ fake_alloc_data(&f, data, len), len, false }, 1);
	fake_virtio_kick(&f, q);
}

static inline void say(unsigned id, unsigned event, unsigned value)
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
static inline void start_multiport(void)
{
	start(FEATURES);
	give(CONSOLE_CTRL_RX, CTRL_BUF, 16);
	say(UINT32_MAX, CONSOLE_DEVICE_READY, 1);
	ck_assert_str_eq(heard(), "0:ADD=1 1:ADD=1 5:ADD=1");
}

static inline void ready_all(void)
{
	start_multiport();
	say(0, CONSOLE_PORT_READY, 1);
	say(1, CONSOLE_PORT_READY, 1);
	say(5, CONSOLE_PORT_READY, 1);
	ck_assert_str_eq(heard(), "0:CONSOLE=1 0:OPEN=1 1:NAME=1(" AGENT ") 5:CONSOLE=1 5:NAME=1(five) 5:OPEN=1");
	give(CONSOLE_CTRL_RX, CTRL_BUF, 16);
}

static inline void host(struct chardev *chr, bool open)
{
	chr->connected = open;
	chr->fe->event(chr->opaque, open ? CHARDEV_OPENED : CHARDEV_CLOSED);
}

/* Gives the device what it takes of `len` bytes, as a chardev does. */
static inline size_t input(struct chardev *chr, const char *data, size_t len)
{
	size_t n = min_u64(len, chr->fe->can_receive(chr->opaque));

	if (n)
		chr->fe->receive(chr->opaque, (const uint8_t *)data, n);
	return n;
}

static inline size_t type(struct chardev *chr, const char *text)
{
	return input(chr, text, strlen(text));
}

static inline void check_out(struct chardev *chr, const char *text)
{
	ck_assert_uint_eq(chr->n_out, strlen(text));
	ck_assert_mem_eq(chr->out, text, strlen(text));
	chr->n_out = 0;
}

static inline void check_in(unsigned q, const char *text)
{
	uint32_t len;
	uint8_t *p = take(q, &len);

	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq(len, strlen(text));
	ck_assert_mem_eq(p, text, len);
}

static inline unsigned used(unsigned q)
{
	return fake_ring_used_count(&f.ring[q]);
}

static inline int run_tests(Suite *s)
{
	SRunner *sr = srunner_create(s);
	int failed;

	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
