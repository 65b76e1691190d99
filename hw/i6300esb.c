/* SPDX-License-Identifier: MIT */
/*
 * The watchdog of Intel's 6300ESB (document 300641-004, chapter 23).
 *
 * Theory of operation
 *
 * Two stages, each counted down from a preload value of 20 bits in ticks of about a millisecond or a microsecond: when the first ends, the
 * interrupt status says so; when the second ends, the machine is reset, or what the user wants instead. A write of RELOAD begins anew
 * with the first. In free-running mode there is no second stage: the first starts over and over, and does nothing but set the status.
 *
 * A write to a preload or the reload register counts only right after 0x80 and 0x86 have been written to the latter, so that a guest gone
 * wild does not keep its watchdog content. While LOCK is set, enable and mode stay as they are until the machine is reset.
 *
 * The chip's interrupt is pin 10 of an IOAPIC of its own, which does not exist here: its status can only be read.
 *
 * That it was the watchdog which reset the machine, is told by TIMEOUT after the reset, until the guest clears it.
 *
 * While the machine is stopped, its time stands still. Locks: registers are under the function's mutex when they are accessed, and all of the
 * state is under `lock`, which the timer takes too.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "hw/devices.h"
#include "hw/pci.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/util.h"

#define ESB_BAR_SIZE 16
#define ESB_TICK_FAST_NS 960   /* 2^5 clocks of 30 ns */
#define ESB_TICK_SLOW_NS 983040 /* 2^15 */
#define ESB_MIN_STAGE_NS 1000000
#define ESB_NEVER INT64_MAX

/* Configuration registers */
#define ESB_CONFIG 0x60 /* 2 bytes */
#define ESB_CONFIG_FAST 0x04
#define ESB_CONFIG_OUTPUT_OFF 0x20 /* the end of the second stage does nothing */
#define ESB_CONFIG_MASK 0x27
#define ESB_LOCK 0x68 /* 1 byte */
#define ESB_LOCK_LOCK 0x01
#define ESB_LOCK_ENABLE 0x02
#define ESB_LOCK_FREE_RUN 0x04
#define ESB_LOCK_MASK 0x07

/* In the BAR; all but the last as 32 bits */
#define ESB_PRELOAD1 0x00
#define ESB_PRELOAD2 0x04
#define ESB_STATUS 0x08
#define ESB_STATUS_STAGE1 0x01
#define ESB_RELOAD 0x0c /* 16 bits */
#define ESB_RELOAD_RELOAD 0x100
#define ESB_RELOAD_TIMEOUT 0x200
#define ESB_PRELOAD_MASK 0xfffffu
#define ESB_UNLOCK1 0x80
#define ESB_UNLOCK2 0x86

struct esb {
	struct device dev;
	struct pci_dev pci;
	pthread_mutex_t lock;
	struct {
		uint32_t preload[2];
		uint16_t config;
		uint8_t lock;
		uint8_t unlocking; /* 0x80 has come: 1; and 0x86: 2 */
		uint8_t stage;     /* 1, 2; 0: it does not run */
		bool stage1_over;  /* ESB_STATUS_STAGE1 */
		bool timed_out;    /* stays over a reset */
	} regs;
	int64_t deadline_ns; /* of the stage; ESB_NEVER. While `stopped`: what was left of it */
	bool stopped;

	struct eventloop *loop;
	struct machine_link link;
	struct event_timer timer;
};

/* ---- stages; all under the lock ---- */

static void esb_arm(struct esb *s)
{
	if (s->deadline_ns != ESB_NEVER && !s->stopped)
		eventloop_arm(s->loop, &s->timer, s->deadline_ns);
	else
		eventloop_cancel(s->loop, &s->timer);
}

static void esb_stop(struct esb *s)
{
	s->regs.stage = 0;
	s->deadline_ns = ESB_NEVER;
	esb_arm(s);
}

