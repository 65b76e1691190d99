/* SPDX-License-Identifier: MIT */
/*
 * The log: one line per message on stderr, written with one write(2), so lines of different threads never mix. Callable from any
 * thread; not from a signal handler. A line that stderr does not take at once is dropped, an error after a second's wait: nobody
 * who reads it may hold up a guest. The level is global to the process, set once before threads exist.
 *
 * A machine inside another program has a sink instead, with a level of its own: what the threads of that machine say goes there, and nothing
 * to stderr. A sink belongs to a thread, and to the threads that it starts (vmm/thread.h).
 *
 * What a guest can provoke at will must go through log_guest(), which is rate-limited per device.
 */
#ifndef VMM_LOG_H
#define VMM_LOG_H

#include <pthread.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_NONE = -1, /* tests */ LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log_sink {
	/* A whole line, without newline and without "kite: ". Any thread of the machine, several at a time; must not wait. */
	void (*line)(void *opaque, enum log_level level, const char *text);
	void *opaque;
	_Atomic int level; /* enum log_level: as log_set_level; written by log_set_level */
};

/* What the calling thread says goes to `sink` from now on, borrowed; NULL: to stderr. Returns what it went to before. */
struct log_sink *log_use_sink(struct log_sink *sink);
struct log_sink *log_sink(void);

/* Messages above `level` are dropped. The default is LOG_LEVEL_INFO. On a thread with a sink that of the sink is set. */
void log_set_level(enum log_level level);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A line that scripts look for: on stderr exactly as it is, whatever the level; for a sink it is an LOG_LEVEL_INFO like others. */
void log_exactly(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

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
