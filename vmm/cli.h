/* SPDX-License-Identifier: MIT */
/*
 * The command line in QEMU's grammar, parsed by const tables (vmm/cli_options.c): a row an option, a row a property. Options
 * take `-name` and `--name`; option values are `key=value,...` with `,,` for a comma, a first value without a key where QEMU
 * has one, and JSON objects for those that QEMU takes as JSON.
 *
 * Thread: main, before anything else exists.
 */
#ifndef VMM_CLI_H
#define VMM_CLI_H

#include "vmm/config.h"

struct err;

enum cli_action {
	CLI_RUN,          /* the configuration is complete */
	CLI_HELP,         /* -help */
	CLI_VERSION,      /* -version */
	CLI_MACHINE_HELP, /* -machine help */
	CLI_CPU_HELP,     /* -cpu help */
	CLI_DEVICE_HELP,  /* -device help */
	CLI_LOG_HELP,     /* -d help */
	CLI_DUMP_CONFIG,  /* -dump-config: the configuration is complete, and shown instead of run */
};

/*
 * Parses argv[1..argc) into `cfg` (initialized by config_init), and completes it: defaults for what was not given, as QEMU's, checks across
 * options. With -config it comes from that file instead, the only one that is read here. 0 with `*action` set, or -EINVAL and the like with
 * `err` naming the option and property. The files that other options name are not opened here. With -d debug it sets the log's level, so
 * that the options that were accepted without effect can be named there.
 */
int cli_parse(int argc, char *const argv[], struct vm_config *cfg, enum cli_action *action, struct err *err);

/* The text for stdout of an action other than CLI_RUN and CLI_CPU_HELP; static. */
const char *cli_help_text(enum cli_action action);

#endif
