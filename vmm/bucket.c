/* SPDX-License-Identifier: MIT */
#include "vmm/bucket.h"

#include <errno.h>

#include "vmm/err.h"
#include "vmm/util.h"

#define YEAR_SECONDS 3.2e7

int throttle_limit_check(const struct throttle_limit *l, const char *name, struct err *err)
{
	if (l->avg > THROTTLE_VALUE_MAX || l->max > THROTTLE_VALUE_MAX)
		return err_set(err, -EINVAL, "%s and %s-max can be at most %llu", name, name, (unsigned long long)THROTTLE_VALUE_MAX);
	if (l->max && !l->avg)
		return err_set(err, -EINVAL, "%s-max needs %s", name, name);
	if (l->max && l->max < l->avg)
		return err_set(err, -EINVAL, "%s-max cannot be less than %s", name, name);
	if (l->max_length > 1 && !l->max)
		return err_set(err, -EINVAL, "%s-max-length needs %s-max", name, name);
	if (l->max_length > THROTTLE_LENGTH_MAX)
		return err_set(err, -EINVAL, "%s-max-length can be at most %d seconds", name, THROTTLE_LENGTH_MAX);
	return 0;
}

static uint32_t burst_length(const struct throttle_limit *l)
{
	return l->max_length ? l->max_length : 1;
}

static double leak(double level, double amount)
{
	return level > amount ? level - amount : 0;
}

void bucket_leak(struct bucket *b, const struct throttle_limit *l, double seconds)
{
	b->level = leak(b->level, seconds * (double)l->avg);
	b->burst_level = leak(b->burst_level, seconds * (double)l->max);
}

double bucket_wait(const struct bucket *b, const struct throttle_limit *l)
{
	double avg = (double)l->avg, max = (double)l->max, wait = 0, extra;

	if (!l->avg)
		return 0;
	extra = b->level - (l->max ? max * burst_length(l) : avg / 10);
	if (extra > 0)
		wait = extra / avg;
	if (l->max && burst_length(l) > 1) {
		extra = b->burst_level - max / 10;
		if (extra > 0 && extra / max > wait)
			wait = extra / max;
	}
	return wait;
}

void bucket_add(struct bucket *b, double units)
{
	b->level += units;
	b->burst_level += units;
}

int64_t bucket_wait_ns(double seconds)
{
	return seconds > 0 ? (int64_t)((seconds < YEAR_SECONDS ? seconds : YEAR_SECONDS) * NS_PER_SEC) + 1 : 0;
}
