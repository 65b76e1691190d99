/* SPDX-License-Identifier: MIT */
/* Lists of strings. Thread: one at a time. */
#ifndef VMM_STRV_H
#define VMM_STRV_H

#include <stdbool.h>
#include <stddef.h>

struct err;

/* The strings are owned. Zeroes are an empty list. */
struct strv {
	char **v;
	size_t n;
};
int strv_add(struct strv *s, const char *text, struct err *e);
int strv_addf(struct strv *s, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool strv_has(const struct strv *s, const char *text);
void strv_fini(struct strv *s);

#endif
