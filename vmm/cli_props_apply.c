/* SPDX-License-Identifier: MIT */
/* Checks a list of properties by a table, and stores it: form, then text, then range, each refused with what was expected. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_props.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define LIST_FEW 10 /* so many known properties are named in a message */

const char *const prop_names_on[] = { "on", NULL };
const char *const prop_names_off[] = { "off", NULL };
const char *const prop_names_on_off[] = { "on", "off", NULL };
const char *const prop_names_none[] = { NULL };

static const char *const form_words[] = {
	[PROP_FORM_TEXT] = "text",
	[PROP_FORM_FLAG] = "no value",
	[PROP_FORM_STRING] = "a string",
	[PROP_FORM_BOOL] = "true or false",
	[PROP_FORM_INT] = "a number",
	[PROP_FORM_REAL] = "a number with a fraction",
	[PROP_FORM_NULL] = "null",
	[PROP_FORM_EMPTY_ARRAY] = "an array",
	[PROP_FORM_EMPTY_OBJECT] = "an object",
};

/* The JSON forms that a type takes, and their name in messages. All types take text; `flag`: also a key alone. */
struct prop_type_info {
	unsigned forms;
	bool flag;
	const char *expected;
};

static const struct prop_type_info type_info[] = {
	[PROP_STRING] = { BIT(PROP_FORM_STRING), false, "a string" },
	[PROP_STRINGS] = { BIT(PROP_FORM_STRING) | BIT(PROP_FORM_EMPTY_ARRAY), false, "a string or an array of strings" },
	[PROP_BOOL] = { BIT(PROP_FORM_BOOL), true, "true or false" },
	[PROP_UNSIGNED] = { BIT(PROP_FORM_INT), false, "a number" },
	[PROP_U16] = { BIT(PROP_FORM_INT), false, "a number" },
	[PROP_U64] = { BIT(PROP_FORM_INT), false, "a number" },
	[PROP_SIZE] = { BIT(PROP_FORM_INT), false, "a number of bytes" },
	[PROP_ENUM] = { BIT(PROP_FORM_STRING), false, "a string" },
	[PROP_SWITCH] = { BIT(PROP_FORM_STRING) | BIT(PROP_FORM_BOOL), true, "a string, true or false" },
	[PROP_FIXED] = { BIT(PROP_FORM_STRING) | BIT(PROP_FORM_BOOL) | BIT(PROP_FORM_INT), true, "a plain value" },
};

