/* SPDX-License-Identifier: MIT */
/*
 * QMP, QEMU's control protocol (docs/interop/qmp-spec.rst), the machine apart: monitors over character devices, commands and events described by
 * const tables, from which the dispatcher, query-commands and query-qmp-schema come.
 *
 * A monitor is a chardev's front end. It greets whoever connects, and takes one command after the other: the next is looked at when the
 * reply to the last is on its way. A command may reply later. Lines end with CR LF, as libvirt needs them.
 *
 * A peer is an attacker: requests are bounded (vmm/json_stream.h) and checked against the command's types before it runs; while a peer
 * does not read, nothing is read from it, and of events no more than QMP_EVENTS_MAX bytes are kept for it; then they are dropped,
 * and counted in one line of the log. The guest never waits for any of it.
 *
 * Thread: the main loop's.
 */
#ifndef VMM_QMP_H
#define VMM_QMP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chardev;
struct err;
struct eventloop;
struct qmp;
struct qmp_call;
struct qmp_monitor;

#define QMP_EVENTS_MAX (256u << 10)
#define QMP_MAX_MONITORS 8

/* ---- types, as query-qmp-schema tells of them (docs/devel/qapi-code-gen.rst, "Client JSON Protocol introspection") ---- */

enum qmp_meta { QMP_BUILTIN, QMP_ENUM, QMP_OBJECT, QMP_ARRAY };
enum qmp_json { QMP_STRING, QMP_INT, QMP_NUMBER, QMP_BOOLEAN, QMP_NULL, QMP_VALUE };

struct qmp_type;

struct qmp_member {
	const char *name;
	const struct qmp_type *type;
	bool optional;
	const char *const *features; /* NULL: none; ends with NULL */
};

struct qmp_type {
	const char *name;
	union {
		const struct qmp_member *members; /* QMP_OBJECT; ends with a row without a name */
		const char *const *values;        /* QMP_ENUM; ends with NULL */
		const struct qmp_type *element;   /* QMP_ARRAY */
	};
	enum qmp_meta meta : 8;
	enum qmp_json json : 8; /* QMP_BUILTIN */
	bool open;              /* QMP_OBJECT: more members may come, which the command checks */
	uint16_t max;           /* QMP_ARRAY, as an argument: how many at most; 0: QMP_ARRAY_MAX */
};
#define QMP_ARRAY_MAX 256

extern const struct qmp_type qmp_str, qmp_int, qmp_number, qmp_bool, qmp_any, qmp_null;
/* Without members: arguments of a command that has none, and the answer of one that says nothing. */
extern const struct qmp_type qmp_empty;

/* ---- commands ---- */

#define QMP_LATER 1 /* of `run`: the reply comes by qmp_call_done */

struct qmp_command {
	const char *name;
	const struct qmp_type *args; /* NULL: qmp_empty */
	const struct qmp_type *ret;  /* NULL: qmp_empty */
	const char *const *features; /* NULL: none; ends with NULL */
	bool human;                  /* left out of the lists: for people only */
	/*
	 * `args` has passed the check of its types and is borrowed; an object, empty when none were given. 0 with the reply in `*ret` (a new
	 * reference; NULL: an empty object), -errno with `err`, or QMP_LATER. The class of an error follows from its code: see qmp_error_class.
	 */
	int (*run)(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err);
};

struct qmp_event {
	const char *name;
	const struct qmp_type *data; /* NULL: none */
};

/* What a program has of both. Ends of arrays: a row without a name. */
struct qmp_table {
	const struct qmp_command *commands;
	const struct qmp_event *events;
};

/* -ENODEV: DeviceNotFound; -ENXIO: DeviceNotActive; -ENOSYS: CommandNotFound; else GenericError. */
const char *qmp_error_class(int code);

/* ---- the whole ---- */

/* `tables` (n of them) are borrowed; `opaque` is for the commands (qmp_opaque). NULL with `err`. */
struct qmp *qmp_create(struct eventloop *loop, const struct qmp_table *tables, size_t n, void *opaque, struct err *err);
/* Ends the monitors; their chardevs are the caller's. A call that has not replied must not do so any more. NULL is fine. */
void qmp_destroy(struct qmp *qmp);
void *qmp_opaque(const struct qmp_call *call);
struct qmp *qmp_of(const struct qmp_call *call);
/* The monitor that asks, NULL once its peer is gone: for descriptors that came with the command. */
struct qmp_monitor *qmp_monitor_of(const struct qmp_call *call);

/* Puts a monitor in front of `chr`, borrowed until qmp_destroy. `pretty`: replies over several lines. 0 or -errno with `err`. */
int qmp_add_monitor(struct qmp *qmp, struct chardev *chr, bool pretty, struct err *err);
struct chardev *qmp_monitor_chardev(const struct qmp_monitor *monitor);

/*
 * Replies to a command that returned QMP_LATER: with `err->code` 0 and `ret` (the reference is taken over; NULL: an empty object), or
 * with the error. Once. Also when the peer is gone: then it goes nowhere.
 */
void qmp_call_done(struct qmp_call *call, json_t *ret, const struct err *err);

/* Tells every monitor that is past its negotiation. `name` is in the tables; `data` is taken over, NULL without. */
void qmp_event(struct qmp *qmp, const char *name, json_t *data);

/* Runs a command from inside (transaction, the human monitor): as `run`, after the same checks; never QMP_LATER's reply to a peer. */
int qmp_run(struct qmp_call *call, const char *name, const json_t *args, json_t **ret, struct err *err);
/* The same without a call; not for commands that may reply later. */
int qmp_do(struct qmp *qmp, const char *name, const json_t *args, json_t **ret, struct err *err);

#endif
