/* SPDX-License-Identifier: MIT */
/*
 * Every field of struct vm_config, as const tables: what config_json.c writes, reads and checks. tests/unit/test_config_json.c finds bytes of
 * the structs that no row accounts for. Thread: any; nothing here changes.
 */
#ifndef VMM_CONFIG_FIELDS_H
#define VMM_CONFIG_FIELDS_H

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

struct config_field {
	const char *name;
	enum config_kind kind;
	size_t offset, size;       /* of one of them */
	size_t max_count;          /* an array of so many; 0: one */
	size_t count_offset, count_size; /* how many of them there are: a number of 4 or 8 bytes; size 0: all */
	const struct config_table *table;
	const char *const *names;
	int64_t min;               /* of numbers; the bytes of a string */
	uint64_t max;              /* the same; 0: as much as fits */
	bool required;             /* of strings: not null */
	bool power;                /* of two */
	bool once;                 /* `refers`: nothing else may refer to the same */
	enum config_names defines, refers;
};

struct config_table {
	const char *what; /* for messages */
	size_t size;
	const struct config_field *fields; /* ends with a name of NULL */
};

extern const struct config_table config_table; /* struct vm_config */

#endif