static int refuse(const struct prop_ctx *ctx, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int refuse(const struct prop_ctx *ctx, const char *key, const char *fmt, ...)
{
	char text[ERR_MSG_MAX / 2];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(ctx->err, -EINVAL, "%s: property '%s': %s", ctx->what, err_show(key).s, text);
}

/* Joins names with commas, cut when they do not fit. */
static void join_names(char *out, size_t size, const char *const *names)
{
	size_t used = 0;

	out[0] = '\0';
	for (; *names && used < size; names++)
		used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", *names);
}

static int set_enum(const struct prop_row *row, const struct prop_item *item, void *field, const struct prop_ctx *ctx)
{
	char known[256];

	for (unsigned i = 0; row->names[i]; i++)
		if (!strcmp(row->names[i], item->text)) {
			memcpy(field, &i, sizeof(i));
			return 0;
		}
	join_names(known, sizeof(known), row->names);
	return refuse(ctx, row->key, "'%s' is not one of %s", err_show(item->text).s, known);
}

static int set_string(const struct prop_row *row, const struct prop_item *item, char **field, const struct prop_ctx *ctx)
{
	size_t len = strlen(item->text);

	if (len < row->min)
		return refuse(ctx, row->key, "may not be empty");
	if (row->max && len > row->max)
		return refuse(ctx, row->key, "'%s' is longer than %" PRIu64 " bytes", err_show(item->text).s, row->max);
	return cli_set_string(field, item->text, ctx->err);
}

static int set_bool(const struct prop_row *row, const struct prop_item *item, bool *field, const struct prop_ctx *ctx)
{
	if (!cli_value_bool(item->text, field))
		return refuse(ctx, row->key, "expected on or off, got '%s'", err_show(item->text).s);
	return 0;
}

static int set_number(const struct prop_row *row, const struct prop_item *item, void *field, const struct prop_ctx *ctx)
{
	uint64_t v;

	if (!cli_value_uint(item->text, &v) || v < row->min || v > row->max)
		return refuse(ctx, row->key, "expected a number from %" PRIu32 " to %" PRIu64 ", got '%s'", row->min, row->max,
			      err_show(item->text).s);
	if (row->type == PROP_U16)
		*(uint16_t *)field = (uint16_t)v;
	else if (row->type == PROP_UNSIGNED)
		*(unsigned *)field = (unsigned)v;
	else
		*(uint64_t *)field = v;
	return 0;
}

struct size_words {
	char s[32];
};

/* A size in the largest unit that shows all of it. */
static struct size_words show_size(uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	struct size_words out;
	size_t unit = 0;

	for (; bytes && bytes % KIB == 0 && unit + 1 < ARRAY_SIZE(units); unit++)
		bytes /= KIB;
	snprintf(out.s, sizeof(out.s), "%" PRIu64 " %s", bytes, units[unit]);
	return out;
}

static int set_size(const struct prop_row *row, const struct prop_item *item, uint64_t *field, const struct prop_ctx *ctx)
{
	uint64_t unit = row->unit && item->form == PROP_FORM_TEXT ? row->unit : 1, v;

	if (!cli_value_size(item->text, unit, &v))
		return refuse(ctx, row->key, "expected a size such as 512M or 2G, got '%s'", err_show(item->text).s);
	if (v < row->min)
		return refuse(ctx, row->key, "'%s' is too little; the least is %s", err_show(item->text).s, show_size(row->min).s);
	if (row->max && v > row->max)
		return refuse(ctx, row->key, "'%s' is too much; the most is %s", err_show(item->text).s, show_size(row->max).s);
	*field = v;
	return 0;
}

/* Accepts what asks for nothing that Kite does not do anyway. */
static int check_fixed(const struct prop_row *row, const struct prop_item *item, const struct prop_ctx *ctx)
{
	const char *text = item->text;
	bool on;

	if (row->names) {
		const char *const *name = row->names;

		while (*name && strcmp(*name, text) && !(cli_value_bool(text, &on) && !strcmp(*name, on ? "on" : "off")))
			name++;
		if (!*name)
			return refuse(ctx, row->key, "'%s' is not available: %s", err_show(text).s, row->why);
	}
	if (!ctx->notes)
		return 0;
	return strv_addf(ctx->notes, ctx->err, "%s: %s=%s has no effect", ctx->what, row->key, err_show(text).s);
}

static int set_item(const struct prop_row *row, const struct prop_item *item, void *obj, const struct prop_ctx *ctx)
{
	const struct prop_type_info *info = &type_info[row->type];
	void *field = obj ? (char *)obj + row->offset : NULL;

	if (item->form == PROP_FORM_FLAG && !info->flag)
		return refuse(ctx, row->key, "needs a value: %s=...", row->key);
	if (item->form > PROP_FORM_FLAG && !(info->forms & BIT(item->form)))
		return refuse(ctx, row->key, "expected %s, got %s", info->expected, form_words[item->form]);
	if (item->in_array && row->type != PROP_STRINGS)
		return refuse(ctx, row->key, "expected %s, got an array", info->expected);
	switch (row->type) {
	case PROP_STRING:
		return set_string(row, item, field, ctx);
	case PROP_STRINGS:
		return item->form == PROP_FORM_EMPTY_ARRAY ? 0 : strv_add(field, item->text, ctx->err);
	case PROP_BOOL:
		return set_bool(row, item, field, ctx);
	case PROP_UNSIGNED:
	case PROP_U16:
	case PROP_U64:
		return set_number(row, item, field, ctx);
	case PROP_SIZE:
		return set_size(row, item, field, ctx);
	case PROP_ENUM:
	case PROP_SWITCH:
		return set_enum(row, item, field, ctx);
	case PROP_FIXED:
		return check_fixed(row, item, ctx);
	}
	return refuse(ctx, row->key, "no such type");
}

static const struct prop_row *find_row(const struct prop_row *row, const char *key)
{
	for (; row->key; row++)
		if (!strcmp(row->key, key))
			return row;
	return NULL;
}

static int refuse_unknown(const struct prop_table *table, const char *key, const struct prop_ctx *ctx)
{
	const char *names[LIST_FEW + 1], *best = NULL;
	int best_distance = 0;
	char known[256];
	size_t n = 0;

	for (const struct prop_row *row = table->rows; row->key; row++) {
		int d = cli_near(key, row->key);

		if (d >= 0 && (!best || d < best_distance)) {
			best = row->key;
			best_distance = d;
		}
		if (n <= LIST_FEW)
			names[n++] = row->key;
	}
	if (best)
		return err_set(ctx->err, -EINVAL, "%s: unknown property '%s'; did you mean '%s'?", ctx->what, err_show(key).s, best);
	if (n == 0 || n > LIST_FEW)
		return err_set(ctx->err, -EINVAL, "%s: unknown property '%s'", ctx->what, err_show(key).s);
	names[n] = NULL;
	join_names(known, sizeof(known), names);
	return err_set(ctx->err, -EINVAL, "%s: unknown property '%s'; known: %s", ctx->what, err_show(key).s, known);
}

static int apply_item(const struct prop_table *table, const struct prop_item *item, void *obj, const struct prop_ctx *ctx)
{
	const struct prop_row *row = find_row(table->rows, item->key);

	/* The short form `nokey` of bools, unless there is a property of that very name. */
	if (!row && item->form == PROP_FORM_FLAG && !strncmp(item->key, "no", 2)) {
		row = find_row(table->rows, item->key + 2);
		if (row && type_info[row->type].flag) {
			struct prop_item off = { .key = item->key, .text = (char[]){ "off" }, .form = PROP_FORM_FLAG };

			return set_item(row, &off, obj, ctx);
		}
		row = NULL;
	}
	return row ? set_item(row, item, obj, ctx) : refuse_unknown(table, item->key, ctx);
}

int props_apply(const struct prop_list *l, const struct prop_table *table, void *obj, const struct prop_ctx *ctx)
{
	for (size_t i = 0; i < l->n; i++)
		if (apply_item(table, &l->items[i], obj, ctx) < 0)
			return ctx->err->code;
	for (const struct prop_row *row = table->rows; row->key; row++) {
		bool given = false;

		for (size_t i = 0; row->required && i < l->n; i++)
			given |= !strcmp(l->items[i].key, row->key);
		if (row->required && !given)
			return err_set(ctx->err, -EINVAL, "%s: property '%s' is missing: give %s=...", ctx->what, row->key, row->key);
	}
	return 0;
}

int props_parse(const char *text, const struct prop_table *table, void *obj, const struct prop_ctx *ctx)
{
	struct prop_list l = { .items = NULL };
	int ret;

	if (!*text)
		return err_set(ctx->err, -EINVAL, "%s: the value is empty", ctx->what);
	ret = prop_list_parse(&l, text, table->implied, ctx);
	if (ret == 0)
		ret = props_apply(&l, table, obj, ctx);
	prop_list_fini(&l);
	return ret;
}

void props_fini(const struct prop_table *table, void *obj)
{
	for (const struct prop_row *row = table->rows; row->key; row++) {
		void *field = (char *)obj + row->offset;

		if (row->type == PROP_STRING) {
			free(*(char **)field);
			*(char **)field = NULL;
		} else if (row->type == PROP_STRINGS) {
			strv_fini(field);
		}
	}
}
