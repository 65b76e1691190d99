/* SPDX-License-Identifier: MIT */
/*
 * The list of items and its key=value reader. cli_props_json.c reads JSON into the same list, and cli_props_apply.c stores it by a
 * table.
 */
#include "vmm/cli_props.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/err.h"

int prop_list_add(struct prop_list *l, const char *key, const char *text, enum prop_form form, bool in_array,
		  const struct prop_ctx *ctx)
{
	struct prop_item *item;

	if (l->n == PROP_MAX_ITEMS)
		return err_set(ctx->err, -E2BIG, "%s: more than %d properties", ctx->what, PROP_MAX_ITEMS);
	if (!l->items) {
		l->items = malloc(PROP_MAX_ITEMS * sizeof(*l->items)); /* each is set as it is taken */
		if (!l->items)
			return err_set_errno(ctx->err, -ENOMEM, "%s", ctx->what);
	}
	item = &l->items[l->n++];
	/* What prop_list_take left there belongs to items before it. */
	*item = (struct prop_item){ .form = form, .in_array = in_array };
	if (cli_set_string(&item->key, key, ctx->err) < 0)
		return ctx->err->code;
	return cli_set_string(&item->text, text, ctx->err);
}

static void item_fini(struct prop_item *item)
{
	free(item->key);
	free(item->text);
}

void prop_list_fini(struct prop_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		item_fini(&l->items[i]);
	free(l->items);
	*l = (struct prop_list){ .items = NULL };
}

/* Copies a value up to a single comma or the end, with `,,` made one, and leaves `*s` behind the comma. */
static void take_value(const char **s, char *out)
{
	const char *p = *s;

	for (; *p; p++) {
		if (*p == ',' && *++p != ',')
			break;
		*out++ = *p;
	}
	*out = '\0';
	*s = p;
}

/* Reads the item at `*s` into `list`. `value` is a buffer as long as the whole text. */
static int take_item(struct prop_list *l, const char **s, char *value, const char *implied, const struct prop_ctx *ctx)
{
	char key[PROP_MAX_KEY];
	size_t n = strcspn(*s, "=,");

	if ((*s)[n] != '=' && implied) {
		take_value(s, value);
		return prop_list_add(l, implied, value, PROP_FORM_TEXT, false, ctx);
	}
	if (n == 0)
		return err_set(ctx->err, -EINVAL, "%s: a property without a name at '%s'", ctx->what, err_show(*s).s);
	if (n >= sizeof(key))
		return err_set(ctx->err, -E2BIG, "%s: the property name '%s' is too long", ctx->what, err_show(*s).s);
	memcpy(key, *s, n);
	key[n] = '\0';
	*s += n;
	if (**s != '=') {
		if (**s == ',')
			(*s)++;
		return prop_list_add(l, key, "on", PROP_FORM_FLAG, false, ctx);
	}
	(*s)++;
	take_value(s, value);
	return prop_list_add(l, key, value, PROP_FORM_TEXT, false, ctx);
}

int prop_list_parse(struct prop_list *l, const char *text, const char *implied, const struct prop_ctx *ctx)
{
	size_t len = strnlen(text, PROP_MAX_TEXT + 1);
	char *value;
	int ret = 0;

	if (len > PROP_MAX_TEXT)
		return err_set(ctx->err, -E2BIG, "%s: longer than %d bytes", ctx->what, PROP_MAX_TEXT);
	value = malloc(len + 1);
	if (!value)
		return err_set_errno(ctx->err, -ENOMEM, "%s", ctx->what);
	while (*text && ret == 0) {
		ret = take_item(l, &text, value, implied, ctx);
		implied = NULL;
	}
	free(value);
	return ret;
}

int prop_list_take(struct prop_list *l, const char *key, char **out, const struct prop_ctx *ctx)
{
	size_t kept = 0;
	bool wrong = false;

	*out = NULL;
	for (size_t i = 0; i < l->n; i++) {
		struct prop_item *item = &l->items[i];

		if (strcmp(item->key, key)) {
			l->items[kept++] = *item;
			continue;
		}
		wrong |= (item->form != PROP_FORM_TEXT && item->form != PROP_FORM_STRING) || item->in_array;
		free(*out);
		*out = item->text;
		item->text = NULL;
		item_fini(item);
	}
	l->n = kept;
	if (!wrong)
		return 0;
	free(*out);
	*out = NULL;
	return err_set(ctx->err, -EINVAL, "%s: property '%s': expected a string", ctx->what, key);
}
