/* SPDX-License-Identifier: MIT */
/*
 * When it pays to come back by oneself instead of being woken.
 *
 * Whoever is woken for every frame of a stream pays for a waking each time, and so does all that follows from it: an interrupt, another
 * process. Where those who are woken share a processor with those who send, they are done with a frame before the next one is there, and it
 * never becomes better. So after a streak of short runs in quick succession the wakings are turned off, and one looks after the time that a few
 * frames take. That delays frames by PACE_MAX_NS at most, and lasts only while
 *
 *   each look finds several of them: those who wait for an answer to each frame are not to be slowed down;
 *   as many come as before: nor are several such at a time, whom a processor of one's own would serve sooner.
 *
 * When it has not paid, it takes a streak twice as long to be tried again.
 *
 * Thread: the user's.
 */
#ifndef VMM_PACE_H
#define VMM_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_MAX_NS INT64_C(500000)

struct pace {
	bool on;               /* the next look is one's own; see pace_next */
	unsigned streak, goal; /* short runs in quick succession, and how many are enough */
	unsigned looks;        /* since `begun` */
	unsigned found;        /* in the streak, or by the looks */
	int64_t begun, last;   /* of the streak, or of these looks; when the last run of the streak ended */
	int64_t gap;           /* nanoseconds between two frames, before it was turned on */
};

/* From the beginning, with all that was learnt forgotten. */
void pace_reset(struct pace *p);
/* The wakings are on again; what was learnt stays. */
void pace_end(struct pace *p);
/*
 * A run that was woken for, or with `on` a look of one's own, is over and has found `n`. Returns after how many nanoseconds to look again, with the
 * wakings off; 0: turn them on, and wait.
 */
int64_t pace_next(struct pace *p, unsigned n);

#endif
