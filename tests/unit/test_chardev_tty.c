/* SPDX-License-Identifier: MIT */
/* What has to do with terminals: the pty back end, stdio on a terminal, and vmm/terminal.c itself. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/chardev.h"
#include "vmm/chardev_priv.h"
#include "vmm/err.h"
#include "vmm/terminal.h"
#include "vmm/util.h"

static struct eventloop *loop;
static struct fake_frontend fe;
static struct err err = ERR_INIT;

static void setup(void)
{
	loop = fake_loop();
	fe.room = SIZE_MAX / 2;
}

static void teardown(void)
{
	eventloop_destroy(loop);
}

/* The pty back end */

/* Creates one, and gives the name of its slave, from what it says on stderr. */
static struct chardev *pty(char *name)
{
	struct chardev_config cfg = { .id = "serial0", .backend = CHARDEV_PTY };
	struct chardev *chr;
	char *text, want[128];

	fake_stderr_begin();
	chr = chardev_create(&cfg, NULL, loop, &err);
	text = fake_stderr_end();
	ck_assert_msg(chr != NULL, "%s", err.msg);
	ck_assert_int_eq(sscanf(text, "char device redirected to %63s (label serial0)", name), 1);
	snprintf(want, sizeof(want), "char device redirected to %s (label serial0)\n", name);
	ck_assert_str_eq(text, want);
	free(text);
	snprintf(want, sizeof(want), "pty:%s", name);
	ck_assert_str_eq(chardev_filename(chr), want);
	chardev_attach(chr, &fake_frontend_ops, &fe);
	return chr;
}

