/* SPDX-License-Identifier: MIT */
/* The program `kite`: the only place that exits, prints errors, and takes the process's signals. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "vmm/arch.h"
#include "vmm/boot_clock.h"
#include "vmm/cli.h"
#include "vmm/config.h"
#include "vmm/config_json.h"
#include "vmm/daemon.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/launch.h"
#include "vmm/launch_sandbox.h"
#include "vmm/log.h"
#include "vmm/sandbox.h"
#include "vmm/signals.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

#define STATUS_FAILED 1

struct program {
	struct daemon daemon;
	struct pidfile pidfile;
	struct eventloop *loop;
	struct signals signals;
	struct launch *launch; /* NULL until it is complete */
};

static void program_quit(void *opaque)
{
	struct program *p = opaque;

	if (p->launch)
		launch_quit(p->launch, LAUNCH_QUIT_SIGNAL);
	else
		eventloop_stop(p->loop);
}

static void program_resume(void *opaque)
{
	struct program *p = opaque;

	if (p->launch)
		launch_resume(p->launch);
}

static void program_resized(void *opaque)
{
	struct program *p = opaque;

	if (p->launch)
		launch_terminal_resized(p->launch);
}

static const struct signals_ops signals_ops = { .quit = program_quit, .resume = program_resume, .resized = program_resized };

/* What ps and top show, 15 characters of it: -name process=P, or kite:NAME. */
static void program_name(const struct vm_config *cfg)
{
	char name[64];

	if (!cfg->name && !cfg->process_name)
		return;
	if (cfg->process_name)
		snprintf(name, sizeof(name), "%.32s", cfg->process_name);
	else
		snprintf(name, sizeof(name), "kite:%.32s", cfg->name);
	prctl(PR_SET_NAME, name);
}

static int program_run(struct program *p, const struct vm_config *cfg, struct err *err)
{
	int status = STATUS_FAILED;

	p->launch = launch_create(cfg, p->loop, err);
	if (!p->launch)
		return err->code == -EINTR ? EXIT_SUCCESS : STATUS_FAILED;
	if (pidfile_create(&p->pidfile, cfg->pidfile, err) == 0 && launch_start_inside(p->launch, err) == 0) {
		daemon_ready(&p->daemon);
		status = launch_run(p->launch, err);
	}
	if (SANITIZED)
		launch_destroy(p->launch);
	else
		launch_leave(p->launch);
	p->launch = NULL;
	pidfile_remove(&p->pidfile);
	return status;
}

static int program_main(const struct vm_config *cfg, struct err *err)
{
	struct program p = { .daemon = DAEMON_INIT, .pidfile = PIDFILE_INIT };
	int status = STATUS_FAILED;

	/* Before anything is open: a parent that ends shall end nothing else. */
	if (cfg->daemonize && daemon_start(&p.daemon, &status, err) != 0)
		return status;
	/* The same, and before there is a thread. */
	if (cfg->sandbox.on && cfg->sandbox.namespaces && sandbox_detach(&status, err) != 0)
		return status;
	p.loop = eventloop_create(err);
	if (!p.loop)
		return status;
	boot_clock_mark(&cfg->clock, "main");
	sandbox_install_trap();
	program_name(cfg);
	vcpu_install_kick_handler();
	if (signals_init(&p.signals, p.loop, &signals_ops, &p, err) == 0) {
		status = program_run(&p, cfg, err);
		signals_fini(&p.signals);
	}
	eventloop_destroy(p.loop);
	return status;
}

/* Descriptors 0 to 2 are there, so that no file opened later gets the number of stderr, and the log with it. */
static int program_check_fds(struct err *err)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return err_set_errno(err, -errno, "descriptor %d is closed, and /dev/null cannot be opened for it", fd);
	return 0;
}

static int print_text(const char *text, struct err *err)
{
	if (fputs(text, stdout) >= 0 && fflush(stdout) == 0)
		return EXIT_SUCCESS;
	err_set_errno(err, -errno, "cannot write to standard output");
	return STATUS_FAILED;
}

static int print_help(enum cli_action action, struct err *err)
{
	char *features;
	int status;

	if (action != CLI_CPU_HELP)
		return print_text(cli_help_text(action), err);
	features = arch_cpu_help();
	if (!features)
		err_set(err, -ENOMEM, "no memory for the list of CPU features");
	status = features ? print_text(features, err) : STATUS_FAILED;
	free(features);
	return status;
}

static int print_config(const struct vm_config *cfg, struct err *err)
{
	char *text = config_dump(cfg);
	int status;

	if (!text)
		err_set(err, -EINVAL, "-dump-config: no memory, or a name that is not UTF-8");
	status = text ? print_text(text, err) : STATUS_FAILED;
	free(text);
	return status;
}

static int program_act(const struct vm_config *cfg, enum cli_action action, struct err *err)
{
	switch (action) {
	case CLI_RUN:
		return program_main(cfg, err);
	case CLI_DUMP_CONFIG:
		return print_config(cfg, err);
	default:
		return print_help(action, err);
	}
}

int main(int argc, char *argv[])
{
	struct vm_config *cfg;
	enum cli_action action;
	struct err err = ERR_INIT;
	int status = STATUS_FAILED;

	/* One heap for all threads: they allocate next to nothing while a guest runs, and each heap takes time to make, and pages. */
	mallopt(M_ARENA_MAX, 1);
	cfg = config_create();
	if (!cfg)
		err_set(&err, -ENOMEM, "no memory to start");
	if (cfg && program_check_fds(&err) == 0 && cli_parse(argc, argv, cfg, &action, &err) == 0) {
		if (cfg->boot_timer)
			boot_clock_start(&cfg->clock);
		status = program_act(cfg, action, &err);
	}
	if (status != EXIT_SUCCESS && err.code != 0)
		log_error("%s", err.msg);
	if (SANITIZED)
		config_destroy(cfg);
	return status;
}
