/* SPDX-License-Identifier: MIT */
/* The log: whole lines in one write each, never waiting for a reader of stderr, and bounded by guests' faults. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char out[1 << 16];
static size_t n_out;
static unsigned n_writes;
static struct timespec fake_time = { 100, 0 };
static int fake_clock_gettime(clockid_t clock, struct timespec *ts);
static ssize_t fake_write(int fd, const void *buf, size_t len);
static int passes_through;

#define clock_gettime fake_clock_gettime
#define write fake_write
#include "vmm/log.c"
#undef clock_gettime
#undef write

static int fake_clock_gettime(clockid_t clock, struct timespec *ts)
{
	(void)clock;
	*ts = fake_time;
	return 0;
}

static ssize_t fake_write(int fd, const void *buf, size_t len)
{
	ck_assert_int_eq(fd, STDERR_FILENO);
	__atomic_add_fetch(&n_writes, 1, __ATOMIC_SEQ_CST);
	if (passes_through)
		return write(fd, buf, len);
	ck_assert_uint_lt(n_out + len, sizeof(out));
	memcpy(out + n_out, buf, len);
	n_out += len;
	return (ssize_t)len;
}

/* stderr is a pipe of one page; its reading end. */
static int stderr_to_pipe(void)
{
	int p[2];

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	ck_assert_int_ge(fcntl(p[1], F_SETPIPE_SZ, 4096), 0);
	ck_assert_int_ge(dup2(p[1], STDERR_FILENO), 0);
	close(p[1]);
	return p[0];
}

static unsigned lines(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < n_out; i++)
		n += out[i] == '\n';
	return n;
}

START_TEST(levels)
{
	int fd = stderr_to_pipe();

	log_error("a %d", 1);
	log_warn("b");
	log_info("c");
	log_debug("not this");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("d");
	log_set_level(LOG_LEVEL_ERROR);
	log_warn("nor this");
	log_info("nor this");
	ck_assert_str_eq(out, "kite: a 1\nkite: warning: b\nkite: c\nkite: debug: d\n");
	ck_assert_uint_eq(n_writes, 4);
	close(fd);
}
END_TEST

START_TEST(long_lines)
{
	int fd = stderr_to_pipe();
	char word[5000];

	memset(word, 'x', sizeof(word) - 1);
	word[sizeof(word) - 1] = '\0';
	log_error("%s", word);
	ck_assert_uint_eq(n_writes, 1);
	ck_assert_uint_eq(n_out, LOG_LINE_MAX - 1);
	ck_assert(lines() == 1 && out[n_out - 1] == '\n');
	log_guest(&(struct log_limit)LOG_LIMIT_INIT, word, "%s", word);
	ck_assert(n_writes == 2 && lines() == 2 && out[n_out - 1] == '\n');
	close(fd);
}
END_TEST

START_TEST(guest_limit)
{
	struct log_limit a = LOG_LIMIT_INIT, b = LOG_LIMIT_INIT;
	int fd = stderr_to_pipe();

	for (unsigned i = 0; i < 1000; i++)
		log_guest(&a, "dev0", "bad %u", i);
	ck_assert_uint_eq(lines(), LOG_GUEST_BURST);
	ck_assert_int_eq(strncmp(out, "kite: warning: dev0: bad 0\n", 27), 0);
	log_guest(&b, "dev1", "its own limit");
	ck_assert_uint_eq(lines(), LOG_GUEST_BURST + 1);
	fake_time.tv_nsec = 999999999;
	log_guest(&a, "dev0", "still too soon");
	ck_assert_uint_eq(lines(), LOG_GUEST_BURST + 1);
	fake_time = (struct timespec){ 101, 0 };
	n_out = 0;
	memset(out, 0, sizeof(out));
	log_guest(&a, "dev0", "again");
	ck_assert_str_eq(out, "kite: warning: dev0: 996 more messages like these were left out\nkite: warning: dev0: again\n");
	n_out = 0;
	for (unsigned i = 0; i < 10; i++)
		log_guest(&a, "dev0", "x");
	ck_assert_uint_eq(lines(), LOG_GUEST_BURST - 1);
	log_set_level(LOG_LEVEL_ERROR);
	fake_time.tv_sec += 5;
	n_out = 0;
	log_guest(&a, "dev0", "not wanted");
	ck_assert_uint_eq(n_out, 0);
	close(fd);
}
END_TEST

static int64_t elapsed_ms(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000;
}

/* Nobody reads stderr: warnings are lost at once, an error after a moment, and nobody blocks. */
START_TEST(full_pipe)
{
	int fd = stderr_to_pipe();
	struct timespec start;
	char page[4096] = { 0 };

	passes_through = 1;
	ck_assert_int_eq(write(STDERR_FILENO, page, sizeof(page)), sizeof(page));
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (unsigned i = 0; i < 1000; i++)
		log_warn("lost");
	ck_assert_int_lt(elapsed_ms(&start), 20000);
	ck_assert_uint_eq(n_writes, 0);
	log_error("waited for");
	ck_assert_int_lt(elapsed_ms(&start), 40000);
	ck_assert_uint_eq(n_writes, 0);
	ck_assert_int_eq(read(fd, page, sizeof(page)), sizeof(page));
	log_warn("there again");
	ck_assert_int_eq(read(fd, page, sizeof(page)), 33 - 6);
	signal(SIGPIPE, SIG_IGN); /* as the program does */
	close(fd);
	log_warn("no reader");
}
END_TEST

#define THREADS 4

static void *chatter(void *arg)
{
	for (unsigned i = 0; i < 500; i++)
		log_warn("thread %u says the same line as always", *(unsigned *)arg);
	return NULL;
}

/* Lines of different threads never mix. */
START_TEST(threads)
{
	char text[1 << 12], *line = text;
	unsigned ids[THREADS] = { 0, 1, 2, 3 }, got = 0;
	pthread_t t[THREADS];
	size_t n = 0;
	int fd;

	fd = stderr_to_pipe();
	ck_assert_int_ge(fcntl(fd, F_SETPIPE_SZ, 65536), 0);
	passes_through = 1;
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, chatter, &ids[i]), 0);
	for (struct pollfd p = { .fd = fd, .events = POLLIN }; poll(&p, 1, 500) > 0;) {
		ssize_t r = read(fd, text + n, sizeof(text) - 1 - n);
		char *end;

		ck_assert_int_gt(r, 0);
		n += (size_t)r;
		text[n] = '\0';
		for (line = text; (end = strchr(line, '\n')); line = end + 1, got++) {
			unsigned id = 99;
			int used = 0;

			ck_assert_int_eq(sscanf(line, "kite: warning: thread %u says the same line as always%n", &id, &used), 1);
			ck_assert(id < THREADS && line + used == end);
		}
		n -= (size_t)(line - text);
		memmove(text, line, n);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	ck_assert_uint_eq(n, 0);
	ck_assert_uint_gt(got, 10);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");
	TCase *tc = tcase_create("log");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, levels);
	tcase_add_test(tc, long_lines);
	tcase_add_test(tc, guest_limit);
	tcase_add_test(tc, full_pipe);
	tcase_add_test(tc, threads);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
