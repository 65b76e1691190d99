/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk (Virtio 1.2, section 5.2): the device. Its requests are in virtio_blk_req.c.
 *
 * All queues work on the block device's loop. A kick pops everything there is and starts it; the back end gathers what one turn
 * of the loop starts into one submission. While a kick is at work the driver is asked not to ring. Completions push, and post one work
 * item that interrupts the driver for all of a turn's completions.
 *
 * A request is in a pool of its queue, as many as the queue is long: virtq lets no head in twice, so the pool cannot run out, and
 * nothing is allocated after creation.
 *
 * A guest that answers faster than the loop turns could keep a kick going for ever with requests that end at once. A kick therefore
 * takes at most twice the queue's length, and posts the rest as work behind whatever else the loop has to do.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/virtio_blk_priv.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define VBLK_BLOCK_MAX (2 * MIB)

static struct vblk *vblk_of(struct virtio_dev *dev)
{
	return CONTAINER_OF(dev, struct vblk, dev);
}

/* ---- configuration ---- */

static uint64_t vblk_features(struct virtio_dev *dev)
{
	const struct vblk *b = vblk_of(dev);
	uint64_t f = VBLK_F_SEG_MAX | VBLK_F_GEOMETRY | VBLK_F_BLK_SIZE | VBLK_F_FLUSH | VBLK_F_TOPOLOGY;

	if (b->bd->read_only)
		f |= VBLK_F_RO;
	if (b->config_wce)
		f |= VBLK_F_CONFIG_WCE;
	if (dev->n_queues > 1)
		f |= VBLK_F_MQ;
	if (b->discard)
		f |= VBLK_F_DISCARD;
	if (b->write_zeroes)
		f |= VBLK_F_WRITE_ZEROES;
	return f;
}

/* The capacity, and the geometry that drivers of the 1990s derive partitions from. Under the lock, or before there are threads. */
static void vblk_set_capacity(struct vblk *b)
{
	const unsigned heads = 16, sectors = 63;
	uint64_t cylinders;

	b->capacity = align_down(b->bd->size, b->block) / BLK_SECTOR;
	cylinders = min_u64(b->capacity / (heads * sectors), 16383);
	b->config.capacity = le64_of(b->capacity);
	b->config.cylinders = le16_of((uint16_t)cylinders);
	b->config.heads = heads;
	b->config.sectors = sectors;
}

static void vblk_init_config(struct vblk *b, const struct virtio_blk_config *cfg)
{
	uint32_t physical = cfg->physical_block ? cfg->physical_block : (uint32_t)max_u64(b->bd->physical_block, b->block);
	unsigned seg_max = (unsigned)min_u64(cfg->queue_size, VBLK_MAX_BUFFERS) - 2;
	struct vblk_config *c = &b->config;

	vblk_set_capacity(b);
	c->seg_max = le32_of(seg_max);
	c->blk_size = le32_of(b->block);
	c->physical_block_exp = (uint8_t)__builtin_ctz(physical / b->block);
	c->min_io_size = le16_of((uint16_t)min_u64(physical / b->block, UINT16_MAX));
	c->writeback = b->wce_default;
	c->num_queues = le16_of((uint16_t)cfg->queues);
	if (b->discard) {
		c->max_discard_sectors = le32_of(VBLK_MAX_RANGE_SECTORS);
		c->max_discard_seg = le32_of(VBLK_MAX_RANGES);
		c->discard_sector_alignment = le32_of(physical / BLK_SECTOR);
	}
	if (b->write_zeroes) {
		c->max_write_zeroes_sectors = le32_of(VBLK_MAX_RANGE_SECTORS);
		c->max_write_zeroes_seg = le32_of(VBLK_MAX_RANGES);
		c->write_zeroes_may_unmap = b->bd->discard;
	}
}

static void vblk_config_read(struct virtio_dev *dev, unsigned offset, uint8_t *buf, unsigned len)
{
	struct vblk *b = vblk_of(dev);

	pthread_mutex_lock(&b->lock);
	memcpy(buf, (const uint8_t *)&b->config + offset, len);
	pthread_mutex_unlock(&b->lock);
}

static void vblk_set_wce(struct vblk *b, bool on)
{
	pthread_mutex_lock(&b->lock);
	b->config.writeback = on;
	atomic_store_explicit(&b->wce, on, memory_order_release);
	pthread_mutex_unlock(&b->lock);
}

/* The write cache's switch is the one writable field. */
static void vblk_config_write(struct virtio_dev *dev, unsigned offset, const uint8_t *buf, unsigned len)
{
	const unsigned at = offsetof(struct vblk_config, writeback);

	if (offset <= at && at - offset < len && virtio_negotiated(dev, VBLK_F_CONFIG_WCE))
		vblk_set_wce(vblk_of(dev), buf[at - offset] & 1);
}

