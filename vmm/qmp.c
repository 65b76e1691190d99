/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * A monitor's peer gives bytes, `receive` keeps up to QMP_INPUT of them, and `monitor_go_on` looks at them: one request at a time, as long as no
 * call is waiting for its reply and all output has been taken. So input stands still while a peer does not read, and what is kept for
 * one is bounded: one reply and QMP_EVENTS_MAX of events. What must go on later (a call replied, the chardev has room) posts work to the
 * loop instead of calling back into what may be on the stack.
 */
#include "vmm/qmp.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmm/chardev.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/qmp_priv.h"
#include "vmm/util.h"

#define LARGE_REPLY 16384

/* ---- output ---- */

static void output_drain(struct qmp_monitor *m)
{
	if (m->out_at < m->out_len)
		m->out_at += chardev_write(m->chr, m->out + m->out_at, m->out_len - m->out_at);
	if (m->out_at < m->out_len)
		return;
	free(m->out);
	/* A reply such as query-qmp-schema's took ten times its size, once: the host gets it back. */
	if (m->out_size > LARGE_REPLY)
		malloc_trim(0);
	m->out = NULL;
	m->out_at = m->out_len = m->out_size = 0;
	if (m->dropped > 0)
		log_warn("monitor '%s': its client did not read, and missed %u events", chardev_filename(m->chr), m->dropped);
	m->dropped = 0;
}

/* A line of output. Without memory it is lost, and so is the peer's place in the protocol; there is nothing else to say it with. */
static int output_line(const char *text, size_t len, void *opaque)
{
	struct qmp_monitor *m = opaque;
	size_t need = m->out_len - m->out_at + len;

	if (m->out_at > 0) {
		memmove(m->out, m->out + m->out_at, m->out_len - m->out_at);
		m->out_len -= m->out_at;
		m->out_at = 0;
	}
	if (need > m->out_size) {
		size_t size = max_u64(need, 2 * m->out_size);
		char *out = realloc(m->out, size);

		if (!out)
			return -1;
		m->out = out;
		m->out_size = size;
	}
	memcpy(m->out + m->out_len, text, len);
	m->out_len += len;
	return 0;
}

/* Takes `value` over. */
static void monitor_send(struct qmp_monitor *m, json_t *value)
{
	size_t before = m->out_len - m->out_at;

	if (!value || json_dump_callback(value, output_line, m, m->pretty ? JSON_INDENT(4) : 0) < 0 || output_line("\r\n", 2, m) < 0) {
		m->out_len = m->out_at + before;
		log_error("monitor '%s': no memory for a message to its client", chardev_filename(m->chr));
	}
	json_decref(value);
	output_drain(m);
}

static json_t *timestamp(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return json_pack("{s:I,s:I}", "seconds", (json_int_t)now.tv_sec, "microseconds", (json_int_t)now.tv_nsec / 1000);
}

static bool event_known(const struct qmp *qmp, const char *name)
{
	for (size_t i = 0; i < qmp->n_tables; i++)
		for (const struct qmp_event *e = qmp->tables[i].events; e && e->name; e++)
			if (!strcmp(e->name, name))
				return true;
	return false;
}

void qmp_event(struct qmp *qmp, const char *name, json_t *data)
{
	json_t *event = json_pack("{s:o,s:s}", "timestamp", timestamp(), "event", name);

	assert(event_known(qmp, name));
	if (event && data)
		json_object_set(event, "data", data);
	json_decref(data);
	for (size_t i = 0; i < qmp->n_monitors; i++) {
		struct qmp_monitor *m = qmp->monitors[i];

		if (!m->open || !m->negotiated)
			continue;
		if (m->out_len - m->out_at > QMP_EVENTS_MAX)
			m->dropped++;
		else
			monitor_send(m, json_incref(event));
	}
	json_decref(event);
}

/* ---- input ---- */

static const char *const stream_errors[] = {
	[JSON_STREAM_GARBAGE] = "JSON parse error: a request is an object, {\"execute\": ...}",
	[JSON_STREAM_LONG] = "JSON parse error: the request is too long",
	[JSON_STREAM_DEEP] = "JSON parse error: the request is nested too deeply",
	[JSON_STREAM_NOMEM] = "no memory for the request",
};

static void monitor_refuse(struct qmp_monitor *m, enum json_stream_result why)
{
	struct err err = ERR_INIT;

	err_set(&err, -EINVAL, "%s", stream_errors[why]);
	monitor_send(m, qmp_reply(NULL, NULL, &err));
}

static bool monitor_busy(const struct qmp_monitor *m)
{
	return !m->open || m->call || m->out_at < m->out_len;
}

static void monitor_go_on(struct qmp_monitor *m)
{
	while (!monitor_busy(m) && m->in_at < m->in_len) {
		size_t taken;
		enum json_stream_result r = json_stream_feed(&m->stream, m->in + m->in_at, m->in_len - m->in_at, &taken);
		json_t *reply;

		m->in_at += taken;
		if (r == JSON_STREAM_OBJECT) {
			qmp_dispatch(m, m->stream.text, m->stream.len, &reply);
			if (reply)
				monitor_send(m, reply);
		} else if (r != JSON_STREAM_MORE) {
			monitor_refuse(m, r);
		}
	}
	if (!monitor_busy(m) && m->in_at == m->in_len) {
		m->in_at = m->in_len = 0;
		chardev_accept_input(m->chr);
	}
}

