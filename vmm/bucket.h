/* SPDX-License-Identifier: MIT */
/*
 * A leaky bucket: how rates are limited here, those of disks and of networks. What goes through is poured into a bucket that leaks at the rate of the
 * limit; while the bucket is over its mark, nothing may go. So the rate holds in the long run for pieces of any size, and the mark is what a
 * burst may be ahead: `max` for `max_length` seconds, or a tenth of a second's worth. During a long burst a second level, which leaks
 * at the rate `max`, keeps to that rate.
 *
 * Thread: one at a time.
 */
#ifndef VMM_BUCKET_H
#define VMM_BUCKET_H

#include <stdint.h>

struct err;

#define THROTTLE_VALUE_MAX UINT64_C(1000000000000000)
#define THROTTLE_LENGTH_MAX 86400

struct throttle_limit {
	uint64_t avg;        /* units (bytes, operations, frames) a second; 0: no limit */
	uint64_t max;        /* during a burst; 0: no bursts beyond a tenth of a second's worth */
	uint32_t max_length; /* seconds that a burst may last, at least 1; 0 counts as 1 */
};

struct bucket {
	double level;       /* leaks at the rate `avg` */
	double burst_level; /* at the rate `max` */
};

/* -EINVAL with `err`, in which the options are called NAME, NAME-max and NAME-max-length. */
int throttle_limit_check(const struct throttle_limit *limit, const char *name, struct err *err);

/* `seconds` have passed. */
void bucket_leak(struct bucket *b, const struct throttle_limit *limit, double seconds);
/* Seconds until something may go; 0: now. */
double bucket_wait(const struct bucket *b, const struct throttle_limit *limit);
void bucket_add(struct bucket *b, double units);
/* What bucket_wait says in nanoseconds, rounded up so that the wait is not over a hair too early, and at most a year. */
int64_t bucket_wait_ns(double seconds);

#endif
