/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_cli.h"

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/config.h"
#include "vmm/config_json.h"
#include "vmm/err.h"

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

void fake_cli_again(struct vm_config *cfg)
{
	char *text = config_dump(cfg), *again;
	struct err err = ERR_INIT;

	ck_assert_ptr_nonnull(text);
	config_fini(cfg);
	config_init(cfg);
	ck_assert_msg(config_read(cfg, text, strlen(text), &err) == 0, "%s in\n%s", err.msg, text);
	again = config_dump(cfg);
	ck_assert_str_eq(text, again);
	free(text);
	free(again);
}
