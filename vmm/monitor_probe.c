/* SPDX-License-Identifier: MIT */
/*
 * What Kite can do, whatever the machine: what a management program asks before it starts one (QEMU's qapi/machine.json, misc.json,
 * tpm.json, migration.json, job.json).
 */
#include <errno.h>
#include <string.h>

#include "vmm/cli_list.h"
#include "vmm/cli_props.h"
#include "vmm/err.h"
#include "vmm/monitor_priv.h"
#include "vmm/util.h"

static const struct {
	const char *name, *alias;
	unsigned max_cpus;
	bool is_default;
} machines[] = {
	{ MONITOR_PC_NAME, "pc", CONFIG_MAX_CPUS, true },
	{ "microvm", NULL, CONFIG_MAX_CPUS, false },
	{ "none", NULL, 1, false },
};

static int query_machines(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	json_t *list = json_array();

	(void)call;
	(void)args;
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		json_t *m = json_pack("{s:s,s:i,s:b,s:b,s:b,s:b}", "name", machines[i].name, "cpu-max", (int)machines[i].max_cpus,
				      "hotpluggable-cpus", false, "numa-mem-supported", false, "deprecated", false, "acpi", i < 2);

		if (m && machines[i].alias)
			json_object_set_new(m, "alias", json_string(machines[i].alias));
		if (m && machines[i].is_default)
			json_object_set_new(m, "is-default", json_true());
		json_array_append_new(list, m);
	}
	return monitor_give(list, ret, err);
}

/* Of what there is nothing: TPMs, jobs. */
static int query_nothing(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	(void)call;
	(void)args;
	return monitor_give(json_array(), ret, err);
}

static json_t *parameters_of(const struct prop_row *row)
{
	json_t *list = json_array();

	for (; row && row->key; row++) {
		const char *type = row->type == PROP_BOOL || row->type == PROP_SWITCH			       ? "boolean" :
				   row->type == PROP_UNSIGNED || row->type == PROP_U16 || row->type == PROP_U64 ? "number" :
				   row->type == PROP_SIZE						       ? "size" :
														 "string";

		json_array_append_new(list, json_pack("{s:s,s:s}", "name", row->key, "type", type));
	}
	return list;
}

static int query_command_line_options(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const char *only = json_string_value(json_object_get(args, "option"));
	json_t *list = json_array();
	struct cli_listed o;

	(void)call;
	for (size_t i = 0; cli_option_at(i, &o); i++)
		if (o.takes_arg && (!only || !strcmp(only, o.name)))
			json_array_append_new(list, json_pack("{s:s,s:o}", "option", o.name, "parameters", parameters_of(o.rows)));
	if (only && json_array_size(list) == 0) {
		json_decref(list);
		return err_set(err, -EINVAL, "invalid option name '%.64s'", only);
	}
	return monitor_give(list, ret, err);
}

static int query_current_machine(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	(void)call;
	(void)args;
	return monitor_give(json_pack("{s:b}", "wakeup-suspend-support", false), ret, err);
}

static int query_migrate_capabilities(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	(void)args;
	return monitor_give(json_pack("[{s:s,s:b}]", "capability", "events", "state", monitor_of(call)->migration_events), ret, err);
}

static int migrate_set_capabilities(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const json_t *list = json_object_get(args, "capabilities");

	(void)ret;
	(void)err;
	for (size_t i = 0; i < json_array_size(list); i++)
		monitor_of(call)->migration_events = json_is_true(json_object_get(json_array_get(list, i), "state"));
	return 0;
}

MONITOR_OBJECT(MachineInfo, "MachineInfo", { .name = "name", .type = &qmp_str }, { .name = "alias", .type = &qmp_str, .optional = true },
	       { .name = "is-default", .type = &qmp_bool, .optional = true }, { .name = "cpu-max", .type = &qmp_int },
	       { .name = "hotpluggable-cpus", .type = &qmp_bool }, { .name = "numa-mem-supported", .type = &qmp_bool },
	       { .name = "deprecated", .type = &qmp_bool }, { .name = "acpi", .type = &qmp_bool });
MONITOR_OBJECT(CommandLineParameterInfo, "CommandLineParameterInfo", { .name = "name", .type = &qmp_str }, { .name = "type", .type = &qmp_str });
MONITOR_ARRAY(parameter_list, CommandLineParameterInfo);
MONITOR_OBJECT(CommandLineOptionInfo, "CommandLineOptionInfo", { .name = "option", .type = &qmp_str },
	       { .name = "parameters", .type = &parameter_list });
MONITOR_OBJECT(option_args, "query-command-line-options-arg", { .name = "option", .type = &qmp_str, .optional = true });
MONITOR_OBJECT(CurrentMachineParams, "CurrentMachineParams", { .name = "wakeup-suspend-support", .type = &qmp_bool });
MONITOR_OBJECT(JobInfo, "JobInfo", { .name = "id", .type = &qmp_str });
MONITOR_ARRAY(machine_list, MachineInfo);
MONITOR_ARRAY(option_list, CommandLineOptionInfo);
MONITOR_ARRAY(job_list, JobInfo);
MONITOR_ARRAY(name_list, qmp_str);

/* No more than these are capabilities of Kite's, so the check of the types refuses the others by name. */
static const char *const capability_names[] = { "events", NULL };
static const struct qmp_type MigrationCapability = { .name = "MigrationCapability", .meta = QMP_ENUM, .values = capability_names };
MONITOR_OBJECT(MigrationCapabilityStatus, "MigrationCapabilityStatus", { .name = "capability", .type = &MigrationCapability },
	       { .name = "state", .type = &qmp_bool });
MONITOR_ARRAY(capability_list, MigrationCapabilityStatus);
MONITOR_OBJECT(capability_args, "migrate-set-capabilities-arg", { .name = "capabilities", .type = &capability_list });

const struct qmp_command monitor_probe_commands[] = {
	{ .name = "query-machines", .ret = &machine_list, .run = query_machines },
	{ .name = "query-current-machine", .ret = &CurrentMachineParams, .run = query_current_machine },
	{ .name = "query-command-line-options", .args = &option_args, .ret = &option_list, .run = query_command_line_options },
	{ .name = "query-tpm-models", .ret = &name_list, .run = query_nothing },
	{ .name = "query-tpm-types", .ret = &name_list, .run = query_nothing },
	{ .name = "query-jobs", .ret = &job_list, .run = query_nothing },
	{ .name = "query-block-jobs", .ret = &job_list, .run = query_nothing },
	{ .name = "query-migrate-capabilities", .ret = &capability_list, .run = query_migrate_capabilities },
	{ .name = "migrate-set-capabilities", .args = &capability_args, .run = migrate_set_capabilities },
	{ 0 },
};