static void esb_enter(struct esb *s, unsigned stage)
{
	int64_t tick = s->regs.config & ESB_CONFIG_FAST ? ESB_TICK_FAST_NS : ESB_TICK_SLOW_NS;

	s->regs.stage = (uint8_t)stage;
	/* Not so often that it keeps the loop from anything else. */
	s->deadline_ns = now_ns() + (int64_t)max_u64((uint64_t)(s->regs.preload[stage - 1] * tick), ESB_MIN_STAGE_NS);
	esb_arm(s);
}

/* Returns whether the guest is to be dealt with. */
static bool esb_stage_over(struct esb *s)
{
	if (s->regs.stage == 1) {
		s->regs.stage1_over = true;
		esb_enter(s, s->regs.lock & ESB_LOCK_FREE_RUN ? 1 : 2);
		return false;
	}
	esb_stop(s);
	if (s->regs.config & ESB_CONFIG_OUTPUT_OFF)
		return false;
	s->regs.timed_out = true;
	return true;
}

static void esb_fire(void *opaque)
{
	struct esb *s = opaque;
	bool tell = false;

	pthread_mutex_lock(&s->lock);
	/* The guest may have been quicker than the timer. */
	if (!s->stopped && s->regs.stage && s->deadline_ns <= now_ns())
		tell = esb_stage_over(s);
	pthread_mutex_unlock(&s->lock);
	if (tell)
		machine_tell(&s->link, MACHINE_WATCHDOG);
}

/* ---- registers ---- */

static void esb_lock_write(struct esb *s, uint8_t v)
{
	uint8_t old = s->regs.lock;

	if (old & ESB_LOCK_LOCK)
		return;
	s->regs.lock = v & ESB_LOCK_MASK;
	if (!(v & ESB_LOCK_ENABLE))
		esb_stop(s);
	else if (!(old & ESB_LOCK_ENABLE))
		esb_enter(s, 1);
}

/* The bus has stored what the guest wrote; what it reads is what became of it. */
static void esb_config_written(struct pci_dev *pci, unsigned offset, unsigned len)
{
	struct esb *s = CONTAINER_OF(pci, struct esb, pci);

	pthread_mutex_lock(&s->lock);
	if (offset < ESB_CONFIG + 2 && offset + len > ESB_CONFIG)
		s->regs.config = load_le16(pci->config + ESB_CONFIG);
	if (offset <= ESB_LOCK && offset + len > ESB_LOCK)
		esb_lock_write(s, pci->config[ESB_LOCK]);
	pci->config[ESB_LOCK] = s->regs.lock;
	pthread_mutex_unlock(&s->lock);
}

static void esb_reload_write(struct esb *s, uint32_t v)
{
	bool open = s->regs.unlocking == 2;

	if (!open && v == ESB_UNLOCK1) {
		s->regs.unlocking = 1;
		return;
	}
	if (!open && v == ESB_UNLOCK2 && s->regs.unlocking == 1) {
		s->regs.unlocking = 2;
		return;
	}
	s->regs.unlocking = 0;
	if (!open)
		return;
	if (v & ESB_RELOAD_TIMEOUT)
		s->regs.timed_out = false;
	if (v & ESB_RELOAD_RELOAD && s->regs.lock & ESB_LOCK_ENABLE)
		esb_enter(s, 1);
}

static void esb_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct esb *s = dev;
	uint32_t v = (uint32_t)load_le(buf, len);

	pthread_mutex_lock(&s->lock);
	if (offset == ESB_RELOAD) {
		esb_reload_write(s, v);
	} else if (offset == ESB_STATUS) {
		if (v & ESB_STATUS_STAGE1)
			s->regs.stage1_over = false;
	} else if (offset == ESB_PRELOAD1 || offset == ESB_PRELOAD2) {
		if (s->regs.unlocking == 2)
			s->regs.preload[offset / 4] = v & ESB_PRELOAD_MASK;
		s->regs.unlocking = 0;
	}
	pthread_mutex_unlock(&s->lock);
}

