/* SPDX-License-Identifier: MIT */
/*
 * ACPI fixed hardware: ACPI 6.4, 4.8.2 to 4.8.4. One block of 16 ports:
 *
 *   0  PM1a_STS 2 bytes, write 1 to clear    2  PM1a_EN 2 bytes
 *   4  PM1a_CNT 2 bytes                      8  PM timer, 4 bytes, read-only
 *  12  GPE0_STS 2 bytes, write 1 to clear   14  GPE0_EN 2 bytes
 *
 * The machine is always in ACPI mode: SCI_EN reads 1, and there is no SMI command port to leave it. The PM timer is the 32-bit
 * one (FADT flag TMR_VAL_EXT), computed from the host's clock when it is read. Its carry event, TMR_STS, is also computed when
 * somebody looks; a host timer runs only while the guest has the event enabled and not pending: a wake-up in ten minutes.
 *
 * The SCI is level-triggered: high while any status bit is set together with its enable bit.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "hw/devices.h"
#include "vmm/bus.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define PM_TIMER_HZ 3579545
#define PM_TIMER_MSB 31

/* PM1 status and enable, tables 4.11 and 4.12: the same places. */
#define PM1_TMR BIT(0)
#define PM1_GBL BIT(5)
#define PM1_PWRBTN BIT(8)
#define PM1_SLPBTN BIT(9)
#define PM1_RTC BIT(10)
#define PM1_EN_MASK (PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC)

#define PM1_CNT_SCI_EN BIT(0)
#define PM1_CNT_BM_RLD BIT(1)
#define PM1_CNT_SLP_TYP_SHIFT 10
#define PM1_CNT_SLP_TYP (7 << PM1_CNT_SLP_TYP_SHIFT)
#define PM1_CNT_SLP_EN BIT(13) /* write-only */

#define PM1_STS_AT ACPI_PM1_EVT
#define PM1_EN_AT (ACPI_PM1_EVT + 2)
#define GPE0_STS_AT ACPI_GPE0
#define GPE0_EN_AT (ACPI_GPE0 + 2)

/* What the guest can see. */
struct acpi_pm_regs {
	uint16_t sts, en, cnt;
	uint16_t gpe_sts, gpe_en;
};

struct acpi_pm {
	struct device dev;
	pthread_mutex_t lock;
	struct acpi_pm_regs r;
	int64_t timer_start_ns; /* PM timer 0 */
	int64_t carries;        /* changes of the timer's highest bit that are in `sts` or were cleared from it */
	struct irq_line sci;
	struct event_timer carry;
	bool paused;
	struct log_limit log;

	struct machine_link link;
	struct bus_region region;
	struct bus *pio;
	struct eventloop *loop;
};

/* In two steps, so that it does not overflow in 292 years. */
static int64_t timer_ticks(const struct acpi_pm *s)
{
	int64_t ns = now_ns() - s->timer_start_ns;

	return ns / NS_PER_SEC * PM_TIMER_HZ + ns % NS_PER_SEC * PM_TIMER_HZ / NS_PER_SEC;
}

/* When the timer's highest bit changes for the nth time. Rounded up: the bit has changed then. */
static int64_t carry_ns(const struct acpi_pm *s, int64_t n)
{
	int64_t ticks = n << PM_TIMER_MSB;

	return s->timer_start_ns + ticks / PM_TIMER_HZ * NS_PER_SEC +
	       (ticks % PM_TIMER_HZ * NS_PER_SEC + PM_TIMER_HZ - 1) / PM_TIMER_HZ;
}

/* Brings TMR_STS up to date, then the SCI and the host timer. */
static void pm_update(struct acpi_pm *s)
{
	int64_t carries = timer_ticks(s) >> PM_TIMER_MSB;

	if (carries != s->carries)
		s->r.sts |= PM1_TMR;
	s->carries = carries;
	irq_set(&s->sci, (s->r.sts & s->r.en) || (s->r.gpe_sts & s->r.gpe_en));
	if ((s->r.en & PM1_TMR) && !(s->r.sts & PM1_TMR) && !s->paused)
		eventloop_arm(s->loop, &s->carry, carry_ns(s, carries + 1));
	else
		eventloop_cancel(s->loop, &s->carry);
}

static void pm_carry(void *opaque)
{
	struct acpi_pm *s = opaque;

	pthread_mutex_lock(&s->lock);
	pm_update(s);
	pthread_mutex_unlock(&s->lock);
}

static void pm_sleep(struct acpi_pm *s)
{
	unsigned type = (s->r.cnt & PM1_CNT_SLP_TYP) >> PM1_CNT_SLP_TYP_SHIFT;

	if (type == ACPI_PM_S5_SLP_TYP)
		machine_request(&s->link, VM_REQUEST_POWEROFF, 0);
	else
		log_guest(&s->log, s->dev.name, "sleep type %u does not exist; only soft-off (%d) does", type, ACPI_PM_S5_SLP_TYP);
}

