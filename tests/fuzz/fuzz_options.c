/* SPDX-License-Identifier: MIT */
/*
 * Any command line: the input's bytes, split at NUL, are the words after the program's name. The parser must accept it and leave a
 * configuration that keeps vmm/config.h's promises (config_promises.h), or refuse it with one clean line; the sanitizers watch the rest.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/config_promises.h"
#include "vmm/cli.h"
#include "vmm/err.h"
#include "vmm/log.h"

#define MAX_WORDS 128

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(const struct err *err)
{
	promise(err->code < 0 && err->msg[0], "an error without words");
	for (const char *p = err->msg; *p; p++)
		promise((unsigned char)*p >= 0x20 && *p != 0x7f, "a control character in an error");
}

static void run(int argc, char *const argv[])
{
	static struct vm_config cfg;
	enum cli_action action = CLI_RUN;
	struct err err = ERR_INIT;

	config_init(&cfg);
	if (cli_parse(argc, argv, &cfg, &action, &err) < 0)
		check_message(&err);
	else if (action == CLI_RUN)
		config_keep_promises(&cfg);
	/* -d debug would fill the terminal from here on. */
	log_set_level(LOG_LEVEL_ERROR);
	config_fini(&cfg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *argv[MAX_WORDS + 4] = { (char[]){ "kite" } }, *copy = malloc(size + 1);
	char dash_kernel[] = "-kernel", kernel[] = "K";
	int argc = 1;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	copy[size] = '\0';
	/* An odd length goes with a kernel, so that half of all inputs get as far as the checks across options. */
	if (size % 2) {
		argv[argc++] = dash_kernel;
		argv[argc++] = kernel;
	}
	for (size_t at = 0; at < size && argc < MAX_WORDS; at += strlen(copy + at) + 1)
		argv[argc++] = copy + at;
	run(argc, argv);
	free(copy);
	return 0;
}