/* Preload values and the unlocking sequence cannot be read. */
static void esb_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct esb *s = dev;
	uint8_t all[ESB_BAR_SIZE] = { 0 };

	pthread_mutex_lock(&s->lock);
	store_le32(all + ESB_STATUS, s->regs.stage1_over ? ESB_STATUS_STAGE1 : 0);
	store_le16(all + ESB_RELOAD, s->regs.timed_out ? ESB_RELOAD_TIMEOUT : 0);
	pthread_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < len; i++)
		buf[i] = offset + i < sizeof(all) ? all[offset + i] : 0;
}

static const struct bus_ops esb_bus_ops = { .read = esb_read, .write = esb_write, .width = 4 };
static const struct pci_dev_ops esb_pci_ops = { .config_written = esb_config_written };

/* ---- the device ---- */

static void esb_power_on(struct esb *s)
{
	bool timed_out = s->regs.timed_out;

	memset(&s->regs, 0, sizeof(s->regs));
	s->regs.preload[0] = s->regs.preload[1] = ESB_PRELOAD_MASK;
	s->regs.timed_out = timed_out;
	esb_stop(s);
}

static void esb_reset(struct device *dev)
{
	struct esb *s = CONTAINER_OF(dev, struct esb, dev);

	pci_dev_reset(&s->pci);
	pthread_mutex_lock(&s->lock);
	esb_power_on(s);
	pthread_mutex_unlock(&s->lock);
}

static void esb_quiesce(struct device *dev)
{
	struct esb *s = CONTAINER_OF(dev, struct esb, dev);

	pthread_mutex_lock(&s->lock);
	if (!s->stopped && s->deadline_ns != ESB_NEVER)
		s->deadline_ns -= now_ns();
	s->stopped = true;
	esb_arm(s);
	pthread_mutex_unlock(&s->lock);
}

static void esb_resume(struct device *dev)
{
	struct esb *s = CONTAINER_OF(dev, struct esb, dev);

	pthread_mutex_lock(&s->lock);
	if (s->stopped && s->deadline_ns != ESB_NEVER)
		s->deadline_ns += now_ns();
	s->stopped = false;
	esb_arm(s);
	pthread_mutex_unlock(&s->lock);
}

static void esb_destroy(struct device *dev)
{
	struct esb *s = CONTAINER_OF(dev, struct esb, dev);

	pci_dev_remove(&s->pci);
	eventloop_cancel(s->loop, &s->timer);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static const struct device_ops esb_ops = { .reset = esb_reset, .quiesce = esb_quiesce, .resume = esb_resume, .destroy = esb_destroy };

struct device *i6300esb_create(const struct device_env *env, struct pci_bus *bus, const struct i6300esb_config *cfg, struct err *err)
{
	static const struct pci_ids ids = {
		.vendor = 0x8086, .device = 0x25ab, .subsystem_vendor = 0x1af4, .subsystem = 0x1100, .class_code = 0x088000,
	};
	struct esb *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(err, -ENOMEM, "%s: not enough memory on the host", cfg->name);
		return NULL;
	}
	s->dev = (struct device){ .ops = &esb_ops, .name = cfg->name };
	s->loop = env->loop;
	s->link = env->link;
	s->timer = (struct event_timer){ .fire = esb_fire, .opaque = s };
	pthread_mutex_init(&s->lock, NULL);
	esb_power_on(s);
	pci_dev_init(&s->pci, cfg->name, &esb_pci_ops, &ids, false);
	s->pci.wmask[ESB_CONFIG] = ESB_CONFIG_MASK;
	s->pci.wmask[ESB_LOCK] = ESB_LOCK_MASK;
	pci_dev_set_bar(&s->pci, 0, PCI_BAR_MEM32, ESB_BAR_SIZE, &esb_bus_ops, s);
	if (pci_dev_add(bus, &s->pci, cfg->devfn, err) < 0) {
		esb_destroy(&s->dev);
		return NULL;
	}
	return &s->dev;
}
