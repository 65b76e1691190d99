/* SPDX-License-Identifier: MIT */
/*
 * The log: one line per message on stderr, written with one write(2), so lines of different threads never mix. Callable from any
 * thread; not from a signal handler. A line that stderr does not take at once is dropped, an error after a second's wait: nobody
 * who reads it may hold up a guest. The level is global to the process, set once before threads exist.
 *
 * What a guest can provoke at will must go through log_guest(), which is rate-limited per device.
 */
#ifndef VMM_LOG_H
#define VMM_LOG_H

#include <pthread.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_NONE = -1, /* tests */ LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Messages above `level` are dropped. The default is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* At most LOG_GUEST_BURST lines a second per limit; the first line after a silence says how many were dropped. */
#define LOG_GUEST_BURST 5

struct log_limit {
	pthread_mutex_t lock;
	int64_t window_start_ns; /* CLOCK_MONOTONIC_COARSE */
	unsigned in_window;
	unsigned dropped;
};

#define LOG_LIMIT_INIT { .lock = PTHREAD_MUTEX_INITIALIZER }

/* A fault of the guest's driver: "DEVICE: text", level WARN, rate-limited by `limit`. */
void log_guest(struct log_limit *limit, const char *device, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
