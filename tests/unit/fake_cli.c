/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_cli.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void fake_cli_split(struct fake_cli *w, const char *prefix, const char *line)
{
	bool bare = *line == '!';

	snprintf(w->text, sizeof(w->text), "kite %s %s", bare ? "" : prefix, line + bare);
	w->n = 0;
	for (char *p = strtok(w->text, " "); p && w->n < FAKE_CLI_MAX_WORDS; p = strtok(NULL, " ")) {
		if (!strcmp(p, "''"))
			*p = '\0';
		for (char *c = p; *c; c++)
			if (*c == '~')
				*c = ' ';
		w->v[w->n++] = p;
	}
}
