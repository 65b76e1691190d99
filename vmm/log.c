/* SPDX-License-Identifier: MIT */
#include "vmm/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmm/syscall_rules.h"

SYSCALL_RULES(
	{ CALL(poll), .threads = THREAD_ANY }, /* whether stderr takes a line */
	{ CALL(write), .threads = THREAD_ANY },
);

#define LOG_LINE_MAX 1536
#define LOG_ERROR_WAIT_MS 1000

static const char *const level_word[] = {
	[LOG_LEVEL_ERROR] = "",
	[LOG_LEVEL_WARN] = "warning: ",
	[LOG_LEVEL_INFO] = "",
	[LOG_LEVEL_DEBUG] = "debug: ",
};

/* Read by every thread, written once by main(): relaxed is enough, nothing is published through it. */
static _Atomic int log_level = LOG_LEVEL_INFO;

/* Each thread's own, so that a machine's threads need not be told which machine they are of with every line. */
static _Thread_local struct log_sink *thread_sink;

struct log_sink *log_use_sink(struct log_sink *sink)
{
	struct log_sink *before = thread_sink;

	thread_sink = sink;
	return before;
}

struct log_sink *log_sink(void)
{
	return thread_sink;
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(thread_sink ? &thread_sink->level : &log_level, (int)level, memory_order_relaxed);
}

static bool log_wanted(enum log_level level)
{
	return (int)level <= atomic_load_explicit(thread_sink ? &thread_sink->level : &log_level, memory_order_relaxed);
}

/*
 * A reader of stderr that has stopped (a paused pager) must not stop a vCPU: the line is lost instead. An error is worth
 * a moment's wait.
 */
static bool log_can_write(enum log_level level)
{
	struct pollfd fd = { .fd = STDERR_FILENO, .events = POLLOUT };

	return poll(&fd, 1, level == LOG_LEVEL_ERROR ? LOG_ERROR_WAIT_MS : 0) > 0 && fd.revents & POLLOUT;
}

static __attribute__((format(printf, 3, 0))) void log_line(enum log_level level, const char *device, const char *fmt, va_list ap)
{
	char line[LOG_LINE_MAX];
	size_t n;

	snprintf(line, sizeof(line), "%s%s%s%s", thread_sink ? "" : "kite: ", thread_sink ? "" : level_word[level], device, *device ? ": " : "");
	n = strlen(line);
	vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	if (thread_sink) {
		thread_sink->line(thread_sink->opaque, level, line);
		return;
	}
	n = strlen(line);
	line[n++] = '\n';
	if (log_can_write(level))
		(void)!write(STDERR_FILENO, line, n);
}

#define DEFINE_LOG(name, level)                                                                                                \
	void name(const char *fmt, ...)                                                                                        \
	{                                                                                                                      \
		va_list ap;                                                                                                    \
                                                                                                                               \
		if (!log_wanted(level))                                                                                        \
			return;                                                                                                \
		va_start(ap, fmt);                                                                                             \
		log_line(level, "", fmt, ap);                                                                                  \
		va_end(ap);                                                                                                    \
	}

DEFINE_LOG(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG(log_warn, LOG_LEVEL_WARN)
DEFINE_LOG(log_info, LOG_LEVEL_INFO)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)

void log_exactly(const char *fmt, ...)
{
	char line[LOG_LINE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (thread_sink)
		log_info("%s", line);
	else
		(void)!write(STDERR_FILENO, line, strlen(strcat(line, "\n")));
}

/* Decides whether one more line may go out; `*missed` is how many were swallowed before it. */
static bool limit_pass(struct log_limit *l, unsigned *missed)
{
	struct timespec ts;
	bool pass;
	int64_t now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	now = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
	*missed = 0;
	pthread_mutex_lock(&l->lock);
	if (!l->window_start_ns || now - l->window_start_ns >= 1000000000) {
		l->window_start_ns = now;
		l->in_window = 0;
		*missed = l->dropped;
		l->dropped = 0;
	}
	pass = l->in_window < LOG_GUEST_BURST;
	if (pass)
		l->in_window++;
	else
		l->dropped++;
	pthread_mutex_unlock(&l->lock);
	return pass;
}

static __attribute__((format(printf, 2, 3))) void log_missed(const char *device, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(LOG_LEVEL_WARN, device, fmt, ap);
	va_end(ap);
}

void log_guest(struct log_limit *limit, const char *device, const char *fmt, ...)
{
	unsigned missed;
	va_list ap;

	if (!log_wanted(LOG_LEVEL_WARN) || !limit_pass(limit, &missed))
		return;
	if (missed)
		log_missed(device, "%u more messages like these were left out", missed);
	va_start(ap, fmt);
	log_line(LOG_LEVEL_WARN, device, fmt, ap);
	va_end(ap);
}
