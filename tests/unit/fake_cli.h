/* SPDX-License-Identifier: MIT */
/* Command lines for tests, written as one string. */
#ifndef TESTS_UNIT_FAKE_CLI_H
#define TESTS_UNIT_FAKE_CLI_H

#include <stddef.h>

#define FAKE_CLI_MAX_WORDS 256

/* "kite" and the words of a line: separated by blanks; '~' stands for a blank inside a word, "''" for an empty word. */
struct fake_cli {
	char text[4096];
	char *v[FAKE_CLI_MAX_WORDS];
	int n;
};

/* `prefix` goes in front of `line`, unless that starts with '!'. */
void fake_cli_split(struct fake_cli *w, const char *prefix, const char *line);

struct vm_config;

/* Puts in the place of `cfg` what config_dump and config_read make of it: tests of what is in it then test these as well. */
void fake_cli_again(struct vm_config *cfg);

#endif
