/* SPDX-License-Identifier: MIT */
/*
 * An example of a program with machines inside, and the test of kite.h: two microVMs at once, their consoles by callback, input, pause and
 * going on, reset, the end and a second life, one of them on a loop of the program's own.
 *
 *     embed DIRECTORY      with the payloads flood.elf, input.elf and reset.elf of tests/guest in it
 *
 * Prints "ok" or "not ok" a test, and "embed: N passed, N failed". Built against what `make install` installs, nothing else.
 */
#include <errno.h>
#include <kite.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE 64 /* of flood */
#define PASSED 33
#define PATIENCE_S 300

static unsigned passed, failed;

static bool __attribute__((format(printf, 2, 3))) check(bool good, const char *fmt, ...)
{
	va_list ap;

	printf("%s ", good ? "ok" : "not ok");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	*(good ? &passed : &failed) += 1;
	return good;
}

/* One machine, and what was heard of it. */
struct guest {
	const char *name;
	struct kite *kite;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Under the lock: */
	char *text;
	size_t length, events[8], lines;
	struct kite_event last;
};

static void on_output(void *opaque, const char *console, const void *data, size_t length)
{
	struct guest *g = opaque;

	pthread_mutex_lock(&g->lock);
	if (strcmp(console, "console") == 0) {
		g->text = realloc(g->text, g->length + length + 1);
		memcpy(g->text + g->length, data, length);
		g->length += length;
		g->text[g->length] = '\0';
	}
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

static void on_event(void *opaque, const struct kite_event *event)
{
	struct guest *g = opaque;

	pthread_mutex_lock(&g->lock);
	g->events[event->type]++;
	g->last = *event;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
	/* Control from a callback: it may not wait for itself. */
	if (event->type == KITE_EVENT_STOP && event->state == KITE_PAUSED)
		kite_pause(g->kite);
}

static void on_log(void *opaque, enum kite_log_level level, const char *line)
{
	struct guest *g = opaque;

	(void)level;
	(void)line;
	pthread_mutex_lock(&g->lock);
	g->lines++;
	pthread_mutex_unlock(&g->lock);
}

static size_t length(struct guest *g)
{
	size_t n;

	pthread_mutex_lock(&g->lock);
	n = g->length;
	pthread_mutex_unlock(&g->lock);
	return n;
}

static bool said(struct guest *g, const char *text)
{
	bool found;

	pthread_mutex_lock(&g->lock);
	found = g->text && strstr(g->text, text);
	pthread_mutex_unlock(&g->lock);
	return found;
}

static void forget(struct guest *g)
{
	pthread_mutex_lock(&g->lock);
	g->length = 0;
	if (g->text)
		*g->text = '\0';
	memset(g->events, 0, sizeof(g->events));
	pthread_mutex_unlock(&g->lock);
}

/* Until the guest has written `bytes`, or `text`. */
static bool await(struct guest *g, size_t bytes, const char *text)
{
	struct timespec until;
	bool in_time = true;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&g->lock);
	while (in_time && (g->length < bytes || (text && !(g->text && strstr(g->text, text)))))
		in_time = pthread_cond_timedwait(&g->changed, &g->lock, &until) == 0;
	pthread_mutex_unlock(&g->lock);
	return in_time;
}

static void guest_init(struct guest *g, const char *name, const char *directory, const char *payload, const char *arguments)
{
	const struct kite_host host = { .size = sizeof(host), .opaque = g, .output = on_output, .event = on_event, .log = on_log };
	static char *const more[] = { "", "-nodefaults", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", NULL };
	struct kite_config *config = kite_config_create();
	struct kite_error error;
	char kernel[4096];

	*g = (struct guest){ .name = name };
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->changed, NULL);
	snprintf(kernel, sizeof(kernel), "%s/%s.elf", directory, payload);
	kite_config_set_machine(config, "microvm,rtc=on");
	kite_config_set_memory(config, 128 << 20);
	kite_config_set_cpus(config, 1);
	kite_config_set_kernel(config, kernel, NULL, arguments);
	kite_config_parse(config, 4, more);
	kite_config_add_console(config, "console");
	check(kite_config_check(config, &error) == 0, "%s: configuration %s", name, error.text);
	g->kite = kite_create(config, &host, &error);
	kite_config_destroy(config);
	if (!check(g->kite != NULL, "%s: created %s", name, error.text))
		exit(1);
}

static void guest_fini(struct guest *g)
{
	kite_destroy(g->kite);
	free(g->text);
	pthread_cond_destroy(&g->changed);
	pthread_mutex_destroy(&g->lock);
}

