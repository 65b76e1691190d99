/* SPDX-License-Identifier: MIT */
/*
 * virtio-scsi's control and event queues (Virtio 1.2, 5.6.6.2, 5.6.6.3).
 *
 * A task management function that aborts is answered when the last request that it aborts has ended: only then does the device no longer
 * touch their buffers. Until then it is in `pending`, and every end of a request looks whether it was that one.
 *
 * The driver's buffers for events stay in the ring until there is something to tell. When there is none, events are not kept, but
 * the next one, or the next buffer, says that some were missed, and the driver looks for itself.
 */
#include <errno.h>
#include <string.h>

#include "hw/virtio_scsi_priv.h"
#include "vmm/iov.h"
#include "vmm/util.h"

static void push(struct vscsi *v, unsigned index, uint16_t head, uint32_t written)
{
	virtq_push(&v->dev.queues[index].vq, head, written);
	eventloop_post(v->dev.loop, &v->queues[index].notify);
}

static void break_queue(struct vscsi *v, unsigned index, const char *why)
{
	virtq_break(&v->dev.queues[index].vq, why);
	virtio_queue_broken(&v->dev, index);
}

/* ---- task management ---- */

static bool match_task(const struct scsi_req *req, const void *arg)
{
	return req->tag == *(const uint64_t *)arg;
}

static bool match_any(const struct scsi_req *req, const void *arg)
{
	(void)req;
	(void)arg;
	return true;
}

/* What a function waits for: those that it, or another, has aborted. */
static bool match_pending(const struct scsi_req *req, const void *arg)
{
	const struct vscsi_pending *p = arg;

	return req->aborted && (!p->one_task || req->tag == p->id);
}

static bool concerns(const struct vscsi_pending *p, const struct scsi_unit *unit)
{
	return unit->target == p->target && (p->lun < 0 || (unsigned)p->lun == unit->lun);
}

static bool is_over(const struct vscsi *v, const struct vscsi_pending *p)
{
	for (const struct scsi_unit *unit = v->units; unit; unit = unit->next)
		if (concerns(p, unit) && scsi_in_flight(unit, match_pending, p))
			return false;
	return true;
}

void vscsi_ctrl_ended(struct vscsi *v)
{
	for (struct vscsi_pending **at = &v->pending; *at;) {
		struct vscsi_pending *p = *at;

		if (!is_over(v, p)) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		*p->response = VSCSI_S_OK;
		push(v, VSCSI_QUEUE_CONTROL, p->head, 1);
		p->next = v->free;
		v->free = p;
	}
}

/* Aborts what `p` is about, and answers when that has ended. */
static void abort_tasks(struct vscsi *v, struct vscsi_pending *p, enum scsi_aborted how, enum scsi_sense attention)
{
	for (struct scsi_unit *unit = v->units; unit; unit = unit->next) {
		if (!concerns(p, unit))
			continue;
		scsi_abort(unit, how, p->one_task ? match_task : NULL, &p->id);
		if (attention != SCSI_NO_SENSE)
			scsi_unit_reset(unit, attention);
	}
	p->next = v->pending;
	v->pending = p;
	vscsi_ctrl_ended(v);
}

/* The response where there is nothing to wait for, else -1, and `p` is in use. */
static int manage(struct vscsi *v, const struct vscsi_tmf *tmf, struct vscsi_pending *p)
{
	uint32_t what = le32_get(tmf->subtype);
	const struct scsi_unit *unit;
	unsigned lun;

	if (!vscsi_parse_lun(tmf->lun, &p->target, &lun) || !vscsi_has_target(v, p->target))
		return VSCSI_S_BAD_TARGET;
	p->lun = what == VSCSI_TMF_I_T_NEXUS_RESET ? -1 : (int)lun;
	p->one_task = what == VSCSI_TMF_ABORT_TASK;
	p->id = le64_get(tmf->id);
	unit = vscsi_find(v, p->target, lun);
	if (!unit && p->lun >= 0)
		return VSCSI_S_INCORRECT_LUN;
	switch (what) {
	case VSCSI_TMF_ABORT_TASK:
	case VSCSI_TMF_ABORT_TASK_SET:
	case VSCSI_TMF_CLEAR_TASK_SET:
		abort_tasks(v, p, SCSI_ABORTED_TASK, SCSI_NO_SENSE);
		return -1;
	case VSCSI_TMF_LOGICAL_UNIT_RESET:
		abort_tasks(v, p, SCSI_ABORTED_BY_RESET, SCSI_UA_LUN_RESET);
		return -1;
	case VSCSI_TMF_I_T_NEXUS_RESET:
		abort_tasks(v, p, SCSI_ABORTED_BY_RESET, SCSI_UA_NEXUS_LOSS);
		return -1;
	case VSCSI_TMF_QUERY_TASK:
		return scsi_in_flight(unit, match_task, &p->id) ? VSCSI_S_FUNCTION_SUCCEEDED : VSCSI_S_OK;
	case VSCSI_TMF_QUERY_TASK_SET:
		return scsi_in_flight(unit, match_any, NULL) ? VSCSI_S_FUNCTION_SUCCEEDED : VSCSI_S_OK;
	default: /* CLEAR ACA: no unit has one */
		return VSCSI_S_FUNCTION_REJECTED;
	}
}

