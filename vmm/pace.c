/* SPDX-License-Identifier: MIT */
#include "vmm/pace.h"

#include "vmm/util.h"

#define SHORT_RUN 8                 /* a run of fewer than this is short, */
#define QUICK_NS INT64_C(150000)    /* and two within this time of each other are in quick succession */
#define STREAK_MIN 8
#define STREAK_MAX 1024
#define ENOUGH 4                    /* found by a look: fewer, and it does not pay */
#define DELAY_MIN_NS UINT64_C(20000)

void pace_reset(struct pace *p)
{
	*p = (struct pace){ .goal = STREAK_MIN };
}

void pace_end(struct pace *p)
{
	p->on = false;
	p->streak = 0;
}

/* Whether the streak is long enough by now. */
static bool streak_goes_on(struct pace *p, unsigned n, int64_t now)
{
	int64_t gap = now - p->last;

	p->last = now;
	if (n >= SHORT_RUN || gap > QUICK_NS) {
		p->streak = 0;
		return false;
	}
	p->gap = p->streak ? p->gap - p->gap / 8 + gap / 8 : gap;
	return ++p->streak >= p->goal;
}

int64_t pace_next(struct pace *p, unsigned n)
{
	if (p->on && n < ENOUGH) {
		pace_end(p);
		p->goal = (unsigned)min_u64(2u * p->goal, STREAK_MAX);
		return 0;
	}
	if (p->on)
		p->goal = STREAK_MIN;
	else if (n == 0 || !streak_goes_on(p, n, now_ns())) /* a waking for nothing says nothing */
		return 0;
	p->on = true;
	return (int64_t)min_u64(max_u64((uint64_t)p->gap * 2 * ENOUGH, DELAY_MIN_NS), PACE_MAX_NS);
}
