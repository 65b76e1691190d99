/* SPDX-License-Identifier: MIT */
/*
 * When it pays to come back by oneself instead of being woken.
 *
 * Whoever is woken for every frame of a stream pays for a waking each time, and so does all that follows from it: an interrupt, another
 * process. Where those who are woken share a processor with those who send, they are done with a frame before the next one is there, and it
 * never becomes better. So after a streak of short runs in quick succession the wakings are turned off, and one looks after the time that a few
 * frames take. That delays frames by PACE_MAX_NS at most, and only as long as each look finds several of them: those who wait for an answer to
 * each frame are not to be slowed down. Finding too few ends it, and makes the streak twice as long that leads there again.
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
	int64_t last, gap;     /* when the last one ended; nanoseconds between them, of late */
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
