/* SPDX-License-Identifier: MIT */
#include "vmm/pace.h"

#include "vmm/util.h"

#define SHORT_RUN 8                 /* a run of fewer than this is short, */
#define QUICK_NS INT64_C(150000)    /* and two within this time of each other are in quick succession */
#define STREAK_MIN 8
#define STREAK_MAX 1024
#define ENOUGH 4                    /* found by a look: fewer, and it does not pay */
#define AIM (2 * ENOUGH)            /* to be found */
#define JUDGED_AFTER 8              /* looks */
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

/* A run that was woken for. Whether the streak is long enough by now. */
static bool streak_goes_on(struct pace *p, unsigned n, int64_t now)
{
	bool quick = now - p->last <= QUICK_NS;

	p->last = now;
	if (n >= SHORT_RUN) {
		p->streak = 0;
		return false;
	}
	if (!quick || p->streak == 0) {
		p->streak = 1;
		p->begun = now;
		p->found = 0;
		return false;
	}
	p->found += n;
	return ++p->streak >= p->goal;
}

/* A look. Whether it pays to go on. */
static bool look_pays(struct pace *p, unsigned n)
{
	int64_t now;

	p->found += n;
	if (n < ENOUGH)
		return false;
	if (++p->looks < JUDGED_AFTER)
		return true;
	now = now_ns();
	if (p->found * p->gap < (now - p->begun) / 8 * 7)
		return false;
	p->goal = STREAK_MIN;
	p->looks = p->found = 0;
	p->begun = now;
	return true;
}

int64_t pace_next(struct pace *p, unsigned n)
{
	if (p->on && !look_pays(p, n)) {
		pace_end(p);
		p->goal = (unsigned)min_u64(2u * p->goal, STREAK_MAX);
		return 0;
	}
	if (!p->on) {
		/* A waking for nothing says nothing. */
		if (n == 0 || !streak_goes_on(p, n, now_ns()))
			return 0;
		p->on = true;
		p->gap = (p->last - p->begun) / p->found;
		p->looks = p->found = 0;
		p->begun = p->last;
	}
	return (int64_t)min_u64(max_u64((uint64_t)p->gap * AIM, DELAY_MIN_NS), PACE_MAX_NS);
}