/* What a fresh process has of signals, and must still have: nothing handled. */
static bool signals_untouched(void)
{
	for (int sig = 1; sig <= SIGRTMAX; sig++) {
		struct sigaction sa;

		if (sigaction(sig, NULL, &sa) == 0 && sa.sa_handler != SIG_DFL && sig != SIGSEGV && sig != SIGBUS && sig != SIGFPE && sig != SIGILL &&
		    sig != SIGABRT && sig != SIGTRAP)
			return false; /* sanitizers handle those */
	}
	return true;
}

static void start(struct guest *g)
{
	struct kite_error error;

	check(kite_start(g->kite, &error) == 0, "%s: started %s", g->name, error.text);
}

/* Feeds what the payload `input` counts and hashes, in pieces of any size. */
static void feed(struct guest *g, size_t bytes)
{
	char piece[1000], want[80];
	unsigned hash = 0;
	size_t given = 0;

	check(await(g, 0, "input: ready"), "%s: the guest is ready", g->name);
	while (given < bytes) {
		size_t n = bytes - given < sizeof(piece) ? bytes - given : sizeof(piece), at = 0;

		for (size_t i = 0; i < n; i++) {
			piece[i] = (char)((given + i) * 7 % 251);
			hash = hash * 31 + (unsigned char)piece[i];
		}
		while (at < n) {
			ptrdiff_t taken = kite_input(g->kite, "console", piece + at, n - at);

			if (taken < 0)
				break;
			at += (size_t)taken;
			if (taken == 0)
				usleep(1000);
		}
		given += n;
	}
	snprintf(want, sizeof(want), "input: %zu bytes hash %u", bytes, hash);
	check(await(g, 0, want), "%s: %zu bytes of input arrive, in order", g->name, bytes);
}

static void pause_and_go_on(struct guest *g)
{
	size_t before = SIZE_MAX;

	for (int i = 0; i < 20; i++) {
		if (kite_pause(g->kite) < 0 || kite_state(g->kite) != KITE_PAUSED)
			break;
		usleep(2000);
		if (kite_resume(g->kite) < 0)
			break;
	}
	check(g->events[KITE_EVENT_RESUME] > 0 && kite_state(g->kite) == KITE_RUNNING, "%s: paused and resumed, over and over", g->name);
	check(kite_pause(g->kite) == 0 && kite_state(g->kite) == KITE_PAUSED, "%s: paused", g->name);
	/* What is in the console's ring still comes, on a busy machine not at once. */
	for (int i = 0; i < 100 && before != length(g); i++) {
		before = length(g);
		usleep(300000);
	}
	check(length(g) == before, "%s: a paused machine writes nothing", g->name);
	check(kite_resume(g->kite) == 0 && await(g, before + LINE, NULL), "%s: and goes on", g->name);
}

/* Every line once, in order. */
static bool lines_whole(struct guest *g)
{
	const char *at = g->text ? strstr(g->text, "0000000 ") : NULL;
	unsigned n = 0;

	for (; at && strlen(at) >= LINE && strncmp(at + 7, " the quick", 10) == 0; at += LINE, n++)
		if ((unsigned)strtoul(at, NULL, 10) != n)
			return false;
	return n > 10;
}

/* Two machines side by side, and one of them again. */
static void two_at_once(const char *directory)
{
	struct guest a, b;
	int status;

	guest_init(&a, "a", directory, "flood", "bytes=400000000");
	guest_init(&b, "b", directory, "input", "bytes=20000");
	check(kite_pause(a.kite) == -ESRCH && kite_input(a.kite, "console", "x", 1) == -ESRCH, "a: no control before the start");
	start(&a);
	start(&b);
	check(kite_start(b.kite, NULL) == -EBUSY, "b: started once only");
	check(kite_input(b.kite, "nobody", "x", 1) == -ENOENT, "b: no such console");
	check(await(&a, 100 * LINE, NULL), "a: writes");
	pause_and_go_on(&a);
	feed(&b, 20000);
	status = kite_wait(b.kite, NULL);
	check(status == PASSED, "b: ended by its guest with status %d", status);
	check(b.events[KITE_EVENT_ENDED] == 1 && kite_state(b.kite) == KITE_ENDED, "b: heard of the end");
	check(kite_wait(b.kite, NULL) == -ESRCH, "b: waited for once only");
	check(await(&a, length(&a) + 100 * LINE, NULL), "a: goes on meanwhile");
	forget(&b);
	start(&b);
	feed(&b, 20000);
	check(kite_wait(b.kite, NULL) == PASSED, "b: a second life");
	check(kite_quit(a.kite) == 0 && kite_wait(a.kite, NULL) == 0, "a: ended from outside");
	check(a.events[KITE_EVENT_SHUTDOWN] == 1, "a: heard of the shutdown");
	check(lines_whole(&a), "a: every line came once and whole");
	check(said(&b, "guest: "), "b: said so");
	guest_fini(&a);
	guest_fini(&b);
}

