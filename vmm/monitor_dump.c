/* SPDX-License-Identifier: MIT */
/*
 * dump-guest-memory and its like (QEMU's qapi/dump.json).
 *
 * Theory of operation
 *
 * A machine that runs is stopped first, as by `stop`, and goes on afterwards; its state in between is "paused". Registers are read when it
 * stands; memory is written by a thread of the loop's, since a client's pipe may be slow and other monitors must not wait. What would change
 * the guest meanwhile is refused (`cont`). A machine that ends gives the dump up.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/arch.h"
#include "vmm/dump.h"
#include "vmm/err.h"
#include "vmm/file_opener.h"
#include "vmm/monitor_priv.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

SYSCALL_RULES(
	{ CALL(openat), .threads = THREAD_MAIN, .needs = NEEDS_FILES }, /* file:PATH */
);

enum dump_status { DUMP_NONE, DUMP_ACTIVE, DUMP_COMPLETED, DUMP_FAILED };

struct monitor_dump {
	struct monitor *monitor;
	enum dump_status status;
	struct qmp_call *call; /* that waits for the end; NULL: the event tells of it */
	bool detached;
	bool waiting; /* for the machine to stand */
	bool resume;  /* it ran */
	struct dump dump;
	struct dump_notes notes;
	struct event_job job;
	struct err err; /* the thread's, or what came before it */
};

static json_t *result(const struct monitor_dump *d)
{
	static const char *const names[] = {
		[DUMP_NONE] = "none", [DUMP_ACTIVE] = "active", [DUMP_COMPLETED] = "completed", [DUMP_FAILED] = "failed",
	};

	return json_pack("{s:s,s:I,s:I}", "status", names[d->status], "completed", (json_int_t)atomic_load(&d->dump.completed), "total",
			 d->status == DUMP_NONE ? (json_int_t)0 : (json_int_t)dump_total(&d->dump));
}

/* ---- the end ---- */

static void tell(struct monitor_dump *d)
{
	struct qmp_call *call = d->call;
	json_t *data;

	d->call = NULL;
	if (call) {
		qmp_call_done(call, NULL, &d->err);
	} else if (d->detached) {
		data = json_pack("{s:o}", "result", result(d));
		if (data && d->err.code)
			json_object_set_new(data, "error", json_string(d->err.msg));
		qmp_event(d->monitor->qmp, "DUMP_COMPLETED", data);
	}
}

static void dump_done(void *opaque)
{
	struct monitor_dump *d = opaque;
	struct vm *vm = d->monitor->vm;

	if (close(d->dump.fd) < 0 && !d->err.code)
		err_set_errno(&d->err, -errno, "the dump cannot be written");
	d->dump.fd = -1;
	dump_notes_fini(&d->notes);
	d->status = d->err.code ? DUMP_FAILED : DUMP_COMPLETED;
	if (d->resume && vm->state == VM_PAUSED)
		vm_resume(vm);
	tell(d);
}

static void dump_job(void *opaque)
{
	struct monitor_dump *d = opaque;

	if (!d->err.code)
		dump_write(&d->dump, &d->err);
}

/* ---- the beginning ---- */

/* The machine stands. */
static void dump_begin(struct monitor_dump *d)
{
	struct vm *vm = d->monitor->vm;

	d->waiting = false;
	if (vm->state == VM_ENDED)
		err_set(&d->err, -EPERM, "the machine has ended");
	for (unsigned i = 0; i < vm->n_vcpus && !d->err.code; i++)
		arch_vcpu_core_notes(&vm->vcpus[i], &d->notes, &d->err);
	d->job = (struct event_job){ .run = dump_job, .done = dump_done, .opaque = d };
	eventloop_offload(d->monitor->launch->loop, &d->job);
}

void monitor_dump_stopped(struct monitor *m)
{
	if (m->dump->waiting)
		dump_begin(m->dump);
}

void monitor_dump_stay(struct monitor *m)
{
	m->dump->resume = false;
}

bool monitor_dump_active(const struct monitor *m)
{
	return m->dump->status == DUMP_ACTIVE;
}

/* file:PATH or fd:NAME, NAME given with getfd. A descriptor, or -errno with `err`. */
static int open_target(struct monitor *m, const char *protocol, struct err *err)
{
	int fd;

	if (!strncmp(protocol, "fd:", 3)) {
		fd = fdsets_take(&m->launch->fds, protocol + 3);
		return fd >= 0 ? fd : err_set(err, -ENOENT, "there is no descriptor named '%.64s'; pass it with getfd", protocol + 3);
	}
	if (strncmp(protocol, "file:", 5))
		return err_set(err, -EINVAL, "parameter 'protocol' is file:PATH, or fd:NAME of a descriptor passed with getfd");
	fd = open(protocol + 5, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd >= 0)
		return fd;
	err_set_errno(err, -errno, "cannot make %.200s", protocol + 5);
	return file_opener_explain(m->launch->cfg->sandbox.on, err);
}

