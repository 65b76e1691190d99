/* SPDX-License-Identifier: MIT */
/*
 * The memory balloon: virtio 1.2, section 5.5.
 *
 * Theory of operation
 *
 * A page that the driver gives, by putting it into the balloon (a list of page numbers) or by reporting it as free (its address and length), is
 * dropped from the host with MADV_DONTNEED: it reads as zeroes, and takes memory again when it is next touched. The mapping itself stays.
 * So nothing else has to know: KVM hears of it from the kernel's MMU notifiers, vhost's memory table has the same host addresses as before,
 * and a request of io_uring that is at work on such a page holds on to the page that it began with, as a disk's may whose driver gave its
 * buffer away. Taking pages out of the balloon needs nothing of the device.
 *
 * Neighbours are dropped together: page numbers are sorted as they come, BALLOON_BATCH at a time, since each call makes the kernel
 * flush TLBs on every processor that runs a vCPU. What is not memory is passed over.
 *
 * A chain can name as many pages as fit in all of memory. One is at work at a time in each queue, and stays with the device until it is done
 * with; after BALLOON_TURN_PAGES or BALLOON_TURN_BYTES the loop sees to others.
 *
 * Queues: 0 inflates, 1 deflates; behind them are statistics and reports, without a gap for those that were not negotiated: that is how drivers
 * count them, although 5.5.2 gives reports the number 4. There they are taken, too.
 *
 * Statistics are the driver's to give: it leaves a buffer with the device, and fills it again each time it gets it back.
 *
 * Locks: `lock` guards what vCPU threads (configuration) and the main thread (monitor) see; all else is the loop's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "hw/devices.h"
#include "hw/virtio.h"
#include "hw/virtio_balloon_regs.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/iov.h"
#include "vmm/util.h"

#define BALLOON_QUEUE 128
#define BALLOON_QUEUES 5
#define BALLOON_BATCH 256
#define BALLOON_TURN_PAGES 2048            /* as many calls at worst */
#define BALLOON_TURN_BYTES (64 * MIB)      /* of reports */
#define BALLOON_CHAIN_COST 8               /* pages that any chain counts for */
#define BALLOON_MAX_STATS 64               /* looked at in one answer */
#define BALLOON_PAGE (UINT64_C(1) << VIRTIO_BALLOON_PFN_SHIFT)

enum balloon_role { BALLOON_NONE, BALLOON_INFLATE, BALLOON_DEFLATE, BALLOON_STATS, BALLOON_REPORT };

struct balloon_queue {
	enum balloon_role role;
	bool held; /* `chain` is in flight */
	struct virtq_chain chain;
	struct iovec iov[BALLOON_QUEUE];
	struct iov_cursor at; /* INFLATE, REPORT: what is left of it */
};

struct virtio_balloon {
	struct virtio_dev dev;
	uint64_t features;
	uint64_t host_page; /* bytes */
	bool active;
	bool failed; /* reported already */
	struct balloon_queue queue[BALLOON_QUEUES];
	uint64_t again;         /* a bit for each queue that has more to do */
	struct event_work work; /* for them */
	struct event_timer poll;

	pthread_mutex_t lock;
	struct {
		uint32_t num_pages, actual, poison_val;
	} regs;
	struct virtio_balloon_stats stats;
	uint32_t poll_seconds;
	void (*changed)(void *opaque);
	void *opaque;
};

static struct virtio_balloon *balloon_of(struct virtio_dev *dev)
{
	return CONTAINER_OF(dev, struct virtio_balloon, dev);
}

/* ---- giving memory back ---- */

/* Whole pages of the host in [hva, hva + len). */
static void drop(struct virtio_balloon *b, uint8_t *hva, uint64_t len)
{
	uint64_t start = align_up((uintptr_t)hva, b->host_page), end = align_down((uintptr_t)hva + len, b->host_page);

	if (start >= end || madvise(hva + (start - (uintptr_t)hva), end - start, MADV_DONTNEED) == 0 || b->failed)
		return;
	log_warn("%s: the host cannot take memory back: %s", b->dev.name, strerrordesc_np(errno));
	b->failed = true;
}