static int reader(const char *name)
{
	int fd = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/* What comes out of a terminal, `want` bytes of it: the kernel moves it from one end to the other by and by. */
static size_t comes(int fd, char *buf, size_t want)
{
	size_t n = 0;

	for (int64_t end = now_ns() + 60 * NS_PER_SEC; n < want && now_ns() < end;) {
		ssize_t got = read(fd, buf + n, 64 - n);

		if (got > 0)
			n += (size_t)got;
		else
			fake_run_for(loop, 1);
	}
	return n;
}

START_TEST(pty_readers_come_and_go)
{
	char name[64], buf[64];
	struct chardev *chr = pty(name);

	fake_run_idle(loop, 100);
	for (unsigned i = 1; i <= 3; i++) {
		int fd = reader(name);

		chardev_write(chr, "a\nb", 3);
		ck_assert_int_eq(write(fd, "x\r\3", 3), 3); /* raw: neither translated nor a signal */
		fake_run_input(loop, &fe, 3 * i);
		fake_run_for(loop, 10);
		ck_assert_uint_eq(comes(fd, buf, 3), 3);
		ck_assert_mem_eq(buf, "a\nb", 3);
		close(fd);
		fake_run_idle(loop, 100);
	}
	ck_assert_mem_eq(fe.in, "x\r\3x\r\3", 6);
	ck_assert_uint_eq(fe.closed, 0);
	chardev_destroy(chr);
}
END_TEST

static bool some_writable(void *arg)
{
	(void)arg;
	return fe.writables > 0;
}

START_TEST(pty_without_a_reader)
{
	char name[64];
	struct chardev *chr = pty(name);
	static uint8_t buf[4096];
	size_t kept = 0, got = 0, n;
	int fd;

	do {
		/* The kernel moves it on by and by. */
		fake_run_for(loop, 50);
		n = 0;
		for (size_t more = 1; more > 0; n += more) {
			fake_stream_fill(buf, kept, sizeof(buf));
			more = chardev_write(chr, buf, sizeof(buf));
			kept += more;
			ck_assert_uint_lt(kept, 1 << 20);
		}
	} while (n > 0);
	fe.writables = 0;
	fake_run_until(loop, some_writable, NULL);
	ck_assert_uint_eq(chardev_write(chr, buf, sizeof(buf)), sizeof(buf));
	fake_run_idle(loop, 100);
	/* One comes at last: it sees what came first, all of it. */
	fd = reader(name);
	while (got < kept) {
		ssize_t r = read(fd, buf, sizeof(buf));

		if (r > 0) {
			ck_assert(fake_stream_ok(buf, got, (size_t)r));
			got += (size_t)r;
		}
		fake_run_for(loop, 1);
	}
	ck_assert_uint_eq(chardev_write(chr, "new", 3), 3);
	fake_run_for(loop, 10);
	ck_assert_uint_eq(comes(fd, (char *)buf, 3), 3);
	close(fd);
	chardev_destroy(chr);
}
END_TEST

START_TEST(pty_flow_control)
{
	char name[64];
	struct chardev *chr = pty(name);
	int fd = reader(name);

	fe.room = 2;
	ck_assert_int_eq(write(fd, "abcd", 4), 4);
	fake_run_input(loop, &fe, 2);
	fake_run_idle(loop, 100);
	fe.room = 10;
	chardev_accept_input(chr);
	fake_run_input(loop, &fe, 4);
	close(fd);
	chardev_destroy(chr);
}
END_TEST

/* vmm/terminal.c */

static int master, slave;
static struct termios before;

static void open_terminal(void)
{
	ck_assert_int_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
	ck_assert_int_eq(tcgetattr(slave, &before), 0);
	ck_assert(before.c_lflag & ICANON);
}

static struct termios now(void)
{
	struct termios t;

	ck_assert_int_eq(tcgetattr(slave, &t), 0);
	return t;
}

static bool is_raw(void)
{
	struct termios t = now();

	return !(t.c_lflag & (ICANON | ECHO | IEXTEN)) && !(t.c_iflag & (ICRNL | IXON)) && (t.c_oflag & OPOST);
}

static bool is_as_before(void)
{
	struct termios t = now();

	return t.c_lflag == before.c_lflag && t.c_iflag == before.c_iflag && t.c_oflag == before.c_oflag &&
	       t.c_cflag == before.c_cflag && !memcmp(t.c_cc, before.c_cc, sizeof(t.c_cc));
}

START_TEST(terminal_raw_and_back)
{
	open_terminal();
	ck_assert_int_eq(terminal_raw(slave, true), 0);
	ck_assert(is_raw());
	ck_assert(now().c_lflag & ISIG);
	ck_assert_int_eq(terminal_raw(slave, true), -EBUSY);
	ck_assert(is_raw());
	terminal_restore();
	ck_assert(is_as_before());
	terminal_restore();
	terminal_suspend();
	terminal_resume();
	terminal_restore_from_signal();
	ck_assert(is_as_before());
	ck_assert_int_eq(terminal_raw(slave, false), 0);
	ck_assert(is_raw());
	ck_assert(!(now().c_lflag & ISIG));
	terminal_restore_from_signal();
	ck_assert(is_as_before());
	terminal_restore();
	ck_assert_int_eq(terminal_raw(open("/dev/null", O_RDWR), true), -ENOTTY);
}
END_TEST

START_TEST(terminal_suspended)
{
	struct termios other;

	open_terminal();
	ck_assert_int_eq(terminal_raw(slave, true), 0);
	terminal_suspend();
	ck_assert(is_as_before());
	/* The shell changes something meanwhile; that is what is found again at the end. */
	other = before;
	other.c_cc[VERASE] = 8;
	ck_assert_int_eq(tcsetattr(slave, TCSANOW, &other), 0);
	terminal_resume();
	ck_assert(is_raw());
	/* Stopped without being asked: raw was never taken back. */
	ck_assert_int_eq(tcsetattr(slave, TCSANOW, &before), 0);
	terminal_resume();
	ck_assert(is_raw());
	terminal_restore();
	before = other;
	ck_assert(is_as_before());
}
END_TEST

static void crash(int sig)
{
	terminal_restore_from_signal();
	_exit(sig == SIGABRT ? 42 : 1);
}

START_TEST(terminal_after_a_crash)
{
	int status;
	pid_t pid;

	open_terminal();
	pid = fork();
	if (pid == 0) {
		signal(SIGABRT, crash);
		if (terminal_raw(slave, true) < 0 || !is_raw())
			_exit(2);
		abort();
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 42);
	ck_assert(is_as_before());
}
END_TEST

/* stdio on a terminal */

static struct chardev *stdio_on_terminal(bool keep_signals)
{
	struct chardev_config cfg = { .id = "serial0", .backend = CHARDEV_STDIO, .signal = keep_signals };
	struct chardev_setup s = { .cfg = &cfg, .loop = loop, .in = slave, .out = slave };
	struct chardev *chr = chardev_create_from(&s, &err);

	ck_assert_msg(chr != NULL, "%s", err.msg);
	chardev_attach(chr, &fake_frontend_ops, &fe);
	return chr;
}

START_TEST(stdio_terminal)
{
	struct chardev *chr;
	char buf[64];

	open_terminal();
	chr = stdio_on_terminal(false);
	ck_assert(is_raw());
	ck_assert_int_eq(fcntl(slave, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(write(master, "\3\r", 2), 2);
	fake_run_input(loop, &fe, 2);
	ck_assert_mem_eq(fe.in, "\3\r", 2);
	chardev_write(chr, "a\n", 2);
	fake_run_for(loop, 10);
	ck_assert_uint_eq(comes(master, buf, 3), 3);
	ck_assert_mem_eq(buf, "a\r\n", 3); /* and no echo */
	chardev_destroy(chr);
	ck_assert(is_as_before());
	chr = stdio_on_terminal(true);
	ck_assert(now().c_lflag & ISIG);
	chardev_destroy(chr);
	ck_assert(is_as_before());
}
END_TEST

START_TEST(stdio_terminal_hangs_up)
{
	struct chardev *chr;

	signal(SIGHUP, SIG_IGN);
	open_terminal();
	chr = stdio_on_terminal(false);
	close(master);
	fake_run_idle(loop, 100);
	chardev_write(chr, "a\n", 2);
	fake_run_idle(loop, 100);
	ck_assert_uint_eq(fe.closed, 1);
	chardev_destroy(chr);
}
END_TEST

/*
 * In the background. `shell` has the terminal as its controlling one; `kite`, its child, starts in another process group. They
 * take turns by pipes. A kite that is stopped fails the shell's waitpid.
 */
static int to_kite[2], to_shell[2];

#define MUST(cond)                                      \
	do {                                            \
		if (!(cond)) {                          \
			dprintf(2, "failed: %s\n", #cond); \
			_exit(1);                       \
		}                                       \
	} while (0)

static void kite_in_background(void)
{
	struct chardev *chr;
	char c;

	setpgid(0, 0);
	chr = stdio_on_terminal(true);
	MUST(is_as_before());
	MUST(write(to_shell[1], "1", 1) == 1 && read(to_kite[0], &c, 1) == 1);
	/* A line was typed: it is the shell's, not ours; nothing stops, spins, or is read. */
	fake_run_idle(loop, 100);
	MUST(fe.in_len == 0);
	chardev_write(chr, "out\n", 4);
	fake_run_for(loop, 10);
	MUST(write(to_shell[1], "2", 1) == 1 && read(to_kite[0], &c, 1) == 1);
	/* In the foreground since, without being told. */
	fake_run_input(loop, &fe, 4);
	MUST(is_raw());
	MUST(!memcmp(fe.in, "two\n", 4));
	/* And told. */
	terminal_suspend();
	MUST(is_as_before());
	terminal_resume();
	MUST(is_raw());
	MUST(write(to_shell[1], "3", 1) == 1 && read(to_kite[0], &c, 1) == 1);
	/* Back in the background: its settings can be restored all the same, without being stopped. */
	chardev_destroy(chr);
	MUST(is_as_before());
	_exit(0);
}

static void shell(void)
{
	int status;
	char buf[64];
	pid_t kite;

	signal(SIGTTOU, SIG_IGN);
	setsid();
	MUST(ioctl(slave, TIOCSCTTY, 0) == 0);
	MUST(tcsetpgrp(slave, getpgrp()) == 0);
	kite = fork();
	if (kite == 0) {
		signal(SIGTTOU, SIG_DFL);
		kite_in_background();
	}
	MUST(read(to_shell[0], buf, 1) == 1);
	MUST(write(master, "one\n", 4) == 4);
	MUST(write(to_kite[1], "1", 1) == 1);
	MUST(read(to_shell[0], buf, 1) == 1);
	MUST(read(slave, buf, sizeof(buf)) == 4 && !memcmp(buf, "one\n", 4));
	MUST(tcsetpgrp(slave, kite) == 0);
	MUST(write(master, "two\n", 4) == 4);
	MUST(write(to_kite[1], "2", 1) == 1);
	MUST(read(to_shell[0], buf, 1) == 1);
	MUST(tcsetpgrp(slave, getpgrp()) == 0);
	MUST(write(to_kite[1], "3", 1) == 1);
	MUST(waitpid(kite, &status, WUNTRACED) == kite);
	MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	_exit(0);
}

START_TEST(stdio_terminal_in_background)
{
	int status;
	pid_t pid;

	open_terminal();
	ck_assert_int_eq(pipe(to_kite), 0);
	ck_assert_int_eq(pipe(to_shell), 0);
	pid = fork();
	if (pid == 0) {
		alarm(20);
		shell();
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		pty_readers_come_and_go, pty_without_a_reader, pty_flow_control, terminal_raw_and_back, terminal_suspended,
		terminal_after_a_crash, stdio_terminal, stdio_terminal_hangs_up, stdio_terminal_in_background,
	};

	return suite_run("chardev_tty", tests, ARRAY_SIZE(tests), setup, teardown);
}
