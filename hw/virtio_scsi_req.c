/* SPDX-License-Identifier: MIT */
/*
 * virtio-scsi's request queues (Virtio 1.2, 5.6.6.1).
 *
 * A request is a chain of buffers in any layout (2.7.4): its header and CDB are the first bytes of the readable part, data to be written
 * what follows; the answer is the first bytes of the writable part, data read what follows. The data go straight from and to these
 * buffers, so the array of the chain is trimmed in place to them. An entry in which both answer and data lie is put back for the
 * answer, when the data have arrived.
 *
 * Length used (2.7.8.2): the answer, which is always written whole, and the data behind it that were read.
 */
#include <errno.h>
#include <string.h>

#include "hw/virtio_scsi_priv.h"
#include "vmm/iov.h"
#include "vmm/util.h"

/* ---- the pool ---- */

static struct vscsi_req *take(struct vscsi_queue *q)
{
	struct vscsi_req *r = q->free;

	if (r) {
		q->free = r->next;
	} else {
		if (q->n_taken == q->n_reqs)
			return NULL;
		r = &q->reqs[q->n_taken];
		r->queue = q;
		r->iov = &q->iovs[(size_t)q->n_taken * q->max_buffers];
		q->n_taken++;
	}
	q->v->in_flight++;
	return r;
}

static void put_back(struct vscsi_req *r)
{
	struct vscsi_queue *q = r->queue;

	r->next = q->free;
	q->free = r;
	q->v->in_flight--;
}

/* ---- the end ---- */

static void respond(struct vscsi_req *r, enum vscsi_response response)
{
	struct vscsi_queue *q = r->queue;
	struct vscsi *v = q->v;
	struct virtio_dev *dev = &v->dev;
	const struct scsi_req *s = &r->scsi;
	uint32_t answered = response == VSCSI_S_OK, moved = answered ? s->moved : 0;
	uint32_t sense_len = answered ? (uint32_t)min_u64(s->sense_len, v->sense_size) : 0, total;
	struct vscsi_answer answer = { .response = (uint8_t)response };
	struct iov_cursor c;

	answer.sense_len = le32_of(sense_len);
	answer.residual = le32_of(s->in_len + s->out_len - moved);
	answer.status = answered ? s->status : 0;
	if (r->shared)
		*r->shared = r->shared_whole;
	iov_cursor_init(&c, r->in, r->n_answer);
	total = (uint32_t)iov_cursor_write(&c, &answer, sizeof(answer));
	total += (uint32_t)iov_cursor_write(&c, s->sense, sense_len);
	total += (uint32_t)iov_cursor_fill(&c, 0, v->sense_size - sense_len);
	virtio_expect_more(dev, q->index);
	virtq_push(&dev->queues[q->index].vq, r->head, total + (s->in_len ? moved : 0));
	eventloop_post(dev->loop, &q->notify);
	put_back(r);
}

static void done(struct scsi_req *s)
{
	static const enum vscsi_response aborted[] = {
		[SCSI_NOT_ABORTED] = VSCSI_S_OK, [SCSI_ABORTED_TASK] = VSCSI_S_ABORTED, [SCSI_ABORTED_BY_RESET] = VSCSI_S_RESET,
	};
	struct vscsi_req *r = CONTAINER_OF(s, struct vscsi_req, scsi);
	struct vscsi *v = r->queue->v;

	respond(r, s->aborted ? aborted[s->aborted] : s->overrun ? VSCSI_S_OVERRUN : VSCSI_S_OK);
	if (v->pending)
		vscsi_ctrl_ended(v);
}

/* ---- the start ---- */

/* What is left of `n` buffers behind `c`, in place: how many, and where. */
static size_t rest(const struct iov_cursor *c, struct iovec *base, size_t n, struct iovec **out)
{
	*out = &base[n - c->n];
	if (c->n && c->off) {
		(*out)->iov_base = (uint8_t *)(*out)->iov_base + c->off;
		(*out)->iov_len -= c->off;
	}
	return c->n;
}

/* Divides the writable part into the answer and data. */
static void divide_in(struct vscsi_req *r, const struct virtq_chain *chain, uint32_t answer)
{
	struct scsi_req *s = &r->scsi;
	struct iov_cursor c;
	size_t data;

	r->in = chain->iov + chain->n_out;
	iov_cursor_init(&c, r->in, chain->n_in);
	iov_cursor_skip(&c, answer);
	data = chain->n_in - c.n;
	r->shared = c.n && c.off ? &r->in[data] : NULL;
	if (r->shared)
		r->shared_whole = *r->shared;
	r->n_answer = r->shared ? data + 1 : data;
	s->n_in = rest(&c, r->in, chain->n_in, &s->in);
	s->in_len = chain->in_len - answer;
}

