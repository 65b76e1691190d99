/* SPDX-License-Identifier: MIT */
#include "vmm/chardev.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define MS INT64_C(1000000)

static struct eventloop *loop;
static struct fake_frontend fe;
static struct err err = ERR_INIT;
static char dir[] = "/tmp/kite-socket-XXXXXX";
static char path[100];

static void setup(void)
{
	loop = fake_loop();
	fe.room = SIZE_MAX / 2;
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
}

static void teardown(void)
{
	unlink(path);
	rmdir(dir);
	eventloop_destroy(loop);
}

static struct chardev *try_create(const char *p, bool server, bool wait)
{
	struct chardev_config cfg = { .id = "serial0", .backend = CHARDEV_SOCKET, .path = p, .server = server, .wait = wait };

	return chardev_create(&cfg, NULL, loop, &err);
}

static struct chardev *server(void)
{
	struct chardev *chr = try_create(path, true, false);

	ck_assert_msg(chr != NULL, "%s", err.msg);
	chardev_attach(chr, &fake_frontend_ops, &fe);
	return chr;
}

static struct sockaddr_un address(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	memcpy(a.sun_path, path, strlen(path));
	return a;
}

static int client(void)
{
	struct sockaddr_un a = address();
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static int listener(void)
{
	struct sockaddr_un a = address();
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	return fd;
}

static bool opened(void *arg)
{
	return fe.opened >= *(unsigned *)arg;
}

static bool closed(void *arg)
{
	return fe.closed >= *(unsigned *)arg;
}

static void until_opened(unsigned n)
{
	fake_run_until(loop, opened, &n);
}

static void until_closed(unsigned n)
{
	fake_run_until(loop, closed, &n);
}

static size_t drain(int fd)
{
	static char buf[1 << 20];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	return n > 0 ? (size_t)n : 0;
}

START_TEST(clients_come_and_go)
{
	struct chardev *chr = server();
	char name[128];
	struct stat st;

	snprintf(name, sizeof(name), "unix:%s,server=on", path);
	ck_assert_str_eq(chardev_filename(chr), name);
	ck_assert(!chardev_connected(chr));
	ck_assert_uint_eq(fe.opened, 0);
	for (unsigned i = 1; i <= 3; i++) {
		int fd;

		/* Nobody there: dropped at once, and never seen. */
		ck_assert_uint_eq(chardev_write(chr, fe.in, sizeof(fe.in)), sizeof(fe.in));
		ck_assert_uint_eq(chardev_write(chr, fe.in, sizeof(fe.in)), sizeof(fe.in));
		fake_run_idle(loop, 20);
		fd = client();
		until_opened(i);
		ck_assert(chardev_connected(chr));
		ck_assert_uint_eq(chardev_write(chr, "hello", 5), 5);
		ck_assert_int_eq(write(fd, "abc", 3), 3);
		fake_run_input(loop, &fe, 3 * i);
		fake_run_for(loop, 5);
		ck_assert_uint_eq(drain(fd), 5);
		fake_run_idle(loop, 50);
		close(fd);
		until_closed(i);
		ck_assert(!chardev_connected(chr));
	}
	chardev_destroy(chr);
	ck_assert_int_lt(stat(path, &st), 0);
}
END_TEST

START_TEST(one_client_at_a_time)
{
	struct chardev *chr = server();
	int a = client(), b;

	until_opened(1);
	b = client();
	ck_assert_int_eq(write(b, "later", 5), 5);
	fake_run_idle(loop, 50);
	ck_assert_uint_eq(fe.opened, 1);
	ck_assert_uint_eq(fe.in_len, 0);
	close(a);
	until_opened(2);
	ck_assert_uint_eq(fe.closed, 1);
	fake_run_input(loop, &fe, 5);
	close(b);
	chardev_destroy(chr);
}
END_TEST

/* What a client sent before it went is the guest's, however slowly it takes it. */
START_TEST(a_client_that_says_something_and_goes)
{
	struct chardev *chr = server();
	int fd = client();

	until_opened(1);
	fe.room = 0;
	ck_assert_int_eq(write(fd, "poweroff now", 12), 12);
	close(fd);
	fake_run_idle(loop, 100);
	/* It hears of the end after the last of it; what it says itself goes nowhere. */
	for (size_t n = 4; n <= 12; n += 4) {
		ck_assert_uint_eq(fe.closed, 0);
		ck_assert_uint_eq(chardev_write(chr, "anyone?", 7), 7);
		fe.room = 4;
		chardev_accept_input(chr);
		fake_run_input(loop, &fe, n);
		fake_run_idle(loop, 30);
	}
	ck_assert_mem_eq(fe.in, "poweroff now", 12);
	fe.room = 4;
	chardev_accept_input(chr);
	until_closed(1);
	fd = client();
	until_opened(2);
	close(fd);
	until_closed(2);
	chardev_destroy(chr);
}
END_TEST

START_TEST(a_new_client_replaces_one_that_hung_up)
{
	struct chardev *chr = server();
	int fd = client();

	until_opened(1);
	fe.room = 0;
	ck_assert_int_eq(write(fd, "never read", 10), 10);
	close(fd);
	fake_run_for(loop, 10);
	ck_assert_uint_eq(fe.closed, 0);
	fd = client();
	until_opened(2);
	ck_assert_uint_eq(fe.closed, 1);
	fe.room = 100;
	chardev_accept_input(chr);
	ck_assert_int_eq(write(fd, "x", 1), 1);
	fake_run_input(loop, &fe, 1);
	ck_assert_uint_eq(fe.in[0], 'x');
	close(fd);
	chardev_destroy(chr);
}
END_TEST

START_TEST(half_closed)
{
	struct chardev *chr = server();
	int fd = client();

	until_opened(1);
	ck_assert_int_eq(write(fd, "bye", 3), 3);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	fake_run_input(loop, &fe, 3);
	fake_run_idle(loop, 50);
	ck_assert_uint_eq(fe.closed, 0);
	chardev_write(chr, "still there", 11);
	fake_run_for(loop, 5);
	ck_assert_uint_eq(drain(fd), 11);
	close(fd);
	until_closed(1);
	chardev_destroy(chr);
}
END_TEST

static bool some_writable(void *arg)
{
	(void)arg;
	return fe.writables > 0;
}

START_TEST(a_client_that_does_not_read)
{
	struct chardev *chr = server();
	int fd = client();
	size_t total = 0, n;

	until_opened(1);
	do {
		fake_run_for(loop, 0); /* long before it stalls */
		n = 0;
		for (size_t more = 1; more > 0; n += more)
			more = chardev_write(chr, fe.in, 10000);
		total += n;
		ck_assert_uint_lt(total, 4 << 20);
	} while (n > 0);
	fe.writables = 0;
	fake_run_idle(loop, 50);
	fake_run_until(loop, some_writable, NULL);
	ck_assert_uint_eq(chardev_write(chr, fe.in, 10000), 10000);
	while (drain(fd) > 0)
		fake_run_for(loop, 2);
	ck_assert_uint_eq(chardev_write(chr, "new", 3), 3);
	fake_run_for(loop, 5);
	ck_assert_uint_eq(drain(fd), 3);
	/* It goes with output waiting for it: the front end need not wait any more. */
	while (chardev_write(chr, fe.in, 10000) > 0)
		fake_run_for(loop, 1);
	fe.writables = 0;
	close(fd);
	until_closed(1);
	ck_assert_uint_eq(fe.writables, 1);
	/* The next one gets what is for it only. */
	fd = client();
	until_opened(2);
	chardev_write(chr, "for you", 7);
	fake_run_for(loop, 10);
	ck_assert_uint_eq(drain(fd), 7);
	close(fd);
	chardev_destroy(chr);
}
END_TEST

/* With input that the front end has not taken, and output that the peer never read: the front end need not wait for either. */
START_TEST(a_client_that_goes_in_the_middle)
{
	struct chardev *chr = server();
	int fd = client();

	until_opened(1);
	fe.room = 0;
	ck_assert_int_eq(write(fd, "input", 5), 5);
	while (chardev_write(chr, fe.in, 10000) > 0)
		fake_run_for(loop, 1);
	fe.writables = 0;
	close(fd);
	fake_run_until(loop, some_writable, NULL);
	ck_assert_uint_eq(fe.closed, 0);
	ck_assert_uint_eq(chardev_write(chr, fe.in, 10000), 10000);
	fake_run_idle(loop, 50);
	fe.room = 100;
	chardev_accept_input(chr);
	until_closed(1);
	ck_assert_uint_eq(fe.in_len, 5);
	chardev_destroy(chr);
}
END_TEST

/* A patient front end loses nothing to a peer that reads late; one after it that is not patient does not inherit that. */
START_TEST(a_patient_front_end)
{
	struct chardev_frontend patient = fake_frontend_ops;
	struct chardev *chr = server();
	size_t sent = 0, got = 0, n;
	int fd = client();

	patient.patient = true;
	chardev_detach(chr);
	chardev_attach(chr, &patient, &fe);
	fe.writables = 0;
	until_opened(1);
	do {
		n = chardev_write(chr, fe.in, 10000);
		sent += n;
		fake_run_for(loop, 1);
	} while (n > 0);
	fake_run_for(loop, (int)(2 * CHARDEV_STALL_NS / MS));
	ck_assert_uint_eq(fe.writables, 0);
	ck_assert_uint_eq(chardev_write(chr, fe.in, 10000), 0);
	while (got < sent) {
		got += drain(fd);
		fake_run_for(loop, 1);
	}
	ck_assert_uint_eq(got, sent);
	ck_assert_uint_ge(fe.writables, 1);
	chardev_detach(chr);
	chardev_attach(chr, &fake_frontend_ops, &fe);
	while (chardev_write(chr, fe.in, 10000) > 0)
		fake_run_for(loop, 1);
	fe.writables = 0;
	fake_run_until(loop, some_writable, NULL);
	close(fd);
	chardev_destroy(chr);
}
END_TEST

START_TEST(stale_and_live_sockets)
{
	int fd = listener();
	struct chardev *chr;
	struct stat st;

	ck_assert_ptr_null(try_create(path, true, false));
	ck_assert_int_eq(err.code, -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(err.msg, "another process listens"));
	ck_assert_ptr_nonnull(strstr(err.msg, path));
	close(fd); /* it leaves its file */
	chr = server();
	ck_assert_ptr_null(try_create(path, true, false)); /* ours is alive */
	fd = client();
	until_opened(1);
	close(fd);
	/* Somebody replaced it: theirs is not removed. */
	unlink(path);
	fd = listener();
	chardev_destroy(chr);
	ck_assert_int_eq(stat(path, &st), 0);
	close(fd);
}
END_TEST

START_TEST(bad_paths)
{
	char longest[109], target[128];
	struct chardev *chr;
	FILE *f;

	memset(longest, 'x', sizeof(longest) - 1);
	longest[108] = 0;
	ck_assert_ptr_null(try_create(longest, true, false));
	ck_assert_int_eq(err.code, -ENAMETOOLONG);
	ck_assert_ptr_nonnull(strstr(err.msg, "108 bytes"));
	ck_assert_ptr_null(try_create(longest, false, false));
	ck_assert_ptr_null(try_create("", true, false));
	ck_assert_ptr_null(try_create(NULL, true, false));
	ck_assert_ptr_null(try_create("/nonexistent/sock", true, false));
	f = fopen(path, "w");
	fclose(f);
	ck_assert_ptr_null(try_create(path, true, false));
	ck_assert_ptr_nonnull(strstr(err.msg, "not a socket"));
	unlink(path);
	/* Nothing is done to what a link points at. */
	snprintf(target, sizeof(target), "%s/target", dir);
	ck_assert_int_eq(symlink(target, path), 0);
	ck_assert_ptr_null(try_create(path, true, false));
	ck_assert_ptr_nonnull(strstr(err.msg, "not a socket"));
	unlink(path);
	/* The longest that fits: 107 bytes. */
	longest[107] = 0;
	memcpy(longest, dir, strlen(dir));
	longest[strlen(dir)] = '/';
	chr = try_create(longest, true, false);
	ck_assert_msg(chr != NULL, "%s", err.msg);
	chardev_destroy(chr);
}
END_TEST

START_TEST(client_mode)
{
	struct chardev *chr;
	char name[128];
	int lfd, fd;

	ck_assert_ptr_null(try_create(path, false, false));
	ck_assert_int_eq(err.code, -ENOENT);
	lfd = listener();
	snprintf(name, sizeof(name), "unix:%s", path);
	chr = try_create(path, false, false);
	ck_assert_msg(chr != NULL, "%s", err.msg);
	ck_assert_str_eq(chardev_filename(chr), name);
	chardev_attach(chr, &fake_frontend_ops, &fe);
	ck_assert_uint_eq(fe.opened, 1);
	fd = accept(lfd, NULL, NULL);
	ck_assert_int_eq(write(fd, "abc", 3), 3);
	fake_run_input(loop, &fe, 3);
	close(fd);
	until_closed(1);
	fake_run_idle(loop, 50);
	ck_assert_uint_eq(chardev_write(chr, fe.in, sizeof(fe.in)), sizeof(fe.in));
	chardev_destroy(chr);
	ck_assert_int_eq(access(path, F_OK), 0); /* not ours */
	close(lfd);
	ck_assert_ptr_null(try_create(path, false, false));
	ck_assert_int_eq(err.code, -ECONNREFUSED);
	ck_assert_ptr_nonnull(strstr(err.msg, "nobody listens"));
}
END_TEST

static void *late_client(void *opaque)
{
	usleep(50000);
	*(int *)opaque = client();
	return NULL;
}

START_TEST(wait_for_a_client)
{
	struct chardev *chr;
	pthread_t thread;
	char *text;
	int fd;

	fake_stderr_begin();
	pthread_create(&thread, NULL, late_client, &fd);
	chr = try_create(path, true, true);
	pthread_join(thread, NULL);
	text = fake_stderr_end();
	ck_assert_msg(chr != NULL, "%s", err.msg);
	ck_assert_ptr_nonnull(strstr(text, "waiting for connection on: unix:"));
	ck_assert_ptr_nonnull(strstr(text, ",server=on\n"));
	free(text);
	ck_assert(chardev_connected(chr));
	chardev_attach(chr, &fake_frontend_ops, &fe);
	ck_assert_uint_eq(fe.opened, 1);
	close(fd);
	until_closed(1);
	fd = client(); /* as any server */
	until_opened(2);
	close(fd);
	chardev_destroy(chr);
}
END_TEST

static void on_signal(int sig)
{
	(void)sig;
}

static void *late_signal(void *opaque)
{
	usleep(50000);
	pthread_kill(*(pthread_t *)opaque, SIGINT);
	return NULL;
}

START_TEST(wait_ends_on_signals)
{
	pthread_t self = pthread_self(), thread;
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	sigset_t set, pending;

	/* Blocked, as main has them. */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	kill(getpid(), SIGTERM);
	ck_assert_ptr_null(try_create(path, true, true));
	ck_assert_int_eq(err.code, -EINTR);
	ck_assert_int_lt(access(path, F_OK), 0);
	sigpending(&pending);
	ck_assert_int_eq(sigismember(&pending, SIGTERM), 1); /* main still sees it */
	signal(SIGTERM, SIG_IGN);
	/* Handled. */
	sigaction(SIGINT, &sa, NULL);
	pthread_create(&thread, NULL, late_signal, &self);
	ck_assert_ptr_null(try_create(path, true, true));
	ck_assert_int_eq(err.code, -EINTR);
	pthread_join(thread, NULL);
}
END_TEST

/* No descriptors left: the client waits, nothing spins, and it is served when there are some again. */
START_TEST(accept_without_descriptors)
{
	struct chardev *chr = server();
	struct rlimit old, none;
	int fd = client();
	char *text;

	getrlimit(RLIMIT_NOFILE, &old);
	none = old;
	fake_stderr_begin();
	none.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &none);
	fake_run_idle(loop, 100);
	setrlimit(RLIMIT_NOFILE, &old);
	text = fake_stderr_end();
	ck_assert_uint_eq(fake_count(text, "cannot accept"), 1);
	free(text);
	ck_assert_uint_eq(fe.opened, 0);
	until_opened(1);
	close(fd);
	chardev_destroy(chr);
}
END_TEST

