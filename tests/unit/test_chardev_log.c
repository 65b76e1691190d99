/* SPDX-License-Identifier: MIT */
/* The log of a chardev: all that was taken from the front end is in it, whoever is or is not at the other end. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/chardev.h"
#include "vmm/err.h"
#include "vmm/util.h"

static struct eventloop *loop;
static struct fake_frontend fe;
static struct err err = ERR_INIT;
static char dir[] = "/tmp/kite-chardev-log-XXXXXX";
static char path[64], socket_path[64];

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	loop = fake_loop();
	fe.room = SIZE_MAX / 2;
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
	snprintf(socket_path, sizeof(socket_path), "%s/socket", dir);
}

static void teardown(void)
{
	unlink(path);
	rmdir(dir);
	eventloop_destroy(loop);
}

/* A server that nobody is connected to. */
static struct chardev *with_log(int fd)
{
	struct chardev_config cfg = {
		.id = "serial0", .backend = CHARDEV_SOCKET, .path = socket_path, .server = true, .log = true, .log_fd = fd,
	};
	struct chardev *chr = chardev_create(&cfg, NULL, loop, &err);

	ck_assert_msg(chr != NULL, "%s", err.msg);
	chardev_attach(chr, &fake_frontend_ops, &fe);
	return chr;
}

/* Of a file; a write takes what there is room for, and goes on after `writable`. */
START_TEST(nothing_is_missing)
{
	static uint8_t data[300000], back[sizeof(data) + 1];
	struct chardev *chr = with_log(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	int fd;

	fake_stream_fill(data, 0, sizeof(data));
	for (size_t at = 0; at < sizeof(data);) {
		unsigned before = fe.writables;
		size_t n = chardev_write(chr, data + at, sizeof(data) - at);

		ck_assert_uint_le(n, CHARDEV_RING);
		at += n;
		fake_run_for(loop, 3);
		ck_assert(at == sizeof(data) || fe.writables > before);
	}
	chardev_destroy(chr);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(read(fd, back, sizeof(back)), sizeof(data));
	close(fd);
	ck_assert_int_eq(memcmp(data, back, sizeof(data)), 0);
}
END_TEST

START_TEST(full_disk_is_said_once)
{
	struct chardev *chr;
	char *text;

	fake_stderr_begin();
	chr = with_log(open("/dev/full", O_WRONLY | O_CLOEXEC));
	for (int i = 0; i < 5; i++) {
		ck_assert_uint_eq(chardev_write(chr, "lost", 4), 4);
		fake_run_for(loop, 2);
	}
	chardev_destroy(chr);
	text = fake_stderr_end();
	ck_assert_uint_eq(fake_count(text, "cannot write to its log: No space left"), 1);
	ck_assert_uint_eq(fake_count(text, "\n"), 1);
	free(text);
}
END_TEST

/* A pipe that nobody reads holds a guest up for a moment, not for ever. */
START_TEST(a_reader_that_stopped)
{
	static uint8_t data[CHARDEV_RING];
	struct chardev *chr;
	int fds[2];
	char *text;
	bool all = false;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	fake_stderr_begin();
	chr = with_log(fds[1]);
	for (int i = 0; i < 200 && !all; i++) {
		chardev_write(chr, data, sizeof(data));
		fake_run_for(loop, 20);
		all = chardev_write(chr, data, sizeof(data)) == sizeof(data) && chardev_write(chr, data, sizeof(data)) == sizeof(data) &&
		      chardev_write(chr, data, sizeof(data)) == sizeof(data);
	}
	ck_assert(all);
	chardev_destroy(chr);
	text = fake_stderr_end();
	ck_assert_uint_eq(fake_count(text, "nobody reads its log"), 1);
	free(text);
	close(fds[0]);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { nothing_is_missing, full_disk_is_said_once, a_reader_that_stopped };

	return suite_run("chardev_log", tests, ARRAY_SIZE(tests), setup, teardown);
}
