/* SPDX-License-Identifier: MIT */
/*
 * virtio-scsi (Virtio 1.2, section 5.6): the device. Its requests are in virtio_scsi_req.c, control and events in virtio_scsi_ctrl.c, and
 * what is behind them, disks and CD-ROM drives, in scsi*.c.
 *
 * All queues and all units work on one loop, that of the units' block devices. Pools and budgets are as in virtio_blk.c: nothing
 * is allocated for a request, a kick serves at most twice the queue's length and posts the rest as work.
 *
 * Units may come and go while a driver is at work (HOTPLUG); it is told by events, as it is of media and capacities (CHANGE).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/virtio_scsi_priv.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define LUN_FLAT 0x40 /* SAM-5, 4.7.7.3: addresses of 14 bits */

static struct vscsi *vscsi_of(struct virtio_dev *dev)
{
	return CONTAINER_OF(dev, struct vscsi, dev);
}

/* ---- units ---- */

struct scsi_unit *vscsi_find(const struct vscsi *v, unsigned target, unsigned lun)
{
	for (struct scsi_unit *unit = v->units; unit; unit = unit->next)
		if (unit->target == target && unit->lun == lun)
			return unit;
	return NULL;
}

bool vscsi_has_target(const struct vscsi *v, unsigned target)
{
	for (const struct scsi_unit *unit = v->units; unit; unit = unit->next)
		if (unit->target == target)
			return true;
	return false;
}

bool vscsi_parse_lun(const uint8_t lun[8], unsigned *target, unsigned *n)
{
	static const uint8_t zeroes[4];

	if (lun[0] != 1 || memcmp(lun + 4, zeroes, sizeof(zeroes)) || ((lun[2] & 0xc0) != LUN_FLAT && lun[2]))
		return false;
	*target = lun[1];
	*n = (lun[2] & 0x3fu) << 8 | lun[3];
	return true;
}

/* Flat only from 256 on, as REPORT LUNS tells them: Linux looks for a unit by what it has learnt there. */
static void put_lun(uint8_t *lun, unsigned n)
{
	lun[0] = (uint8_t)(n > 255 ? LUN_FLAT | n >> 8 : 0);
	lun[1] = (uint8_t)n;
}

void vscsi_put_lun(uint8_t lun[8], unsigned target, unsigned n)
{
	memset(lun, 0, 8);
	lun[0] = 1;
	lun[1] = (uint8_t)target;
	put_lun(lun + 2, n);
}

/* A target's LUNs, 0 always among them; or of the device, with their targets. */
static size_t luns(void *adapter, const struct scsi_req *req, uint8_t (*out)[8], size_t max)
{
	struct vscsi *v = adapter;
	bool all = req->unit == &v->well_known;
	size_t n = 0;

	if (!all && max && !vscsi_find(v, req->target, 0))
		memset(out[n++], 0, 8);
	for (const struct scsi_unit *unit = v->units; unit && n < max; unit = unit->next) {
		if (all) {
			vscsi_put_lun(out[n++], unit->target, unit->lun);
		} else if (unit->target == req->target) {
			memset(out[n], 0, 8);
			put_lun(out[n++], unit->lun);
		}
	}
	return n;
}

static void changed(void *adapter, struct scsi_unit *unit, enum scsi_sense what)
{
	struct vscsi *v = adapter;

	if (virtio_has(&v->dev, VSCSI_F_CHANGE))
		vscsi_event(v, VSCSI_T_PARAM_CHANGE, unit, (uint32_t)(what >> 8 & 0xff) | (uint32_t)(what & 0xff) << 8);
}

static const struct scsi_adapter_ops adapter_ops = { .changed = changed, .luns = luns };

/* Those that were there before hear of it, too. */
static void luns_changed(struct vscsi *v, const struct scsi_unit *unit, uint32_t reason)
{
	for (struct scsi_unit *other = v->units; other && v->active; other = other->next)
		if (other != unit && other->target == unit->target)
			scsi_unit_attention(other, SCSI_UA_LUNS);
	if (virtio_has(&v->dev, VSCSI_F_HOTPLUG))
		vscsi_event(v, VSCSI_T_TRANSPORT_RESET, unit, reason);
}