/* ---- inherited, over TCP, again and again ---- */

static struct chardev *create(struct chardev_config cfg)
{
	struct chardev *chr;

	cfg.id = "serial0";
	cfg.backend = CHARDEV_SOCKET;
	chr = chardev_create(&cfg, NULL, loop, &err);
	if (chr)
		chardev_attach(chr, &fake_frontend_ops, &fe);
	return chr;
}

static void speaks(struct chardev *chr, int fd)
{
	size_t before = fe.in_len;

	ck_assert_uint_eq(chardev_write(chr, "hello", 5), 5);
	ck_assert_int_eq(write(fd, "abc", 3), 3);
	fake_run_input(loop, &fe, before + 3);
	fake_run_for(loop, 5);
	ck_assert_uint_eq(drain(fd), 5);
}

START_TEST(inherited)
{
	int pair[2], fd, file = dup(0);
	struct chardev *chr;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_ptr_null(create((struct chardev_config){ .inherited = true, .fd = pair[0], .server = true }));
	ck_assert_ptr_nonnull(strstr(err.msg, "does not listen; give server=off"));
	ck_assert_ptr_null(create((struct chardev_config){ .inherited = true, .fd = 999 }));
	ck_assert_ptr_nonnull(strstr(err.msg, "descriptor 999 is not an open socket"));
	chr = create((struct chardev_config){ .inherited = true, .fd = pair[0] });
	ck_assert_ptr_nonnull(chr);
	ck_assert_int_eq(fcntl(pair[0], F_GETFD), FD_CLOEXEC);
	speaks(chr, pair[1]);
	chardev_destroy(chr);
	ck_assert_int_lt(fcntl(pair[0], F_GETFD), 0);
	close(pair[1]);
	fd = listener();
	ck_assert_ptr_null(create((struct chardev_config){ .inherited = true, .fd = fd }));
	ck_assert_ptr_nonnull(strstr(err.msg, "listens; give server=on"));
	chr = create((struct chardev_config){ .inherited = true, .fd = fd, .server = true });
	ck_assert_ptr_nonnull(chr);
	for (unsigned i = 0; i < 2; i++) {
		int c = client();

		until_opened(fe.opened + 1);
		speaks(chr, c);
		close(c);
		until_closed(fe.closed + 1);
	}
	chardev_destroy(chr);
	ck_assert_int_eq(access(path, F_OK), 0); /* the file is not ours */
	close(file);
}
END_TEST