static void go_on(void *opaque)
{
	struct qmp *qmp = opaque;

	for (size_t i = 0; i < qmp->n_monitors; i++)
		monitor_go_on(qmp->monitors[i]);
}

static size_t monitor_can_receive(void *opaque)
{
	const struct qmp_monitor *m = opaque;

	return monitor_busy(m) || m->in_len > 0 ? 0 : QMP_INPUT;
}

static void monitor_receive(void *opaque, const uint8_t *buf, size_t len)
{
	struct qmp_monitor *m = opaque;

	assert(m->in_len == 0 && len <= QMP_INPUT);
	memcpy(m->in, buf, len);
	m->in_at = 0;
	m->in_len = len;
	eventloop_post(m->qmp->loop, &m->qmp->go_on);
}

static void monitor_writable(void *opaque)
{
	struct qmp_monitor *m = opaque;

	output_drain(m);
	if (m->out_at == m->out_len)
		eventloop_post(m->qmp->loop, &m->qmp->go_on);
}

/* ---- peers come and go ---- */

static void monitor_forget(struct qmp_monitor *m)
{
	if (m->call)
		m->call->monitor = NULL;
	m->call = NULL;
	m->open = m->negotiated = false;
	json_stream_reset(&m->stream);
	m->in_at = m->in_len = 0;
	free(m->out);
	m->out = NULL;
	m->out_at = m->out_len = m->out_size = 0;
	m->dropped = 0;
}

static void monitor_chardev_event(void *opaque, enum chardev_event event)
{
	struct qmp_monitor *m = opaque;

	if (event == CHARDEV_BREAK)
		return;
	monitor_forget(m);
	if (event == CHARDEV_OPENED) {
		m->open = true;
		monitor_send(m, json_pack("{s:{s:o,s:[]}}", "QMP", "version", qmp_version(), "capabilities"));
		chardev_accept_input(m->chr);
	}
}

static const struct chardev_frontend monitor_frontend = {
	.takes_fds = true,
	.patient = true,
	.can_receive = monitor_can_receive,
	.receive = monitor_receive,
	.writable = monitor_writable,
	.event = monitor_chardev_event,
};

/* ---- the whole ---- */

struct qmp *qmp_create(struct eventloop *loop, const struct qmp_table *tables, size_t n, void *opaque, struct err *err)
{
	struct qmp *qmp = calloc(1, sizeof(*qmp));

	if (!qmp) {
		err_set(err, -ENOMEM, "no memory for the control protocol");
		return NULL;
	}
	qmp->loop = loop;
	qmp->tables = tables;
	qmp->n_tables = n;
	qmp->opaque = opaque;
	qmp->go_on = (struct event_work){ .run = go_on, .opaque = qmp };
	return qmp;
}

void qmp_destroy(struct qmp *qmp)
{
	if (!qmp)
		return;
	while (qmp->n_monitors > 0) {
		struct qmp_monitor *m = qmp->monitors[--qmp->n_monitors];

		chardev_detach(m->chr);
		monitor_forget(m);
		free(m);
	}
	while (qmp->calls)
		qmp_call_free(qmp->calls);
	eventloop_cancel_work(qmp->loop, &qmp->go_on);
	free(qmp);
}

int qmp_add_monitor(struct qmp *qmp, struct chardev *chr, bool pretty, struct err *err)
{
	struct qmp_monitor *m;

	if (qmp->n_monitors == QMP_MAX_MONITORS)
		return err_set(err, -ENOSPC, "at most %d monitors are possible", QMP_MAX_MONITORS);
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(err, -ENOMEM, "no memory for a monitor");
	m->qmp = qmp;
	m->chr = chr;
	m->pretty = pretty;
	qmp->monitors[qmp->n_monitors++] = m;
	chardev_attach(chr, &monitor_frontend, m);
	return 0;
}

struct chardev *qmp_monitor_chardev(const struct qmp_monitor *monitor)
{
	return monitor->chr;
}

void *qmp_opaque(const struct qmp_call *call)
{
	return call->qmp->opaque;
}

struct qmp *qmp_of(const struct qmp_call *call)
{
	return call->qmp;
}

struct qmp_monitor *qmp_monitor_of(const struct qmp_call *call)
{
	return call->monitor;
}

void qmp_call_done(struct qmp_call *call, json_t *ret, const struct err *err)
{
	struct qmp_monitor *m = call->monitor;

	assert(!call->now);
	if (m) {
		m->call = NULL;
		monitor_send(m, qmp_reply(json_incref(call->id), ret, err));
		eventloop_post(call->qmp->loop, &call->qmp->go_on);
	} else {
		json_decref(ret);
	}
	qmp_call_free(call);
}
