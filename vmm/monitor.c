/* SPDX-License-Identifier: MIT */
#include "vmm/monitor_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/arch.h"
#include "vmm/err.h"
#include "vmm/util.h"

static const struct qmp_table tables[] = {
	{ .commands = monitor_vm_commands, .events = monitor_vm_events },
	{ .commands = monitor_query_commands },
	{ .commands = monitor_balloon_commands, .events = monitor_balloon_events },
	{ .commands = monitor_guard_commands, .events = monitor_guard_events },
	{ .commands = monitor_dump_commands, .events = monitor_dump_events },
	{ .commands = monitor_fd_commands },
	{ .commands = monitor_human_commands },
	{ .commands = monitor_block_commands },
	{ .commands = monitor_device_commands },
	{ .commands = monitor_pci_commands },
	{ .commands = monitor_probe_commands },
	{ .commands = monitor_qom_commands },
};

int monitor_give(json_t *value, json_t **ret, struct err *err)
{
	*ret = value;
	return value ? 0 : err_set(err, -ENOMEM, "no memory for the reply");
}

const char *monitor_run_state(const struct vm *vm)
{
	static const char *const names[] = {
		[VM_CREATED] = "prelaunch", [VM_RUNNING] = "running", [VM_PAUSED] = "paused", [VM_IO_ERROR] = "io-error",
		[VM_WATCHDOG] = "watchdog", [VM_PANICKED] = "guest-panicked", [VM_SHUTDOWN] = "shutdown",
		[VM_INTERNAL_ERROR] = "internal-error", [VM_ENDED] = "shutdown",
	};

	return names[vm->state];
}

/* ---- what the machine does by itself, or was asked to, as events ---- */

static void on_state(void *opaque, enum vm_state state, enum vm_state before)
{
	struct monitor *m = opaque;
	const struct err ok = ERR_INIT;

	if (state == VM_RUNNING)
		qmp_event(m->qmp, "RESUME", NULL);
	else if (before == VM_RUNNING)
		qmp_event(m->qmp, "STOP", NULL);
	if (state != VM_RUNNING)
		monitor_dump_stopped(m);
	while (state != VM_RUNNING && m->n_waiting > 0)
		qmp_call_done(m->waiting[--m->n_waiting], NULL, &ok);
}

static json_t *cause_data(enum vm_cause cause)
{
	static const struct {
		bool guest;
		const char *reason;
	} rows[] = {
		[VM_CAUSE_GUEST_SHUTDOWN] = { true, "guest-shutdown" }, [VM_CAUSE_GUEST_RESET] = { true, "guest-reset" },
		[VM_CAUSE_GUEST_PANIC] = { true, "guest-panic" },       [VM_CAUSE_HOST_ERROR] = { false, "host-error" },
		[VM_CAUSE_HOST_QUIT] = { false, "host-qmp-quit" },      [VM_CAUSE_HOST_RESET] = { false, "host-qmp-system-reset" },
		[VM_CAUSE_HOST_SIGNAL] = { false, "host-signal" },      [VM_CAUSE_HOST_UI] = { false, "host-ui" },
	};

	return json_pack("{s:b,s:s}", "guest", rows[cause].guest, "reason", rows[cause].reason);
}

static void on_reset(void *opaque, enum vm_cause cause)
{
	struct monitor *m = opaque;

	qmp_event(m->qmp, "RESET", cause_data(cause));
}

static void on_shutdown(void *opaque, enum vm_cause cause)
{
	struct monitor *m = opaque;

	qmp_event(m->qmp, "SHUTDOWN", cause_data(cause));
}

static const struct vm_observer_ops observer_ops = { .state = on_state, .reset = on_reset, .shutdown = on_shutdown, .news = monitor_guard_news };

/* ---- the whole ---- */

struct monitor *monitor_create(struct launch *launch, struct err *err)
{
	struct monitor *m = calloc(1, sizeof(*m));

	if (!m) {
		err_set(err, -ENOMEM, "no memory for a monitor");
		return NULL;
	}
	m->launch = launch;
	m->vm = launch->vm;
	m->qmp = qmp_create(launch->loop, tables, ARRAY_SIZE(tables), m, err);
	if (!m->qmp || monitor_dump_init(m, err) < 0) {
		qmp_destroy(m->qmp);
		free(m);
		return NULL;
	}
	vm_add_observer(m->vm, &observer_ops, m);
	monitor_balloon_init(m);
	return m;
}

int monitor_add_qmp(struct monitor *m, struct chardev *chr, bool pretty, struct err *err)
{
	return qmp_add_monitor(m->qmp, chr, pretty, err);
}

int monitor_add_human(struct monitor *m, struct chardev *chr, struct err *err)
{
	if (m->n_lines == ARRAY_SIZE(m->lines))
		return err_set(err, -ENOSPC, "at most %zu monitors are possible", ARRAY_SIZE(m->lines));
	m->lines[m->n_lines] = monitor_line_create(m, chr, err);
	if (!m->lines[m->n_lines])
		return err->code;
	m->n_lines++;
	return 0;
}

void monitor_destroy(struct monitor *m)
{
	if (!m)
		return;
	monitor_balloon_fini(m);
	vm_remove_observer(m->vm, m);
	monitor_dump_fini(m);
	while (m->n_lines > 0)
		monitor_line_destroy(m->lines[--m->n_lines]);
	qmp_destroy(m->qmp);
	free(m);
}
