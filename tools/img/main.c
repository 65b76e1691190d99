/* SPDX-License-Identifier: MIT */
/* kite-img: disk images, with qemu-img's grammar and output. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/img/img.h"

static int help(void)
{
	printf("kite-img " KITE_VERSION ": disk images\n\nkite-img COMMAND [OPTION...] FILE...\n\n");
	for (const struct img_command *c = img_commands; c->name; c++)
		img_command_help(c);
	printf("\nFormats: raw, qcow2; for reading: vmdk, vdi, vhdx, vpc\nCache modes: writeback, none, writethrough, directsync, unsafe\n");
	return 0;
}

static const struct img_command *command_find(const char *name)
{
	for (const struct img_command *c = img_commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

static int unknown(const char *name)
{
	const char *best = NULL;
	int least = -1;

	for (const struct img_command *c = img_commands; c->name; c++) {
		int far = cli_near(name, c->name);

		if (far >= 0 && (least < 0 || far < least)) {
			best = c->name;
			least = far;
		}
	}
	if (best)
		fprintf(stderr, "kite-img: there is no command '%s'; is '%s' meant? See kite-img --help\n", err_show(name).s, best);
	else
		fprintf(stderr, "kite-img: there is no command '%s'; see kite-img --help\n", err_show(name).s);
	return 1;
}

/* What was printed has arrived, or the status says that it did not. */
static int out_flush(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fprintf(stderr, "kite-img: cannot write to standard output: %s\n", strerror(errno));
	return status ? status : 1;
}

/* The format that -o is about. */
static const char *made_format(const struct img_command *cmd, const struct img_args *args)
{
	const char *format = cmd->run == cmd_create ? args->format : args->out_format;

	return format ? format : "raw";
}

static int command_run(const struct img_command *cmd, int argc, char **argv)
{
	struct img img = { .err = ERR_INIT };
	int status = 1;

	if (img_args_parse(cmd, argc, argv, &img.args, &img.err) == 0) {
		if (img.args.help) {
			img_command_help(cmd);
			status = 0;
		} else if (img_options_help(&img.args, made_format(cmd, &img.args))) {
			status = 0;
		} else if (img_init(&img) == 0) {
			status = cmd->run(&img);
			img_partial_end(status == 0);
		}
	}
	fflush(stdout);
	if (img.err.code != 0)
		fprintf(stderr, "kite-img: %s\n", img.err.msg);
	img_fini(&img);
	img_args_fini(&img.args);
	return out_flush(status);
}

int main(int argc, char **argv)
{
	const struct img_command *cmd;

	/* No image may get the number of stderr. */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return 1;
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		fprintf(stderr, "kite-img: which command? See kite-img --help\n");
		return 1;
	}
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help"))
		return out_flush(help());
	if (!strcmp(argv[1], "-V") || !strcmp(argv[1], "--version")) {
		printf("kite-img version " KITE_VERSION "\n");
		return out_flush(0);
	}
	cmd = command_find(argv[1]);
	if (!cmd)
		return unknown(argv[1]);
	return command_run(cmd, argc - 1, argv + 1);
}