static void divide_out(struct vscsi_req *r, const struct virtq_chain *chain, struct vscsi_cmd *cmd, uint32_t cdb_size)
{
	struct scsi_req *s = &r->scsi;
	struct iov_cursor c;

	iov_cursor_init(&c, chain->iov, chain->n_out);
	iov_cursor_read(&c, cmd, sizeof(*cmd));
	memset(s->cdb, 0, sizeof(s->cdb));
	iov_cursor_read(&c, s->cdb, min_u64(cdb_size, sizeof(s->cdb)));
	if (cdb_size > sizeof(s->cdb))
		iov_cursor_skip(&c, cdb_size - sizeof(s->cdb));
	s->n_out = rest(&c, chain->iov, chain->n_out, &s->out);
	s->out_len = chain->out_len - (uint32_t)sizeof(*cmd) - cdb_size;
}

/* 5.6.6.1: the REPORT LUNS well-known unit's address. */
static const uint8_t well_known_lun[8] = { 0xc1, 0x01 };

static struct scsi_unit *addressee(struct vscsi *v, const uint8_t lun[8], struct scsi_req *s)
{
	struct scsi_unit *unit;

	s->target = s->lun = 0;
	if (!memcmp(lun, well_known_lun, sizeof(well_known_lun)))
		return &v->well_known;
	if (!vscsi_parse_lun(lun, &s->target, &s->lun) || !vscsi_has_target(v, s->target))
		return NULL;
	unit = vscsi_find(v, s->target, s->lun);
	return unit ? unit : &v->nobody;
}

static void start(struct vscsi_req *r, const struct vscsi_cmd *cmd)
{
	static const enum scsi_attr attrs[] = {
		[VSCSI_ATTR_SIMPLE] = SCSI_SIMPLE, [VSCSI_ATTR_ORDERED] = SCSI_ORDERED, [VSCSI_ATTR_HEAD] = SCSI_HEAD_OF_QUEUE,
	};
	struct scsi_req *s = &r->scsi;

	s->unit = addressee(r->queue->v, cmd->lun, s);
	s->moved = 0;
	s->sense_len = 0;
	s->tag = le64_get(cmd->id);
	s->done = done;
	if (!s->unit) {
		respond(r, VSCSI_S_BAD_TARGET);
	} else if ((s->in_len && s->out_len) || cmd->task_attr >= ARRAY_SIZE(attrs)) {
		/* Both directions at once need INOUT; ACA needs a unit that knows of that. */
		respond(r, VSCSI_S_FAILURE);
	} else {
		s->attr = attrs[cmd->task_attr];
		scsi_submit(s);
	}
}

bool vscsi_req_pop(struct vscsi_queue *q)
{
	struct vscsi *v = q->v;
	struct virtio_dev *dev = &v->dev;
	struct virtq *vq = &dev->queues[q->index].vq;
	/* None left: every head is in flight, and virtq breaks the queue if the ring says that there is another. */
	struct vscsi_req *r = take(q);
	uint32_t header = (uint32_t)sizeof(struct vscsi_cmd) + v->cdb_size, answer = (uint32_t)sizeof(struct vscsi_answer) + v->sense_size;
	const char *why = "a request of more buffers than seg_max allows";
	struct virtq_chain chain;
	struct vscsi_cmd cmd;
	int ret = virtq_pop(vq, &chain, r ? r->iov : NULL, r ? q->max_buffers : 0);

	/* Without a place for the whole answer there is no way to answer. */
	if (ret == 1 && (chain.out_len < header || chain.in_len < answer)) {
		why = chain.out_len < header ? "a request without a header" : "a request without a place for the answer";
		ret = -EPROTO;
	}
	if (ret == 1) {
		r->head = chain.head;
		divide_out(r, &chain, &cmd, v->cdb_size);
		divide_in(r, &chain, answer);
		start(r, &cmd);
		return true;
	}
	if (r)
		put_back(r);
	if (ret == -E2BIG || ret == -EPROTO)
		virtq_break(vq, why);
	if (ret < 0)
		virtio_queue_broken(dev, q->index);
	return false;
}