int virtio_scsi_add_unit(struct virtio_dev *dev, struct scsi_unit *unit, struct err *err)
{
	struct vscsi *v = vscsi_of(dev);
	struct scsi_unit **at = &v->units;

	if (v->n_units == VSCSI_MAX_UNITS)
		return err_set(err, -E2BIG, "%s: no room for %s: there are %d units", dev->name, unit->name, VSCSI_MAX_UNITS);
	if (vscsi_find(v, unit->target, unit->lun))
		return err_set(err, -EBUSY, "%s: %s and %s are both at scsi-id %u, lun %u; give one of them another", dev->name,
			       vscsi_find(v, unit->target, unit->lun)->name, unit->name, unit->target, unit->lun);
	while (*at && ((*at)->target < unit->target || ((*at)->target == unit->target && (*at)->lun < unit->lun)))
		at = &(*at)->next;
	unit->next = *at;
	*at = unit;
	v->n_units++;
	scsi_unit_attach(unit, &adapter_ops, v);
	luns_changed(v, unit, VSCSI_EVT_RESET_RESCAN);
	return 0;
}

void virtio_scsi_remove_unit(struct virtio_dev *dev, struct scsi_unit *unit)
{
	struct vscsi *v = vscsi_of(dev);

	for (struct scsi_unit **at = &v->units; *at; at = &(*at)->next)
		if (*at == unit) {
			scsi_unit_drain(unit);
			*at = unit->next;
			v->n_units--;
			luns_changed(v, unit, VSCSI_EVT_RESET_REMOVED);
			/* Functions that waited for a request of its have no unit to look at any more. */
			vscsi_ctrl_ended(v);
			return;
		}
}

/* ---- configuration ---- */

static uint64_t vscsi_features(struct virtio_dev *dev)
{
	(void)dev;
	return VSCSI_F_HOTPLUG | VSCSI_F_CHANGE;
}

static void vscsi_config_read(struct virtio_dev *dev, unsigned offset, uint8_t *buf, unsigned len)
{
	struct vscsi *v = vscsi_of(dev);

	pthread_mutex_lock(&v->lock);
	memcpy(buf, (const uint8_t *)&v->config + offset, len);
	pthread_mutex_unlock(&v->lock);
}

/* The driver's sizes are the writable fields, from one end of them to the other; they count from the next activation on. */
static void vscsi_config_write(struct virtio_dev *dev, unsigned offset, const uint8_t *buf, unsigned len)
{
	const unsigned first = offsetof(struct vscsi_config, sense_size), end = offsetof(struct vscsi_config, max_channel);
	struct vscsi *v = vscsi_of(dev);
	struct vscsi_config config;
	bool ok;

	pthread_mutex_lock(&v->lock);
	config = v->config;
	for (unsigned i = 0; i < len; i++)
		if (offset + i >= first && offset + i < end)
			((uint8_t *)&config)[offset + i] = buf[i];
	/* A byte at a time has to come through values of its own; those are judged at activation. */
	ok = len < sizeof(le32) || (le32_get(config.sense_size) <= VSCSI_SENSE_SIZE_MAX && le32_get(config.cdb_size) <= VSCSI_CDB_SIZE_MAX);
	if (ok)
		v->config = config;
	pthread_mutex_unlock(&v->lock);
	if (!ok)
		log_guest(&dev->log, dev->name, "sense_size %u and cdb_size %u: they go to %d and %d; ignored", le32_get(config.sense_size),
			  le32_get(config.cdb_size), VSCSI_SENSE_SIZE_MAX, VSCSI_CDB_SIZE_MAX);
}

static void reset_sizes(struct vscsi *v)
{
	pthread_mutex_lock(&v->lock);
	v->config.sense_size = le32_of(VSCSI_SENSE_SIZE);
	v->config.cdb_size = le32_of(VSCSI_CDB_SIZE);
	pthread_mutex_unlock(&v->lock);
}