/* On this program's own loop. */
static void attached(const char *directory)
{
	struct guest g;
	struct kite_error error;
	struct pollfd fd = { .events = POLLIN };
	time_t until = time(NULL) + PATIENCE_S;
	bool given = false;
	char piece[300];
	int r = 0;

	guest_init(&g, "attached", directory, "input", "bytes=300");
	memset(piece, 'k', sizeof(piece));
	fd.fd = kite_attach(g.kite, &error);
	if (!check(fd.fd >= 0, "attached: to a loop of ours %s", error.text))
		exit(1);
	while (r == 0 && time(NULL) < until) {
		poll(&fd, 1, 1000);
		r = kite_dispatch(g.kite);
		if (!given && said(&g, "input: ready")) {
			given = true;
			/* On the loop's own thread it only asks. */
			kite_pause(g.kite);
			check(kite_input(g.kite, "console", piece, sizeof(piece)) == sizeof(piece), "attached: takes input");
		}
		if (g.last.type == KITE_EVENT_STOP && kite_state(g.kite) == KITE_PAUSED)
			kite_resume(g.kite);
	}
	check(r == 1 && g.events[KITE_EVENT_STOP] == 1, "attached: paused, resumed, and ended");
	r = kite_wait(g.kite, &error);
	if (!check(r == PASSED, "attached: its status is %d %s", r, error.text))
		fprintf(stderr, "%s\n", g.text ? g.text : "it said nothing");
	/* Again, and left in the middle. */
	forget(&g);
	fd.fd = kite_attach(g.kite, &error);
	poll(&fd, 1, 1000);
	check(fd.fd >= 0 && kite_dispatch(g.kite) == 0, "attached: again");
	guest_fini(&g);
	check(true, "attached: destroyed while it ran");
}

static void *pesterer(void *arg)
{
	struct guest *g = arg;

	for (int i = 0; i < 200; i++) {
		kite_pause(g->kite);
		kite_state(g->kite);
		kite_input(g->kite, "console", "abc", 3);
		kite_resume(g->kite);
		if (i % 50 == 25)
			kite_reset(g->kite);
	}
	return NULL;
}

/* Control from many threads at once, while the machine ends under them. */
static void many_hands(const char *directory)
{
	pthread_t threads[3];
	struct guest g;

	guest_init(&g, "hands", directory, "flood", "bytes=400000000");
	start(&g);
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, pesterer, &g);
	await(&g, 1000, NULL);
	usleep(200000);
	kite_quit(g.kite);
	check(kite_wait(g.kite, NULL) == 0, "hands: ended under control from three threads");
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	check(kite_resume(g.kite) == -ESRCH, "hands: and has no control any more");
	guest_fini(&g);
}

static void mistakes(void)
{
	struct kite_config *config = kite_config_create();
	struct kite_host host = { .size = 0 };
	struct kite_error error;

	kite_config_set_machine(config, "microvm");
	check(kite_config_check(config, &error) == -EINVAL && strstr(error.text, "-kernel"), "mistakes: %s", error.text);
	kite_config_option(config, "-version", NULL);
	check(kite_config_check(config, &error) == -EINVAL, "mistakes: %s", error.text);
	check(!kite_create(config, &host, &error) && error.code == -EINVAL, "mistakes: %s", error.text);
	kite_config_destroy(config);
	config = kite_config_create();
	kite_config_option(config, "-nosuch", NULL);
	check(!kite_create(config, NULL, &error) && strstr(error.text, "-nosuch"), "mistakes: %s", error.text);
	kite_config_destroy(config);
	kite_destroy(NULL);
	kite_config_destroy(NULL);
}

int main(int argc, char *argv[])
{
	const char *directory = argc > 1 ? argv[1] : "build/guest";
	sigset_t before, after;

	setvbuf(stdout, NULL, _IOLBF, 0);
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	mistakes();
	two_at_once(directory);
	attached(directory);
	many_hands(directory);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	check(signals_untouched() && memcmp(&before, &after, 8) == 0, "the process's signals are as they were");
	printf("embed: %u passed, %u failed\n", passed, failed);
	return failed != 0;
}
