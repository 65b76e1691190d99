/* SPDX-License-Identifier: MIT */
/* What the files of QMP share. Included by vmm/qmp*.c only. */
#ifndef VMM_QMP_PRIV_H
#define VMM_QMP_PRIV_H

#include "vmm/eventloop.h"
#include "vmm/json_stream.h"
#include "vmm/qmp.h"

#define QMP_INPUT 4096 /* bytes taken from the peer at a time */

struct qmp_monitor {
	struct qmp *qmp;
	struct chardev *chr; /* borrowed */
	bool pretty;
	bool open;       /* a peer is there */
	bool negotiated; /* it has sent qmp_capabilities */
	struct json_stream stream;
	char in[QMP_INPUT]; /* what is not yet looked at: from in_at to in_len */
	size_t in_at, in_len;
	char *out;          /* what the chardev has not taken yet: from out_at to out_len; owned */
	size_t out_at, out_len, out_size;
	unsigned dropped;   /* events, since it last read */
	struct qmp_call *call; /* the one that has not replied */
};

struct qmp_call {
	struct qmp *qmp;
	struct qmp_monitor *monitor; /* NULL: its peer is gone */
	json_t *id;                  /* NULL: none */
	bool now;                    /* `run` has not returned */
	struct qmp_call *prev, *next; /* of those that reply later */
};

struct qmp {
	struct eventloop *loop;
	const struct qmp_table *tables;
	size_t n_tables;
	void *opaque;
	struct qmp_monitor *monitors[QMP_MAX_MONITORS];
	size_t n_monitors;
	struct qmp_call *calls; /* that reply later */
	struct event_work go_on; /* looks at what came while a command was at work */
};

/* qmp_dispatch.c: NULL when there is none. */
const struct qmp_command *qmp_find(const struct qmp *qmp, const char *name);
/*
 * Runs the request in `text`, and says in `*reply` what goes back; NULL when the reply comes later, then `monitor->call` is the call.
 */
void qmp_dispatch(struct qmp_monitor *monitor, const char *text, size_t len, json_t **reply);
/* Takes `id` and `ret` over. */
json_t *qmp_reply(json_t *id, json_t *ret, const struct err *err);
/* Takes it out of qmp->calls and frees it. */
void qmp_call_free(struct qmp_call *call);

/* qmp_check.c: whether `args` are what `type` says: 0, or -EINVAL with `err` that names what is wrong. */
int qmp_check(const struct qmp_type *type, const json_t *args, struct err *err);

/* qmp_core.c: what the protocol itself needs. */
extern const struct qmp_command qmp_core_commands[];
json_t *qmp_version(void);

/* qmp_schema.c: all of it, a new reference; NULL without memory. */
json_t *qmp_schema(const struct qmp *qmp);

#endif