static int tcp_listener(char *port, size_t size)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	snprintf(port, size, "%u", ntohs(a.sin_port));
	return fd;
}

START_TEST(tcp)
{
	char port[16];
	int spare = tcp_listener(port, sizeof(port)), fd;
	struct chardev *server_end, *chr;

	/* Bound and not listening: nobody answers. */
	ck_assert_ptr_null(create((struct chardev_config){ .host = "127.0.0.1", .port = port }));
	ck_assert_ptr_nonnull(strstr(err.msg, "refused"));
	ck_assert_int_eq(listen(spare, 5), 0);
	chr = create((struct chardev_config){ .host = "127.0.0.1", .port = port });
	ck_assert_msg(chr != NULL, "%s", err.msg);
	fd = accept(spare, NULL, NULL);
	speaks(chr, fd);
	close(fd);
	chardev_destroy(chr);
	close(spare);
	server_end = create((struct chardev_config){ .host = "127.0.0.1", .port = port, .server = true });
	ck_assert_msg(server_end != NULL, "%s", err.msg);
	ck_assert_ptr_nonnull(strstr(chardev_filename(server_end), "tcp:127.0.0.1:"));
	ck_assert_ptr_null(create((struct chardev_config){ .host = "127.0.0.1", .port = port, .server = true }));
	ck_assert_ptr_null(create((struct chardev_config){ .host = "127.0.0.1", .port = "no-such-service" }));
	chardev_destroy(server_end);
}
END_TEST