/* On the loop. */
static void vblk_resized(void *opaque)
{
	struct vblk *b = opaque;

	pthread_mutex_lock(&b->lock);
	vblk_set_capacity(b);
	pthread_mutex_unlock(&b->lock);
	virtio_config_changed(&b->dev);
}

/* ---- queues ---- */

/* Takes and starts one request. False when there is none, or the queue is broken. */
static bool vblk_pop(struct vblk_queue *q)
{
	struct virtio_dev *dev = &q->vblk->dev;
	struct virtq *vq = &dev->queues[q->index].vq;
	/* None left: every head is in flight, and virtq breaks the queue if the ring says that there is another. */
	struct vblk_req *r = vblk_req_take(q);
	struct virtq_chain chain;
	const char *why = "a request of more buffers than seg_max allows";
	int ret = virtq_pop(vq, &chain, r ? r->iov : NULL, r ? q->max_buffers : 0);

	if (ret == 1)
		ret = vblk_req_start(r, &chain, &why) == 0 ? 1 : -EPROTO;
	if (ret == 1)
		return true;
	if (r)
		vblk_req_free(r);
	/* Without a place for the status the driver would read whatever was there before as one: there is no way to answer. */
	if (ret == -E2BIG || ret == -EPROTO)
		virtq_break(vq, why);
	if (ret < 0)
		virtio_queue_broken(dev, q->index);
	return false;
}

static void vblk_run(struct vblk_queue *q)
{
	struct virtio_dev *dev = &q->vblk->dev;
	struct virtq *vq = &dev->queues[q->index].vq;

	if (vq->broken)
		return;
	for (unsigned left = 2u * vq->cfg.size; left; left--) {
		virtq_doorbell_off(vq);
		while (left > 1 && vblk_pop(q))
			left--;
		if (vq->broken || (left > 1 && !virtq_doorbell_on(vq)))
			return;
	}
	eventloop_post(dev->loop, &q->more);
}

static void vblk_kick(struct virtio_dev *dev, unsigned q)
{
	vblk_run(&vblk_of(dev)->queues[q]);
}

static void vblk_run_more(void *opaque)
{
	vblk_run(opaque);
}

static void vblk_notify(void *opaque)
{
	struct vblk_queue *q = opaque;

	virtio_notify(&q->vblk->dev, q->index);
}

/* ---- life ---- */

static int vblk_activate(struct virtio_dev *dev, uint64_t features)
{
	struct vblk *b = vblk_of(dev);

	/*
	 * 5.2.5: a driver that can switch the cache has done so, or leaves it as it is; one that cannot flush must not depend on it. With
	 * CONFIG_WCE but not FLUSH the cache stays off (5.2.6.2).
	 */
	if (!(features & VBLK_F_FLUSH))
		vblk_set_wce(b, false);
	return 0;
}

static void vblk_deactivate(struct virtio_dev *dev)
{
	struct vblk *b = vblk_of(dev);

	b->ending = true;
	vblk_drop_kept(b);
	/* What completes may start the next part of its request. */
	while (b->in_flight)
		blockdev_drain(b->bd);
	b->ending = false;
	for (unsigned i = 0; i < dev->n_queues; i++) {
		eventloop_cancel_work(dev->loop, &b->queues[i].more);
		eventloop_cancel_work(dev->loop, &b->queues[i].notify);
	}
	/* The next driver finds what the user configured. */
	vblk_set_wce(b, b->wce_default);
}

static void vblk_retry(void *arg)
{
	vblk_retry_kept(arg);
}

/* The loop never waits for the main thread, so this may wait for it. */
static void vblk_resume(struct virtio_dev *dev)
{
	eventloop_call_sync(dev->loop, vblk_retry, vblk_of(dev));
}

