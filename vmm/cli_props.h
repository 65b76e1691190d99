/* SPDX-License-Identifier: MIT */
/*
 * Properties of an option: `key=value,key2=value2` or a JSON object, turned into one list of items, which a const table of rows
 * then checks and stores in a plain struct. Both forms meet in the list, so a row says everything about a property once.
 *
 * In key=value form `,,` stands for a comma inside a value, a first value without a key belongs to the table's implied key, `key`
 * alone is key=on and `nokey` is key=off. When a key is given more than once the last one counts. In JSON form values have their
 * JSON type (a bool is true or false, a number is a number), a nested object's members are `outer.inner`, an array repeats its
 * key, and a key given twice is refused.
 *
 * Thread: any, each list by one thread at a time.
 */
#ifndef VMM_CLI_PROPS_H
#define VMM_CLI_PROPS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/cli_value.h"

struct err;
struct json_t;

#define PROP_MAX_TEXT 65536 /* bytes of one option's value */
#define PROP_MAX_ITEMS 256
#define PROP_MAX_DEPTH 8    /* of nested JSON objects */
#define PROP_MAX_KEY 128

/* How an item was written. */
enum prop_form {
	PROP_FORM_TEXT, /* key=value */
	PROP_FORM_FLAG, /* key alone */
	PROP_FORM_STRING,
	PROP_FORM_BOOL,
	PROP_FORM_INT,
	PROP_FORM_REAL,
	PROP_FORM_NULL,
	PROP_FORM_EMPTY_ARRAY,
	PROP_FORM_EMPTY_OBJECT,
};

struct prop_item {
	char *key;
	char *text; /* the value as key=value would write it */
	enum prop_form form;
	bool in_array;
};

struct prop_list {
	struct prop_item *items;
	size_t n;
};

/* A field's type, and what a row stores at its offset. */
enum prop_type {
	PROP_STRING,   /* char *, owned; a length of min to max bytes, max 0: any */
	PROP_STRINGS,  /* struct strv; every occurrence, in order */
	PROP_BOOL,     /* bool */
	PROP_UNSIGNED, /* unsigned, min to max */
	PROP_U16,      /* uint16_t, min to max */
	PROP_U64,      /* uint64_t, min to max */
	PROP_SIZE,     /* uint64_t, bytes, min to max (0: any); `unit` for a number without a suffix, 0: bytes */
	PROP_ENUM,     /* an enum: the index in `names` */
	PROP_SWITCH,   /* the same, where on and off are among the names: also a key alone, and true and false in JSON */
	PROP_FIXED,    /* nothing: one of `names` (NULL: anything) is accepted and noted, the rest refused because of `why` */
};

/* Some 500 of them: dense. */
struct prop_row {
	const char *key; /* NULL ends a table */
	const char *const *names; /* ends with NULL */
	union {
		uint64_t max;
		const char *why; /* PROP_FIXED */
	};
	uint32_t min, unit;
	uint16_t offset;
	enum prop_type type : 8;
	bool required;
};
static_assert(sizeof(struct prop_row) == 40, "dense");

struct prop_table {
	const char *implied; /* the key of a first value without one; NULL: none */
	const struct prop_row *rows;
};

/* What the functions below need of their caller. */
struct prop_ctx {
	const char *what;   /* in front of messages: "-device isa-serial" */
	struct strv *notes; /* what was accepted and has no effect, a line each; NULL: not wanted */
	struct err *err;
};

/*
 * Fill `l`, which must be zeroed and is to be freed with prop_list_fini also after a failure. 0, -EINVAL, -E2BIG past the limits
 * above, or -ENOMEM.
 */
int prop_list_parse(struct prop_list *l, const char *text, const char *implied, const struct prop_ctx *ctx);
int prop_list_parse_json(struct prop_list *l, const char *text, const struct prop_ctx *ctx);
int prop_list_from_json(struct prop_list *l, const struct json_t *object, const struct prop_ctx *ctx);
/* Adds one item; copies. */
int prop_list_add(struct prop_list *l, const char *key, const char *text, enum prop_form form, bool in_array,
		  const struct prop_ctx *ctx);
void prop_list_fini(struct prop_list *l);

/*
 * Takes `key`, which must be a string, out of the list: `*out` is an owned copy of the last one's value, or NULL when there was
 * none. For the key that decides which table the rest belongs to.
 */
int prop_list_take(struct prop_list *l, const char *key, char **out, const struct prop_ctx *ctx);

/*
 * Stores every item in `obj`, which holds the defaults; fails at the first that the table does not allow and when a required one is
 * missing. What was stored stays in `obj`, also after a failure: free it with props_fini, or let its owner free it. `obj` may be
 * NULL where all rows are PROP_FIXED.
 */
int props_apply(const struct prop_list *l, const struct prop_table *table, void *obj, const struct prop_ctx *ctx);
/* Both steps for key=value text. */
int props_parse(const char *text, const struct prop_table *table, void *obj, const struct prop_ctx *ctx);
/* Frees the strings in `obj`. */
void props_fini(const struct prop_table *table, void *obj);

/* Names for PROP_ENUM and PROP_FIXED rows. */
extern const char *const prop_names_on[], *const prop_names_off[], *const prop_names_on_off[], *const prop_names_none[];

#endif
