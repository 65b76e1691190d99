/* SPDX-License-Identifier: MIT */
/* Watchdogs and guests that have crashed, as commands and events (QEMU's qapi/run-state.json). */
#include <string.h>

#include "vmm/monitor_priv.h"
#include "vmm/util.h"

const struct qmp_type monitor_watchdog_action = { .name = "WatchdogAction", .meta = QMP_ENUM, .values = config_watchdog_actions };
const struct qmp_type monitor_panic_action = { .name = "PanicAction", .meta = QMP_ENUM, .values = config_panic_actions };

int monitor_guard_action(const struct qmp_type *type, const char *name)
{
	int i = 0;

	while (type->values[i + 1] && strcmp(type->values[i], name))
		i++;
	return i;
}

static int watchdog_set_action(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const char *name = json_string_value(json_object_get(args, "action"));

	(void)ret;
	(void)err;
	atomic_store(&monitor_of(call)->vm->tell.watchdog, monitor_guard_action(&monitor_watchdog_action, name));
	return 0;
}

/* What becomes of the machine, by GuestPanicAction. */
static const char *panic_outcome(const struct vm *vm, enum panic_action action)
{
	switch (action) {
	case PANIC_PAUSE:
		return "pause";
	case PANIC_SHUTDOWN:
		return vm->shutdown_pauses ? "pause" : "poweroff";
	case PANIC_EXIT_FAILURE:
		return "poweroff";
	case PANIC_NONE:
		break;
	}
	return "run";
}

void monitor_guard_news(void *opaque, enum machine_news news, int action)
{
	struct monitor *m = opaque;

	switch (news) {
	case MACHINE_WATCHDOG:
		qmp_event(m->qmp, "WATCHDOG", json_pack("{s:s}", "action", config_watchdog_actions[action]));
		break;
	case MACHINE_PANICKED:
		qmp_event(m->qmp, "GUEST_PANICKED", json_pack("{s:s}", "action", panic_outcome(m->vm, (enum panic_action)action)));
		break;
	case MACHINE_CRASHLOADED:
		qmp_event(m->qmp, "GUEST_CRASHLOADED", json_pack("{s:s}", "action", "run"));
		break;
	case MACHINE_NEWS:
		break;
	}
}

static const struct qmp_type watchdog_args = { .name = "watchdog-set-action-arg", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "action", .type = &monitor_watchdog_action },
	{ 0 },
} };

const struct qmp_command monitor_guard_commands[] = {
	{ .name = "watchdog-set-action", .args = &watchdog_args, .run = watchdog_set_action },
	{ 0 },
};

static const char *const panic_outcomes[] = { "pause", "poweroff", "run", NULL };
static const struct qmp_type guest_panic_action = { .name = "GuestPanicAction", .meta = QMP_ENUM, .values = panic_outcomes };
static const struct qmp_type watchdog_data = { .name = "WATCHDOG-arg", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "action", .type = &monitor_watchdog_action },
	{ 0 },
} };
static const struct qmp_type panic_data = { .name = "GUEST_PANICKED-arg", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "action", .type = &guest_panic_action },
	{ 0 },
} };

const struct qmp_event monitor_guard_events[] = {
	{ .name = "WATCHDOG", .data = &watchdog_data },
	{ .name = "GUEST_PANICKED", .data = &panic_data },
	{ .name = "GUEST_CRASHLOADED", .data = &panic_data },
	{ 0 },
};