static int compare_pages(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

static void drop_pages(struct virtio_balloon *b, uint32_t *pages, size_t n)
{
	uint8_t *run = NULL;
	uint64_t run_len = 0;

	qsort(pages, n, sizeof(*pages), compare_pages);
	for (size_t i = 0; i < n; i++) {
		uint8_t *hva = gm_map(b->dev.mem, (uint64_t)pages[i] << VIRTIO_BALLOON_PFN_SHIFT, BALLOON_PAGE);

		if (!hva) {
			log_guest(&b->dev.log, b->dev.name, "page %#x is not memory", pages[i]);
			continue;
		}
		if (i > 0 && pages[i] == pages[i - 1])
			continue;
		/* Regions of memory are never neighbours in the host's address space: what is contiguous there is one region. */
		if (run && hva == run + run_len) {
			run_len += BALLOON_PAGE;
			continue;
		}
		if (run)
			drop(b, run, run_len);
		run = hva;
		run_len = BALLOON_PAGE;
	}
	if (run)
		drop(b, run, run_len);
}

/* ---- chains: each does a piece of the work, takes what it cost from `budget`, and says whether that was all ---- */

static bool inflate_step(struct virtio_balloon *b, struct balloon_queue *q, uint64_t *budget)
{
	uint32_t pages[BALLOON_BATCH];
	size_t n = iov_cursor_read(&q->at, pages, sizeof(pages)) / sizeof(pages[0]);

	for (size_t i = 0; i < n; i++)
		pages[i] = load_le32(&pages[i]);
	drop_pages(b, pages, n);
	*budget -= min_u64(*budget, n);
	return q->at.left < sizeof(pages[0]);
}

static bool report_step(struct virtio_balloon *b, struct balloon_queue *q, uint64_t *budget)
{
	const uint64_t page_cost = BALLOON_TURN_BYTES / BALLOON_TURN_PAGES;
	struct iovec piece;
	uint64_t len;
	bool keep;

	if (!q->at.left)
		return true;
	pthread_mutex_lock(&b->lock);
	/* The driver looks for its own pattern in pages that it takes into use again. */
	keep = virtio_has(&b->dev, VIRTIO_BALLOON_F_PAGE_POISON) && b->regs.poison_val;
	pthread_mutex_unlock(&b->lock);
	if (keep)
		return true;
	len = min_u64(q->at.iov->iov_len - q->at.off, BALLOON_TURN_BYTES);
	if (iov_cursor_take(&q->at, len, &piece, 1) == 1)
		drop(b, piece.iov_base, piece.iov_len);
	*budget -= min_u64(*budget, 1 + len / page_cost);
	return q->at.left == 0;
}

static void stats_take(struct virtio_balloon *b, struct balloon_queue *q)
{
	struct virtio_balloon_stat_wire wire;
	struct virtio_balloon_stats stats = { .last_update = time(NULL) };

	for (size_t i = 0; i < VIRTIO_BALLOON_STATS; i++)
		stats.value[i] = VIRTIO_BALLOON_UNKNOWN;
	iov_cursor_init(&q->at, q->iov, q->chain.n_out);
	for (unsigned i = 0; i < BALLOON_MAX_STATS && iov_cursor_read(&q->at, &wire, sizeof(wire)) == sizeof(wire); i++) {
		uint16_t tag = load_le16(wire.tag);

		if (tag < VIRTIO_BALLOON_STATS)
			stats.value[tag] = load_le64(wire.val);
	}
	pthread_mutex_lock(&b->lock);
	b->stats = stats;
	pthread_mutex_unlock(&b->lock);
}

/* ---- queues ---- */

static void queue_push(struct virtio_balloon *b, unsigned n)
{
	b->queue[n].held = false;
	virtq_push(&b->dev.queues[n].vq, b->queue[n].chain.head, 0);
}

/* Has the next chain of queue `n`, or still the last. */
static bool queue_next(struct virtio_balloon *b, unsigned n)
{
	struct virtq *vq = &b->dev.queues[n].vq;
	struct balloon_queue *q = &b->queue[n];
	int r;

	if (q->held)
		return true;
	if (!b->active || vq->cfg.size == 0 || vq->broken)
		return false;
	r = virtq_pop(vq, &q->chain, q->iov, BALLOON_QUEUE);
	if (r == 0 && virtq_doorbell_on(vq))
		r = virtq_pop(vq, &q->chain, q->iov, BALLOON_QUEUE);
	if (r == -E2BIG)
		virtq_break(vq, "a chain of more buffers than the queue has descriptors");
	if (r < 0)
		virtio_queue_broken(&b->dev, n);
	q->held = r > 0;
	if (!q->held)
		return false;
	virtq_doorbell_off(vq);
	if (q->role == BALLOON_REPORT)
		iov_cursor_init(&q->at, q->iov + q->chain.n_out, q->chain.n_in);
	else
		iov_cursor_init(&q->at, q->iov, q->chain.n_out);
	return true;
}

static bool queue_step(struct virtio_balloon *b, struct balloon_queue *q, uint64_t *budget)
{
	switch (q->role) {
	case BALLOON_INFLATE:
		return inflate_step(b, q, budget);
	case BALLOON_REPORT:
		return report_step(b, q, budget);
	case BALLOON_NONE:
	case BALLOON_DEFLATE: /* the pages come by themselves when they are touched */
	case BALLOON_STATS:
		break;
	}
	return true;
}

static void queue_serve(struct virtio_balloon *b, unsigned n)
{
	uint64_t budget = BALLOON_TURN_PAGES;
	bool pushed = false;

	while (budget > 0 && queue_next(b, n)) {
		if (!queue_step(b, &b->queue[n], &budget))
			continue;
		queue_push(b, n);
		pushed = true;
		budget -= min_u64(budget, BALLOON_CHAIN_COST);
	}
	if (pushed)
		virtio_notify(&b->dev, n);
	if (budget > 0)
		return;
	b->again |= BIT64(n);
	eventloop_post(b->dev.loop, &b->work);
}

/* The driver has filled the buffer. It stays here until the next are wanted; a driver that gives more than one gets the others back. */
static void stats_serve(struct virtio_balloon *b, unsigned n)
{
	struct virtq *vq = &b->dev.queues[n].vq;
	bool pushed = false;

	for (unsigned i = 0; i < BALLOON_QUEUE && (!b->queue[n].held || virtq_has_more(vq)); i++) {
		if (b->queue[n].held) {
			queue_push(b, n);
			pushed = true;
		}
		if (!queue_next(b, n))
			break;
		stats_take(b, &b->queue[n]);
	}
	if (b->queue[n].held)
		(void)virtq_doorbell_on(vq); /* what comes now finds the bell on, or is seen with the next answer */
	if (pushed)
		virtio_notify(&b->dev, n);
}

static void balloon_kick(struct virtio_dev *dev, unsigned n)
{
	struct virtio_balloon *b = balloon_of(dev);

	if (!b->active || n >= BALLOON_QUEUES)
		return;
	if (b->queue[n].role == BALLOON_STATS)
		stats_serve(b, n);
	else
		queue_serve(b, n);
}

static void balloon_work(void *opaque)
{
	struct virtio_balloon *b = opaque;
	uint64_t queues = b->again;

	b->again = 0;
	for (unsigned n = 0; n < BALLOON_QUEUES; n++)
		if (queues & BIT64(n))
			balloon_kick(&b->dev, n);
}

/* Asks for statistics, and for the next in due time. Under the lock. */
static void poll_arm(struct virtio_balloon *b)
{
	if (b->poll_seconds)
		eventloop_arm(b->dev.loop, &b->poll, now_ns() + b->poll_seconds * NS_PER_SEC);
	else
		eventloop_cancel(b->dev.loop, &b->poll);
}

static void poll_fire(void *opaque)
{
	struct virtio_balloon *b = opaque;

	for (unsigned n = 0; b->active && n < BALLOON_QUEUES; n++) {
		if (b->queue[n].role != BALLOON_STATS || !b->queue[n].held)
			continue;
		queue_push(b, n);
		virtio_notify(&b->dev, n);
		/* The driver may be quicker than the doorbell. */
		stats_serve(b, n);
	}
	pthread_mutex_lock(&b->lock);
	poll_arm(b);
	pthread_mutex_unlock(&b->lock);
}

/* ---- what the core asks ---- */

static uint64_t balloon_features(struct virtio_dev *dev)
{
	return balloon_of(dev)->features;
}

static void balloon_config_read(struct virtio_dev *dev, unsigned offset, uint8_t *buf, unsigned len)
{
	struct virtio_balloon *b = balloon_of(dev);
	struct virtio_balloon_wire wire = { .free_page_hint_cmd_id = le32_of(0) };

	pthread_mutex_lock(&b->lock);
	wire.num_pages = le32_of(b->regs.num_pages);
	wire.actual = le32_of(b->regs.actual);
	wire.poison_val = le32_of(b->regs.poison_val);
	pthread_mutex_unlock(&b->lock);
	memcpy(buf, (const uint8_t *)&wire + offset, len);
}

/* Under the lock. */
static void set_actual(struct virtio_balloon *b, uint32_t actual)
{
	if (b->regs.actual == actual)
		return;
	b->regs.actual = actual;
	if (b->changed)
		b->changed(b->opaque);
}

/* Legacy drivers write a byte at a time. */
static void balloon_config_write(struct virtio_dev *dev, unsigned offset, const uint8_t *buf, unsigned len)
{
	struct virtio_balloon *b = balloon_of(dev);
	struct virtio_balloon_wire wire = { .free_page_hint_cmd_id = le32_of(0) };

	pthread_mutex_lock(&b->lock);
	wire.actual = le32_of(b->regs.actual);
	wire.poison_val = le32_of(b->regs.poison_val);
	memcpy((uint8_t *)&wire + offset, buf, len);
	set_actual(b, le32_get(wire.actual));
	if (b->features & VIRTIO_BALLOON_F_PAGE_POISON)
		b->regs.poison_val = le32_get(wire.poison_val);
	pthread_mutex_unlock(&b->lock);
}

static void forget_stats(struct virtio_balloon *b)
{
	b->stats = (struct virtio_balloon_stats){ .last_update = 0 };
	for (size_t i = 0; i < VIRTIO_BALLOON_STATS; i++)
		b->stats.value[i] = VIRTIO_BALLOON_UNKNOWN;
}

static int balloon_activate(struct virtio_dev *dev, uint64_t features)
{
	struct virtio_balloon *b = balloon_of(dev);
	unsigned n = 0;

	for (unsigned i = 0; i < BALLOON_QUEUES; i++)
		b->queue[i] = (struct balloon_queue){ .role = BALLOON_NONE };
	b->queue[n++].role = BALLOON_INFLATE;
	b->queue[n++].role = BALLOON_DEFLATE;
	if (features & VIRTIO_BALLOON_F_STATS_VQ)
		b->queue[n++].role = BALLOON_STATS;
	if (features & VIRTIO_BALLOON_F_PAGE_REPORTING)
		b->queue[n].role = b->queue[BALLOON_QUEUES - 1].role = BALLOON_REPORT;
	b->active = true;
	return 0;
}

static void balloon_deactivate(struct virtio_dev *dev)
{
	struct virtio_balloon *b = balloon_of(dev);

	b->active = false;
	b->again = 0;
	eventloop_cancel_work(dev->loop, &b->work);
	for (unsigned i = 0; i < BALLOON_QUEUES; i++)
		b->queue[i].held = false;
	pthread_mutex_lock(&b->lock);
	/* Nobody remembers what was in it: the next driver takes all memory for its own. */
	set_actual(b, 0);
	b->regs.poison_val = 0;
	forget_stats(b);
	pthread_mutex_unlock(&b->lock);
}

static void balloon_destroy(struct virtio_dev *dev)
{
	struct virtio_balloon *b = balloon_of(dev);

	eventloop_cancel(dev->loop, &b->poll);
	eventloop_cancel_work(dev->loop, &b->work);
	virtio_dev_fini(dev);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

static const struct virtio_dev_ops balloon_ops = {
	.features = balloon_features,
	.config_read = balloon_config_read,
	.config_write = balloon_config_write,
	.activate = balloon_activate,
	.kick = balloon_kick,
	.deactivate = balloon_deactivate,
	.destroy = balloon_destroy,
};

/* ---- for a monitor ---- */

void virtio_balloon_set_target(struct virtio_dev *dev, uint64_t bytes)
{
	struct virtio_balloon *b = balloon_of(dev);
	uint32_t pages = (uint32_t)min_u64(bytes >> VIRTIO_BALLOON_PFN_SHIFT, UINT32_MAX);
	bool news;

	pthread_mutex_lock(&b->lock);
	news = b->regs.num_pages != pages;
	b->regs.num_pages = pages;
	pthread_mutex_unlock(&b->lock);
	if (news)
		virtio_config_changed(dev);
}

uint64_t virtio_balloon_held(struct virtio_dev *dev)
{
	struct virtio_balloon *b = balloon_of(dev);
	uint64_t pages;

	pthread_mutex_lock(&b->lock);
	pages = b->regs.actual;
	pthread_mutex_unlock(&b->lock);
	return pages << VIRTIO_BALLOON_PFN_SHIFT;
}

void virtio_balloon_observe(struct virtio_dev *dev, void (*changed)(void *opaque), void *opaque)
{
	struct virtio_balloon *b = balloon_of(dev);

	pthread_mutex_lock(&b->lock);
	b->changed = changed;
	b->opaque = opaque;
	pthread_mutex_unlock(&b->lock);
}

void virtio_balloon_stats(struct virtio_dev *dev, struct virtio_balloon_stats *stats)
{
	struct virtio_balloon *b = balloon_of(dev);

	pthread_mutex_lock(&b->lock);
	*stats = b->stats;
	pthread_mutex_unlock(&b->lock);
}

uint32_t virtio_balloon_polling(struct virtio_dev *dev)
{
	struct virtio_balloon *b = balloon_of(dev);
	uint32_t seconds;

	pthread_mutex_lock(&b->lock);
	seconds = b->poll_seconds;
	pthread_mutex_unlock(&b->lock);
	return seconds;
}

void virtio_balloon_set_polling(struct virtio_dev *dev, uint32_t seconds)
{
	struct virtio_balloon *b = balloon_of(dev);

	pthread_mutex_lock(&b->lock);
	if (b->poll_seconds != seconds) {
		b->poll_seconds = seconds;
		poll_arm(b);
	}
	pthread_mutex_unlock(&b->lock);
}

struct virtio_dev *virtio_balloon_create(const struct device_env *env, const struct virtio_balloon_config *cfg, struct err *err)
{
	static const uint16_t sizes[BALLOON_QUEUES] = { BALLOON_QUEUE, BALLOON_QUEUE, BALLOON_QUEUE, BALLOON_QUEUE, BALLOON_QUEUE };
	struct virtio_balloon *b = calloc(1, sizeof(*b));

	if (!b) {
		err_set_errno(err, -ENOMEM, "%s", cfg->name);
		return NULL;
	}
	b->dev = (struct virtio_dev){
		.ops = &balloon_ops,
		.id = VIRTIO_ID_BALLOON,
		.name = cfg->name,
		.loop = env->loop,
		.mem = env->mem,
		.config_size = sizeof(struct virtio_balloon_wire),
	};
	b->features = VIRTIO_BALLOON_F_STATS_VQ | (cfg->deflate_on_oom ? VIRTIO_BALLOON_F_DEFLATE_ON_OOM : 0) |
		      (cfg->page_poison ? VIRTIO_BALLOON_F_PAGE_POISON : 0) | (cfg->page_reporting ? VIRTIO_BALLOON_F_PAGE_REPORTING : 0);
	b->host_page = (uint64_t)sysconf(_SC_PAGESIZE);
	b->work = (struct event_work){ .run = balloon_work, .opaque = b };
	b->poll = (struct event_timer){ .fire = poll_fire, .opaque = b };
	pthread_mutex_init(&b->lock, NULL);
	forget_stats(b);
	if (virtio_dev_init(&b->dev, sizes, ARRAY_SIZE(sizes), err) < 0) {
		pthread_mutex_destroy(&b->lock);
		free(b);
		return NULL;
	}
	return &b->dev;
}
