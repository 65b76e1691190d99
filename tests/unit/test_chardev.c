/* SPDX-License-Identifier: MIT */
/* The core of chardevs, over pipes in the place of standard input and output, and the back ends stdio, file and null. */
#include "vmm/chardev.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/chardev_priv.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define PIPE_SIZE 65536

static struct eventloop *loop;
static struct fake_frontend fe;
static struct err err = ERR_INIT;
static int in[2], out[2]; /* the test writes in[1] and reads out[0] */
static char dir[] = "/tmp/kite-chardev-XXXXXX";
static char path[256];

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	loop = fake_loop();
	fe.room = SIZE_MAX / 2;
	ck_assert_int_eq(pipe(in), 0);
	ck_assert_int_eq(pipe(out), 0);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
}

static void teardown(void)
{
	unlink(path);
	rmdir(dir);
	fd_close(&in[0]);
	fd_close(&in[1]);
	fd_close(&out[0]);
	fd_close(&out[1]);
	eventloop_destroy(loop);
}

static struct chardev *stdio_on(int fd_in, int fd_out)
{
	struct chardev_config cfg = { .id = "serial0", .backend = CHARDEV_STDIO };
	struct chardev_setup s = { .cfg = &cfg, .loop = loop, .in = fd_in, .out = fd_out };
	struct chardev *chr = chardev_create_from(&s, &err);

	ck_assert_msg(chr != NULL, "%s", err.msg);
	chardev_attach(chr, &fake_frontend_ops, &fe);
	return chr;
}

static struct chardev *create(enum chardev_backend backend, const char *p, bool append)
{
	struct chardev_config cfg = { .id = "serial0", .backend = backend, .path = p, .append = append };

	return chardev_create(&cfg, NULL, loop, &err);
}

static size_t available(int fd)
{
	static uint8_t buf[262144];
	ssize_t n;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	n = read(fd, buf, sizeof(buf));
	return n > 0 ? (size_t)n : 0;
}

