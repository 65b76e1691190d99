/* SPDX-License-Identifier: MIT */
/*
 * What the command line knows, for those who ask what there is (device-list-properties, query-command-line-options): from the same const
 * tables that it is parsed by.
 *
 * Thread: any.
 */
#ifndef VMM_CLI_LIST_H
#define VMM_CLI_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct prop_row;

struct cli_listed {
	const char *name;
	const struct prop_row *rows; /* ends with a row without a key; NULL: not known by rows */
	bool takes_arg;              /* of options */
	bool available;              /* of drivers; else only known, for what -device says of them */
};

/* The i-th of -device's drivers and of the options; false after the last. */
bool cli_device_at(size_t i, struct cli_listed *listed);
bool cli_option_at(size_t i, struct cli_listed *listed);

/* What QEMU calls the type of a property: "str", "bool", "uint32". */
const char *cli_prop_type(const struct prop_row *row);

#endif