/* True: done, or about to be. False: too short. */
static bool serve_tmf(struct vscsi *v, const struct virtq_chain *chain, struct iov_cursor *out, struct iov_cursor *in)
{
	struct vscsi_pending *p = v->free; /* one for each head of the queue */
	struct iovec response;
	struct vscsi_tmf tmf;
	int result;

	if (iov_cursor_read(out, &tmf, sizeof(tmf)) < sizeof(tmf) || !iov_cursor_take(in, 1, &response, 1))
		return false;
	v->free = p->next;
	p->head = chain->head;
	p->response = response.iov_base;
	result = manage(v, &tmf, p);
	if (result < 0)
		return true;
	p->next = v->free;
	v->free = p;
	*(uint8_t *)response.iov_base = (uint8_t)result;
	push(v, VSCSI_QUEUE_CONTROL, chain->head, 1);
	return true;
}

/* Asynchronous notifications: units have none, and say so. */
static bool serve_an(struct vscsi *v, const struct virtq_chain *chain, struct iov_cursor *out, struct iov_cursor *in)
{
	struct vscsi_an_answer answer = { .response = VSCSI_S_OK };
	unsigned target, lun;
	struct vscsi_an an;

	if (iov_cursor_read(out, &an, sizeof(an)) < sizeof(an) || in->left < sizeof(answer))
		return false;
	if (!vscsi_parse_lun(an.lun, &target, &lun) || !vscsi_has_target(v, target))
		answer.response = VSCSI_S_BAD_TARGET;
	else if (!vscsi_find(v, target, lun))
		answer.response = VSCSI_S_INCORRECT_LUN;
	iov_cursor_write(in, &answer, sizeof(answer));
	push(v, VSCSI_QUEUE_CONTROL, chain->head, sizeof(answer));
	return true;
}

bool vscsi_ctrl_pop(struct vscsi_queue *q)
{
	struct vscsi *v = q->v;
	struct iovec iov[VSCSI_CTRL_BUFFERS];
	struct iov_cursor out, at, in;
	struct virtq_chain chain;
	bool ok = true;
	le32 type;
	int ret = virtq_pop(&v->dev.queues[q->index].vq, &chain, iov, ARRAY_SIZE(iov));

	if (ret == 0)
		return false;
	if (ret < 0) {
		break_queue(v, q->index, "a control request of too many buffers");
		return false;
	}
	iov_cursor_init(&out, chain.iov, chain.n_out);
	iov_cursor_init(&in, chain.iov + chain.n_out, chain.n_in);
	at = out;
	if (iov_cursor_read(&at, &type, sizeof(type)) < sizeof(type))
		ok = false;
	else if (le32_get(type) == VSCSI_T_TMF)
		ok = serve_tmf(v, &chain, &out, &in);
	else if (le32_get(type) == VSCSI_T_AN_QUERY || le32_get(type) == VSCSI_T_AN_SUBSCRIBE)
		ok = serve_an(v, &chain, &out, &in);
	else
		push(v, VSCSI_QUEUE_CONTROL, chain.head, 0); /* of a later version: where it wants its answer is not known */
	if (!ok)
		break_queue(v, q->index, "a control request that is too short");
	return ok;
}

/* ---- events ---- */

/* Takes a buffer for an event. False: there is none. */
static bool take_event(struct vscsi *v, struct virtq_chain *chain, struct iovec *iov)
{
	struct virtq *vq = &v->dev.queues[VSCSI_QUEUE_EVENT].vq;
	int ret;

	if (!v->active || !vq->cfg.size || vq->broken)
		return false;
	ret = virtq_pop(vq, chain, iov, VSCSI_CTRL_BUFFERS);
	/* Asked to ring, the driver may have added one meanwhile. */
	if (ret == 0 && virtq_doorbell_on(vq))
		ret = virtq_pop(vq, chain, iov, VSCSI_CTRL_BUFFERS);
	if (ret == 1 && chain->in_len < sizeof(struct vscsi_event))
		ret = -EINVAL;
	if (ret < 0)
		break_queue(v, VSCSI_QUEUE_EVENT, "a buffer for events that is too short, or in too many pieces");
	return ret == 1;
}

void vscsi_event(struct vscsi *v, uint32_t event, const struct scsi_unit *unit, uint32_t reason)
{
	struct vscsi_event text = { .reason = le32_of(reason) };
	struct iovec iov[VSCSI_CTRL_BUFFERS];
	struct virtq_chain chain;
	struct iov_cursor c;

	if (!v->active)
		return;
	if (!take_event(v, &chain, iov)) {
		v->events_missed = true;
		return;
	}
	text.event = le32_of(event | (v->events_missed ? VSCSI_T_EVENTS_MISSED : 0));
	if (unit)
		vscsi_put_lun(text.lun, unit->target, unit->lun);
	v->events_missed = false;
	iov_cursor_init(&c, chain.iov + chain.n_out, chain.n_in);
	iov_cursor_write(&c, &text, sizeof(text));
	push(v, VSCSI_QUEUE_EVENT, chain.head, sizeof(text));
}

void vscsi_event_kick(struct vscsi *v)
{
	if (v->events_missed)
		vscsi_event(v, VSCSI_T_NO_EVENT, NULL, 0);
}
