/* SPDX-License-Identifier: MIT */
/* The commands of the protocol itself: negotiation, and what there is. */
#include <errno.h>
#include <stdio.h>

#include "vmm/err.h"
#include "vmm/qmp_priv.h"
#include "vmm/util.h"

/* QEMU's, which tells clients what to expect: libvirt asks for 4.2 at least, since 12.4 for 7.2. */
#define VERSION_MAJOR 7
#define VERSION_MINOR 2
#define VERSION_MICRO 0

const struct qmp_type qmp_str = { .name = "str", .meta = QMP_BUILTIN, .json = QMP_STRING };
const struct qmp_type qmp_int = { .name = "int", .meta = QMP_BUILTIN, .json = QMP_INT };
const struct qmp_type qmp_number = { .name = "number", .meta = QMP_BUILTIN, .json = QMP_NUMBER };
const struct qmp_type qmp_bool = { .name = "bool", .meta = QMP_BUILTIN, .json = QMP_BOOLEAN };
const struct qmp_type qmp_any = { .name = "any", .meta = QMP_BUILTIN, .json = QMP_VALUE };
const struct qmp_type qmp_null = { .name = "null", .meta = QMP_BUILTIN, .json = QMP_NULL };
const struct qmp_type qmp_empty = { .name = "q_empty", .meta = QMP_OBJECT };

json_t *qmp_version(void)
{
	return json_pack("{s:{s:i,s:i,s:i},s:s}", "qemu", "major", VERSION_MAJOR, "minor", VERSION_MINOR, "micro", VERSION_MICRO,
			 "package", "Kite " KITE_VERSION);
}

static int give(json_t *value, json_t **ret, struct err *err)
{
	*ret = value;
	return value ? 0 : err_set(err, -ENOMEM, "no memory for the reply");
}

static int capabilities(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const json_t *enable = json_object_get(args, "enable");

	(void)ret;
	if (!call->monitor || call->monitor->negotiated)
		return err_set(err, -ENOSYS, "capabilities negotiation is already complete, command ignored");
	if (json_array_size(enable) > 0)
		return err_set(err, -EINVAL, "capability '%.64s' is not available: Kite offers none", json_string_value(json_array_get(enable, 0)));
	call->monitor->negotiated = true;
	return 0;
}

static int query_version(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	(void)call;
	(void)args;
	return give(qmp_version(), ret, err);
}

static int list_commands(const struct qmp_command *commands, json_t *list)
{
	for (const struct qmp_command *c = commands; c && c->name; c++)
		if (!c->human && json_array_append_new(list, json_pack("{s:s}", "name", c->name)) < 0)
			return -ENOMEM;
	return 0;
}

static int query_commands(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	json_t *list = json_array();
	int r = list ? list_commands(qmp_core_commands, list) : -ENOMEM;

	(void)args;
	for (size_t i = 0; i < call->qmp->n_tables && r == 0; i++)
		r = list_commands(call->qmp->tables[i].commands, list);
	if (r < 0) {
		json_decref(list);
		list = NULL;
	}
	return give(list, ret, err);
}

static int query_qmp_schema(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	(void)args;
	return give(qmp_schema(call->qmp), ret, err);
}

static const char *const capability_values[] = { "oob", NULL };
static const struct qmp_type capability = { .name = "QMPCapability", .meta = QMP_ENUM, .values = capability_values };
static const struct qmp_type capability_list = { .name = "QMPCapabilityList", .meta = QMP_ARRAY, .element = &capability };
static const struct qmp_type capabilities_args = { .name = "qmp_capabilities-arg", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "enable", .type = &capability_list, .optional = true },
	{ 0 },
} };

static const struct qmp_type version_triple = { .name = "VersionTriple", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "major", .type = &qmp_int },
	{ .name = "minor", .type = &qmp_int },
	{ .name = "micro", .type = &qmp_int },
	{ 0 },
} };
static const struct qmp_type version_info = { .name = "VersionInfo", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "qemu", .type = &version_triple },
	{ .name = "package", .type = &qmp_str },
	{ 0 },
} };

static const struct qmp_type command_info = { .name = "CommandInfo", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "name", .type = &qmp_str },
	{ 0 },
} };
static const struct qmp_type command_info_list = { .name = "CommandInfoList", .meta = QMP_ARRAY, .element = &command_info };

/* Described as open: what describes itself in itself needs no more. */
static const struct qmp_type schema_info = { .name = "SchemaInfo", .meta = QMP_OBJECT, .open = true, .members = (const struct qmp_member[]){
	{ .name = "name", .type = &qmp_str },
	{ .name = "meta-type", .type = &qmp_str },
	{ 0 },
} };
static const struct qmp_type schema_info_list = { .name = "SchemaInfoList", .meta = QMP_ARRAY, .element = &schema_info };

const struct qmp_command qmp_core_commands[] = {
	{ .name = "qmp_capabilities", .args = &capabilities_args, .run = capabilities },
	{ .name = "query-version", .ret = &version_info, .run = query_version },
	{ .name = "query-commands", .ret = &command_info_list, .run = query_commands },
	{ .name = "query-qmp-schema", .ret = &schema_info_list, .run = query_qmp_schema },
	{ 0 },
};
