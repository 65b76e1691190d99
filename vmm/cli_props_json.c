/* SPDX-License-Identifier: MIT */
/*
 * JSON objects as lists of properties. The text may come from a control socket's peer: its length, depth and number of items are
 * bounded, and a key given twice is refused, since which of the two counts would be anybody's guess.
 */
#include "vmm/cli_props.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "vmm/err.h"

static int add_object(struct prop_list *l, const char *prefix, const json_t *object, unsigned depth, const struct prop_ctx *ctx);

/* Adds a value that is neither an object nor an array that has elements. */
static int add_scalar(struct prop_list *l, const char *key, const json_t *value, bool in_array, const struct prop_ctx *ctx)
{
	char number[24];

	switch (json_typeof(value)) {
	case JSON_STRING:
		return prop_list_add(l, key, json_string_value(value), PROP_FORM_STRING, in_array, ctx);
	case JSON_INTEGER:
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return prop_list_add(l, key, number, PROP_FORM_INT, in_array, ctx);
	case JSON_TRUE:
		return prop_list_add(l, key, "on", PROP_FORM_BOOL, in_array, ctx);
	case JSON_FALSE:
		return prop_list_add(l, key, "off", PROP_FORM_BOOL, in_array, ctx);
	case JSON_REAL:
		return prop_list_add(l, key, "", PROP_FORM_REAL, in_array, ctx);
	case JSON_NULL:
		return prop_list_add(l, key, "", PROP_FORM_NULL, in_array, ctx);
	case JSON_ARRAY:
		return prop_list_add(l, key, "", PROP_FORM_EMPTY_ARRAY, in_array, ctx);
	case JSON_OBJECT:
		break;
	}
	return prop_list_add(l, key, "", PROP_FORM_EMPTY_OBJECT, in_array, ctx);
}

static int add_array(struct prop_list *l, const char *key, const json_t *array, const struct prop_ctx *ctx)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *value = json_array_get(array, i), *str = json_object_get(value, "str");

		/* Lists of strings are {"str": TEXT} each in some of QEMU's options. */
		if (json_is_string(str) && json_object_size(value) == 1)
			value = str;
		if (json_is_object(value) || json_is_array(value))
			return err_set(ctx->err, -EINVAL, "%s: property '%s': an array may not hold objects or arrays", ctx->what,
				       err_show(key).s);
		if (add_scalar(l, key, value, true, ctx) < 0)
			return ctx->err->code;
	}
	return 0;
}

static int add_value(struct prop_list *l, const char *key, const json_t *value, unsigned depth, const struct prop_ctx *ctx)
{
	if (json_is_object(value) && json_object_size(value) > 0)
		return add_object(l, key, value, depth + 1, ctx);
	/* The parser refuses twins within one object; {"a.b": 1, "a": {"b": 2}} is seen only here. */
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->items[i].key, key))
			return err_set(ctx->err, -EINVAL, "%s: property '%s' is given twice", ctx->what, err_show(key).s);
	if (json_is_array(value) && json_array_size(value) > 0)
		return add_array(l, key, value, ctx);
	return add_scalar(l, key, value, false, ctx);
}

static int add_object(struct prop_list *l, const char *prefix, const json_t *object, unsigned depth, const struct prop_ctx *ctx)
{
	/* jansson's iterators take non-const objects, and do not change them. */
	json_t *o = (json_t *)object;

	if (depth > PROP_MAX_DEPTH)
		return err_set(ctx->err, -E2BIG, "%s: JSON objects are nested deeper than %d", ctx->what, PROP_MAX_DEPTH);
	for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
		const char *name = json_object_iter_key(it);
		char key[PROP_MAX_KEY];

		if (!*name)
			return err_set(ctx->err, -EINVAL, "%s: a property without a name", ctx->what);
		if (snprintf(key, sizeof(key), "%s%s%s", prefix, *prefix ? "." : "", name) >= (int)sizeof(key))
			return err_set(ctx->err, -E2BIG, "%s: the property name '%s' is too long", ctx->what, err_show(name).s);
		if (add_value(l, key, json_object_iter_value(it), depth, ctx) < 0)
			return ctx->err->code;
	}
	return 0;
}

int prop_list_from_json(struct prop_list *l, const struct json_t *object, const struct prop_ctx *ctx)
{
	if (!json_is_object(object))
		return err_set(ctx->err, -EINVAL, "%s: expected a JSON object", ctx->what);
	return add_object(l, "", object, 1, ctx);
}

int prop_list_parse_json(struct prop_list *l, const char *text, const struct prop_ctx *ctx)
{
	size_t len = strnlen(text, PROP_MAX_TEXT + 1);
	json_error_t why;
	json_t *object;
	int ret;

	if (len > PROP_MAX_TEXT)
		return err_set(ctx->err, -E2BIG, "%s: longer than %d bytes", ctx->what, PROP_MAX_TEXT);
	object = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	/* jansson gives no reason when it is memory that it lacks. */
	if (!object && (!why.text[0] || json_error_code(&why) == json_error_out_of_memory))
		return err_set_errno(ctx->err, -ENOMEM, "%s", ctx->what);
	if (!object)
		return err_set(ctx->err, -EINVAL, "%s: not a JSON object: %s (at byte %d)", ctx->what, err_show(why.text).s,
			       why.position);
	ret = prop_list_from_json(l, object, ctx);
	json_decref(object);
	return ret;
}
