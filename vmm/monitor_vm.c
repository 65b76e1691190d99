/* SPDX-License-Identifier: MIT */
/* Commands and events of the machine's run state (QEMU's qapi/run-state.json, misc.json). */
#include <errno.h>

#include "vmm/arch.h"
#include "vmm/err.h"
#include "vmm/monitor_priv.h"
#include "vmm/util.h"

#define NO_ARGS(args, ret) ((void)(args), (void)(ret))

/* The reply comes when the machine stands, and so after STOP. */
static int stop(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	struct monitor *m = monitor_of(call);

	NO_ARGS(args, ret);
	monitor_dump_stay(m);
	if (m->vm->state != VM_RUNNING)
		return 0;
	if (m->n_waiting == MONITOR_MAX_WAITING)
		return err_set(err, -EBUSY, "the machine is being stopped already");
	vm_request_for(m->vm, VM_REQUEST_PAUSE, VM_CAUSE_HOST_QUIT, 0);
	m->waiting[m->n_waiting++] = call;
	return QMP_LATER;
}

static int cont(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	struct monitor *m = monitor_of(call);

	NO_ARGS(args, ret);
	if (monitor_dump_active(m))
		return err_set(err, -EBUSY, "There is a dump in process, please wait.");
	if (vm_needs_reset(m->vm))
		return err_set(err, -EPERM, "the machine is off or has failed: it goes on only after a reset, system_reset");
	if (m->vm->state == VM_ENDED)
		return err_set(err, -EPERM, "the machine has ended");
	vm_resume(m->vm);
	return 0;
}

static int system_reset(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	struct monitor *m = monitor_of(call);

	NO_ARGS(args, ret);
	(void)err;
	vm_request_for(m->vm, VM_REQUEST_RESET, VM_CAUSE_HOST_RESET, 0);
	return 0;
}

static int system_powerdown(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	struct monitor *m = monitor_of(call);

	NO_ARGS(args, ret);
	(void)err;
	if (m->launch->machine)
		machine_power_button(m->launch->machine);
	qmp_event(m->qmp, "POWERDOWN", NULL);
	return 0;
}

static int quit(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	struct monitor *m = monitor_of(call);

	NO_ARGS(args, ret);
	(void)err;
	vm_request_for(m->vm, VM_REQUEST_EXIT, VM_CAUSE_HOST_QUIT, 0);
	return 0;
}

static int query_status(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const struct vm *vm = monitor_of(call)->vm;

	(void)args;
	return monitor_give(json_pack("{s:b,s:b,s:s}", "running", vm->state == VM_RUNNING, "singlestep", false, "status", monitor_run_state(vm)),
			    ret, err);
}

static int set_action(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	struct vm *vm = monitor_of(call)->vm;
	const char *reboot = json_string_value(json_object_get(args, "reboot"));
	const char *shutdown = json_string_value(json_object_get(args, "shutdown"));
	const char *panic = json_string_value(json_object_get(args, "panic"));
	const char *watchdog = json_string_value(json_object_get(args, "watchdog"));

	(void)ret;
	(void)err;
	if (reboot)
		atomic_store(&vm->reset_ends, *reboot == 's');
	if (shutdown)
		vm->shutdown_pauses = shutdown[1] == 'a';
	if (panic)
		atomic_store(&vm->tell.panic, monitor_guard_action(&monitor_panic_action, panic));
	if (watchdog)
		atomic_store(&vm->tell.watchdog, monitor_guard_action(&monitor_watchdog_action, watchdog));
	return 0;
}

static const char *const run_states[] = { "prelaunch", "running", "paused", "io-error", "watchdog", "guest-panicked", "shutdown",
					  "internal-error", NULL };
static const struct qmp_type run_state = { .name = "RunState", .meta = QMP_ENUM, .values = run_states };
static const struct qmp_type status_info = { .name = "StatusInfo", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "running", .type = &qmp_bool },
	{ .name = "singlestep", .type = &qmp_bool },
	{ .name = "status", .type = &run_state },
	{ 0 },
} };

static const char *const reboot_actions[] = { "reset", "shutdown", NULL };
static const char *const shutdown_actions[] = { "poweroff", "pause", NULL };
static const struct qmp_type reboot_action = { .name = "RebootAction", .meta = QMP_ENUM, .values = reboot_actions };
static const struct qmp_type shutdown_action = { .name = "ShutdownAction", .meta = QMP_ENUM, .values = shutdown_actions };
static const struct qmp_type set_action_args = { .name = "set-action-arg", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "reboot", .type = &reboot_action, .optional = true },
	{ .name = "shutdown", .type = &shutdown_action, .optional = true },
	{ .name = "panic", .type = &monitor_panic_action, .optional = true },
	{ .name = "watchdog", .type = &monitor_watchdog_action, .optional = true },
	{ 0 },
} };

const struct qmp_command monitor_vm_commands[] = {
	{ .name = "stop", .run = stop },
	{ .name = "cont", .run = cont },
	{ .name = "system_reset", .run = system_reset },
	{ .name = "system_powerdown", .run = system_powerdown },
	{ .name = "quit", .run = quit },
	{ .name = "query-status", .ret = &status_info, .run = query_status },
	{ .name = "set-action", .args = &set_action_args, .run = set_action },
	{ 0 },
};

static const char *const shutdown_causes[] = { "guest-shutdown", "guest-reset", "guest-panic", "host-error", "host-qmp-quit",
					       "host-qmp-system-reset", "host-signal", "host-ui", NULL };
static const struct qmp_type shutdown_cause = { .name = "ShutdownCause", .meta = QMP_ENUM, .values = shutdown_causes };
static const struct qmp_type cause_args = { .name = "SHUTDOWN-arg", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "guest", .type = &qmp_bool },
	{ .name = "reason", .type = &shutdown_cause },
	{ 0 },
} };

const struct qmp_event monitor_vm_events[] = {
	{ .name = "STOP" },
	{ .name = "RESUME" },
	{ .name = "RESET", .data = &cause_args },
	{ .name = "SHUTDOWN", .data = &cause_args },
	{ .name = "POWERDOWN" },
	{ 0 },
};
