/* SPDX-License-Identifier: MIT */
/*
 * Values as they are written on the command line, and how they are shown in messages. The parsers are strict: no leading blanks,
 * no sign, nothing after the value, no silent overflow. They store their result only on success.
 *
 * Thread: any; pure functions.
 */
#ifndef VMM_CLI_VALUE_H
#define VMM_CLI_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/strv.h"

struct err;

/* A number in C's notation: 12, 0x1f, 017. */
bool cli_value_uint(const char *s, uint64_t *out);
/*
 * A number of bytes: 512M, 1.5G, 0x1000. Suffixes b, k, m, g, t, p, e of either case are powers of 1024; a number without a suffix
 * counts in `unit` bytes. A fraction has at most nine digits, and what is below a byte is cut off.
 */
bool cli_value_size(const char *s, uint64_t unit, uint64_t *out);
/* on, yes, true, y; off, no, false, n. */
bool cli_value_bool(const char *s, bool *out);
/* 2024-02-29 or 2024-02-29T23:59:59, in UTC, from 1970 on: seconds since the epoch. */
bool cli_value_date(const char *s, int64_t *out);
/* 01234567-89ab-cdef-0123-456789abcdef, in text order. */
bool cli_value_uuid(const char *s, uint8_t out[16]);
/* An identifier: a letter, then letters, digits, '-', '.' and '_'. */
bool cli_value_id(const char *s);

/* A PCI slot and function as QEMU writes them, both in hexadecimal: 3, 0x1f, 3.1. Stores slot << 3 | function. */
bool cli_value_pci_addr(const char *s, int *out);

/*
 * Whether `candidate` is what somebody who typed `typed` probably meant: the number of insertions, deletions, changes and
 * swaps of neighbours between them, or -1 when that is more than about a third of the word.
 */
int cli_near(const char *typed, const char *candidate);

/* Replaces the owned string `*dst` by a copy of `src`. 0, or -ENOMEM with `e`. */
int cli_set_string(char **dst, const char *src, struct err *e);

#endif
