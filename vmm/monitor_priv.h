/* SPDX-License-Identifier: MIT */
/* What the files of the monitor share. Included by vmm/monitor*.c only. */
#ifndef VMM_MONITOR_PRIV_H
#define VMM_MONITOR_PRIV_H

#include "vmm/launch_priv.h"
#include "vmm/monitor.h"
#include "vmm/qmp.h"
#include "vmm/vm.h"

/* The pc by its versioned name, which QEMU of the version that QMP tells of has too. */
#define MONITOR_PC_NAME "pc-i440fx-7.2"

#define MONITOR_MAX_WAITING QMP_MAX_MONITORS /* a monitor waits for one reply at a time */

struct monitor_dump;
struct monitor_line;

struct monitor {
	struct launch *launch;
	struct vm *vm;
	struct qmp *qmp;
	struct qmp_call *waiting[MONITOR_MAX_WAITING]; /* `stop`, until the machine stands */
	unsigned n_waiting;
	struct {
		struct event_work work;
		struct event_timer timer;
		int64_t next_ns; /* BALLOON_CHANGE may come again */
	} balloon;
	struct monitor_dump *dump;
	struct monitor_line *lines[CONFIG_MAX_MONITORS]; /* for people */
	size_t n_lines;
	bool migration_events; /* migrate-set-capabilities: kept, for nothing migrates */
};

/* Of a command: its monitor. */
static inline struct monitor *monitor_of(const struct qmp_call *call)
{
	return qmp_opaque(call);
}

/* Types of replies and arguments: an object with these members, an array of a type. */
#define MONITOR_OBJECT(c_name, type_name, ...)                                                                            \
	static const struct qmp_type c_name = { .name = type_name, .meta = QMP_OBJECT,                                     \
						.members = (const struct qmp_member[]){ __VA_ARGS__, { 0 } } }
#define MONITOR_ARRAY(c_name, of) static const struct qmp_type c_name = { .name = #of "List", .meta = QMP_ARRAY, .element = &of }

/* Gives a new value as a command's reply: 0, or -ENOMEM with `err` when there is none. */
int monitor_give(json_t *value, json_t **ret, struct err *err);
/* QEMU's name of the state the machine is in (qapi/run-state.json, RunState). */
const char *monitor_run_state(const struct vm *vm);

/* monitor_vm.c: run state. */
extern const struct qmp_command monitor_vm_commands[];
extern const struct qmp_event monitor_vm_events[];
/* monitor_query.c: what the machine is. */
extern const struct qmp_command monitor_query_commands[];
/* monitor_balloon.c */
extern const struct qmp_command monitor_balloon_commands[];
extern const struct qmp_event monitor_balloon_events[];
void monitor_balloon_init(struct monitor *m);
void monitor_balloon_fini(struct monitor *m);
/* Its properties guest-stats and guest-stats-polling-interval, for qom-list, qom-get and qom-set with `args`. */
void monitor_balloon_list(json_t *list);
/* Whether it is one of them, with its value in `*ret`: a new reference, NULL without memory. */
bool monitor_balloon_get(struct monitor *m, const json_t *args, json_t **ret);
/* Whether it is one that can be set; and sets it, 0 or -EINVAL with `err`. */
bool monitor_balloon_sets(const json_t *args);
int monitor_balloon_set(struct monitor *m, const json_t *args, struct err *err);
/* monitor_dump.c */
extern const struct qmp_command monitor_dump_commands[];
extern const struct qmp_event monitor_dump_events[];
int monitor_dump_init(struct monitor *m, struct err *err);
/* Gives a dump up that is under way. After the machine can no longer stop. */
void monitor_dump_fini(struct monitor *m);
/* The machine does not run any more. */
void monitor_dump_stopped(struct monitor *m);
/* Somebody wants the machine to stand also when the dump is done. */
void monitor_dump_stay(struct monitor *m);
/* One is under way: the machine must not go on. */
bool monitor_dump_active(const struct monitor *m);
/* monitor_guard.c: watchdogs, and guests that have crashed. */
extern const struct qmp_command monitor_guard_commands[];
extern const struct qmp_event monitor_guard_events[];
extern const struct qmp_type monitor_watchdog_action, monitor_panic_action;
/* enum watchdog_action, enum panic_action of a name that the type's check has let through. */
int monitor_guard_action(const struct qmp_type *type, const char *name);
/* As vm_observer_ops. */
void monitor_guard_news(void *opaque, enum machine_news news, int action);
/* monitor_human.c: commands for people. */
extern const struct qmp_command monitor_human_commands[];
/* Runs a line; what it says, to be freed by the caller. NULL without memory. */
char *monitor_human_run(struct monitor *m, const char *line);

/* monitor_line.c: a front end for people on `chr`, borrowed. NULL with `err`. */
struct monitor_line *monitor_line_create(struct monitor *m, struct chardev *chr, struct err *err);
void monitor_line_destroy(struct monitor_line *line);

/* monitor_fds.c: descriptors that come with commands. */
extern const struct qmp_command monitor_fd_commands[];
/* monitor_block.c, monitor_device.c: disks; network cards, threads, interrupts. */
extern const struct qmp_command monitor_block_commands[];
extern const struct qmp_command monitor_device_commands[];
/* Writes the changes of a disk, or with "all" of all, into the image below. 0 or -errno with `err`. */
int monitor_block_commit(struct monitor *m, const char *name, struct err *err);
/* monitor_pci.c: what is on the PCI bus. */
extern const struct qmp_command monitor_pci_commands[];
/* monitor_probe.c: what Kite can do, machine or not. */
extern const struct qmp_command monitor_probe_commands[];
/* monitor_qom.c: types, objects and their properties. */
extern const struct qmp_command monitor_qom_commands[];

#endif
