/* SPDX-License-Identifier: MIT */
/* A chardev front end that records, and ways to run an event loop for a test: until something is true, or for a time. */
#ifndef TESTS_FAKE_FRONTEND_H
#define TESTS_FAKE_FRONTEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/chardev.h"
#include "vmm/eventloop.h"

#define FAKE_KEEP 65536

struct fake_frontend {
	size_t room; /* what can_receive says; receive takes from it */
	uint8_t in[FAKE_KEEP];
	size_t in_len; /* all that came, also beyond FAKE_KEEP */
	unsigned opened, closed, breaks, writables;
	void (*on_receive)(struct fake_frontend *fe, const uint8_t *buf, size_t len); /* NULL: record in `in` */
	void (*on_writable)(struct fake_frontend *fe);
	void *opaque;
};

extern const struct chardev_frontend fake_frontend_ops;

/* Fails the test after a minute. */
void fake_run_until(struct eventloop *loop, bool (*done)(void *arg), void *arg);
/* Returns the CPU time that it took, in ns. */
int64_t fake_run_for(struct eventloop *loop, int ms);
/* The loop sleeps: fails the test when it used a third of the processor in `ms`, and then again: a host may count as ours what it took from us. */
void fake_run_idle(struct eventloop *loop, int ms);
/* Until at least `len` bytes came in. */
void fake_run_input(struct eventloop *loop, struct fake_frontend *fe, size_t len);

struct eventloop *fake_loop(void);

/* What goes to stderr from here on is kept; fake_stderr_end gives it back, to be freed. */
void fake_stderr_begin(void);
char *fake_stderr_end(void);
unsigned fake_count(const char *text, const char *what);

/* A deterministic stream: its byte number `i`. */
static inline uint8_t fake_stream(size_t i)
{
	return (uint8_t)(i ^ (i >> 8) * 7 ^ (i >> 16) * 13);
}
void fake_stream_fill(uint8_t *buf, size_t at, size_t len);
bool fake_stream_ok(const uint8_t *buf, size_t at, size_t len);

#endif
