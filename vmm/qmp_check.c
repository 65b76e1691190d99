/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "vmm/err.h"
#include "vmm/qmp_priv.h"
#include "vmm/util.h"

#define SHOWN 64 /* bytes of a peer's text in a message */

static const char *const json_names[] = {
	[QMP_STRING] = "string", [QMP_INT] = "integer", [QMP_NUMBER] = "number", [QMP_BOOLEAN] = "boolean", [QMP_NULL] = "null",
	[QMP_VALUE] = "any value",
};

static bool is_builtin(enum qmp_json json, const json_t *value)
{
	switch (json) {
	case QMP_STRING:
		return json_is_string(value);
	case QMP_INT:
		return json_is_integer(value);
	case QMP_NUMBER:
		return json_is_number(value);
	case QMP_BOOLEAN:
		return json_is_boolean(value);
	case QMP_NULL:
		return json_is_null(value);
	case QMP_VALUE:
		return true;
	}
	return false;
}

static int check(const struct qmp_type *type, const char *name, const json_t *value, struct err *err);

static const struct qmp_member *find_member(const struct qmp_type *type, const char *name)
{
	for (const struct qmp_member *m = type->members; m && m->name; m++)
		if (!strcmp(m->name, name))
			return m;
	return NULL;
}

static int check_object(const struct qmp_type *type, const char *name, const json_t *value, struct err *err)
{
	json_t *o = (json_t *)value;

	if (!json_is_object(value))
		return err_set(err, -EINVAL, "parameter '%s' has to be an object", name);
	for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
		const char *key = json_object_iter_key(it);
		const struct qmp_member *m = find_member(type, key);

		if (m && check(m->type, m->name, json_object_iter_value(it), err) < 0)
			return err->code;
		if (!m && !type->open)
			return err_set(err, -EINVAL, "parameter '%.*s' is unexpected", SHOWN, key);
	}
	for (const struct qmp_member *m = type->members; m && m->name; m++)
		if (!m->optional && !json_object_get(value, m->name))
			return err_set(err, -EINVAL, "parameter '%s' is missing", m->name);
	return 0;
}

static int check_array(const struct qmp_type *type, const char *name, const json_t *value, struct err *err)
{
	size_t max = type->max ? type->max : QMP_ARRAY_MAX;

	if (!json_is_array(value))
		return err_set(err, -EINVAL, "parameter '%s' has to be an array", name);
	if (json_array_size(value) > max)
		return err_set(err, -EINVAL, "parameter '%s' has %zu elements; at most %zu are taken", name, json_array_size(value), max);
	for (size_t i = 0; i < json_array_size(value); i++)
		if (check(type->element, name, json_array_get(value, i), err) < 0)
			return err->code;
	return 0;
}

static int check_enum(const struct qmp_type *type, const char *name, const json_t *value, struct err *err)
{
	if (!json_is_string(value))
		return err_set(err, -EINVAL, "parameter '%s' has to be a string", name);
	for (const char *const *v = type->values; *v; v++)
		if (!strcmp(*v, json_string_value(value)))
			return 0;
	return err_set(err, -EINVAL, "parameter '%s' does not take '%.*s'", name, SHOWN, json_string_value(value));
}

static int check(const struct qmp_type *type, const char *name, const json_t *value, struct err *err)
{
	switch (type->meta) {
	case QMP_BUILTIN:
		if (is_builtin(type->json, value))
			return 0;
		return err_set(err, -EINVAL, "parameter '%s' has to be of type %s", name, json_names[type->json]);
	case QMP_ENUM:
		return check_enum(type, name, value, err);
	case QMP_OBJECT:
		return check_object(type, name, value, err);
	case QMP_ARRAY:
		return check_array(type, name, value, err);
	}
	return err_set(err, -EINVAL, "parameter '%s' has an unknown type", name);
}

int qmp_check(const struct qmp_type *type, const json_t *args, struct err *err)
{
	return check(type, "arguments", args, err);
}
