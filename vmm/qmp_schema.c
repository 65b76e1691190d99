/* SPDX-License-Identifier: MIT */
/*
 * query-qmp-schema, from the same tables as the dispatcher: an entry for every command and event, and for every type that can be reached from
 * them. Types are found by their names, so two of one name are one.
 */
#include <string.h>

#include "vmm/qmp_priv.h"
#include "vmm/util.h"

/* `names`: the types that are in `list`. Without memory something is left out, and `failed` says so. */
struct schema {
	json_t *list, *names;
	bool failed;
};

static void schema_add(struct schema *s, json_t *entry)
{
	if (!entry || json_array_append_new(s->list, entry) < 0)
		s->failed = true;
}

static void set(struct schema *s, json_t *object, const char *key, json_t *value)
{
	if (!object || json_object_set_new(object, key, value) < 0)
		s->failed = true;
}

/* QEMU's introspection hides names of types; so ours need not be looked at by any, but those of builtins and arrays are as there. */
static json_t *type_name(const struct qmp_type *type)
{
	return type->meta == QMP_ARRAY ? json_sprintf("[%s]", type->element->name) : json_string(type->name);
}

static json_t *features_of(const char *const *features)
{
	json_t *list = json_array();

	for (; features && *features; features++)
		json_array_append_new(list, json_string(*features));
	return list;
}

static json_t *members_of(struct schema *s, const struct qmp_type *type)
{
	json_t *list = json_array();

	for (const struct qmp_member *m = type->members; m && m->name; m++) {
		json_t *member = json_object();

		set(s, member, "name", json_string(m->name));
		set(s, member, "type", type_name(m->type));
		if (m->optional)
			set(s, member, "default", json_null());
		if (m->features)
			set(s, member, "features", features_of(m->features));
		if (json_array_append_new(list, member) < 0)
			s->failed = true;
	}
	return list;
}

static const char *const json_types[] = {
	[QMP_STRING] = "string", [QMP_INT] = "int", [QMP_NUMBER] = "number", [QMP_BOOLEAN] = "boolean", [QMP_NULL] = "null",
	[QMP_VALUE] = "value",
};

static void describe(struct schema *s, const struct qmp_type *type, json_t *entry)
{
	json_t *values, *members;

	switch (type->meta) {
	case QMP_BUILTIN:
		set(s, entry, "meta-type", json_string("builtin"));
		set(s, entry, "json-type", json_string(json_types[type->json]));
		break;
	case QMP_ENUM:
		values = json_array();
		members = json_array();
		for (const char *const *v = type->values; *v; v++) {
			json_array_append_new(values, json_string(*v));
			json_array_append_new(members, json_pack("{s:s}", "name", *v));
		}
		set(s, entry, "meta-type", json_string("enum"));
		set(s, entry, "values", values);
		set(s, entry, "members", members);
		break;
	case QMP_OBJECT:
		set(s, entry, "meta-type", json_string("object"));
		set(s, entry, "members", members_of(s, type));
		break;
	case QMP_ARRAY:
		set(s, entry, "meta-type", json_string("array"));
		set(s, entry, "element-type", type_name(type->element));
		break;
	}
}

static void add_type(struct schema *s, const struct qmp_type *type)
{
	json_t *name = type_name(type), *entry;

	if (!name || json_object_get(s->names, json_string_value(name))) {
		s->failed |= !name;
		json_decref(name);
		return;
	}
	set(s, s->names, json_string_value(name), json_true());
	entry = json_object();
	set(s, entry, "name", name);
	describe(s, type, entry);
	schema_add(s, entry);
	if (type->meta == QMP_ARRAY)
		add_type(s, type->element);
	for (const struct qmp_member *m = type->meta == QMP_OBJECT ? type->members : NULL; m && m->name; m++)
		add_type(s, m->type);
}

static void add_commands(struct schema *s, const struct qmp_command *commands)
{
	for (const struct qmp_command *c = commands; c && c->name; c++) {
		const struct qmp_type *args = c->args ? c->args : &qmp_empty, *ret = c->ret ? c->ret : &qmp_empty;
		json_t *entry = json_object();

		if (c->human) {
			json_decref(entry);
			continue;
		}
		set(s, entry, "name", json_string(c->name));
		set(s, entry, "meta-type", json_string("command"));
		set(s, entry, "arg-type", type_name(args));
		set(s, entry, "ret-type", type_name(ret));
		if (c->features)
			set(s, entry, "features", features_of(c->features));
		schema_add(s, entry);
		add_type(s, args);
		add_type(s, ret);
	}
}

static void add_events(struct schema *s, const struct qmp_event *events)
{
	for (const struct qmp_event *e = events; e && e->name; e++) {
		const struct qmp_type *data = e->data ? e->data : &qmp_empty;
		json_t *entry = json_object();

		set(s, entry, "name", json_string(e->name));
		set(s, entry, "meta-type", json_string("event"));
		set(s, entry, "arg-type", type_name(data));
		schema_add(s, entry);
		add_type(s, data);
	}
}

json_t *qmp_schema(const struct qmp *qmp)
{
	struct schema s = { .list = json_array(), .names = json_object() };

	s.failed = !s.list || !s.names;
	if (!s.failed)
		add_commands(&s, qmp_core_commands);
	for (size_t i = 0; i < qmp->n_tables && !s.failed; i++) {
		add_commands(&s, qmp->tables[i].commands);
		add_events(&s, qmp->tables[i].events);
	}
	json_decref(s.names);
	if (s.failed) {
		json_decref(s.list);
		return NULL;
	}
	return s.list;
}