/* All registers as they read, in the order of the ports. */
static void pm_image(struct acpi_pm *s, uint8_t image[ACPI_PM_PORTS])
{
	memset(image, 0, ACPI_PM_PORTS);
	store_le16(image + PM1_STS_AT, s->r.sts);
	store_le16(image + PM1_EN_AT, s->r.en);
	store_le16(image + ACPI_PM1_CNT, s->r.cnt | PM1_CNT_SCI_EN);
	store_le32(image + ACPI_PM_TMR, (uint32_t)timer_ticks(s));
	store_le16(image + GPE0_STS_AT, s->r.gpe_sts);
	store_le16(image + GPE0_EN_AT, s->r.gpe_en);
}

static void pm_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct acpi_pm *s = dev;
	uint8_t image[ACPI_PM_PORTS];

	pthread_mutex_lock(&s->lock);
	if (offset < PM1_EN_AT)
		pm_update(s);
	pm_image(s, image);
	pthread_mutex_unlock(&s->lock);
	memcpy(buf, image + offset, len);
}

/* The low (shift 0) or high (8) byte of a register. */
static uint16_t with_byte(uint16_t reg, unsigned shift, uint8_t v)
{
	return (reg & ~(0xff << shift)) | v << shift;
}

/* Returns whether SLP_EN was written. */
static bool pm_write_byte(struct acpi_pm *s, unsigned offset, uint8_t v)
{
	unsigned shift = 8 * (offset & 1);

	switch (offset & ~1u) {
	case PM1_STS_AT:
		s->r.sts &= ~(v << shift);
		break;
	case PM1_EN_AT:
		s->r.en = with_byte(s->r.en, shift, v) & PM1_EN_MASK;
		break;
	case ACPI_PM1_CNT:
		s->r.cnt = with_byte(s->r.cnt, shift, v) & (PM1_CNT_BM_RLD | PM1_CNT_SLP_TYP);
		return v << shift & PM1_CNT_SLP_EN;
	case GPE0_STS_AT:
		s->r.gpe_sts &= ~(v << shift);
		break;
	case GPE0_EN_AT:
		s->r.gpe_en = with_byte(s->r.gpe_en, shift, v);
		break;
	default: /* reserved, and the timer */
		break;
	}
	return false;
}

static void pm_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct acpi_pm *s = dev;
	bool sleep = false;

	pthread_mutex_lock(&s->lock);
	pm_update(s); /* a carry before this write is one that it may clear */
	for (unsigned i = 0; i < len; i++)
		sleep |= pm_write_byte(s, offset + i, buf[i]);
	pm_update(s);
	if (sleep)
		pm_sleep(s);
	pthread_mutex_unlock(&s->lock);
}

static const struct bus_ops pm_bus_ops = {
	.read = pm_read,
	.write = pm_write,
	.width = 4,
};

void acpi_pm_power_button(struct device *dev)
{
	struct acpi_pm *s = CONTAINER_OF(dev, struct acpi_pm, dev);

	pthread_mutex_lock(&s->lock);
	s->r.sts |= PM1_PWRBTN;
	pm_update(s);
	pthread_mutex_unlock(&s->lock);
}

static void pm_reset(struct device *dev)
{
	struct acpi_pm *s = CONTAINER_OF(dev, struct acpi_pm, dev);

	pthread_mutex_lock(&s->lock);
	s->r = (struct acpi_pm_regs){ 0 };
	s->timer_start_ns = now_ns();
	s->carries = 0;
	pm_update(s);
	pthread_mutex_unlock(&s->lock);
}

static void pm_quiesce(struct device *dev)
{
	struct acpi_pm *s = CONTAINER_OF(dev, struct acpi_pm, dev);

	pthread_mutex_lock(&s->lock);
	s->paused = true;
	pm_update(s);
	pthread_mutex_unlock(&s->lock);
}

static void pm_resume(struct device *dev)
{
	struct acpi_pm *s = CONTAINER_OF(dev, struct acpi_pm, dev);

	pthread_mutex_lock(&s->lock);
	s->paused = false;
	pm_update(s);
	pthread_mutex_unlock(&s->lock);
}

static void pm_destroy(struct device *dev)
{
	struct acpi_pm *s = CONTAINER_OF(dev, struct acpi_pm, dev);

	bus_remove(s->pio, &s->region);
	eventloop_cancel(s->loop, &s->carry);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static const struct device_ops pm_ops = {
	.reset = pm_reset,
	.quiesce = pm_quiesce,
	.resume = pm_resume,
	.destroy = pm_destroy,
};

struct device *acpi_pm_create(const struct device_env *env, const struct acpi_pm_config *cfg, struct err *err)
{
	struct acpi_pm *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(err, -ENOMEM, "acpi pm: not enough memory on the host");
		return NULL;
	}
	s->dev.ops = &pm_ops;
	s->dev.name = "acpi pm";
	s->sci = cfg->sci;
	s->link = env->link;
	s->loop = env->loop;
	s->pio = env->pio;
	s->log = (struct log_limit)LOG_LIMIT_INIT;
	s->carry.fire = pm_carry;
	s->carry.opaque = s;
	s->timer_start_ns = now_ns();
	s->region = (struct bus_region){
		.name = "acpi pm", .base = cfg->iobase, .size = ACPI_PM_PORTS, .ops = &pm_bus_ops, .dev = s,
	};
	pthread_mutex_init(&s->lock, NULL);
	if (bus_add(s->pio, &s->region, err) < 0) {
		pthread_mutex_destroy(&s->lock);
		free(s);
		return NULL;
	}
	return &s->dev;
}