static void vblk_free(struct vblk *b)
{
	free(b->pools);
	free(b->queues);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

static void vblk_destroy(struct virtio_dev *dev)
{
	struct vblk *b = vblk_of(dev);

	b->bd->resized = NULL;
	virtio_dev_fini(dev);
	vblk_free(b);
}

static const struct virtio_dev_ops vblk_ops = {
	.features = vblk_features,
	.config_read = vblk_config_read,
	.config_write = vblk_config_write,
	.activate = vblk_activate,
	.kick = vblk_kick,
	.deactivate = vblk_deactivate,
	.resume = vblk_resume,
	.destroy = vblk_destroy,
};

/* Memory for the pools, one piece for all queues. calloc leaves it untouched until requests need it. */
static int vblk_init_queues(struct vblk *b, unsigned n, unsigned size)
{
	unsigned max_buffers = (unsigned)min_u64(size, VBLK_MAX_BUFFERS);
	size_t reqs = (size_t)n * size;
	struct vblk_req *req;
	struct iovec *iov;

	b->n_queues = n;
	b->queues = calloc(n, sizeof(*b->queues));
	b->pools = calloc(reqs, sizeof(*req) + max_buffers * sizeof(*iov));
	if (!b->queues || !b->pools)
		return -ENOMEM;
	req = b->pools;
	iov = (struct iovec *)(req + reqs);
	for (unsigned i = 0; i < n; i++) {
		struct vblk_queue *q = &b->queues[i];

		q->vblk = b;
		q->index = i;
		q->max_buffers = max_buffers;
		q->n_reqs = size;
		q->reqs = req + (size_t)i * size;
		q->iovs = iov + (size_t)i * size * max_buffers;
		q->notify = (struct event_work){ .run = vblk_notify, .opaque = q };
		q->more = (struct event_work){ .run = vblk_run_more, .opaque = q };
	}
	return 0;
}

static bool vblk_is_power(uint64_t v, uint64_t min, uint64_t max)
{
	return v >= min && v <= max && !(v & (v - 1));
}

static int vblk_check(const struct virtio_blk_config *cfg, uint32_t block, struct err *err)
{
	uint32_t physical = cfg->physical_block ? cfg->physical_block : block;

	if (!vblk_is_power(cfg->queue_size, VIRTIO_BLK_MIN_QUEUE, VIRTQ_SIZE_MAX))
		return err_set(err, -EINVAL, "%s: queue-size %u is not a power of two from %u to %u", cfg->name, cfg->queue_size,
			       VIRTIO_BLK_MIN_QUEUE, VIRTQ_SIZE_MAX);
	if (cfg->queues < 1 || cfg->queues > VIRTIO_MAX_QUEUES)
		return err_set(err, -EINVAL, "%s: num-queues %u is not from 1 to %u", cfg->name, cfg->queues, VIRTIO_MAX_QUEUES);
	if (!vblk_is_power(block, BLK_SECTOR, VBLK_BLOCK_MAX))
		return err_set(err, -EINVAL, "%s: logical_block_size %u is not a power of two from 512 to 2 MiB", cfg->name, block);
	if (block < cfg->bd->request_align)
		return err_set(err, -EINVAL, "%s: logical_block_size %u is less than '%s' can do, %u bytes", cfg->name, block, cfg->bd->name,
			       cfg->bd->request_align);
	if (!vblk_is_power(physical, block, VBLK_BLOCK_MAX))
		return err_set(err, -EINVAL, "%s: physical_block_size %u is not a power of two from logical_block_size, %u, to 2 MiB", cfg->name,
			       physical, block);
	if (cfg->serial && strlen(cfg->serial) > VIRTIO_BLK_SERIAL_MAX)
		return err_set(err, -EINVAL, "%s: the serial number is longer than %u bytes", cfg->name, VIRTIO_BLK_SERIAL_MAX);
	return 0;
}

static int vblk_init(struct vblk *b, const struct device_env *env, const struct virtio_blk_config *cfg, struct err *err)
{
	uint16_t sizes[VIRTIO_MAX_QUEUES];

	if (vblk_init_queues(b, cfg->queues, cfg->queue_size) < 0)
		return err_set(err, -ENOMEM, "%s: no memory for %u queues of %u requests", cfg->name, cfg->queues, cfg->queue_size);
	for (unsigned i = 0; i < cfg->queues; i++)
		sizes[i] = cfg->queue_size;
	b->discard = cfg->discard && b->bd->discard && !b->bd->read_only;
	b->write_zeroes = cfg->write_zeroes && b->bd->write_zeroes && !b->bd->read_only;
	b->config_wce = cfg->config_wce;
	b->wce_default = cfg->write_cache;
	atomic_init(&b->wce, cfg->write_cache);
	b->read_error = cfg->read_error;
	b->write_error = cfg->write_error;
	b->link = env->link;
	if (cfg->serial)
		memcpy(b->serial, cfg->serial, strlen(cfg->serial));
	vblk_init_config(b, cfg);
	b->dev.ops = &vblk_ops;
	b->dev.id = VIRTIO_ID_BLOCK;
	b->dev.name = cfg->name;
	b->dev.loop = b->bd->loop;
	b->dev.mem = env->mem;
	b->dev.config_size = sizeof(b->config);
	b->dev.poll_queues = true;
	return virtio_dev_init(&b->dev, sizes, cfg->queues, err);
}

struct virtio_dev *virtio_blk_create(const struct device_env *env, const struct virtio_blk_config *cfg, struct err *err)
{
	uint32_t align = (uint32_t)max_u64(cfg->bd->request_align, BLK_SECTOR);
	uint32_t block = cfg->logical_block ? cfg->logical_block : align;
	struct vblk *b;

	if (vblk_check(cfg, block, err) < 0)
		return NULL;
	b = calloc(1, sizeof(*b));
	if (!b) {
		err_set(err, -ENOMEM, "%s: no memory for a disk", cfg->name);
		return NULL;
	}
	b->bd = cfg->bd;
	b->block = block;
	pthread_mutex_init(&b->lock, NULL);
	if (vblk_init(b, env, cfg, err) < 0) {
		vblk_free(b);
		return NULL;
	}
	b->bd->resized_opaque = b;
	b->bd->resized = vblk_resized;
	return &b->dev;
}