static int check_args(const struct monitor_dump *d, const json_t *args, struct err *err)
{
	const json_t *begin = json_object_get(args, "begin"), *length = json_object_get(args, "length");
	const char *format = json_string_value(json_object_get(args, "format"));

	if (d->status == DUMP_ACTIVE)
		return err_set(err, -EBUSY, "There is a dump in process, please wait.");
	if (json_is_true(json_object_get(args, "paging")))
		return err_set(err, -ENOTSUP, "paging=true is not available: addresses in the dump are physical; crash and gdb find the kernel's");
	if (format && strcmp(format, "elf"))
		return err_set(err, -ENOTSUP, "format '%s' is not available; leave it out, for elf", format);
	if (!begin != !length)
		return err_set(err, -EINVAL, "parameters 'begin' and 'length' go together");
	if (begin && (json_integer_value(begin) < 0 || json_integer_value(length) <= 0))
		return err_set(err, -EINVAL, "parameters 'begin' and 'length' are a range of memory, which is not empty");
	return 0;
}

static int dump_guest_memory(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	struct monitor *m = monitor_of(call);
	struct monitor_dump *d = m->dump;
	struct dump dump = {
		.mem = m->vm->mem,
		.notes = &d->notes,
		.begin = (uint64_t)json_integer_value(json_object_get(args, "begin")),
		.length = (uint64_t)json_integer_value(json_object_get(args, "length")),
	};

	(void)ret;
	if (check_args(d, args, err) < 0)
		return err->code;
	if (!m->launch->machine)
		return err_set(err, -EINVAL, "the machine none has no memory");
	if (!dump_total(&dump))
		return err_set(err, -EINVAL, "there is no memory in the range that 'begin' and 'length' name");
	dump.fd = open_target(m, json_string_value(json_object_get(args, "protocol")), err);
	if (dump.fd < 0)
		return err->code;
	*d = (struct monitor_dump){ .monitor = m, .status = DUMP_ACTIVE, .detached = json_is_true(json_object_get(args, "detach")) };
	d->dump.mem = dump.mem;
	d->dump.notes = &d->notes;
	d->dump.begin = dump.begin;
	d->dump.length = dump.length;
	d->dump.fd = dump.fd;
	d->call = d->detached ? NULL : call;
	d->resume = d->waiting = m->vm->state == VM_RUNNING;
	if (d->waiting)
		vm_request_for(m->vm, VM_REQUEST_PAUSE, VM_CAUSE_HOST_QUIT, 0);
	else
		dump_begin(d);
	return d->detached ? 0 : QMP_LATER;
}

static int query_dump(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	(void)args;
	return monitor_give(result(monitor_of(call)->dump), ret, err);
}

static int query_capability(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	(void)call;
	(void)args;
	return monitor_give(json_pack("{s:[s]}", "formats", "elf"), ret, err);
}

/* ---- the whole ---- */

int monitor_dump_init(struct monitor *m, struct err *err)
{
	m->dump = calloc(1, sizeof(*m->dump));
	if (!m->dump)
		return err_set(err, -ENOMEM, "no memory for a monitor");
	m->dump->monitor = m;
	m->dump->dump.fd = -1;
	return 0;
}

void monitor_dump_fini(struct monitor *m)
{
	struct monitor_dump *d = m->dump;

	if (!d)
		return;
	d->call = NULL; /* nobody is told any more */
	d->detached = d->resume = false;
	atomic_store(&d->dump.cancel, true);
	if (d->waiting) {
		err_set(&d->err, -ECANCELED, "the dump was given up");
		dump_done(d);
	}
	while (d->status == DUMP_ACTIVE)
		eventloop_offload_drain(m->launch->loop);
	free(d);
	m->dump = NULL;
}

static const char *const statuses[] = { "none", "active", "completed", "failed", NULL };
static const char *const formats[] = { "elf", "kdump-zlib", "kdump-lzo", "kdump-snappy", "win-dmp", NULL };
static const struct qmp_type DumpStatus = { .name = "DumpStatus", .meta = QMP_ENUM, .values = statuses };
static const struct qmp_type DumpFormat = { .name = "DumpGuestMemoryFormat", .meta = QMP_ENUM, .values = formats };
MONITOR_ARRAY(format_list, DumpFormat);
MONITOR_OBJECT(capability, "DumpGuestMemoryCapability", { .name = "formats", .type = &format_list });
MONITOR_OBJECT(query_result, "DumpQueryResult", { .name = "status", .type = &DumpStatus }, { .name = "completed", .type = &qmp_int },
	       { .name = "total", .type = &qmp_int });
MONITOR_OBJECT(dump_args, "dump-guest-memory-arg", { .name = "paging", .type = &qmp_bool }, { .name = "protocol", .type = &qmp_str },
	       { .name = "detach", .type = &qmp_bool, .optional = true }, { .name = "begin", .type = &qmp_int, .optional = true },
	       { .name = "length", .type = &qmp_int, .optional = true }, { .name = "format", .type = &DumpFormat, .optional = true });
MONITOR_OBJECT(completed_data, "DUMP_COMPLETED-arg", { .name = "result", .type = &query_result },
	       { .name = "error", .type = &qmp_str, .optional = true });

const struct qmp_command monitor_dump_commands[] = {
	{ .name = "dump-guest-memory", .args = &dump_args, .run = dump_guest_memory },
	{ .name = "query-dump", .ret = &query_result, .run = query_dump },
	{ .name = "query-dump-guest-memory-capability", .ret = &capability, .run = query_capability },
	{ 0 },
};

const struct qmp_event monitor_dump_events[] = {
	{ .name = "DUMP_COMPLETED", .data = &completed_data },
	{ 0 },
};
