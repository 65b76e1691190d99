/* SPDX-License-Identifier: MIT */
/*
 * The watchdog of IB700 single-board computers. A write of n to port 0x443 starts it anew for 30 - 2 (n mod 16) seconds, of anything to 0x441
 * stops it; neither reads back. While the machine is stopped, its time stands still.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "hw/devices.h"
#include "vmm/bus.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/util.h"

#define IB700_STOP_PORT 0x441
#define IB700_START_PORT 0x443
#define IB700_NEVER INT64_MAX

struct ib700 {
	struct device dev;
	pthread_mutex_t lock;
	int64_t deadline_ns; /* IB700_NEVER: it does not run. While `stopped`: what was left of it */
	bool stopped;

	struct eventloop *loop;
	struct machine_link link;
	struct event_timer timer;
	struct bus *pio;
	struct bus_region start, stop;
};

/* Under the lock. */
static void ib700_arm(struct ib700 *s)
{
	if (s->deadline_ns != IB700_NEVER && !s->stopped)
		eventloop_arm(s->loop, &s->timer, s->deadline_ns);
	else
		eventloop_cancel(s->loop, &s->timer);
}

static void ib700_fire(void *opaque)
{
	struct ib700 *s = opaque;
	bool due;

	pthread_mutex_lock(&s->lock);
	/* The guest may have been quicker than the timer. */
	due = !s->stopped && s->deadline_ns <= now_ns();
	if (due)
		s->deadline_ns = IB700_NEVER;
	pthread_mutex_unlock(&s->lock);
	if (due)
		machine_tell(&s->link, MACHINE_WATCHDOG);
}

static void ib700_set(struct ib700 *s, int64_t deadline_ns)
{
	pthread_mutex_lock(&s->lock);
	s->deadline_ns = deadline_ns;
	ib700_arm(s);
	pthread_mutex_unlock(&s->lock);
}

static void ib700_start_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	(void)offset, (void)len;
	ib700_set(dev, now_ns() + (30 - 2 * (*buf & 15)) * NS_PER_SEC);
}

static void ib700_stop_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	(void)offset, (void)buf, (void)len;
	ib700_set(dev, IB700_NEVER);
}

static const struct bus_ops ib700_start_ops = { .write = ib700_start_write, .width = 1 };
static const struct bus_ops ib700_stop_ops = { .write = ib700_stop_write, .width = 1 };

static void ib700_reset(struct device *dev)
{
	ib700_set(CONTAINER_OF(dev, struct ib700, dev), IB700_NEVER);
}

static void ib700_quiesce(struct device *dev)
{
	struct ib700 *s = CONTAINER_OF(dev, struct ib700, dev);

	pthread_mutex_lock(&s->lock);
	if (!s->stopped && s->deadline_ns != IB700_NEVER)
		s->deadline_ns -= now_ns();
	s->stopped = true;
	ib700_arm(s);
	pthread_mutex_unlock(&s->lock);
}

static void ib700_resume(struct device *dev)
{
	struct ib700 *s = CONTAINER_OF(dev, struct ib700, dev);

	pthread_mutex_lock(&s->lock);
	if (s->stopped && s->deadline_ns != IB700_NEVER)
		s->deadline_ns += now_ns();
	s->stopped = false;
	ib700_arm(s);
	pthread_mutex_unlock(&s->lock);
}

static void ib700_destroy(struct device *dev)
{
	struct ib700 *s = CONTAINER_OF(dev, struct ib700, dev);

	bus_remove(s->pio, &s->start);
	bus_remove(s->pio, &s->stop);
	eventloop_cancel(s->loop, &s->timer);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static const struct device_ops ib700_ops = {
	.reset = ib700_reset, .quiesce = ib700_quiesce, .resume = ib700_resume, .destroy = ib700_destroy,
};

struct device *ib700_create(const struct device_env *env, const struct ib700_config *cfg, struct err *err)
{
	struct ib700 *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(err, -ENOMEM, "%s: not enough memory on the host", cfg->name);
		return NULL;
	}
	s->dev = (struct device){ .ops = &ib700_ops, .name = cfg->name };
	s->deadline_ns = IB700_NEVER;
	s->loop = env->loop;
	s->link = env->link;
	s->pio = env->pio;
	s->timer = (struct event_timer){ .fire = ib700_fire, .opaque = s };
	s->start = (struct bus_region){ .name = cfg->name, .base = IB700_START_PORT, .size = 1, .ops = &ib700_start_ops, .dev = s };
	s->stop = (struct bus_region){ .name = cfg->name, .base = IB700_STOP_PORT, .size = 1, .ops = &ib700_stop_ops, .dev = s };
	pthread_mutex_init(&s->lock, NULL);
	if (bus_add(s->pio, &s->start, err) < 0 || bus_add(s->pio, &s->stop, err) < 0) {
		ib700_destroy(&s->dev);
		return NULL;
	}
	return &s->dev;
}