/* Nobody there at first, then a server, which goes and comes again; over both kinds. */
static void reconnects(bool over_tcp)
{
	char port[16];
	int fd = -1, l = over_tcp ? tcp_listener(port, sizeof(port)) : -1;
	struct chardev_config cfg = { .host = "127.0.0.1", .port = port, .reconnect = 1 };
	struct chardev *chr;
	char *said;

	if (!over_tcp)
		cfg = (struct chardev_config){ .path = path, .reconnect = 1 };
	fake_stderr_begin();
	chr = create(cfg);
	ck_assert_msg(chr != NULL, "%s", err.msg);
	fake_run_idle(loop, 1100);
	ck_assert_uint_eq(fe.opened, 0);
	if (over_tcp)
		ck_assert_int_eq(listen(l, 5), 0);
	else
		l = listener();
	for (unsigned i = 1; i <= 2; i++) {
		until_opened(i);
		fd = accept(l, NULL, NULL);
		speaks(chr, fd);
		close(fd);
		until_closed(i);
	}
	chardev_destroy(chr);
	said = fake_stderr_end();
	ck_assert_uint_eq(fake_count(said, "trying again"), 1);
	free(said);
	close(l);
}

START_TEST(reconnects_unix)
{
	reconnects(false);
}
END_TEST

