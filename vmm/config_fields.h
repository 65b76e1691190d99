/* SPDX-License-Identifier: MIT */
/*
 * Every field of struct vm_config, as const tables: what config_json.c writes, reads and checks. tests/unit/test_config_json.c finds bytes of
 * the structs that no row accounts for. Thread: any; nothing here changes.
 */
#ifndef VMM_CONFIG_FIELDS_H
#define VMM_CONFIG_FIELDS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_kind {
	CONFIG_BOOL,
	CONFIG_UINT,   /* 1, 2, 4 or 8 bytes, by `size` */
	CONFIG_SINT,
	CONFIG_ENUM,   /* the number of one of `names` */
	CONFIG_STRING, /* owned; NULL: null */
	CONFIG_HEX,    /* `size` bytes, as their digits */
	CONFIG_STRV,
	CONFIG_STRUCT, /* `table` */
	CONFIG_POINTER, /* to such a struct, owned; NULL: null */
};

/* What names things: a string of one kind refers to the `id` of another. */
enum config_names { CONFIG_NO_NAME, CONFIG_CHARDEV_NAME, CONFIG_DRIVE_NAME, CONFIG_IOTHREAD_NAME, CONFIG_NETDEV_NAME, CONFIG_RNG_NAME, CONFIG_NAMES };

/* Some 350 of them: dense. */
struct config_field {
	const char *name;
	union {
		const struct config_table *table; /* CONFIG_STRUCT, CONFIG_POINTER */
		const char *const *names;         /* CONFIG_ENUM */
	};
	int64_t min;           /* of numbers; the bytes of a string */
	uint64_t max;          /* the same; 0: as much as fits */
	uint32_t offset;
	uint32_t count_offset; /* how many of them there are: a number of 4 or 8 bytes; size 0: all */
	uint16_t size;         /* of one of them */
	uint16_t max_count;    /* an array of so many; 0: one */
	uint8_t count_size;
	enum config_kind kind : 8;
	enum config_names defines : 4, refers : 4;
	bool required : 1;     /* of strings: not null */
	bool power : 1;        /* of two */
	bool once : 1;         /* `refers`: nothing else may refer to the same */
};
static_assert(sizeof(struct config_field) == 48, "dense");

struct config_table {
	const char *what; /* for messages */
	size_t size;
	const struct config_field *fields; /* ends with a name of NULL */
};

extern const struct config_table config_table; /* struct vm_config */

#endif
