/* SPDX-License-Identifier: MIT */
#include "vmm/strv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/err.h"

int strv_add(struct strv *s, const char *text, struct err *e)
{
	/* The array has room for the next power of two, so it is full when n is one. */
	if ((s->n & (s->n - 1)) == 0) {
		char **v = reallocarray(s->v, s->n ? 2 * s->n : 1, sizeof(*v));

		if (!v)
			return err_set_errno(e, -ENOMEM, "the command line");
		s->v = v;
	}
	s->v[s->n] = strdup(text);
	if (!s->v[s->n])
		return err_set_errno(e, -ENOMEM, "the command line");
	s->n++;
	return 0;
}

int strv_addf(struct strv *s, struct err *e, const char *fmt, ...)
{
	char text[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return strv_add(s, text, e);
}

bool strv_has(const struct strv *s, const char *text)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->v[i], text))
			return true;
	return false;
}

void strv_fini(struct strv *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s->v);
	*s = (struct strv){ .v = NULL };
}
