/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * Every limit is a leaking bucket (vmm/bucket.h), into which a request pours its bytes, or its operations.
 *
 * Reads and writes wait in queues of their own, as they may have different limits. The devices of a group that have something
 * waiting in a direction stand in a line, which is the group's. Only the first of the line may admit a request, one, and then goes to its
 * end; so they take turns. And only the first has its timer armed; whoever makes another the first arms that one's. Nobody wakes up
 * without something to admit.
 *
 * The two lines take turns as well, where a limit on the total holds up both: who finds that its direction went last, and that the other
 * line could go too, stands back, without a timer. That is no dead end: the other's first has one, due by now, and whoever admits a request or
 * leaves arms the first of both lines.
 *
 * Locks: the group's lock covers buckets and lines, and is above that of the event loops. Queues belong to the device's loop.
 */
#include "blk/throttle.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "blk/filter.h"
#include "vmm/err.h"
#include "vmm/util.h"

enum { DIR_READ, DIR_WRITE, DIRS };

struct throttle;

/* A device's place in the line of a direction. */
struct waiter {
	struct throttle *t;
	unsigned dir;
	struct event_timer timer;
	struct blk_req *first, *last; /* the queue; the loop's */
	/* Under the group's lock: */
	struct waiter *next;
	bool in_line;
};

struct throttle_group {
	atomic_bool limited; /* written under the lock; read by the devices' loops, where a request may still go by the limits of before */
	pthread_mutex_t lock;
	/* Under the lock: */
	unsigned refs;
	struct throttle_config cfg;
	struct bucket buckets[THROTTLE_KINDS];
	int64_t leaked_ns; /* until then they have leaked */
	struct waiter *line[DIRS];
	unsigned last_dir; /* of the request that was admitted last */
};

struct throttle {
	struct filter filter;
	struct throttle_group *group;
	struct waiter waiters[DIRS];
	bool draining;
};

static const char *const kind_names[] = {
	[THROTTLE_BPS_TOTAL] = "bps-total",	[THROTTLE_BPS_READ] = "bps-read",   [THROTTLE_BPS_WRITE] = "bps-write",
	[THROTTLE_IOPS_TOTAL] = "iops-total", [THROTTLE_IOPS_READ] = "iops-read", [THROTTLE_IOPS_WRITE] = "iops-write",
};

static const unsigned char kinds_of[DIRS][4] = {
	[DIR_READ] = { THROTTLE_BPS_TOTAL, THROTTLE_BPS_READ, THROTTLE_IOPS_TOTAL, THROTTLE_IOPS_READ },
	[DIR_WRITE] = { THROTTLE_BPS_TOTAL, THROTTLE_BPS_WRITE, THROTTLE_IOPS_TOTAL, THROTTLE_IOPS_WRITE },
};

/* Configuration */

int throttle_config_check(const struct throttle_config *cfg, struct err *err)
{
	const struct throttle_limit *l = cfg->limits;
	int rc = 0;

	for (unsigned i = 0; i < THROTTLE_KINDS && rc == 0; i++)
		rc = throttle_limit_check(&l[i], kind_names[i], err);
	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < THROTTLE_KINDS; i += THROTTLE_IOPS_TOTAL)
		if (l[i].avg && (l[i + 1].avg || l[i + 2].avg))
			return err_set(err, -EINVAL, "%s excludes %s and %s: give the one or the others", kind_names[i], kind_names[i + 1],
				       kind_names[i + 2]);
	if (cfg->iops_size && !l[THROTTLE_IOPS_TOTAL].avg && !l[THROTTLE_IOPS_READ].avg && !l[THROTTLE_IOPS_WRITE].avg)
		return err_set(err, -EINVAL, "iops-size needs iops-total, iops-read or iops-write");
	return 0;
}

bool throttle_config_is_set(const struct throttle_config *cfg)
{
	for (unsigned i = 0; i < THROTTLE_KINDS; i++)
		if (cfg->limits[i].avg)
			return true;
	return false;
}

/* Buckets; all under the lock */

static void group_leak(struct throttle_group *g, int64_t now)
{
	double s = now > g->leaked_ns ? (double)(now - g->leaked_ns) / NS_PER_SEC : 0;

	if (now > g->leaked_ns)
		g->leaked_ns = now;
	for (unsigned i = 0; i < THROTTLE_KINDS; i++)
		bucket_leak(&g->buckets[i], &g->cfg.limits[i], s);
}