static void init_config(struct vscsi *v, const struct virtio_scsi_config *cfg)
{
	unsigned buffers = (unsigned)min_u64(cfg->queue_size, VSCSI_MAX_BUFFERS);

	v->config = (struct vscsi_config){
		.num_queues = le32_of(cfg->queues),
		.seg_max = le32_of(buffers - 2),
		.max_sectors = le32_of(cfg->max_sectors),
		.cmd_per_lun = le32_of(cfg->cmd_per_lun),
		.event_info_size = le32_of(sizeof(struct vscsi_event)),
		.max_target = le16_of(SCSI_MAX_TARGETS - 1),
		.max_lun = le32_of(SCSI_MAX_LUNS - 1),
	};
	reset_sizes(v);
}

/* ---- queues ---- */

static void run_queue(struct vscsi_queue *q)
{
	struct virtio_dev *dev = &q->v->dev;
	struct virtq *vq = &dev->queues[q->index].vq;
	bool (*pop)(struct vscsi_queue *) = q->index == VSCSI_QUEUE_CONTROL ? vscsi_ctrl_pop : vscsi_req_pop;

	if (vq->broken)
		return;
	for (unsigned left = 2u * vq->cfg.size; left; left--) {
		virtq_doorbell_off(vq);
		while (left > 1 && pop(q))
			left--;
		if (vq->broken || (left > 1 && !virtq_doorbell_on(vq)))
			return;
	}
	eventloop_post(dev->loop, &q->more);
}

static void vscsi_kick(struct virtio_dev *dev, unsigned q)
{
	struct vscsi *v = vscsi_of(dev);

	if (q == VSCSI_QUEUE_EVENT)
		vscsi_event_kick(v);
	else
		run_queue(&v->queues[q]);
}

static void run_more(void *opaque)
{
	run_queue(opaque);
}

static void notify(void *opaque)
{
	struct vscsi_queue *q = opaque;

	virtio_notify(&q->v->dev, q->index);
}

/* ---- life ---- */

static int vscsi_activate(struct virtio_dev *dev, uint64_t features)
{
	struct vscsi *v = vscsi_of(dev);

	(void)features;
	pthread_mutex_lock(&v->lock);
	v->sense_size = le32_get(v->config.sense_size);
	v->cdb_size = le32_get(v->config.cdb_size);
	pthread_mutex_unlock(&v->lock);
	if (v->sense_size > VSCSI_SENSE_SIZE_MAX || v->cdb_size > VSCSI_CDB_SIZE_MAX)
		return -EINVAL;
	v->active = true;
	return 0;
}

static void vscsi_deactivate(struct virtio_dev *dev)
{
	struct vscsi *v = vscsi_of(dev);

	for (struct scsi_unit *unit = v->units; unit; unit = unit->next) {
		scsi_unit_drain(unit);
		unit->attentions = 0;
		scsi_unit_reset(unit, SCSI_UA_POWER_ON);
	}
	for (unsigned i = 0; i < v->n_queues; i++) {
		eventloop_cancel_work(dev->loop, &v->queues[i].more);
		eventloop_cancel_work(dev->loop, &v->queues[i].notify);
	}
	v->active = v->events_missed = false;
	reset_sizes(v);
}

static void retry(void *arg)
{
	struct vscsi *v = arg;

	for (struct scsi_unit *unit = v->units; unit; unit = unit->next)
		scsi_unit_retry(unit);
}

/* The loop never waits for the main thread, so this may wait for it. */
static void vscsi_resume(struct virtio_dev *dev)
{
	eventloop_call_sync(dev->loop, retry, vscsi_of(dev));
}