START_TEST(both_ways)
{
	struct chardev *chr = stdio_on(in[0], out[1]);
	char buf[16] = "";

	ck_assert_uint_eq(fe.opened, 1);
	ck_assert_str_eq(chardev_filename(chr), "stdio");
	ck_assert(chardev_connected(chr));
	ck_assert_uint_eq(chardev_write(chr, "hello", 5), 5);
	ck_assert_int_eq(write(in[1], "there", 5), 5);
	fake_run_input(loop, &fe, 5);
	ck_assert_mem_eq(fe.in, "there", 5);
	fake_run_for(loop, 5);
	ck_assert_int_eq(read(out[0], buf, sizeof(buf)), 5);
	ck_assert_str_eq(buf, "hello");
	fake_run_idle(loop, 100);
	/* What is shared stays as it was. */
	ck_assert_int_eq(fcntl(in[0], F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(fcntl(out[1], F_GETFL) & O_NONBLOCK, 0);
	chardev_destroy(chr);
	chardev_destroy(NULL);
}
END_TEST

#define SINGLES 4000u

struct singles {
	struct event_work work;
	struct chardev *chr;
	int reader;
	unsigned written, got, pieces;
};

/* One byte in each turn of the loop, as a serial port gives them, and what came out so far. */
static void single_write(void *opaque)
{
	struct singles *s = opaque;
	uint8_t buf[CHARDEV_RING], byte = fake_stream(s->written);
	ssize_t n;

	if (s->written < SINGLES)
		s->written += (unsigned)chardev_write(s->chr, &byte, 1);
	while ((n = recv(s->reader, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		ck_assert(fake_stream_ok(buf, s->got, (size_t)n));
		s->got += (unsigned)n;
		s->pieces++;
	}
	if (s->got < SINGLES)
		eventloop_post(loop, &s->work);
}

static bool singles_done(void *arg)
{
	const struct singles *s = arg;

	return s->got == SINGLES;
}

/* Single bytes go out together, without waiting for each other, and the last one, too. */
START_TEST(gathers)
{
	int pair[2];
	struct singles s = { .work = { .run = single_write, .opaque = &s } };

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	s.reader = pair[0];
	s.chr = stdio_on(in[0], pair[1]);
	eventloop_post(loop, &s.work);
	fake_run_until(loop, singles_done, &s);
	ck_assert_uint_lt(s.pieces, SINGLES / 2);
	eventloop_cancel_work(loop, &s.work);
	chardev_destroy(s.chr);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

START_TEST(destroy_writes_out)
{
	struct chardev *chr = stdio_on(in[0], out[1]);

	chardev_write(chr, "bye", 3);
	chardev_destroy(chr);
	ck_assert_uint_eq(available(out[0]), 3);
}
END_TEST

START_TEST(one_stdio_only)
{
	struct chardev *chr = stdio_on(in[0], out[1]);

	ck_assert_ptr_null(create(CHARDEV_STDIO, NULL, false));
	ck_assert_int_eq(err.code, -EBUSY);
	ck_assert_ptr_nonnull(strstr(err.msg, "serial0"));
	ck_assert_ptr_nonnull(strstr(err.msg, "standard input"));
	chardev_destroy(chr);
	chardev_destroy(stdio_on(in[0], out[1])); /* free again */
}
END_TEST

/* Output */

/* A vCPU: writes a stream of `total` bytes, holding back what is not taken. */
struct guest {
	struct chardev *chr;
	size_t total, done;
	atomic_bool room; /* set by `writable` */
	bool finished;
};

static void guest_writable(struct fake_frontend *f)
{
	struct guest *g = f->opaque;

	atomic_store(&g->room, true);
}

static void *guest_main(void *opaque)
{
	struct guest *g = opaque;
	uint8_t buf[1000];

	while (g->done < g->total) {
		size_t want = min_u64(g->done % sizeof(buf) + 1, g->total - g->done), n;

		fake_stream_fill(buf, g->done, want);
		atomic_store(&g->room, false);
		n = chardev_write(g->chr, buf, want);
		ck_assert_uint_le(n, want);
		g->done += n;
		while (n < want && !atomic_load(&g->room))
			usleep(100);
	}
	return NULL;
}

struct reader {
	int fd;
	size_t total;
	atomic_size_t got;
};

/* Slow in the middle, so that the pipe and the ring fill up. */
static void *reader_main(void *opaque)
{
	struct reader *r = opaque;
	uint8_t buf[4096];
	size_t got = 0;

	while (got < r->total) {
		ssize_t n = read(r->fd, buf, sizeof(buf));

		ck_assert_int_gt(n, 0);
		ck_assert(fake_stream_ok(buf, got, (size_t)n));
		if (got / 100000 != (got + (size_t)n) / 100000)
			usleep(100000);
		got += (size_t)n;
		atomic_store(&r->got, got);
	}
	return NULL;
}

static bool reader_done(void *arg)
{
	struct reader *r = arg;

	return atomic_load(&r->got) == r->total;
}

static void slow_reader(int write_end, int read_end)
{
	struct chardev *chr = stdio_on(in[0], write_end);
	struct guest g = { .chr = chr, .total = 600000 };
	struct reader r = { .fd = read_end, .total = g.total };
	pthread_t writer, reading;

	fe.on_writable = guest_writable;
	fe.opaque = &g;
	pthread_create(&writer, NULL, guest_main, &g);
	pthread_create(&reading, NULL, reader_main, &r);
	fake_run_until(loop, reader_done, &r);
	pthread_join(writer, NULL);
	pthread_join(reading, NULL);
	ck_assert_uint_gt(fe.writables, 0);
	chardev_destroy(chr);
}

START_TEST(a_slow_reader_loses_nothing)
{
	slow_reader(out[1], out[0]);
}
END_TEST

START_TEST(a_slow_reader_of_a_socket_loses_nothing)
{
	int s[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	slow_reader(s[0], s[1]);
	ck_assert_int_eq(fcntl(s[0], F_GETFL) & O_NONBLOCK, 0);
}
END_TEST

static bool some_writable(void *arg)
{
	(void)arg;
	return fe.writables > 0;
}

/* Writes the stream until nothing more is taken, letting the loop move it on. Returns how much was. */
static size_t fill_up(struct chardev *chr)
{
	static uint8_t buf[5000];
	size_t done = 0, n;

	/* It ends with a write that was refused, after the loop had its turns: nothing moves any more. */
	do {
		fake_run_for(loop, 0); /* long before it stalls */
		n = 0;
		for (size_t more = 1; more > 0; n += more) {
			fake_stream_fill(buf, done, sizeof(buf));
			more = chardev_write(chr, buf, sizeof(buf));
			done += more;
			ck_assert_uint_lt(done, 1 << 20);
		}
	} while (n > 0);
	return done;
}

START_TEST(a_reader_that_never_reads)
{
	struct chardev *chr = stdio_on(in[0], out[1]);
	static uint8_t big[1 << 20];
	int64_t start = now_ns();
	size_t kept, got = 0;
	char *text;

	fake_stderr_begin();
	kept = fill_up(chr);
	ck_assert_uint_le(kept, CHARDEV_RING + PIPE_SIZE);
	ck_assert_uint_ge(kept, CHARDEV_RING);
	fe.writables = 0;
	fake_run_until(loop, some_writable, NULL);
	ck_assert_int_ge(now_ns() - start, CHARDEV_STALL_NS);
	/* Given up: everything is taken, and nothing kept. */
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(chardev_write(chr, big, sizeof(big)), sizeof(big));
	fake_run_idle(loop, 100);
	/* A late reader sees what came first, in one piece. */
	while (got < kept) {
		ssize_t n = read(out[0], big, sizeof(big));

		ck_assert_int_gt(n, 0);
		ck_assert(fake_stream_ok(big, got, (size_t)n));
		got += (size_t)n;
		fake_run_for(loop, 2);
	}
	ck_assert_uint_eq(got, kept);
	ck_assert_uint_eq(chardev_write(chr, "new", 3), 3);
	fake_run_for(loop, 10);
	ck_assert_uint_eq(available(out[0]), 3);
	chardev_destroy(chr);
	text = fake_stderr_end();
	ck_assert_uint_eq(fake_count(text, "warning: serial0: nobody reads"), 1);
	ck_assert_uint_eq(fake_count(text, "serial0: 104857600 bytes of output were dropped"), 1);
	ck_assert_uint_eq(fake_count(text, "\n"), 2);
	free(text);
}
END_TEST

/* A pipe makes room a page at a time, so a writer cannot tell one who reads a few bytes from nobody. */
START_TEST(a_reader_of_single_bytes_is_not_given_up)
{
	struct chardev *chr = stdio_on(in[0], out[1]);
	char byte;

	fill_up(chr);
	for (int i = 0; i < 18; i++) {
		ck_assert_int_eq(read(out[0], &byte, 1), 1);
		fake_run_for(loop, 100);
		ck_assert_uint_eq(chardev_write(chr, "x", 1), 0);
	}
	fe.writables = 0;
	fake_run_until(loop, some_writable, NULL);
	ck_assert_uint_eq(chardev_write(chr, "x", 1), 1); /* dropped */
	chardev_destroy(chr);
}
END_TEST

START_TEST(the_reader_goes)
{
	struct chardev *chr = stdio_on(in[0], out[1]);

	fill_up(chr);
	fe.writables = 0;
	close(out[0]);
	fd_close(&out[1]); /* the chardev has its own */
	out[0] = -1;
	fake_run_until(loop, some_writable, NULL);
	ck_assert_uint_eq(fe.closed, 1);
	ck_assert(!chardev_connected(chr));
	ck_assert_uint_eq(chardev_write(chr, fe.in, sizeof(fe.in)), sizeof(fe.in));
	ck_assert_uint_eq(chardev_write(chr, fe.in, sizeof(fe.in)), sizeof(fe.in));
	/* Input goes on. */
	ck_assert_int_eq(write(in[1], "x", 1), 1);
	fake_run_input(loop, &fe, 1);
	fake_run_idle(loop, 50);
	ck_assert_uint_eq(fe.closed, 1);
	chardev_destroy(chr);
}
END_TEST

/* Input */

struct paste {
	struct chardev *chr;
	struct event_work guest; /* the guest reads its FIFO */
	size_t total;
	atomic_size_t written;
	size_t most_ahead;
};

static void paste_receive(struct fake_frontend *f, const uint8_t *buf, size_t len)
{
	struct paste *p = f->opaque;
	size_t written = atomic_load(&p->written);

	/* The writer counts after it has written, so it may seem to be behind. */
	if (written > f->in_len)
		p->most_ahead = max_u64(p->most_ahead, written - f->in_len);
	ck_assert(fake_stream_ok(buf, f->in_len, len));
	eventloop_post(loop, &p->guest);
}

static void paste_guest(void *opaque)
{
	struct paste *p = opaque;

	fe.room = 16;
	chardev_accept_input(p->chr);
}

static void *paste_main(void *opaque)
{
	struct paste *p = opaque;
	uint8_t buf[4096];

	for (size_t at = 0; at < p->total; at += sizeof(buf)) {
		fake_stream_fill(buf, at, sizeof(buf));
		ck_assert_int_eq(write_full(in[1], buf, sizeof(buf)), 0);
		atomic_fetch_add(&p->written, sizeof(buf));
	}
	return NULL;
}

/* What has left the writer is in the front end or in the pipe, not in our memory. */
START_TEST(a_long_paste)
{
	struct chardev *chr = stdio_on(in[0], out[1]);
	struct paste p = { .chr = chr, .total = 2 << 20, .guest = { .run = paste_guest, .opaque = &p } };
	pthread_t thread;

	fe.opaque = &p;
	fe.on_receive = paste_receive;
	fe.room = 16;
	pthread_create(&thread, NULL, paste_main, &p);
	fake_run_input(loop, &fe, p.total);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(fe.in_len, p.total);
	ck_assert_uint_le(p.most_ahead, PIPE_SIZE + 4096);
	chardev_destroy(chr);
}
END_TEST

static void *accept_thread(void *opaque)
{
	usleep(20000);
	chardev_accept_input(opaque);
	return NULL;
}

START_TEST(a_full_front_end_is_left_alone)
{
	struct chardev *chr = stdio_on(in[0], out[1]);
	pthread_t thread;

	fe.room = 3;
	ck_assert_int_eq(write(in[1], "abcdef", 6), 6);
	fake_run_idle(loop, 100);
	ck_assert_uint_eq(fe.in_len, 3);
	fd_close(&in[1]); /* hung up, with input left: no spin over that either */
	fake_run_idle(loop, 100);
	fe.room = 100;
	pthread_create(&thread, NULL, accept_thread, chr);
	fake_run_input(loop, &fe, 6);
	pthread_join(thread, NULL);
	ck_assert_mem_eq(fe.in, "abcdef", 6);
	/* The end of input: nothing spins, and output goes on. */
	fake_run_idle(loop, 100);
	chardev_write(chr, "out", 3);
	fake_run_for(loop, 5);
	ck_assert_uint_eq(available(out[0]), 3);
	ck_assert_uint_eq(fe.closed, 0);
	chardev_destroy(chr);
}
END_TEST

/* Its FIFO was switched off under us, without a word: nothing is read for it, and the end of input is not seen in that. */
START_TEST(a_front_end_that_changes_its_mind)
{
	struct chardev *chr = stdio_on(in[0], out[1]);

	fake_run_for(loop, 5);
	fe.room = 0;
	ck_assert_int_eq(write(in[1], "abc", 3), 3);
	fake_run_idle(loop, 100);
	ck_assert_uint_eq(fe.in_len, 0);
	fe.room = 10;
	chardev_accept_input(chr);
	fake_run_input(loop, &fe, 3);
	chardev_destroy(chr);
}
END_TEST

START_TEST(front_ends_come_and_go)
{
	struct chardev *chr = stdio_on(in[0], out[1]);

	fill_up(chr);
	chardev_detach(chr);
	ck_assert_int_eq(write(in[1], "abc", 3), 3);
	fake_run_idle(loop, 700);
	ck_assert_uint_eq(fe.in_len, 0);
	chardev_attach(chr, &fake_frontend_ops, &fe);
	ck_assert_uint_eq(fe.opened, 2);
	fake_run_input(loop, &fe, 3);
	chardev_destroy(chr);
}
END_TEST

START_TEST(input_from_dev_null)
{
	int null = open("/dev/null", O_RDWR);
	struct chardev *chr = stdio_on(null, null);

	fake_run_idle(loop, 100);
	ck_assert_uint_eq(chardev_write(chr, "x", 1), 1);
	fake_run_idle(loop, 50);
	ck_assert(chardev_connected(chr));
	chardev_destroy(chr);
	close(null);
}
END_TEST

START_TEST(input_and_output_files)
{
	static uint8_t data[100000];
	int from = memfd_create("in", 0), to = memfd_create("out", 0);
	struct paste p = { .total = sizeof(data), .guest = { .run = paste_guest, .opaque = &p } };
	uint8_t back[9] = "";

	fake_stream_fill(data, 0, sizeof(data));
	ck_assert_int_eq(write_full(from, data, sizeof(data)), 0);
	lseek(from, 0, SEEK_SET);
	ck_assert_int_eq(write_full(to, "old,", 4), 0);
	fe.room = 0;
	p.chr = stdio_on(from, to);
	fake_run_idle(loop, 100);
	ck_assert_uint_eq(fe.in_len, 0);
	fe.on_receive = paste_receive;
	fe.opaque = &p;
	atomic_store(&p.written, sizeof(data));
	paste_guest(&p);
	fake_run_input(loop, &fe, sizeof(data));
	fake_run_idle(loop, 100); /* at its end */
	chardev_write(p.chr, "new", 3);
	fake_run_for(loop, 5);
	ck_assert_int_eq(pread(to, back, 8, 0), 7); /* from where it stood */
	ck_assert_str_eq((char *)back, "old,new");
	chardev_destroy(p.chr);
}
END_TEST

START_TEST(no_standard_input)
{
	struct chardev_config cfg = { .id = "serial0", .backend = CHARDEV_STDIO };
	struct chardev_setup s = { .cfg = &cfg, .loop = loop, .in = 999, .out = out[1] };

	ck_assert_ptr_null(chardev_create_from(&s, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "standard input"));
	s.in = in[0];
	s.out = 999;
	ck_assert_ptr_null(chardev_create_from(&s, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "standard output"));
}
END_TEST

/* Descriptors that can neither be reopened nor given O_NONBLOCK. */

static unsigned shared_ready;

static void shared_on_ready(void *opaque, uint32_t revents)
{
	(void)revents;
	shared_ready++;
	chardev_fd_want(opaque, 0);
}

START_TEST(shared_descriptors_never_wait)
{
	struct chardev_fd r, w;
	static uint8_t buf[10000];
	size_t total = 0;
	ssize_t n;

	chardev_fd_init(&r, loop, in[0], CHARDEV_FD_SHARED, shared_on_ready, &r);
	chardev_fd_init(&w, loop, out[1], CHARDEV_FD_SHARED, shared_on_ready, &w);
	ck_assert_int_eq(chardev_fd_read(&r, buf, sizeof(buf)), -EAGAIN);
	while ((n = chardev_fd_write(&w, buf, sizeof(buf))) > 0)
		total += (size_t)n;
	ck_assert_int_eq(n, -EAGAIN);
	ck_assert_uint_le(total, PIPE_SIZE);
	ck_assert_uint_gt(total, PIPE_SIZE / 2);
	ck_assert_int_eq(chardev_fd_unread(&w), total);
	fake_run_for(loop, 20);
	ck_assert_uint_eq(shared_ready, 0);
	available(out[0]);
	fake_run_for(loop, 20);
	ck_assert_uint_eq(shared_ready, 1);
	ck_assert_int_eq(write(in[1], "abc", 3), 3);
	ck_assert_int_eq(chardev_fd_read(&r, buf, sizeof(buf)), 3);
	fd_close(&in[1]);
	ck_assert_int_eq(chardev_fd_read(&r, buf, sizeof(buf)), 0);
	fd_close(&out[0]);
	ck_assert_int_eq(chardev_fd_write(&w, buf, 1), -EPIPE);
	chardev_fd_fini(&r);
	chardev_fd_fini(&w);
	chardev_fd_fini(&w);
	in[0] = out[1] = -1;
}
END_TEST

/* file and null */

static char *contents(void)
{
	static char buf[4096];
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	ck_assert_int_ge(n, 0);
	buf[n] = 0;
	close(fd);
	return buf;
}

START_TEST(file)
{
	struct chardev *chr = create(CHARDEV_FILE, path, false);

	ck_assert_msg(chr != NULL, "%s", err.msg);
	ck_assert_str_eq(chardev_filename(chr), "file");
	chardev_attach(chr, &fake_frontend_ops, &fe);
	ck_assert_uint_eq(fe.opened, 1);
	chardev_write(chr, "one", 3);
	fake_run_for(loop, 5);
	ck_assert_str_eq(contents(), "one");
	chardev_destroy(chr);
	chr = create(CHARDEV_FILE, path, true);
	chardev_write(chr, "two", 3);
	chardev_destroy(chr);
	ck_assert_str_eq(contents(), "onetwo");
	chardev_destroy(create(CHARDEV_FILE, path, false));
	ck_assert_str_eq(contents(), "");
}
END_TEST

START_TEST(file_errors)
{
	ck_assert_ptr_null(create(CHARDEV_FILE, dir, false));
	ck_assert_ptr_nonnull(strstr(err.msg, "is a directory"));
	ck_assert_ptr_null(create(CHARDEV_FILE, "/nonexistent/file", false));
	ck_assert_ptr_nonnull(strstr(err.msg, "/nonexistent/file"));
	ck_assert_ptr_null(create(CHARDEV_FILE, NULL, false));
	ck_assert_ptr_nonnull(strstr(err.msg, "path"));
	/* A FIFO without a reader does not hang the start. */
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_ptr_null(create(CHARDEV_FILE, path, false));
	ck_assert_ptr_nonnull(strstr(err.msg, "FIFO"));
	ck_assert_ptr_null(create((enum chardev_backend)77, path, false));
}
END_TEST

START_TEST(file_full_disk)
{
	struct chardev *chr;
	char *text;

	fake_stderr_begin();
	chr = create(CHARDEV_FILE, "/dev/full", false);
	ck_assert_msg(chr != NULL, "%s", err.msg);
	for (int i = 0; i < 10; i++) {
		ck_assert_uint_eq(chardev_write(chr, fe.in, sizeof(fe.in)), sizeof(fe.in));
		fake_run_for(loop, 2);
	}
	ck_assert(chardev_connected(chr));
	chardev_destroy(chr);
	text = fake_stderr_end();
	ck_assert_uint_eq(fake_count(text, "No space left"), 1);
	ck_assert_uint_eq(fake_count(text, "\n"), 1);
	free(text);
}
END_TEST

START_TEST(file_as_fifo)
{
	struct chardev *chr;
	int fd;

	ck_assert_int_eq(mkfifo(path, 0600), 0);
	fd = open(path, O_RDONLY | O_NONBLOCK);
	chr = create(CHARDEV_FILE, path, false);
	ck_assert_msg(chr != NULL, "%s", err.msg);
	chardev_attach(chr, &fake_frontend_ops, &fe);
	ck_assert_uint_ge(fill_up(chr), CHARDEV_RING);
	ck_assert_uint_gt(available(fd), 0);
	fe.writables = 0;
	fake_run_until(loop, some_writable, NULL);
	chardev_destroy(chr);
	close(fd);
}
END_TEST

START_TEST(null)
{
	struct chardev *chr = create(CHARDEV_NULL, NULL, false);

	ck_assert_str_eq(chardev_filename(chr), "null");
	chardev_attach(chr, &fake_frontend_ops, &fe);
	ck_assert_uint_eq(fe.opened, 1);
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(chardev_write(chr, fe.in, sizeof(fe.in)), sizeof(fe.in));
	chardev_accept_input(chr);
	chardev_destroy(chr); /* with work queued */
	fake_run_for(loop, 5);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		both_ways, gathers, destroy_writes_out, one_stdio_only, a_slow_reader_loses_nothing,
		a_slow_reader_of_a_socket_loses_nothing, a_reader_that_never_reads, a_reader_of_single_bytes_is_not_given_up,
		the_reader_goes, a_long_paste, a_full_front_end_is_left_alone,
		a_front_end_that_changes_its_mind, front_ends_come_and_go, input_from_dev_null,
		input_and_output_files, no_standard_input, shared_descriptors_never_wait, file, file_errors, file_full_disk,
		file_as_fifo, null,
	};

	return suite_run("chardev", tests, ARRAY_SIZE(tests), setup, teardown);
}