/* Nanoseconds until a request may go in this direction. */
static int64_t group_wait(const struct throttle_group *g, unsigned dir)
{
	double wait = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(kinds_of[dir]); i++) {
		unsigned kind = kinds_of[dir][i];
		double w = bucket_wait(&g->buckets[kind], &g->cfg.limits[kind]);

		wait = w > wait ? w : wait;
	}
	return bucket_wait_ns(wait);
}

static void group_account(struct throttle_group *g, unsigned dir, uint64_t bytes)
{
	double ops = g->cfg.iops_size && bytes > g->cfg.iops_size ? (double)bytes / (double)g->cfg.iops_size : 1;

	for (unsigned i = 0; i < ARRAY_SIZE(kinds_of[dir]); i++) {
		struct bucket *b = &g->buckets[kinds_of[dir][i]];
		double units = kinds_of[dir][i] >= THROTTLE_IOPS_TOTAL ? ops : (double)bytes;

		bucket_add(b, units);
	}
}

/* Lines; under the lock */

static void line_arm_first(struct throttle_group *g, unsigned dir, int64_t now)
{
	struct waiter *w = g->line[dir];

	if (w)
		eventloop_arm(w->t->filter.bd.loop, &w->timer, now + group_wait(g, dir));
}

static void lines_arm(struct throttle_group *g, int64_t now)
{
	for (unsigned dir = 0; dir < DIRS; dir++)
		line_arm_first(g, dir, now);
}

/* Whether it is the other direction's turn. */
static bool line_stands_back(const struct throttle_group *g, unsigned dir)
{
	return g->last_dir == dir && g->line[!dir] && group_wait(g, !dir) == 0;
}

static void line_append(struct waiter *w)
{
	struct waiter **p = &w->t->group->line[w->dir];

	while (*p)
		p = &(*p)->next;
	*p = w;
	w->next = NULL;
	w->in_line = true;
}

static void line_remove(struct waiter *w)
{
	struct waiter **p = &w->t->group->line[w->dir];

	if (!w->in_line)
		return;
	while (*p != w)
		p = &(*p)->next;
	*p = w->next;
	w->in_line = false;
}

/* Groups */

struct throttle_group *throttle_group_create(const struct throttle_config *cfg, struct err *err)
{
	struct throttle_group *g;

	if (throttle_config_check(cfg, err) < 0)
		return NULL;
	g = calloc(1, sizeof(*g));
	if (!g) {
		err_set_errno(err, -ENOMEM, "cannot create a throttle group");
		return NULL;
	}
	pthread_mutex_init(&g->lock, NULL);
	g->refs = 1;
	g->cfg = *cfg;
	atomic_init(&g->limited, throttle_config_is_set(cfg));
	g->leaked_ns = now_ns();
	return g;
}

struct throttle_group *throttle_group_ref(struct throttle_group *g)
{
	pthread_mutex_lock(&g->lock);
	g->refs++;
	pthread_mutex_unlock(&g->lock);
	return g;
}

void throttle_group_unref(struct throttle_group *g)
{
	bool last;

	if (!g)
		return;
	pthread_mutex_lock(&g->lock);
	last = --g->refs == 0;
	pthread_mutex_unlock(&g->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&g->lock);
	free(g);
}

int throttle_group_set(struct throttle_group *g, const struct throttle_config *cfg, struct err *err)
{
	int rc = throttle_config_check(cfg, err);
	int64_t now = now_ns();

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&g->lock);
	group_leak(g, now);
	g->cfg = *cfg;
	atomic_store(&g->limited, throttle_config_is_set(cfg));
	/* A level from before must not hold up those who now have a far lower limit: all begin as new. */
	for (unsigned i = 0; i < THROTTLE_KINDS; i++)
		g->buckets[i] = (struct bucket){ 0 };
	lines_arm(g, now);
	pthread_mutex_unlock(&g->lock);
	return 0;
}

void throttle_group_get(struct throttle_group *g, struct throttle_config *cfg)
{
	pthread_mutex_lock(&g->lock);
	*cfg = g->cfg;
	pthread_mutex_unlock(&g->lock);
}

/* Devices */

static struct throttle *throttle_of(struct blockdev *bd)
{
	return CONTAINER_OF(bd, struct throttle, filter.bd);
}

static struct blk_req *queue_pop(struct waiter *w)
{
	struct blk_req *req = w->first;

	w->first = req->next;
	return req;
}

/*
 * Whether the request may go now, at its device's turn; else the line's first has its timer armed. `more`: the device has others
 * waiting behind it.
 */
