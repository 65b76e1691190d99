/* SPDX-License-Identifier: MIT */
/*
 * The console device on real chardevs: much data both ways through small buffers, and a loop of its own beside the guest's thread, for
 * the thread sanitizer.
 */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hw/devices.h"
#include "hw/virtio_transport.h"
#include "tests/unit/fake_frontend.h"
#include "tests/unit/fake_virtio.h"
#include "vmm/chardev_priv.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define TOTAL (4u << 20)
#define SMALL 1000

static struct fake_virtio f;
static struct virtio_dev *dev;
static struct chardev *chr;
static int to_guest[2], from_guest[2]; /* pipes: the host's ends are [1] and [0] */

static void setup(void)
{
	struct chardev_config chr_cfg = { .id = "c", .backend = CHARDEV_STDIO };
	struct virtio_console_config cfg = { .name = "virtio-serial0", .max_ports = 1 };
	struct virtio_console_port_config port = { .nr = 0, .console = true };
	struct chardev_setup chr_setup = { .cfg = &chr_cfg };
	struct device_env env = { .loop = NULL };
	struct err err = ERR_INIT;

	log_set_level(LOG_LEVEL_ERROR);
	fake_virtio_init(&f);
	ck_assert_int_eq(pipe(to_guest), 0);
	ck_assert_int_eq(pipe(from_guest), 0);
	fcntl(to_guest[1], F_SETFL, O_NONBLOCK);
	fcntl(from_guest[0], F_SETFL, O_NONBLOCK);
	chr_setup.loop = env.loop = f.loop;
	env.mem = f.mem;
	chr_setup.in = to_guest[0];
	chr_setup.out = from_guest[1];
	chr = chardev_create_from(&chr_setup, &err);
	ck_assert_msg(chr != NULL, "%s", err.msg);
	dev = virtio_console_create(&env, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
	port.chardev = chr;
	ck_assert_int_eq(virtio_console_add_port(dev, &port, &err), 0);
	fake_virtio_attach(&f, dev);
}

static void teardown(void)
{
	fake_virtio_reset(&f);
	dev->ops->destroy(dev);
	chardev_destroy(chr);
	fake_virtio_fini(&f);
	for (unsigned i = 0; i < 2; i++) {
		fd_close(&to_guest[i]);
		fd_close(&from_guest[i]);
	}
}

static void ring_bell(unsigned q)
{
	uint64_t one = 1;

	ck_assert_int_eq(write(dev->queues[q].bell.fd, &one, sizeof(one)), sizeof(one));
}

/* A paste of any length arrives whole, though the guest gives one small buffer at a time. */
START_TEST(input_of_any_length)
{
	uint64_t gpa = fake_alloc(&f, SMALL, 16);
	uint8_t chunk[4096];
	size_t sent = 0, got = 0;
	uint32_t head, len;

	fake_virtio_start(&f, VIRTIO_F_VERSION_1);
	while (got < TOTAL) {
		ssize_t n;

		fake_stream_fill(chunk, sent, sizeof(chunk));
		n = sent < TOTAL ? write(to_guest[1], chunk, min_u64(sizeof(chunk), TOTAL - sent)) : 0;
		sent += n > 0 ? (size_t)n : 0;
		fake_ring_add(&f.ring[0], &(struct fake_buf){ gpa, SMALL, true }, 1);
		ring_bell(0);
		ck_assert(fake_virtio_wait(&f, 0, 1, 10000));
		ck_assert(fake_ring_used(&f.ring[0], &head, &len));
		ck_assert_uint_gt(len, 0);
		ck_assert(fake_stream_ok(fake_mem(&f, gpa, len), got, len));
		got += len;
	}
	ck_assert_uint_eq(got, TOTAL);
}
END_TEST

/* The host reads late: the guest waits with its buffers, and nothing is lost or out of order. */
START_TEST(output_of_any_length)
{
	uint64_t gpa = fake_alloc(&f, 64 * SMALL, 16);
	size_t given = 0, got = 0;
	unsigned in_ring = 0;
	uint8_t chunk[3000];
	uint32_t head, len;

	fake_virtio_start(&f, VIRTIO_F_VERSION_1);
	while (got < TOTAL) {
		ssize_t n;

		while (fake_ring_used(&f.ring[1], &head, &len))
			in_ring--;
		for (; in_ring < 64 && given < TOTAL; in_ring++) {
			uint64_t at = gpa + given / SMALL % 64 * SMALL;

			len = (uint32_t)min_u64(SMALL, TOTAL - given);
			fake_stream_fill(fake_mem(&f, at, len), given, len);
			fake_ring_add(&f.ring[1], &(struct fake_buf){ at, len, false }, 1);
			given += len;
		}
		ring_bell(1);
		fake_virtio_turn(&f);
		n = read(from_guest[0], chunk, sizeof(chunk));
		if (n < 0)
			continue;
		ck_assert(fake_stream_ok(chunk, got, (size_t)n));
		got += (size_t)n;
		/* What is on its way is bounded: guest's buffers, chardev's ring, pipe. */
		ck_assert_uint_le(given - got, 64 * SMALL + CHARDEV_RING + 65536);
	}
	ck_assert_uint_eq(got, TOTAL);
}
END_TEST

static void *loop_thread(void *arg)
{
	ck_assert_int_eq(eventloop_run(arg), 0);
	return NULL;
}

static void drain(int fd)
{
	uint8_t buf[4096];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
}

/* The guest's thread resets, rings and reads the configuration while the loop works. */
START_TEST(guest_and_loop)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, loop_thread, f.loop), 0);
	for (unsigned round = 0; round < 50; round++) {
		uint8_t config[12];

		f.next_alloc = FAKE_ALLOC_START;
		fake_virtio_start(&f, VIRTIO_F_VERSION_1 | (round % 2 ? VIRTIO_F_EVENT_IDX : 0));
		for (unsigned i = 0; i < 100; i++) {
			(void)!write(to_guest[1], "some input", 10);
			fake_ring_add(&f.ring[0], &(struct fake_buf){ 0x400000, 64, true }, 1);
			fake_ring_add(&f.ring[1], &(struct fake_buf){ 0x500000, 64, false }, 1);
			ring_bell(i % 2);
			virtio_config_read(dev, 0, config, sizeof(config));
			virtio_config_write(dev, 8, (const uint8_t[]){ '!', 0, 0, 0 }, 4);
			drain(from_guest[0]);
		}
		fake_virtio_reset(&f);
	}
	eventloop_stop(f.loop);
	pthread_join(thread, NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_console_io");
	TCase *t = tcase_create("virtio_console_io");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, input_of_any_length);
	tcase_add_test(t, output_of_any_length);
	tcase_add_test(t, guest_and_loop);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