static void vscsi_free(struct vscsi *v)
{
	if (v->queues)
		for (unsigned i = 0; i < v->n_queues; i++) {
			free(v->queues[i].reqs);
			free(v->queues[i].iovs);
		}
	free(v->queues);
	free(v->tmfs);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

static void vscsi_destroy(struct virtio_dev *dev)
{
	struct vscsi *v = vscsi_of(dev);
	struct scsi_unit *next;

	for (struct scsi_unit *unit = v->units; unit; unit = next) {
		next = unit->next;
		scsi_unit_destroy(unit);
	}
	virtio_dev_fini(dev);
	vscsi_free(v);
}

static const struct virtio_dev_ops vscsi_ops = {
	.features = vscsi_features,
	.config_read = vscsi_config_read,
	.config_write = vscsi_config_write,
	.activate = vscsi_activate,
	.kick = vscsi_kick,
	.deactivate = vscsi_deactivate,
	.resume = vscsi_resume,
	.destroy = vscsi_destroy,
};

/* Memory for the pools. calloc leaves it untouched until requests need it. */
static int init_queues(struct vscsi *v, unsigned n, unsigned size)
{
	v->queues = calloc(n, sizeof(*v->queues));
	v->tmfs = calloc(size, sizeof(*v->tmfs));
	if (!v->queues || !v->tmfs)
		return -ENOMEM;
	v->n_queues = n;
	for (unsigned i = 0; i < size; i++) {
		v->tmfs[i].next = v->free;
		v->free = &v->tmfs[i];
	}
	for (unsigned i = 0; i < n; i++) {
		struct vscsi_queue *q = &v->queues[i];

		q->v = v;
		q->index = i;
		q->notify = (struct event_work){ .run = notify, .opaque = q };
		q->more = (struct event_work){ .run = run_more, .opaque = q };
		if (i < VSCSI_QUEUE_REQUEST)
			continue;
		q->max_buffers = (unsigned)min_u64(size, VSCSI_MAX_BUFFERS);
		q->n_reqs = size;
		q->reqs = calloc(size, sizeof(*q->reqs));
		q->iovs = calloc((size_t)size * q->max_buffers, sizeof(*q->iovs));
		if (!q->reqs || !q->iovs)
			return -ENOMEM;
	}
	return 0;
}

static int init(struct vscsi *v, const struct device_env *env, const struct virtio_scsi_config *cfg, struct err *err)
{
	unsigned n = VSCSI_QUEUE_REQUEST + cfg->queues;
	uint16_t sizes[VIRTIO_MAX_QUEUES];

	if (init_queues(v, n, cfg->queue_size) < 0)
		return err_set(err, -ENOMEM, "%s: no memory for %u queues of %u requests", cfg->name, cfg->queues, cfg->queue_size);
	for (unsigned i = 0; i < n; i++)
		sizes[i] = cfg->queue_size;
	scsi_nobody_init(&v->nobody, false);
	scsi_nobody_init(&v->well_known, true);
	scsi_unit_attach(&v->nobody, &adapter_ops, v);
	scsi_unit_attach(&v->well_known, &adapter_ops, v);
	v->nobody.attentions = v->well_known.attentions = 0;
	init_config(v, cfg);
	v->dev.ops = &vscsi_ops;
	v->dev.id = VIRTIO_ID_SCSI;
	v->dev.name = cfg->name;
	v->dev.loop = cfg->loop;
	v->dev.mem = env->mem;
	v->dev.config_size = sizeof(v->config);
	v->dev.poll_queues = true;
	v->dev.unpolled = BIT64(VSCSI_QUEUE_EVENT);
	return virtio_dev_init(&v->dev, sizes, n, err);
}

struct virtio_dev *virtio_scsi_create(const struct device_env *env, const struct virtio_scsi_config *cfg, struct err *err)
{
	struct vscsi *v;

	if (cfg->queues < 1 || cfg->queues > VIRTIO_SCSI_MAX_QUEUES) {
		err_set(err, -EINVAL, "%s: num_queues %u is not from 1 to %d", cfg->name, cfg->queues, VIRTIO_SCSI_MAX_QUEUES);
		return NULL;
	}
	if (cfg->queue_size < VIRTIO_SCSI_MIN_QUEUE || cfg->queue_size > VIRTQ_SIZE_MAX || (cfg->queue_size & (cfg->queue_size - 1))) {
		err_set(err, -EINVAL, "%s: virtqueue_size %u is not a power of two from %d to %d", cfg->name, cfg->queue_size, VIRTIO_SCSI_MIN_QUEUE,
			VIRTQ_SIZE_MAX);
		return NULL;
	}
	v = calloc(1, sizeof(*v));
	if (!v) {
		err_set(err, -ENOMEM, "%s: no memory for an adapter", cfg->name);
		return NULL;
	}
	pthread_mutex_init(&v->lock, NULL);
	if (init(v, env, cfg, err) < 0) {
		vscsi_free(v);
		return NULL;
	}
	return &v->dev;
}