static bool waiter_admit(struct waiter *w, uint64_t bytes, bool more)
{
	struct throttle_group *g = w->t->group;
	int64_t now = now_ns();
	bool go = false;
	int64_t wait;

	pthread_mutex_lock(&g->lock);
	group_leak(g, now);
	if (!w->in_line)
		line_append(w);
	/* Behind somebody else nothing has changed: that one's timer is armed. */
	if (g->line[w->dir] == w) {
		wait = group_wait(g, w->dir);
		if (wait)
			eventloop_arm(w->t->filter.bd.loop, &w->timer, now + wait);
		else
			go = !line_stands_back(g, w->dir);
	}
	if (go) {
		group_account(g, w->dir, bytes);
		g->last_dir = w->dir;
		line_remove(w);
		if (more)
			line_append(w);
		lines_arm(g, now);
	}
	pthread_mutex_unlock(&g->lock);
	return go;
}

static void waiter_fire(void *opaque)
{
	struct waiter *w = opaque;

	while (w->first && waiter_admit(w, w->first->len, w->first->next != NULL))
		filter_forward(&w->t->filter, queue_pop(w));
	/* Somebody may have armed it again for what has gone meanwhile. */
	if (!w->first)
		eventloop_cancel(w->t->filter.bd.loop, &w->timer);
}

static void throttle_submit(struct blockdev *bd, struct blk_req *req)
{
	struct throttle *t = throttle_of(bd);
	struct waiter *w = &t->waiters[req->op == BLK_READ ? DIR_READ : DIR_WRITE];

	if (req->op == BLK_FLUSH || req->op == BLK_STATUS || t->draining || (!w->first && !atomic_load(&t->group->limited)) ||
	    (!w->first && waiter_admit(w, req->len, false))) {
		filter_forward(&t->filter, req);
		return;
	}
	req->next = NULL;
	if (w->first)
		w->last->next = req;
	else
		w->first = req;
	w->last = req;
}

/* Out of the line, and its turn to the next one. */
static void waiter_leave(struct waiter *w)
{
	struct throttle_group *g = w->t->group;

	pthread_mutex_lock(&g->lock);
	if (w->in_line) {
		int64_t now = now_ns();

		group_leak(g, now);
		line_remove(w);
		lines_arm(g, now);
	}
	pthread_mutex_unlock(&g->lock);
	eventloop_cancel(w->t->filter.bd.loop, &w->timer);
}

static void throttle_drain(struct blockdev *bd)
{
	struct throttle *t = throttle_of(bd);

	t->draining = true;
	for (unsigned dir = 0; dir < DIRS; dir++) {
		struct waiter *w = &t->waiters[dir];

		waiter_leave(w);
		while (w->first) {
			struct blk_req *req = queue_pop(w);

			pthread_mutex_lock(&t->group->lock);
			group_account(t->group, dir, req->len);
			pthread_mutex_unlock(&t->group->lock);
			filter_forward(&t->filter, req);
		}
	}
	blockdev_drain(t->filter.below);
	t->draining = false;
}

static void throttle_close(struct blockdev *bd)
{
	struct throttle *t = throttle_of(bd);

	for (unsigned dir = 0; dir < DIRS; dir++)
		waiter_leave(&t->waiters[dir]);
	filter_fini(&t->filter);
	throttle_group_unref(t->group);
	free(t);
}

static const struct blockdev_ops throttle_ops = {
	.format = "throttle",
	.submit = throttle_submit,
	.drain = throttle_drain,
	.resize = filter_resize,
	.close = throttle_close,
};

struct blockdev *throttle_create(struct blockdev *below, struct throttle_group *group, struct err *err)
{
	struct throttle *t = calloc(1, sizeof(*t));

	if (!t) {
		err_set_errno(err, -ENOMEM, "%s", below->name);
		return NULL;
	}
	if (filter_init(&t->filter, &throttle_ops, below, err) < 0) {
		free(t);
		return NULL;
	}
	t->group = throttle_group_ref(group);
	for (unsigned dir = 0; dir < DIRS; dir++)
		t->waiters[dir] = (struct waiter){ .t = t, .dir = dir, .timer = { .fire = waiter_fire, .opaque = &t->waiters[dir] } };
	return &t->filter.bd;
}

struct blockdev *throttle_below(struct blockdev *bd)
{
	return bd->ops == &throttle_ops ? CONTAINER_OF(bd, struct filter, bd)->below : bd;
}