START_TEST(reconnects_tcp)
{
	reconnects(true);
}
END_TEST

static void send_fds(int sock, unsigned n)
{
	int pipes[2];
	char control[CMSG_SPACE(100 * sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov = { .iov_base = "x", .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	ck_assert_int_eq(pipe(pipes), 0);
	*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n * sizeof(int)) };
	for (unsigned i = 0; i < n; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &pipes[i % 2], sizeof(int));
	ck_assert_int_eq(sendmsg(sock, &msg, 0), 1);
	close(pipes[0]);
	close(pipes[1]);
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Descriptors with the input: taken in order, bounded, closed with their sender; and refused where nobody asks for them. */
START_TEST(passed_descriptors)
{
	struct chardev_frontend takes = fake_frontend_ops;
	struct chardev *chr = server();
	int fd = client(), got;
	unsigned before;

	until_opened(1);
	before = open_fds();
	send_fds(fd, 2);
	fake_run_input(loop, &fe, 1);
	ck_assert_int_eq(chardev_take_fd(chr), -1);
	ck_assert_uint_eq(open_fds(), before);
	chardev_detach(chr);
	takes.takes_fds = true;
	chardev_attach(chr, &takes, &fe);
	send_fds(fd, 2);
	fake_run_input(loop, &fe, 2);
	ck_assert_uint_eq(open_fds(), before + 2);
	for (unsigned i = 0; i < 2; i++) {
		got = chardev_take_fd(chr);
		ck_assert_int_ge(got, 0);
		ck_assert_int_eq(fcntl(got, F_GETFD), FD_CLOEXEC);
		ck_assert_int_eq(fcntl(got, F_GETFL) & O_ACCMODE, i ? O_WRONLY : O_RDONLY);
		close(got);
	}
	ck_assert_int_eq(chardev_take_fd(chr), -1);
	for (unsigned i = 0; i < 3; i++)
		send_fds(fd, 10);
	fake_run_input(loop, &fe, 5);
	ck_assert_uint_eq(open_fds(), before + CHARDEV_MAX_FDS);
	send_fds(fd, 60); /* more than there is room for at all */
	fake_run_input(loop, &fe, 6);
	ck_assert_uint_eq(open_fds(), before + CHARDEV_MAX_FDS);
	close(fd);
	fd = client();
	until_opened(3);
	ck_assert_uint_eq(open_fds(), before);
	send_fds(fd, 3);
	fake_run_input(loop, &fe, 7);
	chardev_destroy(chr);
	close(fd);
	ck_assert_uint_lt(open_fds(), before);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		inherited, tcp, reconnects_unix, reconnects_tcp, passed_descriptors,
		clients_come_and_go, one_client_at_a_time, a_client_that_says_something_and_goes,
		a_new_client_replaces_one_that_hung_up, half_closed, a_client_that_does_not_read,
		a_client_that_goes_in_the_middle, a_patient_front_end, stale_and_live_sockets, bad_paths,
		client_mode, wait_for_a_client, wait_ends_on_signals, accept_without_descriptors,
	};

	return suite_run("chardev_socket", tests, ARRAY_SIZE(tests), setup, teardown);
}
